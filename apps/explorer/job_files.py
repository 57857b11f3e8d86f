"""The files by which a training is known: who works on it, what was asked, what it has told."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

__all__ = [
    "Job", "hold", "is_worked_on", "read_fields", "read_history", "read_job", "read_tail",
    "write_job",
]  # fmt: skip

JOB, LOCK = "job.json", ".job.lock"
LOG_LINES = 12
LOG_BYTES = 20_000


class Job(NamedTuple):
    """What is asked of the process of a training, in `job.json`.

    Args:
        turn: Its number in the order of asking.
        at_once: Trainings that may compute on this machine at the same time, this one included.
        scheduler: Address of the dask scheduler whose workers train it; this machine where empty.
        cancelled: Whether it is to stop.
    """

    turn: int = 0
    at_once: int = 1
    scheduler: str = ""
    cancelled: bool = False


def read_job(folder: Path) -> Job:
    """Read what is asked; what is missing or damaged has its default."""
    fields = read_fields(folder / JOB)
    usual = Job()._asdict()
    return Job(**{
        name: fields[name] if type(fields.get(name)) is type(default) else default
        for name, default in usual.items()
    })  # fmt: skip


def write_job(folder: Path, job: Job) -> None:
    """Write what is asked, whole or not at all."""
    part = folder / f".{JOB}.part"
    part.write_text(json.dumps(job._asdict()))
    part.replace(folder / JOB)


@contextmanager
def hold(path: Path) -> Iterator[TextIO]:
    """Wait for a file that is held by one at a time, and hold it.

    The system frees it when the last process ends that the open file was passed on to.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def is_worked_on(folder: Path) -> bool:
    """Say whether a process holds the lock of a run, which it does as long as it lives."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_fields(path: Path) -> dict[str, Any]:
    """Read a file of JSON; empty where it is missing or holds something else."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def read_history(folder: Path) -> tuple[dict[str, Any], ...]:
    """Read one mapping per finished epoch."""
    try:
        lines = (folder / "history.jsonl").read_text().splitlines()
    except OSError:
        return ()
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line may be half written
            break
    return tuple(rows)


def read_tail(folder: Path) -> str:
    """Read the last lines that the process printed."""
    try:
        with (folder / "train.log").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])
