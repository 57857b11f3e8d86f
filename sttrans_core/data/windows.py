"""Windows over a dataset: z-score from training values, batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sttrans_core.schema import check_dataset, steps_per_day
from sttrans_core.slabs import is_in_memory, read_steps, slabs

__all__ = ["Batch", "Calendar", "Scaler", "Windows", "calendar"]


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Z-score with the mean and spread of the observed training values.

    Args:
        mean: In the dataset's units.
        std: In the dataset's units, above 0.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, values: xr.DataArray | np.ndarray) -> "Scaler":
        """Take mean and standard deviation of the observed values.

        Args:
            values: Training readings, time first, NaN where missing.

        Returns:
            The scaler; a constant series gets a spread of 1.

        Raises:
            ValueError: No value is observed.

        Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
        sample variances" (1979), for joining slabs.
        """
        count, mean, squares = 0, 0.0, 0.0
        for slab in slabs(values):
            observed = slab[np.isfinite(slab)].astype(np.float64)
            if observed.size:
                count += observed.size
                share, centre = observed.size / count, float(observed.mean())
                squares += float(np.square(observed - centre).sum())
                squares += (centre - mean) ** 2 * share * (count - observed.size)
                mean += (centre - mean) * share
        if count == 0:
            raise ValueError(
                "Training values must hold observed readings; got only missing ones. "
                "Use another period or a longer series."
            )
        std = float(np.sqrt(squares / count))
        return cls(mean=mean, std=std if std > 0 else 1.0)

    def transform(self, values: Tensor) -> Tensor:
        """Scale readings to z-scores."""
        return (values - self.mean) / self.std

    def inverse(self, values: Tensor) -> Tensor:
        """Scale z-scores back to the dataset's units."""
        return values * self.std + self.mean


class Batch(NamedTuple):
    """Windows ready for the model.

    Args:
        values: Scaled history, 0 where missing: the channels of the target, then the covariates.
            Where these are several, as many more say which were observed (1) and which not (0).
        observed: Where at least one channel of the target was observed.
        time_of_day: Slot of the day of every step, history and horizon (`steps` of both).
        day_of_week: 0 = Monday, of every step.
        year_share: Share of the year that is over at every step.
        earlier: Scaled readings of the same channels some days before each step, or their means
            over weeks, lag after lag, then as many flags that say which were observed; None without
            lags.
        target: Horizon in original units, NaN where missing; None where it is unknown.
    """

    values: Float[Tensor, "batch history node channel"]
    observed: Bool[Tensor, "batch history node"]
    time_of_day: Int[Tensor, "batch steps"]
    day_of_week: Int[Tensor, "batch steps"]
    year_share: Float[Tensor, "batch steps"]
    earlier: Float[Tensor, "batch steps node lag"] | None = None
    target: Float[Tensor, "batch horizon node channel"] | None = None


class Calendar(NamedTuple):
    """The calendar of some steps.

    Args:
        time_of_day: Slot of the day.
        day_of_week: 0 = Monday.
        year_share: Share of the year that is over.
    """

    time_of_day: Int[Tensor, " steps"]
    day_of_week: Int[Tensor, " steps"]
    year_share: Float[Tensor, " steps"]


def calendar(times: pd.DatetimeIndex, *, steps_per_day: int) -> Calendar:
    """Look times up in the calendar.

    Args:
        times: Time stamps.
        steps_per_day: Slots of the day.

    Returns:
        The calendar of each.
    """
    day_share = np.asarray((times - times.normalize()) / pd.Timedelta("1D"))
    slot = np.floor(day_share * steps_per_day + 1e-6).astype(np.int64) % steps_per_day
    weekday = times.dayofweek.to_numpy().astype(np.int64)
    year = (times.dayofyear.to_numpy() - 1 + day_share) / (365 + times.is_leap_year)
    return Calendar(*map(torch.from_numpy, (slot, weekday, year.astype(np.float32))))


class _Rows(NamedTuple):
    """Readings of some time steps as the model wants them."""

    target: Float[Tensor, "steps node channel"]
    observed: Bool[Tensor, "steps node"]
    values: Float[Tensor, "steps node channel"]


class Windows:
    """All windows of one dataset; batches are cut by their start step.

    A dataset in memory is scaled once. Of one that lies in a store, the steps of a batch are read
    when the batch is asked for, each of them once, and nothing is kept.

    Args:
        dataset: A labelled dataset.
        history_steps: Steps a window sees.
        horizon_steps: Steps a window forecasts.
        scaler: Z-score of the training part.
        covariate_scalers: The same of each covariate.
        lags: Steps back to earlier readings that a window sees, too, each at least the horizon; of
            several steps in one lag the mean of the observed readings.
        device: Where batches live.

    Raises:
        SchemaError: The dataset does not keep the contract.
        ValueError: The series is shorter than one history.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        *,
        history_steps: int,
        horizon_steps: int,
        scaler: Scaler,
        covariate_scalers: Sequence[Scaler] = (),
        lags: Sequence[Sequence[int]] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        check_dataset(dataset)
        num_steps = dataset.sizes["time"]
        if num_steps < history_steps:
            raise ValueError(
                "The series must be at least as long as the history; got "
                f"{num_steps} steps with history_steps={history_steps}. "
                "Load a longer series or use a run with a shorter history."
            )
        self.history_steps, self.horizon_steps = history_steps, horizon_steps
        self.times = pd.DatetimeIndex(dataset["time"].values)
        self._scaler, self._covariate_scalers = scaler, covariate_scalers
        self._device, self._target = device, dataset["target"]
        self._covariates = dataset["covariates"] if covariate_scalers else None
        self._lags = [torch.tensor(lag, dtype=torch.int64, device=device) for lag in lags]
        self._whole = self._rows(np.arange(num_steps)) if is_in_memory(self._target) else None
        self._calendar = self._whole_calendar(steps_per_day(dataset), device)

    def _rows(self, steps: np.ndarray) -> _Rows:
        target = self._read(self._target, steps)
        target = target.unsqueeze(-1) if target.ndim == 2 else target
        scaled = self._scaler.transform(target)
        if self._covariates is not None:
            covariates = self._read(self._covariates, steps).unbind(-1)
            each = zip(self._covariate_scalers, covariates, strict=True)
            scaled = torch.cat([scaled, *(s.transform(c)[..., None] for s, c in each)], dim=-1)
        observed = torch.isfinite(scaled)
        values = torch.nan_to_num(scaled, nan=0.0)
        if values.shape[-1] > 1:
            values = torch.cat([values, observed.to(values.dtype)], dim=-1)
        return _Rows(target, observed[..., : target.shape[-1]].any(-1), values)

    def _read(self, series: xr.DataArray, steps: np.ndarray) -> Tensor:
        readings = read_steps(series, steps).astype(np.float32, copy=False)
        return torch.from_numpy(readings).to(self._device)

    def _rows_of(self, steps: Int[Tensor, "..."]) -> tuple[_Rows, Int[Tensor, "..."]]:
        """Give rows that hold some steps, and where in them each step is."""
        if self._whole is not None:
            return self._whole, steps
        needed, place = torch.unique(steps, return_inverse=True)
        return self._rows(needed.cpu().numpy()), place

    def _whole_calendar(self, slots: int, device: torch.device | str) -> Calendar:
        interval = self.times[1] - self.times[0]
        ahead = pd.date_range(self.times[-1] + interval, periods=self.horizon_steps, freq=interval)
        times = pd.DatetimeIndex(self.times.append(ahead))  # the calendar of the future is known
        return Calendar(*(each.to(device) for each in calendar(times, steps_per_day=slots)))

    def batch(self, starts: Int[Tensor, " batch"] | list[int] | range) -> Batch:
        """Cut windows by the step at which their history starts.

        Args:
            starts: Start steps; the horizon may reach beyond the end of the series (target None).

        Returns:
            The batch.
        """
        device, history = self._calendar.time_of_day.device, self.history_steps
        first = torch.as_tensor(starts if isinstance(starts, Tensor) else list(starts))
        first = first.to(device)[:, None]
        steps = first + torch.arange(history + self.horizon_steps, device=device)
        known = bool((steps[:, -1] < len(self.times)).all())
        rows, place = self._rows_of(steps if known else steps[:, :history])
        return Batch(
            values=rows.values[place[:, :history]],
            observed=rows.observed[place[:, :history]],
            time_of_day=self._calendar.time_of_day[steps],
            day_of_week=self._calendar.day_of_week[steps],
            year_share=self._calendar.year_share[steps],
            earlier=self._earlier(steps) if self._lags else None,
            target=rows.target[place[:, history:]] if known else None,
        )

    def _earlier(self, steps: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps node lag"]:
        """Give scaled target readings some lags before each step, and flags of the observed."""
        then = steps[..., None] - torch.cat(self._lags)  # (B, T + P, step back)
        rows, place = self._rows_of(then.clamp_min(0))
        target = self._scaler.transform(rows.target[place])  # (B, T + P, step back, N, C)
        target = target.masked_fill((then < 0)[..., None, None], torch.nan)
        lags = target.split([len(lag) for lag in self._lags], dim=2)
        target = torch.stack([lag.nanmean(2) for lag in lags], dim=3)  # (B, T + P, N, L, C)
        target = target.flatten(3)
        observed = torch.isfinite(target)
        return torch.cat([target.nan_to_num(0.0), observed.to(target.dtype)], dim=-1)
