"""What is measured: functions to call, by subject, for a number of simulated places."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from sttrans_core.alignment import Selection, topk_alignment
from sttrans_core.alignment.position import LearnedPosition
from sttrans_core.baselines.staeformer import STAEformer
from sttrans_core.config import ExperimentConfig
from sttrans_core.data.windows import Batch, Scaler, Windows
from sttrans_core.model.encoder import EncoderLayer
from sttrans_core.model.sttrans import DataShape, STTrans, forecast_of
from sttrans_core.model.surroundings import Surroundings
from sttrans_core.space.relation import Geometry

__all__ = ["SUBJECTS", "Case", "cases_of"]

HISTORY, WIDTH, HEADS, TOPK = 12, 64, 4, 16
MOST_EXACT = 2000  # nodes; above, exact screening takes longer than anyone waits
MOST_DENSE = 4000
MOST_NAIVE = 300  # its scores take 8 GB at 1,000 nodes


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to measure.

    Args:
        subject: What it is about.
        name: How it is done.
        nodes: Simulated places.
        batch: Windows at once.
        call: What is timed.
    """

    subject: str
    name: str
    nodes: int
    batch: int
    call: Callable[[], object]


def cases_of(subject: str, nodes: int, device: torch.device) -> list[Case]:
    """Make the cases of a subject; the first one is what the others are compared with.

    Args:
        subject: One of `SUBJECTS`.
        nodes: Simulated places, as dense as METR-LA's sensors.
        device: Where it runs.

    Returns:
        The cases, with the number of windows that suits their size.
    """
    torch.manual_seed(0)
    batch = 32 if nodes <= 500 else 8 if nodes <= 2000 else 1
    with device:
        calls = SUBJECTS[subject](nodes, batch)
    batch = 1 if subject == "inference" else batch
    return [
        Case(subject=subject, name=name, nodes=nodes, batch=batch, call=call)
        for name, call in calls.items()
    ]


def _places(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Scatter places over a square that grows with them."""
    rng = np.random.default_rng(0)
    side = 0.5 * math.sqrt(nodes / 207)
    return 34 + side * rng.random(nodes), -118 + side * rng.random(nodes)


def _selections(nodes: int) -> dict[str, Selection]:
    found = {}
    if nodes <= MOST_EXACT:
        found["Top-k, exact"] = Selection(topk=TOPK)
    if nodes > MOST_NAIVE:
        found["Top-k, blocks"] = Selection(topk=TOPK, screening="blocks")
    return found


def _alignment(nodes: int, batch: int) -> dict[str, Callable[[], object]]:
    """Forward and backward of attention from every node to every (node, step)."""
    dim = WIDTH // HEADS
    query = torch.randn(batch, nodes, 1, HEADS, dim, requires_grad=True)
    key, value = (
        torch.randn(batch, nodes, HISTORY, HEADS, dim, requires_grad=True) for _ in range(2)
    )
    observed = torch.rand(batch, nodes, HISTORY) > 0.05
    geometry = Geometry(*_places(nodes), num_neighbours=9).to(query.device)
    position = LearnedPosition(HISTORY, HEADS, dim, 16).to(query.device)

    def both_ways(attend: Callable[[], Tensor]) -> None:
        tensors = [query, key, value]
        torch.autograd.grad(attend().sum(), tensors)

    def aligned(selection: Selection) -> Tensor:
        output, _ = topk_alignment(
            query, key, value, observed=observed, geometry=geometry, selection=selection,
            position=position,
        )  # fmt: skip
        return output

    def heads_first() -> tuple[Tensor, Tensor, Tensor]:
        return (
            query.permute(0, 3, 1, 2, 4).flatten(2, 3),
            key.permute(0, 3, 1, 2, 4).flatten(2, 3),
            value.permute(0, 3, 1, 2, 4).flatten(2, 3),
        )

    def fused(mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(*heads_first(), attn_mask=mask)

    def masked() -> Tensor:
        return fused(observed.flatten(1)[:, None, None])

    calls: dict[str, Callable[[], Tensor]] = {}
    if nodes <= MOST_DENSE:
        calls = {"dense, fused": fused, "dense, fused and masked": masked}
        if query.is_cuda:  # on CPUs it has no way back
            flexible = _flexible(observed.flatten(1), nodes)
            calls["FlexAttention, masked"] = lambda: flexible(*heads_first())
    if nodes <= MOST_NAIVE:
        calls["Top-k, naive"] = lambda: _naive(*heads_first())
    for name, selection in _selections(nodes).items():
        calls[name] = partial(aligned, selection)
    return {name: partial(both_ways, call) for name, call in calls.items()}


def _naive(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Score everything, take the Top-k of each head, gather them."""
    best = (query @ key.mT / math.sqrt(query.shape[3])).topk(TOPK)  # (B, H, N, K)
    rows = best.indices.flatten(2)[..., None].expand(-1, -1, -1, value.shape[3])
    kept = value.gather(2, rows).unflatten(2, best.indices.shape[2:])
    return (best.values.softmax(-1)[..., None] * kept).sum(3)


def _flexible(observed: Tensor, nodes: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Compile FlexAttention from every node to what was observed."""
    mask = create_block_mask(
        lambda window, _head, _query, source: observed[window, source],
        len(observed), None, nodes, observed.shape[1], device=observed.device,
    )  # fmt: skip
    return partial(torch.compile(flex_attention), block_mask=mask)


def _encoder(nodes: int, batch: int) -> dict[str, Callable[[], object]]:
    """Forward and backward of the encoder along time, and of the surroundings."""
    geometry = Geometry(*_places(nodes), num_neighbours=1)
    token = torch.randn(batch, nodes, HISTORY, WIDTH, requires_grad=True)
    observed = torch.rand(batch, nodes, HISTORY) > 0.05
    place, calendar = torch.zeros(nodes, WIDTH), torch.zeros(batch, WIDTH)
    along = EncoderLayer(WIDTH, HEADS, dropout=0.1).to(token.device)
    around = Surroundings(
        WIDTH, geometry=geometry, history_steps=HISTORY, num_layers=1, dropout=0.1
    ).to(token.device)

    def call() -> None:
        around(along(token, observed=observed), place, calendar).sum().backward()

    return {"encoder and surroundings layer": call}


def _model(nodes: int, **fields: object) -> STTrans:
    latitude, longitude = _places(nodes)
    screening = "exact" if nodes <= MOST_EXACT else "blocks"
    config = ExperimentConfig.preset("small").replace({"model": {"screening": screening, **fields}})
    shape = DataShape(
        latitude=latitude, longitude=longitude, history_steps=HISTORY, horizon_steps=HISTORY,
        steps_per_day=288, has_weekday=True,
    )  # fmt: skip
    return STTrans(config.model, shape).to(torch.get_default_device())


def _windows(nodes: int, batch: int) -> Batch:
    observed = torch.rand(batch, HISTORY, nodes) > 0.05
    return Batch(
        values=torch.randn(batch, HISTORY, nodes, 1) * observed[..., None],
        observed=observed,
        time_of_day=torch.randint(0, 288, (batch, 2 * HISTORY)),
        day_of_week=torch.randint(0, 7, (batch, 2 * HISTORY)),
        year_share=torch.rand(batch, 2 * HISTORY),
    )


def _training(nodes: int, batch: int) -> dict[str, Callable[[], object]]:
    """One step of training: forward, backward, optimiser; `small`, and the peers it is for."""
    windows = _windows(nodes, batch)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        forecast = forecast_of(model, windows)
        optimizer.zero_grad()
        forecast.abs().mean().backward()
        optimizer.step()

    models: dict[str, torch.nn.Module] = {"ST-Trans small": _model(nodes)}
    if nodes <= MOST_NAIVE:
        models["ST-Trans small, full_attention"] = _model(nodes, sources="dense")
        models["STAEformer"] = STAEformer(num_nodes=nodes)
    return {
        name: partial(step, model, torch.optim.AdamW(model.parameters(), 1e-3))
        for name, model in models.items()
    }


def _inference(nodes: int, _: int) -> dict[str, Callable[[], object]]:
    """One forecast of every node by `small`, without and with the alignment behind it."""
    model, window = _model(nodes).eval(), _windows(nodes, 1)
    return {
        "forecast": torch.no_grad()(partial(model, window)),
        "forecast with alignment": torch.no_grad()(partial(model, window, need_alignment=True)),
    }


def _feeding(nodes: int, batch: int) -> dict[str, Callable[[], object]]:
    """Cutting one batch of random windows out of a week of 5-minute readings."""
    latitude, longitude = _places(nodes)
    steps = 7 * 288
    rng = np.random.default_rng(0)
    series = xr.Dataset(
        {"target": (("time", "node"), rng.normal(50, 10, (steps, nodes)).astype(np.float32))},
        coords={
            "time": pd.date_range("2024-01-01", periods=steps, freq="5min").to_numpy(),
            "node": np.array([f"s{i}" for i in range(nodes)]),
            "latitude": ("node", latitude),
            "longitude": ("node", longitude),
        },
        attrs={
            "units": "mph", "interval": "5min", "title": "Random readings", "source": "simulated",
            "licence": "none", "synthetic": 1, "quantity": "speed",
        },
    )  # fmt: skip
    windows = Windows(
        series,
        history_steps=HISTORY,
        horizon_steps=HISTORY,
        scaler=Scaler(mean=50.0, std=10.0),
        device=torch.get_default_device(),
    )
    starts = torch.from_numpy(rng.integers(0, steps - 2 * HISTORY, batch))
    return {"batch of windows": partial(windows.batch, starts)}


SUBJECTS: dict[str, Callable[[int, int], dict[str, Callable[[], object]]]] = {
    "alignment": _alignment,
    "encoder": _encoder,
    "training": _training,
    "inference": _inference,
    "feeding": _feeding,
}
