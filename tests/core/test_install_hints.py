"""What to install, where something is missing: the extra that is named must hold it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import stviz

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def _names(extra: str) -> set[str]:
    """Give the distributions of an extra, with those of the extras that it brings."""
    names = set()
    for requirement in EXTRAS[extra]:
        inner = re.fullmatch(r"sttrans\[(.+)\]", requirement)
        more = [_names(other) for other in inner[1].split(",")] if inner else []
        names |= set().union(*more) if inner else {re.split(r"[<>=\[]", requirement)[0]}
    return names


@pytest.mark.parametrize(("missing", "extra"), [("ipywidgets", "notebooks"), ("plotly", "viz")])
def test_the_widget_names_the_extra_that_holds_what_is_missing(missing, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "plotly":
        monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    monkeypatch.delitem(sys.modules, "stviz.widgets", raising=False)
    monkeypatch.delitem(vars(stviz), "alignment_widget", raising=False)
    sentence = rf"alignment_widget needs {missing}.*, .*pip install 'sttrans\[{extra}\]'"
    with pytest.raises(ImportError, match=sentence) as caught:
        stviz.alignment_widget  # noqa: B018 - asking for it is the test
    assert "\n" not in str(caught.value)
    assert missing in _names(extra)


def test_a_widget_without_anywidget_is_told_at_once(monkeypatch):
    # Plotly would tell it in words of its own, at the first picture.
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "stviz.widgets", raising=False)
    monkeypatch.delitem(vars(stviz), "alignment_widget", raising=False)
    with pytest.raises(ImportError, match=r"needs anywidget, .*pip install 'sttrans\[notebooks\]'"):
        stviz.alignment_widget  # noqa: B018 - asking for it is the test
    assert "anywidget" in _names("notebooks")


@pytest.mark.parametrize("package", ["stviz", "sttrans_core"])
def test_every_hint_names_an_extra_that_is_there(package):
    hints = [
        extra
        for path in (ROOT / package).rglob("*.py")
        for extra in re.findall(r"sttrans\[(\w+)\]", path.read_text())
    ]
    assert hints
    assert set(hints) <= set(EXTRAS)


def test_hints_name_the_extra_that_holds_their_library():
    libraries = {
        "stviz/basemap/__init__.py": "geopandas",
        "stviz/frame_pictures.py": "matplotlib",
        "sttrans_core/data/tables.py": "pyarrow",
        "sttrans_core/data/taxi_files.py": "pyarrow",
        "sttrans_core/data/zones.py": "geopandas",
        "sttrans_core/quality/gradients.py": "captum",
        "sttrans_core/commands/quality.py": "captum",
    }
    for path, library in libraries.items():
        (extra,) = re.findall(r"sttrans\[(\w+)\]", (ROOT / path).read_text())
        assert library in _names(extra)
    assert {"geopandas", "pyarrow"} <= _names("zones") <= _names("app")
