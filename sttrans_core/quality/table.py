"""Every figure of an alignment's quality in one table, with chance beside it."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.data.splits import split_name
from sttrans_core.evaluation.protocol import evaluate_hits
from sttrans_core.forecaster import Forecaster
from sttrans_core.grid import as_nodes
from sttrans_core.origins import spread_origins
from sttrans_core.quality.coverage import mean_covered_mass
from sttrans_core.quality.curves import NUMBERS, faithfulness_curves
from sttrans_core.quality.orders import Order
from sttrans_core.quality.stability import alignment_stability
from sttrans_core.scores import write_table
from sttrans_core.truth.hits import HitRate

__all__ = ["evaluate_quality"]

ORDERS: tuple[Order, ...] = ("alignment", "integrated_gradients", "nearest", "random")
FIGURES = ["alignment", "integrated_gradients", "nearest", "chance"]


def evaluate_quality(
    forecaster: Forecaster,
    dataset: xr.Dataset,
    *,
    others: Sequence[Forecaster] = (),
    part: Literal["train", "validation", "test"] = "test",
    num_origins: int = 24,
    num_targets: int = 8,
    orders: Sequence[Order] = ORDERS,
    write: bool = False,
) -> pd.DataFrame | None:
    """Ask whether an alignment tells the truth, at origins and places spread evenly over a part.

    The curves take most of the time, about a hundred forecasts for each origin and target.

    Args:
        forecaster: A trained model.
        dataset: The series it was trained on, or another one that fits.
        others: Runs of the same configuration with other seeds, for stability.
        part: Which windows: `train`, `validation` or `test`.
        num_origins: Forecast origins, at most. Hit rates are of as many as `hits.csv` of a run.
        num_targets: Places that are targets at each origin, at most. Hit rates are of all places.
        orders: Of the curves; see `deletion_curve`.
        write: Also write `quality.csv` into the run folder.

    Returns:
        One row a figure, each the better the larger it is; of all segments and heads where these
        are empty. `alignment` is the figure; `integrated_gradients`, `nearest` and `chance` (random
        sources) are what it would be with these instead, NaN where they do not apply.

        `covered_mass` is the share of dense attention. `deletion` and `insertion` are areas of
        curves: above chance, the alignment ranks sources as the forecast depends on them. On
        simulated data `hit_rate` and `cause_share` (of the weight) are of congested targets, or
        of carried ones. With `others`, `jaccard`, `shared_weight` and `correlation` tell how far
        seeds agree; see `alignment_stability`. None where the run has no alignment.

    Raises:
        RunError: The dataset does not fit a run.
        ValueError: A number or choice is out of range, or `others` differ in more than the seed.
        ImportError: Captum is missing and asked for.
    """
    dataset = as_nodes(dataset)
    if not forecaster.has_alignment:
        return None
    if num_targets < 1:
        raise ValueError(
            f"num_targets must be at least 1; got {num_targets}. Look at one place or more."
        )
    data, ids = forecaster.config.data, forecaster.data.nodes
    times = spread_origins(dataset, data, part=part, num_origins=num_origins)
    names = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, num_targets).astype(int))]
    where = f"{split_name(data.split)}, {part} part"
    protocol = f"{where}, {len(times)} origins, {len(names)} of {len(ids)} places"
    tables = []
    if others:  # first, because it may be refused
        pairs = [
            alignment_stability([forecaster, other], dataset, times, nodes=names)
            for other in others
        ]
        table = _stability(xr.concat(pairs, "pair"))
        tables.append(table.assign(protocol=f"{protocol}, {len(others)} other seeds"))
    mass = mean_covered_mass(forecaster, dataset, times, nodes=names)
    num_sources = data.history_steps * (len(ids) - 1)
    curves = faithfulness_curves(
        forecaster, dataset, times, nodes=names, orders=orders, num_random=3,
        numbers=[number for number in NUMBERS if number <= num_sources],
    )  # fmt: skip
    areas = curves["area"].rename(direction="figure").to_pandas()
    areas = areas.rename(columns={"random": "chance"}).reset_index()
    tables = [table.assign(protocol=protocol) for table in (_coverage(mass), areas)] + tables
    hits = evaluate_hits(forecaster, dataset, part=part)
    if hits is not None:
        about = f"{where}, as hits.csv, Top-{hits.by_regime.attrs['top']}"
        tables.append(_hits(hits).assign(protocol=about))
    columns = ["figure", "segment", "head", *FIGURES, "protocol"]
    table = pd.concat(tables, ignore_index=True).reindex(columns=columns)
    table = table.astype({"segment": "Int64", "head": "Int64"})
    if write and forecaster.run_dir is not None:
        write_table(table, forecaster.run_dir / "quality.csv")
    return table


def _coverage(mass: xr.Dataset) -> pd.DataFrame:
    """Give the mean of all, then each segment and head."""
    each = mass.to_dataframe().reset_index().rename(columns={"covered_mass": "alignment"})
    whole = each[["alignment", "chance"]].mean().to_frame().T
    return pd.concat([whole, each], ignore_index=True).assign(figure="covered_mass")


def _stability(pairs: xr.Dataset) -> pd.DataFrame:
    """Give the mean of all pairs and segments, then each segment."""
    each = pairs.mean("pair")
    tables = []
    for figure in ("jaccard", "shared_weight", "correlation"):
        chance = each.get(f"{figure}_chance", xr.zeros_like(each[figure]))
        table = pd.DataFrame({"alignment": each[figure], "chance": chance})
        table = pd.concat([table.mean().to_frame().T, table], ignore_index=True)
        tables.append(table.assign(figure=figure, segment=[None, *each["segment"].values]))
    return pd.concat(tables, ignore_index=True)


def _hits(hits: HitRate) -> pd.DataFrame:
    """Give the mean of all targets in the first regime, which totals are of, then each segment."""
    each = hits.by_regime.isel(regime=0).to_dataframe().reset_index()
    whole: dict[str, Any] = {**hits._asdict(), "segment": None}
    every = pd.concat([pd.DataFrame([whole]), each], ignore_index=True)
    rates = every[["segment", "nearest", "chance"]].assign(
        figure="hit_rate", alignment=every["hit_rate"]
    )
    shares = every[["segment"]].assign(
        figure="cause_share", alignment=every["weight_share"], chance=every["chance_share"]
    )
    return pd.concat([rates, shares], ignore_index=True)
