"""Small multiples of the heads: how far away and how long ago each of them looks."""

from collections.abc import Sequence

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.figures import finish, options
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
from stviz.profile import as_several, away_km, distance_edges, target_rows
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["plot_alignment_heads", "prepare_alignment_heads"]

GAP = 1.0  # between two heads, in time steps


def prepare_alignment_heads(
    alignment: xr.Dataset,
    *,
    node: str | Sequence[str] | None = None,
    segment: int = 1,
) -> pd.DataFrame:
    """Share the weight of each head out over distance and time step.

    Args:
        alignment: A labelled alignment.
        node: The target, or several; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.

    Returns:
        One row for each head, distance and step: head (from 0), low and high (kilometres; the last
        distance takes all that is farther), steps_behind and minutes_behind the forecast origin,
        weight, which sums to 1 over the rows of a head, or to 0 where no source was observed.

    Raises:
        ValueError: The node or segment is not there.
    """
    as_several(alignment)
    pick(alignment, "segment", segment)
    if node is not None:
        pick_nodes(alignment, node, dim="query_node")
    edges = distance_edges([alignment])
    history, bins = int(alignment.attrs["history_steps"]), len(edges) - 1
    rows = target_rows(alignment, node)
    one = alignment.sel(segment=segment)
    weight = one["weight"].transpose("query_node", "head", "source").values[rows]
    far = np.digitize(away_km(one)[rows], edges[1:-1])
    behind = history - 1 - one["source_step"].transpose("query_node", "source").values[rows]
    cell = far * history + behind
    shares = np.stack(
        [
            np.bincount(cell.ravel(), weight[:, head].ravel(), bins * history)
            for head in range(weight.shape[1])
        ]
    ) / max(1, np.count_nonzero(weight.any((1, 2))))
    steps = np.tile(np.arange(history), bins * len(shares))
    return pd.DataFrame(
        {
            "head": np.repeat(one["head"].values, bins * history),
            "low": np.tile(np.repeat(edges[:-1], history), len(shares)),
            "high": np.tile(np.repeat(edges[1:], history), len(shares)),
            "steps_behind": steps,
            "minutes_behind": steps * minutes_per_step(alignment),
            "weight": shares.ravel(),
        }
    )


def plot_alignment_heads(
    alignment: xr.Dataset,
    *,
    node: str | Sequence[str] | None = None,
    segment: int = 1,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw the heads side by side: each one's weight by distance, up, and time step, to the right.

    Args:
        alignment: A labelled alignment.
        node: The target, or several; all targets of the alignment together where it is None.
        segment: The block of horizon steps, from 1.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay whose `Rectangles.Shares` have one scale of colours for all heads.

    Raises:
        ValueError: As for `prepare_alignment_heads`, or the theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_alignment_heads(alignment, node=node, segment=segment)
    minutes, history = minutes_per_step(alignment), int(alignment.attrs["history_steps"])
    unit, scale = time_unit(minutes)
    heads = frame["head"].unique()
    place = np.searchsorted(heads, frame["head"]) * (history + GAP)
    left = place + history - 1 - frame["steps_behind"]
    shown = frame.assign(
        left=left,
        right=left + 1,
        percent=100 * frame["weight"],
        ago=frame["minutes_behind"] / scale,
    )
    columns = ["weight", "percent", "head", "ago", "low", "high"]
    panels = pd.DataFrame({"left": np.arange(len(heads)) * (history + GAP), "low": 0.0})
    panels = panels.assign(right=panels["left"] + history, high=frame["high"].max())
    ground = options(
        hv.Rectangles(panels, ["left", "low", "right", "high"], label="Heads"),
        color=colors.plot,
        line_color=colors.grid,
    )
    shown = shown[shown["weight"] > 0]
    cells = options(
        hv.Rectangles(shown, ["left", "low", "right", "high"], columns, label="Shares"),
        color="weight",
        cmap=color_scale(colors.weight),
        clim=(0.0, float(frame["weight"].max()) or 1.0),
        colorbar=True,
        colorbar_opts={"width": 12, "padding": 9},
        line_color=colors.grid,
        line_width=0.3,
        tools=["hover"],
        hover_tooltips=[
            ("head", "@head"),
            ("distance", "@low{0} to @high{0} km"),
            ("reading", f"@ago{{0.[0]}} {unit} before the forecast"),
            ("weight", "@percent{0.0} %"),
        ],
    )
    targets = None if node is None else pick_nodes(alignment, node, dim="query_node")
    who = name_nodes(targets or alignment["query_node"].values.astype(str).tolist())
    one = alignment.sel(segment=segment)
    lead = describe_lead(
        *(minutes * int(one[f"segment_{end}_step"]) for end in ("first", "last")),
        step_minutes=minutes,
    )
    oldest = f"{(history - 1) * minutes / scale:g} {unit} before"
    facts = [who, f"from {clock(alignment['time'].values)}", lead, f"k = {alignment.attrs['topk']}"]
    ticks = [(index * (history + GAP) + history / 2, f"head {head}")
             for index, head in enumerate(heads)]  # fmt: skip
    return finish(
        hv.Overlay([ground, cells]),
        title=mark_simulated("Where and when each head looks", alignment),
        subtitle=DOT.join(facts),
        credit=label_source(alignment),
        theme=colors,
        width=width,
        height=height,
        xlabel=f"in each head, from left to right: {oldest} the forecast to now",
        ylabel="distance (km), the last step all beyond",
        xticks=ticks,
        bar="%",
        padding=0.01,
        show_legend=False,
    )
