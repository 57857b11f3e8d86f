"""Run folders that nobody trained, with the files that result tables are made from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sttrans_core.config import ExperimentConfig
from sttrans_core.evaluation.metrics import METRICS
from sttrans_core.evaluation.robustness import CORRUPTIONS
from sttrans_core.runs import RunFolder

STEPS = 3
NAIVE = {"last observed value": 9.0}


def mock_run(
    root: Path,
    name: str,
    *,
    mae: float,
    seed: int = 0,
    variant: str = "full",
    baseline: str | None = None,
    dataset: str = "here",
    preset: str = "small",
    units: str = "mph",
    fingerprint: str = "f00d",
    protocol: str = "standard split",
    naive: dict[str, float] | None = None,
    changes: dict[str, Any] | None = None,
    acc: float = np.nan,
) -> Path:
    """Write a run with an error of `mae`, twice it and three times it at 5, 10 and 15 minutes.

    Its RMSE is 10 above that, its MAPE 20; those of baselines without training likewise.
    """
    config = ExperimentConfig.preset(preset, dataset=dataset)
    config = config.baseline(baseline) if baseline else config.variant(variant)
    config = config.replace({"data": {"horizon_steps": STEPS}, "model": {"num_segments": 3}}
                            if not baseline else {"data": {"horizon_steps": STEPS}})  # fmt: skip
    config = config.replace({"train": {"seed": seed}}).replace(changes or {})
    folder = RunFolder(root / name)
    folder.create()
    folder.write_text("config.json", config.to_json())
    attrs = {"units": units, "title": "A place", "source": "a test", "synthetic": 0}
    folder.write_json("data.json", {"fingerprint": fingerprint, "attrs": attrs})
    rows = []
    for model, error in {config.model_name: mae, **(naive or NAIVE)}.items():
        for step in range(1, STEPS + 1):
            value = error * step
            values = {"mae": value, "rmse": value + 10, "mape": value + 20, "r2": 0.5, "acc": acc}
            rows.append(
                {"model": model, "horizon": step, **{m: values.get(m, 0.0) for m in METRICS},
                 "lead_minutes": 5.0 * step, "protocol": protocol}
            )  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    return folder.path


def add_damages(run: Path, growth: dict[str, float], *, naive: float = 2.0, seeds: int = 0) -> None:
    """Add errors that grow by a factor for each damage; those of the baseline by `naive`."""
    config = RunFolder(run).config()
    clean = pd.read_csv(run / "scores.csv")
    tables = []
    for kind in CORRUPTIONS:
        factor = {config.model_name: growth.get(kind, 1.0)}
        table = clean[["model", "horizon", "mae", "rmse", "lead_minutes"]].copy()
        more = table["model"].map(lambda name, of=factor: of.get(name, naive))
        table[["mae", "rmse"]] = table[["mae", "rmse"]].mul(
            more if kind != "clean" else 1.0, axis=0
        )
        tables.append(table.assign(corruption=kind, protocol=f"damages, seeds {seeds}"))
    pd.concat(tables).to_csv(run / "robustness.csv", index=False)


def add_costs(run: Path, **fields: Any) -> None:
    """Add the costs of a run."""
    usual = {"parameters": 1200, "inference_ms": 2.5, "device": "a processor", "threads": 1}
    (run / "cost.json").write_text(json.dumps({**usual, **fields}))


def add_hits(run: Path, rates: tuple[float, float], counts: tuple[int, int]) -> None:
    """Add hit rates of two segments in congested traffic; nothing is scored in free traffic."""
    rows = [
        {"regime": regime, "segment": segment, "hit_rate": rate if count else np.nan,
         "nearest": 0.5, "chance": 0.25, "num_scored": count, "num_targets": 50,
         "protocol": "standard split, test part, 60 origins, Top-8"}
        for regime, numbers in (("congested", counts), ("free", (0, 0)))
        for segment, (rate, count) in enumerate(zip(rates, numbers, strict=True), start=1)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(run / "hits.csv", index=False)


def add_quality(run: Path, **figures: tuple[float, float]) -> None:
    """Add figures of the alignment with chance, over all segments and of one."""
    rows = []
    for figure, (value, chance) in figures.items():
        whole = {"figure": figure, "segment": None, "head": None, "alignment": value,
                 "integrated_gradients": None, "nearest": None, "chance": chance,
                 "protocol": "standard split, test part, 24 origins"}  # fmt: skip
        rows += [whole, {**whole, "segment": 1, "alignment": -1.0}]
    pd.DataFrame(rows).to_csv(run / "quality.csv", index=False)
