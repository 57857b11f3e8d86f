"""Files that users bring: what is understood of good ones, and how bad ones are refused."""

import gzip
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import xarray as xr
from explorer import file_reader
from explorer.file_reader import answer
from explorer.your_data import read_files
from own_files import ODD_NAMES, grid, readings, write_places, write_table

from sttrans_core import load_dataset


@pytest.fixture
def tell(tmp_path: Path):
    """Give `tell(readings, places, **options)`: the answer of the reader, without its process."""

    def ask(file: Path, places: Path | str = "", **options: object) -> dict:
        output = tmp_path / "understood.nc"
        request = {"readings": file, "places": str(places), "output": output, "options": options}
        return answer(request)

    return ask


@pytest.fixture
def understood(tmp_path: Path, tell):
    """Give `understood(readings, places, **options)`: the dataset that a good file becomes."""

    def ask(file: Path, places: Path | str = "", **options: object) -> xr.Dataset:
        found = tell(file, places, **options)
        assert found["problem"] == ""
        return load_dataset(tmp_path / "understood.nc")

    return ask


def write_semicolons(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    frame.to_csv(folder / "speeds.csv", sep=";", decimal=",")
    places = write_places(folder / "places.csv", frame, sep=";", decimal=",")
    return folder / "speeds.csv", places


def write_parquet(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    frame.to_parquet(folder / "speeds.parquet")
    return folder / "speeds.parquet", write_places(folder / "places.csv", frame)


def write_gzip(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    frame.to_csv(folder / "speeds.csv.gz")
    return folder / "speeds.csv.gz", write_places(folder / "places.csv.gz", frame)


def write_hdf(folder: Path, frame: pd.DataFrame) -> tuple[Path, Path]:
    with h5py.File(folder / "speeds.h5", "w") as file:
        group = file.create_group("df")
        group["axis0"] = group["block0_items"] = np.array(list(frame.columns), "S")
        group["axis1"] = frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
        group["axis1"].attrs["kind"] = np.bytes_(b"datetime64")
        group["block0_values"] = frame.to_numpy()
    return folder / "speeds.h5", write_places(folder / "places.csv", frame)


@pytest.mark.parametrize(
    "write", [write_table, write_semicolons, write_parquet, write_gzip, write_hdf]
)
def test_tables_of_every_form_are_one_dataset(tmp_path, understood, write):
    frame = readings()
    dataset = understood(*write(tmp_path, frame), units="km/h", quantity="speed")
    assert dataset["node"].values.tolist() == ["a", "b", "c", "d"]
    assert dataset["longitude"].values.tolist() == [4.0, 4.1, 4.2, 4.3]
    np.testing.assert_array_equal(dataset["target"], frame.astype(np.float32))
    named = ("interval", "units", "quantity", "title")
    assert [dataset.attrs[name] for name in named] == ["15min", "km/h", "speed", "speeds"]


def test_one_row_a_reading_and_marks_of_missing_ones(tmp_path, tell, understood):
    frame = readings()
    frame.iloc[3, 1] = -999
    rows = frame.melt(ignore_index=False, var_name="station", value_name="pm25").reset_index()
    rows.to_csv(tmp_path / "air.csv", index=False)
    places = write_places(tmp_path / "places.csv", frame)
    found = tell(tmp_path / "air.csv", places, units="ug/m3")
    assert "A table with one row a reading must come with node= and value=" in found["problem"]
    assert (found["kind"], found["columns"]) == ("table", ["time", "station", "pm25"])
    columns = {"node": "station", "value": "pm25"}
    dataset = understood(tmp_path / "air.csv", places, units="ug/m3", missing=[-999.0], **columns)
    assert np.argwhere(np.isnan(dataset["target"].values)).tolist() == [[3, 1]]


def test_a_grid_a_store_and_a_saved_dataset(tmp_path, tell, understood):
    grid().to_netcdf(tmp_path / "air.nc")
    dataset = understood(tmp_path / "air.nc")
    assert (dataset.sizes["latitude"], dataset.attrs["quantity"]) == (3, "temperature")
    grid().to_zarr(tmp_path / "air.zarr", consolidated=False)
    assert understood(tmp_path / "air.zarr").attrs["title"] == "air"
    dataset.to_netcdf(tmp_path / "saved.nc")
    assert tell(tmp_path / "saved.nc", title="My air")["kind"] == "saved"
    again = load_dataset(tmp_path / "understood.nc")
    assert again.attrs == {**dataset.attrs, "title": "My air"}


def test_a_grid_with_several_readings_asks_which(tmp_path, tell, understood):
    both = grid().assign(u=lambda data: data["t2m"].assign_attrs(units="m/s"))
    both.rename(t2m="v").to_netcdf(tmp_path / "wind.nc")
    found = tell(tmp_path / "wind.nc")
    assert "variable must name the readings to take" in found["problem"]
    assert found["variables"] == ["v", "u"]
    assert understood(tmp_path / "wind.nc", variable="u").attrs["units"] == "m/s"


def test_names_are_taken_as_they_are(tmp_path, understood):
    dataset = understood(*write_table(tmp_path, readings(names=ODD_NAMES)), units="1")
    assert dataset["node"].values.tolist() == ODD_NAMES


def without_places(folder):
    return write_table(folder, readings())[:1]


def archive(folder):
    (folder / "speeds.zip").write_bytes(b"PK")
    return (folder / "speeds.zip",)


def page(folder):
    (folder / "speeds.csv").write_text("<html><script>alert(1)</script></html>\n")
    return folder / "speeds.csv", write_places(folder / "places.csv", readings())


def binary(folder):
    (folder / "speeds.csv").write_bytes(bytes(range(256)) * 9)
    return folder / "speeds.csv", write_places(folder / "places.csv", readings())


def empty(folder):
    (folder / "speeds.csv").touch()
    return folder / "speeds.csv", write_places(folder / "places.csv", readings())


def no_time(folder):
    grid().isel(time=0, drop=True).to_netcdf(folder / "air.nc")
    return (folder / "air.nc",)


def no_units(folder):
    grid()["t2m"].drop_attrs().to_netcdf(folder / "air.nc")
    return (folder / "air.nc",)


def cut_short(folder):
    grid().to_netcdf(folder / "air.nc")
    content = (folder / "air.nc").read_bytes()
    (folder / "air.nc").write_bytes(content[: len(content) // 2])
    return (folder / "air.nc",)


def no_netcdf(folder):
    (folder / "air.nc").write_bytes(b"GRIB and more")
    return (folder / "air.nc",)


def declares_much(folder):
    with h5py.File(folder / "air.nc", "w") as file:
        file.create_dataset("t2m", (10**6, 10**3, 10**3), "f4", chunks=(1, 10, 10))
    assert (folder / "air.nc").stat().st_size < 10_000
    return (folder / "air.nc",)


def declares_much_as_table(folder):
    with h5py.File(folder / "speeds.h5", "w") as file:
        file.create_dataset("df/block0_values", (10**9, 10**3), "f8", chunks=(100, 100))
    return folder / "speeds.h5", write_places(folder / "places.csv", readings())


def readings_elsewhere(folder):
    secret = folder / "secret"
    secret.write_bytes(b"password")
    with h5py.File(folder / "air.nc", "w") as file:
        file.create_dataset("t2m", (8,), "i1", external=[(str(secret), 0, 8)])
    return (folder / "air.nc",)


def group_elsewhere(folder):
    grid().to_netcdf(folder / "other.nc")
    with h5py.File(folder / "air.nc", "w") as file:
        file["t2m"] = h5py.ExternalLink(str(folder / "other.nc"), "/t2m")
    return (folder / "air.nc",)


def pickled(folder):
    with h5py.File(folder / "speeds.h5", "w") as file:
        group = file.create_group("df")
        group["axis0"] = group["block0_items"] = np.array([b"a"])
        group["axis1"] = np.arange(3)
        group["axis1"].attrs["kind"] = np.bytes_(b"datetime64")
        values = group.create_dataset("block0_values", (1,), h5py.vlen_dtype(np.uint8))
        values[0] = np.frombuffer(b"cos\nsystem\n(S'touch pwned'\ntR.", np.uint8)
    return folder / "speeds.h5", write_places(folder / "places.csv", readings())


def a_book(folder):
    (folder / "speeds.csv").write_text(f"time,a\n2024-01-01,{'x' * 100_000}\n2024-01-02,1\n")
    return folder / "speeds.csv", write_places(folder / "places.csv", readings())


def damaged_gzip(folder):
    (folder / "speeds.csv.gz").write_bytes(gzip.compress(b"time,a\n" * 99)[:-20])
    return folder / "speeds.csv.gz", write_places(folder / "places.csv", readings())


def gone(folder):
    return (folder / "gone.nc",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (without_places, "A table must come with the places of its sensors; got none. Choose"),
        (archive, r"must be a table \(.csv, .* or a grid \(.nc\); got speeds.zip. Unpack it"),
        (page, "The time stamps must be in one column of speeds.csv, such as 'time'; got the"),
        (binary, "speeds.csv must be text in UTF-8; got byte 0x"),
        (empty, "speeds.csv must be a complete table; got No columns to parse from file"),
        (no_time, "A grid must hold readings over time, latitude and longitude, .* got t2m"),
        (no_units, "Readings must have a unit; got 't2m' without units in air.nc"),
        (cut_short, "air.nc must be a whole NetCDF file; got one that cannot be read"),
        (no_netcdf, "A file of a grid must be NetCDF or a zarr store; got air.nc, which starts"),
        (declares_much, r"must hold at most 100,000,000 readings; got 1,000,000,000,000\. Keep"),
        (declares_much_as_table, "speeds.h5 must hold at most .* got 1,000,000,000,000"),
        (readings_elsewhere, "must hold all its readings itself; got 't2m', which lies in another"),
        (group_elsewhere, "must hold all its readings itself; got 't2m', which lies in another"),
        (pickled, "Readings must be numbers in speeds.h5.*which is how text is stored"),
        (damaged_gzip, "speeds.csv.gz must be a complete gzip file; got Compressed file ended"),
        (a_book, "^Readings must be finite numbers in speeds.csv; got 'x{200,300} ... x{100,300}'"),
        (gone, "A file of a grid must exist; got .*gone.nc, which does not"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, tell, write, message):
    found = tell(*write(tmp_path), **({} if write is no_units else {"units": "K"}))
    assert re.search(message, found["problem"]), found["problem"]
    assert not (tmp_path / "understood.nc").exists()


def test_what_unpacks_to_much_is_refused_as_soon_as_it_does(tmp_path, tell, monkeypatch):
    monkeypatch.setattr(file_reader, "LARGEST_CONTENT", 3 << 20)
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as bomb:
        bomb.write(bytes(100 << 20))
    places = write_places(tmp_path / "places.csv", readings())
    assert (tmp_path / "bomb.csv.gz").stat().st_size < 200_000
    assert "must unpack to at most" in tell(tmp_path / "bomb.csv.gz", places)["problem"]
    (tmp_path / "bomb.csv.gz").rename(tmp_path / "places.csv.gz")
    table = write_table(tmp_path, readings())[0]
    assert "places.csv.gz must unpack" in tell(table, tmp_path / "places.csv.gz")["problem"]


def test_a_parquet_file_of_many_readings_is_refused_by_its_own_count(tmp_path, tell, monkeypatch):
    monkeypatch.setattr(file_reader, "MOST_READINGS", 400)
    found = tell(*write_parquet(tmp_path, readings()), units="1")
    # 96 steps at 4 places, with a column of times.
    assert "speeds.parquet must hold at most 400 readings; got 480." in found["problem"]


@pytest.mark.slow
def test_reading_in_a_process_of_its_own(tmp_path):
    table, places = write_table(tmp_path, readings())
    found = read_files(table, places, {"units": "km/h"}, folder=tmp_path)
    assert (found.problem, found.kind, found.columns[0]) == ("", "table", "time")
    assert found.dataset.sizes == {"time": 96, "node": 4}
    found = read_files(table, places, {}, folder=tmp_path)
    assert "Readings must have a unit; got none." in found.problem
    assert found.hint == "Write the unit in the form."
    assert found.dataset is None
    assert not (tmp_path / "understood.nc").exists(), "that of the file before is gone"


@pytest.mark.slow
def test_a_bomb_ends_no_more_than_the_process_that_reads_it(tmp_path):
    # A megabyte of text that 10,000 rows share, which takes 10 GB once each has its own.
    text = pa.DictionaryArray.from_arrays(np.zeros(10_000, np.int32), ["x" * 1_000_000])
    times = pa.array(pd.date_range("2024-01-01", periods=10_000, freq="1min"))
    table = pa.table({"time": times, "a": text})
    pa.parquet.write_table(table, tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    places = write_places(tmp_path / "places.csv", readings())
    found = read_files(tmp_path / "bomb.parquet", places, {"units": "1"}, folder=tmp_path)
    assert found.dataset is None
    assert "must take at most 4 GB of memory; got a file that takes more" in found.problem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os; os.abort()", "must be a file that can be read; got one that ends the process"),
        ("while True: pass", "A file must be read within 3 minutes; got speeds.csv"),
    ],
)
def test_a_process_that_dies_or_never_ends(tmp_path, monkeypatch, script, message):
    # Libraries can be brought to that by damaged files, but by none that is known here.
    (tmp_path / "reader.py").write_text(script)
    monkeypatch.setattr("explorer.your_data.READER", tmp_path / "reader.py")
    if "while" in script:
        monkeypatch.setattr("explorer.your_data.SECONDS", 0.5)
        message = message.replace("3 minutes", "0.*minutes")
    found = read_files(*write_table(tmp_path, readings()), {}, folder=tmp_path)
    assert re.search(message, found.problem), found.problem
