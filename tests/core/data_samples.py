"""Small files in the layouts of the published ones, written without pandas' HDF support."""

import dataclasses
import hashlib
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from sttrans_core.data.published import METR_LA, TrafficSeries

# Prime sizes, so that a swapped axis cannot fit by chance.
STEPS, SENSORS = 13, 5


class Command:
    """Runs a shell command when it is unpickled by a careless reader."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def speeds(
    *, steps: int = STEPS, sensors: int = SENSORS, first: str = "2012-03-01"
) -> pd.DataFrame:
    """Give readings that differ in every cell, with one 0 (missing) at step 2 of sensor 1."""
    values = 20 + np.arange(steps * sensors, dtype=float).reshape(steps, sensors) / 8
    values[2, 1] = 0.0
    index = pd.date_range(first, periods=steps, freq="5min")
    return pd.DataFrame(values, index=index, columns=[str(4001 + i) for i in range(sensors)])


def write_hdf(
    path: Path,
    frame: pd.DataFrame,
    *,
    key: str = "df",
    ids: str = "text",
    name_pickle: bytes = b"N.",
    split: int | None = None,
) -> Path:
    """Write the arrays of a pandas frame in fixed format; `split` makes two blocks of it."""
    columns = np.array(frame.columns, dtype="S" if ids == "text" else np.int64)
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group["axis0"] = columns
        group["axis1"] = frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
        group["axis1"].attrs["kind"] = np.bytes_(b"datetime64[ns]")
        group["axis1"].attrs["name"] = np.bytes_(name_pickle)
        group["axis1"].attrs["freq"] = np.bytes_(name_pickle)
        parts = [slice(None)] if split is None else [slice(split, None), slice(None, split)]
        for number, part in enumerate(parts):
            group[f"block{number}_items"] = columns[part]
            group[f"block{number}_values"] = frame.to_numpy()[:, part]
            group[f"block{number}_values"].attrs["transposed"] = np.uint8(1)
    return path


def places(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a place for each sensor, in the reverse order of the columns."""
    table = pd.DataFrame({"sensor_id": frame.columns, "latitude": 0.0, "longitude": 0.0})
    table["latitude"] = 34.0 + np.arange(len(table)) / 100
    table["longitude"] = -118.0 - np.arange(len(table)) / 50
    return table[::-1]


def write_locations(path: Path, frame: pd.DataFrame, *, header: bool = True) -> Path:
    """Write the locations of `places` as METR-LA (with header) or PEMS-BAY has them."""
    table = places(frame)
    if header:
        table.insert(0, "index", range(len(table)))
    table.to_csv(path, header=header, index=False)
    return path


def adjacency(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a matrix of different cells, over more sensors than the frame and in another order."""
    ids = [*frame.columns[::-1], "9999"]
    matrix = np.arange(len(ids) ** 2, dtype=np.float32).reshape(len(ids), -1) / 100
    return pd.DataFrame(matrix, index=ids, columns=ids)


def write_adjacency(path: Path, matrix: pd.DataFrame, *, protocol: int = 0) -> Path:
    """Write the list [ids, index, matrix] as a pickle."""
    ids = list(matrix.index)
    content = [ids, {name: i for i, name in enumerate(ids)}, matrix.to_numpy()]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_folder(folder: Path, frame: pd.DataFrame, *, name: str = "metr-la.h5") -> Path:
    """Write readings and locations as a user's METR-LA folder holds them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_hdf(folder / name, frame)
    write_locations(folder / "graph_sensor_locations.csv", frame)
    return folder


def tiny_series(frame: pd.DataFrame, **changes: object) -> TrafficSeries:
    """Describe the frame of `speeds` as if it were the whole published METR-LA."""
    ids = hashlib.sha256(",".join(sorted(frame.columns)).encode()).hexdigest()
    # One reading of 13 x 5 is missing, which is 1.5 %.
    tiny = {"num_steps": STEPS, "num_nodes": SENSORS, "ids_sha256": ids, "missing_percent": 1.5}
    return dataclasses.replace(METR_LA, **{**tiny, **changes})


def fingerprint(folder: Path) -> dict[str, str]:
    """Give the hash of every file below a folder."""
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
