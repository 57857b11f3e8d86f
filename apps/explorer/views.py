"""The views of the evidence: map, series, space-time cube, table. Each keeps one pane alive."""

from typing import Any

import holoviews as hv
import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.state import ExplorerState
from explorer.text import empty_html, sources_html, trust_html
from stviz import (
    node_at,
    plot_alignment_cube,
    plot_alignment_map,
    plot_forecast_map,
    plot_scores,
    plot_series,
)
from stviz.theme import get_theme

__all__ = ["AlignmentView", "MapView", "ScoresView", "SeriesView", "SourcesView", "select"]

SMALL = {
    "size": "small",
    "margin": (6, 10, 0, 10),
    "sx": {
        "& .MuiToggleButton-root": {
            "py": "1px",
            "px": "10px",
            "textTransform": "none",
            "whiteSpace": "nowrap",
        }
    },
}
# The legend of the series has one line.
SHORT = {"last observed value": "last value", "historical average": "weekly mean"}
FILL = {"width": None, "height": None}
# Panes of one page would otherwise share axes that happen to have the same name.
PANE = {"sizing_mode": "stretch_both", "margin": 0, "linked_axes": False}


class _View(Viewer):
    """A view of the state that redraws when one of `watches` changes.

    Args:
        state: The selection and its evidence.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")
    watches = ("evidence", "node", "theme")
    tools: tuple[pn.viewable.Viewable, ...] = ()

    def __init__(self, state: ExplorerState, **params: Any) -> None:
        super().__init__(state=state, **params)
        self.empty = pn.pane.HTML("", sizing_mode="stretch_both", margin=0, visible=False)
        self._build()

    def start(self) -> None:
        """Draw for the first time, once it is on the page, and from then on at every change.

        The page styles each figure that it takes in: drawn later, a figure keeps its own style.
        """
        self.state.param.watch(self.refresh, list(self.watches))
        self.refresh()

    def refresh(self, *_events: param.parameterized.Event) -> None:
        """Show the evidence, or say why there is none."""
        missing = self._missing()
        self.empty.visible, self.filled.visible = missing is not None, missing is None
        if missing is None:
            self._draw()
        else:
            self.empty.object = empty_html(*missing, get_theme(self.state.theme))

    def _missing(self) -> tuple[str, str] | None:
        """Say what is missing, as a title and what to do; None where nothing is."""
        evidence = self.state.evidence
        if evidence is None and self.state.problem:
            return "Nothing to show", "See the message above, then choose another run or data set."
        if evidence is None:
            return "Loading", "The model and the readings are on their way."
        if evidence.forecast is None:
            return (
                f"No trained run for {evidence.request.dataset} yet",
                "Train one under 'Train', or choose another data set.",
            )
        return None

    def _selected(self) -> dict[str, Any]:
        """Give the selection as the drawings take it."""
        state = self.state
        head = None if state.head == "mean" else int(state.head)
        return {
            "node": state.node,
            "segment": state.segment,
            "head": head,
            "min_weight": state.min_weight,
        }

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(*self.tools, self.filled, self.empty, sizing_mode="stretch_both", margin=0)


class MapView(_View):
    """The sensor map; a tap selects the nearest place."""

    watches = ("evidence", "node", "theme", "segment", "map_variable")

    def _build(self) -> None:
        self.tools = (
            pmui.RadioButtonGroup.from_param(self.state.param.map_variable, label="", **SMALL),
        )
        self.filled = pn.pane.HoloViews(**PANE)
        self._drawn: tuple[Any, ...] = ()
        self._base: tuple[Any, hv.Overlay | None] = (None, None)

    def _draw(self) -> None:
        state = self.state
        drawn = (id(state.evidence.dataset), state.theme)
        if drawn == self._drawn:
            return
        # Another dataset has other axes, another theme other colours: a new figure.
        self._drawn = drawn
        changes = hv.streams.Params(state, ["evidence", "node", "segment", "map_variable"])
        self.filled.object = hv.DynamicMap(self._overlay, streams=[changes])

    def _overlay(self, **_changed: Any) -> hv.Overlay:
        state = self.state
        step = int(last_step(state.evidence, state.segment))
        key = (id(state.evidence.forecast), step, state.map_variable, state.theme)
        if key != self._base[0]:
            base = plot_forecast_map(
                state.evidence.forecast,
                horizon=step,
                variable=state.map_variable,
                on_tap=self._on_tap,
                theme=state.theme,
                **FILL,
            )
            self._base = (key, base)
        return _ring(self._base[1], state.node)

    def _on_tap(self, x: float, y: float) -> None:
        if self.state.evidence is not None:
            select(self.state, node_at(self.state.evidence.dataset, x=x, y=y))


def select(state: ExplorerState, node: str) -> None:
    """Select a place and send all views to the browser in one go, which is faster.

    Args:
        state: The selection.
        node: The place.
    """
    with pn.io.hold(freeze=True):
        state.node = node


def last_step(evidence: Any, segment: int) -> int:
    """Give the last horizon step of a segment, from 1."""
    return evidence.forecast.sizes["horizon"] // evidence.num_segments * segment


def _ring(base: hv.Overlay, node: str) -> hv.Overlay:
    """Move the ring and the name of a drawn map to a place; the other layers stay the same."""
    sensors = next(layer for layer in base if layer.label == "Sensors")
    here = sensors.data[sensors.data["node"] == node]
    layers = [layer.clone(here) if layer.label.startswith("Selected") else layer for layer in base]
    return base.clone(layers)


class SeriesView(_View):
    """What was measured and forecast at the selected place."""

    def _build(self) -> None:
        self.filled = pn.pane.HoloViews(**PANE)
        self._drawn: tuple[Any, ...] = ()

    def _draw(self) -> None:
        state = self.state
        drawn = (id(state.evidence.dataset), state.theme)
        if drawn != self._drawn:
            self._drawn = drawn
            changes = hv.streams.Params(state, ["evidence", "node"])
            self.filled.object = hv.DynamicMap(self._overlay, streams=[changes])

    def _overlay(self, **_changed: Any) -> hv.Overlay:
        state, evidence = self.state, self.state.evidence
        return plot_series(
            evidence.forecast,
            node=state.node,
            dataset=evidence.dataset,
            baselines={SHORT.get(k, k): v for k, v in evidence.baselines.items()},
            theme=state.theme,
            **FILL,
        )


class _AlignmentViewBase(_View):
    watches = ("evidence", "node", "theme", "segment", "head", "min_weight")

    def _missing(self) -> tuple[str, str] | None:
        evidence = self.state.evidence
        if (found := super()._missing()) is not None:
            return found
        if evidence.alignment is None:
            return (
                f"'{evidence.request.variant}' has no alignment",
                "It was trained without looking at other places. Its forecast is on the left; "  # noqa: ISC004
                "choose another variant to see sources.",
            )
        if not evidence.has_alignment(self.state.node):
            return "Aligning", "The sources of this place are being computed."
        return None


class AlignmentView(_AlignmentViewBase):
    """Where and when the forecast looked: the cube and the map, with the line on trust."""

    def _build(self) -> None:
        self.kind = pmui.RadioButtonGroup(options=["Space-time cube", "On the map"], **SMALL)
        self.kind.value = "Space-time cube"
        self.kind.param.watch(self.refresh, "value")
        self.tools = (self.kind,)
        # One pane for good: every further one would take another WebGL context.
        self.cube = pn.pane.Plotly(
            sizing_mode="stretch_both", margin=0, config={"displaylogo": False}
        )
        self.map = pn.pane.HoloViews(**PANE, visible=False)
        self.trust = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 10, 4, 10))
        self.filled = pn.Column(
            self.cube, self.map, self.trust, sizing_mode="stretch_both", margin=0
        )

    def start(self) -> None:
        """Draw, and draw again whenever the page has put a style of its own over the cube."""
        super().start()
        for model, _ in self.cube._models.values():
            model.on_change("layout", self._on_layout)

    def _on_layout(self, _name: str, _old: dict, new: dict) -> None:
        if new and new.get("paper_bgcolor") != get_theme(self.state.theme).paper:
            self.cube.param.trigger("object")

    def _draw(self) -> None:
        state, alignment = self.state, self.state.evidence.alignment
        alignment = alignment.sel(query_node=[state.node])
        options = {**self._selected(), "dataset": state.evidence.dataset, "theme": state.theme}
        is_cube = self.kind.value == "Space-time cube"
        self.cube.visible, self.map.visible = is_cube, not is_cube
        if is_cube:
            self.cube.object = plot_alignment_cube(alignment, **options, **FILL)
        else:
            self.map.object = plot_alignment_map(alignment, **options, **FILL)
        self.trust.object = trust_html(state.evidence, self._selected(), get_theme(state.theme))


class SourcesView(_AlignmentViewBase):
    """The Top-k as a table."""

    def _build(self) -> None:
        self.filled = pn.pane.HTML("", sizing_mode="stretch_both", margin=0)

    def _draw(self) -> None:
        self.filled.object = sources_html(
            self.state.evidence, self._selected(), get_theme(self.state.theme)
        )


class ScoresView(_View):
    """Test error of the run by lead time, beside the baselines."""

    watches = ("evidence", "theme")

    def _build(self) -> None:
        self.filled = pn.pane.HoloViews(**PANE)

    def _missing(self) -> tuple[str, str] | None:
        if (found := super()._missing()) is not None:
            return found
        if self.state.evidence.forecaster.scores is None:
            return (
                "This run was not scored",
                "Run: python -m sttrans_core evaluate --write --run-dir "  # noqa: ISC004
                f"{self.state.evidence.forecaster.run_dir}",
            )
        return None

    def _draw(self) -> None:
        scores = self.state.evidence.forecaster.scores
        self.filled.object = plot_scores(scores, theme=self.state.theme, **FILL)
