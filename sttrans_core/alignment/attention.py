"""Attention over the kept sources, and over all candidates where nothing is selected."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sttrans_core.alignment.inputs import Candidates, Inputs, relations
from sttrans_core.alignment.ranking import Kept

__all__ = ["attend", "attend_to_all", "safe_softmax", "scores_of"]


def attend(
    inputs: Inputs, candidates: Candidates, kept: Kept, *, compiled: bool
) -> tuple[
    Float[Tensor, "batch query segment head value_dim"],
    Float[Tensor, "batch query segment head topk"],
]:
    """Take the softmax over the kept sources and the weighted mean of their values.

    Args:
        inputs: Queries and sources; the output has gradients to them.
        candidates: From `find_candidates`; groups are worked through one after the other.
        kept: Which sources.
        compiled: Use the compiled loops, which gather nothing.

    Returns:
        The mean, 0 where nothing is kept, and the weights.
    """
    if compiled:
        order = candidates.rows[candidates.rows >= 0]
        is_whole = inputs.selection.window == "local"
        relation = kept.relation if is_whole else kept.relation % len(inputs.features)
        output, weight = _CompiledAttention.apply(
            inputs.query, inputs.key, inputs.value, inputs.coefficients, inputs.features,
            kept.source, relation, order,
        )  # fmt: skip # type: ignore[misc]
        return output, weight
    weight = safe_softmax(scores_of(inputs, kept))
    values = _rows(inputs.value, kept)  # (B, Q, S, K, H, v)
    return torch.einsum("bqshk,bqskhv->bqshv", weight, values), weight


def scores_of(inputs: Inputs, kept: Kept) -> Float[Tensor, "batch query segment head topk"]:
    """Score kept sources, by head.

    Args:
        inputs: Queries and sources.
        kept: Which sources.

    Returns:
        The scores; -inf for fillers.
    """
    scores = torch.einsum("bqshd,bqskhd->bqshk", inputs.query, _rows(inputs.key, kept))
    classes = len(inputs.features)  # beyond them, the same again for sources beside the window
    history = inputs.key.shape[2]
    pair = kept.relation.long() % classes * history + kept.source.clamp_min(0) % history
    features = F.embedding(pair, inputs.features.flatten(0, 1))  # (B, Q, S, K, R)
    scores = scores + torch.einsum("bqshr,bqskr->bqshk", inputs.coefficients, features)
    return scores.masked_fill((kept.source < 0)[:, :, :, None], -torch.inf)


def _rows(
    values: Float[Tensor, "batch node history head dim"], kept: Kept
) -> Float[Tensor, "batch query segment topk head dim"]:
    """Gather what belongs to the kept sources: rows of a table, whose way back is fast."""
    batch, nodes, history = values.shape[:3]
    first = torch.arange(batch, device=values.device)[:, None, None, None] * (nodes * history)
    rows = kept.source.long().clamp_min(0) + first
    gathered = F.embedding(rows, values.flatten(3).flatten(0, 2))
    return gathered.unflatten(-1, tuple(values.shape[3:]))


def safe_softmax(scores: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Take the softmax over the last axis.

    Args:
        scores: -inf is left out.

    Returns:
        The weights; 0, with zero gradient, where every score is -inf.
    """
    nothing = torch.isneginf(scores).all(-1, keepdim=True)
    return scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)


class _CompiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        query: Tensor, key: Tensor, value: Tensor, coefficients: Tensor, features: Tensor,
        source: Tensor, relation: Tensor, order: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        from sttrans_core.kernels.attention import attend
        from sttrans_core.kernels.compiling import lengths, run

        arrays = _arrays(query, key, value, coefficients, features, source, relation)
        output = query.new_empty(*query.shape[:4], value.shape[4])
        weight = query.new_empty(*query.shape[:4], source.shape[3])
        sizes = lengths(*_sizes(query, value, coefficients))
        count = query.shape[0] * query.shape[1]
        run(attend, count, *sizes, key.shape[2], order, *arrays, weight, output)
        return output, weight

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # nor zeros for it
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        from sttrans_core.kernels.attention import attend_back
        from sttrans_core.kernels.compiling import lengths, run

        *tensors, order, weight = ctx.saved_tensors
        query, key, value, coefficients, features = tensors[:5]
        # Zeros that are allocated as such come slowly from the system.
        changes = [each.new_empty(each.shape).zero_() for each in tensors[:4]]
        parts = torch.get_num_threads()
        of_features = features.new_empty(parts, *features.shape).zero_()
        count = query.shape[0] * query.shape[3]
        run(
            attend_back, count, *lengths(*_sizes(query, value, coefficients)), key.shape[2],
            order, gradients[0].contiguous(), *_arrays(*tensors), weight,
            changes[0], *(each.flatten(1, 2) for each in changes[1:3]), changes[3],
            of_features.flatten(1, 2),
        )  # fmt: skip
        return *changes, of_features.sum(0), None, None, None


def _arrays(query, key, value, coefficients, features, source, relation) -> tuple[Tensor, ...]:
    """Lay tensors out as the kernels expect them: sources in one axis."""
    tensors = (
        query, key.flatten(1, 2), value.flatten(1, 2), coefficients, features.flatten(0, 1),
        source, relation,
    )  # fmt: skip
    return tuple(each.contiguous() for each in tensors)


def _sizes(query: Tensor, value: Tensor, coefficients: Tensor) -> tuple[int, ...]:
    return query.shape[4], coefficients.shape[4], value.shape[4]


def attend_to_all(
    inputs: Inputs, candidates: Candidates
) -> Float[Tensor, "batch query segment head value_dim"]:
    """Attend to every candidate (ablations without Top-k, and dense attention).

    Args:
        inputs: Queries and sources.
        candidates: From `find_candidates`.

    Returns:
        The weighted mean of the values, 0 where nothing was observed.
    """
    if inputs.selection.screening == "exact":
        return _attend_to_all_nodes(inputs, candidates)
    batch, num_nodes = inputs.observed.shape[:2]
    rows, nodes = candidates.rows.clamp_min(0), candidates.nodes  # (G, g), (B, G, C)
    known = nodes.clamp_min(0)
    at = known + torch.arange(batch, device=nodes.device)[:, None, None] * num_nodes

    def gather(values: Tensor) -> Tensor:  # (B, N, T, ...) -> (B, G, C*T, ...)
        found = F.embedding(at, values.flatten(2).flatten(0, 1))  # (B, G, C, T*...)
        return found.unflatten(3, tuple(values.shape[2:])).flatten(2, 3)

    key, value = gather(inputs.key), gather(inputs.value)  # (B, G, C*T, H, d)
    seen = gather(inputs.observed.to(key.dtype)) > 0  # (B, G, C*T)
    query, coefficients = inputs.query[:, rows], inputs.coefficients[:, rows]
    targets = inputs.query_nodes[rows][..., None]
    relation = relations(inputs, targets, nodes[:, :, None])  # (B, G, g, C)
    features = _features(inputs, relation).flatten(3, 4)  # (B, G, g, C*T, R)
    scores = torch.einsum("bgqshd,bgchd->bgqshc", query, key)
    scores = scores + torch.einsum("bgqshr,bgqcr->bgqshc", coefficients, features)
    allowed = seen[:, :, None] & _is_open(inputs, relation).flatten(3)  # (B, G, g, C*T)
    weight = safe_softmax(scores.masked_fill(~allowed[:, :, :, None, None], -torch.inf))
    output = torch.einsum("bgqshc,bgchv->bgqshv", weight, value)
    order = candidates.rows.flatten().argsort()[-len(inputs.query_nodes) :]  # fillers come first
    return output.flatten(1, 2).index_select(1, order)


def _attend_to_all_nodes(
    inputs: Inputs, candidates: Candidates
) -> Float[Tensor, "batch query segment head value_dim"]:
    key, value = inputs.key.flatten(1, 2), inputs.value.flatten(1, 2)  # (B, N*T, H, d)
    relation = relations(inputs, inputs.query_nodes[:, None], candidates.nodes[0])  # (Q, N)
    features = _features(inputs, relation).flatten(1, 2)  # (Q, N*T, R)
    bias = inputs.coefficients.permute(1, 0, 2, 3, 4).flatten(1, 3) @ features.mT  # (Q, BSH, N*T)
    bias = bias.unflatten(1, (key.shape[0], *inputs.query.shape[2:4])).transpose(0, 1)
    scores = torch.einsum("bqshd,bchd->bqshc", inputs.query, key) + bias
    allowed = _is_open(inputs, relation).flatten(1) & inputs.observed.flatten(1)[:, None]
    weight = safe_softmax(scores.masked_fill(~allowed[:, :, None, None], -torch.inf))
    return torch.einsum("bqshc,bchv->bqshv", weight, value)


def _features(inputs: Inputs, relation: Tensor) -> Float[Tensor, "... history relation_dim"]:
    rows = relation.long() % len(inputs.features)
    return F.embedding(rows, inputs.features.flatten(1)).unflatten(-1, inputs.features.shape[1:])


def _is_open(inputs: Inputs, relation: Tensor) -> Tensor:
    """Say which steps of candidates are sources: none of the target itself."""
    history, classes = inputs.key.shape[2], len(inputs.features)
    step = torch.arange(history, device=relation.device)
    is_older = step < history - inputs.selection.window_steps
    return (relation > 0)[..., None] & ((relation < classes)[..., None] | is_older)
