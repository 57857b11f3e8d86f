"""Writing result tables: CSV, Markdown and figures."""

import math
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from sttrans_core.experiments.tables import ResultTable
from sttrans_core.scores import write_table
from sttrans_core.whole_files import write_whole

__all__ = ["to_markdown", "write_tables"]


def write_tables(tables: list[ResultTable], output: Path) -> list[Path]:
    """Write tables, each as CSV and Markdown, and as a figure where stviz is installed.

    Args:
        tables: From `result_tables`.
        output: Folder; it is made.

    Returns:
        The files.

    Raises:
        OSError: The folder cannot be written; nothing in it has changed.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        # All of them, or what was there stays as it is.
        with TemporaryDirectory(dir=output, prefix=".") as folder:
            names = [name for table in tables for name in _write(table, Path(folder))]
            for part in Path(folder).iterdir():
                part.replace(output / part.name)
    except OSError as error:
        error.filename = str(output)
        raise
    return [output / name for name in names]


def _write(table: ResultTable, folder: Path) -> list[str]:
    """Write a table into a folder, and give the names of its files."""
    names = [f"{table.name}.csv", f"{table.name}.md"]
    write_table(table.frame, folder / names[0])
    write_whole(folder / names[1], to_markdown(table))
    for plot in entry_points(group="sttrans.figures", name="results"):
        figure = plot.load()(table.frame, title=table.title, credit="\n".join(table.notes[1:]))
        names.append(f"{table.name}.html")
        # A page, and beside it what all pages draw with.
        figure.write_html(folder / names[-1], include_plotlyjs="directory")
    return names


def to_markdown(table: ResultTable) -> str:
    """Give a table as Markdown, the best mean of a column in bold.

    Args:
        table: From `result_tables`.

    Returns:
        One table for each data set and section, and the foot.
    """
    lines = [f"# {table.title}", ""]
    for (dataset, section), cells in table.frame.groupby(["dataset", "section"], sort=False):
        units = cells["units"].unique()
        shared = len(units) == 1
        lines += [f"## {dataset}: {section}{f' ({units[0]})' if shared and units[0] else ''}", ""]
        columns = {}
        for name, part in cells.groupby("column", sort=False):
            own = part["units"].iloc[0]
            columns[f"{name} ({own})" if own and not shared else str(name)] = _texts(part)
        lines.append(f"| | {' | '.join(columns)} | n |")
        lines.append("|---" * (len(columns) + 2) + "|")
        seeds = cells.groupby("row", sort=False)["seeds"].max()
        for row, count in seeds.items():
            texts = [texts.get(str(row), "-") for texts in columns.values()]
            lines.append(f"| {row} | {' | '.join(texts)} | {count or '-'} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in table.notes)]) + "\n"


def _texts(column: pd.DataFrame) -> dict[str, str]:
    """Write the cells of one column alike, by row."""
    known = column.dropna(subset="mean")
    means = known["mean"]
    best = {"lower": means.min(), "higher": means.max()}.get(column["better"].iloc[0])
    decimals = _decimals(pd.concat([means, known["sd"].dropna()]))
    texts = {}
    for each in column.itertuples():
        text = f"{each.mean:,.{decimals}f}" if math.isfinite(each.mean) else "-"
        if each.mean == best and len(known) > 1:
            text = f"**{text}**"
        if each.sd > 0:
            text += f" ± {each.sd:,.{decimals}f}"
        texts[str(each.row)] = text
    return texts


def _decimals(values: pd.Series) -> int:
    """Give three digits or more to the largest value, and none to counts."""
    largest = values.abs().max()
    if largest > 1 and (values % 1 == 0).all():
        return 0
    return 3 if largest <= 1 else 2 if largest < 100 else 1 if largest < 1000 else 0
