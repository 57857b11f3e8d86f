"""Damaged histories: what is damaged, that all models see the same, and what it does to errors."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from command_line import run_command
from hypothesis import given
from hypothesis import strategies as st
from small_runs import HISTORY, HORIZON, contents, dataset_of, rhythm

from sttrans_core.baselines import LastObserved
from sttrans_core.data.splits import split_dataset
from sttrans_core.evaluation.protocol import evaluate, suited_baselines
from sttrans_core.evaluation.robustness import (
    CORRUPTIONS,
    corrupt,
    evaluate_robustness,
    fits_memory,
    robustness_lines,
)

STD = 2.0


def _damage(series: xr.Dataset, kind: str, **options) -> np.ndarray:
    return corrupt(series, kind, **{"std": STD, "block_steps": 5, **options})["target"].values


def _long(steps: int = 4001, nodes: int = 13) -> xr.Dataset:
    return dataset_of(np.random.default_rng(1).normal(50, STD, (steps, nodes)))


@pytest.mark.parametrize("kind", ["missing", "outage"])
def test_a_fifth_of_the_readings_is_lost(kind):
    series = _long()
    lost = np.isnan(_damage(series, kind))
    # 52,013 draws of 0.2 spread by 0.0018; blocks of 5 leave a fifth as many.
    assert lost.mean() == pytest.approx(0.2, abs=0.015)
    assert np.isfinite(series["target"].values).all()


def test_outages_come_in_blocks_that_begin_at_other_steps_at_each_node():
    lost = np.isnan(_damage(_long(), "outage"))
    change = np.diff(lost.astype(int), axis=0)
    begins, ends = np.nonzero(change.T == 1), np.nonzero(change.T == -1)
    lengths = []
    for node in range(lost.shape[1]):
        first, last = begins[1][begins[0] == node], ends[1][ends[0] == node]
        last = last[last > first[0]]
        lengths.append(last - first[: len(last)])
    assert set(np.concatenate(lengths) % 5) == {0}  # neighbouring blocks join
    phases = {int(begins[1][begins[0] == node][0] % 5) for node in range(lost.shape[1])}
    assert len(phases) > 2


def test_noise_has_a_tenth_of_the_variance():
    series = _long()
    noise = _damage(series, "noise") - series["target"].values
    # 10 dB: the variance of z-scores is 1, that of the noise 0.1, so its spread 0.316 times std.
    assert noise.std() == pytest.approx(STD * np.sqrt(0.1), rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kind", ["missing", "outage", "noise"])
@given(first=st.integers(0, 60), seed=st.integers(0, 5))
def test_the_test_part_is_damaged_alike_whatever_lies_before_it(kind, first, seed):
    series = rhythm(steps=61, nodes=3, missing=0.3)
    before = series["target"].values.copy()
    damaged = _damage(series, kind, first_step=first, seed=seed)
    alone = _damage(series.isel(time=slice(first, None)), kind, seed=seed)
    np.testing.assert_array_equal(damaged[first:], alone)
    np.testing.assert_array_equal(series["target"].values, before)
    np.testing.assert_array_equal(damaged, _damage(series, kind, first_step=first, seed=seed))
    assert np.isnan(damaged[np.isnan(before)]).all()


@pytest.mark.parametrize("kind", ["missing", "outage", "noise"])
def test_earlier_days_are_damaged_as_much(kind):
    series = _long()
    change = _damage(series, kind, first_step=2000) - series["target"].values
    for part in (change[:2000], change[2000:]):
        if kind == "noise":
            assert part.std() == pytest.approx(STD * np.sqrt(0.1), rel=0.02)
        else:
            assert np.isnan(part).mean() == pytest.approx(0.2, abs=0.015)
    assert not np.array_equal(change[:2000], change[2000:4000], equal_nan=True)


def test_damages_depend_on_the_size_alone():
    # Not on the readings, so that every data set and model of one size is treated alike.
    one, other = _long(), rhythm(steps=4001, nodes=13)
    for kind in ("missing", "outage"):
        lost = [np.isnan(_damage(series, kind)) for series in (one, other)]
        np.testing.assert_array_equal(*lost)
    assert (np.isnan(_damage(one, "missing")) != np.isnan(_damage(one, "missing", seed=1))).any()


def test_all_channels_of_a_reading_are_lost_together():
    series = _long(steps=101, nodes=3)
    both = xr.concat([series["target"], series["target"] + 1], "channel")
    both = series.assign(target=both.transpose("time", "node", "channel"))
    lost = np.isnan(_damage(both, "missing"))
    np.testing.assert_array_equal(lost[..., 0], lost[..., 1])
    noise = _damage(both, "noise") - both["target"].values
    assert not np.allclose(noise[..., 0], noise[..., 1])


def test_what_cannot_be_damaged_is_refused(tmp_path):
    series = rhythm()
    with pytest.raises(ValueError, match=r"kind must be one of missing, outage, noise; got 'fire'"):
        inspect.unwrap(corrupt)(series, "fire", std=1.0, block_steps=3)
    with pytest.raises(ValueError, match=r"on a dataset in memory; got one that lies in a store"):
        corrupt(series.chunk({"time": 50}), "noise", std=1.0, block_steps=3)


def test_clean_errors_are_those_of_the_evaluation(trained, series):
    found = evaluate_robustness(trained, series)
    expected = evaluate(trained, series)
    clean = found.sel(corruption="clean")
    for metric in ("mae", "rmse"):
        np.testing.assert_allclose(clean[metric], expected[metric].sel(model=clean["model"]))
    assert found["corruption"].values.tolist() == list(CORRUPTIONS)
    assert found["model"].values.tolist() == [
        "ST-Trans full", "last value", "last observed value", "historical average",
    ]  # fmt: skip
    np.testing.assert_array_equal(found["lead_minutes"], 5 * np.arange(1, HORIZON + 1))


def test_only_what_is_seen_is_damaged(trained, series):
    found = evaluate_robustness(trained, series, seeds=(3,))
    starts = split_dataset(
        series, history_steps=HISTORY, horizon_steps=HORIZON, split="standard"
    ).test
    options = {"std": trained.data.scaler.std, "block_steps": HISTORY}
    seen = corrupt(series, "missing", first_step=starts[0], seed=3, **options)
    # By hand: the last reading that is left, against the truth as it is.
    origins = np.array(starts) + HISTORY - 1
    forecast = LastObserved(seen, num_train_steps=100).predict(origins, horizon_steps=HORIZON)
    truth = series["target"].values[origins[:, None] + np.arange(1, HORIZON + 1)]
    by_hand = np.nanmean(np.abs(forecast - truth), axis=(0, 2))
    row = found["mae"].sel(model="last observed value", corruption="missing")
    np.testing.assert_allclose(row, by_hand, rtol=1e-5)
    batch = trained.windows(seen).batch(torch.tensor(starts))
    ours = trained.predict(batch).numpy()[..., 0]
    row = found["mae"].sel(model="ST-Trans full", corruption="missing")
    np.testing.assert_allclose(row, np.nanmean(np.abs(ours - truth), axis=(0, 2)), rtol=1e-5)
    average = found["mae"].sel(model="historical average")
    np.testing.assert_array_equal(average.sel(corruption="noise"), average.sel(corruption="clean"))


def test_baselines_are_fitted_to_what_training_saw_and_look_back_at_damages():
    # Readings of 0, 1, ... 23 o'clock that grow by 100 each day; the second day is lost.
    values = (np.arange(24.0) + 100 * np.arange(4)[:, None]).reshape(-1, 1)
    clean = dataset_of(values, interval="1h")
    seen = clean["target"].copy(deep=True)
    seen[24:48] = np.nan
    found = {
        each.label: each.predict(np.array([47]), horizon_steps=3)[0, :, 0]
        for each in suited_baselines(
            clean, num_train_steps=48, horizon_steps=3, on_grid=False, seen=seen
        )
    }
    assert found["last value"].tolist() == [0, 0, 0]
    assert found["last observed value"].tolist() == [23, 23, 23]
    assert found["same time yesterday"].tolist() == [0, 1, 2]  # two days before
    assert found["historical average"].tolist() == [50, 51, 52]  # of both days


def test_seeds_are_pooled(trained, series):
    each = [evaluate_robustness(trained, series, seeds=(seed,)) for seed in (0, 1)]
    both = evaluate_robustness(trained, series, seeds=(0, 1))
    mean = (each[0]["mae"] + each[1]["mae"]) / 2  # as many targets for each seed
    np.testing.assert_allclose(both["mae"], mean, rtol=1e-6)
    assert both.attrs["protocol"].endswith("seeds 0, 1")


def test_no_seeds_and_too_many_readings_are_refused(trained, series, monkeypatch):
    with pytest.raises(ValueError, match=r"must be a seed to draw damages by; got none"):
        evaluate_robustness(trained, series, seeds=())
    monkeypatch.setattr("sttrans_core.evaluation.robustness.MOST_READINGS", 100)
    assert not fits_memory(series)
    with pytest.raises(ValueError, match=r"fit the memory; got 2,189 of them\. Pass a part"):
        evaluate_robustness(trained, series)


def test_readings_of_a_store_are_loaded(trained, series):
    stored = series.chunk({"time": 50})
    xr.testing.assert_identical(
        evaluate_robustness(trained, stored), evaluate_robustness(trained, series)
    )


def test_the_command_tells_growth_and_writes_it(run_copy, series, monkeypatch):
    monkeypatch.setattr("sttrans_core.data.load_dataset", lambda *_, **__: series)
    before = contents(run_copy)
    said = run_command("evaluate", "--run-dir", run_copy, "--robustness")
    assert contents(run_copy) == before
    lines = said[said.index("MAE, mean of 6 steps, and its growth") :].splitlines()
    assert lines[1].split() == ["clean", "missing", "outage", "noise"]
    average = next(line for line in lines if line.startswith("historical average"))
    assert average.split()[3:] == ["+0.0%", "+0.0%", "+0.0%"]
    run_command("evaluate", "--run-dir", run_copy, "--robustness", "--write")
    table = pd.read_csv(run_copy / "robustness.csv")
    assert list(table["corruption"].unique()) == list(CORRUPTIONS)
    assert "20 % of readings missing at random" in table["protocol"][0]


def test_growth_is_against_clean():
    scores = xr.Dataset(
        {"mae": (("model", "corruption", "horizon"), [[[1.0, 3.0], [2.0, 4.0], [2, 2], [1, 2]]])},
        coords={"model": ["ours"], "corruption": list(CORRUPTIONS), "horizon": [1, 2]},
    )
    # Means of both steps: 2, then 3, 2 and 1.5.
    line = robustness_lines(scores).splitlines()[-1]
    assert line.split() == ["ours", "2.000", "+50.0%", "+0.0%", "-25.0%"]
