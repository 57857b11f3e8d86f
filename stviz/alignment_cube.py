"""The alignment in space-time: a Plotly cube with the map as its floor and time going up."""

from collections.abc import Sequence
from functools import partial
from html import escape as escape_all

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from stviz.cube_floor import draw_floor, draw_shadows
from stviz.cube_frame import (
    EYE,
    LEGEND,
    CubeFrame,
    frame_scene,
    measure_frame,
    place_legend,
    size_of,
)
from stviz.cube_scene import arrow_heads, draw_now, draw_window, gaps, scale_weights, scatter
from stviz.labels import (
    NO_SOURCE,
    clock,
    describe_lead,
    label_source,
    time_unit,
    wrap_facts,
    wrap_words,
)
from stviz.places import prepare_places
from stviz.prepare_sources import describe_alignment, prepare_alignment, prepare_causes
from stviz.theme import Theme, get_theme, rgba

__all__ = ["describe_cube", "plot_alignment_cube"]

escape = partial(escape_all, quote=False)  # Plotly shows the entity of a quotation mark as it is
WIDTH, HEIGHT = 620, 560
MOST_HEADS = 16  # of arrows, the strongest
SYMBOLS = {"window": ("circle", "window source"), "global": ("diamond", "global source")}


def plot_alignment_cube(
    alignment: xr.Dataset,
    *,
    node: str | Sequence[str] | None = None,
    segment: int = 1,
    head: int | None = None,
    topk: int | None = None,
    min_weight: float = 0.0,
    dataset: xr.Dataset | None = None,
    causes: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    beside: xr.Dataset | None = None,
    focus: bool = True,
    basemap: bool = True,
    uirevision: str = "alignment-cube",
    theme: str | Theme = "light",
    width: int | None = None,
    height: int | None = 560,
) -> go.Figure:
    """Draw where and when one forecast looked: longitude by latitude by time.

    The floor is the map, up is time. Each source is a marker at its place and time step, its size
    and colour its weight, its shape whether it came from the recent local window or from the
    global search. Arrows run from the sources to the target above the plane of now.

    Args:
        alignment: A labelled alignment.
        node: The target; may be left out where there is only one. Several targets are shown
            together, with the mean of their weights, and stems to their middle.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: Show at most this many sources; all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.
        dataset: The dataset behind it, of nodes or a grid, for all places and what each covers on
            the floor and for the outline of the recent window.
        causes: The true causes of a simulated target, which `true_causes` gives, to be drawn as a
            line; they need the dataset.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        beside: Another alignment of the target, which has a cube of its own: extent and colours
            are those of both, so that the two can be compared.
        focus: Zoom the floor to the sources, the target and its window; False shows all places.
        basemap: Draw the coast and state lines on the floor.
        uirevision: The camera survives an update while this stays the same.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A Plotly figure; the traces are named in `trace.meta`: floor, roads, sensors (or cells, or
        zones), own history, target, sources window, sources global and so on.

    Raises:
        ValueError: The node, segment, head or theme is not there, a limit is out of range, a place
            has no polygon, or the causes are not those of the target.
    """
    shown = {"segment": segment, "head": head, "topk": topk, "min_weight": min_weight}
    sources = prepare_alignment(alignment, node=node, **shown)
    other = None
    if beside is not None:
        other = prepare_alignment(beside, node=sources.attrs["targets"], **shown)
    return go.Figure(
        describe_cube(
            sources,
            alignment,
            dataset=dataset,
            causes=causes,
            zones=zones,
            beside=other,
            focus=focus,
            basemap=basemap,
            uirevision=uirevision,
            theme=theme,
            width=width,
            height=height,
        )
    )


def describe_cube(
    sources: pd.DataFrame,
    alignment: xr.Dataset,
    *,
    dataset: xr.Dataset | None = None,
    causes: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    beside: pd.DataFrame | None = None,
    focus: bool = True,
    basemap: bool = True,
    uirevision: str = "alignment-cube",
    theme: str | Theme = "light",
    width: int | None = None,
    height: int | None = 560,
) -> dict:
    """Describe the figure of `plot_alignment_cube`, unchecked, for a page that sends it on at once.

    Args:
        sources: What `prepare_alignment` gives.
        alignment: The alignment that they are from.
        dataset: As for `plot_alignment_cube`, like the options below.
        causes: True causes.
        zones: Polygons of the places.
        beside: Sources of another alignment of the target.
        focus: Zoom the floor.
        basemap: Draw the coast and state lines.
        uirevision: The camera survives while this stays the same.
        theme: "light", "dark" or a `Theme`.
        width: Pixels or None.
        height: Pixels or None.

    Returns:
        `data` and `layout` as Plotly takes them; checking them takes as long as all the rest.

    Raises:
        ValueError: The theme is not there.
    """
    colors = get_theme(theme)
    places = None if dataset is None else prepare_places(dataset, zones=zones)
    line = None
    if causes is not None and places is not None:
        line = prepare_causes(causes, sources).merge(places, on="node", how="left")
    frame = measure_frame(sources, places=places, causes=line, beside=beside, focus=focus)
    weights = [each["weight"] for each in (sources, beside) if each is not None and len(each)]
    largest = max((float(weight.max()) for weight in weights), default=0.0) or 1.0
    sources = frame.unwrap(sources)
    traces = [
        *draw_floor(frame, dataset, places, colors, basemap=basemap),
        *draw_shadows(frame, sources, places, colors),
        *draw_window(frame, places, sources, colors),
        *draw_now(frame, sources, colors),
        *_draw_target(frame, sources, colors),
    ]
    if len(sources):
        traces += [_draw_stems(frame, sources), *_draw_sources(sources, largest, colors)]
    if line is not None:
        traces.append(_draw_causes(frame, line, colors))
    title, subtitle = describe_alignment(sources, alignment)
    wide = width or WIDTH
    heading = [escape(line) for line in wrap_words(title, width=wide, letter=8.5).split("\n")]
    lines = [escape(line) for line in wrap_facts(subtitle, width=wide).split("\n")]
    credit = [escape(line) for line in wrap_words(label_source(alignment), width=wide).split("\n")]
    below = 14 * (len(credit) - 1)
    notes = [
        _note("<br>".join(lines), y=1.0, anchor="bottom", colors=colors),
        # Lines after the first go into the margin below.
        _note("<br>".join(credit), y=0.0, anchor="bottom", colors=colors) | {"yshift": -below},
    ]
    if not len(sources):
        least = sources.attrs["min_weight"]
        text = f"No source has a weight of at least {least:g}." if least else NO_SOURCE
        notes.append(_note(text, y=0.9, anchor="top", colors=colors))
    layout = frame_scene(frame, sources, colors)
    margin = {"l": 0, "r": 0, "t": 16 + 20 * len(heading) + 15 * len(lines), "b": 4 + below}
    place_legend(layout, width=wide, inside=(height or HEIGHT) - margin["t"] - margin["b"])
    layout["scene"]["annotations"] = [_name_target(frame, sources, colors)]
    layout |= {
        "title": {
            "text": f"<b>{'<br>'.join(heading)}</b>",
            "font": {"size": 14, "color": colors.text},
            "x": 0.01,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "top",
            "pad": {"t": 12},
        },
        "annotations": notes,
        "coloraxis": scale_weights(largest, colors),
        "margin": margin,
        "uirevision": uirevision,
        "meta": {"legend": LEGEND | {"eye": EYE}},
        "width": width,
        "height": height,
    }
    return {"data": traces, "layout": layout}


def _draw_sources(sources: pd.DataFrame, largest: float, colors: Theme) -> list[dict]:
    units = sources.attrs["units"]
    traces = []
    for part, (symbol, name) in SYMBOLS.items():
        shown = sources.loc[sources["found_in"] == part]
        size = size_of(shown["weight"].to_numpy() / largest)
        text = [
            _describe(row, units, sources.attrs["interval_minutes"])
            for row in shown.to_dict("records")
        ]
        traces.append(
            scatter(
                x=shown["longitude"],
                y=shown["latitude"],
                z=-shown["steps_behind"],
                mode="markers",
                # A diamond looks larger than a circle of the same size.
                marker={
                    "size": size * (0.8 if symbol == "diamond" else 1.0),
                    "symbol": symbol,
                    "color": shown["weight"],
                    "coloraxis": "coloraxis",
                    "line": {"color": colors.paper, "width": 1},
                    "opacity": 1.0,
                },
                customdata=shown["node"],
                text=text,
                hovertemplate="%{text}<extra></extra>",
                name=name,
                showlegend=False,
                legendgroup=part,
                meta=f"sources {part}",
            )
        )
        # The legend needs a colour of its own: that of the data is on a scale.
        traces.append(
            scatter(
                x=[None],
                y=[None],
                z=[None],
                mode="markers",
                marker={"symbol": symbol, "color": colors.weight[2], "size": 8},
                name=f"{name} ({len(shown)})",
                legendgroup=part,
                meta=f"legend {part}",
            )
        )
    return traces


def _describe(row: dict, units: str, step_minutes: float) -> str:
    unit, scale = time_unit(step_minutes)
    known = np.isfinite(row["reading"])
    reading = f"{row['reading']:.1f} {escape(units)}" if known else "no reading"
    return (
        f"<b>{escape(row['node'])}</b><br>"
        f"{clock(row['time'])}: {row['minutes_behind'] / scale:g} {unit} before the forecast, "
        f"lag {row['lag_minutes'] / scale:g} {unit}<br>"
        f"{row['distance_km']:.1f} km {row['direction']}, reading {reading}<br>"
        f"weight {row['weight']:.1%} (rank {row['rank']}, {row['found_in']})"
    )


def _draw_stems(frame: CubeFrame, sources: pd.DataFrame) -> dict:
    """Draw an arrow from each source to the target; beyond `MOST_HEADS`, without its head."""
    start = sources[["longitude", "latitude"]].assign(z=-sources["steps_behind"]).to_numpy(float)
    end = np.array([*frame.target, frame.target_step])
    path = np.full((len(sources), 3, 3), np.nan)
    path[:, 0], path[:, 1] = start, end
    heads = arrow_heads(frame, start[:MOST_HEADS], end)
    flat = np.concatenate([path.reshape(-1, 3), heads.reshape(-1, 3)])
    weight = sources["weight"].to_numpy()
    return scatter(
        x=gaps(flat[:, 0]),
        y=gaps(flat[:, 1]),
        z=gaps(flat[:, 2]),
        mode="lines",
        line={
            "color": np.concatenate([np.repeat(weight, 3), np.repeat(weight[:MOST_HEADS], 4)]),
            "coloraxis": "coloraxis",
            "width": 2.5,
        },
        opacity=0.55,
        meta="stems",
    )


def _draw_target(frame: CubeFrame, sources: pd.DataFrame, colors: Theme) -> list[dict]:
    at = sources.attrs
    name, several = escape(at["node"]), len(at["points"]) > 1
    x, y = frame.target
    east, north = np.transpose(at["points"])
    lead = describe_lead(
        at["first_minutes"], at["last_minutes"], step_minutes=at["interval_minutes"]
    )
    line = {"color": colors.target, "width": 5}
    history = scatter(
        x=[x, x], y=[y, y], z=[frame.oldest, 0], mode="lines", line=line, name="own history",
        meta="own history",
    )  # fmt: skip
    return [
        *([] if several else [history]),
        scatter(
            x=[x, x, x],
            y=[y, y, y],
            z=[0, at["first_step"], at["last_step"]],
            mode="lines",
            line=line | {"width": 2, "dash": "dot"},
            meta="lead",
        ),
        scatter(
            x=frame.turn(east),
            y=north,
            z=np.full(len(north), frame.target_step),
            mode="markers",
            marker={
                "size": 5 if several else 9,
                "symbol": "square",
                "color": colors.target,
                "line": {"color": colors.paper, "width": 1.5},
            },
            hovertemplate=f"<b>{name}</b>: the forecast {lead}<extra></extra>",
            name="forecast",
            meta="target",
        ),
    ]


def _draw_causes(frame: CubeFrame, causes: pd.DataFrame, colors: Theme) -> dict:
    return scatter(
        x=frame.turn(causes["longitude"].to_numpy()),
        y=causes["latitude"],
        z=-causes["steps_behind"].to_numpy(),
        mode="lines+markers",
        line={"color": colors.categories[3], "width": 6},
        marker={"color": colors.categories[3], "size": 4},
        name="true causes (simulated)",
        meta="true causes",
    )


def _name_target(frame: CubeFrame, sources: pd.DataFrame, colors: Theme) -> dict:
    return {
        "x": frame.target[0],
        "y": frame.target[1],
        "z": frame.target_step,
        "text": f"<b>{escape(sources.attrs['node'])}</b>",
        "showarrow": False,
        "xanchor": "left",
        "xshift": 12,
        "font": {"color": colors.target, "size": 13},
        "bgcolor": rgba(colors.paper, 0.6),
    }


def _note(text: str, *, y: float, anchor: str, colors: Theme) -> dict:
    return {
        "text": text,
        "x": 0.01,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": anchor,
        "align": "left",
        "showarrow": False,
        "font": {"size": 10, "color": colors.muted},
    }
