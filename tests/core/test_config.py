"""Configurations: refused fields, variants as replacements, identity by hash."""

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttrans_core.config import (
    PRESETS,
    VARIANTS,
    ConfigError,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_keeps_its_dataset(name):
    config = ExperimentConfig.preset(name, dataset="pems-bay")
    assert (config.preset_name, config.data.dataset) == (name, "pems-bay")
    assert (config.data.history_steps, config.data.horizon_steps) == (12, 12)


def test_the_paper_preset_has_the_settings_of_the_paper():
    config = ExperimentConfig.preset("paper")
    model, training = config.model, config.train
    assert (model.num_encoder_layers, model.width, model.topk) == (4, 256, 64)
    assert (model.window_nodes, model.window_steps) == (8, 8)
    assert (training.learning_rate, training.weight_decay) == (1e-4, 5e-5)
    assert (training.batch_size, training.patience) == (32, 20)


def test_the_eight_variants_of_the_ablation_table_exist():
    assert list(VARIANTS) == [
        "full", "no_alignment", "static_value", "no_topk",
        "full_attention", "fixed_position", "no_window", "no_gate",
    ]  # fmt: skip
    assert all(variant.question.endswith("?") for variant in VARIANTS.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_replaces_its_fields_and_nothing_else(name):
    full = ExperimentConfig.preset("small").replace({"model": {"topk": 7}, "train": {"seed": 3}})
    changed = full.variant(name)
    before, after = full.model_dump(), changed.model_dump()
    differs = {key for key in before["model"] if before["model"][key] != after["model"][key]}
    assert differs == set(VARIANTS[name].replaces)
    assert (before["data"], before["train"]) == (after["data"], after["train"])
    assert changed.label == f"{name}, seed 3"
    assert (changed.hash == full.hash) == (name == "full")


@pytest.mark.parametrize("first", VARIANTS)
@pytest.mark.parametrize("second", VARIANTS)
def test_variants_do_not_add_up(first, second):
    config = ExperimentConfig.preset("small")
    assert config.variant(first).variant(second) == config.variant(second)


def test_the_hash_ignores_labels_and_sees_every_section():
    config = ExperimentConfig.preset("small")
    renamed = config.replace({"variant_name": "mine", "preset_name": "mine"})
    assert renamed.hash == config.hash
    changes = [{"data": {"split": "paper"}}, {"model": {"topk": 3}}, {"train": {"seed": 1}}]
    hashes = {config.replace(change).hash for change in changes}
    assert len(hashes | {config.hash}) == 4


@given(
    width=st.integers(1, 30).map(lambda heads: 4 * heads),
    seed=st.integers(0, 10**6),
    rate=st.floats(1e-6, 1.0),
    variant=st.sampled_from(list(VARIANTS)),
)
def test_json_and_back_is_the_same_configuration(width, seed, rate, variant):
    config = ExperimentConfig.preset("small").variant(variant)
    config = config.replace(
        {"model": {"width": width}, "train": {"seed": seed, "learning_rate": rate}}
    )
    again = ExperimentConfig.parse(json.loads(config.to_json()))
    assert again == config
    assert again.hash == config.hash


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": {"topkk": 3}}, r"known fields only; got 'model\.topkk'\. Known here: width,"),
        ({"train": {"lr": 1}}, r"known fields only; got 'train\.lr'\. Known here: epochs,"),
        ({"data": {"steps": 1}}, r"known fields only; got 'data\.steps'\. Known here: dataset,"),
        ({"modell": {}}, r"known fields only; got 'modell'\. Known here: data, model, train"),
        (
            {"model": {"topk": 0}},
            r"model\.topk must be a whole number, at least 1; got 0\. The",
        ),
        ({"train": {"epochs": True}}, r"train\.epochs must be a whole number, .*; got True\. "),
        ({"train": {"epochs": "3"}}, r"number, at least 1; got '3'\. The default is 10\."),
        ({"model": {"dropout": False}}, r"model\.dropout must be a finite number, .*; got False"),
        (
            {"train": {"max_windows_per_epoch": True}},
            r"max_windows_per_epoch must be None or a whole number, at least 1; got True\. The def",
        ),
        ({"model": {"width": "wide"}}, r"model\.width must be a whole number, at .*; got 'wide'"),
        (
            {"model": {"sources": "some"}},
            r"model\.sources must be one of topk, candidates, dense, own; got 'some'\. Choose one",
        ),
        ({"model": {"dropout": 1.0}}, r"model\.dropout must be .*, at least 0 and below 1; got 1"),
        ({"train": {"learning_rate": float("nan")}}, r"a finite number, above 0; got nan"),
        ({"train": {"coverage": 1.0}}, r"train\.coverage must be .*, above 0 and below 1; got 1"),
        ({"data": {"history_steps": 513}}, r"number, at least 1 and at most 512; got 513"),
        ({"data": {"dataset": 3}}, r"data\.dataset must be text; got 3\. The default is 'simul"),
        ({"train": {3: 4}}, r"Names of fields must be text; got .*3: 4"),
        (
            {"model": {"width": 30}},
            r"width must be a multiple of num_heads; got width=30 with num_heads=4\. Change one",
        ),
        (
            {"model": {"num_segments": 5}},
            r"num_segments must divide horizon_steps; got num_segments=5 with horizon_steps=12\. C",
        ),
        ({"model": 3}, r"model must be a ModelConfig or a mapping of its fields; got 3\. Pass one"),
    ],
)
def test_a_bad_field_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        ExperimentConfig.preset("small").replace(changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: TrainConfig(epochs=1.5),
            r"train\.epochs must be a whole number, .*; got 1\.5\.",
        ),
        (
            lambda: DataConfig(steps=3),
            r"known fields only; got 'data\.steps'\. Known here: dataset",
        ),
        (lambda: ModelConfig(width=30), r"width must be a multiple of num_heads; got width=30"),
        (lambda: ExperimentConfig(train={"epochs": 1.5}), r"train\.epochs must be .*; got 1\.5"),
        (lambda: ExperimentConfig(train=TrainConfig), r"train must be a TrainConfig or a mapping"),
        (
            lambda: ExperimentConfig(trains={}),
            r"known fields only; got 'trains'\. Known here:",
        ),
        (
            lambda: ExperimentConfig(model=ModelConfig(num_segments=5)),
            r"num_segments must divide horizon_steps; got num_segments=5 with horizon_steps=12",
        ),
    ],
)
def test_building_a_bad_configuration_is_refused_in_one_sentence(build, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_fields_that_are_no_mapping_are_refused():
    # A JSON file may hold anything; the type checks of the tests would stop it earlier.
    parse = inspect.unwrap(ExperimentConfig.parse.__func__)
    with pytest.raises(ConfigError, match=r"must be a mapping of fields; got \[1\]\. Pass a dict"):
        parse(ExperimentConfig, [1])


def test_unknown_presets_and_variants_name_the_known_ones():
    with pytest.raises(
        ConfigError, match="preset must be one of small, compact, base, paper; got 'big'"
    ):
        ExperimentConfig.preset("big")
    with pytest.raises(ConfigError, match=r"variant must be one of full, .*; got 'no_head'"):
        ExperimentConfig.preset("small").variant("no_head")


def test_a_configuration_cannot_be_changed_in_place():
    config = ExperimentConfig.preset("small")
    with pytest.raises(ValueError, match="frozen"):
        config.model.topk = 3
    assert config.model == ModelConfig()
