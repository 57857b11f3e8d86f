"""Which way traffic goes, and how far it is along the road."""

import numpy as np
import pytest

from sttrans_core.space.roads import downstream_pairs, pairs_along_roads

STEP_KM = 1.11195  # a hundredth of a degree on the equator


def _along(longitude, pairs, *, reach_km=100.0, latitude=None):
    longitude = np.array(longitude) / 100
    latitude = np.zeros_like(longitude) if latitude is None else np.array(latitude) / 100
    found = pairs_along_roads(latitude, longitude, np.array(pairs), reach_km=reach_km)
    return {
        (start, end): km / STEP_KM
        for start, end, km in zip(
            found.start.tolist(), found.end.tolist(), found.km.tolist(), strict=True
        )
    }


def test_the_larger_weight_is_the_way():
    adjacency = np.array(
        [
            [1.0, 0.8, 0.0],  # to the second, and with a detour back
            [0.2, 1.0, 0.5],  # to and from the third alike: no direction
            [0.0, 0.5, 1.0],
        ]
    )
    assert downstream_pairs(adjacency).tolist() == [[0, 1]]
    assert downstream_pairs(np.zeros((3, 3))).shape == (0, 2)


def test_distances_add_up_along_the_road():
    found = _along([0, 1, 3, 6], [[0, 1], [1, 2], [2, 3]])
    expected = {(0, 1): 1, (0, 2): 3, (0, 3): 6, (1, 2): 2, (1, 3): 5, (2, 3): 3}
    assert found == pytest.approx(expected, rel=1e-4)


def test_only_what_is_within_reach_is_found():
    found = _along([0, 1, 3, 6], [[0, 1], [1, 2], [2, 3]], reach_km=3.5 * STEP_KM)
    assert set(found) == {(0, 1), (0, 2), (1, 2), (2, 3)}


def test_a_detour_is_not_along_the_road():
    # Out east for 4 steps, across, and back west on the other carriageway.
    longitude, latitude = [0, 2, 4, 4, 2, 0], [0, 0, 0, 0.1, 0.1, 0.1]
    road = [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    found = _along(longitude, road, latitude=latitude)
    assert (1, 4) not in found
    assert (0, 5) not in found
    assert {(0, 2), (3, 5), (2, 3)} <= set(found)


def test_on_a_loop_the_shorter_way_counts():
    found = _along([0, 1, 2], [[0, 1], [1, 2], [2, 0]])
    assert found == pytest.approx({(0, 1): 1, (1, 2): 1}, rel=1e-4)  # 0 -> 2 is as far as back


def test_without_neighbours_there_are_no_roads():
    assert _along([0, 1, 2], np.empty((0, 2), int)) == {}


def test_sensors_at_one_place_stay_joined():
    assert set(_along([0, 0, 1], [[0, 1], [1, 2]])) == {(0, 1), (0, 2), (1, 2)}
