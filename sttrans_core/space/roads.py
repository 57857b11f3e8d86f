"""Which way traffic goes: distances along the road, downstream."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from sttrans_core.space.geometry import haversine_km

__all__ = ["RoadPairs", "downstream_pairs", "pairs_along_roads"]

_SHORTEST_KM = 1e-3  # sensors at one place stay joined
_LONGEST_DETOUR = 1.5  # times the straight distance; the other carriageway is not along the road
_ENTRIES_AT_ONCE = 1 << 22


class RoadPairs(NamedTuple):
    """Pairs of nodes that traffic passes one after the other.

    Attributes:
        start: Node index of the place upstream, (pair,).
        end: Node index of the place downstream, (pair,).
        km: Distance along the road, (pair,).
    """

    start: Int64[np.ndarray, " pair"]
    end: Int64[np.ndarray, " pair"]
    km: Float64[np.ndarray, " pair"]


def downstream_pairs(adjacency: Float[np.ndarray, "node node"]) -> Int64[np.ndarray, "pair 2"]:
    """Give the pairs of nodes that traffic passes one after the other.

    Where weights lead both ways, as in graphs of driving distances, the larger one is the road and
    the smaller one a detour back to it. Equal weights tell no direction: an adjacency made from
    locations alone gives no pairs.

    Args:
        adjacency: Edge weights from row to column, no unit; 0 where there is no edge.

    Returns:
        Node indices (from, to), ordered.
    """
    weight = np.asarray(adjacency)
    return np.argwhere((weight > 0) & (weight > weight.T)).astype(np.int64)


def pairs_along_roads(
    latitude: Float[np.ndarray, " node"],
    longitude: Float[np.ndarray, " node"],
    downstream: Int64[np.ndarray, "pair 2"],
    *,
    reach_km: float,
) -> RoadPairs:
    """Give the nodes that lie downstream of each node, and how far along the road.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.
        downstream: Neighbouring nodes (from, to) in the direction of travel.
        reach_km: How far to look.

    Returns:
        Every pair within reach whose way is no detour, with the shortest sum of great-circle
        distances between neighbours. Of two nodes on a loop only the shorter way counts, and
        neither if both are as long.
    """
    num_nodes = len(latitude)
    if len(downstream) == 0:
        return RoadPairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    start, end = downstream.T
    km = haversine_km(latitude[start], longitude[start], latitude[end], longitude[end])
    road = csr_array((np.maximum(km, _SHORTEST_KM), (start, end)), shape=(num_nodes, num_nodes))
    parts = []
    for rows in np.array_split(np.arange(num_nodes), -(-(num_nodes**2) // _ENTRIES_AT_ONCE)):
        away = dijkstra(road, indices=rows, limit=reach_km)  # (row, node), inf beyond the reach
        back = dijkstra(road.T, indices=rows, limit=reach_km)
        row, end = np.nonzero((away < back) & np.isfinite(away))
        start, km = rows[row], away[row, end]
        straight = haversine_km(latitude[start], longitude[start], latitude[end], longitude[end])
        is_direct = km <= _LONGEST_DETOUR * straight + _SHORTEST_KM
        parts.append((start[is_direct], end[is_direct], km[is_direct]))
    return RoadPairs(*(np.concatenate(part) for part in zip(*parts, strict=True)))
