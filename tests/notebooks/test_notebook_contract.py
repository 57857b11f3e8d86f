"""What a committed notebook looks like: run from top to bottom, light, in small steps, proven."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 500_000
MAX_LINES = 25
# nbval lets a cell pass whose first line is a magic it does not know.
MAGICS = {"%matplotlib"}


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _cell_faults(cell: dict[str, Any]) -> list[str]:
    lines = _source(cell).splitlines()
    magics = {line.split()[0] for line in lines if line.startswith(("%", "!"))} - MAGICS
    faults = {
        "is empty": not lines,
        f"has {len(lines)} lines, more than {MAX_LINES}": len(lines) > MAX_LINES,
        "holds an error": any(out["output_type"] == "error" for out in cell["outputs"]),
        f"uses {', '.join(sorted(magics))}": bool(magics),
        "defines a class: it belongs into a package": any(x.startswith("class ") for x in lines),
    }
    return [fault for fault, is_broken in faults.items() if is_broken]


def _faults(notebook: dict[str, Any]) -> list[str]:
    """List what breaks the rules; an empty list means the notebook keeps them."""
    cells = notebook["cells"]
    code = [(i, cell) for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    is_prose = [cell["cell_type"] == "markdown" for cell in cells]
    faults = [f"cell {i} {fault}" for i, cell in code for fault in _cell_faults(cell)]
    faults += [
        f"cell {i} has no sentence before it" for i, _ in code if not is_prose[max(i - 1, 0)]
    ]
    counts = [cell["execution_count"] for _, cell in code]
    if counts != list(range(1, len(code) + 1)):
        faults.append(f"execution counts are {counts}: run it from top to bottom in one go")
    if "widgets" in notebook["metadata"]:
        faults.append("widget state is saved: strip it")
    if not is_prose[0] or not _source(cells[0]).startswith("# "):
        faults.append("the first cell must be markdown with the title")
    if "assert " not in _source(code[-1][1]):
        faults.append("the last code cell must assert what the notebook claims")
    if not any(cell["outputs"] for _, cell in code):
        faults.append("no outputs are kept")
    return faults


def test_there_is_a_first_notebook():
    assert (ROOT / "notebooks" / "01_metr_la.ipynb").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_keeps_the_contract(path):
    assert _faults(json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_light(path):
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_names_no_place_on_a_machine(path):
    assert re.findall(r"/(?:home|root|tmp|Users)/\w+", path.read_text()) == []


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": [source]}


def _code(source: str, *, count: int | None = 1, outputs: tuple = ({"output_type": "stream"},)):
    return {
        "cell_type": "code",
        "source": source.splitlines(keepends=True),
        "execution_count": count,
        "outputs": list(outputs),
    }


GOOD = [_markdown("# Title"), _code("x = 1"), _markdown("So."), _code("assert x == 1", count=2)]


def _notebook(cells: list, **metadata: Any) -> dict[str, Any]:
    return {"cells": cells, "metadata": metadata}


def test_a_good_notebook_passes():
    assert _faults(_notebook(GOOD)) == []


@pytest.mark.parametrize(
    ("notebook", "fault"),
    [
        (_notebook([*GOOD[:3], _code("assert x", count=7)]), r"execution counts are \[1, 7\]"),
        (_notebook(GOOD, widgets={}), "widget state"),
        (_notebook([_markdown("No title"), *GOOD[1:]]), "first cell must be markdown"),
        (_notebook([GOOD[0], _code(""), *GOOD[2:]]), "cell 1 is empty"),
        (_notebook([*GOOD[:3], _code("assert x\n" * 26, count=2)]), "cell 3 has 26 lines"),
        (_notebook([*GOOD, _code("assert x", count=3)]), "cell 4 has no sentence"),
        (
            _notebook([*GOOD[:3], _code("assert 0", count=2, outputs=({"output_type": "error"},))]),
            "cell 3 holds an error",
        ),
        (_notebook([GOOD[0], _code("%pip install x\nassert x")]), "cell 1 uses %pip"),
        (_notebook([GOOD[0], _code("class A: ...\nassert A")]), "cell 1 defines a class"),
        (_notebook(GOOD[:2]), "last code cell must assert"),
        (_notebook([GOOD[0], _code("assert 1", outputs=())]), "no outputs are kept"),
    ],
)
def test_the_contract_fires(notebook, fault):
    faults = _faults(notebook)
    assert len(faults) == 1
    assert re.search(fault, faults[0])
