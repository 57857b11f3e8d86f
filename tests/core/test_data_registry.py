"""Registered datasets: where they are looked for, in which order, and what is said if nowhere."""

import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import SENSORS, STEPS, fingerprint, speeds, write_folder, write_hdf

from sttrans_core.data import data_card, list_datasets, load_dataset
from sttrans_core.data.download import cache_folder
from sttrans_core.data.published import METR_LA, METR_LA_10
from sttrans_core.data.urban import URBAN
from sttrans_core.data.weather import WEATHER
from sttrans_core.schema import check_dataset


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's data out of the search."""
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "xdg" / name)


def _marked(folder: Path, mark: float, *, name: str = "metr-la.h5") -> Path:
    """Write a folder whose first reading tells which one was loaded."""
    frame = speeds()
    frame.iloc[0, 0] = mark
    return write_folder(folder, frame, name=name)


def _mark(dataset: object) -> float:
    return float(dataset["target"].values[0, 0])


def test_the_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"download": False}
    _marked(cache_folder(METR_LA), 1.0)
    assert _mark(load_dataset("metr-la", **options)) == 1.0
    env = tmp_path / "env"
    _marked(env, 2.0, name="METR-LA.h5")
    monkeypatch.setenv("STTRANS_DATA", str(env))
    assert _mark(load_dataset("metr-la", **options)) == 2.0
    _marked(env / "METR_LA", 3.0)
    assert _mark(load_dataset("metr-la", **options)) == 3.0
    root = tmp_path / "root"
    _marked(root / "metr-la", 4.0)
    assert _mark(load_dataset("metr-la", root=root, **options)) == 4.0
    path = _marked(tmp_path / "path", 5.0)
    assert _mark(load_dataset("metr-la", path=path, root=root, **options)) == 5.0
    file = path / "metr-la.h5"
    assert _mark(load_dataset("metr-la", path=str(file), **options)) == 5.0


def test_ten_sensors_come_from_their_own_folder_or_the_whole_series(tmp_path: Path) -> None:
    whole = cache_folder(METR_LA_10)
    assert whole == cache_folder(METR_LA)
    write_folder(whole, speeds(sensors=13))
    assert load_dataset("metr-la-10", download=False).sizes["node"] == 10
    root = tmp_path / "root"
    _marked(root / "metr-la-10", 7.0)
    assert _mark(load_dataset("metr-la-10", root=root, download=False)) == 7.0


def test_a_file_of_any_name_and_the_graph_from_the_cache(tmp_path: Path) -> None:
    write_folder(cache_folder(METR_LA), speeds())
    file = write_hdf(tmp_path / "my readings.hdf", speeds())
    before = fingerprint(tmp_path)
    assert load_dataset("metr-la", path=file, download=False)["target"].shape == (STEPS, SENSORS)
    assert fingerprint(tmp_path) == before


def test_a_damaged_file_in_the_cache_is_noticed() -> None:
    folder = write_folder(cache_folder(METR_LA), speeds())
    (folder / "metr-la.h5.sha256").write_text("# Downloaded 2024-01-01 from x\n00  metr-la.h5\n")
    with pytest.raises(ValueError, match=r"must have the sha256 that metr-la.h5.sha256 recorded"):
        load_dataset("metr-la", download=False)


def test_nowhere_names_everything_that_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("pems-bay", download=False)
    assert "got no pems-bay.h5 or .csv in STTRANS_DATA (not set)" in str(caught.value)
    assert str(tmp_path / "xdg" / "sttrans" / "pems-bay") in str(caught.value)
    root = tmp_path / "root"
    (root / "pems-bay").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("pems-bay", root=root)
    cache = tmp_path / "xdg" / "sttrans" / "pems-bay"
    assert (
        "pems-bay must be in a folder searched, or reachable at one of its addresses to be "
        f"downloaded; got nothing in {root / 'pems-bay'}; {root}; {cache}, and at https://hugg"
    ) in str(caught.value)
    assert "huggingface.co" in str(caught.value)
    assert "zenodo.org/records/5146275/files/PEMS-BAY.csv" in str(caught.value)
    file = write_hdf(tmp_path / "metr-la.h5", speeds())
    with pytest.raises(FileNotFoundError, match=r"sensor graph of metr-la.*raw.githubusercontent"):
        load_dataset("metr-la", path=file)
    with pytest.raises(FileNotFoundError, match="needs the sensor locations beside it"):
        load_dataset("metr-la", path=file, download=False)


def test_a_part_that_cannot_be_fetched_is_one_sentence_of_its_own_name() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("metr-la-10")
    message = str(caught.value)
    assert message.startswith("metr-la-10 must be in a folder searched, or reachable at one of its")
    assert message.count("(no connection)") == 2
    # Without the folder of this machine, which may be long.
    assert len(message.replace(str(cache_folder(METR_LA)), "")) < 500


def test_folders_that_do_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(
        FileNotFoundError, match=r"path must be an existing file or folder; got .*g"
    ):
        load_dataset("metr-la", path=gone)
    with pytest.raises(FileNotFoundError, match=r"root must name an existing folder; got .*gone"):
        load_dataset("metr-la", root=gone)
    monkeypatch.setenv("STTRANS_DATA", str(gone))
    with pytest.raises(FileNotFoundError, match=r"STTRANS_DATA must name an existing folder; got"):
        load_dataset("metr-la")
    gone.mkdir()
    (gone / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"must hold metr-la.h5 or .csv; got .*notes.txt"):
        load_dataset("metr-la", path=gone)


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of metr-la, .*; got 'metrla'"):
        load_dataset("metrla")
    with pytest.raises(ValueError, match=r"NetCDF file that ends in \.nc; got 'own'\. For your"):
        load_dataset("own", path="speeds.csv")
    with pytest.raises(ValueError, match=r"path must be None for simulated-freeway.*got path='x'"):
        load_dataset("simulated-freeway", path="x")


def test_the_list_says_what_is_loaded() -> None:
    cards = list_datasets()
    simulated = ["simulated-freeway", "simulated-weather"]
    assert list(cards) == ["metr-la", "metr-la-10", "pems-bay", *URBAN, *WEATHER, *simulated]
    weather = data_card(load_dataset("simulated-weather"))
    for name in ("steps", "nodes", "interval", "units", "grid"):
        assert weather[name] == cards["simulated-weather"][name]
    dataset = check_dataset(load_dataset("simulated-freeway"))
    card = cards["simulated-freeway"]
    assert dataset.sizes["time"] == card["steps"]
    assert dataset.sizes["node"] == card["nodes"]
    assert dataset.attrs["interval"] == card["interval"]
    assert dataset.attrs["units"] == card["units"]
    assert dataset.attrs["synthetic"] == 1
    missing = 100 * np.isnan(dataset["target"].values).mean()
    assert missing == pytest.approx(card["missing_percent"], abs=0.5)


def test_the_card_of_a_dataset(tmp_path: Path) -> None:
    card = data_card(load_dataset("metr-la", path=write_folder(tmp_path, speeds()), download=False))
    assert card["steps"] == STEPS
    assert card["nodes"] == SENSORS
    assert card["interval"] == "5min"
    assert (card["first"], card["last"]) == ("2012-03-01 00:00:00", "2012-03-01 01:00:00")
    assert card["missing"] == "1.5 %"  # one of 13 x 5
    assert (card["lowest"], card["highest"]) == ("20.0", "28.0")  # 20 + 64 / 8
    assert card["units"] == "mph"
    assert "Caltrans" in card["licence"]
    assert "ICLR 2018" in card["citation"]
    assert card["simulated"] == "no"


def test_small_shares_of_missing_readings_do_not_vanish(tmp_path: Path) -> None:
    dataset = load_dataset("simulated-freeway")
    dataset["target"] = dataset["target"].fillna(50.0)
    assert data_card(dataset)["missing"] == "0 %"
    # One reading of 2,016 x 48 is 0.00103 %.
    dataset["target"][0, 0] = np.nan
    assert data_card(dataset)["missing"] == "0.001 %"


def test_real_data_under_their_names(real_data: Path) -> None:
    cards = list_datasets()
    week = load_dataset("metr-la", root=real_data, download=False)
    assert week["target"].shape == (2016, 207)
    months = load_dataset("metr-la-10", root=real_data, download=False)
    card = cards["metr-la-10"]
    assert months["target"].shape == (card["steps"], card["nodes"])
    assert data_card(months)["missing"] == f"{card['missing_percent']} %"
    with pytest.raises(FileNotFoundError, match="pems-bay"):
        load_dataset("pems-bay", root=real_data, download=False)
    assert os.environ.get("STTRANS_DATA") is None
