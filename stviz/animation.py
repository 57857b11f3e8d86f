"""A forecast that rolls out step by step: a page that plays it, and a file for each picture."""

import base64
import json
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from stviz.prepare_frames import Frames, prepare_frames
from stviz.theme import Theme, color_scale, get_theme

__all__ = ["ForecastAnimation", "animate_forecast"]

NUM_COLORS, UNKNOWN = 255, 255  # a byte a value: a colour, or none
PLAYER_HEIGHT = 250  # pixels around the maps, where they stand side by side


def animate_forecast(
    forecast: xr.Dataset,
    *,
    time: object | None = None,
    variable: str = "forecast",
    reference: xr.Dataset | None = None,
    zones: pd.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    basemap: bool = True,
    theme: str | Theme = "light",
    width: int = 460,
    height: int = 400,
) -> "ForecastAnimation":
    """Show all horizon steps of one forecast, one after the other, beside what was measured.

    All frames have one colour scale, so that what changes on the map has changed.

    Args:
        forecast: A labelled forecast, of nodes or a grid.
        time: Forecast origin; the last one when None.
        variable: "forecast", with what was measured beside it where that is known; or one map of
            "target" (measured), "error" (forecast minus measured), "lower", "upper" or "width" of
            the prediction band, or "change" (forecast minus `reference`).
        reference: Another forecast of the same places, times and steps.
        zones: Polygons of the places, for taxi zones `load_zones()`; a GeoDataFrame by node.
        limits: Values at the ends of the colour scale; when None, the same for all times and
            steps of the forecast, and symmetric around zero for errors and changes.
        basemap: Draw land and the lines between neighbouring sensors.
        theme: "light", "dark" or a `Theme`.
        width: Of one map, pixels.
        height: Of one map, pixels.

    Returns:
        The animation; notebooks show its player.

    Raises:
        ValueError: The variable, time or theme is not there, a place has no polygon, or a change
            has no reference that fits.

    Example:
        >>> animation = animate_forecast(forecast)  # doctest: +SKIP
        >>> animation.save("rollout.html")  # doctest: +SKIP
        >>> animation.write_frames("frames")  # doctest: +SKIP
    """
    colors = get_theme(theme)
    frames = prepare_frames(
        forecast, time=time, variable=variable, reference=reference, zones=zones, limits=limits,
        basemap=basemap, width=width, height=height,
    )  # fmt: skip
    return ForecastAnimation(frames=frames, theme=colors)


@dataclass(frozen=True, kw_only=True)
class ForecastAnimation:
    """A forecast frame by frame; what `animate_forecast` gives.

    Args:
        frames: What is drawn.
        theme: The colours.
    """

    frames: Frames
    theme: Theme

    @property
    def html(self) -> str:
        """A page that plays the frames, with all that it needs inside; it may load nothing."""
        template = files("stviz").joinpath("player", "player.html").read_text("utf-8")
        # A script ends at the first "</script", wherever that stands.
        data = json.dumps(_fields(self), separators=(",", ":")).replace("<", "\\u003c")
        parts = {"title": escape(self.frames.titles[0]), "style": _style(self), "data": data}
        # In one pass: what a title says is never taken for a place to fill.
        return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)

    def save(self, path: str | Path) -> Path:
        """Write the page.

        Args:
            path: The file, `.html`.

        Returns:
            The file.
        """
        Path(path).write_text(self.html, "utf-8")
        return Path(path)

    def write_frames(self, folder: str | Path) -> list[Path]:
        """Write a picture for each frame, for slides or a film.

        Args:
            folder: Made where it is not there; pictures of the same names are replaced.

        Returns:
            The files, `frame-001.png` and so on.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: The folder holds further frames, of another animation.
        """
        from stviz.frame_pictures import write_pictures

        return write_pictures(self.frames, self.theme, Path(folder))

    def _repr_html_(self) -> str:
        width, height = self.frames.size
        return (
            f'<iframe title="{escape(self.frames.titles[0])}" sandbox="allow-scripts" '
            f'srcdoc="{escape(self.html)}" style="border:0;width:100%;'
            f'max-width:{len(self.frames.panels) * (width + 16) + 32}px" '
            f'height="{height + PLAYER_HEIGHT}"></iframe>'
        )


def _style(animation: ForecastAnimation) -> str:
    colors = animation.theme
    scale = ",".join(color_scale(_stops(animation), count=9))
    names = ("paper", "plot", "text", "muted", "grid", "target", "gap")
    rules = [f"--{name}:{getattr(colors, name)}" for name in names]
    rules += [f"--scale:{scale}", f"--width:{animation.frames.size[0]}px"]
    return f":root{{color-scheme:{colors.name};{';'.join(rules)}}}"


def _stops(animation: ForecastAnimation) -> tuple[str, ...]:
    return animation.theme.error if animation.frames.is_diverging else animation.theme.value


def _fields(animation: ForecastAnimation) -> dict[str, object]:
    """Give the numbers and words of the page."""
    frames, colors = animation.frames, animation.theme
    return {
        "size": frames.size,
        "noun": frames.noun,
        "places": [[ring.tolist() for ring in rings] for rings in frames.places],
        "land": [ring.tolist() for ring in frames.land],
        "roads": frames.roads.tolist(),
        "panels": [
            {"label": panel.label, "codes": _codes(panel.values, frames.limits)}
            for panel in frames.panels
        ],
        "palette": [*color_scale(_stops(animation), count=NUM_COLORS), colors.gap],
        "titles": frames.titles,
        "facts": frames.facts,
        "summaries": frames.summaries,
        "has_gaps": bool(frames.has_gaps),
        "ends": [f"{end} {frames.units}".strip() for end in frames.ends],
        "credit": frames.credit,
        "colors": {
            "water": colors.plot, "land": colors.land, "border": colors.border,
            "road": colors.road, "edge": colors.text if colors.name == "light" else colors.muted,
        },
    }  # fmt: skip


def _codes(values: np.ndarray, limits: tuple[float, float]) -> str:
    """Give each value the number of its colour, frame after frame, as base64 of a byte each."""
    low, high = limits
    share = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    codes = np.rint(np.nan_to_num(share) * (NUM_COLORS - 1))
    codes = np.where(np.isfinite(values), codes, UNKNOWN).astype(np.uint8)
    return base64.b64encode(codes.tobytes()).decode()
