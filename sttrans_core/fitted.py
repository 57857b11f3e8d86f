"""What a run has learned about its data: nodes, scaling, calendar and origin."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from sttrans_core.config import ExperimentConfig
from sttrans_core.data.windows import Scaler, Split, split_windows
from sttrans_core.model import DataShape, STTrans
from sttrans_core.runs import RunError, fingerprint
from sttrans_core.schema import check_dataset, interval_of, steps_per_day

__all__ = ["FittedData"]

WEEKS_FOR_WEEKDAYS = 2


@dataclass(frozen=True, kw_only=True)
class FittedData:
    """The data side of a run, kept as `data.json`.

    Args:
        nodes: Node ids in the model's order.
        latitude: Degrees, one per node.
        longitude: Degrees, one per node.
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
            ValueError: The series is too short for the windows.
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
        fitted = cls(
            nodes=dataset["node"].values.tolist(),
            latitude=dataset["latitude"].values.astype(float).tolist(),
            longitude=dataset["longitude"].values.astype(float).tolist(),
            scaler=Scaler.fit(dataset["target"].values[:seen]),
            has_weekday=times[-1] - times[0] >= pd.Timedelta(weeks=WEEKS_FOR_WEEKDAYS),
            steps_per_day=steps_per_day(dataset),
            fingerprint=fingerprint(dataset),
            period=(times[0].isoformat(), times[-1].isoformat()),
            attrs={key: _plain(value) for key, value in dataset.attrs.items()},
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
        )
        return STTrans(config.model, shape)

    def check(self, dataset: xr.Dataset) -> None:
        """Refuse a dataset that the run cannot be applied to.

        Raises:
            SchemaError: The dataset does not keep the contract.
            RunError: Its nodes, interval or units are not those of the run.
        """
        check_dataset(dataset)
        nodes = dataset["node"].values.tolist()
        if nodes != self.nodes:
            odd = next((n for n in nodes if n not in set(self.nodes)), "another order")
            raise RunError(
                f"The dataset must hold the run's {len(self.nodes)} nodes in the same order; got "
                f"{len(nodes)} nodes with {odd!r}. Select dataset.sel(node=...) or train on it."
            )
        for name, value in (("interval", interval_of(dataset)), ("units", dataset.attrs["units"])):
            expected = _interval_of_attrs(self.attrs) if name == "interval" else self.attrs["units"]
            if value != expected:
                raise RunError(
                    f"The dataset must have the run's {name} ({expected}); got {value}. "
                    "Resample or convert it, or train on it."
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


def _interval_of_attrs(attrs: dict[str, Any]) -> pd.Timedelta:
    """Give the interval that attributes state."""
    return interval_of(xr.Dataset(attrs=attrs))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
