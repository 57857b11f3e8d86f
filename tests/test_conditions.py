"""The conditions that conftest.py sets do hold: offline, seeded, one thread, types checked."""

import os
import random
import socket
import threading
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from checked_types import checked
from turns import Turns

from sttrans_core.schema import steps_per_day


def test_this_machine_looks_offline():
    with socket.socket() as outside, pytest.raises(OSError, match="stay on this machine"):
        outside.connect(("192.0.2.1", 80))  # an address reserved for documentation
    with pytest.raises(socket.gaierror, match="stay on this machine"):
        socket.getaddrinfo("example.org", 80)


def test_this_machine_reaches_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.parametrize("_again", [1, 2])
def test_seeds_start_over_for_every_test(_again):
    # First draws of the three generators from seed 0, the same in both runs of this test.
    drawn = (random.random(), np.random.random(), torch.rand(()).item())  # noqa: NPY002, S311
    assert drawn == pytest.approx((0.844422, 0.548814, 0.496257), abs=1e-6)


def test_one_thread_computes():
    assert torch.get_num_threads() == 1


@pytest.mark.skipif("STTRANS_NO_TYPECHECK" in os.environ, reason="type checks are turned off")
def test_types_are_checked_in_the_packages():
    with pytest.raises(jaxtyping.TypeCheckError, match="dataset"):
        steps_per_day("not a dataset")


def test_a_wrong_type_is_refused():
    @checked
    def double(count: float) -> float:
        return 2 * count

    assert double(2) == 4  # an int is a float to PEP 484
    with pytest.raises(Exception, match="count='2'"):
        double("2")


def test_what_is_timed_waits_for_the_other_process_and_keeps_it_out(tmp_path):
    workers = [{"workercount": 2, "workerid": f"gw{number}"} for number in range(2)]
    first, second = (Turns(worker, tmp_path) for worker in workers)
    events = []

    def run(turns, name, *, alone=False, meanwhile=lambda: None):
        item = SimpleNamespace(get_closest_marker=lambda marker: alone and marker == "alone")
        turn = turns.pytest_runtest_protocol(item)
        next(turn)
        events.append(f"{name} begins")
        meanwhile()
        events.append(f"{name} ends")
        next(turn, None)

    timed = threading.Thread(
        target=run,
        args=(second, "timed"),
        kwargs={"alone": True, "meanwhile": lambda: after.join(0.2)},
    )
    after = threading.Thread(target=run, args=(first, "after"))
    run(
        first,
        "before",
        meanwhile=lambda: (timed.start(), timed.join(0.2), after.start(), after.join(0.2)),
    )
    timed.join(5)
    after.join(5)
    assert events == [
        *("before begins", "before ends"), *("timed begins", "timed ends"),
        *("after begins", "after ends"),
    ]  # fmt: skip
