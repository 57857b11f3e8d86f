"""Scores of a forecaster beside the baselines, with every choice of the protocol named."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from sttrans_core.baselines import FITTED, HistoricalAverage, LastObserved, LastValue
from sttrans_core.baselines.climatology import AnomalyPersistence, Climatology, covers_seasons
from sttrans_core.baselines.seasonal import SeasonalNaive
from sttrans_core.baselines.types import FittedBaseline
from sttrans_core.config import DataConfig
from sttrans_core.data.splits import Split, SplitRule, split_dataset, split_name
from sttrans_core.evaluation.metrics import METRICS, ErrorSums
from sttrans_core.forecaster import Forecaster, windows_at_once
from sttrans_core.grid import as_nodes, is_grid
from sttrans_core.origins import spread_origins
from sttrans_core.runs import fingerprint
from sttrans_core.schema import check_dataset, interval_of, steps_per_day
from sttrans_core.scores import write_scores, write_table
from sttrans_core.slabs import read_steps
from sttrans_core.truth.hits import HitRate, has_truth, hit_rate

__all__ = ["evaluate", "evaluate_baselines", "evaluate_hits", "suited_baselines"]

Part = Literal["train", "validation", "test"]
Over = Literal["step", "prefix"]
Missing = Literal["ignore", "as_zero"]


def evaluate(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    *,
    part: Part = "test",
    over: Over = "step",
    missing: Missing = "ignore",
    smallest_target: float = 1e-4,
    write: bool = False,
) -> xr.Dataset:
    """Score a forecaster and the baselines on the same windows, pooled over the whole part.

    Args:
        forecaster: A trained model.
        dataset: The series it was trained on, or another one; `protocol` then says so.
        part: Which windows: `train`, `validation` or `test`.
        over: `step` scores each horizon step alone (the field's standard), `prefix` all steps up
            to it.
        missing: `ignore` leaves missing targets out; `as_zero` scores them as readings of 0.
        smallest_target: MAPE leaves out targets whose size is at most this, in original units.
        write: Also write `scores.csv` into the run folder.

    Returns:
        Over (model, horizon) `mae`, `rmse`, `bias` (original units), `mape` (percent), `r2` and
        `acc`, the anomaly correlation, which only grids with a year of training have; on a grid,
        cells count by their area. `attrs` state the protocol.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: `part`, `over` or `missing` is none of its choices; or the dataset holds other
            readings than the run's series, and the part overlaps the period that the run was
            trained on. (Simulated months may share dates.)
    """
    _check_choices(part=part, over=over, missing=missing)
    windows = forecaster.windows(dataset)
    data = forecaster.config.data

    def predict(origins: np.ndarray) -> np.ndarray:
        batch = windows.batch(torch.from_numpy(origins - data.history_steps + 1))
        return forecaster.predict(batch).cpu().numpy()

    note = _origin(forecaster, dataset, part)
    choices = {"over": over, "missing": missing, "smallest_target": smallest_target}
    ours = _score(
        {forecaster.config.model_name: predict},
        dataset, data.history_steps, data.horizon_steps, data.split, part, **choices,
    )  # fmt: skip
    baselines = evaluate_baselines(
        dataset,
        history_steps=data.history_steps,
        horizon_steps=data.horizon_steps,
        split=data.split,
        part=part,
        **choices,
    )
    scores = xr.concat([ours, baselines], dim="model", combine_attrs="override")
    scores.attrs["protocol"] += note
    if write and forecaster.run_dir is not None:
        write_scores(scores, forecaster.run_dir / "scores.csv")
    return scores


def _check_choices(**choices: object) -> None:
    known = {"part": Part, "over": Over, "missing": Missing}
    for name, value in choices.items():
        if value not in get_args(known[name]):
            raise ValueError(
                f"{name} must be one of {', '.join(get_args(known[name]))}; got {value!r}. "
                "Choose one of them."
            )


def _origin(forecaster: Forecaster, dataset: xr.Dataset, part: Part) -> str:
    """Say where the series comes from, if it is not the one that the run was trained on.

    Readings that a run was trained on are no test of it, so dates must not overlap. Simulated
    series of the same dates are different readings and may.
    """
    fitted, data = forecaster.data, forecaster.config.data
    if fingerprint(dataset) == fitted.fingerprint:
        return ""
    if dataset.attrs["synthetic"] and fitted.attrs["synthetic"]:
        return ", another simulated series"
    windows = getattr(_split(dataset, data), part)
    times = pd.DatetimeIndex(dataset["time"].values)
    first = times[windows.start + data.history_steps]
    last = times[windows.stop - 1 + data.history_steps + data.horizon_steps - 1]
    began, ended = (pd.Timestamp(time) for time in fitted.period)
    if first <= ended and last >= began:
        raise ValueError(
            f"The {part} part must not overlap the period that the run was trained on, {began} to "
            f"{ended}; got other readings with targets from {first} to {last}. Pass the series of "
            "the training, or a part of it after that period."
        )
    return ", another series"


def _split(dataset: xr.Dataset, data: DataConfig) -> Split:
    return split_dataset(
        dataset,
        history_steps=data.history_steps,
        horizon_steps=data.horizon_steps,
        split=data.split,
    )


def evaluate_baselines(
    dataset: xr.Dataset,
    *,
    history_steps: int = 12,
    horizon_steps: int = 12,
    split: SplitRule = "standard",
    part: Part = "test",
    over: Over = "step",
    missing: Missing = "ignore",
    smallest_target: float = 1e-4,
    first: Sequence[str] = (),
    lags: Sequence[Sequence[int]] = (),
) -> xr.Dataset:
    """Score the baselines that need no training by gradient; see `evaluate`.

    For sensors and zones: last value as stored, last observed value, historical average, and the
    same time of earlier days where the series has them. For grids: last observed value, and
    climatology and anomaly persistence where training covers a year, else historical average.

    Args:
        dataset: A labelled dataset.
        history_steps: Steps a window sees.
        horizon_steps: Steps a window forecasts.
        split: `standard` (7:1:2), `paper` (7:2:1), or the two times of `split_dataset`.
        part: Which windows.
        over: `step` or `prefix`.
        missing: `ignore` or `as_zero`.
        smallest_target: MAPE leaves out targets whose size is at most this, in original units.
        first: Names of further ones, to stand before these: `ridge`, `pooled_regression` and
            `arima`, whose fitting takes up to minutes.
        lags: Steps back to earlier readings that `pooled_regression` sees, too, as `lags_of` gives
            them for an experiment.

    Returns:
        Scores over (model, horizon).

    Raises:
        SchemaError: The dataset does not keep the contract.
        ValueError: The series is too short for the windows, or `part`, `over`, `missing` or a name
            is none of its choices.
        ImportError: ARIMA needs statsforecast and joblib.
    """
    _check_choices(part=part, over=over, missing=missing)
    if unknown := set(first) - FITTED.keys():
        raise ValueError(
            f"first must name baselines out of {', '.join(FITTED)}; got {min(unknown)!r}. "
            "Choose of them."
        )
    check_dataset(dataset)
    parts = split_dataset(
        dataset, history_steps=history_steps, horizon_steps=horizon_steps, split=split
    )
    num_train_steps = len(parts.train) + history_steps - 1
    nodes = as_nodes(dataset)
    known = {"num_train_steps": num_train_steps}
    further: dict[str, dict[str, Any]] = {"ridge": {"horizon_steps": horizon_steps}}
    further["pooled_regression"] = {
        "horizon_steps": horizon_steps, "history_steps": history_steps, "lags": lags
    }  # fmt: skip
    named = (FITTED[name](nodes, **known, **further.get(name, {})) for name in first)
    suited = suited_baselines(nodes, **known, horizon_steps=horizon_steps, on_grid=is_grid(dataset))
    models = {
        baseline.label: partial(baseline.predict, horizon_steps=horizon_steps)
        for baseline in (*named, *suited)
    }
    return _score(
        models, dataset, history_steps, horizon_steps, split, part,
        over=over, missing=missing, smallest_target=smallest_target,
    )  # fmt: skip


def suited_baselines(
    dataset: xr.Dataset,
    *,
    num_train_steps: int,
    horizon_steps: int,
    on_grid: bool,
    seen: xr.DataArray | None = None,
) -> Iterator[FittedBaseline]:
    """Give the baselines that such data is compared with; see `evaluate_baselines`.

    Args:
        dataset: A labelled dataset of nodes.
        num_train_steps: Steps of the training part.
        horizon_steps: Steps to forecast.
        on_grid: Whether the nodes are the cells of a grid.
        seen: What forecasts look back at, if other readings than those of `dataset`.

    Yields:
        Each of them, fitted.
    """
    fit = {"num_train_steps": num_train_steps}
    if not on_grid:
        yield LastValue(dataset, **fit, seen=seen)
    yield LastObserved(dataset, **fit, seen=seen)
    if on_grid and covers_seasons(dataset, num_train_steps):
        yield Climatology(dataset, **fit)
        yield AnomalyPersistence(dataset, **fit, seen=seen)
    else:
        yield HistoricalAverage(dataset, **fit)
    if on_grid or pd.Timedelta("1D") % interval_of(dataset):
        return
    for days in (1, 7):
        if horizon_steps <= days * steps_per_day(dataset) < num_train_steps:
            yield SeasonalNaive(dataset, **fit, days=days, seen=seen)


def evaluate_hits(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    *,
    part: Part = "test",
    num_origins: int = 60,
    write: bool = False,
) -> HitRate | None:
    """Score alignments against the true causes, at forecast origins spread evenly over a part.

    Args:
        forecaster: A trained model.
        dataset: The series it was trained on, or another one that fits.
        part: Which windows: `train`, `validation` or `test`.
        num_origins: Forecast origins, at most; every place is a target at each.
        write: Also write `hits.csv` into the run folder: the figures of `HitRate.by_regime`.

    Returns:
        The hit rate, or None where there is nothing to score: the data is not simulated, or the
        run has no alignment.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: As in `evaluate`.
    """
    _check_choices(part=part)
    if not has_truth(dataset) or not forecaster.has_alignment:
        return None
    _origin(forecaster, dataset, part)
    data = forecaster.config.data
    times = spread_origins(dataset, data, part=part, num_origins=num_origins)
    hits = hit_rate((forecaster.align(dataset, time) for time in times), dataset)
    if write and forecaster.run_dir is not None:
        table = hits.by_regime.to_dataframe().reset_index()
        top = hits.by_regime.attrs["top"]
        table["protocol"] = (
            f"{split_name(data.split)}, {part} part, {len(times)} origins, Top-{top}"
        )
        write_table(table, forecaster.run_dir / "hits.csv")
    return hits


def _score(
    models: dict[str, Callable[[np.ndarray], np.ndarray]],
    dataset: xr.Dataset,
    history_steps: int,
    horizon_steps: int,
    split: SplitRule,
    part: Part,
    *,
    over: Over,
    missing: Missing,
    smallest_target: float,
) -> xr.Dataset:
    parts = split_dataset(
        dataset, history_steps=history_steps, horizon_steps=horizon_steps, split=split
    )
    on_grid, dataset = is_grid(dataset), as_nodes(dataset)
    starts = np.asarray(getattr(parts, part), dtype=np.int64)
    origins = starts + history_steps - 1
    size = windows_at_once(dataset.sizes["node"])
    num_train_steps = len(parts.train) + history_steps - 1
    weight, usual = None, None
    if on_grid:
        weight = torch.from_numpy(np.cos(np.radians(dataset["latitude"].values)))
        if covers_seasons(dataset, num_train_steps):
            usual = Climatology(dataset, num_train_steps=num_train_steps)
    num_channels = dataset.sizes.get("channel", 1)
    shape = (horizon_steps, dataset.sizes["node"], num_channels)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32).reshape(-1, *shape))

    table: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for predict in models.values():
        sums = ErrorSums(missing=missing, smallest_target=smallest_target, weight=weight)
        for first in range(0, len(origins), size):
            some = origins[first : first + size]
            target = read_steps(dataset["target"], some[:, None] + np.arange(1, horizon_steps + 1))
            normal = None
            if usual is not None:
                normal = tensor(usual.predict(some, horizon_steps=horizon_steps))
            sums.update(tensor(predict(some)), tensor(target), normal=normal)
        for name, values in sums.scores(over=over).items():
            table[name].append(values.numpy())
    minutes = interval_of(dataset).total_seconds() / 60
    steps = np.arange(1, horizon_steps + 1)
    return xr.Dataset(
        {name: (("model", "horizon"), np.stack(rows)) for name, rows in table.items()},
        coords={
            "model": list(models),
            "horizon": steps,
            "lead_minutes": ("horizon", minutes * steps),
        },
        attrs={
            "units": dataset.attrs["units"],
            "title": dataset.attrs["title"],
            "source": dataset.attrs["source"],
            "synthetic": dataset.attrs["synthetic"],
            "protocol": f"{split_name(split)}, {part} part, {len(starts)} windows, per {over}, "
            f"missing targets {'ignored' if missing == 'ignore' else 'scored as 0'}"
            f"{', cells weighted by area' if on_grid else ''}",
        },
    )
