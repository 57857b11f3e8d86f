"""Is the alignment telling the truth? What it covers, what hiding does, whether seeds agree.

`curves` hides or reveals sources in the `orders` of the alignment and of others, among them
`gradients`; `coverage`, `stability` and `summary` look at weights alone; `table` is of all of them.
"""

from sttrans_core.quality.coverage import mean_covered_mass
from sttrans_core.quality.curves import deletion_curve, insertion_curve
from sttrans_core.quality.gradients import integrated_gradients
from sttrans_core.quality.stability import alignment_stability
from sttrans_core.quality.summary import summarize_alignment
from sttrans_core.quality.table import evaluate_quality

__all__ = [
    "alignment_stability",
    "deletion_curve",
    "evaluate_quality",
    "insertion_curve",
    "integrated_gradients",
    "mean_covered_mass",
    "summarize_alignment",
]
