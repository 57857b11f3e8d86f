"""Pieces of HTML for what is read rather than plotted; every word from data is escaped."""

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from explorer.deletion import Deletion
from explorer.evidence import Evidence
from stviz import alignment_table
from stviz.labels import NO_SOURCE, describe_lead
from stviz.theme import Theme, pick_colors

__all__ = ["comparison_html", "effect_html", "empty_html", "sources_html", "trust_html"]

TOP = 8  # sources that `hit_rate` looks at
NOTABLE = 0.05
COVERED = (
    "the weight that these sources would have if the model attended to every place and time step: "
    "the picture leaves the rest out"
)
ALONE = (
    "what the values of these sources, all heads together, forecast without the rest of the model: "
    "far from the forecast, it rests on what is not shown; close to it, that is no proof"
)
DELETED = (
    "how far this forecast moves, on average over its steps, when these readings are hidden from "
    "the model: far more than for random readings, the picture shows what the forecast rests on"
)


def empty_html(title: str, text: str, colors: Theme) -> str:
    """Say why there is nothing to see, and what to do.

    Args:
        title: A few words.
        text: One or two sentences.
        colors: The theme.

    Returns:
        HTML that fills its place.
    """
    return (
        f'<div style="height:100%;display:flex;flex-direction:column;justify-content:center;'
        f"align-items:center;text-align:center;padding:24px;box-sizing:border-box;"
        f'color:{colors.muted}"><div style="font-size:16px;font-weight:600;color:{colors.text};'
        f'margin-bottom:8px">{escape(title)}</div><div style="max-width:44ch;line-height:1.45">'
        f"{escape(text)}</div></div>"
    )


def sources_html(evidence: Evidence, selected: dict, colors: Theme) -> str:
    """List the sources of the selected forecast, strongest first, with a bar for the weight.

    Args:
        evidence: With an alignment that holds the place.
        selected: `node`, `segment`, `head` and `min_weight`, as for `alignment_table`.
        colors: The theme.

    Returns:
        An HTML table.
    """
    table = alignment_table(evidence.alignment, topk=200, **selected)
    reading = table.columns[-1]
    largest = float(table["weight (%)"].max() or 1.0) if len(table) else 1.0
    fills = pick_colors(
        table["weight (%)"], stops=colors.weight, limits=(0, largest), missing=colors.gap
    )
    rows = [
        _source_row(
            rank, row, reading, fill, largest, evidence.name_of([row["place"]]), selected["node"]
        )
        for (rank, row), fill in zip(table.iterrows(), fills, strict=True)
    ]
    heads = {
        "": "rank",
        "place": "where the model looked; the place itself is bold",
        "clock": "when it looked",
        "lag": "from that reading to the first forecast step",
        "distance": "to the place of the forecast",
        "from it": "upstream or downstream where traffic passes one after the other, else the "
        "direction of the compass, seen from the place of the forecast",
        "weight": "share of the attention; all weights sum to 1",
        "found in": "the recent local window, or the search over all places",
        escape(reading): "what was measured there",
    }
    cells = "".join(f"<th title='{words}'>{head}</th>" for head, words in heads.items())
    words = "No source has that much weight." if selected["min_weight"] else NO_SOURCE
    body = "".join(rows) or f'<tr><td colspan="9">{words}</td></tr>'
    return (
        f"{table_style(colors)}<div class='frame'><table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _source_row(
    rank: object,
    row: pd.Series,
    reading: str,
    fill: str,
    largest: float,
    name: str,
    nodes: Sequence[str],
) -> str:
    weight, clock = float(row["weight (%)"]), escape(str(row["time"])[-5:])
    value = f"{row[reading]:.1f}" if pd.notna(row[reading]) else "none"
    shape = "\N{BLACK CIRCLE}" if row["found in"] == "window" else "\N{BLACK DIAMOND}"
    lag = next(column for column in row.index if column.startswith("lag"))  # "lag (h)"
    title = escape(name)
    name = f"<b>{title}</b>" if row["place"] in nodes else title
    bar = f"width:{100 * weight / largest:.0f}%;background:{fill}"
    return (
        f"<tr><td class='rank'>{rank}</td><td class='place' title='{title}'>{name}</td>"
        f"<td>{clock}</td>"
        f"<td class='num'>{row[lag]:g} {lag[5:-1]}</td>"
        f"<td class='num'>{row['distance (km)']:.1f} km</td><td>{escape(row['direction'])}</td>"
        f"<td class='weight'><span class='bar'><i style='{bar}'></i></span>{weight:.1f} %</td>"
        f"<td><span style='color:{fill}'>{shape}</span> {escape(str(row['found in']))}</td>"
        f"<td class='num'>{value}</td></tr>"
    )


def trust_html(
    evidence: Evidence,
    sources: pd.DataFrame,
    colors: Theme,
    deletion: Deletion | None = None,
    *,
    region: int = 0,
) -> str:
    """State how much of the attention the picture holds, and on simulated data whether it is true.

    Args:
        evidence: With the hit rate, where the truth is known.
        sources: What `prepare_alignment` gives for the selection.
        colors: The theme.
        deletion: What the forecast is without its sources, where that was measured.
        region: How many places the selected region has; 0 where there is none.

    Returns:
        One line of HTML.
    """
    at, asked = sources.attrs, evidence.request
    kept = "as trained" if asked.topk is None else "switched live"
    facts = [
        _fact(f"k = {at['topk']}", kept, colors, "sources kept for each forecast"),
    ]
    if np.isfinite(at["covered_mass"]):
        covered = f"{at['covered_mass']:.0%}"
        facts.insert(0, _fact(covered, "of dense attention covered", colors, COVERED))
    if region > (looked_at := len(at["targets"])):
        facts.append(
            _fact(f"{looked_at:,} of {region:,}", "places of the region, evenly spread", colors)
        )
    if asked.silent_heads:
        words = f"of {evidence.num_heads} heads: their sources have no say in this forecast"
        facts.insert(0, _fact(f"{len(asked.silent_heads)} silent", words, colors))
    alone = evidence.alignment.get("aligned_forecast")
    if alone is not None and len(sources) and len(asked.silent_heads) < evidence.num_heads:
        step = at["last_step"]
        targets = list(at["targets"])
        by_sources = float(alone.sel(query_node=targets, horizon=step).mean())
        whole = float(evidence.forecast["forecast"].sel(node=targets, horizon=step).mean())
        ahead = describe_lead(at["last_minutes"], step_minutes=at["interval_minutes"])
        words = f"by these sources alone, {whole:.1f} as forecast, {ahead}"
        facts.append(_fact(f"{by_sources:.1f} {at['units']}", words, colors, ALONE))
    if deletion is not None:
        words = (
            f"without its {deletion.removed} strongest readings elsewhere, "
            f"{deletion.random:.2f} without {deletion.removed} random ones"
        )
        facts.append(_fact(f"{deletion.strongest:.2f} {deletion.units}", words, colors, DELETED))
    if not asked.window:
        facts.append(_fact("no", "source from the local window, switched live", colors))
    if at["shown_weight"] < 0.995:
        facts.append(_fact(f"{at['shown_weight']:.0%}", "of the weight shown", colors))
    hits = evidence.hits
    if hits is not None and hits.num_scored:
        facts.append(
            _fact(
                f"{hits.hit_rate:.0%}",
                f"true cause in the Top-{min(TOP, at['topk'])} (chance {hits.chance:.0%}, "
                f"nearest {hits.nearest:.0%}), {hits.num_scored} forecasts now",
                colors,
                "over all places and lead times, in free and in congested traffic alike; the "
                "simulation knows what caused each reading",
            )
        )
    return f"<div class='trust' style='line-height:20px'>{' '.join(facts)}</div>"


def effect_html(evidence: Evidence, colors: Theme) -> str:
    """Say what the live switches did to the forecasts of this moment.

    Args:
        evidence: With the forecast as it is and as trained.
        colors: The theme.

    Returns:
        One or two sentences of HTML, also where nothing is switched.
    """
    if evidence.forecast is None:
        return ""
    words = "They re-forecast at once. Scores stay those of the model as trained."
    if evidence.request.is_switched:
        units = str(evidence.forecast.attrs.get("units", ""))
        now, before = (each["forecast"] for each in (evidence.forecast, evidence.as_trained))
        truth = evidence.as_trained["target"]
        change = float(abs(now - before).mean())
        words = f"Forecasts of all places change by {change:.2f} {units} on average."
        if np.isfinite(truth.values).any():
            errors = [float(abs(each - truth).mean()) for each in (before, now)]
            words += (
                f" Their error at this moment: {errors[0]:.2f} as trained, now {errors[1]:.2f}."
            )
    return f"<span style='color:{colors.muted};font-size:12px'>{escape(words)}</span>"


def _fact(number: str, words: str, colors: Theme, meaning: str = "") -> str:
    return (
        f"<span title='{escape(meaning)}' style='display:inline-block;margin-right:14px;"
        f"color:{colors.muted};font-size:12px'>"
        f"<b style='color:{colors.text};font-size:13px'>{escape(number)}</b> {escape(words)}</span>"
    )


def comparison_html(
    table: pd.DataFrame | None, names: tuple[str, str], attrs: xr.Dataset, colors: Theme
) -> str:
    """Show the test error of a run beside a reference, with signed differences.

    Args:
        table: From `compare_scores`.
        names: Of the run and of the reference.
        attrs: The scores, for units and protocol.
        colors: The theme.

    Returns:
        An HTML table with a sentence.
    """
    if table is None:
        return f"<p style='color:{colors.muted};font-size:12px;margin:0'>Not scored yet.</p>"
    run, reference = map(escape, names)
    heads, labels = ["mae"], [run]
    if "reference" in table and run != reference:
        heads += ["reference", "difference"]
        labels += [reference, "difference"]
    if "last observed" in table:
        heads.append("last observed")
        labels.append("last observed")
    body = ""
    for lead, row in table.iterrows():
        cells = "".join(_score_cell(name, float(row[name]), colors) for name in heads)
        body += f"<tr><td>{escape(str(lead))}</td>{cells}</tr>"
    # Names of variants may break at their underscores.
    head = "".join(f"<th class='num'>{label.replace('_', '_<wbr>')}</th>" for label in labels)
    units = escape(str(attrs.attrs.get("units", "")))
    return (
        f"{table_style(colors)}<table class='scores'>"
        f"<thead><tr><th>MAE, {units}</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _score_cell(name: str, value: float, colors: Theme) -> str:
    if name != "difference":
        return f"<td class='num'>{value:.2f}</td>"
    # Smaller differences are those between two seeds.
    if abs(value) < NOTABLE:
        return f"<td class='num'>{round(value, 2) + 0.0:+.2f}</td>"
    color = colors.error[-2 if value > 0 else 1]
    return f"<td class='num' style='color:{color};font-weight:600'>{value:+.2f}</td>"


def table_style(colors: Theme) -> str:
    return f"""<style>
    .frame {{ height: 100%; overflow: auto; }}
    table {{ border-collapse: collapse; width: 100%; font-size: 12px; color: {colors.text}; }}
    th {{ position: sticky; top: 0; background: {colors.paper}; color: {colors.muted};
      text-align: left; font-weight: 500; padding: 3px 3px; white-space: nowrap; z-index: 1; }}
    td {{ padding: 1px 3px; white-space: nowrap; border-top: 1px solid {colors.grid}; }}
    td.num, th.num {{ text-align: right; font-variant-numeric: tabular-nums; }}
    td.place {{ width: 99%; max-width: 0; min-width: 58px; overflow: hidden;
      text-overflow: ellipsis; }}
    td.rank {{ color: {colors.muted}; }}
    .scores td, .scores th {{ padding: 2px 3px; }}
    .scores th {{ white-space: normal; vertical-align: bottom; }}
    td.weight {{ min-width: 80px; }}
    .bar {{ display: inline-block; width: 36px; height: 9px; margin-right: 6px; }}
    .bar i {{ display: block; height: 100%; border-radius: 2px; }}
    </style>"""
