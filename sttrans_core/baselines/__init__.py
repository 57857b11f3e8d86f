"""What a forecast must beat."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import nn

from sttrans_core.baselines.arima import ARIMA
from sttrans_core.baselines.climatology import AnomalyPersistence, Climatology, covers_seasons
from sttrans_core.baselines.graph_wavenet import GraphWaveNet
from sttrans_core.baselines.naive import HistoricalAverage, LastObserved, LastValue
from sttrans_core.baselines.pooled_regression import PooledRegression
from sttrans_core.baselines.ridge import Ridge
from sttrans_core.baselines.seasonal import SeasonalNaive
from sttrans_core.baselines.staeformer import STAEformer
from sttrans_core.baselines.stemgnn import StemGNN
from sttrans_core.baselines.stgcn import STGCN
from sttrans_core.baselines.stid import STID
from sttrans_core.baselines.types import FittedBaseline

__all__ = [
    "ARIMA",
    "FITTED",
    "TRAINED",
    "AnomalyPersistence",
    "Climatology",
    "FittedBaseline",
    "HistoricalAverage",
    "LastObserved",
    "LastValue",
    "PooledRegression",
    "Ridge",
    "SeasonalNaive",
    "build_baseline",
    "covers_seasons",
]

# Trained by gradient descent, by the name that a configuration gives them.
TRAINED: dict[str, type[nn.Module]] = {
    "stid": STID,
    "stgcn": STGCN,
    "graph_wavenet": GraphWaveNet,
    "stemgnn": StemGNN,
    "staeformer": STAEformer,
}
# Fitted or merely looked up: each is called with a dataset and `num_train_steps`, regressions with
# `horizon_steps`, too, where that is not 12, and the pooled one with `history_steps` and `lags`.
FITTED: dict[str, Callable[..., FittedBaseline]] = {
    "last_value": LastValue,
    "last_observed": LastObserved,
    "historical_average": HistoricalAverage,
    "same_time_yesterday": partial(SeasonalNaive, days=1),
    "same_time_last_week": partial(SeasonalNaive, days=7),
    "climatology": Climatology,
    "anomaly_persistence": AnomalyPersistence,
    "ridge": Ridge,
    "pooled_regression": PooledRegression,
    "arima": ARIMA,
}


def build_baseline(
    name: str,
    *,
    num_nodes: int,
    history_steps: int,
    horizon_steps: int,
    steps_per_day: int,
    adjacency: Float[np.ndarray, "node node"],
    has_weekday: bool = True,
    num_channels: int = 1,
    num_covariates: int = 0,
) -> nn.Module:
    """Build a trained baseline in its published size.

    Args:
        name: One of `TRAINED`.
        num_nodes: Nodes.
        history_steps: Steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        steps_per_day: Slots of the time of day.
        adjacency: Edge weights from row to column, at least 0; `adjacency_from_locations` makes
            them where no graph is known.
        has_weekday: Whether the training period covers weeks.
        num_channels: What is forecast, the first channels of the readings.
        num_covariates: Further channels of the readings.

    Returns:
        The untrained model: a batch in, z-scores (batch, horizon, node, channel) out.

    Raises:
        ValueError: There is no such baseline, or the adjacency is not square over the nodes.
    """
    calendar = {"steps_per_day": steps_per_day, "has_weekday": has_weekday}
    needs: dict[str, dict[str, object]] = {
        "stid": calendar,
        "stgcn": {"adjacency": adjacency},
        "graph_wavenet": {"adjacency": adjacency, "steps_per_day": steps_per_day},
        "stemgnn": {},
        "staeformer": calendar,
    }
    if name not in needs:
        raise ValueError(
            f"A trained baseline must be one of {', '.join(TRAINED)}; got {name!r}. "
            "Choose one of them."
        )
    return TRAINED[name](
        num_nodes=num_nodes,
        history_steps=history_steps,
        horizon_steps=horizon_steps,
        num_channels=num_channels,
        num_covariates=num_covariates,
        **needs[name],
    )
