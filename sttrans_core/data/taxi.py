"""NYC taxi demand: trips per zone and time step, from trip records or hourly tables."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.download import (
    cache_folder,
    check_recorded_hash,
    download_file,
)
from sttrans_core.data.frames import label_readings
from sttrans_core.data.taxi_counts import Demand, count_demand
from sttrans_core.data.taxi_files import TaxiFile, open_taxi_file
from sttrans_core.data.times import parse_interval
from sttrans_core.data.zones import TAXI_FOLDER, find_zones, load_zones
from sttrans_core.schema import check_dataset

__all__ = ["download_trips", "load_trips"]

_TRIPS = "https://d37ci6vzurychx.cloudfront.net/trip-data"
_TITLES = {
    "yellow": "NYC yellow taxi",
    "green": "NYC green taxi",
    "fhv": "NYC for-hire vehicles",
    "fhvhv": "NYC high-volume for-hire vehicles",
    "taxi": "NYC taxi",
}
_WORDS = {"pickup": "pick-ups", "dropoff": "drop-offs"}
_NO_POLYGON = "in zones without a polygon"


def load_trips(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    interval: str | None = None,
    dropoffs: bool = False,
    zones: Any = None,
) -> xr.Dataset:
    """Count taxi trips per zone and time step.

    Trips are streamed, so a month of millions takes little memory. Each trip counts in the month
    of its file; what cannot be counted is left out, and `attrs["notes"]` says how many and why.
    A zone is a node where it has a polygon and a trip in the period. 0 means no trip. Times are
    local: the hour that clocks skip in spring is missing, and so is the one they repeat in autumn,
    as its trips are of two hours; a day without a trip in any zone is missing, too.

    Args:
        paths: Parquet files of the TLC, or the folder that holds them: trip records of one service
            (yellow, green, ...), or tables of `rides` per `pickup_hour` and `pickup_location_id`;
            consecutive months, one file each.
        interval: Time step that divides a day; 30 minutes for trips, and an hour for tables,
            unless given.
        dropoffs: Count drop-offs, too, where and when they are: `target(time, node, channel)` with
            the channels "pickup" and "dropoff". Those of trips that began before the period are
            not in its files.
        zones: What `load_zones` takes; None looks beside the files, then as `load_zones()`.

    Returns:
        The dataset, with the texts `zone(node)` and `borough(node)`; `node` is the number of the
        zone, an index into `load_zones()`.

    Raises:
        ValueError: A file is damaged, lacks a column or has no trip in its month; files are of
            several kinds or services, or months are doubled or not consecutive; the interval does
            not fit; zones are not those of the trips.
        FileNotFoundError: A file, or the zones, are not found.
        ImportError: pyarrow or geopandas is not installed.

    Source: NYC Taxi and Limousine Commission, trip record data.
    """
    files = _open(paths)
    step = _step(files, interval)
    channels = ("pickup", "dropoff") if dropoffs else ("pickup",)
    _check_channels(files, channels)
    if zones is None:
        zones = find_zones(files[0].path.parent)
    places = load_zones(zones)
    demand = count_demand(files, step=step, channels=channels)
    return _label(demand, files, places, channels=channels)


def download_trips(service: str, month: str, *, folder: Path | None = None) -> Path:
    """Fetch the trip records of a month into the user's cache.

    Args:
        service: "yellow", "green", "fhv" or "fhvhv".
        month: Such as "2023-01".
        folder: Where to put them; the user's cache unless given.

    Returns:
        The file, for `load_trips`.

    Raises:
        ValueError: The service or the month is none.
        FileNotFoundError: It could not be fetched.
        PermissionError: The folder cannot be written.
    """
    if service not in _TITLES or service == "taxi":
        raise ValueError(
            f"service must be one of yellow, green, fhv, fhvhv; got {service!r}. Choose one."
        )
    try:
        name = f"{service}_tripdata_{pd.Period(month, 'M').strftime('%Y-%m')}.parquet"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"month must be a year and a month; got {month!r}. Write it as in '2023-01'."
        ) from error
    folder = cache_folder(TAXI_FOLDER) if folder is None else folder
    return download_file(f"{_TRIPS}/{name}", folder=folder, check=open_taxi_file)


def _open(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[TaxiFile]:
    """Recognise the files, and refuse what cannot be one series."""
    named = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    entries = [Path(path).expanduser() for path in named]
    found = [
        file
        for entry in entries
        for file in (sorted(entry.glob("*.parquet")) if entry.is_dir() else [entry])
    ]
    if not found:
        raise FileNotFoundError(
            f"Trips must be parquet files; got {', '.join(map(str, entries)) or 'none'}, without "
            "any. Take them from the trip record page of the NYC TLC."
        )
    files = sorted((open_taxi_file(file) for file in found), key=lambda file: file.month)
    kinds = {(file.service, file.is_table): file for file in files}
    if len(kinds) > 1:
        shown = " and ".join(
            f"{'an hourly table' if file.is_table else 'trips'} of {file.service} "
            f"({file.path.name})"
            for file in list(kinds.values())[:2]
        )
        raise ValueError(
            f"Files must be of one service, and all trips or all hourly tables; got {shown}. "
            "Pass the files of one kind."
        )
    for before, after in pairwise(files):
        if after.month != before.month + 1:
            raise ValueError(
                "Months must follow one another, with one file each; got "
                f"{after.month} ({after.path.name}) after {before.month} ({before.path.name}). "
                "Pass consecutive months."
            )
    return files


def _step(files: Sequence[TaxiFile], interval: str | None) -> pd.Timedelta:
    is_table = files[0].is_table
    step = parse_interval(interval or ("1h" if is_table else "30min"))
    fits_table = not is_table or step % pd.Timedelta("1h") == pd.Timedelta(0)
    if step < pd.Timedelta("1min") or pd.Timedelta("1D") % step or not fits_table:
        what = "full hours, as a table has them," if is_table else "at least a minute"
        raise ValueError(
            f"interval must be {what} and divide a day; got {interval!r}. "
            "Write for example '1h'" + ("." if is_table else " or '30min'.")
        )
    return step


def _check_channels(files: Sequence[TaxiFile], channels: Sequence[str]) -> None:
    for file in files:
        missing = {f"{channel}_{what}" for channel in channels for what in ("time", "zone")}
        missing -= set(file.columns)
        if missing:
            raise ValueError(
                f"Drop-offs must be in the files; got {file.path.name} without "
                f"{' and '.join(sorted(missing)).replace('_', ' ')}. Pass dropoffs=False, or trip "
                "records that have them."
            )


def _label(
    demand: Demand, files: Sequence[TaxiFile], places: Any, *, channels: Sequence[str]
) -> xr.Dataset:
    """Keep the zones with a polygon and a trip, and say what was left out."""
    totals = demand.counts.sum(axis=(0, 1))  # (zone number,)
    has_polygon = np.isin(np.arange(len(totals)).astype(str), places.index)
    without = np.flatnonzero(~has_polygon & (totals > 0))
    if 2 * totals[without].sum() >= totals.sum():
        raise ValueError(
            f"Most trips must be in zones with a polygon; got {totals[without].sum():,} of "
            f"{totals.sum():,} in others, such as {', '.join(map(str, without[:5])) or 'unknown'}. "
            "Use the taxi zones and the trips of the NYC TLC."
        )
    for channel, left_out in enumerate(demand.left_out):
        left_out[_NO_POLYGON] = int(demand.counts[:, channel, without].sum())
    numbers = np.flatnonzero(has_polygon & (totals > 0))
    nodes = places.loc[numbers.astype(str)]
    target = demand.counts[:, :, numbers].swapaxes(1, 2).astype(np.float32)
    target[demand.missing] = np.nan
    what = " and ".join(_WORDS[channel] for channel in channels)
    dataset = label_readings(
        target if len(channels) > 1 else target[..., 0],
        time=demand.time,
        locations=nodes,
        channels=channels if len(channels) > 1 else (),
        notes=_notes(demand, files, nodes, channels=channels, without=without),
        attrs={
            "title": f"{_TITLES[files[0].service]}, {what} per zone, "
            f"{demand.time[0]:%Y-%m-%d} to {demand.time[-1]:%Y-%m-%d}",
            "units": "trips",
            "quantity": what,
            "valid_min": 0.0,
            "source": "NYC Taxi and Limousine Commission, trip records",
            "licence": "terms of the owner, NYC TLC; not redistributed with this package",
            "synthetic": 0,
        },
    )
    texts = {name: ("node", nodes[name].to_numpy(str)) for name in ("zone", "borough")}
    dataset = dataset.assign_coords(texts)
    return check_dataset(dataset)


def _notes(
    demand: Demand,
    files: Sequence[TaxiFile],
    nodes: Any,
    *,
    channels: Sequence[str],
    without: np.ndarray,
) -> list[str]:
    """Account for every trip."""
    notes = [f"Trips read: {demand.num_read:,}."]
    for channel, left_out in zip(channels, demand.left_out, strict=True):
        counted = demand.num_read - sum(left_out.values())
        reasons = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
        notes.append(
            f"{_WORDS[channel].capitalize()} counted: {counted:,}; left out: "
            f"{', '.join(reasons) or 'none'}."
        )
    if without.size:
        notes.append(f"Zones without a polygon: {', '.join(map(str, without))}.")
    joined = list(nodes.index[nodes["num_polygons"] > 1])
    if joined:
        notes.append(f"Zones of several polygons: {', '.join(joined)}.")
    if demand.num_clock_steps:
        notes.append(
            f"Steps missing where clocks skip or repeat an hour: {demand.num_clock_steps}."
        )
    if demand.num_empty_days:
        notes.append(f"Days missing, without a trip in any zone: {demand.num_empty_days}.")
    notes.append("Local time; 0 means no trip.")
    cached = [check_recorded_hash(file.path) for file in files]
    return notes + [origin for origin in cached if origin is not None]
