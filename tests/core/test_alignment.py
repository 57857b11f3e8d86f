"""The Top-k alignment: by hand, against its plain definition, and its laws."""

import math
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sttrans_core.alignment import Alignment, Selection, topk_alignment, whole_groups
from sttrans_core.alignment.position import FixedPosition, LearnedPosition
from sttrans_core.space.relation import Geometry

BATCH, STEPS, NODES, SEGMENTS, HEADS, DIM, VALUE_DIM = 2, 5, 11, 3, 7, 13, 17
SOURCES = STEPS * (NODES - 1)  # the query's own node is no source
BACKENDS = ("reference", "torch", "compiled")


def blocks(**changes: Any) -> Selection:
    """Screen 11 nodes in blocks of 2, for groups of 3 targets."""
    sizes = {"group_size": 3, "block_size": 2, "screened_blocks": 1}
    near = {"window_nodes": 2, "window_steps": 2}
    return Selection(**{"screening": "blocks", **sizes, **near, **changes})


SELECTIONS = {
    "topk": Selection(topk=5),
    "one": Selection(topk=1),
    "every source": Selection(topk=SOURCES),
    "no window": Selection(topk=5, window="none", window_nodes=3, window_steps=2),
    "dense": Selection(topk=None),
    "blocks": blocks(topk=5),
    "more than the candidates": blocks(topk=SOURCES),
    "blocks without window": blocks(topk=5, window="none", screened_blocks=2),
    "blocks of one": blocks(topk=5, group_size=1, block_size=1, screened_blocks=3),
    "every block": blocks(topk=5, screened_blocks=99),
    "candidates": blocks(topk=None),
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
        draw(BATCH, NODES, STEPS, HEADS, DIM),
        draw(BATCH, NODES, STEPS, HEADS, VALUE_DIM),
        torch.rand(BATCH, NODES, STEPS, generator=generator) >= missing,
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
        observed=observed, selection=selection, backend="reference", need_alignment=True,
        **options,
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
    key, value = (each.T[None, ..., None, None] for each in (weight.log(), value))
    inputs = Inputs(query, key, value, observed.T[None])
    choices = {"topk": 3, "window_nodes": 1, "window_steps": 1, **changes}
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


def test_without_the_window_its_newest_steps_are_no_sources():
    # Node 1 at step 1 (4) is the window; the next best is node 1 at step 0 (2).
    _, alignment = _by_hand(window="none")
    assert alignment.node.flatten().tolist() == [3, 2, 1]
    assert alignment.step.flatten().tolist() == [1, 0, 0]
    assert alignment.weight.flatten().tolist() == pytest.approx([5 / 10, 3 / 10, 2 / 10])
    assert not alignment.in_window.any()
    assert float(alignment.covered_mass) == pytest.approx(10 / 15)


def test_candidates_are_the_window_and_the_admitted_block():
    # Node 1 is the window. Mean observed scores: node 2 log 3 = 1.10 (one step), node 3
    # (log 1 + log 5) / 2 = 0.80, so node 2 is admitted and node 3, with the best source, is not.
    _, alignment = _by_hand(
        screening="blocks", group_size=1, block_size=1, screened_blocks=1, topk=3
    )
    assert alignment.node.flatten().tolist() == [1, 2, 1]
    assert alignment.step.flatten().tolist() == [1, 0, 0]
    assert alignment.weight.flatten().tolist() == pytest.approx([4 / 9, 3 / 9, 2 / 9])
    assert float(alignment.covered_mass) == pytest.approx(9 / 15)


def test_a_group_shares_the_blocks_that_its_mean_query_admits():
    # Places 0 .. 5 in a row, blocks and groups of two, no window, one step. Targets 0 and 1 ask
    # for channels 0 and 1. Keys: node 2 (3, 0) and node 3 (0, 0), mean (1.5, 0); nodes 4 and 5
    # (1, 1) each, mean (1, 1). Their mean query (1/2, 1/2) scores 0.75 and 1: nodes 4 and 5 are
    # admitted, although target 0 for itself would have preferred node 2.
    key = torch.tensor([[0, 0], [0, 0], [3, 0], [0, 0], [1, 1], [1, 1]], dtype=torch.float64)
    query = torch.zeros(6, 2, dtype=torch.float64)
    query[0, 0] = query[1, 1] = 1
    value = torch.arange(6, dtype=torch.float64)
    for backend in ("reference", "torch"):
        output, alignment = topk_alignment(
            query[None, :, None, None] * math.sqrt(2),
            key[None, :, None, None],
            value[None, :, None, None, None],
            observed=torch.ones(1, 6, 1, dtype=torch.bool),
            geometry=_places(6),
            selection=blocks(topk=2, window_nodes=0, group_size=2, screened_blocks=1),
            position=_nothing(1, 2),
            backend=backend,
            need_alignment=True,
        )
        assert alignment is not None
        assert set(alignment.node[0, 0, 0].tolist()) == {4, 5}
        assert float(output[0, 0]) == pytest.approx(4.5)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_part_of_a_group_is_refused(backend):
    inputs = _inputs()
    with pytest.raises(ValueError, match=r"must be given whole groups.*got 1 queries of 11 nodes"):
        topk_alignment(
            inputs.query[:, :1], *inputs[1:3], observed=inputs.observed, geometry=_places(),
            selection=blocks(topk=5), position=_nothing(), query_nodes=torch.tensor([4]),
            backend=backend,
        )  # fmt: skip


def test_heads_share_sources_and_have_their_own_weights():
    # Four nodes, one step; scores of the two heads, and their mean:
    #   head 0: 4 0 3 0   head 1: 0 4 3 0   mean: 2 2 3 0. Kept: node 2, then nodes 0 and 1.
    score = torch.tensor([[4.0, 0.0, 3.0, 0.0], [0.0, 4.0, 3.0, 0.0]], dtype=torch.float64)
    inputs = Inputs(
        torch.ones(1, 1, 1, 2, 1, dtype=torch.float64),
        score.T[None, :, None, :, None],
        torch.zeros(1, 4, 1, 2, 1, dtype=torch.float64),
        torch.ones(1, 4, 1, dtype=torch.bool),
    )
    _, alignment = _align(
        inputs,
        Selection(topk=3),
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
        torch.zeros(1, 3, 2, 1, 1, dtype=torch.float64),
        torch.zeros(1, 3, 2, 1, 1, dtype=torch.float64),
        torch.ones(1, 3, 2, dtype=torch.bool),
    )
    position = FixedPosition(2, 1, decay_spacings=4.0, decay_steps=6.0).double()
    with patch("sttrans_core.space.relation._typical_spacing", return_value=1.112):  # 0.01 degrees
        geometry = _places(3)
    _, alignment = _align(inputs, Selection(topk=4), geometry=geometry, position=position)
    # From node 0: node 1 at ring centre 1 now (exp(-1/4)) and a step ago (exp(-1/6) of that), then
    # node 2, 4 spacings away in the ring 3.5 .. 4.5.
    assert alignment.node[0, 0, 0].tolist() == [1, 1, 2, 2]
    assert alignment.step[0, 0, 0].tolist() == [1, 0, 1, 0]
    raw = [math.exp(-1 / 4), math.exp(-1 / 4 - 1 / 6), math.exp(-1), math.exp(-1 - 1 / 6)]
    weights = alignment.weight[0, 0, 0, 0].tolist()
    assert weights == pytest.approx([weight / sum(raw) for weight in raw], rel=1e-5)


@every_selection
@pytest.mark.parametrize("missing", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_every_backend_computes_the_definition(selection, missing, learned, backend):
    # With 90 % missing there are fewer observed places than screening may admit.
    position = _learned() if learned else FixedPosition(STEPS, DIM).double()
    reference = _gradients("reference", selection, missing, position)
    for expected, got in zip(
        reference, _gradients(backend, selection, missing, position), strict=True
    ):
        assert torch.allclose(expected, got, rtol=1e-9, atol=1e-11)


def _gradients(
    backend: Any, selection: Selection, missing: float, position: LearnedPosition | FixedPosition
) -> list[Tensor]:
    """Give output, gradients, and what the alignment says."""
    inputs, answers = _inputs(missing=missing), []
    for need_alignment in (False, True):
        output, alignment = topk_alignment(
            *inputs[:3], observed=inputs.observed, geometry=_places(), selection=selection,
            position=position, backend=backend, need_alignment=need_alignment,
        )  # fmt: skip
        answers.append(output)
    assert alignment is not None
    position.zero_grad()
    answers[0].square().sum().backward()
    own = [p.grad.clone() for p in position.parameters() if p.grad is not None]
    said = [alignment.weight, alignment.covered_mass]
    said += [each.double() for each in (alignment.node, alignment.step, alignment.in_window)]
    return [*answers, *(t.grad for t in inputs[:3]), *own, *said]  # type: ignore[list-item]


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_query_nodes_are_rows_of_all(backend):
    inputs, position = _inputs(), _learned()
    for selection in (SELECTIONS["topk"], SELECTIONS["blocks"]):
        nodes = whole_groups(_places(), selection, torch.tensor([7, 2]))
        everyone, alignment = _align(inputs, selection, position=position)
        chosen = inputs._replace(query=inputs.query[:, nodes])
        some, part = topk_alignment(
            *chosen[:3], observed=inputs.observed, geometry=_places(), position=position,
            selection=selection, query_nodes=nodes, backend=backend, need_alignment=True,
        )  # fmt: skip
        assert torch.allclose(some, everyone[:, nodes])
        assert part is not None
        assert torch.equal(part.node, alignment.node[:, nodes])


@every_selection
def test_the_plain_definition_has_right_gradients(selection):
    inputs, position = _inputs(segments=1), _learned()

    def output(query, key, value):
        return _align(Inputs(query, key, value, inputs.observed), selection, position=position)[0]

    assert torch.autograd.gradcheck(output, inputs[:3], fast_mode=True)


def test_a_tiny_case_has_right_gradients_in_every_element():
    generator = torch.Generator().manual_seed(1)
    shapes = ((1, 2, 1, 1, 2), (1, 3, 2, 1, 2), (1, 3, 2, 1, 1))
    tensors = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]
    position = FixedPosition(2, 2).double()
    observed = torch.tensor([[[True, True], [True, False], [True, True]]])

    def output(query, key, value):
        return _align(
            Inputs(query, key, value, observed),
            Selection(topk=2),
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
    seen = inputs.observed[window, alignment.node, alignment.step]
    assert seen[valid].all()
    own = torch.arange(NODES)[:, None, None]
    assert not (valid & (alignment.node == own)).any()
    # Every source is named once; a filler is the target itself.
    flat = torch.where(valid, alignment.node * STEPS + alignment.step, -1).sort(-1).values
    assert ((flat.diff(dim=-1) > 0) | (flat[..., 1:] < 0)).all()
    assert (alignment.node == own)[~valid].all()
    order = weight.mean(3)
    assert (order.diff(dim=-1) <= 1e-12).all()
    covered = alignment.covered_mass
    assert ((covered >= -1e-12) & (covered <= 1 + 1e-12)).all()


@given(
    seed=st.integers(0, 10**6),
    missing=st.floats(0.05, 0.95),
    selection=st.sampled_from(list(SELECTIONS.values())),
    backend=st.sampled_from(BACKENDS),
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


@pytest.mark.parametrize("backend", BACKENDS)
@every_selection
def test_ties_never_admit_more_than_k(selection, backend):
    # All scores are equal and so are the values of the kept sources: 1 apiece would sum to more
    # than 1 if a tie let more in. The value of each source is its own unit vector.
    total = STEPS * NODES
    units = torch.eye(total, dtype=torch.float64).reshape(1, NODES, STEPS, 1, total)
    output, _ = topk_alignment(
        torch.ones(1, NODES, 1, 1, 1, dtype=torch.float64),
        torch.ones(1, NODES, STEPS, 1, 1, dtype=torch.float64),
        units,
        observed=torch.ones(1, NODES, STEPS, dtype=torch.bool),
        geometry=_places(),
        selection=selection,
        position=_nothing(STEPS, 1),
        backend=backend,
    )
    kept = (output.flatten(0, -2) > 0).sum(-1)
    assert (kept <= min(selection.topk or SOURCES, SOURCES)).all()
    if selection.screening == "exact":
        assert (kept == min(selection.topk or SOURCES, SOURCES)).all()
    assert torch.allclose(output.sum(-1), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("backend", BACKENDS)
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


def test_the_compiled_backend_says_what_it_needs():
    inputs = [each.half() for each in _inputs()[:3]]
    sentence = (
        r"float32 or float64, on the CPU, and not be traced; got torch\.float16 on cpu\. Leave"
    )
    with pytest.raises(ValueError, match=sentence):
        topk_alignment(
            *inputs, observed=_inputs().observed, geometry=_places().float(),
            selection=Selection(topk=5), position=_nothing().half(), backend="compiled",
        )  # fmt: skip


@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    missing=st.floats(0, 1),
    exact=st.booleans(),
    backend=st.sampled_from(BACKENDS),
)
def test_single_precision_agrees_to_its_rounding(seed, scale, missing, exact, backend):
    # Every candidate is kept, so that rounding decides about weights and not about places.
    inputs, position = _inputs(seed=seed, missing=missing), _nothing()
    selection = Selection(topk=SOURCES) if exact else blocks(topk=SOURCES, screened_blocks=99)
    query, key, value = inputs[:3]
    want, _ = _align(inputs._replace(key=key * scale), selection, position=position)
    got, _ = topk_alignment(
        query.float(), (key * scale).float(), value.float(), observed=inputs.observed,
        geometry=_places().float(), selection=selection, position=_nothing().float(),
        backend=backend,
    )  # fmt: skip
    assert torch.allclose(got.double(), want, rtol=1e-4, atol=1e-4 * max(1.0, scale))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_near(dtype):
    # Scores of a few hundred overflow no exponential, and ties of rounded scores admit no more.
    inputs = _inputs(missing=0.2)
    selection, position = SELECTIONS["dense"], _nothing()
    want, _ = _align(inputs, selection, position=position)
    tensors = [each.to(dtype) for each in inputs[:3]]
    got, _ = topk_alignment(
        *tensors, observed=inputs.observed, geometry=_places().float(),
        selection=Selection(topk=SOURCES), position=_nothing().to(dtype),
    )  # fmt: skip
    assert got.dtype == dtype
    assert (got.double() - want).abs().mean() < 0.05
    huge, _ = topk_alignment(
        tensors[0] * 20, tensors[1] * 20, tensors[2], observed=inputs.observed,
        geometry=_places().float(), selection=SELECTIONS["topk"], position=_nothing().to(dtype),
    )  # fmt: skip
    assert torch.isfinite(huge).all()


def test_the_compiled_backend_repeats_itself_bit_by_bit():
    inputs, position = _inputs(), _learned()
    first, again = (_gradients("compiled", SELECTIONS["topk"], 0.2, position) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert inputs.query.shape[1] == NODES


@pytest.mark.parametrize("steps", [32, 120])  # whole tiles; more than the compiler takes in a tuple
def test_a_long_history_is_aligned_alike(steps):
    nodes, position = 6, LearnedPosition(steps, 2, 4, 3)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, *shape, 2, 4, generator=generator)
        for shape in ((nodes, 1), (nodes, steps), (nodes, steps))
    )
    observed = torch.rand(1, nodes, steps, generator=generator) > 0.2
    outputs = [
        topk_alignment(
            query, key, value, observed=observed, geometry=_places(nodes),
            selection=Selection(topk=9), position=position, backend=backend,
        )[0]
        for backend in ("reference", "compiled")
    ]  # fmt: skip
    assert torch.allclose(*outputs, atol=1e-6)


def test_memory_does_not_grow_with_targets_times_sources():
    # 600 targets x 3,000 sources x 2 heads would be 14 MB in single precision; a tile has 2 MB.
    nodes, steps, dim = 600, 5, 4
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(1, *shape, 2, dim, generator=generator)
        for shape in ((nodes, 1), (nodes, steps), (nodes, steps))
    ]
    geometry = Geometry(
        np.random.default_rng(0).uniform(0, 1, nodes), np.arange(nodes) * 0.01, num_neighbours=9
    )
    largest = {}
    for backend in ("torch", "compiled"):
        with torch.profiler.profile(profile_memory=True) as profile, torch.no_grad():
            topk_alignment(
                *tensors, observed=torch.ones(1, nodes, steps, dtype=torch.bool),
                geometry=geometry, selection=Selection(topk=8),
                position=FixedPosition(steps, dim), backend=backend,
            )  # fmt: skip
        largest[backend] = max(event.cpu_memory_usage for event in profile.events())
    assert largest["compiled"] <= 6e6, largest


def test_what_dense_attention_would_cover_is_unknown_where_it_would_take_too_long(monkeypatch):
    inputs = _inputs()
    options = {"observed": inputs.observed, "geometry": _places(), "position": _nothing()}
    monkeypatch.setattr("sttrans_core.alignment.topk._MOST_SCORES", BATCH * NODES * SOURCES)
    _, alignment = topk_alignment(
        *inputs[:3], selection=SELECTIONS["topk"], need_alignment=True, **options
    )
    assert alignment is not None
    assert alignment.covered_mass.isnan().all()
    assert torch.allclose(alignment.weight.sum(-1), torch.ones(1, dtype=torch.float64))
