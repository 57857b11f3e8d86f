"""What the parts of an alignment work on, and the candidates of every query."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sttrans_core.alignment.types import Selection
from sttrans_core.space.relation import Geometry, Groups

__all__ = [
    "Candidates",
    "Inputs",
    "find_candidates",
    "relations",
    "relations_of_groups",
    "whole_groups",
]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Queries, sources and how they are related.

    The score of a source is `query . key + coefficients . features[relation, step]`.

    Args:
        query: Scaled by the root of its dimension.
        key: One vector per source and head.
        value: One vector per source and head.
        observed: Which sources were observed.
        coefficients: What each query weighs the relation features by.
        features: Features of every relation class and history step.
        geometry: Positions and neighbours of the nodes.
        selection: Which sources are candidates and how many are kept.
        query_nodes: Node index of each query.
    """

    query: Float[Tensor, "batch query segment head dim"]
    key: Float[Tensor, "batch node history head dim"]
    value: Float[Tensor, "batch node history head value_dim"]
    observed: Bool[Tensor, "batch node history"]
    coefficients: Float[Tensor, "batch query segment head relation_dim"]
    features: Float[Tensor, "relation history relation_dim"]
    geometry: Geometry
    selection: Selection
    query_nodes: Int[Tensor, " query"]


class Candidates(NamedTuple):
    """Nodes whose sources are candidates, for each group of queries.

    Args:
        rows: Positions of the members of each group in the query axis, -1 fills up.
        nodes: Candidate nodes, those of the window first, -1 fills up.
        nearby: Relation class of each member and each node of the window; none in it where every
            node is a candidate.
    """

    rows: Int[Tensor, "group member"]
    nodes: Int[Tensor, "#batch group candidate"]
    nearby: Int[Tensor, "group member neighbour"]


def find_candidates(inputs: Inputs) -> Candidates:
    """Give the candidate nodes of every query.

    Args:
        inputs: Queries and sources.

    Returns:
        One group with all nodes where screening is exact; else the groups of the geometry, each
        with the nodes of its members' windows and of the blocks that it admits: those with the
        largest share among all blocks in any segment, by the softmax of the score of the group's
        mean query and a block's mean observed key, averaged over heads.

    Raises:
        ValueError: Screening by blocks was given a part of a group's members.
    """
    chosen, device = inputs.selection, inputs.query.device
    num_nodes, num_queries = inputs.key.shape[1], len(inputs.query_nodes)
    if chosen.screening == "exact":
        rows = torch.arange(num_queries, device=device)[None]
        nodes = torch.arange(num_nodes, device=device)[None, None]
        return Candidates(rows, nodes, rows.new_empty(1, num_queries, 0, dtype=torch.int16))
    groups = _groups(inputs.geometry, chosen)
    place = torch.full((num_nodes + 1,), -1, device=device)  # the last one is where -1 points to
    place[inputs.query_nodes] = torch.arange(num_queries, device=device)
    rows = place[groups.members]
    if num_queries < num_nodes:
        asked = (rows >= 0).any(1)
        rows = rows[asked]
        if ((rows < 0) & (groups.members[asked] >= 0)).any():
            raise ValueError(
                "Screening by blocks must be given whole groups of targets, which share their "
                f"candidates; got {num_queries} queries of {num_nodes} nodes that leave some "
                "members out. Pass all nodes, or those that whole_groups gives."
            )
        groups = groups._replace(
            window=groups.window[asked],
            is_near=groups.is_near[asked],
            between=groups.between[asked],
            nearby=groups.nearby[asked],
        )
    with torch.no_grad():  # the selection is discrete; the gradient flows through the scores
        admitted = _admitted_blocks(inputs, rows, groups)  # (B, G, A)
    screened = groups.blocks[admitted].flatten(2)  # (B, G, A*M)
    window = groups.window.expand(screened.shape[0], -1, -1)  # (B, G, W)
    in_window = torch.zeros(len(rows), num_nodes + 1, dtype=torch.bool, device=device)
    in_window = in_window.scatter(1, groups.window.where(groups.window >= 0, num_nodes), True)
    at = screened.where(screened >= 0, num_nodes)
    repeated = in_window.expand(screened.shape[0], -1, -1).gather(2, at)
    nodes = torch.cat([window, screened.masked_fill(repeated, -1)], dim=2)
    return Candidates(rows, nodes, groups.nearby)


def whole_groups(
    geometry: Geometry, selection: Selection, nodes: Int[Tensor, " query"]
) -> Int[Tensor, " member"]:
    """Give the targets that must be queried together, for some of them to be.

    Args:
        geometry: Positions and neighbours of the nodes.
        selection: Which sources are candidates.
        nodes: Node indices.

    Returns:
        The same nodes where screening is exact; else all members of their groups, each once.
    """
    if selection.screening == "exact":
        return nodes
    members = _groups(geometry, selection).members
    members = members[torch.isin(members, nodes).any(1)]
    return members[members >= 0].sort().values


def _groups(geometry: Geometry, selection: Selection) -> Groups:
    return geometry.groups(
        group_size=selection.group_size,
        block_size=selection.block_size,
        window_nodes=selection.window_nodes,
    )


def _admitted_blocks(inputs, rows, groups) -> Int[Tensor, "batch group candidate"]:
    heads, num_blocks = inputs.key.shape[3], len(groups.blocks)
    is_member = (rows >= 0).to(inputs.query.dtype)
    share = (is_member / is_member.sum(1, keepdim=True))[None, :, :, None, None]
    query = (_nodes(inputs.query, rows).flatten(4) * share).sum(2)  # (B, G, S, D)
    coefficients = _nodes(inputs.coefficients.sum(3), rows)
    coefficients = (coefficients * share).sum(2)  # (B, G, S, R)
    seen = inputs.observed.to(inputs.key.dtype)
    of_node = (seen[:, :, None] @ inputs.key.flatten(3))[:, :, 0]  # (B, N, D)
    in_block = (groups.blocks >= 0)[..., None]
    of_block = (_nodes(of_node, groups.blocks) * in_block).sum(2)
    count = (_nodes(seen.sum(2), groups.blocks) * in_block[..., 0]).sum(2)  # (B, blocks)
    mean_key = of_block / count.clamp_min(1)[..., None]
    similarity = (query.flatten(1, 2) @ mean_key.mT).view(*query.shape[:3], -1)  # (B, G, S, blocks)
    bias = coefficients @ inputs.features.mean(1).T  # (B, G, S, relations)
    between = groups.between.long()[None, :, None].expand_as(similarity)
    similarity = similarity.add_(bias.gather(3, between)).div_(heads)
    is_open = (count > 0)[:, None] & ~groups.is_near
    lowest = torch.finfo(similarity.dtype).min  # not -inf: where nothing is left, no NaN arises
    best = similarity.masked_fill_(~is_open[:, :, None], lowest).log_softmax(-1).amax(2)
    return best.topk(min(inputs.selection.screened_blocks, num_blocks), dim=2).indices


def _nodes(values: Tensor, index: Tensor) -> Tensor:
    """Gather along the axis of nodes or queries."""
    return values.index_select(1, index.clamp_min(0).flatten()).unflatten(1, index.shape)


def relations(
    inputs: Inputs, targets: Int[Tensor, "..."], nodes: Int[Tensor, "..."]
) -> Int[Tensor, "..."]:
    """Classify pairs of target and candidate.

    Args:
        inputs: Queries and sources.
        targets: Node indices.
        nodes: Node indices, broadcast against `targets`; -1 is no source.

    Returns:
        Relation class, 0 where the candidate is no source. Where sources of the window are taken
        away and the candidate lies in it, the number of classes is added: its newest steps are
        closed.
    """
    relation = inputs.geometry.relations(targets, nodes.clamp_min(0)).masked_fill_(nodes < 0, 0)
    return _without_window(inputs, relation, targets, nodes).to(torch.int16)


def relations_of_groups(
    inputs: Inputs,
    rows: Int[Tensor, "group member"],
    nodes: Int[Tensor, "group candidate"],
    nearby: Int[Tensor, "group member neighbour"],
    *,
    compiled: bool,
) -> Int[Tensor, "group member candidate"]:
    """Classify the pairs of each group's members and candidates.

    Args:
        inputs: Queries and sources.
        rows: Positions of the members in the query axis.
        nodes: Node indices; -1 is no source.
        nearby: Classes of the first of the nodes, which are known.
        compiled: Use the compiled loop.

    Returns:
        As `relations` gives them.
    """
    targets, far = inputs.query_nodes[rows], nodes[:, nearby.shape[2] :]
    if compiled:
        relation = inputs.geometry.relations_of_groups(targets, far)
    else:
        relation = inputs.geometry.relations(targets[..., None], far.clamp_min(0)[:, None])
        relation = relation.to(torch.int16).masked_fill_(far[:, None] < 0, 0)
    relation = torch.cat([nearby, relation], dim=2)
    return _without_window(inputs, relation, targets[..., None], nodes[:, None])


def _without_window(inputs: Inputs, relation: Tensor, targets: Tensor, nodes: Tensor) -> Tensor:
    chosen = inputs.selection
    if chosen.window == "local":
        return relation
    near = inputs.geometry.neighbours[targets, 1 : 1 + chosen.window_nodes]
    is_near = (near == nodes[..., None]).any(-1)
    return torch.where(is_near, relation + len(inputs.features), relation)
