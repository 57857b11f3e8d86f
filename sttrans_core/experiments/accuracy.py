"""Tables of errors: comparison with baselines, ablations, damaged histories."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.evaluation.robustness import CORRUPTIONS
from sttrans_core.experiments.cells import METRICS, Cell, at_leads, cell, units_of
from sttrans_core.experiments.records import RunRecord, by_row
from sttrans_core.runs import RunError
from sttrans_core.scores import shown_metrics

__all__ = ["ablation_cells", "comparison_cells", "robustness_cells"]

DAMAGES = {"clean": "clean", "missing": "20 % missing", "outage": "outages", "noise": "10 dB noise"}


def comparison_cells(
    runs: Sequence[RunRecord], *, leads: Sequence[float], ranked_by: str
) -> Iterator[Cell]:
    """Compare the full model with baselines.

    Args:
        runs: Of one data set.
        leads: Minutes.
        ranked_by: Data sets whose models are ranked by another metric give nothing.

    Yields:
        Cells: a section for each metric, a column for each lead time; the best model first.
    """
    metrics = shown_metrics(runs[0].scores)
    if metrics[0] != ranked_by:
        return
    rows: dict[str, tuple[list[xr.Dataset], list[RunRecord]]] = {
        row: ([run.scores.isel(model=0) for run in repetitions], repetitions)
        for row, repetitions in by_row(_compared(runs)).items()
    }
    for run in runs:
        rows |= {name: ([run.scores.sel(model=name)], []) for name in run.baselines}

    def error(row: str) -> float:
        value = np.mean([float(scores[ranked_by].mean()) for scores in rows[row][0]])
        return float(np.nan_to_num(value, nan=np.inf))

    for metric in metrics:
        better = "higher" if metric in {"r2", "acc"} else "lower"
        about = {"units": units_of(runs[0], metric), "better": better}
        for row in sorted(rows, key=error):
            each = [at_leads(scores[metric], leads) for scores in rows[row][0]]
            for column in each[0]:
                values = [scores[column] for scores in each]
                yield cell(METRICS[metric], row, column, values, rows[row][1], **about)


def _compared(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if not run.is_ours or run.config.variant_name == "full"]


def ablation_cells(runs: Sequence[RunRecord], *, leads: Sequence[float]) -> Iterator[Cell]:
    """Compare variants with the full model, seed by seed.

    Args:
        runs: Of one data set.
        leads: Minutes.

    Yields:
        Cells: the errors, and by how much they are above those of the full model with the same
        preset and seed; nothing without a variant and the full model.
    """
    metric = shown_metrics(runs[0].scores)[0]
    rows = by_row([run for run in runs if run.is_ours])
    scores = {run.path: at_leads(run.scores[metric][0], leads) for run in runs}
    full = {_pair_of(run): scores[run.path] for run in runs if run.config.variant_name == "full"}
    if not full or len(rows) < 2:
        return
    for row, repetitions in rows.items():
        for column in scores[repetitions[0].path]:
            yield cell(
                METRICS[metric], row, column, [scores[run.path][column] for run in repetitions],
                repetitions, units=units_of(runs[0], metric), better="lower",
            )  # fmt: skip
    for row, repetitions in rows.items():
        paired = [run for run in repetitions if _pair_of(run) in full]
        if not paired or paired[0].config.variant_name == "full":
            continue
        for column in scores[paired[0].path]:
            values = [
                100 * (scores[run.path][column] / full[_pair_of(run)][column] - 1) for run in paired
            ]
            section = f"{METRICS[metric]} above that of full, same seeds"
            yield cell(section, row, column, values, paired, units="%")


def _pair_of(run: RunRecord) -> tuple[str, int]:
    return run.config.preset_name, run.seed


def robustness_cells(runs: Sequence[RunRecord]) -> Iterator[Cell]:
    """Compare what damaged histories do to the full model and to baselines.

    Args:
        runs: Of one data set.

    Yields:
        Cells: errors, mean of all steps, and their growth.

    Raises:
        RunError: Histories were damaged in different ways.
    """
    measured = [(run, run.robustness) for run in _compared(runs) if run.robustness is not None]
    if not measured:
        return
    metric = shown_metrics(runs[0].scores)[0]
    errors = {}
    for run, table in measured:
        _check_damages((run, table), measured[0])
        errors[run.path] = table.pivot_table(metric, "model", "corruption", sort=False)
    rows = by_row([run for run, _ in measured])
    lines = {
        row: [errors[run.path].loc[run.config.model_name] for run in repetitions]
        for row, repetitions in rows.items()
    }
    for name in measured[0][0].baselines:
        if name in errors[measured[0][0].path].index:
            lines[name] = [errors[measured[0][0].path].loc[name]]
    section = f"{METRICS[metric]}, mean of {runs[0].scores.sizes['horizon']} steps"
    for row, each in lines.items():
        for kind, column in DAMAGES.items():
            yield cell(
                section, row, column, [line[kind] for line in each], rows.get(row, []),
                units=units_of(runs[0], metric), better="lower",
            )  # fmt: skip
    for row, each in lines.items():
        for kind in [kind for kind in CORRUPTIONS if kind != "clean"]:
            growth = [100 * (line[kind] / line["clean"] - 1) for line in each]
            yield cell(
                f"growth of {METRICS[metric]}", row, DAMAGES[kind], growth, rows.get(row, []),
                units="%",
            )  # fmt: skip


def _check_damages(
    other: tuple[RunRecord, pd.DataFrame], first: tuple[RunRecord, pd.DataFrame]
) -> None:
    pair = [str(table["protocol"].iloc[0]) for _, table in (other, first)]
    if pair[0] != pair[1]:
        raise RunError(
            f"Runs of {other[0].dataset} in one table must have the same damages; got {pair[0]!r} "
            f"in {other[0].path} and {pair[1]!r} in {first[0].path}. Measure both again alike."
        )
