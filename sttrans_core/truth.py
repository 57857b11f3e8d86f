"""Scoring an alignment against the truth, which only simulated traffic has.

What happens at a place in congested traffic comes from downstream, at the wave speed; in free
traffic it comes from upstream, at the free-flow speed. Followed backwards in time, this is the
characteristic line that ends at a target. The readings it passes are the target's true causes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import gammaln

from sttrans_core.schema import check_alignment, interval_of

__all__ = ["HitRate", "hit_rate", "true_causes"]

KMH_PER_MPH = 1.609344
REGIMES = ("congested", "free")
NEEDED_ATTRS = ("free_flow_kmh", "wave_speed_kmh", "critical_speed_mph")


class _Corridors(NamedTuple):
    """Where each node lies along its corridor."""

    corridor: np.ndarray  # (N,) index
    rank: np.ndarray  # (N,) position in the direction of travel
    km: np.ndarray  # (N,)


def _corridors(dataset: xr.Dataset) -> _Corridors:
    missing = [n for n in ("corridor", "milepost_km") if n not in dataset.coords]
    missing += [n for n in NEEDED_ATTRS if n not in dataset.attrs]
    missing += [n for n in ("noiseless",) if n not in dataset]
    if missing:
        raise ValueError(
            f"The true causes must be known in the dataset; got none of {', '.join(missing)}. "
            f"Use a simulated dataset."
        )
    km = dataset["milepost_km"].values.astype(float)
    corridor = np.unique(dataset["corridor"].values, return_inverse=True)[1]
    same = corridor[:, None] == corridor[None, :]
    rank = (same & (km[None, :] < km[:, None])).sum(1)
    return _Corridors(corridor, rank, km)


def _origin_index(dataset: xr.Dataset, time: object, history_steps: int) -> int:
    stamps = dataset.indexes["time"]
    stamp = pd.Timestamp(time)  # type: ignore[arg-type]
    if stamp not in stamps:
        raise ValueError(
            f"time must be a time stamp of the dataset; got {stamp}. "
            f"Choose one from {stamps[0]} to {stamps[-1]}."
        )
    index = int(stamps.get_loc(stamp))  # type: ignore[arg-type]
    if index + 1 < history_steps:
        raise ValueError(
            f"The history must lie inside the dataset; got {history_steps} steps up to {stamp}, "
            f"{index + 1} of them there. Choose a later time."
        )
    return index


class _Lines(NamedTuple):
    """The characteristic lines that end at each query at one time."""

    node: np.ndarray  # (Q, T) node that the line passes at each history step, -1 where it is out
    is_congested: np.ndarray  # (Q,)
    has_truth: np.ndarray  # (Q,) the target lies inside the dataset


def _trace(
    dataset: xr.Dataset,
    places: _Corridors,
    slow: np.ndarray,
    *,
    origin: int,
    horizon_step: int,
    queries: np.ndarray,
    history_steps: int,
    stay_in_regime: bool,
) -> _Lines:
    arrival = origin + horizon_step
    if arrival >= len(slow):
        unknown = np.full((len(queries), history_steps), -1)
        no = np.zeros(len(queries), bool)
        return _Lines(unknown, no, no)
    is_congested = slow[arrival, queries]
    hours = interval_of(dataset) / pd.Timedelta("1h")
    # Positive is downstream: a queue's causes lie ahead, those of free traffic behind.
    drift = hours * np.where(
        is_congested, dataset.attrs["wave_speed_kmh"], -dataset.attrs["free_flow_kmh"]
    )
    lag = np.arange(horizon_step + history_steps)
    km = places.km[queries, None] + lag * drift[:, None]  # (Q, L)
    same = places.corridor[queries, None] == places.corridor[None, :]  # (Q, N)
    gap = np.where(same[:, None], np.abs(km[..., None] - places.km), np.inf)  # (Q, L, N)
    node = gap.argmin(-1)
    first = np.where(same, places.km, np.inf).min(1)
    last = np.where(same, places.km, -np.inf).max(1)
    inside = (km >= first[:, None]) & (km <= last[:, None])
    if stay_in_regime:
        # A line ends where a queue ends: behind its head, traffic comes from elsewhere.
        regime = slow[np.maximum(arrival - lag, 0)[None, :], node]
        inside &= np.logical_and.accumulate(regime == is_congested[:, None], axis=1)
    node = np.where(inside, node, -1)[:, horizon_step:][:, ::-1]  # lag -> history step
    return _Lines(node, is_congested, np.ones(len(queries), bool))


def _tolerance(places: _Corridors, line: np.ndarray) -> np.ndarray:
    """Mark what is within one node and one step of each line, (Q, T) -> (Q, T, N)."""
    passed = line >= 0
    rank, corridor = places.rank[line], places.corridor[line]
    near = passed[..., None] & (corridor[..., None] == places.corridor)
    near &= np.abs(rank[..., None] - places.rank) <= 1
    wide = near.copy()
    wide[:, 1:] |= near[:, :-1]
    wide[:, :-1] |= near[:, 1:]
    return wide


def true_causes(
    dataset: xr.Dataset,
    time: object,
    *,
    horizon_step: int,
    nodes: Iterable[str] | None = None,
    history_steps: int = 12,
    stay_in_regime: bool = True,
) -> xr.Dataset:
    """Give the sources that truly cause the speed at each target, within the history.

    Args:
        dataset: A simulated freeway, with `noiseless`, `corridor` and `milepost_km`.
        time: Forecast origin, the time stamp of the last history step.
        horizon_step: Step of the target after the origin, 1 or more.
        nodes: Ids of the targets; all by default.
        history_steps: Steps of the history that ends at `time`.
        stay_in_regime: End the line where it leaves the queue (or the free stretch) of its
            target, as traffic theory has it; otherwise follow it straight to the corridor's end.

    Returns:
        A dataset with `line_node(query_node, history_step)`, the index of the node that the line
        passes nearest, -1 where it is outside the corridor, the regime or the history;
        `near_line(query_node, history_step, node)`, what is within one node and one step;
        `congested(query_node)`, whether the true speed at the target is below critical; and
        `scorable(query_node)`, whether any source lies on the line. Lines do not turn off into
        another corridor.

    Raises:
        ValueError: The dataset has no truth, or time, horizon or nodes are not in it.

    Source: the kinematic waves of C. F. Daganzo, Transportation Research B 28 (1994), section 2.
    """
    places = _corridors(dataset)
    origin = _origin_index(dataset, time, history_steps)
    if horizon_step < 1:
        raise ValueError(
            f"horizon_step must be at least 1; got {horizon_step}. Count from the first forecast."
        )
    ids = dataset["node"].values
    chosen = ids if nodes is None else np.array(list(nodes))
    queries = _indices(dataset, chosen)
    lines = _trace(
        dataset,
        places,
        _is_slow(dataset),
        origin=origin,
        horizon_step=horizon_step,
        queries=queries,
        history_steps=history_steps,
        stay_in_regime=stay_in_regime,
    )
    return xr.Dataset(
        {
            "line_node": (("query_node", "history_step"), lines.node),
            "near_line": (("query_node", "history_step", "node"), _tolerance(places, lines.node)),
            "congested": ("query_node", lines.is_congested),
            "scorable": ("query_node", (lines.node >= 0).any(1)),
        },
        coords={
            "query_node": chosen,
            "history_step": np.arange(history_steps),
            "node": ids,
            "time": pd.Timestamp(time),  # type: ignore[arg-type]
            "horizon_step": horizon_step,
        },
    )


def _indices(dataset: xr.Dataset, chosen: np.ndarray) -> np.ndarray:
    index = dataset.indexes["node"].get_indexer(chosen)
    if (index < 0).any():
        raise ValueError(
            f"Nodes must be ids of the dataset; got {chosen[index < 0][0]!r}. "
            f"Use ids such as {dataset['node'].values[0]!r}."
        )
    return index


def _is_slow(dataset: xr.Dataset) -> np.ndarray:
    speed = dataset["noiseless"].values
    in_mph = speed / KMH_PER_MPH if dataset.attrs.get("units") == "km/h" else speed
    return in_mph < dataset.attrs["critical_speed_mph"]


class HitRate(NamedTuple):
    """How often an alignment holds the true cause, and how often other choices would.

    All values are shares between 0 and 1 over the scored targets, NaN where there are none.

    Attributes:
        hit_rate: Targets with at least one true cause among their top sources.
        chance: The same, expected for as many sources drawn at random among the observed ones.
        nearest: The same, for the newest observed readings of the nearest nodes.
        weight_share: Share of the top sources' weight that lies on true causes, mean.
        chance_share: The same, expected at random.
        num_scored: Targets scored: their line passes an observed source in the history.
        num_targets: Targets in the regime asked for, scored or not.
        by_regime: The same figures over (regime, segment).
    """

    hit_rate: float
    chance: float
    nearest: float
    weight_share: float
    chance_share: float
    num_scored: int
    num_targets: int
    by_regime: xr.Dataset


def hit_rate(
    alignments: xr.Dataset | Iterable[xr.Dataset],
    dataset: xr.Dataset,
    *,
    top: int = 8,
    congested_only: bool = True,
    stay_in_regime: bool = True,
) -> HitRate:
    """Score alignments against the true causes of their targets.

    The target of a segment is its middle step (of an even number, the earlier one), so that one
    step of tolerance covers a segment of three. Only heads' mean weights count. A target counts
    as hit when one of its `top` sources lies within one node and one step of its line.

    Args:
        alignments: One or more alignments, each of one forecast origin.
        dataset: The simulated dataset they were made from.
        top: Sources to look at per target, those of the largest weight.
        congested_only: Leave targets in free traffic out of the totals; they are in `by_regime`
            either way.
        stay_in_regime: As in `true_causes`.

    Returns:
        The hit rate, the rates of chance and of the nearest sources beside it, and what share of
        the weight is on the causes.

    Raises:
        ValueError: `top` is below 1, there are no alignments, or they do not fit the dataset.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}. Look at one source or more.")
    several = [alignments] if isinstance(alignments, xr.Dataset) else list(alignments)
    if not several:
        raise ValueError("There must be an alignment to score; got none. Pass one or more.")
    places = _corridors(dataset)
    slow = _is_slow(dataset)
    observed = np.isfinite(dataset["target"].values)
    rows = [
        _score_one(alignment, dataset, places, slow, observed, top, stay_in_regime)
        for alignment in several
    ]
    table = pd.concat(rows, ignore_index=True)
    segments = np.unique(table["segment"])
    cells = {
        (regime, segment): _summary(
            table[(table["congested"] == (regime == "congested")) & (table["segment"] == segment)]
        )
        for regime in REGIMES
        for segment in segments
    }
    names = [name for name in HitRate._fields if name != "by_regime"]
    by_regime = xr.Dataset(
        {
            name: (
                ("regime", "segment"),
                [[cells[regime, segment][name] for segment in segments] for regime in REGIMES],
            )
            for name in names
        },
        coords={"regime": list(REGIMES), "segment": segments},
        attrs={"top": top, "stay_in_regime": int(stay_in_regime)},
    )
    total = _summary(table[table["congested"]] if congested_only else table)
    return HitRate(by_regime=by_regime, **total)


def _score_one(
    alignment: xr.Dataset,
    dataset: xr.Dataset,
    places: _Corridors,
    slow: np.ndarray,
    observed: np.ndarray,
    top: int,
    stay_in_regime: bool,
) -> pd.DataFrame:
    """Score each (query node, segment) of one alignment; one row each."""
    check_alignment(alignment)
    history_steps = int(alignment.attrs["history_steps"])
    origin = _origin_index(dataset, alignment["time"].values, history_steps)
    queries = _indices(dataset, alignment["query_node"].values)
    seen = observed[origin + 1 - history_steps : origin + 1]  # (T, N)
    weight = alignment["weight"].mean("head").values  # (Q, S, K)
    weight = np.where(alignment["valid"].values, weight, 0.0)
    best = np.argsort(-weight, axis=-1, kind="stable")[..., :top]
    weight = np.take_along_axis(weight, best, -1)
    node = np.take_along_axis(alignment["source_node_index"].values, best, -1)
    step = np.take_along_axis(alignment["source_step"].values, best, -1)
    nearest = _nearest_nodes(dataset, queries, seen, top)
    newest = history_steps - 1 - seen[::-1].argmax(0)
    row = np.arange(len(queries))[:, None]
    frames = []
    for s, segment in enumerate(alignment["segment"].values):
        first = int(alignment["segment_first_step"].values[s])
        middle = (first + int(alignment["segment_last_step"].values[s])) // 2
        lines = _trace(
            dataset,
            places,
            slow,
            origin=origin,
            horizon_step=middle,
            queries=queries,
            history_steps=history_steps,
            stay_in_regime=stay_in_regime,
        )
        cause = _tolerance(places, lines.node) & seen  # (Q, T, N)
        kept = weight[:, s] > 0
        on_cause = cause[row, step[:, s], node[:, s]] & kept
        causes, sources = cause.sum((1, 2)), int(seen.sum())
        total = weight[:, s].sum(-1)
        frames.append(
            pd.DataFrame(
                {
                    "segment": segment,
                    "congested": lines.is_congested,
                    "known": lines.has_truth,
                    "scored": lines.has_truth & (causes > 0),
                    "hit_rate": on_cause.any(-1),
                    "chance": _chance(causes, sources, top),
                    "nearest": cause[row, newest[nearest], nearest].any(-1),
                    "weight_share": (weight[:, s] * on_cause).sum(-1)
                    / np.where(total > 0, total, 1.0),
                    "chance_share": causes / max(sources, 1),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame[frame["known"]]


def _nearest_nodes(
    dataset: xr.Dataset, queries: np.ndarray, seen: np.ndarray, top: int
) -> np.ndarray:
    """Give the nearest nodes with any observed reading, the query itself first, (Q, top)."""
    latitude, longitude = np.radians(dataset["latitude"].values), np.radians(dataset["longitude"])
    east = longitude.values * np.cos(latitude.mean())
    away = np.hypot(
        latitude[queries, None] - latitude[None, :], east[queries, None] - east[None, :]
    )
    away[:, ~seen.any(0)] = np.inf
    return np.argsort(away, axis=1, kind="stable")[:, :top]


def _chance(causes: np.ndarray, sources: int, top: int) -> np.ndarray:
    """Give the exact probability that `top` of `sources` drawn at random hold a cause."""
    draws = min(top, sources)
    others = sources - causes
    missed = np.where(
        others >= draws,
        np.exp(
            gammaln(others + 1)
            - gammaln(np.maximum(others - draws, 0) + 1)
            - gammaln(sources + 1)
            + gammaln(sources - draws + 1)
        ),
        0.0,
    )
    return 1 - missed


def _summary(table: pd.DataFrame) -> dict:
    scored = table[table["scored"]]
    figures = ("hit_rate", "chance", "nearest", "weight_share", "chance_share")
    means = {name: float(scored[name].mean()) if len(scored) else np.nan for name in figures}
    return means | {"num_scored": len(scored), "num_targets": len(table)}
