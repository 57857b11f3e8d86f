"""METR-LA and PEMS-BAY, read from the files that users have."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.files import SERIES_SUFFIXES, read_series
from sttrans_core.data.frames import build_dataset
from sttrans_core.data.graph import (
    adjacency_from_distances,
    adjacency_from_locations,
    read_adjacency_pickle,
    read_distances,
    select_adjacency,
)
from sttrans_core.data.locations import join_locations, read_locations
from sttrans_core.data.published import TrafficSeries

__all__ = ["find_series", "is_file_of", "load_traffic", "verify_series"]

_HIGHEST_MPH = 100.0


def is_file_of(series: TrafficSeries, file: Path) -> bool:
    """Say whether a file is named like the readings of a series, however it is spelled.

    Args:
        series: The series.
        file: Only its name counts.

    Returns:
        True for `metr-la.h5`, `METR_LA.csv` and the like.
    """
    return file.name.lower().replace("_", "-") in _file_names(series)


def find_series(series: TrafficSeries, folder: Path) -> Path | None:
    """Look for the file of readings in a folder.

    Args:
        series: What to look for.
        folder: Where; subfolders are not searched.

    Returns:
        The file, HDF before CSV, or None.
    """
    found = [entry for entry in sorted(folder.iterdir()) if _is_held(series, entry)]
    names = _file_names(series)
    order = [names.index(file.name.lower().replace("_", "-")) for file in found]
    return found[order.index(min(order))] if found else None


def _is_held(series: TrafficSeries, entry: Path) -> bool:
    return is_file_of(series, entry) and entry.is_file()


def _file_names(series: TrafficSeries) -> list[str]:
    return [stem + suffix for stem in series.stems for suffix in SERIES_SUFFIXES]


def verify_series(series: TrafficSeries, frame: pd.DataFrame) -> None:
    """Check that a frame is the whole published series, as far as its structure can tell.

    Args:
        series: What it should be.
        frame: Readings as stored.

    Raises:
        ValueError: Shape, ids, span, range of values or share of missing readings differ.
    """
    ids = hashlib.sha256(",".join(sorted(frame.columns)).encode()).hexdigest()
    last = pd.Timestamp(series.first) + (series.num_steps - 1) * pd.Timedelta(series.interval)
    missing = 100 * float(((frame == 0) | frame.isna()).to_numpy().mean()) if frame.size else 100.0
    checks = {
        f"{series.num_nodes} sensors, not {frame.shape[1]}": frame.shape[1] == series.num_nodes,
        "the published sensor ids": ids == series.ids_sha256,
        f"at most {series.num_steps} steps and few gaps, not {len(frame)} steps": (
            0.999 * series.num_steps <= len(frame) <= series.num_steps
        ),
        f"times from {series.first} to {last}": (
            len(frame) > 0
            and frame.index[0] == pd.Timestamp(series.first)
            and frame.index[-1] == last
        ),
        f"speeds from 0 to {_HIGHEST_MPH:g} mph": (
            frame.size > 0 and frame.min(axis=None) >= 0 and frame.max(axis=None) <= _HIGHEST_MPH
        ),
        f"about {series.missing_percent:g} % missing readings, not {missing:.1f} %": (
            abs(missing - series.missing_percent) <= 1
        ),
    }
    broken = [check for check, holds in checks.items() if not holds]
    if broken:
        raise ValueError(
            f"A download of {series.name} must be the published series; got a file without "
            f"{', without '.join(broken)}. Use another mirror."
        )


def load_traffic(
    series: TrafficSeries,
    path: Path,
    *,
    graph_folders: Sequence[Path] = (),
    fetch_graph: Callable[[], Path] | None = None,
    notes: Sequence[str] = (),
) -> xr.Dataset:
    """Read a speed series with its sensor graph as a labelled dataset.

    A speed of 0 marks a missing reading in these files and becomes NaN. Locations and graph are
    looked for beside the readings, in `sensor_graph` there, and then in `graph_folders`. A missing
    adjacency is made from road distances, or else from locations, and the notes say so.

    Args:
        series: Which series it is.
        path: The file of readings.
        graph_folders: More folders that may hold locations and graph.
        fetch_graph: Gives a folder with them when no other holds the locations.
        notes: Sentences to carry in `attrs["notes"]`.

    Returns:
        The dataset, with `adjacency`.

    Raises:
        ValueError: A file breaks the rules of its reader, holds readings of other sensors or of
            another time than the series, or ids do not match.
        FileNotFoundError: The readings or the locations are not found.
    """
    frame = read_series(path)
    _refuse_other_readings(series, frame, path)
    if series.part_of is not None:
        frame = frame.iloc[:, : series.num_nodes]
    if (frame < 0).any(axis=None):
        raise ValueError(
            f"Speeds must be at least 0 in {path.name}; got {frame.min(axis=None):g} "
            f"{series.units}. Mark missing readings with 0 or leave them empty."
        )
    frame = frame.where(frame != 0)
    folders = [path.parent, path.parent / "sensor_graph", *graph_folders]
    locations_file = _first(folders, series.location_files)
    if locations_file is None and fetch_graph is not None:
        folders.append(fetch_graph())
        locations_file = _first(folders, series.location_files)
    if locations_file is None:
        raise FileNotFoundError(
            f"{path.name} needs the sensor locations beside it; got none of "
            f"{', '.join(series.location_files)} in {', '.join(map(str, folders))}. Take "
            f"{series.location_files[0]} from data/sensor_graph of github.com/liyaguang/DCRNN, or "
            f"allow load_dataset({series.name!r}) to download it."
        )
    ids = list(frame.columns)
    locations = join_locations(ids, read_locations(locations_file), where=str(locations_file))
    adjacency, origin = _adjacency(series, folders, locations)
    return build_dataset(
        frame,
        locations,
        adjacency=adjacency,
        interval=series.interval,
        notes=["A speed of 0 was read as missing.", *_span_notes(series, frame), origin, *notes],
        attrs={
            "title": f"{series.title}, {_span(frame)}",
            "units": series.units,
            "quantity": series.quantity,
            "valid_min": 0.0,
            "source": series.source,
            "licence": series.licence,
            "citation": series.citation,
            "synthetic": 0,
        },
        where=path.name,
    )


def _refuse_other_readings(series: TrafficSeries, frame: pd.DataFrame, path: Path) -> None:
    """Refuse readings that cannot be of the series, before anything is looked for to go with them.

    Ids of the published series are numbers; a part of its sensors and of its period is fine.
    """
    first = pd.Timestamp(series.first)
    last = first + (series.num_steps - 1) * pd.Timedelta(series.interval)
    times = frame.index.tz_localize(None)  # type: ignore[attr-defined]
    other = [name for name in frame.columns if not name.isdigit()]
    is_outside = len(times) > 0 and (times.max() < first or times.min() > last)
    if other or is_outside:
        sensors = f"sensors such as {other[0]}" if other else "readings"
        raise ValueError(
            f"{path.name} must hold readings of {series.name}, of numbered sensors from "
            f"{first:%Y-%m-%d} to {last:%Y-%m-%d}; got {sensors} from {times.min():%Y-%m-%d} to "
            f"{times.max():%Y-%m-%d}. For your own sensors, save "
            "from_table(...).to_netcdf('own.nc') and name that file as the dataset."
        )


def _first(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    places = (folder / name for folder in folders for name in names)
    return next((place for place in places if place.is_file()), None)


def _adjacency(
    series: TrafficSeries, folders: Sequence[Path], locations: pd.DataFrame
) -> tuple[np.ndarray, str]:
    ids = list(locations.index)
    pickled = _first(folders, series.adjacency_files)
    if pickled is not None:
        matrix = select_adjacency(read_adjacency_pickle(pickled), ids, where=str(pickled))
        return matrix, f"Adjacency from {pickled.name}."
    distances = _first(folders, series.distance_files)
    if distances is not None:
        matrix = adjacency_from_distances(read_distances(distances), ids)
        return matrix, f"Adjacency made from the road distances of {distances.name}."
    latitude, longitude = locations["latitude"].to_numpy(), locations["longitude"].to_numpy()
    return adjacency_from_locations(latitude, longitude), "Adjacency made from locations alone."


def _span(frame: pd.DataFrame) -> str:
    return f"{frame.index.min():%Y-%m-%d} to {frame.index.max():%Y-%m-%d}"


def _span_notes(series: TrafficSeries, frame: pd.DataFrame) -> list[str]:
    share = len(frame) / series.num_steps
    if share > 0.99 and frame.shape[1] == series.num_nodes:
        return []
    steps = f"{len(frame):,} of the {series.num_steps:,} time steps"
    return [f"This file holds {steps} and {frame.shape[1]} of the {series.num_nodes} sensors."]
