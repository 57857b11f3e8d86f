"""From TLC files to trips per time step and zone; every trip is counted or its reason is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sttrans_core.data.taxi_files import TaxiFile, read_batches

__all__ = ["NUM_ZONES", "Demand", "count_demand"]

NUM_ZONES = 263  # numbers above mean "unknown" (264) and "outside the city" (265)
_TIME_ZONE = "America/New_York"
_OFF_MONTH = "outside the month of their file"
_OFF_PERIOD = "dropped off outside the period"
_NO_ZONE = "without a zone"
_UNKNOWN = "in the unknown zones 264 and 265"
_CLOCKS = "in the hours that clocks skip or repeat"


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Trips per step, channel and zone number, beside those that could not be counted.

    Attributes:
        time: Start of each step, local time.
        counts: Trips (step, channel, zone number); number 0 is no zone.
        missing: Steps that cannot be read: hours that clocks skip or repeat, days without a trip.
        num_read: Trips in the files.
        left_out: For each channel, trips that are not in `counts`, by reason; with the sum of
            `counts` they make `num_read`.
        num_clock_steps: Steps that clocks skip or repeat.
        num_empty_days: Days without a trip in any zone.
    """

    time: pd.DatetimeIndex
    counts: np.ndarray
    missing: np.ndarray
    num_read: int
    left_out: Sequence[Counter[str]]
    num_clock_steps: int
    num_empty_days: int


@dataclass(kw_only=True)
class _Tally:
    """What the files gave so far."""

    counts: np.ndarray
    left_out: list[Counter[str]]
    num_read: int = 0


def count_demand(
    files: Sequence[TaxiFile], *, step: pd.Timedelta, channels: Sequence[str]
) -> Demand:
    """Count trips per step and zone, a part of a file at a time.

    A trip counts in the month of the file that it is published in. A drop-off counts where it
    falls, in the next month too where that is among the files.

    Args:
        files: Consecutive months in order.
        step: Divides a day.
        channels: "pickup", or "pickup" and "dropoff".

    Returns:
        The counts.

    Raises:
        ValueError: A file has no trip in its month, or a table has rows that are no counts.
    """
    first, end = files[0].month.start_time, files[-1].month.end_time.ceil("D")
    time = pd.date_range(first, end, freq=step, inclusive="left")
    tally = _Tally(
        counts=np.zeros((len(time), len(channels), NUM_ZONES + 1), np.int64),
        left_out=[Counter() for _ in channels],
    )
    for file in files:
        _count_file(file, tally, time=time, end=end, channels=channels)
    per_day = tally.counts.reshape(-1, pd.Timedelta("1D") // step, *tally.counts.shape[1:])
    empty = per_day.sum(axis=(1, 2, 3)) == 0
    by_clock = _clock_changes(time, end)
    for channel, left_out in enumerate(tally.left_out):
        left_out[_CLOCKS] += int(tally.counts[by_clock, channel].sum())
    tally.counts[by_clock] = 0
    return Demand(
        time=time,
        counts=tally.counts,
        missing=by_clock | np.repeat(empty, per_day.shape[1]),
        num_read=tally.num_read,
        left_out=tally.left_out,
        num_clock_steps=int(by_clock.sum()),
        num_empty_days=int(empty.sum()),
    )


def _count_file(
    file: TaxiFile,
    tally: _Tally,
    *,
    time: pd.DatetimeIndex,
    end: pd.Timestamp,
    channels: Sequence[str],
) -> None:
    first, step = time[0].to_datetime64(), (time[1] - time[0]).to_timedelta64()
    month = file.month.start_time.to_datetime64(), file.month.end_time.ceil("D").to_datetime64()
    cells = tally.counts.reshape(-1)  # a view: (step, channel, zone number) in one row
    roles = [f"{channel}_{what}" for channel in channels for what in ("time", "zone")]
    batches = read_batches(file, (*roles, *(["rides"] if file.is_table else [])))
    num_in_month = 0
    for batch in [_whole_table(file, batches)] if file.is_table else batches:
        pickup = batch["pickup_time"]
        rides = batch.get("rides", np.ones(len(pickup))).astype(np.int64)
        in_month = (pickup >= month[0]) & (pickup < month[1])
        tally.num_read += int(rides.sum())
        num_in_month += int(rides[in_month].sum())
        for channel, name in enumerate(channels):
            stamp, zone = batch[f"{name}_time"], batch[f"{name}_zone"]
            in_period = in_month & (stamp >= first) & (stamp < end.to_datetime64())
            has_zone = in_period & ~np.isnan(zone)
            is_known = has_zone & (zone >= 1) & (zone <= NUM_ZONES)
            steps = (stamp[is_known] - first) // step
            places = zone[is_known].astype(np.int64)
            cell = (steps * len(channels) + channel) * (NUM_ZONES + 1) + places
            np.add.at(cells, cell, rides[is_known])
            tally.left_out[channel].update(
                {
                    _OFF_MONTH: int(rides[~in_month].sum()),
                    _OFF_PERIOD: int(rides[in_month & ~in_period].sum()),
                    _NO_ZONE: int(rides[in_period & ~has_zone].sum()),
                    _UNKNOWN: int(rides[has_zone & ~is_known].sum()),
                }
            )
    if num_in_month == 0:
        raise ValueError(
            f"{file.path.name} must hold trips of {file.month}; got {tally.num_read:,} rows and "
            "none of that month. Fetch it again, or correct the month in its name."
        )


def _whole_table(file: TaxiFile, batches: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Take a table, which is short, as a whole: one row a zone and full hour."""
    table = pd.concat([pd.DataFrame(batch) for batch in batches], ignore_index=True)
    rides, hours = table["rides"], table["pickup_time"]
    bad = ~((rides >= 0) & (rides == np.floor(rides)) & np.isfinite(rides))
    uneven = hours.notna() & (hours != hours.dt.floor("h"))
    doubled = table.duplicated(["pickup_time", "pickup_zone"]) & hours.notna()
    for fault, must, todo in (
        (bad, "Rides must be whole numbers, at least 0", "Correct the row."),
        (uneven, "A table of rides must have full hours", "Sum its rows by the hour first."),
        (doubled, "A zone must have one row an hour", "Keep one of them, or add them."),
    ):
        if fault.any():
            row = table[fault].iloc[0]
            raise ValueError(
                f"{must} in {file.path.name}; got {row['rides']:g} rides in zone "
                f"{row['pickup_zone']:g} at {row['pickup_time']}"
                f"{' again' if fault is doubled else ''}. {todo}"
            )
    return {str(name): column.to_numpy() for name, column in table.items()}


def _clock_changes(time: pd.DatetimeIndex, end: pd.Timestamp) -> np.ndarray:
    """Mark steps that touch an hour that local clocks skip, or pass twice."""
    hours = pd.date_range(time[0], end, freq="1h", inclusive="left")
    local = hours.tz_localize(_TIME_ZONE, ambiguous="NaT", nonexistent="NaT")
    step, marked = time[1] - time[0], np.zeros(len(time), bool)
    for hour in hours[local.isna()]:
        marked |= np.asarray((time < hour + pd.Timedelta("1h")) & (time + step > hour))
    return marked
