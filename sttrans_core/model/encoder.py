"""The encoder: attention over time inside a node; and over its surroundings at each step."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sttrans_core.alignment.position import first_preferences
from sttrans_core.model.dropout import ChannelDropout
from sttrans_core.model.near_attention import attend_to_neighbours
from sttrans_core.model.step_attention import attend_to_steps
from sttrans_core.space.relation import Geometry

__all__ = ["EncoderLayer", "SurroundingsLayer"]


class _MixingLayer(nn.Module):
    """Multi-head attention among some tokens, then feed-forward; each adds to the token.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        dropout: Share of the channels of a node that are dropped while training.
    """

    def __init__(self, width: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)  # the norm before it has one
        self.out = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = ChannelDropout(dropout)

    def forward(
        self,
        token: Float[Tensor, "batch node history channel"],
        *,
        observed: Bool[Tensor, "batch node history"],
    ) -> Float[Tensor, "batch node history channel"]:
        """Mix tokens.

        Args:
            token: Source tokens.
            observed: Which of them were observed.

        Returns:
            Tokens of the same shape.
        """
        qkv = self.qkv(self.norm(token)).unflatten(-1, (3, self.num_heads, -1))
        token = self.dropout(self.out(self._attend(qkv, observed).flatten(3)), to=token)
        return self.dropout(self.feedforward(token), to=token)

    def _attend(
        self,
        qkv: Float[Tensor, "batch node history 3 head dim"],
        observed: Bool[Tensor, "batch node history"],
    ) -> Float[Tensor, "batch node history head dim"]:
        raise NotImplementedError


class EncoderLayer(_MixingLayer):
    """Self-attention among the steps of one node.

    Missing observations are not attended to (a token always attends to itself).
    """

    def _attend(self, qkv: Tensor, observed: Tensor) -> Tensor:
        return attend_to_steps(qkv, observed=observed)


class SurroundingsLayer(_MixingLayer):
    """Attention across near nodes at each step.

    The cost grows linearly with the number of nodes: a node attends to a fixed number of nearest
    nodes, and to what they observed. What a head makes of one depends on where that lies, too: how
    a field moves shows in its slopes, and these have directions.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        geometry: Where the nodes are.
        num_neighbours: Nearest nodes, the node itself included.
        dropout: Share of the channels of a node that are dropped while training.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        geometry: Geometry,
        num_neighbours: int,
        dropout: float,
    ) -> None:
        super().__init__(width, num_heads, dropout=dropout)
        near = geometry.neighbours[:, :num_neighbours]
        relation = geometry.relations(torch.arange(len(near))[:, None], near)
        self.register_buffer("neighbours", near, persistent=False)
        self.register_buffer("relation", relation, persistent=False)
        self.preference = nn.Parameter(first_preferences(num_heads)[:, geometry.classes])

    neighbours: Int[Tensor, "node neighbour"]
    relation: Int[Tensor, "node neighbour"]

    def _attend(self, qkv: Tensor, observed: Tensor) -> Tensor:
        bias = self.preference.index_select(1, self.relation.flatten())
        bias = bias.unflatten(1, self.relation.shape).transpose(0, 1)  # (N, H, K)
        return attend_to_neighbours(qkv, observed=observed, neighbours=self.neighbours, bias=bias)
