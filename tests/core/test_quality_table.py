"""The table of an alignment's quality, as a function, as a file and as a command."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from command_line import refused, run_command
from known_sources import known
from small_runs import rhythm, small_config

from sttrans_core.forecaster import load_run
from sttrans_core.origins import spread_origins
from sttrans_core.quality import (
    alignment_stability,
    deletion_curve,
    evaluate_quality,
    mean_covered_mass,
)
from sttrans_core.training.loop import train
from sttrans_core.truth.hits import HitRate

SMALL = {"num_origins": 3, "num_targets": 2}
COLUMNS = [
    "figure", "segment", "head",
    "alignment", "integrated_gradients", "nearest", "chance", "protocol",
]  # fmt: skip


@pytest.fixture(scope="module")
def other_seed(series, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seed") / "one"
    return train(small_config(train={"seed": 1}), run_dir=folder, dataset=series)


@pytest.fixture(scope="module")
def table(trained, other_seed, series):
    return evaluate_quality(trained, series, others=[other_seed], **SMALL)


@pytest.fixture(scope="module")
def times(trained, series):
    return spread_origins(series, trained.config.data, num_origins=3)


def _whole(table, figure):
    rows = table[(table["figure"] == figure) & table["segment"].isna()]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_table_is_labelled(table):
    assert table.columns.tolist() == COLUMNS
    # 3 segments x 2 heads, and all of them; 3 segments, and all of them.
    assert table["figure"].value_counts(sort=False).to_dict() == {
        "covered_mass": 7, "deletion": 1, "insertion": 1,
        "jaccard": 4, "shared_weight": 4, "correlation": 4,
    }  # fmt: skip
    assert set(table["protocol"]) == {
        "standard split, test part, 3 origins, 2 of 11 places",
        "standard split, test part, 3 origins, 2 of 11 places, 1 other seeds",
    }


def test_origins_are_spread_over_the_part(times, trained, series):
    # 187 windows: 131 train, 19 validation, 37 test from 150 to 186; their histories are 7 steps.
    assert times.tolist() == series["time"].values[[156, 174, 192]].tolist()
    every = spread_origins(series, trained.config.data, part="validation", num_origins=99)
    assert every.tolist() == series["time"].values[137:156].tolist()
    with pytest.raises(ValueError, match=r"part must be one of train, .*; got 'tests'\. Choose"):
        inspect.unwrap(spread_origins)(series, trained.config.data, part="tests", num_origins=3)


def test_the_figures_are_those_of_their_functions(table, trained, other_seed, series, times):
    nodes = ["s0", "s10"]
    mass = mean_covered_mass(trained, series, times, nodes=nodes)
    row = _whole(table, "covered_mass")
    assert row["alignment"] == pytest.approx(float(mass["covered_mass"].mean()))
    assert row["chance"] == pytest.approx(float(mass["chance"].mean()))
    one = table[
        (table["figure"] == "covered_mass") & (table["segment"] == 2) & (table["head"] == 1)
    ]
    expected = float(mass["covered_mass"].sel(segment=2, head=1))
    assert one["alignment"].item() == pytest.approx(expected)
    numbers = (0, 1, 2, 4, 8, 16, 32, 64)
    orders = ("alignment", "integrated_gradients", "nearest")
    area = deletion_curve(trained, series, times, nodes=nodes, removed=numbers, orders=orders)[
        "area"
    ]
    row = _whole(table, "deletion")
    for order in orders:
        assert row[order] == pytest.approx(float(area.sel(order=order)), rel=1e-4)
    agreement = alignment_stability([trained, other_seed], series, times, nodes=nodes)
    row = _whole(table, "jaccard")
    assert row["alignment"] == pytest.approx(float(agreement["jaccard"].mean()))
    assert row["chance"] == pytest.approx(float(agreement["jaccard_chance"].mean()))
    assert _whole(table, "correlation")["chance"] == 0


def test_every_figure_has_its_chance(table):
    assert table["chance"].notna().all()
    assert (table["alignment"].abs() <= 1.5).all()
    only_curves = table["integrated_gradients"].notna()
    assert set(table["figure"][only_curves]) == {"deletion", "insertion"}


@pytest.mark.parametrize("regimes", [["congested", "free"], ["carried"]])
def test_hit_rates_stand_beside_on_simulated_data(regimes, trained, series, monkeypatch):
    share_of_first = np.array([[1.0], [0.5]])[: len(regimes)] * np.ones(3)
    by_regime = xr.Dataset(
        {
            name: (("regime", "segment"), value * share_of_first)
            for name, value in (
                ("hit_rate", 0.9), ("chance", 0.3), ("nearest", 0.5),
                ("weight_share", 0.4), ("chance_share", 0.1),
            )
        },
        coords={"regime": regimes, "segment": [1, 2, 3]},
        attrs={"top": 8},
    )  # fmt: skip
    hits = HitRate(0.8, 0.2, 0.6, 0.35, 0.05, 40, 50, by_regime)
    monkeypatch.setattr("sttrans_core.quality.table.evaluate_hits", lambda *_, **__: hits)
    table = evaluate_quality(trained, series, orders=("alignment", "random"), **SMALL)
    rate, share = _whole(table, "hit_rate"), _whole(table, "cause_share")
    assert rate[["alignment", "nearest", "chance"]].tolist() == [0.8, 0.6, 0.2]
    assert rate["protocol"] == "standard split, test part, as hits.csv, Top-8"
    assert share[["alignment", "chance"]].tolist() == [0.35, 0.05]
    second = table[(table["figure"] == "hit_rate") & (table["segment"] == 2)].iloc[0]
    assert second[["alignment", "nearest", "chance"]].tolist() == [0.9, 0.5, 0.3]
    assert table["integrated_gradients"].isna().all()


def test_the_table_is_written_beside_the_weights(run_copy, series):
    forecaster = load_run(run_copy)
    options = {"orders": ("alignment", "random"), **SMALL}
    table = evaluate_quality(forecaster, series, **options)
    assert not (run_copy / "quality.csv").exists()
    evaluate_quality(forecaster, series, write=True, **options)
    written = pd.read_csv(run_copy / "quality.csv", dtype={"segment": "Int64", "head": "Int64"})
    assert written.columns.tolist() == COLUMNS
    pd.testing.assert_frame_equal(
        written[["figure", "segment", "head", "alignment", "chance"]],
        table[["figure", "segment", "head", "alignment", "chance"]],
        atol=1e-5,
    )


def test_with_few_sources_fewer_are_hidden(tmp_path):
    dataset = rhythm(nodes=5)  # 7 x 4 sources, fewer than 32
    few = train(small_config(train={"epochs": 1}), run_dir=tmp_path, dataset=dataset)
    table = evaluate_quality(few, dataset, orders=("alignment", "random"), **SMALL)
    assert 0 < _whole(table, "deletion")["alignment"] < 1.5


def test_a_run_without_alignment_has_no_table(trained, series):
    own = known(trained, weight={(6, 3): 1.0})
    own.config = own.config.variant("no_alignment")
    assert evaluate_quality(own, series) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_targets": 0}, "num_targets must be at least 1; got 0. Look at one place or more."),
        ({"num_origins": 0}, "num_origins must be at least 1; got 0. Look at one origin or more."),
        ({"orders": ()}, "orders must be among alignment, .*; got none. Choose some of them."),
    ],
)
def test_what_gives_no_table_is_refused(options, sentence, trained, series):
    with pytest.raises(ValueError, match=sentence):
        evaluate_quality(trained, series, **{**SMALL, **options})


@pytest.fixture
def _series(monkeypatch, series):
    monkeypatch.setattr("sttrans_core.data.load_dataset", lambda *_, **__: series)


@pytest.mark.usefixtures("_series")
def test_the_command_prints_and_writes(run_copy, other_seed):
    runs = ("--run-dir", run_copy, "--run-dir", other_seed.run_dir)
    said = run_command("quality", *runs, "--origins", 2, "--targets", 2, "--write").splitlines()
    assert said[0] == "full, seed 0: standard split, test part, 2 origins, 2 of 11 places"
    assert said[1].split() == COLUMNS[:1] + COLUMNS[3:-1]
    figures = ["covered_mass", "deletion", "insertion", "jaccard", "shared_weight", "correlation"]
    assert [line.split()[0] for line in said[2:8]] == figures
    assert said[9].startswith("full, seed 1: ")
    for folder in (run_copy, other_seed.run_dir):
        assert set(pd.read_csv(folder / "quality.csv")["figure"]) == set(figures)


@pytest.mark.usefixtures("_series")
def test_the_command_tells_of_a_missing_captum_and_goes_on(run_copy, monkeypatch):
    monkeypatch.setattr("sttrans_core.commands.quality.find_spec", lambda *_: None)
    said = run_command("quality", "--run-dir", run_copy, "--origins", 1, "--targets", 1)
    assert "integrated_gradients" not in said
    assert "Without integrated gradients: pip install 'sttrans[quality]'." in said
    assert not (run_copy / "quality.csv").exists()


@pytest.mark.usefixtures("_series")
def test_the_command_refuses_in_one_sentence(run_copy, monkeypatch, capsys):
    run = ("quality", "--run-dir", run_copy)
    line = refused(monkeypatch, capsys, *run, "--origins", 0)
    assert line == "Error: num_origins must be at least 1; got 0. Look at one origin or more."
    line = refused(monkeypatch, capsys, *run, "--run-dir", run_copy)
    assert re.match(
        r"Error: Stability must be asked of runs that differ .* the seeds \[0, 0\]", line
    )


@pytest.mark.usefixtures("_series")
def test_the_command_says_when_there_is_nothing_to_judge():
    run = "sttrans_core/pretrained/simulated-freeway/no_alignment"
    said = run_command("quality", "--run-dir", run)
    assert said.startswith("no_alignment, seed 0: sees its own history only, so that there is no")
