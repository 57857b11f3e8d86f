"""The published speed series: what they are, under which names their files go round, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

__all__ = ["METR_LA", "METR_LA_10", "PEMS_BAY", "TrafficSeries"]

_GRAPHS = (
    "https://raw.githubusercontent.com/liyaguang/DCRNN/"
    "602afd9d767d3aa1c9b3eac51710d6aeee12c227/data/sensor_graph"
)
_ARCHIVES = (
    "https://huggingface.co/datasets/TorchSpatiotemporal/ProcessedDatasets/resolve/v1.0.0/traffic"
)
_TABLES = "https://zenodo.org/records/5146275/files"


@dataclass(frozen=True, kw_only=True)
class TrafficSeries:
    """What is known about a published speed series before any file of it is read.

    Attributes:
        name: Name in the registry, and of the folder in the user's cache.
        title: Short name and place.
        stems: File names of the readings without suffix, in lower case with hyphens.
        location_files: File names of the sensor locations, the most usual first.
        adjacency_files: File names of the adjacency pickle.
        distance_files: File names of the road distances.
        num_steps: Steps of the whole series, gaps filled.
        num_nodes: Sensors of the whole series.
        first: First time stamp.
        missing_percent: Share of readings that are missing, in percent.
        ids_sha256: Hash of the sorted ids, joined with commas.
        mirrors: Addresses of the readings, tried in order; no hash of them is published.
        graph_base: Address of the folder of locations and adjacency.
        graph_hashes: sha256 of each file in it.
        part_of: The series of which this one is the first sensors.
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
    missing_percent: float
    ids_sha256: str
    mirrors: tuple[str, ...]
    graph_hashes: Mapping[str, str] = field(hash=False)
    graph_base: str = _GRAPHS
    part_of: "TrafficSeries | None" = None
    units: str = "mph"
    quantity: str = "speed"
    interval: str = "5min"
    source: str = "Caltrans PeMS, through Li et al. 2018"
    licence: str = "terms of the owner, Caltrans PeMS; not redistributed with this package"
    citation: str = (
        "Y. Li, R. Yu, C. Shahabi, Y. Liu: Diffusion Convolutional Recurrent Neural Network: "
        "Data-Driven Traffic Forecasting. ICLR 2018."
    )

    @property
    def whole(self) -> "TrafficSeries":
        """The series that is downloaded for this one."""
        return self.part_of or self


METR_LA = TrafficSeries(
    name="metr-la",
    title="METR-LA, freeway speeds in Los Angeles",
    stems=("metr-la", "metrla"),
    location_files=("graph_sensor_locations.csv", "sensor_locations_la.csv", "locations.csv"),
    adjacency_files=("adj_mx.pkl", "adj_mx_la.pkl", "adj_METR-LA.pkl"),
    distance_files=("distances_la_2012.csv", "distances_la_2012.csv.gz", "distances_la.csv"),
    num_steps=34_272,
    num_nodes=207,
    first="2012-03-01 00:00",
    missing_percent=8.1,
    ids_sha256="7192ba035b8c85c4d04f4cc0e2cc25c1650364ed319be8ed495d07f2936bd47c",
    mirrors=(f"{_ARCHIVES}/metr_la.zip", f"{_TABLES}/METR-LA.csv?download=1"),
    graph_hashes={
        "graph_sensor_locations.csv": (
            "eb8ea96e07358b45d0e4ba3b89c2673fa20c54af50150249e627389e749ade6f"
        ),
        "adj_mx.pkl": "a35687c6e15aa228dc45027b0ed2a0ea0f4ec78f573deb992c595092d12f61b3",
    },
)
METR_LA_10 = replace(
    METR_LA,
    name="metr-la-10",
    title="METR-LA, freeway speeds in Los Angeles, first 10 sensors",
    stems=("metr-la-10", *METR_LA.stems),
    num_nodes=10,
    missing_percent=7.4,
    part_of=METR_LA,
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
    missing_percent=0.02,
    ids_sha256="3806d0c3808b2a4a64f833f42fac5c6f0739ff0629bc33f55cdf1ad83debde64",
    mirrors=(f"{_ARCHIVES}/pems_bay.zip", f"{_TABLES}/PEMS-BAY.csv?download=1"),
    graph_hashes={
        "graph_sensor_locations_bay.csv": (
            "276ee01059610774d4e59572507f7e32eaac21f1f5882fcd9e3d7d426a4b7a6c"
        ),
        "adj_mx_bay.pkl": "116275f5704d0d492018e14c047f7ae5004385b450aa907f88424055a4a97370",
    },
)
