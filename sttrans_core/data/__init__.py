"""Loading, simulating and windowing labelled data."""

from sttrans_core.data.grids import from_grid
from sttrans_core.data.registry import data_card, list_datasets, load_dataset
from sttrans_core.data.tables import from_table
from sttrans_core.data.taxi import download_trips, load_trips
from sttrans_core.data.zones import load_zones

__all__ = [
    "data_card",
    "download_trips",
    "from_grid",
    "from_table",
    "list_datasets",
    "load_dataset",
    "load_trips",
    "load_zones",
]
