"""What screening by blocks misses of the exact Top-k, on a trained model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from sttrans_core.alignment import Alignment, Selection
from sttrans_core.forecaster import Forecaster
from sttrans_core.grid import as_nodes
from sttrans_core.runs import RunError

__all__ = ["screening_recall"]


@torch.no_grad()
def screening_recall(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: Sequence[Any] | np.ndarray | pd.Index,
    *,
    screened_blocks: Sequence[int] = (8, 16, 24, 32),
    group_size: int = 32,
    block_size: int = 4,
) -> pd.DataFrame:
    """Count how many sources of the exact Top-k screening by blocks finds.

    Args:
        forecaster: A trained model, of either screening.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        screened_blocks: Numbers of blocks that a group admits.
        group_size: Targets that share candidates.
        block_size: Nodes that are screened as one.

    Returns:
        One row a number of blocks: `recall`, the share of the exact Top-k's sources that are kept;
        `mass`, the share of their weight; `candidates`, the nodes that a group looks at.

    Raises:
        RunError: The dataset does not fit the run, or the run keeps no Top-k.
        ValueError: A time is not in the dataset, there is none, or a size is below 1.
    """
    dataset = as_nodes(dataset)
    sizes = {"screened_blocks": min(screened_blocks), "group_size": group_size}
    for name, size in {**sizes, "block_size": block_size}.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}. Raise it.")
    model, settings = forecaster.aligned()
    if settings.sources != "topk":
        raise RunError(
            "A recall needs a model that keeps a Top-k; got the variant "
            f"{forecaster.config.variant_name!r}. Choose another run."
        )
    trained = model.selection
    batch = forecaster.batch(dataset, np.atleast_1d(np.asarray(times)))
    geometry, rows = model.geometry, []

    def align(selection: Selection) -> Alignment:
        alignments = model(batch, selection=selection, need_alignment=True).alignments
        return alignments[-1]

    exact = align(replace(trained, screening="exact"))
    for blocks in screened_blocks:
        screened = replace(
            trained, screening="blocks", screened_blocks=blocks, group_size=group_size,
            block_size=block_size,
        )  # fmt: skip
        found = _found(exact, align(screened), num_steps=batch.observed.shape[1])
        weight = exact.weight.mean(3)
        groups = geometry.groups(
            group_size=group_size, block_size=block_size, window_nodes=trained.window_nodes
        )
        in_window = float((groups.window >= 0).sum(1).float().mean())
        rows.append(
            {
                "screened_blocks": blocks,
                "recall": float(found.sum() / exact.valid.sum()),
                "mass": float((weight * found).sum() / weight.sum()),
                "candidates": min(geometry.num_nodes, in_window + blocks * block_size),
            }
        )
    return pd.DataFrame(rows)


def _found(exact: Alignment, screened: Alignment, *, num_steps: int) -> torch.Tensor:
    """Say which of the exact sources are among the screened ones."""
    wanted, got = (
        torch.where(each.valid, each.node * num_steps + each.step, -1 - place)
        for place, each in enumerate((exact, screened))
    )
    return (wanted[..., None] == got[..., None, :]).any(-1)
