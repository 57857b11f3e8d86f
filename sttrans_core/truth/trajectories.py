"""The true causes of simulated weather: the readings on the way that the air of a target came.

Followed backwards in time along the wind, this way ends at a target; what was upwind arrives.
Positions are in cells of the grid, (row, column), with whole numbers at the middle of a cell.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import interval_of
from sttrans_core.space.geometry import EARTH_RADIUS_KM
from sttrans_core.truth.lines import Lines, spread_over_steps

__all__ = ["Trajectories", "cells_per_step", "step_back"]

NEEDED = ("wind_east", "wind_north")


def cells_per_step(
    wind: np.ndarray,
    latitude: np.ndarray,
    latitude_step: float,
    longitude_step: float,
    *,
    hours: float,
) -> np.ndarray:
    """Turn a wind into the cells that it moves air by in one time step.

    Args:
        wind: In m/s, (east or north, row, column).
        latitude: Of each row, degrees.
        latitude_step: Between rows, degrees.
        longitude_step: Between columns, degrees.
        hours: Of a time step.

    Returns:
        Cells, (north or east, row, column), in the order of positions.
    """
    km = 3.6 * hours * wind
    cell_km = np.radians(latitude_step) * EARTH_RADIUS_KM
    cell_east_km = np.radians(longitude_step) * EARTH_RADIUS_KM * np.cos(np.radians(latitude))
    return np.stack([km[1] / cell_km, km[0] / cell_east_km[:, None]])


def step_back(position: np.ndarray, flow: np.ndarray, *, wraps: bool = False) -> np.ndarray:
    """Give where air was one time step before.

    Args:
        position: Where it is, (row and column, air).
        flow: As `cells_per_step` gives it, halfway through the step.
        wraps: Whether the grid wraps round; else the flow at its edge holds beyond it.

    Returns:
        Where it was, (row and column, air).

    Source: the midpoint rule, with the flow interpolated between the cells.
    """
    from scipy.ndimage import map_coordinates

    mode = "grid-wrap" if wraps else "nearest"

    def moved(at: np.ndarray) -> np.ndarray:
        return np.stack([map_coordinates(part, at, order=1, mode=mode) for part in flow])

    return position - moved(position - moved(position) / 2)


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """What is needed to follow the air of a target back through a dataset.

    Args:
        flow: Cells that air moves by in one time step, (time, north or east, row, column).
    """

    regimes: ClassVar = ("carried",)

    flow: np.ndarray

    @staticmethod
    def missing(dataset: xr.Dataset) -> list[str]:
        """Name what a dataset, of nodes or on a grid, lacks of what they are read from."""
        missing = [name for name in NEEDED if name not in dataset.variables]
        if not missing and "node" in dataset.dims and _shape(dataset) is None:
            missing.append("all cells of the grid")
        return missing

    @classmethod
    def of(cls, dataset: xr.Dataset) -> Self:
        """Read them from simulated weather, as nodes, that lacks nothing."""
        rows, columns = _shape(dataset) or (0, 0)
        wind = np.stack([dataset[name].values for name in NEEDED]).astype(float)
        latitude, longitude = (
            dataset["latitude"].values[::columns],
            dataset["longitude"].values[:columns],
        )
        flow = cells_per_step(
            wind.reshape(2, -1, rows, columns),
            latitude,
            float(np.diff(latitude)[0]),
            float(np.diff(longitude)[0]),
            hours=interval_of(dataset) / pd.Timedelta("1h"),
        )
        return cls(flow=flow.swapaxes(0, 1))

    def lines(
        self, queries: np.ndarray, *, origin: int, horizon_step: int, history_steps: int
    ) -> Lines:
        """Follow the lines that end at some nodes, `horizon_step` steps after the origin.

        Args:
            queries: Node indices, (query,).
            origin: Time index of the last history step.
            horizon_step: Steps from the origin to the targets, at least 1.
            history_steps: Steps up to the origin that count.
        """
        arrival, shape = origin + horizon_step, self.flow.shape[2:]
        nowhere = np.full((history_steps, len(queries)), -1)
        carried = np.zeros(len(queries), int)
        if arrival >= len(self.flow):
            return Lines(nowhere.T, carried, np.zeros(len(queries), bool))
        position = np.stack(np.unravel_index(queries, shape)).astype(float)
        inside = np.ones(len(queries), bool)
        nodes = []
        for step in range(arrival, origin - history_steps, -1):
            cell = np.rint(position).astype(int)
            inside &= ((cell >= 0) & (cell < np.array(shape)[:, None])).all(0)
            if step <= origin:
                flat = np.ravel_multi_index(cell, shape, mode="clip")
                nodes.append(np.where(inside, flat, -1))
            position = step_back(position, (self.flow[step] + self.flow[step - 1]) / 2)
        return Lines(np.stack(nodes[::-1], axis=1), carried, np.ones(len(queries), bool))

    def near(self, line: np.ndarray) -> np.ndarray:
        """Mark what is within one cell, in both directions of the grid, and one step of lines.

        Args:
            line: `Lines.node`, (query, history).

        Returns:
            True for such sources, (query, history, node).
        """
        rows, columns = np.unravel_index(np.arange(self.flow[0, 0].size), self.flow.shape[2:])
        beside = (line >= 0)[..., None] & (np.abs(rows[line][..., None] - rows) <= 1)
        beside &= np.abs(columns[line][..., None] - columns) <= 1
        return spread_over_steps(beside)


def _shape(dataset: xr.Dataset) -> tuple[int, int] | None:
    """Give the rows and columns of nodes that are all cells of a grid, row by row."""
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    columns = int((latitude == latitude[0]).sum())
    rows = len(latitude) // columns
    is_whole = (
        min(rows, columns) > 1
        and rows * columns == len(latitude)
        and np.array_equal(latitude, np.repeat(latitude[::columns], columns))
        and np.array_equal(longitude, np.tile(longitude[:columns], rows))
    )
    return (rows, columns) if is_whole else None
