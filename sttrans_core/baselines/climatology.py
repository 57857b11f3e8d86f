"""What is usual at a time of the year and the day, and that today's departure from it stays."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.windows import Scaler
from sttrans_core.schema import steps_per_day
from sttrans_core.slabs import read_steps, slabs

__all__ = [
    "DAYS_FOR_SEASONS", "AnomalyPersistence", "Climatology", "covers_seasons", "covers_weeks"
]  # fmt: skip

DAYS_FOR_SEASONS = 300  # that training must cover to tell seasons from weather
_WEEKS_FOR_WEEKDAYS = 2  # and weekdays from single days
_DAILY_HARMONICS = 2
_YEAR = pd.Timedelta(days=365.2425)
_SMALLEST = 1e-6  # keeps what training says nothing about at 0


def covers_seasons(dataset: xr.Dataset, num_train_steps: int) -> bool:
    """Say whether the training part covers most of a year, so that seasons can be fitted.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part.

    Returns:
        True from 300 days on.
    """
    times = pd.DatetimeIndex(dataset["time"].values[:num_train_steps])
    return times[-1] - times[0] >= pd.Timedelta(days=DAYS_FOR_SEASONS)


def covers_weeks(dataset: xr.Dataset, num_train_steps: int) -> bool:
    """Say whether the training part covers weeks, so that weekdays can be told from single days.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part.

    Returns:
        True from two weeks on.
    """
    times = pd.DatetimeIndex(dataset["time"].values[:num_train_steps])
    return times[-1] - times[0] >= pd.Timedelta(weeks=_WEEKS_FOR_WEEKDAYS)


class Climatology:
    """Each node's mean with its yearly and daily course, fitted by least squares.

    One harmonic of the year, where training covers most of one, and two of the day, as far as the
    interval shows them. A node that training never saw gets the mean of all.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not looked at.
    """

    label = "climatology"

    def __init__(self, dataset: xr.Dataset, *, num_train_steps: int) -> None:
        series = dataset["target"][:num_train_steps]
        times = pd.DatetimeIndex(dataset["time"].values)
        self._start, self._interval = times[0], times[1] - times[0]
        self._annual = covers_seasons(dataset, num_train_steps)
        self._daily = min(_DAILY_HARMONICS, steps_per_day(dataset) // 2)
        self._mean = Scaler.fit(series).mean
        size = self._terms(np.zeros(1, dtype=np.int64)).shape[1]
        gram, cross, first = 0.0, 0.0, 0
        for slab in slabs(series):
            terms = self._terms(np.arange(first, first + len(slab)))  # (time, term)
            pairs = (terms[:, :, None] * terms[:, None]).reshape(len(terms), -1)
            values = slab.reshape(len(slab), -1)
            observed = np.isfinite(values)
            gram = gram + observed.astype(np.float64).T @ pairs  # (node, term x term)
            cross = cross + np.where(observed, values - self._mean, 0.0).T @ terms
            first += len(slab)
        gram = np.reshape(gram, (-1, size, size)) + _SMALLEST * np.eye(size)
        course = np.linalg.solve(gram, np.asarray(cross)[..., None])[..., 0].T
        self._course = course.reshape(size, *series.shape[1:])

    def _terms(self, steps: np.ndarray) -> np.ndarray:
        times = pd.DatetimeIndex(self._start + self._interval * steps)
        angles = [2 * np.pi * np.asarray((times - self._start) / _YEAR)] if self._annual else []
        day = 2 * np.pi * np.asarray((times - times.normalize()) / pd.Timedelta("1D"))
        angles += [order * day for order in range(1, self._daily + 1)]
        waves = [wave(angle) for angle in angles for wave in (np.cos, np.sin)]
        return np.stack([np.ones(len(steps)), *waves], axis=1)

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Give what is usual at some steps.

        Args:
            steps: Indices into the time of the series, which may lie beyond its end; any shape.

        Returns:
            In the shape of `steps`, then node, and channel where the target has some.
        """
        usual = np.tensordot(self._terms(steps.ravel()), self._course, axes=1) + self._mean
        return usual.reshape(*steps.shape, *self._course.shape[1:])

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`."""
        return self.at(origins[:, None] + np.arange(1, horizon_steps + 1))


class AnomalyPersistence:
    """The climatology, and the departure from it at the origin; 0 where the reading is missing.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part, for the climatology.
        seen: What forecasts look back at, if other readings than those of `dataset`.
    """

    label = "anomaly persistence"

    def __init__(
        self, dataset: xr.Dataset, *, num_train_steps: int, seen: xr.DataArray | None = None
    ) -> None:
        self._series = dataset["target"] if seen is None else seen
        self._climatology = Climatology(dataset, num_train_steps=num_train_steps)

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`."""
        anomaly = read_steps(self._series, origins) - self._climatology.at(origins)
        usual = self._climatology.predict(origins, horizon_steps=horizon_steps)
        return usual + np.nan_to_num(anomaly, nan=0.0)[:, None]
