"""Orders in which the sources of a forecast are hidden or revealed."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
import xarray as xr

from sttrans_core.data.windows import Batch
from sttrans_core.forecaster import Forecaster
from sttrans_core.quality.gradients import integrated_gradients

__all__ = ["Order", "Ranking", "check_orders", "ranked_sources"]

Order = Literal["alignment", "integrated_gradients", "nearest", "random"]


class Ranking(NamedTuple):
    """The sources of one target, those to be hidden or revealed first in front.

    Attributes:
        order: Position of the order among those that were asked for.
        sources: Flat (step, node) indices of every observed reading of another place.
    """

    order: int
    sources: np.ndarray


def check_orders(orders: Sequence[str], num_random: int) -> None:
    """Refuse unknown orders, none, and random ones without a draw.

    Args:
        orders: Names.
        num_random: Random orders to average.

    Raises:
        ValueError: A name is unknown or there is none, or `num_random` is below 1.
    """
    known = get_args(Order)
    unknown = [order for order in orders if order not in known]
    if unknown or not orders:
        raise ValueError(
            f"orders must be among {', '.join(known)}; got "
            f"{repr(unknown[0]) if unknown else 'none'}. Choose some of them."
        )
    if num_random < 1:
        raise ValueError(
            f"num_random must be at least 1; got {num_random}. Ask for one random order."
        )


def ranked_sources(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    times: np.ndarray,
    targets: Sequence[int],
    *,
    orders: Sequence[Order],
    num_random: int,
    seed: int,
) -> Iterator[tuple[Batch, list[list[Ranking]]]]:
    """Rank the sources of targets in several orders, origin by origin.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        times: Forecast origins.
        targets: Node indices.
        orders: Which orders; see `deletion_curve`.
        num_random: Random orders.
        seed: Of the random orders.

    Yields:
        For each origin its window, and for each target one ranking an order, `num_random` ones of
        the random order.
    """
    names = [forecaster.data.nodes[target] for target in targets]
    rng = np.random.default_rng(seed)
    scores: dict[str, np.ndarray] = {}  # each (target, step, node)
    if "nearest" in orders:
        scores["nearest"] = np.stack([_nearness(forecaster, target) for target in targets])
    gradients = None
    if "integrated_gradients" in orders:
        gradients = integrated_gradients(forecaster, dataset, times, nodes=names)["attribution"]
    for step, time in enumerate(times):
        batch = forecaster.batch(dataset, [time])
        seen = batch.observed[0].cpu().numpy()
        if "alignment" in orders:
            scores["alignment"] = _weights(forecaster.align(dataset, time, names), seen.shape)
        if gradients is not None:
            scores["integrated_gradients"] = np.abs(gradients.values[step])
        ranked = []
        for position, target in enumerate(targets):
            is_source = seen.copy()
            is_source[:, target] = False  # the target's own history is no source
            sources = np.flatnonzero(is_source)
            rankings = []
            for order, name in enumerate(orders):
                if name == "random":
                    several = [rng.permutation(sources) for _ in range(num_random)]
                else:  # sources of no weight come last
                    score = scores[name][position].ravel()[sources]
                    several = [sources[np.argsort(-score, kind="stable")]]
                rankings += [Ranking(order, each) for each in several]
            ranked.append(rankings)
        yield batch, ranked


def _weights(alignment: xr.Dataset, shape: tuple[int, ...]) -> np.ndarray:
    """Sum the weights of each (step, node), averaged over heads, over the segments of a query."""
    total = np.zeros((alignment.sizes["query_node"], *shape))
    query = np.arange(len(total))[:, None, None]
    at = query, alignment["source_step"].values, alignment["source_node_index"].values
    np.add.at(total, at, alignment["weight"].mean("head").values)
    return total


def _nearness(forecaster: Forecaster, node: int) -> np.ndarray:
    """Score sources by distance to the target, the newest step of a place first."""
    history = forecaster.config.data.history_steps
    geometry = forecaster.aligned()[0].geometry
    everyone = torch.arange(geometry.num_nodes, device=geometry.position.device)
    east, north = geometry.offsets_km(torch.full_like(everyone, node), everyone)
    distance = torch.hypot(east, north).cpu().numpy()
    rank = np.argsort(np.argsort(distance, kind="stable"))
    return np.arange(history)[:, None] - rank * history
