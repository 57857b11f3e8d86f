"""Relative position of a source to a target, as part of its score: distance, direction and lag."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sttrans_core.space.relation import NUM_DIRECTIONS, NUM_SECTORS, ring_centres

__all__ = ["FixedPosition", "LearnedPosition"]


class LearnedPosition(nn.Module):
    """Learnable relative position in the keys: features of (distance, direction, lag).

    A small network gives `relation_dim` features for every relation class and lag, and each head
    has a projection of its own from features to its key space, so a query scores a source by
    `q . (k + r(distance, direction, lag))`. The features are shared by heads and computed once for
    the few dozen classes that occur, not for every pair. Beside them each head has slopes, whatever
    the query: how its scores change with distance, with lag and with the direction. At first every
    head prefers what is near and new, and each another direction; heads that all start alike never
    part, and their mean of all directions tells a forecast nothing.

    Args:
        history_steps: Steps of the history; lags are counted back from the newest.
        num_heads: Attention heads.
        head_dim: Width of a head.
        relation_dim: Features per relation and lag.

    Source: Cai, "Improvement of spatio-temporal prediction model", relative position encoding in
    the key projection; spatial distance decay and temporal delay. Slopes that differ by head are
    those of Press et al., "Train short, test long" (2022), in space.
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
        self.projection = nn.Parameter(torch.randn(num_heads, head_dim, relation_dim) * 0.1)
        self.register_buffer("slope_inputs", _slope_inputs(history_steps), persistent=False)
        self.slopes = nn.Parameter(_first_slopes(num_heads))

    inputs: Float[Tensor, "relation history feature"]
    slope_inputs: Float[Tensor, "relation history 6"]

    def features(
        self, classes: Int[Tensor, " relation"]
    ) -> Float[Tensor, "relation history relation_dim"]:
        """Give the features of relation classes at every history step."""
        learned = self.network(self.inputs[classes])
        return torch.cat([learned, self.slope_inputs[classes]], dim=-1)

    def project(
        self, query: Float[Tensor, "... head dim"]
    ) -> Float[Tensor, "... head relation_dim"]:
        """Turn queries into the coefficients that the relation features are weighted by."""
        learned = torch.einsum("...hd,hdr->...hr", query, self.projection)
        return torch.cat([learned, self.slopes.expand(*query.shape[:-1], -1)], dim=-1)


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
        rings = ring_centres().repeat_interleave(NUM_DIRECTIONS) / decay_spacings
        distance = torch.cat([torch.zeros(1), rings])
        table = -(distance[:, None] + lag) * math.sqrt(head_dim)
        self.register_buffer("table", table[..., None], persistent=False)

    table: Float[Tensor, "relation history 1"]

    def features(self, classes: Int[Tensor, " relation"]) -> Float[Tensor, "relation history 1"]:
        """Give the fixed decay of relation classes at every history step."""
        return self.table[classes]

    def project(self, query: Float[Tensor, "... head dim"]) -> Float[Tensor, "... head 1"]:
        """Weigh the decay by 1, whatever the query."""
        return torch.ones_like(query[..., :1])


def _slope_inputs(history_steps: int) -> Float[Tensor, "relation history 6"]:
    """Give log distance (in spacings), lag (in steps), east, north, downstream and upstream."""
    num_rings = len(ring_centres())
    distance = torch.log1p(ring_centres()).repeat_interleave(NUM_DIRECTIONS)
    angle = torch.arange(NUM_SECTORS) * (2 * math.pi / NUM_SECTORS)
    compass = torch.stack([angle.sin(), angle.cos()], dim=-1)
    direction = torch.block_diag(compass, torch.eye(2)).repeat(num_rings, 1)
    place = torch.cat([torch.zeros(1, 5), torch.cat([distance[:, None], direction], dim=-1)])
    lag = torch.arange(history_steps).flip(0).float()
    place = place[:, None].expand(-1, history_steps, -1)
    lag = lag[:, None].expand(len(place), -1, -1)
    return torch.cat([place[..., :1], lag, place[..., 1:]], dim=-1)


def _first_slopes(num_heads: int) -> Float[Tensor, "head 6"]:
    """Near and new first; along a road every other head downstream, else around the compass."""
    head = torch.arange(num_heads)
    turn = head * (2 * math.pi / num_heads)
    is_even = (head % 2 == 0).float()
    near, new = -torch.ones(num_heads), torch.full((num_heads,), -0.3)
    columns = [near, new, 0.5 * turn.sin(), 0.5 * turn.cos(), 2 * is_even, 2 * (1 - is_even)]
    return torch.stack(columns, dim=-1)


def _relation_inputs(history_steps: int) -> Float[Tensor, "relation history feature"]:
    """Describe each relation class and lag by smooth functions for the network to mix."""
    distance = torch.log1p(ring_centres())
    bumps = torch.exp(-((distance[:, None] - torch.linspace(0.0, 3.5, 8)) ** 2) / 0.18)  # (ring, 8)
    angle = torch.arange(NUM_SECTORS) * (2 * math.pi / NUM_SECTORS)
    turns = torch.stack([angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()], dim=-1)
    # Every direction: alike, then a bearing or a way along the road, (direction, 7).
    direction = torch.cat(
        [torch.ones(NUM_DIRECTIONS, 1), torch.block_diag(turns, torch.eye(2))], dim=-1
    )
    space = torch.einsum("rb,ds->rdsb", bumps, direction).flatten(2).flatten(0, 1)
    space = torch.cat([torch.zeros(1, space.shape[1]), space])  # (R, 56)
    itself = torch.zeros(len(space), 1)
    itself[0] = 1.0
    lag = torch.arange(history_steps).flip(0) / max(1, history_steps - 1)
    waves = torch.stack([torch.cos(math.pi * order * lag) for order in (1, 2, 3, 4)], dim=-1)
    space = torch.cat([itself, space], dim=-1)[:, None].expand(-1, history_steps, -1)
    return torch.cat([space, waves[None].expand(len(space), -1, -1)], dim=-1)
