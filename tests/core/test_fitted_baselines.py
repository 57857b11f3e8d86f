"""Baselines fitted without gradients: by hand, against the truth, and never looking ahead."""

import numpy as np
import pytest
import xarray as xr
from small_runs import dataset_of, rhythm

from sttrans_core.baselines import (
    FITTED,
    AnomalyPersistence,
    Climatology,
    PooledRegression,
    Ridge,
    SeasonalNaive,
    covers_seasons,
)
from sttrans_core.baselines.arima import _Recursion

NAN = np.nan
TRAIN = 170
every_baseline = pytest.mark.parametrize("name", FITTED)


@pytest.fixture(autouse=True)
def _known_arima(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the search for orders; what it is given are the training steps, see test_arima."""

    def fit(series: np.ndarray, *, workers: int | None):
        assert len(series) == TRAIN
        past, noise = np.zeros((2, 4, series.shape[1]))
        past[:2], noise[:2] = [[1.1], [-0.3]], [[1.0], [0.4]]
        return _Recursion(past, noise, np.zeros(series.shape[1]))

    monkeypatch.setattr("sttrans_core.baselines.arima._fit", fit)


def _fitted(name: str, dataset: xr.Dataset):
    return FITTED[name](dataset, num_train_steps=TRAIN)


def _hourly(*, steps: int = 240, nodes: int = 3, missing: float = 0.2) -> xr.Dataset:
    """Ten days of hours, so that days and weeks are cycles."""
    values = rhythm(steps=steps, nodes=nodes, missing=missing)["target"].values
    return dataset_of(values, interval="1h")


@every_baseline
@pytest.mark.parametrize("origin", [170, 203])
def test_no_baseline_looks_ahead(name, origin):
    dataset = _hourly()
    changed = dataset.copy(deep=True)
    noise = np.random.default_rng(origin).normal(size=changed["target"][origin + 1 :].shape)
    changed["target"][origin + 1 :] = np.where(noise > 1, NAN, 1000 * noise)
    before, after = (
        _fitted(name, some).predict(np.array([origin]), horizon_steps=5)
        for some in (dataset, changed)
    )
    assert np.array_equal(before, after)
    assert np.isfinite(before).all()
    assert before.shape == (1, 5, 3)


@every_baseline
def test_channels_are_series_of_their_own(name):
    first, second = _hourly(missing=0.0), _hourly(nodes=3, missing=0.0)
    second["target"] = second["target"] ** 2 / 50
    both = first.assign(
        target=(
            ("time", "node", "channel"),
            np.stack([first["target"].values, second["target"].values], axis=-1),
        )
    ).assign_coords(channel=np.array(["pickup", "dropoff"]))
    origins = np.array([180, 201, 239])
    alone = [_fitted(name, each).predict(origins, horizon_steps=4) for each in (first, second)]
    together = _fitted(name, both).predict(origins, horizon_steps=4)
    np.testing.assert_allclose(together, np.stack(alone, axis=-1), rtol=1e-4)


@every_baseline
def test_a_node_that_training_never_saw_is_no_reason_to_fail(name):
    dataset = _hourly()
    dataset["target"][:200, 1] = NAN
    forecast = _fitted(name, dataset).predict(np.arange(171, 230, 7), horizon_steps=4)
    assert np.isfinite(forecast).all()
    if name != "last_value":
        assert (np.abs(forecast[:4, :, 1] - 50) < 15).all()  # the mean of the others


# Texts of one length, as numpy keeps ids, are new in format 3.
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@every_baseline
def test_a_stored_series_gives_the_same(name, tmp_path, monkeypatch):
    dataset = _hourly()
    dataset.to_zarr(tmp_path / "series.zarr", consolidated=False)
    origins = np.array([171, 199, 230])
    before = _fitted(name, dataset).predict(origins, horizon_steps=4)
    monkeypatch.setattr("sttrans_core.slabs._VALUES_AT_ONCE", 37 * 3)
    monkeypatch.setattr("sttrans_core.baselines.ridge._READINGS_AT_ONCE", 71 * 3)
    monkeypatch.setattr("sttrans_core.baselines.ridge._FEATURES_AT_ONCE", 1)
    with xr.open_zarr(tmp_path / "series.zarr", chunks=None, consolidated=False) as stored:
        after = _fitted(name, stored).predict(origins, horizon_steps=4)
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_labels_are_the_names_of_the_score_table():
    labels = [_fitted(name, _hourly()).label for name in FITTED]
    assert labels == [
        "last value",
        "last observed value",
        "historical average",
        "same time yesterday",
        "same time last week",
        "climatology",
        "anomaly persistence",
        "ridge",
        "pooled regression",
        "ARIMA",
    ]


def test_the_same_time_yesterday_by_hand():
    # Twelve hours a step, two steps a day. From step 5 on, 6 and 7 repeat 4 and 5; 8, whose
    # yesterday is step 6, is not known yet either and repeats 4, too.
    values = np.arange(9.0)[:, None]
    repeat = SeasonalNaive(dataset_of(values, interval="12h"), num_train_steps=4, days=1)
    assert repeat.predict(np.array([5]), horizon_steps=3).ravel().tolist() == [4.0, 5.0, 4.0]
    # A gap at 4 goes a day further back, to 2; at 0 there is none before: the mean of Monday 0:00,
    # Tuesday 0:00 and so on falls back to the time of day, (0 + 2) / 2.
    values[4] = NAN
    repeat = SeasonalNaive(dataset_of(values, interval="12h"), num_train_steps=4, days=1)
    assert repeat.predict(np.array([5]), horizon_steps=1).ravel().tolist() == [2.0]
    values[:] = NAN
    values[[0, 2]] = [[1.0], [3.0]]
    repeat = SeasonalNaive(dataset_of(values, interval="12h"), num_train_steps=4, days=3)
    assert repeat.label == "same time 3 days before"
    assert repeat.predict(np.array([3]), horizon_steps=1).ravel().tolist() == [2.0]


@pytest.mark.parametrize(("days", "interval"), [(0, "1h"), (7, "7h")])
def test_a_cycle_must_be_whole_days(days, interval):
    dataset = dataset_of(np.ones((40, 2)), interval=interval)
    with pytest.raises(ValueError, match=rf"got days={days} with steps of {interval}\. Use anoth"):
        SeasonalNaive(dataset, num_train_steps=30, days=days)


def _wave(steps: np.ndarray) -> np.ndarray:
    """A year and a day, six-hourly, which the climatology holds exactly."""
    days = steps / 4
    year, day = 2 * np.pi * days / 365.2425, 2 * np.pi * days
    return 280 + 9 * np.cos(year) + 2 * np.sin(day) - 0.5 * np.cos(2 * day)


def test_the_climatology_finds_the_year_and_the_day():
    steps = np.arange(1600)
    values = np.stack([_wave(steps), _wave(steps) + 5], axis=1)
    values[np.random.default_rng(0).random(values.shape) < 0.3] = NAN
    values[1400:] = -999.0  # must not be looked at
    dataset = dataset_of(values, first="2013-01-01", interval="6h")
    climatology = Climatology(dataset, num_train_steps=1400)
    beyond = np.array([1597, 1599])
    expected = _wave(beyond[:, None] + np.arange(1, 8))
    forecast = climatology.predict(beyond, horizon_steps=7)
    np.testing.assert_allclose(forecast[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(forecast[..., 1], expected + 5, atol=1e-4)


@pytest.mark.parametrize(("steps", "covers"), [(300, False), (301, True)])
def test_seasons_take_most_of_a_year(steps, covers):
    # Daily values: 301 steps span 300 days. Then a slow rise is a season, else it is no rhythm.
    values = np.linspace(0, 10, 400)[:, None]
    dataset = dataset_of(values, interval="1D")
    assert covers_seasons(dataset, steps) is covers
    usual = Climatology(dataset, num_train_steps=steps).at(np.arange(steps))
    assert bool(np.ptp(usual) > 1) is covers


def test_an_anomaly_persists():
    steps = np.arange(1600)
    values = _wave(steps)[:, None] + np.where(steps >= 1500, 3.0, 0.0)[:, None]
    values[1502] = NAN
    dataset = dataset_of(values, first="2013-01-01", interval="6h")
    persistence = AnomalyPersistence(dataset, num_train_steps=1400)
    forecast = persistence.predict(np.array([1499, 1501, 1502]), horizon_steps=3)[..., 0]
    # The reading at 1502 is missing, so nothing is known to persist.
    expected = _wave(np.array([1499, 1501, 1502])[:, None] + np.arange(1, 4))
    expected[1] += 3
    np.testing.assert_allclose(forecast, expected, atol=1e-3)


def _carried(steps: int, nodes: int, seed: int = 0) -> np.ndarray:
    """Noise that is carried from each node to the next one within a step."""
    noise = np.random.default_rng(seed).normal(size=steps + nodes)
    return np.stack([noise[nodes - n : nodes - n + steps] for n in range(nodes)], axis=1)


def test_ridge_finds_what_is_carried_from_node_to_node():
    values = _carried(3000, 5)
    places = {"latitude": np.zeros(5), "longitude": np.arange(5.0) ** 1.1}
    dataset = dataset_of(values, interval="1D", **places)
    fitted = Ridge(dataset, num_train_steps=2500, horizon_steps=3, penalty=1e-4)
    origins = np.arange(2500, 2997)
    forecast = fitted.predict(origins, horizon_steps=3)
    error = forecast - values[origins[:, None] + np.arange(1, 4)]
    mean_square = np.square(error).mean(0)  # (horizon, node)
    # Node n at step h was at node n - h at the origin: known where n >= h, news elsewhere.
    known = np.arange(5) >= np.arange(1, 4)[:, None]
    assert (mean_square[known] < 0.05).all()
    assert (mean_square[~known] > 0.8).all()


@pytest.mark.parametrize(("train", "name"), [(336, "climatology"), (337, "historical_average")])
def test_ridge_shrinks_to_what_is_usual(train, name):
    dataset = _hourly(steps=420, missing=0.0)
    origins = np.array([380, 410])
    usual = FITTED[name](dataset, num_train_steps=train).predict(origins, horizon_steps=2)
    strict = Ridge(dataset, num_train_steps=train, penalty=1e9).predict(origins, horizon_steps=2)
    # But for the constant, which is free: the mean departure of the rows of training.
    np.testing.assert_allclose(np.diff(strict - usual, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(strict, usual, atol=1)


def test_ridge_learns_from_a_few_days():
    # Every time of the week was seen once: no reading departs from the average of its own.
    rng, departure = np.random.default_rng(0), np.zeros(24 * 10)
    for step in range(1, len(departure)):
        departure[step] = 0.95 * departure[step - 1] + rng.normal()
    course = 10 * np.cos(np.arange(len(departure)) * (2 * np.pi / 24))
    dataset = dataset_of((course + departure)[:, None], interval="1h")
    origins = np.arange(120, 239)
    fitted = Ridge(dataset, num_train_steps=120, horizon_steps=1, num_nearest=1)
    error = fitted.predict(origins, horizon_steps=1)[:, 0, 0] - (course + departure)[origins + 1]
    assert np.square(error).mean() < 1.5  # 1 is news


def test_ridge_learns_from_rows_that_were_observed_whole():
    # For a time the wind blows the other way, and every other reading is missing: every row has a
    # gap in the two steps ahead. Were it filled or left out alone, that time would teach, too.
    values = _carried(3000, 5)
    places = {"latitude": np.zeros(5), "longitude": np.arange(5.0) ** 1.1}
    values[500:2101] = values[500:2101, ::-1]
    values[500:2101:2] = NAN
    fitted = Ridge(
        dataset_of(values, interval="1D", **places),
        num_train_steps=2500,
        horizon_steps=2,
        num_lags=1,
    )
    origins = np.arange(2500, 2998)
    error = fitted.predict(origins, horizon_steps=1)[:, 0, 1:] - values[origins + 1, 1:]
    assert np.square(error - error.mean(0)).mean() < 0.05


def test_ridge_forecasts_no_further_than_it_was_fitted():
    fitted = Ridge(_hourly(), num_train_steps=170, horizon_steps=4)
    with pytest.raises(ValueError, match=r"at most the fitted 4; got horizon_steps=5\. Fit with"):
        fitted.predict(np.array([200]), horizon_steps=5)


def _weekly(steps: int = 24 * 7 * 8, nodes: int = 5) -> np.ndarray:
    """Draw a course of the week for each node, and noise that stays for a while on top of it."""
    rng = np.random.default_rng(0)
    course = np.tile(rng.normal(size=(24 * 7, nodes)), (-(-steps // (24 * 7)), 1))[:steps]
    noise = np.zeros((steps, nodes))
    for step in range(1, steps):
        noise[step] = 0.9 * noise[step - 1] + 0.1 * rng.normal(size=nodes)
    return 10 * np.arange(1, nodes + 1) + course + noise


def test_pooled_regression_sees_earlier_days_only_through_its_lags():
    values = _weekly()
    dataset = dataset_of(values, interval="1h")
    origins = np.arange(24 * 7 * 6, 24 * 7 * 8 - 3)
    truth = values[origins[:, None] + np.arange(1, 4)]
    week, mean_square = 24 * 7, {}
    for name, lags in {"without": [], "with": [[week], [week, 2 * week]]}.items():
        fitted = PooledRegression(
            dataset, num_train_steps=week * 6, horizon_steps=3, history_steps=2, lags=lags
        )
        error = fitted.predict(origins, horizon_steps=3) - truth
        mean_square[name] = np.square(error).mean((0, 2))
    # The course has a variance of 1 and no memory but that of the week. The noise has 0.053, of
    # which the newest reading tells most; what the mean of two weeks has of it is added.
    assert (mean_square["without"] > 0.8).all()
    assert (mean_square["with"] < 0.1).all()


def test_pooled_regression_by_hand():
    # Each reading is the departure of the one a day before it, halved, and one for all nodes.
    values = np.zeros((24 * 6, 2))
    values[:24] = np.random.default_rng(0).normal(size=(24, 2))
    for step in range(24, len(values)):
        values[step] = 0.5 * values[step - 24]
    fitted = PooledRegression(
        dataset_of(values, interval="1h"), num_train_steps=24 * 5, horizon_steps=2,
        history_steps=1, lags=[[24]],
    )  # fmt: skip
    mean = values[: 24 * 5].mean(0)
    forecast = fitted.predict(np.array([130]), horizon_steps=2)[0]
    # Means of 1.9375 / 5 of the first day shift both sides by little: weights are near (0, 0, 0.5).
    np.testing.assert_allclose(forecast, 0.5 * values[[107, 108]] + 0.5 * mean, atol=0.1)


def test_pooled_regression_counts_a_gap_as_usual_and_trains_on_whole_rows():
    values = _weekly()
    dataset = dataset_of(values, interval="1h")
    dataset["target"][24 * 7 * 4 : 24 * 7 * 6] = NAN
    short = dataset_of(values[: 24 * 7 * 4 + 1], interval="1h")
    options = {"horizon_steps": 1, "history_steps": 1, "lags": [[24 * 7]]}
    gap = PooledRegression(dataset, num_train_steps=24 * 7 * 5, **options)
    origin = np.array([24 * 7 * 6 - 1])  # sees nothing at all
    forecast = gap.predict(origin, horizon_steps=1)[0, 0]
    np.testing.assert_allclose(forecast, values[: 24 * 7 * 4].mean(0), rtol=1e-5)
    alone = PooledRegression(short, num_train_steps=24 * 7 * 4, **options)
    origins = np.array([24 * 7 * 3 + 5])
    np.testing.assert_allclose(
        gap.predict(origins, horizon_steps=1), alone.predict(origins, horizon_steps=1), rtol=1e-5
    )


def test_pooled_regression_refuses_what_is_not_known_yet():
    with pytest.raises(ValueError, match=r"at least the horizon.*got 3 steps with horizon_steps=4"):
        PooledRegression(_hourly(), num_train_steps=170, horizon_steps=4, lags=[[24], [3]])
    fitted = PooledRegression(_hourly(), num_train_steps=170, horizon_steps=4)
    with pytest.raises(ValueError, match=r"at most the fitted 4; got horizon_steps=5\. Fit with"):
        fitted.predict(np.array([200]), horizon_steps=5)
