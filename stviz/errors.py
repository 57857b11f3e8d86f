"""When and where forecasts err: by hour of the day, and by region."""

from collections.abc import Mapping

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_forecast
from stviz.figures import finish, options
from stviz.labels import DOT, label_source, mark_simulated
from stviz.regions import node_weights, prepare_regions
from stviz.scores import line_and_dots
from stviz.theme import Theme, get_theme

__all__ = ["plot_errors", "prepare_errors"]

GROUPS = ("hour", "region")


def prepare_errors(
    forecast: xr.Dataset,
    *,
    by: str = "hour",
    baselines: Mapping[str, xr.DataArray] | None = None,
    zones: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give the mean absolute error by hour of the day or by region.

    Args:
        forecast: A labelled forecast of many origins, of nodes or a grid.
        by: "hour" of the day of what is forecast, in the data's own time, or "region": boroughs of
            zones, corridors of a freeway that names them, bands of latitude.
        baselines: Forecasts of the same origins by name, over (time, horizon, node).
        zones: Polygons of the places with a column `borough`, for taxi zones `load_zones()`.

    Returns:
        Columns model, group, mae (units of the forecast) and count (of observed targets), models
        and groups in their order. All lead times are pooled; cells of a grid count by their area.

    Raises:
        ValueError: `by` is neither, no region is known, or nothing was observed.
    """
    forecast = as_nodes(check_forecast(forecast))
    if by not in GROUPS:
        raise ValueError(
            f"by must be one of {', '.join(GROUPS)}; got {by!r}. Pass one of these names."
        )
    regions = None if by == "hour" else prepare_regions(forecast, zones=zones)
    groups = _hours(forecast) if regions is None else regions.to_numpy()
    truth = forecast["target"].values.astype(float)
    weight = np.where(np.isfinite(truth), node_weights(forecast, zones=zones), 0.0)
    if not weight.any():
        raise ValueError(
            "Errors need observed targets; got none in this forecast. Forecast times whose "
            "readings are in the dataset."
        )
    groups = np.broadcast_to(groups, truth.shape)
    models = {
        str(forecast.attrs.get("model", "forecast")): forecast["forecast"],
        **(baselines or {}),
    }
    tables = []
    for name, values in models.items():
        size = np.abs(values.values.astype(float) - truth)
        known = (weight > 0) & np.isfinite(size)
        table = pd.DataFrame(
            {
                "group": groups[known],
                "weight": weight[known],
                "sum": (weight[known] * size[known]),
            }
        ).groupby("group")
        sums = table.sum()
        tables.append(
            pd.DataFrame(
                {
                    "model": name,
                    "group": sums.index,
                    "mae": (sums["sum"] / sums["weight"]).to_numpy(),
                    "count": table.size().to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _hours(forecast: xr.Dataset) -> np.ndarray:
    lead = pd.to_timedelta(forecast["lead_minutes"].values, "min").to_numpy()
    when = forecast["time"].values[:, None] + lead
    return pd.DatetimeIndex(when.ravel()).hour.to_numpy().reshape(*when.shape, 1)


def plot_errors(
    forecast: xr.Dataset,
    *,
    by: str = "hour",
    baselines: Mapping[str, xr.DataArray] | None = None,
    zones: pd.DataFrame | None = None,
    theme: str | Theme = "light",
    width: int | None = 620,
    height: int | None = 320,
) -> hv.Overlay:
    """Draw when or where forecasts err most, beside baselines.

    Args:
        forecast: As for `prepare_errors`, like the three options below.
        by: "hour" or "region".
        baselines: Forecasts of the same origins by name.
        zones: Polygons with a column `borough`.
        theme: "light", "dark" or a `Theme`.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.

    Returns:
        A HoloViews overlay: a line for each model by hour, or its dots by region.

    Raises:
        ValueError: As `prepare_errors`, or the theme is not there.
    """
    colors = get_theme(theme)
    frame = prepare_errors(forecast, by=by, baselines=baselines, zones=zones)
    units = forecast.attrs.get("units", "")
    label = f"MAE ({units})" if units else "MAE"
    word = {"hour": "hour of the day", "region": "region"}[by]
    layers = []
    for index, (model, part) in enumerate(frame.groupby("model", sort=False)):
        color = colors.categories[index % len(colors.categories)]
        tips = [("model", "@name"), (word, "@x"), ("MAE", f"@y{{0.00}} {units}")]
        line, dots = line_and_dots(
            part["group"], part["mae"], label=str(model), color=color, tips=tips,
            width=2.6 if index == 0 else 1.8, dash="solid" if index == 0 else "dashed",
        )  # fmt: skip
        # Between regions there is nothing that a line could pass through.
        layers += [line, dots] if by == "hour" else [options(dots, size=11 if index == 0 else 8)]
    origins = forecast.sizes["time"]
    facts = [f"{origins} moments", "all lead times together"]
    return finish(
        hv.Overlay(layers),
        title=mark_simulated(f"{label} by {word}", forecast),
        subtitle=DOT.join(facts),
        credit=label_source(forecast),
        theme=colors,
        width=width,
        height=height,
        xlabel=word if by == "region" else f"{word} that is forecast",
        ylabel=label,
        ylim=(0.0, None),
        show_grid=True,
        padding=(0.05, 0.1),
        legend_position="bottom",
    )
