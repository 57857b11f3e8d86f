"""A trained model as one file that runs without this package: `torch.export`, or ONNX."""

import copy
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sttrans_core.alignment.position import FixedPosition, LearnedPosition
from sttrans_core.data.windows import Batch
from sttrans_core.fitted import FittedData
from sttrans_core.forecaster import Forecaster
from sttrans_core.model.sttrans import DecoderLayer, STTrans
from sttrans_core.whole_files import write_whole

__all__ = ["export_forecaster", "input_names", "plain_inputs"]

_METADATA = "sttrans.json"  # name of the description inside the file
_INPUTS = {
    "readings": "(batch, history, node) float32, in units; NaN where missing",
    "time_of_day": "(batch, history + horizon) int64, whole intervals since midnight",
    "day_of_week": "(batch, history + horizon) int64, 0 = Monday",
    # Only where the run looks at them:
    "year_share": "(batch, history + horizon) float32, share of the year that has passed",
    "earlier": "(batch, history + horizon, node, earlier_readings) float32, as readings",
}
_OUTPUTS = {
    "forecast": "(batch, horizon, node) float32, in units",
    "node": "(batch, node, segment, k) int64, index into nodes of each source",
    "step": "(batch, node, segment, k) int64, history step of each source, 0 = oldest",
    "weight": "(batch, node, segment, head, k) float32, sums to 1 over k; 0 for a filler",
}


def export_forecaster(
    forecaster: Forecaster, path: str | os.PathLike[str], *, int8: bool = False
) -> None:
    """Write a trained model as one file, with all that is needed to run it elsewhere.

    The file takes readings in the data's own units with any number of windows, those of earlier
    days among them where the run looks at them, and gives the forecast of every node in the same
    units. A model with a Top-k also gives the alignment of its
    last decoder layer, by which each target's sources are ordered as in `Forecaster.align`. What a
    user must know besides (nodes, units, interval, steps, calendar, inputs and outputs) is JSON
    inside the file: `sttrans.json` of the extra files in `.pt2`, and of the metadata in `.onnx`.

    `torch.export.load` unpickles, so a `.pt2` file from others may run any code: load your own
    only. An `.onnx` file holds no code.

    Args:
        forecaster: A trained model.
        path: A file that ends in `.pt2` (`torch.export`) or `.onnx`; one that is there is replaced.
        int8: Store the weights of matrix products as 8-bit integers, and round what they are
            multiplied by to 8 bits, too; for `.onnx` only. Forecasts change a little.

    Raises:
        ValueError: The run is of a baseline, or of more than one quantity; the name ends otherwise,
            its folder is not there, `int8` is asked of `.pt2`, or ONNX has no operation for a part
            of the model.
        ImportError: The extra `onnx` is not installed.
        OSError: The file cannot be written.

    Example:
        >>> from sttrans_core import export_forecaster, load_pretrained
        >>> export_forecaster(load_pretrained("simulated-freeway"), "freeway.pt2")
        >>> program = torch.export.load("freeway.pt2").module()
        >>> forecast, node, step, weight = program(readings, time_of_day, day_of_week)
    """
    path = Path(path)
    _check(path, int8=int8)
    _check_inputs(forecaster)
    program, description = _trace(forecaster), json.dumps(_describe(forecaster))
    if path.suffix.lower() == ".pt2":
        buffer = BytesIO()
        torch.export.save(program, buffer, extra_files={_METADATA: description})
        content = buffer.getvalue()
    else:
        content = _to_onnx(program, description, names=input_names(forecaster), int8=int8)
    write_whole(path, content)


def _check(path: Path, *, int8: bool) -> None:
    """Refuse what could not be written in the end, before anything is traced."""
    if path.suffix.lower() not in {".pt2", ".onnx"}:
        raise ValueError(
            f"An exported model must end in .pt2 (torch.export) or .onnx; got {path}. "
            f"Write for example {path.with_suffix('.pt2')}."
        )
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"An exported model must be a file in a folder that is there; got {path}. "
            "Make the folder first, or choose another."
        )
    if int8 and path.suffix.lower() == ".pt2":
        raise ValueError(
            f"int8 must come with a file that ends in .onnx; got {path}. "
            f"Write {path.with_suffix('.onnx')}, or leave int8 out."
        )
    if path.suffix.lower() == ".onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"Writing {path.name} needs {error.name}. "
                "Install the extra: pip install 'sttrans[onnx]'."
            ) from error


def _check_inputs(forecaster: Forecaster) -> None:
    """Refuse runs whose files would need more inputs than `_INPUTS`."""
    data = forecaster.data
    more = {
        "several channels": len(data.channels) > 1,
        "covariates": len(data.covariates) > 0,
        "a baseline": not isinstance(forecaster.model, STTrans),
    }
    found = [name for name, is_there in more.items() if is_there]
    if found:
        raise ValueError(
            "An exported model must be an ST-Trans of one quantity and no other readings; got a "
            f"run with {', '.join(found)}. Use it through load_run instead."
        )


def input_names(forecaster: Forecaster) -> list[str]:
    """Name what an exported file of a run takes, in order.

    Args:
        forecaster: A trained model.

    Returns:
        Keys of the inputs that the description in the file explains.
    """
    needed = {"year_share": forecaster.data.has_season, "earlier": forecaster.config.data.num_lags}
    return [name for name in _INPUTS if needed.get(name, True)]


def plain_inputs(forecaster: Forecaster, batch: Batch) -> tuple[Tensor, ...]:
    """Give windows as an exported file takes them.

    Args:
        forecaster: A trained model.
        batch: Windows that it cut.

    Returns:
        The inputs in the order of `input_names`: readings in units, NaN where missing.
    """
    scaler = forecaster.data.scaler
    given = {
        "readings": scaler.inverse(batch.values[..., 0]).masked_fill(~batch.observed, torch.nan),
        "time_of_day": batch.time_of_day,
        "day_of_week": batch.day_of_week,
        "year_share": batch.year_share,
    }
    if batch.earlier is not None:
        days, seen = batch.earlier.chunk(2, dim=-1)
        given["earlier"] = scaler.inverse(days).masked_fill(seen == 0, torch.nan)
    return tuple(given[name] for name in input_names(forecaster))


class _Plain(nn.Module):
    """The model between plain tensors in original units."""

    def __init__(self, model: STTrans, data: FittedData) -> None:
        super().__init__()
        self.model, self.data = model, data

    def forward(
        self,
        readings: Float[Tensor, "batch history node"],
        time_of_day: Int[Tensor, "batch steps"],
        day_of_week: Int[Tensor, "batch steps"],
        *more: Tensor,
    ) -> tuple[Tensor, ...]:
        values, observed = self._scaled(readings)
        rest = list(more)
        year_share = rest.pop(0) if self.data.has_season else time_of_day.to(readings.dtype)
        earlier = None
        if rest:
            days, seen = self._scaled(rest.pop())
            earlier = torch.cat([days, seen.to(days.dtype)], dim=-1)
        forecast, alignments, _ = self.model(
            Batch(values[..., None], observed, time_of_day, day_of_week, year_share, earlier),
            need_alignment=self.model.selection.topk is not None,
        )
        sources = [(each.node, each.step, each.weight) for each in alignments[-1:]]
        return self.data.in_units(forecast[..., 0]), *sum(sources, ())

    def _scaled(self, readings: Tensor) -> tuple[Tensor, Tensor]:
        """Give z-scores, 0 where missing, and which readings are there."""
        observed = torch.isfinite(readings)
        return self.data.scaler.transform(readings).masked_fill(~observed, 0.0), observed


@torch.no_grad()
def _trace(forecaster: Forecaster) -> torch.export.ExportedProgram:
    """Trace a copy of the model on the CPU, for any number of windows."""
    model = cast("STTrans", copy.deepcopy(forecaster.model).cpu().eval())
    for layer in model.decoder:
        if isinstance(layer, DecoderLayer) and layer.alignment is not None:
            _fix_features(layer.alignment.position, model.geometry.classes)
    plain = _Plain(model, forecaster.data)
    inputs = _empty_inputs(forecaster)
    plain(*inputs)  # groups of the geometry are found when they are first asked for
    batch = {0: torch.export.Dim("batch", min=1)}
    more = [(batch,) * (len(inputs) - 3)] if len(inputs) > 3 else []
    shapes = (batch, batch, batch, *more)
    program = torch.export.export(plain, inputs, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:  # where the code lay on this machine
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(name, None)
    program.example_inputs = None
    return program


def _empty_inputs(forecaster: Forecaster) -> tuple[Tensor, ...]:
    data, nodes = forecaster.config.data, len(forecaster.data.nodes)
    num_steps = data.history_steps + data.horizon_steps
    empty = {
        "readings": torch.zeros(2, data.history_steps, nodes),
        "time_of_day": torch.zeros(2, num_steps, dtype=torch.int64),
        "day_of_week": torch.zeros(2, num_steps, dtype=torch.int64),
        "year_share": torch.zeros(2, num_steps),
        "earlier": torch.zeros(2, num_steps, nodes, data.num_lags),
    }
    return tuple(empty[name] for name in input_names(forecaster))


def _fix_features(position: LearnedPosition | FixedPosition, classes: Tensor) -> None:
    """Compute what depends on no input once, and leave out what it is made of."""
    known = position.features(classes)
    position.features = lambda classes: known  # noqa: ARG005
    for name, _ in (*position.named_buffers(recurse=False), *position.named_children()):
        delattr(position, name)


def _describe(forecaster: Forecaster) -> dict[str, Any]:
    """Give what a user of the file must know."""
    data, config = forecaster.data, forecaster.config
    num_outputs = 1 if forecaster.model.selection.topk is None else len(_OUTPUTS)
    known = (
        "title", "source", "licence", "citation", "quantity", "units", "valid_min", "interval",
        "synthetic",
    )  # fmt: skip
    earlier = [f"{days} days before the step" for days in config.data.lag_days]
    if config.data.usual_weeks:
        earlier.append(f"mean of what was observed 1 to {config.data.usual_weeks} weeks before")
    return {
        "model": config.label,
        "run": config.hash,
        **{name: data.attrs[name] for name in known if name in data.attrs},
        "nodes": data.nodes,
        "latitude": data.latitude,
        "longitude": data.longitude,
        "history_steps": config.data.history_steps,
        "horizon_steps": config.data.horizon_steps,
        "steps_per_day": data.steps_per_day,
        "calendar": "of the time stamp of every step, history then horizon, in the time zone of "
        "the training data",
        "scaler": {"mean": data.scaler.mean, "std": data.scaler.std, "where": "inside the model"},
        "inputs": {name: _INPUTS[name] for name in input_names(forecaster)},
        "earlier_readings": earlier,
        "outputs": dict(list(_OUTPUTS.items())[:num_outputs]),
    }


def _to_onnx(
    program: torch.export.ExportedProgram, description: str, *, names: list[str], int8: bool
) -> bytes:
    import onnx
    from onnxscript import opset20 as op

    def sort(values: Any, stable: Any, dim: int = -1, descending: bool = False) -> Any:
        del stable  # it always is: of equal values TopK gives the first one first
        count = op.Shape(values, start=dim, end=dim + 1 or None)
        return op.TopK(values, count, axis=dim, largest=descending, sorted=True)

    num_outputs = len(program.graph_signature.user_outputs)
    try:
        with _quiet():
            exported: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=20,
                input_names=names,
                output_names=list(_OUTPUTS)[:num_outputs],
                custom_translation_table={torch.ops.aten.sort.stable: sort},
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(
            "A model for ONNX must be made of operations that ONNX has; got "
            f"{str(error.__cause__ or error).splitlines()[0]} Write a .pt2 file instead."
        ) from error
    model = exported.model_proto
    for each in (model.graph, *model.graph.node, *model.graph.value_info):
        del each.metadata_props[:]
    if int8:
        model = _to_int8(model)
    onnx.helper.set_model_props(model, {_METADATA: description})
    return model.SerializeToString()


def _to_int8(model: Any) -> Any:
    """Quantise the products with weights; those of two activations stay as they are."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        # Weights of 7 bits: with 8, sums overflow on processors without instructions for them.
        quantize_dynamic(
            model, path, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=True
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporters say of their own code and of other packages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.disable(before)
