"""Figures that take other numbers in place: they must end up as if they had been drawn anew."""

import holoviews as hv
import numpy as np
import pytest
from builders import build_alignment

import stviz
from stviz.alignment_map import update_alignment_map
from stviz.figures import SUBTITLE, LiveFigure
from stviz.series import update_series

FIRST, GAPPY, OTHER = "700013", "700000", "700026"


@pytest.fixture(scope="module")
def alignment(dataset):
    return build_alignment(dataset, step=95, nodes=[GAPPY, FIRST, OTHER])


def render(overlay: hv.Overlay):
    return hv.renderer("bokeh").get_plot(overlay)


def contents(plot) -> dict[str, object]:
    """Everything on a figure that depends on the numbers, in the order of its layers."""
    found: dict[str, object] = {}
    for number, layer in enumerate(plot.subplots.values()):
        handles = layer.handles
        for name, column in handles["source"].data.items() if "source" in handles else ():
            if layer.hmap.last.label != "Land":  # rings of several lengths, which stay as they are
                found[f"{number} {name}"] = np.asarray(column)
        if "color_color_mapper" in handles:
            mapper = handles["color_color_mapper"]
            found[f"{number} scale"] = np.array([mapper.low, mapper.high])
    figure = plot.state
    limits = figure.y_range
    found["limits"] = np.array([limits.start, limits.end, limits.reset_start, limits.reset_end])
    found["title"] = figure.title.text
    found["subtitle"] = next(line.text for line in figure.above if line.name == SUBTITLE)
    return found


def assert_same(found: dict[str, object], wanted: dict[str, object]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, str) or np.asarray(value).dtype.kind in "OU":
            assert np.array_equal(found[name], value), name
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("node", [GAPPY, OTHER])
def test_a_series_of_another_sensor_is_as_if_drawn_anew(forecast, dataset, node):
    options = {
        "dataset": dataset,
        "baselines": {"last value": forecast["forecast"] - 2, "weekly mean": forecast["lower"]},
    }
    overlay = stviz.plot_series(forecast, node=FIRST, **options, width=None)
    figure = LiveFigure(overlay)
    assert figure.figure is None
    plot = render(overlay)
    before = contents(plot)
    update_series(figure, forecast, node=node, **options)
    after = contents(plot)
    assert after["title"] != before["title"]
    assert_same(
        after, contents(render(stviz.plot_series(forecast, node=node, **options, width=None)))
    )
    assert ("grey: no reading" in after["subtitle"]) == bool(after["0 start"].size)


def test_an_alignment_map_of_another_sensor_is_as_if_drawn_anew(alignment, dataset):
    overlay = stviz.plot_alignment_map(alignment, node=FIRST, dataset=dataset, width=None)
    figure = LiveFigure(overlay)
    plot = render(overlay)
    before = contents(plot)
    sources = stviz.prepare_alignment(alignment, node=OTHER, segment=2, min_weight=0.01)
    update_alignment_map(figure, sources, alignment, dataset=dataset)
    assert contents(plot)["title"] != before["title"]
    anew = stviz.plot_alignment_map(
        alignment, node=OTHER, segment=2, min_weight=0.01, dataset=dataset, width=None
    )
    assert_same(contents(plot), contents(render(anew)))


def test_an_alignment_map_may_run_out_of_sources(alignment, dataset):
    overlay = stviz.plot_alignment_map(alignment, node=FIRST, dataset=dataset, width=None)
    figure = LiveFigure(overlay)
    plot = render(overlay)
    sources = stviz.prepare_alignment(alignment, node=OTHER, min_weight=1.0)
    update_alignment_map(figure, sources, alignment, dataset=dataset)
    anew = stviz.plot_alignment_map(
        alignment, node=OTHER, min_weight=1.0, dataset=dataset, width=None
    )
    assert_same(contents(plot), contents(render(anew)))


def test_names_stand_beside_their_places_at_any_zoom(forecast):
    plot = render(stviz.plot_forecast_map(forecast, selected=FIRST))
    glyph = next(
        layer.handles["glyph"]
        for layer in plot.subplots.values()
        if layer.hmap.last.label == "Selected names"
    )
    # Pixels, not metres.
    assert (glyph.x_offset, glyph.y_offset) == (8, -6)


def test_without_a_listener_sensors_can_be_selected(forecast):
    tools = {
        heard: {type(tool).__name__ for tool in render(overlay).state.tools}
        for heard, overlay in (
            (False, stviz.plot_forecast_map(forecast)),
            (True, stviz.plot_forecast_map(forecast, on_tap=lambda x, y: None)),  # noqa: ARG005
        )
    }
    assert tools[False] - tools[True] >= {"TapTool", "BoxSelectTool"}
    assert "HoverTool" in tools[True]
