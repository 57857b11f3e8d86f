"""Distances, bearings and neighbours against hand-derived values and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sttrans_core.space.geometry import (
    EARTH_RADIUS_KM,
    bearing_degrees,
    haversine_km,
    nearest_nodes,
)


def test_distances_that_can_be_derived_by_hand() -> None:
    # A quarter of a great circle from equator to pole: pi / 2 radii; one degree: pi / 180 radii.
    assert haversine_km(0.0, 0.0, 90.0, 0.0) == pytest.approx(EARTH_RADIUS_KM * np.pi / 2)
    assert haversine_km(0.0, 179.5, 0.0, -179.5) == pytest.approx(EARTH_RADIUS_KM * np.pi / 180)
    # At 60 degrees north, opposite meridians are 60 degrees of arc apart, over the pole.
    assert haversine_km(60.0, 0.0, 60.0, 180.0) == pytest.approx(EARTH_RADIUS_KM * np.pi / 3)


def test_distance_broadcasts_and_is_zero_to_itself() -> None:
    latitude, longitude = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0])
    matrix = haversine_km(
        latitude[:, None], longitude[:, None], latitude[None], longitude[None] + 360
    )
    assert matrix.shape == (3, 3)
    np.testing.assert_allclose(np.diag(matrix), 0.0, atol=1e-6)
    np.testing.assert_allclose(matrix, matrix.T)


@pytest.mark.parametrize(
    ("lat2", "lon2", "expected"),
    [(1.0, 0.0, 0.0), (0.0, 1.0, 90.0), (-1.0, 0.0, 180.0), (0.0, -1.0, 270.0), (0.0, 0.0, 0.0)],
)
def test_bearing_of_the_four_winds(lat2: float, lon2: float, expected: float) -> None:
    assert bearing_degrees(0.0, 0.0, lat2, lon2) == pytest.approx(expected)


def test_bearing_crosses_the_date_line_eastward() -> None:
    assert bearing_degrees(0.0, 179.0, 0.0, -179.0) == pytest.approx(90.0)


@given(st.lists(st.floats(-80, 80), min_size=4, max_size=4))
def test_bearing_stays_in_one_turn(values: list[float]) -> None:
    bearing = bearing_degrees(*values)
    assert 0.0 <= bearing < 360.0


def test_neighbours_by_hand() -> None:
    # On the equator at 0, 1, 3 and 7 degrees: from 3, node 1 is 2 away, node 0 is 3, node 3 is 4.
    found = nearest_nodes(np.zeros(4), np.array([0.0, 1.0, 3.0, 7.0]), count=3)
    assert found.tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]
    assert found.dtype == np.int64


def test_longitude_is_periodic() -> None:
    found = nearest_nodes(np.zeros(3), np.array([179.0, 0.0, -179.0]), count=2)
    assert found.tolist()[0] == [0, 2]
    assert found.tolist()[2] == [2, 0]


def test_co_located_nodes_start_with_themselves_and_ties_go_by_index() -> None:
    latitude = np.array([5.0] * 6 + [6.0])
    found = nearest_nodes(latitude, np.full(7, 3.0), count=3)
    assert found.tolist() == [
        [0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1], [5, 0, 1], [6, 0, 1],
    ]  # fmt: skip


def test_count_is_clipped_to_the_number_of_nodes() -> None:
    assert nearest_nodes(np.zeros(3), np.arange(3.0), count=64).shape == (3, 3)
    assert nearest_nodes(np.zeros(1), np.zeros(1), count=5).tolist() == [[0]]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-180, 180)), min_size=1, max_size=23),
    st.integers(1, 9),
)
def test_neighbours_equal_brute_force(places: list[tuple[int, int]], count: int) -> None:
    latitude, longitude = np.array(places, float).T
    found = nearest_nodes(latitude, longitude, count=count)
    count = min(count, len(places))
    assert found.shape == (len(places), count)
    matrix = haversine_km(latitude[:, None], longitude[:, None], latitude, longitude)
    for row, nodes in enumerate(found):
        assert nodes[0] == row
        assert len(set(nodes.tolist())) == count
        # Unequal places lie at least a degree apart, so distances decide up to rounding (1 m).
        np.testing.assert_allclose(matrix[row, nodes], np.sort(matrix[row])[:count], atol=1e-3)


def test_many_nodes_need_no_square() -> None:
    rng = np.random.default_rng(0)
    found = nearest_nodes(rng.uniform(30, 40, 20_011), rng.uniform(-120, -110, 20_011), count=8)
    assert found.shape == (20_011, 8)
    assert (found[:, 0] == np.arange(20_011)).all()


@pytest.mark.parametrize(
    ("latitude", "longitude", "count", "message"),
    [
        ([0.0], [0.0], 0, "count must be at least 1; got count=0"),
        ([], [], 1, r"vectors of one length, at least 1; got shapes \(0,\) and \(0,\)"),
        ([0.0, np.nan], [0.0, 1.0], 1, "must be finite; got NaN"),
    ],
)
def test_bad_input_is_refused(
    latitude: list[float], longitude: list[float], count: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nearest_nodes(np.array(latitude), np.array(longitude), count=count)
