"""What a reader takes home: files that other programs open, code that runs, nothing that acts."""

import io
import json
from dataclasses import replace
from html import unescape

import geopandas
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from explorer.takeaway import ALIGNED, TAKEAWAYS, View, notebook_code, report
from explorer.takeaway_panel import TakeawayPanel
from explorer_runs import opened, train_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return train_runs(tmp_path_factory)


def _view(runs, run: str = "full", **query) -> View:
    state = opened(runs, run, **{"node": "AE03", **query})
    state.update()  # with places and heads of the query
    return TakeawayPanel(state).view()


def _taken(view: View, subject: str, form: str) -> bytes:
    return TAKEAWAYS[subject][form](view)


def test_tables_hold_what_is_shown(runs):
    view = _view(runs, segment=2)
    forecast = view.evidence.forecast
    table = pd.read_csv(io.BytesIO(_taken(view, "Forecasts", "CSV")))
    assert len(table) == forecast.sizes["horizon"] * forecast.sizes["node"]
    row = table[(table["node"] == "AE03") & (table["horizon"] == 5)].iloc[0]
    expected = forecast.isel(time=0).sel(node="AE03", horizon=5)
    assert row["forecast"] == pytest.approx(expected["forecast"].item(), rel=1e-5)
    series = pd.read_csv(io.BytesIO(_taken(view, "Series", "CSV")), parse_dates=["time"])
    ahead = series[series["part"] == "horizon"]
    assert {"last observed value", "historical average", "as trained"} <= set(series)
    np.testing.assert_allclose(ahead["forecast"], ahead["as trained"])
    sources = pd.read_csv(io.BytesIO(_taken(view, "Sources", "CSV")))
    typed = pd.read_parquet(io.BytesIO(_taken(view, "Sources", "Parquet")))
    assert typed["place"].tolist() == sources["place"].tolist()
    assert typed["time"].dtype.kind == "M"
    said = sources.iloc[0][["target", "minutes ahead", "head", "model"]].tolist()
    assert said == ["AE03", "20 to 30", "mean", "full, seed 0"]
    assert set(series["place"]) == {"AE03"}
    assert set(series["units"]) == {"mph"}
    typed = pd.read_parquet(io.BytesIO(_taken(view, "Forecasts", "Parquet")))
    assert typed["time"].dtype.kind == "M"
    np.testing.assert_allclose(typed["forecast"], table["forecast"], rtol=1e-5)
    assert sources["weight (%)"].sum() == pytest.approx(100, abs=0.5)


def test_maps_and_arrays_open_elsewhere(runs, tmp_path):
    view = _view(runs, map="error")
    (tmp_path / "map.geojson").write_bytes(_taken(view, "Map", "GeoJSON"))
    places = geopandas.read_file(tmp_path / "map.geojson")
    assert places.crs == "EPSG:4326"
    here = places[places["node"] == "AE03"].iloc[0]
    assert here["value"] == pytest.approx(here["forecast"] - here["target"], abs=1e-3)
    at = view.evidence.dataset.sel(node="AE03")
    assert here.geometry.x == pytest.approx(at["longitude"].item())
    for subject, form, expected in (
        ("Forecasts", "NetCDF", view.evidence.forecast),
        ("Alignment", "NetCDF", view.evidence.alignment),
    ):
        (tmp_path / "data.nc").write_bytes(_taken(view, subject, form))
        with xr.open_dataset(tmp_path / "data.nc") as opened_again:
            xr.testing.assert_equal(opened_again.load(), expected)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"map": "change", "damage": "noise", "silent": ["1"]},
        {"k": 4, "window": "False", "hide": ["AE03"], "withhold": ["0", "5"], "segment": 3},
        {"area": "-99.65,39,-99.55,39.3", "head": "0"},
        {"picture": "On the map", "min": 0.02},
        {"picture": "Delay"},
        {"picture": "Heads"},
    ],
)
def test_the_code_makes_the_same_view(runs, query):
    view = _view(runs, **query)
    shown, made = [], {}
    exec(notebook_code(view), {"display": shown.append}, made)  # noqa: S102 - it is ours
    last = "Overlay" if "picture" in query else "Figure"
    assert [type(each).__name__ for each in shown] == ["Overlay", "Overlay", last]
    np.testing.assert_allclose(made["forecast"]["forecast"], view.evidence.forecast["forecast"])
    expected = view.evidence.alignment.sel(query_node=list(view.nodes))
    np.testing.assert_allclose(made["alignment"]["weight"], expected["weight"], atol=1e-5)


def test_a_notebook_with_the_view_is_taken_away(runs):
    view = _view(runs, picture="Heads")
    made = nbformat.reads(_taken(view, "Code", "Notebook").decode(), as_version=4)
    nbformat.validate(made)
    assert notebook_code(view) in made.cells[1].source
    evil = replace(view, nodes=("![x](http://evil)<b>",))
    title = json.loads(TAKEAWAYS["Code"]["Notebook"](evil))["cells"][0]["source"]
    assert not set("![]()<>") & set(title)
    assert "![x](http://evil)<b>" in unescape(title)


def test_a_report_says_what_was_switched(runs):
    view = _view(runs, k=4, silent=["1"], hide=["AE05"], withhold=["0", "5"], damage="missing")
    said = (
        "k = 4; silent heads 1; hidden places AE05; withheld readings 0, 25 minutes before the "
        "forecast; readings: A fifth missing"
    )
    assert said in report(view).decode()
    assert "Switched" not in report(_view(runs)).decode()


def test_without_an_alignment_the_rest_is_there(runs):
    view = _view(runs, "no_alignment")
    for subject, forms in TAKEAWAYS.items():
        for form, write in forms.items():
            if write and subject not in ALIGNED:
                assert write(view), (subject, form)
    assert ".align(" not in notebook_code(view)
    panel = TakeawayPanel(opened(runs, "no_alignment"))
    panel.subject.value = "Sources"
    assert panel.file.disabled
    panel.subject.value = "Map"
    assert (panel.format.value, panel.picture.visible, panel.file.visible) == ("PNG", True, False)
    panel.format.value = "GeoJSON"
    assert (panel.picture.visible, panel.file.visible, panel.file.disabled) == (False, True, False)
    assert panel.file.filename.endswith("-map.geojson")


def test_names_from_data_are_neither_formulas_nor_html(runs):
    view = _view(runs)
    bad = {"AE03": "=HYPERLINK(1)", "BN05": "<script>alert(1)</script>"}
    for name in ("dataset", "forecast", "as_trained", "alignment"):
        data = getattr(view.evidence, name)
        for dim in ("node", "query_node"):
            if dim in data.dims:
                ids = [bad.get(each, each) for each in data[dim].values.tolist()]
                data = data.assign_coords({dim: ids})
        if "source_node" in data:
            ids = [bad.get(each, each) for each in data["source_node"].values.ravel().tolist()]
            data["source_node"] = data["source_node"].copy(
                data=np.array(ids).reshape(data["source_node"].shape)
            )
        object.__setattr__(view.evidence, name, data)
    baselines = {
        name: each.assign_coords(node=view.evidence.forecast["node"].values)
        for name, each in view.evidence.baselines.items()
    }
    object.__setattr__(view.evidence, "baselines", baselines)
    object.__setattr__(view, "nodes", ("<script>alert(1)</script>",))
    assert b",'=HYPERLINK(1)," in _taken(view, "Forecasts", "CSV")
    assert b",=HYPERLINK" not in _taken(view, "Forecasts", "CSV")
    page = _taken(view, "Report", "HTML").decode()
    assert "<script>alert(1)" not in page
    names = [each["properties"]["node"] for each in
             json.loads(_taken(view, "Map", "GeoJSON"))["features"]]  # fmt: skip
    assert "<script>alert(1)</script>" in names  # data stays data there
