"""Loading, simulating and windowing labelled data."""

from sttrans_core.data.registry import data_card, list_datasets, load_dataset
from sttrans_core.data.tables import from_table

__all__ = ["data_card", "from_table", "list_datasets", "load_dataset"]
