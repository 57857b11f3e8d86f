"""Reads a user's own files in a process of its own, with an end to its memory.

A damaged or malicious file can cost this process, but neither the server nor another session. Run
as a script, it takes a request as JSON on its standard input and answers with JSON on its standard
output; the dataset goes into a NetCDF file.
"""

import gzip
import json
import math
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import xarray as xr

from sttrans_core import from_grid, from_table
from sttrans_core.data.files import read_hdf_frame
from sttrans_core.data.grid_files import open_grids
from sttrans_core.data.saved import load_saved

__all__ = ["LARGEST_CONTENT", "MOST_READINGS", "answer", "kind_of"]

MOST_READINGS = 100_000_000
LARGEST_CONTENT = 1 << 30  # bytes of a compressed table, unpacked
MEMORY = 4 << 30  # bytes beyond what the libraries take
SHOWN = 50  # columns to choose from
LONGEST = 600  # letters of a message
TABLES, HDF = (".csv", ".csv.gz", ".parquet"), (".h5", ".hdf5", ".hdf")


def kind_of(path: Path) -> str:
    """Tell tables from grids and saved datasets by the name of a file.

    Args:
        path: The file of readings.

    Returns:
        `table`, or `netcdf` for what may be a grid or a dataset that was saved.

    Raises:
        ValueError: It is neither.
    """
    name = path.name.lower()
    if name.endswith((*TABLES, *HDF)):
        return "table"
    if name.endswith((".nc", ".zarr")):
        return "netcdf"
    todo = "Unpack it first." if name.endswith((".zip", ".gz", ".tar", ".7z")) else "Export it so."
    raise ValueError(
        f"Readings must be a table ({', '.join((*TABLES, *HDF))}) or a grid (.nc); got "
        f"{path.name}. {todo}"
    )


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a request names and write it as a labelled dataset.

    Args:
        request: `readings`, `places` (empty where there is none) and `output`, as paths, and
            `options` of `from_table` or `from_grid` by name, without those that were left open.

    Returns:
        `problem`, empty where the dataset was written; `kind`, one of `table`, `grid` and `saved`;
        and what there is to choose from, in `columns` or `variables`.
    """
    found: dict[str, Any] = {"problem": "", "kind": "", "columns": [], "variables": []}
    try:
        dataset = _read(Path(request["readings"]), request["places"], request["options"], found)
        dataset.to_netcdf(request["output"])
    except Exception as error:  # noqa: BLE001 - libraries raise whatever a damaged file leads to
        found["problem"] = _describe(error, Path(request["readings"]).name)
    return found


def _describe(error: Exception, name: str) -> str:
    text = " ".join(str(error).split())
    if len(text) > LONGEST:  # with a reading as long as a book in it
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    if isinstance(error, MemoryError) or re.search("out of memory|Unable to allocate", text):
        return (
            f"Reading {name} must take at most {MEMORY >> 30} GB of memory; got a file that takes "
            "more. Keep fewer places or a shorter period in it."
        )
    if isinstance(error, (ValueError, OSError, ImportError)):
        return text
    return (
        f"{name} must be a file that can be read; got {type(error).__name__}: {text}. Write or "
        "export it again."
    )


def _read(path: Path, places: str, given: Mapping[str, Any], found: dict[str, Any]) -> xr.Dataset:
    options = {"title": path.name.split(".")[0], **given}
    if kind_of(path) == "table":
        found["kind"] = "table"
        return _read_table(path, places, options, found)
    if not path.is_dir():
        _refuse_large_arrays(path)
    with open_grids(path)[0].dataset as opened:
        size = max((array.size for array in opened.data_vars.values()), default=0)
        _refuse_large(size, path)
        if "target" in opened and "interval" in opened.attrs:
            found["kind"] = "saved"
            dataset = load_saved(path)
            return dataset.assign_attrs(title=given.get("title", dataset.attrs["title"]))
        found["kind"] = "grid"
        found["variables"] = [str(name) for name, array in opened.items() if array.ndim > 2][:SHOWN]
    names = ("variable", "level", "units", "quantity", "title")
    return from_grid(path, **{name: options[name] for name in names if name in options})


def _read_table(
    path: Path, places: str, options: dict[str, Any], found: dict[str, Any]
) -> xr.Dataset:
    name = path.name.lower()
    table: Path | pd.DataFrame = path
    if name.endswith(HDF):
        _refuse_large_arrays(path)
        table = read_hdf_frame(path)
    elif name.endswith(".parquet"):
        found["columns"] = _check_parquet(path)
    else:
        if name.endswith(".gz"):
            _refuse_large_content(path)
        found["columns"] = _header(path)
        if len(found["columns"]) == 1 and ";" in found["columns"][0]:
            table = pd.read_csv(path, sep=";", decimal=",", low_memory=False)
            found["columns"] = [str(name) for name in table.columns[:SHOWN]]
    if not places:
        raise ValueError(
            "A table must come with the places of its sensors; got none. Choose a CSV with the "
            "columns id, latitude and longitude under 'Places of the sensors'."
        )
    if places.lower().endswith(".gz"):
        _refuse_large_content(Path(places))
    names = ("time", "node", "value", "units", "quantity", "missing", "title")
    given = {"units": "1", **{name: options[name] for name in names if name in options}}
    dataset = from_table(table, _read_places(Path(places)), **given)
    if "units" not in options:  # asked for once the table itself is understood
        raise ValueError(
            "Readings must have a unit; got none. Write for example km/h, or 1 for numbers without "
            "a unit."
        )
    _refuse_large(dataset["target"].size, path)
    return dataset


def _read_places(path: Path) -> Path | pd.DataFrame:
    """Read a table that is parted by semicolons; from_table itself reads one with commas."""
    header = _header(path)
    if len(header) != 1 or ";" not in header[0]:
        return path
    table = pd.read_csv(path, sep=";", dtype=str)
    return table.replace(r"^\s*([+-]?\d+),(\d+)\s*$", r"\1.\2", regex=True)  # decimal commas


def _header(path: Path) -> list[str]:
    try:
        return [str(name) for name in pd.read_csv(path, nrows=0).columns[:SHOWN]]
    except (ValueError, OSError, EOFError):  # which from_table has a sentence for
        return []


def _check_parquet(path: Path) -> list[str]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (ValueError, OSError):  # which from_table has a sentence for
        return []
    _refuse_large(file.metadata.num_rows * file.metadata.num_columns, path)
    return [str(name) for name in file.schema_arrow.names[:SHOWN]]


def _refuse_large(num_readings: int, path: Path) -> None:
    if num_readings > MOST_READINGS:
        raise ValueError(
            f"{path.name} must hold at most {MOST_READINGS:,} readings; got {num_readings:,}. Keep "
            "fewer places or a shorter period in it, or train on a zarr store from a shell."
        )


def _refuse_large_arrays(path: Path) -> None:
    """Refuse a small file that declares large arrays, before anything makes room for them.

    What an HDF5 file takes from other files is refused, too: these could be any on the server.
    """
    outside, sizes = [], [0]

    def note_link(name: str, link: object) -> None:
        if isinstance(link, h5py.ExternalLink):
            outside.append(name)

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(math.prod(item.shape or ()))
            if item.external or item.is_virtual:
                outside.append(name)

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(note_link)
            file.visititems(note)
    except (OSError, RuntimeError):
        return  # damaged, or of another format: the readers have sentences for both
    if outside:
        raise ValueError(
            f"{path.name} must hold all its readings itself; got {outside[0]!r}, which lies in "
            "another file. Write it again as one file."
        )
    _refuse_large(max(sizes), path)


def _refuse_large_content(path: Path) -> None:
    """Refuse a small file that unpacks to a large one, as soon as it does."""
    size = 0
    try:
        with gzip.open(path) as content:
            while piece := content.read(1 << 20):
                size += len(piece)
                if size > LARGEST_CONTENT:
                    break
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path.name} must be a complete gzip file; got {error}. Compress or send it again."
        ) from error
    if size > LARGEST_CONTENT:
        raise ValueError(
            f"{path.name} must unpack to at most {LARGEST_CONTENT >> 30} GB; got more. Keep fewer "
            "places or a shorter period in it."
        )


def _limit_memory() -> None:
    if not sys.platform.startswith("linux"):
        return  # other systems have no such limit, or do not keep it
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    _limit_memory()
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
