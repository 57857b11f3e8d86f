"""The extent of the space-time cube, its axes and its camera."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from stviz.geography import map_bounds, nearest_nodes, unwrap_longitude
from stviz.theme import Theme, rgba

__all__ = ["CubeFrame", "frame_scene", "measure_frame"]


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

    def turn(self, longitude: np.ndarray) -> np.ndarray:
        """Move longitudes into the turn that starts at the west-most place."""
        shifted = (np.asarray(longitude, float) - self.west_most + 1e-9) % 360.0
        return shifted + self.west_most - 1e-9

    def unwrap(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give a table of places in the turn of this cube."""
        moved = frame.assign(longitude=self.turn(frame["longitude"].to_numpy()))
        moved.attrs = dict(frame.attrs)
        return moved


def measure_frame(
    sources: pd.DataFrame, *, dataset: xr.Dataset | None = None, focus: bool = True
) -> CubeFrame:
    """Find the extent of a cube.

    Args:
        sources: What `prepare_alignment` gives.
        dataset: The dataset behind it, for all sensors.
        focus: Fit the sources, the target and its window rather than all sensors.

    Returns:
        The extent, with some room around it.
    """
    at = sources.attrs
    longitude = np.append(sources["longitude"], at["longitude"]).astype(float)
    latitude = np.append(sources["latitude"], at["latitude"]).astype(float)
    if dataset is not None:
        near = dataset
        if focus and at["node"] in dataset["node"].values:
            count = max(at["window_nodes"], 2)
            near = dataset.sel(node=nearest_nodes(dataset, node=at["node"], count=count))
        longitude = np.append(longitude, near["longitude"].values)
        latitude = np.append(latitude, near["latitude"].values)
    unwrapped = unwrap_longitude(longitude)
    oldest = 1 - at["history_steps"]
    span = at["last_step"] - oldest
    frame = CubeFrame(
        bounds=map_bounds(unwrapped, latitude, padding=0.05, narrowest=0.5),
        oldest=oldest,
        floor=oldest - max(1.0, 0.06 * span),
        top=at["last_step"] + max(1.0, 0.08 * span),
        target=(0.0, at["latitude"]),
        target_step=(at["first_step"] + at["last_step"]) / 2,
        west_most=float(unwrapped.min()),
    )
    east = float(frame.turn(np.array([at["longitude"]]))[0])
    return CubeFrame(**{**vars(frame), "target": (east, at["latitude"])})


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
    across = (east - west) * np.cos(np.radians((south + north) / 2))
    up = north - south
    scale = 1.15 / max(across, up)
    minutes = sources.attrs["interval_minutes"]
    steps = _time_ticks(frame)
    axis = {
        "showbackground": False,
        "gridcolor": colors.grid,
        "linecolor": colors.grid,
        "zerolinecolor": colors.grid,
        "tickfont": {"color": colors.muted, "size": 10},
        "title": {"font": {"color": colors.muted, "size": 11}},
        "showspikes": False,
    }
    titles = ("longitude", "latitude", "time")
    x, y, z = (axis | {"title": axis["title"] | {"text": text}} for text in titles)
    return {
        "scene": {
            "xaxis": x
            | {"range": [west, east], "nticks": 5, "tickformat": ".2f", "ticksuffix": "°"},
            "yaxis": y
            | {"range": [south, north], "nticks": 4, "tickformat": ".2f", "ticksuffix": "°"},
            "zaxis": z
            | {
                "range": [frame.floor - 0.05 * (frame.top - frame.floor), frame.top],
                "tickvals": steps,
                "ticktext": [_name_step(step, minutes) for step in steps],
            },
            "aspectmode": "manual",
            "aspectratio": {"x": across * scale, "y": up * scale, "z": 0.85},
            "camera": {
                "eye": {"x": 0.62, "y": -1.45, "z": 0.47},
                "center": {"x": 0.0, "y": 0.0, "z": -0.15},
            },
            "bgcolor": colors.paper,
            "domain": {"x": [0, 0.95], "y": [0.09, 1]},
        },
        "paper_bgcolor": colors.paper,
        "font": {"color": colors.text},
        "legend": {
            "orientation": "h",
            "x": 0.01,
            "y": 0.03,
            "xanchor": "left",
            "yanchor": "bottom",
            "bgcolor": rgba(colors.paper, 0.0),
            "font": {"size": 10, "color": colors.text},
            "itemsizing": "constant",
        },
        "hoverlabel": {"bgcolor": colors.paper, "font": {"color": colors.text, "size": 12}},
    }


def _time_ticks(frame: CubeFrame) -> list[int]:
    span = int(frame.top) - frame.oldest
    every = next(step for step in (1, 2, 3, 6, 12, 24, 48, 96, 10**6) if span / step <= 9)
    last = int(frame.top) // every * every
    return list(range(-(-frame.oldest // every) * every, last + 1, every))


def _name_step(step: int, minutes: float) -> str:
    if step == 0:
        return "now"
    amount = step * minutes
    text = f"{amount / 60:+g} h" if abs(amount) >= 180 and amount % 60 == 0 else f"{amount:+g} min"
    return text.replace("-", "\N{MINUS SIGN}")
