"""The server that all clients are measured against: as little work as possible, in a process of its own.

``python -m benchmarks.server FOLDER`` prints its two ports, plain and TLS, and writes the certificate that clients
are to trust to ``FOLDER/ca.pem``. Everything it sends was encoded before.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import trustme

from .machine import pin, raise_open_files
from .scenarios import BURST_S, TOKENS_PER_S, Plan, plan_of
from .wire import Script, answer, chunk, decode_body, delta_frame, stream_script

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nx-amzn-RequestId: b-1\r\n"
_STREAM_HEAD: Final = _HEAD % b"application/vnd.amazon.eventstream" + b"Transfer-Encoding: chunked\r\n\r\n"
_JSON_HEAD: Final = _HEAD % b"application/json" + b"Content-Length: %d\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ENDING_S: Final = 1.0
"""Streams that began together end so much later, for what is asked of them is not what ending costs."""
_SLOTS: Final = 40
"""Paced streams are spread over so many instants of each period."""


class Stream:
    """One response under way."""

    def __init__(self, transport: asyncio.Transport, script: Script, *, ending_s: float = 0.0) -> None:
        self._transport = transport
        self._script = script
        self._ending_s = ending_s
        self._next = 0

    def open(self) -> None:
        """Send the head and the opening."""
        self._transport.write(_STREAM_HEAD + self._script.opening)

    def write(self, data: bytes) -> None:
        """Send something that is not in the script."""
        self._transport.write(data)

    def step(self) -> bool:
        """Send the next write; False when that was the last one, or nobody listens any more."""
        transport, script, at = self._transport, self._script, self._next
        if transport.is_closing():
            return False
        self._next = at + 1
        if at < len(script.body):
            transport.write(script.body[at])
            return True
        if self._ending_s:
            asyncio.get_running_loop().call_later(self._ending_s, transport.write, script.ending)
        else:
            transport.write(script.ending)
        return False


class Turns:
    """Gives each of its streams one write per turn; a turn comes at once, or every ``interval_s``."""

    def __init__(self, interval_s: float = 0.0) -> None:
        self._interval_s = interval_s
        self._streams: list[Stream] = []
        self._loop = asyncio.get_running_loop()
        self._due_s = 0.0

    def add(self, *streams: Stream) -> None:
        """Take streams into the turns."""
        if not self._streams:
            self._due_s = self._loop.time() + self._interval_s
            self._loop.call_at(self._due_s, self._turn)
        self._streams += streams

    def _turn(self) -> None:
        self._streams = [stream for stream in self._streams if stream.step()]
        if not self._streams:
            return
        if self._interval_s:
            self._due_s += self._interval_s
            self._loop.call_at(self._due_s, self._turn)
        else:
            self._loop.call_soon(self._turn)


class Paced:
    """Gives each stream 30 writes a second, evenly spread over the streams.

    The first text of each is the time at which the next one is due, on the clock that the processes share.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: list[list[Stream]] = [[] for _ in range(_SLOTS)]
        self._tick = 0
        self._step_s = 1 / TOKENS_PER_S / _SLOTS
        self._started_s = 0.0

    def start(self, streams: list[Stream], *, native: bool) -> None:
        """Begin, half a second from now."""
        self._started_s = self._loop.time() + 0.5
        for number, stream in enumerate(streams):
            slot = number % _SLOTS
            self._slots[slot].append(stream)
            stream.write(chunk(delta_frame(repr(self._started_s + slot * self._step_s), native=native)))
        self._loop.call_at(self._started_s, self._turn)

    def _turn(self) -> None:
        slot = self._tick % _SLOTS
        self._slots[slot] = [stream for stream in self._slots[slot] if stream.step()]
        self._tick += 1
        if any(self._slots):
            self._loop.call_at(self._started_s + self._tick * self._step_s, self._turn)


class Service:
    """Who is served how: streams of one plan belong together."""

    def __init__(self, *, ending_s: float = _ENDING_S) -> None:
        self._ending_s = ending_s
        self._turns = Turns()
        self._bursts: dict[Plan, Turns] = {}
        self._waiting: dict[Plan, list[Stream]] = {}

    def stream(self, plan: Plan, transport: asyncio.Transport, *, native: bool) -> None:
        """Answer a request for a stream."""
        ending_s = self._ending_s if plan.mode == "gate" else 0.0
        stream = Stream(transport, stream_script(plan, native=native), ending_s=ending_s)
        stream.open()
        match plan.mode:
            case "turns":
                self._turns.add(stream)
            case "burst":
                self._bursts.setdefault(plan, Turns(BURST_S)).add(stream)
            case "hold":
                pass
            case "gate" | "paced":
                waiting = self._waiting.setdefault(plan, [])
                waiting.append(stream)
                if len(waiting) == plan.streams:
                    del self._waiting[plan]
                    if plan.mode == "paced":
                        Paced().start(waiting, native=native)
                    else:
                        self._turns.add(*waiting)


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = bytearray()
        self._needed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when the request is complete."""
        received = self._received
        received += data
        if not self._needed:
            head_end = received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            length = _LENGTH.search(received, 0, head_end)
            self._needed = head_end + 4 + (int(length[1]) if length else 0)
        if len(received) >= self._needed:
            path = received[: received.index(b"\r\n")].split()[1].decode()
            del received[: self._needed]
            self._needed = 0
            self._answer(unquote(path))

    def _answer(self, path: str) -> None:
        plan = plan_of(path)
        _, _, action = path.rpartition("/")
        match action:
            case "converse-stream" | "invoke-with-response-stream":
                self._service.stream(plan, self._transport, native=action != "converse-stream")
            case "body" | "native-body":
                body = decode_body(plan, native=action == "native-body")
                self._transport.write(_JSON_HEAD % len(body) + body)
            case _:
                body = answer(plan, native=action == "invoke")
                self._transport.write(_JSON_HEAD % len(body) + body)


def _tls(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def _main(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    service = Service()
    plain = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=4096)
    tls = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=4096, ssl=_tls(folder))
    sys.stdout.write(f"{plain.sockets[0].getsockname()[1]} {tls.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Whoever started this process holds its standard input: it goes with them.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    pin("server")
    raise_open_files()
    asyncio.run(_main(Path(sys.argv[1])))
