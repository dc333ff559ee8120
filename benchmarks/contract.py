"""What every measured client offers, in its own environment: nothing here imports more than the standard library.

A client that lacks a scenario says why (`Peer.not_offered`); it is shown with that reason and never left out silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

REGION: Final = "us-east-1"
KEYS: Final = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
"""The example credentials of AWS's documentation: every client signs."""

MAX_TOKENS: Final = 100
CONNECTIONS: Final = 4096
"""Connections that a pool may hold, where a client lets its user choose."""

TOOL_NAME: Final = "get_weather"
TOOL_DESCRIPTION: Final = "The current weather in a city."
TOOL_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
BOTO3_TOOLS: Final[dict[str, Any]] = {
    "tools": [
        {
            "toolSpec": {
                "name": TOOL_NAME,
                "description": TOOL_DESCRIPTION,
                "inputSchema": {"json": TOOL_SCHEMA},
            }
        }
    ]
}

See: TypeAlias = Callable[[str], object]
"""Takes the text (or the piece of tool input) of each event: what a user would do with it."""

Conversation: TypeAlias = Any
"""Messages in the client's own form, made outside of what is measured."""

Kind: TypeAlias = Literal["ours", "floor", "peer"]

THREADS: Final = "its client is synchronous, in a thread for each stream: a thousand threads are no setting anyone runs"
NO_DECODER: Final = "no decoder that is reachable without its client"
NO_TLS_TRUST: Final = "no way to trust a certificate of one's own"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Client:
    """A client that is open. A method that a library has no counterpart of stays as it is here."""

    def conversation(self, turns: Sequence[str]) -> Conversation:
        """Return these turns, of user and assistant alternately, in the client's own form: here boto3's."""
        return [
            {"role": ("user", "assistant")[number % 2], "content": [{"text": text}]}
            for number, text in enumerate(turns)
        ]

    async def converse(self, model: str, conversation: Conversation) -> str:
        """Make one call and return the text of its answer."""
        raise NotImplementedError

    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        """Read one stream to its end; ``see`` gets the text of every event that has one."""
        raise NotImplementedError

    async def unkept_stream(self, model: str, conversation: Conversation, see: See) -> None:
        """As `stream`, keeping nothing of what was seen, where a client lets its user choose."""
        await self.stream(model, conversation, see)

    async def tool_stream(self, model: str, conversation: Conversation, see: See) -> None:
        """As `stream`, with a tool on offer; ``see`` gets the pieces of its input."""
        raise NotImplementedError


class Peer(NamedTuple):
    """How one client is installed, imported and opened."""

    title: str
    load: Callable[[], object]
    """Imports the library, as an application does before it makes its first client."""
    opened: Callable[[str], AbstractAsyncContextManager[Client]]
    """Makes a client for the endpoint of that URL, and closes it."""
    kind: Kind = "peer"
    package: str = ""
    """What ``import`` names before any name is used; measured apart where names are imported when they are used."""
    environment: str = ""
    """The environment of another adapter; its own by default. Pinned in ``peers/<environment>.txt``."""
    requirements: tuple[str, ...] = ()
    """What is resolved into that file."""
    packages: tuple[str, ...] = ()
    """Whose versions are printed."""
    extension: str = ""
    """A C file beside the adapters that is compiled into the environment, where there is a compiler."""
    decode: Callable[[Sequence[bytes]], int] | None = None
    """Decodes the pieces of a stream's body and returns the number of events."""
    not_offered: Mapping[str, str] = _NOTHING
    """Why it has no figure: by a scenario's name, its kind, ``"tls"``, or ``"*"`` for all but decoding."""
    max_streams: int = CONNECTIONS
    """Streams that can be open at a time."""
    max_streams_reason: str = ""
    slow: int = 1
    """A client that takes so many times as long gets that part of the events or calls."""
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    native: bool = False
    """Whether it speaks Anthropic's native streams instead of Converse."""
