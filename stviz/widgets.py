"""The alignment under controls, for notebooks: sensor, time, segment, head and k."""

from collections.abc import Callable
from html import escape

import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from sttrans_core.grid import as_nodes
from stviz.alignment_cube import plot_alignment_cube
from stviz.labels import clock, describe_lead, minutes_per_step, pick, pick_time
from stviz.tables import alignment_table
from stviz.theme import Theme, get_theme

try:
    import anywidget  # noqa: F401 - what plotly's FigureWidget is made of
    import ipywidgets as widgets
except ModuleNotFoundError as error:
    # Not that kind of error again: for that one the package names the extra of the drawings.
    raise ImportError(
        f"stviz.alignment_widget needs {error.name}, which is not installed. "
        "Install the extra for notebooks: pip install 'sttrans[notebooks]'."
    ) from error

__all__ = ["alignment_widget"]

ROWS = 12
MEAN = -1  # a choice of None shows as an empty box


def alignment_widget(
    align: Callable[..., xr.Dataset],
    *,
    forecast: xr.Dataset,
    dataset: xr.Dataset,
    node: str | None = None,
    time: object | None = None,
    segment: int = 1,
    topk: int = 16,
    max_topk: int = 64,
    theme: str | Theme = "light",
    height: int = 560,
) -> widgets.VBox:
    """Explore what forecasts looked at, with a model at hand.

    Every change asks the model again, so k here is what the model may use, not only what is shown.
    The widget never trains and never loads anything itself.

    Args:
        align: Called as `align(time=..., node=..., topk=...)`; gives a labelled alignment that
            holds this node. For a `Forecaster`: `lambda time, node, topk: forecaster.align(dataset,
            time, nodes=[node], topk=topk)`.
        forecast: A labelled forecast; its origins and sensors are the choices.
        dataset: The dataset behind it, for the map on the floor.
        node: The sensor at first; the first one when None.
        time: The forecast origin at first; the last one when None.
        segment: The block of horizon steps at first, from 1.
        topk: Sources per forecast at first.
        max_topk: Largest k on the slider.
        theme: "light", "dark" or a `Theme`.
        height: Pixels of the cube.

    Returns:
        An ipywidgets box of controls, cube and table. What goes wrong while it is used is said in
        the box, and the last good picture stays.

    Raises:
        ValueError: The first sensor, time or k is not among the choices, or the theme is unknown.
    """
    colors = get_theme(theme)
    forecast = as_nodes(forecast)
    if not 1 <= topk <= max_topk:
        raise ValueError(
            f"topk must be between 1 and max_topk; got topk={topk} with max_topk={max_topk}. "
            "Lower topk or raise max_topk."
        )
    nodes = [str(name) for name in forecast["node"].values.tolist()]
    first = str(pick(forecast, "node", nodes[0] if node is None else node))
    origins = pd.DatetimeIndex(forecast["time"].values)
    controls = _Controls(nodes, first, origins, pick_time(forecast, time), segment, topk, max_topk)
    return _Explorer(align, controls, dataset, colors, height).box


class _Controls:
    """The five choices and what they say."""

    def __init__(
        self,
        nodes: list[str],
        node: str,
        origins: pd.DatetimeIndex,
        origin: pd.Timestamp,
        segment: int,
        topk: int,
        max_topk: int,
    ) -> None:
        wide = widgets.Layout(width="auto", min_width="220px", flex="1 1 220px")
        self.node = widgets.Combobox(
            value=node,
            options=nodes,
            ensure_option=True,
            continuous_update=False,
            description="sensor",
            layout=wide,
        )
        self.time = widgets.SelectionSlider(
            value=origin,
            # The same year of all would find no room beside the slider.
            options=[
                (clock(stamp)[5 * (origins.year.nunique() == 1) :], stamp) for stamp in origins
            ],
            continuous_update=False,
            description="from",
            layout=widgets.Layout(width="auto", min_width="340px", flex="2 1 340px"),
        )
        self.segment = widgets.Dropdown(
            value=segment, options=[segment], description="ahead", layout=wide
        )
        self.head = widgets.Dropdown(
            value=MEAN, options=[("mean of heads", MEAN)], description="head", layout=wide
        )
        self.topk = widgets.IntSlider(
            value=topk, min=1, max=max_topk, continuous_update=False, description="k", layout=wide
        )
        self.all = (self.node, self.time, self.segment, self.head, self.topk)

    def offer(self, alignment: xr.Dataset) -> None:
        """Offer the segments and heads that the alignment has; keep the choice where it lasts."""
        minutes = minutes_per_step(alignment)
        ends = zip(
            alignment["segment"].values.tolist(),
            alignment["segment_first_step"].values * minutes,
            alignment["segment_last_step"].values * minutes,
            strict=True,
        )
        segments = [
            (describe_lead(first, last, step_minutes=minutes), number)
            for number, first, last in ends
        ]
        heads = [("mean of heads", MEAN)]
        heads += [(f"head {number}", number) for number in alignment["head"].values.tolist()]
        for control, options in ((self.segment, segments), (self.head, heads)):
            if tuple(control.options) != tuple(options):
                kept = control.value
                control.options = options
                choices = [choice for _, choice in options]
                control.value = kept if kept in choices else choices[0]


class _Explorer:
    """Controls, cube and table, kept in step."""

    def __init__(
        self,
        align: Callable[..., xr.Dataset],
        controls: _Controls,
        dataset: xr.Dataset,
        colors: Theme,
        height: int,
    ) -> None:
        self._align, self._controls, self._dataset = align, controls, dataset
        self._colors, self._height = colors, height
        self._busy = False
        self._cube = go.FigureWidget(layout={"height": height, "paper_bgcolor": colors.paper})
        self._table, self._message = widgets.HTML(), widgets.HTML()
        row = widgets.Layout(display="flex", flex_flow="row wrap")
        self.box = widgets.VBox(
            [widgets.HBox(controls.all, layout=row), self._message, self._cube, self._table]
        )
        self._draw()
        for control in controls.all:
            control.observe(self._draw, names="value")

    def _draw(self, _change: object = None) -> None:
        if self._busy:  # offering new choices changes values, too
            return
        self._busy = True
        try:
            self._show()
            self._message.value = ""
        except Exception as error:  # noqa: BLE001 - whatever fails is told where the user looks
            self._message.value = (
                '<div role="alert" style="color:#b3261e;padding:4px 8px;border-left:3px solid">'
                f"<b>No picture for this choice.</b> {escape(str(error))}</div>"
            )
        finally:
            self._busy = False

    def _show(self) -> None:
        chosen = self._controls
        alignment = self._align(
            time=chosen.time.value, node=chosen.node.value, topk=chosen.topk.value
        )
        chosen.offer(alignment)
        what = {
            "node": chosen.node.value,
            "segment": chosen.segment.value,
            "head": None if chosen.head.value == MEAN else chosen.head.value,
        }
        figure = plot_alignment_cube(
            alignment, **what, dataset=self._dataset, theme=self._colors, height=self._height
        )
        table = alignment_table(alignment, **what, topk=ROWS)
        layout = figure.layout.to_plotly_json()
        if self._cube.data:
            layout["scene"].pop("camera")  # where the user has turned it
        with self._cube.batch_update():
            self._cube.data = ()
            self._cube.add_traces(figure.data)
            self._cube.update_layout(layout)
        rows = table.reset_index().to_html(
            index=False, escape=True, border=0, justify="left", na_rep="no reading"
        )
        apart = "<style>.stviz-sources :is(th, td) {padding: 1px 7px; white-space: nowrap}</style>"
        self._table.value = f"{apart}<div class='stviz-sources'>{rows}</div>"
