"""Content blocks that arrive side by side, put one behind the other as a Converse stream has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Lanes"]

_Piece: TypeAlias = Callable[[], None]


class Lanes:
    """Lets the pieces of one block through as they come, and keeps those of others until it is their turn.

    OpenAI numbers parallel tool calls and output items so that their pieces may be mixed. Pieces are functions that
    tell an `EventBuilder` something; ``end`` is called at the end of every block. The block that began first goes
    first.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._live: int | None = None
        self._waiting: dict[int, list[_Piece]] = {}
        self._closed: set[int] = set()

    def tell(self, lane: int, piece: _Piece) -> None:
        """Tell a piece of ``lane`` now or when its turn comes. Raises ValueError for one that has ended."""
        if lane == self._live:
            piece()
        elif lane in self._closed:
            raise ValueError(f"a piece of block {lane} comes after its end")
        elif self._live is None:
            self._live = lane
            piece()
        else:
            self._waiting.setdefault(lane, []).append(piece)

    def close(self, lane: int) -> None:
        """Take the end of a lane; idempotent. Those that wait are told as far as that goes."""
        self._closed.add(lane)
        while self._live in self._closed:
            self._end()
            self._live = next(iter(self._waiting), None)
            for piece in self._waiting.pop(self._live, ()) if self._live is not None else ():
                piece()

    def close_all(self) -> None:
        """Take the end of all lanes: everything that waits is told."""
        while self._live is not None:
            self.close(self._live)
