"""The registered datasets of cities: taxi zones, air quality, bikes."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from sttrans_core.data.air import load_beijing_air
from sttrans_core.data.bikes import load_nyc_bike
from sttrans_core.data.download import cache_folder
from sttrans_core.data.folders import data_root, folders_named
from sttrans_core.data.taxi import download_trips, load_trips
from sttrans_core.data.zones import TAXI_FOLDER, find_zones, load_zones

__all__ = ["URBAN", "UrbanSeries", "load_urban"]

_TLC = "terms of the owner, NYC TLC; not redistributed with this package"


@dataclass(frozen=True, kw_only=True)
class UrbanSeries:
    """What is known about a registered dataset before any file of it is read.

    Attributes:
        title: Short name and place.
        steps: Time steps of the whole series.
        nodes: Places of the whole series.
        interval: Time step.
        missing_percent: Share of readings that are missing, in percent.
        units: Unit of the readings.
        licence: Terms.
        source: Owner of the data.
        folder: Name of its folder, below the root and in the user's cache.
        choices: Sets of files that each make up the series, the preferred first; names in lower
            case with hyphens.
        read: Reads the one file of a series that is no taxi series.
        service: Taxi service, for a taxi series.
        months: Months of its trip records.
        get_from: Where the files are to be had, if they cannot be downloaded.
    """

    title: str
    steps: int
    nodes: int
    interval: str
    missing_percent: float
    units: str
    licence: str
    source: str
    folder: str
    choices: Sequence[Sequence[str]]
    read: Callable[[Path], xr.Dataset] | None = None
    service: str = ""
    months: Sequence[str] = ()
    get_from: str = "the trip record page of the NYC TLC"

    @property
    def card(self) -> dict[str, object]:
        """What `list_datasets` says of it."""
        names = ("title", "steps", "nodes", "interval", "missing_percent", "units", "licence")
        return {**{name: getattr(self, name) for name in (*names, "source")}, "synthetic": False}


URBAN = {
    "nyc-taxi": UrbanSeries(
        title="NYC yellow taxi, pick-ups per zone and hour, January 2023",
        steps=744,
        nodes=254,
        interval="1h",
        missing_percent=0.0,
        units="trips",
        licence=_TLC,
        source="NYC Taxi and Limousine Commission",
        folder=TAXI_FOLDER,
        choices=(["yellow-hourly-zone-2023-01.parquet"], ["yellow-tripdata-2023-01.parquet"]),
        service="yellow",
        months=("2023-01",),
    ),
    "nyc-taxi-green": UrbanSeries(
        title="NYC green taxi, pick-ups per zone and half hour, January to March 2023",
        steps=4320,
        nodes=241,
        interval="30min",
        missing_percent=0.05,
        units="trips",
        licence=_TLC,
        source="NYC Taxi and Limousine Commission",
        folder=TAXI_FOLDER,
        choices=([f"green-tripdata-2023-0{month}.parquet" for month in (1, 2, 3)],),
        service="green",
        months=("2023-01", "2023-02", "2023-03"),
    ),
    "beijing-air": UrbanSeries(
        title="Beijing, hourly PM2.5 at 12 stations, 2013 to 2017",
        steps=35_064,
        nodes=12,
        interval="1h",
        missing_percent=2.1,
        units="ug/m3",
        licence="CC BY 4.0",
        source="Beijing Municipal Environmental Monitoring Center, through UCI",
        folder="beijing-air",
        choices=(
            ["prsa-data-20130301-20170228.zip"],
            ["prsa2017-data-20130301-20170228.zip"],
        ),
        read=load_beijing_air,
        get_from="data set 501 of the UCI Machine Learning Repository",
    ),
    "nyc-bike": UrbanSeries(
        title="NYC bikes, hourly arrivals and departures on a 16 x 8 grid, 2014",
        steps=1369,
        nodes=128,
        interval="1h",
        missing_percent=0.0,
        units="trips",
        licence="data licence of Citi Bike; not redistributed with this package",
        source="Citi Bike trip histories, through the NYCBike1 benchmark",
        folder="nyc-bike",
        choices=(["nycbike1-series-1369x128x2.npz"],),
        read=load_nyc_bike,
        get_from="the NYCBike1 benchmark",
    ),
}


def load_urban(
    name: str,
    *,
    path: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> xr.Dataset:
    """Load a dataset of `URBAN` from wherever it is first found.

    A taxi series is its months and its interval, whether it comes from trip records or from an
    hourly table. With the path of a file, that file decides, as in `load_trips`.

    Args:
        name: A name in `URBAN`.
        path: As `load_dataset` takes it.
        root: Folder of data folders.
        download: Fetch trip records and zones that are not found.

    Returns:
        The dataset.

    Raises:
        ValueError: A file breaks the rules of its reader.
        FileNotFoundError: The path or root does not exist, or nothing was found.
        ImportError: A library that only some datasets need is not installed.
    """
    series = URBAN[name]
    if path is not None:
        place = Path(path).expanduser()
        if not place.exists():
            raise FileNotFoundError(
                f"path must be an existing file or folder; got {place}. Correct it or leave it out."
            )
        files = [place] if place.is_file() else _held(series, place)
        if files is None:
            held = sorted(entry.name for entry in place.iterdir())[:5]
            raise FileNotFoundError(
                f"The folder of {name} must hold {_wanted(series)}; got {place} with "
                f"{', '.join(held) or 'nothing'}. Pass the file itself if it has another name"
                f"{', or several months to load_trips' if series.service else ''}."
            )
        interval = None if place.is_file() else series.interval
        return _read(series, files, interval=interval, root=root, download=download)
    files = _search(name, series, root, download=download)
    return _read(series, files, interval=series.interval, root=root, download=download)


def _read(
    series: UrbanSeries,
    files: Sequence[Path],
    *,
    interval: str | None,
    root: str | os.PathLike[str] | None,
    download: bool,
) -> xr.Dataset:
    if series.read is not None:
        return series.read(files[0])
    zones = load_zones(find_zones(files[0].parent), root=root, download=download)
    return load_trips(files, interval=interval, zones=zones)


def _search(
    name: str, series: UrbanSeries, root: str | os.PathLike[str] | None, *, download: bool
) -> Sequence[Path]:
    base, cache = data_root(root), cache_folder(series.folder)
    folders = [] if base is None else [*folders_named(series.folder, base), base]
    for folder in [*folders, cache]:
        files = _held(series, folder) if folder.is_dir() else None
        if files is not None:
            return files
    if download and series.service:
        return [_fetched(series.service, month, cache) for month in series.months]
    tried = [*map(str, folders), str(cache)] if folders else ["STTRANS_DATA (not set)", str(cache)]
    raise FileNotFoundError(
        f"{name} must be in one of the folders searched; got no {_wanted(series)} in "
        f"{'; '.join(tried)}. Take it from {series.get_from}"
        f"{', or allow the download with download=True' if series.service else ''}."
    )


def _fetched(service: str, month: str, cache: Path) -> Path:
    held = cache / f"{service}-tripdata-{month}.parquet"
    return held if held.is_file() else download_trips(service, month)


def _held(series: UrbanSeries, folder: Path) -> list[Path] | None:
    files = {entry.name.lower().replace("_", "-"): entry for entry in sorted(folder.iterdir())}
    for choice in series.choices:
        if set(choice) <= set(files):
            return [files[name] for name in choice]
    return None


def _wanted(series: UrbanSeries) -> str:
    return " or ".join(" with ".join(choice) for choice in series.choices)
