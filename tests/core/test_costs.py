"""What the alignment costs, in counts: multiplications, operations, waiting for numbers."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sttrans_core.bench import cases
from sttrans_core.bench.cases import HISTORY, WIDTH


class Operations(TorchDispatchMode):
    """Counts what PyTorch is asked to do."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, operation, _types, args=(), kwargs=None):
        self.count[operation.name()] += 1
        return operation(*args, **(kwargs or {}))


def _alignment(nodes: int, name: str) -> cases.Case:
    found = cases.cases_of("alignment", nodes, torch.device("cpu"))
    return next(case for case in found if case.name == name)


def _flops(case: cases.Case) -> float:
    """Give those of matrix products, both ways, per window."""
    with FlopCounterMode(display=False) as counter:
        case.call()
    return counter.get_total_flops() / case.batch


def _steps_of_a_model(nodes: int) -> Operations:
    model, windows = cases._model(nodes), cases._windows(nodes, 4)
    model(windows)[0].sum().backward()  # what is found once and kept does not count
    with Operations() as operations:
        model(windows)[0].abs().mean().backward()
    return operations


def test_the_exact_topk_multiplies_a_fraction_of_dense_attention():
    nodes = 207
    # Scores and weighted values forward; both again, twice, and the scores once more, backward.
    dense = (2 + 5) * 2 * nodes * (nodes * HISTORY) * WIDTH
    assert _flops(_alignment(nodes, "Top-k, exact")) < 0.25 * dense


def test_screening_by_blocks_multiplies_in_proportion_to_the_nodes():
    few, many = (_flops(_alignment(nodes, "Top-k, blocks")) for nodes in (1000, 2000))
    assert 1.8 < many / few < 2.2


def test_training_never_waits_for_a_number():
    # On a GPU each would stop the queue until all before it is done.
    waits = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero"}
    assert not waits & set(_steps_of_a_model(30).count)


def test_operations_do_not_grow_with_nodes_or_windows():
    few, many = (_steps_of_a_model(nodes).count for nodes in (30, 60))
    assert few == many
    assert sum(few.values()) < 1000


@pytest.mark.parametrize("nodes", [207, 1000])
def test_tiles_of_scores_are_few(nodes):
    # A tile holds a million scores at most and, but for the last ones, half of that at least.
    case = _alignment(nodes, "Top-k, exact")
    scores = case.batch * nodes * nodes * HISTORY
    with Operations() as operations:
        case.call()
    assert operations.count["aten::bmm"] <= 2 * (scores / (1 << 20)) + 20
