"""A browser for the pictures that are HTML files, and mock data that most pictures are of."""

import os
import shutil

import pytest
from builders import build_dataset, build_forecast


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


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(num_nodes=20, num_steps=120)


@pytest.fixture(scope="module")
def forecast(dataset):
    return build_forecast(dataset)
