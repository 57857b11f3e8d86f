"""Taxi zones: polygons joined by number, a point inside each, and what is refused."""

import sys
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from taxi_samples import squares, write_zones

from sttrans_core.data import load_zones
from sttrans_core.data.archives import check_archive

NAMES = {7: "Astoria", 3: "Allerton", 12: "Battery Park"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's data out of the search."""
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)


def _write(path: Path, frame: gpd.GeoDataFrame) -> Path:
    frame.to_file(path)
    return path


def _zip(path: Path, folder: Path, *, inside: str = "taxi_zones/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.glob("taxi_zones.*"):
            archive.writestr(inside + file.name, file.read_bytes())
    return path


def test_zones_have_names_and_a_point_inside(tmp_path: Path) -> None:
    zones = load_zones(write_zones(tmp_path, NAMES))
    assert zones.crs == "EPSG:4326"
    assert zones.index.tolist() == ["3", "7", "12"]  # by number, not as text
    assert zones["zone"].tolist() == ["Allerton", "Astoria", "Battery Park"]
    assert zones["borough"].unique().tolist() == ["Manhattan"]
    points = shapely.points(zones["longitude"], zones["latitude"])
    assert zones.geometry.contains(gpd.GeoSeries(points, zones.index, crs=zones.crs)).all()
    # Half a mile of 1609.344 m east and north of the corner of the first square, 984,250 feet
    # being 74 W: zone 7 begins at 980,000 feet, so its middle is 1,610 feet or 491 m west of 74 W.
    metres_per_degree = 111_320 * np.cos(np.deg2rad(zones["latitude"]["7"]))
    assert zones["longitude"]["7"] == pytest.approx(-74 - 491 / metres_per_degree, abs=1e-4)


def test_polygons_of_one_number_are_joined(tmp_path: Path) -> None:
    frame = squares(NAMES)
    frame.loc[1, ["LocationID", "zone"]] = [7, "Astoria"]
    zones = load_zones(_write(tmp_path / "z.geojson", frame.to_crs("EPSG:4326")))
    assert zones["num_polygons"].to_dict() == {"7": 2, "12": 1}
    # Two square miles of 2.589988 square kilometres each.
    area = zones.to_crs("EPSG:2263").area * 0.3048006096012192**2
    assert area["7"] == pytest.approx(2 * 2.589998e6, rel=1e-4)


def test_the_published_archive_and_other_forms_give_the_same(tmp_path: Path) -> None:
    folder = write_zones(tmp_path / "shapes", NAMES)
    expected = load_zones(folder)
    (tmp_path / "packed").mkdir()
    packed = _zip(tmp_path / "packed" / "taxi_zones.zip", folder)
    lower = squares(NAMES).rename(columns={"LocationID": "location_id"})
    for source in (
        packed,
        packed.parent,
        _zip(tmp_path / "flat.zip", folder, inside=""),
        squares(NAMES).rename_geometry("the_geom"),
        _write(tmp_path / "z.gpkg", lower),
    ):
        found = load_zones(source)
        assert found.drop(columns="geometry").equals(expected.drop(columns="geometry"))
    assert load_zones(expected) is expected


def test_names_stay_text() -> None:
    names = ["<b onclick='x'>7</b>", "=1+1", None]
    assert load_zones(squares(NAMES, zone=names)).sort_index()["zone"].tolist() == [
        "",
        "=1+1",
        names[0],
    ]


def test_shapes_that_cross_themselves_are_mended() -> None:
    frame = squares(NAMES)
    box = frame.geometry[0].bounds
    bow = [(box[0], box[1]), (box[2], box[3]), (box[2], box[1]), (box[0], box[3])]
    frame.loc[0, "geometry"] = shapely.Polygon(bow)
    zones = load_zones(frame)
    assert zones.geometry.is_valid.all()
    # Two triangles, each a quarter of the square.
    areas = zones.to_crs("EPSG:2263").area
    assert areas["7"] == pytest.approx(areas["3"] / 2, rel=1e-3)


def test_coordinates_that_are_not_what_they_say(tmp_path: Path) -> None:
    folder = write_zones(tmp_path, NAMES)
    (folder / "taxi_zones.prj").unlink()
    with pytest.raises(
        ValueError, match=r"must state .*none in taxi_zones.shp. Put taxi_zones.prj"
    ):
        load_zones(folder)
    frame = squares(NAMES)
    for wrong in ("EPSG:4326", "EPSG:3857", "EPSG:32618", "EPSG:2264"):
        with pytest.raises(
            ValueError, match=r"lie in and around New York in the table of zones; g"
        ):
            load_zones(frame.set_crs(wrong, allow_override=True))
    swapped = frame.to_crs("EPSG:4326")
    swapped["geometry"] = shapely.transform(swapped.geometry.values, lambda xy: xy[:, ::-1])
    with pytest.raises(ValueError, match=r"got longitudes 40.7\S* to 40.7\S* and latitudes -7"):
        load_zones(swapped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"LocationID": [7, None, 12]}, "number of a zone in every row of .*; got 'nan' in row 1"),
        ({"LocationID": [7, 3, 1.5]}, "number of a zone in every row of .*; got '1.5' in row 2"),
        ({"LocationID": [0, 3, 12]}, "number of a zone in every row of .*; got '0' in row 0"),
        ({"LocationID": ["7", "x", "12"]}, "in every row of .*; got 'x' in row 1. Correct"),
        ({"LocationID": [7, 7, 12]}, "of one zone in .*; got 'Astoria', 'Allerton' for 7"),
    ],
)
def test_numbers_that_are_none(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        load_zones(squares(NAMES).assign(**changes))


def test_tables_that_are_no_zones(tmp_path: Path) -> None:
    frame = squares(NAMES)
    for column in ("LocationID", "zone", "borough"):
        with pytest.raises(ValueError, match="must have the columns LocationID, zone and borough"):
            load_zones(frame.drop(columns=column))
    with pytest.raises(ValueError, match="with 0 rows"):
        load_zones(frame.iloc[:0])
    frame.loc[1, "geometry"] = None
    with pytest.raises(ValueError, match="must have a polygon in the table of zones; got none for"):
        load_zones(frame)
    (tmp_path / "taxi_zones_simple.csv").write_text("locationid,zone,borough\n1,Newark,EWR\n")
    with pytest.raises(
        ValueError, match=r"be polygons; got taxi_zones_simple.csv, a table without"
    ):
        load_zones(tmp_path / "taxi_zones_simple.csv")
    folder = write_zones(tmp_path, NAMES)
    (folder / "taxi_zones.dbf").unlink()
    with pytest.raises(ValueError, match=r"in taxi_zones.shp; got .*all files of the shapefile"):
        load_zones(folder)


def test_damaged_files(tmp_path: Path) -> None:
    folder = write_zones(tmp_path / "shapes", NAMES)
    shapes = folder / "taxi_zones.shp"
    whole = shapes.read_bytes()
    for content in (b"", b"no shapes", whole[: len(whole) // 2]):
        shapes.write_bytes(content)
        with pytest.raises(
            ValueError,
            match=r"taxi_zones.shp must be a complete file of polygons|"
            r"must have a polygon in taxi_zones.shp",
        ):
            load_zones(folder)
    shapes.write_bytes(whole)
    packed = _zip(tmp_path / "taxi_zones.zip", folder)
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(ValueError, match="must be a complete zip archive"):
        load_zones(packed)
    (folder / "taxi_zones.shp").rename(folder / "other.shp")
    with pytest.raises(ValueError, match="it must hold one shapefile, not 0"):
        load_zones(_zip(tmp_path / "none.zip", folder))
    with pytest.raises(
        FileNotFoundError, match=r"or a folder with taxi_zones.shp or taxi_zones.zip"
    ):
        load_zones(tmp_path / "gone")


def test_archives_that_are_traps(tmp_path: Path, monkeypatch) -> None:
    folder = write_zones(tmp_path / "shapes", NAMES)
    for inside in ("../", "/etc/", "C:\\"):
        with pytest.raises(ValueError, match="keep to its own folder; got the member"):
            load_zones(_zip(tmp_path / "up.zip", folder, inside=inside))
    monkeypatch.setattr("sttrans_core.data.archives._LARGEST_CONTENT", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("taxi_zones.shp", bytes(1001))
    with pytest.raises(ValueError, match="at most 1,000 bytes; got 1,001 bytes unpacked"):
        load_zones(tmp_path / "bomb.zip")


def test_zones_are_searched_and_then_downloaded_once(tmp_path: Path, monkeypatch) -> None:
    folder = write_zones(tmp_path / "published", NAMES)
    packed, asked = _zip(tmp_path / "packed.zip", folder), []

    def fetch(address: str, scratch: Path, *, progress: bool) -> Path:
        asked.append(address)
        file = scratch / address.rsplit("/", 1)[1]
        file.write_bytes(packed.read_bytes())
        return file

    monkeypatch.setattr("sttrans_core.data.download._fetch", fetch)
    with pytest.raises(
        FileNotFoundError, match=r"got no taxi_zones.shp or taxi_zones.zip in .*cac"
    ):
        load_zones(download=False)
    with pytest.raises(
        FileNotFoundError, match="its sha256 is not f6d711917bb4340f8f644d5366c51665"
    ):
        load_zones()
    assert not list((tmp_path / "cache" / "sttrans" / "nyc-taxi").iterdir())
    from sttrans_core.data.download import _sha256

    monkeypatch.setattr("sttrans_core.data.zones._SHA256", _sha256(packed))
    assert load_zones().index.tolist() == ["3", "7", "12"]
    assert load_zones(download=False).index.tolist() == ["3", "7", "12"]
    assert asked == ["https://d37ci6vzurychx.cloudfront.net/misc/taxi_zones.zip"] * 2
    # A folder of the user's own comes first.
    write_zones(tmp_path / "root" / "NYC_Taxi", {1: "Newark Airport"})
    assert load_zones(root=tmp_path / "root").index.tolist() == ["1"]
    monkeypatch.setenv("STTRANS_DATA", str(tmp_path / "root"))
    assert load_zones().index.tolist() == ["1"]


def test_zones_need_geopandas(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(
        ImportError, match=r"need geopandas; install it with `pip install 'sttrans\["
    ):
        load_zones(Path("zones.shp"))


def test_real_zones(real_data: Path) -> None:
    zones = load_zones(real_data / "nyc-taxi")
    assert len(zones) == 260
    assert zones["num_polygons"].sum() == 263
    assert zones["num_polygons"][zones["num_polygons"] > 1].to_dict() == {"56": 2, "103": 3}
    assert zones.geometry.is_valid.all()
    points = gpd.GeoSeries(
        gpd.points_from_xy(zones["longitude"], zones["latitude"]), zones.index, crs="EPSG:4326"
    )
    assert zones.geometry.contains(points).all()
    assert zones.loc["132", ["zone", "borough"]].tolist() == ["JFK Airport", "Queens"]
    # JFK lies at 40.64 N, 73.78 W.
    assert zones.loc["132", ["latitude", "longitude"]].tolist() == pytest.approx(
        [40.64, -73.78], abs=0.02
    )
    named = pd.read_csv(real_data / "nyc-taxi" / "taxi_zones_simple.csv", index_col="locationid")
    named = named[~named.index.duplicated()]
    assert (named["zone"][zones.index.astype(int)].to_numpy() == zones["zone"]).all()


def test_a_sound_archive_gives_its_names(tmp_path: Path) -> None:
    folder = write_zones(tmp_path / "shapes", NAMES)
    names = check_archive(_zip(tmp_path / "z.zip", folder))
    assert "taxi_zones/taxi_zones.shp" in names
