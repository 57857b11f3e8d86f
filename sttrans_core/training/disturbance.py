"""Gaps and noise in what a model sees while it is trained, so that it copes with both."""

import torch
from jaxtyping import Bool
from torch import Tensor

from sttrans_core.data.windows import Batch

__all__ = ["disturb"]


def disturb(batch: Batch, *, gaps: float, noise: float) -> Batch:
    """Hide readings of windows at random, and add noise to some of them; targets stay.

    Sensors fail for a while, single readings get lost, and a day that a forecast would look back
    to may be missing: each is rare in most training data and common where a forecast is needed.

    Args:
        batch: Windows.
        gaps: Share of the places of a window that fail, from a random step on for a random number
            of steps. Of all readings, also of earlier days, a window loses up to as large a share,
            drawn for each window; and every earlier day is hidden at a place twice as often.
        noise: Largest spread of the noise in z-scores, drawn anew for each window; half of the
            windows get none.

    Returns:
        The changed windows; the given ones are untouched.
    """
    values, observed, earlier = batch.values, batch.observed, batch.earlier
    if noise > 0:
        spread = noise * torch.rand(len(values), 1, 1, 1, device=values.device)
        spread = spread * (torch.rand_like(spread) < 0.5)
        values = values + spread * torch.randn_like(values) * observed[..., None]
    if gaps > 0:
        observed = observed & ~_gaps(observed, gaps)
        values = values * observed[..., None]
        if earlier is not None:
            num_lags = earlier.shape[-1] // 2  # values, then flags
            shape = (len(earlier), 1, earlier.shape[2], num_lags)
            kept = torch.rand(shape, device=earlier.device) >= 2 * gaps
            lost = torch.rand(len(earlier), 1, 1, 1, device=earlier.device) * gaps
            kept = kept & (
                torch.rand((*earlier.shape[:3], num_lags), device=earlier.device) >= lost
            )
            earlier = earlier * torch.cat([kept, kept], dim=-1)
    return batch._replace(values=values, observed=observed, earlier=earlier)


def _gaps(
    observed: Bool[Tensor, "batch history node"], share: float
) -> Bool[Tensor, "batch history node"]:
    """Draw outages of places and losses of single readings."""
    windows, history, nodes = observed.shape
    device = observed.device
    step = torch.arange(history, device=device)[:, None]
    start = torch.randint(history, (windows, 1, nodes), device=device)
    length = torch.randint(1, history + 1, (windows, 1, nodes), device=device)
    fails = torch.rand(windows, 1, nodes, device=device) < share
    outage = fails & (step >= start) & (step < start + length)
    lost = torch.rand(windows, 1, 1, device=device) * share
    return outage | (torch.rand(observed.shape, device=device) < lost)
