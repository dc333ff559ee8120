"""The emulator as boto3 and aiobotocore see it: typed results, typed errors, streams frame by frame."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

import anyio
import pytest
from botocore.exceptions import ClientError, EventStreamError
from official_clients import OFFICIAL_CLIENTS, Connect, OfficialClient

from bedrock_async.errors import InvalidRequestError, service_error
from bedrock_async.testing import (
    BedrockEmulator,
    EmulatorModel,
    ReceivedRequest,
    ScriptedModel,
    text_events,
)
from bedrock_async.types import JSONValue

MODEL: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
MESSAGES: Final[list[Any]] = [{"role": "user", "content": [{"text": "Hi"}]}]


class Recorder:
    """An emulator model that keeps what it was given and waits where a test tells it to."""

    model_ids: Sequence[str] = (MODEL,)

    def __init__(self, events: Sequence[Mapping[str, JSONValue]] = ()) -> None:
        self.events = events or text_events("hello world")
        self.requests: list[Mapping[str, JSONValue]] = []
        self.bodies: list[bytes] = []
        self.pause_after = len(self.events)
        self.resume = asyncio.Event()
        self.iterator_closed = asyncio.Event()
        self.closed = False

    async def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncGenerator[Mapping[str, JSONValue]]:
        self.requests.append(request)
        try:
            for index, event in enumerate(self.events):
                if index == self.pause_after:
                    await self.resume.wait()
                yield event
        finally:
            self.iterator_closed.set()

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        self.requests.append(request)
        return len(json.dumps(dict(request)))

    async def invoke(self, body: bytes) -> bytes:
        self.bodies.append(body)
        return b'{"completion": "native", "usage": {"input_tokens": 3, "output_tokens": 5}}'

    async def invoke_stream(self, body: bytes) -> AsyncGenerator[bytes]:
        self.bodies.append(body)
        try:
            for index, chunk in enumerate((b'{"a": 1}', b'{"b":2}')):
                if index == self.pause_after:
                    await self.resume.wait()
                yield chunk
        finally:
            self.iterator_closed.set()

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture(params=list(OFFICIAL_CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return the function that opens one of the official clients."""
    return OFFICIAL_CLIENTS[request.param]


async def collect(events: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all events of a stream."""
    return [event async for event in events]


async def failure_of(client: OfficialClient, operation: str = "converse", **parameters: Any) -> ClientError:  # noqa: ANN401
    """Return the error that the call raises."""
    with pytest.raises(ClientError) as caught:
        await client.call(operation, **{"modelId": MODEL, "messages": MESSAGES, **parameters})
    return caught.value


async def test_converse_answers_with_the_folded_events(connect: Connect) -> None:
    """Converse gives the message, stop reason, usage and metrics of the model's events, with a request id."""
    async with BedrockEmulator([ScriptedModel.text("hello wörld 🎉")]) as emulator, connect(emulator.url) as client:
        reply = await client.call("converse", modelId=MODEL, messages=MESSAGES)
    assert reply["output"] == {"message": {"role": "assistant", "content": [{"text": "hello wörld 🎉"}]}}
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"] == {"inputTokens": 8, "outputTokens": 3, "totalTokens": 11}
    assert reply["metrics"] == {"latencyMs": 120}
    assert reply["ResponseMetadata"]["RequestId"] == emulator.requests[0].request_id


async def test_converse_stream_gives_the_events_without_their_padding(connect: Connect) -> None:
    """The official parsers read every event of the stream; the padding member is none of theirs."""
    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator, connect(emulator.url) as client:
        events = await collect(client.events("converse_stream", modelId=MODEL, messages=MESSAGES))
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert [event["contentBlockDelta"]["delta"]["text"] for event in events[1:3]] == ["hello", " world"]


async def test_a_tool_use_arrives_parsed_and_in_pieces(connect: Connect) -> None:
    """Converse has the tool's input as a document; the stream has its JSON in pieces."""
    document = {"city": "Zürich", "days": [1, 2]}
    async with (
        BedrockEmulator([ScriptedModel.tool_use("get_weather", {"city": "Zürich", "days": [1, 2]})]) as emulator,
        connect(emulator.url) as client,
    ):
        reply = await client.call("converse", modelId=MODEL, messages=MESSAGES)
        events = await collect(client.events("converse_stream", modelId=MODEL, messages=MESSAGES))
    assert reply["stopReason"] == "tool_use"
    (block,) = reply["output"]["message"]["content"]
    assert block["toolUse"]["name"] == "get_weather"
    assert block["toolUse"]["input"] == document
    assert events[1]["contentBlockStart"]["start"]["toolUse"]["toolUseId"] == block["toolUse"]["toolUseId"]
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    assert len(deltas) > 1
    assert json.loads("".join(delta["delta"]["toolUse"]["input"] for delta in deltas)) == document


async def test_invoke_model_passes_native_bodies_through(connect: Connect) -> None:
    """The model gets the body's bytes and its answer comes back unchanged, with the service's count headers."""
    model = Recorder()
    body = b'{"prompt":  "spacing is kept"}'
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        reply = await client.call("invoke_model", modelId=MODEL, body=body)
    assert model.bodies == [body]
    assert json.loads(reply["body"])["completion"] == "native"
    assert reply["contentType"] == "application/json"
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == "3"
    assert headers["x-amzn-bedrock-output-token-count"] == "5"
    assert headers["x-amzn-bedrock-invocation-latency"].isdigit()


async def test_a_native_answer_need_not_be_json(connect: Connect) -> None:
    """Whatever bytes the model answers with are sent, without count headers where there is nothing to count."""

    class Binary(Recorder):
        async def invoke(self, body: bytes) -> bytes:
            return b"\x89PNG" + body

    async with BedrockEmulator([Binary()]) as emulator, connect(emulator.url) as client:
        reply = await client.call("invoke_model", modelId=MODEL, body=b"{}")
    assert reply["body"] == b"\x89PNG{}"
    assert "x-amzn-bedrock-input-token-count" not in reply["ResponseMetadata"]["HTTPHeaders"]


async def test_invoke_streams_give_the_native_chunks(connect: Connect) -> None:
    """Each chunk of the model is one event with exactly its bytes."""
    async with BedrockEmulator([Recorder()]) as emulator, connect(emulator.url) as client:
        events = await collect(client.events("invoke_model_with_response_stream", modelId=MODEL, body=b"{}"))
    assert events == [{"chunk": {"bytes": b'{"a": 1}'}}, {"chunk": {"bytes": b'{"b":2}'}}]


async def test_a_scripted_model_speaks_the_nova_dialect_natively(connect: Connect) -> None:
    """Without a native script the invoke operations answer as the Nova models do."""
    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator, connect(emulator.url) as client:
        reply = await client.call("invoke_model", modelId=MODEL, body=b"{}")
        events = await collect(client.events("invoke_model_with_response_stream", modelId=MODEL, body=b"{}"))
    assert json.loads(reply["body"])["output"]["message"]["content"] == [{"text": "hello world"}]
    chunks = [json.loads(event["chunk"]["bytes"]) for event in events]
    assert chunks[1] == {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "hello"}}}
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 2


async def test_a_native_script_answers_the_invoke_operations(connect: Connect) -> None:
    """A chunk for each native object, and the last one as the whole answer."""
    native: list[Any] = [{"outputText": "a"}, {"outputText": "b", "completionReason": "FINISH"}]
    async with (
        BedrockEmulator([ScriptedModel(text_events("unused"), native=native)]) as emulator,
        connect(emulator.url) as client,
    ):
        reply = await client.call("invoke_model", modelId=MODEL, body=b"{}")
        events = await collect(client.events("invoke_model_with_response_stream", modelId=MODEL, body=b"{}"))
    assert json.loads(reply["body"]) == native[-1]
    assert [json.loads(event["chunk"]["bytes"]) for event in events] == native


async def test_count_tokens_counts_a_converse_request(connect: Connect) -> None:
    """The model counts the `converse` member of the request."""
    model = Recorder()
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        reply = await client.call("count_tokens", modelId=MODEL, input={"converse": {"messages": MESSAGES}})
    assert reply["inputTokens"] == len(json.dumps({"messages": MESSAGES}))
    assert model.requests == [{"messages": MESSAGES}]


async def test_count_tokens_of_a_native_body_needs_a_model_that_can(connect: Connect) -> None:
    """A model without count_invoke_tokens refuses; one with it is given the decoded body."""

    class Counting(Recorder):
        async def count_invoke_tokens(self, body: bytes) -> int:
            return len(body)

    native = {"invokeModel": {"body": b'{"prompt": 1}'}}
    async with BedrockEmulator([Recorder()]) as emulator, connect(emulator.url) as client:
        with pytest.raises(ClientError, match="ValidationException"):
            await client.call("count_tokens", modelId=MODEL, input=native)
    async with BedrockEmulator([Counting()]) as emulator, connect(emulator.url) as client:
        reply = await client.call("count_tokens", modelId=MODEL, input=native)
    assert reply["inputTokens"] == len(b'{"prompt": 1}')


async def test_the_model_gets_the_wire_request_without_nulls() -> None:
    """What reaches a model is the request's JSON: blobs in base64, unknown members kept, nulls gone."""
    model = Recorder()
    image = {"image": {"format": "png", "source": {"bytes": base64.b64encode(b"png").decode()}}}
    sent = {
        "messages": [{"role": "user", "content": [{"text": "Hi"}, image], "newMember": 1}],
        "system": None,
        "inferenceConfig": {"maxTokens": 5, "temperature": None},
        "tomorrow": {"kept": None},
    }
    async with BedrockEmulator([model]) as emulator:
        status, _, _ = await post(emulator, f"/model/{MODEL}/converse", json.dumps(sent).encode())
    assert status == 200
    (request,) = model.requests
    assert request["messages"] == sent["messages"]
    assert request["inferenceConfig"] == {"maxTokens": 5}
    assert request["tomorrow"] == {"kept": None}
    assert "system" not in request


async def post(
    emulator: BedrockEmulator, path: str, body: bytes, headers: Mapping[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Send one request as raw bytes on a connection of its own; return status, headers and the raw body."""
    reader, writer = await open_connection(emulator)
    try:
        fields = {"host": "localhost", "content-length": str(len(body)), "connection": "close", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        raw = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head_bytes, _, payload = raw.partition(b"\r\n\r\n")
    status_line, *lines = head_bytes.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(status_line.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, payload


async def open_connection(emulator: BedrockEmulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the emulator with a bare socket."""
    host, _, port = emulator.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDeniedException", 403),
        ("InternalServerException", 500),
        ("ModelErrorException", 424),
        ("ModelNotReadyException", 429),
        ("ModelTimeoutException", 408),
        ("ResourceNotFoundException", 404),
        ("ServiceUnavailableException", 503),
        ("ThrottlingException", 429),
        ("ValidationException", 400),
    ],
)
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
async def test_a_refusal_before_the_first_event_is_an_http_error(
    connect: Connect, operation: str, code: str, status: int
) -> None:
    """The official clients raise the modelled exception with code, message, status and request id."""
    model = ScriptedModel([service_error(code, "the reason")])
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        error = await failure_of(client, operation)
    assert type(error).__name__ == code
    assert error.response["Error"]["Code"] == code
    assert error.response["Error"]["Message"] == "the reason"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.response["ResponseMetadata"]["RequestId"] == emulator.requests[-1].request_id


@pytest.mark.parametrize(
    "code",
    [
        "internalServerException",
        "modelStreamErrorException",
        "serviceUnavailableException",
        "throttlingException",
        "validationException",
    ],
)
@pytest.mark.parametrize("operation", ["converse_stream", "invoke_model_with_response_stream"])
async def test_a_refusal_after_the_first_event_is_an_exception_frame(
    connect: Connect, operation: str, code: str
) -> None:
    """The official clients deliver the events before it, then raise EventStreamError with code and message."""
    model = ScriptedModel([*text_events("hello")[:2], service_error(code, "the reason")])
    parameters = {"messages": MESSAGES} if operation == "converse_stream" else {"body": b"{}"}
    received: list[dict[str, Any]] = []
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        with pytest.raises(EventStreamError) as caught:
            async for event in client.events(operation, modelId=MODEL, **parameters):
                received.append(event)  # noqa: PERF401 - what came before the error is the point
    assert len(received) == 2
    assert caught.value.response["Error"] == {"Code": code, "Message": "the reason"}


async def test_converse_turns_a_late_refusal_into_an_http_error(connect: Connect) -> None:
    """Where the answer is not a stream, an error after some events is still the answer's status."""
    model = ScriptedModel([*text_events("hello")[:3], service_error("ModelErrorException", "late")])
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        error = await failure_of(client)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 424


async def test_a_failing_model_is_an_internal_server_error(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A model that raises anything else than a ServiceError answers 500, and its traceback is in the log."""

    class Broken(Recorder):
        async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
            raise LookupError(str(len(request)))

    async with BedrockEmulator([Broken()]) as emulator, connect(emulator.url) as client:
        with pytest.raises(ClientError) as caught:
            await client.call("count_tokens", modelId=MODEL, input={"converse": {"messages": MESSAGES}})
    assert caught.value.response["Error"]["Code"] == "InternalServerException"
    assert "LookupError" in caught.value.response["Error"]["Message"]
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
async def test_a_models_own_connection_error_is_told_too(connect: Connect, operation: str) -> None:
    """A model that lost a connection of its own fails like any other; the client's connection is not to blame."""

    class Proxy(Recorder):
        async def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncGenerator[Mapping[str, JSONValue]]:
            if request:
                raise ConnectionResetError(str(len(request)))
            yield {}

    async with BedrockEmulator([Proxy()]) as emulator, connect(emulator.url) as client:
        error = await failure_of(client, operation)
    assert error.response["Error"]["Code"] == "InternalServerException"


async def test_a_malformed_event_inside_a_stream_is_an_internal_exception_frame(connect: Connect) -> None:
    """An event that is no one-key object ends the stream with internalServerException."""
    model = ScriptedModel([*text_events("hello")[:1], {"messageStop": {}, "metadata": {}}])
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        with pytest.raises(EventStreamError, match="internalServerException"):
            await collect(client.events("converse_stream", modelId=MODEL, messages=MESSAGES))


async def test_every_frame_is_flushed_when_it_is_made(connect: Connect) -> None:
    """A client has the first events while the model is still waiting to make the next one."""
    model = Recorder(text_events("one two"))
    model.pause_after = 2
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:
        texts: list[str] = []
        async for event in client.events("converse_stream", modelId=MODEL, messages=MESSAGES):
            if "contentBlockDelta" in event:
                texts.append(event["contentBlockDelta"]["delta"]["text"])
                if len(texts) == 1:
                    assert not model.resume.is_set()
                    model.resume.set()
    assert texts == ["one", " two"]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("converse", {"messages": MESSAGES}),
        ("converse-stream", {"messages": MESSAGES}),
        ("invoke-with-response-stream", {}),
    ],
)
async def test_a_client_that_goes_away_closes_the_models_iterator(operation: str, body: dict[str, Any]) -> None:
    """As soon as the connection closes the iterator is closed, and the log of requests knows it."""
    model = Recorder()
    model.pause_after = 1
    async with BedrockEmulator([model]) as emulator:
        _, writer = await open_connection(emulator)
        content = json.dumps(body).encode()
        writer.write(
            f"POST /model/{MODEL}/{operation} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n".encode()
        )
        writer.write(content)
        (received,) = await emulator.wait_for_requests()
        assert not received.connection_closed
        writer.close()
        await writer.wait_closed()
        with anyio.fail_after(30):
            await received.wait_connection_closed()
            await model.iterator_closed.wait()
    assert received.connection_closed


async def test_an_endless_script_does_not_hold_the_loop() -> None:
    """A model that never waits still lets the client's leaving end it."""
    closed = asyncio.Event()

    def endless(_request: ReceivedRequest) -> Any:  # noqa: ANN401 - a generator of steps
        try:
            while True:
                yield {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "x"}}}
        finally:
            closed.set()

    async with BedrockEmulator([ScriptedModel(endless)]) as emulator:
        reader, writer = await open_connection(emulator)
        body = json.dumps({"messages": MESSAGES}).encode()
        writer.write(
            f"POST /model/m.x/converse-stream HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body)
        await reader.readexactly(5000)
        writer.close()
        await writer.wait_closed()
        with anyio.fail_after(30):
            await emulator.requests[0].wait_connection_closed()
            await closed.wait()


async def test_fifty_streams_at_once(connect: Connect) -> None:
    """Fifty concurrent streams, all open before any may end, each get all of their own events."""
    model = Recorder(text_events("one two three"))
    model.pause_after = 3
    texts: list[str] = []
    async with BedrockEmulator([model]) as emulator, connect(emulator.url) as client:

        async def read() -> None:
            events = await collect(client.events("converse_stream", modelId=MODEL, messages=MESSAGES))
            deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
            texts.append("".join(deltas))

        async def release() -> None:
            await emulator.wait_for_requests(50)
            model.resume.set()

        anyio.to_thread.current_default_thread_limiter().total_tokens = 60
        async with anyio.create_task_group() as group:
            group.start_soon(release)
            for _ in range(50):
                group.start_soon(read)
    assert texts == ["one two three"] * 50


ROUTED: Final = [
    MODEL,
    f"us.{MODEL}",
    f"global.{MODEL}",
    f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
    f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{MODEL}",
]


@pytest.mark.parametrize("model_id", ROUTED)
async def test_every_name_of_a_model_reaches_it(connect: Connect, model_id: str) -> None:
    """The id, a geography's profile and both kinds of ARN mean the same model, quoted as official clients quote."""
    async with BedrockEmulator([Recorder()]) as emulator, connect(emulator.url) as client:
        await client.call("converse", modelId=model_id, messages=MESSAGES)
    (received,) = emulator.requests
    assert received.model_id == model_id
    assert received.operation == "Converse"
    assert "%3A" in received.path
    assert received.status == 200


async def test_a_raw_colon_in_the_path_is_accepted() -> None:
    """Some clients send ``:`` unquoted; the service takes both."""
    async with BedrockEmulator([Recorder()]) as emulator:
        status, _, _ = await post(emulator, f"/model/{MODEL}/converse", json.dumps({"messages": MESSAGES}).encode())
    assert status == 200
    assert emulator.requests[0].path == f"/model/{MODEL}/converse"


@pytest.mark.parametrize(
    "model_id",
    [
        "does-not-exist",
        "anthropic.claude-sonnet-4-20250514",
        f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        "arn:aws:bedrock",
    ],
)
async def test_an_unknown_model_is_refused_as_the_service_does(connect: Connect, model_id: str) -> None:
    """Ids that no model answers to, and ARNs of another region, are invalid model identifiers (400)."""
    async with BedrockEmulator([Recorder()]) as emulator, connect(emulator.url) as client:
        error = await failure_of(client, modelId=model_id)
    assert error.response["Error"]["Code"] == "ValidationException"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error.response["Error"]["Message"] == "The provided model identifier is invalid."


async def test_the_first_model_of_an_id_answers_and_the_wildcard_comes_last(connect: Connect) -> None:
    """An id of its own goes before ``*``, wherever its model stands in the list."""
    models = [ScriptedModel.text(text, model_ids=ids) for text, ids in (("any", ["*"]), ("mine", [MODEL]))]
    models.append(ScriptedModel.text("late", model_ids=["*", MODEL]))
    async with BedrockEmulator(models) as emulator, connect(emulator.url) as client:
        mine = await client.call("converse", modelId=MODEL, messages=MESSAGES)
        other = await client.call("converse", modelId="amazon.nova-lite-v1:0", messages=MESSAGES)
    assert mine["output"]["message"]["content"] == [{"text": "mine"}]
    assert other["output"]["message"]["content"] == [{"text": "any"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", f"/model/{MODEL}/converse"),
        ("POST", f"/model/{MODEL}/converse/"),
        ("POST", f"/model/arn:aws:bedrock:us-east-1::foundation-model/{MODEL}/converse"),
        ("GET", "/guardrails"),
    ],
)
async def test_an_unknown_route_is_an_unknown_operation(method: str, path: str) -> None:
    """A raw ``/`` in a model id, another method or path is a 404 UnknownOperationException in the service's form."""
    async with BedrockEmulator([Recorder()]) as emulator:
        status, headers, body = await post(emulator, path, b"{}", method=method)
    assert status == 404
    assert headers["x-amzn-errortype"].startswith("UnknownOperationException:")
    assert json.loads(body)["Output"] == {"__type": "com.amazon.coral.service#UnknownOperationException"}
    assert emulator.requests[0].operation is None


async def test_a_conversation_over_http1_is_refused() -> None:
    """The one operation that needs HTTP/2 is named in the refusal, with what it needs."""
    async with BedrockEmulator() as emulator:
        status, _, body = await post(emulator, f"/model/{MODEL}/invoke-with-bidirectional-stream", b"{}")
    assert status == 404
    assert "serves InvokeModelWithBidirectionalStream over HTTP/2 only" in body.decode()


async def test_without_models_it_serves_a_text(connect: Connect) -> None:
    """An emulator of nothing in particular answers, so that the first try works."""
    async with BedrockEmulator() as emulator, connect(emulator.url) as client:
        reply = await client.call("converse", modelId=MODEL, messages=MESSAGES)
    assert reply["output"]["message"]["content"] == [{"text": "Hello from the Bedrock emulator."}]


async def test_the_log_keeps_what_arrived(connect: Connect) -> None:
    """Every request is in the log with method, quoted path, lower-case headers, body and what it was."""
    async with BedrockEmulator() as emulator, connect(emulator.url) as client:
        await client.call("converse", modelId=MODEL, messages=MESSAGES)
    (received,) = emulator.requests
    assert received.method == "POST"
    assert received.decoded_path == f"/model/{MODEL}/converse"
    assert received.headers["content-type"] == "application/json"
    assert received.json() == {"messages": MESSAGES}


async def test_the_log_forgets_the_oldest() -> None:
    """No more than keep_requests are held, so that a long-running emulator does not grow."""
    async with BedrockEmulator(keep_requests=2) as emulator:
        for name in "abc":
            await post(emulator, f"/{name}", b"")
        waited = await emulator.wait_for_requests(3)
    assert [received.path for received in waited] == ["/b", "/c"]


async def test_errors_carry_what_the_model_server_said(connect: Connect) -> None:
    """originalStatusCode, originalMessage and the retry header travel with the error."""
    error = service_error(
        "ModelErrorException", "failed", retry_after_s=1.5, original_status_code=503, original_message="busy"
    )
    async with BedrockEmulator([ScriptedModel([error])]) as emulator, connect(emulator.url) as client:
        caught = await failure_of(client)
    response = cast("Mapping[str, Any]", caught.response)
    assert response["originalStatusCode"] == 503
    assert caught.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-retry-after"] == "1500"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104 - refused here
def test_only_loopback_is_served_unless_told(host: str) -> None:
    """Another host is refused before anything listens, and the refusal says how to insist."""
    with pytest.raises(InvalidRequestError, match="loopback") as caught:
        BedrockEmulator(host=host)
    assert caught.value.path == "host"
    assert "allow_remote" in str(caught.value)
    BedrockEmulator(host=host, allow_remote=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
async def test_every_loopback_name_is_served(connect: Connect, host: str) -> None:
    """Loopback addresses and localhost need no permission."""
    async with BedrockEmulator(host=host) as emulator, connect(emulator.url) as client:
        await client.call("converse", modelId=MODEL, messages=MESSAGES)


async def test_a_taken_port_is_a_clear_error() -> None:
    """The error names host, port and reason, and the way out; the emulator can be closed after it."""
    async with BedrockEmulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = BedrockEmulator(port=port)
        with pytest.raises(InvalidRequestError, match=f"port {port}: .*in use.*free one"):
            await second.start()
        await second.aclose()


async def test_start_and_aclose_without_a_context() -> None:
    """start() and aclose() do what ``async with`` does; closing twice is allowed, starting twice is not."""
    model = Recorder()
    emulator = BedrockEmulator([model])
    with pytest.raises(InvalidRequestError, match="not running"):
        _ = emulator.url
    await emulator.start()
    with pytest.raises(InvalidRequestError, match="already running"):
        await emulator.start()
    await emulator.aclose()
    await emulator.aclose()
    assert model.closed
    with pytest.raises(InvalidRequestError, match="not running"):
        _ = emulator.url


async def test_models_are_closed_whatever_happens() -> None:
    """A start that fails closes them, and one that cannot be closed does not keep the others open."""

    class Stuck(Recorder):
        async def aclose(self) -> None:
            raise LookupError("stuck")

    model = Recorder()
    async with BedrockEmulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(InvalidRequestError, match="cannot listen"):
            await BedrockEmulator([model], port=port).__aenter__()
    assert model.closed
    models = [Recorder(), Stuck(), Recorder()]
    with pytest.raises(LookupError, match="stuck"):
        await BedrockEmulator(models).aclose()
    assert [model.closed for model in models] == [True, False, True]


def test_what_is_no_model_is_refused() -> None:
    """An object without the methods of a model is refused when the emulator is made, not at the first request."""
    wrong: Any = [object()]
    with pytest.raises(InvalidRequestError, match="type object cannot be served"):
        BedrockEmulator(wrong)


async def test_closing_ends_open_streams_at_once() -> None:
    """aclose() does not wait for models that wait: it closes their iterators and the connections."""
    model = Recorder()
    model.pause_after = 1
    emulator = BedrockEmulator([model])
    await emulator.start()
    reader, writer = await open_connection(emulator)
    body = json.dumps({"messages": MESSAGES}).encode()
    head = f"POST /model/{MODEL}/converse-stream HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await reader.readuntil(b"messageStart")
    with anyio.fail_after(30):
        await emulator.aclose()
        await reader.read()
    assert model.iterator_closed.is_set()
    writer.close()
    await writer.wait_closed()


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    """After a cancelled start nothing listens, and the emulator can be started again."""
    emulator = BedrockEmulator()
    with anyio.move_on_after(0) as scope:
        await emulator.start()
    assert scope.cancelled_caught
    with pytest.raises(InvalidRequestError, match="not running"):
        _ = emulator.url
    await emulator.start()
    await emulator.aclose()


async def test_a_cut_request_is_no_request() -> None:
    """A client that leaves in the middle of its body leaves nothing in the log and breaks nothing."""
    async with BedrockEmulator() as emulator:
        _, writer = await open_connection(emulator)
        writer.write(b"POST /model/m.x/converse HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        status, _, _ = await post(emulator, "/", b"")
    assert status == 404
    assert [received.path for received in emulator.requests] == ["/"]


def test_scripted_models_satisfy_the_protocol() -> None:
    """Whatever takes an EmulatorModel takes a scripted one."""
    assert isinstance(ScriptedModel.text(), EmulatorModel)
    assert isinstance(Recorder(), EmulatorModel)


async def test_a_scripted_model_can_be_used_without_the_emulator() -> None:
    """The protocol's methods play the same script, so that a scripted model can stand in for any other."""
    model = ScriptedModel.text("hello world", input_tokens=3)
    async with aclosing(model.converse_stream({"messages": []})) as stream:
        events = [event async for event in stream]
    assert events == text_events("hello world")
    assert await model.count_tokens({}) == 3
    assert json.loads(await model.invoke(b"{}"))["stopReason"] == "end_turn"
    async with aclosing(model.invoke_stream(b"{}")) as chunks:
        assert json.loads(await anext(chunks)) == events[0]
    await model.aclose()
