"""What a place's own readings, and what lies around it, say of its future."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Outlook"]


class Outlook(nn.Module):
    """A residual network over a place's history, calendar, earlier days, surroundings, and itself.

    Four times as wide as a token: which days and places are alike takes more channels than what a
    source says. Its state is what the queries of the alignment are made of, and a first forecast.

    Args:
        width: Channels of a token.
        num_nodes: Nodes.
        history_steps: Steps of the history.
        num_segments: Segments of the horizon.
        num_outputs: Values that are forecast of a place.
        num_earlier: Values of earlier days that a window holds of a place; none without lags.
        has_surroundings: Whether it is told what lies around the place.
        dropout: Share of hidden channels dropped while training.

    Source: Shao et al., "Spatial-temporal identity" (STID, CIKM 2022), for a wide network over
    history, place and calendar side by side.
    """

    def __init__(
        self,
        width: int,
        *,
        num_nodes: int,
        history_steps: int,
        num_segments: int,
        num_outputs: int,
        num_earlier: int,
        has_surroundings: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        hidden = 4 * width
        self.num_segments = num_segments
        self.history = nn.Linear(history_steps * width, width)
        self.place = nn.Parameter(torch.randn(num_nodes, width) * 0.3)
        self.earlier = nn.Linear(num_earlier, width) if num_earlier else None
        num_parts = 3 + (self.earlier is not None) + has_surroundings
        self.mix = nn.Linear(num_parts * width, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
            )
            for _ in range(2)
        )
        self.query = nn.Linear(hidden, num_segments * width)
        self.forecast = nn.Linear(hidden, num_outputs)

    def forward(
        self,
        history: Float[Tensor, "batch query history channel"],
        calendar: Float[Tensor, "batch channel"],
        place: Float[Tensor, "query channel"],
        earlier: Float[Tensor, "batch steps query lag"] | None,
        around: Float[Tensor, "batch query channel"] | None,
    ) -> tuple[Float[Tensor, "batch query segment channel"], Float[Tensor, "batch query quantity"]]:
        """Give the queries of each segment, and a first forecast.

        Args:
            history: Tokens of the place's own steps.
            calendar: Calendar embedding of the first step ahead.
            place: Rows of `self.place` of the queried nodes.
            earlier: Values of earlier days at every step.
            around: What lies around each place.

        Returns:
            Queries; z-scores of every horizon step and channel to be added to the forecast.
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
        state = self.mix(torch.cat(parts, dim=-1))  # (B, Q, 4 D)
        for block in self.blocks:
            state = state + block(state)
        return self.query(state).unflatten(2, (self.num_segments, -1)), self.forecast(state)
