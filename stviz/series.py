"""Readings, forecast, band and baselines of one sensor over time, with gaps shown as gaps."""

from collections.abc import Mapping

import holoviews as hv
import pandas as pd
import xarray as xr

from stviz.figures import finish, options
from stviz.labels import DOT, clock, label_quantity, label_source, mark_simulated
from stviz.prepare import missing_spans, prepare_series
from stviz.theme import Theme, get_theme

__all__ = ["plot_series"]


def plot_series(
    forecast: xr.Dataset,
    *,
    node: str,
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
        node: The sensor.
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
    origin = pd.Timestamp(frame.index[(frame["part"] == "horizon").to_numpy()][0])
    origin -= pd.Timedelta(minutes=float(forecast["lead_minutes"].values[0]))
    ahead = frame[frame["part"] == "horizon"]
    coverage = forecast.attrs.get("coverage")
    band_name = f"{float(coverage):.0%} band" if coverage is not None else "band"
    layers = [
        _draw_gaps(frame, colors),
        options(
            hv.Area(
                (ahead.index, ahead["lower"], ahead["upper"]), "time", ["lower", "upper"]
            ).relabel(band_name),
            color=colors.categories[0],
            alpha=0.18,
            line_alpha=0.0,
        ),
    ]
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
            hv.VLine(origin).relabel("forecast origin"),
            color=colors.muted,
            line_width=1.5,
            line_dash="dotted",
        ),
    ]
    subtitle = f"forecast at {clock(origin)} (dotted line)"
    if forecast.attrs.get("model"):
        subtitle += f"{DOT}{forecast.attrs['model']}"
    if missing_spans(frame):
        subtitle += f"{DOT}grey: no reading"
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(
            f"{str(forecast.attrs.get('quantity', 'value')).capitalize()} at {node}", forecast
        ),
        subtitle=subtitle,
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        xlabel="time",
        ylabel=quantity,
        show_grid=True,
        padding=(0.01, 0.08),
        legend_position="bottom",
    )


def _draw_gaps(frame: pd.DataFrame, colors: Theme) -> hv.VSpans:
    spans = missing_spans(frame)
    gaps = hv.VSpans(spans, ["start", "end"]).relabel("no reading")
    return options(gaps, fill_color=colors.gap, alpha=0.5, line_alpha=0.0, show_legend=False)
