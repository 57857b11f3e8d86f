"""Places that are selected together: a region by its name, or a box on the map."""

import re
from collections.abc import Sequence

import pandas as pd
import xarray as xr

__all__ = ["MOST", "box_of", "evenly", "is_box", "places_of", "region_names"]

MOST = 600  # places that are looked at, or hidden, together
BOX = re.compile(r"-?\d{1,3}(\.\d{1,6})?(,-?\d{1,3}(\.\d{1,6})?){3}")


def box_of(bounds: Sequence[float]) -> str:
    """Write a box as a link holds it.

    Args:
        bounds: West, south, east and north in degrees.
    """
    return ",".join(f"{number:.4f}".rstrip("0").rstrip(".") for number in bounds)


def is_box(area: str) -> bool:
    """Say whether an area is a box, rather than a region by its name."""
    return BOX.fullmatch(area) is not None


def region_names(dataset: xr.Dataset, zones: pd.DataFrame | None = None) -> list[str]:
    """List the regions that the data name, in alphabetical order; none where there are none."""
    return sorted(set(_regions(dataset, zones).tolist()))


def places_of(dataset: xr.Dataset, area: str, zones: pd.DataFrame | None = None) -> list[str]:
    """List the places in an area.

    Args:
        dataset: The readings.
        area: The name of a region, or a box in degrees: west, south, east, north.
        zones: Polygons of the places, where they are zones.

    Returns:
        Ids; none where there is no such region.
    """
    if not area:
        return []
    if is_box(area):
        from stviz import nodes_within

        west, south, east, north = map(float, area.split(","))
        if south > north or east < west:
            return []
        found = nodes_within(dataset, bounds=(west, south, east, north))
    else:
        regions = _regions(dataset, zones)
        found = regions.index[regions == area].tolist()
    return found


def evenly(places: list[str]) -> list[str]:
    """Give those of the places of a region that are looked at: all, or some that are spread evenly.

    Args:
        places: From `places_of`.
    """
    return places[:: -(-len(places) // MOST) or 1]


def _regions(dataset: xr.Dataset, zones: pd.DataFrame | None) -> pd.Series:
    from stviz import prepare_regions

    try:
        return prepare_regions(dataset, zones=zones)
    except ValueError:
        return pd.Series([], dtype=str)
