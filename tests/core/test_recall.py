"""What screening by blocks finds of the exact Top-k."""

import pytest
from command_line import refused, run_command
from small_runs import small_config

from sttrans_core.data import load_dataset
from sttrans_core.evaluation.recall import screening_recall
from sttrans_core.pretrained import load_pretrained
from sttrans_core.runs import RunError
from sttrans_core.training.loop import train

FREEWAY = "sttrans_core/pretrained/simulated-freeway/full"


def test_with_every_block_nothing_is_missed(trained, series):
    times = series["time"].values[[50, 61]]
    sizes = {"group_size": 3, "block_size": 2}
    table = screening_recall(trained, series, times, screened_blocks=(1, 6), **sizes)
    few, every = table.to_dict("records")
    assert every["recall"] == every["mass"] == pytest.approx(1.0)
    assert every["candidates"] == 11
    assert few["candidates"] < 11
    assert 0 < few["recall"] < 1
    assert few["mass"] < 1


def test_what_a_trained_run_misses_weighs_less_than_what_it_finds():
    series = load_dataset("simulated-freeway")
    sizes = {"group_size": 8, "block_size": 4}
    table = screening_recall(
        load_pretrained("simulated-freeway"), series, series["time"].values[[1700, 1900]],
        screened_blocks=(1, 4), **sizes,
    )  # fmt: skip
    assert (table["recall"] < table["mass"] - 0.01).all()
    assert table["recall"].is_monotonic_increasing


def test_a_run_without_a_topk_is_refused(series, tmp_path):
    run = train(small_config("no_topk", train={"epochs": 1}), run_dir=tmp_path, dataset=series)
    with pytest.raises(RunError, match=r"keeps a Top-k; got the variant 'no_topk'\. Choose"):
        screening_recall(run, series, series["time"].values[[50]])


@pytest.mark.parametrize("name", ["screened_blocks", "group_size", "block_size"])
def test_sizes_of_nothing_are_refused(name, trained, series):
    size = {name: (4, 0)} if name == "screened_blocks" else {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0. Raise it."):
        screening_recall(trained, series, series["time"].values[[50]], **size)


def test_no_windows_are_refused(monkeypatch, capsys):
    line = refused(monkeypatch, capsys, "recall", "--run-dir", FREEWAY, "--windows", 0)
    assert line == "Error: --windows must be at least 1; got 0. Raise it."


def test_where_every_node_is_a_candidate_it_is_said():
    one = ("--run-dir", FREEWAY, "--windows", 1)
    said = run_command("recall", *one, "--blocks", 12)
    assert "Every node is a candidate here, so that nothing can be missed." in said
    assert "Every node" not in run_command("recall", *one, "--blocks", 1)


def test_the_command_prints_a_table():
    said = run_command("recall", "--run-dir", FREEWAY, "--windows", 3, "--blocks", 1, "--blocks", 6)
    rows = [line.split() for line in said.splitlines() if not line.startswith("Every")]
    assert rows[0] == ["screened_blocks", "recall", "mass", "candidates"]
    assert [row[0] for row in rows[1:]] == ["1", "6"]
    assert float(rows[2][1]) == 1.0
