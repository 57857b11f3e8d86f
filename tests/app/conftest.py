"""A real browser and a really served app: `serve_app`, `guarded_page`, `explorer`."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from explorer_runs import train_runs
from playwright.sync_api import Browser, ConsoleMessage, Page
from reader import Explorer

ROOT = Path(__file__).parents[2]
APP = ROOT / "apps" / "attention_explorer.py"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOCAL_HOSTS = {"localhost", "127.0.0.1"}
START_SECONDS = 90


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """Use the system's Chromium, with WebGL drawn in software; fail in CI where it is missing."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None and os.environ.get("CI"):
        pytest.fail("CI must have a Chromium on PATH; got none. Install the package 'chromium'.")
    if chromium is None:
        pytest.skip("no Chromium on PATH: install the package 'chromium' to run browser tests")
    drawing = ["--disable-gpu", "--enable-unsafe-swiftshader"]
    return {
        **browser_type_launch_args,
        "executable_path": chromium,
        "args": ["--no-sandbox", *drawing],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict) -> dict:
    """Open pages as large as on a laptop."""
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}}


@dataclass(frozen=True, kw_only=True)
class ServedApp:
    """An app that answers at `url`; `folder` is its working directory and holds its log."""

    url: str
    folder: Path
    process: subprocess.Popen

    def log(self) -> str:
        """Give everything that the server printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _has_roots(url: str) -> bool:
    """Say whether the page holds something to draw: a crashed app answers 200 without any."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - a local address
            return re.search(r'"roots":\s*\{\s*"', answer.read().decode()) is not None
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _kill_tree(process: subprocess.Popen) -> None:
    """End a server and every process it started, at once if they do not go by themselves."""
    try:
        tree = psutil.Process(process.pid)
        members = [*tree.children(recursive=True), tree]
    except psutil.NoSuchProcess:
        members = []
    for member in members:
        if member.is_running():
            member.terminate()
    for member in psutil.wait_procs(members, timeout=5)[1]:
        member.kill()
    process.wait()


@contextmanager
def _serving(app: Path, folder: Path, **environment: str) -> Iterator[ServedApp]:
    port = _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    # Bundled data only, caches and run folders apart from the user's own.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STTRANS_")}
    clean |= {"XDG_CACHE_HOME": str(folder / "cache"), **environment}
    command = [sys.executable, "-m", "panel", "serve", str(app), "--address", "127.0.0.1"]
    command += ["--port", str(port), "--allow-websocket-origin", f"127.0.0.1:{port}"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=clean, stdout=log, stderr=log)
        served = ServedApp(
            url=f"http://127.0.0.1:{port}/{app.stem}", folder=folder, process=process
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _has_roots(served.url):
                if process.poll() is not None or "Traceback" in served.log():
                    pytest.fail(f"{app.name} crashed while it was served:\n{served.log()[-4000:]}")
                if time.monotonic() > deadline:
                    pytest.fail(f"{app.name} showed nothing in time:\n{served.log()[-4000:]}")
                time.sleep(0.2)
            yield served
        finally:
            _kill_tree(process)


@pytest.fixture(scope="session")
def serve_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ServedApp]]:
    """Give `serve_app(path, **environment)`; servers end with the session."""
    with ExitStack() as servers:

        def serve(app: Path, **environment: str) -> ServedApp:
            folder = tmp_path_factory.mktemp(app.stem)
            return servers.enter_context(_serving(app, folder, **environment))

        yield serve


class PageGuard:
    """Note what a page must not do: print errors, throw, or ask another machine for something."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._on_address(request.url))
        page.on("websocket", lambda opened: self._on_address(opened.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _on_address(self, address: str) -> None:
        parts = urlsplit(address)
        is_remote = parts.scheme in {"http", "https", "ws", "wss"}
        if is_remote and parts.hostname not in LOCAL_HOSTS:
            self.problems.append(f"outside request: {address}")

    def check(self) -> None:
        """Fail with everything noted since the last check."""
        found, self.problems = self.problems, []
        if found:
            pytest.fail("the page misbehaved:\n" + "\n".join(found))


@pytest.fixture(scope="session")
def page_guard() -> type[PageGuard]:
    """Give the guard itself, for tests that watch a page of their own."""
    return PageGuard


@pytest.fixture
def guarded_page(page: Page) -> Iterator[Page]:
    """Open an empty page; the test fails on console errors and requests that leave localhost."""
    guard = PageGuard(page)
    yield page
    guard.check()


@pytest.fixture(scope="session")
def shared(
    browser: Browser, serve_app: Callable[..., ServedApp], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Explorer]:
    """Open one page for all tests: loading it is what takes time."""
    root = tmp_path_factory.mktemp("runs") / "copy"
    shutil.copytree(train_runs(tmp_path_factory), root)
    for scores in root.glob("*/scores.csv"):  # of another test in this process
        scores.unlink()
    served = serve_app(APP, STTRANS_RUNS=str(root))
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Explorer(context.new_page(), served.url)
    context.close()


@pytest.fixture
def explorer(shared: Explorer) -> Iterator[Explorer]:
    """Give a reader of the page; a test fails if the page misbehaves."""
    shared.guard = shared.guard or PageGuard(shared.page)
    yield shared
    shared.guard.check()
