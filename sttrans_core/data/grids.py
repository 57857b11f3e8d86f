"""Anyone's own grid: NetCDF files, a zarr store or an xarray object, as a labelled dataset."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.frames import interval_text
from sttrans_core.data.grid_files import GridSource, OpenedGrid, open_grids, reading
from sttrans_core.data.grid_units import settle_units, temperature_unit
from sttrans_core.data.times import regular_frame
from sttrans_core.grid import in_chunks
from sttrans_core.schema import SchemaError, check_dataset, check_labels
from sttrans_core.slabs import is_in_memory

__all__ = ["from_grid"]

_AXES = {
    "time": ("time", "valid_time", "datetime", "date"),
    "latitude": ("latitude", "lat", "y"),
    "longitude": ("longitude", "lon", "long", "x"),
}
_LEVELS = ("level", "pressure_level", "isobaricinhpa", "isobaric", "plev", "pressure", "lev")
# Names of one reading in the files of different centres; other readings go by their own names.
_ALIASES = (
    ("2m_temperature", "t2m", "2t", "tas", "temperature_2m"),
    ("temperature", "t", "ta", "air", "air_temperature"),
)
_TEMPERATURES = {name for names in _ALIASES for name in names}
_LARGEST_IN_MEMORY = 1 << 30  # bytes of readings that are read from NetCDF files at once
_SHOWN = 12


class _Piece(NamedTuple):
    """The readings of one file, over (time, latitude, longitude)."""

    readings: xr.DataArray
    where: str
    is_store: bool


def from_grid(
    grid: GridSource,
    *,
    variable: str | None = None,
    level: float | None = None,
    units: str | None = None,
    quantity: str | None = None,
    interval: str | None = None,
    title: str = "Own grid",
    source: str = "not stated",
    licence: str = "not stated",
) -> xr.Dataset:
    """Build a dataset from gridded readings in NetCDF files, a zarr store or an xarray object.

    Axes are found by their names, in any order and direction, and packed numbers are decoded. What
    a zarr store holds stays there, in dask arrays with chunks along time: it may be larger than
    the memory, and is not checked for infinite readings here. NetCDF files are read, up to 1 GB.

    Args:
        grid: A file or several of consecutive times, the folder or https address of a zarr store
            (format 2 or 3), a dataset or a data array.
        variable: Name of the readings, as in the file or as another centre calls them
            (`2m_temperature` is also `t2m`); None takes the only temperature, or else the only
            readings over time, latitude and longitude.
        level: Pressure level in hPa, of readings that have several.
        units: Unit to give: temperatures are converted between K and degC. Of a file that states
            none, the unit that its readings have.
        quantity: What is measured; "temperature", or the file's own description, unless given.
        interval: Time step such as "6h"; None takes the step between most times.
        title: Title of the figures.
        source: Where the readings come from.
        licence: Terms of the readings.

    Returns:
        The dataset, `target(time, latitude, longitude)`, both axes ascending; absent time steps
        are put in as missing readings, and `attrs["notes"]` counts them.

    Raises:
        ValueError: A file is damaged or of another kind; the readings or their level are not told
            apart; an axis is not found, unevenly spaced or has a gap; a unit is missing, unknown
            or contradicts the values; files disagree in units or places; or times are doubled or
            not a whole number of intervals apart.
        FileNotFoundError: There is no such file, or the address cannot be reached.

    Example:
        >>> times = pd.date_range("2024-01-01", periods=3, freq="6h")
        >>> own = xr.Dataset(
        ...     {"t2m": (("time", "lat", "lon"), np.full((3, 2, 2), 280.0), {"units": "K"})},
        ...     {"time": times, "lat": [52, 51], "lon": [4, 5]},
        ... )
        >>> dataset = from_grid(own, units="degC")
        >>> dataset.target.dims, dataset.latitude.values.tolist(), dataset.attrs["interval"]
        (('time', 'latitude', 'longitude'), [51, 52], '6h')
    """
    picked = [_pick(opened, variable, level) for opened in open_grids(grid)]
    num_bytes = sum(4 * piece.readings.size for piece in picked if not piece.is_store)
    picked = [_read(piece, whole=num_bytes <= _LARGEST_IN_MEMORY) for piece in picked]
    is_temperature = _is_temperature(picked[0].readings, quantity)
    if quantity is None:
        quantity = "temperature" if is_temperature else _described(picked[0].readings)
    is_absolute = is_temperature and not any(word in quantity for word in ("anomal", "difference"))
    pieces = [
        piece._replace(
            readings=settle_units(
                piece.readings, asked=units, is_temperature=is_absolute, where=piece.where
            )
        )
        for piece in picked
    ]
    pieces.sort(key=lambda piece: piece.readings["time"].values[0])
    _refuse_disagreement(pieces)
    where = pieces[0].where if len(pieces) == 1 else f"{pieces[0].where} and those after it"
    first = pieces[0].readings
    target = xr.concat(
        [piece.readings for piece in pieces],
        "time",
        coords="minimal",
        compat="override",
        join="override",
    )
    target, step, num_filled = _regular(target, interval, where=where)
    notes = [] if level is None else [f"At {level:g} hPa."]
    if num_filled:
        notes.append(f"Absent time steps put in as missing readings: {num_filled}.")
    dataset = xr.Dataset(
        {"target": target.drop_attrs().drop_encoding()},
        attrs={
            "units": first.attrs["units"],
            "interval": interval_text(step),
            "title": title,
            "source": source,
            "licence": licence,
            "synthetic": 0,
            "quantity": quantity,
            **({"notes": " ".join(notes)} if notes else {}),
        },
    )
    try:
        if is_in_memory(target):
            return check_dataset(dataset)
        check_labels(dataset)
    except SchemaError as error:
        raise SchemaError(f"In {where}: {error}") from error
    return dataset


def _pick(opened: OpenedGrid, variable: str | None, level: float | None) -> _Piece:
    """Take the readings out of a file, with the names and the order that axes have here."""
    dataset, where = opened.dataset, opened.where
    gridded = {
        str(name): axes
        for name, array in dataset.data_vars.items()
        if array.dtype.kind in "iuf" and len(axes := _axes(array)) == len(_AXES)
    }
    name = _name(variable, list(gridded), where=where, held=_over(dataset))
    array, axes = _at_level(dataset[name], level, where=where), gridded[name]
    others = [dim for dim in array.dims if dim not in axes.values()]
    large = [f"{array.sizes[dim]} along {dim!r}" for dim in others if array.sizes[dim] > 1]
    if large:
        raise ValueError(
            f"Readings must lie over time, latitude and longitude only; got {', '.join(large)} for "
            f"{name!r} in {where}. Choose one with xarray's isel and pass the result."
        )
    stored = array.encoding.get("preferred_chunks", {}).get(axes["time"], 1)
    array = array.isel(dict.fromkeys(others, 0)).reset_coords(drop=True)
    array = array.rename({old: new for new, old in axes.items() if old != new})
    array = _ascending(_ascending(array, "latitude"), "longitude")
    array.encoding = {"preferred_chunks": {"time": stored}}
    if array["time"].dtype.kind != "M":
        raise ValueError(
            f"Times must be of the usual calendar in {where}; got {array['time'].dtype} such as "
            f"{array['time'].values[:1]}. Convert them with xarray's convert_calendar."
        )
    return _Piece(array, where, opened.is_store)


def _axes(array: xr.DataArray) -> dict[str, str]:
    """Give the dim of each axis that an array has, by its name or its own description."""
    return {
        axis: str(dim)
        for axis, names in _AXES.items()
        for dim in array.dims
        if dim in array.coords
        and (str(dim).lower() in names or array[dim].attrs.get("standard_name") == axis)
    }


def _name(variable: str | None, names: list[str], *, where: str, held: list[str]) -> str:
    """Choose the readings among those over time, latitude and longitude."""
    if not names:
        raise ValueError(
            f"A grid must hold readings over time, latitude and longitude, each with its "
            f"coordinate; got {_some(held)} in {where}. Add the one that is missing, for example "
            "with expand_dims(time=[...]), or rename the dims of the readings so; only "
            "grids with rows of one latitude and columns of one longitude can be used."
        )
    if variable is not None:
        same = {variable, *(name for group in _ALIASES if variable in group for name in group)}
        chosen = [name for name in names if name == variable] or [n for n in names if n in same]
    else:
        chosen = [name for name in names if name.lower() in _TEMPERATURES] or names
    if len(chosen) != 1:
        raise ValueError(
            f"variable must name the readings to take from {where}; got variable={variable!r} with "
            f"{_some(chosen or names)}. Name one of these."
        )
    return chosen[0]


def _at_level(array: xr.DataArray, level: float | None, *, where: str) -> xr.DataArray:
    """Take the readings at one pressure level, in hPa, or the only ones there are."""
    names = [str(name) for name in array.coords if str(name).lower() in _LEVELS]
    if not names:
        if level is not None:
            raise ValueError(
                f"level must be None for readings without levels; got level={level:g} for "
                f"{array.name!r} in {where}. Leave it out."
            )
        return array
    held = array[names[0]]
    pressure = np.atleast_1d(held.values).astype(float)
    if held.attrs.get("units") == "Pa" or pressure.max() > 2000:
        pressure = pressure / 100
    found = np.flatnonzero(np.isclose(pressure, pressure[0] if level is None else level))
    if len(found) != 1 or (level is None and len(pressure) > 1):
        raise ValueError(
            f"level must be one of the pressure levels in hPa of {array.name!r} in {where}, "
            f"{_some([f'{value:g}' for value in pressure])}; got level={level}. Choose one."
        )
    return array.isel({held.dims[0]: int(found[0])}) if held.ndim else array


def _ascending(array: xr.DataArray, axis: str) -> xr.DataArray:
    """Turn an axis round where it descends, and unroll longitudes that pass 360 or 180 degrees."""
    values = array[axis].values
    if len(values) > 1 and (np.diff(values) < 0).all():
        array, values = array.isel({axis: slice(None, None, -1)}), values[::-1]
    falls = np.flatnonzero(np.diff(values) < 0)
    if axis == "longitude" and len(falls) == 1:
        before = np.arange(len(values)) <= falls[0]
        array = array.assign_coords({axis: np.where(before, values - 360, values)})
    return array


def _read(piece: _Piece, *, whole: bool) -> _Piece:
    """Read what a file holds, or plan how to; the result is in single precision."""
    readings = piece.readings
    if piece.is_store or not whole:
        readings = in_chunks(readings)
    elif readings.chunks is None:
        with reading(piece.where):
            readings = readings.load()
    readings = readings.transpose(*_AXES).astype(np.float32)
    return piece._replace(readings=readings)


def _is_temperature(readings: xr.DataArray, quantity: str | None) -> bool:
    unit = str(readings.attrs.get("units", ""))
    return (
        str(readings.name).lower() in _TEMPERATURES
        or temperature_unit(unit) is not None
        or "temperature" in (quantity or "")
    )


def _described(readings: xr.DataArray) -> str:
    return str(readings.attrs.get("long_name") or readings.name).lower()


def _refuse_disagreement(pieces: Sequence[_Piece]) -> None:
    first = pieces[0]
    for piece in pieces[1:]:
        units = [one.readings.attrs["units"] for one in (first, piece)]
        if units[0] != units[1]:
            raise ValueError(
                f"Files of one grid must agree in their units; got {units[0]} in {first.where} and "
                f"{units[1]} in {piece.where}. Pass units= to have temperatures converted."
            )
        for axis in ("latitude", "longitude"):
            ours, theirs = (one.readings[axis].values for one in (first, piece))
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-4):
                raise ValueError(
                    f"Files of one grid must agree in their places; got other values of "
                    f"'{axis}' in {piece.where} than in {first.where}. Pass files of one grid."
                )


def _regular(
    readings: xr.DataArray, interval: str | None, *, where: str
) -> tuple[xr.DataArray, pd.Timedelta, int]:
    """Put in time steps that are absent as a whole."""
    times = readings.indexes["time"]
    frame, step, num_filled = regular_frame(
        pd.DataFrame(index=times), interval=interval, where=where
    )
    readings = readings.assign_coords(time=times.as_unit("ns"))
    return (readings.reindex(time=frame.index) if num_filled else readings), step, num_filled


def _over(dataset: xr.Dataset) -> list[str]:
    return [f"{name} over ({', '.join(map(str, dataset[name].dims))})" for name in dataset]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
