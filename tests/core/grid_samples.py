"""Small grids in the layouts of the published ones."""

import numpy as np
import pandas as pd
import xarray as xr

# Prime sizes, so that a swapped axis cannot fit by chance.
STEPS, ROWS, COLUMNS = 11, 3, 5
NORTH_TO_SOUTH = 55.0 - 2.5 * np.arange(ROWS)


def era(
    name="t2m",
    *,
    units="K",
    dims=("time", "latitude", "longitude"),
    latitude=NORTH_TO_SOUTH,
    first="2024-01-01",
    steps=STEPS,
    **attrs,
):
    """Give a grid as centres publish them, north first; every reading tells where it is."""
    sizes = dict(zip(dims, (steps, len(latitude), COLUMNS), strict=True))
    values = 250 + np.arange(np.prod([*sizes.values()])).reshape([*sizes.values()]) % 997 / 10
    return xr.Dataset(
        {name: (dims, values, {"units": units, **attrs} if units else attrs)},
        coords={
            dims[0]: pd.date_range(first, periods=steps, freq="6h"),
            dims[1]: np.asarray(latitude, np.float32),
            dims[2]: np.float32(-5 + 2.5 * np.arange(COLUMNS)),
        },
    )


def to_store(dataset, path, *, zarr_format=3, chunks=(2, 2, 3)):
    name = next(iter(dataset.data_vars))
    encoding = {name: {"chunks": chunks}}
    dataset.to_zarr(path, encoding=encoding, consolidated=False, zarr_format=zarr_format)
    return path
