"""Dropout of whole channels, and the residual around it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ChannelDropout"]


class ChannelDropout(nn.Module):
    """Drop a channel along a whole axis: random numbers are dear, and neighbours there alike.

    Args:
        share: Of the channels that are dropped while training; the others grow to make up for it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(
        self,
        change: Float[Tensor, "batch node steps channel"],
        *,
        to: Float[Tensor, "batch node steps channel"],
    ) -> Float[Tensor, "batch node steps channel"]:
        """Drop channels of each node, at all of its steps.

        Args:
            change: What channels are dropped of.
            to: What the rest is added to, in the same pass.

        Returns:
            The sum.
        """
        if not self.training or self.share == 0:
            return to + change
        kept = change.new_empty(*change.shape[:2], 1, change.shape[3]).bernoulli_(1 - self.share)
        return torch.addcmul(to, change, kept.div_(1 - self.share))
