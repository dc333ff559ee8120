"""Faults between client and service: every call ends in an answer or a typed error, and no text is lost or doubled."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, Final, cast

import pytest
from transports import client_tls, server_tls, turns

from bedrock_async import (
    BedrockClient,
    BedrockError,
    CallTimeoutError,
    ConverseResponse,
    Credentials,
    EventStreamError,
    InvalidRequestError,
    ResponseDecodeError,
    ServiceError,
    StandardRetry,
    StreamError,
    Timeouts,
    TransportError,
)
from bedrock_async.testing import BedrockEmulator, Chaos, Fault, ReceivedRequest, ScriptedModel, text_events
from bedrock_async.transport import AiohttpTransport, HttpxTransport, NativeTransport, Transport

MODEL: Final = "us.amazon.nova-lite-v1:0"
AT_ONCE: Final = StandardRetry(base_delay_s=0.0, model_not_ready_delay_s=(0.0, 0.0))
ONE_ATTEMPT: Final = StandardRetry(max_attempts=1, model_not_ready_attempts=1)
# Only what is silent waits for these.
SHORT: Final = Timeouts(connect_s=5.0, first_event_s=1.0, idle_s=1.0, total_s=1.0)
# Where thousands of calls are under way, the others shall not meet their limit when the machine pauses.
PATIENT: Final = Timeouts(connect_s=10.0, first_event_s=5.0, idle_s=5.0, total_s=5.0)
TYPED: Final = (ServiceError, TransportError, CallTimeoutError, StreamError, EventStreamError, ResponseDecodeError)

UNHARMED: Final = frozenset({Fault.LATENCY, Fault.TRICKLED})
ONLY_IN_STREAMS: Final = frozenset(
    {
        *(Fault.RESET_IN_FRAME, Fault.END_IN_FRAME, Fault.EARLY_END, Fault.OVERSIZED, Fault.EXCEPTION),
        *(Fault.DUPLICATED, Fault.REORDERED),
    }
)
# The events carry no number: what the service itself sends twice or in another order is handed on as it came.
AS_SENT: Final = frozenset({Fault.DUPLICATED, Fault.REORDERED})


def numbered(number: int) -> str:
    """Return a text that no other request is answered with."""
    return " ".join(f"{number}.{word}" for word in range(8))


def answer(request: ReceivedRequest) -> list[Any]:
    """Answer a question with the text of its number."""
    return list(text_events(numbered(asked(request))))


def asked(request: ReceivedRequest) -> int:
    """Return the number that a request asks for."""
    body = cast("Mapping[str, Any]", request.json())
    return int(body["messages"][0]["content"][0]["text"])


def made(kind: str, tls: ssl.SSLContext | None = None) -> Transport:
    """Return a transport of this kind."""
    makers: Mapping[str, Callable[[], Transport]] = {
        "native": lambda: NativeTransport(ssl_context=tls, trust_env=False),
        "aiohttp": lambda: AiohttpTransport(ssl_context=tls, trust_env=False),
        "httpx": lambda: HttpxTransport(ssl_context=tls, trust_env=False),
    }
    return makers[kind]()


def client_of(
    url: str,
    transport: Transport | None = None,
    *,
    retry: StandardRetry = ONE_ATTEMPT,
    timeouts: Timeouts | None = None,
) -> BedrockClient:
    """Return a client of the emulator."""
    keys = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(
        region="us-east-1", endpoint_url=url, credentials=keys, transport=transport, retry=retry, timeouts=timeouts
    )


def limits(fault: Fault) -> Timeouts | None:
    """Return short limits where they are what ends the call; a busy machine shall end no other."""
    return SHORT if "silence" in fault or fault is Fault.OVERSIZED else None


@pytest.fixture(params=["native", "aiohttp", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    """Every promise here holds for every transport."""
    transport = made(request.param)
    yield transport
    await transport.aclose()


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in ONLY_IN_STREAMS])
async def test_a_call_ends_in_its_answer_or_a_typed_error(fault: Fault, transport: Transport) -> None:
    """One attempt that meets the fault: right where the fault harms nothing, else an error of the tree."""
    async with BedrockEmulator([ScriptedModel(answer)], chaos=Chaos(choose=lambda _: fault)) as emulator:
        client = client_of(emulator.url, transport, timeouts=limits(fault))
        if fault in UNHARMED:
            assert (await client.converse(MODEL, "3")).text == numbered(3)
        else:
            with pytest.raises(TYPED) as caught:
                await client.converse(MODEL, "3")
            assert caught.value.hint
            (attempt,) = caught.value.attempts
            assert ("silence" in fault) == (attempt.code == "TotalTimeoutError")
        assert [each.fault for each in emulator.requests] == [fault.value]


@pytest.mark.parametrize("fault", Fault)
async def test_a_stream_ends_in_its_answer_or_a_typed_error(fault: Fault, transport: Transport) -> None:
    """What came before the fault is handed out as it was, and is on the error."""
    async with BedrockEmulator([ScriptedModel(answer)], chaos=Chaos(seed=1, choose=lambda _: fault)) as emulator:
        client = client_of(emulator.url, transport, timeouts=limits(fault))
        pieces: list[str] = []
        failure: BedrockError | None = None
        try:
            async for event in client.stream(MODEL, "5"):
                pieces.append(event.text or "")  # noqa: PERF401 - what came before a fault counts
        except TYPED as exc:
            failure = exc
    text = "".join(pieces)
    if fault in UNHARMED:
        assert (failure, text) == (None, numbered(5))
    elif fault not in AS_SENT:
        assert failure is not None
        assert failure.hint
        assert numbered(5).startswith(text)
        if pieces and isinstance(failure, ServiceError | StreamError | TransportError | CallTimeoutError):
            assert failure.partial_response is not None
            assert failure.partial_response.text == text


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in AS_SENT])
async def test_a_native_stream_ends_whole_or_in_a_typed_error(fault: Fault, transport: Transport) -> None:
    """The same holds for a model's native events; that some are missing, only who knows the model can tell."""
    model = ScriptedModel([], native=[{"number": number} for number in range(5)])
    async with BedrockEmulator([model], chaos=Chaos(seed=1, choose=lambda _: fault)) as emulator:
        client = client_of(emulator.url, transport, timeouts=limits(fault))
        numbers: list[int] = []
        failure: BedrockError | None = None
        try:
            async for piece in client.invoke_stream(MODEL, {}):
                numbers.append(cast("Mapping[str, int]", piece.json())["number"])  # noqa: PERF401 - see above
        except TYPED as exc:
            failure = exc
    assert numbers == list(range(len(numbers)))
    assert (failure is None) == (fault in UNHARMED or fault is Fault.EARLY_END)
    if fault in UNHARMED:
        assert len(numbers) == 5


@pytest.mark.parametrize("fault", [Fault.RESET_INSIDE, Fault.ABORT_INSIDE, Fault.EARLY_END, Fault.RESET_IN_FRAME])
@pytest.mark.parametrize("kind", ["native", "aiohttp", "httpx"])
async def test_over_tls_a_cut_stream_is_no_short_answer(fault: Fault, kind: str) -> None:
    """A connection that ends without close_notify, or in a frame, is an error and never the end of the answer."""
    transport = made(kind, client_tls())
    chaos = Chaos(seed=1, choose=lambda _: fault)
    async with BedrockEmulator([ScriptedModel(answer)], ssl_context=server_tls(), chaos=chaos) as emulator:
        client = client_of(emulator.url, transport)
        with pytest.raises(TYPED):
            async for _ in client.stream(MODEL, "5"):
                pass
    await transport.aclose()


async def test_after_each_fault_the_next_call_is_answered(transport: Transport) -> None:
    """No fault leaves a connection in the pool that spoils the next call."""
    faults = [fault for fault in Fault if "silence" not in fault]

    def choose(request: ReceivedRequest) -> Fault | None:
        return faults[asked(request)] if request.operation == "ConverseStream" else None

    async with BedrockEmulator([ScriptedModel(answer)], chaos=Chaos(choose=choose)) as emulator:
        client = client_of(emulator.url, transport)
        for number, fault in enumerate(faults):
            try:
                async for _ in client.stream(MODEL, str(number)):
                    pass
            except TYPED:
                assert fault not in UNHARMED
            assert (await client.converse(MODEL, str(number))).text == numbered(number)


def every_fifth() -> Chaos:
    """Return a chaos in which one of five calls, and one of five streams, meets the next of all the faults there are.

    By turns and not by chance: which task asks when is up to the machine, and each fault is to be met on every one.
    """
    faults = [fault for fault in Fault if fault not in AS_SENT]
    next_of: dict[str | None, Iterator[Fault | None]] = {
        "Converse": _in_turn(fault for fault in faults if fault not in ONLY_IN_STREAMS),
        "ConverseStream": _in_turn(faults),
    }
    return Chaos(choose=lambda request: next(next_of[request.operation]), latency_s=0.0)


def _in_turn(faults: Iterable[Fault]) -> Iterator[Fault | None]:
    """Return the faults, each after four requests without one; those that take seconds come once in eight rounds."""
    found = [*faults]
    silent, others = ([fault for fault in found if ("silence" in fault) is which] for which in (True, False))
    return cycle([each for fault in (*silent, *others * 8) for each in (None, None, None, None, fault)])


def once(fault: Fault) -> Chaos:
    """Return a chaos of one request."""
    faults = iter([fault, None])
    return Chaos(choose=lambda _: next(faults))


async def test_what_may_be_repeated_is_repeated() -> None:
    """A call that meets a passing fault is answered by the second attempt, and the response shows both."""
    passing = [Fault.THROTTLED, Fault.SERVER_ERROR, Fault.UNAVAILABLE, Fault.MODEL_NOT_READY, Fault.RESET_BEFORE_HEAD]
    for fault in passing:
        async with BedrockEmulator([ScriptedModel(answer)], chaos=once(fault)) as emulator:
            reply = await client_of(emulator.url, retry=AT_ONCE).converse(MODEL, "1")
        assert (reply.text, len(reply.meta.attempts)) == (numbered(1), 2)


async def test_thousands_of_calls_through_a_mix_of_faults() -> None:
    """5,000 calls and 500 streams of which a fifth meets a fault: each ends in time, right or with a typed error.

    No text is lost or doubled, and no task, connection or descriptor is left.
    """
    tasks, descriptors = len(asyncio.all_tasks()), _descriptors()
    outcomes: Counter[str] = Counter()
    async with BedrockEmulator([ScriptedModel(answer)], chaos=every_fifth(), keep_requests=20_000) as emulator:
        async with client_of(emulator.url, retry=AT_ONCE, timeouts=PATIENT) as client:
            numbers = iter(range(5_500))

            async def work() -> None:
                for number in numbers:
                    call = stream if number % 11 == 0 else converse
                    # Attempts and their limits, and a second for a machine that is busy with something else.
                    async with asyncio.timeout(60):
                        outcomes[await call(client, number)] += 1

            async with asyncio.TaskGroup() as group:
                for _ in range(64):
                    group.create_task(work())
        met = Counter(each.fault for each in emulator.requests)
    assert outcomes.total() == 5_500
    assert outcomes["answered"] > 5_000
    assert met.keys() >= {fault.value for fault in Fault if fault not in AS_SENT}
    async with asyncio.timeout(30):
        while len(asyncio.all_tasks()) > tasks or _descriptors() > descriptors:
            await turns(1)
    assert len(asyncio.all_tasks()) == tasks


async def converse(client: BedrockClient, number: int) -> str:
    """Make a call and hold its answer to what was asked."""
    try:
        reply: ConverseResponse = await client.converse(MODEL, str(number))
    except TYPED as exc:
        return type(exc).__name__
    assert reply.text == numbered(number)
    return "answered"


async def stream(client: BedrockClient, number: int) -> str:
    """Read a stream and hold what it brings to what was asked."""
    pieces: list[str] = []
    try:
        async for event in client.stream(MODEL, str(number)):
            pieces.append(event.text or "")  # noqa: PERF401 - what came before a fault counts
    except TYPED as exc:
        assert numbered(number).startswith("".join(pieces))
        return type(exc).__name__
    assert "".join(pieces) == numbered(number)
    return "answered"


def test_the_same_seed_makes_the_same_faults() -> None:
    """A failing run can be repeated."""
    requests = [ReceivedRequest(method="POST", path="/", operation="ConverseStream") for _ in range(200)]

    def met(seed: int) -> list[str | None]:
        chaos = Chaos(0.5, seed=seed)
        for request in requests:
            request.fault = None
            chaos.plan(request)
        return [request.fault for request in requests]

    assert met(7) == met(7) != met(8)
    assert 60 < sum(fault is not None for fault in met(7)) < 140


def test_calls_that_are_no_streams_meet_no_faults_of_streams() -> None:
    """A fault that only a stream can meet is not counted where there is none."""
    request = ReceivedRequest(method="POST", path="/", operation="Converse")
    chaos = Chaos(1.0, faults=[*ONLY_IN_STREAMS, Fault.THROTTLED])
    met: set[str | None] = set()
    for _ in range(100):
        chaos.plan(request)
        met.add(request.fault)
    assert met == {"throttled"}
    assert Chaos(1.0, faults=ONLY_IN_STREAMS).plan(request) is None


def test_wrong_arguments_are_refused() -> None:
    """A rate that is no share, and a fault that does not exist."""
    with pytest.raises(InvalidRequestError, match=r"1\.5"):
        Chaos(1.5)
    with pytest.raises(InvalidRequestError, match="no fault 'gremlins'"):
        Chaos(faults=["gremlins"])


def _descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
