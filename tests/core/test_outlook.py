"""What a place's own readings say of its future."""

import pytest
import torch

from sttrans_core.model.outlook import Outlook

BATCH, NODES, HISTORY, WIDTH, STATE, STEPS, LAGS = 2, 5, 7, 3, 11, 13, 4


def _outlook(num_earlier: int, *, has_surroundings: bool = False) -> Outlook:
    torch.manual_seed(0)
    return Outlook(
        WIDTH,
        STATE,
        num_nodes=NODES,
        history_steps=HISTORY,
        num_earlier=num_earlier,
        has_surroundings=has_surroundings,
        dropout=0.0,
    )


@pytest.mark.parametrize("changed", ["history", "place", "earlier", "around"])
def test_a_place_has_its_own_readings_and_surroundings_alone(changed):
    outlook = _outlook(STEPS * LAGS, has_surroundings=True)
    inputs = {
        "history": torch.randn(BATCH, NODES, HISTORY, WIDTH),
        "calendar": torch.randn(BATCH, WIDTH),
        "place": outlook.place.detach().clone(),
        "earlier": torch.randn(BATCH, STEPS, NODES, LAGS),
        "around": torch.randn(BATCH, NODES, WIDTH),
    }
    before = outlook(**inputs)
    assert before.shape == (BATCH, NODES, STATE)
    moved = inputs[changed].clone()
    moved.select({"history": 1, "place": 0, "earlier": 2, "around": 1}[changed], 3).add_(1.0)
    after = outlook(**{**inputs, changed: moved})
    same = torch.isclose(before, after).all(2).all(0)
    assert same.tolist() == [True, True, True, False, True]


def test_without_earlier_days_and_surroundings_nothing_waits_for_them():
    outlook = _outlook(0)
    assert outlook.earlier is None
    history, calendar = torch.randn(BATCH, 2, HISTORY, WIDTH), torch.randn(BATCH, WIDTH)
    outlook(history, calendar, outlook.place[:2], None, None).sum().backward()
    assert all(parameter.grad is not None for parameter in outlook.parameters())
