"""ARIMA per node: fitted once to the training part, then rolled through the series."""

import os
import warnings

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["ARIMA"]

_MOST_TERMS = 3  # of each kind
_MOST_DIFFERENCES = 2


class ARIMA:
    """Forecast each node and channel from its own past alone, by the ARIMA model that suits it.

    AutoARIMA chooses the orders by AICc and fits them to the training part, gaps interpolated, one
    process per series at a time. Then the coefficients stay: the recursion runs once through the
    whole series, and every forecast goes on from its state at the origin. Where a reading is
    missing, the recursion goes on with its own forecast. There are no seasonal terms: a day of five
    minutes is 288 steps long.

    Readings and innovations of the whole series are held in memory.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part; later steps are not fitted.
        workers: Processes that fit; None is one for each processor.

    Raises:
        ImportError: The extra `arima` is not installed.

    Source: Hyndman and Khandakar, "Automatic time series forecasting: the forecast package for R"
    (2008), as in statsforecast; the forecast is the one of Box and Jenkins (1970).
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
        # Departures from the mean: the recursion starts at rest.
        self._mean = mean
        self._autoregressive, self._moving, self._constant = _fit(
            even.to_numpy() - mean, workers=workers
        )
        self._departure, self._innovation = self._filter(series - mean)

    def _filter(self, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the recursion over (time, series); rows of zeros stand before both answers."""
        num_before = len(self._autoregressive)
        departure = np.zeros((num_before + len(series), series.shape[1]))
        innovation = np.zeros_like(departure)
        for step, reading in enumerate(series, start=num_before):
            forecast = self._next(
                departure[step - num_before : step][::-1],
                innovation[step - len(self._moving) : step][::-1],
            )
            observed = np.isfinite(reading)
            departure[step] = np.where(observed, reading, forecast)
            if step >= 2 * num_before:  # before, the zeros in front would count as news
                innovation[step] = departure[step] - forecast
        return departure, innovation

    def _next(self, departure: np.ndarray, innovation: np.ndarray) -> np.ndarray:
        """Forecast one step from the past, newest first: (lag, ..., series)."""
        past = np.einsum("l...s,ls->...s", departure, self._autoregressive)
        return past + np.einsum("l...s,ls->...s", innovation, self._moving) + self._constant

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`."""
        rows = origins + len(self._autoregressive)
        departure = [self._departure[rows - lag] for lag in range(len(self._autoregressive))]
        innovation = [self._innovation[rows - lag] for lag in range(len(self._moving))]
        ahead = []
        for _ in range(horizon_steps):
            ahead.append(self._next(np.stack(departure), np.stack(innovation)))
            departure = [ahead[-1], *departure[:-1]]
            innovation = [np.zeros_like(ahead[-1]), *innovation[:-1]]
        forecast = np.stack(ahead, axis=1) + self._mean
        return forecast.reshape(*forecast.shape[:2], *self._shape)


def _fit(series: np.ndarray, *, workers: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit (time, series): weights of past values and innovations, (lag, series), and a constant."""
    try:
        import statsforecast.arima  # noqa: F401 - told here, not by a process
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError(
            "ARIMA needs statsforecast and joblib; install them with "
            "`pip install 'sttrans[arima]'`."
        ) from error
    run = Parallel(n_jobs=min(workers or os.cpu_count() or 1, series.shape[1]))
    recursions = run(delayed(_fit_one)(each) for each in np.ascontiguousarray(series.T))
    autoregressive, moving, constant = zip(*(recursions or ()), strict=True)
    return np.stack(autoregressive, 1), np.stack(moving, 1), np.array(constant)


def _fit_one(series: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    from statsforecast.arima import auto_arima_f

    with warnings.catch_warnings():  # it says of most fits that they might be more precise
        warnings.simplefilter("ignore")
        model = auto_arima_f(
            series, seasonal=False, max_p=_MOST_TERMS, max_q=_MOST_TERMS, max_d=_MOST_DIFFERENCES
        )
    return _recursion(model["arma"], model["coef"])


def _recursion(
    orders: tuple[int, ...], coefficients: dict[str, float]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Write a model as one recursion on the readings themselves.

    `phi(B) ((1 - B)^d y - mean) = theta(B) e`, multiplied out.
    """
    num_past, num_moving, *_, num_differences, _ = orders
    past = [coefficients[f"ar{lag + 1}"] for lag in range(num_past)]
    polynomial = np.array([1.0, *(-weight for weight in past)])
    mean = coefficients.get("intercept", coefficients.get("drift", 0.0))  # of the differences
    constant = float(polynomial.sum() * mean)
    for _ in range(num_differences):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    autoregressive = np.zeros(_MOST_TERMS + _MOST_DIFFERENCES)
    autoregressive[: len(polynomial) - 1] = -polynomial[1:]
    moving = np.zeros(_MOST_TERMS)
    news = [coefficients[f"ma{lag + 1}"] for lag in range(num_moving)]
    moving[:num_moving] = _invertible(np.array([1.0, *news]))[1:]
    return autoregressive, moving, constant


def _invertible(polynomial: np.ndarray) -> np.ndarray:
    """Reflect roots into the unit circle: the same process, whose innovations do not blow up."""
    roots = np.roots(polynomial)
    outside = np.abs(roots) > 1
    roots[outside] = 1 / roots[outside].conj()
    return np.atleast_1d(np.poly(roots)).real
