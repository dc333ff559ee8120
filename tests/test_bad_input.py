"""Bad input and bad peers: each ends in an error of our tree that says what happened and what to do next."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from rawserver import RawConnection, RawServer

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    BedrockError,
    ConnectError,
    ConnectionLostError,
    Credentials,
    EventDecodeError,
    EventStreamError,
    FirstEventTimeoutError,
    InvalidModelIdError,
    InvalidRequestError,
    NameResolutionError,
    NoCredentialsError,
    ProfileNotFoundError,
    RedirectError,
    ResponseDecodeError,
    ServiceUnavailableError,
    Timeouts,
    TotalTimeoutError,
    UnexpectedContentTypeError,
)
from bedrock_async.eventstream import encode_frame
from bedrock_async.testing.frames import corrupted, event_frame, oversized_frame, truncated

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
KEYS = Credentials("AKIDEXAMPLE", "canary-secret")
PROMPT = "canary-prompt"
STREAM = b"content-type: application/vnd.amazon.eventstream\r\n"
JSON = b"content-type: application/json\r\n"
DELTA = event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}})
NOT_JSON = encode_frame(
    {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}, b'{"delta":'
)


def answer(body: bytes, headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole HTTP response."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def client_of(url: str, transport: str, **options: Any) -> BedrockClient:  # noqa: ANN401 - the client's own keywords
    """Return a client of that server which tries once."""
    settings: dict[str, Any] = {"credentials": KEYS, "retry": NO_RETRY, **options}
    return BedrockClient(region="us-east-1", endpoint_url=url, transport=transport, **settings)


def tells_the_next_step(error: BedrockError) -> None:
    """Hold an error to what all of them promise: a message, a next step, and nothing confidential."""
    text = str(error)
    assert error.message
    assert error.hint, f"{type(error).__name__} has no next step: {text}"
    assert error.hint in text
    assert "canary" not in text + repr(error)


@pytest.fixture(params=["native", "aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every promise here holds for every transport."""
    name: str = request.param
    return name


BAD_STREAMS: dict[str, tuple[bytes, type[BedrockError]]] = {
    "malformed JSON in a frame": (answer(DELTA + NOT_JSON, STREAM), EventDecodeError),
    "wrong CRC": (answer(DELTA + corrupted(DELTA), STREAM), EventStreamError),
    "wrong prelude CRC": (answer(DELTA + corrupted(DELTA, prelude=True), STREAM), EventStreamError),
    "frame longer than the limit": (answer(DELTA + oversized_frame(), STREAM), EventStreamError),
    "frame cut by EOF": (answer(DELTA + truncated(DELTA), STREAM), EventStreamError),
    "HTML error page": (
        answer(b"<html>Bad gateway</html>", b"content-type: text/html\r\n", b"502 Bad Gateway"),
        ServiceUnavailableError,
    ),
    "redirect": (answer(b"", b"location: https://example.com/\r\n", b"301 Moved"), RedirectError),
    "wrong content type": (answer(b"{}", JSON), UnexpectedContentTypeError),
    "connection cut in the body": (answer(DELTA, STREAM)[:-20], ConnectionLostError),
    "no answer at all": (b"", ConnectionLostError),
}
BAD_ANSWERS: dict[str, tuple[bytes, type[BedrockError]]] = {
    "malformed JSON": (answer(b'{"output": ', JSON), ResponseDecodeError),
    "empty body": (answer(b"", JSON), ResponseDecodeError),
    "JSON of another kind": (answer(b'{"output": {"message": 7}}', JSON), ResponseDecodeError),
    "HTML page": (answer(b"<html></html>", b"content-type: text/html\r\n"), UnexpectedContentTypeError),
    "HTML error page": BAD_STREAMS["HTML error page"],
    "redirect": BAD_STREAMS["redirect"],
    "connection cut in the body": (answer(b"{}" * 50, JSON)[:-20], ConnectionLostError),
    "no answer at all": (b"", ConnectionLostError),
}


def script_of(response: bytes) -> Callable[[RawConnection], Any]:
    """Return a script that gives this answer to every request, and closes."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(response)
        peer.end()

    return script


@pytest.mark.parametrize("case", BAD_STREAMS)
async def test_bad_stream(case: str, transport: str) -> None:
    """A stream that breaks raises the error of its fault, with what had arrived before it."""
    response, kind = BAD_STREAMS[case]
    async with RawServer(script_of(response)) as server, client_of(server.url, transport) as client:
        with pytest.raises(kind) as caught:
            await client.stream(MODEL, PROMPT).get_final_response()
    tells_the_next_step(caught.value)
    if DELTA in response:
        assert getattr(caught.value, "partial_response").text == "Hello"  # noqa: B009


@pytest.mark.parametrize("case", BAD_ANSWERS)
async def test_bad_answer(case: str, transport: str) -> None:
    """An answer that is not the service's raises the error of its fault."""
    response, kind = BAD_ANSWERS[case]
    async with RawServer(script_of(response)) as server, client_of(server.url, transport) as client:
        with pytest.raises(kind) as caught:
            await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


async def test_a_server_that_says_nothing(transport: str) -> None:
    """Silence ends at the limit of the call or of the first event, and the connection is closed."""

    async def script(peer: RawConnection) -> None:
        await peer.closed.wait()

    limits = Timeouts(total_s=0.05, first_event_s=0.05)
    async with RawServer(script) as server, client_of(server.url, transport, timeouts=limits) as client:
        with pytest.raises(TotalTimeoutError) as whole:
            await client.converse(MODEL, PROMPT)
        with pytest.raises(FirstEventTimeoutError) as first:
            await anext(client.stream(MODEL, PROMPT))
        for connection in server.connections:
            await connection.closed.wait()
        assert len(server.connections) <= 2  # none is repeated; on a busy machine connecting takes that long
    tells_the_next_step(whole.value)
    tells_the_next_step(first.value)


async def test_a_name_that_does_not_resolve(transport: str) -> None:
    """DNS failure names the host."""
    async with client_of("https://bedrock.invalid", transport) as client:
        with pytest.raises(NameResolutionError, match=r"bedrock\.invalid") as caught:
            await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


async def test_a_port_where_nobody_listens(transport: str) -> None:
    """A refused connection names host and port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}", transport) as client:
            with pytest.raises(ConnectError, match=str(port)) as caught:
                await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


async def test_a_server_without_tls(transport: str) -> None:
    """A TLS handshake with a server that speaks plain HTTP fails as what it is."""

    async def script(peer: RawConnection) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        peer.end()

    async with RawServer(script) as server, client_of(server.url.replace("http:", "https:"), transport) as client:
        with pytest.raises(ConnectError) as caught:
            await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


async def test_a_missing_profile() -> None:
    """A profile that is nowhere is named; nothing is sent."""
    async with client_of("http://127.0.0.1:9", "aiohttp", credentials=None, profile="nowhere") as client:
        with pytest.raises(ProfileNotFoundError, match="nowhere") as caught:
            await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


async def test_no_credentials_at_all() -> None:
    """Without any credentials the error says how to get some."""
    async with client_of("http://127.0.0.1:9", "aiohttp", credentials=None) as client:
        with pytest.raises(NoCredentialsError) as caught:
            await client.converse(MODEL, PROMPT)
    tells_the_next_step(caught.value)


BAD_ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any], type[BedrockError], str]] = [
    ((MODEL, PROMPT), {"max_token": 5}, InvalidRequestError, "Did you mean 'max_tokens'"),
    ((MODEL, [{"role": "assistent", "content": []}]), {}, InvalidRequestError, "Did you mean 'assistant'"),
    ((MODEL, [{"role": "user", "content": "hi"}]), {}, InvalidRequestError, r"messages\[0\].content"),
    ((None, PROMPT), {}, InvalidModelIdError, "None"),
    (("", PROMPT), {}, InvalidModelIdError, "empty"),
    ((MODEL, 7), {}, InvalidRequestError, "int"),
    ((MODEL, {"role": "user"}), {}, InvalidRequestError, "list of messages"),
]


@pytest.mark.parametrize(("arguments", "settings", "kind", "says"), BAD_ARGUMENTS)
async def test_bad_arguments(
    arguments: tuple[Any, ...], settings: dict[str, Any], kind: type[BedrockError], says: str
) -> None:
    """Wrong arguments are refused by every verb before anything is sent, with the way to mend them."""
    async with client_of("http://127.0.0.1:9", "aiohttp") as client:
        verbs: list[Callable[..., Any]] = [client.prepare, client.stream, client.converse]
        for verb in verbs:
            with pytest.raises(kind, match=says) as caught:
                await verb(*arguments, **settings)
            tells_the_next_step(caught.value)
