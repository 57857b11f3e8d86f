"""What lies around a place: eight directions, hops, and what reaches whom."""

import numpy as np
import pytest
import torch

from sttrans_core.model.surroundings import Surroundings
from sttrans_core.space.geometry import compass_nodes
from sttrans_core.space.relation import Geometry

ROWS, COLUMNS, WIDTH, HISTORY = 7, 9, 6, 3


def grid(rows=ROWS, columns=COLUMNS, *, south=-3.0, west=10.0, spacing=1.0):
    """Give latitude and longitude of cells, row by row from the south."""
    latitude = south + spacing * np.arange(rows).repeat(columns)
    return latitude, west + spacing * np.tile(np.arange(columns), rows)


def test_around_a_cell_lie_the_eight_next_to_it():
    near = compass_nodes(*grid(5, 5, south=-2.0), reach_km=400)
    north, east = 5, 1
    assert near[12].tolist() == [
        12 + north, 12 + north + east, 12 + east, 12 - north + east,
        12 - north, 12 - north - east, 12 - east, 12 + north - east,
    ]  # fmt: skip
    # In the south-western corner nothing lies to the south or to the west.
    assert near[0].tolist() == [5, 6, 1, -1, -1, -1, -1, -1]


def test_the_date_line_is_no_border():
    latitude, longitude = grid(3, 4, south=-1.0, west=178.0)
    turned = np.where(longitude > 180, longitude - 360, longitude)
    assert np.array_equal(
        compass_nodes(latitude, longitude, reach_km=300),
        compass_nodes(latitude, turned, reach_km=300),
    )


def test_towards_the_pole_there_is_still_a_north_and_a_south():
    # At 84 degrees a cell is 12 km wide and 111 km high: 18 cells lie nearer than the next row.
    latitude, longitude = grid(3, 360, south=83.0, west=0.0)
    middle = np.flatnonzero((latitude == 84) & (longitude == 90))[0]
    near = compass_nodes(latitude, longitude, reach_km=500)[middle]
    assert near[[0, 4]].tolist() == [middle + 360, middle - 360]
    assert near[[2, 6]].tolist() == [middle + 1, middle - 1]


def test_what_is_too_far_or_at_the_same_place_does_not_count():
    latitude, longitude = np.array([0.0, 0.0, 0.0, 1.0]), np.array([5.0, 5.0, 6.0, 5.0])
    near = compass_nodes(latitude, longitude, reach_km=110)  # a degree is 111 km
    assert (near == -1).all()
    near = compass_nodes(latitude, longitude, reach_km=112)
    assert near[0].tolist() == [3, -1, 2, -1, -1, -1, -1, -1]
    assert near[2, 6] == 0  # of two at one place the first


@pytest.mark.parametrize("nodes", [1, 2, 300])
def test_directions_are_those_of_a_search_among_all(nodes):
    rng = np.random.default_rng(nodes)
    latitude, longitude = rng.uniform(40, 45, nodes), rng.uniform(-5, 3, nodes)
    near = compass_nodes(latitude, longitude, reach_km=150)
    north = np.radians(latitude[None] - latitude[:, None])
    half = np.radians(latitude[None] + latitude[:, None]) / 2
    east = np.radians(longitude[None] - longitude[:, None]) * np.cos(half)
    distance = 6371 * np.hypot(north, east)
    for node in range(min(nodes, 40)):
        for sector in range(8):
            found = near[node, sector]
            turn = np.degrees(np.arctan2(east[node], north[node])) - 45 * sector
            # A plane bends directions by less than 3 degrees here, and distances by 1 %.
            inside = (np.abs((turn + 180) % 360 - 180) < 19) & (distance[node] > 0)
            best = np.where(inside, distance[node], np.inf).min()
            if found < 0:
                assert best > 148
            else:
                assert distance[node, found] < min(1.01 * best, 152)


def surroundings(num_layers: int) -> Surroundings:
    torch.manual_seed(0)
    geometry = Geometry(*grid(), num_neighbours=1)
    return Surroundings(
        WIDTH, geometry=geometry, history_steps=HISTORY, num_layers=num_layers, dropout=0.1
    ).eval()


@pytest.mark.parametrize(("num_layers", "reach"), [(1, 1), (2, 2), (3, 4)])
def test_layers_reach_so_many_cells(num_layers, reach):
    """One hop; one and one; one, two and one."""
    layers, nodes = surroundings(num_layers), ROWS * COLUMNS
    source = torch.randn(2, nodes, HISTORY, WIDTH)
    other, middle = source.clone(), (3, 4)
    other[0, middle[0] * COLUMNS + middle[1], 1] += 1
    place, calendar = torch.randn(nodes, WIDTH), torch.randn(2, WIDTH)
    before, after = (layers(each, place, calendar) for each in (source, other))
    assert torch.equal(before[1], after[1])  # windows do not mix
    changed = (before[0] != after[0]).any(-1).unflatten(0, (ROWS, COLUMNS))
    row, column = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    far = torch.maximum((row - middle[0]).abs(), (column - middle[1]).abs())
    assert not changed[far > reach].any()
    straight = (row == middle[0]) | (column == middle[1])
    assert changed[straight & (far <= reach)].all()


def test_directions_are_told_apart():
    layers, nodes = surroundings(1), ROWS * COLUMNS
    place, calendar = torch.zeros(nodes, WIDTH), torch.zeros(1, WIDTH)
    middle = 3 * COLUMNS + 4
    states = []
    for neighbour in (middle + 1, middle - 1, middle + COLUMNS, middle - COLUMNS):
        source = torch.zeros(1, nodes, HISTORY, WIDTH)
        source[0, neighbour, -1, 0] = 1
        states.append(layers(source, place, calendar)[0, middle])
    for first in range(4):
        for second in range(first):
            assert not torch.allclose(states[first], states[second], atol=1e-3)
