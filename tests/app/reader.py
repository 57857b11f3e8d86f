"""What a reader of the explorer sees and does, in a real browser, for the tests of its page."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

PATIENCE = 120  # seconds, on a busy machine
PAGES = {  # what can be read on each
    "Explore": "Band width",
    "Compare": "B minus A",
    "Train": "Epochs at most",
    "Your data": "Places of the sensors",
}

# Where the sensors of the map are on the screen, by id.
SENSORS = """() => {
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type !== 'Figure') continue
    const drawn = model.renderers.find(
      r => r.data_source?.data.node && r.data_source.data.value && r.data_source.data.forecast)
    const view = drawn && Bokeh.index.find_one_by_id(model.id)
    if (!view?.el.checkVisibility()) continue
    const data = drawn.data_source.data, corner = view.canvas_view.el.getBoundingClientRect()
    return Object.fromEntries(Array.from(data.node, (node, i) => [node, [
      corner.x + view.frame.x_scale.compute(data.x[i]),
      corner.y + view.frame.y_scale.compute(data.y[i]),
    ]]))
  }
}"""
# Figures that were taken away stay among the models for a minute; other pages have some, too.
SHOWN = """Array.from(Bokeh.documents[0]._all_models.values()).filter(model =>
  model.type === 'Figure' && Bokeh.index.find_one_by_id(model.id)?.el.checkVisibility())"""
TITLES = f"() => {SHOWN}.map(model => model.title.text)"
BACKGROUNDS = f"""() => {SHOWN}.map(model => model.border_fill_color?.value
    ?? model.border_fill_color)"""
MODELS = """() => {
  const count = {}
  for (const model of Bokeh.documents[0]._all_models.values())
    count[model.type] = (count[model.type] ?? 0) + 1
  return count
}"""
FIGURE = f"(words) => {SHOWN}.find(model => model.title.text.includes(words))"
SERIES = f"""() => {{
  const series = ({FIGURE})('Speed at')
  const lines = series.renderers.filter(r => r.glyph?.type === 'Line')
  const values = lines.flatMap(r => Array.from(r.data_source.data.value)).filter(isFinite)
  const {{start, end}} = series.y_range
  return {{title: series.title.text, low: start, high: end, values}}
}}"""
CROSSES = f"""() => {SHOWN}.flatMap(model => model.renderers)
  .filter(r => r.glyph?.marker?.value === 'x' || r.glyph?.marker === 'x')
  .reduce((sum, r) => sum + r.data_source.data.x.length, 0)"""
LEGEND = f"""() => {SHOWN}.flatMap(model => [...model.center, ...model.below])
  .filter(model => model.type === 'Legend')
  .map(model => model.items.map(item => item.label.value))
  .find(names => names.includes('measured'))"""
SHARES = f"""() => ({FIGURE})('How long ago').renderers
  .filter(r => r.glyph?.type === 'Line').flatMap(r => Array.from(r.data_source.data.share))"""
# The longest line around each figure and the width of the figure, in pixels.
LINES = f"""() => {{
  const paper = document.createElement('canvas').getContext('2d')
  return {SHOWN}.map(figure => {{
    const lines = [...figure.above, ...figure.below].filter(l => l.type === 'Title' && l.visible)
    const widths = [figure.title, ...lines].flatMap(line => {{
      paper.font = `${{line.text_font_style}} ${{line.text_font_size}} ${{line.text_font}}`
      return line.text.split('\\n').map(part => paper.measureText(part).width)
    }})
    return [Math.max(...widths), figure.outer_width]
  }})
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
        self.page.locator(".js-plotly-plot canvas").locator("visible=true").first.wait_for()
        return self

    def home(self) -> "Explorer":
        """Show the run `full` at AE03, wherever the test before has left the page."""
        if not self.page.url.startswith(self.url):
            self.open("?run=full&node=AE03")
        self.turn_to("Explore")
        if "run=full" not in self.page.url:
            self.open("?run=full&node=AE03")
        self.until(lambda: self.cube() is not None)
        if "AE03" not in self.cube():
            self.tap("AE03")
        self.until(lambda: "AE03" in self.cube())
        return self

    def cube(self, what: str = "e => e.layout.title.text") -> Any:
        return self.page.locator(".js-plotly-plot").first.evaluate(what)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain; the cube says {self.cube()!r}, {self.titles()}")
            self.page.wait_for_timeout(50)

    def titles(self) -> list[str]:
        return self.page.evaluate(TITLES)

    def backgrounds(self) -> list[str]:
        """Give the colours that figures lie on."""
        return self.page.evaluate(BACKGROUNDS)

    def models(self) -> dict[str, int]:
        """Count what the page holds, by kind, whether it is shown or not."""
        return self.page.evaluate(MODELS)

    def step(self) -> int:
        """Give the forecast origin that the address names."""
        return int(re.search(r"[?&]step=(\d+)", self.page.url).group(1))

    def crossed(self) -> int:
        """Count the places that are crossed out on the map."""
        return self.page.evaluate(CROSSES)

    def lines(self) -> list[list[float]]:
        """Give the longest line around each figure and the width of the figure, in pixels."""
        return self.page.evaluate(LINES)

    def shares(self) -> list[float]:
        """Give the lines of the shares by delay."""
        return self.page.evaluate(SHARES)

    def legend(self) -> list[str]:
        """Give the legend of the series."""
        return self.page.evaluate(LEGEND)

    def looked_at(self, node: str) -> bool:
        # Titles are wrapped at the width of their pane.
        return any(f"for {node} looked at" in " ".join(title.split()) for title in self.titles())

    def spots(self) -> dict[str, list[float]]:
        """Give where the sensors of the map are on the screen, once it has come to rest."""
        before, spots = None, self.page.evaluate(SENSORS)
        # A page that was just turned to still finds its place.
        while spots != before:
            self.page.wait_for_timeout(200)
            before, spots = spots, self.page.evaluate(SENSORS)
        return spots

    def tap(self, node: str) -> None:
        self.page.mouse.click(*self.spots()[node])

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
