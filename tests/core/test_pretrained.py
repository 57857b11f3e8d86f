"""Bundled runs: found by name, refused by name."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_runs import contents

from sttrans_core import pretrained
from sttrans_core.data import load_dataset
from sttrans_core.evaluation.protocol import evaluate_hits
from sttrans_core.forecaster import load_run
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


def test_bundles_are_small():
    root = Path(pretrained.__file__).parent
    sizes = [sum(len(each) for each in contents(run).values()) for run in root.glob("*/*/")]
    assert max(sizes) <= 2**20
    assert sum(sizes) <= 6 * 2**20


@pytest.fixture(scope="module")
def freeway():
    return load_dataset("simulated-freeway")


def test_the_alignment_recovers_true_causes(freeway):
    forecaster = pretrained.load_pretrained("simulated-freeway", device="cpu")
    hits = evaluate_hits(forecaster, freeway, num_origins=30)
    assert hits.num_scored > 200
    assert hits.hit_rate >= 0.8
    assert hits.chance < 0.4
    assert hits.weight_share > 3 * hits.chance_share


def test_hit_rates_are_written_beside_the_scores(freeway, tmp_path):
    bundled = pretrained.load_pretrained("simulated-freeway", "fixed_position", device="cpu")
    shutil.copytree(bundled.run_dir, tmp_path / "run")
    forecaster = load_run(tmp_path / "run", device="cpu")
    hits = evaluate_hits(forecaster, freeway, num_origins=10, write=True)
    assert hits.num_scored > 0
    table = pd.read_csv(tmp_path / "run" / "hits.csv").set_index(["regime", "segment"])
    assert table.loc["congested", "num_scored"].sum() == hits.num_scored
    assert set(table["protocol"]) == {"standard split, test part, 10 origins, Top-8"}
    in_total = table.loc["congested", "hit_rate"] * table.loc["congested", "num_scored"]
    assert in_total.sum() / hits.num_scored == pytest.approx(hits.hit_rate, abs=1e-4)


def test_what_has_no_truth_or_no_alignment_has_no_hit_rate(freeway, trained, series):
    own = pretrained.load_pretrained("simulated-freeway", "no_alignment", device="cpu")
    assert evaluate_hits(own, freeway) is None
    assert evaluate_hits(trained, series) is None
