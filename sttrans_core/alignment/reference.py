"""The plain definition of the alignment: every source scored, in a table of targets and sources."""

import torch
from jaxtyping import Float
from torch import Tensor

from sttrans_core.alignment.attention import safe_softmax
from sttrans_core.alignment.inputs import Candidates, Inputs
from sttrans_core.alignment.ranking import Kept

__all__ = ["align_plainly"]


def align_plainly(
    inputs: Inputs, candidates: Candidates
) -> tuple[
    Float[Tensor, "batch query segment head value_dim"],
    Kept,
    Float[Tensor, "batch query segment head topk"],
    Float[Tensor, "batch query segment head"],
]:
    """Score every source, keep the Top-k candidates by index, gather them.

    Args:
        inputs: Queries and sources.
        candidates: From `find_candidates`.

    Returns:
        The weighted mean of the values, the kept sources, their weights, and the mass of dense
        attention over every observed source that they cover.
    """
    chosen, geometry = inputs.selection, inputs.geometry
    batch, num_nodes, history = inputs.observed.shape
    queries, heads = inputs.query.shape[1], inputs.query.shape[3]
    everyone = torch.arange(num_nodes, device=inputs.key.device)
    relations = geometry.relations(inputs.query_nodes[:, None], everyone)  # (Q, N)
    scores = torch.einsum("bqshd,bnthd->bqshnt", inputs.query, inputs.key)
    relative = inputs.features[relations]  # (Q, N, T, R)
    scores = scores + torch.einsum("bqshr,qntr->bqshnt", inputs.coefficients, relative)
    is_other = inputs.query_nodes[:, None] != everyone  # (Q, N)
    seen = (inputs.observed[:, None] & is_other[..., None])[:, :, None]  # (B, Q, 1, N, T)
    near = geometry.neighbours[inputs.query_nodes, 1 : 1 + chosen.window_nodes]
    in_window = (near[:, None] == everyone[:, None]).any(-1)[..., None] & (
        torch.arange(history, device=near.device) >= history - chosen.window_steps
    )  # (Q, N, T)
    allowed = seen & _is_candidate(candidates, batch, queries, num_nodes)[:, :, None, :, None]
    if chosen.window == "none":
        allowed = allowed & ~in_window[:, None]
    ranking = scores.mean(3).masked_fill(~allowed, -torch.inf).flatten(3)  # (B, Q, S, N*T)
    count = min(candidates.nodes.shape[2], num_nodes - 1) * history
    count = min(count, chosen.topk or count)
    kept = ranking.topk(count, dim=-1)
    is_source = ~kept.values.isneginf()
    at = kept.indices[:, :, :, None].expand(-1, -1, -1, heads, -1)  # (B, Q, S, H, K)
    score = scores.flatten(4).gather(4, at).masked_fill(~is_source[:, :, :, None], -torch.inf)
    weight = safe_softmax(score)
    flat = inputs.value.flatten(1, 2)  # (B, N*T, H, v)
    picked = torch.stack([flat[b][kept.indices[b]] for b in range(batch)])  # (B, Q, S, K, H, v)
    output = torch.einsum("bqshk,bqskhv->bqshv", weight, picked)
    dense = safe_softmax(scores.masked_fill(~seen[:, :, :, None], -torch.inf).flatten(4))
    covered = (dense.gather(4, at) * is_source[:, :, :, None]).sum(-1)
    pair = relations[:, :, None].expand(-1, -1, history).flatten(1)[None, :, None]  # (1, Q, 1, NT)
    relation = pair.expand_as(ranking).gather(3, kept.indices).where(is_source, 0)
    return output, Kept(kept.indices.where(is_source, -1), relation), weight, covered


def _is_candidate(
    candidates: Candidates, batch: int, queries: int, num_nodes: int
) -> Tensor:  # (B, Q, N)
    rows, nodes = candidates.rows, candidates.nodes
    table = torch.zeros(batch, len(rows), num_nodes + 1, dtype=torch.bool, device=nodes.device)
    table.scatter_(2, nodes.where(nodes >= 0, num_nodes).expand(batch, -1, -1), True)
    of_query = torch.zeros(batch, queries, num_nodes, dtype=torch.bool, device=nodes.device)
    filled = rows >= 0
    group = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
    of_query[:, rows[filled]] = table[:, group[filled], :num_nodes]
    return of_query
