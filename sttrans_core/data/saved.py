"""Labelled datasets that users saved: a NetCDF file is a name for `load_dataset`, too."""

import os
from pathlib import Path

import numpy as np
import xarray as xr

from sttrans_core.schema import SchemaError, check_dataset

__all__ = ["absolute_name", "is_saved", "load_saved"]


def is_saved(name: str | os.PathLike[str]) -> bool:
    """Say whether a name of a dataset is that of a saved file.

    Args:
        name: As `load_dataset` takes it.

    Returns:
        True where it ends in `.nc`.
    """
    return os.fspath(name).lower().endswith(".nc")


def absolute_name(name: str) -> str:
    """Give a name that holds in any working folder.

    Args:
        name: As `load_dataset` takes it.

    Returns:
        The whole path of a saved file; a registered name as it is.
    """
    return str(Path(name).expanduser().absolute()) if is_saved(name) else name


def load_saved(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a labelled dataset from a NetCDF file; nothing in the file is ever run.

    Args:
        path: A file that `to_netcdf` wrote of a labelled dataset, such as one of `from_table`.

    Returns:
        The dataset, in memory.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It is no NetCDF file, or its dataset does not keep the contract.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"A saved dataset must exist; got {path}, which does not. Check the path, or save "
            "one with from_table(...).to_netcdf('own.nc')."
        )
    try:
        with path.open("rb") as file:
            is_classic = file.read(3) == b"CDF"  # NetCDF 3; later ones are HDF5
        engine = "scipy" if is_classic else "h5netcdf"
        with xr.open_dataset(path, engine=engine, decode_timedelta=False) as file:
            dataset = file.load()
    except Exception as error:  # readers raise whatever a damaged file leads to
        raise SchemaError(
            f"{path.name} must be a whole NetCDF file; got one that cannot be read "
            f"({type(error).__name__}). Save it again with from_table(...).to_netcdf."
        ) from error
    for name in {"node", "to_node"} & set(dataset.coords):
        if dataset[name].dtype.kind == "O":  # text of any length, as the file has it
            ids = np.array([str(value) for value in dataset[name].values.tolist()])
            dataset = dataset.assign_coords({name: (dataset[name].dims, ids)})
    try:
        return check_dataset(dataset.drop_encoding())
    except SchemaError as error:
        raise SchemaError(f"In {path.name}: {error}") from error
