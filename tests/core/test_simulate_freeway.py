"""The simulated freeway: keeps the contract, is the same by seed, and looks like traffic."""

import time

import numpy as np
import pytest
import xarray as xr

from sttrans_core.data.simulate import simulate_freeway
from sttrans_core.schema import check_dataset
from sttrans_core.space.geometry import haversine_km
from sttrans_core.truth.hits import true_causes


@pytest.fixture(scope="module")
def week():
    return simulate_freeway()


@pytest.fixture(scope="module")
def small():
    return simulate_freeway(days=2, num_sensors=11, seed=3)


def congested(dataset):
    return dataset["noiseless"].values < dataset.attrs["critical_speed_mph"]


def test_it_keeps_the_contract_and_says_that_it_is_simulated(week):
    assert check_dataset(week) is week
    assert dict(week.sizes) == {"time": 2016, "node": 48, "to_node": 48}
    assert week["target"].dtype == np.float32
    assert week.attrs["synthetic"] == 1
    assert week.attrs["title"].startswith("Simulated")
    assert (week.attrs["units"], week.attrs["interval"]) == ("mph", "5min")
    assert week.attrs["valid_min"] == 0


def test_a_week_takes_seconds():
    start = time.perf_counter()
    simulate_freeway()
    # 1.2 s on an idle core; the bound leaves room for a busy one.
    assert time.perf_counter() - start < 10


def test_the_same_seed_gives_the_same_data_and_another_one_other_data(small):
    xr.testing.assert_identical(small, simulate_freeway(days=2, num_sensors=11, seed=3))
    other = simulate_freeway(days=2, num_sensors=11, seed=4)
    assert np.abs(other["noiseless"].values - small["noiseless"].values).max() > 10


def test_it_survives_netcdf(small, tmp_path):
    small.to_netcdf(tmp_path / "freeway.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "freeway.nc", engine="h5netcdf") as again:
        again.load()
    xr.testing.assert_identical(check_dataset(again), small)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.3])
def test_as_many_readings_are_missing_as_asked(share):
    dataset = simulate_freeway(days=2, num_sensors=12, missing_share=share)
    missing = np.isnan(dataset["target"].values)
    assert missing.mean() == pytest.approx(share, abs=0.012)
    assert not np.isnan(dataset["noiseless"].values).any()


def test_half_of_the_missing_readings_lie_in_outages(week):
    missing = np.isnan(week["target"].values)
    # Readings lost one by one rarely have two lost neighbours in time (0.015 ** 2); those in
    # outages of 4 to 144 steps mostly do.
    in_block = missing[1:-1] & missing[:-2] & missing[2:]
    assert 0.3 < in_block.sum() / missing.sum() < 0.7


def test_readings_are_the_true_speed_with_noise(week):
    noise = (week["target"] - week["noiseless"]).values
    noise = noise[np.isfinite(noise) & (week["noiseless"].values > 10)]
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1.5, abs=0.03)
    assert float(week["target"].min()) > 0


def test_sensors_lie_along_their_corridor(week):
    gaps = []
    for name in np.unique(week["corridor"]):
        part = week.isel(node=week["corridor"].values == name)
        km = part["milepost_km"].values
        road = np.diff(km)
        assert ((road >= 0.8) & (road <= 1.6)).all()
        place = [part["latitude"].values, part["longitude"].values]
        direct = haversine_km(place[0][:-1], place[1][:-1], place[0][1:], place[1][1:])
        # A curve is never shorter than its chord; curves are gentle (2 % covers rounding).
        assert (direct <= 1.02 * road).all()
        assert (direct >= 0.9 * road).all()
        gaps.append(len(km))
    assert gaps == [16, 16, 16]


def test_opposite_directions_lie_side_by_side_and_run_against_each_other(week):
    east, west = (
        week.isel(node=week["corridor"].values == f"A {d}bound") for d in ("east", "west")
    )
    assert east["longitude"].values[-1] > east["longitude"].values[0]
    assert west["longitude"].values[-1] < west["longitude"].values[0]
    away = haversine_km(
        east["latitude"].values[:, None],
        east["longitude"].values[:, None],
        west["latitude"].values,
        west["longitude"].values,
    )
    assert away.min(1).max() < 1.2


def test_adjacency_leads_downstream_only(week):
    weight = week["adjacency"].values
    corridor, km = week["corridor"].values, week["milepost_km"].values
    linked = weight > 0
    assert (np.diag(weight) == 1).all()
    assert (corridor[:, None] == corridor)[linked].all()
    assert (km[None, :] >= km[:, None])[linked].all()
    assert linked.sum() > 2 * len(km) - 3


def test_there_is_enough_congestion_by_day_and_none_by_night(week):
    stamps = week.indexes["time"]
    slow = congested(week)
    daytime = (stamps.dayofweek < 5) & (stamps.hour >= 6) & (stamps.hour < 20)
    assert 0.15 <= slow[daytime].mean() <= 0.25
    assert slow[stamps.hour < 5].sum() == 0
    # A day starts on empty roads, so queues must be gone by its end for days to join.
    assert slow[stamps.hour == 23].sum() == 0
    # The last fifth, the standard test split, is busy too.
    assert slow[int(0.8 * len(slow)) :].mean() > 0.1
    free = week["noiseless"].values[~slow]
    assert np.median(free) == pytest.approx(65.2, abs=0.1)  # 105 km/h


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_are_congested_too(seed):
    dataset = simulate_freeway(seed=seed, missing_share=0.0)
    stamps = dataset.indexes["time"]
    slow = congested(dataset)
    assert (
        0.12
        <= slow[(stamps.dayofweek < 5) & (stamps.hour >= 6) & (stamps.hour < 20)].mean()
        <= 0.27
    )
    assert slow[stamps.hour == 23].sum() == 0


def test_the_last_value_ages(week):
    values = week["target"].values
    error = [np.nanmean(np.abs(values[h:] - values[:-h])) for h in (1, 3, 6, 12)]
    assert error == sorted(error)
    assert error[-1] > 2 * error[0]


def test_waves_travel_upstream_at_the_wave_speed(week):
    # The speed of a place in a queue follows that of a place d km downstream after d / 16 h.
    truth, slow = week["noiseless"].values, congested(week)
    km = week["milepost_km"].values
    speeds = []
    for name in np.unique(week["corridor"]):
        nodes = np.flatnonzero(week["corridor"].values == name)
        for up, down in zip(nodes[:-4], nodes[4:], strict=True):
            both = slow[:, nodes[0] : nodes[-1] + 1][:, up - nodes[0] : down - nodes[0] + 1].all(1)
            at = np.flatnonzero(both)
            at = at[at >= 12]
            if len(at) < 100:
                continue
            fits = [np.corrcoef(truth[at, up], truth[at - lag, down])[0, 1] for lag in range(9)]
            # The peak between whole steps, by a parabola through the best three.
            best = int(np.clip(np.argmax(fits), 1, 7))
            left, top, right = fits[best - 1 : best + 2]
            lag = best + 0.5 * (left - right) / (left - 2 * top + right)
            speeds.append((km[down] - km[up]) / (lag * 5 / 60))
    assert len(speeds) > 10
    assert np.median(speeds) == pytest.approx(week.attrs["wave_speed_kmh"], rel=0.1)


def test_in_a_queue_the_place_on_the_line_says_more_than_the_place_itself(week):
    # 15 minutes ahead a wave comes from 4 km downstream. Straight-line fits on congested targets
    # whose whole line is congested: the reading there must explain them, their own must not.
    readings, truth = week["target"].values, week["noiseless"].values
    own, ahead, targets = [], [], []
    for origin in np.flatnonzero(congested(week)[:-3].mean(1) > 0.2):
        causes = true_causes(week, week["time"].values[origin], horizon_step=3, history_steps=1)
        node = causes["line_node"].values[:, 0]
        for query in np.flatnonzero(causes["congested"].values & (node >= 0)):
            own.append(readings[origin, query])
            ahead.append(readings[origin, node[query]])
            targets.append(truth[origin + 3, query])
    own, ahead, targets = (np.array(values) for values in (own, ahead, targets))
    known = np.isfinite(own) & np.isfinite(ahead)
    assert known.sum() > 1000
    explained = [np.corrcoef(x[known], targets[known])[0, 1] ** 2 for x in (own, ahead)]
    assert explained[0] < 0.2
    assert explained[1] > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, "days must be at least 1; got 0"),
        ({"num_sensors": 8}, "num_sensors must be at least 9, three per corridor; got 8"),
        ({"missing_share": 0.95}, "missing_share must be at least 0 and below 0.9; got 0.95"),
        ({"missing_share": -0.1}, "missing_share must be at least 0 and below 0.9; got -0.1"),
    ],
)
def test_arguments_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_freeway(**options)
