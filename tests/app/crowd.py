"""Several readers at the same time: does each see its own selection, how soon, in how much memory?

    python tests/app/crowd.py [SESSIONS [TAPS]]

Serves the app with the weights that come with the package, opens as many pages as there are
sessions (five), taps sensors in all of them at once, over and over (40 times), and prints seconds
from tap to picture and the memory of the server. With real data, `STTRANS_DATA` names its folder.
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from screenshots import CHROMIUM, served
from timing import WATCH_FIRST, aim, answered, open_page, spots_apart

SETTLED = 0.25  # of all rounds: until then, caches fill


def enter(browser: Browser, url: str, sessions: int) -> list[Page]:
    """Open pages that share nothing but the server."""
    pages = []
    for _ in range(sessions):
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.add_init_script(WATCH_FIRST)
        open_page(page, url)
        pages.append(page)
    return pages


def tap_together(pages: Sequence[Page], taps: int) -> list[list[float]]:
    """Tap another sensor in each page at the same time, round by round.

    Returns:
        Seconds by page, of each round.
    """
    spots = spots_apart(pages[0], 2 * len(pages))
    for page in pages[1:]:
        spots_apart(page, 1)  # prepares the page
    rounds = []
    for turn in range(taps):
        aimed_at = [spots[(turn + number) % len(spots)] for number in range(len(pages))]
        for page, spot in zip(pages, aimed_at, strict=True):
            aim(page, spot)
        for page, spot in zip(pages, aimed_at, strict=True):
            page.mouse.click(*spot)
        rounds.append([answered(page) for page in pages])
    return rounds


def main(sessions: int = 5, taps: int = 40) -> None:
    """Print how a crowd is served."""
    query = "?data=metr-la" if os.environ.get("STTRANS_DATA") else ""
    with (
        tempfile.TemporaryDirectory() as runs,
        sync_playwright() as driver,
        served(Path(runs)) as (url, server),
    ):
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        pages = enter(browser, url + query, sessions)
        memory = []
        for rounds in (round(SETTLED * taps), taps - round(SETTLED * taps)):
            times = list(chain.from_iterable(tap_together(pages, rounds)))
            memory.append(psutil.Process(server.pid).memory_info().rss / 2**20)
        worst = statistics.quantiles(times, n=20)[-1]
        browser.close()
    sys.stdout.write(
        f"{sessions} sessions, {sessions * taps} taps, all pages tapped at the same time\n"
        f"tap to picture: median {statistics.median(times):.2f} s, 95 % below {worst:.2f} s\n"
        f"server: {memory[0]:.0f} MiB once settled, {memory[1]:.0f} MiB at the end\n"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
