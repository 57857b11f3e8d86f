"""STID: a perceptron on a node's own history and on who, when and which day it is."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.calendars import calendar_of, with_calendar
from sttrans_core.data.windows import Batch
from sttrans_core.model.residual import ResidualNetwork

__all__ = ["STID"]


class STID(nn.Module):
    """Forecast every node from its own history, told apart by learned identities.

    No node sees another one. The published sizes are the defaults; METR-LA's 207 nodes then give
    118 thousand parameters.

    Args:
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        steps_per_day: Slots of the time of day.
        has_weekday: Whether the training period covers weeks.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.
        embedding: Channels of the history, the node, the time of day and the weekday, each.
        num_layers: Residual layers.
        dropout: Share of activations dropped while training.

    Source: Shao et al., "Spatial-temporal identity: a simple yet effective baseline for
    multivariate time series forecasting" (CIKM 2022).
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        history_steps: int = 12,
        horizon_steps: int = 12,
        steps_per_day: int = 288,
        has_weekday: bool = True,
        num_channels: int = 1,
        num_covariates: int = 0,
        embedding: int = 32,
        num_layers: int = 3,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        width = 4 * embedding
        self.steps_per_day, self.has_weekday = steps_per_day, has_weekday
        self.horizon_steps = horizon_steps
        # A reading comes with the time of day and the weekday.
        self.history = nn.Linear((num_channels + num_covariates + 2) * history_steps, embedding)
        self.node = nn.Embedding(num_nodes, embedding)
        self.time_of_day = nn.Embedding(steps_per_day, embedding)
        self.day_of_week = nn.Embedding(7, embedding)
        for identity in (self.node, self.time_of_day, self.day_of_week):
            nn.init.xavier_uniform_(identity.weight)
        self.network = ResidualNetwork(width, num_blocks=num_layers, dropout=dropout)
        self.head = nn.Linear(width, horizon_steps * num_channels)

    def forward(self, batch: Batch) -> Float[Tensor, "batch horizon node channel"]:
        """Forecast every horizon step of every node.

        Args:
            batch: Windows; a missing reading counts as the mean.

        Returns:
            The forecast in z-scores.
        """
        slot, day = calendar_of(batch, has_weekday=self.has_weekday)
        reading = with_calendar(batch.values, slot, day, steps_per_day=self.steps_per_day)
        history = self.history(reading.transpose(1, 2).flatten(2))  # (B, N, E)
        now = torch.cat([self.time_of_day(slot[:, -1]), self.day_of_week(day[:, -1])], dim=-1)
        token = torch.cat(
            [
                history,
                self.node.weight.expand(len(history), -1, -1),
                now[:, None].expand(-1, history.shape[1], -1),
            ],
            dim=-1,
        )  # (B, N, D)
        return (
            self.head(self.network(token)).unflatten(-1, (self.horizon_steps, -1)).transpose(1, 2)
        )
