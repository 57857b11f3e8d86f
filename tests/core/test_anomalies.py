"""Readings of every place measured by what is usual there."""

import numpy as np
import pytest
import torch
from small_runs import dataset_of

from sttrans_core.data.windows import Batch, Scaler
from sttrans_core.model.anomalies import StandardizedAnomalies


def test_places_are_standardized_by_their_own_training_readings():
    # Training readings of 2, 4 and 6 in turn at one place, 10 and 70 at the second, none at the
    # third; what follows the training part is not looked at.
    steps = 100
    readings = np.full((steps, 3), 1e6)
    readings[:60, 0], readings[:60, 1] = np.tile([2, 4, 6], 20), np.tile([10, 70], 30)
    readings[:60, 2] = np.nan
    scaler = Scaler(mean=4.0, std=2.0)
    anomalies = StandardizedAnomalies(
        num_nodes=3, num_channels=1, history_steps=2, steps_per_day=24, has_season=False
    )
    anomalies.fit(dataset_of(readings, interval="1h"), scaler, num_train_steps=60)
    assert anomalies.course[0, :, 0].tolist() == pytest.approx([0.0, (40 - 4) / 2, 0.0])
    spread = [np.sqrt(8 / 3) / 2, 30 / 2, 1.0]
    assert anomalies.spread[:, 0].tolist() == pytest.approx(spread)
    values = scaler.transform(torch.tensor([[[6.0, 70.0, 4.0], [2.0, 0.0, 0.0]]]))[..., None]
    observed = torch.tensor([[[True, True, True], [True, False, False]]])
    when = torch.zeros(1, 3, dtype=torch.int64)
    batch = Batch(values * observed[..., None], observed, when, when, when.float())
    standardized = anomalies(batch, anomalies.usual(batch)).values[0, ..., 0]
    assert standardized[0].tolist() == pytest.approx([2 / np.sqrt(8 / 3), 1.0, 0.0])
    assert standardized[1].tolist() == pytest.approx([-2 / np.sqrt(8 / 3), 0.0, 0.0])
