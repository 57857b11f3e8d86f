"""Take pictures of the explorer's main states, for the README and to be looked at.

    python tests/app/screenshots.py [NAME ...]

Serves the app with the weights that come with the package and the real data that `STTRANS_DATA`
names, and writes `notebooks/assets/explorer-NAME.png`; all of them where no name is given.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks" / "assets"
DESK, NARROW, PHONE = (1440, 900), (1024, 800), (420, 860)
WIDTH, COLORS = 1100, 200
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
SOURCES, CUBE = "td.rank", ".js-plotly-plot canvas"


class State(NamedTuple):
    """A state of the page: a link, the size of the window, and what is waited for."""

    query: dict[str, str]
    size: tuple[int, int] = DESK
    wait: str = SOURCES


WEEK = {"data": "metr-la", "node": "765171"}
STATES = {
    "explore": State(WEEK),
    "dark": State({**WEEK, "theme": "dark"}),
    "region": State({**WEEK, "area": "-118.4,34.05,-118.3,34.15", "picture": "On the map"}),
    "heads": State({**WEEK, "picture": "Heads"}),
    "what-if": State({**WEEK, "damage": "missing", "map": "change"}),
    "zones": State({"data": "nyc-taxi", "area": "Manhattan"}),
    "grid": State({"data": "ncep-air", "picture": "On the map", "map": "error"}),
    "compare": State(
        {"node": "AE09", "page": "Compare", "with": "bundled/fixed_position"}, wait=CUBE
    ),
    "train": State({"page": "Train"}, wait="text=Epochs at most"),
    "your-data": State({"page": "Your data"}, wait="text=Places of the sensors"),
    "about": State({"page": "About", **WEEK}, wait="text=Protocol"),
    "narrow": State(WEEK, size=NARROW),
    "phone": State(WEEK, size=PHONE),
}


def take(page: Page, url: str, state: State) -> Image.Image:
    """Open a state and take its picture once it has come to rest."""
    page.set_viewport_size(dict(zip(("width", "height"), state.size, strict=True)))
    page.goto(f"{url}?{urlencode(state.query)}")
    page.locator(state.wait).locator("visible=true").first.wait_for(timeout=120_000)
    page.wait_for_timeout(9000)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def save(path: Path, image: Image.Image) -> None:
    """Write a picture with few colours and at most `WIDTH` pixels across."""
    image.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
    image.quantize(COLORS, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


@contextmanager
def served(runs: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the app as long as the context lasts; give its address and its process.

    Args:
        runs: Folder of run folders.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = ROOT / "apps" / "attention_explorer.py"
    command = [sys.executable, "-m", "panel", "serve", str(app), "--address", "127.0.0.1"]
    command += ["--port", str(port), "--allow-websocket-origin", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}/{app.stem}"
    server = subprocess.Popen(command, env={**os.environ, "STTRANS_RUNS": str(runs)})
    try:
        for _ in range(120):
            with suppress(OSError):
                urllib.request.urlopen(url, timeout=30)
                break
            time.sleep(0.5)
        yield url, server
    finally:
        server.terminate()
        server.wait()


def main(names: list[str]) -> None:
    """Serve the app, then take the pictures."""
    unknown = sorted(set(names) - set(STATES))
    if unknown:
        sys.exit(f"A name must be one of {', '.join(STATES)}; got {unknown[0]!r}.")
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as runs,
        sync_playwright() as driver,
        served(Path(runs)) as (url, _),
    ):
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        for name in names or STATES:
            page = browser.new_page()
            save(FOLDER / f"explorer-{name}.png", take(page, url, STATES[name]))
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
