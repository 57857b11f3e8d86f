"""Small data sets, configurations and models that tests of the core share.

Sizes are primes where they can be, one per axis, so that a swapped axis cannot fit by chance.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from sttrans_core.config import ExperimentConfig
from sttrans_core.data.windows import Batch
from sttrans_core.model.sttrans import DataShape, STTrans

HISTORY, HORIZON, NODES = 7, 6, 11
SEGMENTS = 3
SOURCES = HISTORY * (NODES - 1)  # the target's own node is none


def dataset_of(
    values: np.ndarray,
    *,
    latitude: np.ndarray | None = None,
    longitude: np.ndarray | None = None,
    first: str = "2024-01-01",
    interval: str = "5min",
    **attrs: Any,
) -> xr.Dataset:
    """Label readings (time, node) at places that have no two equal distances."""
    steps, nodes = values.shape
    # Squares keep all differences of neighbours apart: 1, 3, 5, ...
    latitude = 40 + 0.001 * np.arange(nodes) if latitude is None else latitude
    longitude = 5 + 0.01 * np.arange(nodes) ** 2 if longitude is None else longitude
    return xr.Dataset(
        {"target": (("time", "node"), values.astype(np.float32))},
        coords={
            "time": pd.date_range(first, periods=steps, freq=interval).to_numpy(),
            "node": np.array([f"s{i}" for i in range(nodes)]),
            "latitude": ("node", np.asarray(latitude, dtype=float)),
            "longitude": ("node", np.asarray(longitude, dtype=float)),
        },
        attrs={
            "units": "mph",
            "interval": interval,
            "title": "small",
            "source": "made by a test",
            "licence": "none",
            "synthetic": 1,
            "quantity": "speed",
            **attrs,
        },
    )


def rhythm(*, steps: int = 199, nodes: int = NODES, missing: float = 0.0, seed: int = 0):
    """Give a daily rhythm with noise, a share of it missing."""
    rng = np.random.default_rng(seed)
    phase = np.arange(steps)[:, None] / 17 + rng.uniform(0, 6, nodes)
    values = 50 + 10 * np.sin(phase) + rng.normal(0, 1, (steps, nodes))
    values[rng.random((steps, nodes)) < missing] = np.nan
    return dataset_of(values)


def small_config(variant: str = "full", **sections: Any) -> ExperimentConfig:
    """Give a model of a few hundred parameters and a budget of a second."""
    fields: dict[str, dict[str, Any]] = {
        "data": {"dataset": "small", "history_steps": HISTORY, "horizon_steps": HORIZON},
        "model": {
            "width": 8,
            "num_heads": 2,
            "num_segments": SEGMENTS,
            "topk": 5,
            "window_nodes": 3,
            "window_steps": 2,
            "group_size": 3,
            "block_size": 2,
            "screened_blocks": 1,
            "num_surroundings_layers": 2,
            "alignment_loss": 0.5,
            "num_bases": 3,
            "relation_dim": 5,
        },
        "train": {"epochs": 2, "batch_size": 31, "device": "cpu", "learning_rate": 5e-3},
    }
    config = ExperimentConfig.parse(fields).variant(variant)
    return config.replace(sections)


def small_options() -> list[str]:
    """Give the fields of `small_config` as options of a command."""
    return [
        f"--set={section}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for section, fields in small_config().model_dump(include={"data", "model", "train"}).items()
        for name, value in fields.items()
        if name not in {"dataset", "max_windows_per_epoch"}
    ]


def small_model(
    config: ExperimentConfig,
    *,
    latitude: np.ndarray | None = None,
    longitude: np.ndarray | None = None,
    seed: int = 0,
) -> STTrans:
    """Build an untrained model for the places of `dataset_of`."""
    places = dataset_of(np.zeros((2, NODES)), latitude=latitude, longitude=longitude)
    torch.manual_seed(seed)
    shape = DataShape(
        latitude=places["latitude"].values,
        longitude=places["longitude"].values,
        history_steps=config.data.history_steps,
        horizon_steps=config.data.horizon_steps,
        steps_per_day=288,
        has_weekday=True,
    )
    return STTrans(config.model, shape)


def random_batch(
    *, windows: int = 2, nodes: int = NODES, missing: float = 0.2, seed: int = 0
) -> Batch:
    """Draw windows with missing readings, as `Windows.batch` gives them."""
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(windows, HISTORY, nodes, generator=generator) >= missing
    values = torch.randn(windows, HISTORY, nodes, 1, generator=generator)
    steps = (windows, HISTORY + HORIZON)
    return Batch(
        values=values * observed[..., None],
        observed=observed,
        time_of_day=torch.randint(288, steps, generator=generator),
        day_of_week=torch.randint(7, steps, generator=generator),
        year_share=torch.rand(steps, generator=generator),
        target=50 + 10 * torch.randn(windows, HORIZON, nodes, 1, generator=generator),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder, to show that a refusal left it as it was."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
