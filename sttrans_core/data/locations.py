"""Where sensors are: tables of locations, and joining them to readings by id."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sttrans_core.data.frames import id_text

__all__ = ["join_locations", "read_locations", "read_rows"]

_ID_NAMES = ("sensor_id", "node_id", "node", "id", "station", "station_id", "sensor", "name")
_LATITUDE_NAMES = ("latitude", "lat", "y")
_LONGITUDE_NAMES = ("longitude", "lon", "lng", "long", "x")
_SHOWN = 5


def read_locations(table: pd.DataFrame | Path | str) -> pd.DataFrame:
    """Read sensor locations, with or without a header line.

    Args:
        table: A frame or CSV file with id, latitude and longitude under common names (such as
            `sensor_id,lat,lon`), or a CSV without header whose columns are id, latitude, longitude.

    Returns:
        Columns `latitude` and `longitude` in degrees, indexed by id as text, in the file's order.

    Raises:
        ValueError: A column is not found, or a coordinate is not a number or out of range.
        FileNotFoundError: There is no such file.
    """
    where = "the locations table"
    if not isinstance(table, pd.DataFrame):
        path = Path(table)
        where = path.name
        table = _read_locations_csv(path)
    if str(table.index.name).lower() in _ID_NAMES:
        table = table.reset_index()
    names = {str(name).strip().lower(): name for name in table.columns}
    found = [
        next((names[name] for name in options if name in names), None)
        for options in (_ID_NAMES, _LATITUDE_NAMES, _LONGITUDE_NAMES)
    ]
    if found[0] is None and found[1] is not None and not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(names="id")
        found[0] = "id"
    if any(name is None for name in found):
        raise ValueError(
            f"{where} must have the columns id, latitude and longitude; got "
            f"{', '.join(map(str, table.columns))}. Rename them (for example sensor_id,lat,lon)."
        )
    places = table[found[1:]].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~((np.abs(places) <= (90.0, 360.0)).all(axis=1)))
    if bad.size:
        raise ValueError(
            f"Coordinates must be degrees (latitude within 90, longitude within 360) in {where}; "
            f"got {', '.join(map(str, table[found].iloc[bad[0]]))}. Correct the row; columns are "
            "id, latitude, longitude in EPSG:4326."
        )
    index = pd.Index(id_text(table[found[0]]), name="id")
    return pd.DataFrame(places, index=index, columns=["latitude", "longitude"])


def read_rows(path: Path) -> pd.DataFrame:
    """Read a CSV as text, its first line included, since that may be a header or not.

    Args:
        path: The file, `.csv` or `.csv.gz`.

    Returns:
        Every line as a row of text.

    Raises:
        ValueError: The file cannot be parsed.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A table of sensors must exist; got {path}, which does not. Check the path."
        )
    try:
        return pd.read_csv(path, header=None, dtype=str, skipinitialspace=True)
    except (EOFError, OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(
            f"{path.name} must be a complete CSV table; got {error}. Fetch or write it again."
        ) from error


def _read_locations_csv(path: Path) -> pd.DataFrame:
    rows = read_rows(path)
    first_line = np.asarray(pd.to_numeric(rows.iloc[0], errors="coerce"), np.float64)
    is_header = np.isnan(first_line).sum() > 1
    if is_header:
        return rows.iloc[1:].set_axis(rows.iloc[0], axis=1)
    if rows.shape[1] != 3:
        raise ValueError(
            f"{path.name} must have a header line or exactly the columns id, latitude, longitude; "
            f"got {rows.shape[1]} columns without a header. Add the header line."
        )
    return rows.set_axis(["id", "latitude", "longitude"], axis=1)


def join_locations(ids: Sequence[str], locations: pd.DataFrame, *, where: str) -> pd.DataFrame:
    """Give the place of each sensor, found by its id.

    Args:
        ids: Sensor ids in the order of the readings.
        locations: Columns `latitude` and `longitude`, indexed by id; may hold more sensors.
        where: Name of the locations file or table for messages.

    Returns:
        The rows of `locations` in the order of `ids`.

    Raises:
        ValueError: A sensor has no location or more than one.
    """
    absent = [name for name in ids if name not in locations.index]
    if absent:
        shown = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
        raise ValueError(
            f"Every sensor must have a location in {where}; got none for {len(absent)} of "
            f"{len(ids)} sensors ({shown}), while the file starts with ids "
            f"{', '.join(locations.index[:3])}. Use the locations of the same data set, or drop "
            "those sensors."
        )
    doubled = locations.index[locations.index.duplicated()].intersection(pd.Index(ids))
    if len(doubled):
        raise ValueError(
            f"A sensor must have one location in {where}; got two for {doubled[0]}. "
            "Keep one row for each sensor."
        )
    return locations.loc[list(ids)]
