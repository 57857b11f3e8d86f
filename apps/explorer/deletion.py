"""What happens to the forecast in sight without its sources: measured while nothing else is."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import panel as pn

from explorer.evidence import Evidence
from explorer.state import ExplorerState
from sttrans_core.quality import deletion_curve

__all__ = ["Deletion", "DeletionTest", "measure_deletion"]

REMOVED = 8  # sources
QUIET_SECONDS = 1.5  # a reader who goes on from place to place is not kept waiting
MOST_PLACES = 4_000  # of a dataset: beyond, one test takes seconds
MOST_KEPT = 200


class Deletion(NamedTuple):
    """How far a forecast moves, on average over its steps, without some readings of other places.

    Args:
        removed: How many readings.
        strongest: Without those that the alignment weighs most, in units of the data.
        random: Without as many drawn at random.
        units: Of the data.
    """

    removed: int
    strongest: float
    random: float
    units: str


def measure_deletion(evidence: Evidence, node: str) -> Deletion | None:
    """Hide the strongest sources of a place from the model, and as many random ones.

    Args:
        evidence: With an alignment.
        node: The place.

    Returns:
        What that does to the forecast as trained; None where the data is too large to wait for it.
    """
    places = evidence.dataset.sizes["node"]
    if places > MOST_PLACES:
        return None
    history = evidence.forecaster.config.data.history_steps
    removed = min(REMOVED, history * (places - 1))
    curve = deletion_curve(
        evidence.forecaster,
        evidence.dataset,
        evidence.forecast["time"].values,
        nodes=[node],
        removed=[removed],
        orders=["alignment", "random"],
    )
    strongest, random = (
        float(curve["shift"].sel(order=order, removed=removed)) for order in ("alignment", "random")
    )
    return Deletion(removed, strongest, random, str(curve.attrs["units"]))


class DeletionTest:
    """Measures the selected forecast once the reader has come to rest at it.

    Args:
        state: The selection and its evidence.
        of: Whose evidence, as for a `View`.
        page: Where the result is shown.
        on_found: Called when there is a result.
    """

    def __init__(
        self, state: ExplorerState, of: str, page: str, on_found: Callable[[], None]
    ) -> None:
        self._state, self._of, self._page, self._on_found = state, of, page, on_found
        self._known: dict[tuple[Any, ...], Deletion | None] = {}

    def _asked(self) -> tuple[Any, ...] | None:
        """Give what is to be measured; None where no single forecast as trained is in sight."""
        evidence, state = getattr(self._state, self._of), self._state
        if evidence is None or evidence.alignment is None or state.page != self._page:
            return None
        if evidence.request.is_switched or len(state.targets) != 1:
            return None
        return evidence.request.dataset, evidence.forecaster, evidence.request.step, state.node

    @property
    def found(self) -> Deletion | None:
        """The result for what is in sight; None where there is none yet."""
        return self._known.get(self._asked() or ())

    def begin(self) -> None:
        """Measure what is in sight, beside the event loop, if it stays there."""
        asked = self._asked()
        if asked is not None and asked not in self._known and pn.state.curdoc is not None:
            pn.state.execute(partial(self._measure, asked))

    async def _measure(self, asked: tuple[Any, ...]) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        if self._asked() != asked or asked in self._known:
            return
        evidence = getattr(self._state, self._of)
        found = await asyncio.to_thread(measure_deletion, evidence, asked[-1])
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[asked] = found
        if self._asked() == asked:
            self._on_found()
