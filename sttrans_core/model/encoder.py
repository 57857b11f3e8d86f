"""The encoder: attention over time inside a node."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sttrans_core.model.dropout import ChannelDropout
from sttrans_core.model.step_attention import attend_to_steps

__all__ = ["EncoderLayer"]


class EncoderLayer(nn.Module):
    """Self-attention among the steps of one node, then feed-forward; each adds to the token.

    Missing observations are not attended to (a token always attends to itself).

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
        mixed = attend_to_steps(qkv, observed=observed).flatten(3)
        token = self.dropout(self.out(mixed), to=token)
        return self.dropout(self.feedforward(token), to=token)
