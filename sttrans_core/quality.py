"""Is the alignment telling the truth? Hide what it points at, and see whether forecasts move."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from sttrans_core.forecaster import Forecaster

__all__ = ["deletion_curve"]


@torch.no_grad()
def deletion_curve(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any],
    *,
    nodes: Sequence[str] | None = None,
    removed: Sequence[int] = (0, 1, 2, 4, 8, 16, 32, 64),
    num_random: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Hide sources from the model, those with most weight first, and measure how forecasts suffer.

    If the alignment is faithful, hiding the sources it weighs most changes the forecast more than
    hiding as many sources drawn at random, or as many of the nearest ones. Sources are readings of
    other places; the target's own history is never hidden.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.
        removed: Numbers of sources to hide, ascending; at most the number of sources.
        num_random: Random orders to average.
        seed: Of the random orders.

    Returns:
        Over (order, removed): `error`, the mean absolute error against the truth, and `shift`,
        the mean absolute change of the forecast, both in original units; `order` is
        `alignment`, `nearest` or `random`.

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time or node is unknown, or `removed` is out of range.

    Source: Petsiuk et al., "RISE" (2018), deletion metric.
    """
    ids = forecaster.data.nodes
    targets = list(nodes) if nodes is not None else ids
    history = forecaster.config.data.history_steps
    num_sources = history * (len(ids) - 1)
    if max(removed) > num_sources or min(removed) < 0:
        raise ValueError(
            f"removed must be between 0 and the number of sources ({num_sources}); got "
            f"{list(removed)}. Leave the larger numbers out."
        )
    rng = np.random.default_rng(seed)
    orders = ("alignment", "nearest", "random")
    errors = np.zeros((len(orders), len(removed), 2))  # (order, removed, [error, shift])
    counts = np.zeros((len(orders), len(removed), 2))
    for time in times:
        alignment = forecaster.align(dataset, time, targets)
        truth = forecaster.forecast(dataset, [time])["target"].values[0]  # (P, N)
        for query, node in enumerate(targets):
            index = ids.index(node)
            ranked = {
                "alignment": [_by_weight(alignment.isel(query_node=query), history, len(ids))],
                "nearest": [_by_distance(forecaster, index, history)],
                "random": [rng.permutation(history * len(ids)) for _ in range(num_random)],
            }
            ranked = {
                order: [ranking[ranking % len(ids) != index] for ranking in rankings]
                for order, rankings in ranked.items()
            }  # the target's own history is no source
            for row, order in enumerate(orders):
                for ranking in ranked[order]:
                    values = _forecasts_without(forecaster, dataset, time, index, ranking, removed)
                    error = np.abs(values - truth[:, index])  # (removed, P)
                    shift = np.abs(values - values[0])
                    for column, measure in enumerate((error, shift)):
                        errors[row, :, column] += np.nansum(measure, axis=1)
                        counts[row, :, column] += np.isfinite(measure).sum(axis=1)
    mean = errors / np.maximum(counts, 1)
    return xr.Dataset(
        {name: (("order", "removed"), mean[:, :, i]) for i, name in enumerate(("error", "shift"))},
        coords={"order": list(orders), "removed": list(removed)},
        attrs={
            **{name: dataset.attrs[name] for name in ("units", "title", "synthetic")},
            "model": forecaster.config.label,
            "num_forecasts": len(times) * len(targets),
        },
    )


def _by_weight(alignment: xr.Dataset, history: int, num_nodes: int) -> np.ndarray:
    """Rank sources by weight, averaged over heads and segments; the unkept ones come last."""
    weight = alignment["weight"].mean("head").values  # (S, K)
    flat = alignment["source_step"].values * num_nodes + alignment["source_node_index"].values
    total = np.zeros(history * num_nodes)
    np.add.at(total, flat.ravel(), weight.ravel())
    return np.argsort(-total, kind="stable")


def _by_distance(forecaster: Forecaster, node: int, history: int) -> np.ndarray:
    """Rank sources by distance to the target, the newest step of a place first."""
    geometry = forecaster.model.geometry
    num_nodes = geometry.num_nodes
    everyone = torch.arange(num_nodes, device=geometry.position.device)
    east, north = geometry.offsets_km(torch.full_like(everyone, node), everyone)
    distance = torch.hypot(east, north).cpu().numpy()
    nodes = np.argsort(distance, kind="stable")
    return (np.arange(history)[::-1] * num_nodes + nodes[:, None]).ravel()


def _forecasts_without(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    time: Any,
    node: int,
    ranking: np.ndarray,
    removed: Sequence[int],
) -> np.ndarray:
    """Forecast one node with the first sources of a ranking hidden, (removed, horizon)."""
    windows = forecaster.windows(dataset)
    last = windows.times.get_loc(pd.Timestamp(time))
    batch = windows.batch([last - windows.history_steps + 1] * (1 + len(removed)))
    observed = batch.observed.clone().flatten(1)
    for row, number in enumerate(removed, start=1):
        observed[row, torch.from_numpy(ranking[:number].copy())] = False
    observed = observed.unflatten(1, batch.observed.shape[1:])
    batch = batch._replace(observed=observed, values=batch.values * observed.unsqueeze(-1))
    query = torch.tensor([node], device=forecaster.device)
    values, _ = forecaster.model(batch, query_nodes=query)
    return forecaster.data.scaler.inverse(values[1:, :, 0].float()).cpu().numpy()
