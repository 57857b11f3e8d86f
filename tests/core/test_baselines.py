"""Baselines, worked out by hand, and that they do not look ahead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import dataset_of, rhythm

from sttrans_core.baselines import HistoricalAverage, LastObserved, LastValue

NAN = np.nan
BASELINES = (LastValue, LastObserved, HistoricalAverage)


def _rows(values, **options):
    return dataset_of(np.array(values), **options)


def test_the_last_value_is_the_reading_as_stored():
    dataset = _rows([[5.0, 7.0], [NAN, 8.0], [6.0, NAN]])
    forecast = LastValue(dataset, num_train_steps=2).predict(np.array([1, 2]), horizon_steps=3)
    assert forecast.shape == (2, 3, 2)
    assert forecast[:, 0].tolist() == [[0.0, 8.0], [6.0, 0.0]]
    assert (forecast == forecast[:, :1]).all()


def test_the_last_observed_value_goes_back_as_far_as_it_must():
    # Node 1 has no reading before step 2; training holds 5, 6 and 1: the mean is 4.
    dataset = _rows([[5.0, NAN, NAN], [NAN, NAN, 1.0], [6.0, NAN, NAN], [NAN, 9.0, 100.0]])
    forecast = LastObserved(dataset, num_train_steps=3).predict(
        np.array([1, 2, 3]), horizon_steps=2
    )
    assert forecast[:, 1].tolist() == [[5.0, 4.0, 1.0], [6.0, 4.0, 1.0], [6.0, 9.0, 100.0]]


def test_the_historical_average_by_hand():
    # Every 12 hours from Monday on, so two slots a day. Training: eight days (16 steps), then
    # the test. Node 0 is t; Monday's midnight was seen at t = 0 and 14: mean 7.
    values = np.stack([np.arange(24.0), np.arange(24.0)], axis=1)
    values[16:] = -999.0  # must not be looked at
    dataset = _rows(values, interval="12h")
    average = HistoricalAverage(dataset, num_train_steps=16)
    forecast = average.predict(np.array([13, 15, 23]), horizon_steps=3)
    # From 13: steps 14, 15, 16 are Monday 0:00 (0, 14), 12:00 (1, 15) and Tuesday 0:00 (2 only).
    assert forecast[0, :, 0].tolist() == [7.0, 8.0, 2.0]
    assert forecast[1, :, 0].tolist() == [2.0, 3.0, 4.0]
    # From 23, beyond the end: steps 24, 25, 26 are Saturday 0:00 (10), 12:00 (11), Sunday (12).
    assert forecast[2, :, 0].tolist() == [10.0, 11.0, 12.0]


def test_the_historical_average_falls_back():
    # Two slots a day, training is Monday and Tuesday: 1, 2 and 3, missing.
    readings = [[1.0, NAN, NAN], [2.0, NAN, NAN], [3.0, 7.0, NAN], [NAN, NAN, NAN], [50.0] * 3]
    average = HistoricalAverage(_rows(readings, interval="12h"), num_train_steps=4)
    monday, midday, tuesday, afternoon, wednesday, last = average.predict(
        np.array([-1]), horizon_steps=6
    )[0]
    assert (monday[0], midday[0], tuesday[0]) == (1.0, 2.0, 3.0)  # as seen at that time of week
    # Tuesday 12:00 is missing and Wednesday unseen: the time of day, (1 + 3) / 2 and 2.
    assert (afternoon[0], wednesday[0], last[0]) == (2.0, 2.0, 2.0)
    # Node 1 was seen on Tuesday 0:00 only: 7 at that time of day, and its mean, 7, at 12:00.
    assert (monday[1], afternoon[1]) == (7.0, 7.0)
    # Node 2 was never seen: the mean of all, (1 + 2 + 3 + 7) / 4.
    assert (monday[2], afternoon[2]) == (3.25, 3.25)


@pytest.mark.parametrize("kind", BASELINES)
@given(origin=st.integers(60, 90), seed=st.integers(0, 99))
def test_baselines_do_not_look_ahead(kind, origin, seed):
    dataset = rhythm(steps=100, nodes=3, missing=0.3)
    changed = dataset.copy(deep=True)
    noise = np.random.default_rng(seed).normal(size=changed["target"][origin + 1 :].shape)
    changed["target"][origin + 1 :] = np.where(noise > 1, np.nan, 1000 * noise)
    before, after = (
        kind(some, num_train_steps=60).predict(np.array([origin]), horizon_steps=5)
        for some in (dataset, changed)
    )
    assert np.array_equal(before, after)
    assert np.isfinite(before).all()


def test_labels_are_the_names_of_the_score_table():
    labels = [kind.label for kind in BASELINES]
    assert labels == ["last value", "last observed value", "historical average"]
