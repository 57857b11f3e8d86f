"""Training: learns what is there, stops when asked, goes on as if it had never stopped."""

import inspect
import math
import time

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import contents, dataset_of, rhythm, small_config

from sttrans_core.config import ConfigError
from sttrans_core.data.windows import Batch
from sttrans_core.evaluation.protocol import evaluate
from sttrans_core.forecaster import load_run
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.schema import SchemaError
from sttrans_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from sttrans_core.training.loop import conformal_bands, train
from sttrans_core.training.optimization import averaged

LAG = 4


def _wave(steps: int):
    """Let node 0 drive four places that repeat it `LAG` steps later, with a little noise."""
    rng = np.random.default_rng(0)
    # A moving average: what is 3 steps away says nothing any more.
    driver = np.convolve(rng.normal(0, 10, steps + LAG + 2), np.ones(3) / 3, "valid")
    followers = driver[:-LAG, None] + rng.normal(0, 0.5, (steps, 4))
    return dataset_of(50 + np.column_stack([driver[LAG:], followers]))


@pytest.fixture(scope="module")
def wave_run(tmp_path_factory):
    dataset = _wave(2000)
    config = small_config(
        data={"horizon_steps": 3},
        # No encoder, so that what the alignment points at is what is read. All 28 sources are
        # kept: a source outside the Top-k learns nothing, and this test is not about that.
        model={"topk": 28, "num_encoder_layers": 0, "dropout": 0.0},
        train={"epochs": 8, "batch_size": 32, "learning_rate": 1e-2},
    )
    return train(config, run_dir=tmp_path_factory.mktemp("wave"), dataset=dataset), dataset


def test_it_beats_persistence_on_a_wave(wave_run):
    forecaster, dataset = wave_run
    scores = evaluate(forecaster, dataset)["mae"]
    ours = scores.sel(model="ST-Trans full").mean()
    for baseline in ("last value", "historical average"):
        assert ours < 0.7 * scores.sel(model=baseline).mean()


def test_it_looks_at_the_cause(wave_run):
    forecaster, dataset = wave_run
    followers = ["s1", "s2", "s3", "s4"]
    hits = []
    for origin in (1660, 1751, 1839, 1927):
        alignment = forecaster.align(dataset, dataset["time"].values[origin], followers)
        first = alignment.isel(source=0)
        # A follower h steps ahead shows what the driver shows h - LAG steps ahead; the newest
        # history step is 6. There is one segment per horizon step.
        true_step = 6 + first["segment_first_step"] - LAG
        near = abs(first["source_step"] - true_step) <= 1
        hits.append((near & (first["source_node"] == "s0")).values)
    # By chance it would be 3 sources of 28, or 11 %.
    assert np.mean(hits) > 0.9


def test_its_sources_forecast_alone(wave_run):
    """Half of the loss asks for it, and the wave is all in them."""
    forecaster, dataset = wave_run
    batch = forecaster.batch(dataset, dataset["time"].values[1700:1900:10])
    with torch.no_grad():
        aligned = forecaster.model(batch).aligned
    error = forecaster.data.in_units(aligned) - batch.target
    followers = batch.target[:, :, 1:]
    assert error[:, :, 1:].abs().mean() < 0.5 * (followers - followers.mean()).abs().mean()


def test_bands_hold_about_the_nominal_share(wave_run):
    forecaster, dataset = wave_run
    # Origins after the validation part; with 360 forecasts of 5 places the spread is a few percent.
    forecast = forecaster.forecast(dataset, dataset["time"].values[1630:1990])
    inside = (forecast["target"] >= forecast["lower"]) & (forecast["target"] <= forecast["upper"])
    assert float(inside.mean()) == pytest.approx(0.9, abs=0.05)


class _Fitted:
    """Stands in for what a run knows of its data: no scaling, no lowest value."""

    in_units = staticmethod(lambda values: values)


def _bands(residuals: np.ndarray, coverage: float) -> list[list[float]]:
    """Give bands of a model that always says 0, so that residuals are the targets' sizes."""
    windows, horizon, nodes = residuals.shape

    class Cut:
        def batch(self, starts):
            target = torch.tensor(residuals[starts], dtype=torch.float32)[..., None]
            steps = torch.zeros(len(starts), 1 + horizon, dtype=torch.int64)
            return Batch(
                values=torch.zeros(len(starts), 1, nodes, 1),
                observed=torch.ones(len(starts), 1, nodes, dtype=torch.bool),
                time_of_day=steps,
                day_of_week=steps,
                year_share=steps.float(),
                target=target,
            )

    class Zero(torch.nn.Module):
        def forward(self, batch):
            return torch.zeros_like(batch.target)

    unchecked = conformal_bands
    while hasattr(unchecked, "__wrapped__"):  # the stand-ins are not what the type checks expect
        unchecked = unchecked.__wrapped__
    bands = unchecked(
        Zero(), Cut(), list(range(windows)), _Fitted(), coverage=coverage, batch_size=3
    )
    assert bands.shape == (horizon, nodes, 1)
    return bands[..., 0].tolist()


def test_the_rank_of_the_conformal_quantile_by_hand():
    # Nine residuals 1 .. 9 in any order: rank ceil(10 * 0.75) = 8 of them, the value 8; and
    # rank ceil(10 * 0.9) = 9, the largest.
    residuals = np.array([5.0, 9, 1, 8, 2, 7, 3, 6, 4]).reshape(9, 1, 1)
    assert _bands(residuals, 0.75) == [[8.0]]
    assert _bands(-residuals, 0.9) == [[9.0]]


def test_too_few_residuals_take_the_pooled_quantile():
    # Node 1 has 2 residuals: rank ceil(3 * 0.75) = 3 is more than there are. Pooled with node 0
    # there are 11, rank ceil(12 * 0.75) = 9: of 1 .. 9, 20, 30 that is 9.
    residuals = np.full((9, 1, 2), np.nan)
    residuals[:, 0, 0] = np.arange(1.0, 10.0)
    residuals[:2, 0, 1] = [20.0, 30.0]
    assert _bands(residuals, 0.75) == [[8.0, 9.0]]


def test_the_learning_rate_by_hand(series, tmp_path):
    # One step per epoch and 20 epochs: warm-up takes min(50, 20 // 10) = 2 steps.
    settings = {"epochs": 20, "max_windows_per_epoch": 31, "learning_rate": 1e-2}
    rows = train(small_config(train=settings), run_dir=tmp_path, dataset=series).history
    rates = [row["learning_rate"] / 1e-2 for row in rows]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    # Half of the 18 cosine steps are behind at step 11: 0.01 + 0.99 / 2.
    assert rates[11] == pytest.approx(0.505)
    # The last one is 17/18 of the way: 0.01 + 0.495 (1 + cos(17 pi / 18)).
    assert rates[-1] == pytest.approx(0.01 + 0.495 * (1 + math.cos(17 * math.pi / 18)))


def test_a_run_leaves_what_it_promises(trained):
    folder = RunFolder(trained.run_dir)
    names = {"config.json", "data.json", "environment.json", "history.jsonl", "status.json",
             "model.safetensors", "checkpoint.safetensors"}  # fmt: skip
    assert names == set(contents(folder.path))
    assert [row["epoch"] for row in trained.history] == [1, 2]
    columns = {"epoch", "train_loss", "val_mae", "seconds", "learning_rate"}
    assert all(columns <= set(row) for row in trained.history)
    status = folder.read_json("status.json")
    assert (status["state"], status["epoch"], status["epochs"]) == ("finished", 2, 2)
    assert status["step"] == status["steps"] == 2 * math.ceil(131 / 31)
    assert {"pid", "message", "eta_seconds"} <= set(status)


def test_each_epoch_is_told(series, tmp_path):
    told = []
    forecaster = train(small_config(), run_dir=tmp_path, dataset=series, on_epoch=told.append)
    assert told == forecaster.history


def test_the_same_seed_trains_the_same_model(trained, series, tmp_path):
    again = train(small_config(), run_dir=tmp_path / "a", dataset=series)
    other = train(small_config(train={"seed": 1}), run_dir=tmp_path / "b", dataset=series)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert [row["val_mae"] for row in again.history] != [row["val_mae"] for row in other.history]


def _without_times(rows):
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


@pytest.mark.parametrize("stop_at", [3, 5 + 2, 5 + 5 + 1])
def test_resuming_equals_never_stopping(stop_at, series, tmp_path):
    # An epoch asks 5 times while it trains and once while it validates: the three stops fall
    # into the first epoch, the second, and the validation of the second.
    config = small_config(train={"epochs": 3})
    whole = train(config, run_dir=tmp_path / "whole", dataset=series)
    asked = iter(range(10**6))
    stopped = train(
        config,
        run_dir=tmp_path / "parts",
        dataset=series,
        should_stop=lambda: next(asked) >= stop_at,
    )
    assert RunFolder(tmp_path / "parts").read_json("status.json")["state"] == "stopped"
    assert len(stopped.history) == stop_at // 6
    assert np.isnan(stopped.forecast(series)["lower"]).all()  # no bands yet
    resumed = train(config, run_dir=tmp_path / "parts", dataset=series, resume=True)
    assert _without_times(resumed.history) == _without_times(whole.history)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert torch.equal(whole.bands, resumed.bands)


def test_resuming_a_finished_run_changes_nothing(run_copy, series):
    before = contents(run_copy)
    train(small_config(), run_dir=run_copy, dataset=series, resume=True)
    after = contents(run_copy)
    for name in ("model.safetensors", "checkpoint.safetensors", "history.jsonl", "config.json"):
        assert after[name] == before[name], name


def test_a_crash_between_the_files_of_an_epoch_is_repaired(run_copy, series):
    # The line of epoch 3 was written, its checkpoint was not.
    history = run_copy / "history.jsonl"
    history.write_text(history.read_text() + history.read_text().splitlines()[0] + "\n")
    resumed = train(small_config(), run_dir=run_copy, dataset=series, resume=True)
    assert [row["epoch"] for row in resumed.history] == [1, 2]


def test_a_stop_is_honoured_within_two_seconds(tmp_path):
    dataset = rhythm(steps=5_000)
    config = small_config(train={"epochs": 1_000})
    began = time.monotonic()
    train(
        config,
        run_dir=tmp_path,
        dataset=dataset,
        should_stop=lambda: time.monotonic() - began > 1.0,
    )
    assert time.monotonic() - began < 3.0
    status = RunFolder(tmp_path).read_json("status.json")
    assert (status["state"], status["message"]) == ("stopped", "Stopped; resume to go on.")
    with pytest.raises(RunError, match=r"must hold model\.safetensors; .*Finish the training"):
        load_run(tmp_path)


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    # Training and validation say the opposite of each other, so what is learned makes it worse.
    rng = np.random.default_rng(0)
    driver = rng.normal(0, 5, 300)
    follower = np.concatenate([[0.0], driver[:-1]])
    follower[205:] *= -1
    dataset = dataset_of(np.column_stack([driver, follower, driver, follower, driver]))
    config = small_config(train={"epochs": 60, "patience": 3, "learning_rate": 2e-2})
    rows = train(config, run_dir=tmp_path, dataset=dataset).history
    assert len(rows) < 60
    best = min(range(len(rows)), key=lambda index: rows[index]["val_mae"])
    assert len(rows) - 1 - best == 3


def test_the_weights_kept_are_the_best_ones(tmp_path):
    config = small_config(train={"epochs": 12, "learning_rate": 3e-2, "patience": 12})
    dataset = rhythm(steps=150)
    forecaster = train(config, run_dir=tmp_path, dataset=dataset)
    best = min(row["val_mae"] for row in forecaster.history)
    scores = evaluate(forecaster, dataset, part="validation")["mae"].sel(model="ST-Trans full")
    assert float(scores.mean()) == pytest.approx(best, abs=1e-4)


def test_much_missing_stays_finite(tmp_path):
    dataset = rhythm(missing=0.6)
    dataset["target"][:, 4] = np.nan  # a place that was never observed
    forecaster = train(small_config(), run_dir=tmp_path, dataset=dataset)
    assert all(math.isfinite(row["train_loss"] + row["val_mae"]) for row in forecaster.history)
    forecast = forecaster.forecast(dataset, dataset["time"].values[100:150])
    for name in ("forecast", "lower", "upper"):
        assert np.isfinite(forecast[name]).all()
    alignment = forecaster.align(dataset, dataset["time"].values[120])
    assert not (alignment["source_node"].where(alignment["valid"]) == "s4").any()


def test_a_random_part_of_the_windows_each_epoch(series, tmp_path):
    config = small_config(train={"max_windows_per_epoch": 40})
    train(config, run_dir=tmp_path, dataset=series)
    status = RunFolder(tmp_path).read_json("status.json")
    assert status["steps"] == 2 * 2  # 40 windows are two batches of at most 31


def test_a_failure_is_left_in_the_status(series, tmp_path):
    def fail(row):
        raise RuntimeError("the screen is full")

    with pytest.raises(RuntimeError, match="the screen is full"):
        train(small_config(), run_dir=tmp_path, dataset=series, on_epoch=fail)
    status = RunFolder(tmp_path).read_json("status.json")
    assert (status["state"], status["message"]) == ("failed", "RuntimeError: the screen is full")


def test_a_run_dir_that_holds_a_run_is_refused(run_copy, series):
    before = contents(run_copy)
    sentence = rf"run_dir must be new or empty; got {run_copy}, which holds a run\. Choose another"
    with pytest.raises(RunError, match=sentence):
        train(small_config(), run_dir=run_copy, dataset=series)
    assert contents(run_copy) == before


def test_resuming_with_another_configuration_or_data_is_refused(run_copy, series):
    before = contents(run_copy)
    with pytest.raises(RunError, match="needs the configuration that the run was started with"):
        train(small_config(train={"seed": 1}), run_dir=run_copy, dataset=series, resume=True)
    other = series.copy(deep=True)
    other["target"][3, 2] = 51.0
    with pytest.raises(RunError, match="needs the data that the run was started with; got other"):
        train(small_config(), run_dir=run_copy, dataset=other, resume=True)
    assert contents(run_copy) == before


@pytest.mark.parametrize("is_there", [False, True])
def test_resuming_where_no_run_is_there_is_refused(is_there, series, tmp_path):
    run_dir = tmp_path / "run"
    if is_there:
        run_dir.mkdir()
        (run_dir / "train.log").touch()
    before = contents(tmp_path)
    sentence = rf"Resuming needs a run in its folder; got {run_dir}, which holds none\. Correct the"
    with pytest.raises(RunError, match=sentence):
        train(small_config(), run_dir=run_dir, dataset=series, resume=True)
    assert contents(tmp_path) == before
    assert run_dir.exists() == is_there


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_begun_anew(
    trained, series, tmp_path
):
    train(small_config(), run_dir=tmp_path, dataset=series, should_stop=lambda: True)
    assert set(contents(tmp_path)) == {
        "config.json", "data.json", "environment.json", "status.json",
    }  # fmt: skip
    resumed = train(small_config(), run_dir=tmp_path, dataset=series, resume=True)
    assert _without_times(resumed.history) == _without_times(trained.history)


@pytest.mark.parametrize("config", ["small", None, {"train": {"epochs": 3}}])
def test_what_is_no_configuration_is_refused(config, series, tmp_path):
    sentence = r"config must be an ExperimentConfig; got .*\. Build one, for example with Experime"
    with pytest.raises(ConfigError, match=sentence):
        inspect.unwrap(train)(config, run_dir=tmp_path / "run", dataset=series)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["file", "below a file", "/proc"])
def test_a_folder_that_cannot_be_written_is_refused(where, series, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    run_dir = {"file": taken, "below a file": taken / "run", "/proc": "/proc/run"}[where]
    sentence = r"run folder must be a folder that can be written; got .*\. Choose another run_dir"
    with pytest.raises(RunError, match=sentence):
        train(small_config(), run_dir=run_dir, dataset=series)
    assert contents(tmp_path) == {"taken": b"mine"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": {"history_steps": 300}}, "long enough .*; got 199 steps with history_steps=300"),
        (
            {"model": {"topk": 500}},
            "topk must be at most the number of sources; got topk=500 with 70 sources",
        ),
    ],
)
def test_a_bad_experiment_leaves_no_folder(changes, sentence, series, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        train(small_config().replace(changes), run_dir=tmp_path / "run", dataset=series)
    assert not (tmp_path / "run").exists()


def test_k_larger_than_the_number_of_sources_is_refused(series, tmp_path):
    sentence = "topk must be at most the number of sources; got topk=500 with 70 sources"
    with pytest.raises(ValueError, match=sentence):
        train(small_config(model={"topk": 500}), run_dir=tmp_path, dataset=series)


def test_an_unlabelled_dataset_is_refused(series, tmp_path):
    bare = series.copy()
    del bare.attrs["units"]
    with pytest.raises(SchemaError, match=r"must carry the attributes .*; got none for units"):
        train(small_config(), run_dir=tmp_path / "run", dataset=bare)
    assert not (tmp_path / "run").exists()


def test_attributes_come_back_as_they_were_kept(series, tmp_path):
    odd = series.assign_attrs(
        made=pd.Timestamp("2024-02-01"), scale=np.float32(0.5), bounds=np.array([0, 9]),
        first=series["time"].values[0], pair=(1, 2),
    )  # fmt: skip
    trained = train(small_config(), run_dir=tmp_path, dataset=odd)
    attrs = load_run(tmp_path).data.attrs
    assert attrs == trained.data.attrs
    assert {name: attrs[name] for name in ("made", "scale", "bounds", "pair")} == {
        "made": "2024-02-01T00:00:00", "scale": 0.5, "bounds": [0, 9], "pair": [1, 2],
    }  # fmt: skip
    assert attrs["first"].startswith("2024-01-01T00:00:00")


@pytest.mark.parametrize("value", [object(), {1, 2}, {(1, 2): 3}])
def test_an_attribute_that_cannot_be_kept_is_refused(value, series, tmp_path):
    sentence = (
        r"Attributes of a dataset must be text, numbers or lists of them; got .* for 'extra'\."
    )
    with pytest.raises(ValueError, match=sentence):
        train(small_config(), run_dir=tmp_path / "run", dataset=series.assign_attrs(extra=value))
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_leaves_no_folder(series, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = small_config(train={"device": "cuda"})
    with pytest.raises(ValueError, match="device must be auto or cpu on this machine; got 'cuda'"):
        train(config, run_dir=tmp_path / "run", dataset=series)
    assert not (tmp_path / "run").exists()


def test_a_path_that_the_system_refuses_is_one_sentence(series, tmp_path):
    with pytest.raises(RunError, match=r"run folder must be .*\(File name too long\)"):
        train(small_config(), run_dir=tmp_path / ("x" * 300), dataset=series)


def test_a_stop_after_the_last_epoch_can_be_resumed(trained, series, tmp_path):
    # Two epochs ask 2 x 6 times; the 13th question is that of the bands.
    asked = iter(range(10**6))
    stopped = train(
        small_config(), run_dir=tmp_path, dataset=series, should_stop=lambda: next(asked) >= 12
    )
    folder = RunFolder(tmp_path)
    assert folder.read_json("status.json")["state"] == "stopped"
    assert stopped.bands is None
    assert "model.safetensors" not in contents(tmp_path)
    resumed = train(small_config(), run_dir=tmp_path, dataset=series, resume=True)
    assert folder.read_json("status.json")["state"] == "finished"
    assert torch.equal(resumed.bands, trained.bands)


def test_resuming_is_told_at_once(series, tmp_path):
    config = small_config(train={"epochs": 3})
    asked = iter(range(10**6))
    train(config, run_dir=tmp_path, dataset=series, should_stop=lambda: next(asked) >= 8)
    states = []

    def look() -> bool:
        states.append(RunFolder(tmp_path).read_json("status.json"))
        return False

    train(config, run_dir=tmp_path, dataset=series, should_stop=look, resume=True)
    assert {status["state"] for status in states} == {"running"}
    assert (states[0]["epoch"], states[0]["step"], states[0]["message"]) == (1, 5, "")


def test_validation_shows_that_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("sttrans_core.training.loop.STATUS_SECONDS", 0.0)
    told = []
    monkeypatch.setattr(RunFolder, "write_json", lambda _self, name, _fields: told.append(name))
    config = small_config(train={"epochs": 1, "batch_size": 11, "max_windows_per_epoch": 11})
    train(config, run_dir=tmp_path, dataset=rhythm())
    # At the start, after the only step, after one validation batch of 19 windows, at the end.
    assert told.count("status.json") == 4


def test_the_loss_scaler_is_kept(series, tmp_path):
    folder, model = RunFolder(tmp_path), torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    fresh = {"scale": 65536.0, "growth_interval": 2000, "_growth_tracker": 0}
    grown = {"scale": 1024.0, "growth_interval": 2000, "_growth_tracker": 17}
    folder.create()
    config = small_config()
    folder.write_text("config.json", config.to_json())
    progress = Progress(3, 15, 1, 0.25, 9.5)
    parts = {"model": model, "averaged": averaged(model, 0.9), "optimizer": optimizer}
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_checkpoint(folder, config, progress, best_state=best, loss_scaling=grown, **parts)
    again, _, scaling = load_checkpoint(folder, loss_scaling=fresh, **parts)
    assert (again, scaling) == (progress, grown)
    assert {name: type(value) for name, value in scaling.items()} == {
        "scale": float, "growth_interval": int, "_growth_tracker": int,
    }  # fmt: skip
    with pytest.raises(RunError, match=r"16-mixed\) needs .* got a checkpoint that has it in"):
        load_checkpoint(folder, loss_scaling={}, **parts)
    save_checkpoint(folder, config, progress, best_state=best, loss_scaling={}, **parts)
    with pytest.raises(RunError, match=r"16-mixed\) needs .* got a checkpoint that lacks it in"):
        load_checkpoint(folder, loss_scaling=fresh, **parts)


def test_a_checkpoint_of_another_configuration_is_refused(series, tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        train(small_config(train={"seed": seed}), run_dir=tmp_path / name, dataset=series)
    other = tmp_path / "a" / "checkpoint.safetensors"
    (tmp_path / "b" / "checkpoint.safetensors").write_bytes(other.read_bytes())
    with pytest.raises(RunError, match="got weights of the configuration"):
        train(small_config(train={"seed": 1}), run_dir=tmp_path / "b", dataset=series, resume=True)


def test_nothing_observed_at_a_step_takes_the_widest_band():
    # Step 0: rank ceil(10 * 0.75) = 8 of 1 .. 9. Step 1 was never observed.
    residuals = np.full((9, 2, 1), np.nan)
    residuals[:, 0, 0] = np.arange(1.0, 10.0)
    assert _bands(residuals, 0.75) == [[8.0], [8.0]]
    # A single residual is too few for any rank: it is the band.
    residuals[1:] = np.nan
    assert _bands(residuals, 0.75) == [[1.0], [1.0]]


def test_a_run_that_diverges_says_what_to_do(series, tmp_path):
    config = small_config(train={"learning_rate": 1e30, "warmup_steps": 0})
    sentence = r"gradient must be finite; got a norm of .* at step \d+\. Lower train\.learning_rate"
    with pytest.raises(RunError, match=sentence):
        train(config, run_dir=tmp_path, dataset=series)
    assert RunFolder(tmp_path).read_json("status.json")["state"] == "failed"


def test_a_validation_part_without_readings_is_refused(series, tmp_path):
    silent = series.copy(deep=True)
    silent["target"][138:162] = np.nan  # validation starts at window 131: targets 138 to 161
    sentence = (
        r"validation part must hold observed readings; got only missing ones from "
        r"2024-01-01 11:30:00 to 2024-01-01 13:25:00\. Use another period"
    )
    with pytest.raises(ValueError, match=sentence):
        train(small_config(), run_dir=tmp_path / "run", dataset=silent)
    assert not (tmp_path / "run").exists()
    silent["target"][161, 3] = 50.0
    train(small_config(), run_dir=tmp_path / "run", dataset=silent)
