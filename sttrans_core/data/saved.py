"""Labelled datasets that users saved: a NetCDF file or a zarr store is a name, too."""

import os
from pathlib import Path

import numpy as np
import xarray as xr

from sttrans_core.grid import in_chunks, is_grid
from sttrans_core.schema import SchemaError, check_dataset

__all__ = ["absolute_name", "is_saved", "load_saved"]

_TEXTS = {"node", "to_node", "channel", "covariate"}


def is_saved(name: str | os.PathLike[str]) -> bool:
    """Say whether a name of a dataset is that of a saved one.

    Args:
        name: As `load_dataset` takes it.

    Returns:
        True where it ends in `.nc` or `.zarr`.
    """
    return Path(name).suffix.lower() in {".nc", ".zarr"}


def absolute_name(name: str) -> str:
    """Give a name that holds in any working folder.

    Args:
        name: As `load_dataset` takes it.

    Returns:
        The whole path of a saved dataset; a registered name as it is.
    """
    return str(Path(name).expanduser().absolute()) if is_saved(name) else name


def load_saved(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a labelled dataset from a NetCDF file or a zarr store; nothing in it is ever run.

    Args:
        path: What `to_netcdf` or `to_zarr` wrote of a labelled dataset, such as one of
            `from_table` or `from_grid`.

    Returns:
        The dataset: of a file in memory, of a store with its readings left there. These are all
        read once, a slab at a time, to check them.

    Raises:
        FileNotFoundError: There is no such file or store.
        SchemaError: It is none of the two, is damaged, or its dataset does not keep the contract.
    """
    path = Path(path).expanduser()
    is_store = path.suffix.lower() == ".zarr"
    what = "zarr store of format 3" if is_store else "NetCDF file"
    save = "to_zarr" if is_store else "to_netcdf"
    if not path.exists():
        raise FileNotFoundError(
            f"A saved dataset must exist; got {path}, which does not. Check the path, or save "
            f"one with from_table(...).{save}('own{path.suffix}')."
        )
    if is_store and not (path / "zarr.json").is_file():
        is_older = (path / ".zgroup").is_file()
        no_store = "a folder without zarr.json" if path.is_dir() else "a file"
        got = "one of format 2" if is_older else no_store
        raise SchemaError(
            f"{path.name} must be a whole {what}; got {got}. "
            f"Save it again with from_table(...).{save}(..., zarr_format=3)."
        )
    try:
        dataset = _open_store(path) if is_store else _read_file(path)
        for name in _TEXTS & set(dataset.coords):
            if dataset[name].dtype.kind in "OT":  # text of any length, as the file has it
                ids = np.array([str(value) for value in dataset[name].values.tolist()])
                dataset = dataset.assign_coords({name: (dataset[name].dims, ids)})
        return check_dataset(dataset.drop_encoding())
    except SchemaError as error:
        raise SchemaError(f"In {path.name}: {error}") from error
    except Exception as error:  # readers raise whatever a damaged file leads to
        raise SchemaError(
            f"{path.name} must be a whole {what}; got one that cannot be read "
            f"({type(error).__name__}). Save it again with from_table(...).{save}."
        ) from error


def _read_file(path: Path) -> xr.Dataset:
    with path.open("rb") as file:
        is_classic = file.read(3) == b"CDF"  # NetCDF 3; later ones are HDF5
    engine = "scipy" if is_classic else "h5netcdf"
    with xr.open_dataset(path, engine=engine, decode_timedelta=False) as file:
        return file.load()


def _open_store(path: Path) -> xr.Dataset:
    """Open a store with all in memory but what has a row a time step.

    Format 3 knows no pickled objects. What the store holds is told by its folders: consolidated
    metadata could name others.
    """
    from zarr.storage import LocalStore

    # A text could be taken for an address; readings are still found from another working folder.
    store = LocalStore(path.absolute(), read_only=True)
    dataset = xr.open_dataset(
        store, engine="zarr", chunks=None, consolidated=False, zarr_format=3, decode_timedelta=False
    )
    for variable in dataset.variables.values():
        if variable.ndim < 2 or "time" not in variable.dims:
            variable.load()
    if is_grid(dataset):  # as nodes, its readings are planned in chunks
        return dataset.assign({name: in_chunks(dataset[name]) for name in dataset.data_vars})
    return dataset
