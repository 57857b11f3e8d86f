"""How long a page of the explorer takes to be drawn, and to answer a tap, by its own clock."""

from playwright.sync_api import Page

__all__ = ["WATCH_FIRST", "aim", "answered", "open_page", "spots_apart"]

# Notes when map, series and cube are first drawn, in ms from the start of the navigation.
WATCH_FIRST = """
window.first = {}
window.within = (root) => {
  for (const part of root.querySelectorAll('*')) {
    if (part.classList.contains('js-plotly-plot')) return part
    const found = part.shadowRoot && within(part.shadowRoot)
    if (found) return found
  }
}
const note = (name) => { first[name] ??= performance.now() }
const look = () => {
  for (const model of window.Bokeh?.documents[0]?._all_models.values() ?? []) {
    const view = model.type === 'Figure' && Bokeh.index.find_one_by_id(model.id)
    if (!(view?.frame?.bbox.width > 50)) continue
    if (/Forecast /.test(model.title.text)) note('map')
    if (/ at [^(]+$/.test(model.title.text)) note('series')
  }
  if (within(document)?._fullLayout?.scene?._scene?.glplot) note('cube')
  if (Object.keys(first).length < 3) setTimeout(look, 20)
}
look()
"""
# Gives the sensors that stand alone on the screen, in pixels, or where a map is an image some
# points of it, and keeps what is to change at a tap: the name beside the ring, the series, the
# picture and the table.
PREPARE = """() => {
  const models = Array.from(Bokeh.documents[0]._all_models.values())
  const figure = (words) => models.find(
    m => m.type === 'Figure' && words.test(m.title.text.replace(/\\s+/g, ' '))
      && Bokeh.index.find_one_by_id(m.id))  // titles are wrapped
  const map = figure(/Forecast /), series = figure(/ at [^(]+$/), alignment = figure(/looked at/)
  const sensors = map.renderers.find(r => r.data_source?.data.forecast).data_source.data
  const names = map.renderers.filter(r => r.glyph?.type === 'Text').map(r => r.data_source)
  const table = models.find(m => m.type.endsWith('HTML') && m.text?.includes('found in'))
  const cube = within(document)
  window.shown = () => [
    names.flatMap(source => Object.values(source.data).flatMap(each => Array.from(each))).join(),
    series.title.text,
    cube.checkVisibility() ? cube.layout.title.text : alignment.title.text,
    table.text,
  ]
  const view = Bokeh.index.find_one_by_id(map.id)
  const corner = view.canvas_view.el.getBoundingClientRect(), frame = view.frame.bbox
  if (!sensors.node) return Array.from({length: 50}, (_, i) => [
    corner.x + frame.left + frame.width * (0.2 + 0.012 * i),
    corner.y + frame.top + frame.height * (0.2 + 0.6 * ((7 * i) % 50) / 50)])
  const spots = Array.from(sensors.node, (_, i) => [
    corner.x + view.frame.x_scale.compute(sensors.x[i]),
    corner.y + view.frame.y_scale.compute(sensors.y[i])])
  const near = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) < 10
  return spots.filter(a => spots.every(b => a === b || !near(a, b)))
}"""
# Waits for all of them, then for two frames, so that the browser has drawn them.
WATCH_TAP = """() => {
  const before = shown()
  window.waited = null
  addEventListener('pointerup', (event) => {
    const look = () => {
      if (shown().every((each, i) => each !== before[i]))
        requestAnimationFrame(() => requestAnimationFrame(() => {
          waited = performance.now() - event.timeStamp
        }))
      else setTimeout(look, 5)
    }
    look()
  }, {capture: true, once: true})
}"""


def open_page(page: Page, url: str) -> dict[str, float]:
    """Open the explorer; give the seconds until page, map, series and cube were drawn."""
    page.goto(url)
    page.wait_for_function("() => Object.keys(window.first ?? {}).length === 3", timeout=120_000)
    (paint,) = page.evaluate("performance.getEntriesByName('first-contentful-paint')")
    drawn = {"page": paint["startTime"], **page.evaluate("first")}
    return {name: round(value / 1000, 2) for name, value in drawn.items()}


def spots_apart(page: Page, count: int) -> list[tuple[float, float]]:
    """Give pixels all over the map where a tap meets one place alone."""
    spots = page.evaluate(PREPARE)
    assert len(spots) >= count, f"{len(spots)} places stand alone; {count} are needed"
    return spots[:: len(spots) // count][:count]


def aim(page: Page, spot: tuple[float, float]) -> None:
    """Point at a place, and have the page note when every view has changed after the tap."""
    page.evaluate(WATCH_TAP)
    page.mouse.move(*spot)
    page.wait_for_timeout(200)  # as a hand would, so that the hover is over


def answered(page: Page) -> float:
    """Wait for the answer to a tap; give the seconds from the tap to the picture."""
    page.wait_for_function("() => window.waited", timeout=60_000)
    return page.evaluate("waited") / 1000
