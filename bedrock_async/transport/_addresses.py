"""From a host name to a connected socket: a resolver, and Happy Eyeballs.

asyncio's ``create_connection`` implements Happy Eyeballs, but uvloop's does not.
"""

from __future__ import annotations

import asyncio
import codecs
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from itertools import zip_longest
from typing import Final, TypeAlias

codecs.lookup("idna")  # getaddrinfo uses this codec for host names, and would import it on the loop

__all__ = ["Address", "Resolver", "connect_first", "connect_to"]

Address: TypeAlias = tuple[int, int, int, tuple[str, int] | tuple[str, int, int, int]]
"""What a socket needs: family, kind, protocol, and the socket address."""

_KEEP_S: Final = 10.0
"""How long an answer is reused, so that opening many connections resolves once; DNS changes are seen this late."""

_HEAD_START_S: Final = 0.25
"""How long an address is tried before the next one is tried concurrently.  [RFC 8305, section 5]"""


class Resolver:
    """Resolves host names in worker threads, and caches the answers briefly."""

    def __init__(self, look_up: Callable[[str, int], list[Address]] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host in the order to try them, alternating between address families.

        Each call starts with the next address of each family, so that connections spread over the hosts behind a name.
        Raises socket.gaierror, or UnicodeError for a host name that cannot be encoded.
        """
        if _is_number(host):
            return _look_up(host, port)  # a literal address needs no look-up
        loop = asyncio.get_running_loop()
        lookup = self._lookups.get((host, port))
        if lookup is None or lookup.expires < loop.time():
            lookup = _Lookup(loop.run_in_executor(None, self._look_up, host, port), loop.time() + _KEEP_S)
            self._lookups[host, port] = lookup
        try:
            # Shielded, because others may be waiting for the same answer.
            found = await asyncio.shield(lookup.answer)
        except OSError:
            if self._lookups.get((host, port)) is lookup:
                del self._lookups[host, port]
            raise
        lookup.turn += 1
        return in_order(found, turn=lookup.turn - 1)


class _Lookup:
    """One look-up, finished or in progress."""

    __slots__ = ("answer", "expires", "turn")

    def __init__(self, answer: asyncio.Future[list[Address]], expires: float) -> None:
        self.answer = answer
        self.expires = expires
        self.turn = 0


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]  # type: ignore[misc]


def in_order(addresses: Iterable[Address], *, turn: int) -> list[Address]:
    """Return the addresses alternating between families, beginning with the first one's, each rotated by ``turn``."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rotated = [each[turn % len(each) :] + each[: turn % len(each)] for each in families.values()]
    return [address for group in zip_longest(*rotated) for address in group if address is not None]


async def connect_to(address: Address, options: Iterable[tuple[int, int, int]]) -> socket.socket:
    """Return a socket with these options, connected to the address. Raises OSError."""
    family, kind, protocol, target = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(0.0)
        for option in options:
            connection.setsockopt(*option)
        await asyncio.get_running_loop().sock_connect(connection, target)
    except BaseException:
        connection.close()
        raise
    return connection


async def connect_first(
    addresses: Sequence[Address],
    connect: Callable[[Address], Awaitable[socket.socket]],
    *,
    head_start_s: float = _HEAD_START_S,
) -> socket.socket:
    """Return the socket of the address that ``connect`` reaches first.

    The next address is tried when the previous one has failed, or concurrently after ``head_start_s``. Sockets that
    connect too late are closed, and all of them on cancellation. Raises OSError; with several addresses its cause is an
    ExceptionGroup of their errors.  [RFC 8305, Happy Eyeballs]
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    connected: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Address) -> None:
        try:
            connected.append(await connect(address))
        except OSError as exc:
            failures.append(exc)

    try:
        async with asyncio.TaskGroup() as group:
            waiting = list(addresses[::-1])
            running: set[asyncio.Task[None]] = set()
            while not connected and (waiting or running):
                if waiting:
                    running.add(group.create_task(attempt(waiting.pop())))
                _, running = await asyncio.wait(
                    running, timeout=head_start_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
            for task in running:
                task.cancel()
    except BaseException:
        for late in connected:
            late.close()
        raise
    for late in connected[1:]:
        late.close()
    if not connected:
        each = ExceptionGroup("one for each address", failures)
        raise OSError(f"none of {len(addresses)} addresses could be reached") from each
    return connected[0]
