"""Which runs a sweep consists of, how far each has come, and how long the rest takes."""

import io
import json
import os
import re
import sys
from functools import partial

import numpy as np
import pytest
import rich.console
from command_line import refused
from small_runs import contents
from small_sweeps import SETTINGS, save_series, small_plans

from sttrans_core.commands.experiments import _Screen
from sttrans_core.config import BaselineConfig, ConfigError
from sttrans_core.data import load_dataset
from sttrans_core.evaluation.protocol import evaluate_baselines
from sttrans_core.experiments.plan import MODELS, experiment_for, plan_runs, stage_of
from sttrans_core.experiments.progress import (
    Outcome,
    Progress,
    RunStatus,
    estimate_seconds,
    progress_lines,
    read_status,
)
from sttrans_core.experiments.records import read_runs
from sttrans_core.experiments.sweep import run_sweep
from sttrans_core.experiments.worker import perform
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.settings import BASELINE_NAMES
from sttrans_core.training.loop import train


def test_runs_are_all_combinations_seed_after_seed():
    plans = plan_runs(
        ["metr-la-10", "simulated-freeway"], models=["st-trans", "stid"],
        variants=["full", "no_gate"], seeds=[0, 7],
    )  # fmt: skip
    assert [plan.name for plan in plans[:4]] == [
        "metr-la-10/full/seed-0",
        "metr-la-10/no_gate/seed-0",
        "metr-la-10/stid/seed-0",
        "simulated-freeway/full/seed-0",
    ]
    assert len(plans) == 2 * 3 * 2
    assert {plan.config.train.seed for plan in plans[6:]} == {7}
    assert plans[1].config.variant_name == "no_gate"
    assert plans[2].config.model == BaselineConfig(baseline="stid")


def test_the_same_run_is_planned_once():
    assert len(plan_runs(["metr-la", "metr-la"], seeds=[1, 1])) == 1


def test_what_is_fitted_at_once_is_planned_for_one_seed():
    plans = plan_runs(["metr-la-10"], models=["stid", "ridge", "arima"], seeds=[4, 5])
    assert [plan.name.partition("/")[2] for plan in plans] == [
        "stid/seed-4", "ridge/seed-4", "arima/seed-4", "stid/seed-5",
    ]  # fmt: skip


def test_settings_come_after_the_variant_and_the_seed_last():
    settings = {"model": {"residual": "gated"}, "train": {"epochs": 3, "seed": 5}}
    config = experiment_for(
        "st-trans", variant="no_gate", dataset="metr-la", preset="compact", seed=2,
        settings=settings,
    )  # fmt: skip
    assert config.model.residual == "gated"
    assert (config.preset_name, config.model.width) == ("compact", 16)
    assert (config.train.epochs, config.train.seed) == (3, 2)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_configuration(model):
    config = experiment_for(
        model, variant="full", dataset="metr-la", preset="small", seed=3, settings={}
    )
    assert config.train.seed == 3
    assert isinstance(config.model, BaselineConfig) == (model != "st-trans")


def test_saved_data_sets_are_named_by_their_file(tmp_path):
    (plan,) = plan_runs([save_series(tmp_path)])
    assert plan.name == "small/full/seed-0"
    assert plan.config.data.dataset == str(tmp_path / "small.nc")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--model", "prophet"), "The model must be one of st-trans, .*; got 'prophet'. Choose"),
        (("--variant", "no_head"), "variant must be one of full, .*; got 'no_head'"),
        (("--preset", "huge"), "preset must be one of small, .*; got 'huge'"),
        (("--dataset", "mars"), "A data set must be one of .*; got 'mars'. Choose one of them"),
        (("--dataset", "no.nc"), "A saved data set must be there; got no.nc, which is not."),
        (("--set", "train.epoch=3"), "known fields only; got 'train.epoch'"),
        (("--set", "train.num_processes=2"), "must have one process; got train.num_processes=2"),
        (("--model", "stid", "--variant", "full"), "--variant must stand beside the model st-tr"),
        (("--workers", "0"), "--workers must be at least 1; got 0. Raise it."),
        (("--threads", "-1"), "--threads must be at least 1; got -1. Raise it."),
    ],
)
def test_a_bad_plan_ends_with_one_sentence(options, sentence, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = refused(monkeypatch, capsys, "sweep", "--output", tmp_path / "out", *options)
    assert re.search(sentence, line)
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_refused(tmp_path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(save_series(tmp_path / name))
    with pytest.raises(ValueError, match=r"must have names of their own; got .*b/small.nc and an"):
        plan_runs(paths)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Give a plan and the folder of its run, performed without dask."""
    folder = tmp_path_factory.mktemp("performed")
    (plan,) = small_plans(save_series(folder))
    assert perform(plan.config, folder / "run") == "finished"
    return plan, folder / "run"


def test_a_performed_run_is_scored_and_measured(finished):
    plan, path = finished
    forecaster = load_run(path)
    assert forecaster.scores is not None
    cost = json.loads((path / "cost.json").read_text())
    assert cost["config"] == plan.config.hash
    assert cost["parameters"] == sum(p.numel() for p in forecaster.model.parameters())
    assert cost["epochs"] == 2
    assert cost["training_seconds"] == forecaster.history[-1]["total_seconds"]
    assert 0 <= cost["training_mb"] < cost["peak_mb"]
    assert cost["runs_at_once"] == 1
    assert cost["inference_ms_low"] <= cost["inference_ms"] <= cost["inference_ms_high"]
    assert (path / "robustness.csv").exists()
    assert not (path / "hits.csv").exists()  # the series knows no true causes


@pytest.mark.parametrize("name", ["ridge", "arima"])
def test_a_baseline_that_is_fitted_at_once_is_scored_with_the_others(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # to start processes takes longer than to fit
    dataset = save_series(tmp_path, nodes=2)
    (plan,) = plan_runs([dataset], models=[name], settings={"data": SETTINGS["data"]})
    folder = tmp_path / name
    assert perform(plan.config, folder) == "finished"
    assert stage_of(RunFolder(folder), plan.config) == "finished"
    (record,), _ = read_runs([folder])
    series = load_dataset(dataset)
    data = plan.config.data
    sizes = {"history_steps": data.history_steps, "horizon_steps": data.horizon_steps}
    found = evaluate_baselines(series, **sizes, first=[name])
    assert found["model"].values[0] == BASELINE_NAMES[name] == plan.config.model_name
    assert record.scores["model"].values.tolist() == found["model"].values.tolist()
    assert np.allclose(record.scores["mae"], found["mae"], atol=1e-4)
    with pytest.raises(ConfigError, match=rf"must have epochs; got the baseline '{name}', which"):
        train(plan.config, run_dir=tmp_path / "trained", dataset=series)
    assert not (tmp_path / "trained").exists()
    with pytest.raises(RunError, match=r"model\.safetensors"):
        load_run(folder)


# Every state that a kill can leave behind, by the files that are missing then.
@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ([], "finished"),
        (["scores.csv"], "trained"),
        (["scores.csv", "cost.json", "robustness.csv"], "trained"),
        (["scores.csv", "status.json"], "begun"),
        (["scores.csv", "status.json", "model.safetensors"], "begun"),
        (["scores.csv", "status.json", "model.safetensors", "checkpoint.safetensors"], "begun"),
        (["scores.csv", "status.json", "data.json", "history.jsonl"], "new"),
        (["scores.csv", "status.json", "data.json", "config.json"], "new"),
    ],
)
def test_a_run_goes_on_from_whatever_a_kill_left(missing, stage, finished, tmp_path):
    plan, path = finished
    before = contents(path)
    folder = RunFolder(tmp_path / "run")
    folder.create()
    for name, content in before.items():
        if name not in missing:
            (folder / name).write_bytes(content)
    if stage == "new":
        for name in ("model.safetensors", "checkpoint.safetensors"):
            (folder / name).unlink()
    assert stage_of(folder, plan.config) == stage
    assert perform(plan.config, folder.path) == "finished"
    after = contents(folder.path)
    assert set(after) == set(before)
    for name in ("scores.csv", "robustness.csv", "model.safetensors"):
        assert after[name] == before[name]
    if stage in {"finished", "trained"}:
        assert after["history.jsonl"] == before["history.jsonl"]


def test_a_run_of_other_settings_is_left_alone(finished, tmp_path):
    plan, path = finished
    before = contents(path)
    other = plan.config.replace({"train": {"epochs": 5}})
    sentence = rf"with {plan.config.hash} instead of {other.hash}\. Choose another --output"
    for act in (lambda: stage_of(RunFolder(path), other), lambda: perform(other, path)):
        with pytest.raises(RunError, match=sentence):
            act()
    assert contents(path) == before


def test_a_run_stops_between_its_scores(finished, tmp_path):
    plan, path = finished
    for name, content in contents(path).items():
        if name not in {"scores.csv", "cost.json"}:
            (tmp_path / name).write_bytes(content)
    answers = iter([False, True])
    assert perform(plan.config, tmp_path, should_stop=lambda: next(answers)) == "stopped"
    assert (tmp_path / "cost.json").exists()
    assert not (tmp_path / "scores.csv").exists()


def _running(name: str, *, seconds: float, left: float | None) -> RunStatus:
    return RunStatus(name=name, state="running", seconds=seconds, eta_seconds=left)


def test_the_time_left_is_shared_by_workers():
    # Runs take 100 s and 30 + 50 s, 90 s on average; 2 wait, so 50 + 2 x 90 are left for 2 workers.
    running = [_running("a", seconds=30, left=50)]
    assert estimate_seconds([100], running, num_waiting=2, num_workers=2) == pytest.approx(115)
    # The longest run that is worked on is the least that is left.
    assert estimate_seconds([], running, num_waiting=0, num_workers=9) == pytest.approx(50)
    # One that says nothing yet is taken to last as long as the others, 80 s, of which 20 are over.
    more = [*running, _running("b", seconds=20, left=None)]
    assert estimate_seconds([], more, num_waiting=0, num_workers=1) == pytest.approx(50 + 60)


def test_nothing_is_known_before_a_run_says_something():
    silent = [_running("a", seconds=3, left=None)]
    assert estimate_seconds([], silent, num_waiting=1, num_workers=1) is None
    assert estimate_seconds([], [], num_waiting=0, num_workers=1) == 0


def test_the_lines_tell_all_and_each():
    running = RunStatus(
        name="d/full/seed-1", state="running", epoch=3, epochs=12, seconds=9, eta_seconds=61.2
    )
    outcomes = [Outcome(name=str(i), state=state) for i, state in enumerate(["finished", "failed"])]
    progress = Progress(
        outcomes=outcomes, running=[running, _running("e", seconds=0, left=None)], num_waiting=4,
        eta_seconds=3600,
    )  # fmt: skip
    assert progress_lines(progress) == [
        "1 of 8 runs finished, 1 failed, 2 running, 4 waiting, 1:00:00 left",
        "  d/full/seed-1: running  epoch 3 of 12, 0:01:02 left",
        "  e: running",
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_every_end_is_told_once(is_terminal, monkeypatch):
    said = io.StringIO()
    console = partial(rich.console.Console, file=said, force_terminal=is_terminal, width=99)
    monkeypatch.setattr("rich.console.Console", console)
    outcomes = [
        Outcome(name="before", state="finished", was_finished=True),
        Outcome(name="good", state="finished"),
        Outcome(name="bad", state="failed", reason="No [space] left."),
    ]
    running = RunStatus(name="last", state="running", epoch=1, epochs=2, eta_seconds=5)
    with _Screen() as screen:
        for count in (1, 1, 2, 2, 3, 3):
            screen(
                Progress(
                    outcomes=outcomes[:count],
                    running=[running],
                    num_waiting=3 - count,
                    eta_seconds=7,
                )
            )
    text = said.getvalue()
    assert text.count("good: finished") == 1
    assert text.count("bad: failed (No [space] left.)") == 1
    assert "before: finished" not in text
    assert "last: running  epoch 1 of 2, 0:00:05 left" in text
    # A terminal is drawn anew each time, a file gets lines when there is news.
    assert text.count("0:00:07 left") >= 6 if is_terminal else text.count("0:00:07 left") == 3


def test_a_status_of_an_earlier_time_is_not_that_of_now(tmp_path):
    fields = {"state": "running", "epoch": 2, "epochs": 5, "eta_seconds": 9.5}
    path = tmp_path / "status.json"
    assert read_status("a", tmp_path, since=100, now=103).state == "starting"
    path.write_text(json.dumps(fields))
    os.utime(path, (99, 99))
    assert read_status("a", tmp_path, since=100, now=103).state == "starting"
    os.utime(path, (101, 101))
    assert read_status("a", tmp_path, since=100, now=103) == RunStatus(
        name="a", state="running", epoch=2, epochs=5, seconds=3, eta_seconds=9.5
    )
    path.write_text(json.dumps({**fields, "state": "finished"}))
    assert read_status("a", tmp_path, since=100, now=103).state == "scoring"
    path.write_text('{"state": "run')  # cannot happen with RunFolder, but may on other systems
    assert read_status("a", tmp_path, since=100, now=103).state == "starting"


def test_a_model_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"must be one of st-trans, .*; got 'prophet'"):
        experiment_for("prophet", variant="full", dataset="x", preset="small", seed=0, settings={})


def test_without_dask_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    plans = plan_runs(["simulated-freeway"])
    sentence = r"needs dask\.distributed, .* \(distributed\)\. .*pip install 'sttrans\[sweep\]'"
    with pytest.raises(ImportError, match=sentence):
        run_sweep(plans, tmp_path / "out")
