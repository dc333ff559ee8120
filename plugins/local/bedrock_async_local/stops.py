"""Stop sequences over a stream of pieces: pure, and the same for every way of cutting the text into pieces."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["StopFilter"]


class StopFilter:
    """Passes text on until a sequence is complete; neither the sequence nor what follows it is returned.

    The engine knows stop strings too, but ends such an answer like any other ("stop"), and Converse distinguishes
    ``stop_sequence`` from ``end_turn``.
    """

    def __init__(self, sequences: Iterable[str] = ()) -> None:
        self._sequences = tuple(sequence for sequence in sequences if sequence)
        self._held = ""
        self.matched: str | None = None
        """The sequence that was found, or None; once one is found, no more text is returned."""

    def feed(self, text: str) -> str:
        """Take the next piece, and return the text that can go out; a possible beginning of a sequence is held back."""
        if self.matched is not None:
            return ""
        self._held += text
        # The sequence that is complete first wins, whatever the pieces; of two at the same place the longer one.
        found = min(
            ((start + len(sequence), start, sequence) for sequence in self._sequences
             if (start := self._held.find(sequence)) >= 0),
            default=None,
        )  # fmt: skip
        if found is not None:
            _, start, self.matched = found
            out, self._held = self._held[:start], ""
            return out
        keep = max((_overlap(self._held, sequence) for sequence in self._sequences), default=0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def flush(self) -> str:
        """Return the text held back: the text has ended, so it begins no sequence."""
        out, self._held = self._held, ""
        return out


def _overlap(text: str, sequence: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``sequence``."""
    for size in range(min(len(text), len(sequence) - 1), 0, -1):
        if text.endswith(sequence[:size]):
            return size
    return 0
