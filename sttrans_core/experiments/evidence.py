"""Tables of costs and of the truth of alignments."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from sttrans_core.experiments.cells import Cell, cell
from sttrans_core.experiments.records import RunRecord, by_row

__all__ = ["alignment_cells", "cost_cells"]

COSTS = {
    "parameters": ("size", "parameters", 1.0),
    "inference_ms": ("one forecast", "ms", 1.0),
    "seconds_per_epoch": ("training", "s/epoch", 1.0),
    "epochs": ("trained for", "epochs", 1.0),
    "peak_mb": ("peak memory", "MB", 1.0),
    "training_mb": ("above idle", "MB", 1.0),
    "attention_flops": ("attention, counted", "MFLOP", 1e-6),
    "attention_flops_measured": ("attention, measured", "MFLOP", 1e-6),
    "dense_flops": ("dense attention", "MFLOP", 1e-6),
}
SOURCES = {
    "alignment": "alignment",
    "integrated_gradients": "integrated gradients",
    "nearest": "nearest",
    "chance": "chance",
    "scored": "targets scored",
}
# Not of models beside each other: an area, say, is a share of what one model can be shifted by.
NOT_RANKED = ("covered mass", "deletion", "insertion", "jaccard", "shared weight", "correlation")
OF_PAIRS = ("jaccard", "shared weight", "correlation")  # whose spread over seeds is not known


def cost_cells(runs: Sequence[RunRecord]) -> Iterator[Cell]:
    """List what every model and variant costs, on each kind of machine alone.

    Args:
        runs: Of one data set.

    Yields:
        Cells: a section for each machine, number of threads and of runs at once.
    """
    machines: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.cost:
            threads, at_once = run.cost["threads"], run.cost.get("runs_at_once", 1)
            machine = f"{run.cost['device']}, {threads} thread{'s' if threads > 1 else ''}"
            machine += f", {at_once} runs at once" if at_once > 1 else ""
            machines.setdefault(machine, []).append(run)
    for machine, here in machines.items():
        for row, repetitions in by_row(here).items():
            for field, (column, units, scale) in COSTS.items():
                known = [scale * run.cost[field] for run in repetitions if field in run.cost]
                if known:
                    yield cell(machine, row, column, known, repetitions, units=units)


def alignment_cells(runs: Sequence[RunRecord]) -> Iterator[Cell]:
    """List how true the alignments of every variant are, with chance beside them.

    Args:
        runs: Of one data set.

    Yields:
        Cells: a section for each figure. Hit rates have the share of the targets that they are of
        beside them: those whose true cause lies within the history.
    """
    rows = by_row([run for run in runs if run.is_ours])
    found = {run.path: dict(_figures(run)) for run in runs}
    for figure in dict.fromkeys(key for each in found.values() for key, _ in each):
        for row, repetitions in rows.items():
            for source in SOURCES.values():
                known = [run for run in repetitions if (figure, source) in found[run.path]]
                if known:
                    ranked = source == "alignment" and figure not in NOT_RANKED
                    values = [found[run.path][figure, source] for run in known]
                    here = cell(
                        figure, row, source, values, known, better="higher" if ranked else ""
                    )
                    yield {**here, "sd": np.nan} if figure in OF_PAIRS else here


def _figures(run: RunRecord) -> Iterator[tuple[tuple[str, str], float]]:
    """Give figures by what they are and which sources they are of, over all segments and heads."""
    if run.hits is not None:
        targets = run.hits.groupby("regime")["num_targets"].sum()
        for regime, part in run.hits[run.hits["num_scored"] > 0].groupby("regime", sort=False):
            top = str(part["protocol"].iloc[0]).rpartition(" ")[2]
            for column in ("hit_rate", "nearest", "chance"):
                source = "alignment" if column == "hit_rate" else column
                rate = np.average(part[column], weights=part["num_scored"])
                yield (f"hit rate, {top}, {regime}", source), float(rate)
            scored = part["num_scored"].sum() / targets[regime]
            yield (f"hit rate, {top}, {regime}", SOURCES["scored"]), float(scored)
    if run.quality is not None:
        whole = run.quality[run.quality["segment"].isna() & run.quality["head"].isna()]
        for line in whole.to_dict("records"):
            if run.hits is None or line["figure"] != "hit_rate":  # which hits.csv has by regime
                for column, source in SOURCES.items():
                    if pd.notna(line.get(column)):
                        yield (str(line["figure"]).replace("_", " "), source), float(line[column])
