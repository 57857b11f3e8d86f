"""What the layers of the graph baselines compute, worked out by hand."""

import math

import numpy as np
import pytest
import torch
from small_runs import HISTORY, NODES, random_batch
from torch import nn

from sttrans_core.baselines.calendars import with_calendar
from sttrans_core.baselines.graph_wavenet import GraphWaveNet
from sttrans_core.baselines.graph_wavenet import _Layer as DiffusionLayer
from sttrans_core.baselines.graphs import scaled_laplacian, transition_matrices
from sttrans_core.baselines.stemgnn import StemGNN, chebyshev_terms
from sttrans_core.baselines.stemgnn import _Block as SpectralBlock
from sttrans_core.baselines.stgcn import STGCN, _ChebyshevConvolution, _GatedConvolution
from sttrans_core.data.windows import Batch

# A road 0 -> 1 -> 2, the second part heavier, and a place apart.
ROAD = np.array([[0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=float)


def _history_batch(steps: int) -> Batch:
    calendar = torch.zeros(2, steps + 3, dtype=torch.int64)
    return random_batch()._replace(
        values=torch.randn(2, steps, NODES, 1),
        observed=torch.ones(2, steps, NODES, dtype=torch.bool),
        time_of_day=calendar,
        day_of_week=calendar,
    )


def _steps_that_matter(model: nn.Module, steps: int) -> list[bool]:
    batch = _history_batch(steps)
    values = batch.values.requires_grad_()
    model.eval()(batch._replace(values=values)).sum().backward()
    assert values.grad is not None
    return values.grad.abs().amax((0, 2, 3)).gt(0).tolist()


def test_the_calendar_comes_as_a_share_and_a_number():
    values = torch.randn(1, 2, 3, 1)
    slot, day = torch.tensor([[6, 12]]), torch.tensor([[0, 4]])
    reading = with_calendar(values, slot, day, steps_per_day=24)
    assert torch.equal(reading[..., :1], values)
    assert reading[0, 0, :, 1:].tolist() == [[0.25, 0.0]] * 3
    assert reading[0, 1, :, 1:].tolist() == [[0.5, 4.0]] * 3


def test_walks_go_along_the_edges_and_against_them():
    graph = np.array([[1, 3], [0, 0]], dtype=float)
    along, against = transition_matrices(graph, num_nodes=2)
    # From 0 a quarter stays; 1 leads nowhere. Against the edges: columns become rows.
    assert along.tolist() == [[0.25, 0.75], [0.0, 0.0]]
    assert against.tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_the_laplacian_of_a_road():
    # Undirected: degrees 1, 4, 3 and 0. -A_ij / sqrt(d_i d_j): -1 / 2 and -3 / sqrt(12).
    laplacian = scaled_laplacian(ROAD, num_nodes=4)
    expected = torch.zeros(4, 4)
    expected[0, 1] = expected[1, 0] = -0.5
    expected[1, 2] = expected[2, 1] = -math.sqrt(3) / 2
    torch.testing.assert_close(laplacian, expected)
    assert torch.linalg.eigvalsh(laplacian).abs().max() <= 1 + 1e-6


def test_diffusion_takes_readings_from_where_the_edges_lead():
    layer = DiffusionLayer(1, dilation=1, num_graphs=1, dropout=0.3).eval()
    with torch.no_grad():
        # The gated value is tanh(newer step) / 2; of it, one hop and ten times two hops are kept.
        layer.gates.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        layer.gates.bias.zero_()
        layer.mix.weight.copy_(torch.tensor([[0.0, 1.0, 10.0]]))
        layer.mix.bias.zero_()
        layer.norm.eps = 0.0
    token = torch.zeros(4, 1, 2, 1)
    token[2, 0, 1] = 0.7  # the end of the road, newest step
    along = transition_matrices(ROAD, num_nodes=4)[0]
    mixed, gated = layer(token, [along])
    lit = math.tanh(0.7) / 2
    torch.testing.assert_close(gated.flatten(), torch.tensor([0.0, 0.0, lit, 0.0]))
    # One hop upstream of it is 1, two hops 0; the residual is the newer step.
    torch.testing.assert_close(mixed.flatten(), torch.tensor([10 * lit, lit, 0.7, 0.0]))


def test_dilated_convolutions_see_thirteen_steps():
    # 1 + 1 + 2, four times: kernels of two, a step and two steps apart.
    model = GraphWaveNet(num_nodes=NODES, history_steps=17, horizon_steps=3)
    assert _steps_that_matter(model, 17) == [False] * 4 + [True] * 13


def test_the_given_graph_adds_to_the_learned_one():
    # Two nodes that the learned graph joins too weakly to matter, told by the gradient.
    def reach(adjacency: np.ndarray | None) -> float:
        torch.manual_seed(0)
        model = GraphWaveNet(
            num_nodes=2, history_steps=HISTORY, horizon_steps=3, adjacency=adjacency
        ).eval()
        with torch.no_grad():  # softmax of (40, 0) and (0, 40): every node to itself
            model.towards.copy_(torch.eye(2, 10) * 40)
            model.away.copy_(torch.eye(10, 2))
        batch = random_batch(windows=1, nodes=2)
        values = batch.values.requires_grad_()
        model(batch)[0, :, 0].sum().backward()
        assert values.grad is not None
        return float(values.grad[0, :, 1].abs().max())

    assert reach(None) < 1e-12
    assert reach(np.array([[0.0, 1.0], [0.0, 0.0]])) > 1e-6


def test_a_gated_convolution_by_hand():
    convolution = _GatedConvolution(1, 1, kernel=3)
    with torch.no_grad():
        convolution.gates.weight.copy_(torch.tensor([[100.0, 10.0, 1.0], [0.0, 0.0, 0.0]]))
        convolution.gates.bias.zero_()
    token = torch.arange(1.0, 6.0).view(1, 5, 1, 1)
    # Steps 1 2 3 give 123 and the residual 3, halved by the open gate of sigmoid(0).
    assert convolution(token).flatten().tolist() == [63.0, (234 + 4) / 2, (345 + 5) / 2]


def test_a_chebyshev_convolution_by_hand():
    # L swaps the nodes, so L^2 = 1 and T2 = 2 L^2 - 1 = 1: 100 x + 10 swapped + x.
    convolution = _ChebyshevConvolution(1)
    with torch.no_grad():
        convolution.mix.weight.copy_(torch.tensor([[100.0, 10.0, 1.0]]))
        convolution.mix.bias.zero_()
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    token = torch.tensor([2.0, 3.0]).view(1, 1, 2, 1)
    assert convolution(token, swap).flatten().tolist() == [202 + 30, 303 + 20]


@pytest.mark.parametrize("steps", [5, 9, 14])
def test_stgcn_sees_its_whole_history_however_long(steps):
    model = STGCN(
        num_nodes=NODES, history_steps=steps, horizon_steps=3, adjacency=np.eye(NODES)
    )  # fmt: skip
    assert _steps_that_matter(model, steps) == [True] * steps


def test_terms_are_chebyshev_polynomials_of_the_eigenvalues():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(matrix + matrix.mT)
    values = values / values.abs().amax(1, keepdim=True)
    laplacian = vectors @ torch.diag_embed(values) @ vectors.mT
    series = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    for degree, term in enumerate(chebyshev_terms(series, laplacian).unbind(2)):
        polynomial = torch.cos(degree * torch.arccos(values.clamp(-1, 1)))  # T_k(cos a) = cos(k a)
        expected = vectors @ (polynomial[..., None] * (vectors.mT @ series))
        torch.testing.assert_close(term, expected)


def test_open_gates_leave_the_graph_filter_alone():
    # Transform, gates that pass everything, transform back: what remains is the chosen term.
    steps, term = 5, 2
    block = SpectralBlock(steps, 1, steps, is_last=True)
    block.forecast = nn.Identity()
    with torch.no_grad():
        for gate, _ in [*block.real, *block.imaginary]:
            gate.weight.zero_()
            gate.weight[: 4 * steps] = torch.eye(4 * steps)
            gate.bias.zero_()
            gate.bias[4 * steps :] = 40.0  # sigmoid(40) is 1
        block.mix.zero_()
        block.mix[term] = torch.eye(steps)
    series, laplacian = torch.randn(2, 3, 1, steps), torch.randn(2, 3, 3)
    forecast, left = block(series, laplacian)
    assert left is None
    torch.testing.assert_close(forecast, chebyshev_terms(series[:, :, 0], laplacian)[:, :, term])


def test_the_graph_of_a_window_is_a_laplacian():
    model = StemGNN(num_nodes=NODES, history_steps=HISTORY).eval()
    laplacian = model._laplacian(torch.randn(2, NODES, 1, HISTORY))
    # Attention sums to 1 over a row, so all degrees are 1 and L = 1 - (W + W') / 2.
    weight = torch.eye(NODES) - laplacian
    torch.testing.assert_close(weight, weight.mT)
    torch.testing.assert_close(weight.sum((1, 2)), torch.full((2,), float(NODES)))
    assert (weight > 0).all()


def test_attention_that_is_dropped_whole_leaves_numbers():
    model = StemGNN(num_nodes=NODES, history_steps=HISTORY, dropout=1.0)
    series = torch.randn(2, NODES, 1, HISTORY, requires_grad=True)
    laplacian = model._laplacian(series)
    laplacian.sum().backward()
    assert series.grad is not None
    assert not laplacian.any()
    assert series.grad.isfinite().all()
