"""The package as a whole: light to import, clear where a library is missing, offline everywhere."""

import inspect
import subprocess
import sys

import pytest

import stviz
from stviz.basemap import load_basemap
from stviz.labels import wrap_words


def test_importing_the_package_loads_no_drawing_library():
    code = (
        "import stviz, sys; print(*{'holoviews', 'plotly', 'folium', 'panel'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ""


def test_every_name_is_there_and_no_other():
    assert set(stviz.__all__) <= set(dir(stviz))
    assert all(callable(getattr(stviz, name)) for name in stviz.__all__)
    with pytest.raises(AttributeError, match="module 'stviz' has no attribute 'plot_pie'"):
        stviz.plot_pie  # noqa: B018 - asking for it is the test


def test_data_comes_first_and_everything_else_by_keyword():
    for name in stviz.__all__:
        first, *others = inspect.signature(getattr(stviz, name)).parameters.values()
        assert first.default is inspect.Parameter.empty, name
        assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in others), name


def test_options_of_one_name_come_in_one_order():
    order = [
        *(
            "node",
            "time",
            "horizon",
            "variable",
            "reference",
            "segment",
            "head",
            "topk",
            "min_weight",
        ),
        *(
            "dataset",
            "causes",
            "zones",
            "selected",
            "hidden",
            "limits",
            "focus",
            "basemap",
            "tiles",
            "on_tap",
            "theme",
        ),
        *("width", "height"),
    ]
    for name in stviz.__all__:
        if name.startswith(("plot_", "prepare_", "folium_")):
            options = inspect.signature(getattr(stviz, name)).parameters
            known = [option for option in options if option in order]
            assert known == sorted(known, key=order.index), name


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "folium", None)
    monkeypatch.delitem(sys.modules, "stviz.folium_maps", raising=False)
    monkeypatch.delitem(vars(stviz), "folium_forecast_map", raising=False)
    message = r"stviz\.folium_forecast_map needs folium, .* pip install 'sttrans\[viz\]'"
    with pytest.raises(ImportError, match=message):
        stviz.folium_forecast_map  # noqa: B018 - asking for it is the test


def test_a_missing_geopandas_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "geopandas", None)
    with pytest.raises(ImportError, match=r"The base map needs geopandas\. Install the extra"):
        load_basemap((-119, 33, -118, 34))


def test_long_lines_are_broken_between_words():
    text = "METR-LA, first week. Source: Caltrans PeMS, through a repository"
    lines = wrap_words(text, width=240).split("\n")
    assert len(lines) == 3
    assert " ".join(lines) == text
    # (240 - 60) / 6.4 letters fit.
    assert all(len(line) <= 28 for line in lines)
