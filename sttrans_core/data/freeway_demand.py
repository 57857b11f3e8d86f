"""What drives simulated traffic: daily demand, uneven bottlenecks and random incidents."""

from itertools import pairwise

import numpy as np

from sttrans_core.data.cell_transmission import FundamentalDiagram
from sttrans_core.data.freeway_network import FreewayNetwork

__all__ = ["WARM_UP_MINUTES", "daily_demand", "daily_restrictions"]

DAY_MINUTES = 24 * 60
# Each day starts on empty roads, this long before midnight, so that they have filled by then.
WARM_UP_MINUTES = 30
MORNING, EVENING = 7.75 * 60, 17.25 * 60
# Height of the morning and of the evening peak, per corridor.
PEAKS = ((1.0, 0.72), (0.70, 1.0), (0.92, 0.90))
RAMP_FLOW, LEAST_FLOW = 620.0, 50.0
# Demand at a lane drop over its capacity where the profile of the day is 1; peaks reach 0.9.
SATURATION = 1.2
DROP_FACTOR, WEAVE_FACTOR = 1.0, 0.92
# Queues move as unevenly as those of METR-LA: speeds below 50 mph change by 4 mph in 5 minutes.
BOTTLENECK_UNEVENNESS, INCIDENT_UNEVENNESS, RAMP_UNEVENNESS = 0.22, 0.15, 0.12
BOTTLENECK_MEMORY_MINUTES, RAMP_MEMORY_MINUTES = 10.0, 30.0
INCIDENTS_PER_DAY, INCIDENTS_PER_WEEKEND_DAY = 0.8, 0.4


def _bump(minute: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    """Give a flat-topped hump of height 1 around each centre, (minute, day)."""
    return np.exp(-(np.abs((minute[:, None] - centre) / width) ** 3))


def daily_demand(
    network: FreewayNetwork, is_weekend: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give the flow that wants in at each inlet: two peaks on working days, one hump otherwise.

    Peaks differ by corridor, and in size and hour from day to day.

    Args:
        network: The roads.
        is_weekend: Whether each day is free, (day,).
        rng: The source of chance.

    Returns:
        Vehicles per hour, (minute, inlet, day), from `WARM_UP_MINUTES` before midnight.
    """
    minute = np.arange(-WARM_UP_MINUTES, DAY_MINUTES, dtype=float)
    num_days = len(is_weekend)
    shape = (len(minute), num_days)
    whole_city = rng.normal(1, 0.03, num_days)
    profiles = []
    for morning, evening in PEAKS:
        size = rng.normal(1, 0.05, (2, num_days))
        shift = rng.normal(0, 18, (2, num_days))
        workday = (
            0.10
            + 0.45 * _bump(minute, np.full(num_days, 13.0 * 60), 470.0)
            + 0.45 * morning * size[0] * _bump(minute, MORNING + shift[0], 95.0)
            + 0.45 * evening * size[1] * _bump(minute, EVENING + shift[1], 115.0)
        )
        weekend = 0.10 + 0.66 * size[0] * _bump(minute, 14.5 * 60 + 2 * shift[0], 330.0)
        profiles.append(np.where(is_weekend, weekend, workday) * whole_city)
    ramp_level = RAMP_FLOW * rng.uniform(0.8, 1.2, len(network.ramp_cells))
    ramp_corridor = network.corridor_of(network.ramp_cells)
    entry_level = _entry_level(network, ramp_level)
    flows = [level * profile for level, profile in zip(entry_level, profiles, strict=True)]
    flows += [
        level * profiles[corridor] * _slow_noise(shape, RAMP_MEMORY_MINUTES, RAMP_UNEVENNESS, rng)
        for level, corridor in zip(ramp_level, ramp_corridor, strict=True)
    ]
    return np.maximum(np.stack(flows, axis=1), LEAST_FLOW)


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
    shape: tuple[int, int], memory_minutes: float, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Give a factor around 1 that wanders smoothly, with a memory, (minute, day)."""
    keep = np.exp(-1 / memory_minutes)
    settle = int(10 * memory_minutes)
    walk = rng.normal(0, 1, (settle + shape[0], shape[1]))
    # A second-order autoregression with the double root `keep`; SciPy's filters would do it too,
    # but take longer to import than all of this.
    before = np.zeros(shape[1])
    for last, now in pairwise(walk):
        np.add(now, 2 * keep * last - before, out=now)
        before = keep**2 * last
    walk = walk[settle:] / np.sqrt((1 + keep**2) / (1 - keep**2) ** 3)  # its variance
    return np.clip(1 + spread * walk, 0.3, 1.7)


def daily_restrictions(
    network: FreewayNetwork, is_weekend: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Give the capacity that bottlenecks and incidents leave.

    Bottlenecks discharge unevenly all day, which sends stop-and-go waves upstream. An incident
    takes part of the capacity of one cell for a while, unevenly too.

    Args:
        network: The roads.
        is_weekend: Whether each day is free, (day,).
        rng: The source of chance.

    Returns:
        The cells, (restricted,), and the factor on their capacity, (minute, restricted, day).
    """
    minute = np.arange(-WARM_UP_MINUTES, DAY_MINUTES)
    shape = (len(minute), len(is_weekend))
    cells, factors = [], []
    for bottlenecks, mean in (
        (network.drop_cells, DROP_FACTOR),
        (network.weave_cells, WEAVE_FACTOR),
    ):
        for cell in bottlenecks:
            cells.append(cell)
            uneven = _slow_noise(shape, BOTTLENECK_MEMORY_MINUTES, BOTTLENECK_UNEVENNESS, rng)
            factors.append(mean * uneven)
    rates = np.where(is_weekend, INCIDENTS_PER_WEEKEND_DAY, INCIDENTS_PER_DAY)
    for first, end in network.corridor_cells:
        for day, count in enumerate(rng.poisson(rates)):
            for _ in range(count):
                cells.append(int(first + rng.uniform(0.3, 0.97) * (end - first)))
                factor = np.ones(shape)
                factor[:, day] = _incident(minute, rng)
                factors.append(factor)
    # Where several restrictions meet in a cell, the strongest counts.
    unique, place = np.unique(np.array(cells), return_inverse=True)
    left = np.ones((len(minute), len(unique), len(is_weekend)))
    for index, factor in zip(place, factors, strict=True):
        left[:, index] = np.minimum(left[:, index], factor)
    return unique, left


def _incident(minute: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the capacity that one incident leaves, (minute,): 15-110 minutes between 6 and 22 h."""
    begin = rng.uniform(6, 20) * 60
    duration = np.clip(rng.lognormal(np.log(40), 0.45), 15, 110)
    loss = rng.uniform(0.35, 0.7)
    uneven = _slow_noise((len(minute), 1), BOTTLENECK_MEMORY_MINUTES, INCIDENT_UNEVENNESS, rng)
    during = (minute >= begin) & (minute < begin + duration)
    return np.where(during, (1 - loss) * uneven[:, 0], 1.0)
