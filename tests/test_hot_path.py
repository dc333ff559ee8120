"""What an event and a call may cost, counted and not timed: no machine, and no other load on it, changes these."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from types import FrameType
from typing import Final, Self

import pytest
from typing_extensions import override

from bedrock_async import BedrockClient, Credentials
from bedrock_async.calls import OpenStream
from bedrock_async.events import ContentBlockDeltaEvent, ConverseEventDecoder, Event
from bedrock_async.eventstream import EventStreamDecoder
from bedrock_async.folding import ResponseAccumulator
from bedrock_async.stream import ResponseStream
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import Padding, event_frame
from bedrock_async.transport import WireRequest, WireResponse
from bedrock_async.transport._http1 import Connection
from bedrock_async.types import ResponseMeta

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}

EVENTS: Final = 1_000
PIECE_BYTES: Final = 8_192

ANSWER: Final = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 1},
    }
).encode()
TRACED: Final = json.dumps(
    {
        **json.loads(ANSWER),
        "stopReason": "guardrail_intervened",
        "trace": {"guardrail": {"inputAssessment": {"g": {"wordPolicy": {"customWords": [{"action": "BLOCKED"}]}}}}},
    }
).encode()

# What is allowed, and what it was when it was written down (CPython 3.11 to 3.13). A change that needs more says why.
PYTHON_CALLS_PER_PIECE: Final = 5.2  # 5
C_CALLS_PER_DECODED_EVENT: Final = 9.1  # 9: two lengths, two checksums, two appends, the look-up, decode, payload
PYTHON_CALLS_PER_HANDED_EVENT: Final = 2.1  # `__anext__` and `text`
BLOCKS_PER_KEPT_EVENT: Final = 5.1  # the event, its delta, the text, the payload
PYTHON_CALLS_PER_LONE_FRAME: Final = 2  # of the event decoder, and of the frame decoder
C_CALLS_PER_LONE_FRAME: Final = 8.1  # 8: the length, two look-ups, the checksum and its field, decode, payload, append
PYTHON_CALLS_PER_LONE_EVENT: Final = 11.1  # 11: 2 of the connection, 2 of its response, 2 to decode, 5 of the stream
FRAMES_TO_TRANSPORT: Final = 3
PYTHON_CALLS_PER_CONVERSE: Final = 97  # 94
PYTHON_CALLS_PER_OPENED_STREAM: Final = 148  # 143, the first event included
MODULES_OF_PACKAGE: Final = 4  # the package, its version, its lazy names, __future__
MODULES_OF_CLIENT: Final = 285  # 274 on 3.11, 257 on 3.13; 170 and 155 are pydantic's, anyio's and their needs


def stream_frames(deltas: int, text: str = " word") -> list[bytes]:
    """Return the frames of a stream with that many text deltas."""
    padding = Padding()
    return [
        event_frame("messageStart", {"role": "assistant"}, padding=padding.next()),
        *(
            event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}, padding=padding.next())
            for _ in range(deltas)
        ),
        event_frame("contentBlockStop", {"contentBlockIndex": 0}, padding=padding.next()),
        event_frame("messageStop", {"stopReason": "end_turn"}, padding=padding.next()),
        event_frame("metadata", {"usage": {}, "metrics": {"latencyMs": 1}}, padding=padding.next()),
    ]


def cut(data: bytes, size: int = PIECE_BYTES) -> list[bytes]:
    """Return the data in pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


class Calls:
    """Counts the functions that are called while it is entered, in this thread."""

    def __init__(self) -> None:
        self.python = 0
        self.c = 0

    def __enter__(self) -> Self:
        gc.disable()  # a collection would call the callbacks of others
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _count(self, _frame: FrameType, what: str, _argument: object) -> None:
        if what == "call":
            self.python += 1
        elif what == "c_call":
            self.c += 1


def client_of(*responses: CannedResponse) -> tuple[BedrockClient, CannedTransport]:
    """Return a client whose transport gives these answers."""
    transport = CannedTransport(responses)
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)
    return client, transport


def streamed(deltas: int, piece_bytes: int = PIECE_BYTES) -> CannedResponse:
    """Return a stream of that many deltas."""
    return CannedResponse(cut(b"".join(stream_frames(deltas)), piece_bytes), headers=STREAM)


# -- decoding


def decode(pieces: Iterable[bytes]) -> list[Event]:
    """Decode a whole stream."""
    decoder = ConverseEventDecoder()
    events: list[Event] = []
    for piece in pieces:
        events += decoder.receive(piece)
    return events


def decoding_calls(pieces: list[bytes]) -> Calls:
    """Count the calls of decoding a stream."""
    decode(pieces)  # remembers the header blocks
    with Calls() as calls:
        events = decode(pieces)
    assert len(events) > EVENTS
    return calls


def test_decoding_calls_no_python_function_per_event() -> None:
    """Between the bytes and the typed event there is one loop, and functions of C that it calls."""
    once, twice = (decoding_calls([b"".join(stream_frames(deltas))]) for deltas in (EVENTS, 2 * EVENTS))
    assert twice.python == once.python
    assert (twice.c - once.c) / EVENTS <= C_CALLS_PER_DECODED_EVENT


def test_decoding_calls_few_python_functions_per_piece() -> None:
    """A piece that holds no whole frame costs no more than one that holds many."""
    whole = b"".join(stream_frames(EVENTS))
    few, many = cut(whole, PIECE_BYTES), cut(whole, 100)
    more = decoding_calls(many).python - decoding_calls(few).python
    assert more / (len(many) - len(few)) <= PYTHON_CALLS_PER_PIECE


def test_a_frame_that_comes_alone_is_decoded_by_two_functions() -> None:
    """Most events are a read of their own: there is no loop, no list to empty, and no second look."""
    once, twice = (decoding_calls(stream_frames(deltas)) for deltas in (EVENTS, 2 * EVENTS))
    assert (twice.python - once.python) / EVENTS <= PYTHON_CALLS_PER_LONE_FRAME
    assert (twice.c - once.c) / EVENTS <= C_CALLS_PER_LONE_FRAME


def test_an_event_is_few_objects() -> None:
    """The event, its delta, its text and its payload: nothing else of a frame stays."""
    pieces = cut(b"".join(stream_frames(EVENTS)))
    kept = decode(pieces)
    gc.collect()
    del kept
    gc.collect()
    before = sys.getallocatedblocks()
    kept = decode(pieces)
    blocks = sys.getallocatedblocks() - before
    assert blocks / len(kept) <= BLOCKS_PER_KEPT_EVENT


# -- handing out


async def handing_out_calls(deltas: int) -> Calls:
    """Count the calls of reading the text of a stream that arrived in one piece."""
    client, _ = client_of(streamed(10), streamed(deltas, piece_bytes=10**7))
    async for event in client.stream(MODEL, "Hello."):
        assert event.type
    stream = client.stream(MODEL, "Hello.")
    characters = 0
    async with stream:
        with Calls() as calls:
            async for event in stream:
                text = event.text
                if text is not None:
                    characters += 5
    assert characters == 5 * deltas
    return calls


async def test_handing_out_calls_one_coroutine_and_one_property_per_event() -> None:
    """``async for`` and ``event.text`` are all that runs for an event that has arrived."""
    once, twice = await handing_out_calls(EVENTS), await handing_out_calls(2 * EVENTS)
    assert (twice.python - once.python) / EVENTS <= PYTHON_CALLS_PER_HANDED_EVENT


async def test_events_that_have_arrived_are_handed_out_without_a_wait() -> None:
    """No event of a piece costs a turn of the loop: each `__anext__` ends at its first step."""
    client, _ = client_of(streamed(EVENTS, piece_bytes=10**7))
    stream = client.stream(MODEL, "Hello.")
    turned = asyncio.Event()
    async with stream:
        asyncio.get_running_loop().call_soon(turned.set)
        for _ in range(EVENTS):
            with pytest.raises(StopIteration):
                anext(stream).__await__().__next__()
        assert not turned.is_set()
        assert len([event async for event in stream]) == 4


async def test_a_piece_is_read_with_one_receive() -> None:
    """The transport is asked once for each piece, and once more at the end: not for each event."""
    pieces = cut(b"".join(stream_frames(EVENTS)))
    counted = CountedResponse(pieces, headers=STREAM)
    client, _ = client_of(counted)
    assert len([event async for event in client.stream(MODEL, "Hello.")]) == EVENTS + 4
    assert counted.receives == len(pieces) + 1


class CountedResponse(CannedResponse):
    """Counts how often it is read."""

    receives = 0

    @override
    async def receive(self) -> bytes:
        self.receives += 1
        return await super().receive()


class CallsOfOurs(Calls):
    """Counts the functions of the package."""

    @override
    def _count(self, _frame: FrameType, what: str, _argument: object) -> None:
        name: object = _frame.f_globals.get("__name__")
        if isinstance(name, str) and name.startswith("bedrock_async."):
            super()._count(_frame, what, _argument)


class Silent(asyncio.Transport):
    """A transport to nowhere."""

    @override
    def write(self, data: object) -> None:
        pass

    @override
    def get_write_buffer_size(self) -> int:
        return 0

    @override
    def abort(self) -> None:
        pass


class Pool:
    """Lets connections come and go."""

    def freed(self, connection: Connection) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        pass


async def test_an_event_that_comes_alone_calls_few_functions_between_the_socket_and_the_caller() -> None:
    """The connection, its response, the decoder and the stream: with asyncio's, all that runs for one read."""
    buffer = memoryview(bytearray(2**16))
    connection = Connection(Pool(), asyncio.get_running_loop(), peer="here:1", buffer=buffer)
    connection.connection_made(Silent())

    def arrive(data: bytes) -> None:
        buffer[: len(data)] = data
        connection.buffer_updated(len(data))

    async def opener() -> tuple[OpenStream[Event], ResponseMeta]:
        response = connection.start("POST", b"", b"")
        arrive(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        return OpenStream[Event]((), response, ConverseEventDecoder()), ResponseMeta()

    stream = ResponseStream(opener, idle_s=60.0)

    async def reading(frames: Iterable[bytes]) -> None:
        for frame in frames:
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)  # it waits
            arrive(b"%x\r\n%b\r\n" % (len(frame), frame))
            await task

    async with stream:
        start, *deltas = stream_frames(200)[:-3]
        await reading([start, *deltas[:10]])  # remembers lengths and header blocks
        with CallsOfOurs() as calls:
            await reading(deltas[:190])
    assert calls.python / 190 <= PYTHON_CALLS_PER_LONE_EVENT


# -- the way to the transport


class Watched(CannedTransport):
    """Notes the stack of every send."""

    stacks: list[list[str]]

    @override
    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        self.stacks.append(list(functions_below(sys._getframe(1))))
        return await super().send(request, connect_timeout_s=connect_timeout_s)


def functions_below(frame: FrameType | None) -> Iterator[str]:
    """Return the functions of ours on the stack, the innermost first."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("bedrock_async."):
            yield f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back


@pytest.mark.parametrize(
    ("verb", "send_loop"), [("converse", "bedrock_async.calls._send"), ("stream", "bedrock_async.calls.open_stream")]
)
async def test_few_frames_lie_between_the_send_loop_and_the_transport(verb: str, send_loop: str) -> None:
    """What a request passes on its way to the wire can be held in the head."""
    answer = CannedResponse([ANSWER]) if verb == "converse" else streamed(1)
    transport = Watched([answer])
    transport.stacks = []
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)
    if verb == "converse":
        await client.converse(MODEL, "Hello.")
    else:
        assert [event async for event in client.stream(MODEL, "Hello.")]
    (stack,) = transport.stacks
    assert stack.index(send_loop) <= FRAMES_TO_TRANSPORT, stack


async def test_a_call_calls_no_more_functions_than_it_did() -> None:
    """From the verb to the transport and back: validate, sign, send, parse."""
    client, _ = client_of(CannedResponse([ANSWER]), CannedResponse([ANSWER]))
    await client.converse(MODEL, "Hello.", max_tokens=100)
    with Calls() as calls:
        reply = await client.converse(MODEL, "Hello.", max_tokens=100)
    assert reply.text == "Hello."
    assert calls.python <= PYTHON_CALLS_PER_CONVERSE


async def test_opening_a_stream_calls_no_more_functions_than_it_did() -> None:
    """From the verb to the first event."""
    client, _ = client_of(streamed(1), streamed(1))
    assert [event async for event in client.stream(MODEL, "Hello.", max_tokens=100)]
    with Calls() as calls:
        async with client.stream(MODEL, "Hello.", max_tokens=100) as stream:
            await anext(stream)
    assert calls.python <= PYTHON_CALLS_PER_OPENED_STREAM


# -- what gets imported

HEAVY: Final = frozenset(
    {"aiobotocore", "aiohttp", "boto3", "botocore", "httpcore", "httpx", "httpx2", "uvloop", "yarl"}
)
"""What the default client has no use for; each costs tens of milliseconds."""


ONLY_FOR_SOME: Final = frozenset(
    {
        *("bidirectional", "bound_model", "continuing", "control_plane", "conversation", "counting", "hooks", "jobs"),
        *("limiting", "media", "outputs", "routing", "targets", "tasks", "tool_loop"),
        *("families._tasks", "features.cache_plan", "features.hints", "features.structured", "features.tasks"),
        *("providers.async_invoke", "providers.invoke", "providers.polling"),
        *("resilience.breaker", "resilience.continuation", "resilience.failover", "resilience.rate_limit"),
        *("types.async_invoke", "types.control_plane", "types.guardrail_operations", "types.guardrails"),
        *("types.invoke", "types.tokens"),
    }
)
"""What a client that only talks has no use for; together it took as long as the rest of the package."""


def fresh(program: str) -> dict[str, list[str]]:
    """Run a program in an interpreter with nothing but asyncio loaded; return what it prints as JSON."""
    whole = "import asyncio, sys\nbefore = set(sys.modules)\n" + textwrap.dedent(program)
    finished = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    printed: dict[str, list[str]] = json.loads(finished.stdout)
    return printed


def test_importing_the_package_loads_nothing_else() -> None:
    """Names are imported when they are used."""
    loaded = fresh("""
        import bedrock_async
        after = set(sys.modules)
        import json
        print(json.dumps({"modules": sorted(after - before)}))
    """)["modules"]
    assert len(loaded) <= MODULES_OF_PACKAGE, loaded


COLD: Final = """
    import threading
    loop_thread = threading.get_ident()
    imported = []
    calling = False

    def note(event, arguments):
        if event == "import" and calling and threading.get_ident() == loop_thread:
            imported.append(arguments[0])

    sys.addaudithook(note)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:"))
        asked = await reader.readexactly(length)
        kind, body = STREAM if b"converse-stream" in head else TRACED if b"guardrailConfig" in asked else JSON
        head = b"HTTP/1.1 200 OK\\r\\ncontent-type: %b\\r\\ncontent-length: %d\\r\\n\\r\\n" % (kind, len(body))
        writer.write(head + body)
        await serve(reader, writer)

    async def main():
        global calling
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        from bedrock_async import BedrockClient, Credentials
        client = BedrockClient(
            region="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", credentials=Credentials("id", "secret")
        )
        loaded = set(sys.modules) - before
        calling = True
        assert (await client.converse("amazon.nova-lite-v1:0", "Hello.")).text
        assert [event async for event in client.stream("amazon.nova-lite-v1:0", "Hello.")]
        plain = set(imported)
        guardrail = {"guardrail_identifier": "g", "guardrail_version": "1", "trace": "enabled"}
        traced = await client.converse("amazon.nova-lite-v1:0", "Hello.", guardrail=guardrail)
        assert traced.guardrail.blocked
        calling = False
        await client.aclose()
        return loaded, plain, set(imported) - plain

    loaded, plain, traced = asyncio.run(main())
    import json
    print(json.dumps({"client": sorted(loaded), "call": sorted(plain), "traced": sorted(traced)}))
"""


@pytest.fixture(scope="module")
def cold() -> dict[str, list[str]]:
    """Make a client, and its first calls, in a fresh process: what the client loaded, and what the calls did."""
    stream = b"".join(stream_frames(3))
    answers = f"""
JSON = (b'application/json', {ANSWER!r})
TRACED = (b'application/json', {TRACED!r})
STREAM = ({STREAM["content-type"].encode()!r}, {stream!r})
"""
    return fresh(answers + textwrap.dedent(COLD))


def test_the_first_client_loads_nothing_heavy(cold: dict[str, list[str]]) -> None:
    """A client with static credentials needs no SDK of AWS and no second HTTP library, and few modules in all."""
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in cold["client"])
    assert len(cold["client"]) <= MODULES_OF_CLIENT


def test_a_client_loads_only_what_talking_needs(cold: dict[str, list[str]]) -> None:
    """What belongs to other verbs and options is imported by those, and by the names that are used for them."""
    assert ONLY_FOR_SOME.isdisjoint(name.removeprefix("bedrock_async.") for name in cold["client"])


def test_the_first_calls_import_nothing_on_the_loop(cold: dict[str, list[str]]) -> None:
    """What has to be imported was imported with the client: the loop of a service never waits for the disk."""
    assert cold["call"] == []


def test_what_reads_traces_of_guardrails_is_imported_beside_the_loop(cold: dict[str, list[str]]) -> None:
    """Its dozens of classes come with the first call that names a guardrail, in a thread."""
    assert [name for name in cold["traced"] if name.startswith(("bedrock_async", "pydantic"))] == []


# -- bytes copied


class Allocations:
    """Sums up the bytes that steps allocate, also those that are freed at once: what was copied is among them."""

    def __init__(self) -> None:
        self.total_bytes = 0

    @contextmanager
    def step(self) -> Generator[None]:
        """Count what happens in the block."""
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
        self.total_bytes += peak - before


@pytest.fixture
def traced() -> Iterator[None]:
    """Let the interpreter know every allocation."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated(steps: Iterable[Callable[[], object]]) -> int:
    """Return the bytes that the steps allocate."""
    allocations = Allocations()
    for step in steps:
        with allocations.step():
            step()
    return allocations.total_bytes


@pytest.mark.usefixtures("traced")
def test_the_measure_sees_quadratic_copying() -> None:
    """Twice the pieces, four times the bytes: what the tests below would see."""

    def joining(pieces: int) -> int:
        whole = [""]

        def add(piece: str) -> None:
            before = whole[0]
            whole[0] = before + piece

        return allocated([partial(add, "x" * 100)] * pieces)

    assert joining(1_000) > 3.5 * joining(500)


def long_blocks(pieces: int) -> list[Event]:
    """Return so many deltas of one block."""
    events = decode(cut(b"".join(stream_frames(pieces, "x" * 100))))
    return [event for event in events if isinstance(event, ContentBlockDeltaEvent)]


@pytest.mark.usefixtures("traced")
def test_folding_a_long_block_copies_each_byte_a_bounded_number_of_times() -> None:
    """Twice the pieces of a block, twice the bytes, the response included."""

    def folding(pieces: int) -> int:
        accumulator = ResponseAccumulator()
        steps = (partial(accumulator.add, event) for event in long_blocks(pieces))
        return allocated(chain(steps, [accumulator.response]))

    assert folding(4_000) < 2.5 * folding(2_000)


@pytest.mark.usefixtures("traced")
async def test_reading_a_long_stream_copies_each_byte_a_bounded_number_of_times() -> None:
    """A stream of twice the length that arrives event by event costs twice the bytes."""

    async def reading(pieces: int) -> int:
        client, _ = client_of(CannedResponse(stream_frames(pieces, "x" * 100), headers=STREAM))
        allocations = Allocations()
        async with client.stream(MODEL, "Hello.") as stream:
            for _ in range(pieces):
                with allocations.step():
                    await anext(stream)
        return allocations.total_bytes

    assert await reading(2_000) < 2.5 * await reading(1_000)


@pytest.mark.usefixtures("traced")
def test_a_long_frame_in_small_pieces_is_copied_a_bounded_number_of_times() -> None:
    """A frame of twice the length, in twice the pieces, costs twice the bytes."""

    def splitting(size: int) -> int:
        decoder = EventStreamDecoder()
        frame = event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x" * size}})
        return allocated(partial(decoder.receive_data, piece) for piece in cut(frame, 1_000))

    assert splitting(2_000_000) < 2.5 * splitting(1_000_000)
