"""From labelled forecasts and scores to the tidy tables that the drawings show. Pure functions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import as_nodes
from sttrans_core.schema import check_forecast, interval_of
from stviz.labels import pick, pick_nodes, pick_time
from stviz.places import prepare_places
from stviz.regions import node_weights

__all__ = [
    "MAP_VARIABLES",
    "missing_spans",
    "prepare_forecast_map",
    "prepare_scores",
    "prepare_series",
    "value_limits",
]

MAP_VARIABLES = ("forecast", "target", "error", "lower", "upper", "width", "change", "excess")
COMPARED = ("change", "excess")  # with another forecast


def prepare_forecast_map(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    horizon: int = 1,
    variable: str = "forecast",
    reference: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Give one value per place for one forecast origin and horizon step.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        time: Forecast origin; the last one when None.
        horizon: Horizon step, from 1.
        variable: "forecast", "target" (what was measured), "error" (forecast minus target),
            "lower" or "upper" (prediction band), "width" of the band, "change" (forecast minus the
            forecast of `reference`), or "excess" (size of the error minus that of `reference`).
        reference: Another forecast of the same places, times and steps.
        zones: Polygons of the places, a GeoDataFrame by node, where they are zones.

    Returns:
        Columns node, name, longitude (unwrapped over the date line) and latitude in degrees, x and
        y in Web Mercator metres, value, forecast and target in the units of the forecast (NaN where
        unknown); for the cells of a grid also left, bottom, right and top in metres, for zones
        their shape in degrees. `attrs` hold time, valid_time, lead_minutes, variable, horizon.

    Raises:
        ValueError: The variable, time or horizon step is not there, a place has no polygon, or a
            comparison has no reference that fits.
    """
    forecast = as_nodes(check_forecast(forecast))
    if variable not in MAP_VARIABLES:
        raise ValueError(
            f"variable must be one of {', '.join(MAP_VARIABLES)}; got {variable!r}. "
            "Pass one of these names."
        )
    origin = pick_time(forecast, time)
    step = pick(forecast, "horizon", horizon)
    slab = forecast.sel(time=origin, horizon=step)
    predicted = slab["forecast"].values.astype(float)
    measured = slab["target"].values.astype(float)
    if variable == "error":
        value = predicted - measured
    elif variable == "width":
        value = slab["upper"].values.astype(float) - slab["lower"].values
    elif variable in COMPARED:
        other = _fitting(reference, forecast).sel(time=origin, horizon=step)
        value = _compare(variable, predicted, other["forecast"].values, measured)
    else:
        value = slab[variable].values.astype(float)
    frame = prepare_places(slab, zones=zones)
    frame = frame.assign(value=value, forecast=predicted, target=measured)
    minutes = float(slab["lead_minutes"])
    frame.attrs = {
        "time": origin,
        "valid_time": origin + pd.Timedelta(minutes=minutes),
        "lead_minutes": minutes,
        "horizon": int(step),
        "variable": variable,
    }
    return frame


def _compare(
    variable: str, forecast: np.ndarray, reference: np.ndarray, target: np.ndarray
) -> np.ndarray:
    if variable == "change":
        return forecast - reference.astype(float)
    return np.abs(forecast - target) - np.abs(reference.astype(float) - target)


def _fitting(reference: xr.Dataset | None, forecast: xr.Dataset) -> xr.Dataset:
    """Refuse a reference that a forecast cannot be compared with, place by place."""
    other = None if reference is None else as_nodes(check_forecast(reference))
    for name in ("node", "time", "horizon"):
        if other is None or not np.array_equal(other[name].values, forecast[name].values):
            given = "none" if other is None else f"one of another {name}"
            raise ValueError(
                "A comparison needs a reference, a forecast of the same places, times and steps; "
                f"got {given}. Pass reference=forecaster.forecast(...) of the same dataset and "
                "times."
            )
    return other


def value_limits(
    forecast: xr.Dataset, *, variable: str = "forecast", reference: xr.Dataset | None = None
) -> tuple[float, float]:
    """Give the ends of a colour scale that serves all times and steps of a forecast.

    Args:
        forecast: A labelled forecast.
        variable: As for `prepare_forecast_map`.
        reference: Likewise.

    Returns:
        Low and high in the units of the forecast: the 1st and 99th percentile of the forecast and
        what was measured; for errors and comparisons plus and minus the 99th percentile of their
        size;
        for the width of the band from 0.
    """
    if variable in COMPARED:
        nodes = as_nodes(forecast)
        other = _fitting(reference, nodes)["forecast"].values
        predicted, measured = (nodes[name].values.astype(float) for name in ("forecast", "target"))
        largest = _percentile(np.abs(_compare(variable, predicted, other, measured)), 99) or 1.0
        return -largest, largest
    few = forecast.isel(time=slice(None, None, max(1, forecast.sizes["time"] // 24)))
    if variable == "error":
        size = np.abs(few["forecast"].values.astype(float) - few["target"].values)
        largest = _percentile(size, 99)
        return -largest, largest
    if variable == "width":
        return 0.0, _percentile(few["upper"].values.astype(float) - few["lower"].values, 99)
    values = np.stack([few["forecast"].values, few["target"].values]).astype(float)
    low, high = _percentile(values, 1), _percentile(values, 99)
    return (low, high) if low < high else (low - 1.0, high + 1.0)


def _percentile(values: np.ndarray, share: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, share)) if known.size and known.any() else 1.0


def prepare_series(
    forecast: xr.Dataset,
    *,
    node: str | Sequence[str],
    time: object | None = None,
    dataset: xr.Dataset | None = None,
    baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
    history_steps: int = 36,
) -> pd.DataFrame:
    """Give history, truth, forecast, band and baselines of a place around one origin.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        node: The place, or several, whose mean is given: of those that were read at a time, cells
            by their area.
        time: Forecast origin; the last one when None.
        dataset: The dataset behind it, for the readings before the origin.
        baselines: Forecasts of the same origins by name, as datasets with `forecast` or as arrays.
        history_steps: Readings shown up to and including the origin, at least 1.

    Returns:
        One row per time step, index `time`; columns part ("history" or "horizon"), reading (NaN
        where missing or unknown), forecast, lower, upper (NaN for several places: the band of a
        mean is not the mean of bands), and one per baseline. The row of the
        origin carries the last reading as the start of the forecast lines.

    Raises:
        ValueError: The node or time is not there, or `history_steps` is below 1.
    """
    forecast = as_nodes(check_forecast(forecast))
    nodes = pick_nodes(forecast, node)
    if history_steps < 1:
        raise ValueError(
            f"history_steps must be at least 1; got {history_steps}. "
            "Pass the number of readings to show before the forecast."
        )
    origin = pick_time(forecast, time)
    slab = forecast.sel(time=origin, node=nodes)
    weight = np.ones(1)
    if len(nodes) > 1:
        weight = node_weights(forecast)[np.isin(forecast["node"].values, nodes)]
    leads = pd.to_timedelta(slab["lead_minutes"].values, unit="min")
    columns = {name: _mean(slab[name], weight) for name in ("target", "forecast")}
    columns = {"reading": columns.pop("target"), **columns}
    for name in ("lower", "upper"):
        band = _mean(slab[name], weight)
        columns[name] = band if len(nodes) == 1 else np.full(band.shape, np.nan)
    for name, baseline in (baselines or {}).items():
        array = baseline["forecast"] if isinstance(baseline, xr.Dataset) else baseline
        array = as_nodes(array.to_dataset(name="target"))["target"]
        line = array.sel(time=origin, node=nodes).reindex(horizon=slab["horizon"].values)
        columns[name] = _mean(line, weight)
    ahead = pd.DataFrame(columns, index=pd.DatetimeIndex(origin + leads, name="time"))
    ahead.insert(0, "part", "horizon")
    if dataset is None:
        return ahead
    dataset = as_nodes(dataset)
    pick_nodes(dataset, nodes)
    start = origin - (history_steps - 1) * interval_of(dataset)
    past = dataset["target"].sel(node=nodes, time=slice(start, origin))
    before = pd.DataFrame(
        {"part": "history", "reading": _mean(past, weight)},
        index=pd.DatetimeIndex(past["time"].values, name="time"),
    )
    return pd.concat([before, ahead])


def _mean(values: xr.DataArray, weight: np.ndarray) -> np.ndarray:
    """Give the mean over the places that have a value."""
    numbers = np.moveaxis(values.values.astype(float), values.get_axis_num("node"), -1)
    counted = np.where(np.isfinite(numbers), weight, 0.0)
    total = counted.sum(-1)
    mean = np.nansum(numbers * counted, -1) / np.where(total > 0, total, np.nan)
    return np.asarray(mean)


def missing_spans(series: pd.DataFrame) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Find the spans of time in which readings are missing.

    Args:
        series: What `prepare_series` gives.

    Returns:
        Start and end of each span, half a step wider than the missing readings on each side.
    """
    times = pd.DatetimeIndex(series.index)
    if len(times) < 2:
        return []
    half = (times[1:] - times[:-1]).min() / 2
    missing = series["reading"].isna().to_numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    return [
        (times[first] - half, times[last - 1] + half)
        for first, last in edges.reshape(-1, 2).tolist()
    ]


def prepare_scores(scores: xr.Dataset, *, metric: str = "mae") -> pd.DataFrame:
    """Give one score per model and lead time.

    Args:
        scores: Labelled scores over (model, horizon).
        metric: "mae", "rmse" (units of the data) or "mape" (percent).

    Returns:
        Columns model, horizon, lead_minutes, value; and spread where `<metric>_std` is there.

    Raises:
        ValueError: The metric is not among the scores.
    """
    metrics = [str(name) for name in scores.data_vars if not str(name).endswith("_std")]
    if metric not in metrics:
        raise ValueError(
            f"metric must be one of {', '.join(metrics)}; got {metric!r}. "
            "Pass a score that was computed."
        )
    values = scores[metric].transpose("model", "horizon")
    models, steps = (values[dim].values for dim in ("model", "horizon"))
    frame = pd.DataFrame(
        {
            "model": np.repeat(models.astype(str), steps.size),
            "horizon": np.tile(steps, models.size),
            "lead_minutes": np.tile(scores["lead_minutes"].values.astype(float), models.size),
            "value": values.values.astype(float).reshape(-1),
        }
    )
    if f"{metric}_std" in scores:
        spread = scores[f"{metric}_std"].transpose("model", "horizon")
        frame["spread"] = spread.values.astype(float).reshape(-1)
    return frame
