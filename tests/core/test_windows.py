"""Splits, scaling and windows: counts by hand, no peeking, missing readings kept apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from small_runs import dataset_of, rhythm

from sttrans_core.data.splits import split_windows
from sttrans_core.data.windows import Scaler, Windows

# The length of METR-LA: 119 days of 288 steps.
METR_LA_STEPS = 119 * 288


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        # 34,272 - 12 - 12 + 1 = 34,249 windows; 0.7 and 0.2 of them are 23,974.3 and 6,849.8.
        ("standard", (23_974, 3_425, 6_850)),
        # 0.1 of them is 3,424.9, the rest is validation: 34,249 - 23,974 - 3,425.
        ("paper", (23_974, 6_850, 3_425)),
    ],
)
def test_the_split_of_metr_la(split, sizes):
    parts = split_windows(METR_LA_STEPS, history_steps=12, horizon_steps=12, split=split)
    assert tuple(len(part) for part in parts) == sizes
    assert parts.test[-1] + 24 == METR_LA_STEPS  # the last window ends with the series


@given(
    num_steps=st.integers(40, 3_000),
    history=st.integers(1, 13),
    horizon=st.integers(1, 13),
    split=st.sampled_from(["standard", "paper"]),
)
def test_the_parts_follow_each_other_and_use_every_window(num_steps, history, horizon, split):
    parts = split_windows(num_steps, history_steps=history, horizon_steps=horizon, split=split)
    joined = [start for part in parts for start in part]
    assert joined == list(range(num_steps - history - horizon + 1))


@pytest.mark.parametrize("num_steps", [1, 23, 24, 26])
def test_a_series_too_short_for_three_parts_is_refused(num_steps):
    # 26 steps give 3 windows: 2 for training, 1 (0.6 rounded) for the test, none in between.
    sentence = (
        f"long enough for training, validation and test windows; got {num_steps} steps with "
        "history_steps=12 and horizon_steps=12. Use a longer series or shorter windows"
    )
    with pytest.raises(ValueError, match=sentence):
        split_windows(num_steps, history_steps=12, horizon_steps=12)


def test_the_scaler_of_four_readings():
    # Observed: 2, 4, 4, 6. Mean 4, mean square deviation (4 + 0 + 0 + 4) / 4 = 2.
    scaler = Scaler.fit(np.array([[2.0, np.nan], [4.0, 4.0], [np.nan, 6.0]]))
    assert scaler.mean == 4.0
    assert scaler.std == pytest.approx(2**0.5)
    assert scaler.transform(torch.tensor([4.0 + 2**0.5])).tolist() == pytest.approx([1.0])


@given(npst.arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)))
def test_the_scaler_inverts(values):
    scaler = Scaler.fit(values)
    again = scaler.inverse(scaler.transform(torch.from_numpy(values))).numpy()
    assert np.allclose(again, values, atol=1e-9 * max(1.0, np.abs(values).max()))


def test_a_constant_series_has_a_spread_of_one():
    scaler = Scaler.fit(np.full((5, 2), 7.0))
    assert (scaler.mean, scaler.std) == (7.0, 1.0)


def test_training_values_that_are_all_missing_are_refused():
    with pytest.raises(ValueError, match="must hold observed readings; got only missing ones"):
        Scaler.fit(np.full((3, 2), np.nan))


def _windows(dataset, history=3, horizon=2, **options):
    return Windows(
        dataset,
        history_steps=history,
        horizon_steps=horizon,
        scaler=Scaler(mean=10.0, std=2.0),
        **options,
    )


def test_a_window_by_hand():
    # Reading 10 t + n at 23:50, 23:55, 00:00, ... from a Sunday on; (1, 1) is missing.
    values = np.add.outer(10.0 * np.arange(7), np.arange(2))
    values[1, 1] = np.nan
    batch = _windows(dataset_of(values, first="2024-01-07 23:50")).batch([0, 1])
    # History of the first window: steps 0, 1, 2; z-scores (10 t + n - 10) / 2.
    assert batch.values[0, :, :, 0].tolist() == [[-5.0, -4.5], [0.0, 0.0], [5.0, 5.5]]
    assert batch.observed[0].tolist() == [[True, True], [True, False], [True, True]]
    assert batch.observed[1, 0].tolist() == [True, False]
    # Horizon: steps 3, 4, in original units.
    assert batch.target is not None
    assert batch.target[0, :, :, 0].tolist() == [[30.0, 31.0], [40.0, 41.0]]
    # 23:50 is slot 286 of 288; midnight starts Monday.
    assert batch.time_of_day[0].tolist() == [286, 287, 0, 1, 2]
    assert batch.day_of_week[0].tolist() == [6, 6, 0, 0, 0]
    # The first Monday of 2024 begins after 7 of 366 days.
    assert batch.year_share[0, 2].item() == pytest.approx(7 / 366)
    assert batch.earlier is None


def test_channels_come_before_covariates_and_flags():
    # Two channels and one covariate at two places; z-scores (x - 10) / 2 and (x - 1) / 4.
    values = np.arange(28.0).reshape(7, 2, 2)
    values[0, 0, 0] = values[1, 1] = np.nan
    wind = 1.0 + 4.0 * np.arange(14.0).reshape(7, 2, 1)
    wind[2, 1] = np.nan
    dataset = dataset_of(np.zeros((7, 2))).drop_vars("target")
    dataset["target"] = (("time", "node", "channel"), values)
    dataset["covariates"] = (("time", "node", "covariate"), wind)
    dataset = dataset.assign_coords(channel=["in", "out"], covariate=["wind"])
    windows = _windows(dataset, covariate_scalers=[Scaler(mean=1.0, std=4.0)])
    batch = windows.batch([0])
    # Readings 0 and 1 of the first place, then its wind; the reading 0 is missing.
    assert batch.values[0, 0, 0].tolist() == [0.0, -4.5, 0.0, 0.0, 1.0, 1.0]
    assert batch.values[0, 1, 1].tolist() == [0.0, 0.0, 3.0, 0.0, 0.0, 1.0]
    assert batch.values[0, 2, 1].tolist() == [0.0, 0.5, 0.0, 1.0, 1.0, 0.0]
    # A place counts as observed with one channel of its target; the wind alone is not enough.
    assert batch.observed[0].tolist() == [[True, True], [True, False], [True, True]]
    assert batch.target is not None
    assert batch.target[0, 0].tolist() == [[12.0, 13.0], [14.0, 15.0]]


def test_earlier_days_by_hand():
    # Eight readings a day: 10 + 2 t at the first place; a day back is 8 steps, two are 16.
    values = np.repeat(10.0 + 2.0 * np.arange(30)[:, None], 2, axis=1)
    values[3, 1] = np.nan
    dataset = dataset_of(values, interval="3h")
    batch = _windows(dataset, lags=[(8,), (16,)]).batch([10, 25])
    assert batch.earlier is not None
    # Steps 10 to 14: z-score t - 8 of a day back; two days back only what the series holds.
    assert batch.earlier[0, :, 0, 0].tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert batch.earlier[0, :, 0, 1].tolist() == [0.0] * 5
    assert batch.earlier[0, :, 0, 2:].tolist() == [[1.0, 0.0]] * 5
    # At the second place the step 3 is missing.
    assert batch.earlier[0, :, 1, 0].tolist() == [2.0, 0.0, 4.0, 5.0, 6.0]
    assert batch.earlier[0, 1, 1, 2] == 0.0
    # A horizon that reaches the end of the series, and one beyond it.
    assert batch.earlier[1, :, 0, 1].tolist() == [9.0, 10.0, 11.0, 12.0, 13.0]
    beyond = _windows(dataset, lags=[(8,)]).batch([27])
    assert beyond.target is None
    assert beyond.earlier is not None
    assert beyond.earlier[0, :, 0, 0].tolist() == [19.0, 20.0, 21.0, 22.0, 23.0]


def test_readings_of_several_earlier_weeks_are_averaged_by_hand():
    # 10 + 2 t, of which step 2 is missing; three and six steps back, and the mean of both.
    values = np.repeat(10.0 + 2.0 * np.arange(12)[:, None], 2, axis=1)
    values[2, 0] = np.nan
    batch = _windows(dataset_of(values), lags=[(3,), (3, 6)]).batch([5])
    assert batch.earlier is not None
    # Steps 5 to 9: z-scores 2 to 6, and of six steps back none, 0, 1, none (missing: 2), 3.
    assert batch.earlier[0, :, 0, 0].tolist() == [0.0, 3.0, 4.0, 5.0, 6.0]
    assert batch.earlier[0, :, 0, 1].tolist() == [0.0, (3 + 0) / 2, (4 + 1) / 2, 5.0, (6 + 3) / 2]
    assert batch.earlier[0, :, 0, 3].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]


def test_a_missing_target_stays_missing():
    values = np.arange(14.0).reshape(7, 2)
    values[4, 0] = np.nan
    target = _windows(dataset_of(values)).batch([0]).target
    assert torch.isnan(target).tolist() == [[[[False], [False]], [[True], [False]]]]


def test_the_calendar_goes_on_where_the_series_ends():
    batch = _windows(dataset_of(np.ones((4, 2)), first="2024-01-01 23:45")).batch([1])
    assert batch.target is None
    assert batch.time_of_day[0].tolist() == [286, 287, 0, 1, 2]
    assert batch.day_of_week[0].tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("interval", ["7min", "1h", "6h", "1D", "7D"])
def test_time_of_day_slots_stay_inside_the_day(interval):
    dataset = dataset_of(np.ones((50, 2)), interval=interval)
    slots = _windows(dataset).batch([0, 40]).time_of_day
    per_day = max(1, round(pd.Timedelta("1D") / pd.Timedelta(interval)))
    assert 0 <= int(slots.min()) <= int(slots.max()) < per_day


@given(start=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_window_does_not_see_what_comes_after_it(start, seed):
    dataset = rhythm(steps=40, nodes=3, missing=0.2)
    changed = dataset.copy(deep=True)
    future = np.random.default_rng(seed).normal(size=changed["target"][start + 3 :].shape)
    changed["target"][start + 3 :] = np.where(future > 1, np.nan, 1000 * future)
    before, after = (_windows(each, lags=[(2,)]).batch([start]) for each in (dataset, changed))
    for name in ("values", "observed", "time_of_day", "day_of_week", "year_share", "earlier"):
        assert torch.equal(getattr(before, name), getattr(after, name))


def test_a_series_shorter_than_the_history_is_refused():
    sentence = "at least as long as the history; got 4 steps with history_steps=5. Load a longer"
    with pytest.raises(ValueError, match=sentence):
        _windows(dataset_of(np.ones((4, 2))), history=5)
