"""The stage of the space-time cube: plane of now, window, and the traces that it is made of."""

from typing import Any

import numpy as np
import pandas as pd

from stviz.cube_frame import CubeFrame
from stviz.geography import nearest_places
from stviz.places import noun_of
from stviz.theme import Theme, color_scale

__all__ = [
    "arrow_heads",
    "draw_now",
    "draw_window",
    "gaps",
    "mesh",
    "plane",
    "scale_weights",
    "scatter",
]

HEAD = 0.03  # length of the strokes of an arrow, where the cube is about 1 wide
MOST_SLICES = 4  # each is as large as the cube, which takes time where it is drawn in software


def draw_now(frame: CubeFrame, sources: pd.DataFrame, colors: Theme) -> list[dict]:
    """Draw the time steps: outlines, slices where sources are, and the plane of the origin.

    Args:
        frame: The extent of the cube.
        sources: What `prepare_alignment` gives.
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
    return [
        *_draw_slices(frame, sources, colors),
        faint,
        plane(frame, 0.0, colors.target, 0.07, "now"),
        edge,
    ]


def _draw_slices(frame: CubeFrame, sources: pd.DataFrame, colors: Theme) -> list[dict]:
    """Draw a translucent slice at the time steps that weigh most, besides the origin."""
    weight = sources["weight"].groupby(-sources["steps_behind"]).sum()
    steps = weight.drop(0, errors="ignore").nlargest(MOST_SLICES).index.to_numpy(float)
    if not steps.size:
        return []
    west, south, east, north = frame.bounds
    first = 4 * np.arange(steps.size)
    slices = mesh(
        x=np.tile([west, east, east, west], steps.size),
        y=np.tile([south, south, north, north], steps.size),
        z=np.repeat(steps, 4),
        i=np.concatenate([first, first]),
        j=np.concatenate([first + 1, first + 2]),
        k=np.concatenate([first + 2, first + 3]),
        color=colors.muted,
        opacity=0.07,
        meta="slices",
    )
    return [slices]


def draw_window(
    frame: CubeFrame, places: pd.DataFrame | None, sources: pd.DataFrame, colors: Theme
) -> list[dict]:
    """Outline the recent local window: the nearest places by the most recent steps.

    Args:
        frame: The extent of the cube.
        places: What `prepare_places` gives for all places; nothing is drawn when None.
        sources: What `prepare_alignment` gives.
        colors: The theme.

    Returns:
        Plotly traces; none where the model has no window.
    """
    at = sources.attrs
    if places is None or min(at["window_nodes"], at["window_steps"]) < 1:
        return []
    if at["node"] not in places["node"].to_numpy():
        return []
    near = nearest_places(places, at["node"], count=at["window_nodes"])
    noun = noun_of(places)
    if noun == "cell":
        corners = frame.edges(near)
        (west, south), (east, north) = corners[:, :2].min(0), corners[:, 2:].max(0)
    else:
        longitude, latitude = frame.turn(near["longitude"].to_numpy()), near["latitude"].to_numpy()
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
    size = f"{at['window_nodes']} {noun}s \N{MULTIPLICATION SIGN} {at['window_steps']} steps"
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


def arrow_heads(frame: CubeFrame, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Give two short strokes for the head of each arrow, of one size as the cube is drawn.

    Args:
        frame: The extent of the cube.
        start: Where arrows begin, over (arrow, 3): longitude, latitude and time step.
        end: Where all of them end, over (3,).

    Returns:
        Points of the strokes with breaks between them, over (arrow, 4, 3): the heads lie where
        two thirds of the way are done, which leaves room at the target.
    """
    west, south, east, north = frame.bounds
    low, high = frame.heights
    unit = np.array([east - west, north - south, high - low]) / frame.aspect
    along = (end - start) / unit
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-12)
    aside = np.cross(along, [0.0, 0.0, 1.0])
    aside /= np.maximum(np.linalg.norm(aside, axis=-1, keepdims=True), 1e-12)
    tip = start + (end - start) * 2 / 3
    heads = np.full((len(start), 4, 3), np.nan)
    heads[:, 1] = tip
    for place, side in ((0, 1), (2, -1)):
        heads[:, place] = tip + HEAD * (0.5 * side * aside - along) * unit
    return heads


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


def plane(frame: CubeFrame, level: float, color: str, opacity: float, meta: str) -> dict:
    """Give a level plane as wide as the cube.

    Args:
        frame: The extent of the cube.
        level: Its time step.
        color: Its colour.
        opacity: From 0 to 1.
        meta: The name of the trace.

    Returns:
        The trace as a dict.
    """
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


def scale_weights(largest: float, colors: Theme) -> dict:
    """Give the scale of colours that markers and arrows share.

    Args:
        largest: The weight of the last colour.
        colors: The theme.

    Returns:
        A Plotly colour axis.
    """
    palette = color_scale(colors.weight, count=17)
    return {
        "colorscale": [[i / 16, color] for i, color in enumerate(palette)],
        "cmin": 0.0,
        "cmax": largest,
        "colorbar": {
            "title": {"text": "weight", "font": {"color": colors.text, "size": 11}},
            "tickfont": {"color": colors.muted, "size": 10},
            "thickness": 11,
            "len": 0.6,
            "x": 1.0,
            "xanchor": "right",
            "tickformat": ".0%",
            "outlinewidth": 0,
        },
    }
