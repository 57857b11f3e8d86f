"""Groups of near places: who shares candidates, and what is screened as one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

__all__ = ["Grouping", "group_places", "split_places"]


class Grouping(NamedTuple):
    """Which targets share their candidates, and which nodes are screened together.

    Args:
        members: Nodes of each group of targets, -1 where a group is not full.
        blocks: Nodes of each block of sources, -1 where a block is not full.
        window: Nodes in the local window of any member, -1 fills up.
        is_near: Blocks that lie in the window anyway, so that screening need not admit them.
        centre: The most central member of each group.
        block_centre: The most central node of each block.
    """

    members: Int64[np.ndarray, "group member"]
    blocks: Int64[np.ndarray, "block member"]
    window: Int64[np.ndarray, "group neighbour"]
    is_near: Bool[np.ndarray, "group block"]
    centre: Int64[np.ndarray, " group"]
    block_centre: Int64[np.ndarray, " block"]


def group_places(
    position: Float[np.ndarray, "node 3"],
    neighbours: Int64[np.ndarray, "node neighbour"],
    *,
    group_size: int,
    block_size: int,
    window_nodes: int,
) -> Grouping:
    """Group targets, and source nodes into blocks.

    Args:
        position: Points on the unit sphere.
        neighbours: Nearest nodes of each node, itself first.
        group_size: Targets that share their candidates.
        block_size: Nodes that are screened as one.
        window_nodes: Nearest other nodes in the local window.

    Returns:
        The grouping.
    """
    members = split_places(position, group_size)
    blocks = split_places(position, block_size)
    near = [
        np.unique(neighbours[group[group >= 0], : 1 + window_nodes] if window_nodes else [])
        for group in members
    ]
    window = _padded(near)
    block_of = np.empty(len(position), dtype=np.int64)
    block_of[blocks[blocks >= 0]] = np.nonzero(blocks >= 0)[0]
    group, column = np.nonzero(window >= 0)
    held = np.zeros((len(members), len(blocks)), dtype=np.int64)
    np.add.at(held, (group, block_of[window[group, column]]), 1)
    return Grouping(
        members=members,
        blocks=blocks,
        window=window,
        is_near=held == (blocks >= 0).sum(1),
        centre=_centres(position, members),
        block_centre=_centres(position, blocks),
    )


def split_places(
    position: Float[np.ndarray, "node 3"], size: int
) -> Int64[np.ndarray, "group member"]:
    """Split places into compact groups: halved across their longest extent until small enough.

    Args:
        position: Points on the unit sphere.
        size: Places of a group; the last one of the order may have fewer.

    Returns:
        Node indices of each group, -1 where it is not full.

    Source: the k-d tree of Bentley, "Multidimensional binary search trees" (1975).
    """
    todo, done = [np.arange(len(position))], []
    while todo:
        places = todo.pop()
        if len(places) <= size:
            done.append(places)
            continue
        axis = np.ptp(position[places], axis=0).argmax()
        order = places[position[places, axis].argsort(kind="stable")]
        half = size * max(1, round(len(places) / size / 2))  # only one group is left part empty
        todo += [order[half:], order[:half]]
    return _padded(done)


def _padded(groups: list[np.ndarray]) -> Int64[np.ndarray, "group member"]:
    width = max(len(group) for group in groups)
    filled = np.full((len(groups), width), -1, dtype=np.int64)
    for row, group in zip(filled, groups, strict=True):
        row[: len(group)] = group
    return filled


def _centres(
    position: Float[np.ndarray, "node 3"], groups: Int64[np.ndarray, "group member"]
) -> Int64[np.ndarray, " group"]:
    """Give the member nearest to the mean of each group."""
    is_member = (groups >= 0)[..., None]
    places = position[groups]
    mean = (places * is_member).sum(1) / is_member.sum(1)
    distance = np.where(is_member[..., 0], ((places - mean[:, None]) ** 2).sum(-1), np.inf)
    return np.take_along_axis(groups, distance.argmin(1)[:, None], axis=1)[:, 0]
