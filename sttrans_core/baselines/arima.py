"""ARIMA per node: fitted once to the training part, then rolled through the series."""

import warnings
from multiprocessing import current_process
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["ARIMA"]

_MOST_TERMS = 3  # of each kind
_MOST_DIFFERENCES = 1
_STATE = _MOST_TERMS + _MOST_DIFFERENCES  # entries; one moving average term less fits, too
_UNKNOWN = 1e6  # variance of the state before the first reading, in variances of the noise


class _Recursion(NamedTuple):
    """A model in state space: what is expected `lag` steps ahead of what has been read.

    Attributes:
        past: Weights of past readings, (lag, series).
        noise: Weights of past noise, the newest one's 1 included, (lag, series).
        constant: Added in each step, (series,).
    """

    past: np.ndarray
    noise: np.ndarray
    constant: np.ndarray


class ARIMA:
    """Forecast each node and channel from its own past alone, by the ARIMA model that suits it.

    AutoARIMA chooses the orders by AICc and fits them to the training part, gaps interpolated. Then
    the coefficients stay: a Kalman filter, which knows what a gap costs, runs once through the
    series, and every forecast goes on from its state at the origin. There are no seasonal terms: a
    day of five minutes is 288 steps long. The states of all steps are held in memory.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not fitted.
        workers: Processes that fit, a series each; None is one for each processor that this
            process may use.

    Raises:
        ImportError: The extra `arima` is not installed.

    Source: Hyndman and Khandakar, "Automatic time series forecasting: the forecast package for R"
    (2008), as in statsforecast; Harvey, "Forecasting, structural time series models and the Kalman
    filter" (1989), section 3.4, for the states.
    """

    label = "ARIMA"

    def __init__(
        self, dataset: xr.Dataset, *, num_train_steps: int, workers: int | None = None
    ) -> None:
        self._shape = dataset["target"].shape[1:]
        series = dataset["target"].values.astype(np.float64).reshape(dataset.sizes["time"], -1)
        train = series[:num_train_steps]
        observed = np.isfinite(train)
        total = train[observed].mean()  # for a series that training never saw
        mean = np.where(observed.any(0), np.nansum(train, 0) / observed.sum(0).clip(1), total)
        even = pd.DataFrame(train).interpolate(limit_direction="both").fillna(pd.Series(mean))
        self._mean = mean
        self._model = _fit(even.to_numpy() - mean, workers=workers)
        self._states = self._filter(series - mean)

    def _filter(self, series: np.ndarray) -> np.ndarray:
        """Give the state after each step, (time, lag, series), in single precision."""
        model, states = self._model, np.empty((len(series), _STATE, series.shape[1]), np.float32)
        state = np.zeros(states.shape[1:])
        spread = np.repeat(_UNKNOWN * np.eye(_STATE)[..., None], series.shape[1], axis=2)
        for step, reading in enumerate(series):
            seen = np.isfinite(reading)
            gain = seen * spread[:, 0] / spread[0, 0]
            state = state + gain * np.where(seen, reading - state[0], 0.0)
            spread = spread - gain[:, None] * spread[0]
            state = self._advance(state)
            spread = _advanced(_advanced(spread, model.past).swapaxes(0, 1), model.past)
            spread = spread + model.noise[:, None] * model.noise
            states[step] = state
        return states

    def _advance(self, state: np.ndarray) -> np.ndarray:
        """Go one step ahead without news: (lag, ..., series)."""
        ahead = _advanced(state, self._model.past)
        ahead[0] += self._model.constant
        return ahead

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`."""
        state = self._states[origins].swapaxes(0, 1).astype(np.float64)
        forecast = np.empty((len(origins), horizon_steps, len(self._mean)))
        for step in range(horizon_steps):
            forecast[:, step] = state[0] + self._mean
            state = self._advance(state)
        return forecast.reshape(*forecast.shape[:2], *self._shape)


def _advanced(state: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Multiply with the transition: weights of the first entry, then the next entry."""
    weights = past.reshape(_STATE, *(1 for _ in range(state.ndim - 2)), -1)
    ahead = weights * state[0]
    ahead[:-1] += state[1:]
    return ahead


def _fit(series: np.ndarray, *, workers: int | None) -> _Recursion:
    """Fit (time, series)."""
    try:
        import statsforecast.arima  # noqa: F401 - told here, not by a process
        from joblib import Parallel, cpu_count, delayed
    except ImportError as error:
        raise ImportError(
            "ARIMA needs statsforecast and joblib; install them with "
            "`pip install 'sttrans[arima]'`."
        ) from error
    if current_process().daemon:  # one of many, which must not start others
        workers = 1
    run = Parallel(n_jobs=min(workers or cpu_count(), series.shape[1]))
    models = run(delayed(_fit_one)(each) for each in np.ascontiguousarray(series.T))
    return _Recursion(*(np.stack(parts, axis=-1) for parts in zip(*(models or ()), strict=True)))


def _fit_one(series: np.ndarray) -> _Recursion:
    from statsforecast.arima import auto_arima_f

    with warnings.catch_warnings():  # it says of most fits that they might be more precise
        warnings.simplefilter("ignore")
        model = auto_arima_f(
            series, seasonal=False, max_p=_MOST_TERMS, max_q=_MOST_TERMS, max_d=_MOST_DIFFERENCES
        )
    return _recursion(model["arma"], model["coef"])


def _recursion(orders: tuple[int, ...], coefficients: dict[str, float]) -> _Recursion:
    """Write one model as a recursion on the readings themselves.

    `phi(B) ((1 - B)^d y - mean) = theta(B) e`, multiplied out.
    """
    num_past, num_noise, *_, num_differences, _ = orders
    polynomial = np.array([1.0, *(-coefficients[f"ar{lag + 1}"] for lag in range(num_past))])
    mean = coefficients.get("intercept", coefficients.get("drift", 0.0))  # of the differences
    constant = np.asarray(polynomial.sum() * mean)
    for _ in range(num_differences):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    past, noise = np.zeros(_STATE), np.zeros(_STATE)
    past[: len(polynomial) - 1] = -polynomial[1:]
    noise[: num_noise + 1] = [1.0, *(coefficients[f"ma{lag + 1}"] for lag in range(num_noise))]
    return _Recursion(past, noise, constant)
