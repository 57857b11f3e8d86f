"""The space-time cube: traces, places and words."""

import numpy as np
import plotly.graph_objects as go
import pytest
from builders import build_alignment, build_dataset

from stviz import plot_alignment_cube, prepare_alignment
from stviz.cube_frame import degree_ticks, measure_frame
from stviz.cube_scene import arrow_heads
from stviz.theme import THEMES

NODE = "700013"


@pytest.fixture(scope="module")
def dataset():
    return build_dataset(num_nodes=20, num_steps=120)


@pytest.fixture(scope="module")
def alignment(dataset):
    return build_alignment(dataset, step=95, nodes=["700000", NODE], topk=12)


def traces(figure: go.Figure) -> dict[str, object]:
    named = {trace.meta: trace for trace in figure.data}
    assert len(named) == len(figure.data)
    return named


def test_each_source_is_at_its_place_and_time(alignment, dataset):
    figure = plot_alignment_cube(alignment, node=NODE, segment=2, dataset=dataset)
    sources = prepare_alignment(alignment, node=NODE, segment=2)
    named = traces(figure)
    for part in ("window", "global"):
        shown = sources[sources["found_in"] == part]
        trace = named[f"sources {part}"]
        np.testing.assert_allclose(trace.x, shown["longitude"])
        np.testing.assert_allclose(trace.y, shown["latitude"])
        np.testing.assert_array_equal(trace.z, -shown["steps_behind"])
        np.testing.assert_allclose(trace.marker.color, shown["weight"])
    assert named["sources window"].marker.symbol != named["sources global"].marker.symbol
    # Segment 2 forecasts steps 4 to 6: its middle is 5 steps above now.
    target = named["target"]
    assert (target.z[0], named["own history"].z) == (5, (-11, 0))


def test_sizes_grow_with_weights(alignment, dataset):
    named = traces(plot_alignment_cube(alignment, node=NODE, dataset=dataset))
    trace = named["sources global"]
    order = np.argsort(trace.marker.color)
    assert np.all(np.diff(np.asarray(trace.marker.size)[order]) >= 0)


def test_two_cubes_that_are_compared_have_one_scale_and_one_floor(alignment, dataset):
    # Of fewer sources each has more weight; of more, some lie farther away.
    other = build_alignment(dataset, step=95, nodes=["700000", NODE], topk=3)
    selected = {"node": NODE, "dataset": dataset}
    first = plot_alignment_cube(alignment, beside=other, **selected).layout
    second = plot_alignment_cube(other, beside=alignment, **selected).layout
    alone = [plot_alignment_cube(each, **selected).layout for each in (alignment, other)]
    assert first.coloraxis.cmax == second.coloraxis.cmax
    assert first.coloraxis.cmax == max(layout.coloraxis.cmax for layout in alone)
    assert first.scene.xaxis.range == second.scene.xaxis.range
    assert first.scene.yaxis.range == second.scene.yaxis.range
    assert first.scene.xaxis.range[0] == min(layout.scene.xaxis.range[0] for layout in alone)


def test_stems_are_one_trace_from_each_source_to_the_target(alignment, dataset):
    stems = traces(plot_alignment_cube(alignment, node=NODE, dataset=dataset))["stems"]
    lines, heads = stems.x[:36], stems.x[36:]
    assert len(stems.x) == 36 + 4 * 12
    assert lines[2::3] == (None,) * 12
    assert set(stems.z[1:36:3]) == {2.0}  # the middle of steps 1 to 3
    # Each head lies at two thirds of its line.
    tips = np.array(lines[::3], float) / 3 + 2 * np.array(lines[1::3], float) / 3
    np.testing.assert_allclose(np.array(heads[1::4], float), tips)


def test_strokes_of_an_arrow_are_alike_as_they_are_drawn(alignment):
    frame = measure_frame(prepare_alignment(alignment, node=NODE))
    west, south, east, north = frame.bounds
    unit = np.array([east - west, north - south, np.ptp(frame.heights)]) / frame.aspect
    end = np.array([*frame.target, frame.target_step])
    start = np.array([[west, south, -3.0], [east, north, -11.0], [*frame.target, -5.0]])
    heads = arrow_heads(frame, start, end)
    assert np.isnan(heads[:, 3]).all()
    strokes = (heads[:, [0, 2]] - heads[:, [1]]) / unit
    lengths = np.linalg.norm(strokes, axis=-1)
    # 1 along the line and a half aside; straight up there is no side.
    np.testing.assert_allclose(lengths[:2], 0.03 * np.sqrt(1.25))
    np.testing.assert_allclose(lengths[2], 0.03)
    back = ((start - end) / unit)[:, None]
    assert (np.sum(strokes * back, -1) > 0).all(), "strokes point back to the source"


def test_the_window_outlines_the_nearest_nodes_and_last_steps(alignment, dataset):
    box = traces(plot_alignment_cube(alignment, node=NODE, dataset=dataset))["window"]
    levels = {z for z in box.z if z is not None}
    # 8 steps: 0 back to -7, and a little around them.
    assert levels == {-7.4, 0.4}
    assert "8 sensors \N{MULTIPLICATION SIGN} 8 steps" in box.name


def test_the_floor_is_the_map(alignment, dataset):
    named = traces(plot_alignment_cube(alignment, node=NODE, dataset=dataset, focus=False))
    assert len(named["sensors"].x) == 20
    assert len(named["roads"].x) >= 3 * 15
    assert named["sensors"].z[0] < -11
    near = traces(plot_alignment_cube(alignment, node=NODE, dataset=dataset, focus=True))
    assert np.ptp(near["floor"].x) < np.ptp(named["floor"].x)


def test_the_aspect_is_that_of_the_ground(alignment, dataset):
    scene = plot_alignment_cube(alignment, node=NODE, dataset=dataset, focus=False).layout.scene
    (west, east), (south, north) = scene.xaxis.range, scene.yaxis.range
    shrink = np.cos(np.radians((south + north) / 2))
    ratio = (east - west) * shrink / (north - south)
    assert scene.aspectratio.x / scene.aspectratio.y == pytest.approx(ratio)


def test_the_words_say_what_and_how_far_to_trust_it(alignment, dataset):
    figure = plot_alignment_cube(alignment, node=NODE, dataset=dataset, head=1)
    layout = figure.layout
    assert f"What the forecast for {NODE} looked at" in layout.title.text
    notes = " ".join(note.text for note in layout.annotations)
    for text in ("k = 12", "head 1", "layer 1", "80% of dense", "Source: made up for tests"):
        assert text in notes
    assert all(text.endswith("°W") for text in layout.scene.xaxis.ticktext)
    assert all(text.endswith("°N") for text in layout.scene.yaxis.ticktext)
    assert "now" in layout.scene.zaxis.ticktext
    assert "\N{MINUS SIGN}30 min" in layout.scene.zaxis.ticktext
    named = traces(figure)
    hover = " ".join((*named["sources window"].text, *named["sources global"].text))
    for text in ("min before the forecast", "km NE", "weight", "mph"):
        assert text in hover


def test_simulated_data_says_so(alignment):
    figure = plot_alignment_cube(alignment.assign_attrs(synthetic=1), node=NODE)
    assert "Simulated" in figure.layout.title.text


def test_no_source_left_is_said(alignment, dataset):
    figure = plot_alignment_cube(alignment, node=NODE, dataset=dataset, min_weight=0.99)
    assert "No source has a weight of at least 0.99." in figure.layout.annotations[-1].text
    assert "target" in traces(figure)


@pytest.mark.parametrize("theme", THEMES)
def test_both_themes(alignment, dataset, theme):
    layout = plot_alignment_cube(alignment, node=NODE, dataset=dataset, theme=theme).layout
    assert layout.paper_bgcolor == THEMES[theme].paper
    assert layout.coloraxis.colorscale[-1][1] == THEMES[theme].weight[-1]


def test_the_camera_survives_updates(alignment, dataset):
    first = plot_alignment_cube(alignment, node=NODE, dataset=dataset)
    second = plot_alignment_cube(alignment, node="700000", dataset=dataset, segment=3)
    assert first.layout.uirevision == second.layout.uirevision
    other = plot_alignment_cube(alignment, node=NODE, uirevision="other")
    assert other.layout.uirevision == "other"


def test_names_are_text_not_html():
    name = "<script>alert(1)</script>"
    dataset = build_dataset(num_nodes=2, num_steps=40, nodes=[name, "b"])
    alignment = build_alignment(dataset, step=30, nodes=[name], topk=6)
    written = plot_alignment_cube(alignment, dataset=dataset).to_json()
    assert "<script" not in written
    assert "&lt;script&gt;" in written


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (-118.52, -118.41, ["118.50°W", "118.45°W"]),
        (170.0, 196.0, ["170°E", "180°", "170°W"]),  # across the dateline
        (-7.0, 13.0, ["5°W", "0°", "5°E", "10°E"]),
    ],
)
def test_degrees_have_round_numbers_and_a_letter(low, high, texts):
    ticks = degree_ticks(low, high, "EW")
    assert ticks["ticktext"] == texts
    assert all(low <= value <= high for value in ticks["tickvals"])


def test_the_legend_lies_beside_a_wide_cube_and_below_a_narrow_one(alignment, dataset):
    def drawn(width, height):
        return plot_alignment_cube(
            alignment, node=NODE, dataset=dataset, width=width, height=height
        ).layout

    wide, narrow = drawn(700, 360), drawn(380, 360)
    assert (wide.legend.orientation, narrow.legend.orientation) == ("v", "h")
    assert wide.scene.domain.x[0] > narrow.scene.domain.x[0]
    assert wide.scene.domain.y[0] < narrow.scene.domain.y[0]
