"""Pictures of the views, as the browser has drawn them: PNG, or SVG with its lines and letters."""

__all__ = ["SAVE"]

# Needs `subject`, `format` and `name` (widgets with a value), and the cards `map`, `series`,
# `alignment` and `errors`.
SAVE = """
const parts = function* (view) {
  yield view
  for (const part of (view.children_views ?? view.children).call(view)) yield* parts(part)
}
const plotly = (root) => {
  for (const element of root?.querySelectorAll('*') ?? []) {
    const found = element.matches('.js-plotly-plot') ? element : plotly(element.shadowRoot)
    if (found) return found
  }
}
// Twice as many pixels as on the page.
const sharpen = (lines, {width, height}) => new Promise((resolve, reject) => {
  const picture = new Image(), canvas = document.createElement('canvas')
  const address = URL.createObjectURL(lines)
  Object.assign(canvas, {width: 2 * width, height: 2 * height})
  picture.onload = () => {
    canvas.getContext('2d').drawImage(picture, 0, 0, 2 * width, 2 * height)
    URL.revokeObjectURL(address)
    canvas.toBlob(resolve, 'image/png')
  }
  picture.onerror = () => reject(new Error('no picture'))
  picture.src = address
})
const draw = async (type) => {
  const card = Bokeh.index.find_one_by_id({Map: map, Series: series, Alignment: alignment,
    Errors: errors}[subject.data.value].id)
  if (!card) return
  for (const view of parts(card)) {
    const isDrawn = view.model.type === 'Figure' && view.el.checkVisibility()
    if (!isDrawn) continue
    const lines = await view.export('svg').to_blob()
    return type === 'svg' ? lines : sharpen(lines, view.bbox)
  }
  const cube = plotly(card.shadow_el)
  if (!cube?.checkVisibility()) return
  const {width, height} = cube._fullLayout
  const address = await Plotly.toImage(cube, {format: type, width, height, scale: 2})
  return (await fetch(address)).blob()
}
const button = source.data, before = button.label
const tell = (words) => {
  button.label = words
  setTimeout(() => { button.label = before }, 1500)
}
const save = (picture) => {
  if (!picture) return tell("Nothing is drawn")
  const link = document.createElement("a")
  link.href = URL.createObjectURL(picture)
  const end = `${subject.data.value}.${format.data.value}`.toLowerCase()
  link.download = `${name.value}-${end}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
draw(format.data.value.toLowerCase()).then(save, (error) => tell(`${error}`))
"""
