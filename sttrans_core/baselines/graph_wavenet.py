"""Graph WaveNet: dilated convolutions along time, diffusion on a given and on a learned graph."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.graphs import transition_matrices
from sttrans_core.data.windows import Batch

__all__ = ["GraphWaveNet"]

_DILATIONS = (1, 2) * 4
_RECEPTIVE_FIELD = 1 + sum(_DILATIONS)  # steps, with kernels of two


class GraphWaveNet(nn.Module):
    """Forecast from gated dilated convolutions, each followed by diffusion over the graph.

    The published sizes are the defaults; METR-LA's 207 nodes then give 309 thousand parameters. The
    published code has as many, but builds eight projections that it never uses and drops what its
    last diffusion gives; here one more skip connection reads that.

    Args:
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees. The thirteen newest count; where there are fewer,
            the mean stands before them.
        horizon_steps: Steps that are forecast.
        steps_per_day: Slots of the time of day.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.
        adjacency: Edge weights from row to column; None leaves the learned graph alone.
        width: Channels of a token.
        node_dim: Channels of a node's two embeddings, whose products are the learned graph.
        skip: Channels that the skip connections sum up.
        head: Hidden channels of the head.
        dropout: Share of activations dropped while training.

    Raises:
        ValueError: The adjacency is not square over the nodes.

    Source: Wu et al., "Graph WaveNet for deep spatial-temporal graph modeling" (IJCAI 2019).
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        history_steps: int = 12,
        horizon_steps: int = 12,
        steps_per_day: int = 288,
        num_channels: int = 1,
        num_covariates: int = 0,
        adjacency: Float[np.ndarray, "node node"] | None = None,
        width: int = 32,
        node_dim: int = 10,
        skip: int = 256,
        head: int = 512,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.steps_per_day, self.horizon_steps = steps_per_day, horizon_steps
        self.padding = max(_RECEPTIVE_FIELD - history_steps, 0)
        given = (
            torch.empty(0, num_nodes, num_nodes)
            if adjacency is None
            else transition_matrices(adjacency, num_nodes=num_nodes)
        )
        self.given: Tensor
        self.register_buffer("given", given)
        self.towards = nn.Parameter(torch.randn(num_nodes, node_dim))
        self.away = nn.Parameter(torch.randn(node_dim, num_nodes))
        # A reading comes with the time of day.
        self.reading = nn.Linear(num_channels + num_covariates + 1, width)
        self.layers = nn.ModuleList(
            _Layer(width, dilation=dilation, num_graphs=len(given) + 1, dropout=dropout)
            for dilation in _DILATIONS
        )
        self.skips = nn.ModuleList(nn.Linear(width, skip) for _ in range(len(_DILATIONS) + 1))
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Linear(skip, head),
            nn.ReLU(),
            nn.Linear(head, horizon_steps * num_channels),
        )

    def forward(self, batch: Batch) -> Float[Tensor, "batch horizon node channel"]:
        """Forecast every horizon step of every node.

        Args:
            batch: Windows; a missing reading counts as the mean.

        Returns:
            The forecast in z-scores.
        """
        values = batch.values
        share = batch.time_of_day[:, : values.shape[1]] / self.steps_per_day  # (B, T)
        share = share[:, :, None, None].expand(-1, -1, values.shape[2], -1)
        reading = F.pad(torch.cat([values, share], dim=-1), (0, 0, 0, 0, self.padding, 0))
        # Nodes lead, so that diffusion is one product of matrices.
        token = self.reading(reading.permute(2, 0, 1, 3))  # (N, B, T, D)
        learned = (self.towards @ self.away).relu().softmax(1)
        graphs = [*self.given, learned]
        newest = []  # the forecast reads no other step
        for layer in self.layers:
            token, gated = layer(token, graphs)
            newest.append(gated[:, :, -1])
        newest.append(token[:, :, -1])
        skips = torch.stack([skip(step) for skip, step in zip(self.skips, newest, strict=True)])
        forecast = self.head(skips.sum(0))  # (N, B, P * C)
        return forecast.unflatten(-1, (self.horizon_steps, -1)).permute(1, 2, 0, 3)


class _Layer(nn.Module):
    """A gated convolution over two steps, then diffusion by up to two hops on each graph."""

    def __init__(self, width: int, *, dilation: int, num_graphs: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.gates = nn.Linear(2 * width, 2 * width)
        self.mix = nn.Linear((1 + 2 * num_graphs) * width, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm1d(width)

    def forward(
        self,
        token: Float[Tensor, "node batch steps channel"],
        graphs: list[Float[Tensor, "node node"]],
    ) -> tuple[
        Float[Tensor, "node batch history channel"], Float[Tensor, "node batch history channel"]
    ]:
        """Give the tokens of the steps that remain, and the gated ones before the diffusion."""
        newer = token[:, :, self.dilation :]
        both = torch.cat([token[:, :, : -self.dilation], newer], dim=-1)
        filtered, gate = self.gates(both).chunk(2, dim=-1)
        gated = filtered.tanh() * gate.sigmoid()  # (N, B, T - dilation, D)
        hops = [gated.flatten(1)]
        for graph in graphs:
            once = graph @ hops[0]
            hops += [once, graph @ once]
        spread = torch.cat([hop.view_as(gated) for hop in hops], dim=-1)
        token = self.dropout(self.mix(spread)) + newer
        return self.norm(token.flatten(0, 2)).view_as(token), gated
