"""Grids as nodes and back: inside the project every cell of a grid is a node like any other."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import xarray as xr

from sttrans_core.slabs import is_in_memory

__all__ = ["as_grid", "as_nodes", "axis_fault", "in_chunks", "is_grid"]

_CELL_DIMS = ("latitude", "longitude")
# The readings of one chunk, at least: a window of a few steps costs little more than it holds, and
# decades of steps are few enough chunks to be planned in milliseconds.
_VALUES_IN_CHUNK = 1 << 18
_SHOWN = 5
_DECIMALS = range(4, 16)  # of degrees in ids; 4 are 11 m

Labelled = TypeVar("Labelled", xr.Dataset, xr.DataArray)


def is_grid(dataset: xr.Dataset) -> bool:
    """Say whether the readings of a dataset lie on a grid of latitude and longitude.

    Args:
        dataset: A labelled dataset.

    Returns:
        True for `target(time, latitude, longitude)`.
    """
    return "target" in dataset and set(_CELL_DIMS) <= set(dataset["target"].dims)


def axis_fault(values: np.ndarray, name: str) -> tuple[str, str, str] | None:
    """Say what keeps the latitudes or longitudes of a grid from ascending evenly.

    Args:
        values: Finite degrees along the axis.
        name: `latitude` or `longitude`.

    Returns:
        What must hold, what is given, and what to do; None where all is well.
    """
    exact = values.astype(float)
    steps = np.diff(exact)
    falls = np.flatnonzero(steps <= 0)
    if falls.size:
        return (
            f"'{name}' of a grid must ascend",
            f"{values[falls[0] + 1]} after {values[falls[0]]}",
            f"Sort it with dataset.sortby('{name}'), and keep each value once.",
        )
    usual = float(np.median(steps)) if steps.size else 0.0
    # A thousandth of a step, and what single precision makes of a tenth of a degree.
    slack = 1e-3 * usual
    if values.dtype.kind == "f":
        slack += 2 * float(np.spacing(np.abs(values).max()))
    uneven = np.flatnonzero(np.abs(steps - usual) > slack)
    if uneven.size:
        counts = np.rint(steps[uneven] / usual).astype(int)
        if (counts > 1).all() and (np.abs(steps[uneven] - counts * usual) <= counts * slack).all():
            gaps = zip(exact[uneven], counts, strict=True)
            absent = [f"{low + usual * n:g}" for low, count in gaps for n in range(1, count)]
            more = ", ..." if len(absent) > _SHOWN else ""
            return (
                f"'{name}' of a grid must have no gaps",
                f"steps of {usual:g} degrees without {', '.join(absent[:_SHOWN])}{more}",
                "Put the missing band in, with NaN as its readings, or keep what is on one side.",
            )
        return (
            f"'{name}' of a grid must be evenly spaced",
            f"steps of {steps.min():g} to {steps.max():g}, uneven after {values[uneven[0]]}",
            "Interpolate the readings to a regular grid first.",
        )
    if name == "longitude" and len(values) * (usual - slack) > 360:
        return (
            "'longitude' of a grid must not go round more than once",
            f"{len(values)} columns of {usual:g} degrees",
            "Drop the columns that come twice, such as 360 beside 0.",
        )
    return None


def as_nodes(dataset: xr.Dataset) -> xr.Dataset:
    """Turn the cells of a grid into nodes, row by row from the first latitude on.

    Readings that lie in a store stay there: they are, or become, dask arrays in chunks of time.

    Args:
        dataset: A grid dataset, or a node dataset, which is returned as it is.

    Returns:
        The node dataset, with ids such as "52.5N 1.25W", the place of each node in `latitude` and
        `longitude` (degrees, as in the grid), and the same attributes.

    Raises:
        ValueError: It is no dataset.
    """
    if not isinstance(dataset, xr.Dataset):
        raise ValueError(
            f"Labelled data must be an xarray.Dataset; got {type(dataset).__name__}. Pass what "
            "load_dataset, forecast or align gives."
        )
    if not is_grid(dataset):
        return dataset
    latitude, longitude = (dataset[name].values for name in _CELL_DIMS)
    flat = {
        name: _as_cells(in_chunks(dataset[name]).variable, dataset.sizes)
        for name in dataset.variables
        if name not in _CELL_DIMS
    }
    coords = {name: flat.pop(name) for name in dataset.coords if name in flat}
    places = {
        "node": _ids(latitude, longitude),
        "latitude": ("node", np.repeat(latitude, len(longitude))),
        "longitude": ("node", np.tile(longitude, len(latitude))),
    }
    return xr.Dataset(flat, coords | places, dataset.attrs)


def as_grid(labelled: Labelled, *, like: xr.Dataset) -> Labelled:
    """Put latitude and longitude back in place of the nodes that `as_nodes` made of a grid.

    Args:
        labelled: Anything over these nodes, such as a forecast; what is not over `node` is kept.
        like: The grid dataset.

    Returns:
        The same over (latitude, longitude) in place of `node`.

    Raises:
        ValueError: `like` is no grid, or the nodes are not all its cells in order.
    """
    if not is_grid(like):
        raise ValueError(
            "like must be a grid dataset, with target(time, latitude, longitude); got "
            f"{dict(like.sizes)}. Pass the grid that the nodes were made of."
        )
    if isinstance(labelled, xr.DataArray):
        return as_grid(labelled.to_dataset(name="_one"), like=like)["_one"].rename(labelled.name)
    latitude, longitude = (like[name].values for name in _CELL_DIMS)
    ids = _ids(latitude, longitude)
    if "node" not in labelled.coords or not np.array_equal(labelled["node"].values, ids):
        held = f"{labelled.sizes['node']} nodes" if "node" in labelled.dims else "no nodes"
        raise ValueError(
            f"The nodes must be all {len(ids)} cells of the grid, in order; got {held}, or others. "
            "Pass what was made from as_nodes of this grid, with every node kept."
        )
    shape = dict(zip(_CELL_DIMS, (len(latitude), len(longitude)), strict=True))
    cells = {
        name: _as_rows(variable, shape)
        for name, variable in labelled.variables.items()
        if name not in {"node", *_CELL_DIMS}
    }
    coords = {name: cells.pop(name) for name in labelled.coords if name in cells}
    axes = {"latitude": like["latitude"].variable, "longitude": like["longitude"].variable}
    return xr.Dataset(cells, coords | axes, labelled.attrs)


def in_chunks(series: xr.DataArray) -> xr.DataArray:
    """Give readings of a store as a dask array in chunks of time; others stay as they are.

    Args:
        series: Readings that may still lie in a store, over time and more.

    Returns:
        The series; a chunk holds whole chunks of the store, and is about 1 MB or larger.
    """
    if is_in_memory(series) or series.chunks is not None or "time" not in series.dims:
        return series
    in_step = max(1, series.size // max(1, series.sizes["time"]))
    stored = series.encoding.get("preferred_chunks", {}).get("time", 1)
    length = -(-_VALUES_IN_CHUNK // (in_step * stored)) * stored
    return series.chunk({dim: length if dim == "time" else -1 for dim in series.dims})


def _as_cells(variable: xr.Variable, sizes: Mapping) -> xr.Variable:
    """Merge latitude and longitude into `node`, where the first of them is."""
    found = [axis for axis, dim in enumerate(variable.dims) if dim in _CELL_DIMS]
    if not found:
        return variable
    first = found[0]
    others = [dim for dim in variable.dims if dim not in _CELL_DIMS]
    dims = [*others[:first], *_CELL_DIMS, *others[first:]]
    if len(found) == 1:  # the same along the other axis
        variable = variable.set_dims({dim: sizes[dim] for dim in dims})
    variable = variable.transpose(*dims)
    merged = (*others[:first], "node", *others[first:])
    if variable.chunks is None:
        return xr.Variable(merged, _merge(variable.values, first), variable.attrs)
    import dask.array

    whole = variable.chunk(dict.fromkeys(_CELL_DIMS, -1))
    chunks = whole.chunks or ()
    # Dask's own reshape would write down every chunk, which takes a second for decades of them.
    cells = dask.array.map_blocks(
        _merge,
        whole.data,
        first,
        drop_axis=first + 1,
        chunks=(*chunks[:first], (np.prod(whole.shape[first : first + 2]),), *chunks[first + 2 :]),
        meta=np.empty((0,) * len(merged), whole.dtype),
    )
    return xr.Variable(merged, cells, variable.attrs)


def _merge(values: np.ndarray, axis: int) -> np.ndarray:
    """Make one axis of two, `axis` and the one after it."""
    return values.reshape(*values.shape[:axis], -1, *values.shape[axis + 2 :])


def _as_rows(variable: xr.Variable, shape: dict[str, int]) -> xr.Variable:
    """Part `node` into latitude and longitude, in its place."""
    if "node" not in variable.dims:
        return variable
    place = variable.dims.index("node")
    dims = (*variable.dims[:place], *shape, *variable.dims[place + 1 :])
    return variable.unstack(node=shape).transpose(*dims)


def _ids(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Name the cells, row by row."""
    east = 180 - (180 - longitude.astype(float)) % 360  # in (-180, 180]
    rows, columns = _degrees(latitude.astype(float), "NS"), _degrees(east, "EW")
    return np.array([f"{row} {column}" for row in rows for column in columns])


def _degrees(values: np.ndarray, sides: str) -> list[str]:
    """Write degrees with as many decimals as tell them apart, four at most where these do."""
    enough = (d for d in _DECIMALS if len(np.unique(values.round(d))) == len(values))
    decimals = next(enough, _DECIMALS[-1])
    return [
        f"{abs(value):.{decimals}f}".rstrip("0").rstrip(".") + sides[value < 0]
        for value in values.round(decimals).tolist()
    ]
