"""Anyone's own sensors, from wide and tidy tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from data_samples import fingerprint
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.data.registry import data_card
from sttrans_core.data.tables import from_table
from sttrans_core.schema import check_dataset

PLACES = pd.DataFrame({"id": ["c", "b", "a"], "lat": [52.2, 52.1, 52.0], "lon": [4.2, 4.1, 4.0]})


def _wide() -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=4, freq="15min")
    return pd.DataFrame({"b": [1.0, 2.0, 0.0, 4.0], "a": [5.0, np.nan, 7.0, 8.0]}, index=index)


def _tidy() -> pd.DataFrame:
    long = _wide().rename_axis("when").reset_index().melt("when", var_name="who", value_name="what")
    return long.dropna()


def _assert_is_wide(dataset: xr.Dataset) -> None:
    check_dataset(dataset)
    assert dataset["node"].values.tolist() == ["b", "a"]
    np.testing.assert_array_equal(dataset["target"].values, [[1, 5], [2, np.nan], [0, 7], [4, 8]])
    assert dataset["latitude"].values.tolist() == [52.1, 52.0]
    assert dataset["longitude"].values.tolist() == [4.1, 4.0]
    assert dataset.attrs["interval"] == "15min"
    assert dataset.attrs["units"] == "km/h"
    assert dataset.attrs["synthetic"] == 0


@pytest.mark.parametrize("form", ["index", "column", "csv", "csv.gz", "parquet"])
def test_wide_tables(tmp_path: Path, form: str) -> None:
    table, time = _wide(), None
    if form == "column":
        table, time = table.rename_axis("when").reset_index(), "when"
    elif form.startswith("csv"):
        table.to_csv(tmp_path / f"t.{form}")
        table = tmp_path / f"t.{form}"
    elif form == "parquet":
        table.to_parquet(tmp_path / "t.parquet")
        table = str(tmp_path / "t.parquet")
    before = fingerprint(tmp_path)
    _assert_is_wide(from_table(table, PLACES, time=time, units="km/h"))
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("as_csv", [False, True])
def test_tidy_tables_in_any_row_order(tmp_path: Path, as_csv: bool) -> None:
    table = pd.concat([_tidy().iloc[:1], _tidy().iloc[:0:-1]])
    if as_csv:
        table.to_csv(tmp_path / "t.csv", index=False)
        PLACES.to_csv(tmp_path / "p.csv", index=False)
    dataset = from_table(
        tmp_path / "t.csv" if as_csv else table,
        tmp_path / "p.csv" if as_csv else PLACES,
        time="when",
        node="who",
        value="what",
        units="km/h",
    )
    _assert_is_wide(dataset)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [(None, 1), (0, 2), ([0, 8.0], 3), (-999, 1)],
)
def test_marks_of_missing_readings(missing: float | list[float] | None, expected: int) -> None:
    wide = from_table(_wide(), PLACES, units="km/h", missing=missing)
    tidy = from_table(
        _tidy(), PLACES, time="when", node="who", value="what", units="km/h", missing=missing
    )
    assert int(np.isnan(wide["target"].values).sum()) == expected
    np.testing.assert_array_equal(wide["target"], tidy["target"])


@pytest.mark.parametrize(
    ("shift", "valid_min", "expected"),
    [(0, None, 0.0), (-1, None, None), (0, -5.0, -5.0), (0, -np.inf, None)],
)
def test_readings_that_are_never_negative_set_the_lowest_value(shift, valid_min, expected) -> None:
    dataset = from_table(_wide() + shift, PLACES, units="km/h", valid_min=valid_min)
    assert dataset.attrs.get("valid_min") == expected


def test_readings_below_the_lowest_value_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no lower than valid_min \(2\); got 2 below it. Name"):
        from_table(_wide(), PLACES, units="km/h", valid_min=2)
    dataset = from_table(_wide(), PLACES, units="km/h").assign_attrs(valid_min="zero")
    with pytest.raises(ValueError, match="'valid_min' must be a finite number; got 'zero'"):
        check_dataset(dataset)


def test_text_marks_of_missing_readings() -> None:
    table = _wide().astype(object)
    table.iloc[0, 0] = "-"
    dataset = from_table(table, PLACES, units="km/h", missing="-")
    assert np.isnan(dataset["target"].values[0, 0])


def test_labels_are_kept_and_gaps_noted() -> None:
    dataset = from_table(
        _wide().iloc[[0, 1, 3]],
        PLACES,
        interval="15min",
        units="ug/m3",
        quantity="PM2.5",
        title="Two roofs",
        source="own measurement",
        licence="CC0",
    )
    wanted = {"quantity": "PM2.5", "title": "Two roofs", "source": "own measurement"}
    assert wanted.items() <= dataset.attrs.items()
    assert dataset.attrs["licence"] == "CC0"
    assert dataset.attrs["notes"] == "Absent time steps put in as missing readings: 1."
    aware = _wide().tz_localize("UTC")
    assert from_table(aware, PLACES, units="km/h").attrs["notes"] == "Times are UTC."


def test_simulated_readings_are_marked() -> None:
    dataset = from_table(_wide(), PLACES, units="km/h", synthetic=True)
    assert dataset.attrs["synthetic"] == 1
    assert data_card(dataset)["simulated"] == "yes"


def test_numeric_ids_match_whatever_their_spelling() -> None:
    table = _wide().set_axis([400001, 17], axis=1)
    places = pd.DataFrame({"id": ["17", "400001"], "lat": [1.0, 2.0], "lon": [3.0, 4.0]})
    assert from_table(table, places, units="mph")["node"].values.tolist() == ["400001", "17"]
    tidy = _tidy().assign(who=_tidy()["who"].map({"b": 400001.0, "a": 17.0}))
    dataset = from_table(tidy, places, time="when", node="who", value="what", units="mph")
    assert dataset["latitude"].values.tolist() == [2.0, 1.0]


@given(st.permutations(range(7)), st.integers(0, 2**31))
def test_wide_and_tidy_agree(order: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(7, 3)).round(3)
    index = pd.date_range("2024-03-01", periods=7, freq="1h")
    wide = pd.DataFrame(values, index=index, columns=["a", "b", "c"])
    tidy = wide.rename_axis("t").reset_index().melt("t", var_name="n", value_name="v")
    rows = [step + 7 * node for step in order for node in range(3)]
    other = from_table(tidy.iloc[rows], PLACES, time="t", node="n", value="v", units="K")
    one = from_table(wide, PLACES, units="K")
    xr.testing.assert_identical(one, other.sel(node=["a", "b", "c"]))


def _text_cell() -> pd.DataFrame:
    table = _wide().astype(object)
    table.iloc[2, 1] = "n/k"
    return table


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (_text_cell(), {}, "finite numbers in the table; got 'n/k' in column 'a' at 2024-01-01 00"),
        (_wide().assign(z=1.0), {}, r"must have a location in the locations; got none for 1 of 3"),
        (_wide().iloc[[0, 2, 1, 3]], {}, "strictly increasing in the table; got 2024-01-01 00:15"),
        (_wide().iloc[[0, 1, 1, 3]], {}, "strictly increasing in the table; got .* twice"),
        (_wide().shift(freq="1min").iloc[[0]], {}, "at least 2 time steps"),
        (_wide(), {"interval": "5min"}, "interval must be a step that occurs in the table"),
        (_wide(), {"interval": "1h"}, "interval between times must be constant in the table"),
        (_wide(), {"node": "a"}, "node and value must be given together.*value=None"),
        (
            _wide(),
            {"time": "when"},
            "of the table, such as 'time'; got the columns .*, none called 'when'",
        ),
        (
            _wide().reset_index(drop=True),
            {},
            "got the columns b, a, none or several of them called so. Name the column",
        ),
        (
            _wide().assign(time=0, date=0).reset_index(drop=True),
            {},
            "got the columns b, a, time, date",
        ),
        (_wide().assign(when=range(4)), {"time": "when"}, "column 'when' of the table; got int64"),
        (_wide() * np.inf, {}, "finite numbers in the table; got .*inf"),
        (_wide() * np.nan, {}, "at least one observed reading; got only missing ones"),
        (_wide().set_axis(["a", "a"], axis=1), {}, "Node ids must be unique; got 'a' twice"),
        (_wide().tz_localize("Asia/Tokyo"), {}, "naive or in UTC"),
    ],
)
def test_faulty_wide_tables_are_refused(table: pd.DataFrame, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(table, PLACES, units="km/h", **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.concat([_tidy(), _tidy().iloc[[3]]]), "got two of b at 2024-01-01 00:45:00. Drop one"),
        (_tidy().rename(columns={"who": "id"}), "must name columns of the table; got 'who'"),
        (_tidy().assign(who=None), "a time and a sensor; got time 2024.* and sensor None in row 0"),
        (_tidy().assign(when=pd.NaT), "got time NaT and sensor b in row 0"),
        (_tidy().assign(what="fast"), "finite numbers in the table; got 'fast' in column 'what'"),
        (_tidy().assign(who=lambda t: t["who"] + "!"), r"none for 2 of 2 sensors \(b!, a!\)"),
    ],
)
def test_faulty_tidy_tables_are_refused(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(table, PLACES, time="when", node="who", value="what", units="km/h")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t,
            r"come with node= and value=; got sensors such as b in column 'who' of .* Pass node=",
        ),
        (lambda t: t[t["who"] == "a"], r"got sensors such as a in column 'who' of the table"),
        (lambda t: t.assign(what="n/k"), r"Pass node='who' and value='what'"),
        (lambda t: t.assign(who=t["who"] + "!"), r"sensors such as b! in column 'who'"),
        (
            lambda t: t.assign(flag=1),
            r"Pass node='who' and value=the name of the column of readings\.",
        ),
    ],
)
def test_a_tidy_table_that_is_not_announced_is_told(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(change(_tidy()), PLACES, time="when", units="km/h")


def test_a_tidy_table_of_numbered_sensors_is_told_by_the_locations() -> None:
    places = pd.DataFrame({"id": [17, 400001], "lat": [1.0, 2.0], "lon": [3.0, 4.0]})
    tidy = _tidy().assign(who=_tidy()["who"].map({"b": 400001, "a": 17}))
    message = (
        r"sensors such as 400001 in column 'who' of the table\. Pass node='who' and value='what'"
    )
    with pytest.raises(ValueError, match=message):
        from_table(tidy, places, time="when", units="km/h")
    # Readings are no ids: a time that comes twice in a wide table keeps its own sentence.
    with pytest.raises(ValueError, match=r"strictly increasing in the table; got .* twice"):
        from_table(_wide().iloc[[0, 1, 1, 3]], PLACES, units="km/h")


def test_decimal_commas_are_told() -> None:
    table = _wide().astype(object)
    table.iloc[2, 1] = "100,9"
    message = r"got '100,9' in column 'a' at .*\. For decimal commas, .*read_csv\(.*decimal=','\)"
    with pytest.raises(ValueError, match=message):
        from_table(table, PLACES, units="km/h")


def test_semicolons_are_told(tmp_path: Path) -> None:
    _wide().to_csv(tmp_path / "t.csv", sep=";", decimal=",")
    message = r"columns of t.csv must be parted by commas; got semicolons\. Read it with pandas"
    with pytest.raises(ValueError, match=message):
        from_table(tmp_path / "t.csv", PLACES, units="km/h")


@pytest.mark.parametrize("units", ["", " "])
def test_readings_without_a_unit_are_refused(units: str) -> None:
    with pytest.raises(ValueError, match=rf"unit of the readings; got '{units}'\. Write for exa"):
        from_table(_wide(), PLACES, units=units)


def test_faulty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"table of readings must exist; got .*t.csv"):
        from_table(tmp_path / "t.csv", PLACES, units="K")
    with pytest.raises(FileNotFoundError, match=r"table of sensors must exist; got .*p.csv"):
        from_table(_wide(), tmp_path / "p.csv", units="K")
    for name, message in {
        "t.xlsx": r"must end in .csv, .csv.gz or .parquet; got t.xlsx",
        "t.parquet": r"t.parquet must be a complete table; got",
        "t.csv": r"t.csv must be a complete table; got",
    }.items():
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=message):
            from_table(tmp_path / name, PLACES, units="K")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", fail)
    (tmp_path / "t.parquet").touch()
    with pytest.raises(ImportError, match=r"Reading t.parquet needs pyarrow; install it with"):
        from_table(tmp_path / "t.parquet", PLACES, units="K")


def test_real_air_quality(real_data: Path) -> None:
    import zipfile

    folder = real_data / "beijing-air"
    with zipfile.ZipFile(folder / "PRSA_Data_20130301-20170228.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".csv")][:2]
        parts = [pd.read_csv(archive.open(name)) for name in names]
    table = pd.concat(parts)
    table["when"] = pd.to_datetime(table[["year", "month", "day", "hour"]])
    dataset = from_table(
        table[["when", "station", "PM2.5"]],
        folder / "station_coordinates.csv",
        time="when",
        node="station",
        value="PM2.5",
        units="ug/m3",
    )
    assert dataset["target"].shape == (35_064, 2)
    assert dataset.attrs["interval"] == "1h"
    assert 0.5 < 100 * np.isnan(dataset["target"].values).mean() < 4
