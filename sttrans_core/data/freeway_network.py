"""A freeway network made up by a seed: corridors with curves, ramps, bottlenecks and sensors."""

from dataclasses import dataclass

import numpy as np

from sttrans_core.data.cell_transmission import Road

__all__ = ["FreewayNetwork", "build_freeway_network"]

KM_PER_DEGREE = 111.32
CENTRE = (39.20, -99.60)
CELL_KM = 0.125
# Name, prefix of its sensors, heading in degrees from north, side of the centre line.
CORRIDORS = (
    ("A eastbound", "AE", 90.0, 1),
    ("A westbound", "AW", 270.0, 1),
    ("B northbound", "BN", 0.0, 1),
)


@dataclass(frozen=True, kw_only=True)
class FreewayNetwork:
    """Corridors and sensors; every array of sensors is ordered by corridor, then along it.

    Args:
        corridor_names: One name per corridor.
        corridor_cells: First cell and one past the last, (corridor, 2).
        drop_cells: Cells where a lane ends, one per corridor.
        weave_cells: Cells where lane changes cost capacity, one per corridor.
        ramp_cells: Cells with an on-ramp, (ramp,).
        lanes: Lanes per cell, (cell,).
        exit_share: Share of the flow that leaves behind each cell, (cell,).
        sensor_ids: One id per sensor, (node,).
        sensor_cell: Cell of each sensor, (node,).
        sensor_corridor: Corridor of each sensor, (node,).
        sensor_km: Distance along the corridor in the direction of travel, (node,).
        latitude: Degrees, (node,).
        longitude: Degrees, (node,).
    """

    corridor_names: tuple[str, ...]
    corridor_cells: np.ndarray
    drop_cells: np.ndarray
    weave_cells: np.ndarray
    ramp_cells: np.ndarray
    lanes: np.ndarray
    exit_share: np.ndarray
    sensor_ids: tuple[str, ...]
    sensor_cell: np.ndarray
    sensor_corridor: np.ndarray
    sensor_km: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray

    def corridor_of(self, cells: np.ndarray) -> np.ndarray:
        """Give the corridor index of each cell."""
        return np.searchsorted(self.corridor_cells[:, 0], cells, side="right") - 1

    def road(self, restricted_cells: np.ndarray) -> Road:
        """Give the cells for the traffic model.

        Args:
            restricted_cells: Cells whose capacity will change with time.
        """
        return Road(
            lanes=self.lanes,
            entry_cells=self.corridor_cells[:, 0],
            ramp_cells=self.ramp_cells,
            exit_share=self.exit_share,
            restricted_cells=restricted_cells,
            cell_km=CELL_KM,
        )


def build_freeway_network(num_sensors: int, rng: np.random.Generator) -> FreewayNetwork:
    """Make up two crossing freeways with three measured corridors.

    Freeway A is measured in both directions, freeway B in one. Sensors are about 0.95-1.55 km
    apart. Each corridor has a lane drop near its end, a weaving section half way, and an off-ramp followed by an on-ramp every 3 km.

    Args:
        num_sensors: Sensors in all; 40-60 is a small city.
        rng: The source of chance.

    Returns:
        The network, around a place that has no such freeways.
    """
    counts = [len(part) for part in np.array_split(np.arange(num_sensors), len(CORRIDORS))]
    first_cell = 0
    parts: dict[str, list] = {
        name: []
        for name in (
            "cells",
            "drops",
            "weaves",
            "ramps",
            "lanes",
            "exits",
            "sensor",
            "corridor",
            "km",
        )
    }
    ids: list[str] = []
    places: list[np.ndarray] = []
    curve = {code: (rng.uniform(0.15, 0.3), rng.uniform(0, 2 * np.pi)) for code in "AB"}
    for corridor, ((_, prefix, heading, side), count) in enumerate(
        zip(CORRIDORS, counts, strict=True)
    ):
        sensor_km = 1.0 + np.concatenate([[0.0], rng.uniform(0.95, 1.55, count - 1)]).cumsum()
        num_cells = int(np.ceil((sensor_km[-1] + 1.0) / CELL_KM))
        lanes, exits = np.full(num_cells, 4), np.zeros(num_cells)
        drop = int(rng.uniform(0.88, 0.93) * num_cells)
        lanes[drop:] = 3
        parts["drops"].append(first_cell + drop)
        parts["weaves"].append(first_cell + int(rng.uniform(0.44, 0.54) * num_cells))
        ramps = np.arange(int(1.9 / CELL_KM), num_cells - 16, int(3.0 / CELL_KM))
        exits[ramps - 4] = rng.uniform(0.06, 0.11, len(ramps))
        ids += [f"{prefix}{i + 1:02d}" for i in range(count)]
        places.append(_place(sensor_km, num_cells * CELL_KM, heading, side, *curve[prefix[0]]))
        parts["cells"].append((first_cell, first_cell + num_cells))
        parts["ramps"].append(first_cell + ramps)
        parts["lanes"].append(lanes)
        parts["exits"].append(exits)
        parts["sensor"].append(first_cell + (sensor_km / CELL_KM).astype(np.int64))
        parts["corridor"].append(np.full(count, corridor))
        parts["km"].append(sensor_km)
        first_cell += num_cells
    latitude, longitude = np.concatenate(places, axis=1)
    return FreewayNetwork(
        corridor_names=tuple(name for name, *_ in CORRIDORS),
        corridor_cells=np.array(parts["cells"]),
        drop_cells=np.array(parts["drops"]),
        weave_cells=np.array(parts["weaves"]),
        ramp_cells=np.concatenate(parts["ramps"]),
        lanes=np.concatenate(parts["lanes"]),
        exit_share=np.concatenate(parts["exits"]),
        sensor_ids=tuple(ids),
        sensor_cell=np.concatenate(parts["sensor"]),
        sensor_corridor=np.concatenate(parts["corridor"]),
        sensor_km=np.concatenate(parts["km"]),
        latitude=latitude,
        longitude=longitude,
    )


def _place(
    along_km: np.ndarray, length_km: float, heading: float, side: int, bend: float, phase: float
) -> np.ndarray:
    """Give latitude and longitude along a gently curved line through the centre, (2, node)."""
    line_km = np.linspace(-length_km / 2, length_km / 2, 400)
    reverse = heading >= 180
    course = np.radians(heading - 180 if reverse else heading)
    course = course + bend * np.sin(2 * np.pi * line_km / 16 + phase)
    pace = line_km[1] - line_km[0]
    east, north = np.sin(course).cumsum() * pace, np.cos(course).cumsum() * pace
    east, north = east - east[200], north - north[200]
    # The carriageway lies on the right of the centre line, seen in the direction of travel.
    offset = side * (-0.08 if reverse else 0.08)
    east, north = east + offset * np.cos(course), north - offset * np.sin(course)
    at = along_km - length_km / 2
    at = -at if reverse else at
    latitude = CENTRE[0] + np.interp(at, line_km, north) / KM_PER_DEGREE
    shrink = np.cos(np.radians(CENTRE[0]))
    longitude = CENTRE[1] + np.interp(at, line_km, east) / (KM_PER_DEGREE * shrink)
    return np.stack([latitude, longitude])
