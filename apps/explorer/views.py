"""The views of the evidence: map, series, space-time cube, table.

Each keeps one figure alive and changes it in place: a page that takes in new figures holds on to
the old ones, for at least half a minute after the last message.
"""

from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.evidence import Evidence
from explorer.figure import Figure
from explorer.plotly_figure import PlotlyFigure
from explorer.state import ExplorerState
from explorer.text import empty_html, sources_html, trust_html
from stviz import (
    node_at,
    plot_alignment_map,
    plot_alignment_profile,
    plot_forecast_map,
    plot_scores,
    plot_series,
    prepare_alignment,
)
from stviz.alignment_cube import describe_cube
from stviz.alignment_map import update_alignment_map
from stviz.places import LABELS
from stviz.prepare import value_limits
from stviz.series import update_series
from stviz.theme import get_theme

__all__ = [
    "AlignmentView",
    "MapView",
    "ScoresView",
    "SeriesView",
    "SourcesView",
    "select",
]

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
SHORT = {"last observed value": "last observed", "historical average": "hist. average"}
CUBED, MAPPED = "Space-time cube", "On the map"
PROFILES = {"Distance": "distance", "Delay": "delay"}
FILL = {"width": None, "height": None}
# The height that the legend is placed for; the browser fits the cube to its card.
CUBE = {"width": None, "height": 340}


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
        """Draw for the first time, and from then on at every change."""
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
        self.figure = Figure(self._overlay)
        self.filled = self.figure.place
        self._places = pd.DataFrame()

    def _draw(self) -> None:
        state, evidence = self.state, self.state.evidence
        drawn = (evidence.forecast, state.segment, state.map_variable, state.theme)
        live = None if evidence.zones is not None else self.figure.as_drawn(*drawn)
        if live:  # outlines of zones are too much to be filled in anew
            here = self._places[self._places["node"] == state.node]
            for label in ("Selected", "Selected names"):
                live.fill(label, {name: here[name].to_numpy() for name in here})
        else:
            asked = evidence.request
            self.figure.draw(*drawn, kind=(asked.dataset, bool(asked.hidden)))

    def _overlay(self) -> hv.Overlay:
        state = self.state
        overlay = plot_forecast_map(
            state.evidence.forecast,
            limits=color_limits(state.evidence, state.map_variable),
            horizon=state.evidence.last_step(state.segment),
            variable=state.map_variable,
            reference=state.evidence.as_trained,
            zones=state.evidence.zones,
            selected=state.node,
            hidden=state.evidence.request.hidden,
            on_tap=self._on_tap,
            theme=state.theme,
            **FILL,
        )
        self._places = next(layer.data for layer in overlay if layer.label in LABELS.values())
        return overlay

    def _on_tap(self, x: float, y: float) -> None:
        if self.state.evidence is not None:
            select(self.state, node_at(self.state.evidence.dataset, x=x, y=y))


def select(state: ExplorerState, node: str) -> None:
    """Select a place and send all views to the browser in one go, which is faster.

    Args:
        state: The selection.
        node: The place.
    """
    with pn.io.hold():
        state.node = node


def color_limits(evidence: Evidence, variable: str) -> tuple[float, float]:
    """Give the ends of a colour scale that stays the same at all moments of a dataset.

    Args:
        evidence: The readings, and for changes the forecast and that as trained.
        variable: What the map shows, as for `plot_forecast_map`.

    Returns:
        The middle 98 % of the readings; for errors and widths a part of their span. For changes,
        which may be of any size, what there is now, but not below a hundredth of that span.
    """
    readings = evidence.dataset["target"].values
    low, high = np.nanpercentile(readings[:: max(1, len(readings) // 500)], [1, 99])
    span = float(high - low) or 1.0
    if variable == "error":
        return -span / 3, span / 3
    if variable == "change":
        _, most = value_limits(evidence.forecast, variable=variable, reference=evidence.as_trained)
        most = max(most if evidence.request.is_switched else 0.0, span / 100)
        return -most, most
    return (0.0, span) if variable == "width" else (float(low), float(low) + span)


class SeriesView(_View):
    """What was measured and forecast at the selected place."""

    def _build(self) -> None:
        self.figure = Figure(self._overlay)
        self.filled = self.figure.place

    def _content(self) -> dict[str, Any]:
        evidence = self.state.evidence
        as_trained = {"as trained": evidence.as_trained} if evidence.request.is_switched else {}
        return {
            "forecast": evidence.forecast,
            "node": self.state.node,
            "dataset": evidence.dataset,
            "baselines": {SHORT.get(k, k): v for k, v in evidence.baselines.items()} | as_trained,
        }

    def _draw(self) -> None:
        drawn = (self.state.evidence.forecast, self.state.theme)
        if live := self.figure.as_drawn(*drawn):
            update_series(live, **self._content())
        else:
            self.figure.draw(*drawn, kind=self.state.evidence.request.is_switched)

    def _overlay(self) -> hv.Overlay:
        return plot_series(**self._content(), theme=self.state.theme, **FILL)


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
        self.kind = pmui.RadioButtonGroup(options=[CUBED, MAPPED, *PROFILES], **SMALL)
        self.kind.value = CUBED
        self.kind.param.watch(self.refresh, "value")
        self.tools = (self.kind,)
        self.cube = PlotlyFigure(sizing_mode="stretch_both", margin=0)
        self.map = Figure(self._overlay)
        self.profiles = {kind: Figure(partial(self._profile, by)) for kind, by in PROFILES.items()}
        self.trust = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 10, 4, 10))
        self.filled = pn.Column(
            self.cube, self.map.place, *(each.place for each in self.profiles.values()), self.trust,
            sizing_mode="stretch_both", margin=0,
        )  # fmt: skip

    def _draw(self) -> None:
        state, evidence = self.state, self.state.evidence
        kind = self.kind.value
        self.cube.visible, self.map.place.visible = kind == CUBED, kind == MAPPED
        many = evidence.alignment.sizes["query_node"] > 1
        for name, profile in self.profiles.items():
            profile.place.visible = kind == name
            if kind == name or profile.is_out_of(state.theme):
                profile.draw(state.theme, kind=(evidence.num_heads, many))
        sources = prepare_alignment(evidence.alignment, **self._selected())
        if kind == CUBED:
            self.cube.object = describe_cube(
                sources, evidence.alignment, dataset=evidence.dataset, zones=evidence.zones,
                theme=state.theme, **CUBE,
            )  # fmt: skip
        elif kind == MAPPED:
            drawn = (evidence.dataset, state.theme)
            live = None if evidence.zones is not None else self.map.as_drawn(*drawn)
            if live:
                update_alignment_map(live, sources, evidence.alignment, dataset=evidence.dataset)
            else:
                self.map.draw(*drawn, kind=evidence.request.dataset)
        self.trust.object = trust_html(evidence, sources, get_theme(state.theme))

    def _profile(self, by: str) -> hv.Overlay:
        state = self.state
        return plot_alignment_profile(
            state.evidence.alignment, by=by, node=state.node, segment=state.segment,
            theme=state.theme, **FILL,
        )  # fmt: skip

    def _overlay(self) -> hv.Overlay:
        state, evidence = self.state, self.state.evidence
        return plot_alignment_map(
            evidence.alignment,
            **self._selected(),
            dataset=evidence.dataset,
            zones=evidence.zones,
            theme=state.theme,
            **FILL,
        )


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
        self.figure = Figure(self._overlay)
        self.filled = self.figure.place

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
        self.figure.draw()

    def _overlay(self) -> hv.Overlay:
        scores = self.state.evidence.forecaster.scores
        return plot_scores(scores, theme=self.state.theme, **FILL)
