"""From arrays to labelled forecasts and alignments, in original units."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sttrans_core.alignment import Alignment, Selection
from sttrans_core.config import ExperimentConfig
from sttrans_core.schema import check_alignment, check_forecast, interval_of
from sttrans_core.slabs import read_steps

__all__ = ["label_alignment", "label_forecast"]

_ORIGIN_ATTRS = ("units", "quantity", "interval", "title", "source", "synthetic")


def _attrs(dataset: xr.Dataset, config: ExperimentConfig) -> dict[str, object]:
    attrs = {name: dataset.attrs[name] for name in _ORIGIN_ATTRS}
    return {**attrs, "model": config.label, "run": config.hash}


def label_forecast(
    values: np.ndarray,
    dataset: xr.Dataset,
    *,
    last_steps: np.ndarray,
    bands: np.ndarray | None,
    config: ExperimentConfig,
) -> xr.Dataset:
    """Label forecasts with origin, lead time, place, band and truth.

    Args:
        values: (time, horizon, node, channel) in original units.
        dataset: What was forecast.
        last_steps: Index of the origin of each forecast in the dataset's time.
        bands: (horizon, node, channel) half-widths, or None.
        config: The run's configuration.

    Returns:
        A dataset that keeps the forecast contract.
    """
    steps = values.shape[1]
    ahead = last_steps[:, None] + np.arange(1, steps + 1)  # (time, horizon)
    series, last = dataset["target"], dataset.sizes["time"] - 1
    inside = ahead <= last
    target = read_steps(series, np.minimum(ahead, last))
    dims: tuple[str, ...] = ("time", "horizon", "node")
    if series.ndim == 2:
        values, bands = values[..., 0], bands if bands is None else bands[..., 0]
    else:
        dims = (*dims, "channel")
    target = np.where(inside.reshape(*inside.shape, *[1] * (target.ndim - 2)), target, np.nan)
    half = np.full(values.shape[1:], np.nan, dtype=np.float32) if bands is None else bands
    lower = values - half
    lower = np.maximum(lower, np.minimum(values, dataset.attrs.get("valid_min", -np.inf)))
    minutes = interval_of(dataset).total_seconds() / 60
    forecast = xr.Dataset(
        {
            "forecast": (dims, values.astype(np.float32)),
            "lower": (dims, lower.astype(np.float32)),
            "upper": (dims, (values + half).astype(np.float32)),
            "target": (dims, target.astype(np.float32)),
        },
        coords={
            "time": dataset["time"].values[last_steps],
            "horizon": np.arange(1, steps + 1),
            "lead_minutes": ("horizon", minutes * np.arange(1, steps + 1)),
            "node": dataset["node"].values,
            "latitude": ("node", dataset["latitude"].values),
            "longitude": ("node", dataset["longitude"].values),
            **({"channel": dataset["channel"].values} if series.ndim > 2 else {}),
        },
        attrs={**_attrs(dataset, config), "coverage": config.train.coverage},
    )
    return check_forecast(forecast)


def label_alignment(
    alignment: Alignment,
    dataset: xr.Dataset,
    *,
    aligned: Float[Tensor, "horizon query channel"] | None,
    query: np.ndarray,
    direction: np.ndarray,
    last_step: int,
    config: ExperimentConfig,
    selection: Selection,
    layer: int,
) -> xr.Dataset:
    """Label the alignment of one forecast origin with places, times and readings.

    Args:
        alignment: Of a batch of one window.
        dataset: What was forecast.
        aligned: What the sources forecast by themselves, in original units, if it is known.
        query: Node index of each query.
        direction: Name of the direction from the target to each source, (query, segment, topk).
        last_step: Index of the forecast origin in the dataset's time.
        config: The run's configuration.
        selection: Which sources were candidates and how many were kept.
        layer: Decoder layer, 0 = first.

    Returns:
        A dataset that keeps the alignment contract.
    """
    node, step = alignment.node[0].cpu().numpy(), alignment.step[0].cpu().numpy()
    weight = alignment.weight[0].float().cpu().numpy()
    history, segments = config.data.history_steps, weight.shape[1]
    seen = last_step - history + 1 + np.arange(history)
    when, readings = seen[step], read_steps(dataset["target"], seen)
    ids = dataset["node"].values
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    length = config.data.horizon_steps // segments
    first = 1 + length * np.arange(segments)
    dims = ("query_node", "segment", "source")
    labelled = xr.Dataset(
        {
            "weight": (("query_node", "segment", "head", "source"), weight),
            "covered_mass": (
                ("query_node", "segment", "head"),
                alignment.covered_mass[0].float().cpu().numpy(),
            ),
            "source_node": (dims, ids[node]),
            "source_node_index": (dims, node),
            "source_step": (dims, step),
            "source_time": (dims, dataset["time"].values[when]),
            "source_latitude": (dims, latitude[node]),
            "source_longitude": (dims, longitude[node]),
            "source_direction": (dims, direction),
            "source_value": (
                (*dims, *dataset["target"].dims[2:]),
                readings[step, node].astype(np.float32),
            ),
            "in_window": (dims, alignment.in_window[0].cpu().numpy()),
            "valid": (dims, alignment.valid[0].cpu().numpy()),
        },
        coords={
            "time": dataset["time"].values[last_step],
            "query_node": ids[query],
            "query_latitude": ("query_node", latitude[query]),
            "query_longitude": ("query_node", longitude[query]),
            "segment": np.arange(1, segments + 1),
            "segment_first_step": ("segment", first),
            "segment_last_step": ("segment", first + length - 1),
            "head": np.arange(weight.shape[2]),
            "source": np.arange(weight.shape[3]),
            **({"channel": dataset["channel"].values} if "channel" in dataset.coords else {}),
        },
        attrs={
            **_attrs(dataset, config),
            "topk": weight.shape[3],
            "history_steps": history,
            "window_nodes": selection.window_nodes if selection.window == "local" else 0,
            "window_steps": selection.window_steps,
            "layer": layer,
        },
    )
    if aligned is not None:
        channel = dataset["target"].dims[2:]
        values = (aligned if channel else aligned[..., 0]).cpu().numpy()
        labelled["aligned_forecast"] = (("horizon", "query_node", *channel), values)
        labelled.coords["horizon"] = np.arange(1, len(values) + 1)
    return check_alignment(labelled)
