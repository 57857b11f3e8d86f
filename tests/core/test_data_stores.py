"""Datasets in zarr stores: the same as in memory, read in parts, refused where they are damaged.

The stores are simulated, in the layout of WeatherBench: one or a few time steps a compressed chunk.
"""

import json
import pickle
import sys
import tracemalloc
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import torch
import xarray as xr
from command_line import refused, run_command
from data_samples import Command
from hypothesis import given
from hypothesis import strategies as st
from small_runs import HISTORY, HORIZON, NODES, contents, dataset_of, rhythm, small_config
from test_own_sensors import TINY
from zarr.storage import LocalStore

from sttrans_core import slabs
from sttrans_core.baselines import HistoricalAverage, LastObserved, LastValue
from sttrans_core.data import data_card, load_dataset
from sttrans_core.data.saved import absolute_name
from sttrans_core.data.windows import Scaler, Windows
from sttrans_core.evaluation.protocol import evaluate, evaluate_baselines
from sttrans_core.fitted import FittedData
from sttrans_core.forecaster import Forecaster
from sttrans_core.runs import fingerprint
from sttrans_core.schema import SchemaError, check_dataset
from sttrans_core.training.loop import train

# Texts of one length, as numpy keeps ids, are new in format 3.
pytestmark = pytest.mark.filterwarnings("ignore:The data type:FutureWarning")


def _save(dataset: xr.Dataset, path: Path, *, steps: int = 1) -> Path:
    chunks = {"target": {"chunks": (steps, dataset.sizes["node"])}}
    dataset.to_zarr(path, encoding=chunks, consolidated=False)
    return path


@pytest.fixture(scope="module")
def store(series: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store of `series`, which has missing readings."""
    return _save(series, tmp_path_factory.mktemp("stores") / "small.zarr")


@pytest.fixture
def stored(store: Path) -> xr.Dataset:
    """Give the dataset of the store, freshly opened."""
    return load_dataset(store)


@pytest.fixture
def _short_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let slabs be 4 steps long, so that none of the counts of steps here is a multiple."""
    monkeypatch.setattr(slabs, "_VALUES_AT_ONCE", 4 * NODES + 1)


def _same(left: np.ndarray | torch.Tensor, right: np.ndarray | torch.Tensor) -> bool:
    """Compare bit for bit; NaN equals NaN."""
    left, right = np.asarray(left), np.asarray(right)
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def _windows(dataset: xr.Dataset) -> Windows:
    scaler = Scaler(mean=51.0, std=7.0)
    return Windows(dataset, history_steps=HISTORY, horizon_steps=HORIZON, scaler=scaler)


@pytest.mark.parametrize("steps", [1, 5])
def test_what_was_stored_comes_back(series, tmp_path, steps):
    stored = load_dataset(_save(series, tmp_path / "own.zarr", steps=steps))
    assert not slabs.is_in_memory(stored["target"])
    assert stored["node"].dtype == series["node"].dtype
    assert _same(stored["target"].values, series["target"].values)
    xr.testing.assert_identical(stored, series)


def test_ids_of_any_length_come_back(series, tmp_path):
    texts = series.assign_coords(node=series["node"].astype(object))
    xr.testing.assert_identical(load_dataset(_save(texts, tmp_path / "own.zarr")), series)


def test_an_adjacency_comes_back(tmp_path):
    own = rhythm(nodes=5).assign(adjacency=(("node", "to_node"), np.eye(5, dtype=np.float32)))
    own = own.assign_coords(to_node=own["node"].values)
    stored = load_dataset(_save(own, tmp_path / "own.zarr"))
    assert slabs.is_in_memory(stored["adjacency"])
    xr.testing.assert_identical(stored, own)


def test_a_store_is_found_from_any_folder(series, store, tmp_path, monkeypatch):
    monkeypatch.chdir(store.parent)
    stored = load_dataset("small.zarr")
    assert absolute_name("small.zarr/") == str(store)  # as a shell completes the name of a folder
    monkeypatch.chdir(tmp_path)
    assert _same(stored["target"][:3].values, series["target"][:3].values)


@given(starts=st.lists(st.integers(0, 199 - HISTORY), min_size=1, max_size=9))
def test_batches_are_those_of_the_dataset_in_memory(series, store, starts):
    # From 199 - 7 - 6 + 1 = 187 on, the horizon goes beyond the end.
    batch = _windows(load_dataset(store)).batch(starts)
    expected = _windows(series).batch(starts)
    assert (batch.target is None) == (max(starts) >= 187)
    for got, wanted in zip(batch, expected, strict=True):
        assert (got is None and wanted is None) or _same(got, wanted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the names of the chunks of readings that are read, as they are."""
    names, get = [], LocalStore.get

    async def counted(self: LocalStore, key: str, *options: object, **more: object) -> object:
        if key.startswith("target/c/"):
            names.append(key)
        return await get(self, key, *options, **more)

    monkeypatch.setattr(LocalStore, "get", counted)
    return names


def test_a_batch_reads_its_steps_once_and_no_others(stored, reads):
    windows = _windows(stored)
    reads.clear()
    windows.batch([100, 2, 101])
    # 13 steps from 2, and 13 from 100 with one more for 101.
    assert sorted(reads) == sorted(f"target/c/{t}/0" for t in [*range(2, 15), *range(100, 114)])


def test_a_forecast_and_an_alignment_read_what_they_show(trained, stored, reads):
    origin = 60
    near = {f"target/c/{t}/0" for t in range(origin - HISTORY, origin + 1 + HORIZON)}
    reads.clear()
    trained.align(stored, stored["time"].values[origin])
    assert set(reads) <= near
    trained.forecast(stored, [stored["time"].values[origin]])
    assert set(reads) <= near  # no band reaches below 0, where the sign of all readings counts
    assert not slabs.is_in_memory(stored["target"])


@pytest.mark.usefixtures("_short_slabs")
def test_everything_fitted_is_the_same_in_slabs(series, stored):
    assert len(list(slabs.slabs(stored["target"]))) == 50  # 199 / 4
    assert fingerprint(stored) == fingerprint(series)
    assert data_card(stored).equals(data_card(series))
    (ours, split), (wanted, same_split) = (
        FittedData.fit(dataset, small_config()) for dataset in (stored, series)
    )
    assert split == same_split
    assert ours.scaler.mean == pytest.approx(wanted.scaler.mean, rel=1e-13)
    assert ours.scaler.std == pytest.approx(wanted.scaler.std, rel=1e-13)
    assert {**ours.to_fields(), "scaler": None} == {**wanted.to_fields(), "scaler": None}
    scores, expected = (
        evaluate_baselines(dataset, history_steps=HISTORY, horizon_steps=HORIZON)
        for dataset in (stored, series)
    )
    xr.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert not slabs.is_in_memory(stored["target"])


@pytest.mark.usefixtures("_short_slabs")
@pytest.mark.parametrize("kind", [LastValue, LastObserved, HistoricalAverage])
def test_baselines_are_the_same_in_slabs(kind, stored, series):
    origins = np.array([3, 4, 63, 64, 65, 150, 198])  # both sides of a stretch of 64 steps
    got, wanted = (
        kind(dataset, num_train_steps=139).predict(origins, horizon_steps=2)
        for dataset in (stored, series)
    )
    assert np.allclose(got, wanted, rtol=1e-6, atol=0)
    assert np.isfinite(got).all()


def test_one_piece_gives_the_plain_mean_and_deviation(series):
    values = series["target"].values
    observed = values[np.isfinite(values)].astype(np.float64)
    scaler = Scaler.fit(series["target"])
    assert (scaler.mean, scaler.std) == (observed.mean(), observed.std())


def test_a_run_from_a_store_is_the_run_from_memory(trained, series, stored, tmp_path):
    ours = train(small_config(), run_dir=tmp_path / "run", dataset=stored)
    for row, expected in zip(ours.history, trained.history, strict=True):
        seconds = {name: 0 for name in row if name.endswith("seconds")}
        assert row | seconds == expected | seconds
    weights = trained.model.state_dict()
    assert all(_same(value, weights[name]) for name, value in ours.model.state_dict().items())
    assert _same(ours.bands, trained.bands)
    assert ours.data == trained.data
    xr.testing.assert_allclose(evaluate(ours, stored), evaluate(trained, series), rtol=1e-6)
    origins = series["time"].values[[60, 198]]
    assert ours.forecast(stored, origins).identical(trained.forecast(series, origins))
    assert ours.align(stored, origins[0]).identical(trained.align(series, origins[0]))
    assert not slabs.is_in_memory(stored["target"])


@pytest.mark.parametrize("attrs", [{}, {"valid_min": 0.0}])
def test_bands_end_at_the_lowest_value_that_a_store_names(trained, tmp_path, series, attrs):
    dataset = series.assign_attrs({**series.attrs, **attrs})  # forecasts near 50, bands 99 wide
    wide = Forecaster(
        model=trained.model, config=trained.config, data=trained.data,
        bands=torch.full_like(trained.bands, 99.0),
    )  # fmt: skip
    forecast = wide.forecast(load_dataset(_save(dataset, tmp_path / "low.zarr")))
    assert forecast.identical(wide.forecast(dataset))
    assert bool((forecast["lower"] >= 0).all()) == bool(attrs)


def test_memory_is_bounded_and_flat(tmp_path, monkeypatch):
    # 24 MB of readings, slabs of 1 MB, windows of 13 steps of 8 KB.
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2999, 2003)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    places = np.linspace(-60, 60, 2003)
    dataset = dataset_of(values, latitude=places, longitude=places, interval="6h")
    path = _save(dataset, tmp_path / "large.zarr", steps=23)
    del dataset, values
    monkeypatch.setattr(slabs, "_VALUES_AT_ONCE", 1 << 18)
    order = np.random.default_rng(1).permutation(2999 - HISTORY - HORIZON)[:60].tolist()

    def fed() -> int:
        for start in order:
            windows.batch([start])
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert now < 4e6
        return peak

    tracemalloc.start()
    try:
        stored = load_dataset(path)
        FittedData.fit(stored, small_config())
        windows = _windows(stored)
        peaks = [fed(), fed(), fed()]
        evaluate_baselines(stored, history_steps=HISTORY, horizon_steps=HORIZON)
        scored = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peaks[0] < 12e6  # with opening and fitting: a slab of 1 MB, twice that in float64, masks
    assert max(peaks[1:]) < 2e6
    assert peaks[2] - peaks[1] < 2e5
    assert scored < 20e6  # forecasts of 64 windows, some in float64
    assert not slabs.is_in_memory(stored["target"])


def _metadata(path: Path) -> dict:
    return json.loads((path / "zarr.json").read_text())


def test_places_that_hold_no_store_are_refused(series, tmp_path):
    path = tmp_path / "own.zarr"
    with pytest.raises(FileNotFoundError, match=rf"must exist; got {path}, .*to_zarr\('own\.zarr'"):
        load_dataset(path)
    message = r"own\.zarr must be a whole zarr store of format 3; got one that cannot be read \(\w+"
    path.write_bytes(b"PK")
    with pytest.raises(SchemaError, match=r"of format 3; got a file\. Save it again"):
        load_dataset(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SchemaError, match=r"of format 3; got a folder without zarr\.json\. Save"):
        load_dataset(path)
    for content in ("", '{"zarr_format": 3, "node_type": "array"}'):
        (path / "zarr.json").write_text(content)
        with pytest.raises(SchemaError, match=message):
            load_dataset(path)


@pytest.mark.parametrize("part", ["target/c/0/0", "target/zarr.json", "node/c/0"])
def test_damaged_stores_are_refused(series, tmp_path, part):
    path = _save(series, tmp_path / "own.zarr")
    whole = (path / part).read_bytes()
    (path / part).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SchemaError, match=r"own\.zarr must be a whole zarr store .* be read \("):
        load_dataset(path)


def test_an_address_is_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("https://example.org/own.zarr", "memory://own.zarr", "simplecache::own.zarr"):
        with pytest.raises(FileNotFoundError, match="A saved dataset must exist; got"):
            load_dataset(name)


def test_nothing_in_a_store_is_run(series, tmp_path):
    # Format 2 knows a codec that unpickles; format 3 has none of that name.
    path, trace = tmp_path / "own.zarr", tmp_path / "trace"
    own = series.drop_vars("node")
    own.to_zarr(path, zarr_format=2, consolidated=False)
    (path / "node").mkdir()
    fields = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "order": "C"}
    more = {"fill_value": None, "filters": [{"id": "pickle"}], "compressor": None}
    (path / "node" / ".zarray").write_text(json.dumps(fields | more))
    (path / "node" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["node"]}')
    (path / "node" / "0").write_bytes(pickle.dumps(Command(f"touch {trace}")))
    assert numcodecs.get_codec({"id": "pickle"}).codec_id == "pickle"
    with pytest.raises(SchemaError, match=r"of format 3; got one of format 2\. Save it"):
        load_dataset(path)
    new = _save(series, tmp_path / "new.zarr")
    fields = _metadata(new / "node")
    for name in ("pickle", "numcodecs.pickle"):
        codecs = [{"name": name, "configuration": {}}, *fields["codecs"]]
        (new / "node" / "zarr.json").write_text(json.dumps(fields | {"codecs": codecs}))
        with pytest.raises(SchemaError, match=r"new\.zarr must be a whole zarr store"):
            load_dataset(new)
    assert not trace.exists()


def test_consolidated_names_are_not_followed(series, tmp_path):
    other = _save(series, tmp_path / "other.zarr")
    path = _save(series.drop_vars("longitude"), tmp_path / "own.zarr")
    outside = {"../other.zarr/longitude": _metadata(other / "longitude")}
    fields = _metadata(path)
    fields["consolidated_metadata"] = {
        "kind": "inline", "must_understand": False, "metadata": outside,
    }  # fmt: skip
    (path / "zarr.json").write_text(json.dumps(fields))
    with pytest.raises(SchemaError, match=r"^In own\.zarr: .*the coordinate 'longitude'"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(target="speed"), r"variable 'target'; got \['speed'\]\. Build"),
        (lambda d: d.isel(time=[0, 1, 3]), r"interval between times must be constant"),
        (lambda d: d.drop_vars("latitude"), r"must have the coordinate 'latitude' along 'node'"),
        (lambda d: d.where(d["target"] < 60, np.inf), r"finite or NaN; got \d+ infinite readings"),
        (lambda d: d.where(d["target"] > 1e9), r"at least one observed reading; got only missing"),
    ],
)
@pytest.mark.usefixtures("_short_slabs")
def test_a_broken_contract_names_the_store(series, tmp_path, change, message):
    broken = change(series).assign_attrs(series.attrs)
    broken.to_zarr(tmp_path / "own.zarr", consolidated=False)
    with pytest.raises(SchemaError, match=rf"^In own\.zarr: .*{message}"):
        load_dataset(tmp_path / "own.zarr")
    lazy = xr.open_zarr(tmp_path / "own.zarr", chunks=None, consolidated=False)
    with pytest.raises(SchemaError, match=message):
        check_dataset(lazy)


def test_a_grid_is_refused_before_it_is_read(series, tmp_path, reads):
    grid = series["target"].values[:, :10].reshape(-1, 2, 5)
    weather = xr.Dataset({"target": (("time", "lat", "lon"), grid)}, {"time": series["time"]})
    weather.to_zarr(tmp_path / "era.zarr", consolidated=False)
    with pytest.raises(SchemaError, match=r"^In era\.zarr: 'target' must have the dims \('time', "):
        load_dataset(tmp_path / "era.zarr")
    assert reads == []


def test_a_chunk_that_was_never_written_is_missing(series, tmp_path):
    # So the format has it: chunks of missing readings alone are left out.
    path = _save(series, tmp_path / "own.zarr")
    (path / "target" / "c" / "5" / "0").unlink()
    stored = load_dataset(path)["target"]
    assert np.isnan(stored[5]).all()
    assert _same(stored[6].values, series["target"][6].values)


def test_a_store_is_trained_scored_and_forecast_from_the_shell(
    series, store, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    own = _save(series.assign_attrs(synthetic=0, title="Own sensors"), tmp_path / "own.zarr")
    output = run_command("train", "--dataset", "own.zarr", "--run-dir", "run", *TINY)
    assert "Own sensors: standard split, test part" in output
    config = json.loads(Path("run/config.json").read_text())
    assert config["data"]["dataset"] == str(own)
    run_command("forecast", "--run-dir", "run", "--output", "f.nc")
    run_command("align", "--run-dir", "run", "--output", "a.nc", "--node", "s3")
    assert "Own sensors" in run_command("download", "own.zarr")
    before = contents(own)
    own.rename("moved.zarr")
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", "run")
    assert line.endswith(f"got nothing at {own}. Pass its new place with --path new.zarr.")
    run_command("evaluate", "--run-dir", "run", "--path", "moved.zarr")
    once = ("--windows", 1, "--repeats", 1)
    monkeypatch.setitem(sys.modules, "onnx", None)
    run_command(
        "efficiency", "--run-dir", "run", "--path", "moved.zarr", "--output-dir", "a/table", *once
    )
    assert set(contents(Path("a/table"))) == {"efficiency.csv", "efficiency.md"}
    assert contents(tmp_path / "moved.zarr") == before
