"""What to take home, with the link to this very view."""

import io
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.viewable import Viewer

from explorer.state import ExplorerState
from explorer.takeaway import TAKEAWAYS, View, notebook_code

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
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(self, state: ExplorerState, **params: Any) -> None:
        super().__init__(state=state, **params)
        self.kind = pmui.Select(label="Take away", options=list(TAKEAWAYS), margin=(4, 10), **FIELD)
        self.file = pmui.FileDownload(
            callback=self._write, filename="view", label="Download", margin=4, **FIELD
        )
        self.file.variant = "outlined"  # named above, it would warn of what it is built on
        self.link = pmui.Button(label="Copy link", margin=4, variant="outlined", **FIELD)
        self.link.js_on_click(code=COPY.replace("TEXT", "window.location.href"))
        self.code = pn.pane.Str("", visible=False)
        self.copy = pmui.Button(label="Copy code", margin=4, variant="outlined", **FIELD)
        self.copy.js_on_click(args={"code": self.code}, code=COPY.replace("TEXT", "code.text"))
        watched = ["evidence", "node", "area", "segment", "head", "min_weight", "map_variable"]
        state.param.watch(self._refresh, watched)
        self.kind.param.watch(self._refresh, "value")
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
        )

    def _refresh(self, *_events: param.parameterized.Event) -> None:
        view = self.view()
        end, _, needs_alignment = TAKEAWAYS[self.kind.value]
        is_ready = view is not None and (
            view.evidence.has_alignment(view.nodes) or not needs_alignment
        )
        self.file.disabled = not is_ready
        self.copy.disabled = view is None
        if view is not None:
            self.file.filename = f"{view.name}-{end}"
            self.code.object = notebook_code(view)

    def _write(self) -> io.BytesIO:
        return io.BytesIO(TAKEAWAYS[self.kind.value][1](self.view()))

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(
            self.kind,
            pn.Row(self.file, margin=(0, 6), sizing_mode="stretch_width"),
            pn.Row(self.link, self.copy, margin=(0, 6), sizing_mode="stretch_width"),
            self.code,
            sizing_mode="stretch_width",
            margin=0,
        )
