"""ARIMA: the library's models, rolled through a series without fitting again."""

import sys

import joblib
import numpy as np
import pytest
from small_runs import dataset_of
from statsforecast.arima import Arima, forecast_arima, forward_arima

from sttrans_core.baselines.arima import ARIMA, _Recursion, _recursion

NAN = np.nan
TRAIN = 300


def _series(*, steps: int = 400, differences: int = 0, seed: int = 0) -> np.ndarray:
    """y = 50 + x, x = 0.8 x' + e + 0.3 e', summed up `differences` times."""
    noise = np.random.default_rng(seed).normal(size=steps)
    values = np.zeros(steps)
    for step in range(1, steps):
        values[step] = 0.8 * values[step - 1] + noise[step] + 0.3 * noise[step - 1]
    for _ in range(differences):
        values = values.cumsum()
    return 50 + values


def _rolled(values: np.ndarray, model: _Recursion) -> ARIMA:
    """Roll a known model of departures from the mean of one series."""
    column = _Recursion(*(np.asarray(part)[..., None] for part in model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sttrans_core.baselines.arima._fit", lambda *_, **__: column)
        return ARIMA(dataset_of(values[:, None]), num_train_steps=len(values))


@pytest.mark.filterwarnings("ignore:possible convergence problem")
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("order", [(1, 0, 1), (3, 0, 0), (1, 1, 1), (0, 1, 2)], ids=str)
def test_it_forecasts_as_the_library_does(order, missing):
    values = _series(differences=order[1]) - 50
    values -= values.mean()
    model = Arima(values, order=order, method="ML")
    values[np.random.default_rng(1).random(len(values)) < missing] = NAN
    values[300:320] = NAN if missing else values[300:320]
    rolled = _rolled(values, _recursion(model["arma"], model["coef"]))
    rolled._mean[:] = 0.0
    rolled._states = rolled._filter(values[:, None])
    origins = np.array([260, 310, 321, 388])
    forecast = rolled.predict(origins, horizon_steps=11)[..., 0]
    for row, origin in zip(forecast, origins, strict=True):
        again = forward_arima(model, values[: origin + 1], method="ML")
        np.testing.assert_allclose(row, forecast_arima(again, h=11)["mean"], atol=1e-3)


def test_the_search_comes_near_the_best_forecast():
    # One step ahead nothing does better than the noise, whose deviation is 1.
    values = _series(steps=1500)
    fitted = ARIMA(dataset_of(values[:, None]), num_train_steps=700, workers=1)
    origins = np.arange(700, 1499)
    error = fitted.predict(origins, horizon_steps=1)[:, 0, 0] - values[origins + 1]
    assert np.sqrt(np.square(error).mean()) == pytest.approx(1.0, rel=0.08)


def test_a_recursion_is_the_model_multiplied_out():
    # (1 - 0.5 B)((1 - B) y - 3) = (1 + 0.2 B) e: y = 1.5 y' - 0.5 y'' + 1.5 + e + 0.2 e'.
    past, noise, constant = _recursion(
        (1, 1, 0, 0, 1, 1, 0), {"ar1": 0.5, "ma1": 0.2, "drift": 3.0}
    )
    assert past.tolist() == [1.5, -0.5, 0.0, 0.0]
    assert noise.tolist() == [1.0, 0.2, 0.0, 0.0]
    assert constant == 1.5


def test_a_gap_is_filled_with_the_forecast():
    # y = 0.5 y' around the mean 0: from 8 over two gaps 4 and 2, then 1; the reading -6 counts.
    values = np.array([0, 0, 0, 0, 0, -10, 8, NAN, NAN, -6, 8, -10, 10], dtype=float)
    assert np.nansum(values) == 0
    rolled = _rolled(values, _recursion((1, 0, 0, 0, 1, 0, 0), {"ar1": 0.5}))
    forecast = rolled.predict(np.array([6, 7, 8, 9]), horizon_steps=2)[..., 0]
    assert forecast.tolist() == [[4.0, 2.0], [2.0, 1.0], [1.0, 0.5], [-3.0, -1.5]]


def test_after_a_gap_a_reading_says_more():
    # A level that wanders, under noise, whose mean is 0. What is read after a long gap tells of the
    # level more than one reading among many, so the forecast follows it further.
    model = _recursion((0, 1, 0, 0, 1, 1, 0), {"ma1": -0.9})
    steady, gap = np.zeros(301), np.zeros(301)
    steady[[150, 151]] = gap[[150, 151]] = 10.0, -10.0
    gap[50:150] = NAN
    origin = np.array([150])
    near, far = (
        _rolled(values, model).predict(origin, horizon_steps=1) for values in (steady, gap)
    )
    assert near.item() == pytest.approx(1.0, abs=0.05)  # a tenth of the news, as 1 - 0.9
    assert far.item() > 5


@pytest.mark.parametrize("weight", [-2.0, -1.0, 2.0])
def test_noise_that_cannot_be_inverted_does_not_blow_up(weight):
    values = _series()
    rolled = _rolled(values, _recursion((0, 1, 0, 0, 1, 1, 0), {"ma1": weight}))
    forecast = rolled.predict(np.arange(10, 390), horizon_steps=3)
    assert np.ptp(forecast) < 3 * np.ptp(values)


def test_only_training_is_fitted_without_gaps():
    values = np.tile(_series()[:, None], (1, 3))
    values[:3, 0], values[100:120, 0], values[:TRAIN, 1] = NAN, NAN, NAN
    seen = []

    def fit(series: np.ndarray, **_):
        seen.append(series)
        return _Recursion(np.zeros((4, 3)), np.ones((4, 3)), np.zeros(3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sttrans_core.baselines.arima._fit", fit)
        ARIMA(dataset_of(values), num_train_steps=TRAIN)
    (series,) = seen
    assert series.shape == (TRAIN, 3)
    assert np.isfinite(series).all()
    assert not series[:, 1].any()  # nothing is known of it
    assert np.ptp(np.diff(series[99:121, 0])) < 1e-3  # a straight line over the gap


@pytest.mark.slow
def test_processes_change_nothing():
    values = np.stack([_series(seed=seed, steps=200) for seed in range(2)], axis=1)
    dataset = dataset_of(values)
    alone, shared = (
        ARIMA(dataset, num_train_steps=160, workers=workers).predict(
            np.array([170]), horizon_steps=3
        )
        for workers in (1, 2)
    )
    assert np.array_equal(alone, shared)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"needs statsforecast and joblib.*'sttrans\[arima\]'"):
        ARIMA(dataset_of(_series()[:, None]), num_train_steps=TRAIN)


def test_no_more_processes_are_started_than_allowed(monkeypatch):
    asked, parallel = [], joblib.Parallel

    def watched(*, n_jobs):
        asked.append(n_jobs)
        return parallel(n_jobs=1)

    monkeypatch.setattr("joblib.Parallel", watched)
    monkeypatch.setattr(
        "sttrans_core.baselines.arima._fit_one",
        lambda _: _recursion((1, 0, 0, 0, 1, 0, 0), {"ar1": 0.5}),
    )
    dataset = dataset_of(np.stack([_series(seed=seed) for seed in range(3)], axis=1))
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)  # fewer than series
    ARIMA(dataset, num_train_steps=TRAIN)
    monkeypatch.undo()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert joblib.cpu_count() == 1
    assert asked == [2]
