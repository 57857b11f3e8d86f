"""Small trained runs on the simulated freeway, and ready states, for the tests of the explorer."""

from functools import cache
from pathlib import Path

import pytest
from explorer.opened import dataset_names, open_dataset
from explorer.state import ExplorerState

from sttrans_core import ExperimentConfig, train

DATASET = "simulated-freeway"


def tiny_config(variant: str = "full", **settings: object) -> ExperimentConfig:
    """Give a configuration that trains in a second or two.

    Its model is that of the bundled runs, whose loops are compiled already.
    """
    fields = {"epochs": 1, "batch_size": 32, "max_windows_per_epoch": 32, **settings}
    base = ExperimentConfig.preset("small", dataset=DATASET).replace({"train": fields})
    return base.variant(variant)


def train_runs(factory: pytest.TempPathFactory) -> Path:
    """Train `full` and `no_alignment`, once for all tests: give the folder of their run folders."""
    return _train_into(factory.getbasetemp())


@cache
def _train_into(base: Path) -> Path:
    root = base / "trained"
    for variant in ("no_alignment", "full"):
        train(tiny_config(variant), run_dir=root / variant, dataset=open_dataset(DATASET))
    return root


def opened(root: Path, run: str = "full", **query: object) -> ExplorerState:
    """Give a state that shows a run."""
    state = ExplorerState(root=root)
    state.connect(dataset_names(root), {"run": run, **query})
    state.update()
    return state
