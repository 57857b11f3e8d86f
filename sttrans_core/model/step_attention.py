"""Attention among the history steps of one node: thousands of short sequences at once."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sttrans_core.devices import can_compile, is_worth_compiling

__all__ = ["attend_to_steps"]

_LONGEST = (
    48  # steps; a row of weights is one vector, and fused attention does well with longer ones
)


def attend_to_steps(
    query_key_value: Float[Tensor, "batch node history 3 head dim"],
    *,
    observed: Bool[Tensor, "batch node history"],
) -> Float[Tensor, "batch node history head dim"]:
    """Let every step attend to itself and to the observed steps of the same node.

    PyTorch's fused attention is made for long sequences; for a dozen steps its calls cost more than
    their work. On CPUs the loops are compiled instead.

    Args:
        query_key_value: Three vectors per token and head.
        observed: Which steps may be attended to.

    Returns:
        Weighted means of the values.
    """
    tokens, seen = query_key_value.flatten(0, 1), observed.flatten(0, 1)
    work = seen.numel() * seen.shape[1] * tokens.shape[3]
    is_short = seen.shape[1] <= _LONGEST
    if is_short and can_compile(query_key_value) and is_worth_compiling(work):
        mixed, _ = _StepAttention.apply(tokens, seen)  # type: ignore[misc]
    else:
        itself = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
        mask = seen[:, None, None] | itself  # (B*N, 1, T, T)
        query, key, value = tokens.permute(2, 0, 3, 1, 4)  # each (B*N, H, T, d)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    return mixed.unflatten(0, observed.shape[:2])


class _StepAttention(torch.autograd.Function):
    @staticmethod
    def forward(tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.steps import attend

        count, history, _, heads, dim = tokens.shape
        weight = tokens.new_empty(count, heads, history, history)
        mixed = tokens.new_empty(count, history, heads, dim)
        sizes = lengths(history, dim)
        arrays = (tokens.contiguous(), seen.contiguous(), weight, mixed)
        run(attend, count, *sizes, *arrays)
        return mixed, weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # nor zeros for it
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.steps import attend_back

        tokens, weight = ctx.saved_tensors
        of_tokens = tokens.new_empty(tokens.shape)
        sizes = lengths(tokens.shape[1], tokens.shape[4])
        arrays = (gradients[0].contiguous(), tokens.contiguous(), weight, of_tokens)
        run(attend_back, len(tokens), *sizes, *arrays)
        return of_tokens, None
