"""Time stamps: parsed without guessing, and brought to a constant interval."""

import warnings
from typing import cast

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

__all__ = ["parse_interval", "parse_times", "regular_frame"]

_USUAL_INTERVALS = (
    *("10s", "15s", "20s", "30s", "1min", "2min", "3min", "5min", "6min", "10min", "15min"),
    *("20min", "30min", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1D"),
)
_LARGEST_JITTER = 0.1  # as a share of the interval


def parse_times(values: pd.Series | pd.Index, *, where: str) -> pd.DatetimeIndex:
    """Read time stamps from text in one format, or take them as they are.

    Args:
        values: Time stamps, or text such as "2012-03-01 00:05".
        where: Name of the column and its file or table for messages.

    Returns:
        One time stamp for each value.

    Raises:
        ValueError: The values are numbers, or a text is not a time or has another format than
            the first one.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return pd.DatetimeIndex(values)
    is_text = not pd.api.types.is_numeric_dtype(values.dtype)
    if is_text:
        with warnings.catch_warnings():
            # pandas warns where it would parse each text in its own way; that is refused here.
            warnings.simplefilter("error")
            try:
                return pd.DatetimeIndex(pd.to_datetime(values))
            except (ValueError, TypeError, OverflowError, UserWarning, FutureWarning):
                pass
    shown = f"{values.dtype} such as {', '.join(repr(value) for value in list(values[:2]))}"
    bad = _first_unreadable(values) if is_text else ""
    raise ValueError(
        f"Time stamps must be times in one format, best ISO 8601, in {where}; got "
        f"{bad or shown}. Correct the text, or parse it with pandas.to_datetime first."
    )


def _first_unreadable(values: pd.Series | pd.Index) -> str:
    parsed = [_is_time(value) for value in values]
    return "" if all(parsed) else repr(list(values)[parsed.index(False)])


def _is_time(value: object) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return not pd.isna(pd.Timestamp(value))  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return False


def regular_frame(
    frame: pd.DataFrame, *, interval: str | None = None, where: str
) -> tuple[pd.DataFrame, pd.Timedelta, int]:
    """Bring a frame to a constant interval by rows of NaN where whole steps are absent.

    Args:
        frame: Readings with a time index.
        interval: The step, such as "5min"; None takes the most frequent one, which must then be
            the step between most rows.
        where: Name of the file or table for messages.

    Returns:
        The frame at a constant interval, that interval, and the number of rows put in.

    Raises:
        ValueError: Times are unsorted, doubled or absent, carry a time zone other than UTC, or do
            not lie a whole number of intervals apart.
    """
    time = _plain_times(frame.index, where=where)
    steps = np.diff(time.to_numpy())
    if (steps <= np.timedelta64(0)).any():
        first = int(np.flatnonzero(steps <= np.timedelta64(0))[0])
        kind = "twice" if steps[first] == np.timedelta64(0) else f"after {time[first]}"
        raise ValueError(
            f"Times must be strictly increasing in {where}; got {time[first + 1]} {kind}. "
            "Sort the rows by time and keep one row for each time."
        )
    sizes, counts = np.unique(steps, return_counts=True)
    usual = cast(pd.Timedelta, pd.Timedelta(sizes[counts.argmax()]))
    step = usual if interval is None else parse_interval(interval)
    uneven = np.flatnonzero(steps % step.to_timedelta64() != np.timedelta64(0))
    is_rare = interval is None and 2 * counts.max() <= len(steps) and len(sizes) > 1
    if uneven.size or is_rare:
        _refuse_jitter(time, steps, where=where)
        first = int(uneven[0] if uneven.size else np.flatnonzero(steps != steps[0])[0])
        raise ValueError(
            f"The interval between times must be constant in {where} (gaps of whole intervals are "
            f"filled with missing readings); got {pd.Timedelta(steps[first])} after {time[first]} "
            f"where the interval is {step}. Resample the series to one interval, or state it."
        )
    if pd.Timedelta(sizes[0]) > step:
        raise ValueError(
            f"interval must be a step that occurs in {where}; got interval={interval!r} where "
            f"times lie at least {pd.Timedelta(sizes[0])} apart. State that step."
        )
    full = pd.date_range(time[0], time[-1], freq=step)
    return frame.set_axis(time, axis=0).reindex(full), step, len(full) - len(time)


def _refuse_jitter(time: pd.DatetimeIndex, steps: np.ndarray, *, where: str) -> None:
    """Refuse times that lie a little beside a usual interval with advice of their own."""
    usual = np.median(steps.astype(np.int64))
    sizes = [pd.Timedelta(text).value for text in _USUAL_INTERVALS]
    near = [size for size in sizes if abs(usual - size) <= _LARGEST_JITTER * size]
    if not near:
        return
    size = near[0]
    stamps = time.to_numpy().astype("datetime64[ns]").astype(np.int64)
    off = (stamps + size // 2) % size - size // 2
    rounded = stamps - off
    jitter = np.abs(off).max()
    if 0 < jitter <= _LARGEST_JITTER * size and (np.diff(rounded) > 0).all():
        first, text = int(np.flatnonzero(off)[0]), _USUAL_INTERVALS[sizes.index(size)]
        raise ValueError(
            f"The interval between times must be constant in {where}; got times up to "
            f"{jitter / 1e9:g} s beside full steps of {text}, the first one {time[first]}. "
            f"Round the times first, with .dt.round('{text}') (.round('{text}') for an index)."
        )


def parse_interval(interval: str) -> pd.Timedelta:
    """Read a stated interval.

    Args:
        interval: A fixed step such as "5min".

    Returns:
        The step.

    Raises:
        ValueError: It is no fixed step above 0.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old spellings, which are read or refused here
            step = pd.Timedelta(to_offset(interval))
    except (TypeError, ValueError):
        step = pd.NaT
    if not isinstance(step, pd.Timedelta) or step <= pd.Timedelta(0):
        raise ValueError(
            f"interval must be a fixed step above 0; got interval={interval!r}. "
            "Write it as in '5min', '1h' or '1D'."
        )
    return step


def _plain_times(index: pd.Index, *, where: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError(
            f"The rows of {where} must be labelled with time stamps; got {index.dtype} such as "
            f"{list(index[:2])}. Pass the time column or parse it with pandas.to_datetime."
        )
    if len(index) < 2 or index.hasnans:
        raise ValueError(
            f"{where} must hold at least 2 time steps, each with a time; got {len(index)} rows, "
            f"{np.isnat(index.to_numpy()).sum()} without a time. Fill in or drop rows without one."
        )
    naive = index.tz_localize(None)
    if index.tz is not None and (naive != index.tz_convert("UTC").tz_localize(None)).any():
        raise ValueError(
            f"Times must be naive or in UTC in {where}; got time zone {index.tz}. Convert them "
            "with .tz_convert('UTC'), in which no hour is absent or doubled."
        )
    return naive.as_unit("ns")
