"""A forecaster whose forecast and alignment are written down, to test what looks at them."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from small_runs import SEGMENTS
from torch import nn

from sttrans_core.alignment import Alignment
from sttrans_core.forecaster import Forecaster
from sttrans_core.model.sttrans import Output, STTrans

Source = tuple[int, int]  # step, node


class KnownModel(STTrans):
    """Every forecast is a weighted sum of readings, and every alignment the same.

    Args:
        like: Lends places, sizes and the selection.
        coefficient: What a z-score of a source adds to every step of every forecast, in z-scores.
        weight: The kept sources and their weights, of all segments and heads alike.
        covered: Covered mass, by head.
    """

    def __init__(
        self,
        like: Forecaster,
        coefficient: Mapping[Source, float],
        weight: Mapping[Source, float],
        covered: tuple[float, ...] = (0.5, 0.5),
    ) -> None:
        nn.Module.__init__(self)  # nothing is built
        self.geometry, self.selection = like.model.geometry, like.model.selection
        self.horizon = like.config.data.horizon_steps
        self.coefficient, self.weight, self.covered = coefficient, weight, covered

    def forward(self, batch, *, query_nodes=None, need_alignment=False, **_):
        if query_nodes is None:
            query_nodes = torch.arange(batch.observed.shape[2])
        size = (len(batch.observed), self.horizon, len(query_nodes), 1)
        total = torch.zeros(len(batch.observed))
        for (step, node), factor in self.coefficient.items():
            total = total + factor * batch.values[:, step, node, 0]
        forecast = total[:, None, None, None].expand(size)
        alignments = [self._alignment(size[0], size[2])] if need_alignment else []
        return Output(forecast, alignments, aligned=None)

    def _alignment(self, batch, queries):
        sources = torch.tensor(list(self.weight))  # (K, 2)
        weight = torch.tensor(list(self.weight.values()))
        shape = (batch, queries, SEGMENTS)
        kept = (*shape, len(weight))
        heads = len(self.covered)
        return Alignment(
            step=sources[:, 0].expand(kept),
            node=sources[:, 1].expand(kept),
            weight=weight.expand(*shape, heads, len(weight)),
            in_window=torch.zeros(kept, dtype=torch.bool),
            valid=(weight > 0).expand(kept),
            covered_mass=torch.tensor(self.covered).expand(*shape, heads),
        )


def known(like: Forecaster, *, seed: int = 0, **sources: Any) -> Forecaster:
    """Give a copy of a forecaster that says what is written down in `KnownModel`."""
    forecaster = copy.copy(like)
    forecaster.model = KnownModel(like, sources.pop("coefficient", {}), **sources)  # type: ignore[assignment]
    forecaster.config = like.config.replace({"train": {"seed": seed}})
    return forecaster
