"""Deletion and insertion: hiding what the alignment points at moves the forecast."""

import numpy as np
import pytest
from known_sources import known
from small_runs import SOURCES, rhythm, small_config

from sttrans_core.forecaster import load_run
from sttrans_core.quality import deletion_curve, insertion_curve
from sttrans_core.quality.orders import check_orders
from sttrans_core.runs import RunError
from sttrans_core.training.loop import train

ALL = SOURCES
# What five sources (step, node) add to a forecast, in z-scores; the first is the newest of s3.
ADDED = {(6, 3): 16.0, (5, 4): 8.0, (4, 3): 4.0, (6, 7): 2.0, (0, 9): 1.0}


def _near(*values):
    return pytest.approx(values, abs=1e-4)


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
    # More forecasts of one target than one forward takes, 64: 7 orders x 12.
    times, removed = series["time"].values[[60, 120]], range(1, 36, 3)
    together = deletion_curve(trained, series, times, nodes=["s2", "s9"], removed=removed)
    alone = [
        deletion_curve(trained, series, [time], nodes=[node], removed=removed)
        for time in times
        for node in ("s2", "s9")
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


@pytest.mark.parametrize("numbers", [(), (0, ALL + 1), (-1, 3)])
def test_numbers_outside_the_sources_are_refused(numbers, trained, series):
    sentence = rf" must be between 0 and the number of sources \({ALL}\); got .*Leave the"
    with pytest.raises(ValueError, match="removed" + sentence):
        deletion_curve(trained, series, _times(series, 60), removed=numbers)
    with pytest.raises(ValueError, match="revealed" + sentence):
        insertion_curve(trained, series, _times(series, 60), revealed=numbers)


@pytest.mark.parametrize(("orders", "got"), [((), "none"), (("random", "far"), "'far'")])
def test_unknown_orders_are_refused(orders, got):
    sentence = f"orders must be among alignment, integrated_gradients, .*; got {got}. Choose some"
    with pytest.raises(ValueError, match=sentence):
        check_orders(orders, num_random=1)


def test_a_run_without_alignment_is_refused(series, tmp_path):
    config = small_config("no_alignment", train={"epochs": 1, "max_windows_per_epoch": 31})
    train(config, run_dir=tmp_path, dataset=series)
    with pytest.raises(RunError, match="needs an ST-Trans with cross-attention"):
        deletion_curve(load_run(tmp_path), series, _times(series, 60))


@pytest.fixture(scope="module")
def whole_series():
    return rhythm()


def _known(trained, whole_series, *, order):
    """Give a forecaster whose forecast at step 60 is 31 z-scores, from five sources."""
    values = trained.batch(whole_series, _times(whole_series, 60)).values[0, ..., 0]
    coefficient = {at: added / float(values[at]) for at, added in ADDED.items()}
    weight = dict(zip(order, (0.4, 0.3, 0.15, 0.1, 0.05), strict=True))
    return known(trained, coefficient=coefficient, weight=weight)


def _curves(trained, whole_series, *, order, **options):
    forecaster = _known(trained, whole_series, order=order)
    times, numbers = _times(whole_series, 60), range(6)
    several = (
        deletion_curve(forecaster, whole_series, times, nodes=["s2"], removed=numbers, **options),
        insertion_curve(forecaster, whole_series, times, nodes=["s2"], revealed=numbers, **options),
    )
    std = trained.data.scaler.std
    return [curve.assign(shift=curve["shift"] / std) for curve in several]


def test_curves_of_a_faithful_alignment_by_hand(trained, whole_series):
    # Largest first: hiding n of them takes 16, 8, 4, 2 and 1 away one after the other; with all
    # hidden the forecast is 31 lower, and revealing n brings them back.
    deletion, insertion = _curves(trained, whole_series, order=list(ADDED))
    assert deletion["shift"].sel(order="alignment").values == _near(0, 16, 24, 28, 30, 31)
    assert insertion["shift"].sel(order="alignment").values == _near(31, 15, 7, 3, 1, 0)
    # Trapezoids: 8 + 20 + 26 + 29 + 30.5 = 113.5 and 23 + 11 + 5 + 2 + 0.5 = 41.5, of 5 x 31 = 155.
    assert float(deletion["area"].sel(order="alignment")) == pytest.approx(113.5 / 155)
    assert float(insertion["area"].sel(order="alignment")) == pytest.approx(1 - 41.5 / 155)


def test_an_alignment_of_the_wrong_order_does_worse_than_gradients(trained, whole_series):
    # Smallest first: 1, 3, 7, 15, 31, the area of the other end. Gradients of a sum know the order.
    orders = ("integrated_gradients", "alignment", "random")
    wrong = list(reversed(ADDED))
    deletion, insertion = _curves(trained, whole_series, order=wrong, orders=orders, num_random=20)
    assert deletion["shift"].sel(order="alignment").values == _near(0, 1, 3, 7, 15, 31)
    for curve in (deletion, insertion):
        area = curve["area"].to_series()
        assert area["alignment"] == pytest.approx(41.5 / 155)
        assert area["integrated_gradients"] == pytest.approx(113.5 / 155)
    # At random, n of the 70 sources are n / 70 of the change: on average 2.5 / 70.
    assert float(deletion["area"].sel(order="random")) < 0.15
    assert float(insertion["area"].sel(order="random")) < 0.15


def test_the_nearest_order_goes_by_place_then_from_the_newest_step_back(trained, whole_series):
    # From s4 it is 0.07 degrees of longitude to s3 and 0.09 to s5, so that the first seven sources
    # are of s3: its newest step adds 16, the one before nothing, the next one 4. s5 adds nothing.
    forecaster = _known(trained, whole_series, order=list(ADDED))
    curve = deletion_curve(
        forecaster, whole_series, _times(whole_series, 60), nodes=["s4"],
        removed=(1, 2, 3, 7, 14), orders=("nearest",),
    )  # fmt: skip
    shift = curve["shift"].sel(order="nearest").values / trained.data.scaler.std
    assert shift == _near(16, 16, 20, 20, 20)


def test_both_curves_meet_at_their_ends(trained, series):
    times, ends = _times(series, 60, 120), (0, ALL)
    deletion = deletion_curve(trained, series, times, nodes=["s2"], removed=ends)
    insertion = insertion_curve(trained, series, times, nodes=["s2"], revealed=ends)
    for name in ("error", "shift"):
        assert np.allclose(deletion[name].values, insertion[name].values[:, ::-1])
    assert deletion["area"].values == pytest.approx(0.5)  # a straight line from end to end


def test_one_number_is_its_own_area(trained, series):
    curve = deletion_curve(trained, series, _times(series, 60), nodes=["s2"], removed=(ALL,))
    assert curve["area"].values == pytest.approx(1.0)


def test_where_nothing_matters_there_is_no_area(trained, series):
    indifferent = known(trained, coefficient={}, weight={(6, 3): 1.0})
    curve = deletion_curve(indifferent, series, _times(series, 60), nodes=["s2"], removed=(0, 3))
    assert (curve["shift"] == 0).all()
    assert curve["area"].isnull().all()
