"""Two runs side by side: what is computed, what is said about them, and what they share."""

import shutil
from dataclasses import replace
from pathlib import Path

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from explorer.alignment_views import AlignmentView
from explorer.compare_panel import BothSeriesView, ComparePanel, DifferenceView
from explorer.comparison import compare_moment, compare_runs, read_ablations
from explorer.comparison_text import board_html, deltas_html, moment_html, run_html
from explorer.figure import SharedZoom
from explorer.opened import dataset_names, open_dataset
from explorer.state import ExplorerState
from explorer.views import MapView
from explorer_runs import DATASET, opened, train_runs

from sttrans_core import evaluate, load_pretrained, load_run
from stviz.theme import get_theme

COLORS = get_theme("light")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(tmp_path_factory)


@pytest.fixture(scope="module")
def compared(runs) -> ExplorerState:
    return opened(runs, page="Compare", **{"with": "bundled/fixed_position"})


def test_another_run_is_asked_for_the_same_moment_and_place(compared):
    first, second = compared.evidence, compared.compared
    assert first.request.name == "full"
    assert second.request.name == "bundled/fixed_position"
    assert second.request.of("full", "full") == replace(first.request, run="full", variant="full")
    assert not compared.needs_update()
    assert np.abs(first.forecast["forecast"] - second.forecast["forecast"]).max() > 0.1


def test_the_run_itself_is_not_offered_for_comparison(compared):
    offered = set(compared.param.other.objects)
    assert "bundled/full" in offered
    assert "no_alignment" in offered
    assert not {"full", "bundled", ""} & offered


def test_nothing_else_is_computed_while_another_page_is_in_sight(runs):
    state = opened(runs)
    assert state.compared is None
    assert not state.needs_update()
    state.page = "Compare"
    assert state.needs_update()
    shown = state.evidence
    state.update()
    assert state.evidence is shown  # the selected run need not be computed again
    assert state.compared.request.name == state.other


def test_switches_reach_both_runs_as_far_as_each_has_them(runs):
    state = opened(runs, page="Compare", **{"with": "no_alignment"})
    state.param.update(topk=4, silent_heads=["0"], damage="noise")
    state.update()
    assert state.evidence.request.topk == 4
    # The other one has no sources to keep and no heads to silence.
    assert state.compared.request.topk is None
    assert state.compared.request.silent_heads == ()
    assert state.compared.request.damage == "noise"
    assert not state.needs_update()


def test_a_run_that_cannot_be_read_leaves_the_comparison_as_it_was(compared, runs):
    shown = compared.compared
    compared.param.other.objects = [*compared.param.other.objects, "gone"]
    compared.other = "gone"
    compared.update()
    assert "gone" in compared.problem
    assert compared.compared is shown
    assert compared.other == "bundled/fixed_position"
    compared.problem = ""


def test_without_another_run_the_page_says_what_to_do(tmp_path):
    state = ExplorerState(root=tmp_path)
    state.connect(dataset_names(tmp_path), {"data": "simulated-weather", "page": "Compare"})
    state.update()
    assert state.other == ""
    view = MapView(state, page="Compare", of="compared")
    view.start()
    assert "No other run of simulated-weather" in view.empty.object
    panel = ComparePanel(state)
    assert not panel.deltas.visible


def test_links_restore_camera_picture_page_and_other_run(runs):
    query = {"camera": "0.6,-1.55,0.5,0,0,-0.15", "picture": "Delay", "page": "About"}
    state = opened(runs, **query, **{"with": "no_alignment"})
    assert (state.camera, state.picture, state.page) == tuple(query.values())
    assert state.other == "no_alignment"
    assert state.notice == ""


@pytest.mark.parametrize("camera", ["1,2,3", "1,2,3,4,5,six", "1,2,3,4,5,6,7", "1,2,3,4,5,6,"])
def test_a_camera_that_is_none_is_left_out_and_said(runs, camera):
    state = opened(runs, camera=camera)
    assert state.camera == ""
    assert f"camera='{camera}', which is not there" in state.notice


def scored(errors: list[float], spread: float) -> pd.DataFrame:
    table = pd.DataFrame(
        {"first": [2.0] * len(errors), "difference": errors, "spread": spread},
        index=[f"{step} h" for step in range(len(errors))],
    )
    table["second"] = table["first"] + table["difference"]
    table.attrs = {"metric": "mae", "units": "K", "seeds": 3}
    return table


def test_a_difference_that_seeds_alone_could_make_is_not_coloured():
    html = deltas_html(scored([0.21, -0.21, 0.19], 0.1), COLORS)
    worse, better, within = html.split("<tbody>")[1].split("</tr>")[:3]
    assert f"{COLORS.error[-2]};font-weight:600'>+0.21" in worse
    assert f"{COLORS.error[1]};font-weight:600'>-0.21" in better
    assert f"{COLORS.muted}'>+0.19" in within
    unknown = deltas_html(scored([5.0], np.nan), COLORS)
    assert "font-weight:600'>" not in unknown
    assert "how much of the difference is chance" in unknown


def test_the_spread_of_a_difference_is_that_of_the_seeds_of_both(tmp_path):
    full, fixed = (load_pretrained(DATASET, name) for name in ("full", "fixed_position"))
    table = compare_runs(full, fixed, tmp_path)
    last = table.iloc[-1]
    assert last["difference"] == pytest.approx(last["second"] - last["first"])
    # The published table of ablations has the two standard deviations over the same three seeds.
    published = pd.read_csv(Path("notebooks/results/tables/table3.csv"))
    mean = published[
        (published["dataset"] == DATASET)
        & (published["section"] == "MAE")
        & published["column"].str.startswith("mean of")
    ].set_index("row")
    sds = mean.loc[["ST-Trans full", "ST-Trans fixed_position"], "sd"]
    assert last["spread"] == pytest.approx(float(np.hypot(*sds)), abs=2e-5)
    assert table.attrs["seeds"] == 3


def test_a_run_of_one_seed_has_no_known_spread(runs, tmp_path):
    names = ("full", "no_alignment")
    for name in names:
        shutil.copytree(runs / name, tmp_path / name)
        (tmp_path / name / "scores.csv").unlink(missing_ok=True)  # another test may have scored it
    assert compare_runs(*(load_run(tmp_path / name) for name in names), tmp_path) is None
    for name in names:
        evaluate(load_run(tmp_path / name), open_dataset(DATASET), write=True)
    table = compare_runs(*(load_run(tmp_path / name) for name in names), tmp_path)
    assert table["difference"].notna().all()
    assert table["spread"].isna().all()


def test_errors_of_a_moment_are_over_the_places_that_were_measured(compared):
    first, second = compared.evidence, compared.compared
    errors = compare_moment(first, second, 3)
    truth = first.forecast["target"].sel(horizon=3).values[0]
    sizes = [
        np.abs(each.forecast["forecast"].sel(horizon=3).values[0] - truth)
        for each in (first, second)
    ]
    assert errors.first == pytest.approx(np.nanmean(sizes[0]))
    assert errors.second == pytest.approx(np.nanmean(sizes[1]))
    known = np.isfinite(truth)
    assert errors.share_closer == pytest.approx((sizes[1] < sizes[0])[known].mean())
    assert f"off by {errors.first:.2f} mph" in moment_html(errors, "15 min ahead", COLORS)
    empty = first.forecast.assign(target=first.forecast["target"] * np.nan)
    assert compare_moment(replace(first, forecast=empty), second, 3) is None
    assert "no error to compare" in moment_html(None, "15 min ahead", COLORS)


def test_the_board_has_a_line_for_each_variant_and_the_selected_data_first():
    table = pd.DataFrame(
        {
            "dataset": ["b", "a", "b"],
            "variant": ["no_gate", "no_gate", "<b>"],
            "mean": [3.0, -3.0, 1.0],
            "sd": [1.0, 2.0, np.nan],
            "seeds": [3, 3, 1],
        }
    )
    html = board_html(table, "b", {"no_gate": "Is it <worth> it?"}, COLORS)
    assert html.index("<th>b</th>") < html.index("<th>a</th>")
    assert "&lt;b&gt;" in html
    assert "Is it &lt;worth&gt; it?" in html
    assert f"fill='{COLORS.error[-2]}'" in html  # three times the spread
    assert html.count(f"fill='{COLORS.muted}'") == 2  # within it, and one seed alone
    assert "No published runs here" in board_html(table[:0], "b", {}, COLORS)
    published = read_ablations()
    assert {"metr-la", DATASET} <= set(published["dataset"])
    assert "full" not in set(published["variant"])


def test_names_of_runs_are_no_html():
    assert "&lt;img" in run_html("A", "<img src=x>", "#000000", COLORS)


def test_maps_of_a_comparison_have_one_scale_and_the_difference_is_around_zero(compared):
    views = [
        kind(compared, page="Compare", of=of)
        for kind, of in ((MapView, "evidence"), (MapView, "compared"), (DifferenceView, "compared"))
    ]
    assert views[0]._limits() == views[1]._limits()
    low, high = views[2]._limits()
    assert low == -high
    views[2]._overlay()
    # Both may be of one name, such as two runs of one variant and seed.
    caption = hv.render(views[2]._overlay())
    assert any("higher than that of A" in line.text for line in caption.above if line.name)
    change = views[2]._overlay().Points.Sensors.data.set_index("node")["value"]
    step = compared.evidence.last_step(compared.segment)
    expected = (compared.compared.forecast - compared.evidence.forecast)["forecast"]
    assert change["BN05"] == pytest.approx(
        float(expected.sel(horizon=step, node="BN05").item()), abs=1e-4
    )
    views[2].kind.value = "excess"
    views[2]._overlay()
    assert np.nanmax(views[2]._overlay().Points.Sensors.data["value"]) <= change.abs().max() + 1e-4


def test_cubes_of_a_comparison_have_one_scale_of_weights_and_one_floor(compared):
    cubes = []
    for of in ("evidence", "compared"):
        view = AlignmentView(compared, page="Compare", of=of)
        view.start()
        cubes.append(view.cube.object["layout"])
    first, second = cubes
    assert first["coloraxis"]["cmax"] == second["coloraxis"]["cmax"]
    for axis in ("xaxis", "yaxis", "zaxis"):
        assert first["scene"][axis]["range"] == pytest.approx(second["scene"][axis]["range"])


def test_the_series_holds_both_forecasts(compared):
    view = BothSeriesView(compared, page="Compare")
    view.start()
    assert list(view._others()) == ["forecast of B"]


def test_cameras_follow_each_other(compared):
    views = [AlignmentView(compared, page="Compare", of=of) for of in ("evidence", "compared")]
    views[0].cube.camera = "1,1,1,0,0,0"
    assert compared.camera == "1,1,1,0,0,0"
    assert views[1].cube.camera == "1,1,1,0,0,0"
    compared.camera = ""


class Ranges:
    """What a Bokeh figure has of ranges."""

    def __init__(self) -> None:
        self.x_range, self.y_range = object(), object()


def test_maps_share_their_ranges_until_other_places_are_shown():
    zoom, figures = SharedZoom(), [Ranges(), Ranges(), Ranges()]
    zoom.join(figures[0], "here")
    zoom.join(figures[1], "here")
    assert figures[1].x_range is figures[0].x_range
    assert figures[1].y_range is figures[0].y_range
    zoom.join(figures[2], "elsewhere")
    assert figures[2].x_range is not figures[0].x_range
    zoom.join(figures[0], "elsewhere")
    assert figures[0].x_range is figures[2].x_range


def test_a_page_that_is_not_in_sight_draws_nothing_until_it_is(runs):
    state = opened(runs)
    view = AlignmentView(state, page="Compare")
    view.start()
    assert view.cube.object is None
    state.page = "Compare"
    assert view.cube.object is not None


def test_runs_of_different_horizons_are_no_pair_at_one_moment(compared):
    panel, shown = ComparePanel(compared), compared.compared
    assert panel.moment.visible
    table = panel._table
    compared.segment = 2
    assert panel._table is table  # nothing is read again for another lead time
    shorter = shown.forecast.isel(horizon=slice(4))
    compared.compared = replace(shown, forecast=shorter, alignment=None)
    assert not panel.moment.visible
    compared.param.update(compared=shown, segment=1)
