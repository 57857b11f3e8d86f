"""The training page: what its form describes, what it lists and shows."""

import shutil
from pathlib import Path

import panel as pn
import pytest
from bokeh.document import Document
from bokeh.plotting import figure as figure_type
from explorer.job_files import Job, write_job
from explorer.jobs import JobStatus
from explorer.opened import dataset_names
from explorer.state import ExplorerState
from explorer.training_panel import TrainingPanel
from explorer_runs import DATASET


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
