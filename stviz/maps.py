"""Forecasts on a sensor map that needs no network: HoloViews over the bundled base map."""

from collections.abc import Callable, Sequence

import holoviews as hv
import pandas as pd
import xarray as xr

from stviz.figures import beside, finish, options
from stviz.geography import to_mercator, unwrap_longitude
from stviz.ground import draw_base, map_frame
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

__all__ = ["VARIABLE_TITLES", "plot_base_map", "plot_forecast_map"]

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
    on_tap: Callable[[float, float], None] | None = None,
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
        on_tap: Called with the map coordinates of a tap, for `node_at`; it needs a live page, and
            a figure that is updated keeps the one it began with.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay in Web Mercator metres, with hover on the sensors, which are the
        `Points.Sensors` of the overlay; without `on_tap` they can be tapped and boxed for the
        selection streams of HoloViews. `node_at` turns a tap into a sensor.

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
        # A tool that selects would draw all layers again at each tap.
        tools=["hover"] if on_tap else ["hover", "tap", "box_select"],
        hover_tooltips=[
            ("sensor", "@node"),
            ("forecast", f"@forecast{{0.0}} {units}"),
            ("measured", f"@target{{0.0}} {units}"),
            ("place", "@latitude{0.000}, @longitude{0.000}"),
        ],
        active_tools=["wheel_zoom"],
    )
    layers = [
        *draw_base(forecast, basemap=basemap, tiles=tiles, colors=colors),
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
        hv.Overlay(layers),
        title=mark_simulated(f"{VARIABLE_TITLES[variable]} {quantity}, {lead}", forecast),
        bar=units,
        **map_frame(forecast),
        subtitle=subtitle,
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        on_tap=on_tap,
        show_legend=False,
    )


def plot_base_map(
    data: xr.Dataset,
    *,
    selected: str | Sequence[str] | None = None,
    tiles: str | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 440,
) -> hv.Overlay:
    """Draw where the sensors are, without any values: the ground of every map here.

    Args:
        data: A dataset or forecast with sensor locations.
        selected: One or more sensors to ring and name.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the map is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay in Web Mercator metres.

    Raises:
        ValueError: A selected sensor or the theme is not there.
    """
    colors = get_theme(theme)
    x, y = to_mercator(unwrap_longitude(data["longitude"].values), data["latitude"].values)
    frame = pd.DataFrame({"x": x, "y": y, "node": data["node"].values.astype(str)})
    sensors = options(
        hv.Points(frame, ["x", "y"], ["node"], label="Sensors"),
        color=colors.target,
        line_color=colors.paper,
        size=6,
        tools=["hover"],
        hover_tooltips=[("sensor", "@node")],
    )
    count = len(frame)
    return finish(
        hv.Overlay(
            [
                *draw_base(data, basemap=True, tiles=tiles, colors=colors),
                sensors,
                *_ring(frame, selected, data, colors),
            ]
        ),
        title=mark_simulated(f"Where the {count} sensors are", data),
        subtitle="lines join neighbours; they are not the road geometry",
        credit=label_source(data),
        theme=colors,
        width=width,
        height=height,
        is_map=True,
        show_legend=False,
        **map_frame(data),
    )


def _ring(
    frame: pd.DataFrame, selected: str | Sequence[str] | None, data: xr.Dataset, colors: Theme
) -> list[hv.Element]:
    names = [selected] if isinstance(selected, str) else list(selected or [])
    for name in names:
        pick(data, "node", name, name="selected")
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
        background_fill_color=colors.land,
        background_fill_alpha=0.75,
    )
    return [ring, beside(label)]
