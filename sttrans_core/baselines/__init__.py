"""What a forecast must beat."""

from .naive import HistoricalAverage, LastObserved, LastValue

__all__ = ["HistoricalAverage", "LastObserved", "LastValue"]
