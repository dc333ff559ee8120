"""Record the traffic of any transport once, then replay it: to this client, or to any other over HTTP.

::

    async with Cassette("tests/cassettes/greeting.json") as cassette:
        async with BedrockClient(transport=cassette, credentials=cassette.credentials, ...) as client:
            reply = await client.converse(model, "Say hello.")

The same object can be one of the models of a `BedrockEmulator`, which then replays it to boto3 or a client in any
other language.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias, get_args

import anyio
import anyio.lowlevel

from ..errors import (
    BedrockError,
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    InvalidRequestError,
    ProtocolError,
    TransportError,
)
from ..transport import DuplexResponse, Transport, WireRequest, WireResponse, as_transport
from .answers import Control, HttpAnswer
from .cassette_exchange import (
    CassetteExchange,
    CassetteRequest,
    CassetteResponse,
    Ended,
    RecordedFailure,
    RecordedPiece,
)
from .cassette_format import CassetteFile, read_cassette, write_redacted
from .cassette_matching import NotRecordedError, Shelf
from .received import ReceivedRequest
from .redaction import Redact, Redactor
from .replay import not_recorded

if TYPE_CHECKING:
    from ..auth import Credentials
    from ..transport import HttpClient

__all__ = ["Cassette", "CassetteMode"]

CassetteMode: TypeAlias = Literal["auto", "record", "replay"]
"""``record`` sends every request and records it anew; ``replay`` sends nothing; ``auto`` records what is missing."""

_LARGE_BYTES: Final = 2**18  # from this size on, redacting a body would block the loop for more than ten milliseconds
_HINT: Final = 'Record it: Cassette(path, mode="record"), or pytest --bedrock-record=all.'


class Cassette:
    """A `Transport` that records or replays the traffic of another one; use it with ``async with``, or call aclose().

    With ``mode="auto"``, a request that is in the file ``path`` is answered from it; any other is sent through
    ``transport`` (as for `BedrockClient`; the default one is created when it is first needed) and recorded. If the
    environment variable CI is set, auto means replay: a test that makes a new request fails there. Without a path,
    everything stays in memory. ``exchanges`` replace the content of a file.

    The file is written when the cassette is closed, even if a test fails or is cancelled: of a response that was not
    read to its end, the part that arrived is kept and marked. Keys, tokens, cookies and account ids are never written;
    ``redact_prompts`` blanks what people and models wrote, and the callables in ``redact`` (see `Redact`) handle the
    rest.

    Recorded exchanges are played in order, each once; with ``repeat``, the last of several equal ones is repeated.
    ``pace`` 1 keeps the recorded times, 2 takes twice as long; 0, the default, does not wait.
    """

    name = "cassette"

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        mode: CassetteMode = "auto",
        transport: Transport | HttpClient | str | None = None,
        exchanges: Iterable[CassetteExchange] | None = None,
        redact_prompts: bool = False,
        redact: Redact | Iterable[Redact] = (),
        repeat: bool = False,
        pace: float = 0.0,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Prepare the cassette; nothing is read yet. Raises InvalidRequestError for an unknown mode."""
        if mode not in get_args(CassetteMode):
            raise InvalidRequestError(
                f"mode={mode!r} is not one of {', '.join(get_args(CassetteMode))}.",
                path="mode",
                hint='Pass mode="auto".',
            )
        environ = os.environ if environ is None else environ
        self.path = None if path is None else Path(path)
        self.mode: CassetteMode = "replay" if mode == "auto" and _in_ci(environ) else mode
        """The effective mode: in CI, ``auto`` becomes ``replay``."""
        self.label: str | None = None
        """The name, in the file, of the exchanges recorded from now on."""
        self._transport = transport
        self._given = None if exchanges is None else tuple(exchanges)
        self._redactor = Redactor(prompts=redact_prompts, redact=redact)
        self._repeat = repeat
        self._pace = pace
        self._clock, self._sleep = clock, sleep
        self._shelf: Shelf | None = None
        self._recorded: list[_Entry] = []
        self._loading = threading.Lock()
        self._inner: Transport | None = None
        self._keeper: AsyncGenerator[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else repr(str(self.path))
        return f"Cassette({where}, mode={self.mode!r})"

    # -- what is in it

    @property
    def exchanges(self) -> tuple[CassetteExchange, ...]:
        """The exchanges that the file contains or will contain, redacted. The first use may read the file."""
        return (*self._load().exchanges, *self._new())

    @property
    def recorded(self) -> tuple[CassetteExchange, ...]:
        """What was recorded in this run, not redacted: for inspection only, never written."""
        return tuple(entry.exchange() for entry in self._recorded)

    @property
    def unplayed(self) -> tuple[CassetteExchange, ...]:
        """The exchanges of the file that have not been played."""
        return self._load().unplayed

    @property
    def credentials(self) -> Credentials | None:
        """Dummy credentials for a client that replays; otherwise None, which selects the default chain."""
        from ..auth import Credentials

        return Credentials("REPLAYED", "replayed") if self.mode == "replay" else None

    def save(self, path: str | Path | None = None) -> None:
        """Write all exchanges to ``path``; without one, write the cassette's own file if anything was recorded.

        This writes a file: call it in a worker thread. Raises InvalidRequestError if it cannot be written, and what a
        ``redact`` callable raises; in that case, the cassette's own file is written with only the built-in redaction
        and with all texts blanked.
        """
        target = self.path if path is None else Path(path)
        if target is None or (path is None and not self._recorded):
            return
        try:
            file = CassetteFile(self.exchanges, self._redactor.prompts)
        except Exception:
            if path is None:  # what was recorded may have cost money, and this is the last chance to keep it
                write_redacted(target, self._cautious())
            raise
        write_redacted(target, file)

    def _cautious(self) -> CassetteFile:
        """Return all exchanges, the new ones redacted by the built-in rules only, with all texts blanked."""
        redactor = Redactor(prompts=True)
        new = [redactor.exchange(entry.exchange()) for entry in self._recorded]
        return CassetteFile((*self._load().exchanges, *new), prompts_redacted=True)

    def _load(self) -> Shelf:
        with self._loading:  # concurrent requests would each read it in a thread
            return self._read() if self._shelf is None else self._shelf

    def _read(self) -> Shelf:
        held = self._given or ()
        if self._given is None and self.mode != "record" and self.path is not None and self.path.exists():
            file = read_cassette(self.path)
            held = tuple(file.exchanges)
            self._redactor.prompts = self._redactor.prompts or file.prompts_redacted
        self._shelf = Shelf(held, self._redactor, repeat=self._repeat, source=self._source())
        return self._shelf

    def _source(self) -> str:
        if self.path is None:
            return "the cassette"
        return f"the cassette {self.path}" + ("" if self.path.exists() else ", which does not exist,")

    def _new(self) -> list[CassetteExchange]:
        return [self._redactor.exchange(entry.exchange()) for entry in self._recorded]

    # -- as a transport

    async def open(self, request: WireRequest, *, connect_timeout_s: float) -> DuplexResponse:
        """Refuse a conversation, which cannot be recorded. Raises InvalidRequestError."""
        raise InvalidRequestError(
            "a cassette cannot record conversations.",
            hint="Script them instead: BedrockEmulator([ScriptedModel.text(bidirectional=...)]).",
        )

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Answer from the recording, or send the request and record it; see `Transport.send`.

        Raises what was recorded, what sending raises, and NotRecordedError for a request that is not in the file.
        """
        if self._closed:
            raise ClientClosedError("the cassette is closed.", hint="Keep `async with Cassette(...)` open for longer.")
        shelf = self._shelf if self._shelf is not None else await anyio.to_thread.run_sync(self._load)
        sent = CassetteRequest.from_wire(request)
        # Even if nothing is compared: a failing redaction rule must fail before the call costs anything.
        redact = partial(self._redactor.request, sent)
        wanted = redact() if len(sent.body) < _LARGE_BYTES else await anyio.to_thread.run_sync(redact)
        if self.mode != "record":
            if (exchange := shelf.take(wanted)) is not None:
                return await self._play(exchange)
            if self.mode == "replay":
                raise shelf.missing(wanted, hint=_HINT)
        return await self._record(request, sent, connect_timeout_s)

    async def aclose(self) -> None:
        """Write what was recorded, and close the transport if the cassette created it. Idempotent.

        Raises what `save` raises; the cassette is closed in any case.
        """
        self._closed = True
        with anyio.CancelScope(shield=True):
            try:
                if self._recorded:
                    await anyio.to_thread.run_sync(self.save)
            finally:
                keeper, self._keeper = self._keeper, None
                if keeper is not None:
                    await keeper.aclose()

    async def __aenter__(self) -> Self:
        """Read the file. Raises InvalidRequestError if it cannot be read."""
        await anyio.to_thread.run_sync(self._load)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the cassette, whatever happened inside."""
        await self.aclose()

    async def _play(self, exchange: CassetteExchange) -> WireResponse:
        response, failure = exchange.response, exchange.failure
        if self._pace and response is not None:
            await self._sleep(self._pace * response.head_ms / 1000)
        else:
            await anyio.lowlevel.checkpoint()
        if response is not None:
            return _Played(exchange, response, self._pace, self._sleep)
        if failure is not None:
            raise failure.error()
        raise _not_recorded_further(exchange, 0)

    async def _record(self, request: WireRequest, sent: CassetteRequest, connect_timeout_s: float) -> WireResponse:
        inner = self._inner or await self._open()
        entry = _Entry(sent, self._clock, self.label)
        self._recorded.append(entry)
        try:
            response = await inner.send(request, connect_timeout_s=connect_timeout_s)
        except BedrockError as exc:
            if not entry.failed(exc):
                self._recorded.remove(entry)  # nothing of it has anything to do with the other side
            raise
        entry.answered(response)
        return _Recorded(response, entry)

    async def _open(self) -> Transport:
        inner, owned = as_transport(self._transport)
        self._inner = inner
        if owned:
            # A fixture that is no coroutine cannot close the transport when the test is over. The event loop can: it
            # closes the asynchronous generators that are still open when it ends.
            self._keeper = _kept_open(inner)
            await anext(self._keeper)
        return inner

    # -- as a model of the emulator

    def respond(self, request: ReceivedRequest) -> HttpAnswer | Control | None:
        """Return the recorded answer; without one, None in the mode ``auto``, else a 404 that names the nearest."""
        shelf = self._load()
        wanted = self._redactor.request(CassetteRequest.from_received(request))
        if (exchange := shelf.take(wanted)) is not None:
            return exchange.answer(pace=self._pace)
        return None if self.mode == "auto" else not_recorded(request, shelf.missing(wanted, hint=_HINT).message)


def _in_ci(environ: Mapping[str, str]) -> bool:
    return environ.get("CI", "").lower() not in {"", "0", "false", "no"}


async def _kept_open(transport: Transport) -> AsyncGenerator[None]:
    """Close the transport when the generator is closed."""
    try:
        yield
    finally:
        await transport.aclose()


def _not_recorded_further(exchange: CassetteExchange, size: int) -> NotRecordedError:
    return NotRecordedError(
        f"{exchange.request.method} {exchange.request.path}: the recording ends after {size} bytes of the response, "
        "where the client that recorded it stopped reading.",
        hint=_HINT,
    )


class _Entry:
    """An exchange that is being recorded."""

    def __init__(self, request: CassetteRequest, clock: Callable[[], float], label: str | None) -> None:
        self._request = request
        self._clock, self._started = clock, clock()
        self._label = label
        self._head: CassetteResponse | None = None
        self._pieces: list[RecordedPiece] = []
        self._ended: Ended = "incomplete"
        self._failure: RecordedFailure | None = None

    def answered(self, response: WireResponse) -> None:
        """Record the head of the response."""
        headers = {name.lower(): value for name, value in response.headers.items()}
        self._head = CassetteResponse(response.status, headers, head_ms=self._elapsed_ms())

    def received(self, data: bytes) -> None:
        """Record a piece of the body, or its end (``b""``)."""
        if data:
            self._pieces.append(RecordedPiece(data, self._elapsed_ms()))
        else:
            self._ended = "complete"

    def failed(self, error: BedrockError) -> bool:
        """Record the error if it is a failure of the connection; return whether it is."""
        if not isinstance(error, TransportError | CallTimeoutError):
            return False
        self._ended, self._failure = "failed", RecordedFailure.of(error)
        return True

    def exchange(self) -> CassetteExchange:
        """Return what was recorded so far, not redacted."""
        head = self._head
        response = (
            None if head is None else CassetteResponse(head.status, head.headers, tuple(self._pieces), head.head_ms)
        )
        return CassetteExchange(self._request, response, self._ended, self._failure, self._label)

    def _elapsed_ms(self) -> int:
        return round((self._clock() - self._started) * 1000)


class _Recorded:
    """A response that is recorded while it is read."""

    def __init__(self, response: WireResponse, entry: _Entry) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._entry = entry
        self._aborted = False

    async def receive(self) -> bytes:
        """Return the next piece; see `WireResponse.receive`."""
        try:
            data = await self._response.receive()
        except BedrockError as exc:
            if not self._aborted:  # otherwise it only says that the rest was not wanted
                self._entry.failed(exc)
            raise
        self._entry.received(data)
        return data

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body, recording the pieces as they arrived; see `WireResponse.read`."""
        return await _read(self, max_bytes)

    def abort(self) -> None:
        """Close the connection; what has arrived stays recorded."""
        self._aborted = True
        self._response.abort()


class _Played:
    """A recorded response, played in the recorded pieces."""

    def __init__(
        self,
        exchange: CassetteExchange,
        response: CassetteResponse,
        pace: float,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._exchange = exchange
        self._pieces = list(reversed(response.pieces))
        self._size = 0
        self._now_ms = response.head_ms
        self._pace, self._sleep = pace, sleep
        self._aborted = False
        self._ended = False
        self._pause: anyio.CancelScope | None = None

    async def receive(self) -> bytes:
        """Return the next recorded piece. Raises the recorded failure, or NotRecordedError if the recording is cut."""
        await self._wait()
        if self._aborted:
            raise ConnectionLostError("the response was closed here before its body was read.", sent=True)
        if self._pieces:
            piece = self._pieces.pop()
            self._now_ms = piece.at_ms
            self._size += len(piece.data)
            return piece.data
        if self._exchange.ended == "incomplete":
            raise _not_recorded_further(self._exchange, self._size)
        if self._exchange.failure is not None:
            raise self._exchange.failure.error()
        self._ended = True
        return b""

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole recorded body; see `WireResponse.read`."""
        return await _read(self, max_bytes)

    def abort(self) -> None:
        """Return nothing more, and wake up a waiting reader."""
        self._aborted = not self._ended
        if self._pause is not None:
            self._pause.cancel()

    async def _wait(self) -> None:
        pause_ms = self._pieces[-1].at_ms - self._now_ms if self._pieces and self._pace else 0
        if not pause_ms or self._aborted:
            await anyio.lowlevel.checkpoint()
            return
        with anyio.CancelScope() as self._pause:
            await self._sleep(self._pace * pause_ms / 1000)
        self._pause = None


async def _read(response: _Recorded | _Played, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        while data := await response.receive():
            size += len(data)
            if size > max_bytes:
                raise ProtocolError(
                    f"the body of the response is longer than the {max_bytes} bytes allowed.", sent=True
                )
            pieces.append(data)
    except BaseException:
        response.abort()
        raise
    return b"".join(pieces)
