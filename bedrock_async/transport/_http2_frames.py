"""Inspects HTTP/2 frames before h2 does: where each one ends, and which ones h2 would misinterpret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["FrameGate"]

_HEAD_BYTES: Final = 9  # RFC 9113, section 4.1: length (3), type, flags, stream (4)
_MOST_BYTES: Final = 2**14
"""The initial value of SETTINGS_MAX_FRAME_SIZE (RFC 9113, section 6.5.2), which we do not change."""
_SETTINGS: Final = 0x4
_GOAWAY: Final = 0x7
_GOAWAY_BYTES: Final = 8


class FrameGate:
    """Passes on a server's frames, each one only when it is complete; sans-IO.

    h2 checks the length of a frame, up to 16 MiB, only when the whole frame has arrived, and accepts nothing after a
    GOAWAY. But a GOAWAY with NO_ERROR only says that no new streams may be opened: load balancers send it on
    connections that they want to retire, and ``stream_id``, opened before, continues to its end (RFC 9113, section
    6.8).
    """

    __slots__ = ("_greeted", "_held", "_stream_id", "going_away")

    def __init__(self, stream_id: int) -> None:
        self._stream_id = stream_id
        self._held = b""
        self._greeted = False
        self.going_away = False
        """Whether the server has announced that it accepts no more streams on this connection."""

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Yield each frame that ``data`` completes; exhaust the iterator before the next call.

        Raises ValueError, after the preceding frames, for what no HTTP/2 server may send.
        """
        data = self._held + data
        at = 0
        while len(data) - at >= _HEAD_BYTES:
            length, kind = int.from_bytes(data[at : at + 3]), data[at + 3]
            if not self._greeted and kind != _SETTINGS:
                raise ValueError("its first frame is not SETTINGS")
            if length > _MOST_BYTES:
                raise ValueError(f"a frame of {length} bytes; {_MOST_BYTES} are allowed")
            end = at + _HEAD_BYTES + length
            if end > len(data):
                break
            self._greeted = True
            if kind == _GOAWAY and self._spares_us(data[at + _HEAD_BYTES : end]):
                self.going_away = True
            else:
                yield data[at:end]
            at = end
        self._held = data[at:]

    def _spares_us(self, payload: bytes) -> bool:
        last_stream_id, code = int.from_bytes(payload[:4]) & 0x7FFF_FFFF, int.from_bytes(payload[4:_GOAWAY_BYTES])
        return len(payload) >= _GOAWAY_BYTES and code == 0 and last_stream_id >= self._stream_id
