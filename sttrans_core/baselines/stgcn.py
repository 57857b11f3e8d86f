"""STGCN: gated convolutions along time around Chebyshev graph convolutions."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines.graphs import scaled_laplacian
from sttrans_core.data.windows import Batch

__all__ = ["STGCN"]

_KERNEL = 3  # steps of a convolution along time
_BLOCKS = 2


class STGCN(nn.Module):
    """Forecast from two blocks of convolutions: along time, over the graph, along time.

    The published sizes are the defaults. METR-LA's 207 nodes then give 242 thousand parameters; the
    published code has 246 thousand, one projection of which it never uses. Where the number of
    channels changes, that code pads the residual path with zeros beside a projection that it does
    not use, either; here it is used.

    Args:
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees; fewer than nine follow on the mean.
        horizon_steps: Steps that are forecast.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.
        adjacency: Edge weights, at least 0; the larger one of both directions counts.
        width: Channels between the blocks.
        graph_width: Channels of the graph convolution.
        head: Hidden channels of the head.
        dropout: Share of activations dropped while training.

    Raises:
        ValueError: The adjacency is not square over the nodes.

    Source: Yu, Yin and Zhu, "Spatio-temporal graph convolutional networks: a deep learning
    framework for traffic forecasting" (IJCAI 2018), with the convolution of its eq. 3.
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        history_steps: int = 12,
        horizon_steps: int = 12,
        num_channels: int = 1,
        num_covariates: int = 0,
        adjacency: Float[np.ndarray, "node node"],
        width: int = 64,
        graph_width: int = 16,
        head: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.horizon_steps = horizon_steps
        eaten = 2 * _BLOCKS * (_KERNEL - 1)  # steps
        self.padding = max(eaten + 1 - history_steps, 0)
        self.laplacian: Tensor
        self.register_buffer("laplacian", scaled_laplacian(adjacency, num_nodes=num_nodes))
        self.blocks = nn.ModuleList(
            _Block(num_nodes, channels, width, graph_width, dropout=dropout)
            for channels in (num_channels + num_covariates, width)
        )
        kernel = history_steps + self.padding - eaten
        self.last = nn.Sequential(
            _GatedConvolution(width, head, kernel=kernel), nn.LayerNorm([num_nodes, head])
        )
        self.head = nn.Sequential(
            nn.Linear(head, head), nn.ReLU(), nn.Linear(head, horizon_steps * num_channels)
        )

    def forward(self, batch: Batch) -> Float[Tensor, "batch horizon node channel"]:
        """Forecast every horizon step of every node.

        Args:
            batch: Windows; a missing reading counts as the mean.

        Returns:
            The forecast in z-scores.
        """
        token = F.pad(batch.values, (0, 0, 0, 0, self.padding, 0))  # (B, T, N, C)
        for block in self.blocks:
            token = block(token, self.laplacian)
        forecast = self.head(self.last(token).squeeze(1))  # (B, N, P * C)
        return forecast.unflatten(-1, (self.horizon_steps, -1)).transpose(1, 2)


class _Block(nn.Module):
    """Time, graph, time; then normalised over all nodes and channels of a step."""

    def __init__(
        self, num_nodes: int, channels: int, width: int, graph_width: int, *, dropout: float
    ) -> None:
        super().__init__()
        self.before = _GatedConvolution(channels, width, kernel=_KERNEL)
        self.narrow = nn.Linear(width, graph_width)
        self.graph = _ChebyshevConvolution(graph_width)
        self.after = _GatedConvolution(graph_width, width, kernel=_KERNEL)
        self.norm = nn.LayerNorm([num_nodes, width])
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, token: Float[Tensor, "batch steps node _"], laplacian: Float[Tensor, "node node"]
    ) -> Float[Tensor, "batch history node channel"]:
        narrow = self.narrow(self.before(token))
        token = self.after((self.graph(narrow, laplacian) + narrow).relu())
        return self.dropout(self.norm(token))


class _GatedConvolution(nn.Module):
    """A gated linear unit over some consecutive steps, around a residual connection."""

    def __init__(self, channels: int, width: int, *, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.gates = nn.Linear(kernel * channels, 2 * width)
        self.residual = nn.Identity() if channels == width else nn.Linear(channels, width)

    def forward(
        self, token: Float[Tensor, "batch steps node _"]
    ) -> Float[Tensor, "batch history node channel"]:
        """Give the steps that have all earlier ones of their kernel."""
        remaining = token.shape[1] - self.kernel + 1
        seen = [token[:, first : first + remaining] for first in range(self.kernel)]
        value, gate = self.gates(torch.cat(seen, dim=-1)).chunk(2, dim=-1)
        return (value + self.residual(seen[-1])) * gate.sigmoid()


class _ChebyshevConvolution(nn.Module):
    """A polynomial of second degree of the graph's Laplacian, with weights between channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * width, width)

    def forward(
        self,
        token: Float[Tensor, "batch history node channel"],
        laplacian: Float[Tensor, "node node"],
    ) -> Float[Tensor, "batch history node channel"]:
        once = laplacian @ token
        twice = 2 * laplacian @ once - token  # T2(L) = 2 L^2 - 1
        return self.mix(torch.cat([token, once, twice], dim=-1))
