"""Constant intervals: what is filled, and what is refused."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.data.times import parse_times, regular_frame


def _frame(minutes: list[float]) -> pd.DataFrame:
    index = pd.Timestamp("2017-03-12") + pd.to_timedelta(minutes, unit="min")
    return pd.DataFrame({"a": np.arange(len(minutes), dtype=float)}, index=index)


def _at_seconds(seconds: list[int]) -> pd.DataFrame:
    index = pd.Timestamp("2017-03-12") + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame({"a": np.arange(len(seconds), dtype=float)}, index=index)


def test_whole_absent_steps_become_missing_rows() -> None:
    frame, step, filled = regular_frame(_frame([0, 5, 10, 25, 30]), where="x")
    assert step == pd.Timedelta("5min")
    assert filled == 2  # minutes 15 and 20
    np.testing.assert_array_equal(frame["a"], [0, 1, 2, np.nan, np.nan, 3, 4])


@given(st.sets(st.integers(1, 45), min_size=0, max_size=40))
def test_dropped_rows_come_back_as_missing(dropped: set[int]) -> None:
    kept = [step for step in range(47) if step not in dropped]
    whole = _frame([15.0 * step for step in range(47)])
    # State the interval only where two neighbours are left to show it.
    if not any(b - a == 1 for a, b in itertools.pairwise(kept)):
        return
    frame, _, filled = regular_frame(whole.iloc[kept], interval="15min", where="x")
    assert filled == len(dropped)
    pd.testing.assert_index_equal(frame.index, whole.index, check_names=False)
    assert set(np.flatnonzero(frame["a"].isna())) == dropped
    pd.testing.assert_frame_equal(frame.iloc[kept], whole.iloc[kept], check_freq=False)


def test_a_stated_interval_settles_a_series_with_many_gaps() -> None:
    minutes = [0, 60, 180, 360, 600]
    with pytest.raises(ValueError, match="interval between times must be constant in x"):
        regular_frame(_frame(minutes), where="x")
    frame, _, filled = regular_frame(_frame(minutes), interval="1h", where="x")
    assert (len(frame), filled) == (11, 6)


def test_utc_loses_its_zone_and_nothing_else() -> None:
    frame = _frame([0, 5, 10])
    aware = frame.set_axis(frame.index.tz_localize("UTC"))
    pd.testing.assert_index_equal(
        regular_frame(aware, where="x")[0].index.rename(None), frame.index
    )


@pytest.mark.parametrize(
    ("minutes", "interval", "message"),
    [
        ([0, 10, 5], None, "strictly increasing in x; got 2017-03-12 00:05:00 after 2017-03-12"),
        ([0, 5, 5, 10], None, "strictly increasing in x; got 2017-03-12 00:05:00 twice"),
        (
            [0, 5, 10, 17, 22],
            None,
            "must be constant in x.*got 0 days 00:07:00 after 2017-03-12 00",
        ),
        ([0, 5, 10], "10min", "must be constant in x"),
        ([0, 10, 20], "5min", "interval must be a step that occurs in x; got interval='5min'"),
        ([0, 5, 10], "soon", "interval must be a fixed step above 0; got interval='soon'"),
        ([0, 5, 10], "-5min", "interval must be a fixed step above 0; got interval='-5min'"),
        ([0, 5, 10], "5 mins", "fixed step above 0; got interval='5 mins'. Write it as in '5min'"),
        ([0, 5, 10], "", "interval must be a fixed step above 0; got interval=''"),
        ([0, 5, 10], "1ME", "interval must be a fixed step above 0; got interval='1ME'"),
        ([0], None, "x must hold at least 2 time steps, each with a time; got 1 rows"),
        ([0, np.nan, 5], None, "got 3 rows, 1 without a time"),
    ],
)
def test_irregular_times_are_refused(
    minutes: list[float], interval: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regular_frame(_frame(minutes), interval=interval, where="x")


@pytest.mark.parametrize("interval", [None, "5min"])
def test_jitter_is_told_from_irregular_times(interval: str | None) -> None:
    # Seconds 0, 301, 600, 900, 1199, 1800: at most 1 s beside full 5 minutes, with one gap.
    frame = _at_seconds([0, 301, 600, 900, 1199, 1800])
    message = (
        r"constant in x; got times up to 1 s beside full steps of 5min, the first one 2017-03-12 "
        r"00:05:01\. Round the times first, with \.dt\.round\('5min'\)"
    )
    with pytest.raises(ValueError, match=message):
        regular_frame(frame, interval=interval, where="x")
    rounded = frame.set_axis(frame.index.round("5min"))
    assert regular_frame(rounded, interval=interval, where="x")[2] == 1
    # 31 s are more than a tenth of 5 minutes, which no rounding should hide.
    with pytest.raises(ValueError, match=r"got 0 days 00:05:31 after .* where the interval is"):
        regular_frame(_at_seconds([0, 300, 631, 900, 1200]), where="x")


@pytest.mark.filterwarnings("error")
def test_old_spellings_of_an_interval_are_read() -> None:
    assert regular_frame(_frame([0, 60, 120]), interval="1H", where="x")[1] == pd.Timedelta("1h")


def test_other_indices_are_refused() -> None:
    frame = _frame([0, 5, 10])
    with pytest.raises(ValueError, match="labelled with time stamps; got int64"):
        regular_frame(frame.reset_index(drop=True), where="x")
    local = frame.set_axis(frame.index.tz_localize("Asia/Tokyo"))
    with pytest.raises(ValueError, match="naive or in UTC in x; got time zone Asia/Tokyo"):
        regular_frame(local, where="x")


@pytest.mark.parametrize("values", [["2024-01-31 00:05", "2024-02-01 00:10"], ["31 May 2024"]])
def test_text_in_one_format_is_parsed(values: list[str]) -> None:
    parsed = parse_times(pd.Series(values), where="x")
    assert list(parsed) == [pd.Timestamp(value) for value in values]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2024-01-01", "01/02/2024"], r"one format.*in x; got (object|str) such as '2024-01-01'"),
        (["2024-01-01", "noon"], "got 'noon'. Correct the text"),
        ([0, 300], "got int64 such as 0, 300"),
    ],
)
def test_times_are_not_guessed(values: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_times(pd.Series(values), where="x")
