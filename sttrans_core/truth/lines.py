"""What true causes are found on: the lines that end at targets, whatever moves along them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["Lines", "node_indices", "origin_index", "spread_over_steps"]


class Lines(NamedTuple):
    """The lines that end at each query at one time.

    Attributes:
        node: Index of the node that the line passes nearest at each history step, oldest first,
            -1 where it is out of bounds, (query, history).
        regime: Index of the regime of the target in `regimes` of what follows the lines, (query,).
        is_known: Whether the target lies inside the dataset, (query,).
    """

    node: np.ndarray
    regime: np.ndarray
    is_known: np.ndarray


def spread_over_steps(beside: np.ndarray) -> np.ndarray:
    """Mark what is marked at the same step, the one before or the one after.

    Args:
        beside: (query, history, node).

    Returns:
        Marks in the same shape.
    """
    near = beside.copy()
    near[:, 1:] |= beside[:, :-1]
    near[:, :-1] |= beside[:, 1:]
    return near


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
