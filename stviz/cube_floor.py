"""The floor of the space-time cube: the map, what lies on it, and the weight of each place."""

from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from stviz.basemap import load_basemap
from stviz.cube_frame import CubeFrame, size_of
from stviz.cube_scene import gaps, mesh, plane, scatter
from stviz.geography import sensor_edges
from stviz.places import FINEST, noun_of, shape_parts
from stviz.prepare_sources import sum_by_place
from stviz.theme import Theme, pick_colors

__all__ = ["draw_floor", "draw_shadows"]

MOST_OUTLINES = 4000


def draw_floor(
    frame: CubeFrame,
    dataset: xr.Dataset | None,
    places: pd.DataFrame | None,
    colors: Theme,
    *,
    basemap: bool,
) -> list[dict]:
    """Draw the map on the floor: ground, coast, and sensors with lines between them, or areas.

    Args:
        frame: The extent of the cube.
        dataset: The dataset with all places.
        places: What `prepare_places` gives for it; only the ground is drawn when None.
        colors: The theme.
        basemap: Draw the coast and state lines.

    Returns:
        Plotly traces.
    """
    traces = [plane(frame, frame.floor, colors.land, 1.0, "floor")]
    if basemap:
        traces.append(_draw_coast(frame, colors))
    if places is None or dataset is None:
        return traces
    west, south, east, north = frame.bounds
    longitude, latitude = frame.turn(places["longitude"].to_numpy()), places["latitude"].to_numpy()
    inside = (longitude >= west) & (longitude <= east) & (latitude >= south) & (latitude <= north)
    if noun_of(places) != "sensor":
        return [*traces, *_draw_outlines(frame, places[inside], colors)]
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
            text=places["node"].to_numpy()[inside],
            meta="sensors",
        )
    )
    return traces


def draw_shadows(
    frame: CubeFrame, sources: pd.DataFrame, places: pd.DataFrame | None, colors: Theme
) -> list[dict]:
    """Mark on the floor how much weight each place has over all its time steps.

    Args:
        frame: The extent of the cube.
        sources: What `prepare_alignment` gives, in the turn of the cube.
        places: What `prepare_places` gives for all places; None where there is no dataset.
        colors: The theme.

    Returns:
        Plotly traces: a line down from the newest source of each place, and a marker by size, or a
        cell by colour.
    """
    if not len(sources):
        return []
    weights = sum_by_place(sources)
    highest = weights["newest_minutes"].to_numpy() / sources.attrs["interval_minutes"]
    path = np.full((len(weights), 3, 3), np.nan)
    path[:, :2, :2] = weights[["longitude", "latitude"]].to_numpy()[:, None]
    path[:, 0, 2], path[:, 1, 2] = frame.floor, -highest
    flat = path.reshape(-1, 3)
    drop = scatter(
        x=gaps(flat[:, 0]),
        y=gaps(flat[:, 1]),
        z=gaps(flat[:, 2]),
        mode="lines",
        line={"color": colors.muted, "width": 1},
        opacity=0.35,
        meta="drop lines",
    )
    text = [
        f"<b>{escape(row['node'], quote=False)}</b><br>{row['weight']:.1%} of the weight over "
        f"{row['steps']} time steps<br>{row['distance_km']:.1f} km {row['direction']}"
        for row in weights.to_dict("records")
    ]
    heaviest = weights["weight"].max() or 1.0
    if places is not None and noun_of(places) == "cell":
        cells = places.set_index("node").reindex(weights["node"])
        if cells["left"].notna().all():
            return [drop, _fill_cells(frame, cells, weights["weight"], heaviest, text, colors)]
    marker = {
        "size": size_of(weights["weight"] / heaviest),
        "color": colors.weight[2],
        "opacity": 0.45,
        "line": {"width": 0},
    }
    on_floor = scatter(
        x=weights["longitude"],
        y=weights["latitude"],
        z=np.full(len(weights), frame.floor + 0.15),
        mode="markers",
        marker=marker,
        text=text,
        hovertemplate="%{text}<extra></extra>",
        name="weight by place",
        meta="places",
    )
    return [drop, on_floor]


def _fill_cells(
    frame: CubeFrame,
    cells: pd.DataFrame,
    weight: pd.Series,
    heaviest: float,
    text: list[str],
    colors: Theme,
) -> dict:
    west, south, east, north = frame.edges(cells).T
    first = 4 * np.arange(len(cells))
    fill = pick_colors(weight, stops=colors.weight, limits=(0.0, heaviest), missing=colors.gap)
    return mesh(
        x=np.stack([west, east, east, west], -1).reshape(-1),
        y=np.stack([south, south, north, north], -1).reshape(-1),
        z=np.full(4 * len(cells), frame.floor + 0.1),
        i=np.concatenate([first, first]),
        j=np.concatenate([first + 1, first + 2]),
        k=np.concatenate([first + 2, first + 3]),
        facecolor=[*fill, *fill],
        text=np.repeat(text, 4),
        hoverinfo="text",
        name="weight by cell",
        showlegend=True,
        color=colors.weight[2],  # of the legend
        meta="places",
    )


def _draw_outlines(frame: CubeFrame, places: pd.DataFrame, colors: Theme) -> list[dict]:
    if not 0 < len(places) <= MOST_OUTLINES:
        return []
    if noun_of(places) == "cell":
        west, south, east, north = frame.edges(places).T
        gap = np.full(len(places), np.nan)
        path = np.stack(
            [
                np.stack([west, east, east, west, west, gap], -1).reshape(-1),
                np.stack([south, south, north, north, south, gap], -1).reshape(-1),
            ],
            axis=-1,
        )
    else:
        moved = frame.turn(places["longitude"].to_numpy()) - places["longitude"].to_numpy()
        tolerance = (frame.bounds[2] - frame.bounds[0]) * FINEST
        lines = []
        for shape, by in zip(places["shape"], moved, strict=True):
            for ring in (r for part in shape_parts(shape, tolerance=tolerance) for r in part):
                lines += [ring + np.array([by, 0.0]), np.full((1, 2), np.nan)]
        path = np.concatenate(lines)
    line = scatter(
        x=gaps(path[:, 0]),
        y=gaps(path[:, 1]),
        z=np.full(len(path), frame.floor + 0.02),
        mode="lines",
        line={"color": colors.border, "width": 1},
        opacity=0.5,
        meta=f"{noun_of(places)}s",
    )
    return [line]


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
