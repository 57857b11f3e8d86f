"""Errors per horizon step, pooled over every observed target and never averaged over batches."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ErrorSums", "masked_mae"]


def masked_mae(
    forecast: Float[Tensor, "batch horizon node"], target: Float[Tensor, "batch horizon node"]
) -> Float[Tensor, ""]:
    """Mean absolute error over observed targets, the training loss.

    Args:
        forecast: In original units.
        target: In original units, NaN where missing.

    Returns:
        The mean, in original units; 0 where nothing is observed.
    """
    observed = torch.isfinite(target)
    error = (forecast - torch.where(observed, target, 0.0)).abs() * observed
    return error.sum() / observed.sum().clamp_min(1)


class ErrorSums:
    """Running sums of errors per horizon step.

    Args:
        missing: `ignore` leaves missing targets out; `as_zero` scores them as readings of 0, the
            unmasked protocol that some papers report.
        smallest_target: MAPE leaves out targets whose size is at most this, in original units.
    """

    def __init__(
        self,
        *,
        missing: Literal["ignore", "as_zero"] = "ignore",
        smallest_target: float = 1e-4,
    ) -> None:
        self.missing, self.smallest_target = missing, smallest_target
        self._sums: dict[str, Tensor] = {}

    def update(
        self,
        forecast: Float[Tensor, "batch horizon node"],
        target: Float[Tensor, "batch horizon node"],
    ) -> None:
        """Add a batch of forecasts and their targets, both in original units."""
        observed = torch.isfinite(target)
        if self.missing == "as_zero":
            target, observed = torch.nan_to_num(target, nan=0.0), torch.ones_like(observed)
        # A forecast that is missing where a reading exists must show, not vanish: no nan_to_num.
        error = torch.where(observed, forecast - target, 0.0).double()
        sized = observed & (target.abs() > self.smallest_target)
        share = torch.where(sized, error.abs() / target.abs(), 0.0)
        for name, values in {
            "absolute": error.abs(),
            "square": error.square(),
            "count": observed.double(),
            "share": share.double(),
            "sized": sized.double(),
        }.items():
            total = values.sum((0, 2)).cpu()
            self._sums[name] = self._sums.get(name, torch.zeros_like(total)) + total

    def scores(
        self, *, over: Literal["step", "prefix"] = "step"
    ) -> dict[str, Float[Tensor, " horizon"]]:
        """Give MAE and RMSE in original units and MAPE in percent.

        Args:
            over: `step` scores each horizon step alone, the field's standard; `prefix` pools all
                steps up to it.

        Returns:
            `mae`, `rmse` and `mape` per horizon step; NaN where nothing was observed.
        """
        sums = self._sums
        if over == "prefix":
            sums = {name: values.cumsum(0) for name, values in sums.items()}
        return {
            "mae": sums["absolute"] / sums["count"],
            "rmse": (sums["square"] / sums["count"]).sqrt(),
            "mape": 100 * sums["share"] / sums["sized"],
        }

    def mean_mae(self) -> float:
        """Mean over horizon steps of the MAE per step, in original units."""
        return float(self.scores()["mae"].nanmean())
