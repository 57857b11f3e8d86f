"""What the alignment pictures show, against values by hand."""

import inspect

import numpy as np
import pandas as pd
import pytest
from builders import build_alignment, build_dataset
from hypothesis import given
from hypothesis import strategies as st

from stviz import (
    alignment_table,
    plot_alignment_profile,
    prepare_alignment,
    prepare_alignment_profile,
    scores_table,
)
from stviz.prepare_sources import describe_alignment, sum_by_place

DEGREE_KM = 111.19508


@pytest.fixture
def alignment():
    """Two heads, four kept places of which the last is filler; segment 2 forecasts steps 4 to 6."""
    dataset = build_dataset(num_nodes=3, num_steps=40, nodes=["a", "b", "c"])
    alignment = build_alignment(dataset, step=30, nodes=["a"], topk=4, num_heads=2)
    at = {"query_node": 0, "segment": 1}
    values = {
        "source_node": ["b", "b", "c", "a"],
        "source_step": [11, 7, 0, 0],
        "source_latitude": [1.0, 1.0, 0.0, 0.0],
        "source_longitude": [0.0, 0.0, 3.0, 0.0],
        "source_direction": ["downstream", "upstream", "N", ""],
        "source_value": [50.0, 40.0, np.nan, 0.0],
        "in_window": [True, False, False, False],
        "valid": [True, True, True, False],
    }
    for name, value in values.items():
        alignment[name][at] = value
    alignment["weight"][at] = [[0.2, 0.5, 0.3, 0.0], [0.6, 0.3, 0.1, 0.0]]
    alignment["covered_mass"][at] = [0.5, 0.7]
    alignment["query_latitude"][0] = 0.0
    alignment["query_longitude"][0] = 0.0
    return alignment


def test_profiles_by_hand(alignment):
    # Sources of segment 2: b at 1 degree, twice, c at 3 degrees; 20, 40 and 75 minutes before.
    alignment = alignment.isel(segment=[1])  # the only one whose places were moved
    frame = prepare_alignment_profile(alignment, by="distance", node="a", segment=2)
    assert frame["head"].unique().tolist() == ["head 0", "head 1", "mean of heads"]
    for head, near, far in (
        ("head 0", 0.7, 0.3),
        ("head 1", 0.9, 0.1),
        ("mean of heads", 0.8, 0.2),
    ):
        shares = frame[frame["head"] == head]
        assert len(shares) == 12
        inside = (shares["low"] <= DEGREE_KM) & (shares["high"] > DEGREE_KM)
        assert shares.loc[inside, "weight"].item() == pytest.approx(near)
        assert shares["weight"].iloc[-1] == pytest.approx(far)
        assert shares["weight"].sum() == pytest.approx(1)
    frame = prepare_alignment_profile(alignment, by="delay", node="a", segment=2)
    shares = frame[frame["head"] == "mean of heads"].set_index("low")["weight"]
    assert shares.index.tolist() == [5 * step - 2.5 for step in range(4, 16)]
    held = shares[shares > 0]
    assert held.index.tolist() == [17.5, 37.5, 72.5]
    assert held.tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_a_profile_of_all_places_is_the_mean_of_theirs():
    dataset = build_dataset(num_nodes=9, num_steps=40)
    alignment = build_alignment(dataset, step=30)
    alignment["valid"][0, 1] = False  # nothing was observed for the first place: it has no say
    for by in ("distance", "delay"):
        every = prepare_alignment_profile(alignment, by=by, segment=2)
        each = [
            prepare_alignment_profile(alignment, by=by, node=node, segment=2)["weight"]
            for node in alignment["query_node"].values.tolist()
        ]
        assert each[0].sum() == 0
        np.testing.assert_allclose(every["weight"], np.mean(each[1:], axis=0), atol=1e-6)


def test_a_profile_shows_heads_their_mean_and_all_places():
    alignment = build_alignment(build_dataset(num_nodes=9, num_steps=40), step=30, num_heads=2)
    node = str(alignment["query_node"].values[1])
    for by in ("distance", "delay"):
        lines = plot_alignment_profile(alignment, by=by, node=node)
        labels = [line.label for line in lines]
        assert labels == ["head 0", "head 1", "all places", "mean of heads"]
    with pytest.raises(ValueError, match=r"by must be one of distance, delay; got 'colour'\. Pass"):
        inspect.unwrap(prepare_alignment_profile)(alignment, by="colour")


def test_a_profile_of_several_moments_is_the_mean_of_theirs():
    dataset = build_dataset(num_nodes=9, num_steps=60)
    two = [build_alignment(dataset, step=step) for step in (30, 50)]
    both = prepare_alignment_profile(two, by="delay", segment=3)
    each = [prepare_alignment_profile(one, by="delay", segment=3)["weight"] for one in two]
    np.testing.assert_allclose(both["weight"], np.mean(each, axis=0), atol=1e-6)
    # Bins of distances are those of all together.
    both = prepare_alignment_profile(two)
    assert both["high"].max() == pytest.approx(prepare_alignment_profile(two[::-1])["high"].max())
    np.testing.assert_allclose(both.groupby("head")["weight"].sum(), 1)


def test_all_readings_alike_by_hand(alignment):
    dataset = build_dataset(num_nodes=3, num_steps=40, nodes=["a", "b", "c"])
    dataset["latitude"][:], dataset["longitude"][:] = [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]
    dataset["target"][:] = 50.0
    dataset["target"][30, 1] = dataset["target"][25:31, 2] = np.nan
    alignment = alignment.isel(segment=[1])  # the only one whose places were moved
    # 12 steps, of which 11 of b at 1 degree and 6 of c at 3 degrees were observed.
    frame = prepare_alignment_profile(alignment, by="distance", segment=2, dataset=dataset)
    alike = frame[frame["head"] == "all readings alike"]
    inside = (alike["low"] <= DEGREE_KM) & (alike["high"] > DEGREE_KM)
    assert alike.loc[inside, "weight"].item() == pytest.approx(11 / 17)
    assert alike["weight"].iloc[-1] == pytest.approx(6 / 17)
    frame = prepare_alignment_profile(alignment, by="delay", segment=2, dataset=dataset)
    alike = frame[frame["head"] == "all readings alike"]
    # The newest step lacks both, the next five c.
    np.testing.assert_allclose(alike["weight"], np.array([0, *[1] * 5, *[2] * 6]) / 17)
    lines = plot_alignment_profile([alignment] * 2, by="delay", segment=2, dataset=dataset)
    assert [line.label for line in lines][-2:] == ["all readings alike", "mean of heads"]


def test_a_profile_refuses_what_does_not_belong_together():
    dataset = build_dataset(num_nodes=5, num_steps=40)
    alignment = build_alignment(dataset, step=30)
    with pytest.raises(ValueError, match=r"alignments of one model; got none\. Pass what"):
        prepare_alignment_profile([])
    other = build_alignment(dataset, step=30, num_heads=2)
    with pytest.raises(ValueError, match=r"alignments of one model; got those of 2\. Pass what"):
        prepare_alignment_profile([alignment, other])
    with pytest.raises(ValueError, match=r"must hold the 12 steps up to 2012-03-07 02:30; got "):
        prepare_alignment_profile(alignment, dataset=dataset.isel(time=slice(25, 40)))


def test_sources_by_hand(alignment):
    frame = prepare_alignment(alignment, node="a", segment=2)
    # Means over the two heads: b at step 11 (0.2 + 0.6) / 2, b at step 7 (0.5 + 0.3) / 2, c 0.2.
    assert frame["weight"].tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert frame["node"].tolist() == ["b", "b", "c"]
    assert frame["rank"].tolist() == [1, 2, 3]
    # The history has 12 steps, so step 11 is the origin itself and step 0 lies 11 steps back.
    assert frame["steps_behind"].tolist() == [0, 4, 11]
    assert frame["minutes_behind"].tolist() == [0, 20, 55]
    # The segment starts 4 steps ahead of the origin.
    assert frame["lag_steps"].tolist() == [4, 8, 15]
    assert frame["lag_minutes"].tolist() == [20, 40, 75]
    assert frame["distance_km"].tolist() == pytest.approx([DEGREE_KM, DEGREE_KM, 3 * DEGREE_KM])
    assert frame["direction"].tolist() == ["downstream", "upstream", "N"]
    assert frame["found_in"].tolist() == ["window", "global", "global"]
    np.testing.assert_array_equal(frame["reading"], [50, 40, np.nan])
    attrs = frame.attrs
    assert (attrs["first_minutes"], attrs["last_minutes"]) == (20, 30)
    assert attrs["covered_mass"] == pytest.approx(0.6)
    assert attrs["shown_weight"] == pytest.approx(1.0)
    assert attrs["num_valid"] == 3


def test_one_head_has_its_own_order(alignment):
    frame = prepare_alignment(alignment, segment=2, head=0)
    assert frame["weight"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert frame["step"].tolist() == [7, 0, 11]
    assert frame.attrs["covered_mass"] == pytest.approx(0.5)


def test_a_cut_says_what_it_leaves_out_and_never_normalises(alignment):
    top = prepare_alignment(alignment, segment=2, topk=2)
    assert top["weight"].tolist() == pytest.approx([0.4, 0.4])
    assert top.attrs["shown_weight"] == pytest.approx(0.8)
    heavy = prepare_alignment(alignment, segment=2, min_weight=0.3)
    assert len(heavy) == 2
    none = prepare_alignment(alignment, segment=2, min_weight=0.9)
    assert len(none) == 0
    assert none.attrs["shown_weight"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node": "z"}, r"node must be one of the labels of 'query_node'; got 'z'\. Pass one of"),
        ({"segment": 9}, r"segment must be one of the labels of 'segment'; got 9\. Pass one of"),
        ({"head": 2}, r"head must be one of the labels of 'head'; got 2\. Pass one of 0, 1"),
        ({"topk": 0}, r"topk must be at least 1; got 0\. Pass None"),
        ({"min_weight": 1.5}, r"min_weight must be between 0 and 1; got 1\.5\. Weights sum"),
    ],
)
def test_sources_of_nothing_are_refused(alignment, options, message):
    with pytest.raises(ValueError, match=message):
        prepare_alignment(alignment, **options)


def test_a_choice_of_several_targets_must_be_made():
    dataset = build_dataset(num_nodes=4, num_steps=40)
    alignment = build_alignment(dataset, step=30, nodes=dataset["node"].values[:2].tolist())
    with pytest.raises(ValueError, match=r"node must be given .*; got None with 2 of them\. Pass"):
        prepare_alignment(alignment)


def test_weights_add_up_by_place(alignment):
    places = sum_by_place(prepare_alignment(alignment, segment=2))
    assert places["node"].tolist() == ["b", "c"]
    assert places["weight"].tolist() == pytest.approx([0.8, 0.2])
    assert places["steps"].tolist() == [2, 1]
    # b: (0.4 * 20 + 0.4 * 40) / 0.8 minutes.
    assert places["lag_minutes"].tolist() == pytest.approx([30, 75])
    assert places["found_in"].tolist() == ["both", "global"]
    assert (places["newest_minutes"].tolist(), places["oldest_minutes"].tolist()) == (
        [0, 55],
        [20, 55],
    )


def test_places_of_no_sources_are_none(alignment):
    assert sum_by_place(prepare_alignment(alignment, segment=2, min_weight=0.9)).empty


def test_the_title_says_how_far_it_can_be_trusted(alignment):
    sources = prepare_alignment(alignment, segment=2, topk=2)
    title, facts = describe_alignment(sources, alignment)
    assert title == "What the forecast for a looked at (20\N{EN DASH}30 min ahead)"
    for fact in ("2 of k = 4", "mean of 2 heads", "layer 1", "80% of the weight", "60% of dense"):
        assert fact in facts
    simulated = alignment.assign_attrs(synthetic=1)
    assert describe_alignment(sources, simulated)[0].startswith("Simulated")


def test_the_table_is_ready_to_show(alignment):
    table = alignment_table(alignment, segment=2)
    assert table.columns.tolist() == [
        "place",
        "time",
        "lag (min)",
        "distance (km)",
        "direction",
        "weight (%)",
        "found in",
        "speed (mph)",
    ]
    assert table.index.tolist() == [1, 2, 3]
    assert table["weight (%)"].tolist() == [40, 40, 20]
    origin = pd.Timestamp(alignment["time"].values)
    assert table.loc[1, "time"] == pd.Timestamp(alignment["source_time"].values[0, 1, 0]).strftime(
        "%Y-%m-%d %H:%M"
    )
    assert table.attrs["time"] == origin


@given(topk=st.integers(1, 20), min_weight=st.floats(0, 0.2), head=st.none() | st.integers(0, 2))
def test_cuts_keep_the_strongest(topk, min_weight, head):
    dataset = build_dataset(num_nodes=6, num_steps=40)
    alignment = build_alignment(dataset, step=30, nodes=["700000"], topk=12)
    every = prepare_alignment(alignment, head=head)
    some = prepare_alignment(alignment, head=head, topk=topk, min_weight=min_weight)
    assert every.attrs["shown_weight"] == pytest.approx(1, abs=1e-5)
    assert len(some) == min(topk, int((every["weight"] >= min_weight).sum()))
    np.testing.assert_array_equal(some["weight"], every["weight"].head(len(some)))
    assert some["weight"].is_monotonic_decreasing


def test_scores_table_by_hand():
    from builders import build_scores

    table = scores_table(build_scores(), minutes=(5, 15, 99))
    assert table.columns.tolist() == ["5 min", "15 min", "mean of 12 steps"]
    assert table.index.tolist() == ["ST-Trans full", "last value", "historical average"]
    # 2 + 0.1 h at h = 1, 3; the mean of h over 1..12 is 6.5.
    assert table.loc["ST-Trans full"].tolist() == pytest.approx([2.1, 2.3, 2.65])
    assert table.attrs["units"] == "mph"
    with pytest.raises(ValueError, match=r"minutes must name lead times .*; got \[7\] with scores"):
        scores_table(build_scores(), minutes=(7,))
