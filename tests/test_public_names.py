"""The public names, pinned: a name comes or goes on purpose, together with the changelog."""

import importlib

import pytest

CORE = [
    "PRESETS",
    "VARIANTS",
    "Alignment",
    "ConfigError",
    "DataConfig",
    "ExperimentConfig",
    "Forecaster",
    "ModelConfig",
    "RunError",
    "SchemaError",
    "Selection",
    "TrainConfig",
    "alignment_stability",
    "check_alignment",
    "check_dataset",
    "check_forecast",
    "data_card",
    "deletion_curve",
    "evaluate",
    "evaluate_baselines",
    "evaluate_quality",
    "export_forecaster",
    "from_grid",
    "from_table",
    "hit_rate",
    "insertion_curve",
    "list_datasets",
    "list_pretrained",
    "load_dataset",
    "load_pretrained",
    "load_run",
    "load_trips",
    "load_zones",
    "simulate_freeway",
    "simulate_weather",
    "topk_alignment",
    "train",
    "true_causes",
]
VIZ = [
    "alignment_table",
    "alignment_widget",
    "animate_forecast",
    "folium_forecast_map",
    "node_at",
    "nodes_within",
    "plot_alignment_cube",
    "plot_alignment_heads",
    "plot_alignment_map",
    "plot_alignment_profile",
    "plot_base_map",
    "plot_benchmark",
    "plot_deletion",
    "plot_errors",
    "plot_forecast_map",
    "plot_readings",
    "plot_results",
    "plot_scores",
    "plot_series",
    "plot_training",
    "prepare_alignment",
    "prepare_alignment_heads",
    "prepare_alignment_profile",
    "prepare_errors",
    "prepare_forecast_map",
    "prepare_regions",
    "prepare_scores",
    "prepare_series",
    "scores_table",
]


@pytest.mark.parametrize(("package", "names"), [("sttrans_core", CORE), ("stviz", VIZ)])
def test_public_names_are_pinned(package, names):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []
