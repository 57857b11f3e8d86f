"""Mixtures of a few basis projections, token by token and head by head."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sttrans_core.devices import can_compile, is_worth_compiling

__all__ = ["mix_bases"]


def mix_bases(
    bases: Float[Tensor, "batch node history base head dim"],
    mixing: Float[Tensor, "batch node history base head"],
) -> Float[Tensor, "batch node history head dim"]:
    """Mean of what the bases say, weighted by the softmax of the mixing over them.

    The work is the way through memory, which compiled loops go once where single operations go
    many times.

    Args:
        bases: What each basis projection makes of a token.
        mixing: Logits of their weights.

    Returns:
        The weighted means.
    """
    if can_compile(bases, mixing) and is_worth_compiling(bases.numel()):
        mixed, _ = _Mixture.apply(bases.flatten(0, 2), mixing.flatten(0, 2))  # type: ignore[misc]
        return mixed.unflatten(0, bases.shape[:3])
    return (bases * mixing.softmax(3)[..., None]).sum(3)


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(bases: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.mixing import mix

        count, _, heads, dim = bases.shape
        share, mixed = mixing.new_empty(mixing.shape), bases.new_empty(count, heads, dim)
        sizes = lengths(heads, dim)
        arrays = (bases.contiguous(), mixing.contiguous(), share, mixed)
        run(mix, count, *sizes, *arrays)
        return mixed, share

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # nor zeros for it
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, ...]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.mixing import mix_back

        bases, share = ctx.saved_tensors
        of_bases, of_mixing = bases.new_empty(bases.shape), share.new_empty(share.shape)
        sizes = lengths(*bases.shape[2:])
        arrays = (gradients[0].contiguous(), bases.contiguous(), share, of_bases, of_mixing)
        run(mix_back, len(bases), *sizes, *arrays)
        return of_bases, of_mixing
