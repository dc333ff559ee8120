"""From an origin to a connection that is ready for requests: TCP, the proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from ..errors import ConnectError
from . import _failures
from ._addresses import Resolver, connect_first, connect_to
from ._origin import Origin
from ._tls_layer import TlsLayer

__all__ = ["Channel", "open_channel"]

_READ_BYTES: Final = 2**14
_MOST_HEAD_BYTES: Final = 2**16
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")


class Channel:
    """A connected socket with its negotiated TLS layers, outermost first.

    Whoever takes over both becomes their owner; call `close` otherwise.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.layers: list[TlsLayer] = []
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Close the socket, without a TLS close_notify."""
        self.socket.close()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Negotiate TLS with ``host``. Raises OSError (ssl.SSLError), or EOFError if the peer closes the connection."""
        layer = TlsLayer(context, host)
        try:
            done = layer.shake_hands()
            while not done:
                await self._send(layer.outgoing)
                done = layer.shake_hands(await self._receive("during the TLS handshake"))
        except ssl.SSLError:
            await self._send(layer.outgoing)  # the alert, which tells the peer the reason
            raise
        await self._send(layer.outgoing)
        self.layers.append(layer)

    async def open_tunnel(self, origin: Origin, authorization: str) -> None:
        """Ask the proxy for a tunnel to ``origin``. Raises ConnectError when it refuses, OSError or EOFError."""
        request = f"CONNECT {origin.peer} HTTP/1.1\r\nhost: {origin.peer}\r\n{authorization}\r\n"
        await self._send(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self._receive("before it opened a tunnel")
            if len(answer) > _MOST_HEAD_BYTES:
                raise EOFError(f"{len(answer)} bytes of an answer, and no end of its head")
        status = _STATUS.match(answer)
        if status is None or not status[1].startswith(b"2"):
            said = f"HTTP {status[1].decode()}" if status else "with something that is not HTTP"
            raise ConnectError(
                f"the proxy refused to connect to {origin.peer} ({said}).",
                hint="Check the proxy's credentials and rules, or add the host to NO_PROXY.",
            )

    async def _send(self, data: bytes) -> None:
        for layer in reversed(self.layers):
            data = layer.seal(data)
        if data:
            await self._loop.sock_sendall(self.socket, data)

    async def _receive(self, when: str) -> bytes:
        data = await self._loop.sock_recv(self.socket, _READ_BYTES)
        if not data:
            raise EOFError(f"the peer closed the connection {when}")
        for layer in self.layers:
            data = layer.open(data)
            if layer.failure is not None:
                raise layer.failure
        return data


async def open_channel(
    origin: Origin,
    context: ssl.SSLContext | None,
    *,
    proxy_context: ssl.SSLContext | None = None,
    resolver: Resolver,
    options: Sequence[tuple[int, int, int]],
    max_connections: int | None,
) -> Channel:
    """Connect to an origin; ``context`` is required if the origin or its proxy uses TLS.

    ``proxy_context`` is for an https proxy with a TLS context of its own. ``max_connections`` is the pool size to name
    in errors; None without a pool. Cancelling closes what was opened. Raises ConnectError (NameResolutionError,
    TLSError) or TooManyOpenFilesError.
    """
    proxy = origin.proxy
    first = proxy or origin
    peer = first.peer
    with ExitStack() as stack:
        try:
            addresses = await resolver.addresses(first.host, first.port)
            channel = Channel(await connect_first(addresses, partial(connect_to, options=options)))
            stack.callback(channel.close)
            if proxy is not None:
                tls = proxy_context or context
                if proxy.secure and tls is not None:
                    await channel.start_tls(tls, proxy.host)
                await channel.open_tunnel(origin, proxy.authorization)
                peer = origin.peer
            if origin.secure and context is not None:
                await channel.start_tls(context, origin.host)
        except (OSError, EOFError, ValueError) as exc:
            raise _failures.connect_failure(exc, peer=peer, max_connections=max_connections) from exc
        stack.pop_all()
        return channel
