"""The process of a training: it waits for its turn, trains here or elsewhere, obeys its folder.

`python -m explorer.job FOLDER LOCK`, as `explorer.jobs` starts it. A process that waits is small:
what trains is imported when the turn has come.
"""

import fcntl
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.job_files import JOB, read_fields, read_job
from explorer.jobs import TrainingJobs

if TYPE_CHECKING:
    from sttrans_core.experiments.progress import Progress

__all__ = ["main"]

LOOK_SECONDS = 0.2
GRACE_SECONDS = 1.2  # to stop by itself; what was written last is whole, so it can go on anyway
GRACE_SECONDS_THERE = 10.0  # a worker is asked, and answers, now and then


def main() -> None:
    """Work on one run until it is finished, has failed or is to stop."""
    folder, lock = Path(sys.argv[1]), int(sys.argv[2])
    fcntl.flock(lock, fcntl.LOCK_EX)  # on a network's file system a lock is not passed on
    scheduler = read_job(folder).scheduler
    grace = GRACE_SECONDS_THERE if scheduler else GRACE_SECONDS
    threading.Thread(target=_obey, args=(folder, grace), daemon=True).start()
    jobs = TrainingJobs(folder.parent)
    while not jobs.is_turn_of(folder.name):
        time.sleep(LOOK_SECONDS)
    if scheduler:
        _train_there(folder, scheduler)
    else:
        _train_here(folder)


def _obey(folder: Path, grace: float) -> None:
    """Stop the process once its folder says so or is gone."""
    while (folder / JOB).exists() and not read_job(folder).cancelled:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)


def _train_here(folder: Path) -> None:
    from sttrans_core.commands.main import main as sttrans

    has_begun = (folder / "data.json").exists()
    if not has_begun:
        (folder / "config.json").unlink(missing_ok=True)  # stopped between the first two files
    how = ["--resume"] if has_begun else ["--config", str(folder / "request.json")]
    sys.argv = ["sttrans", "train", "--run-dir", str(folder), *how]
    try:
        sttrans()
    except SystemExit as ended:
        # All is written. To tidy up, Python would take a second, and a page waits for the end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else bool(ended.code))


def _train_there(folder: Path, scheduler: str) -> None:
    from sttrans_core.commands.support import StopOnSignal
    from sttrans_core.config import ExperimentConfig
    from sttrans_core.experiments.plan import RunPlan
    from sttrans_core.experiments.sweep import run_sweep

    has_begun = (folder / "data.json").exists()
    fields = read_fields(folder / ("config.json" if has_begun else "request.json"))
    try:
        plan = RunPlan(name=folder.name, config=ExperimentConfig.parse(fields))
        with StopOnSignal() as stop:
            (outcome,) = run_sweep(
                [plan], folder.parent, scheduler=scheduler, robustness=False, should_stop=stop,
                on_progress=_Teller(),
            )  # fmt: skip
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
    if outcome.state == "failed":
        sys.exit(f"Error: {outcome.reason}")
    sys.stdout.write(f"{outcome.state.capitalize()}.\n")


class _Teller:
    """Prints a line for each epoch that a worker has finished."""

    def __init__(self) -> None:
        self.told = ""

    def __call__(self, progress: "Progress") -> None:
        for run in progress.running:
            epochs = f", epoch {run.epoch} of {run.epochs}" if run.epochs else ""
            line = f"{run.state}{epochs}"
            if line != self.told:
                self.told = line
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
