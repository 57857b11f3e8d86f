"""The encoder: what a token may attend to."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.model.encoder import EncoderLayer, SurroundingsLayer
from sttrans_core.space.geometry import nearest_nodes
from sttrans_core.space.relation import Geometry

BATCH, HISTORY, NODES, WIDTH = 2, 5, 11, 12


def _near(count: int = 3) -> torch.Tensor:
    longitude = 0.01 * np.arange(NODES) ** 2
    return torch.from_numpy(nearest_nodes(np.zeros(NODES), longitude, count=count))


def _layer(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "time":
        return EncoderLayer(WIDTH, 3, dropout=0.1).eval()
    geometry = Geometry(np.zeros(NODES), 0.01 * np.arange(NODES) ** 2, num_neighbours=3)
    return SurroundingsLayer(WIDTH, 3, geometry=geometry, num_neighbours=3, dropout=0.1).eval()


def _changed(layer, token, observed, *, at, by=3.0) -> torch.Tensor:
    """Say which tokens of the first window change when one of them does, (node, history)."""
    other = token.clone()
    other[0, at[0], at[1], 0] += by
    before, after = (layer(t, observed=observed) for t in (token, other))
    assert torch.equal(before[1], after[1])  # windows do not mix
    return (before[0] - after[0]).abs().amax(-1) > 1e-7


@pytest.mark.parametrize("kind", ["time", "space"])
def test_a_token_reaches_the_other_steps_or_its_neighbourhood_only(kind):
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH)
    observed = torch.ones(BATCH, NODES, HISTORY, dtype=torch.bool)
    changed = _changed(_layer(kind), token, observed, at=(4, 2))
    nodes = torch.arange(NODES) == 4 if kind == "time" else (_near() == 4).any(1)
    steps = torch.ones(HISTORY, dtype=torch.bool) if kind == "time" else torch.arange(HISTORY) == 2
    assert torch.equal(changed, nodes[:, None] & steps)


@pytest.mark.parametrize("kind", ["time", "space"])
@given(step=st.integers(0, HISTORY - 1), node=st.integers(0, NODES - 1), seed=st.integers(0, 99))
def test_a_missing_reading_reaches_nobody_else(kind, step, node, seed):
    generator = torch.Generator().manual_seed(seed)
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH, generator=generator)
    observed = torch.rand(BATCH, NODES, HISTORY, generator=generator) > 0.3
    observed[0, node, step] = False
    changed = _changed(_layer(kind), token, observed, at=(node, step))
    changed[node, step] = False
    assert not changed.any()


@pytest.mark.parametrize("kind", ["time", "space"])
def test_nothing_observed_stays_finite(kind):
    token = torch.randn(BATCH, NODES, HISTORY, WIDTH, requires_grad=True)
    observed = torch.zeros(BATCH, NODES, HISTORY, dtype=torch.bool)
    output = _layer(kind)(token, observed=observed)
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert token.grad is not None
    assert torch.isfinite(token.grad).all()
