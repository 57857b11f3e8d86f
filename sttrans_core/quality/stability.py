"""Whether models that differ in their seed alone look at the same sources."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.forecaster import Forecaster
from sttrans_core.grid import as_nodes

__all__ = ["alignment_stability"]

FIGURES = ("jaccard", "shared_weight", "correlation", "jaccard_chance", "shared_weight_chance")


def alignment_stability(
    forecasters: Sequence[Forecaster],
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    nodes: Sequence[str] | None = None,
) -> xr.Dataset:
    """Compare the alignments of models that differ in their seed alone, pair by pair.

    Args:
        forecasters: Two or more, of one configuration and one training series.
        dataset: A labelled dataset that fits them.
        times: Forecast origins.
        nodes: Ids of the target places; all where it is None.

    Returns:
        Over (pair, segment), averaged over origins and targets: `jaccard`, the sources that both
        keep as a share of those that either keeps; `shared_weight`, the weight that both give to
        the same sources, which is 1 minus the total-variation distance; `correlation` of their
        weights over all observed sources. Weights are averaged over heads. `jaccard_chance` and
        `shared_weight_chance` are what is expected with as many sources, of the same weights, drawn
        at random; `correlation` is then 0. NaN where no target has a source.

    Raises:
        RunError: The dataset does not fit a run, or the runs have no alignment.
        ValueError: There are fewer than two forecasters, or they do not differ in their seeds
            alone; a time or node is unknown or there is none.
    """
    dataset = as_nodes(dataset)
    _check_seeds(forecasters)
    names = list(nodes if nodes is not None else forecasters[0].data.nodes)
    targets = forecasters[0].indices(names)
    pairs = list(combinations(range(len(forecasters)), 2))
    figures: list[list[np.ndarray]] = [[] for _ in pairs]  # each (figure, segment)
    for time in np.atleast_1d(np.asarray(times)):
        seen = forecasters[0].batch(dataset, [time]).observed[0].cpu().numpy()
        alignments = [each.align(dataset, time, names) for each in forecasters]
        for query, target in enumerate(targets):
            is_source = seen.copy()
            is_source[:, target] = False
            if not is_source.any():
                continue
            looks = [_Look.of(each.isel(query_node=query), is_source) for each in alignments]
            for several, (one, other) in zip(figures, pairs, strict=True):
                several.append(_compare(looks[one], looks[other]))
    num_segments = forecasters[0].aligned()[1].num_segments
    unknown = [np.full((len(FIGURES), num_segments), np.nan)]
    mean = np.stack([np.mean(several or unknown, axis=0) for several in figures])
    labels = [each.config.label for each in forecasters]
    return xr.Dataset(
        {name: (("pair", "segment"), mean[:, i]) for i, name in enumerate(FIGURES)},
        coords={
            "pair": [f"{labels[one]} / {labels[other]}" for one, other in pairs],
            "segment": np.arange(1, num_segments + 1),
        },
        attrs={"num_forecasts": len(figures[0])},
    )


def _check_seeds(forecasters: Sequence[Forecaster]) -> None:
    if len(forecasters) < 2:
        raise ValueError(
            f"Stability must be asked of two models or more; got {len(forecasters)}. "
            "Pass runs of one configuration with other seeds."
        )
    kinds = {
        (each.config.replace({"train": {"seed": 0}}).hash, each.data.fingerprint)
        for each in forecasters
    }
    seeds = [each.config.train.seed for each in forecasters]
    if len(kinds) > 1 or len(set(seeds)) < len(seeds):
        got = f"the seeds {seeds}" if len(kinds) == 1 else "other configurations or training series"
        raise ValueError(
            f"Stability must be asked of runs that differ in their seed, and in nothing else; got "
            f"{got}. Pass runs of one configuration with other seeds."
        )


class _Look(NamedTuple):
    """What one model looks at for one target, over (segment, source) of observed sources."""

    weight: np.ndarray
    is_kept: np.ndarray

    @classmethod
    def of(cls, alignment: xr.Dataset, is_source: np.ndarray) -> "_Look":
        step, node = alignment["source_step"].values, alignment["source_node_index"].values
        weight = np.zeros((len(step), *is_source.shape))
        is_kept = np.zeros(weight.shape, dtype=bool)
        at = np.arange(len(step))[:, None], step, node
        np.add.at(weight, at, alignment["weight"].mean("head").values)
        np.logical_or.at(is_kept, at, alignment["valid"].values)
        return cls(weight[:, is_source], is_kept[:, is_source])


def _compare(one: _Look, other: _Look) -> np.ndarray:
    """Give the figures of one target, over (figure, segment)."""
    num_sources = one.weight.shape[1]
    both, either = one.is_kept & other.is_kept, one.is_kept | other.is_kept
    centred = [each.weight - each.weight.mean(1, keepdims=True) for each in (one, other)]
    spread = np.prod([np.linalg.norm(each, axis=1) for each in centred], axis=0)
    # Where all sources weigh the same there is nothing to correlate with.
    correlation = (centred[0] * centred[1]).sum(1) / np.where(spread > 0, spread, np.inf)
    sizes = zip(*(each.is_kept.sum(1).tolist() for each in (one, other)), strict=True)
    weights = zip(one.weight, other.weight, strict=True)
    return np.stack(
        [
            both.sum(1) / np.maximum(either.sum(1), 1),
            np.minimum(one.weight, other.weight).sum(1),
            correlation,
            np.array([_chance_of_jaccard(num_sources, *pair) for pair in sizes]),
            np.array([_sum_of_minima(*pair) / num_sources for pair in weights]),
        ]
    )


@lru_cache(maxsize=1024)
def _chance_of_jaccard(num_sources: int, num_one: int, num_other: int) -> float:
    """Give the expected Jaccard index of two sets drawn at random, of these sizes."""
    from scipy.stats import hypergeom  # slow to import

    shared = np.arange(min(num_one, num_other) + 1)
    probability = hypergeom.pmf(shared, num_sources, num_one, num_other)
    return float((probability * shared / np.maximum(num_one + num_other - shared, 1)).sum())


def _sum_of_minima(one: np.ndarray, other: np.ndarray) -> float:
    """Sum the smaller one of every pair of weights, one of each model."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, one)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    return float((sums[below] + one * (len(ordered) - below)).sum())
