"""The picture of a result table: its panels, dots, bars and colours."""

import numpy as np
import pandas as pd
import pytest

import stviz
from stviz.theme import THEMES


def _table() -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "section": "MAE", "row": row, "column": column, "units": units,
         "mean": mean, "sd": sd, "seeds": 0 if np.isnan(sd) else 3}
        for dataset, units in (("roads", "mph"), ("sky", "K"))
        for row, mean, sd in (("ours", 2.0, 0.25), ("theirs", 3.0, np.nan))
        for column in ("15 min", "60 min")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_every_cell_is_a_dot_with_its_spread():
    figure = stviz.plot_results(_table(), title="Comparison")
    assert [trace.name for trace in figure.data] == ["15 min", "60 min"] * 2
    first = figure.data[0]
    assert list(first.x) == [2.0, 3.0]
    assert list(first.y) == ["ours", "theirs"]
    assert list(first.error_x.array) == [0.25, 0.0]
    assert list(first.customdata[0]) == [0.25, 3.0]
    assert [trace.showlegend for trace in figure.data] == [True, True, False, False]


def test_panels_name_data_and_unit_and_keep_the_order_of_the_table():
    figure = stviz.plot_results(_table(), title="Comparison", credit="roads: a place\nruns: f00d")
    texts = [each.text for each in figure.layout.annotations]
    assert texts == ["roads: MAE (mph)", "sky: MAE (K)", "roads: a place<br>runs: f00d"]
    assert figure.layout.yaxis.categoryarray == ("theirs", "ours")  # from below
    assert figure.layout.title.text.startswith("Comparison<br>")


def test_units_of_a_section_have_panels_of_their_own():
    table = _table().assign(dataset="roads")
    figure = stviz.plot_results(table)
    assert [each.text for each in figure.layout.annotations][:2] == [
        "roads: MAE (mph)", "roads: MAE (K)",
    ]  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_columns_have_colours_of_the_theme(theme):
    figure = stviz.plot_results(_table(), theme=theme)
    colors = [trace.marker.color for trace in figure.data[:2]]
    assert colors == list(THEMES[theme].categories[:2])
    assert figure.layout.paper_bgcolor == THEMES[theme].paper


def test_more_columns_than_colours_differ_in_their_symbol():
    table = pd.concat([_table().assign(column=f"{lead} min") for lead in range(9)])
    marks = {(t.marker.color, t.marker.symbol) for t in stviz.plot_results(table).data}
    assert len(marks) == 9


def test_a_table_that_was_read_from_csv_is_drawn(tmp_path):
    _table().assign(units=["", "", "K", "K"] * 2).to_csv(tmp_path / "t.csv", index=False)
    figure = stviz.plot_results(pd.read_csv(tmp_path / "t.csv"))
    assert figure.layout.annotations[0].text == "roads: MAE"


def test_what_is_no_result_table_is_refused():
    with pytest.raises(ValueError, match=r"must hold dataset, .*; got none for sd\. Read a CSV"):
        stviz.plot_results(_table().drop(columns="sd"))
    with pytest.raises(ValueError, match=r"at least one cell; got an empty one\. Read a CSV"):
        stviz.plot_results(_table().iloc[:0])
