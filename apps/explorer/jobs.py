"""Training in other processes: asked for, queued, watched, stopped and resumed by their folders.

Nothing lives in the server alone. Each training is a process of its own from the moment it is asked
for; it waits for its turn, and holds a lock in its run folder as long as it lives. Whoever looks at
the folder, another session or a restarted server, sees the same.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from explorer.job_files import (
    JOB,
    LOCK,
    Job,
    hold,
    is_worked_on,
    read_fields,
    read_history,
    read_job,
    read_tail,
    write_job,
)

__all__ = ["JobError", "JobStatus", "TrainingJobs"]

ACTIVE = ("queued", "starting", "running", "stopping", "scoring")
AT_ONCE = "STTRANS_TRAININGS"  # names how many trainings compute at the same time
APPS = Path(__file__).parents[1]


class JobError(ValueError):
    """A training cannot be started, stopped or resumed."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How a training stands.

    Args:
        name: Folder name of the run.
        state: `queued`, `starting`, `running`, `stopping`, `scoring`, `stopped`, `finished`,
            `failed`, or `gone` where there is no such folder.
        message: A sentence on it.
        is_trained: Whether it has weights to look at.
        epoch: Finished epochs.
        epochs: Epochs at most.
        progress: Share of the steps done, from 0 to 1.
        eta_seconds: Time left; None where it is not known.
        device: Where it computes.
        history: One mapping per finished epoch.
        log: The last lines that the process printed.
    """

    name: str
    state: str
    message: str = ""
    is_trained: bool = False
    epoch: int = 0
    epochs: int = 0
    progress: float = 0.0
    eta_seconds: float | None = None
    device: str = ""
    history: tuple[dict[str, Any], ...] = ()
    log: str = ""

    @property
    def is_active(self) -> bool:
        """Whether a process works on it now, or waits to."""
        return self.state in ACTIVE

    @property
    def can_resume(self) -> bool:
        """Whether it can be taken up again."""
        return self.state in ("stopped", "failed")


class TrainingJobs:
    """The trainings under one folder of runs.

    Args:
        root: The folder; it is made with the first training.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def names(self) -> list[str]:
        """List the runs that were started from here, those asked for last first."""
        turns = {folder.name: read_job(folder).turn for folder in self._folders()}
        return sorted(turns, key=lambda name: (-turns[name], name))

    def start(self, name: str, config: str, *, scheduler: str = "") -> None:
        """Ask for a training, in a process of its own that waits for its turn.

        Args:
            name: Name of the run, a new folder under the root.
            config: The configuration as JSON.
            scheduler: Address of a dask scheduler whose workers train it; empty for this machine.

        Raises:
            JobError: The name is taken or no plain name, or the folder cannot be written.
        """
        if not re.fullmatch(r"[\w][\w.-]{0,63}", name):
            raise JobError(
                "The name of a run must be up to 64 letters, digits, dots, dashes and underscores; "
                f"got {name!r}. Choose another name."
            )
        at_once, folder = _at_once(), self.root / name
        try:
            with self._alone():
                try:
                    folder.mkdir()
                except FileExistsError as error:
                    raise JobError(
                        f"A new run needs a name of its own; got {name!r}, which is there already. "
                        "Choose another name, or resume that run."
                    ) from error
                try:
                    (folder / "request.json").write_text(config)
                    self._launch(name, at_once, scheduler)
                except OSError:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        except OSError as error:
            raise JobError(
                f"The folder of runs must be writable; got {self.root} ({error.strerror}). "
                "Set STTRANS_RUNS to a folder of yours and start the server again."
            ) from error

    def resume(self, name: str, *, scheduler: str = "") -> None:
        """Go on with a training that was stopped or failed, when its turn comes again.

        Args:
            name: Name of the run.
            scheduler: As for `start`, wherever it was trained before.

        Raises:
            JobError: It runs, has finished, is gone, or its folder cannot be written.
        """
        at_once = _at_once()
        try:
            with self._alone():
                state = self.status(name).state
                if state not in ("stopped", "failed"):
                    raise JobError(
                        f"Only a stopped or failed training can be resumed; got {name!r}, which is "
                        f"{state}. Start a new one instead."
                    )
                self._launch(name, at_once, scheduler)
        except OSError as error:
            raise JobError(
                f"The run folder must be writable; got {self.root / name} ({error.strerror}). "
                "Free the folder, or train under another name."
            ) from error

    def cancel(self, name: str) -> None:
        """Ask a training to stop so that it can be resumed; it does within two seconds.

        One that waits leaves the queue.

        Args:
            name: Name of the run.

        Raises:
            JobError: No process works on it, or its folder cannot be written.
        """
        folder = self.root / name
        try:
            with self._alone():
                if not is_worked_on(folder):
                    raise JobError(
                        f"Only a running training can be cancelled; got {name!r}, which is "
                        f"{self.status(name).state}. Nothing is left to stop."
                    )
                write_job(folder, read_job(folder)._replace(cancelled=True))
        except OSError as error:
            raise JobError(
                f"The run folder must be writable to cancel a training; got {folder} "
                f"({error.strerror}). Free the folder, or end the process."
            ) from error

    def statuses(self) -> list[JobStatus]:
        """Say how all trainings stand, in the order of `names`, without history and log."""
        turns = self._living_turns()
        return [self._brief(name, turns) for name in self.names()]

    def status(self, name: str) -> JobStatus:
        """Say how a training stands, from its folder alone.

        Args:
            name: Name of the run.

        Returns:
            Its status; `failed` with the last printed line where the process is gone.
        """
        folder = self.root / name
        status = self._brief(name, self._living_turns())
        log = read_tail(folder)
        if status.state == "failed":
            last = log.strip().splitlines()[-1] if log.strip() else ""
            if not last or last.startswith("epoch"):  # it had nothing to complain of
                last = "from outside, or for want of memory; resume goes on after its last epoch"
            status = replace(status, message=f"The process ended early: {last}")
        return replace(status, history=read_history(folder), log=log)

    def is_turn_of(self, name: str) -> bool:
        """Say whether a training may compute now, since few enough that came before it live.

        Args:
            name: Name of the run; the answer is for its own process.
        """
        job = read_job(self.root / name)
        return bool(job.scheduler) or _num_before(job, self._living_turns(but=name)) < job.at_once

    def _folders(self) -> list[Path]:
        try:
            return [path.parent for path in self.root.glob(f"*/{JOB}")]
        except OSError:
            return []

    def _living_turns(self, but: str = "") -> list[int]:
        """List the turns of trainings that compute on this machine or wait to."""
        # A process must not look at its own lock: on some file systems it would lose it.
        living = [each for each in self._folders() if each.name != but and is_worked_on(each)]
        return [job.turn for job in map(read_job, living) if not job.scheduler]

    def _brief(self, name: str, turns: Sequence[int]) -> JobStatus:
        folder = self.root / name
        if not (folder / JOB).exists():
            return JobStatus(name=name, state="gone", message="Its folder is not there any more.")
        job, is_alive, fields = read_job(folder), is_worked_on(folder), _told(folder)
        said = str(fields.get("state", ""))
        if is_alive:
            state, message = _of_living(said, job, _num_before(job, turns))
        else:
            state, message = _of_ended(said, job, (folder / "scores.csv").exists())
        return JobStatus(
            name=name,
            state=state,
            message=message or str(fields.get("message", "")),
            is_trained=said == "finished",
            epoch=fields["epoch"],
            epochs=fields["epochs"],
            progress=min(fields["step"] / fields["steps"], 1.0) if fields["steps"] else 0.0,
            eta_seconds=fields["eta_seconds"] if state == "running" else None,
            device=str(fields.get("device", "")),
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other sessions and servers from asking for something at the same time."""
        self.root.mkdir(parents=True, exist_ok=True)
        with hold(self.root / ".jobs.lock"):
            yield

    def _launch(self, name: str, at_once: int, scheduler: str) -> None:
        """Start the process that waits for its turn and trains; the caller is alone."""
        folder = self.root / name
        turn = 1 + max((read_job(self.root / other).turn for other in self.names()), default=0)
        (folder / "status.json").unlink(missing_ok=True)  # it tells of an earlier process
        with hold(folder / LOCK) as lock, (folder / "train.log").open("ab") as log:
            write_job(folder, Job(turn=turn, at_once=at_once, scheduler=scheduler))
            paths = [str(APPS), *filter(None, [os.environ.get("PYTHONPATH")])]
            # A session of its own: closing the browser or the server leaves it running. The lock
            # goes over to it.
            process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "explorer.job", str(folder), str(lock.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
        # Waiting for it keeps an ended process from staying behind as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()


def _at_once() -> int:
    """Say how many trainings may compute on this machine at the same time."""
    said = os.environ.get(AT_ONCE) or "1"
    if not (said.isascii() and said.isdigit() and int(said) >= 1):
        raise JobError(
            f"{AT_ONCE} must be a whole number from 1 on; got {said!r}. "
            "Correct it and start the server again."
        )
    return int(said)


def _num_before(job: Job, turns: Sequence[int]) -> int:
    """Count the trainings that were asked for before one, of those that live."""
    return sum(turn < job.turn for turn in turns)


def _told(folder: Path) -> dict[str, Any]:
    """Give what the training itself tells, without numbers that are none."""
    fields = read_fields(folder / "status.json")
    counts = ("epoch", "epochs", "step", "steps")
    fields |= {name: 0 for name in counts if not isinstance(fields.get(name), int)}
    if not isinstance(fields.get("eta_seconds"), int | float):
        fields["eta_seconds"] = None
    return fields


def _of_living(said: str, job: Job, num_before: int) -> tuple[str, str]:
    """Give state and message of a training whose process lives."""
    if job.cancelled:
        return "stopping", "Stopping after this step."
    if said == "finished":
        return "scoring", "Trained; scoring the test part."
    if said == "running":
        return "running", ""
    if job.scheduler:
        return "queued", f"Waits for a worker of {job.scheduler}, or loads the data there."
    if num_before >= job.at_once:
        others = "one training" if num_before == 1 else f"{num_before} trainings"
        return "queued", f"Begins by itself; {others} before it."
    return "starting", "Loading the data."


def _of_ended(said: str, job: Job, is_scored: bool) -> tuple[str, str]:
    """Give state and message of a training whose process has ended; of a failed one, no message."""
    if said == "finished" and is_scored:
        return "finished", ""
    if not job.cancelled and said != "stopped":
        return "failed", ""
    if said == "finished":
        return "stopped", "Trained, but not scored; resume to score it."
    if said:
        return "stopped", "Stopped; resume to go on."
    return "stopped", "Stopped before the first step; resume to begin."
