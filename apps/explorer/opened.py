"""What is open: datasets, zones and forecasters, kept for all sessions of a server."""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from explorer.catalog import BUNDLED, bundle_of, find_runs, kept_datasets
from explorer.request import Request
from sttrans_core import (
    Forecaster,
    list_datasets,
    list_pretrained,
    load_dataset,
    load_pretrained,
    load_run,
    load_zones,
)
from sttrans_core.baselines import HistoricalAverage, LastObserved
from sttrans_core.data.grid_files import open_grids
from sttrans_core.data.saved import is_saved
from sttrans_core.fitted import FittedData
from sttrans_core.grid import as_nodes

__all__ = [
    "dataset_names", "fit_baseline", "forget", "open_dataset", "open_forecaster", "open_zones",
    "runs_that_fit",
]  # fmt: skip


def dataset_names(root: Path) -> dict[str, str]:
    """Give the titles of the datasets by name: simulated, real, then the user's own.

    Args:
        root: Folder of run folders; the user's own are the files that these were trained on, and
            those that were kept there.
    """
    cards = list_datasets()
    names = sorted(cards, key=lambda name: (not cards[name]["synthetic"], list(cards).index(name)))
    trained_on = {run.dataset for run in find_runs(root)} - set(cards)
    found = {name for name in trained_on if is_saved(name) and Path(name).exists()}
    own = sorted(found | set(kept_datasets(root)))
    stems = Counter(Path(name).stem for name in own)
    return {
        **{name: str(cards[name]["title"]) for name in names},
        # Two of one name are told apart by their folders.
        **{name: f"Own: {name if stems[Path(name).stem] > 1 else Path(name).stem}" for name in own},
    }


@lru_cache(maxsize=4)
def open_dataset(name: str) -> xr.Dataset:
    """Load a dataset without the network, once for all sessions.

    Raises:
        FileNotFoundError: It is not on this machine; the message says what to do.
        ValueError: The name is unknown or a file breaks the rules of its format.
    """
    try:
        return as_nodes(load_dataset(name, download=False))
    except FileNotFoundError as error:
        where = ", or run: python -m sttrans_core download " + name
        if "download=True" not in str(error):  # then the loader says where it is to be had
            where = f". {str(error).rpartition('; ')[2].partition('. ')[2].rstrip('.')}"
        raise FileNotFoundError(
            f"{name} must be on this machine; got no file of it. Set STTRANS_DATA to the folder "
            f"that holds it{where}; then start the server again."
        ) from error


@lru_cache(maxsize=4)
def open_zones(name: str) -> pd.DataFrame | None:
    """Load the polygons of a dataset's places, if they are taxi zones and the file is here.

    Without them the places are shown as points.
    """
    if not name.startswith("nyc-taxi"):
        return None
    try:
        zones = load_zones(download=False)
    except (OSError, ValueError, ImportError):
        return None
    nodes = open_dataset(name)["node"].values
    return zones.loc[nodes] if np.isin(nodes, zones.index).all() else None


def open_forecaster(request: Request) -> Forecaster | None:
    """Load the model that a request names, once for as long as its files do not change.

    Raises:
        ValueError: The run is unknown, incomplete or damaged.
    """
    if not request.run:
        return None
    if bundle := bundle_of(request.run, request.dataset):
        return _load_bundled(bundle, request.variant)
    weights = request.root / request.run / "model.safetensors"
    stamp = weights.stat().st_mtime_ns if weights.is_file() else 0
    return _load_folder(request.root / request.run, stamp)


def runs_that_fit(name: str, root: Path) -> dict[str, str]:
    """Find the runs on other data that can forecast a dataset of the user's own.

    A run knows its own places only, so these must be there as they were in training, with the same
    interval and units.

    Args:
        name: Path of a saved dataset; its readings are not read.
        root: Folder of run folders.

    Returns:
        Names of runs, as a request has them, by what they are called.
    """
    fitted = {
        f"Bundled weights of {bundle}": (f"{BUNDLED}:{bundle}", _load_bundled(bundle, "full").data)
        for bundle in list_pretrained()
    }
    for run in find_runs(root):
        if run.has_weights and run.dataset != name:
            try:
                fields = json.loads((run.path / "data.json").read_text())
                label = f"{run.name} (trained on {Path(run.dataset).stem})"
                fitted[label] = (run.name, FittedData.from_fields(fields))
            except (OSError, ValueError):  # a damaged run is none to choose
                continue
    try:
        with open_grids(name)[0].dataset as opened:
            nodes = as_nodes(opened)
            return {label: run for label, (run, data) in fitted.items() if _fits(data, nodes)}
    except (OSError, ValueError):  # what is wrong with it is said when it is loaded
        return {}


def _fits(data: FittedData, nodes: xr.Dataset) -> bool:
    try:
        data.check(nodes)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=16)
def _load_bundled(dataset: str, variant: str) -> Forecaster:
    return load_pretrained(dataset, variant)


@lru_cache(maxsize=16)
def _load_folder(path: Path, stamp: int) -> Forecaster:
    del stamp  # a retrained run is another run
    return load_run(path)


@lru_cache(maxsize=8)
def fit_baseline(kind: type, name: str, num_train_steps: int) -> LastObserved | HistoricalAverage:
    """Fit a baseline to a dataset, once for all sessions."""
    return kind(open_dataset(name), num_train_steps=num_train_steps)


def forget() -> None:
    """Drop what is kept between sessions, for example when the data folder changed."""
    for cached in (open_dataset, open_zones, _load_bundled, _load_folder, fit_baseline):
        cached.cache_clear()
