"""From a labelled alignment to a tidy table of the sources behind one forecast. Pure functions."""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import check_alignment
from stviz.geography import distance_km
from stviz.labels import DOT, clock, describe_lead, mark_simulated, minutes_per_step, pick

__all__ = ["describe_alignment", "prepare_alignment", "prepare_causes", "sum_by_place"]


def prepare_alignment(
    alignment: xr.Dataset,
    *,
    node: str | None = None,
    segment: int = 1,
    head: int | None = None,
    topk: int | None = None,
    min_weight: float = 0.0,
) -> pd.DataFrame:
    """List the sources that one forecast looked at, strongest first.

    Weights are those of the model, never normalised again after a cut: `attrs["shown_weight"]`
    says how much of them the listed sources carry.

    Args:
        alignment: A labelled alignment.
        node: The target sensor; may be left out where there is only one.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: List at most this many sources; all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.

    Returns:
        One row per source: rank (from 1), node, longitude and latitude in degrees, step (0 is the
        oldest of the history), steps_behind and minutes_behind the forecast origin, lag_steps and
        lag_minutes behind the first step of the segment, time, weight, distance_km to the target,
        direction from it ("downstream" or "upstream" along a road, else a compass point), reading
        in original units, found_in ("window" or "global"). `attrs` describe the target, the
        segment, the heads, `shown_weight`, `covered_mass` and `num_valid`.

    Raises:
        ValueError: The node, segment or head is not there, or a limit is out of range.
    """
    check_alignment(alignment)
    target = str(pick(alignment, "query_node", node, name="node"))
    pick(alignment, "segment", segment)
    if head is not None:
        pick(alignment, "head", head)
    if topk is not None and topk < 1:
        raise ValueError(f"topk must be at least 1; got {topk}. Pass None to list all sources.")
    if not 0 <= min_weight <= 1:
        raise ValueError(
            f"min_weight must be between 0 and 1; got {min_weight}. "
            "Weights sum to 1, so values near 0.01 are usual."
        )
    one = alignment.sel(query_node=target, segment=segment)
    weight = one["weight"].mean("head") if head is None else one["weight"].sel(head=head)
    mass = one["covered_mass"].mean() if head is None else one["covered_mass"].sel(head=head)
    attrs = _describe_target(alignment, one, target, segment, head)
    valid = one["valid"].values.astype(bool)
    steps = one["source_step"].values.astype(int)
    behind = attrs["history_steps"] - 1 - steps
    lag = behind + attrs["first_step"]
    latitude, longitude = one["source_latitude"].values, one["source_longitude"].values
    frame = pd.DataFrame(
        {
            "node": one["source_node"].values.astype(str),
            "longitude": longitude.astype(float),
            "latitude": latitude.astype(float),
            "step": steps,
            "steps_behind": behind,
            "minutes_behind": behind * attrs["interval_minutes"],
            "lag_steps": lag,
            "lag_minutes": lag * attrs["interval_minutes"],
            "time": one["source_time"].values,
            "weight": weight.values.astype(float),
            "distance_km": distance_km(
                latitude, longitude, attrs["latitude"], attrs["longitude"]
            ).astype(float),
            "direction": one["source_direction"].values.astype(str),
            "reading": one["source_value"].values.astype(float),
            "found_in": np.where(one["in_window"].values.astype(bool), "window", "global"),
        }
    )
    frame = frame[valid & (frame["weight"] >= min_weight).to_numpy()]
    frame = frame.sort_values("weight", ascending=False, kind="stable").head(topk)
    frame = frame.reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    frame.attrs = {
        **attrs,
        "shown_weight": float(frame["weight"].sum()),
        "covered_mass": float(mass),
        "num_valid": int(valid.sum()),
        "min_weight": float(min_weight),
    }
    return frame


def _describe_target(
    alignment: xr.Dataset, one: xr.Dataset, target: str, segment: int, head: int | None
) -> dict:
    attrs = alignment.attrs
    minutes = minutes_per_step(alignment)
    heads = alignment.sizes["head"]
    first, last = int(one["segment_first_step"]), int(one["segment_last_step"])
    return {
        "node": target,
        "latitude": float(one["query_latitude"]),
        "longitude": float(one["query_longitude"]),
        "segment": segment,
        "first_step": first,
        "last_step": last,
        "first_minutes": first * minutes,
        "last_minutes": last * minutes,
        "interval_minutes": minutes,
        "time": pd.Timestamp(alignment["time"].values),
        "head": head,
        "heads": f"head {head}" if head is not None else f"mean of {heads} heads",
        "topk": int(attrs["topk"]),
        "history_steps": int(attrs["history_steps"]),
        "window_nodes": int(attrs.get("window_nodes", 0)),
        "window_steps": int(attrs.get("window_steps", 0)),
        "layer": attrs.get("layer"),
        "model": str(attrs.get("model", "")),
        "units": str(attrs.get("units", "")),
        "quantity": str(attrs.get("quantity") or "reading"),
    }


def sum_by_place(sources: pd.DataFrame) -> pd.DataFrame:
    """Add the weights of each place over its time steps.

    Args:
        sources: What `prepare_alignment` gives.

    Returns:
        One row per place, heaviest first: node, longitude, latitude, distance_km, direction,
        weight, steps (how many), newest_minutes and oldest_minutes behind the origin, lag_minutes
        (mean lag to the segment, weighted), found_in ("window", "global" or "both").
    """
    # With NumPy, as grouping takes pandas longer than all the rest of a drawing.
    place, names = pd.factorize(sources["node"])
    first = np.unique(place, return_index=True)[1]
    columns = {name: sources[name].to_numpy() for name in sources}
    weight = np.bincount(place, columns["weight"], len(names))
    moment = np.bincount(place, columns["weight"] * columns["lag_minutes"], len(names))
    newest, oldest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(newest, place, columns["minutes_behind"])
    np.maximum.at(oldest, place, columns["minutes_behind"])
    found = columns["found_in"][first]
    mixed = np.zeros(len(names), bool)
    np.logical_or.at(mixed, place, columns["found_in"] != found[place])
    order = np.argsort(-weight, kind="stable")
    same = ("longitude", "latitude", "distance_km", "direction")
    places = pd.DataFrame(
        {
            "node": np.asarray(names),
            **{name: columns[name][first] for name in same},
            "weight": weight,
            "steps": np.bincount(place, minlength=len(names)),
            "newest_minutes": newest,
            "oldest_minutes": oldest,
            "found_in": np.where(mixed, "both", found),
            "lag_minutes": np.divide(
                moment, weight, out=np.full(len(names), np.nan), where=weight > 0
            ),
        }
    )
    places = places.iloc[order].reset_index(drop=True)
    places.attrs = dict(sources.attrs)
    return places


def prepare_causes(causes: xr.Dataset, sources: pd.DataFrame) -> pd.DataFrame:
    """List the true causes of a simulated target, from the oldest to the target itself.

    Args:
        causes: What `true_causes` gives.
        sources: What `prepare_alignment` gives, for the target and the time.

    Returns:
        node and steps_behind the forecast origin of each place on the line of causes; the last row
        is the target, its steps_behind negative.

    Raises:
        ValueError: The causes are of another target, time or history.
    """
    at = sources.attrs
    wanted = (at["node"], clock(at["time"]), f"{at['history_steps']} steps of history")
    nodes = causes["query_node"].values
    given = (
        at["node"] if at["node"] in nodes else nodes[0],
        clock(causes["time"].values),
        f"{causes.sizes['history_step']} steps of history",
    )
    if given != wanted:
        raise ValueError(
            f"causes must be those of the target that is drawn ({', '.join(wanted)}); got "
            f"{', '.join(given)}. Call true_causes with its node, time and history_steps."
        )
    index = causes["line_node"].sel(query_node=at["node"]).values
    steps = np.flatnonzero(index >= 0)
    return pd.DataFrame(
        {
            "node": [*causes["node"].values[index[steps]].astype(str), at["node"]],
            "steps_behind": [*(at["history_steps"] - 1 - steps), -int(causes["horizon_step"])],
        }
    )


def describe_alignment(sources: pd.DataFrame, alignment: xr.Dataset) -> tuple[str, str]:
    """Write the title of an alignment picture and the line that says how much it can be trusted.

    Args:
        sources: What `prepare_alignment` gives.
        alignment: The labelled alignment it came from.

    Returns:
        Title, and a line with k, head, layer, weight shown, covered mass and origin.
    """
    attrs = sources.attrs
    lead = describe_lead(
        attrs["first_minutes"], attrs["last_minutes"], step_minutes=attrs["interval_minutes"]
    )
    title = f"What the forecast for {attrs['node']} looked at ({lead})"
    covered = attrs["covered_mass"]
    facts = [
        f"{len(sources)} of k = {attrs['topk']} sources",
        attrs["heads"],
        f"layer {attrs['layer']}" if attrs["layer"] not in (None, "") else "",
        f"{attrs['shown_weight']:.0%} of the weight shown",
        f"{covered:.0%} of dense attention covered" if np.isfinite(covered) else "",
        f"from {clock(attrs['time'])}",
        attrs["model"],
    ]
    return (
        mark_simulated(title, alignment),
        DOT.join(fact for fact in facts if fact),
    )
