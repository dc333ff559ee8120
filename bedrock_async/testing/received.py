"""What the emulator keeps of every request that reached it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from ..types import JSONValue

__all__ = ["ReceivedRequest"]


@dataclass(eq=False, kw_only=True)
class ReceivedRequest:
    """One request as it arrived, and what became of it.

    ``path`` and ``query`` are quoted exactly as the client sent them; ``headers`` have lower-case names, repeated ones
    joined with ``","``. ``operation`` and ``model_id`` are None where the route was not recognised; ``model_id`` is
    decoded. ``status`` is None until the response's head went out, and stays None when none did. ``fault`` names what
    `Chaos` did to it, None for nothing. ``input_events`` are the native events of a conversation, the last thousand
    that its model took.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    request_id: str = ""
    operation: str | None = None
    model_id: str | None = None
    status: int | None = None
    fault: str | None = None
    input_events: deque[bytes] = field(default_factory=lambda: deque(maxlen=1000))
    _connection_closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def decoded_path(self) -> str:
        """The path with its percent-encoding removed once, so that ``%3A`` and ``:`` are the same."""
        return unquote(self.path)

    def json(self) -> JSONValue:
        """Return the body parsed as JSON. Raises ValueError when it is none."""
        value: JSONValue = json.loads(self.body)
        return value

    @property
    def connection_closed(self) -> bool:
        """Whether the connection that brought the request is gone (a kept-alive one is not)."""
        return self._connection_closed.is_set()

    async def wait_connection_closed(self) -> None:
        """Return as soon as the connection that brought the request is gone. Cancelling has no effect on it."""
        await self._connection_closed.wait()

    def mark_connection_closed(self) -> None:
        """Record that the connection is gone; the emulator calls this."""
        self._connection_closed.set()
