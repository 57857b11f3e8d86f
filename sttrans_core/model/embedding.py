"""Tokens from readings, calendar, place and step."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.data.windows import Batch

__all__ = ["CalendarEmbedding", "SourceEmbedding"]


class CalendarEmbedding(nn.Module):
    """Learned embeddings of the time of day and, where the data can teach it, the day of the week.

    Rows start at zero, so a slot that training never saw says nothing rather than noise.

    Args:
        width: Channels of a token.
        steps_per_day: Slots of the day.
        has_weekday: Whether the training period covers weeks, so that weekdays can be learned.
    """

    def __init__(self, width: int, *, steps_per_day: int, has_weekday: bool) -> None:
        super().__init__()
        self.time_of_day = nn.Embedding(steps_per_day, width)
        nn.init.zeros_(self.time_of_day.weight)
        self.day_of_week = nn.Embedding(7, width) if has_weekday else None
        if self.day_of_week is not None:
            nn.init.zeros_(self.day_of_week.weight)

    def forward(self, batch: Batch) -> Float[Tensor, "batch steps channel"]:
        """Embed the calendar of each step."""
        token = self.time_of_day(batch.time_of_day)
        if self.day_of_week is not None:
            token = token + self.day_of_week(batch.day_of_week)
        return token


class SourceEmbedding(nn.Module):
    """One token per (node, history step).

    Args:
        width: Channels of a token.
        num_nodes: Nodes.
        num_inputs: Channels of a window's values.
        history_steps: Steps of the history.
        learned_steps: Learned step embedding, or sinusoidal coding (the ablation).
    """

    def __init__(
        self,
        width: int,
        *,
        num_nodes: int,
        num_inputs: int,
        history_steps: int,
        learned_steps: bool,
    ) -> None:
        super().__init__()
        self.reading = nn.Linear(num_inputs + 1, width)  # the readings and the observed flag
        self.node = nn.Parameter(torch.randn(num_nodes, width) * 0.1)
        self.place = nn.Linear(2, width, bias=False)
        if learned_steps:
            self.step = nn.Parameter(torch.randn(history_steps, width) * 0.1)
        else:
            self.register_buffer("step", _sinusoids(history_steps, width), persistent=False)

    def forward(
        self,
        batch: Batch,
        calendar: Float[Tensor, "batch history channel"],
        coordinates: Float[Tensor, "node 2"],
    ) -> Float[Tensor, "batch node history channel"]:
        """Embed each reading with its calendar, step and place.

        Args:
            batch: Windows.
            calendar: Calendar embedding of the history steps.
            coordinates: Scaled positions.

        Returns:
            The tokens.
        """
        flags = batch.observed.unsqueeze(-1).to(batch.values.dtype)
        readings = torch.cat([batch.values, flags], dim=-1).transpose(1, 2)  # (B, N, T, C + 1)
        when = (calendar + self.step)[:, None]  # (B, 1, T, D)
        where = (self.node + self.place(coordinates))[:, None]  # (N, 1, D)
        return self.reading(readings) + when + where


def _sinusoids(steps: int, width: int) -> Float[Tensor, "steps channel"]:
    """Sinusoidal position coding. Source: Vaswani et al., "Attention is all you need" (2017)."""
    rate = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(steps)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]
