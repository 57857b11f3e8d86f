"""Grids and zones on every map: cells with right edges, polygons, coasts, hours, true causes."""

import geopandas
import holoviews as hv
import numpy as np
import pytest
import shapely
import xarray as xr
from builders import (
    build_alignment,
    build_dataset,
    build_forecast,
    build_grid,
    build_scores,
)

import stviz
from sttrans_core.grid import as_grid, as_nodes
from stviz.alignment_map import update_alignment_map
from stviz.figures import LiveFigure
from stviz.geography import to_mercator
from stviz.labels import describe_lead
from stviz.places import prepare_places
from stviz.theme import THEMES, color_scale

EVIL = "<script>alert(1)</script>"
# 6 x 8 cells of 2.5 degrees around the coasts of Florida and the Gulf of Mexico.
LATITUDE, LONGITUDE = np.arange(22.5, 37, 2.5), np.arange(262.5, 282, 2.5)


@pytest.fixture(scope="module")
def grid():
    return build_grid(latitude=LATITUDE, longitude=LONGITUDE)


@pytest.fixture(scope="module")
def forecast(grid):
    return as_grid(build_forecast(as_nodes(grid)), like=grid)


@pytest.fixture(scope="module")
def alignment(grid):
    nodes = as_nodes(grid)
    return build_alignment(nodes, step=40, nodes=nodes["node"].values[[20, 27]].tolist())


@pytest.fixture(scope="module")
def city():
    """Six sensors whose zones are boxes around them; the name of the first is HTML."""
    dataset = build_dataset(num_nodes=6, num_steps=60, nodes=list("abcdef"))
    places = zip(dataset["longitude"].values, dataset["latitude"].values, strict=True)
    boxes = [shapely.box(x - 0.01, y - 0.01, x + 0.01, y + 0.01) for x, y in places]
    zones = geopandas.GeoDataFrame(
        {"zone": [EVIL, *"BCDEF"]}, geometry=boxes, crs="EPSG:4326", index=list("abcdef")
    )
    return dataset, build_forecast(dataset, num_origins=2), zones


def render(overlay: hv.Overlay):
    return hv.renderer("bokeh").get_plot(overlay)


def handles(overlay: hv.Overlay, label: str) -> dict:
    layers = render(overlay).subplots.values()
    return next(layer.handles for layer in layers if layer.hmap.last.label == label)


def title_of(overlay: hv.Overlay) -> str:
    return hv.render(overlay, backend="bokeh").title.text


def test_a_forecast_of_a_grid_is_cells_under_a_coast(forecast):
    overlay = stviz.plot_forecast_map(forecast, horizon=4, selected="27.5N 90W")
    cells = handles(overlay, "Cells")
    source = cells["source"].data
    places = prepare_places(forecast)
    for side in ("left", "bottom", "right", "top"):
        np.testing.assert_allclose(source[side], places[side])
    wanted = forecast["forecast"].values[-1, 3].reshape(-1)
    np.testing.assert_array_equal(source["value"], wanted)
    assert type(cells["glyph"]).__name__ == "Quad"
    labels = [layer.label for layer in overlay]
    assert labels.index("Land") < labels.index("Cells") < labels.index("Coast")
    assert "Roads" not in labels
    assert overlay.Rectangles.Selected.data["node"].tolist() == ["27.5N 90W"]
    assert title_of(overlay) == "Forecast temperature (K), 24 h ahead"


def test_nodes_of_a_grid_are_drawn_as_its_cells(forecast):
    overlay = stviz.plot_forecast_map(as_nodes(forecast), variable="error")
    values = handles(overlay, "Cells")["source"].data["value"]
    error = (forecast["forecast"] - forecast["target"]).values[-1, 0].reshape(-1)
    np.testing.assert_allclose(values, error, rtol=1e-6)


def test_another_cell_is_selected_in_place_by_a_tap(grid, forecast):
    overlay = stviz.plot_forecast_map(forecast, selected="27.5N 90W", width=None)
    places = overlay.Rectangles.Cells.data
    live = LiveFigure(overlay)
    plot = render(overlay)
    # 30.4 N 86.1 W lies in the cell around 30 N 85 W, which reaches to 86.25 W.
    x, y = to_mercator(-86.1, 30.4)
    tapped = stviz.node_at(grid, x=float(x), y=float(y))
    assert tapped == "30N 85W"
    here = places[places["node"] == tapped]
    for label in ("Selected", "Selected names"):
        live.fill(label, {name: here[name].to_numpy() for name in here})
    ring = next(
        layer.handles["source"].data
        for layer in plot.subplots.values()
        if layer.hmap.last.label == "Selected"
    )
    np.testing.assert_array_equal(ring["left"], here["left"])


def test_a_cell_without_a_reading_is_grey(forecast):
    dark = forecast.copy(deep=True)
    dark["target"].values[-1, 0, 2, 3] = np.nan
    mapper = handles(stviz.plot_forecast_map(dark, variable="target"), "Cells")[
        "color_color_mapper"
    ]
    assert mapper.nan_color == THEMES["light"].gap


def test_a_simulated_grid_lies_nowhere(forecast):
    overlay = stviz.plot_forecast_map(forecast.assign_attrs(synthetic=1))
    assert {"Land", "Coast"}.isdisjoint(layer.label for layer in overlay)
    assert title_of(overlay).startswith("Simulated")


@pytest.mark.parametrize(
    ("latitude", "has_bar"),
    [
        (LATITUDE, True),
        (np.arange(15.0, 77.5, 2.5), False),
        (np.arange(-75.0, 77.5, 2.5), False),  # the same north and south, but not between
    ],
)
def test_a_scale_bar_is_drawn_only_where_it_holds_for_the_whole_map(latitude, has_bar):
    # Mercator stretches by 1 / cos(latitude): 1.2 at most from 21 to 36 degrees, 4 from 14 to 76.
    overlay = stviz.plot_base_map(build_grid(latitude=latitude, longitude=LONGITUDE))
    assert ("Scale" in [layer.label for layer in overlay]) == has_bar
    assert title_of(overlay) == f"Where the {8 * len(latitude)} cells are"


def test_zones_are_filled_polygons_with_their_names(city):
    _, forecast, zones = city
    overlay = stviz.plot_forecast_map(forecast, zones=zones, selected="b")
    drawn = handles(overlay, "Zones")
    np.testing.assert_array_equal(drawn["source"].data["value"], forecast["forecast"].values[-1, 0])
    assert drawn["source"].data["name"][:2] == [EVIL, "B"]
    assert drawn["hover"].tooltips[0] == ("zone", "@{name} (@{node})")  # escaped by Bokeh
    assert len(handles(overlay, "Selected")["source"].data["xs"]) == 1
    # One part, one ring, the five points of a box.
    assert [len(drawn["source"].data["xs"][0][0][0])] == [5]
    assert title_of(stviz.plot_base_map(forecast, zones=zones)) == "Where the 6 zones are"


def test_an_alignment_of_a_grid_is_cells_by_weight(alignment, grid):
    node = str(alignment["query_node"].values[0])
    overlay = stviz.plot_alignment_map(alignment, node=node, segment=2, dataset=grid)
    source = handles(overlay, "Sources")["source"].data
    places = prepare_places(grid).set_index("node").loc[list(source["node"])]
    np.testing.assert_allclose(source["left"], places["left"])
    assert sum(source["weight"]) == pytest.approx(1, abs=1e-3)
    assert overlay.Rectangles.Target.data["node"].tolist() == [node]
    assert "(24\N{EN DASH}36 h ahead)" in title_of(overlay)
    tips = dict(handles(overlay, "Sources")["hover"].tooltips)
    assert tips["mean lag"].endswith(" h")


def test_focus_frames_what_was_looked_at(alignment, grid):
    node = str(alignment["query_node"].values[0])
    options = {"node": node, "topk": 2, "dataset": grid}
    ranges = [
        hv.render(stviz.plot_alignment_map(alignment, focus=focus, **options)).x_range
        for focus in (False, True)
    ]
    whole, near = (each.end - each.start for each in ranges)
    assert near < whole


def test_some_cells_without_their_grid_are_dots(alignment):
    node = str(alignment["query_node"].values[0])
    overlay = stviz.plot_alignment_map(alignment, node=node)
    assert "size" in handles(overlay, "Sources")["source"].data


def test_an_alignment_map_of_another_cell_is_as_if_drawn_anew(alignment, grid):
    first, other = (str(node) for node in alignment["query_node"].values)
    overlay = stviz.plot_alignment_map(alignment, node=first, dataset=grid, width=None)
    live = LiveFigure(overlay)
    plot = render(overlay)
    sources = stviz.prepare_alignment(alignment, node=other)
    update_alignment_map(live, sources, alignment, dataset=as_nodes(grid))
    anew = stviz.plot_alignment_map(alignment, node=other, dataset=grid, width=None)
    for label in ("Sources", "Target", "Lines"):
        after = next(
            layer.handles["source"].data
            for layer in plot.subplots.values()
            if layer.hmap.last.label == label
        )
        wanted = handles(anew, label)["source"].data
        assert after.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_array_equal(after[name], values, err_msg=f"{label} {name}")


def test_zones_of_an_alignment_are_polygons(city):
    dataset, _, zones = city
    alignment = build_alignment(dataset, step=40, nodes=["c"], topk=6)
    overlay = stviz.plot_alignment_map(alignment, dataset=dataset, zones=zones)
    assert {"xs", "weight"} <= set(handles(overlay, "Sources")["source"].data)
    assert handles(overlay, "Zones")["glyph"].fill_alpha == 0
    cube = stviz.plot_alignment_cube(alignment, dataset=dataset, zones=zones)
    outlines = next(trace for trace in cube.data if trace.meta == "zones")
    assert outlines.x.count(None) == 6


def test_the_floor_of_the_cube_shows_cells(alignment, grid):
    node = str(alignment["query_node"].values[0])
    cube = stviz.plot_alignment_cube(alignment, node=node, dataset=grid, focus=False)
    named = {trace.meta: trace for trace in cube.data}
    assert {"roads", "sensors"}.isdisjoint(named)
    assert named["cells"].x.count(None) == 48
    weights = stviz.prepare_alignment(alignment, node=node).groupby("node")["weight"].sum()
    filled = named["places"]
    assert len(filled.x) == 4 * len(weights)
    # The first, heaviest cell is 2.5 degrees wide and has the last colour of the scale.
    assert np.ptp(filled.x[:4]) == pytest.approx(2.5)
    assert np.ptp(filled.y[:4]) == pytest.approx(2.5)
    assert filled.facecolor[0] == color_scale(THEMES["light"].weight)[-1]
    assert f"{weights.max():.1%} of the weight" in filled.text[0]
    west, east = cube.layout.scene.xaxis.range
    assert west < min(filled.x)
    assert east > max(filled.x)
    assert "8 cells \N{MULTIPLICATION SIGN} 8 steps" in named["window"].name
    assert "\N{MINUS SIGN}24 h" in cube.layout.scene.zaxis.ticktext
    assert " h before the forecast" in named["sources global"].text[0]


def test_hours_are_told_as_hours(alignment, forecast, grid):
    node = str(alignment["query_node"].values[0])
    table = stviz.alignment_table(alignment, node=node)
    # The newest reading is 6 hours older than the first step of the first segment.
    assert table["lag (h)"].min() == 6
    series = stviz.plot_series(forecast, node=node, dataset=grid, baselines={"same": forecast})
    assert f"Temperature at {node}" in title_of(series)


@pytest.fixture(scope="module")
def causes(alignment, grid):
    """A line from the west: two places of which the first was passed three steps back."""
    nodes = as_nodes(grid)["node"].values
    node = str(alignment["query_node"].values[0])
    line = np.full((1, 12), -1)
    line[0, 8], line[0, 10] = 18, 19
    return xr.Dataset(
        {"line_node": (("query_node", "history_step"), line)},
        coords={
            "query_node": [node],
            "history_step": np.arange(12),
            "node": nodes,
            "time": alignment["time"].values,
            "horizon_step": 2,
        },
    )


def test_true_causes_are_a_line_to_the_target(alignment, grid, causes):
    node = str(alignment["query_node"].values[0])
    nodes = as_nodes(grid)["node"].values
    overlay = stviz.plot_alignment_map(alignment, node=node, dataset=grid, causes=causes)
    places = prepare_places(grid).set_index("node").loc[[nodes[18], nodes[19], node]]
    xs = handles(overlay, "True causes")["source"].data["xs"]
    np.testing.assert_allclose(xs[0], places["x"])
    cube = stviz.plot_alignment_cube(alignment, node=node, dataset=grid, causes=causes)
    line = next(trace for trace in cube.data if trace.meta == "true causes")
    # Steps 8 and 10 of 0 to 11 lie 3 and 1 steps back; the target 2 ahead.
    np.testing.assert_array_equal(line.z, [-3, -1, 2])
    np.testing.assert_allclose(line.x, places["longitude"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_node": ["x"]}, "got x, 2014-01-11"),
        ({"time": np.datetime64("2014-01-02")}, r"got 27\.5N 87\.5W, 2014-01-02"),
    ],
)
def test_causes_of_another_target_are_refused(alignment, grid, causes, change, message):
    node = str(alignment["query_node"].values[0])
    with pytest.raises(ValueError, match=rf"causes must be those of the target .*{message}.*Call"):
        stviz.plot_alignment_map(
            alignment, node=node, dataset=grid, causes=causes.assign_coords(change)
        )


def folium_layers(figure) -> dict:
    return {
        child.layer_name: child
        for child in figure._children.values()
        if hasattr(child, "layer_name")
    }


def test_a_map_to_mail_has_cells_and_a_coast(forecast):
    named = folium_layers(stviz.folium_forecast_map(forecast))
    assert list(named)[-3:] == ["Land", "Cells", "Coast"]
    features = named["Cells"].data["features"]
    assert len(features) == 48
    # 262.5 E is 97.5 W: the first cell reaches from 98.75 W to 96.25 W and from 21.25 to 23.75 N.
    ring = np.array(features[0]["geometry"]["coordinates"][0])
    np.testing.assert_allclose(ring.min(0), [-98.75, 21.25])
    np.testing.assert_allclose(ring.max(0), [-96.25, 23.75])
    html = stviz.folium_forecast_map(forecast).get_root().render()
    assert "6 h ahead" in html
    simulated = stviz.folium_forecast_map(forecast.assign_attrs(synthetic=1))
    assert {"Land", "Coast"}.isdisjoint(folium_layers(simulated))


def test_a_map_to_mail_has_zones_whose_names_are_text(city):
    _, forecast, zones = city
    figure = stviz.folium_forecast_map(forecast, zones=zones)
    features = folium_layers(figure)["Zones"].data["features"]
    assert {feature["geometry"]["type"] for feature in features} == {"MultiPolygon"}
    assert features[1]["properties"]["node"] == "B (b)"
    assert EVIL not in figure.get_root().render()


@pytest.mark.parametrize("theme", THEMES)
def test_both_themes(forecast, alignment, grid, city, theme):
    dataset, hourly, zones = city
    node = str(alignment["query_node"].values[0])
    for overlay in (
        stviz.plot_forecast_map(forecast, theme=theme),
        stviz.plot_forecast_map(hourly, zones=zones, variable="error", theme=theme),
        stviz.plot_alignment_map(alignment, node=node, dataset=grid, theme=theme),
        stviz.plot_base_map(dataset, zones=zones, theme=theme),
    ):
        assert hv.render(overlay, backend="bokeh").border_fill_color == THEMES[theme].paper


def test_scores_of_hourly_data_are_by_hours():
    scores = build_scores(num_horizon=4)
    scores = scores.assign_coords(lead_minutes=360.0 * scores["horizon"])
    table = stviz.scores_table(scores, minutes=(360, 1440))
    assert list(table) == ["6 h", "24 h", "mean of 4 steps"]
    figure = hv.render(stviz.plot_scores(scores), backend="bokeh")
    assert figure.xaxis[0].axis_label == "lead time (h)"


def test_a_correlation_has_no_unit_and_is_better_when_higher():
    scores = build_scores().assign(acc=1 - build_scores()["mae"] / 10)
    assert title_of(stviz.plot_scores(scores, metric="acc")) == (
        "ACC by lead time, higher is better"
    )


@pytest.mark.parametrize(
    ("minutes", "step", "text"),
    [
        ((60, None), 5, "60 min ahead"),  # as traffic is told
        ((60, None), 60, "1 h ahead"),
        ((60, 180), 60, "1\N{EN DASH}3 h ahead"),
        ((30, 90), 30, "30\N{EN DASH}90 min ahead"),
        ((360, None), 30, "6 h ahead"),
    ],
)
def test_leads_are_told_in_the_unit_of_the_data(minutes, step, text):
    assert describe_lead(*minutes, step_minutes=step) == text
