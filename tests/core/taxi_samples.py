"""Small files as the TLC publishes them: trips in every spelling, and square zones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

SPELLINGS = {
    "yellow": (
        "tpep_pickup_datetime",
        "tpep_dropoff_datetime",
        "PULocationID",
        "DOLocationID",
    ),
    "green": ("lpep_pickup_datetime", "lpep_dropoff_datetime", "PULocationID", "DOLocationID"),
    "fhv": ("pickup_datetime", "dropOff_datetime", "PUlocationID", "DOlocationID"),
    "fhvhv": ("pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID"),
}
# Pick-up time, drop-off time, pick-up zone, drop-off zone.
Trip = tuple[str | None, str | None, int | None, int | None]


def write_trips(
    path: Path,
    trips: Sequence[Trip],
    *,
    service: str = "yellow",
    unit: str = "us",
    ids: pa.DataType | None = None,
) -> Path:
    """Write trips with columns that nobody asks for around them."""
    begin, end, origin, goal = SPELLINGS[service]
    columns = list(zip(*trips, strict=True)) if trips else [(), (), (), ()]
    times = pa.timestamp(unit)
    table = {
        "VendorID": pa.array([2] * len(trips), pa.int64()),
        end: _times(columns[1], times),
        begin: _times(columns[0], times),
        "ehail_fee": pa.nulls(len(trips)),
        goal: pa.array(columns[3], ids or pa.int64()),
        origin: pa.array(columns[2], ids or pa.int64()),
        "Airport_fee": pa.array([0.0] * len(trips)),
    }
    pq.write_table(pa.table(table), path)
    return path


def _times(values: Sequence[str | None], kind: pa.DataType) -> pa.Array:
    stamps = np.array([np.datetime64(value or "NaT", "us") for value in values], "M8[us]")
    return pa.array(stamps).cast(kind)


def write_table(path: Path, rows: Sequence[tuple[str, int, float]]) -> Path:
    """Write an hourly table: hour, zone, rides."""
    columns = list(zip(*rows, strict=True))
    table = {
        "pickup_hour": _times(columns[0], pa.timestamp("ns")),
        "rides": pa.array(columns[2]),
        "pickup_location_id": pa.array(columns[1], pa.int32()),
    }
    pq.write_table(pa.table(table), path)
    return path


def squares(names: Mapping[int, str], **changes: Any) -> gpd.GeoDataFrame:
    """Give one square mile a zone, side by side in Manhattan, in the feet of EPSG:2263."""
    west, south, mile = 980_000, 200_000, 5280
    boxes = [
        shapely.box(west + i * mile, south, west + (i + 1) * mile, south + mile)
        for i in range(len(names))
    ]
    table = {"LocationID": list(names), "zone": list(names.values()), "borough": "Manhattan"}
    return gpd.GeoDataFrame({**table, **changes}, geometry=boxes, crs="EPSG:2263")


def write_zones(folder: Path, names: Mapping[int, str] | None = None) -> Path:
    """Write the shapefile of `squares`, of the zones 1 to 5 unless named."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = squares(names or {number: f"Zone {number}" for number in range(1, 6)})
    frame.to_file(folder / "taxi_zones.shp")
    return folder
