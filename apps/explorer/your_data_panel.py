"""The page "Your data": bring a file, see what was understood of it, keep it."""

import asyncio
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.choices import describe, plain
from explorer.figure import Figure
from explorer.file_reader import kind_of
from explorer.opened import dataset_names, open_dataset, runs_that_fit
from explorer.state import ExplorerState
from explorer.upload import Upload
from explorer.your_data import (
    LARGEST_FILE,
    Facts,
    Understood,
    YourDataError,
    describe_readings,
    find_on_server,
    keep,
    plain_name,
    read_files,
    server_folders,
)
from sttrans_core.grid import as_nodes
from stviz import plot_base_map, plot_readings
from stviz.theme import get_theme

__all__ = ["YourDataPanel"]

FIELD = {"sizing_mode": "stretch_width", "margin": (6, 10), "size": "small"}
FIELDS = {  # by the kind of a file
    "table": ("units", "quantity", "missing", "time", "node", "value"),
    "grid": ("units", "quantity", "variable", "level"),
    "netcdf": (),
    "saved": (),
    "": (),
}
AUTOMATIC, WIDE = "found by its name", "none: one column a sensor"
NONE = {"none": ""}
NUM_LINES = 4
TEXT = "font-size:13px;line-height:1.45"
HELP = f"""
<b>Sensors</b>: a table with a column of time stamps and one column a sensor, or one row a reading
(.csv, .csv.gz, .parquet; .h5 as pandas writes it), and a CSV with the columns id, latitude,
longitude. <b>A grid</b>: NetCDF (.nc) over time, latitude and longitude. <b>A dataset</b> that was
saved with this package: its .nc file alone. At most {LARGEST_FILE // 1_000_000} MB each.<br>
Times are taken as they are written, without a time zone or in UTC. Local times skip an hour in
spring and repeat one in autumn, which is refused: convert them to UTC first. Steps that are absent
become missing readings.<br>
What you upload is yours until you keep it, and gone when you close the page. What you keep lies in
the folder of runs of this server, where every reader of this page can choose it.
"""
PATHS = (
    "<br>A file on the server can be named by its path if it lies in the folder that STTRANS_DATA "
    "names or in the folder of runs; nothing else on the server can be read."
)
FITTING = "A run that was trained on these places, interval and unit can forecast it as it is."
NONE_FITS = (
    "No run here can forecast it: a model knows the places that it was trained on, and these are "
    "none of them (or come at another interval or in another unit). Train one on it."
)


class YourDataPanel(Viewer):
    """Takes files, shows what was understood of them, and keeps them as a dataset.

    Args:
        state: The selection; its folder of runs is where datasets are kept.
        on_open: Called with the name of a kept dataset, of the page that is to be opened on it, and
            of the run to forecast with, if one was chosen.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(
        self,
        state: ExplorerState,
        *,
        on_open: Callable[[str, str, str], None] = lambda _name, _page, _run: None,
        **params: Any,
    ) -> None:
        super().__init__(state=state, **params)
        self.on_open = on_open
        self.folder = Path(tempfile.mkdtemp(prefix="sttrans-"))
        # Also where a session is never told that it ends.
        self.forget = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        if pn.state.curdoc is not None:
            pn.state.on_session_destroyed(lambda _context: self.forget())
        self.uploaded: dict[str, Path] = {}
        self.understood = Understood()
        self._round = 0
        self.kept = ""
        self._build_form()
        self._build_preview()
        state.param.watch(self._redraw, "theme")
        self._show_fields("")
        self._show(Understood(), None)

    def _build_form(self) -> None:
        self.alert = pmui.Alert(
            object="", severity="error", visible=False, closeable=False,
            sizing_mode="stretch_width", margin=(6, 10),
        )  # fmt: skip
        folders = server_folders(self.state.root)
        self.uploads, self.paths = {}, {}
        for what, label in (("readings", "Readings"), ("places", "Places of the sensors")):
            upload = self.uploads[what] = Upload(
                self.folder / what, largest=LARGEST_FILE, label=label,
                on_file=partial(self._on_file, what), on_problem=self._complain, **FIELD,
            )  # fmt: skip
            upload.variant = "outlined"  # named above, it would warn of what it is built on
            self.paths[what] = pmui.TextInput(
                label=f"or path on the server: {label.lower()}", visible=bool(folders), **FIELD
            )
        self.title = pmui.TextInput(label="Title", **FIELD)
        self.fields = {
            "units": pmui.TextInput(label="Unit", placeholder="km/h, ug/m3, K", **FIELD),
            "quantity": pmui.TextInput(label="What is measured", placeholder="speed", **FIELD),
            "missing": pmui.TextInput(
                label="Marks of missing readings", placeholder="-999, 0",
                description="Numbers that stand for a missing reading; empty cells always do.",
                **FIELD,
            ),
            "time": pmui.Select(label="Column of the time stamps", options=[AUTOMATIC], **FIELD),
            "node": pmui.Select(
                label="Column of the sensors", options=[WIDE],
                description="Of a table with one row a reading.", **FIELD,
            ),
            "value": pmui.Select(label="Column of the readings", options=[WIDE], **FIELD),
            "variable": pmui.Select(label="Variable", options=[AUTOMATIC], **FIELD),
            "level": pmui.TextInput(label="Pressure level, hPa", placeholder="500", **FIELD),
        }  # fmt: skip
        self.read = pmui.Button(
            label="Read", color="primary", icon="search", margin=(6, 10),
            sizing_mode="stretch_width",
        )  # fmt: skip
        self.read.on_click(self.on_read)

    def _build_preview(self) -> None:
        self.help = pn.pane.HTML("", sizing_mode="stretch_width", margin=(6, 10))
        self.facts = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 10))
        figure = {"sizing_mode": "stretch_width", "height": 300, "margin": 0}
        self.map = Figure(self._plot_map, **figure)
        self.series = Figure(self._plot_series, **figure)
        narrow = {"width": 240, "margin": (6, 10), "size": "small"}
        self.name_ = pmui.TextInput(label="Name", **narrow)
        button = {"size": "small", "margin": (4, 10)}
        self.keep = pmui.Button(label="Keep this data", color="primary", icon="save", **button)
        self.train = pmui.Button(
            label="Train a small model on it", icon="model_training", variant="outlined", **button
        )
        self.run = pmui.Select(
            label="A run that knows these places", options=NONE, value="", **narrow
        )
        self.open = pmui.Button(
            label="Forecast in the explorer", icon="visibility", variant="outlined", **button
        )
        self.keep.on_click(self.on_keep)
        self.train.on_click(lambda _: self.on_open(self.kept, "Train", ""))
        self.open.on_click(lambda _: self.on_open(self.kept, "Explore", self.run.value))
        self.done = pmui.Alert(
            object="", severity="success", visible=False, closeable=False,
            sizing_mode="stretch_width", margin=(6, 10),
        )  # fmt: skip

    def _complain(self, text: str) -> None:
        self.alert.param.update(object=plain(text), visible=bool(text))

    def _on_file(self, what: str, path: Path) -> None:
        self.uploaded[what] = path
        self.paths[what].value = ""
        self._complain("")
        if what == "readings":
            self._show(Understood(), None)  # a preview of another file would be taken for its
            self._expect(path)

    def _expect(self, path: Path) -> None:
        """Ask for what a file of this kind leaves open."""
        try:
            self._show_fields(kind_of(path))
        except ValueError as error:
            self._complain(str(error))

    def _show_fields(self, kind: str) -> None:
        for name, field in self.fields.items():
            field.visible = name in FIELDS[kind]
        for widget in (self.uploads["places"], self.paths["places"]):
            widget.disabled = kind not in {"", "table"}

    def _chosen(self, what: str) -> Path | None:
        """Give the file that is to be read: the path, if there is one, or what was uploaded."""
        if text := self.paths[what].value.strip():
            return find_on_server(text, server_folders(self.state.root))
        return self.uploaded.get(what)

    def options(self) -> dict[str, Any]:
        """Give what the form says, without what was left open.

        Raises:
            YourDataError: A number is none.
        """
        given: dict[str, Any] = {"title": self.title.value.strip()}
        for name, field in self.fields.items():
            if field.visible and field.value not in (AUTOMATIC, WIDE):
                is_text = isinstance(field, pmui.TextInput)  # else a name as the file has it
                given[name] = field.value.strip() if is_text else field.value
        given = {name: text for name, text in given.items() if text}
        if "level" in given:
            given["level"] = _number(given["level"])
        if "missing" in given:
            given["missing"] = [_number(text) for text in re.findall(r"[^,;\s]+", given["missing"])]
        return given

    async def on_read(self, _event: Any = None) -> None:
        """Read the chosen files beside the event loop, and show what was understood."""
        self.read.param.update(loading=True, disabled=True)
        self._complain("")
        before = self.understood
        try:
            readings, places = self._chosen("readings"), self._chosen("places")
            if readings is None:
                raise YourDataError(
                    "There must be a file of readings; got none. Choose one under 'Readings'."
                )
            understood = await asyncio.to_thread(
                read_files, readings, places, self.options(), folder=self.folder
            )
            facts = None
            if understood.dataset is not None:
                facts = await asyncio.to_thread(describe_readings, understood.dataset)
            if self.understood is before:  # else another file came meanwhile
                self.name_.value = plain_name(self.title.value or readings.name.split(".")[0])
                self._show(understood, facts)
        except Exception as error:  # noqa: BLE001 - whatever fails becomes a message on the page
            self._complain(describe(error))
        finally:
            self.read.param.update(loading=False, disabled=False)

    def _show(self, understood: Understood, facts: Facts | None) -> None:
        self.understood, self.kept = understood, ""
        self._round += 1
        if understood.kind:
            self._show_fields(understood.kind)
            for name, first in (("time", AUTOMATIC), ("node", WIDE), ("value", WIDE)):
                _offer(self.fields[name], [first, *understood.columns])
            _offer(self.fields["variable"], [AUTOMATIC, *understood.variables])
        if understood.problem:
            self._complain(f"{understood.problem} {understood.hint}".strip())
        self._facts = facts
        has_data = understood.dataset is not None
        self.help.visible = not has_data
        for shown in (self.facts, self.map.place, self.series.place, self.name_, self.keep):
            shown.visible = has_data
        for shown in (self.done, self.train, self.run, self.open):
            shown.visible = False
        self._redraw()

    def _redraw(self, *_events: param.parameterized.Event) -> None:
        colors = get_theme(self.state.theme)
        paths = PATHS if server_folders(self.state.root) else ""
        self.help.object = f"<div style='color:{colors.muted};{TEXT}'>{HELP}{paths}</div>"
        if self._facts is not None:
            self.facts.object = _facts_html(self._facts, colors)
            for figure in (self.map, self.series):
                figure.draw(kind=self._round)  # what another file holds is another figure

    def _plot_map(self) -> Any:
        return plot_base_map(
            self.understood.dataset, theme=self.state.theme, width=None, height=300
        )

    def _plot_series(self) -> Any:
        nodes = as_nodes(self.understood.dataset)
        names = nodes["node"].values
        some = names[:: max(1, len(names) // NUM_LINES)][:NUM_LINES]
        return plot_readings(
            nodes, nodes=some.tolist(), theme=self.state.theme, width=None, height=300
        )

    async def on_keep(self, _event: Any = None) -> None:
        """Keep what is shown, and offer it wherever a dataset is chosen."""
        self.keep.disabled = True
        try:
            file = await asyncio.to_thread(
                keep, self.folder, self.name_.value.strip(), root=self.state.root
            )
            fitting = await asyncio.to_thread(runs_that_fit, str(file), self.state.root)
        except YourDataError as error:
            self._complain(str(error))
            return
        finally:
            self.keep.disabled = False
        self._complain("")
        self.kept = str(file)
        open_dataset.cache_clear()  # a file of that name may have been there, and is gone
        self.state.offer(dataset_names(self.state.root))
        words = f"Kept as {file.stem}: it is in the lists of data from now on. "
        words += FITTING if fitting else NONE_FITS
        self.done.param.update(object=plain(words), visible=True)
        self.keep.visible = self.name_.visible = False
        self.run.param.update(options=fitting or NONE, value=next(iter(fitting.values()), ""))
        self.run.visible = self.open.visible = bool(fitting)
        self.train.visible = self._facts is not None and not self._facts.must

    def __panel__(self) -> pn.viewable.Viewable:
        form = pn.Column(
            self.uploads["readings"], self.paths["readings"],
            self.uploads["places"], self.paths["places"],
            self.title, *self.fields.values(), self.read,
            styles={"flex": "1 1 280px", "max-width": "380px"}, margin=0,
        )  # fmt: skip
        preview = pn.Column(
            self.help, self.facts, self.done,
            pn.FlexBox(
                self.name_, self.keep, self.run, self.open, self.train,
                align_items="center", sizing_mode="stretch_width", margin=0,
            ),
            pn.FlexBox(
                *(
                    pn.Column(each.place, styles={"flex": "1 1 420px", "min-width": "0"}, margin=0)
                    for each in (self.map, self.series)
                ),
                sizing_mode="stretch_width", margin=0,
            ),
            styles={"flex": "2 1 420px", "min-width": "0"}, margin=0, sizing_mode="stretch_width",
        )  # fmt: skip
        return pn.Column(
            self.alert,
            pn.FlexBox(form, preview, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=0,
        )


def _offer(field: pmui.Select, options: list[str]) -> None:
    if field.options != options:
        field.param.update(
            options=options, value=field.value if field.value in options else options[0]
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise YourDataError(
            f"Marks of missing readings and levels must be numbers; got {text!r}. Write for "
            "example -999."
        ) from error


def _facts_html(facts: Facts, colors: Any) -> str:
    rows = "".join(
        f"<tr><td><b>{escape(name)}</b></td><td>{escape(value)}</td></tr>"
        for name, value in facts.rows.items()
    )
    warnings = "".join(f"<li>{escape(text)}</li>" for text in facts.doubts)
    must = (
        f"<h3>To be fixed before a training</h3><p>{escape(facts.must)}</p>" if facts.must else ""
    )
    doubts = (
        f"<h3>Worth a look</h3><ul style='padding-left:18px'>{warnings}</ul>" if warnings else ""
    )
    return (
        "<style>td { padding: 2px 14px 2px 0; vertical-align: top } "
        "h3 { margin: 12px 0 4px; font-size: 14px } p, ul { margin: 4px 0 }</style>"
        f"<div style='color:{colors.text};{TEXT}'><h3>What was understood</h3>"
        f"<table>{rows}</table>{must}{doubts}</div>"
    )
