"""Tables that hold what was learnt last, and forget the oldest beyond a number of entries."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remember(table: dict[K, V], key: K, value: V, most: int) -> None:
    """Store a value as the newest one, and drop the oldest beyond ``most`` entries."""
    table.pop(key, None)
    table[key] = value
    while len(table) > most:
        table.pop(next(iter(table), key), None)  # another thread may have dropped it
