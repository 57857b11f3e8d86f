"""Alignment: which (place, time step) pairs a forecast looks at, and how strongly.

`topk` puts it together: `inputs` finds the candidates, `ranking` keeps the best, `attention` weighs
them. `reference` is the plain definition of the same; `topk_loops` are compiled for CPUs.
"""

from sttrans_core.alignment.inputs import whole_groups
from sttrans_core.alignment.topk import SpatioTemporalAlignment, topk_alignment
from sttrans_core.alignment.types import Alignment, Selection

__all__ = ["Alignment", "Selection", "SpatioTemporalAlignment", "topk_alignment", "whole_groups"]
