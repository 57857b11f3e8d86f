"""Fetching public series into the user's cache: mirrors, checks, recorded hashes."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from sttrans_core.data.archives import refuse_unsafe_names
from sttrans_core.data.files import read_series
from sttrans_core.data.published import TrafficSeries
from sttrans_core.data.traffic import is_file_of, verify_series

__all__ = [
    "cache_folder",
    "check_recorded_hash",
    "download_file",
    "download_graph",
    "download_series",
]

_LARGEST_MEMBER = 1 << 30
_SECONDS_TO_ANSWER = 30


def cache_folder(series: TrafficSeries | str) -> Path:
    """Give the folder of the user's cache that keeps a series; it need not exist.

    Args:
        series: The series, or the name of the folder.

    Returns:
        The folder.
    """
    import pooch

    name = series if isinstance(series, str) else series.whole.name
    return Path(pooch.os_cache("sttrans")) / name


def download_series(
    series: TrafficSeries,
    *,
    folder: Path | None = None,
    mirrors: Sequence[str] | None = None,
    searched: Sequence[str] = (),
    progress: bool = True,
) -> Path:
    """Fetch the readings from the first mirror that gives the true series.

    No hash is published for these files. So the content is checked (shape, ids, span, range of
    values, share of missing readings), the hash is recorded beside the file at the first download,
    and later files must have the recorded hash.

    Args:
        series: What to fetch.
        folder: Where to put it; the user's cache unless given.
        mirrors: Addresses of a zip archive, HDF or CSV file, tried in order; the published ones
            unless given.
        searched: Where it was looked for before, to be named in the message.
        progress: Show a bar.

    Returns:
        The file of readings.

    Raises:
        FileNotFoundError: No mirror gave the series; the message names each and its fault.
        PermissionError: The folder cannot be written.
    """
    name, series = series.name, series.whole
    folder = cache_folder(series) if folder is None else folder
    tried = []
    for address in series.mirrors if mirrors is None else mirrors:
        with _scratch(folder) as scratch:
            try:
                fetched = _fetch(address, Path(scratch), progress=progress)
                archive_hash = _sha256(fetched)
                if fetched.suffix == ".zip":
                    fetched = _unpack(fetched, series)
                verify_series(series, read_series(fetched))
                return _keep(fetched, folder, address=address, archive_hash=archive_hash)
            except (OSError, ValueError) as error:
                tried.append(f"{address} ({_reason(error)})")
    places = f"nothing in {'; '.join(searched)}, and at " if searched else ""
    raise FileNotFoundError(
        f"{name} must be {'in a folder searched, or ' if searched else ''}reachable at one of its "
        f"addresses to be downloaded; got {places}{'; '.join(tried)}. Connect to the internet, or "
        f"put {series.stems[0]}.h5 with {series.location_files[0]} into {folder} or into the "
        "folder that STTRANS_DATA names."
    )


def download_file(
    address: str,
    *,
    folder: Path,
    check: Callable[[Path], object],
    sha256: str | None = None,
    progress: bool = True,
) -> Path:
    """Fetch one file whose content can be checked, and record its hash beside it.

    Args:
        address: Where it is published.
        folder: Where to put it.
        check: Raises ValueError for a file that is not what it should be.
        sha256: Its hash, where one is published.
        progress: Show a bar.

    Returns:
        The file, named as at its address but in lower case with hyphens.

    Raises:
        FileNotFoundError: It could not be fetched, or has another hash or content.
        PermissionError: The folder cannot be written.
    """
    name = PurePosixPath(urlsplit(address).path).name
    with _scratch(folder) as scratch:
        try:
            fetched = _fetch(address, Path(scratch), progress=progress)
            found = _sha256(fetched)
            if sha256 not in (None, found):
                raise ValueError(f"its sha256 is not {sha256}")
            check(fetched)
            return _keep(fetched, folder, address=address, archive_hash=found)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"{name} must be reachable to be downloaded; got {address} ({_reason(error)}). "
                f"Connect to the internet, or put {name} into {folder} or into the folder that "
                "STTRANS_DATA names."
            ) from error


def download_graph(
    series: TrafficSeries, *, folder: Path | None = None, base: str | None = None
) -> Path:
    """Fetch the sensor locations and the adjacency, whose hashes are known.

    Args:
        series: Whose graph to fetch.
        folder: Where to put it; the user's cache unless given.
        base: Address of the folder that holds the files; the published one unless given.

    Returns:
        The folder that holds them.

    Raises:
        FileNotFoundError: A file could not be fetched, or has another hash.
        PermissionError: The folder cannot be written.
    """
    series = series.whole
    folder = cache_folder(series) if folder is None else folder
    for name, sha256 in series.graph_hashes.items():
        if (folder / name).is_file() and _sha256(folder / name) == sha256:
            continue
        address = f"{series.graph_base if base is None else base}/{name}"
        with _scratch(folder) as scratch:
            try:
                fetched = _fetch(address, Path(scratch), progress=False)
                if _sha256(fetched) != sha256:
                    raise ValueError(f"its sha256 is not {sha256}")
                fetched.replace(folder / name)
            except (OSError, ValueError) as error:
                raise FileNotFoundError(
                    f"The sensor graph of {series.name} must be reachable to be downloaded; got "
                    f"{address} ({_reason(error)}). Connect to the internet, or put {name} "
                    f"into {folder} or beside the readings."
                ) from error
    return folder


def check_recorded_hash(file: Path) -> str | None:
    """Compare a downloaded file with the hash that was recorded at its first download.

    Args:
        file: A file in the user's cache.

    Returns:
        One sentence on the origin, or None if no hash was recorded for the file.

    Raises:
        ValueError: The file has changed since.
    """
    record = _record_of(file)
    if not record.is_file():
        return None
    origin, recorded = _read_record(record)
    if _sha256(file) != recorded:
        raise ValueError(
            f"{file} must have the sha256 that {record.name} recorded at its download, "
            f"{recorded}; got another, so the file was damaged or changed. Delete both to fetch "
            "it again."
        )
    return f"{origin}; sha256 {recorded} recorded then, none is published."


def _record_of(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _read_record(record: Path) -> tuple[str, str]:
    """Take the origin and the hash out of a record; a damaged record gives a hash of nothing."""
    lines = [*record.read_text().splitlines(), "", ""]
    return lines[0].lstrip("# "), lines[1].partition(" ")[0]


def _scratch(folder: Path) -> tempfile.TemporaryDirectory:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-")
    except OSError as error:
        raise PermissionError(
            f"The folder for downloads must be writable; got {folder} ({_one_line(error)}). Make "
            "it writable, or fetch the files elsewhere and pass path=."
        ) from error


def _fetch(address: str, scratch: Path, *, progress: bool) -> Path:
    import pooch

    file = scratch / PurePosixPath(urlsplit(address).path).name
    pooch.HTTPDownloader(progressbar=progress, timeout=_SECONDS_TO_ANSWER)(address, str(file), None)
    return file


def _unpack(archive: Path, series: TrafficSeries) -> Path:
    """Take the readings out of an archive, under a name that is ours and not the archive's."""
    try:
        with zipfile.ZipFile(archive) as content:
            refuse_unsafe_names(content.namelist())
            members = [
                entry for entry in content.infolist() if is_file_of(series, Path(entry.filename))
            ]
            if not members or members[0].file_size > _LARGEST_MEMBER:
                got = f"{members[0].file_size:,} bytes" if members else f"{content.namelist()[:5]}"
                raise ValueError(
                    f"{archive.name} must hold {series.stems[0]}.h5 of at most "
                    f"{_LARGEST_MEMBER:,} bytes; got {got}. Use another mirror."
                )
            target = archive.with_name(Path(members[0].filename).name.lower().replace("_", "-"))
            with content.open(members[0]) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(
            f"{archive.name} must be a complete zip archive; got {error}. "
            "The download was cut short and has been removed: try again."
        ) from error
    return target


def _keep(file: Path, folder: Path, *, address: str, archive_hash: str) -> Path:
    """Move a checked file into place, and record its hash or hold it against the recorded one."""
    target = folder / file.name.lower().replace("_", "-")
    record, sha256 = _record_of(target), _sha256(file)
    if record.is_file() and _read_record(record)[1] != sha256:
        raise ValueError(
            f"its sha256 {sha256} is not the one recorded at the first download in {record}; "
            "delete that file to accept the new one"
        )
    if not record.is_file():
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        origin = f"# Downloaded {day} from {address}"
        if archive_hash != sha256:
            origin += f" (archive sha256 {archive_hash})"
        part = file.with_name(record.name)
        part.write_text(f"{origin}\n{sha256}  {target.name}\n")
        part.replace(record)
    return file.replace(target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    """Say in a few words why an address gave nothing; our own messages stay as they are."""
    from requests import exceptions  # comes with pooch

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"answer {error.response.status_code}"
    kinds = {
        exceptions.Timeout: f"no answer in {_SECONDS_TO_ANSWER} s",
        exceptions.ChunkedEncodingError: "cut short",
        exceptions.SSLError: "no trusted certificate",
        exceptions.ConnectionError: "no connection",
        exceptions.RequestException: type(error).__name__,
    }
    return next((text for kind, text in kinds.items() if isinstance(error, kind)), _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
