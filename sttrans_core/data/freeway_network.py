"""A freeway network made up by a seed: corridors with curves, ramps, bottlenecks and sensors."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sttrans_core.data.cell_transmission import Road

__all__ = ["FreewayNetwork", "build_freeway_network"]

KM_PER_DEGREE = 111.32
# Open country: nothing real lies under the simulated roads.
CENTRE_LATITUDE, CENTRE_LONGITUDE = 39.20, -99.60
CELL_KM = 0.125
SENSOR_GAP_KM = (0.95, 1.55)
MARGIN_KM = 1.0
RAMP_GAP_KM, FIRST_RAMP_KM, LAST_RAMP_KM = 3.0, 1.9, 2.0
CELLS_FROM_EXIT_TO_ENTRANCE = 4
LANES = 5


class _Direction(NamedTuple):
    """One measured direction of a freeway; the heading is that of its centre line, from north."""

    name: str
    prefix: str
    freeway: str
    heading_degrees: float
    is_reverse: bool


DIRECTIONS = (
    _Direction("A eastbound", "AE", "A", 90.0, False),
    _Direction("A westbound", "AW", "A", 90.0, True),
    _Direction("B northbound", "BN", "B", 0.0, False),
)


@dataclass(frozen=True, kw_only=True)
class FreewayNetwork:
    """Corridors and sensors; all cells and sensors are ordered by corridor, then along it.

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
        sensor_corridor: Index of the corridor of each sensor, (node,).
        sensor_km: Distance along the corridor in the direction of travel, (node,).
        latitude: Degrees north, (node,).
        longitude: Degrees east, (node,).
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
        """Give the index of the corridor of each cell."""
        return np.searchsorted(self.corridor_cells[:, 0], cells, side="right") - 1

    def road(self, restricted_cells: np.ndarray) -> Road:
        """Give the cells for the traffic model, with those whose capacity will change."""
        return Road(
            lanes=self.lanes,
            entry_cells=self.corridor_cells[:, 0],
            ramp_cells=self.ramp_cells,
            exit_share=self.exit_share,
            restricted_cells=restricted_cells,
            cell_km=CELL_KM,
        )


class _Corridor(NamedTuple):
    """One corridor, with its cells counted from 0."""

    lanes: np.ndarray
    exit_share: np.ndarray
    ramp_cells: np.ndarray
    drop_cell: int
    weave_cell: int
    sensor_km: np.ndarray


def build_freeway_network(num_sensors: int, rng: np.random.Generator) -> FreewayNetwork:
    """Make up two crossing freeways with three measured corridors.

    Freeway A is measured in both directions, freeway B in one. Each corridor has a lane drop near
    its end, a weaving section half way, and an off-ramp followed by an on-ramp every few km. The
    freeways cross without exchanging vehicles, so that causes stay inside a corridor.

    Args:
        num_sensors: Sensors in all; 40-60 is a small city.
        rng: The source of chance.

    Returns:
        The network, around a place that has no such freeways.
    """
    bends = {freeway: (rng.uniform(0.15, 0.3), rng.uniform(0, 2 * np.pi)) for freeway in "AB"}
    counts = [len(part) for part in np.array_split(np.arange(num_sensors), len(DIRECTIONS))]
    corridors = [_build_corridor(count, rng) for count in counts]
    sizes = np.array([len(corridor.lanes) for corridor in corridors])
    first = sizes.cumsum() - sizes
    places = [
        _place(corridor.sensor_km, size * CELL_KM, direction, *bends[direction.freeway])
        for corridor, size, direction in zip(corridors, sizes, DIRECTIONS, strict=True)
    ]
    latitude, longitude = np.concatenate(places, axis=1)
    sensor_corridor = np.repeat(np.arange(len(corridors)), counts)
    sensor_km = np.concatenate([c.sensor_km for c in corridors])
    return FreewayNetwork(
        corridor_names=tuple(direction.name for direction in DIRECTIONS),
        corridor_cells=np.stack([first, first + sizes], axis=1),
        drop_cells=first + [c.drop_cell for c in corridors],
        weave_cells=first + [c.weave_cell for c in corridors],
        ramp_cells=np.concatenate(
            [f + c.ramp_cells for f, c in zip(first, corridors, strict=True)]
        ),
        lanes=np.concatenate([c.lanes for c in corridors]),
        exit_share=np.concatenate([c.exit_share for c in corridors]),
        sensor_ids=tuple(
            f"{direction.prefix}{i + 1:02d}"
            for direction, count in zip(DIRECTIONS, counts, strict=True)
            for i in range(count)
        ),
        sensor_cell=first[sensor_corridor] + (sensor_km / CELL_KM).astype(np.int64),
        sensor_corridor=sensor_corridor,
        sensor_km=sensor_km,
        latitude=latitude,
        longitude=longitude,
    )


def _build_corridor(num_sensors: int, rng: np.random.Generator) -> _Corridor:
    gaps = rng.uniform(*SENSOR_GAP_KM, num_sensors - 1)
    sensor_km = MARGIN_KM + np.append(0.0, gaps).cumsum()
    num_cells = int(np.ceil((sensor_km[-1] + MARGIN_KM) / CELL_KM))
    drop_cell = int(rng.uniform(0.88, 0.93) * num_cells)
    lanes = np.full(num_cells, LANES)
    lanes[drop_cell:] = LANES - 1
    ramp_km = np.arange(FIRST_RAMP_KM, num_cells * CELL_KM - LAST_RAMP_KM, RAMP_GAP_KM)
    ramp_cells = (ramp_km / CELL_KM).astype(np.int64)
    exit_share = np.zeros(num_cells)
    exit_share[ramp_cells - CELLS_FROM_EXIT_TO_ENTRANCE] = rng.uniform(0.06, 0.11, len(ramp_cells))
    weave_cell = int(rng.uniform(0.44, 0.54) * num_cells)
    return _Corridor(lanes, exit_share, ramp_cells, drop_cell, weave_cell, sensor_km)


def _place(
    along_km: np.ndarray, length_km: float, direction: _Direction, bend: float, phase: float
) -> np.ndarray:
    """Give latitude and longitude beside a gently curved line through the centre, (2, node)."""
    line_km = np.linspace(-length_km / 2, length_km / 2, 401)
    course = np.radians(direction.heading_degrees)
    course = course + bend * np.sin(2 * np.pi * line_km / 16 + phase)
    pace = line_km[1] - line_km[0]
    east, north = np.sin(course).cumsum() * pace, np.cos(course).cumsum() * pace
    east, north = east - east[200], north - north[200]
    # The carriageway lies on the right of the centre line, seen in the direction of travel.
    aside = -0.08 if direction.is_reverse else 0.08
    east, north = east + aside * np.cos(course), north - aside * np.sin(course)
    at = along_km - length_km / 2
    at = -at if direction.is_reverse else at
    latitude = CENTRE_LATITUDE + np.interp(at, line_km, north) / KM_PER_DEGREE
    km_per_degree_east = KM_PER_DEGREE * np.cos(np.radians(CENTRE_LATITUDE))
    longitude = CENTRE_LONGITUDE + np.interp(at, line_km, east) / km_per_degree_east
    return np.stack([latitude, longitude])
