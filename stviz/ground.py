"""What lies under and over the places of a map: land, coasts, roads, names, a scale bar."""

from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.figures import options
from stviz.geography import sensor_edges, to_mercator
from stviz.places import bounds_of, noun_of
from stviz.theme import Theme

__all__ = ["Ground", "draw_ground", "map_frame"]

Bounds = tuple[float, float, float, float]
Frame = dict[str, tuple[float, float]]
# A bar is right for a whole map on which a kilometre changes no more than by this factor.
SCALE_CHANGE = 1.25
ACROSS = 450  # pixels, about, of a map at first
# Where a name may be, seen from its place, in halves of its width and height.
SIDES = np.array([(0, -1.6), (0, 1.6), (1.15, 0), (-1.15, 0), (0, -3.0), (0, 3.0)])


class Ground(NamedTuple):
    """The layers of a map besides its places, HoloViews elements in Web Mercator metres.

    Attributes:
        below: What places lie on.
        above: What areas would hide.
    """

    below: list[hv.Element]
    above: list[hv.Element]


def draw_ground(
    data: xr.Dataset,
    places: pd.DataFrame,
    *,
    basemap: bool,
    tiles: str | None,
    colors: Theme,
    frame: Bounds | None = None,
) -> Ground:
    """Draw land, coasts over cells, roads between sensors, names of cities and a scale bar.

    Args:
        data: The dataset or forecast that the places are of.
        places: What `prepare_places` gives for it.
        basemap: Draw all of this; nothing but tiles otherwise.
        tiles: URL template of map tiles, which needs the network; None stays offline.
        colors: The theme.
        frame: West, south, east and north of what is in sight at first; None for all places.

    Returns:
        What goes below the places, and what goes above them.
    """
    bounds = bounds_of(places)
    below: list[hv.Element] = []
    above: list[hv.Element] = []
    if tiles is not None:
        below.append(options(hv.Tiles(tiles, name="Tiles"), level="underlay"))
    elif basemap and not (data.attrs.get("synthetic") and noun_of(places) != "sensor"):
        below.append(_draw_land(bounds, colors))
        if noun_of(places) == "cell":
            above.append(_draw_coast(bounds, colors))
    if basemap:
        scale = _draw_scale(frame or bounds, places, colors)
        if noun_of(places) != "sensor":
            return Ground(below, [*above, *scale])
        below.append(_draw_roads(data, places, colors))
        if tiles is None and not data.attrs.get("synthetic"):
            below.append(_draw_cities(frame or bounds, x=places["x"], y=places["y"], colors=colors))
        below += scale
    return Ground(below, above)


def map_frame(places: pd.DataFrame) -> Frame:
    """Give the frame of the map of some places.

    Args:
        places: What `prepare_places` gives, or some of its rows.

    Returns:
        `xlim` and `ylim` in Web Mercator metres.
    """
    west, south, east, north = bounds_of(places)
    (left, right), (bottom, top) = to_mercator([west, east], [south, north])
    return {"xlim": (float(left), float(right)), "ylim": (float(bottom), float(top))}


def _draw_land(bounds: Bounds, colors: Theme) -> hv.Polygons:
    west, south, east, north = bounds
    # Wider than the frame, so that zooming out or a wide window still shows land.
    across, up = min(4 * (east - west), 180.0), 4 * (north - south)
    wide = (west - across, max(south - up, -85.0), east + across, min(north + up, 85.0))
    land = hv.Polygons(_coastlines(wide), kdims=["x", "y"], label="Land")
    return options(land, fill_color=colors.land, line_color=colors.border, line_width=0.8)


def _draw_coast(bounds: Bounds, colors: Theme) -> hv.Path:
    coast = hv.Path(_coastlines(bounds), kdims=["x", "y"], label="Coast")
    return options(coast, color=colors.text, alpha=0.6, line_width=0.8)


def _coastlines(bounds: Bounds) -> list[dict[str, np.ndarray]]:
    """Give all outer rings as one shape, which HoloViews draws a hundred times faster than many."""
    x, y = _find_coast(bounds)
    return [{"x": x, "y": y}] if x.size else []


@lru_cache(maxsize=32)  # a map is drawn again and again, and the ground stays
def _find_coast(bounds: Bounds) -> np.ndarray:
    rings = []
    for shape in load_basemap(bounds).geometry:
        for part in getattr(shape, "geoms", [shape]):
            if part.geom_type == "Polygon":
                x, y = to_mercator(*np.asarray(part.exterior.coords).T)
                rings += [np.stack([x, y]), np.full((2, 1), np.nan)]
    return np.concatenate(rings[:-1], axis=-1) if rings else np.empty((2, 0))


def _draw_roads(data: xr.Dataset, places: pd.DataFrame, colors: Theme) -> hv.Segments:
    edges = sensor_edges(data)
    x, y = places["x"].to_numpy(), places["y"].to_numpy()
    ends = (x[edges[:, 0]], y[edges[:, 0]], x[edges[:, 1]], y[edges[:, 1]])
    roads = hv.Segments(ends, kdims=["x", "y", "x2", "y2"], label="Roads")
    return options(roads, color=colors.road, line_width=3, line_cap="round")


def _draw_cities(bounds: Bounds, *, x: pd.Series, y: pd.Series, colors: Theme) -> hv.Labels:
    """Name cities, each at the side of its place where least lies under the name."""
    west, south, east, north = bounds
    with files("stviz.basemap").joinpath("places.csv").open("rb") as stream:
        cities = pd.read_csv(stream)
    inside = cities["longitude"].between(west, east) & cities["latitude"].between(south, north)
    largest = 3 if east - west < 0.8 else 2 if east - west < 2 else 1
    shown = cities.loc[inside & (cities["size"] <= largest)]
    pixel = float(np.ptp(to_mercator([west, east], [0, 0])[0])) / ACROSS
    east_of, north_of = to_mercator(shown["longitude"], shown["latitude"])
    taken, room = np.stack([x, y], -1), np.full((len(x), 2), 4 * pixel)  # by sensors and names
    names = []
    for name, *at in zip(shown["name"], east_of, north_of, strict=True):
        half = np.array([2.8 * len(name), 6]) * pixel
        middles = np.array(at) + SIDES * half
        under = (np.abs(taken - middles[:, None]) < half + room).all(-1).sum(-1)
        best = middles[under.argmin()]
        names.append((*best, name))
        taken, room = np.append(taken, [best], 0), np.append(room, [half], 0)
    labels = hv.Labels(names, kdims=["x", "y"], vdims="name")
    return options(
        labels.relabel("Places"),
        text_color=colors.muted,
        text_font_size="8pt",
        text_font_style="italic",
        text_baseline="middle",
    )


def _draw_scale(bounds: Bounds, places: pd.DataFrame, colors: Theme) -> list[hv.Element]:
    west, south, east, north = bounds
    shrink = np.cos(np.radians([south, north, np.clip(0.0, south, north)]))
    if shrink.max() > SCALE_CHANGE * shrink.min():
        return []
    metres_per_degree = 111_195.0 * np.cos(np.radians((south + north) / 2))
    wished_km = (east - west) * metres_per_degree / 1000 / 5
    power = 10.0 ** np.floor(np.log10(wished_km))
    length_km = max(step for step in (1, 2, 5) if step * power <= wished_km) * power
    degrees = length_km * 1000 / metres_per_degree
    # Areas fill the map up to its margin.
    margin = 0.035 if noun_of(places) == "sensor" else 0.012
    left, at = west + 0.03 * (east - west), south + margin * (north - south)
    room = left - west
    low = places["latitude"] < at + 3 * (at - south)
    if (low & (places["longitude"] < left + degrees + room)).any():  # in the way: the other corner
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
    return [bar, label]
