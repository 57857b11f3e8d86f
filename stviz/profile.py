"""How far and how long ago forecasts look: the weight of sources by distance and by delay."""

from collections.abc import Sequence
from typing import Literal, get_args

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_alignment
from stviz.figures import finish, options
from stviz.geography import distance_km
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    label_source,
    mark_simulated,
    minutes_per_step,
    name_nodes,
    pick,
    pick_nodes,
    time_unit,
)
from stviz.theme import Theme, get_theme

__all__ = [
    "as_several", "away_km", "distance_edges", "plot_alignment_profile",
    "prepare_alignment_profile", "target_rows",
]  # fmt: skip

By = Literal["distance", "delay"]
NUM_BINS = 12
FARTHEST = 98  # percentile of distances, beyond which the last bin takes all
MEAN, ALL, ALIKE = "mean of heads", "all places", "all readings alike"


def prepare_alignment_profile(
    alignment: xr.Dataset | Sequence[xr.Dataset],
    *,
    by: By = "distance",
    node: str | Sequence[str] | None = None,
    segment: int = 1,
    dataset: xr.Dataset | None = None,
) -> pd.DataFrame:
    """Share the weight of a forecast's sources out over distances or delays.

    Args:
        alignment: A labelled alignment, or several of one model at other moments, together.
        by: `distance` between the source and the target, or `delay` from the source's reading to
            the first step of the segment.
        node: The target, or several; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.
        dataset: What was forecast; adds how the weight would be shared out if every observed
            reading of another place had the same.

    Returns:
        One row for each head and bin, then for the mean of heads, then for all readings alike where
        there is a dataset: head, low and high (kilometres or minutes; the last distance takes all
        that is farther), weight, which sums to 1 over the bins of a head, or to 0 where no source
        was observed. Delays have a bin for each step.

    Raises:
        ValueError: The node or segment is not there, `by` is none of its choices, there is no
            alignment or one of another model, or the dataset lacks its moment.
    """
    several = as_several(alignment)
    if by not in get_args(By):
        raise ValueError(f"by must be one of {', '.join(get_args(By))}; got {by!r}. Pass one.")
    for each in several:
        pick(each, "segment", segment)
        if node is not None:
            pick_nodes(each, node, dim="query_node")
    edges = distance_edges(several) if by == "distance" else _delay_edges(several[0], segment)
    names = [*(f"head {head}" for head in several[0]["head"].values), MEAN]
    shares = np.concatenate([_shares(each, by, node, segment, edges) for each in several])
    shares = np.concatenate([shares, shares.mean(1, keepdims=True)], axis=1)  # (query, head, bin)
    rows = shares.sum(0) / max(1, np.count_nonzero(shares[:, -1].sum(-1)))
    if dataset is not None:
        nodes = as_nodes(dataset)
        alike = np.concatenate([_alike(each, nodes, by, node, edges) for each in several])
        rows = np.concatenate([rows, [alike.sum(0) / max(1, np.count_nonzero(alike.sum(-1)))]])
        names.append(ALIKE)
    return pd.DataFrame(
        {
            "head": np.repeat(names, len(edges) - 1),
            "low": np.tile(edges[:-1], len(names)),
            "high": np.tile(edges[1:], len(names)),
            "weight": rows.ravel(),
        }
    )


def as_several(alignment: xr.Dataset | Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Give alignments as a list, after checking that they are of one kind.

    Args:
        alignment: One, or several of one model.

    Returns:
        All of them.

    Raises:
        ValueError: There is none, or they are of several models.
    """
    several = [alignment] if isinstance(alignment, xr.Dataset) else list(alignment)
    for each in several:
        check_alignment(each)
    kinds = {
        (each.sizes["head"], each.sizes["segment"], each.attrs["history_steps"], each.attrs["run"])
        for each in several
    }
    if len(kinds) != 1:
        raise ValueError(
            f"A profile must be of alignments of one model; got "
            f"{f'those of {len(kinds)}' if kinds else 'none'}. Pass what one forecaster gave."
        )
    return several


def target_rows(alignment: xr.Dataset, node: str | Sequence[str] | None) -> np.ndarray:
    """Give the positions of the targets that are asked for.

    Args:
        alignment: A labelled alignment.
        node: The target, or several; all where it is None.

    Returns:
        Positions along `query_node`.
    """
    if node is None:
        return np.arange(alignment.sizes["query_node"])
    return np.flatnonzero(np.isin(alignment["query_node"].values, node))


def _shares(
    alignment: xr.Dataset, by: By, node: str | Sequence[str] | None, segment: int, edges: np.ndarray
) -> np.ndarray:
    """Sum the weights of sources in each bin, over (query, head, bin)."""
    one, targets = alignment.sel(segment=segment), target_rows(alignment, node)
    weight = one["weight"].transpose("query_node", "head", "source").values[targets]
    weight = np.where(one["valid"].values[targets, None], weight, 0.0)
    position = away_km(one) if by == "distance" else _delays(one)
    at = np.digitize(position[targets], edges[1:-1])  # (query, source)
    is_in = at[..., None] == np.arange(len(edges) - 1)
    return np.einsum("qhs,qsb->qhb", weight, is_in)


def _alike(
    alignment: xr.Dataset,
    dataset: xr.Dataset,
    by: By,
    node: str | Sequence[str] | None,
    edges: np.ndarray,
) -> np.ndarray:
    """Share out the observed readings of other places, over (query, bin)."""
    history, time = int(alignment.attrs["history_steps"]), alignment["time"].values
    last = dataset.get_index("time").get_indexer([time])[0]
    if last < history - 1:
        raise ValueError(
            f"The dataset must hold the {history} steps up to {clock(time)}; got "
            f"{clock(dataset['time'].values[0])} to {clock(dataset['time'].values[-1])}. "
            "Pass the one that was forecast."
        )
    seen = np.isfinite(dataset["target"].isel(time=slice(last + 1 - history, last + 1)).values)
    seen = seen.reshape(*seen.shape[:2], -1).any(-1)  # (step, node)
    places = dataset["latitude"].values, dataset["longitude"].values
    shares = np.zeros((alignment.sizes["query_node"], len(edges) - 1))
    own = dataset.get_index("node").get_indexer(alignment["query_node"].values)
    for row in target_rows(alignment, node):
        others = seen.copy()
        others[:, own[row]] = False
        if by == "delay":  # a bin for each step, the newest first
            shares[row] = others.sum(1)[::-1]
        else:
            away = distance_km(*places, places[0][own[row]], places[1][own[row]])
            bins = np.digitize(away, edges[1:-1])
            shares[row] = np.bincount(bins, others.sum(0), len(edges) - 1)
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1)


def away_km(part: xr.Dataset) -> np.ndarray:
    """Give the distance of each source from its target.

    Args:
        part: A labelled alignment, or a part of it.

    Returns:
        Kilometres, in the order of its sources.
    """
    return distance_km(
        part["source_latitude"].values, part["source_longitude"].values,
        *(_beside(part[name], part["source_latitude"])
          for name in ("query_latitude", "query_longitude")),
    )  # fmt: skip


def _beside(values: xr.DataArray, like: xr.DataArray) -> np.ndarray:
    return values.broadcast_like(like).transpose(*like.dims).values


def _delays(one: xr.Dataset) -> np.ndarray:
    """Give the minutes from each source to the first step of its segment."""
    steps = int(one.attrs["history_steps"]) - 1 - one["source_step"].values
    return minutes_per_step(one) * (steps + int(one["segment_first_step"]))


def distance_edges(several: list[xr.Dataset]) -> np.ndarray:
    """Give the edges of bins of distance, alike for all targets and segments.

    Args:
        several: Labelled alignments.

    Returns:
        Kilometres, from 0.
    """
    every = np.concatenate([away_km(each)[each["valid"].values] for each in several])
    farthest = float(np.percentile(every, FARTHEST)) if every.size else 1.0
    return np.linspace(0.0, farthest or 1.0, NUM_BINS + 1)


def _delay_edges(alignment: xr.Dataset, segment: int) -> np.ndarray:
    """Give edges of bins, one for each step of the history."""
    first = int(alignment["segment_first_step"].sel(segment=segment))
    steps = np.arange(int(alignment.attrs["history_steps"]) + 1)
    return minutes_per_step(alignment) * (first - 0.5 + steps)


def plot_alignment_profile(
    alignment: xr.Dataset | Sequence[xr.Dataset],
    *,
    by: By = "distance",
    node: str | Sequence[str] | None = None,
    segment: int = 1,
    dataset: xr.Dataset | None = None,
    theme: str | Theme = "light",
    width: int | None = 460,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw how far away, or how long ago, forecasts look.

    Args:
        alignment: A labelled alignment, or several of one model at other moments, together.
        by: "distance" or "delay".
        node: The target, or several; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.
        dataset: What was forecast; adds how the weight would be shared out if every observed
            reading of another place had the same.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay: a thin line for each head, a thick one for their mean, beside one
        target a dashed line for all of them, and with a dataset a dotted one for all readings
        alike.

    Raises:
        ValueError: As for `prepare_alignment_profile`, or the theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_alignment_profile(alignment, by=by, node=node, segment=segment, dataset=dataset)
    several = as_several(alignment)
    first = several[0]
    minutes = minutes_per_step(first)
    unit, scale = ("km", 1.0) if by == "distance" else time_unit(minutes)
    layers = []

    def line(part: pd.DataFrame, label: str, **style: object) -> None:
        middle = (part["low"] + part["high"]) / 2 / scale
        curve = hv.Curve((middle, 100 * part["weight"]), by, "share", label=label)
        layers.append(options(curve, interpolation="steps-mid", **style))

    heads = [name for name in frame["head"].unique() if name not in (MEAN, ALIKE)]
    for index, name in enumerate(heads):
        color = colors.categories[1 + index % (len(colors.categories) - 1)]
        line(frame[frame["head"] == name], name, color=color, line_width=1.2)
    if node is not None and first.sizes["query_node"] > 1:
        every = prepare_alignment_profile(alignment, by=by, segment=segment)
        line(every[every["head"] == MEAN], ALL, color=colors.muted, line_width=1.8,
             line_dash="dashed")  # fmt: skip
    if dataset is not None:
        line(frame[frame["head"] == ALIKE], ALIKE, color=colors.text, line_width=1.8,
             line_dash="dotted")  # fmt: skip
    line(frame[frame["head"] == MEAN], MEAN, color=colors.categories[0], line_width=2.8)
    one = first.sel(segment=segment)
    lead = describe_lead(
        *(minutes * int(one[f"segment_{end}_step"]) for end in ("first", "last")),
        step_minutes=minutes,
    )
    question = "How far away" if by == "distance" else "How long ago"
    who = f"{first.sizes['query_node']} places"
    if node is not None:
        who = name_nodes(pick_nodes(first, node, dim="query_node"))
    times = sorted(clock(each["time"].values) for each in several)
    when = f"from {times[0]}"
    if len(times) > 1:
        when = f"{len(times)} moments, {times[0]} to {times[-1]}"
    facts = f"{who}{DOT}{when}{DOT}{lead}{DOT}k = {first.attrs['topk']}"
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{question} it looks", first),
        subtitle=facts,
        credit=label_source(first),
        theme=colors,
        width=width,
        height=height,
        xlabel=f"distance ({unit}), the last step all beyond"
        if by == "distance"
        else f"before the first step ({unit})",
        ylabel="share of the weight (%)",
        show_grid=True,
        padding=(0.02, 0.08),
        legend_position="bottom",
        legend_cols=3,
    )
