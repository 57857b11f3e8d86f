"""ST-Trans: spatio-temporal forecasting with attention that can be seen.

Data goes one way: `load_dataset` -> windows -> model -> `Forecaster.forecast` and
`Forecaster.align`, labelled `xarray.Dataset`s in original units, which `stviz` draws.
"""

from sttrans_core.alignment import Alignment, Selection, topk_alignment
from sttrans_core.config import (
    PRESETS,
    VARIANTS,
    ConfigError,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
)
from sttrans_core.data import (
    data_card,
    from_grid,
    from_table,
    list_datasets,
    load_dataset,
    load_trips,
    load_zones,
)
from sttrans_core.data.simulate import simulate_freeway
from sttrans_core.data.simulate_weather import simulate_weather
from sttrans_core.evaluation.protocol import evaluate, evaluate_baselines
from sttrans_core.export import export_forecaster
from sttrans_core.forecaster import Forecaster, load_run
from sttrans_core.pretrained import list_pretrained, load_pretrained
from sttrans_core.quality import (
    alignment_stability,
    deletion_curve,
    evaluate_quality,
    insertion_curve,
)
from sttrans_core.runs import RunError
from sttrans_core.schema import SchemaError, check_alignment, check_dataset, check_forecast
from sttrans_core.training.loop import train
from sttrans_core.truth.hits import hit_rate, true_causes

__all__ = [
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
