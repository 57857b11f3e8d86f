"""The loops of the alignment: the best sources are kept, attention over them, and its way back."""

import numpy as np
from numba import prange

from sttrans_core.loops import compiled

__all__ = ["attend", "attend_back", "keep_best"]

_NEAR = 32  # queries whose sources stay in the cache while heads take their turns


@compiled()
def _sort_best(value, where, count, best, chosen):
    """Sort the best of some values into `best`, descending, and say how many there are."""
    found = 0
    for place in range(count):
        if found < len(best):
            to = found
            found += 1
        elif value[place] > best[found - 1]:
            to = found - 1
        else:
            continue
        while to > 0 and best[to - 1] < value[place]:
            best[to], chosen[to] = best[to - 1], chosen[to - 1]
            to -= 1
        best[to], chosen[to] = value[place], where[place]
    return found


@compiled()
def _keep_best(first, end, score, bias, relation, nodes, steps, source, source_relation):
    # score (P, R, C*T), bias (P, R, relations*T), relation (P, Q, C), nodes (P, C), source and
    # source_relation (P, Q, S, K); R = Q*S.
    num_segments, topk = source.shape[2:]
    num_candidates, history = nodes.shape[1], len(steps)
    is_shared = len(relation) == 1
    top = np.empty(num_candidates, score.dtype)
    top[0] = -np.inf
    lowest = top[0]  # of the type of the scores
    lane, best = np.empty(topk, score.dtype), np.empty(topk, score.dtype)
    value = np.empty(num_candidates * history + 1, score.dtype)
    where = np.empty(num_candidates * history + 1, np.int64)
    chosen = np.empty(topk, np.int64)
    for item in range(first, end):
        panel, row = item // score.shape[1], item % score.shape[1]
        target, segment = row // num_segments, row % num_segments
        shared = 0 if is_shared else panel
        # The best step of every candidate; class 0 is the target itself, no source.
        for candidate in range(num_candidates):
            at = candidate * history
            pair = np.int64(relation[shared, target, candidate]) * history
            highest = score[panel, row, at] + bias[panel, row, pair]
            for step in range(1, len(steps)):
                highest = max(highest, score[panel, row, at + step] + bias[panel, row, pair + step])
            top[candidate] = highest if pair > 0 else lowest
        # Candidates dealt out into K lanes: the K-th best step of any is no worse than the worst of
        # the lanes' best. What lies below need not be looked at. Loops that pick are written
        # without branches, which the processor would guess wrong.
        limit = lowest
        if num_candidates >= 2 * topk:
            for place in range(topk):
                lane[place] = top[place]
            for begin in range(topk, num_candidates - num_candidates % topk, topk):
                for place in range(topk):
                    lane[place] = max(lane[place], top[begin + place])
            limit = lane[0]
            for place in range(1, topk):
                limit = min(limit, lane[place])
        count = 0
        for candidate in range(num_candidates):
            value[count], where[count] = top[candidate], candidate
            count += (top[candidate] >= limit) & (top[candidate] > lowest)
        # More than K candidates are not needed, and the K-th of their best steps is the last limit.
        found = _sort_best(value, where, count, best, chosen)
        limit = best[topk - 1] if found == topk else lowest
        count = 0
        for place in range(found):
            at = chosen[place] * history
            pair = np.int64(relation[shared, target, chosen[place]]) * history
            for step in range(len(steps)):
                each = score[panel, row, at + step] + bias[panel, row, pair + step]
                value[count], where[count] = each, at + step
                count += (each >= limit) & (each > lowest)
        found = _sort_best(value, where, count, best, chosen)
        for place in range(topk):
            if place < found:
                candidate, step = chosen[place] // history, chosen[place] % history
                source[panel, target, segment, place] = (
                    nodes[panel if len(nodes) > 1 else 0, candidate] * history + step
                )
                source_relation[panel, target, segment, place] = relation[shared, target, candidate]
            else:
                source[panel, target, segment, place] = -1
                source_relation[panel, target, segment, place] = 0


@compiled()
def _attend(
    first, end, dims, relation_dims, value_dims, steps, order, query, key, value, coefficient,
    feature, source, relation, weight, output,
):  # fmt: skip
    # order: (Q), near queries read the same sources; query: (B, Q, S, H, d), key: (B, N*T, H, d),
    # value: (B, N*T, H, v), coefficient: (B, Q, S, H, r), feature: (relations*T, r), source and
    # relation: (B, Q, S, K), weight: (B, Q, S, H, K).
    num_queries, num_segments, num_heads = query.shape[1:4]
    topk, history = source.shape[3], len(steps)
    score, row = np.zeros(topk, query.dtype), np.empty(topk, np.int64)
    zero = score[0]  # of the type of the scores
    for item in range(first, end):
        b, q = item // num_queries, order[item % num_queries]
        for s in range(num_segments):
            found = 0
            while found < topk and source[b, q, s, found] >= 0:
                step = source[b, q, s, found] % history
                row[found] = np.int64(relation[b, q, s, found]) * history + step
                found += 1
            for h in range(num_heads):
                total = zero
                for place in range(found):
                    j, pair, product, bias = source[b, q, s, place], row[place], zero, zero
                    for i in range(len(dims)):
                        product += query[b, q, s, h, i] * key[b, j, h, i]
                    for i in range(len(relation_dims)):
                        bias += coefficient[b, q, s, h, i] * feature[pair, i]
                    score[place] = product + bias
                highest = score[0]
                for place in range(1, found):
                    highest = max(highest, score[place])
                for place in range(found):
                    score[place] = np.exp(score[place] - highest)
                    total += score[place]
                for i in range(len(value_dims)):
                    output[b, q, s, h, i] = 0
                for place in range(found):
                    j, share = source[b, q, s, place], score[place] / total
                    weight[b, q, s, h, place] = share
                    for i in range(len(value_dims)):
                        output[b, q, s, h, i] += share * value[b, j, h, i]
                for place in range(found, topk):
                    weight[b, q, s, h, place] = 0


@compiled()
def _attend_back(
    first, end, part, dims, relation_dims, value_dims, steps, order, gradient, query, key, value,
    coefficient, feature, source, relation, weight, of_query, of_key, of_value, of_coefficient,
    of_feature,
):  # fmt: skip
    # As above; an item is one head of one window, whose gradients no other item touches. Those of
    # the features, which all share, are summed by part: (part, relations*T, r).
    num_queries, num_segments, num_heads = query.shape[1:4]
    topk, history = source.shape[3], len(steps)
    of_weight = np.zeros(topk, query.dtype)
    zero = of_weight[0]  # of the type of the weights
    for b in range(first // num_heads, (end - 1) // num_heads + 1):
        first_head = max(first - b * num_heads, 0)
        last_head = min(end - b * num_heads, num_heads)
        for begin in range(0, num_queries, _NEAR):
            for h in range(first_head, last_head):
                for q in order[begin : begin + _NEAR]:
                    for s in range(num_segments):
                        mean, found = zero, 0
                        while found < topk and source[b, q, s, found] >= 0:
                            j, share = source[b, q, s, found], weight[b, q, s, h, found]
                            product = zero
                            for i in range(len(value_dims)):
                                product += gradient[b, q, s, h, i] * value[b, j, h, i]
                            for i in range(len(value_dims)):
                                of_value[b, j, h, i] += share * gradient[b, q, s, h, i]
                            of_weight[found] = product
                            mean += share * product
                            found += 1
                        for place in range(found):
                            j = source[b, q, s, place]
                            pair = np.int64(relation[b, q, s, place]) * history + j % history
                            change = weight[b, q, s, h, place] * (of_weight[place] - mean)
                            for i in range(len(dims)):
                                of_query[b, q, s, h, i] += change * key[b, j, h, i]
                            for i in range(len(dims)):
                                of_key[b, j, h, i] += change * query[b, q, s, h, i]
                            for i in range(len(relation_dims)):
                                of_coefficient[b, q, s, h, i] += change * feature[pair, i]
                            for i in range(len(relation_dims)):
                                of_feature[part, pair, i] += change * coefficient[b, q, s, h, i]


@compiled(parallel=True)
def keep_best(
    parts, count, score, bias, relation, nodes, steps, source, source_relation
) -> None:  # fmt: skip
    """Keep the best sources of each row of scores, in descending order; -1 fills up."""
    for part in prange(parts):
        _keep_best(
            count * part // parts, count * (part + 1) // parts,
            score, bias, relation, nodes, steps, source, source_relation,
        )  # fmt: skip


@compiled(parallel=True)
def attend(
    parts, count, dims, relation_dims, value_dims, steps, order, query, key, value, coefficient,
    feature, source, relation, weight, output,
) -> None:  # fmt: skip
    """Take the softmax over kept sources and the weighted mean of their values."""
    for part in prange(parts):
        _attend(
            count * part // parts, count * (part + 1) // parts,
            dims, relation_dims, value_dims, steps, order,
            query, key, value, coefficient, feature, source, relation, weight, output,
        )  # fmt: skip


@compiled(parallel=True)
def attend_back(
    parts, count, dims, relation_dims, value_dims, steps, order, gradient, query, key, value,
    coefficient, feature, source, relation, weight, of_query, of_key, of_value, of_coefficient,
    of_feature,
) -> None:  # fmt: skip
    """Send the gradient of the weighted mean back to what it was made of."""
    for part in prange(parts):
        _attend_back(
            count * part // parts, count * (part + 1) // parts, part,
            dims, relation_dims, value_dims, steps, order,
            gradient, query, key, value, coefficient, feature, source, relation, weight,
            of_query, of_key, of_value, of_coefficient, of_feature,
        )  # fmt: skip
