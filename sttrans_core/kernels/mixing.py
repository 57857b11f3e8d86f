"""The loops of the mixture of basis projections, one token at a time."""

from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import dot, exp, full, larger, load, store

__all__ = ["mix", "mix_back"]


@compiled()
def _mix(first, end, heads, dims, bases, mixing, share, mixed):
    # bases: (token, M, H, v), mixing and share: (token, M, H), mixed: (token, H, v)
    num_bases, zero = bases.shape[1], mixing[0, 0, 0] - mixing[0, 0, 0]
    for n in range(first, end):
        highest = load(mixing, (n, 0, 0), heads)
        for m in range(1, num_bases):
            highest = larger(highest, load(mixing, (n, m, 0), heads))
        mass = full(zero, heads)
        for m in range(num_bases):
            each = exp(load(mixing, (n, m, 0), heads) - highest)
            store(share, (n, m, 0), each)
            mass = mass + each
        for m in range(num_bases):
            store(share, (n, m, 0), load(share, (n, m, 0), heads) / mass)
        for h in range(len(heads)):
            mean = full(zero, dims)
            for m in range(num_bases):
                mean = mean + share[n, m, h] * load(bases, (n, m, h, 0), dims)
            store(mixed, (n, h, 0), mean)


@compiled()
def _mix_back(first, end, heads, dims, gradient, bases, share, of_bases, of_mixing):
    num_bases, zero = bases.shape[1], share[0, 0, 0] - share[0, 0, 0]
    for n in range(first, end):
        for h in range(len(heads)):
            of_mixed, mean = load(gradient, (n, h, 0), dims), zero
            for m in range(num_bases):
                store(of_bases, (n, m, h, 0), share[n, m, h] * of_mixed)
                of_share = dot(of_mixed, load(bases, (n, m, h, 0), dims))
                of_mixing[n, m, h] = of_share
                mean += share[n, m, h] * of_share
            for m in range(num_bases):
                of_mixing[n, m, h] = share[n, m, h] * (of_mixing[n, m, h] - mean)


@compiled(parallel=True)
def _mix_in_threads(parts, count, heads, dims, bases, mixing, share, mixed):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _mix(first, end, heads, dims, bases, mixing, share, mixed)


@compiled(parallel=True)
def _mix_back_in_threads(parts, count, heads, dims, gradient, bases, share, of_bases, of_mixing):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _mix_back(first, end, heads, dims, gradient, bases, share, of_bases, of_mixing)


mix = Kernel(_mix, _mix_in_threads)
"""Take the softmax over the bases and the weighted mean of what they say."""

mix_back = Kernel(_mix_back, _mix_back_in_threads)
"""Send the gradient of the weighted means back to the bases and their mixing."""
