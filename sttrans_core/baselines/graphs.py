"""An adjacency as the matrices that graph convolutions multiply with."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["scaled_laplacian", "transition_matrices"]


def transition_matrices(
    adjacency: Float[np.ndarray, "node node"], *, num_nodes: int
) -> Float[Tensor, "2 node node"]:
    """Give the shares of a walk's next step along the edges, and against them.

    Args:
        adjacency: Edge weights from row to column, at least 0.
        num_nodes: Nodes of the model.

    Returns:
        Two matrices; each row sums to 1, or to 0 where no edge leads.

    Raises:
        ValueError: The adjacency is not square over the nodes.

    Source: Li et al., "Diffusion convolutional recurrent neural network" (2018), eq. 2.
    """
    weight = _checked(adjacency, num_nodes)
    both = np.stack([weight, weight.T])
    total = both.sum(2, keepdims=True)
    return torch.from_numpy(
        np.divide(both, total, out=np.zeros_like(both), where=total > 0)
    ).float()


def scaled_laplacian(
    adjacency: Float[np.ndarray, "node node"], *, num_nodes: int
) -> Float[Tensor, "node node"]:
    """Give the normalised Laplacian of the undirected graph, shifted into [-1, 1].

    That is where Chebyshev polynomials live. Its largest eigenvalue is taken as 2, the bound.

    Args:
        adjacency: Edge weights, at least 0; the larger one of both directions counts.
        num_nodes: Nodes of the model.

    Returns:
        A symmetric matrix, `-D^(-1/2) A D^(-1/2)` with the degrees `D`.

    Raises:
        ValueError: The adjacency is not square over the nodes.

    Source: Defferrard et al., "Convolutional neural networks on graphs with fast localized spectral
    filtering" (2016), section 2.1; Kipf and Welling (2017) for the bound.
    """
    weight = _checked(adjacency, num_nodes)
    weight = np.maximum(weight, weight.T)
    degree = weight.sum(1)
    root = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return torch.from_numpy(-root[:, None] * weight * root).float()


def _checked(adjacency: np.ndarray, num_nodes: int) -> np.ndarray:
    if adjacency.shape != (num_nodes, num_nodes):
        raise ValueError(
            f"adjacency must have a row and a column for each of {num_nodes} nodes; got shape "
            f"{adjacency.shape}. Pass the graph of the same data, or adjacency_from_locations."
        )
    return adjacency.astype(np.float64)
