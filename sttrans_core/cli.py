"""The command line: train, evaluate, forecast, align, download, list."""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Self

import typer

__all__ = ["main"]

app = typer.Typer(
    name="sttrans",
    help="Spatio-temporal forecasting with attention that can be seen.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
    dataset: Annotated[
        str | None, typer.Option(help="Registered dataset.", show_default="simulated-freeway")
    ] = None,
    path: DataPath = None,
    preset: Annotated[
        str | None, typer.Option(help="small, base or paper.", show_default="small")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Ablation variant.", show_default="full")
    ] = None,
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
    from sttrans_core.evaluation import evaluate, evaluate_hits
    from sttrans_core.runs import RunFolder
    from sttrans_core.training import train as run_training

    if config is not None:
        _refuse_beside_config(dataset=dataset, preset=preset, variant=variant)
        experiment = ExperimentConfig.parse(_read_json(config))
    else:
        experiment = ExperimentConfig.preset(
            preset or "small", dataset=dataset or "simulated-freeway"
        ).variant(variant or "full")
    experiment = experiment.replace(_settings(set_ or []))
    series = load_dataset(experiment.data.dataset, path=path)
    with _StopOnSignal() as stop:
        forecaster = run_training(
            experiment,
            run_dir=run_dir,
            dataset=series,
            should_stop=stop,
            resume=resume,
            progress=sys.stderr.isatty(),
            on_epoch=_tell,
        )
        if RunFolder(run_dir).read_json("status.json")["state"] == "stopped":
            typer.echo(f"Stopped. Go on with --resume --run-dir {run_dir}")
            raise typer.Exit(3)
        if not score:
            return
        try:
            stop.raise_from_now_on()
            scores = evaluate(forecaster, series, write=True)
            hits = evaluate_hits(forecaster, series, write=True)
        except _Interrupted as error:
            typer.echo(
                f"Trained, but not scored. Score it with evaluate --write --run-dir {run_dir}"
            )
            raise typer.Exit(3) from error
    typer.echo(_score_lines(scores) + _hit_lines(hits))


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
    write: Annotated[bool, typer.Option(help="Write the scores into the run.")] = False,
) -> None:
    """Score a run beside the baselines; on simulated data, its alignment against the truth."""
    from sttrans_core.evaluation import evaluate as run_evaluation
    from sttrans_core.evaluation import evaluate_hits

    _choice("part", part, ("train", "validation", "test"))
    _choice("over", over, ("step", "prefix"))
    _choice("missing", missing, ("ignore", "as_zero"))
    forecaster, series = _load(run_dir, path)
    scores = run_evaluation(
        forecaster, series, part=part, over=over, missing=missing, write=write  # type: ignore[arg-type]
    )  # fmt: skip
    hits = evaluate_hits(forecaster, series, part=part, write=write)  # type: ignore[arg-type]
    typer.echo(_score_lines(scores) + _hit_lines(hits))


@app.command()
def forecast(
    run_dir: RunDir,
    output: Annotated[Path, typer.Option(help="NetCDF file to write.")],
    path: DataPath = None,
    time: Annotated[str | None, typer.Option(help="Forecast origin; the last step.")] = None,
) -> None:
    """Write a labelled forecast as NetCDF."""
    _check_output(output)
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
    _check_output(output)
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


class _Interrupted(Exception):  # noqa: N818 - not an error
    """A signal came while nothing asks whether to stop."""


class _StopOnSignal:
    """Says yes once SIGINT or SIGTERM has come; gives the signals back at the end."""

    def __init__(self) -> None:
        self.requested = self._raising = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True
        if self._raising:
            raise _Interrupted

    def raise_from_now_on(self) -> None:
        """Interrupt what runs instead of waiting to be asked, also for a signal that has come."""
        self._raising = True
        if self.requested:
            raise _Interrupted

    def __call__(self) -> bool:
        return self.requested


def _check_output(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"--output must be a file in a folder that is there; got {path}. Make the folder "
            "first, or choose another."
        )


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


def _hit_lines(hits: Any) -> str:
    if hits is None or hits.num_scored == 0:
        return ""
    top = hits.by_regime.attrs["top"]
    lines = [f"\nCongested targets with a true cause among their Top-{top}, of {hits.num_scored}"]
    for name, label in (("hit_rate", "alignment"), ("nearest", "nearest"), ("chance", "chance")):
        each = hits.by_regime[name].sel(regime="congested").values
        cells = "".join(f"{share:>8.1%}" for share in each)
        lines.append(f"{label:28}{getattr(hits, name):>8.1%}  by segment{cells}")
    return "\n".join(lines)


def main() -> None:
    """Run the command line; a bad input ends with one sentence instead of a traceback."""
    try:
        app()
    except OSError as error:
        typer.echo(f"Error: {_os_sentence(error)}", err=True)
        raise SystemExit(2) from error
    except ValueError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from error


def _os_sentence(error: OSError) -> str:
    """Tell what the system refused; our own messages have no error number and stay as they are."""
    if error.errno is None:
        return str(error)
    return (
        f"Files must be readable and writable; got {error.strerror!r} for {error.filename}. "
        "Check the path, its rights and the space left."
    )
