"""The best sources of every query: scores are ranked while they are still near the core."""

import numpy as np
from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import (
    TILE,
    count_above,
    larger,
    largest,
    load,
    multiply,
    pick,
    store,
)

__all__ = ["keep_best"]

_SIDE_BY_SIDE = (0,) * 16  # numbers that are looked at at once
_HALVINGS = 12
_ROWS, _COLUMNS = TILE
_NEAR = 1024  # columns of keys that stay near a core while several rows meet them
_MANY, _MORE_ROWS = 4096, 32  # from so many columns on, so many rows meet them in turn


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
        low, high = value[0], value[0]
        for i in range(1, count):
            low, high = min(low, value[i]), max(high, value[i])
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
    for i in range(topk):
        chosen[i] = -1
    for i in range(count):
        rank = _count_above(value, count, value[i])
        while rank < topk and chosen[rank] >= 0:  # an equal one came first
            rank += 1
        if rank < topk:
            best[rank], chosen[rank] = value[i], place[i]
    return min(count, topk)


@compiled()
def _multiply(left, right, start, result):
    """Write `start + left @ right`, whose rows and columns are whole tiles."""
    rows, columns = result.shape
    for near in range(0, columns, _NEAR):
        for row in range(0, rows, _ROWS):
            for column in range(near, min(near + _NEAR, columns), _COLUMNS):
                multiply(left, right, start, result, (row, column))


@compiled()
def _gather_sources(key, observed, b, nodes, panel, group, across, missing):
    """Turn the keys of candidates, (N, T, D), to rows of a channel, (D, C*T); what is missing."""
    history, dims = key.shape[2:]
    for candidate in range(nodes.shape[2]):
        node, at = nodes[panel, group, candidate], candidate * history
        for channel in range(dims):
            for step in range(history):
                across[channel, at + step] = key[b, node, step, channel] if node >= 0 else 0
        for step in range(history):
            seen = node >= 0 and observed[b, node, step]
            missing[at + step] = 0 if seen else -np.inf


@compiled()
def _gather_query(query, coefficient, b, q, segment, asked, relative, row):
    for channel in range(asked.shape[1]):
        asked[row, channel] = query[b, q, segment, channel]
    for channel in range(relative.shape[1]):
        relative[row, channel] = 0
    for head in range(coefficient.shape[3]):
        for channel in range(relative.shape[1]):
            relative[row, channel] += coefficient[b, q, segment, head, channel]


@compiled()
def _scores(score, bias, row, at, pair, piece):
    return load(score, (row, at), piece) + load(bias, (row, pair), piece)


@compiled()
def _find_best_steps(score, bias, row, relation, panel, group, target, history, piece, top):
    """Give the score of the best step of every candidate."""
    rest = history - len(piece)
    for candidate in range(relation.shape[3]):
        at = candidate * history
        pair = np.int64(relation[panel, group, target, candidate]) * history
        several = _scores(score, bias, row, at + rest, pair + rest, piece)
        for begin in range(0, rest, len(piece)):  # pieces may overlap
            each = _scores(score, bias, row, at + begin, pair + begin, piece)
            several = larger(several, each)
        top[candidate] = largest(several)


@compiled()
def _pick_candidates(top, count, lowest, lane, value, place):
    """Pick those of `count` candidates whose best step may be among the K best of all.

    Dealt out into K lanes: the K-th best step of any is no worse than the worst of the lanes' best.
    What lies below need not be looked at.
    """
    topk, limit = len(lane), lowest
    if count >= 2 * topk:
        for i in range(topk):
            lane[i] = top[i]
        for begin in range(topk, count - count % topk, topk):
            for i in range(topk):
                lane[i] = max(lane[i], top[begin + i])
        limit = lane[0]
        for i in range(1, topk):
            limit = min(limit, lane[i])
        limit = max(lowest, limit)
    picked = 0
    for begin in range(0, count, len(_SIDE_BY_SIDE)):
        several = load(top, (begin,), _SIDE_BY_SIDE)
        picked += pick(several, limit, begin, value, place, picked)
    return picked


@compiled()
def _pick_steps(
    score, bias, row, relation, panel, group, target, history, piece, candidates, found, limit,
    of_step, value, place,
):  # fmt: skip
    """Pick all steps of some candidates that are no worse than a limit."""
    rest, picked = history - len(piece), 0
    for i in range(found):
        candidate = candidates[i]
        at = candidate * history
        pair = np.int64(relation[panel, group, target, candidate]) * history
        for begin in range(0, rest, len(piece)):
            each = _scores(score, bias, row, at + begin, pair + begin, piece)
            store(of_step, (begin,), each)
        each = _scores(score, bias, row, at + rest, pair + rest, piece)
        store(of_step, (rest,), each)
        for begin in range(0, history, len(_SIDE_BY_SIDE)):
            several = load(of_step, (begin,), _SIDE_BY_SIDE)
            picked += pick(several, limit, at + begin, value, place, picked)
    return picked


@compiled()
def _keep_best(
    first, end, pieces, query, key, observed, coefficient, feature, closed, members, nodes,
    relation, piece, source, source_relation,
):  # fmt: skip
    # query: (B, Q, S, D), key: (B, N, T, D), observed: (B, N, T), coefficient: (B, Q, S, H, r),
    # feature: (r, relations*T) and closed: (relations*T), made up to whole tiles,
    # members: (G, g), nodes: (1|B, G, C), relation: (1|B, G, g, C), source and source_relation:
    # (B, Q, S, K). An item is a piece of a group's rows, which are its members' segments.
    num_segments, dims = query.shape[2:]
    topk, history = source.shape[3], key.shape[2]
    num_groups, num_members = members.shape
    num_candidates, together = nodes.shape[2], len(_SIDE_BY_SIDE)
    columns = (num_candidates * history + _COLUMNS - 1) // _COLUMNS * _COLUMNS
    num_rows = num_members * num_segments
    block = _MORE_ROWS if columns > _MANY else _ROWS
    across, missing = np.zeros((dims, columns), key.dtype), np.zeros(columns, key.dtype)
    asked = np.zeros((block, dims), key.dtype)
    relative = np.zeros((block, coefficient.shape[4]), key.dtype)
    score = np.empty((block, columns), key.dtype)
    bias = np.empty((block, feature.shape[1]), key.dtype)
    top = np.full(num_candidates + together, -np.inf, key.dtype)
    of_step = np.full((history - 1) // together * together + together, -np.inf, key.dtype)
    lane, best = np.empty(topk, key.dtype), np.empty(topk, key.dtype)
    lane[0] = np.finfo(key.dtype).min
    lowest = lane[0]  # of what is not closed
    value = np.empty(max(num_candidates, topk * history) + 2 * together, key.dtype)
    place, spot = np.empty(len(value), np.int32), np.empty(len(value), np.int32)
    chosen, gathered = np.empty(topk, np.int32), -1
    for item in range(first, end):
        b, group = item // pieces // num_groups, item // pieces % num_groups
        panel = 0 if len(nodes) == 1 else b
        if item // pieces != gathered:
            gathered = item // pieces
            _gather_sources(key, observed, b, nodes, panel, group, across, missing)
        last_row = num_rows * (item % pieces + 1) // pieces
        for first_row in range(num_rows * (item % pieces) // pieces, last_row, block):
            for i in range(min(block, last_row - first_row)):
                target, segment = (first_row + i) // num_segments, (first_row + i) % num_segments
                if members[group, target] >= 0:
                    q = members[group, target]
                    _gather_query(query, coefficient, b, q, segment, asked, relative, i)
            _multiply(asked, across, missing, score)
            _multiply(relative, feature, closed, bias)
            for i in range(min(block, last_row - first_row)):
                target, segment = (first_row + i) // num_segments, (first_row + i) % num_segments
                q = members[group, target]
                if q < 0:
                    continue
                _find_best_steps(
                    score, bias, i, relation, panel, group, target, history, piece, top
                )
                count = _pick_candidates(top, num_candidates, lowest, lane, value, place)
                # More than K candidates are not needed, and the K-th of their best steps is the
                # last limit.
                found = _sort_best(value, place, count, spot, best, chosen)
                count = _pick_steps(
                    score, bias, i, relation, panel, group, target, history, piece, chosen, found,
                    best[topk - 1] if found == topk else lowest, of_step, value, place,
                )  # fmt: skip
                found = _sort_best(value, place, count, spot, best, chosen)
                for j in range(topk):
                    source[b, q, segment, j], source_relation[b, q, segment, j] = -1, 0
                for j in range(found):
                    candidate, step = chosen[j] // history, chosen[j] % history
                    node = nodes[panel, group, candidate]
                    source[b, q, segment, j] = node * history + step
                    kind = relation[panel, group, target, candidate]
                    source_relation[b, q, segment, j] = kind


@compiled(parallel=True)
def _keep_best_in_threads(
    parts, count, pieces, query, key, observed, coefficient, feature, closed, members, nodes,
    relation, piece, source, source_relation,
):  # fmt: skip
    for part in prange(parts):
        _keep_best(
            count * part // parts, count * (part + 1) // parts, pieces, query, key, observed,
            coefficient, feature, closed, members, nodes, relation, piece, source, source_relation,
        )  # fmt: skip


keep_best = Kernel(_keep_best, _keep_best_in_threads)
"""Keep the best sources of every query, in descending order; -1 fills up."""
