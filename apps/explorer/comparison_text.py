"""Pieces of HTML for the page that compares two runs; every word from data is escaped."""

from html import escape

import numpy as np
import pandas as pd

from explorer.comparison import MomentErrors
from explorer.text import table_style
from stviz.theme import Theme

__all__ = ["board_html", "deltas_html", "moment_html", "run_html"]

CLEAR = 2.0  # standard deviations of what seeds alone would do
WIDTH, HEIGHT = 64, 14  # pixels of a mark on the board


def run_html(letter: str, label: str, color: str, colors: Theme) -> str:
    """Name a run above its views.

    Args:
        letter: "A" or "B".
        label: What the run is called.
        color: That of its line.
        colors: The theme.

    Returns:
        A line of HTML.
    """
    return (
        "<div style='font-size:13px;white-space:nowrap;overflow:hidden;"
        f"text-overflow:ellipsis'><b style='background:{color};color:{colors.paper};"
        f"border-radius:3px;padding:0 6px;margin-right:6px'>{escape(letter)}</b>"
        f"{escape(label)}</div>"
    )


def moment_html(errors: MomentErrors | None, lead: str, colors: Theme) -> str:
    """Say which run was closer to what was measured at this moment.

    Args:
        errors: From `compare_moment`.
        lead: Of the forecast, in words.
        colors: The theme.

    Returns:
        A sentence of HTML.
    """
    words = "Nothing was measured for this moment yet, so there is no error to compare."
    if errors is not None:
        first, second, closer, units = errors
        words = (
            f"At this moment, {lead}: A is off by {first:.2f} {units} on average, B by "
            f"{second:.2f}; B is closer at {closer:.0%} of the places. One moment proves little: "
            "the table is of the whole test part."
        )
    return f"<p style='color:{colors.muted};font-size:12px;margin:4px 0'>{escape(words)}</p>"


def deltas_html(table: pd.DataFrame | None, colors: Theme) -> str:
    """Show the test errors of two runs, and whether seeds alone could make the difference.

    Args:
        table: From `compare_runs`.
        colors: The theme.

    Returns:
        An HTML table with a sentence.
    """
    if table is None:
        return (
            f"<p style='color:{colors.muted};font-size:12px;margin:0'>Both runs must be scored for "
            "the same lead times. Run: python -m sttrans_core evaluate --write --run-dir "
            "FOLDER</p>"
        )
    metric, units = table.attrs["metric"].upper(), table.attrs["units"]
    rows = "".join(_delta_row(str(lead), row, colors) for lead, row in table.iterrows())
    if table["spread"].notna().any():
        note = (
            f"&pm;: standard deviation of such a difference between single seeds "
            f"({table.attrs['seeds']} seeds of each are known). Coloured: more than twice that; "
            "grey: seeds alone could make it."
        )
    else:
        note = (
            "One seed of a run alone is known here, so nobody can say how much of the difference "
            "is chance. Train it with other seeds, too."
        )
    return (
        f"{table_style(colors)}<table class='scores'><thead><tr><th>{metric}, {escape(units)}</th>"
        "<th class='num'>A</th><th class='num'>B</th><th class='num'>B &minus; A</th>"
        f"<th class='num'>seeds</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p style='color:{colors.muted};font-size:12px;margin:4px 0'>{note}</p>"
    )


def _delta_row(lead: str, row: pd.Series, colors: Theme) -> str:
    difference, spread = float(row["difference"]), float(row["spread"])
    style = f"color:{colors.muted}"
    if np.isfinite(spread) and abs(difference) > CLEAR * spread:
        style = f"color:{colors.error[-2 if difference > 0 else 1]};font-weight:600"
    known = f"&pm; {spread:.2f}" if np.isfinite(spread) else "unknown"
    return (
        f"<tr><td>{escape(lead)}</td><td class='num'>{row['first']:.2f}</td>"
        f"<td class='num'>{row['second']:.2f}</td>"
        f"<td class='num' style='{style}'>{difference:+.2f}</td>"
        f"<td class='num' style='color:{colors.muted}'>{known}</td></tr>"
    )


def board_html(table: pd.DataFrame, dataset: str, questions: dict[str, str], colors: Theme) -> str:
    """Show what each part of the model is worth: all published variants on all data sets.

    Args:
        table: From `read_ablations`.
        dataset: The one that is selected; its column comes first.
        questions: What each variant asks, by its name.
        colors: The theme.

    Returns:
        An HTML table, a line for each variant: dots are means, lines the spread over seeds.
    """
    if table.empty:
        return (
            f"<p style='color:{colors.muted};font-size:12px;margin:0'>No published runs here: they "
            "come with a clone of the project, under notebooks/results.</p>"
        )
    names = sorted(table["dataset"].unique(), key=lambda name: (name != dataset, name))
    reach = {
        name: float((part["mean"].abs() + part["sd"].fillna(0.0)).max())
        for name, part in table.groupby("dataset")
    }
    cells = table.set_index(["variant", "dataset"])
    lines = ""
    for variant in table["variant"].unique():
        marks = "".join(
            _board_cell(cells.loc[(variant, name)], reach[name], colors)
            if (variant, name) in cells.index
            else "<td></td>"
            for name in names
        )
        question = escape(questions.get(variant, ""))
        lines += f"<tr><td title='{question}'><b>{escape(variant)}</b></td>{marks}</tr>"
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    return (
        f"{table_style(colors)}<div class='frame'><table class='scores'><thead><tr><th>variant"
        f"</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        f"<p style='color:{colors.muted};font-size:12px;margin:4px 0'>Error above that of the "
        "whole model with the same seeds, mean over the lead times: published runs, "
        "notebooks/results/tables/table3.csv. Grey: within twice the spread over seeds, or one "
        "seed. To the left of the line, the part does harm.</p></div>"
    )


def _board_cell(cell: pd.Series, reach: float, colors: Theme) -> str:
    mean, sd, seeds = float(cell["mean"]), float(cell["sd"]), int(cell["seeds"])
    is_clear = np.isfinite(sd) and abs(mean) > CLEAR * sd
    color = colors.error[-2 if mean > 0 else 1] if is_clear else colors.muted
    spread = sd if np.isfinite(sd) else 0.0
    middle, scale = WIDTH * 0.25, WIDTH * 0.7 / reach
    start, end, dot = (
        min(max(middle + scale * value, 2), WIDTH - 4)
        for value in (mean - spread, mean + spread, mean)
    )
    half = HEIGHT / 2
    mark = (
        f"<svg width='{WIDTH}' height='{HEIGHT}' aria-hidden='true'>"
        f"<line x1='{middle}' x2='{middle}' y1='0' y2='{HEIGHT}' stroke='{colors.muted}'/>"
        f"<line x1='{start:.1f}' x2='{end:.1f}' y1='{half}' y2='{half}' stroke='{color}'/>"
        f"<circle cx='{dot:.1f}' cy='{half}' r='3.5' fill='{color}'/></svg>"
    )
    words = f"{mean:+.1f} %" + (f" &pm; {sd:.1f}" if np.isfinite(sd) else "")
    plural = "seed" if seeds == 1 else "seeds"
    return f"<td title='{seeds} {plural}'>{mark} <span style='color:{color}'>{words}</span></td>"
