"""Distances, map coordinates and lines between sensors, against values by hand."""

import numpy as np
import pytest
import xarray as xr
from builders import build_dataset
from hypothesis import given
from hypothesis import strategies as st

from stviz.geography import (
    distance_km,
    from_mercator,
    map_bounds,
    nearest_places,
    node_at,
    sensor_edges,
    to_mercator,
    unwrap_longitude,
)

# One degree of a great circle on a sphere of the mean Earth radius: 2 pi 6371.0088 km / 360.
DEGREE_KM = 111.19508


def place(longitude, latitude) -> xr.Dataset:
    names = [f"n{i}" for i in range(len(longitude))]
    return xr.Dataset(
        coords={
            "node": names,
            "longitude": ("node", np.asarray(longitude, float)),
            "latitude": ("node", np.asarray(latitude, float)),
        }
    )


def test_distance_by_hand():
    assert distance_km(0.0, 0.0, 0.0, 1.0) == pytest.approx(DEGREE_KM, rel=1e-6)
    assert distance_km(10.0, 5.0, 11.0, 5.0) == pytest.approx(DEGREE_KM, rel=1e-6)
    # At 60 degrees north a degree of longitude is half as long, up to the arc's bend.
    assert distance_km(60.0, 0.0, 60.0, 1.0) == pytest.approx(DEGREE_KM / 2, rel=1e-4)
    # Over the date line, and half around the Earth.
    assert distance_km(0.0, 179.5, 0.0, -179.5) == pytest.approx(DEGREE_KM, rel=1e-6)
    assert distance_km(0.0, 0.0, 0.0, 180.0) == pytest.approx(180 * DEGREE_KM, rel=1e-6)


def test_longitudes_stay_together_over_the_date_line():
    np.testing.assert_allclose(unwrap_longitude([179.0, -179.0, 178.0]), [179, 181, 178])
    np.testing.assert_allclose(unwrap_longitude([358.0, 2.0]), [-2, 2])
    np.testing.assert_allclose(unwrap_longitude([-118.5, -118.2]), [-118.5, -118.2])
    # Around a globe there is no widest gap: it is cut at 180 degrees.
    np.testing.assert_allclose(unwrap_longitude([0, 90, 180, 270]), [0, 90, -180, -90])


@given(st.lists(st.floats(-360, 360), min_size=1, max_size=8))
def test_unwrapping_keeps_places_and_a_turn(longitude):
    unwrapped = unwrap_longitude(longitude)
    turns = (unwrapped - np.array(longitude)) / 360
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)
    assert np.ptp(unwrapped) <= 360


def test_mercator_by_hand():
    x, y = to_mercator([0.0, 180.0], [0.0, 0.0])
    np.testing.assert_allclose(x, [0.0, np.pi * 6378137.0])
    np.testing.assert_allclose(y, [0.0, 0.0], atol=1e-6)
    # The square map ends where the northing is as far as 180 degrees east.
    assert to_mercator(0.0, 85.0511)[1] < np.pi * 6378137.0


@given(st.floats(-179, 179), st.floats(-84, 84))
def test_mercator_inverts(longitude, latitude):
    back = from_mercator(*to_mercator(longitude, latitude))
    np.testing.assert_allclose(back, (longitude, latitude), atol=1e-9)


def test_a_frame_is_never_empty_nor_a_slit():
    west, south, east, north = map_bounds([10.0], [50.0])
    assert west < 10 < east
    assert south < 50 < north
    west, south, east, north = map_bounds([0.0, 3.0], [0.0, 0.0], padding=0.0)
    assert (east - west, north - south) == pytest.approx((3, 1), rel=1e-3)


def test_nearest_places_start_with_itself():
    places = place([0, 0, 1, 5], [0, 0, 0, 0]).to_dataframe().reset_index()
    assert nearest_places(places, "n1", count=3)["node"].tolist() == ["n1", "n0", "n2"]
    assert nearest_places(places, "n3", count=9)["node"].tolist() == ["n3", "n2", "n0", "n1"]


def test_a_tap_names_the_nearest_sensor():
    data = build_dataset(num_nodes=10)
    names = data["node"].values.tolist()
    x, y = to_mercator(data["longitude"].values, data["latitude"].values)
    named = [node_at(data, x=float(x[i]) + 20, y=float(y[i]) - 20) for i in range(10)]
    assert named == names
    # 1 km north of everything is farther than 0.5 km.
    far = float(y.max()) + 2000
    assert node_at(data, x=float(x[0]), y=far, within_km=0.5) is None


def test_neighbours_on_a_road_are_joined_once():
    data = place([0.00, 0.01, 0.02, 0.03], [0, 0, 0, 0])
    assert sensor_edges(data).tolist() == [[0, 1], [1, 2], [2, 3]]


def test_a_far_sensor_stays_alone():
    data = place([0.00, 0.01, 0.02, 0.03, 0.50], [0, 0, 0, 0, 0])
    assert sensor_edges(data).tolist() == [[0, 1], [1, 2], [2, 3]]


def test_one_sensor_and_twins_have_no_roads_to_break():
    assert sensor_edges(place([1], [1])).shape == (0, 2)
    assert sensor_edges(place([1, 1], [1, 1])).shape[1] == 2


def test_metr_la_becomes_freeways(real_data):
    import pandas as pd

    table = pd.read_csv(real_data / "metr-la" / "graph_sensor_locations.csv")
    edges = sensor_edges(place(table["longitude"], table["latitude"]))
    assert 207 <= len(edges) < 400
    # All but the one lone sensor on the coast road are joined to something.
    assert len(np.unique(edges)) >= 206
