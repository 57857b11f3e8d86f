"""Fusion: from the aligned sources to an updated state."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.model.mixing import mix_bases
from sttrans_core.model.residual import ResidualNetwork

__all__ = ["DynamicValues", "SpatioTemporalFusion", "StaticValues"]


class StaticValues(nn.Module):
    """One value projection per head (the ablation).

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm, self.value = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(
        self, source: Float[Tensor, "batch node history channel"]
    ) -> Float[Tensor, "batch node history head value_dim"]:
        """Project each source to its values."""
        return self.value(self.norm(source)).unflatten(-1, (self.num_heads, -1))


class DynamicValues(nn.Module):
    """Per-head value projections generated from the content of each source.

    A head's projection is a mixture of a small set of learned basis projections,
    `W_h(s) = sum_m a_hm(s) W_m`, with mixing weights `a_h(s) = softmax(G_h s)`: what a source
    says depends on the state that it is in, at the cost of a few projections instead of one
    matrix per source.

    Args:
        width: Channels of a token.
        num_heads: Attention heads.
        num_bases: Basis projections.

    Source: Cai, "Improvement of spatio-temporal prediction model", dynamic weight generation in
    the value projection.
    """

    def __init__(self, width: int, num_heads: int, *, num_bases: int) -> None:
        super().__init__()
        self.num_heads, self.num_bases = num_heads, num_bases
        self.norm = nn.LayerNorm(width)
        self.bases = nn.Linear(width, num_bases * width, bias=False)  # the norm before it has one
        self.mixing = nn.Linear(width, num_heads * num_bases)

    def forward(
        self, source: Float[Tensor, "batch node history channel"]
    ) -> Float[Tensor, "batch node history head value_dim"]:
        """Project each source to its values."""
        source = self.norm(source)
        bases = self.bases(source).unflatten(-1, (self.num_bases, self.num_heads, -1))
        mixing = self.mixing(source).unflatten(-1, (self.num_bases, self.num_heads))
        return mix_bases(bases, mixing)


class SpatioTemporalFusion(nn.Module):
    """Add what the aligned sources say to the state of a place, through a gate; then refine it.

    From state and aggregated sources side by side, `state + sigmoid(gate) * update`; a residual
    network follows. The ablation adds the update without a gate.

    Args:
        width: Channels of a state.
        source_width: Channels of what is aggregated for a place, all segments together.
        residual: `gated` or `plain`.
        dropout: Share of hidden channels dropped while training.

    Source: Cai, "Improvement of spatio-temporal prediction model", fusion module, second stage.
    """

    def __init__(
        self,
        width: int,
        source_width: int,
        *,
        residual: Literal["gated", "plain"],
        dropout: float,
    ) -> None:
        super().__init__()
        both = width + source_width
        self.norm = nn.LayerNorm(both)
        self.update = nn.Linear(both, width)
        self.gate = nn.Linear(both, width) if residual == "gated" else None
        self.network = ResidualNetwork(width, dropout=dropout)

    def forward(
        self,
        state: Float[Tensor, "batch query state"],
        aggregated: Float[Tensor, "batch query segment channel"],
    ) -> Float[Tensor, "batch query state"]:
        """Fuse what was found into the state of a place.

        Args:
            state: What is known of each place so far.
            aggregated: Weighted sum of the values of its sources, for each segment.

        Returns:
            The updated states.
        """
        both = self.norm(torch.cat([state, aggregated.flatten(2)], dim=-1))
        update = self.update(both)
        if self.gate is not None:
            update = torch.sigmoid(self.gate(both)) * update
        return self.network(state + update)
