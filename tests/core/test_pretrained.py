"""Bundled runs: found by name, refused by name."""

import shutil

import pytest
from small_runs import contents

from sttrans_core import pretrained
from sttrans_core.runs import RunError


@pytest.fixture
def bundle(trained, tmp_path, monkeypatch):
    for name in ("small/no_gate", "small/full", "another/full"):
        shutil.copytree(trained.run_dir, tmp_path / name)
    (tmp_path / "small/unfinished").mkdir()
    monkeypatch.setattr(pretrained, "files", lambda _: tmp_path)
    return tmp_path


def test_finished_runs_are_listed_full_first(bundle):
    assert pretrained.list_pretrained() == {"another": ["full"], "small": ["full", "no_gate"]}


def test_a_bundled_run_is_loaded_by_name(bundle, trained):
    before = contents(bundle)
    loaded = pretrained.load_pretrained("small", "no_gate", device="cpu")
    assert loaded.run_dir == bundle / "small" / "no_gate"
    assert loaded.data == trained.data
    assert contents(bundle) == before


@pytest.mark.parametrize("name", [("small", "no_topk"), ("unknown", "full")])
def test_a_run_that_is_not_bundled_is_refused(name, bundle):
    sentence = (
        rf"must be one of the bundled ones \(another: full; small: full, no_gate\); got '{name[0]}'"
        rf" with variant '{name[1]}'\. Choose one of them, or train your own"
    )
    with pytest.raises(RunError, match=sentence):
        pretrained.load_pretrained(*name)


def test_what_is_bundled_can_be_loaded():
    for name, variants in pretrained.list_pretrained().items():
        assert variants[0] == "full"
        for variant in variants:
            forecaster = pretrained.load_pretrained(name, variant, device="cpu")
            assert forecaster.config.variant_name == variant
            assert forecaster.config.data.dataset == name
            assert forecaster.scores is not None
            assert forecaster.bands is not None
