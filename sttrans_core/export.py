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
from sttrans_core.data.windows import Batch, Scaler
from sttrans_core.forecaster import Forecaster
from sttrans_core.model.sttrans import DecoderLayer, STTrans

__all__ = ["export_forecaster"]

_METADATA = "sttrans.json"  # name of the description inside the file
_INPUTS = {
    "readings": "(batch, history, node) float32, in units; NaN where missing",
    "time_of_day": "(batch, history + horizon) int64, whole intervals since midnight",
    "day_of_week": "(batch, history + horizon) int64, 0 = Monday",
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

    The file takes readings in the data's own units with any number of windows, and gives the
    forecast of every node in the same units. A model with a Top-k also gives the alignment of its
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
        ValueError: The run is of a baseline, or needs more than readings of one quantity and the
            time of day and week; the name ends otherwise, its folder is not there, `int8` is asked
            of `.pt2`, or ONNX has no operation for a part of the model.
        ImportError: The extra `onnx` is not installed.
        OSError: The file cannot be written.

    Example:
        >>> from sttrans_core import export_forecaster, load_pretrained
        >>> export_forecaster(load_pretrained("metr-la-10"), "metr-la-10.pt2")
        >>> program = torch.export.load("metr-la-10.pt2").module()
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
        content = _to_onnx(program, description, int8=int8)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


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
    data, config = forecaster.data, forecaster.config
    more = {
        "several channels": len(data.channels) > 1,
        "covariates": len(data.covariates) > 0,
        "earlier days": config.data.num_lags > 0,
        "the season": data.has_season,
        "a baseline": not isinstance(forecaster.model, STTrans),
    }
    found = [name for name, is_there in more.items() if is_there]
    if found:
        raise ValueError(
            "An exported model must be an ST-Trans of one quantity that sees its history, the time "
            f"of day and the weekday only; got a run with {', '.join(found)}. Use it through "
            "load_run instead."
        )


class _Plain(nn.Module):
    """The model between plain tensors in original units."""

    def __init__(self, model: STTrans, scaler: Scaler) -> None:
        super().__init__()
        self.model, self.scaler = model, scaler

    def forward(
        self,
        readings: Float[Tensor, "batch history node"],
        time_of_day: Int[Tensor, "batch steps"],
        day_of_week: Int[Tensor, "batch steps"],
    ) -> tuple[Tensor, ...]:
        observed = torch.isfinite(readings)
        values = self.scaler.transform(readings).masked_fill(~observed, 0.0)
        forecast, alignments = self.model(
            Batch(
                values[..., None],
                observed,
                time_of_day,
                day_of_week,
                torch.zeros_like(time_of_day, dtype=readings.dtype),
            ),
            need_alignment=self.model.selection.topk is not None,
        )
        sources = [(each.node, each.step, each.weight) for each in alignments[-1:]]
        return self.scaler.inverse(forecast[..., 0]), *sum(sources, ())


@torch.no_grad()
def _trace(forecaster: Forecaster) -> torch.export.ExportedProgram:
    """Trace a copy of the model on the CPU, for any number of windows."""
    model = cast("STTrans", copy.deepcopy(forecaster.model).cpu().eval())
    for layer in model.decoder:
        if isinstance(layer, DecoderLayer) and layer.alignment is not None:
            _fix_features(layer.alignment.position, model.geometry.classes)
    plain = _Plain(model, forecaster.data.scaler)
    data, nodes = forecaster.config.data, len(forecaster.data.nodes)
    steps = torch.zeros(2, data.history_steps + data.horizon_steps, dtype=torch.int64)
    inputs = (torch.zeros(2, data.history_steps, nodes), steps, steps.clone())
    plain(*inputs)  # groups of the geometry are found when they are first asked for
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        plain, inputs, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}), strict=False
    )
    for node in program.graph.nodes:  # where the code lay on this machine
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(name, None)
    program.example_inputs = None
    return program


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
    known = ("title", "source", "licence", "citation", "quantity", "units", "interval", "synthetic")
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
        "inputs": _INPUTS,
        "outputs": dict(list(_OUTPUTS.items())[:num_outputs]),
    }


def _to_onnx(program: torch.export.ExportedProgram, description: str, *, int8: bool) -> bytes:
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
                input_names=list(_INPUTS),
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
        quantize_dynamic(model, path, op_types_to_quantize=["MatMul"], per_channel=True)
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
