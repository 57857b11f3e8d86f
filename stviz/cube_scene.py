"""The stage of the space-time cube: floor with sensors and roads, plane of now, window."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.cube_frame import CubeFrame
from stviz.geography import nearest_nodes, sensor_edges
from stviz.theme import Theme

__all__ = [
    "draw_floor",
    "draw_now",
    "draw_window",
    "gaps",
    "mesh",
    "scatter",
]


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
    # Above the floor, or half of each marker sinks into it.
    lift = frame.floor + 0.1
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
