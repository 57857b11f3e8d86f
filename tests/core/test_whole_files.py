"""Files that are written whole or not at all."""

import errno
from pathlib import Path

import pytest

from sttrans_core.whole_files import write_whole


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "20 °C\n")
    assert path.read_bytes() == b"20 \xc2\xb0C\n"
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    # What is written to /dev/full is refused by the system as on a disk without space.
    (tmp_path / ".file.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(part: Path, content: bytes) -> None:
        part.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []
