"""The command line: what it writes, what it refuses, and how it stops."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from command_line import refused, run_command
from data_samples import speeds, write_folder
from small_runs import contents, small_options
from typer.testing import CliRunner

from sttrans_core.commands.main import app
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunFolder

TINY = small_options()


@pytest.fixture(autouse=True)
def _signals_as_they_were():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def asked(monkeypatch, series):
    """Load the small series whatever is asked for, and note what was asked for."""
    names = []

    def load(name, *, path=None):
        names.append((name, path))
        return series

    monkeypatch.setattr("sttrans_core.data.load_dataset", load)
    return names


def test_training_writes_a_run_and_prints_its_scores(tmp_path, asked):
    output = run_command(
        "train", "--run-dir", tmp_path, "--dataset", "small", "--variant", "no_gate",
        *TINY, "--set", "model.residual=plain", "--set", "train.epochs=3",
    )  # fmt: skip
    assert asked == [("small", None)]
    forecaster = load_run(tmp_path)
    assert forecaster.config.variant_name == "no_gate"
    assert forecaster.config.train.epochs == 3
    assert [line.split()[1] for line in output.splitlines() if line.startswith("epoch")] == [
        "1", "2", "3",
    ]  # fmt: skip
    assert forecaster.scores is not None
    mean = float(forecaster.scores["mae"].sel(model="ST-Trans no_gate").mean())
    ours = next(line for line in output.splitlines() if line.startswith("ST-Trans no_gate"))
    assert ours.split()[-1] == f"{mean:.3f}"
    assert all(name in output for name in ("last value", "historical average", "5 min"))


def test_a_configuration_file_makes_the_same_run(tmp_path, run_copy, trained):
    run_command(
        "train", "--run-dir", tmp_path / "new", "--config", run_copy / "config.json", "--no-score"
    )
    again = load_run(tmp_path / "new")
    assert again.config == trained.config
    assert again.scores is None
    assert [r["val_mae"] for r in again.history] == [r["val_mae"] for r in trained.history]


def test_evaluate_prints_and_writes_when_asked(run_copy):
    before = contents(run_copy)
    options = ("--part", "validation", "--over", "prefix", "--missing", "as_zero")
    output = run_command("evaluate", "--run-dir", run_copy, *options)
    assert "validation part, 19 windows, per prefix, missing targets scored as 0" in output
    assert contents(run_copy) == before
    run_command("evaluate", "--run-dir", run_copy, "--write")
    assert set(contents(run_copy)) - set(before) == {"scores.csv"}


def test_forecast_and_align_write_labelled_files(run_copy, tmp_path, series, trained):
    run_command("forecast", "--run-dir", run_copy, "--output", tmp_path / "f.nc",
         "--time", "2024-01-01T05:00")  # fmt: skip
    run_command("align", "--run-dir", run_copy, "--output", tmp_path / "a.nc", "--node", "s3",
         "--node", "s1", "--topk", "2")  # fmt: skip
    with xr.open_dataset(tmp_path / "f.nc") as file:
        xr.testing.assert_identical(file.load(), trained.forecast(series, ["2024-01-01T05:00"]))
    with xr.open_dataset(tmp_path / "a.nc") as file:
        last = series["time"].values[-1]
        expected = trained.align(series, last, ["s3", "s1"], topk=2)
        xr.testing.assert_identical(file.load(), expected)


def test_list_and_download_name_what_there_is():
    output = run_command("list")
    for name in ("metr-la-10", "simulated-freeway", "no_topk", "Does keeping only the Top-k"):
        assert name in output
    assert "small" in run_command("download", "anything")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--variant", "no_head"], "variant must be one of full, no_alignment"),
        (["--set", "train.epoch=3"], "known fields only; got 'train.epoch'"),
        (["--set", "training.epochs=3"], "known fields only; got 'training'"),
        (["--set", "epochs=3"], "--set must be section.field=value; got 'epochs=3'. Write for"),
        (["--set", "train.epochs"], "--set must be section.field=value; got 'train.epochs'"),
        (
            ["--set", "train.epochs=many"],
            "epochs must be a whole number, at least 1; got 'many",
        ),
        (
            ["--set", "train.epochs=0"],
            "epochs must be a whole number, at least 1; got 0. The",
        ),
        (["--set", "data.history_steps=400"], "got 199 steps with history_steps=400"),
        (["--set", "model.topk=1000"], "topk must be at most the number of sources; got topk=1000"),
    ],
)
def test_a_bad_training_command_ends_with_one_sentence(
    arguments, sentence, monkeypatch, capsys, tmp_path
):
    run = ("train", "--run-dir", tmp_path / "run", "--dataset", "small")
    line = refused(monkeypatch, capsys, *run, *arguments)
    assert line.startswith("Error: ")
    assert sentence in line


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["evaluate", "--part", "tests"], "--part must be one of train, validation, test; got"),
        (["evaluate", "--over", "all"], "--over must be one of step, prefix; got 'all'. Choose"),
        (["evaluate", "--missing", "no"], "--missing must be one of ignore, as_zero; got 'no'"),
        (["forecast", "--output", "x.nc", "--time", "2031-01-01"], "origin must be a time of the"),
        (
            ["forecast", "--output", "x.nc", "--time", "tomorrow"],
            "be a time; got 'tomorrow'",
        ),
        (["align", "--output", "x.nc", "--time", "2024-01-01 12:03"], "is 2024-01-01 12:05:00."),
        (["align", "--output", "x.nc", "--node", "x1"], "Nodes must be ids of the run; got 'x1'"),
        (
            ["align", "--output", "x.nc", "--topk", "0"],
            "a whole number, at least 1; got 0",
        ),
        (["align", "--output", "x.nc", "--topk", "71"], "topk must be between 1 and the number of"),
    ],
)
def test_a_bad_question_ends_with_one_sentence(
    command, sentence, monkeypatch, capsys, run_copy, tmp_path
):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert sentence in refused(monkeypatch, capsys, *command, "--run-dir", run_copy)
    assert contents(tmp_path) == before


def test_a_run_that_is_there_is_not_overwritten(monkeypatch, capsys, run_copy):
    before = contents(run_copy)
    line = refused(monkeypatch, capsys, "train", "--run-dir", run_copy, *TINY)
    assert "run_dir must be new or empty" in line
    assert contents(run_copy) == before


def test_a_run_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", tmp_path / "none")
    assert f"A run folder must hold config.json; got {tmp_path / 'none'} without it" in line


def test_a_configuration_file_and_a_variant_contradict(monkeypatch, capsys, run_copy, tmp_path):
    run = ("train", "--run-dir", tmp_path / "new", "--config", run_copy / "config.json")
    for option, value in (("variant", "no_topk"), ("preset", "small"), ("dataset", "small")):
        line = refused(monkeypatch, capsys, *run, f"--{option}", value)
        assert (
            f"--config must stand without --dataset, --preset and --variant; got --{option}" in line
        )
    assert not (tmp_path / "new").exists()


def test_a_configuration_file_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    run = ("train", "--run-dir", tmp_path / "new", "--config", tmp_path / "nowhere.json")
    line = refused(monkeypatch, capsys, *run)
    assert f"--config must be a JSON file that can be read; got {tmp_path}/nowhere.json" in line


@pytest.mark.parametrize("command", ["forecast", "align"])
def test_an_output_without_a_folder_is_refused(command, monkeypatch, capsys, run_copy, tmp_path):
    for output in (tmp_path / "none" / "x.nc", tmp_path):
        line = refused(monkeypatch, capsys, command, "--run-dir", run_copy, "--output", output)
        assert f"--output must be a file in a folder that is there; got {output}. Make the" in line


@pytest.mark.parametrize("command", ["forecast", "align"])
def test_an_output_of_another_kind_is_refused(command, monkeypatch, capsys, run_copy, tmp_path):
    output = tmp_path / "my f.txt"
    line = refused(monkeypatch, capsys, command, "--run-dir", run_copy, "--output", output)
    assert f"--output must end in .nc, since NetCDF is what is written; got {output}" in line
    assert f"Write for example --output '{tmp_path}/my f.nc'." in line
    assert not output.exists()


@pytest.mark.parametrize("command", ["forecast", "align"])
def test_an_output_that_cannot_be_written_is_refused_first(
    command, monkeypatch, capsys, tmp_path, asked
):
    # /proc takes no files from anybody; the run, which is not there, is not even looked for.
    for output in ("/proc/x.nc", tmp_path / "taken.nc"):
        (tmp_path / "taken.nc").touch()
        monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)
        run = ("--run-dir", tmp_path / "none", "--output", output)
        line = refused(monkeypatch, capsys, command, *run)
        assert f"--output must be a file that can be written; got {output} (" in line
        assert line.endswith("Choose another folder, or free this one.")
    assert asked == []
    assert contents(tmp_path) == {"taken.nc": b""}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OSError(
                28, "Unable to synchronously create file (unable to truncate: name = 'x.nc', "
                "errno = 28, error message = 'No space left on device', flags = 13)",
            ),
            "No space left on device",
        ),
        (OSError("Can't write data (file write failed)"), "HDF5 failed"),
    ],
)  # fmt: skip
def test_what_hdf5_says_becomes_one_sentence(
    error, reason, monkeypatch, capsys, run_copy, tmp_path
):
    def fail(self, path, **options):
        Path(path).touch()
        raise error

    (tmp_path / "f.nc").write_text("before")
    monkeypatch.setattr("xarray.Dataset.to_netcdf", fail)
    run = ("forecast", "--run-dir", run_copy, "--output", tmp_path / "f.nc")
    line = refused(monkeypatch, capsys, *run)
    got = f"--output must be a file that can be written; got {tmp_path / 'f.nc'} ({reason}). Check"
    assert got in line
    assert [path.name for path in tmp_path.glob("*.nc*")] == ["f.nc"]
    assert not list(tmp_path.glob(".f.nc*"))
    assert (tmp_path / "f.nc").read_text() == "before"


def test_a_refusal_without_a_file_names_none(monkeypatch, capsys, run_copy):
    def full(self, *args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", run_copy, "--write")
    assert "got 'No space left on device'. Check the path" in line


def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys, run_copy):
    def full(self, *args, **options):
        raise OSError(28, "No space left on device", "scores.csv")

    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", run_copy, "--write")
    assert (
        "Files must be readable and writable; got 'No space left on device' for scores.csv" in line
    )


def test_a_dataset_that_is_not_there_keeps_its_own_sentence(monkeypatch, capsys, run_copy):
    def load(name, *, path=None):
        raise FileNotFoundError("A dataset must be on this machine; got none. Download it.")

    monkeypatch.setattr("sttrans_core.data.load_dataset", load)
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", run_copy)
    assert line == "Error: A dataset must be on this machine; got none. Download it."


def _train_until(monkeypatch, tmp_path, where: str) -> tuple[int, str]:
    """Train, with a signal that comes as soon as a function is called."""

    def interrupt(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **options)

    module, name = where.rsplit(".", 1)
    function = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(where, interrupt)
    result = CliRunner().invoke(app, ["train", "--run-dir", str(tmp_path), *TINY])
    return result.exit_code, result.output


def test_a_signal_after_the_last_epoch_leaves_a_run_that_can_go_on(monkeypatch, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    code, output = _train_until(monkeypatch, tmp_path, "sttrans_core.training.loop.conformal_bands")
    assert code == 3
    command = f"python -m sttrans_core train --resume --run-dir {tmp_path}"
    assert f"Stopped. Go on with: {command}\n" in output
    folder = RunFolder(tmp_path)
    assert (folder.read_json("status.json")["state"], len(folder.history())) == ("stopped", 2)
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()


def test_a_signal_while_scoring_leaves_a_finished_run(monkeypatch, tmp_path):
    code, output = _train_until(monkeypatch, tmp_path, "sttrans_core.evaluation.protocol.evaluate")
    assert code == 3
    command = f"python -m sttrans_core evaluate --write --run-dir {tmp_path}"
    assert f"Trained, but not scored. Score it with: {command}\n" in output
    assert RunFolder(tmp_path).read_json("status.json")["state"] == "finished"
    assert load_run(tmp_path).scores is None


def test_epochs_are_told_as_they_end(tmp_path):
    # Not a terminal, but a pipe, which would hold lines back that are not flushed.
    data = write_folder(tmp_path / "data", speeds(steps=300))
    command = [
        sys.executable, "-m", "sttrans_core", "train", "--run-dir", str(tmp_path / "run"),
        "--dataset", "metr-la", "--path", str(data), *TINY, "--set", "train.epochs=100000",
        "--set", "train.patience=100000",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("epoch   1  train")
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def _wait_for(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_training_that_can_go_on(number, tmp_path):
    data = write_folder(tmp_path / "data", speeds(steps=300))
    run_dir = tmp_path / "run"
    command = [
        sys.executable, "-m", "sttrans_core", "train", "--run-dir", str(run_dir),
        "--dataset", "metr-la", "--path", str(data), *TINY, "--set", "train.epochs=100000",
        "--set", "train.patience=100000",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        history = run_dir / "history.jsonl"
        _wait_for(lambda: process.poll() is not None or history.exists(), seconds=60)
        status = RunFolder(run_dir).read_json("status.json")
        assert (status["state"], status["pid"]) == ("running", process.pid)
        began = time.monotonic()
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert time.monotonic() - began < 10  # two seconds, and those of a busy machine
    finally:
        process.kill()
    assert process.returncode == 3, errors
    command = f"python -m sttrans_core train --resume --run-dir {run_dir} --path {data}"
    assert f"Stopped. Go on with: {command}\n" in output
    status = RunFolder(run_dir).read_json("status.json")
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert status["state"] == "stopped"
    assert status["epoch"] == len(rows) >= 1
    checkpoint = RunFolder(run_dir).load_tensors("checkpoint.safetensors")
    assert int(checkpoint["counters"][0]) == len(rows)
