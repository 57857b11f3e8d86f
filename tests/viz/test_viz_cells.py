"""Grids of many cells: one image instead of rectangles, and a frame that follows what is shown."""

import holoviews as hv
import numpy as np
import pytest
from builders import build_alignment, build_forecast, build_grid

import stviz
from sttrans_core.grid import as_nodes
from stviz.alignment_map import update_alignment_map
from stviz.cells import MOST_PIXELS, draw_image, is_fine
from stviz.figures import LiveFigure
from stviz.geography import to_mercator
from stviz.places import prepare_places

LATITUDE, LONGITUDE = np.arange(-90, 91, 3.0), np.arange(0, 360, 4.0)


@pytest.fixture(scope="module")
def globe():
    """61 x 90 cells, poles included."""
    return as_nodes(build_grid(latitude=LATITUDE, longitude=LONGITUDE))


def test_few_cells_stay_rectangles_and_many_become_an_image(globe):
    forecast = build_forecast(globe, num_origins=1)
    overlay = stviz.plot_forecast_map(forecast, selected=str(globe["node"].values[3000]))
    assert isinstance(overlay.Image.Cells, hv.Image)
    figure = hv.render(overlay)
    glyphs = [each.glyph for each in figure.renderers if hasattr(each, "glyph")]
    assert sum(type(glyph).__name__ == "Image" for glyph in glyphs) == 1
    few = forecast.isel(node=slice(0, 900))  # 10 rows
    assert isinstance(stviz.plot_forecast_map(few).Rectangles.Cells, hv.Rectangles)
    hv.render(stviz.plot_base_map(globe))
    for values in (np.nan, 280.0):
        hv.render(stviz.plot_forecast_map(forecast.assign(target=forecast["target"] * values)))
        hv.render(stviz.plot_forecast_map(forecast * values, variable="error"))


def test_each_pixel_has_the_value_of_the_cell_that_it_lies_in(globe):
    cells = prepare_places(globe)
    assert is_fine(cells)
    image = draw_image(cells.assign(value=np.arange(len(cells))), ["value"])
    for row in (31 * 90, 40 * 90 + 17, 58 * 90 + 89):  # from the equator to 84 degrees north
        at = cells.iloc[row]
        middle = (at["left"] + at["right"]) / 2, (at["bottom"] + at["top"]) / 2
        assert image[middle] == row
    left, bottom, right, top = image.bounds.lbrt()
    np.testing.assert_allclose(
        [left, right], [cells["left"].min(), cells["right"].max()], rtol=1e-6
    )
    assert top == pytest.approx(-bottom, rel=1e-6)


def test_more_cells_than_pixels_give_their_mean():
    grid = as_nodes(
        build_grid(latitude=np.arange(40, 40.04, 0.01), longitude=np.arange(0, 21, 0.01))
    )
    cells = prepare_places(grid)
    values = np.tile(np.arange(2100) % 3, len(cells) // 2100).astype(float)
    image = draw_image(cells.assign(value=values), ["value"])
    shown = image.dimension_values("value", flat=False)
    assert shown.shape[1] == 700 <= MOST_PIXELS
    np.testing.assert_allclose(shown, 1.0)  # of 0, 1 and 2
    assert image.bounds.lbrt()[2] == pytest.approx(cells["right"].max(), rel=1e-9)


def test_cells_that_are_missing_stay_empty(globe):
    cells, row = prepare_places(globe), 31 * 90 + 5
    image = draw_image(cells.drop(index=row).assign(value=1.0), ["value"])
    shown = image.dimension_values("value", flat=False)
    assert np.isnan(shown).any(axis=0).sum() == 1
    assert np.nanmax(shown) == 1.0
    middle = [cells.loc[row, ends].mean() for ends in (["left", "right"], ["bottom", "top"])]
    assert np.isnan(image[tuple(middle)])


def test_an_id_that_is_not_there_is_named(globe):
    forecast = build_forecast(globe, num_origins=1)
    for word in ("selected", "hidden"):
        with pytest.raises(ValueError, match=f"{word} must be one of .* got 'Atlantis'"):
            stviz.plot_forecast_map(forecast, **{word: ["Atlantis"]})


def test_the_frame_moves_only_where_something_would_lie_outside(globe):
    first, far = (str(globe["node"].values[row]) for row in (40 * 90 + 10, 20 * 90 + 60))
    alignment = build_alignment(globe, step=40, nodes=[first, far])
    overlay = stviz.plot_alignment_map(
        alignment, node=first, dataset=globe, focus=True, width=None, height=None
    )
    live = LiveFigure(overlay)
    figure = hv.render(overlay)
    for name, pixels in (("inner_width", 400), ("inner_height", 200)):  # which a page tells
        live.figure.set_from_json(name, pixels)
    x, y = figure.x_range, figure.y_range
    assert x.end - x.start < to_mercator(90.0, 0.0)[0]

    def show(node):
        sources = stviz.prepare_alignment(alignment, node=node, topk=4)
        update_alignment_map(live, sources, alignment, dataset=globe, focus=True)
        return sources

    before = (x.start, x.end, y.start, y.end)
    show(first)
    assert (x.start, x.end, y.start, y.end) == before
    sources = show(far)
    assert (x.start, x.end, y.start, y.end) != before
    at = prepare_places(globe).set_index("node").loc[sources["node"]]
    assert at["x"].between(x.start, x.end).all()
    assert at["y"].between(y.start, y.end).all()
    # A metre is as long on both axes.
    assert (x.end - x.start) / 400 == pytest.approx((y.end - y.start) / 200)


def test_a_cube_at_the_pole_holds_its_target_and_sources(globe):
    pole = str(globe["node"].values[60 * 90 + 3])
    alignment = build_alignment(globe, step=40, nodes=[pole])
    cube = stviz.plot_alignment_cube(alignment, dataset=globe)
    south, north = cube.layout.scene.yaxis.range
    for trace in cube.data:
        if trace.meta in ("target", "sources window", "sources global"):
            assert all(south <= y <= north for y in trace.y)
    assert north == 90.0
