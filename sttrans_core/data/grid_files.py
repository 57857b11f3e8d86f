"""The files that grids come in: NetCDF, and zarr stores on this machine or at an address."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import xarray as xr

__all__ = ["GridSource", "OpenedGrid", "is_address", "is_store", "open_grids", "reading"]

GridSource = xr.Dataset | xr.DataArray | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_NETCDF_3, _HDF, _GRIB = b"CDF", b"\x89HDF", b"GRIB"


class OpenedGrid(NamedTuple):
    """A grid whose readings may still lie in its file.

    Attributes:
        dataset: With the names of the file, packed numbers decoded.
        where: Name of the file for messages.
        is_store: Whether it may be larger than the memory.
    """

    dataset: xr.Dataset
    where: str
    is_store: bool


def is_address(source: object) -> bool:
    """Say whether a source is an address on the web.

    Args:
        source: As `from_grid` takes it.

    Returns:
        True for a text that starts with `https://` or `http://`.
    """
    return isinstance(source, str) and source.startswith(("https://", "http://"))


def is_store(path: Path) -> bool:
    """Say whether a folder is a zarr store.

    Args:
        path: A path, which need not exist.

    Returns:
        True for one of format 2 or 3.
    """
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def open_grids(source: GridSource) -> list[OpenedGrid]:
    """Open a grid without reading it; nothing in a file is ever run.

    Args:
        source: As `from_grid` takes it.

    Returns:
        One for each file, in the order given.

    Raises:
        ValueError: A file is neither NetCDF nor a zarr store, or is damaged.
        FileNotFoundError: There is no such file, or an address cannot be reached.
    """
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=source.name or "values")
    if isinstance(source, xr.Dataset):
        return [OpenedGrid(source, "the grid", False)]
    if isinstance(source, str) and is_address(source):
        return [OpenedGrid(_open_address(source), source, True)]
    if isinstance(source, (str, os.PathLike)):
        return [_open_path(Path(source).expanduser())]
    if not source:
        raise ValueError("There must be a file to read a grid from; got none. Name one or more.")
    return [opened for file in source for opened in open_grids(file)]


@contextmanager
def reading(where: str, what: str = "NetCDF file") -> Iterator[None]:
    """Turn whatever a reader raises over a damaged file into one sentence.

    Args:
        where: Name of the file.
        what: Its format.

    Yields:
        Nothing; read the file inside.

    Raises:
        ValueError: Reading failed.
    """
    try:
        yield
    except Exception as error:  # readers raise whatever a damaged file leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{where} must be a whole {what}; got one that cannot be read ({reason}). "
            "Fetch or write it again."
        ) from error


def _open_path(path: Path) -> OpenedGrid:
    if not path.exists():
        raise FileNotFoundError(
            f"A file of a grid must exist; got {path}, which does not. Check the path."
        )
    if path.is_dir():
        if not is_store(path):
            raise ValueError(
                f"A folder of a grid must be a zarr store; got {path} without zarr.json or "
                f".zgroup. For NetCDF files, pass sorted(Path({path.name!r}).glob('*.nc'))."
            )
        return OpenedGrid(_open_store(path), path.name, True)
    with path.open("rb") as file:
        start = file.read(4)
    if start == _GRIB or not start.startswith((_NETCDF_3, _HDF)):
        todo = "Convert it to NetCDF."
        if start == _GRIB:
            todo = "Open it with xarray.open_dataset(path, engine='cfgrib') and pass the dataset."
        raise ValueError(
            f"A file of a grid must be NetCDF or a zarr store; got {path.name}, which starts with "
            f"{start!r}. {todo}"
        )
    engine = "scipy" if start.startswith(_NETCDF_3) else "h5netcdf"
    with reading(path.name):
        dataset = xr.open_dataset(path, engine=engine, chunks=None, decode_timedelta=False)
    return OpenedGrid(dataset, path.name, False)


def _open_store(path: Path) -> xr.Dataset:
    from zarr.storage import LocalStore

    # A text could be taken for an address, and consolidated metadata could name other folders.
    store = LocalStore(path.absolute(), read_only=True)
    with reading(path.name, "zarr store"):
        _refuse_pickles(store, path.name, consolidated=False)
        return xr.open_dataset(
            store, engine="zarr", chunks=None, consolidated=False, decode_timedelta=False
        )


def _open_address(address: str) -> xr.Dataset:
    """Open a store on the web, which cannot be listed: its consolidated metadata say what it holds.

    A server that cannot be reached is no damage, and gets a message of its own.
    """
    from aiohttp import ClientConnectionError
    from zarr.storage import FsspecStore

    store = FsspecStore.from_url(address.rstrip("/"), read_only=True)
    with reading(address, "zarr store with consolidated metadata"):
        try:
            _refuse_pickles(store, address, consolidated=True)
            return xr.open_dataset(
                store, engine="zarr", chunks=None, consolidated=True, decode_timedelta=False
            )
        except (ClientConnectionError, TimeoutError) as error:
            unreachable = error
    raise FileNotFoundError(
        f"The address of a store must be reachable; got {address} (no connection). "
        "Connect to the internet, or pass a store on this machine."
    ) from unreachable


def _refuse_pickles(store: object, where: str, *, consolidated: bool) -> None:
    """Refuse a codec that runs what it reads; older numcodecs would use it."""
    import zarr

    group = zarr.open_group(store, mode="r", use_consolidated=consolidated)
    for name, array in group.arrays():
        packed_by = [getattr(array.metadata, kind, None) for kind in ("filters", "compressor")]
        codecs = [*(packed_by[0] or ()), packed_by[1]]
        if any(getattr(codec, "codec_id", None) == "pickle" for codec in codecs):
            raise ValueError(f"{name} in {where} is pickled, which could run anything")
