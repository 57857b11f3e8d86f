"""The labelled contracts: what a dataset, a forecast and an alignment look like at each border.

Tensors live inside the model only. Everything a user hands in or gets back is an `xarray.Dataset`
that carries its coordinates, units and origin, and that these checks have accepted.
"""

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.grid import axis_fault, is_grid
from sttrans_core.slabs import slabs

__all__ = [
    "ALIGNMENT_VARIABLES",
    "DATASET_ATTRS",
    "FORECAST_VARIABLES",
    "SchemaError",
    "check_alignment",
    "check_dataset",
    "check_forecast",
    "check_labels",
    "interval_of",
    "steps_per_day",
]

TARGET_DIMS = (
    ("time", "node"),
    ("time", "node", "channel"),
    ("time", "latitude", "longitude"),
)
DATASET_ATTRS = ("units", "interval", "title", "source", "licence", "synthetic", "quantity")
FORECAST_VARIABLES = ("forecast", "lower", "upper", "target")
ALIGNMENT_VARIABLES = {
    "weight": ("query_node", "segment", "head", "source"),
    "covered_mass": ("query_node", "segment", "head"),
    "source_node": ("query_node", "segment", "source"),
    "source_node_index": ("query_node", "segment", "source"),
    "source_step": ("query_node", "segment", "source"),
    "source_time": ("query_node", "segment", "source"),
    "source_latitude": ("query_node", "segment", "source"),
    "source_longitude": ("query_node", "segment", "source"),
    "source_direction": ("query_node", "segment", "source"),
    "source_value": ("query_node", "segment", "source"),
    "in_window": ("query_node", "segment", "source"),
    "valid": ("query_node", "segment", "source"),
}

_FORECAST_DIMS = (
    ("time", "horizon", "node"),
    ("time", "horizon", "node", "channel"),
    ("time", "horizon", "latitude", "longitude"),
)


class SchemaError(ValueError):
    """A dataset, forecast or alignment does not keep the labelled contract."""


def _require(holds: bool, must: str, got: object, todo: str) -> None:
    if not holds:
        raise SchemaError(f"{must}; got {got}. {todo}")


def check_dataset(dataset: xr.Dataset) -> xr.Dataset:
    """Accept a dataset that keeps the contract, or refuse it with one sentence.

    The contract: `target(time, node)` in floating point with NaN as the only mark of a missing
    value; strictly increasing times at a constant interval; unique text ids; `latitude` and
    `longitude` in degrees per node; the attributes of `DATASET_ATTRS`. Where several things are
    forecast at once, `target(time, node, channel)` with unique texts in `channel`. Further
    readings, known up to the forecast origin only, in `covariates(time, node, covariate)`. The
    attribute `valid_min`, where there is one, is the lowest value that can be (0 for counts and
    speeds): no forecast lies below it.

    On a grid, `latitude, longitude` stand in place of `node`: ascending, evenly spaced degrees.

    Args:
        dataset: The dataset to check; it is not changed, and readings of a store are not kept.

    Returns:
        The same dataset.

    Raises:
        SchemaError: Any point of the contract does not hold.
    """
    check_labels(dataset)
    num_missing = _count_missing(dataset["target"])
    _require(
        num_missing < dataset["target"].size,
        "A dataset must hold at least one observed reading",
        "only missing ones",
        "Check the mark of missing values that was used when it was read.",
    )
    if "covariates" in dataset:
        _count_missing(dataset["covariates"])
    return dataset


def check_labels(dataset: xr.Dataset) -> None:
    """Check all of a dataset but its readings, which it may take long to read from a store.

    Args:
        dataset: The dataset to check; it is not changed.

    Raises:
        SchemaError: Any point of the contract does not hold that is not about readings.
    """
    _require(
        isinstance(dataset, xr.Dataset) and "target" in dataset,
        "A dataset must be an xarray.Dataset with a variable 'target'",
        list(dataset) if isinstance(dataset, xr.Dataset) else type(dataset).__name__,
        "Build one with from_table, from_grid or load_dataset.",
    )
    target = dataset["target"]
    _require(
        target.dims in TARGET_DIMS,
        f"'target' must have the dims {' or '.join(map(str, TARGET_DIMS))}",
        target.dims,
        "Transpose or rename the dims.",
    )
    _require(
        target.dtype.kind == "f",
        "'target' must hold floating point numbers",
        target.dtype,
        "Convert it, with NaN where a reading is missing.",
    )
    num_nodes = int(np.prod([target.sizes[dim] for dim in target.dims[1:]]))
    _require(
        target.sizes["time"] >= 2 and num_nodes >= 1,
        "A dataset must have at least 2 time steps and 1 node",
        f"{target.sizes['time']} steps and {num_nodes} nodes",
        "Load a longer series.",
    )
    missing = [name for name in DATASET_ATTRS if name not in dataset.attrs]
    _require(
        not missing,
        f"A dataset must carry the attributes {', '.join(DATASET_ATTRS)}",
        f"none for {', '.join(missing)}",
        "Set dataset.attrs.",
    )
    lowest = dataset.attrs.get("valid_min", 0.0)
    _require(
        isinstance(lowest, (int, float, np.number)) and bool(np.isfinite(lowest)),
        "The attribute 'valid_min' must be a finite number",
        repr(lowest),
        "Set the lowest value that can be, such as 0, or take the attribute away.",
    )
    _check_time(dataset)
    if is_grid(dataset):
        _check_axis(dataset, "latitude", 90.0)
        _check_axis(dataset, "longitude", 360.0)
    else:
        _check_nodes(dataset)
    if "channel" in target.dims:
        _check_names(dataset, "channel")
    if "covariates" in dataset:
        _check_covariates(dataset)


def _count_missing(series: xr.DataArray) -> int:
    """Count missing readings; refuse infinite ones."""
    num_infinite = num_missing = 0
    for slab in slabs(series):
        num_infinite += int(np.isinf(slab).sum())
        num_missing += int(np.isnan(slab).sum())
    _require(
        num_infinite == 0,
        "Readings must be finite or NaN",
        f"{num_infinite} infinite readings",
        "Mark missing readings with NaN.",
    )
    return num_missing


def _check_time(dataset: xr.Dataset) -> None:
    time = dataset["time"].values
    _require(
        np.issubdtype(time.dtype, np.datetime64),
        "'time' must hold time stamps (datetime64)",
        time.dtype,
        "Parse the time column first.",
    )
    steps = np.diff(time)
    bad = np.flatnonzero(steps <= np.timedelta64(0))
    _require(
        bad.size == 0,
        "Times must be strictly increasing",
        f"{time[bad[0] + 1] if bad.size else ''} after {time[bad[0]] if bad.size else ''}",
        "Sort the rows and drop duplicates.",
    )
    uneven = np.flatnonzero(steps != steps[0])
    _require(
        uneven.size == 0,
        "The interval between times must be constant",
        f"{steps[0]} at first but {steps[uneven[0]] if uneven.size else ''} after "
        f"{time[uneven[0]] if uneven.size else ''}",
        "Reindex to a regular interval, with NaN in the gaps.",
    )
    try:
        stated = interval_of(dataset)
    except (TypeError, ValueError):  # no text that pandas knows, or a month
        stated = None
    _require(
        stated == pd.Timedelta(steps[0]),
        "attrs['interval'] must be the interval of 'time'",
        f"{dataset.attrs['interval']!r} with times {pd.Timedelta(steps[0])} apart",
        "Correct the attribute.",
    )


def _check_nodes(dataset: xr.Dataset) -> None:
    for name in ("node", "latitude", "longitude"):
        _require(
            name in dataset.coords and dataset[name].dims == ("node",),
            f"A dataset must have the coordinate '{name}' along 'node'",
            list(dataset.coords),
            "Join the sensor locations by id.",
        )
    ids = dataset["node"].values
    _check_texts(ids, "Node ids")
    _check_degrees(dataset["latitude"], 90.0)
    _check_degrees(dataset["longitude"], 360.0)
    if "adjacency" in dataset:
        shape = dataset["adjacency"].shape
        _require(
            shape == (len(ids), len(ids)),
            "'adjacency' must be square over the nodes",
            f"shape {shape} with {len(ids)} nodes",
            "Reorder it to the ids of the dataset.",
        )
        weight = dataset["adjacency"].values
        _require(
            bool(np.isfinite(weight).all() and (weight >= 0).all()),
            "'adjacency' must hold finite weights, at least 0",
            f"values from {weight.min()} to {weight.max()}",
            "Use 0 where two nodes are not joined.",
        )


def _check_texts(values: np.ndarray, what: str) -> None:
    _require(
        values.dtype.kind in "UO" and all(isinstance(i, str) for i in values.tolist()),
        f"{what} must be text",
        values.dtype,
        "Convert them with str.",
    )
    duplicated = pd.Index(values)[pd.Index(values).duplicated()]
    _require(
        duplicated.empty,
        f"{what} must be unique",
        f"{duplicated[0] if len(duplicated) else ''!r} twice",
        "Drop or rename the duplicates.",
    )


def _check_names(dataset: xr.Dataset, dim: str) -> None:
    _require(
        dim in dataset.coords,
        f"A dataset must have the coordinate '{dim}' along '{dim}'",
        list(dataset.coords),
        f"Name each {dim} with dataset.assign_coords.",
    )
    _check_texts(dataset[dim].values, f"Names of '{dim}'")


def _check_covariates(dataset: xr.Dataset) -> None:
    covariates = dataset["covariates"]
    expected = (*(dim for dim in dataset["target"].dims if dim != "channel"), "covariate")
    _require(
        covariates.dims == expected,
        f"'covariates' must have the dims {expected}",
        covariates.dims,
        "Transpose or rename the dims.",
    )
    _require(
        covariates.dtype.kind == "f",
        "'covariates' must hold floating point numbers",
        covariates.dtype,
        "Convert them, with NaN where a reading is missing.",
    )
    _check_names(dataset, "covariate")


def _check_degrees(degrees: xr.DataArray, bound: float) -> None:
    values = degrees.values
    _require(
        values.dtype.kind in "iuf",
        f"'{degrees.name}' must hold numbers",
        values.dtype,
        "Convert it to degrees.",
    )
    _require(
        bool(np.isfinite(values).all() and (np.abs(values) <= bound).all()),
        f"'{degrees.name}' must be finite and within {bound:g} degrees",
        f"values from {np.min(values)} to {np.max(values)}",
        "Check the column order and the coordinate system (EPSG:4326 is expected).",
    )


def _check_axis(dataset: xr.Dataset, name: str, bound: float) -> None:
    _require(
        name in dataset.coords and dataset[name].dims == (name,),
        f"A grid must have the coordinate '{name}' along '{name}'",
        {str(key): value.dims for key, value in dataset.coords.items()},
        "Only grids with rows of one latitude and columns of one longitude can be used.",
    )
    _check_degrees(dataset[name], bound)
    if fault := axis_fault(dataset[name].values, name):
        _require(False, *fault)


def check_forecast(forecast: xr.Dataset) -> xr.Dataset:
    """Accept a labelled forecast, or say which variable or coordinate is missing.

    Args:
        forecast: What `Forecaster.forecast` returns; it is not changed.

    Returns:
        The same dataset.

    Raises:
        SchemaError: A variable or coordinate is absent or has other dims.
    """
    found = {str(name): variable.dims for name, variable in forecast.variables.items()}
    for name in FORECAST_VARIABLES:
        _require(
            found.get(name) in _FORECAST_DIMS,
            f"A forecast must hold '{name}' over ('time', 'horizon', 'node')",
            {str(name): found[str(name)] for name in forecast.data_vars},
            "Make it with Forecaster.forecast.",
        )
    for name in ("lead_minutes", "latitude", "longitude"):
        _require(
            name in forecast.coords,
            f"A forecast must have the coordinate '{name}'",
            list(forecast.coords),
            "Make it with Forecaster.forecast.",
        )
    return forecast


def check_alignment(alignment: xr.Dataset) -> xr.Dataset:
    """Accept a labelled alignment, or say what is missing; weights must sum to 1 (or be all 0).

    Args:
        alignment: What `Forecaster.align` returns; it is not changed.

    Returns:
        The same dataset.

    Raises:
        SchemaError: A variable is absent, has other dims, or weights do not sum to 1.
    """
    found = {str(name): variable.dims for name, variable in alignment.variables.items()}
    for name, dims in ALIGNMENT_VARIABLES.items():
        _require(
            found.get(name) in {dims, (*dims, "channel")},
            f"An alignment must hold '{name}' over {dims}",
            {str(name): found[str(name)] for name in alignment.data_vars},
            "Make it with Forecaster.align.",
        )
    weight = alignment["weight"].values
    total = weight.sum(-1)
    whole = np.isclose(total, 1.0, atol=1e-3) | (weight == 0).all(-1)
    _require(
        bool(whole.all() and (weight >= 0).all()),
        "Alignment weights must be at least 0 and sum to 1 over 'source'",
        f"sums from {total.min():.4f} to {total.max():.4f}",
        "Do not cut sources off without normalising again.",
    )
    return alignment


def interval_of(dataset: xr.Dataset) -> pd.Timedelta:
    """Give the interval between time steps of a dataset, forecast or alignment.

    Args:
        dataset: Any labelled object with `attrs["interval"]`.

    Returns:
        The interval.
    """
    return pd.Timedelta(pd.tseries.frequencies.to_offset(dataset.attrs["interval"]))


def steps_per_day(dataset: xr.Dataset) -> int:
    """Count the time steps of one day, at least 1.

    Args:
        dataset: A labelled dataset.

    Returns:
        Steps per day, 288 at 5 minutes.
    """
    return max(1, round(pd.Timedelta("1D") / interval_of(dataset)))
