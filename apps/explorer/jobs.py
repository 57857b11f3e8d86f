"""Training in other processes: started, watched, stopped and resumed through their run folders.

Nothing lives in the server alone: a restarted server finds every job again by its folder.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["JobError", "JobStatus", "TrainingJobs"]

ACTIVE = ("starting", "running", "stopping", "scoring")
LOG_LINES = 12


class JobError(ValueError):
    """A training cannot be started, stopped or resumed."""


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How a training stands.

    Args:
        name: Folder name of the run.
        state: `starting`, `running`, `stopping`, `scoring`, `stopped`, `finished` or `failed`.
        message: A sentence on it.
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
    epoch: int = 0
    epochs: int = 0
    progress: float = 0.0
    eta_seconds: float | None = None
    device: str = ""
    history: tuple[dict[str, Any], ...] = ()
    log: str = ""

    @property
    def is_active(self) -> bool:
        """Whether a process works on it now."""
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
        self._stopping: set[str] = set()
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def names(self) -> list[str]:
        """List the runs that were started from here, the newest first."""
        try:
            jobs = sorted(self.root.glob("*/job.json"), key=lambda path: -path.stat().st_mtime)
        except OSError:
            return []
        return [path.parent.name for path in jobs]

    def start(self, name: str, config: str) -> None:
        """Train a configuration in a process of its own.

        Args:
            name: Name of the run, a new folder under the root.
            config: The configuration as JSON.

        Raises:
            JobError: The name is taken or no plain name, or the folder cannot be written.
        """
        if not re.fullmatch(r"[\w][\w.-]{0,63}", name):
            raise JobError(
                "The name of a run must be up to 64 letters, digits, dots, dashes and underscores; "
                f"got {name!r}. Choose another name."
            )
        folder = self.root / name
        if folder.exists():
            raise JobError(
                f"A new run needs a name of its own; got {name!r}, which is there already. "
                "Choose another name, or resume that run."
            )
        try:
            folder.mkdir(parents=True)
            (folder / "request.json").write_text(config)
            self._launch(name)
        except OSError as error:
            raise JobError(
                f"The folder of runs must be writable; got {self.root} ({error.strerror}). "
                "Set STTRANS_RUNS to a folder of yours and start the server again."
            ) from error

    def resume(self, name: str) -> None:
        """Go on with a training that was stopped or failed.

        Args:
            name: Name of the run.

        Raises:
            JobError: It runs, has finished, or its folder cannot be written.
        """
        status = self.status(name)
        if not status.can_resume:
            raise JobError(
                f"Only a stopped or failed training can be resumed; got {name!r}, which is "
                f"{status.state}. Start a new one instead."
            )
        try:
            self._launch(name)
        except OSError as error:
            raise JobError(
                f"The run folder must be writable; got {self.root / name} ({error.strerror}). "
                "Free the folder, or train under another name."
            ) from error

    def cancel(self, name: str) -> None:
        """Ask a training to stop so that it can be resumed; it does within about two seconds.

        Args:
            name: Name of the run.

        Raises:
            JobError: No process works on it.
        """
        pid = self._process(name)
        if pid is None:
            raise JobError(
                f"Only a running training can be cancelled; got {name!r}, which is "
                f"{self.status(name).state}. Nothing is left to stop."
            )
        self._stopping.add(name)
        os.kill(pid, signal.SIGTERM)

    def status(self, name: str) -> JobStatus:
        """Say how a training stands, from its folder alone.

        Args:
            name: Name of the run.

        Returns:
            Its status; `failed` with the last printed lines where the process is gone.
        """
        folder = self.root / name
        fields, job = _read(folder / "status.json"), _read(folder / "job.json")
        alive = self._process(name) is not None
        fresh = fields.get("pid") == job.get("pid")
        said = str(fields.get("state", "")) if fresh else ""
        log = _tail(folder / "train.log")
        state, message = _judge(said, alive, name in self._stopping, log)
        if not alive:
            self._stopping.discard(name)
        steps = int(fields.get("steps") or 0)
        return JobStatus(
            name=name,
            state=state,
            message=message or (str(fields.get("message", "")) if fresh else ""),
            epoch=int(fields.get("epoch") or 0),
            epochs=int(fields.get("epochs") or 0),
            progress=min(int(fields.get("step") or 0) / steps, 1.0) if steps else 0.0,
            eta_seconds=fields.get("eta_seconds") if state == "running" else None,
            device=str(fields.get("device", "")),
            history=tuple(_history(folder / "history.jsonl")),
            log=log,
        )

    def _launch(self, name: str) -> None:
        folder = self.root / name
        has_begun = (folder / "config.json").exists()
        config = folder / ("config.json" if has_begun else "request.json")
        command = [sys.executable, "-m", "sttrans_core", "train", "--config", str(config)]
        command += ["--run-dir", str(folder), *(["--resume"] if has_begun else [])]
        with (folder / "train.log").open("ab") as log:
            # A session of its own: closing the browser or the server leaves it running.
            process = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._stopping.discard(name)
        self._started[name] = process
        fields = {"pid": process.pid, "started": time.time()}
        (folder / "job.json").write_text(json.dumps(fields))
        # Waiting for it keeps an ended process from staying behind as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()

    def _process(self, name: str) -> int | None:
        """Give the id of the process that works on a run, or None."""
        started = self._started.get(name)
        if started is not None and started.poll() is None:
            return started.pid
        pid = _read(self.root / name / "job.json").get("pid")
        if not isinstance(pid, int) or pid <= 0:
            return None
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        # Ids are used again: where the system tells, it must be the training of this folder.
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return pid
        return pid if str(self.root / name) in command.split("\0") else None


def _judge(said: str, alive: bool, stopping: bool, log: str) -> tuple[str, str]:
    """Give state and message from what the run says and whether its process lives."""
    if alive:
        if said == "finished":
            return "scoring", "Trained; scoring the test part."
        if stopping:
            return "stopping", "Stopping after this step."
        return (said, "") if said == "running" else ("starting", "Loading the data.")
    if said in ("finished", "stopped"):
        return said, ""
    if stopping and not said:
        return "stopped", "Stopped before the first step; resume to begin."
    last = log.strip().splitlines()[-1] if log.strip() else "it printed nothing"
    return "failed", f"The process ended early: {last}"


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line may be half written
            break
    return rows


def _tail(path: Path) -> str:
    try:
        text = path.read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])
