"""The encoder: what a token may attend to."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.model.encoder import EncoderLayer

BATCH, HISTORY, NODES, WIDTH = 2, 5, 11, 12


def _layer() -> torch.nn.Module:
    torch.manual_seed(0)
    return EncoderLayer(WIDTH, 3, dropout=0.1).eval()


def _changed(layer, token, observed, *, at, by=3.0) -> torch.Tensor:
    """Say which tokens of the first window change when one of them does, (node, history)."""
    other = token.clone()
    other[0, at[0], at[1], 0] += by
    before, after = (layer(t, observed=observed) for t in (token, other))
    assert torch.equal(before[1], after[1])  # windows do not mix
    return (before[0] - after[0]).abs().amax(-1) > 1e-7


def test_a_token_reaches_the_other_steps_of_its_node_only():
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH)
    observed = torch.ones(BATCH, NODES, HISTORY, dtype=torch.bool)
    changed = _changed(_layer(), token, observed, at=(4, 2))
    nodes = torch.arange(NODES) == 4
    assert torch.equal(changed, nodes[:, None].expand(-1, HISTORY))


@given(step=st.integers(0, HISTORY - 1), node=st.integers(0, NODES - 1), seed=st.integers(0, 99))
def test_a_missing_reading_reaches_nobody_else(step, node, seed):
    generator = torch.Generator().manual_seed(seed)
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH, generator=generator)
    observed = torch.rand(BATCH, NODES, HISTORY, generator=generator) > 0.3
    observed[0, node, step] = False
    changed = _changed(_layer(), token, observed, at=(node, step))
    changed[node, step] = False
    assert not changed.any()


def test_nothing_observed_stays_finite():
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH, requires_grad=True)
    observed = torch.zeros(BATCH, NODES, HISTORY, dtype=torch.bool)
    output = _layer()(token, observed=observed)
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert token.grad is not None
    assert torch.isfinite(token.grad).all()
