"""A request as received and kept by the emulator."""

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
    """One request as it arrived, and its outcome.

    ``path`` and ``query`` are quoted exactly as the client sent them; ``headers`` have lower-case names, repeated ones
    are joined with ``","``. ``operation`` and ``model_id`` are None if the route was not recognised; ``model_id`` is
    decoded. ``status`` is None until the head of the response is sent. ``fault`` names the fault injected by `Chaos`,
    if any. ``input_events`` are the native events of a conversation, the last thousand that its model took.
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
        """Return the body parsed as JSON. Raises ValueError if it is not JSON."""
        value: JSONValue = json.loads(self.body)
        return value

    @property
    def connection_closed(self) -> bool:
        """Whether the connection of the request has been closed (a kept-alive one has not)."""
        return self._connection_closed.is_set()

    async def wait_connection_closed(self) -> None:
        """Wait until the connection of the request has been closed. Cancelling has no effect on the connection."""
        await self._connection_closed.wait()

    def mark_connection_closed(self) -> None:
        """Record that the connection has been closed; called by the emulator."""
        self._connection_closed.set()
