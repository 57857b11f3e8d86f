"""The picture of a benchmark: its lines, slopes and units."""

import pandas as pd
import pytest

import stviz


def _table() -> pd.DataFrame:
    rows = [
        {"subject": "alignment", "case": case, "nodes": n, "batch": b, "device": "a processor",
         "ms": b * 2e-3 * n**power, "memory_mb": b * 0.1 * n**power}
        for case, power in (("dense, fused", 2), ("Top-k, blocks", 1))
        for n, b in ((4000, 1), (500, 8), (1000, 8))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_lines_are_costs_of_one_window_and_slopes_count_from_a_thousand():
    figure = stviz.plot_benchmark(_table())
    dense, ours = figure.data
    assert (dense.name, ours.name) == ("dense, fused (slope 2.00)", "Top-k, blocks (slope 1.00)")
    assert list(ours.x) == [500, 1000, 4000]
    assert list(ours.y) == pytest.approx([1.0, 2.0, 8.0])
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert figure.layout.yaxis.title.text == "milliseconds per window"
    assert "a processor" in figure.layout.title.text


def test_memory_has_its_own_unit_and_what_was_too_small_is_left_out():
    table = _table()
    table.loc[table["nodes"] == 500, "memory_mb"] = 0.0
    figure = stviz.plot_benchmark(table, column="memory_mb", theme="dark")
    assert figure.layout.yaxis.title.text == "MB per window"
    assert list(figure.data[0].x) == [1000, 4000]


@pytest.mark.parametrize("wrong", [{"subject": "encoder"}, {"column": "nodes"}])
def test_what_is_not_in_the_table_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must hold the subject and the column; got .*Choose"):
        stviz.plot_benchmark(_table(), **wrong)
