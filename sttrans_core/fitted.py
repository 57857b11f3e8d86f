"""What a run has learned about its data: nodes, scaling, calendar and origin."""

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.config import ExperimentConfig
from sttrans_core.data.windows import Scaler, Split, split_windows
from sttrans_core.model import DataShape, STTrans
from sttrans_core.roads import downstream_pairs
from sttrans_core.runs import RunError, fingerprint
from sttrans_core.schema import check_dataset, check_labels, interval_of, steps_per_day
from sttrans_core.slabs import slabs

__all__ = ["FittedData"]

WEEKS_FOR_WEEKDAYS = 2
PLACE_DEGREES = 1e-4  # about 10 m


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
        steps_per_day: Slots of the time of day.
        fingerprint: Of readings, times and nodes.
        period: First and last time of the training part.
        attrs: The dataset's attributes (units, title, source, ...).
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
        split = split_windows(
            dataset.sizes["time"],
            history_steps=config.data.history_steps,
            horizon_steps=config.data.horizon_steps,
            split=config.data.split,
        )
        # The last training window's horizon overlaps the first validation windows' history, as in
        # the field's protocol; only steps that a training window saw as history are fitted.
        seen = len(split.train) + config.data.history_steps - 1
        times = pd.DatetimeIndex(dataset["time"].values[:seen])
        _check_validation(dataset, config, split)
        fitted = cls(
            nodes=dataset["node"].values.tolist(),
            latitude=dataset["latitude"].values.astype(float).tolist(),
            longitude=dataset["longitude"].values.astype(float).tolist(),
            downstream=_downstream(dataset),
            scaler=Scaler.fit(dataset["target"][:seen]),
            has_weekday=times[-1] - times[0] >= pd.Timedelta(weeks=WEEKS_FOR_WEEKDAYS),
            steps_per_day=steps_per_day(dataset),
            fingerprint=fingerprint(dataset),
            period=(times[0].isoformat(), times[-1].isoformat()),
            attrs=dict(_plain(key, value) for key, value in dataset.attrs.items()),
        )
        return fitted, split

    def build_model(self, config: ExperimentConfig) -> STTrans:
        """Build an untrained model for this data."""
        shape = DataShape(
            latitude=np.array(self.latitude),
            longitude=np.array(self.longitude),
            history_steps=config.data.history_steps,
            horizon_steps=config.data.horizon_steps,
            steps_per_day=self.steps_per_day,
            has_weekday=self.has_weekday,
            downstream=np.array(self.downstream, dtype=np.int64).reshape(-1, 2),
        )
        return STTrans(config.model, shape)

    def check(self, dataset: xr.Dataset) -> None:
        """Refuse a dataset that the run cannot be applied to; `Windows` checks its readings.

        Raises:
            SchemaError: The dataset does not keep the contract.
            RunError: Its nodes, their places, interval or units are not those of the run.
        """
        check_labels(dataset)
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
            expected = _interval_of_attrs(self.attrs) if name == "interval" else self.attrs["units"]
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
            scaler, period = Scaler(**fields["scaler"]), tuple(fields["period"])
            return cls(**{**fields, "scaler": scaler, "period": period})
        except (KeyError, TypeError) as error:
            raise RunError(
                f"data.json must hold what train writes; got a file without it ({error}). "
                "Train again."
            ) from error


def _downstream(dataset: xr.Dataset) -> list[list[int]]:
    """Give the directed pairs of the adjacency, if there is one."""
    if "adjacency" not in dataset:
        return []
    return downstream_pairs(dataset["adjacency"].values).tolist()


def _interval_of_attrs(attrs: dict[str, Any]) -> pd.Timedelta:
    """Give the interval that attributes state."""
    return interval_of(xr.Dataset(attrs=attrs))


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
