"""Picking one node, step, head or time from labelled data, with a clear sentence when it is absent.

Also the words that every figure carries: title, unit, source, and "Simulated" where that is so.
"""

import unicodedata
from collections.abc import Hashable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.schema import interval_of

__all__ = [
    "NO_SOURCE",
    "clock",
    "describe_lead",
    "label_quantity",
    "label_source",
    "mark_simulated",
    "minutes_per_step",
    "name_nodes",
    "pick",
    "pick_nodes",
    "pick_time",
    "spellable",
    "time_unit",
    "wrap_facts",
    "wrap_words",
]

DOT = " \N{MIDDLE DOT} "
NO_SOURCE = "There is no source: the model gets no reading that could be one."


def pick(data: xr.Dataset, dim: str, value: Hashable | None, *, name: str | None = None) -> Any:
    """Give a label of a dimension after checking that it is there.

    Args:
        data: Labelled data with a coordinate `dim`.
        dim: The dimension.
        value: The wanted label; None means the only one there is.
        name: The caller's name for it, for the message; the dimension's name when None.

    Returns:
        The label.

    Raises:
        ValueError: The label is absent, or None was given and there are several.
    """
    labels: Sequence = data[dim].values.tolist()
    name = name or dim
    if value is None:
        if len(labels) == 1:
            return labels[0]
        raise ValueError(
            f"{name} must be given where there are several; got None with {len(labels)} of them. "
            f"Pass one of {_examples(labels)}."
        )
    if value not in labels:
        raise ValueError(
            f"{name} must be one of the labels of '{dim}'; got {value!r}. "
            f"Pass one of {_examples(labels)}."
        )
    return value


def pick_nodes(
    data: xr.Dataset, node: str | Sequence[str] | None, *, dim: str = "node"
) -> list[str]:
    """Give one place or several after checking that they are there.

    Args:
        data: Labelled data with a coordinate `dim`.
        node: An id, some ids, or None for the only one there is.
        dim: The dimension of the places.

    Returns:
        Ids, each once, in the order of the data.

    Raises:
        ValueError: An id is absent, there is none, or None was given and there are several.
    """
    if node is None or isinstance(node, str):
        return [str(pick(data, dim, node, name="node"))]
    labels = data[dim].values.astype(str)
    wanted = {str(each) for each in node}
    unknown = sorted(wanted - set(labels.tolist()))
    if unknown or not wanted:
        got = repr(unknown[0]) if unknown else "none of them"
        raise ValueError(
            f"node must be one or more of the labels of '{dim}'; got {got}. "
            f"Pass some of {_examples(labels.tolist())}."
        )
    return labels[np.isin(labels, list(wanted))].tolist()


def name_nodes(nodes: Sequence[str]) -> str:
    """Name one place by its id, several by their number.

    Args:
        nodes: Ids.

    Returns:
        Text such as "400001" or "12 places".
    """
    return nodes[0] if len(nodes) == 1 else f"{len(nodes)} places"


def pick_time(forecast: xr.Dataset, time: object | None) -> pd.Timestamp:
    """Give a forecast origin after checking that it is there; None means the last one.

    Args:
        forecast: Labelled data with the coordinate `time`.
        time: A time stamp or text such as "2012-03-07 08:00".

    Returns:
        The time stamp.

    Raises:
        ValueError: There is no such origin.
    """
    times = pd.DatetimeIndex(np.atleast_1d(forecast["time"].values))
    if time is None:
        return pd.Timestamp(times[-1])
    stamp = pd.Timestamp(time)
    if stamp not in times:
        raise ValueError(
            f"time must be one of the {len(times)} forecast origins from {clock(times[0])} to "
            f"{clock(times[-1])}; got {time!r}. Pass one of forecast.time."
        )
    return stamp


def clock(time: object) -> str:
    """Write a time stamp to the minute.

    Args:
        time: Anything that pandas reads as a time stamp.

    Returns:
        Text such as "2012-03-07 08:00".
    """
    return pd.Timestamp(time).strftime("%Y-%m-%d %H:%M")


def minutes_per_step(data: xr.Dataset) -> float:
    """Give the interval between time steps.

    Args:
        data: A labelled dataset, forecast or alignment.

    Returns:
        Minutes.
    """
    return interval_of(data) / pd.Timedelta("1min")


def time_unit(step_minutes: float) -> tuple[str, float]:
    """Choose the unit that times of some data are told in.

    Args:
        step_minutes: The interval between time steps.

    Returns:
        "h" and 60 where steps are whole hours, otherwise "min" and 1.
    """
    return ("h", 60.0) if step_minutes >= 60 and step_minutes % 60 == 0 else ("min", 1.0)


def describe_lead(
    first_minutes: float, last_minutes: float | None = None, *, step_minutes: float = 1.0
) -> str:
    """Write how far ahead a forecast looks.

    Args:
        first_minutes: Lead time of its first step, minutes.
        last_minutes: Lead time of its last step; the first one again when None.
        step_minutes: The interval between time steps; whole hours are told in hours.

    Returns:
        Text such as "15 min ahead", "5-15 min ahead" or "6-72 h ahead".
    """
    last = first_minutes if last_minutes is None else last_minutes
    is_long = last >= 180 and first_minutes % 60 == last % 60 == 0
    unit, scale = time_unit(60.0 if is_long else step_minutes)
    low, high = f"{first_minutes / scale:g}", f"{last / scale:g}"
    return f"{low} {unit} ahead" if low == high else f"{low}\N{EN DASH}{high} {unit} ahead"


def label_quantity(data: xr.Dataset) -> str:
    """Write the quantity and its unit, for an axis or a colour bar.

    Args:
        data: Labelled data with `attrs["quantity"]` and `attrs["units"]`.

    Returns:
        Text such as "speed (mph)".
    """
    quantity = data.attrs.get("quantity") or "value"
    units = data.attrs.get("units")
    return f"{quantity} ({units})" if units else str(quantity)


def label_source(data: xr.Dataset) -> str:
    """Write where the readings come from.

    Args:
        data: Labelled data with `attrs["title"]` and `attrs["source"]`.

    Returns:
        Text such as "METR-LA. Source: Caltrans PeMS".
    """
    title = str(data.attrs.get("title") or "Untitled data").rstrip(".")
    return f"{title}. Source: {data.attrs.get('source') or 'not stated'}"


def mark_simulated(title: str, data: xr.Dataset) -> str:
    """Put "Simulated" in front of a title where the data is.

    Args:
        title: The title of a figure.
        data: Labelled data with `attrs["synthetic"]`.

    Returns:
        The title, marked or unchanged.
    """
    return f"Simulated{DOT}{title}" if data.attrs.get("synthetic") else title


def spellable(text: str) -> str:
    """Replace what HoloViews cannot spell in the label of a layer.

    Args:
        text: Any text, such as the name of a place.

    Returns:
        The text; characters that have no name in Unicode are replaced.
    """
    mark = "\N{REPLACEMENT CHARACTER}"
    return "".join(letter if unicodedata.name(letter, "") else mark for letter in text)


def wrap_facts(facts: str, *, width: int | None = None, newline: str = "\n") -> str:
    """Break a line of facts between them so that it fits a figure.

    Args:
        facts: Facts with middle dots between them.
        width: Width of the figure in pixels; None is taken for 500.
        newline: What goes between lines.

    Returns:
        One or more lines; a single fact is never broken.
    """
    longest = max(30, round(((width or 500) - 60) / 6))
    lines: list[str] = []
    for fact in facts.split(DOT):
        if lines and len(lines[-1]) + len(DOT) + len(fact) <= longest:
            lines[-1] += DOT + fact
        else:
            lines.append(fact)
    return newline.join(lines)


def wrap_words(text: str, *, width: int | None = None, letter: float = 6.4) -> str:
    """Break a title or source line between words so that it fits a figure.

    Args:
        text: The line.
        width: Width of the figure in pixels; None is taken for 500.
        letter: Width of an average letter in pixels.

    Returns:
        One or more lines; a single word is never broken.
    """
    longest = max(20, round(((width or 500) - 60) / letter))
    lines = wrap(text, longest, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _examples(labels: Sequence) -> str:
    shown = ", ".join(repr(label) for label in labels[:5])
    return f"{shown}, ..." if len(labels) > 5 else shown
