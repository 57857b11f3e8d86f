"""A real JupyterLab for one folder, and a page that runs a notebook in it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# WebGL drawn in software, for machines without a graphics card.
CHROMIUM_ARGS = [*("--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader")]
SETTINGS = {
    # Every output stays in the page, also those that are out of sight.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
START_SECONDS = 120
RUN_SECONDS = 1800
DRAW_MILLISECONDS = 4000
RUN_ALL = """async (milliseconds) => Promise.race([
  jupyterapp.commands.execute('notebook:run-all-cells'),
  new Promise((_, fail) => setTimeout(() => fail(new Error('cells still run')), milliseconds)),
])"""
IS_IDLE = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
OUTPUTS = ":scope > .jp-Cell-outputWrapper > .jp-OutputArea > .jp-OutputArea-child"


def find_chromium() -> str | None:
    """Give the path of the system's Chromium, if there is one."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextmanager
def jupyter_lab(folder: Path, **environment: str) -> Iterator[str]:
    """Serve a folder with JupyterLab, apart from the user's own settings, and give its address."""
    with tempfile.TemporaryDirectory() as home:
        for name, values in SETTINGS.items():
            file = Path(home, "LAB_SETTINGS", "@jupyterlab", f"{name}.jupyterlab-settings")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        kinds = ("_CONFIG", "_RUNTIME", "LAB_SETTINGS", "LAB_WORKSPACES")
        own = {f"JUPYTER{kind}_DIR": str(Path(home, kind)) for kind in kinds}
        own |= {"IPYTHONDIR": home, "JUPYTER_TOKEN": secrets.token_hex()}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
        command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
        log = Path(home, "lab.log")
        with log.open("w") as stream:
            env = {**os.environ, **own, **environment}
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=stream, stderr=stream)
        try:
            _wait_until_served(f"http://127.0.0.1:{port}/api", process, log)
            yield f"http://127.0.0.1:{port}/lab/tree/NOTEBOOK?reset&token={own['JUPYTER_TOKEN']}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_served(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10):  # noqa: S310 - a local address
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}") from None
            time.sleep(0.3)


def run_notebook(page: Page, address: str, name: str) -> bool:
    """Open a notebook, run all its cells and wait until they are drawn; say whether all passed."""
    page.goto(address.replace("NOTEBOOK", name))
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=1000 * START_SECONDS)
    page.wait_for_function(IS_IDLE, timeout=1000 * START_SECONDS)
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    passed = page.evaluate(RUN_ALL, 1000 * RUN_SECONDS)
    page.wait_for_timeout(DRAW_MILLISECONDS)
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    return bool(passed)


def code_cell(page: Page, number: int) -> Locator:
    """Give a code cell on the page, counted from 0."""
    return page.locator(".jp-NotebookPanel .jp-CodeCell").nth(number)
