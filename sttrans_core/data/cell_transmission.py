"""Traffic flow on freeways: the cell transmission model with a triangular fundamental diagram.

Vehicles are conserved, free traffic moves downstream at the free-flow speed, and queues move
upstream at the wave speed. All corridors lie behind one another on one axis of cells, and all days
are stepped side by side, so that one step is a few array operations.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

__all__ = ["FundamentalDiagram", "Road", "TrafficRecord", "run_cell_transmission"]

SECONDS_PER_MINUTE = 60


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
            if cells.size and not (0 <= cells.min() and cells.max() < num_cells):
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
    step_seconds: float = 4.0,
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
    diagram = road.diagram
    step_hours = step_seconds / 3600
    courant = max(diagram.free_flow_kmh, diagram.wave_speed_kmh) * step_hours / road.cell_km
    if not 0 < courant <= 1:
        raise ValueError(
            f"A vehicle must pass at most one cell per step; got {courant:.2f} cells in "
            f"{step_seconds} s. Shorten step_seconds or lengthen cell_km."
        )
    inlets = road.inlet_cells
    restricted = np.asarray(road.restricted_cells, dtype=np.int64)
    num_minutes, num_days = demand.shape[0], demand.shape[-1]
    for name, values, axis in (
        ("demand", demand, inlets),
        ("restriction", restriction, restricted),
    ):
        if values.shape != (num_minutes, len(axis), num_days):
            raise ValueError(
                f"{name} must have the shape {(num_minutes, len(axis), num_days)}; got "
                f"{values.shape}. Give one value per minute, cell and day."
            )
    steps_per_minute = SECONDS_PER_MINUTE / step_seconds
    if steps_per_minute != int(steps_per_minute) or num_minutes % interval_minutes:
        raise ValueError(
            f"Steps must fill whole minutes, and minutes whole intervals; got {step_seconds} s in "
            f"{num_minutes} minutes of {interval_minutes}-minute intervals. Choose a divisor."
        )

    # Everything below is in vehicles per cell and vehicles per step.
    num_cells = len(road.lanes)
    lanes = np.repeat(np.asarray(road.lanes, dtype=float)[:, None], num_days, axis=1)
    room_at_jam = lanes * diagram.jam_density * road.cell_km
    full_capacity = lanes * diagram.capacity * step_hours
    advance = diagram.free_flow_kmh * step_hours / road.cell_km
    retreat = diagram.wave_speed_kmh * step_hours / road.cell_km
    staying = 1 - np.asarray(road.exit_share, dtype=float)[:, None]
    last_cells = np.append(np.asarray(road.entry_cells)[1:] - 1, num_cells - 1)
    priority = np.full((len(inlets), 1), road.ramp_priority)
    priority[: len(road.entry_cells)] = 1.0

    vehicles = np.zeros((num_cells, num_days))
    waiting = np.zeros((len(inlets), num_days))
    left = np.zeros(num_days)
    num_intervals = num_minutes // interval_minutes
    speed = np.empty((num_intervals, num_cells, num_days), dtype=np.float32)
    outflow_sum, vehicle_sum = np.zeros_like(vehicles), np.zeros_like(vehicles)
    capacity = full_capacity.copy()
    sending, receiving = np.empty_like(vehicles), np.empty_like(vehicles)
    through, outflow = np.zeros_like(vehicles), np.empty_like(vehicles)
    for minute in range(num_minutes):
        capacity[restricted] = full_capacity[restricted] * restriction[minute]
        arriving = demand[minute] * step_hours
        for _ in range(int(steps_per_minute)):
            np.minimum(advance * vehicles, capacity, out=sending)
            np.minimum(retreat * (room_at_jam - vehicles), capacity, out=receiving)
            np.multiply(sending[:-1], staying[:-1], out=through[1:])
            through[road.entry_cells] = 0.0
            waiting += arriving
            room = receiving[inlets]
            entering = np.minimum(waiting, np.maximum(room - through[inlets], priority * room))
            waiting -= entering
            receiving[inlets] = room - entering
            np.minimum(through, receiving, out=through)
            np.divide(through[1:], staying[:-1], out=outflow[:-1])
            outflow[last_cells] = sending[last_cells]
            left += outflow.sum(0) - through.sum(0)
            vehicle_sum += vehicles
            outflow_sum += outflow
            vehicles += through
            vehicles -= outflow
            vehicles[inlets] += entering
        if (minute + 1) % interval_minutes == 0:
            with np.errstate(invalid="ignore"):
                mean = outflow_sum / vehicle_sum * (road.cell_km / step_hours)
            speed[minute // interval_minutes] = np.where(
                vehicle_sum > 0, mean, diagram.free_flow_kmh
            )
            outflow_sum[:], vehicle_sum[:] = 0.0, 0.0
    arrived = demand.sum((0, 1)) / 60
    return TrafficRecord(speed, vehicles, waiting, arrived, left)
