"""Scores beside the baselines: protocol, pooling, files, and the published numbers."""

import inspect
import re
import time

import numpy as np
import pytest
import xarray as xr
from small_runs import HISTORY, HORIZON, contents, dataset_of

from sttrans_core.data import load_dataset
from sttrans_core.data.splits import split_windows
from sttrans_core.evaluation.protocol import evaluate, evaluate_baselines, evaluate_hits
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError
from sttrans_core.schema import SchemaError

MODELS = ["ST-Trans full", "last value", "last observed value", "historical average"]


def test_scores_name_everything_they_depend_on(trained, series):
    scores = evaluate(trained, series)
    assert dict(scores.sizes) == {"model": 4, "horizon": HORIZON}
    assert scores["model"].values.tolist() == MODELS
    assert scores["lead_minutes"].values.tolist() == [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]
    assert (scores.attrs["units"], scores.attrs["title"]) == ("mph", "small")
    # 199 - 7 - 6 + 1 = 187 windows; 0.2 of them is 37.4.
    protocol = "standard split, test part, 37 windows, per step, missing targets ignored"
    assert scores.attrs["protocol"] == protocol
    other = evaluate(trained, series, part="validation", over="prefix", missing="as_zero")
    # 187 - 37 - 131 (0.7 of them is 130.9).
    protocol = (
        "standard split, validation part, 19 windows, per prefix, missing targets scored as 0"
    )
    assert other.attrs["protocol"] == protocol


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_scores_are_those_of_the_forecasts(trained, series, part):
    starts = getattr(
        split_windows(series.sizes["time"], history_steps=HISTORY, horizon_steps=HORIZON), part
    )
    origins = series["time"].values[np.asarray(starts) + HISTORY - 1]
    forecast = trained.forecast(series, origins)
    error = forecast["forecast"] - forecast["target"]
    scores = evaluate(trained, series, part=part).sel(model="ST-Trans full")
    assert np.allclose(scores["mae"], abs(error).mean(("time", "node")), atol=1e-4)
    assert np.allclose(scores["rmse"], (error**2).mean(("time", "node")) ** 0.5, atol=1e-4)
    share = 100 * abs(error / forecast["target"]).mean(("time", "node"))
    assert np.allclose(scores["mape"], share, atol=1e-3)


def test_the_last_value_of_a_ramp_by_hand():
    # y = t: the last value is off by the number of steps ahead; the prefix averages 1 .. h.
    dataset = dataset_of(np.repeat(np.arange(100.0)[:, None], 3, axis=1) + 1)
    for over, expected in (("step", [1.0, 2.0, 3.0]), ("prefix", [1.0, 1.5, 2.0])):
        scores = evaluate_baselines(dataset, history_steps=5, horizon_steps=3, over=over)
        assert scores["mae"].sel(model="last value").values.tolist() == expected


def test_scores_are_written_and_read_back(run_copy, series):
    forecaster = load_run(run_copy)
    assert forecaster.scores is None
    scores = evaluate(forecaster, series, write=True)
    again = forecaster.scores
    assert again is not None
    assert again["model"].values.tolist() == MODELS
    assert again.attrs["protocol"] == scores.attrs["protocol"]
    for name in ("mae", "rmse", "mape"):
        assert np.allclose(again[name], scores[name], atol=1e-5)
        assert again[name].dims == ("model", "horizon")
    xr.testing.assert_equal(again["lead_minutes"], scores["lead_minutes"])


def test_scoring_writes_nothing_unless_asked(run_copy, series):
    before = contents(run_copy)
    evaluate(load_run(run_copy), series)
    assert contents(run_copy) == before


@pytest.mark.parametrize(
    ("function", "choice", "sentence"),
    [
        (evaluate, {"part": "tests"}, "part must be one of train, validation, test; got 'tests'"),
        (evaluate, {"over": "all"}, "over must be one of step, prefix; got 'all'. Choose"),
        (evaluate, {"missing": None}, "missing must be one of ignore, as_zero; got None. Choose"),
        (evaluate_hits, {"part": 3}, "part must be one of train, validation, test; got 3. Choose"),
        (evaluate_baselines, {"over": "all"}, "over must be one of step, prefix; got 'all'"),
    ],
)
def test_other_choices_are_refused(function, choice, sentence, trained, series):
    given = [series] if function is evaluate_baselines else [trained, series]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        inspect.unwrap(function)(*given, **choice)  # without the type checks of the tests


def test_another_dataset_is_refused(trained, series):
    with pytest.raises(RunError, match="must hold the run's 11 nodes in the same order"):
        evaluate(trained, series.isel(node=slice(3, None)))
    with pytest.raises(SchemaError, match="variable 'target'"):
        evaluate_baselines(series.drop_vars("target"))
    with pytest.raises(ValueError, match="long enough for training, validation and test windows"):
        evaluate_baselines(series.isel(time=slice(12)))


def test_another_series_is_named_or_refused(run_copy, series):
    forecaster = load_run(run_copy)
    other = series + 1  # keeps neither attributes nor fingerprint
    other.attrs = series.attrs
    assert evaluate(forecaster, other).attrs["protocol"].endswith(", another simulated series")
    forecaster.data.attrs["synthetic"] = 0
    real = other.assign_attrs(synthetic=0)
    # The run was trained on steps 0 to 136, until 11:20; test targets start at step 157, 13:05.
    assert evaluate(forecaster, real).attrs["protocol"].endswith("ignored, another series")
    for part in ("train", "validation"):
        dataset = real if part == "train" else real.isel(time=slice(60))
        with pytest.raises(ValueError, match=(
            rf"The {part} part must not overlap the period that the run was trained on, "
            r"2024-01-01 00:00:00 to 2024-01-01 11:20:00; got other readings with targets from .*"
            r"Pass the series of the training, or a part of it after that period"
        )):  # fmt: skip
            evaluate(forecaster, dataset, part=part)
    later = real.isel(time=slice(137, None))
    assert evaluate(forecaster, later, part="train").attrs["protocol"].endswith(", another series")


def test_the_published_last_value_numbers_of_metr_la(real_data):
    began = time.process_time()
    dataset = load_dataset("metr-la-10", root=real_data, download=False)
    scores = evaluate_baselines(dataset)
    assert "6850 windows" in scores.attrs["protocol"]
    last = scores.sel(model="last value", horizon=[1, 3, 6, 12])
    # Computed from the file with plain array operations, the reading 0 included.
    assert last["mae"].values == pytest.approx([2.9388, 3.8346, 4.7997, 6.3524], abs=5e-5)
    assert last["rmse"].values == pytest.approx([5.7331, 8.1903, 10.4577, 13.3654], abs=5e-5)
    assert last["mape"].values == pytest.approx([6.452, 8.796, 11.285, 15.316], abs=5e-4)
    honest = scores.sel(model="last observed value")
    assert (honest["mae"] < scores.sel(model="last value")["mae"]).all()
    assert time.process_time() - began < 30


def test_a_baseline_that_nobody_knows_is_refused(series):
    with pytest.raises(ValueError, match=r"first must name baselines out of .*; got 'prophet'\. C"):
        evaluate_baselines(series, first=["prophet"])
