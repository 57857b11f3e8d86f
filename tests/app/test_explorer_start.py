"""The explorer's page without a browser: there at once, filled later, alive after a failure."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import panel_material_ui as pmui
import param
import pytest
from attention_explorer import Explorer
from explorer.alignment_views import AlignmentView
from explorer.choices import plain
from explorer.controls import Controls
from explorer.state import ExplorerState
from explorer.views import MapView
from explorer_runs import opened, train_runs

APPS = Path(__file__).parents[2] / "apps"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(tmp_path_factory)


def started(state: ExplorerState, *actions: Callable[[Explorer], None]) -> Explorer:
    """Run a page as a server does, in an event loop, and act on it once it is filled."""
    explorer = Explorer(state)

    async def run() -> None:
        await explorer.start()
        for action in actions:
            action(explorer)
            await asyncio.sleep(0.05)

    asyncio.run(run())
    return explorer


def test_the_page_needs_none_of_the_heavy_packages():
    code = (
        "import sys, attention_explorer as a;"
        "page = a.Explorer(a.ExplorerState()).page; page.get_root();"
        "heavy = {'torch', 'holoviews', 'plotly', 'sttrans_core', 'stviz'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=APPS, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_the_page_is_filled_once_the_model_is_there(runs):
    state = ExplorerState(root=runs)
    explorer = started(state)
    assert not explorer.alert.visible
    assert explorer.device.label.startswith("device: ")
    assert len(explorer.controls) == 1
    assert isinstance(explorer.views["map"], MapView)
    cube = explorer.views["alignment"]
    assert isinstance(cube, AlignmentView)
    assert state.node in cube.cube.object["layout"]["title"]["text"]


def test_what_is_shown_is_veiled_while_another_dataset_loads(runs):
    veiled = []

    def choose(explorer: Explorer) -> None:
        compute = explorer.state.compute

        def watched():
            veiled.append({card.loading for card in explorer.cards.values()})
            return compute()

        explorer.state.compute = watched
        explorer.state.dataset_name = "simulated-weather"

    explorer = started(ExplorerState(root=runs), choose)
    assert veiled[0] == {True}
    assert {card.loading for card in explorer.cards.values()} == {False}


def test_another_place_is_drawn_in_the_same_pane(runs):
    panes = []

    def move(explorer: Explorer) -> None:
        panes.append(explorer.views["alignment"].cube)
        nodes = explorer.state.param.node.objects
        explorer.state.node = nodes[nodes.index(explorer.state.node) - 1]

    explorer = started(ExplorerState(root=runs), move, move)
    view = explorer.views["alignment"]
    assert panes == [view.cube] * 2
    assert explorer.state.node in view.cube.object["layout"]["title"]["text"]
    # The browser draws what the server has drawn.
    assert (
        json.loads(view.cube.figure)["layout"]["title"]["text"]
        == (view.cube.object["layout"]["title"]["text"])
    )
    # The camera stays where the reader has turned it while this word stays the same.
    assert view.cube.object["layout"]["uirevision"] == "alignment-cube"


def test_training_and_about_are_built_when_they_are_asked_for(runs):
    def turn(name: str) -> Callable[[Explorer], None]:
        return lambda page: page.choice.param.update(value=name)

    explorer = started(ExplorerState(root=runs), turn("Train"), turn("About"), turn("Train"))
    assert [len(page) for page in explorer.pages.values()] == [1, 0, 1, 0, 1]
    assert [name for name, page in explorer.pages.items() if page.visible] == ["Train"]


def test_a_damaged_run_leaves_a_page_that_works(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.state.bundled_variants", lambda _name: [])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text((runs / "full" / "config.json").read_text())
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no weights")
    explorer = started(ExplorerState(root=tmp_path))
    assert explorer.alert.visible
    assert "A run folder must hold data.json" in unescape(explorer.alert.object)
    assert "See the message above" in explorer.views["map"].empty.object
    for file in (runs / "full").iterdir():
        (tmp_path / "broken" / file.name).write_bytes(file.read_bytes())
    asyncio.run(explorer.refresh())
    assert not explorer.alert.visible
    assert explorer.state.evidence is not None


def test_a_failure_before_anything_is_loaded_is_a_message(tmp_path, monkeypatch):
    def fail() -> dict[str, str]:
        raise RuntimeError("<no> packages")

    monkeypatch.setattr("attention_explorer._load_packages", fail)
    explorer = started(ExplorerState(root=tmp_path))
    assert explorer.alert.visible
    assert "<" not in explorer.alert.object
    assert "RuntimeError: <no> packages. Choose another run" in unescape(explorer.alert.object)


@pytest.mark.parametrize(
    "name", ["notime.nc", "[x](http://evil.nc)", "![x](//evil)", "*a* `b` <b>"]
)
def test_no_word_of_a_message_becomes_a_link_or_picture(name):
    alert = pmui.Alert(object=plain(f"got t2m in {name}."))
    html = unescape(alert._process_param_change({"object": alert.object})["object"])
    assert not re.search("<(?!/?p>)", html)
    assert f"got t2m in {name}." in unescape(html)


def test_a_trained_run_is_opened_and_one_without_weights_is_refused(runs):
    explorer = started(ExplorerState(root=runs), lambda page: page._open_run("nowhere"))
    assert "has no weights yet" in unescape(explorer.alert.object)
    explorer = started(ExplorerState(root=runs), lambda page: page._open_run("full"))
    assert explorer.state.run == "full"


def test_a_slider_is_not_moved_back_under_the_hand(runs):
    state = opened(runs)
    slider = Controls(state).topk

    def let_go_at(value: int) -> None:
        slider.value = value
        with param.edit_constant(slider):
            slider.value_throttled = value

    let_go_at(14)
    assert state.topk == 14
    slider.value = 12  # the reader goes on while the evidence for 14 is computed
    state.update()
    assert slider.value == 12
    let_go_at(12)
    state.update()
    # What the page itself decides moves the slider, also to where the reader had left it before.
    for topk in (9, 12):
        state.topk = topk
        state.update()
        assert slider.value == topk


def test_a_choice_made_while_another_is_computed_is_kept(runs, monkeypatch):
    state = opened(runs)
    explorer = Explorer(state)
    compute = state.compute

    def meanwhile() -> object:
        evidence = compute()
        if state.topk != 5:
            state.topk = 5  # before anybody is told
        return evidence

    monkeypatch.setattr(state, "compute", meanwhile)
    state.window = False
    asyncio.run(explorer.refresh())
    assert (state.topk, state.window) == (5, False)
    assert (state.evidence.request.topk, state.evidence.request.window) == (5, False)
