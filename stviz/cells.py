"""Many cells of a grid as one image, which a page draws a hundred times faster than rectangles."""

from collections.abc import Sequence

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr
from bokeh.models import CustomJSHover, HoverTool

from stviz.geography import from_mercator
from stviz.places import EDGES, LABELS, cell_numbers, noun_of

__all__ = ["draw_image", "image_hover", "is_fine"]

MOST_RECTANGLES = 4_000
MOST_PIXELS = 1_000  # along each side
PIXELS_PER_ROW = 3  # at the row that the map shows narrowest
# What lies under the pointer is told in degrees, as the axes are.
POINTER = """
const radius = 6378137, {x, y} = special_vars
const east = ((x / radius * 180 / Math.PI + 180) % 360 + 360) % 360 - 180
const north = 360 / Math.PI * Math.atan(Math.exp(y / radius)) - 90
const name = (number, letters) => `${Math.abs(number).toFixed(1)}°${letters[+(number < 0)]}`
return `${name(north, "NS")}, ${name(east, "EW")}`
"""


def is_fine(places: pd.DataFrame) -> bool:
    """Say whether places are cells, and too many to be drawn one by one.

    Args:
        places: What `prepare_places` gives.

    Returns:
        True for more than 4,000 cells.
    """
    return noun_of(places) == "cell" and len(places) > MOST_RECTANGLES


def draw_image(cells: pd.DataFrame, columns: Sequence[str]) -> hv.Image:
    """Give the cells of a grid as an image in Web Mercator metres, without any colours.

    The map stretches rows of latitude; the image has even rows, each with the values of the row of
    cells that it lies in. Of a grid of more than a thousand rows or columns, several cells
    together give their mean.

    Args:
        cells: What `prepare_places` gives, with further columns.
        columns: Numbers; the first is drawn, the others are there for the hover.

    Returns:
        The image, NaN where there is no cell.
    """
    rows, across = cell_numbers(cells)
    shape = rows.max() + 1, across.max() + 1
    grids = {}
    for name in columns:
        grid = np.full(shape, np.nan, np.float32)
        grid[rows, across] = cells[name]
        grids[name] = (("row", "column"), grid)
    together = {"row": -(-shape[0] // MOST_PIXELS), "column": -(-shape[1] // MOST_PIXELS)}
    fewer = xr.Dataset(grids).coarsen(together, boundary="pad").mean()

    left, bottom, right, top = (cells[side].to_numpy() for side in EDGES)
    width = (right - left).mean() * together["column"]
    x = left.min() + width * (np.arange(fewer.sizes["column"]) + 0.5)
    heights = top - bottom  # none beyond the ends of the map
    count = PIXELS_PER_ROW * round((top.max() - bottom.min()) / heights[heights > 0].min())
    ends = np.linspace(bottom.min(), top.max(), min(count, MOST_PIXELS) + 1)
    y = (ends[1:] + ends[:-1]) / 2
    north = from_mercator(np.zeros_like(y), y)[1]
    latitude = np.unique(cells["latitude"])
    spacing = (latitude[-1] - latitude[0]) / (shape[0] - 1)
    row = np.floor((north - latitude[0]) / spacing + 0.5) // together["row"]
    row = np.clip(row.astype(int), 0, fewer.sizes["row"] - 1)
    values = {name: fewer[name].values[row] for name in columns}
    # HoloViews would warn where there is no value, such as measurements of the future.
    dimensions = [
        hv.Dimension(name, range=_span(each[np.isfinite(each)])) for name, each in values.items()
    ]
    return hv.Image((x, y, *values.values()), ["x", "y"], dimensions, label=LABELS["cell"])


def _span(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def image_hover(lines: Sequence[tuple[str, str]]) -> HoverTool:
    """Say under the pointer where it is, and what is there.

    Args:
        lines: Titles and fields of the lines after the first.

    Returns:
        A tool of Bokeh.
    """
    return HoverTool(
        tooltips=[("at", "$x{custom}"), *lines],
        formatters={"$x": CustomJSHover(code=POINTER)},
    )
