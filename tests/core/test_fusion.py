"""Fusion: generated value projections and the gated residual, by hand."""

import pytest
import torch

from sttrans_core.model.fusion import DynamicValues, SpatioTemporalFusion, StaticValues

WIDTH, HEADS, BASES = 6, 2, 3


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


@pytest.mark.parametrize(("bias", "share"), [(0.0, 0.5), (30.0, 1.0), (-30.0, 0.0)])
def test_the_gate_lets_a_share_of_the_update_through(bias, share):
    torch.manual_seed(0)
    fusion = SpatioTemporalFusion(WIDTH, residual="gated", dropout=0.0).eval()
    assert fusion.gate is not None
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(bias)
    query, aggregated = torch.randn(2, 2, 7, 3, WIDTH)
    gated = fusion(query, aggregated) - query
    fusion.gate = None
    plain = fusion(query, aggregated) - query
    assert plain.abs().min() > 0
    assert torch.allclose(gated, share * plain, atol=1e-5)


def test_the_update_sees_what_was_aggregated():
    torch.manual_seed(0)
    fusion = SpatioTemporalFusion(WIDTH, residual="gated", dropout=0.0).eval()
    query, aggregated = torch.randn(2, 2, 7, 3, WIDTH)
    other = aggregated.clone()
    other[0, 4, 1] += 1.0
    changed = (fusion(query, aggregated) != fusion(query, other)).any(-1)
    assert changed.nonzero().tolist() == [[0, 4, 1]]
