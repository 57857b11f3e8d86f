"""The command line: train, evaluate, forecast, align, export, recall, bench, sweep, tables, ..."""

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from sttrans_core.commands.experiments import app as experiments_app
from sttrans_core.commands.pack import app as pack_app
from sttrans_core.commands.quality import app as quality_app
from sttrans_core.commands.support import (
    DataPath,
    Interrupted,
    StopOnSignal,
    check_output,
    hit_lines,
    load_named,
    load_series,
    os_sentence,
    parse_settings,
    score_lines,
    shell_command,
    write_netcdf,
)
from sttrans_core.whole_files import write_whole

__all__ = ["main"]

app = typer.Typer(
    name="sttrans",
    help="Spatio-temporal forecasting with attention that can be seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(experiments_app)
app.add_typer(pack_app)
app.add_typer(quality_app)

RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")]
Time = Annotated[
    str | None, typer.Option(help="Forecast origin, as in 2012-03-05T08:00; the last step.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field to replace, for example train.epochs=3; repeatable."),
]


@app.command()
def train(
    run_dir: RunDir,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Registered dataset, or own data: a .nc file saved in Python with "
            "from_table(...) or from_grid(...) and .to_netcdf('own.nc'), or a .zarr store of "
            "to_zarr.",
            show_default="simulated-freeway",
        ),
    ] = None,
    path: DataPath = None,
    preset: Annotated[
        str | None, typer.Option(help="small, compact, base or paper.", show_default="small")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Ablation variant.", show_default="full")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A config.json instead of preset and variant.")
    ] = None,
    set_: Set = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run, by its own configuration."),
    ] = False,
    score: Annotated[bool, typer.Option(help="Score the test part at the end.")] = True,
) -> None:
    """Train a model; Ctrl-C or SIGTERM stops it so that --resume can go on."""
    from sttrans_core.config import ExperimentConfig
    from sttrans_core.evaluation.protocol import evaluate, evaluate_hits
    from sttrans_core.runs import RunFolder
    from sttrans_core.training.loop import train as run_training
    from sttrans_core.training.processes import is_first_process

    folder = RunFolder(run_dir)
    if resume:
        folder.check_resumable()
    if config is not None:
        _refuse_beside_config(dataset=dataset, preset=preset, variant=variant)
    elif resume and not (dataset or preset or variant):
        config = folder / "config.json"
    if config is not None:
        experiment = ExperimentConfig.parse(_read_json(config)).replace(parse_settings(set_ or []))
        series = load_series(experiment, path)
    else:
        named = ExperimentConfig.preset(preset or "small", dataset=dataset or "simulated-freeway")
        experiment = named.variant(variant or "full").replace(parse_settings(set_ or []))
        series = load_named(experiment, path)
    with StopOnSignal() as stop:
        forecaster = run_training(
            experiment,
            run_dir=run_dir,
            dataset=series,
            should_stop=stop,
            resume=resume,
            progress=sys.stderr.isatty(),
            on_epoch=_tell,
        )
        if not is_first_process():
            return
        if folder.read_json("status.json")["state"] == "stopped":
            more = () if score else ("--no-score",)
            command = shell_command("train", "--resume", "--run-dir", run_dir, *more, path=path)
            typer.echo(f"Stopped. Go on with: {command}")
            raise typer.Exit(3)
        if not score:
            return
        try:
            stop.raise_from_now_on()
            scores = evaluate(forecaster, series, write=True)
            hits = evaluate_hits(forecaster, series, write=True)
        except Interrupted as error:
            command = shell_command("evaluate", "--write", "--run-dir", run_dir, path=path)
            typer.echo(f"Trained, but not scored. Score it with: {command}")
            raise typer.Exit(3) from error
    typer.echo(score_lines(scores) + hit_lines(hits))


def _refuse_beside_config(**options: str | None) -> None:
    """Refuse options that a configuration file decides."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(
            f"--config must stand without --dataset, --preset and --variant; got --{given[0]} "
            "beside it. Leave one of them out; --set changes single fields."
        )


def _tell(row: dict[str, Any]) -> None:
    typer.echo(
        f"epoch {row['epoch']:3d}  train {row['train_loss']:.4f}  "
        f"validation MAE {row['val_mae']:.4f}  {row['seconds']:.1f} s"
    )


@app.command()
def evaluate(
    run_dir: RunDir,
    path: DataPath = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    over: Annotated[str, typer.Option(help="step, or prefix (all steps up to it).")] = "step",
    missing: Annotated[str, typer.Option(help="ignore, or as_zero.")] = "ignore",
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also score damaged histories of the test part.")
    ] = False,
    write: Annotated[bool, typer.Option(help="Write the scores into the run.")] = False,
) -> None:
    """Score a run beside the baselines; on simulated data, its alignment against the truth."""
    from sttrans_core.evaluation.protocol import evaluate as run_evaluation
    from sttrans_core.evaluation.protocol import evaluate_hits

    _choice("part", part, ("train", "validation", "test"))
    _choice("over", over, ("step", "prefix"))
    _choice("missing", missing, ("ignore", "as_zero"))
    forecaster, series = _load(run_dir, path)
    scores = run_evaluation(
        forecaster, series, part=part, over=over, missing=missing, write=write  # type: ignore[arg-type]
    )  # fmt: skip
    hits = evaluate_hits(forecaster, series, part=part, write=write)  # type: ignore[arg-type]
    typer.echo(score_lines(scores) + hit_lines(hits))
    if robustness:
        from sttrans_core.evaluation.robustness import evaluate_robustness, robustness_lines

        typer.echo(robustness_lines(evaluate_robustness(forecaster, series, write=write)))


@app.command()
def forecast(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="NetCDF file to write, ending in .nc.")],
    path: DataPath = None,
    time: Time = None,
) -> None:
    """Write a labelled forecast as NetCDF."""
    check_output(output)
    forecaster, series = _load(run_dir, path)
    write_netcdf(forecaster.forecast(series, None if time is None else [time]), output)
    typer.echo(f"Wrote {output}")


@app.command()
def align(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="NetCDF file to write, ending in .nc.")],
    path: DataPath = None,
    time: Time = None,
    node: Annotated[list[str] | None, typer.Option(help="Target place; repeatable.")] = None,
    topk: Annotated[int | None, typer.Option(help="Sources to keep; as trained.")] = None,
) -> None:
    """Write the alignment of one forecast as NetCDF."""
    check_output(output)
    forecaster, series = _load(run_dir, path)
    origin = series["time"].values[-1] if time is None else time
    write_netcdf(forecaster.align(series, origin, node or None, topk=topk), output)
    typer.echo(f"Wrote {output}")


@app.command()
def export(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="File to write, ending in .pt2 or .onnx.")],
    int8: Annotated[bool, typer.Option("--int8", help="Weights in 8 bits (.onnx).")] = False,
) -> None:
    """Write a run as one file that needs no ST-Trans: torch.export, or ONNX."""
    from sttrans_core.export import export_forecaster
    from sttrans_core.forecaster import load_run

    export_forecaster(load_run(run_dir, device="cpu"), output, int8=int8)
    typer.echo(f"Wrote {output} ({output.stat().st_size / 1e3:,.0f} KB)")


@app.command()
def recall(
    run_dir: RunDir,
    path: DataPath = None,
    blocks: Annotated[
        list[int] | None,
        typer.Option(help="model.screened_blocks: that a group admits; repeatable. [8 16 24 32]"),
    ] = None,
    group_size: Annotated[int, typer.Option(help="Targets that share candidates.")] = 32,
    block_size: Annotated[int, typer.Option(help="Nodes that are screened as one.")] = 4,
    windows: Annotated[int, typer.Option(help="Windows of the test part, evenly spread.")] = 32,
) -> None:
    """Say what screening by blocks (model.screening=blocks) would miss of a run's exact Top-k."""
    import numpy as np

    from sttrans_core.data.splits import split_dataset
    from sttrans_core.evaluation.recall import screening_recall

    if windows < 1:
        raise ValueError(f"--windows must be at least 1; got {windows}. Raise it.")
    forecaster, series = _load(run_dir, path)
    data = forecaster.config.data
    test = split_dataset(
        series, history_steps=data.history_steps,
        horizon_steps=data.horizon_steps, split=data.split,
    ).test  # fmt: skip
    starts = np.unique(np.linspace(test[0], test[-1], windows).astype(int))
    table = screening_recall(
        forecaster, series, series["time"].values[starts + data.history_steps - 1],
        screened_blocks=blocks or (8, 16, 24, 32), group_size=group_size, block_size=block_size,
    )  # fmt: skip
    typer.echo(table.to_string(index=False, float_format="{:.3f}".format))
    if (table["candidates"] >= len(forecaster.data.nodes)).all():
        typer.echo("Every node is a candidate here, so that nothing can be missed.")


@app.command()
def bench(
    subject: Annotated[
        list[str] | None,
        typer.Option(help="alignment, encoder, training, inference or feeding; repeatable."),
    ] = None,
    nodes: Annotated[list[int] | None, typer.Option(help="Simulated places; repeatable.")] = None,
    output: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("bench.csv"),
    repeats: Annotated[int, typer.Option(help="Timings of each case.")] = 7,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    memory: Annotated[bool, typer.Option(help="Measure peak memory, too.")] = True,
) -> None:
    """Time the parts of the model beside their peers on simulated places."""
    from sttrans_core.bench import SUBJECTS, run_benchmarks, slopes

    check_output(output, ".csv")
    table = run_benchmarks(
        subject or list(SUBJECTS), nodes or [207], device=device, repeats=repeats, memory=memory,
        tell=typer.echo,
    )  # fmt: skip
    write_whole(output, table.to_csv(index=False, lineterminator="\n"))
    for row in slopes(table).itertuples():
        typer.echo(f"{row.subject:10} {row.case:32} grows with nodes to the {row.slope:.2f}")
    written = [str(output)]
    for plot in entry_points(group="sttrans.figures", name="benchmark"):
        for name in dict.fromkeys(table["subject"]):
            page = output.with_name(f"{output.stem}-{name}.html")
            write_whole(page, plot.load()(table, subject=name).to_html())  # with Plotly inside
            written.append(str(page))
    typer.echo(f"Wrote {', '.join(written)}")


@app.command()
def efficiency(
    run_dir: Annotated[list[Path], typer.Option(help="Folder of a run; repeatable.")],
    output_dir: Annotated[Path, typer.Option(help="Folder for efficiency.csv and .md.")] = Path(),
    windows: Annotated[int, typer.Option(help="Windows of the test part that are scored.")] = 512,
    repeats: Annotated[int, typer.Option(help="Timings of each form.")] = 15,
    path: DataPath = None,
) -> None:
    """Measure runs in PyTorch and exported: size, latency of one window, error."""
    import pandas as pd

    from sttrans_core.bench import efficiency_lines, measure_efficiency
    from sttrans_core.forecaster import load_run

    output = output_dir / "efficiency.csv"
    output_dir.mkdir(parents=True, exist_ok=True)
    check_output(output, ".csv")
    tables = []
    for folder in run_dir:
        forecaster = load_run(folder, device="cpu")
        series = load_series(forecaster.config, path)
        tables.append(measure_efficiency(forecaster, series, windows=windows, repeats=repeats))
    table = pd.concat(tables)
    text = efficiency_lines(table)
    write_whole(output, table.to_csv(index=False, lineterminator="\n"))
    write_whole(output.with_suffix(".md"), text)
    typer.echo(text)
    if not table["form"].str.startswith("ONNX").any():
        typer.echo("Without ONNX, whose extra is missing: pip install 'sttrans[onnx]'.")
    typer.echo(f"Wrote {output}, {output.with_suffix('.md')}")


@app.command()
def download(
    dataset: Annotated[
        str, typer.Argument(help="Registered dataset; of a .nc file only the card is shown.")
    ],
) -> None:
    """Fetch a dataset into the user cache, or find it there, and show its card."""
    from sttrans_core.data import data_card, load_dataset

    typer.echo(data_card(load_dataset(dataset)).to_string())


@app.command(name="list")
def list_() -> None:
    """List datasets, variants and bundled runs."""
    from sttrans_core.config import VARIANTS
    from sttrans_core.data import list_datasets
    from sttrans_core.pretrained import list_pretrained

    typer.echo("Datasets")
    for name, card in list_datasets().items():
        typer.echo(f"  {name:20} {card['title']}")
    typer.echo(
        f"  {'FILE.nc':20} Own data: from_table(...) or from_grid(...), .to_netcdf('FILE.nc')"
    )
    typer.echo(f"  {'FOLDER.zarr':20} The same in a zarr store of format 3, read while it is used")
    typer.echo("Variants")
    for name, variant in VARIANTS.items():
        typer.echo(f"  {name:20} {variant.question}")
    typer.echo("Bundled runs")
    for name, variants in list_pretrained().items():
        typer.echo(f"  {name:20} {', '.join(variants)}")


def _load(run_dir: Path, path: Path | None) -> tuple[Any, Any]:
    from sttrans_core.forecaster import load_run

    forecaster = load_run(run_dir)
    return forecaster, load_series(forecaster.config, path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"--config must be a JSON file that can be read; got {path} ({error}). "
            "Point at the config.json of a run."
        ) from error


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"--{name} must be one of {', '.join(choices)}; got {value!r}. Choose one of them."
        )


def main() -> None:
    """Run the command line; a bad input ends with one sentence instead of a traceback."""
    try:
        app()
    except OSError as error:
        typer.echo(f"Error: {os_sentence(error)}", err=True)
        raise SystemExit(2) from error
    except (ImportError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from error
