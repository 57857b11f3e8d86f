"""The alignment on the map: how much each place counts, summed over its time steps."""

from collections.abc import Callable

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.figures import LiveFigure, beside, finish, options
from stviz.geography import to_mercator, unwrap_longitude
from stviz.ground import draw_base, map_frame
from stviz.labels import DOT, label_source
from stviz.prepare_sources import describe_alignment, prepare_alignment, sum_by_place
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["plot_alignment_map", "update_alignment_map"]

SMALLEST, LARGEST = 6.0, 26.0


def plot_alignment_map(
    alignment: xr.Dataset,
    *,
    node: str | None = None,
    segment: int = 1,
    head: int | None = None,
    topk: int | None = None,
    min_weight: float = 0.0,
    dataset: xr.Dataset | None = None,
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
        node: The target sensor; may be left out where there is only one.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: Show at most this many sources (place and time step); all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.
        dataset: The dataset behind it, for all sensors, their roads and the frame of the map.
        basemap: Draw land, the lines between neighbouring sensors and a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        on_tap: Called with the map coordinates of a tap, for `node_at`; it needs a live page, and
            a figure that is updated keeps the one it began with.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay on the same base map as `plot_forecast_map`; size and colour of a place
        are its weight summed over time steps (`Points.Sources`).

    Raises:
        ValueError: The node, segment, head or theme is not there, or a limit is out of range.
    """
    colors = get_theme(theme)
    sources = prepare_alignment(
        alignment, node=node, segment=segment, head=head, topk=topk, min_weight=min_weight
    )
    ground = _locate(sources, dataset)
    where = _project(ground)
    places = _place_sources(sources, where)
    title, subtitle = _describe(sources, alignment)
    layers = [
        *draw_base(ground, basemap=basemap, tiles=tiles, colors=colors),
        _draw_others(where, colors),
        _draw_lines(places, colors),
        _draw_places(places, colors),
        *_draw_target(_columns_of_target(sources, where), colors),
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
        **map_frame(ground),
    )


def update_alignment_map(
    figure: LiveFigure, sources: pd.DataFrame, alignment: xr.Dataset, *, dataset: xr.Dataset
) -> None:
    """Show other sources in a figure of `plot_alignment_map`; all else must be as it was drawn.

    Args:
        figure: The figure.
        sources: What `prepare_alignment` gives.
        alignment: The labelled alignment that they are from.
        dataset: The dataset behind it, with all their places.
    """
    where = _project(dataset)
    places = _place_sources(sources, where)
    columns = {name: places[name].to_numpy() for name in places}
    for label in ("Lines", "Sources"):
        figure.fill(label, columns | {"color": columns["weight"]})
        figure.scale(label, *_limits(places))
    for label in ("Target", "Target name"):
        figure.fill(label, _columns_of_target(sources, where))
    figure.entitle(*_describe(sources, alignment))


def _describe(sources: pd.DataFrame, alignment: xr.Dataset) -> tuple[str, str]:
    title, subtitle = describe_alignment(sources, alignment)
    return title, f"{subtitle}{DOT}weights summed over time"


def _locate(sources: pd.DataFrame, dataset: xr.Dataset | None) -> xr.Dataset:
    """Give the locations to draw: those of the dataset, or of the sources and the target."""
    if dataset is not None and {sources.attrs["node"], *sources["node"]} <= set(
        dataset["node"].values.tolist()
    ):
        return dataset
    at = sources.attrs
    own = pd.DataFrame([{name: at[name] for name in ("node", "longitude", "latitude")}])
    table = pd.concat([own, sources[["node", "longitude", "latitude"]]]).drop_duplicates("node")
    return xr.Dataset(
        coords={
            "node": table["node"].to_numpy(str),
            "latitude": ("node", table["latitude"].to_numpy(float)),
            "longitude": ("node", table["longitude"].to_numpy(float)),
        },
        attrs={"synthetic": 1},
    )


def _project(ground: xr.Dataset) -> pd.DataFrame:
    """Give x and y of each place in Web Mercator metres."""
    longitude = unwrap_longitude(ground["longitude"].values)
    x, y = to_mercator(longitude, ground["latitude"].values)
    return pd.DataFrame({"x": x, "y": y}, index=ground["node"].values.astype(str))


def _place_sources(sources: pd.DataFrame, where: pd.DataFrame) -> pd.DataFrame:
    """Give what is drawn of each place, from the lightest to the heaviest, which lies on top."""
    places = sum_by_place(sources).iloc[::-1]
    share = np.sqrt(places["weight"] / _limits(places)[1])
    target = where.loc[sources.attrs["node"]]
    return places.join(where, on="node").assign(
        x2=target["x"],
        y2=target["y"],
        size=SMALLEST + (LARGEST - SMALLEST) * share,
        percent=100 * places["weight"],
    )


def _limits(places: pd.DataFrame) -> tuple[float, float]:
    return 0.0, (float(places["weight"].max()) if len(places) else 0.0) or 1.0


def _columns_of_target(sources: pd.DataFrame, where: pd.DataFrame) -> dict[str, list]:
    name = sources.attrs["node"]
    x, y = where.loc[name]
    return {"x": [x], "y": [y], "node": [name]}


def _draw_others(where: pd.DataFrame, colors: Theme) -> hv.Points:
    sensors = hv.Points(where.reset_index(names="node"), ["x", "y"], ["node"], label="Sensors")
    return options(
        sensors,
        color=colors.muted,
        size=3,
        alpha=0.8,
    )


def _draw_lines(places: pd.DataFrame, colors: Theme) -> hv.Segments:
    lines = hv.Segments(places, ["x", "y", "x2", "y2"], ["weight"], label="Lines")
    return options(
        lines,
        color="weight",
        cmap=color_scale(colors.weight),
        clim=_limits(places),
        line_width=1.6,
        alpha=0.55,
    )


def _draw_places(places: pd.DataFrame, colors: Theme) -> hv.Points:
    columns = ["weight", "percent", "size", "node", "distance_km", "direction", "steps"]
    columns += ["lag_minutes", "found_in"]
    points = hv.Points(places, ["x", "y"], columns, label="Sources")
    return options(
        points,
        color="weight",
        cmap=color_scale(colors.weight),
        clim=_limits(places),
        colorbar=True,
        colorbar_opts={"width": 12, "padding": 9},
        size="size",
        line_color=colors.paper,
        line_width=1,
        tools=["hover"],
        hover_tooltips=[
            ("place", "@node"),
            ("weight", "@percent{0.0} % over @steps time steps"),
            ("distance", "@distance_km{0.0} km @direction"),
            ("mean lag", "@lag_minutes{0} min"),
            ("found in", "@found_in"),
        ],
    )


def _draw_target(target: dict[str, list], colors: Theme) -> list[hv.Element]:
    mark = options(
        hv.Points(target, ["x", "y"], label="Target"),
        marker="square",
        color=colors.target,
        line_color=colors.paper,
        line_width=1.5,
        size=13,
    )
    label = options(
        hv.Labels(target, ["x", "y"], "node", label="Target name"),
        text_color=colors.target,
        text_font_size="10pt",
        text_font_style="bold",
        background_fill_color=colors.land,
        background_fill_alpha=0.75,
    )
    return [mark, beside(label)]
