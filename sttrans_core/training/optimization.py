"""How weights are learned: decay, schedule, and the average of the weights along the way."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sttrans_core.config import TrainConfig

__all__ = ["averaged", "learning_rate", "parameter_groups"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices and embeddings, but not biases and norms.

    Args:
        model: What is trained.
        weight_decay: AdamW's decoupled weight decay.

    Returns:
        Groups for the optimiser.
    """
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def learning_rate(settings: TrainConfig, step: int, *, total_steps: int) -> float:
    """Give the rate of a step: linear warm-up, then cosine down to a hundredth of the peak.

    Args:
        settings: Peak and steps of warm-up, which takes a tenth of all steps at most.
        step: Finished steps.
        total_steps: Steps of the whole training.

    Returns:
        The learning rate.
    """
    warmup = min(settings.warmup_steps, total_steps // 10)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, total_steps - warmup)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Give a copy of a model whose weights are a moving average of those it is updated with.

    The average forecasts better than the last weights, and its validation error is less noisy.

    Args:
        model: What is trained.
        decay: Share of the average that stays at each update; less in the first updates, so that
            the random initial weights are soon forgotten.

    Returns:
        The average; `update_parameters(model)` after each step.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """
    moving = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def average(kept: Any, new: Any, num_averaged: Any) -> None:
        if not kept[0].is_floating_point():  # indices and counts, among the buffers
            for mine, other in zip(kept, new, strict=True):
                mine.copy_(other)
            return
        share = (1 + int(num_averaged)) / (10 + int(num_averaged))
        (moving if share > decay else get_ema_multi_avg_fn(share))(kept, new, num_averaged)

    # Running statistics of a batch norm belong to the weights that they were taken with.
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
