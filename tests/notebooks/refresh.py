"""Run a notebook in a real JupyterLab and write it back with light outputs.

    python tests/notebooks/refresh.py notebooks/01_metr_la.ipynb

JupyterLab runs every cell in Chromium, without internet. What a code host cannot show (HoloViews,
Plotly, folium, widgets) is replaced by a picture of that very output as it stood on the page; text,
small tables, execution counts and cell ids stay. Sources are never changed, and nothing is
written where a cell failed. Pictures of cells with one tag, such as "overview", also go, side by
side, into `results/figures/overview.png` beside the notebook.
"""

import base64
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from lab import CHROMIUM_ARGS, OUTPUTS, code_cell, find_chromium, jupyter_lab, run_notebook
from PIL import Image, ImageChops
from playwright.sync_api import Page, sync_playwright

MAX_BYTES = 480_000
MAX_WIDTH = 700
MARGIN, EDGE = 8, 2
MIN_COLORS, MAX_COLORS, EXACT = 32, 256, 8
LIGHT_TYPES = {"text/plain", "text/html", "text/markdown"}
MAX_TABLE = 20_000
FIGURES = Path("results", "figures")


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the code cells; an output without data, which shows nothing, is taken out of them."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        cell["outputs"] = [output for output in cell["outputs"] if output.get("data", True)]
    return cells


def is_light(output: dict[str, Any]) -> bool:
    """Say whether an output can stay: text, or a small table without scripts."""
    data = output.get("data", {})
    html = "".join(data.get("text/html", "<table"))
    is_table = "<table" in html and "<script" not in html and len(html) <= MAX_TABLE
    return set(data) <= LIGHT_TYPES and is_table


def photograph(page: Page, notebook: dict[str, Any]) -> dict[tuple[int, int], Image.Image]:
    """Take a picture of each heavy output, by (code cell, output); blank ones have none."""
    pictures = {}
    for number, cell in enumerate(code_cells(notebook)):
        shown = code_cell(page, number).locator(OUTPUTS)
        if shown.count() != len(cell["outputs"]):
            raise RuntimeError(
                f"JupyterLab must show every output; got {shown.count()} of "
                f"{len(cell['outputs'])} in code cell {number + 1}. Set windowingMode to none."
            )
        for index, output in enumerate(cell["outputs"]):
            box = shown.nth(index).locator(".jp-OutputArea-output").first
            if is_light(output) or not box.is_visible():
                continue
            image = Image.open(io.BytesIO(box.screenshot())).convert("RGB")
            # Rounded sizes let the last rows show what lies below.
            image = image.crop((0, 0, image.width, image.height - EDGE))
            drawn = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
            if drawn is not None:
                _, top, right, bottom = drawn
                right, bottom = min(right + MARGIN, image.width), min(bottom + MARGIN, image.height)
                pictures[number, index] = image.crop((0, max(top - MARGIN, 0), right, bottom))
    return pictures


def lighten(
    source: dict[str, Any], run: dict[str, Any], pictures: dict[tuple[int, int], str]
) -> str:
    """Give the source notebook as JSON with the outputs of a run, heavy ones as encoded PNG."""
    pairs = zip(code_cells(source), code_cells(run), strict=True)
    for number, (cell, done) in enumerate(pairs):
        cell["execution_count"], cell["outputs"] = done["execution_count"], []
        for index, output in enumerate(done["outputs"]):
            if is_light(output):
                cell["outputs"].append(output)
            elif (number, index) in pictures:
                data = {"image/png": pictures[number, index]}
                cell["outputs"].append({**output, "data": data, "metadata": {}})
    source["metadata"].pop("widgets", None)
    return json.dumps(source, indent=1, ensure_ascii=False) + "\n"


def encode(pictures: dict[Any, Image.Image], *, max_bytes: int) -> dict[Any, str]:
    """Encode pictures as PNG, the largest ones with fewer colours until all fit together."""
    colors = dict.fromkeys(pictures, MAX_COLORS)
    encoded = {name: _encode(pictures[name], colors[name]) for name in pictures}
    while sum(map(len, encoded.values())) > max_bytes:
        shrinkable = [name for name in pictures if colors[name] > MIN_COLORS]
        if not shrinkable:
            raise SystemExit(f"The pictures must fit into {max_bytes} bytes. Show fewer of them.")
        largest = max(shrinkable, key=lambda name: len(encoded[name]))
        colors[largest] //= 2
        encoded[largest] = _encode(pictures[largest], colors[largest])
    return encoded


def _encode(image: Image.Image, colors: int) -> str:
    if image.width > MAX_WIDTH:
        image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)))
    stream = io.BytesIO()
    _reduce(image, colors).save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _reduce(image: Image.Image, colors: int) -> Image.Image:
    """Keep a few colours: those of the grounds as they are, and others that cover all there are.

    Few pixels may carry the colours that matter, one line among white.
    """
    image = image.convert("RGB")
    counted = sorted(image.getcolors(image.width * image.height) or [], reverse=True)
    kept = [channel for _, color in counted[:EXACT] for channel in color]
    others = image.quantize(colors - EXACT, method=Image.Quantize.MAXCOVERAGE)
    palette = Image.new("P", (1, 1))
    palette.putpalette(kept + (others.getpalette("RGB") or []))
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def write_figure(pictures: list[Image.Image], path: Path) -> None:
    """Write pictures side by side into one file."""
    width = sum(picture.width for picture in pictures)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, (sheet.height - picture.height) // 2))
        left += picture.width
    path.parent.mkdir(parents=True, exist_ok=True)
    _reduce(sheet, MAX_COLORS).save(path, optimize=True)


def refresh(path: Path) -> None:
    """Run a notebook in a copy of its folder, and write it back."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        copy = Path(shutil.copytree(path.parent, Path(home, "notebooks"))) / path.name
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1000, "height": 1600})
        with jupyter_lab(copy.parent) as address:
            passed = run_notebook(page, address, path.name)
            run = json.loads(copy.read_text())
            outputs = [output for cell in code_cells(run) for output in cell["outputs"]]
            faults = [output for output in outputs if output["output_type"] == "error"]
            faults += [output for output in outputs if output.get("name") == "stderr"]
            if faults or not passed:
                raise SystemExit(f"A cell failed or wrote to stderr:\n{json.dumps(faults)[:4000]}")
            pictures = photograph(page, run)
        browser.close()
    source = json.loads(path.read_text())
    without = len(lighten(source, run, {}).encode())
    path.write_text(lighten(source, run, encode(pictures, max_bytes=MAX_BYTES - without)))
    tags = [cell["metadata"].get("tags", []) for cell in code_cells(source)]
    for tag in sorted({tag for cell_tags in tags for tag in cell_tags}):
        tagged = [image for (number, _), image in pictures.items() if tag in tags[number]]
        if tagged:
            write_figure(tagged, path.parent / FIGURES / f"{tag}.png")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        refresh(Path(argument).resolve())
