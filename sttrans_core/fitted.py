"""What a run has learned about its data: nodes, scaling, calendar and origin."""

import datetime as dt
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from sttrans_core.baselines import build_baseline
from sttrans_core.baselines.climatology import covers_seasons, covers_weeks
from sttrans_core.config import BaselineConfig, ExperimentConfig
from sttrans_core.data.graph import adjacency_from_locations
from sttrans_core.data.splits import Split, split_dataset
from sttrans_core.data.windows import Scaler, Windows
from sttrans_core.grid import as_nodes, is_grid
from sttrans_core.model.sttrans import DataShape, STTrans
from sttrans_core.runs import RunError, fingerprint
from sttrans_core.schema import check_dataset, check_labels, interval_of, steps_per_day
from sttrans_core.slabs import slabs
from sttrans_core.space.roads import downstream_pairs

__all__ = ["FittedData", "graph_of", "lags_of"]

PLACE_DEGREES = 1e-4  # about 10 m
_TUPLES = ("period", "channels", "covariates")


@dataclass(frozen=True, kw_only=True)
class FittedData:
    """The data side of a run, kept as `data.json`.

    Args:
        nodes: Node ids in the model's order.
        latitude: Degrees, one per node.
        longitude: Degrees, one per node.
        downstream: Neighbouring nodes (from, to) in the direction of travel, as indices; empty
            where the dataset has no directed adjacency.
        scaler: Z-score of the training part.
        has_weekday: Whether training covers enough weeks to learn weekdays.
        has_season: Whether it covers enough of a year to know seasons.
        steps_per_day: Slots of the time of day.
        fingerprint: Of readings, times and nodes.
        period: First and last time of the training part.
        attrs: The dataset's attributes (units, title, source, ...).
        channels: Names of what is forecast; empty where the target has no channels.
        covariates: Names of the further readings.
        covariate_scalers: Z-score of each of them.
        is_grid: Whether the nodes are the cells of a grid.
    """

    nodes: list[str]
    latitude: list[float]
    longitude: list[float]
    downstream: list[list[int]]
    scaler: Scaler
    has_weekday: bool
    steps_per_day: int
    fingerprint: str
    period: tuple[str, str]
    attrs: dict[str, Any]
    has_season: bool = False
    channels: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    covariate_scalers: tuple[Scaler, ...] = ()
    is_grid: bool = False

    @classmethod
    def fit(cls, dataset: xr.Dataset, config: ExperimentConfig) -> tuple[Self, Split]:
        """Learn scaling and calendar from the training part of a dataset.

        Args:
            dataset: A labelled dataset.
            config: The experiment.

        Returns:
            The fitted data and the split of its windows.

        Raises:
            SchemaError: The dataset does not keep the contract.
            ValueError: The series is too short for the windows, holds no reading to train or to
                validate on, or has attributes that a file of plain fields cannot hold.
        """
        check_dataset(dataset)
        on_grid, dataset = is_grid(dataset), as_nodes(dataset)
        split = split_dataset(
            dataset,
            history_steps=config.data.history_steps,
            horizon_steps=config.data.horizon_steps,
            split=config.data.split,
        )
        # The last training window's horizon overlaps the first validation windows' history, as in
        # the field's protocol; only steps that a training window saw as history are fitted.
        seen = len(split.train) + config.data.history_steps - 1
        times = pd.DatetimeIndex(dataset["time"].values[:seen])
        _check_validation(dataset, config, split)
        lags_of(dataset, config)
        covariates = dataset["covariates"][:seen] if "covariates" in dataset else None
        fitted = cls(
            nodes=dataset["node"].values.tolist(),
            latitude=dataset["latitude"].values.astype(float).tolist(),
            longitude=dataset["longitude"].values.astype(float).tolist(),
            downstream=_downstream(dataset),
            scaler=Scaler.fit(dataset["target"][:seen]),
            has_weekday=covers_weeks(dataset, seen),
            has_season=covers_seasons(dataset, seen),
            steps_per_day=steps_per_day(dataset),
            fingerprint=fingerprint(dataset),
            period=(times[0].isoformat(), times[-1].isoformat()),
            attrs=dict(_plain(key, value) for key, value in dataset.attrs.items()),
            channels=_names(dataset, "channel"),
            covariates=_names(dataset, "covariate"),
            covariate_scalers=() if covariates is None else _fit_each(covariates),
            is_grid=on_grid,
        )
        return fitted, split

    def build_model(
        self, config: ExperimentConfig, *, dataset: xr.Dataset | None = None
    ) -> nn.Module:
        """Build an untrained model for this data: an `STTrans`, or a baseline in its place.

        Args:
            config: The experiment.
            dataset: The series of nodes, where the model is to be trained: a baseline takes its
                graph from there, ours what is usual. Trained weights hold both.

        Returns:
            The model.
        """
        num_channels, num_nodes = max(1, len(self.channels)), len(self.nodes)
        num_inputs = num_channels + len(self.covariates)
        num_inputs = num_inputs if num_inputs == 1 else 2 * num_inputs
        if isinstance(config.model, BaselineConfig):
            return build_baseline(
                config.model.baseline,
                num_nodes=num_nodes,
                history_steps=config.data.history_steps,
                horizon_steps=config.data.horizon_steps,
                steps_per_day=self.steps_per_day,
                adjacency=np.zeros((num_nodes,) * 2) if dataset is None else graph_of(dataset),
                has_weekday=self.has_weekday,
                num_channels=num_channels,
                num_covariates=num_inputs - num_channels,
            )
        shape = DataShape(
            latitude=np.array(self.latitude),
            longitude=np.array(self.longitude),
            history_steps=config.data.history_steps,
            horizon_steps=config.data.horizon_steps,
            steps_per_day=self.steps_per_day,
            has_weekday=self.has_weekday,
            has_season=self.has_season,
            num_channels=num_channels,
            num_inputs=num_inputs,
            num_lags=config.data.num_lags,
            downstream=np.array(self.downstream, dtype=np.int64).reshape(-1, 2),
        )
        model = STTrans(config.model, shape)
        if dataset is not None:
            num_train_steps = self.num_train_steps(dataset)
            model.anomalies.fit(dataset, self.scaler, num_train_steps=num_train_steps)
        return model

    def num_train_steps(self, dataset: xr.Dataset) -> int:
        """Count the steps of a series that training saw as history.

        Args:
            dataset: The series of the training.

        Returns:
            Steps from its start on.
        """
        times = pd.DatetimeIndex(dataset["time"].values)
        return int(times.searchsorted(pd.Timestamp(self.period[1]))) + 1

    def windows(
        self, dataset: xr.Dataset, config: ExperimentConfig, *, device: torch.device | str
    ) -> Windows:
        """Give the windows of a dataset of nodes, scaled as in training.

        Args:
            dataset: A labelled dataset of nodes with what the run was trained on.
            config: The run's configuration.
            device: Where batches live.

        Returns:
            All its windows.
        """
        return Windows(
            dataset,
            history_steps=config.data.history_steps,
            horizon_steps=config.data.horizon_steps,
            scaler=self.scaler,
            covariate_scalers=self.covariate_scalers,
            lags=lags_of(dataset, config),
            device=device,
        )

    def in_units(self, forecast: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give forecasts in original units, none below what the quantity can be (`valid_min`).

        Args:
            forecast: Z-scores of the model.
        """
        return self.scaler.inverse(forecast).clamp_min(self.attrs.get("valid_min", -math.inf))

    def node_weight(self) -> Float[Tensor, " node"] | None:
        """Give what each cell of a grid counts for: its area, 1 on average; None without a grid."""
        if not self.is_grid:
            return None
        weight = torch.from_numpy(np.cos(np.radians(self.latitude)))
        return (weight / weight.mean()).float()

    def check(self, dataset: xr.Dataset) -> None:
        """Refuse a dataset that the run cannot be applied to; `Windows` checks its readings.

        Raises:
            SchemaError: The dataset does not keep the contract.
            RunError: Its nodes, their places, interval or units are not those of the run.
        """
        check_labels(dataset)
        for name in ("channel", "covariate"):
            given, expected = _names(dataset, name), getattr(self, f"{name}s")
            if given != expected:
                raise RunError(
                    f"The dataset must have the run's {name}s ({', '.join(expected) or 'none'}); "
                    f"got {', '.join(given) or 'none'}. Select or rename them, or train on it."
                )
        self._check_nodes(dataset["node"].values.tolist())
        turn = np.abs(dataset["longitude"].values - self.longitude) % 360
        north = np.abs(dataset["latitude"].values - self.latitude)
        moved = np.flatnonzero(np.maximum(np.minimum(turn, 360 - turn), north) > PLACE_DEGREES)
        if moved.size:
            node = dataset.isel(node=moved[0])
            raise RunError(
                "The dataset must have the run's nodes where they were in training; got "
                f"{self.nodes[moved[0]]!r} at {node['latitude'].item():.4f}, "
                f"{node['longitude'].item():.4f} instead of {self.latitude[moved[0]]:.4f}, "
                f"{self.longitude[moved[0]]:.4f}. Correct the coordinates, or train on it."
            )
        for name, value in (("interval", interval_of(dataset)), ("units", dataset.attrs["units"])):
            trained_on = xr.Dataset(attrs=self.attrs)
            expected = interval_of(trained_on) if name == "interval" else self.attrs["units"]
            if value != expected:
                raise RunError(
                    f"The dataset must have the run's {name} ({expected}); got {value}. "
                    "Resample or convert it, or train on it."
                )

    def _check_nodes(self, nodes: list[str]) -> None:
        if nodes == self.nodes:
            return
        known, given = set(self.nodes), set(nodes)
        odd = next((node for node in nodes if node not in known), None)
        lost = next((node for node in self.nodes if node not in given), None)
        if odd is not None and lost is not None:
            raise RunError(
                f"The dataset must hold the {len(self.nodes)} sensors that the run was trained on, "
                f"such as {self.nodes[0]!r}; got {len(known & given)} of them and others, such as "
                f"{odd!r}. A run knows its own sensors only: train one on this dataset."
            )
        if odd is not None:
            got, todo = f"with {odd!r}", "Select dataset.sel(node=...) or train on it"
        elif lost is not None:
            got, todo = f"without {lost!r}", "Pass the whole dataset and ask for some nodes later"
        else:
            got, todo = "in another order", "Reorder them with dataset.sel(node=...)"
        raise RunError(
            f"The dataset must hold the run's {len(self.nodes)} nodes in the same order; got "
            f"{len(nodes)} nodes {got}. {todo}."
        )

    def to_fields(self) -> dict[str, Any]:
        """Give plain fields for `data.json`."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """Read the fields of `data.json`.

        Raises:
            RunError: A field is missing.
        """
        try:
            read = {"scaler": Scaler(**fields["scaler"])}
            read |= {name: tuple(fields.get(name, ())) for name in _TUPLES}
            scalers = tuple(Scaler(**each) for each in fields.get("covariate_scalers", ()))
            return cls(**{**fields, **read, "covariate_scalers": scalers})
        except (KeyError, TypeError) as error:
            raise RunError(
                f"data.json must hold what train writes; got a file without it ({error}). "
                "Train again."
            ) from error


def graph_of(dataset: xr.Dataset) -> Float[np.ndarray, "node node"]:
    """Give the graph that a baseline works on.

    Args:
        dataset: A labelled dataset of nodes.

    Returns:
        Its adjacency, or one made from the distances between the nodes.
    """
    if "adjacency" in dataset:
        return dataset["adjacency"].values
    return adjacency_from_locations(dataset["latitude"].values, dataset["longitude"].values)


def lags_of(dataset: xr.Dataset, config: ExperimentConfig) -> list[tuple[int, ...]]:
    """Give the steps back to earlier readings.

    Args:
        dataset: A labelled dataset.
        config: The experiment.

    Returns:
        A number of its own for each of `data.lag_days`, then those of `data.usual_weeks` together.

    Raises:
        ValueError: The interval does not divide a day, or a lag is shorter than the horizon.
    """
    if not config.data.num_lags:
        return []
    interval, horizon = interval_of(dataset), config.data.horizon_steps
    if pd.Timedelta("1D") % interval:
        raise ValueError(
            "data.lag_days and data.usual_weeks need an interval that divides a day; got "
            f"{dataset.attrs['interval']}. Leave them out, or resample the series."
        )
    days = [(each,) for each in config.data.lag_days]
    if config.data.usual_weeks:
        days.append(tuple(7 * (1 + week) for week in range(config.data.usual_weeks)))
    nearest, day = min(map(min, days)), steps_per_day(dataset)
    if nearest * day < horizon:
        raise ValueError(
            "data.lag_days must reach back as far as the horizon, or further, since what lies "
            f"between is not known yet; got {nearest} days, {nearest * day} steps, "
            f"with horizon_steps={horizon}. Use a longer lag or a shorter horizon."
        )
    return [tuple(each * day for each in lag) for lag in days]


def _names(dataset: xr.Dataset, dim: str) -> tuple[str, ...]:
    return tuple(dataset[dim].values.tolist()) if dim in dataset.coords else ()


def _fit_each(covariates: xr.DataArray) -> tuple[Scaler, ...]:
    """Fit a scaler to each covariate; one that training never saw is left as it is."""
    scalers = []
    for each in covariates.transpose("covariate", ...):
        observed = any(np.isfinite(slab).any() for slab in slabs(each))
        scalers.append(Scaler.fit(each) if observed else Scaler(mean=0.0, std=1.0))
    return tuple(scalers)


def _downstream(dataset: xr.Dataset) -> list[list[int]]:
    """Give the directed pairs of the adjacency, if there is one."""
    if "adjacency" not in dataset:
        return []
    return downstream_pairs(dataset["adjacency"].values).tolist()


def _check_validation(dataset: xr.Dataset, config: ExperimentConfig, split: Split) -> None:
    """Refuse a series whose validation windows have no target."""
    history, horizon = config.data.history_steps, config.data.horizon_steps
    ahead = slice(split.validation.start + history, split.validation.stop - 1 + history + horizon)
    targets = dataset["target"].isel(time=ahead)
    if not any(np.isfinite(slab).any() for slab in slabs(targets)):
        first, last = (pd.Timestamp(targets["time"].values[i]) for i in (0, -1))
        raise ValueError(
            "The validation part must hold observed readings; got only missing ones from "
            f"{first} to {last}. Use another period or a longer series."
        )


def _plain(key: Any, value: Any) -> tuple[str, Any]:
    """Give an attribute as it comes back from JSON, so that a loaded run equals the trained one."""
    if isinstance(value, np.generic | np.ndarray):
        value = np.datetime_as_string(value) if value.dtype.kind == "M" else value
        value = value.tolist()
    elif isinstance(value, dt.date):  # time stamps of pandas too
        value = value.isoformat()
    try:
        ((name, plain),) = json.loads(json.dumps({key: value})).items()
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Attributes of a dataset must be text, numbers or lists of them; got "
            f"{type(value).__name__} for {key!r}. Convert or drop dataset.attrs[{key!r}]."
        ) from error
    return name, plain
