"""Ridge regression on the recent past of a node and of its neighbourhood."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from sttrans_core.baselines.climatology import Climatology, covers_seasons, covers_weeks
from sttrans_core.baselines.naive import HistoricalAverage
from sttrans_core.baselines.types import check_horizon
from sttrans_core.slabs import read_steps
from sttrans_core.space.geometry import nearest_nodes

__all__ = ["Ridge"]

_READINGS_AT_ONCE = 1 << 22  # 16 MB
_FEATURES_AT_ONCE = 1 << 23  # 32 MB
_SMALLEST = 1e-6  # keeps a node that training never saw solvable


class Ridge:
    """Regress each step ahead on the newest readings of a node and of the nodes nearest to it.

    What is regressed is the departure from what is usual: from the historical average, and from the
    climatology where training covers most of a year, or too few weeks to tell a weekday from a
    single day, which departs in nothing from its own average. Every node, channel and step ahead
    has weights of its own, solved from products summed over slabs of time. A missing reading counts
    as usual; a row of training counts where all steps ahead were observed.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not looked at.
        horizon_steps: Most steps that will be forecast.
        num_nearest: Nodes that are looked at, the node itself included; 25 are 5 x 5 grid cells.
        num_lags: Newest steps that are looked at.
        penalty: On squared weights, as a share of the mean square of the features.

    Source: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems"
    (1970).
    """

    label = "ridge"

    def __init__(
        self,
        dataset: xr.Dataset,
        *,
        num_train_steps: int,
        horizon_steps: int = 12,
        num_nearest: int = 25,
        num_lags: int = 3,
        penalty: float = 0.01,
    ) -> None:
        self._series, self._horizon_steps = dataset["target"], horizon_steps
        self._num_lags = num_lags
        is_smooth = covers_seasons(dataset, num_train_steps) or not covers_weeks(
            dataset, num_train_steps
        )
        kind = Climatology if is_smooth else HistoricalAverage
        self._usual = kind(dataset, num_train_steps=num_train_steps)
        near = nearest_nodes(
            dataset["latitude"].values, dataset["longitude"].values, count=num_nearest
        )
        # One row per node and channel, the channels of a node together as in the readings.
        channels = np.arange(dataset.sizes.get("channel", 1))
        near = near[:, None] * len(channels) + channels[:, None]
        self._near = near.reshape(-1, near.shape[-1])
        gram, cross = self._products(num_train_steps)
        size = gram.shape[1]
        square = np.trace(gram, axis1=1, axis2=2) / (size - 1)
        diagonal = np.eye(size)
        diagonal[-1, -1] = 0.0  # the constant is free
        gram += penalty * square[:, None, None] * diagonal + _SMALLEST * np.eye(size)
        self._weights = np.linalg.solve(gram, cross)  # (node x channel, feature, horizon)

    def _products(self, num_train_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Sum the products of features with each other and with what followed."""
        num_rows, before = len(self._near), self._num_lags - 1
        size = self._near.shape[1] * self._num_lags + 1
        gram = np.zeros((num_rows, size, size))
        cross = np.zeros((num_rows, size, self._horizon_steps))
        last, length = num_train_steps - self._horizon_steps, max(64, _READINGS_AT_ONCE // num_rows)
        for first in range(before, last, length):
            stop = min(first + length, last)
            anomaly = self._anomaly(np.arange(first - before, stop + self._horizon_steps))
            ahead = sliding_window_view(anomaly, stop - first, axis=1)[:, self._num_lags :]
            known = np.nan_to_num(anomaly, nan=0.0)
            lagged = sliding_window_view(known, stop - first, axis=1)[:, before::-1]
            for rows in self._blocks(stop - first):
                counts = np.isfinite(ahead[rows]).all(1, keepdims=True)
                features = self._features(lagged, rows) * counts
                gram[rows] += features @ features.transpose(0, 2, 1)
                cross[rows] += features @ np.where(counts, ahead[rows], 0.0).transpose(0, 2, 1)
        return gram, cross

    def _anomaly(self, steps: np.ndarray) -> np.ndarray:
        """Give departures from what is usual: (row, step), NaN where missing."""
        usual = self._usual.predict(steps - 1, horizon_steps=1)[:, 0]
        readings = read_steps(self._series, np.maximum(steps, 0))
        anomaly = (readings - usual).astype(np.float32).reshape(len(steps), -1)
        anomaly[steps < 0] = np.nan
        return np.ascontiguousarray(anomaly.T)

    def _blocks(self, num_origins: int) -> Iterator[slice]:
        """Part the rows into blocks whose features fit in memory."""
        size = self._near.shape[1] * self._num_lags * num_origins
        length = max(1, _FEATURES_AT_ONCE // size)
        for first in range(0, len(self._near), length):
            yield slice(first, first + length)

    def _features(self, lagged: np.ndarray, rows: slice) -> np.ndarray:
        """Gather what some rows look at, out of (row, lag, origin): (row, feature, origin)."""
        near = lagged[self._near[rows]]  # (row, near, lag, origin)
        constant = np.ones((len(near), 1, near.shape[-1]), np.float32)
        return np.concatenate([near.reshape(len(near), -1, near.shape[-1]), constant], axis=1)

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`.

        Raises:
            ValueError: `horizon_steps` is above the one that was fitted.
        """
        check_horizon(horizon_steps, fitted=self._horizon_steps)
        usual = self._usual.predict(origins, horizon_steps=horizon_steps)
        forecast = usual.reshape(len(origins), horizon_steps, -1)
        steps = origins - np.arange(self._num_lags)[:, None]  # (lag, origin)
        known = np.nan_to_num(self._anomaly(steps.ravel()), nan=0.0)
        lagged = known.reshape(-1, *steps.shape)
        for rows in self._blocks(len(origins)):
            features = self._features(lagged, rows)
            weights = self._weights[rows, :, :horizon_steps]
            departure = features.transpose(0, 2, 1) @ weights  # (row, origin, horizon)
            forecast[:, :, rows] += departure.transpose(1, 2, 0)
        return forecast.reshape(usual.shape)
