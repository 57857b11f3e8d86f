"""The training page: what its form describes, what it lists and shows."""

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from html import unescape
from pathlib import Path
from typing import Any

import panel as pn
import pytest
from bokeh.document import Document
from bokeh.plotting import figure as figure_type
from explorer.job_files import hold
from explorer.jobs import JobStatus
from explorer.opened import dataset_names
from explorer.state import ExplorerState
from explorer.training_form import TrainingForm
from explorer.training_panel import TrainingPanel
from explorer_runs import DATASET


def connected(root: Path) -> ExplorerState:
    state = ExplorerState(root=root)
    state.connect(dataset_names(root))
    return state


SCHEDULERS = ["nonsense", "http://127.0.0.1:1", "<b>tcp://a:1</b>", "tcp://127.0.0.1:8786"]


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingPanel:
    monkeypatch.setenv("STTRANS_SCHEDULERS", ", ".join(SCHEDULERS))
    return TrainingPanel(connected(tmp_path))


def press(handler: Callable[[object], Coroutine[Any, Any, None]]) -> None:
    """Do what a button does, in an event loop of its own."""
    asyncio.run(handler(None))


def run_folder(root: Path, name: str, job: str) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "job.json").write_text(job)
    return folder


def test_the_form_describes_a_configuration(panel):
    form = panel.form
    form.data.value, form.variant.value = DATASET, "no_gate"
    form.epochs.value, form.batch.value, form.windows.value, form.seed.value = 3, 8, 64, 7
    form.device.value = "cpu"
    config = form.config()
    assert (config.variant_name, config.model.residual) == ("no_gate", "plain")
    assert config.train.model_dump(include={"epochs", "batch_size", "seed", "device"}) == {
        "epochs": 3,
        "batch_size": 8,
        "seed": 7,
        "device": "cpu",
    }
    assert config.train.max_windows_per_epoch == 64
    assert form.name_.value.startswith(f"{DATASET}-no_gate-")
    assert "12 steps of history with the 12 steps that follow" in form.batch.description


def test_a_suggested_name_is_plain_and_free(panel, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.training_form.time.strftime", lambda _form: "0102-030405")
    own = "/data/of mine/my t\N{LATIN SMALL LETTER E WITH ACUTE}st" + 60 * "x" + ".nc"
    panel.form.data.param.update(options=[DATASET, own], value=own)
    name = panel.form.name_.value
    (tmp_path / name).mkdir()
    panel.form.suggest_name()
    assert panel.form.name_.value == f"{name}-2"
    panel.jobs._launch = lambda *_arguments: None
    panel.jobs.start(f"{name}-2", "{}")  # is accepted
    assert (tmp_path / f"{name}-2").is_dir()


@pytest.mark.parametrize(("gpu", "auto"), [
    (None, "auto: here the CPU, no GPU was found"), ("H200", "auto: here cuda (H200)")
])  # fmt: skip
def test_the_form_says_where_auto_computes(tmp_path, monkeypatch, gpu, auto):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu is not None)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: gpu)
    monkeypatch.setenv("STTRANS_SCHEDULERS", SCHEDULERS[-1])
    form = TrainingForm(connected(tmp_path))
    assert auto in form.device.options
    assert ("cuda" in form.device.options.values()) == (gpu is not None)
    form.scheduler.value = SCHEDULERS[-1]
    assert list(form.device.options.values()) == ["auto", "cpu", "cuda"]
    form.device.value = "cuda"
    form.scheduler.value = ""
    assert form.device.value == ("cuda" if gpu else "auto")


def test_a_refused_start_is_shown(panel):
    panel.form.name_.value = "../up"
    press(panel._on_start)
    assert panel.alert.visible
    assert "got '../up'" in unescape(panel.alert.object)


def test_only_schedulers_that_the_owner_of_the_server_names_are_offered(tmp_path, monkeypatch):
    monkeypatch.delenv("STTRANS_SCHEDULERS", raising=False)
    alone = TrainingForm(connected(tmp_path)).scheduler
    assert (list(alone.options.values()), alone.visible) == ([""], False)
    monkeypatch.setenv("STTRANS_SCHEDULERS", " tcp://a:1,tcp://b:2 ")
    named = TrainingForm(connected(tmp_path)).scheduler
    assert (list(named.options.values()), named.visible) == (["", "tcp://a:1", "tcp://b:2"], True)


@pytest.mark.parametrize("address", SCHEDULERS[:3])
def test_a_scheduler_that_does_not_answer_is_told_and_leaves_nothing(panel, tmp_path, address):
    panel.form.scheduler.value = address
    press(panel._on_start)
    assert panel.alert.visible
    assert "must be that of a dask scheduler that runs" in unescape(panel.alert.object)
    assert repr(address) in unescape(panel.alert.object)
    assert list(tmp_path.iterdir()) == []
    assert not panel.form.start.loading


def test_a_scheduler_that_answers_gets_the_run(panel, monkeypatch):
    asked = []
    monkeypatch.setattr("explorer.training_panel.check_scheduler", asked.append)
    monkeypatch.setattr(
        panel.jobs, "start", lambda name, _config, *, scheduler: asked.append((name, scheduler))
    )
    panel.form.name_.value, panel.form.scheduler.value = "there", SCHEDULERS[-1]
    press(panel._on_start)
    assert asked == ["tcp://127.0.0.1:8786", ("there", "tcp://127.0.0.1:8786")]


def test_a_broken_status_file_does_not_end_the_page(panel, tmp_path):
    folder = run_folder(tmp_path, "odd", '{"turn": "x"}')
    (folder / "status.json").write_text("[1, 2")
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_loss": 2.0, "val_mae": 1.0}\n{"ep')
    (folder / "train.log").write_text("<b>boom</b>")
    panel.tick()
    assert panel.chosen == "odd"
    assert "failed" in panel.line.object
    assert "&lt;b&gt;boom" in panel.line.object
    assert not panel.resume.disabled
    assert panel.cancel.disabled
    (folder / "status.json").write_text('{"state": 3, "epoch": "<i>", "steps": [], "device": {}}')
    panel.tick()
    assert "<i>" not in panel.line.object


def test_all_trainings_are_listed_and_one_is_chosen(panel, tmp_path):
    for turn, name in enumerate(("first", "second", "third"), start=1):
        run_folder(tmp_path, name, json.dumps({"turn": turn, "cancelled": name == "second"}))
    running = {"state": "running", "epoch": 3, "epochs": 9, "step": 1, "steps": 3, "eta_seconds": 5}
    (tmp_path / "third" / "status.json").write_text(json.dumps(running))
    (tmp_path / "third" / "train.log").write_text("epoch   3")
    with hold(tmp_path / "third" / ".job.lock"):
        panel.tick()
        listed = [(item["label"], item["secondary"]) for item in panel.list.items]
        assert listed == [
            ("third", "running \N{MIDDLE DOT} 3 of 9 epochs done \N{MIDDLE DOT} about 5 s left"),
            ("second", "stopped"),
            ("first", "failed"),
        ]
        assert (panel.chosen, panel.list.active, panel.bar.value) == ("third", (0,), 33)
        assert "epoch   3" in panel.log.object  # also while it runs
        panel.list.active = (2,)
        assert panel.chosen == "first"
        assert "failed" in panel.line.object
        assert not panel.resume.disabled
    # One that comes on top does not take the place of the chosen one.
    run_folder(tmp_path, "fourth", '{"turn": 4}')
    panel.tick()
    assert (panel.chosen, panel.list.active) == ("first", (3,))


def test_a_run_that_is_deleted_while_it_is_shown_is_told(panel, tmp_path):
    run_folder(tmp_path, "other", '{"turn": 1}')
    folder = run_folder(tmp_path, "shown", '{"turn": 2}')
    panel.tick()
    assert panel.chosen == "shown"
    shutil.rmtree(folder)
    panel.tick()
    assert "Its folder is not there any more." in panel.line.object
    assert [item["label"] for item in panel.list.items] == ["other"]
    assert panel.list.active is None
    assert all(button.disabled for button in (panel.cancel, panel.resume, panel.open))
    panel._on_cancel(None)
    assert "got 'shown', which is gone" in unescape(panel.alert.object)
    panel.list.active = (0,)
    assert panel.chosen == "other"


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
    folder = run_folder(tmp_path, "odd", '{"cancelled": true}')
    (folder / "status.json").write_text('{"state": "stopped"}')
    panel.tick()
    assert "stopped" not in panel.line.object
    assert panel.list.items == []
    panel.shown = True
    assert [item["label"] for item in panel.list.items] == ["odd"]
    assert panel._seen is not None


def test_a_run_that_has_been_trained_is_offered_even_to_a_hidden_panel(panel, tmp_path):
    panel.shown = False
    folder = run_folder(tmp_path, "new", "{}")
    fields = {"data": {"dataset": DATASET}, "variant_name": "full"}
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "model.safetensors").touch()
    assert "new" not in panel.state.param.run.objects
    (folder / "status.json").write_text('{"state": "finished"}')
    panel.tick()
    assert "new" in panel.state.param.run.objects


def test_the_panel_is_a_viewer(panel):
    assert isinstance(panel.__panel__(), pn.viewable.Viewable)
