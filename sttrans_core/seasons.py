"""What is usual at a place at a time of the year and of the day, which forecasts depart from."""

import math

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.climatology import Climatology
from sttrans_core.data.windows import Batch, Scaler, calendar

__all__ = ["SeasonalCycle"]

_STEPS_FITTED = 512


class SeasonalCycle(nn.Module):
    """The climatology of the training part in z-scores, as a part of the model.

    What is left of readings without it is what weather does, and that is what the network sees and
    forecasts: a year or two are too few to learn seasons at every place.

    Args:
        num_nodes: Nodes.
        num_channels: Channels of the target.
        steps_per_day: Slots of the time of day.
    """

    def __init__(self, *, num_nodes: int, num_channels: int, steps_per_day: int) -> None:
        super().__init__()
        self.steps_per_day = steps_per_day
        self.register_buffer("coefficients", torch.zeros(7, num_nodes, num_channels))

    coefficients: Float[Tensor, "term node channel"]

    def fit(self, dataset: xr.Dataset, scaler: Scaler, *, num_train_steps: int) -> None:
        """Take the climatology of a series over; what training never saw is not looked at.

        Args:
            dataset: A labelled dataset of nodes.
            scaler: Z-score of the training part.
            num_train_steps: Steps of the training part.
        """
        climatology = Climatology(dataset, num_train_steps=num_train_steps)
        rng = np.random.default_rng(0)  # no grid of steps, which would miss times of the day
        steps = np.sort(rng.choice(num_train_steps, min(_STEPS_FITTED, num_train_steps), False))
        times = pd.DatetimeIndex(dataset["time"].values[steps])
        when = calendar(times, steps_per_day=self.steps_per_day)
        usual = (climatology.at(steps) - scaler.mean) / scaler.std
        terms = self._terms(when.year_share, when.time_of_day).double().numpy()
        found, *_ = np.linalg.lstsq(terms, usual.reshape(len(steps), -1), rcond=None)
        self.coefficients.copy_(torch.from_numpy(found.reshape(self.coefficients.shape)))

    def forward(self, batch: Batch) -> Float[Tensor, "batch steps node channel"]:
        """Give what is usual at every step of windows, in z-scores."""
        terms = self._terms(batch.year_share, batch.time_of_day)  # (B, T + P, term)
        return torch.tensordot(terms, self.coefficients, dims=1)

    def _terms(self, year_share: Tensor, time_of_day: Tensor) -> Tensor:
        year = 2 * math.pi * year_share
        day = 2 * math.pi * time_of_day / self.steps_per_day
        waves = [wave(angle) for angle in (year, day, 2 * day) for wave in (torch.cos, torch.sin)]
        return torch.stack([torch.ones_like(year), *waves], dim=-1)
