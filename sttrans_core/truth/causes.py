"""The true causes of simulated readings, whatever moved them: traffic or the wind."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from sttrans_core.truth.characteristics import Characteristics
from sttrans_core.truth.lines import node_indices, origin_index
from sttrans_core.truth.trajectories import Trajectories

__all__ = ["has_truth", "true_causes", "truth_of"]


def has_truth(dataset: xr.Dataset) -> bool:
    """Say whether a dataset carries what its true causes are known from.

    Args:
        dataset: A labelled dataset.

    Returns:
        True for a simulated freeway and for simulated weather with all its cells.
    """
    return not (Characteristics.missing(dataset) and Trajectories.missing(dataset))


def truth_of(dataset: xr.Dataset, *, stay_in_regime: bool = True) -> Characteristics | Trajectories:
    """Read from a simulated dataset what its causes are known from.

    Args:
        dataset: A node dataset.
        stay_in_regime: As in `true_causes`.

    Returns:
        What follows lines to the causes.

    Raises:
        ValueError: The dataset has no truth.
    """
    if not (missing := Characteristics.missing(dataset)):
        return Characteristics.of(dataset, stay_in_regime=stay_in_regime)
    if not Trajectories.missing(dataset):
        return Trajectories.of(dataset)
    raise ValueError(
        f"A dataset must carry its truth for true causes to be known; got none of "
        f"{', '.join(missing)}. Use a simulated freeway, or simulated weather with all its cells."
    )


def true_causes(
    dataset: xr.Dataset,
    time: object,
    *,
    horizon_step: int,
    nodes: Iterable[str] | None = None,
    history_steps: int = 12,
    stay_in_regime: bool = True,
) -> xr.Dataset:
    """Give the sources that truly cause the reading at each target, within the history.

    Args:
        dataset: A simulated freeway, with `noiseless`, `corridor` and `milepost_km`; or simulated
            weather, with `wind_east` and `wind_north`.
        time: Forecast origin, the time stamp of the last history step.
        horizon_step: Step of the target after the origin, 1 or more.
        nodes: Ids of the targets; all by default.
        history_steps: Steps of the history that ends at `time`.
        stay_in_regime: On a freeway, end the line where it leaves the queue (or the free
            stretch) of its target, as the theory has it: behind the head of a queue, traffic comes
            from elsewhere. Otherwise follow it straight to the end of the corridor.

    Returns:
        A dataset with `line_node(query_node, history_step)`, the index of the node that the line
        passes nearest, -1 where it has left the corridor, the regime or the grid;
        `near_line(query_node, history_step, node)`, what is within one node (along the corridor,
        or in both directions of the grid) and one step; `scorable(query_node)`, whether the line
        passes the history at all; and, on a freeway, `congested(query_node)`, whether the true
        speed at the target is below critical.

    Raises:
        ValueError: The dataset has no truth, or time, horizon, history or nodes are not in it.

    Source: C. F. Daganzo, "The cell transmission model", Transportation Research B 28 (1994), on
        the kinematic waves of M. J. Lighthill and G. B. Whitham (1955).
    """
    dataset = as_nodes(dataset)
    truth = truth_of(dataset, stay_in_regime=stay_in_regime)
    if horizon_step < 1 or history_steps < 1:
        raise ValueError(
            f"horizon_step and history_steps must be at least 1; got {horizon_step} and "
            f"{history_steps}. Count from the first forecast step."
        )
    ids = dataset["node"].values
    chosen = ids if nodes is None else np.array(list(nodes))
    lines = truth.lines(
        node_indices(dataset, chosen),
        origin=origin_index(dataset, time, history_steps),
        horizon_step=horizon_step,
        history_steps=history_steps,
    )
    causes = xr.Dataset(
        {
            "line_node": (("query_node", "history_step"), lines.node),
            "near_line": (("query_node", "history_step", "node"), truth.near(lines.node)),
            "scorable": ("query_node", (lines.node >= 0).any(1)),
        },
        coords={
            "query_node": chosen,
            "history_step": np.arange(history_steps),
            "node": ids,
            "time": pd.Timestamp(time),
            "horizon_step": horizon_step,
        },
    )
    if "congested" in truth.regimes:
        is_congested = lines.regime == truth.regimes.index("congested")
        causes["congested"] = ("query_node", is_congested & lines.is_known)
    return causes
