"""The training panel: choose, start, watch, cancel and resume a training in another process."""

import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import holoviews as hv
import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.catalog import find_runs
from explorer.figure import Figure
from explorer.jobs import JobError, JobStatus, TrainingJobs
from explorer.state import ExplorerState
from sttrans_core import PRESETS, VARIANTS, ConfigError, ExperimentConfig, list_datasets
from stviz import plot_training
from stviz.theme import get_theme

__all__ = ["TrainingPanel"]

FIELD = {"sizing_mode": "stretch_width", "margin": (6, 10), "size": "small"}
NONE = {"none yet": ""}
CURVE_SECONDS = 2.0  # between two pictures of the curve of a running training
COLORS = {"finished": "success", "failed": "error", "stopped": "warning"}


class TrainingPanel(Viewer):
    """Trains a variant while the page stays usable.

    Args:
        state: The selection; its folder of runs is where trainings go.
        on_open: Called with the name of a finished run that is to be shown.
        every: Milliseconds between two looks at the running trainings.
        shown: Whether the panel can be seen, or a parameter that says so: nothing is sent
            meanwhile.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")
    shown = param.Boolean(True, allow_refs=True, doc="Whether the panel can be seen.")

    def __init__(
        self,
        state: ExplorerState,
        *,
        on_open: Callable[[str], None] = lambda _name: None,
        every: int = 500,
        **params: Any,
    ) -> None:
        super().__init__(state=state, **params)
        self.jobs, self.on_open = TrainingJobs(state.root), on_open
        self._seen: JobStatus | None = None
        self._drawn: tuple[Any, ...] = ()
        self._drawn_at = -CURVE_SECONDS
        self._history: tuple[dict[str, Any], ...] = ()
        self._was_active = False
        self._build_form()
        self._build_progress()
        state.param.watch(self._redraw, "theme")
        self.param.watch(self._redraw, "shown")
        self._suggest_name()
        self.tick()
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.tick, period=every)

    def _build_form(self) -> None:
        questions = {f"{name}: {VARIANTS[name].question}": name for name in VARIANTS}
        self.data = pmui.Select(label="Data", **FIELD)
        self._follow()
        self.state.param.watch(self._follow, "dataset_name")
        self.state.param.watch(self._follow, "dataset_name", what="objects")
        self.preset = pmui.Select(
            label="Preset", options=list(PRESETS), value="small",
            description="How large the model is; small trains on a laptop.", **FIELD,
        )  # fmt: skip
        self.variant = pmui.Select(label="Variant", options=questions, value="full", **FIELD)
        self.epochs = pmui.IntInput(label="Epochs at most", value=10, start=1, end=1000, **FIELD)
        self.batch = pmui.IntInput(
            label="Windows per step", value=32, start=1, end=1024,
            description="A window is one hour of history with the hour that follows; the weights "
            "change after each step.", **FIELD,
        )  # fmt: skip
        self.windows = pmui.IntInput(
            label="Windows per epoch (0: all)", value=0, start=0, end=1_000_000,
            description="Fewer, chosen at random, make shorter epochs.", **FIELD,
        )  # fmt: skip
        self.seed = pmui.IntInput(label="Seed", value=0, start=0, end=10**6, **FIELD)
        self.name_ = pmui.TextInput(label="Name of the run", **FIELD)
        self.start = pmui.Button(
            label="Train", color="primary", icon="play_arrow", margin=(6, 10),
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.start.on_click(self._on_start)
        for widget in (self.data, self.variant, self.seed):
            widget.param.watch(lambda _event: self._suggest_name(), "value")

    def _build_progress(self) -> None:
        self.alert = pmui.Alert(
            object="", severity="error", visible=False, closeable=False,
            sizing_mode="stretch_width", margin=(6, 10),
        )  # fmt: skip
        self.run = pmui.Select(label="Training", options=NONE, value="", **FIELD)
        self.run.param.watch(lambda _event: self.tick(), "value")
        self.line = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 12))
        self.bar = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(6, 12)
        )
        button = {"size": "small", "variant": "outlined", "disabled": True, "margin": (4, 6)}
        self.cancel = pmui.Button(label="Cancel", icon="stop", color="error", **button)
        self.resume = pmui.Button(label="Resume", icon="restart_alt", **button)
        self.open = pmui.Button(label="Open in the explorer", icon="visibility", **button)
        self.cancel.on_click(lambda _: self._try(self.jobs.cancel, self.run.value))
        self.resume.on_click(lambda _: self._try(self.jobs.resume, self.run.value))
        self.open.on_click(lambda _: self.on_open(self.run.value))
        self.curve = Figure(self._plot, sizing_mode="stretch_width", height=300, margin=(0, 10))
        self.log = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 12))

    def _suggest_name(self) -> None:
        stamp = time.strftime("%m%d-%H%M%S")
        dataset = Path(self.data.value).stem  # one of the user's own is a file
        self.name_.value = f"{dataset}-{self.variant.value}-{stamp}"

    def _follow(self, *_events: param.parameterized.Event) -> None:
        self.data.param.update(
            options=dict(self.state.param.dataset_name.names), value=self.state.dataset_name
        )

    def config(self) -> ExperimentConfig:
        """Give the configuration that the form describes.

        Raises:
            ConfigError: A value is out of range.
        """
        base = ExperimentConfig.preset(self.preset.value, dataset=self.data.value)
        train = {
            "epochs": self.epochs.value,
            "batch_size": self.batch.value,
            "seed": self.seed.value,
            "max_windows_per_epoch": self.windows.value or None,
        }
        return base.variant(self.variant.value).replace({"train": train})

    def _on_start(self, _event: Any) -> None:
        name = self.name_.value
        if self._try(lambda: self.jobs.start(name, self.config().to_json())):
            self._offer(name)
            self._suggest_name()

    def _try(self, action: Callable[..., None], *arguments: Any) -> bool:
        try:
            action(*arguments)
        except (JobError, ConfigError, OSError) as error:
            self.alert.param.update(object=escape(str(error)), visible=True)
            return False
        self.alert.visible = False
        self.tick()
        return True

    def _offer(self, wanted: str = "") -> None:
        names = self.jobs.names()
        if (names or NONE) != self.run.options:
            kept = wanted or (self.run.value if self.run.value in names else "")
            self.run.param.update(options=names or NONE, value=kept or (names or [""])[0])
        elif wanted:
            self.run.value = wanted

    def tick(self) -> None:
        """Look at the chosen training and show how it stands."""
        with pn.io.hold():
            self._offer()
            if not self.run.value:
                self.line.object = "Nothing was trained from here yet."
                return
            status = self.jobs.status(self.run.value)
            if self.shown and status != self._seen:
                self._show(status)
            if self.shown:
                self._draw_curve(status)
            if self._was_active and not status.is_active:
                self.state.refresh_runs()
            self._was_active = status.is_active

    def _redraw(self, *_events: param.parameterized.Event) -> None:
        self._seen, self._drawn = None, ()
        self.tick()

    def _show(self, status: JobStatus) -> None:
        self._seen = status
        colors = get_theme(self.state.theme)
        words = [f"<b>{status.state}</b>"]
        if status.epochs:
            words.append(f"{max(status.epoch, len(status.history))} of {status.epochs} epochs done")
        if status.eta_seconds is not None:
            words.append(f"about {_duration(status.eta_seconds)} left")
        if status.device:
            words.append(f"on {escape(status.device)}")
        if status.message:
            words.append(escape(status.message))
        middle = " \N{MIDDLE DOT} "
        self.line.object = f"<span style='color:{colors.text}'>{middle.join(words)}</span>"
        self.bar.param.update(
            value=round(100 * status.progress),
            color=COLORS.get(status.state, "primary"),
        )
        self.cancel.disabled = not status.is_active or status.state == "stopping"
        self.resume.disabled = not status.can_resume
        self.open.disabled = status.state not in ("finished", "scoring")
        log = status.log if status.state != "running" else ""
        self.log.object = (
            f"<pre style='color:{colors.muted};font-size:11px;margin:0;white-space:pre-wrap'>"
            f"{escape(log)}</pre>"
        )

    def _draw_curve(self, status: JobStatus) -> None:
        """Draw where there is a new epoch, and while one follows the other not at each."""
        drawn = (status.name, self.state.theme, len(status.history))
        too_soon = status.is_active and time.monotonic() < self._drawn_at + CURVE_SECONDS
        if drawn == self._drawn or (too_soon and drawn[:2] == self._drawn[:2]):
            return
        self._drawn, self._drawn_at, self._history = drawn, time.monotonic(), status.history
        self.curve.draw()

    def _plot(self) -> hv.Overlay:
        name = self._drawn[0]
        dataset = next((run.dataset for run in find_runs(self.state.root) if run.name == name), "")
        units = str(list_datasets().get(dataset, {}).get("units", ""))
        return plot_training(
            self._history, units=units, title=name, theme=self.state.theme, width=None, height=300
        )

    def __panel__(self) -> pn.viewable.Viewable:
        form = pn.Column(
            self.data, self.variant, self.preset, self.epochs, self.batch, self.windows,
            self.seed, self.name_, self.start,
            styles={"flex": "1 1 280px", "max-width": "380px"}, margin=0,
        )  # fmt: skip
        progress = pn.Column(
            self.run, self.line, self.bar,
            pn.Row(self.cancel, self.resume, self.open, margin=(0, 6)),
            self.curve.place, self.log,
            styles={"flex": "2 1 420px"}, margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        return pn.Column(
            self.alert,
            pn.FlexBox(form, progress, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=0,
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
