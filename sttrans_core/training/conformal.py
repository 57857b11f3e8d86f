"""Prediction bands by split-conformal calibration on validation residuals."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from sttrans_core.data.windows import Windows
from sttrans_core.fitted import FittedData
from sttrans_core.model.sttrans import forecast_of

__all__ = ["conformal_bands"]


@torch.no_grad()
def conformal_bands(
    model: torch.nn.Module,
    windows: Windows,
    starts: list[int],
    fitted: FittedData,
    *,
    coverage: float,
    batch_size: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Float[Tensor, "horizon node channel"] | None:
    """Half-widths of prediction bands from validation residuals, per horizon step and node.

    Args:
        model: The trained model.
        windows: Windows of the dataset.
        starts: Starts of the validation windows.
        fitted: Scaling of the data.
        coverage: Share of targets that a band should hold.
        batch_size: Windows at a time.
        should_stop: Asked before each batch.

    Returns:
        (horizon, node, channel) half-widths in original units; None where it was told to stop.

    Source: Vovk et al., split conformal prediction; Lei et al. (2018), with the quantile of rank
    ceil((n + 1) coverage). A node with too few observed residuals for that rank takes the pooled
    quantile of its horizon step; a step with too few takes the widest pooled one.
    """
    model.eval()
    residuals = []
    for first in range(0, len(starts), batch_size):
        if should_stop():
            return None
        batch = windows.batch(starts[first : first + batch_size])
        forecast = forecast_of(model, batch)
        residuals.append((fitted.in_units(forecast.float()) - batch.target).abs().cpu())
    residual = torch.cat(residuals)  # (windows, P, N, C)
    num_channels = residual.shape[-1]
    residual = residual.flatten(2)
    steps = residual.unbind(1)  # one at a time, since sorting takes several times its size
    pooled = torch.cat([_conformal_quantile(step.reshape(-1, 1), coverage) for step in steps])
    finite = pooled[torch.isfinite(pooled)]
    if not len(finite):  # a handful of residuals: the largest one holds all of them
        finite = residual[torch.isfinite(residual)]
    pooled = torch.where(torch.isfinite(pooled), pooled, finite.max())
    per_node = torch.stack([_conformal_quantile(step, coverage) for step in steps])  # (P, N)
    bands = torch.where(torch.isfinite(per_node), per_node, pooled[:, None]).float()
    return bands.unflatten(1, (-1, num_channels))


def _conformal_quantile(residual: Tensor, coverage: float) -> Tensor:
    """Conformal quantile of the finite residuals along axis 0; inf where there are too few."""
    count = torch.isfinite(residual).sum(0)
    rank = torch.ceil((count + 1) * coverage).long()  # 1-based
    ordered = torch.nan_to_num(residual, nan=torch.inf).sort(0).values
    picked = ordered.gather(0, (rank - 1).clamp(0, len(residual) - 1)[None])[0]
    return torch.where(rank <= count, picked, torch.inf)
