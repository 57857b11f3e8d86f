"""Standardized anomalies: how far readings are from what is usual at their place."""

import math

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.climatology import Climatology
from sttrans_core.data.windows import Batch, Scaler, calendar
from sttrans_core.slabs import slabs

__all__ = ["StandardizedAnomalies"]

_STEPS_FITTED = 512
_LEAST_SPREAD = 0.02  # of the spread of all readings: a place that hardly varies must not shout


class StandardizedAnomalies(nn.Module):
    """What is usual at each place, and how much it varies there, learned before the weights.

    The network sees and forecasts departures from it, so that what it learns at a busy place holds
    at a quiet one, too. Where training covers most of a year, what is usual is the climatology: a
    year or two are too few to learn seasons at every place. Otherwise it is the mean.

    Args:
        num_nodes: Nodes.
        num_channels: Channels of the target.
        history_steps: Steps of the history.
        steps_per_day: Slots of the time of day.
        has_season: Whether training covers most of a year.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        num_channels: int,
        history_steps: int,
        steps_per_day: int,
        has_season: bool,
    ) -> None:
        super().__init__()
        self.history_steps, self.steps_per_day = history_steps, steps_per_day
        self.has_season, self.num_channels = has_season, num_channels
        num_terms = 7 if has_season else 1
        self.register_buffer("course", torch.zeros(num_terms, num_nodes, num_channels))
        self.register_buffer("spread", torch.ones(num_nodes, num_channels))

    course: Float[Tensor, "term node channel"]
    spread: Float[Tensor, "node channel"]

    def fit(self, dataset: xr.Dataset, scaler: Scaler, *, num_train_steps: int) -> None:
        """Learn what is usual from the training part of a series; the rest is not looked at.

        A place that training never saw gets the mean and the spread of all.

        Args:
            dataset: A labelled dataset of nodes.
            scaler: Z-score of the training part.
            num_train_steps: Steps of the training part.
        """
        climatology = None
        if self.has_season:
            climatology = Climatology(dataset, num_train_steps=num_train_steps)
            self._fit_course(climatology, dataset, scaler, num_train_steps)
        count, total, squares, first = 0.0, 0.0, 0.0, 0
        for slab in slabs(dataset["target"][:num_train_steps]):
            steps = np.arange(first, first + len(slab))
            usual = scaler.mean if climatology is None else climatology.at(steps)
            departure = ((slab - usual) / scaler.std).reshape(len(slab), *self.spread.shape)
            observed = np.isfinite(departure)
            departure = np.where(observed, departure, 0.0).astype(np.float64)
            count = count + observed.sum(0)
            total, squares = total + departure.sum(0), squares + np.square(departure).sum(0)
            first += len(slab)
        mean = total / np.maximum(count, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, _LEAST_SPREAD**2))
        self.course[0] += torch.from_numpy(mean)
        self.spread.copy_(torch.from_numpy(np.where(count > 0, spread, 1.0)))

    def _fit_course(
        self, climatology: Climatology, dataset: xr.Dataset, scaler: Scaler, num_train_steps: int
    ) -> None:
        """Take a climatology over, in z-scores and in terms that windows know."""
        rng = np.random.default_rng(0)  # no grid of steps, which would miss times of the day
        steps = np.sort(rng.choice(num_train_steps, min(_STEPS_FITTED, num_train_steps), False))
        times = pd.DatetimeIndex(dataset["time"].values[steps])
        when = calendar(times, steps_per_day=self.steps_per_day)
        usual = (climatology.at(steps) - scaler.mean) / scaler.std
        terms = self._terms(when.year_share, when.time_of_day).double().numpy()
        found, *_ = np.linalg.lstsq(terms, usual.reshape(len(steps), -1), rcond=None)
        self.course.copy_(torch.from_numpy(found.reshape(self.course.shape)))

    def usual(self, batch: Batch) -> Float[Tensor, "batch steps node channel"]:
        """Give what is usual at every step of windows, in z-scores."""
        if not self.has_season:
            return self.course.expand(*batch.time_of_day.shape, -1, -1)
        terms = self._terms(batch.year_share, batch.time_of_day)  # (B, T + P, term)
        return torch.tensordot(terms, self.course, dims=1)

    def forward(self, batch: Batch, usual: Float[Tensor, "batch steps node channel"]) -> Batch:
        """Give the windows with anomalies in place of the target's z-scores; 0 where missing.

        Args:
            batch: Windows.
            usual: What is usual at their steps.

        Returns:
            Windows whose earlier days are anomalies, too.
        """
        channels, several = self.num_channels, batch.values.shape[-1] > 1
        first_flag = batch.values.shape[-1] // 2
        seen = batch.values[..., first_flag : first_flag + channels] if several else 1.0
        past = usual[:, : self.history_steps]
        target = (batch.values[..., :channels] - past * seen) / self.spread
        target = target * batch.observed[..., None]
        earlier = batch.earlier
        if earlier is not None:  # days, not seasons, before: the same is usual then
            days, flags = earlier.unflatten(-1, (2, -1, channels)).unbind(-3)
            days = (days - usual[..., None, :] * flags) / self.spread[:, None]
            earlier = torch.stack([days, flags], dim=-3).flatten(-3)
        values = torch.cat([target, batch.values[..., channels:]], dim=-1)
        return batch._replace(values=values, earlier=earlier)

    def _terms(self, year_share: Tensor, time_of_day: Tensor) -> Tensor:
        year = 2 * math.pi * year_share
        day = 2 * math.pi * time_of_day / self.steps_per_day
        waves = [wave(angle) for angle in (year, day, 2 * day) for wave in (torch.cos, torch.sin)]
        return torch.stack([torch.ones_like(year), *waves], dim=-1)
