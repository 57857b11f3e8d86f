"""The explorer in a real browser: a training, links, what is not there, the last step."""

import re

import pytest
from reader import EPOCHS, Explorer

pytestmark = [pytest.mark.ui, pytest.mark.slow]


def train(explorer, name):
    field = explorer.page.get_by_label("Name of the run")
    field.fill(name)
    field.press("Enter")
    explorer.page.get_by_role("button", name=re.compile("Train$")).last.click()


def listed(explorer, name):
    """Give the line of a run in the list of trainings."""
    return explorer.page.get_by_role("button").filter(has_text=name)


def test_trainings_take_turns_progress_and_are_cancelled(explorer):
    page = explorer.home().page
    explorer.turn_to("Train")
    explorer.sees("auto: here")
    page.get_by_label("Epochs at most").fill("500")
    page.get_by_label("Windows per epoch (0: all)").fill("32")
    train(explorer, "from-the-page")
    explorer.sees(re.compile(r"[1-9]\d* of 500 epochs done"))
    train(explorer, "waits")
    explorer.sees("Begins by itself; one training before it.")
    models = explorer.models()
    # The page stays usable meanwhile.
    explorer.turn_to("Explore")
    explorer.tap("BN05")
    explorer.until(lambda: "BN05" in explorer.cube())
    explorer.turn_to("Train")
    # However many epochs there are, one figure shows them, and the log goes along.
    listed(explorer, "from-the-page").click()
    explorer.until(lambda: explorer.page.evaluate(EPOCHS) > 4)
    explorer.sees(re.compile(r"epoch +\d+ +train"))
    assert sum("Training" in title for title in explorer.titles()) == 1
    assert sum(explorer.models().values()) < sum(models.values()) + 10
    # Another page, or this one later, finds what goes on.
    explorer.open("?run=full").turn_to("Train")
    listed(explorer, "waits").click()
    page.get_by_role("button", name="Cancel").click()
    explorer.sees("Stopped before the first step; resume to begin.")
    listed(explorer, "from-the-page").click()
    page.get_by_role("button", name="Cancel").click()
    explorer.sees("Stopped; resume to go on.")
    assert page.get_by_role("button", name="Resume").is_enabled()


def test_two_sessions_are_isolated(explorer, browser, page_guard):
    explorer.home()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    other = Explorer(context.new_page(), explorer.url)
    guard = page_guard(other.page)
    other.open("?run=full&node=BN05")
    other.page.get_by_label("Dense: every source").click()
    other.sees(re.compile(r"k = \d{3}"))
    explorer.tap("AE04")
    explorer.until(lambda: "AE04" in explorer.cube())
    assert explorer.page.locator("td.rank").count() == 16
    assert "BN05" in other.cube()
    context.close()
    guard.check()
    explorer.tap("AE03")
    explorer.until(lambda: "AE03" in explorer.cube())


def test_a_link_is_restored_and_nonsense_is_told(explorer):
    evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    explorer.open(f"?run=full&node={evil}&segment=2&k=5")
    explorer.sees("which is not there; showing node=")
    explorer.until(lambda: "20\N{EN DASH}30 min ahead" in str(explorer.cube()).replace("<br>", " "))
    explorer.until(lambda: explorer.page.locator("td.rank").count() == 5)


def test_a_link_to_the_dark_page_darkens_every_figure(explorer):
    explorer.open("?run=full&theme=dark")
    explorer.until(lambda: len(explorer.titles()) >= 2)
    assert set(explorer.backgrounds()) == {"#14171a"}
    explorer.open("?run=full")
    explorer.until(lambda: len(explorer.titles()) >= 2)
    assert set(explorer.backgrounds()) == {"#ffffff"}


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
