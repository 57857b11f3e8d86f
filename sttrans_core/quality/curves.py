"""Hide what the alignment points at, or show nothing else, and see how forecasts move."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr

from sttrans_core.data.windows import Batch
from sttrans_core.forecaster import Forecaster, windows_at_once
from sttrans_core.grid import as_nodes
from sttrans_core.quality.orders import Order, Ranking, check_orders, ranked_sources

__all__ = ["deletion_curve", "faithfulness_curves", "insertion_curve"]

Direction = Literal["deletion", "insertion"]
NUMBERS = (0, 1, 2, 4, 8, 16, 32, 64)
ORDERS: tuple[Order, ...] = ("alignment", "nearest", "random")


def deletion_curve(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
    removed: Sequence[int] = NUMBERS,
    orders: Sequence[Order] = ORDERS,
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
        orders: `alignment` goes by the weights of the last layer, summed over segments;
            `integrated_gradients` by the size of the attributions, which takes Captum; `nearest`
            by distance, the newest step of a place first; `random` by chance.
        num_random: Random orders to average.
        seed: Of the random orders.

    Returns:
        Over (order, removed): `error`, the mean absolute error against the truth, and `shift`,
        the mean absolute change from the forecast with nothing hidden, both in original units.
        Over (order,): `area`, the mean height of the curve of `shift`, as a share of the shift
        with every source hidden; the larger, the sooner the forecast moves.

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time, node or order is unknown or there is none, or `removed` is out of range.
        ImportError: Captum is missing and asked for.

    Source: Petsiuk et al., "RISE" (2018), deletion metric.
    """
    curves = faithfulness_curves(
        forecaster, dataset, times, nodes=nodes, numbers=removed, directions=["deletion"],
        orders=orders, num_random=num_random, seed=seed,
    )  # fmt: skip
    return curves.sel(direction="deletion", drop=True).rename(number="removed")


def insertion_curve(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
    revealed: Sequence[int] = NUMBERS,
    orders: Sequence[Order] = ORDERS,
    num_random: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Hide all sources and reveal them, those with most weight first: is the forecast soon back?

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.
        revealed: Numbers of sources to reveal, at most the number of sources.
        orders: As in `deletion_curve`.
        num_random: Random orders to average.
        seed: Of the random orders.

    Returns:
        Over (order, revealed): `error` and `shift` as in `deletion_curve`. Over (order,): `area`,
        1 minus the mean height of the curve of `shift`, as a share of the shift with every source
        hidden; the larger, the sooner the forecast is what all sources make it.

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time, node or order is unknown or there is none, or `revealed` is out of
            range.
        ImportError: Captum is missing and asked for.

    Source: Petsiuk et al., "RISE" (2018), insertion metric.
    """
    curves = faithfulness_curves(
        forecaster, dataset, times, nodes=nodes, numbers=revealed, directions=["insertion"],
        orders=orders, num_random=num_random, seed=seed,
    )  # fmt: skip
    return curves.sel(direction="insertion", drop=True).rename(number="revealed")


def faithfulness_curves(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
    numbers: Sequence[int] = NUMBERS,
    directions: Sequence[Direction] = ("deletion", "insertion"),
    orders: Sequence[Order] = ORDERS,
    num_random: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Give deletion and insertion curves of the same rankings; see `deletion_curve`.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.
        numbers: Of sources that are hidden, or revealed.
        directions: Which curves.
        orders: As in `deletion_curve`.
        num_random: Random orders to average.
        seed: Of the random orders.

    Returns:
        `error` and `shift` over (direction, order, number), `area` over (direction, order).

    Raises:
        RunError: The dataset does not fit the run, or the run has no alignment.
        ValueError: A time, node or order is unknown or there is none, or a number is out of range.
        ImportError: Captum is missing and asked for.
    """
    dataset = as_nodes(dataset)
    ids = forecaster.data.nodes
    targets = forecaster.indices(nodes if nodes is not None else ids)
    _check_numbers(numbers, directions, forecaster.config.data.history_steps * (len(ids) - 1))
    check_orders(orders, num_random)
    origins = np.atleast_1d(np.asarray(times))
    truth = forecaster.forecast(dataset, origins)["target"].isel(node=targets)
    truth = truth.transpose("time", "node", ...)
    shape = (len(directions), len(orders), len(numbers))
    nothing, everything = np.prod(shape, dtype=int) + np.arange(2)  # cells beside the curves
    sums = np.zeros((2, everything + 1))  # of [error, shift], in every cell
    counts = np.zeros_like(sums)
    ranked = ranked_sources(
        forecaster, dataset, truth["time"].values, targets,
        orders=orders, num_random=num_random, seed=seed,
    )  # fmt: skip
    for step, (batch, rankings) in enumerate(ranked):
        for place, target in enumerate(targets):
            sources = rankings[place][0].sources
            cells, hidden = [nothing, everything], [sources[:0], sources]
            for cell, some in _cuts(rankings[place], numbers, directions):
                cells.append(np.ravel_multi_index(cell, shape))
                hidden.append(some)
            values = _forecasts_without(forecaster, batch, target, hidden)  # (row, P, C)
            for column, reference in enumerate((truth.values[step, place], values[0])):
                # The truth of a dataset without channels has none either.
                difference = np.abs(values - reference.reshape(values.shape[1:]))
                difference = difference.reshape(len(values), -1)
                np.add.at(sums[column], cells, np.nansum(difference, 1))
                np.add.at(counts[column], cells, np.isfinite(difference).sum(1))
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    error, shift = (each[:nothing].reshape(shape) for each in mean)
    area = _area(shift, mean[1, everything], numbers, directions)
    return xr.Dataset(
        {
            "error": (("direction", "order", "number"), error),
            "shift": (("direction", "order", "number"), shift),
            "area": (("direction", "order"), area),
        },
        coords={"direction": list(directions), "order": list(orders), "number": list(numbers)},
        attrs={
            **{name: dataset.attrs[name] for name in ("units", "title", "source", "synthetic")},
            "model": forecaster.config.label,
            "num_forecasts": len(origins) * len(targets),
        },
    )


def _check_numbers(
    numbers: Sequence[int], directions: Sequence[Direction], num_sources: int
) -> None:
    if len(numbers) == 0 or max(numbers) > num_sources or min(numbers) < 0:
        name = "removed" if "deletion" in directions else "revealed"
        raise ValueError(
            f"{name} must be between 0 and the number of sources ({num_sources}); got "
            f"{list(numbers)}. Leave the larger numbers out."
        )


def _cuts(
    rankings: list[Ranking], numbers: Sequence[int], directions: Sequence[Direction]
) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Give the cell of the curves that a forecast belongs to, and what is hidden from it."""
    for order, sources in rankings:
        for side, direction in enumerate(directions):
            for place, number in enumerate(numbers):
                is_deletion = direction == "deletion"
                yield (side, order, place), sources[:number] if is_deletion else sources[number:]


@torch.no_grad()
def _forecasts_without(
    forecaster: Forecaster, batch: Batch, target: int, hidden: Sequence[np.ndarray]
) -> np.ndarray:
    """Forecast one target of one window with some sources hidden, over (row, horizon, channel)."""
    keys = [np.sort(each).tobytes() for each in hidden]
    distinct = dict(zip(keys, hidden, strict=True))  # orders often agree on what to hide
    query = torch.tensor([target], device=forecaster.device)
    size, made = windows_at_once(len(forecaster.data.nodes)), []
    several = list(distinct.values())
    for first in range(0, len(several), size):
        some = several[first : first + size]
        observed = batch.observed.flatten(1).repeat(len(some), 1)
        for row, each in enumerate(some):
            observed[row, torch.from_numpy(each.copy())] = False
        observed = observed.unflatten(1, batch.observed.shape[1:])
        many = Batch(
            *(each if each is None else each.expand(len(some), *each.shape[1:]) for each in batch)
        )
        many = many._replace(values=many.values * observed.unsqueeze(-1), observed=observed)
        made.append(forecaster.predict(many, query_nodes=query)[:, :, 0].cpu().numpy())
    row_of = {key: row for row, key in enumerate(distinct)}
    return np.concatenate(made)[[row_of[key] for key in keys]]


def _area(
    shift: np.ndarray, largest: float, numbers: Sequence[int], directions: Sequence[Direction]
) -> np.ndarray:
    """Give the mean height of curves, upside down where sources are revealed."""
    order = np.argsort(numbers)
    steps, height = np.diff(np.asarray(numbers, float)[order]), shift[..., order]
    if steps.sum() > 0:
        height = (height[..., 1:] + height[..., :-1]) / 2 @ steps / steps.sum()  # trapezoids
    else:
        height = height.mean(-1)
    share = height / largest if largest > 0 else np.full_like(height, np.nan)
    is_deletion = np.array([direction == "deletion" for direction in directions])
    return np.where(is_deletion[:, None], share, 1 - share)
