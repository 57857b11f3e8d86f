"""Which sources are kept: all candidates are scored, panel by panel, and the best remembered.

Scores summed over heads, whose order is that of their mean, are one product over the full width.
They fill a small tile that is written over by the next panel, so memory does not grow with targets
times sources.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from sttrans_core.alignment.inputs import Candidates, Inputs, relations, relations_of_groups

__all__ = ["Kept", "keep_best"]

_SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}  # 4 MB stay near a core
_PAIRS_AT_ONCE = 1 << 22  # whose classes are found at once, 8 MB


class Kept(NamedTuple):
    """The kept sources of every query, best first by the score averaged over heads.

    Args:
        source: `node * history + step`, -1 fills up.
        relation: Relation class of target and source.
    """

    source: Int[Tensor, "batch query segment topk"]
    relation: Int[Tensor, "batch query segment topk"]


class _Panel(NamedTuple):
    """Rows of queries and the candidates that they share."""

    score: Tensor  # (P, R*S, C*T), -inf where a source was not observed
    bias: Tensor  # (P, R*S, relations*T), -inf where there is no source
    relation: Tensor  # (1|P, R, C)
    nodes: Tensor  # (1|P, C)
    windows: slice | int  # where the results belong
    rows: Tensor | slice


@torch.no_grad()  # the selection is discrete; the gradient flows through the scores
def keep_best(inputs: Inputs, candidates: Candidates, *, compiled: bool) -> Kept:
    """Keep the Top-k of the candidates by the score averaged over heads.

    Args:
        inputs: Queries and sources.
        candidates: From `find_candidates`.
        compiled: Use the compiled loops.

    Returns:
        By index, so ties never admit more; fewer only where there are fewer candidates.
    """
    batch, queries, segments = inputs.query.shape[:3]
    history = inputs.key.shape[2]
    count = min(candidates.nodes.shape[2], inputs.key.shape[1] - 1) * history
    topk = count if inputs.selection.topk is None else min(inputs.selection.topk, count)
    empty = inputs.query_nodes.new_empty(batch, queries, segments, topk, dtype=torch.int32)
    kept = Kept(empty, torch.empty_like(empty, dtype=torch.int16))
    if compiled:
        _keep_in_loops(inputs, candidates, kept)
        return kept
    for panel in _panels(inputs, candidates):
        found = _topk(panel, segments, history, topk)
        for each, part in zip(kept, found, strict=True):
            if isinstance(panel.rows, slice):
                each[panel.windows, panel.rows] = part
            elif isinstance(panel.windows, slice):  # all groups of all windows
                order = panel.rows.flatten().argsort()[-queries:]  # fillers come first
                parts = part.unflatten(0, (-1, len(panel.rows))).flatten(1, 2)  # (B, G*g, S, K)
                each[panel.windows] = parts.index_select(1, order)
            else:
                filled = panel.rows >= 0
                each[panel.windows, panel.rows[filled]] = part[filled].to(each.dtype)
    return kept


def _keep_in_loops(inputs: Inputs, candidates: Candidates, kept: Kept) -> None:
    """Fill in what is kept: scores are computed and ranked by one compiled loop."""
    from sttrans_core.kernels import ranking
    from sttrans_core.kernels.compiling import lengths, run
    from sttrans_core.kernels.vectors import TILE

    query, key = inputs.query.flatten(3).contiguous(), inputs.key.flatten(3).contiguous()
    features, closed = _features(inputs)
    more = -len(closed) % TILE[1]
    tables = (F.pad(features.T.contiguous(), (0, more)), F.pad(closed, (0, more)))
    # Twelve steps fit no register, but two pieces of eight that overlap do.
    piece = lengths(min(16, 1 << max(0, (key.shape[2] - 1).bit_length() - 1)))
    of_windows = (query, key, inputs.observed.contiguous(), inputs.coefficients.contiguous())
    threads = torch.get_num_threads()
    for windows, rows, nodes, relation in _parts(inputs, candidates):
        each = [of[windows] for of in of_windows]
        items = len(each[0]) * len(rows)
        pieces = 1 if items >= 8 * threads else threads // math.gcd(items, threads)
        run(
            ranking.keep_best, items * pieces, pieces, *each, *tables,
            rows, nodes, relation, *piece, *(of[windows] for of in kept),
        )  # fmt: skip


def _parts(inputs: Inputs, candidates: Candidates) -> Iterator[tuple]:
    """Give windows, rows of queries in groups (G, g), their candidate nodes and the pairs' classes.

    Not all at once, so that memory does not grow with targets times sources.
    """
    rows, nodes = candidates.rows, candidates.nodes
    if inputs.selection.screening == "exact":
        for some in rows.split(max(1, _PAIRS_AT_ONCE // nodes.shape[2]), dim=1):
            relation = relations(inputs, inputs.query_nodes[some][..., None], nodes[0, :, None])
            yield slice(None), some.contiguous(), nodes, relation[None]
        return
    for window, found in enumerate(nodes):
        relation = relations_of_groups(
            inputs, rows.clamp_min(0), found, candidates.nearby, compiled=True
        )
        yield slice(window, window + 1), rows, found[None], relation[None]


def _features(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Give the features of every relation class and step, and -inf where there is no source.

    Where the window is closed, they come a second time for the nodes in it.
    """
    classes, history = inputs.features.shape[:2]
    closed = inputs.features.new_zeros(classes, history)
    closed[0] = -torch.inf  # the target itself, and what fills up
    features = inputs.features.flatten(0, 1)  # (relations*T, R)
    if inputs.selection.window == "local":
        return features, closed.flatten()
    newest = torch.arange(history, device=closed.device) >= (
        history - inputs.selection.window_steps
    )
    closed = torch.cat([closed, closed.masked_fill(newest, -torch.inf)])
    return features.repeat(2, 1), closed.flatten()


def _panels(inputs: Inputs, candidates: Candidates) -> Iterator[_Panel]:
    """Score rows of queries against their candidates, a tile at a time."""
    query, key = inputs.query.flatten(3), inputs.key.flatten(3)  # (B, N, T, D)
    coefficients = inputs.coefficients.sum(3)  # (B, Q, S, R)
    unseen = key.new_zeros(inputs.observed.shape).masked_fill_(~inputs.observed, -torch.inf)
    features, closed = _features(inputs)
    is_exact = inputs.selection.screening == "exact"
    parts = _exact_parts if is_exact else _block_parts
    for windows, rows, q, c, k, missing, relation, nodes in parts(
        inputs, candidates, query, coefficients, key, unseen
    ):
        score = q.flatten(1, 2) @ k.flatten(1, 2).mT  # (P, R*S, C*T)
        score = score + missing.flatten(1)[:, None]
        bias = c.flatten(1, 2) @ features.T + closed  # (P, R*S, relations*T)
        yield _Panel(score, bias, relation, nodes, windows, rows)


def _exact_parts(inputs, candidates, query, coefficients, key, unseen) -> Iterator[tuple]:
    """Panels of some windows and targets: every node is a candidate."""
    nodes = candidates.nodes[0]  # (1, N)
    if torch.compiler.is_compiling():  # a traced program has no loops
        everyone = slice(None)
        relation = relations(inputs, inputs.query_nodes[None, :, None], nodes[:, None])
        yield everyone, everyone, query, coefficients, key, unseen, relation, nodes
        return
    batch, queries, segments = query.shape[:3]
    of_row = key.shape[1] * key.shape[2] * segments
    at_once = _scores_at_once(inputs)
    num_rows = max(1, min(queries, at_once // of_row))
    num_windows = max(1, at_once // (of_row * queries))
    for first in range(0, queries, num_rows):
        rows = slice(first, first + num_rows)
        relation = relations(inputs, inputs.query_nodes[None, rows, None], nodes[:, None])
        for window in range(0, batch, num_windows):
            some = slice(window, window + num_windows)
            q, c = query[some, rows], coefficients[some, rows]
            yield some, rows, q, c, key[some], unseen[some], relation, nodes


def _block_parts(inputs, candidates, query, coefficients, key, unseen) -> Iterator[tuple]:
    """Panels of one window's groups, or traced of all, with candidates that each group shares."""
    groups, members = candidates.rows.shape
    if torch.compiler.is_compiling():  # a traced program has no loops
        yield _all_groups(inputs, candidates, query, coefficients, key, unseen)
        return
    of_group = candidates.nodes.shape[2] * key.shape[2] * members * query.shape[2]
    num_groups = max(1, min(groups, _scores_at_once(inputs) // of_group))
    each = candidates.rows.clamp_min(0)
    for window in range(len(query)):
        nodes = candidates.nodes[window]  # (G, C)
        relation = relations_of_groups(
            inputs, each, nodes, candidates.nearby, compiled=False
        )  # (G, g, C)
        nodes_or_first = nodes.clamp_min(0)
        for first in range(0, groups, num_groups):
            some = slice(first, first + num_groups)
            q, c = _rows(query[window], each[some]), _rows(coefficients[window], each[some])
            k, missing = (_rows(of[window], nodes_or_first[some]) for of in (key, unseen))
            rows = candidates.rows[some]
            yield window, rows, q, c, k, missing, relation[some], nodes[some]


def _all_groups(inputs, candidates, query, coefficients, key, unseen) -> tuple:
    """Give one panel with the groups of all windows."""
    nodes, each = candidates.nodes, candidates.rows.clamp_min(0)  # (B, G, C), (G, g)
    relation = relations(inputs, inputs.query_nodes[each][..., None], nodes[:, :, None])
    q, c = query[:, each].flatten(0, 1), coefficients[:, each].flatten(0, 1)
    first = torch.arange(key.shape[0], device=key.device)[:, None, None] * key.shape[1]
    at = (nodes.clamp_min(0) + first).flatten(0, 1)
    k, missing = (_rows(of.flatten(0, 1), at) for of in (key, unseen))  # (B*G, C, T, D)
    relation, nodes = relation.flatten(0, 1), nodes.flatten(0, 1)
    return slice(None), candidates.rows, q, c, k, missing, relation, nodes


def _scores_at_once(inputs: Inputs) -> int:
    """Say how many scores a tile holds."""
    return _SCORES_AT_ONCE.get(inputs.query.device.type, 1 << 26)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Gather rows; faster than indexing."""
    rows = values.flatten(1).index_select(0, index.flatten())
    return rows.view(*index.shape, *values.shape[1:])


def _topk(panel: _Panel, segments: int, history: int, topk: int) -> tuple[Tensor, Tensor]:
    score = panel.score.unflatten(1, (-1, segments)).unflatten(3, (-1, history))
    bias = panel.bias.unflatten(1, (-1, segments)).unflatten(3, (-1, history))
    classes = panel.relation.long()[:, :, None]  # (1|P, R, 1, C)
    relation = classes[..., None].expand_as(score)  # (P, R, S, C, T)
    best = (score + bias.gather(3, relation)).flatten(3).topk(topk)
    candidate, step = best.indices // history, best.indices % history  # (P, R, S, K)
    nodes = panel.nodes[:, None, None].expand(*candidate.shape[:3], -1)
    is_source = ~best.values.isneginf()
    source = torch.where(is_source, nodes.gather(3, candidate) * history + step, -1)
    classes = classes.expand(*candidate.shape[:3], -1).gather(3, candidate)
    return source, torch.where(is_source, classes, 0)
