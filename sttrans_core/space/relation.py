"""Where nodes are: nearest neighbours, groups, and how a source lies to a target."""

import math
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from sttrans_core.space.geometry import (
    EARTH_RADIUS_KM,
    NUM_SECTORS,
    compass_nodes,
    haversine_km,
    nearest_nodes,
    unit_points,
)
from sttrans_core.space.grouping import group_places
from sttrans_core.space.roads import pairs_along_roads

__all__ = ["Geometry", "Groups", "direction_names", "ring_centres"]

_DISTANCE_EDGES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 11.5, 15.5, 20.5, 30.5)  # in spacings
_AROUND = 6  # spacings to the nearest node in a direction, at most
_MOST_TABLED = 2048  # nodes; the table then takes 8 MB
DOWNSTREAM, UPSTREAM = NUM_SECTORS, NUM_SECTORS + 1
NUM_DIRECTIONS = NUM_SECTORS + 2  # bearings, then the two ways along the road
DIRECTIONS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW", "downstream", "upstream")
NUM_RELATIONS = 1 + (len(_DISTANCE_EDGES) + 1) * NUM_DIRECTIONS  # 0 is the node itself

_Index = TypeVar("_Index", np.ndarray, Tensor)


class Groups(NamedTuple):
    """Which targets share their candidates, and which nodes are screened together.

    Args:
        members: Nodes of each group of targets, -1 where a group is not full.
        blocks: Nodes of each block of sources, -1 where a block is not full.
        window: Nodes in the local window of any member, members included; -1 fills up.
        is_near: Blocks that lie in the window anyway, so that screening need not admit them.
        between: Relation class of the centres of group and block.
        nearby: Relation class of each member and each node of the window, 0 where there is none.
    """

    members: Int[Tensor, "group member"]
    blocks: Int[Tensor, "block member"]
    window: Int[Tensor, "group neighbour"]
    is_near: Bool[Tensor, "group block"]
    between: Int[Tensor, "group block"]
    nearby: Int[Tensor, "group member neighbour"]


class Geometry(nn.Module):
    """Where the nodes are, their nearest neighbours, and the relation class of any pair.

    Distances are counted in *spacings*, the typical distance between neighbouring nodes, so that
    one set of classes serves a freeway and a continent. Nothing here grows faster than the number
    of nodes: pairs are classified when they are asked for, and looked up in a table where there are
    few nodes; `classes` are then those that occur, else all. Between nodes that traffic passes one
    after the other, the distance is that along the road and the direction its way, downstream or
    upstream; between others they are the straight distance and the bearing.

    Args:
        latitude: Degrees, one per node.
        longitude: Degrees, one per node.
        num_neighbours: Nearest nodes to keep per node, itself first.
        downstream: Neighbouring nodes (from, to) in the direction of travel, (pair, 2); none where
            nothing is known of roads.
    """

    def __init__(
        self,
        latitude: np.ndarray,
        longitude: np.ndarray,
        *,
        num_neighbours: int,
        downstream: Int64[np.ndarray, "pair 2"] | None = None,
    ) -> None:
        super().__init__()
        latitude = np.asarray(latitude, dtype=np.float64)
        longitude = np.asarray(longitude, dtype=np.float64)
        near = nearest_nodes(latitude, longitude, count=num_neighbours)
        self.register_buffer("neighbours", torch.from_numpy(near), persistent=False)
        position = np.stack([np.radians(latitude), np.radians(longitude)], axis=-1)
        self.register_buffer("position", torch.from_numpy(position).float(), persistent=False)
        self.spacing_km = _typical_spacing(latitude, longitude)
        pair, relation = self._along_roads(latitude, longitude, downstream)
        self.register_buffer("road_pair", pair, persistent=False)
        self.register_buffer("road_relation", relation, persistent=False)
        classes, table = self._tabled()
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("table", table, persistent=False)
        self._groups: dict[tuple[Any, ...], Groups] = {}
        self._for_loops: tuple[Tensor, ...] = ()

    def _along_roads(
        self, latitude: np.ndarray, longitude: np.ndarray, downstream: np.ndarray | None
    ) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
        """Give the pairs joined by a road, ascending as target * nodes + source, and classes."""
        none = np.empty((0, 2), dtype=np.int64)
        downstream = none if downstream is None else downstream
        reach_km = _DISTANCE_EDGES[-1] * self.spacing_km
        start, end, km = pairs_along_roads(latitude, longitude, downstream, reach_km=reach_km)
        ring = np.digitize(km / self.spacing_km, _DISTANCE_EDGES)
        # What lies at the end of a pair is downstream of its start; -1 stands before all pairs.
        pair = np.concatenate([[-1], start * len(latitude) + end, end * len(latitude) + start])
        relation = np.concatenate([[0], _relation(ring, DOWNSTREAM), _relation(ring, UPSTREAM)])
        order = pair.argsort()
        return torch.from_numpy(pair[order]), torch.from_numpy(relation[order])

    def _tabled(self) -> tuple[Int[Tensor, " relation"], Int[Tensor, "node node"]]:
        """Give the classes of the pairs that there are, and the place of each pair's in them."""
        if self.num_nodes > _MOST_TABLED:
            return torch.arange(NUM_RELATIONS), torch.empty(0, 0, dtype=torch.int16)
        everyone = torch.arange(self.num_nodes)
        table = self._classify(everyone[:, None], everyone)
        occurs = torch.zeros(NUM_RELATIONS, dtype=torch.bool)
        occurs[0], occurs[table] = True, True
        return occurs.nonzero()[:, 0], (occurs.cumsum(0) - 1)[table].to(torch.int16)

    neighbours: Int[Tensor, "node neighbour"]
    position: Float[Tensor, "node 2"]
    road_pair: Int[Tensor, " pair"]
    road_relation: Int[Tensor, " pair"]
    classes: Int[Tensor, " relation"]
    table: Int[Tensor, "node node"]

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.position)

    def coordinates(self) -> Float[Tensor, "node 2"]:
        """Give positions centred and scaled to a spread of 1, for the embedding."""
        centred = self.position - self.position.mean(0)
        return centred / centred.std().clamp_min(1e-6) if len(centred) > 1 else centred * 0

    def offsets_km(
        self, target: Int[Tensor, "..."], source: Int[Tensor, "..."]
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Give how far east and north of the target a source lies (equirectangular).

        Args:
            target: Node indices.
            source: Node indices, broadcast against `target`.

        Returns:
            Kilometres east and north.
        """
        here, there = self.position[target], self.position[source]
        north = there[..., 0] - here[..., 0]
        east = torch.remainder(there[..., 1] - here[..., 1] + math.pi, 2 * math.pi) - math.pi
        east = east * torch.cos((there[..., 0] + here[..., 0]) / 2)
        return east * EARTH_RADIUS_KM, north * EARTH_RADIUS_KM

    def around(self) -> Int[Tensor, "node direction"]:
        """Give each node and the nearest one in each of eight directions.

        Returns:
            Node indices; the number of nodes stands for none.
        """
        latitude, longitude = np.degrees(self.position.double().cpu().numpy()).T
        near = compass_nodes(latitude, longitude, reach_km=_AROUND * self.spacing_km)
        near = np.where(near < 0, self.num_nodes, near)
        return torch.from_numpy(np.column_stack([np.arange(self.num_nodes), near]))

    def groups(self, *, group_size: int, block_size: int, window_nodes: int) -> Groups:
        """Group targets that share their candidates, and source nodes that are screened as one.

        Args:
            group_size: Targets of a group.
            block_size: Nodes of a block.
            window_nodes: Nearest other nodes in the local window.

        Returns:
            The groups; found once and kept.
        """
        key = (group_size, block_size, window_nodes, self.position.device)
        if key not in self._groups:
            near = self.neighbours[:, : 1 + window_nodes].cpu().numpy()
            found = group_places(
                unit_points(*np.degrees(self.position.double().cpu().numpy()).T),
                near, group_size=group_size, block_size=block_size, window_nodes=window_nodes,
            )  # fmt: skip
            to = partial(torch.as_tensor, device=self.position.device)
            members, window = to(found.members), to(found.window)
            between = self.relations(to(found.centre)[:, None], to(found.block_centre))
            nearby = self.relations(members.clamp_min(0)[..., None], window.clamp_min(0)[:, None])
            self._groups[key] = Groups(
                members, to(found.blocks), window, to(found.is_near), between.to(torch.int16),
                nearby.masked_fill((window < 0)[:, None], 0).to(torch.int16),
            )  # fmt: skip
        return self._groups[key]

    def relations(
        self, target: Int[Tensor, "..."], source: Int[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """Classify pairs by distance and direction.

        Args:
            target: Node indices.
            source: Node indices, broadcast against `target`.

        Returns:
            For each pair the place of its relation class in `classes`, 0 where source and target
            are the same node.
        """
        if not len(self.table):
            return self._classify(target, source)
        return self.table[target, source].long()

    def relations_of_groups(
        self, targets: Int[Tensor, "group member"], nodes: Int[Tensor, "group candidate"]
    ) -> Int[Tensor, "group member candidate"]:
        """Classify the pairs of each group's members and candidates, by compiled loops.

        Args:
            targets: Node indices on the CPU; the first node stands for -1.
            nodes: Node indices on the CPU; -1 is no source.

        Returns:
            As `relations`, but for pairs that lie on the very border of two classes; 0 where the
            candidate is no source.
        """
        from sttrans_core.kernels.compiling import lengths, run
        from sttrans_core.kernels.relations import classify, look_up

        found = torch.empty(*targets.shape, nodes.shape[1], dtype=torch.int16)
        if len(self.table):
            run(look_up, targets.numel(), targets, nodes, self.table, found)
            return found
        if not self._for_loops:
            half = self.position[:, :1].double() / 2
            place = torch.cat([self.position.double(), half.cos(), half.sin()], 1).float()
            edges = -torch.tensor(_DISTANCE_EDGES).square()
            first = torch.arange(self.num_nodes + 1) * self.num_nodes
            first = torch.searchsorted(self.road_pair, first)
            to, relation = self.road_pair % self.num_nodes, self.road_relation.to(torch.int16)
            self._for_loops = (place, edges, first, to, relation)
        place, edges, *roads = self._for_loops
        run(
            classify, targets.numel(), targets, nodes, place,
            (EARTH_RADIUS_KM / self.spacing_km) ** 2, edges,
            *lengths(len(_DISTANCE_EDGES)), NUM_DIRECTIONS, *roads, found,
        )  # fmt: skip
        return found

    def _classify(
        self, target: Int[Tensor, "..."], source: Int[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        east, north = self.offsets_km(target, source)
        edges = torch.tensor(_DISTANCE_EDGES, device=east.device)
        ring = torch.bucketize(torch.hypot(east, north) / self.spacing_km, edges)
        sector = torch.round(torch.atan2(east, north) / (2 * math.pi / NUM_SECTORS)).long()
        relation = _relation(ring, sector % NUM_SECTORS)
        pair = target * self.num_nodes + source
        place = torch.searchsorted(self.road_pair, pair).clamp_max(len(self.road_pair) - 1)
        on_road = self.road_pair[place] == pair
        relation = torch.where(on_road, self.road_relation[place], relation)
        return torch.where(target == source, 0, relation)


def direction_names(classes: Int[Tensor, "..."]) -> np.ndarray:
    """Name the direction from target to source of relation classes.

    Args:
        classes: Of `Geometry.classes`.

    Returns:
        "downstream" or "upstream" along a road, else the compass point; "" for the node itself.
    """
    names = np.array(["", *DIRECTIONS])
    index = torch.where(classes == 0, 0, 1 + (classes - 1) % NUM_DIRECTIONS)
    return names[index.cpu().numpy()]


def _relation(ring: _Index, direction: _Index | int) -> _Index:
    return 1 + ring * NUM_DIRECTIONS + direction


def _typical_spacing(latitude: np.ndarray, longitude: np.ndarray) -> float:
    """Median distance in km to the fourth nearest other node.

    The first may be the same mast on the other carriageway; the fourth is one spacing away on a
    grid and along a road with two carriageways. 1 km where all nodes are at one place.
    """
    nearest = nearest_nodes(latitude, longitude, count=5)[:, -1]
    distance = haversine_km(latitude, longitude, latitude[nearest], longitude[nearest])
    return float(np.median(distance)) or 1.0


def ring_centres() -> Float[Tensor, " ring"]:
    """Give the middle of each class of distances.

    Returns:
        In spacings, near to far.
    """
    edges = torch.tensor((0.0, *_DISTANCE_EDGES, 1.5 * _DISTANCE_EDGES[-1]))
    return (edges[:-1] + edges[1:]) / 2
