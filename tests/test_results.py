"""Published numbers: tables are those of the published runs, and the README quotes the tables."""

import re
from pathlib import Path

import pandas as pd
import pytest

from sttrans_core.experiments.records import read_runs
from sttrans_core.experiments.tables import result_tables
from sttrans_core.experiments.writing import to_markdown
from sttrans_core.scores import write_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "notebooks" / "results"
README = (ROOT / "README.md").read_text()
MEAN = "mean of 12 steps"


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (RESULTS / "tables").glob("*.csv")}


@pytest.mark.parametrize("folder", ["", "costs", "last-hour"])
def test_tables_are_those_of_the_runs(folder: str, tmp_path: Path):
    here = RESULTS / folder
    records, unscored = read_runs([here / "runs"])
    assert unscored == []
    made = {table.name: table for table in result_tables(records)}
    kept = sorted((here / "tables").glob("*.csv"))
    assert kept
    for path in kept:
        table = made[path.stem]
        write_table(table.frame, tmp_path / path.name)
        assert (tmp_path / path.name).read_text() == path.read_text()
        assert to_markdown(table) == path.with_suffix(".md").read_text()


def _rows(first_heading: str) -> list[dict[str, str]]:
    """Give the rows of the README's table whose first column has a heading, by heading."""
    lines = README.splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith(f"| {first_heading} |")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    length = next(n for n, line in enumerate(lines[start:]) if not line.startswith("|"))
    return [dict(zip(split[0], row, strict=True)) for row in split[2:length]]


def _quoted(shown: str, cells: pd.DataFrame, *, scale: float = 1.0) -> bool:
    """Whether a number, with its spread over seeds, is that of the only cell, as far as shown."""
    assert len(cells) == 1, shown
    number, _, spread = re.sub(r"[*%+]", "", shown).partition("±")
    mean, sd = scale * cells["mean"].item(), scale * cells["sd"].fillna(0).item()
    repeated = cells["seeds"].item() > 1
    digits = len(number.strip().partition(".")[2])
    texts = [f"{mean:.{digits}f}", *([f"{sd:.{digits}f}"] if repeated else [])]
    return [part.strip() for part in (number, spread) if part.strip()] == texts


def _cells(table: pd.DataFrame, **where: str) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_comparison_in_the_readme(tables: dict[str, pd.DataFrame]):
    both = pd.concat([tables["table1"], tables["table2"]])
    last_hour = pd.read_csv(RESULTS / "last-hour" / "tables" / "table1.csv")
    rows = _rows("data and error")
    assert len(rows) == 4
    for row in rows:
        dataset, metric = re.fullmatch(r"`(\S+)`, (\S+) in \w+", row.pop("data and error")).groups()
        here = _cells(both, dataset=dataset, section=metric, column=MEAN)
        for model, shown in row.items():
            if model == "best rule":
                number, rule = re.fullmatch(r"(\S+), (.+)", shown).groups()
                rules = here[here["seeds"] == 0]
                assert rules.loc[rules["mean"].idxmin(), "row"] == rule
                assert _quoted(number, _cells(here, row=rule))
            elif model == "the same, history only":
                cells = _cells(last_hour, dataset=dataset, section=metric, column=MEAN)
                cells = _cells(cells, row="ST-Trans full")
                assert _quoted(shown, cells) if shown else len(cells) == 0
            elif shown:
                name = model.replace("ST-Trans", "ST-Trans full")
                assert _quoted(shown, _cells(here, row=name)), (dataset, model)
            else:  # nothing that was run is left out
                assert len(_cells(here, row=model)) == 0
        best = here.loc[here["mean"].idxmin(), "row"]
        assert best == "ST-Trans full"


def test_lead_times_in_the_readme(tables: dict[str, pd.DataFrame]):
    both = pd.concat([tables["table1"], tables["table2"]])
    for row in _rows("ST-Trans on"):
        dataset, metric = re.fullmatch(r"`(\S+)`, (\S+) in \w+", row.pop("ST-Trans on")).groups()
        here = _cells(both, dataset=dataset, section=metric, row="ST-Trans full")
        for shown in row.values():
            lead, number = re.fullmatch(r"(\d+ \w+): (.+)", shown).groups()
            assert _quoted(number, _cells(here, column=lead)), (dataset, lead)


def test_ablations_in_the_readme(tables: dict[str, pd.DataFrame]):
    rows = _rows("variant")
    for row in rows:
        variant = "ST-Trans " + row.pop("variant").strip("`")
        row.pop("replaced")
        for heading, shown in row.items():
            if heading == "true causes":
                table = tables["alignment"]
                table = table[table["section"].str.endswith("congested")]
                cells = _cells(table, dataset="simulated-freeway", row=variant, column="alignment")
                scale = 100.0
            else:
                table = tables["table3"]
                table = table[table["section"].str.contains("above that of full")]
                cells = _cells(table, dataset=heading.strip("`"), row=variant, column=MEAN)
                scale = 1.0
            assert _quoted(shown, cells, scale=scale) if shown else len(cells) == 0, variant
