"""Registered weather grids: where they are looked for, fetched and read, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from data_samples import fingerprint
from grid_samples import era, to_store

from sttrans_core.data import data_card, list_datasets, load_dataset
from sttrans_core.data.download import cache_folder
from sttrans_core.data.weather import WEATHER, load_weather
from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_dataset
from sttrans_core.slabs import is_in_memory

OFFLINE = {"download": False}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's data out of the search."""
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the grid of `era` be the whole published ncep-air."""
    changes = {"steps": 11, "rows": 3, "columns": 5, "span": (50, 55, -5, 5), "first": "2024-01-01"}
    series = dataclasses.replace(WEATHER["ncep-air"], **changes)
    monkeypatch.setitem(WEATHER, "ncep-air", series)


def write(path: Path, mark: float = 0.0, **options: object) -> Path:
    """Write a grid whose first reading tells which one was loaded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = era(**options)
    own["t2m"][0, -1, 0] = 250 + mark
    own.to_netcdf(path, engine="h5netcdf")
    return path


def _mark(dataset: xr.Dataset) -> float:
    return float(dataset["target"].values[0, 0, 0]) - 250


@pytest.mark.usefixtures("tiny")
def test_the_order_of_the_search(tmp_path, monkeypatch):
    write(cache_folder("ncep-air") / "air-temperature.nc", 1)
    assert _mark(load_dataset("ncep-air", **OFFLINE)) == 1
    env = tmp_path / "env"
    write(env / "air_temperature.nc", 2)
    monkeypatch.setenv("STTRANS_DATA", str(env))
    assert _mark(load_dataset("ncep-air", **OFFLINE)) == 2
    write(env / "NCEP_air" / "air_temperature.nc", 3)
    assert _mark(load_dataset("ncep-air", **OFFLINE)) == 3
    own = era().map(lambda v: (v + 4).assign_attrs(units="K"))
    to_store(own, env / "NCEP_air" / "air_temperature.zarr", zarr_format=2)
    assert load_dataset("ncep-air", **OFFLINE)["target"].values.min() == 254
    write(tmp_path / "root" / "ncep-air" / "air_temperature.nc", 5)
    assert _mark(load_dataset("ncep-air", root=tmp_path / "root", **OFFLINE)) == 5
    file = write(tmp_path / "any name.nc", 6)
    assert _mark(load_dataset("ncep-air", path=file, **OFFLINE)) == 6
    assert _mark(load_dataset("ncep-air", path=env, **OFFLINE)) == 2


@pytest.mark.usefixtures("tiny")
def test_a_dataset_says_what_it_is(tmp_path):
    path = to_store(era(), tmp_path / "air_temperature.zarr", zarr_format=2)
    dataset = check_dataset(load_dataset("ncep-air", path=path))
    assert is_in_memory(dataset["target"])
    card = data_card(dataset)
    assert card["title"].endswith("North America, 2024-01-01 to 2024-01-03")
    assert (card["steps"], card["nodes"], card["grid"]) == (11, 15, "3 x 5")
    assert card["units"] == "K"
    assert "Kalnay" in card["citation"]
    assert "looked at" not in card
    # Large stores are left where they are, and a card looks at a few of their steps.
    for name, module in (("_LARGEST_IN_MEMORY", "weather"), ("_VALUES_IN_CARD", "registry")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"sttrans_core.data.{module}.{name}", 15 * 4)
            patch.setattr("sttrans_core.data.weather._LARGEST_IN_MEMORY", 15 * 4)
            large = load_dataset("ncep-air", path=path)
            card = data_card(large)
        assert not is_in_memory(large["target"])
        assert (card["lowest"], card["highest"]) == ("250.0", "266.4")
        assert card.get("looked at") == (None if module == "weather" else "16 of 11 steps")


@pytest.mark.usefixtures("tiny")
def test_a_file_is_fetched_once(tmp_path, web, monkeypatch):
    folder, address, _ = web
    write(folder / "air_temperature.nc")
    series = dataclasses.replace(WEATHER["ncep-air"], address=f"{address}/air_temperature.nc")
    monkeypatch.setitem(WEATHER, "ncep-air", series)
    dataset = load_dataset("ncep-air")
    assert f"from {address}/air_temperature.nc" in dataset.attrs["notes"]
    assert "recorded then, none is published" in dataset.attrs["notes"]
    (folder / "air_temperature.nc").unlink()
    xr.testing.assert_identical(load_dataset("ncep-air", **OFFLINE), dataset)
    kept = cache_folder("ncep-air") / "air-temperature.nc"
    write(kept, 5)
    with pytest.raises(ValueError, match="must have the sha256 that air-temperature"):
        load_dataset("ncep-air")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 7}, "published series, 11 steps from 2024-01-01; got 7 steps from 2024-01-01"),
        ({"first": "2023-01-01"}, "got 11 steps from 2023-01-01"),
        ({"latitude": [56.0, 53.5, 51.0]}, "must hold the 3 x 5 cells of NCEP .*; got 3 x 5 cells"),
        ({"units": "m"}, "Temperatures must be in K or degC"),
    ],
)
def test_another_file_is_not_kept(web, monkeypatch, options, message):
    folder, address, _ = web
    write(folder / "air_temperature.nc", **options)
    series = dataclasses.replace(WEATHER["ncep-air"], address=f"{address}/air_temperature.nc")
    monkeypatch.setitem(WEATHER, "ncep-air", series)
    with pytest.raises(FileNotFoundError, match=message):
        load_dataset("ncep-air")
    assert list(cache_folder("ncep-air").iterdir()) == []


def test_nowhere_names_everything_that_was_tried(tmp_path):
    cache = str(cache_folder("era5-uk"))
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("era5-uk")
    assert "got no 2m-temperature-2019-03-uk.nc or era5-2mt-2019-03-uk.nc in" in str(caught.value)
    assert f"STTRANS_DATA (not set); {cache}. It is published as GRIB only" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=rf"air-temperature.nc in {tmp_path}; .*download=T"):
        load_dataset("ncep-air", root=tmp_path, **OFFLINE)
    with pytest.raises(FileNotFoundError, match=rf"got nothing in {tmp_path}; .*, and air_temp"):
        load_dataset("ncep-air", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing in .*, and the address .*weatherbench2/"):
        load_dataset("weatherbench", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"path must be an existing file or folder; got"):
        load_dataset("ncep-air", path=tmp_path / "gone")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"must hold air-temperature.zarr or .* notes\.txt"):
        load_dataset("ncep-air", path=tmp_path)


def test_another_grid_is_refused(tmp_path):
    file = write(tmp_path / "own.nc")
    with pytest.raises(ValueError, match=r"own\.nc must hold the 33 x 49 cells of ERA5.*got 3 x 5"):
        load_dataset("era5-uk", path=file)


def weatherbench(name: str, *, first: str = "2024-01-01") -> xr.Dataset:
    """Give a global grid of 60 by 72 degrees, with the names of WeatherBench 1 or 2."""
    latitude, longitude = np.linspace(90, -90, 4), 72.0 * np.arange(5)
    own = era(name, latitude=latitude, first=first).assign_coords(longitude=longitude)
    return own.rename(latitude="lat", longitude="lon") if name == "t2m" else own


def test_files_of_weatherbench_1_follow_each_other(tmp_path):
    for number, first in enumerate(("2024-01-01", "2024-01-03 18:00")):
        folder = tmp_path / "WeatherBench" / "2m_temperature"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"2m_temperature_{2024 + number}_5.625deg.nc"
        weatherbench("t2m", first=first).to_netcdf(file, engine="h5netcdf")
    dataset = check_dataset(load_dataset("weatherbench", root=tmp_path, **OFFLINE))
    assert dict(dataset.sizes) == {"time": 22, "latitude": 4, "longitude": 5}
    assert dataset["latitude"].values[0] == -90
    assert "WeatherBench" in dataset.attrs["title"]


def test_a_store_of_weatherbench_2_is_read_for_its_temperature_near_the_ground(tmp_path):
    own = weatherbench("2m_temperature")
    levels = xr.concat([own["2m_temperature"] + i for i in range(2)], "level")
    own = own.assign(temperature=levels.assign_coords(level=[500, 850]), wind=levels[0] * 0)
    path = tmp_path / "weatherbench" / "1959-6h-4x5_equiangular_with_poles.zarr"
    own.to_zarr(path, zarr_format=2, consolidated=True)
    dataset = load_dataset("weatherbench", root=tmp_path, **OFFLINE)
    expected = load_dataset("weatherbench", path=path)
    xr.testing.assert_identical(dataset, expected)
    assert float(dataset["target"].max()) == pytest.approx(250 + 21.9)


def test_a_store_on_the_web_is_left_there(web, tmp_path, monkeypatch):
    folder, address, _ = web
    own = weatherbench("2m_temperature")
    own.to_zarr(folder / "era.zarr", zarr_format=2, consolidated=True)
    series = dataclasses.replace(WEATHER["weatherbench"], address=f"{address}/era.zarr")
    monkeypatch.setitem(WEATHER, "weatherbench", series)
    dataset = load_dataset("weatherbench")
    assert not is_in_memory(dataset["target"])
    assert (
        dataset.attrs["notes"]
        == f"Readings are fetched from {address}/era.zarr when they are used."
    )
    assert not cache_folder("weatherbench").exists()
    xr.testing.assert_identical(load_weather("weatherbench", path=f"{address}/era.zarr"), dataset)
    with pytest.raises(FileNotFoundError, match="weatherbench must be in one of the folders"):
        load_dataset("weatherbench", **OFFLINE)
    with pytest.raises(FileNotFoundError, match=r"^The address of a store must be reachable; g"):
        load_weather("weatherbench", path="http://127.0.0.1:9/era.zarr")


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_a_grid_is_saved_and_loaded_by_its_name(tmp_path, monkeypatch):
    dataset = load_weather("ncep-air", path=to_store(_tiny_north_america(), tmp_path / "a.zarr"))
    dataset = dataset.assign(extra=dataset["target"] * 0).assign_attrs(title="Mine")
    dataset.to_netcdf(tmp_path / "own.nc", engine="h5netcdf")
    xr.testing.assert_identical(load_dataset(tmp_path / "own.nc"), dataset)
    encoding = {"target": {"chunks": (2, 5, 7)}}
    dataset.to_zarr(tmp_path / "own.zarr", consolidated=False, encoding=encoding)
    monkeypatch.setattr("sttrans_core.grid._VALUES_IN_CHUNK", 3 * 25 * 53)
    stored = load_dataset(tmp_path / "own.zarr")
    assert stored["target"].chunks == ((4, 4, 3), (25,), (53,))
    assert as_nodes(stored)["target"].chunks[0] == (4, 4, 3)
    before = fingerprint(tmp_path)
    xr.testing.assert_identical(stored.load(), dataset)
    assert fingerprint(tmp_path) == before


def _tiny_north_america() -> xr.Dataset:
    latitude, longitude = 75 - 2.5 * np.arange(25), 200 + 2.5 * np.arange(53)
    values = np.random.default_rng(0).normal(280, 5, (11, 25, 53))
    times = era()["time"].values
    return xr.Dataset(
        {"air": (("time", "lat", "lon"), values, {"units": "degK"})},
        {"time": times, "lat": latitude, "lon": longitude},
    )


def test_real_grids_under_their_names(real_data):
    cards = list_datasets()
    for name in ("ncep-air", "era5-uk"):
        dataset = check_dataset(load_dataset(name, root=real_data, **OFFLINE))
        card = data_card(dataset)
        for key in ("steps", "nodes", "grid", "interval", "units", "licence"):
            assert card[key] == cards[name][key]
        assert card["missing"] == "0 %"
        assert is_in_memory(dataset["target"])
        assert card["first"].startswith(WEATHER[name].first)
    with pytest.raises(FileNotFoundError, match="weatherbench"):
        load_dataset("weatherbench", root=real_data, **OFFLINE)
