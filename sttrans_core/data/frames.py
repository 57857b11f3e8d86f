"""From a table of readings, one row a time step and one column a sensor, to a labelled dataset.

Everything that is loaded goes through here, so that times, ids and values are refused or accepted
by the same rules wherever they come from.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from pandas.tseries.frequencies import to_offset

from sttrans_core.data.times import regular_frame
from sttrans_core.schema import check_dataset

__all__ = ["build_dataset", "id_text", "interval_text", "label_readings", "numeric_frame"]


def id_text(values: Iterable[object]) -> list[str]:
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
        if is_number:
            numbers = column.to_numpy(np.float64, na_value=np.nan)
        else:
            numbers = np.asarray(pd.to_numeric(column.astype(object), errors="coerce"), np.float64)
        wrong = np.flatnonzero(np.isinf(numbers) | (np.isnan(numbers) & column.notna().to_numpy()))
        if pd.api.types.is_bool_dtype(column) or wrong.size:
            row = int(wrong[0]) if wrong.size else 0
            todo = "Correct the cell or leave it empty if the reading is missing."
            if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", str(column.iloc[row])):
                todo = "For decimal commas, read the file with pandas.read_csv(..., decimal=',')."
            raise ValueError(
                f"Readings must be finite numbers in {where}; got {column.iloc[row]!r} in column "
                f"{name!r} at {frame.index[row]}. {todo}"
            )
        columns[position] = numbers
    values = np.column_stack(list(columns.values())) if columns else np.empty((len(frame), 0))
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def interval_text(step: pd.Timedelta) -> str:
    """Write an interval as datasets carry it.

    Args:
        step: The interval.

    Returns:
        A text such as "5min", "1h" or "6h".
    """
    text = to_offset(step).freqstr
    return text if text[0].isdigit() else f"1{text}"  # pandas itself does not read "h" as a time


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
        locations: As `join_locations` gives them: a row for each column, in order.
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
    frame, _, num_filled = regular_frame(frame, interval=interval, where=where)
    if num_filled:
        notes = [*notes, f"Absent time steps put in as missing readings: {num_filled}."]
    dataset = label_readings(
        frame.to_numpy(), time=frame.index, locations=locations, attrs=attrs, notes=notes
    )
    if adjacency is not None:
        dataset["adjacency"] = (("node", "to_node"), adjacency.astype(np.float32))
        dataset = dataset.assign_coords(to_node=np.array(ids))
    return check_dataset(dataset)


def label_readings(
    target: np.ndarray,
    *,
    time: pd.DatetimeIndex,
    locations: pd.DataFrame,
    attrs: Mapping[str, object],
    notes: Sequence[str] = (),
    channels: Sequence[str] = (),
    covariates: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Put the labels of the contract on readings at a constant interval; nothing is checked.

    Args:
        target: Readings (time, node), or (time, node, channel) where `channels` names these.
        time: At least two time stamps at a constant interval.
        locations: Columns `latitude` and `longitude`, indexed by id, a row for each node.
        attrs: Attributes of the contract other than `interval` and `notes`.
        notes: Sentences that a reader of the data should know.
        channels: What is forecast at once, in one unit.
        covariates: Further readings (time, node) by name.

    Returns:
        The dataset, in float32.
    """
    dims = ("time", "node", "channel") if channels else ("time", "node")
    dataset = xr.Dataset(
        {"target": (dims, target.astype(np.float32))},
        coords={
            "time": time.to_numpy().astype("datetime64[ns]"),
            "node": np.array(id_text(locations.index)),
            "latitude": ("node", locations["latitude"].to_numpy(np.float64)),
            "longitude": ("node", locations["longitude"].to_numpy(np.float64)),
        },
        attrs={**attrs, "interval": interval_text(time[1] - time[0])},
    )
    if channels:
        dataset = dataset.assign_coords(channel=list(channels))
    if covariates:
        stacked = np.stack([np.asarray(values, np.float32) for values in covariates.values()], -1)
        dataset["covariates"] = (("time", "node", "covariate"), stacked)
        dataset = dataset.assign_coords(covariate=list(covariates))
    if notes:
        dataset.attrs["notes"] = " ".join(notes)
    return dataset
