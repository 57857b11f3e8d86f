"""The shareable map: everything inside the file, names as text, one layer of sensors."""

import json
import re

import folium
import numpy as np
import pytest
from builders import build_dataset, build_forecast

from stviz import folium_forecast_map
from stviz.theme import THEMES, color_scale

EVIL = "<script>alert(1)</script>"

WHERE_IT_IS = """() => {
    const map = Object.values(window).find(value => value instanceof L.Map)
    const found = []
    map.eachLayer(layer => {
        if (layer.feature?.properties?.node?.includes("script"))
            found.push(map.latLngToContainerPoint(layer.getLatLng()))
    })
    return [found[0].x, found[0].y]
}"""


@pytest.fixture(scope="module")
def forecast():
    dataset = build_dataset(num_nodes=12, num_steps=120)
    dataset = dataset.assign_coords(node=[EVIL, *dataset["node"].values[1:]])
    return build_forecast(dataset)


def layers(figure: folium.Map) -> dict[str, folium.GeoJson]:
    found = [child for child in figure._children.values() if isinstance(child, folium.GeoJson)]
    return {layer.layer_name: layer for layer in found}


def test_the_file_asks_nothing_of_the_network(forecast):
    html = folium_forecast_map(forecast).get_root().render()
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]*)"', html)
    assert loaded
    assert all(address.startswith("data:") for address in loaded)
    assert "@import" not in html
    # Other maps of the session keep what folium gives them.
    assert all(address.startswith("http") for _, address in folium.Map.default_js)


def test_all_sensors_are_one_layer_in_their_colours(forecast):
    figure = folium_forecast_map(forecast, limits=(0, 100))
    named = layers(figure)
    assert set(named) == {"Land", "Roads", "Sensors"}
    features = named["Sensors"].data["features"]
    assert len(features) == 12
    palette = color_scale(THEMES["light"].value)
    values = forecast["forecast"].values[-1, 0]
    expected = [palette[int(np.rint(value / 100 * 255))] for value in values]
    assert [feature["properties"]["color"] for feature in features] == expected


def test_names_are_text_not_html(forecast):
    html = folium_forecast_map(forecast).get_root().render()
    assert EVIL not in html
    features = layers(folium_forecast_map(forecast))["Sensors"].data["features"]
    assert features[0]["properties"]["node"] == "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_title_unit_and_source_are_on_the_map(forecast):
    html = folium_forecast_map(forecast, horizon=3).get_root().render()
    for text in ("Forecast speed (mph), 15 min ahead", "Source: made up for tests", "full, seed 0"):
        assert text in html
    simulated = folium_forecast_map(forecast.assign_attrs(synthetic=1))
    assert "Simulated" in simulated.get_root().render()


def test_an_unknown_reading_is_grey_and_says_so(forecast):
    dark = forecast.copy(deep=True)
    dark["target"].values[-1, 0, 3] = np.nan
    features = layers(folium_forecast_map(dark, variable="target"))["Sensors"].data["features"]
    assert features[3]["properties"]["target"] == "unknown"
    assert features[3]["properties"]["color"] == THEMES["light"].gap


def test_the_ground_and_the_network_are_options(forecast):
    assert set(layers(folium_forecast_map(forecast, basemap=False))) == {"Sensors"}
    tiled = folium_forecast_map(
        forecast, tiles="https://tiles.example/{z}/{x}/{y}.png", attribution="Tiles Inc."
    )
    assert set(layers(tiled)) == {"Roads", "Sensors"}
    assert "tiles.example" in tiled.get_root().render()


def test_places_are_as_precise_as_a_lane_and_no_more(forecast):
    features = layers(folium_forecast_map(forecast))["Sensors"].data["features"]
    longitude = json.loads(json.dumps(features))[5]["geometry"]["coordinates"][0]
    assert longitude == round(float(forecast["longitude"][5]), 5)


@pytest.mark.ui
def test_the_file_opens_in_a_browser_without_network(forecast, tmp_path, page):
    path = tmp_path / "map.html"
    folium_forecast_map(forecast).save(path)
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(path.as_uri())
    page.wait_for_selector(".leaflet-container canvas")
    assert page.get_by_text("Forecast speed (mph)").is_visible()
    # The tooltip of the sensor with the evil name shows the name itself.
    tooltip = page.locator(".leaflet-tooltip")
    for wobble in range(40):  # until the map has come to rest
        x, y = page.evaluate(WHERE_IT_IS)
        page.mouse.move(x + wobble % 2, y)
        page.wait_for_timeout(100)
        if tooltip.count():
            break
    assert EVIL in tooltip.inner_text()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert problems == []


@pytest.mark.ui
def test_a_map_in_a_frame_that_gets_its_size_late_shows_its_places(forecast, tmp_path, page):
    folium_forecast_map(forecast).save(tmp_path / "map.html")
    frame = "<iframe src='map.html' style='width: 0; height: 0; border: 0'></iframe>"
    (tmp_path / "page.html").write_text(f"<!doctype html>{frame}")
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    inside = page.frame_locator("iframe")
    inside.locator(".leaflet-container").wait_for(state="attached")
    page.wait_for_timeout(500)
    page.locator("iframe").evaluate("e => { e.style.width = '600px'; e.style.height = '400px' }")
    inside.locator(".leaflet-container canvas").first.wait_for()
    page.wait_for_timeout(1000)
    x, y = page.frames[1].evaluate(WHERE_IT_IS)
    assert 0 < x < 600
    assert 0 < y < 400
    assert problems == []
