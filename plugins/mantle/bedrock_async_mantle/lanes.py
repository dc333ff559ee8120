"""Content blocks that arrive interleaved, put one after the other as in a Converse stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Lanes"]

_Piece: TypeAlias = Callable[[], None]


class Lanes:
    """Passes on the pieces of one block as they come, and keeps those of others until their turn.

    OpenAI indexes parallel tool calls and output items, so that their pieces may be interleaved. A piece is a function
    that tells an `EventBuilder` something; ``end`` is called at the end of every block. The block that began first goes
    first.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._live: int | None = None
        self._waiting: dict[int, list[_Piece]] = {}
        self._closed: set[int] = set()

    def tell(self, lane: int, piece: _Piece) -> None:
        """Pass on a piece of ``lane`` now, or when its turn comes. Raises ValueError if the lane has ended."""
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
        """End a lane. Idempotent. The lanes that waited for it are passed on, as far as they have come."""
        self._closed.add(lane)
        while self._live in self._closed:
            self._end()
            self._live = next(iter(self._waiting), None)
            for piece in self._waiting.pop(self._live, ()) if self._live is not None else ():
                piece()

    def close_all(self) -> None:
        """End all lanes: everything that waits is passed on."""
        while self._live is not None:
            self.close(self._live)
