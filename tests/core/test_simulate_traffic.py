"""The cell transmission model: vehicles are conserved, and waves move as the theory says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.data.cell_transmission import (
    FundamentalDiagram,
    Road,
    run_cell_transmission,
)

# With steps of 4 s and cells of 100 m, free traffic moves one cell per step (90 km/h), a cell
# holds 12 vehicles at most (120 per km), and capacity is 90 * 18 * 120 / (90 + 18) = 1800 vehicles
# per hour, 2 per step.
ROUND = FundamentalDiagram(free_flow_kmh=90.0, wave_speed_kmh=18.0, jam_density=120.0)


def make_road(num_cells=5, *, lanes=1, exits=None, ramps=(), restricted=(), **options):
    share = np.zeros(num_cells)
    for cell, value in (exits or {}).items():
        share[cell] = value
    given_options = {"cell_km": 0.1, "diagram": ROUND, "entry_cells": np.array([0])} | options
    return Road(
        lanes=np.full(num_cells, lanes),
        exit_share=share,
        ramp_cells=np.array(ramps, int),
        restricted_cells=np.array(restricted, int),
        **given_options,
    )


def run(road, flows, *, minutes=5, factor=None, **options):
    """Run with constant flows per inlet; `factor` is (minute, restricted) or None."""
    demand = np.tile(np.array(flows, float)[None, :, None], (minutes, 1, 1))
    if factor is None:
        factor = np.ones((minutes, len(road.restricted_cells)))
    return run_cell_transmission(
        road, demand=demand, restriction=np.asarray(factor)[:, :, None], **options
    )


def test_capacity_is_where_the_sides_of_the_triangle_meet():
    assert ROUND.critical_density == pytest.approx(20.0)  # 120 * 18 / 108
    assert ROUND.capacity == pytest.approx(1800.0)


def test_vehicles_move_one_cell_per_step_and_none_is_lost():
    # 900 vehicles per hour are 1 per step. Those that come in at step 1 leave 5 cells later, at
    # step 6; of 75 steps, 70 see one leave, and 5 vehicles are on the road at the end.
    record = run(make_road(), [900])
    assert record.arrived == pytest.approx([75.0])
    assert record.left == pytest.approx([70.0])
    np.testing.assert_allclose(record.vehicles[:, 0], 1.0)
    np.testing.assert_allclose(record.waiting, 0.0, atol=1e-9)
    np.testing.assert_allclose(record.speed_kmh, 90.0, rtol=1e-6)


def test_a_closed_road_fills_to_the_jam_and_the_rest_waits():
    # The last cell is closed and empty, the 4 before it take 12 vehicles each at last. Receiving
    # closes by a fifth of the room per step, so that jam density is reached geometrically.
    minutes = 15
    record = run(make_road(restricted=[4]), [900], minutes=minutes, factor=np.zeros((minutes, 1)))
    np.testing.assert_allclose(record.vehicles[:, 0], [12, 12, 12, 12, 0], atol=1e-3)
    assert record.left == pytest.approx([0.0], abs=1e-9)
    assert record.waiting[0, 0] == pytest.approx(900 * minutes / 60 - 48, abs=4e-3)
    assert record.speed_kmh[-1, 3, 0] < 0.01


def test_an_on_ramp_takes_its_share_of_a_full_road():
    # Capacity 1800 per hour meets 1800 on the road and 900 on the ramp: a quarter of 1800, 450,
    # goes to the ramp, and its queue grows by 450 per hour, 75 in 10 minutes.
    road = make_road(ramps=[3])
    longer, shorter = (run(road, [1800, 900], minutes=m) for m in (30, 20))
    assert longer.waiting[1, 0] - shorter.waiting[1, 0] == pytest.approx(75.0, abs=1e-6)


def test_an_off_ramp_takes_its_share_of_the_flow():
    # A quarter leaves behind cell 1: 1 vehicle per cell before it, 0.75 after it.
    record = run(make_road(exits={1: 0.25}), [900])
    np.testing.assert_allclose(record.vehicles[:, 0], [1, 1, 0.75, 0.75, 0.75])
    np.testing.assert_allclose(record.speed_kmh, 90.0, rtol=1e-6)


def test_corridors_do_not_touch():
    # The second of two corridors is closed behind its entry; the first one does not notice.
    road = make_road(6, entry_cells=np.array([0, 3]), restricted=[4])
    record = run(road, [900, 900], factor=np.zeros((5, 1)))
    np.testing.assert_allclose(record.vehicles[:3, 0], 1.0)
    assert record.vehicles[3, 0] > 11.9
    assert record.vehicles[5, 0] == 0


def test_free_traffic_travels_at_free_flow_speed():
    # Travel time over 21 km at 105 km/h is 0.2 h, and 1000 vehicles per hour leave 200 on the way.
    road = make_road(168, lanes=2, cell_km=0.125, diagram=FundamentalDiagram())
    record = run(road, [1000], minutes=60)
    assert record.vehicles.sum() == pytest.approx(200.0, rel=1e-6)


def _arrival_minute(speed, threshold):
    """Give the time in minutes at which one-minute mean speeds fall below a threshold."""
    below = int(np.argmax(speed < threshold))
    assert below > 0, "the speed is below the threshold from the start, or never"
    before, after = speed[below - 1], speed[below]
    # The mean of minute i stands for its middle, i + 0.5.
    return below - 0.5 + (before - threshold) / (before - after)


@pytest.fixture(scope="module")
def incident():
    """3 lanes, 10 km, 1500 vehicles per hour and lane.

    Half of the capacity at km 9 is lost from minute 20 on, and 70 % from minute 90 on.
    """
    minutes = 180
    factor = np.ones((minutes, 1))
    factor[20:], factor[90:] = 0.5, 0.3
    road = make_road(80, lanes=3, cell_km=0.125, diagram=FundamentalDiagram(), restricted=[72])
    return run(road, [4500], minutes=minutes, factor=factor, interval_minutes=1).speed_kmh[..., 0]


def test_a_queue_grows_at_the_speed_of_its_shock(incident):
    # Per lane: critical density 150 * 16 / 121 = 19.83, capacity 105 * 19.83 = 2082.6. In front of
    # the shock 1500 / 105 = 14.29 vehicles per km; in the queue a flow of 1041.3 at a density of
    # 150 - 1041.3 / 16 = 84.92, so a speed of 12.26 km/h. Rankine-Hugoniot:
    # (1500 - 1041.3) / (84.92 - 14.29) = 6.49 km/h, or 18.5 minutes for the 2 km between cells
    # that lie 1 km and 3 km upstream.
    near, far = (_arrival_minute(incident[:, 72 - cells], 60.0) for cells in (8, 24))
    assert far - near == pytest.approx(18.5, abs=0.5)
    # The middle of the near cell lies 7.5 cells, 0.9375 km, before the bottleneck.
    assert near == pytest.approx(20 + 60 * 0.9375 / 6.49, abs=1.0)
    assert incident[80, 60] == pytest.approx(12.26, abs=0.1)


def test_a_wave_in_a_queue_travels_upstream_at_the_wave_speed(incident):
    # The second loss at minute 90 reaches 0.9375 km upstream after 0.9375 / 16 h = 3.5 minutes, and
    # 2 km more after 2 / 16 h = 7.5 more. The flow falls to 0.3 * 2082.6 = 624.8, the density
    # rises to 150 - 624.8 / 16 = 110.95, the speed falls to 5.63 km/h.
    middle = (12.26 + 5.63) / 2
    after = incident[85:]
    near, far = (85 + _arrival_minute(after[:, 72 - cells], middle) for cells in (8, 24))
    assert near == pytest.approx(90 + 3.5, abs=0.75)
    assert far - near == pytest.approx(7.5, abs=0.5)
    assert incident[-1, 60] == pytest.approx(5.63, abs=0.1)


@given(
    st.lists(st.floats(0, 4000), min_size=3, max_size=3),
    st.lists(st.floats(0, 1.2), min_size=10, max_size=10),
    st.floats(0, 0.9),
)
def test_vehicles_are_conserved_whatever_happens(flows, factors, share):
    road = make_road(
        8,
        exits={2: share},
        ramps=[3],
        restricted=[4],
        entry_cells=np.array([0, 5]),
    )
    record = run(road, flows, minutes=10, factor=np.array(factors)[:, None])
    on_road = record.vehicles.sum() + record.waiting.sum() + record.left[0]
    assert on_road == pytest.approx(record.arrived[0], rel=1e-9, abs=1e-6)
    assert record.vehicles.min() >= -1e-9
    assert record.vehicles.max() <= 12 + 1e-9
    assert record.waiting.min() >= -1e-9
    assert record.speed_kmh.min() >= 0
    assert record.speed_kmh.max() <= 90 + 1e-4


def test_days_are_stepped_side_by_side_without_touching():
    road = make_road()
    demand = np.array([900.0, 300.0])[None, None, :].repeat(5, 0)
    both = run_cell_transmission(road, demand=demand, restriction=np.ones((5, 0, 2)))
    for day, flow in enumerate((900, 300)):
        np.testing.assert_allclose(both.vehicles[:, day], run(road, [flow]).vehicles[:, 0])


def test_a_step_in_which_vehicles_would_jump_over_a_cell_is_refused():
    with pytest.raises(ValueError, match=r"at most one cell per step; got 1.25 cells in 5 s"):
        run(make_road(), [900], step_seconds=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 0}, "lanes must be positive; got 0"),
        ({"exits": {1: 1.0}}, r"one share in \[0, 1\) per cell; got shape \(5,\) with values up"),
        ({"entry_cells": np.array([1])}, r"must start with 0 .* got \[1\]"),
        ({"entry_cells": np.array([0, 1])}, r"at least 2 cells apart; got \[0, 1\]"),
        ({"ramps": [5]}, r"ramp_cells must lie between 0 and 4; got \[5\]"),
        ({"restricted": [-1]}, r"restricted_cells must lie between 0 and 4; got \[-1\]"),
    ],
)
def test_a_road_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        make_road(**change)


@pytest.mark.parametrize("name", ["free_flow_kmh", "wave_speed_kmh", "jam_density"])
def test_a_diagram_needs_positive_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be positive; got 0"):
        FundamentalDiagram(**{name: 0.0})


def test_demand_and_restriction_must_fit_the_road():
    with pytest.raises(ValueError, match=r"demand must have the shape \(5, 1, 1\); got \(5, 2, 1"):
        run(make_road(), [900, 900])
    with pytest.raises(ValueError, match=r"restriction must have the shape .* got \(5, 2, 1\)"):
        run(make_road(restricted=[2]), [900], factor=np.ones((5, 2)))


@pytest.mark.parametrize("options", [{"step_seconds": 3.5}, {"interval_minutes": 3}])
def test_steps_and_intervals_must_divide_the_time(options):
    with pytest.raises(ValueError, match="Steps must fill whole minutes, and minutes whole inter"):
        run(make_road(), [900], **options)


def test_compiled_steps_are_those_of_whole_arrays_to_the_last_bit():
    # Two corridors with ramps, exits and a bottleneck, two days; written once more with arrays.
    rng = np.random.default_rng(0)
    road = make_road(
        12, lanes=2, exits={3: 0.2, 8: 0.1}, ramps=[2, 9], restricted=[4],
        entry_cells=np.array([0, 6]),
    )  # fmt: skip
    demand = rng.uniform(500, 3000, (40, 4, 2))
    factor = rng.uniform(0.3, 1, (40, 1, 2))
    vehicles, waiting = np.zeros((12, 2)), np.zeros((4, 2))
    jam, staying = np.full((12, 2), 2 * 120 * 0.1), 1 - road.exit_share[:, None]
    inlets, entries, last = [0, 6, 2, 9], [0, 6], [5, 11]
    advance, retreat = 90.0 * (4 / 3600) / 0.1, 18.0 * (4 / 3600) / 0.1
    priority = np.array([1.0, 1.0, 0.25, 0.25])[:, None]
    full = np.full((12, 2), 2.0) * ROUND.capacity * (4 / 3600)
    for minute in range(40):
        capacity = full.copy()
        capacity[4] = full[4] * factor[minute, 0]
        for _ in range(15):
            sending = np.minimum(advance * vehicles, capacity)
            room = np.minimum(retreat * (jam - vehicles), capacity)
            through = np.zeros((12, 2))
            through[1:] = sending[:-1] * staying[:-1]
            through[entries] = 0.0
            waiting += demand[minute] * (4 / 3600)
            claim = np.maximum(room[inlets] - through[inlets], priority * room[inlets])
            entering = np.minimum(waiting, claim)
            waiting -= entering
            room[inlets] -= entering
            through = np.minimum(through, room)
            outflow = sending.copy()
            outflow[:-1] = through[1:] / staying[:-1]
            outflow[last] = sending[last]
            vehicles = vehicles + through - outflow
            vehicles[inlets] += entering
    record = run_cell_transmission(road, demand=demand, restriction=factor)
    assert np.ptp(vehicles) > 5  # queues somewhere
    assert np.array_equal(record.vehicles, vehicles)
    assert np.array_equal(record.waiting, waiting)
