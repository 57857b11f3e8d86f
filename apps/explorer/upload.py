"""A button that takes a file from the browser straight into a folder, piece by piece."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

__all__ = ["Upload"]

PIECE = 4 << 20  # bytes; a websocket of Bokeh takes messages of up to 20 MB


class Upload(pmui.FileInput):
    """Takes one file at a time; neither a file nor a piece of it stays in memory.

    The browser refuses a file that is too large before it sends anything, and the server stops
    writing where a browser does not.

    Args:
        folder: Where the file is put; it replaces the one before.
        largest: Bytes at most.
        on_file: Called with the file once it is whole.
        on_problem: Called with a sentence where there will be none.
    """

    def __init__(
        self,
        folder: Path,
        *,
        largest: int,
        on_file: Callable[[Path], None],
        on_problem: Callable[[str], None],
        **params: Any,
    ) -> None:
        super().__init__(max_file_size=largest, chunk_size=PIECE, **params)
        self._folder, self._largest = folder, largest
        self._on_file, self._on_problem = on_file, on_problem
        self._file: Path | None = None
        self._size = 0

    def _handle_msg(self, msg: Any) -> None:
        status = msg["status"]
        if status == "initializing":
            self._begin()
        elif status == "upload_event":
            self._append(str(msg["name"]), bytes(msg["data"]))
        elif status == "finished":
            self._finish()
        else:
            self._begin()
            self._on_problem(self._too_large())

    def _begin(self) -> None:
        self._folder.mkdir(exist_ok=True)
        for file in self._folder.iterdir():
            file.unlink()
        self._file, self._size = None, 0

    def _append(self, name: str, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._largest:
            return
        if self._file is None:
            # A name comes from outside: it is only ever a name in this folder.
            plain = re.sub(r"[^\w.-]+", "_", name).lstrip(".")[-80:]
            self._file = self._folder / (plain or "file")
        with self._file.open("ab") as file:
            file.write(piece)

    def _finish(self) -> None:
        self._send_msg({"status": "finished"})
        if self._size > self._largest:
            self._begin()
            self._on_problem(self._too_large())
        elif self._file is None:
            self._on_problem("A file must hold something; got an empty one. Choose another file.")
        else:
            self._on_file(self._file)

    def _too_large(self) -> str:
        return (
            f"A file must have at most {self._largest // 1_000_000} MB; got a larger one, of which "
            "nothing was kept. Keep fewer places or a shorter period in it, or compress it as "
            ".csv.gz or .parquet."
        )
