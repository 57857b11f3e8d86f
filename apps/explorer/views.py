"""The views of the evidence: map, series, errors. Those of alignments are in `alignment_views`.

Each keeps one figure alive and changes it in place: a page that takes in new figures holds on to
the old ones, for at least half a minute after the last message.
"""

import asyncio
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from panel.viewable import Viewer

from explorer.area import box_of
from explorer.choices import TAPS
from explorer.evidence import Evidence, sample_test_part
from explorer.figure import Figure, SharedZoom
from explorer.state import ExplorerState
from explorer.text import empty_html
from stviz import (
    node_at,
    nodes_within,
    plot_errors,
    plot_forecast_map,
    plot_scores,
    plot_series,
    prepare_errors,
)
from stviz.areas import few
from stviz.figures import draw_boxes
from stviz.places import prepare_places
from stviz.prepare import value_limits
from stviz.series import update_series
from stviz.theme import get_theme

__all__ = [
    "FILL",
    "SMALL",
    "MapView",
    "ScoresView",
    "SeriesView",
    "View",
    "choose",
    "color_limits",
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
ERRORS = {"By lead time": "lead", "By hour": "hour", "By region": "region"}
FILL = {"width": None, "height": None}
*_, HIDE = TAPS


class View(Viewer):
    """A view of the state that redraws when one of `watches` changes.

    Args:
        state: The selection and its evidence.
        of: Whose evidence: `evidence`, or `compared` for that of the other run.
        page: Where the view is: nothing is drawn while another page is in sight.
        zoom: Ranges that the maps of a comparison share; None for its own.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")
    watches = ("node", "area", "theme")
    tools: tuple[pn.viewable.Viewable, ...] = ()

    def __init__(
        self,
        state: ExplorerState,
        *,
        of: str = "evidence",
        page: str = "Explore",
        zoom: SharedZoom | None = None,
        **params: Any,
    ) -> None:
        super().__init__(state=state, **params)
        self.of, self.page, self.zoom = of, page, zoom
        self._is_stale = True
        self.empty = pn.pane.HTML("", sizing_mode="stretch_both", margin=0, visible=False)
        self._build()

    def start(self) -> None:
        """Draw for the first time, and from then on at every change."""
        self.state.param.watch(self.refresh, ["evidence", "compared", *self.watches])
        self.state.param.watch(self._catch_up, "page")
        self.refresh()

    def _catch_up(self, *_events: param.parameterized.Event) -> None:
        if self._is_stale:
            self.refresh()

    @property
    def evidence(self) -> Evidence | None:
        """What is shown here."""
        return getattr(self.state, self.of)

    def refresh(self, *_events: param.parameterized.Event) -> None:
        """Show the evidence, or say why there is none."""
        self._is_stale = self.state.page != self.page
        if self._is_stale:
            return
        missing = self._missing()
        self.empty.visible, self.filled.visible = missing is not None, missing is None
        if missing is None:
            self._draw()
        else:
            self.empty.object = empty_html(*missing, get_theme(self.state.theme))

    def _missing(self) -> tuple[str, str] | None:
        """Say what is missing, as a title and what to do; None where nothing is."""
        evidence = self.evidence
        if evidence is None and self.of == "compared" and not self.state.other:
            return (
                f"No other run of {self.state.dataset_name}",
                "Train another variant or seed under 'Train', or choose another data set.",
            )
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

    def _selected(self, evidence: Evidence | None = None) -> dict[str, Any]:
        """Give the selection as the drawings take it, of this evidence or of another one."""
        state, evidence = self.state, evidence or self.evidence
        # Another run may have fewer heads or blocks of lead times.
        head = None if state.head == "mean" else int(state.head)
        return {
            "node": state.targets,
            "segment": min(state.segment, evidence.num_segments),
            "head": None if head is None or head >= evidence.num_heads else head,
            "min_weight": state.min_weight,
        }

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(*self.tools, self.filled, self.empty, sizing_mode="stretch_both", margin=0)


class MapView(View):
    """The sensor map; a tap selects the nearest place."""

    watches = ("node", "area", "theme", "segment", "map_variable")

    def _build(self) -> None:
        choices = self.state.param.map_variable, self.state.param.tap
        groups = [pmui.RadioButtonGroup.from_param(each, label="", **SMALL) for each in choices]
        # A drag over the map draws a box around places, instead of moving it.
        self.box = pmui.CheckButtonGroup(options=["Box"], **SMALL)
        self.box.param.watch(lambda _: self._set_drag(self.figure.shown), "value")
        self.tools = (pn.FlexBox(*groups, self.box, sizing_mode="stretch_width", margin=0),)
        self.figure = Figure(self._overlay, zoom=self.zoom, on_drawn=self._set_drag)
        self.filled = self.figure.place
        self._places = pd.DataFrame()

    @property
    def variable(self) -> str:
        """What is drawn, as for `plot_forecast_map`."""
        return self.state.map_variable

    @property
    def reference(self) -> xr.Dataset:
        """What a change is a change from."""
        return self.evidence.as_trained

    def _limits(self) -> tuple[float, float]:
        """Give the ends of the colour scale, the same for both runs that are compared."""
        state = self.state
        shown = [state.evidence, state.compared] if self.page == "Compare" else [self.evidence]
        ends = [color_limits(each, self.variable) for each in shown if each is not None]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _draw(self) -> None:
        state, evidence = self.state, self.evidence
        drawn = (evidence.forecast, self.reference, state.segment, self.variable, state.theme)
        live = None if evidence.zones is not None else self.figure.as_drawn(*drawn)
        if live:  # outlines of zones are too much to be filled in anew
            here = self._places[self._places["node"].isin(state.targets)]
            for label, shown in (("Selected", here), ("Selected names", few(here))):
                live.fill(label, {name: shown[name].to_numpy() for name in shown})
        else:
            asked = evidence.request
            self.figure.draw(*drawn, kind=(asked.dataset, bool(asked.hidden)))

    def _set_drag(self, figure: Any) -> None:
        if figure is not None:
            draw_boxes(figure, wanted=bool(self.box.value))

    def _overlay(self) -> hv.Overlay:
        state = self.state
        overlay = plot_forecast_map(
            self.evidence.forecast,
            limits=self._limits(),
            horizon=self.evidence.last_step(min(state.segment, self.evidence.num_segments)),
            variable=self.variable,
            reference=self.reference,
            zones=self.evidence.zones,
            selected=state.targets,
            hidden=self.evidence.request.hidden,
            on_tap=self._on_tap,
            on_box=self._on_box,
            theme=state.theme,
            **FILL,
        )
        self._places = prepare_places(self.evidence.forecast, zones=self.evidence.zones)
        return overlay

    def _on_tap(self, x: float, y: float) -> None:
        if self.state.evidence is not None:
            choose(self.state, node_at(self.state.evidence.dataset, x=x, y=y))

    def _on_box(self, bounds: tuple[float, float, float, float]) -> None:
        state = self.state
        if state.evidence is None:
            return
        places = nodes_within(state.evidence.dataset, bounds=bounds)
        if not places:
            state.notice = "No place lies in this box. Draw it around at least one."
        elif state.tap == HIDE:
            state.hide(places)
        else:
            with pn.io.hold():
                state.param.update(area=box_of(bounds), notice="")


def choose(state: ExplorerState, node: str) -> None:
    """Do with a place what a tap on it is to do.

    Args:
        state: The selection.
        node: The place that was tapped.
    """
    if state.tap == HIDE:
        state.hide([node])
    else:
        select(state, node)


def select(state: ExplorerState, node: str) -> None:
    """Select a place and send all views to the browser in one go, which is faster.

    Args:
        state: The selection.
        node: The place.
    """
    with pn.io.hold():
        state.param.update(node=node, area="", notice="")


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


class SeriesView(View):
    """What was measured and forecast at the selected place."""

    def _build(self) -> None:
        self.figure = Figure(self._overlay)
        self.filled = self.figure.place

    def _others(self) -> dict[str, xr.Dataset | xr.DataArray]:
        """Give the forecasts that are drawn beside this one, by name."""
        evidence = self.evidence
        as_trained = {"as trained": evidence.as_trained} if evidence.request.is_switched else {}
        return {
            SHORT.get(name, name): each for name, each in evidence.baselines.items()
        } | as_trained

    def _content(self) -> dict[str, Any]:
        evidence = self.evidence
        return {
            "forecast": evidence.forecast,
            "node": self.state.targets,
            "dataset": evidence.dataset,
            "baselines": self._others(),
        }

    def _draw(self) -> None:
        others = self._others()
        several = len(self.state.targets) > 1  # have no band
        drawn = (self.evidence.forecast, *others.values(), several, self.state.theme)
        if live := self.figure.as_drawn(*drawn):
            update_series(live, **self._content())
        else:
            self.figure.draw(*drawn, kind=(*others, several))

    def _overlay(self) -> hv.Overlay:
        return plot_series(**self._content(), theme=self.state.theme, **FILL)


class ScoresView(View):
    """Test error of the run, beside the baselines: by lead time, by hour, by region."""

    watches = ("theme",)

    def _build(self) -> None:
        self.kind = pmui.RadioButtonGroup(options=ERRORS, value="lead", **SMALL)
        self.kind.param.watch(self.refresh, "value")
        self.tools = (self.kind,)
        self.figure = Figure(self._overlay)
        self.filled = self.figure.place
        self._sampled: Any = None  # the run that was last asked for its errors
        self._sample: dict[str, Any] | str = ""  # what `plot_errors` takes, or why there is none

    def _missing(self) -> tuple[str, str] | None:
        if (found := super()._missing()) is not None:
            return found
        evidence, by = self.evidence, self.kind.value
        if by == "lead" and evidence.forecaster.scores is None:
            return (
                "This run was not scored",
                "Run: python -m sttrans_core evaluate --write --run-dir "  # noqa: ISC004
                f"{evidence.forecaster.run_dir}",
            )
        return None if by == "lead" else self._missing_groups()

    def _missing_groups(self) -> tuple[str, str] | None:
        """Say why there are no errors by hour or region; have moments forecast if none are yet."""
        forecaster = self.evidence.forecaster
        if self._sampled is not forecaster:
            self._sampled, self._sample = forecaster, ""
            pn.state.execute(self._take_sample)
        if not self._sample:
            return "Forecasting", "Moments all over the test part are being forecast."
        if isinstance(self._sample, str):
            return "No such errors", self._sample
        try:
            prepare_errors(**self._sample, by=self.kind.value)
        except ValueError as error:
            return "No such errors", str(error)
        return None

    async def _take_sample(self) -> None:
        evidence = self.evidence
        try:
            forecast, baselines = await asyncio.to_thread(
                sample_test_part, evidence.request.dataset, evidence.forecaster
            )
        except (ValueError, OSError, RuntimeError) as error:
            sample: dict[str, Any] | str = str(error)
        else:
            sample = {"forecast": forecast, "baselines": baselines, "zones": evidence.zones}
        if self._sampled is evidence.forecaster:
            self._sample = sample
            self.refresh()

    def _draw(self) -> None:
        self.figure.draw(kind=(self.kind.value, self.evidence.request.dataset))

    def _overlay(self) -> hv.Overlay:
        by, theme = self.kind.value, self.state.theme
        if by == "lead":
            return plot_scores(self.evidence.forecaster.scores, theme=theme, **FILL)
        return plot_errors(**self._sample, by=by, theme=theme, **FILL)
