"""The cells of result tables: mean and spread over repetitions, and where each stands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.experiments.records import RunRecord

__all__ = ["COLUMNS", "METRICS", "Cell", "at_leads", "cell", "lead_label", "minutes_of", "units_of"]

COLUMNS = (
    "dataset", "section", "row", "column", "units", "better", "mean", "sd", "seeds", "runs",
)  # fmt: skip
METRICS = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R2", "acc": "ACC"}
Cell = dict[str, Any]


def cell(
    section: str,
    row: str,
    column: str,
    values: Iterable[float],
    runs: Sequence[RunRecord],
    *,
    units: str = "",
    better: str = "",
) -> Cell:
    """Give the mean and the spread of what some runs say.

    Args:
        section: Part of the table.
        row: What is compared.
        column: In which respect.
        values: One a run; NaN stays out.
        runs: Repetitions that differ in their seed; none for what is not trained.
        units: Of the values.
        better: `lower`, `higher`, or neither.

    Returns:
        `COLUMNS` but the data set.
    """
    known = np.array([value for value in values if np.isfinite(value)], dtype=float)
    return {
        "section": section,
        "row": row,
        "column": column,
        "units": units,
        "better": better,
        "mean": known.mean() if known.size else np.nan,
        "sd": known.std(ddof=1) if known.size > 1 else np.nan,
        "seeds": len(known) if runs else 0,
        "runs": " ".join(run.hash for run in runs),
    }


def minutes_of(leads: Sequence[str]) -> list[float]:
    """Read lead times.

    Args:
        leads: Such as "15min" or "24h".

    Returns:
        Minutes.

    Raises:
        ValueError: One is no time.
    """
    try:
        return [pd.Timedelta(lead) / pd.Timedelta("1min") for lead in leads]
    except ValueError as error:
        raise ValueError(
            f"A lead time must be a number with its unit; got {', '.join(leads)} ({error}). "
            "Write for example 15min or 24h."
        ) from error


def lead_label(minutes: float) -> str:
    """Write a lead time.

    Args:
        minutes: How far ahead.

    Returns:
        In minutes below two hours, else in hours.
    """
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"


def at_leads(scores: xr.DataArray, leads: Sequence[float]) -> Mapping[str, float]:
    """Pick the scores of one model at some lead times.

    Args:
        scores: Over horizon.
        leads: Minutes; those that were not scored are left out.

    Returns:
        By label, with the mean over all steps; nothing where none was scored.
    """
    scored = scores["lead_minutes"].values.tolist()
    found = {
        lead_label(lead): float(scores[scored.index(lead)]) for lead in leads if lead in scored
    }
    return {**found, f"mean of {len(scored)} steps": float(scores.mean())} if found else {}


def units_of(run: RunRecord, metric: str) -> str:
    """Give the units of a metric.

    Args:
        run: Says those of the data.
        metric: One of `METRICS`.

    Returns:
        Nothing for R2 and ACC.
    """
    return {"mape": "%", "r2": "", "acc": ""}.get(metric, run.units)
