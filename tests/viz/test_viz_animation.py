"""A forecast that rolls out: the values of each frame, the page that plays it, the pictures."""

import base64
import json
import re
import sys

import geopandas
import numpy as np
import pytest
import shapely
from builders import build_dataset, build_forecast
from PIL import Image
from playwright.sync_api import expect

from stviz import animate_forecast
from stviz.prepare_frames import prepare_frames
from stviz.theme import THEMES, color_scale

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{data}}"
NUM_STEPS = 12


def embedded(html: str) -> dict:
    """Read what the page draws from."""
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL
    )
    return json.loads(data)


def as_numbers(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture(scope="module")
def grid_forecast():
    north, east = np.repeat([50.0, 49.0, 48.0], 2), np.tile([5.0, 6.0], 3)
    dataset = build_dataset(num_nodes=6, num_steps=120)
    return build_forecast(dataset.assign_coords(latitude=("node", north), longitude=("node", east)))


def test_each_frame_has_the_values_of_its_step(forecast):
    frames = prepare_frames(forecast, time=forecast["time"].values[1])
    assert [panel.label for panel in frames.panels] == ["Forecast", "Measured"]
    for panel, name in zip(frames.panels, ("forecast", "target"), strict=True):
        np.testing.assert_array_equal(panel.values, forecast[name].values[1])
    assert frames.has_gaps == bool(np.isnan(forecast["target"].values[1]).any())


def test_each_frame_says_what_it_shows(forecast):
    frames = prepare_frames(forecast)
    assert frames.titles[0] == "Forecast speed (mph), 5 min ahead"
    assert frames.titles[-1] == "Forecast speed (mph), 60 min ahead"
    # The last origin is 08:10, step 98 of 5 minutes; 25 minutes later it is 08:35.
    assert frames.facts[4].startswith("for 2012-03-07 08:35, forecast at 2012-03-07 08:10")
    forecast_at, measured = (panel.values[4] for panel in frames.panels)
    both = np.isfinite(measured)
    error = np.abs(forecast_at - measured)[both].mean()
    assert frames.summaries[4] == (
        f"Mean of {both.sum()} sensors: forecast {forecast_at[both].mean():.1f}, measured "
        f"{measured[both].mean():.1f} mph; mean absolute error {error:.1f}"
    )
    assert prepare_frames(forecast.assign_attrs(synthetic=1)).titles[0].startswith("Simulated")


def test_what_is_not_measured_yet_has_no_map_of_its_own(forecast):
    ahead = forecast.assign(target=forecast["target"] * np.nan)
    frames = prepare_frames(ahead)
    assert [panel.label for panel in frames.panels] == ["Forecast"]
    assert "measured" not in frames.summaries[0]


def test_an_error_is_one_map_around_zero(forecast):
    frames = prepare_frames(forecast, variable="error")
    (panel,) = frames.panels
    wanted = forecast["forecast"].values[-1].astype(float) - forecast["target"].values[-1]
    np.testing.assert_allclose(panel.values, wanted)
    assert panel.label == "Forecast error"
    assert re.fullmatch(r"Mean of \d+ sensors: forecast error -?\d+\.\d mph", frames.summaries[0])
    assert frames.is_diverging
    assert frames.limits[0] == -frames.limits[1]
    assert "red: forecast too high" in frames.facts[0]


def test_all_frames_have_one_scale(forecast):
    animation = animate_forecast(forecast, limits=(0, 100))
    data = embedded(animation.html)
    assert data["ends"] == ["0 mph", "50 mph", "100 mph"]
    for panel, name in zip(data["panels"], ("forecast", "target"), strict=True):
        codes = np.frombuffer(base64.b64decode(panel["codes"]), np.uint8).reshape(NUM_STEPS, -1)
        values = forecast[name].values[-1].astype(float)
        known = np.isfinite(values)
        # 255 colours from 0 to 100, and one more for what is unknown.
        np.testing.assert_array_equal(codes[known], np.rint(values[known] / 100 * 254))
        assert (codes[~known] == 255).all()
    assert data["palette"][:255] == color_scale(THEMES["light"].value, count=255)
    assert data["palette"][255] == THEMES["light"].gap


def test_places_lie_on_the_map_as_on_earth(forecast):
    frames = prepare_frames(forecast, width=300, height=500)
    points = np.array([rings[0][0] for rings in frames.places])
    assert (points > 0).all()
    assert (points < (300, 500)).all()
    east, north = forecast["longitude"].values, forecast["latitude"].values
    assert points[:, 0].argmax() == east.argmax()
    assert points[:, 1].argmin() == north.argmax()
    # At this latitude a degree of latitude is 1 / cos(latitude) as long as one of longitude.
    across = np.ptp(points[:, 0]) / np.ptp(east)
    down = np.ptp(points[:, 1]) / np.ptp(north)
    assert down / across == pytest.approx(1 / np.cos(np.radians(north.mean())), rel=0.01)


def test_cells_of_a_grid_are_areas_that_touch(grid_forecast):
    frames = prepare_frames(grid_forecast)
    assert frames.noun == "cell"
    corners = np.array([rings[0] for rings in frames.places])
    assert corners.shape == (6, 4, 2)
    # The first row is the northern one, and the second cell lies east of the first.
    assert corners[0, :, 0].max() == corners[1, :, 0].min()
    assert corners[0, :, 1].max() == corners[2, :, 1].min()
    assert len(frames.roads) == 0


def test_the_hole_of_a_zone_runs_the_other_way(forecast):
    def area(ring: np.ndarray) -> float:
        x, y = ring.T
        return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    few = forecast.isel(node=[0, 1])
    centres = shapely.points(few["longitude"].values, few["latitude"].values)
    squares = [centre.buffer(0.02, cap_style="square") for centre in centres]
    squares[0] = squares[0].difference(centres[0].buffer(0.01))
    zones = geopandas.GeoDataFrame(geometry=squares, index=few["node"].values, crs="EPSG:4326")
    frames = prepare_frames(few, zones=zones)
    assert frames.noun == "zone"
    outer, hole = frames.places[0]
    assert area(outer) > 0 > area(hole)
    assert len(frames.places[1]) == 1


def test_the_page_may_load_nothing(forecast):
    html = animate_forecast(forecast).html
    assert "default-src 'none'" in html
    assert re.findall(r"<(?:link|img|iframe)\b|\ssrc=|\shref=|https?:|url\(|@import", html) == []


def test_words_of_the_data_are_text(forecast):
    attrs = {"title": EVIL, "source": EVIL, "quantity": EVIL, "units": EVIL, "model": EVIL}
    html = animate_forecast(forecast.assign_attrs(attrs)).html
    assert html.count("<script") == 2  # the data and the player
    assert "<img" not in html
    assert EVIL in embedded(html)["credit"]


def test_the_notebook_shows_the_page_in_a_closed_frame(forecast):
    shown = animate_forecast(forecast.assign_attrs(quantity='"><b>'))._repr_html_()
    assert shown.startswith("<iframe ")
    assert 'sandbox="allow-scripts"' in shown
    assert shown.count("<") == 2  # nothing but the frame
    html = animate_forecast(forecast, theme="dark").html
    assert THEMES["dark"].paper in html


def test_pictures_are_numbered_and_show_the_values(forecast, tmp_path):
    animation = animate_forecast(forecast, limits=(0, 100), basemap=False)
    paths = animation.write_frames(tmp_path / "new" / "frames")
    assert [path.name for path in paths] == [f"frame-{n:03d}.png" for n in range(1, 13)]
    palette = color_scale(THEMES["light"].value)
    point = animation.frames.places[3][0][0]
    for number in (0, 11):
        picture = Image.open(paths[number]).convert("RGB")
        # Twice 144 / 96 pixels; the first map begins 16 pixels from the left and 84 from the top.
        at = [round(1.5 * value) for value in (16 + point[0], 84 + point[1])]
        value = float(forecast["forecast"].values[-1, number, 3])
        assert picture.getpixel(tuple(at)) == as_numbers(palette[round(value / 100 * 255)])
    assert animation.write_frames(tmp_path / "new" / "frames") == paths  # replaced


def test_pictures_are_not_mixed_with_those_of_another_animation(forecast, tmp_path):
    (tmp_path / "frame-013.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no frames of another animation; got frame-013\.png"):
        animate_forecast(forecast).write_frames(tmp_path)


def test_pictures_need_a_library_that_is_named(forecast, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"need matplotlib; .*'sttrans\[frames\]'"):
        animate_forecast(forecast).write_frames(tmp_path)


@pytest.mark.parametrize("kind", ["cells", "dollars", "one sensor"])
def test_pictures_of_odd_data_are_drawn(kind, forecast, grid_forecast, tmp_path):
    odd = {
        "cells": grid_forecast,
        "dollars": forecast.assign_attrs(title="$1 and $\\frac", units="$"),
        "one sensor": forecast.isel(node=[0]),
    }[kind]
    paths = animate_forecast(odd.isel(horizon=[0]), theme="dark").write_frames(tmp_path)
    assert len(paths) == 1
    assert as_numbers(THEMES["dark"].paper) == Image.open(paths[0]).convert("RGB").getpixel((2, 2))


@pytest.mark.ui
def test_the_player_plays_steps_and_asks_nothing(tmp_path, page):
    forecast = build_forecast(build_dataset(num_nodes=12, num_steps=120, title=EVIL))
    animation = animate_forecast(forecast, limits=(0, 100))
    path = animation.save(tmp_path / "rollout.html")
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda text: text.type == "error" and problems.append(text.text))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(path.as_uri())
    title, slider = page.locator("h1"), page.get_by_role("slider", name="Lead time")
    assert title.inner_text() == "Forecast speed (mph), 5 min ahead"
    assert page.get_by_role("img", name="Map, measured: for 2012-03-07 08:15").count() == 1
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="One step on").click()
    assert (
        slider.get_attribute("aria-valuetext") == title.inner_text() == animation.frames.titles[2]
    )
    assert page.get_by_role("status").inner_text() == animation.frames.summaries[2]
    x, y = animation.frames.places[5][0][0].tolist()
    color = page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector("canvas"), scale = canvas.width / 460
            const at = [x * scale, y * scale].map(Math.round)
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3)
        }""",
        [x, y],
    )
    value = float(forecast["forecast"].values[-1, 2, 5])
    palette = color_scale(THEMES["light"].value, count=255)
    assert tuple(color) == as_numbers(palette[round(value / 100 * 254)])
    page.keyboard.press("End")
    assert page.get_by_role("button", name="One step on").is_disabled()
    page.get_by_role("combobox", name="Speed").select_option("fast")
    page.get_by_role("button", name="Play").click()
    expect(slider).not_to_have_value("11")  # begins again
    page.get_by_role("button", name="Pause").click()
    assert title.inner_text() == animation.frames.titles[int(slider.input_value())]
    assert EVIL in page.locator("#credit").inner_text()
    assert [url for url in asked if not url.startswith("file:")] == []
    assert problems == []
