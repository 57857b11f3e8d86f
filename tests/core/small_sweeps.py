"""A small series on disk and small runs on it, for tests of sweeps and of result tables."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_runs import rhythm, small_config

from sttrans_core.experiments.plan import RunPlan, plan_runs

# What makes a preset as small as `small_config`.
SETTINGS = {
    section: {
        name: value
        for name, value in fields.items()
        if name not in {"dataset", "seed", "max_windows_per_epoch", "lag_days", "usual_weeks"}
        and name not in {"sources", "screening", "window", "position", "value", "residual"}
    }
    for section, fields in small_config().model_dump(include={"data", "model", "train"}).items()
}
OPTIONS = [
    f"--set={section}.{name}={value}"
    for section, fields in SETTINGS.items()
    for name, value in fields.items()
]


def save_series(folder: Path, **sizes: int) -> str:
    """Save a small series; give the name that a sweep knows it by."""
    path = folder / "small.nc"
    rhythm(missing=0.1, **sizes).to_netcdf(path)
    return str(path)


def small_plans(dataset: str, *, epochs: int = 2, **options: Any) -> list[RunPlan]:
    """Plan small runs."""
    train = {**SETTINGS["train"], "epochs": epochs, "patience": epochs}
    return plan_runs([dataset], settings={**SETTINGS, "train": train}, **options)


def wait_for(condition: Callable[[], bool], *, seconds: float = 300) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
