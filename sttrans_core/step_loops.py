"""The loops of the attention among history steps, one node of one window at a time."""

import math

import numpy as np
from numba import prange

from sttrans_core.loops import compiled

__all__ = ["attend", "attend_back"]


@compiled()
def _attend(first, end, steps, dims, tokens, seen, weight, mixed):
    # tokens: (M, T, 3, H, d), seen: (M, T), weight: (M, H, T, T), mixed: (M, T, H, d)
    keys, score = (
        np.empty((len(dims), len(steps)), tokens.dtype),
        np.empty(len(steps), tokens.dtype),
    )
    closed, scale = np.empty(len(steps), tokens.dtype), 1 / math.sqrt(len(dims))
    for m in range(first, end):
        for j in range(len(steps)):
            closed[j] = 0 if seen[m, j] else -np.inf
        for h in range(tokens.shape[3]):
            for j in range(len(steps)):
                for i in range(len(dims)):
                    keys[i, j] = tokens[m, j, 1, h, i] * scale
            for t in range(len(steps)):
                for j in range(len(steps)):
                    score[j] = closed[j]
                score[t] = 0
                for i in range(len(dims)):
                    for j in range(len(steps)):
                        score[j] += tokens[m, t, 0, h, i] * keys[i, j]
                highest = score[0]
                for j in range(1, len(steps)):
                    highest = max(highest, score[j])
                for j in range(len(steps)):
                    score[j] = np.exp(score[j] - highest)
                total = score[0]
                for j in range(1, len(steps)):
                    total += score[j]
                for i in range(len(dims)):
                    mixed[m, t, h, i] = 0
                for j in range(len(steps)):
                    weight[m, h, t, j] = score[j] / total
                    for i in range(len(dims)):
                        mixed[m, t, h, i] += weight[m, h, t, j] * tokens[m, j, 2, h, i]


@compiled()
def _attend_back(first, end, steps, dims, gradient, tokens, weight, of_tokens):
    values, change = (
        np.empty((len(dims), len(steps)), tokens.dtype),
        np.empty(len(steps), tokens.dtype),
    )
    change[0] = 1 / math.sqrt(len(dims))
    scale = change[0]  # of the type of the tokens
    for m in range(first, end):
        for h in range(tokens.shape[3]):
            for j in range(len(steps)):
                for i in range(len(dims)):
                    values[i, j] = tokens[m, j, 2, h, i]
                    of_tokens[m, j, 0, h, i] = 0
                    of_tokens[m, j, 1, h, i] = 0
                    of_tokens[m, j, 2, h, i] = 0
            for t in range(len(steps)):
                for j in range(len(steps)):
                    change[j] = 0
                for i in range(len(dims)):
                    for j in range(len(steps)):
                        change[j] += gradient[m, t, h, i] * values[i, j]
                mean = change[0] * weight[m, h, t, 0]
                for j in range(1, len(steps)):
                    mean += change[j] * weight[m, h, t, j]
                for j in range(len(steps)):
                    change[j] = (change[j] - mean) * weight[m, h, t, j] * scale
                for j in range(len(steps)):
                    for i in range(len(dims)):
                        of_tokens[m, j, 2, h, i] += weight[m, h, t, j] * gradient[m, t, h, i]
                    for i in range(len(dims)):
                        of_tokens[m, t, 0, h, i] += change[j] * tokens[m, j, 1, h, i]
                    for i in range(len(dims)):
                        of_tokens[m, j, 1, h, i] += change[j] * tokens[m, t, 0, h, i]


@compiled(parallel=True)
def attend(parts, count, steps, dims, tokens, seen, weight, mixed) -> None:
    """Take the softmax over the steps of each node and the weighted mean of their values."""
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend(first, end, steps, dims, tokens, seen, weight, mixed)


@compiled(parallel=True)
def attend_back(parts, count, steps, dims, gradient, tokens, weight, of_tokens) -> None:
    """Send the gradient of the weighted means back to the tokens."""
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _attend_back(first, end, steps, dims, gradient, tokens, weight, of_tokens)
