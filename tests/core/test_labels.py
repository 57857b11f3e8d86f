"""Labels of forecasts and alignments: names, times, places, and files that keep them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_runs import HISTORY, HORIZON, NODES, SEGMENTS

from sttrans_core.forecaster import Forecaster
from sttrans_core.schema import check_alignment, check_forecast


@pytest.fixture(scope="module")
def forecast(trained, series):
    return trained.forecast(series, series["time"].values[[50, 190, 198]])


@pytest.fixture(scope="module")
def alignment(trained, series):
    return trained.align(series, series["time"].values[50], ["s7", "s2"])


def test_a_forecast_keeps_its_contract(forecast, series, trained):
    check_forecast(forecast)
    assert dict(forecast.sizes) == {"time": 3, "horizon": HORIZON, "node": NODES}
    assert {v.dtype for v in forecast.data_vars.values()} == {np.dtype("float32")}
    assert forecast["horizon"].values.tolist() == [1, 2, 3, 4, 5, 6]
    assert forecast["lead_minutes"].values.tolist() == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    for name in ("node", "latitude", "longitude"):
        xr.testing.assert_equal(forecast[name], series[name])
    expected = {"units": "mph", "quantity": "speed", "interval": "5min", "title": "small",
                "source": "made by a test", "synthetic": 1, "coverage": 0.9,
                "model": "full, seed 0", "run": trained.config.hash}  # fmt: skip
    assert forecast.attrs == expected


def test_the_target_is_the_reading_that_many_steps_later(forecast, series):
    readings = series["target"].values
    for row, origin in enumerate([50, 190, 198]):
        for step in range(1, HORIZON + 1):
            known = origin + step < 199
            later = readings[origin + step] if known else np.full(NODES, np.nan)
            truth = forecast["target"].values[row, step - 1]
            assert np.array_equal(truth, later, equal_nan=True)


def test_the_band_holds_the_forecast(forecast):
    assert (forecast["lower"] < forecast["forecast"]).all()
    middle = (forecast["lower"] + forecast["upper"]) / 2
    assert np.allclose(middle, forecast["forecast"], atol=1e-4)


def test_nothing_is_forecast_below_what_can_be(forecast, series, trained):
    bounded = Forecaster(
        model=trained.model,
        config=trained.config,
        data=replace(trained.data, attrs={**trained.data.attrs, "valid_min": 50.0}),
        bands=trained.bands,
        device="cpu",
    ).forecast(series.assign_attrs(valid_min=50.0), forecast["time"].values)
    assert 0 < (forecast["forecast"] < 50).mean() < 1
    xr.testing.assert_equal(bounded["forecast"], forecast["forecast"].clip(50))
    assert (bounded["lower"] >= 50).all()
    is_above = forecast["forecast"] > 50
    xr.testing.assert_allclose(bounded["upper"].where(is_above), forecast["upper"].where(is_above))


def test_an_alignment_keeps_its_contract(alignment, trained):
    check_alignment(alignment)
    sizes = {"query_node": 2, "segment": SEGMENTS, "head": 2, "source": 5, "horizon": HORIZON}
    assert dict(alignment.sizes) == sizes
    assert alignment["query_node"].values.tolist() == ["s7", "s2"]
    assert alignment["segment"].values.tolist() == [1, 2, 3]
    assert alignment["segment_first_step"].values.tolist() == [1, 3, 5]
    assert alignment["segment_last_step"].values.tolist() == [2, 4, 6]
    assert alignment["head"].values.tolist() == [0, 1]
    assert alignment["source"].values.tolist() == [0, 1, 2, 3, 4]
    assert alignment["weight"].dtype == np.float32
    assert alignment["valid"].dtype == bool
    expected = {"topk": 5, "history_steps": HISTORY, "window_nodes": 3, "window_steps": 2,
                "interval": "5min", "units": "mph", "quantity": "speed", "title": "small",
                "source": "made by a test", "synthetic": 1, "model": "full, seed 0",
                "run": trained.config.hash, "layer": 0}  # fmt: skip
    assert alignment.attrs == expected


def test_sources_are_where_and_when_they_say(alignment, series):
    origin = series["time"].values[50]
    assert alignment["time"].values == origin
    node, step = alignment["source_node_index"].values, alignment["source_step"].values
    assert ((step >= 0) & (step < HISTORY)).all()
    # The newest history step is the origin itself.
    age = pd.Timedelta("5min").to_timedelta64() * (HISTORY - 1 - step)
    assert np.array_equal(alignment["source_time"].values, origin - age)
    assert np.array_equal(alignment["source_node"].values, series["node"].values[node])
    for name in ("latitude", "longitude"):
        assert np.array_equal(alignment[f"source_{name}"].values, series[name].values[node])
        place = series[name].sel(node=["s7", "s2"]).values
        assert np.array_equal(alignment[f"query_{name}"].values, place)
    # All lie in a row: east of the seventh place, or west.
    east = node > np.array([7, 2])[:, None, None]
    kept = alignment["valid"].values
    direction = alignment["source_direction"].values
    assert np.array_equal(direction[kept], np.where(east, "E", "W")[kept])
    reading = series["target"].values[50 - (HISTORY - 1) + step, node]
    assert np.array_equal(alignment["source_value"].values, reading, equal_nan=True)
    assert np.isfinite(reading[alignment["valid"].values]).all()


def test_sources_are_ordered_by_mean_weight(alignment):
    mean = alignment["weight"].mean("head").values
    assert (np.diff(mean, axis=-1) <= 1e-6).all()
    assert np.allclose(alignment["weight"].sum("source"), 1.0, atol=1e-5)


def test_the_window_is_the_near_past_of_near_places(alignment, series):
    place = series["longitude"].values  # the latitudes differ by a metre or two per place
    for query, node in enumerate([7, 2]):
        near = np.argsort(np.abs(place - place[node]), kind="stable")[1:4]
        some = alignment.isel(query_node=query)
        inside = np.isin(some["source_node_index"].values, near)
        inside &= some["source_step"].values >= HISTORY - 2
        assert np.array_equal(some["in_window"].values, inside)


@pytest.mark.parametrize("which", ["forecast", "alignment"])
def test_netcdf_and_back_changes_nothing(which, request, tmp_path):
    before = request.getfixturevalue(which)
    path = tmp_path / f"{which}.nc"
    before.to_netcdf(path)
    with xr.open_dataset(path) as file:
        after = file.load()
    xr.testing.assert_identical(after, before)
    for name, variable in before.data_vars.items():
        if variable.dtype.kind not in "OUM":
            assert after[name].dtype == variable.dtype, name
