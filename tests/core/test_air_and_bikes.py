"""Beijing's air and NYC's bikes: covariates, channels, gaps, and archives that are refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sttrans_core.data import data_card
from sttrans_core.data.air import load_beijing_air
from sttrans_core.data.bikes import load_nyc_bike

WEATHER = {"SO2": 4.0, "NO2": 7.0, "CO": 300.0, "O3": 77.0, "TEMP": -0.7, "PRES": 1023.0}
WEATHER |= {"DEWP": -18.8, "RAIN": 0.0}


def _station(name: str, **changes: object) -> pd.DataFrame:
    """Give five hours over midnight of a leap day, with one gap."""
    time = pd.date_range("2016-02-28 22:00", periods=5, freq="h")
    table = pd.DataFrame(
        {
            "No": range(1, 6),
            **{part: getattr(time, part) for part in ("year", "month", "day", "hour")},
            "PM2.5": [3.0, 5.0, np.nan, 7.0, 11.0],
            "PM10": 13.0,
            **WEATHER,
            "wd": ["N", "E", "SW", None, "NNW"],
            "WSPM": [2.0, 3.0, 1.0, 1.0, 0.0],
            "station": name,
        }
    )
    return table.assign(**changes)


def _archive(path: Path, tables: dict[str, pd.DataFrame | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, table in tables.items():
            text = table if isinstance(table, str) else table.to_csv(index=False)
            archive.writestr(name, text)
    return path


def _name(station: str) -> str:
    return f"PRSA_Data_20130301-20170228/PRSA_Data_{station}_20130301-20170228.csv"


def _air(tmp_path: Path, **changes: object) -> Path:
    tables = {name: _station(name) for name in ("Dongsi", "Changping")}
    tables["Dongsi"] = _station("Dongsi", **changes)
    named = {_name(name): table for name, table in tables.items()}
    return _archive(tmp_path / "PRSA_Data.zip", {**named, "readme.txt": "read me"})


def test_stations_with_covariates_and_wind_as_a_vector(tmp_path: Path) -> None:
    dataset = load_beijing_air(_air(tmp_path))
    assert dataset["node"].values.tolist() == ["Dongsi", "Changping"]
    assert dataset["target"].dims == ("time", "node")
    pm = dataset["target"].sel(node="Dongsi").values
    assert np.array_equal(pm, [3, 5, np.nan, 7, 11], equal_nan=True)
    assert dataset["time"].values[2] == np.datetime64("2016-02-29T00:00")
    covariates = dataset["covariates"]
    assert covariates.dims == ("time", "node", "covariate")
    assert covariates.dtype == np.float32
    assert covariates["covariate"].values.tolist() == [
        *("PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN", "WSPM"),
        *("wind_east", "wind_north"),
    ]
    assert covariates["covariate_units"].values.tolist() == [
        *["ug/m3"] * 5,
        *("degC", "hPa", "degC", "mm"),
        *["m/s"] * 3,
    ]
    assert covariates.sel(covariate="TEMP").values[0].tolist() == [np.float32(-0.7)] * 2
    # From N at 2 m/s: southward. From E at 3: westward. From SW at 1: to the north-east, with
    # components of 1 / sqrt(2). Unknown direction: missing. Calm: 0 in both.
    wind = covariates.sel(node="Dongsi", covariate=["wind_east", "wind_north"]).values
    half = np.sqrt(0.5)
    expected = [[0, -2], [-3, 0], [half, half], [np.nan, np.nan], [0, 0]]
    np.testing.assert_allclose(wind, expected, atol=1e-6)
    assert (dataset.attrs["units"], dataset.attrs["quantity"]) == ("ug/m3", "PM2.5")
    assert dataset.attrs["valid_min"] == 0
    assert dataset.attrs["title"] == "Beijing, PM2.5 at 2 stations, 2016-02-28 to 2016-02-29"
    assert "PM10, SO2" in data_card(dataset)["covariates"]


def test_places_of_the_stations(tmp_path: Path) -> None:
    archive = _air(tmp_path)
    dataset = load_beijing_air(archive)
    assert dataset["latitude"].values.tolist() == [39.929, 40.217]
    assert dataset["longitude"].values.tolist() == [116.417, 116.230]
    table = "station,latitude,longitude\nChangping,40.5,116.5\nDongsi,39.5,116.25\n"
    (tmp_path / "station_coordinates.csv").write_text(table)
    assert load_beijing_air(archive)["latitude"].values.tolist() == [39.5, 40.5]
    (tmp_path / "station_coordinates.csv").write_text("station,latitude,longitude\nX,40,116\n")
    with pytest.raises(ValueError, match="must have a location in the places of the stations"):
        load_beijing_air(archive)


def test_absent_hours_are_missing(tmp_path: Path) -> None:
    tables = {_name("Dongsi"): _station("Dongsi").drop(index=[1])}
    dataset = load_beijing_air(_archive(tmp_path / "air.zip", tables))
    assert dataset.sizes["time"] == 5
    assert np.isnan(dataset["target"].values[1]).all()
    assert np.isnan(dataset["covariates"].values[1]).all()
    assert "Absent rows put in as missing readings: 1." in dataset.attrs["notes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wd": "up"}, r"from one of N, NNE.* in PRSA_Data_Dongsi\S*; got 'up'"),
        ({"PM2.5": "<b>5</b>"}, r"finite numbers in PRSA_Data_Dongsi\S*; got '<b>5</b>'"),
        ({"TEMP": np.inf}, "must be finite numbers .*inf.* in column 'TEMP'"),
        ({"station": list("abcde")}, "readings of one station .*got 5 rows without one station"),
        ({"station": "Changping"}, "must have one table in .*; got two of 'Changping'"),
        ({"month": 13}, "must hold at least 2 time steps, each with a time"),
        (
            {"hour": [22, 22, 0, 1, 2]},
            "strictly increasing in .*got 2016-02-28 22:00:00 twice",
        ),
    ],
)
def test_tables_that_are_no_readings(tmp_path: Path, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        load_beijing_air(_air(tmp_path, **changes))


def test_archives_that_are_refused(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "air.zip"
    table = _station("Dongsi")
    with pytest.raises(ValueError, match=r"got 5 rows without O3, wd\. Use the archive"):
        load_beijing_air(_archive(path, {_name("Dongsi"): table.drop(columns=["O3", "wd"])}))
    with pytest.raises(ValueError, match="must be a CSV table; got No columns"):
        load_beijing_air(_archive(path, {_name("Dongsi"): ""}))
    with pytest.raises(
        ValueError, match=r"must hold tables named PRSA_Data_STATION.*inner archive"
    ):
        load_beijing_air(_archive(path, {"other.csv": table}))
    with pytest.raises(ValueError, match=r"keep to its own folder; got the member '\.\./PRSA"):
        load_beijing_air(_archive(path, {"../PRSA_Data_Dongsi.csv": table}))
    whole = _archive(path, {_name("Dongsi"): table}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"air.zip must be a complete zip archive.*Fetch it again"):
        load_beijing_air(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"air.zip must be a complete zip archive.*Fetch it again"):
        load_beijing_air(path)
    monkeypatch.setattr("sttrans_core.data.archives._LARGEST_CONTENT", 10_000)
    with pytest.raises(ValueError, match=r"at most 10,000 bytes; got 1,000,0\d\d bytes unpacked"):
        load_beijing_air(_archive(path, {_name("Dongsi"): "0" * 1_000_000, "x": "0" * 9}))
    with pytest.raises(FileNotFoundError, match=r"An archive must exist; got .*gone.zip"):
        load_beijing_air(tmp_path / "gone.zip")


HOURS = np.datetime64("2014-08-04T23", "ns") + np.arange(3) * np.timedelta64(1, "h")


def _bikes(path: Path, **arrays: np.ndarray) -> Path:
    flows = np.arange(3 * 128 * 2, dtype=float).reshape(3, 128, 2)
    np.savez(path, **{"data": flows, "time": HOURS.astype(np.int64), **arrays})
    return path


def test_cells_run_from_the_north_west_by_rows(tmp_path: Path) -> None:
    dataset = load_nyc_bike(_bikes(tmp_path / "bikes.npz"))
    assert dataset["target"].dims == ("time", "node", "channel")
    assert dataset["channel"].values.tolist() == ["inflow", "outflow"]
    assert dataset["time"].values.tolist() == HOURS.tolist()
    # The tenth cell is the second one of the second row of eight.
    cell = dataset.sel(node="row 2, column 2")
    assert cell["target"].values[0].tolist() == [18, 19]
    assert dataset["node"].values[9] == "row 2, column 2"
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    assert np.all(np.diff(latitude.reshape(16, 8)[:, 0]) < 0)
    assert np.all(np.diff(longitude.reshape(16, 8)[0]) > 0)
    assert "states no coordinates" in dataset.attrs["notes"]
    assert dataset.attrs["valid_min"] == 0
    assert data_card(dataset)["channels"] == "inflow, outflow"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"data": np.zeros((3, 64, 2))},
            r"of the shape \(time, 128, 2\) .*got data float64 \(3, 6",
        ),
        ({"data": np.zeros((2, 128, 2))}, "with as many times"),
        ({"data": np.full((3, 128, 2), "9")}, "must hold numbers of the shape"),
        ({"time": np.zeros((3, 1))}, "must hold numbers of the shape"),
        ({"data": np.full((3, 128, 2), -1)}, "Flows must be at least 0, .*got -1 in 3 hours"),
        ({"data": np.full((3, 128, 2), None)}, "plain arrays data and time; got Object arrays"),
        ({"time": HOURS[[0, 2, 1]]}, "strictly increasing|must be constant"),
    ],
)
def test_arrays_that_are_no_flows(tmp_path: Path, arrays, message) -> None:
    with pytest.raises(ValueError, match=message):
        load_nyc_bike(_bikes(tmp_path / "bikes.npz", **arrays))


def test_files_that_are_no_flows(tmp_path: Path) -> None:
    path = tmp_path / "bikes.npz"
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match="must hold the plain arrays data and time; got 'data is"):
        load_nyc_bike(path)
    path.write_bytes(_bikes(path).read_bytes()[:500])
    with pytest.raises(ValueError, match=r"bikes.npz must be a complete zip archive"):
        load_nyc_bike(path)
    # A header that announces more than follows.
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (3, 128, 2)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", header.getvalue() + bytes(100))
        archive.writestr("time.npy", header.getvalue())
    with pytest.raises(ValueError, match="must hold the plain arrays data and time; got EOF"):
        load_nyc_bike(path)
