"""Gaps and noise in training windows: how many, where, and what stays as it is."""

import pytest
import torch
from small_runs import HISTORY, NODES, random_batch

from sttrans_core.training.disturbance import disturb

WINDOWS = 4_000


def _batch(**options):
    batch = random_batch(windows=WINDOWS, **options)
    flags = torch.ones(WINDOWS, HISTORY + 6, NODES, 2)
    return batch._replace(earlier=torch.cat([torch.randn_like(flags), flags], dim=-1))


def test_nothing_is_disturbed_unless_asked():
    batch = _batch()
    after = disturb(batch, gaps=0.0, noise=0.0)
    assert all(one is two for one, two in zip(batch, after, strict=True))


def test_hidden_readings_have_no_value_and_others_keep_theirs():
    batch = _batch(missing=0.2)
    after = disturb(batch, gaps=0.3, noise=0.0)
    assert not (after.observed & ~batch.observed).any()
    assert torch.equal(after.values, batch.values * after.observed[..., None])
    assert after.target is batch.target


def test_as_many_gaps_as_asked():
    torch.manual_seed(0)
    batch = _batch(missing=0.0)
    after = disturb(batch, gaps=0.2, noise=0.0)
    # An outage with n = 1 ... 7 steps left that should last l = 1 ... 7 of them lasts min(l, n):
    # n (n + 1) / 2 + (7 - n) n for all l, 140 for all n, over 49 pairs and 7 steps.
    outage = 0.2 * 140 / 49 / 7
    lost = 0.1  # on average half of the share
    hidden = 1 - (1 - outage) * (1 - lost)
    assert (~after.observed).float().mean().item() == pytest.approx(hidden, abs=0.005)
    # Losses differ from window to window, from none to a fifth.
    share = (~after.observed).float().mean((1, 2))
    assert share.min() < 0.05
    assert share.max() > 0.2
    # An earlier day is hidden at a place for the whole window, value and flag, twice as often, and
    # single readings of the others get lost as those of the history do.
    gone = after.earlier[..., 2:] == 0
    assert gone.all(1).float().mean().item() == pytest.approx(0.4, abs=0.01)
    assert gone.float().mean().item() == pytest.approx(1 - (1 - 0.4) * (1 - lost), abs=0.01)
    assert torch.equal(after.earlier[..., :2], batch.earlier[..., :2] * ~gone)


def test_half_of_the_windows_are_noisy():
    torch.manual_seed(0)
    batch = _batch(missing=0.2)
    after = disturb(batch, gaps=0.0, noise=0.5)
    change = (after.values - batch.values)[..., 0]
    assert not change[~batch.observed].any()
    spread = change.square().sum((1, 2)).div(batch.observed.sum((1, 2))).sqrt()
    noisy = spread > 0
    assert noisy.float().mean().item() == pytest.approx(0.5, abs=0.03)
    # Uniform from 0 to 0.5.
    assert spread[noisy].mean().item() == pytest.approx(0.25, abs=0.01)
    assert spread.max() < 0.75


def test_the_same_seed_disturbs_alike():
    batch = _batch()
    torch.manual_seed(3)
    one = disturb(batch, gaps=0.2, noise=0.3)
    torch.manual_seed(3)
    two = disturb(batch, gaps=0.2, noise=0.3)
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.observed, two.observed)
