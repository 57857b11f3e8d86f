"""The type checker of the import hook that conftest.py installs."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

Checked = TypeVar("Checked", bound=Callable)

# An int may stand where a float is expected, as PEP 484 has it.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Checked) -> Checked:
    """Check a function's types at every call.

    The hook decorates methods one by one, where beartype cannot know what `Self` means: these
    few stay unchecked.
    """
    try:
        return _check(function)
    except BeartypeDecorHintPep673Exception:
        return function
