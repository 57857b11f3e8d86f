"""Baselines without parameters to train: the last reading, and the average of the time of week."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import steps_per_day

__all__ = ["HistoricalAverage", "LastObserved", "LastValue"]


class LastValue:
    """Repeat the last reading as stored, a missing one as the 0 that the files mark it with.

    The field's published last-value numbers are made this way. `LastObserved` is the honest one.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part (nothing is fitted here).
    """

    label = "last value"

    def __init__(self, dataset: xr.Dataset, *, num_train_steps: int) -> None:
        del num_train_steps
        self._stored = np.nan_to_num(dataset["target"].values, nan=0.0)

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin.

        Args:
            origins: Index of the last observed step of each forecast.
            horizon_steps: Steps to forecast.

        Returns:
            (origin, horizon, node) in the dataset's units.
        """
        return np.repeat(self._stored[origins][:, None], horizon_steps, axis=1)


class LastObserved:
    """Repeat the last reading that was observed, however long ago; before any, the training mean.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part, for the mean.
    """

    label = "last observed value"

    def __init__(self, dataset: xr.Dataset, *, num_train_steps: int) -> None:
        readings = pd.DataFrame(dataset["target"].values)
        mean = np.nanmean(readings.iloc[:num_train_steps].to_numpy())
        self._filled = readings.ffill().fillna(mean).to_numpy()

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `LastValue.predict`."""
        return np.repeat(self._filled[origins][:, None], horizon_steps, axis=1)


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
        train = pd.DataFrame(dataset["target"].values[:num_train_steps].astype(np.float64))
        day, slot = self._time_of_week(times[:num_train_steps])
        by_day = train.groupby(slot).mean().reindex(range(self._slots))
        by_week = train.groupby(day * self._slots + slot).mean().reindex(range(7 * self._slots))
        node_mean = train.mean().fillna(np.nanmean(train.to_numpy()))
        by_day = by_day.fillna(node_mean)
        repeated = pd.DataFrame(np.tile(by_day.to_numpy(), (7, 1)))
        self._table = by_week.fillna(repeated).to_numpy()

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
        return self._table[(day * self._slots + slot).reshape(ahead.shape)]
