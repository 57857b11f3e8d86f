"""Result tables as dots with their spread: a panel for each data set and unit, a line a model."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from stviz.labels import wrap_words
from stviz.theme import Theme, get_theme

__all__ = ["plot_results"]

NEEDED = ("dataset", "section", "row", "column", "units", "mean", "sd", "seeds")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x")
LINE, GAP, TOP, BOTTOM = 26, 64, 110, 40  # pixels of a line, between panels, and around them
SMALL = 13  # of a line of the credit


def plot_results(
    table: pd.DataFrame,
    *,
    title: str = "",
    credit: str = "",
    theme: str | Theme = "light",
    width: int = 900,
) -> go.Figure:
    """Draw every cell of a result table as a dot, with the standard deviation over seeds.

    Args:
        table: As `python -m sttrans_core tables` writes it: a row a cell.
        title: Of the figure.
        credit: Lines under it: data, protocol and runs.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; the height follows from the number of lines.

    Returns:
        The figure: a panel for each data set, section and unit, a colour and symbol for each
        column of the table. What nothing was measured for has no dot.

    Raises:
        ValueError: The table lacks a column, or holds nothing.
    """
    lacking = [name for name in NEEDED if name not in table]
    if lacking or table.empty:
        raise ValueError(
            f"A result table must hold {', '.join(NEEDED)} and at least one cell; got "
            f"{f'none for {lacking[0]}' if lacking else 'an empty one'}. "
            "Read a CSV file that 'tables' has written."
        )
    colors = get_theme(theme)
    table = table.assign(units=table["units"].fillna(""))
    panels = list(table.groupby(["dataset", "section", "units"], sort=False))
    heights = [LINE * cells["row"].nunique() for _, cells in panels]
    inside = sum(heights) + GAP * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=GAP / inside,
        subplot_titles=[
            f"{dataset}: {section}{f' ({units})' if units else ''}"
            for (dataset, section, units), _ in panels
        ],
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)  # clear of the legend
    columns = list(dict.fromkeys(table["column"]))
    named: set[str] = set()
    for place, (_, cells) in enumerate(panels, start=1):
        for column, part in cells.groupby("column", sort=False):
            index = columns.index(column)
            color = colors.categories[index % len(colors.categories)]
            figure.add_scatter(
                x=part["mean"],
                y=part["row"],
                error_x={"array": part["sd"].fillna(0.0), "color": color, "thickness": 1.5},
                customdata=part[["sd", "seeds"]],
                name=str(column),
                legendgroup=str(column),
                showlegend=column not in named,
                mode="markers",
                marker={
                    "color": color,
                    "size": 9,
                    "symbol": SYMBOLS[index // len(colors.categories) % len(SYMBOLS)],
                },
                hovertemplate="%{y}: %{x:.4g} ± %{customdata[0]:.2g}, %{customdata[1]} seeds"
                f"<extra>{column}</extra>",
                row=place,
                col=1,
            )
            named.add(str(column))
        # The first line of the table on top.
        order = list(dict.fromkeys(cells["row"]))[::-1]
        figure.update_yaxes(categoryorder="array", categoryarray=order, row=place, col=1)
    axis = {"gridcolor": colors.grid, "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    lines = [wrap_words(line, width=width) for line in credit.splitlines()]
    below = "<br>".join(lines).replace("\n", "<br>")
    bottom = BOTTOM + SMALL * (below.count("<br>") + 1)
    figure.add_annotation(
        text=below, x=0, y=0, xref="paper", yref="paper", xanchor="left", yanchor="top",
        yshift=-BOTTOM + 8, showarrow=False, align="left",
        font={"size": 10, "color": colors.muted},
    )  # fmt: skip
    figure.update_layout(
        title={"text": f"{title}<br><sup>dots: means; bars: standard deviation over seeds</sup>"},
        paper_bgcolor=colors.paper,
        plot_bgcolor=colors.paper,
        font={"color": colors.text},
        width=width,
        height=inside + TOP + bottom,
        margin={"l": 70, "r": 20, "t": TOP, "b": bottom},
    )
    return figure
