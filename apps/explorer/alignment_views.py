"""The views of an alignment: space-time cube, map, profiles, and the table of sources."""

from functools import partial

import holoviews as hv
import pandas as pd
import panel as pn
import panel_material_ui as pmui
import param

from explorer.choices import PICTURES
from explorer.deletion import DeletionTest
from explorer.evidence import Evidence
from explorer.figure import Figure
from explorer.plotly_figure import PlotlyFigure
from explorer.text import sources_html, trust_html
from explorer.views import FILL, SMALL, View, choose
from stviz import (
    plot_alignment_heads,
    plot_alignment_map,
    plot_alignment_profile,
    prepare_alignment,
)
from stviz.alignment_cube import describe_cube
from stviz.alignment_map import update_alignment_map
from stviz.places import noun_of, prepare_places
from stviz.theme import get_theme

__all__ = ["AlignmentView", "SourcesView"]

CUBED, MAPPED, *_, HEADS = PICTURES
PROFILES = {"Distance": "distance", "Delay": "delay"}
# The height that the legend is placed for; the browser fits the cube to its card.
CUBE = {"width": None, "height": 340}


class _AlignmentViewBase(View):
    watches = ("node", "area", "theme", "segment", "head", "min_weight", "picture")

    def _missing(self) -> tuple[str, str] | None:
        evidence = self.evidence
        if (found := super()._missing()) is not None:
            return found
        if evidence.alignment is None:
            return (
                f"'{evidence.request.variant}' has no alignment",
                "It was trained without looking at other places. Its forecast is on the map; "  # noqa: ISC004
                "choose another variant to see sources.",
            )
        if not evidence.has_alignment(self.state.targets):
            return "Aligning", "The sources of this place are being computed."
        return None


class AlignmentView(_AlignmentViewBase):
    """Where and when the forecast looked: the cube and the map, with the line on trust."""

    def _build(self) -> None:
        state = self.state
        self.tools = (pmui.RadioButtonGroup.from_param(state.param.picture, label="", **SMALL),)
        self.cube = PlotlyFigure(sizing_mode="stretch_both", margin=0, camera=state.camera)
        self.cube.link(state, camera="camera", bidirectional=True)
        self.cube.param.watch(self._on_click, "clicked")
        self.deletion = DeletionTest(state, self.of, self.page, self._say_trust)
        self.map = Figure(self._overlay, zoom=self.zoom)
        self._has_focus = False
        self.profiles = {kind: Figure(partial(self._profile, by)) for kind, by in PROFILES.items()}
        self.profiles[HEADS] = Figure(self._heads)
        # Room for three lines, the last of which comes later than the picture.
        self.trust = pn.pane.HTML(
            "", sizing_mode="stretch_width", margin=(0, 10, 4, 10), styles={"min-height": "62px"}
        )
        self.filled = pn.Column(
            self.cube, self.map.place, *(each.place for each in self.profiles.values()), self.trust,
            sizing_mode="stretch_both", margin=0,
        )  # fmt: skip

    def _draw(self) -> None:
        state, evidence = self.state, self.evidence
        kind = state.picture
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
                beside=self._beside(), theme=state.theme, **CUBE,
            )  # fmt: skip
        elif kind == MAPPED:
            drawn = (evidence.dataset, state.theme)
            live = None if evidence.zones is not None else self.map.as_drawn(*drawn)
            if live:
                update_alignment_map(
                    live, sources, evidence.alignment, dataset=evidence.dataset,
                    beside=self._beside(), focus=self._has_focus,
                )  # fmt: skip
            else:
                self.map.draw(*drawn, kind=evidence.request.dataset)
        self._sources = sources
        self.deletion.begin()
        self._say_trust()

    def _say_trust(self) -> None:
        self.trust.object = trust_html(
            self.evidence, self._sources, get_theme(self.state.theme), self.deletion.found,
            region=len(self.state.region),
        )  # fmt: skip

    def _on_click(self, event: param.parameterized.Event) -> None:
        """Take a source that was clicked for a place that was tapped on the map."""
        evidence, place = self.evidence, event.new[0]
        if evidence is not None and place in evidence.dataset["node"].values:
            choose(self.state, place)

    def _other(self) -> Evidence | None:
        """Give the evidence that this one is compared with, where it knows the place."""
        state = self.state
        other = state.compared if self.of == "evidence" else state.evidence
        is_shown = self.page == "Compare" and other is not None
        return other if is_shown and other.has_alignment(state.targets) else None

    def _beside(self) -> pd.DataFrame | None:
        other = self._other()
        return (
            None if other is None else prepare_alignment(other.alignment, **self._selected(other))
        )

    def _profile(self, by: str) -> hv.Overlay:
        selected = self._selected()
        return plot_alignment_profile(
            self.evidence.alignment, by=by, node=selected["node"], segment=selected["segment"],
            theme=self.state.theme, **FILL,
        )  # fmt: skip

    def _heads(self) -> hv.Overlay:
        selected = self._selected()
        return plot_alignment_heads(
            self.evidence.alignment, node=selected["node"], segment=selected["segment"],
            theme=self.state.theme, **FILL,
        )  # fmt: skip

    def _overlay(self) -> hv.Overlay:
        evidence, other = self.evidence, self._other()
        # Sources of a cell are near, and the map may be the globe.
        self._has_focus = noun_of(prepare_places(evidence.dataset)) == "cell"
        return plot_alignment_map(
            evidence.alignment,
            **self._selected(),
            dataset=evidence.dataset,
            zones=evidence.zones,
            beside=None if other is None else other.alignment,
            focus=self._has_focus,
            theme=self.state.theme,
            **FILL,
        )


class SourcesView(_AlignmentViewBase):
    """The Top-k as a table."""

    def _build(self) -> None:
        self.filled = pn.pane.HTML("", sizing_mode="stretch_both", margin=0)

    def _draw(self) -> None:
        self.filled.object = sources_html(
            self.evidence, self._selected(), get_theme(self.state.theme)
        )
