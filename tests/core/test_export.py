"""Exported models: equal to the trained one, complete in themselves, refused where they must be."""

import dataclasses
import functools
import json
import shutil
import sys
import warnings

import numpy as np
import pytest
import torch
from command_line import refused, run_command
from small_runs import (
    HISTORY,
    HORIZON,
    NODES,
    SEGMENTS,
    contents,
    dataset_of,
    rhythm,
    small_config,
    small_model,
)

from sttrans_core import export
from sttrans_core.bench import measure_efficiency
from sttrans_core.export import export_forecaster
from sttrans_core.fitted import FittedData
from sttrans_core.forecaster import Forecaster

TOPK, HEADS = 5, 2
NAMES = ["readings", "time_of_day", "day_of_week"]


def plain_inputs(series, starts):
    """Cut windows without the package: readings with NaN, slots and weekdays by hand."""
    steps = np.asarray(starts)[:, None] + np.arange(HISTORY + HORIZON)
    minutes = 5 * steps  # the series starts on Monday, 1 January 2024, at midnight
    readings = series["target"].values[steps[:, :HISTORY]]
    assert np.isnan(readings).any()
    return readings, minutes // 5 % 288, minutes // (24 * 60) % 7


def expected(forecaster, series, starts):
    """Give forecasts of the trained model, and the alignment of the first window."""
    times = series["time"].values[np.asarray(starts) + HISTORY - 1]
    forecast = forecaster.forecast(series, times)["forecast"].values
    return forecast, forecaster.align(series, times[0])


def check_equal(outputs, forecaster, series, starts):
    forecast, alignment = expected(forecaster, series, starts)
    got, node, step, weight = (np.asarray(each) for each in outputs)
    assert got.dtype == np.float32
    spread = forecaster.data.scaler.std
    np.testing.assert_allclose(got / spread, forecast / spread, atol=2e-5, rtol=0)
    assert node.shape == step.shape == (len(starts), NODES, SEGMENTS, TOPK)
    np.testing.assert_array_equal(node[0], alignment["source_node_index"])
    np.testing.assert_array_equal(step[0], alignment["source_step"])
    np.testing.assert_allclose(weight[0], alignment["weight"], atol=1e-5)
    assert weight.shape == (len(starts), NODES, SEGMENTS, HEADS, TOPK)
    np.testing.assert_allclose(weight.sum(-1), 1, atol=1e-5)


def run_onnx(path, arrays):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def run(path, inputs):
    """Run a file in either form."""
    if path.suffix == ".onnx":
        return run_onnx(path, inputs.values())
    with torch.no_grad():
        return torch.export.load(path).module()(*map(torch.from_numpy, inputs.values()))


@pytest.fixture(scope="module")
def trace_once():
    """Give a trace that remembers: it takes most of the time of an export."""
    return functools.cache(export._trace)


@pytest.fixture(scope="module")
def before(trained, series):
    """Give a forecast and the weights before anything is exported."""
    state = {name: value.clone() for name, value in trained.model.state_dict().items()}
    return trained.forecast(series), state


@pytest.fixture(scope="module")
def exported(trained, before, trace_once, tmp_path_factory):
    """Give the trained model in every form."""
    folder = tmp_path_factory.mktemp("exported")
    convert, converted = torch.onnx.export, []

    def convert_once(*args, **options):
        converted.append(converted[0] if converted else convert(*args, **options))
        return converted[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_trace", trace_once)
        patch.setattr("torch.onnx.export", convert_once)
        export_forecaster(trained, folder / "model.pt2")
        export_forecaster(trained, folder / "model.onnx")
        export_forecaster(trained, folder / "int8.onnx", int8=True)
    return folder


@pytest.fixture
def exported_at_once(exported, monkeypatch):
    """Let the benchmark find the exported files instead of making them anew."""

    def copy(forecaster, path, *, int8=False):
        name = "int8.onnx" if int8 else f"model{path.suffix}"
        if path.suffix == ".onnx" and sys.modules.get("onnx", "") is None:
            raise ImportError
        shutil.copy(exported / name, path)

    monkeypatch.setattr("sttrans_core.bench.efficiency.export_forecaster", copy)


@pytest.mark.parametrize("starts", [[190 - HISTORY - HORIZON], [0, 3, 50, 101, 150]])
def test_a_reloaded_program_is_equal(starts, exported, trained, series):
    program = torch.export.load(exported / "model.pt2").module()
    inputs = [torch.from_numpy(each) for each in plain_inputs(series, starts)]
    with torch.no_grad():
        check_equal(program(*inputs), trained, series, starts)


@pytest.mark.parametrize("starts", [[190 - HISTORY - HORIZON], [0, 3, 50, 101, 150]])
def test_onnx_is_equal(starts, exported, trained, series):
    outputs = run_onnx(exported / "model.onnx", plain_inputs(series, starts))
    check_equal(outputs, trained, series, starts)


def test_an_exported_model_keeps_to_the_lowest_value(trained, series, tmp_path):
    data = dataclasses.replace(trained.data, attrs={**trained.data.attrs, "valid_min": 50.0})
    bounded = Forecaster(
        model=trained.model, config=trained.config, data=data, bands=trained.bands, device="cpu"
    )
    export_forecaster(bounded, tmp_path / "model.pt2")
    inputs = [torch.from_numpy(each) for each in plain_inputs(series, [0, 50])]
    with torch.no_grad():
        outputs = torch.export.load(tmp_path / "model.pt2").module()(*inputs)
    assert outputs[0].min() == 50
    check_equal(outputs, bounded, series, [0, 50])


def test_int8_is_near_and_smaller(exported, trained, series):
    starts = list(range(0, 150, 7))
    forecast, _ = expected(trained, series, starts)
    got = run_onnx(exported / "int8.onnx", plain_inputs(series, starts))[0]
    change = np.abs(got - forecast) / trained.data.scaler.std
    assert 0 < change.mean() < 0.02
    assert change.max() < 0.3


def _described(path):
    if path.suffix == ".pt2":
        files = {"sttrans.json": ""}
        torch.export.load(path, extra_files=files)
        return json.loads(files["sttrans.json"])
    metadata = pytest.importorskip("onnxruntime").InferenceSession(path).get_modelmeta()
    return json.loads(metadata.custom_metadata_map["sttrans.json"])


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx", "int8.onnx"])
def test_a_file_says_what_it_needs(name, exported, trained, series):
    described = _described(exported / name)
    assert described["nodes"] == series["node"].values.tolist()
    assert (described["units"], described["interval"]) == ("mph", "5min")
    assert (described["history_steps"], described["horizon_steps"]) == (HISTORY, HORIZON)
    assert described["steps_per_day"] == 288
    assert described["run"] == trained.config.hash
    assert described["scaler"]["mean"] == trained.data.scaler.mean
    assert list(described["inputs"]) == NAMES
    assert list(described["outputs"]) == ["forecast", "node", "step", "weight"]


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx", "int8.onnx"])
def test_a_file_tells_nothing_of_the_machine(name, exported):
    assert str(exported.parent).encode() not in (exported / name).read_bytes()
    assert b"model.py" not in (exported / name).read_bytes()


def untrained(trained, **model):
    config = small_config().replace({"model": model})
    return Forecaster(
        model=small_model(config), config=config, data=trained.data, bands=None, device="cpu"
    )


@pytest.mark.parametrize(
    "model",
    [
        {
            "screening": "blocks",
            "window": "none",
            "position": "fixed",
            "num_decoder_layers": 2,
        },
        {"sources": "dense"},
        {"sources": "candidates", "screening": "blocks"},
        {"sources": "own"},
    ],
    ids=lambda model: "-".join(str(value) for value in model.values()),
)
def test_other_variants_are_exported_too(model, trained, series, tmp_path):
    forecaster = untrained(trained, **model)
    starts = [0, 20, 90]
    export_forecaster(forecaster, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    inputs = [torch.from_numpy(each) for each in plain_inputs(series, starts)]
    with torch.no_grad():
        outputs = program(*inputs)
    if forecaster.model.selection.topk is not None:
        check_equal(outputs, forecaster, series, starts)
    else:  # all sources are kept, so there is nothing to list
        assert len(outputs) == 1
        times = series["time"].values[np.asarray(starts) + HISTORY - 1]
        want = forecaster.forecast(series, times)["forecast"].values
        np.testing.assert_allclose(outputs[0], want, rtol=1e-5)


def fitted(series, config):
    """Give an untrained model that knows what is usual in a series."""
    config = config.replace({"data": {"history_steps": HISTORY, "horizon_steps": HORIZON}})
    data, split = FittedData.fit(series, config)
    model = data.build_model(config)
    model.anomalies.fit(series, data.scaler, num_train_steps=len(split.train) + HISTORY - 1)
    return Forecaster(model=model, config=config, data=data, bands=None, device="cpu")


def test_readings_of_earlier_days_are_one_more_input(tmp_path):
    path = tmp_path / "model.onnx"
    values = rhythm(steps=24 * 45, missing=0.1)["target"].values
    series = dataset_of(values, interval="1h")
    forecaster = fitted(
        series, small_config().replace({"data": {"lag_days": (1,), "usual_weeks": 2}})
    )
    export_forecaster(forecaster, path)
    described = _described(path)
    assert list(described["inputs"]) == [*NAMES, "earlier"]
    assert described["earlier_readings"] == [
        "1 days before the step", "mean of what was observed 1 to 2 weeks before",
    ]  # fmt: skip
    steps = np.array([[400], [500], [777]]) + np.arange(HISTORY + HORIZON)
    with warnings.catch_warnings():  # both weeks may be missing
        warnings.simplefilter("ignore")
        usual = np.nanmean([values[steps - 7 * 24], values[steps - 14 * 24]], axis=0)
    inputs = {
        "readings": values[steps[:, :HISTORY]],
        "time_of_day": steps % 24,
        "day_of_week": steps // 24 % 7,  # the series starts on a Monday
        "earlier": np.stack([values[steps - 24], usual], axis=-1).astype(np.float32),
    }
    assert all(np.isnan(inputs[name]).any() for name in ("readings", "earlier"))
    check_equal(run(path, inputs), forecaster, series, steps[:, 0])


def test_the_season_is_one_more_input(tmp_path):
    values = rhythm(steps=800)["target"].values
    series = dataset_of(values, first="2023-01-01", interval="1D")
    forecaster = fitted(series, small_config())
    export_forecaster(forecaster, tmp_path / "model.pt2")
    steps = np.array([[50], [362]]) + np.arange(HISTORY + HORIZON)
    inputs = {
        "readings": values[steps[:, :HISTORY]],
        "time_of_day": np.zeros_like(steps),
        "day_of_week": (steps + 6) % 7,  # from a Sunday on
        "year_share": np.where(steps < 365, steps / 365, (steps - 365) / 366).astype(np.float32),
    }
    check_equal(run(tmp_path / "model.pt2", inputs), forecaster, series, steps[:, 0])


def test_the_inputs_of_windows_are_those_of_files(tmp_path):
    values = rhythm(steps=24 * 20, missing=0.1)["target"].values
    series = dataset_of(values, interval="1h")
    forecaster = fitted(series, small_config().replace({"data": {"lag_days": (7,)}}))
    readings, *_, earlier = export.plain_inputs(forecaster, forecaster.windows(series).batch([300]))
    steps = 300 + np.arange(HISTORY + HORIZON)
    np.testing.assert_allclose(readings[0], values[steps[:HISTORY]], atol=1e-4)
    np.testing.assert_allclose(earlier[0, ..., 0], values[steps - 168], atol=1e-4)


def test_several_quantities_are_refused(trained, tmp_path):
    data = dataclasses.replace(trained.data, covariates=("wind", "rain"))
    several = Forecaster(
        model=trained.model, config=trained.config, data=data, bands=None, device="cpu"
    )
    with pytest.raises(ValueError, match="no other readings; got a run with covariates"):
        export_forecaster(several, tmp_path / "model.pt2")
    assert contents(tmp_path) == {}


@pytest.mark.usefixtures("exported")
def test_exporting_leaves_the_forecaster_as_it_was(trained, before, series):
    forecast, state = before
    assert all(value.equal(state[name]) for name, value in trained.model.state_dict().items())
    assert trained.forecast(series).identical(forecast)


@pytest.mark.parametrize(
    ("name", "int8", "sentence"),
    [
        ("model.pt", False, r"must end in \.pt2 \(torch\.export\) or \.onnx; got .*model\.pt\. "),
        (
            "none/model.pt2",
            False,
            "must be a file in a folder that is there; got .*Make the folder",
        ),
        ("model.pt2", True, r"int8 must come with a file that ends in \.onnx; got .*model\.onnx"),
    ],
)
def test_what_cannot_be_written_is_refused(name, int8, sentence, trained, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export_forecaster(trained, tmp_path / name, int8=int8)
    assert contents(tmp_path) == {}


def test_a_folder_in_the_place_of_the_file_is_refused(trained, tmp_path):
    (tmp_path / "model.pt2").mkdir()
    with pytest.raises(ValueError, match="must be a file in a folder that is there"):
        export_forecaster(trained, tmp_path / "model.pt2")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_extra_is_named(missing, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    sentence = rf"Writing model\.onnx needs {missing}\. .*pip install 'sttrans\[onnx\]'"
    with pytest.raises(ImportError, match=sentence):
        export_forecaster(trained, tmp_path / "model.onnx")
    assert contents(tmp_path) == {}


def test_a_file_that_is_there_stays_whole(trained, trace_once, tmp_path, monkeypatch):
    path = tmp_path / "model.pt2"
    path.write_bytes(b"before")

    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_trace", trace_once)
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        export_forecaster(trained, path)
    assert contents(tmp_path) == {"model.pt2": b"before"}


def test_what_onnx_cannot_do_is_said(trained, trace_once, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise torch.onnx.errors.OnnxExporterError("no such thing")

    monkeypatch.setattr(export, "_trace", trace_once)
    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(ValueError, match=r"operations that ONNX has; got no such thing.*\.pt2"):
        export_forecaster(trained, tmp_path / "model.onnx")
    assert contents(tmp_path) == {}


def test_the_command_writes_a_file(trained, tmp_path, monkeypatch, capsys):
    output = tmp_path / "model.pt2"
    said = run_command("export", "--run-dir", trained.run_dir, "--output", output)
    assert said.startswith(f"Wrote {output} (")
    assert output.stat().st_size > 0
    empty = tmp_path / "empty"
    empty.mkdir()
    sentence = refused(monkeypatch, capsys, "export", "--run-dir", empty, "--output", output)
    assert "A run folder must hold config.json" in sentence
    monkeypatch.setitem(sys.modules, "onnx", None)
    more = ("--run-dir", trained.run_dir, "--output", tmp_path / "model.onnx")
    assert "pip install 'sttrans[onnx]'" in refused(monkeypatch, capsys, "export", *more)


def test_efficiency_has_a_row_for_every_form(exported_at_once, trained, series):
    table = measure_efficiency(trained, series, windows=9, repeats=1).set_index("form")
    assert list(table.index) == ["PyTorch", "torch.export", "ONNX", "ONNX int8"]
    assert set(table["parameters"]) == {sum(p.numel() for p in trained.model.parameters())}
    assert (table[["kb", "ms", "ms_low", "ms_high"]] > 0).all(axis=None)
    mae = table["mae"]
    assert mae["torch.export"] == mae["ONNX"] == pytest.approx(mae["PyTorch"], abs=2e-4)
    assert mae["ONNX int8"] == pytest.approx(mae["PyTorch"], abs=0.5)


def test_the_command_measures_without_onnx_too(
    exported_at_once, trained, series, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("sttrans_core.commands.main.load_series", lambda *_: series)
    more = ("--run-dir", trained.run_dir, "--output-dir", tmp_path)
    said = run_command("efficiency", *more, "--windows", 5, "--repeats", 1)
    assert "Without ONNX, whose extra is missing: pip install 'sttrans[onnx]'." in said
    assert set(contents(tmp_path)) == {"efficiency.csv", "efficiency.md"}
    lines = (tmp_path / "efficiency.md").read_text().splitlines()
    assert [line.split(" | ")[1] for line in lines[2:4]] == ["PyTorch", "torch.export"]
    assert "over 5 windows, spread evenly over the test part" in lines[-1]


def test_nothing_to_measure_is_refused(trained, series):
    with pytest.raises(ValueError, match="at least 1 window and 1 repeat; got windows=0"):
        measure_efficiency(trained, series, windows=0)
