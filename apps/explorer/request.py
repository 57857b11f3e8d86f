"""What forecast and alignment are asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from explorer.catalog import bundle_of

__all__ = ["Request"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that forecast and alignment depend on; the views' own choices are not in it.

    Args:
        dataset: Registered name.
        run: `bundled`, the name of a run folder, or empty for none.
        variant: Variant of the bundled run.
        root: Folder of run folders.
        step: Forecast origin as a step of the dataset; one of the test part where it is None.
        topk: Sources to keep; as trained where it is None.
        window: Whether sources in the local window are candidates.
        silent_heads: Attention heads whose sources have no say.
        hidden: Places whose readings the model does not get.
        withheld: Steps before the forecast that it does not get of any place, 0 the newest.
        damage: What else happens to the readings it sees: empty, or a kind of `corrupt`.
        node: The selected place, which matters where not all places are aligned at once.
        area: Likewise a region, empty for the place alone; see `places_of`.
    """

    dataset: str
    run: str
    variant: str
    root: Path
    step: int | None
    topk: int | None = None
    window: bool = True
    silent_heads: tuple[int, ...] = ()
    hidden: tuple[str, ...] = ()
    withheld: tuple[int, ...] = ()
    damage: str = ""
    node: str = ""
    area: str = ""

    @property
    def is_switched(self) -> bool:
        """Whether anything is other than as trained and as measured."""
        switches = (self.topk, not self.window, self.silent_heads, self.hidden)
        return any(switches) or bool(self.withheld or self.damage)

    def at(self, node: str, area: str = "") -> Self:
        """Give the same request with another place or region selected."""
        return replace(self, node=node, area=area)

    @property
    def name(self) -> str:
        """The run in one word, as `of` takes it apart: `my-run` or `bundled/full`."""
        is_bundled = bundle_of(self.run, self.dataset)
        return f"{self.run}/{self.variant}" if is_bundled else self.run

    def of(self, run: str, variant: str = "") -> Self:
        """Give the same request of another run."""
        return replace(self, run=run, variant=variant)
