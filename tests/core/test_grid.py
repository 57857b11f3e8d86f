"""Grids: cells as nodes and back, lazily where they lie in a store, and the rules of the contract.

Sizes are primes, one per axis, so that a swapped axis cannot fit by chance.
"""

import inspect
import time

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from small_runs import rhythm

from sttrans_core import slabs
from sttrans_core.grid import as_grid, as_nodes, in_chunks, is_grid
from sttrans_core.runs import fingerprint
from sttrans_core.schema import SchemaError, check_dataset, check_labels

STEPS, ROWS, COLUMNS = 11, 3, 5


def grid_of(values=None, *, latitude=None, longitude=None, first="2024-01-01", interval="6h"):
    """Label readings (time, latitude, longitude); without any, each reading tells where it is."""
    latitude = 50.0 + 2.5 * np.arange(ROWS) if latitude is None else np.asarray(latitude)
    longitude = -5.0 + 2.5 * np.arange(COLUMNS) if longitude is None else np.asarray(longitude)
    if values is None:
        # Reading = 100 * step + 10 * row + column.
        at = np.arange(STEPS)[:, None, None], np.arange(len(latitude))[:, None]
        values = 100 * at[0] + 10 * at[1] + np.arange(len(longitude))
    return xr.Dataset(
        {"target": (("time", "latitude", "longitude"), np.asarray(values, np.float32))},
        coords={
            "time": pd.date_range(first, periods=len(values), freq=interval).to_numpy(),
            "latitude": latitude,
            "longitude": longitude,
        },
        attrs={
            "units": "K",
            "interval": interval,
            "title": "small grid",
            "source": "made by a test",
            "licence": "none",
            "synthetic": 1,
            "quantity": "temperature",
        },
    )


def test_cells_become_nodes_row_by_row():
    nodes = as_nodes(grid_of())
    check_dataset(nodes)
    assert nodes["target"].dims == ("time", "node")
    # Row 2, column 3: node 2 * 5 + 3 = 13, 50 + 2 * 2.5 = 55 N, -5 + 3 * 2.5 = 2.5 E.
    cell = nodes.isel(node=13, time=7)
    assert cell["target"] == 723
    assert (cell["latitude"], cell["longitude"]) == (55.0, 2.5)
    assert cell["node"] == "55N 2.5E"
    assert nodes.attrs == grid_of().attrs


def test_a_node_dataset_is_returned_as_it_is():
    dataset = rhythm()
    assert as_nodes(dataset) is dataset
    assert not is_grid(dataset)
    assert is_grid(grid_of())
    assert not is_grid(xr.Dataset())


def test_other_variables_come_along():
    grid = grid_of().assign(
        height=(("latitude", "longitude"), np.arange(15.0).reshape(3, 5)),
        area=("latitude", [1.0, 2.0, 3.0]),
        covariates=(
            ("time", "latitude", "longitude", "covariate"),
            np.arange(STEPS * 30, dtype=np.float32).reshape(STEPS, 3, 5, 2),
        ),
    )
    grid = grid.assign_coords(covariate=["wind", "rain"], zone=("longitude", list("abcde")))
    nodes = as_nodes(check_dataset(grid))
    check_dataset(nodes)
    assert nodes["height"].values.tolist() == list(range(15))
    assert nodes["area"].values.tolist() == [1.0] * 5 + [2.0] * 5 + [3.0] * 5
    assert nodes["zone"].values.tolist() == list("abcde") * 3
    assert nodes["covariates"].dims == ("time", "node", "covariate")
    # Step 1, row 2, column 3, second covariate: ((1 * 3 + 2) * 5 + 3) * 2 + 1 = 57.
    assert nodes["covariates"][1, 13, 1] == 57
    back = as_grid(nodes, like=grid)
    xr.testing.assert_identical(back["covariates"].variable, grid["covariates"].variable)
    # What lay along one axis of the grid lies along both now.
    assert back["area"].values.tolist() == [[1.0] * 5, [2.0] * 5, [3.0] * 5]
    assert back["zone"].values.tolist() == [list("abcde")] * 3


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ([-2.5, 0.0, 2.5], [0.0, 180.0], ["2.5S 0E", "2.5S 180E", "0N 0E"]),
        ([89.0, 90.0], [-180.0, 0.0], ["89N 180E", "89N 0E", "90N 180E"]),
        ([-90.0, 0.0, 90.0], [357.0, 358.75], ["90S 3W", "90S 1.25W", "0N 3W"]),
        # As a file in single precision has it: 50.1 is 50.09999847.
        (np.float32([50.1, 50.2]), np.float32([359.9, 360.0]), ["50.1N 0.1W", "50.1N 0E"]),
        # 4 decimals would make one id of these.
        ([50.0, 50.00002], [1.0, 2.0], ["50N 1E", "50N 2E", "50.00002N 1E"]),
    ],
)
def test_ids_are_readable_places(latitude, longitude, expected):
    ids = as_nodes(grid_of(latitude=latitude, longitude=longitude))["node"].values.tolist()
    assert ids[: len(expected)] == expected
    assert len(set(ids)) == len(ids) == len(latitude) * len(longitude)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.05, 0.25, 1.5, 2.8125]),
    st.floats(-89, 30),
    st.floats(-180, 330),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_grid_keeps_the_contract_as_nodes_and_comes_back(
    rows, columns, step, south, west, kind
):
    latitude = (south + step * np.arange(rows)).astype(kind)
    longitude = (west + step * np.arange(columns)).astype(kind)
    values = np.random.default_rng(0).normal(size=(2, rows, columns))
    grid = check_dataset(grid_of(values, latitude=latitude, longitude=longitude))
    nodes = check_dataset(as_nodes(grid))
    xr.testing.assert_identical(as_grid(nodes, like=grid), grid)


def test_a_forecast_becomes_a_grid_again():
    grid, nodes = grid_of(), as_nodes(grid_of())
    dims = ("time", "horizon", "node", "channel")
    forecast = xr.Dataset(
        {
            "forecast": (dims[:3], np.arange(2 * 7 * 15.0).reshape(2, 7, 15)),
            "upper": (dims, np.arange(2 * 7 * 15 * 2.0).reshape(2, 7, 15, 2)),
            "acc": ("horizon", np.arange(7.0)),
        },
        coords={
            "time": nodes["time"].values[:2],
            "horizon": np.arange(1, 8),
            "lead_minutes": ("horizon", 360.0 * np.arange(1, 8)),
            **{name: nodes[name] for name in ("node", "latitude", "longitude")},
        },
        attrs={"units": "K"},
    )
    back = as_grid(forecast, like=grid)
    assert back["forecast"].dims == ("time", "horizon", "latitude", "longitude")
    assert back["upper"].dims == ("time", "horizon", "latitude", "longitude", "channel")
    # Time 1, step 4, node 13 = row 2, column 3: (1 * 7 + 4) * 15 + 13 = 178.
    assert back["forecast"].sel(latitude=55.0, longitude=2.5)[1, 4] == 178
    assert back["upper"][1, 4, 2, 3, 1] == 178 * 2 + 1
    assert "node" not in back.coords
    assert back.attrs == forecast.attrs
    xr.testing.assert_equal(back["lead_minutes"], forecast["lead_minutes"])
    xr.testing.assert_equal(back["acc"], forecast["acc"])
    one = as_grid(forecast["forecast"], like=grid)
    xr.testing.assert_identical(one, back["forecast"])


def test_what_is_not_the_whole_grid_is_refused():
    grid = grid_of()
    nodes = as_nodes(grid)
    with pytest.raises(ValueError, match=r"like must be a grid dataset.*got \{'time': 11, 'node'"):
        as_grid(nodes, like=nodes)
    for wrong, held in ((nodes.isel(node=slice(4)), "4 nodes"), (grid, "no nodes")):
        with pytest.raises(ValueError, match=f"all 15 cells of the grid, in order; got {held}, or"):
            as_grid(wrong, like=grid)
    with pytest.raises(ValueError, match="got 15 nodes, or others"):
        as_grid(nodes.isel(node=slice(None, None, -1)), like=grid)


def _broken(grid: xr.Dataset, **coords: object) -> xr.Dataset:
    return grid.assign_coords(coords)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda g: _broken(g, latitude=[50.0, 52.5, 54.0]),
            r"'latitude' of a grid must be evenly spaced; got steps of 1.5 to 2.5, uneven",
        ),
        (
            lambda g: _broken(g, longitude=[0.0, 2.0, 4.0, 6.0, 9.0]),
            r"evenly spaced; got steps of 2 to 3, uneven after 6\.0\. Interpolate",
        ),
        (
            # A gap of a whole step beside one that is none is no missing band.
            lambda g: _broken(g, longitude=[0.0, 2.0, 6.0, 8.0, 9.0]),
            "'longitude' of a grid must be evenly spaced",
        ),
        (
            lambda g: _broken(g, longitude=[0.0, 2.0, 4.0, 6.0, 12.0]),
            r"'longitude' of a grid must have no gaps; got steps of 2 degrees without 8, 10\. Put",
        ),
        (
            lambda g: _broken(g, longitude=[0.0, 1.0, 2.0, 3.0, 10.0]),
            r"got steps of 1 degrees without 4, 5, 6, 7, 8, \.\.\.\. Put",
        ),
        (
            lambda g: g.isel(latitude=slice(None, None, -1)),
            r"'latitude' of a grid must ascend; got 52\.5 after 55\.0\. Sort it with dataset\.sort",
        ),
        (lambda g: _broken(g, longitude=[0.0, 2.0, 2.0, 4.0, 6.0]), "ascend; got 2.0 after 2.0"),
        (
            lambda g: _broken(g, latitude=[0.0, np.inf, 1.0]),
            r"'latitude' must be finite and within 90 degrees; got values from 0\.0 to inf",
        ),
        (lambda g: _broken(g, latitude=[88.0, 90.0, 92.0]), "'latitude' must be finite and within"),
        (lambda g: _broken(g, latitude=["a", "b", "c"]), "'latitude' must hold numbers; got <U1"),
        (
            lambda g: _broken(g, longitude=90.0 * np.arange(5)),
            r"must not go round more than once; got 5 columns of 90 degrees\. Drop",
        ),
        (
            lambda g: g.drop_vars("latitude"),
            "A grid must have the coordinate 'latitude' along 'latitude'; got",
        ),
        (
            lambda g: g.transpose("time", "longitude", "latitude"),
            r"'target' must have the dims \('time', 'node'\) or .* got \('time', 'longitude', 'lat",
        ),
        (lambda g: g.where(g["target"] < 3, np.inf), r"finite or NaN; got \d+ infinite readings"),
        (lambda g: g.where(g["target"] < -1), "at least one observed reading; got only missing"),
        (lambda g: g.isel(time=[0]), "at least 2 time steps and 1 node; got 1 steps and 15 nodes"),
    ],
)  # fmt: skip
def test_broken_grids_are_refused(change, message):
    grid = grid_of()
    with pytest.raises(SchemaError, match=message):
        check_dataset(change(grid).assign_attrs(grid.attrs))


def test_a_missing_band_is_named():
    grid = grid_of(latitude=30.0 + 2.5 * np.arange(17))
    with pytest.raises(SchemaError, match=r"'latitude' .* of 2\.5 degrees without 42\.5, 45\. Put"):
        check_dataset(grid.isel(latitude=[*range(5), *range(7, 17)]))
    two = grid.isel(latitude=[*range(5), *range(6, 10), *range(11, 17)])
    with pytest.raises(SchemaError, match=r"degrees without 42\.5, 55\. Put"):
        check_dataset(two)


@pytest.mark.parametrize("count", [240, 3600])
def test_a_whole_turn_in_single_precision_is_even(count):
    longitude = (360 / count * np.arange(count)).astype(np.float32)
    check_dataset(grid_of(latitude=np.float32([0.1, 0.2]), longitude=longitude))


def channels(dataset: xr.Dataset, names: list) -> xr.Dataset:
    """Give each reading of a dataset once per channel."""
    several = xr.concat([dataset["target"]] * len(names), "channel").transpose(..., "channel")
    return dataset.assign(target=several).assign_coords(channel=names)


def covariates(dataset: xr.Dataset, names: list, *, kind: type = np.float32) -> xr.Dataset:
    """Put covariates of zeros beside readings."""
    shape = (dataset.sizes["time"], dataset.sizes["node"], len(names))
    values = (("time", "node", "covariate"), np.zeros(shape, kind))
    return dataset.assign(covariates=values).assign_coords(covariate=names)


def test_channels_and_covariates_are_accepted():
    dataset = covariates(channels(rhythm(), ["pickup", "dropoff"]), ["rain"])
    dataset["covariates"][3:7] = np.nan
    assert check_dataset(dataset) is dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: channels(d, ["a", "a"]), "Names of 'channel' must be unique; got 'a' twice"),
        (lambda d: channels(d, [0, 1]), "Names of 'channel' must be text; got int64"),
        (
            lambda d: channels(d, ["a", "b"]).drop_vars("channel"),
            "A dataset must have the coordinate 'channel' along 'channel'",
        ),
        (
            lambda d: channels(d, ["a", "b"]).transpose("time", "channel", "node"),
            r"'target' must have the dims .*got \('time', 'channel', 'node'\)",
        ),
        (lambda d: covariates(d, ["a", "a"]), "Names of 'covariate' must be unique; got 'a' twice"),
        (lambda d: covariates(d, [0, 1]), "Names of 'covariate' must be text; got int64"),
        (
            lambda d: covariates(d, ["a"]).transpose("time", "covariate", "node"),
            r"'target' must have the dims|'covariates' must have the dims \('time', 'node', 'cov",
        ),
        (
            lambda d: covariates(d, ["a"], kind=int),
            "'covariates' must hold floating point numbers; got int64",
        ),
        (
            lambda d: covariates(d, ["a"]).map(lambda v: v.where(v != 0, np.inf)),
            r"Readings must be finite or NaN; got 2189 infinite readings",  # 199 steps, 11 nodes
        ),
    ],
)
def test_broken_channels_and_covariates_are_refused(change, message):
    dataset = rhythm()
    with pytest.raises(SchemaError, match=message):
        check_dataset(change(dataset).assign_attrs(dataset.attrs))


class Reads:
    """An array that counts how often each step is read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 3
        self.counts = np.zeros(len(values), int)

    def __getitem__(self, key: tuple) -> np.ndarray:
        self.counts[key[0]] += 1
        return self.values[key]


def counted(*, chunk: int) -> tuple[xr.Dataset, Reads]:
    """Give a grid in dask chunks of time, and what is read of it."""
    rng = np.random.default_rng(0)
    grid = grid_of(rng.normal(280, 5, (67, ROWS, COLUMNS)))
    reads = Reads(grid["target"].values)
    lazy = dask.array.from_array(reads, chunks=(chunk, 2, 3), meta=np.empty((0, 0, 0), np.float32))
    return grid.assign(target=(grid["target"].dims, lazy)), reads


def test_lazy_grids_stay_lazy():
    grid, reads = counted(chunk=7)
    check_labels(grid)
    nodes = as_nodes(grid)
    check_labels(nodes)
    assert nodes["target"].chunks is not None
    assert not slabs.is_in_memory(nodes["target"])
    assert reads.counts.sum() == 0
    assert np.array_equal(nodes["target"].values, reads.values.reshape(67, 15))


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
def test_every_chunk_is_read_once_in_slabs(chunk, monkeypatch):
    # Slabs of 16 steps: whole chunks of 1, 3 (15 steps), 7 (14 steps); at 64 one chunk is a slab.
    monkeypatch.setattr(slabs, "_VALUES_AT_ONCE", 16 * 15)
    grid, reads = counted(chunk=chunk)
    nodes = as_nodes(grid)
    lengths = [len(slab) for slab in slabs.slabs(nodes["target"])]
    assert lengths[0] == {1: 16, 3: 15, 7: 14, 64: 64}[chunk]
    # Each step is in 2 x 2 chunks: 2 of the 3 rows and then 1, 3 of the 5 columns and then 2.
    assert (reads.counts == 4).all()
    reads.counts[:] = 0
    assert fingerprint(nodes) == fingerprint(as_nodes(grid.load()))


def test_steps_of_a_lazy_grid_are_read_once():
    grid, reads = counted(chunk=7)
    target = as_nodes(grid)["target"]
    steps = np.array([[3, 4, 5, 6, 7], [50, 51, 52, 53, 54], [5, 6, 7, 8, 9]])
    assert np.array_equal(slabs.read_steps(target, steps), reads.values.reshape(67, 15)[steps])
    # The chunks of 3-9 and of 50-54: 0-6, 7-13 and 49-55, each of four parts.
    read = np.flatnonzero(reads.counts)
    assert read.tolist() == [*range(14), *range(49, 56)]
    assert (reads.counts[read] == 4).all()


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_readings_of_a_store_are_chunked_along_time(tmp_path):
    grid = grid_of(np.random.default_rng(0).normal(size=(199, ROWS, COLUMNS)))
    encoding = {"target": {"chunks": (7, 2, 5)}}
    grid.to_zarr(tmp_path / "a.zarr", encoding=encoding, consolidated=False)
    stored = xr.open_zarr(tmp_path / "a.zarr", chunks=None, consolidated=False)
    # 2 ** 18 values are 17,477 steps of 15; rounded up to chunks of 7, more than there are.
    chunked = in_chunks(stored["target"])
    assert chunked.chunks == ((199,), (3,), (5,))
    assert in_chunks(chunked) is chunked
    assert in_chunks(grid["target"]).chunks is None
    nodes = as_nodes(stored)
    assert nodes["target"].chunks is not None
    xr.testing.assert_identical(nodes.load(), as_nodes(grid))


def test_chunks_hold_whole_chunks_of_the_store(monkeypatch):
    monkeypatch.setattr("sttrans_core.grid._VALUES_IN_CHUNK", 15 * 17)
    grid = grid_of(np.zeros((199, ROWS, COLUMNS)))
    lazy = xr.Variable(("time", "latitude", "longitude"), _Backend(grid["target"].values))
    lazy.encoding["preferred_chunks"] = {"time": 7}
    # 17 steps or more, in sevens: 21.
    assert in_chunks(xr.Dataset({"a": lazy})["a"]).chunks[0] == (21,) * 9 + (10,)


class _Backend(xr.backends.BackendArray):
    """Readings as a file gives them."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key: object) -> np.ndarray:
        return self.values[key.tuple]


def test_a_global_grid_of_decades_is_turned_in_milliseconds():
    latitude, longitude = np.linspace(-90, 90, 121), 1.5 * np.arange(240)
    steps = 4 * 365 * 60
    lazy = dask.array.zeros((steps, 121, 240), chunks=(10, 121, 240), dtype=np.float32)
    grid = grid_of(np.zeros((2, 121, 240)), latitude=latitude, longitude=longitude)
    times = pd.date_range("1960", periods=steps, freq="6h").to_numpy()
    grid = grid.isel(time=0, drop=True).assign_coords(time=times)
    grid["target"] = (("time", "latitude", "longitude"), lazy)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        nodes = as_nodes(grid)
        seconds.append(time.perf_counter() - start)
    assert nodes["target"].shape == (steps, 29_040)
    # 25 ms on an idle core; the bound leaves room for a busy one.
    assert min(seconds) < 0.2


def test_what_is_no_dataset_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"must be an xarray\.Dataset; got str\. Pass what"):
        inspect.unwrap(as_nodes)("x")
