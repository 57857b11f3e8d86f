"""A browser for the pictures that are HTML files."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """Use the system's Chromium; fail in CI where it is missing."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None and os.environ.get("CI"):
        pytest.fail("CI must have a Chromium on PATH; got none. Install the package 'chromium'.")
    if chromium is None:
        pytest.skip("no Chromium on PATH: install the package 'chromium' to run browser tests")
    return {**browser_type_launch_args, "executable_path": chromium, "args": ["--no-sandbox"]}
