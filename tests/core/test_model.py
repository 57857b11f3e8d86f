"""The model as a whole: its laws, and that it can learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import HISTORY, NODES, random_batch, small_config, small_model

from sttrans_core.config import VARIANTS
from sttrans_core.model.sttrans import DataShape, STTrans

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def _permuted(batch, order):
    return batch._replace(values=batch.values[:, :, order], observed=batch.observed[:, :, order])


@every_variant
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_nodes_have_no_order(variant, seed):
    """Renumbering places, readings and the parameters that belong to places renumbers forecasts.

    Distances are drawn at random, so no two are equal and neighbours do not depend on numbering.
    """
    rng = np.random.default_rng(seed)
    latitude, longitude = rng.uniform(0, 1, (2, NODES))
    order = rng.permutation(NODES)
    config = small_config(variant)
    model = small_model(config, latitude=latitude, longitude=longitude).eval()
    other = small_model(config, latitude=latitude[order], longitude=longitude[order]).eval()
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            # No other axis of the small model has as many entries as there are places.
            per_node = parameter.shape[0] == NODES
            parameter.copy_(own[name][order] if per_node else own[name])
    batch = random_batch(seed=seed)
    forecast, alignments, _ = model(batch, need_alignment=True)
    renumbered, others, _ = other(_permuted(batch, order), need_alignment=True)
    assert torch.allclose(renumbered, forecast[:, :, order], atol=1e-4)
    for one, two in zip(alignments, others, strict=True):
        assert torch.equal(torch.as_tensor(order)[two.node] * two.valid,
                           one.node[:, order] * one.valid[:, order])  # fmt: skip


@every_variant
def test_windows_of_a_batch_do_not_mix(variant):
    model, batch = small_model(small_config(variant)).eval(), random_batch(windows=3)
    everything = model(batch).forecast
    for row in range(3):
        alone = model(type(batch)(*(p if p is None else p[row : row + 1] for p in batch))).forecast
        assert torch.allclose(alone[0], everything[row], atol=1e-5)


@every_variant
def test_the_forecast_does_not_read_the_target(variant):
    model, batch = small_model(small_config(variant)).eval(), random_batch()
    forecast = model(batch).forecast
    blind = model(batch._replace(target=None)).forecast
    assert torch.equal(forecast, blind)


@every_variant
@pytest.mark.parametrize("missing", [0.6, 1.0])
def test_missing_readings_leave_everything_finite(variant, missing):
    model, batch = small_model(small_config(variant)), random_batch(missing=missing)
    forecast = model(batch).forecast
    forecast.square().sum().backward()
    assert torch.isfinite(forecast).all()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("layers", [1, 2])
def test_other_places_have_their_say_through_aligned_values_alone(layers):
    # Where no surroundings are seen.
    fields = {"num_surroundings_layers": 0, "num_decoder_layers": layers}
    config = small_config(model=fields)
    model, batch = small_model(config).eval(), random_batch(missing=0.2)
    other = batch.values.clone()
    other[:, :, 1:] += 3 * batch.observed[:, :, 1:, None]
    changed = batch._replace(values=other)
    before, after = (model(each)[0][:, :, 0] for each in (batch, changed))
    assert not torch.allclose(before, after, atol=1e-3)
    for layer in model.decoder:
        for parameter in layer.values.parameters():
            torch.nn.init.zeros_(parameter)
    before, after = (model(each)[0][:, :, 0] for each in (batch, changed))
    assert torch.equal(before, after)


def test_the_same_seed_builds_the_same_model():
    one, two, other = (small_model(small_config(), seed=seed) for seed in (0, 0, 1))
    pairs = list(zip(one.parameters(), two.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(first, second) for first, second, _ in pairs)
    assert not all(torch.equal(first, third) for first, _, third in pairs)


def test_one_place_has_nothing_to_align_with():
    shape = DataShape(
        latitude=np.array([34.0]), longitude=np.array([-118.0]), history_steps=HISTORY,
        horizon_steps=6, steps_per_day=288, has_weekday=True,
    )  # fmt: skip
    sentence = r"needs at least 2 nodes; got 1\. Use the variant no_alignment"
    with pytest.raises(ValueError, match=sentence):
        STTrans(small_config().model, shape)
    alone = STTrans(small_config("no_alignment").model, shape)
    forecast, *_ = alone(random_batch(nodes=1))
    assert forecast.shape == (2, 6, 1, 1)
    assert torch.isfinite(forecast).all()


def test_k_larger_than_the_number_of_sources_is_refused():
    sentence = (
        r"topk must be at most the number of sources; got topk=71 with 70 sources \(7 steps x "
        r"10 other nodes\)\. Lower model\.topk or raise data\.history_steps"
    )
    with pytest.raises(ValueError, match=sentence):
        small_model(small_config(model={"topk": 71}))
    assert small_model(small_config(model={"topk": 70})).history_steps == HISTORY
    # Where no Top-k is taken, the number is not used.
    small_model(small_config("no_topk", model={"topk": 71}))


@pytest.mark.parametrize("variant", ["full", "no_alignment", "fixed_position"])
def test_one_batch_can_be_learned_by_heart(variant):
    torch.manual_seed(0)
    config = small_config(variant, model={"dropout": 0.0, "num_segments": 6})
    model, batch = small_model(config), random_batch(missing=0.1)
    target = (batch.target - 50) / 10  # noise of variance 1: only memory can reach 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(400):
        loss = (model(batch)[0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1
    assert losses[-1] < 0.1
