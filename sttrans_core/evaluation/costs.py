"""What a run costs: parameters, time of a forecast, operations of its attention."""

import time
from functools import partial
from typing import Any, NamedTuple

import torch
import xarray as xr
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from sttrans_core.alignment import Selection, SpatioTemporalAlignment, topk_alignment
from sttrans_core.bench.cases import Case
from sttrans_core.bench.measure import name_of, take_turns
from sttrans_core.data.splits import split_dataset
from sttrans_core.forecaster import Forecaster
from sttrans_core.model.sttrans import STTrans
from sttrans_core.space.relation import Geometry

__all__ = ["AttentionShape", "alignment_flops", "dense_flops", "measure_costs"]


class AttentionShape(NamedTuple):
    """Sizes of the attention from the targets of one window to every (node, step).

    Args:
        targets: Places that are forecast.
        segments: Queries of each.
        nodes: Places that are looked at.
        history: Steps of each.
        width: Channels of all heads together.
        heads: Attention heads.
        features: Features of the relative position.
        classes: Classes of relative position that occur.
    """

    targets: int
    segments: int
    nodes: int
    history: int
    width: int
    heads: int
    features: int = 0
    classes: int = 0


def dense_flops(shape: AttentionShape) -> int:
    """Count the operations of plain dense attention, forward.

    Every query scores every source and takes the weighted mean of all values. A multiplication and
    its addition are two operations.

    Args:
        shape: Sizes.

    Returns:
        Floating-point operations of the matrix products.
    """
    return 4 * shape.targets * shape.segments * shape.nodes * shape.history * shape.width


def alignment_flops(shape: AttentionShape, selection: Selection, geometry: Geometry) -> int:
    """Count the operations of the alignment, forward: candidates scored, kept sources attended.

    Args:
        shape: Sizes.
        selection: Which sources are candidates and how many are kept.
        geometry: Positions of the nodes, for the groups that share candidates.

    Returns:
        Floating-point operations of the matrix products: screening, scores with their relative
        position, and weighted means. What fills up groups counts, too.
    """
    queries, candidates, screening = shape.targets * shape.segments, shape.nodes, 0
    asked = queries
    if selection.screening == "blocks":
        found = geometry.groups(
            group_size=selection.group_size, block_size=selection.block_size,
            window_nodes=selection.window_nodes,
        )  # fmt: skip
        (groups, members), (blocks, in_block) = found.members.shape, found.blocks.shape
        candidates = found.window.shape[1] + in_block * min(selection.screened_blocks, blocks)
        asked = groups * members * shape.segments
        # A mean key of each node, then a score of each group and segment for each block.
        of_block = blocks * shape.width + shape.classes * shape.features
        screening = shape.nodes * shape.history * shape.width + groups * shape.segments * of_block
    per_source = 2 * shape.width + shape.heads * shape.features  # score, value and position
    if selection.topk is None:
        return 2 * (screening + asked * candidates * shape.history * per_source)
    classes = shape.classes * (1 if selection.window == "local" else 2)
    scored = asked * shape.history * (candidates * shape.width + classes * shape.features)
    topk = min(selection.topk, min(candidates, shape.nodes - 1) * shape.history)
    return 2 * (screening + scored + queries * topk * per_source)


def measure_costs(
    forecaster: Forecaster, dataset: xr.Dataset, *, repeats: int = 15
) -> dict[str, Any]:
    """Measure what one forecast of all places costs.

    Args:
        forecaster: A trained model.
        dataset: A labelled dataset that fits it.
        repeats: Timings.

    Returns:
        Plain fields: `parameters`; median and quartiles of the milliseconds of one window
        (`inference_ms`, ...); `device`, `threads`, `torch` and `date`; and floating-point
        operations in one window. With an alignment these are `attention_flops`, counted by
        formula, `attention_flops_measured`, by PyTorch's counter while it runs, and `dense_flops`
        of dense attention in the same sizes. With fused attention it is the measured one alone.

    Raises:
        RunError: The dataset does not fit the run.
    """
    config, device = forecaster.config.data, forecaster.device
    test = split_dataset(
        dataset, history_steps=config.history_steps, horizon_steps=config.horizon_steps,
        split=config.split,
    ).test  # fmt: skip
    batch = forecaster.windows(dataset).batch([test[0]])
    case = Case(
        subject="inference", name="forecast", nodes=len(forecaster.data.nodes), batch=1,
        call=partial(forecaster.predict, batch),
    )  # fmt: skip
    seconds = torch.from_numpy(take_turns([case], repeats, device)[0])
    low, middle, high = (1e3 * seconds.quantile(seconds.new_tensor([0.25, 0.5, 0.75]))).tolist()
    return {
        "parameters": sum(each.numel() for each in forecaster.model.parameters()),
        "inference_ms": round(middle, 3),
        "inference_ms_low": round(low, 3),
        "inference_ms_high": round(high, 3),
        **_attention(forecaster, case),
        "device": name_of(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _attention(forecaster: Forecaster, case: Case) -> dict[str, int]:
    model = forecaster.model
    if not isinstance(model, STTrans):
        fused = _fused_flops(case)
        return {"attention_flops_measured": fused} if fused else {}
    num_nodes, geometry = len(forecaster.data.nodes), model.geometry
    counts = {"attention_flops": 0, "attention_flops_measured": 0, "dense_flops": 0}
    for layer in model.modules():
        if isinstance(layer, SpatioTemporalAlignment):
            features = layer.position.features(geometry.classes)
            shape = AttentionShape(
                targets=num_nodes,
                segments=len(model.segment),
                nodes=num_nodes,
                history=model.history_steps,
                width=layer.key.out_features,
                heads=layer.num_heads,
                features=features.shape[-1],
                classes=len(features),
            )
            counts["attention_flops"] += alignment_flops(shape, layer.selection, geometry)
            counts["attention_flops_measured"] += _aligned_flops(shape, layer, geometry)
            counts["dense_flops"] += dense_flops(shape)
    return counts if counts["dense_flops"] else {}


@torch.no_grad()
def _aligned_flops(
    shape: AttentionShape, layer: SpatioTemporalAlignment, geometry: Geometry
) -> int:
    """Run the alignment on random vectors, outside of compiled loops, which nobody can count in."""
    device, vector = geometry.position.device, (shape.heads, shape.width // shape.heads)
    query = torch.randn(1, shape.targets, shape.segments, *vector, device=device)
    key = torch.randn(1, shape.nodes, shape.history, *vector, device=device)
    with FlopCounterMode(display=False) as counter:
        topk_alignment(
            query, key, key, observed=key[..., 0, 0] < torch.inf, geometry=geometry,
            selection=layer.selection, position=layer.position, backend="torch",
        )  # fmt: skip
    return counter.get_total_flops()


def _fused_flops(case: Case) -> int:
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # not among the known ones
    with FlopCounterMode(display=False, custom_mapping={on_cpu: _sdpa_flops}) as counter:
        case.call()
    counts = counter.get_flop_counts()["Global"]
    return sum(count for name, count in counts.items() if "scaled_dot_product" in str(name))


def _sdpa_flops(query, key, value, *_, **__) -> int:
    return sdpa_flop_count(query, key, value)
