"""Own sensors from a table to a forecast, in Python and from the shell, as the README shows it."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from command_line import refused, run_command
from small_runs import contents, rhythm, small_config, small_options
from typer.testing import CliRunner

from sttrans_core.commands.main import app
from sttrans_core.data import load_dataset
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunFolder
from sttrans_core.training.loop import train

ROOT = Path(__file__).parents[2]
TINY = small_options()


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """Work in a new folder that holds own.nc, with no other data on the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    rhythm().assign_attrs(synthetic=0, title="Own sensors").to_netcdf("own.nc")
    return tmp_path / "own.nc"


def test_a_saved_dataset_is_trained_scored_and_forecast_from_the_shell(own, monkeypatch, capsys):
    output = run_command("train", "--dataset", "own.nc", "--run-dir", "runs/own", *TINY)
    assert "Own sensors: standard split, test part" in output
    run_dir = own.parent / "runs" / "own"
    config = json.loads((run_dir / "config.json").read_text())
    assert config["data"]["dataset"] == str(own)
    elsewhere = own.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the run knows the whole path
    assert "Own sensors: " in run_command("evaluate", "--run-dir", run_dir)
    run_command("forecast", "--run-dir", run_dir, "--output", "f.nc")
    run_command("align", "--run-dir", run_dir, "--output", "a.nc", "--node", "s3")
    series = load_run(run_dir).data.attrs["title"]
    with xr.open_dataset("f.nc") as file:
        assert file.attrs["title"] == series == "Own sensors"
        before = file.load()
    # Where the file was moved, every command takes its new place.
    moved = elsewhere / "moved.nc"
    own.rename(moved)
    for command in (["evaluate"], ["forecast", "--output", "g.nc"], ["align", "--output", "b.nc"]):
        line = refused(monkeypatch, capsys, *command, "--run-dir", run_dir)
        assert (
            f"where it was at the training; got nothing at {own}. Pass its new place with" in line
        )
        run_command(*command, "--run-dir", run_dir, "--path", "moved.nc")
    with xr.open_dataset("g.nc") as file:
        xr.testing.assert_identical(file.load(), before)
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", run_dir, "--path", "own.csv")
    assert (
        "--path must end in .nc or .zarr for a run on a saved dataset, here own.nc; got own.csv."
        in line
    )


def test_a_run_on_a_saved_dataset_goes_on_where_it_was_moved(own):
    config = small_config(data={"dataset": "own.nc"}, train={"epochs": 3})
    asked = iter(range(10**6))
    train(config, run_dir="run", should_stop=lambda: next(asked) >= 8)
    folder = RunFolder("run")
    assert folder.read_json("status.json")["state"] == "stopped"
    assert folder.config().data.dataset == str(own)
    # In Python the relative name finds it again, and from the shell no name is needed at all.
    train(config, run_dir="run", should_stop=lambda: True, resume=True)
    own.rename(own.with_name("moved.nc"))
    run_command("train", "--resume", "--run-dir", "run", "--path", "moved.nc", "--no-score")
    assert [row["epoch"] for row in folder.history()] == [1, 2, 3]
    assert folder.config().data.dataset == str(own)


def test_a_signal_tells_the_whole_command(own, monkeypatch):
    monkeypatch.setattr("sttrans_core.commands.support.StopOnSignal.__call__", lambda _: True)
    run = ["train", "--dataset", "own.nc", "--run-dir", "my run", "--no-score", *TINY]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 3
    monkeypatch.undo()
    told = "Stopped. Go on with: python -m sttrans_core train --resume --run-dir 'my run'"
    assert result.output.strip() == f"{told} --no-score"
    monkeypatch.chdir(own.parent)
    run_command("train", "--resume", "--run-dir", "my run", "--no-score")
    assert load_run("my run").scores is None
    assert RunFolder("my run").read_json("status.json")["state"] == "finished"


def test_resuming_takes_the_configuration_of_the_run(own, monkeypatch, capsys):
    config = small_config("no_gate", data={"dataset": str(own)})
    train(config, run_dir="run", should_stop=lambda: True)
    run_command("train", "--resume", "--run-dir", "run", "--no-score")
    assert load_run("run").config == config
    line = refused(monkeypatch, capsys, "train", "--resume", "--run-dir", "rum")
    assert "Resuming needs a run in its folder; got rum, which holds none. Correct the fol" in line
    assert "leave resume (--resume) out to start a new run" in line
    assert not Path("rum").exists()


def test_a_run_on_a_dataset_that_was_handed_over_asks_for_a_file(
    own, run_copy, series, monkeypatch, capsys
):
    line = refused(monkeypatch, capsys, "evaluate", "--run-dir", run_copy)
    assert "or a NetCDF file that ends in .nc; got 'small'. For your own data, save" in line
    assert line.endswith("With a run that is there, pass --path own.nc.")
    series.to_netcdf("series.nc")
    output = run_command("evaluate", "--run-dir", run_copy, "--path", "series.nc")
    assert "test part, 37 windows, per step, missing targets ignored\n" in output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--dataset", "own"],
            "NetCDF file that ends in .nc; got 'own'. For your own",
        ),
        (["--dataset", "own", "--path", "speeds.csv"], "NetCDF file that ends in .nc; got 'own'"),
        (
            ["--dataset", "own.nc", "--path", "b.nc"],
            "a file itself; got path='b.nc' beside 'own",
        ),
        (
            ["--path", "own.nc"],
            "must be a file of readings of simulated-freeway; got own.nc",
        ),
        (["--dataset", "metr-la", "--path", "own.nc"], "Write --dataset own.nc without --path."),
        (
            ["--dataset", "gone.nc"],
            "A saved dataset must exist; got gone.nc, which does not.",
        ),
        (["--dataset", "bad.nc"], "bad.nc must be a whole NetCDF file; got one that cannot be rea"),
        (["--dataset", "bare.nc"], "In bare.nc: A dataset must carry the attributes units, "),
        (
            ["--dataset", "metr-la", "--path", "speeds.csv"],
            "speeds.csv must hold readings of metr-la, of numbered sensors from 2012-03-01 to",
        ),
    ],
)
def test_what_is_no_dataset_is_refused(options, sentence, own, monkeypatch, capsys):
    Path("bad.nc").write_text("time,a")
    bare = rhythm()
    bare.attrs = {}
    bare.to_netcdf("bare.nc")
    rhythm(steps=5)["target"].to_pandas().to_csv("speeds.csv")
    before = contents(own.parent)
    assert sentence in refused(monkeypatch, capsys, "train", "--run-dir", "run", *options)
    assert contents(own.parent) == before


def test_a_card_and_a_list_name_saved_datasets(own):
    assert re.search(r"title +Own sensors", run_command("download", "own.nc"))
    assert re.search(r"FILE\.nc +Own data: from_table", run_command("list"))
    for command in ("train", "download"):
        assert ".nc" in run_command(command, "--help")


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("## Your own sensors") : readme.index("## Your own grid")]
    code, store = re.findall(r"^```py\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    (shell,) = re.findall(r"^```bash\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    index = pd.date_range("2024-01-01", periods=400, freq="5min", name="time")
    phase = np.arange(400)[:, None] / 20 + np.arange(5)
    table = pd.DataFrame(80 + 20 * np.sin(phase), index=index, columns=[*"ABCDE"]).add_suffix("1")
    table.to_csv(tmp_path / "speeds.csv")
    places = pd.DataFrame({"id": table.columns, "lat": 52 + np.arange(5) / 100, "lon": 4.0})
    places.to_csv(tmp_path / "places.csv", index=False)
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - our own
    with warnings.catch_warnings():  # of the form of names, as the section says
        warnings.simplefilter("ignore")
        exec(store, {"dataset": load_dataset("own.nc")})  # noqa: S102
        load_dataset("own.zarr")
    lines = [line for line in shell.splitlines() if line.startswith("python -m sttrans_core")]
    for line in lines:
        run_command(*line.split()[3:])
    assert len(lines) == 3
    for run in tmp_path.glob("runs/*"):
        assert load_run(run).scores is not None
        assert len(load_run(run).history) == 3
    with xr.open_dataset(tmp_path / "forecast.nc") as forecast:
        assert forecast.attrs["units"] == "km/h"
        assert forecast["forecast"].sizes == {"time": 1, "horizon": 12, "node": 5}
    with xr.open_dataset(tmp_path / "alignment.nc") as alignment:
        assert alignment["query_node"].values.tolist() == ["A1"]
