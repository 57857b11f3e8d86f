"""Scores by lead time, deletion curves and training history."""

from collections.abc import Mapping, Sequence

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.figures import finish, options
from stviz.labels import label_source, mark_simulated, spellable, time_unit
from stviz.prepare import prepare_scores
from stviz.theme import Theme, get_theme

__all__ = ["line_and_dots", "plot_deletion", "plot_scores", "plot_training"]

METRIC_NAMES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "acc": "ACC", "r2": "R2"}
SHARES = ("acc", "r2")  # without a unit, and 1 at best
DASHES = ("solid", "dashed", "dotted", "dotdash")


def plot_scores(
    scores: xr.Dataset,
    *,
    metric: str = "mae",
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw one score of every model by lead time.

    Args:
        scores: Labelled scores over (model, horizon).
        metric: "mae", "rmse", "mape" or another that was computed; `<metric>_std` is drawn as a
            band where it is there.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay, one curve per model.

    Raises:
        ValueError: The metric or theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_scores(scores, metric=metric)
    units = {"mape": "%", **dict.fromkeys(SHARES, "")}
    unit = units.get(metric, scores.attrs.get("units", ""))
    better = "higher" if metric in SHARES else "lower"
    hour, scale = time_unit(frame["lead_minutes"].min())
    frame["lead"] = frame["lead_minutes"] / scale
    name = METRIC_NAMES.get(metric, metric)
    label = f"{name} ({unit})" if unit else name
    layers = []
    for index, (model, line) in enumerate(frame.groupby("model", sort=False)):
        color = colors.categories[index % len(colors.categories)]
        dash = DASHES[index // len(colors.categories) % len(DASHES)]
        if "spread" in line:
            low, high = line["value"] - line["spread"], line["value"] + line["spread"]
            band = hv.Area((line["lead"], low, high), "lead", ["low", "high"])
            layers.append(options(band, color=color, alpha=0.15, line_alpha=0.0))
        layers += line_and_dots(
            line["lead"],
            line["value"],
            label=str(model),
            color=color,
            dash=dash,
            width=2.6 if index == 0 else 1.8,
            tips=[("model", "@name"), ("lead", f"@x{{0}} {hour}"), (name, f"@y{{0.00}} {unit}")],
        )
    protocol = scores.attrs.get("protocol", "")
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{label} by lead time, {better} is better", scores),
        subtitle=f"protocol: {protocol}" if protocol else "",
        credit=_credit(scores),
        theme=colors,
        width=width,
        height=height,
        xlabel=f"lead time ({hour})",
        ylabel=label,
        show_grid=True,
        padding=(0.03, 0.08),
        legend_position="bottom",
    )


def plot_deletion(
    curve: xr.Dataset,
    *,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw how the forecast suffers as its sources are removed or revealed, in several orders.

    If the alignment tells the truth, removing the sources it names first hurts sooner than
    removing sources at random, and revealing them helps sooner.

    Args:
        curve: `error(order, removed)` with the coordinate `removed` (number of sources) and
            perhaps `spread(order, removed)`, or the same over `revealed`; attributes `units` and
            `title`.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay, one curve per order.

    Raises:
        ValueError: `error` is absent or has other dims.
    """
    colors = get_theme(theme)
    along = "revealed" if "revealed" in curve.dims else "removed"
    if "error" not in curve or set(curve["error"].dims) != {"order", along}:
        raise ValueError(
            f"A deletion curve must hold 'error' over ('order', '{along}'); got "
            f"{ {str(k): v.dims for k, v in curve.data_vars.items()} }. Rename its variables."
        )
    units = curve.attrs.get("units", "")
    label = f"error (MAE, {units})" if units else "error (MAE)"
    number = curve[along].values
    side = "above" if along == "removed" else "below"
    layers = []
    for index, order in enumerate(curve["order"].values.tolist()):
        color = colors.categories[index % len(colors.categories)]
        error = curve["error"].sel(order=order).values.astype(float)
        if "spread" in curve:
            spread = curve["spread"].sel(order=order).values.astype(float)
            band = hv.Area((number, error - spread, error + spread), along, ["low", "high"])
            layers.append(options(band, color=color, alpha=0.15, line_alpha=0.0))
        layers += line_and_dots(
            number,
            error,
            label=str(order),
            color=color,
            width=2.2,
            tips=[("order", "@name"), (along, "@x"), ("error", f"@y{{0.00}} {units}")],
        )
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"Error as sources are {along}: does the alignment matter?", curve),
        subtitle=f"a curve {side} 'random' names sources that the forecast really uses",
        credit=_credit(curve),
        theme=colors,
        width=width,
        height=height,
        xlabel=f"sources {along}",
        ylabel=label,
        show_grid=True,
        padding=(0.03, 0.08),
        legend_position="bottom",
    )


def plot_training(
    history: Sequence[Mapping[str, float]],
    *,
    units: str = "",
    title: str = "",
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 280,
) -> hv.Overlay:
    """Draw training loss and validation error by epoch, with the best epoch marked.

    Args:
        history: One mapping per epoch with epoch, train_loss and val_mae.
        units: Unit of both.
        title: What was trained, for the subtitle.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay of two curves; without epochs it is empty and says so.
    """
    colors = get_theme(theme)
    frame = pd.DataFrame(list(history), columns=["epoch", "train_loss", "val_mae"]).astype(float)
    layers: list[hv.Element] = []
    names = {"train_loss": "training loss", "val_mae": "validation MAE"}
    for index, (column, label) in enumerate(names.items()):
        layers += line_and_dots(
            frame["epoch"],
            frame[column],
            label=label,
            color=colors.categories[1 - index],
            width=2.2,
            tips=[("epoch", "@x"), (label, f"@y{{0.000}} {units}")],
        )
    scored = frame[["epoch", "val_mae"]].dropna().to_numpy(float)
    best = scored[np.argsort(scored[:, 1], kind="stable")[:1]]
    subtitle = "no epoch finished yet"
    for epoch, error in best.tolist():
        subtitle = f"best: {error:.3f} {units} at epoch {epoch:g}"
    # There with no epoch too, so that a figure on a page can be changed in place.
    mark = hv.Scatter(best, "x", "y", label="best")
    layers.append(
        options(mark, color=colors.categories[0], size=12, marker="star", show_legend=False)
    )
    return finish(
        hv.Overlay(layers),
        title=f"Training: {title}" if title else "Training",
        subtitle=subtitle,
        credit="",
        theme=colors,
        width=width,
        height=height,
        xlabel="epoch",
        ylabel=f"error ({units})" if units else "error",
        show_grid=True,
        padding=(0.03, 0.08),
        legend_position="bottom",
    )


def _credit(data: xr.Dataset) -> str:
    return label_source(data) if "source" in data.attrs else str(data.attrs.get("title", ""))


def line_and_dots(
    x: pd.Series | np.ndarray,
    y: pd.Series | np.ndarray,
    *,
    label: str,
    color: str,
    width: float,
    tips: list[tuple[str, str]],
    dash: str = "solid",
) -> list[hv.Element]:
    """Draw a line, and dots that tell their values.

    Args:
        x: Where.
        y: Values.
        label: For legend and tips.
        color: Of both.
        width: Pixels of the line.
        tips: What a dot tells, as Bokeh has it.
        dash: Of the line.

    Returns:
        The line and the dots.
    """
    spelt = spellable(label)
    line = hv.Curve((x, y), "x", "y", label=spelt)
    # Names go through the data: in the text of a tooltip they could be read as fields.
    dots = hv.Scatter({"x": x, "y": y, "name": [label] * len(x)}, "x", ["y", "name"], label=spelt)
    return [
        options(line, color=color, line_width=width, line_dash=dash),
        options(dots, color=color, size=5, tools=["hover"], hover_tooltips=tips),
    ]
