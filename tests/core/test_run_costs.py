"""What a run costs: formulas for operations against PyTorch's counter, and peaks of memory."""

import numpy as np
import pytest
import torch
from small_runs import (
    HISTORY,
    HORIZON,
    NODES,
    SEGMENTS,
    random_batch,
    small_config,
    small_model,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sttrans_core.baselines import STAEformer
from sttrans_core.bench.cases import Case
from sttrans_core.evaluation.costs import (
    AttentionShape,
    _aligned_flops,
    _fused_flops,
    alignment_flops,
    dense_flops,
    measure_costs,
)
from sttrans_core.evaluation.memory import forget_peak, peak_mb, resident_mb

CPU = torch.device("cpu")


def test_dense_attention_is_counted_as_pytorch_does():
    shape = AttentionShape(targets=5, segments=3, nodes=7, history=11, width=26, heads=2)
    query = torch.randn(1, 2, 5 * 3, 13)
    source = torch.randn(1, 2, 7 * 11, 13)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        torch.nn.functional.scaled_dot_product_attention(query, source, source)
    assert dense_flops(shape) == counter.get_total_flops()


@pytest.mark.parametrize("screening", ["exact", "blocks"])
@pytest.mark.parametrize("variant", ["full", "no_topk", "full_attention", "no_window"])
def test_the_alignment_is_counted_as_pytorch_does(variant, screening):
    model = small_model(small_config(variant, model={"screening": screening}))
    layer = model.decoder[0].alignment
    features = layer.position.features(model.geometry.classes)
    width = small_config().model.width
    shape = AttentionShape(
        targets=NODES, segments=SEGMENTS, nodes=NODES, history=HISTORY, width=width, heads=2,
        features=features.shape[-1], classes=len(features),
    )  # fmt: skip
    # Beside it runs the coding of relative positions: a network, once for each class and step, and
    # the projection of every query and head.
    weights = sum(part.weight.numel() for part in layer.position.network if hasattr(part, "bias")
                  and part.weight is not None)  # fmt: skip
    coding = 2 * features.shape[:2].numel() * weights
    coding += 2 * NODES * SEGMENTS * layer.position.projection.numel()
    counted = alignment_flops(shape, layer.selection, model.geometry)
    assert counted == _aligned_flops(shape, layer, model.geometry) - coding


def test_the_topk_is_cheap_where_candidates_are_few():
    # By hand: 1000 targets, one segment, 5 of 12,000 sources kept, scored over the full width.
    shape = AttentionShape(1000, 1, 1000, 12, 64, 4)
    model = small_model(small_config())
    assert model.selection.topk == 5
    scored, attended = 2 * 1000 * 12_000 * 64, 2 * 1000 * 5 * 2 * 64
    assert alignment_flops(shape, model.selection, model.geometry) == scored + attended
    assert dense_flops(shape) == 2 * scored


def test_fused_attention_of_a_baseline_is_counted():
    model = STAEformer(num_nodes=NODES, history_steps=HISTORY, horizon_steps=HORIZON).eval()
    case = Case(
        subject="a", name="b", nodes=NODES, batch=1, call=lambda: model(random_batch(windows=1))
    )
    # Three layers along time and three across nodes, width 152: scores and weighted values.
    along, across = NODES * HISTORY**2, HISTORY * NODES**2
    assert _fused_flops(case) == 3 * 4 * 152 * (along + across)


def test_costs_are_those_of_one_window(trained, series):
    costs = measure_costs(trained, series, repeats=3)
    assert costs["parameters"] == sum(p.numel() for p in trained.model.parameters())
    assert 0 < costs["inference_ms_low"] <= costs["inference_ms"] <= costs["inference_ms_high"]
    assert costs["threads"] == torch.get_num_threads()
    assert costs["dense_flops"] == 4 * NODES * SEGMENTS * NODES * HISTORY * 8
    assert 0 < costs["attention_flops"] < costs["attention_flops_measured"]


def test_a_peak_counts_from_where_it_was_forgotten():
    def fill(megabytes: int) -> None:
        np.ones(megabytes << 17)  # 8 bytes each

    for megabytes in (200, 50):  # what the first one took is no part of the second one's peak
        forget_peak(CPU)
        before = resident_mb(CPU)
        fill(megabytes)
        assert peak_mb(CPU) - before == pytest.approx(megabytes, abs=15)
