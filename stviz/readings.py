"""Readings of a few places over their whole period, before anything is forecast."""

from collections.abc import Sequence

import holoviews as hv
import numpy as np
import xarray as xr

from stviz.figures import finish, options
from stviz.labels import (
    DOT,
    label_quantity,
    label_source,
    mark_simulated,
    pick,
    spellable,
)
from stviz.theme import Theme, get_theme

__all__ = ["plot_readings"]

MOST_POINTS = 1500  # of a line; more are not told apart on a screen


def plot_readings(
    dataset: xr.Dataset,
    *,
    nodes: Sequence[str],
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 300,
) -> hv.Overlay:
    """Draw all readings of a few places, to see at once whether they can be right.

    Args:
        dataset: A labelled dataset of nodes; of several channels, the first is drawn.
        nodes: The places, at most eight.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay of one curve a place, interrupted where readings are missing. Long
        series are drawn as means of consecutive readings, and the subtitle says of how many.

    Raises:
        ValueError: A place or the theme is not there.
    """
    colors = get_theme(theme)
    target = dataset["target"].sel(node=[pick(dataset, "node", node) for node in nodes])
    readings = target.values.reshape(len(target), len(nodes), -1)[..., 0].astype(float)
    times = target["time"].values
    block = -(-len(times) // MOST_POINTS)
    if block > 1:
        whole = len(times) // block * block
        cut = readings[:whole].reshape(-1, block, len(nodes))
        counts = np.isfinite(cut).sum(axis=1)
        sums = np.nansum(cut, axis=1)
        readings = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        times = times[:whole:block]
    units = dataset.attrs.get("units", "")
    layers = [
        options(
            hv.Curve(
                (times, readings[:, i], np.full(len(times), str(node))),
                "time",
                ["value", "place"],
                label=spellable(str(node)),
            ),
            color=colors.categories[i],
            line_width=1.2,
            tools=["hover"],
            hover_tooltips=[
                ("place", "@place"),
                ("time", "@time{%F %H:%M}"),
                ("reading", f"@value{{0.0}} {units}"),
            ],
            hover_formatters={"@time": "datetime"},
        )
        for i, node in enumerate(nodes)
    ]
    means = f"means of {block} readings" if block > 1 else "every reading"
    quantity = str(dataset.attrs.get("quantity", "value"))
    quantity = quantity[:1].upper() + quantity[1:]  # "PM2.5" keeps its letters
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{quantity} at {len(nodes)} places", dataset),
        subtitle=f"{means}{DOT}interrupted: no reading",
        credit=label_source(dataset),
        theme=colors,
        width=width,
        height=height,
        xlabel="time",
        ylabel=label_quantity(dataset),
        show_grid=True,
        padding=(0.01, 0.08),
        legend_position="bottom",
        active_tools=[],  # the wheel scrolls the page
    )
