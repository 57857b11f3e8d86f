"""Cutting a series into training, validation and test parts in time order."""

from typing import Literal, NamedTuple

import pandas as pd
import xarray as xr

__all__ = ["Split", "SplitRule", "split_dataset", "split_name", "split_windows"]

SplitRule = Literal["standard", "paper"] | tuple[str, str]

_SHARES = {"standard": (0.7, 0.2), "paper": (0.7, 0.1)}  # of windows: training, test


class Split(NamedTuple):
    """Starts of the windows of each part, in time order, as half-open ranges."""

    train: range
    validation: range
    test: range


def split_windows(
    num_steps: int,
    *,
    history_steps: int,
    horizon_steps: int,
    split: Literal["standard", "paper"] = "standard",
) -> Split:
    """Cut the windows of a series into training, validation and test parts in time order.

    The shares are of *windows*, rounded to the nearest, as in the field's reference code; METR-LA's
    34,272 steps with 12 + 12 steps give 23,974 / 3,425 / 6,850.

    Args:
        num_steps: Time steps of the series.
        history_steps: Steps a window sees.
        horizon_steps: Steps a window forecasts.
        split: `standard` is 7:1:2 (training, validation, test), `paper` is 7:2:1.

    Returns:
        The three ranges of window starts.

    Raises:
        ValueError: The series is too short for one window in each part.

    Source: Li et al., "Diffusion convolutional recurrent neural network" (2018), data preparation.
    """
    total = num_steps - history_steps - horizon_steps + 1
    train_share, test_share = _SHARES[split]
    num_test, num_train = round(test_share * total), round(train_share * total)
    if min(num_train, num_test, total - num_train - num_test) < 1:
        raise ValueError(
            "The series must be long enough for training, validation and test windows; got "
            f"{num_steps} steps with history_steps={history_steps} and "
            f"horizon_steps={horizon_steps}. Use a longer series or shorter windows."
        )
    return Split(
        range(num_train), range(num_train, total - num_test), range(total - num_test, total)
    )


def split_dataset(
    dataset: xr.Dataset, *, history_steps: int, horizon_steps: int, split: SplitRule
) -> Split:
    """Cut the windows of a dataset into training, validation and test parts in time order.

    Args:
        dataset: A labelled dataset.
        history_steps: Steps a window sees.
        horizon_steps: Steps a window forecasts.
        split: `standard` or `paper`, as in `split_windows`; or the times of the first targets of
            validation and test. No target is in two parts then: windows whose targets lie on both
            sides of a time are left out.

    Returns:
        The three ranges of window starts.

    Raises:
        ValueError: The series is too short for one window in each part, or a time is none, or the
            second one is not after the first.
    """
    if isinstance(split, str):
        return split_windows(
            dataset.sizes["time"],
            history_steps=history_steps,
            horizon_steps=horizon_steps,
            split=split,
        )
    times = pd.DatetimeIndex(dataset["time"].values)
    try:
        validation, test = (pd.Timestamp(time) for time in split)
        first = times.searchsorted(validation), times.searchsorted(test)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "split must be standard, paper, or two times at which validation and test begin; got "
            f"{split!r}. Write for example ['2023-01-22', '2023-01-25']."
        ) from error
    stop = len(times) - horizon_steps + 1
    # Origins are the last steps of histories; the first target is the step after.
    ends = (first[0] - horizon_steps + 1, first[1] - horizon_steps + 1, stop)
    begins = (history_steps, max(first[0], history_steps), max(first[1], history_steps))
    parts = [
        range(begin - history_steps, max(begin, end) - history_steps)
        for begin, end in zip(begins, ends, strict=True)
    ]
    if not all(len(part) for part in parts):
        raise ValueError(
            "The series must have windows before, between and after the times of its split; got "
            f"{', '.join(split)} with times from {times[0]} to {times[-1]}, "
            f"history_steps={history_steps} and horizon_steps={horizon_steps}. "
            "Choose other times, or shorter windows."
        )
    return Split(*parts)


def split_name(split: SplitRule) -> str:
    """Give a split in words.

    Args:
        split: As in `split_dataset`.

    Returns:
        For example "standard split".
    """
    return f"{split} split" if isinstance(split, str) else f"split at {' and '.join(split)}"
