"""How it is measured: interleaved repeats in one process, medians with quartiles, peak memory."""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sttrans_core.bench.cases import SUBJECTS, Case, cases_of
from sttrans_core.devices import keep_freed_memory, pick_device
from sttrans_core.evaluation.memory import forget_peak, peak_mb, resident_mb

__all__ = ["name_of", "row_of", "run_benchmarks", "slopes", "take_turns"]

SMALLEST = 20  # places
SHORTEST = 0.02  # seconds; what is faster is called more than once for each timing


def run_benchmarks(
    subjects: Sequence[str],
    nodes: Sequence[int],
    *,
    device: str = "auto",
    repeats: int = 7,
    memory: bool = True,
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Time every case of some subjects for some numbers of simulated places.

    Args:
        subjects: Of `SUBJECTS`.
        nodes: Numbers of places.
        device: `auto`, `cpu` or `cuda`.
        repeats: Timings of each case; cases take turns, so that all see the same machine.
        memory: Also measure the peak memory of each case, in a process of its own.
        tell: Called with a line for every case.

    Returns:
        One row a case: the median and quartiles of its milliseconds, and of the ratio to the first
        case of the same subject and number of places, timed in the same turn; megabytes above what
        its inputs take.

    Raises:
        ValueError: A subject is unknown, a number is below its minimum, or the device is not there.
    """
    unknown = [subject for subject in subjects if subject not in SUBJECTS]
    if unknown:
        raise ValueError(
            f"A subject must be one of {', '.join(SUBJECTS)}; got {unknown[0]!r}. Take one of them."
        )
    for name, value, least in (("nodes", min(nodes), SMALLEST), ("repeats", repeats, 1)):
        if value < least:
            raise ValueError(
                f"A benchmark must have {name} of at least {least}; got {value}. Raise {name}."
            )
    where = pick_device(device)
    keep_freed_memory()
    rows = []
    for subject in subjects:
        for count in nodes:
            cases = cases_of(subject, count, where)
            seconds = take_turns(cases, repeats, where)  # (case, repeat)
            for case, times in zip(cases, seconds, strict=True):
                row = row_of(case, times, times / seconds[0], where)
                if memory:
                    row["memory_mb"] = _peak_memory(case, where)
                rows.append(row)
                if tell is not None:
                    tell(_line(row, cases[0].name))
    return pd.DataFrame(rows)


def take_turns(cases: list[Case], repeats: int, device: torch.device) -> np.ndarray:
    """Time cases in turns, so that all see the same machine.

    Args:
        cases: What is called.
        repeats: Timings of each case.
        device: Where it runs.

    Returns:
        Seconds of a call, (case, repeat).
    """
    calls = []
    for case in cases:
        case.call()  # what is compiled or cached once does not count
        calls.append(max(1, int(SHORTEST / max(1e-9, _seconds(case, 1, device)))))
    turns = [
        [_seconds(case, count, device) for case, count in zip(cases, calls, strict=True)]
        for _ in range(repeats)
    ]
    return np.array(turns).T


def _seconds(case: Case, count: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(count):
        case.call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def row_of(
    case: Case, seconds: np.ndarray, ratio: np.ndarray, device: torch.device
) -> dict[str, object]:
    """Give the row of a case: what, how fast, where and when.

    Args:
        case: What was called.
        seconds: From `take_turns`.
        ratio: Of these seconds to those of the case that it is compared with.
        device: Where it ran.

    Returns:
        Medians with quartiles, and the circumstances.
    """
    low, middle, high = np.percentile(seconds * 1e3, [25, 50, 75])
    quartiles = np.percentile(ratio, [25, 50, 75])
    return {
        "subject": case.subject, "case": case.name, "nodes": case.nodes, "batch": case.batch,
        "ms": round(middle, 3), "ms_low": round(low, 3), "ms_high": round(high, 3),
        "ratio": round(quartiles[1], 4), "ratio_low": round(quartiles[0], 4),
        "ratio_high": round(quartiles[2], 4), "repeats": len(seconds),
        "device": name_of(device), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def name_of(device: torch.device) -> str:
    """Name a device as its maker does.

    Args:
        device: Of this machine.

    Returns:
        The GPU, or the processor and its number of cores.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return f"{names[0].partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _line(row: dict[str, object], reference: str) -> str:
    memory = f"{row['memory_mb']:8.0f} MB" if "memory_mb" in row else ""
    return (
        f"{row['subject']:10} {row['nodes']:6} x {row['batch']:<3} {row['case']:32} "
        f"{row['ms']:10.1f} ms  {row['ratio']:7.3f} x {reference} {memory}"
    )


def _peak_memory(case: Case, device: torch.device) -> float:
    """Give the megabytes that two calls take beyond their inputs, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grow, (case.subject, case.nodes, case.name, str(device)))


def _grow(subject: str, nodes: int, name: str, device: str) -> float:
    where = torch.device(device)
    for each in cases_of(subject, SMALLEST, where):
        each.call()  # what compiling or loading takes does not count
    case = next(each for each in cases_of(subject, nodes, where) if each.name == name)
    forget_peak(where)
    before = resident_mb(where)
    _seconds(case, 2, where)
    return round(peak_mb(where) - before, 1)


def slopes(table: pd.DataFrame, *, column: str = "ms", first: int = 1000) -> pd.DataFrame:
    """Fit the growth with the number of places: 1 is linear, 2 quadratic.

    Args:
        table: From `run_benchmarks`.
        column: What grows, per window.
        first: Smallest number of places that counts.

    Returns:
        The slope of each case in a log-log plot, where it was measured at two sizes or more.
    """
    rows = []
    for (subject, case), part in table[table["nodes"] >= first].groupby(
        ["subject", "case"], sort=False
    ):
        if len(part) > 1:
            grown = np.log(part[column] / part["batch"])
            slope = np.polyfit(np.log(part["nodes"]), grown, 1)[0]
            rows.append({"subject": subject, "case": case, "slope": round(float(slope), 3)})
    return pd.DataFrame(rows)
