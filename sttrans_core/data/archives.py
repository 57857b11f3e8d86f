"""Zip archives read in place: nothing is unpacked to disk, and traps are refused."""

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

__all__ = ["check_archive", "read_members", "refuse_unsafe_names"]

_LARGEST_CONTENT = 1 << 28  # 256 MB; the largest archive that is read here holds 31 MB
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def refuse_unsafe_names(names: Sequence[str]) -> None:
    """Refuse an archive whose members would leave the folder they were unpacked in.

    Args:
        names: Names of its members.

    Raises:
        ValueError: A name is absolute, has a drive, or climbs up.
    """
    for name in names:
        windows, posix = PureWindowsPath(name), PurePosixPath(name)
        if ".." in windows.parts or windows.anchor or posix.is_absolute():
            raise ValueError(
                f"An archive must keep to its own folder; got the member {name!r}. "
                "Nothing was unpacked: do not use this archive."
            )


def check_archive(path: Path) -> list[str]:
    """Accept an archive that is safe to read.

    Args:
        path: The zip file.

    Returns:
        The names of its members.

    Raises:
        ValueError: It is no zip file or cut short, a name is unsafe, or its content is too large.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"An archive must exist; got {path}, which does not. Check the path."
        )
    try:
        with zipfile.ZipFile(path) as content:
            members = content.infolist()
    except _UNREADABLE as error:
        raise ValueError(
            f"{path.name} must be a complete zip archive; got {error}. Fetch it again."
        ) from error
    refuse_unsafe_names([member.filename for member in members])
    size = sum(member.file_size for member in members)
    if size > _LARGEST_CONTENT:
        raise ValueError(
            f"{path.name} must hold at most {_LARGEST_CONTENT:,} bytes; got {size:,} bytes "
            "unpacked. Nothing was unpacked: do not use this archive."
        )
    return [member.filename for member in members]


def read_members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Read the members of an archive whose file names match, one after the other.

    Args:
        path: The zip file.
        pattern: Regular expression for the whole file name, without folders, in any case.

    Yields:
        The file name, without folders, and the content of each.

    Raises:
        ValueError: As `check_archive`, or a member is damaged or encrypted.
        FileNotFoundError: There is no such file.
    """
    names = [(name, PurePosixPath(name).name) for name in check_archive(path)]
    wanted = [pair for pair in names if re.fullmatch(pattern, pair[1], flags=re.IGNORECASE)]
    try:
        with zipfile.ZipFile(path) as content:
            for name, short in wanted:
                yield short, content.read(name)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path.name} must be a complete zip archive; got {error}. Fetch it again."
        ) from error
