"""Is the alignment telling the truth? Hide what it points at, and see whether forecasts move."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr

from sttrans_core.data.windows import Batch
from sttrans_core.forecaster import Forecaster

__all__ = ["deletion_curve"]

ORDERS = ("alignment", "nearest", "random")
ROWS_AT_ONCE = 64  # masked windows per forward


class _Row(NamedTuple):
    """One forecast to make: a target, what is hidden from it, and where its errors are summed."""

    target: int  # position among the targets
    hidden: np.ndarray  # flat (step, node) indices
    order: int
    removal: int


@torch.no_grad()
def deletion_curve(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
    removed: Sequence[int] = (0, 1, 2, 4, 8, 16, 32, 64),
    num_random: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Hide sources from the model, those with most weight first, and measure how forecasts suffer.

    If the alignment is faithful, hiding the sources it weighs most changes the forecast more than
    hiding as many sources drawn at random, or as many of the nearest ones. Sources are observed
    readings of other places; the target's own history is never hidden.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.
        removed: Numbers of sources to hide, at most the number of sources; where a window has
            fewer observed ones, all of them are hidden.
        num_random: Random orders to average.
        seed: Of the random orders.

    Returns:
        Over (order, removed): `error`, the mean absolute error against the truth, and `shift`,
        the mean absolute change from the forecast with nothing hidden, both in original units;
        `order` is `alignment`, `nearest` or `random`.

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time or node is unknown or there is none, or `removed` is out of range.

    Source: Petsiuk et al., "RISE" (2018), deletion metric.
    """
    ids = forecaster.data.nodes
    targets = forecaster.indices(nodes if nodes is not None else ids)
    num_sources = forecaster.config.data.history_steps * (len(ids) - 1)
    if len(removed) == 0 or max(removed) > num_sources or min(removed) < 0:
        raise ValueError(
            f"removed must be between 0 and the number of sources ({num_sources}); got "
            f"{list(removed)}. Leave the larger numbers out."
        )
    if num_random < 1:
        raise ValueError(
            f"num_random must be at least 1; got {num_random}. Ask for one random order."
        )
    origins = np.atleast_1d(np.asarray(times))
    names = [ids[index] for index in targets]
    whole = forecaster.forecast(dataset, origins).isel(node=targets)
    nearest = [_by_distance(forecaster, index) for index in targets]
    rng = np.random.default_rng(seed)
    sums = np.zeros((2, len(ORDERS), len(removed)))  # of [error, shift]
    counts = np.zeros_like(sums)
    for step, time in enumerate(whole["time"].values):
        batch = forecaster.batch(dataset, [time])
        alignment = forecaster.align(dataset, time, names)
        truth, untouched = (whole[name].values[step].T for name in ("target", "forecast"))  # (Q, P)
        seen = batch.observed[0].cpu().numpy()
        rows = []
        for target, index in enumerate(targets):
            weight = _weights(alignment.isel(query_node=target), seen.shape)
            orders = _orders(seen, index, weight, nearest[target], rng, num_random)
            rows += [
                _Row(target, ranking[:number], order, removal)
                for order, ranking in orders
                for removal, number in enumerate(removed)
            ]
        for row, values in _forecasts_without(forecaster, batch, targets, rows, untouched):
            for column, reference in enumerate((truth, untouched)):
                difference = np.abs(values - reference[row.target])  # (P,)
                sums[column, row.order, row.removal] += np.nansum(difference)
                counts[column, row.order, row.removal] += np.isfinite(difference).sum()
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return xr.Dataset(
        {name: (("order", "removed"), mean[i]) for i, name in enumerate(("error", "shift"))},
        coords={"order": list(ORDERS), "removed": list(removed)},
        attrs={
            **{name: dataset.attrs[name] for name in ("units", "title", "source", "synthetic")},
            "model": forecaster.config.label,
            "num_forecasts": len(origins) * len(targets),
        },
    )


def _orders(
    seen: np.ndarray,
    target: int,
    weight: np.ndarray,
    nearest: np.ndarray,
    rng: np.random.Generator,
    num_random: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """Give the orders in which observed sources of other places are hidden from a target."""
    sources = seen.copy()
    sources[:, target] = False  # the target's own history is no source
    sources = sources.ravel()
    by_weight = np.argsort(-weight, kind="stable")  # those that were not kept come last
    yield 0, by_weight[sources[by_weight]]
    yield 1, nearest[sources[nearest]]
    for _ in range(num_random):
        yield 2, rng.permutation(np.flatnonzero(sources))


def _weights(alignment: xr.Dataset, shape: tuple[int, ...]) -> np.ndarray:
    """Sum the weights of each (step, node), averaged over heads, over the segments of a query."""
    weight = alignment["weight"].mean("head").values  # (S, K)
    total = np.zeros(shape)
    at = alignment["source_step"].values, alignment["source_node_index"].values
    np.add.at(total, at, weight)
    return total.ravel()


def _by_distance(forecaster: Forecaster, node: int) -> np.ndarray:
    """Rank sources by distance to the target, the newest step of a place first."""
    history = forecaster.config.data.history_steps
    geometry = forecaster.model.geometry
    num_nodes = geometry.num_nodes
    everyone = torch.arange(num_nodes, device=geometry.position.device)
    east, north = geometry.offsets_km(torch.full_like(everyone, node), everyone)
    distance = torch.hypot(east, north).cpu().numpy()
    nodes = np.argsort(distance, kind="stable")
    return (np.arange(history)[::-1] * num_nodes + nodes[:, None]).ravel()


def _forecasts_without(
    forecaster: Forecaster,
    batch: Batch,
    targets: list[int],
    rows: list[_Row],
    untouched: np.ndarray,
) -> Iterator[tuple[_Row, np.ndarray]]:
    """Forecast each row's target with its sources hidden; rows of one target follow each other."""
    changed = []
    for row in rows:
        if row.hidden.size:
            changed.append(row)
        else:
            yield row, untouched[row.target]
    for first in range(0, len(changed), ROWS_AT_ONCE):
        some = changed[first : first + ROWS_AT_ONCE]
        observed = batch.observed.flatten(1).repeat(len(some), 1)
        for position, row in enumerate(some):
            observed[position, torch.from_numpy(row.hidden.copy())] = False
        observed = observed.unflatten(1, batch.observed.shape[1:])
        many = Batch(
            values=batch.values * observed.unsqueeze(-1),
            observed=observed,
            time_of_day=batch.time_of_day.expand(len(some), -1),
            day_of_week=batch.day_of_week.expand(len(some), -1),
            year_share=batch.year_share.expand(len(some), -1),
            earlier=None if batch.earlier is None else batch.earlier.expand(len(some), -1, -1, -1),
        )
        # Every row is forecast for all targets of the chunk, and its own one is picked.
        together = sorted({row.target for row in some})
        query = torch.tensor([targets[target] for target in together], device=forecaster.device)
        values = forecaster.predict(many, query_nodes=query).cpu().numpy()  # (rows, P, Q)
        for position, row in enumerate(some):
            yield row, values[position, :, together.index(row.target)]
