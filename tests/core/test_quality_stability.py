"""Covered mass and agreement of seeds, on alignments that are written down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_sources import known
from small_runs import SOURCES, rhythm

from sttrans_core.quality import alignment_stability, mean_covered_mass
from sttrans_core.quality.stability import _chance_of_jaccard, _sum_of_minima
from sttrans_core.runs import RunError

FIVE = dict.fromkeys([(6, 3), (5, 3), (4, 3), (6, 7), (0, 9)], 0.2)
# Two of them again, and three others.
SHIFTED = dict.fromkeys([(6, 7), (0, 9), (1, 9), (2, 9), (3, 9)], 0.2)


@pytest.fixture(scope="module")
def whole_series():
    return rhythm()


def _times(dataset, *steps):
    return dataset["time"].values[list(steps)]


def test_agreement_of_two_seeds_by_hand(trained, whole_series):
    one, other = (known(trained, seed=seed, weight=w) for seed, w in enumerate((FIVE, SHIFTED)))
    times = _times(whole_series, 60, 120)
    found = alignment_stability([one, other], whole_series, times, nodes=["s2", "s5"])
    assert dict(found.sizes) == {"pair": 1, "segment": 3}
    assert found["pair"].item() == "full, seed 0 / full, seed 1"
    assert found.attrs["num_forecasts"] == 4
    # 2 of 5 + 3 sources, each of weight 0.2; 70 sources of mean weight 1 / 70.
    assert found["jaccard"].values == pytest.approx(2 / 8)
    assert found["shared_weight"].values == pytest.approx(0.4)
    correlation = (2 * 0.04 - 1 / 70) / (5 * 0.04 - 1 / 70)
    assert found["correlation"].values == pytest.approx(correlation)
    # Each of 5 sources meets one of the other 5 with probability 5 / 70, and then shares 0.2.
    assert found["shared_weight_chance"].values == pytest.approx(5 * 0.2 * 5 / 70)
    assert found["jaccard_chance"].values == pytest.approx(_chance_of_jaccard(70, 5, 5))


def test_agreement_is_whole_with_oneself_and_none_with_a_stranger(trained, whole_series):
    same = [known(trained, seed=seed, weight=FIVE) for seed in (0, 1)]
    stranger = known(trained, seed=2, weight={(2, 4): 0.7, (3, 4): 0.3})
    times = _times(whole_series, 60)
    found = alignment_stability([*same, stranger], whole_series, times, nodes=["s2", "s5"])
    pairs = found.mean("segment")
    assert pairs["pair"].values.tolist() == [
        f"full, seed {one} / full, seed {other}" for one, other in ((0, 1), (0, 2), (1, 2))
    ]
    for name in ("jaccard", "shared_weight"):
        assert pairs[name].values == pytest.approx([1, 0, 0])
    assert float(pairs["correlation"][0]) == pytest.approx(1)
    assert (pairs["correlation"][1:] < 0).all()  # where one has weight the other has none


def test_a_trained_model_agrees_with_its_copy_and_chance_is_small(trained, series):
    twin = known(trained, seed=1, weight=FIVE)
    twin.model = trained.model
    found = alignment_stability([trained, twin], series, _times(series, 60, 120))
    for name in ("jaccard", "shared_weight", "correlation"):
        assert found[name].values == pytest.approx(1.0, abs=1e-6)
    # 5 of up to 70 sources.
    assert (found["jaccard_chance"] < 0.1).all()
    assert (found["shared_weight_chance"] < 0.1).all()


def test_chance_of_the_jaccard_index_by_hand():
    # Two of four sources and one: they share it half of the time, then it is one of two.
    assert _chance_of_jaccard(4, 2, 1) == pytest.approx(1 / 4)
    # Two of four twice: both with 1/6, one (of three) with 4/6, none with 1/6.
    assert _chance_of_jaccard(4, 2, 2) == pytest.approx(1 / 6 + 4 / 6 / 3)
    assert _chance_of_jaccard(7, 7, 7) == pytest.approx(1.0)
    assert _chance_of_jaccard(7, 0, 0) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.lists(st.floats(0, 1), max_size=9))
def test_the_sum_of_minima_is_that_of_all_pairs(one, other):
    one, other = np.array(one, dtype=float), np.array(other, dtype=float)
    expected = np.minimum(one[:, None], other).sum()
    assert _sum_of_minima(one, other) == pytest.approx(expected, abs=1e-9)


def test_without_observed_sources_nothing_is_known(trained, whole_series):
    silent = whole_series.copy(deep=True)
    silent["target"][54:61, 3:] = np.nan
    silent["target"][54:61, :2] = np.nan  # s2 alone is seen
    seeds = [known(trained, seed=seed, weight=dict.fromkeys(FIVE, 0.0)) for seed in (0, 1)]
    found = alignment_stability(seeds, silent, _times(silent, 60), nodes=["s2"])
    assert found.attrs["num_forecasts"] == 0
    assert found["jaccard"].isnull().all()
    mass = mean_covered_mass(seeds[0], silent, _times(silent, 60), nodes=["s2"])
    assert mass["covered_mass"].isnull().all()
    assert mass["chance"].isnull().all()


def test_models_that_cannot_be_compared_are_refused(trained, whole_series):
    times, other = _times(whole_series, 60), known(trained, seed=1, weight=FIVE)
    with pytest.raises(ValueError, match=r"two models or more; got 1\. Pass runs of one"):
        alignment_stability([trained], whole_series, times)
    sentence = "runs that differ in their seed, and in nothing else; got "
    with pytest.raises(ValueError, match=sentence + r"the seeds \[0, 1, 1\]\. Pass runs of one"):
        alignment_stability([trained, other, other], whole_series, times)
    other.config = other.config.variant("no_gate")
    with pytest.raises(ValueError, match=sentence + "other configurations or training series"):
        alignment_stability([trained, other], whole_series, times)


def test_the_mean_covered_mass_leaves_out_what_is_unknown(trained, whole_series):
    gaps = whole_series.copy(deep=True)
    gaps["target"][60, [0, 4]] = np.nan
    forecaster = known(trained, weight=FIVE, covered=(0.25, float("nan")))
    mass = mean_covered_mass(forecaster, gaps, _times(gaps, 60, 120), nodes=["s2", "s4"])
    assert dict(mass.sizes) == {"segment": 3, "head": 2}
    assert mass["covered_mass"].sel(head=0).values == pytest.approx(0.25)
    assert mass["covered_mass"].sel(head=1).isnull().all()
    # 5 of 70 sources at step 120; at step 60 two are missing, of which one is s4's own.
    shares = (5 / SOURCES, 5 / SOURCES, 5 / (SOURCES - 2), 5 / (SOURCES - 1))
    assert mass["chance"].values == pytest.approx(np.mean(shares))


def test_a_run_without_alignment_has_no_mass(trained, series):
    other = known(trained, weight=FIVE)
    other.config = other.config.variant("no_alignment")
    with pytest.raises(RunError, match="needs an ST-Trans with cross-attention"):
        mean_covered_mass(other, series, _times(series, 60))
