"""Scoring alignments against the true causes, which only simulated data has."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import gammaln

from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_alignment
from sttrans_core.space.geometry import haversine_km
from sttrans_core.truth.causes import has_truth, true_causes, truth_of
from sttrans_core.truth.lines import node_indices, origin_index

__all__ = ["HitRate", "has_truth", "hit_rate", "true_causes"]

FIGURES = ("hit_rate", "chance", "nearest", "weight_share", "chance_share")


class HitRate(NamedTuple):
    """How often an alignment holds the true cause, and how often other choices would.

    All rates and shares are between 0 and 1 over the scored targets, NaN where there are none.

    Attributes:
        hit_rate: Targets with at least one true cause among their top sources.
        chance: The same, expected for as many sources drawn at random among the observed ones.
        nearest: The same, for the newest observed reading of each of as many nearest nodes.
        weight_share: Share of the top sources' weight that lies on true causes, mean.
        chance_share: The same, expected at random.
        num_scored: Targets whose line passes an observed source in the history.
        num_targets: Targets in the regime asked for, scored or not.
        by_regime: The same figures over (regime, segment): `congested` and `free` on a freeway,
            `carried` for weather.
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

    The target of a segment is its middle step (of an even number, the earlier one), so that the
    one step of tolerance covers a segment of three. Only the mean weight of the heads counts. A
    target counts as hit when one of its `top` sources lies within one node and one step of its
    line. A target's own readings are no sources. Targets whose line does not pass the history, or
    only missing readings, are not scored: nothing that could be looked at is their cause.

    Args:
        alignments: One or more alignments, each of one forecast origin.
        dataset: The simulated dataset they were made from, nodes or grid.
        top: Sources to look at per target, those of the largest weight.
        congested_only: On a freeway, leave targets in free traffic out of the totals; `by_regime`
            has them.
        stay_in_regime: As in `true_causes`.

    Returns:
        The hit rate, those of chance and of the nearest sources, and, more strictly, the share of
        the weight that is on the causes.

    Raises:
        ValueError: `top` is below 1, there are no alignments, or they do not fit the dataset.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}. Look at one source or more.")
    several = [alignments] if isinstance(alignments, xr.Dataset) else list(alignments)
    if not several:
        raise ValueError("There must be an alignment to score; got none. Pass one or more.")
    dataset = as_nodes(dataset)
    truth = truth_of(dataset, stay_in_regime=stay_in_regime)
    away_km = _distances(dataset)
    observed = np.isfinite(dataset["target"].values)
    tables = []
    for alignment in several:
        check_alignment(alignment)
        history_steps = int(alignment.attrs["history_steps"])
        origin = origin_index(dataset, alignment["time"].values, history_steps)
        queries = node_indices(dataset, alignment["query_node"].values)
        seen = observed[origin + 1 - history_steps : origin + 1]  # (T, N)
        others = queries[:, None] != np.arange(dataset.sizes["node"])
        sources = seen & others[:, None]  # (Q, T, N)
        best = _best_sources(alignment, top)
        nearest = _nearest_sources(np.where(others, away_km[queries], np.inf), seen, top)
        for s, segment in enumerate(alignment["segment"].values):
            ends = (alignment[f"segment_{end}_step"].values[s] for end in ("first", "last"))
            lines = truth.lines(
                queries,
                origin=origin,
                horizon_step=int(sum(ends)) // 2,
                history_steps=history_steps,
            )
            causes = truth.near(lines.node) & sources  # (Q, T, N)
            figures = _score(causes, sources.sum((1, 2)), best.segment(s), nearest)
            table = pd.DataFrame({"segment": segment, "regime": lines.regime, **figures})
            tables.append(table[lines.is_known])
    table = pd.concat(tables, ignore_index=True)
    by_regime = _by_regime(table, truth.regimes)
    by_regime.attrs = {"top": top, "stay_in_regime": int(stay_in_regime)}
    is_congested = table["regime"].to_numpy() == 0
    in_total = is_congested | (not congested_only) | ("congested" not in truth.regimes)
    return HitRate(by_regime=by_regime, **_means(table[in_total]))


class _Sources(NamedTuple):
    """Sources of each query, by weight."""

    node: np.ndarray
    step: np.ndarray
    weight: np.ndarray

    def segment(self, index: int) -> "_Sources":
        return _Sources(self.node[:, index], self.step[:, index], self.weight[:, index])


def _best_sources(alignment: xr.Dataset, top: int) -> _Sources:
    """Give the sources of the largest mean weight, (query, segment, top)."""
    weight = np.where(alignment["valid"].values, alignment["weight"].mean("head").values, 0.0)
    best = np.argsort(-weight, axis=-1, kind="stable")[..., :top]
    names = ("source_node_index", "source_step")
    node, step = (np.take_along_axis(alignment[name].values, best, -1) for name in names)
    return _Sources(node, step, np.take_along_axis(weight, best, -1))


def _distances(dataset: xr.Dataset) -> np.ndarray:
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    return haversine_km(latitude[:, None], longitude[:, None], latitude, longitude)


def _nearest_sources(away_km: np.ndarray, seen: np.ndarray, top: int) -> _Sources:
    """Give the newest observed reading of each of the nearest other nodes, (query, top)."""
    node = np.argsort(np.where(seen.any(0), away_km, np.inf), axis=1, kind="stable")[:, :top]
    newest = len(seen) - 1 - seen[::-1].argmax(0)
    return _Sources(node, newest[node], np.ones(node.shape))


def _score(
    causes: np.ndarray, num_sources: np.ndarray, best: _Sources, nearest: _Sources
) -> dict[str, np.ndarray]:
    """Give the figures of each query, (query,); `causes` is (query, history, node)."""
    row = np.arange(len(causes))[:, None]
    on_cause = causes[row, best.step, best.node] & (best.weight > 0)
    total = best.weight.sum(-1)
    num_causes = causes.sum((1, 2))
    figures = {
        "is_scored": num_causes > 0,
        "hit_rate": on_cause.any(-1),
        "chance": _chance(num_causes, num_sources, best.node.shape[-1]),
        "nearest": causes[row, nearest.step, nearest.node].any(-1),
        "weight_share": (best.weight * on_cause).sum(-1) / np.where(total > 0, total, 1.0),
        "chance_share": num_causes / np.maximum(num_sources, 1),
    }
    return {name: np.asarray(values) for name, values in figures.items()}


def _chance(num_causes: np.ndarray, num_sources: np.ndarray, num_drawn: int) -> np.ndarray:
    """Give the probability that sources drawn without replacement hold a cause."""
    drawn = np.minimum(num_drawn, num_sources)
    others = num_sources - num_causes
    # Hypergeometric: missed = C(others, drawn) / C(sources, drawn).
    log_missed = (
        gammaln(others + 1)
        - gammaln(np.maximum(others - drawn, 0) + 1)
        - gammaln(num_sources + 1)
        + gammaln(num_sources - drawn + 1)
    )
    return 1 - np.where(others >= drawn, np.exp(log_missed), 0.0)


def _by_regime(table: pd.DataFrame, regimes: tuple[str, ...]) -> xr.Dataset:
    segments = np.unique(table["segment"])
    cells = [
        [
            _means(table[(table["regime"] == regime) & (table["segment"] == segment)])
            for segment in segments
        ]
        for regime in range(len(regimes))
    ]
    names = (*FIGURES, "num_scored", "num_targets")
    return xr.Dataset(
        {
            name: (("regime", "segment"), [[cell[name] for cell in line] for line in cells])
            for name in names
        },
        coords={"regime": list(regimes), "segment": segments},
    )


def _means(table: pd.DataFrame) -> dict[str, float | int]:
    scored = table[table["is_scored"].to_numpy(bool)]
    means = {name: float(scored[name].mean()) if len(scored) else np.nan for name in FIGURES}
    return means | {"num_scored": len(scored), "num_targets": len(table)}
