"""Anyone's own sensors: a table of readings and a table of places, as a labelled dataset."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.frames import build_dataset, id_text, numeric_frame
from sttrans_core.data.locations import join_locations, read_locations
from sttrans_core.data.times import parse_times

__all__ = ["from_table"]

_TIME_NAMES = ("time", "timestamp", "datetime", "date", "date_time", "unnamed: 0", "index")


def from_table(
    table: pd.DataFrame | str | os.PathLike[str],
    locations: pd.DataFrame | str | os.PathLike[str],
    *,
    time: str | None = None,
    node: str | None = None,
    value: str | None = None,
    units: str,
    quantity: str = "value",
    valid_min: float | None = None,
    interval: str | None = None,
    missing: int | float | str | Sequence[int | float | str] | None = None,
    title: str = "Own sensors",
    source: str = "not stated",
    licence: str = "not stated",
    synthetic: bool = False,
) -> xr.Dataset:
    """Build a dataset from a wide or a tidy table of readings and the places of the sensors.

    A wide table has a time index or column and one column a sensor; a tidy table has one row a
    reading, and is what `node` and `value` announce. Steps that are absent as a whole become
    missing readings; anything else that is irregular is refused.

    Args:
        table: A frame, or a file ending in `.csv`, `.csv.gz` or `.parquet`.
        locations: A frame or CSV file with id, latitude and longitude (degrees) under common
            names; it may hold more sensors than the table.
        time: Column of the time stamps; None takes a time index, or a column named like a time.
        node: Column of the sensor ids, of a tidy table only.
        value: Column of the readings, of a tidy table only.
        units: Unit of the readings, such as "mph" or "ug/m3".
        quantity: What is measured, such as "speed".
        valid_min: Lowest value that can be; no forecast will lie below it. None takes 0 where no
            reading is negative, and -inf sets no limit.
        interval: Time step such as "5min"; None takes the step between most rows.
        missing: Value or values that mark a missing reading, such as 0 or -999; empty cells
            always do.
        title: Title of the figures.
        source: Where the readings come from.
        licence: Terms of the readings.
        synthetic: The readings are simulated, such as those of a traffic simulator; every figure
            then says so.

    Returns:
        The dataset, `target(time, node)`, sensors in the order of the table.

    Raises:
        ValueError: A column is not found, a reading is not a number, a sensor has no location,
            times are unsorted, doubled or not a whole number of intervals apart, a sensor has two
            readings at one time, a reading is below `valid_min`, or `units` is empty.
        FileNotFoundError: There is no such file.

    Example:
        >>> readings = pd.DataFrame(
        ...     {"a": [1.0, 2.0], "b": [3.0, 0.0]},
        ...     index=pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:15"]),
        ... )
        >>> places = pd.DataFrame({"id": ["a", "b"], "lat": [52.0, 52.1], "lon": [4.0, 4.1]})
        >>> dataset = from_table(readings, places, units="km/h", missing=0)
        >>> dataset.attrs["interval"], int(dataset.target.isnull().sum())
        ('15min', 1)
    """
    where = "the table" if isinstance(table, pd.DataFrame) else Path(table).name
    if (node is None) != (value is None):
        raise ValueError(
            f"node and value must be given together for a tidy table; got node={node!r} and "
            f"value={value!r}. Name both columns, or neither for one column a sensor."
        )
    if not str(units).strip():
        raise ValueError(
            f"units must be the unit of the readings; got {units!r}. Write for example 'mph', or "
            "'1' for numbers without a unit."
        )
    frame = table if isinstance(table, pd.DataFrame) else _read_table(Path(table))
    known = read_locations(locations if isinstance(locations, pd.DataFrame) else Path(locations))
    times, frame = _split_times(frame, time, where=where)
    if node is None or value is None:
        _refuse_tidy(frame, times, known, where=where)
        frame = _mark_missing(frame, missing).set_axis(times, axis=0)
    else:
        frame = _spread(frame, times, node=node, value=value, missing=missing, where=where)
    frame = numeric_frame(frame.set_axis(id_text(frame.columns), axis=1), where=where)
    lowest = -math.inf if valid_min is None else valid_min
    if valid_min is None and not (frame.to_numpy() < 0).any():
        lowest = 0.0
    if num_below := int((frame.to_numpy() < lowest).sum()):
        raise ValueError(
            f"Readings of {where} must be no lower than valid_min ({lowest:g}); got {num_below} "
            "below it. Name their mark in missing=..., or pass a lower valid_min."
        )
    return build_dataset(
        frame,
        join_locations(list(frame.columns), known, where="the locations"),
        interval=interval,
        attrs={
            "title": title,
            "units": units,
            "quantity": quantity,
            "source": source,
            "licence": licence,
            "synthetic": int(synthetic),
            **({"valid_min": float(lowest)} if lowest > -math.inf else {}),
        },
        notes=[] if times.tz is None else ["Times are UTC."],
        where=where,
    )


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"A table of readings must exist; got {path}, which does not. Check the path."
        )
    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        raise ValueError(
            f"A table of readings must end in .csv, .csv.gz or .parquet; got {path.name}. "
            "Read it with pandas and pass the frame."
        )
    try:
        frame = (
            pd.read_parquet(path)
            if name.endswith(".parquet")
            else pd.read_csv(path, low_memory=False)
        )
    except ImportError as error:
        raise ImportError(
            f"Reading {path.name} needs pyarrow; install it with `pip install 'sttrans[parquet]'`."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} must be text in UTF-8; got byte {error.object[error.start]:#04x} at "
            f"{error.start}. Save it as CSV in UTF-8; of another kind of file, export a CSV."
        ) from error
    except (EOFError, OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(
            f"{path.name} must be a complete table; got {error}. Write or fetch it again."
        ) from error
    if frame.shape[1] == 1 and ";" in str(frame.columns[0]):
        raise ValueError(
            f"The columns of {path.name} must be parted by commas; got semicolons. Read it with "
            "pandas.read_csv(..., sep=';'), with decimal=',' too for decimal commas, and pass the "
            "frame."
        )
    return frame


def _split_times(
    frame: pd.DataFrame, time: str | None, *, where: str
) -> tuple[pd.DatetimeIndex, pd.DataFrame]:
    """Take the time stamps out of an index or column."""
    if time is None and isinstance(frame.index, pd.DatetimeIndex):
        return frame.index, frame
    if time is not None:
        found = [time] if time in frame.columns else []
    else:
        found = [name for name in frame.columns if str(name).strip().lower() in _TIME_NAMES]
    if len(found) != 1:
        which = "none or several of them called so" if time is None else f"none called {time!r}"
        raise ValueError(
            f"The time stamps must be in one column of {where}, such as 'time'; got the columns "
            f"{_some(frame.columns)}, {which}. Name the column with time=."
        )
    times = parse_times(frame[found[0]], where=f"column {found[0]!r} of {where}")
    return times, frame.drop(columns=found)


def _refuse_tidy(
    frame: pd.DataFrame, times: pd.DatetimeIndex, known: pd.DataFrame, *, where: str
) -> None:
    """Refuse one row a reading where nothing said so, by the column that holds the ids."""
    is_id = [
        _holds_ids(frame.iloc[:, i], known, doubled=times.has_duplicates)
        for i in range(frame.shape[1])
    ]
    if not any(is_id):
        return
    column = is_id.index(True)
    others = [name for i, name in enumerate(frame.columns) if i != column]
    numbers = [name for name in others if pd.api.types.is_numeric_dtype(frame[name])] or others
    value = repr(numbers[0]) if len(numbers) == 1 else "the name of the column of readings"
    name, first = frame.columns[column], frame.iloc[:, column].dropna().iloc[0]
    raise ValueError(
        f"A table with one row a reading must come with node= and value=; got sensors such as "
        f"{first} in column {name!r} of {where}. Pass node={name!r} and value={value}."
    )


def _holds_ids(column: pd.Series, known: pd.DataFrame, *, doubled: bool) -> bool:
    """Say whether a column holds ids: text that is no number, or ids of the locations.

    Where no time comes twice both must hold: a wide table may have a column of text marks, and
    readings that happen to equal numbers of sensors.
    """
    values = column.dropna().unique()
    if not len(values):
        return False
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    is_text = bool(numbers.isna().all())
    is_known = set(id_text(values)) <= set(known.index)
    return (is_text or is_known) if doubled else (is_text and is_known)


def _mark_missing(
    readings: pd.DataFrame, missing: int | float | str | Sequence[int | float | str] | None
) -> pd.DataFrame:
    if missing is None:
        return readings
    marks = [missing] if isinstance(missing, (str, int, float)) else list(missing)
    return readings.mask(readings.isin(marks))


def _spread(
    frame: pd.DataFrame,
    times: pd.DatetimeIndex,
    *,
    node: str,
    value: str,
    missing: int | float | str | Sequence[int | float | str] | None,
    where: str,
) -> pd.DataFrame:
    """Turn one row a reading into one column a sensor, sensors in order of appearance."""
    absent = [name for name in (node, value) if name not in frame.columns]
    if absent:
        raise ValueError(
            f"node and value must name columns of {where}; got {absent[0]!r} with the columns "
            f"{_some(frame.columns)}. Name the columns of the ids and of the readings."
        )
    blank = frame[node].isna().to_numpy() | np.asarray(times.isna())
    if blank.any():
        row = int(np.flatnonzero(blank)[0])
        raise ValueError(
            f"Every reading of {where} must have a time and a sensor; got time {times[row]} and "
            f"sensor {frame[node].iloc[row]} in row {row}. Fill in or drop that row."
        )
    codes, spellings = pd.factorize(frame[node])
    nodes, names = pd.factorize(np.array(id_text(spellings)))  # two spellings may be one id
    columns = nodes[codes]
    rows, stamps = pd.factorize(times, sort=True)
    cell = rows.astype(np.int64) * len(names) + columns
    doubled = np.flatnonzero(pd.Series(cell).duplicated().to_numpy())
    if doubled.size:
        raise ValueError(
            f"A sensor must have one reading at a time in {where}; got two of "
            f"{names[columns[doubled[0]]]} at {times[doubled[0]]}. Drop one or average them."
        )
    readings = _mark_missing(frame[[value]], missing).set_axis(times, axis=0)
    spread = np.full(len(stamps) * len(names), np.nan)
    spread[cell] = numeric_frame(readings, where=where)[value].to_numpy()
    return pd.DataFrame(spread.reshape(len(stamps), -1), index=stamps, columns=names)


def _some(names: pd.Index) -> str:
    return ", ".join(map(str, names[:6])) + (", ..." if len(names) > 6 else "")
