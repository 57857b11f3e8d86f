"""The explorer's state and evidence, without a page: selection, links, switches, bad input."""

import ast
import re
import shutil
from html import escape
from pathlib import Path
from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
from explorer.catalog import find_runs, runs_root
from explorer.comparison import compare_scores
from explorer.controls import Controls, _segment_labels
from explorer.opened import dataset_names, forget, open_dataset
from explorer.state import ExplorerState
from explorer.text import comparison_html, effect_html, sources_html, trust_html
from explorer.views import MapView, color_limits
from explorer_runs import DATASET, opened, tiny_config, train_runs

from sttrans_core import evaluate, load_pretrained, load_run, train
from stviz import prepare_alignment
from stviz.theme import get_theme

APPS = Path(__file__).parents[2] / "apps"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(tmp_path_factory)


def test_the_state_imports_neither_panel_nor_the_packages_at_once():
    # The page appears before torch is imported, so nothing above a function may need it.
    for name in ("state", "catalog"):
        tree = ast.parse((APPS / "explorer" / f"{name}.py").read_text())
        imported = {
            alias.name if isinstance(node, ast.Import) else node.module
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not {m for m in imported if m.split(".")[0] in {"panel", "sttrans_core", "stviz"}}


def test_the_app_file_is_short():
    assert len((APPS / "attention_explorer.py").read_text().splitlines()) <= 300


def test_every_parameter_says_what_it_is():
    own = set(ExplorerState.param) - {"name"}
    assert {n for n in own if not ExplorerState.param[n].doc} == set()


def test_runs_are_found_where_the_environment_says(monkeypatch, tmp_path, runs):
    monkeypatch.setenv("STTRANS_RUNS", str(tmp_path))
    assert runs_root() == tmp_path
    monkeypatch.delenv("STTRANS_RUNS")
    assert runs_root() == Path.cwd() / "runs"
    assert {(r.name, r.variant, r.has_weights) for r in find_runs(runs)} == {
        ("full", "full", True),
        ("no_alignment", "no_alignment", True),
    }
    assert find_runs(tmp_path / "nowhere") == []


def test_selecting_a_place_slices_what_is_there(runs):
    state = opened(runs)
    assert state.problem == ""
    evidence = state.evidence
    assert evidence.alignment.sizes["query_node"] == evidence.dataset.sizes["node"]
    for node in evidence.dataset["node"].values[:3].tolist():
        state.node = node
        assert not state.needs_update()
    state.segment, state.head, state.min_weight = 2, "1", 0.1
    assert not state.needs_update()


def test_time_and_switches_ask_for_new_evidence(runs):
    state = opened(runs)
    before = state.evidence
    for name, value in {"step": before.request.step - 1, "topk": 4, "window": False}.items():
        setattr(state, name, value)
        assert state.needs_update()
        state.update()
        assert not state.needs_update()
    assert state.evidence.forecaster is before.forecaster
    assert state.evidence.alignment.sizes["source"] == 4
    assert not bool(state.evidence.alignment["in_window"].any())
    weight = state.evidence.alignment["weight"].sum("source").values
    np.testing.assert_allclose(weight, 1, atol=1e-5)


def test_k_as_trained_is_no_switch(runs):
    state = opened(runs)
    assert (state.topk, state.evidence.trained_topk) == (None, 16)
    state.topk = 16
    state.update()
    assert state.topk is None


def test_k_beyond_what_was_trained_is_dense_attention(runs):
    state = opened(runs)
    places = state.evidence.dataset.sizes["node"]
    assert state.evidence.num_sources == 12 * (places - 1)
    state.topk = 10_000
    state.update()
    assert state.topk == state.evidence.alignment.sizes["source"] == 12 * (places - 1)
    # No source is left out, but the place's own readings, which are none.
    np.testing.assert_allclose(state.evidence.alignment["covered_mass"], 1, atol=1e-4)


@pytest.mark.parametrize(
    "switch",
    [
        {"topk": 2}, {"window": False}, {"silent_heads": ["1"]}, {"hidden": ["AE03"]},
        {"withheld": ["0", "7"]}, {"damage": "missing"}, {"damage": "outage"}, {"damage": "noise"},
    ],
)  # fmt: skip
def test_live_switches_forecast_again_and_can_be_undone(runs, switch):
    state = opened(runs, node="AE03")
    before = state.evidence
    assert before.forecast is before.as_trained
    state.param.update(**switch)
    state.update()
    now = state.evidence
    assert now.as_trained is before.forecast
    assert not np.allclose(now.forecast["forecast"], before.forecast["forecast"])
    np.testing.assert_array_equal(now.forecast["target"], before.forecast["target"])
    words = effect_html(now, get_theme("light"))
    change = abs(now.forecast["forecast"] - before.forecast["forecast"]).mean().item()
    error = abs(now.forecast["forecast"] - now.forecast["target"]).mean().item()
    assert f"change by {change:.2f} mph on average" in words
    assert f"now {error:.2f}." in words
    state.switch_back()
    state.update()
    assert state.evidence.forecast is before.forecast
    assert "They re-forecast at once" in effect_html(state.evidence, get_theme("light"))


def test_hidden_places_are_no_sources_and_those_around_go_with_them(runs):
    state = opened(runs, node="AE03")
    state.hide(state.targets)
    assert state.hidden == ["AE03"]
    state.hide(state.places_around())
    assert len(state.hidden) == len(set(state.hidden)) == 9
    state.hide(["AE03"])  # again: its readings are given back
    assert len(state.hidden) == 8
    assert "AE03" not in state.hidden
    state.update()
    alignment = state.evidence.alignment
    kept = alignment["source_node"].where(alignment["valid"])
    assert not np.isin(kept, state.hidden).any()
    state.dataset_name = "simulated-weather"
    assert state.hidden == []


def test_a_run_that_is_deleted_leaves_the_list_and_what_is_shown_stays(runs, tmp_path):
    for name in ("full", "no_alignment"):
        shutil.copytree(runs / name, tmp_path / name)
    state = opened(tmp_path)
    shutil.rmtree(tmp_path / "no_alignment")
    state.run = "no_alignment"
    state.update()
    assert "no_alignment" in state.problem
    assert state.run == "full"
    assert "no_alignment" not in state.param.run.objects.values()


@pytest.mark.parametrize(
    ("name", "advice"), [("era5-uk", "published as GRIB only"), ("pems-bay", "download pems-bay")]
)
def test_advice_for_missing_data_can_be_followed(tmp_path, monkeypatch, name, advice):
    monkeypatch.setenv("STTRANS_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=advice) as refused:
        open_dataset(name)
    assert ("sttrans_core download" in str(refused.value)) == (name == "pems-bay")


def test_too_many_places_to_hide_are_refused_and_nothing_changes(runs, monkeypatch):
    monkeypatch.setattr("explorer.state.MOST", 5)
    state = opened(runs, node="AE03")
    state.hide(["AE03"])
    state.hide(state.places_around())
    assert state.hidden == ["AE03"]
    assert state.notice == "At most 5 places can be hidden; got 9. Choose fewer."
    state.hide(["AE03"])
    assert (state.hidden, state.notice) == ([], "")


def test_heads_without_a_say_and_sources_that_are_not_there_are_told(runs):
    state = opened(runs, node="AE03")
    state.silent_heads = ["0"]
    state.update()
    sources = prepare_alignment(state.evidence.alignment, node="AE03")
    said = re.sub("<[^>]*>", "", trust_html(state.evidence, sources, get_theme("light")))
    assert f"1 silent of {state.evidence.num_heads} heads: their sources have no say" in said
    state.withheld = state.param.withheld.objects
    state.update()
    sources = prepare_alignment(state.evidence.alignment, node="AE03")
    assert not len(sources)
    selected = {"node": ["AE03"], "segment": 1, "head": None, "min_weight": 0.0}
    for said in (
        trust_html(state.evidence, sources, get_theme("light")),
        sources_html(state.evidence, selected, get_theme("light")),
    ):
        assert "by these sources alone" not in said
    assert "There is no source: the model gets no reading" in said


def test_withheld_steps_are_no_sources(runs):
    state = opened(runs, withhold=["0", "3"])
    state.update()
    alignment = state.evidence.alignment
    kept = alignment["source_step"].values[alignment["valid"].values]
    assert set(kept.tolist()) <= set(range(12)) - {11, 8}
    assert {10, 9} & set(kept.tolist())


def test_damaged_readings_are_those_that_the_model_sees(runs):
    state = opened(runs, node="AE03", damage="missing")
    seen = state.evidence.alignment["source_value"]
    assert np.isfinite(seen.where(state.evidence.alignment["valid"], 0)).all()
    state = opened(runs, node="AE03", damage="noise")
    alignment, clean = state.evidence.alignment, state.evidence.dataset["target"]
    measured = clean.sel(node=alignment["source_node"], time=alignment["source_time"])
    noise = (alignment["source_value"] - measured).values[alignment["valid"].values]
    spread = state.evidence.forecaster.data.scaler.std * np.sqrt(0.1)
    assert np.nanstd(noise) == pytest.approx(spread, rel=0.3)


def test_a_link_restores_the_selection(runs):
    asked = {"node": "AE03", "segment": 3, "k": 5, "head": "1", "min": 0.05, "window": "False"}
    asked |= {"hide": ["AE03", "BN05"], "silent": ["0"], "withhold": ["1", "4"], "damage": "outage"}
    state = opened(runs, step=1500, **asked)
    assert state.needs_update()  # for places and heads, which are known since
    state.update()
    assert state.evidence.request.hidden == ("AE03", "BN05")
    assert (state.silent_heads, state.withheld, state.damage) == (["0"], ["1", "4"], "outage")
    assert (state.step, state.node, state.segment, state.topk) == (1500, "AE03", 3, 5)
    assert (state.head, state.min_weight, state.window) == ("1", 0.05, False)
    assert state.notice == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", "<script>alert(1)</script>"),
        ("run", "../../etc"),
        ("node", "nowhere"),
        ("segment", 99),
        ("k", "many"),
        ("head", "7"),
        ("min", 3),
        ("step", -5),
        ("map", "heat"),
        ("hide", ["nowhere"]),
        ("hide", "AE03"),
        ("silent", ["9"]),
        ("withhold", ["40"]),
        ("damage", "fire"),
    ],
)
def test_a_link_that_misses_is_told_and_left_out(runs, key, value):
    state = opened(runs, **{key: value})
    assert state.problem == ""
    assert state.evidence is not None
    assert f"The link asks for {key}={str(value)[:40]!r}" in state.notice
    assert re.search("which is not there; (showing|left out)", state.notice)
    assert "None" not in state.notice


def test_ids_of_digits_are_found_though_the_address_has_numbers(tmp_path, real_data, monkeypatch):
    monkeypatch.setenv("STTRANS_DATA", str(real_data))
    state = opened(tmp_path, "bundled", data="metr-la", node=765171)
    assert (state.node, state.notice) == ("765171", "")


def test_a_variant_without_alignment_still_forecasts(runs):
    state = opened(runs, "no_alignment")
    assert state.evidence.alignment is None
    assert np.isfinite(state.evidence.forecast["forecast"].values).all()
    assert (state.evidence.num_heads, state.evidence.trained_topk) == (0, 0)


def test_without_a_run_the_readings_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.state.bundled_variants", lambda _name: [])
    state = opened(tmp_path, "")
    assert state.problem == ""
    assert state.evidence.forecast is None
    assert state.evidence.dataset.sizes["node"] == len(state.param.node.objects)


def test_missing_data_says_how_to_get_it(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("STTRANS_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state = opened(runs)
    shown = state.evidence
    state.dataset_name = "pems-bay"
    state.update()
    assert "pems-bay must be on this machine" in state.problem
    assert "Set STTRANS_DATA to the folder that holds it" in state.problem
    # What is shown and what is selected stay the same thing.
    assert state.evidence is shown
    assert state.dataset_name == shown.request.dataset
    assert not state.needs_update()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "data.json").unlink(), "A run folder must hold data.json"),
        (lambda run: (run / "model.safetensors").write_bytes(b"half"), "whole safetensors file"),
        (
            lambda run: (run / "config.json").write_text(tiny_config(seed=1).replace(
                {"model": {"width": 16}}).to_json()),
            "The weights must fit config.json",
        ),
    ],
)  # fmt: skip
def test_a_damaged_run_is_a_message(runs, tmp_path, damage, message):
    shutil.copytree(runs / "full", tmp_path / "full")
    damage(tmp_path / "full")
    state = opened(tmp_path)
    assert message in state.problem
    assert state.evidence is None


def test_a_run_of_other_data_does_not_fit(runs, tmp_path):
    shutil.copytree(runs / "full", tmp_path / "full")
    fields = (tmp_path / "full" / "data.json").read_text()
    (tmp_path / "full" / "data.json").write_text(fields.replace("AE01", "XX01"))
    state = opened(tmp_path)
    assert "must" in state.problem
    assert "got" in state.problem
    assert state.evidence is None


def test_runs_appear_when_they_are_there(runs, tmp_path):
    state = opened(tmp_path, "full")
    assert "full" not in state.param.run.objects.values()
    shutil.copytree(runs / "full", tmp_path / "full")
    state.refresh_runs()
    assert "full" in state.param.run.objects.values()


def test_differences_carry_their_sign(runs):
    dataset = open_dataset(DATASET)
    for name in ("full", "no_alignment"):
        evaluate(load_run(runs / name), dataset, write=True)
    full, other = load_run(runs / "full"), load_run(runs / "no_alignment")
    table = compare_scores(other, full)
    assert list(table.index) == ["5 min", "15 min", "30 min", "60 min", "mean of 12"]
    own, reference = (run.scores["mae"].isel(model=0).values for run in (other, full))
    np.testing.assert_allclose(table["difference"].iloc[:4], (own - reference)[[0, 2, 5, 11]])
    html = comparison_html(table, ("no_alignment", "full"), other.scores, get_theme("light"))
    assert f"{table['difference'].iloc[0]:+.2f}" in html


def test_text_from_data_is_escaped(runs):
    state = opened(runs)
    evil = "<img src=x onerror=alert(1)>"
    alignment = state.evidence.alignment.copy()
    alignment["source_node"] = alignment["source_node"].astype(object).where(False, evil)
    object.__setattr__(state.evidence, "alignment", alignment)
    selected = {"node": state.node, "segment": 1, "head": None, "min_weight": 0.0}
    html = sources_html(state.evidence, selected, get_theme("light"))
    assert "<img" not in html
    assert "&lt;img src=x" in html


def test_the_line_on_trust_states_mass_k_and_truth(runs):
    state = opened(runs)
    selected = {"node": state.node, "segment": 1, "head": None, "min_weight": 0.0}
    sources = prepare_alignment(state.evidence.alignment, **selected)
    html = trust_html(state.evidence, sources, get_theme("light"))
    mass = float(
        state.evidence.alignment["covered_mass"].sel(query_node=state.node, segment=1).mean()
    )
    assert f">{mass:.0%}</b> of dense attention covered" in html
    assert ">k = 16</b> as trained" in html
    if state.evidence.hits.num_scored:
        assert "true cause in the Top-8" in html
        assert "chance" in html


def test_the_line_on_trust_states_what_sources_forecast_alone(runs):
    state = opened(runs)
    selected = {"node": state.node, "segment": 2, "head": None, "min_weight": 0.0}
    alignment = state.evidence.alignment
    sources = prepare_alignment(alignment, **selected)
    without = alignment.drop_vars("aligned_forecast")
    object.__setattr__(state.evidence, "alignment", without)
    assert "alone" not in trust_html(state.evidence, sources, get_theme("light"))
    alone = alignment["aligned_forecast"].copy()
    alone[:] = 40.0 + alone["horizon"]
    object.__setattr__(state.evidence, "alignment", without.assign(aligned_forecast=alone))
    html = trust_html(state.evidence, sources, get_theme("light"))
    whole = state.evidence.forecast["forecast"].sel(node=state.node, horizon=6).item()
    assert f">46.0 mph</b> by these sources alone, {whole:.1f} as forecast, 30 min ahead" in html


def test_the_line_on_trust_names_each_switch(runs):
    state = opened(runs)

    def line(**switches: object) -> str:
        state.param.update(topk=None, window=True)
        state.param.update(**switches)
        state.update()
        selected = {"node": state.node, "segment": 1, "head": None, "min_weight": 0.0}
        sources = prepare_alignment(state.evidence.alignment, **selected)
        return trust_html(state.evidence, sources, get_theme("light"))

    assert ">k = 3</b> switched live" in line(topk=3)
    assert "in the Top-3" in line(topk=3)
    assert ">k = 16</b> as trained" in line(window=False)
    assert ">no</b> source from the local window" in line(window=False)
    assert "local window" not in line()


def test_the_simulated_set_comes_first(tmp_path):
    assert next(iter(dataset_names(tmp_path))) == DATASET


def test_a_step_or_k_beyond_what_there_is_is_told(runs):
    state = ExplorerState(root=runs)
    state.connect({DATASET: "Simulated"}, {"step": 99999, "k": 9999})
    state.update()
    assert "Forecast time 99999 is beyond what there is; showing 2015." in state.notice
    assert f"k 9999 is beyond what there is; showing {state.topk}." in state.notice
    assert state.topk == state.evidence.num_sources


def test_the_colours_of_the_map_stay_over_time(runs):
    state = opened(runs)
    before = color_limits(state.evidence, "forecast")
    state.step = state.evidence.first_step
    state.update()
    assert color_limits(state.evidence, "forecast") == before
    low, high = np.nanpercentile(state.evidence.dataset["target"].values[::4], [1, 99])
    assert before == pytest.approx((low, high))
    assert color_limits(state.evidence, "error") == pytest.approx(
        (-(high - low) / 3, (high - low) / 3)
    )
    # Changes are as large as they are, but nothing is no change.
    assert color_limits(state.evidence, "change")[1] == pytest.approx((high - low) / 100)
    state.withheld = ["0", "1", "2", "3", "4"]
    state.update()
    change = state.evidence.forecast["forecast"] - state.evidence.as_trained["forecast"]
    low, high = color_limits(state.evidence, "change")
    assert -low == high == pytest.approx(np.percentile(abs(change.values), 99))


def test_whole_hours_are_told_as_hours():
    weather = load_pretrained("ncep-air")
    table = compare_scores(weather, None)
    assert list(table.index) == ["6 h", "18 h", "36 h", "72 h", "mean of 12"]
    evidence = SimpleNamespace(forecast=weather.scores, num_segments=4)
    options = {
        "6\N{EN DASH}18": 1,
        "24\N{EN DASH}36": 2,
        "42\N{EN DASH}54": 3,
        "60\N{EN DASH}72": 4,
    }
    assert _segment_labels(evidence) == ("Hours ahead", options)


def test_a_run_on_own_sensors_is_offered_with_its_file(tmp_path):
    few = slice(0, 6)
    own = open_dataset(DATASET).isel(node=few, to_node=few)
    own = own.assign_attrs(title="Ring road", synthetic=0)
    own.to_netcdf(tmp_path / "ring.nc")
    config = tiny_config().replace({"data": {"dataset": str(tmp_path / "ring.nc")}})
    train(config, run_dir=tmp_path / "runs" / "ring", dataset=own)
    names = dataset_names(tmp_path / "runs")
    assert names[str(tmp_path / "ring.nc")] == "Own: ring"
    # A label of data handed over in Python is no file to open, whatever lies there.
    label = tmp_path / "label"
    label.write_text("not a dataset")
    (tmp_path / "runs" / "other").mkdir()
    (tmp_path / "runs" / "other" / "config.json").write_text(
        config.replace({"data": {"dataset": str(label)}}).to_json()
    )
    assert str(label) not in dataset_names(tmp_path / "runs")
    state = opened(tmp_path / "runs", "ring", data=str(tmp_path / "ring.nc"))
    assert (state.problem, state.notice) == ("", "")
    assert state.evidence.dataset.attrs["title"] == "Ring road"
    assert state.evidence.alignment.sizes["query_node"] == 6
    (tmp_path / "ring.nc").unlink()
    assert str(tmp_path / "ring.nc") not in dataset_names(tmp_path / "runs")


def test_zones_are_filled_and_named(tmp_path, real_data, monkeypatch):
    monkeypatch.setenv("STTRANS_DATA", str(real_data))
    state = opened(tmp_path, "bundled", data="nyc-taxi", node="132")
    evidence = state.evidence
    assert evidence.zones.index.tolist() == evidence.dataset["node"].values.tolist()
    assert evidence.name_of(["132"]) == "JFK Airport (132)"
    selected = {"node": "132", "segment": 1, "head": None, "min_weight": 0.0}
    html = sources_html(evidence, selected, get_theme("light"))
    first = evidence.alignment.sel(query_node="132", segment=1)["source_node"].values[0]
    assert f">{escape(evidence.zones.loc[first, 'zone'])} ({first})</td>" in html
    view = MapView(state)
    view.start()
    drawn = hv.render(view.figure.pane.object)
    assert any(layer.glyph.__class__.__name__ == "MultiPolygons" for layer in drawn.renderers)
    controls = Controls(state)
    controls.node.value = "LaGuardia Airport (138)"
    assert state.node == "138"


def test_without_polygons_zones_are_points(tmp_path, real_data, monkeypatch):
    def load_zones(**_):
        raise FileNotFoundError("none")

    monkeypatch.setenv("STTRANS_DATA", str(real_data))
    forget()
    monkeypatch.setattr("explorer.opened.load_zones", load_zones)
    state = opened(tmp_path, "bundled", data="nyc-taxi")
    assert state.evidence.zones is None
    assert state.evidence.name_of(["132"]) == "132"
    forget()


def test_playing_ends_at_the_last_step_and_waits_for_each_picture(runs):
    state = opened(runs)
    controls = Controls(state)
    controls.stride.value = 3
    last = state.evidence.dataset.sizes["time"] - 1
    state.step = last - 4
    controls.play.clicks += 1
    controls.play_on()
    assert state.step == last - 4  # this picture is not there yet
    for expected, plays in ((last - 1, True), (last, True), (last, False)):
        state.update()
        controls.play_on()
        assert (state.step, controls.plays) == (expected, plays)
    assert controls.play.label == "Play"


def test_what_is_of_another_dataset_is_known_until_the_chosen_one_is_there(runs):
    state = opened(runs)
    assert not state.shows_another_dataset()
    state.dataset_name = "simulated-weather"
    assert state.shows_another_dataset()
    state.update()
    assert not state.shows_another_dataset()
