"""Frames as PNG files, drawn by matplotlib without a screen or a browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stviz.labels import wrap_words
from stviz.prepare_frames import Frames, Panel
from stviz.theme import Theme, color_scale, pick_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_pictures"]

DPI, PIXEL = 144, 72 / 96  # twice as many pixels as on a page, and a page's pixel in points
GAP, TOP, BOTTOM = 16, 84, 92  # pixels of a page: beside maps, and for the words


def write_pictures(frames: Frames, theme: Theme, folder: Path) -> list[Path]:
    """Write a picture for each frame; see `ForecastAnimation.write_frames`.

    Args:
        frames: What is drawn.
        theme: The colours.
        folder: Made where it is not there.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The folder holds frames that would not be replaced.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Pictures of frames need matplotlib; install it with `pip install 'sttrans[frames]'`."
        ) from error
    paths = [folder / f"frame-{number:03d}.png" for number in range(1, len(frames.titles) + 1)]
    others = sorted({path.name for path in folder.glob("frame-*.png")} - {p.name for p in paths})
    if others:
        raise ValueError(
            f"The folder must hold no frames of another animation; got {others[0]} in "
            f"{folder.name} where there are {len(paths)} frames. Empty it or name another one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        _draw(frames, theme, number).savefig(path, dpi=DPI)
    return paths


def _draw(frames: Frames, theme: Theme, number: int) -> "Figure":
    from matplotlib.figure import Figure

    width, height = frames.size
    across = len(frames.panels) * (width + GAP) + GAP
    down = TOP + height + BOTTOM
    figure = Figure(figsize=(across / 96, down / 96), facecolor=theme.paper)

    def write(x: float, y: float, text: str, size: float, **style: Any) -> None:
        # What users write may hold dollar signs, which are no formula.
        style = {"color": theme.text, "va": "top", "parse_math": False, **style}
        figure.text(x / across, 1 - y / down, text, fontsize=size * PIXEL, **style)

    # A title of one map may need two lines.
    write(GAP, 10, wrap_words(frames.titles[number], width=across, letter=8.5), 16, weight="bold")
    write(GAP, 52, frames.facts[number], 12, color=theme.muted, va="bottom")
    for place, panel in enumerate(frames.panels):
        left = GAP + place * (width + GAP)
        write(left, TOP - 6, panel.label, 13, weight="bold", va="bottom")
        box = (left / across, BOTTOM / down, width / across, height / down)
        axes = figure.add_axes(box, xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.set_facecolor(theme.plot)
        axes.spines[:].set_visible(False)
        _draw_map(axes, frames, theme, panel, number)
    stops = theme.error if frames.is_diverging else theme.value
    length = min(300, width)
    bar = figure.add_axes((GAP / across, (BOTTOM - 24) / down, length / across, 10 / down))
    bar.imshow([_rgb(color_scale(stops))], aspect="auto")
    bar.set_axis_off()
    ends = [f"{end} {frames.units}".strip() for end in frames.ends]
    for share, end, side in zip((0, 0.5, 1), ends, ("left", "center", "right"), strict=True):
        write(GAP + share * length, down - BOTTOM + 28, end, 11, ha=side)
    if frames.has_gaps:
        write(2 * GAP + length, down - BOTTOM + 28, "grey: no reading", 11, color=theme.muted)
    write(GAP, down - 40, frames.summaries[number], 12)
    credit = wrap_words(frames.credit, width=across, letter=5.5).split("\n")[0]
    write(GAP, down - 20, credit, 10.5, color=theme.muted)
    return figure


def _draw_map(axes: Any, frames: Frames, theme: Theme, panel: Panel, number: int) -> None:
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Circle, PathPatch

    def thin(pixels: float) -> float:
        return pixels * PIXEL

    land = [PathPatch(_path(frames.land))] if frames.land else []
    ground = {"facecolors": theme.land, "edgecolors": theme.border, "linewidths": thin(0.8)}
    axes.add_collection(PatchCollection(land, zorder=1, **ground), autolim=False)
    roads = {"colors": theme.road, "linewidths": thin(3), "capstyle": "round"}
    axes.add_collection(LineCollection(frames.roads, zorder=2, **roads), autolim=False)
    stops = theme.error if frames.is_diverging else theme.value
    values = panel.values[number]
    fill = pick_colors(values, stops=stops, limits=frames.limits, missing=theme.gap)
    edge = theme.text if theme.name == "light" else theme.muted
    line = {"sensor": edge, "cell": fill, "zone": theme.border}[frames.noun]
    shapes = [
        Circle(rings[0][0], 5) if frames.noun == "sensor" else PathPatch(_path(rings))
        for rings in frames.places
    ]
    style = {"facecolors": fill, "edgecolors": line, "linewidths": thin(0.6)}
    axes.add_collection(PatchCollection(shapes, zorder=3, **style), autolim=False)
    if frames.noun == "cell":
        coast = {"facecolors": "none", "edgecolors": theme.text, "linewidths": thin(0.8)}
        axes.add_collection(PatchCollection(land, alpha=0.6, zorder=4, **coast), autolim=False)


def _path(rings: list[np.ndarray]) -> Any:
    """Give rings as one path, in which a hole stays empty."""
    from matplotlib.path import Path as Outline

    return Outline.make_compound_path(*(Outline(ring, closed=False) for ring in rings))


def _rgb(colors: list[str]) -> list[tuple[int, ...]]:
    return [tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in colors]
