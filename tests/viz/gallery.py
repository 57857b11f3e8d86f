"""Draw the gallery: every picture of stviz, from the call beside it, on data that anyone has.

    python tests/viz/gallery.py

Writes `notebooks/assets/gallery/*.png` and the table in the README between its two marks. Data are
the simulated freeway and weather and the weights that come with the package; a browser, Chromium,
takes the pictures. Nothing is written where a picture cannot be drawn.
"""

import io
import re
import shutil
import tempfile
from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageChops
from playwright.sync_api import Page, sync_playwright

import stviz
from sttrans_core import deletion_curve, load_dataset, load_pretrained
from sttrans_core.origins import spread_origins

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks" / "assets" / "gallery"
MARKS = ("<!-- gallery: python tests/viz/gallery.py -->", "<!-- end of the gallery -->")
# What is called, by the name of the function; the names in it are those of `prepare`.
CALLS = {
    "plot_forecast_map": "plot_forecast_map(weather, horizon=4, variable='error')",
    "plot_base_map": "plot_base_map(dataset, selected=node)",
    "plot_series": "plot_series(forecast, node=node, time=time, dataset=dataset)",
    "plot_alignment_cube": "plot_alignment_cube(alignment, node=node, dataset=dataset, width=640)",
    "plot_alignment_map": "plot_alignment_map(alignment, node=region, dataset=dataset)",
    "plot_alignment_profile": "plot_alignment_profile(alignment, dataset=dataset)",
    "plot_alignment_heads": "plot_alignment_heads(alignment, node=node)",
    "alignment_table": "alignment_table(alignment, node=node, topk=8)",
    "plot_errors": "plot_errors(forecast, by='hour')",
    "plot_scores": "plot_scores(scores)",
    "scores_table": "scores_table(scores)",
    "plot_deletion": "plot_deletion(curve)",
    "plot_training": "plot_training(history, units='mph', title='full, seed 0')",
    "plot_readings": "plot_readings(dataset, nodes=region[:3])",
    "animate_forecast": "animate_forecast(weather)",
    "folium_forecast_map": "folium_forecast_map(forecast, time=time)",
    "plot_results": "plot_results(results, title='Variants on METR-LA')",
    "plot_benchmark": "plot_benchmark(bench)",
}
# `alignment_widget` is the cube with controls, which notebook 01 shows.
WIDTH, HEIGHT, COLORS = 640, 460, 160


def prepare() -> dict[str, Any]:
    """Give what the calls draw, by name."""
    dataset, model = load_dataset("simulated-freeway"), load_pretrained("simulated-freeway")
    times = spread_origins(dataset, model.config.data, num_origins=48)
    # A moment of the evening, when the freeway is congested.
    time = times[np.argmin(abs(pd.DatetimeIndex(times).hour - 17))]
    forecast = model.forecast(dataset, times)
    grid, upwind = load_dataset("simulated-weather"), load_pretrained("simulated-weather")
    node, region = "AE09", dataset["node"].values[4:10].tolist()
    results = ROOT / "notebooks" / "results"
    variants = pd.read_csv(results / "tables" / "table3.csv")
    return {
        "dataset": dataset,
        "time": time,
        "forecast": forecast,
        "alignment": model.align(dataset, time),
        "node": node,
        "region": region,
        "weather": upwind.forecast(
            grid, spread_origins(grid, upwind.config.data, num_origins=2)[-1:]
        ),
        "scores": model.scores,
        "history": model.history,
        "curve": deletion_curve(model, dataset, times[::3], nodes=region[::2]),
        "results": variants[variants["dataset"] == "metr-la"],
        "bench": pd.read_csv(results / "bench.csv"),
    }


def page_of(picture: Any) -> str:
    """Give a page that shows a picture, with all that it needs inside."""
    kind = type(picture).__name__
    if kind == "Overlay":
        import holoviews as hv
        from bokeh.embed import file_html
        from bokeh.resources import INLINE

        return file_html(hv.render(picture, backend="bokeh"), INLINE)
    if kind == "Figure":
        return picture.to_html(include_plotlyjs=True, full_html=True)
    if kind == "Map":
        return picture.get_root().render()
    if kind == "DataFrame":
        style = "<style>body{font:13px system-ui} td,th{padding:2px 8px;text-align:right}</style>"
        return f"<meta charset=utf-8>{style}{picture.round(2).to_html(border=0)}"
    with tempfile.TemporaryDirectory() as folder:
        return picture.save(Path(folder) / "player.html").read_text()


def photograph(page: Page, html: str) -> Image.Image:
    """Take a picture of a page, without the white around it."""
    page.set_content(html, wait_until="load")
    page.wait_for_timeout(4000)  # leaflet, WebGL and fonts
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    ground = Image.new("RGB", image.size, "white")
    left, top, right, bottom = ImageChops.difference(image, ground).getbbox() or (0, 0, 1, 1)
    right, bottom = min(right + 8, image.width), min(bottom + 8, image.height)
    return image.crop((max(left - 8, 0), max(top - 8, 0), right, bottom))


def table(calls: dict[str, str]) -> str:
    """Write the gallery as a table of two pictures a row, with the first line of each docstring."""
    cells = []
    for name, call in calls.items():
        words = getdoc(getattr(stviz, name)).split("\n")[0]
        picture = f"notebooks/assets/gallery/{name}.png"
        cells.append(f'<img src="{picture}" alt="{words}" width="400"><br>`{call}`<br>{words}')
    rows = [cells[start : start + 2] for start in range(0, len(cells), 2)]
    lines = ["| | |", "| --- | --- |", *(f"| {' | '.join([*row, ''][:2])} |" for row in rows)]
    return "\n".join(lines)


def insert(readme: str, calls: dict[str, str]) -> str:
    """Put the table between its marks."""
    first, last = MARKS
    inside = re.compile(f"(?<={re.escape(first)}\n).*(?={re.escape(last)})", re.DOTALL)
    if not inside.search(readme):
        raise ValueError(f"README.md must hold the lines {first!r} and {last!r}; got neither.")
    return inside.sub(lambda _: f"\n{table(calls)}\n\n", readme)


def main(save: Callable[[Path, Image.Image], None]) -> None:
    """Draw everything, then write everything."""
    given, pictures = prepare(), {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"],
        )
        for name, call in CALLS.items():
            picture = eval(call, {name: getattr(stviz, name), **given})  # noqa: S307 - our own
            page = browser.new_page(viewport={"width": 940, "height": HEIGHT + 120})
            pictures[name] = photograph(page, page_of(picture))
            page.close()
        browser.close()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, image in pictures.items():
        save(FOLDER / f"{name}.png", image)
    readme = ROOT / "README.md"
    readme.write_text(insert(readme.read_text(), CALLS))


def save(path: Path, image: Image.Image) -> None:
    """Write a picture with few colours and at most `WIDTH` pixels across."""
    image.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
    image.quantize(COLORS, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


if __name__ == "__main__":
    main(save)
