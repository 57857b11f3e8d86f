"""Where places are and what each covers on a map: a point, a cell of a grid, or a zone."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from stviz.geography import from_mercator, map_bounds, to_mercator, unwrap_longitude

__all__ = [
    "EDGES",
    "FINEST",
    "LABELS",
    "bounds_of",
    "cell_numbers",
    "find_cells",
    "noun_of",
    "prepare_places",
    "shape_parts",
]

EDGES = ["left", "bottom", "right", "top"]
LABELS = {"sensor": "Sensors", "cell": "Cells", "zone": "Zones"}  # of layers
FINEST = 1 / 2000  # of the width of a map can be seen
LEAST_FILLED = 0.5  # of a lattice whose other cells are left out, such as those at sea
SLACK = 0.02  # of a step; grids are stored in single precision, and rounded


def prepare_places(data: xr.Dataset, *, zones: pd.DataFrame | None = None) -> pd.DataFrame:
    """Give each place of labelled data its point on the map, and the area that it covers.

    Places that fill a regular lattice of latitude and longitude are the cells of a grid, in
    whatever form they come.

    Args:
        data: A dataset or forecast of nodes or a grid.
        zones: A GeoDataFrame with the polygon of each place, by its id, such as `load_zones` gives;
            places are then zones, with the names in its column `zone` where there is one.

    Returns:
        One row per place: node, name (the id, where there is no other), longitude (unwrapped over
        the date line) and latitude in degrees, x and y in Web Mercator metres; for cells also left,
        bottom, right and top in metres; for zones shape, a polygon in degrees.

    Raises:
        ValueError: The zones are no polygons, without a coordinate system, or lack a place.
    """
    data = as_nodes(data)
    nodes = data["node"].values.astype(str)
    longitude = unwrap_longitude(data["longitude"].values)
    latitude = data["latitude"].values.astype(float)
    x, y = to_mercator(longitude, latitude)
    columns = {"node": nodes, "name": nodes, "longitude": longitude, "latitude": latitude}
    places = pd.DataFrame({**columns, "x": x, "y": y})
    if zones is not None:
        return places.assign(**_match_zones(places, zones))
    if (edges := find_cells(longitude, latitude)) is not None:
        left, bottom = to_mercator(edges[:, 0], edges[:, 1])
        right, top = to_mercator(edges[:, 2], edges[:, 3])
        places = places.assign(left=left, bottom=bottom, right=right, top=top)
    return places


def find_cells(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray | None:
    """Find the cells of the regular grid that places are the centres of.

    Args:
        longitude: Degrees east, already unwrapped.
        latitude: Degrees north.

    Returns:
        West, south, east and north of each cell in degrees, none beyond a pole; None where the
        places do not lie on a lattice of even steps, or fill less than half of it.
    """
    if longitude.size < 4:
        return None
    along, upward = _place_on_axis(longitude), _place_on_axis(latitude)
    if along is None or upward is None:
        return None
    (columns, across), (rows, up) = along, upward
    num_columns, num_rows = columns.max() + 1, rows.max() + 1
    cells = np.unique(rows * num_columns + columns)
    if cells.size < longitude.size or cells.size < LEAST_FILLED * num_rows * num_columns:
        return None
    south, north = np.maximum(latitude - up / 2, -90), np.minimum(latitude + up / 2, 90)
    return np.stack([longitude - across / 2, south, longitude + across / 2, north], -1)


def cell_numbers(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Give the row and the column of each cell, from the south and from the west.

    Args:
        cells: What `prepare_places` gives for a grid.

    Returns:
        Numbers from 0, of rows and of columns.

    Raises:
        ValueError: The places lie on no lattice.
    """
    longitude, latitude = cells["longitude"].to_numpy(), cells["latitude"].to_numpy()
    along, upward = _place_on_axis(longitude), _place_on_axis(latitude)
    if along is None or upward is None:
        raise ValueError("cells must lie on a lattice; got places that do not. Pass a whole grid.")
    return upward[0], along[0]


def _place_on_axis(values: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Give the number of the row or column of each place and the step between them, in degrees."""
    known = np.unique(values)
    if known.size < 2:
        return None
    span = known[-1] - known[0]
    step = span / max(1, round(span / np.diff(known).min()))
    numbers = (values - known[0]) / step
    whole = np.rint(numbers)
    return (whole.astype(int), step) if np.abs(numbers - whole).max() <= SLACK else None


def noun_of(places: pd.DataFrame) -> str:
    """Say what the places of a table are.

    Args:
        places: What `prepare_places` gives.

    Returns:
        "sensor", "cell" or "zone".
    """
    return "zone" if "shape" in places else "cell" if EDGES[0] in places else "sensor"


def bounds_of(places: pd.DataFrame) -> tuple[float, float, float, float]:
    """Give the frame of a map that shows all of some places.

    Args:
        places: What `prepare_places` gives, or some of its rows.

    Returns:
        West, south, east and north in degrees, with some room around.
    """
    longitude, latitude = places["longitude"].to_numpy(), places["latitude"].to_numpy()
    if noun_of(places) == "zone":
        import shapely

        west, south, east, north = shapely.total_bounds(places["shape"].to_numpy())
        longitude, latitude = np.array([west, east]), np.array([south, north])
    elif noun_of(places) == "cell":
        (west, south), (east, north) = (
            from_mercator(places[side].to_numpy(), places[end].to_numpy())
            for side, end in (("left", "bottom"), ("right", "top"))
        )
        longitude, latitude = np.append(west, east), np.append(south, north)
    return map_bounds(longitude, latitude)


def shape_parts(shape: Any, *, tolerance: float) -> list[list[np.ndarray]]:
    """Give the rings of a polygon of one part or several, as simple as can be seen.

    Args:
        shape: A shapely polygon in degrees.
        tolerance: How far the drawn line may be from the true one, degrees.

    Returns:
        For each part its outer ring and its holes, as arrays of longitude and latitude.
    """
    simple = shape.simplify(tolerance)
    parts = [part for part in getattr(simple, "geoms", [simple]) if part.geom_type == "Polygon"]
    return [
        [np.asarray(ring.coords)[:, :2] for ring in (part.exterior, *part.interiors)]
        for part in parts
    ]


def _match_zones(places: pd.DataFrame, zones: pd.DataFrame) -> dict[str, np.ndarray]:
    """Find the name and polygon of each place, in the turn that its longitude is in."""
    import geopandas
    import shapely

    def refuse(got: str, todo: str) -> ValueError:
        return ValueError(
            f"zones must hold one polygon for each place, by its id, on Earth; got {got}. {todo}"
        )

    if not isinstance(zones, geopandas.GeoDataFrame):
        raise refuse(f"a {type(zones).__name__}", "Pass a GeoDataFrame such as load_zones() gives.")
    if zones.crs is None:
        raise refuse("polygons without a coordinate system", "Set one with zones.set_crs.")
    known = pd.Index(zones.index.astype(str))
    if not known.is_unique:
        raise refuse(f"{known[known.duplicated()][0]!r} twice", "Join its parts with dissolve.")
    missing = places["node"][~places["node"].isin(known)].tolist()
    if missing:
        raise refuse(
            f"none for {missing[0]!r} and {len(missing) - 1} others",
            "Set the ids of the places as its index.",
        )
    zones = zones.to_crs("EPSG:4326").set_axis(known).loc[places["node"]]
    shapes = zones.geometry.to_numpy()
    bad = ~np.isin(shapely.get_type_id(shapes), (3, 6)) | shapely.is_empty(shapes)
    if bad.any():
        raise refuse(f"no polygon for {zones.index[bad][0]!r}", "Drop or repair its geometry.")
    turned = [_turn(shape, east) for shape, east in zip(shapes, places["longitude"], strict=True)]
    names = zones["zone"].astype(str) if "zone" in zones else zones.index
    column = np.empty(len(turned), object)
    column[:] = turned
    return {"name": np.asarray(names, str), "shape": column}


def _turn(shape: Any, longitude: float) -> Any:
    """Move each part of a polygon by whole turns, to where it is nearest to a longitude."""
    import shapely

    parts = shapely.get_parts(shape)
    away = np.rint((longitude - shapely.get_x(shapely.centroid(parts))) / 360)
    if not away.any():
        return shape
    moved = [
        shapely.transform(part, lambda xy, by=360 * turns: xy + np.array([by, 0.0]))
        for part, turns in zip(parts, away, strict=True)
    ]
    return shapely.MultiPolygon(moved) if len(moved) > 1 else moved[0]
