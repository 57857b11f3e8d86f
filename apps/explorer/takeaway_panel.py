"""What to take home, with the link to this very view."""

import io
from collections.abc import Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.pictures import SAVE
from explorer.state import ExplorerState
from explorer.takeaway import ALIGNED, ENDS, TAKEAWAYS, View, notebook_code

__all__ = ["TakeawayPanel"]

COPY = """
const button = source.data, before = button.label
const tell = (words) => {
  button.label = words
  setTimeout(() => { button.label = before }, 1500)
}
navigator.clipboard.writeText(TEXT).then(() => tell("Copied"), () => tell("Not allowed here"))
"""
FIELD = {"sizing_mode": "stretch_width", "size": "small"}


class TakeawayPanel(Viewer):
    """Files of what is shown, and the link and the code that show it again.

    Args:
        state: The selection and its evidence.
        cards: Where map, alignment, series and scores are on the page, by these names.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(
        self, state: ExplorerState, cards: Mapping[str, pn.Column] | None = None, **params: Any
    ) -> None:
        super().__init__(state=state, **params)
        self.subject = pmui.Select(label="What", options=list(TAKEAWAYS), margin=4, **FIELD)
        self.format = pmui.Select(
            label="Format", options=list(TAKEAWAYS["Report"]), margin=4, **FIELD
        )
        self.file = pmui.FileDownload(
            callback=self._write, filename="view", label="Download", margin=4, **FIELD
        )
        self.file.variant = "outlined"  # named above, it would warn of what it is built on
        self.code, self.name_ = (
            pn.widgets.TextAreaInput(visible=False, max_length=10**6) for _ in range(2)
        )
        self.picture = pmui.Button(
            label="Save picture", icon="download", margin=4, variant="outlined", **FIELD
        )
        if cards is not None:
            here = {"map": cards["map"], "series": cards["series"]}
            here |= {"alignment": cards["alignment"], "errors": cards["scores"]}
            own = {"subject": self.subject, "format": self.format, "name": self.name_}
            self.picture.js_on_click(args={**here, **own}, code=SAVE)
        self.link = pmui.Button(label="Copy link", margin=4, variant="outlined", **FIELD)
        self.link.js_on_click(code=COPY.replace("TEXT", "window.location.href"))
        self.copy = pmui.Button(label="Copy code", margin=4, variant="outlined", **FIELD)
        self.copy.js_on_click(args={"code": self.code}, code=COPY.replace("TEXT", "code.value"))
        watched = ["evidence", "node", "area", "segment", "head", "min_weight", "map_variable"]
        state.param.watch(self._refresh, [*watched, "picture"])
        self.subject.param.watch(self._offer, "value")
        self.format.param.watch(self._refresh, "value")
        self._refresh()

    def view(self) -> View | None:
        """Give what is on the page; None where there is no forecast."""
        state = self.state
        if state.evidence is None or state.evidence.forecast is None:
            return None
        return View(
            evidence=state.evidence,
            nodes=tuple(state.targets),
            segment=state.segment,
            head=None if state.head == "mean" else int(state.head),
            min_weight=state.min_weight,
            variable=state.map_variable,
            picture=state.picture,
        )

    def _offer(self, *_events: param.parameterized.Event) -> None:
        formats = list(TAKEAWAYS[self.subject.value])
        kept = self.format.value if self.format.value in formats else formats[0]
        self.format.param.update(options=formats, value=kept)
        self._refresh()

    def _refresh(self, *_events: param.parameterized.Event) -> None:
        view = self.view()
        subject, kind = self.subject.value, self.format.value
        is_ready = view is not None and (
            view.evidence.has_alignment(view.nodes) or subject not in ALIGNED
        )
        is_drawn = TAKEAWAYS[subject].get(kind) is None
        self.picture.param.update(visible=is_drawn, disabled=not is_ready)
        self.file.param.update(visible=not is_drawn, disabled=not is_ready)
        self.copy.disabled = view is None
        if view is not None:
            self.name_.value = view.name
            self.file.filename = f"{view.name}-{subject.lower()}.{ENDS[kind]}"
            self.code.value = notebook_code(view)

    def _write(self) -> io.BytesIO:
        return io.BytesIO(TAKEAWAYS[self.subject.value][self.format.value](self.view()))

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(
            pn.Row(self.subject, self.format, margin=(0, 6), sizing_mode="stretch_width"),
            pn.Row(self.file, self.picture, margin=(0, 6), sizing_mode="stretch_width"),
            pn.Row(self.link, self.copy, margin=(0, 6), sizing_mode="stretch_width"),
            self.code,
            self.name_,
            sizing_mode="stretch_width",
            margin=0,
        )
