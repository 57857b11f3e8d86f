"""Places as HoloViews elements: points, cells of a grid, or the polygons of zones."""

from collections.abc import Sequence

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from stviz.cells import is_fine
from stviz.figures import beside, options
from stviz.geography import to_mercator
from stviz.labels import pick
from stviz.places import EDGES, FINEST, LABELS, bounds_of, noun_of, shape_parts
from stviz.theme import Theme

__all__ = [
    "HOLLOW", "draw_hidden", "draw_outlines", "draw_places", "draw_selected", "few",
    "hover_lines", "name_places",
]  # fmt: skip

# HoloViews would fill polygons that have columns, if they had no colour of their own.
HOLLOW = {"fill_color": "white", "fill_alpha": 0.0}
MOST_NAMED = 8


def draw_places(
    places: pd.DataFrame, columns: Sequence[str], *, label: str = ""
) -> hv.Points | hv.Rectangles | hv.Polygons:
    """Give places as what they are on a map, without any colours.

    Args:
        places: What `prepare_places` gives, with further columns.
        columns: The columns that colours, sizes and hover need.
        label: Of the element; "Sensors", "Cells" or "Zones" where it is empty.

    Returns:
        Points, rectangles or polygons in Web Mercator metres.
    """
    noun = noun_of(places)
    label = label or LABELS[noun]
    if noun == "cell":
        return hv.Rectangles(places, EDGES, list(columns), label=label)
    if noun == "zone":
        return hv.Polygons(_shapes(places, columns), ["x", "y"], list(columns), label=label)
    return hv.Points(places, ["x", "y"], list(columns), label=label)


def draw_outlines(places: pd.DataFrame, colors: Theme) -> hv.Element:
    """Draw the places that have no value of their own, as dots or faint outlines.

    Args:
        places: What `prepare_places` gives.
        colors: The theme.

    Returns:
        A HoloViews element.
    """
    # Of so many cells, outlines would be all that one sees.
    element = draw_places(places.head(0) if is_fine(places) else places, ["node"])
    if noun_of(places) == "sensor":
        return options(element, color=colors.muted, size=3, alpha=0.8)
    return options(element, line_color=colors.muted, line_width=0.5, line_alpha=0.35, **HOLLOW)


def draw_selected(
    places: pd.DataFrame, selected: str | Sequence[str] | None, colors: Theme
) -> list[hv.Element]:
    """Ring some places, and name them where they are few.

    Args:
        places: What `prepare_places` gives.
        selected: Ids of places.
        colors: The theme.

    Returns:
        The rings and the names.

    Raises:
        ValueError: A place is not there.
    """
    names = [selected] if isinstance(selected, str) else list(selected or [])
    shown = _find(places, names, name="selected")
    ring = options(
        draw_places(shown, ["node"], label="Selected"),
        **HOLLOW,
        line_color=colors.target,
        # Many at once would hide what lies under them.
        line_width=3 if len(shown) <= MOST_NAMED else 1.5,
        nonselection_alpha=1.0,
    )
    if noun_of(places) == "sensor":
        options(ring, size=17)
    return [ring, name_places(few(shown), colors, label="Selected names")]


def draw_hidden(places: pd.DataFrame, hidden: Sequence[str], colors: Theme) -> list[hv.Element]:
    """Cross out some places.

    Args:
        places: What `prepare_places` gives.
        hidden: Ids of places.
        colors: The theme.

    Returns:
        The crosses; nothing where there are no ids.

    Raises:
        ValueError: A place is not there.
    """
    if not len(hidden):
        return []
    shown = _find(places, hidden, name="hidden")
    crosses = hv.Points(shown, ["x", "y"], [], label="Hidden")
    return [options(crosses, marker="x", size=11, color=colors.text, line_width=2.5)]


def _find(places: pd.DataFrame, nodes: Sequence[str], *, name: str) -> pd.DataFrame:
    """Give the rows of some places, or say which is not there."""
    known = places["node"].isin(nodes)
    if len(missing := set(nodes) - set(places["node"][known])):
        data = xr.Dataset(coords={"node": places["node"].to_numpy()})
        pick(data, "node", min(missing), name=name)
    return places[known]


def few(places: pd.DataFrame, most: int = MOST_NAMED) -> pd.DataFrame:
    """Give the places whose names have room on a map.

    Args:
        places: What `prepare_places` gives, or some of its rows.
        most: So many are few.

    Returns:
        All where they are few, else none.
    """
    return places if len(places) <= most else places.head(0)


def name_places(places: pd.DataFrame, colors: Theme, *, label: str) -> hv.Labels:
    """Write the names of places beside them.

    Args:
        places: What `prepare_places` gives, or some of its rows.
        colors: The theme.
        label: Of the element.

    Returns:
        The names.
    """
    names = options(
        hv.Labels(places, ["x", "y"], ["name"], label=label),
        text_color=colors.target,
        text_font_size="10pt",
        text_font_style="bold",
        background_fill_color=colors.land,
        background_fill_alpha=0.75,
    )
    return beside(names)


def hover_lines(places: pd.DataFrame) -> list[tuple[str, str]]:
    """Say in the hover which place it is.

    Args:
        places: What `prepare_places` gives.

    Returns:
        Lines of Bokeh's hover tool; they need the columns node and name.
    """
    if noun_of(places) == "zone":
        return [("zone", "@name (@node)")]
    return [(noun_of(places), "@node")]


def _shapes(places: pd.DataFrame, columns: Sequence[str]) -> list[dict]:
    """Give polygons as HoloViews takes them: parts with NaN between, and the holes of each."""
    if not len(places):
        return []
    west, _, east, _ = bounds_of(places)
    shapes = []
    for row in places.to_dict("records"):
        outer, holes = [], []
        for first, *others in shape_parts(row["shape"], tolerance=(east - west) * FINEST):
            outer += [np.stack(to_mercator(*first.T), -1), np.full((1, 2), np.nan)]
            holes.append([np.stack(to_mercator(*ring.T), -1) for ring in others])
        x, y = np.concatenate(outer[:-1]).T
        shape = {"x": x, "y": y, "holes": holes}
        shapes.append(shape | {name: row[name] for name in columns})
    return shapes
