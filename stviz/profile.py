"""How far and how long ago forecasts look: the weight of sources by distance and by delay."""

from typing import Literal, get_args

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

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
    pick,
    time_unit,
)
from stviz.theme import Theme, get_theme

__all__ = ["plot_alignment_profile", "prepare_alignment_profile"]

By = Literal["distance", "delay"]
NUM_BINS = 12
FARTHEST = 98  # percentile of distances, beyond which the last bin takes all
MEAN, ALL = "mean of heads", "all places"


def prepare_alignment_profile(
    alignment: xr.Dataset, *, by: By = "distance", node: str | None = None, segment: int = 1
) -> pd.DataFrame:
    """Share the weight of a forecast's sources out over distances or delays.

    Args:
        alignment: A labelled alignment.
        by: `distance` between the source and the target, or `delay` from the source's reading to
            the first step of the segment.
        node: The target; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.

    Returns:
        One row for each head and bin, then for the mean of heads: head, low and high (kilometres
        or minutes; the last distance takes all that is farther), weight, which sums to 1 over the
        bins of a head, or to 0 where no source was observed. Delays have a bin for each step.

    Raises:
        ValueError: The node or segment is not there, or `by` is none of its choices.
    """
    check_alignment(alignment)
    if by not in get_args(By):
        raise ValueError(f"by must be one of {', '.join(get_args(By))}; got {by!r}. Pass one.")
    pick(alignment, "segment", segment)
    if node is not None:
        pick(alignment, "query_node", node, name="node")
    edges, position = (_distances if by == "distance" else _delays)(alignment, segment)
    one = alignment.sel(segment=segment)
    targets = slice(None) if node is None else [alignment.get_index("query_node").get_loc(node)]
    weight = one["weight"].transpose("query_node", "head", "source").values[targets]
    weight = np.where(one["valid"].values[targets, None], weight, 0.0)
    at = np.digitize(position[targets], edges[1:-1])[:, None]
    rows = []
    for head in range(weight.shape[1]):
        each = weight[:, head : head + 1]
        found = np.bincount(at.ravel(), each.ravel(), len(edges) - 1)
        rows.append(found / max(1, np.count_nonzero(each.sum(-1))))
    rows.append(np.mean(rows, axis=0))
    names = [*(f"head {head}" for head in alignment["head"].values), MEAN]
    return pd.DataFrame(
        {
            "head": np.repeat(names, len(edges) - 1),
            "low": np.tile(edges[:-1], len(names)),
            "high": np.tile(edges[1:], len(names)),
            "weight": np.concatenate(rows),
        }
    )


def _distances(alignment: xr.Dataset, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Give edges of bins, alike for all targets and segments, and the distance of each source."""

    def away(part: xr.Dataset) -> np.ndarray:
        return distance_km(
            part["source_latitude"].values, part["source_longitude"].values,
            *(_beside(part[name], part["source_latitude"])
              for name in ("query_latitude", "query_longitude")),
        )  # fmt: skip

    every = away(alignment)[alignment["valid"].values]
    farthest = float(np.percentile(every, FARTHEST)) if every.size else 1.0
    return np.linspace(0.0, farthest or 1.0, NUM_BINS + 1), away(alignment.sel(segment=segment))


def _beside(values: xr.DataArray, like: xr.DataArray) -> np.ndarray:
    return values.broadcast_like(like).transpose(*like.dims).values


def _delays(alignment: xr.Dataset, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Give edges of bins, one for each step of the history, and the delay of each source."""
    minutes, history = minutes_per_step(alignment), int(alignment.attrs["history_steps"])
    one = alignment.sel(segment=segment)
    first = int(one["segment_first_step"])
    steps = history - 1 - one["source_step"].values + first
    return minutes * (first - 0.5 + np.arange(history + 1)), minutes * steps


def plot_alignment_profile(
    alignment: xr.Dataset,
    *,
    by: By = "distance",
    node: str | None = None,
    segment: int = 1,
    theme: str | Theme = "light",
    width: int | None = 460,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw how far away, or how long ago, forecasts look.

    Args:
        alignment: A labelled alignment.
        by: "distance" or "delay".
        node: The target; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay: a thin line for each head, a thick one for their mean, and beside one
        target a dashed line for all of them.

    Raises:
        ValueError: The node, segment or theme is not there, or `by` is none of its choices.
    """
    colors = get_theme(theme)
    frame = prepare_alignment_profile(alignment, by=by, node=node, segment=segment)
    unit, scale = ("km", 1.0) if by == "distance" else time_unit(minutes_per_step(alignment))
    layers = []

    def line(part: pd.DataFrame, label: str, **style: object) -> None:
        middle = (part["low"] + part["high"]) / 2 / scale
        curve = hv.Curve((middle, 100 * part["weight"]), by, "share", label=label)
        layers.append(options(curve, interpolation="steps-mid", **style))

    heads = [name for name in frame["head"].unique() if name != MEAN]
    for index, name in enumerate(heads):
        color = colors.categories[1 + index % (len(colors.categories) - 1)]
        line(frame[frame["head"] == name], name, color=color, line_width=1.2)
    if node is not None and alignment.sizes["query_node"] > 1:
        every = prepare_alignment_profile(alignment, by=by, segment=segment)
        line(every[every["head"] == MEAN], ALL, color=colors.muted, line_width=1.8,
             line_dash="dashed")  # fmt: skip
    line(frame[frame["head"] == MEAN], MEAN, color=colors.categories[0], line_width=2.8)
    one = alignment.sel(segment=segment)
    minutes = minutes_per_step(alignment)
    lead = describe_lead(
        *(minutes * int(one[f"segment_{end}_step"]) for end in ("first", "last")),
        step_minutes=minutes,
    )
    question = "How far away" if by == "distance" else "How long ago"
    who = f"{node}" if node is not None else f"{alignment.sizes['query_node']} places"
    facts = f"{who}{DOT}from {clock(alignment['time'].values)}{DOT}{lead}"
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{question} it looks", alignment),
        subtitle=facts,
        credit=label_source(alignment),
        theme=colors,
        width=width,
        height=height,
        xlabel=f"distance ({unit})" if by == "distance" else f"before the first step ({unit})",
        ylabel="share of the weight (%)",
        show_grid=True,
        padding=(0.02, 0.08),
        legend_position="bottom",
        legend_cols=3,
    )
