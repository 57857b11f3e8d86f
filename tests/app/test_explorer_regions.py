"""Regions, boxes, hidden places, withheld steps and heads on the page, in a real browser."""

import re

import pytest
from reader import FIGURE

pytestmark = [pytest.mark.ui, pytest.mark.slow]

HEADS = f"""() => Object.fromEntries(['head', 'weight'].map(name => [name, Array.from(
  ({FIGURE})('each head looks').renderers.find(r => r.data_source.data.weight)
    .data_source.data[name])]))"""


def draw_box(explorer, nodes, seen):
    """Draw a box around some places, as a reader does: again where a map was just being redrawn."""
    for _ in range(5):
        drag(explorer, nodes)
        for _ in range(100):
            if seen():
                return
            explorer.page.wait_for_timeout(100)
    pytest.fail(f"no box was seen: {explorer.titles()}")


def drag(explorer, nodes):
    box = explorer.page.get_by_role("button", name="Box", exact=True)
    if box.get_attribute("aria-pressed") != "true":
        box.click()
    spots = explorer.spots()
    (left, top), (right, bottom) = (
        [end(spots[node][axis] for node in nodes) + pad for axis in (0, 1)]
        for end, pad in ((min, -4), (max, 4))
    )
    mouse = explorer.page.mouse
    mouse.move(left, top)
    mouse.down()
    mouse.move((left + right) / 2, (top + bottom) / 2, steps=3)
    mouse.move(right, bottom, steps=3)
    mouse.up()


def test_a_box_selects_its_places_and_a_tap_goes_back_to_one(explorer):
    page = explorer.home().page
    draw_box(
        explorer, ["AE03", "AE04"],
        lambda: re.search(r"for \d+ places looked at", explorer.cube()),
    )  # fmt: skip
    explorer.until(lambda: any(title.endswith("places, mean") for title in explorer.titles()))
    explorer.until(lambda: "area=-99." in page.url)
    assert explorer.legend().count("90% band") == 0, "there is none of a mean"
    explorer.sees(re.compile(r"box on the map, \d+ places"))
    explorer.tap("BN05")
    explorer.until(lambda: "BN05" in explorer.cube())
    explorer.until(lambda: "area=&" in page.url or "area=-" not in page.url)


def test_a_region_is_chosen_by_its_name(explorer):
    page = explorer.home().page
    explorer.choose("Region", "A westbound")
    explorer.until(lambda: "places looked at" in explorer.cube())
    explorer.until(lambda: "area=A+westbound" in page.url or "area=A%20westbound" in page.url)
    explorer.choose("Region", "one place")
    explorer.until(lambda: "AE03" in explorer.cube())


def test_taps_and_boxes_hide_what_they_meet(explorer):
    page = explorer.home().page
    page.get_by_role("button", name="Hide", exact=True).click()
    # A server that is busy takes in a tap before what a widget told it just now.
    page.wait_for_timeout(1000)
    explorer.tap("BN05")
    explorer.until(lambda: explorer.crossed() == 1)
    assert "AE03" in explorer.cube(), "what is hidden is not selected"
    draw_box(explorer, ["AE03", "AE04"], lambda: explorer.crossed() >= 3)
    explorer.tap("BN05")  # gives its readings back
    explorer.until(lambda: "BN05" not in page.url)
    page.get_by_role("button", name="Select", exact=True).click()
    page.get_by_role("button", name="As trained, as measured").click()
    explorer.until(lambda: explorer.crossed() == 0)


def test_any_time_step_is_withheld(explorer):
    page = explorer.home().page
    page.get_by_role("button", name="10", exact=True).click()
    explorer.sees(re.compile(r"Forecasts of all places change by \d+\.\d\d mph on average"))
    explorer.until(lambda: "withhold=%5B%222%22%5D" in page.url)
    page.get_by_role("button", name="As trained, as measured").click()
    explorer.sees("They re-forecast at once")


def test_heads_are_shown_side_by_side(explorer):
    page = explorer.home().page
    page.get_by_role("button", name="Heads", exact=True).click()
    explorer.until(lambda: any("each head looks" in title for title in explorer.titles()))
    shown = page.evaluate(HEADS)
    heads = sorted(set(shown["head"]))
    assert len(heads) > 1
    for head in heads:
        shares = [w for w, h in zip(shown["weight"], shown["head"], strict=True) if h == head]
        assert sum(shares) == pytest.approx(1, abs=1e-3)
    page.get_by_role("button", name="Space-time cube").click()


def test_a_forecast_is_tried_without_its_sources(explorer):
    explorer.home()
    explorer.sees(re.compile(r"without its 8 strongest readings elsewhere"))


def test_a_source_that_is_clicked_in_the_cube_is_selected(explorer):
    explorer.home()
    click = """(plot) => {
      const data = plot.data.findIndex(d => d.meta === 'sources global')
      plot.emit('plotly_click', {points: [{customdata: plot.data[data].customdata[0]}]})
      return plot.data[data].customdata[0]
    }"""
    place = explorer.cube(click)
    explorer.until(lambda: place in explorer.cube())
    explorer.tap("AE03")
    explorer.until(lambda: "AE03" in explorer.cube())
