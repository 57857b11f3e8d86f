"""Small files as users have them, good ones and bad ones, for the tests of the page "Your data"."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

# Names that a page, a spreadsheet or a formatter would take for something else.
ODD_NAMES = ["<img src=x onerror=window.hit=1>", "=1+1", "{0} & $$x$$", "d"]


def readings(*, names: list[str] | None = None, steps: int = 96) -> pd.DataFrame:
    """Give a day of quarter hours at four places, every reading another one."""
    values = 20 + np.arange(4.0 * steps).reshape(steps, 4) / 8
    index = pd.date_range("2024-01-01", periods=steps, freq="15min", name="time")
    return pd.DataFrame(values, index=index, columns=names or ["a", "b", "c", "d"])


def write_places(path: Path, frame: pd.DataFrame, **options: object) -> Path:
    """Write a place for each column, 0.1 degrees apart from 52 N, 4 E on."""
    away = np.arange(frame.shape[1]) / 10
    table = pd.DataFrame({"id": frame.columns, "lat": 52 + away, "lon": 4 + away})
    table.to_csv(path, index=False, **options)
    return path


def write_table(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    """Write readings and places as two CSV files."""
    frame.to_csv(folder / "speeds.csv")
    return folder / "speeds.csv", write_places(folder / "places.csv", frame)


def grid() -> xr.Dataset:
    """Give six-hourly temperatures on 3 x 4 cells, as a weather centre names them."""
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), np.full((5, 3, 4), 280.0), {"units": "K"})},
        {
            "time": pd.date_range("2024-01-01", periods=5, freq="6h"),
            "lat": [50.0, 51.0, 52.0],
            "lon": [1.0, 2.0, 3.0, 4.0],
        },
    )
