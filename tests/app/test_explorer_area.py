"""Places that are selected together, and what a forecast is without its sources."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import xarray as xr
from explorer.area import box_of, evenly, is_box, places_of, region_names
from explorer.deletion import measure_deletion
from explorer.views import MapView, ScoresView
from explorer_runs import opened, train_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(tmp_path_factory)


def test_a_region_is_the_mean_of_its_places(runs):
    state = opened(runs)
    name = region_names(state.evidence.dataset)[0]
    state.area = name
    corridor = state.evidence.dataset["corridor"]
    assert state.targets == corridor["node"].values[corridor.values == name].tolist()
    assert not state.needs_update(), "all places are aligned already"
    again = opened(runs, area=name)
    assert again.area == name
    box = box_of((-99.65, 39.0, -99.55, 39.25))
    assert (box, is_box(box), is_box(name)) == ("-99.65,39,-99.55,39.25", True, False)
    state.area = box
    east, north = (state.evidence.dataset[each].sel(node=state.targets)
                   for each in ("longitude", "latitude"))  # fmt: skip
    assert 1 < len(state.targets) < state.evidence.dataset.sizes["node"]
    assert -99.65 <= east.min() <= east.max() <= -99.55
    assert north.max() <= 39.25
    state.dataset_name = "simulated-weather"
    assert state.area == ""


@pytest.mark.parametrize("area", ["<b>nowhere</b>", "0,0,1,1", "9,9,1,1", "1,2,3", "nan,0,1,1"])
def test_a_region_without_places_is_told(runs, area):
    state = opened(runs, area=area)
    assert (state.area, state.targets) == ("", [state.node])
    assert f"There is no place in the region {area!r}" in state.notice


def test_a_large_region_is_sampled_evenly():
    latitude, longitude = np.meshgrid(np.linspace(-89, 89, 90), np.arange(0.0, 360.0, 12.0))
    nodes = [f"n{i}" for i in range(latitude.size)]
    data = xr.Dataset(
        {"target": (("time", "node"), np.zeros((1, latitude.size)))},
        coords={
            "node": nodes,
            "latitude": ("node", latitude.ravel()),
            "longitude": ("node", longitude.ravel()),
        },
    )
    tropics = places_of(data, "tropics")
    assert len(tropics) > 600
    looked_at = evenly(tropics)
    assert 300 < len(looked_at) <= 600
    south = data["latitude"].sel(node=looked_at)
    assert abs(float(south.mean())) < 2


def test_a_tap_on_an_image_of_cells_selects_one(tmp_path, monkeypatch):
    monkeypatch.setattr("stviz.cells.MOST_RECTANGLES", 100)
    state = opened(tmp_path, run="bundled", data="simulated-weather")
    view = MapView(state)
    overlay = view._overlay()
    assert overlay.Image.Cells.vdims[0].name == "value"
    cell = view._places.iloc[200]
    view._on_tap(cell["x"] + 2000, cell["y"] - 2000)  # metres, within the cell
    assert state.node == cell["node"]
    assert view._overlay().Rectangles.Selected.data["node"].tolist() == [cell["node"]]


def test_readings_of_strong_sources_matter_more_than_random_ones(runs):
    state = opened(runs, node="AE03")
    found = measure_deletion(state.evidence, "AE03")
    assert (found.removed, found.units) == (8, "mph")
    assert found.strongest > found.random >= 0
    assert measure_deletion(replace(state.evidence, dataset=Wide()), "AE03") is None


class Wide:
    """A dataset of very many places."""

    sizes = MappingProxyType({"node": 29_040})


def test_errors_by_hour_and_region_are_of_moments_all_over_the_test_part(runs, monkeypatch):
    monkeypatch.setattr("panel.state.execute", lambda callback: asyncio.run(callback()))
    state = opened(runs)
    view = ScoresView(state)
    view.start()
    for kind, groups in (("hour", {8, 17}), ("region", {"A eastbound", "A westbound"})):
        view.kind.value = kind
        assert view.filled.visible
        dots = [layer for layer in view._overlay() if type(layer).__name__ == "Scatter"]
        names = {str(layer.label) for layer in dots}
        assert {"last observed value", "historical average"} < names
        for layer in dots:
            assert set(layer.dimension_values(0)) >= groups
            assert np.isfinite(layer.dimension_values(1)).all()
