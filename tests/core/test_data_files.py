"""Files of readings: every layout that users have, and every fault that they may have."""

import gzip
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from data_samples import SENSORS, STEPS, Command, fingerprint, speeds, write_hdf

from sttrans_core.data.files import read_csv_frame, read_hdf_frame, read_series


@pytest.mark.parametrize("key", ["df", "speed", "some_other_name"])
@pytest.mark.parametrize("ids", ["text", "numbers"])
@pytest.mark.parametrize("split", [None, 2])
def test_hdf_in_every_layout(tmp_path: Path, key: str, ids: str, split: int | None) -> None:
    frame = speeds()
    read = read_series(write_hdf(tmp_path / "x.h5", frame, key=key, ids=ids, split=split))
    pd.testing.assert_frame_equal(read, frame, check_freq=False)


def test_the_named_key_is_taken_first(tmp_path: Path) -> None:
    path = write_hdf(tmp_path / "x.h5", speeds(), key="speed")
    with h5py.File(path, "a") as file:
        file.copy("speed", "other")
    assert read_hdf_frame(path).shape == (STEPS, SENSORS)


def test_blocks_that_are_not_transposed_and_other_time_units(tmp_path: Path) -> None:
    path = write_hdf(tmp_path / "x.h5", speeds())
    with h5py.File(path, "a") as file:
        group = file["df"]
        values, time = group["block0_values"][:], group["axis1"][:]
        del group["block0_values"], group["axis1"]
        group["block0_values"] = values.T
        group["block0_values"].attrs["transposed"] = np.uint8(0)
        group["axis1"] = time // 1000
        group["axis1"].attrs["kind"] = np.bytes_(b"datetime64[us]")
    pd.testing.assert_frame_equal(read_hdf_frame(path), speeds(), check_freq=False)


def test_pickled_attributes_are_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    harm = pickle.dumps(Command(f"touch {trace}"), protocol=0)
    path = write_hdf(tmp_path / "x.h5", speeds(), name_pickle=harm)
    assert read_hdf_frame(path).shape == (STEPS, SENSORS)
    assert not trace.exists()
    pickle.loads(harm)  # noqa: S301 - our own, to see that it would have worked
    assert trace.exists()


def test_csv_with_an_unnamed_time_column(tmp_path: Path) -> None:
    speeds().to_csv(tmp_path / "METR-LA.csv")
    speeds().to_csv(tmp_path / "x.csv.gz")
    for name in ("METR-LA.csv", "x.csv.gz"):
        pd.testing.assert_frame_equal(read_series(tmp_path / name), speeds(), check_freq=False)


def test_empty_cells_are_missing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(",a,b\n2024-01-01 00:00,1,\n2024-01-01 00:05,,4\n")
    read = read_csv_frame(tmp_path / "x.csv")
    np.testing.assert_array_equal(read.to_numpy(), [[1.0, np.nan], [np.nan, 4.0]])


def _change(name: str, values: object, *, attrs: dict | None = None) -> object:
    def change(file: h5py.File) -> None:
        kept = dict(file[f"df/{name}"].attrs) if attrs is None else attrs
        del file[f"df/{name}"]
        file[f"df/{name}"] = values
        file[f"df/{name}"].attrs.update(kept)

    return change


def _two_other_keys(file: h5py.File) -> None:
    file.copy("df", "a")
    file.move("df", "b")


def _table_format(file: h5py.File) -> None:
    del file["df"]
    file["df/table"] = np.zeros(3, dtype=[("index", "i8"), ("value", "f8")])


def _text_block(file: h5py.File) -> None:
    del file["df/block0_values"]
    kind = h5py.vlen_dtype(np.uint8)
    file["df"].create_dataset("block0_values", (1,), dtype=kind)


def _lost_block(file: h5py.File) -> None:
    del file["df/block0_values"], file["df/block0_items"]


def _broken_link(file: h5py.File) -> None:
    del file["df/block0_values"]
    file["df/block0_values"] = h5py.SoftLink("/nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_two_other_keys, r"under the key 'df' or 'speed'; got the keys \['a', 'b'\]"),
        (_table_format, r"in fixed format under the key.*got the keys \['df'\]"),
        (_text_block, "Readings must be numbers in x.h5, key 'df'; got block0_values as object"),
        (_lost_block, "one series for each of its columns; got 0 series for 5 columns"),
        (_broken_link, "Readings must be numbers in x.h5, key 'df'; got block0_values as NoneType"),
        (
            _change("block0_values", np.zeros((STEPS - 2, SENSORS))),
            r"one column a sensor, \(13, 5\) in x.h5, key 'df'; got shape \(11, 5\)",
        ),
        (_change("block0_items", np.array([b"1"] * SENSORS)), "got '1' in block0_values"),
        (
            _change("block0_values", np.full((STEPS, SENSORS), np.inf)),
            "finite numbers in x.h5, key 'df'; got .*inf.* in column '4001'",
        ),
        (_change("axis0", np.array([b"4001"] * SENSORS)), "belong to columns|different ids"),
        (_change("axis0", np.zeros((2, 3))), r"axis0 must be one row.*got float64 of shape \(2, 3"),
        (
            _change("axis1", np.arange(STEPS), attrs={"kind": np.bytes_(b"integer")}),
            "index must hold time stamps in x.h5, key 'df'; got kind 'integer'",
        ),
        (
            _change(
                "axis1",
                np.arange(STEPS),
                attrs={"kind": np.bytes_(b"datetime64[ns]"), "tz": np.bytes_(b"US/Pacific")},
            ),
            "naive or in UTC in x.h5, key 'df'; got time zone US/Pacific",
        ),
    ],
)
def test_faulty_hdf_is_refused_and_left_alone(tmp_path: Path, change, message: str) -> None:
    path = write_hdf(tmp_path / "x.h5", speeds())
    with h5py.File(path, "a") as file:
        change(file)
    before = fingerprint(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_series(path)
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_truncated_hdf_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_hdf(tmp_path / "x.h5", speeds(steps=499))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"x.h5 must be a complete HDF5 file; got .*cut short"):
        read_series(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ",a,b\n2024-01-01 00:00,1,2\n2024-01-01 00:05,3,broken\n",
            r"be finite numbers in x.csv; got 'broken' in column 'b' at 2024-01-01 00:05:00. Corr",
        ),
        (",a\n2024-01-01 00:00,inf\n2024-01-01 00:05,3\n", "got .*inf.* in column 'a'"),
        (",a\n2024-01-01 00:00,True\n2024-01-01 00:05,False\n", "got .*True.* in column 'a'"),
        ("a,b\n1,2\n3,4\n", "Time stamps must be times.*first column of x.csv; got int64"),
        (",a\nMonday,2\nTuesday,4\n", "Time stamps must be times.*got 'Monday'"),
        ("time\n2024-01-01 00:00\n", "one column a sensor; got 1 rows and 0 sensors"),
        ("time,a\n", "must hold a time column and one column a sensor; got 0 rows"),
        ("", "x.csv must be a complete CSV table; got No columns"),
        (',a\n2024-01-01 00:00,"1\n', "x.csv must be a complete CSV table; got"),
    ],
)
def test_faulty_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_series(tmp_path / "x.csv")


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(speeds(steps=499).to_csv().encode())
    (tmp_path / "x.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ValueError, match=r"x.csv.gz must be a complete CSV table; got"):
        read_series(tmp_path / "x.csv.gz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").touch()
    with pytest.raises(ValueError, match=r"must end in one of .h5, .*; got x.npz"):
        read_series(tmp_path / "x.npz")
    with pytest.raises(FileNotFoundError, match=r"must exist; got .*y.h5, which does not"):
        read_series(tmp_path / "y.h5")


def test_real_files(real_data: Path) -> None:
    week = read_series(real_data / "metr-la" / "metr-la.h5")
    whole = read_series(real_data / "metr-la-10" / "metr-la.h5")
    assert week.shape == (2016, 207)
    assert whole.shape == (34_272, 10)
    assert str(whole.index[-1]) == "2012-06-27 23:55:00"
    assert list(week.columns[:2]) == ["773869", "767541"]
    # The week file is the beginning of the long one where neither was filled in later.
    pd.testing.assert_frame_equal(
        week.iloc[:1000, :10], whole.iloc[:1000], check_freq=False, check_exact=False, atol=1e-4
    )
