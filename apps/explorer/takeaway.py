"""What a reader takes home: data behind the views, the code that makes them, a page of its own.

Nothing here knows a widget.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from explorer.catalog import bundle_of
from explorer.choices import DAMAGES, PICTURES, plain
from explorer.evidence import Evidence
from explorer.text import effect_html, sources_html, trust_html
from stviz import (
    alignment_table,
    folium_forecast_map,
    plot_alignment_cube,
    plot_series,
    prepare_alignment,
    prepare_forecast_map,
    prepare_series,
)
from stviz.labels import clock, name_nodes
from stviz.theme import get_theme

if TYPE_CHECKING:
    import holoviews as hv

__all__ = ["ALIGNED", "ENDS", "TAKEAWAYS", "View", "notebook_code", "report"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute
ALL_SOURCES = 10_000
STYLE = """
body { font: 14px system-ui, sans-serif; max-width: 820px; margin: 24px auto; padding: 0 12px }
iframe { width: 100%; border: 1px solid #ddd }
th { text-align: left; padding-right: 12px; white-space: nowrap; vertical-align: top }
pre { white-space: pre-wrap; background: #f4f4f4; padding: 8px }
"""


@dataclass(frozen=True, kw_only=True)
class View:
    """What is on the page.

    Args:
        evidence: With a forecast.
        nodes: The selected place, or those of the selected region.
        segment: The selected block of horizon steps.
        head: One head, or None for the mean of all.
        min_weight: Sources below it are not shown.
        variable: What the map shows.
        picture: How the alignment is shown, one of `PICTURES`.
    """

    evidence: Evidence
    nodes: tuple[str, ...]
    segment: int
    head: int | None
    min_weight: float
    variable: str
    picture: str = PICTURES[0]

    @property
    def sources(self) -> dict[str, object]:
        """The selection as functions of alignments take it."""
        names = ("segment", "head", "min_weight")
        return {"node": self.node, **{name: getattr(self, name) for name in names}}

    @property
    def node(self) -> str | list[str]:
        """The place, or the places of a region, as functions take them."""
        return self.nodes[0] if len(self.nodes) == 1 else list(self.nodes)

    @property
    def name(self) -> str:
        """A name for files, of letters that every system takes."""
        origin = pd.Timestamp(self.evidence.forecast["time"].values[0])
        dataset = Path(self.evidence.request.dataset).stem
        place = re.sub(r"[^A-Za-z0-9]+", "-", name_nodes(self.nodes))[:40].strip("-")
        return "-".join(filter(None, [dataset, f"{origin:%Y%m%dT%H%M}", place]))

    def tell(self, table: pd.DataFrame) -> pd.DataFrame:
        """Give a table with columns that say what it is of."""
        lead = self.evidence.forecast["lead_minutes"].values
        steps = len(lead) // self.evidence.num_segments
        ahead = lead[[(self.segment - 1) * steps, self.segment * steps - 1]]
        return table.assign(**{
            "target": name_nodes(self.nodes),
            "minutes ahead": f"{ahead[0]:g} to {ahead[1]:g}",
            "head": "mean" if self.head is None else str(self.head),
            "forecast at": self.evidence.forecast["time"].values[0],
            "model": self.evidence.forecast.attrs["model"],
        })  # fmt: skip


def forecast_csv(view: View) -> bytes:
    """Give every place's forecast, band and truth at every step ahead, a row each."""
    return _csv(view.evidence.forecast.to_dataframe().reset_index())


def series_csv(view: View) -> bytes:
    """Give what the series shows of the selected place, or of the region."""
    evidence = view.evidence
    baselines = {**evidence.baselines, "as trained": evidence.as_trained}
    table = prepare_series(
        evidence.forecast, node=view.node, dataset=evidence.dataset, baselines=baselines
    )
    units = evidence.forecast.attrs["units"]
    return _csv(table.reset_index().assign(place=name_nodes(view.nodes), units=units))


def sources_csv(view: View) -> bytes:
    """Give the sources of the selected forecast, strongest first."""
    table = alignment_table(view.evidence.alignment, topk=ALL_SOURCES, **view.sources)
    return _csv(view.tell(table))


def forecast_parquet(view: View) -> bytes:
    """Give the table of `forecast_csv` with its types, and no text changed."""
    return _parquet(view.evidence.forecast.to_dataframe().reset_index())


def sources_parquet(view: View) -> bytes:
    """Give the table of `sources_csv` with its types, and no text changed."""
    table = alignment_table(view.evidence.alignment, topk=ALL_SOURCES, **view.sources)
    return _parquet(view.tell(table.assign(time=pd.to_datetime(table["time"]))))


def map_geojson(view: View) -> bytes:
    """Give what the map shows as points (of cells their centres) or zones, with their values."""
    import geopandas
    import shapely

    frame = prepare_forecast_map(
        view.evidence.forecast,
        horizon=view.evidence.last_step(view.segment),
        variable=view.variable,
        reference=view.evidence.as_trained,
        zones=view.evidence.zones,
    )
    shapes = frame.get("shape")
    if shapes is None:
        shapes = shapely.points(frame[["longitude", "latitude"]].to_numpy())
    columns = ["node", "name", "value", "forecast", "target"]
    table = geopandas.GeoDataFrame(frame[columns], geometry=list(shapes), crs="EPSG:4326")
    fields = json.loads(table.to_json(na="null", drop_id=True))
    fields["about"] = {name: str(value) for name, value in frame.attrs.items()}
    return json.dumps(fields).encode()


def alignment_netcdf(view: View) -> bytes:
    """Give the alignments of all places, as `align` returns them."""
    return bytes(view.evidence.alignment.to_netcdf())


def forecast_netcdf(view: View) -> bytes:
    """Give the forecasts of all places, as `forecast` returns them."""
    return bytes(view.evidence.forecast.to_netcdf())


def _csv(table: pd.DataFrame) -> bytes:
    """Write a table in which no text is a formula."""
    plain = table.copy()
    for name in plain.select_dtypes(include=["object", "string"]).columns:
        plain[name] = [
            f"'{each}" if isinstance(each, str) and each.startswith(FORMULA) else each
            for each in plain[name]
        ]
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _parquet(table: pd.DataFrame) -> bytes:
    table = table.copy()
    table.attrs = {name: str(value) for name, value in table.attrs.items()}
    return table.to_parquet()


def notebook_code(view: View) -> str:
    """Write the notebook cell that makes the pictures of a view.

    Args:
        view: What is on the page.

    Returns:
        Python; it needs the packages of this project alone.
    """
    evidence, asked = view.evidence, view.evidence.request
    data = repr(asked.dataset)
    loads, run = "load_run", f"load_run({str(asked.root / asked.run)!r})"
    if bundle := bundle_of(asked.run, asked.dataset):
        loads, run = "load_pretrained", f"load_pretrained({bundle!r}, {asked.variant!r})"
    has_alignment = evidence.alignment is not None
    shows, how = _call_of(view, zones=evidence.zones is not None)
    drawn = ["plot_forecast_map", "plot_series"] + [shows] * has_alignment
    history = evidence.forecaster.config.data.history_steps
    switches = {
        "topk": asked.topk,
        "window": None if asked.window else False,
        "silent_heads": list(asked.silent_heads),
        "mask_nodes": list(asked.hidden),
        "mask_steps": sorted(history - 1 - step for step in asked.withheld),
    }
    given = {name: value for name, value in switches.items() if value not in (None, [])}
    options = "**switches" if given else ""
    seen = "seen" if asked.damage else "dataset"
    time = str(pd.Timestamp(evidence.forecast["time"].values[0]))
    zones = ", zones=zones" if evidence.zones is not None else ""
    loaders = sorted(["load_dataset", loads, *["load_zones"] * bool(zones)])
    lines = [
        f"from sttrans_core import {', '.join(loaders)}",
        f"from stviz import {', '.join(sorted(drawn))}",
    ]
    if asked.damage:
        lines.append("from sttrans_core.evaluation.robustness import corrupt")
    lines += ["", f"dataset, forecaster = load_dataset({data}), {run}", f"time = {time!r}"]
    if zones:
        lines.append("zones = load_zones()")
    if given:
        lines.append(f"switches = {given!r}")
    if asked.damage:
        lines += [
            f"part = dataset.isel(time=slice({evidence.first_seen}, {asked.step + 1})).load()",
            "seen = corrupt(",
            f"    part, {asked.damage!r}, std=forecaster.data.scaler.std, block_steps={history}",
            ")",
        ]
    comma = ", " if options else ""
    lines += [f"forecast = forecaster.forecast({seen}, [time]{comma}{options})"]
    reference = ""
    if view.variable == "change":
        lines.append("as_trained = forecaster.forecast(dataset, [time])")
        reference = ", reference=as_trained"
    lines += [
        "display(plot_forecast_map(",
        f"    forecast, horizon={evidence.last_step(view.segment)},",
        f"    variable={view.variable!r}{reference}{zones},",
        f"    selected={view.node!r}, hidden={list(asked.hidden)!r},",
        "))",
        f"display(plot_series(forecast, node={view.node!r}, dataset=dataset))",
    ]
    if has_alignment:
        lines += [
            f"alignment = forecaster.align({seen}, time, {list(view.nodes)!r}{comma}{options})",
            f"display({shows}(",
            f"    alignment, node={view.node!r}, segment={view.segment}{how},",
            "))",
        ]
    return "\n".join(lines) + "\n"


def _call_of(view: View, *, zones: bool) -> tuple[str, str]:
    """Give the function that draws an alignment as the page does, and its last options."""
    by = {"Distance": ", by='distance'", "Delay": ", by='delay'"}
    if view.picture in by:
        return "plot_alignment_profile", by[view.picture]
    if view.picture == PICTURES[-1]:
        return "plot_alignment_heads", ""
    name = "plot_alignment_map" if view.picture == PICTURES[1] else "plot_alignment_cube"
    options = f",\n    head={view.head}, min_weight={view.min_weight}, dataset=dataset"
    return name, options + ", zones=zones" * zones


def notebook(view: View) -> bytes:
    """Write a notebook with the cell of `notebook_code`."""
    asked = view.evidence.request
    # Names are data, which Markdown must not take for links or pictures.
    what = plain(f"{Path(asked.dataset).stem}: {name_nodes(view.nodes)}")
    title = f"# {what}\n\nA view of the ST-Trans explorer."
    source = f"import panel as pn\n\npn.extension(inline=True)\n\n{notebook_code(view)}"
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": title, "id": "view"},
        {**code, "source": source, "id": "code"},
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({
        "cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5,
    }).encode()  # fmt: skip


def report(view: View) -> bytes:
    """Write a page that shows the view without a server and without a network.

    Args:
        view: What is on the page.

    Returns:
        HTML with all that it needs inside.
    """
    evidence, colors = view.evidence, get_theme("light")
    forecaster = evidence.forecaster
    series = plot_series(
        evidence.forecast, node=view.node, dataset=evidence.dataset,
        baselines=dict(evidence.baselines), width=760, height=340,
    )  # fmt: skip
    around = folium_forecast_map(
        evidence.forecast, horizon=view.evidence.last_step(view.segment), variable=view.variable,
        reference=evidence.as_trained, zones=evidence.zones,
    )  # fmt: skip
    frames = [
        ("Map", around.get_root().render(), 520),
        ("Series", _page_of(series), 380),
    ]
    facts, table = "", ""
    if evidence.alignment is not None:
        cube = plot_alignment_cube(
            evidence.alignment, **view.sources, dataset=evidence.dataset, zones=evidence.zones,
            width=760, height=560,
        )  # fmt: skip
        frames.append(("Alignment", cube.to_html(include_plotlyjs=True), 590))
        sources = prepare_alignment(evidence.alignment, **view.sources)
        facts = trust_html(evidence, sources, colors)
        table = sources_html(evidence, view.sources, colors)
    scores = forecaster.scores
    about = {
        "Data": evidence.dataset.attrs["title"],
        "Source": evidence.dataset.attrs["source"],
        "Run": f"{forecaster.config.label}, {forecaster.config.hash}",
        "Forecast at": f"{clock(evidence.forecast['time'].values[0])}, in the {evidence.part} part",
        "Place": evidence.name_of(view.nodes),
        "Protocol": "not scored" if scores is None else scores.attrs["protocol"],
    }
    if evidence.request.is_switched:
        about["Switched"] = _say_switches(view)
    if evidence.dataset.attrs["synthetic"]:
        about["Note"] = "These readings are simulated."
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in about.items()
    )
    shown = "".join(
        f"<h2>{name}</h2><iframe title='{name}' sandbox='allow-scripts' height='{height}' "
        f'srcdoc="{escape(page, quote=True)}"></iframe>'
        for name, page, height in frames
    )
    switches = effect_html(evidence, colors) if evidence.request.is_switched else ""
    code = f"<h2>Code</h2><pre>{escape(notebook_code(view))}</pre>"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(view.name)}</title>"
        f"<style>{STYLE}</style><h1>Can this forecast be trusted?</h1><table>{rows}</table>"
        f"<p>{switches}</p>{shown}{facts}{table}{code}</html>"
    ).encode()


def _say_switches(view: View) -> str:
    """Say in words what was switched live."""
    asked, evidence = view.evidence.request, view.evidence
    minutes = evidence.forecast["lead_minutes"].values[0]
    back = ", ".join(f"{step * minutes:g}" for step in asked.withheld)
    damage = {value: name for name, value in DAMAGES.items()}
    said = {
        f"k = {asked.topk}": asked.topk is not None,
        "no local window": not asked.window,
        f"silent heads {', '.join(map(str, asked.silent_heads))}": asked.silent_heads,
        f"hidden places {', '.join(asked.hidden)}": asked.hidden,
        f"withheld readings {back} minutes before the forecast": asked.withheld,
        f"readings: {damage.get(asked.damage, '')}": asked.damage,
    }
    return "; ".join(words for words, holds in said.items() if holds)


def _page_of(figure: "hv.Overlay") -> str:
    """Give a page with one figure and with Bokeh inside, but none of what Panel adds to it."""
    import holoviews as hv
    from bokeh.embed import components
    from bokeh.resources import Resources

    script, place = components(hv.render(figure, backend="bokeh"))
    library = Resources(mode="inline", components=["bokeh"]).js_raw
    inside = "".join(f"<script>{each}</script>" for each in library)
    return f"<!doctype html><meta charset='utf-8'>{inside}{place}{script}"


DRAWN = {"PNG": None, "SVG": None}  # the browser has the picture already
# By subject and format.
TAKEAWAYS: dict[str, dict[str, Callable[[View], bytes] | None]] = {
    "Report": {"HTML": report},
    "Map": {**DRAWN, "GeoJSON": map_geojson},
    "Series": {**DRAWN, "CSV": series_csv},
    "Alignment": {**DRAWN, "NetCDF": alignment_netcdf},
    "Sources": {"CSV": sources_csv, "Parquet": sources_parquet},
    "Errors": DRAWN,
    "Forecasts": {"CSV": forecast_csv, "Parquet": forecast_parquet, "NetCDF": forecast_netcdf},
    "Code": {"Notebook": notebook},
}
ALIGNED = ("Alignment", "Sources")  # need an alignment
ENDS = {
    "HTML": "html", "PNG": "png", "SVG": "svg", "GeoJSON": "geojson", "CSV": "csv",
    "NetCDF": "nc", "Parquet": "parquet", "Notebook": "ipynb",
}  # fmt: skip
