"""The published tables are those of the published runs, and tell nothing of the machine."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from sttrans_core.experiments.records import read_runs
from sttrans_core.experiments.tables import ResultTable, result_tables
from sttrans_core.experiments.writing import to_markdown

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"


def tables_of(runs: Path) -> dict[str, ResultTable]:
    records, unscored = read_runs([runs])
    assert not unscored
    return {table.name: table for table in result_tables(records)}


@pytest.mark.parametrize("folder", [RESULTS, RESULTS / "costs"])
def test_every_table_was_made_from_the_runs(folder):
    tables = tables_of(folder / "runs")
    if folder.name == "costs":  # two epochs: errors say nothing
        tables = {"efficiency": tables["efficiency"]}
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == tables.keys()
    for name, table in tables.items():
        csv = folder / "tables" / f"{name}.csv"
        written = pd.read_csv(csv, keep_default_na=False, na_values=[""])
        frame = table.frame.replace("", None)
        pd.testing.assert_frame_equal(
            written[["mean", "sd"]], frame[["mean", "sd"]].astype(float), atol=1e-5, rtol=1e-4
        )
        assert written["row"].tolist() == frame["row"].tolist()
        assert csv.with_suffix(".md").read_text() == to_markdown(table)


def test_runs_come_from_a_commit_and_name_no_place_on_a_machine():
    for path in (each for runs in RESULTS.rglob("runs") for each in runs.rglob("*.*")):
        assert path.suffix in {".json", ".jsonl", ".csv"}, f"{path}: weights are not published here"
        assert re.findall(r"/(?:home|root|tmp|Users)/\w+", path.read_text()) == [], path
        if path.name == "environment.json":
            assert json.loads(path.read_text())["commit"]
