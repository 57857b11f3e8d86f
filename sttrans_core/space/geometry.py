"""Distances, bearings and nearest neighbours on the sphere.

Neighbours are searched on points of the unit sphere, so that longitude is periodic and nothing
ever grows with the square of the number of nodes.
"""

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

__all__ = [
    "EARTH_RADIUS_KM",
    "NUM_SECTORS",
    "bearing_degrees",
    "compass_nodes",
    "haversine_km",
    "nearest_nodes",
    "unit_points",
]

EARTH_RADIUS_KM = 6371.0088
NUM_SECTORS = 8  # of the compass: north first, then north-east
# Chord lengths on the unit sphere closer than this (6 mm on the ground) count as equal.
_TIE_DECIMALS = 9
# Neighbour entries looked at in one go; bounds the memory when many nodes share one place.
_ENTRIES_AT_ONCE = 1 << 22


def haversine_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> np.ndarray:
    """Give the great-circle distance between places.

    Args:
        lat1: Latitude of the first places, degrees north; the four arguments broadcast.
        lon1: Longitude of the first places, degrees east, in any turn (-118 and 242 are one place).
        lat2: Latitude of the second places.
        lon2: Longitude of the second places.

    Returns:
        Distances in kilometres, in the broadcast shape.

    Source: the haversine formula on a sphere with the mean Earth radius (IUGG).
    """
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_lat = (phi2 - phi1) / 2
    half_lon = (np.radians(lon2) - np.radians(lon1)) / 2
    square = np.sin(half_lat) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(half_lon) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(square, 0.0, 1.0))))


def bearing_degrees(
    lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike
) -> np.ndarray:
    """Give the direction in which one leaves the first place to reach the second.

    Args:
        lat1: Latitude of the first places, degrees north; the four arguments broadcast.
        lon1: Longitude of the first places, degrees east.
        lat2: Latitude of the second places.
        lon2: Longitude of the second places.

    Returns:
        Degrees in [0, 360): 0 is north, 90 east; 0 where the two places are one.

    Source: the initial course of the great circle.
    """
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    turn = np.radians(lon2) - np.radians(lon1)
    east = np.sin(turn) * np.cos(phi2)
    north = np.cos(phi1) * np.sin(phi2) - np.sin(phi1) * np.cos(phi2) * np.cos(turn)
    # The outer remainder catches the -1e-17 that the inner one rounds up to a full 360.
    return np.asarray(np.degrees(np.arctan2(east, north)) % 360.0 % 360.0)


def nearest_nodes(
    latitude: Float[np.ndarray, " node"], longitude: Float[np.ndarray, " node"], *, count: int
) -> Int64[np.ndarray, "node source"]:
    """Give, for each node, itself and then its nearest nodes.

    Args:
        latitude: Degrees north.
        longitude: Degrees east, in any turn.
        count: Nodes per row, the node itself included; clipped to the number of nodes.

    Returns:
        Node indices: each row starts with the node itself, then come the others by growing
        distance, equal distances by index. The second axis has `min(count, nodes)` entries.

    Raises:
        ValueError: `count` is below 1, or the coordinates are not two finite vectors of one length.
    """
    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    if count < 1:
        raise ValueError(f"count must be at least 1; got count={count}. Ask for the node itself.")
    if latitude.ndim != 1 or latitude.shape != longitude.shape or latitude.size == 0:
        raise ValueError(
            "latitude and longitude must be vectors of one length, at least 1; "
            f"got shapes {latitude.shape} and {longitude.shape}. Pass one value per node."
        )
    if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        raise ValueError(
            "latitude and longitude must be finite; got NaN or infinite values. "
            "Drop the nodes without a place."
        )
    points = unit_points(latitude, longitude)
    num_nodes = len(points)
    count = min(count, num_nodes)
    tree = KDTree(points)
    nearest = np.empty((num_nodes, count), dtype=np.int64)
    open_rows, reach = np.arange(num_nodes), min(count + 1, num_nodes)
    while open_rows.size:
        unresolved = []
        for rows in np.array_split(open_rows, -(-open_rows.size * reach // _ENTRIES_AT_ONCE)):
            found, settled = _sorted_neighbours(tree, points, rows, count=count, reach=reach)
            nearest[rows[settled]] = found[settled]
            unresolved.append(rows[~settled])
        open_rows, reach = np.concatenate(unresolved), min(2 * reach, num_nodes)
    return nearest


def compass_nodes(
    latitude: Float[np.ndarray, " node"],
    longitude: Float[np.ndarray, " node"],
    *,
    reach_km: float | int,
) -> Int64[np.ndarray, "node direction"]:
    """Give, for each node, the nearest node in each of eight directions.

    On a grid these are the cells around it; towards the poles, where cells are narrow, still one to
    the north and one to the south.

    Args:
        latitude: Degrees north.
        longitude: Degrees east, in any turn.
        reach_km: Distance beyond which no node counts.

    Returns:
        Node indices for north, north-east and so on; -1 where there is none.
    """
    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    points = unit_points(latitude, longitude)
    tree = KDTree(points)
    reach = 2 * np.sin(min(reach_km / EARTH_RADIUS_KM, np.pi) / 2)  # as a chord of the unit sphere
    found = np.full((len(points), NUM_SECTORS), -1, dtype=np.int64)
    rows, count = np.arange(len(points)), min(32, len(points))
    while rows.size:
        unresolved = []
        for part in np.array_split(rows, -(-rows.size * count // _ENTRIES_AT_ONCE)):
            distance, index = tree.query(points[part], k=np.arange(1, count + 1))
            here = part[:, None]
            bearing = bearing_degrees(
                latitude[here], longitude[here], latitude[index], longitude[index]
            )
            sector = np.round(bearing / (360 / NUM_SECTORS)).astype(int) % NUM_SECTORS
            apart = np.round(distance, _TIE_DECIMALS)
            counts = (apart > 0) & (distance <= reach)
            for direction in range(NUM_SECTORS):
                inside = counts & (sector == direction)
                # Of those as near as the nearest the first one: the order among them is not fixed.
                nearest = np.where(inside, apart, np.inf).min(1, keepdims=True)
                first = np.where(inside & (apart == nearest), index, len(points)).min(1)
                found[part, direction] = np.where(np.isfinite(nearest[:, 0]), first, -1)
            is_done = (distance[:, -1] > reach) | (count == len(points))
            unresolved.append(part[~(is_done | (found[part] >= 0).all(1))])
        rows, count = np.concatenate(unresolved), min(2 * count, len(points))
    return found


def _sorted_neighbours(
    tree: KDTree, points: np.ndarray, rows: np.ndarray, *, count: int, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Look `reach` nodes far; a row is settled once no tie can hide beyond the last one seen."""
    distance, index = tree.query(points[rows], k=reach)
    distance, index = distance.reshape(len(rows), reach), index.reshape(len(rows), reach)
    distance = distance.round(_TIE_DECIMALS)
    settled = (distance[:, count - 1] < distance[:, -1]) | (reach == len(points))
    distance[index == rows[:, None]] = -1.0
    order = np.lexsort((index, distance), axis=1)[:, :count]
    return np.take_along_axis(index, order, axis=1), settled


def unit_points(latitude: np.ndarray, longitude: np.ndarray) -> Float64[np.ndarray, "node 3"]:
    """Give places as points on the unit sphere, where near is near across the date line, too.

    Args:
        latitude: Degrees north.
        longitude: Degrees east, in any turn.

    Returns:
        Coordinates, without unit.
    """
    phi, turn = np.radians(latitude), np.radians(longitude)
    return np.column_stack([np.cos(phi) * np.cos(turn), np.cos(phi) * np.sin(turn), np.sin(phi)])
