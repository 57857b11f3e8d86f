"""Score tables as labelled data and as CSV."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.evaluation.metrics import METRICS
from sttrans_core.runs import RunError
from sttrans_core.whole_files import write_whole

__all__ = ["read_scores", "shown_metrics", "write_scores", "write_table"]


def write_scores(scores: xr.Dataset, path: Path) -> None:
    """Write scores as a CSV with a line per model and horizon step.

    Args:
        scores: From `evaluate`.
        path: File to write.
    """
    table = scores[list(METRICS)].to_dataframe().reset_index()
    table["protocol"] = scores.attrs["protocol"]
    write_table(table, path)


def shown_metrics(scores: xr.Dataset) -> tuple[str, ...]:
    """Name the metrics that the field reports for such data.

    Args:
        scores: From `evaluate`.

    Returns:
        Three of `METRICS`, the one that models are ranked by first.
    """
    if np.isfinite(scores["acc"]).any():
        return ("rmse", "mae", "acc")
    return ("rmse", "mae", "r2") if scores.attrs["units"] == "trips" else ("mae", "rmse", "mape")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all.

    Args:
        table: What to write.
        path: File to write.
    """
    write_whole(path, table.to_csv(index=False, float_format="%.5f", lineterminator="\n"))


def read_scores(run_dir: Path, attrs: dict[str, Any], *, horizon_steps: int) -> xr.Dataset | None:
    """Read the scores of a run.

    Args:
        run_dir: Folder of the run.
        attrs: Attributes of its data.
        horizon_steps: Steps that it forecasts.

    Returns:
        The scores, or None where the run was not evaluated.

    Raises:
        RunError: The file is damaged, or lacks a step of a model.
    """
    path = Path(run_dir) / "scores.csv"
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path)
        order = list(dict.fromkeys(table["model"]))
        table = table.assign(**{name: np.nan for name in METRICS if name not in table})
        scores = table.set_index(["model", "horizon"])[list(METRICS)].astype(float).to_xarray()
        scores = scores.sel(model=order)
        lead = table.drop_duplicates("horizon").sort_values("horizon")["lead_minutes"]
        lead, protocol = lead.astype(float).to_numpy(), str(table["protocol"].iloc[0])
        steps = table.groupby("model")["horizon"].apply(sorted)
        if any(each != [*range(1, horizon_steps + 1)] for each in steps):
            raise ValueError("A step of a model is missing or there twice.")
    except (OSError, LookupError, ValueError) as error:  # of pandas and xarray
        raise RunError(
            "scores.csv of a run must be a whole table, as evaluate writes it; got a damaged one "
            f"in {path.parent}. Score the run again with write=True."
        ) from error
    return scores.assign_coords(lead_minutes=("horizon", lead)).assign_attrs(
        units=attrs["units"],
        title=attrs["title"],
        source=attrs["source"],
        synthetic=attrs["synthetic"],
        protocol=protocol,
    )
