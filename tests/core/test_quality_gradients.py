"""Integrated gradients, by hand and through the whole model."""

import sys

import numpy as np
import pytest
from known_sources import known
from small_runs import SOURCES, rhythm, small_config, small_model

from sttrans_core.forecaster import Forecaster
from sttrans_core.quality import integrated_gradients


@pytest.fixture(scope="module")
def smooth(trained):
    """Give an untrained model that keeps every source, so that nothing jumps."""
    config = small_config(model={"topk": SOURCES})
    return Forecaster(
        model=small_model(config), config=config, data=trained.data, bands=None, device="cpu"
    )


def test_attributions_of_a_sum_are_its_terms(trained):
    series = rhythm()
    forecaster = known(trained, coefficient={(6, 3): 2.0, (0, 5): -0.5}, weight={(6, 3): 1.0})
    times = series["time"].values[[60, 101, 140]]
    found = integrated_gradients(forecaster, series, times, nodes=["s1", "s5"], num_steps=1)
    assert dict(found.sizes) == {"time": 3, "query_node": 2, "step": 7, "node": 11}
    assert found.attrs == {"units": "mph", "model": "full, seed 0"}
    # From the training mean to the reading, a term changes by its factor times the difference.
    mean = trained.data.scaler.mean
    readings = series["target"].sel(node="s3").sel(time=times).values - mean
    oldest = series["target"].sel(node="s5").values[[54, 95, 134]] - mean
    terms = found["attribution"].isel(query_node=0)
    assert terms.sel(node="s3")[:, 6].values == pytest.approx(2.0 * readings, rel=1e-4)
    assert terms.sel(node="s5")[:, 0].values == pytest.approx(-0.5 * oldest, rel=1e-4)
    assert np.count_nonzero(terms) == 6
    assert found["change"].values[:, 1] == pytest.approx(2 * readings - oldest / 2, rel=1e-4)
    assert np.allclose(found["gap"], 0, atol=1e-4)


def test_without_jumps_attributions_add_up_to_the_change(smooth, series):
    # Through every compiled loop of the model; a wrong gradient would not add up.
    found = integrated_gradients(smooth, series, series["time"].values[[60, 120]])
    assert abs(found["change"]).min() > 0.1
    assert abs(found["gap"] / found["change"]).max() < 0.01


def test_attributions_are_those_of_the_model_s_own_forecast(smooth, series):
    time = series["time"].values[[60]]
    found = integrated_gradients(smooth, series, time, nodes=["s2"])
    mean = series.copy(deep=True)
    mean["target"] = series["target"].where(series["target"].isnull(), smooth.data.scaler.mean)
    forecasts = [
        float(smooth.forecast(each, time)["forecast"].sel(node="s2").mean())
        for each in (series, mean)
    ]
    assert found["change"].item() == pytest.approx(forecasts[0] - forecasts[1], rel=1e-3)


def test_missing_readings_have_no_share(smooth, series):
    times = series["time"].values[[60]]
    found = integrated_gradients(smooth, series, times, nodes=["s2"])["attribution"].values[0, 0]
    is_observed = np.isfinite(series["target"].values[54:61])
    assert not is_observed.all()
    assert (found[~is_observed] == 0).all()
    assert (found[is_observed] != 0).all()


def test_compiled_loops_have_the_gradients_of_torch(trained, series, monkeypatch):
    times = series["time"].values[[60, 61]]
    compiled = integrated_gradients(trained, series, times, nodes=["s2", "s9"])
    for module in (
        "alignment.topk",
        "model.mixing",
        "model.step_attention",
    ):
        monkeypatch.setattr(f"sttrans_core.{module}.can_compile", lambda *_: False)
    plain = integrated_gradients(trained, series, times, nodes=["s2", "s9"])
    assert np.allclose(compiled["attribution"], plain["attribution"], atol=1e-4)


def test_what_cannot_be_attributed_is_refused(trained, series):
    times = series["time"].values[[60]]
    with pytest.raises(ValueError, match="num_steps must be at least 1; got 0"):
        integrated_gradients(trained, series, times, num_steps=0)
    with pytest.raises(ValueError, match="times must hold at least one forecast origin; got none"):
        integrated_gradients(trained, series, times[:0])


def test_without_captum_the_extra_is_named(trained, series, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    sentence = r"need captum. Install the extra: pip install 'sttrans\[quality\]', or leave"
    with pytest.raises(ImportError, match=sentence):
        integrated_gradients(trained, series, series["time"].values[[60]])
