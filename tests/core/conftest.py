"""Runs that several tests of the core read and none of them changes."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import xarray as xr
from small_runs import rhythm, small_config

from sttrans_core.forecaster import Forecaster
from sttrans_core.training.loop import train


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


class _Recorded(SimpleHTTPRequestHandler):
    """Serve files, and keep what is asked for instead of printing it."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Give a folder, the address under which its files are served, and what is asked for."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("_Handler", (_Recorded,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    server.shutdown()
    thread.join()
    server.server_close()
