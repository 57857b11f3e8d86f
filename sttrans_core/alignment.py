"""Alignment: which (place, time step) pairs a forecast looks at, and how strongly.

`topk_alignment` is the definition; `SpatioTemporalAlignment` gives it queries, keys and relations.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sttrans_core.relation import FixedPosition, Geometry, LearnedPosition

__all__ = ["Alignment", "Selection", "SpatioTemporalAlignment", "topk_alignment"]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The kept sources of every query, as (node, step) indices with normalised weights.

    The sources of a query are shared by its heads and ordered by their mean weight, descending.

    Args:
        node: Node index of each source.
        step: History step of each source, 0 = oldest.
        weight: Weight per head; sums to 1 over `topk`, or is 0 where nothing is valid.
        in_window: Whether the source lies in the query's local window.
        valid: False for a filler, where fewer sources are valid than were asked for.
        covered_mass: Share of the mass of dense attention, over every observed source, that falls
            on the kept ones.
    """

    node: Int[Tensor, "batch query segment topk"]
    step: Int[Tensor, "batch query segment topk"]
    weight: Float[Tensor, "batch query segment head topk"]
    in_window: Bool[Tensor, "batch query segment topk"]
    valid: Bool[Tensor, "batch query segment topk"]
    covered_mass: Float[Tensor, "batch query segment head"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which sources are candidates, and how many of them are kept.

    Args:
        topk: Sources kept per query; None keeps every candidate.
        dense: Every source is a candidate; the two fields below are then not used.
        screened_nodes: Nodes that the global screening admits per target, with all their steps.
        window_nodes: Nearest other nodes in the local window (0: no window).
        window_steps: Most recent steps of the local window, to tell window from global sources.
    """

    topk: int | None
    dense: bool = False
    screened_nodes: int = 8
    window_nodes: int = 8
    window_steps: int = 8


def topk_alignment(
    query: Float[Tensor, "batch query segment head dim"],
    key: Float[Tensor, "batch history node head dim"],
    value: Float[Tensor, "batch history node head value_dim"],
    *,
    observed: Bool[Tensor, "batch history node"],
    geometry: Geometry,
    selection: Selection,
    position: LearnedPosition | FixedPosition,
    query_nodes: Int[Tensor, " query"] | None = None,
    backend: Literal["auto", "reference"] = "auto",
    need_alignment: bool = False,
) -> tuple[Float[Tensor, "batch query segment head value_dim"], Alignment | None]:
    """Attend from each query to the Top-k of its candidate sources.

    A source is one (history step, node) of another node: what the target's own history says is in
    the query already. The score of a source is
    `q . (k + r(distance, direction, lag)) / sqrt(dim)`. Candidates are the sources of the nodes in
    the query's local window and of the nodes that the global screening admits: those with the
    largest share among all nodes in any segment of the target, by the softmax of the score
    averaged over their observed steps and over heads. Of the candidates, the `topk` with the
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
        backend: `reference` scores every source and gathers the kept ones, the plain definition;
            `auto` gathers candidate nodes first and computes the same function.
        need_alignment: Also return the kept sources with their weights (uses the plain path).

    Returns:
        The weighted mean of the values (0 where nothing is valid), and the alignment if asked for.

    Raises:
        ValueError: `topk` is below 1 or above the number of sources.

    Source: Cai, "Improvement of spatio-temporal prediction model", alignment module. The
    selection is shared by heads; screening by mean scores is ours.
    """
    history, num_nodes = key.shape[1], key.shape[2]
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
    candidates = _candidate_nodes(query, key, observed, geometry, selection, position, query_nodes)
    if backend == "reference" or need_alignment:
        return _reference(
            query, key, value, observed, geometry, selection, position, query_nodes, candidates
        )
    output = _gathered(
        query, key, value, observed, geometry, selection, position, query_nodes, candidates
    )
    return output, None


def _candidate_nodes(
    query: Float[Tensor, "batch query segment head dim"],
    key: Float[Tensor, "batch history node head dim"],
    observed: Bool[Tensor, "batch history node"],
    geometry: Geometry,
    selection: Selection,
    position: LearnedPosition | FixedPosition,
    query_nodes: Int[Tensor, " query"],
) -> Int[Tensor, "#batch query candidate"] | None:
    """Give the candidate nodes of every query, window first; None where every node is one."""
    num_nodes = key.shape[2]
    if selection.dense or selection.window_nodes + selection.screened_nodes >= num_nodes - 1:
        return None
    window = _window_nodes(geometry, selection, query_nodes)
    if selection.screened_nodes == 0:
        return window[None]
    with torch.no_grad():  # the selection is discrete; the gradient flows through the scores
        each = observed / observed.sum(1, keepdim=True).clamp_min(1)
        mean_key = torch.einsum("btnhd,btn->bnhd", key, each.to(key.dtype)).flatten(2)
        similarity = query.flatten(3) @ mean_key.mT[:, None]  # (B, Q, S, N)
        everyone = torch.arange(num_nodes, device=key.device)
        relations = geometry.relations(query_nodes[:, None], everyone)  # (Q, N)
        features = F.embedding(relations, position.features().mean(1).to(key.dtype))  # (Q, N, R)
        coefficients = position.project(query).sum(3)  # (B, Q, S, R)
        similarity = (similarity + coefficients @ features.mT) / key.shape[3]  # mean of the heads
        is_source = observed.any(1)[:, None] & (query_nodes[:, None] != everyone)  # (B, Q, N)
        lowest = torch.finfo(similarity.dtype).min  # not -inf: where nothing is left, no NaN arises
        share = similarity.masked_fill(~is_source[:, :, None], lowest).log_softmax(-1).amax(2)
        is_open = is_source.scatter(2, window[None].expand(len(key), -1, -1), False)
        best = share.masked_fill(~is_open, -torch.inf).topk(selection.screened_nodes, dim=2)
        # Where too few nodes are observed, the query's own node fills up: it is never a source.
        screened = torch.where(best.values.isneginf(), query_nodes[:, None], best.indices)
    return torch.cat([window[None].expand(len(key), -1, -1), screened], dim=2)


def _window_nodes(
    geometry: Geometry, selection: Selection, query_nodes: Int[Tensor, " query"]
) -> Int[Tensor, "query neighbour"]:
    """Give the nearest other nodes of each query's node."""
    return geometry.neighbours[query_nodes, 1 : 1 + selection.window_nodes]


def _gathered(
    query, key, value, observed, geometry, selection, position, query_nodes, candidates
) -> Float[Tensor, "batch query segment head value_dim"]:
    """Score candidates only: one gather of node rows, one product, a mask, one product."""
    batch, history, num_nodes, heads, _ = key.shape
    queries, segments = query.shape[1:3]
    coefficients = position.project(query).flatten(2, 3)  # (B, Q, S*H, R)
    # Heads side by side in one wide query, zero outside their own channels: one product for all.
    eye = torch.eye(heads, device=key.device, dtype=key.dtype)
    wide = torch.einsum("bqshd,hg->bqshgd", query, eye).flatten(4).flatten(2, 3)  # (B, Q, S*H, D)
    keys = key.flatten(3).transpose(1, 2).flatten(2)  # (B, N, T*D), a node's steps in one row
    values = value.flatten(3).transpose(1, 2).flatten(2)
    seen = observed.transpose(1, 2)  # (B, N, T)
    if candidates is None:
        nodes = torch.arange(num_nodes, device=key.device)[None, None]  # (1, 1, C)
        keys, values, seen = keys[:, None], values[:, None], seen[:, None]  # (B, 1, C, T*D)
    else:
        nodes = candidates  # (1|B, Q, C)
        row = nodes + torch.arange(batch, device=key.device)[:, None, None] * num_nodes
        keys = F.embedding(row, keys.flatten(0, 1))  # (B, Q, C, T*D)
        values = F.embedding(row, values.flatten(0, 1))
        seen = F.embedding(row, seen.flatten(0, 1).to(key.dtype)) > 0
    seen = seen & (nodes != query_nodes[:, None])[..., None]  # (B, Q, C, T)
    relations = geometry.relations(query_nodes[None, :, None], nodes)  # (1|B, Q, C)
    features = F.embedding(relations, position.features().flatten(1).to(key.dtype))
    keys = keys.unflatten(-1, (history, -1)).flatten(2, 3)  # (B, 1|Q, C*T, D)
    values = values.unflatten(-1, (history, -1)).flatten(2, 3)
    features = features.unflatten(-1, (history, -1)).flatten(2, 3)  # (1|B, Q, C*T, R)
    scores = wide @ keys.mT + coefficients @ features.mT  # (B, Q, S*H, C*T)
    scores = scores.unflatten(2, (segments, heads))
    keep = seen.flatten(2)[:, :, None].expand(-1, queries, segments, -1)  # (B, Q, S, C*T)
    if selection.topk is not None and selection.topk < scores.shape[-1]:
        with torch.no_grad():
            ranking = scores.mean(3).masked_fill_(~keep, -torch.inf)
            kept = ranking.topk(selection.topk, dim=-1, sorted=False).indices
            keep = torch.zeros_like(keep).scatter_(-1, kept, True) & keep
    lowest = torch.finfo(scores.dtype).min  # not -inf: where nothing is kept, no NaN arises
    weights = scores.masked_fill(~keep[:, :, :, None], lowest).softmax(-1).flatten(2, 3)
    output = weights @ values  # (B, Q, S*H, H*v)
    output = output.unflatten(2, (segments, heads)).unflatten(-1, (heads, -1))
    output = torch.einsum("bqshhv->bqshv", output)  # each head keeps its own channels
    return output * keep.any(-1)[:, :, :, None, None]


def _reference(
    query, key, value, observed, geometry, selection, position, query_nodes, candidates
) -> tuple[Float[Tensor, "batch query segment head value_dim"], Alignment]:
    """Score every source, keep the Top-k candidates by index, gather them: the plain definition."""
    batch, history, num_nodes = observed.shape
    queries, segments, heads = query.shape[1:4]
    everyone = torch.arange(num_nodes, device=key.device)
    relations = geometry.relations(query_nodes[:, None], everyone)  # (Q, N)
    relative = position.features().to(key.dtype)[relations]  # (Q, N, T, R)
    scores = torch.einsum("bqshd,btnhd->bqshtn", query, key)
    scores = scores + torch.einsum("bqshr,qntr->bqshtn", position.project(query), relative)
    scores = scores.flatten(4)  # (B, Q, S, H, T*N)
    other = (query_nodes[:, None] != everyone).repeat(1, history)  # (Q, T*N)
    seen = (observed.flatten(1)[:, None] & other)[:, :, None]  # (B, Q, 1, T*N)
    dense = scores.masked_fill(~seen[:, :, :, None], -torch.inf)
    is_candidate = torch.ones(1, queries, num_nodes, dtype=torch.bool, device=key.device)
    if candidates is not None:
        is_candidate = torch.zeros(
            len(candidates), queries, num_nodes, dtype=torch.bool, device=key.device
        ).scatter_(2, candidates, True)
    allowed = is_candidate[:, :, None].expand(-1, -1, history, -1).flatten(2)[:, :, None] & seen
    ranking = scores.mean(3).masked_fill(~allowed, -torch.inf)  # (B, Q, S, T*N)
    num_candidates = num_nodes - 1 if candidates is None else candidates.shape[2]
    count = min(selection.topk or history * num_nodes, num_candidates * history)
    kept = ranking.topk(count, dim=-1).indices  # (B, Q, S, K)
    valid = allowed.expand(batch, queries, segments, -1).gather(3, kept)
    gathered = scores.gather(4, kept[:, :, :, None].expand(-1, -1, -1, heads, -1))
    weight = _safe_softmax(gathered.masked_fill(~valid[:, :, :, None], -torch.inf))
    order = weight.mean(3).argsort(dim=-1, descending=True, stable=True)
    kept, valid = kept.gather(3, order), valid.gather(3, order)
    weight = weight.gather(4, order[:, :, :, None].expand(-1, -1, -1, heads, -1))
    flat = value.flatten(1, 2)  # (B, T*N, H, v)
    picked = torch.stack([flat[b][kept[b]] for b in range(batch)])  # (B, Q, S, K, H, v)
    output = torch.einsum("bqshk,bqskhv->bqshv", weight, picked)
    step, node = kept // num_nodes, kept % num_nodes
    with torch.no_grad():
        mass = _safe_softmax(dense).gather(4, kept[:, :, :, None].expand(-1, -1, -1, heads, -1))
        covered = (mass * valid[:, :, :, None]).sum(-1)
    window = _window_nodes(geometry, selection, query_nodes)
    near = (node[..., None] == window[:, None, None]).any(-1)
    in_window = near & (step >= history - selection.window_steps)
    return output, Alignment(
        node=node,
        step=step,
        weight=weight,
        in_window=in_window,
        valid=valid,
        covered_mass=covered,
    )


def _safe_softmax(scores: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Softmax over the last axis, 0 (with zero gradient) where every score is -inf."""
    nothing = torch.isneginf(scores).all(-1, keepdim=True)
    return scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)


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
        source: Float[Tensor, "batch history node channel"],
        value: Float[Tensor, "batch history node head value_dim"],
        *,
        place: Float[Tensor, "query segment channel"],
        observed: Bool[Tensor, "batch history node"],
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
        return output.flatten(-2), alignment
