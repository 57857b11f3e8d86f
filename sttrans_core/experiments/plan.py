"""Which runs a sweep consists of, where each has its folder, and how far that one has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sttrans_core.config import BaselineConfig, ConfigError, ExperimentConfig, config_hash
from sttrans_core.data import list_datasets
from sttrans_core.data.saved import absolute_name, is_saved
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.settings import BASELINE_NAMES

__all__ = ["MODELS", "RunPlan", "experiment_for", "is_fitted", "plan_runs", "stage_of"]

OURS = "st-trans"
MODELS = (OURS, *BASELINE_NAMES)
Stage = Literal["new", "begun", "trained", "finished"]


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One run of a sweep.

    Args:
        name: Folder of the run below that of the sweep, `<dataset>/<variant or model>/seed-<n>`.
        config: What is trained.
    """

    name: str
    config: ExperimentConfig


def experiment_for(
    model: str,
    *,
    variant: str,
    dataset: str,
    preset: str,
    seed: int,
    settings: Mapping[str, Any],
) -> ExperimentConfig:
    """Give the configuration of one run.

    Args:
        model: `st-trans`, or a baseline in its published sizes.
        variant: Ablation variant of `st-trans`.
        dataset: Name for `load_dataset`.
        preset: Of sizes and budget for `st-trans`; baselines take its budget.
        seed: Of initial weights, data order and dropout.
        settings: Fields to replace, as in `{"train": {"epochs": 3}}`.

    Returns:
        The configuration.

    Raises:
        ConfigError: A name or a field is unknown, a value is out of range, or a run would be
            shared by processes.
    """
    if model not in MODELS:
        raise ConfigError(
            f"The model must be one of {', '.join(MODELS)}; got {model!r}. Choose one of them."
        )
    config = ExperimentConfig.preset(preset, dataset=absolute_name(dataset))
    config = config.variant(variant) if model == OURS else config.baseline(model)
    config = config.replace(settings).replace({"train": {"seed": seed}})
    if config.train.num_processes > 1:
        raise ConfigError(
            "A run of a sweep must have one process; got "
            f"train.num_processes={config.train.num_processes}. Raise --threads, or use train."
        )
    return config


def plan_runs(
    datasets: Sequence[str],
    *,
    models: Sequence[str] = (OURS,),
    variants: Sequence[str] = ("full",),
    seeds: Sequence[int] = (0,),
    preset: str = "small",
    settings: Mapping[str, Any] | None = None,
) -> list[RunPlan]:
    """Combine data sets, models, variants and seeds.

    Args:
        datasets: Names for `load_dataset`.
        models: `st-trans` and baselines.
        variants: Ablation variants of `st-trans`.
        seeds: Repetitions.
        preset: Of sizes and budget.
        settings: Fields to replace in every run.

    Returns:
        The runs, seed after seed, so that a sweep that is cut short leaves whole comparisons. A
        baseline that is fitted at once is equal for all seeds and has a run of the first alone.

    Raises:
        ConfigError: As for `experiment_for`.
        ValueError: A data set is unknown, or two have the same name.
        FileNotFoundError: A saved data set is not there.
    """
    for dataset in datasets:
        _check_dataset(dataset)
    runs: dict[str, RunPlan] = {}
    for seed in seeds:
        for dataset in datasets:
            for model in models:
                for variant in variants if model == OURS else [model]:
                    config = experiment_for(
                        model, variant=variant, dataset=dataset, preset=preset, seed=seed,
                        settings=settings or {},
                    )  # fmt: skip
                    if is_fitted(config) and seed != seeds[0]:
                        continue
                    name = f"{_short_name(dataset)}/{variant}/seed-{seed}"
                    if runs.setdefault(name, RunPlan(name=name, config=config)).config != config:
                        raise ValueError(
                            "Saved data sets of a sweep must have names of their own; got "
                            f"{dataset} and another {_short_name(dataset)}. Rename one of them."
                        )
    return list(runs.values())


def is_fitted(config: ExperimentConfig) -> bool:
    """Say whether a run is one of a baseline that is fitted at once, without a training.

    Args:
        config: Of the run.

    Returns:
        True for ridge, pooled regression and ARIMA.
    """
    return isinstance(config.model, BaselineConfig) and not config.model.is_trained


def _check_dataset(name: str) -> None:
    if is_saved(name):
        if not Path(absolute_name(name)).exists():
            raise FileNotFoundError(
                f"A saved data set must be there; got {name}, which is not. Correct the path."
            )
    elif name not in list_datasets():
        raise ValueError(
            f"A data set must be one of {', '.join(list_datasets())}, or end in .nc or .zarr; got "
            f"{name!r}. Choose one of them."
        )


def _short_name(dataset: str) -> str:
    return Path(dataset).stem if is_saved(dataset) else dataset


def stage_of(folder: RunFolder, config: ExperimentConfig) -> Stage:
    """Say how far a run has come, whatever stopped it.

    Args:
        folder: The run.
        config: What it must be a run of.

    Returns:
        `new` where nothing was trained, `begun`, `trained` but not scored, or `finished`.

    Raises:
        RunError: The folder holds a run of another configuration, or cannot be read.
    """
    if not folder.holds("config.json"):
        return "new"
    there = config_hash(folder.read_json("config.json"))  # as it was trained
    if there != config.hash:
        raise RunError(
            "A run of a sweep must find its folder empty or with its own configuration; got "
            f"{folder.path} with {there} instead of {config.hash}. Choose another --output, or the "
            "settings of that run."
        )
    if not folder.holds("data.json"):  # killed between the first two files
        return "new"
    if not folder.holds("status.json") or folder.read_json("status.json")["state"] != "finished":
        return "begun"
    return "finished" if folder.holds("scores.csv") else "trained"
