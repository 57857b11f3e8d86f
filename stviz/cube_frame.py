"""The extent of the space-time cube, its axes and its camera."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stviz.geography import from_mercator, map_bounds, nearest_places, unwrap_longitude
from stviz.labels import time_unit
from stviz.places import EDGES, noun_of
from stviz.theme import Theme, rgba

__all__ = [
    "EYE",
    "LEGEND",
    "CubeFrame",
    "degree_ticks",
    "frame_scene",
    "measure_frame",
    "place_legend",
    "size_of",
]

SMALLEST, LARGEST = 4.0, 17.0
EYE = {"x": 0.68, "y": -1.6, "z": 0.52}
# About the pixels that the legend takes at the side, and those of its entries in one row; a figure
# must be wider than `squat` times its height for a side, and its scene than `slender` times.
LEGEND: dict[str, Any] = {
    "squat": 1.3,
    "slender": 1.2,
    "column": 168,
    "row": 760,
    "beside": {"orientation": "v", "y": 1.0, "yanchor": "top"},
    "below": {"orientation": "h", "y": 0.03, "yanchor": "bottom"},
}


@dataclass(frozen=True, kw_only=True)
class CubeFrame:
    """The extent of a cube: degrees across, time steps up, 0 at the forecast origin.

    Args:
        bounds: West, south, east and north in degrees.
        oldest: The oldest step of the history, at most 0.
        floor: Where the map lies, below the oldest step.
        top: The end of the time axis.
        target: Longitude and latitude of the target.
        target_step: Middle of the segment that is forecast.
        west_most: Longitudes are shown in the turn that starts here.
    """

    bounds: tuple[float, float, float, float]
    oldest: int
    floor: float
    top: float
    target: tuple[float, float]
    target_step: float
    west_most: float

    @property
    def heights(self) -> tuple[float, float]:
        """The ends of the time axis, with some room under the floor."""
        return self.floor - 0.05 * (self.top - self.floor), self.top

    @property
    def aspect(self) -> tuple[float, float, float]:
        """The sides of the cube as it is drawn: a degree north is as long as one east."""
        west, south, east, north = self.bounds
        across = (east - west) * np.cos(np.radians((south + north) / 2))
        scale = 1.15 / max(across, north - south)
        return across * scale, (north - south) * scale, 0.85

    def turn(self, longitude: np.ndarray) -> np.ndarray:
        """Move longitudes into the turn that starts at the west-most place."""
        shifted = (np.asarray(longitude, float) - self.west_most + 1e-9) % 360.0
        return shifted + self.west_most - 1e-9

    def edges(self, places: pd.DataFrame) -> np.ndarray:
        """Give west, south, east and north of cells in degrees, in this turn."""
        left, bottom, right, top = (places[name].to_numpy() for name in EDGES)
        (west, south), (east, north) = from_mercator(left, bottom), from_mercator(right, top)
        moved = self.turn(places["longitude"].to_numpy()) - places["longitude"].to_numpy()
        return np.stack([west + moved, south, east + moved, north], -1)

    def unwrap(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give a table of places in the turn of this cube."""
        moved = frame.assign(longitude=self.turn(frame["longitude"].to_numpy()))
        moved.attrs = dict(frame.attrs)
        return moved


def measure_frame(
    sources: pd.DataFrame,
    *,
    places: pd.DataFrame | None = None,
    causes: pd.DataFrame | None = None,
    beside: pd.DataFrame | None = None,
    focus: bool = True,
) -> CubeFrame:
    """Find the extent of a cube.

    Args:
        sources: What `prepare_alignment` gives.
        places: What `prepare_places` gives for the dataset behind it.
        causes: The rows of these places that are on the line of true causes.
        beside: Sources of another alignment, which are to fit, too.
        focus: Fit the sources, the target and its window rather than all places.

    Returns:
        The extent, with some room around it.
    """
    at = sources.attrs
    near = sources if beside is None else pd.concat([sources, beside])
    east, north = np.transpose(at["points"])
    longitude = np.append(near["longitude"], east).astype(float)
    latitude = np.append(near["latitude"], north).astype(float)
    if places is not None:
        near = places
        own = places[places["node"].isin(at["targets"])]
        if focus and len(own):
            near = own
            if len(own) == 1:
                near = nearest_places(places, at["node"], count=max(at["window_nodes"], 2))
            near = near if causes is None else pd.concat([near, causes])
        longitude = np.append(longitude, near["longitude"])
        latitude = np.append(latitude, near["latitude"])
        if noun_of(near) == "cell":
            for sides in (EDGES[:2], EDGES[2:]):
                x, y = from_mercator(*(near[side].to_numpy() for side in sides))
                longitude, latitude = np.append(longitude, x), np.append(latitude, y)
    unwrapped = unwrap_longitude(longitude)
    oldest = 1 - at["history_steps"]
    span = at["last_step"] - oldest
    frame = CubeFrame(
        bounds=map_bounds(unwrapped, latitude, padding=0.05, narrowest=0.5, highest=90.0),
        oldest=oldest,
        floor=oldest - max(1.0, 0.06 * span),
        top=at["last_step"] + max(1.0, 0.08 * span),
        target=(0.0, at["latitude"]),
        target_step=(at["first_step"] + at["last_step"]) / 2,
        west_most=float(unwrapped.min()),
    )
    east = float(frame.turn(np.array([at["longitude"]]))[0])
    return CubeFrame(**{**vars(frame), "target": (east, at["latitude"])})


def size_of(share: np.ndarray | pd.Series) -> np.ndarray:
    """Give the size of a marker, whose area grows with a weight.

    Args:
        share: Weights as shares of the largest one.

    Returns:
        Pixels.
    """
    return SMALLEST + (LARGEST - SMALLEST) * np.sqrt(np.asarray(share, float))


def frame_scene(frame: CubeFrame, sources: pd.DataFrame, colors: Theme) -> dict:
    """Give the axes, the aspect of the map, the camera and the legend of a cube.

    Args:
        frame: The extent of the cube.
        sources: What `prepare_alignment` gives.
        colors: The theme.

    Returns:
        A Plotly layout.
    """
    west, south, east, north = frame.bounds
    minutes = sources.attrs["interval_minutes"]
    steps = _time_ticks(frame)
    axis = {
        "showbackground": False,
        "gridcolor": colors.grid,
        "linecolor": colors.grid,
        "zerolinecolor": colors.grid,
        "tickfont": {"color": colors.muted, "size": 10},
        "title": {"text": ""},  # the ticks say what they are
        "showspikes": False,
    }
    return {
        "scene": {
            "xaxis": axis | degree_ticks(west, east, "EW"),
            "yaxis": axis | degree_ticks(south, north, "NS"),
            "zaxis": axis
            | {
                "range": list(frame.heights),
                "tickvals": steps,
                "ticktext": [_name_step(step, minutes) for step in steps],
            },
            "aspectmode": "manual",
            "aspectratio": dict(zip("xyz", frame.aspect, strict=True)),
            "camera": {
                "eye": EYE,
                "center": {"x": 0.0, "y": 0.0, "z": -0.22},
            },
            "bgcolor": colors.paper,
        },
        "paper_bgcolor": colors.paper,
        "font": {"color": colors.text},
        "legend": {
            "x": 0.0,
            "xanchor": "left",
            "tracegroupgap": 0,
            "bgcolor": rgba(colors.paper, 0.0),
            "font": {"size": 10, "color": colors.text},
            "itemsizing": "constant",
        },
        "hoverlabel": {"bgcolor": colors.paper, "font": {"color": colors.text, "size": 12}},
    }


def place_legend(layout: dict, *, width: float, inside: float) -> None:
    """Put the legend at the side of a cube where there is room for it, else below, and step back.

    A slender figure shows less of the sides of the cube, unless the eye is farther away.

    A page that learns the size of a figure later does the same with `LEGEND`.

    Args:
        layout: From `frame_scene`, changed in place.
        width: Of the figure, pixels.
        inside: Height of the figure without its margins, pixels.
    """
    if width > LEGEND["squat"] * inside + LEGEND["column"]:
        layout["legend"] |= LEGEND["beside"]
        room = {"x": [LEGEND["column"] / width, 0.97], "y": [16 / inside, 1]}
    else:
        rows = -(-LEGEND["row"] // width)
        layout["legend"] |= LEGEND["below"]
        room = {"x": [0, 0.95], "y": [min(0.4, (24 + 20 * rows) / inside), 1]}
    layout["scene"]["domain"] = room
    across, up = ((room[side][1] - room[side][0]) * size for side, size in
                  (("x", width), ("y", inside)))  # fmt: skip
    away = max(1.0, LEGEND["slender"] * up / across)
    eye = {name: round(number * away, 3) for name, number in EYE.items()}
    layout["scene"]["camera"] = {**layout["scene"]["camera"], "eye": eye}


def degree_ticks(low: float, high: float, letters: str) -> dict:
    """Give the range of an axis of degrees and its ticks, such as 118.4°W, past 180 degrees, too.

    Args:
        low: Degrees.
        high: Degrees, more than that.
        letters: Of numbers above and below zero.

    Returns:
        What a Plotly axis takes.
    """
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(digit for digit in (1, 2, 5, 10) if digit * power >= rough)
    values = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    turned = (values + 180) % 360 - 180
    digits = max(0, -int(np.floor(np.log10(step))))
    texts = [
        f"{abs(value):.{digits}f}°{letters[int(value < 0)] if 0 < abs(value) < 180 else ''}"
        for value in turned.round(digits)
    ]
    return {"range": [low, high], "tickvals": values.tolist(), "ticktext": texts}


def _time_ticks(frame: CubeFrame) -> list[int]:
    span = int(frame.top) - frame.oldest
    every = next(step for step in (1, 2, 3, 6, 12, 24, 48, 96, 10**6) if span / step <= 9)
    last = int(frame.top) // every * every
    return list(range(-(-frame.oldest // every) * every, last + 1, every))


def _name_step(step: int, minutes: float) -> str:
    if step == 0:
        return "now"
    amount = step * minutes
    is_long = abs(amount) >= 180 and amount % 60 == 0
    unit, scale = time_unit(60.0 if is_long else minutes)
    text = f"{amount / scale:+g} {unit}"
    return text.replace("-", "\N{MINUS SIGN}")
