"""One frozen, validated configuration of an experiment, its presets and its ablation variants."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Discriminator, Tag, ValidationError, model_validator

from sttrans_core.settings import (
    BASELINE_NAMES,
    BaselineConfig,
    ConfigError,
    DataConfig,
    ModelConfig,
    Section,
    TrainConfig,
    kind_of_model,
    one_sentence,
)

__all__ = [
    "PRESETS",
    "SUITED",
    "VARIANTS",
    "BaselineConfig",
    "ConfigError",
    "DataConfig",
    "ExperimentConfig",
    "ModelConfig",
    "TrainConfig",
    "Variant",
    "config_hash",
]


class Variant(NamedTuple):
    """An ablation: named model fields replaced, and the question that this answers."""

    replaces: Mapping[str, Any]
    question: str


VARIANTS: dict[str, Variant] = {
    "full": Variant({}, "How good is the whole method?"),
    "no_alignment": Variant(
        {"sources": "own"}, "What does looking at other places and times contribute?"
    ),
    "static_value": Variant(
        {"value": "static"}, "What does generating the value projection from content contribute?"
    ),
    "no_topk": Variant(
        {"sources": "candidates", "screening": "blocks"},
        "Does keeping only the Top-k help or hurt?",
    ),
    "full_attention": Variant(
        {"sources": "dense"}, "Is hybrid sparse attention as good as dense attention?"
    ),
    "fixed_position": Variant(
        {"position": "fixed"}, "What does learning the relative position contribute?"
    ),
    "no_window": Variant({"window": "none"}, "What does the local window contribute?"),
    "no_gate": Variant({"residual": "plain"}, "What does the gate of the residual contribute?"),
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"model": {}, "train": {}},
    "compact": {"model": {"width": 16, "num_bases": 2, "relation_dim": 8}, "train": {}},
    "base": {
        "model": {
            "width": 64,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "topk": 64,
        },
        "train": {"epochs": 60, "batch_size": 32, "learning_rate": 1e-3},
    },
    "paper": {
        "model": {
            "width": 256,
            "num_heads": 8,
            "num_encoder_layers": 4,
            "num_decoder_layers": 4,
            "topk": 64,
        },
        "train": {"epochs": 100, "batch_size": 32, "learning_rate": 1e-4, "weight_decay": 5e-5},
    },
}


_FIELD = {"num_surroundings_layers": 5}  # of what moves, such as temperature

# What suits a data set, beside its preset: what it is split by, and what a forecast can look at.
SUITED: dict[str, dict[str, dict[str, Any]]] = {
    "metr-la": {"data": {"lag_days": [1]}},
    "metr-la-10": {"data": {"lag_days": [1, 7], "usual_weeks": 4}},
    "pems-bay": {"data": {"lag_days": [1, 7], "usual_weeks": 4}},
    "nyc-taxi": {
        "data": {"split": ["2023-01-22", "2023-01-25"], "lag_days": [7], "usual_weeks": 4},
        "train": {
            "batch_size": 4,
            "average_decay": 0.995,
            "gaps": 0.25,
            "noise": 0.0,
            "epochs": 12,
        },
    },
    "nyc-taxi-green": {"data": {"lag_days": [7], "usual_weeks": 4}},
    "nyc-bike": {"data": {"lag_days": [7], "usual_weeks": 4}},
    "weatherbench": {"model": _FIELD, "train": {"loss": "mse"}},
    "ncep-air": {
        "model": {**_FIELD, "screening": "blocks", "topk": 32},
        "train": {"loss": "mse", "batch_size": 8, "epochs": 6},
    },
    "era5-uk": {"model": _FIELD, "train": {"loss": "mse"}},
    "simulated-weather": {
        "model": _FIELD,
        "train": {"loss": "mse", "batch_size": 4, "max_windows_per_epoch": 800},
    },
}


class ExperimentConfig(Section):
    """Everything that defines a run: data, model and training.

    Args:
        data: The series and its windows.
        model: The model, or a baseline in its place.
        train: The budget and the optimiser.
        preset_name: Name of the preset it started from, for labels only.
        variant_name: Name of the ablation variant, for labels only.

    Raises:
        ConfigError: A field is unknown, has the wrong type or is out of range; so do the sections.
    """

    data: DataConfig = DataConfig()
    model: Annotated[
        Annotated[ModelConfig, Tag("sttrans")] | Annotated[BaselineConfig, Tag("baseline")],
        Discriminator(kind_of_model),
    ] = ModelConfig()
    train: TrainConfig = TrainConfig()
    preset_name: str = "small"
    variant_name: str = "full"

    @model_validator(mode="after")
    def _check(self) -> Self:
        segments = 1 if isinstance(self.model, BaselineConfig) else self.model.num_segments
        if self.data.horizon_steps % segments:
            raise ValueError(
                "num_segments must divide horizon_steps; got "
                f"num_segments={segments} with "
                f"horizon_steps={self.data.horizon_steps}. Change one of them."
            )
        return self

    @classmethod
    def preset(cls, name: str = "small", *, dataset: str = "simulated-freeway") -> Self:
        """Give a preset for a dataset, with what suits a registered one (`SUITED`).

        Args:
            name: `small` (a laptop's CPU), `compact` (a quarter of its parameters, for a small
                device), `base` (one GPU) or `paper` (the seed paper's settings).
            dataset: Name for `load_dataset`.

        Returns:
            The configuration.

        Raises:
            ConfigError: There is no preset of that name.
        """
        if name not in PRESETS:
            raise ConfigError(
                f"The preset must be one of {', '.join(PRESETS)}; got {name!r}. Choose one of them."
            )
        fields = {"data": {"dataset": dataset}, "preset_name": name, **PRESETS[name]}
        return cls.parse(fields).replace(SUITED.get(dataset, {}))

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Build a configuration from plain fields, as read from JSON.

        Args:
            fields: Nested fields; missing ones take their defaults.

        Returns:
            The configuration.

        Raises:
            ConfigError: A field is unknown, has the wrong type or is out of range.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(one_sentence(error, cls)) from error
        except TypeError as error:
            raise ConfigError(
                f"Names of fields must be text; got {fields!r}. Correct the names."
            ) from error

    def variant(self, name: str) -> Self:
        """Give the same experiment with the fields of an ablation variant replaced.

        Args:
            name: A key of `VARIANTS`.

        Returns:
            The changed configuration.

        Raises:
            ConfigError: There is no variant of that name.
        """
        if name not in VARIANTS:
            raise ConfigError(
                f"The variant must be one of {', '.join(VARIANTS)}; got {name!r}. "
                "Choose one of them."
            )
        if isinstance(self.model, BaselineConfig):
            raise ConfigError(
                f"A variant must be one of ST-Trans; got {name!r} of the baseline "
                f"{self.model.baseline!r}. Start from another configuration."
            )
        base = VARIANTS[self.variant_name].replaces if self.variant_name in VARIANTS else {}
        defaults = {key: ModelConfig.model_fields[key].default for key in base}
        model = {**defaults, **VARIANTS[name].replaces}
        return self.replace({"model": model, "variant_name": name})

    def baseline(self, name: str) -> Self:
        """Give the same experiment with a baseline in place of the model.

        Args:
            name: `stid`, `stgcn`, `graph_wavenet`, `stemgnn`, `staeformer`, `ridge`,
                `pooled_regression` or `arima`.

        Returns:
            The changed configuration.

        Raises:
            ConfigError: There is no baseline of that name.
        """
        fields = {"model": {"baseline": name}, "preset_name": "published", "variant_name": name}
        return self.parse({**self.model_dump(), **fields})

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Give a copy with fields replaced; nested sections are merged.

        Args:
            changes: For example `{"train": {"epochs": 3}}`.

        Returns:
            The changed configuration.

        Raises:
            ConfigError: A field is unknown, has the wrong type or is out of range.
        """
        fields = self.model_dump()
        for key, value in changes.items():
            if isinstance(value, Mapping) and isinstance(fields.get(key), dict):
                fields[key] = {**fields[key], **value}
            else:
                fields[key] = value
        return self.parse(fields)

    def to_json(self) -> str:
        """Write the configuration as indented JSON, ready for `config.json`."""
        return self.model_dump_json(indent=2) + "\n"

    @property
    def hash(self) -> str:
        """Ten characters that identify data, model and training settings (not the labels)."""
        return config_hash(self.model_dump())

    @property
    def model_name(self) -> str:
        """What the model is called in tables, for example `ST-Trans no_topk` or `STID`."""
        if isinstance(self.model, BaselineConfig):
            return BASELINE_NAMES[self.model.baseline]
        return f"ST-Trans {self.variant_name}"

    @property
    def label(self) -> str:
        """A short label for legends, for example `full, seed 0`."""
        return f"{self.model_name.removeprefix('ST-Trans ')}, seed {self.train.seed}"


def config_hash(fields: Mapping[str, Any]) -> str:
    """Give ten characters that identify data, model and training settings (not the labels).

    Args:
        fields: Nested fields of a whole configuration.

    Returns:
        The start of a SHA-256 digest.
    """
    sections = {name: fields.get(name) for name in ("data", "model", "train")}
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()[:10]
