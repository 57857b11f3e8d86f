"""StemGNN: Chebyshev filters on a graph read off the history, gates on its Fourier transform."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.data.windows import Batch

__all__ = ["StemGNN", "chebyshev_terms"]

_TERMS = 4  # of the Chebyshev polynomials
_GATES = 3  # layers on each part of the Fourier transform


class StemGNN(nn.Module):
    """Forecast in the joint spectral domain of time and of a graph that attention makes.

    The published code is followed (it differs from the paper) in sizes and layers; METR-LA's 207
    nodes then give 1.20 million parameters. Two things differ. The graph belongs to a window, where
    that code averages over the windows of a batch, so that a forecast would depend on its company.
    The Chebyshev polynomials start with the identity, where that code starts with zeros.

    The recurrent network runs over the nodes in their order, and its hidden units stand for nodes:
    another order is another model, and the cost grows with the square of the number of nodes.

    Args:
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.
        widening: Hidden channels per step of the history.
        dropout: Share of the attention weights dropped while training.
        slope: Of the attention's leaky unit below 0.

    Source: Cao et al., "Spectral temporal graph neural network for multivariate time-series
    forecasting" (NeurIPS 2020).
    """

    def __init__(
        self,
        *,
        num_nodes: int,
        history_steps: int = 12,
        horizon_steps: int = 12,
        num_channels: int = 1,
        num_covariates: int = 0,
        widening: int = 5,
        dropout: float = 0.5,
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.horizon_steps, self.slope = horizon_steps, slope
        channels = num_channels + num_covariates
        self.recurrent = nn.GRU(channels * history_steps, num_nodes)
        self.key, self.query = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_nodes, 1), gain=1.414))
            for _ in range(2)
        )
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            _Block(history_steps, channels, widening * history_steps, is_last=is_last)
            for is_last in (False, True)
        )
        self.head = nn.Sequential(
            nn.Linear(history_steps, history_steps),
            nn.LeakyReLU(),
            nn.Linear(history_steps, horizon_steps * num_channels),
        )

    def forward(self, batch: Batch) -> Float[Tensor, "batch horizon node channel"]:
        """Forecast every horizon step of every node.

        Args:
            batch: Windows; a missing reading counts as the mean.

        Returns:
            The forecast in z-scores.
        """
        series = batch.values.permute(0, 2, 3, 1)  # (B, N, C, T)
        laplacian = self._laplacian(series)
        forecast, backcast = self.blocks[0](series, laplacian)
        correction, _ = self.blocks[1](backcast, laplacian)
        steps = self.head(forecast + correction)  # (B, N, P * C)
        return steps.unflatten(-1, (self.horizon_steps, -1)).transpose(1, 2)

    def _laplacian(
        self, series: Float[Tensor, "batch node channel history"]
    ) -> Float[Tensor, "batch node node"]:
        """Attend between nodes and give the normalised Laplacian of the symmetric part."""
        hidden, _ = self.recurrent(series.flatten(2).transpose(0, 1))  # (N, B, N)
        hidden = hidden.permute(1, 2, 0)
        score = hidden @ self.key + (hidden @ self.query).mT  # (B, N, N)
        weight = self.dropout(F.leaky_relu(score, self.slope).softmax(-1))
        degree = weight.sum(-1)
        joined = degree > 0  # dropout may take a whole row
        root = torch.where(joined, degree, 1.0).rsqrt() * joined
        difference = torch.diag_embed(degree) - (weight + weight.mT) / 2
        return root[:, :, None] * difference * root[:, None]


class _Block(nn.Module):
    """Filter a series in the spectral domain of graph and time; forecast, and explain it."""

    def __init__(self, history_steps: int, channels: int, width: int, *, is_last: bool) -> None:
        super().__init__()
        inner = _TERMS * width
        sizes = [_TERMS * channels * history_steps] + [inner] * _GATES
        self.real, self.imaginary = (
            nn.ModuleList(
                nn.Sequential(nn.Linear(before, 2 * after), nn.GLU())
                for before, after in pairwise(sizes)
            )
            for _ in range(2)
        )
        self.mix = nn.Parameter(nn.init.xavier_normal_(torch.empty(_TERMS, width, width)))
        self.forecast = nn.Sequential(
            nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, history_steps)
        )
        if not is_last:  # the last block leaves nothing to explain
            self.backcast = nn.Linear(width, channels * history_steps)
            self.shortcut = nn.Linear(channels * history_steps, channels * history_steps)
        self.is_last = is_last

    def forward(
        self,
        series: Float[Tensor, "batch node channel history"],
        laplacian: Float[Tensor, "batch node node"],
    ) -> tuple[
        Float[Tensor, "batch node steps"], Float[Tensor, "batch node channel history"] | None
    ]:
        terms = chebyshev_terms(series.flatten(2), laplacian)
        terms = _precise(terms).unflatten(-1, series.shape[2:])  # (B, N, 4, C, T)
        spectrum = torch.fft.fft(terms)
        real, imaginary = spectrum.real.flatten(2), spectrum.imag.flatten(2)
        for real_gate, imaginary_gate in zip(self.real, self.imaginary, strict=True):
            real, imaginary = real_gate(real), imaginary_gate(imaginary)
        filtered = torch.complex(_precise(real), _precise(imaginary))
        filtered = filtered.unflatten(-1, (_TERMS, -1))  # (B, N, 4, D)
        mixed = torch.einsum("bnkd,kde->bne", torch.fft.ifft(filtered).real, self.mix)
        if self.is_last:
            return self.forecast(mixed), None
        explained = (self.backcast(mixed) - self.shortcut(series.flatten(2))).sigmoid()
        return self.forecast(mixed), explained.view_as(series)


def _precise(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Leave half precision, in which there is no Fourier transform."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def chebyshev_terms(
    series: Float[Tensor, "batch node channel"], laplacian: Float[Tensor, "batch node node"]
) -> Float[Tensor, "batch node 4 channel"]:
    """Filter values on a graph by the first four Chebyshev polynomials of its Laplacian.

    The recurrence runs on the values, which spares the products of matrices.

    Args:
        series: Values of the nodes.
        laplacian: One matrix per window.

    Returns:
        The four filtered series.
    """
    terms = [series, laplacian @ series]
    while len(terms) < _TERMS:
        terms.append(2 * laplacian @ terms[-1] - terms[-2])
    return torch.stack(terms, dim=2)
