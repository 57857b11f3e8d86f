"""Forecast origins: from what a user writes to steps of a series, and what is refused."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.config import DataConfig
from sttrans_core.data.splits import split_dataset

__all__ = ["find_origins", "spread_origins"]


def find_origins(
    dataset: xr.Dataset, times: Sequence[Any] | np.ndarray | None, *, history_steps: int
) -> np.ndarray:
    """Give the step of each forecast origin in a series.

    Args:
        dataset: A labelled dataset.
        times: Time stamps in any form, without a time zone; the last step where it is None.
        history_steps: Steps that must lie up to an origin, itself included.

    Returns:
        Indices into the dataset's time.

    Raises:
        ValueError: The series is shorter than the history, there is no time, or one is no time,
            has a time zone, is none of the dataset's, or has no whole history before it.
    """
    known = pd.DatetimeIndex(dataset["time"].values)
    if len(known) < history_steps:
        raise ValueError(
            "The series must be at least as long as the history; got "
            f"{len(known)} steps with history_steps={history_steps}. Load a longer series."
        )
    given = np.atleast_1d(np.asarray(known[-1:] if times is None else times)).ravel()
    if given.size == 0:
        raise ValueError(
            "times must hold at least one forecast origin; got none. "
            "Pass times of the dataset, or None for its last one."
        )
    stamps = pd.DatetimeIndex([_time_stamp(time, known) for time in given])
    steps = known.get_indexer(stamps)
    for index in np.flatnonzero(steps < history_steps - 1)[:1]:
        _refuse(given[index], stamps[index], known, history_steps, dataset.attrs["interval"])
    return steps


def spread_origins(
    dataset: xr.Dataset,
    data: DataConfig,
    *,
    part: Literal["train", "validation", "test"] = "test",
    num_origins: int,
) -> np.ndarray:
    """Give forecast origins spread evenly over a part of a series, its first and last included.

    Args:
        dataset: A labelled dataset.
        data: How it is cut into windows.
        part: Which windows: `train`, `validation` or `test`.
        num_origins: Origins, at most; fewer where the part has fewer windows.

    Returns:
        Times of the dataset.

    Raises:
        ValueError: `part` is none of its choices, `num_origins` is below 1, or the series is too
            short for the windows.
    """
    if num_origins < 1:
        raise ValueError(
            f"num_origins must be at least 1; got {num_origins}. Look at one origin or more."
        )
    parts = split_dataset(
        dataset,
        history_steps=data.history_steps,
        horizon_steps=data.horizon_steps,
        split=data.split,
    )
    if part not in parts._fields:
        raise ValueError(
            f"part must be one of {', '.join(parts._fields)}; got {part!r}. Choose one of them."
        )
    starts = np.asarray(getattr(parts, part))
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, num_origins).astype(int))]
    return dataset["time"].values[chosen + data.history_steps - 1]


def _time_stamp(time: Any, known: pd.DatetimeIndex) -> pd.Timestamp:
    """Read one time."""
    stamp = pd.NaT
    # Numbers would be nanoseconds since 1970, which nobody means.
    if not isinstance(time, bool | int | float | np.number | np.bool_):
        with suppress(TypeError, ValueError):
            stamp = pd.Timestamp(str(time) if isinstance(time, str) else time)  # numpy's text too
    if not isinstance(stamp, pd.Timestamp):
        got = repr(time.item() if isinstance(time, np.generic) else time)
        raise ValueError(
            f"A forecast origin must be a time; got {got}, which is none. Write it as in "
            f"'{known[-1].isoformat()}', or take one from dataset['time'].values."
        )
    if stamp.tzinfo is not None:
        raise ValueError(
            f"A forecast origin must be without a time zone, as the times of the dataset are; got "
            f"{time}. Convert it to the zone of the dataset's times and leave the zone out, as in "
            f"'{known[-1].isoformat()}'."
        )
    return stamp


def _refuse(
    time: Any, stamp: pd.Timestamp, known: pd.DatetimeIndex, history_steps: int, interval: str
) -> None:
    """Refuse a time that is not a step, or one of the first steps."""
    usable = known[history_steps - 1 :]
    if usable[0] <= stamp <= usable[-1]:
        nearest = usable[int(np.argmin(np.abs(usable - stamp)))]
        raise ValueError(
            f"A forecast origin must be one of the dataset's time stamps, every {interval}; got "
            f"{time}, which lies between two. The nearest one is {nearest}."
        )
    raise ValueError(
        f"A forecast origin must be a time of the dataset with {history_steps} steps of history, "
        f"{usable[0]} to {usable[-1]}; got {time}. Choose a time in that range."
    )
