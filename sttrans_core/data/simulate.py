"""Simulated freeway speeds whose causes are known: queues travel upstream at the wave speed."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.cell_transmission import run_cell_transmission
from sttrans_core.data.freeway_demand import (
    WARM_UP_MINUTES,
    daily_demand,
    daily_restrictions,
)
from sttrans_core.data.freeway_network import FreewayNetwork, build_freeway_network
from sttrans_core.schema import check_dataset

__all__ = ["simulate_freeway"]

KMH_PER_MPH = 1.609344
CRITICAL_SPEED_MPH = 50.0
NOISE_MPH = 1.5
INTERVAL_MINUTES = 5


def simulate_freeway(
    *,
    days: int = 7,
    num_sensors: int = 48,
    seed: int = 0,
    missing_share: float = 0.03,
    start: str = "2024-01-03",
) -> xr.Dataset:
    """Simulate 5-minute speeds of freeway sensors, with the truth beside them.

    A cell transmission model moves a daily demand with peaks through corridors with ramps,
    bottlenecks and random incidents. These discharge unevenly, so that stop-and-go waves travel
    upstream through the queues. Readings are the true speed plus noise, with gaps.

    Card: 48 sensors on 3 corridors, 2,016 steps of 5 minutes, mph, 3 % missing by default;
    generated, no real place; the project's licence.

    Args:
        days: Days, at least 1; queues have gone by midnight, and each day starts without.
        num_sensors: Sensors in all, at least 9.
        seed: The same seed gives the same data, to the last bit on one machine.
        missing_share: Share of readings to drop, half of them in outages of hours; below 0.9.
        start: First day. From a Wednesday, the last fifth of a week lies on Monday and Tuesday, so
            that a test on it meets working days.

    Returns:
        A dataset that keeps the contract, with more coordinates along `node`: `corridor` (name)
        and `milepost_km` (distance in the direction of travel); the variable
        `noiseless(time, node)`, the true mean speed; `adjacency(node, to_node)`, from each sensor
        to those it sends traffic to; and `attrs` `free_flow_kmh`, `wave_speed_kmh`,
        `critical_speed_mph`.

    Raises:
        ValueError: An argument is outside its range.

    Source: generated; model of C. F. Daganzo, Transportation Research B 28 (1994) and 29 (1995).
    """
    _check_arguments(days, num_sensors, missing_share)
    rng = np.random.default_rng(seed)
    network = build_freeway_network(num_sensors, rng)
    dates = pd.date_range(start, periods=days, freq="D").normalize()
    is_weekend = np.asarray(dates.dayofweek >= 5)
    demand = daily_demand(network, is_weekend, rng)
    cells, restriction = daily_restrictions(network, is_weekend, rng)
    road = network.road(cells)
    record = run_cell_transmission(
        road, demand=demand, restriction=restriction, interval_minutes=INTERVAL_MINUTES
    )
    warm_up = WARM_UP_MINUTES // INTERVAL_MINUTES
    speed = record.speed_kmh[warm_up:, network.sensor_cell] / KMH_PER_MPH  # (step, node, day)
    noiseless = speed.transpose(2, 0, 1).reshape(-1, num_sensors).astype(np.float32)
    noise = rng.normal(0, NOISE_MPH, noiseless.shape)
    target = np.maximum(noiseless + noise, 1.0).astype(np.float32)
    target[_missing(target.shape, missing_share, rng)] = np.nan
    time = pd.date_range(dates[0], periods=len(target), freq=f"{INTERVAL_MINUTES}min")
    names = np.array(network.corridor_names)
    dataset = xr.Dataset(
        {
            "target": (("time", "node"), target),
            "noiseless": (("time", "node"), noiseless),
            "adjacency": (("node", "to_node"), _adjacency(network)),
        },
        coords={
            "time": time.to_numpy().astype("datetime64[ns]"),
            "node": list(network.sensor_ids),
            "to_node": list(network.sensor_ids),
            "latitude": ("node", network.latitude),
            "longitude": ("node", network.longitude),
            "corridor": ("node", names[network.sensor_corridor]),
            "milepost_km": ("node", network.sensor_km),
        },
        attrs={
            "units": "mph",
            "interval": f"{INTERVAL_MINUTES}min",
            "quantity": "speed",
            "valid_min": 0.0,
            "title": f"Simulated freeway, {num_sensors} sensors",
            "source": f"cell transmission model, seed {seed}",
            "licence": "BSD-3-Clause",
            "synthetic": 1,
            "seed": seed,
            "free_flow_kmh": road.diagram.free_flow_kmh,
            "wave_speed_kmh": road.diagram.wave_speed_kmh,
            "critical_speed_mph": CRITICAL_SPEED_MPH,
            "notes": "Not a real place: no such freeways, drivers or incidents exist.",
            "citation": "C. F. Daganzo, Transportation Research Part B 28 (1994) 269-287",
        },
    )
    return check_dataset(dataset)


def _check_arguments(days: int, num_sensors: int, missing_share: float) -> None:
    if days < 1:
        raise ValueError(f"days must be at least 1; got {days}. Ask for a longer period.")
    if num_sensors < 9:
        raise ValueError(
            f"num_sensors must be at least 9, three per corridor; got {num_sensors}. Ask for more."
        )
    if not 0 <= missing_share < 0.9:
        raise ValueError(
            f"missing_share must be at least 0 and below 0.9; got {missing_share}. Lower it."
        )


def _missing(shape: tuple[int, int], missing_share: float, rng: np.random.Generator) -> np.ndarray:
    """Mark readings that are lost: half in outages of one sensor, half one by one."""
    lost = np.zeros(shape, dtype=bool)
    while lost.mean() < missing_share / 2:
        length = int(np.clip(rng.exponential(24), 4, 144))
        begin = int(rng.integers(0, max(1, shape[0] - length)))
        lost[begin : begin + length, rng.integers(shape[1])] = True
    rest = max(0.0, missing_share - lost.mean()) / (1 - lost.mean())
    return lost | (rng.random(shape) < rest)


def _adjacency(network: FreewayNetwork) -> np.ndarray:
    """Give Gaussian weights of the road distance downstream along a corridor, (node, to_node)."""
    distance = network.sensor_km[None, :] - network.sensor_km[:, None]
    same = network.sensor_corridor[None, :] == network.sensor_corridor[:, None]
    weight = np.exp(-((distance / 3.0) ** 2))
    weight[~same | (distance < 0) | (weight < 0.1)] = 0.0
    return weight.astype(np.float32)
