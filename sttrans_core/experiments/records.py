"""Runs as their folders tell of them, and what keeps them from standing in one table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.config import VARIANTS, ExperimentConfig, ModelConfig, config_hash
from sttrans_core.data.saved import is_saved
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.scores import read_scores
from sttrans_core.settings import BASELINE_NAMES

__all__ = ["RunRecord", "by_dataset", "by_row", "check_together", "read_runs"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that was scored.

    Args:
        path: Its folder.
        config: Its configuration.
        fields: The same as its file has it: a field that a later version added is not in it.
        fingerprint: Of its data.
        units: Of its data.
        title: Of its data.
        scores: Its own, then those of the baselines that need no training.
        cost: Fields of `cost.json`; none where it was not measured.
        hits: Lines of `hits.csv`, or None.
        robustness: Lines of `robustness.csv`, or None.
        quality: Lines of `quality.csv`, or None.
    """

    path: Path
    config: ExperimentConfig
    fields: Mapping[str, Any]
    fingerprint: str
    units: str
    title: str
    scores: xr.Dataset
    cost: Mapping[str, Any]
    hits: pd.DataFrame | None
    robustness: pd.DataFrame | None
    quality: pd.DataFrame | None

    @property
    def dataset(self) -> str:
        """Short name of its data set."""
        name = self.config.data.dataset
        return Path(name).stem if is_saved(name) else name

    @property
    def hash(self) -> str:
        """Hash of its configuration, as when it was trained."""
        return config_hash(self.fields)

    @property
    def is_ours(self) -> bool:
        """Whether it is an ST-Trans, not a baseline."""
        return isinstance(self.config.model, ModelConfig)

    @property
    def seed(self) -> int:
        """Which repetition it is."""
        return self.config.train.seed

    @property
    def baselines(self) -> list[str]:
        """Names of the baselines without training that it was scored beside."""
        return self.scores["model"].values.tolist()[1:]


def read_runs(folders: Iterable[Path]) -> tuple[list[RunRecord], list[Path]]:
    """Read every run below some folders.

    Args:
        folders: Searched at any depth.

    Returns:
        The scored runs in the order of their paths, and the folders of those that were not scored.

    Raises:
        FileNotFoundError: A folder is not there.
        RunError: A file of a run is damaged, or no run was scored.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"Runs must be in folders that are there; got {folder}. Correct the path."
            )
        found |= dict.fromkeys(path.parent.resolve() for path in folder.rglob("config.json"))
    paths = sorted(found)
    records = [record for record in map(_read, paths) if record is not None]
    if not records:
        raise RunError(
            f"Tables need runs that were scored; got none among {len(paths)} runs. Score them "
            "with 'sweep', or with 'evaluate --write'."
        )
    scored = {record.path for record in records}
    return records, [path for path in paths if path not in scored]


def _read(path: Path) -> RunRecord | None:
    folder = RunFolder(path)
    data = folder.read_json("data.json") if folder.holds("data.json") else {"attrs": {}}
    config = folder.config()
    scores = read_scores(path, data["attrs"], horizon_steps=config.data.horizon_steps)
    if scores is None:
        return None
    return RunRecord(
        path=path,
        config=config,
        fields=folder.read_json("config.json"),
        fingerprint=data["fingerprint"],
        units=data["attrs"]["units"],
        title=data["attrs"]["title"],
        scores=scores,
        cost=folder.read_json("cost.json") if folder.holds("cost.json") else {},
        hits=_table(folder, "hits.csv"),
        robustness=_table(folder, "robustness.csv"),
        quality=_table(folder, "quality.csv"),
    )


def _table(folder: RunFolder, name: str) -> pd.DataFrame | None:
    if not folder.holds(name):
        return None
    try:
        return pd.read_csv(folder / name)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{name} of a run must be a table; got an unreadable one in {folder.path}. "
            "Score the run again."
        ) from error


def by_dataset(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Sort runs by their data set.

    Args:
        records: The runs.

    Returns:
        Lists of runs by short names of data sets.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.dataset, []).append(record)
    return found


def by_row(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Sort the runs of one data set by the row of a table that they belong in.

    Args:
        records: Runs of one data set.

    Returns:
        Repetitions by name of the model, which says its preset where there are several: ours
        first, in the order of `VARIANTS`, then baselines.
    """
    presets = {record.config.preset_name for record in records if record.is_ours}
    order = {name: place for place, name in enumerate([*VARIANTS, *BASELINE_NAMES])}
    found: dict[str, list[RunRecord]] = {}
    for record in sorted(
        records, key=lambda run: (order.get(run.config.variant_name, len(order)), run.seed)
    ):
        name = record.config.model_name
        if record.is_ours and len(presets) > 1:
            name += f" ({record.config.preset_name})"
        found.setdefault(name, []).append(record)
    return found


def check_together(records: Sequence[RunRecord]) -> None:
    """Refuse runs that must not stand in one table, and say which one differs.

    Args:
        records: Runs of any data sets.

    Raises:
        RunError: Runs of a data set differ in readings, windows, split or protocol; runs of a row
            differ in more than the seed, or have the same; or the baselines without training, which
            are equal in all, are not.
    """
    for dataset, runs in by_dataset(records).items():
        for run in runs[1:]:
            _check_protocol(dataset, runs[0], run)
            _check_baselines(dataset, runs[0], run)
        for name, repetitions in by_row(runs).items():
            _check_row(dataset, name, repetitions)


def _check_protocol(dataset: str, first: RunRecord, other: RunRecord) -> None:
    for what, of in (
        ("readings (fingerprint)", lambda run: run.fingerprint),
        ("history_steps", lambda run: run.config.data.history_steps),
        ("horizon_steps", lambda run: run.config.data.horizon_steps),
        ("split", lambda run: run.config.data.split),
        ("protocol", lambda run: run.scores.attrs["protocol"]),
    ):
        if of(first) != of(other):
            raise RunError(
                f"Runs of {dataset} in one table must have the same {what}; got {of(other)!r} in "
                f"{other.path} and {of(first)!r} in {first.path}. Make tables of each kind alone."
            )


def _check_baselines(dataset: str, first: RunRecord, other: RunRecord) -> None:
    for name in set(first.baselines) & set(other.baselines):
        pair = [run.scores["mae"].sel(model=name).values for run in (first, other)]
        if not np.allclose(*pair, rtol=1e-3, equal_nan=True):
            raise RunError(
                f"The baseline {name!r} must have the same scores in all runs of {dataset}; got "
                f"a mean MAE of {pair[1].mean():.4f} in {other.path} and {pair[0].mean():.4f} in "
                f"{first.path}. Score both runs again with one version."
            )


def _check_row(dataset: str, name: str, runs: Sequence[RunRecord]) -> None:
    first, seeds = runs[0], {}
    for run in runs:
        if _recipe(run) != _recipe(first):
            raise RunError(
                f"Runs of one row must differ in their seed only; got {_difference(first, run)} "
                f"for {name} on {dataset}, in {first.path} and {run.path}. Make tables of each "
                "kind alone."
            )
        if run.seed in seeds:
            raise RunError(
                f"A row must count each seed once; got seed {run.seed} twice for {name} on "
                f"{dataset}, in {seeds[run.seed]} and {run.path}. Leave one of them out."
            )
        seeds[run.seed] = run.path


def _recipe(run: RunRecord) -> dict[str, Any]:
    """Give every field of the configuration but the labels and the seed."""
    fields = {
        f"{section}.{name}": value
        for section in ("data", "model", "train")
        for name, value in run.fields[section].items()
    }
    return {**fields, "train.seed": None}


def _difference(first: RunRecord, other: RunRecord) -> str:
    """Name the first field in which two configurations differ."""
    pair = [_recipe(run) for run in (first, other)]
    name = next(name for name in {**pair[0], **pair[1]} if pair[0].get(name) != pair[1].get(name))
    return f"{name}={json.dumps(pair[0].get(name))} and {json.dumps(pair[1].get(name))}"
