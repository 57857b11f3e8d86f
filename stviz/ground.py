"""What lies under the sensors of a map: land, lines between neighbours, places, a scale bar."""

from importlib.resources import files

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.figures import options
from stviz.geography import map_bounds, sensor_edges, to_mercator, unwrap_longitude
from stviz.theme import Theme

__all__ = ["draw_base", "map_frame"]


def draw_base(
    data: xr.Dataset, *, basemap: bool, tiles: str | None, colors: Theme
) -> list[hv.Element]:
    """Draw what lies under the sensors: land, their roads, places and a scale bar.

    Args:
        data: A dataset or forecast with sensor locations.
        basemap: Draw land, the lines between neighbouring sensors, places and a scale bar.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        colors: The theme.

    Returns:
        HoloViews elements in Web Mercator metres.
    """
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
        if tiles is None and not data.attrs.get("synthetic"):
            layers.append(_draw_places(bounds, colors))
        layers += _draw_scale(bounds, longitude, latitude, colors)
    return layers


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
    shown = places.loc[inside & (places["size"] <= largest)]
    x, y = to_mercator(shown["longitude"], shown["latitude"])
    labels = hv.Labels((x, y, shown["name"]), kdims=["x", "y"], vdims="name")
    return options(
        labels.relabel("Places"),
        text_color=colors.muted,
        text_font_size="8pt",
        text_font_style="italic",
        text_baseline="top",
        yoffset=-0.008 * float(np.ptp(to_mercator([west, east], [0, 0])[0])),
    )


def _draw_scale(
    bounds: tuple[float, float, float, float],
    longitude: np.ndarray,
    latitude: np.ndarray,
    colors: Theme,
) -> tuple[hv.Segments, hv.Labels]:
    west, south, east, north = bounds
    metres_per_degree = 111_195.0 * np.cos(np.radians((south + north) / 2))
    wished_km = (east - west) * metres_per_degree / 1000 / 5
    power = 10.0 ** np.floor(np.log10(wished_km))
    length_km = max(step for step in (1, 2, 5) if step * power <= wished_km) * power
    degrees = length_km * 1000 / metres_per_degree
    left, at = west + 0.03 * (east - west), south + 0.035 * (north - south)
    room = left - west
    low = latitude < at + 3 * (at - south)
    if (low & (longitude < left + degrees + room)).any():  # in the way: the other corner
        left = east - room - degrees
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
