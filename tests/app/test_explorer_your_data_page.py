"""The page "Your data" in a real browser: a bad file, a good one, kept and trained on."""

import re
from pathlib import Path

import numpy as np
import pytest
from own_files import ODD_NAMES, readings, write_table
from reader import Explorer

pytestmark = [pytest.mark.ui, pytest.mark.slow]


def upload(explorer: Explorer, place: int, file: Path) -> None:
    """Choose a file for the readings (0) or their places (1)."""
    explorer.page.locator("input[type=file]").nth(place).set_input_files(file)
    explorer.sees(f"Uploaded {file.name}")


def test_a_bad_file_then_a_good_one_is_kept_and_can_be_trained_on(explorer, tmp_path):
    page = explorer.home().page
    explorer.turn_to("Your data")
    read = page.get_by_role("button", name="Read", exact=True)
    (tmp_path / "bad.csv").write_text("<html><b>no table</b></html>\n")
    frame = readings(names=ODD_NAMES)
    frame.iloc[10:22, 0] = np.nan
    table, places = write_table(tmp_path, frame)
    upload(explorer, 0, tmp_path / "bad.csv")
    upload(explorer, 1, places)
    read.click()
    explorer.sees(re.compile("must be in one column of bad.csv"))

    upload(explorer, 0, table)
    page.get_by_label("Unit", exact=True).fill("km/h")
    read.click()
    explorer.sees("What was understood")
    explorer.sees(f"3 h at {ODD_NAMES[0]}, from 2024-01-01 02:30")
    assert page.evaluate("window.hit") is None, "a name is never run"
    explorer.until(lambda: "Where the 4 sensors are" in " ".join(explorer.titles()))

    page.get_by_label("Name", exact=True).fill("ring")
    page.get_by_role("button", name="Keep this data").click()
    explorer.sees(re.compile("Kept as ring: it is in the lists of data"))
    page.get_by_role("button", name="Train a small model on it").click()
    explorer.sees("Epochs at most")
    explorer.sees("Own: ring")
    explorer.until(lambda: "ring.nc" in page.url)
    assert page.evaluate("window.hit") is None
