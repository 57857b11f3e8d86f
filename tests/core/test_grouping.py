"""Groups of near places: every place once, compact, with their windows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.space.geometry import nearest_nodes, unit_points
from sttrans_core.space.grouping import group_places, split_places
from sttrans_core.space.relation import Geometry


@given(count=st.integers(1, 70), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_place_is_in_one_group_and_one_group_at_most_is_not_full(count, size, seed):
    rng = np.random.default_rng(seed)
    groups = split_places(
        unit_points(rng.uniform(-80, 80, count), rng.uniform(0, 360, count)), size
    )
    assert sorted(groups[groups >= 0].tolist()) == list(range(count))
    full = (groups >= 0).sum(1)
    assert len(groups) == -(-count // size)
    assert (np.sort(full)[1:] == size).all()


def test_groups_are_compact():
    # Sixteen places on a square, in any order: groups of four are its quarters.
    place = np.random.default_rng(0).permutation(16)
    latitude, longitude = 0.1 * (place // 4), 0.1 * (place % 4)
    for group in split_places(unit_points(latitude, longitude), 4):
        assert np.ptp(latitude[group]) == pytest.approx(0.1)
        assert np.ptp(longitude[group]) == pytest.approx(0.1)


def test_a_group_may_lie_across_the_date_line():
    # Two clusters at 179.9 and -179.9 degrees are one place; the third is far away.
    longitude = np.array([179.9, -179.9, 179.95, -179.95, 0.0, 0.1, 0.2, 0.3])
    groups = split_places(unit_points(np.zeros(8), longitude), 4)
    assert {frozenset(group.tolist()) for group in groups} == {
        frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7}),
    }  # fmt: skip


def test_windows_centres_and_blocks_by_hand():
    # Places 0 .. 5 in a row, 1 apart, window of one neighbour; where two are equally near, the
    # lower index comes first. Groups of three: (0, 1, 2) and (3, 4, 5).
    longitude = np.arange(6) * 0.01
    near = nearest_nodes(np.zeros(6), longitude, count=2)
    assert near[:, 1].tolist() == [1, 0, 1, 2, 3, 4]
    found = group_places(
        unit_points(np.zeros(6), longitude), near, group_size=3, block_size=2, window_nodes=1
    )
    assert sorted(map(sorted, found.members.tolist())) == [[0, 1, 2], [3, 4, 5]]
    rows = zip(found.members, found.window, strict=True)
    by_group = {min(group): window for group, window in rows}
    assert by_group[0][by_group[0] >= 0].tolist() == [0, 1, 2]
    assert by_group[3][by_group[3] >= 0].tolist() == [2, 3, 4, 5]
    assert sorted(found.centre.tolist()) == [1, 4]
    # Blocks (0, 1), (2, 3), (4, 5): the first lies in the window of the first group, and so on.
    names = [min(block) for block in found.blocks.tolist()]
    inside = {
        (min(group), name): bool(near)
        for group, row in zip(found.members.tolist(), found.is_near, strict=True)
        for name, near in zip(names, row, strict=True)
    }
    assert inside == {
        (0, 0): True, (0, 2): False, (0, 4): False, (3, 0): False, (3, 2): True, (3, 4): True,
    }  # fmt: skip


def test_the_geometry_finds_groups_once_and_classifies_their_pairs():
    rng = np.random.default_rng(3)
    geometry = Geometry(rng.uniform(0, 1, 50), rng.uniform(0, 1, 50), num_neighbours=5)
    groups = geometry.groups(group_size=8, block_size=4, window_nodes=4)
    assert geometry.groups(group_size=8, block_size=4, window_nodes=4) is groups
    for group, window, nearby in zip(groups.members, groups.window, groups.nearby, strict=True):
        for member, classes in zip(group, nearby, strict=True):
            if member >= 0:
                own = set(geometry.neighbours[member, :5].tolist())
                assert own <= set(window.tolist())
                known = window >= 0
                assert torch.equal(classes[known].long(), geometry.relations(member, window[known]))
                assert (classes[~known] == 0).all()
