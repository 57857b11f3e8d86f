"""The frames of a forecast that rolls out: one ground and its places, and values step by step.

Pure numbers in pixels, which a page and a file of pictures draw alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.geography import from_mercator, sensor_edges, to_mercator
from stviz.ground import map_frame
from stviz.labels import (
    DOT,
    clock,
    describe_lead,
    label_quantity,
    label_source,
    mark_simulated,
    minutes_per_step,
)
from stviz.maps import VARIABLE_TITLES
from stviz.places import EDGES, FINEST, noun_of, shape_parts
from stviz.prepare import prepare_forecast_map, value_limits

__all__ = ["Frames", "Panel", "prepare_frames"]

Rings = list[np.ndarray]
LAND_MARGIN = 0.02  # of the width of a map; where land is cut off is outside


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One of the maps that stand beside each other in every frame.

    Args:
        label: What it shows.
        values: In the units of the forecast, NaN where unknown: (frame, place).
    """

    label: str
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What all frames share, and what each one shows.

    Points are pixels to the right of and below the upper left corner of a map. Outer rings run
    one way and holes the other, so that any library leaves holes empty.

    Args:
        size: Width and height of one map, pixels.
        noun: "sensor", "cell" or "zone".
        places: For each place its rings; of a sensor one ring of one point.
        land: Rings of the land.
        roads: Lines between neighbouring sensors, shape (line, 2, 2).
        panels: The maps of a frame, from left to right.
        limits: Values at the ends of the one colour scale of all frames.
        is_diverging: Whether that scale has a meaning zero in its middle.
        titles: First line of each frame.
        facts: Second line of each frame.
        summaries: Each frame in numbers.
        units: Of the values.
        credit: Where the readings come from.
    """

    size: tuple[int, int]
    noun: str
    places: list[Rings]
    land: Rings
    roads: np.ndarray
    panels: list[Panel]
    limits: tuple[float, float]
    is_diverging: bool
    titles: list[str]
    facts: list[str]
    summaries: list[str]
    units: str
    credit: str

    @property
    def has_gaps(self) -> bool:
        """Whether a place is without a value in any frame."""
        return any(np.isnan(panel.values).any() for panel in self.panels)

    @property
    def ends(self) -> list[str]:
        """The low end, the middle and the high end of the colour scale, as text."""
        low, high = self.limits
        digits = max(0, 1 - int(np.floor(np.log10(max(high - low, 1e-9)))))
        return [f"{round(v, digits) + 0.0:.{digits}f}" for v in (low, (low + high) / 2, high)]


def prepare_frames(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    variable: str = "forecast",
    reference: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    basemap: bool = True,
    width: int = 460,
    height: int = 400,
) -> Frames:
    """Give one frame for each horizon step of a forecast; see `animate_forecast`.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        time: Forecast origin; the last one when None.
        variable: As for `prepare_forecast_map`. Beside the forecast stands what was measured, where
            that is known.
        reference: Another forecast of the same places, times and steps, for a change.
        zones: Polygons of the places, a GeoDataFrame by node, where they are zones.
        limits: Values at the ends of the colour scale; when None, those of all times and steps.
        basemap: Give land and the lines between neighbouring sensors.
        width: Of one map, pixels.
        height: Of one map, pixels.

    Returns:
        The frames, in the order of their lead time.

    Raises:
        ValueError: The variable or time is not there, a place has no polygon, or a change has no
            reference that fits.
    """
    tables = [
        prepare_forecast_map(
            forecast, time=time, horizon=step, variable=variable, reference=reference, zones=zones
        )
        for step in forecast["horizon"].values.tolist()
    ]
    places = tables[0]
    noun = noun_of(places)
    canvas = _Canvas(places, width, height)
    panels = [Panel(label=_name(variable), values=_values(tables, "value"))]
    measured = _values(tables, "target")
    if variable == "forecast" and np.isfinite(measured).any():
        panels.append(Panel(label=_name("target"), values=measured))
    has_land = basemap and not (forecast.attrs.get("synthetic") and noun != "sensor")
    has_roads = basemap and noun == "sensor"
    edges = sensor_edges(forecast) if has_roads else np.empty((0, 2), int)
    return Frames(
        size=(width, height),
        noun=noun,
        places=canvas.places(places),
        land=canvas.land() if has_land else [],
        roads=canvas.pixels(places["x"], places["y"])[edges],
        panels=panels,
        limits=limits or value_limits(forecast, variable=variable, reference=reference),
        is_diverging=variable in {"error", "change"},
        titles=[_title(forecast, table) for table in tables],
        facts=[_facts(forecast, table) for table in tables],
        summaries=[_summary(forecast, table) for table in tables],
        units=str(forecast.attrs.get("units", "")),
        credit=label_source(forecast),
    )


def _name(variable: str) -> str:
    """Give the name of a variable without that of the quantity."""
    return VARIABLE_TITLES[variable].removesuffix(" of")


def _values(tables: list[pd.DataFrame], column: str) -> np.ndarray:
    return np.stack([table[column].to_numpy(float) for table in tables])


class _Canvas:
    """From Web Mercator metres to pixels, with a metre as long on both axes."""

    def __init__(self, places: pd.DataFrame, width: int, height: int) -> None:
        frame = map_frame(places)
        (left, right), (bottom, top) = frame["xlim"], frame["ylim"]
        self.metres = max((right - left) / width, (top - bottom) / height)
        self.left = (left + right - self.metres * width) / 2
        self.top = (bottom + top + self.metres * height) / 2
        self.right, self.bottom = self.left + self.metres * width, self.top - self.metres * height

    def pixels(self, x: np.ndarray | pd.Series, y: np.ndarray | pd.Series) -> np.ndarray:
        """Give points as (point, 2), to a tenth of a pixel."""
        across = (np.asarray(x) - self.left) / self.metres
        down = (self.top - np.asarray(y)) / self.metres
        return np.stack([across, down], -1).round(1)

    def land(self) -> Rings:
        margin = LAND_MARGIN * (self.right - self.left)
        west, south = from_mercator(self.left - margin, self.bottom - margin)
        east, north = from_mercator(self.right + margin, self.top + margin)
        shapes = load_basemap((float(west), float(south), float(east), float(north))).geometry
        tolerance = float(east - west) * FINEST
        return [ring for shape in shapes for ring in self._rings(shape, tolerance)]

    def places(self, places: pd.DataFrame) -> list[Rings]:
        noun = noun_of(places)
        if noun == "zone":
            tolerance = float(np.ptp(places["longitude"])) * FINEST
            return [self._rings(shape, tolerance) for shape in places["shape"]]
        if noun == "cell":
            left, bottom, right, top = places[EDGES].to_numpy().T
            x = np.stack([left, right, right, left], -1)
            y = np.stack([bottom, bottom, top, top], -1)
            return [[ring] for ring in self.pixels(x, y)]
        return [[point[None]] for point in self.pixels(places["x"], places["y"])]

    def _rings(self, shape: object, tolerance: float) -> Rings:
        rings = []
        for outer, *holes in shape_parts(shape, tolerance=tolerance):
            rings.append(_turned(self.pixels(*to_mercator(*outer.T)), clockwise=True))
            rings += [_turned(self.pixels(*to_mercator(*h.T)), clockwise=False) for h in holes]
        return rings


def _turned(ring: np.ndarray, *, clockwise: bool) -> np.ndarray:
    x, y = ring.T
    area = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))  # above 0: clockwise on a screen
    return ring if (area > 0) == clockwise else ring[::-1]


def _title(forecast: xr.Dataset, table: pd.DataFrame) -> str:
    lead = describe_lead(table.attrs["lead_minutes"], step_minutes=minutes_per_step(forecast))
    words = f"{VARIABLE_TITLES[table.attrs['variable']]} {label_quantity(forecast)}, {lead}"
    return mark_simulated(words, forecast)


def _facts(forecast: xr.Dataset, table: pd.DataFrame) -> str:
    at = table.attrs
    facts = [f"for {clock(at['valid_time'])}, forecast at {clock(at['time'])}"]
    facts += [str(forecast.attrs["model"])] if forecast.attrs.get("model") else []
    if at["variable"] == "error":
        facts.append("red: forecast too high")
    if at["variable"] == "change":
        facts.append("red: higher than the reference")
    return DOT.join(facts)


def _summary(forecast: xr.Dataset, table: pd.DataFrame) -> str:
    """Tell a frame in numbers, of the places that have them."""
    units = str(forecast.attrs.get("units", ""))
    value, measured = table["value"].to_numpy(float), table["target"].to_numpy(float)
    told = [f"{_name(table.attrs['variable']).lower()} {_mean(value)} {units}".strip()]
    both = np.isfinite(value) & np.isfinite(measured)
    if table.attrs["variable"] == "forecast" and both.any():
        error = np.abs(value - measured)[both].mean()
        told = [f"forecast {_mean(value[both])}, measured {_mean(measured[both])} {units}".strip()]
        told.append(f"mean absolute error {error:.1f}")
    count = both.sum() if len(told) > 1 else np.isfinite(value).sum()
    return f"Mean of {count:,} {noun_of(table)}s: {'; '.join(told)}"


def _mean(values: Iterable[float]) -> str:
    known = np.asarray(values)[np.isfinite(values)]
    return f"{known.mean():.1f}" if known.size else "unknown"
