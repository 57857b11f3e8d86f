"""Run folders: whole files, refused damage, one clear sentence each."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_runs import contents, rhythm

from sttrans_core.config import ConfigError, config_hash
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError, RunFolder, fingerprint


def _edit(path, change):
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_the_environment_says_what_ran(trained):
    fields = RunFolder(trained.run_dir).read_json("environment.json")
    assert fields["packages"]["torch"] == torch.__version__
    assert set(fields["packages"]) == {"sttrans", "torch", "numpy", "xarray", "lightning-fabric"}
    assert {"python", "system", "threads", "cuda"} <= set(fields)
    command = ["git", "rev-parse", "HEAD"]
    answer = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if answer.returncode == 0:  # the tests run from a checkout
        commit, *changed = fields["commit"].split("-")
        assert commit == answer.stdout.strip()
        assert changed in ([], ["dirty"])
    else:
        assert fields["commit"] is None
    assert "/" not in str(fields["commit"])


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    RunFolder(tmp_path).write_environment()
    assert RunFolder(tmp_path).read_json("environment.json")["commit"] is None


def test_no_half_written_file_stays(trained):
    assert not [name for name in contents(trained.run_dir) if name.endswith(".part")]


def test_the_fingerprint_sees_readings_times_and_nodes():
    dataset = rhythm(steps=13, nodes=3, missing=0.1)
    assert len(fingerprint(dataset)) == 16
    assert fingerprint(dataset) == fingerprint(rhythm(steps=13, nodes=3, missing=0.1))
    value = dataset.copy(deep=True)
    value["target"][5, 2] = 51.0
    later = dataset.assign_coords(time=dataset["time"] + np.timedelta64(5, "m"))
    renamed = dataset.assign_coords(node=["s0", "s1", "t2"])
    prints = {fingerprint(some) for some in (dataset, value, later, renamed)}
    assert len(prints) == 4
    assert fingerprint(dataset.assign_attrs(title="other")) == fingerprint(dataset)


@given(
    st.dictionaries(
        st.text("abc._", min_size=1, max_size=9), st.lists(st.floats(width=32), min_size=1)
    )
)
def test_tensors_come_back_as_they_went(tmp_path_factory, values):
    folder = RunFolder(tmp_path_factory.mktemp("tensors"))
    tensors = {name: torch.tensor(numbers) for name, numbers in values.items()}
    folder.save_tensors("some.safetensors", tensors)
    other = folder.path / "other"
    other.touch()
    assert (folder.path / "some.safetensors").stat().st_mode == other.stat().st_mode
    again = folder.load_tensors("some.safetensors")
    assert set(again) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(again[name].nan_to_num(), tensor.nan_to_num())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("config.json", r"must hold config\.json; got .* without it\. Point at a folder made by"),
        ("data.json", r"must hold data\.json; got .* without it\. Point at a folder made by train"),
        ("model.safetensors", r"must hold model\.safetensors; got .* without it\. Finish the"),
    ],
)
def test_an_incomplete_folder_is_refused(name, sentence, run_copy):
    (run_copy / name).unlink()
    before = contents(run_copy)
    with pytest.raises(RunError, match=sentence):
        load_run(run_copy)
    assert contents(run_copy) == before


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"must hold config\.json; got .*/nowhere without it"):
        load_run(tmp_path / "nowhere")
    assert contents(tmp_path) == {}


def test_a_file_in_place_of_the_folder_is_refused(run_copy):
    sentence = r"run folder must be a folder that can be read; got .*config\.json \(Not a directory"
    with pytest.raises(RunError, match=sentence):
        load_run(run_copy / "config.json")


def test_a_path_that_the_system_refuses_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"folder that can be read; got .* \(File name too long"):
        RunFolder(tmp_path / ("x" * 300)).holds("config.json")


@pytest.mark.parametrize("text", ["{}\n", "[1\n", "3\n", "\xff\n"])
def test_a_damaged_history_is_refused(text, run_copy, trained):
    path = run_copy / "history.jsonl"
    path.write_bytes(path.read_bytes() + text.encode("latin-1"))
    with pytest.raises(RunError, match=r"history\.jsonl of a run must be JSON; got an unreadable"):
        load_run(run_copy).history  # noqa: B018
    assert len(trained.history) == 2


def test_a_line_that_is_being_written_is_left_out(run_copy):
    path = run_copy / "history.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "tra')
    assert [row["epoch"] for row in load_run(run_copy).history] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00",
        "model,horizon\na,1\n",
        "model,horizon,lead_minutes,mae,rmse,mape,protocol\n",
        "model,horizon,lead_minutes,mae,rmse,mape,protocol\na,1,5,x,1,1,p\n",
        "model,horizon,lead_minutes,mae,rmse,mape,protocol\na,1,5,1,1,1,p\na,1,5,1,1,1,p\n",
    ],
)
def test_damaged_scores_are_refused(text, run_copy):
    (run_copy / "scores.csv").write_text(text)
    with pytest.raises(RunError, match=r"scores\.csv of a run must be a whole table"):
        load_run(run_copy).scores  # noqa: B018


@pytest.mark.parametrize("keep", [0, 5, 1_000, -1])
def test_damaged_weights_are_refused(keep, run_copy):
    path = run_copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    before = contents(run_copy)
    with pytest.raises(RunError, match=r"must be a whole safetensors file; got a damaged one in"):
        load_run(run_copy)
    assert contents(run_copy) == before


@pytest.mark.parametrize("name", ["config.json", "data.json"])
def test_a_damaged_json_file_is_refused(name, run_copy):
    path = run_copy / name
    path.write_text(path.read_text()[:40])
    with pytest.raises(RunError, match=f"{name} of a run must be JSON; got an unreadable file"):
        load_run(run_copy)


def test_a_configuration_with_an_unknown_field_is_refused(run_copy):
    _edit(run_copy / "config.json", lambda fields: fields["model"].update(depth=3))
    with pytest.raises(ConfigError, match=r"^In \S+/config\.json: .*only; got 'model\.depth'"):
        load_run(run_copy)


@pytest.mark.parametrize("change", [{"scaler": {"mean": 0.0}}, {"extra": 1}, {"scaler": None}])
def test_data_fields_that_train_did_not_write_are_refused(change, run_copy):
    _edit(run_copy / "data.json", lambda fields: fields.update(change))
    with pytest.raises(
        RunError, match=r"data\.json must hold what train writes; got a file withou"
    ):
        load_run(run_copy)


def test_data_fields_that_are_missing_are_refused(run_copy):
    _edit(run_copy / "data.json", lambda fields: fields.pop("scaler"))
    with pytest.raises(RunError, match=r"data\.json must hold what train writes; .*'scaler'"):
        load_run(run_copy)


CHANGES = [
    {"width": 16},
    {"num_encoder_layers": 2},
    {"value": "static"},
    {"residual": "plain"},
    {"num_segments": 2},
]


@pytest.mark.parametrize("changes", [*CHANGES, {"topk": 9}, {"window": "none"}])
def test_weights_that_another_configuration_made_are_refused(changes, run_copy, trained):
    _edit(run_copy / "config.json", lambda fields: fields["model"].update(changes))
    before = contents(run_copy)
    edited = RunFolder(run_copy).config().hash
    sentence = (
        rf"weights must fit config\.json of the run; got weights of the configuration "
        rf"{trained.config.hash} beside one of {edited} in .*\. Restore the files of one run"
    )
    with pytest.raises(RunError, match=sentence):
        load_run(run_copy)
    assert contents(run_copy) == before


@pytest.mark.parametrize("changes", CHANGES)
def test_weights_of_other_shapes_are_refused(changes, run_copy):
    weights = load_file(run_copy / "model.safetensors")
    save_file(weights, run_copy / "model.safetensors")  # without saying what made them
    assert load_run(run_copy).bands is not None
    _edit(run_copy / "config.json", lambda fields: fields["model"].update(changes))
    sentence = r"weights must fit config\.json of the run; got other shapes in .*Restore the files"
    with pytest.raises(RunError, match=sentence) as caught:
        load_run(run_copy)
    assert "\n" not in str(caught.value)


def test_labels_and_fields_of_a_later_version_do_not_matter(run_copy):
    _edit(run_copy / "config.json", lambda fields: fields.update(variant_name="mine"))
    assert load_run(run_copy).config.label == "mine, seed 0"
    # A field that this version knows and the one that trained did not is absent from both.
    folder = RunFolder(run_copy)
    _edit(run_copy / "config.json", lambda fields: fields["train"].pop("patience"))
    weights = load_file(run_copy / "model.safetensors")
    made_by = {"config": config_hash(folder.read_json("config.json"))}
    save_file(weights, run_copy / "model.safetensors", metadata=made_by)
    assert load_run(run_copy).config.train.patience == 20


def test_weights_of_another_run_are_refused(run_copy, tmp_path):
    weights = load_file(run_copy / "model.safetensors")
    save_file({"other": torch.zeros(3), "bands": weights["bands"]}, run_copy / "model.safetensors")
    with pytest.raises(RunError, match=r"weights must fit config\.json of the run"):
        load_run(run_copy)


def test_a_loaded_run_is_the_run(run_copy, trained, series):
    loaded = load_run(run_copy, device="cpu")
    assert (loaded.config, loaded.data) == (trained.config, trained.data)
    assert loaded.device == torch.device("cpu")
    assert not loaded.model.training
    xr.testing.assert_identical(loaded.forecast(series), trained.forecast(series))
