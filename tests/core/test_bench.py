"""Benchmarks: that they run, what they count, and that slopes are right."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import refused, run_command

from sttrans_core.bench import SUBJECTS, run_benchmarks, slopes
from sttrans_core.bench.cases import Case, cases_of


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_case_runs_at_the_smallest_size(subject):
    cases = cases_of(subject, 20, torch.device("cpu"))
    for case in cases:
        case.call()
    assert {case.subject for case in cases} == {subject}
    if subject == "alignment":
        names = [case.name for case in cases]
        assert names[0] == "dense, fused"
        assert {"Top-k, naive", "Top-k, exact"} <= set(names)


def test_ratios_are_of_the_same_turn(monkeypatch):
    # Case b takes three times as long as a, in a turn when all is slow, too.
    seconds = iter([1.0, 1.0, 2.0, 6.0, 4.0, 12.0, 2.0, 6.0])
    cases = [
        Case(subject="x", name=name, nodes=20, batch=2, call=lambda: None) for name in ("a", "b")
    ]
    monkeypatch.setattr("sttrans_core.bench.measure.cases_of", lambda *_: cases)
    monkeypatch.setattr("sttrans_core.bench.measure._seconds", lambda *_: next(seconds))
    table = run_benchmarks(["encoder"], [20], repeats=3, memory=False)
    assert table["ms"].tolist() == [2000, 6000]
    assert table["ratio"].tolist() == [1, 3]
    assert table["ratio_high"].tolist() == [1, 3]


def test_slopes_are_those_of_power_laws():
    nodes = np.array([500, 1000, 2000, 4000])
    rows = [
        {"subject": "alignment", "case": case, "nodes": n, "batch": b, "ms": b * 3 * n**power}
        for case, power in (("linear", 1.0), ("quadratic", 2.0))
        for n, b in zip(nodes, (32, 8, 8, 1), strict=True)
    ]
    found = slopes(pd.DataFrame(rows))
    assert found["slope"].tolist() == pytest.approx([1.0, 2.0])
    assert slopes(pd.DataFrame(rows[:2])).empty


@pytest.mark.slow
def test_the_command_writes_a_table(tmp_path):
    output = tmp_path / "bench.csv"
    said = run_command(
        "bench", "--subject", "feeding", "--nodes", 20, "--nodes", 31, "--repeats", 2,
        "--output", output,
    )  # fmt: skip
    table = pd.read_csv(output)
    assert table["nodes"].tolist() == [20, 31]
    assert (table["ms"] > 0).all()
    assert (table["memory_mb"] >= 0).all()
    assert "batch of windows" in said
    page = (tmp_path / "bench-feeding.html").read_text()
    assert re.findall(r'<script[^>]* src="([^"]+)"', page) == []  # drawn without internet, too


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--subject", "all"), "A subject must be one of alignment"),
        (("--nodes", 3), "nodes of at least 20"),
        (("--output", "bench.png"), "must end in .csv, since a CSV table is what is written"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(monkeypatch, capsys, "bench", *options)
    assert not list(tmp_path.iterdir())
