"""Baselines without parameters to train: the last reading, and the average of the time of week."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.windows import Scaler
from sttrans_core.schema import steps_per_day
from sttrans_core.slabs import read_steps, slabs

__all__ = ["HistoricalAverage", "LastObserved", "LastValue"]

_STRETCH = 64  # steps


class LastValue:
    """Repeat the last reading as stored, a missing one as the 0 that the files mark it with.

    The field's published last-value numbers are made this way. `LastObserved` is the honest one.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part (nothing is fitted here).
        seen: What forecasts look back at, if other readings than those of `dataset`.
    """

    label = "last value"

    def __init__(
        self, dataset: xr.Dataset, *, num_train_steps: int, seen: xr.DataArray | None = None
    ) -> None:
        del num_train_steps
        self._series = dataset["target"] if seen is None else seen

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin.

        Args:
            origins: Index of the last observed step of each forecast.
            horizon_steps: Steps to forecast.

        Returns:
            (origin, horizon, node), and channel where the target has some, in its units.
        """
        stored = np.nan_to_num(read_steps(self._series, origins), nan=0.0)
        return np.repeat(stored[:, None], horizon_steps, axis=1)


class LastObserved:
    """Repeat the last reading that was observed, however long ago; before any, the training mean.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part, for the mean.
        seen: What forecasts look back at, if other readings than those of `dataset`.
    """

    label = "last observed value"

    def __init__(
        self, dataset: xr.Dataset, *, num_train_steps: int, seen: xr.DataArray | None = None
    ) -> None:
        self._series = dataset["target"] if seen is None else seen
        mean = Scaler.fit(dataset["target"][:num_train_steps]).mean
        row = np.full(self._series.shape[1:], mean, dtype=self._series.dtype)
        self._before = []  # what is known ahead of each stretch of `_STRETCH` steps
        for first in range(0, dataset.sizes["time"], _STRETCH):
            self._before.append(row)
            row = self._filled(first // _STRETCH, first + _STRETCH)[-1].copy()

    def _filled(self, stretch: int, stop: int) -> np.ndarray:
        """Give the readings from the start of a stretch on, gaps filled with the last one."""
        readings = self._series.variable[stretch * _STRETCH : stop].values
        rows = np.concatenate([self._before[stretch][None], readings])
        filled = pd.DataFrame(rows.reshape(len(rows), -1)).ffill().to_numpy()
        return filled.reshape(rows.shape)[1:]

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `LastValue.predict`."""
        stretch = int(origins.min()) // _STRETCH
        filled = self._filled(stretch, int(origins.max()) + 1)
        return np.repeat(filled[origins - stretch * _STRETCH][:, None], horizon_steps, axis=1)


class HistoricalAverage:
    """The training mean of the same node at the same time of the week.

    A time of week that training never saw falls back to the time of day, then to the node's mean,
    then to the mean of all nodes.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not looked at.
    """

    label = "historical average"

    def __init__(self, dataset: xr.Dataset, *, num_train_steps: int) -> None:
        self._slots = steps_per_day(dataset)
        times = pd.DatetimeIndex(dataset["time"].values)
        self._interval = times[1] - times[0]
        self._times = times
        sums = np.zeros((7, self._slots, *dataset["target"].shape[1:]))
        counts = np.zeros(sums.shape, dtype=np.int64)
        first = 0
        for slab in slabs(dataset["target"][:num_train_steps]):
            observed = np.isfinite(slab)
            week = self._time_of_week(times[first : first + len(slab)])
            np.add.at(sums, week, np.where(observed, slab, 0.0).astype(np.float64))
            np.add.at(counts, week, observed)
            first += len(slab)
        table = _mean(sums, counts)
        for axes in (0, (0, 1), (0, 1, 2)):  # time of day, node, all
            coarser = _mean(sums.sum(axes, keepdims=True), counts.sum(axes, keepdims=True))
            table = np.where(np.isnan(table), coarser, table)
        self._table = table

    def _time_of_week(self, times: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        share = np.asarray((times - times.normalize()) / pd.Timedelta("1D"))
        slot = np.floor(share * self._slots + 1e-6).astype(np.int64) % self._slots
        return times.dayofweek.to_numpy(), slot

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `LastValue.predict`."""
        ahead = self._times[0] + self._interval * (
            origins[:, None] + np.arange(1, horizon_steps + 1)
        )
        day, slot = self._time_of_week(pd.DatetimeIndex(ahead.ravel()))
        return self._table[day, slot].reshape(*ahead.shape, *self._table.shape[2:])


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Give means, NaN where nothing was counted."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
