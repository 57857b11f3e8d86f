"""Downloads from a server on this machine: mirrors, checks, hashes, and what may go wrong."""

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from data_samples import (
    SENSORS,
    STEPS,
    adjacency,
    fingerprint,
    speeds,
    tiny_series,
    write_adjacency,
    write_hdf,
    write_locations,
)

from sttrans_core.data import load_dataset
from sttrans_core.data.download import check_recorded_hash, download_graph, download_series
from sttrans_core.data.files import read_series


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/cut/"):
            # Announces the whole file and closes the line half way, as a broken connection does.
            content = (Path(self.directory) / Path(self.path).name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            return
        super().do_GET()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Give a folder and the address under which its files are served."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _archive(path: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def _hdf(tmp_path: Path) -> bytes:
    return write_hdf(tmp_path / "metr_la.h5", speeds()).read_bytes()


def test_the_second_mirror_serves_where_the_first_does_not(tmp_path: Path, served) -> None:
    folder, address = served
    content = _hdf(tmp_path)
    _archive(folder / "metr_la.zip", {"data/distances.csv": b"", "data/metr_la.h5": content})
    cache = tmp_path / "cache"
    mirrors = [f"{address}/gone.zip", f"{address}/cut/metr_la.zip", f"{address}/metr_la.zip"]
    series = tiny_series(speeds())
    file = download_series(series, folder=cache, mirrors=mirrors, progress=False)
    assert file == cache / "metr-la.h5"
    assert file.read_bytes() == content
    assert sorted(entry.name for entry in cache.iterdir()) == ["metr-la.h5", "metr-la.h5.sha256"]
    record = (cache / "metr-la.h5.sha256").read_text()
    assert f"{hashlib.sha256(content).hexdigest()}  metr-la.h5" in record
    assert f"from {mirrors[2]} (archive sha256" in record
    sentence = check_recorded_hash(file)
    assert sentence is not None
    assert sentence.startswith("Downloaded 20")
    assert "recorded then, none is published" in sentence


def test_a_csv_mirror(tmp_path: Path, served, capsys) -> None:
    folder, address = served
    speeds().to_csv(folder / "METR-LA.csv")
    file = download_series(
        tiny_series(speeds()), folder=tmp_path, mirrors=[f"{address}/METR-LA.csv?download=1"]
    )
    assert read_series(file).equals(speeds())
    assert file.name == "metr-la.csv"
    assert "100%" in capsys.readouterr().err  # the progress bar


def test_every_fault_is_named_and_nothing_is_left(tmp_path: Path, served) -> None:
    folder, address = served
    content = _hdf(tmp_path)
    whole = _archive(folder / "whole.zip", {"metr_la.h5": content}).read_bytes()
    (folder / "half.zip").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped.zip").write_bytes(flipped)
    (folder / "half.h5").write_bytes(content[: len(content) // 2])
    _archive(folder / "empty.zip", {"readme.txt": b""})
    _archive(folder / "up.zip", {"metr_la.h5": content, "../../metr_la.h5": content})
    _archive(folder / "root.zip", {"/tmp/metr_la.h5": content})  # noqa: S108 - a name, not a file
    _archive(folder / "drive.zip", {"C:\\metr_la.h5": content})
    write_hdf(folder / "other.h5", speeds(sensors=3))
    faults = {
        "absent.zip": r"\(answer 404\)",
        "cut/whole.zip": r"\(cut short\)",
        "half.zip": r"half.zip must be a complete zip archive.*removed",
        "flipped.zip": "flipped.zip must be a complete zip archive|must be a complete HDF5",
        "half.h5": r"half.h5 must be a complete HDF5 file",
        "empty.zip": r"must hold metr-la.h5 .*got \['readme.txt'\]",
        "up.zip": r"keep to its own folder; got the member '../../metr_la.h5'",
        "root.zip": r"got the member '/tmp/metr_la.h5'",
        "drive.zip": "got the member 'C:.*metr_la.h5'",
        "other.h5": "got a file without 5 sensors, not 3, without the published sensor ids",
    }
    cache, before = tmp_path / "cache", fingerprint(tmp_path)
    for name, message in faults.items():
        with pytest.raises(FileNotFoundError, match=message) as caught:
            download_series(
                tiny_series(speeds()), folder=cache, mirrors=[f"{address}/{name}"], progress=False
            )
        assert f"{address}/{name} (" in str(caught.value)
    assert list(cache.iterdir()) == []
    assert fingerprint(tmp_path) == before


def test_offline_names_everything_that_was_tried(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        download_series(tiny_series(speeds()), folder=tmp_path, progress=False)
    message = str(caught.value)
    assert "huggingface.co/datasets/TorchSpatiotemporal" in message
    assert "zenodo.org/records/5146275/files/METR-LA.csv?download=1 (no connection). Con" in message
    assert message.startswith("metr-la must be reachable at one of its addresses to be downloaded;")
    assert not re.search("HTTPSConnectionPool|urllib3|Max retries", message)
    assert "or put metr-la.h5 with graph_sensor_locations.csv into" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ReadTimeout", "no answer in 30 s"),
        ("ConnectTimeout", "no answer in 30 s"),
        ("SSLError", "no trusted certificate"),
        ("TooManyRedirects", "TooManyRedirects"),
    ],
)
def test_reasons_are_a_few_words(tmp_path: Path, monkeypatch, name: str, reason: str) -> None:
    def fail(address: str, scratch: Path, *, progress: bool) -> Path:
        raise getattr(requests.exceptions, name)("Max retries exceeded with url: ...")

    monkeypatch.setattr("sttrans_core.data.download._fetch", fail)
    with pytest.raises(FileNotFoundError, match=rf"got http://x/y\.h5 \({reason}\)\. Connect"):
        download_series(tiny_series(speeds()), folder=tmp_path, mirrors=["http://x/y.h5"])


def test_a_changed_file_is_noticed(tmp_path: Path, served) -> None:
    folder, address = served
    (folder / "metr-la.h5").write_bytes(_hdf(tmp_path))
    options = {"folder": tmp_path / "cache", "mirrors": [f"{address}/metr-la.h5"]}
    file = download_series(tiny_series(speeds()), progress=False, **options)
    write_hdf(file, speeds() + 1)
    with pytest.raises(ValueError, match=r"must have the sha256 that metr-la.h5.sha256 recorded"):
        check_recorded_hash(file)
    file.unlink()
    write_hdf(folder / "metr-la.h5", speeds().where(speeds() < 22, 50.0))
    with pytest.raises(FileNotFoundError, match="is not the one recorded at the first download"):
        download_series(tiny_series(speeds()), progress=False, **options)
    (tmp_path / "cache" / "metr-la.h5.sha256").unlink()
    assert download_series(tiny_series(speeds()), progress=False, **options) == file
    assert check_recorded_hash(folder / "metr-la.h5") is None


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, served, monkeypatch) -> None:
    folder, address = served
    monkeypatch.setattr("sttrans_core.data.download._LARGEST_MEMBER", 1000)
    _archive(folder / "metr_la.zip", {"metr_la.h5": bytes(1001)})
    with pytest.raises(FileNotFoundError, match="at most 1,000 bytes; got 1,001 bytes"):
        download_series(tiny_series(speeds()), folder=tmp_path, mirrors=[f"{address}/metr_la.zip"])


def test_a_dataset_is_downloaded_once(tmp_path: Path, served, monkeypatch) -> None:
    folder, address = served
    _archive(folder / "metr_la.zip", {"metr_la.h5": _hdf(tmp_path)})
    (folder / "graph").mkdir()
    write_locations(folder / "graph" / "graph_sensor_locations.csv", speeds())
    write_adjacency(folder / "graph" / "adj_mx.pkl", adjacency(speeds()))
    series = tiny_series(
        speeds(),
        mirrors=(f"{address}/metr_la.zip",),
        graph_base=f"{address}/graph",
        graph_hashes=fingerprint(folder / "graph"),
    )
    monkeypatch.setattr("sttrans_core.data.registry.METR_LA", series)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("STTRANS_DATA", raising=False)
    dataset = load_dataset("metr-la")
    assert dataset["target"].shape == (STEPS, SENSORS)
    assert float(dataset["adjacency"].sel(node="4001", to_node="4002")) == np.float32(0.27)
    assert f"from {address}/metr_la.zip" in dataset.attrs["notes"]
    assert "recorded then, none is published" in dataset.attrs["notes"]
    for file in folder.rglob("*.*"):
        file.unlink()
    assert load_dataset("metr-la", download=False).identical(dataset)


def test_a_damaged_record_is_noticed(tmp_path: Path) -> None:
    file = write_hdf(tmp_path / "metr-la.h5", speeds())
    (tmp_path / "metr-la.h5.sha256").write_text("")
    with pytest.raises(ValueError, match="got another, so the file was damaged or changed"):
        check_recorded_hash(file)


def test_graph_files_have_the_known_hashes(tmp_path: Path, served) -> None:
    folder, address = served
    write_locations(folder / "graph_sensor_locations.csv", speeds())
    write_adjacency(folder / "adj_mx.pkl", adjacency(speeds()))
    hashes = fingerprint(folder)
    series = tiny_series(speeds(), graph_hashes=hashes, graph_base=address)
    cache = tmp_path / "cache"
    assert download_graph(series, folder=cache) == cache
    assert fingerprint(cache) == hashes
    # Held files with the right hash are not fetched again, others are.
    offline = tiny_series(speeds(), graph_hashes=hashes, graph_base="http://127.0.0.1:9")
    assert download_graph(offline, folder=cache) == cache
    (cache / "adj_mx.pkl").write_bytes(b"changed")
    with pytest.raises(
        FileNotFoundError, match=r"got http://127.0.0.1:9/adj_mx.pkl \(.*put adj_mx"
    ):
        download_graph(offline, folder=cache)
    download_graph(series, folder=cache)
    assert fingerprint(cache) == hashes
    (folder / "adj_mx.pkl").write_bytes(b"changed")
    (cache / "adj_mx.pkl").unlink()
    with pytest.raises(FileNotFoundError, match=r"adj_mx.pkl \(its sha256 is not"):
        download_graph(series, folder=cache)
    assert sorted(entry.name for entry in cache.iterdir()) == ["graph_sensor_locations.csv"]


def test_real_graph_files_have_the_published_hashes(real_data: Path) -> None:
    from sttrans_core.data.published import METR_LA, PEMS_BAY

    for series, name in ((METR_LA, "metr-la"), (PEMS_BAY, "pems-bay")):
        held = fingerprint(real_data / name)
        assert series.graph_hashes.items() <= held.items()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PermissionError, match=r"downloads must be writable; got .*pass path="):
        download_series(tiny_series(speeds()), folder=tmp_path / "file" / "cache")


def test_sample_archives_open() -> None:
    # Guards the sample: zipfile keeps the unsafe names that the tests above rely on.
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("../../x", b"")
    assert zipfile.ZipFile(memory).namelist() == ["../../x"]
