"""Where a forecast starts from: the last reading and those of earlier days."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["StartingPoint"]

_SHARPNESS = 8.0  # of shares, so that some hundred steps of training can choose one day


class StartingPoint(nn.Module):
    """Where a forecast starts from: the last reading and those of earlier days, mixed.

    The shares depend on the state of a place, and start alike for all days; a day that is missing
    counts as the mean of the others, or as the last reading where all are.

    Args:
        width: Channels of a state.
        num_lags: Earlier days.
        horizon_steps: Steps that are forecast.
        num_channels: Channels that are forecast.
    """

    def __init__(self, width: int, *, num_lags: int, horizon_steps: int, num_channels: int) -> None:
        super().__init__()
        self.num_lags, self.num_channels = num_lags, num_channels
        self.norm = nn.LayerNorm(width)
        self.shares = nn.Linear(width, horizon_steps * (1 + num_lags))
        nn.init.zeros_(self.shares.weight)
        nn.init.zeros_(self.shares.bias)

    def forward(
        self,
        state: Float[Tensor, "batch query state"],
        last: Float[Tensor, "batch query quantity"],
        earlier: Float[Tensor, "batch horizon query lag"],
    ) -> Float[Tensor, "batch horizon query quantity"]:
        """Mix the last reading and those of earlier days, each step for itself."""
        shares = self.shares(self.norm(state)).unflatten(2, (-1, 1 + self.num_lags))
        shares = (_SHARPNESS * shares).softmax(-1).transpose(1, 2)  # (B, P, Q, 1 + L)
        days, seen = earlier.unflatten(3, (2, self.num_lags, self.num_channels)).unbind(3)
        count = seen.sum(3, keepdim=True)
        others = (days * seen).sum(3, keepdim=True) / count.clamp_min(1)  # (B, P, Q, 1, C)
        others = torch.where(count > 0, others, last[:, None, :, None])
        days = torch.where(seen > 0, days, others)  # (B, P, Q, L, C)
        return shares[..., :1] * last[:, None] + (shares[..., 1:, None] * days).sum(3)
