"""Dropout of channels: all steps of a node alike, and nothing where nothing is trained."""

import torch

from sttrans_core.model.dropout import ChannelDropout


def test_a_channel_is_dropped_at_all_steps_and_the_others_make_up_for_it():
    torch.manual_seed(0)
    change, to = torch.rand(50, 20, 5, 8) + 1, torch.rand(50, 20, 5, 8)
    dropout = ChannelDropout(0.25)
    kept = ((dropout(change, to=to) - to) / change).round(decimals=4)
    assert (kept == kept[:, :, :1]).all()
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).round(decimals=4).item()}
    assert abs((kept[:, :, 0] == 0).float().mean() - 0.25) < 0.02  # of 8,000 channels
    assert torch.equal(dropout.eval()(change, to=to), to + change)


def test_half_precision_is_added_to_single_precision():
    change = torch.rand(2, 3, 5, 8, dtype=torch.bfloat16)
    added = ChannelDropout(0.5)(change, to=torch.zeros(2, 3, 5, 8))
    assert added.dtype == torch.float32
