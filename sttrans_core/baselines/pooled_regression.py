"""One linear regression for all nodes, on what was just read and on earlier days."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sttrans_core.baselines.types import check_horizon
from sttrans_core.slabs import read_steps, slabs

__all__ = ["PooledRegression"]

_ORIGINS_AT_ONCE = 256
_PENALTY = 1e-6  # of the mean square of the features: keeps those solvable that never vary


class PooledRegression:
    """Regress each step ahead on the newest readings of a node and on those of earlier days.

    Of each lag it sees the reading that many steps before the step that is forecast, and before
    each of the newest ones, by which it can tell how today differs. Readings count as departures
    from their node's mean. All nodes share their weights; channels and steps ahead have weights of
    their own, solved from sums of products. A row of training counts where all was observed; in a
    forecast a missing reading counts as its node's mean.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not looked at.
        horizon_steps: Most steps that will be forecast.
        history_steps: Newest steps that are looked at.
        lags: Steps back to earlier readings, each at least the horizon; of those of one lag the
            mean of the observed is taken, as a forecaster with the same lags sees it.

    Raises:
        ValueError: A lag is shorter than the horizon.

    Source: pooled ordinary least squares, as in Wooldridge, "Econometric analysis of cross section
    and panel data" (2010), chapter 7.
    """

    label = "pooled regression"

    def __init__(
        self,
        dataset: xr.Dataset,
        *,
        num_train_steps: int,
        horizon_steps: int = 12,
        history_steps: int = 12,
        lags: Sequence[Sequence[int]] = (),
    ) -> None:
        shortest = min((min(lag) for lag in lags), default=horizon_steps)
        if shortest < horizon_steps:
            raise ValueError(
                f"Lags must be at least the horizon, since what lies between is not known yet; got "
                f"{shortest} steps with horizon_steps={horizon_steps}. Use longer lags."
            )
        self._series, self._horizon_steps = dataset["target"], horizon_steps
        self._back, self._lags = np.arange(history_steps), lags
        self._mean = _node_means(self._series[:num_train_steps])
        size = history_steps + len(lags) * (history_steps + 1)
        gram = np.zeros((horizon_steps, self._mean.shape[1], size, size))  # and channel
        cross = np.zeros(gram.shape[:3])
        last = num_train_steps - horizon_steps
        for first in range(history_steps - 1, last, _ORIGINS_AT_ONCE):
            origins = np.arange(first, min(first + _ORIGINS_AT_ONCE, last))
            past = self._past(origins)
            for step in range(horizon_steps):
                features = self._features(past, origins, step + 1)
                ahead = self._departures(origins + step + 1)
                counts = np.isfinite(features).all(-1) & np.isfinite(ahead)
                for channel in range(gram.shape[1]):
                    rows = features[..., channel, :][counts[..., channel]].astype(np.float64)
                    gram[step, channel] += rows.T @ rows
                    cross[step, channel] += ahead[..., channel][counts[..., channel]] @ rows
        square = np.trace(gram, axis1=2, axis2=3) / size
        gram += (_PENALTY * square + 1e-9)[..., None, None] * np.eye(size)
        self._weights = np.linalg.solve(gram, cross[..., None])[..., 0]  # (horizon, channel, size)

    def _departures(self, steps: np.ndarray) -> np.ndarray:
        """Give departures from the means, NaN where missing: (*steps, node, channel)."""
        readings = read_steps(self._series, np.maximum(steps, 0))
        departures = readings.reshape(*steps.shape, *self._mean.shape) - self._mean
        departures[steps < 0] = np.nan
        return departures

    def _earlier(self, steps: np.ndarray) -> list[np.ndarray]:
        """Give, for each lag, the mean of what was observed so many steps before."""
        means = []
        for lag in self._lags:
            each = self._departures(steps - np.reshape(lag, (-1, *(1,) * steps.ndim)))
            counts = np.isfinite(each).sum(0)
            mean = np.nan_to_num(each, nan=0.0).sum(0) / np.maximum(counts, 1)
            means.append(np.where(counts > 0, mean, np.nan))
        return means

    def _past(self, origins: np.ndarray) -> np.ndarray:
        """Give the features that are the same for all steps: (origin, node, channel, feature)."""
        steps = origins - self._back[:, None]
        past = np.concatenate([self._departures(steps), *self._earlier(steps)])
        return np.moveaxis(past, 0, -1)

    def _features(self, past: np.ndarray, origins: np.ndarray, step: int) -> np.ndarray:
        """Add to them what was read before the step that is forecast."""
        return np.concatenate(
            [past, *(each[..., None] for each in self._earlier(origins + step))], axis=-1
        )

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`.

        Raises:
            ValueError: `horizon_steps` is above the one that was fitted.
        """
        check_horizon(horizon_steps, fitted=self._horizon_steps)
        past = self._past(origins)
        steps = []
        for step in range(horizon_steps):
            features = np.nan_to_num(self._features(past, origins, step + 1), nan=0.0)
            departure = np.einsum("oncf,cf->onc", features, self._weights[step])
            steps.append(self._mean + departure)
        forecast = np.stack(steps, axis=1)
        return forecast.reshape(*forecast.shape[:2], *self._series.shape[1:])


def _node_means(series: xr.DataArray) -> np.ndarray:
    """Give means over time: (node, channel); of all nodes where one was never observed."""
    sums, counts = 0.0, 0
    for slab in slabs(series):
        each = slab.reshape(len(slab), slab.shape[1], -1)
        sums = sums + np.nansum(each, axis=0, dtype=np.float64)
        counts = counts + np.isfinite(each).sum(0)
    mean = sums / np.maximum(counts, 1)
    overall = np.sum(sums, axis=0) / np.maximum(np.sum(counts, axis=0), 1)
    return np.where(counts > 0, mean, overall).astype(np.float32)
