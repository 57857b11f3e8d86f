"""What a worker does: train a run or go on with it, measure it, score it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import xarray as xr

from sttrans_core.config import ExperimentConfig
from sttrans_core.devices import pick_device
from sttrans_core.evaluation.memory import forget_peak, peak_mb, resident_mb
from sttrans_core.experiments.plan import Stage, is_fitted, stage_of
from sttrans_core.fitted import FittedData, lags_of
from sttrans_core.forecaster import Forecaster, load_run
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.scores import write_scores

__all__ = ["perform", "run_on_worker"]

ASK_SECONDS = 0.5
LOCK_SECONDS = 20.0  # a worker that has lost its scheduler takes some seconds to end


def run_on_worker(
    config: ExperimentConfig, path: str, *, threads: int, at_once: int, robustness: bool, stop: str
) -> Literal["finished", "stopped"]:
    """Perform a run as a task of dask.

    Args:
        config: What is trained.
        path: Folder of the run.
        threads: Threads of PyTorch and of compiled loops.
        at_once: Runs that the sweep performs at the same time.
        robustness: Also score the run on damaged histories.
        stop: Name of the event that asks all runs to stop.

    Returns:
        How it ended.

    Raises:
        Exception: Whatever the run raises; dask carries it to the sweep.
    """
    from distributed import get_worker
    from distributed.utils import sync
    from tqdm.auto import tqdm

    tqdm.set_lock(threading.RLock())  # a worker that is killed would leave the usual one behind
    torch.set_num_threads(threads)  # which compiled loops follow
    worker, asked, answer = get_worker(), 0.0, False
    task = worker.get_current_task()

    def should_stop() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked > ASK_SECONDS:
            # As `distributed.Event` does it, without a client that complains when it is killed.
            answer = bool(sync(worker.loop, worker.scheduler.event_is_set, name=stop))
            # A sweep that was killed cannot ask; the scheduler takes its task back.
            answer = answer or worker.state.tasks[task].state == "cancelled"
            asked = time.monotonic()
        return answer

    return perform(
        config, Path(path), at_once=at_once, robustness=robustness, should_stop=should_stop
    )


def perform(
    config: ExperimentConfig,
    path: Path,
    *,
    at_once: int = 1,
    robustness: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Literal["finished", "stopped"]:
    """Do what is left to do of a run; what is done is never repeated.

    Args:
        config: What is trained.
        path: Folder of the run. It gets what `train` and `evaluate` write, and `cost.json`; on
            simulated data `hits.csv`; `robustness.csv` if asked for; `scores.csv` last. A baseline
            that is fitted at once gets its scores alone.
        at_once: Runs that are performed at the same time, for whom reads its timings.
        robustness: Also score the run on damaged histories.
        should_stop: Asked at every step of the training and between scores.

    Returns:
        Whether it is finished, or was stopped so that it can go on.

    Raises:
        RunError: The folder holds another run, is another process's, or the training diverges.
        ValueError: The data do not suit the configuration.
    """
    from sttrans_core.data import load_dataset
    from sttrans_core.evaluation.protocol import evaluate, evaluate_hits
    from sttrans_core.evaluation.robustness import evaluate_robustness, fits_memory

    folder = RunFolder(path)
    with _alone(folder):
        stage = stage_of(folder, config)
        if stage == "finished":
            return "finished"
        dataset = load_dataset(config.data.dataset)
        if is_fitted(config):
            _fit(config, folder, dataset)
            return "finished"
        more: dict[str, float] = {"runs_at_once": at_once}
        if stage != "trained":
            more |= _train(config, folder, dataset, stage, should_stop)
            if folder.read_json("status.json")["state"] == "stopped":
                return "stopped"
        forecaster = load_run(path, device=config.train.device)
        robustness = robustness and fits_memory(dataset)
        scoring = [
            lambda: folder.write_json("cost.json", _costs(forecaster, dataset) | more),
            lambda: evaluate_hits(forecaster, dataset, write=True),
            lambda: evaluate_robustness(forecaster, dataset, write=True) if robustness else None,
            lambda: evaluate(forecaster, dataset, write=True),
        ]
        for score in scoring:
            if should_stop():
                return "stopped"
            score()
    return "finished"


@contextmanager
def _alone(folder: RunFolder) -> Iterator[None]:
    """Keep other processes off a run; the system frees it even if this process is killed."""
    from filelock import FileLock, Timeout

    folder.path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.path.with_name(f".{folder.path.name}.lock"), timeout=LOCK_SECONDS)
    try:
        with lock:
            yield
    except Timeout as error:
        raise RunError(
            f"A run must be worked on by one process at a time; got {folder.path}, which another "
            "sweep works on. Wait for that one, or stop it."
        ) from error


def _train(
    config: ExperimentConfig,
    folder: RunFolder,
    dataset: xr.Dataset,
    stage: Stage,
    should_stop: Callable[[], bool],
) -> dict[str, float]:
    """Train, and give the memory that the epochs took which were trained here."""
    from sttrans_core.training.loop import train

    if stage == "new":
        (folder / "config.json").unlink(missing_ok=True)  # of a run that never began
    memory = _Memory(pick_device(config.train.device))
    train(
        config, run_dir=folder.path, dataset=dataset, should_stop=should_stop,
        resume=stage == "begun", on_epoch=memory,
    )  # fmt: skip
    return memory.fields()


class _Memory:
    """Watches the memory of a training from its second epoch on.

    The first one also loads and compiles what later ones find there, and later runs, too.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.num_epochs, self.before = device, 0, 0.0

    def __call__(self, row: dict[str, Any]) -> None:
        del row
        self.num_epochs += 1
        if self.num_epochs == 1:
            forget_peak(self.device)
            self.before = resident_mb(self.device)

    def fields(self) -> dict[str, float]:
        """Give the peak, and how far it is above what was there between two epochs."""
        if self.num_epochs < 2:
            return {}
        peak = peak_mb(self.device)
        return {"peak_mb": round(peak), "training_mb": round(peak - self.before, 1)}


def _fit(config: ExperimentConfig, folder: RunFolder, dataset: xr.Dataset) -> None:
    """Fit a baseline at once and write its scores; nothing else of it is kept."""
    from sttrans_core.evaluation.protocol import evaluate_baselines

    fitted, _ = FittedData.fit(dataset, config)
    data = config.data
    scores = evaluate_baselines(
        dataset, history_steps=data.history_steps, horizon_steps=data.horizon_steps,
        split=data.split, first=[config.variant_name], lags=lags_of(dataset, config),
    )  # fmt: skip
    folder.create()
    folder.write_text("config.json", config.to_json())
    folder.write_json("data.json", fitted.to_fields())
    folder.write_environment()
    write_scores(scores, folder / "scores.csv")
    status = {"state": "finished", "epoch": 0, "epochs": 0, "eta_seconds": 0.0}
    folder.write_json("status.json", status)


def _costs(forecaster: Forecaster, dataset: xr.Dataset) -> dict[str, Any]:
    from sttrans_core.evaluation.costs import measure_costs

    history = forecaster.history
    return {
        "config": forecaster.config.hash,
        "epochs": len(history),
        "seconds_per_epoch": median(row["seconds"] for row in history),
        "training_seconds": history[-1]["total_seconds"],
        **measure_costs(forecaster, dataset),
    }
