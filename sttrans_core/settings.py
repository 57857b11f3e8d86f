"""The sections of a configuration: data, model or baseline, training; frozen and validated."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

__all__ = [
    "BASELINE_NAMES",
    "BaselineConfig",
    "ConfigError",
    "DataConfig",
    "ModelConfig",
    "Section",
    "TrainConfig",
    "kind_of_model",
    "one_sentence",
]

# Numbers only: without it True would pass as 1 and "3" as 3.
Int = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True)]


class ConfigError(ValueError):
    """A configuration has an unknown field or a value out of range."""


class Section(BaseModel):
    """Frozen fields; unknown ones and wrong types are told in one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    section: ClassVar[str] = ""

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(one_sentence(error, type(self))) from error


class DataConfig(Section):
    """Which series, and how it is cut into windows.

    Args:
        dataset: Name for `load_dataset` (registered, or what ends in `.nc` or `.zarr`), or a free
            label for a dataset handed over as an object.
        history_steps: Observed steps that a forecast sees.
        horizon_steps: Steps that are forecast.
        split: `standard` is 7:1:2 (train, validation, test) in time order, `paper` is 7:2:1; or
            the two times at which validation and test begin.
        lag_days: Days back to earlier readings of the same time of day that a forecast sees, too,
            of its history and its horizon; 1 is yesterday, 7 the same day of last week.
        usual_weeks: Weeks back whose observed readings of the same time of the week are averaged,
            as one more of these earlier readings; 0 for none.
    """

    section: ClassVar[str] = "data."

    dataset: str = "simulated-freeway"
    history_steps: Int = Field(12, ge=1, le=512)
    horizon_steps: Int = Field(12, ge=1, le=512)
    split: Literal["standard", "paper"] | tuple[str, str] = "standard"
    lag_days: tuple[Annotated[Int, Field(ge=1)], ...] = ()
    usual_weeks: Int = Field(0, ge=0)

    @property
    def num_lags(self) -> int:
        """Earlier readings of each step that a forecast sees."""
        return len(self.lag_days) + (self.usual_weeks > 0)


class ModelConfig(Section):
    """The model; the last five fields are the choices that the ablation variants replace.

    `no_topk` screens in blocks, too: without screening all candidates are all sources.

    Args:
        width: Channels of every token; a multiple of `num_heads`.
        num_heads: Attention heads.
        num_encoder_layers: Encoder layers, along the time of each node.
        num_surroundings_layers: Layers over what lies around a node in eight directions, further
            away from one to the next; 0 where only the alignment sees other nodes.
        num_decoder_layers: Alignment-and-fusion layers.
        num_segments: Blocks of horizon steps with an alignment of their own; divides the horizon.
        topk: Sources kept per query (all candidates where there are fewer).
        screening: `exact` scores every source; with `blocks`, for a thousand nodes and more, near
            targets share candidates: the nodes of their windows and of blocks that they admit.
        group_size: Targets that share candidates (with `blocks`).
        block_size: Nodes that are screened as one (with `blocks`).
        screened_blocks: Blocks that a group admits (with `blocks`).
        window_nodes: Nearest other nodes in the local window.
        window_steps: Most recent steps of these nodes that count as local; older ones are global.
        num_bases: Basis projections that dynamic value generation mixes.
        relation_dim: Features of the relative position (distance, direction, lag).
        alignment_loss: Weight, in training, of the error that the aligned sources make when they
            forecast alone, beside that of the forecast. Without it the alignment may settle on
            sources that merely go with the cause.
        dropout: Share of activations dropped while training.
        sources: `topk` of the candidates, all `candidates`, `dense` over every source, or `own`
            history only (no cross-attention).
        window: Whether sources in the `local` window are candidates, or `none` of them.
        position: `learned` relative position in the keys, or a `fixed` decay.
        value: `dynamic` or `static` value projections.
        residual: `gated` or `plain` residual in the fusion.
    """

    section: ClassVar[str] = "model."

    width: Int = Field(32, ge=4)
    num_heads: Int = Field(4, ge=1)
    num_encoder_layers: Int = Field(1, ge=0)
    num_surroundings_layers: Int = Field(0, ge=0)
    num_decoder_layers: Int = Field(1, ge=1)
    num_segments: Int = Field(4, ge=1)
    topk: Int = Field(16, ge=1)
    screening: Literal["exact", "blocks"] = "exact"
    group_size: Int = Field(32, ge=1)
    block_size: Int = Field(4, ge=1)
    screened_blocks: Int = Field(24, ge=1)
    window_nodes: Int = Field(8, ge=1)
    window_steps: Int = Field(8, ge=1)
    num_bases: Int = Field(4, ge=1)
    relation_dim: Int = Field(16, ge=1)
    alignment_loss: Real = Field(0.5, ge=0)
    dropout: Real = Field(0.1, ge=0.0, lt=1.0)
    sources: Literal["topk", "candidates", "dense", "own"] = "topk"
    window: Literal["local", "none"] = "local"
    position: Literal["learned", "fixed"] = "learned"
    value: Literal["dynamic", "static"] = "dynamic"
    residual: Literal["gated", "plain"] = "gated"

    @property
    def state_width(self) -> int:
        """Channels of what is known of a place: four times those of a token."""
        return 4 * self.width

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(
                f"width must be a multiple of num_heads; got width={self.width} with "
                f"num_heads={self.num_heads}. Change one of them."
            )
        return self


class BaselineConfig(Section):
    """A peer in place of our model, in its published sizes.

    Args:
        baseline: Which one; `ridge`, `pooled_regression` and `arima` are fitted at once, the others
            are trained.
    """

    section: ClassVar[str] = "model."

    baseline: Literal[
        "stid", "stgcn", "graph_wavenet", "stemgnn", "staeformer",
        "ridge", "pooled_regression", "arima",
    ]  # fmt: skip

    @property
    def is_trained(self) -> bool:
        """Whether it is trained by gradient descent, epoch after epoch."""
        return self.baseline not in {"ridge", "pooled_regression", "arima"}


BASELINE_NAMES = {
    "stid": "STID",
    "stgcn": "STGCN",
    "graph_wavenet": "Graph WaveNet",
    "stemgnn": "StemGNN",
    "staeformer": "STAEformer",
    "ridge": "ridge",
    "pooled_regression": "pooled regression",
    "arima": "ARIMA",
}


def kind_of_model(fields: Any) -> str:
    """Say which section the fields of a model are.

    Args:
        fields: A section, or plain fields.

    Returns:
        `baseline` or `sttrans`.
    """
    is_baseline = isinstance(fields, BaselineConfig) or (
        isinstance(fields, Mapping) and "baseline" in fields
    )
    return "baseline" if is_baseline else "sttrans"


class TrainConfig(Section):
    """The budget and the optimiser.

    Args:
        epochs: At most this many passes over the training windows.
        batch_size: Windows per step.
        loss: `mae`, or `mse` where large errors are worse than many small ones; the epoch with the
            least validation MAE, or RMSE, is kept.
        learning_rate: Peak of the cosine schedule.
        weight_decay: AdamW's decoupled weight decay.
        warmup_steps: Steps of linear warm-up.
        patience: Epochs without a better validation error before stopping.
        gaps: Share of the places that fail for a while in the windows trained on, so that the model
            copes with missing readings; single readings are hidden, too.
        noise: Largest spread of noise, in z-scores, on half of the windows trained on.
        average_decay: Share of the moving average of the weights that stays at a step; the average
            is what is validated and kept.
        clip_norm: Largest gradient norm.
        seed: Seed of initial weights, data order and dropout.
        coverage: Share of targets that a prediction band should hold.
        device: `auto` takes CUDA where present.
        num_processes: Processes that share each batch, one a device; `torchrun` says it itself.
        precision: Lightning Fabric's precision; `auto` is bf16-mixed on CUDA, 32-true elsewhere.
        max_windows_per_epoch: Random subset of training windows per epoch; none for all of them.
    """

    section: ClassVar[str] = "train."

    epochs: Int = Field(10, ge=1)
    batch_size: Int = Field(16, ge=1)
    loss: Literal["mae", "mse"] = "mae"
    learning_rate: Real = Field(2e-3, gt=0)
    weight_decay: Real = Field(1e-3, ge=0)
    warmup_steps: Int = Field(50, ge=0)
    patience: Int = Field(20, ge=1)
    gaps: Real = Field(0.15, ge=0, lt=0.5)
    noise: Real = Field(0.4, ge=0)
    average_decay: Real = Field(0.999, ge=0, lt=1)
    clip_norm: Real = Field(5.0, gt=0)
    seed: Int = Field(0, ge=0)
    coverage: Real = Field(0.9, gt=0, lt=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_processes: Int = Field(1, ge=1)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    max_windows_per_epoch: Int | None = Field(None, ge=1)


def one_sentence(error: ValidationError, kind: type[Section]) -> str:
    """Tell the first thing that is wrong with the fields of a section.

    Args:
        error: What the validation found.
        kind: The section.

    Returns:
        What must hold, what was given, and what to do.
    """
    first = error.errors()[0]
    if first["type"] == "value_error":  # one of ours, also from a section inside
        return str(first.get("ctx", {})["error"])
    name = str(first["loc"][0]) if first["loc"] else ""
    where, got = f"{kind.section}{name}", first["input"]
    if first["type"] == "extra_forbidden":
        return (
            f"A configuration must have known fields only; got {where!r}. "
            f"Known here: {', '.join(kind.model_fields)}."
        )
    field = kind.model_fields.get(name)
    if field is None:
        return f"A configuration must be a mapping of fields; got {got!r}. Pass a dict of them."
    wanted, todo = _wanted(field)
    return f"{where} must be {wanted}; got {got!r}. {todo}"


def _wanted(field: FieldInfo) -> tuple[str, str]:
    """Say what a field takes, and what to do about anything else."""
    kind = field.annotation
    if get_args(kind)[1:] == (tuple[str, str],):
        names = ", ".join(get_args(get_args(kind)[0]))
        return f"one of {names}, or two times", "Write for example standard."
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}", "Choose one of them."
    kinds = [kind, *(get_args(each)[0] for each in get_args(kind) if get_origin(each) is Annotated)]
    for each in kinds:
        if isinstance(each, type) and issubclass(each, Section):
            return f"a {each.__name__} or a mapping of its fields", "Pass one, or leave it out."
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{words[name]} {getattr(mark, name):g}"
        for mark in field.metadata
        for name in words
        if getattr(mark, name, None) is not None
    ]
    if get_origin(kind) is tuple:
        return "a list of whole numbers, at least 1", "Write for example [1, 7]."
    names = {int: "a whole number", float: "a finite number", str: "text"}
    text = names.get(kind, "None or a whole number")  # type: ignore[arg-type]
    wanted = ", ".join([text, *([" and ".join(bounds)] if bounds else [])])
    return wanted, f"The default is {field.default!r}."
