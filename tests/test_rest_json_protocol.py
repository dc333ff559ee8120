"""The official tests of the protocol that Bedrock Runtime speaks, AWS rest-json, against our reading and writing.

Their operations are made up, and our classes are written for those of the service; so classes are made here of the
shapes of each test, in the way in which ours are written. What no operation of the service uses is skipped, by name and
with its reason, and the reasons are held against the service model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from corpus import CORPUS
from pydantic import Field, create_model
from pydantic.alias_generators import to_snake

from bedrock_async import InvokeResponse
from bedrock_async.errors import service_error_from_response
from bedrock_async.events import read_model
from bedrock_async.model_id import ModelId
from bedrock_async.providers import Send, runtime
from bedrock_async.providers.converse import json_body
from bedrock_async.testing import service_model
from bedrock_async.types import WireModel
from bedrock_async.types._wire import JSON, Blob, Float, List, Timestamp, WireUnion

NO_BODY_BINDING: Final = "no operation takes a structure, union, document, enumeration or text as the whole body"
NO_HEADER_MAP: Final = "no operation has headers with a common prefix"
NO_JSON_HEADER: Final = "no operation has JSON in a header"
NO_QUERY_MAP: Final = "no operation has a map in the query"
ONLY_TEXT_IN_PATH: Final = "paths of the service hold ids and ARNs, no numbers, booleans or timestamps"
ONLY_ISO_8601: Final = "the service writes its timestamps in ISO 8601"
ALWAYS_MEMBERS: Final = "every operation has input and output members; an empty answer is an error here"
NO_HOST_PATH: Final = "which base a path is put behind is the endpoint's affair, tested with the endpoints"
NO_STATUS_MEMBER: Final = "the status is no member of an output; it is in the meta of every response"
OWN_TYPE: Final = "the type of a native body is a member of its own, application/json unless given"
NO_REGEX: Final = "the fixed parts of the service's paths are words"

SKIPPED: Final[Mapping[str, str]] = {
    "DocumentTypeAsPayloadInput": NO_BODY_BINDING,
    "DocumentTypeAsPayloadInputString": NO_BODY_BINDING,
    "MediaTypeHeaderInputBase64": NO_JSON_HEADER,
    "RestJsonEmptyInputAndEmptyOutput": ALWAYS_MEMBERS,
    "RestJsonEnumPayloadResponse": NO_BODY_BINDING,
    "RestJsonHostWithPath": NO_HOST_PATH,
    "RestJsonHttpGetWithNoInput": ALWAYS_MEMBERS,
    "RestJsonHttpPayloadTraitsWithBlob (input)": OWN_TYPE,
    "RestJsonHttpPayloadTraitsWithNoBlobBody (input)": OWN_TYPE,
    "RestJsonHttpPayloadWithStructure": NO_BODY_BINDING,
    "RestJsonHttpPayloadWithUnion (input)": NO_BODY_BINDING,
    "RestJsonHttpPayloadWithUnion (output)": NO_BODY_BINDING,
    "RestJsonHttpPayloadWithUnsetUnion (input)": NO_BODY_BINDING,
    "RestJsonHttpPayloadWithUnsetUnion (output)": NO_BODY_BINDING,
    "RestJsonHttpPostWithNoInput": ALWAYS_MEMBERS,
    "RestJsonHttpPostWithNoModeledBody": ALWAYS_MEMBERS,
    "RestJsonHttpPrefixEmptyHeaders": NO_HEADER_MAP,
    "RestJsonHttpPrefixHeadersAreNotPresent": NO_HEADER_MAP,
    "RestJsonHttpPrefixHeadersArePresent": NO_HEADER_MAP,
    "RestJsonHttpRequestWithLabelsAndTimestampFormat": ONLY_TEXT_IN_PATH,
    "RestJsonHttpResponseCode": NO_STATUS_MEMBER,
    "RestJsonHttpResponseCodeWithNoPayload": NO_STATUS_MEMBER,
    "RestJsonHttpWithPostHeaderMemberNoModeledBody": ALWAYS_MEMBERS,
    "RestJsonIgnoreQueryParamsInResponseNoPayload": ALWAYS_MEMBERS,
    "RestJsonInputWithHeadersAndAllParams": ONLY_TEXT_IN_PATH,
    "RestJsonJsonTimestampsWithHttpDateFormat": ONLY_ISO_8601,
    "RestJsonJsonTimestampsWithHttpDateOnTargetFormat": ONLY_ISO_8601,
    "RestJsonNoInputAndNoOutput (input)": ALWAYS_MEMBERS,
    "RestJsonNoInputAndNoOutput (output)": ALWAYS_MEMBERS,
    "RestJsonNoInputAndOutput": ALWAYS_MEMBERS,
    "RestJsonQueryPrecedence": NO_QUERY_MAP,
    "RestJsonStringPayloadRequest": NO_BODY_BINDING,
    "RestJsonStringPayloadResponse": NO_BODY_BINDING,
    "RestJsonSupportsInfinityFloatLabels": ONLY_TEXT_IN_PATH,
    "RestJsonSupportsNaNFloatLabels": ONLY_TEXT_IN_PATH,
    "RestJsonSupportsNegativeInfinityFloatLabels": ONLY_TEXT_IN_PATH,
    "RestJsonToleratesRegexCharsInSegments": NO_REGEX,
    "RestJsonUnitInputAndOutputNoOutput": ALWAYS_MEMBERS,
}

LABELS: Final = "RestJsonHttpRequestLabelEscaping"


@dataclass(frozen=True)
class Case:
    """One official test: an operation, and either parameters and a request, or a response and its reading."""

    name: str
    operation: OperationModel
    raw: Mapping[str, Any]

    def __str__(self) -> str:
        """Return the name, which pytest shows."""
        return self.name


@cache
def cases(direction: str) -> list[Case]:
    """Return the tests of inputs or outputs; names that are in both are told apart by the direction."""
    return [case for suite in suites(direction) for case in cases_of(suite, direction)]


def suites(direction: str) -> list[dict[str, Any]]:
    """Return the official file as it is."""
    path = CORPUS / "rest_json_protocol" / "botocore" / direction / "rest-json.json"
    found: list[dict[str, Any]] = json.loads(path.read_bytes())
    return found


def cases_of(suite: Mapping[str, Any], direction: str) -> Iterator[Case]:
    """Yield the tests of one suite, which share their shapes."""
    others = {
        case["id"] for other in suites({"input": "output", "output": "input"}[direction]) for case in other["cases"]
    }
    for raw in suite["cases"]:
        given = raw["given"]
        document = {"metadata": suite["metadata"], "shapes": suite["shapes"], "operations": {given["name"]: given}}
        name = f"{raw['id']} ({direction})" if raw["id"] in others else raw["id"]
        yield Case(name, ServiceModel(document).operation_model(given["name"]), raw)


def applicable(direction: str) -> list[Case]:
    """Return the tests that are not skipped."""
    return [case for case in cases(direction) if case.name not in SKIPPED and case.name != LABELS]


# -- classes as ours are written


def annotation_of(shape: Shape) -> Any:  # noqa: ANN401 - an annotation
    """Return what our classes have for a shape of this type."""
    match shape:
        case ListShape():
            return List[annotation_of(shape.member)]  # type: ignore[misc]
        case MapShape():
            return dict[str, annotation_of(shape.value)]  # type: ignore[misc]
        case StructureShape():
            return JSON if shape.is_document_type else class_of(shape)
        case _:
            scalars = {"string": str, "boolean": bool, "integer": int, "long": int, "float": Float, "double": Float}
            return {**scalars, "blob": Blob, "timestamp": Timestamp}[shape.type_name]


def class_of(shape: StructureShape) -> type[WireModel]:
    """Return a class with a field for every member, under its name on the wire."""
    fields: dict[str, Any] = {
        to_snake(name): (annotation_of(member) | None, Field(default=None, alias=wire_name(name, member)))
        for name, member in shape.members.items()
    }
    made = create_model(shape.name, __base__=WireUnion if shape.is_tagged_union else WireModel, **fields)
    made.not_in_body = {to_snake(name) for name, member in shape.members.items() if location(member)}
    return made


def wire_name(name: str, member: Shape) -> str:
    """Return what a member is called on the wire."""
    found: str = member.serialization.get("name", name)
    return found


def location(member: Shape) -> str | None:
    """Return where a member travels; None for the body."""
    found: str | None = member.serialization.get("location")
    return found


def expected_of(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - of any shape
    """Return the official values as what they are for the user; numbers as text, so that NaN equals itself."""
    match shape:
        case StructureShape() if not shape.is_document_type:
            return {name: expected_of(item, shape.members[name]) for name, item in value.items()}
        case ListShape():
            return [expected_of(item, shape.member) for item in value]
        case MapShape():
            return {key: expected_of(item, shape.value) for key, item in value.items()}
        case _:
            readings: dict[str, Callable[[Any], Any]] = {
                "timestamp": lambda seconds: datetime.fromtimestamp(seconds, UTC),
                "blob": str.encode,
                "float": lambda number: repr(float(number)),
                "double": lambda number: repr(float(number)),
            }
            return readings.get(shape.type_name, lambda same: same)(value)


def known(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - of any shape
    """Return what the shape knows of a reading, in the names of the shape; numbers as text."""
    match shape:
        case StructureShape() if not shape.is_document_type:
            members = {name: (value.get(wire_name(name, member)), member) for name, member in shape.members.items()}
            return {name: known(item, member) for name, (item, member) in members.items() if item is not None}
        case ListShape():
            return [known(item, shape.member) for item in value]
        case MapShape():
            return {key: known(item, shape.value) for key, item in value.items()}
        case _:
            return repr(value) if isinstance(value, float) else value


# -- the tests


@pytest.mark.parametrize("case", applicable("input"), ids=str)
def test_input(case: Case) -> None:
    """Parameters become the official body, query and headers; without members for a body there is none."""
    shape = case.operation.input_shape
    assert isinstance(shape, StructureShape)
    expected = case.raw["serialized"]
    kind = class_of(shape)
    parameters = {wire_name(name, shape.members[name]): value for name, value in case.raw["params"].items()}

    request = kind.from_dict(parameters)

    places = {location(member) for member in shape.members.values()}
    _, _, query = expected["uri"].partition("?")
    if None in places:
        assert json.loads(json_body(request)) == json.loads(expected["body"])
        assert expected["headers"]["Content-Type"] == "application/json"
    else:
        assert expected["body"] == ""
        assert request.to_wire() == {}
    if "querystring" in places:
        assert urlencode(runtime.query_of(request)) == query
    for name, member in shape.members.items():
        if location(member) == "header":
            assert getattr(request, to_snake(name)) == expected.get("headers", {}).get(wire_name(name, member))


def test_labels_are_quoted() -> None:
    """Everything but letters, digits and ``-._~`` is escaped in a path, as UTF-8."""
    (case,) = (case for case in cases("input") if case.name == LABELS)
    text: str = case.raw["params"]["string"]
    quoted = case.raw["serialized"]["uri"].split("/")[2]
    effect = next(runtime.get_async_invoke(text))
    assert isinstance(effect, Send)
    assert effect.request.path == f"/async-invoke/{quoted}"
    assert ModelId(raw=text, kind="unknown", resource=text).quoted == quoted


@pytest.mark.parametrize("case", [case for case in applicable("output") if "errorCode" not in case.raw], ids=str)
def test_output(case: Case) -> None:
    """An official body becomes the official values, and itself again."""
    shape = case.operation.output_shape
    assert isinstance(shape, StructureShape)
    body = case.raw["response"]["body"].encode()
    headers = {name.lower(): value for name, value in case.raw["response"].get("headers", {}).items()}
    if "payload" in shape.serialization:
        answer = InvokeResponse(body, headers)
        assert answer.body == case.raw["result"].get("blob", "").encode()
        assert answer.headers["x-foo"] == case.raw["result"]["foo"]
        return

    read = read_model(class_of(shape), body)

    in_body = {name: value for name, value in case.raw["result"].items() if not location(shape.members[name])}
    expected = expected_of(in_body, shape)
    assert known(read.to_dict(), shape) == expected
    again = read_model(type(read), json.dumps(read.to_wire()).encode())
    assert known(again.to_dict(), shape) == expected
    if "datetime" not in repr(expected):
        assert read.to_wire() == json.loads(body)


@pytest.mark.parametrize("case", [case for case in applicable("output") if "errorCode" in case.raw], ids=str)
def test_error(case: Case) -> None:
    """The code is found wherever the service puts it, without namespace and address; so is the message."""
    response = case.raw["response"]
    headers = {name.lower(): value for name, value in response.get("headers", {}).items()}
    error = service_error_from_response(response["status_code"], headers, response.get("body", "").encode())
    assert error.code == case.raw["errorCode"]
    assert error.status == response["status_code"]
    if "errorMessage" in case.raw:
        assert error.message == case.raw["errorMessage"]


def test_every_case_is_run_or_skipped_for_a_reason() -> None:
    """44 inputs and 53 outputs; a name in the table that is no case any more is a mistake."""
    assert (len(cases("input")), len(cases("output"))) == (44, 53)
    names = [case.name for direction in ("input", "output") for case in cases(direction)]
    assert len(set(names)) == len(names)
    assert SKIPPED.keys() <= set(names)


def members_of(shape: Shape | None, seen: set[str]) -> Iterator[tuple[str, Shape]]:
    """Yield every member of a shape at any depth; ``seen`` are the shapes that were looked into."""
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    if isinstance(shape, StructureShape):
        yield from shape.members.items()
        for member in shape.members.values():
            yield from members_of(member, seen)
    elif isinstance(shape, ListShape):
        yield from members_of(shape.member, seen)
    elif isinstance(shape, MapShape):
        yield from members_of(shape.value, seen)


def test_the_reasons_hold() -> None:
    """Nothing of what is skipped is in the service model: when it comes to be, the tests for it are waiting."""
    model = service_model()
    for operation in map(model.operation_model, model.operation_names):
        inputs, outputs = operation.input_shape, operation.output_shape
        assert isinstance(inputs, StructureShape)
        assert isinstance(outputs, StructureShape)
        assert inputs.members, ALWAYS_MEMBERS
        assert outputs.members, ALWAYS_MEMBERS
        for shape in (inputs, outputs):
            payload = shape.serialization.get("payload")
            if payload is not None:
                member = shape.members[payload]
                assert member.type_name == "blob" or member.serialization.get("eventstream"), NO_BODY_BINDING
        if operation.http["method"] != "GET":
            assert any(location(member) is None for member in inputs.members.values()), ALWAYS_MEMBERS
        assert operation.endpoint is None, NO_HOST_PATH
        assert (
            operation.http["requestUri"].replace("{", "").replace("}", "").replace("/", "").replace("-", "").isalpha()
        )
        for name, member in (*members_of(inputs, set()), *members_of(outputs, set())):
            place = location(member)
            assert place in {None, "uri", "header", "querystring"}, NO_HEADER_MAP + NO_STATUS_MEMBER
            assert not member.serialization.get("jsonvalue"), NO_JSON_HEADER
            assert member.type_name == "string" or place != "uri", ONLY_TEXT_IN_PATH
            assert place is None or member.type_name not in {"map", "list", "structure"}, NO_QUERY_MAP
            if member.type_name == "timestamp":
                assert member.serialization["timestampFormat"] == "iso8601", ONLY_ISO_8601
            assert place is not None or wire_name(name, member) == name
