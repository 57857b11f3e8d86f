"""What lies around a place: near places in eight directions, layer by layer further away."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sttrans_core.space.relation import Geometry

__all__ = ["Surroundings"]

NUM_AROUND = 9  # a place and the nearest one in each of eight directions


class Surroundings(nn.Module):
    """A residual network over the places around each place; on a grid, a convolution.

    Each layer looks at the place itself and at one other in each of eight directions: one hop away
    in the first layer and in the last, more hops between them (1, 2, 3, 2, 1 for five layers), so
    that a few layers see far. How a field moves shows in its slopes, and these have directions.

    Args:
        width: Channels of a token.
        geometry: Where the nodes are.
        history_steps: Steps of the history.
        num_layers: Layers.
        dropout: Share of channels dropped while training.

    Source: Yu and Koltun, "Multi-scale context aggregation by dilated convolutions" (2016), here
        for places that need not lie on a grid.
    """

    def __init__(
        self,
        width: int,
        *,
        geometry: Geometry,
        history_steps: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.history = nn.Linear(history_steps * width, width)
        hops = [min(layer, num_layers - 1 - layer) + 1 for layer in range(num_layers)]
        self.register_buffer("around", _hop(geometry.around(), hops), persistent=False)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "mix": nn.Sequential(
                        nn.Linear(NUM_AROUND * width, width),
                        nn.GELU(),
                        nn.Linear(width, width),
                        nn.Dropout(dropout),
                    ),
                }
            )
            for _ in hops
        )

    around: Int[Tensor, "layer node direction"]

    def forward(
        self,
        source: Float[Tensor, "batch node history channel"],
        place: Float[Tensor, "node channel"],
        calendar: Float[Tensor, "batch channel"],
    ) -> Float[Tensor, "batch node channel"]:
        """Sum up what is around each place.

        Args:
            source: Source tokens of all nodes.
            place: What each node is like.
            calendar: Calendar embedding of the first step ahead.

        Returns:
            One token per node.
        """
        state = self.history(source.flatten(2)) + place + calendar[:, None]
        for layer, around in zip(self.layers, self.around, strict=True):
            token = nn.functional.pad(layer["norm"](state), (0, 0, 0, 1))  # 0 where there is none
            near = token.index_select(1, around.flatten()).unflatten(1, around.shape)
            state = state + layer["mix"](near.flatten(2))
        return state


def _hop(
    near: Int[Tensor, "node direction"], hops: list[int]
) -> Int[Tensor, "layer node direction"]:
    """Go on in the same direction, from node to node; the number of nodes stands for none."""
    nowhere = near.new_full((1, near.shape[1]), len(near))
    table, reached = torch.cat([near, nowhere]), [near]
    for _ in range(max(hops, default=1) - 1):
        reached.append(table.gather(0, reached[-1]))
    return torch.stack([reached[hop - 1] for hop in hops])
