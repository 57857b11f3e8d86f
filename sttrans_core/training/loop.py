"""Training: a short loop on Lightning Fabric that can be watched, stopped and resumed."""

import copy
import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm.auto import tqdm

from sttrans_core.config import BaselineConfig, ConfigError, ExperimentConfig, ModelConfig
from sttrans_core.data.saved import absolute_name
from sttrans_core.data.splits import Split
from sttrans_core.data.windows import Batch
from sttrans_core.devices import keep_freed_memory
from sttrans_core.evaluation.metrics import ErrorSums, masked_error
from sttrans_core.fitted import FittedData
from sttrans_core.forecaster import Forecaster
from sttrans_core.grid import as_nodes
from sttrans_core.model.sttrans import forecast_of
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.training.checkpoint import (
    CHECKPOINT,
    Progress,
    load_checkpoint,
    refuse_another_run,
    save_checkpoint,
)
from sttrans_core.training.conformal import conformal_bands
from sttrans_core.training.disturbance import disturb
from sttrans_core.training.optimization import averaged, learning_rate, parameter_groups
from sttrans_core.training.processes import Processes

__all__ = ["train"]

STATUS_SECONDS = 0.3
OnEpoch = Callable[[dict[str, Any]], None]


def train(
    config: ExperimentConfig,
    *,
    run_dir: str | os.PathLike[str],
    dataset: xr.Dataset | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Forecaster:
    """Train a model and leave a run folder behind.

    The folder holds no scores until `evaluate(forecaster, dataset, write=True)` has written them.

    Args:
        config: The experiment; where its dataset is a saved one, the run keeps the whole path.
        run_dir: Folder of the run; it must not hold another run unless `resume` is set.
        dataset: The series; loaded by `config.data.dataset` where it is None.
        on_epoch: Called after each epoch with its line of `history.jsonl`.
        should_stop: Asked at every step until the run is finished; when it says yes, the run is
            left so that it can be resumed.
        resume: Go on from the last finished epoch of an interrupted run, which the folder must
            hold; one that was stopped in its first epoch begins it anew.
        progress: Show a progress bar, in a terminal or a notebook.

    Returns:
        The forecaster with the best weights so far.

    Raises:
        ConfigError: `config` is no `ExperimentConfig`.
        RunError: The folder cannot be written, holds another run, or holds none or another one on
            resuming; or the training diverges.
        SchemaError: The dataset does not keep the contract.
        ValueError: The series is too short for the windows, a part of it holds no reading, or the
            model or the device does not fit.
    """
    config = _checked(config)
    folder = RunFolder(run_dir)
    if resume:
        folder.check_resumable()
    if dataset is None:
        from sttrans_core.data import load_dataset

        dataset = load_dataset(config.data.dataset)
    fitted, split = FittedData.fit(dataset, config)
    dataset = as_nodes(dataset)
    refuse_another_run(folder, config, fitted, resume=resume)
    keep_freed_memory()
    trainer = _Trainer(config, folder, dataset, fitted, split, should_stop or (lambda: False))
    # Nothing is written before everything that can refuse has had its say.
    trainer.processes.wait()
    if trainer.is_first:
        folder.create()
        folder.write_text("config.json", config.to_json())
        folder.write_json("data.json", fitted.to_fields())
        folder.write_environment()
    try:
        trainer.run(on_epoch=on_epoch, resume=resume, progress=progress)
        trainer.processes.wait()
    except BaseException as error:
        trainer.status("failed", message=f"{type(error).__name__}: {error}")
        raise
    return trainer.forecaster()


def _checked(config: Any) -> ExperimentConfig:
    """Refuse what is no configuration, and name a saved dataset so that any folder finds it."""
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"config must be an ExperimentConfig; got {config!r}. "
            "Build one, for example with ExperimentConfig.preset('small', dataset=...)."
        )
    if isinstance(config.model, BaselineConfig) and not config.model.is_trained:
        raise ConfigError(
            f"What is trained must have epochs; got the baseline {config.model.baseline!r}, which "
            "is fitted at once. Score it with 'sweep', or with evaluate_baselines."
        )
    name = absolute_name(config.data.dataset)
    return config.replace({"data": {"dataset": name}}) if name != config.data.dataset else config


class _Trainer:
    """The state of one training.

    Everything random is seeded anew for each epoch, so that a resumed run repeats exactly what an
    uninterrupted one would have done.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        folder: RunFolder,
        dataset: xr.Dataset,
        fitted: FittedData,
        split: Split,
        should_stop: Callable[[], bool],
    ) -> None:
        self.config, self.folder, self.fitted, self.split = config, folder, fitted, split
        self.should_stop = should_stop
        settings = config.train
        self.processes = Processes(settings)
        self.fabric, self.is_first = self.processes.fabric, self.processes.rank == 0
        torch.manual_seed(settings.seed)
        model = fitted.build_model(config, dataset=dataset)
        optimizer = torch.optim.AdamW(
            parameter_groups(model, settings.weight_decay), lr=settings.learning_rate
        )
        self.model, self.optimizer = self.fabric.setup(model, optimizer)
        self.averaged = averaged(self.model.module, settings.average_decay)
        self.windows = fitted.windows(dataset, config, device=self.fabric.device)
        self.node_weight = fitted.node_weight()
        ours = config.model
        self.alignment_loss = ours.alignment_loss if isinstance(ours, ModelConfig) else 0.0
        self.epoch = self.step = self.bad_epochs = 0
        self.best, self.best_state = math.inf, copy.deepcopy(model.state_dict())
        self.seconds = 0.0
        self._last_status = self._pace = 0.0
        per_epoch = min(len(split.train), settings.max_windows_per_epoch or len(split.train))
        self.steps_per_epoch = math.ceil(per_epoch / settings.batch_size)
        self.total_steps = self.steps_per_epoch * settings.epochs

    def run(self, *, on_epoch: OnEpoch | None, resume: bool, progress: bool) -> None:
        if resume and self.folder.holds(CHECKPOINT):
            self._load_checkpoint()
        elif self.is_first:
            (self.folder / "history.jsonl").unlink(missing_ok=True)
        self.status("running")
        settings = self.config.train
        quiet = not (progress and self.is_first)
        bar = tqdm(total=self.total_steps, initial=self.step, unit="step", disable=quiet)
        with bar:
            while self.epoch < settings.epochs and self.bad_epochs < settings.patience:
                row = self._one_epoch(bar)
                if row is None:
                    self._stopped()
                    return
                if self.is_first:
                    self.folder.append_history(row)
                    self._save_checkpoint()
                bar.set_postfix(val_mae=f"{row['val_mae']:.3f}", best=f"{self.best:.3f}")
                if on_epoch is not None and self.is_first:
                    on_epoch(row)
        self._finish()

    def _one_epoch(self, bar: tqdm) -> dict[str, Any] | None:
        settings, began = self.config.train, time.perf_counter()
        seed = settings.seed * 100_003 + self.epoch
        torch.manual_seed(seed + 7_919 * self.processes.rank)
        order = np.random.default_rng(seed).permutation(len(self.split.train))
        order = order[: settings.max_windows_per_epoch]
        self.model.train()
        loss_sum, step_before, rate = 0.0, self.step, 0.0
        for first in range(0, len(order), settings.batch_size):
            if self.processes.any(self.should_stop()):
                self.step = step_before
                return None
            rate = learning_rate(settings, self.step, total_steps=self.total_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = self._loss(order[first : first + settings.batch_size])
            self._clip()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.averaged.update_parameters(self.model.module)
            loss_sum += loss
            self.step += 1
            bar.update()
            self._pace = (time.perf_counter() - began) / (self.step - step_before)
            self._report()
        errors = self._validate()
        if errors is None:
            self.step = step_before
            return None
        validation = errors.mean("mae" if settings.loss == "mae" else "rmse")
        if not math.isfinite(validation):
            raise RunError(
                f"The validation error must be finite; got {validation} after epoch "
                f"{self.epoch + 1}. Lower train.learning_rate."
            )
        if validation < self.best:
            self.best, self.bad_epochs = validation, 0
            self.best_state = copy.deepcopy(self.averaged.module.state_dict())
        else:
            self.bad_epochs += 1
        self.epoch += 1
        self.seconds += time.perf_counter() - began
        return {
            "epoch": self.epoch,
            "train_loss": round(loss_sum / max(1, self.step - step_before), 5),
            "val_mae": round(errors.mean("mae"), 5),
            "val_rmse": round(errors.mean("rmse"), 5),
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - began, 2),
            "total_seconds": round(self.seconds, 2),
        }

    def _loss(self, starts: np.ndarray) -> float:
        """Take the gradient of the mean error of some windows, which all processes share.

        A process that is left without one looks at another's, which counts for nothing.
        """
        mine = starts[self.processes.rank :: self.processes.count]
        batch = self.windows.batch(torch.from_numpy(mine if len(mine) else starts[:1]))
        batch = disturb(batch, gaps=self.config.train.gaps, noise=self.config.train.noise)
        output = self.model(batch)
        forecast, aligned = (output, None) if isinstance(output, Tensor) else (output[0], output[2])
        total, count = self._error(forecast, batch)
        also = 0.0 if aligned is None else self.alignment_loss * self._error(aligned, batch)[0]
        whole = total + also
        if not len(mine):
            total, whole, count = total * 0, whole * 0, count * 0
        count = self.processes.add_up(count).clamp_min(1e-6)
        # Fabric gives every process the mean of all gradients.
        self.fabric.backward(whole * self.processes.count / count)
        return float(self.processes.add_up(total.detach()) / count)

    def _error(self, forecast: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the sum of the errors of a forecast in z-scores, and what it is a sum of."""
        return masked_error(
            self.fitted.scaler.inverse(forecast.float()),
            batch.target,
            kind=self.config.train.loss,
            spread=self.fitted.scaler.std,
            weight=self.node_weight,
        )

    def _clip(self) -> None:
        """Limit the gradient; one that is not finite ends the training.

        In half precision it does not: the loss scaler leaves such a step out and scales lower.
        """
        norm = self.fabric.clip_gradients(
            self.model,
            self.optimizer,
            max_norm=self.config.train.clip_norm,
            error_if_nonfinite=False,
        )
        norm = math.nan if norm is None else float(norm)
        if not math.isfinite(norm) and not self._loss_scaling():
            raise RunError(
                f"The gradient must be finite; got a norm of {norm} at step {self.step + 1}. "
                "Lower train.learning_rate."
            )

    def _loss_scaling(self) -> dict[str, Any]:
        return self.fabric.strategy.precision.state_dict()

    @torch.no_grad()
    def _validate(self) -> ErrorSums | None:
        model = self.averaged.module.eval()
        sums = ErrorSums(weight=self.node_weight)
        starts = list(self.split.validation)
        # A few windows are not worth sharing; else each process has one at least.
        sharers = self.processes.count if len(starts) >= self.processes.count else 1
        mine = starts[self.processes.rank % sharers :: sharers]
        size = 2 * self.config.train.batch_size
        for first in range(0, math.ceil(len(starts) / sharers), size):
            if self.processes.any(self.should_stop()):
                return None
            if first >= len(mine):
                continue
            batch = self.windows.batch(mine[first : first + size])
            with self.fabric.autocast():
                forecast = forecast_of(model, batch)
            sums.update(self.fitted.in_units(forecast.float()), batch.target)
            self._report()
        if sharers > 1:
            sums.reduce(self.processes.add_up)
        return sums

    def _finish(self) -> None:
        model = self.model.module
        model.load_state_dict(self.best_state)
        if not self.is_first:
            return
        bands = conformal_bands(
            model,
            self.windows,
            list(self.split.validation),
            self.fitted,
            coverage=self.config.train.coverage,
            batch_size=2 * self.config.train.batch_size,
            should_stop=self.should_stop,
        )
        if bands is None:
            self._stopped()
            return
        self.folder.save_tensors(
            "model.safetensors",
            {**{f"model.{k}": v for k, v in model.state_dict().items()}, "bands": bands},
            config=self.config,
        )
        name = "MAE" if self.config.train.loss == "mae" else "RMSE"
        self.status("finished", message=f"Best validation {name} {self.best:.3f}.")

    def _stopped(self) -> None:
        self.status("stopped", message="Stopped; resume to go on.")

    def forecaster(self) -> Forecaster:
        model = copy.deepcopy(self.model.module)
        model.load_state_dict(self.best_state)
        has_bands = self.folder.holds("model.safetensors")
        bands = self.folder.load_tensors("model.safetensors")["bands"] if has_bands else None
        return Forecaster(
            model=model, config=self.config, data=self.fitted, bands=bands, run_dir=self.folder.path
        )

    def _report(self) -> None:
        now = time.perf_counter()
        if now - self._last_status >= STATUS_SECONDS:
            self._last_status = now
            seconds = self._pace * (self.total_steps - self.step)
            self.status("running", eta_seconds=round(seconds, 1))

    def status(self, state: str, *, message: str = "", eta_seconds: float | None = None) -> None:
        if not self.is_first:
            return
        self.folder.write_json(
            "status.json",
            {
                "state": state,
                "epoch": self.epoch,
                "epochs": self.config.train.epochs,
                "step": self.step,
                "steps": self.total_steps,
                "pid": os.getpid(),
                "device": str(self.fabric.device),
                "message": message,
                "eta_seconds": eta_seconds,
            },
        )

    def _save_checkpoint(self) -> None:
        save_checkpoint(
            self.folder,
            self.config,
            Progress(self.epoch, self.step, self.bad_epochs, self.best, self.seconds),
            model=self.model.module,
            averaged=self.averaged,
            best_state=self.best_state,
            optimizer=self.optimizer,
            loss_scaling=self._loss_scaling(),
        )

    def _load_checkpoint(self) -> None:
        progress, self.best_state, loss_scaling = load_checkpoint(
            self.folder,
            model=self.model.module,
            averaged=self.averaged,
            optimizer=self.optimizer,
            loss_scaling=self._loss_scaling(),
        )
        self.epoch, self.step, self.bad_epochs, self.best, self.seconds = progress
        self.fabric.strategy.precision.load_state_dict(loss_scaling)
        if self.is_first:
            self.folder.keep_history(self.epoch)
