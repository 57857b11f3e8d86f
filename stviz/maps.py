"""Forecasts on a map that needs no network: HoloViews over the bundled base map."""

from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import pandas as pd
import xarray as xr

from stviz.areas import draw_hidden, draw_places, draw_selected, hover_lines
from stviz.cells import draw_image, image_hover, is_fine
from stviz.figures import finish, options
from stviz.ground import draw_ground, map_frame
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    label_quantity,
    label_source,
    mark_simulated,
    minutes_per_step,
)
from stviz.places import noun_of, prepare_places
from stviz.prepare import COMPARED, prepare_forecast_map, value_limits
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["VARIABLE_TITLES", "plot_base_map", "plot_forecast_map"]

MORE = {"change": "higher", "excess": "farther from what was measured"}
DIVERGING = ("error", *COMPARED)
SEEN_THROUGH = 0.7
VARIABLE_TITLES = {
    "forecast": "Forecast",
    "target": "Measured",
    "error": "Forecast error of",
    "lower": "Lower bound of the forecast of",
    "upper": "Upper bound of the forecast of",
    "width": "Width of the prediction band of",
    "change": "Change in forecast",
    "excess": "Change in forecast error",
}


def plot_forecast_map(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    horizon: int = 1,
    variable: str = "forecast",
    reference: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    selected: str | Sequence[str] | None = None,
    hidden: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    basemap: bool = True,
    tiles: str | None = None,
    on_tap: Callable[[float, float], None] | None = None,
    on_box: Callable[[tuple[float, float, float, float]], None] | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 440,
) -> hv.Overlay:
    """Draw one forecast, measurement or error per place on a map.

    Sensors are dots. The cells of a grid, and zones where their polygons are given, are filled.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        time: Forecast origin; the last one when None.
        horizon: Horizon step, from 1.
        variable: "forecast", "target" (measured), "error" (forecast minus measured), "lower",
            "upper" or "width" of the prediction band, "change" (forecast minus `reference`), or
            "excess" (size of the error minus that of `reference`).
        reference: Another forecast of the same places, times and steps, such as one of another
            model or without a switch.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        selected: One or more places to ring and name.
        hidden: Places to cross out, such as those whose readings the model did not get.
        limits: Values at the ends of the colour scale; when None, the same for all times and
            steps of the forecast, and symmetric around zero for errors and comparisons.
        basemap: Draw land, the lines between neighbouring sensors, coasts over cells and, where one
            is right for the whole map, a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        on_tap: Called with the map coordinates of a tap, for `node_at`; it needs a live page, and
            a figure that is updated keeps the one it began with.
        on_box: Called with west, south, east and north in degrees of a box that is drawn, for
            `nodes_within`; likewise.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay in Web Mercator metres, with hover on the places, which are the
        `Points.Sensors`, `Rectangles.Cells` or `Polygons.Zones` of the overlay; without `on_tap`
        they can be tapped and boxed for the selection streams of HoloViews. More than 4,000 cells
        are one `Image.Cells`. `node_at` turns a tap into a place.

    Raises:
        ValueError: The time, horizon, variable, place or theme is not there, a place has no polygon
            among the zones, or a comparison has no reference that fits.
    """
    colors = get_theme(theme)
    frame = prepare_forecast_map(
        forecast, time=time, horizon=horizon, variable=variable, reference=reference, zones=zones
    )
    at = frame.attrs
    ground = draw_ground(forecast, frame, basemap=basemap, tiles=tiles, colors=colors)
    stops = colors.error if variable in DIVERGING else colors.value
    quantity = label_quantity(forecast)
    units = forecast.attrs.get("units", "")
    values = [("forecast", f"@forecast{{0.0}} {units}")]
    if frame["target"].notna().any():  # else this is the future
        values.append(("measured", f"@target{{0.0}} {units}"))
    colored = {
        "cmap": color_scale(stops),
        "clim": limits or value_limits(forecast, variable=variable, reference=reference),
        "clipping_colors": {"NaN": colors.gap},
        "colorbar": True,
        "colorbar_opts": {"width": 12, "padding": 9},
        "active_tools": ["wheel_zoom"],
    }
    if is_fine(frame):
        image = draw_image(frame, ["value", "forecast", "target"])
        alpha = 1.0 if tiles is None else SEEN_THROUGH
        places = options(image, **colored, alpha=alpha, tools=[image_hover(values)])
    else:
        places = _draw_values(frame, values, colors, colored, on_tap=on_tap, tiles=tiles)
    marks = [*draw_hidden(frame, hidden, colors), *draw_selected(frame, selected, colors)]
    layers = [*ground.below, places, *ground.above, *marks]
    lead = describe_lead(at["lead_minutes"], step_minutes=minutes_per_step(forecast))
    subtitle = f"for {clock(at['valid_time'])}, forecast at {clock(at['time'])}"
    if forecast.attrs.get("model"):
        subtitle += f"{DOT}{forecast.attrs['model']}"
    subtitle += _say_beyond(frame["value"], colored["clim"], units)
    if variable == "error":
        subtitle += f"{DOT}red: forecast too high"
    if len(hidden):
        subtitle += f"{DOT}crossed: hidden from the model"
    if reference is not None and variable in COMPARED:
        other, word = reference.attrs.get("model"), MORE[variable]
        than = "as trained" if other == forecast.attrs.get("model") else f"that of {other}"
        subtitle += f"{DOT}red: {word} than {than}"
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{VARIABLE_TITLES[variable]} {quantity}, {lead}", forecast),
        bar=units,
        **map_frame(frame),
        subtitle=subtitle,
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        on_tap=on_tap,
        on_box=on_box,
        show_legend=False,
    )


def plot_base_map(
    data: xr.Dataset,
    *,
    zones: pd.DataFrame | None = None,
    selected: str | Sequence[str] | None = None,
    tiles: str | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 440,
) -> hv.Overlay:
    """Draw where the places are, without any values: the ground of every map here.

    Args:
        data: A dataset or forecast, of nodes or a grid.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        selected: One or more places to ring and name.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay in Web Mercator metres.

    Raises:
        ValueError: A selected place or the theme is not there, or a place has no polygon.
    """
    colors = get_theme(theme)
    places = prepare_places(data, zones=zones)
    ground = draw_ground(data, places, basemap=True, tiles=tiles, colors=colors)
    noun = noun_of(places)
    if is_fine(places):
        covered = draw_image(places.assign(covered=1.0), ["covered"])
        shapes = options(covered, cmap=[colors.target], alpha=0.15, tools=[image_hover([])])
    else:
        shapes = options(
            draw_places(places, ["node", "name"]),
            color=colors.target,
            line_color=colors.paper if noun == "sensor" else colors.target,
            tools=["hover"],
            hover_tooltips=hover_lines(places),
        )
        thin = {"fill_alpha": 0.15, "line_alpha": 0.5, "line_width": 0.6}
        options(shapes, **({"size": 6} if noun == "sensor" else thin))
    layers = [*ground.below, shapes, *ground.above, *draw_selected(places, selected, colors)]
    roads = "lines join neighbours; they are not the road geometry"
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"Where the {len(places)} {noun}s are", data),
        subtitle=roads if noun == "sensor" else "",
        credit=label_source(data),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        show_legend=False,
        **map_frame(places),
    )


def _say_beyond(values: pd.Series, ends: tuple[float, float], units: str) -> str:
    """Say how far values lie beyond the ends of a colour scale; nothing where none does."""
    span = (ends[1] - ends[0]) / 50  # less cannot be told from the end
    low, high = values.min(), values.max()
    said = [f"lowest {low:.0f} {units}"] if low < ends[0] - span else []
    said += [f"highest {high:.0f} {units}"] if high > ends[1] + span else []
    return f"{DOT}beyond the colours: {', '.join(said)}" if said else ""


def _draw_values(
    frame: pd.DataFrame,
    values: list[tuple[str, str]],
    colors: Theme,
    colored: dict[str, Any],
    *,
    on_tap: Callable[[float, float], None] | None,
    tiles: str | None,
) -> hv.Element:
    """Draw each place, which tells of itself under the pointer."""
    columns = ["value", "node", "name", "forecast", "target"]
    tips = hover_lines(frame)
    if noun_of(frame) == "sensor":
        columns += ["latitude", "longitude"]
        tips += [("place", "@latitude{0.000}, @longitude{0.000}")]
    return options(
        draw_places(frame, columns),
        color="value",
        **colored,
        **_edge(frame, colors, on_tiles=tiles is not None),
        nonselection_alpha=1.0,
        nonselection_line_alpha=1.0,
        # A tool that selects would draw all layers again at each tap.
        tools=["hover"] if on_tap else ["hover", "tap", "box_select"],
        hover_tooltips=[tips[0], *values, *tips[1:]],
    )


def _edge(places: pd.DataFrame, colors: Theme, *, on_tiles: bool) -> dict[str, object]:
    """Give the line around each place, and the size of those that have none."""
    noun = noun_of(places)
    if noun == "sensor":
        line = colors.text if colors.name == "light" else colors.muted
        return {"line_color": line, "line_width": 0.6, "size": 9}
    # The streets of a map of tiles are to be seen.
    through = {"fill_alpha": SEEN_THROUGH} if on_tiles else {}
    if noun == "cell":
        # In the colour of the cell, or its neighbours would shine through at the edges.
        return {"line_color": "value", "line_width": 1.0, **through}
    return {"line_color": colors.border, "line_width": 0.5, **through}
