"""The registered datasets, and where they are looked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import xarray as xr

from sttrans_core.data.traffic import (
    METR_LA,
    METR_LA_10,
    PEMS_BAY,
    TrafficSeries,
    find_series,
    load_traffic,
)

__all__ = ["list_datasets", "load_dataset"]

_TRAFFIC = {series.name: series for series in (METR_LA, METR_LA_10, PEMS_BAY)}
_SIMULATED = "simulated-freeway"


def load_dataset(
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> xr.Dataset:
    if name == _SIMULATED:
        from sttrans_core.data.simulate import simulate_freeway

        return simulate_freeway()
    series = _TRAFFIC[name]
    base = Path(path or root or os.environ["STTRANS_DATA"])
    file = base if base.is_file() else None
    for folder in (base / name, base):
        if file is None and folder.is_dir():
            file = find_series(series, folder)
    if file is None:
        raise FileNotFoundError(f"{name} not found in {base}")
    return load_traffic(series, file)
