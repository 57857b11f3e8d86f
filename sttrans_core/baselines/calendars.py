"""The calendar as two more readings, which STID and STAEformer take beside their embeddings."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sttrans_core.data.windows import Batch

__all__ = ["calendar_of", "with_calendar"]


def calendar_of(
    batch: Batch, *, has_weekday: bool
) -> tuple[Int[Tensor, "batch history"], Int[Tensor, "batch history"]]:
    """Give the slot of the day and the weekday of the history.

    Args:
        batch: Windows.
        has_weekday: Whether the training period covers weeks. Else every day counts as Monday: an
            embedding of a weekday that training never saw would be noise.

    Returns:
        Slots and weekdays.
    """
    history = batch.values.shape[1]
    day = batch.day_of_week[:, :history]
    return batch.time_of_day[:, :history], day if has_weekday else torch.zeros_like(day)


def with_calendar(
    values: Float[Tensor, "batch history node channel"],
    slot: Int[Tensor, "batch history"],
    day: Int[Tensor, "batch history"],
    *,
    steps_per_day: int,
) -> Float[Tensor, "batch history node channel+2"]:
    """Append the share of the day and the number of the weekday to the readings.

    Args:
        values: Readings in z-scores.
        slot: Slot of the day.
        day: 0 = Monday.
        steps_per_day: Slots of the day.

    Returns:
        Two more channels, the same for all nodes.
    """
    calendar = torch.stack([slot / steps_per_day, day.to(values.dtype)], dim=-1)  # (B, T, 2)
    return torch.cat([values, calendar[:, :, None].expand(-1, -1, values.shape[2], -1)], dim=-1)
