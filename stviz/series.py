"""Readings, forecast, band and baselines of one sensor over time, with gaps shown as gaps."""

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from stviz.figures import LiveFigure, finish, options
from stviz.labels import (
    DOT,
    clock,
    label_quantity,
    label_source,
    mark_simulated,
    name_nodes,
    pick_nodes,
)
from stviz.prepare import missing_spans, prepare_series
from stviz.theme import Theme, get_theme

__all__ = ["plot_series", "update_series"]

PADDING = (0.01, 0.08)


def plot_series(
    forecast: xr.Dataset,
    *,
    node: str | Sequence[str],
    time: object | None = None,
    dataset: xr.Dataset | None = None,
    baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
    history_steps: int = 36,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 300,
) -> hv.Overlay:
    """Draw what was measured and what was forecast at one sensor.

    Args:
        forecast: A labelled forecast.
        node: The place, or several, whose mean is shown, without a band.
        time: Forecast origin; the last one when None.
        dataset: The dataset behind it, for the readings before the origin.
        baselines: Forecasts of the same origins by name, as datasets with `forecast` or as arrays.
        history_steps: Readings shown up to and including the origin.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay of curves and the prediction band; grey bands mark missing readings
        and a dotted line the forecast origin.

    Raises:
        ValueError: The sensor, time or theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_series(
        forecast,
        node=node,
        time=time,
        dataset=dataset,
        baselines=baselines,
        history_steps=history_steps,
    )
    quantity = label_quantity(forecast)
    units = forecast.attrs.get("units", "")
    ahead = frame[frame["part"] == "horizon"]
    band = (
        []
        if not _has_band(ahead)
        else [
            options(
                hv.Area(
                    (ahead.index, ahead["lower"], ahead["upper"]),
                    "time",
                    ["lower", "upper"],
                    label=_name_band(forecast),
                ),
                color=colors.categories[0],
                alpha=0.18,
                line_alpha=0.0,
            ),
        ]
    )
    layers = [_draw_gaps(frame, colors), *band]
    hover = {"tools": ["hover"], "hover_mode": "vline"}
    for index, name in enumerate(baselines or {}, start=1):
        line = hv.Curve((ahead.index, ahead[name]), "time", "value", label=str(name))
        color = colors.categories[index % len(colors.categories)]
        layers.append(options(line, color=color, line_width=1.5, line_dash="dashed"))
    measured = hv.Curve((frame.index, frame["reading"]), "time", "value", label="measured")
    dots = hv.Scatter((frame.index, frame["reading"]), "time", "value", label="measured")
    predicted = hv.Curve((ahead.index, ahead["forecast"]), "time", "value", label="forecast")
    layers += [
        options(measured, color=colors.text, line_width=1.8),
        options(
            dots,
            color=colors.text,
            size=4,
            tools=["hover"],
            hover_tooltips=[("time", "@time{%F %H:%M}"), ("measured", f"@value{{0.0}} {units}")],
            hover_formatters={"@time": "datetime"},
        ),
        options(
            predicted,
            color=colors.categories[0],
            line_width=2.6,
            **hover,
            hover_tooltips=[("time", "@time{%F %H:%M}"), ("forecast", f"@value{{0.0}} {units}")],
            hover_formatters={"@time": "datetime"},
        ),
        options(
            hv.VLine(_find_origin(frame, forecast)).relabel("forecast origin"),
            color=colors.muted,
            line_width=1.5,
            line_dash="dotted",
        ),
    ]
    title, subtitle = _describe(frame, forecast, node)
    return finish(
        hv.Overlay(layers),
        title=title,
        subtitle=subtitle,
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        xlabel="time",
        ylabel=quantity,
        show_grid=True,
        padding=PADDING,
        legend_position="bottom",
        legend_cols=3 if len(baselines or {}) > 2 else False,
    )


def _draw_gaps(frame: pd.DataFrame, colors: Theme) -> hv.VSpans:
    spans = missing_spans(frame)
    gaps = hv.VSpans(spans, ["start", "end"]).relabel("no reading")
    return options(gaps, fill_color=colors.gap, alpha=0.5, line_alpha=0.0, show_legend=False)


def _find_origin(frame: pd.DataFrame, forecast: xr.Dataset) -> pd.Timestamp:
    first = pd.Timestamp(frame.index[(frame["part"] == "horizon").to_numpy()][0])
    return first - pd.Timedelta(minutes=float(forecast["lead_minutes"].values[0]))


def _name_band(forecast: xr.Dataset) -> str:
    coverage = forecast.attrs.get("coverage")
    return f"{float(coverage):.0%} band" if coverage is not None else "band"


def _describe(
    frame: pd.DataFrame, forecast: xr.Dataset, node: str | Sequence[str]
) -> tuple[str, str]:
    """Write the two lines above the figure."""
    quantity = str(forecast.attrs.get("quantity", "value"))
    quantity = quantity[:1].upper() + quantity[1:]  # PM2.5 stays as it is
    facts = [f"forecast at {clock(_find_origin(frame, forecast))} (dotted line)"]
    if forecast.attrs.get("model"):
        facts.append(str(forecast.attrs["model"]))
    if missing_spans(frame):
        facts.append("grey: no reading")
    nodes = pick_nodes(as_nodes(forecast), node)
    words = f"{quantity} at {name_nodes(nodes)}" + (", mean" if len(nodes) > 1 else "")
    return mark_simulated(words, forecast), DOT.join(facts)


def update_series(
    figure: LiveFigure,
    forecast: xr.Dataset,
    *,
    node: str | Sequence[str],
    dataset: xr.Dataset,
    baselines: Mapping[str, xr.Dataset | xr.DataArray],
) -> None:
    """Show another sensor in a figure of `plot_series`; all else must be as it was drawn.

    Args:
        figure: The figure.
        forecast: The labelled forecast.
        node: The place, or several, whose mean is shown, without a band.
        dataset: The dataset behind it.
        baselines: Forecasts by name.

    Raises:
        ValueError: The sensor is not there.
    """
    frame = prepare_series(forecast, node=node, dataset=dataset, baselines=baselines)
    for label, columns in _columns(frame, _name_band(forecast)).items():
        figure.fill(label, columns)
    values = frame.drop(columns="part").to_numpy(float)
    low, high = np.nanmin(values), np.nanmax(values)
    room = PADDING[1] * ((high - low) or 1.0)
    low, high = low - room, high + room
    figure.figure.y_range.update(start=low, end=high, reset_start=low, reset_end=high)
    figure.entitle(*_describe(frame, forecast, node))


def _has_band(ahead: pd.DataFrame) -> bool:
    return bool(ahead["lower"].notna().any())


def _columns(frame: pd.DataFrame, band: str) -> dict[str, dict[str, Any]]:
    """Give the columns of each layer as Bokeh has them, by the label of the layer."""
    ahead = frame[frame["part"] == "horizon"]
    lines = {
        name: {"time": ahead.index.to_numpy(), "value": ahead[name].to_numpy(float)}
        for name in ahead.columns.difference(["part", "reading", "lower", "upper"])
    }
    edges = ahead[["upper", "lower"]].to_numpy(float)
    area = {
        "x": np.concatenate([ahead.index, ahead.index[::-1]]),
        "y": np.concatenate([edges[:, 0], edges[::-1, 1]]),
    }
    spans = np.array(missing_spans(frame), "datetime64[ns]").reshape(-1, 2)
    return {
        **lines,
        "measured": {"time": frame.index.to_numpy(), "value": frame["reading"].to_numpy(float)},
        **({band: area} if _has_band(ahead) else {}),
        "no reading": {"start": spans[:, 0], "end": spans[:, 1]},
    }
