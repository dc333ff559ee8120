"""What counts as a number among the options of a client: no text, no truth value, no NaN."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TypeGuard

from ..errors import InvalidRequestError


def is_number(value: object, *, least: float = 0.0, most: float = inf) -> TypeGuard[float]:
    """Tell whether this is a number within these bounds, which count as within."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def is_count(value: object, *, least: int = 1) -> TypeGuard[int]:
    """Tell whether this is a whole number from ``least`` on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def refuse_faults(called: str, options: object, faults: Mapping[str, bool], *, hint: str) -> None:
    """Refuse options of which a fault is true, by the name of the first one. Raises InvalidRequestError."""
    for name, wrong in faults.items():
        if wrong:
            raise InvalidRequestError(
                f"{called}.{name} is {getattr(options, name)!r}.", path=f"{called}.{name}", hint=hint
            )
