"""Integrated gradients: a second opinion on what a forecast depends on, by Captum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sttrans_core.data.windows import Batch
from sttrans_core.forecaster import Forecaster, windows_at_once
from sttrans_core.grid import as_nodes

__all__ = ["integrated_gradients"]


def integrated_gradients(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
    num_steps: int = 16,
) -> xr.Dataset:
    """Attribute forecasts to readings by gradients on the way from the training mean to them.

    What is attributed is the mean of a place's forecast over the horizon. The way begins with
    every reading at the training mean, z-score 0, and leaves as it is which of them were observed.
    The choice of the Top-k has no gradient, only what is kept has; where the choice changes on the
    way the forecast jumps, and `gap` tells by how much the attributions miss it.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.
        num_steps: Points on the way; from 16 on hardly anything changes.

    Returns:
        `attribution` over (time, query_node, step, node), summed over channels, and over
        (time, query_node) `change`, from the forecast of mean readings to the forecast, and `gap`,
        what the attributions add up to beyond it; all in original units.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: A time or node is unknown or there is none, or `num_steps` is below 1.
        ImportError: Captum is missing.

    Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks" (2017), eq. 1.
    """
    dataset = as_nodes(dataset)
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ImportError(
            "Integrated gradients need captum. Install the extra: pip install 'sttrans[quality]', "
            "or leave them out of the orders."
        ) from error
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1; got {num_steps}. 16 are enough.")
    ids = forecaster.data.nodes
    targets = forecaster.indices(nodes if nodes is not None else ids)
    origins = np.atleast_1d(np.asarray(times))
    # Captum repeats every window for each point on the way.
    size = max(1, windows_at_once(len(ids)) // num_steps)
    shape = (len(origins), len(targets))
    attribution = np.zeros((*shape, forecaster.config.data.history_steps, len(ids)), np.float32)
    gap = np.zeros(shape)
    for first in range(0, max(1, len(origins)), size):
        rows = slice(first, first + size)
        values, *others = forecaster.batch(dataset, origins[rows])._replace(target=None)
        for column, target in enumerate(targets):
            explained, beyond = IntegratedGradients(_MeanForecast(forecaster, target)).attribute(
                values,
                additional_forward_args=tuple(others),
                n_steps=num_steps,
                return_convergence_delta=True,
            )
            attribution[rows, column] = explained.sum(-1).cpu().numpy()
            gap[rows, column] = beyond.cpu().numpy()
    dims = ("time", "query_node")
    return xr.Dataset(
        {
            "attribution": ((*dims, "step", "node"), attribution),
            "change": (dims, attribution.sum((2, 3)) - gap),
            "gap": (dims, gap),
        },
        coords={
            "time": pd.DatetimeIndex(origins),
            "query_node": [ids[target] for target in targets],
            "node": ids,
        },
        attrs={"units": dataset.attrs["units"], "model": forecaster.config.label},
    )


class _MeanForecast:
    """One place's forecast, averaged over the horizon, as a function of the scaled readings."""

    def __init__(self, forecaster: Forecaster, target: int) -> None:
        self.model, self.scaler = forecaster.model, forecaster.data.scaler
        self.query = torch.tensor([target], device=forecaster.device)

    def __call__(
        self, values: Float[Tensor, "batch history node channel"], *others: Tensor | None
    ) -> Float[Tensor, " batch"]:
        forecast = self.model(Batch(values, *others), query_nodes=self.query).forecast
        return self.scaler.inverse(forecast).flatten(1).mean(1)
