"""What places cover on a map, against edges by hand: cells of grids, polygons of zones."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from builders import build_grid

from sttrans_core.grid import as_nodes
from stviz.geography import from_mercator
from stviz.places import bounds_of, find_cells, noun_of, prepare_places, shape_parts


def nodes_at(longitude, latitude) -> xr.Dataset:
    return xr.Dataset(
        coords={
            "node": [f"n{i}" for i in range(len(longitude))],
            "longitude": ("node", np.asarray(longitude, float)),
            "latitude": ("node", np.asarray(latitude, float)),
        }
    )


def zones_at(shapes: dict[str, shapely.Geometry], **columns: list) -> geopandas.GeoDataFrame:
    frame = geopandas.GeoDataFrame(columns, geometry=list(shapes.values()), crs="EPSG:4326")
    return frame.set_axis(list(shapes), axis="index")


def edges_of(places) -> np.ndarray:
    west, south = from_mercator(places["left"].to_numpy(), places["bottom"].to_numpy())
    east, north = from_mercator(places["right"].to_numpy(), places["top"].to_numpy())
    return np.stack([west, south, east, north], -1)


def test_cells_reach_half_a_step_around_their_centres():
    grid = build_grid(latitude=np.array([40.0, 42.0, 44.0]), longitude=np.array([-10.0, -7.0]))
    places = prepare_places(grid)
    assert noun_of(places) == "cell"
    assert places["node"].tolist()[:3] == ["40N 10W", "40N 7W", "42N 10W"]
    np.testing.assert_allclose(edges_of(places)[0], [-11.5, 39, -8.5, 41])
    np.testing.assert_allclose(edges_of(places)[-1], [-8.5, 43, -5.5, 45])
    # Cells touch: the right edges of the first column are the left edges of the second.
    assert places["right"][0] == pytest.approx(places["left"][1])
    # The frame holds all cells: 6 x 6 degrees with 8 % of the longer side around.
    west, south, east, north = bounds_of(places)
    assert (west, south) < (-11.5, 39)
    assert (east, north) > (-5.5, 45)


def test_nodes_and_grid_are_the_same_cells():
    grid = build_grid(latitude=np.arange(40.0, 45), longitude=np.arange(5.0, 9))
    assert prepare_places(grid).equals(prepare_places(as_nodes(grid)))


@pytest.mark.parametrize(
    ("longitude", "west"),
    [
        # 0 to 360 degrees: North America as the reanalysis has it.
        (np.arange(200.0, 332.5, 2.5, dtype=np.float32), -161.25),
        # Over the date line, in either spelling.
        (np.arange(170.0, 192.0, 2.0), 169.0),
        # Single precision of tenths.
        (np.arange(0, 3, 0.1, dtype=np.float32), -0.05),
        # All around the globe: cut at the date line.
        (np.arange(0.0, 360.0, 30.0), -195.0),
    ],
    ids=["0 to 360", "date line", "tenths", "globe"],
)
def test_longitudes_of_any_turn(longitude, west):
    grid = build_grid(latitude=np.array([50.0, 52.5, 55.0]), longitude=longitude)
    edges = edges_of(prepare_places(grid))
    step = float(longitude[1]) - float(longitude[0])
    assert edges[:, 0].min() == pytest.approx(west, abs=1e-4)
    assert edges[:, 2].max() == pytest.approx(west + step * len(longitude), abs=1e-3)
    np.testing.assert_allclose(edges[:, 2] - edges[:, 0], step, rtol=1e-4)


def test_no_cell_reaches_beyond_a_pole():
    cells = find_cells(np.tile([0.0, 90.0], 3), np.repeat([-90.0, 0.0, 90.0], 2))
    assert cells is not None
    np.testing.assert_allclose(cells[0], [-45, -90, 45, -45])
    np.testing.assert_allclose(cells[-1], [45, 45, 135, 90])


def test_a_grid_may_lack_cells_but_not_most_of_them():
    longitude, latitude = np.tile(np.arange(6.0), 4), np.repeat(np.arange(4.0), 6)
    assert find_cells(longitude[3:], latitude[3:]) is not None
    some = [0, 5, 8, 15, 20]  # of 24
    assert find_cells(longitude[some], latitude[some]) is None


@pytest.mark.parametrize(
    ("longitude", "latitude"),
    [
        ([0.0, 1, 2], [0.0, 1, 2]),  # three places
        ([0.0, 1, 2, 3, 4], [0.0] * 5),  # on one road
        ([0.0, 1, 0, 1, 0, 1], [0.0, 0, 1, 1, 2.5, 2.5]),  # uneven rows
        ([0.0, 1, 0, 1, 0], [0.0, 0, 1, 1, 0]),  # two at one place
        ([0.013, 0.47, 0.911, 1.3, 1.71], [0.2, 0.41, 0.03, 0.77, 0.5]),  # anywhere
    ],
)
def test_sensors_are_no_cells(longitude, latitude):
    places = prepare_places(nodes_at(longitude, latitude))
    assert noun_of(places) == "sensor"
    assert list(places) == ["node", "name", "longitude", "latitude", "x", "y"]


def test_zones_have_their_polygon_and_name():
    shapes = {
        "b": shapely.box(2, 0, 3, 1),
        "a": shapely.box(0, 0, 1, 1),
        "c": shapely.box(9, 9, 10, 10),
    }
    places = prepare_places(
        nodes_at([0.5, 2.5], [0.5, 0.5]).assign_coords(node=["a", "b"]),
        zones=zones_at(shapes, zone=["Beta", "Alpha", "Gamma"]),
    )
    assert noun_of(places) == "zone"
    assert places["name"].tolist() == ["Alpha", "Beta"]
    assert [shape.bounds for shape in places["shape"]] == [(0, 0, 1, 1), (2, 0, 3, 1)]
    west, _, east, _ = bounds_of(places)
    assert west < 0
    assert east > 3


def test_zones_in_feet_are_drawn_in_degrees():
    feet = zones_at({"n0": shapely.box(-74, 40.7, -73.9, 40.8)}).to_crs("EPSG:2263")
    places = prepare_places(nodes_at([-73.95], [40.75]), zones=feet)
    np.testing.assert_allclose(places["shape"][0].bounds, [-74, 40.7, -73.9, 40.8], atol=1e-3)
    assert places["name"].tolist() == ["n0"]


def test_a_zone_on_both_sides_of_the_date_line_stays_together():
    both = shapely.union_all([shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)])
    places = prepare_places(nodes_at([179.5, 177.0], [-17.5] * 2), zones=zones_at(
        {"n0": both, "n1": shapely.box(176.5, -18, 177.5, -17)}
    ))  # fmt: skip
    assert places["shape"][0].bounds == (179, -18, 181, -17)


def test_rings_of_parts_and_holes():
    ring = shapely.Polygon(shapely.box(0, 0, 4, 4).exterior, [shapely.box(1, 1, 2, 2).exterior])
    parts = shape_parts(shapely.union_all([ring, shapely.box(9, 0, 10, 1)]), tolerance=0.01)
    assert sorted(len(part) for part in parts) == [1, 2]
    outer, hole = max(parts, key=len)
    assert (outer.max(), hole.min(), hole.max()) == (4, 1, 2)


@pytest.mark.parametrize(
    ("zones", "message"),
    [
        (zones_at({"x": shapely.box(0, 0, 1, 1)}), r"none for 'n0' and 1 others\. Set the ids"),
        (zones_at({"n0": shapely.box(0, 0, 1, 1)}).assign(zone="z"), "none for 'n1' and 0 others"),
        (
            zones_at({"n0": shapely.box(0, 0, 1, 1), "n1": shapely.Point(0, 0)}),
            r"no polygon for 'n1'\. Drop",
        ),
        (zones_at({"n0": shapely.box(0, 0, 1, 1)}).iloc[[0, 0]], r"'n0' twice\. Join"),
        (
            zones_at({"n0": shapely.box(0, 0, 1, 1)}).set_crs(None, allow_override=True),
            r"without a coordinate system\. Set one",
        ),
        (pd.DataFrame({"zone": ["z"]}), r"a DataFrame\. Pass a GeoDataFrame"),
    ],
)
def test_zones_that_do_not_fit_are_refused(zones, message):
    with pytest.raises(ValueError, match=rf"zones must hold one polygon .*; got .*{message}"):
        prepare_places(nodes_at([0.5, 2.5], [0.5, 0.5]), zones=zones)
