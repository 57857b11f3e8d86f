"""The loops that classify pairs of target and candidate: looked up, or by where they lie."""

import math

from numba import prange

from sttrans_core.kernels.compiling import Kernel, compiled
from sttrans_core.kernels.vectors import count_above, load

__all__ = ["classify", "look_up"]

_TAN = math.tan(math.pi / 8)  # a bearing nearer to north than this is north


@compiled()
def _classify(
    first, end, targets, nodes, place, unit, edges, rings, ways, road_first, road_to,
    road_relation, relation,
):  # fmt: skip
    # targets: (G, g), nodes: (G, C), place: (N, 4) latitude, longitude, cosine and sine of half the
    # latitude, edges: negative squares, descending with distance, relation: (G, g, C).
    for item in range(first, end):
        group, member = item // targets.shape[1], item % targets.shape[1]
        i = max(targets[group, member], 0)
        latitude, longitude = place[i, 0], place[i, 1]
        for c in range(nodes.shape[1]):
            j = nodes[group, c]
            if j < 0 or j == i:
                relation[group, member, c] = 0
                continue
            north, east = place[j, 0] - latitude, place[j, 1] - longitude
            if east >= math.pi:
                east -= 2 * math.pi
            elif east < -math.pi:
                east += 2 * math.pi
            east *= place[i, 2] * place[j, 2] - place[i, 3] * place[j, 3]  # cosine of the middle
            square = (east * east + north * north) * unit
            ring = count_above(load(edges, (0,), rings), -square)
            across, along = abs(east), abs(north)
            sector = 0 if across <= _TAN * along else 2 if along <= _TAN * across else 1
            if north < 0:
                sector = 4 - sector
            if east < 0:
                sector = (8 - sector) % 8
            here = 1 + ring * ways + sector
            if ring < len(rings):  # no road is longer
                low, high = road_first[i], road_first[i + 1]
                while low < high:
                    middle = (low + high) // 2
                    if road_to[middle] < j:
                        low = middle + 1
                    else:
                        high = middle
                if low < road_first[i + 1] and road_to[low] == j:
                    here = road_relation[low]
            relation[group, member, c] = here


@compiled(parallel=True)
def _classify_in_threads(
    parts, count, targets, nodes, place, unit, edges, rings, ways, road_first, road_to,
    road_relation, relation,
):  # fmt: skip
    for part in prange(parts):
        _classify(
            count * part // parts, count * (part + 1) // parts,
            targets, nodes, place, unit, edges, rings, ways, road_first, road_to, road_relation,
            relation,
        )  # fmt: skip


@compiled()
def _look_up(first, end, targets, nodes, table, relation):
    for item in range(first, end):
        group, member = item // targets.shape[1], item % targets.shape[1]
        i = max(targets[group, member], 0)
        for c in range(nodes.shape[1]):
            j = nodes[group, c]
            relation[group, member, c] = table[i, j] if j >= 0 else 0


@compiled(parallel=True)
def _look_up_in_threads(parts, count, targets, nodes, table, relation):
    for part in prange(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        _look_up(first, end, targets, nodes, table, relation)


classify = Kernel(_classify, _classify_in_threads)
"""Give the relation class of each member of a group and each of the group's candidates."""

look_up = Kernel(_look_up, _look_up_in_threads)
"""Look relation classes up in the table of all pairs."""
