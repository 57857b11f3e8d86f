"""Compiled loops: vectors against numpy, ranking against torch.topk, pairs against the geometry."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError
from small_runs import random_batch, small_config, small_model

from sttrans_core.kernels import ranking, vectors
from sttrans_core.kernels.compiling import lengths, run
from sttrans_core.model.mixing import mix_bases
from sttrans_core.model.step_attention import attend_to_steps
from sttrans_core.space.relation import DOWNSTREAM, NUM_DIRECTIONS, Geometry

FIVE = (0,) * 5


@njit
def _exp_of_row(row, result):
    vectors.store(result, (2,), vectors.exp(vectors.load(row, (1,), FIVE)))


@njit
def _numbers_of_row(row):
    vector = vectors.load(row, (1,), FIVE)
    halved = vectors.full(row[0], FIVE) * vector / 2 - 1
    larger = vectors.larger(vector, halved)
    return (
        vectors.total(vector),
        vectors.largest(vector),
        vectors.dot(vector, halved),
        vectors.total(larger),
        vectors.count_above(vector, 2.0),
    )


@njit
def _pick_from_row(row, limit, first, value, place, at):
    return vectors.pick(vectors.load(row, (1,), FIVE), limit, first, value, place, at)


@njit
def _load_column(table):
    return vectors.total(vectors.load(table, (0, 0), FIVE))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(x=st.lists(st.floats(-90, 0, width=32), min_size=5, max_size=5))
@settings(max_examples=50)
def test_exponentials_are_exact_to_their_rounding(dtype, x):
    row, result = np.zeros(8, dtype), np.full(9, 7.0, dtype)
    row[1:6] = x
    _exp_of_row(row, result)
    for given_, got in zip(row[1:6], result[2:7], strict=True):
        # What is smaller than any normal number of single precision counts as nothing.
        want = 0.0 if dtype is np.float32 and given_ < -87 else math.exp(given_)
        assert got == pytest.approx(want, rel=float(4 * np.finfo(dtype).eps), abs=0)
    assert (result[[0, 1, 7, 8]] == 7).all()  # nothing beside is touched


def test_nothing_is_the_exponential_of_minus_infinity_and_one_that_of_zero():
    result = np.empty(9, np.float32)
    _exp_of_row(np.float32([0, -np.inf, 0, -1e30, -0.0, -np.inf, 0]), result)
    assert result[2:7].tolist() == [0, 1, 0, 1, 0]


def test_numbers_of_a_vector_by_hand():
    # Halved: 3 * (1, 5, 2, -4, 3) / 2 - 1 = (0.5, 6.5, 2, -7, 3.5); the larger in each place are
    # 1, 6.5, 2, -4 and 3.5. Above 2 are 5 and 3, not 2 itself.
    row = np.float64([3, 1, 5, 2, -4, 3, 99])
    total, largest, dot, larger, above = _numbers_of_row(row)
    assert (total, largest, larger, above) == (7, 5, 9, 2)
    assert dot == 0.5 + 32.5 + 4 + 28 + 10.5


def test_numbers_at_the_limit_or_above_are_picked_in_order():
    value, place = np.full(8, -1.0, np.float32), np.full(8, -1, np.int32)
    row = np.float32([0, 4, 1, -np.inf, 2, 9, 99])
    assert _pick_from_row(row, 2.0, 100, value, place, 3) == 3
    assert value.tolist() == [-1, -1, -1, 4, 2, 9, -1, -1]
    assert place.tolist() == [-1, -1, -1, 100, 103, 104, -1, -1]


@njit
def _multiply_tile(left, right, start, result):
    vectors.multiply(left, right, start, result, (1, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tile_of_a_product_is_written(dtype):
    rows, columns = vectors.TILE
    random = np.random.default_rng(0)
    left, right = random.integers(-9, 9, (rows + 2, 5)), random.integers(-9, 9, (5, columns + 3))
    start, result = random.integers(-9, 9, columns + 3), np.full((rows + 2, columns + 3), 7)
    arrays = [each.astype(dtype) for each in (left, right, start, result)]
    _multiply_tile(*arrays)
    want = result.copy()
    want[1:-1, 2:-1] = (start + left @ right)[1:-1, 2:-1]
    np.testing.assert_array_equal(arrays[-1], want)


def test_a_vector_lies_in_a_row():
    with pytest.raises(TypingError, match="A vector must lie in a row of a contiguous array"):
        _load_column(np.zeros((6, 6)).T)


def _ranked(score, bias, relation, topk):
    """Rank scores (B, Q*S, C*T) by the kernel, with class and step of a source in its bias.

    A query has a channel of its own, in which keys hold their scores; so have its coefficients.
    """
    windows, rows, sources = score.shape
    targets, candidates = relation.shape[1:]
    steps, several = sources // candidates, (targets, rows // targets)
    observed = ~score.isneginf().all(1).view(windows, candidates, steps)
    key = score.nan_to_num(neginf=0).mT.reshape(windows, candidates, steps, rows)
    query = torch.eye(rows).expand(windows, -1, -1).unflatten(1, several)
    coefficients = torch.eye(windows * rows).view(windows, *several, 1, -1)
    closed = torch.zeros(bias.shape[2])
    closed[:steps] = -torch.inf
    more = -len(closed) % vectors.TILE[1]
    tables = (F.pad(bias.flatten(0, 1), (0, more)), F.pad(closed, (0, more)))
    size = (windows, *several, topk)
    source, classes = torch.empty(size, dtype=torch.int32), torch.empty(size, dtype=torch.int16)
    piece = min(16, 1 << max(0, (steps - 1).bit_length() - 1))
    run(
        ranking.keep_best, 2 * windows, 2, query.contiguous(), key.contiguous(), observed,
        coefficients, *tables, torch.arange(targets)[None], torch.arange(candidates)[None, None],
        relation[None], *lengths(piece), source, classes,
    )  # fmt: skip
    return source, classes


KINDS = {
    "all different": lambda x: x,
    "a step like the next": lambda x: x.cumsum(2),
    "many ties": lambda x: x.round(),
    "all alike": lambda x: x * 0,
    "one far above": lambda x: torch.where(x == x.amax(2, keepdim=True), 1e30, x),
    "far apart": lambda x: x.pow(15) * 1e20,
    "mostly missing": lambda x: torch.where(x[:, :1] > 1.5, x, -torch.inf),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("candidates", "steps", "topk"),
    [(40, 12, 16), (400, 12, 7), (9, 1, 9), (70, 13, 40), (5, 2, 1), (20, 100, 16)],
)
def test_the_best_are_kept_whatever_their_distribution(kind, candidates, steps, topk):
    generator = torch.Generator().manual_seed(0)
    targets, segments = 37, 2
    size = (2, targets * segments)
    score = kind(torch.randn(*size, candidates * steps, generator=generator))
    relation = torch.randint(0, 4, (1, targets, candidates), generator=generator, dtype=torch.int16)
    bias = torch.randn(*size, 4 * steps, generator=generator).round(decimals=2)
    source, classes = _ranked(score, bias, relation, topk)
    rows = relation.repeat_interleave(2, 1).long().expand(2, -1, -1)  # (P, Q*S, C)
    pair = (rows[..., None] * steps + torch.arange(steps)).flatten(2)
    whole = (score + bias.gather(2, pair)).masked_fill(pair < steps, -torch.inf)
    want = whole.topk(topk).values
    got, kept = source.flatten(1, 2).long(), classes.flatten(1, 2)
    filled = got >= 0
    assert torch.equal(filled, ~want.isneginf())
    # Ties may be kept in any order, but each source once.
    assert torch.equal(whole.gather(2, got.clamp_min(0))[filled], want[filled])
    assert all(len(set(row.tolist())) == len(row) for row in map(_kept, got.flatten(0, 1)))
    assert torch.equal(rows.gather(2, got.clamp_min(0) // steps)[filled], kept[filled].long())
    assert (kept[~filled] == 0).all()


def _kept(row):
    return row[row >= 0]


@pytest.mark.parametrize("nodes", [50, 2500])  # looked up in a table; classified
def test_pairs_of_groups_have_the_classes_of_the_geometry(nodes):
    rng = np.random.default_rng(0)
    road = np.stack([np.arange(30), np.arange(1, 31)], axis=1)
    geometry = Geometry(
        rng.uniform(33, 35, nodes),
        rng.uniform(-119, -117, nodes),
        num_neighbours=5,
        downstream=road,
    )
    targets = torch.from_numpy(rng.integers(0, nodes, (20, 9)))
    found = torch.from_numpy(rng.integers(-1, nodes, (20, 400)))
    targets[0, :9], found[0, :30] = torch.arange(9), torch.arange(30)
    relation = geometry.relations_of_groups(targets, found)
    want = geometry.relations(targets[..., None], found[:, None].clamp_min(0))
    want = want.masked_fill(found[:, None] < 0, 0)
    # Some pairs lie so near to the border of two classes that rounding decides.
    assert (relation != want).float().mean() < 1e-4
    on_road = (geometry.classes[relation.long()] - 1) % NUM_DIRECTIONS >= DOWNSTREAM
    assert on_road[0].sum() > 10
    assert torch.equal(relation[0, :, :30].long(), want[0, :, :30])


def test_pairs_across_the_date_line_are_near():
    # 2,500 places on the equator, 0.144 degrees apart all the way around.
    longitude = np.linspace(-180, 180, 2500, endpoint=False)
    geometry = Geometry(np.zeros(2500), longitude, num_neighbours=5)
    relation = geometry.relations_of_groups(torch.tensor([[0, 2499]]), torch.tensor([[2499, 1]]))
    ring, direction = (relation - 1) // NUM_DIRECTIONS, (relation - 1) % NUM_DIRECTIONS
    west, east = 6, 2
    assert direction[0, 0].tolist() == [west, east]
    assert relation[0, 1, 0] == 0  # the node itself
    assert direction[0, 1, 1] == east
    assert ring[0, 1, 1] <= 2


def test_mixtures_in_loops_are_those_of_single_operations():
    generator = torch.Generator().manual_seed(0)
    bases = torch.randn(2, 3, 5, 4, 2, 7, generator=generator, dtype=torch.float64)
    mixing = 20 * torch.randn(2, 3, 5, 4, 2, generator=generator, dtype=torch.float64)
    bases, mixing = bases.requires_grad_(), mixing.requires_grad_()
    mixed, plain = mix_bases(bases, mixing), (bases * mixing.softmax(3)[..., None]).sum(3)
    assert torch.allclose(mixed, plain, rtol=0, atol=1e-13)
    for got, want in zip(
        torch.autograd.grad(mixed.square().sum(), (bases, mixing)),
        torch.autograd.grad(plain.square().sum(), (bases, mixing)),
        strict=True,
    ):
        assert torch.allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 12, 33, 60])  # the last one is left to fused attention
def test_attention_among_steps_is_a_softmax_over_what_was_observed(steps):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 3, steps, 3, 2, 5, generator=generator, dtype=torch.float64)
    seen = torch.rand(2, 3, steps, generator=generator) > 0.3
    tokens.requires_grad_()
    query, key, value = tokens.unbind(3)
    score = torch.einsum("bnthd,bnshd->bnhts", query, key) / math.sqrt(5)
    closed = ~(seen[:, :, None, None] | torch.eye(steps, dtype=torch.bool))
    weight = score.masked_fill(closed, -torch.inf).softmax(-1)
    want = torch.einsum("bnhts,bnshd->bnthd", weight, value)
    got = attend_to_steps(tokens, observed=seen)
    assert torch.allclose(got, want, rtol=0, atol=1e-13)
    of_got, of_want = (torch.autograd.grad(each.square().sum(), tokens)[0] for each in (got, want))
    assert torch.allclose(of_got, of_want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("screening", ["exact", "blocks"])
def test_several_threads_compute_what_one_does(screening):
    model = small_model(small_config(model={"screening": screening})).eval()
    batch = random_batch(windows=2)  # fewer than threads
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            forecast = model(batch)[0]
            parameters = [each for each in model.parameters() if each.requires_grad]
            gradients = torch.autograd.grad(forecast.square().sum(), parameters, allow_unused=True)
        finally:
            torch.set_num_threads(1)
        results.append([forecast, *(each for each in gradients if each is not None)])
    for alone, together in zip(*results, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
