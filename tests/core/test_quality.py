"""Deletion curves: hiding what the alignment points at moves the forecast."""

import numpy as np
import pytest
from small_runs import SOURCES, rhythm, small_config

from sttrans_core.forecaster import load_run
from sttrans_core.quality import deletion_curve
from sttrans_core.runs import RunError
from sttrans_core.training import train

ALL = SOURCES


def _times(dataset, *steps):
    return [dataset["time"].values[step] for step in steps]


@pytest.fixture(scope="module")
def curve(trained, series):
    times = _times(series, 60, 120)
    return deletion_curve(trained, series, times, nodes=["s2", "s5"], removed=(0, 3, ALL))


def test_the_curve_is_labelled(curve):
    assert dict(curve.sizes) == {"order": 3, "removed": 3}
    assert curve["order"].values.tolist() == ["alignment", "nearest", "random"]
    assert curve["removed"].values.tolist() == [0, 3, ALL]
    expected = {"units": "mph", "title": "small", "source": "made by a test",
                "synthetic": 1, "model": "full, seed 0",
                "num_forecasts": 4}  # fmt: skip
    assert curve.attrs == expected


def test_hiding_nothing_or_everything_does_not_depend_on_the_order(curve):
    assert (curve["shift"].sel(removed=0) == 0).all()
    for removed in (0, ALL):
        errors = curve["error"].sel(removed=removed).values
        assert np.allclose(errors, errors[0])
    assert (curve["shift"].sel(removed=ALL) > 0).all()


def test_the_error_is_that_of_the_forecast(curve, trained, series):
    forecast = trained.forecast(series, _times(series, 60, 120)).sel(node=["s2", "s5"])
    error = abs(forecast["forecast"] - forecast["target"]).mean()
    assert float(curve["error"].sel(removed=0, order="alignment")) == pytest.approx(
        float(error), rel=1e-4
    )


def test_the_same_seed_gives_the_same_curve(trained, series):
    def draw(seed):
        times = _times(series, 60)
        return deletion_curve(trained, series, times, nodes=["s2"], removed=(0, 5), seed=seed)

    assert draw(1).identical(draw(1))
    random = [draw(seed)["shift"].sel(order="random", removed=5) for seed in (1, 2)]
    assert float(random[0]) != float(random[1])


def test_the_shift_is_measured_from_the_whole_forecast(trained, series):
    times = _times(series, 60)
    whole, part = (
        deletion_curve(trained, series, times, nodes=["s2"], removed=removed).sel(removed=9)
        for removed in ((0, 9), (9,))
    )
    assert np.allclose(whole["shift"].sel(order="alignment"), part["shift"].sel(order="alignment"))


def test_random_orders_hide_observed_sources(trained):
    dataset = rhythm(missing=0.6)
    time = _times(dataset, 60)
    others = dataset["target"][54:61].drop_sel(node="s2")
    num_observed = int(others.notnull().sum())
    curve = deletion_curve(trained, dataset, time, nodes=["s2"], removed=(0, num_observed, ALL))
    shift = curve["shift"].sel(order="random").values
    assert np.allclose(shift[1], shift[2])


def test_no_order_hides_what_was_not_observed(trained):
    dataset = rhythm(missing=0.6)
    times = _times(dataset, 60, 61)
    few = int(dataset["target"][54:62].drop_sel(node="s2").notnull().sum("node").min()) * 3
    curve = deletion_curve(trained, dataset, times, nodes=["s2"], removed=(few, ALL))
    for order in ("alignment", "nearest", "random"):
        # So many are hidden that half or more of what there is to hide is gone.
        assert float(curve["shift"].sel(order=order, removed=few)) > 0
    everything = curve["shift"].sel(removed=ALL).values
    assert np.allclose(everything, everything[0])


def test_many_targets_are_as_many_curves(trained, series):
    # More rows than one forward takes: 11 targets x 7 orders x 2.
    times = series["time"].values[[60, 120]]
    together = deletion_curve(trained, series, times, removed=(3, 40))
    alone = [
        deletion_curve(trained, series, [time], nodes=[node], removed=(3, 40))
        for time in times
        for node in trained.data.nodes
    ]
    for order in ("alignment", "nearest"):
        mean = np.mean([one["shift"].sel(order=order).values for one in alone], axis=0)
        assert np.allclose(together["shift"].sel(order=order), mean, rtol=1e-3)


def test_an_unknown_truth_leaves_the_error_open(trained, series):
    curve = deletion_curve(trained, series, _times(series, -1), nodes=["s2"], removed=(0, 3))
    assert np.isnan(curve["error"]).all()
    assert np.isfinite(curve["shift"]).all()


def test_questions_without_an_answer_are_refused(trained, series):
    with pytest.raises(ValueError, match="times must hold at least one forecast origin; got none"):
        deletion_curve(trained, series, np.array([], dtype="datetime64[ns]"))
    for nodes, sentence in (([], "got none"), ("s2", "got the text 's2'"), (["x"], "got 'x'")):
        with pytest.raises(ValueError, match=f"Nodes must be .*{sentence}"):
            deletion_curve(trained, series, _times(series, 60), nodes=nodes)
    with pytest.raises(ValueError, match="num_random must be at least 1; got 0"):
        deletion_curve(trained, series, _times(series, 60), num_random=0)


@pytest.mark.parametrize("removed", [(), (0, ALL + 1), (-1, 3)])
def test_numbers_outside_the_sources_are_refused(removed, trained, series):
    sentence = rf"removed must be between 0 and the number of sources \({ALL}\); got .*Leave the"
    with pytest.raises(ValueError, match=sentence):
        deletion_curve(trained, series, _times(series, 60), removed=removed)


def test_a_run_without_alignment_is_refused(series, tmp_path):
    config = small_config("no_alignment", train={"epochs": 1, "max_windows_per_epoch": 31})
    train(config, run_dir=tmp_path, dataset=series)
    with pytest.raises(RunError, match="needs an ST-Trans with cross-attention"):
        deletion_curve(load_run(tmp_path), series, _times(series, 60))
