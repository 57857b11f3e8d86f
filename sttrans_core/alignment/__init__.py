"""Alignment: which (place, time step) pairs a forecast looks at, and how strongly.

`topk` puts it together: `inputs` finds the candidates, `ranking` keeps the best, `attention` weighs
them. `reference` is the plain definition of the same. Loops compiled for CPUs are in
`sttrans_core.kernels`.
"""

from sttrans_core.alignment.inputs import whole_groups
from sttrans_core.alignment.topk import SpatioTemporalAlignment, topk_alignment
from sttrans_core.alignment.types import Alignment, Selection

__all__ = ["Alignment", "Selection", "SpatioTemporalAlignment", "topk_alignment", "whole_groups"]
