"""Traffic flow on freeways: the cell transmission model with a triangular fundamental diagram.

Vehicles are conserved, free traffic moves downstream at the free-flow speed, and queues move
upstream at the wave speed. All corridors lie behind one another on one axis of cells, and all days
are stepped side by side.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sttrans_core.kernels.compiling import compiled

__all__ = ["FundamentalDiagram", "Road", "TrafficRecord", "run_cell_transmission"]

SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600


@dataclass(frozen=True, kw_only=True)
class FundamentalDiagram:
    """Flow over density of one lane: a triangle.

    Args:
        free_flow_kmh: Speed of uncongested traffic, and of waves in it, downstream.
        wave_speed_kmh: Speed of waves in congested traffic, upstream; 15-20 is what is observed.
        jam_density: Vehicles per km and lane that stand still.

    Raises:
        ValueError: A value is not positive.

    Source: C. F. Daganzo, "The cell transmission model", Transportation Research B 28 (1994),
        eqs. (2)-(4).
    """

    free_flow_kmh: float = 105.0
    wave_speed_kmh: float = 16.0
    jam_density: float = 150.0

    def __post_init__(self) -> None:
        for name in ("free_flow_kmh", "wave_speed_kmh", "jam_density"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be positive; got {getattr(self, name)}. Pass a larger one."
                )

    @property
    def critical_density(self) -> float:
        """Vehicles per km and lane at capacity."""
        return self.jam_density * self.wave_speed_kmh / (self.free_flow_kmh + self.wave_speed_kmh)

    @property
    def capacity(self) -> float:
        """Vehicles per hour and lane, at most."""
        return self.free_flow_kmh * self.critical_density


@dataclass(frozen=True, kw_only=True)
class Road:
    """The cells of one or several corridors, in the direction of travel.

    Vehicles come in at inlets: the first cell of each corridor, and the cells of on-ramps. What
    does not fit waits in a queue in front of the inlet. They leave at the last cell of each
    corridor, and at the off-ramps.

    Args:
        lanes: Lanes of each cell, (cell,).
        entry_cells: First cell of each corridor, increasing and starting with 0.
        ramp_cells: Cells with an on-ramp, none of them an entry.
        ramp_priority: Share of the room that an on-ramp may claim when the cell cannot take all.
        exit_share: Share of each cell's outflow that takes the off-ramp behind it, (cell,).
        restricted_cells: Cells whose capacity changes with time (bottlenecks, incidents).
        cell_km: Length of a cell.
        diagram: The fundamental diagram of a lane.

    Raises:
        ValueError: Lanes are not positive, shares are outside [0, 1), or a cell does not exist.
    """

    lanes: np.ndarray
    entry_cells: np.ndarray
    ramp_cells: np.ndarray
    exit_share: np.ndarray
    restricted_cells: np.ndarray
    ramp_priority: float = 0.25
    cell_km: float = 0.125
    diagram: FundamentalDiagram = field(default_factory=FundamentalDiagram)

    def __post_init__(self) -> None:
        num_cells = len(self.lanes)
        if not (np.asarray(self.lanes) > 0).all():
            raise ValueError(
                f"lanes must be positive; got {np.min(self.lanes)}. Close a lane by a restriction."
            )
        share = np.asarray(self.exit_share)
        if share.shape != (num_cells,) or share.min() < 0 or share.max() >= 1:
            raise ValueError(
                f"exit_share must hold one share in [0, 1) per cell; got shape {share.shape} with "
                f"values up to {share.max()} for {num_cells} cells. Correct the off-ramps."
            )
        entries = np.asarray(self.entry_cells)
        if entries.size == 0 or entries[0] != 0 or (np.diff(entries) < 2).any():
            raise ValueError(
                f"entry_cells must start with 0 and lie at least 2 cells apart; got "
                f"{entries.tolist()}. Order the corridors one behind the other."
            )
        for name in ("entry_cells", "ramp_cells", "restricted_cells"):
            cells = np.asarray(getattr(self, name))
            if cells.size and (cells.min() < 0 or cells.max() >= num_cells):
                raise ValueError(
                    f"{name} must lie between 0 and {num_cells - 1}; got {cells.tolist()}. "
                    f"Give the index of a cell."
                )

    @property
    def inlet_cells(self) -> np.ndarray:
        """Cells that vehicles come in at: entries, then on-ramps, (inlet,)."""
        return np.concatenate([self.entry_cells, self.ramp_cells]).astype(np.int64)


class TrafficRecord(NamedTuple):
    """What a run of the model gives.

    Attributes:
        speed_kmh: Space-mean speed per interval, (interval, cell, day); free-flow where empty.
        vehicles: Vehicles on each cell at the end, (cell, day).
        waiting: Vehicles in front of each inlet at the end, (inlet, day).
        arrived: Vehicles that wanted in so far, (day,).
        left: Vehicles that left at the ends and the off-ramps, (day,).
    """

    speed_kmh: np.ndarray
    vehicles: np.ndarray
    waiting: np.ndarray
    arrived: np.ndarray
    left: np.ndarray


def run_cell_transmission(
    road: Road,
    *,
    demand: np.ndarray,
    restriction: np.ndarray,
    step_seconds: float | int = 4,
    interval_minutes: int = 5,
) -> TrafficRecord:
    """Move the traffic of all corridors and days through time, from empty roads.

    Each step, a cell sends what its vehicles and capacity allow and receives what its capacity and
    room allow; what passes between two cells is the smaller. Off-ramps take their share of what a
    cell sends (first in, first out), on-ramps merge by priority.

    Args:
        road: The cells.
        demand: Vehicles per hour that want in, (minute, inlet, day).
        restriction: Factor on the capacity of `road.restricted_cells`, (minute, restricted, day);
            1 leaves it.
        step_seconds: Time step; a vehicle must not pass a whole cell in it.
        interval_minutes: Length of a recorded interval.

    Returns:
        Speeds per interval, and where all the vehicles are at the end.

    Raises:
        ValueError: The step is too long for the cells, or shapes do not fit.

    Source: C. F. Daganzo, "The cell transmission model", Transportation Research B 28 (1994) and
        part II, B 29 (1995), for merges (eq. 10) and diverges (eq. 8).
    """
    traffic = _Traffic(road, num_days=demand.shape[-1], step_seconds=step_seconds)
    _check_forcing(road, demand, restriction, step_seconds, interval_minutes)
    steps_per_minute = round(SECONDS_PER_MINUTE / step_seconds)
    num_intervals = len(demand) // interval_minutes
    speed = np.empty((num_intervals, *traffic.vehicles.shape), dtype=np.float32)
    for minute in range(len(demand)):
        traffic.restrict(restriction[minute])
        traffic.move(demand[minute], steps_per_minute)
        if (minute + 1) % interval_minutes == 0:
            speed[minute // interval_minutes] = traffic.take_mean_speed()
    arrived = demand.sum((0, 1)) * (SECONDS_PER_MINUTE / SECONDS_PER_HOUR)
    return TrafficRecord(speed, traffic.vehicles, traffic.waiting, arrived, traffic.left)


def _check_forcing(
    road: Road,
    demand: np.ndarray,
    restriction: np.ndarray,
    step_seconds: float | int,
    interval_minutes: int,
) -> None:
    num_minutes, _, num_days = demand.shape
    for name, values, cells in (
        ("demand", demand, road.inlet_cells),
        ("restriction", restriction, road.restricted_cells),
    ):
        if values.shape != (num_minutes, len(cells), num_days):
            raise ValueError(
                f"{name} must have the shape {(num_minutes, len(cells), num_days)}; got "
                f"{values.shape}. Give one value per minute, cell and day."
            )
    if SECONDS_PER_MINUTE % step_seconds or num_minutes % interval_minutes:
        raise ValueError(
            f"Steps must fill whole minutes, and minutes whole intervals; got {step_seconds} s in "
            f"{num_minutes} minutes of {interval_minutes}-minute intervals. Choose divisors."
        )


class _Traffic:
    """What is on the road now, in vehicles per cell; flows are in vehicles per step."""

    def __init__(self, road: Road, *, num_days: int, step_seconds: float | int) -> None:
        diagram = road.diagram
        self.step_hours = step_seconds / SECONDS_PER_HOUR
        self.advance = diagram.free_flow_kmh * self.step_hours / road.cell_km
        self.retreat = diagram.wave_speed_kmh * self.step_hours / road.cell_km
        if not 0 < max(self.advance, self.retreat) <= 1:
            raise ValueError(
                f"A vehicle must pass at most one cell per step; got {self.advance:.2f} cells in "
                f"{step_seconds} s. Shorten step_seconds or lengthen cell_km."
            )
        self.road = road
        self.inlets = road.inlet_cells
        self.restricted = np.asarray(road.restricted_cells, dtype=np.int64)
        num_cells = len(road.lanes)
        self.is_entry = np.isin(np.arange(num_cells), road.entry_cells)
        lanes = np.repeat(np.asarray(road.lanes, dtype=float)[:, None], num_days, axis=1)
        self.jam = lanes * diagram.jam_density * road.cell_km
        self.full_capacity = lanes * diagram.capacity * self.step_hours
        self.capacity = self.full_capacity.copy()
        self.staying = 1 - np.asarray(road.exit_share, dtype=float)
        self.priority = np.where(self.is_entry[self.inlets], 1.0, road.ramp_priority)
        self.vehicles = np.zeros((num_cells, num_days))
        self.waiting = np.zeros((len(self.inlets), num_days))
        self.left = np.zeros(num_days)
        self._outflow_sum, self._vehicle_sum = np.zeros((2, num_cells, num_days))

    def restrict(self, factor: np.ndarray) -> None:
        """Set the capacity of the restricted cells, (restricted, day)."""
        self.capacity[self.restricted] = self.full_capacity[self.restricted] * factor

    def move(self, demand: np.ndarray, num_steps: int) -> None:
        """Move every vehicle by some steps; demand in vehicles per hour, (inlet, day)."""
        arriving = demand * self.step_hours
        for _ in range(num_steps):
            self.waiting += arriving
            _step(
                *(self.vehicles, self.waiting, self.left, self._vehicle_sum, self._outflow_sum),
                *(self.capacity, self.jam, self.staying, self.priority, self.advance, self.retreat),
                *(self.inlets, self.is_entry),
            )

    def take_mean_speed(self) -> np.ndarray:
        """Give the space-mean speed in km/h since the last call, (cell, day)."""
        to_kmh = self.road.cell_km / self.step_hours
        is_empty = self._vehicle_sum == 0
        mean = to_kmh * self._outflow_sum / np.where(is_empty, 1.0, self._vehicle_sum)
        self._outflow_sum[:], self._vehicle_sum[:] = 0.0, 0.0
        return np.where(is_empty, self.road.diagram.free_flow_kmh, mean)


@compiled(fastmath=False)  # the same to the last bit everywhere: simulated data are known by a hash
def _step(
    vehicles, waiting, left, vehicle_sum, outflow_sum,
    capacity, jam, staying, priority, advance, retreat, inlets, is_entry,
):  # fmt: skip
    # vehicles to jam: (cell, day), but for waiting: (inlet, day), left: (day,); staying: (cell,),
    # priority: (inlet,), is_entry: (cell,)
    num_cells, num_days = vehicles.shape
    # `coming` is what comes in from the cell behind, as far as there is `room`.
    sending, room, coming, entering = np.zeros((4, num_cells, num_days))
    for c in range(num_cells):
        for d in range(num_days):
            sending[c, d] = min(advance * vehicles[c, d], capacity[c, d])
            room[c, d] = min(retreat * (jam[c, d] - vehicles[c, d]), capacity[c, d])
            if not is_entry[c]:
                coming[c, d] = sending[c - 1, d] * staying[c - 1]
    for i, c in enumerate(inlets):
        for d in range(num_days):
            claim = max(room[c, d] - coming[c, d], priority[i] * room[c, d])
            entering[c, d] = min(waiting[i, d], claim)
            waiting[i, d] -= entering[c, d]
            room[c, d] -= entering[c, d]
    for c in range(num_cells):
        is_last = c + 1 == num_cells or is_entry[c + 1]
        for d in range(num_days):
            through = min(coming[c, d], room[c, d])
            if is_last:
                outflow = sending[c, d]
            else:
                outflow = min(coming[c + 1, d], room[c + 1, d]) / staying[c]
            left[d] += outflow - through
            vehicle_sum[c, d] += vehicles[c, d]
            outflow_sum[c, d] += outflow
            vehicles[c, d] += through
            vehicles[c, d] -= outflow
            vehicles[c, d] += entering[c, d]
