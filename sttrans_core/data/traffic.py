"""METR-LA and PEMS-BAY: what they are, and how they are read from the files that users have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

__all__ = ["METR_LA", "METR_LA_10", "PEMS_BAY", "TrafficSeries", "find_series", "load_traffic"]


@dataclass(frozen=True, kw_only=True)
class TrafficSeries:
    """What is known about a published speed series, and under which names its files go round.

    Attributes:
        name: Name in the registry, and of the folder in the user cache.
        title: Short name and place.
        stems: File names of the readings without suffix, in lower case with hyphens.
        location_files: File names of the sensor locations, the most usual first.
        adjacency_files: File names of the adjacency pickle.
        distance_files: File names of the road distances.
        num_steps: Steps of the whole series, gaps filled.
        num_nodes: Sensors of the whole series.
        first: First time stamp of the whole series.
        num_kept: Sensors that this entry takes, the first ones; None takes all.
    """

    name: str
    title: str
    stems: tuple[str, ...]
    location_files: tuple[str, ...]
    adjacency_files: tuple[str, ...]
    distance_files: tuple[str, ...]
    num_steps: int
    num_nodes: int
    first: str
    num_kept: int | None = None
    units: str = "mph"
    quantity: str = "speed"
    interval: str = "5min"
    source: str = "Caltrans PeMS, through Li et al. 2018"
    licence: str = "terms of the owner, Caltrans PeMS; not redistributed with this package"
    citation: str = (
        "Y. Li, R. Yu, C. Shahabi, Y. Liu: Diffusion Convolutional Recurrent Neural Network: "
        "Data-Driven Traffic Forecasting. ICLR 2018."
    )


_METR_LA = {
    "location_files": ("graph_sensor_locations.csv", "sensor_locations_la.csv", "locations.csv"),
    "adjacency_files": ("adj_mx.pkl", "adj_mx_la.pkl", "adj_METR-LA.pkl"),
    "distance_files": ("distances_la_2012.csv", "distances_la_2012.csv.gz", "distances_la.csv"),
    "num_steps": 34_272,
    "first": "2012-03-01 00:00",
}

METR_LA = TrafficSeries(
    name="metr-la",
    title="METR-LA, freeway speeds in Los Angeles",
    stems=("metr-la", "metrla"),
    num_nodes=207,
    **_METR_LA,
)
METR_LA_10 = TrafficSeries(
    name="metr-la-10",
    title="METR-LA, freeway speeds in Los Angeles, first 10 sensors",
    stems=("metr-la-10", "metr-la", "metrla"),
    num_nodes=10,
    num_kept=10,
    **_METR_LA,
)
PEMS_BAY = TrafficSeries(
    name="pems-bay",
    title="PEMS-BAY, freeway speeds in the San Francisco Bay Area",
    stems=("pems-bay", "pemsbay"),
    location_files=(
        "graph_sensor_locations_bay.csv",
        "sensor_locations_bay.csv",
        "graph_sensor_locations.csv",
        "locations.csv",
    ),
    adjacency_files=("adj_mx_bay.pkl", "adj_PEMS-BAY.pkl"),
    distance_files=("distances_bay_2017.csv", "distances_bay_2017.csv.gz", "distances_bay.csv"),
    num_steps=52_128,
    num_nodes=325,
    first="2017-01-01 00:00",
)


def find_series(series: TrafficSeries, folder: Path) -> Path | None:
    """Look for the file of readings, however it is spelled.

    Args:
        series: What to look for.
        folder: Where; subfolders are not searched.

    Returns:
        The file, HDF before CSV, or None.
    """
    wanted = [stem + suffix for stem in series.stems for suffix in SERIES_SUFFIXES]
    found = {
        file.name.lower().replace("_", "-"): file for file in sorted(folder.iterdir(), reverse=True)
    }
    return next((found[name] for name in wanted if name in found), None)


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
        ValueError: A file breaks the rules of its reader, or ids do not match.
        FileNotFoundError: The readings or the locations are not found.
    """
    frame = read_series(path)
    if series.num_kept is not None:
        frame = frame.iloc[:, : series.num_kept]
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
            "source": series.source,
            "licence": series.licence,
            "citation": series.citation,
            "synthetic": 0,
        },
        where=path.name,
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
