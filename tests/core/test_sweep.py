"""Sweeps on real processes: what is finished stays, what is broken off goes on."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from command_line import refused
from small_runs import contents
from small_sweeps import OPTIONS, save_series, small_plans, wait_for

from sttrans_core.experiments.progress import Outcome, progress_lines
from sttrans_core.experiments.sweep import check_scheduler, run_sweep
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.training.loop import train

ROOT = Path(__file__).parents[2]
FULL, GATE = "small/full/seed-0", "small/no_gate/seed-0"

NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return save_series(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def scheduler():
    """Give a scheduler with one worker, that several sweeps use."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit=0,
        silence_logs=logging.CRITICAL, scheduler_kwargs=NO_PAGE,
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def _status(path: Path) -> dict:
    try:
        return json.loads((path / "status.json").read_text())
    except (OSError, ValueError):
        return {}


def _command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sttrans_core", "sweep", *OPTIONS, *map(str, arguments)],
        cwd=ROOT, start_new_session=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(dataset, tmp_path, scheduler):
    output, epochs = tmp_path / "sweep", 8
    first, second = (output / f"small/full/seed-{seed}" for seed in (0, 1))
    more = (f"--set=train.epochs={epochs}", f"--set=train.patience={epochs}")
    process = _command(
        "--output", output, "--dataset", dataset, "--workers", 1, "--seed", 0, "--seed", 1, *more
    )
    try:
        wait_for(lambda: (second / "checkpoint.safetensors").exists() or process.poll() is not None)
        worker = psutil.Process(_status(second)["pid"])
        process.kill()
        # Its workers end with it, so that nobody else writes into the folder.
        wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    finally:
        process.kill()
        process.communicate()
    done = len((second / "history.jsonl").read_text().splitlines())
    assert 1 <= done < epochs
    assert not (second / "scores.csv").exists()
    before = contents(first)
    assert {"scores.csv", "cost.json", "robustness.csv"} <= set(before)

    plans = small_plans(dataset, epochs=epochs, seeds=(0, 1))
    outcomes = run_sweep(plans, output, scheduler=scheduler)
    assert [each.state for each in outcomes] == ["finished", "finished"]
    assert [each.was_finished for each in outcomes] == [True, False]
    assert contents(first) == before
    whole = train(plans[1].config, run_dir=tmp_path / "whole")
    again = load_run(second)
    errors = [[row["val_mae"] for row in run.history] for run in (again, whole)]
    assert errors[0] == errors[1]
    assert again.scores is not None


def test_a_failed_run_leaves_the_others_alone(dataset, tmp_path, scheduler):
    plans = small_plans(dataset, variants=("full", "no_gate"))
    bad = plans[0].config.replace({"model": {"topk": 1000}})
    plans = [type(plans[0])(name=plans[0].name, config=bad), plans[1]]
    failed, good = run_sweep(plans, tmp_path, scheduler=scheduler, robustness=False)
    assert (failed.state, good.state) == ("failed", "finished")
    assert "topk must be at most the number of sources; got topk=1000" in failed.reason
    assert not (tmp_path / GATE / "robustness.csv").exists()


def test_a_full_disk_breaks_one_run_off(dataset, tmp_path, scheduler):
    # What is written to /dev/full is refused by the system as on a disk without space.
    folder = tmp_path / FULL
    folder.mkdir(parents=True)
    (folder / ".model.safetensors.part").symlink_to("/dev/full")
    plans = small_plans(dataset, variants=("full", "no_gate"))
    failed, good = run_sweep(plans, tmp_path, scheduler=scheduler, robustness=False)
    assert (failed.state, good.state) == ("failed", "finished")
    assert failed.reason == (
        "Files must be readable and writable; got 'No space left on device' for "
        f"{folder / 'model.safetensors'}. Check the path, its rights and the space left."
    )
    assert _status(folder)["state"] == "failed"
    assert not (folder / "model.safetensors").exists()
    assert not (folder / "scores.csv").exists()
    assert not list(folder.glob(".*.part"))  # half a file would only fill the disk
    trained = contents(folder)["history.jsonl"]
    again = run_sweep(plans, tmp_path, scheduler=scheduler, robustness=False)
    assert [each.state for each in again] == ["finished", "finished"]
    assert contents(folder)["history.jsonl"] == trained  # no epoch was repeated


@pytest.mark.slow
def test_a_run_goes_on_when_its_worker_dies(dataset, tmp_path, scheduler):
    killed = []

    def kill_once():
        wait_for(lambda: _status(tmp_path / FULL).get("epoch", 0) >= 1)
        killed.append(_status(tmp_path / FULL)["pid"])
        os.kill(killed[0], signal.SIGKILL)

    plans = small_plans(dataset, epochs=8)
    thread = threading.Thread(target=kill_once)
    thread.start()
    told: list[str] = []
    (outcome,) = run_sweep(
        plans, tmp_path, scheduler=scheduler,
        on_progress=lambda progress: told.extend(progress_lines(progress)),
    )  # fmt: skip
    thread.join()
    assert "  workers lost: 1; their runs go on with others" in told
    assert outcome == Outcome(name=FULL, state="finished")
    assert _status(tmp_path / FULL)["pid"] != killed[0]
    assert [row["epoch"] for row in RunFolder(tmp_path / FULL).history()] == list(range(1, 9))


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_given_up(dataset, tmp_path, monkeypatch):
    def work(config, path, **options):  # what real training would do, but at once
        if path.endswith(FULL):
            os.kill(os.getpid(), signal.SIGKILL)
        Path(path).mkdir(parents=True)
        Path(path, "scores.csv").touch()
        return "finished"

    monkeypatch.setattr("sttrans_core.experiments.sweep.run_on_worker", work)
    plans = small_plans(dataset, variants=("full", "no_gate"))
    failed, good = run_sweep(plans, tmp_path, workers=1, deaths=0)
    assert (failed.state, good.state) == ("failed", "finished")
    assert failed.reason.startswith(
        "A run must leave its worker alive; got 1 that died, perhaps for lack of memory."
    )


def test_a_run_that_leaves_nothing_behind_is_told(dataset, tmp_path, scheduler, monkeypatch):
    # As with workers on a machine that does not share the folder.
    monkeypatch.setattr("sttrans_core.experiments.sweep.run_on_worker", lambda *_, **__: "finished")
    (failed,) = run_sweep(small_plans(dataset), tmp_path, scheduler=scheduler)
    assert failed.state == "failed"
    assert "Workers must write where the sweep reads; got nothing in" in failed.reason


def test_a_sweep_that_is_asked_to_stop_leaves_runs_that_can_go_on(dataset, tmp_path, scheduler):
    plans = small_plans(dataset, epochs=100_000, variants=("full", "no_gate"))

    def has_begun() -> bool:
        return _status(tmp_path / FULL).get("epoch", 0) >= 1

    outcomes = run_sweep(plans, tmp_path, scheduler=scheduler, should_stop=has_begun)
    assert [(each.name, each.state) for each in outcomes] == [(FULL, "stopped"), (GATE, "waiting")]
    assert _status(tmp_path / FULL)["state"] == "stopped"
    assert not (tmp_path / GATE).exists()


@pytest.mark.slow
def test_an_interrupt_ends_the_command(dataset, tmp_path):
    more = ("--set=train.epochs=100000", "--set=train.patience=100000")
    process = _command("--output", tmp_path, "--dataset", dataset, "--workers", 1, *more)
    try:
        wait_for(lambda: _status(tmp_path / FULL).get("epoch", 0) >= 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it, too
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 3, errors
    assert errors == ""
    assert "Stopped with 1 begun and 0 waiting. Go on with the same command." in output
    assert _status(tmp_path / FULL)["state"] == "stopped"


def test_a_run_that_another_process_works_on_is_left_alone(dataset, tmp_path, monkeypatch):
    from filelock import FileLock

    from sttrans_core.experiments.worker import perform

    monkeypatch.setattr("sttrans_core.experiments.worker.LOCK_SECONDS", 0.1)
    (plan,) = small_plans(dataset)
    with (
        FileLock(tmp_path / ".run.lock"),
        pytest.raises(RunError, match=r"one process at a time; got .*run, which another sweep"),
    ):
        perform(plan.config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@contextmanager
def another_server() -> Iterator[str]:
    """Give the address of a server that greets as those of SSH do."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with suppress(OSError), ExitStack() as answered:
                while True:
                    guest = answered.enter_context(server.accept()[0])
                    guest.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        greeter.join()


def test_a_scheduler_that_nobody_runs_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sttrans_core.experiments.sweep.CONNECT_SECONDS", 0.5)
    with socket.socket() as free, another_server() as other:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        for wrong in (address, other, "http://127.0.0.1:8786", "tls://127.0.0.1:1", "nowhere"):
            options = ("--output", tmp_path / "sweep", "--scheduler", wrong)
            line = refused(monkeypatch, capsys, "sweep", *options)
            assert f"must be that of a dask scheduler that runs; got {wrong!r}" in line
            assert line.endswith("or leave the address out to use this machine.")
            with pytest.raises(ValueError, match=r"must be that of a dask scheduler that runs"):
                check_scheduler(wrong)


def test_a_scheduler_without_workers_is_refused(dataset, tmp_path):
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=0,
            processes=False,
            dashboard_address=None,
            protocol="tcp",
            scheduler_kwargs=NO_PAGE,
        ) as empty,
        pytest.raises(
            ValueError, match=r"workers of one thread each.*; got 0 workers\. Start some"
        ),
    ):
        run_sweep(small_plans(dataset), tmp_path, scheduler=empty.scheduler_address)
