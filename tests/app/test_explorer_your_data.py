"""The page "Your data" without a browser: uploads, paths, the preview, what is kept and offered."""

import asyncio
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from explorer.opened import dataset_names, open_dataset, runs_that_fit
from explorer.state import ExplorerState
from explorer.takeaway import View, forecast_csv, notebook_code, series_csv
from explorer.training_panel import TrainingPanel
from explorer.upload import Upload
from explorer.your_data import (
    UNDERSTOOD,
    Understood,
    YourDataError,
    describe_readings,
    find_on_server,
    keep,
    plain_name,
    server_folders,
)
from explorer.your_data_panel import YourDataPanel
from explorer_runs import DATASET, opened, train_runs
from own_files import ODD_NAMES, grid, readings, write_places, write_table

from sttrans_core import from_grid, from_table, load_dataset


def dataset_of(frame: pd.DataFrame, tmp_path: Path, **options: object):
    places = write_places(tmp_path / "places.csv", frame)
    return from_table(frame, places, **{"units": "km/h", **options})


@pytest.fixture
def state(tmp_path: Path) -> ExplorerState:
    found = ExplorerState(root=tmp_path / "runs")
    found.connect(dataset_names(found.root))
    return found


@pytest.fixture
def panel(state: ExplorerState):
    found = YourDataPanel(state)
    yield found
    found.forget()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "own.csv").write_text("time,a\n")
    (tmp_path / "secret.csv").write_text("time,a\n")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    (folder / "within.csv").symlink_to(folder / "own.csv")
    (folder / "store.zarr").mkdir()
    return folder


@pytest.mark.parametrize("text", ["own.csv", " own.csv ", "within.csv", "store.zarr"])
def test_files_in_an_open_folder_are_found(files, text):
    found = find_on_server(text, [files])
    assert found == (files / ("own.csv" if "csv" in text else text))
    assert find_on_server(str(files / text.strip()), [files]) == found


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd", "../secret.csv", "link.csv", "loop.csv", "absent.csv", "a\0b", "", ".",
        "~/own.csv", "x" * 5000,
    ],
)  # fmt: skip
def test_nothing_else_on_the_server_is_found(files, text):
    with pytest.raises(
        YourDataError, match="A path must lead to a file in the folder that STTRANS"
    ):
        find_on_server(text, [files])


def test_a_folder_whose_name_only_begins_alike_is_another_one(files):
    shutil.copytree(files, f"{files}-of-others", symlinks=True)
    with pytest.raises(YourDataError, match=r"got '.*-of-others/own.csv'"):
        find_on_server(f"{files}-of-others/own.csv", [files])


def test_open_folders_are_that_of_the_data_and_that_of_the_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    assert server_folders(tmp_path / "runs") == []
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("STTRANS_DATA", str(tmp_path))
    assert server_folders(tmp_path / "runs") == [tmp_path.resolve(), (tmp_path / "runs").resolve()]


def test_facts_are_those_of_the_readings(tmp_path):
    frame = readings()
    frame.iloc[10:22, 1] = np.nan  # twelve quarters of an hour from 02:30 on
    frame.iloc[40:44, 2] = np.nan
    facts = describe_readings(dataset_of(frame, tmp_path, quantity="speed", title="Ring"))
    assert facts.rows == {
        "Title": "Ring",
        "Quantity": "speed, in km/h",
        "Places": "4",
        "Interval": "15 min",
        "Steps": "96",
        "First": "2024-01-01 00:00",
        "Last": "2024-01-01 23:45",
        "Lowest, highest": "20, 67.875 km/h",  # 20 + (4 * 96 - 1) / 8
        "Missing": "4.2 %",  # 16 of 384
        "Longest gap": "3 h at b, from 2024-01-01 02:30",
    }
    assert facts.doubts == []
    assert facts.must == ""


def test_what_looks_odd_is_said(tmp_path):
    frame = readings(names=["a", "b", "stuck", "silent"])
    frame.iloc[:12, 0] = 0  # 3 % of all readings
    frame.iloc[5, 1], frame.iloc[6, 1] = -999, 999  # of which a single one may be measured
    frame["stuck"], frame["silent"] = 7.0, np.nan
    dataset = dataset_of(frame, tmp_path)
    spots = [52.0, 52.0, 0.0, 52.3], [4.0, 4.0, 0.0, 4.3]
    for name, values in zip(("latitude", "longitude"), spots, strict=True):
        dataset[name] = ("node", np.array(values))
    doubts = describe_readings(dataset).doubts
    hint = "If that marks a missing reading, write it under 'Marks of missing readings'."
    assert doubts == [
        f"3.1 % of the readings are 0. {hint}",
        f"0.26 % of the readings are -999. {hint}",
        "No reading at silent: a model learns nothing of these places.",
        "The same reading all the time at stuck.",
        "At one and the same spot: a, b.",
        "At latitude 0, longitude 0, which is in the ocean: stuck.",
    ]


def test_what_no_model_can_be_trained_on_is_said(tmp_path):
    facts = describe_readings(dataset_of(readings(steps=20), tmp_path))
    assert "The series must be long enough for training, validation and test" in facts.must


def test_facts_of_a_grid():
    facts = describe_readings(from_grid(grid()))
    assert facts.rows["Places"] == "12 cells, 3 x 4"
    assert facts.rows["Interval"] == "6 h"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Köln <b>: 2024", "K-ln-b-2024"),
        ("../../etc", "etc"),
        ("***", "data"),
        ("a" * 90, "a" * 40),
    ],
)
def test_plain_names(text, name):
    assert plain_name(text) == name


@pytest.fixture
def read_before(tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    folder.mkdir()
    dataset_of(readings(), tmp_path).to_netcdf(folder / UNDERSTOOD)
    return folder


def test_what_is_kept_is_a_dataset_of_that_name(tmp_path, read_before):
    root = tmp_path / "runs"
    file = keep(read_before, "ring", root=root)
    assert file == root / "data" / "ring.nc"
    assert load_dataset(str(file)).sizes["node"] == 4
    assert dataset_names(root)[str(file)] == "Own: ring"
    with pytest.raises(YourDataError, match="needs a name of its own; got 'ring', which is there"):
        keep(read_before, "ring", root=root)
    assert [path.name for path in file.parent.iterdir()] == ["ring.nc"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", ".hidden", "a.nc", "<b>", "x" * 41])
def test_a_kept_name_must_be_plain(tmp_path, read_before, name):
    with pytest.raises(YourDataError, match="The name of a dataset must be up to 40 letters"):
        keep(read_before, name, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written(tmp_path, read_before):
    (tmp_path / "runs").touch()
    with pytest.raises(YourDataError, match=r"The folder of runs must be writable; got .*"):
        keep(read_before, "ring", root=tmp_path / "runs")


def test_two_datasets_of_one_name_are_told_apart(tmp_path, read_before):
    root = tmp_path / "runs"
    kept = keep(read_before, "ring", root=root)
    shutil.copy(kept, tmp_path / "ring.nc")
    (root / "one").mkdir()
    fields = '{"data": {"dataset": "%s"}, "variant_name": "full"}' % (tmp_path / "ring.nc")
    (root / "one" / "config.json").write_text(fields)
    names = dataset_names(root)
    assert {names[str(kept)], names[str(tmp_path / "ring.nc")]} == {
        f"Own: {kept}",
        f"Own: {tmp_path / 'ring.nc'}",
    }


@pytest.fixture
def upload(tmp_path: Path):
    """Give an upload of at most 10 bytes, which tells what comes of it in `told`."""
    told: list[object] = []
    found = Upload(tmp_path / "in", largest=10, on_file=told.append, on_problem=told.append)
    found.told = told
    return found


def send(upload: Upload, name: str, *pieces: bytes) -> None:
    upload._handle_msg({"status": "initializing"})
    for piece in pieces:
        upload._handle_msg({"status": "upload_event", "name": name, "data": piece})
    upload._handle_msg({"status": "finished"})


def test_pieces_become_a_file_in_place_of_the_one_before(upload, tmp_path):
    send(upload, "a.csv", b"time", b",a\n")
    send(upload, "b.csv", b"time")
    assert upload.told == [tmp_path / "in" / "a.csv", tmp_path / "in" / "b.csv"]
    assert [path.read_bytes() for path in (tmp_path / "in").iterdir()] == [b"time"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../up.csv", "_.._up.csv"),
        ("/etc/cron.d/x.csv", "_etc_cron.d_x.csv"),
        ("<img src=x>.csv", "_img_src_x_.csv"),
        (".bashrc", "bashrc"),
        ("...", "file"),
    ],
)
def test_a_name_from_a_browser_is_only_a_name(upload, tmp_path, name, kept):
    send(upload, name, b"x")
    assert upload.told == [tmp_path / "in" / kept]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "in" / kept]


def test_too_much_is_refused_and_nothing_of_it_stays(upload, tmp_path):
    send(upload, "a.csv", b"123456", b"7890ab", b"c")
    assert "A file must have at most 0 MB; got a larger one" in upload.told[0]
    assert list((tmp_path / "in").iterdir()) == []
    # What the browser itself refuses, it tells so.
    upload._handle_msg({"status": "error", "error": "File size exceeds"})
    assert "got a larger one, of which nothing was kept" in upload.told[1]
    send(upload, "a.csv", b"good")
    assert upload.told[2].read_bytes() == b"good"


def test_an_empty_file_is_refused(upload):
    send(upload, "a.csv")
    assert upload.told == ["A file must hold something; got an empty one. Choose another file."]


def bring(panel: YourDataPanel, table: Path, places: Path | None = None) -> None:
    """Upload copies of files, as a browser does."""
    for what, file in (("readings", table), ("places", places)):
        if file is not None:
            send(panel.uploads[what], file.name, file.read_bytes())


@pytest.mark.slow
def test_a_bad_file_then_a_good_one_is_kept_and_offered(panel, state, tmp_path):
    training = TrainingPanel(state)
    (tmp_path / "bad.csv").write_text("<html><script>alert(1)</script></html>\n")
    table, places = write_table(tmp_path, readings(names=ODD_NAMES))
    bring(panel, tmp_path / "bad.csv", places)
    asyncio.run(panel.on_read())
    assert "must be in one column of bad.csv" in unescape(panel.alert.object)
    assert "<" not in panel.alert.object
    assert not panel.keep.visible
    assert panel.fields["time"].options[1:] == ["<html><script>alert(1)</script></html>"]

    bring(panel, table)
    panel.fields["units"].value, panel.title.value = "km/h", "Ring <b>road</b>"
    asyncio.run(panel.on_read())
    assert (panel.alert.visible, panel.keep.visible) == (False, True)
    assert "Ring &lt;b&gt;road&lt;/b&gt;" in panel.facts.object
    assert panel.name_.value == "Ring-b-road-b"
    assert len(panel.map.pane.object[()]) > 0
    assert not (state.root / "data").exists(), "nothing leaves the session before it is kept"

    panel.name_.value = "../ring"
    asyncio.run(panel.on_keep())
    assert "The name of a dataset must be" in unescape(panel.alert.object)
    panel.name_.value = "ring"
    asyncio.run(panel.on_keep())
    file = str(state.root / "data" / "ring.nc")
    assert (panel.alert.visible, panel.done.visible, panel.train.visible) == (False, True, True)
    assert "No run here can forecast it" in unescape(panel.done.object)
    assert not panel.open.visible
    assert state.param.dataset_name.names["Own: ring"] == file
    assert state.dataset_name == DATASET, "the selection stays as it is"
    assert training.form.data.options["Own: ring"] == file
    state.dataset_name = file
    assert training.form.data.value == file
    assert training.form.name_.value.startswith("ring-full-")
    training.form.config()


def test_a_session_leaves_nothing_behind(state):
    panel = YourDataPanel(state)
    send(panel.uploads["readings"], "a.csv", b"time,a\n")
    assert list(panel.folder.rglob("*.csv"))
    assert YourDataPanel(state).folder != panel.folder
    panel.forget()
    assert not panel.folder.exists()


def test_the_form_asks_for_what_a_file_leaves_open(panel):
    def asked() -> list[str]:
        return [name for name, field in panel.fields.items() if field.visible]

    assert asked() == []
    send(panel.uploads["readings"], "a.csv", b"time,a\n")
    assert asked() == ["units", "quantity", "missing", "time", "node", "value"]
    panel.fields["missing"].value, panel.fields["units"].value = "-999; 0", " mph "
    assert panel.options() == {"units": "mph", "missing": [-999.0, 0.0]}
    panel._show(Understood(kind="grid", variables=["u", "v"]), None)
    assert asked() == ["units", "quantity", "variable", "level"]
    assert panel.uploads["places"].disabled
    panel.fields["level"].value = "low"
    with pytest.raises(YourDataError, match="levels must be numbers; got 'low'"):
        panel.options()
    send(panel.uploads["readings"], "a.zip", b"PK")
    assert "got a.zip. Unpack it first" in unescape(panel.alert.object)


def test_without_a_file_it_says_so(panel):
    asyncio.run(panel.on_read())
    assert "There must be a file of readings; got none." in unescape(panel.alert.object)


def test_a_path_is_read_only_where_it_may_be(state, tmp_path, monkeypatch):
    monkeypatch.setenv("STTRANS_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    panel = YourDataPanel(state)
    panel.paths["readings"].value = "/etc/passwd"
    asyncio.run(panel.on_read())
    assert "A path must lead to a file in the folder" in unescape(panel.alert.object)
    panel.forget()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fitting")
    shutil.copytree(train_runs(tmp_path_factory), root, dirs_exist_ok=True)
    return root


def later(hours: int = 3):
    """Give readings of the simulated freeway's places, of another year."""
    some = open_dataset(DATASET).isel(time=slice(0, 12 * hours))
    times = some["time"] + np.timedelta64(365, "D")
    return some.assign_coords(time=times).assign_attrs(synthetic=0, title="A year later")


def test_runs_of_other_data_forecast_the_same_places(runs, tmp_path):
    (runs / "data").mkdir(exist_ok=True)
    file = str(runs / "data" / "later.nc")
    later().to_netcdf(file)
    assert runs_that_fit(file, runs) == {
        f"Bundled weights of {DATASET}": f"bundled:{DATASET}",
        f"full (trained on {DATASET})": "full",
        f"no_alignment (trained on {DATASET})": "no_alignment",
    }
    few = str(runs / "data" / "few.nc")
    later().isel(node=slice(0, 5), to_node=slice(0, 5)).to_netcdf(few)
    assert runs_that_fit(few, runs) == {}
    for run in (f"bundled:{DATASET}", "full"):
        state = opened(runs, run, data=file)
        assert (state.problem, state.notice, state.run) == ("", "", run)
        evidence = state.evidence
        assert evidence.part == "unseen"
        assert list(evidence.baselines) == ["last observed value"], "no average was learned here"
        assert evidence.forecast.sizes["node"] == 48
    view = View(
        evidence=opened(runs, f"bundled:{DATASET}", data=file).evidence, nodes=(state.node,),
        segment=1, head=None, min_weight=0.0, variable="forecast",
    )  # fmt: skip
    assert f"load_pretrained({DATASET!r}, 'full')" in notebook_code(view)
    for path in (file, few):
        Path(path).unlink()


def test_names_that_are_formulas_stay_text_in_tables(runs):
    names = [f"=cmd|{i}" for i in range(48)]
    dataset = open_dataset(DATASET)
    evidence = opened(runs).evidence
    forecast = evidence.forecast.assign_coords(node=names)
    renamed = replace(
        evidence, dataset=dataset.assign_coords(node=names), forecast=forecast,
        as_trained=forecast, baselines={},
    )  # fmt: skip
    view = View(
        evidence=renamed,
        nodes=(names[0],),
        segment=1,
        head=None,
        min_weight=0.0,
        variable="forecast",
    )
    lines = forecast_csv(view).decode().splitlines()[1:]
    assert all("'=cmd|" in line for line in lines)
    assert "\n=" not in series_csv(view).decode()
