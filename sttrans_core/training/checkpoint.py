"""What resuming a training needs, kept as plain tensors."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sttrans_core.config import ExperimentConfig
from sttrans_core.fitted import FittedData
from sttrans_core.runs import RunError, RunFolder

__all__ = ["CHECKPOINT", "Progress", "load_checkpoint", "refuse_another_run", "save_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"


class Progress(NamedTuple):
    """How far a training has come.

    Args:
        epoch: Finished epochs.
        step: Finished optimiser steps.
        bad_epochs: Epochs since the best one.
        best: Best validation error, in original units.
        seconds: Time spent.
    """

    epoch: int
    step: int
    bad_epochs: int
    best: float
    seconds: float


def refuse_another_run(
    folder: RunFolder, config: ExperimentConfig, fitted: FittedData, *, resume: bool
) -> None:
    """Refuse a folder that holds another run than the one to go on with.

    Args:
        folder: Where the run shall be.
        config: Its configuration.
        fitted: What it knows of its data.
        resume: Whether a run is to be gone on with.

    Raises:
        RunError: The folder holds a run, or on resuming one of another configuration or data.
    """
    if not folder.holds("config.json"):
        return
    if not resume:
        raise RunError(
            f"run_dir must be new or empty; got {folder.path}, which holds a run. "
            "Choose another run_dir, or go on with it (--resume, or resume=True)."
        )
    before = folder.config()
    if before.hash != config.hash:
        raise RunError(
            "Resuming needs the configuration that the run was started with; got "
            f"{config.hash} for a run of {before.hash} in {folder.path}. "
            "Use its config.json, or train in another run_dir."
        )
    if FittedData.from_fields(folder.read_json("data.json")).fingerprint != fitted.fingerprint:
        raise RunError(
            "Resuming needs the data that the run was started with; got other readings for "
            f"{folder.path}. Load the same period, or train in another run_dir."
        )


def save_checkpoint(
    folder: RunFolder,
    config: ExperimentConfig,
    progress: Progress,
    *,
    model: torch.nn.Module,
    averaged: torch.nn.Module,
    best_state: dict[str, Tensor],
    optimizer: Any,
    loss_scaling: dict[str, Any],
) -> None:
    """Write weights, their average, best weights, moments of the optimiser and counters.

    Args:
        folder: The run.
        config: Its configuration.
        progress: How far it has come.
        model: The model as it is now.
        averaged: The average of its weights.
        best_state: Its best weights.
        optimizer: The optimiser.
        loss_scaling: State of the loss scaler of half precision; empty where there is none.
    """
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"averaged.{k}": v for k, v in averaged.state_dict().items()}
    state |= {f"best.{k}": v for k, v in best_state.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    scaling = {k: torch.tensor(v, dtype=torch.float64) for k, v in loss_scaling.items()}
    state |= {f"scaling.{k}": v for k, v in scaling.items()}
    state["counters"] = torch.tensor(progress, dtype=torch.float64)
    folder.save_tensors(CHECKPOINT, state, config=config)


def load_checkpoint(
    folder: RunFolder,
    *,
    model: torch.nn.Module,
    averaged: torch.nn.Module,
    optimizer: Any,
    loss_scaling: dict[str, Any],
) -> tuple[Progress, dict[str, Tensor], dict[str, Any]]:
    """Put a training back to where its checkpoint was written.

    Args:
        folder: The run.
        model: Takes the weights.
        averaged: Takes their average.
        optimizer: Takes the moments.
        loss_scaling: State of a fresh loss scaler, which names what must be in the checkpoint.

    Returns:
        Progress, best weights and the state of the loss scaler.

    Raises:
        RunError: The checkpoint is damaged, or lacks the loss scaler's state.
    """
    folder.check_weights(CHECKPOINT)
    state = folder.load_tensors(CHECKPOINT)
    scaling = _section(state, "scaling.")
    if set(scaling) != set(loss_scaling):
        raise RunError(
            "Resuming in half precision (16-mixed) needs the state of the loss scaler; got a "
            f"checkpoint that {'has' if scaling else 'lacks'} it in {folder.path}. Resume on the "
            "kind of device that the run was started on, or train again."
        )
    model.load_state_dict(_section(state, "model."))
    averaged.load_state_dict(_section(state, "averaged."))
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _section(state, "optimizer.").items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    fields = optimizer.state_dict()
    fields["state"] = moments
    optimizer.load_state_dict(fields)
    counters = state["counters"].tolist()
    progress = Progress(*(int(value) for value in counters[:3]), *counters[3:])
    # The scaler keeps counts as int and factors as float.
    kept = {name: type(value)(scaling[name].item()) for name, value in loss_scaling.items()}
    return progress, _section(state, "best."), kept


def _section(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
