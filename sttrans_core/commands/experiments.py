"""The commands `sweep` and `tables`."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sttrans_core.commands.support import StopOnSignal, parse_settings

if TYPE_CHECKING:
    from sttrans_core.experiments.progress import Outcome, Progress

__all__ = ["app"]

app = typer.Typer()

TELL_SECONDS = 30.0  # between lines in a file of output; a terminal is kept up to date


@app.command()
def sweep(
    output: Annotated[
        Path,
        typer.Option(help="Folder of the runs, <dataset>/<variant or model>/seed-<n> in it."),
    ],
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="As in train; repeatable.",
            show_default="simulated-freeway",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="st-trans, stid, stgcn, graph_wavenet, stemgnn, staeformer, ridge, "
            "pooled_regression or arima; repeatable.",
            show_default="st-trans",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Ablation variant of st-trans; repeatable.", show_default="full"),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Repetition; repeatable.", show_default="0")
    ] = None,
    preset: Annotated[str, typer.Option(help="small, compact, base or paper.")] = "small",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field to replace, for example train.epochs=3; repeatable."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a dask scheduler whose workers have one thread each and see the same "
            "files, as in tcp://10.0.0.1:8786.",
            show_default="processes on this machine",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes on this machine.", show_default="cores / threads"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads that each run computes with.")] = 1,
    robustness: Annotated[
        bool, typer.Option(help="Also score each run on damaged histories.")
    ] = True,
) -> None:
    """Train and score variants x models x data sets x seeds; the same command again goes on."""
    from sttrans_core.experiments.plan import plan_runs
    from sttrans_core.experiments.sweep import run_sweep

    if variant and model and "st-trans" not in model:
        raise ValueError(
            f"--variant must stand beside the model st-trans; got it beside {', '.join(model)}. "
            "Leave it out, or add --model st-trans."
        )
    plans = plan_runs(
        dataset or ["simulated-freeway"], models=model or ["st-trans"],
        variants=variant or ["full"], seeds=seed or [0], preset=preset,
        settings=parse_settings(set_ or []),
    )  # fmt: skip
    with StopOnSignal() as stop, _Screen() as screen:
        outcomes = run_sweep(
            plans, output, scheduler=scheduler, workers=workers, threads=threads,
            robustness=robustness, should_stop=stop, on_progress=screen,
        )  # fmt: skip
    _tell_end(outcomes)


class _Screen:
    """Keeps a terminal up to date; into a file it writes a few lines now and then."""

    def __enter__(self) -> "_Screen":
        from rich.console import Console
        from rich.live import Live

        self.console = Console()
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.told: int | None = None
        self.last = -math.inf
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.live.stop()

    def __call__(self, progress: "Progress") -> None:
        """Tell of runs that have ended, and how all stand."""
        from rich.text import Text

        from sttrans_core.experiments.progress import progress_lines

        if self.told is None:
            self.told = sum(each.was_finished for each in progress.outcomes)
        for each in progress.outcomes[self.told :]:
            self._print(f"{each.name}: {each.state}{f' ({each.reason})' if each.reason else ''}")
        has_news, self.told = self.told < len(progress.outcomes), len(progress.outcomes)
        text = "\n".join(progress_lines(progress))
        if self.console.is_terminal:
            self.live.update(Text(text), refresh=True)
        elif has_news or time.monotonic() - self.last > TELL_SECONDS:
            self._print(text)
            self.last = time.monotonic()

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _tell_end(outcomes: Sequence["Outcome"]) -> None:
    """Say how a sweep ended; its exit code is 1 where a run failed, 3 where it was stopped."""
    count = {state: sum(each.state == state for each in outcomes) for state in
             ("finished", "failed", "stopped", "waiting")}  # fmt: skip
    before = sum(each.was_finished for each in outcomes)
    typer.echo(
        f"{count['finished']} of {len(outcomes)} runs finished"
        + (f", {before} of them before" if before else "")
    )
    for each in outcomes:
        if each.state == "failed":
            typer.echo(f"Failed: {each.name}: {each.reason}", err=True)
    if count["stopped"] or count["waiting"]:
        typer.echo(
            f"Stopped with {count['stopped']} begun and {count['waiting']} waiting. "
            "Go on with the same command."
        )
        raise typer.Exit(3)
    if count["failed"]:
        raise typer.Exit(1)


@app.command()
def tables(
    runs: Annotated[list[Path], typer.Argument(help="Folders with runs in them, at any depth.")],
    output: Annotated[Path, typer.Option(help="Folder for the tables.")] = Path("tables"),
    lead: Annotated[
        list[str] | None,
        typer.Option(
            help="Lead time to show, as in 15min, 24h; repeatable.", show_default="the usual ones"
        ),
    ] = None,
) -> None:
    """Write the result tables of runs as CSV, Markdown and figures."""
    from sttrans_core.experiments.records import read_runs
    from sttrans_core.experiments.tables import LEADS, result_tables
    from sttrans_core.experiments.writing import write_tables

    records, unscored = read_runs(runs)
    found = result_tables(records, unscored=unscored, leads=lead or LEADS)
    written = write_tables(found, output)
    typer.echo(f"{len(records)} runs, {len(unscored)} more that were not scored")
    typer.echo(f"Wrote {', '.join(map(str, written))}")
