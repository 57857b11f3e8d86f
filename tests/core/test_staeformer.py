"""STAEformer as published: its size, and what its attention mixes."""

import pytest
import torch
from small_runs import HISTORY, HORIZON, NODES, random_batch

from sttrans_core.baselines.staeformer import STAEformer


def test_it_has_the_published_size():
    # By hand, width 3 * 24 + 80 = 152: reading 4 * 24, time of day 288 * 24, weekday 7 * 24,
    # adaptive 12 * 207 * 80, head (12 * 152 + 1) * 12; six layers of four projections 153 * 152,
    # feed-forward 153 * 256 + 257 * 152 and two norms 304.
    layer = 4 * 153 * 152 + 153 * 256 + 257 * 152 + 2 * 304
    expected = 4 * 24 + 288 * 24 + 7 * 24 + 12 * 207 * 80 + (12 * 152 + 1) * 12 + 6 * layer
    count = sum(parameter.numel() for parameter in STAEformer(num_nodes=207).parameters())
    assert count == expected
    assert count == pytest.approx(1.26e6, rel=0.02)


def _small() -> STAEformer:
    torch.manual_seed(0)
    return STAEformer(
        num_nodes=NODES, history_steps=HISTORY, horizon_steps=HORIZON, embedding=6, adaptive=10,
        feedforward=14, num_heads=2, num_layers=1,
    ).eval()  # fmt: skip


def test_every_reading_reaches_every_forecast_of_its_window():
    model, batch = _small(), random_batch()
    changed = batch.values.clone()
    changed[0, 2, 4] += 5
    before, after = model(batch), model(batch._replace(values=changed))
    assert before.shape == (len(batch.values), HORIZON, NODES, 1)
    assert ((before[0] - after[0]).abs() > 0).all()
    assert torch.equal(before[1:], after[1:])
