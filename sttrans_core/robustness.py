"""How forecasts suffer when what they see is damaged while the truth stays what it was."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sttrans_core.baselines import HistoricalAverage, LastObserved, LastValue
from sttrans_core.data.windows import Split, split_windows
from sttrans_core.forecaster import Forecaster, windows_at_once
from sttrans_core.metrics import ErrorSums
from sttrans_core.schema import interval_of
from sttrans_core.scores import write_table
from sttrans_core.slabs import is_in_memory

__all__ = ["CORRUPTIONS", "corrupt", "evaluate_robustness", "robustness_lines"]

Corruption = Literal["missing", "outage", "noise"]
CORRUPTIONS: dict[str, str] = {
    "clean": "readings as they are",
    "missing": "20 % of readings missing at random",
    "outage": "sensors out 20 % of the time, a history at a time",
    "noise": "white noise at 10 dB",
}
MISSING_SHARE = 0.2
SNR_DB = 10.0


def corrupt(
    dataset: xr.Dataset,
    kind: Corruption,
    *,
    std: float,
    block_steps: int,
    first_step: int = 0,
    seed: int = 0,
) -> xr.Dataset:
    """Damage the readings of a dataset from some step on, the same way for every model.

    Args:
        dataset: A labelled dataset in memory; it is not changed. Covariates stay as they are.
        kind: `missing` takes away a fifth of the readings, one by one at random. `outage` takes
            away as many, but from each node in blocks of time. `noise` adds Gaussian noise to
            every reading, with a tenth of the variance of the standardised readings.
        std: Standard deviation by which readings are standardised, in the dataset's units.
        block_steps: Steps of a block of an outage.
        first_step: Earlier readings are left alone.
        seed: Of the random numbers, which depend on it, `kind` and the size of the dataset alone.

    Returns:
        The damaged dataset.

    Raises:
        ValueError: `kind` is unknown, or the readings lie in a store.

    Source: a signal-to-noise ratio in decibels is ten times the decimal logarithm of the ratio of
    variances, here of z-scores and of what is added to them. Failing sensors as in Cini, Marisca
    and Alippi, "Filling the gaps" (2022), with blocks of one length.
    """
    if kind not in get_args(Corruption):
        raise ValueError(
            f"kind must be one of {', '.join(get_args(Corruption))}; got {kind!r}. "
            "Choose one of them."
        )
    if not is_in_memory(dataset["target"]):
        raise ValueError(
            "Robustness must be measured on a dataset in memory; got one that lies in a store. "
            "Pass dataset.load()."
        )
    rng = np.random.default_rng([seed, get_args(Corruption).index(kind)])
    readings = dataset["target"].values.copy()
    part = readings[first_step:]
    if kind == "noise":
        part += (rng.standard_normal(part.shape) * std * 10 ** (-SNR_DB / 20)).astype(part.dtype)
    else:
        part[_lost(rng, part.shape[:2], 1 if kind == "missing" else block_steps)] = np.nan
    return dataset.assign(target=dataset["target"].copy(data=readings))


def _lost(rng: np.random.Generator, shape: tuple[int, ...], length: int) -> np.ndarray:
    """Draw which (step, node) are lost, in blocks that begin at another step for each node."""
    steps, nodes = shape
    is_out = rng.random((steps // length + 2, nodes)) < MISSING_SHARE
    block = (np.arange(steps)[:, None] + rng.integers(length, size=nodes)) // length
    return np.take_along_axis(is_out, block, axis=0)


def evaluate_robustness(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    *,
    seeds: Sequence[int] = (0,),
    write: bool = False,
) -> xr.Dataset:
    """Score a forecaster and the baselines on the test part when only its histories are damaged.

    Nothing is trained again: the readings that were trained on are left alone, and so are the
    targets.

    Args:
        forecaster: A trained model.
        dataset: The series it was trained on, in memory.
        seeds: Damages are drawn anew for each, and errors pooled.
        write: Also write `robustness.csv` into the run folder.

    Returns:
        `mae` and `rmse` in original units over (model, corruption, horizon); a `corruption` is one
        of `CORRUPTIONS`. What counts is the growth against `clean`.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: There is no seed, or the dataset lies in a store.
    """
    if len(seeds) == 0:
        raise ValueError("There must be a seed to draw damages by; got none. Pass seeds=(0,).")
    data, clean = forecaster.config.data, forecaster.windows(dataset)
    parts = split_windows(
        dataset.sizes["time"], history_steps=data.history_steps,
        horizon_steps=data.horizon_steps, split=data.split,
    )  # fmt: skip
    scores: dict[str, dict[str, dict[str, Tensor]]] = {}
    for kind in CORRUPTIONS:
        sums: dict[str, ErrorSums] = {}
        for seed in seeds if kind != "clean" else seeds[:1]:
            seen = dataset if kind == "clean" else corrupt(
                dataset, kind, std=forecaster.data.scaler.std, block_steps=data.history_steps,
                first_step=parts.test.start, seed=seed,
            )  # fmt: skip # type: ignore[arg-type]
            for name, predict in _models(forecaster, seen, parts).items():
                each = sums.setdefault(name, ErrorSums())
                size = windows_at_once(dataset.sizes["node"])
                for first in range(0, len(parts.test), size):
                    starts = np.asarray(parts.test[first : first + size])
                    each.update(predict(starts), clean.batch(torch.from_numpy(starts)).target.cpu())
        for name, each in sums.items():
            scores.setdefault(name, {})[kind] = each.scores()
    minutes = interval_of(dataset).total_seconds() / 60
    steps = np.arange(1, data.horizon_steps + 1)
    result = xr.Dataset(
        {
            metric: (
                ("model", "corruption", "horizon"),
                np.stack([
                    [kinds[kind][metric].numpy() for kind in CORRUPTIONS]
                    for kinds in scores.values()
                ]),
            )
            for metric in ("mae", "rmse")
        },
        coords={
            "model": list(scores),
            "corruption": list(CORRUPTIONS),
            "horizon": steps,
            "lead_minutes": ("horizon", minutes * steps),
        },
        attrs={
            **{name: dataset.attrs[name] for name in ("units", "title", "source", "synthetic")},
            "protocol": f"{data.split} split, test part, {len(parts.test)} windows, histories "
            f"damaged ({', '.join(CORRUPTIONS[kind] for kind in get_args(Corruption))}), seeds "
            f"{', '.join(map(str, seeds))}",
        },
    )  # fmt: skip
    if write and forecaster.run_dir is not None:
        table = result.to_dataframe().reset_index()
        table["protocol"] = result.attrs["protocol"]
        write_table(table, forecaster.run_dir / "robustness.csv")
    return result


def _models(
    forecaster: Forecaster, seen: xr.Dataset, parts: Split
) -> dict[str, Callable[[np.ndarray], Tensor]]:
    """Give what forecasts from the starts of windows; baselines are fitted to clean readings."""
    data = forecaster.config.data
    windows = forecaster.windows(seen)

    def ours(starts: np.ndarray) -> Tensor:
        return forecaster.predict(windows.batch(torch.from_numpy(starts))).cpu()

    models = {f"ST-Trans {forecaster.config.variant_name}": ours}
    for kind in (LastValue, LastObserved, HistoricalAverage):
        fitted = kind(seen, num_train_steps=len(parts.train) + data.history_steps - 1)
        models[kind.label] = lambda starts, fitted=fitted: torch.from_numpy(
            fitted.predict(
                starts + data.history_steps - 1, horizon_steps=data.horizon_steps
            ).astype(np.float32)
        )
    return models


def robustness_lines(scores: xr.Dataset) -> str:
    """Give the growth of errors as lines of text, a line a model.

    Args:
        scores: From `evaluate_robustness`.

    Returns:
        Lines after an empty one, under a header.
    """
    error = scores["mae"].mean("horizon")
    lines = [f"\nMAE, mean of {scores.sizes['horizon']} steps, and its growth"]
    lines.append(" " * 28 + "".join(f"{kind:>12}" for kind in CORRUPTIONS))
    for name in scores["model"].values:
        each = error.sel(model=name)
        clean = float(each.sel(corruption="clean"))
        growth = "".join(
            f"{float(each.sel(corruption=kind)) / clean - 1:>+12.1%}"
            for kind in get_args(Corruption)
        )
        lines.append(f"{name:28}{clean:>12.3f}{growth}")
    return "\n".join(lines)
