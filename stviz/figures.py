"""What every HoloViews figure shares: frame, titles, colours and map axes, without global state."""

from collections.abc import Callable, Mapping
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # the drawing classes, for any current backend
import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxSelectTool,
    CustomJS,
    CustomJSTickFormatter,
    MercatorTicker,
    MercatorTickFormatter,
    NumeralTickFormatter,
    Title,
)

from stviz.geography import from_mercator
from stviz.labels import DOT, wrap_facts, wrap_words
from stviz.theme import Theme

__all__ = ["LiveFigure", "beside", "draw_boxes", "finish", "options"]

# Widens the shorter axis until a metre is as long on both, at any size of the figure.
KEEP_ASPECT = """
const width = figure.inner_width, height = figure.inner_height
const x = figure.x_range, y = figure.y_range
// While a page hides or lays out the figure, it has a size that nobody sees.
if (width < 60 || height < 60) return
const across = (x.end - x.start) / width, up = (y.end - y.start) / height
if (across < up * 0.999) {
  const middle = (x.start + x.end) / 2, half = up * width / 2
  x.setv({start: middle - half, end: middle + half})
} else if (up < across * 0.999) {
  const middle = (y.start + y.end) / 2, half = across * height / 2
  y.setv({start: middle - half, end: middle + half})
}
"""
# Breaks the lines around a figure that fills its place where they end, at any width.
WRAP = """
const room = figure.outer_width - 76  // right of the axis
if (!(room > 80)) return
const paper = document.createElement("canvas").getContext("2d")
for (const line of lines) {
  const [text, between] = line.tags
  if (!text) continue
  paper.font = `${line.text_font_style} ${line.text_font_size} ${line.text_font}`
  const rows = []
  for (const part of text.split(between)) {
    const longer = rows.length ? rows.at(-1) + between + part : part
    if (rows.length && paper.measureText(longer).width > room) rows.push(part)
    else rows.splice(-1, 1, longer)
  }
  line.text = rows.join("\\n")
}
"""
MARK, LEGEND_LETTER, BESIDE = 36, 5.0, 60  # pixels in a legend, and of the axis beside it
TITLE_LETTER = 9.5  # pixels of an average bold letter
# What a drag does follows a tag; Bokeh itself looks at that once alone.
DRAG = """
const [box, pan] = ["BoxSelect", "Pan"].map(
  (name) => figure.toolbar.tools.find(({type}) => type === `${name}Tool`))
if (box && pan) (figure.tags.includes("stviz-boxes") ? box : pan).active = true
"""
BOXES = "stviz-boxes"
SUBTITLE, CREDIT = "stviz-subtitle", "stviz-credit"
TAPPED, BOXED = "stviz-tapped", "stviz-boxed"


def options(element: Any, **values: Any) -> Any:
    """Set Bokeh options on an element, whatever backend is current.

    Args:
        element: A new HoloViews element or overlay; changed in place, as copies are slow.
        values: Options of the element's Bokeh plot.

    Returns:
        The same element.
    """
    return element.opts(clone=False, backend="bokeh", **values)


def beside(label: Any) -> Any:
    """Put names to the upper right of their places, at any zoom.

    Args:
        label: A `Labels` element; changed in place.

    Returns:
        The same element.
    """

    def shift(plot: Any, _element: Any) -> None:
        plot.handles["glyph"].update(x_offset=8, y_offset=-6)

    return options(label, text_align="left", text_baseline="bottom", hooks=[shift])


class LiveFigure:
    """A figure on a live page whose layers take other numbers in a few milliseconds.

    HoloViews needs ten times as long to draw it again. Axes, colours and the kinds of layers stay
    as they were drawn. The figure must fill its place (`width=None`).

    Args:
        overlay: The layers, not yet rendered; each tells its parts here when it is.
    """

    def __init__(self, overlay: hv.Overlay) -> None:
        self.figure: Any = None
        self._handles: dict[str, list[Mapping[str, Any]]] = {}
        for layer in overlay:
            before = layer.opts.get("plot", backend="bokeh").kwargs.get("hooks", [])
            options(layer, hooks=[*before, self._keep])

    def _keep(self, plot: Any, layer: hv.Element) -> None:
        self.figure = plot.state
        same = self._handles.setdefault(layer.label, [])
        if all(known is not plot.handles for known in same):
            same.append(plot.handles)

    def fill(self, label: str, columns: Mapping[str, Any]) -> None:
        """Give all layers of one label other numbers.

        Args:
            label: The label.
            columns: At least the columns that the layers have.
        """
        for handles in self._handles[label]:
            source = handles["source"]
            source.data = {name: columns[name] for name in source.data}

    def scale(self, label: str, low: float, high: float) -> None:
        """Set the ends of a layer's colour scale.

        Args:
            label: The label.
            low: The value of the first colour.
            high: The value of the last colour.
        """
        for handles in self._handles[label]:
            handles["color_color_mapper"].update(low=low, high=high)

    def bring_into_view(self, xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
        """Move the frame of a map if it does not hold another one; else the reader's stays.

        Args:
            xlim: Ends of the other frame, Web Mercator metres.
            ylim: Likewise.
        """
        x, y = self.figure.x_range, self.figure.y_range
        if x.start <= xlim[0] and xlim[1] <= x.end and y.start <= ylim[0] and ylim[1] <= y.end:
            return
        across, up = self.figure.inner_width or 1, self.figure.inner_height or 1
        metres = max((xlim[1] - xlim[0]) / across, (ylim[1] - ylim[0]) / up) / 2  # half a pixel
        for ends, limits, pixels in ((x, xlim, across), (y, ylim, up)):
            middle = sum(limits) / 2
            ends.update(start=middle - metres * pixels, end=middle + metres * pixels)

    def entitle(self, title: str, subtitle: str) -> None:
        """Set the two lines above the figure.

        Args:
            title: The first line.
            subtitle: The second line.
        """
        line = next(line for line in self.figure.above if line.name == SUBTITLE)
        _write(self.figure.title, title, wrap_words(title, letter=TITLE_LETTER))
        _write(line, subtitle, wrap_facts(subtitle), between=DOT)


def finish(
    overlay: hv.Overlay,
    *,
    title: str,
    subtitle: str,
    credit: str,
    theme: Theme,
    width: int | None,
    height: int | None,
    is_map: bool = False,
    bar: str = "",
    on_tap: Callable[[float, float], None] | None = None,
    on_box: Callable[[tuple[float, float, float, float]], None] | None = None,
    **values: Any,
) -> hv.Overlay:
    """Give an overlay its titles, colours and size.

    Args:
        overlay: The layers.
        title: The first line above the figure.
        subtitle: The second, smaller line; may be empty.
        credit: The source line below the figure.
        theme: The colours.
        width: Pixels; None fills the place where the figure is put.
        height: Pixels; None fills.
        is_map: The axes are Web Mercator metres: label them in degrees and keep the aspect.
        bar: The unit at the ticks of the colour bar; "%" for shares of 1.
        on_tap: Called with the coordinates of a tap, on a live page only.
        on_box: Called with west, south, east and north in degrees of a box on a map, likewise.
        values: More options of the overlay.

    Returns:
        The finished overlay.
    """
    size: dict[str, Any] = {"width": width, "height": height}
    size = {name: pixels for name, pixels in size.items() if pixels is not None}
    if width is None or height is None:
        size["responsive"] = True
    if not is_map:
        # Axes follow the data at every update; a map keeps the frame that the reader chose.
        # Not `axiswise`, with which HoloViews would keep the ranges of the first frame.
        for layer in overlay:
            options(layer, framewise=True)
        # The wheel scrolls the page; a tool of the figure zooms when it is chosen.
        values.setdefault("active_tools", [])
    if is_map:
        values |= {"xlabel": "longitude", "ylabel": "latitude"}
    values.setdefault("legend_opts", {"orientation": "horizontal", "padding": 4, "spacing": 8})
    hooks = [_decorate(title, subtitle, credit, width, theme, is_map, bar)]
    if on_tap is not None:
        hooks.append(_listen(on_tap))
    if on_box is not None:
        hooks.append(_listen_for_box(on_box))
    return options(
        overlay,
        # HoloViews formats its titles; the hook below sets the words as they are.
        title=title.replace("{", "{{").replace("}", "}}"),
        hooks=hooks,
        bgcolor=theme.plot if is_map else theme.paper,
        fontsize={"title": 12, "labels": 10, "ticks": 9, "legend": 9},
        toolbar="above",
        **size,
        **values,
    )


def _decorate(
    title: str,
    subtitle: str,
    credit: str,
    width: int | None,
    theme: Theme,
    is_map: bool,
    bar: str,
) -> Callable[[Any, Any], None]:
    def decorate(plot: Any, _element: Any) -> None:
        figure = plot.state
        # So few marks are drawn at once by hand; WebGL has to start and to copy each frame.
        figure.output_backend = "canvas"
        # Its tools share their place with the lines above the plot.
        figure.toolbar.autohide = True
        _color_figure(figure, theme, bar)
        _fit_legends(figure, width or 500)
        figure.background_fill_color = theme.plot if is_map else theme.paper
        # Layouts above stack outwards, so the subtitle goes between the title and the plot.
        lines = [_line(figure, SUBTITLE, "above", theme), _line(figure, CREDIT, "below", theme)]
        _write(lines[0], subtitle, wrap_facts(subtitle, width=width), between=DOT)
        _write(lines[1], credit, wrap_words(credit, width=width))
        if figure.title is not None:
            _write(figure.title, title, wrap_words(title, width=width, letter=TITLE_LETTER))
            figure.title.update(text_color=theme.text, text_font_style="bold")
            lines.append(figure.title)
        if width is None and not any("outer_width" in key for key in figure.js_property_callbacks):
            wrap = CustomJS(args={"figure": figure, "lines": lines}, code=WRAP)
            figure.js_on_change("outer_width", wrap)
            for line in lines:
                line.js_on_change("text", wrap)
                line.js_on_change("tags", wrap)
        if is_map:
            _set_axes_of_map(figure)

    return decorate


def _set_axes_of_map(figure: Any) -> None:
    if not any("inner_width" in name for name in figure.js_property_callbacks):
        keep = CustomJS(args={"figure": figure}, code=KEEP_ASPECT)
        figure.js_on_change("inner_width", keep)
        figure.js_on_change("inner_height", keep)
    for axes, dimension in ((figure.xaxis, "lon"), (figure.yaxis, "lat")):
        for axis in axes:
            if not isinstance(axis.ticker, MercatorTicker):
                axis.ticker = MercatorTicker(dimension=dimension, desired_num_ticks=5)
                axis.formatter = MercatorTickFormatter(dimension=dimension)


def _listen(on_tap: Callable[[float, float], None]) -> Callable[[Any, Any], None]:
    def listen(plot: Any, _element: Any) -> None:
        # Hooks run again at every update of a figure, which must not listen twice.
        if TAPPED not in plot.state.tags:
            plot.state.tags = [*plot.state.tags, TAPPED]
            plot.state.on_event("tap", lambda event: on_tap(event.x, event.y))

    return listen


def draw_boxes(figure: Any, *, wanted: bool) -> None:
    """Have a drag over a map draw a box, or move the map.

    Args:
        figure: A Bokeh figure that listens for boxes.
        wanted: A box.
    """
    tool = next(tool for tool in figure.tools if isinstance(tool, BoxSelectTool))
    figure.toolbar.active_drag = tool if wanted else "auto"  # of one that is still to be shown
    figure.tags = [tag for tag in figure.tags if tag != BOXES] + [BOXES] * wanted


def _listen_for_box(
    on_box: Callable[[tuple[float, float, float, float]], None],
) -> Callable[[Any, Any], None]:
    def call(event: SelectionGeometry) -> None:
        box: Any = event.geometry
        if event.final and box["type"] == "rect":
            corners = (np.array([box[f"{axis}{end}"] for end in (0, 1)]) for axis in "xy")
            (west, east), (south, north) = from_mercator(*corners)
            on_box((float(west), float(south), float(east), float(north)))

    def listen(plot: Any, _element: Any) -> None:
        if BOXED not in plot.state.tags:
            plot.state.tags = [*plot.state.tags, BOXED]
            # Of no renderer: a selection would draw all layers again.
            plot.state.add_tools(BoxSelectTool(renderers=[]))
            plot.state.js_on_change("tags", CustomJS(args={"figure": plot.state}, code=DRAG))
            plot.state.on_event(SelectionGeometry, call)

    return listen


def _fit_legends(figure: Any, width: int) -> None:
    """Break a row of names that is wider than the figure into columns."""
    for legend in figure.legend:
        names = [str(getattr(item.label, "value", "")) for item in legend.items]
        pixels = [MARK + LEGEND_LETTER * len(name) for name in names]
        if legend.ncols == "auto" and sum(pixels) > width - BESIDE:
            legend.ncols = max(1, int((width - BESIDE) // max(pixels)))


def _write(line: Title, text: str, wrapped: str, *, between: str = " ") -> None:
    """Set a line; a page breaks it anew where the text in its tags fits."""
    line.update(text=wrapped, tags=[text, between], visible=bool(text))


def _line(figure: Any, name: str, place: str, theme: Theme) -> Title:
    line = next((item for item in getattr(figure, place) if item.name == name), None)
    if line is None:
        line = Title(name=name, text_font_style="normal", text_font_size="9pt", standoff=4)
        figure.add_layout(line, place)
    if place == "below" and figure.below[-1] is not line:
        # HoloViews puts the legend last at every update.
        figure.below = [*(item for item in figure.below if item is not line), line]
    line.text_color = theme.muted
    return line


def _color_figure(figure: Any, theme: Theme, bar: str) -> None:
    figure.border_fill_color = theme.paper
    figure.outline_line_color = theme.grid
    for axis in (*figure.xaxis, *figure.yaxis):
        axis.update(
            axis_label_text_color=theme.muted,
            axis_label_text_font_style="normal",
            major_label_text_color=theme.muted,
            axis_line_color=theme.grid,
            major_tick_line_color=theme.grid,
            minor_tick_line_color=None,
        )
    for grid in (*figure.xgrid, *figure.ygrid):
        grid.grid_line_color = theme.grid
    for legend in figure.legend:
        legend.update(
            label_text_color=theme.text,
            background_fill_color=theme.paper,
            background_fill_alpha=0.8,
            border_line_color=None,
            location="left",
            margin=0,
        )
    for panel in (*figure.right, *figure.left):
        if type(panel).__name__ == "ColorBar":
            if bar not in panel.tags:
                panel.update(formatter=_format_bar(bar), tags=[bar])
            panel.update(
                title=None,
                background_fill_color=theme.paper,
                major_label_text_color=theme.muted,
                major_tick_line_color=theme.paper,
                bar_line_color=None,
            )


def _format_bar(unit: str) -> NumeralTickFormatter | CustomJSTickFormatter:
    if unit == "%":
        return NumeralTickFormatter(format="0.[0]%")
    code = "return `${parseFloat(tick.toPrecision(6))} ${unit}`"
    return CustomJSTickFormatter(args={"unit": unit}, code=code)
