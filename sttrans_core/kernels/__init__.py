"""Loops for CPUs that PyTorch has no fused operation for, compiled by Numba when first called.

Whoever calls them imports them then: Numba takes half a second.
"""
