"""A HoloViews figure on the page that stays the same figure."""

from collections.abc import Callable, Hashable
from operator import is_
from typing import Any

import holoviews as hv
import panel as pn

from stviz.figures import LiveFigure, options

__all__ = ["Figure", "SharedZoom"]

# Panes of one page would otherwise share axes that happen to have the same name.
PANE = {"sizing_mode": "stretch_both", "margin": 0, "linked_axes": False}


class SharedZoom:
    """The ranges of several maps of the same places: where one is moved, all are."""

    def __init__(self) -> None:
        self._kind: Hashable = self
        self._ranges: tuple[Any, Any] | None = None

    def join(self, figure: Any, kind: Hashable) -> None:
        """Give a figure the ranges of the others; the first of another kind gives its own.

        Args:
            figure: A Bokeh figure.
            kind: Of the places that it shows.
        """
        if self._ranges is None or kind != self._kind:
            self._kind, self._ranges = kind, (figure.x_range, figure.y_range)
        elif figure.x_range is not self._ranges[0]:
            figure.x_range, figure.y_range = self._ranges


class Figure:
    """A HoloViews pane whose figure is changed in place.

    Args:
        draw: Gives the overlay to show.
        zoom: Ranges that it shares with others; None for its own.
        on_drawn: Called with the Bokeh figure whenever it is drawn.
        pane: Options of the pane.
    """

    def __init__(
        self,
        draw: Callable[[], hv.Overlay],
        *,
        zoom: SharedZoom | None = None,
        on_drawn: Callable[[Any], None] = lambda _figure: None,
        **pane: Any,
    ) -> None:
        self.pane = pn.pane.HoloViews(**{**PANE, **pane})
        # What is to be hidden at times: the pane itself would pass that on to the figure.
        self.place = pn.Column(
            self.pane, sizing_mode=self.pane.sizing_mode, margin=0, height=self.pane.height
        )
        self._overlay, self._zoom, self._on_drawn = draw, zoom, on_drawn
        self._changes = hv.streams.Counter()
        self._kind: Hashable = self
        self._drawn: tuple[object, ...] = (self,)
        self._live: LiveFigure | None = None

    @property
    def shown(self) -> Any:
        """The Bokeh figure on the page; None before there is one."""
        return self._live and self._live.figure

    def as_drawn(self, *drawn: object) -> LiveFigure | None:
        """Give the figure on the page if it only needs other numbers.

        Args:
            drawn: The very objects that it must have been drawn for.

        Returns:
            The figure; None where it must be drawn again.
        """
        live = self._live
        return live if self._is_for(*drawn) and live and live.figure else None

    def is_out_of(self, *drawn: object) -> bool:
        """Say whether it was drawn, and for something else than this."""
        return self._live is not None and not self._is_for(*drawn)

    def _is_for(self, *drawn: object) -> bool:
        return len(drawn) == len(self._drawn) and all(map(is_, drawn, self._drawn))

    def draw(self, *drawn: object, kind: Hashable = None) -> None:
        """Draw again.

        Args:
            drawn: What it is drawn for.
            kind: Another kind is another figure, for example where axes or legend differ.
        """
        self._drawn = drawn
        if kind != self._kind:
            self._kind = kind
            self._changes = hv.streams.Counter()
            self.pane.object = hv.DynamicMap(
                lambda counter: self._listen(),  # noqa: ARG005 - its value is of no interest
                streams=[self._changes],
            )
        else:
            self._changes.event()

    def _listen(self) -> hv.Overlay:
        overlay = self._overlay()
        self._live = LiveFigure(overlay)
        zoom, kind = self._zoom, self._kind

        def finish(plot: Any, _element: Any) -> None:
            self._on_drawn(plot.state)
            if zoom is not None:
                zoom.join(plot.state, kind)

        before = overlay.opts.get("plot", backend="bokeh").kwargs.get("hooks", [])
        return options(overlay, hooks=[*before, finish])
