"""The explorer in a real browser: linked views, switches, both themes, many selections."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from reader import PAGES, SERIES

pytestmark = [pytest.mark.ui, pytest.mark.slow]

# What axe finds of the widgets' own library, out of reach from here.
NOT_OURS = {
    "aria-progressbar-name": "the page's loading indicator, and that of a training, have no name",
    "aria-prohibited-attr": "the icons that tell a widget's description are labelled spans",
    "button-name": "the arrows of a field for numbers; the field itself has a name and takes keys",
    "scrollable-region-focusable": "the page itself, which the keyboard scrolls all the same",
}
SERIOUS = ("serious", "critical")
DARK = "#14171a"


def test_a_tap_on_the_map_moves_every_view(explorer):
    explorer.home()
    sources = explorer.cube("e => JSON.stringify(e.data.map(d => d.customdata))")
    explorer.tap("BN05")
    explorer.until(lambda: "BN05" in explorer.cube())
    assert explorer.cube("e => JSON.stringify(e.data.map(d => d.customdata))") != sources
    explorer.until(lambda: any(title.endswith("at BN05") for title in explorer.titles()))
    place = explorer.page.get_by_role("combobox", name=re.compile("^Place"))
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


def test_a_hidden_place_changes_the_forecast_until_it_is_undone(explorer):
    page = explorer.home().page
    page.get_by_role("button", name="Change", exact=True).click()
    explorer.until(lambda: any("Change in forecast" in title for title in explorer.titles()))
    page.get_by_role("button", name="Hide this place").click()
    explorer.sees(re.compile(r"Forecasts of all places change by \d+\.\d\d mph on average"))
    explorer.until(lambda: "hide=%5B%22AE03%22%5D" in page.url)
    assert explorer.crossed() == 1
    explorer.until(lambda: "as trained" in explorer.legend())
    page.get_by_role("button", name="As trained, as measured").click()
    explorer.sees("They re-forecast at once")
    explorer.until(lambda: explorer.crossed() == 0)
    explorer.until(lambda: "as trained" not in explorer.legend())
    page.get_by_role("button", name="Forecast", exact=True).click()


def test_keys_step_play_and_search(explorer):
    page = explorer.home().page
    step = explorer.step()
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement?.blur()")
    page.keyboard.press("ArrowLeft")
    explorer.until(lambda: explorer.step() == step - 1)
    page.keyboard.press(" ")
    page.get_by_role("button", name="Pause").wait_for()
    explorer.until(lambda: explorer.step() >= step + 1)
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("BN05")
    page.get_by_role("option", name="BN05").click()
    explorer.until(lambda: "BN05" in explorer.cube())
    # In a field, keys are letters.
    step = explorer.step()
    page.get_by_role("combobox", name=re.compile("^Place")).press("ArrowLeft")
    page.wait_for_timeout(500)
    assert explorer.step() == step


def test_a_report_and_the_link_are_taken_away(explorer, tmp_path):
    page = explorer.home().page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").or_(
            page.get_by_role("link", name="Download")
        ).first.click()
    name = download.value.suggested_filename
    assert re.fullmatch(r"simulated-freeway-\d{8}T\d{4}-AE03-report\.html", name)
    download.value.save_as(tmp_path / name)
    for form, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        for subject in ("Map", "Series", "Alignment"):
            explorer.choose("What", subject)
            save = page.get_by_role("button", name="Save picture")
            save.wait_for()
            if subject == "Map":
                explorer.choose("Format", form)
            with page.expect_download() as saved:
                save.click()
            file = saved.value.suggested_filename
            assert file.endswith(f"-{subject.lower()}.{form.lower()}")
            saved.value.save_as(tmp_path / file)
            assert start in (tmp_path / file).read_bytes()[:200], file
            assert (tmp_path / file).stat().st_size > 5_000
    explorer.choose("What", "Errors")  # this run has no scores
    page.get_by_role("button", name="Save picture").click()
    page.get_by_role("button", name="Nothing is drawn").wait_for()
    explorer.choose("What", "Report")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.url
    page.get_by_role("button", name="Copy code").click()
    copied = "() => navigator.clipboard.readText()"
    explorer.until(lambda: page.evaluate(copied).startswith("from sttrans_core import "))
    other = page.context.new_page()
    said = []
    other.on("console", lambda message: said.append(message.text))
    other.on("request", lambda request: said.append(request.url))
    other.goto((tmp_path / name).as_uri())
    other.frame_locator("iframe[title=Alignment]").locator("canvas").first.wait_for()
    other.frame_locator("iframe[title=Series]").locator("canvas").first.wait_for()
    # A map in a frame that gets its size late would lie nowhere.
    path = other.frame_locator("iframe[title=Map]").locator(".leaflet-container path").first
    path.wait_for()
    assert "NaN" not in (path.get_attribute("d") or "NaN")
    assert [each for each in said if each.startswith("http") or "rror" in each] == []
    other.close()


def test_distance_and_delay_follow_the_place(explorer):
    page = explorer.home().page
    for view, title in (("Distance", "How far away it looks"), ("Delay", "How long ago it looks")):
        page.get_by_role("button", name=view, exact=True).click()
        explorer.until(lambda title=title: any(title in each for each in explorer.titles()))
    before = explorer.shares()
    explorer.tap("BN05")
    explorer.until(lambda: explorer.shares() != before)
    page.get_by_role("button", name="Space-time cube").click()
    explorer.until(lambda: "BN05" in explorer.cube())


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
    toggle = explorer.page.get_by_role("button", name="Toggle theme")
    for color in ("#14171a", "#ffffff"):
        toggle.click()
        explorer.until(lambda color=color: set(explorer.backgrounds()) == {color})
        explorer.until(lambda color=color: explorer.cube(paper) == [color, 0.01])
        # The page styles what it shows of its own accord, but must not have the last word.
        explorer.page.wait_for_timeout(1000)
        assert set(explorer.backgrounds()) == {color}
        assert explorer.cube(paper) == [color, 0.01]
    assert explorer.models().keys() <= models.keys()
    assert explorer.models()["Figure"] <= models["Figure"]


def test_nothing_piles_up_over_many_selections(explorer):
    page = explorer.home().page
    # The alignment map is built when it is first asked for.
    page.get_by_role("button", name="On the map").click()
    explorer.until(lambda: explorer.looked_at("AE03"))
    before = explorer.models()
    for _ in range(4):
        for node in ("BN05", "AE03"):
            explorer.tap(node)
            explorer.until(lambda node=node: explorer.looked_at(node))
    page.get_by_role("button", name="Space-time cube").click()
    for _ in range(4):
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
    assert sum(grown.values()) < 8, {kind: count for kind, count in grown.items() if count}


def test_another_dataset_keeps_a_lead_time_chosen(explorer):
    explorer.home().choose("Data", "Simulated weather")
    first = explorer.page.get_by_role("button", name="1\u20133", exact=True, pressed=True)
    explorer.until(lambda: first.count() == 1)


def test_on_a_phone_the_controls_step_aside_and_lines_fit(explorer):
    page = explorer.home().page
    data = page.get_by_role("combobox", name=re.compile("^Data"))
    assert data.is_visible()
    page.set_viewport_size({"width": 420, "height": 860})
    explorer.until(lambda: not data.is_visible())
    explorer.until(lambda: all(line < width < 420 for line, width in explorer.lines()))
    page.get_by_role("button", name="Open drawer").click()
    explorer.until(data.is_visible)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1440, "height": 900})
    explorer.until(data.is_visible)
    explorer.until(lambda: all(line < width for line, width in explorer.lines()))


def findings(explorer, **options):
    """Give what axe finds serious on the page in sight, with the places."""
    answer = Axe().run(explorer.page, options={"resultTypes": ["violations"], **options})
    return {
        each["id"]: [node["html"][:200] for node in each["nodes"][:3]]
        for each in answer.response["violations"]
        if each["impact"] in SERIOUS and each["id"] not in NOT_OURS
    }


def turn_and_rest(explorer, name):
    """Turn to a page, and wait until nothing fades any more."""
    explorer.turn_to(name)
    explorer.page.mouse.move(720, 890)
    explorer.page.wait_for_timeout(400)


def test_no_page_has_a_serious_finding_of_accessibility(explorer):
    explorer.home()
    for name in PAGES:
        turn_and_rest(explorer, name)
        assert findings(explorer) == {}, name
    explorer.turn_to("Explore")
    toggle = explorer.page.get_by_role("button", name="Toggle theme")
    toggle.click()
    explorer.until(lambda: DARK in explorer.backgrounds())
    explorer.page.wait_for_timeout(2000)  # colours fade over
    for name in PAGES:
        turn_and_rest(explorer, name)
        explorer.until(lambda: set(explorer.backgrounds()) <= {DARK})
        explorer.page.wait_for_timeout(400)
        assert findings(explorer, runOnly=["color-contrast"]) == {}, name
    toggle.click()
    explorer.home()
