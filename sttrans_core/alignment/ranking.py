"""Which sources are kept: all candidates are scored, panel by panel, and the best remembered.

Scores averaged over heads are one product over the full width. They fill a small tile that is
written over by the next panel, so memory does not grow with targets times sources.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from sttrans_core.alignment.inputs import Candidates, Inputs, relations

__all__ = ["Kept", "keep_best"]

_SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}  # 4 MB stay near a core


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
    bias: Tensor  # (P, R*S, relations*T)
    relation: Tensor  # (1|P, R, C)
    nodes: Tensor  # (1|P, C)
    windows: slice  # where the results belong
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
    empty = torch.zeros(batch, queries, segments, topk, device=inputs.query.device)
    kept = Kept(empty.to(torch.int32), empty.to(torch.int16))
    for panel in _panels(inputs, candidates):
        size = (len(panel.score), panel.relation.shape[1], segments)
        if compiled:
            from sttrans_core import loops  # Numba takes half a second to import
            from sttrans_core.alignment import kernels

            found = [each.new_empty(*size, topk) for each in kept]
            steps = loops.lengths(history)
            loops.run(kernels.keep_best, size[0] * size[1] * size[2], *panel[:4], *steps, *found)
        else:
            found = _topk(panel, segments, history, topk)
        for each, part in zip(kept, found, strict=True):
            if isinstance(panel.rows, slice):
                each[panel.windows, panel.rows] = part
            else:
                filled = panel.rows >= 0
                each[panel.windows, panel.rows[filled]] = part[filled].to(each.dtype)
    return kept


def _panels(inputs: Inputs, candidates: Candidates) -> Iterator[_Panel]:
    heads = inputs.key.shape[3]
    # One more channel, 1 in the query, closes what was not observed.
    query = F.pad(inputs.query.flatten(3) / heads, (0, 1), value=1.0)  # (B, Q, S, D + 1)
    coefficients = inputs.coefficients.sum(3) / heads  # (B, Q, S, R)
    features = inputs.features.flatten(0, 1)  # (relations*T, R)
    key = F.pad(inputs.key.flatten(3), (0, 1))  # (B, N, T, D + 1)
    key[..., -1].masked_fill_(~inputs.observed, -torch.inf)
    is_exact, relation = inputs.selection.screening == "exact", None
    for windows, rows in _parts(inputs, candidates):
        if is_exact:
            q, c = query[windows, rows].flatten(1, 2), coefficients[windows, rows].flatten(1, 2)
            k = key[windows].flatten(1, 2)  # (P, C*T, D + 1)
            nodes = candidates.nodes[0]
            if windows.start == 0:  # the same for all windows
                targets = inputs.query_nodes[None, rows, None]
                relation = relations(inputs, targets, nodes[:, None])  # (1, R, C)
        else:
            b, members = windows.start, candidates.rows[rows]
            nodes = candidates.nodes[min(b, len(candidates.nodes) - 1), rows]  # (P, C)
            each = members.clamp_min(0)
            known = nodes.clamp_min(0)
            q, c = _rows(query[b], each).flatten(1, 2), _rows(coefficients[b], each).flatten(1, 2)
            k = _rows(key[b], known).flatten(1, 2)
            relation = relations(inputs, inputs.query_nodes[each][..., None], nodes[:, None])
            rows = members
        yield _Panel(q @ k.mT, _biases(inputs, c, features), relation, nodes, windows, rows)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Gather rows; faster than indexing."""
    rows = values.flatten(1).index_select(0, index.flatten())
    return rows.view(*index.shape, *values.shape[1:])


def _biases(inputs: Inputs, coefficients: Tensor, features: Tensor) -> Tensor:
    """Score every relation class and step; where the window is closed, once more without it."""
    bias = coefficients @ features.T
    if inputs.selection.window == "local":
        return bias
    history = inputs.key.shape[2]
    steps = torch.arange(history, device=bias.device).repeat(len(inputs.features))
    is_local = steps >= history - inputs.selection.window_steps
    return torch.cat([bias, bias.masked_fill(is_local, -torch.inf)], dim=-1)


def _parts(inputs: Inputs, candidates: Candidates) -> Iterator[tuple[slice, slice]]:
    """Cut windows and queries (or groups of them) so that a tile of scores stays small."""
    batch, queries, segments = inputs.query.shape[:3]
    of_row = candidates.nodes.shape[2] * inputs.key.shape[2] * segments
    at_once = _SCORES_AT_ONCE.get(inputs.query.device.type, 1 << 26)
    if torch.compiler.is_compiling():  # a traced program has no loop
        at_once = batch * queries * of_row
    if inputs.selection.screening == "exact":
        rows = max(1, min(queries, at_once // of_row))
        windows = max(1, at_once // (of_row * queries))
    else:
        queries = len(candidates.rows)
        rows = max(1, min(queries, at_once // (of_row * candidates.rows.shape[1])))
        windows = 1
    for row in range(0, queries, rows):
        for window in range(0, batch, windows):
            yield (
                slice(window, min(batch, window + windows)),
                slice(row, min(queries, row + rows)),
            )


def _topk(panel: _Panel, segments: int, history: int, topk: int) -> tuple[Tensor, Tensor]:
    score = panel.score.unflatten(1, (-1, segments)).unflatten(3, (-1, history))
    bias = panel.bias.unflatten(1, (-1, segments)).unflatten(3, (-1, history))
    relation = panel.relation.long()[:, :, None, :, None].expand_as(score)  # (P, R, S, C, T)
    score = score + bias.gather(3, relation)
    best = score.masked_fill(relation == 0, -torch.inf).flatten(3).topk(topk)
    candidate, step = best.indices // history, best.indices % history  # (P, R, S, K)
    nodes = panel.nodes[:, None, None].expand(*candidate.shape[:3], -1)
    is_source = ~best.values.isneginf()
    source = torch.where(is_source, nodes.gather(3, candidate) * history + step, -1)
    classes = panel.relation[:, :, None].expand(*candidate.shape[:3], -1).gather(3, candidate)
    return source, torch.where(is_source, classes, 0)
