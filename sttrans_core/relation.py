"""Relative position of a source to a target: distance, bearing and lag."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sttrans_core.geometry import EARTH_RADIUS_KM, haversine_km, nearest_nodes

__all__ = ["FixedPosition", "Geometry", "LearnedPosition"]

NUM_SECTORS = 8
_DISTANCE_EDGES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 11.5, 15.5, 20.5, 30.5)  # in spacings
NUM_RELATIONS = 1 + (len(_DISTANCE_EDGES) + 1) * NUM_SECTORS  # 0 is the node itself


class Geometry(nn.Module):
    """Where the nodes are, their nearest neighbours, and the relation class of any pair.

    Distances are counted in *spacings*, the typical distance between neighbouring nodes, so that
    one set of classes serves a freeway and a continent. Nothing here grows faster than the number
    of nodes: pairs are classified when they are asked for.

    Args:
        latitude: Degrees, one per node.
        longitude: Degrees, one per node.
        num_neighbours: Nearest nodes to keep per node, itself first.
    """

    def __init__(self, latitude: np.ndarray, longitude: np.ndarray, *, num_neighbours: int) -> None:
        super().__init__()
        latitude = np.asarray(latitude, dtype=np.float64)
        longitude = np.asarray(longitude, dtype=np.float64)
        near = nearest_nodes(latitude, longitude, count=num_neighbours)
        self.register_buffer("neighbours", torch.from_numpy(near), persistent=False)
        position = np.stack([np.radians(latitude), np.radians(longitude)], axis=-1)
        self.register_buffer("position", torch.from_numpy(position).float(), persistent=False)
        self.spacing_km = _typical_spacing(latitude, longitude)

    neighbours: Int[Tensor, "node neighbour"]
    position: Float[Tensor, "node 2"]

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

    def relations(
        self, target: Int[Tensor, "..."], source: Int[Tensor, "..."]
    ) -> Int[Tensor, "..."]:
        """Classify pairs by distance and bearing.

        Args:
            target: Node indices.
            source: Node indices, broadcast against `target`.

        Returns:
            Relation class of each pair, 0 where source and target are the same node.
        """
        east, north = self.offsets_km(target, source)
        edges = torch.tensor(_DISTANCE_EDGES, device=east.device)
        ring = torch.bucketize(torch.hypot(east, north) / self.spacing_km, edges)
        sector = torch.round(torch.atan2(east, north) / (2 * math.pi / NUM_SECTORS)).long()
        relation = 1 + ring * NUM_SECTORS + sector % NUM_SECTORS
        return torch.where(target == source, 0, relation)


def _typical_spacing(latitude: np.ndarray, longitude: np.ndarray) -> float:
    """Median distance in km to the fourth nearest other node.

    The first may be the same mast on the other carriageway; the fourth is one spacing away on a
    grid and along a road with two carriageways. 1 km where all nodes are at one place.
    """
    nearest = nearest_nodes(latitude, longitude, count=5)[:, -1]
    distance = haversine_km(latitude, longitude, latitude[nearest], longitude[nearest])
    return float(np.median(distance)) or 1.0


def _ring_centres() -> Float[Tensor, " ring"]:
    edges = torch.tensor((0.0, *_DISTANCE_EDGES, 1.5 * _DISTANCE_EDGES[-1]))
    return (edges[:-1] + edges[1:]) / 2


class LearnedPosition(nn.Module):
    """Learnable relative position in the keys: features of (distance, bearing, lag).

    A small network gives `relation_dim` features for every relation class and lag, and each head
    has a projection of its own from features to its key space, so a query scores a source by
    `q . (k + r(distance, bearing, lag))`. The features are shared by heads and computed once for
    the few hundred classes, not for every pair.

    Args:
        history_steps: Steps of the history; lags are counted back from the newest.
        num_heads: Attention heads.
        head_dim: Width of a head.
        relation_dim: Features per relation and lag.

    Source: Cai, "Improvement of spatio-temporal prediction model", relative position encoding in
    the key projection; spatial distance decay and temporal delay.
    """

    def __init__(
        self, history_steps: int, num_heads: int, head_dim: int, relation_dim: int
    ) -> None:
        super().__init__()
        self.register_buffer("inputs", _relation_inputs(history_steps), persistent=False)
        hidden = 4 * relation_dim
        self.network = nn.Sequential(
            nn.Linear(self.inputs.shape[-1], hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, relation_dim),
            nn.LayerNorm(relation_dim, elementwise_affine=False),
        )
        self.projection = nn.Parameter(torch.randn(num_heads, head_dim, relation_dim) * 0.5)
        self.register_buffer("distance_and_lag", _decay_inputs(history_steps), persistent=False)
        self.decay = nn.Parameter(torch.tensor([[1.0, 0.1]]).repeat(num_heads, 1))

    inputs: Float[Tensor, "relation history feature"]
    distance_and_lag: Float[Tensor, "relation history 2"]

    def features(self) -> Float[Tensor, "relation history relation_dim"]:
        """Give the features of every relation class and history step."""
        return torch.cat([self.network(self.inputs), self.distance_and_lag], dim=-1)

    def project(
        self, query: Float[Tensor, "... head dim"]
    ) -> Float[Tensor, "... head relation_dim"]:
        """Turn queries into the coefficients that the relation features are weighted by."""
        learned = torch.einsum("...hd,hdr->...hr", query, self.projection)
        return torch.cat([learned, -self.decay.expand(*query.shape[:-1], -1)], dim=-1)


class FixedPosition(nn.Module):
    """The ablation: similarity decays with distance and lag at fixed rates.

    Args:
        history_steps: Steps of the history.
        head_dim: Width of a head, to undo the scaling of scores.
        decay_spacings: Distance, in spacings, over which the score falls by 1.
        decay_steps: Lag, in steps, over which the score falls by 1.
    """

    def __init__(
        self,
        history_steps: int,
        head_dim: int,
        *,
        decay_spacings: float = 4.0,
        decay_steps: float = 6.0,
    ) -> None:
        super().__init__()
        lag = torch.arange(history_steps).flip(0) / decay_steps
        rings = _ring_centres().repeat_interleave(NUM_SECTORS) / decay_spacings
        distance = torch.cat([torch.zeros(1), rings])
        table = -(distance[:, None] + lag) * math.sqrt(head_dim)
        self.register_buffer("table", table[..., None], persistent=False)

    table: Float[Tensor, "relation history 1"]

    def features(self) -> Float[Tensor, "relation history 1"]:
        """Give the fixed decay of every relation class and history step."""
        return self.table

    def project(self, query: Float[Tensor, "... head dim"]) -> Float[Tensor, "... head 1"]:
        """Weigh the decay by 1, whatever the query."""
        return torch.ones_like(query[..., :1])


def _decay_inputs(history_steps: int) -> Float[Tensor, "relation history 2"]:
    """Distance (logarithmic, in spacings) and lag (in steps) of each relation class and step."""
    distance = torch.log1p(_ring_centres()).repeat_interleave(NUM_SECTORS)
    distance = torch.cat([torch.zeros(1), distance])
    lag = torch.arange(history_steps).flip(0).float()
    return torch.stack(torch.broadcast_tensors(distance[:, None], lag[None]), dim=-1)


def _relation_inputs(history_steps: int) -> Float[Tensor, "relation history feature"]:
    """Describe each relation class and lag by smooth functions for the network to mix."""
    distance = torch.log1p(_ring_centres())
    bumps = torch.exp(-((distance[:, None] - torch.linspace(0.0, 3.5, 8)) ** 2) / 0.18)  # (ring, 8)
    angle = torch.arange(NUM_SECTORS) * (2 * math.pi / NUM_SECTORS)
    turns = [torch.ones_like(angle), angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()]
    space = torch.einsum("rb,as->rasb", bumps, torch.stack(turns, dim=-1)).flatten(2).flatten(0, 1)
    space = torch.cat([torch.zeros(1, space.shape[1]), space])  # (R, 40)
    itself = torch.zeros(len(space), 1)
    itself[0] = 1.0
    lag = torch.arange(history_steps).flip(0) / max(1, history_steps - 1)
    waves = torch.stack([torch.cos(math.pi * order * lag) for order in (1, 2, 3, 4)], dim=-1)
    space = torch.cat([itself, space], dim=-1)[:, None].expand(-1, history_steps, -1)
    return torch.cat([space, waves[None].expand(len(space), -1, -1)], dim=-1)
