"""What the page shows, computed from what is selected: dataset, forecast, alignment, scores.

Nothing here knows a widget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from explorer.area import evenly, places_of
from explorer.opened import fit_baseline, open_dataset, open_forecaster, open_zones
from explorer.request import Request
from sttrans_core import Forecaster, hit_rate
from sttrans_core.baselines import HistoricalAverage, LastObserved
from sttrans_core.data.splits import Split, split_dataset
from sttrans_core.evaluation.robustness import corrupt
from sttrans_core.fitted import lags_of
from sttrans_core.origins import spread_origins
from sttrans_core.truth.hits import HitRate
from stviz.labels import name_nodes

__all__ = ["Evidence", "default_node", "load_evidence", "sample_test_part"]

# Beyond this many kept sources over all places, only the selected place is aligned.
SOURCES_AT_ONCE = 40_000
SAMPLED = 96  # moments of the test part: a few seconds' work
MOST_SOURCES = 4_000  # of a place, for dense attention while one waits


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A forecast and what it is based on.

    Args:
        request: What is shown: step and switches are in the range of dataset and run.
        dataset: The readings.
        zones: Polygons of the places by id, where they are zones; else None.
        forecaster: The model; None where no run was chosen.
        forecast: Of every place at one origin, with the switches as they are.
        as_trained: The same without any switch.
        alignment: Of every place, or of the selected one; None where the model has none.
        baselines: Simple forecasts of the same origin by name, over (time, horizon, node).
        hits: On simulated data, whether the alignments of this origin hold the true causes.
        part: `training`, `validation` or `test`: what the model knows of this moment; `unseen`
            where it was trained on other data, of another period.
        asked: The request before that; None where it fitted.
    """

    request: Request
    dataset: xr.Dataset
    zones: pd.DataFrame | None = None
    forecaster: Forecaster | None = None
    forecast: xr.Dataset | None = None
    as_trained: xr.Dataset | None = None
    alignment: xr.Dataset | None = None
    baselines: Mapping[str, xr.DataArray] = field(default_factory=dict)
    hits: HitRate | None = None
    part: str = ""
    asked: Request | None = None

    def answers(self, request: Request) -> bool:
        """Say whether this is what a request asks for; a place that is there needs no other."""
        if self.alignment is None or self.has_alignment(self.targets(request)):
            request = request.at(self.request.node, self.request.area)
        return request in (self.request, self.asked)

    def targets(self, request: Request) -> list[str]:
        """List the places whose alignment a request asks for."""
        return evenly(places_of(self.dataset, request.area, self.zones)) or [request.node]

    @property
    def trained_topk(self) -> int:
        """Sources that the model keeps per query as it was trained; 0 without an alignment."""
        if self.forecaster is None or not self.forecaster.has_alignment:
            return 0
        selection = self.forecaster.model.selection
        history = self.forecaster.config.data.history_steps
        sources = history * (self.dataset.sizes["node"] - 1)
        return min(selection.topk or sources, sources)

    @property
    def num_sources(self) -> int:
        """Sources that dense attention would take; 0 where that is too many, or none there."""
        if self.forecaster is None or not self.forecaster.has_alignment:
            return 0
        sources = self.forecaster.config.data.history_steps * (self.dataset.sizes["node"] - 1)
        is_exact = self.forecaster.model.selection.screening == "exact"
        return sources if is_exact and sources <= MOST_SOURCES else 0

    @property
    def first_step(self) -> int:
        """The first step with a whole history behind it."""
        return 0 if self.forecaster is None else self.forecaster.config.data.history_steps - 1

    @property
    def first_seen(self) -> int:
        """The first step that the forecast can look back at, earlier days included."""
        if self.forecaster is None or self.request.step is None:
            return 0
        config = self.forecaster.config
        lags = [step for lag in lags_of(self.dataset, config) for step in lag]
        return max(0, self.request.step - max([0, *lags]) - config.data.history_steps)

    @property
    def num_segments(self) -> int:
        """Blocks of horizon steps that have an alignment of their own."""
        if self.forecaster is None or not self.forecaster.has_alignment:
            return 1
        return self.forecaster.config.model.num_segments

    @property
    def num_heads(self) -> int:
        """Attention heads; 0 without an alignment."""
        return 0 if self.alignment is None else self.alignment.sizes["head"]

    def last_step(self, segment: int) -> int:
        """Give the last horizon step of a segment, from 1."""
        return self.forecast.sizes["horizon"] // self.num_segments * segment

    def name_of(self, nodes: Sequence[str]) -> str:
        """Give the name of a place beside its id, where it has one; the number of several."""
        if self.zones is None or len(nodes) > 1:
            return name_nodes(nodes)
        return f"{self.zones.loc[nodes[0], 'zone']} ({nodes[0]})"

    def has_alignment(self, nodes: Sequence[str]) -> bool:
        """Say whether the alignment holds all of some places."""
        if self.alignment is None:
            return False
        return bool(np.isin(list(nodes), self.alignment["query_node"].values).all())


def load_evidence(request: Request, previous: Evidence | None = None) -> Evidence:
    """Compute what a request asks for, taking over what has not changed.

    Args:
        request: What is selected.
        previous: The evidence shown before.

    Returns:
        The evidence; without a run only the readings.

    Raises:
        FileNotFoundError: The dataset is not on this machine.
        ValueError: The dataset or run cannot be read, or they do not fit each other.
    """
    dataset = open_dataset(request.dataset)
    forecaster = open_forecaster(request)
    asked, request = request, _fit(request, dataset, forecaster)
    if forecaster is None:
        zones = open_zones(request.dataset)
        return Evidence(request=request, asked=asked, dataset=dataset, zones=zones)
    time = dataset["time"].values[request.step]
    same = previous is not None and previous.forecaster is forecaster
    if same and previous.dataset is dataset and previous.request.step == request.step:
        as_trained, baselines = previous.as_trained, previous.baselines
    else:
        as_trained = forecaster.forecast(dataset, [time])
        baselines = _baselines(request.dataset, forecaster, as_trained, np.array([request.step]))
    forecast, seen = as_trained, dataset
    if request.is_switched:
        seen = _damage(dataset, forecaster, request) if request.damage else dataset
        forecast = forecaster.forecast(seen, [time], **_switches(request, forecaster))
        forecast["target"] = as_trained["target"]  # damages are of what is seen, not of the truth
    alignment, hits = None, None
    if forecaster.has_alignment:
        alignment = _align(forecaster, seen, time, request)
        if dataset.attrs["synthetic"] and alignment.sizes["query_node"] == dataset.sizes["node"]:
            hits = hit_rate(alignment, dataset, congested_only=False)
    return Evidence(
        request=request,
        dataset=dataset,
        zones=open_zones(request.dataset),
        forecaster=forecaster,
        forecast=forecast,
        as_trained=as_trained,
        alignment=alignment,
        baselines=baselines,
        hits=hits,
        part=_part(forecaster, dataset, request),
        asked=asked,
    )


def _fit(request: Request, dataset: xr.Dataset, forecaster: Forecaster | None) -> Request:
    """Move step and switches of a request into the range of the dataset and the run."""
    history = 12 if forecaster is None else forecaster.config.data.history_steps
    last = dataset.sizes["time"] - 1
    step = _default_step(dataset) if request.step is None else request.step
    step = min(max(step, min(history - 1, last)), last)
    fitting = Evidence(request=request, dataset=dataset, forecaster=forecaster)
    topk, trained = request.topk, fitting.trained_topk
    if topk is not None and topk >= trained:
        most = fitting.num_sources
        topk = most if topk > trained and trained < most else None
    has_alignment = trained > 0
    num_heads = forecaster.config.model.num_heads if forecaster and has_alignment else 0
    return replace(
        request,
        step=step,
        topk=topk,
        window=request.window or not has_alignment,
        silent_heads=tuple(head for head in request.silent_heads if head < num_heads),
        hidden=tuple(node for node in request.hidden if node in dataset["node"].values),
        withheld=tuple(sorted({step for step in request.withheld if step < history})),
    )


def _switches(request: Request, forecaster: Forecaster) -> dict[str, Any]:
    """Give the switches of a request as forecasts and alignments take them."""
    history = forecaster.config.data.history_steps
    return {
        "topk": request.topk,
        "window": request.window,
        "silent_heads": request.silent_heads,
        "mask_nodes": request.hidden,
        "mask_steps": [history - 1 - step for step in request.withheld],
    }


def _damage(dataset: xr.Dataset, forecaster: Forecaster, request: Request) -> xr.Dataset:
    """Give the readings that a forecast can look back at, damaged as the evaluation does it."""
    history = forecaster.config.data.history_steps
    first = Evidence(request=request, dataset=dataset, forecaster=forecaster).first_seen
    part = dataset.isel(time=slice(first, request.step + 1)).compute()
    return corrupt(part, request.damage, std=forecaster.data.scaler.std, block_steps=history)


def _default_step(dataset: xr.Dataset) -> int:
    """Choose a moment worth looking at: in the last fifth, where places differ most."""
    readings = dataset["target"].values
    first, last = int(0.8 * len(readings)) + 12, len(readings) - 13
    if first >= last:
        return len(readings) - 1
    spread = pd.DataFrame(readings[first:last]).std(axis=1)
    return first + int(np.nan_to_num(spread.to_numpy()).argmax())


def default_node(evidence: Evidence) -> str:
    """Choose a place worth looking at: the one farthest from its usual reading."""
    readings = evidence.dataset["target"]
    now = readings.values[evidence.request.step]
    usual = readings.median("time").values
    return str(readings["node"].values[np.nan_to_num(np.abs(now - usual)).argmax()])


def _align(
    forecaster: Forecaster, dataset: xr.Dataset, time: np.datetime64, request: Request
) -> xr.Dataset:
    kept = (
        request.topk
        or Evidence(request=request, dataset=dataset, forecaster=forecaster).trained_topk
    )
    at_once = kept * dataset.sizes["node"] <= SOURCES_AT_ONCE
    wanted = evenly(places_of(dataset, request.area, open_zones(request.dataset)))
    wanted = wanted or [request.node]
    known = wanted[0] in dataset["node"].values
    nodes = None if at_once or not known else wanted
    return forecaster.align(dataset, time, nodes, **_switches(request, forecaster))


def _baselines(
    name: str, forecaster: Forecaster, forecast: xr.Dataset, steps: np.ndarray
) -> dict[str, xr.DataArray]:
    """Forecast the same origins by the last observed reading and by the historical average.

    The average is that of the run's own training part: there is none of other data.
    """
    dataset, kinds, num_train_steps = open_dataset(name), [LastObserved], 1
    if forecaster.config.data.dataset == name:
        parts = _parts(forecaster, dataset)
        num_train_steps = len(parts.train) + forecaster.config.data.history_steps - 1
        kinds.append(HistoricalAverage)
    found = {}
    for kind in kinds:
        fitted = fit_baseline(kind, name, num_train_steps)
        values = fitted.predict(steps, horizon_steps=forecast.sizes["horizon"])
        found[kind.label] = forecast["forecast"].copy(data=values.astype(np.float32))
    return found


def _parts(forecaster: Forecaster, dataset: xr.Dataset) -> Split:
    data = forecaster.config.data
    return split_dataset(
        dataset,
        history_steps=data.history_steps,
        horizon_steps=data.horizon_steps,
        split=data.split,
    )


def _part(forecaster: Forecaster, dataset: xr.Dataset, request: Request) -> str:
    """Name the part of the data that an origin lies in, as the model was trained."""
    if forecaster.config.data.dataset != request.dataset:
        first, last = map(pd.Timestamp, forecaster.data.period)
        is_seen = first <= pd.Timestamp(dataset["time"].values[request.step]) <= last
        return "training" if is_seen else "unseen"
    step = request.step
    parts = _parts(forecaster, dataset)
    start = step - forecaster.config.data.history_steps + 1
    if start < parts.train.stop:
        return "training"
    return "validation" if start < parts.validation.stop else "test"


def sample_test_part(
    name: str, forecaster: Forecaster
) -> tuple[xr.Dataset, dict[str, xr.DataArray]]:
    """Forecast moments all over the test part, to see when and where a run errs.

    Args:
        name: The dataset.
        forecaster: The model; nothing is switched.

    Returns:
        The forecast of at most `SAMPLED` moments, and baselines of the same.
    """
    dataset = open_dataset(name)
    times = spread_origins(dataset, forecaster.config.data, num_origins=SAMPLED)
    forecast = forecaster.forecast(dataset, times)
    if "corridor" in dataset.coords:
        forecast = forecast.assign_coords(corridor=dataset["corridor"])
    steps = np.searchsorted(dataset["time"].values, times)
    return forecast, _baselines(name, forecaster, forecast, steps)
