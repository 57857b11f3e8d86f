"""Inference-time switches: what one set of weights gets to see, and how much of it is kept."""

from collections.abc import Sequence

import numpy as np

from sttrans_core.data.windows import Batch

__all__ = ["hide", "whole_topk"]


def whole_topk(topk: object) -> int | None:
    """Check a number of sources to keep.

    Args:
        topk: What was given; None for as many as in training.

    Returns:
        The number, or None.

    Raises:
        ValueError: It is no whole number of at least 1.
    """
    if topk is None:
        return None
    if isinstance(topk, int | np.integer) and not isinstance(topk, bool) and topk >= 1:
        return int(topk)
    raise ValueError(
        f"topk must be a whole number, at least 1; got {topk!r}. Pass for example topk=8, or "
        "leave it out to keep as many sources as in training."
    )


def hide(batch: Batch, nodes: Sequence[int], steps: Sequence[int]) -> Batch:
    """Hide readings from the model, as if they had not been observed.

    Args:
        batch: Windows.
        nodes: Node indices to hide at every step.
        steps: History steps to hide at every node.

    Returns:
        The changed windows; the given ones are untouched.

    Raises:
        ValueError: A step is outside the history.
    """
    history = batch.observed.shape[1]
    bad = [step for step in steps if not 0 <= step < history]
    if bad:
        raise ValueError(
            f"mask_steps must be between 0 and {history - 1}; got {bad[0]}. "
            "Count steps from the oldest of the history."
        )
    observed, values = batch.observed.clone(), batch.values.clone()
    observed[:, :, list(nodes)] = False
    observed[:, list(steps)] = False
    return batch._replace(observed=observed, values=values * observed.unsqueeze(-1))
