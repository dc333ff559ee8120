"""What recordings never hold, and what they hold no more when prompts are redacted; and that they stay valid."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES

from bedrock_async import InvalidRequestError
from bedrock_async.testing import (
    CassetteExchange,
    CassetteRequest,
    CassetteResponse,
    RecordedFailure,
    RecordedPiece,
    Redactor,
    chunk_frame,
    corrupted,
    event_frame,
    exception_frame,
    service_model,
    stream_bytes,
)
from bedrock_async.testing.json_places import places
from bedrock_async.testing.redaction_prompts import treatment
from bedrock_async.types import JSONValue

ACCOUNT: Final = "998877665544"
EXAMPLE: Final = "123456789012"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}
JSON: Final = {"content-type": "application/json"}
RECORDED: Final = exchanges()
PATH: Final = "/model/m.x/converse"


def exchange(
    request: object = None,
    response: bytes | object = b"",
    *,
    headers: dict[str, str] | None = None,
    status: int = 200,
    path: str = PATH,
    query: str = "",
    sent: dict[str, str] | None = None,
    pieces: list[int] | None = None,
) -> CassetteExchange:
    """Return an exchange of these bodies, the response cut into pieces of these sizes."""
    body = response if isinstance(response, bytes) else json.dumps(response).encode()
    sizes = pieces or [len(body)]
    parts = [body[sum(sizes[:index]) : sum(sizes[: index + 1])] for index in range(len(sizes))]
    return CassetteExchange(
        CassetteRequest("POST", path, b"" if request is None else json.dumps(request).encode(), query, sent or {}),
        CassetteResponse(
            status, headers or JSON, tuple(RecordedPiece(part, at) for at, part in enumerate(parts) if part)
        ),
    )


def redacted(given: CassetteExchange, *, prompts: bool = False) -> CassetteExchange:
    """Return it redacted, having seen that doing it again changes nothing."""
    redactor = Redactor(prompts=prompts)
    once = redactor.exchange(given)
    assert redactor.exchange(once) == once
    return once


def response_of(given: CassetteExchange) -> CassetteResponse:
    """Return the response, which is there."""
    assert given.response is not None
    return given.response


def events_of(body: bytes) -> list[tuple[dict[str, Any], Any]]:
    """Return headers and JSON of each frame as botocore reads them, checksums included."""
    buffer: Any = EventStreamBuffer()  # its stubs type the headers otherwise than they are
    buffer.add_data(body)
    return [(dict(event.headers), json.loads(event.payload)) for event in buffer]


SECRETS: Final = [
    f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc",
    f"s3://bucket-{ACCOUNT}/out",
    "the account 9988-7766-5544, as the console shows it",
    "AKIAZZZZYYYYXXXXWWWW",
    "ASIAZZZZYYYYXXXXWWWW",
    "AROAZZZZYYYYXXXXWWWW:session",
    "ABSKQmVkcm9ja0FQSUtleS1zZWNyZXQtc2VjcmV0LXNlY3JldA==",
    "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz9BY3Rpb249Q2Fs",
    "Bearer eyJhbGciOiJIUzI1NiJ9.secret.secret",
    "IQoJb3JpZ2luX2VjE" + "Secret0" * 12,
    "https://x/?X-Amz-Signature=0123456789abcdef&X-Amz-Credential=secret%2F20250101",
    f"User: arn:aws:sts::{ACCOUNT}:assumed-role/SecretRole/secret.person@example.com is not authorized",
]
TELLING: Final = (ACCOUNT, "9988-7766", "ZZZZYYYY", "QmVkcm9ja0FQSUt", "YmVkcm9jay5h", "ecret", "0123456789abcdef")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("prompts", [False, True])
def test_secrets_are_gone_from_every_place(secret: str, *, prompts: bool) -> None:
    """In bodies, frames, base64 chunks, plain pages, kept headers, paths and failures nothing of a secret is left."""
    stream = stream_bytes(
        [
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": secret}}},
            chunk_frame({"completion": secret, "stop": secret}),
            exception_frame("ValidationException", secret),
        ]
    )
    for body, headers in ((json.dumps({"message": secret}).encode(), JSON), (stream, STREAM), (secret.encode(), {})):
        given = exchange(
            {"messages": [{"role": "user", "content": [{"text": secret, "id": secret}]}], secret: "name"},
            body,
            headers={**headers, "x-amzn-bedrock-trace": secret},
            status=400,
            sent={"x-amzn-bedrock-guardrailidentifier": secret},
        )
        failure = RecordedFailure("ConnectionLostError", f"it broke at {secret}")
        once = redacted(CassetteExchange(given.request, given.response, "failed", failure), prompts=prompts)
        response = response_of(once)
        frames = events_of(response.body) if headers is STREAM else []
        seen = [
            repr(once),
            repr(frames),
            *(repr(base64.b64decode(each["bytes"])) for _, each in frames if "bytes" in each),
        ]
        assert not [(word, text) for text in seen for word in TELLING if word in text]
        assert len(response.body) == len(body)


def test_what_looks_like_an_account_id_and_is_none_stays() -> None:
    """Decimals, longer numbers, times, images and UUIDs that end in digits alone are what they were."""
    image = base64.b64encode(bytes(range(255))).decode() + "/998877665544/" + "A" * 50
    kept = {"a": "0.998877665544", "b": "9988776655443", "c": 998877665544, "d": 0.998877665544, "bytes": image}
    kept["e"] = "89e3136f-e6ed-45d3-926a-998877665544"
    given = exchange(kept, kept)
    assert redacted(given) == given


def test_numbers_under_telling_names_are_account_ids() -> None:
    """An account id that is a number is found where the member's name says what it is."""
    once = redacted(exchange({"accountId": int(ACCOUNT)}, {"ownerAccount": int(ACCOUNT)}))
    assert json.loads(once.request.body) == {"accountId": int(EXAMPLE)}
    assert json.loads(response_of(once).body) == {"ownerAccount": int(EXAMPLE)}


def test_an_account_id_cut_by_the_stream_is_found() -> None:
    """Models stream ids in tokens: digits that stand in several deltas are one id all the same."""
    pieces = [" arn:aws:bedrock:us-east-1:9988", "776", "65544:x"]
    body = stream_bytes([{"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text}}} for text in pieces])
    once = redacted(exchange(None, body, headers=STREAM))
    texts = [event["delta"]["text"] for _, event in events_of(response_of(once).body)]
    assert texts == [" arn:aws:bedrock:us-east-1:1234", "567", "89012:x"]


def test_headers_are_kept_by_name_and_nothing_else() -> None:
    """Of a request only the protocol's headers are kept; of a response all but what may be secret."""
    sent = {
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250101/us-east-1/bedrock/aws4_request",
        "x-amz-security-token": "secret",
        "x-api-key": "secret",
        "x-corporate-gateway": "secret",
        "cookie": "secret",
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "bedrock-async",
        "x-amzn-bedrock-trace": "ENABLED",
    }
    got = {
        **JSON,
        "set-cookie": "secret",
        "x-session-token": "secret",
        "x-amzn-requestid": "11111111-2222-4333-8444-555555555555",
        "x-amzn-bedrock-input-token-count": "12",
        "date": "Sat, 01 Nov 2025 12:00:00 GMT",
    }
    once = redacted(exchange({}, {}, headers=got, sent=sent))
    assert sorted(once.request.headers) == ["accept", "content-type", "user-agent", "x-amzn-bedrock-trace"]
    assert sorted(response_of(once).headers) == sorted({*got} - {"set-cookie", "x-session-token"})


def test_metadata_of_a_request_are_blank_wherever_they_travel() -> None:
    """Converse has them in its body, InvokeModel in a header: with redacted prompts neither keeps what they say."""
    metadata = '{"user":"anna@example.com"}'
    given = exchange({"requestMetadata": json.loads(metadata)}, {}, sent={"x-amzn-bedrock-request-metadata": metadata})
    kept, blank = redacted(given).request, redacted(given, prompts=True).request
    assert kept.headers == {"x-amzn-bedrock-request-metadata": metadata}
    assert blank.headers == {"x-amzn-bedrock-request-metadata": "x" * len(metadata)}
    assert b"anna" in kept.body
    assert b"anna" not in blank.body


def test_what_is_not_redacted_yet_shows_no_key() -> None:
    """`Cassette.recorded` holds traffic as it came, and a test that fails prints what it compares."""
    assert "canary" not in repr(exchange({}, {}, sent={"authorization": "Bearer canary-key"}))


def test_what_proved_the_caller_is_gone_from_the_answer() -> None:
    """A gateway that repeats the key or the signature in its answer does not bring them into the recording."""
    for header, secret in (
        ({"authorization": "Bearer corporate-key-7"}, "corporate-key-7"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=MYKEYID99/x, Signature=feedbeef1234"}, "feedbeef1234"),
        ({"x-api-key": "gateway-key"}, "gateway-key"),
    ):
        once = redacted(exchange({}, f"you sent {secret}".encode(), headers={}, status=403, sent=header))
        assert response_of(once).body == b"you sent " + b"x" * len(secret)


@pytest.mark.parametrize("colon", ["%3A", ":"])
def test_paths_keep_their_quoting(colon: str) -> None:
    """An account id in an ARN is replaced in the path, which stays quoted as the client quoted it."""
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.x%20y".replace(":", colon)
    once = redacted(exchange({}, {}, path=f"/model/{arn}/converse"))
    assert once.request.path == f"/model/{arn}/converse".replace(ACCOUNT, EXAMPLE)


def test_tokens_that_differ_from_call_to_call_become_constant() -> None:
    """A fresh idempotency token is the recorded one; a page token is the same in the answer and in the next query."""
    first = redacted(exchange({"clientRequestToken": "a-fresh-token"}, {"nextToken": "opaque+secret/page=="}))
    other = redacted(
        exchange({"clientRequestToken": "another"}, {}, query="maxResults=3&nextToken=opaque%2Bsecret%2Fpage%3D%3D")
    )
    assert first.request.body == other.request.body
    token = json.loads(response_of(first).body)["nextToken"]
    assert other.request.query == f"maxResults=3&nextToken={token}"
    assert "secret" not in token
    assert redacted(exchange({}, {}, query=f"nextToken={token}")).request.query == f"nextToken={token}"


def test_a_presigned_query_loses_its_signature() -> None:
    """What makes a URL a key is not recorded."""
    query = "X-Amz-Signature=abc123secret&X-Amz-Date=20250101T000000Z&x=1"
    assert (
        redacted(exchange({}, {}, query=query)).request.query == f"X-Amz-Signature={'x' * 12}&X-Amz-Date={'x' * 16}&x=1"
    )


def test_secret_members_are_replaced_whatever_they_hold() -> None:
    """A password in a tool's input or an MCP server's token is gone; a schema that mentions one is not."""
    body = {
        "mcp_servers": [{"authorization_token": "hush", "url": "https://x"}],
        "input": {"password": "hush", "max_tokens": "5"},
        "schema": {"password": {"type": "string"}},
    }
    once = json.loads(redacted(exchange(body)).request.body)
    assert once["mcp_servers"] == [{"authorization_token": "xxxx", "url": "https://x"}]
    assert once["input"] == {"password": "xxxx", "max_tokens": "5"}
    assert once["schema"] == body["schema"]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock-runtime.us-east-1.amazonaws.com"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("vpce-0a1b-2c3d.bedrock-runtime.us-east-1.vpce.amazonaws.com", "private-endpoint.invalid"),
        ("llm.corp.example", "private-endpoint.invalid"),
        ("127.0.0.1:8765", "localhost"),
    ],
)
def test_hosts_tell_nothing_of_a_network(host: str, shown: str) -> None:
    """Public hosts of the service stay; others are replaced, in failures too."""
    failure = RecordedFailure("ConnectError", f"{host.partition(':')[0]}:443 refused the connection.")
    once = redacted(CassetteExchange(CassetteRequest("POST", PATH, host=host), None, "failed", failure))
    assert once.request.host == shown
    assert once.failure is not None
    assert once.failure.message == f"{shown}:443 refused the connection."


# -- recorded traffic


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_recorded_traffic_without_secrets_is_not_touched(recorded: Exchange) -> None:
    """Bodies that hold nothing to hide are the recorded bytes, in the recorded pieces."""
    given = CassetteExchange.from_record(recorded.raw)
    once = redacted(given)
    assert response_of(once).pieces == response_of(given).pieces
    assert once.request.body == given.request.body


@pytest.mark.parametrize("recorded", RECORDED, ids=str)
def test_redacted_prompts_leave_valid_traffic(recorded: Exchange) -> None:
    """Every JSON text keeps members, numbers and lengths; strings stay or are blanked; frames and pieces hold."""
    given = CassetteExchange.from_record(recorded.raw)
    once = redacted(given, prompts=True)
    before, after = response_of(given), response_of(once)
    assert [len(each.data) for each in after.pieces] == [len(each.data) for each in before.pieces]
    for old, new in zip(documents(recorded, before.body), documents(recorded, after.body), strict=True):
        check_blanked(old, new)
    if recorded.request_body:
        check_blanked(recorded.request_json, json.loads(once.request.body))


def documents(recorded: Exchange, body: bytes) -> Iterator[Any]:
    """Yield the JSON texts of a response, those inside chunks opened."""
    if recorded.eventstream is None:
        lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")]
        yield from (json.loads(each) for each in lines or [body] if each != b"[DONE]")
        return
    for headers, event in events_of(body):
        yield headers
        if headers.get(":event-type") == "chunk" and "bytes" in event:
            chunk = base64.b64decode(event.pop("bytes"))
            yield json.loads(chunk) if chunk[:1] == b"{" else None
        yield event


def check_blanked(old: JSONValue, new: JSONValue) -> None:
    """Compare two values: equal but for strings, which may be blanked, wholly or (JSON in a string) in parts."""
    if isinstance(old, dict):
        assert isinstance(new, dict)
        assert list(new) == list(old)
        for name in old:
            check_blanked(old[name], new[name])
    elif isinstance(old, list):
        assert isinstance(new, list)
        for one, other in zip(old, new, strict=True):
            check_blanked(one, other)
    elif isinstance(old, str):
        assert isinstance(new, str)
        assert new == old or "x" in new
    else:
        assert new == old


def test_redacted_prompts_tell_nothing_of_the_conversation() -> None:
    """In everything recorded, whatever stood under the members for texts is blank, wherever the JSON holds them."""
    telling = {"text", "prompt", "completion", "generation", "inputText", "outputText", "thinking", "content", "city"}
    seen = 0

    def look(value: JSONValue, name: str = "") -> None:
        nonlocal seen
        if isinstance(value, dict):
            for member, inner in value.items():
                look(inner, member)
        elif isinstance(value, list):
            for inner in value:
                look(inner, name)
        elif isinstance(value, str) and name in telling and value.strip():
            seen += 1
            assert set(value) <= {"x"}, (name, value)

    for recorded in RECORDED:
        once = redacted(CassetteExchange.from_record(recorded.raw), prompts=True)
        if recorded.status == 200 and recorded.kind != "other":
            for each in documents(recorded, response_of(once).body):
                look(each)
        if recorded.request_body and "$defs" not in recorded.raw["request_body"]:
            request = json.loads(once.request.body)
            look({name: value for name, value in request.items() if name not in {"toolConfig", "tools"}})
    assert seen > 4000


def test_the_input_of_tools_stays_json_across_a_stream() -> None:
    """The pieces of a tool's input still make up an object of the same shape, whose strings are blank."""
    streams = [each for each in exchanges("converse-stream", 200) if "tool_use_response" in each.features]
    assert streams
    for recorded in streams:
        inputs: list[dict[int, str]] = []
        given = CassetteExchange.from_record(recorded.raw)
        for body in (response_of(given).body, response_of(redacted(given, prompts=True)).body):
            blocks: dict[int, str] = {}
            for _, event in events_of(body):
                piece = event.get("delta", {}).get("toolUse", {}).get("input", "")
                blocks[event.get("contentBlockIndex", -1)] = blocks.get(event.get("contentBlockIndex", -1), "") + piece
            inputs.append({index: text for index, text in blocks.items() if text})
        for index, text in inputs[0].items():
            check_blanked(json.loads(text), json.loads(inputs[1][index]))


# -- rules of blanking


def test_schemas_stay_but_for_their_words() -> None:
    """A tool keeps its name and schema, so that the model's answer still fits; descriptions and defaults are blank."""
    schema = {
        "type": "object",
        "title": "Weather",
        "properties": {
            "description": {"type": "string", "enum": ["rain", "sun"], "default": "rain", "description": "Words."},
            "title": {"type": "string"},
        },
        "required": ["description"],
    }
    spec = {"name": "get_weather", "description": "Secret.", "inputSchema": {"json": schema}}
    text = json.dumps(schema)
    body = {
        "toolConfig": {"tools": [{"toolSpec": spec}]},
        "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": text, "name": "s"}}}},
    }
    once = json.loads(redacted(exchange(body), prompts=True).request.body)
    blank = {
        "type": "object",
        "title": "xxxxxxx",
        "properties": {
            "description": {"type": "string", "enum": ["rain", "sun"], "default": "xxxx", "description": "xxxxxx"},
            "title": {"type": "string"},
        },
        "required": ["description"],
    }
    assert once["toolConfig"]["tools"][0]["toolSpec"] == {
        "name": "get_weather",
        "description": "xxxxxxx",
        "inputSchema": {"json": blank},
    }
    nested = once["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (nested["name"], json.loads(nested["schema"])) == ("s", blank)


def test_free_members_are_blank_whatever_they_are_called() -> None:
    """Inside a tool's input or result a role is no role and an id no id."""
    body = {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"role": "spy", "id": ["q"], "n": 7}}},
                    {"toolResult": {"toolUseId": "t1", "status": "success", "content": [{"json": {"type": "spy"}}]}},
                    {"document": {"name": "merger", "format": "pdf", "source": {"bytes": "QUJD"}}},
                    {
                        "image": {
                            "format": "png",
                            "source": {"s3Location": {"uri": "s3://acme/plan.png", "bucketOwner": EXAMPLE}},
                        }
                    },
                    {"text": " \n"},
                ],
            }
        ],
        "requestMetadata": {"id": "acme"},
        "promptVariables": {"id": {"text": "acme"}},
    }
    once = json.loads(redacted(exchange(body), prompts=True).request.body)
    content = once["messages"][0]["content"]
    assert content[0]["toolUse"] == {"toolUseId": "t1", "name": "f", "input": {"role": "xxx", "id": ["x"], "n": 7}}
    assert content[1]["toolResult"]["content"] == [{"json": {"type": "xxx"}}]
    assert content[2]["document"] == {"name": "xxxxxx", "format": "pdf", "source": {"bytes": "xxxx"}}
    assert content[3]["image"]["source"] == {"s3Location": {"uri": "s3://xxxxxxxxxxxxx", "bucketOwner": EXAMPLE}}
    assert content[4] == {"text": " \n"}
    assert once["requestMetadata"] == {"id": "xxxx"}
    assert once["promptVariables"] == {"id": {"text": "xxxx"}}


def test_equal_texts_of_differently_escaping_clients_stay_equal() -> None:
    """One client writes an escape and another two bytes: the recorded request is the same."""
    body = {"messages": [{"role": "user", "content": [{"text": 'é"\n\U0001f600'}]}]}
    redactor = Redactor(prompts=True)
    ways = [json.dumps(body), json.dumps(body, ensure_ascii=False), json.dumps(body, ensure_ascii=False, indent=1)]
    requests = [redactor.request(CassetteRequest("POST", PATH, way.encode())) for way in ways]
    assert len({json.dumps(json.loads(each.body)) for each in requests}) == 1


def test_a_refusal_keeps_its_message() -> None:
    """The error stays the error that it was, over HTTP and in a stream; a successful answer has no such licence."""
    message = {"message": "Input is too long for requested model."}
    once = redacted(exchange({}, message, status=400), prompts=True)
    assert json.loads(response_of(once).body) == message
    stream = exception_frame("ValidationException", message["message"])
    once = redacted(exchange({}, stream, headers=STREAM), prompts=True)
    assert response_of(once).body == stream
    assert response_of(redacted(exchange({}, message), prompts=True)).body == b'{"message": "' + b"x" * 38 + b'"}'


def test_count_tokens_of_a_native_body_is_looked_into() -> None:
    """CountTokens holds a whole request in base64, which is redacted as that request is."""
    inner = {"anthropic_version": "bedrock-2023-05-31", "messages": [{"role": "user", "content": f"of {ACCOUNT}"}]}
    body = {"input": {"invokeModel": {"body": base64.b64encode(json.dumps(inner).encode()).decode()}}}
    for prompts, said in ((False, f"of {EXAMPLE}"), (True, "x" * 15)):
        once = json.loads(redacted(exchange(body), prompts=prompts).request.body)
        native = json.loads(base64.b64decode(once["input"]["invokeModel"]["body"]))
        assert native == {**inner, "messages": [{"role": "user", "content": said}]}


def test_count_tokens_of_a_conversation_keeps_its_roles() -> None:
    """The member ``input`` that holds a whole conversation is no tool's input."""
    body = {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}}}
    once = json.loads(redacted(exchange(body), prompts=True).request.body)
    assert once == {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "xx"}]}]}}}


def test_every_enumeration_of_the_service_is_kept() -> None:
    """No member whose values the service enumerates is blanked: a redacted exchange means what it meant."""
    model = service_model()
    missing: set[str] = set()
    for name in model.operation_names:
        operation = model.operation_model(name)
        for shape in (operation.input_shape, operation.output_shape):
            if shape is not None:
                missing |= {
                    ".".join(path) for path, values in enumerations(shape) if treatment(path, values[0]) != "keep"
                }
    assert missing == set()


def enumerations(
    shape: Shape, path: tuple[str, ...] = (), seen: frozenset[str] = frozenset()
) -> Iterator[tuple[tuple[str, ...], list[bytes]]]:
    """Yield the path of every member with enumerated values, and these."""
    if isinstance(shape, StructureShape) and shape.name not in seen:
        for name, member in shape.members.items():
            if "location" not in member.serialization:  # a header, or a part of the path or query
                whole_body = name == shape.serialization.get("payload")
                yield from enumerations(member, path if whole_body else (*path, name), seen | {shape.name})
    elif isinstance(shape, ListShape):
        yield from enumerations(shape.member, path, seen)
    elif isinstance(shape, MapShape):
        yield from enumerations(shape.value, path, seen)
    elif isinstance(shape, StringShape) and shape.enum:
        yield path, [value.encode() for value in shape.enum]


# -- damage


def stream_with(text: str) -> list[bytes]:
    """Return the frames of a short stream that says this."""
    return [
        event_frame("messageStart", {"role": "assistant"}),
        event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}),
        event_frame("messageStop", {"stopReason": "end_turn"}),
    ]


@pytest.mark.parametrize("prompts", [False, True])
def test_a_stream_cut_anywhere_gives_nothing_away(*, prompts: bool) -> None:
    """At whatever byte the connection broke, the rest is as long as it was and holds no id (and no text)."""
    start, delta, _ = stream_with(f"secretword {ACCOUNT}")
    for size in range(len(delta)):
        body = start + delta[:size]
        once = response_of(redacted(exchange(None, body, headers=STREAM), prompts=prompts)).body
        assert len(once) == len(body)
        assert once.startswith(start)
        assert ACCOUNT.encode() not in once
        assert not prompts or b"secretword" not in once


@pytest.mark.parametrize("prelude", [False, True])
def test_a_damaged_stream_stays_damaged(*, prelude: bool) -> None:
    """A wrong checksum is still wrong, at the same byte, and what is behind it gives nothing away."""
    start, delta, stop = stream_with(f"secretword {ACCOUNT}")
    body = start + corrupted(delta, prelude=prelude) + stop
    once = response_of(redacted(exchange(None, body, headers=STREAM), prompts=True)).body
    assert len(once) == len(body)
    assert once.startswith(start)
    assert b"secretword" not in once
    assert ACCOUNT.encode() not in once
    with pytest.raises(Exception, match="Checksum mismatch"):
        events_of(once)


def test_half_a_json_body_is_redacted() -> None:
    """A body whose connection broke is redacted as far as it came."""
    whole = json.dumps({"output": {"message": {"content": [{"text": f"secretword {ACCOUNT} \\u00e9 end"}]}}}).encode()
    for size in range(len(whole)):
        once = response_of(redacted(exchange(None, whole[:size]), prompts=True)).body
        assert len(once) == size
        assert b"secretword" not in once
        assert ACCOUNT.encode() not in once


def test_a_page_of_a_gateway_is_kept_and_an_unknown_success_is_not() -> None:
    """With prompts redacted, a refusal in HTML stays readable; a body of no known kind is blanked."""
    page = b"<html>502 Bad Gateway</html>"
    once = redacted(exchange({}, page, headers={"content-type": "text/html"}, status=502), prompts=True)
    assert response_of(once).body == page
    once = redacted(exchange({}, page, headers={"content-type": "text/html"}), prompts=True)
    assert response_of(once).body == b"x" * len(page)


# -- the user's own rules


def test_a_callable_sees_every_text_and_where_it_stands() -> None:
    """It is called for strings of bodies, frames and chunks, for kept headers and the path; nothing else is lost."""
    seen: dict[str, str] = {}

    def redact(text: str, where: str) -> str:
        seen[where] = text
        return text.replace("acme", "customer")

    body = b"".join([*stream_with("acme says"), chunk_frame({"completion": "acme"})])
    given = exchange(
        {"system": [{"text": "acme"}]},
        body,
        headers=STREAM,
        path="/model/acme/converse",
        query="q=acme",
        pieces=[10, 200, len(body) - 210],
    )
    once = Redactor(redact=redact).exchange(given)
    assert seen["request.body.system[0].text"] == "acme"
    assert seen["request.path"] == "/model/acme/converse"
    assert seen["request.query.q"] == "acme"
    assert seen["response.headers.content-type"] == STREAM["content-type"]
    assert seen["response.frames[1].delta.text"] == "acme says"
    assert seen["response.frames[3].completion"] == "acme"
    assert (once.request.path, once.request.query) == ("/model/customer/converse", "q=customer")
    assert json.loads(once.request.body) == {"system": [{"text": "customer"}]}
    response = response_of(once)
    assert events_of(response.body)[1][1]["delta"] == {"text": "customer says"}
    assert base64.b64decode(events_of(response.body)[3][1]["bytes"]) == b'{"completion":"customer"}'
    # The cut that stood before the second frame's text stands there still.
    assert [each.at_ms for each in response.pieces] == [0, 1, 2]
    assert len(response.pieces[0].data) == 10


def test_several_callables_are_called_in_turn() -> None:
    """Each gets what the one before made of the text."""
    redactor = Redactor(redact=[lambda text, _: text + "1", lambda text, _: text + "2"])
    assert json.loads(redactor.request(CassetteRequest("POST", "/", b'{"a":"b"}')).body) == {"a": "b12"}


@pytest.mark.parametrize("said", [None, b"bytes"])
def test_a_callable_that_returns_no_text_is_told_where(said: Any) -> None:  # noqa: ANN401 - whatever it returns
    """``return`` is easily forgotten in it."""
    redactor = Redactor(redact=lambda text, _: said if text == "b" else text)
    with pytest.raises(InvalidRequestError, match=r"returned a \w+ for request\.body\.a, not the text"):
        redactor.request(CassetteRequest("POST", "/", b'{"a":"b"}'))


# -- the strings of a JSON text


@given(JSON_VALUES, st.booleans(), st.integers(min_value=0, max_value=60))
def test_places_are_those_of_the_parser(value: JSONValue, ascii: bool, cut: int) -> None:  # noqa: A002, FBT001
    """Every string and number stands where the parser finds it; a text cut anywhere is read as far as it goes."""
    text = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    found = [(each.path, text[each.start : each.end]) for each in places(text) if each.kind != "name"]
    read = [
        (path, json.loads(b'"' + raw + b'"') if quoted(text, raw, path, found) else json.loads(raw))
        for path, raw in found
    ]
    assert sorted(map(repr, read)) == sorted(map(repr, leaves(value)))
    for _ in places(text[:cut]):
        pass


def quoted(text: bytes, raw: bytes, path: object, found: object) -> bool:
    """Whether the place is a string: its kind tells, which the list above leaves out."""
    return next(
        each.kind == "string" for each in places(text) if each.path == path and text[each.start : each.end] == raw
    )


def leaves(value: JSONValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], JSONValue]]:
    """Yield scalars with their paths."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


@given(JSON_VALUES, st.booleans())
def test_blanking_is_final_and_keeps_the_length(value: JSONValue, prompts: bool) -> None:  # noqa: FBT001
    """Whatever JSON comes, redacting twice is redacting once, and a response keeps its length."""
    given_exchange = exchange({"a": value}, {"a": value})
    once = redacted(given_exchange, prompts=prompts)
    assert len(response_of(once).body) == len(response_of(given_exchange).body)
    check_blanked({"a": value}, json.loads(response_of(once).body))
