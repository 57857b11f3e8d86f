"""Attention over the kept sources, and its way back."""

import numpy as np
from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import dot, exp, full, load, store, total

__all__ = ["attend", "attend_back"]

_SIDE_BY_SIDE = (0,) * 16  # scores whose exponentials are taken at once


@compiled()
def _attend(
    first, end, dims, relation_dims, value_dims, history, order, query, key, value, coefficient,
    feature, source, relation, weight, output,
):  # fmt: skip
    # order: (Q), near queries read the same sources; query: (B, Q, S, H, d), key: (B, N*T, H, d),
    # value: (B, N*T, H, v), coefficient: (B, Q, S, H, r), feature: (relations*T, r), source and
    # relation: (B, Q, S, K), weight: (B, Q, S, H, K).
    num_queries, num_segments, num_heads = query.shape[1:4]
    topk = source.shape[3]
    together = len(_SIDE_BY_SIDE)
    score = np.zeros((topk - 1) // together * together + together, query.dtype)
    row = np.empty(topk, np.int64)
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
                asked = load(query, (b, q, s, h, 0), dims)
                relative = load(coefficient, (b, q, s, h, 0), relation_dims)
                score[found:] = -np.inf
                for place in range(found):
                    similarity = dot(asked, load(key, (b, source[b, q, s, place], h, 0), dims))
                    bias = dot(relative, load(feature, (row[place], 0), relation_dims))
                    score[place] = similarity + bias
                highest = score[0]
                for place in range(1, found):
                    highest = max(highest, score[place])
                mass = zero
                for begin in range(0, found, together):
                    share = exp(load(score, (begin,), _SIDE_BY_SIDE) - highest)
                    store(score, (begin,), share)
                    mass += total(share)
                mean = full(zero, value_dims)
                for place in range(found):
                    share = score[place] / mass
                    weight[b, q, s, h, place] = share
                    mean = mean + share * load(value, (b, source[b, q, s, place], h, 0), value_dims)
                store(output, (b, q, s, h, 0), mean)
                weight[b, q, s, h, found:] = 0


@compiled()
def _attend_back(
    first, end, dims, relation_dims, value_dims, history, order, gradient, query, key, value,
    coefficient, feature, source, relation, weight, of_query, of_key, of_value, of_coefficient,
    of_feature,
):  # fmt: skip
    # As above; an item is one head of one window, whose gradients no other item touches. Those of
    # the features, which all share, come to the first of `of_feature`: (parts, relations*T, r).
    num_segments, num_heads = query.shape[2:4]
    topk = source.shape[3]
    of_weight = np.zeros(topk, query.dtype)
    zero = of_weight[0]  # of the type of the weights
    for b in range(first // num_heads, (end - 1) // num_heads + 1):
        first_head = max(first - b * num_heads, 0)
        last_head = min(end - b * num_heads, num_heads)
        for q in order:
            for s in range(num_segments):
                for h in range(first_head, last_head):
                    of_output = load(gradient, (b, q, s, h, 0), value_dims)
                    mean, found = zero, 0
                    while found < topk and source[b, q, s, found] >= 0:
                        at = (b, source[b, q, s, found], h, 0)
                        share = weight[b, q, s, h, found]
                        product = dot(of_output, load(value, at, value_dims))
                        store(of_value, at, load(of_value, at, value_dims) + share * of_output)
                        of_weight[found] = product
                        mean += share * product
                        found += 1
                    asked = load(query, (b, q, s, h, 0), dims)
                    relative = load(coefficient, (b, q, s, h, 0), relation_dims)
                    of_asked, of_relative = full(zero, dims), full(zero, relation_dims)
                    for place in range(found):
                        j = source[b, q, s, place]
                        at = (b, j, h, 0)
                        pair = np.int64(relation[b, q, s, place]) * history + j % history
                        change = weight[b, q, s, h, place] * (of_weight[place] - mean)
                        of_asked = of_asked + change * load(key, at, dims)
                        store(of_key, at, load(of_key, at, dims) + change * asked)
                        feature_at = load(feature, (pair, 0), relation_dims)
                        of_relative = of_relative + change * feature_at
                        at = (0, pair, 0)
                        of_pair = load(of_feature, at, relation_dims) + change * relative
                        store(of_feature, at, of_pair)
                    store(of_query, (b, q, s, h, 0), of_asked)
                    store(of_coefficient, (b, q, s, h, 0), of_relative)


@compiled(parallel=True)
def _attend_in_threads(
    parts, count, dims, relation_dims, value_dims, history, order, query, key, value, coefficient,
    feature, source, relation, weight, output,
):  # fmt: skip
    for part in prange(parts):
        _attend(
            count * part // parts, count * (part + 1) // parts,
            dims, relation_dims, value_dims, history, order,
            query, key, value, coefficient, feature, source, relation, weight, output,
        )  # fmt: skip


@compiled(parallel=True)
def _attend_back_in_threads(
    parts, count, dims, relation_dims, value_dims, history, order, gradient, query, key, value,
    coefficient, feature, source, relation, weight, of_query, of_key, of_value, of_coefficient,
    of_feature,
):  # fmt: skip
    for part in prange(parts):
        _attend_back(
            count * part // parts, count * (part + 1) // parts,
            dims, relation_dims, value_dims, history, order,
            gradient, query, key, value, coefficient, feature, source, relation, weight,
            of_query, of_key, of_value, of_coefficient, of_feature[part:],
        )  # fmt: skip


attend = Kernel(_attend, _attend_in_threads)
"""Take the softmax over kept sources and the weighted mean of their values."""

attend_back = Kernel(_attend_back, _attend_back_in_threads)
"""Send the gradient of the weighted mean back to what it was made of."""
