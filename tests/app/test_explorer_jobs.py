"""Training from the explorer: other processes that are queued, watched, stopped and resumed."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from explorer.job_files import Job, hold, is_worked_on, read_job, write_job
from explorer.jobs import JobError, JobStatus, TrainingJobs
from explorer_runs import tiny_config

from sttrans_core import load_run

PATIENCE = 90  # seconds; a process starts in about five on a quiet machine


def wait_for(jobs: TrainingJobs, name: str, holds: Callable[[JobStatus], bool]) -> JobStatus:
    deadline = time.monotonic() + PATIENCE
    while not holds(status := jobs.status(name)):
        assert time.monotonic() < deadline, f"{status}"
        time.sleep(0.1)
    return status


def is_over(status: JobStatus) -> bool:
    return not status.is_active


def process_of(jobs: TrainingJobs, name: str) -> psutil.Process:
    """Give the process of a training by its command line."""
    folder = str(jobs.root / name)
    (found,) = [
        each
        for each in psutil.process_iter(["cmdline"])
        if each.info["cmdline"] and folder in each.info["cmdline"]
    ]
    return found


def states(jobs: TrainingJobs) -> dict[str, str]:
    return {status.name: status.state for status in jobs.statuses()}


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[TrainingJobs]:
    found = TrainingJobs(tmp_path / "runs")
    yield found
    for name in found.names():
        if is_worked_on(found.root / name):
            process_of(found, name).kill()


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


@pytest.mark.slow
def test_cancel_resume_and_a_killed_process(jobs):
    jobs.start("long", tiny_config(epochs=5000).to_json())
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
    assert time.monotonic() - began < 2
    assert stopped.can_resume

    again.resume("long")
    going_on = wait_for(again, "long", lambda status: status.epoch > stopped.epoch)
    assert going_on.history[: len(stopped.history)] == stopped.history
    process_of(jobs, "long").kill()
    killed = wait_for(again, "long", is_over)
    assert killed.state == "failed"
    assert "The process ended early" in killed.message
    assert killed.can_resume


@pytest.mark.slow
def test_trainings_take_turns_in_the_order_of_asking(jobs):
    other = TrainingJobs(jobs.root)  # of another session, or of a server that was started again
    jobs.start("first", tiny_config(epochs=5000).to_json())
    other.start("second", tiny_config(epochs=5000).to_json())
    jobs.start("third", tiny_config(epochs=5000).to_json())
    other.start("fourth", tiny_config().to_json())
    assert jobs.names() == ["fourth", "third", "second", "first"]
    wait_for(jobs, "first", lambda status: status.epoch >= 1)
    queued = {name: other.status(name) for name in ("second", "third", "fourth")}
    assert {status.state for status in queued.values()} == {"queued"}
    assert queued["second"].message == "Begins by itself; one training before it."
    assert queued["fourth"].message == "Begins by itself; 3 trainings before it."
    # What waits is small, since it has not imported what trains.
    assert process_of(jobs, "fourth").memory_info().rss < 60e6

    began = time.monotonic()
    other.cancel("third")
    left = wait_for(jobs, "third", is_over)
    assert time.monotonic() - began < 2
    assert (left.state, left.message) == (
        "stopped", "Stopped before the first step; resume to begin."
    )  # fmt: skip
    # A crash frees the place as well as an end does; one that comes again waits behind the others.
    process_of(jobs, "first").kill()
    wait_for(jobs, "second", lambda status: status.epoch >= 1)
    assert states(other) == {
        "first": "failed", "second": "running", "third": "stopped", "fourth": "queued"
    }  # fmt: skip
    jobs.resume("first")
    assert jobs.names() == ["first", "fourth", "third", "second"]
    assert jobs.status("first").message == "Begins by itself; 2 trainings before it."
    other.cancel("second")
    assert wait_for(jobs, "fourth", is_over).state == "finished"
    wait_for(jobs, "first", lambda status: status.state == "running")


@pytest.mark.slow
def test_as_many_compute_as_the_server_says(jobs, monkeypatch):
    monkeypatch.setenv("STTRANS_TRAININGS", "2")
    for name in ("first", "second", "third"):
        jobs.start(name, tiny_config(epochs=5000).to_json())
    for name in ("first", "second"):
        wait_for(jobs, name, lambda status: status.state == "running")
    assert jobs.status("third").state == "queued"


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", "\N{SUPERSCRIPT TWO}"])
def test_a_number_of_places_that_is_none_is_refused(jobs, monkeypatch, number):
    monkeypatch.setenv("STTRANS_TRAININGS", number)
    with pytest.raises(JobError, match=r"STTRANS_TRAININGS must be a whole number from 1 on; got"):
        jobs.start("one", "{}")
    assert not jobs.root.exists()


@pytest.mark.slow
def test_a_run_is_not_resumed_twice(jobs):
    jobs.start("long", tiny_config(epochs=5000).to_json())
    jobs.cancel("long")
    wait_for(jobs, "long", is_over)
    TrainingJobs(jobs.root).resume("long")
    with pytest.raises(JobError, match=r"Only a stopped or failed training can be resumed"):
        jobs.resume("long")
    process_of(jobs, "long")  # there is one


@pytest.mark.slow
def test_a_run_that_is_deleted_ends_its_process(jobs):
    jobs.start("first", tiny_config(epochs=5000).to_json())
    wait_for(jobs, "first", lambda status: status.epoch >= 1)
    jobs.start("second", tiny_config(epochs=5000).to_json())
    processes = [process_of(jobs, name) for name in ("first", "second")]
    for name in ("second", "first"):
        (jobs.root / name).rename(jobs.root.parent / name)  # at once, as deleting is not
    gone, alive = psutil.wait_procs(processes, timeout=3)
    assert alive == []
    assert jobs.names() == []
    assert jobs.status("first").state == "gone"
    for action in (jobs.cancel, jobs.resume):
        with pytest.raises(JobError, match=r"got 'first', which is gone"):
            action("first")
    assert not (jobs.root / "first").exists()


@pytest.mark.slow
def test_a_training_that_cannot_begin_tells_why(jobs):
    config = tiny_config().replace({"data": {"dataset": "nowhere"}})
    jobs.start("bad", config.to_json())
    failed = wait_for(jobs, "bad", is_over)
    assert failed.state == "failed"
    assert "name must be one of" in failed.message
    assert "got 'nowhere'" in failed.log


@pytest.mark.slow
def test_a_trained_run_is_scored_when_it_is_resumed(jobs):
    jobs.start("first", tiny_config().to_json())
    wait_for(jobs, "first", is_over)
    # As it is where the process ends while it scores.
    (jobs.root / "first" / "scores.csv").unlink()
    write_job(jobs.root / "first", Job(turn=1, cancelled=True))
    stopped = jobs.status("first")
    assert (stopped.state, stopped.is_trained) == ("stopped", True)
    assert stopped.message == "Trained, but not scored; resume to score it."
    jobs.resume("first")
    assert wait_for(jobs, "first", is_over).state == "finished"
    assert load_run(jobs.root / "first").scores is not None


def test_a_process_that_does_not_stop_by_itself_is_ended(jobs):
    jobs.start("busy", tiny_config(epochs=5000).to_json())
    process = process_of(jobs, "busy")
    process.send_signal(signal.SIGSTOP)  # in a step that takes long
    jobs.cancel("busy")
    assert jobs.status("busy").state == "stopping"
    process.send_signal(signal.SIGCONT)
    assert wait_for(jobs, "busy", is_over).state == "stopped"


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
