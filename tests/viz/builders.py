"""Mock data with plausible values that keep the labelled contracts, for tests of the pictures."""

import numpy as np
import pandas as pd
import xarray as xr

ATTRS = {
    "units": "mph",
    "quantity": "speed",
    "interval": "5min",
    "title": "Mock freeways",
    "source": "made up for tests",
    "licence": "CC0",
    "synthetic": 0,
}


def build_locations(num_nodes: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two curved roads that cross near Los Angeles."""
    first = num_nodes - num_nodes // 2
    along, other = np.linspace(0, 1, first), np.linspace(0, 1, num_nodes // 2)
    longitude = np.concatenate([-118.52 + 0.32 * along, -118.42 + 0.12 * other])
    latitude = np.concatenate(
        [34.16 - 0.09 * along**2 + 0.01 * np.sin(9 * along), 34.22 - 0.15 * other]
    )
    return latitude, longitude


def build_dataset(
    *, num_nodes: int = 40, num_steps: int = 288, nodes: list[str] | None = None, **attrs: object
) -> xr.Dataset:
    """A day of speeds with a morning jam on the first road and some missing readings."""
    random = np.random.default_rng(3)
    latitude, longitude = build_locations(num_nodes)
    hours = np.arange(num_steps)[:, None] / 12
    place = np.arange(num_nodes)[None, :] / num_nodes
    jam = 38 * np.exp(-((hours - 8 + 2 * place) ** 2) / 1.5) * (place < 0.6)
    speed = 64 - jam + random.normal(0, 1.5, (num_steps, num_nodes))
    speed[random.random(speed.shape) < 0.02] = np.nan
    if num_steps > 98:
        speed[88:94, 0] = np.nan
    ids = nodes or [f"{700000 + 13 * i}" for i in range(num_nodes)]
    return xr.Dataset(
        {"target": (("time", "node"), speed.astype(np.float32))},
        coords={
            "time": pd.date_range("2012-03-07", periods=num_steps, freq="5min"),
            "node": ids,
            "latitude": ("node", latitude),
            "longitude": ("node", longitude),
        },
        attrs=ATTRS | attrs,
    )


def build_grid(
    *, latitude: np.ndarray, longitude: np.ndarray, num_steps: int = 48, **attrs: object
) -> xr.Dataset:
    """Six-hourly temperatures that fall to the north, with a wave that travels east."""
    hours = 6 * np.arange(num_steps)[:, None, None]
    wave = 5 * np.sin(np.radians(longitude)[None, None] * 4 - hours / 12)
    kelvin = 300 - 0.5 * np.abs(latitude)[None, :, None] + wave
    return xr.Dataset(
        {"target": (("time", "latitude", "longitude"), kelvin.astype(np.float32))},
        coords={
            "time": pd.date_range("2014-01-01", periods=num_steps, freq="6h"),
            "latitude": latitude,
            "longitude": longitude,
        },
        attrs=ATTRS
        | {"units": "K", "quantity": "temperature", "interval": "6h", "title": "Mock grid"}
        | attrs,
    )


def build_forecast(dataset: xr.Dataset, *, num_origins: int = 4, num_horizon: int = 12):
    """Forecasts that lag behind the truth, from origins around 08:00 where the day is long."""
    target = dataset["target"].values.astype(float)
    first = min(95, max(0, target.shape[0] - num_horizon - num_origins))
    filled = pd.DataFrame(target).ffill().bfill().fillna(60.0).to_numpy()
    rows = np.arange(first, first + num_origins)
    ahead = rows[:, None] + np.arange(1, num_horizon + 1)
    inside = ahead < target.shape[0]
    truth = np.where(inside[..., None], target[np.minimum(ahead, target.shape[0] - 1)], np.nan)
    predicted = np.repeat(filled[rows][:, None], num_horizon, 1)
    predicted = predicted + np.linspace(0, -3, num_horizon)[None, :, None]
    band = np.linspace(2, 9, num_horizon)[None, :, None]
    dims = ("time", "horizon", "node")
    values = {
        "forecast": predicted,
        "lower": predicted - band,
        "upper": predicted + band,
        "target": truth,
    }
    attrs = {name: dataset.attrs[name] for name in ATTRS if name != "licence"}
    minutes = pd.Timedelta(dataset.attrs["interval"]) / pd.Timedelta("1min")
    return xr.Dataset(
        {name: (dims, value.astype(np.float32)) for name, value in values.items()},
        coords={
            "time": dataset["time"].values[rows],
            "horizon": np.arange(1, num_horizon + 1),
            "lead_minutes": ("horizon", np.arange(1, num_horizon + 1) * minutes),
            "node": dataset["node"].values,
            "latitude": ("node", dataset["latitude"].values),
            "longitude": ("node", dataset["longitude"].values),
        },
        attrs=attrs | {"coverage": 0.9, "model": "full, seed 0", "run": "0123abcd"},
    )


def build_alignment(
    dataset: xr.Dataset,
    *,
    step: int = 95,
    nodes: list[str] | None = None,
    topk: int = 16,
    num_heads: int = 3,
    num_segments: int = 4,
    history_steps: int = 12,
) -> xr.Dataset:
    """An alignment whose weights fall with distance and lag, with some far and early sources."""
    random = np.random.default_rng(5)
    ids = dataset["node"].values
    queries = list(nodes) if nodes is not None else ids[: min(5, ids.size)].tolist()
    latitude, longitude = dataset["latitude"].values, dataset["longitude"].values
    step = min(step, dataset.sizes["time"] - 1)
    history_steps = min(history_steps, step + 1)
    num_sources = ids.size * history_steps
    num_kept = min(topk, num_sources)
    shape = (len(queries), num_segments, topk)
    index, at = np.zeros(shape, int), np.zeros(shape, int)
    weight = np.zeros((len(queries), num_segments, num_heads, topk))
    in_window, valid = np.zeros(shape, bool), np.zeros(shape, bool)
    window_nodes, window_steps = 8, 8
    for q, name in enumerate(queries):
        here = int(np.flatnonzero(ids == name)[0])
        distance = np.hypot(latitude - latitude[here], (longitude - longitude[here]) * 0.83) * 111.2
        near = np.argsort(distance, kind="stable")[:window_nodes]
        for s in range(num_segments):
            peak = 1.5 * s  # sources of a later segment lie farther away
            lag = np.arange(history_steps)[::-1]
            fit = -(((distance[None] - peak) / 3) ** 2) - lag[:, None] / 4
            fit = fit + random.gumbel(0, 0.9, (history_steps, ids.size))
            kept = np.argsort(-fit.reshape(-1), kind="stable")[:num_kept]
            at[q, s, :num_kept], index[q, s, :num_kept] = np.divmod(kept, ids.size)
            valid[q, s, :num_kept] = True
            in_window[q, s] = np.isin(index[q, s], near) & (
                at[q, s] >= history_steps - window_steps
            )
            score = fit.reshape(-1)[kept] + random.normal(0, 0.4, (num_heads, num_kept))
            part = np.exp(score - score.max(-1, keepdims=True))
            part = part / part.sum(-1, keepdims=True)
            order = np.argsort(-part.mean(0), kind="stable")
            for array in (index, at, in_window, valid):
                array[q, s, :num_kept] = array[q, s, :num_kept][order]
            weight[q, s, :, :num_kept] = part[:, order]
    rows = step - history_steps + 1 + at
    dims = ("query_node", "segment", "source")
    per_segment = 12 // num_segments
    segments = np.arange(1, num_segments + 1)
    place = [int(np.flatnonzero(ids == name)[0]) for name in queries]
    attrs = {name: dataset.attrs[name] for name in ATTRS if name != "licence"}
    return xr.Dataset(
        {
            "weight": (("query_node", "segment", "head", "source"), weight.astype(np.float32)),
            "covered_mass": (
                ("query_node", "segment", "head"),
                np.full(weight.shape[:3], 0.8, np.float32),
            ),
            "source_node": (dims, ids[index]),
            "source_node_index": (dims, index),
            "source_step": (dims, at),
            "source_time": (dims, dataset["time"].values[rows]),
            "source_latitude": (dims, latitude[index]),
            "source_longitude": (dims, longitude[index]),
            "source_direction": (dims, np.full(index.shape, "NE", dtype="<U10")),
            "source_value": (dims, dataset["target"].values[rows, index]),
            "in_window": (dims, in_window),
            "valid": (dims, valid),
        },
        coords={
            "query_node": queries,
            "query_latitude": ("query_node", latitude[place]),
            "query_longitude": ("query_node", longitude[place]),
            "segment": segments,
            "segment_first_step": ("segment", (segments - 1) * per_segment + 1),
            "segment_last_step": ("segment", segments * per_segment),
            "head": np.arange(num_heads),
            "source": np.arange(topk),
            "time": dataset["time"].values[step],
        },
        attrs=attrs
        | {
            "topk": topk,
            "history_steps": history_steps,
            "window_nodes": window_nodes,
            "window_steps": window_steps,
            "model": "full, seed 0",
            "run": "0123abcd",
            "layer": 1,
        },
    )


def build_scores(*, num_horizon: int = 12) -> xr.Dataset:
    """Scores that grow with the lead time, by a model-dependent amount."""
    models = ["ST-Trans full", "last value", "historical average"]
    steps = np.arange(1, num_horizon + 1)
    mae = np.stack([2 + 0.1 * steps, 2 + 0.3 * steps, np.full(num_horizon, 5.0)])
    return xr.Dataset(
        {
            "mae": (("model", "horizon"), mae),
            "rmse": (("model", "horizon"), 1.9 * mae),
            "mape": (("model", "horizon"), 2.4 * mae),
        },
        coords={
            "model": models,
            "horizon": steps,
            "lead_minutes": ("horizon", 5.0 * steps),
        },
        attrs={"units": "mph", "protocol": "standard 7:1:2, observed targets", "title": "Mock"},
    )
