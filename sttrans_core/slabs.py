"""Readings that may still lie in a store: all of them in slabs of time, or some steps alone."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

__all__ = ["is_in_memory", "read_steps", "slabs"]

_VALUES_AT_ONCE = 1 << 22  # 16 MB in single precision


def is_in_memory(series: xr.DataArray) -> bool:
    """Say whether readings are in memory; else they are read whenever they are asked for.

    Args:
        series: Readings over time.

    Returns:
        False for what `load_dataset` opened as a zarr store, and for other lazy variables.
    """
    return series.variable._in_memory  # xarray has no public word for it


def slabs(series: xr.DataArray | np.ndarray) -> Iterator[np.ndarray]:
    """Walk readings in time order without ever holding more than one slab of a stored series.

    Args:
        series: Readings, time first.

    Yields:
        Pieces of consecutive steps, at least one; a series in memory is one piece.
    """
    if isinstance(series, np.ndarray) or is_in_memory(series):
        yield np.asarray(series)
        return
    length = max(1, _VALUES_AT_ONCE // max(1, series.size // max(1, len(series))))
    chunk = (series.chunks or ((1,),))[0][0]
    length = max(chunk, length - length % chunk)  # so that each chunk is read once
    for first in range(0, len(series), length):
        yield series.variable[first : first + length].values


def read_steps(series: xr.DataArray, steps: np.ndarray) -> np.ndarray:
    """Read some steps, each one once and consecutive ones together.

    Args:
        series: Readings over (time, node) or more, time first.
        steps: Indices into its time, any shape, at least one.

    Returns:
        Readings in the shape of `steps`, then node and what else there is.
    """
    if is_in_memory(series):
        return series.values[steps]
    needed, place = np.unique(steps, return_inverse=True)
    if series.chunks is not None:
        return series.variable[needed].values[place.reshape(steps.shape)]
    runs = np.split(needed, np.flatnonzero(np.diff(needed) > 1) + 1)
    rows = [series.variable[run[0] : run[-1] + 1].values for run in runs]
    return np.concatenate(rows)[place.reshape(steps.shape)]
