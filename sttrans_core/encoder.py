"""The encoder: attention over time inside a node, then over its neighbourhood at each step."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sttrans_core.dropout import ChannelDropout
from sttrans_core.step_attention import attend_to_steps

__all__ = ["EncoderLayer"]


class EncoderLayer(nn.Module):
    """Multi-head self-attention along time, then across near nodes, then feed-forward.

    The cost grows linearly with the number of nodes: a node attends to its own steps and, at each
    step, to a fixed number of nearest nodes. Missing observations are not attended to (a token
    always attends to itself).

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        num_neighbours: Nearest nodes, the node itself included; 1 leaves the neighbourhood out.
        dropout: Share of the channels of a node that are dropped while training.
    """

    def __init__(self, width: int, num_heads: int, *, num_neighbours: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.num_neighbours = num_heads, num_neighbours
        self.time_norm = nn.LayerNorm(width)
        self.time_in = nn.Linear(width, 3 * width, bias=False)  # the norm before it has one
        self.time_out = nn.Linear(width, width)
        if num_neighbours > 1:
            self.space_norm = nn.LayerNorm(width)
            self.space_in = nn.Linear(width, 3 * width, bias=False)
            self.space_out = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.dropout = ChannelDropout(dropout)

    def forward(
        self,
        token: Float[Tensor, "batch node history channel"],
        *,
        observed: Bool[Tensor, "batch node history"],
        neighbours: Int[Tensor, "node neighbour"],
    ) -> Float[Tensor, "batch node history channel"]:
        """Mix tokens along time and across near nodes.

        Args:
            token: Source tokens.
            observed: Which of them were observed.
            neighbours: Nearest nodes of each node, itself first.

        Returns:
            Tokens of the same shape.
        """
        token = self.dropout(self._along_time(token, observed), to=token)
        if self.num_neighbours > 1:
            near = neighbours[:, : self.num_neighbours]
            token = self.dropout(self._across_nodes(token, observed, near), to=token)
        return self.dropout(self.feedforward(token), to=token)

    def _along_time(
        self,
        token: Float[Tensor, "batch node history channel"],
        observed: Bool[Tensor, "batch node history"],
    ) -> Float[Tensor, "batch node history channel"]:
        qkv = self.time_in(self.time_norm(token)).unflatten(-1, (3, self.num_heads, -1))
        return self.time_out(attend_to_steps(qkv, observed=observed).flatten(3))

    def _across_nodes(
        self,
        token: Float[Tensor, "batch node history channel"],
        observed: Bool[Tensor, "batch node history"],
        near: Int[Tensor, "node neighbour"],
    ) -> Float[Tensor, "batch node history channel"]:
        qkv = self.space_in(self.space_norm(token)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.unbind(3)  # each (B, N, T, H, d)
        flat = near.flatten()
        shape = (*near.shape,)
        key = key.index_select(1, flat).unflatten(1, shape)  # (B, N, M, T, H, d)
        value = value.index_select(1, flat).unflatten(1, shape)
        score = (query[:, :, None] * key).sum(-1) / query.shape[-1] ** 0.5  # (B, N, M, T, H)
        seen = observed.index_select(1, flat).unflatten(1, shape).unsqueeze(-1)
        itself = torch.arange(shape[1], device=token.device)[:, None, None] == 0
        weight = score.masked_fill(~(seen | itself), -torch.inf).softmax(2)
        return self.space_out((weight.unsqueeze(-1) * value).sum(2).flatten(3))
