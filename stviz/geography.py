"""Distances, map coordinates and the lines between neighbouring sensors. Pure functions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy.spatial import KDTree

from sttrans_core.grid import as_nodes

__all__ = [
    "distance_km",
    "from_mercator",
    "map_bounds",
    "nearest_places",
    "node_at",
    "sensor_edges",
    "to_mercator",
    "unwrap_longitude",
]

Numbers = float | Sequence[float] | np.ndarray | pd.Series
EARTH_RADIUS_KM = 6371.0088
MERCATOR_RADIUS_M = 6378137.0
MERCATOR_MAX_LATITUDE = 85.05


def distance_km(
    latitude: Numbers, longitude: Numbers, other_latitude: Numbers, other_longitude: Numbers
) -> np.ndarray:
    """Give the great-circle distance between places.

    Args:
        latitude: Numbers north of the one place.
        longitude: Numbers east of the one place.
        other_latitude: Numbers north of the other; broadcasts against the first.
        other_longitude: Numbers east of the other.

    Returns:
        Distance in km.

    Source: the haversine formula on a sphere of the mean Earth radius.
    """
    phi, other_phi = np.radians(latitude), np.radians(other_latitude)
    across = np.sin((other_phi - phi) / 2) ** 2
    along = np.sin(np.radians(np.subtract(other_longitude, longitude)) / 2) ** 2
    share = np.clip(across + np.cos(phi) * np.cos(other_phi) * along, 0, 1)
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(share)))


def unwrap_longitude(longitude: Numbers) -> np.ndarray:
    """Move longitudes by whole turns so that neighbours across the date line stay together.

    The turn is cut in the widest gap between the places, so that the map is as narrow as it can be.

    Args:
        longitude: Numbers east, in any turn.

    Returns:
        The same places, all within 360 degrees from the west-most one; the west-most lies in
        [-180, 180).
    """
    values = (np.asarray(longitude, float) + 180.0) % 360.0 - 180.0
    if values.size < 2:
        return values
    order = np.unique(values)
    gaps = np.diff(order, append=order[0] + 360.0)
    # Of equal gaps, as around a whole globe, the one at 180 degrees.
    widest = order.size - 1 - int(np.argmax(gaps[::-1] > gaps.max() - 1e-6))
    start = order[(widest + 1) % order.size]
    return np.where(values < start, values + 360.0, values)


def to_mercator(longitude: Numbers, latitude: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Project to Web Mercator, the coordinates of the map drawings.

    Args:
        longitude: Numbers east.
        latitude: Numbers north; cut at 85.05 degrees, where the projection ends.

    Returns:
        Easting and northing in metres.
    """
    inside = np.clip(latitude, -MERCATOR_MAX_LATITUDE, MERCATOR_MAX_LATITUDE)
    easting = MERCATOR_RADIUS_M * np.radians(np.asarray(longitude, float))
    northing = MERCATOR_RADIUS_M * np.log(np.tan(np.pi / 4 + np.radians(inside) / 2))
    return np.asarray(easting), np.asarray(northing)


def from_mercator(x: float | np.ndarray, y: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn Web Mercator metres back into degrees.

    Args:
        x: Easting in metres.
        y: Northing in metres.

    Returns:
        Longitude and latitude in degrees.
    """
    longitude = np.degrees(np.asarray(x, float) / MERCATOR_RADIUS_M)
    latitude = np.degrees(2 * np.arctan(np.exp(np.asarray(y, float) / MERCATOR_RADIUS_M)))
    return np.asarray(longitude), np.asarray(latitude - 90.0)


def map_bounds(
    longitude: Numbers,
    latitude: Numbers,
    *,
    padding: float = 0.08,
    narrowest: float = 1 / 3,
    highest: float = MERCATOR_MAX_LATITUDE,
) -> tuple[float, float, float, float]:
    """Give the frame of a map around places, never empty and not too narrow.

    Args:
        longitude: Numbers east, already unwrapped.
        latitude: Numbers north.
        padding: Share of the extent added on each side.
        narrowest: The short side is at least this share of the long one.
        highest: Degrees north and south where it ends: those of Web Mercator, or 90.

    Returns:
        West, south, east and north in degrees.
    """
    west, east = float(np.min(longitude)), float(np.max(longitude))
    south, north = float(np.min(latitude)), float(np.max(latitude))
    shrink = max(np.cos(np.radians((south + north) / 2)), 0.1)
    size = max(east - west, (north - south) / shrink, 0.02)
    width = max(east - west, size * narrowest)
    height = max(north - south, size * shrink * narrowest)
    middle, centre = (west + east) / 2, (south + north) / 2
    half_width, half_height = width * (0.5 + padding), height * (0.5 + padding)
    return (
        middle - half_width,
        max(centre - half_height, -highest),
        middle + half_width,
        min(centre + half_height, highest),
    )


def nearest_places(places: pd.DataFrame, node: str, *, count: int) -> pd.DataFrame:
    """Give the places nearest to one, itself first.

    Args:
        places: A table with node, latitude and longitude, as `prepare_places` gives.
        node: The id of the one.
        count: Places to give, itself included; fewer where there are fewer.

    Returns:
        Their rows, by growing distance.
    """
    is_itself = places["node"] == node
    at = places[is_itself].iloc[0]
    distance = distance_km(places["latitude"], places["longitude"], at["latitude"], at["longitude"])
    order = np.argsort(np.where(is_itself, -1.0, distance), kind="stable")
    return places.iloc[order[:count]]


def node_at(data: xr.Dataset, *, x: float, y: float, within_km: float | None = None) -> str | None:
    """Name the node nearest to a point of the map, for a tap on it.

    Args:
        data: A dataset or forecast of nodes or a grid.
        x: Easting on the map drawing, Web Mercator metres.
        y: Northing on the map drawing, Web Mercator metres.
        within_km: Give None where the nearest node is farther than this.

    Returns:
        The id of the node, or None.
    """
    data = as_nodes(data)
    longitude, latitude = from_mercator(x, y)
    distance = distance_km(
        data["latitude"].values, data["longitude"].values, float(latitude), float(longitude)
    )
    nearest = int(np.argmin(distance))
    if within_km is not None and distance[nearest] > within_km:
        return None
    return str(data["node"].values[nearest])


def sensor_edges(data: xr.Dataset, *, neighbours: int = 12, reach: float = 4.0) -> np.ndarray:
    """Join neighbouring sensors so that a map shows their roads rather than scattered dots.

    Two sensors are joined when no third one lies nearer to both (the relative neighbourhood
    graph) and when they are not much farther apart than sensors usually are. These are lines for
    the eye: neither the road geometry nor the graph that a model uses.

    Args:
        data: A dataset or forecast with `latitude(node)` and `longitude(node)`.
        neighbours: Nearest sensors that are tried for each sensor.
        reach: Longest line, in multiples of the typical spacing.

    Returns:
        Pairs of node positions, shape (edge, 2), first smaller than second.
    """
    latitude = data["latitude"].values.astype(float)
    longitude = unwrap_longitude(data["longitude"].values)
    count = latitude.size
    if count < 2:
        return np.empty((0, 2), int)
    shrink = np.cos(np.radians(latitude.mean()))
    flat = np.stack([longitude * shrink, latitude], -1) * np.radians(1) * EARTH_RADIUS_KM
    tried = min(neighbours + 1, count)
    distance, near = (np.asarray(part) for part in KDTree(flat).query(flat, k=tried))
    first = np.repeat(np.arange(count), tried)
    second, length = near.reshape(-1), distance.reshape(-1)
    other = first != second
    first, second, length = first[other], second[other], length[other]
    third = near[first]  # (edge, neighbour): only a neighbour of the first can be nearer to both
    to_first = np.linalg.norm(flat[third] - flat[first][:, None], axis=-1)
    to_second = np.linalg.norm(flat[third] - flat[second][:, None], axis=-1)
    # The margin keeps twins (two directions of one road) from hiding each other's edges.
    nearer = np.maximum(to_first, to_second) < length[:, None] * 0.98
    keep = ~nearer.any(-1)
    spaced = length[keep & (length > 0.1 * np.median(length))]
    if spaced.size:
        keep &= length <= reach * np.median(spaced)
    pairs = np.sort(np.stack([first[keep], second[keep]], -1), axis=-1)
    return np.unique(pairs, axis=0)
