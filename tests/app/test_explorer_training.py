"""Training from the explorer: another process that is started, watched, stopped and resumed."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import panel as pn
import psutil
import pytest
from bokeh.document import Document
from bokeh.plotting import figure as figure_type
from explorer.jobs import JobError, JobStatus, TrainingJobs
from explorer.opened import dataset_names
from explorer.state import ExplorerState
from explorer.training_panel import TrainingPanel
from explorer_runs import DATASET, tiny_config

from sttrans_core import load_run

PATIENCE = 90  # seconds; a process starts in about five on a quiet machine


def wait_for(jobs: TrainingJobs, name: str, holds: Callable[[JobStatus], bool]) -> JobStatus:
    deadline = time.monotonic() + PATIENCE
    while not holds(status := jobs.status(name)):
        assert time.monotonic() < deadline, f"{status}"
        time.sleep(0.1)
    return status


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[TrainingJobs]:
    found = TrainingJobs(tmp_path / "runs")
    yield found
    for name in found.names():
        if (pid := found._process(name)) is not None:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_training_runs_to_its_end_and_can_be_opened(jobs):
    jobs.start("first", tiny_config(epochs=2).to_json())
    assert jobs.status("first").is_active
    pid = json.loads((jobs.root / "first" / "job.json").read_text())["pid"]
    done = wait_for(jobs, "first", lambda status: not status.is_active)
    assert (done.state, done.epoch, done.epochs, done.progress) == ("finished", 2, 2, 1.0)
    assert [row["epoch"] for row in done.history] == [1, 2]
    assert done.device.startswith(("cpu", "cuda"))
    deadline = time.monotonic() + 5  # a thread collects it, in its own time
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid), "an ended process must not stay behind as a zombie"
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
    began = time.monotonic()
    again.cancel("long")
    assert again.status("long").state in ("stopping", "stopped")
    stopped = wait_for(again, "long", lambda status: not status.is_active)
    assert stopped.state == "stopped"
    assert time.monotonic() - began < 10  # two seconds on a quiet machine
    assert stopped.can_resume

    again.resume("long")
    going_on = wait_for(again, "long", lambda status: status.epoch > stopped.epoch)
    assert going_on.history[: len(stopped.history)] == stopped.history
    pid = json.loads((jobs.root / "long" / "job.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    killed = wait_for(again, "long", lambda status: not status.is_active)
    assert killed.state == "failed"
    assert "The process ended early" in killed.message
    assert killed.can_resume


@pytest.mark.slow
def test_a_training_that_cannot_begin_tells_why(jobs):
    config = tiny_config().replace({"data": {"dataset": "nowhere"}})
    jobs.start("bad", config.to_json())
    failed = wait_for(jobs, "bad", lambda status: not status.is_active)
    assert failed.state == "failed"
    assert "name must be one of" in failed.message
    assert "got 'nowhere'" in failed.log


def test_a_process_that_has_no_command_line_yet_is_starting(jobs, monkeypatch):
    # On a busy machine the system tells an empty one for a moment.
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: b"" if path.name == "cmdline" else read_bytes(path)
    )
    jobs.start("new", tiny_config().to_json())
    assert jobs.status("new").state == "starting"
    jobs.cancel("new")
    assert wait_for(jobs, "new", lambda status: not status.is_active).state == "stopped"


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


def test_a_process_of_another_program_is_not_ours(jobs):
    folder = jobs.root / "old"
    folder.mkdir(parents=True)
    # The id of a long gone training, used again by another process: this one.
    (folder / "job.json").write_text(json.dumps({"pid": os.getpid()}))
    status = jobs.status("old")
    assert status.state == "failed"
    with pytest.raises(JobError, match="Only a running training"):
        jobs.cancel("old")


@pytest.fixture
def panel(tmp_path: Path) -> TrainingPanel:
    state = ExplorerState(root=tmp_path)
    state.connect(dataset_names(state.root))
    return TrainingPanel(state)


def test_the_form_describes_a_configuration(panel):
    panel.data.value, panel.variant.value = DATASET, "no_gate"
    panel.epochs.value, panel.batch.value, panel.windows.value, panel.seed.value = 3, 8, 64, 7
    config = panel.config()
    assert (config.variant_name, config.model.residual) == ("no_gate", "plain")
    assert config.train.model_dump(include={"epochs", "batch_size", "seed"}) == {
        "epochs": 3,
        "batch_size": 8,
        "seed": 7,
    }
    assert config.train.max_windows_per_epoch == 64
    assert panel.name_.value.startswith(f"{DATASET}-no_gate-")


def test_a_refused_start_is_shown(panel):
    panel.name_.value = "../up"
    panel.start.clicks += 1
    assert panel.alert.visible
    assert "got &#x27;../up&#x27;" in panel.alert.object


def test_a_broken_status_file_does_not_end_the_page(panel, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "job.json").write_text('{"pid": "x"}')
    (folder / "status.json").write_text("[1, 2")
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_loss": 2.0, "val_mae": 1.0}\n{"ep')
    (folder / "train.log").write_text("<b>boom</b>")
    panel.tick()
    assert panel.run.value == "odd"
    assert "failed" in panel.line.object
    assert "&lt;b&gt;boom" in panel.line.object
    assert not panel.resume.disabled
    assert panel.cancel.disabled


def status_after(epochs: int, state: str = "running") -> JobStatus:
    """Give the status of a training whose error falls by 0.1 with each epoch."""
    rows = [{"epoch": i, "train_loss": 90 - i / 10, "val_mae": 91 - i / 10} for i in range(epochs)]
    return JobStatus(name="long", state=state, epoch=epochs, epochs=100, history=tuple(rows))


def test_one_figure_shows_all_epochs(panel, monkeypatch):
    monkeypatch.setattr("explorer.training_panel.CURVE_SECONDS", 0.0)
    document = Document()
    panel._draw_curve(status_after(0))
    document.add_root(panel.curve.pane.get_root(document))
    figure = document.select_one({"type": figure_type})
    before = len(document.models)
    for epochs in range(1, 70):
        panel._draw_curve(status_after(epochs))
    assert len(document.models) == before
    assert document.select_one({"type": figure_type}) is figure
    assert {len(r.data_source.data["x"]) for r in figure.renderers} == {69, 1}  # 1: the best epoch
    assert figure.title.text == "Training: long"
    assert figure.x_range.end > 68


def test_the_curve_is_drawn_at_a_bounded_rate_and_to_the_end(panel, monkeypatch):
    drawn = []
    monkeypatch.setattr(panel.curve, "draw", lambda: drawn.append(len(panel._history)))
    for epochs in range(1, 70):
        panel._draw_curve(status_after(epochs))
    assert drawn == [1]  # the others came within CURVE_SECONDS
    panel._draw_curve(status_after(70, "finished"))
    assert drawn == [1, 70]


def test_nothing_is_sent_while_the_panel_is_hidden(panel, tmp_path):
    panel.shown = False
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "status.json").write_text('{"state": "stopped"}')
    (tmp_path / "odd" / "job.json").write_text("{}")
    panel.tick()
    assert "stopped" not in panel.line.object
    panel.shown = True
    assert "odd" in panel.run.options
    assert panel._seen is not None


def test_the_panel_is_a_viewer(panel):
    assert isinstance(panel.__panel__(), pn.viewable.Viewable)
