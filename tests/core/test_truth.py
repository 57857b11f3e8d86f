"""True causes on lines derived by hand, and hit rates of alignments made by hand."""

import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from sttrans_core.data.simulate import simulate_freeway
from sttrans_core.truth.hits import has_truth, hit_rate, true_causes

# Sensors every 1.5 km; in 5 minutes a wave at 18 km/h moves 1.5 km, one node, and free traffic at
# 90 km/h moves 7.5 km, five nodes.
STEPS, HISTORY = 20, 4


def make_corridor(speed, *, num_nodes=8, corridors=("east",), order=None, target=None):
    """Make sensors in the direction of travel; `speed` is a number or (time, node)."""
    num_all = num_nodes * len(corridors)
    order = np.arange(num_all) if order is None else np.asarray(order)
    truth = np.broadcast_to(np.asarray(speed, np.float32), (STEPS, num_all)).copy()
    ids = np.array([f"{name}{i}" for name in corridors for i in range(num_nodes)])
    km = np.tile(1.5 * np.arange(num_nodes), len(corridors))
    dataset = xr.Dataset(
        {
            "target": (("time", "node"), truth.copy() if target is None else target),
            "noiseless": (("time", "node"), truth),
        },
        coords={
            "time": pd.date_range("2024-01-03", periods=STEPS, freq="5min"),
            "node": ids,
            "latitude": ("node", np.repeat(40.0 + 0.001 * np.arange(len(corridors)), num_nodes)),
            "longitude": ("node", -100 + km / 85.0),
            "corridor": ("node", np.repeat(corridors, num_nodes)),
            "milepost_km": ("node", km),
        },
        attrs={
            "interval": "5min",
            "free_flow_kmh": 90.0,
            "wave_speed_kmh": 18.0,
            "critical_speed_mph": 50.0,
        },
    )
    return dataset.isel(node=order)


def causes(dataset, node, *, step, horizon_step, **options):
    return true_causes(
        dataset,
        dataset["time"].values[step],
        horizon_step=horizon_step,
        nodes=[node],
        history_steps=HISTORY,
        **options,
    ).isel(query_node=0)


def test_in_a_queue_the_line_comes_from_downstream_one_node_per_step():
    # Two steps ahead, the newest history step (3) lies two steps back: two nodes downstream.
    found = causes(make_corridor(20.0), "east0", step=10, horizon_step=2)
    assert found["line_node"].values.tolist() == [5, 4, 3, 2]
    assert bool(found["congested"])
    assert bool(found["scorable"])


def test_near_the_line_is_one_node_and_one_step():
    # Step 3: one node around node 2 (its own) and around node 3 (of step 2). Step 0: around 5 and,
    # of step 1, around 4.
    near = causes(make_corridor(20.0), "east0", step=10, horizon_step=2)["near_line"].values
    expected = [[3, 4, 5, 6], [2, 3, 4, 5, 6], [1, 2, 3, 4, 5], [1, 2, 3, 4]]
    assert [np.flatnonzero(row).tolist() for row in near] == expected


def test_in_free_traffic_the_line_comes_from_upstream():
    # One step ahead of node 7 the newest step lies 5 nodes upstream; one step more is outside.
    found = causes(make_corridor(60.0), "east7", step=10, horizon_step=1)
    assert found["line_node"].values.tolist() == [-1, -1, -1, 2]
    assert not bool(found["congested"])
    assert np.argwhere(found["near_line"].values).tolist() == [
        [2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]
    ]  # fmt: skip


def test_a_line_that_leaves_the_corridor_cannot_be_scored():
    # Node 6 needs node 8, which is not there, two steps back.
    found = causes(make_corridor(20.0), "east6", step=10, horizon_step=2)
    assert found["line_node"].values.tolist() == [-1, -1, -1, -1]
    assert not bool(found["scorable"])
    assert not found["near_line"].values.any()


def test_a_target_after_the_end_has_no_known_cause():
    found = causes(make_corridor(20.0), "east0", step=STEPS - 1, horizon_step=1)
    assert not bool(found["scorable"])


def test_the_line_ends_at_the_head_of_the_queue_unless_it_is_followed_straight():
    # Node 4 and what lies behind it flow freely: the queue's head is at node 3.
    speed = np.full((STEPS, 8), 20.0)
    speed[:, 4:] = 60.0
    dataset = make_corridor(speed)
    found = causes(dataset, "east0", step=10, horizon_step=2)
    assert found["line_node"].values.tolist() == [-1, -1, 3, 2]
    straight = causes(dataset, "east0", step=10, horizon_step=2, stay_in_regime=False)
    assert straight["line_node"].values.tolist() == [5, 4, 3, 2]
    # Four steps ahead the line meets the head before it reaches the history.
    assert not bool(causes(dataset, "east0", step=10, horizon_step=4)["scorable"])


def test_a_gap_in_the_queue_ends_the_line_even_if_it_is_congested_again_beyond():
    speed = np.full((STEPS, 8), 20.0)
    speed[10, 2] = 60.0  # on the line: two nodes on, two steps before step 12
    found = causes(make_corridor(speed), "east0", step=10, horizon_step=2)
    assert found["line_node"].values.tolist() == [-1, -1, -1, -1]


def test_corridors_are_told_apart_and_nodes_may_come_in_any_order():
    # Stored backwards, two corridors: index of eastN is 15 - N, its downstream nodes come before.
    dataset = make_corridor(20.0, corridors=("east", "west"), order=np.arange(16)[::-1])
    found = causes(dataset, "east0", step=10, horizon_step=2)
    assert dataset["node"].values[found["line_node"].values].tolist() == [
        "east5", "east4", "east3", "east2"
    ]  # fmt: skip
    near = dataset["node"].values[found["near_line"].values.any(0)]
    assert all(name.startswith("east") for name in near)
    assert sorted(near) == [f"east{i}" for i in range(1, 7)]


def test_guards_of_true_causes():
    dataset = make_corridor(20.0)
    bare = dataset.drop_vars("corridor")
    del bare.attrs["wave_speed_kmh"]
    assert has_truth(dataset)
    assert not has_truth(bare)
    with pytest.raises(ValueError, match=r"got none of corridor, wave_speed_kmh\. Use a simulated"):
        causes(bare, "east0", step=10, horizon_step=1)
    with pytest.raises(ValueError, match="Nodes must be ids of the dataset; got 'north1'"):
        causes(dataset, "north1", step=10, horizon_step=1)
    with pytest.raises(ValueError, match="4 steps up to 2024-01-03 00:10:00, where there are 3"):
        causes(dataset, "east0", step=2, horizon_step=1)
    with pytest.raises(ValueError, match="must be at least 1; got 0 and 4"):
        causes(dataset, "east0", step=10, horizon_step=0)
    with pytest.raises(ValueError, match="time must be a time stamp of the dataset; got 2023"):
        true_causes(dataset, "2023-01-01", horizon_step=1)


def make_alignment(
    dataset, step, node, source_step, weight, *, first=(1,), last=(3,), queries=None
):
    """Make an alignment of one head; the arrays are (query, segment, source)."""
    node, source_step = np.asarray(node), np.asarray(source_step)
    queries = dataset["node"].values if queries is None else np.array(queries)
    dims = ("query_node", "segment", "source")
    weight = np.broadcast_to(np.asarray(weight, np.float32), node.shape)
    stamps = dataset["time"].values[step - HISTORY + 1 + source_step]
    return xr.Dataset(
        {
            "weight": (("query_node", "segment", "head", "source"), weight[:, :, None]),
            "covered_mass": (
                ("query_node", "segment", "head"),
                np.ones((*node.shape[:2], 1), np.float32),
            ),
            "source_node": (dims, dataset["node"].values[node]),
            "source_node_index": (dims, node),
            "source_step": (dims, source_step),
            "source_time": (dims, stamps),
            "source_latitude": (dims, dataset["latitude"].values[node]),
            "source_longitude": (dims, dataset["longitude"].values[node]),
            "source_direction": (dims, np.full(node.shape, "N")),
            "source_value": (dims, np.zeros(node.shape, np.float32)),
            "in_window": (dims, np.zeros(node.shape, bool)),
            "valid": (dims, weight > 0),
        },
        coords={
            "query_node": queries,
            "segment": np.arange(1, len(first) + 1),
            "segment_first_step": ("segment", list(first)),
            "segment_last_step": ("segment", list(last)),
            "time": dataset["time"].values[step],
        },
        attrs={"history_steps": HISTORY},
    )


def one_query(dataset, pairs, weight, **options):
    """Align east0 to (node, step) pairs, in one segment of steps 1-3 (middle 2)."""
    node, step = np.array(pairs).T
    return make_alignment(
        dataset, 10, node[None, None], step[None, None], weight, queries=["east0"], **options
    )


def test_sources_on_the_line_are_hits():
    dataset = make_corridor(20.0)
    score = hit_rate(one_query(dataset, [(2, 3), (3, 2)], [0.5, 0.5]), dataset)
    assert (score.hit_rate, score.weight_share) == (1.0, 1.0)
    assert (score.num_scored, score.num_targets) == (1, 1)


def test_sources_off_the_line_are_no_hits():
    # Its own newest readings, and the far end: neither is within one node and one step.
    dataset = make_corridor(20.0)
    score = hit_rate(one_query(dataset, [(0, 3), (0, 2), (7, 3)], [0.4, 0.3, 0.3]), dataset)
    assert (score.hit_rate, score.weight_share) == (0.0, 0.0)


def test_weight_share_counts_the_weight_on_the_causes_within_the_top():
    # The two heaviest are (0, 3), off, with 0.5 and (2, 3), on, with 0.3: 0.3 / 0.8 of the weight.
    dataset = make_corridor(20.0)
    alignment = one_query(dataset, [(3, 2), (0, 3), (2, 3)], [0.2, 0.5, 0.3])
    score = hit_rate(alignment, dataset, top=2)
    assert score.hit_rate == 1.0
    assert score.weight_share == pytest.approx(0.375)
    assert hit_rate(alignment, dataset, top=1).hit_rate == 0.0


def test_sources_without_weight_do_not_hit():
    dataset = make_corridor(20.0)
    assert hit_rate(one_query(dataset, [(0, 3), (2, 3)], [1.0, 0.0]), dataset).hit_rate == 0.0


def test_chance_is_hypergeometric():
    # 18 of the 28 sources of other places lie near the line (4 + 5 + 5 + 4, see above). Two drawn
    # at random both miss with 10/28 * 9/27 = 90/756.
    dataset = make_corridor(20.0)
    score = hit_rate(one_query(dataset, [(2, 3), (3, 2)], [0.5, 0.5]), dataset)
    assert score.chance == pytest.approx(1 - 90 / 756)
    assert score.chance_share == pytest.approx(18 / 28)


def test_missing_readings_are_no_causes():
    # All but node 1 and node 7 are missing: of the line's neighbours, node 1 at steps 2 and 3 is
    # left, 2 of 8 sources. One drawn at random hits with 2/8.
    target = np.full((STEPS, 8), np.nan, np.float32)
    target[:, [1, 7]] = 20.0
    dataset = make_corridor(20.0, target=target)
    score = hit_rate(one_query(dataset, [(7, 3)], [1.0]), dataset, top=1)
    assert score.chance == pytest.approx(0.25)
    assert score.hit_rate == 0.0
    # The nearest node with a reading is node 1, at the newest step.
    assert score.nearest == 1.0


def test_the_nearest_sources_are_the_newest_readings_of_the_nearest_nodes():
    # Of east0 it is east1, within one node of node 2; where east1 is missing in the newest two
    # steps, its reading before them is too old, and with two sources east2 comes in.
    target = np.full((STEPS, 8), 20.0, np.float32)
    target[9:11, 1] = np.nan
    for dataset, nearest in ((make_corridor(20.0), 1.0), (make_corridor(20.0, target=target), 0.0)):
        alignment = one_query(dataset, [(7, 3), (7, 2)], [0.5, 0.5])
        assert hit_rate(alignment, dataset, top=1).nearest == nearest
        assert hit_rate(alignment, dataset, top=2).nearest == 1.0


def test_unscorable_targets_are_counted_but_not_scored():
    dataset = make_corridor(20.0)
    node = np.zeros((8, 1, 1), int)
    score = hit_rate(make_alignment(dataset, 10, node, node + 3, 1.0), dataset)
    # Two steps back, nodes 6 and 7 have nothing downstream.
    assert (score.num_scored, score.num_targets) == (6, 8)
    nothing = hit_rate(make_alignment(dataset, STEPS - 1, node, node + 3, 1.0), dataset)
    assert (nothing.num_scored, nothing.num_targets) == (0, 0)
    assert np.isnan(nothing.hit_rate)


def test_regimes_and_segments_are_told_apart():
    # The target is step 2 in segment 1 and step 5 in segment 2. From there the line passes nodes
    # 5, 6, 7 in the history, and node 2 at the newest step is off it.
    dataset = make_corridor(20.0)
    node, step = np.full((1, 2, 1), 2), np.full((1, 2, 1), 3)
    alignment = make_alignment(
        dataset, 10, node, step, 1.0, first=(1, 4), last=(3, 6), queries=["east0"]
    )
    score = hit_rate(alignment, dataset)
    table = score.by_regime
    assert table["hit_rate"].sel(regime="congested").values.tolist() == [1.0, 0.0]
    assert table["num_targets"].sel(regime="free").values.tolist() == [0, 0]
    assert score.hit_rate == 0.5


def test_free_targets_are_in_the_totals_only_when_asked_for():
    # In segment 1-1 the target of east7 is one step ahead, its cause node 2 at the newest step.
    dataset = make_corridor(60.0)
    alignment = make_alignment(
        dataset, 10, np.full((1, 1, 1), 2), np.full((1, 1, 1), 3), 1.0, last=(1,), queries=["east7"]
    )
    assert hit_rate(alignment, dataset).num_targets == 0
    assert hit_rate(alignment, dataset, congested_only=False).hit_rate == 1.0
    assert hit_rate(alignment, dataset).by_regime["hit_rate"].sel(regime="free").item() == 1.0


@pytest.fixture(scope="module")
def freeway():
    return simulate_freeway(days=2, num_sensors=24, seed=5)


def random_alignments(dataset, origins, rng, num_sources=8):
    """Align every node, in four segments, to observed sources of other nodes drawn at random."""
    num_nodes = dataset.sizes["node"]
    seen = np.isfinite(dataset["target"].values)
    for origin in origins:
        pool = np.flatnonzero(seen[origin - HISTORY + 1 : origin + 1].ravel())
        drawn = np.stack(
            [
                rng.choice(pool[pool % num_nodes != query // 4], num_sources, replace=False)
                for query in range(num_nodes * 4)
            ]
        )
        drawn = drawn.reshape(num_nodes, 4, num_sources)
        yield make_alignment(
            dataset,
            origin,
            drawn % num_nodes,
            drawn // num_nodes,
            1 / num_sources,
            first=(1, 4, 7, 10),
            last=(3, 6, 9, 12),
        )


def test_random_alignments_score_as_chance_says(freeway):
    rng = np.random.default_rng(0)
    slow = freeway["noiseless"].values < freeway.attrs["critical_speed_mph"]
    busy = np.flatnonzero(slow.mean(1) > 0.2)
    score = hit_rate(random_alignments(freeway, busy[::2], rng), freeway)
    assert score.num_scored > 300
    # Four standard errors of a share of about 1/4 over the targets scored.
    error = 4 * np.sqrt(0.25 / score.num_scored)
    assert score.hit_rate == pytest.approx(score.chance, abs=error)
    assert score.weight_share == pytest.approx(score.chance_share, abs=error / 2)


def test_hundreds_of_alignments_are_scored_in_seconds(freeway):
    alignments = list(random_alignments(freeway, range(100, 300), np.random.default_rng(1)))
    start = time.perf_counter()
    hit_rate(alignments, freeway)
    # 1.3 s on an idle core; the bound leaves room for a busy one.
    assert time.perf_counter() - start < 12


def test_guards_of_hit_rate(freeway):
    dataset = make_corridor(20.0)
    alignment = one_query(dataset, [(2, 3)], [1.0])
    with pytest.raises(ValueError, match="top must be at least 1; got 0"):
        hit_rate(alignment, dataset, top=0)
    with pytest.raises(ValueError, match="There must be an alignment to score; got none"):
        hit_rate([], dataset)
    with pytest.raises(ValueError, match="Nodes must be ids of the dataset; got 'east0'"):
        hit_rate(alignment, freeway)
    with pytest.raises(ValueError, match="time must be a time stamp of the dataset; got 2020"):
        hit_rate(alignment.assign_coords(time=np.datetime64("2020-01-01", "ns")), dataset)
    with pytest.raises(ValueError, match="'source_step'"):
        hit_rate(alignment.drop_vars("source_step"), dataset)
