"""The first notebook in a real JupyterLab: all cells pass, all pictures are drawn, offline."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from lab import CHROMIUM_ARGS, code_cell, find_chromium, jupyter_lab, run_notebook
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = [pytest.mark.ui, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "01_metr_la.ipynb"
HOLOVIEWS = ("week", "curve", "map", "measured", "series", "places", "error")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    chromium = find_chromium()
    if chromium is None and os.environ.get("CI"):
        pytest.fail("CI must have a Chromium on PATH; got none. Install the package 'chromium'.")
    if chromium is None:
        pytest.skip("no Chromium on PATH: install the package 'chromium' to run browser tests")
    return {**browser_type_launch_args, "executable_path": chromium, "args": CHROMIUM_ARGS}


class Opened(NamedTuple):
    """The notebook after all its cells ran."""

    page: Page
    passed: bool
    problems: list[str]

    def cell(self, name: str) -> Locator:
        """Give a code cell by its id."""
        cells = json.loads(NOTEBOOK.read_text())["cells"]
        code = [cell["id"] for cell in cells if cell["cell_type"] == "code"]
        return code_cell(self.page, code.index(name))


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(NOTEBOOK.parent, folder)
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    problems: list[str] = []

    def check_address(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "127.0.0.1":
            problems.append(f"outside request: {address}")

    page.on("request", lambda request: check_address(request.url))
    page.on("websocket", lambda socket: check_address(socket.url))
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    page.on("console", lambda text: text.type == "error" and problems.append(text.text))
    # Simulated data: the real week takes longer and draws the same pictures.
    quick = {"STTRANS_PROFILE": "quick", "STTRANS_DATA": ""}
    with jupyter_lab(folder, **quick) as address:
        yield Opened(page, run_notebook(page, address, NOTEBOOK.name), problems)
        page.close()


def test_every_cell_passes(opened: Opened):
    assert opened.page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert opened.passed


@pytest.mark.parametrize("name", HOLOVIEWS)
def test_every_holoviews_picture_is_drawn(opened: Opened, name: str):
    canvas = opened.cell(name).locator(".bk-Canvas canvas").first
    expect(canvas).to_be_visible()
    assert canvas.bounding_box()["width"] > 300


def test_the_folium_map_is_drawn(opened: Opened):
    frame = opened.cell("folium").frame_locator("iframe")
    expect(frame.locator("canvas.leaflet-zoom-animated")).to_be_visible()
    expect(frame.get_by_text("Forecast error of speed")).to_be_visible()


def test_the_cube_is_drawn(opened: Opened):
    expect(opened.cell("cube").locator(".gl-container canvas").first).to_be_visible()


def _num_sources(cell: Locator) -> int:
    """Add up the two legend entries "window source (n)" and "global source (m)"."""
    entries = cell.locator(".legendtext").all_text_contents()
    counts = [re.fullmatch(r"(?:window|global) source \((\d+)\)", entry) for entry in entries]
    return sum(int(count[1]) for count in counts if count)


def test_moving_k_changes_the_cube(opened: Opened):
    cell = opened.cell("widget")
    expect(cell.locator(".gl-container canvas").first).to_be_visible()
    assert _num_sources(cell) == 16
    cell.locator(".noUi-handle").last.focus()
    for _ in range(3):
        opened.page.keyboard.press("ArrowLeft")
    expect(cell.locator(".widget-readout").last).to_have_text("13")
    for _ in range(100):
        if _num_sources(cell) == 13:
            break
        opened.page.wait_for_timeout(200)
    assert _num_sources(cell) == 13


def test_nothing_left_the_machine_and_nothing_failed(opened: Opened):
    assert opened.problems == []
