"""How soon a tap is answered on a grid of 29,040 cells.

    python tests/app/globe.py [TAPS]

Simulates a globe of 121 x 240 temperatures, trains on one window of it, which takes a minute or
two, serves the app, taps cells all over the map (7) and prints the seconds until every view has
changed. What the model is worth after one window does not matter here.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import xarray as xr
from playwright.sync_api import sync_playwright
from screenshots import CHROMIUM, served
from timing import WATCH_FIRST, aim, answered, open_page, spots_apart

from sttrans_core import ExperimentConfig, from_grid, train

STEPS = 60
PICTURES = ("Space-time cube", "On the map")


def simulate() -> xr.Dataset:
    """Give waves that travel east over a globe that is warm at the equator."""
    latitude, longitude = np.linspace(-90, 90, 121), np.arange(240) * 1.5
    steps = np.arange(STEPS)[:, None, None]
    north, east = np.radians(latitude)[:, None], np.radians(longitude)
    kelvin = 250 + 45 * np.cos(north) + 6 * np.sin(5 * east - steps / 4) * np.cos(north) ** 2
    grid = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), kelvin.astype(np.float32))},
        coords={
            "time": pd.date_range("2020-01-01", periods=STEPS, freq="6h"),
            "latitude": latitude,
            "longitude": longitude,
        },
    )
    dataset = from_grid(grid, units="K", title="Simulated globe")
    return dataset.assign_attrs(synthetic=1, source="made up for this measurement")


def main(taps: int = 7) -> None:
    """Print the seconds from a tap to the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        runs = Path(folder)
        simulate().to_netcdf(runs / "globe.nc")
        config = ExperimentConfig.preset("small", dataset=str(runs / "globe.nc"))
        short = {"epochs": 1, "batch_size": 1, "max_windows_per_epoch": 1}
        train(
            config.replace({"model": {"screening": "blocks"}, "train": short}),
            run_dir=runs / "globe",
        )
        with served(runs) as (url, _):
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=CHROMIUM
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.add_init_script(WATCH_FIRST)
            open_page(page, f"{url}?{urlencode({'data': runs / 'globe.nc', 'run': 'globe'})}")
            for picture in PICTURES:
                page.get_by_role("button", name=picture).click()
                page.wait_for_timeout(4000)
                times = []
                for spot in spots_apart(page, taps):
                    aim(page, spot)
                    page.mouse.click(*spot)
                    times.append(round(answered(page), 2))
                    page.wait_for_timeout(500)
                median = statistics.median(times)
                sys.stdout.write(f"{picture}: median {median:.2f} s of {times}\n")
            browser.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
