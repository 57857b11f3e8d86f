"""Attention over the near nodes of a node, at every step."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sttrans_core.devices import can_compile, is_worth_compiling

__all__ = ["attend_to_neighbours"]


def attend_to_neighbours(
    query_key_value: Float[Tensor, "batch node history 3 head dim"],
    *,
    observed: Bool[Tensor, "batch node history"],
    neighbours: Int[Tensor, "node neighbour"],
    bias: Float[Tensor, "node head neighbour"],
) -> Float[Tensor, "batch node history head dim"]:
    """Let every node attend to itself and to what its near nodes observed at the same step.

    Nothing is gathered where the loops are compiled, on CPUs: gathered keys and values take many
    times the memory of the tokens.

    Args:
        query_key_value: Three vectors per token and head.
        observed: Which tokens may be attended to.
        neighbours: Nearest nodes of each node, itself first.
        bias: Of the scores, for each of them.

    Returns:
        Weighted means of the values.
    """
    work = observed.numel() * bias.shape[1] * bias.shape[2]
    if can_compile(query_key_value, bias) and is_worth_compiling(work):
        return _NearAttention.apply(query_key_value, observed, neighbours, bias)[0]  # type: ignore[misc]
    query, key, value = query_key_value.unbind(3)  # each (B, N, T, H, d)
    flat, shape = neighbours.flatten(), (*neighbours.shape,)
    key = key.index_select(1, flat).unflatten(1, shape)  # (B, N, K, T, H, d)
    value = value.index_select(1, flat).unflatten(1, shape)
    score = (query[:, :, None] * key).sum(-1) / query.shape[-1] ** 0.5  # (B, N, K, T, H)
    score = score + bias.permute(0, 2, 1)[:, :, None]
    seen = observed.index_select(1, flat).unflatten(1, shape).unsqueeze(-1)
    itself = torch.arange(shape[1], device=score.device)[:, None, None] == 0
    weight = score.masked_fill(~(seen | itself), -torch.inf).softmax(2)
    return (weight.unsqueeze(-1) * value).sum(2)


class _NearAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        tokens: Tensor, seen: Tensor, neighbours: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.neighbours import attend

        weight = tokens.new_empty(*tokens.shape[:3], *bias.shape[1:])
        mixed = tokens.new_empty(*tokens.shape[:3], *tokens.shape[4:])
        rows = (tokens.contiguous().flatten(0, 1), seen.contiguous().flatten(0, 1))
        table = (neighbours.contiguous(), bias.contiguous())
        sizes = lengths(bias.shape[2], tokens.shape[5])
        arrays = (*rows, *table, weight.flatten(0, 1), mixed.flatten(0, 1))
        run(attend, len(rows[0]), *sizes, *arrays)
        return mixed, weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # nor zeros for it
        ctx.save_for_backward(inputs[0], inputs[2], output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.neighbours import attend_back

        tokens, neighbours, weight = ctx.saved_tensors
        of_tokens, of_score = torch.zeros_like(tokens), torch.empty_like(weight)
        sizes = lengths(weight.shape[4], tokens.shape[5])
        rows = [each.contiguous().flatten(0, 1) for each in (gradients[0], tokens)]
        arrays = (weight.flatten(0, 1), of_score.flatten(0, 1), of_tokens.flatten(0, 1))
        run(attend_back, len(tokens), *sizes, *rows, neighbours.contiguous(), *arrays)
        return of_tokens, None, None, of_score.sum((0, 2))
