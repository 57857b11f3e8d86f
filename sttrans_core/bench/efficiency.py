"""What a trained model costs in every form that it can be run in: size, latency, error."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from sttrans_core.bench.cases import Case
from sttrans_core.bench.measure import row_of, take_turns
from sttrans_core.data.splits import split_dataset
from sttrans_core.data.windows import Batch
from sttrans_core.devices import keep_freed_memory
from sttrans_core.evaluation.metrics import ErrorSums
from sttrans_core.export import export_forecaster, plain_inputs
from sttrans_core.forecaster import Forecaster, windows_at_once

__all__ = ["efficiency_lines", "measure_efficiency"]

Inputs = tuple[Tensor, ...]


def measure_efficiency(
    forecaster: Forecaster, dataset: xr.Dataset, *, windows: int = 512, repeats: int = 15
) -> pd.DataFrame:
    """Measure a trained model in PyTorch and as each of its exported files, on the CPU.

    In PyTorch it is the forecast alone that is timed; exported files give the alignment, too. The
    rows of ONNX are left out where the extra `onnx` is not installed.

    Args:
        forecaster: A trained model on the CPU.
        dataset: The series it was trained on.
        windows: Windows that are scored, spread evenly over the test part.
        repeats: Timings of each form, which take turns.

    Returns:
        One row a form: parameters, size in KB (1000 bytes), median and quartiles of the
        milliseconds of one window, mean over horizon steps of the MAE in the data's units.

    Raises:
        RunError: The dataset does not fit the run.
        ValueError: There is no window or repeat to measure.
    """
    if min(windows, repeats) < 1:
        raise ValueError(
            "Efficiency must be measured on at least 1 window and 1 repeat; got "
            f"windows={windows} and repeats={repeats}. Raise them."
        )
    keep_freed_memory()
    config, device = forecaster.config, torch.device("cpu")
    starts = _spread_over_test(forecaster, dataset, windows)
    batches = _batches(forecaster, dataset, starts)
    one = next(iter(_batches(forecaster, dataset, starts[:1])))
    run = f"{config.data.dataset}, {config.preset_name} {config.label}"
    with tempfile.TemporaryDirectory() as folder:
        forms = _forms(forecaster, Path(folder))
        cases = [
            Case(subject=run, name=name, nodes=len(forecaster.data.nodes), batch=1,
                 call=partial(forecast, *one))
            for name, (forecast, _) in forms.items()
        ]  # fmt: skip
        seconds = take_turns(cases, repeats, device)
        rows = []
        for case, times, (forecast, size) in zip(cases, seconds, forms.values(), strict=True):
            errors = ErrorSums()
            for batch, inputs in batches:
                errors.update(forecast(batch, inputs)[..., None], batch.target)
            rows.append({
                **row_of(case, times, times / seconds[0], device),
                "parameters": sum(each.numel() for each in forecaster.model.parameters()),
                "kb": round(size / 1e3, 1), "mae": round(errors.mean("mae"), 4),
                "windows": len(starts), "hash": config.hash,
            })  # fmt: skip
    return pd.DataFrame(rows).rename(columns={"subject": "run", "case": "form"})


def efficiency_lines(table: pd.DataFrame) -> str:
    """Give efficiency as a table in Markdown.

    Args:
        table: From `measure_efficiency`, of one run or more.

    Returns:
        The table, and under it how it was measured.
    """
    lines = ["| run | form | parameters | KB | ms a window (quartiles) | MAE |"]
    lines.append("|---|---|---|---|---|---|")
    lines += [
        f"| {row.run} ({row.hash}) | {row.form} | {row.parameters:,} | {row.kb:,.0f} "
        f"| {row.ms:.2f} ({row.ms_low:.2f}-{row.ms_high:.2f}) | {row.mae:.3f} |"
        for row in table.itertuples()
    ]
    first = table.iloc[0]
    lines.append(
        f"\n{first.device}, {first.threads} thread(s), PyTorch {first.torch}, {first.date}. MAE: "
        f"mean of the horizon steps over {first.windows} windows, spread evenly over the test part."
    )
    return "\n".join(lines) + "\n"


def _spread_over_test(forecaster: Forecaster, dataset: xr.Dataset, count: int) -> list[int]:
    data = forecaster.config.data
    test = split_dataset(
        dataset, history_steps=data.history_steps,
        horizon_steps=data.horizon_steps, split=data.split,
    ).test  # fmt: skip
    return np.unique(np.linspace(test[0], test[-1], count).astype(int)).tolist()


def _batches(
    forecaster: Forecaster, dataset: xr.Dataset, starts: list[int]
) -> list[tuple[Batch, Inputs]]:
    """Give windows as the model takes them, and as exported files do."""
    windows, found = forecaster.windows(dataset), []
    size = windows_at_once(dataset.sizes["node"])
    for first in range(0, len(starts), size):
        batch = windows.batch(starts[first : first + size])
        found.append((batch, plain_inputs(forecaster, batch)))
    return found


def _forms(
    forecaster: Forecaster, folder: Path
) -> dict[str, tuple[Callable[[Batch, Inputs], Tensor], int]]:
    """Give every form with its size in bytes."""
    weights = sum(each.nbytes for each in forecaster.model.state_dict().values())
    forms: dict[str, tuple[Callable[[Batch, Inputs], Tensor], int]] = {
        "PyTorch": (lambda batch, _: forecaster.predict(batch)[..., 0], weights)
    }
    path = folder / "model.pt2"
    export_forecaster(forecaster, path)
    program = torch.export.load(path).module()  # our own file: loading one may run code
    forms["torch.export"] = (
        torch.no_grad()(lambda _, inputs: program(*inputs)[0]), path.stat().st_size
    )  # fmt: skip
    for name, int8 in (("ONNX", False), ("ONNX int8", True)):
        path = folder / f"{name}.onnx"
        try:
            export_forecaster(forecaster, path, int8=int8)
        except ImportError:
            return forms
        forms[name] = (_onnx_session(path), path.stat().st_size)
    return forms


def _onnx_session(path: Path) -> Callable[[Batch, Inputs], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait for the next call would take the processor from the other forms.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def forecast(_: Batch, inputs: Inputs) -> Tensor:
        arrays = (each.numpy() for each in inputs)
        return torch.from_numpy(session.run(None, dict(zip(names, arrays, strict=True)))[0])

    return forecast
