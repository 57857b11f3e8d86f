"""Dropout of whole channels."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ChannelDropout"]


class ChannelDropout(nn.Dropout1d):
    """Drop a channel along a whole axis: random numbers are dear, and neighbours there alike.

    Args:
        p: Share of the channels that are dropped while training.
    """

    def forward(
        self, token: Float[Tensor, "batch node step channel"]
    ) -> Float[Tensor, "batch node step channel"]:
        """Drop channels of each node, at all of its steps."""
        dropped = super().forward(token.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        return dropped.view_as(token)
