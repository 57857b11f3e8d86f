"""Datasets that users saved: read back as they were, and refused where they are something else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from data_samples import Command
from small_runs import dataset_of, rhythm

from sttrans_core.data import data_card, from_table, load_dataset
from sttrans_core.data.saved import absolute_name
from sttrans_core.schema import SchemaError


def _own() -> xr.Dataset:
    index = pd.date_range("2024-01-01", periods=7, freq="15min")
    values = np.arange(21.0).reshape(7, 3)
    values[2, 1] = np.nan
    table = pd.DataFrame(values, index=index, columns=["north", "mid", "s"])
    places = pd.DataFrame({"id": ["s", "north", "mid"], "lat": [52.0, 52.2, 52.1], "lon": 4.0})
    return from_table(table, places, units="ug/m3", quantity="PM2.5", title="Three roofs")


@pytest.mark.parametrize("kind", [str, Path])
def test_what_was_saved_comes_back(tmp_path: Path, kind: type) -> None:
    own = _own()
    own.to_netcdf(tmp_path / "own.nc")
    again = load_dataset(kind(tmp_path / "own.nc"))
    xr.testing.assert_identical(again, own)
    assert again["node"].dtype == own["node"].dtype
    assert again["target"].dtype == np.float32
    assert data_card(again)["title"] == "Three roofs"
    (tmp_path / "own.nc").unlink()  # in memory, the file is closed
    assert float(again["target"][0, 2]) == 2.0


def test_an_adjacency_comes_back(tmp_path: Path) -> None:
    own = rhythm(nodes=5).assign(adjacency=(("node", "to_node"), np.eye(5, dtype=np.float32)))
    own = own.assign_coords(to_node=own["node"].values)
    own.to_netcdf(tmp_path / "own.nc")
    xr.testing.assert_identical(load_dataset(str(tmp_path / "own.nc")), own)


def test_a_netcdf_3_file_is_read(tmp_path: Path) -> None:
    own = _own()
    own.to_netcdf(tmp_path / "own.nc", engine="scipy")
    assert (tmp_path / "own.nc").read_bytes()[:3] == b"CDF"
    again = load_dataset(str(tmp_path / "own.nc"))
    xr.testing.assert_equal(again, own)


def test_a_name_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _own().to_netcdf(tmp_path / "own.NC")
    assert load_dataset("~/own.NC").sizes["node"] == 3
    assert absolute_name("~/own.NC") == str(tmp_path / "own.NC")
    monkeypatch.chdir(tmp_path)
    assert absolute_name("data/own.nc") == str(tmp_path / "data" / "own.nc")
    assert absolute_name("metr-la") == "metr-la"


def test_files_that_are_no_netcdf_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.nc"
    with pytest.raises(FileNotFoundError, match=rf"saved dataset must exist; got {path}, which do"):
        load_dataset(str(path))
    _own().to_netcdf(path)
    half = path.read_bytes()[: path.stat().st_size // 2]
    for content in (b"", b"time,a\n2024-01-01,1\n", half, b"CDF\x01broken"):
        path.write_bytes(content)
        message = r"own\.nc must be a whole NetCDF file; got one that cannot be read \(\w+\)\. Save"
        with pytest.raises(SchemaError, match=message):
            load_dataset(str(path))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "own.nc"
    path.write_bytes(pickle.dumps(Command(f"touch {tmp_path / 'trace'}")))
    with pytest.raises(SchemaError, match="must be a whole NetCDF file"):
        load_dataset(str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(target="speed"), r"variable 'target'; got \['speed'\]\. Build"),
        (lambda d: d.transpose("node", "time"), r"'target' must have the dims \('time', 'node'\)"),
        (lambda d: d.assign_coords(node=range(3)), r"Node ids must be text; got int64"),
        (lambda d: d.isel(time=[0, 1, 3]), r"interval between times must be constant"),
        (lambda d: d.drop_vars("latitude"), r"must have the coordinate 'latitude' along 'node'"),
        (lambda d: d.drop_vars("time"), r"'time' must hold time stamps \(datetime64\); got int64"),
        (
            lambda d: d.assign_coords(latitude=("node", ["a", "b", "c"])),
            r"'latitude' must hold numbers; got .*\. Convert it to degrees",
        ),
        (
            lambda d: d.assign_attrs(interval="soon"),
            r"must be the interval of 'time'; got 'soon' with times 0 days 00:15:00 apart",
        ),
        (lambda d: d.assign_attrs(interval=15), r"must be the interval of 'time'; got .*15"),
    ],
)
def test_a_broken_contract_names_the_file(tmp_path: Path, change, message: str) -> None:
    change(_own()).to_netcdf(tmp_path / "own.nc")
    with pytest.raises(SchemaError, match=rf"^In own\.nc: .*{message}"):
        load_dataset(str(tmp_path / "own.nc"))


def test_a_path_beside_a_file_is_refused(tmp_path: Path) -> None:
    dataset_of(np.ones((3, 2))).to_netcdf(tmp_path / "own.nc")
    message = r"path must be None for a dataset that is a file itself; got path='a\.csv' beside '.*"
    with pytest.raises(ValueError, match=message):
        load_dataset(str(tmp_path / "own.nc"), path="a.csv")
