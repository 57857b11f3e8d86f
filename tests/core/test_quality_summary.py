"""What an alignment looked at in a few figures, on one that is written down."""

import numpy as np
import pytest
from known_sources import known
from small_runs import HISTORY, rhythm

from sttrans_core.quality import summarize_alignment
from sttrans_core.schema import SchemaError

DEGREE_KM = 111.19508
THREE = {(6, 3): 0.5, (4, 3): 0.3, (6, 7): 0.2}  # (step, node): weight


@pytest.fixture
def alignment(trained):
    """Targets s2 and s5; source s3 is a degree north of all targets, s7 three, and downstream."""
    series = rhythm()
    alignment = known(trained, weight=THREE).align(series, series["time"].values[60], ["s2", "s5"])
    alignment = alignment.copy(deep=True)  # its values are one, seen many times
    for name in ("query_latitude", "query_longitude", "source_longitude"):
        alignment[name][:] = 0.0
    alignment["source_latitude"][:] = [1.0, 1.0, 3.0]
    alignment["source_direction"][:] = ["upstream", "N", "downstream"]
    alignment["source_value"][:] = [10.0, 20.0, 40.0]
    alignment["in_window"][:] = [True, True, False]
    return alignment


def test_figures_by_hand(alignment):
    # The second head of the first segment gives all its weight to s7.
    alignment["weight"][0, 0, 1] = [0.0, 0.0, 1.0]
    found = summarize_alignment(alignment)
    assert found.sizes == {"query_node": 2, "segment": 3, "head": 2}
    first = found.sel(query_node="s2", segment=1)
    assert first["distance_km"].values == pytest.approx([1.4 * DEGREE_KM, 3 * DEGREE_KM])
    assert first["downstream"].values == pytest.approx([0.2, 1.0])
    assert first["upstream"].values == pytest.approx([0.5, 0.0])
    assert first["in_window"].values == pytest.approx([0.8, 0.0])
    assert first["reading"].values == pytest.approx([0.5 * 10 + 0.3 * 20 + 0.2 * 40, 40.0])
    # Steps 6, 4 and 6 of 7 lie 0, 2 and 0 steps behind the origin, the segment starts 1 ahead.
    assert first["delay_minutes"].values == pytest.approx([5 * (1 + 0.3 * 2), 5.0])
    entropy = -sum(share * np.log(share) for share in THREE.values())
    assert first["num_effective"].values == pytest.approx([np.exp(entropy), 1.0])
    assert first["covered_mass"].values == pytest.approx([0.5, 0.5])
    # Segments of two steps start 1, 3 and 5 steps ahead.
    later = found["delay_minutes"].sel(query_node="s5", head=0)
    assert later.values == pytest.approx([8.0, 18.0, 28.0])
    assert found.attrs["history_steps"] == HISTORY


def test_equal_weights_are_as_many_sources_and_fillers_are_none(alignment):
    alignment["weight"][1, 0] = [0.5, 0.5, 0.0]
    alignment["valid"][1, 0] = [True, True, False]
    alignment["source_value"][1, 0, 2] = np.nan
    alignment["valid"][1, 1] = False
    alignment["weight"][1, 1] = 0.0
    found = summarize_alignment(alignment).sel(query_node="s5")
    assert found["num_effective"].sel(segment=1).values == pytest.approx(2.0)
    assert found["reading"].sel(segment=1).values == pytest.approx(15.0)
    nothing = found.sel(segment=2).drop_vars("covered_mass")
    assert all(np.isnan(values).all() for values in nothing.data_vars.values())


def test_what_is_no_alignment_is_refused(alignment):
    with pytest.raises(SchemaError):
        summarize_alignment(alignment.drop_vars("weight"))
