"""NYC bikes: hourly arrivals and departures on a grid over the city."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.archives import check_archive
from sttrans_core.data.frames import label_readings
from sttrans_core.schema import check_dataset

__all__ = ["load_nyc_bike"]

_ROWS, _COLUMNS = 16, 8
_SOUTH, _NORTH = 40.6803, 40.7715  # outermost stations of summer 2014, degrees
_WEST, _EAST = -74.0171, -73.9500


def load_nyc_bike(path: Path) -> xr.Dataset:
    """Read the flows of the NYCBike1 benchmark.

    Card: 128 cells of 16 rows and 8 columns, 1,369 steps of an hour, August and September 2014,
    trips, none missing; Citi Bike's data licence.

    Args:
        path: The npz file of `data` (time, cell, flow) and `time` (ns since 1970, local time).

    Returns:
        The dataset, `target(time, node, channel)` with the channels "inflow" and "outflow"; a node
        is named after its row, from the north, and its column, from the west.

    Raises:
        ValueError: The file is damaged, holds objects, or arrays of other shapes.
        FileNotFoundError: There is no such file.

    Source: J. Zhang, Y. Zheng, D. Qi, AAAI 2017 (BikeNYC), as cut by J. Ji et al., AAAI 2023.
    """
    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data, time = arrays["data"], arrays["time"]
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path.name} must hold the plain arrays data and time; got {error}. Fetch it again."
        ) from error
    shape = (len(time) if time.ndim == 1 else 0, _ROWS * _COLUMNS, 2)
    if data.shape != shape or data.dtype.kind not in "iuf" or time.dtype.kind not in "iM":
        raise ValueError(
            f"{path.name} must hold numbers of the shape (time, {_ROWS * _COLUMNS}, 2) with as "
            f"many times; got data {data.dtype} {data.shape} and time {time.dtype} {time.shape}. "
            "Use the flows of NYCBike1 on its 16 x 8 grid."
        )
    if (data < 0).any() or len(time) < 2:
        raise ValueError(
            f"Flows must be at least 0, of two hours or more, in {path.name}; got "
            f"{data.min(initial=0):g} in {len(time)} hours. Fetch it again."
        )
    row, column = np.divmod(np.arange(_ROWS * _COLUMNS), _COLUMNS)
    locations = pd.DataFrame(
        {
            "latitude": _NORTH - (row + 0.5) * (_NORTH - _SOUTH) / _ROWS,
            "longitude": _WEST + (column + 0.5) * (_EAST - _WEST) / _COLUMNS,
        },
        index=[f"row {r + 1}, column {c + 1}" for r, c in zip(row, column, strict=True)],
    )
    dataset = label_readings(
        data,
        time=pd.DatetimeIndex(time.astype("datetime64[ns]")),
        locations=locations,
        channels=("inflow", "outflow"),
        notes=[
            "Local time; 0 means no trip, and cells over water have none.",
            "The benchmark states no coordinates.",
            "Rows were taken from north to south and columns from west to east over the stations",
            "of summer 2014, which fits the cells over water; good to about 500 m.",
        ],
        attrs={
            "title": "NYC bikes, arrivals and departures on a 16 x 8 grid",
            "units": "trips",
            "quantity": "flow",
            "valid_min": 0.0,
            "source": "Citi Bike trip histories, through the NYCBike1 benchmark",
            "licence": "data licence of Citi Bike; not redistributed with this package",
            "citation": "J. Zhang, Y. Zheng, D. Qi: Deep Spatio-Temporal Residual Networks for "
            "Citywide Crowd Flows Prediction. AAAI 2017.",
            "synthetic": 0,
        },
    )
    return check_dataset(dataset)
