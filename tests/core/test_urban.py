"""The registered datasets of cities: how they are found, and that they are what the list says."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from taxi_samples import write_table, write_trips, write_zones

from sttrans_core.data import list_datasets, load_dataset
from sttrans_core.data.download import cache_folder
from sttrans_core.data.urban import URBAN

TABLE = "yellow_hourly_zone_2023-01.parquet"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's data out of the search."""
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)


def _marked(folder: Path, mark: int, name: str = TABLE) -> Path:
    """Write a table whose first count tells which one was loaded."""
    write_zones(folder)
    return write_table(folder / name, [("2023-01-01T00:00", 1, mark)])


def _mark(dataset: object) -> float:
    return float(dataset["target"].values[0, 0])


def test_the_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"download": False}
    _marked(cache_folder("nyc-taxi"), 1)
    assert _mark(load_dataset("nyc-taxi", **options)) == 1
    env = tmp_path / "env"
    _marked(env, 2)
    monkeypatch.setenv("STTRANS_DATA", str(env))
    assert _mark(load_dataset("nyc-taxi", **options)) == 2
    _marked(env / "NYC_Taxi", 3)
    assert _mark(load_dataset("nyc-taxi", **options)) == 3
    root = tmp_path / "root"
    _marked(root / "nyc-taxi", 4)
    assert _mark(load_dataset("nyc-taxi", root=root, **options)) == 4
    file = _marked(tmp_path / "path", 5)
    assert _mark(load_dataset("nyc-taxi", path=file.parent, root=root, **options)) == 5
    other = _marked(tmp_path / "path", 6, "my_2023-01.parquet")
    assert _mark(load_dataset("nyc-taxi", path=str(other), **options)) == 6


def test_a_taxi_series_has_its_interval_wherever_it_comes_from(tmp_path: Path) -> None:
    folder = write_zones(tmp_path / "nyc-taxi")
    trips = [("2023-01-01T00:10", None, 2, 2), ("2023-01-01T00:50", None, 2, 2)]
    file = write_trips(folder / "yellow_tripdata_2023-01.parquet", trips)
    by_hour = load_dataset("nyc-taxi", root=tmp_path, download=False)
    assert (by_hour.attrs["interval"], _mark(by_hour)) == ("1h", 2)
    assert load_dataset("nyc-taxi", path=folder).attrs["interval"] == "1h"
    # A file that is named decides by itself.
    assert load_dataset("nyc-taxi", path=file).attrs["interval"] == "30min"
    # Where there is a table of the same month, it is taken; the other service is not in the way.
    write_trips(folder / "green_tripdata_2023-01.parquet", trips, service="green")
    _marked(folder, 7)
    assert _mark(load_dataset("nyc-taxi", root=tmp_path)) == 7


def test_months_and_zones_are_downloaded_once(tmp_path: Path, monkeypatch) -> None:
    asked = []

    def fetch(address: str, scratch: Path, *, progress: bool) -> Path:
        asked.append(address.rsplit("/", 1)[1])
        month = asked[-1].removesuffix(".parquet")[-7:]
        return write_trips(scratch / asked[-1], [(f"{month}-01", None, 1, 1)], service="green")

    monkeypatch.setattr("sttrans_core.data.download._fetch", fetch)
    write_zones(cache_folder("nyc-taxi"))
    dataset = load_dataset("nyc-taxi-green")
    names = [f"green_tripdata_2023-0{month}.parquet" for month in (1, 2, 3)]
    assert asked == names
    assert dataset.sizes == {"time": 90 * 48, "node": 1}
    assert dataset.attrs["notes"].count("Downloaded 20") == 3
    (cache_folder("nyc-taxi") / "green-tripdata-2023-02.parquet").unlink()
    assert load_dataset("nyc-taxi-green").identical(dataset)
    assert asked == [*names, names[1]]
    assert load_dataset("nyc-taxi-green", download=False).identical(dataset)


def test_nowhere_names_everything_that_was_tried(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "sttrans"
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("nyc-taxi", download=False)
    assert str(caught.value) == (
        "nyc-taxi must be in one of the folders searched; got no "
        "yellow-hourly-zone-2023-01.parquet "
        f"or yellow-tripdata-2023-01.parquet in STTRANS_DATA (not set); {cache / 'nyc-taxi'}. Take "
        "it from the trip record page of the NYC TLC, or allow the download with download=True."
    )
    with pytest.raises(FileNotFoundError, match=r"got https://d37ci6vzurychx\S* \(no connection\)"):
        load_dataset("nyc-taxi")
    root = tmp_path / "root"
    (root / "beijing-air").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("beijing-air", root=root)
    assert (
        f"in {root / 'beijing-air'}; {root}; {cache / 'beijing-air'}. Take it from data set "
        in (str(caught.value))
    )
    with pytest.raises(FileNotFoundError, match="root must name an existing folder"):
        load_dataset("nyc-bike", root=tmp_path / "gone")


def test_a_path_that_does_not_hold_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="path must be an existing file or folder; got"):
        load_dataset("nyc-bike", path=tmp_path / "gone")
    with pytest.raises(
        FileNotFoundError, match=r"must hold nycbike1\S* got \S* with nothing. Pass"
    ):
        load_dataset("nyc-bike", path=tmp_path)
    (tmp_path / "green_tripdata_2023-01.parquet").touch()
    with pytest.raises(
        FileNotFoundError,
        match=r"green-tripdata-2023-01.parquet with green-tripdata-2023-02\S* with green\S*; got "
        r".* with green_tripdata_2023-01.parquet. Pass .*, or several months to load_trips.",
    ):
        load_dataset("nyc-taxi-green", path=tmp_path)


@cache
def _real(name: str, root: Path) -> xr.Dataset:
    return load_dataset(name, root=root, download=False)


@pytest.mark.parametrize("name", ["nyc-taxi", "nyc-taxi-green", "beijing-air", "nyc-bike"])
def test_the_list_says_what_is_loaded(name: str, real_data: Path) -> None:
    dataset, card = _real(name, real_data), list_datasets()[name]
    assert card["steps"] == dataset.sizes["time"]
    assert card["nodes"] == dataset.sizes["node"]
    assert card["interval"] == dataset.attrs["interval"]
    assert card["units"] == dataset.attrs["units"]
    assert card["synthetic"] is False
    missing = 100 * float(np.isnan(dataset["target"]).mean())
    assert card["missing_percent"] == pytest.approx(missing, abs=0.05)


def test_every_series_is_registered() -> None:
    assert set(URBAN) <= set(list_datasets())
    with pytest.raises(
        ValueError, match="pems-bay, nyc-taxi, nyc-taxi-green, beijing-air, nyc-bike"
    ):
        load_dataset("nyc")


def test_real_air(real_data: Path) -> None:
    dataset = _real("beijing-air", real_data)
    assert dict(dataset.sizes) == {"time": 35_064, "node": 12, "covariate": 12}
    assert dataset["time"].values[-1] == np.datetime64("2017-02-28T23:00")
    # The first rows of the first file: 4, 8, 7, 6 at Aotizhongxin, wind NNW at 4.4 m/s.
    first = dataset.sel(node="Aotizhongxin").isel(time=0)
    assert float(first["target"]) == 4
    angle = np.deg2rad(337.5)
    wind = first["covariates"].sel(covariate=["wind_east", "wind_north"]).values
    expected = [-4.4 * np.sin(angle), -4.4 * np.cos(angle)]
    np.testing.assert_allclose(wind, expected, rtol=1e-5)
    assert float(np.isnan(dataset["target"]).mean()) == pytest.approx(0.0208, abs=1e-4)
    # The network lies within 70 km of the city's middle.
    assert float(abs(dataset["latitude"] - 40).max()) < 0.5


def test_real_bikes_go_to_work_in_the_morning(real_data: Path) -> None:
    dataset = _real("nyc-bike", real_data)
    target = dataset["target"]
    assert dict(target.sizes) == {"time": 1369, "node": 128, "channel": 2}
    # 47 cells lie over water or beyond the network, and stay empty.
    assert int((target.sum(("time", "channel")) == 0).sum()) == 47
    # On working days at 8, arrivals exceed departures in the Financial District (40.707 N,
    # 74.010 W); around Penn Station (40.7505 N, 73.9934 W), and where people live in the East
    # Village (40.725 N, 73.980 W), it is the other way round.
    is_morning = (target["time"].dt.hour == 8) & (target["time"].dt.dayofweek < 5)
    mean = target[is_morning.values].mean("time")
    net = (mean.sel(channel="inflow") - mean.sel(channel="outflow")).values

    def at(latitude: float, longitude: float) -> float:
        away = np.hypot(dataset["latitude"] - latitude, 0.76 * (dataset["longitude"] - longitude))
        return float(net[int(np.argmin(away.values))])

    assert at(40.707, -74.010) > 10
    assert at(40.7505, -73.9934) == net.min()
    assert at(40.725, -73.980) < -20
