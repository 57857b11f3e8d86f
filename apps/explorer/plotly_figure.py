"""One Plotly figure on the page, in its own colours and in one message per change."""

import json
from typing import ClassVar

import param
from panel.custom import JSComponent
from panel.io.resources import CDN_DIST

__all__ = ["PlotlyFigure"]


class PlotlyFigure(JSComponent):
    """Show a Plotly figure, changed in place: the same WebGL context for good.

    The page restyles Panel's own Plotly pane, trace by trace, at every change of theme and tells
    the server so, which would have to draw the figure once more. It leaves this one alone.
    """

    object = param.Dict(None, doc="`data` and `layout`; None shows what was there before.")
    figure = param.String("", doc="What the browser draws: the figure as JSON.")
    clicked = param.List([], doc="What was clicked last: its `customdata`, and how many before.")
    camera = param.String(
        "", doc="Where the eye stands and what it looks at, three numbers each; empty: as drawn."
    )

    _rename: ClassVar[dict[str, str | None]] = {"object": None}
    _stylesheets: ClassVar[list[str]] = [f"{CDN_DIST}css/models/plotly.css"]
    _esm = """
    export function render({model}) {
      const place = document.createElement("div")
      place.style.cssText = "width: 100%; height: 100%"
      // Plotly reads back what lies under the pointer after each frame, which waits for the whole
      // scene to be drawn: only worth it where the pointer is.
      const spare = (plot) => {
        const {gl} = plot, read = gl.readPixels.bind(gl)
        gl.readPixels = (...where) => { if (place.matches(":hover")) read(...where) }
        place.addEventListener("pointerenter", () => plot.update())
      }
      let scene = null
      const draw = async () => {
        const width = place.clientWidth, height = place.clientHeight
        if (!model.figure || !width || !height) return
        const {data, layout} = JSON.parse(model.figure)
        // The legend lies at the side, or below in as many rows as it needs: as stviz has it for
        // a figure of a given size.
        const {legend} = layout.meta
        const inside = height - layout.margin.t - layout.margin.b
        if (width > legend.squat * inside + legend.column) {
          Object.assign(layout.legend, legend.beside)
          layout.scene.domain = {x: [legend.column / width, 0.97], y: [16 / inside, 1]}
        } else {
          const rows = Math.ceil(legend.row / width)
          Object.assign(layout.legend, legend.below)
          layout.scene.domain = {x: [0, 0.95], y: [Math.min(0.4, (24 + 20 * rows) / inside), 1]}
        }
        const {x, y} = layout.scene.domain, {eye} = layout.scene.camera
        const away = Math.max(1, legend.slender * (y[1] - y[0]) * inside / ((x[1] - x[0]) * width))
        for (const name of ["x", "y", "z"]) eye[name] = legend.eye[name] * away
        // A phone has no room for letters of that size.
        const small = Math.min(1, width / 480)
        layout.title.font.size *= small
        for (const note of layout.annotations) note.font.size *= small
        await Plotly.react(place, data, {...layout, width, height}, {displaylogo: false})
        const plot = place._fullLayout?.scene?._scene?.glplot
        if (plot && plot !== scene) spare(scene = plot)
        if (!place.listens) {
          place.on("plotly_relayout", tell)
          place.on("plotly_click", ({points}) => {
            const what = points[0]?.customdata
            if (what != null) model.clicked = [`${what}`, (model.clicked[1] ?? 0) + 1]
          })
        }
        place.listens = true
        turn()
      }
      const where = () => {
        const {eye, center} = place._fullLayout.scene.camera
        const numbers = [eye.x, eye.y, eye.z, center.x, center.y, center.z]
        return numbers.map((number) => `${+number.toFixed(3)}`).join()
      }
      const tell = (changes) => {
        if (Object.keys(changes).some((key) => key.startsWith("scene.camera"))) {
          model.camera = where()
        }
      }
      const turn = () => {
        if (!place._fullLayout?.scene || !place.clientWidth) return  // drawn once it is in sight
        if (!model.camera || model.camera === where()) return
        const [x, y, z, a, b, c] = model.camera.split(",").map(Number)
        const camera = {eye: {x, y, z}, center: {x: a, y: b, z: c}}
        Plotly.relayout(place, {"scene.camera": camera})
      }
      const watcher = new ResizeObserver(draw)
      watcher.observe(place)
      model.on("figure", draw)
      model.on("camera", turn)
      model.on("remove", () => {
        watcher.disconnect()
        Plotly.purge(place)
      })
      return place
    }
    """

    @param.depends("object", watch=True, on_init=True)
    def _write(self) -> None:
        if self.object is not None:
            from plotly.utils import PlotlyJSONEncoder

            self.figure = json.dumps(self.object, cls=PlotlyJSONEncoder)
