"""A forecast map to share: one HTML file with everything in it, needing no network."""

import base64
import json
from functools import lru_cache
from html import escape
from importlib.resources import files

import folium
import numpy as np
import pandas as pd
import xarray as xr
from branca.element import Element, Figure, MacroElement
from folium.template import Template

from stviz.basemap import load_basemap
from stviz.geography import from_mercator, sensor_edges
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    label_quantity,
    label_source,
    mark_simulated,
    minutes_per_step,
)
from stviz.maps import VARIABLE_TITLES
from stviz.places import EDGES, FINEST, LABELS, bounds_of, noun_of, shape_parts
from stviz.prepare import prepare_forecast_map, value_limits
from stviz.theme import Theme, color_scale, get_theme, pick_colors

__all__ = ["folium_forecast_map"]


def folium_forecast_map(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    horizon: int = 1,
    variable: str = "forecast",
    reference: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    basemap: bool = True,
    tiles: str | None = None,
    attribution: str = "",
    theme: str | Theme = "light",
    width: int | str = "100%",
    height: int | str = "100%",
) -> folium.Map:
    """Draw one forecast, measurement or error per place on a map that can be mailed around.

    Leaflet travels inside the file, so `map.save("map.html")` opens anywhere, without network.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        time: Forecast origin; the last one when None.
        horizon: Horizon step, from 1.
        variable: "forecast", "target" (measured), "error" (forecast minus measured), "lower",
            "upper" or "width" of the prediction band, or "change" (forecast minus `reference`).
        reference: Another forecast of the same places, times and steps.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        limits: Values at the ends of the colour scale; when None, the same for all times and
            steps of the forecast, and symmetric around zero for errors and changes.
        basemap: Draw land, the lines between neighbouring sensors and coasts over cells.
        tiles: Name or URL template of map tiles, which needs the network; None stays offline.
        attribution: What the owner of the tiles asks to be shown.
        theme: "light", "dark" or a `Theme`.
        width: Pixels or a share such as "100%".
        height: Pixels or a share.

    Returns:
        A folium map with one GeoJson layer of all places: sensors, the cells of a grid, or zones;
        names are shown as text, never as HTML.

    Raises:
        ValueError: The time, horizon, variable or theme is not there, a place has no polygon, or a
            change has no reference that fits.
    """
    colors = get_theme(theme)
    frame = prepare_forecast_map(
        forecast, time=time, horizon=horizon, variable=variable, reference=reference, zones=zones
    )
    noun = noun_of(frame)
    low, high = limits or value_limits(forecast, variable=variable, reference=reference)
    stops = colors.error if variable in {"error", "change"} else colors.value
    bounds = bounds_of(frame)
    west, south, east, north = bounds
    figure = folium.Map(
        location=[(south + north) / 2, (west + east) / 2],
        tiles=tiles,
        attr=attribution or None,
        width=width,
        height=height,
        zoom_control=True,
        control_scale=True,
        prefer_canvas=True,
        zoom_snap=0.25,
    )
    # On this map only: folium's own lists point to content delivery networks.
    figure.default_js = [("leaflet", _data_uri("leaflet.js", "text/javascript"))]
    figure.default_css = [("leaflet_css", _data_uri("leaflet.css", "text/css"))]
    figure.add_child(_FitOnceSeen([[south, west], [north, east]]))
    is_invented = forecast.attrs.get("synthetic") and noun != "sensor"
    if basemap and tiles is None and not is_invented:
        _add_land(figure, bounds, colors)
    if basemap and noun == "sensor":
        _add_roads(figure, forecast, frame, colors)
    frame = frame.assign(
        color=pick_colors(frame["value"], stops=stops, limits=(low, high), missing=colors.gap)
    )
    _add_places(figure, frame, str(forecast.attrs.get("units", "")), colors)
    if basemap and noun == "cell" and not is_invented:
        _add_coast(figure, bounds, colors)
    _add_words(figure, forecast, frame, stops, (low, high), colors)
    return figure


class _FitOnceSeen(MacroElement):
    """Fits the map to its places when it has a size, which in a frame of a page comes late."""

    # Room for the title above and the colour scale below.
    _template = Template("""
        {% macro script(this, kwargs) %}
        {
          const map = {{ this._parent.get_name() }}, place = map.getContainer()
          const fit = () => map.fitBounds(
            {{ this.bounds | tojson }}, {paddingTopLeft: [0, 60], paddingBottomRight: [0, 40]})
          const watcher = new ResizeObserver(() => {
            if (!place.clientWidth || !place.clientHeight) return
            watcher.disconnect()
            map.invalidateSize({animate: false})
            fit()
          })
          watcher.observe(place)
        }
        {% endmacro %}
    """)

    def __init__(self, bounds: list[list[float]]) -> None:
        super().__init__()
        self.bounds = bounds


@lru_cache(maxsize=4)
def _data_uri(name: str, kind: str) -> str:
    content = files("stviz.basemap").joinpath("leaflet", name).read_bytes()
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _add_land(figure: folium.Map, bounds: tuple[float, float, float, float], colors: Theme) -> None:
    west, south, east, north = bounds
    across, up = east - west, north - south
    wide = (west - 4 * across, max(south - 4 * up, -85), east + 4 * across, min(north + 4 * up, 85))
    land = load_basemap(wide)
    if not len(land):
        return
    style = {"fillColor": colors.land, "color": colors.border, "weight": 1, "fillOpacity": 1}
    folium.GeoJson(
        _round(json.loads(land[["geometry"]].to_json()), 4),
        name="Land",
        style_function=lambda _: style,
        control=False,
        interactive=False,
    ).add_to(figure)


def _add_coast(figure: folium.Map, bounds: tuple[float, float, float, float], colors: Theme):
    land = load_basemap(bounds)
    if not len(land):
        return
    style = {"fill": False, "color": colors.text, "weight": 1, "opacity": 0.6}
    folium.GeoJson(
        _round(json.loads(land[["geometry"]].to_json()), 4),
        name="Coast",
        style_function=lambda _: style,
        control=False,
        interactive=False,
    ).add_to(figure)


def _round(value: object, digits: int) -> object:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, list):
        return [_round(item, digits) for item in value]
    if isinstance(value, dict):
        return {key: _round(item, digits) for key, item in value.items()}
    return value


def _add_roads(
    figure: folium.Map, forecast: xr.Dataset, frame: pd.DataFrame, colors: Theme
) -> None:
    places = frame[["longitude", "latitude"]].to_numpy().round(5)
    lines = places[sensor_edges(forecast)]
    if not len(lines):
        return
    geometry = {"type": "MultiLineString", "coordinates": lines.tolist()}
    style = {"color": colors.road, "weight": 3, "opacity": 1}
    folium.GeoJson(
        {"type": "Feature", "properties": {}, "geometry": geometry},
        name="Roads",
        style_function=lambda _: style,
        control=False,
        interactive=False,
    ).add_to(figure)


def _add_places(figure: folium.Map, frame: pd.DataFrame, units: str, colors: Theme) -> None:
    noun = noun_of(frame)

    def write(value: float) -> str:
        return f"{value:.1f} {units}".strip() if np.isfinite(value) else "unknown"

    features = [
        {
            "type": "Feature",
            "geometry": geometry,
            # The tooltip writes these into the page as HTML.
            "properties": {
                "node": escape(row["node"] if noun != "zone" else f"{row['name']} ({row['node']})"),
                "forecast": escape(write(row["forecast"])),
                "target": escape(write(row["target"])),
                "color": row["color"],
            },
        }
        for row, geometry in zip(frame.to_dict("records"), _geometries(frame), strict=True)
    ]
    if noun == "cell":
        edge = {"weight": 0, "fillOpacity": 1}
    elif noun == "zone":
        edge = {"color": colors.border, "weight": 0.8, "fillOpacity": 1}
    else:
        outline = colors.text if colors.name == "light" else colors.muted
        edge = {"color": outline, "weight": 0.8, "fillOpacity": 1}
    folium.GeoJson(
        {"type": "FeatureCollection", "features": features},
        name=LABELS[noun],
        marker=folium.CircleMarker(radius=6, fill=True),
        style_function=lambda feature: {"fillColor": feature["properties"]["color"], **edge},
        highlight_function=lambda _: {"weight": 3, "color": colors.target},
        tooltip=folium.GeoJsonTooltip(
            fields=["node", "forecast", "target"],
            aliases=[noun, "forecast", "measured"],
            sticky=noun != "sensor",
        ),
    ).add_to(figure)


def _geometries(frame: pd.DataFrame) -> list[dict]:
    """Give each place as GeoJSON, as precise as a lane."""
    noun = noun_of(frame)
    if noun == "zone":
        west, _, east, _ = bounds_of(frame)
        parts = [shape_parts(shape, tolerance=(east - west) * FINEST) for shape in frame["shape"]]
        rings = [[[ring.round(5).tolist() for ring in part] for part in shape] for shape in parts]
        return [{"type": "MultiPolygon", "coordinates": shape} for shape in rings]
    if noun == "cell":
        sides = frame[EDGES].to_numpy().T
        (west, south), (east, north) = from_mercator(*sides[:2]), from_mercator(*sides[2:])
        corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        rings = np.stack([np.stack(corner, -1) for corner in corners], 1).round(5)
        return [{"type": "Polygon", "coordinates": [ring]} for ring in rings.tolist()]
    points = frame[["longitude", "latitude"]].to_numpy().round(5).tolist()
    return [{"type": "Point", "coordinates": point} for point in points]


def _add_words(
    figure: folium.Map,
    forecast: xr.Dataset,
    frame: pd.DataFrame,
    stops: tuple[str, ...],
    limits: tuple[float, float],
    colors: Theme,
) -> None:
    at = frame.attrs
    quantity = label_quantity(forecast)
    lead = describe_lead(at["lead_minutes"], step_minutes=minutes_per_step(forecast))
    title = mark_simulated(f"{VARIABLE_TITLES[at['variable']]} {quantity}, {lead}", forecast)
    facts = f"for {clock(at['valid_time'])}, forecast at {clock(at['time'])}"
    if forecast.attrs.get("model"):
        facts += f"{DOT}{forecast.attrs['model']}"
    legend = quantity
    if at["variable"] == "error":
        legend = f"forecast minus measured ({forecast.attrs.get('units', '')})"
    elif at["variable"] == "change":
        legend = f"change in the forecast ({forecast.attrs.get('units', '')})"
    gradient = ", ".join(color_scale(stops, count=9))
    low, high = limits
    digits = max(0, 1 - int(np.floor(np.log10(max(high - low, 1e-9)))))
    ends = [f"{round(value, digits) + 0.0:.{digits}f}" for value in (low, (low + high) / 2, high)]
    box = (
        f"position:absolute;z-index:1000;background:{colors.paper};color:{colors.text};"
        "font:12px/1.35 system-ui,sans-serif;padding:8px 10px;border-radius:4px;"
        "box-shadow:0 1px 4px rgba(0,0,0,.35)"
    )
    html = f"""
<style>.leaflet-container {{ background: {colors.plot}; }}</style>
<div style="{box};top:10px;left:54px;max-width:calc(100% - 90px)">
<b style="font-size:15px">{escape(title)}</b><br>{escape(facts)}<br>
<span style="color:{colors.muted}">{escape(label_source(forecast))}</span></div>
<div style="{box};bottom:24px;right:10px;width:180px">{escape(legend)}
<div style="height:10px;background:linear-gradient(to right, {gradient})"></div>
<div style="display:flex;justify-content:space-between">
<span>{ends[0]}</span><span>{ends[1]}</span><span>{ends[2]}</span></div></div>
"""
    root = figure.get_root()
    if isinstance(root, Figure):
        root.title = escape(title)
        root.html.add_child(Element(html))
