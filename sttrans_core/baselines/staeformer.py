"""STAEformer: a plain transformer over time, then over all nodes, on adaptive embeddings."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.calendars import calendar_of, with_calendar
from sttrans_core.data.windows import Batch

__all__ = ["STAEformer"]


class STAEformer(nn.Module):
    """Forecast with full attention along time and across all nodes.

    The published sizes are the defaults; METR-LA's 207 nodes then give 1.26 million parameters. Its
    attention is computed with PyTorch's fused one, which is faster than the published code.

    Args:
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        steps_per_day: Slots of the time of day.
        has_weekday: Whether the training period covers weeks.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.
        embedding: Channels of the reading, of the time of day and of the weekday, each.
        adaptive: Channels of the embedding of every (step, node).
        feedforward: Hidden channels of the feed-forward layers.
        num_heads: Attention heads.
        num_layers: Layers along time; as many across nodes.
        dropout: Share of activations dropped while training.

    Source: Liu et al., "STAEformer: spatio-temporal adaptive embedding makes vanilla transformer
    SOTA for traffic forecasting" (CIKM 2023).
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
        embedding: int = 24,
        adaptive: int = 80,
        feedforward: int = 256,
        num_heads: int = 4,
        num_layers: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        width = 3 * embedding + adaptive
        self.steps_per_day, self.has_weekday = steps_per_day, has_weekday
        self.horizon_steps = horizon_steps
        # A reading comes with the time of day and the weekday.
        self.reading = nn.Linear(num_channels + num_covariates + 2, embedding)
        self.time_of_day = nn.Embedding(steps_per_day, embedding)
        self.day_of_week = nn.Embedding(7, embedding)
        self.adaptive = nn.Parameter(torch.empty(history_steps, num_nodes, adaptive))
        nn.init.xavier_uniform_(self.adaptive)
        layers = [
            nn.ModuleList(
                _Layer(width, feedforward, num_heads, dropout=dropout) for _ in range(num_layers)
            )
            for _ in range(2)
        ]
        self.along_time, self.across_nodes = layers
        self.head = nn.Linear(history_steps * width, horizon_steps * num_channels)

    def forward(self, batch: Batch) -> Float[Tensor, "batch horizon node channel"]:
        """Forecast every horizon step of every node.

        Args:
            batch: Windows; a missing reading counts as the mean.

        Returns:
            The forecast in z-scores.
        """
        slot, day = calendar_of(batch, has_weekday=self.has_weekday)  # (B, T)
        reading = with_calendar(batch.values, slot, day, steps_per_day=self.steps_per_day)
        when = torch.cat([self.time_of_day(slot), self.day_of_week(day)], dim=-1)
        token = torch.cat(
            [
                self.reading(reading),
                when[:, :, None].expand(-1, -1, reading.shape[2], -1),
                self.adaptive.expand(len(slot), -1, -1, -1),
            ],
            dim=-1,
        )  # (B, T, N, D)
        token = token.transpose(1, 2)  # (B, N, T, D)
        for layer in self.along_time:
            token = layer(token)
        token = token.transpose(1, 2)
        for layer in self.across_nodes:
            token = layer(token)
        steps = self.head(token.transpose(1, 2).flatten(2))  # (B, N, P * C)
        return steps.unflatten(-1, (self.horizon_steps, -1)).transpose(1, 2)


class _Layer(nn.Module):
    """Self-attention along the last but one axis, then feed-forward, each normalised after."""

    def __init__(self, width: int, feedforward: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.ReLU(), nn.Linear(feedforward, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, token: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        def heads(values: Tensor) -> Tensor:
            return values.flatten(0, 1).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        query, key, value = (heads(each(token)) for each in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)  # (B*N, H, T, d)
        mixed = self.out(mixed.transpose(1, 2).flatten(2).view_as(token))
        token = self.norms[0](token + self.dropout(mixed))
        return self.norms[1](token + self.dropout(self.feedforward(token)))
