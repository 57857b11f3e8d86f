"""From a table of readings, one row a time step and one column a sensor, to a labelled dataset.

Everything that is loaded goes through here, so that times, ids and values are refused or accepted
by the same rules wherever they come from.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from pandas.tseries.frequencies import to_offset

from sttrans_core.schema import check_dataset

__all__ = ["build_dataset", "id_text", "numeric_frame", "regular_frame"]


def id_text(values: Sequence[object] | pd.Index | np.ndarray) -> list[str]:
    """Write sensor ids as text, in one spelling however a file stored them.

    Args:
        values: Ids as text, bytes or whole numbers; 400001, 400001.0 and b"400001" are one id.

    Returns:
        The ids, without surrounding spaces.
    """
    return [_one_id(value) for value in values]


def _one_id(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def numeric_frame(frame: pd.DataFrame, *, where: str) -> pd.DataFrame:
    """Accept a frame that holds nothing but finite numbers and NaN.

    Args:
        frame: One column a sensor.
        where: Name of the file or table for the message.

    Returns:
        The frame in float64.

    Raises:
        ValueError: A cell holds text, a truth value or an infinite number.
    """
    columns = {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        numbers = column if is_number else pd.to_numeric(column.astype(object), errors="coerce")
        numbers = numbers.to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(np.isinf(numbers) | (np.isnan(numbers) & column.notna().to_numpy()))
        if pd.api.types.is_bool_dtype(column) or wrong.size:
            row = int(wrong[0]) if wrong.size else 0
            raise ValueError(
                f"Readings must be finite numbers in {where}; got {column.iloc[row]!r} in column "
                f"{name!r} at {frame.index[row]}. Correct the cell or leave it empty if the "
                "reading is missing."
            )
        columns[position] = numbers
    values = np.column_stack(list(columns.values())) if columns else np.empty((len(frame), 0))
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def regular_frame(
    frame: pd.DataFrame, *, interval: str | None = None, where: str
) -> tuple[pd.DataFrame, pd.Timedelta, int]:
    """Bring a frame to a constant interval by rows of NaN where whole steps are absent.

    Args:
        frame: Readings with a time index.
        interval: The step, such as "5min"; None takes the most frequent one, which must then be
            the step of most rows.
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
    step = pd.Timedelta(sizes[counts.argmax()])
    if interval is not None:
        step = pd.Timedelta(to_offset(interval))
    uneven = np.flatnonzero(steps % step.to_timedelta64() != np.timedelta64(0))
    is_rare = interval is None and 2 * counts.max() <= len(steps) and len(sizes) > 1
    if uneven.size or is_rare:
        first = int(uneven[0]) if uneven.size else int(np.flatnonzero(steps != steps[0])[0])
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


def _plain_times(index: pd.Index, *, where: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        raise ValueError(
            f"The rows of {where} must be labelled with time stamps; got {index.dtype} such as "
            f"{list(index[:2])}. Pass the time column or parse it with pandas.to_datetime."
        )
    if len(index) < 2 or index.hasnans:
        raise ValueError(
            f"{where} must hold at least 2 rows, each with a time; got {len(index)} rows, "
            f"{int(index.isna().sum())} without a time. Fill in or drop rows without a time."
        )
    naive = index.tz_localize(None)
    if index.tz is not None and (naive != index.tz_convert("UTC").tz_localize(None)).any():
        raise ValueError(
            f"Times must be naive or in UTC in {where}; got time zone {index.tz}. Convert them "
            "with .tz_convert('UTC'), in which no hour is absent or doubled."
        )
    return naive.as_unit("ns")


def build_dataset(
    frame: pd.DataFrame,
    locations: pd.DataFrame,
    *,
    attrs: Mapping[str, object],
    adjacency: np.ndarray | None = None,
    interval: str | None = None,
    notes: Sequence[str] = (),
    where: str,
) -> xr.Dataset:
    """Assemble the labelled dataset and check it against the contract.

    Args:
        frame: Readings, time index and one column a sensor, NaN = missing.
        locations: As `join_locations` gives them: one row for each column.
        attrs: Attributes of the contract other than `interval` and `notes`.
        adjacency: Edge weights from row to column, no unit, in the order of the columns.
        interval: As `regular_frame` takes it.
        notes: Sentences that a reader of the data should know.
        where: Name of the source for messages.

    Returns:
        The dataset: `target(time, node)` in float32.

    Raises:
        ValueError: The frame, its times or its ids break a rule of this module.
    """
    ids = id_text(frame.columns)
    places = locations.loc[ids]
    frame, step, num_filled = regular_frame(frame, interval=interval, where=where)
    if num_filled:
        notes = [*notes, f"{num_filled} absent time steps were put in as missing readings."]
    dataset = xr.Dataset(
        {"target": (("time", "node"), frame.to_numpy(np.float32))},
        coords={
            "time": frame.index.to_numpy(),
            "node": np.array(ids),
            "latitude": ("node", places["latitude"].to_numpy(np.float64)),
            "longitude": ("node", places["longitude"].to_numpy(np.float64)),
        },
        attrs={**attrs, "interval": to_offset(step).freqstr},
    )
    if adjacency is not None:
        dataset["adjacency"] = (("node", "to_node"), adjacency.astype(np.float32))
        dataset = dataset.assign_coords(to_node=np.array(ids))
    if notes:
        dataset.attrs["notes"] = " ".join(notes)
    return check_dataset(dataset)
