"""Two runs in figures: their errors, and what seeds alone would make of such a difference."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from explorer.catalog import PUBLISHED, find_runs
from explorer.evidence import Evidence
from sttrans_core import ExperimentConfig, Forecaster
from sttrans_core.experiments.records import RunRecord, read_runs
from sttrans_core.runs import RunError
from sttrans_core.scores import shown_metrics
from stviz.labels import time_unit

__all__ = ["MomentErrors", "compare_moment", "compare_runs", "compare_scores", "read_ablations"]

STEPS = (0, 2, 5, 11)  # of the horizon; those that are shown beside the mean
ABOVE_FULL = "above that of full"  # what the published table calls the price of a variant


class MomentErrors(NamedTuple):
    """Mean absolute errors of two runs at one moment, and the share of places where B is closer."""

    first: float
    second: float
    share_closer: float
    units: str


def compare_moment(first: Evidence, second: Evidence, step: int) -> MomentErrors | None:
    """Compare two forecasts of one moment with what was measured.

    Args:
        first: Evidence of a run.
        second: Evidence of another run, for the same moment.
        step: Horizon step, from 1.

    Returns:
        Their errors over all places that were measured; None where none was.
    """
    slabs = [each.forecast.sel(horizon=step).isel(time=0) for each in (first, second)]
    truth = slabs[0]["target"].values
    sizes = [np.abs(slab["forecast"].values - truth) for slab in slabs]
    known = np.isfinite(truth)
    if not known.any():
        return None
    means = (float(size[known].mean()) for size in sizes)
    closer = float((sizes[1] < sizes[0])[known].mean())
    return MomentErrors(*means, closer, str(first.forecast.attrs.get("units", "")))


def compare_runs(first: Forecaster, second: Forecaster, root: Path) -> pd.DataFrame | None:
    """Put the test errors of two runs side by side, with the spread that seeds alone have.

    Args:
        first: A run.
        second: Another one of the same dataset.
        root: Folder of run folders, which may hold other seeds of the two.

    Returns:
        Index: lead time as text ("15 min", "6 h"), and the mean; columns `first`, `second`,
        `difference` (second minus first) and `spread`: the standard deviation of such a difference
        between one seed of each, NaN where only one seed of either is known. `attrs` name the
        metric, its units and the smaller number of seeds. None where a run was not scored, or
        the two were scored for other lead times.
    """
    scores = [run.scores for run in (first, second)]
    if any(each is None for each in scores):
        return None
    leads = scores[0]["lead_minutes"].values
    if not np.array_equal(leads, scores[1]["lead_minutes"].values):
        return None
    metric = shown_metrics(scores[0])[0]
    table = _at_leads({"first": scores[0][metric][0], "second": scores[1][metric][0]}, leads)
    table["difference"] = table["second"] - table["first"]
    seeds = [_other_seeds(run.config, metric, len(leads), root) for run in (first, second)]
    spreads = [_at_leads(each, leads).std(axis="columns") if each else np.nan for each in seeds]
    table["spread"] = np.hypot(*spreads)
    table.attrs = {
        "metric": metric,
        "units": str(scores[0].attrs.get("units", "")),
        "seeds": min(map(len, seeds)),
    }
    return table


def _at_leads(columns: dict[str, xr.DataArray], leads: np.ndarray) -> pd.DataFrame:
    """Give errors at a few lead times and their mean over all."""
    frame = pd.DataFrame({name: errors.values for name, errors in columns.items()})
    unit, minutes = time_unit(leads[0])
    frame.index = [f"{lead / minutes:g} {unit}" for lead in leads]
    shown = frame.iloc[[step for step in STEPS if step < len(frame)] or [0]]
    return pd.concat([shown, frame.mean().to_frame(f"mean of {len(frame)}").T])


def _other_seeds(
    config: ExperimentConfig, metric: str, num_steps: int, root: Path
) -> dict[str, xr.DataArray]:
    """Find the errors of all seeds of a configuration, one run of each."""
    recipe = _without_seed(config)
    dataset = config.data.dataset
    records = [*_published(dataset), *_own(root, dataset)]
    same = [record for record in records if _without_seed(record.config) == recipe]
    errors = {str(record.seed): record.scores[metric][0] for record in same}
    return {seed: each for seed, each in errors.items() if len(each) == num_steps}


def _without_seed(config: ExperimentConfig) -> ExperimentConfig:
    return config.replace({"train": {"seed": 0}})


@lru_cache(maxsize=4)
def _published(dataset: str) -> Sequence[RunRecord]:
    folder = PUBLISHED / "runs" / dataset
    return read_runs([folder])[0] if folder.is_dir() else []


def _own(root: Path, dataset: str) -> list[RunRecord]:
    found = []
    for run in find_runs(root):
        if run.dataset == dataset:
            try:
                found += read_runs([run.path])[0]
            except (RunError, OSError):  # not scored yet, or damaged: the sweep's business
                continue
    return found


@lru_cache(maxsize=1)
def read_ablations() -> pd.DataFrame:
    """Read what each variant costs, from the published table of ablations.

    Returns:
        Columns dataset, variant, mean and sd (percent above the error of `full` with the same
        seeds, mean over the lead times) and seeds; empty where nothing is published here.
    """
    try:
        table = pd.read_csv(PUBLISHED / "tables" / "table3.csv")
    except OSError:
        return pd.DataFrame(columns=["dataset", "variant", "mean", "sd", "seeds"])
    prices = table["section"].str.contains(ABOVE_FULL) & table["column"].str.startswith("mean of")
    table = table[prices].assign(variant=table["row"].str.removeprefix("ST-Trans "))
    return table[["dataset", "variant", "mean", "sd", "seeds"]].reset_index(drop=True)


def compare_scores(forecaster: Forecaster, reference: Forecaster | None) -> pd.DataFrame | None:
    """Put the test error of a run beside that of another, at a few lead times.

    Args:
        forecaster: The run.
        reference: The run it is compared with, of the same dataset.

    Returns:
        Index: lead time as text ("15 min", "6 h"), and the mean; columns `mae` and
        `last observed`, and, with a reference, `reference` and `difference` (positive: the run is
        worse), in the units of the data. None where the run was not evaluated.
    """
    scores = forecaster.scores
    if scores is None:
        return None
    columns = {"mae": scores["mae"].isel(model=0)}
    if "last observed value" in scores["model"].values:
        columns["last observed"] = scores["mae"].sel(model="last observed value")
    other = reference.scores if reference is not None else None
    if other is not None and other.sizes["horizon"] == scores.sizes["horizon"]:
        columns["reference"] = other["mae"].isel(model=0)
        columns["difference"] = columns["mae"] - columns["reference"]
    return _at_leads(columns, scores["lead_minutes"].values)
