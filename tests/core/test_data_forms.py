"""From training to scores with every form of data: grids, channels, covariates, earlier days."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from small_runs import HISTORY, HORIZON, SEGMENTS, dataset_of, small_config

from sttrans_core.evaluation.protocol import evaluate, evaluate_baselines
from sttrans_core.fitted import FittedData
from sttrans_core.forecaster import load_run
from sttrans_core.grid import as_nodes
from sttrans_core.model.starting_point import StartingPoint
from sttrans_core.runs import RunError
from sttrans_core.training.loop import train
from sttrans_core.training.optimization import averaged

ONE_EPOCH = {"epochs": 1, "max_windows_per_epoch": 31, "learning_rate": 1e-2}
LATITUDE, LONGITUDE = np.array([0.0, 30.0, 60.0]), np.array([10.0, 20.0, 30.0, 40.0])


def _grid(steps: int = 400, interval: str = "6h") -> xr.Dataset:
    """Give a year's and a day's course, stronger in the north, with a wave that goes east."""
    time = np.datetime64("2021-01-01", "ns") + pd.Timedelta(interval).to_numpy() * np.arange(steps)
    days = np.arange(steps) * (pd.Timedelta(interval) / pd.Timedelta("1D"))
    year = -10 * np.cos(2 * np.pi * days / 365.25)[:, None, None] * (LATITUDE / 60)[:, None]
    day = 3 * np.cos(2 * np.pi * (days % 1))[:, None, None]
    wave = np.sin(days[:, None, None] - LONGITUDE / 10)
    noise = np.random.default_rng(0).normal(0, 0.1, (steps, 3, 4))
    values = 280 + year + day + wave + noise
    return xr.Dataset(
        {"target": (("time", "latitude", "longitude"), values.astype(np.float32))},
        {"time": time, "latitude": LATITUDE, "longitude": LONGITUDE},
        {
            "units": "K", "interval": interval, "title": "a wave", "source": "simulated",
            "licence": "none", "synthetic": 1, "quantity": "temperature",
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def grid_run(tmp_path_factory):
    grid = _grid()
    config = small_config(train={**ONE_EPOCH, "loss": "mse"})
    return train(config, run_dir=tmp_path_factory.mktemp("grid"), dataset=grid), grid


def test_a_grid_is_forecast_as_a_grid(grid_run):
    forecaster, grid = grid_run
    times = grid["time"].values[[50, 399]]
    forecast = forecaster.forecast(grid, times)
    assert forecast["forecast"].dims == ("time", "horizon", "latitude", "longitude")
    truth = grid["target"].values[51 : 51 + HORIZON]
    assert np.array_equal(forecast["target"].values[0], truth)
    assert np.isnan(forecast["target"].values[1]).all()
    assert (forecast["upper"] > forecast["lower"]).all()
    nodes = forecaster.forecast(as_nodes(grid), times)
    assert np.array_equal(
        nodes["forecast"].values.reshape(forecast["forecast"].shape), forecast["forecast"].values
    )


def test_a_cell_of_a_grid_has_an_alignment(grid_run):
    forecaster, grid = grid_run
    alignment = forecaster.align(grid, grid["time"].values[50], ["30N 20E"])
    assert alignment.sizes["query_node"] == 1
    assert (alignment["query_latitude"] == 30).all()
    step = alignment["source_step"].values.ravel()
    place = alignment["source_node_index"].values.ravel()
    readings = as_nodes(grid)["target"].values[50 - HISTORY + 1 + step, place]
    assert np.array_equal(alignment["source_value"].values.ravel(), readings)


def test_a_loaded_run_of_a_grid_is_the_trained_one(grid_run):
    forecaster, grid = grid_run
    loaded = load_run(forecaster.run_dir)
    assert loaded.data == forecaster.data
    assert loaded.data.is_grid
    xr.testing.assert_identical(loaded.forecast(grid), forecaster.forecast(grid))


def test_scores_of_a_grid_count_cells_by_area(grid_run):
    forecaster, grid = grid_run
    scores = evaluate(forecaster, grid)
    assert "cells weighted by area" in scores.attrs["protocol"]
    # By hand for what was last observed: windows of the last fifth, one step ahead.
    num_windows = 400 - HISTORY - HORIZON + 1
    first = num_windows - round(0.2 * num_windows) + HISTORY
    values = grid["target"].values.astype(np.float64)
    change = values[first : 400 - HORIZON + 1] - values[first - 1 : 400 - HORIZON]
    weight = np.cos(np.radians(LATITUDE))[:, None] * np.ones(4)
    by_hand = np.sqrt((weight * change**2).sum() / (weight.sum() * len(change)))
    last = scores.sel(model="last observed value").isel(horizon=0)
    assert float(last["rmse"]) == pytest.approx(by_hand, rel=1e-4)
    assert float(last["bias"]) == pytest.approx(
        (weight * -change).sum() / weight.sum() / len(change), abs=1e-4
    )


def _forget(model: torch.nn.Module) -> None:
    """Make a model add nothing to the point that its forecasts start from."""
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)


def test_seasons_are_taken_out_and_put_back():
    # The same course with and without weather: what is usual has no departure, and a model that
    # has learned nothing forecasts the climatology and the last departure from it.
    grid = as_nodes(_grid(2400))
    config = small_config(variant="no_alignment")
    fitted, _ = FittedData.fit(grid, config)
    assert fitted.has_season
    model = fitted.build_model(config, dataset=grid)
    windows = fitted.windows(grid, config, device="cpu")
    batch = windows.batch([100, 1111])
    usual = fitted.scaler.inverse(model.anomalies.usual(batch))[..., 0].numpy()
    time = grid["time"].values[100 : 100 + HISTORY + HORIZON]
    days = (time - np.datetime64("2021-01-01")) / np.timedelta64(1, "D")
    north = grid["latitude"].values / 60
    course = 280 - 10 * np.cos(2 * np.pi * days / 365.25)[:, None] * north
    course += 3 * np.cos(2 * np.pi * (days % 1))[:, None]
    assert np.abs(usual[0] - course).max() < 0.3  # a wave of 1 and leap days are left in the fit
    _forget(model)
    forecast = model(batch).forecast
    values = fitted.scaler.inverse(forecast)[..., 0].detach().numpy()
    departure = grid["target"].values[100 + HISTORY - 1] - usual[0, HISTORY - 1]
    assert values[0] == pytest.approx(usual[0, HISTORY:] + departure, abs=1e-3)


def _channels(steps: int = 300) -> xr.Dataset:
    rng = np.random.default_rng(0)
    dataset = dataset_of(np.zeros((steps, 5)), interval="1h").drop_vars("target")
    counts = rng.poisson(20, (steps, 5, 2)).astype(np.float32)
    wind = rng.normal(3, 1, (steps, 5, 3)).astype(np.float32)
    wind[rng.random(wind.shape) < 0.1] = np.nan
    dataset["target"] = (("time", "node", "channel"), counts)
    dataset["covariates"] = (("time", "node", "covariate"), wind)
    return dataset.assign_coords(
        channel=["pickup", "dropoff"], covariate=["wind", "rain", "snow"]
    ).assign_attrs(units="trips", quantity="demand", interval="1h")


@pytest.fixture(scope="module")
def channel_run(tmp_path_factory):
    dataset = _channels()
    config = small_config(data={"lag_days": [1]}, train=ONE_EPOCH)
    return train(config, run_dir=tmp_path_factory.mktemp("channels"), dataset=dataset), dataset


def test_channels_are_forecast_together(channel_run):
    forecaster, dataset = channel_run
    assert forecaster.data.channels == ("pickup", "dropoff")
    assert forecaster.data.covariates == ("wind", "rain", "snow")
    forecast = forecaster.forecast(dataset, dataset["time"].values[[80]])
    assert forecast["forecast"].dims == ("time", "horizon", "node", "channel")
    truth = dataset["target"].values[81 : 81 + HORIZON]
    assert np.array_equal(forecast["target"].values[0], truth)
    one = forecast.sel(channel="dropoff")
    assert np.array_equal(one["target"].values[0], truth[..., 1])
    alignment = forecaster.align(dataset, dataset["time"].values[80], ["s1"])
    assert alignment["weight"].dims == ("query_node", "segment", "head", "source")
    assert alignment["source_value"].sizes["channel"] == 2
    assert alignment.sizes["segment"] == SEGMENTS
    xr.testing.assert_identical(
        load_run(forecaster.run_dir).forecast(dataset), forecaster.forecast(dataset)
    )


def test_a_forecast_does_not_read_covariates_of_the_future(channel_run):
    forecaster, dataset = channel_run
    changed = dataset.copy(deep=True)
    changed["covariates"][81:] = 1e3
    changed["target"][81:] = 7.0
    time = dataset["time"].values[[80]]
    one, two = (forecaster.forecast(each, time)["forecast"] for each in (dataset, changed))
    assert np.array_equal(one, two)
    changed["covariates"][80] = 1e3
    assert not np.array_equal(forecaster.forecast(changed, time)["forecast"], one)


def test_a_forecast_reads_yesterday(channel_run):
    forecaster, dataset = channel_run
    time = dataset["time"].values[[80]]
    before = forecaster.forecast(dataset, time)["forecast"]
    changed = dataset.copy(deep=True)
    changed["target"][81 + HORIZON - 24] = 500.0  # a day before one step beyond the horizon
    assert np.array_equal(forecaster.forecast(changed, time)["forecast"], before)
    changed["target"][80 + HORIZON - 24] = 500.0
    assert not np.array_equal(forecaster.forecast(changed, time)["forecast"], before)


def test_other_channels_or_covariates_are_refused(channel_run):
    forecaster, dataset = channel_run
    with pytest.raises(RunError, match=r"run's channels \(pickup, dropoff\); got pickup, tips\."):
        forecaster.forecast(dataset.assign_coords(channel=["pickup", "tips"]))
    with pytest.raises(RunError, match=r"covariates \(wind, rain, snow\); got none\. Select"):
        forecaster.forecast(dataset.drop_vars(["covariates", "covariate"]))


def test_scores_of_channels_are_pooled(channel_run):
    forecaster, dataset = channel_run
    whole = evaluate_baselines(dataset, history_steps=HISTORY, horizon_steps=HORIZON)
    parts = [
        evaluate_baselines(
            dataset.sel(channel=name, drop=True), history_steps=HISTORY, horizon_steps=HORIZON
        )
        for name in ("pickup", "dropoff")
    ]
    squares = [part["rmse"].sel(model="last value") ** 2 for part in parts]
    assert np.allclose(whole["rmse"].sel(model="last value") ** 2, sum(squares) / 2, rtol=1e-5)
    assert "ST-Trans full" in evaluate(forecaster, dataset)["model"].values


@pytest.mark.parametrize(
    ("interval", "lag_days", "sentence"),
    [
        ("7h", [1], "interval that divides a day; got 7h. Leave them out"),
        ("1D", [1], r"must reach back as far as the horizon.*got 1 days, 1 steps, with horizon"),
    ],
)
def test_lags_that_do_not_fit_are_refused(interval, lag_days, sentence, tmp_path):
    dataset = dataset_of(np.random.default_rng(0).normal(size=(300, 5)), interval=interval)
    config = small_config(data={"lag_days": lag_days})
    with pytest.raises(ValueError, match=sentence):
        train(config, run_dir=tmp_path / "run", dataset=dataset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["stid", "stgcn", "graph_wavenet", "stemgnn", "staeformer"])
def test_a_baseline_is_trained_by_the_same_loop(name, tmp_path):
    dataset = _channels().drop_vars(["covariates", "covariate"])
    config = small_config(train=ONE_EPOCH).baseline(name)
    config = config.replace({"data": {"history_steps": 12, "horizon_steps": 12}})
    forecaster = train(config, run_dir=tmp_path, dataset=dataset)
    loaded = load_run(tmp_path)
    xr.testing.assert_identical(loaded.forecast(dataset), forecaster.forecast(dataset))
    assert str(evaluate(loaded, dataset)["model"].values[0]) == config.model_name
    assert config.model_name.lower().replace(" ", "_") == name
    with pytest.raises(
        RunError, match=rf"an ST-Trans with cross-attention; got the run of '{name}'"
    ):
        loaded.align(dataset, dataset["time"].values[-1])


def test_a_forecast_starts_between_the_last_reading_and_earlier_days():
    # Untrained shares are alike: a mean of the last reading and of both earlier days, of which a
    # missing one counts as the other, or as the last reading. Three steps ahead at one place.
    start = StartingPoint(8, num_lags=2, horizon_steps=3, num_channels=1)
    days = [[[4.0, 7.0, 1.0, 1.0]], [[4.0, 0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]
    earlier = torch.tensor([days])
    mixed = start(torch.randn(1, 1, 8), torch.tensor([[[1.0]]]), earlier)
    assert mixed[0, :, 0, 0].tolist() == pytest.approx([(1 + 4 + 7) / 3, (1 + 4 + 4) / 3, 1])
    # Shares that have learned to trust the second day alone.
    with torch.no_grad():
        start.shares.bias.copy_(torch.tensor([0.0, 0.0, 9.0] * 3))
    mixed = start(torch.randn(1, 1, 8), torch.tensor([[[1.0]]]), earlier)
    assert mixed[0, :, 0, 0].tolist() == pytest.approx([7.0, 4.0, 1.0])


def test_seasons_are_taken_out_of_earlier_days_too():
    grid = as_nodes(_grid(2400))
    config = small_config(variant="no_alignment", data={"lag_days": [7]})
    fitted, _ = FittedData.fit(grid, config)
    model = fitted.build_model(config, dataset=grid)
    _forget(model)
    batch = fitted.windows(grid, config, device="cpu").batch([100])
    usual = fitted.scaler.inverse(model.anomalies.usual(batch))[0, :, :, 0].numpy()
    values = fitted.scaler.inverse(model(batch)[0])[0, :, :, 0].detach().numpy()
    readings, ahead = grid["target"].values, 100 + HISTORY + np.arange(HORIZON)
    last = readings[100 + HISTORY - 1] - usual[HISTORY - 1]
    week = readings[ahead - 28] - usual[HISTORY:]
    assert values == pytest.approx(usual[HISTORY:] + (last + week) / 2, abs=1e-3)


def test_the_average_of_weights_by_hand():
    model = torch.nn.Linear(1, 1, bias=False)
    kept = averaged(model, 0.5)
    found = []
    for weight in (4.0, 8.0, 0.0):
        with torch.no_grad():
            model.weight.fill_(weight)
        kept.update_parameters(model)
        found.append(kept.module.weight.item())
    # The first is taken whole; then shares of 2/11 and 3/12 stay, which are below 0.5.
    second = 4 * 2 / 11 + 8 * 9 / 11
    assert found == pytest.approx([4.0, second, second * 3 / 12])


def test_statistics_of_a_batch_norm_go_with_the_weights():
    model = torch.nn.BatchNorm1d(1)
    kept = averaged(model, 0.5)
    for number, mean in enumerate((4.0, 8.0), start=1):
        model.running_mean.fill_(mean)
        model.num_batches_tracked.fill_(number)
        kept.update_parameters(model)
    assert kept.module.running_mean.item() == pytest.approx(4 * 2 / 11 + 8 * 9 / 11)
    assert kept.module.num_batches_tracked.item() == 2  # a count, not a mean of counts
