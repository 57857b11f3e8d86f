"""Benchmarks as lines in a log-log plot, where the slope says how cost grows."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from stviz.theme import Theme, get_theme

__all__ = ["plot_benchmark"]

UNITS = {"ms": ("milliseconds per window", "Time"), "memory_mb": ("MB per window", "Memory")}


def plot_benchmark(
    table: pd.DataFrame,
    *,
    subject: str = "alignment",
    column: str = "ms",
    theme: str | Theme = "light",
    width: int = 760,
    height: int = 460,
) -> go.Figure:
    """Draw how the cost of each case grows with the number of places.

    Args:
        table: From `python -m sttrans_core bench`.
        subject: Which of its subjects.
        column: `ms` or `memory_mb`.
        theme: "light", "dark" or a `Theme`.
        width: Pixels.
        height: Pixels.

    Returns:
        The figure; the slope from 1,000 places on stands beside each name (1 is linear).

    Raises:
        ValueError: The table does not hold the subject or the column.
    """
    if column not in UNITS or column not in table or subject not in set(table["subject"]):
        raise ValueError(
            f"A benchmark must hold the subject and the column; got {subject!r} and {column!r} "
            f"with {', '.join(sorted(set(table['subject'])))}. Choose of them, and ms or memory_mb."
        )
    colors = get_theme(theme)
    part = table[(table["subject"] == subject) & (table[column] > 0)].sort_values("nodes")
    figure = go.Figure()
    for place, (name, rows) in enumerate(part.groupby("case", sort=False)):
        cost = rows[column] / rows["batch"]
        is_ours = str(name).startswith(("Top-k, exact", "Top-k, blocks", "ST-Trans"))
        figure.add_scatter(
            x=rows["nodes"],
            y=cost,
            name=f"{name}{_slope(rows['nodes'], cost)}",
            mode="lines+markers",
            line={
                "color": colors.categories[place % len(colors.categories)],
                "width": 3 if is_ours else 1.5,
                "dash": "solid" if is_ours else "dot",
            },
            hovertemplate="%{x:,} places: %{y:.3g}<extra>" + str(name) + "</extra>",
        )
    unit, title = UNITS[column]
    device = ", ".join(sorted(set(part["device"].astype(str))))
    axis = {"type": "log", "gridcolor": colors.grid, "zeroline": False}
    sizes = sorted(set(part["nodes"]))
    ticks = {"tickvals": sizes, "ticktext": [f"{size:,}" for size in sizes]}
    figure.update_layout(
        title={"text": f"{title} of {subject}, simulated places<br><sup>{device}</sup>"},
        xaxis={**axis, **ticks, "title": "places"},
        yaxis={**axis, "title": unit, "dtick": 1},
        paper_bgcolor=colors.paper,
        plot_bgcolor=colors.paper,
        font={"color": colors.text},
        legend={"x": 1.02, "y": 1},
        width=width,
        height=height,
        margin={"l": 70, "r": 20, "t": 70, "b": 60},
    )
    return figure


def _slope(nodes: pd.Series, cost: pd.Series) -> str:
    large = nodes >= 1000
    if large.sum() < 2:
        return ""
    slope = np.polyfit(np.log(nodes[large]), np.log(cost[large]), 1)[0]
    return f" (slope {slope:.2f})"
