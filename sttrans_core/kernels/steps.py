"""The loops of the attention among history steps, one node of one window at a time."""

import math

import numpy as np
from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import dot, exp, full, largest, load, store, total

__all__ = ["attend", "attend_back"]


@compiled()
def _attend(first, end, steps, dims, tokens, seen, weight, mixed):
    # tokens: (M, T, 3, H, d), seen: (M, T), weight: (M, H, T, T), mixed: (M, T, H, d)
    keys = np.empty((len(dims), len(steps)), tokens.dtype)
    closed = np.empty((len(steps), len(steps)), tokens.dtype)
    closed[0, 0] = 1 / math.sqrt(len(dims))
    scale = closed[0, 0]  # of the type of the tokens
    for m in range(first, end):
        for t in range(len(steps)):
            for j in range(len(steps)):
                closed[t, j] = 0 if seen[m, j] or j == t else -np.inf
        for h in range(tokens.shape[3]):
            for j in range(len(steps)):
                for i in range(len(dims)):
                    keys[i, j] = tokens[m, j, 1, h, i] * scale
            for t in range(len(steps)):
                score = load(closed, (t, 0), steps)
                for i in range(len(dims)):
                    score = score + tokens[m, t, 0, h, i] * load(keys, (i, 0), steps)
                share = exp(score - largest(score))
                store(weight, (m, h, t, 0), share * (1 / total(share)))
                mean = weight[m, h, t, 0] * load(tokens, (m, 0, 2, h, 0), dims)
                for j in range(1, len(steps)):
                    mean = mean + weight[m, h, t, j] * load(tokens, (m, j, 2, h, 0), dims)
                store(mixed, (m, t, h, 0), mean)


@compiled()
def _attend_back(first, end, steps, dims, gradient, tokens, weight, of_tokens):
    values = np.empty((len(dims), len(steps)), tokens.dtype)
    change = np.zeros((1, len(steps)), tokens.dtype)
    zero = change[0, 0]
    change[0, 0] = 1 / math.sqrt(len(dims))
    scale = change[0, 0]  # of the type of the tokens
    for m in range(first, end):
        for h in range(tokens.shape[3]):
            for j in range(len(steps)):
                for i in range(len(dims)):
                    values[i, j] = tokens[m, j, 2, h, i]
                store(of_tokens, (m, j, 1, h, 0), full(zero, dims))
                store(of_tokens, (m, j, 2, h, 0), full(zero, dims))
            for t in range(len(steps)):
                of_weight = full(zero, steps)
                for i in range(len(dims)):
                    of_weight = of_weight + gradient[m, t, h, i] * load(values, (i, 0), steps)
                share = load(weight, (m, h, t, 0), steps)
                store(change, (0, 0), (of_weight - dot(of_weight, share)) * share * scale)
                query = load(tokens, (m, t, 0, h, 0), dims)
                of_mixed = load(gradient, (m, t, h, 0), dims)
                of_query = full(zero, dims)
                for j in range(len(steps)):
                    key, value = (m, j, 1, h, 0), (m, j, 2, h, 0)
                    of_query = of_query + change[0, j] * load(tokens, key, dims)
                    store(of_tokens, key, load(of_tokens, key, dims) + change[0, j] * query)
                    of_value = load(of_tokens, value, dims) + weight[m, h, t, j] * of_mixed
                    store(of_tokens, value, of_value)
                store(of_tokens, (m, t, 0, h, 0), of_query)


@compiled(parallel=True)
def _attend_in_threads(parts, count, steps, dims, tokens, seen, weight, mixed):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend(first, end, steps, dims, tokens, seen, weight, mixed)


@compiled(parallel=True)
def _attend_back_in_threads(parts, count, steps, dims, gradient, tokens, weight, of_tokens):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend_back(first, end, steps, dims, gradient, tokens, weight, of_tokens)


attend = Kernel(_attend, _attend_in_threads)
"""Take the softmax over the steps of each node and the weighted mean of their values."""

attend_back = Kernel(_attend_back, _attend_back_in_threads)
"""Send the gradient of the weighted means back to the tokens."""
