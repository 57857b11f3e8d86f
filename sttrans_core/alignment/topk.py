"""`topk_alignment`, the pure function, and `SpatioTemporalAlignment`, which feeds it."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sttrans_core.alignment.attention import attend, attend_to_all, scores_of
from sttrans_core.alignment.inputs import Inputs, find_candidates
from sttrans_core.alignment.position import FixedPosition, LearnedPosition
from sttrans_core.alignment.ranking import Kept, keep_best
from sttrans_core.alignment.reference import align_plainly
from sttrans_core.alignment.types import Alignment, Selection
from sttrans_core.devices import can_compile, is_worth_compiling
from sttrans_core.space.relation import Geometry

__all__ = ["SpatioTemporalAlignment", "topk_alignment"]

_SCORES_AT_ONCE = 1 << 22  # of dense attention in memory, 16 MiB
_MOST_SCORES = 1 << 29  # of dense attention that are computed at all, in some seconds


def topk_alignment(
    query: Float[Tensor, "batch query segment head dim"],
    key: Float[Tensor, "batch node history head dim"],
    value: Float[Tensor, "batch node history head value_dim"],
    *,
    observed: Bool[Tensor, "batch node history"],
    geometry: Geometry,
    selection: Selection,
    position: LearnedPosition | FixedPosition,
    query_nodes: Int[Tensor, " query"] | None = None,
    backend: Literal["auto", "reference", "torch", "compiled"] = "auto",
    need_alignment: bool = False,
) -> tuple[Float[Tensor, "batch query segment head value_dim"], Alignment | None]:
    """Attend from each query to the Top-k of its candidate sources.

    A source is one (node, history step) of another node: what the target's own history says is in
    the query already. The score of a source is
    `q . (k + r(distance, direction, lag)) / sqrt(dim)`. Candidates are all sources, or with
    screening by blocks those that `find_candidates` gives. Of the candidates, the `topk` with the
    highest score averaged over heads are kept, by index, so ties never admit more; each head then
    takes the softmax over the kept ones. Missing observations are never candidates.

    Args:
        query: One vector per target node, horizon segment and head; scaled inside.
        key: One vector per source and head.
        value: One vector per source and head.
        observed: Which sources were observed.
        geometry: Positions and neighbours of the nodes.
        selection: Which sources are candidates and how many are kept.
        position: Relative position of source to target.
        query_nodes: Node index of each query; all nodes in order where it is None.
        backend: All compute the same function. `reference` scores every source in one table, the
            plain definition. The others score panel by panel, remember the best and attend to
            them: `torch` with its own operations on any device, `compiled` with loops compiled for
            the CPU, in single or double precision. `auto` takes these for training and where there
            is much to do.
        need_alignment: Also return the kept sources with their weights.

    Returns:
        The weighted mean of the values (0 where nothing is valid), and the alignment if asked for.

    Raises:
        ValueError: `topk` is below 1 or above the number of sources, the compiled loops cannot be
            used, or a part of a group is queried under screening by blocks.

    Source: Cai, "Improvement of spatio-temporal prediction model", alignment module. The
    selection is shared by heads; screening by mean scores is ours.
    """
    num_nodes, history = key.shape[1:3]
    num_sources = history * (num_nodes - 1)
    if selection.topk is not None and not 1 <= selection.topk <= num_sources:
        raise ValueError(
            f"topk must be between 1 and the number of sources; got topk={selection.topk} with "
            f"{num_sources} sources ({history} steps x {num_nodes - 1} other nodes). "
            f"{'Lower topk or pass a longer history' if selection.topk > 0 else 'Raise topk'}."
        )
    if query_nodes is None:
        query_nodes = torch.arange(num_nodes, device=key.device)
    query = query / math.sqrt(query.shape[-1])
    inputs = Inputs(
        query=query,
        key=key,
        value=value,
        observed=observed,
        coefficients=position.project(query).to(key.dtype),
        features=position.features(geometry.classes).to(key.dtype),
        geometry=geometry,
        selection=selection,
        query_nodes=query_nodes,
    )
    compiled = can_compile(query, key, value)
    if backend == "compiled" and not compiled:
        raise ValueError(
            "The compiled backend must have tensors of one type, float32 or float64, on the CPU, "
            f"and not be traced; got {query.dtype} on {query.device}. Leave it to backend='auto'."
        )
    candidates = find_candidates(inputs)
    if backend == "reference" or (need_alignment and selection.topk is None):
        output, kept, weight, covered = align_plainly(inputs, candidates)
        return output, _describe(inputs, kept, weight, covered) if need_alignment else None
    if selection.topk is None:
        return attend_to_all(inputs, candidates), None
    if backend != "compiled":
        work = query[..., 0, 0].numel() * candidates.nodes.shape[2] * history
        compiled = compiled and backend == "auto" and is_worth_compiling(work)
    kept = keep_best(inputs, candidates, compiled=compiled)
    output, weight = attend(inputs, candidates, kept, compiled=compiled)
    if not need_alignment:
        return output, None
    return output, _describe(inputs, kept, weight, _covered_mass(inputs, kept))


def _describe(inputs: Inputs, kept: Kept, weight: Tensor, covered: Tensor) -> Alignment:
    """Order the kept sources by mean weight, and say where they lie."""
    order = weight.mean(3).argsort(dim=-1, descending=True, stable=True)
    source = kept.source.long().gather(3, order)
    history, chosen, valid = inputs.key.shape[2], inputs.selection, source >= 0
    targets = inputs.query_nodes[:, None, None]
    node = torch.where(valid, source // history, targets)  # a filler: the target itself
    step = torch.where(valid, source % history, 0)
    near = inputs.geometry.neighbours[inputs.query_nodes, 1 : 1 + chosen.window_nodes]
    is_near = (node[..., None] == near[:, None, None]).any(-1)
    return Alignment(
        node=node,
        step=step,
        weight=weight.gather(4, order[:, :, :, None].expand_as(weight)),
        in_window=is_near & (step >= history - chosen.window_steps) & valid,
        valid=valid,
        covered_mass=covered,
    )


@torch.no_grad()
def _covered_mass(inputs: Inputs, kept: Kept) -> Float[Tensor, "batch query segment head"]:
    """Sum the weights that dense attention over every observed source would give to kept ones."""
    batch, queries, segments, heads = inputs.query.shape[:4]
    num_nodes, history = inputs.key.shape[1:3]
    is_traced = torch.compiler.is_compiling()  # a traced program has no loops
    if is_traced or inputs.query[..., 0].numel() * num_nodes * history > _MOST_SCORES:
        return inputs.query.new_full((batch, queries, segments, heads), math.nan)
    everyone = torch.arange(num_nodes, device=inputs.key.device)
    key = inputs.key.flatten(1, 2).permute(0, 2, 3, 1)  # (B, H, d, N*T)
    features = inputs.features.flatten(0, 1).T  # (R, relations*T)
    hidden = ~inputs.observed
    total = inputs.query.new_empty(batch, queries, segments, heads)
    at_once = max(1, _SCORES_AT_ONCE // (num_nodes * history * segments * heads))
    for b in range(batch):
        for first in range(0, queries, at_once):
            rows = slice(first, first + at_once)
            query = inputs.query[b, rows].permute(2, 0, 1, 3)  # (H, q, S, d)
            score = (query.flatten(1, 2) @ key[b]).unflatten(1, query.shape[1:3])
            bias = (inputs.coefficients[b, rows] @ features).permute(2, 0, 1, 3)
            bias = bias.unflatten(3, (-1, history))  # (H, q, S, relations, T)
            score = score.unflatten(3, (-1, history))  # (H, q, S, N, T)
            relation = inputs.geometry.relations(inputs.query_nodes[rows, None], everyone)
            pair = relation[None, :, None, :, None].expand_as(score)
            score = score + bias.gather(3, pair)
            score = score.masked_fill_(
                hidden[b] | (relation == 0)[None, :, None, :, None], -math.inf
            )
            total[b, rows] = score.flatten(3).logsumexp(3).permute(1, 2, 0)
    mass = (scores_of(inputs, kept) - total[..., None]).exp().sum(-1)
    return mass.where(~total.isneginf(), 0).clamp_max(1.0)


class SpatioTemporalAlignment(nn.Module):
    """Give queries and keys their projections, and the keys their relative position.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        history_steps: Steps of the history.
        selection: Which sources are candidates and how many are kept.
        position: `learned` or `fixed`.
        relation_dim: Features of the learned relative position.

    Source: Cai, "Improvement of spatio-temporal prediction model", alignment module.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        history_steps: int,
        selection: Selection,
        position: Literal["learned", "fixed"],
        relation_dim: int,
    ) -> None:
        super().__init__()
        self.num_heads, self.selection = num_heads, selection
        head_dim = width // num_heads
        self.query_norm, self.key_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.place = nn.Linear(width, width, bias=False)  # where a place and lead time tend to look
        self.key = nn.Linear(width, width, bias=False)  # a bias would shift all scores alike
        self.position = (
            LearnedPosition(history_steps, num_heads, head_dim, relation_dim)
            if position == "learned"
            else FixedPosition(history_steps, head_dim)
        )

    def forward(
        self,
        query: Float[Tensor, "batch query segment channel"],
        source: Float[Tensor, "batch node history channel"],
        value: Float[Tensor, "batch node history head value_dim"],
        *,
        place: Float[Tensor, "query segment channel"],
        observed: Bool[Tensor, "batch node history"],
        geometry: Geometry,
        query_nodes: Int[Tensor, " query"] | None = None,
        selection: Selection | None = None,
        need_alignment: bool = False,
    ) -> tuple[Float[Tensor, "batch query segment channel"], Alignment | None]:
        """Aggregate the values of the sources that each query aligns with.

        Args:
            query: Decoder tokens.
            source: Encoder tokens.
            value: Values from the fusion module, one per source and head.
            place: Embedding of each target place and segment, whatever the traffic.
            observed: Which sources were observed.
            geometry: Positions and neighbours of the nodes.
            query_nodes: Node index of each query; all nodes where it is None.
            selection: Another selection than the trained one, to see what it would change.
            need_alignment: Also return the alignment.

        Returns:
            Aggregated values with heads side by side, and the alignment if asked for.
        """
        heads = (self.num_heads, -1)
        output, alignment = topk_alignment(
            (self.query(self.query_norm(query)) + self.place(place)).unflatten(-1, heads),
            self.key(self.key_norm(source)).unflatten(-1, heads),
            value,
            observed=observed,
            geometry=geometry,
            selection=selection or self.selection,
            position=self.position,
            query_nodes=query_nodes,
            need_alignment=need_alignment,
        )
        if selection is not None and selection.silent_heads:
            output = output.clone()
            output[..., list(selection.silent_heads), :] = 0.0
        return output.flatten(-2), alignment
