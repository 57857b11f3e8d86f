"""The registered weather grids: reanalyses of temperature, in files or on the web."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.download import cache_folder, check_recorded_hash, download_file
from sttrans_core.data.folders import data_root, folders_named
from sttrans_core.data.grid_files import is_address, is_store, open_grids
from sttrans_core.data.grids import from_grid

__all__ = ["WEATHER", "WeatherSeries", "load_weather"]

_LARGEST_IN_MEMORY = 1 << 28  # bytes of a local store that are read at once


@dataclass(frozen=True, kw_only=True)
class WeatherSeries:
    """What is known about a registered grid before any file of it is read.

    Attributes:
        title: Short name and place.
        steps: Time steps of the whole series.
        rows: Latitudes.
        columns: Longitudes.
        interval: Time step of the whole series.
        first: First time stamp.
        licence: Terms.
        source: Owner of the data.
        citation: How to cite it.
        files: Patterns of file names, the preferred first, in lower case with hyphens.
        span: South, north, west and east, in degrees; none for what comes at several resolutions.
        address: Where it is published: a file to fetch, or a store to read there; none if it is
            not published in a form that can be read.
        get_from: What to do without an address.
    """

    title: str
    steps: int
    rows: int
    columns: int
    interval: str
    first: str
    licence: str
    source: str
    citation: str
    files: Sequence[str]
    span: tuple[float, float, float, float] | None = None
    address: str = ""
    get_from: str = "Put it there, or allow the download with download=True."

    @property
    def card(self) -> dict[str, object]:
        """What `list_datasets` says of it."""
        return {
            "title": self.title,
            "steps": self.steps,
            "nodes": self.rows * self.columns,
            "grid": f"{self.rows} x {self.columns}",
            "interval": self.interval,
            "missing_percent": 0.0,
            "units": "K",
            "licence": self.licence,
            "source": self.source,
            "synthetic": False,
        }


_COPERNICUS = "contains modified Copernicus Climate Change Service information; not redistributed"
WEATHER = {
    "weatherbench": WeatherSeries(
        title="WeatherBench, global temperature",
        steps=93_544,
        rows=121,
        columns=240,
        interval="6h",
        first="1959-01-01",
        licence=_COPERNICUS,
        source="ERA5 of Copernicus and ECMWF, through WeatherBench",
        citation="S. Rasp et al.: WeatherBench 2: A Benchmark for the Next Generation of "
        "Data-Driven Global Weather Models. Journal of Advances in Modeling Earth Systems, 2024.",
        files=(
            *("*equiangular*.zarr", "weatherbench*.zarr", "*era5*.zarr"),
            *("2m-temperature-*deg.nc", "temperature-850*deg.nc"),
        ),
        address="https://storage.googleapis.com/weatherbench2/datasets/era5/"
        "1959-2023_01_10-6h-240x121_equiangular_with_poles_conservative.zarr",
    ),
    "ncep-air": WeatherSeries(
        title="NCEP reanalysis, air temperature near the ground, North America",
        steps=2920,
        rows=25,
        columns=53,
        interval="6h",
        first="2013-01-01",
        licence="public domain; NOAA asks to be named",
        source="NCEP reanalysis of NOAA PSL, through the xarray tutorial",
        citation="E. Kalnay et al.: The NCEP/NCAR 40-Year Reanalysis Project. Bulletin of the "
        "American Meteorological Society 77, 1996.",
        files=("air-temperature.zarr", "air-temperature.nc"),
        span=(15.0, 75.0, 200.0, 330.0),
        address="https://github.com/pydata/xarray-data/raw/master/air_temperature.nc",
    ),
    "era5-uk": WeatherSeries(
        title="ERA5, 2 m temperature, British Isles",
        steps=744,
        rows=33,
        columns=49,
        interval="1h",
        first="2019-03-01",
        licence=_COPERNICUS,
        source="ERA5 of Copernicus and ECMWF, through the xarray sample data",
        citation="H. Hersbach et al.: The ERA5 global reanalysis. Quarterly Journal of the Royal "
        "Meteorological Society 146, 2020.",
        files=("2m-temperature-2019-03-uk.nc", "era5-2mt-2019-03-uk.nc"),
        span=(50.0, 58.0, -10.0, 2.0),
        get_from="It is published as GRIB only: take era5-2mt-2019-03-uk.grib from "
        "github.com/pydata/xarray-data and write it with xarray.open_dataset(file, "
        "engine='cfgrib').to_netcdf('era5-2mt-2019-03-uk.nc').",
    ),
}


def load_weather(
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> xr.Dataset:
    """Load a dataset of `WEATHER` from wherever it is first found.

    A store on the web is never fetched as a whole: its readings are read when they are asked for,
    as are those of a large store on this machine.

    Args:
        name: A name in `WEATHER`.
        path: As `load_dataset` takes it; also the https address of a store.
        root: Folder of data folders.
        download: Fetch what is not found, or read it on the web.

    Returns:
        The grid dataset.

    Raises:
        ValueError: A file breaks the rules of `from_grid`, or holds other places than the series.
        FileNotFoundError: The path or root does not exist, nothing was found, or the address
            cannot be reached.
    """
    series, cache = WEATHER[name], cache_folder(name)
    tried: list[str] = []
    if path is not None:
        found: Sequence[Path] | str | None = _in_path(name, path)
    else:
        found, tried = _search(series, data_root(root), cache)
    if found is None and not (download and series.address):
        raise FileNotFoundError(
            f"{name} must be in one of the folders searched; got no {_wanted(series)} in "
            f"{'; '.join(tried)}. {series.get_from}"
        )
    try:
        found = _published(name, cache) if found is None else found
        dataset = _labelled(name, found)
    except FileNotFoundError as error:
        if not tried:
            raise
        fault = str(error)
        raise FileNotFoundError(
            f"{name} must be in a folder searched, or reachable; got nothing in "
            f"{'; '.join(tried)}, and {fault[0].lower()}{fault[1:]}"
        ) from error
    notes = [dataset.attrs["notes"]] if "notes" in dataset.attrs else []
    if isinstance(found, str):
        notes.append(f"Readings are fetched from {found} when they are used.")
    elif found[0].parent == cache and (origin := check_recorded_hash(found[0])):
        notes.append(origin)
    _refuse_other_places(series, dataset, where=str(found if isinstance(found, str) else found[0]))
    return dataset.assign_attrs({"notes": " ".join(notes)} if notes else {})


def _labelled(name: str, found: Sequence[Path] | str) -> xr.Dataset:
    series = WEATHER[name]
    # A store of WeatherBench holds temperatures of many levels beside the one near the ground.
    held = open_grids(found if isinstance(found, str) else found[0])[0].dataset
    near_ground = {"2m_temperature", "t2m"} & set(held)
    dataset = from_grid(
        found,
        variable="2m_temperature" if near_ground else None,
        units="K",
        source=series.source,
        licence=series.licence,
    )
    if not isinstance(found, str) and dataset["target"].size * 4 <= _LARGEST_IN_MEMORY:
        dataset = dataset.load()
    first, last = (pd.Timestamp(dataset["time"].values[end]) for end in (0, -1))
    title = f"{series.title}, {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return dataset.assign_attrs(title=title, citation=series.citation)


def _in_path(name: str, path: str | os.PathLike[str]) -> Sequence[Path] | str:
    if isinstance(path, str) and is_address(path):
        return path
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(
            f"path must be an existing file or folder; got {place}. Correct it or leave it out."
        )
    if place.is_file() or is_store(place):
        return [place]
    found = _held(WEATHER[name], place)
    if found is None:
        held = sorted(entry.name for entry in place.iterdir())[:5]
        raise FileNotFoundError(
            f"The folder of {name} must hold {_wanted(WEATHER[name])}; got {place} with "
            f"{', '.join(held) or 'nothing'}. Pass the file itself if it has another name."
        )
    return found


def _search(
    series: WeatherSeries, root: Path | None, cache: Path
) -> tuple[Sequence[Path] | None, list[str]]:
    folders = [] if root is None else [*folders_named(cache.name, root), root]
    tried = [] if root is not None else ["STTRANS_DATA (not set)"]
    for folder in [*folders, cache]:
        found = _held(series, folder) if folder.is_dir() else None
        if found is not None:
            return found, []
        tried.append(str(folder))
    return None, tried


def _published(name: str, cache: Path) -> Sequence[Path] | str:
    """Give a store on the web as its address, and a file after it was fetched."""
    address = WEATHER[name].address
    if address.endswith(".zarr"):
        return address
    return [download_file(address, folder=cache, check=partial(_verify, name))]


def _held(series: WeatherSeries, folder: Path) -> list[Path] | None:
    """Find the files of a series in a folder, or in the folders of its variables below."""
    below = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not is_store(entry)]
    for place in (folder, *(entry for entry in below if entry.name.count("temperature"))):
        names = {entry: entry.name.lower().replace("_", "-") for entry in sorted(place.iterdir())}
        for pattern in series.files:
            found = [
                entry
                for entry, name in names.items()
                if fnmatch(name, pattern) and entry.is_dir() == pattern.endswith(".zarr")
            ]
            if found:
                return found[:1] if pattern.endswith(".zarr") else found
    return None


def _wanted(series: WeatherSeries) -> str:
    return " or ".join(series.files)


def _verify(name: str, file: Path) -> None:
    """Check that a download is the whole published series, as far as its structure can tell."""
    series, dataset = WEATHER[name], _labelled(name, [file])
    _refuse_other_places(series, dataset, where=file.name)
    steps, first = dataset.sizes["time"], pd.Timestamp(dataset["time"].values[0])
    if (steps, first) != (series.steps, pd.Timestamp(series.first)):
        raise ValueError(
            f"A download of {name} must be the published series, {series.steps} steps from "
            f"{series.first}; got {steps} steps from {first}. Try again later."
        )


def _refuse_other_places(series: WeatherSeries, dataset: xr.Dataset, *, where: str) -> None:
    """Refuse a grid that cannot be of the series; a part of its period is fine."""
    if series.span is None:
        return
    ends = (float(dataset[axis][end]) for axis in ("latitude", "longitude") for end in (0, -1))
    shape = (dataset.sizes["latitude"], dataset.sizes["longitude"])
    if shape != (series.rows, series.columns) or not np.allclose(tuple(ends), series.span):
        raise ValueError(
            f"{where} must hold the {series.rows} x {series.columns} cells of {series.title}; got "
            f"{shape[0]} x {shape[1]} cells, or others. For your own grid, save "
            "from_grid(...).to_netcdf('own.nc') and name that file as the dataset."
        )
