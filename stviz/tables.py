"""Tables that are read rather than drawn: the sources of a forecast, scores of models."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from stviz.labels import clock, time_unit
from stviz.prepare import prepare_scores
from stviz.prepare_sources import prepare_alignment

__all__ = ["alignment_table", "scores_table"]


def alignment_table(
    alignment: xr.Dataset,
    *,
    node: str | Sequence[str] | None = None,
    segment: int = 1,
    head: int | None = None,
    topk: int | None = 16,
    min_weight: float = 0.0,
) -> pd.DataFrame:
    """List the sources of one forecast, strongest first, with units in the column names.

    Args:
        alignment: A labelled alignment.
        node: The target, or several together; may be left out where there is only one.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: List at most this many sources; all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.

    Returns:
        Index rank; columns place, time, lag (min or h) behind the first step of the segment,
        distance (km), direction, weight (%), found in, and the reading there in its unit.

    Raises:
        ValueError: As for `prepare_alignment`.
    """
    sources = prepare_alignment(
        alignment, node=node, segment=segment, head=head, topk=topk, min_weight=min_weight
    )
    at = sources.attrs
    reading = f"{at['quantity']} ({at['units']})" if at["units"] else at["quantity"]
    unit, scale = time_unit(at["interval_minutes"])
    table = pd.DataFrame(
        {
            "place": sources["node"],
            "time": sources["time"].map(clock),
            f"lag ({unit})": (sources["lag_minutes"] / scale).round(2),
            "distance (km)": sources["distance_km"].round(2),
            "direction": sources["direction"],
            "weight (%)": (100 * sources["weight"]).round(2),
            "found in": sources["found_in"],
            reading: sources["reading"].round(1),
        }
    )
    table.index = pd.Index(sources["rank"], name="rank")
    table.attrs = dict(at)
    return table


def scores_table(
    scores: xr.Dataset, *, metric: str = "mae", minutes: Sequence[float] = (5, 15, 30, 60)
) -> pd.DataFrame:
    """Compare models at a few lead times and on average over all steps.

    Args:
        scores: Labelled scores over (model, horizon).
        metric: "mae", "rmse" or "mape".
        minutes: Lead times to show; those that were not scored are left out.

    Returns:
        Index model; one column per lead time such as "15 min" or "6 h", and "mean of n steps", in
        the units of the scores (percent for MAPE).

    Raises:
        ValueError: The metric is not there, or none of the lead times was scored.
    """
    frame = prepare_scores(scores, metric=metric)
    wide = frame.pivot_table("value", index="model", columns="lead_minutes", dropna=False)
    wide = wide.loc[frame["model"].drop_duplicates()]
    shown = [lead for lead in minutes if lead in wide.columns]
    if not shown:
        raise ValueError(
            f"minutes must name lead times that were scored; got {list(minutes)} with scores at "
            f"{wide.columns.tolist()}. Pass some of these."
        )
    unit, scale = time_unit(wide.columns.min())
    table = wide[shown].rename(columns=lambda lead: f"{lead / scale:g} {unit}")
    table[f"mean of {wide.shape[1]} steps"] = wide.mean(axis=1)
    table.columns.name = None
    unit = "%" if metric == "mape" else scores.attrs.get("units", "")
    table.attrs = {"metric": metric, "units": unit, "protocol": scores.attrs.get("protocol", "")}
    return table
