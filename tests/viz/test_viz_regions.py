"""Several places at once: their regions, and what their forecasts have in common, by hand."""

import numpy as np
import pytest
from builders import build_alignment, build_dataset, build_forecast, build_grid
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.grid import as_nodes
from stviz import (
    alignment_table,
    nodes_within,
    plot_alignment_cube,
    plot_alignment_map,
    plot_alignment_profile,
    plot_series,
    prepare_alignment,
    prepare_regions,
    prepare_series,
)

PAIR = ["a", "b"]


@pytest.fixture
def alignment():
    """Two targets that share the newest reading of c, and have one source each of their own."""
    dataset = build_dataset(num_nodes=4, num_steps=40, nodes=["a", "b", "c", "d"])
    alignment = build_alignment(dataset, step=30, nodes=PAIR, topk=2, num_heads=2)
    alignment = alignment.isel(segment=[0])
    alignment["query_latitude"][:] = [0.0, 1.0]
    alignment["query_longitude"][:] = 0.0
    for query, own in enumerate(("d", "a")):
        at = {"query_node": query, "segment": 0}
        alignment["source_node"][at] = ["c", own]
        alignment["source_step"][at] = [11, 3]
        alignment["source_latitude"][at] = [3.0, 0.0]
        alignment["source_longitude"][at] = 0.0
        alignment["source_direction"][at] = ["N", "S"] if query else ["N", "N"]
        alignment["in_window"][at] = [True, False]
        alignment["valid"][at] = True
    alignment["weight"][{"segment": 0}] = [[[0.6, 0.4], [0.8, 0.2]], [[0.1, 0.9], [0.5, 0.5]]]
    alignment["covered_mass"][{"segment": 0}] = [[0.5, 0.7], [0.9, 0.9]]
    return alignment


def test_several_targets_have_the_mean_of_their_weights(alignment):
    sources = prepare_alignment(alignment, node=PAIR)
    # c: heads (0.6 + 0.8) / 2 = 0.7 and (0.1 + 0.5) / 2 = 0.3; d 0.3 of a, a 0.7 of b.
    assert sources["node"].tolist() == ["c", "a", "d"]
    np.testing.assert_allclose(sources["weight"], [0.5, 0.35, 0.15], atol=1e-6)
    assert sources["step"].tolist() == [11, 3, 3]
    assert sources["found_in"].tolist() == ["window", "global", "global"]
    assert sources["direction"].tolist() == ["N", "S", "N"]
    # c is 3 degrees from a with 0.7 and 2 degrees from b with 0.3, hence 2.7 degrees on average.
    np.testing.assert_allclose(sources["distance_km"][0], 2.7 * 111.195, rtol=1e-4)
    at = sources.attrs
    assert (at["node"], at["targets"]) == ("2 places", ("a", "b"))
    assert (at["latitude"], at["longitude"]) == (0.5, 0.0)
    assert at["covered_mass"] == pytest.approx(0.75)
    assert at["num_valid"] == 4


def test_a_head_and_a_cut_of_several_targets(alignment):
    second = prepare_alignment(alignment, node=PAIR, head=1, topk=1)
    assert second["node"].tolist() == ["c"]
    assert second["weight"][0] == pytest.approx((0.8 + 0.5) / 2)
    # A source that is weak in each target is strong enough together.
    assert prepare_alignment(alignment, node=PAIR, min_weight=0.4)["node"].tolist() == ["c"]


def test_sources_whose_direction_differs_have_none(alignment):
    alignment["source_direction"][{"query_node": 1, "segment": 0, "source": 0}] = "NE"
    assert prepare_alignment(alignment, node=PAIR)["direction"][0] == ""


def test_a_target_that_sees_nothing_has_no_say(alignment):
    alignment["weight"][{"query_node": 1}] = 0.0
    alignment["valid"][{"query_node": 1}] = False
    both, one = (prepare_alignment(alignment, node=node) for node in (PAIR, "a"))
    np.testing.assert_allclose(both["weight"], one["weight"])


def test_one_of_a_list_is_that_one(alignment):
    one, listed = (prepare_alignment(alignment, node=node) for node in ("a", ["a"]))
    assert one.equals(listed)
    assert one.attrs == listed.attrs


@pytest.mark.parametrize("nodes", [[], ["a", "nowhere"]])
def test_places_that_are_not_there_are_refused(alignment, nodes):
    with pytest.raises(ValueError, match=r"node must be one or more of the labels"):
        prepare_alignment(alignment, node=nodes)


@given(count=st.integers(2, 8), segment=st.integers(1, 4))
def test_weights_of_several_targets_sum_to_one(count, segment):
    dataset = build_dataset(num_nodes=12, num_steps=40)
    nodes = dataset["node"].values[:count].tolist()
    sources = prepare_alignment(build_alignment(dataset, nodes=nodes), node=nodes, segment=segment)
    assert sources["weight"].sum() == pytest.approx(1.0, abs=1e-5)
    assert not sources.duplicated(["node", "step"]).any()


def test_pictures_of_several_targets(dataset, forecast):
    nodes = dataset["node"].values[:5].tolist()
    alignment = build_alignment(dataset, nodes=nodes)
    cube = plot_alignment_cube(alignment, node=nodes, dataset=dataset)
    traces = {trace.meta: trace for trace in cube.data}
    assert len(traces["target"].x) == 5
    assert "own history" not in traces
    assert "5 places" in cube.layout.title.text
    # Stems meet in the middle.
    middle = dataset["latitude"].values[:5].mean()
    assert traces["stems"].y[1] == pytest.approx(middle)
    drawn = plot_alignment_map(alignment, node=nodes, dataset=dataset)
    assert len(drawn.get(("Points", "Target")).data) == 5
    assert drawn.Segments.Lines.data[["x2", "y2"]].drop_duplicates().shape == (1, 2)
    bare = plot_alignment_map(alignment, node=nodes)  # without the dataset
    assert len(bare.get(("Points", "Target")).data) == 5
    many = build_alignment(dataset, nodes=dataset["node"].values[:9].tolist())
    crowded = plot_alignment_map(many, node=many["query_node"].values.tolist(), dataset=dataset)
    assert len(crowded.Labels.Target_name.data) == 0
    assert alignment_table(alignment, node=nodes)["weight (%)"].is_monotonic_decreasing
    title = plot_alignment_profile(alignment, node=nodes).opts.get("plot", backend="bokeh").kwargs
    assert title["title"]


def test_the_series_of_several_places_is_their_mean(dataset, forecast):
    nodes = dataset["node"].values[:3].tolist()
    series = prepare_series(forecast, node=nodes, dataset=dataset)
    ahead = series[series["part"] == "horizon"]
    wanted = forecast["forecast"].sel(node=nodes).isel(time=-1).mean("node").values
    np.testing.assert_allclose(ahead["forecast"], wanted, rtol=1e-6)
    assert ahead[["lower", "upper"]].isna().all().all(), "no band: it would be none of a mean"
    past = series[series["part"] == "history"]
    read = dataset["target"].sel(node=nodes, time=past.index).mean("node")  # of those observed
    np.testing.assert_allclose(past["reading"], read.values, rtol=1e-6)
    text = plot_series(forecast, node=nodes, dataset=dataset).opts.get("plot", backend="bokeh")
    assert "at 3 places, mean" in text.kwargs["title"]


def test_cells_count_by_their_area():
    grid = build_grid(latitude=np.array([0.0, 30.0, 60.0]), longitude=np.array([0.0, 30.0, 60.0]))
    data = as_nodes(grid)
    forecast = build_forecast(data, num_horizon=2)
    # One cell at the equator and one at 60 degrees, which has half of its area.
    nodes = [str(data["node"].values[0]), str(data["node"].values[-1])]
    series = prepare_series(forecast, node=nodes)
    low, high = (forecast["forecast"].sel(node=node).isel(time=-1).values for node in nodes)
    np.testing.assert_allclose(series["forecast"], (low * 1.0 + high * 0.5) / 1.5, rtol=1e-5)


def test_regions_by_hand():
    grid = build_grid(latitude=np.array([-70.0, -30.0, 0.0, 30.0]), longitude=np.arange(2.0))
    names = prepare_regions(grid)
    assert names.tolist()[::2] == ["polar south", "mid-latitudes south", "tropics",
                                   "mid-latitudes north"]  # fmt: skip
    assert names.index.name == "node"
    data = build_dataset(num_nodes=4)
    with pytest.raises(ValueError, match=r"Regions need zones, a coordinate 'corridor'"):
        prepare_regions(data)
    named = data.assign_coords(corridor=("node", ["I 5", "I 5", "US 101", "I 5"]))
    assert prepare_regions(named).tolist() == ["I 5", "I 5", "US 101", "I 5"]


def test_places_in_a_box():
    data = build_dataset(num_nodes=4, nodes=["w", "x", "y", "z"])
    data = data.assign_coords(
        longitude=("node", [-179.5, 179.0, 10.0, -170.0]), latitude=("node", [0.0, 1.0, 0.0, 5.0])
    )
    assert nodes_within(data, bounds=(178.0, -1.0, 181.0, 1.0)) == ["w", "x"]
    assert nodes_within(data, bounds=(-180.0, -90.0, 180.0, 90.0)) == ["w", "x", "y", "z"]
    assert nodes_within(data, bounds=(20.0, 0.0, 30.0, 1.0)) == []
    for wrong in ((0.0, 1.0, 2.0, 0.0), (5.0, 0.0, 1.0, 1.0), (0.0, np.nan, 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"bounds must be west, south, east and north"):
            nodes_within(data, bounds=wrong)
