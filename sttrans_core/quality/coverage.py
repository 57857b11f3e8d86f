"""How much of dense attention the kept sources cover, over many forecasts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.forecaster import Forecaster
from sttrans_core.grid import as_nodes

__all__ = ["count_sources", "mean_covered_mass"]


def mean_covered_mass(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
) -> xr.Dataset:
    """Average the share of dense attention's mass that falls on the kept sources.

    Forecasts without any source to look at, and those whose mass is unknown because there are too
    many sources to tell, are left out.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.

    Returns:
        `covered_mass` over (segment, head), and over (segment,) `chance`, what as many sources
        drawn at random would cover: their share of the observed ones. NaN where all are left out.

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time or node is unknown or there is none.
    """
    dataset = as_nodes(dataset)
    names = list(nodes if nodes is not None else forecaster.data.nodes)
    covered, chance = [], []
    for time in np.atleast_1d(np.asarray(times)):
        alignment = forecaster.align(dataset, time, names)
        num_kept = alignment["valid"].sum("source")
        num_sources = count_sources(forecaster, dataset, time, names)
        covered.append(alignment["covered_mass"].where(num_kept > 0))
        chance.append((num_kept / num_sources).where(num_kept > 0))
    over = ("time", "query_node")
    summary = xr.Dataset(
        {
            "covered_mass": xr.concat(covered, "time").mean(over),
            "chance": xr.concat(chance, "time").mean(over),
        }
    )
    summary.attrs = {"model": forecaster.config.label, "num_forecasts": len(covered) * len(names)}
    return summary


def count_sources(
    forecaster: Forecaster, dataset: xr.Dataset, time: Any, nodes: Sequence[str]
) -> xr.DataArray:
    """Count the sources that the forecast of each place may look at.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        time: Forecast origin.
        nodes: Ids of the target places.

    Returns:
        Observed readings of other places in the history, over (query_node,).
    """
    seen = forecaster.batch(dataset, [time]).observed[0].sum(0).cpu().numpy()  # (N,)
    count = seen.sum() - seen[forecaster.indices(nodes)]
    return xr.DataArray(count, coords={"query_node": list(nodes)}, dims="query_node")
