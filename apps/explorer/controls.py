"""The controls at the left: which data and model, when, what to look at, and the live switches."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from bokeh.models import CustomJSTickFormatter
from panel.viewable import Viewer

from explorer.area import is_box, region_names
from explorer.catalog import BUNDLED
from explorer.choices import NEAR
from explorer.comparison import compare_scores
from explorer.evidence import Evidence
from explorer.keys import Keys
from explorer.opened import open_forecaster
from explorer.state import ExplorerState
from explorer.takeaway_panel import TakeawayPanel
from explorer.text import comparison_html, effect_html
from explorer.views import select
from sttrans_core import VARIANTS
from sttrans_core.schema import interval_of
from stviz.labels import time_unit
from stviz.theme import Theme, get_theme

__all__ = ["Controls"]

STRIDES = (1, 3, 6, 12)
PICTURE_MILLISECONDS = 800  # between two pictures that play
ALONE = "one place"
FLAT = {"& .MuiToggleButton-root": {"py": "2px"}}
# Buttons that find no room in one line go on in the next.
WRAPPED = {
    "flexWrap": "wrap",
    "& .MuiToggleButton-root": {"py": "2px", "px": "4px", "width": "16.6%", "flex": "0 0 auto"},
}
WIDE = {"sizing_mode": "stretch_width", "margin": (4, 10), "size": "small"}


class Controls(Viewer):
    """Widgets for the state, kept in step with the evidence.

    Args:
        state: The selection and its evidence.
        cards: Where the views are on the page, by name, for pictures of them.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(
        self, state: ExplorerState, cards: Mapping[str, pn.Column] | None = None, **params: Any
    ) -> None:
        super().__init__(state=state, **params)
        p = state.param
        self.data = pmui.Select.from_param(p.dataset_name, **{**WIDE, "margin": (12, 10, 4, 10)})
        self.run = pmui.Select.from_param(p.run, **WIDE)
        self.variant = pmui.Select.from_param(p.variant, **WIDE)
        self.question = pn.pane.HTML("", margin=(0, 12), sizing_mode="stretch_width")
        self.comparison = pn.pane.HTML("", margin=(0, 10, 4, 10), sizing_mode="stretch_width")
        # Of steps, as a slider of times would show them in the time zone of the browser.
        self.time = pmui.IntSlider(
            label="Forecast made at", start=0, end=1, disabled=True, visible=False,
            sizing_mode="stretch_width", margin=(4, 16),
        )  # fmt: skip
        self.part = pn.pane.HTML("", margin=(0, 12), sizing_mode="stretch_width")
        self.play = pmui.Button(label="Play", icon="play_arrow", size="small", margin=4)
        self.plays = False
        self.stride = pmui.Select(
            label="Steps at a time", options=list(STRIDES), value=1, size="small", margin=4
        )
        self.earlier = pmui.Button(label="Earlier", icon="chevron_left", size="small", margin=4)
        self.later = pmui.Button(label="Later", icon="chevron_right", size="small", margin=4)
        for button in (self.earlier, self.later, self.play):
            button.param.update(variant="outlined", sizing_mode="stretch_width")
        self.stride.sizing_mode = "stretch_width"
        self._player = None
        if pn.state.curdoc is not None:
            self._player = pn.state.add_periodic_callback(
                self.play_on, period=PICTURE_MILLISECONDS, start=False
            )
        step = {"ArrowLeft": lambda: self._move(-1), "ArrowRight": lambda: self._move(1)}
        self.keys = Keys({**step, " ": self._turn_play}, field="Place")
        self.node = pmui.AutocompleteInput(
            label="Place: type to search", options=[], min_characters=1, restrict=True,
            case_sensitive=False, search_strategy="includes", **WIDE,
        )  # fmt: skip
        self.area = pmui.Select(
            label="Region",
            description="The mean of its places. With Box on, a drag over the map selects "
            "places, too.",
            options={ALONE: ""},
            **WIDE,
        )
        self.segment = pmui.RadioButtonGroup(
            label="Time ahead",
            options={"-": 1},
            value=1,
            color="primary",
            **WIDE,
            sx=FLAT,
        )
        self.topk = pmui.IntSlider(
            label="k: sources kept", start=1, end=64, value=64,
            sizing_mode="stretch_width", margin=(4, 16), size="small",
        )  # fmt: skip
        self.head = pmui.Select.from_param(p.head, **WIDE)
        self.min_weight = pmui.FloatSlider(
            label="Hide weights below", start=0.0, end=0.2, step=0.005, format="0.0%",
            sizing_mode="stretch_width", margin=(4, 16), size="small",
        )  # fmt: skip
        self.dense = pmui.Switch(label="Dense: every source", margin=(2, 10))
        self.window = pmui.Switch.from_param(p.window, margin=(2, 10))
        self.silent = pmui.CheckButtonGroup.from_param(
            p.silent_heads,
            label="Silent heads",
            **WIDE,
            sx=FLAT,
        )
        self.damage = pmui.Select.from_param(p.damage, **WIDE)
        self.withheld = pmui.CheckButtonGroup.from_param(
            p.withheld, label="Withheld steps", **WIDE, sx=WRAPPED
        )
        self.hide = pmui.Button(label="Hide this place", size="small", margin=4)
        self.hide_near = pmui.Button(label=f"and {NEAR} around", size="small", margin=4)
        self.undo = pmui.Button(label="As trained, as measured", size="small", margin=(4, 10))
        for button in (self.hide, self.hide_near, self.undo):
            button.param.update(variant="outlined", sizing_mode="stretch_width")
        # Of those that are hidden alone: the map is where others are chosen.
        self.hidden = pmui.MultiChoice(
            label="Hidden places", visible=False, sizing_mode="stretch_width", margin=(4, 10)
        )
        self.effect = pn.pane.HTML("", margin=(0, 12), sizing_mode="stretch_width")
        self.takeaway = TakeawayPanel(state, cards)
        self._dataset: xr.Dataset | None = None
        self._regions: list[str] = []  # that the dataset names: not to be found again at each tap
        self._nodes: dict[str, str] = {}  # by their names
        self._moved: dict[pmui.IntSlider, int | None] = {}
        self._connect()
        state.param.watch(self._show_evidence, ["evidence", "theme"])
        state.param.watch(self._show_selection, ["node", "area", "segment", "min_weight"])
        self._show_evidence()

    def _connect(self) -> None:
        self.time.param.watch(self._on_time, "value_throttled")
        self.earlier.on_click(lambda _: self._move(-1))
        self.later.on_click(lambda _: self._move(1))
        self.play.on_click(lambda _: self._turn_play())
        self.node.param.watch(
            lambda event: event.new and self._select(self._nodes[event.new]), "value"
        )
        self.segment.param.watch(lambda event: self._set(segment=event.new), "value")
        self.topk.param.watch(self._on_topk, "value_throttled")
        self.dense.param.watch(self._on_dense, "value")
        self.hide.on_click(lambda _: self.state.hide(self.state.region or [self.state.node]))
        self.hide_near.on_click(lambda _: self.state.hide(self.state.places_around()))
        self.area.param.watch(lambda event: self._set(area=event.new), "value")
        self.hidden.param.watch(lambda event: self._set(hidden=event.new), "value")
        self.undo.on_click(lambda _: self.state.switch_back())
        self.min_weight.param.watch(
            lambda event: self._set(min_weight=event.new), "value_throttled"
        )

    def _select(self, node: str) -> None:
        if node != self.state.node:  # else the field follows what was selected elsewhere
            select(self.state, node)

    def _set(self, **changes: Any) -> None:
        self.state.param.update(**changes)

    def _move_to(self, slider: pmui.IntSlider, wanted: int) -> None:
        """Move a slider, but not under the reader's hand, who may be further by now."""
        if self._moved.get(slider) != wanted:
            self._moved[slider] = None
            slider.value = wanted

    def _on_time(self, event: param.parameterized.Event) -> None:
        self._moved[self.time] = event.new
        self._set(step=event.new)

    def _move(self, turns: int) -> None:
        evidence = self.state.evidence
        if evidence is not None:
            step = self.state.step + turns * self.stride.value
            last = evidence.dataset.sizes["time"] - 1
            self._set(step=min(max(step, evidence.first_step), last))

    def _turn_play(self) -> None:
        self.plays = not self.plays
        label, icon = ("Pause", "pause") if self.plays else ("Play", "play_arrow")
        self.play.param.update(label=label, icon=icon)
        if self._player is not None:
            (self._player.start if self.plays else self._player.stop)()

    def play_on(self) -> None:
        """Go on to the next picture, once this one is there; stop at the last."""
        evidence = self.state.evidence
        if evidence is None or self.state.needs_update():
            return
        before = self.state.step
        self._move(1)
        if self.state.step == before:
            self._turn_play()

    def _on_topk(self, event: param.parameterized.Event) -> None:
        self._moved[self.topk] = event.new
        trained = self.state.evidence.trained_topk
        self._set(topk=None if event.new >= trained else event.new)

    def _on_dense(self, event: param.parameterized.Event) -> None:
        evidence = self.state.evidence
        if evidence is not None and event.new != _is_dense(evidence):
            self._set(topk=evidence.num_sources if event.new else None)

    def _show_evidence(self, *_events: param.parameterized.Event) -> None:
        evidence, colors = self.state.evidence, get_theme(self.state.theme)
        if evidence is None:
            return
        if evidence.dataset is not self._dataset:
            self._dataset = evidence.dataset
            self._regions = region_names(evidence.dataset, evidence.zones)
            self.time.format = _format_steps(evidence.dataset)
        self.time.param.update(
            start=evidence.first_step,
            end=evidence.dataset.sizes["time"] - 1,
            disabled=False,
            visible=True,
        )
        self._move_to(self.time, evidence.request.step)
        self.part.object = _say_part(evidence, colors.muted)
        nodes = evidence.dataset["node"].values.tolist()
        self._nodes = {evidence.name_of([node]): node for node in nodes}
        self.node.options = list(self._nodes)
        has_alignment = evidence.alignment is not None
        for widget in (self.topk, self.head, self.min_weight, self.window):
            widget.disabled = not has_alignment
        self.silent.visible = has_alignment
        self.variant.visible = evidence.forecaster is not None
        if has_alignment:
            trained = evidence.trained_topk
            self.topk.end = max(trained, 2)
            self._move_to(self.topk, min(evidence.request.topk or trained, trained))
        self._show_switches(evidence, colors)
        self.segment.label, self.segment.options = _segment_labels(evidence)
        question = VARIANTS[self.state.variant].question if self.state.variant in VARIANTS else ""
        self.question.object = f"<i style='color:{colors.muted};font-size:12px'>{question}</i>"
        self._show_comparison(evidence)
        self._show_selection()
        self.segment.param.trigger("value")  # the page finds it by its label, which is another now

    def _show_switches(self, evidence: Evidence, colors: Theme) -> None:
        has_forecast = evidence.forecast is not None
        for widget in (self.damage, self.withheld, self.hide, self.hide_near, self.hidden):
            widget.disabled = not has_forecast
        self.dense.disabled = evidence.num_sources <= evidence.trained_topk
        self.dense.value = _is_dense(evidence)
        self.topk.disabled |= self.dense.value
        self.withheld.label, self.withheld.options = _step_labels(evidence)
        hidden = list(evidence.request.hidden)
        self.hidden.param.update(options=hidden, value=hidden, visible=bool(hidden))
        self.undo.disabled = not evidence.request.is_switched
        self.effect.object = effect_html(evidence, colors)

    def _show_comparison(self, evidence: Evidence) -> None:
        self.comparison.object = ""
        if evidence.forecaster is None:
            return
        bundled = "full" in self.state.variants_of_bundle()
        request = evidence.request.of(BUNDLED, "full")
        reference = open_forecaster(request) if bundled else None
        name = evidence.forecaster.config.variant_name
        self.comparison.object = comparison_html(
            compare_scores(evidence.forecaster, reference),
            (name if evidence.request.run == BUNDLED else evidence.request.run, "full"),
            evidence.forecaster.scores,
            get_theme(self.state.theme),
        )

    def _show_selection(self, *_events: param.parameterized.Event) -> None:
        state = self.state
        if state.evidence is not None and state.node in self._nodes.values():
            self.node.value = state.evidence.name_of([state.node])
        if state.evidence is not None:
            box = [state.area] if is_box(state.area) else []
            regions = {ALONE: "", **{name: name for name in self._regions}}
            regions |= {f"box on the map, {len(state.region)} places": each for each in box}
            self.area.param.update(options=regions, value=state.area)
        self.segment.value = state.segment
        self.min_weight.value = state.min_weight

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(
            self.data,
            self.run,
            _caption("Retrained variants: own weights"),
            self.variant,
            self.question,
            self.comparison,
            _caption("When and where"),
            self.time,
            pn.Row(self.earlier, self.later, margin=(0, 6), sizing_mode="stretch_width"),
            pn.Row(self.play, self.stride, margin=(0, 6), sizing_mode="stretch_width"),
            self.part,
            self.segment,
            self.node,
            self.area,
            _caption("Shown of the alignment"),
            self.head,
            self.min_weight,
            _caption("Live switches: same weights"),
            self.effect,
            self.undo,
            self.topk,
            self.dense,
            self.window,
            self.silent,
            self.damage,
            self.withheld,
            pn.Row(self.hide, self.hide_near, margin=(0, 6), sizing_mode="stretch_width"),
            self.hidden,
            _caption("Take away"),
            self.takeaway,
            self.keys,
            sizing_mode="stretch_width",
            margin=0,
        )


def _is_dense(evidence: Evidence) -> bool:
    return evidence.request.topk is not None and evidence.request.topk > evidence.trained_topk


def _caption(text: str) -> pmui.Typography:
    return pmui.Typography(
        text, variant="overline", margin=(6, 10, 0, 10), sx={"lineHeight": 1.6, "fontWeight": 600}
    )


def _format_steps(dataset: xr.Dataset) -> CustomJSTickFormatter:
    """Show the steps of a dataset as its own times."""
    first = dataset["time"].values[0].astype("datetime64[ms]").astype(int)
    interval = interval_of(dataset).total_seconds() * 1000
    code = "return new Date(first + tick * interval).toISOString().slice(0, 16).replace('T', ' ')"
    return CustomJSTickFormatter(args={"first": int(first), "interval": interval}, code=code)


def _say_part(evidence: Evidence, color: str) -> str:
    words = {
        "training": "In the training part: the model and the historical average have seen "
        "this moment.",
        "validation": "In the validation part: bands were calibrated here.",
        "test": "In the test part: unseen by the model.",
        "unseen": "Outside the period that this run was trained on, which was other data.",
    }
    return f"<span style='color:{color};font-size:12px'>{words.get(evidence.part, '')}</span>"


def _step_labels(evidence: Evidence) -> tuple[str, dict[str, str]]:
    """Give the unit and the time of every step of the history, by how far it lies back."""
    minutes = interval_of(evidence.dataset) / pd.Timedelta("1min")
    unit, scale = time_unit(minutes)
    steps = range(evidence.first_step + 1)
    numbers = {f"{step * minutes / scale:g}": str(step) for step in steps}
    return f"Withheld: readings {unit} before the forecast", numbers


def _segment_labels(evidence: Evidence) -> tuple[str, dict[str, int]]:
    """Give the unit and the lead times of every segment, by its number."""
    if evidence.forecast is None:
        return "Time ahead", {"all": 1}
    minutes = evidence.forecast["lead_minutes"].values
    unit, scale = time_unit(minutes[0])
    segments = (minutes / scale).reshape(evidence.num_segments, -1)
    numbers = {
        f"{steps[0]:g}\N{EN DASH}{steps[-1]:g}" if len(steps) > 1 else f"{steps[0]:g}": i + 1
        for i, steps in enumerate(segments)
    }
    return f"{'Hours' if unit == 'h' else 'Minutes'} ahead", numbers
