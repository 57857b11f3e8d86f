"""The Top-k alignment: by hand, against its plain definition, and its laws."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sttrans_core.alignment import Alignment, Selection, topk_alignment
from sttrans_core.relation import FixedPosition, Geometry, LearnedPosition

BATCH, STEPS, NODES, SEGMENTS, HEADS, DIM, VALUE_DIM = 2, 5, 11, 3, 7, 13, 17
SOURCES = STEPS * (NODES - 1)  # the query's own node is no source
SELECTIONS = {
    "topk": Selection(topk=5, window_nodes=3, screened_nodes=2),
    "one": Selection(topk=1, window_nodes=3, screened_nodes=2),
    "candidates": Selection(topk=None, window_nodes=3, screened_nodes=2),
    "all of the candidates": Selection(topk=25, window_nodes=3, screened_nodes=2),
    "more than the candidates": Selection(topk=SOURCES, window_nodes=3, screened_nodes=2),
    "window only": Selection(topk=5, window_nodes=3, screened_nodes=0),
    "no window": Selection(topk=5, window_nodes=0, screened_nodes=5),
    "every node": Selection(topk=5, window_nodes=6, screened_nodes=5),
    "dense": Selection(topk=None, dense=True),
    "dense topk": Selection(topk=7, dense=True),
}
every_selection = pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)


class Inputs(NamedTuple):
    query: Tensor
    key: Tensor
    value: Tensor
    observed: Tensor


def _places(nodes: int = NODES) -> Geometry:
    """Give places in a row whose distances are all different."""
    longitude = 0.01 * np.arange(nodes) ** 2
    return Geometry(np.zeros(nodes), longitude, num_neighbours=min(8, nodes)).double()


def _inputs(*, missing: float = 0.3, seed: int = 0, segments: int = SEGMENTS) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return Inputs(
        draw(BATCH, NODES, segments, HEADS, DIM),
        draw(BATCH, STEPS, NODES, HEADS, DIM),
        draw(BATCH, STEPS, NODES, HEADS, VALUE_DIM),
        torch.rand(BATCH, STEPS, NODES, generator=generator) >= missing,
    )


def _learned() -> LearnedPosition:
    torch.manual_seed(3)
    return LearnedPosition(STEPS, HEADS, DIM, 3).double()


def _nothing(steps: int = STEPS, dim: int = DIM) -> FixedPosition:
    """Give a relative position that says nothing."""
    return FixedPosition(steps, dim, decay_spacings=1e30, decay_steps=1e30).double()


def _align(inputs: Inputs, selection: Selection, **options: Any) -> tuple[Tensor, Alignment]:
    options = {"geometry": _places(), "position": _nothing(), **options}
    query, key, value, observed = inputs
    output, alignment = topk_alignment(
        query, key, value,
        observed=observed, selection=selection, backend="reference", **options,
    )  # fmt: skip
    assert alignment is not None
    return output, alignment


def _by_hand(**changes: Any) -> tuple[Tensor, Alignment]:
    """Align a query at node 0 with three other nodes and two steps; scores are log(weight)."""
    # Weights by step and node; 10 is not observed, and 99 is the query's own node, no source.
    weight = torch.tensor([[99.0, 2.0, 3.0, 1.0], [99.0, 4.0, 10.0, 5.0]], dtype=torch.float64)
    observed = torch.tensor([[True, True, True, True], [True, True, False, True]])
    value = torch.tensor([[-7.0, 1.0, 2.0, 3.0], [-7.0, 11.0, 12.0, 13.0]], dtype=torch.float64)
    query = torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
    inputs = Inputs(
        query, weight.log()[None, ..., None, None], value[None, ..., None, None], observed[None]
    )
    choices = {"topk": 3, "dense": True, "window_nodes": 1, "window_steps": 1, **changes}
    return _align(
        inputs,
        Selection(**choices),
        geometry=_places(4),
        position=_nothing(2, 1),
        query_nodes=torch.tensor([0]),
    )


def test_the_three_best_of_five_by_hand():
    # Observed weights are 2, 3, 1, 4, 5, in all 15. The best three are 5 (step 1, node 3),
    # 4 (step 1, node 1) and 3 (step 0, node 2): shares 5/12, 4/12, 3/12, together 12/15 of all.
    output, alignment = _by_hand()
    assert alignment.node.flatten().tolist() == [3, 1, 2]
    assert alignment.step.flatten().tolist() == [1, 1, 0]
    assert alignment.weight.flatten().tolist() == pytest.approx([5 / 12, 4 / 12, 3 / 12])
    assert float(alignment.covered_mass) == pytest.approx(12 / 15)
    assert alignment.valid.all()
    # The window holds the nearest other node at the newest step.
    assert alignment.in_window.flatten().tolist() == [False, True, False]
    # Values are 13, 11, 2.
    assert float(output) == pytest.approx((5 * 13 + 4 * 11 + 3 * 2) / 12)


def test_fillers_where_fewer_are_valid_than_asked_for():
    output, alignment = _by_hand(topk=6)
    assert alignment.valid.flatten().tolist() == [True] * 5 + [False]
    weights = [5 / 15, 4 / 15, 3 / 15, 2 / 15, 1 / 15, 0.0]
    assert alignment.weight.flatten().tolist() == pytest.approx(weights)
    assert float(alignment.covered_mass) == pytest.approx(1.0)
    assert float(output) == pytest.approx((5 * 13 + 4 * 11 + 3 * 2 + 2 * 1 + 1 * 3) / 15)


def test_candidates_are_the_window_and_the_screened_node():
    # Node 1 is the window. Mean observed scores: node 2 log 3 = 1.10 (one step), node 3
    # (log 1 + log 5) / 2 = 0.80, so node 2 is screened and node 3, with the best source, is not.
    _, alignment = _by_hand(dense=False, screened_nodes=1)
    assert alignment.node.flatten().tolist() == [1, 2, 1]
    assert alignment.step.flatten().tolist() == [1, 0, 0]
    assert alignment.weight.flatten().tolist() == pytest.approx([4 / 9, 3 / 9, 2 / 9])
    assert float(alignment.covered_mass) == pytest.approx(9 / 15)


def test_heads_share_sources_and_have_their_own_weights():
    # Four nodes, one step; scores of the two heads, and their mean:
    #   head 0: 4 0 3 0   head 1: 0 4 3 0   mean: 2 2 3 0. Kept: node 2, then nodes 0 and 1.
    score = torch.tensor([[4.0, 0.0, 3.0, 0.0], [0.0, 4.0, 3.0, 0.0]], dtype=torch.float64)
    inputs = Inputs(
        torch.ones(1, 1, 1, 2, 1, dtype=torch.float64),
        score.T[None, None, :, :, None],
        torch.zeros(1, 1, 4, 2, 1, dtype=torch.float64),
        torch.ones(1, 1, 4, dtype=torch.bool),
    )
    _, alignment = _align(
        inputs,
        Selection(topk=3, dense=True),
        geometry=_places(4),
        position=_nothing(1, 1),
        query_nodes=torch.tensor([3]),
    )
    four, three, none = math.exp(4), math.exp(3), 1.0
    total = four + three + none
    expected = {2: (three, three), 0: (four, none), 1: (none, four)}
    for place, node in enumerate(alignment.node.flatten().tolist()):
        weights = alignment.weight[0, 0, 0, :, place].tolist()
        assert weights == pytest.approx([weight / total for weight in expected[node]])


def test_similarity_falls_with_distance_and_lag():
    # All keys alike: only the fixed decay speaks. exp(-ring / 4 - lag / 6), the rings of nodes
    # 0, 1 and 2 of places 0, 1, 4 (spacing: from 0 to 1).
    inputs = Inputs(
        torch.zeros(1, 3, 1, 1, 1, dtype=torch.float64),
        torch.zeros(1, 2, 3, 1, 1, dtype=torch.float64),
        torch.zeros(1, 2, 3, 1, 1, dtype=torch.float64),
        torch.ones(1, 2, 3, dtype=torch.bool),
    )
    position = FixedPosition(2, 1, decay_spacings=4.0, decay_steps=6.0).double()
    geometry = _places(3)
    geometry.spacing_km = float(torch.hypot(*geometry.offsets_km(torch.tensor(0), torch.tensor(1))))
    _, alignment = _align(
        inputs, Selection(topk=4, dense=True), geometry=geometry, position=position
    )
    # From node 0: node 1 at ring centre 1 now (exp(-1/4)) and a step ago (exp(-1/6) of that), then
    # node 2, 4 spacings away in the ring 3.5 .. 4.5.
    assert alignment.node[0, 0, 0].tolist() == [1, 1, 2, 2]
    assert alignment.step[0, 0, 0].tolist() == [1, 0, 1, 0]
    raw = [math.exp(-1 / 4), math.exp(-1 / 4 - 1 / 6), math.exp(-1), math.exp(-1 - 1 / 6)]
    weights = alignment.weight[0, 0, 0, 0].tolist()
    assert weights == pytest.approx([weight / sum(raw) for weight in raw], rel=1e-5)


@every_selection
@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("learned", [True, False])
def test_the_default_backend_computes_the_definition(selection, missing, learned):
    position = _learned() if learned else FixedPosition(STEPS, DIM).double()
    answers = []
    for backend in ("reference", "auto"):
        inputs = _inputs(missing=missing)
        output, _ = topk_alignment(
            *inputs[:3],
            observed=inputs.observed,
            geometry=_places(),
            selection=selection,
            position=position,
            backend=backend,
        )
        position.zero_grad()
        output.square().sum().backward()
        own = [p.grad.clone() for p in position.parameters() if p.grad is not None]
        answers.append([output.detach(), *(tensor.grad for tensor in inputs[:3]), *own])
    for reference, auto in zip(*answers, strict=True):
        assert torch.allclose(reference, auto, rtol=1e-9, atol=1e-11)


def test_some_query_nodes_are_rows_of_all():
    inputs, position = _inputs(), _learned()
    nodes = torch.tensor([7, 2, 7])
    everyone, alignment = _align(inputs, SELECTIONS["topk"], position=position)
    chosen = inputs._replace(query=inputs.query[:, nodes])
    some, part = _align(chosen, SELECTIONS["topk"], position=position, query_nodes=nodes)
    assert torch.allclose(some, everyone[:, nodes])
    assert torch.equal(part.node, alignment.node[:, nodes])
    gathered, _ = topk_alignment(
        *chosen[:3], observed=inputs.observed, geometry=_places(), position=position,
        selection=SELECTIONS["topk"], query_nodes=nodes,
    )  # fmt: skip
    assert torch.allclose(gathered, some)


@every_selection
def test_the_plain_definition_has_right_gradients(selection):
    inputs, position = _inputs(segments=1), _learned()

    def output(query, key, value):
        return _align(Inputs(query, key, value, inputs.observed), selection, position=position)[0]

    assert torch.autograd.gradcheck(output, inputs[:3], fast_mode=True)


def test_a_tiny_case_has_right_gradients_in_every_element():
    generator = torch.Generator().manual_seed(1)
    shapes = ((1, 2, 1, 1, 2), (1, 2, 3, 1, 2), (1, 2, 3, 1, 1))
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]
    position = FixedPosition(2, 2).double()
    observed = torch.tensor([[[True, True, True], [True, False, True]]])

    def output(query, key, value):
        return _align(
            Inputs(query, key, value, observed),
            Selection(topk=2, window_nodes=1, screened_nodes=1),
            geometry=_places(3),
            position=position,
            query_nodes=torch.tensor([0, 2]),
        )[0]

    assert torch.autograd.gradcheck(output, tensors)


@given(
    seed=st.integers(0, 10**6),
    missing=st.floats(0, 1),
    selection=st.sampled_from(list(SELECTIONS.values())),
)
def test_weights_sum_to_one_over_observed_sources(seed, missing, selection):
    inputs = _inputs(seed=seed, missing=missing)
    _, alignment = _align(inputs, selection, position=_learned())
    weight, valid = alignment.weight, alignment.valid
    total = weight.sum(-1)
    anything = valid.any(-1)[:, :, :, None].expand_as(total)
    assert torch.allclose(total, anything.double())
    assert (weight >= 0).all()
    assert (weight.masked_select(~valid[:, :, :, None].expand_as(weight)) == 0).all()
    window = torch.arange(BATCH)[:, None, None, None]
    seen = inputs.observed[window, alignment.step, alignment.node]
    assert seen[valid].all()
    own = torch.arange(NODES)[:, None, None]
    assert not (valid & (alignment.node == own)).any()
    # Every source is named once.
    flat = (alignment.step * NODES + alignment.node).sort(-1).values
    assert (flat.diff(dim=-1) > 0).all()
    order = weight.mean(3)
    assert (order.diff(dim=-1) <= 1e-12).all()
    covered = alignment.covered_mass
    assert ((covered >= -1e-12) & (covered <= 1 + 1e-12)).all()


@given(
    seed=st.integers(0, 10**6),
    missing=st.floats(0.05, 0.95),
    selection=st.sampled_from(list(SELECTIONS.values())),
    backend=st.sampled_from(["auto", "reference"]),
)
def test_what_is_missing_says_nothing(seed, missing, selection, backend):
    inputs = _inputs(seed=seed, missing=missing)
    hidden = ~inputs.observed[..., None, None]
    garbage = inputs._replace(
        key=torch.where(hidden, 1e6, inputs.key), value=torch.where(hidden, -1e6, inputs.value)
    )
    position = _learned()
    clean, dirty = (
        topk_alignment(
            *some[:3], observed=inputs.observed, geometry=_places(), selection=selection,
            position=position, backend=backend,
        )[0]
        for some in (inputs, garbage)
    )  # fmt: skip
    assert torch.allclose(clean, dirty)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@every_selection
def test_ties_never_admit_more_than_k(selection, backend):
    # All scores are equal and so are the values of the kept sources: 1 apiece would sum to more
    # than 1 if a tie let more in. The value of each source is its own unit vector.
    steps, nodes = 3, 5
    total, sources = steps * nodes, steps * (nodes - 1)
    units = torch.eye(total, dtype=torch.float64).reshape(1, steps, nodes, 1, total)
    output, _ = topk_alignment(
        torch.ones(1, nodes, 1, 1, 1, dtype=torch.float64),
        torch.ones(1, steps, nodes, 1, 1, dtype=torch.float64),
        units,
        observed=torch.ones(1, steps, nodes, dtype=torch.bool),
        geometry=_places(nodes),
        selection=Selection(
            topk=None if selection.topk is None else min(selection.topk, sources),
            dense=selection.dense,
            window_nodes=min(selection.window_nodes, 2),
            screened_nodes=min(selection.screened_nodes, 2),
        ),
        position=_nothing(steps, 1),
        backend=backend,
    )
    candidates = nodes - 1
    if not selection.dense:
        candidates = min(selection.window_nodes, 2) + min(selection.screened_nodes, 2)
    expected = min(selection.topk or sources, candidates * steps)
    assert (output.flatten(0, -2) > 0).sum(-1).tolist() == [expected] * nodes
    assert torch.allclose(output.sum(-1), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("backend", ["auto", "reference"])
@every_selection
def test_nothing_observed_gives_zeros_and_finite_gradients(selection, backend):
    inputs = _inputs()
    observed = inputs.observed.clone()
    observed[1] = False
    position = _learned()
    output, alignment = topk_alignment(
        *inputs[:3], observed=observed, geometry=_places(), selection=selection,
        position=position, backend=backend,
    )  # fmt: skip
    assert torch.equal(output[1], torch.zeros_like(output[1]))
    assert torch.isfinite(output).all()
    if alignment is not None:
        assert not alignment.valid[1].any()
        assert torch.equal(alignment.weight[1], torch.zeros_like(alignment.weight[1]))
        assert torch.equal(alignment.covered_mass[1], torch.zeros_like(alignment.covered_mass[1]))
    output.square().sum().backward()
    gradients = [t.grad for t in inputs[:3]] + [p.grad for p in position.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("topk", [0, -1, SOURCES + 1])
def test_k_outside_the_sources_is_refused(topk):
    sentence = (
        rf"topk must be between 1 and the number of sources; got topk={topk} with 50 sources "
        rf"\(5 steps x 10 other nodes\)\. {'Lower topk or pass a' if topk > 0 else 'Raise topk'}"
    )
    with pytest.raises(ValueError, match=sentence):
        _align(_inputs(), Selection(topk=topk))


def test_the_default_backend_computes_the_definition_where_little_is_observed():
    # With 90 % missing, fewer places are observed than screening may admit.
    for selection in SELECTIONS.values():
        inputs = _inputs(missing=0.9)
        reference, auto = (
            topk_alignment(
                *inputs[:3], observed=inputs.observed, geometry=_places(), selection=selection,
                position=_nothing(), backend=backend,
            )[0]
            for backend in ("reference", "auto")
        )  # fmt: skip
        assert torch.allclose(reference, auto)


def test_screening_with_too_few_observed_nodes_repeats_none():
    # Three places are observed; screening has to fill up with places that say nothing, and must
    # not take a place of the window for a second time.
    selection = Selection(topk=None, window_nodes=3, screened_nodes=5)
    for first in range(NODES - 2):
        inputs = _inputs(missing=0.0)
        observed = torch.zeros_like(inputs.observed)
        observed[:, :, first : first + 3] = True
        reference, auto = (
            topk_alignment(
                *inputs[:3], observed=observed, geometry=_places(), selection=selection,
                position=_nothing(), backend=backend,
            )[0]
            for backend in ("reference", "auto")
        )  # fmt: skip
        assert torch.allclose(reference, auto)
