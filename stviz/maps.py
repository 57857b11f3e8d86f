"""Forecasts on a sensor map that needs no network: HoloViews over the bundled base map."""

from collections.abc import Sequence
from importlib.resources import files

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.figures import finish, options
from stviz.geography import map_bounds, sensor_edges, to_mercator, unwrap_longitude
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    label_quantity,
    label_source,
    mark_simulated,
    pick,
)
from stviz.prepare import prepare_forecast_map, value_limits
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["map_frame", "plot_base_map", "plot_forecast_map"]

VARIABLE_TITLES = {
    "forecast": "Forecast",
    "target": "Measured",
    "error": "Forecast error of",
    "lower": "Lower bound of the forecast of",
    "upper": "Upper bound of the forecast of",
    "width": "Width of the prediction band of",
}


def plot_forecast_map(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    horizon: int = 1,
    variable: str = "forecast",
    selected: str | Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    basemap: bool = True,
    tiles: str | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 440,
) -> hv.Overlay:
    """Draw one forecast, measurement or error per sensor on a map.

    Args:
        forecast: A labelled forecast.
        time: Forecast origin; the last one when None.
        horizon: Horizon step, from 1.
        variable: "forecast", "target" (measured), "error" (forecast minus measured), "lower",
            "upper" or "width" of the prediction band.
        selected: One or more sensors to ring and name.
        limits: Values at the ends of the colour scale; when None, the same for all times and
            steps of the forecast, and symmetric around zero for errors.
        basemap: Draw land, the lines between neighbouring sensors and a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay in Web Mercator metres, with tap, box select and hover on the sensors,
        which are the `Points.Sensors` of the overlay. `node_at` turns a tap into a sensor.

    Raises:
        ValueError: The time, horizon, variable, sensor or theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_forecast_map(forecast, time=time, horizon=horizon, variable=variable)
    at = frame.attrs
    low, high = limits or value_limits(forecast, variable=variable)
    stops = colors.error if variable == "error" else colors.value
    quantity = label_quantity(forecast)
    sensors = hv.Points(
        frame,
        kdims=["x", "y"],
        vdims=["value", "node", "forecast", "target", "latitude", "longitude"],
        label="Sensors",
    )
    units = forecast.attrs.get("units", "")
    sensors = options(
        sensors,
        color="value",
        cmap=color_scale(stops),
        clim=(low, high),
        colorbar=True,
        colorbar_opts={"width": 12, "padding": 9},
        size=9,
        line_color=colors.text if colors.name == "light" else colors.muted,
        line_width=0.6,
        nonselection_alpha=1.0,
        nonselection_line_alpha=1.0,
        tools=["tap", "box_select"],
        hover_tooltips=[
            ("sensor", "@node"),
            ("forecast", f"@forecast{{0.0}} {units}"),
            ("measured", f"@target{{0.0}} {units}"),
            ("place", "@latitude{0.000}, @longitude{0.000}"),
        ],
        active_tools=["wheel_zoom"],
    )
    layers = [
        plot_base_map(forecast, basemap=basemap, tiles=tiles, theme=colors),
        sensors,
        *_ring(frame, selected, forecast, colors),
    ]
    lead = describe_lead(at["lead_minutes"])
    subtitle = f"for {clock(at['valid_time'])}, forecast at {clock(at['time'])}"
    if forecast.attrs.get("model"):
        subtitle += f"{DOT}{forecast.attrs['model']}"
    if variable == "error":
        subtitle += f"{DOT}red: forecast too high"
    return finish(
        hv.Overlay(layers).collate(),
        title=mark_simulated(f"{VARIABLE_TITLES[variable]} {quantity}, {lead}", forecast),
        bar=units,
        **map_frame(forecast),
        subtitle=subtitle,
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        show_legend=False,
    )


def plot_base_map(
    data: xr.Dataset,
    *,
    basemap: bool = True,
    tiles: str | None = None,
    theme: str | Theme = "light",
) -> hv.Overlay:
    """Draw what lies under the sensors: land, their roads, places and a scale bar.

    Args:
        data: A dataset or forecast with sensor locations.
        basemap: Draw land, the lines between neighbouring sensors, places and a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        theme: "light", "dark" or a `Theme`.

    Returns:
        A HoloViews overlay in Web Mercator metres whose frame holds all sensors.
    """
    colors = get_theme(theme)
    longitude = unwrap_longitude(data["longitude"].values)
    latitude = data["latitude"].values.astype(float)
    bounds = map_bounds(longitude, latitude)
    layers: list[hv.Element] = []
    if tiles is not None:
        layers.append(options(hv.Tiles(tiles, name="Tiles"), level="underlay"))
    elif basemap:
        layers.append(_draw_land(bounds, colors))
    if basemap:
        layers.append(_draw_roads(data, longitude, latitude, colors))
        if tiles is None:
            if not data.attrs.get("synthetic"):
                layers.append(_draw_places(bounds, colors))
            layers += _draw_scale(bounds, colors)
    return options(hv.Overlay(layers), **map_frame(data))


def map_frame(data: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Give the frame of the map of some sensors.

    Args:
        data: A dataset or forecast with sensor locations.

    Returns:
        `xlim` and `ylim` in Web Mercator metres.
    """
    west, south, east, north = map_bounds(
        unwrap_longitude(data["longitude"].values), data["latitude"].values.astype(float)
    )
    (left, right), (bottom, top) = to_mercator([west, east], [south, north])
    return {"xlim": (float(left), float(right)), "ylim": (float(bottom), float(top))}


def _draw_land(bounds: tuple[float, float, float, float], colors: Theme) -> hv.Polygons:
    west, south, east, north = bounds
    # Wider than the frame, so that zooming out or a wide window still shows land.
    wide = (
        west - 4 * (east - west),
        max(south - 4 * (north - south), -85.0),
        east + 4 * (east - west),
        min(north + 4 * (north - south), 85.0),
    )
    rings = []
    for shape in load_basemap(wide).geometry:
        for part in getattr(shape, "geoms", [shape]):
            if part.geom_type == "Polygon":
                x, y = to_mercator(*np.asarray(part.exterior.coords).T)
                rings.append({"x": x, "y": y})
    land = hv.Polygons(rings, kdims=["x", "y"], label="Land")
    return options(land, fill_color=colors.land, line_color=colors.border, line_width=0.8)


def _draw_roads(
    data: xr.Dataset, longitude: np.ndarray, latitude: np.ndarray, colors: Theme
) -> hv.Segments:
    edges = sensor_edges(data)
    x, y = to_mercator(longitude, latitude)
    ends = (x[edges[:, 0]], y[edges[:, 0]], x[edges[:, 1]], y[edges[:, 1]])
    roads = hv.Segments(ends, kdims=["x", "y", "x2", "y2"], label="Roads")
    return options(roads, color=colors.road, line_width=3, line_cap="round")


def _draw_places(bounds: tuple[float, float, float, float], colors: Theme) -> hv.Labels:
    west, south, east, north = bounds
    with files("stviz.basemap").joinpath("places.csv").open("rb") as stream:
        places = pd.read_csv(stream)
    inside = places["longitude"].between(west, east) & places["latitude"].between(south, north)
    largest = 3 if east - west < 0.8 else 2 if east - west < 2 else 1
    shown = places[inside & (places["size"] <= largest)]
    x, y = to_mercator(shown["longitude"].to_numpy(), shown["latitude"].to_numpy())
    labels = hv.Labels((x, y, shown["name"].to_numpy()), kdims=["x", "y"], vdims="name")
    return options(
        labels.relabel("Places"),
        text_color=colors.muted,
        text_font_size="8pt",
        text_font_style="italic",
        text_baseline="top",
        yoffset=-0.008 * float(np.ptp(to_mercator([west, east], [0, 0])[0])),
    )


def _draw_scale(
    bounds: tuple[float, float, float, float], colors: Theme
) -> tuple[hv.Segments, hv.Labels]:
    west, south, east, north = bounds
    metres_per_degree = 111_195.0 * np.cos(np.radians((south + north) / 2))
    wished_km = (east - west) * metres_per_degree / 1000 / 5
    power = 10.0 ** np.floor(np.log10(wished_km))
    length_km = max(step for step in (1, 2, 5) if step * power <= wished_km) * power
    degrees = length_km * 1000 / metres_per_degree
    left, at = west + 0.03 * (east - west), south + 0.035 * (north - south)
    (x0, x1), (y, _) = to_mercator([left, left + degrees], [at, at])
    bar = options(
        hv.Segments((x0, y, x1, y), kdims=["x", "y", "x2", "y2"], label="Scale"),
        color=colors.text,
        line_width=2.5,
    )
    text = hv.Labels(([(x0 + x1) / 2], [y], [f"{length_km:g} km"]), ["x", "y"], "name")
    label = options(
        text.relabel("Scale"),
        text_color=colors.text,
        text_font_size="8pt",
        text_baseline="bottom",
    )
    return bar, label


def _ring(
    frame: pd.DataFrame, selected: str | Sequence[str] | None, data: xr.Dataset, colors: Theme
) -> list[hv.Element]:
    names = [selected] if isinstance(selected, str) else list(selected or [])
    for name in names:
        pick(data, "node", name, name="selected")
    left, right = map_frame(data)["xlim"]
    shown = frame[frame["node"].isin(names)]
    ring = hv.Points(shown, kdims=["x", "y"], vdims=["node"], label="Selected")
    ring = options(
        ring,
        fill_color=None,
        line_color=colors.target,
        line_width=3,
        size=17,
        nonselection_alpha=1.0,
    )
    label = hv.Labels(shown, kdims=["x", "y"], vdims=["node"], label="Selected names")
    label = options(
        label,
        text_color=colors.target,
        text_font_size="10pt",
        text_font_style="bold",
        text_align="left",
        text_baseline="bottom",
        background_fill_color=colors.land,
        background_fill_alpha=0.75,
        xoffset=0.012 * (right - left),
        yoffset=0.008 * (right - left),
    )
    return [ring, label]
