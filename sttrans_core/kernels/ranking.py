"""The best sources of every row of scores."""

import numpy as np
from numba import prange

from sttrans_core.kernels.compiling import compiled
from sttrans_core.kernels.vectors import count_above, larger, largest, load, pick, store

__all__ = ["keep_best"]

_SIDE_BY_SIDE = (0,) * 16  # numbers that are looked at at once
_HALVINGS = 12


@compiled()
def _count_above(value, count, limit):
    number = 0
    for begin in range(0, count, len(_SIDE_BY_SIDE)):
        number += count_above(load(value, (begin,), _SIDE_BY_SIDE), limit)
    return number


@compiled()
def _sort_best(value, place, count, spot, best, chosen):
    """Sort the best of some values into `best`, descending, and say how many there are.

    Values are compared side by side and counted: to compare and swap them one by one would keep the
    processor guessing.
    """
    together, topk = len(_SIDE_BY_SIDE), len(best)
    value[count : count + together] = -np.inf
    if count > 2 * topk:  # halve what lies between the limits until few are left
        low, high = value[:count].min(), value[:count].max()
        for _ in range(_HALVINGS):
            middle = low / 2 + high / 2
            above = _count_above(value, count, middle)
            if above < topk:
                high = middle
            else:
                low = middle
                if above <= 2 * topk:
                    break
        left = 0
        for begin in range(0, count, together):
            left += pick(load(value, (begin,), _SIDE_BY_SIDE), low, begin, value, spot, left)
        count = left
        for i in range(count):
            place[i] = place[spot[i]]
        value[count : count + together] = -np.inf
    chosen[:] = -1
    for i in range(count):
        rank = _count_above(value, count, value[i])
        while rank < topk and chosen[rank] >= 0:  # an equal one came first
            rank += 1
        if rank < topk:
            best[rank], chosen[rank] = value[i], place[i]
    return min(count, topk)


@compiled()
def _scores(score, missing, bias, panel, row, at, pair, piece):
    several = load(score, (panel, row, at), piece) + load(missing, (panel, at), piece)
    return several + load(bias, (panel, row, pair), piece)


@compiled()
def _keep_best(
    first, end, score, missing, bias, relation, nodes, history, piece, source, source_relation
):
    # Of score (P, R, C*T), missing (P, C*T), bias (P, R, relations*T), relation (P, Q, C),
    # nodes (P, C), source and source_relation (P, Q, S, K); R = Q*S.
    num_segments, topk = source.shape[2:]
    num_candidates, rest = nodes.shape[1], history - len(piece)
    is_shared = len(relation) == 1
    together = len(_SIDE_BY_SIDE)
    top = np.full(num_candidates + together, -np.inf, score.dtype)
    lane, best = np.empty(topk, score.dtype), np.empty(topk, score.dtype)
    closed = top[0]
    lane[0] = np.finfo(score.dtype).min
    lowest = lane[0]  # of what is not closed
    of_step = np.full((history - 1) // together * together + together, closed, score.dtype)
    value = np.empty(max(num_candidates, topk * history) + 2 * together, score.dtype)
    place, spot = np.empty(len(value), np.int32), np.empty(len(value), np.int32)
    chosen = np.empty(topk, np.int32)
    for item in range(first, end):
        panel, row = item // score.shape[1], item % score.shape[1]
        target, segment = row // num_segments, row % num_segments
        shared = 0 if is_shared else panel
        # The best step of every candidate; class 0 is the target itself, no source.
        for candidate in range(num_candidates):
            at = candidate * history
            pair = np.int64(relation[shared, target, candidate]) * history
            several = _scores(score, missing, bias, panel, row, at + rest, pair + rest, piece)
            for begin in range(0, rest, len(piece)):  # pieces may overlap
                each = _scores(score, missing, bias, panel, row, at + begin, pair + begin, piece)
                several = larger(several, each)
            top[candidate] = largest(several) if pair > 0 else closed
        # Candidates dealt out into K lanes: the K-th best step of any is no worse than the worst of
        # the lanes' best. What lies below need not be looked at.
        limit = lowest
        if num_candidates >= 2 * topk:
            lane[:] = top[:topk]
            for begin in range(topk, num_candidates - num_candidates % topk, topk):
                for i in range(topk):
                    lane[i] = max(lane[i], top[begin + i])
            limit = max(lowest, lane.min())
        count = 0
        for begin in range(0, num_candidates, together):
            several = load(top, (begin,), _SIDE_BY_SIDE)
            count += pick(several, limit, begin, value, place, count)
        # More than K candidates are not needed, and the K-th of their best steps is the last limit.
        found = _sort_best(value, place, count, spot, best, chosen)
        limit = best[topk - 1] if found == topk else lowest
        count = 0
        for i in range(found):
            at = chosen[i] * history
            pair = np.int64(relation[shared, target, chosen[i]]) * history
            for begin in range(0, rest, len(piece)):
                each = _scores(score, missing, bias, panel, row, at + begin, pair + begin, piece)
                store(of_step, (begin,), each)
            each = _scores(score, missing, bias, panel, row, at + rest, pair + rest, piece)
            store(of_step, (rest,), each)
            for begin in range(0, history, together):
                several = load(of_step, (begin,), _SIDE_BY_SIDE)
                count += pick(several, limit, at + begin, value, place, count)
        found = _sort_best(value, place, count, spot, best, chosen)
        for i in range(topk):
            if i < found:
                candidate, step = chosen[i] // history, chosen[i] % history
                source[panel, target, segment, i] = (
                    nodes[panel if len(nodes) > 1 else 0, candidate] * history + step
                )
                source_relation[panel, target, segment, i] = relation[shared, target, candidate]
            else:
                source[panel, target, segment, i] = -1
                source_relation[panel, target, segment, i] = 0


@compiled(parallel=True)
def keep_best(
    parts, count, score, missing, bias, relation, nodes, history, piece, source, source_relation
) -> None:
    """Keep the best sources of each row of scores, in descending order; -1 fills up."""
    for part in prange(parts):
        _keep_best(
            count * part // parts, count * (part + 1) // parts,
            score, missing, bias, relation, nodes, history, piece, source, source_relation,
        )  # fmt: skip
