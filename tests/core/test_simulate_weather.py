"""Simulated weather: air keeps its anomaly along its way, and this way is the truth."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from test_truth import HISTORY, make_alignment

from sttrans_core.data.simulate_weather import simulate_weather
from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_dataset
from sttrans_core.truth.hits import has_truth, hit_rate, true_causes
from sttrans_core.truth.trajectories import Trajectories, cells_per_step, step_back

STEPS, ROWS, COLUMNS = 20, 5, 11
# A degree of a great circle is 2 pi 6371.0088 / 360 = 111.195 km; at the equator, a wind of
# 111.195 km/h = 30.8875 m/s moves air by one cell of one degree per hour.
ONE_CELL = 30.8875


def steady(east=ONE_CELL, north=0.0):
    """Make a grid of one degree around the equator under winds in m/s, numbers or (time,)."""
    shape = (STEPS, ROWS, COLUMNS)
    winds = [np.broadcast_to(np.reshape(wind, (-1, 1, 1)), shape) for wind in (east, north)]
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "target": (dims, np.full(shape, 280.0, np.float32)),
            "wind_east": (dims, winds[0].astype(np.float32)),
            "wind_north": (dims, winds[1].astype(np.float32)),
        },
        coords={
            "time": pd.date_range("2024-01-01", periods=STEPS, freq="h"),
            "latitude": np.arange(ROWS) - 2.0,
            "longitude": np.arange(COLUMNS) * 1.0,
        },
        attrs={"interval": "1h"},
    )


def causes(dataset, row, column, *, step=10, horizon_step=2):
    return true_causes(
        dataset,
        dataset["time"].values[step],
        horizon_step=horizon_step,
        nodes=[as_nodes(dataset)["node"].values[row * COLUMNS + column]],
        history_steps=HISTORY,
    ).isel(query_node=0)


def test_a_wind_moves_air_by_cells():
    # 36 km/h; a cell is 0.5 degrees high, 55.597 km, and at 60 N 0.75 / 2 degrees wide, 41.698 km.
    flow = cells_per_step(
        np.full((2, 1, 3), 10.0), np.array([60.0]), 0.5, 0.75, hours=1.0
    )  # fmt: skip
    np.testing.assert_allclose(flow[0], 36 / 55.597, rtol=1e-4)
    np.testing.assert_allclose(flow[1], 36 / 41.698, rtol=1e-4)


def test_a_steady_wind_is_followed_exactly():
    flow = np.stack([np.full((5, 7), 0.25), np.full((5, 7), -1.5)])
    at = np.array([[2.0, 0.0], [3.0, 6.0]])
    assert step_back(at, flow).tolist() == [[1.75, -0.25], [4.5, 7.5]]


@given(st.floats(0.0, 0.2), st.floats(0, 6.28))
def test_air_on_a_circle_stays_on_it(turn, angle):
    # Solid rotation by `turn` per step around (10, 10): linear in place, so that interpolation is
    # exact, and the midpoint rule errs by turn ** 3 / 6 along and turn ** 4 / 8 across.
    row, column = np.indices((21, 21)) - 10.0
    flow = np.stack([turn * column, -turn * row])
    start = 10 + 4 * np.array([[np.sin(angle)], [np.cos(angle)]])
    back = step_back(start, flow)
    expected = 10 + 4 * np.array([[np.sin(angle - turn)], [np.cos(angle - turn)]])
    np.testing.assert_allclose(back, expected, atol=4 * (turn**3 / 6 + turn**4 / 8) + 1e-9)


def test_the_way_of_air_comes_from_upwind_one_cell_per_step():
    # Two steps ahead, the newest history step (3) lies two steps back: two cells upwind.
    found = causes(steady(), 2, 8)
    assert (found["line_node"].values - 2 * COLUMNS).tolist() == [3, 4, 5, 6]
    assert bool(found["scorable"])
    assert "congested" not in found
    # From the south-west; the line rises by a row and a column per step, and leaves to the south.
    found = causes(steady(north=ONE_CELL), 4, 8)
    assert found["line_node"].values.tolist() == [-1, 0 * 11 + 4, 1 * 11 + 5, 2 * 11 + 6]


def test_near_the_way_is_one_cell_and_one_step():
    near = causes(steady(), 2, 8)["near_line"].values.reshape(HISTORY, ROWS, COLUMNS)
    # Step 3: one cell around column 6, and around column 5 of step 2; rows 1 to 3.
    assert np.flatnonzero(near[3].any(0)).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(near[1].any(0)).tolist() == [2, 3, 4, 5, 6]
    assert np.flatnonzero(near[3].any(1)).tolist() == [1, 2, 3]
    assert near[3, 1:4, 4:8].all()


def test_air_from_beyond_the_edge_has_no_cause():
    assert not bool(causes(steady(), 2, 1)["scorable"])
    # In column 2 only the newest step is on the grid: two cells upwind is column 0.
    assert causes(steady(), 2, 2)["line_node"].values.tolist() == [-1, -1, -1, 2 * COLUMNS]
    # Air that left the grid on its way back is not taken up again where the wind turns.
    turning = np.where(np.arange(STEPS) < 9, -2 * ONE_CELL, 2 * ONE_CELL)
    assert (causes(steady(east=turning), 2, 1)["line_node"].values == -1).all()


def test_the_wind_of_each_step_counts():
    # Calm until step 9, then one cell per step; between steps 9 and 10 half of both.
    wind = np.where(np.arange(STEPS) < 10, 0.0, ONE_CELL)
    dataset = steady(east=wind)
    # From step 12 back to 10: two cells. On to step 9: half a cell more, and there it stays.
    found = causes(dataset, 2, 8)["line_node"].values - 2 * COLUMNS
    assert found[3] == 6
    assert set(found[:3].tolist()) <= {5, 6}  # 5.5
    trajectories = Trajectories.of(as_nodes(dataset))
    at = np.array([[2.0], [6.0]])
    half = step_back(at, (trajectories.flow[10] + trajectories.flow[9]) / 2)
    np.testing.assert_allclose(half, [[2.0], [5.5]], atol=1e-3)


def test_targets_beyond_the_data_are_not_known():
    found = true_causes(steady(), "2024-01-01 19:00", horizon_step=1, history_steps=HISTORY)
    assert not found["scorable"].any()


def test_a_grid_and_its_nodes_have_one_truth():
    grid = steady()
    assert has_truth(grid)
    assert has_truth(as_nodes(grid))
    whole = true_causes(grid, "2024-01-01 12:00", horizon_step=2)
    xr.testing.assert_identical(
        whole, true_causes(as_nodes(grid), "2024-01-01 12:00", horizon_step=2)
    )
    part = as_nodes(grid).isel(node=slice(3, None))
    assert not has_truth(part)
    assert not has_truth(grid.drop_vars("wind_north"))
    with pytest.raises(ValueError, match="simulated freeway, or simulated weather with all its ce"):
        true_causes(part, "2024-01-01 12:00", horizon_step=2)


def _align(dataset, row, column, pairs):
    """Align one target, in one segment of steps 1-3 (middle 2), to (row, column, step) triples."""
    nodes = as_nodes(dataset)
    row_of, column_of, step = np.array(pairs).T
    index = (row_of * COLUMNS + column_of)[None, None]
    target = nodes["node"].values[row * COLUMNS + column]
    weight = np.full(len(pairs), 1 / len(pairs))
    return make_alignment(nodes, 10, index, step[None, None], weight, queries=[target])


def test_alignments_of_weather_are_scored():
    grid = steady()
    hits = hit_rate(_align(grid, 2, 8, [(2, 6, 3), (0, 0, 3)]), grid)
    assert (hits.hit_rate, hits.weight_share) == (1.0, 0.5)
    assert (hits.num_scored, hits.num_targets) == (1, 1)
    assert hits.by_regime["regime"].values.tolist() == ["carried"]
    # The nearest cells, a row or a column away, are not within one cell of two cells upwind, but
    # for the one in the west: it is at column 7, and column 6 is on the line.
    assert hits.nearest == 1.0
    missed = hit_rate(_align(grid, 2, 8, [(2, 9, 3), (2, 6, 0)]), grid)
    assert missed.hit_rate == 0.0
    # Near the line lie, in 3 rows, 4 + 5 + 5 + 4 columns, as derived above: 54 of the 216 readings
    # of the 54 other cells. Two drawn at random both miss with 162 / 216 * 161 / 215.
    assert missed.chance == pytest.approx(1 - 162 / 216 * 161 / 215)
    assert missed.chance_share == pytest.approx(54 / 216)


@pytest.fixture(scope="module")
def weather():
    return simulate_weather(days=6, rows=11, columns=17, seed=3)


def test_weather_keeps_the_contract(weather):
    check_dataset(weather)
    check_dataset(as_nodes(weather))
    assert dict(weather.sizes) == {"time": 144, "latitude": 11, "longitude": 17}
    assert weather.attrs["synthetic"] == 1
    assert (weather.attrs["units"], weather.attrs["interval"]) == ("K", "1h")
    assert "valid_min" not in weather.attrs  # temperatures have no bound that could bind
    assert weather["target"].dtype == np.float32
    assert np.isfinite(weather["target"].values).all()
    noise = weather["target"] - weather["noiseless"]
    assert float(noise.std()) == pytest.approx(0.2, rel=0.05)
    assert 255 < float(weather["target"].min()) < float(weather["target"].max()) < 310
    # Westerly on the whole; air needs hours from cell to cell, and does not cross several in one.
    flow = Trajectories.of(as_nodes(weather)).flow
    assert flow[:, 1].mean() > 0.25
    assert np.abs(flow).max() < 1.5
    # The wind changes slowly: by less than a tenth of its size from hour to hour.
    assert np.abs(np.diff(flow, axis=0)).mean() < 0.1 * np.abs(flow).mean()


def test_one_seed_is_one_weather(weather):
    first, again = (simulate_weather(days=1, rows=3, columns=7, seed=3) for _ in range(2))
    xr.testing.assert_identical(again, first)
    other = simulate_weather(days=1, rows=11, columns=17, seed=4)
    assert not np.allclose(other["noiseless"], weather["noiseless"][:24])
    assert not np.allclose(other["wind_east"], weather["wind_east"][:24])


def _anomaly(weather):
    """Take away what does not move: the mean of the place, and of the time of day."""
    values = weather["noiseless"] - weather["noiseless"].mean("time")
    return (values.groupby("time.hour") - values.groupby("time.hour").mean()).values


def test_air_keeps_its_anomaly_on_its_way(weather):
    anomaly = _anomaly(weather).reshape(144, -1)
    nodes = as_nodes(weather)
    pairs = {"upwind": [], "here": []}
    for step in range(12, 130, 7):
        found = true_causes(nodes, nodes["time"].values[step], horizon_step=9, history_steps=1)
        line = found["line_node"].values[:, 0]
        known = line >= 0
        arrived = anomaly[step + 9]
        pairs["upwind"].append(np.stack([anomaly[step][line[known]], arrived[known]]))
        pairs["here"].append(np.stack([anomaly[step][known], arrived[known]]))
    upwind, here = (np.corrcoef(np.concatenate(pairs[name], 1))[0, 1] for name in pairs)
    # Anomalies fade by exp(-9 / 120) = 0.93 in 9 hours, and a cell is not quite the point.
    assert upwind > 0.8
    assert here < 0.5


def test_the_truth_hits_and_far_places_do_not(weather):
    nodes = as_nodes(weather)
    lines = true_causes(nodes, nodes["time"].values[60], horizon_step=2, history_steps=HISTORY)
    newest = np.maximum(lines["line_node"].values[:, -1], 0)
    index = np.stack([newest, np.roll(newest, 17 * 5)], 1)[:, None]
    step = np.full_like(index, HISTORY - 1)
    both = make_alignment(nodes, 60, index, step, 0.5)
    hits = hit_rate(both, weather)
    assert hits.num_targets == 11 * 17
    # But for those on whose line their own cell lies: own readings are no sources.
    own = newest == np.arange(11 * 17)
    assert hits.hit_rate > 0.9 - own.mean()
    far = make_alignment(nodes, 60, index[..., 1:], step[..., 1:], 1.0)
    assert hit_rate(far, weather).hit_rate < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, r"days must be at least 1; got 0\. Ask"),
        ({"rows": 2}, "rows must be between 3 and 90, and columns between 3 and 440; got 2 and 24"),
        ({"columns": 441}, "got 16 and 441"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_weather(**options)
