"""From a labelled alignment to a tidy table of the sources behind one forecast. Pure functions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import check_alignment
from stviz.geography import distance_km, unwrap_longitude
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    mark_simulated,
    minutes_per_step,
    name_nodes,
    pick,
    pick_nodes,
)

__all__ = ["describe_alignment", "prepare_alignment", "prepare_causes", "sum_by_place"]


def prepare_alignment(
    alignment: xr.Dataset,
    *,
    node: str | Sequence[str] | None = None,
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
        node: The target; may be left out where there is only one. Several targets, such as a
            region, have the mean of their weights: sources that they share are one.
        segment: The block of horizon steps, from 1.
        head: One attention head, from 0; None gives the mean over heads.
        topk: List at most this many sources; all when None.
        min_weight: Leave out sources below this weight, from 0 to 1.

    Returns:
        One row per source: rank (from 1), node, longitude and latitude in degrees, step (0 is the
        oldest of the history), steps_behind and minutes_behind the forecast origin, lag_steps and
        lag_minutes behind the first step of the segment, time, weight, distance_km to the target,
        direction from it ("downstream" or "upstream" along a road, else a compass point; empty
        where targets differ), reading in original units, found_in ("window" or "global"). `attrs`
        describe the target (several by their middle and their number, and by `targets`), the
        segment, the heads, `shown_weight`, `covered_mass` and `num_valid`.

    Raises:
        ValueError: The node, segment or head is not there, or a limit is out of range.
    """
    check_alignment(alignment)
    targets = pick_nodes(alignment, node, dim="query_node")
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
    places = np.flatnonzero(np.isin(alignment["query_node"].values, targets))
    some = alignment.isel(query_node=places).sel(segment=segment)
    dims = ("query_node", "source")
    chosen = some if head is None else some.sel(head=head)
    weight, mass = (
        each.mean("head") if head is None else each
        for each in (chosen["weight"], chosen["covered_mass"])
    )
    weight = weight.transpose(*dims).values.astype(float)
    # A target without any observed source has no say.
    weight = weight / max(1, np.count_nonzero(weight.any(-1)))
    attrs = _describe_targets(alignment, some, targets, segment, head)
    steps = some["source_step"].transpose(*dims).values.astype(int)
    latitude, longitude = (
        some[f"source_{name}"].transpose(*dims).values.astype(float)
        for name in ("latitude", "longitude")
    )
    distance = distance_km(
        latitude, longitude,
        some["query_latitude"].values[:, None], some["query_longitude"].values[:, None],
    )  # fmt: skip
    valid = some["valid"].transpose(*dims).values.astype(bool)
    in_window = some["in_window"].transpose(*dims).values.astype(bool)
    columns = {
        "node": some["source_node"].transpose(*dims).values.astype(str),
        "longitude": longitude,
        "latitude": latitude,
        "step": steps,
        "time": some["source_time"].transpose(*dims).values,
        "weight": weight,
        "distance_km": distance.astype(float),
        "direction": some["source_direction"].transpose(*dims).values.astype(str),
        "reading": some["source_value"].transpose(*dims).values.astype(float),
        "found_in": np.where(in_window, "window", "global"),
    }
    frame = pd.DataFrame({name: values[valid] for name, values in columns.items()})
    if len(targets) > 1:
        frame = _merge(frame)
    behind = attrs["history_steps"] - 1 - frame["step"].to_numpy()
    lag = behind + attrs["first_step"]
    for name, many in (("steps_behind", behind), ("lag_steps", lag)):
        frame.insert(frame.columns.get_loc("time"), name, many)
        minutes = many * attrs["interval_minutes"]
        frame.insert(frame.columns.get_loc("time"), name.replace("steps", "minutes"), minutes)
    frame = frame[frame["weight"] >= min_weight]
    frame = frame.sort_values("weight", ascending=False, kind="stable").head(topk)
    frame = frame.reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    frame.attrs = {
        **attrs,
        "shown_weight": float(frame["weight"].sum()),
        "covered_mass": float(mass.mean()),
        "num_valid": int(valid.sum()),
        "min_weight": float(min_weight),
    }
    return frame


def _merge(frame: pd.DataFrame) -> pd.DataFrame:
    """Join the sources that several targets have in common."""
    weight = frame["weight"]
    by_window = weight.where(frame["found_in"] == "window", 0.0)
    frame = frame.assign(distance_km=frame["distance_km"] * weight, by_window=by_window)
    groups = frame.groupby(["node", "step"], sort=False)
    merged = groups.first()
    sums = groups[["weight", "distance_km", "by_window"]].sum()
    merged[["weight", "by_window"]] = sums[["weight", "by_window"]]
    merged["distance_km"] = sums["distance_km"] / sums["weight"].where(sums["weight"] > 0)
    merged["direction"] = merged["direction"].where(groups["direction"].nunique() == 1, "")
    is_near = merged.pop("by_window") >= merged["weight"] / 2
    merged["found_in"] = np.where(is_near, "window", "global")
    return merged.reset_index()[frame.columns.drop("by_window")]


def _describe_targets(
    alignment: xr.Dataset,
    some: xr.Dataset,
    targets: Sequence[str],
    segment: int,
    head: int | None,
) -> dict:
    attrs = alignment.attrs
    minutes = minutes_per_step(alignment)
    heads = alignment.sizes["head"]
    first, last = int(some["segment_first_step"]), int(some["segment_last_step"])
    return {
        "node": name_nodes(targets),
        "targets": tuple(targets),
        "points": tuple(
            zip(
                *(
                    some[f"query_{name}"].values.astype(float).tolist()
                    for name in ("longitude", "latitude")
                ),
                strict=True,
            )
        ),
        "latitude": float(some["query_latitude"].mean()),
        "longitude": float(unwrap_longitude(some["query_longitude"].values).mean()),
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
        f"{len(sources)} of k = {attrs['topk']} sources"
        if len(attrs["targets"]) == 1
        else f"{len(sources)} sources, k = {attrs['topk']} each",
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
