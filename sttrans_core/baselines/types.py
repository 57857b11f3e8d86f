"""What every baseline without training by gradient can do."""

from typing import Protocol

import numpy as np

__all__ = ["FittedBaseline", "check_horizon"]


class FittedBaseline(Protocol):
    """A baseline that was fitted to the training part and knows the whole series.

    Attributes:
        label: Its name in tables of scores.
    """

    @property
    def label(self) -> str:
        """Its name in tables of scores."""
        ...

    def predict(self, origins: np.ndarray, *, horizon_steps: int) -> np.ndarray:
        """Forecast from each origin, out of readings up to it.

        Args:
            origins: Index of the last observed step of each forecast.
            horizon_steps: Steps to forecast.

        Returns:
            (origin, horizon, node), and channel where the target has some, in its units.
        """
        ...


def check_horizon(horizon_steps: int, *, fitted: int) -> None:
    """Refuse a horizon that a baseline has no weights for.

    Args:
        horizon_steps: Steps to forecast.
        fitted: Steps that it was fitted for.

    Raises:
        ValueError: There are fewer of these.
    """
    if horizon_steps > fitted:
        raise ValueError(
            f"horizon_steps must be at most the fitted {fitted}; got "
            f"horizon_steps={horizon_steps}. Fit with a longer horizon."
        )
