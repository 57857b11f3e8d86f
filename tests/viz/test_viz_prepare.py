"""What the forecast pictures show, against values by hand."""

import numpy as np
import pandas as pd
import pytest
from builders import build_dataset, build_forecast, build_scores

from stviz import prepare_forecast_map, prepare_scores, prepare_series
from stviz.prepare import missing_spans, value_limits


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(num_nodes=5, num_steps=120)


@pytest.fixture
def forecast(dataset):
    forecast = build_forecast(dataset, num_origins=3)
    values = np.arange(forecast["forecast"].size, dtype=np.float32)
    forecast["forecast"].values[:] = values.reshape(forecast["forecast"].shape)
    forecast["target"].values[:] = forecast["forecast"].values - 2
    forecast["target"].values[0, 0, 4] = np.nan
    forecast["lower"].values[:] = forecast["forecast"].values - 1
    forecast["upper"].values[:] = forecast["forecast"].values + 4
    return forecast


def test_the_map_shows_one_step_of_one_origin(forecast):
    # Values count up over (3 origins, 12 steps, 5 nodes): origin 1, step 3 starts at 60 + 10.
    frame = prepare_forecast_map(forecast, time=forecast["time"].values[1], horizon=3)
    assert frame["value"].tolist() == [70, 71, 72, 73, 74]
    assert frame["node"].tolist() == forecast["node"].values.tolist()
    origin = pd.Timestamp(forecast["time"].values[1])
    assert frame.attrs == {
        "time": origin,
        "valid_time": origin + pd.Timedelta("15min"),
        "lead_minutes": 15.0,
        "horizon": 3,
        "variable": "forecast",
    }


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("forecast", [0, 1, 2, 3, 4]),
        ("target", [-2, -1, 0, 1, np.nan]),
        ("error", [2, 2, 2, 2, np.nan]),
        ("lower", [-1, 0, 1, 2, 3]),
        ("upper", [4, 5, 6, 7, 8]),
        ("width", [5, 5, 5, 5, 5]),
    ],
)
def test_what_a_map_can_show(forecast, variable, expected):
    first = forecast["time"].values[0]
    frame = prepare_forecast_map(forecast, time=first, variable=variable)
    np.testing.assert_allclose(frame["value"], expected)


def test_a_change_is_against_another_forecast(forecast):
    other = forecast.assign(forecast=forecast["forecast"] - [[[0], *[[3]] * 11]])
    frame = prepare_forecast_map(forecast, variable="change", reference=other, horizon=2)
    assert frame["value"].tolist() == [3] * 5
    assert value_limits(forecast, variable="change", reference=other) == (-3, 3)
    assert value_limits(forecast, variable="change", reference=forecast) == (-1, 1)
    for reference, given in (
        (None, "got none"),
        (other.isel(time=[0]), "got one of another time"),
        (other.isel(node=slice(1, None)), "got one of another node"),
        (other.isel(horizon=slice(4)), "got one of another horizon"),
    ):
        with pytest.raises(ValueError, match=f"A comparison needs a reference, .*; {given}"):
            prepare_forecast_map(forecast, variable="change", reference=reference)


def test_the_closer_of_two_forecasts_has_the_smaller_error(forecast):
    # Two too high, or three less: one too low.
    other = forecast.assign(forecast=forecast["forecast"] - [[[0], *[[3]] * 11]])
    options = {"time": forecast["time"].values[0], "variable": "excess"}
    frame = prepare_forecast_map(forecast, reference=other, horizon=2, **options)
    assert frame["value"].tolist() == [1] * 5
    frame = prepare_forecast_map(other, reference=forecast, horizon=2, **options)
    assert frame["value"].tolist() == [-1] * 5
    # The first step is the same in both, and not known everywhere.
    frame = prepare_forecast_map(other, reference=forecast, horizon=1, **options)
    np.testing.assert_allclose(frame["value"], [0, 0, 0, 0, np.nan])
    assert value_limits(forecast, variable="excess", reference=other) == (-1, 1)


def test_the_last_origin_is_the_default(forecast):
    assert prepare_forecast_map(forecast).attrs["time"] == forecast["time"].values[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variable": "speed"}, r"variable must be one of forecast, .*; got 'speed'\. Pass"),
        ({"horizon": 13}, r"horizon must be one of .* 'horizon'; got 13\. Pass one of 1, 2"),
        ({"time": "2020-01-01"}, r"time must be one of the 3 forecast origins from .*; got"),
    ],
)
def test_a_map_of_nothing_is_refused(forecast, options, message):
    with pytest.raises(ValueError, match=message):
        prepare_forecast_map(forecast, **options)


def test_colour_limits_serve_all_steps(forecast):
    values = np.stack([forecast["forecast"].values, forecast["target"].values]).astype(float)
    known = values[np.isfinite(values)]
    expected = (np.percentile(known, 1), np.percentile(known, 99))
    assert value_limits(forecast) == pytest.approx(expected)
    # Every known error is 2 and every band is 5 wide.
    assert value_limits(forecast, variable="error") == pytest.approx((-2, 2))
    assert value_limits(forecast, variable="width") == pytest.approx((0, 5))


def test_colour_limits_of_a_constant_are_not_empty(forecast):
    same = forecast.map(lambda array: array * 0 + 7)
    low, high = value_limits(same)
    assert low < 7 < high


def test_the_series_joins_history_and_horizon(dataset, forecast):
    node, origin = str(dataset["node"].values[2]), forecast["time"].values[0]
    history = {"dataset": dataset, "history_steps": 4}
    frame = prepare_series(forecast, node=node, time=origin, **history)
    assert frame["part"].tolist() == ["history"] * 4 + ["horizon"] * 12
    # 4 readings up to the origin, then every 5 minutes.
    expected = pd.date_range(origin, periods=16, freq="5min") - pd.Timedelta("15min")
    assert frame.index.tolist() == expected.tolist()
    row = int(np.flatnonzero(dataset["time"].values == origin)[0])
    np.testing.assert_array_equal(
        frame["reading"].to_numpy()[:4], dataset["target"].values[row - 3 : row + 1, 2]
    )
    # Node 2 of origin 0: 2, 7, 12, ... as values count up over 5 nodes.
    assert frame["forecast"].tolist()[4:] == [2 + 5 * step for step in range(12)]
    assert frame["forecast"].isna().tolist() == [True] * 4 + [False] * 12


def test_baselines_come_along_as_data_or_arrays(forecast):
    node = str(forecast["node"].values[0])
    lines = {"as data": forecast, "as array": forecast["target"]}
    frame = prepare_series(forecast, node=node, baselines=lines)
    np.testing.assert_array_equal(frame["as data"], frame["forecast"])
    np.testing.assert_array_equal(frame["as array"], frame["reading"])


def test_gaps_are_half_a_step_wider_than_what_is_missing():
    times = pd.date_range("2024-01-01", periods=6, freq="10min")
    frame = pd.DataFrame({"reading": [1, np.nan, np.nan, 2, 3, np.nan]}, index=times)
    half = pd.Timedelta("5min")
    assert missing_spans(frame) == [
        (times[1] - half, times[2] + half),
        (times[5] - half, times[5] + half),
    ]
    assert missing_spans(frame.head(1)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node": "nowhere"}, r"node must be one of the labels of 'node'; got 'nowhere'\. Pass"),
        ({"node": "700000", "history_steps": 0}, r"history_steps must be at least 1; got 0\. Pass"),
    ],
)
def test_a_series_of_nothing_is_refused(forecast, options, message):
    with pytest.raises(ValueError, match=message):
        prepare_series(forecast, **options)


def test_scores_become_one_row_each():
    frame = prepare_scores(build_scores(num_horizon=2))
    # The builder gives 2 + 0.1 h, 2 + 0.3 h and 5 at steps h = 1, 2.
    assert frame["value"].tolist() == pytest.approx([2.1, 2.2, 2.3, 2.6, 5, 5])
    assert frame["lead_minutes"].tolist() == [5, 10] * 3
    assert frame["model"].unique().tolist() == ["ST-Trans full", "last value", "historical average"]


def test_spread_over_seeds_is_kept():
    scores = build_scores(num_horizon=2)
    scores["mae_std"] = scores["mae"] * 0 + 0.25
    assert prepare_scores(scores)["spread"].tolist() == [0.25] * 6


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match=r"metric must be one of mae, rmse, mape; got 'r2'\. Pass"):
        prepare_scores(build_scores(), metric="r2")
