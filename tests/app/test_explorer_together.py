"""Two runs side by side in a real browser: one selection, one zoom, one camera."""

import re

import pytest

pytestmark = [pytest.mark.ui, pytest.mark.slow]

CUBES = "(cubes) => cubes.map((cube) => cube.layout.title.text)"
EYES = "(cubes) => cubes.map((cube) => cube._fullLayout.scene.camera.eye.x.toFixed(2))"
RANGES = """() => Array.from(Bokeh.documents[0]._all_models.values())
  .filter((model) => model.type === 'Figure' && /forecast speed/i.test(model.title.text))
  .map((model) => [model.title.text, model.x_range.id, model.x_range.end - model.x_range.start])"""
ZOOM = """() => {
  const map = Array.from(Bokeh.documents[0]._all_models.values())
    .filter((model) => model.type === 'Figure' && /Change in forecast/.test(model.title.text))[0]
  const {start, end} = map.x_range, quarter = (end - start) / 4
  map.x_range.setv({start: start + quarter, end: end - quarter})
}"""


def cubes(explorer, what):
    return explorer.page.locator(".js-plotly-plot:visible").evaluate_all(what)


def test_two_runs_share_selection_zoom_and_camera(explorer):
    page = explorer.home().page
    explorer.turn_to("Compare")
    explorer.until(lambda: len(cubes(explorer, CUBES)) == 2 or "with=no" in page.url)
    explorer.choose("Compare with", "Bundled weights, fixed_position")
    explorer.until(lambda: "with=bundled%2Ffixed_position" in page.url)
    explorer.until(lambda: [("AE03" in title) for title in cubes(explorer, CUBES)] == [True] * 2)
    # One selection.
    place = page.get_by_role("combobox", name=re.compile("^Place"))
    place.fill("BN05")
    page.get_by_role("option", name="BN05").click()
    explorer.until(lambda: [("BN05" in title) for title in cubes(explorer, CUBES)] == [True] * 2)
    # One zoom: three maps, and a range that is the same for all.
    maps = [each for each in page.evaluate(RANGES) if "Change" in each[0] or "Forecast" in each[0]]
    shared = max({name for _, name, _ in maps}, key=[name for _, name, _ in maps].count)
    before = [width for _, name, width in maps if name == shared]
    assert len(before) == 3
    page.evaluate(ZOOM)
    explorer.until(
        lambda: all(
            width < 0.6 * before[0] for _, name, width in page.evaluate(RANGES) if name == shared
        )
    )
    # One camera, which the link keeps.
    page.locator(".js-plotly-plot:visible").first.scroll_into_view_if_needed()
    box = page.locator(".js-plotly-plot:visible").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    eyes = cubes(explorer, EYES)
    assert eyes[0] == eyes[1]

    def turned_by_hand():  # a cube that is being drawn does not follow the mouse yet
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 90, middle[1] + 10, steps=4)
        page.mouse.up()
        page.wait_for_timeout(500)
        return cubes(explorer, EYES)[0] != eyes[0]

    explorer.until(turned_by_hand)
    explorer.until(lambda: re.search(r"camera=-?\d", page.url) is not None)
    explorer.until(lambda: len(set(cubes(explorer, EYES))) == 1)
    turned = cubes(explorer, EYES)
    page.reload()
    explorer.sees("B minus A")
    explorer.until(lambda: cubes(explorer, EYES) == turned)


def test_the_page_says_what_seeds_alone_could_make(explorer):
    page = explorer.open("?data=simulated-freeway&page=Compare&with=bundled/fixed_position").page
    explorer.choose("Run", "Bundled weights")
    explorer.sees("3 seeds of each are known")
    explorer.sees("B is closer at")
    assert page.get_by_role("cell", name="no_alignment").is_visible()
    page.get_by_role("button", name="Error of B minus that of A").click()
    explorer.until(lambda: any("Change in forecast error" in t for t in explorer.titles()))
