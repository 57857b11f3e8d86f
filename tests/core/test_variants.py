"""One contract for every variant of the ablation table."""

import pytest
import torch
import xarray as xr
from small_runs import (
    HISTORY,
    HORIZON,
    NODES,
    SEGMENTS,
    SOURCES,
    random_batch,
    small_config,
    small_model,
)

from sttrans_core.config import VARIANTS
from sttrans_core.evaluation.metrics import masked_error
from sttrans_core.forecaster import load_run
from sttrans_core.model.sttrans import STTrans
from sttrans_core.runs import RunError
from sttrans_core.schema import check_alignment
from sttrans_core.training.loop import train

every_variant = pytest.mark.parametrize("variant", VARIANTS)


# Kept sources: 5 of the candidates; else all steps of the candidate or of all other nodes.
def _kept(variant: str, model: STTrans) -> int:
    if variant == "full_attention":
        return SOURCES
    groups = model.geometry.groups(group_size=3, block_size=2, window_nodes=3)
    return HISTORY * (groups.window.shape[1] + 2) if variant == "no_topk" else 5


@every_variant
@pytest.mark.parametrize("layers", [{}, {"num_encoder_layers": 0, "num_decoder_layers": 2}])
def test_forward_and_backward(variant, layers):
    model = small_model(small_config(variant, model=layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    taught = set()
    for seed in range(3):  # what starts at zero may pass gradients on after the first step only
        batch = random_batch(windows=5, seed=seed)
        output = model(batch)
        assert output.forecast.shape == (5, HORIZON, NODES, 1)
        assert torch.isfinite(output.forecast).all()
        assert output.alignments == []
        optimizer.zero_grad()
        total = sum(
            masked_error(each * 10 + 50, batch.target, kind="mae", spread=10.0)[0]
            for each in (output.forecast, output.aligned)
            if each is not None
        )
        total.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if (parameter.grad != 0).any():
                taught.add(name)
        optimizer.step()
    assert {name for name, _ in model.named_parameters()} - taught == set()


@every_variant
def test_the_alignment_of_every_layer(variant):
    config = small_config(variant, model={"num_decoder_layers": 2})
    model, batch = small_model(config).eval(), random_batch()
    forecast = model(batch).forecast
    again, alignments, _ = model(batch, need_alignment=True)
    assert torch.allclose(forecast, again, atol=1e-5)
    if variant == "no_alignment":
        assert alignments == []
        return
    kept = _kept(variant, model)
    assert len(alignments) == 2
    for alignment in alignments:
        assert alignment.node.shape == (2, NODES, SEGMENTS, kept)
        assert alignment.weight.shape == (2, NODES, SEGMENTS, 2, kept)
        assert alignment.in_window.any() == (variant != "no_window")


@every_variant
def test_some_query_nodes_are_columns_of_all(variant):
    model, batch = small_model(small_config(variant)).eval(), random_batch()
    nodes = torch.tensor([7, 0])
    everyone, _, everyone_aligned = model(batch)
    some, _, some_aligned = model(batch, query_nodes=nodes)
    assert torch.allclose(some, everyone[:, :, nodes], atol=1e-5)
    if variant == "no_alignment":
        assert some_aligned is everyone_aligned is None
    else:
        assert torch.allclose(some_aligned, everyone_aligned[:, :, nodes], atol=1e-5)


@every_variant
def test_saves_and_reloads_equal(variant, series, tmp_path):
    config = small_config(variant, train={"epochs": 1, "max_windows_per_epoch": 31})
    made = train(config, run_dir=tmp_path, dataset=series)
    loaded = load_run(tmp_path)
    assert loaded.config == made.config
    assert loaded.history == made.history
    xr.testing.assert_identical(loaded.forecast(series), made.forecast(series))
    time = series["time"].values[50]
    if variant == "no_alignment":
        sentence = (
            r"ST-Trans with cross-attention; got the run of 'no_alignment'.*Choose another run"
        )
        with pytest.raises(RunError, match=sentence):
            loaded.align(series, time)
        return
    alignment = check_alignment(loaded.align(series, time))
    assert alignment.sizes["source"] == _kept(variant, loaded.model)
    assert alignment.attrs["model"] == f"{variant}, seed 0"
    xr.testing.assert_identical(alignment, made.align(series, time))
