"""The alignment on the map: how much each place counts, summed over its time steps."""

from collections.abc import Callable, Sequence

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.areas import HOLLOW, draw_outlines, draw_places, few, hover_lines, name_places
from stviz.figures import LiveFigure, finish, options
from stviz.geography import nearest_places
from stviz.ground import draw_ground, map_frame
from stviz.labels import DOT, label_source, time_unit
from stviz.places import EDGES, bounds_of, noun_of, prepare_places
from stviz.prepare_sources import (
    describe_alignment,
    prepare_alignment,
    prepare_causes,
    sum_by_place,
)
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["plot_alignment_map", "update_alignment_map"]

SMALLEST, LARGEST = 6.0, 26.0
AROUND = 36  # cells that are in sight with a target
MOST_TARGETS = 2  # with names, which lie close together


def plot_alignment_map(
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
    focus: bool = False,
    basemap: bool = True,
    tiles: str | None = None,
    on_tap: Callable[[float, float], None] | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 440,
) -> hv.Overlay:
    """Draw the places that one forecast looked at, with lines to the target.

    Args:
        alignment: A labelled alignment.
        node: The target place; may be left out where there is only one. Several targets are shown
            together, with the mean of their weights, and lines to their middle.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: Show at most this many sources (place and time step); all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.
        dataset: The dataset behind it, of nodes or a grid, for all places, what each covers, and
            the frame of the map.
        causes: The true causes of a simulated target, which `true_causes` gives, to be drawn over
            the sources; they need the dataset.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        beside: Another alignment of the target, which has a map of its own: colours are those of
            both, so that the two can be compared.
        focus: Zoom to the sources and the target; False shows all places.
        basemap: Draw land, the lines between neighbouring sensors, coasts over cells and, where one
            is right for the whole map, a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        on_tap: Called with the map coordinates of a tap, for `node_at`; it needs a live page, and
            a figure that is updated keeps the one it began with.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay on the same base map as `plot_forecast_map`; the colour of a place is
        its weight summed over time steps, for sensors its size, too (`Points.Sources`,
        `Rectangles.Sources` or `Polygons.Sources`).

    Raises:
        ValueError: The node, segment, head or theme is not there, a limit is out of range, a place
            has no polygon, or the causes are not those of the target.
    """
    colors = get_theme(theme)
    selected = {"segment": segment, "head": head, "topk": topk, "min_weight": min_weight}
    sources = prepare_alignment(alignment, node=node, **selected)
    other = None
    if beside is not None:
        other = prepare_alignment(beside, node=sources.attrs["targets"], **selected)
    where, data = _locate(sources, dataset, zones)
    limit = _heaviest(sources, other)
    places = _place_sources(sources, where, limit)
    title, subtitle = _describe(sources, alignment)
    target = where.loc[list(sources.attrs["targets"])]
    shown = _focus(where, sources, other) if focus else where.reset_index()
    ground = draw_ground(
        data, where.reset_index(), basemap=basemap, tiles=tiles, colors=colors,
        frame=bounds_of(shown),
    )  # fmt: skip
    lines = []
    if causes is not None:
        lines = _draw_causes(prepare_causes(causes, sources), where, colors)
        subtitle += f"{DOT}purple: true causes"
    layers = [
        *ground.below,
        draw_outlines(where.reset_index(), colors),
        _draw_lines(places, limit, colors),
        _draw_places(places, limit, colors, step_minutes=sources.attrs["interval_minutes"]),
        *ground.above,
        *lines,
        *_draw_target(target.reset_index(), colors),
    ]
    return finish(
        hv.Overlay(layers),
        title=title,
        subtitle=subtitle,
        credit=label_source(alignment),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        on_tap=on_tap,
        bar="%",
        show_legend=False,
        **map_frame(shown),
    )


def update_alignment_map(
    figure: LiveFigure,
    sources: pd.DataFrame,
    alignment: xr.Dataset,
    *,
    dataset: xr.Dataset,
    beside: pd.DataFrame | None = None,
    focus: bool = False,
) -> None:
    """Show other sources in a figure of `plot_alignment_map`; all else must be as it was drawn.

    Args:
        figure: The figure.
        sources: What `prepare_alignment` gives.
        alignment: The labelled alignment that they are from.
        dataset: The dataset behind it, with all their places.
        beside: Sources of another alignment of the target.
        focus: Move the frame where a source or the target would lie outside.
    """
    where = prepare_places(dataset).set_index("node")
    limit = _heaviest(sources, beside)
    places = _place_sources(sources, where, limit)
    scale = time_unit(sources.attrs["interval_minutes"])[1]
    places = places.assign(lag=places["lag_minutes"] / scale)
    columns = {name: places[name].to_numpy() for name in places}
    for label in ("Lines", "Sources"):
        figure.fill(label, columns | {"color": columns["weight"]})
        figure.scale(label, 0.0, limit)
    target = where.loc[list(sources.attrs["targets"])].reset_index()
    for label, shown in (("Target", target), ("Target name", few(target, MOST_TARGETS))):
        figure.fill(label, {name: shown[name].to_numpy() for name in shown})
    if focus:
        figure.bring_into_view(**map_frame(_focus(where, sources, beside)))
    figure.entitle(*_describe(sources, alignment))


def _describe(sources: pd.DataFrame, alignment: xr.Dataset) -> tuple[str, str]:
    title, subtitle = describe_alignment(sources, alignment)
    return title, f"{subtitle}{DOT}weights summed over time"


def _locate(
    sources: pd.DataFrame, dataset: xr.Dataset | None, zones: pd.DataFrame | None
) -> tuple[pd.DataFrame, xr.Dataset]:
    """Give the places to draw, by node: those of the dataset, or of the sources and the target."""
    if dataset is not None:
        where = prepare_places(dataset, zones=zones).set_index("node")
        if {*sources.attrs["targets"], *sources["node"]} <= set(where.index):
            return where, dataset
    at = sources.attrs
    own = pd.DataFrame(at["points"], columns=["longitude", "latitude"]).assign(node=at["targets"])
    table = pd.concat([own, sources[["node", "longitude", "latitude"]]]).drop_duplicates("node")
    data = xr.Dataset(
        coords={
            "node": table["node"].to_numpy(str),
            "latitude": ("node", table["latitude"].to_numpy(float)),
            "longitude": ("node", table["longitude"].to_numpy(float)),
        },
        attrs={"synthetic": 1},
    )
    where = prepare_places(data, zones=zones).set_index("node")
    # Some cells of a grid do not tell how large they are.
    return where.drop(columns=EDGES, errors="ignore"), data


def _focus(where: pd.DataFrame, sources: pd.DataFrame, beside: pd.DataFrame | None) -> pd.DataFrame:
    """Give the places that are to be in sight: sources of one alignment or two, and targets."""
    targets = list(sources.attrs["targets"])
    shown = {*sources["node"], *targets} | (set() if beside is None else set(beside["node"]))
    if noun_of(where) == "cell" and len(targets) == 1:
        shown |= set(nearest_places(where.reset_index(), targets[0], count=AROUND)["node"])
    return where[where.index.isin(shown)].reset_index()


def _heaviest(sources: pd.DataFrame, beside: pd.DataFrame | None) -> float:
    """Give the largest weight of a place, in one alignment or two."""
    shown = [sources] if beside is None else [sources, beside]
    sums = [sum_by_place(each)["weight"] for each in shown if len(each)]
    return max((float(each.max()) for each in sums), default=0.0) or 1.0


def _place_sources(sources: pd.DataFrame, where: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Give what is drawn of each place, from the lightest to the heaviest, which lies on top."""
    places = sum_by_place(sources).iloc[::-1].drop(columns=["longitude", "latitude"])
    share = np.sqrt(places["weight"] / limit)
    target = where.loc[list(sources.attrs["targets"]), ["x", "y"]].mean()
    return places.join(where, on="node").assign(
        x2=target["x"],
        y2=target["y"],
        size=SMALLEST + (LARGEST - SMALLEST) * share,
        percent=100 * places["weight"],
    )


def _draw_lines(places: pd.DataFrame, limit: float, colors: Theme) -> hv.Segments:
    lines = hv.Segments(places, ["x", "y", "x2", "y2"], ["weight"], label="Lines")
    return options(
        lines,
        color="weight",
        cmap=color_scale(colors.weight),
        clim=(0.0, limit),
        line_width=1.6,
        alpha=0.55,
    )


def _draw_places(
    places: pd.DataFrame, limit: float, colors: Theme, *, step_minutes: float
) -> hv.Element:
    unit, scale = time_unit(step_minutes)
    places = places.assign(lag=places["lag_minutes"] / scale)
    columns = ["weight", "percent", "size", "node", "name", "distance_km", "direction", "steps"]
    columns += ["lag", "found_in"]
    drawn = options(
        draw_places(places, columns, label="Sources"),
        color="weight",
        cmap=color_scale(colors.weight),
        clim=(0.0, limit),
        colorbar=True,
        colorbar_opts={"width": 12, "padding": 9},
        line_color=colors.paper,
        line_width=1 if noun_of(places) == "sensor" else 0.5,
        tools=["hover"],
        hover_tooltips=[
            *hover_lines(places),
            ("weight", "@percent{0.0} % over @steps time steps"),
            ("distance", "@distance_km{0.0} km @direction"),
            ("mean lag", f"@lag{{0.[0]}} {unit}"),
            ("found in", "@found_in"),
        ],
    )
    return options(drawn, size="size") if noun_of(places) == "sensor" else drawn


def _draw_target(target: pd.DataFrame, colors: Theme) -> list[hv.Element]:
    mark = draw_places(target, ["node"], label="Target")
    if noun_of(target) == "sensor":
        options(
            mark,
            marker="square",
            color=colors.target,
            line_color=colors.paper,
            line_width=1.5,
            size=13,
        )
    else:
        options(mark, **HOLLOW, line_color=colors.target, line_width=3)
    return [mark, name_places(few(target, MOST_TARGETS), colors, label="Target name")]


def _draw_causes(causes: pd.DataFrame, where: pd.DataFrame, colors: Theme) -> list[hv.Element]:
    """Draw the line on which the true causes lie, from place to place."""
    line = where.loc[causes["node"], ["x", "y"]]
    path = hv.Path([line.to_numpy()], ["x", "y"], label="True causes")
    dots = hv.Points(line.iloc[:-1], ["x", "y"], label="True causes")
    return [
        options(path, color=colors.categories[3], line_width=2.5),
        options(dots, color=colors.categories[3], line_color=colors.paper, size=7),
    ]
