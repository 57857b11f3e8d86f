"""Fusion: generated value projections and the gated residual, by hand."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from sttrans_core.model.fusion import DynamicValues, SpatioTemporalFusion, StaticValues

WIDTH, HEADS, BASES, STATE, SEGMENTS = 6, 2, 3, 11, 5


def test_dynamic_values_mix_the_basis_projections_by_content():
    torch.manual_seed(0)
    values = DynamicValues(WIDTH, HEADS, num_bases=BASES)
    source = torch.randn(2, 5, 7, WIDTH)
    output = values(source)
    assert output.shape == (2, 5, 7, HEADS, WIDTH // HEADS)
    # One source by hand: v_h = sum_m softmax(G_h s)_m (W_m s)_h with s normalised.
    token = torch.nn.functional.layer_norm(
        source[1, 3, 4], (WIDTH,), values.norm.weight, values.norm.bias
    )
    basis = (values.bases.weight @ token).reshape(BASES, HEADS, -1)
    scores = (values.mixing.weight @ token + values.mixing.bias).reshape(BASES, HEADS)
    for head in range(HEADS):
        share = scores[:, head].exp() / scores[:, head].exp().sum()
        expected = sum(share[m] * basis[m, head] for m in range(BASES))
        assert torch.allclose(output[1, 3, 4, head], expected, atol=1e-6)


def test_static_values_are_one_projection_whatever_the_content():
    torch.manual_seed(0)
    values = StaticValues(WIDTH, HEADS)
    first, second = torch.randn(2, 1, 1, 1, WIDTH)
    values.norm = torch.nn.Identity()  # the projection alone is linear up to its bias
    both = values(first + second) + values(torch.zeros(1, 1, 1, WIDTH))
    assert torch.allclose(both, values(first) + values(second), atol=1e-6)


def _fusion(residual: Literal["gated", "plain"]) -> SpatioTemporalFusion:
    torch.manual_seed(0)
    return SpatioTemporalFusion(STATE, SEGMENTS * WIDTH, residual=residual, dropout=0.0).eval()


def _state_and_aggregated() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 7, STATE), torch.randn(2, 7, SEGMENTS, WIDTH)


@pytest.mark.parametrize(("bias", "share"), [(0.0, 0.5), (30.0, 1.0), (-30.0, 0.0)])
def test_the_gate_lets_a_share_of_the_update_through(bias, share):
    fusion = _fusion("gated")
    assert fusion.gate is not None
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(bias)
    fusion.network = torch.nn.Identity()  # what follows the gate
    state, aggregated = _state_and_aggregated()
    gated = fusion(state, aggregated) - state
    fusion.gate = None
    plain = fusion(state, aggregated) - state
    assert plain.abs().min() > 0
    assert torch.allclose(gated, share * plain, atol=1e-5)


def test_the_ablation_has_no_gate():
    assert _fusion("plain").gate is None


def test_a_state_sees_what_was_aggregated_for_its_place():
    fusion = _fusion("gated")
    state, aggregated = _state_and_aggregated()
    other = aggregated.clone()
    other[0, 4, 1] += 1.0
    changed = (fusion(state, aggregated) != fusion(state, other)).any(-1)
    assert changed.nonzero().tolist() == [[0, 4]]


def test_two_residual_blocks_follow_by_hand():
    fusion = _fusion("plain")
    state, aggregated = _state_and_aggregated()
    both = torch.nn.functional.layer_norm(
        torch.cat([state[1, 2], aggregated[1, 2].flatten()]), (STATE + SEGMENTS * WIDTH,)
    )  # weights of a new norm are 1, biases 0

    def step(value, first, second):
        return second.weight @ (first.weight @ value + first.bias).relu() + second.bias

    expected = state[1, 2] + fusion.update.weight @ both + fusion.update.bias
    assert len(fusion.network.blocks) == 2
    for block in fusion.network.blocks:
        expected = expected + step(expected, block[0], block[3])
    assert torch.allclose(fusion(state, aggregated)[1, 2], expected, atol=1e-5)
