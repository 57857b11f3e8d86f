"""A user's own files: where they may lie, what was understood of them, and where they are kept."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from explorer.catalog import data_folder
from sttrans_core import ExperimentConfig
from sttrans_core.data.saved import load_saved
from sttrans_core.fitted import FittedData
from sttrans_core.grid import as_nodes, is_grid
from sttrans_core.schema import interval_of
from stviz.labels import clock

__all__ = [
    "LARGEST_FILE",
    "UNDERSTOOD",
    "Facts",
    "Understood",
    "YourDataError",
    "describe_readings",
    "find_on_server",
    "keep",
    "plain_name",
    "read_files",
    "server_folders",
]

LARGEST_FILE = 200 * 1_000_000  # bytes
SECONDS = 180  # for reading one file
UNDERSTOOD = "understood.nc"
READER = Path(__file__).with_name("file_reader.py")
NAME = r"\w[\w-]{0,39}"
MARKS = (0.0, -1.0, -9.0, -99.0, -999.0, -9999.0, 999.0, 9999.0)
SHOWN = 5
# What the options of the messages are called on the page.
FIELDS = {
    "node=": "Choose the columns of sensors and of readings in the form.",
    "time=": "Choose the column of the time stamps in the form.",
    "unit": "Write the unit in the form.",
    "missing=": "Write the marks of missing readings in the form.",
    "variable must": "Choose the variable in the form.",
    "level must": "Write the pressure level in the form.",
}


class YourDataError(ValueError):
    """A file cannot be taken, read or kept; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What was understood of a file.

    Args:
        problem: What must be fixed before it can be read; empty where nothing must.
        hint: Where on the page that is done; may be empty.
        kind: `table`, `grid`, `saved`, or empty where that was not found out.
        columns: Those of a table.
        variables: Those of a grid.
        dataset: The readings; None where there is a problem.
    """

    problem: str = ""
    hint: str = ""
    kind: str = ""
    columns: Sequence[str] = ()
    variables: Sequence[str] = ()
    dataset: xr.Dataset | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a reader should know of readings before anything is done with them.

    Args:
        rows: Name and value, in the order to read them.
        doubts: What may be wrong, a sentence each.
        must: Why no model can be trained on it; empty where one can.
    """

    rows: Mapping[str, str]
    doubts: Sequence[str]
    must: str


def server_folders(root: Path) -> list[Path]:
    """Give the folders whose files may be read by their path on the server.

    Args:
        root: Folder of run folders.

    Returns:
        It, and the folder that `STTRANS_DATA` names; only those that exist.
    """
    named = os.environ.get("STTRANS_DATA")
    folders = [Path(named).expanduser(), root] if named else [root]
    return [folder.resolve() for folder in folders if folder.is_dir()]


def find_on_server(text: str, folders: Sequence[Path]) -> Path:
    """Find a file on the server, in the folders that are open to the page and nowhere else.

    Args:
        text: Path of a file or zarr store; a relative one is looked for in each folder.
        folders: As `server_folders` gives them.

    Returns:
        The path, symbolic links resolved.

    Raises:
        YourDataError: It is not there or lies elsewhere; one message for both, which tells nothing
            of other folders.
    """
    for folder in folders:
        try:
            path = (folder / text.strip()).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # not there, links in a circle, no path
            continue
        if path.is_relative_to(folder) and (path.is_file() or path.suffix == ".zarr"):
            return path
    raise YourDataError(
        "A path must lead to a file in the folder that STTRANS_DATA names or in the folder of "
        f"runs; got {text.strip()!r}. Put the file there, or upload it."
    )


def plain_name(text: str) -> str:
    """Make a name of letters, digits, dashes and underscores out of any text.

    Args:
        text: For example the name of a file.

    Returns:
        At most 40 characters, at least one.
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40].strip("-") or "data"


def read_files(
    readings: Path, places: Path | None, options: Mapping[str, Any], *, folder: Path
) -> Understood:
    """Read files in a process of its own.

    Args:
        readings: A table, a grid or a saved dataset.
        places: Table of the places of sensors; None where the file itself has them.
        options: Those of `from_table` and `from_grid`, without what was left open.
        folder: Where the dataset is written while it is looked at.

    Returns:
        What was understood; a problem is one of its parts, nothing is raised.
    """
    output = folder / UNDERSTOOD
    request = {
        "readings": str(readings),
        "places": str(places or ""),
        "output": str(output),
        "options": dict(options),
    }
    output.unlink(missing_ok=True)
    try:
        # -P: the modules beside the script are no libraries.
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, "-P", str(READER)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Understood(
            problem=f"A file must be read within {SECONDS // 60} minutes; got {readings.name}, "
            "which takes longer. Keep fewer places or a shorter period in it."
        )
    except (IndexError, ValueError):
        return Understood(
            problem=f"{readings.name} must be a file that can be read; got one that ends the "
            "process that reads it. Write or export it again."
        )
    if not found["problem"]:
        found["dataset"] = load_saved(output)
    hint = next((text for key, text in FIELDS.items() if key in found["problem"]), "")
    return Understood(**found, hint=hint)


def describe_readings(dataset: xr.Dataset) -> Facts:
    """Sum up readings for the one who knows whether that can be right.

    Args:
        dataset: A labelled dataset in memory.

    Returns:
        What it holds, what looks odd, and whether a model can be trained on it.
    """
    nodes = as_nodes(dataset)
    readings = nodes["target"].values.reshape(*nodes["target"].shape[:2], -1)
    missing = np.isnan(readings).all(axis=2)
    names, times, units = nodes["node"].values, nodes["time"].values, nodes.attrs["units"]
    gap, gap_place, gap_start = _longest_gap(missing)
    places = f"{len(names):,}"
    if is_grid(dataset):
        places += f" cells, {dataset.sizes['latitude']} x {dataset.sizes['longitude']}"
    held = "none"
    if gap:
        span = _duration(gap * interval_of(dataset))
        held = f"{span} at {names[gap_place]}, from {clock(times[gap_start])}"
    rows = {
        "Title": nodes.attrs["title"],
        "Quantity": f"{nodes.attrs['quantity']}, in {units}",
        "Places": places,
        "Interval": _duration(interval_of(dataset)),
        "Steps": f"{len(times):,}",
        "First": clock(times[0]),
        "Last": clock(times[-1]),
        "Lowest, highest": f"{np.nanmin(readings):.5g}, {np.nanmax(readings):.5g} {units}",
        "Missing": f"{100 * np.isnan(readings).mean():.2g} %",
        "Longest gap": held,
        "Notes": nodes.attrs.get("notes", ""),
    }
    return Facts(
        rows={name: str(value) for name, value in rows.items() if value},
        doubts=list(_doubts(nodes, readings, missing)),
        must=_must_fix(dataset),
    )


def _longest_gap(missing: np.ndarray) -> tuple[int, int, int]:
    """Give the steps of the longest gap of a place, the place, and where it begins."""
    longest = (0, 0, 0)
    for place in np.flatnonzero(missing.any(axis=0)):
        edges = np.flatnonzero(np.diff(missing[:, place], prepend=False, append=False))
        lengths = edges[1::2] - edges[::2]
        at = int(lengths.argmax())
        longest = max(longest, (int(lengths[at]), int(place), int(edges[2 * at])))
    return longest


def _duration(span: pd.Timedelta) -> str:
    minutes = span / pd.Timedelta("1min")
    for size, word in ((1440, "days"), (60, "h"), (1, "min")):
        if minutes >= 2 * size or (minutes >= size and not minutes % size):
            return f"{round(minutes / size, 1):g} {word}"
    return f"{60 * minutes:g} s"


def _doubts(nodes: xr.Dataset, readings: np.ndarray, missing: np.ndarray) -> Iterator[str]:
    """Give a sentence for each thing that is allowed but seldom meant."""
    names = nodes["node"].values
    shares = [(mark, float((readings == np.float32(mark)).mean())) for mark in MARKS]
    for mark, share in shares:
        if share > (0 if mark < 0 else 0.01):  # a few of the others may be measured
            yield (
                f"{100 * share:.2g} % of the readings are {mark:g}. If that marks a missing "
                "reading, write it under 'Marks of missing readings'."
            )
    if silent := names[missing.all(axis=0)].tolist():
        yield f"No reading at {_some(silent)}: a model learns nothing of these places."
    if missing.mean() > 0.5:
        yield "More than half of the readings are missing."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of places without a reading
        is_stuck = np.nanmax(readings, axis=(0, 2)) == np.nanmin(readings, axis=(0, 2))
    if stuck := names[is_stuck].tolist():
        yield f"The same reading all the time at {_some(stuck)}."
    spots = pd.DataFrame({name: nodes[name].values for name in ("latitude", "longitude")})
    if doubled := names[spots.duplicated(keep=False)].tolist():
        yield f"At one and the same spot: {_some(doubled)}."
    if nowhere := names[(spots == 0).all(axis=1)].tolist():
        yield f"At latitude 0, longitude 0, which is in the ocean: {_some(nowhere)}."


def _must_fix(dataset: xr.Dataset) -> str:
    """Say why a training would refuse a dataset; empty where it would not."""
    try:
        FittedData.fit(dataset, ExperimentConfig.preset("small", dataset="own.nc"))
    except ValueError as error:
        return str(error)
    return ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def keep(folder: Path, name: str, *, root: Path) -> Path:
    """Keep what was read last as a dataset of the user's own.

    Args:
        folder: As for `read_files`.
        name: Name of the dataset, without an ending.
        root: Folder of run folders; datasets lie in `data` in it.

    Returns:
        The file, which is the dataset's name everywhere.

    Raises:
        YourDataError: The name is not plain or taken, or the folder cannot be written.
    """
    if not re.fullmatch(NAME, name):
        raise YourDataError(
            "The name of a dataset must be up to 40 letters, digits, dashes and underscores; got "
            f"{name!r}. Choose another name."
        )
    file = data_folder(root) / f"{name}.nc"
    part = file.with_name(f".{name}-{os.getpid()}-{folder.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / UNDERSTOOD, part)
        is_new = not file.exists()
        if is_new:
            os.link(part, file)  # unlike a move, it never replaces what came meanwhile
    except OSError as error:
        raise YourDataError(
            f"The folder of runs must be writable; got {file.parent} ({error.strerror}). Set "
            "STTRANS_RUNS to a folder of yours and start the server again."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    if not is_new:
        raise YourDataError(
            f"A new dataset needs a name of its own; got {name!r}, which is there already. Choose "
            "another name."
        )
    return file
