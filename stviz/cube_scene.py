"""The stage of the space-time cube: floor with sensors and roads, plane of now, window, axes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.geography import map_bounds, nearest_nodes, sensor_edges, unwrap_longitude
from stviz.theme import Theme, rgba

__all__ = [
    "CubeFrame",
    "draw_floor",
    "draw_now",
    "draw_window",
    "frame_scene",
    "gaps",
    "measure_frame",
    "mesh",
    "scatter",
]


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
        bounds=map_bounds(unwrapped, latitude, padding=0.05),
        oldest=oldest,
        floor=oldest - max(1.0, 0.06 * span),
        top=at["last_step"] + max(1.0, 0.08 * span),
        target=(0.0, at["latitude"]),
        target_step=(at["first_step"] + at["last_step"]) / 2,
        west_most=float(unwrapped.min()),
    )
    east = float(frame.turn(np.array([at["longitude"]]))[0])
    return CubeFrame(**{**vars(frame), "target": (east, at["latitude"])})


def draw_floor(
    frame: CubeFrame, dataset: xr.Dataset | None, colors: Theme, *, basemap: bool
) -> list[dict]:
    """Draw the map on the floor: ground, coast, lines between neighbouring sensors, sensors.

    Args:
        frame: The extent of the cube.
        dataset: The dataset with all sensors; only the ground is drawn when None.
        colors: The theme.
        basemap: Draw the coast and state lines.

    Returns:
        Plotly traces.
    """
    traces = [_plane(frame, frame.floor, colors.land, 1.0, "floor")]
    if basemap:
        traces.append(_draw_coast(frame, colors))
    if dataset is None:
        return traces
    west, south, east, north = frame.bounds
    longitude = frame.turn(dataset["longitude"].values)
    latitude = dataset["latitude"].values.astype(float)
    inside = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    edges = sensor_edges(dataset)
    edges = edges[inside[edges].all(-1)]
    path = np.full((len(edges), 3), np.nan)
    x, y = path.copy(), path.copy()
    x[:, :2], y[:, :2] = longitude[edges], latitude[edges]
    lift = frame.floor + 0.02
    traces.append(
        scatter(
            x=gaps(x),
            y=gaps(y),
            z=np.full(x.size, lift),
            mode="lines",
            line={"color": colors.road, "width": 4},
            meta="roads",
        )
    )
    traces.append(
        scatter(
            x=longitude[inside],
            y=latitude[inside],
            z=np.full(int(inside.sum()), lift),
            mode="markers",
            marker={"size": 2.5, "color": colors.muted},
            text=dataset["node"].values[inside],
            meta="sensors",
        )
    )
    return traces


def _draw_coast(frame: CubeFrame, colors: Theme) -> dict:
    points = [np.empty((0, 2))]
    for line in load_basemap(frame.bounds).boundary:
        for part in getattr(line, "geoms", [line]):
            points += [np.asarray(part.coords), np.full((1, 2), np.nan)]
    path = np.concatenate(points)
    return scatter(
        x=gaps(path[:, 0]),
        y=gaps(path[:, 1]),
        z=np.full(len(path), frame.floor + 0.01),
        mode="lines",
        line={"color": colors.border, "width": 2},
        meta="coast",
    )


def draw_now(frame: CubeFrame, colors: Theme) -> list[dict]:
    """Draw a faint outline at every time step and a plane at the forecast origin.

    Args:
        frame: The extent of the cube.
        colors: The theme.

    Returns:
        Plotly traces.
    """
    west, south, east, north = frame.bounds
    steps = np.arange(frame.oldest, 0)
    x = np.tile([west, east, east, west, west, np.nan], steps.size)
    y = np.tile([south, south, north, north, south, np.nan], steps.size)
    z = np.repeat(steps.astype(float), 6)
    edge = scatter(
        x=[west, east, east, west, west],
        y=[south, south, north, north, south],
        z=[0.0] * 5,
        mode="lines",
        line={"color": colors.target, "width": 2},
        opacity=0.6,
        meta="now edge",
    )
    faint = scatter(
        x=gaps(x),
        y=gaps(y),
        z=z,
        mode="lines",
        line={"color": colors.grid, "width": 1},
        opacity=0.7,
        meta="steps",
    )
    return [faint, _plane(frame, 0.0, colors.target, 0.07, "now"), edge]


def draw_window(
    frame: CubeFrame, dataset: xr.Dataset | None, sources: pd.DataFrame, colors: Theme
) -> list[dict]:
    """Outline the recent local window: the nearest nodes by the most recent steps.

    Args:
        frame: The extent of the cube.
        dataset: The dataset with all sensors; nothing is drawn when None.
        sources: What `prepare_alignment` gives.
        colors: The theme.

    Returns:
        Plotly traces; none where the model has no window.
    """
    at = sources.attrs
    if dataset is None or min(at["window_nodes"], at["window_steps"]) < 1:
        return []
    if at["node"] not in dataset["node"].values:
        return []
    near = dataset.sel(node=nearest_nodes(dataset, node=at["node"], count=at["window_nodes"]))
    longitude = frame.turn(near["longitude"].values)
    latitude = near["latitude"].values.astype(float)
    margin = 0.008 * max(frame.bounds[2] - frame.bounds[0], 1e-6)
    west, east = longitude.min() - margin, longitude.max() + margin
    south, north = latitude.min() - margin, latitude.max() + margin
    low = max(1 - at["window_steps"], frame.oldest) - 0.4
    corner = np.array([[west, south], [east, south], [east, north], [west, north]])
    x, y, z = [], [], []
    for level in (low, 0.4):
        for i in (0, 1, 2, 3, 0):
            x.append(corner[i, 0])
            y.append(corner[i, 1])
            z.append(level)
        for line in (x, y, z):
            line.append(None)
    for i in range(4):
        x += [corner[i, 0], corner[i, 0], None]
        y += [corner[i, 1], corner[i, 1], None]
        z += [low, 0.4, None]
    size = f"{at['window_nodes']} sensors \N{MULTIPLICATION SIGN} {at['window_steps']} steps"
    outline = scatter(
        x=x,
        y=y,
        z=z,
        mode="lines",
        line={"color": colors.window, "width": 2.5},
        name=f"window: {size}",
        meta="window",
    )
    box = mesh(
        x=np.tile(corner[:, 0], 2),
        y=np.tile(corner[:, 1], 2),
        z=np.repeat([low, 0.4], 4),
        i=[0, 1, 2, 3, 0, 1, 2, 3],
        j=[1, 2, 3, 0, 4, 5, 6, 7],
        k=[4, 5, 6, 7, 7, 4, 5, 6],
        color=colors.window,
        opacity=0.08,
        meta="window sides",
    )
    return [outline, box]


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
    titles = ("longitude", "latitude", "time from the forecast")
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
                "center": {"x": 0.0, "y": 0.0, "z": -0.2},
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


def scatter(**values: Any) -> dict:
    """Give a 3D scatter trace that is silent unless told otherwise: no hover, not in the legend.

    Args:
        values: Options of `plotly.graph_objects.Scatter3d`.

    Returns:
        The trace as a dict, which Plotly checks once, when the figure is built.
    """
    shown = {"showlegend": "name" in values}
    silent = {} if "hovertemplate" in values else {"hoverinfo": "skip"}
    return {"type": "scatter3d", **shown, **silent, **values}


def mesh(**values: Any) -> dict:
    """Give a 3D surface trace without hover and shading.

    Args:
        values: Options of `plotly.graph_objects.Mesh3d`.

    Returns:
        The trace as a dict.
    """
    flat = {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0}
    return {"type": "mesh3d", "hoverinfo": "skip", "lighting": flat, **values}


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


def _plane(frame: CubeFrame, level: float, color: str, opacity: float, meta: str) -> dict:
    west, south, east, north = frame.bounds
    return mesh(
        x=[west, east, east, west],
        y=[south, south, north, north],
        z=[level] * 4,
        i=[0, 0],
        j=[1, 2],
        k=[2, 3],
        color=color,
        opacity=opacity,
        meta=meta,
    )


def gaps(values: np.ndarray) -> list[float | None]:
    """Give numbers as Plotly wants them in a line: None where it is to break.

    Args:
        values: Numbers of any shape, NaN at the breaks.

    Returns:
        A flat list.
    """
    return [None if np.isnan(value) else value for value in values.reshape(-1).tolist()]
