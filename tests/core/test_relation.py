"""Relative positions: classes of distance and direction, and the fixed decay."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.alignment.position import FixedPosition, LearnedPosition
from sttrans_core.space.relation import (
    DOWNSTREAM,
    NUM_DIRECTIONS,
    NUM_RELATIONS,
    NUM_SECTORS,
    UPSTREAM,
    Geometry,
    direction_names,
)

SPACING_KM = 1.11195  # a hundredth of a degree on the equator: 6371.0088 km * pi / 180 / 100


def _line(*positions: float, north: bool = False, spacing_km: float = SPACING_KM) -> Geometry:
    """Give places on the equator (or a meridian), in hundredths of a degree."""
    along = np.array(positions) / 100
    across = np.zeros_like(along)
    return _spaced(*((along, across) if north else (across, along)), spacing_km)


def _spaced(latitude: np.ndarray, longitude: np.ndarray, spacing_km: float) -> Geometry:
    """Give places with a given typical spacing, so that distances in spacings are known."""
    with patch("sttrans_core.space.relation._typical_spacing", return_value=spacing_km):
        return Geometry(latitude, longitude, num_neighbours=2)


def _relation(geometry: Geometry, target: int, source: int) -> tuple[int, int]:
    """Give (ring, direction) of a pair."""
    return divmod(int(_classes(geometry)[target, source]) - 1, NUM_DIRECTIONS)


def _classes(geometry: Geometry) -> torch.Tensor:
    """Give the class of every pair."""
    nodes = torch.arange(geometry.num_nodes)
    return geometry.classes[geometry.relations(nodes[:, None], nodes)]


def test_spacing_and_offsets_by_hand():
    # Fourth nearest of six in a row, in hundredths of a degree: 4, 3, 2, 2, 3, 4; the median is 3.
    row = Geometry(np.zeros(6), np.arange(6) / 100, num_neighbours=2)
    assert row.spacing_km == pytest.approx(3 * SPACING_KM, rel=1e-4)
    # Two carriageways: of each place the fourth nearest is one step along the road, but for the
    # four at the ends, whose fourth nearest is two steps away; the median is 1.
    road = Geometry(np.repeat([0.0, 1e-4], 9), np.tile(np.arange(9) / 100, 2), num_neighbours=2)
    assert road.spacing_km == pytest.approx(SPACING_KM, rel=1e-3)
    geometry = _line(0, 1, 2, 3)
    east, north = geometry.offsets_km(torch.tensor([0, 2]), torch.tensor([3, 1]))
    assert east.tolist() == pytest.approx([3 * 1.11195, -1.11195], rel=1e-3)
    assert north.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_node_itself_has_a_class_of_its_own():
    classes = _classes(_line(0, 1, 2, 3))
    assert torch.equal(classes == 0, torch.eye(4, dtype=torch.bool))
    assert int(classes.max()) < NUM_RELATIONS


def test_only_classes_that_occur_are_counted():
    # Two places one spacing apart: each itself, one to the east and one to the west.
    geometry = _line(0, 1)
    ring, east, west = 1, 2, 6
    assert geometry.classes.tolist() == [0, *(1 + ring * NUM_DIRECTIONS + d for d in (east, west))]
    nodes = torch.arange(2)
    assert geometry.relations(nodes[:, None], nodes).tolist() == [[0, 1], [2, 0]]


def test_distances_are_counted_in_spacings():
    geometry = _line(0, 1, 2, 3, 10, 11)
    # Edges lie at 0.5, 1.5, 2.5, 3.5, ... 8.5, 11.5 spacings.
    rings = [_relation(geometry, 0, source)[0] for source in (1, 2, 3, 4, 5)]
    assert rings[:3] == [1, 2, 3]
    assert rings == sorted(rings)
    assert rings[3] > 3


@pytest.mark.parametrize(
    ("latitude", "longitude", "sector"),
    [(1, 0, 0), (1, 1, 1), (0, 1, 2), (-1, 1, 3), (-1, 0, 4), (-1, -1, 5), (0, -1, 6), (1, -1, 7)],
)
def test_bearings_go_clockwise_from_north(latitude, longitude, sector):
    geometry = Geometry(
        np.array([0.0, latitude / 100]), np.array([0.0, longitude / 100]), num_neighbours=2
    )
    assert _relation(geometry, 0, 1)[1] == sector
    assert _relation(geometry, 1, 0)[1] == (sector + 4) % 8  # the way back


def test_along_a_road_the_direction_is_its_way():
    # Six places in a row, the typical spacing is 3 steps; traffic goes 0 -> 1 -> 2 -> 3 -> 4.
    row = np.arange(6) / 100
    road = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    geometry = Geometry(np.zeros(6), row, num_neighbours=2, downstream=road)
    # 4 steps are 1.33 spacings, in the ring of 0.5 to 1.5; 1 step is 0.33, in the first.
    assert _relation(geometry, 0, 4) == (1, DOWNSTREAM)
    assert _relation(geometry, 4, 0) == (1, UPSTREAM)
    assert _relation(geometry, 2, 3) == (0, DOWNSTREAM)
    # The sixth place is not on the road: it lies east, whatever is known of the others.
    assert _relation(geometry, 4, 5) == (0, 2)
    classes = _classes(geometry)
    assert torch.equal(classes == 0, torch.eye(6, dtype=torch.bool))
    names = direction_names(classes[4]).tolist()
    assert names == ["upstream", "upstream", "upstream", "upstream", "", "E"]
    without = _classes(Geometry(np.zeros(6), row, num_neighbours=2))
    assert torch.equal(classes[:, 5], without[:, 5])
    assert not torch.equal(classes[:, :5], without[:, :5])


def test_a_road_looks_the_same_from_all_its_places_whatever_its_course():
    # A quarter circle: bearings turn by 90 degrees, what lies one place downstream stays that.
    angle = np.linspace(0, np.pi / 2, 9)
    road = np.stack([np.arange(8), np.arange(1, 9)], axis=1)
    geometry = Geometry(np.sin(angle) / 20, np.cos(angle) / 20, num_neighbours=2, downstream=road)
    assert len({_relation(geometry, place, place + 1) for place in range(8)}) == 1
    assert len({_relation(geometry, place + 1, place) for place in range(8)}) == 1


def test_a_pair_across_the_date_line_is_near():
    geometry = _spaced(np.zeros(3), np.array([179.99, -180.0, -179.99]), SPACING_KM)
    assert _relation(geometry, 0, 1) == (1, 2)
    assert _relation(geometry, 0, 2) == (2, 2)
    assert _relation(geometry, 2, 0) == (2, 6)


@given(scale=st.floats(1, 20), north=st.booleans())
def test_classes_do_not_depend_on_the_scale_of_the_map(scale, north):
    places = np.array([0.0, 1.0, 2.0, 5.2, 12.3])  # no distance near an edge of rings
    before = _line(*places, north=north)
    after = _line(*(scale * places), north=north, spacing_km=scale * SPACING_KM)
    assert torch.equal(_classes(before), _classes(after))


def test_coordinates_are_centred_and_stay_finite_for_one_place():
    assert torch.allclose(_line(0, 1, 5).coordinates().mean(0), torch.zeros(2), atol=1e-4)
    assert torch.equal(_line(3).coordinates(), torch.zeros(1, 2))
    together = Geometry(np.full(3, 34.0), np.full(3, -118.0), num_neighbours=2)
    assert torch.isfinite(together.coordinates()).all()
    assert together.spacing_km == 1.0


def test_the_fixed_decay_by_hand():
    head_dim = 4
    position = FixedPosition(3, head_dim, decay_spacings=4.0, decay_steps=6.0)
    score = (
        position.features(torch.arange(NUM_RELATIONS))[..., 0] / 2
    )  # scores are divided by sqrt(4)
    # The node itself falls by 1/6 per step of lag, the newest step not at all.
    assert score[0].tolist() == pytest.approx([-2 / 6, -1 / 6, 0.0])
    # The ring from 0.5 to 1.5 spacings has its centre at 1: a quarter of the decay length.
    east = 1 + 1 * NUM_DIRECTIONS + 2
    assert score[east].tolist() == pytest.approx([-1 / 4 - 2 / 6, -1 / 4 - 1 / 6, -1 / 4])
    assert position.project(torch.randn(2, 5, 3, 7, head_dim)).unique().tolist() == [1.0]


def test_heads_start_near_and_new_each_in_a_direction_of_its_own():
    position = LearnedPosition(7, 4, 5, 11)
    position.projection.data.zero_()
    coefficients = position.project(torch.zeros(4, 5))  # (head, feature)
    features = position.features(torch.arange(NUM_RELATIONS))
    score = coefficients @ features.flatten(0, 1).T  # of no query in particular
    score = score.unflatten(1, (NUM_RELATIONS, 7))
    assert (score.diff(dim=2) > 0).all()  # newer is better
    by_ring = score[:, 1:, -1].unflatten(1, (-1, NUM_DIRECTIONS))
    assert (by_ring.diff(dim=1) < 0).all()  # nearer is better
    assert by_ring[:, 0].argmax(-1).tolist() == [DOWNSTREAM, UPSTREAM, DOWNSTREAM, UPSTREAM]
    # Where there are no roads: north, east, south, west.
    assert by_ring[:, 0, :NUM_SECTORS].argmax(-1).tolist() == [0, 2, 4, 6]


def test_the_learned_position_knows_every_class_and_step():
    position = LearnedPosition(7, 3, 5, 11)
    features = position.features(torch.arange(NUM_RELATIONS))
    assert features.shape[:2] == (NUM_RELATIONS, 7)
    assert len(features[:, 0].unique(dim=0)) == NUM_RELATIONS
    coefficients = position.project(torch.randn(2, 13, 3, 5))
    assert coefficients.shape == (2, 13, 3, features.shape[2])
    (coefficients.sum() + features.sum()).backward()
    assert all(parameter.grad is not None for parameter in position.parameters())


def test_pairs_are_classified_alike_with_and_without_a_table(monkeypatch):
    random = np.random.default_rng(4)
    latitude, longitude = random.uniform(0, 0.2, (2, 40))
    road = np.stack([np.arange(39), np.arange(1, 40)], axis=-1)
    options = {"num_neighbours": 5, "downstream": road}
    tabled = Geometry(latitude, longitude, **options)
    monkeypatch.setattr("sttrans_core.space.relation._MOST_TABLED", 39)
    direct = Geometry(latitude, longitude, **options)
    assert torch.equal(_classes(tabled), _classes(direct))
    assert (len(tabled.table), len(direct.table)) == (40, 0)
