"""The true causes of simulated speeds: the readings on the line that ends at a target.

What happens at a place in congested traffic comes from downstream, at the wave speed; in free
traffic it comes from upstream, at the free-flow speed. Followed backwards in time, this is the
characteristic line that ends at a target. Nodes count along their corridor only: freeways that
cross without exchanging vehicles cause nothing in each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import interval_of

__all__ = ["Characteristics", "Lines", "has_truth", "node_indices", "origin_index", "true_causes"]

NEEDED = ("corridor", "milepost_km", "noiseless")
NEEDED_ATTRS = ("free_flow_kmh", "wave_speed_kmh", "critical_speed_mph")


class Lines(NamedTuple):
    """The lines that end at each query at one time.

    Attributes:
        node: Index of the node that the line passes nearest at each history step, oldest first,
            -1 where it is out of bounds, (query, history).
        is_congested: Whether the true speed at the target is below critical, (query,).
        is_known: Whether the target lies inside the dataset, (query,).
    """

    node: np.ndarray
    is_congested: np.ndarray
    is_known: np.ndarray


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
    """

    corridor: np.ndarray
    rank: np.ndarray
    km: np.ndarray
    is_slow: np.ndarray
    km_per_step_free: float
    km_per_step_congested: float

    @classmethod
    def of(cls, dataset: xr.Dataset) -> "Characteristics":
        """Read them from a simulated dataset; refuse one whose truth is not known."""
        if missing := _missing_truth(dataset):
            raise ValueError(
                f"A dataset must carry its truth for true causes to be known; got none of "
                f"{', '.join(missing)}. Use a simulated freeway."
            )
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
        )

    def lines(
        self,
        queries: np.ndarray,
        *,
        origin: int,
        horizon_step: int,
        history_steps: int,
        stay_in_regime: bool,
    ) -> Lines:
        """Follow the lines that end at some nodes, `horizon_step` steps after the origin.

        Args:
            queries: Node indices, (query,).
            origin: Time index of the last history step.
            horizon_step: Steps from the origin to the targets, at least 1.
            history_steps: Steps up to the origin that count.
            stay_in_regime: As in `true_causes`.
        """
        arrival = origin + horizon_step
        if arrival >= len(self.is_slow):
            nowhere = np.full((len(queries), history_steps), -1)
            no = np.zeros(len(queries), bool)
            return Lines(nowhere, no, no)
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
        if stay_in_regime:
            regime = self.is_slow[np.maximum(arrival - lag, 0), node]
            inside &= np.logical_and.accumulate(regime == is_congested[:, None], axis=1)
        node = np.where(inside, node, -1)[:, horizon_step:][:, ::-1]  # by lag -> by history step
        return Lines(node, is_congested, np.ones(len(queries), bool))

    def near(self, line: np.ndarray) -> np.ndarray:
        """Mark what is within one node and one step of lines.

        Args:
            line: `Lines.node`, (query, history).

        Returns:
            True for such sources, (query, history, node).
        """
        beside = (line >= 0)[..., None] & (self.corridor[line][..., None] == self.corridor)
        beside &= np.abs(self.rank[line][..., None] - self.rank) <= 1
        near = beside.copy()
        near[:, 1:] |= beside[:, :-1]
        near[:, :-1] |= beside[:, 1:]
        return near


def has_truth(dataset: xr.Dataset) -> bool:
    """Say whether a dataset carries what its true causes are known from.

    Args:
        dataset: A labelled dataset.

    Returns:
        True for a simulated freeway.
    """
    return not _missing_truth(dataset)


def _missing_truth(dataset: xr.Dataset) -> list[str]:
    missing = [name for name in NEEDED if name not in dataset.variables]
    return missing + [name for name in NEEDED_ATTRS if name not in dataset.attrs]


def true_causes(
    dataset: xr.Dataset,
    time: object,
    *,
    horizon_step: int,
    nodes: Iterable[str] | None = None,
    history_steps: int = 12,
    stay_in_regime: bool = True,
) -> xr.Dataset:
    """Give the sources that truly cause the speed at each target, within the history.

    Args:
        dataset: A simulated freeway, with `noiseless`, `corridor` and `milepost_km`.
        time: Forecast origin, the time stamp of the last history step.
        horizon_step: Step of the target after the origin, 1 or more.
        nodes: Ids of the targets; all by default.
        history_steps: Steps of the history that ends at `time`.
        stay_in_regime: End the line where it leaves the queue (or the free stretch) of its
            target, as the theory has it: behind the head of a queue, traffic comes from
            elsewhere. Otherwise follow it straight to the end of the corridor.

    Returns:
        A dataset with `line_node(query_node, history_step)`, the index of the node that the line
        passes nearest, -1 where it has left the corridor or the regime;
        `near_line(query_node, history_step, node)`, what is within one node along the corridor
        and one step; `congested(query_node)`, whether the true speed at the target is below
        critical; and `scorable(query_node)`, whether the line passes the history at all.

    Raises:
        ValueError: The dataset has no truth, or time, horizon, history or nodes are not in it.

    Source: C. F. Daganzo, "The cell transmission model", Transportation Research B 28 (1994), on
        the kinematic waves of M. J. Lighthill and G. B. Whitham (1955).
    """
    truth = Characteristics.of(dataset)
    if horizon_step < 1 or history_steps < 1:
        raise ValueError(
            f"horizon_step and history_steps must be at least 1; got {horizon_step} and "
            f"{history_steps}. Count from the first forecast step."
        )
    ids = dataset["node"].values
    chosen = ids if nodes is None else np.array(list(nodes))
    lines = truth.lines(
        node_indices(dataset, chosen),
        origin=origin_index(dataset, time, history_steps),
        horizon_step=horizon_step,
        history_steps=history_steps,
        stay_in_regime=stay_in_regime,
    )
    return xr.Dataset(
        {
            "line_node": (("query_node", "history_step"), lines.node),
            "near_line": (("query_node", "history_step", "node"), truth.near(lines.node)),
            "congested": ("query_node", lines.is_congested),
            "scorable": ("query_node", (lines.node >= 0).any(1)),
        },
        coords={
            "query_node": chosen,
            "history_step": np.arange(history_steps),
            "node": ids,
            "time": pd.Timestamp(time),
            "horizon_step": horizon_step,
        },
    )


def node_indices(dataset: xr.Dataset, chosen: np.ndarray) -> np.ndarray:
    """Give the index of each id in a dataset.

    Args:
        dataset: A labelled dataset.
        chosen: Node ids, (query,).

    Returns:
        Indices, (query,).

    Raises:
        ValueError: An id is not in the dataset.
    """
    index = dataset.indexes["node"].get_indexer(chosen)
    if (index < 0).any():
        raise ValueError(
            f"Nodes must be ids of the dataset; got {str(chosen[index < 0][0])!r}. "
            f"Use ids such as {str(dataset['node'].values[0])!r}."
        )
    return index


def origin_index(dataset: xr.Dataset, time: object, history_steps: int) -> int:
    """Give the time index of a forecast origin that has its history in the dataset.

    Args:
        dataset: A labelled dataset.
        time: Time stamp of the last history step.
        history_steps: Steps of the history.

    Returns:
        The index.

    Raises:
        ValueError: The time is not in the dataset, or too early.
    """
    stamps = dataset.indexes["time"]
    stamp = pd.Timestamp(time)
    index = int(stamps.get_indexer([stamp])[0])
    if index < 0:
        raise ValueError(
            f"time must be a time stamp of the dataset; got {stamp}. "
            f"Choose one from {stamps[0]} to {stamps[-1]}."
        )
    if index + 1 < history_steps:
        raise ValueError(
            f"The history must lie inside the dataset; got {history_steps} steps up to {stamp}, "
            f"where there are {index + 1}. Choose a later time."
        )
    return index
