"""Readings as traffic files keep them: pandas HDF (without unpickling anything) and CSV."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from sttrans_core.data.frames import id_text, numeric_frame
from sttrans_core.data.times import parse_times

__all__ = ["SERIES_SUFFIXES", "read_csv_frame", "read_hdf_frame", "read_series"]

SERIES_SUFFIXES = (".h5", ".hdf5", ".hdf", ".csv", ".csv.gz")
_TIME_UNITS = {"datetime64": "ns", **{f"datetime64[{u}]": u for u in ("s", "ms", "us", "ns")}}


def read_series(path: Path, *, keys: Sequence[str] = ("df", "speed")) -> pd.DataFrame:
    """Read a table of readings from a file in any form that `SERIES_SUFFIXES` names.

    Args:
        path: A pandas HDF file in fixed format, or a CSV whose first column is the time.
        keys: HDF groups to prefer, in this order.

    Returns:
        Readings in float64 as stored, time index, one column a sensor, ids as text.

    Raises:
        ValueError: The file is damaged, of another form, or holds anything but numbers.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A file of readings must exist; got {path}, which does not. Check the path."
        )
    name = path.name.lower()
    if name.endswith((".h5", ".hdf5", ".hdf")):
        return read_hdf_frame(path, keys=keys)
    if name.endswith((".csv", ".csv.gz")):
        return read_csv_frame(path)
    raise ValueError(
        f"A file of readings must end in one of {', '.join(SERIES_SUFFIXES)}; got {path.name}. "
        "Pass the data set's HDF or CSV file, or read it yourself and use from_table."
    )


def read_hdf_frame(path: Path, *, keys: Sequence[str] = ("df", "speed")) -> pd.DataFrame:
    """Read a frame that pandas wrote in fixed format, through plain HDF5 arrays only.

    Attributes that pandas pickles (`freq`, `name`) are never read, so a file from anywhere can be
    opened.

    Args:
        path: The HDF file.
        keys: Groups to prefer, in this order; otherwise the only frame in the file is taken.

    Returns:
        As `read_series`.

    Raises:
        ValueError: The file is not HDF or cut short, holds no frame under `keys`, or its arrays
            have other kinds or shapes than a frame of numbers over time.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read_group(_find_frame(file, keys=keys, path=path), path=path)
    except OSError as error:
        raise ValueError(
            f"{path.name} must be a complete HDF5 file; got {error}. It was cut short, or packed "
            "by a filter that h5py lacks: fetch it again, or write it without compression."
        ) from error


def _find_frame(file: h5py.File, *, keys: Sequence[str], path: Path) -> h5py.Group:
    groups = {
        name: group
        for name, group in file.items()
        if isinstance(group, h5py.Group) and {"axis0", "axis1"} <= set(group)
    }
    chosen = [name for name in keys if name in groups] or (list(groups) if len(groups) == 1 else [])
    if not chosen:
        raise ValueError(
            f"{path.name} must hold a pandas frame in fixed format under the key "
            f"{' or '.join(map(repr, keys))}; got the keys {sorted(file)}. Write it with "
            f"frame.to_hdf(path, key={keys[0]!r}, format='fixed')."
        )
    return groups[chosen[0]]


def _read_group(group: h5py.Group, *, path: Path) -> pd.DataFrame:
    where = f"{path.name}, key {str(group.name).strip('/')!r}"
    columns = _vector(group, "axis0", where=where)
    time = _vector(group, "axis1", where=where)
    kind = _text(group["axis1"].attrs.get("kind"))
    if kind not in _TIME_UNITS or time.dtype.kind != "i":
        raise ValueError(
            f"The index must hold time stamps in {where}; got kind {kind!r} stored as "
            f"{time.dtype}. Write the frame with a DatetimeIndex."
        )
    zone = _text(group["axis1"].attrs.get("tz")) if "tz" in group["axis1"].attrs else "UTC"
    if zone != "UTC":
        raise ValueError(
            f"Times must be naive or in UTC in {where}; got time zone {zone}. Convert the index "
            "with .tz_convert('UTC') and write the frame again."
        )
    values = np.full((len(time), len(columns)), np.nan)
    ids = id_text(columns)
    places = {name: place for place, name in enumerate(ids)}
    filled = 0
    for block in sorted(str(name) for name in group if str(name).endswith("_values")):
        items = id_text(_vector(group, block.replace("_values", "_items"), where=where))
        unknown = [name for name in items if name not in places]
        if unknown:
            raise ValueError(
                f"Every block must belong to columns of {where}; got {unknown[0]!r} in {block}. "
                "Write the frame again."
            )
        array = _block(group, block, shape=(len(time), len(items)), where=where)
        values[:, [places[name] for name in items]] = array
        filled += len(items)
    if filled != len(columns) or len(places) != len(columns):
        raise ValueError(
            f"{where} must hold one series for each of its columns; got {filled} series for "
            f"{len(columns)} columns with {len(places)} different ids. Write the frame again."
        )
    index = pd.DatetimeIndex(time.view(f"datetime64[{_TIME_UNITS[kind]}]")).as_unit("ns")
    return numeric_frame(pd.DataFrame(values, index=index, columns=ids), where=where)


def _vector(group: h5py.Group, name: str, *, where: str) -> np.ndarray:
    array = group.get(name)
    if not isinstance(array, h5py.Dataset) or array.dtype.kind not in "iufS" or array.ndim != 1:
        raise ValueError(
            f"{name} must be one row of plain ids or time stamps in {where}; got "
            f"{_describe(array)}. Write the frame with ids as text or whole numbers."
        )
    return array[:]


def _block(group: h5py.Group, name: str, *, shape: tuple[int, int], where: str) -> np.ndarray:
    array = group.get(name)
    if not (isinstance(array, h5py.Dataset) and array.dtype.kind in "iuf"):
        raise ValueError(
            f"Readings must be numbers in {where}; got {name} as {_describe(array)}, which is how "
            "text is stored. Convert the columns with pandas.to_numeric and write the frame again."
        )
    is_upright = bool(array.attrs.get("transposed", 1))
    if array.shape != (shape if is_upright else shape[::-1]):
        raise ValueError(
            f"Readings must have one row a time stamp and one column a sensor, {shape} in {where}; "
            f"got shape {array.shape} in {name}. Fetch or write the file again."
        )
    return array[:] if is_upright else array[:].T


def _describe(array: object) -> str:
    if isinstance(array, h5py.Dataset):
        return f"{array.dtype} of shape {array.shape}"
    return type(array).__name__


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def read_csv_frame(path: Path) -> pd.DataFrame:
    """Read a CSV whose first column is the time and every other one a sensor.

    Args:
        path: The file, `.csv` or `.csv.gz`.

    Returns:
        As `read_series`.

    Raises:
        ValueError: The file cannot be parsed, the first column is not a time, or a reading is
            not a number.
    """
    try:
        frame = pd.read_csv(path, index_col=0, low_memory=False)
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path.name} must be a complete CSV table; got {error}. It was probably cut short: "
            "fetch it again."
        ) from error
    if frame.empty:
        raise ValueError(
            f"{path.name} must hold a time column and one column a sensor; got "
            f"{frame.shape[0]} rows and {frame.shape[1]} sensors. Fetch or write the file again."
        )
    index = parse_times(frame.index, where=f"the first column of {path.name}")
    frame = frame.set_axis(index, axis=0).set_axis(id_text(frame.columns), axis=1)
    return numeric_frame(frame, where=path.name)
