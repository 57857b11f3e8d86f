"""Training from the explorer: other processes that are queued, watched, stopped and resumed."""

import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from explorer.job_files import Job, hold, is_worked_on, read_job, write_job
from explorer.jobs import JobError, JobStatus, TrainingJobs
from explorer_runs import tiny_config

from sttrans_core import load_run

APPS = Path(__file__).parents[2] / "apps"
PATIENCE = 90  # seconds; a process starts in about five on a quiet machine
SOON = 10  # seconds; two on a quiet machine


def wait_for(jobs: TrainingJobs, name: str, holds: Callable[[JobStatus], bool]) -> JobStatus:
    deadline = time.monotonic() + PATIENCE
    while not holds(status := jobs.status(name)):
        assert time.monotonic() < deadline, f"{status}"
        time.sleep(0.1)
    return status


def is_over(status: JobStatus) -> bool:
    return not status.is_active


def processes_in(folder: Path) -> list[psutil.Process]:
    """Give the processes of trainings in a folder, by their command lines."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if any(word.startswith(str(folder)) for word in each.info["cmdline"] or [])
    ]


def process_of(jobs: TrainingJobs, name: str) -> psutil.Process:
    (found,) = processes_in(jobs.root / name)
    return found


def states(jobs: TrainingJobs) -> dict[str, str]:
    return {status.name: status.state for status in jobs.statuses()}


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[TrainingJobs]:
    found = TrainingJobs(tmp_path / "runs")
    yield found
    for process in processes_in(found.root):
        process.kill()


@pytest.fixture
def busy(jobs: TrainingJobs) -> Iterator[Path]:
    """Take the place of this machine, as a training that lives does."""
    folder = jobs.root / "busy"
    folder.mkdir(parents=True)
    write_job(folder, Job(turn=1))
    with hold(folder / ".job.lock"):
        yield folder


@pytest.mark.slow
def test_a_training_runs_to_its_end_and_can_be_opened(jobs):
    jobs.start("first", tiny_config(epochs=2).to_json())
    assert jobs.status("first").is_active
    process = process_of(jobs, "first")
    done = wait_for(jobs, "first", is_over)
    assert (done.state, done.epoch, done.epochs, done.progress) == ("finished", 2, 2, 1.0)
    assert done.is_trained
    assert [row["epoch"] for row in done.history] == [1, 2]
    assert done.device.startswith(("cpu", "cuda"))
    deadline = time.monotonic() + 5  # a thread collects it, in its own time
    while process.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process.is_running(), "an ended process must not stay behind as a zombie"
    scores = load_run(jobs.root / "first").scores
    assert scores is not None, "a finished training is scored"
    with pytest.raises(JobError, match=r"Only a running training can be cancelled; got 'first'"):
        jobs.cancel("first")
    with pytest.raises(JobError, match=r"Only a stopped or failed training .* which is finished"):
        jobs.resume("first")
    # As it is where the process ends while it scores.
    (jobs.root / "first" / "scores.csv").unlink()
    write_job(jobs.root / "first", Job(turn=1, cancelled=True))
    stopped = jobs.status("first")
    assert (stopped.state, stopped.is_trained) == ("stopped", True)
    assert stopped.message == "Trained, but not scored; resume to score it."
    jobs.resume("first")
    assert wait_for(jobs, "first", is_over).state == "finished"
    assert load_run(jobs.root / "first").scores is not None


@pytest.mark.slow
def test_cancel_resume_and_a_killed_process(jobs):
    jobs.start("long", tiny_config(epochs=5000).to_json())
    jobs.start("next", tiny_config().to_json())
    # A restarted server knows no more than the folder.
    again = TrainingJobs(jobs.root)
    running = wait_for(again, "long", lambda status: status.epoch >= 1)
    assert running.state == "running"
    assert running.eta_seconds > 0
    assert "epoch   1" in running.log
    began = time.monotonic()
    again.cancel("long")
    assert jobs.status("long").state in ("stopping", "stopped")  # for all sessions
    stopped = wait_for(again, "long", is_over)
    assert stopped.state == "stopped"
    assert time.monotonic() - began < SOON
    assert stopped.can_resume
    # Nobody has to look for the next one to begin.
    assert wait_for(again, "next", is_over).state == "finished"

    again.resume("long")
    going_on = wait_for(again, "long", lambda status: status.epoch > stopped.epoch)
    assert going_on.history[: len(stopped.history)] == stopped.history
    process_of(jobs, "long").kill()
    killed = wait_for(again, "long", is_over)
    assert killed.state == "failed"
    assert "The process ended early" in killed.message
    assert killed.can_resume


def test_trainings_wait_in_the_order_of_asking(jobs, busy):
    other = TrainingJobs(jobs.root)  # of another session, or of a server that was started again
    jobs.start("second", "{}")
    other.start("third", "{}")
    jobs.start("fourth", "{}")
    assert other.names() == ["fourth", "third", "second", "busy"]
    time.sleep(2)  # time enough to begin out of turn
    messages = {
        "busy": "Loading the data.",
        "second": "Begins by itself; one training before it.",
        "third": "Begins by itself; 2 trainings before it.",
        "fourth": "Begins by itself; 3 trainings before it.",
    }
    assert {status.name: status.message for status in other.statuses()} == messages
    assert set(states(jobs).values()) == {"starting", "queued"}
    # What waits is small, since it has not imported what trains.
    assert process_of(jobs, "fourth").memory_info().rss < 60e6


def test_one_that_waits_is_cancelled_and_comes_again_behind_the_others(jobs, busy):
    other = TrainingJobs(jobs.root)
    for name in ("second", "third"):
        jobs.start(name, "{}")
    began = time.monotonic()
    other.cancel("second")
    assert jobs.status("second").state in ("stopping", "stopped")  # for all sessions
    stopped = wait_for(jobs, "second", is_over)
    assert time.monotonic() - began < SOON
    assert stopped.state == "stopped"
    assert stopped.message == "Stopped before the first step; resume to begin."
    other.resume("second")
    assert jobs.names() == ["second", "third", "busy"]
    assert states(jobs) == {"second": "queued", "third": "queued", "busy": "starting"}
    with pytest.raises(JobError, match=r"Only a stopped or failed training .* which is queued"):
        jobs.resume("second")
    process_of(jobs, "second")  # there is one


def test_a_place_becomes_free_however_a_process_ends(jobs, busy):
    jobs.start("second", "{}")
    jobs.start("third", "{}")
    process_of(jobs, "second").kill()
    assert wait_for(jobs, "second", is_over).state == "failed"
    assert jobs.status("third").message == "Begins by itself; one training before it."
    assert not jobs.is_turn_of("third")
    busy.rename(jobs.root.parent / "busy")
    assert jobs.is_turn_of("third")
    assert jobs.status("third").state == "starting"


def test_as_many_compute_as_the_server_says(jobs, busy, monkeypatch):
    monkeypatch.setenv("STTRANS_TRAININGS", "2")
    for name in ("second", "third"):
        jobs.start(name, "{}")
    monkeypatch.setenv("STTRANS_TRAININGS", "1")
    jobs.start("fourth", "{}")
    assert [jobs.is_turn_of(name) for name in ("second", "third", "fourth")] == [True, False, False]
    # What trains on a scheduler's workers takes no place here.
    write_job(jobs.root / "busy", Job(turn=1, scheduler="tcp://127.0.0.1:1"))
    assert [jobs.is_turn_of(name) for name in ("second", "third", "fourth")] == [True, True, False]


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_a_number_of_places_that_is_none_is_refused(jobs, monkeypatch, number):
    monkeypatch.setenv("STTRANS_TRAININGS", number)
    with pytest.raises(JobError, match=r"STTRANS_TRAININGS must be a whole number from 1 on; got"):
        jobs.start("one", "{}")
    assert not jobs.root.exists()


def test_a_run_that_is_deleted_ends_its_process(jobs, busy):
    jobs.start("second", "{}")
    process = process_of(jobs, "second")
    (jobs.root / "second").rename(jobs.root.parent / "second")  # at once, as deleting is not
    _gone, alive = psutil.wait_procs([process], timeout=10)
    assert alive == []
    assert jobs.names() == ["busy"]
    assert jobs.status("second").state == "gone"
    for action in (jobs.cancel, jobs.resume):
        with pytest.raises(JobError, match=r"got 'second', which is gone"):
            action("second")
    assert not (jobs.root / "second").exists()


@pytest.mark.slow
def test_a_training_that_cannot_begin_tells_why(jobs):
    config = tiny_config().replace({"data": {"dataset": "nowhere"}})
    jobs.start("bad", config.to_json())
    failed = wait_for(jobs, "bad", is_over)
    assert failed.state == "failed"
    assert "name must be one of" in failed.message
    assert "got 'nowhere'" in failed.log


@pytest.mark.parametrize(("handler", "end"), [("SIG_DFL", "SIGTERM"), ("SIG_IGN", "SIGKILL")])
def test_a_process_that_does_not_stop_by_itself_is_ended(tmp_path, handler, end):
    write_job(tmp_path, Job(cancelled=True))
    code = (
        "import signal, sys; from pathlib import Path; from explorer.job import _obey;"
        f"signal.signal(signal.SIGTERM, signal.{handler}); _obey(Path(sys.argv[1]), 0.1)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=APPS, check=False, timeout=PATIENCE
    )
    assert answer.returncode == -signal.Signals[end]


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", ".hidden", "<b>", "x" * 65])
def test_a_name_must_be_plain(jobs, name):
    with pytest.raises(JobError, match=r"The name of a run must be up to 64 letters"):
        jobs.start(name, "{}")
    assert not jobs.root.exists()


def test_a_name_is_used_once(jobs):
    (jobs.root / "taken").mkdir(parents=True)
    with pytest.raises(JobError, match=r"needs a name of its own; got 'taken'"):
        jobs.start("taken", "{}")


def test_an_unwritable_folder_is_a_message(tmp_path):
    (tmp_path / "file").write_text("no folder")
    blocked = TrainingJobs(tmp_path / "file")
    with pytest.raises(JobError, match=r"folder of runs must be writable; .* Set STTRANS_RUNS"):
        blocked.start("one", "{}")
    assert blocked.names() == []


def test_what_cannot_be_started_leaves_nothing_behind(jobs, monkeypatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("explorer.jobs.subprocess.Popen", refuse)
    with pytest.raises(JobError, match=r"folder of runs must be writable"):
        jobs.start("one", "{}")
    assert jobs.names() == []
    assert not (jobs.root / "one").exists()


def test_who_holds_the_lock_of_a_run_works_on_it(jobs):
    folder = jobs.root / "run"
    folder.mkdir(parents=True)
    write_job(folder, Job(turn=3))
    assert not is_worked_on(folder)
    assert jobs.status("run").state == "failed"
    with hold(folder / ".job.lock"):
        assert is_worked_on(folder)
        assert jobs.status("run").state == "starting"
    assert not is_worked_on(folder)


def test_what_is_asked_is_read_whatever_the_file_holds(tmp_path):
    for text, job in (
        ("", Job()),
        ("[1]", Job()),
        ('{"turn": "x", "at_once": true, "scheduler": 3, "cancelled": 1}', Job()),
        ('{"turn": 4, "pid": 17, "scheduler": "tcp://a:1"}', Job(turn=4, scheduler="tcp://a:1")),
    ):
        (tmp_path / "job.json").write_text(text)
        assert read_job(tmp_path) == job


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Give a scheduler with one worker."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit=0,
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


@pytest.mark.slow
def test_a_scheduler_trains_while_this_machine_is_busy(jobs, busy, scheduler):
    jobs.start("there", tiny_config(epochs=2).to_json(), scheduler=scheduler)
    waits = jobs.status("there")
    assert waits.state == "queued"
    assert waits.message == f"Waits for a worker of {scheduler}, or loads the data there."
    done = wait_for(jobs, "there", is_over)
    assert (done.state, done.epoch, len(done.history)) == ("finished", 2, 2)
    assert done.log.splitlines()[-1] == "Finished."
    assert load_run(jobs.root / "there").scores is not None


@pytest.mark.slow
def test_a_training_on_a_scheduler_is_cancelled_goes_on_and_is_left_alone(jobs, scheduler):
    jobs.start("there", tiny_config(epochs=5000).to_json(), scheduler=scheduler)
    wait_for(jobs, "there", lambda status: status.epoch >= 1)
    jobs.cancel("there")
    stopped = wait_for(jobs, "there", is_over)
    assert (stopped.state, stopped.log.splitlines()[-1]) == ("stopped", "Stopped.")
    # Its worker is free for the next one, and stops where nobody waits for it any more.
    jobs.resume("there", scheduler=scheduler)
    wait_for(jobs, "there", lambda status: status.epoch > stopped.epoch)
    process_of(jobs, "there").kill()
    left = wait_for(jobs, "there", lambda status: status.state == "stopped")  # as the worker tells
    # The run itself may go on anywhere.
    jobs.start("next", tiny_config().to_json(), scheduler=scheduler)
    jobs.resume("there")
    going_on = wait_for(jobs, "there", lambda status: status.epoch > left.epoch)
    assert going_on.history[: len(left.history)] == left.history
    assert wait_for(jobs, "next", is_over).state == "finished"


@pytest.mark.slow
def test_a_scheduler_that_has_left_fails_the_run_with_a_message(jobs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        jobs.start("there", tiny_config().to_json(), scheduler=address)
        failed = wait_for(jobs, "there", is_over)
    assert failed.state == "failed"
    assert "must be that of a dask scheduler that runs" in failed.message
    assert failed.can_resume
