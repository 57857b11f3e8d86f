"""The true causes of simulated speeds: the readings on the line that ends at a target.

What happens at a place in congested traffic comes from downstream, at the wave speed; in free
traffic it comes from upstream, at the free-flow speed. Followed backwards in time, this is the
characteristic line that ends at a target. Nodes count along their corridor only: freeways that
cross without exchanging vehicles cause nothing in each other.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import interval_of
from sttrans_core.truth.lines import Lines, spread_over_steps

__all__ = ["Characteristics"]

NEEDED = ("corridor", "milepost_km", "noiseless")
NEEDED_ATTRS = ("free_flow_kmh", "wave_speed_kmh", "critical_speed_mph")


@dataclass(frozen=True, kw_only=True)
class Characteristics:
    """What is needed to follow lines through a dataset.

    Args:
        corridor: Index of the corridor of each node, (node,).
        rank: Position of each node along its corridor, in the direction of travel, (node,).
        km: Distance along the corridor, (node,).
        is_slow: Whether the true speed is below critical, (time, node).
        km_per_step_free: Way of a line in free traffic, upstream, in one time step.
        km_per_step_congested: Way of a line in a queue, downstream, in one time step.
        stay_in_regime: As in `true_causes`.
    """

    regimes: ClassVar = ("congested", "free")

    corridor: np.ndarray
    rank: np.ndarray
    km: np.ndarray
    is_slow: np.ndarray
    km_per_step_free: float
    km_per_step_congested: float
    stay_in_regime: bool = True

    @staticmethod
    def missing(dataset: xr.Dataset) -> list[str]:
        """Name what a dataset lacks of what they are read from."""
        missing = [name for name in NEEDED if name not in dataset.variables]
        return missing + [name for name in NEEDED_ATTRS if name not in dataset.attrs]

    @classmethod
    def of(cls, dataset: xr.Dataset, *, stay_in_regime: bool = True) -> Self:
        """Read them from a simulated freeway that lacks nothing."""
        km = dataset["milepost_km"].values.astype(float)
        corridor = np.unique(dataset["corridor"].values, return_inverse=True)[1]
        is_same = corridor[:, None] == corridor
        hours = interval_of(dataset) / pd.Timedelta("1h")
        return cls(
            corridor=corridor,
            rank=(is_same & (km < km[:, None])).sum(1),
            km=km,
            is_slow=dataset["noiseless"].values < dataset.attrs["critical_speed_mph"],
            km_per_step_free=hours * dataset.attrs["free_flow_kmh"],
            km_per_step_congested=hours * dataset.attrs["wave_speed_kmh"],
            stay_in_regime=stay_in_regime,
        )

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
        arrival = origin + horizon_step
        if arrival >= len(self.is_slow):
            nowhere = np.full((len(queries), history_steps), -1)
            return Lines(nowhere, np.ones(len(queries), int), np.zeros(len(queries), bool))
        is_congested = self.is_slow[arrival, queries]
        # Backwards in time, the line moves downstream in a queue and upstream in free traffic.
        way = np.where(is_congested, self.km_per_step_congested, -self.km_per_step_free)
        lag = np.arange(horizon_step + history_steps)
        km = self.km[queries, None] + lag * way[:, None]  # (Q, L)
        is_same = self.corridor[queries, None] == self.corridor  # (Q, N)
        first = np.where(is_same, self.km, np.inf).min(1, keepdims=True)
        last = np.where(is_same, self.km, -np.inf).max(1, keepdims=True)
        inside = (first <= km) & (km <= last)
        gap = np.where(is_same[:, None], np.abs(km[..., None] - self.km), np.inf)
        node = gap.argmin(-1)  # (Q, L, N) -> (Q, L)
        if self.stay_in_regime:
            regime = self.is_slow[np.maximum(arrival - lag, 0), node]
            inside &= np.logical_and.accumulate(regime == is_congested[:, None], axis=1)
        node = np.where(inside, node, -1)[:, horizon_step:][:, ::-1]  # by lag -> by history step
        return Lines(node, (~is_congested).astype(int), np.ones(len(queries), bool))

    def near(self, line: np.ndarray) -> np.ndarray:
        """Mark what is within one node along the corridor and one step of lines.

        Args:
            line: `Lines.node`, (query, history).

        Returns:
            True for such sources, (query, history, node).
        """
        beside = (line >= 0)[..., None] & (self.corridor[line][..., None] == self.corridor)
        beside &= np.abs(self.rank[line][..., None] - self.rank) <= 1
        return spread_over_steps(beside)
