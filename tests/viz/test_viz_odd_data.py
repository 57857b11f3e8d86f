"""Pictures of odd data: one sensor, missing readings, strange names, the date line."""

import holoviews as hv
import numpy as np
from builders import build_alignment, build_dataset, build_forecast
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import stviz

names = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@example(
    nodes=["{0}", "<b>@y</b>", "$$x$$"],
    west=179.9,
    south=60.0,
    spread=0.3,
    missing=True,
    theme="dark",
)
@example(
    nodes=["\N{SNOWMAN} %g"],
    west=-118.0,
    south=0.0,
    spread=0.0,
    missing=False,
    theme="light",
)
@example(
    nodes=["Huairou", "<\U0009c929@", "\U0004efd3"],  # characters without a name
    west=179.9,
    south=84.9,
    spread=0.3,
    missing=True,
    theme="light",
)
@given(
    nodes=names,
    west=st.sampled_from([-118.0, 179.9, -179.9, 0.0]),
    south=st.sampled_from([0.0, 60.0, -84.9, 84.9]),
    spread=st.sampled_from([0.0, 1e-4, 0.3]),
    missing=st.booleans(),
    theme=st.sampled_from(["light", "dark"]),
)
def test_everything_is_drawn_for_odd_data(nodes, west, south, spread, missing, theme):
    count = len(nodes)
    dataset = build_dataset(num_nodes=count, num_steps=60, nodes=nodes)
    longitude = (west + spread * np.arange(count) + 180) % 360 - 180
    dataset = dataset.assign_coords(
        longitude=("node", longitude),
        latitude=("node", np.clip(south + spread * np.arange(count), -85, 85)),
    )
    if missing:
        dataset["target"].values[30:, 0] = np.nan
    forecast = build_forecast(dataset, num_origins=2)
    if missing:
        forecast["forecast"].values[..., 0] = np.nan
    alignment = build_alignment(dataset, step=45, nodes=nodes[:1], topk=6)
    together = build_alignment(dataset, step=45, nodes=nodes, topk=6)
    node = nodes[0]
    pictures = [
        stviz.plot_forecast_map(forecast, selected=node, hidden=nodes[-1:], theme=theme),
        stviz.plot_forecast_map(forecast, variable="change", reference=forecast, theme=theme),
        stviz.plot_alignment_profile(alignment, by="distance", theme=theme),
        stviz.plot_alignment_profile(alignment, by="delay", node=node, theme=theme),
        stviz.plot_forecast_map(forecast, variable="error", theme=theme),
        stviz.plot_forecast_map(forecast, variable="excess", reference=forecast, theme=theme),
        stviz.plot_readings(dataset, nodes=nodes, theme=theme),
        stviz.plot_series(forecast, node=node, dataset=dataset, theme=theme),
        stviz.plot_series(forecast, node=nodes, dataset=dataset, theme=theme),
        stviz.plot_alignment_map(alignment, dataset=dataset, beside=alignment, theme=theme),
        stviz.plot_alignment_heads(alignment, node=node, theme=theme),
        stviz.plot_alignment_map(together, node=nodes, theme=theme),
    ]
    if np.isfinite(forecast["target"]).any():
        pictures.append(stviz.plot_errors(forecast, theme=theme))
    for picture in pictures:
        hv.render(picture, backend="bokeh")
    cube = stviz.plot_alignment_cube(alignment, dataset=dataset, theme=theme)
    assert "nan" not in cube.layout.title.text
    west_edge, east_edge = cube.layout.scene.xaxis.range
    shown = np.concatenate([trace.x for trace in cube.data if "sources" in trace.meta]).astype(
        float
    )
    assert np.all((shown >= west_edge) & (shown <= east_edge))
    # Sensors around the date line stay on one narrow map.
    assert east_edge - west_edge < 20
    assert len(stviz.alignment_table(alignment)) == min(6, 12 * count)


def test_ten_thousand_sensors_are_drawn():
    random, count = np.random.default_rng(0), 10_000
    dataset = build_dataset(num_nodes=count, num_steps=40).assign_coords(
        latitude=("node", 34 + random.random(count)),
        longitude=("node", -119 + random.random(count)),
    )
    node = str(dataset["node"].values[77])
    forecast = build_forecast(dataset, num_origins=1)
    alignment = build_alignment(dataset, step=30, nodes=[node])
    for picture in (
        stviz.plot_forecast_map(forecast, selected=node),
        stviz.plot_base_map(dataset),
        stviz.plot_alignment_map(alignment, dataset=dataset),
        stviz.plot_alignment_profile(alignment, dataset=dataset),
        stviz.plot_series(forecast, node=node, dataset=dataset),
    ):
        hv.render(picture, backend="bokeh")
    cube = stviz.plot_alignment_cube(alignment, dataset=dataset, focus=False)
    (sensors,) = [trace for trace in cube.data if trace.meta == "sensors"]
    assert len(sensors.x) == count
    page = stviz.folium_forecast_map(forecast).get_root().render()
    assert page.count('"Point"') == count
