"""The type checker of the import hook that conftest.py installs."""

from collections.abc import Callable
from typing import TypeVar

from beartype import beartype
from beartype.roar import BeartypeDecorHintPep673Exception

Checked = TypeVar("Checked", bound=Callable)


def checked(function: Checked) -> Checked:
    """Check a function's types at every call.

    The hook decorates methods one by one, where beartype cannot know what `Self` means: these
    few stay unchecked.
    """
    try:
        return beartype(function)
    except BeartypeDecorHintPep673Exception:
        return function
