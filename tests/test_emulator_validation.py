"""What the emulator refuses: the reference model's constraints, in the service's words and form."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape
from botocore.validate import ParamValidator
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from official_clients import OFFICIAL_CLIENTS

from bedrock_async.errors import ServiceError
from bedrock_async.testing import BedrockEmulator, ReceivedRequest, service_model
from bedrock_async.testing.validation import Route, read_request, routes
from bedrock_async.types import JSONValue

MODEL: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
USER: Final[dict[str, Any]] = {"role": "user", "content": [{"text": "Hi"}]}


def route_of(operation: str) -> Route:
    """Return the route of that operation."""
    return next(route for route in routes() if route.operation.name == operation)


def read(body: bytes | Mapping[str, Any], operation: str = "Converse", model_id: str = MODEL, **headers: str) -> Any:  # noqa: ANN401
    """Read a request of the operation as the emulator does."""
    content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = ReceivedRequest(method="POST", path="", headers=named, body=content)
    return read_request(route_of(operation).operation, request, {"modelId": model_id})


def refusal(body: bytes | Mapping[str, Any], operation: str = "Converse", **keywords: str) -> ServiceError:
    """Return the error with which the request is refused."""
    with pytest.raises(ServiceError) as caught:
        read(body, operation, **keywords)
    assert caught.value.status == 400
    return caught.value


def with_message(**message: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a Converse request whose only message has these members."""
    return {"messages": [{**USER, **message}]}


@pytest.mark.parametrize(
    "exchange", [each for each in exchanges() if each.kind != "other" and each.raw["request_body"]], ids=str
)
def test_every_recorded_request_is_accepted(exchange: Exchange) -> None:
    """Nothing that reached the service's models, successes and refusals by them alike, is refused here."""
    headers = {name.lower(): value for name, value in exchange.request_headers.items()}
    request = ReceivedRequest(method=exchange.method, path=exchange.path, headers=headers, body=exchange.request_body)
    matches = [(route, route.match(request.method, request.path)) for route in routes()]
    ((route, labels),) = [(route, labels) for route, labels in matches if labels is not None]
    document = read_request(route.operation, request, labels)
    if document is not None:
        assert document == without_nulls(json.loads(exchange.request_body), route.operation.input_shape)


def without_nulls(value: JSONValue, shape: Shape | None) -> JSONValue:
    """Return the value without the explicit nulls that the shape's structures hold."""
    if shape is None or shape.metadata.get("document"):
        return value
    members: Mapping[str, Shape] = getattr(shape, "members", {})
    if isinstance(value, dict) and members:
        return {name: without_nulls(item, members.get(name)) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item, getattr(shape, "member", None)) for item in value]
    return value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            with_message(role="model"),
            (
                "Value 'model' at 'messages.1.member.role' failed to satisfy constraint: "
                "Member must satisfy enum value set: [user, assistant, system]"
            ),
        ),
        (
            {"messages": [{"content": [{"text": "Hi"}]}]},
            "Value null at 'messages.1.member.role' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"messages": [USER], "inferenceConfig": {"temperature": 1.5}},
            (
                "Value '1.5' at 'inferenceConfig.temperature' failed to satisfy constraint: "
                "Member must have value less than or equal to 1"
            ),
        ),
        (
            {"messages": [USER], "inferenceConfig": {"maxTokens": 0}},
            (
                "Value '0' at 'inferenceConfig.maxTokens' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
        ),
        (
            {"messages": [USER], "inferenceConfig": {"stopSequences": [""]}},
            (
                "Value at 'inferenceConfig.stopSequences.1.member' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
        (
            {"messages": [USER], "toolConfig": {"tools": []}},
            (
                "Value at 'toolConfig.tools' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
        (
            with_message(content=[{"toolUse": {"toolUseId": "a", "name": "no spaces", "input": {}}}]),
            (
                "Value 'no spaces' at 'messages.1.member.content.1.member.toolUse.name' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
            ),
        ),
        (
            with_message(content=[{"toolUse": {"toolUseId": "a", "name": "n" * 65, "input": {}}}]),
            (
                "Value at 'messages.1.member.content.1.member.toolUse.name' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            ),
        ),
        (
            with_message(content=[{"toolUse": {"toolUseId": "a", "name": "n", "input": {}, "type": "other"}}]),
            (
                "Value 'other' at 'messages.1.member.content.1.member.toolUse.type' failed to satisfy constraint: "
                "Member must satisfy enum value set: [server_tool_use]"
            ),
        ),
        (
            {"messages": [USER], "requestMetadata": {"ok": "no {braces}"}},
            (
                "Value 'no {braces}' at 'requestMetadata.ok.member' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9\\s:_@$#=/+,-.]{0,256}"
            ),
        ),
        (
            with_message(content=[{"image": {"format": "png", "source": {"bytes": ""}}}]),
            (
                "Value at 'messages.1.member.content.1.member.image.source.bytes' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split("'")[-2][-24:],
)
def test_a_violated_constraint_is_a_validation_exception(body: dict[str, Any], message: str) -> None:
    """Enumerations, required members, ranges, lengths and patterns are refused in the words of the service."""
    error = refusal(body)
    assert error.code == "ValidationException"
    assert error.message == f"1 validation error detected: {message}"


def test_all_violations_are_told_at_once() -> None:
    """The count and every violation are in one message."""
    error = refusal({"messages": [USER], "inferenceConfig": {"temperature": 2, "topP": -1}})
    assert error.message.startswith("2 validation errors detected: ")
    assert error.message.count("; Value") == 1


@pytest.mark.parametrize("block", [{}, {"text": "a", "cachePoint": {"type": "default"}}, {"tomorrow": {}}])
def test_a_block_holds_exactly_one_known_member(block: dict[str, Any]) -> None:
    """Of a union one member is set: not none, not two, not one that the service does not know."""
    error = refusal(with_message(content=[block]))
    assert error.code == "ValidationException"
    assert "'messages.1.member.content.1.member'" in error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b'{"messages": NaN}', "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"messages":' + b"[" * 100_000, "nested too deeply"),
        (b"[]", "START_ARRAY cannot be converted to a structure"),
        (with_message(role=1), "NUMBER_VALUE cannot be converted to String"),
        (with_message(content={}), "START_OBJECT cannot be converted to a list"),
        (with_message(content=[1]), "NUMBER_VALUE cannot be converted to a structure"),
        ({"messages": [USER], "inferenceConfig": {"maxTokens": "1"}}, "STRING_VALUE cannot be converted to Integer"),
        ({"messages": [USER], "inferenceConfig": {"maxTokens": True}}, "TRUE_VALUE cannot be converted to Integer"),
        ({"messages": [USER], "inferenceConfig": {"maxTokens": 1.5}}, "DECIMAL_VALUE cannot be converted to Integer"),
        ({"messages": [USER], "requestMetadata": []}, "START_ARRAY cannot be converted to a map"),
        ({"messages": [None]}, "NULL_VALUE cannot be converted to a structure"),
        (with_message(content=[{"image": {"format": "png", "source": {"bytes": "a b"}}}]), "not base64"),
        (with_message(content=[{"image": {"format": "png", "source": {"bytes": "QQ"}}}]), "not base64"),
        (
            with_message(content=[{"document": {"name": "a", "source": {"text": "a"}, "citations": {"enabled": 0}}}]),
            "NUMBER_VALUE cannot be converted to Boolean",
        ),
    ],
)
def test_what_cannot_be_read_is_a_serialization_exception(body: bytes | dict[str, Any], message: str) -> None:
    """Broken JSON, wrong JSON types and blobs that are no strict base64 are refused before any constraint."""
    error = refusal(body)
    assert error.code == "SerializationException"
    assert message in error.message


def test_a_refusal_never_quotes_free_text() -> None:
    """Prompts, documents and answers stay out of error messages."""
    secret = "the patient's name is"
    body = with_message(content=[{"text": secret, "cachePoint": {"type": "default"}}], role="model")
    assert secret not in refusal(body).message


def test_nulls_are_absent_members() -> None:
    """An explicit null is dropped, and a required member that is null is missing."""
    assert read({"messages": [USER], "system": None}) == {"messages": [USER]}
    assert "Member must not be null" in refusal(with_message(role=None)).message


def test_documents_are_not_looked_into() -> None:
    """Whatever JSON a document member holds comes through, nulls included."""
    fields = {"a": None, "b": [1, {"c": float(2)}], "role": "nobody"}
    assert read({"messages": [USER], "additionalModelRequestFields": fields})["additionalModelRequestFields"] == fields


def test_a_whole_number_may_be_written_as_a_decimal() -> None:
    """1.0 is an integer in JSON."""
    assert read({"messages": [USER], "inferenceConfig": {"maxTokens": 1.0}})["inferenceConfig"]["maxTokens"] == 1


def test_headers_and_labels_are_validated_too() -> None:
    """Members that travel in headers and in the path have constraints as well; absent headers are absent members."""
    assert read(b"anything", "InvokeModel") is None
    assert "'trace'" in refusal(b"{}", "InvokeModel", x_amzn_bedrock_trace="maybe").message
    assert (
        "'guardrailIdentifier'"
        in refusal(b"{}", "InvokeModel", x_amzn_bedrock_guardrailidentifier="NO GUARDRAIL").message
    )
    assert "'modelId'" in refusal(b"{}", "InvokeModel", model_id="white space").message
    unlabelled = ReceivedRequest(method="POST", path="", body=b"{}")
    with pytest.raises(ServiceError, match="Value null at 'modelId'"):
        read_request(route_of("InvokeModel").operation, unlabelled, {})


def test_query_members_are_read() -> None:
    """Members bound to the query string are found by their wire names and decoded."""
    operation = route_of("ListAsyncInvokes").operation
    good = ReceivedRequest(method="GET", path="/async-invoke", query="statusEquals=Completed&maxResults=5")
    assert read_request(operation, good, {}) is None
    bad = ReceivedRequest(method="GET", path="/async-invoke", query="maxResults=5&statusEquals=Not%20Done")
    with pytest.raises(ServiceError, match="'Not Done' at 'statusEquals'"):
        read_request(operation, bad, {})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("user"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["role", "content", "text", "toolUse", "name", "toolUseId", "input", "image", "source"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_botocore_refuses_is_refused(messages: Any) -> None:  # noqa: ANN401
    """botocore's own validator, a second reading of the model, finds nothing wrong in what is accepted here."""
    try:
        read_back = read({"messages": messages})
    except ServiceError:
        return
    operation = service_model().operation_model("Converse")
    shape = operation.input_shape
    assert shape is not None
    report = ParamValidator().validate(known({**read_back, "modelId": MODEL}, shape), shape)
    assert not report.has_errors(), report.generate_report()


def known(value: Any, shape: Any) -> Any:  # noqa: ANN401
    """Prune a wire value to the members that the shape knows, and decode its blobs: botocore's parameters."""
    if shape.type_name == "blob":
        return base64.b64decode(value)
    if shape.type_name == "structure" and not shape.is_document_type:
        return {name: known(item, shape.members[name]) for name, item in value.items() if name in shape.members}
    if shape.type_name == "list":
        return [known(item, shape.member) for item in value]
    return value


@pytest.mark.parametrize("name", list(OFFICIAL_CLIENTS))
async def test_a_refusal_reaches_the_official_clients_as_their_exception(name: str) -> None:
    """The clients, whose own validation is switched off, raise ValidationException with the service's message."""
    config = Config(parameter_validation=False, retries={"max_attempts": 0})
    async with BedrockEmulator() as emulator, OFFICIAL_CLIENTS[name](emulator.url, config=config) as client:
        with pytest.raises(ClientError) as caught:
            await client.call("converse", modelId=MODEL, messages=[{"role": "model", "content": [{"text": "Hi"}]}])
        with pytest.raises(ClientError) as unread:
            await client.call("invoke_model", modelId=MODEL, body=b"no json")
    assert type(caught.value).__name__ == "ValidationException"
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-errortype"] == ("ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/")
    assert unread.value.response["Error"]["Message"].startswith("Malformed input request")
