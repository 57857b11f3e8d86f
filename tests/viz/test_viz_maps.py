"""Maps and curves: what kind of thing they give, what is written on them, and the data inside."""

from itertools import pairwise

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.models import ColorBar, CustomJS, MercatorTickFormatter
from builders import build_alignment, build_scores

import stviz
import stviz.figures  # as the first drawing would
from stviz.geography import to_mercator
from stviz.theme import THEMES

HISTORY = [
    {"epoch": 1, "train_loss": 4.0, "val_mae": 3.5},
    {"epoch": 2, "train_loss": 3.0, "val_mae": 3.25},
]


@pytest.fixture(scope="module")
def alignment(dataset):
    return build_alignment(dataset, step=95, nodes=["700000", "700013"])


@pytest.fixture(scope="module")
def curve():
    return xr.Dataset(
        {
            "error": (("order", "removed"), np.array([[2.0, 3.0, 4.0], [2.0, 2.2, 2.5]])),
            "spread": (("order", "removed"), np.full((2, 3), 0.1)),
        },
        coords={"order": ["alignment", "random"], "removed": [0, 4, 8]},
        attrs={"units": "mph", "title": "Mock freeways"},
    )


def draw_all(dataset, forecast, alignment, curve, **options) -> dict[str, hv.Overlay]:
    node = "700000"
    return {
        "forecast map": stviz.plot_forecast_map(forecast, selected=node, **options),
        "base map": stviz.plot_base_map(dataset, selected=[node], **options),
        "series": stviz.plot_series(forecast, node=node, dataset=dataset, **options),
        "alignment map": stviz.plot_alignment_map(alignment, node=node, dataset=dataset, **options),
        "scores": stviz.plot_scores(build_scores(), **options),
        "deletion": stviz.plot_deletion(curve, **options),
        "training": stviz.plot_training(HISTORY, units="mph", title="full", **options),
    }


def words(overlay: hv.Overlay) -> list[str]:
    figure = hv.render(overlay, backend="bokeh")
    titles = [item.text for item in (*figure.above, *figure.below) if hasattr(item, "text")]
    axes = [axis.axis_label for axis in (*figure.xaxis, *figure.yaxis)]
    return [figure.title.text, *titles, *axes]


@pytest.mark.parametrize("theme", THEMES)
def test_everything_is_drawn_in_both_themes(dataset, forecast, alignment, curve, theme):
    backend = hv.Store.current_backend  # bokeh's, where it is the only one that was imported
    drawn = draw_all(dataset, forecast, alignment, curve, theme=theme)
    assert hv.Store.current_backend == backend  # rendering selects one, drawing does not
    for name, overlay in drawn.items():
        figure = hv.render(overlay, backend="bokeh")
        assert isinstance(overlay, hv.Overlay), name
        assert figure.border_fill_color == THEMES[theme].paper, name
        assert figure.title.text, name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("forecast map", ["Forecast speed (mph), 5 min ahead", "longitude", "full, seed 0"]),
        ("series", ["Speed at 700000", "speed (mph)", "forecast at 2012-03-07 08:10"]),
        ("alignment map", ["looked at (5\N{EN DASH}15 min ahead)", "80% of dense attention"]),
        ("scores", ["MAE (mph) by lead time", "lead time (min)", "standard 7:1:2"]),
        ("deletion", ["error (MAE, mph)", "sources removed", "Mock freeways"]),
        ("training", ["Training: full", "best: 3.250 mph at epoch 2", "error (mph)"]),
        ("base map", ["Where the 20 sensors are", "latitude"]),
    ],
)
def test_title_unit_and_source_are_on_the_figure(
    dataset, forecast, alignment, curve, name, expected
):
    written = "\n".join(words(draw_all(dataset, forecast, alignment, curve)[name]))
    for text in expected:
        assert text in written
    if name in ("forecast map", "series", "alignment map", "base map"):
        assert "Mock freeways. Source: made up for tests" in written


def test_a_quantity_is_spelt_as_the_data_spell_it(forecast):
    series = stviz.plot_series(forecast.assign_attrs(quantity="PM2.5"), node="700000")
    assert words(series)[0] == "PM2.5 at 700000"


def test_simulated_data_says_so(forecast, dataset, alignment, curve):
    data = [item.assign_attrs(synthetic=1) for item in (dataset, forecast, alignment, curve)]
    figures = draw_all(*data)
    for name in ("forecast map", "series", "alignment map", "deletion", "base map"):
        assert words(figures[name])[0].startswith("Simulated"), name


def test_the_map_holds_the_values(forecast):
    overlay = stviz.plot_forecast_map(forecast, horizon=4, selected="700013")
    sensors = overlay.Points.Sensors.data
    np.testing.assert_array_equal(sensors["value"], forecast["forecast"].values[-1, 3])
    assert overlay.Points.Selected.data["node"].tolist() == ["700013"]
    assert len(overlay.Polygons.Land) >= 1
    assert len(overlay.Segments.Roads) >= 15


def test_the_map_is_in_degrees_keeps_its_aspect_and_names_the_unit(forecast):
    figure = hv.render(stviz.plot_forecast_map(forecast), backend="bokeh")
    assert isinstance(figure.xaxis[0].formatter, MercatorTickFormatter)
    keepers = figure.js_property_callbacks["change:inner_width"]
    assert [type(item) for item in keepers] == [CustomJS]
    bars = [item for item in figure.right if isinstance(item, ColorBar)]
    assert [bar.formatter.args["unit"] for bar in bars] == ["mph"]


def test_errors_diverge_around_zero(forecast):
    overlay = stviz.plot_forecast_map(forecast, variable="error", time=forecast["time"].values[0])
    low, high = overlay.Points.Sensors.opts.get("plot", backend="bokeh").kwargs["clim"]
    assert low == -high
    assert "red: forecast too high" in "\n".join(words(overlay))


def test_limits_can_be_given(forecast):
    overlay = stviz.plot_forecast_map(forecast, limits=(10, 90))
    assert overlay.Points.Sensors.opts.get("plot", backend="bokeh").kwargs["clim"] == (10, 90)


def test_the_ground_and_the_network_are_options(forecast):
    bare = stviz.plot_forecast_map(forecast, basemap=False)
    assert not any(isinstance(layer, hv.Polygons | hv.Segments) for layer in bare)
    tiled = stviz.plot_forecast_map(forecast, tiles="https://tiles.example/{Z}/{X}/{Y}.png")
    assert any(isinstance(layer, hv.Tiles) for layer in tiled)
    offline = stviz.plot_forecast_map(forecast)
    assert not any(isinstance(layer, hv.Tiles) for layer in offline)


def test_a_figure_fills_its_place_where_no_size_is_given(forecast):
    figure = hv.render(stviz.plot_forecast_map(forecast, width=None, height=None), backend="bokeh")
    assert figure.sizing_mode == "stretch_both"
    fixed = hv.render(stviz.plot_forecast_map(forecast, width=500, height=300), backend="bokeh")
    assert (fixed.width, fixed.height) == (500, 300)


def test_a_tap_is_heard_once_however_often_the_figure_is_updated(forecast):
    heard = []
    stream = hv.streams.Stream.define("Chosen", node="700000")()

    def draw(node):
        return stviz.plot_forecast_map(
            forecast, selected=node, on_tap=lambda x, y: heard.append((x, y))
        )

    plot = hv.renderer("bokeh").get_plot(hv.DynamicMap(draw, streams=[stream]))
    stream.event(node="700013")
    figure = plot.state
    (listener,) = figure._event_callbacks["tap"]
    listener(type("Tap", (), {"x": 1.0, "y": 2.0}))
    assert heard == [(1.0, 2.0)]
    titles = [item.text for item in figure.above if getattr(item, "text", "").startswith("for ")]
    assert len(titles) == 1


def test_a_selected_sensor_must_exist(forecast):
    with pytest.raises(ValueError, match=r"selected must be one of the labels of 'node'; got 'x'"):
        stviz.plot_forecast_map(forecast, selected="x")


def test_the_alignment_map_adds_weights_up(alignment, dataset):
    overlay = stviz.plot_alignment_map(alignment, node="700013", dataset=dataset)
    places = overlay.Points.Sources.data
    assert places["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert places["weight"].is_monotonic_increasing  # heavy ones are drawn last, on top
    assert len(overlay.Segments.Lines) == len(places)
    assert len(overlay.Points.Sensors) == 20


def test_the_alignment_map_works_without_the_dataset(alignment):
    overlay = stviz.plot_alignment_map(alignment, node="700013", topk=5)
    assert set(overlay.Points.Sensors.data["node"]) == {
        "700013",
        *overlay.Points.Sources.data["node"],
    }


def test_the_series_shows_truth_forecast_band_and_gaps(forecast, dataset):
    filled = dataset.fillna(60.0)
    filled["target"][88:94, 0] = np.nan
    overlay = stviz.plot_series(
        forecast.fillna(60.0),
        node="700000",
        time=forecast["time"].values[0],
        dataset=filled,
        baselines={"last value": forecast},
    )
    labels = [layer.label for layer in overlay]
    for label in ("measured", "forecast", "last value", "90% band", "no reading"):
        assert label in labels
    # Steps 88 to 93 are missing: one gap, half a step of 5 minutes wider on each side.
    (gap,) = [layer for layer in overlay if layer.label == "no reading"]
    starts, ends = (gap.dimension_values(i).astype("datetime64[s]") for i in (0, 1))
    times = dataset["time"].values.astype("datetime64[s]")
    half = np.timedelta64(150, "s")
    assert (starts.tolist(), ends.tolist()) == (
        [(times[88] - half).item()],
        [(times[93] + half).item()],
    )


def test_each_model_has_its_curve():
    overlay = stviz.plot_scores(build_scores(), metric="rmse")
    curves = [layer for layer in overlay if isinstance(layer, hv.Curve)]
    assert [item.label for item in curves] == ["ST-Trans full", "last value", "historical average"]
    np.testing.assert_allclose(curves[0]["y"], 1.9 * (2 + 0.1 * np.arange(1, 13)))


def test_an_insertion_curve_says_what_it_is(curve):
    insertion = curve.rename(removed="revealed")
    written = "\n".join(words(stviz.plot_deletion(insertion)))
    for text in ("Error as sources are revealed", "a curve below 'random'", "sources revealed"):
        assert text in written
    with pytest.raises(ValueError, match=r"'error' over \('order', 'revealed'\)"):
        stviz.plot_deletion(insertion.rename(error="mae"))


def test_a_deletion_curve_must_hold_errors():
    message = r"A deletion curve must hold 'error' over \('order', 'removed'\); got .*\. Rename"
    with pytest.raises(ValueError, match=message):
        stviz.plot_deletion(xr.Dataset({"mae": ("removed", [1.0])}))


def test_training_without_epochs_says_so():
    assert "no epoch finished yet" in words(stviz.plot_training([]))


def test_training_marks_the_best_epoch():
    overlay = stviz.plot_training(HISTORY)
    star = list(overlay)[-1]
    assert (star["x"].tolist(), star["y"].tolist()) == ([2], [3.25])


def test_facts_are_broken_between_never_inside():
    from stviz.labels import DOT, wrap_facts

    facts = DOT.join(["one fact here", "another fact", "a third fact", "the fourth"])
    lines = wrap_facts(facts, width=300).split("\n")
    assert len(lines) > 1
    assert DOT.join(lines) == facts
    assert all(len(line) <= 40 for line in lines)
    assert all(first and second for first, second in pairwise(lines))


@pytest.mark.parametrize(("corner", "is_left"), [("west", False), ("east", True)])
def test_the_scale_bar_leaves_the_sensors_free(corner, is_left):
    longitude = np.array([0.0, 1.0])
    latitude = np.array([0.0, 0.6]) if corner == "west" else np.array([0.6, 0.0])
    dataset = xr.Dataset(
        coords={
            "node": ["a", "b"],
            "latitude": ("node", 50 + latitude),
            "longitude": ("node", 7 + longitude),
        },
        attrs={"title": "Two", "source": "made up", "synthetic": 0},
    )
    bar = stviz.plot_base_map(dataset).Segments.Scale.data
    (left, right), middle = to_mercator([7.0, 8.0], [50.0, 50.0])[0], to_mercator(7.5, 50)[0]
    assert (bar["x"] < middle).all() == is_left
    assert left - 0.1 * (right - left) < bar["x"].min() < bar["x2"].max() < right * 1.1


def test_values_beyond_the_colours_are_told(forecast):
    low, high = (float(end) for end in (forecast["forecast"].min(), forecast["forecast"].max()))
    overlay = stviz.plot_forecast_map(forecast, limits=(low + 10, high + 10))
    assert "beyond the colours: lowest" in "\n".join(words(overlay))
    assert "highest" not in "\n".join(words(overlay))
    assert "beyond" not in "\n".join(words(stviz.plot_forecast_map(forecast)))


def test_a_legend_wider_than_the_figure_has_columns():
    scores = build_scores()
    models = scores["model"].values
    assert hv.render(stviz.plot_scores(scores)).legend[0].ncols == "auto"
    wordy = scores.assign_coords(model=[f"{name}, trained here for long" for name in models])
    assert hv.render(stviz.plot_scores(wordy, width=700)).legend[0].ncols == 2
    endless = scores.assign_coords(model=[f"{name} {'x' * 200}" for name in models])
    assert hv.render(stviz.plot_scores(endless)).legend[0].ncols == 1
