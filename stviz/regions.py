"""Sets of places: regions that the data name, and boxes that are drawn on a map."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from stviz.places import noun_of, prepare_places

__all__ = ["node_weights", "nodes_within", "prepare_regions"]

# From the equator to either pole, in degrees.
BANDS = {"tropics": 23.5, "mid-latitudes": 66.5, "polar": 90.1}
LEAST_SPAN = 10.0  # degrees of latitude that are worth bands


def prepare_regions(data: xr.Dataset, *, zones: pd.DataFrame | None = None) -> pd.Series:
    """Name the region that each place lies in.

    Args:
        data: A dataset or forecast, of nodes or a grid.
        zones: Polygons of the places with a column `borough`, for taxi zones `load_zones()`.

    Returns:
        Names by node: boroughs of zones, corridors of a freeway that names them, or bands of
        latitude.

    Raises:
        ValueError: No region is known.
    """
    data = as_nodes(data)
    nodes, latitude = data["node"].values.astype(str), data["latitude"].values
    if zones is not None:
        names = zones.loc[nodes, "borough"].to_numpy(str)
    elif "corridor" in data.coords:
        names = data["corridor"].values.astype(str)
    else:
        names = _bands(latitude)
    return pd.Series(names, index=pd.Index(nodes, name="node"), name="region")


def _bands(latitude: np.ndarray) -> np.ndarray:
    if np.ptp(latitude) < LEAST_SPAN:
        raise ValueError(
            f"Regions need zones, a coordinate 'corridor', or {LEAST_SPAN:g} degrees of latitude; "
            f"got {np.ptp(latitude):.1f} degrees of latitude alone. Group by hour."
        )
    band = np.searchsorted(list(BANDS.values()), np.abs(latitude), side="right")
    names = np.array(list(BANDS), "<U20")[band]
    side = np.where(latitude < 0, " south", " north")
    return np.where(band == 0, names, np.char.add(names, side))


def nodes_within(data: xr.Dataset, *, bounds: tuple[float, float, float, float]) -> list[str]:
    """List the places in a box.

    Args:
        data: A dataset or forecast, of nodes or a grid.
        bounds: West, south, east and north in degrees, the edges included; east of the date line
            longitudes may go on beyond 180.

    Returns:
        Ids in the order of the data; of cells and zones those whose centre is inside.

    Raises:
        ValueError: South lies above north, or the box is no four finite numbers.
    """
    data = as_nodes(data)
    west, south, east, north = bounds
    if not np.isfinite(bounds).all() or south > north or east < west:
        raise ValueError(
            f"bounds must be west, south, east and north in degrees, in this order; got {bounds}. "
            "Add 360 to an east beyond the date line."
        )
    along = (data["longitude"].values - west) % 360.0
    latitude = data["latitude"].values
    inside = (along <= min(east - west, 360.0)) & (latitude >= south) & (latitude <= north)
    return data["node"].values.astype(str)[inside].tolist()


def node_weights(data: xr.Dataset, *, zones: pd.DataFrame | None = None) -> np.ndarray:
    """Give how much each place counts in a mean: cells of a grid shrink towards the poles.

    Args:
        data: A dataset or forecast, of nodes or a grid.
        zones: Polygons of the places, where they are zones.

    Returns:
        Over (node,): the cosine of the latitude of cells, else 1.
    """
    data = as_nodes(data)
    latitude = data["latitude"].values.astype(float)
    is_cell = zones is None and noun_of(prepare_places(data)) == "cell"
    return np.cos(np.radians(latitude)) if is_cell else np.ones(len(latitude))
