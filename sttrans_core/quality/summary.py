"""What an alignment looked at, in a few figures for each forecast."""

import numpy as np
import xarray as xr

from sttrans_core.schema import check_alignment, interval_of
from sttrans_core.space.geometry import haversine_km

__all__ = ["summarize_alignment"]


def summarize_alignment(alignment: xr.Dataset) -> xr.Dataset:
    """Describe each forecast's sources by means over their weights.

    Args:
        alignment: A labelled alignment.

    Returns:
        Over (query_node, segment, head), NaN where a forecast has no source: `distance_km` to the
        target; `delay_minutes` from the reading to the first step of the segment; the shares of
        the weight that lie `downstream` and `upstream` along a road, and `in_window`;
        `num_effective`, as many sources of equal weight would be as spread out (the exponential of
        the entropy); `reading`, in original units; and `covered_mass` as it was. But for
        `num_effective`, the mean of heads describes the mean weights.
    """
    check_alignment(alignment)
    weight = alignment["weight"].where(alignment["valid"], 0.0)
    total = weight.sum("source")
    weight = weight / total.where(total > 0)

    def mean(values: xr.DataArray) -> xr.DataArray:
        # A filler has no reading, and no weight either.
        return (weight * values.where(alignment["valid"], 0.0)).sum("source", skipna=False)

    steps = int(alignment.attrs["history_steps"]) - 1 - alignment["source_step"]
    minutes = interval_of(alignment).total_seconds() / 60
    distance = haversine_km(
        *xr.broadcast(
            *(alignment[f"{end}_{axis}"] for end in ("source", "query")
              for axis in ("latitude", "longitude"))
        )
    )  # fmt: skip
    dims = alignment["source_latitude"].dims
    surprise = -np.log(weight.where(weight > 0, 1.0))
    summary = {
        "distance_km": mean(xr.DataArray(distance, dims=dims)),
        "delay_minutes": mean(minutes * (steps + alignment["segment_first_step"])),
        **{
            side: mean((alignment["source_direction"] == side).astype(float))
            for side in ("downstream", "upstream")
        },
        "in_window": mean(alignment["in_window"].astype(float)),
        "num_effective": np.exp((weight * surprise).sum("source", skipna=False)),
        "reading": mean(alignment["source_value"]),
    }
    dims = ("query_node", "segment", "head")
    described = xr.Dataset(summary).transpose(*dims, ...)
    described["covered_mass"] = alignment["covered_mass"]
    return described.assign_attrs(alignment.attrs)
