"""Turns between the processes that tests run in: what is timed has the machine to itself."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


class Turns:
    """Let a test marked `alone` wait until every other process is between two tests, and stay so.

    Args:
        worker: What pytest-xdist tells a process of itself and the others.
        folder: Of the locks, the same one for all.
    """

    def __init__(self, worker: dict[str, Any], folder: Path) -> None:
        names = ["door", *(f"gw{number}" for number in range(worker["workercount"]))]
        locks = {name: FileLock(folder / name) for name in names}
        self.door, self.own = locks.pop("door"), locks.pop(worker["workerid"])
        self.others = list(locks.values())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run a test in its turn."""
        with ExitStack() as held:
            if item.get_closest_marker("alone"):
                held.enter_context(self.door)  # who comes to it waits
                for each in self.others:
                    held.enter_context(each)
            else:
                with self.door:
                    held.enter_context(self.own)
            return (yield)
