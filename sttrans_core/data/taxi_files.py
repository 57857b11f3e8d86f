"""Files of the NYC taxi commission (TLC): trip records in every spelling, and hourly tables."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["TaxiFile", "open_taxi_file", "read_batches"]

# In lower case, as spellings differ by file; `rides` is what makes a table of counts.
_COLUMNS = {
    "pickup_time": (
        "tpep_pickup_datetime",
        "lpep_pickup_datetime",
        "pickup_datetime",
        "pickup_hour",
    ),
    "pickup_zone": ("pulocationid", "pickup_location_id"),
    "dropoff_time": ("tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_datetime"),
    "dropoff_zone": ("dolocationid", "dropoff_location_id"),
    "rides": ("rides",),
}
_SERVICES = {"tpep_pickup_datetime": "yellow", "lpep_pickup_datetime": "green"}
_ROWS_AT_ONCE = 1 << 18
_LEAST_SHARE = 0.75  # of the trips, in the month of a file whose name has none


@dataclass(frozen=True, kw_only=True)
class TaxiFile:
    """A file of trips or counts, recognised by its columns.

    Attributes:
        path: The file.
        service: "yellow", "green", "fhv", "fhvhv", or "taxi" where neither columns nor name tell.
        columns: Name in the file for each role: `pickup_time`, `pickup_zone`, `dropoff_time`,
            `dropoff_zone`, `rides`.
        month: The month that it is of.
    """

    path: Path
    service: str
    columns: Mapping[str, str]
    month: pd.Period

    @property
    def is_table(self) -> bool:
        """Whether its rows are counts per zone and hour, not single trips."""
        return "rides" in self.columns


def open_taxi_file(path: Path) -> TaxiFile:
    """Recognise a file by its columns and name, without reading its trips.

    Args:
        path: A parquet file. Without a month such as 2023-01 in its name, the month of most trips
            is taken.

    Returns:
        What it is.

    Raises:
        ValueError: It is damaged, a column is missing or of another kind, or its trips are of
            several months.
        FileNotFoundError: There is no such file.
        ImportError: pyarrow is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"A file of trips must exist; got {path}. Check the path.")
    schema = _schema(path)
    names = {name.lower(): name for name in schema.names}
    columns = {
        role: next(names[name] for name in spellings if name in names)
        for role, spellings in _COLUMNS.items()
        if any(name in names for name in spellings)
    }
    columns = _readable_columns(path, schema, columns)
    spelled = columns["pickup_time"].lower()
    named = re.match(r"(yellow|green|fhvhv|fhv)(?![a-z])", path.name.lower())
    service = _SERVICES.get(spelled, named[1] if named else "taxi")
    dated = re.search(r"(20\d\d)-(0[1-9]|1[0-2])", path.name.replace("_", "-"))
    month = pd.Period(dated[0], "M") if dated else _usual_month(path, columns["pickup_time"])
    return TaxiFile(path=path, service=service, columns=columns, month=month)


def read_batches(file: TaxiFile, roles: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
    """Stream some columns of a file, so that a month never lies in memory as a whole.

    Args:
        file: The file.
        roles: Roles of the columns, as in `TaxiFile.columns`.

    Yields:
        For each role, times (datetime64, NaT where null) or numbers (float64, NaN where null).

    Raises:
        ValueError: The file is damaged.
    """
    names = {role: file.columns[role] for role in roles}
    for batch in _batches(file.path, list(names.values())):
        yield {role: _plain(batch.column(name)) for role, name in names.items()}


def _arrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Taxi trips need pyarrow; install it with `pip install 'sttrans[zones]'`."
        ) from error
    return pyarrow


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    arrow = _arrow()
    try:
        # Else the parts of the file that were read would stay in memory up to its end.
        with arrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"{path.name} must be a complete parquet file; got {said}. "
            "It was probably cut short: fetch it again."
        ) from error


def _schema(path: Path) -> Any:
    with _reading(path) as file:
        return file.schema_arrow


def _batches(path: Path, names: list[str]) -> Iterator[Any]:
    with _reading(path) as file:
        yield from file.iter_batches(_ROWS_AT_ONCE, columns=names)


def _plain(column: Any) -> np.ndarray:
    arrow = _arrow()
    kind = arrow.timestamp("us") if arrow.types.is_timestamp(column.type) else arrow.float64()
    return column.cast(kind, safe=False).to_numpy(zero_copy_only=False)


def _readable_columns(path: Path, schema: Any, columns: Mapping[str, str]) -> dict[str, str]:
    """Refuse pick-ups that cannot be read; drop-offs that cannot are as if they were not there."""
    missing = [role for role in ("pickup_time", "pickup_zone") if role not in columns]
    if missing:
        raise ValueError(
            f"{path.name} must have a {missing[0].replace('_', ' ')}, as one of the columns "
            f"{', '.join(_COLUMNS[missing[0]])}; got {', '.join(schema.names)}. Fetch the file "
            "again; trips before July 2016 may have coordinates in place of zones."
        )
    types, readable = _arrow().types, {}
    for role, name in columns.items():
        kind = schema.field(name).type
        if role.endswith("_time"):
            fits, must = types.is_timestamp(kind) and kind.tz is None, "local times without a zone"
        else:
            fits, must = _holds_numbers(types, kind), "numbers"
        if fits:
            readable[role] = name
        elif not role.startswith("dropoff"):
            raise ValueError(
                f"Column {name} of {path.name} must hold {must}; got {kind}. "
                "Use the file as the TLC publishes it."
            )
    return readable


def _holds_numbers(types: Any, kind: Any) -> bool:
    # A column without any value has no type of its own.
    return types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)


def _usual_month(path: Path, name: str) -> pd.Period:
    """Take the month of most pick-ups, for a file whose name does not tell it."""
    counts: dict[np.datetime64, int] = {}
    for batch in _batches(path, [name]):
        stamps = _plain(batch.column(name))
        months, sizes = np.unique(stamps[~np.isnat(stamps)].astype("M8[M]"), return_counts=True)
        for month, size in zip(months, sizes, strict=True):
            counts[month] = counts.get(month, 0) + int(size)
    month = max(counts, key=lambda key: counts[key], default=None)
    if month is None or counts[month] < _LEAST_SHARE * sum(counts.values()):
        raise ValueError(
            f"{path.name} must hold the trips of one month; got {len(counts)} months, none with "
            "three quarters of the trips. Split it by month, and name each file like "
            "yellow_tripdata_2023-01.parquet."
        )
    return pd.Period(str(month), "M")
