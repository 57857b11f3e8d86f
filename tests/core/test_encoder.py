"""The encoder: what a token may attend to."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.encoder import EncoderLayer
from sttrans_core.geometry import nearest_nodes

BATCH, HISTORY, NODES, WIDTH = 2, 5, 11, 12


def _near(count: int = 3) -> torch.Tensor:
    longitude = 0.01 * np.arange(NODES) ** 2
    return torch.from_numpy(nearest_nodes(np.zeros(NODES), longitude, count=count))


def _layer(neighbours: int = 3) -> EncoderLayer:
    torch.manual_seed(0)
    return EncoderLayer(WIDTH, 3, num_neighbours=neighbours, dropout=0.1).eval()


def _changed(layer, token, observed, *, at, by=3.0) -> torch.Tensor:
    """Say which tokens of the first window change when one of them does, (history, node)."""
    other = token.clone()
    other[0, at[0], at[1], 0] += by
    before, after = (layer(t, observed=observed, neighbours=_near()) for t in (token, other))
    assert torch.equal(before[1], after[1])  # windows do not mix
    return (before[0] - after[0]).abs().amax(-1) > 1e-7


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_token_reaches_its_place_and_its_neighbourhood_only(neighbours):
    token = torch.randn(BATCH, HISTORY, NODES, WIDTH)
    observed = torch.ones(BATCH, HISTORY, NODES, dtype=torch.bool)
    changed = _changed(_layer(neighbours), token, observed, at=(2, 4))
    reached = (_near() == 4).any(1) if neighbours == 3 else torch.arange(NODES) == 4
    # Along time first, then across space: every step of every node that has node 4 near it.
    assert torch.equal(changed, reached.expand(HISTORY, -1))


@given(step=st.integers(0, HISTORY - 1), node=st.integers(0, NODES - 1), seed=st.integers(0, 99))
def test_a_missing_reading_reaches_nobody_else(step, node, seed):
    generator = torch.Generator().manual_seed(seed)
    token = torch.randn(BATCH, HISTORY, NODES, WIDTH, generator=generator)
    observed = torch.rand(BATCH, HISTORY, NODES, generator=generator) > 0.3
    observed[0, step, node] = False
    changed = _changed(_layer(), token, observed, at=(step, node))
    changed[step, node] = False
    assert not changed.any()


def test_nothing_observed_stays_finite():
    token = torch.randn(BATCH, HISTORY, NODES, WIDTH, requires_grad=True)
    observed = torch.zeros(BATCH, HISTORY, NODES, dtype=torch.bool)
    output = _layer()(token, observed=observed, neighbours=_near())
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert token.grad is not None
    assert torch.isfinite(token.grad).all()
