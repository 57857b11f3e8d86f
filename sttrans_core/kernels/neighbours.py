"""The loops of the attention over near nodes at every step, one node of one window at a time."""

import math

import numpy as np
from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import dot, exp, full, largest, load, store, total

__all__ = ["attend", "attend_back"]


@compiled()
def _attend(first, end, near, dims, tokens, seen, neighbours, bias, weight, mixed):
    # tokens: (M, T, 3, H, d), seen: (M, T), neighbours: (N, K), bias: (N, H, K),
    # weight: (M, T, H, K), mixed: (M, T, H, d); M = B * N
    score = np.empty((1, len(near)), tokens.dtype)
    score[0, 0] = 1 / math.sqrt(len(dims))
    scale = score[0, 0]  # of the type of the tokens
    for m in range(first, end):
        n = m % len(neighbours)
        window = m - n
        for t in range(tokens.shape[1]):
            for h in range(tokens.shape[3]):
                query = load(tokens, (m, t, 0, h, 0), dims) * scale
                for k in range(len(near)):
                    source = window + neighbours[n, k]
                    if k == 0 or seen[source, t]:
                        product = dot(query, load(tokens, (source, t, 1, h, 0), dims))
                        score[0, k] = product + bias[n, h, k]
                    else:
                        score[0, k] = -np.inf
                scores = load(score, (0, 0), near)
                share = exp(scores - largest(scores))
                store(weight, (m, t, h, 0), share * (1 / total(share)))
                mean = weight[m, t, h, 0] * load(tokens, (m, t, 2, h, 0), dims)
                for k in range(1, len(near)):
                    source = window + neighbours[n, k]
                    value = load(tokens, (source, t, 2, h, 0), dims)
                    mean = mean + weight[m, t, h, k] * value
                store(mixed, (m, t, h, 0), mean)


@compiled()
def _attend_back(first, end, near, dims, gradient, tokens, neighbours, weight, of_score, of_tokens):
    # An item is a window: its nodes meet in the gradients of their neighbours.
    of_weight = np.zeros((1, len(near)), tokens.dtype)
    zero = of_weight[0, 0]
    of_weight[0, 0] = 1 / math.sqrt(len(dims))
    scale = of_weight[0, 0]  # of the type of the tokens
    for m in range(first * len(neighbours), end * len(neighbours)):
        n = m % len(neighbours)
        window = m - n
        for t in range(tokens.shape[1]):
            for h in range(tokens.shape[3]):
                of_mixed = load(gradient, (m, t, h, 0), dims)
                for k in range(len(near)):
                    source = window + neighbours[n, k]
                    of_weight[0, k] = dot(of_mixed, load(tokens, (source, t, 2, h, 0), dims))
                share, change = load(weight, (m, t, h, 0), near), load(of_weight, (0, 0), near)
                store(of_score, (m, t, h, 0), (change - dot(change, share)) * share)
                query = load(tokens, (m, t, 0, h, 0), dims) * scale
                of_query = full(zero, dims)
                for k in range(len(near)):
                    source, by = window + neighbours[n, k], of_score[m, t, h, k]
                    key, value = (source, t, 1, h, 0), (source, t, 2, h, 0)
                    of_query = of_query + (by * scale) * load(tokens, key, dims)
                    store(of_tokens, key, load(of_tokens, key, dims) + by * query)
                    of_value = load(of_tokens, value, dims) + weight[m, t, h, k] * of_mixed
                    store(of_tokens, value, of_value)
                store(of_tokens, (m, t, 0, h, 0), of_query)


@compiled(parallel=True)
def _attend_in_threads(parts, count, near, dims, tokens, seen, neighbours, bias, weight, mixed):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend(first, end, near, dims, tokens, seen, neighbours, bias, weight, mixed)


@compiled(parallel=True)
def _attend_back_in_threads(
    parts, count, near, dims, gradient, tokens, neighbours, weight, of_score, of_tokens
):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend_back(
            first, end, near, dims, gradient, tokens, neighbours, weight, of_score, of_tokens
        )


attend = Kernel(_attend, _attend_in_threads)
"""Take the softmax over the near nodes of each node and the weighted mean of their values."""

attend_back = Kernel(_attend_back, _attend_back_in_threads)
"""Send the gradient of the weighted means back; an item is a window."""
