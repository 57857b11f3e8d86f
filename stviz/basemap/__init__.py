"""The offline base map: land and US states, clipped to the frame of a map. No network.

Coordinates are packed as whole hundredths (land) and thousandths (states) of a degree, each point
relative to the one before it; NOTICE.md names the origin of the shapes and their licences.
"""

from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

__all__ = ["load_basemap"]

# Land is drawn from 1:50m shapes, too coarse for a city; states come from finer ones.
COARSE_BELOW_DEGREES = 3.0
DIGITS = {"land": 2, "states": 3}


def load_basemap(bounds: tuple[float, float, float, float], *, layer: str = "auto") -> Any:
    """Give the land or state polygons inside a frame, ready to draw.

    Args:
        bounds: West, south, east and north in degrees; the frame may reach beyond 180 degrees.
        layer: "land" (world, 1:50m), "states" (USA, finer) or "auto": states where the frame lies
            in them, otherwise land. A small frame elsewhere, where a coast would be misplaced by
            kilometres, is all land where its middle is, and empty at sea.

    Returns:
        A `geopandas.GeoDataFrame` (EPSG:4326) with the columns `name` and `geometry`, clipped to
        the frame and simplified to what can be seen at its size; empty where there is nothing.

    Raises:
        ValueError: The layer is unknown or the bounds are not west < east and south < north.
        ImportError: geopandas is not installed.
    """
    if layer not in ("auto", "land", "states"):
        raise ValueError(
            f"layer must be 'auto', 'land' or 'states'; got {layer!r}. Pass one of these names."
        )
    west, south, east, north = (float(value) for value in bounds)
    if not (west < east and south < north):
        raise ValueError(
            f"bounds must run from west to east and from south to north; got {bounds}. "
            "Pass (west, south, east, north) in degrees."
        )
    geopandas, shapely = _import_geometry()
    frame = shapely.box(west, south, east, north)
    wanted = ["states", "land"] if layer == "auto" else [layer]
    for name in wanted:
        small = max(east - west, north - south) < COARSE_BELOW_DEGREES
        names, shapes = _read_shapes(name)
        shifted = _repeat_turns(shapely, shapes, west, east)
        if layer == "auto" and name == "land" and small:
            on_land = shapely.intersects(shifted, frame.centroid).any()
            return geopandas.GeoDataFrame(
                {"name": ["Land"] * int(on_land)}, geometry=[frame] * int(on_land), crs="EPSG:4326"
            )
        labels = np.tile(names, len(shifted) // len(names))
        near = shapely.intersects(shapely.envelope(shifted), frame)
        labels, shifted = labels[near], shifted[near]
        finest = (east - west) / 2000
        clipped = shapely.intersection(shapely.simplify(shifted, finest), frame)
        keep = shapely.area(clipped) > finest**2
        if not keep.any():
            continue
        covered = shapely.area(shapely.union_all(clipped[keep])) / frame.area
        if layer == "auto" and name == "states" and covered < 0.5 and not small:
            continue
        return geopandas.GeoDataFrame(
            {"name": labels[keep]}, geometry=clipped[keep], crs="EPSG:4326"
        )
    return geopandas.GeoDataFrame({"name": []}, geometry=[], crs="EPSG:4326")


def _import_geometry() -> tuple[Any, Any]:
    try:
        import geopandas
        import shapely
    except ImportError as error:
        raise ImportError(
            "The base map needs geopandas. Install the extra: pip install 'sttrans[viz]', "
            "or pass basemap=False."
        ) from error
    return geopandas, shapely


@lru_cache(maxsize=2)
def _read_shapes(layer: str) -> tuple[np.ndarray, np.ndarray]:
    import shapely

    with (
        files(__package__).joinpath("shapes.npz").open("rb") as stream,
        np.load(stream) as packed,
    ):
        length, hole = packed[f"{layer}_length"], packed[f"{layer}_hole"]
        feature = packed[f"{layer}_feature"]
        points = np.cumsum(packed[f"{layer}_delta"].T, axis=0) / 10 ** DIGITS[layer]
        names = packed["states_name"] if layer == "states" else None
    lines = [_unwrap(line) for line in np.split(points, np.cumsum(length)[:-1])]
    sizes = [len(line) for line in lines]
    rings = shapely.linearrings(np.concatenate(lines), indices=np.repeat(range(len(lines)), sizes))
    outer = np.cumsum(~hole) - 1
    shapes = np.asarray(shapely.polygons(rings[~hole]))
    with_holes = np.unique(outer[hole])
    for index in with_holes:
        shapes[index] = shapely.Polygon(rings[~hole][index], list(rings[hole & (outer == index)]))
    shapes = np.asarray(shapely.make_valid(shapes))
    label = names[feature[~hole]] if names is not None else np.full(shapes.size, "Land")
    return label, shapes


def _unwrap(ring: np.ndarray) -> np.ndarray:
    """Undo the jumps of a ring at the date line, and close one that goes around a pole there."""
    longitude, latitude = np.unwrap(ring[:, 0], period=360), ring[:, 1]
    longitude = longitude - 360 * np.rint((longitude.min() + longitude.max()) / 720)
    if abs(longitude[-1] - longitude[0]) < 180:
        return np.stack([longitude, latitude], -1)
    pole = np.copysign(90.0, latitude.mean())
    longitude = np.append(longitude, [longitude[-1], longitude[0], longitude[0]])
    return np.stack([longitude, np.append(latitude, [pole, pole, latitude[0]])], -1)


def _repeat_turns(shapely: Any, shapes: np.ndarray, west: float, east: float) -> np.ndarray:
    first, _, last, _ = shapely.total_bounds(shapes)
    turns = [turn for turn in (-360, 0, 360) if west < turn + last and east > turn + first]
    moved = [
        shapes
        if turn == 0
        else shapely.transform(shapes, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
        for turn in turns
    ]
    return np.concatenate([shapes[:0], *moved])
