"""The command line: train, evaluate, forecast, align, download, list."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

__all__ = ["main"]

app = typer.Typer(
    name="sttrans",
    help="Spatio-temporal forecasting with attention that can be seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatasetName = Annotated[str, typer.Option("--dataset", help="Registered dataset.")]
DataPath = Annotated[
    Path | None, typer.Option("--path", help="File or folder of the dataset; else searched for.")
]
RunDir = Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field to replace, for example train.epochs=3; repeatable."),
]


@app.command()
def train(
    run_dir: RunDir,
    dataset: DatasetName = "simulated-freeway",
    path: DataPath = None,
    preset: Annotated[str, typer.Option(help="small, base or paper.")] = "small",
    variant: Annotated[str, typer.Option(help="Ablation variant.")] = "full",
    config: Annotated[
        Path | None, typer.Option(help="A config.json instead of preset and variant.")
    ] = None,
    set_: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run.")] = False,
    score: Annotated[bool, typer.Option(help="Score the test part at the end.")] = True,
) -> None:
    """Train a model; Ctrl-C or SIGTERM stops it so that --resume can go on."""
    from sttrans_core.config import ExperimentConfig
    from sttrans_core.data import load_dataset
    from sttrans_core.evaluation import evaluate
    from sttrans_core.training import train as run_training

    if config is not None:
        experiment = ExperimentConfig.parse(_read_json(config))
    else:
        experiment = ExperimentConfig.preset(preset, dataset=dataset).variant(variant)  # type: ignore[arg-type]
    experiment = experiment.replace(_settings(set_ or []))
    series = load_dataset(experiment.data.dataset, path=path)
    stop = _StopOnSignal()
    forecaster = run_training(
        experiment,
        run_dir=run_dir,
        dataset=series,
        should_stop=stop,
        resume=resume,
        progress=sys.stderr.isatty(),
        on_epoch=lambda row: typer.echo(
            f"epoch {row['epoch']:3d}  train {row['train_loss']:.4f}  "
            f"validation MAE {row['val_mae']:.4f}  {row['seconds']:.1f} s"
        ),
    )
    if stop.requested:
        typer.echo(f"Stopped. Go on with --resume --run-dir {run_dir}")
        raise typer.Exit(3)
    if score:
        typer.echo(_score_lines(evaluate(forecaster, series, write=True)))


@app.command()
def evaluate(
    run_dir: RunDir,
    path: DataPath = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    over: Annotated[str, typer.Option(help="step, or prefix (all steps up to it).")] = "step",
    missing: Annotated[str, typer.Option(help="ignore, or as_zero.")] = "ignore",
    write: Annotated[bool, typer.Option(help="Write scores.csv into the run.")] = False,
) -> None:
    """Score a run beside the baselines."""
    from sttrans_core.evaluation import evaluate as run_evaluation

    _choice("part", part, ("train", "validation", "test"))
    _choice("over", over, ("step", "prefix"))
    _choice("missing", missing, ("ignore", "as_zero"))
    forecaster, series = _load(run_dir, path)
    scores = run_evaluation(
        forecaster, series, part=part, over=over, missing=missing, write=write  # type: ignore[arg-type]
    )  # fmt: skip
    typer.echo(_score_lines(scores))


@app.command()
def forecast(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="NetCDF file to write.")],
    path: DataPath = None,
    time: Annotated[str | None, typer.Option(help="Forecast origin; the last step.")] = None,
) -> None:
    """Write a labelled forecast as NetCDF."""
    forecaster, series = _load(run_dir, path)
    forecaster.forecast(series, None if time is None else [time]).to_netcdf(output)
    typer.echo(f"Wrote {output}")


@app.command()
def align(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="NetCDF file to write.")],
    path: DataPath = None,
    time: Annotated[str | None, typer.Option(help="Forecast origin; the last step.")] = None,
    node: Annotated[list[str] | None, typer.Option(help="Target place; repeatable.")] = None,
    topk: Annotated[int | None, typer.Option(help="Sources to keep; as trained.")] = None,
) -> None:
    """Write the alignment of one forecast as NetCDF."""
    forecaster, series = _load(run_dir, path)
    origin = series["time"].values[-1] if time is None else time
    forecaster.align(series, origin, node or None, topk=topk).to_netcdf(output)
    typer.echo(f"Wrote {output}")


@app.command()
def download(dataset: Annotated[str, typer.Argument(help="Registered dataset.")]) -> None:
    """Fetch a dataset into the user cache, or find it there."""
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
    typer.echo("Variants")
    for name, variant in VARIANTS.items():
        typer.echo(f"  {name:20} {variant.question}")
    typer.echo("Bundled runs")
    for name, variants in list_pretrained().items():
        typer.echo(f"  {name:20} {', '.join(variants)}")


class _StopOnSignal:
    """Says yes once SIGINT or SIGTERM has come."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True

    def __call__(self) -> bool:
        return self.requested


def _load(run_dir: Path, path: Path | None) -> tuple[Any, Any]:
    from sttrans_core.data import load_dataset
    from sttrans_core.forecaster import load_run

    forecaster = load_run(run_dir)
    return forecaster, load_dataset(forecaster.config.data.dataset, path=path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"--config must be a JSON file that can be read; got {path} ({error}). "
            "Point at the config.json of a run."
        ) from error


def _settings(pairs: list[str]) -> dict[str, Any]:
    """Turn `section.field=value` into nested fields; values are JSON, or else plain text."""
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        section, dot, field = name.partition(".")
        if not (equals and dot and field):
            raise ValueError(
                f"--set must be section.field=value; got {pair!r}. "
                "Write for example --set train.epochs=3."
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        fields.setdefault(section, {})[field] = value
    return fields


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"--{name} must be one of {', '.join(choices)}; got {value!r}. Choose one of them."
        )


def _score_lines(scores: Any) -> str:
    lines = [f"{scores.attrs['title']}: {scores.attrs['protocol']}"]
    header = f"{'MAE / RMSE / MAPE %':28}"
    minutes = scores["lead_minutes"].values
    steps = [i for i in range(len(minutes)) if i + 1 in (1, 3, 6, 12)] or [0]
    lines.append(header + "".join(f"{minutes[i]:>17.0f} min" for i in steps) + f"{'mean':>12}")
    for name in scores["model"].values:
        row = scores.sel(model=name)
        cells = [
            "/".join(f"{float(row[m][i]):.2f}" for m in ("mae", "rmse", "mape")) for i in steps
        ]
        mean = f"{float(row['mae'].mean()):.3f}"
        lines.append(f"{name:28}" + "".join(f"{cell:>21}" for cell in cells) + f"{mean:>12}")
    return "\n".join(lines)


def main() -> None:
    """Run the command line; a bad input ends with one sentence instead of a traceback."""
    try:
        app()
    except (ValueError, FileNotFoundError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from error
