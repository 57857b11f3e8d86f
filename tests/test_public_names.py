"""The public names, pinned: a name comes or goes on purpose, together with the changelog."""

import importlib

import pytest

CORE = [
    "DataConfig",
    "ExperimentConfig",
    "Forecaster",
    "ModelConfig",
    "TrainConfig",
    "VARIANTS",
    "evaluate",
    "from_table",
    "list_pretrained",
    "load_dataset",
    "load_pretrained",
    "load_run",
    "topk_alignment",
    "train",
]
VIZ: list[str] = []


@pytest.mark.parametrize(("package", "names"), [("sttrans_core", CORE), ("stviz", VIZ)])
def test_public_names_are_pinned(package, names):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []
