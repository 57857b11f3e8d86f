"""Errors per horizon step, pooled over every observed target and never averaged over batches."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["METRICS", "ErrorSums", "masked_error"]

METRICS = ("mae", "rmse", "mape", "bias", "r2", "acc")


def masked_error(
    forecast: Float[Tensor, "batch horizon node channel"],
    target: Float[Tensor, "batch horizon node channel"],
    *,
    kind: Literal["mae", "mse"],
    spread: float,
    weight: Float[Tensor, " node"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum the errors over observed targets; the training loss is their mean.

    Args:
        forecast: In original units.
        target: In original units, NaN where missing.
        kind: `mae`, or `mse`, which is divided by the spread so that both are of one size.
        spread: Standard deviation of the data, in original units.
        weight: How much each node counts; all alike where it is None.

    Returns:
        The sum, in original units, and what it is of: observed targets, by weight.
    """
    observed = torch.isfinite(target)
    error = forecast - torch.where(observed, target, 0.0)
    error = error.abs() if kind == "mae" else error.square() / spread
    counts = observed.to(error.dtype)
    counts = counts if weight is None else counts * weight[:, None]
    return (error * counts).sum(), counts.sum()


class ErrorSums:
    """Running sums of errors per horizon step.

    Args:
        missing: `ignore` leaves missing targets out; `as_zero` scores them as readings of 0, the
            unmasked protocol that some papers report.
        smallest_target: MAPE leaves out targets whose size is at most this, in original units.
        weight: How much each node counts in all but MAPE; all alike where it is None.
    """

    def __init__(
        self,
        *,
        missing: Literal["ignore", "as_zero"] = "ignore",
        smallest_target: float = 1e-4,
        weight: Float[Tensor, " node"] | None = None,
    ) -> None:
        self.missing, self.smallest_target, self.weight = missing, smallest_target, weight
        self._sums: dict[str, Tensor] = {}

    def update(
        self,
        forecast: Float[Tensor, "batch horizon node channel"],
        target: Float[Tensor, "batch horizon node channel"],
        *,
        normal: Float[Tensor, "batch horizon node channel"] | None = None,
    ) -> None:
        """Add a batch of forecasts and their targets, in original units.

        Args:
            forecast: What was forecast.
            target: The truth, NaN where missing.
            normal: What is usual at that time, for the anomaly correlation.
        """
        observed = torch.isfinite(target)
        if self.missing == "as_zero":
            target, observed = torch.nan_to_num(target, nan=0.0), torch.ones_like(observed)
        # A forecast that is missing where a reading exists must show, not vanish: no nan_to_num.
        error = torch.where(observed, forecast - target, 0.0).double()
        target = torch.where(observed, target, 0.0).double()
        sized = observed & (target.abs() > self.smallest_target)
        share = torch.where(sized, error.abs() / target.abs(), 0.0)
        weight = observed.double()
        if self.weight is not None:
            weight = weight * self.weight.to(weight)[:, None]
        sums = {
            "absolute": weight * error.abs(),
            "square": weight * error.square(),
            "error": weight * error,
            "target": weight * target,
            "target_square": weight * target.square(),
            "weight": weight,
            "share": share,
            "sized": sized,
        }
        if normal is not None:
            usual = torch.where(observed, normal, 0.0).double()
            ahead, truth = target + error - usual, target - usual
            sums |= {
                "both": weight * ahead * truth,
                "forecast_anomaly": weight * ahead.square(),
                "target_anomaly": weight * truth.square(),
            }
        for name, values in sums.items():
            total = values.double().sum((0, 2, 3)).cpu()
            self._sums[name] = self._sums.get(name, torch.zeros_like(total)) + total

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Add the sums of other processes.

        Args:
            add_up: Gives the sum of a tensor over all processes.
        """
        self._sums = {name: add_up(values) for name, values in self._sums.items()}

    def scores(
        self, *, over: Literal["step", "prefix"] = "step"
    ) -> dict[str, Float[Tensor, " horizon"]]:
        """Give the scores of `METRICS`.

        Args:
            over: `step` scores each horizon step alone, the field's standard; `prefix` pools all
                steps up to it.

        Returns:
            Per horizon step, NaN where nothing was observed: `mae`, `rmse` and `bias` (forecast
            less truth) in original units; `mape` in percent; `r2`, the share of the targets'
            variance that is explained; `acc`, the correlation of forecast and true anomalies, not
            centred again, NaN where it is not known what is usual.
        """
        sums = self._sums
        if over == "prefix":
            sums = {name: values.cumsum(0) for name, values in sums.items()}
        weight = sums["weight"]
        variance = sums["target_square"] - sums["target"].square() / weight
        if "both" in sums:
            acc = sums["both"] / (sums["forecast_anomaly"] * sums["target_anomaly"]).sqrt()
        else:
            acc = torch.full_like(weight, torch.nan)
        return {
            "mae": sums["absolute"] / weight,
            "rmse": (sums["square"] / weight).sqrt(),
            "mape": 100 * sums["share"] / sums["sized"],
            "bias": sums["error"] / weight,
            "r2": 1 - sums["square"] / variance,
            "acc": acc,
        }

    def mean(self, metric: Literal["mae", "rmse"]) -> float:
        """Mean over horizon steps of a score per step, in original units."""
        return float(self.scores()[metric].nanmean())
