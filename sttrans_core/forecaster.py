"""A trained model ready to use: labelled data in, labelled forecasts and alignments out."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from sttrans_core.alignment import Alignment, Selection
from sttrans_core.config import ExperimentConfig
from sttrans_core.data.windows import Batch, Windows
from sttrans_core.fitted import FittedData
from sttrans_core.labels import label_alignment, label_forecast
from sttrans_core.model import STTrans
from sttrans_core.runs import RunError, RunFolder
from sttrans_core.scores import read_scores

__all__ = ["Forecaster", "hide", "load_run"]

FORECAST_BATCH = 64


class Forecaster:
    """A trained model with what it needs to read a dataset and to label what it says.

    Args:
        model: The trained model.
        config: Its configuration.
        data: Nodes, scaling and origin of the training data.
        bands: Half-widths of the prediction bands, (horizon, node), in original units; NaN bands
            where they are None (a run that was stopped early).
        run_dir: Folder of the run.
        device: Where it runs; `auto` takes CUDA where present.
    """

    def __init__(
        self,
        *,
        model: STTrans,
        config: ExperimentConfig,
        data: FittedData,
        bands: Tensor | None,
        run_dir: Path | None = None,
        device: str = "auto",
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.config, self.data, self.bands, self.run_dir = config, data, bands, run_dir

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the training, as in `history.jsonl`."""
        return RunFolder(self.run_dir).history() if self.run_dir else []

    @property
    def scores(self) -> xr.Dataset | None:
        """The test scores beside the baselines, if the run was evaluated."""
        return read_scores(self.run_dir, self.data.attrs) if self.run_dir else None

    def windows(self, dataset: xr.Dataset) -> Windows:
        """Give the windows of a dataset, scaled as in training.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.

        Raises:
            RunError: The dataset does not fit the run.
            ValueError: The series is shorter than one history.
        """
        self.data.check(dataset)
        return Windows(
            dataset,
            history_steps=self.config.data.history_steps,
            horizon_steps=self.config.data.horizon_steps,
            scaler=self.data.scaler,
            device=self.device,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Forecast a batch of windows in original units, (batch, horizon, node)."""
        forecast, _ = self.model(batch)
        return self.data.scaler.inverse(forecast.float())

    def forecast(
        self, dataset: xr.Dataset, times: Sequence[Any] | np.ndarray | None = None
    ) -> xr.Dataset:
        """Forecast from one or more origins.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.
            times: Forecast origins, the last observed step of each history; the last step of the
                dataset where it is None.

        Returns:
            `forecast`, `lower`, `upper` (the prediction band) and `target` (NaN where unknown)
            over (time, horizon, node), in original units.

        Raises:
            RunError: The dataset does not fit the run.
            ValueError: A time is not in the dataset or has no whole history before it.
        """
        windows = self.windows(dataset)
        origins = self._origins(windows, times)
        values = [
            self.predict(windows.batch(origins[first : first + FORECAST_BATCH])).cpu().numpy()
            for first in range(0, len(origins), FORECAST_BATCH)
        ]
        return label_forecast(
            np.concatenate(values),
            dataset,
            last_steps=np.array(origins) + windows.history_steps - 1,
            bands=None if self.bands is None else self.bands.numpy(),
            config=self.config,
        )

    @torch.no_grad()
    def align(
        self,
        dataset: xr.Dataset,
        time: Any,
        nodes: Sequence[str] | None = None,
        *,
        topk: int | None = None,
        window: bool = True,
        dense: bool = False,
        mask_nodes: Sequence[str] = (),
        mask_steps: Sequence[int] = (),
        layer: int = -1,
    ) -> xr.Dataset:
        """Say which (place, time step) pairs a forecast looks at, and how strongly.

        The last five arguments are inference-time switches: they change what one set of weights
        may look at, not the weights.

        Args:
            dataset: A labelled dataset with the run's nodes, interval and units.
            time: Forecast origin, the last observed step of the history.
            nodes: Ids of the places whose forecast is explained; all where it is None.
            topk: Sources to keep; as trained where it is None.
            window: Whether the local window belongs to the candidates.
            dense: Make every source a candidate.
            mask_nodes: Ids of places whose readings are hidden from the model.
            mask_steps: History steps (0 = oldest) whose readings are hidden.
            layer: Decoder layer, -1 for the last.

        Returns:
            The sources of each (query node, segment), ordered by mean weight, with their weights
            per head, coordinates, times and readings, and the share of dense attention they cover.

        Raises:
            RunError: The dataset does not fit the run, or the run has no alignment.
            ValueError: A time, node or `topk` is out of range.
        """
        if self.config.model.sources == "own":
            raise RunError(
                "An alignment needs a model with cross-attention; got the variant "
                f"{self.config.variant_name!r}, which sees its own history only. "
                "Choose another run."
            )
        windows = self.windows(dataset)
        batch = windows.batch(self._origins(windows, [time]))
        batch = hide(batch, self._indices(mask_nodes), list(mask_steps))
        query = self._indices(nodes) if nodes is not None else list(range(len(self.data.nodes)))
        selection = self.selection(topk=topk, window=window, dense=dense)
        parts = [
            self._align(batch, query[first : first + FORECAST_BATCH], selection, layer)
            for first in range(0, len(query), FORECAST_BATCH)
        ]
        alignment = Alignment(
            **{
                name: torch.cat([getattr(part, name) for part in parts], dim=1).cpu()
                for name in Alignment.__dataclass_fields__
            }
        )
        return label_alignment(
            alignment,
            dataset,
            query=np.array(query),
            last_step=windows.times.get_loc(pd.Timestamp(time)),
            config=self.config,
            selection=selection,
            layer=layer % self.config.model.num_decoder_layers,
        )

    def _align(self, batch: Batch, query: list[int], selection: Selection, layer: int) -> Alignment:
        nodes = torch.tensor(query, device=self.device)
        _, alignments = self.model(
            batch, query_nodes=nodes, selection=selection, need_alignment=True
        )
        return alignments[layer]

    def selection(
        self, *, topk: int | None = None, window: bool = True, dense: bool = False
    ) -> Selection:
        """Give the trained selection of sources with inference-time switches applied."""
        trained = self.model.selection
        lost = 0 if window else trained.window_nodes
        return replace(
            trained,
            topk=trained.topk if topk is None else topk,
            dense=dense or trained.dense,
            window_nodes=trained.window_nodes - lost,
            screened_nodes=trained.screened_nodes + lost,
        )

    def _indices(self, nodes: Sequence[str]) -> list[int]:
        known = {node: index for index, node in enumerate(self.data.nodes)}
        unknown = [node for node in nodes if node not in known]
        if unknown:
            raise ValueError(
                f"Nodes must be ids of the run; got {unknown[0]!r}. "
                f"Its ids look like {', '.join(self.data.nodes[:3])}."
            )
        return [known[node] for node in nodes]

    def _origins(self, windows: Windows, times: Sequence[Any] | np.ndarray | None) -> list[int]:
        """Turn forecast origins into the start steps of their histories."""
        if times is None:
            times = [windows.times[-1]]
        stamps = pd.DatetimeIndex(np.atleast_1d(np.asarray(times, dtype="datetime64[ns]")))
        last = windows.times.get_indexer(stamps)
        first = last - windows.history_steps + 1
        bad = np.flatnonzero((last < 0) | (first < 0))
        if bad.size:
            earliest = windows.times[windows.history_steps - 1]
            raise ValueError(
                f"A forecast origin must be a time of the dataset with {windows.history_steps} "
                f"steps of history, {earliest} to {windows.times[-1]}; got {stamps[bad[0]]}. "
                "Choose a time in that range."
            )
        return first.tolist()


def hide(batch: Batch, nodes: Sequence[int], steps: Sequence[int]) -> Batch:
    """Hide readings from the model, as if they had not been observed.

    Args:
        batch: Windows.
        nodes: Node indices to hide at every step.
        steps: History steps to hide at every node.

    Returns:
        The changed windows; the given ones are untouched.

    Raises:
        ValueError: A step is outside the history.
    """
    history = batch.observed.shape[1]
    bad = [step for step in steps if not 0 <= step < history]
    if bad:
        raise ValueError(
            f"mask_steps must be between 0 and {history - 1}; got {bad[0]}. "
            "Count steps from the oldest of the history."
        )
    observed, values = batch.observed.clone(), batch.values.clone()
    observed[:, :, list(nodes)] = False
    observed[:, list(steps)] = False
    return batch._replace(observed=observed, values=values * observed.unsqueeze(-1))


def load_run(path: str | os.PathLike[str], *, device: str = "auto") -> Forecaster:
    """Load a trained model from its run folder.

    Args:
        path: A folder made by `train`.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        The forecaster.

    Raises:
        RunError: The folder is incomplete, or its weights do not fit its configuration.
        ConfigError: Its configuration has unknown or invalid fields.
    """
    folder = RunFolder(path)
    config = folder.config()
    data = FittedData.from_fields(folder.read_json("data.json"))
    tensors = folder.load_tensors("model.safetensors")
    bands = tensors.pop("bands", None)
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
