"""Colours and their meaning: one place for every picture, light and dark.

Values (readings, forecasts) are viridis, weights are one warm sequential scale whose strong end
stands out from the background, and errors diverge around zero. All are safe for the common kinds
of colour blindness. Nothing here is global state: each drawing takes `theme="light"` or "dark".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["THEMES", "Theme", "color_scale", "get_theme", "pick_colors", "rgba"]

_VIRIDIS = (
    "#440154",
    "#482878",
    "#3e4989",
    "#31688e",
    "#26828e",
    "#1f9e89",
    "#35b779",
    "#6ece58",
    "#b5de2b",
    "#fde725",
)


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of one appearance.

    Args:
        name: "light" or "dark".
        paper: Around the figure.
        plot: Behind the data; water on a map.
        land: Land on a map.
        border: Coast and state lines.
        road: Lines between neighbouring sensors.
        text: Titles and labels.
        muted: Secondary text and axis lines.
        grid: Grid lines.
        target: The place and time that is forecast.
        window: Outline of the recent local window.
        gap: Where readings are missing.
        categories: Okabe-Ito colours for lines, in the order of use.
        value: Stops of the sequential scale of readings.
        weight: Stops of the sequential scale of attention weights.
        error: Stops of the diverging scale of errors.
    """

    name: str
    paper: str
    plot: str
    land: str
    border: str
    road: str
    text: str
    muted: str
    grid: str
    target: str
    window: str
    gap: str
    categories: tuple[str, ...]
    value: tuple[str, ...]
    weight: tuple[str, ...]
    error: tuple[str, ...]


THEMES = {
    "light": Theme(
        name="light",
        paper="#ffffff",
        plot="#dfe9ef",
        land="#f6f5f1",
        border="#b9b6ac",
        road="#c2c0b8",
        text="#1c1f23",
        muted="#5f666d",
        grid="#d9d9d4",
        target="#0072B2",
        window="#009E73",
        gap="#c9ccd0",
        categories=(
            "#0072B2",
            "#D55E00",
            "#009E73",
            "#CC79A7",
            "#E69F00",
            "#56B4E9",
            "#8c8c8c",
            "#a39400",
        ),
        value=_VIRIDIS,
        weight=("#f7cf7a", "#f4ac49", "#e67f22", "#bd4d11", "#6a2206"),
        error=("#053061", "#2b7bba", "#92c5de", "#e6e4e0", "#f4a582", "#c8423f", "#67001f"),
    ),
    "dark": Theme(
        name="dark",
        paper="#14171a",
        plot="#171d23",
        land="#22262a",
        border="#4a5058",
        road="#4b525a",
        text="#eceff1",
        muted="#9aa3ab",
        grid="#343a40",
        target="#56B4E9",
        window="#2fc79a",
        gap="#3d444b",
        categories=(
            "#56B4E9",
            "#f0803c",
            "#2fc79a",
            "#dd9bc1",
            "#E69F00",
            "#3f8fd0",
            "#a0a0a0",
            "#F0E442",
        ),
        value=_VIRIDIS,
        weight=("#6b4a26", "#a4611f", "#e08a2a", "#fbbd55", "#fff3c4"),
        error=("#8fc7ff", "#3f8fd0", "#2a5474", "#33373b", "#7a3b34", "#d9604f", "#ffb199"),
    ),
}


def get_theme(theme: str | Theme) -> Theme:
    """Give the colours of a theme by name.

    Args:
        theme: "light", "dark" or a `Theme` of your own.

    Returns:
        The theme.

    Raises:
        ValueError: The name is unknown.
    """
    if isinstance(theme, Theme):
        return theme
    if theme not in THEMES:
        raise ValueError(
            f"theme must be one of {', '.join(THEMES)}; got {theme!r}. "
            "Pass one of these names or a Theme."
        )
    return THEMES[theme]


def color_scale(stops: Sequence[str], *, count: int = 256) -> list[str]:
    """Spread colour stops evenly over a longer palette.

    Args:
        stops: Two or more colours as "#rrggbb".
        count: Colours to give, at least 2.

    Returns:
        `count` colours as "#rrggbb", the first and last stop at the ends.
    """
    known = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], float)
    at = np.linspace(0, len(stops) - 1, count)
    channels = [np.interp(at, np.arange(len(stops)), known[:, i]) for i in range(3)]
    rgb = np.rint(np.stack(channels, -1)).astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb]


def pick_colors(
    values: Sequence[float] | np.ndarray | pd.Series,
    *,
    stops: Sequence[str],
    limits: tuple[float, float],
    missing: str,
) -> list[str]:
    """Give each value its colour on a scale.

    Args:
        values: Numbers, NaN where missing.
        stops: Colour stops from the low to the high limit.
        limits: Values at the two ends; values beyond take the colour of the end.
        missing: Colour for NaN.

    Returns:
        One "#rrggbb" per value.
    """
    palette = color_scale(stops)
    low, high = limits
    numbers = np.asarray(values, float)
    share = np.clip((numbers - low) / ((high - low) or 1.0), 0, 1)
    index = np.rint(np.nan_to_num(share) * (len(palette) - 1)).astype(int)
    known = np.isfinite(numbers)
    return [palette[i] if is_known else missing for i, is_known in zip(index, known, strict=True)]


def rgba(color: str, alpha: float) -> str:
    """Give a "#rrggbb" colour an opacity.

    Args:
        color: A colour as "#rrggbb".
        alpha: Opacity from 0 to 1.

    Returns:
        The colour as "rgba(r, g, b, a)".
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"
