"""The registered datasets: what they are, where they are looked for, and their data cards."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.download import (
    cache_folder,
    check_recorded_hash,
    download_graph,
    download_series,
)
from sttrans_core.data.folders import data_root, folders_named
from sttrans_core.data.published import METR_LA, METR_LA_10, PEMS_BAY, TrafficSeries
from sttrans_core.data.saved import is_saved, load_saved
from sttrans_core.data.traffic import find_series, load_traffic
from sttrans_core.data.urban import URBAN, load_urban
from sttrans_core.data.weather import WEATHER, load_weather
from sttrans_core.grid import is_grid
from sttrans_core.slabs import is_in_memory, slabs

__all__ = ["data_card", "list_datasets", "load_dataset"]

_OURS = {
    "missing_percent": 0.0,
    "licence": "the licence of this package",
    "source": "simulated by this package",
    "synthetic": True,
}
_SIMULATED: dict[str, dict[str, object]] = {
    "simulated-freeway": {
        "title": "Simulated freeway",
        "steps": 2016,
        "nodes": 48,
        "interval": "5min",
        "units": "mph",
        **_OURS,
        "missing_percent": 3.0,
    },
    "simulated-weather": {
        "title": "Simulated weather",
        "steps": 2880,
        "nodes": 384,
        "grid": "16 x 24",
        "interval": "1h",
        "units": "K",
        **_OURS,
    },
}
_CARD_ATTRS = ("quantity", "units", "source", "licence", "citation", "notes")
# Readings of a store of more values are not all read for a card, but this many steps of them.
_VALUES_IN_CARD, _STEPS_IN_CARD = 1 << 27, 16


def _published() -> dict[str, TrafficSeries]:
    return {series.name: series for series in (METR_LA, METR_LA_10, PEMS_BAY)}


def list_datasets() -> dict[str, dict[str, object]]:
    """List the registered datasets with what is known of each before it is loaded.

    Returns:
        For each name: `title`, `steps`, `nodes`, `interval`, `missing_percent`, `units`,
        `licence`, `source` and `synthetic` of the whole series; `grid`, its rows and columns,
        where the nodes are cells of a grid.
    """
    cards: dict[str, dict[str, object]] = {
        name: {
            "title": series.title,
            "steps": series.num_steps,
            "nodes": series.num_nodes,
            "interval": series.interval,
            "missing_percent": series.missing_percent,
            "units": series.units,
            "licence": series.licence,
            "source": series.source,
            "synthetic": False,
        }
        for name, series in _published().items()
    }
    cards |= {name: series.card for name, series in (URBAN | WEATHER).items()}
    return cards | {name: dict(card) for name, card in _SIMULATED.items()}


def load_dataset(
    name: str | os.PathLike[str],
    *,
    path: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> xr.Dataset:
    """Load a registered dataset from wherever it is first found, or a dataset that you saved.

    A name that ends in `.nc` is a file: `from_table(...).to_netcdf("own.nc")` makes one, and
    `load_dataset("own.nc")` reads it. One that ends in `.zarr` is a store that may be larger than
    the memory: `to_zarr("own.zarr")` makes it of a labelled dataset, and its readings stay where
    they are until they are asked for. Windows take single time steps out of it, so it should hold
    one or a few in a chunk.

    Registered names are searched in this order: `root`, or else the folder that the environment
    variable `STTRANS_DATA` names (a folder named like the dataset in it, then the folder itself);
    the user's cache; the published addresses.

    Args:
        name: One of `list_datasets()`, or a NetCDF file or zarr store of a labelled dataset.
        path: For a registered name, the file of readings or the folder that holds it, or the https
            address of a store of weather; nothing else is searched then.
        root: Folder of data folders.
        download: Fetch what is not found, and the sensor locations where they are missing; a store
            on the web is read there, as far as it is used.

    Returns:
        The labelled dataset, of nodes or on a grid; `data_card` sums it up.

    Raises:
        ValueError: The name is not registered, a file breaks the rules of its format, or `path`
            is given beside a name that needs none.
        FileNotFoundError: A named folder does not exist, or the dataset was found nowhere; the
            message names everything that was tried.
        ImportError: A library that only some datasets need is not installed.
    """
    published, name = _published(), os.fspath(name)
    if is_saved(name):
        if path is not None:
            raise ValueError(
                f"path must be None for a dataset that is a file itself; got path={str(path)!r} "
                f"beside {name!r}. Pass the one file that you mean as the name."
            )
        return load_saved(name)
    if name in URBAN:
        return load_urban(name, path=path, root=root, download=download)
    if name in WEATHER:
        return load_weather(name, path=path, root=root, download=download)
    if name not in (*published, *_SIMULATED):
        names = ", ".join((*published, *URBAN, *WEATHER, *_SIMULATED))
        raise ValueError(
            f"name must be one of {names}, a zarr store that ends in .zarr, or a NetCDF file that "
            f"ends in .nc; got {name!r}. For your own data, save from_table(...) or "
            "from_grid(...) by .to_netcdf('own.nc') and name that file."
        )
    if name in _SIMULATED:
        return _simulate(name, path)
    series = published[name]
    cache = cache_folder(series)
    if path is not None:
        file, tried = _in_path(series, Path(path).expanduser()), []
    else:
        file, tried = _search(series, data_root(root), cache)
    if file is None:
        file = _fetched(series, tried, download=download)
    origin = check_recorded_hash(file) if file.parent == cache else None
    return load_traffic(
        series,
        file,
        graph_folders=[cache],
        fetch_graph=partial(download_graph, series) if download else None,
        notes=[] if origin is None else [origin],
    )


def data_card(dataset: xr.Dataset) -> pd.Series:
    """Sum up a dataset: size, period, missing share, unit, origin and terms.

    Args:
        dataset: A labelled dataset.

    Returns:
        The card; `missing` is a share of all readings in percent. Of a store that is too large to
        be read for a card, a few steps are looked at, and it says so.
    """
    target = dataset["target"]
    some, which = _sample(target)
    num_missing, lowest, highest = 0, np.nan, np.nan
    for slab in slabs(some):
        num_missing += int(np.isnan(slab).sum())
        lowest = np.fmin(lowest, np.fmin.reduce(slab, axis=None))
        highest = np.fmax(highest, np.fmax.reduce(slab, axis=None))
    missing = 100 * num_missing / some.size
    card: dict[str, object] = {"title": dataset.attrs["title"], "steps": target.sizes["time"]}
    if is_grid(dataset):
        cells = [target.sizes[axis] for axis in ("latitude", "longitude")]
        card |= {"nodes": cells[0] * cells[1], "grid": f"{cells[0]} x {cells[1]}"}
    else:
        card["nodes"] = target.sizes["node"]
    card |= {
        "interval": dataset.attrs["interval"],
        "first": str(pd.Timestamp(target["time"].values[0])),
        "last": str(pd.Timestamp(target["time"].values[-1])),
        "missing": f"{missing:.1f} %" if missing >= 0.1 else f"{missing:.2g} %",
        "lowest": f"{lowest:.1f}",
        "highest": f"{highest:.1f}",
    }
    if which:
        card["looked at"] = which
    for name in ("channel", "covariate"):
        if name in dataset.coords:
            card[f"{name}s"] = ", ".join(map(str, dataset[name].values))
    card |= {key: dataset.attrs[key] for key in _CARD_ATTRS if key in dataset.attrs}
    card["simulated"] = "yes" if dataset.attrs["synthetic"] else "no"
    return pd.Series(card, name="data card")


def _sample(target: xr.DataArray) -> tuple[xr.DataArray, str]:
    """Take some steps of readings in a store that are too many to be all read for a card."""
    if is_in_memory(target) or target.size <= _VALUES_IN_CARD:
        return target, ""
    steps = np.linspace(0, len(target) - 1, _STEPS_IN_CARD).astype(int)
    return target[steps], f"{_STEPS_IN_CARD} of {len(target):,} steps"


def _simulate(name: str, path: str | os.PathLike[str] | None) -> xr.Dataset:
    if path is not None:
        raise ValueError(
            f"path must be None for {name}, which is generated; got path={str(path)!r}. "
            "Leave it out."
        )
    if name == "simulated-weather":
        from sttrans_core.data.simulate_weather import simulate_weather

        return simulate_weather()
    from sttrans_core.data.simulate import simulate_freeway

    return simulate_freeway()


def _in_path(series: TrafficSeries, path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(
            f"path must be an existing file or folder; got {path}. Correct it or leave it out."
        )
    file = path if path.is_file() else find_series(series, path)
    if file is None:
        held = sorted(entry.name for entry in path.iterdir())[:5]
        raise FileNotFoundError(
            f"The folder of {series.name} must hold {series.stems[0]}.h5 or .csv; got {path} with "
            f"{', '.join(held) or 'nothing'}. Pass the file itself if it has another name."
        )
    return file


def _search(series: TrafficSeries, root: Path | None, cache: Path) -> tuple[Path | None, list[str]]:
    folders = [] if root is None else [*folders_named(series.name, root), root]
    tried = [] if root is not None else ["STTRANS_DATA (not set)"]
    for folder in [*folders, cache]:
        file = find_series(series, folder) if folder.is_dir() else None
        if file is not None:
            return file, tried
        tried.append(str(folder))
    return None, tried


def _fetched(series: TrafficSeries, tried: list[str], *, download: bool) -> Path:
    if not download:
        raise FileNotFoundError(
            f"{series.name} must be in one of the folders searched; got no {series.stems[0]}.h5 or "
            f".csv in {'; '.join(tried)}. Put it there, or allow the download with download=True."
        )
    return download_series(series, searched=tried)
