"""What a place's own readings, and what lies around it, say of its future."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.model.residual import ResidualNetwork

__all__ = ["Outlook"]


class Outlook(nn.Module):
    """A residual network over a place's history, calendar, earlier days, surroundings, and itself.

    A state is wider than a token: which days and places are alike takes more channels than what a
    source says.

    Args:
        width: Channels of a token.
        state_width: Channels of a state.
        num_nodes: Nodes.
        history_steps: Steps of the history.
        num_earlier: Values of earlier days that a window holds of a place; none without lags.
        has_surroundings: Whether it is told what lies around the place.
        dropout: Share of hidden channels dropped while training.

    Source: Shao et al., "Spatial-temporal identity" (STID, CIKM 2022), for a network over history,
    place and calendar side by side.
    """

    def __init__(
        self,
        width: int,
        state_width: int,
        *,
        num_nodes: int,
        history_steps: int,
        num_earlier: int,
        has_surroundings: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.history = nn.Linear(history_steps * width, width)
        self.place = nn.Parameter(torch.randn(num_nodes, width) * 0.3)
        self.earlier = nn.Linear(num_earlier, width) if num_earlier else None
        num_parts = 3 + (self.earlier is not None) + has_surroundings
        self.mix = nn.Linear(num_parts * width, state_width)
        self.network = ResidualNetwork(state_width, dropout=dropout)

    def forward(
        self,
        history: Float[Tensor, "batch query history channel"],
        calendar: Float[Tensor, "batch channel"],
        place: Float[Tensor, "query channel"],
        earlier: Float[Tensor, "batch steps query lag"] | None,
        around: Float[Tensor, "batch query channel"] | None,
    ) -> Float[Tensor, "batch query state"]:
        """Sum up what a place itself says of its future.

        Args:
            history: Tokens of the place's own steps.
            calendar: Calendar embedding of the first step ahead.
            place: Rows of `self.place` of the queried nodes.
            earlier: Values of earlier days at every step.
            around: What lies around each place.

        Returns:
            A state of each place.
        """
        size = history.shape[:2]
        parts = [
            self.history(history.flatten(2)),
            place.expand(*size, -1),
            calendar[:, None].expand(*size, -1),
        ]
        if self.earlier is not None and earlier is not None:
            parts.append(self.earlier(earlier.transpose(1, 2).flatten(2)))
        if around is not None:
            parts.append(around)
        return self.network(self.mix(torch.cat(parts, dim=-1)))
