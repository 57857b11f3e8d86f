"""Every baseline that is trained by gradient descent: size, shapes, gradients, laws."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import HISTORY, HORIZON, NODES, random_batch

from sttrans_core.baselines import TRAINED, build_baseline
from sttrans_core.data.windows import Batch

CHANNELS, COVARIATES = 2, 3
every_baseline = pytest.mark.parametrize("name", TRAINED)

# By hand for METR-LA: 207 nodes, 12 to 12 steps, 288 slots of the day.
SIZES = {
    # History 36 * 32 + 32; nodes, slots and weekdays (207 + 288 + 7) * 32; three layers of two
    # squares 128 * 129; head 128 * 12 + 12.
    "stid": 37 * 32 + (207 + 288 + 7) * 32 + 6 * 128 * 129 + 129 * 12,
    # Before (3 * 1 * 128 + 128) + 128, or 3 * 64 * 128 + 128; narrow 65 * 16; graph 49 * 16; after
    # 3 * 16 * 128 + 128 + 17 * 64; norm 2 * 207 * 64. Last 4 * 64 * 256 + 256 + 65 * 128, its norm,
    # head 129 * (128 + 12).
    "stgcn": (4 * 128 + 2 * 64)
    + 193 * 128
    + 2 * (65 * 16 + 49 * 16 + 49 * 128 + 17 * 64 + 2 * 207 * 64)
    + (257 * 256 + 65 * 128 + 2 * 207 * 128 + 129 * 140),
    # Reading 3 * 32; eight layers of gates 65 * 64, seven times 32 to 32 and the norm; nine skips;
    # the learned graph; head.
    "graph_wavenet": 96
    + 8 * (65 * 64 + 225 * 32 + 64)
    + 9 * 33 * 256
    + 20 * 207
    + 257 * 512
    + 513 * 12,
    # Recurrent 3 * 207 * (12 + 207 + 2), attention 2 * 207; two blocks of gates from 48 and twice
    # from 240 to twice 240, for both parts, mixing 4 * 60^2, forecast; backcast; head.
    "stemgnn": 3 * 207 * 221
    + 2 * 207
    + 2 * (2 * (49 + 2 * 241) * 480 + 4 * 60 * 60 + 61 * 60 + 61 * 12)
    + (61 + 13) * 12
    + 2 * 13 * 12,
    # Width 152; see test_staeformer.
    "staeformer": 1_258_980,
}
PUBLISHED = {
    "stid": 118e3,
    "stgcn": 246e3,
    "graph_wavenet": 309e3,
    "stemgnn": 1.20e6,
    "staeformer": 1.26e6,
}


def _graph(nodes: int = NODES, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((nodes, nodes)) < 0.3, rng.random((nodes, nodes)), 0.0)


def _built(name: str, *, channels: int = 1, covariates: int = 0, seed: int = 0, **shape):
    torch.manual_seed(seed)
    fields = {
        "num_nodes": NODES,
        "history_steps": HISTORY,
        "horizon_steps": HORIZON,
        "steps_per_day": 288,
        "adjacency": _graph(),
        "num_channels": channels,
        "num_covariates": covariates,
    }
    return build_baseline(name, **{**fields, **shape})


def _batch(*, windows: int = 3, channels: int = 1, nodes: int = NODES) -> Batch:
    batch = random_batch(windows=windows, nodes=nodes)
    values = torch.randn(*batch.observed.shape, channels) * batch.observed[..., None]
    return batch._replace(values=values)


@every_baseline
def test_it_has_the_published_size(name):
    model = _built(
        name, num_nodes=207, history_steps=12, horizon_steps=12, adjacency=_graph(207)
    )  # fmt: skip
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == SIZES[name]
    assert count == pytest.approx(PUBLISHED[name], rel=0.02)


@every_baseline
def test_every_channel_is_forecast_and_every_parameter_learns(name):
    model = _built(name, channels=CHANNELS, covariates=COVARIATES)
    forecast = model(_batch(channels=CHANNELS + COVARIATES))
    assert forecast.shape == (3, HORIZON, NODES, CHANNELS)
    forecast.abs().mean().backward()
    still = [
        key
        for key, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


@every_baseline
def test_it_runs_in_half_precision(name):
    model, batch = _built(name).eval(), _batch()
    with torch.autocast("cpu", torch.bfloat16):
        forecast = model(batch)
    forecast.float().sum().backward()
    torch.testing.assert_close(forecast.float(), model(batch), atol=0.05, rtol=0.05)


@every_baseline
def test_every_reading_of_a_place_reaches_its_forecast(name):
    model = _built(name, channels=CHANNELS, covariates=COVARIATES).eval()
    batch = _batch(channels=CHANNELS + COVARIATES)
    values = batch.values.requires_grad_()
    model(batch._replace(values=values))[0, :, 4].sum().backward()
    assert values.grad is not None
    assert values.grad[0, :, 4].all()
    assert not values.grad[1:].any()  # nothing of another window does


@every_baseline
def test_a_forecast_does_not_depend_on_the_other_windows(name):
    model, batch = _built(name).eval(), _batch(windows=5)
    alone = Batch(*(None if part is None else part[2:3] for part in batch))
    torch.testing.assert_close(model(batch)[2:3], model(alone))


@every_baseline
def test_it_sees_nothing_of_the_horizon(name):
    model, batch = _built(name).eval(), _batch()
    later = batch.time_of_day.clone(), batch.day_of_week.clone()
    for calendar in later:
        calendar[:, HISTORY:] = 0
    target = torch.full_like(batch.target, 1e6)
    changed = batch._replace(time_of_day=later[0], day_of_week=later[1], target=target)
    assert torch.equal(model(batch), model(changed))


@every_baseline
def test_weights_come_back_with_their_graph(name, tmp_path):
    model = _built(name).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = _built(name, seed=1, adjacency=_graph(seed=1)).eval()
    batch = _batch()
    assert not torch.equal(model(batch), again(batch))
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(model(batch), again(batch))


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "stemgnn"])
def test_another_order_of_nodes_is_the_same_forecast(name):
    # Whatever a model holds per node comes along: the only axes of this size are nodes. (StemGNN
    # runs a recurrent network over the nodes, so it knows their order.)
    order = torch.randperm(NODES)
    model = _built(name).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    state = model.state_dict()
    for key, value in state.items():
        for axis in (axis for axis, size in enumerate(value.shape) if size == NODES):
            state[key] = state[key].index_select(axis, order)
    permuted = _built(name, adjacency=_graph()[np.ix_(order, order)]).eval()
    for key, buffer in permuted.named_buffers():
        torch.testing.assert_close(buffer, state[key])
    permuted.load_state_dict(state)
    batch = _batch()
    moved = batch._replace(values=batch.values[:, :, order], observed=batch.observed[:, :, order])
    torch.testing.assert_close(permuted(moved), model(batch)[:, :, order])


@every_baseline
def test_nothing_observed_is_no_reason_to_fail(name):
    model, batch = _built(name), _batch()
    forecast = model(batch._replace(values=torch.zeros_like(batch.values)))
    forecast.square().mean().backward()
    assert forecast.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# The rate that suits, and the share of the variance that 60 steps may leave. StemGNN's head sees no
# more than one number per step of the history, so it cannot learn noise by heart.
LEARNS = {"staeformer": (5e-4, 0.1), "stemgnn": (4e-3, 0.6)}


@every_baseline
def test_it_learns_a_window_by_heart(name):
    rate, share = LEARNS.get(name, (1e-3, 0.1))
    model, batch = _built(name), _batch(windows=1)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    target = torch.randn(1, HORIZON, NODES, 1)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(60):
        optimizer.zero_grad()
        (model(batch) - target).square().mean().backward()
        optimizer.step()
    assert (model(batch) - target).square().mean() < share * target.square().mean()


@pytest.mark.parametrize("name", ["stid", "staeformer"])
def test_days_that_training_never_saw_count_for_nothing(name):
    batch = _batch()
    other = batch._replace(day_of_week=(batch.day_of_week + 1) % 7)
    knows, ignores = (_built(name, has_weekday=weeks).eval() for weeks in (True, False))
    assert not torch.equal(knows(batch), knows(other))
    assert torch.equal(ignores(batch), ignores(other))


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match=r"one of stid, .*staeformer; got 'lstm'\. Choose"):
        _built("lstm")


@pytest.mark.parametrize("name", ["stgcn", "graph_wavenet"])
def test_a_graph_of_other_nodes_is_refused(name):
    with pytest.raises(ValueError, match=r"each of 11 nodes; got shape \(5, 5\). Pass the graph"):
        _built(name, adjacency=_graph(5))
