"""The training page: ask for trainings, see how all of them stand, watch, cancel, resume, open."""

import asyncio
import time
from collections.abc import Callable
from html import escape
from typing import Any

import holoviews as hv
import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.catalog import find_runs
from explorer.choices import plain
from explorer.figure import Figure
from explorer.jobs import JobStatus, TrainingJobs
from explorer.state import ExplorerState
from explorer.training_form import TrainingForm
from sttrans_core import list_datasets
from sttrans_core.experiments.sweep import check_scheduler
from stviz import plot_training
from stviz.theme import get_theme

__all__ = ["TrainingPanel"]

CURVE_SECONDS = 2.0  # between two pictures of the curve of a running training
LOOKS = {  # icon and colour by state
    "queued": ("schedule", "disabled"),
    "starting": ("hourglass_empty", "primary"),
    "running": ("trending_down", "primary"),
    "scoring": ("straighten", "primary"),
    "stopping": ("hourglass_empty", "warning"),
    "stopped": ("pause_circle", "warning"),
    "finished": ("check_circle", "success"),
    "failed": ("error", "error"),
}
LIST = {  # some of the list, and half a line of what is below
    "max-height": "250px",
    "border": "1px solid rgba(128, 128, 128, 0.3)",
    "border-radius": "6px",
}
MIDDLE_DOT = " \N{MIDDLE DOT} "
NOTHING = (
    "<p style='margin:0 0 6px;font-size:15px'>Nothing was trained from here yet.</p>"
    "<p style='margin:0;max-width:62ch;opacity:0.8'>Choose data and a variant, then press Train. "
    "The simulated freeway takes a few minutes on a laptop. Curve and log appear "
    "here; closing this page or the server stops nothing, and what was trained is among the runs "
    "at the left, to be opened and compared.</p>"
)


class TrainingPanel(Viewer):
    """Trains variants while the page stays usable.

    Args:
        state: The selection; its folder of runs is where trainings go.
        on_open: Called with the name of a trained run that is to be shown.
        every: Milliseconds between two looks at the trainings.
        shown: Whether the panel can be seen, or a parameter that says so: nothing is sent
            meanwhile.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")
    shown = param.Boolean(True, allow_refs=True, doc="Whether the panel can be seen.")
    chosen = param.String("", doc="The run whose curve and log are shown.")

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
        self.form = TrainingForm(state)
        self.form.start.on_click(self._on_start)
        self._listed: list[JobStatus] = []
        self._trained: set[str] = set()
        self._seen: JobStatus | None = None
        self._drawn: tuple[Any, ...] = ()
        self._drawn_at = -CURVE_SECONDS
        self._history: tuple[dict[str, Any], ...] = ()
        self._build()
        state.param.watch(self._redraw, "theme")
        self.param.watch(self._redraw, "shown")
        self.tick()
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.tick, period=every)

    def _build(self) -> None:
        self.alert = pmui.Alert(
            object="", severity="error", visible=False, closeable=False,
            sizing_mode="stretch_width", margin=(6, 10),
        )  # fmt: skip
        self.list = pmui.MenuList(
            items=[], sizing_mode="stretch_width", margin=0,
            sx={"& .MuiListItemText-root": {"my": 0}},
        )  # fmt: skip
        self.list.param.watch(self._on_choice, "active")
        self.line = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 12))
        self.bar = pmui.LinearProgress(
            value=0, variant="determinate", sizing_mode="stretch_width", margin=(6, 12)
        )
        button = {"size": "small", "variant": "outlined", "disabled": True, "margin": (4, 6)}
        self.cancel = pmui.Button(label="Cancel", icon="stop", **button)
        self.resume = pmui.Button(label="Resume", icon="restart_alt", **button)
        self.open = pmui.Button(label="Open in the explorer", icon="visibility", **button)
        self.cancel.on_click(self._on_cancel)
        self.resume.on_click(self._on_resume)
        self.open.on_click(lambda _: self.on_open(self.chosen))
        self.curve = Figure(self._plot, sizing_mode="stretch_width", height=300, margin=(0, 10))
        self.log = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 12))
        wide = {"sizing_mode": "stretch_width", "visible": False}
        self.runs = pn.Column(self.list, margin=(6, 12), scroll="y-auto", styles=LIST, **wide)
        self.details = pn.Column(
            self.bar,
            pn.Row(self.cancel, self.resume, self.open, margin=(0, 6)),
            self.curve.place,
            self.log,
            margin=0,
            **wide,
        )

    async def _on_start(self, _event: Any) -> None:
        name = self.form.name_.value
        if await self._ask(
            lambda scheduler: self.jobs.start(
                name, self.form.config().to_json(), scheduler=scheduler
            )
        ):
            self.chosen = name
            self.form.suggest_name()
            self.tick()

    async def _on_resume(self, _event: Any) -> None:
        name = self.chosen
        if await self._ask(lambda scheduler: self.jobs.resume(name, scheduler=scheduler)):
            self.tick()

    def _on_cancel(self, _event: Any) -> None:
        try:
            self.jobs.cancel(self.chosen)
        except ValueError as error:
            self._complain(error)
        else:
            self.alert.visible = False
            self.tick()

    async def _ask(self, action: Callable[[str], None]) -> bool:
        """Ask for a training on the scheduler that the form names, if it answers."""
        if self.form.start.loading:
            return False
        scheduler = self.form.scheduler.value
        self.form.start.loading = True
        try:
            if scheduler:
                await asyncio.to_thread(check_scheduler, scheduler)
            action(scheduler)
        except (ImportError, OSError, ValueError) as error:
            self._complain(error)
            return False
        finally:
            self.form.start.loading = False
        self.alert.visible = False
        return True

    def _complain(self, error: Exception) -> None:
        self.alert.param.update(object=plain(str(error)), visible=True)

    def _on_choice(self, event: param.parameterized.Event) -> None:
        index = event.new[0] if isinstance(event.new, tuple) else event.new
        name = self._listed[index].name if index is not None else self.chosen
        if name != self.chosen:
            self.chosen = name
            self.tick()

    def tick(self) -> None:
        """Look at all trainings, and show how they and the chosen one stand."""
        with pn.io.hold():
            statuses = self.jobs.statuses()
            trained = {status.name for status in statuses if status.is_trained}
            if trained - self._trained:
                self.state.refresh_runs()
            self._trained = trained
            if not self.shown:
                return
            if not self.chosen and statuses:
                self.chosen = statuses[0].name
            self._list(statuses)
            for part in (self.runs, self.details):
                part.visible = bool(self.chosen)
            if not self.chosen:
                self.line.object = NOTHING
                return
            status = self.jobs.status(self.chosen)
            if status != self._seen:
                self._show(status)
            self._draw_curve(status)

    def _redraw(self, *_events: param.parameterized.Event) -> None:
        self._seen, self._drawn = None, ()
        self.tick()

    def _list(self, statuses: list[JobStatus]) -> None:
        self._listed = statuses
        items = [_item(status) for status in statuses]
        names = [status.name for status in statuses]
        active = (names.index(self.chosen),) if self.chosen in names else None
        if items != self.list.items or active != self.list.active:
            self.list.param.update(items=items, active=active)

    def _show(self, status: JobStatus) -> None:
        self._seen = status
        colors = get_theme(self.state.theme)
        words = [f"<b>{escape(status.name)}</b>", *map(escape, _words(status))]
        if status.device:
            words.append(f"on {escape(status.device)}")
        if status.message:
            words.append(escape(status.message))
        self.line.object = (
            f"<span style='color:{colors.text};font-size:14px'>{MIDDLE_DOT.join(words)}</span>"
        )
        color = {"finished": "success", "failed": "error", "stopped": "warning"}
        self.bar.param.update(
            value=round(100 * status.progress), color=color.get(status.state, "primary")
        )
        self.cancel.disabled = not status.is_active or status.state == "stopping"
        self.resume.disabled = not status.can_resume
        self.open.disabled = not status.is_trained
        self.log.object = (
            f"<pre style='color:{colors.muted};font-size:11px;margin:0;white-space:pre-wrap'>"
            f"{escape(status.log)}</pre>"
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
            self.form, styles={"flex": "1 1 280px", "max-width": "380px"}, margin=0
        )  # fmt: skip
        progress = pn.Column(
            self.runs, self.line, self.details,
            styles={"flex": "2 1 420px", "min-width": "0"}, margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        return pn.Column(
            self.alert,
            pn.FlexBox(form, progress, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=0,
        )


def _item(status: JobStatus) -> dict[str, str]:
    """Give the line of a training in the list."""
    icon, color = LOOKS.get(status.state, LOOKS["failed"])
    words = [*_words(status), *([status.message] if status.state == "queued" else [])]
    return {
        "label": status.name, "secondary": MIDDLE_DOT.join(words), "icon": icon, "color": color
    }  # fmt: skip


def _words(status: JobStatus) -> list[str]:
    """Say how a training stands, in short."""
    words = [status.state]
    if status.epochs:
        done = max(status.epoch, len(status.history))
        words.append(f"{done} of {status.epochs} epochs done")
    if status.eta_seconds is not None:
        words.append(f"about {_duration(status.eta_seconds)} left")
    return words


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
