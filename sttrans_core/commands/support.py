"""What the commands share: series and files that are refused, signals, lines of text."""

import json
import os
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Self

import typer
import xarray as xr

from sttrans_core.config import ExperimentConfig
from sttrans_core.scores import shown_metrics

__all__ = [
    "DataPath",
    "Interrupted",
    "StopOnSignal",
    "check_output",
    "hit_lines",
    "load_named",
    "load_series",
    "os_sentence",
    "parse_settings",
    "score_lines",
    "shell_command",
    "write_netcdf",
]

DataPath = Annotated[
    Path | None,
    typer.Option(
        "--path",
        help="File or folder of a registered dataset, else searched for; with a run on own "
        "sensors, the new place of its .nc file or .zarr store.",
    ),
]


_METRIC_NAMES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE %", "r2": "R2", "acc": "ACC"}

_DECIMALS = {"r2": 3, "acc": 3}


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal came while nothing asks whether to stop."""


class StopOnSignal:
    """Says yes once SIGINT or SIGTERM has come; gives the signals back at the end."""

    def __init__(self) -> None:
        self.requested = self._raising = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True
        if self._raising:
            raise Interrupted

    def raise_from_now_on(self) -> None:
        """Interrupt what runs instead of waiting to be asked, also for a signal that has come."""
        self._raising = True
        if self.requested:
            raise Interrupted

    def __call__(self) -> bool:
        """Say whether to stop."""
        return self.requested


def load_named(config: ExperimentConfig, path: Path | None) -> xr.Dataset:
    """Load the series of a new run.

    Args:
        config: The configuration, which names the dataset.
        path: What `--path` says.

    Returns:
        The dataset.

    Raises:
        ValueError: The name is unknown, or `--path` does not belong to it.
        FileNotFoundError: There is no such file.
    """
    from sttrans_core.data import load_dataset
    from sttrans_core.data.saved import is_saved

    name = config.data.dataset
    if path is not None and is_saved(path) and not is_saved(name):
        raise ValueError(
            f"--path must be a file of readings of {name}; got {path}, which is a dataset itself. "
            f"Write {shlex.join(['--dataset', str(path)])} without --path."
        )
    return load_dataset(name, path=path)


def load_series(config: ExperimentConfig, path: Path | None) -> xr.Dataset:
    """Load the series of a run that is there; `--path` may name a saved dataset anew.

    Args:
        config: The configuration of the run.
        path: What `--path` says.

    Returns:
        The dataset.

    Raises:
        ValueError: The run's dataset has no name to load it by, or the file does not fit it.
        FileNotFoundError: There is no such file.
    """
    from sttrans_core.data import list_datasets, load_dataset
    from sttrans_core.data.saved import is_saved

    name = config.data.dataset
    if path is not None and is_saved(path):
        return load_dataset(str(path))
    if path is not None and is_saved(name):
        raise ValueError(
            "--path must end in .nc or .zarr for a run on a saved dataset, here "
            f"{Path(name).name}; got {path}. Save the dataset with "
            "from_table(...).to_netcdf('own.nc') and name that file."
        )
    try:
        return load_dataset(name, path=path)
    except FileNotFoundError as error:
        if not is_saved(name):
            raise
        raise FileNotFoundError(
            f"The dataset of a run must be where it was at the training; got nothing at {name}. "
            f"Pass its new place with --path new{Path(name).suffix}."
        ) from error
    except ValueError as error:
        if is_saved(name) or name in list_datasets():
            raise
        raise ValueError(f"{error} With a run that is there, pass --path own.nc.") from error


def check_output(path: Path, suffix: str = ".nc") -> None:
    """Refuse a file that could not be written in the end, before anything is computed.

    Args:
        path: What `--output` says.
        suffix: What it must end in.

    Raises:
        ValueError: It is a folder, is in none or in one that cannot be written, or ends otherwise.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"--output must be a file in a folder that is there; got {path}. Make the folder "
            "first, or choose another."
        )
    if path.suffix.lower() != suffix:
        kind = {".nc": "NetCDF", ".csv": "a CSV table"}[suffix]
        raise ValueError(
            f"--output must end in {suffix}, since {kind} is what is written; got {path}. "
            f"Write for example --output {shlex.quote(str(path.with_suffix(suffix)))}."
        )
    try:
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        probe = _part(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--output must be a file that can be written; got {path} ({error.strerror}). "
            "Choose another folder, or free this one."
        ) from error


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset, whole or not at all.

    Args:
        dataset: What to write.
        path: A file that `check_output` has accepted.

    Raises:
        ValueError: The system refuses.
    """
    part = _part(path)
    try:
        dataset.to_netcdf(part, engine="h5netcdf")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        # HDF5 tells a page of what it did, with the system's own words in between.
        said = re.search(r"error message = '([^']+)'", str(error))
        raise ValueError(
            f"--output must be a file that can be written; got {path} "
            f"({said[1] if said else error.strerror or 'HDF5 failed'}). "
            "Check the space left, or choose another folder."
        ) from error


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def shell_command(*words: object, path: Path | None = None) -> str:
    """Write a command that can be copied into a shell.

    Args:
        words: Command and options.
        path: What `--path` said, to be said again.

    Returns:
        The whole line, quoted where it must be.
    """
    more = [] if path is None else ["--path", path]
    return shlex.join(["python", "-m", "sttrans_core", *map(str, [*words, *more])])


def score_lines(scores: xr.Dataset) -> str:
    """Give scores as lines of text, a line a model.

    Args:
        scores: From `evaluate`.

    Returns:
        Lines under a header.
    """
    lines = [f"{scores.attrs['title']}: {scores.attrs['protocol']}"]
    metrics = shown_metrics(scores)
    header = f"{' / '.join(_METRIC_NAMES[name] for name in metrics):28}"
    minutes = scores["lead_minutes"].values
    steps = [i for i in range(len(minutes)) if i + 1 in (1, 3, 6, 12)] or [0]
    leads = (f"{m:.0f} min" if m <= 120 else f"{m / 60:g} h" for m in minutes[steps])
    lines.append(header + "".join(f"{lead:>21}" for lead in leads) + f"{'mean':>12}")
    for name in scores["model"].values:
        row = scores.sel(model=name)
        cells = [
            "/".join(f"{float(row[each][i]):.{_DECIMALS.get(each, 2)}f}" for each in metrics)
            for i in steps
        ]
        mean = f"{float(row[metrics[0]].mean()):.3f}"
        lines.append(f"{name:28}" + "".join(f"{cell:>21}" for cell in cells) + f"{mean:>12}")
    return "\n".join(lines)


def hit_lines(hits: Any) -> str:
    """Give hit rates as lines of text.

    Args:
        hits: From `evaluate_hits`.

    Returns:
        Lines after an empty one; no text where there is nothing to tell.
    """
    if hits is None or hits.num_scored == 0:
        return ""
    top = hits.by_regime.attrs["top"]
    regime = str(hits.by_regime["regime"].values[0])
    targets = f"{regime.capitalize()} targets"
    lines = [f"\n{targets} with a true cause among their Top-{top}, of {hits.num_scored}"]
    for name, label in (("hit_rate", "alignment"), ("nearest", "nearest"), ("chance", "chance")):
        each = hits.by_regime[name].sel(regime=regime).values
        cells = "".join(f"{share:>8.1%}" for share in each)
        lines.append(f"{label:28}{getattr(hits, name):>8.1%}  by segment{cells}")
    return "\n".join(lines)


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn what `--set` says into nested fields.

    Args:
        pairs: Each `section.field=value`; a value is JSON, or else plain text.

    Returns:
        The fields.

    Raises:
        ValueError: One has another form.
    """
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        section, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise ValueError(
                f"--set must be section.field=value; got {pair!r}. "
                "Write for example --set train.epochs=3."
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        fields.setdefault(section, {})[field] = value
    return fields


def os_sentence(error: OSError) -> str:
    """Tell what the system refused; our own messages have no error number and stay as they are.

    Args:
        error: What was raised.

    Returns:
        One sentence of three parts.
    """
    if error.errno is None:
        return str(error)
    where = "" if error.filename is None else f" for {error.filename}"
    return (
        f"Files must be readable and writable; got {error.strerror!r}{where}. "
        "Check the path, its rights and the space left."
    )
