"""The explorer in a real browser: linked views, switches, links, training, both themes."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from explorer_runs import train_runs
from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

APP = Path(__file__).parents[2] / "apps" / "attention_explorer.py"
PATIENCE = 120  # seconds, on a busy machine
PAGES = {"Explore": "Band width", "Train": "Epochs at most"}  # what can be read on each

# Where the sensors of the map are on the screen, by id.
SENSORS = """() => {
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type !== 'Figure') continue
    const drawn = model.renderers.find(
      r => r.data_source?.data.node && r.data_source.data.value && r.data_source.data.forecast)
    const view = drawn && Bokeh.index.find_one_by_id(model.id)
    if (!view) continue
    const data = drawn.data_source.data, corner = view.canvas_view.el.getBoundingClientRect()
    return Object.fromEntries(Array.from(data.node, (node, i) => [node, [
      corner.x + view.frame.x_scale.compute(data.x[i]),
      corner.y + view.frame.y_scale.compute(data.y[i]),
    ]]))
  }
}"""
TITLES = """() => Array.from(Bokeh.documents[0]._all_models.values())
  .filter(model => model.type === 'Figure').map(model => model.title.text)"""
MODELS = """() => {
  const count = {}
  for (const model of Bokeh.documents[0]._all_models.values())
    count[model.type] = (count[model.type] ?? 0) + 1
  return count
}"""
FIGURE = """(words) => Array.from(Bokeh.documents[0]._all_models.values())
  .find(model => model.type === 'Figure' && model.title.text.includes(words))"""
SERIES = f"""() => {{
  const series = ({FIGURE})('Speed at')
  const lines = series.renderers.filter(r => r.glyph?.type === 'Line')
  const values = lines.flatMap(r => Array.from(r.data_source.data.value)).filter(isFinite)
  const {{start, end}} = series.y_range
  return {{title: series.title.text, low: start, high: end, values}}
}}"""
EPOCHS = f"""() => Math.max(
  ...({FIGURE})('Training').renderers.map(r => r.data_source?.data.x?.length ?? 0))"""


class Explorer:
    """What a reader sees of the page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.guard = None
        page.set_default_timeout(1000 * PATIENCE)

    def open(self, query: str = "") -> "Explorer":
        self.page.goto(self.url + query)
        self.page.locator(".js-plotly-plot canvas").first.wait_for()
        return self

    def home(self) -> "Explorer":
        """Show the run `full` at AE03, wherever the test before has left the page."""
        if not self.page.url.startswith(self.url):
            self.open("?run=full&node=AE03")
        self.turn_to("Explore")
        if "run=full" not in self.page.url:
            self.choose("Run", "full (full)")
        self.until(lambda: self.cube() is not None)
        if "AE03" not in self.cube():
            self.tap("AE03")
        self.until(lambda: "AE03" in self.cube())
        return self

    def cube(self, what: str = "e => e.layout.title.text") -> Any:
        return self.page.locator(".js-plotly-plot").evaluate(what)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain; the cube says {self.cube()!r}, {self.titles()}")
            self.page.wait_for_timeout(50)

    def titles(self) -> list[str]:
        return self.page.evaluate(TITLES)

    def models(self) -> dict[str, int]:
        """Count what the page holds, by kind, whether it is shown or not."""
        return self.page.evaluate(MODELS)

    def looked_at(self, node: str) -> bool:
        # Titles are wrapped at the width of their pane.
        return any(f"for {node} looked at" in " ".join(title.split()) for title in self.titles())

    def tap(self, node: str) -> None:
        before, spot = None, self.page.evaluate(SENSORS)[node]
        # A page that was just turned to still finds its place.
        while spot != before:
            self.page.wait_for_timeout(200)
            before, spot = spot, self.page.evaluate(SENSORS)[node]
        self.page.mouse.click(*spot)

    def choose(self, label: str, option: str) -> None:
        # The accessible name of a selector is its label and its description.
        name = re.compile(f"^{label}\\b")
        self.page.get_by_role("combobox", name=name).first.click()
        self.page.get_by_role("menuitem", name=option).click()

    def turn_to(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.sees(PAGES[name])

    def sees(self, words: str | re.Pattern[str]) -> None:
        self.page.get_by_text(words).locator("visible=true").first.wait_for()


@pytest.fixture(scope="module")
def shared(
    browser: Browser, serve_app: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Explorer]:
    """Open one page for all tests of this file: loading it is what takes time."""
    root = tmp_path_factory.mktemp("runs") / "copy"
    shutil.copytree(train_runs(tmp_path_factory), root)
    served = serve_app(APP, STTRANS_RUNS=str(root))
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Explorer(context.new_page(), served.url)
    context.close()


@pytest.fixture
def explorer(shared: Explorer, page_guard: type) -> Iterator[Explorer]:
    shared.guard = shared.guard or page_guard(shared.page)
    yield shared
    shared.guard.check()


def test_a_tap_on_the_map_moves_every_view(explorer):
    explorer.home()
    sources = explorer.cube("e => JSON.stringify(e.data.map(d => d.customdata))")
    explorer.tap("BN05")
    explorer.until(lambda: "BN05" in explorer.cube())
    assert explorer.cube("e => JSON.stringify(e.data.map(d => d.customdata))") != sources
    explorer.until(lambda: any(title.endswith("at BN05") for title in explorer.titles()))
    place = explorer.page.get_by_role("combobox", name="Place")
    explorer.until(lambda: place.input_value() == "BN05")
    explorer.until(lambda: "node=BN05" in explorer.page.url)
    # One WebGL context for good, however often the cube changes.
    assert explorer.page.locator(".js-plotly-plot").count() == 1


def test_live_switches_change_the_alignment(explorer):
    explorer.home()
    rows = explorer.page.locator("td.rank")
    explorer.until(lambda: rows.count() == 16)
    explorer.sees("as trained")
    slider = explorer.page.get_by_role("slider", name="k: sources kept")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowLeft")
    explorer.until(lambda: rows.count() == 12)
    explorer.sees("switched live")
    explorer.until(lambda: "k=12" in explorer.page.url)
    explorer.page.get_by_role("switch", name="Local window").click()
    explorer.until(lambda: explorer.page.get_by_text("window", exact=True).count() == 0)
    explorer.page.get_by_role("switch", name="Local window").click()
    slider.press("End")
    explorer.until(lambda: rows.count() == 16)


def test_another_run_and_back(explorer):
    explorer.home().choose("Run", "no_alignment (no_alignment)")
    explorer.sees("'no_alignment' has no alignment")
    explorer.choose("Run", "full (full)")
    explorer.page.get_by_text("has no alignment").locator("visible=true").first.wait_for(
        state="hidden"
    )
    explorer.until(lambda: explorer.page.locator("td.rank").count() == 16)


def test_the_series_has_axes_of_its_own_place(explorer):
    explorer.home()
    for node in ("BN05", "AE03"):
        explorer.tap(node)
        explorer.until(lambda node=node: explorer.page.evaluate(SERIES)["title"].endswith(node))
        shown = explorer.page.evaluate(SERIES)
        assert shown["low"] <= min(shown["values"])
        assert shown["high"] >= max(shown["values"])


def test_the_theme_reaches_every_figure(explorer):
    explorer.home()
    models = explorer.models()
    paper = "e => [e.layout.paper_bgcolor, e.layout.title.x]"
    fills = """() => Array.from(Bokeh.documents[0]._all_models.values())
      .filter(model => model.type === 'Figure').map(model => model.border_fill_color)"""
    toggle = explorer.page.get_by_role("button", name="Toggle theme")
    for color in ("#14171a", "#ffffff"):
        toggle.click()
        explorer.until(lambda color=color: set(explorer.page.evaluate(fills)) == {color})
        explorer.until(lambda color=color: explorer.cube(paper) == [color, 0.01])
        # The page styles what it shows of its own accord, but must not have the last word.
        explorer.page.wait_for_timeout(1000)
        assert set(explorer.page.evaluate(fills)) == {color}
        assert explorer.cube(paper) == [color, 0.01]
    assert explorer.models().keys() == models.keys()
    assert explorer.models()["Figure"] == models["Figure"]


def test_nothing_piles_up_over_many_selections(explorer):
    page = explorer.home().page
    # The alignment map is built when it is first asked for.
    page.get_by_role("button", name="On the map").click()
    explorer.until(lambda: explorer.looked_at("AE03"))
    before = explorer.models()
    for _ in range(6):
        for node in ("BN05", "AE03"):
            explorer.tap(node)
            explorer.until(lambda node=node: explorer.looked_at(node))
    page.get_by_role("button", name="Space-time cube").click()
    for _ in range(6):
        for node in ("BN05", "AE03"):
            explorer.tap(node)
            explorer.until(lambda node=node: node in explorer.cube())
    explorer.choose("Run", "no_alignment (no_alignment)")
    explorer.sees("'no_alignment' has no alignment")
    explorer.choose("Run", "full (full)")
    explorer.until(lambda: page.locator("td.rank").count() == 16)
    after = explorer.models()
    assert after["Figure"] == before["Figure"]
    # Two shifts of labels at each map that is drawn anew stay until the page comes to rest.
    grown = {kind: after[kind] - before.get(kind, 0) for kind in after if kind != "Dodge"}
    assert sum(grown.values()) < 12, {kind: count for kind, count in grown.items() if count}


def test_training_starts_progresses_and_is_cancelled(explorer):
    page = explorer.home().page
    explorer.turn_to("Train")
    page.get_by_label("Epochs at most").fill("500")
    page.get_by_label("Windows per epoch (0: all)").fill("32")
    page.get_by_label("Name of the run").fill("from-the-page")
    page.get_by_label("Name of the run").press("Enter")
    page.get_by_role("button", name="Train").last.click()
    explorer.sees(re.compile(r"[1-9]\d* of 500 epochs done"))
    models = explorer.models()
    # The page stays usable meanwhile.
    explorer.turn_to("Explore")
    explorer.tap("BN05")
    explorer.until(lambda: "BN05" in explorer.cube())
    explorer.turn_to("Train")
    # However many epochs there are, one figure shows them.
    explorer.until(lambda: explorer.page.evaluate(EPOCHS) > 8)
    assert sum("Training" in title for title in explorer.titles()) == 1
    assert sum(explorer.models().values()) < sum(models.values()) + 20
    page.get_by_role("button", name="Cancel").click()
    explorer.sees("Stopped; resume to go on.")
    assert page.get_by_role("button", name="Resume").is_enabled()


def test_a_link_is_restored_and_nonsense_is_told(explorer):
    evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    explorer.open(f"?run=full&node={evil}&segment=2&k=5")
    explorer.sees("which is not there; showing node=")
    explorer.until(lambda: "20\N{EN DASH}30 min ahead" in str(explorer.cube()).replace("<br>", " "))
    explorer.until(lambda: explorer.page.locator("td.rank").count() == 5)


def test_what_is_not_there_is_told_and_the_selection_stays(explorer):
    explorer.open("?run=full")
    explorer.choose("Data", "PEMS-BAY")
    explorer.sees("must be on this machine")
    data = explorer.page.get_by_role("combobox", name=re.compile("^Data\\b"))
    explorer.until(lambda: "Simulated freeway" in data.inner_text())


def test_the_time_slider_reaches_the_last_step(explorer):
    explorer.open("?run=full")
    explorer.page.get_by_role("slider", name="Forecast made at").focus()
    explorer.page.keyboard.press("End")
    explorer.sees("2024-01-09 23:55")
    explorer.until(lambda: "step=2015" in explorer.page.url)
