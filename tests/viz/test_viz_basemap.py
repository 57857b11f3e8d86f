"""The bundled base map: land where land is, sea where sea is, and nothing too coarse."""

from importlib.resources import files

import numpy as np
import pytest
import shapely
from builders import build_dataset
from shapely.geometry import Point

import stviz
from stviz.basemap import load_basemap
from stviz.geography import from_mercator


@pytest.mark.parametrize(
    ("place", "is_land"),
    [
        ((2.35, 48.86), True),  # Paris
        ((-30.0, 40.0), False),  # mid Atlantic
        ((134.0, -25.0), True),  # Australia
        ((51.0, 42.0), False),  # Caspian Sea, a hole in the land
        # Rings that cross the date line, or go around the pole:
        ((-175.0, 67.0), True),  # Chukotka, the far end of Asia
        ((-160.0, 67.0), True),  # Alaska, beyond the strait
        ((-165.0, 72.0), False),  # the sea north of both
        ((-40.0, 67.0), True),  # Greenland
        ((-60.0, 67.0), False),  # the sea west of it, at the same latitude
        ((0.0, -82.0), True),  # Antarctica
        ((0.0, -60.0), False),  # the sea around it
    ],
)
def test_land_is_where_it_is(place, is_land):
    land = load_basemap((-180, -85, 180, 85), layer="land")
    assert bool(land.geometry.contains(Point(place)).any()) is is_land


def test_a_city_in_the_usa_gets_its_state_and_its_coast():
    states = load_basemap((-119, 33.5, -118, 34.5))
    assert set(states["name"]) == {"California"}
    assert states.geometry.contains(Point(-118.25, 34.05)).any()
    assert not states.geometry.contains(Point(-118.8, 33.6)).any()


@pytest.mark.parametrize(
    ("bounds", "num_shapes"),
    [((116.0, 39.5, 117.0, 40.5), 1), ((6.8, 50.8, 7.1, 51.0), 1), ((-40.0, 40.0, -39.5, 40.5), 0)],
    ids=["Beijing", "Cologne", "Atlantic"],
)
def test_a_city_elsewhere_is_all_land_rather_than_a_wrong_coast(bounds, num_shapes):
    land = load_basemap(bounds)
    assert len(land) == num_shapes
    if num_shapes:
        assert tuple(land.total_bounds) == bounds


def test_a_country_elsewhere_gets_land():
    land = load_basemap((-11, 49, 3, 60))
    assert land.geometry.contains(Point(-1.5, 52.5)).any()
    assert land.total_bounds[0] >= -11


def test_a_frame_may_cross_the_date_line():
    # Fiji and Samoa: the same frame named in either turn shows the same land.
    west = load_basemap((176, -20, 190, -12))
    east = load_basemap((176 - 360, -20, 190 - 360, -12))
    assert west.geometry.contains(Point(178.0, -17.8)).any()
    sizes = [shapely.area(land.geometry.to_numpy()).sum() for land in (west, east)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-6)


def test_bad_frames_and_layers_are_refused():
    with pytest.raises(ValueError, match=r"bounds must run from west to east .*; got .*\. Pass"):
        load_basemap((10, 0, -10, 5))
    with pytest.raises(ValueError, match=r"layer must be 'auto', .*; got 'roads'\. Pass one"):
        load_basemap((0, 0, 1, 1), layer="roads")


def test_the_notices_travel_with_the_files():
    folder = files("stviz.basemap")
    assert "Copyright 2013-2019" in folder.joinpath("NOTICE.md").read_text()
    assert "BSD 2-Clause" in folder.joinpath("leaflet", "LICENSE").read_text()
    size = len(folder.joinpath("shapes.npz").read_bytes())
    assert size < 200_000


def test_a_layer_that_lies_elsewhere_is_left_out():
    # At sea across the date line, where no turn of the globe brings a state of the USA.
    assert load_basemap((179.9, 60.0, 180.5, 60.6)).empty


def test_names_of_cities_avoid_sensors_and_each_other():
    latitude, longitude = (build_dataset()[each].values for each in ("latitude", "longitude"))

    def names(dataset):
        labels = stviz.plot_base_map(dataset).Labels.Places.data
        return labels.set_index(labels.columns[2])[["x", "y"]]

    before = names(build_dataset())
    assert len(before) > 3
    hidden = before.index[0]
    east, north = from_mercator(*before.loc[hidden])
    dataset = build_dataset().assign_coords(
        # One that lies elsewhere on the map moves under the name.
        latitude=("node", np.append(latitude[:-2], [north, latitude[-1]])),
        longitude=("node", np.append(longitude[:-2], [east, longitude[-1]])),
    )
    after = names(dataset)
    assert abs(after.loc[hidden] - before.loc[hidden]).max() > 500  # metres
