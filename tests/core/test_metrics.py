"""Errors per horizon step, against values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.evaluation.metrics import ErrorSums, masked_error

NAN = math.nan
# (window, step, node, channel); errors are forecast - target.
TARGET = torch.tensor([[[10.0, 20.0], [NAN, 4.0]], [[0.0, NAN], [NAN, 8.0]]])[..., None]
FORECAST = torch.tensor([[[13.0, 16.0], [1.0, 5.0]], [[2.0, 9.0], [3.0, 6.0]]])[..., None]


def _sums(**options):
    sums = ErrorSums(**options)
    sums.update(FORECAST[:1], TARGET[:1])
    sums.update(FORECAST[1:], TARGET[1:])
    return sums


def _lists(scores):
    return {name: values.tolist() for name, values in scores.items()}


def test_scores_of_observed_targets_per_step():
    scores = _lists(_sums().scores())
    # Step 1: errors 3, -4, 2 on targets 10, 20, 0. Step 2: errors 1, -2 on targets 4, 8.
    assert scores["mae"] == pytest.approx([9 / 3, 3 / 2])
    assert scores["rmse"] == pytest.approx([math.sqrt(29 / 3), math.sqrt(5 / 2)])
    # The target 0 has no share: (3/10 + 4/20) / 2 and (1/4 + 2/8) / 2.
    assert scores["mape"] == pytest.approx([25.0, 25.0])
    assert _sums().mean("mae") == pytest.approx((3 + 1.5) / 2)
    # Sum of the errors 3 - 4 + 2 and 1 - 2.
    assert scores["bias"] == pytest.approx([1 / 3, -1 / 2])
    # Step 1: mean 10, squares around it 0 + 100 + 100, squared errors 29. Step 2: mean 6, 4 + 4, 5.
    assert scores["r2"] == pytest.approx([1 - 29 / 200, 1 - 5 / 8])
    assert scores["acc"] == pytest.approx([NAN, NAN], nan_ok=True)


def test_prefix_scores_pool_all_steps_up_to_each():
    scores = _lists(_sums().scores(over="prefix"))
    # Step 2 pools five errors: 3, 4, 2, 1, 2, and four shares: 0.3, 0.2, 0.25, 0.25.
    assert scores["mae"] == pytest.approx([3.0, 12 / 5])
    assert scores["rmse"] == pytest.approx([math.sqrt(29 / 3), math.sqrt(34 / 5)])
    assert scores["mape"] == pytest.approx([25.0, 25.0])


def test_missing_targets_scored_as_zero():
    scores = _lists(_sums(missing="as_zero").scores())
    # Step 1 gains the error 9 - 0, step 2 the errors 1 - 0 and 3 - 0; MAPE leaves zeros out.
    assert scores["mae"] == pytest.approx([18 / 4, 7 / 4])
    assert scores["rmse"] == pytest.approx([math.sqrt(110 / 4), math.sqrt(15 / 4)])
    assert scores["mape"] == pytest.approx([25.0, 25.0])


def test_mape_leaves_out_targets_up_to_the_smallest():
    scores = _lists(_sums(smallest_target=8.0).scores())
    # Step 1 keeps 10 and 20; step 2 keeps nothing, as 8 is not above 8.
    assert scores["mape"] == pytest.approx([25.0, NAN], nan_ok=True)


def test_a_step_without_observations_has_no_score():
    sums = ErrorSums()
    sums.update(torch.ones(2, 2, 3, 1), torch.full((2, 2, 3, 1), NAN))
    assert all(torch.isnan(values).all() for values in sums.scores().values())


def test_a_missing_forecast_shows():
    sums = ErrorSums()
    sums.update(torch.full((1, 1, 2, 1), NAN), torch.tensor([[[[NAN], [3.0]]]]))
    assert math.isnan(float(sums.scores()["mae"][0]))


@given(seed=st.integers(0, 10**6), cut=st.integers(1, 12))
def test_scores_are_pooled_and_do_not_depend_on_batches(seed, cut):
    rng = np.random.default_rng(seed)
    forecast, target = rng.normal(size=(2, 13, 5, 3, 2)).astype(np.float32)
    target[rng.random(target.shape) < 0.4] = np.nan
    target[0, :, 0] = 1.0  # one observation per step at least
    sums = ErrorSums()
    for part in (slice(None, cut), slice(cut, None)):
        sums.update(torch.from_numpy(forecast[part]), torch.from_numpy(target[part]))
    error = np.where(np.isfinite(target), forecast - target, np.nan)
    scores = sums.scores()
    assert np.allclose(scores["mae"], np.nanmean(np.abs(error), axis=(0, 2, 3)), atol=1e-6)
    assert np.allclose(scores["rmse"], np.sqrt(np.nanmean(error**2, axis=(0, 2, 3))), atol=1e-6)


def test_cells_count_by_their_weight():
    sums = ErrorSums(weight=torch.tensor([3.0, 1.0]))
    sums.update(FORECAST, TARGET)
    scores = _lists(sums.scores())
    # Step 1: errors 3 (weight 3), -4 (1), 2 (3). Step 2: errors 1 and -2, both of the second node.
    assert scores["mae"] == pytest.approx([19 / 7, 3 / 2])
    assert scores["rmse"] == pytest.approx([math.sqrt((27 + 16 + 12) / 7), math.sqrt(5 / 2)])
    assert scores["bias"] == pytest.approx([(9 - 4 + 6) / 7, -1 / 2])


def test_the_anomaly_correlation_by_hand():
    sums = ErrorSums()
    sums.update(FORECAST, TARGET, normal=torch.full_like(TARGET, 9.0))
    # Step 1: forecasts 4, 7, -7 from normal, truths 1, 11, -9. Step 2: -4, -3 and -5, -1.
    first = (4 + 77 + 63) / math.sqrt((16 + 49 + 49) * (1 + 121 + 81))
    second = (20 + 3) / math.sqrt((16 + 9) * (25 + 1))
    assert sums.scores()["acc"].tolist() == pytest.approx([first, second])


def test_sums_of_two_processes_give_the_scores_of_one():
    whole, parts = ErrorSums(), [ErrorSums(), ErrorSums()]
    whole.update(FORECAST, TARGET)
    for part, row in zip(parts, (slice(0, 1), slice(1, 2)), strict=True):
        part.update(FORECAST[row], TARGET[row])
    others = iter(list(parts[1]._sums.values()))
    parts[0].reduce(lambda value: value + next(others))
    assert parts[0].scores()["rmse"].tolist() == pytest.approx(whole.scores()["rmse"].tolist())


def _loss(forecast, target, kind="mae", **options):
    total, count = masked_error(forecast, target, kind=kind, spread=2.0, **options)
    return total / count.clamp_min(1e-6)


def test_the_loss_averages_observed_targets():
    # Errors 3, 4, 2, 1, 2 over five observed targets.
    assert float(_loss(FORECAST, TARGET)) == pytest.approx(12 / 5)
    # Squares 9, 16, 4, 1, 4, over a spread of 2.
    assert float(_loss(FORECAST, TARGET, kind="mse")) == pytest.approx(34 / 2 / 5)
    # Nodes 1 and 2 count 3 and 1: 3 (3 + 2) + (4 + 1 + 2), over 3 + 3 + 1 + 1 + 1.
    weight = torch.tensor([3.0, 1.0])
    assert float(_loss(FORECAST, TARGET, weight=weight)) == pytest.approx(22 / 9)


def test_the_loss_without_targets_is_zero_with_zero_gradients():
    forecast = torch.ones(2, 3, 5, 1, requires_grad=True)
    loss = _loss(forecast, torch.full((2, 3, 5, 1), NAN))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert forecast.grad is not None
    assert torch.equal(forecast.grad, torch.zeros(2, 3, 5, 1))


def test_missing_targets_send_no_gradient():
    forecast = FORECAST.clone().requires_grad_()
    _loss(forecast, TARGET).backward()
    assert forecast.grad is not None
    assert torch.equal(forecast.grad != 0, torch.isfinite(TARGET))
