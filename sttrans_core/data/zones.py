"""NYC taxi zones: polygons by number, and the point that stands for each."""

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from sttrans_core.data.archives import check_archive
from sttrans_core.data.download import cache_folder, download_file
from sttrans_core.data.folders import data_root, folders_named

__all__ = ["TAXI_FOLDER", "find_zones", "load_zones"]

TAXI_FOLDER = "nyc-taxi"
_FILES = ("taxi_zones.shp", "taxi_zones/taxi_zones.shp", "taxi_zones.zip", "taxi-zones.zip")
_ADDRESS = "https://d37ci6vzurychx.cloudfront.net/misc/taxi_zones.zip"
_SHA256 = "f6d711917bb4340f8f644d5366c51665489eb2d426dd1a4a55677721ae5adf17"
_FEET = "EPSG:2263"  # New York Long Island, in which the zones are published
_AROUND_NEW_YORK = (-74.6, 40.3, -73.4, 41.1)  # west, south, east, north in degrees
_IDS = ("locationid", "location_id")


def load_zones(
    source: Any = None, *, root: str | os.PathLike[str] | None = None, download: bool = True
) -> Any:
    """Load the polygons of the taxi zones, one row a zone.

    Several polygons of one number are joined. Names are texts of the file: whoever draws them as
    HTML has to escape them.

    Args:
        source: A file that geopandas reads (shapefile, GeoJSON, ...), the published zip archive, a
            folder that holds `taxi_zones.shp` or `.zip`, or a `GeoDataFrame`; None searches where
            `load_dataset("nyc-taxi")` does.
        root: Folder of data folders, where `source` is None.
        download: Fetch the published archive where `source` is None and nothing is found.

    Returns:
        A `geopandas.GeoDataFrame` (EPSG:4326) indexed by the number of the zone as text, the
        `node` of a dataset, with the columns `zone`, `borough`, `num_polygons`, `latitude` and
        `longitude` (degrees, of a point inside the zone) and `geometry`.

    Raises:
        ValueError: The file is damaged, states no coordinate system or a wrong one, lacks a
            column, or has an unreadable number, one number with two names, or a zone without a
            polygon.
        FileNotFoundError: There is no such file, or none was found.
        ImportError: geopandas is not installed.

    Source: NYC Taxi and Limousine Commission, taxi zones, EPSG:2263.
    """
    geopandas = _import_geopandas()
    if isinstance(source, geopandas.GeoDataFrame):
        if source.index.name == "node":  # loaded here before
            return source
        frame, where = source, "the table of zones"
    else:
        file = _search(root, download=download) if source is None else _named(Path(source))
        frame, where = _read(geopandas, file), file.name
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise ValueError(
            f"Zones must be polygons; got {where}, a table without any. Use taxi_zones.shp or "
            "taxi_zones.zip of the NYC TLC."
        )
    names = {str(name).lower(): name for name in frame.columns}
    id_name = next((names[name] for name in _IDS if name in names), None)
    if id_name is None or not {"zone", "borough"} <= set(names) or frame.empty:
        raise ValueError(
            f"Zones must have the columns LocationID, zone and borough in {where}; got "
            f"{', '.join(map(str, frame.columns))} with {len(frame)} rows. Use the zones as the "
            "TLC publishes them, with all files of the shapefile in one folder."
        )
    numbers = pd.to_numeric(frame[id_name], errors="coerce")
    texts = {name: frame[names[name]].fillna("").astype(str) for name in ("zone", "borough")}
    zones = geopandas.GeoDataFrame(texts, geometry=frame.geometry)
    _check_rows(zones, frame[id_name], numbers, where=where)
    zones = _in_feet(zones, where=where)
    zones["number"], zones["num_polygons"] = numbers.astype(int).to_numpy(), 1
    _refuse_two_names(zones, where=where)
    zones["geometry"] = zones.geometry.make_valid()
    rules = {"zone": "first", "borough": "first", "num_polygons": "sum"}
    zones = zones.dissolve("number", aggfunc=rules)
    inside = zones.representative_point().to_crs("EPSG:4326")
    zones["latitude"], zones["longitude"] = inside.y, inside.x
    zones.index = pd.Index(zones.index.astype(str), name="node")
    return zones.to_crs("EPSG:4326")


def find_zones(folder: Path) -> Path | None:
    """Look for the published zones in a folder.

    Args:
        folder: Where.

    Returns:
        The shapefile or the archive, or None.
    """
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def _import_geopandas() -> Any:
    try:
        import geopandas
    except ImportError as error:
        raise ImportError(
            "Taxi zones need geopandas; install it with `pip install 'sttrans[zones]'`."
        ) from error
    return geopandas


def _named(path: Path) -> Path:
    path = path.expanduser()
    file = find_zones(path) if path.is_dir() else path
    if file is None or not file.exists():
        raise FileNotFoundError(
            f"Zones must be a file, or a folder with {' or '.join(_FILES[::2])}; got {path}. "
            "Take taxi_zones.zip from the trip record page of the NYC TLC."
        )
    return file


def _search(root: str | os.PathLike[str] | None, *, download: bool) -> Path:
    base, cache = data_root(root), cache_folder(TAXI_FOLDER)
    folders = [] if base is None else [*folders_named(TAXI_FOLDER, base), base]
    for folder in [*folders, cache]:
        if (file := find_zones(folder)) is not None:
            return file
    if not download:
        raise FileNotFoundError(
            f"Zones must be in one of the folders searched; got no {' or '.join(_FILES[::2])} in "
            f"{', '.join(map(str, [*folders, cache]))}. Put them there, or allow the download "
            "with download=True."
        )
    return download_file(_ADDRESS, folder=cache, check=check_archive, sha256=_SHA256)


def _read(geopandas: Any, file: Path) -> Any:
    try:
        return geopandas.read_file(_inside(file) if file.suffix.lower() == ".zip" else file)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{file.name} must be a complete file of polygons; got one that cannot be read "
            f"({' '.join(str(error).split())}). Fetch it again, with all files of the shapefile."
        ) from error


def _inside(archive: Path) -> str:
    """Give the place of the shapefile in an archive, which is read without unpacking it."""
    shapes = [name for name in check_archive(archive) if PurePosixPath(name).suffix == ".shp"]
    if len(shapes) != 1:
        raise ValueError(f"it must hold one shapefile, not {len(shapes)}")
    return f"/vsizip/{archive.absolute()}/{shapes[0]}"


def _check_rows(zones: Any, ids: pd.Series, numbers: pd.Series, *, where: str) -> None:
    wrong = ~(np.isfinite(numbers) & (numbers >= 1) & (numbers == np.floor(numbers)))
    if wrong.any():
        raise ValueError(
            f"LocationID must be the number of a zone in every row of {where}; got "
            f"{str(ids[wrong].iloc[0])!r} in row {int(np.flatnonzero(wrong)[0])}. Correct the row."
        )
    empty = np.asarray(zones.geometry.isna() | zones.geometry.is_empty)
    if empty.any():
        raise ValueError(
            f"Every zone must have a polygon in {where}; got none for zone "
            f"{numbers[empty].iloc[0]:g}. Drop the row."
        )


def _in_feet(zones: Any, *, where: str) -> Any:
    """Project zones for measuring, once the stated coordinate system is found to be true."""
    if zones.crs is None:
        raise ValueError(
            f"Zones must state their coordinate system; got none in {where}. Put taxi_zones.prj "
            f"beside it, or pass a table with .set_crs({_FEET!r})."
        )
    west, south, east, north = zones.to_crs("EPSG:4326").total_bounds
    around = _AROUND_NEW_YORK
    if not (around[0] < west < east < around[2] and around[1] < south < north < around[3]):
        raise ValueError(
            f"Zones must lie in and around New York in {where}; got longitudes {west:.4g} to "
            f"{east:.4g} and latitudes {south:.4g} to {north:.4g} by its coordinate system, "
            f"{zones.crs.name}. Correct that: the TLC publishes {_FEET}."
        )
    return zones.to_crs(_FEET)


def _refuse_two_names(zones: Any, *, where: str) -> None:
    names = zones.groupby("number")[["zone", "borough"]].nunique().max(axis=1)
    if (names > 1).any():
        number = names.index[names > 1][0]
        found = zones.loc[zones["number"] == number, "zone"].unique()
        raise ValueError(
            f"Polygons of one LocationID must be of one zone in {where}; got "
            f"{', '.join(map(repr, found[:3]))} for {number}. Number the zones anew."
        )
