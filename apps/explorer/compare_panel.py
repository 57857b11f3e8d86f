"""The page that puts two runs side by side: one selection, one zoom, one camera, one scale."""

from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param
import xarray as xr
from panel.viewable import Viewer

from explorer.alignment_views import AlignmentView
from explorer.catalog import bundle_of
from explorer.comparison import compare_moment, compare_runs, read_ablations
from explorer.comparison_text import board_html, deltas_html, moment_html, run_html
from explorer.evidence import Evidence
from explorer.figure import SharedZoom
from explorer.state import ExplorerState
from explorer.style import HIGH, LOW, card
from explorer.views import SMALL, MapView, SeriesView
from sttrans_core import VARIANTS
from stviz.labels import describe_lead, minutes_per_step
from stviz.prepare import value_limits
from stviz.theme import get_theme

__all__ = ["ComparePanel"]

DIFFERENCES = {"B minus A": "change", "Error of B minus that of A": "excess"}


class DifferenceView(MapView):
    """Where the forecasts of two runs differ, and which of them was closer."""

    watches = ("node", "theme", "segment")

    def _build(self) -> None:
        super()._build()
        self.kind = pmui.RadioButtonGroup(options=DIFFERENCES, value="change", **SMALL)
        self.kind.param.watch(self.refresh, "value")
        self.tools = (self.kind,)

    def _missing(self) -> tuple[str, str] | None:
        first, second = self.state.evidence, self.evidence
        if (found := super()._missing()) is not None:
            return found
        steps = [each.forecast.sizes["horizon"] for each in (first, second)]
        if steps[0] != steps[1]:
            return (
                "No difference to show",
                f"A forecasts {steps[0]} steps and B {steps[1]}: compare runs of one horizon.",
            )
        return None

    @property
    def variable(self) -> str:
        """What is drawn, as for `plot_forecast_map`."""
        return self.kind.value

    @property
    def reference(self) -> xr.Dataset:
        """The forecast of A."""
        return self.state.evidence.forecast.assign_attrs(model="A")

    def _limits(self) -> tuple[float, float]:
        return value_limits(
            self.evidence.forecast, variable=self.variable, reference=self.reference
        )


class BothSeriesView(SeriesView):
    """What was measured at the selected place, and what both runs forecast."""

    def _others(self) -> dict[str, xr.Dataset | xr.DataArray]:
        other = self.state.compared
        return {} if other is None or other.forecast is None else {"forecast of B": other.forecast}


class ComparePanel(Viewer):
    """Compares the selected run, A, with another one of the same data, B.

    Args:
        state: The selection and its evidence.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(self, state: ExplorerState, **params: Any) -> None:
        super().__init__(state=state, **params)
        self.other = pmui.Select.from_param(
            state.param.other, size="small", margin=(6, 10), width=320
        )
        self.moment = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 10))
        self.names = {letter: pn.pane.HTML("", margin=(4, 10, 0, 10)) for letter in "AB"}
        places, sources = SharedZoom(), SharedZoom()
        here = {"state": state, "page": "Compare"}
        self.views = {
            "map A": MapView(**here, zoom=places),
            "map B": MapView(**here, zoom=places, of="compared"),
            "difference": DifferenceView(**here, zoom=places, of="compared"),
            "series": BothSeriesView(**here),
            "alignment A": AlignmentView(**here, zoom=sources),
            "alignment B": AlignmentView(**here, zoom=sources, of="compared"),
        }
        self.deltas = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 10))
        self.board = pn.pane.HTML("", sizing_mode="stretch_both", margin=(4, 10))
        self._pair: tuple[Any, ...] = ()
        self._table: pd.DataFrame | None = None
        for view in self.views.values():
            view.start()
        state.param.watch(self.refresh, ["evidence", "compared", "segment", "theme", "page"])
        self.refresh()

    def refresh(self, *_events: param.parameterized.Event) -> None:
        """Write the names of the runs, and what is known of their errors."""
        state = self.state
        first, second, colors = state.evidence, state.compared, get_theme(state.theme)
        if state.page != "Compare" or first is None or first.forecaster is None:
            return
        for index, (letter, evidence) in enumerate({"A": first, "B": second}.items()):
            label = "none" if evidence is None else _label(evidence)
            color = colors.categories[index]
            self.names[letter].object = run_html(letter, label, color, colors)
        questions = {name: variant.question for name, variant in VARIANTS.items()}
        dataset = first.request.dataset
        self.board.object = board_html(read_ablations(), dataset, questions, colors)
        self.deltas.visible = self.moment.visible = second is not None
        if second is None or second.forecaster is None:
            return
        pair = (first.forecaster, second.forecaster)
        if pair != self._pair:  # not at each moment: other seeds are read from their folders
            self._pair, self._table = pair, compare_runs(*pair, state.root)
        self.deltas.object = deltas_html(self._table, colors)
        steps = [each.forecast.sizes["horizon"] for each in (first, second)]
        self.moment.visible = steps[0] == steps[1]
        if not self.moment.visible:
            return
        step = first.last_step(state.segment)
        lead = float(first.forecast["lead_minutes"].sel(horizon=step))
        words = describe_lead(lead, step_minutes=minutes_per_step(first.forecast))
        self.moment.object = moment_html(compare_moment(first, second, step), words, colors)

    def __panel__(self) -> pn.viewable.Viewable:
        view, name = self.views, self.names
        cards = [
            card(HIGH, name["A"], view["map A"]),
            card(HIGH, name["B"], view["map B"]),
            card(HIGH, view["difference"]),
            card(HIGH, view["series"]),
            card(HIGH, view["alignment A"]),
            card(HIGH, view["alignment B"]),
            card(LOW, self.deltas, self.moment),
            card(LOW, self.board),
        ]
        return pn.Column(
            self.other,
            pn.FlexBox(*cards, gap="8px", sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=0,
        )


def _label(evidence: Evidence) -> str:
    kind, asked = evidence.forecaster.config.label, evidence.request
    is_bundled = bundle_of(asked.run, asked.dataset)
    return f"{kind}, bundled weights" if is_bundled else f"{asked.run}: {kind}"
