"""What a forecast must beat."""

from sttrans_core.baselines.naive import HistoricalAverage, LastObserved, LastValue

__all__ = ["HistoricalAverage", "LastObserved", "LastValue"]
