"""What an alignment is, and which sources may belong to it."""

from dataclasses import dataclass, fields
from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Alignment", "Selection"]


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
            on the kept ones; NaN where there are too many queries and sources to tell.
    """

    node: Int[Tensor, "batch query segment topk"]
    step: Int[Tensor, "batch query segment topk"]
    weight: Float[Tensor, "batch query segment head topk"]
    in_window: Bool[Tensor, "batch query segment topk"]
    valid: Bool[Tensor, "batch query segment topk"]
    covered_mass: Float[Tensor, "batch query segment head"]

    def rows(self, queries: Int[Tensor, " query"]) -> "Alignment":
        """Give the alignment of some queries.

        Args:
            queries: Their positions.
        """
        return Alignment(
            **{each.name: getattr(self, each.name)[:, queries] for each in fields(self)}
        )


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which sources are candidates, and how many of them are kept.

    Args:
        topk: Sources kept per query; None keeps every candidate.
        screening: `exact` makes every source a candidate. With `blocks`, nodes are screened in
            blocks of near ones, once for each group of near targets: candidates are the sources of
            the nodes in the windows of the group and of the blocks that it admits. The work then
            grows with the number of targets only.
        window: `none` takes the sources of the local window away.
        window_nodes: Nearest other nodes in the local window.
        window_steps: Most recent steps of these nodes that count as local; older ones are global.
        group_size: Targets that share their candidates.
        block_size: Nodes that are screened as one.
        screened_blocks: Blocks that a group admits.
        silent_heads: Heads whose sources have no say in the forecast.
    """

    topk: int | None
    screening: Literal["exact", "blocks"] = "exact"
    window: Literal["local", "none"] = "local"
    window_nodes: int = 8
    window_steps: int = 8
    group_size: int = 32
    block_size: int = 4
    screened_blocks: int = 24
    silent_heads: tuple[int, ...] = ()
