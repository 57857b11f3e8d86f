"""What every test runs under: shape checks on, one thread, fixed seeds, an offline machine.

Tests run in two processes, file by file (`-n 0`: in this one, for a debugger).

`STTRANS_NO_TYPECHECK=1` turns the shape and type checks off (they break `torch.compile`);
`STTRANS_TEST_NETWORK=1` lets the tests marked `network` run.
"""

import os
import random
import socket
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings
from turns import Turns

ROOT = Path(__file__).parents[1]
IN_CI = bool(os.environ.get("CI"))
LOOPBACK = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}  # noqa: S104 - compared only

# What tests start: two threads each beside another process are many times slower than one.
os.environ["OMP_NUM_THREADS"] = "1"

# Before anything imports the packages: only modules imported later are checked.
if not os.environ.get("STTRANS_NO_TYPECHECK"):
    jaxtyping.install_import_hook(["sttrans_core", "stviz"], "checked_types.checked")

settings.register_profile("laptop", deadline=None, max_examples=25)
settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if IN_CI else "laptop")


class NotebookOutputs:
    """Tell nbval which outputs never compare equal: random ids, and what a library warns of."""

    @staticmethod
    def pytest_collectstart(collector: pytest.Collector) -> None:
        if hasattr(collector, "skip_compare"):
            collector.skip_compare += (
                "text/html",
                "application/javascript",
                "application/vnd.holoviews_exec.v0+json",
                "application/vnd.holoviews_load.v0+json",
                "stderr",
            )


def pytest_configure(config: pytest.Config) -> None:
    # A hook of this file would see only what lies under tests/; a plugin sees notebooks/ too.
    config.pluginmanager.register(NotebookOutputs())
    if worker := getattr(config, "workerinput", None):
        config.pluginmanager.register(Turns(worker, config.cache.mkdir("turns")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("network") and not os.environ.get("STTRANS_TEST_NETWORK"):
            item.add_marker(pytest.mark.skip(reason="needs the network: STTRANS_TEST_NETWORK=1"))
    # The browser driver keeps an event loop running to the end of the session, so the files that
    # use it come last, and what is timed comes when little else is left.
    browsing = {item.path for item in items if item.get_closest_marker("ui")}
    items.sort(key=lambda item: (item.path in browsing, bool(item.get_closest_marker("alone"))))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder of real data, or skip."""
    named = os.environ.get("STTRANS_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {named or '../shared/data'} is no folder (set STTRANS_DATA)")
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - a library may still draw from the global generator
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the machine look offline to every test that is not marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def local_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise OSError(f"tests stay on this machine; got a connection to {address[0]}")
        connect(self, address)

    def local_look_up(host: Any, *args: Any, **options: Any) -> Any:
        if host is not None and host not in LOOPBACK:
            raise socket.gaierror(f"tests stay on this machine; got a look-up of {host}")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", local_connect)
    monkeypatch.setattr(socket, "getaddrinfo", local_look_up)
