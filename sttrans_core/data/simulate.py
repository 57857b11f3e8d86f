"""Simulated freeway speeds whose causes are known: queues travel upstream at the wave speed."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from sttrans_core.data.cell_transmission import FundamentalDiagram, run_cell_transmission
from sttrans_core.data.freeway_network import CELL_KM, FreewayNetwork, build_freeway_network
from sttrans_core.schema import check_dataset

__all__ = ["simulate_freeway"]

KMH_PER_MPH = 1.609344
CRITICAL_SPEED_MPH = 50.0
NOISE_MPH = 1.5
INTERVAL_MINUTES = 5
DAY_MINUTES = 24 * 60
WARM_UP_MINUTES = 30
MORNING, EVENING = 7.75 * 60, 17.25 * 60
# Demand of the morning and of the evening peak, per corridor.
PEAKS = ((1.0, 0.72), (0.70, 1.0), (0.92, 0.90))
RAMP_FLOW = 620.0
SATURATION = 1.27
DROP_FACTOR, WEAVE_FACTOR = 0.95, 0.88
UNEVENNESS = 0.18
INCIDENTS_PER_DAY = 0.8


def simulate_freeway(
    *,
    days: int = 7,
    num_sensors: int = 48,
    seed: int = 0,
    missing_share: float = 0.03,
    start: str = "2024-01-03",
) -> xr.Dataset:
    """Simulate 5-minute speeds of freeway sensors, with the truth beside them.

    A cell transmission model moves a daily demand with peaks through corridors with ramps, lane
    drops and random incidents. Lane drops discharge unevenly, so that stop-and-go waves travel
    upstream through the queues. Readings are the true speed plus noise, with gaps.

    Card: 48 sensors on 3 corridors, 2,016 steps of 5 minutes, mph, 3 % missing by default;
    generated, no real place; the project's licence.

    Args:
        days: Days, at least 1. Each starts and ends with empty roads at night.
        num_sensors: Sensors in all, at least 9.
        seed: The same seed gives the same data, to the last bit on one machine.
        missing_share: Share of readings to drop, half of them in outages of hours; below 0.9.
        start: First day. The default, a Wednesday, puts two working days into the last fifth.

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
    demand = _demand(network, is_weekend, rng)
    cells, restriction = _restrictions(network, is_weekend, rng)
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
            "title": f"Simulated freeway, {num_sensors} sensors",
            "source": f"Simulated here by a cell transmission model, seed {seed}",
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


def _bump(minute: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    """Give a flat-topped hump of height 1 around each centre, (minute, day)."""
    return np.exp(-(np.abs((minute[:, None] - centre) / width) ** 3))


def _demand(
    network: FreewayNetwork, is_weekend: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give the vehicles per hour that want in at each inlet, (minute, inlet, day)."""
    minute = np.arange(-WARM_UP_MINUTES, DAY_MINUTES, dtype=float)
    num_days = len(is_weekend)
    whole_city = rng.normal(1, 0.03, num_days)
    profiles = []
    for morning, evening in PEAKS:
        size = rng.normal(1, 0.05, (2, num_days))
        shift = rng.normal(0, 18, (2, num_days))
        workday = (
            0.10
            + 0.45 * _bump(minute, np.full(num_days, 13.0 * 60), 470)
            + 0.45 * morning * size[0] * _bump(minute, MORNING + shift[0], 95)
            + 0.45 * evening * size[1] * _bump(minute, EVENING + shift[1], 115)
        )
        weekend = 0.10 + 0.66 * size[0] * _bump(minute, 14.5 * 60 + 2 * shift[0], 330)
        profiles.append(np.where(is_weekend, weekend, workday) * whole_city)
    ramp_level = RAMP_FLOW * rng.uniform(0.8, 1.2, len(network.ramp_cells))
    ramp_corridor = network.corridor_of(network.ramp_cells)
    entry_level = _entry_level(network, ramp_level)
    flows = [level * profile for level, profile in zip(entry_level, profiles, strict=True)]
    flows += [
        level * profiles[corridor] * _slow_noise(len(minute), num_days, 30.0, 0.12, rng)
        for level, corridor in zip(ramp_level, ramp_corridor, strict=True)
    ]
    return np.maximum(np.stack(flows, axis=1), 50.0)


def _entry_level(network: FreewayNetwork, ramp_level: np.ndarray) -> np.ndarray:
    """Give the entry flow of each corridor that overloads its lane drop by SATURATION at peak."""
    levels = []
    for (first, _), drop in zip(network.corridor_cells, network.drop_cells, strict=True):
        # Share of what passes each cell that also passes the drop.
        staying = np.cumprod((1 - network.exit_share[first:drop])[::-1])[::-1]
        on_way = (network.ramp_cells >= first) & (network.ramp_cells < drop)
        from_ramps = (ramp_level[on_way] * staying[network.ramp_cells[on_way] - first]).sum()
        capacity = DROP_FACTOR * network.lanes[drop] * FundamentalDiagram().capacity
        levels.append((SATURATION * capacity - from_ramps) / staying[0])
    return np.array(levels)


def _slow_noise(
    num_minutes: int, num_days: int, memory_minutes: float, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Give a factor around 1 that wanders with a memory, (minute, day)."""
    keep = np.exp(-1 / memory_minutes)
    settle = int(10 * memory_minutes)
    shocks = rng.normal(0, 1, (settle + num_minutes, num_days))
    walk = lfilter([1.0], [1.0, -2 * keep, keep**2], shocks, axis=0)[settle:]
    # Variance of a second-order autoregression with the double root `keep`.
    walk /= np.sqrt((1 + keep**2) / (1 - keep**2) ** 3)
    return np.clip(1 + spread * walk, 0.3, 1.7)


def _restrictions(
    network: FreewayNetwork, is_weekend: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Give the cells with a changing capacity and its factor, (minute, restricted, day).

    Lane drops discharge unevenly all the time; an incident takes part of the capacity of one cell
    for a while, unevenly too.
    """
    num_minutes, num_days = WARM_UP_MINUTES + DAY_MINUTES, len(is_weekend)
    cells = [*network.drop_cells, *network.weave_cells]
    always = len(cells)
    mean = [DROP_FACTOR] * len(network.drop_cells) + [WEAVE_FACTOR] * len(network.weave_cells)
    factors = [level * _slow_noise(num_minutes, num_days, 7.0, UNEVENNESS, rng) for level in mean]
    minute = np.arange(num_minutes) - WARM_UP_MINUTES
    for first, last in network.corridor_cells:
        for day in range(num_days):
            for _ in range(rng.poisson(INCIDENTS_PER_DAY * (0.5 if is_weekend[day] else 1.0))):
                begin = rng.uniform(6, 20) * 60
                duration = np.clip(rng.lognormal(np.log(40), 0.45), 15, 110)
                loss = rng.uniform(0.35, 0.7)
                cell = int(first + rng.uniform(0.3, 0.97) * (last - first))
                factor = np.ones((num_minutes, num_days))
                during = (minute >= begin) & (minute < begin + duration)
                uneven = _slow_noise(num_minutes, 1, 7.0, 0.15, rng)[:, 0]
                factor[during, day] = (1 - loss) * uneven[during]
                cells.append(cell)
                factors.append(factor)
    # Two restrictions of one cell act as the stronger of the two.
    unique, place = np.unique(np.array(cells), return_inverse=True)
    merged = np.ones((num_minutes, len(unique), num_days))
    merged[:, place[:always]] = 2.0
    for index, factor in zip(place, factors, strict=True):
        merged[:, index] = np.minimum(merged[:, index], factor)
    return unique, merged


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
