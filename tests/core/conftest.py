"""Runs that several tests of the core read and none of them changes."""

import shutil
from pathlib import Path

import pytest
import xarray as xr
from small_runs import rhythm, small_config

from sttrans_core.forecaster import Forecaster
from sttrans_core.training import train


@pytest.fixture(scope="session")
def series() -> xr.Dataset:
    """Give a small series with missing readings."""
    return rhythm(missing=0.1)


@pytest.fixture(scope="session")
def trained(series: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Forecaster:
    """Give a small model after two epochs on `series`."""
    return train(small_config(), run_dir=tmp_path_factory.mktemp("trained"), dataset=series)


@pytest.fixture
def run_copy(trained: Forecaster, tmp_path: Path) -> Path:
    """Give a copy of the trained run's folder, to be damaged."""
    assert trained.run_dir is not None
    return Path(shutil.copytree(trained.run_dir, tmp_path / "run"))
