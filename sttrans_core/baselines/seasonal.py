"""The reading of the same time some days before."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.baselines.naive import HistoricalAverage
from sttrans_core.schema import interval_of, steps_per_day
from sttrans_core.slabs import read_steps

__all__ = ["SeasonalNaive"]

_MOST_CYCLES = 4  # to look back for a reading
_LABELS = {1: "same time yesterday", 7: "same time last week"}


class SeasonalNaive:
    """Repeat what was read a day, a week or some other days before.

    Where that is missing, or not known yet at the origin, one cycle more is looked back, four at
    most; before the first of them stands the historical average.

    Args:
        dataset: A labelled dataset.
        num_train_steps: Steps of the training part, for the average.
        days: Length of the cycle.
        seen: What forecasts look back at, if other readings than those of `dataset`.

    Raises:
        ValueError: `days` is below 1, or a day is no whole number of steps.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        *,
        num_train_steps: int,
        days: int = 7,
        seen: xr.DataArray | None = None,
    ) -> None:
        if days < 1 or pd.Timedelta("1D") % interval_of(dataset):
            raise ValueError(
                "A cycle must be whole days, at least 1, of whole steps; got "
                f"days={days} with steps of {dataset.attrs['interval']}. Use another baseline, "
                "such as the historical average."
            )
        self.label = _LABELS.get(days, f"same time {days} days before")
        self._series = dataset["target"] if seen is None else seen
        self._cycle = days * steps_per_day(dataset)
        self._average = HistoricalAverage(dataset, num_train_steps=num_train_steps)

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin; see `FittedBaseline.predict`."""
        shape = (len(origins), horizon_steps, *self._series.shape[1:])
        forecast = np.full(shape, np.nan, dtype=self._series.dtype)
        lead = np.arange(1, horizon_steps + 1)
        nearest = -(-lead // self._cycle)  # cycles back to what is known at the origin
        for more in range(_MOST_CYCLES):
            steps = origins[:, None] + lead - (nearest + more) * self._cycle
            readings = read_steps(self._series, np.maximum(steps, 0))
            is_open = np.isnan(forecast) & _alike(steps >= 0, forecast)
            np.copyto(forecast, readings, where=is_open)
            if not np.isnan(forecast).any():
                return forecast
        average = self._average.predict(origins, horizon_steps=horizon_steps)
        np.copyto(forecast, average, where=np.isnan(forecast))
        return forecast


def _alike(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add axes to a mask, so that it broadcasts to values whose first axes it has."""
    return mask.reshape(*mask.shape, *(1 for _ in range(values.ndim - mask.ndim)))
