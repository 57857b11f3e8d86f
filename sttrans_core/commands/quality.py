"""The command `quality`: is the alignment of a run telling the truth?"""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from sttrans_core.commands.support import DataPath, load_series

__all__ = ["app"]

app = typer.Typer()


@app.command()
def quality(
    run_dir: Annotated[
        list[Path],
        typer.Option(help="Folder of a run; repeat it for seeds of one configuration."),
    ],
    path: DataPath = None,
    origins: Annotated[
        int, typer.Option(help="Forecast origins of the test part, evenly spread.")
    ] = 24,
    targets: Annotated[int, typer.Option(help="Places at each origin, evenly spread.")] = 8,
    write: Annotated[bool, typer.Option(help="Write quality.csv into each run.")] = False,
) -> None:
    """Say what alignments cover, what hiding sources does, and whether seeds agree."""
    from sttrans_core.forecaster import load_run
    from sttrans_core.quality import evaluate_quality

    has_captum = find_spec("captum") is not None
    gradients = ["integrated_gradients"] if has_captum else []
    forecasters = [load_run(folder) for folder in run_dir]
    series = load_series(forecasters[0].config, path)
    for forecaster in forecasters:
        table = evaluate_quality(
            forecaster,
            series,
            others=[each for each in forecasters if each is not forecaster],
            num_origins=origins,
            num_targets=targets,
            orders=["alignment", *gradients, "nearest", "random"],  # type: ignore[list-item]
            write=write,
        )
        typer.echo(f"{forecaster.config.label}: {_lines(table)}\n")
    if not has_captum:
        typer.echo("Without integrated gradients: pip install 'sttrans[quality]'.")


def _lines(table: Any) -> str:
    """Give the rows over all segments and heads."""
    if table is None:
        return "sees its own history only, so that there is no alignment to judge."
    whole = table[table["segment"].isna()].dropna(axis="columns", how="all")
    rows = whole.drop(columns="protocol").to_string(
        index=False, na_rep="", float_format="{:.3f}".format
    )
    return f"{whole['protocol'].iloc[0]}\n{rows}"
