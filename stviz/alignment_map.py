"""The alignment on the map: how much each place counts, summed over its time steps."""

from collections.abc import Callable

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.figures import finish, options
from stviz.geography import to_mercator, unwrap_longitude
from stviz.ground import draw_base, map_frame
from stviz.labels import DOT, label_source
from stviz.prepare_sources import describe_alignment, prepare_alignment, sum_by_place
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["plot_alignment_map"]

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
    places = sum_by_place(sources)
    ground = _locate(places, dataset)
    longitude = unwrap_longitude(ground["longitude"].values)
    x, y = to_mercator(longitude, ground["latitude"].values)
    where = pd.DataFrame({"x": x, "y": y}, index=ground["node"].values.astype(str))
    name = sources.attrs["node"]
    at = where.loc[name]
    places = places.join(where, on="node")
    # Heavy places last, so that they lie on top.
    places = places.sort_values("weight", kind="stable")
    title, subtitle = describe_alignment(sources, alignment)
    frame = map_frame(ground)
    layers = [
        *draw_base(ground, basemap=basemap, tiles=tiles, colors=colors),
        _draw_others(where, colors),
        _draw_lines(places, at, colors),
        _draw_places(places, colors),
        *_draw_target(name, at, frame, colors),
    ]
    return finish(
        hv.Overlay(layers),
        title=title,
        subtitle=f"{subtitle}{DOT}summed over time",
        credit=label_source(alignment),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        on_tap=on_tap,
        bar="%",
        show_legend=False,
        **frame,
    )


def _locate(places: pd.DataFrame, dataset: xr.Dataset | None) -> xr.Dataset:
    """Give the locations to draw: those of the dataset, or of the sources and the target."""
    if dataset is not None and {places.attrs["node"], *places["node"]} <= set(
        dataset["node"].values.tolist()
    ):
        return dataset
    at = places.attrs
    own = pd.DataFrame([{name: at[name] for name in ("node", "longitude", "latitude")}])
    table = pd.concat([own, places[["node", "longitude", "latitude"]]]).drop_duplicates("node")
    return xr.Dataset(
        coords={
            "node": table["node"].to_numpy(str),
            "latitude": ("node", table["latitude"].to_numpy(float)),
            "longitude": ("node", table["longitude"].to_numpy(float)),
        },
        attrs={"synthetic": 1},
    )


def _draw_others(where: pd.DataFrame, colors: Theme) -> hv.Points:
    sensors = hv.Points(where.reset_index(names="node"), ["x", "y"], ["node"], label="Sensors")
    return options(
        sensors,
        color=colors.muted,
        size=3,
        alpha=0.8,
        tools=["tap"],
        nonselection_alpha=0.8,
    )


def _draw_lines(places: pd.DataFrame, at: pd.Series, colors: Theme) -> hv.Segments:
    count = len(places)
    ends = (
        places["x"].to_numpy(),
        places["y"].to_numpy(),
        np.full(count, at["x"]),
        np.full(count, at["y"]),
        places["weight"].to_numpy(),
    )
    lines = hv.Segments(ends, ["x", "y", "x2", "y2"], ["weight"], label="Lines")
    limits = (0.0, float(places["weight"].max()) if count else 1.0)
    return options(
        lines,
        color="weight",
        cmap=color_scale(colors.weight),
        clim=limits,
        line_width=1.6,
        alpha=0.55,
    )


def _draw_places(places: pd.DataFrame, colors: Theme) -> hv.Points:
    largest = float(places["weight"].max()) if len(places) else 1.0
    share = np.sqrt(places["weight"] / (largest or 1.0))
    shown = places.assign(
        size=SMALLEST + (LARGEST - SMALLEST) * share, percent=100 * places["weight"]
    )
    columns = ["weight", "percent", "size", "node", "distance_km", "direction", "steps"]
    columns += ["lag_minutes", "found_in"]
    points = hv.Points(shown, ["x", "y"], columns, label="Sources")
    return options(
        points,
        color="weight",
        cmap=color_scale(colors.weight),
        clim=(0.0, largest or 1.0),
        colorbar=True,
        colorbar_opts={"width": 12, "padding": 9},
        size="size",
        line_color=colors.paper,
        line_width=1,
        nonselection_alpha=1.0,
        tools=["tap"],
        hover_tooltips=[
            ("place", "@node"),
            ("weight", "@percent{0.0} % over @steps time steps"),
            ("distance", "@distance_km{0.0} km @direction"),
            ("mean lag", "@lag_minutes{0} min"),
            ("found in", "@found_in"),
        ],
    )


def _draw_target(
    node: str, at: pd.Series, frame: dict[str, tuple[float, float]], colors: Theme
) -> list[hv.Element]:
    here = ([at["x"]], [at["y"]])
    offset = 0.012 * (frame["xlim"][1] - frame["xlim"][0])
    mark = options(
        hv.Points(here, ["x", "y"], label="Target"),
        marker="square",
        color=colors.target,
        line_color=colors.paper,
        line_width=1.5,
        size=13,
    )
    label = options(
        hv.Labels((*here, [node]), ["x", "y"], "node", label="Target name"),
        text_color=colors.target,
        text_font_size="10pt",
        text_font_style="bold",
        text_align="left",
        text_baseline="bottom",
        background_fill_color=colors.land,
        background_fill_alpha=0.75,
        xoffset=offset,
        yoffset=offset * 0.7,
    )
    return [mark, label]
