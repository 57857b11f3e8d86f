"""A trained model ready to use: labelled data in, labelled forecasts and alignments out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from sttrans_core.alignment import Selection
from sttrans_core.config import ExperimentConfig, ModelConfig
from sttrans_core.data.windows import Batch, Windows
from sttrans_core.devices import pick_device
from sttrans_core.fitted import FittedData, lags_of
from sttrans_core.grid import as_grid, as_nodes, is_grid
from sttrans_core.labels import label_alignment, label_forecast
from sttrans_core.model.sttrans import STTrans, forecast_of
from sttrans_core.origins import find_origins
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.scores import read_scores
from sttrans_core.slabs import slabs
from sttrans_core.space.relation import direction_names
from sttrans_core.switches import hide, whole_topk

__all__ = ["Forecaster", "load_run", "windows_at_once"]


class Forecaster:
    """A trained model with what it needs to read a dataset and to label what it says.

    Args:
        model: The trained model.
        config: Its configuration.
        data: Nodes, scaling and origin of the training data.
        bands: Half-widths of the prediction bands, (horizon, node, channel), in original units; NaN
            bands where they are None (a run that was stopped early).
        run_dir: Folder of the run.
        device: Where it runs; `auto` takes CUDA where present.

    Raises:
        ValueError: The device is not there.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        config: ExperimentConfig,
        data: FittedData,
        bands: Tensor | None,
        run_dir: Path | None = None,
        device: str = "auto",
    ) -> None:
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.config, self.data, self.bands, self.run_dir = config, data, bands, run_dir

    @property
    def has_alignment(self) -> bool:
        """Whether the model looks at other places by an alignment."""
        model = self.config.model
        return isinstance(model, ModelConfig) and model.sources != "own"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the training, as in `history.jsonl`."""
        return RunFolder(self.run_dir).history() if self.run_dir else []

    @property
    def scores(self) -> xr.Dataset | None:
        """The test scores beside the baselines, if the run was evaluated."""
        if not self.run_dir:
            return None
        steps = self.config.data.horizon_steps
        return read_scores(self.run_dir, self.data.attrs, horizon_steps=steps)

    def windows(self, dataset: xr.Dataset) -> Windows:
        """Give the windows of a dataset, scaled as in training.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.

        Raises:
            RunError: The dataset does not fit the run.
            ValueError: The series is shorter than one history.
        """
        dataset = as_nodes(dataset)
        self.data.check(dataset)
        return self.data.windows(dataset, self.config, device=self.device)

    def batch(self, dataset: xr.Dataset, times: Sequence[Any] | np.ndarray | None = None) -> Batch:
        """Give the windows of some forecast origins; see `forecast`."""
        windows, starts, _ = self._cut(dataset, times)
        return windows.batch(starts)

    @torch.no_grad()
    def predict(
        self,
        batch: Batch,
        *,
        query_nodes: Int[Tensor, " query"] | None = None,
        selection: Selection | None = None,
    ) -> Float[Tensor, "batch horizon query channel"]:
        """Forecast a batch of windows in original units.

        Args:
            batch: Windows.
            query_nodes: Nodes to forecast; all where it is None.
            selection: Another selection of sources than the trained one; see `selection`.
        """
        forecast = forecast_of(self.model, batch, query_nodes=query_nodes, selection=selection)
        return self.data.in_units(forecast.float())

    def forecast(
        self,
        dataset: xr.Dataset,
        times: Sequence[Any] | np.ndarray | None = None,
        *,
        topk: int | None = None,
        window: bool = True,
        silent_heads: Sequence[int] = (),
        mask_nodes: Sequence[str] = (),
        mask_steps: Sequence[int] = (),
    ) -> xr.Dataset:
        """Forecast from one or more origins.

        The options are inference-time switches: they change what one set of weights may look at,
        not the weights, and the band stays the one of the model as trained.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.
            times: Forecast origins, the last observed step of each history; the last step of the
                dataset where it is None.
            topk: Sources to keep, at least 1; as trained where it is None.
            window: Whether sources in the local window are candidates.
            silent_heads: Attention heads whose sources have no say.
            mask_nodes: Ids of places whose readings are hidden from the model.
            mask_steps: History steps (0 = oldest) whose readings are hidden.

        Returns:
            `forecast`, `lower`, `upper` (the prediction band) and `target` (NaN where unknown)
            over (time, horizon, node), in original units.

        Raises:
            RunError: The dataset does not fit the run, or a switch needs an alignment that the run
                does not have.
            ValueError: A time is not in the dataset, has a time zone or no whole history before it,
                or there is none; a node, step, head or `topk` is out of range.
        """
        hidden = self.indices(mask_nodes) if len(mask_nodes) else []
        selection = None
        if topk is not None or not window or len(silent_heads):
            selection = self.selection(
                topk=whole_topk(topk), window=window, silent_heads=silent_heads
            )
        grid, dataset = dataset, as_nodes(dataset)
        windows, starts, last_steps = self._cut(dataset, times)
        size = windows_at_once(len(self.data.nodes))
        values = []
        for first in range(0, len(starts), size):
            batch = hide(windows.batch(starts[first : first + size]), hidden, list(mask_steps))
            values.append(self.predict(batch, selection=selection).cpu().numpy())
        forecast = label_forecast(
            np.concatenate(values),
            dataset,
            last_steps=last_steps,
            bands=None if self.bands is None else self.bands.numpy(),
            config=self.config,
        )
        return as_grid(forecast, like=grid) if is_grid(grid) else forecast

    @torch.no_grad()
    def align(
        self,
        dataset: xr.Dataset,
        time: Any,
        nodes: Sequence[str] | None = None,
        *,
        topk: int | None = None,
        window: bool = True,
        silent_heads: Sequence[int] = (),
        mask_nodes: Sequence[str] = (),
        mask_steps: Sequence[int] = (),
        layer: int = -1,
    ) -> xr.Dataset:
        """Say which (place, time step) pairs a forecast looks at, and how strongly.

        The options are inference-time switches: they change what one set of weights
        may look at, not the weights.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.
            time: Forecast origin, the last observed step of the history.
            nodes: Ids of the places whose forecast is explained; all where it is None.
            topk: Sources to keep, at least 1; as trained where it is None.
            window: Whether sources in the local window are candidates.
            silent_heads: Heads whose sources have no say, which shifts what later layers look at.
            mask_nodes: Ids of places whose readings are hidden from the model.
            mask_steps: History steps (0 = oldest) whose readings are hidden.
            layer: Decoder layer, 0 for the first, -1 for the last.

        Returns:
            The sources of each (query node, segment), ordered by mean weight, with their weights
            per head, coordinates, direction from the target (downstream or upstream along a road,
            else the compass point), times and readings, and the share of dense attention they
            cover; for a run with `model.alignment_loss` also `aligned_forecast`, what the sources
            of the last layer forecast by themselves, in original units.

        Raises:
            RunError: The dataset does not fit the run, or the run has no alignment.
            ValueError: A time, node, `topk` or `layer` is out of range, `topk` is no whole number,
                or there is no node.
        """
        model, settings = self.aligned()
        dataset = as_nodes(dataset)
        layers = settings.num_decoder_layers
        if not -layers <= layer < layers:
            raise ValueError(
                f"layer must be between 0 and {layers - 1}, or -1 for the last; got {layer}. "
                "Choose one of the run's decoder layers."
            )
        query = self.indices(nodes if nodes is not None else self.data.nodes)
        hidden = self.indices(mask_nodes) if len(mask_nodes) else []
        windows, starts, last_steps = self._cut(dataset, [time])
        batch = hide(windows.batch(starts), hidden, list(mask_steps))
        selection = self.selection(topk=whole_topk(topk), window=window, silent_heads=silent_heads)
        output = model(
            batch,
            query_nodes=torch.tensor(query, device=self.device),
            selection=selection,
            need_alignment=True,
        )
        alignment = output.alignments[layer]
        aligned = output.aligned if layer in {-1, layers - 1} else None  # of the last layer
        targets = torch.tensor(query, device=self.device)[:, None, None]
        geometry = model.geometry
        relations = geometry.relations(targets, alignment.node[0])
        return label_alignment(
            alignment,
            dataset,
            aligned=aligned if aligned is None else self.data.in_units(aligned[0].float()),
            query=np.array(query),
            direction=direction_names(geometry.classes[relations]),
            last_step=int(last_steps[0]),
            config=self.config,
            selection=selection,
            layer=layer % layers,
        )

    def aligned(self) -> tuple[STTrans, ModelConfig]:
        """Give the model and its settings, where it looks at other places.

        Raises:
            RunError: It does not: it is a baseline, or sees its own history only.
        """
        if not self.has_alignment:
            raise RunError(
                "An alignment needs an ST-Trans with cross-attention; got the run of "
                f"{self.config.variant_name!r}, which has none. Choose another run."
            )
        return cast("STTrans", self.model), cast("ModelConfig", self.config.model)

    def selection(
        self, *, topk: int | None = None, window: bool = True, silent_heads: Sequence[int] = ()
    ) -> Selection:
        """Give the trained selection of sources with inference-time switches applied.

        Raises:
            RunError: The run has no alignment.
            ValueError: There is no such head.
        """
        model, settings = self.aligned()
        trained = model.selection
        for head in silent_heads:
            if not 0 <= head < settings.num_heads:
                raise ValueError(
                    f"silent_heads must be between 0 and {settings.num_heads - 1}; got {head}. "
                    "Choose some of the run's heads."
                )
        return replace(
            trained,
            topk=trained.topk if topk is None else topk,
            window=trained.window if window else "none",
            silent_heads=tuple(silent_heads),
        )

    def indices(self, nodes: Sequence[str]) -> list[int]:
        """Give the positions of places in the model's order.

        Args:
            nodes: Ids, at least one.

        Raises:
            ValueError: An id is unknown, there is none, or the ids are one text.
        """
        if isinstance(nodes, str):
            raise ValueError(
                f"Nodes must be a list of ids; got the text {nodes!r}. Write [{nodes!r}]."
            )
        known = {node: index for index, node in enumerate(self.data.nodes)}
        unknown = [node for node in nodes if node not in known]
        if unknown or not len(nodes):
            raise ValueError(
                f"Nodes must be ids of the run; got {repr(unknown[0]) if unknown else 'none'}. "
                f"Its ids look like {', '.join(self.data.nodes[:3])}."
            )
        return [known[node] for node in nodes]

    def _cut(
        self, dataset: xr.Dataset, times: Sequence[Any] | np.ndarray | None
    ) -> tuple[Windows, list[int], np.ndarray]:
        """Give windows over the part of a series that some origins need.

        Scaling a whole series would cost more than one forecast does.

        Returns:
            The windows, the starts of the origins' histories in them, and the step of each origin
            in the whole series.
        """
        dataset = as_nodes(dataset)
        self.data.check(dataset)
        data = self.config.data
        last_steps = find_origins(dataset, times, history_steps=data.history_steps)
        starts = last_steps - data.history_steps + 1
        # One step more, because a dataset has at least two.
        furthest = max([1, *(max(lag) for lag in lags_of(dataset, self.config))])
        first = max(0, int(starts.min()) - furthest)
        part = dataset.isel(time=slice(first, int(last_steps.max()) + 1 + data.horizon_steps))
        # Which a dataset must not be.
        if not any(np.isfinite(slab).any() for slab in slabs(part["target"])):
            first, part = 0, dataset
        windows = self.data.windows(part, self.config, device=self.device)
        return windows, (starts - first).tolist(), last_steps


def windows_at_once(num_nodes: int) -> int:
    """Say how many windows to forecast together, fewer where there are thousands of places.

    Args:
        num_nodes: Places.

    Returns:
        1 to 64 windows.
    """
    return max(1, min(64, (1 << 17) // num_nodes))


def load_run(path: str | os.PathLike[str], *, device: str = "auto") -> Forecaster:
    """Load a trained model from its run folder.

    Args:
        path: A folder made by `train`.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        The forecaster.

    Raises:
        RunError: The folder is incomplete, or its weights do not fit its configuration.
        ValueError: The device is not there.
        ConfigError: Its configuration has unknown or invalid fields.
    """
    folder = RunFolder(path)
    config = folder.config()
    data = FittedData.from_fields(folder.read_json("data.json"))
    folder.check_weights("model.safetensors")
    tensors = folder.load_tensors("model.safetensors")
    bands = tensors.pop("bands", None)
    bands = None if bands is None else bands.float()  # 16 bits in a packed run
    model = data.build_model(config)
    state = {key.removeprefix("model."): value for key, value in tensors.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise RunError(
            f"The weights must fit config.json of the run; got other shapes in {folder.path} "
            f"({str(error).splitlines()[1].strip()}). Restore the files of one run, or train again."
        ) from error
    return Forecaster(
        model=model, config=config, data=data, bands=bands, run_dir=folder.path, device=device
    )
