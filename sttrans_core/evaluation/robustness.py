"""How forecasts suffer when what they see is damaged while the truth stays what it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sttrans_core.data.splits import split_dataset, split_name
from sttrans_core.evaluation.metrics import ErrorSums
from sttrans_core.evaluation.protocol import suited_baselines
from sttrans_core.forecaster import Forecaster, windows_at_once
from sttrans_core.grid import as_nodes, is_grid
from sttrans_core.schema import interval_of
from sttrans_core.scores import write_table
from sttrans_core.slabs import is_in_memory, read_steps

__all__ = ["CORRUPTIONS", "corrupt", "evaluate_robustness", "fits_memory", "robustness_lines"]

Corruption = Literal["missing", "outage", "noise"]
CORRUPTIONS: dict[str, str] = {
    "clean": "readings as they are",
    "missing": "20 % of readings missing at random",
    "outage": "sensors out 20 % of the time, a history at a time",
    "noise": "white noise at 10 dB",
}
MISSING_SHARE = 0.2
SNR_DB = 10.0
MOST_READINGS = 1 << 28  # 1 GB in single precision


def corrupt(
    dataset: xr.Dataset,
    kind: Corruption,
    *,
    std: float,
    block_steps: int,
    first_step: int = 0,
    seed: int = 0,
) -> xr.Dataset:
    """Damage the readings of a dataset, the same way for every model.

    Args:
        dataset: A labelled dataset in memory; it is not changed. Covariates stay as they are.
        kind: `missing` takes away a fifth of the readings, one by one at random. `outage` takes
            away as many, but from each node in blocks of time. `noise` adds Gaussian noise to
            every reading, with a tenth of the variance of the standardised readings.
        std: Standard deviation by which readings are standardised, in the dataset's units.
        block_steps: Steps of a block of an outage.
        first_step: Where the test part begins. Readings before it are damaged, too, since a
            forecast may look back to them, but drawn apart: however long the record before it is,
            the test part is damaged alike.
        seed: Of the random numbers, which depend on it, `kind` and the sizes of both parts alone.

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
    readings = dataset["target"].values.copy()
    stream = [seed, get_args(Corruption).index(kind)]
    for part, draws in ((readings[first_step:], stream), (readings[:first_step], [*stream, 1])):
        rng = np.random.default_rng(draws)
        if kind == "noise":
            noise = rng.standard_normal(part.shape) * std * 10 ** (-SNR_DB / 20)
            np.add(part, noise.astype(part.dtype), out=part)
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
    """Score a forecaster and the baselines on the test part when all that they see is damaged.

    So are the readings of earlier days that a forecast looks back to. Nothing is trained or fitted
    again, and targets are as they were.

    Args:
        forecaster: A trained model.
        dataset: The series it was trained on.
        seeds: Damages are drawn anew for each, and errors pooled.
        write: Also write `robustness.csv` into the run folder.

    Returns:
        `mae` and `rmse` in original units over (model, corruption, horizon), as `evaluate` defines
        them; a `corruption` is one of `CORRUPTIONS`. What counts is the growth against `clean`.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: There is no seed, or the readings do not fit the memory.
    """
    if len(seeds) == 0:
        raise ValueError("There must be a seed to draw damages by; got none. Pass seeds=(0,).")
    if not fits_memory(dataset):
        raise ValueError(
            f"Robustness must be measured on readings that fit the memory; got "
            f"{dataset['target'].size:,} of them. Pass a part of the series."
        )
    data = forecaster.config.data
    parts = split_dataset(
        dataset, history_steps=data.history_steps, horizon_steps=data.horizon_steps,
        split=data.split,
    )  # fmt: skip
    on_grid, nodes = is_grid(dataset), as_nodes(dataset)
    nodes = nodes.assign(target=nodes["target"].compute())
    errors: dict[tuple[str, str], ErrorSums] = {}  # by corruption and model
    for corruption in CORRUPTIONS:
        for seed in seeds if corruption != "clean" else seeds[:1]:
            seen = nodes
            if corruption != "clean":
                seen = corrupt(
                    nodes, corruption, std=forecaster.data.scaler.std, seed=seed,  # type: ignore[arg-type]
                    block_steps=data.history_steps, first_step=parts.test.start,
                )  # fmt: skip
            baselines = suited_baselines(
                nodes, num_train_steps=len(parts.train) + data.history_steps - 1,
                horizon_steps=data.horizon_steps, on_grid=on_grid, seen=seen["target"],
            )  # fmt: skip
            predictors = {each.label: each.predict for each in baselines}
            for model, forecast, target in _forecasts(
                forecaster, seen, nodes, parts.test, predictors
            ):
                if (corruption, model) not in errors:
                    errors[corruption, model] = ErrorSums(weight=forecaster.data.node_weight())
                errors[corruption, model].update(forecast, target)
    result = _label(errors, dataset, data.horizon_steps)
    damages = ", ".join(CORRUPTIONS[kind] for kind in get_args(Corruption))
    result.attrs["protocol"] = (
        f"{split_name(data.split)}, test part, {len(parts.test)} windows, histories damaged "
        f"({damages}), seeds {', '.join(map(str, seeds))}"
    )
    if write and forecaster.run_dir is not None:
        table = result.to_dataframe().reset_index()
        table["protocol"] = result.attrs["protocol"]
        write_table(table, forecaster.run_dir / "robustness.csv")
    return result


def _forecasts(
    forecaster: Forecaster,
    seen: xr.Dataset,
    truth: xr.Dataset,
    part: range,
    baselines: Mapping[str, Callable[..., np.ndarray]],
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Give what each model forecasts from damaged readings, batch by batch, and the truth."""
    data, windows = forecaster.config.data, forecaster.windows(seen)
    size = windows_at_once(truth.sizes["node"])
    shape = (data.horizon_steps, truth.sizes["node"], truth.sizes.get("channel", 1))

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32).reshape(-1, *shape))

    for first in range(0, len(part), size):
        starts = np.asarray(part[first : first + size])
        origins = starts + data.history_steps - 1
        ahead = origins[:, None] + np.arange(1, data.horizon_steps + 1)
        target = tensor(read_steps(truth["target"], ahead))
        batch = windows.batch(torch.from_numpy(starts))
        yield forecaster.config.model_name, forecaster.predict(batch).cpu(), target
        for name, predict in baselines.items():
            yield name, tensor(predict(origins, horizon_steps=data.horizon_steps)), target


def _label(
    errors: dict[tuple[str, str], ErrorSums], dataset: xr.Dataset, horizon_steps: int
) -> xr.Dataset:
    models = list(dict.fromkeys(model for _, model in errors))
    scores = {key: each.scores() for key, each in errors.items()}
    steps = np.arange(1, horizon_steps + 1)
    minutes = interval_of(dataset).total_seconds() / 60
    dims = ("model", "corruption", "horizon")
    variables = {}
    for metric in ("mae", "rmse"):
        rows = [[scores[kind, model][metric].numpy() for kind in CORRUPTIONS] for model in models]
        variables[metric] = (dims, np.array(rows))
    return xr.Dataset(
        variables,
        coords={
            "model": models,
            "corruption": list(CORRUPTIONS),
            "horizon": steps,
            "lead_minutes": ("horizon", minutes * steps),
        },
        attrs={name: dataset.attrs[name] for name in ("units", "title", "source", "synthetic")},
    )


def fits_memory(dataset: xr.Dataset) -> bool:
    """Say whether the readings of a dataset can be damaged, for which they must be in memory.

    Args:
        dataset: A labelled dataset.

    Returns:
        False for those of large grids.
    """
    return dataset["target"].size <= MOST_READINGS


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
