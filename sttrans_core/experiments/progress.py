"""How a sweep stands: from the status files of its runs, with the time that is left."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean

__all__ = ["Outcome", "Progress", "RunStatus", "estimate_seconds", "progress_lines", "read_status"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run of a sweep ended.

    Args:
        name: Of the run.
        state: `finished`, `failed`, `stopped` (it can go on) or `waiting` (it never began).
        reason: Why it failed.
        was_finished: Whether it was finished before the sweep began.
    """

    name: str
    state: str
    reason: str = ""
    was_finished: bool = False


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run stands that a worker works on.

    Args:
        name: Of the run.
        state: What its `status.json` says; `starting` before there is one, `scoring` after
            training.
        epoch: Finished epochs.
        epochs: Epochs at most.
        seconds: Since the sweep gave it to a worker.
        eta_seconds: Time left of its training at most; None where it is not known.
    """

    name: str
    state: str
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    eta_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a sweep stands.

    Args:
        outcomes: Of runs that have ended.
        running: Runs that are worked on.
        num_waiting: Runs that wait for a worker.
        eta_seconds: Time left of the whole sweep; None where nothing is known yet.
        num_lost: Workers that died or left.
    """

    outcomes: Sequence[Outcome]
    running: Sequence[RunStatus]
    num_waiting: int
    eta_seconds: float | None
    num_lost: int = 0


def read_status(name: str, folder: Path, *, since: float, now: float) -> RunStatus:
    """Read how a run stands.

    Args:
        name: Of the run.
        folder: Where it lies.
        since: When the sweep gave it to a worker, in seconds since 1970.
        now: The time now, likewise.

    Returns:
        The status; `starting` while the folder holds none, or only one of an earlier time.
    """
    path = folder / "status.json"
    try:
        is_fresh = path.stat().st_mtime >= since
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        is_fresh, fields = False, {}
    if not is_fresh:
        return RunStatus(name=name, state="starting", seconds=now - since)
    return RunStatus(
        name=name,
        state="scoring" if fields["state"] == "finished" else fields["state"],
        epoch=fields["epoch"],
        epochs=fields["epochs"],
        seconds=now - since,
        eta_seconds=fields["eta_seconds"],
    )


def estimate_seconds(
    finished: Sequence[float], running: Sequence[RunStatus], *, num_waiting: int, num_workers: int
) -> float | None:
    """Estimate the time that a sweep has left.

    A run that waits is taken to last as long as the others on average: those that have finished,
    and those that run, by what they say is left.

    Args:
        finished: Seconds that finished runs took.
        running: Runs that are worked on.
        num_waiting: Runs that wait.
        num_workers: Workers that share the work.

    Returns:
        Seconds; None where no run says anything yet.
    """
    left = [each.eta_seconds for each in running if each.eta_seconds is not None]
    known = [each.seconds + each.eta_seconds for each in running if each.eta_seconds is not None]
    known += finished
    if not known:
        return 0.0 if not running and not num_waiting else None
    usual = mean(known)
    left += [max(0.0, usual - each.seconds) for each in running if each.eta_seconds is None]
    work = sum(left) + num_waiting * usual
    return max([work / max(1, num_workers), *left])


def progress_lines(progress: Progress) -> list[str]:
    """Give the standing of a sweep as lines of text.

    Args:
        progress: How it stands.

    Returns:
        A line for all runs, one of lost workers where there are, one for each run worked on.
    """
    ended = progress.outcomes
    count = {state: sum(each.state == state for each in ended) for state in ("finished", "failed")}
    total = len(ended) + len(progress.running) + progress.num_waiting
    failed = f", {count['failed']} failed" if count["failed"] else ""
    counts = f"{len(progress.running)} running, {progress.num_waiting} waiting"
    finished = f"{count['finished']} of {total} runs finished{failed}"
    lines = [f"{finished}, {counts}, {_left(progress.eta_seconds)}"]
    if progress.num_lost:
        lines.append(f"  workers lost: {progress.num_lost}; their runs go on with others")
    for each in progress.running:
        epochs = f"  epoch {each.epoch} of {each.epochs}" if each.epochs else ""
        left = f", {_left(each.eta_seconds)}" if each.eta_seconds is not None else ""
        lines.append(f"  {each.name}: {each.state}{epochs}{left}")
    return lines


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    return f"{timedelta(seconds=math.ceil(seconds))} left"
