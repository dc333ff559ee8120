"""What we read is what botocore's parser reads, and nothing that was received gets lost: every operation."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from botocore_reading import output_shape, parsed, parsed_error, parsed_events, pruned, structure
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import events, json_objects, outputs

from bedrock_async import ConverseRequest, InvokeChunk, InvokeResponse
from bedrock_async.errors import ResponseDecodeError, service_error_from_response
from bedrock_async.events import ConverseEventDecoder, event_from_wire, read_model
from bedrock_async.eventstream import encode_frame
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.native import ChunkDecoder
from bedrock_async.providers import CallContext, Flow, HttpResponse, runtime
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing import service_model
from bedrock_async.types import (
    ApplyGuardrailRequest,
    AsyncInvokeOutput,
    AsyncInvokeSummary,
    ConverseResponse,
    CountTokensInput,
    CountTokensRequest,
    GuardrailChecks,
    GuardrailChecksReport,
    GuardrailChecksRequest,
    InvokeModelTokensRequest,
    InvokeRequest,
    ListAsyncInvokesRequest,
    Message,
    ReasoningBlock,
    ReasoningText,
    S3Output,
    StartAsyncInvokeRequest,
    ToolUseBlock,
    UnknownBlock,
    WireModel,
)

EXAMPLES: Final = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
MODEL: Final = parse_model_id("us.anthropic.claude-sonnet-4-20250514-v1:0")
JSON_TYPE: Final = {"content-type": "application/json"}
ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdefghijkl"
COUNTED: Final = CountTokensInput(invoke_model=InvokeModelTokensRequest(body=b"{}"))

FLOWS: Final[Mapping[str, Callable[[], Flow[Any]]]] = {
    "ApplyGuardrail": lambda: runtime.apply_guardrail(ApplyGuardrailRequest(source="INPUT", content=[])),
    "Converse": lambda: ConverseProvider().converse(ConverseRequest(), CallContext(MODEL, "us-east-1")),
    "CountTokens": lambda: runtime.count_tokens(CountTokensRequest(input=COUNTED), MODEL),
    "GetAsyncInvoke": lambda: runtime.get_async_invoke(ARN),
    "InvokeGuardrailChecks": lambda: runtime.invoke_guardrail_checks(
        GuardrailChecksRequest(messages=[], checks=GuardrailChecks())
    ),
    "ListAsyncInvokes": lambda: runtime.list_async_invokes(ListAsyncInvokesRequest()),
    "StartAsyncInvoke": lambda: runtime.start_async_invoke(
        StartAsyncInvokeRequest(
            model_id=MODEL.raw,
            model_input={},
            output_data_config=AsyncInvokeOutput(s3_output_data_config=S3Output(s3_uri="s3://bucket")),
        )
    ),
}

OUTPUTS: Final = {operation: outputs(operation) for operation in FLOWS}


def answered(flow: Flow[Any], body: bytes, headers: Mapping[str, str]) -> Any:  # noqa: ANN401 - any operation's answer
    """Return what a flow makes of this answer."""
    next(flow)
    try:
        flow.send(HttpResponse(200, headers, body))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the flow asks for more")


@pytest.mark.parametrize("operation", FLOWS)
@EXAMPLES
@given(data=st.data())
def test_any_answer_is_kept_whole_and_read_as_botocore_reads_it(operation: str, data: st.DataObject) -> None:
    """Explicit nulls, foreign members, blocks and values included; what the model knows equals botocore's reading."""
    wire = data.draw(OUTPUTS[operation])
    body = json.dumps(wire).encode()

    answer = answered(FLOWS[operation](), body, JSON_TYPE)

    assert isinstance(answer, WireModel)
    assert answer.to_wire() == wire
    assert json.loads(answer.to_wire_bytes()) == wire
    assert type(answer).from_dict(answer.to_dict()) == answer
    assert type(answer).from_wire(answer.to_wire()) == answer
    assert pruned(answer.to_dict(), output_shape(operation)) == parsed(operation, body)


@EXAMPLES
@given(
    st.binary(max_size=20),
    st.fixed_dictionaries(
        {"content-type": st.sampled_from(["application/json", "image/png"])},
        optional={
            "x-amzn-bedrock-performanceconfig-latency": st.sampled_from(["optimized", "new"]),
            "x-amzn-bedrock-service-tier": st.sampled_from(["flex", "new"]),
            "x-new": st.just("1"),
        },
    ),
)
def test_a_native_answer_is_read_as_botocore_reads_it(body: bytes, headers: dict[str, str]) -> None:
    """The body byte for byte, and what the service says of it in headers; no header is lost."""
    flow = runtime.invoke(InvokeRequest(model_id=MODEL.raw), MODEL)
    received = answered(flow, body, headers)
    answer = InvokeResponse(received.body, received.headers)
    assert answer.to_dict() == parsed("InvokeModel", body, headers=headers)
    assert answer.headers == headers
    assert InvokeResponse(body, {}).to_dict() == parsed("InvokeModel", body)


def framed(name: str, members: Mapping[str, Any]) -> bytes:
    """Return an event in its frame, padded as the service pads it."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps({**members, "p": "abcdefgh"}).encode())


@EXAMPLES
@given(st.lists(events("ResponseStream"), min_size=1, max_size=4))
def test_any_chunk_is_kept_whole_and_read_as_botocore_reads_it(wires: list[dict[str, Any]]) -> None:
    """Native events are the model's bytes; what the service puts beside them survives but for the padding."""
    body = b"".join(framed(*next(iter(wire.items()))) for wire in wires)
    chunks = ChunkDecoder().receive(body)
    assert [chunk.to_wire() for chunk in chunks] == wires
    assert [pruned(chunk.to_dict(), structure("ResponseStream")) for chunk in chunks] == parsed_events(
        body, "InvokeModelWithResponseStream"
    )
    sent = [wire["chunk"].get("bytes") for wire in wires]
    assert [chunk.bytes for chunk in chunks] == [base64.b64decode(text or "") for text in sent]


@EXAMPLES
@given(st.text(min_size=1, max_size=10).map("new{}".format), json_objects())
def test_an_event_nobody_knows_arrives_with_its_payload(name: str, members: dict[str, Any]) -> None:
    """In either stream: under its own name, whole, and no error."""
    members.pop("p", None)
    frame = framed(name, members)
    (event,) = ConverseEventDecoder().receive(frame)
    (chunk,) = ChunkDecoder().receive(frame)
    assert event.type == "unknown"
    assert chunk.name == name
    assert event.to_wire() == chunk.to_wire() == {name: members}
    assert event.to_dict() == chunk.to_dict() == {name: members}
    assert json.loads(event.payload) == chunk.json() == json.loads(chunk.payload)


def test_an_event_nobody_knows_may_hold_anything() -> None:
    """A payload that is no JSON object is there as bytes; on the wire as base64."""
    headers = {":event-type": "image", ":content-type": "image/png", ":message-type": "event"}
    (chunk,) = ChunkDecoder().receive(encode_frame(headers, b"\x89PNG"))
    assert chunk.bytes == b"\x89PNG"
    assert chunk.to_dict() == {"image": b"\x89PNG"}
    assert chunk.to_wire() == {"image": base64.b64encode(b"\x89PNG").decode()}


def test_a_chunk_made_by_hand_has_the_same_forms() -> None:
    """Tests and fakes need not make the frame's JSON."""
    chunk = InvokeChunk(b'{"a":1}')
    assert chunk.to_wire() == {"chunk": {"bytes": "eyJhIjoxfQ=="}}
    assert chunk.to_dict() == {"chunk": {"bytes": b'{"a":1}'}}
    assert chunk.json() == {"a": 1}


MODELLED: Final = sorted({shape.name for name in FLOWS for shape in service_model().operation_model(name).error_shapes})
MESSAGES: Final = st.text(min_size=1, max_size=20)


@EXAMPLES
@given(
    st.sampled_from(MODELLED),
    st.sampled_from(["", ":http://internal.amazon.com/coral/com.amazon.bedrock/"]),
    st.sampled_from(["header", "__type"]),
    st.fixed_dictionaries({}, optional={"message": MESSAGES, "originalStatusCode": st.integers(100, 599)}),
    st.sampled_from([400, 403, 424, 429, 500, 503]),
)
def test_an_error_is_read_as_botocore_reads_it(
    code: str, suffix: str, place: str, body: dict[str, Any], status: int
) -> None:
    """Code, message, request id and status are botocore's, wherever the service puts the code."""
    headers = {"x-amzn-requestid": "id-1"} | ({"x-amzn-errortype": code + suffix} if place == "header" else {})
    if place == "__type":
        body = {"__type": f"com.amazon.bedrock#{code}{suffix}", **body}
    data = json.dumps(body).encode()
    official_code, message = parsed_error("Converse", data, status=status, headers=headers)

    error = service_error_from_response(status, headers, data)

    assert error.code == official_code == code
    assert (error.status, error.request_id) == (status, "id-1")
    assert error.original_status_code == body.get("originalStatusCode")
    if "message" in body:
        assert error.message == message == body["message"]


# -- values


SUMMARY: Final = {"invocationArn": ARN, "modelArn": "m", "status": "Completed", "submitTime": "2025-05-22T15:00:00Z"}


@pytest.mark.parametrize(
    "text",
    [
        "2025-05-22T15:00:00Z",
        "2025-05-22T15:00:00.5Z",
        "2025-05-22T15:00:00.123456Z",
        "2025-05-22T15:00:00.123456789Z",
        "2025-05-22T17:00:00+02:00",
        "2025-05-22T15:00:00+00:00",
        1747926000,
        1747926000.25,
    ],
)
def test_a_timestamp_is_an_aware_datetime_however_it_is_written(text: str | float) -> None:
    """The same moment as botocore's, to the microsecond; on the wire it is ISO 8601 in UTC from then on."""
    body = json.dumps({**SUMMARY, "submitTime": text}).encode()
    read = AsyncInvokeSummary.from_wire(body)
    assert read.submit_time is not None
    assert read.submit_time.utcoffset() is not None
    assert read.to_dict()["submitTime"] == parsed("GetAsyncInvoke", body)["submitTime"]
    again = read.to_wire()["submitTime"]
    assert isinstance(again, str)
    assert again.endswith("Z")
    assert datetime.fromisoformat(again) == read.submit_time


def test_a_timestamp_without_a_zone_is_utc() -> None:
    """As botocore takes it: never the clock of the machine."""
    naive = datetime(2025, 5, 22, 15)  # noqa: DTZ001 - that is the case
    assert ListAsyncInvokesRequest(submit_time_after=naive).submit_time_after == naive.replace(tzinfo=UTC)
    assert AsyncInvokeSummary.from_wire({**SUMMARY, "submitTime": "2025-05-22T15:00:00"}).submit_time == datetime(
        2025, 5, 22, 15, tzinfo=UTC
    )
    assert ListAsyncInvokesRequest.from_dict({"submitTimeAfter": "2025-05-22"}).submit_time_after == datetime(
        2025, 5, 22, tzinfo=UTC
    )


@pytest.mark.parametrize(("name", "value"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")])
def test_a_number_that_is_none_is_text_on_the_wire(name: str, value: str) -> None:
    """JSON has no literals for these: AWS writes their names, and they come back as such."""
    wire = {"results": {"contentFilter": {"results": [{"severityScore": name}]}}}
    body = json.dumps(wire).encode()
    read = GuardrailChecksReport.from_wire(body)
    assert read.to_wire() == wire
    assert json.loads(read.to_wire_bytes(), parse_constant=pytest.fail) == wire
    assert repr(read.to_dict()) == repr(parsed("InvokeGuardrailChecks", body))
    assert repr(read.to_dict()["results"]["contentFilter"]["results"][0]["severityScore"]) == value


NUMBERS: Final = "[0.1, 1e22, 5e-324, 1.7976931348623157e308, -0.0, 1E5, 18446744073709551616, 1e400, NaN, -Infinity]"


def test_numbers_in_documents_survive() -> None:
    """Large integers are not rounded, floats come back bit for bit; what is no JSON but is sent anyway passes."""
    body = f'{{"additionalModelResponseFields": {NUMBERS}}}'.encode()
    read = ConverseResponse.from_wire(body)
    assert repr(read.to_dict()) == repr(parsed("Converse", body))
    assert repr(read.to_wire()) == repr(json.loads(body))
    assert repr(json.loads(read.to_wire_bytes())) == repr(json.loads(body))


def test_surrogates_in_an_answer_are_mended() -> None:
    """A pair is its character; one alone, which no encoder takes, becomes U+FFFD, where botocore hands it on."""
    text = r'"\ud83d\ude00 \ud83d"'
    body = f'{{"output": {{"message": {{"role": "assistant", "content": [{{"text": {text}}}]}}}}}}'.encode()
    read = read_model(ConverseResponse, body)
    assert read.text == "\U0001f600 \ufffd"
    reading = parsed("Converse", body)["output"]["message"]["content"][0]["text"]
    assert reading.encode("utf-8", "replace").decode() == "\U0001f600 ?"


def test_only_the_nulls_that_were_refused_go() -> None:
    """Where one reading is lenient, members that nobody knows yet keep theirs, and are given back with them."""
    block = {"text": "Hi.", "novel": None}
    foreign = {"novel": None, "other": {"member": None}}
    usage = {"inputTokens": None, "outputTokens": 2, "cacheDetails": [{"ttl": "5m", "inputTokens": None}]}
    wire: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": [block, {"novelBlock": {"member": None}}]}},
        "stopReason": None,
        "trace": None,
        **foreign,
    }
    read = read_model(ConverseResponse, json.dumps({**wire, "usage": usage}).encode())
    assert read.usage.input_tokens == 0
    expected = {name: member for name, member in wire.items() if name != "stopReason"}
    assert read.to_wire() == {**expected, "usage": {"outputTokens": 2, "cacheDetails": [{"ttl": "5m"}]}}
    assert read_model(ConverseResponse, read.to_wire_bytes()).to_wire() == read.to_wire()


def test_a_null_among_the_items_of_a_list_costs_no_answer() -> None:
    """Where an item was wanted the null goes, wherever it stands; nulls in documents stay."""
    trace = {"guardrail": {"modelOutput": [None, "Hi.", None], "actionReason": "none"}}
    use = {"toolUseId": "t", "name": "n", "input": {"values": [None]}}
    wire = {
        "output": {"message": {"role": "assistant", "content": [None, {"text": "Hi."}, None, {"toolUse": use}]}},
        "trace": trace,
    }
    read = read_model(ConverseResponse, json.dumps(wire).encode())
    assert read.to_wire() == {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi."}, {"toolUse": use}]}},
        "trace": {"guardrail": {"modelOutput": ["Hi."], "actionReason": "none"}},
    }


def test_a_block_that_lacks_members_costs_no_answer() -> None:
    """An image that was not made has an error in the place of its source: the block is kept as it came."""
    failed = {"image": {"error": {"message": "The image was blocked."}}}
    result = {"toolResult": {"content": [{"searchResult": {"title": "A result"}}]}}
    content = [{"text": "Here it is."}, failed, result]
    wire = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    body = json.dumps(wire).encode()
    read = read_model(ConverseResponse, body)
    assert read.text == "Here it is."
    assert read.message.content[1:] == [UnknownBlock(raw=failed), UnknownBlock(raw=result)]
    assert read.to_wire() == wire
    assert read.to_dict() == parsed("Converse", body)


@pytest.mark.parametrize("missing", [{}, {"role": None, "content": None}])
def test_a_message_that_lacks_members_is_an_empty_one(missing: dict[str, Any]) -> None:
    """As it is in a stream that does not tell them."""
    wire = {"output": {"message": missing}, "stopReason": "guardrail_intervened"}
    read = read_model(ConverseResponse, json.dumps(wire).encode())
    assert read.message == Message(role="assistant", content=[])
    assert read.stop_reason == "guardrail_intervened"


def test_blocks_that_need_not_tell_everything() -> None:
    """Reasoning that is signed and not shown, and the call of a tool without parameters, are what streams make them."""
    reasoning = {"reasoningContent": {"reasoningText": {"signature": "signed"}}}
    use = {"toolUse": {"toolUseId": "1", "name": "now"}}
    wire = {"output": {"message": {"role": "assistant", "content": [reasoning, use]}}}
    read = read_model(ConverseResponse, json.dumps(wire).encode())
    assert read.message.content == [
        ReasoningBlock(reasoning_text=ReasoningText(text="", signature="signed")),
        ToolUseBlock(tool_use_id="1", name="now", input={}),
    ]
    deltas: list[Mapping[str, object]] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "signed"}}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"contentBlockIndex": 1, "start": use}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
    ]
    assert fold(map(event_from_wire, deltas)).message == read.message


@pytest.mark.parametrize(
    "block",
    [
        {"toolUse": {"name": "n", "input": {}}},
        {"text": 5},
        {"image": {"format": 1, "source": {"bytes": ""}}},
    ],
)
def test_a_block_that_would_be_missed_is_an_error(block: dict[str, Any]) -> None:
    """A call without its id would get no result, and members of another type are no block of tomorrow."""
    wire = {"output": {"message": {"role": "assistant", "content": [{"text": "Hi."}, block]}}}
    with pytest.raises(ResponseDecodeError, match=r"output\.message\.content\.1\."):
        read_model(ConverseResponse, json.dumps(wire).encode())


@EXAMPLES
@given(st.text(st.characters(categories=["Cs", "L"]), min_size=1, max_size=8))
def test_surrogates_in_a_request_are_sent_as_botocore_sends_them(text: str) -> None:
    """Escaped, so that the body is ASCII."""
    members = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    request = ConverseRequest.from_dict(members)
    assert json.loads(request.to_wire_bytes()) == json.loads(json.dumps(members))
    assert request.to_dict() == members


def test_blobs_are_bytes_for_the_user_and_base64_on_the_wire() -> None:
    """Also where they are empty, and in every place."""
    for blob in (b"", b"\x00\xff", b"a" * 1000):
        text = base64.b64encode(blob).decode()
        content = [
            {"image": {"format": "png", "source": {"bytes": text}}},
            {"reasoningContent": {"redactedContent": text}},
        ]
        body = json.dumps({"output": {"message": {"role": "assistant", "content": content}}}).encode()
        read = ConverseResponse.from_wire(body)
        image, reasoning = read.to_dict()["output"]["message"]["content"]
        assert image["image"]["source"]["bytes"] == blob
        assert reasoning["reasoningContent"]["redactedContent"] == blob
        assert read.to_dict() == parsed("Converse", body)
        assert json.loads(read.to_wire_bytes()) == json.loads(body)
