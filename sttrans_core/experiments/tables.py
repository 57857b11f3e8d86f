"""Result tables, from run folders alone: mean and spread over seeds, negative results included."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from sttrans_core.experiments.accuracy import ablation_cells, comparison_cells, robustness_cells
from sttrans_core.experiments.cells import COLUMNS, Cell, minutes_of
from sttrans_core.experiments.evidence import alignment_cells, cost_cells
from sttrans_core.experiments.records import RunRecord, by_dataset, check_together

__all__ = ["LEADS", "ResultTable", "result_tables"]

CellsOf = Callable[[Sequence[RunRecord]], Iterable[Cell]]
ProtocolsOf = Callable[[RunRecord], Iterable[str]]
LEADS = ("5min", "15min", "30min", "1h", "3h", "6h", "12h", "24h", "72h")


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table of results.

    Args:
        name: Of its files.
        title: What it shows.
        frame: One row a cell, with `COLUMNS`: where it stands, mean and standard deviation over
            `seeds` repetitions (0 for what is not trained), hashes of the runs.
        notes: What its foot says.
    """

    name: str
    title: str
    frame: pd.DataFrame
    notes: tuple[str, ...]


def result_tables(
    records: Sequence[RunRecord],
    *,
    unscored: Sequence[Path] = (),
    leads: Sequence[str] = LEADS,
) -> list[ResultTable]:
    """Make every table that some runs give.

    Args:
        records: Runs of any data sets, from `read_runs`.
        unscored: Runs that were not scored; the foot of each table names them.
        leads: Lead times to show, such as "15min" or "24h"; those that were not scored are left
            out.

    Returns:
        Comparisons (`table1` where models are ranked by MAE, `table2` where by RMSE), ablations
        (`table3`), `robustness`, `efficiency` and `alignment`, as far as there is anything in them.

    Raises:
        RunError: Runs must not stand in one table; see `check_together`.
        ValueError: A lead time is no time, or no run was scored at any of them.
    """
    check_together(records)
    minutes = minutes_of(leads)
    kinds: list[tuple[str, str, CellsOf, ProtocolsOf]] = [
        (
            "table1",
            "Comparison, ranked by MAE",
            partial(comparison_cells, leads=minutes, ranked_by="mae"),
            _of_scores,
        ),
        (
            "table2",
            "Comparison, ranked by RMSE",
            partial(comparison_cells, leads=minutes, ranked_by="rmse"),
            _of_scores,
        ),
        ("table3", "Ablations", partial(ablation_cells, leads=minutes), _of_scores),
        (
            "robustness",
            "Errors when histories are damaged",
            robustness_cells,
            lambda run: _of_tables(run.robustness),
        ),
        ("efficiency", "Cost", cost_cells, _of_scores),
        (
            "alignment",
            "Is the alignment telling the truth?",
            alignment_cells,
            lambda run: _of_tables(run.hits, run.quality),
        ),
    ]
    found = []
    for name, title, cells_of, protocols_of in kinds:
        rows = [
            {"dataset": dataset, **cell}
            for dataset, runs in by_dataset(records).items()
            for cell in cells_of(runs)
        ]
        if rows:
            frame = pd.DataFrame(rows)[list(COLUMNS)]
            notes = _notes(records, frame, protocols_of, unscored)
            found.append(ResultTable(name=name, title=title, frame=frame, notes=notes))
    if not found or found[0].name not in {"table1", "table2"}:
        scored = {value for run in records for value in run.scores["lead_minutes"].values.tolist()}
        raise ValueError(
            f"Lead times must be among those that were scored; got {', '.join(leads)} with scores "
            f"at {', '.join(f'{value:g}' for value in sorted(scored))} minutes. Pass some of these."
        )
    return found


def _of_scores(run: RunRecord) -> list[str]:
    return [run.scores.attrs["protocol"]]


def _of_tables(*tables: pd.DataFrame | None) -> list[str]:
    return [
        str(each) for table in tables if table is not None for each in table["protocol"].unique()
    ]


def _notes(
    records: Sequence[RunRecord],
    frame: pd.DataFrame,
    protocols_of: ProtocolsOf,
    unscored: Sequence[Path],
) -> tuple[str, ...]:
    """Say how the numbers came about: protocol, data and runs."""
    notes = ["Mean ± standard deviation over n seeds; n is - where nothing is trained."]
    for dataset, runs in by_dataset(records).items():
        cells = frame[frame["dataset"] == dataset]
        if len(cells):
            data = runs[0].config.data
            protocols = dict.fromkeys(each for run in runs for each in protocols_of(run))
            notes.append(
                f"{dataset}: {runs[0].title}; {'; '.join(protocols)}; "
                f"{data.history_steps} steps seen, {data.horizon_steps} forecast; "
                f"data {runs[0].fingerprint}."
            )
            of_rows = cells[cells["runs"] != ""].drop_duplicates(["row", "runs"])
            hashes = of_rows.groupby("row", sort=False)["runs"].agg(" ".join)
            named = [
                f"{row} {' '.join(dict.fromkeys(text.split()))}" for row, text in hashes.items()
            ]
            notes.append(f"Runs on {dataset}: {'; '.join(named)}.")
    if unscored:
        notes.append(f"Not scored, and left out: {', '.join(map(str, unscored))}.")
    return tuple(notes)
