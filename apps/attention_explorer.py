"""The explorer: can I trust this forecast, and what is it based on?

Serve it with `panel serve apps/attention_explorer.py --show`. Environment: `STTRANS_DATA` names the
folder of real data, `STTRANS_RUNS` the folder of trained runs (`runs` where it is not set),
`STTRANS_TRAININGS` how many trainings compute at the same time (one where it is not set), and
`STTRANS_SCHEDULERS` the dask schedulers that may train, as in `tcp://10.0.0.1:8786`.
"""

import asyncio
from threading import Thread
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.themes import Theme
from explorer import keys, plotly_figure, upload  # noqa: F401 - the page learns of these parts now
from explorer.catalog import find_runs
from explorer.choices import LINKED, PAGES, SWITCHES, describe, plain
from explorer.state import ExplorerState
from explorer.style import CARDS, ON_BAR, THEMES, card, waiting
from panel.util import edit_readonly
from panel.viewable import Viewer

# Parameters that forecast and alignment depend on; the others only slice what is there.
COMPUTED = ["dataset_name", "run", "variant", "step", "node", "area", "page", "other", *SWITCHES]

BARE = {"sizing_mode": "stretch_width", "margin": 0}


class Explorer:
    """One session's page: shown at once, filled as soon as the model is loaded.

    Args:
        state: The selection; nothing is computed before `start`.
    """

    def __init__(self, state: ExplorerState) -> None:
        self.state = state
        self.alert = pmui.Alert(
            object="", severity="error", visible=False, closeable=False,
            sizing_mode="stretch_width", margin=(0, 6, 6, 6),
        )  # fmt: skip
        self.cards = {name: card(height) for name, height in CARDS.items()}
        self.views: dict[str, Any] = {}
        self.pages = {name: pn.Column(**BARE, visible=False) for name in PAGES}
        self.pages["Explore"].append(pn.FlexBox(*self.cards.values(), gap="8px", **BARE))
        self.choice = pmui.RadioButtonGroup.from_param(
            state.param.page, label="", size="small", color="default", margin=(0, 16), sx=ON_BAR
        )
        self.controls = pn.Column(waiting("The controls appear with the model."), **BARE)
        self.device = pmui.Chip(label="loading", size="small", variant="outlined")
        # A phone has no room for it, and its drawer of controls would hide the views.
        self.roomy = pmui.BreakpointSwitcher(
            breakpoint="sm", large=self.device, small=pn.Spacer(width=0)
        )
        self.page = pmui.Page(
            title="ST-Trans explorer",
            header=[
                pn.Row(
                    self.choice,
                    pn.HSpacer(),
                    self.roomy,
                    sizing_mode="stretch_width",
                    align="center",
                )
            ],
            sidebar=[self.controls],
            sidebar_width=310,
            main=[
                pn.Column(self.alert, *self.pages.values(), sizing_mode="stretch_width", margin=6)
            ],
            theme_config=THEMES,
            busy_indicator=None,
        )
        with edit_readonly(self.page):
            # Told at each event that the server is busy, the page would draw itself again.
            self.page.busy = False
        self.page.param.watch(self._on_theme, "dark_theme")
        self.state.param.watch(self._turn, "page")
        self._turn()
        self.state.theme = "dark" if self.page.dark_theme else "light"  # a link may ask for it
        self._computing = self._again = False

    async def start(self) -> None:
        """Load the packages and the first evidence beside the event loop, then draw."""
        try:
            await asyncio.to_thread(_load_packages)
            from explorer.opened import dataset_names

            names = dataset_names(self.state.root)
            query = dict(pn.state.location.query_params) if pn.state.location else {}
            self.state.connect(names, query)
        except Exception as error:  # noqa: BLE001 - whatever fails becomes a message on the page
            self._complain(describe(error))
            return
        self._make_room()  # the page listens by now
        self.roomy.param.watch(self._make_room, "current")
        await self.refresh()
        if self.state.evidence is not None and self.state.needs_update():
            await self.refresh()  # with the switches of a link, which had to wait for the run
        first = next(iter(names))
        if self.state.evidence is None and self.state.dataset_name != first:
            self.state.notice = self.state.problem  # what the link asks for cannot be shown
            self.state.dataset_name = first
            await self.refresh()
        self._fill()
        self.state.param.watch(self._on_change, COMPUTED)
        self.state.param.watch(self._on_message, ["problem", "notice", "evidence"])
        self._on_message()
        self._link()

    async def refresh(self) -> None:
        """Compute what is selected beside the event loop; the last of several requests wins."""
        if self._computing:
            self._again = True
            return
        self._computing = True
        self.device.label = "computing"
        self._veil(self.state.shows_another_dataset())
        try:
            while True:
                self._again = False
                asked = self._asked()
                try:
                    found = await asyncio.to_thread(self.state.compute)
                except Exception as error:  # noqa: BLE001 - a damaged file must not end the page
                    self.state.problem = describe(error)
                    self.state.go_back()
                    # Nothing is left to compute again, which would take the message away.
                    self._again = self._again and self.state.needs_update()
                else:
                    # A choice that was made meanwhile must not be taken back by older evidence.
                    self._again = self._again or self._asked() != asked
                    if not self._again:
                        with pn.io.hold(freeze=True):
                            self.state.show(*found)
                if not self._again:
                    break
        finally:
            self._computing = False
            self._veil(False)
            self._name_device()

    def _asked(self) -> tuple[Any, ...]:
        """Give what is to be computed, whatever place is selected."""
        asked = self.state.request(), self.state.request_of_other()
        return tuple(request and request.at("") for request in asked)

    def _veil(self, is_on: bool) -> None:
        # What is shown must not be taken for what was chosen; else it stays in sight.
        for place in self.cards.values():
            if place.loading != is_on:
                place.loading = is_on

    async def _on_change(self, *_events: Any) -> None:
        if self.state.needs_update():
            await self.refresh()

    def _fill(self) -> None:
        from explorer.alignment_views import AlignmentView, SourcesView
        from explorer.controls import Controls
        from explorer.views import MapView, ScoresView, SeriesView

        self.controls[:] = [Controls(self.state, self.cards)]
        kinds = (MapView, AlignmentView, SeriesView, SourcesView, ScoresView)
        for (name, place), kind in zip(self.cards.items(), kinds, strict=True):
            view = self.views[name] = kind(self.state)
            view.start()
            place[:] = [view]
        self._turn()

    def _turn(self, *_events: Any) -> None:
        wanted = self.state.page
        for name, page in self.pages.items():
            page.visible = name == wanted
        if self.views and not self.pages[wanted].objects:
            self.pages[wanted].append(self._build(wanted))

    def _build(self, name: str) -> Viewer:
        from explorer.about import AboutView
        from explorer.compare_panel import ComparePanel
        from explorer.training_panel import TrainingPanel
        from explorer.your_data_panel import YourDataPanel

        if name == "Compare":
            return ComparePanel(self.state)
        if name == "Train":
            shown = self.pages[name].param.visible
            return TrainingPanel(self.state, on_open=self._open_run, shown=shown)
        if name == "Your data":
            return YourDataPanel(self.state, on_open=self._open_data)
        return AboutView(self.state)

    def _open_data(self, dataset: str, page: str, run: str) -> None:
        self.state.dataset_name, self.state.page = dataset, page
        self.state.run = run or self.state.run

    def _open_run(self, name: str) -> None:
        run = next((run for run in find_runs(self.state.root) if run.name == name), None)
        if run is None or not run.has_weights:
            self._complain(f"The run {name!r} has no weights yet. Wait until it has finished.")
            return
        self.state.refresh_runs()
        self._open_data(run.dataset, "Explore", name)

    def _on_theme(self, event: Any) -> None:
        with pn.io.hold(freeze=True):
            self.state.theme = "dark" if event.new else "light"

    def _make_room(self, *_events: Any) -> None:
        self.page.sidebar_open = self.roomy.current is not self.roomy.small

    def _on_message(self, *_events: Any) -> None:
        state = self.state
        self._complain(state.problem or state.notice, "error" if state.problem else "warning")

    def _name_device(self) -> None:
        evidence = self.state.evidence
        forecaster = None if evidence is None else evidence.forecaster
        self.device.label = f"device: {forecaster.device}" if forecaster else "no run"

    def _complain(self, text: str, severity: str = "error") -> None:
        self.alert.param.update(object=plain(text), severity=severity, visible=bool(text))

    def _link(self) -> None:
        location = pn.state.location
        if location is not None:
            location.update_query(
                **{key: getattr(self.state, name) for name, key in LINKED.items()}
            )
            location.sync(self.state, LINKED)


def _load_packages() -> None:
    """Import what draws and computes, beside the event loop."""
    from explorer import controls, evidence  # noqa: F401 - the views come with the controls


def create_app(state: ExplorerState | None = None) -> pmui.Page:
    """Build the page of one session.

    Args:
        state: The selection; a new one where it is None.

    Returns:
        The page; it fills itself once a browser has opened it.
    """
    explorer = Explorer(state or ExplorerState())
    pn.state.onload(explorer.start)
    # Meanwhile the browser loads the page.
    Thread(target=_load_packages, daemon=True).start()
    return explorer.page


if pn.state.served:
    pn.extension("plotly")
    # Named here, these parts of a figure are left by the page as stviz has coloured them.
    own = ("Axis", "BaseColorBar", "Figure", "Grid", "Legend", "Title")
    pn.state.curdoc.theme = Theme(json={"attrs": {name: {} for name in own}})
    create_app().servable()
