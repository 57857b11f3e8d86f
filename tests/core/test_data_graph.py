"""Locations, road distances and adjacency; pickles that must not run."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_samples import Command, adjacency, fingerprint, places, speeds, write_adjacency
from data_samples import write_locations as write_places

from sttrans_core.data.graph import (
    adjacency_from_distances,
    adjacency_from_locations,
    read_adjacency_pickle,
    read_distances,
    select_adjacency,
)
from sttrans_core.data.locations import join_locations, read_locations


@pytest.mark.parametrize("header", [True, False])
def test_locations_with_and_without_header(tmp_path: Path, header: bool) -> None:
    frame = speeds()
    read = read_locations(write_places(tmp_path / "x.csv", frame, header=header))
    assert list(read.index) == list(frame.columns[::-1])
    joined = join_locations(list(frame.columns), read, where="x.csv")
    # The first sensor lies at 34 north, 118 west; the file has it last.
    assert joined.loc["4001"].tolist() == [34.0, -118.0]
    assert list(joined.index) == list(frame.columns)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"Node": [7.0, 8.0], "LAT": [1.0, 2.0], "Lng": [3.0, 4.0]}),
        pd.DataFrame({"station": ["7", " 8 "], "y": ["1", "2"], "x": [3.0, 4.0], "zone": [0, 1]}),
        pd.DataFrame({"latitude": [1.0, 2.0], "longitude": [3.0, 4.0]}, index=[7, 8]),
        pd.DataFrame(
            {"name": ["Main St", "5th Av"], "lat": [1.0, 2.0], "lon": [3.0, 4.0]},
            index=pd.Index(["7", "8"], name="station"),
        ),
    ],
)
def test_locations_under_common_names(table: pd.DataFrame) -> None:
    read = read_locations(table)
    assert list(read.index) == ["7", "8"]
    assert read.to_numpy().tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,lat,lon\na,34,-118\nb,x,-118\n", "Coordinates must be degrees.*in x.csv; got b, x"),
        ("a,-118.2,34.1\nb,-118.3,34.2\n", "latitude within 90.*got a, -118.2, 34.1"),
        ("id,lat,lon\na,34,\n", "Coordinates must be degrees"),
        ("id,north,east\na,34,-118\n", "must have the columns id, latitude and longitude; got id"),
        ("1,2,34,-118\n", "exactly the columns id, latitude, longitude; got 4 columns"),
        ("", "x.csv must be a complete CSV table; got No columns"),
    ],
)
def test_faulty_locations_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_locations(tmp_path / "x.csv")


def test_absent_locations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"table of sensors must exist; got .*x.csv"):
        read_locations(tmp_path / "x.csv")
    known = read_locations(places(speeds()))
    with pytest.raises(
        ValueError, match=r"got none for 1 of 2 sensors \(12\).*starts with ids 4005"
    ):
        join_locations(["4001", "12"], known, where="x.csv")
    with pytest.raises(ValueError, match=r"one location in x.csv; got two for 4001"):
        join_locations(["4001"], pd.concat([known, known]), where="x.csv")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_adjacency_of_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    frame = speeds()
    matrix = adjacency(frame)
    read = read_adjacency_pickle(write_adjacency(tmp_path / "x.pkl", matrix, protocol=protocol))
    pd.testing.assert_frame_equal(read, matrix)
    chosen = select_adjacency(read, list(frame.columns), where="x.pkl")
    # Cell (first, second sensor) is (row 4, column 3) of the 6 x 6 matrix: (4 * 6 + 3) / 100.
    assert chosen[0, 1] == np.float32(0.27)
    assert chosen.shape == (5, 5)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    trace, path = tmp_path / "trace", tmp_path / "adj_mx.pkl"
    content = [["a"], {"a": 0}, Command(f"touch {trace}")]
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    before = fingerprint(tmp_path)
    with pytest.raises(ValueError, match=r"got a call of (posix|nt).system. Nothing in it was run"):
        read_adjacency_pickle(path)
    assert not trace.exists()
    assert fingerprint(tmp_path) == before
    pickle.loads(path.read_bytes())  # noqa: S301 - our own, to see that it would have worked
    assert trace.exists()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "a call of builtins.eval"),
        (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\ntR.", "a call of numpy.testing"),
        (b"c_codecs\nencode\n(S'1'\nS'rot13'\ntR.", "text in the encoding rot13"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.", "an array of"),
        (b"P1\n.", "persistent"),
    ],
)
def test_other_calls_in_a_pickle_are_refused(tmp_path: Path, text: bytes, got: str) -> None:
    (tmp_path / "x.pkl").write_bytes(text)
    with pytest.raises(ValueError, match=f"x.pkl must be a pickle of the list.*{got}"):
        read_adjacency_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.eye(3), r"list \[ids, index, matrix\]; got a ndarray"),
        ([["a"], np.eye(1)], r"list \[ids, index, matrix\]; got a list of list, ndarray"),
        ([["a"], {"a": 0}, [[1.0]]], "got a list of list, dict, list"),
        ([["a"], {"a": 0}, np.array([["x"]])], "got a list of list, dict, ndarray"),
        ([["a", "b"], {}, np.eye(3)], r"each of its 2 ids; got shape \(3, 3\)"),
        ([["a"], {}, np.array([[np.nan]])], "must be finite"),
        (OrderedDict(a=1), "got a call of collections.OrderedDict"),
    ],
)
def test_a_pickle_that_is_not_the_list_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=message):
        read_adjacency_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_truncated_pickle_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_adjacency(tmp_path / "x.pkl", adjacency(speeds()), protocol=2)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"x.pkl must be a pickle of the list"):
        read_adjacency_pickle(path)


def test_absent_pickle_and_absent_sensor(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"adjacency pickle must exist; got .*x.pkl"):
        read_adjacency_pickle(tmp_path / "x.pkl")
    with pytest.raises(ValueError, match=r"each sensor of the readings once; got none for 1 of 2"):
        select_adjacency(adjacency(speeds()), ["4001", "12"], where="x.pkl")
    doubled = adjacency(speeds()).rename(index={"9999": "4001"}, columns={"9999": "4001"})
    with pytest.raises(ValueError, match="once; got an id twice"):
        select_adjacency(doubled, ["4001"], where="x.pkl")


@pytest.mark.parametrize("header", ["", "from,to,cost\n"])
def test_adjacency_from_distances_by_hand(tmp_path: Path, header: str) -> None:
    # Distances 0, 0, 3, 9 have mean 3 and variance (9 + 9 + 0 + 36) / 4 = 13.5, so
    # exp(-9 / 13.5) = exp(-2/3) is kept and exp(-81 / 13.5) = exp(-6) is below 0.1.
    (tmp_path / "d.csv").write_text(f"{header}a,a,0\nb,b,0\na,b,3\nb,a,9\na,other,5\n")
    weights = adjacency_from_distances(read_distances(tmp_path / "d.csv"), ["b", "a"])
    np.testing.assert_allclose(weights, [[1.0, 0.0], [np.exp(-2 / 3), 1.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,to\na,b\n", "columns from, to, cost; got 2 columns"),
        ("from,to,cost\na,b,-1\n", r"at least 0 in d.csv; got the row a,b,-1"),
        ("a,b,1\na,c,far\n", r"at least 0 in d.csv; got the row a,c,far"),
        ("from,to,cost\n", r"at least 0 in d.csv; got the row from,to,cost"),
        ("", "must be a complete CSV table"),
    ],
)
def test_faulty_distances_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_distances(tmp_path / "d.csv")


def test_adjacency_from_locations() -> None:
    # On a line, one degree apart, 12 sensors see all but the 12th: weights fall with distance.
    weights = adjacency_from_locations(np.zeros(12), np.arange(12.0))
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(np.diag(weights), 1.0)
    assert (np.diff(weights[0]) <= 0).all()
    assert weights[0, 1] > 0.5
    assert weights[0, 11] == 0.0
    # Co-located sensors have no spread of distances: all joined.
    np.testing.assert_array_equal(adjacency_from_locations(np.ones(3), np.ones(3)), np.ones((3, 3)))


def test_real_bay_graph(real_data: Path) -> None:
    folder = real_data / "pems-bay"
    matrix = read_adjacency_pickle(folder / "adj_mx_bay.pkl")
    known = read_locations(folder / "graph_sensor_locations_bay.csv")
    assert matrix.shape == (325, 325)
    assert set(known.index) == set(matrix.index)
    # The published matrix is the kernel over the published road distances.
    made = adjacency_from_distances(
        read_distances(folder / "distances_bay_2017.csv.gz"), list(matrix.index)
    )
    np.testing.assert_allclose(made, matrix.to_numpy(), atol=1e-6)


def test_real_la_graph(real_data: Path) -> None:
    folder = real_data / "metr-la"
    matrix = read_adjacency_pickle(folder / "adj_mx.pkl")
    known = read_locations(folder / "graph_sensor_locations.csv")
    assert matrix.shape == (207, 207)
    assert set(known.index) == set(matrix.index)
    assert known.loc["773869"].tolist() == [34.15497, -118.31829]
