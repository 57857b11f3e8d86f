"""Residual blocks over the state of a place."""

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ResidualNetwork"]


class ResidualNetwork(nn.Module):
    """Refine a state: each block adds what two layers make of it.

    Args:
        width: Channels of a state.
        num_blocks: Blocks.
        dropout: Share of hidden channels dropped while training.

    Source: Shao et al., "Spatial-temporal identity" (STID, CIKM 2022).
    """

    def __init__(self, width: int, *, num_blocks: int = 2, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
            )
            for _ in range(num_blocks)
        )

    def forward(
        self, state: Float[Tensor, "batch query state"]
    ) -> Float[Tensor, "batch query state"]:
        """Add what each block makes of the state."""
        for block in self.blocks:
            state = state + block(state)
        return state
