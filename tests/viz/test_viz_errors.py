"""Errors by hour of the day and by region: values by hand, and what is refused."""

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stviz import plot_errors, prepare_errors


def forecast(
    error: np.ndarray, *, latitude: list[float], start: str = "2024-01-01T22:00", minutes: int = 60
) -> xr.Dataset:
    """Give a forecast over (time, horizon, node) that is off by `error`."""
    num_times, num_steps, num_nodes = error.shape
    target = np.full(error.shape, 10.0)
    times = pd.date_range(start, periods=num_times, freq=f"{minutes}min")
    return xr.Dataset(
        {
            "forecast": (("time", "horizon", "node"), target + error),
            "lower": (("time", "horizon", "node"), target + error - 1),
            "upper": (("time", "horizon", "node"), target + error + 1),
            "target": (("time", "horizon", "node"), target),
        },
        coords={
            "time": times,
            "horizon": np.arange(1, num_steps + 1),
            "node": [f"n{i}" for i in range(num_nodes)],
            "lead_minutes": ("horizon", minutes * np.arange(1.0, num_steps + 1)),
            "latitude": ("node", latitude),
            "longitude": ("node", -100.0 + np.arange(num_nodes) ** 1.5),
        },
        attrs={
            "units": "mph", "quantity": "speed", "title": "A", "source": "B", "model": "ours",
            "synthetic": 1, "interval": f"{minutes}min",
        },
    )  # fmt: skip


def test_an_error_counts_at_the_hour_that_is_forecast():
    # Origins 22:00 and 23:00, one and two hours ahead: 23, 0 and 0, 1 o'clock.
    error = np.array([[[1.0, 3.0], [2.0, 2.0]], [[-4.0, 0.0], [5.0, 5.0]]])
    table = prepare_errors(forecast(error, latitude=[1.0, 2.0]), by="hour").set_index("group")
    assert table["mae"].to_dict() == {0: (2 + 2 + 4 + 0) / 4, 1: 5.0, 23: 2.0}
    assert table["count"].to_dict() == {0: 4, 1: 2, 23: 2}


def test_baselines_are_scored_where_the_truth_is_known_alone():
    error = np.zeros((1, 1, 3))
    given = forecast(error, latitude=[1.0, 2.0, 3.5])
    given["target"][0, 0, 1] = np.nan
    other = given["forecast"] + xr.DataArray([1.0, 99.0, 2.0], dims="node")
    table = prepare_errors(given, baselines={"other": other})
    assert table["model"].tolist() == ["ours", "other"]
    assert table["mae"].tolist() == [0.0, 1.5]
    assert table["count"].tolist() == [2, 2]


def test_bands_of_latitude_are_regions():
    error = np.array([[[1.0, 2.0, 4.0, 8.0, 16.0]]])
    given = forecast(error, latitude=[-40.0, 10.0, -12.0, 50.0, 80.0])
    table = prepare_errors(given, by="region").set_index("group")
    assert table["mae"].to_dict() == {
        "mid-latitudes north": 8.0,
        "mid-latitudes south": 1.0,
        "polar north": 16.0,
        "tropics": 3.0,
    }


def test_cells_count_by_their_area():
    latitude, longitude = np.repeat([0.0, 20.0], 3), np.tile([0.0, 20.0, 40.0], 2)
    error = np.where(latitude == 0, 1.0, 3.0)[None, None]
    given = forecast(error, latitude=latitude.tolist()).assign_coords(longitude=("node", longitude))
    (mae,) = prepare_errors(given, by="region")["mae"]
    north = np.cos(np.radians(20.0))
    assert mae == pytest.approx((1.0 + 3.0 * north) / (1.0 + north))


def test_boroughs_and_corridors_are_regions():
    given = forecast(np.array([[[1.0, 2.0, 6.0]]]), latitude=[1.0, 1.1, 1.25])
    roads = given.assign_coords(corridor=("node", ["A", "B", "A"]))
    assert prepare_errors(roads, by="region").set_index("group")["mae"].to_dict() == {
        "A": 3.5,
        "B": 2.0,
    }
    zones = pd.DataFrame({"borough": ["Bronx", "Queens", "Queens"]}, index=["n0", "n1", "n2"])
    zones["geometry"] = None
    found = prepare_errors(given, by="region", zones=zones).set_index("group")["mae"]
    assert found.to_dict() == {"Bronx": 1.0, "Queens": 4.0}


def test_what_cannot_be_grouped_is_refused():
    given = forecast(np.ones((1, 1, 2)), latitude=[1.0, 1.5])
    with pytest.raises(ValueError, match=r"by must be one of hour, region; got 'day'"):
        prepare_errors(given, by="day")
    with pytest.raises(ValueError, match=r"Regions need zones, .*; got 0.5 degrees"):
        prepare_errors(given, by="region")
    given["target"][:] = np.nan
    with pytest.raises(ValueError, match=r"Errors need observed targets; got none"):
        prepare_errors(given)


@pytest.mark.parametrize("by", ["hour", "region"])
def test_the_drawing_holds_every_model_and_says_what_it_is(by):
    given = forecast(np.ones((4, 2, 3)), latitude=[-40.0, 10.0, 55.0])
    overlay = plot_errors(given, by=by, baselines={"<b>": given["forecast"] + 1})
    dots = [layer for layer in overlay if isinstance(layer, hv.Scatter)]
    assert [layer.label for layer in dots] == ["ours", "<b>"]
    assert len([layer for layer in overlay if isinstance(layer, hv.Curve)]) == (
        2 if by == "hour" else 0
    )
    assert np.all(dots[1].dimension_values("y") == 2.0)
    figure = hv.render(overlay, backend="bokeh")
    assert "MAE (mph) by" in figure.title.text
    assert figure.y_range.start == 0.0
