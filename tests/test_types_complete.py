"""A walk over the service model: every member and every value that it names has its place in our types."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore_reading import input_shape, output_shape, structure
from pydantic.alias_generators import to_snake

from bedrock_async import (
    ConverseRequest,
    ConverseResponse,
    Event,
    ImageBlock,
    InvokeChunk,
    InvokeResponse,
    ServiceError,
    TextBlock,
)
from bedrock_async.errors import service_error, service_error_from_response
from bedrock_async.events import ToolUseDelta
from bedrock_async.providers import runtime
from bedrock_async.stream import InvokeStream, ResponseStream
from bedrock_async.testing import service_model
from bedrock_async.types import (
    ApplyGuardrailRequest,
    AsyncInvokePage,
    AsyncInvokeSummary,
    CountTokensRequest,
    GuardrailChecksReport,
    GuardrailChecksRequest,
    GuardrailVerdict,
    InvokeRequest,
    ListAsyncInvokesRequest,
    MediaError,
    StartAsyncInvokeRequest,
    StartedAsyncInvoke,
    TokenCount,
    WireModel,
)
from bedrock_async.types._later import Later
from bedrock_async.types._wire import Block

Home: TypeAlias = "type[Any] | Callable[..., Any]"
"""Where the members of an input or output are: fields, properties, or the parameters of a function."""

HOMES: Final[dict[str, tuple[Home, Home]]] = {
    "ApplyGuardrail": (ApplyGuardrailRequest, GuardrailVerdict),
    "Converse": (ConverseRequest, ConverseResponse),
    "ConverseStream": (ConverseRequest, ResponseStream),
    "CountTokens": (CountTokensRequest, TokenCount),
    "GetAsyncInvoke": (runtime.get_async_invoke, AsyncInvokeSummary),
    "InvokeGuardrailChecks": (GuardrailChecksRequest, GuardrailChecksReport),
    "InvokeModel": (InvokeRequest, InvokeResponse),
    "InvokeModelWithResponseStream": (InvokeRequest, InvokeStream),
    "ListAsyncInvokes": (ListAsyncInvokesRequest, AsyncInvokePage),
    "StartAsyncInvoke": (StartAsyncInvokeRequest, StartedAsyncInvoke),
}
EXEMPT: Final = {"InvokeModelWithBidirectionalStream"}
"""Operations that have no types yet."""


def classes_in(annotation: object) -> list[type[Any]]:
    """Return the classes that an annotation names, at any depth."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation]
    if isinstance(annotation, Later):
        return [annotation.kind]
    return [found for part in get_args(annotation) for found in classes_in(part) if found is not object]


def literals_in(annotation: object) -> set[str]:
    """Return the texts that an annotation names, at any depth."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {text for part in get_args(annotation) for text in literals_in(part)}


def missing(shape: Shape, annotation: object, path: str) -> Iterator[str]:
    """Yield the paths of what the shape names and the annotation has no place for."""
    match shape:
        case ListShape():
            yield from missing(shape.member, annotation, f"{path}[]")
        case MapShape():
            yield from missing(shape.value, annotation, f"{path}{{}}")
        case StringShape():
            named = literals_in(annotation)
            yield from (f"{path} = {value!r}" for value in shape.enum if value not in named)
        case StructureShape() if not shape.is_document_type:
            kinds = [kind for kind in classes_in(annotation) if issubclass(kind, WireModel)]
            if len(kinds) > 1:
                yield from missing_blocks(shape, kinds, path)
            elif kinds:
                yield from missing_members(shape, kinds[0], path)
            else:
                yield f"{path} (a structure)"
        case _:
            pass


def missing_blocks(shape: StructureShape, kinds: list[type[WireModel]], path: str) -> Iterator[str]:
    """Yield the kinds of a tagged union that have no class, and what the others lack."""
    by_tag = {kind.tag: kind for kind in kinds if issubclass(kind, Block)}
    for name, member in shape.members.items():
        if name not in by_tag:
            yield f"{path}.{name}"
        elif isinstance(member, StructureShape) and not by_tag[name].flat:
            yield from missing_members(member, by_tag[name], f"{path}.{name}")


def missing_members(shape: StructureShape, kind: type[WireModel], path: str) -> Iterator[str]:
    """Yield the members of a structure that have no field, and what the fields' own types lack."""
    annotations = {field.alias: field.annotation for field in kind.model_fields.values()}
    for name, member in shape.members.items():
        if name not in annotations:
            yield f"{path}.{name}"
        else:
            yield from missing(member, annotations[name], f"{path}.{name}")


def missing_in_struct(shape: StructureShape, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    """Yield what an event's struct lacks; a member that is kept as raw JSON is read by the property of its name."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, member in shape.members.items():
        if name not in fields:
            yield f"{path}.{name}"
            continue
        structs = [found for found in classes_in(fields[name].type) if issubclass(found, msgspec.Struct)]
        if isinstance(member, StructureShape) and structs:
            yield from missing_in_struct(member, structs[0], f"{path}.{name}")
        elif fields[name].type is msgspec.Raw and isinstance(member, StructureShape) and not member.is_document_type:
            read = getattr(kind, to_snake(name)).fget
            yield from missing(member, get_type_hints(read)["return"], f"{path}.{name}")


def missing_in_home(shape: StructureShape, home: Home, path: str) -> Iterator[str]:
    """Yield the members of an input or output that have no place; those of an event stream are its events' affair."""
    if isinstance(home, type) and issubclass(home, WireModel):
        yield from missing_members(shape, home, path)
        return
    names = set(dir(home)) if isinstance(home, type) else set(inspect.signature(home).parameters)
    if dataclasses.is_dataclass(home):
        names |= {field.name for field in dataclasses.fields(home)}
    for name, member in shape.members.items():
        if not member.serialization.get("eventstream") and to_snake(name) not in names:
            yield f"{path}.{name}"


def enumerations(shape: Shape, seen: set[str]) -> set[str]:
    """Return the names of the enumerations in a shape, at any depth; ``seen`` are the shapes that were looked into."""
    if shape.name in seen:
        return set()
    seen.add(shape.name)
    match shape:
        case ListShape():
            return enumerations(shape.member, seen)
        case MapShape():
            return enumerations(shape.value, seen) | enumerations(shape.key, seen)
        case StructureShape():
            return {name for member in shape.members.values() for name in enumerations(member, seen)}
        case StringShape() if shape.enum:
            return {shape.name}
        case _:
            return set()


def test_every_operation_has_its_types() -> None:
    """A new operation of the service has types, or stands in the list of those that have none yet."""
    assert {*HOMES, *EXEMPT} == set(service_model().operation_names)
    assert not EXEMPT & HOMES.keys()


@pytest.mark.parametrize("operation", HOMES)
def test_every_member_and_value_of_an_operation_has_its_place(operation: str) -> None:
    """When the service gains a member, a kind of block or a value, this says which, as a path.

    Members of inputs are in the body, the path, the query or headers; those of outputs in the body or headers.
    """
    taken, given = HOMES[operation]
    found = list(missing_in_home(input_shape(operation), taken, f"{operation}Request"))
    found += missing_in_home(output_shape(operation), given, f"{operation}Response")
    assert found == []


def test_every_event_and_its_members_have_their_place() -> None:
    """The same for the events of the two streams."""
    found: list[str] = []
    kinds: dict[str, type[msgspec.Struct]] = {kind.wire_name: kind for kind in get_args(Event)}
    for stream, members in (("ConverseStreamOutput", kinds), ("ResponseStream", {"chunk": InvokeChunk})):
        for name, shape in structure(stream).members.items():
            assert isinstance(shape, StructureShape)
            if not shape.metadata.get("exception"):
                found += missing_in_struct(shape, members[name], name) if name in members else [name]
    assert found == []


def test_every_enumeration_is_named_somewhere() -> None:
    """Events and headers take any text; the values that are known today stand in the types of requests or responses."""
    bodies: set[str] = set()
    others: set[str] = set()
    for operation, homes in HOMES.items():
        for shape, home in zip((input_shape(operation), output_shape(operation)), homes, strict=True):
            typed = isinstance(home, type) and issubclass(home, WireModel)
            (bodies if typed else others).update(enumerations(shape, set()))
    assert "StopReason" in others
    assert others <= bodies


def test_every_exception_of_the_service_has_its_class() -> None:
    """Every modelled error is in the table of codes, with the status that the service model gives it."""
    errors = {
        shape.name: shape for operation in HOMES for shape in service_model().operation_model(operation).error_shapes
    }
    found = {name: service_error(name, "message") for name in errors}
    assert [name for name, error in found.items() if type(error) is ServiceError] == []
    assert {name: error.status for name, error in found.items()} == {
        name: shape.metadata["error"]["httpStatusCode"] for name, shape in errors.items()
    }


def test_every_exception_in_a_stream_is_one_of_the_table() -> None:
    """An exception frame names the same errors, with a small first letter."""
    for stream in ("ConverseStreamOutput", "ResponseStream"):
        exceptions = [name for name, shape in structure(stream).members.items() if shape.metadata.get("exception")]
        assert exceptions
        assert [name for name in exceptions if type(service_error(name, "", in_stream=True)) is ServiceError] == []


def test_every_member_of_an_exception_has_its_place() -> None:
    """What the service says beside the message is an attribute of the error."""
    names = {
        name
        for operation in HOMES
        for shape in service_model().operation_model(operation).error_shapes
        for name in structure(shape.name).members
    }
    body = msgspec.json.encode({name: 418 if name == "originalStatusCode" else f"the {name}" for name in names})
    error = service_error_from_response(424, {"x-amzn-errortype": "ModelErrorException"}, body)
    assert {name: getattr(error, to_snake(name)) for name in names} == msgspec.json.decode(body)


def test_the_walk_finds_what_is_missing() -> None:
    """A class without the members, blocks or values of a shape is reported, so that the walk cannot pass by itself."""
    assert list(missing(structure("ConverseMetrics"), MediaError, "m")) == ["m.latencyMs"]
    assert list(missing(structure("PerformanceConfiguration"), MediaError, "p")) == ["p.latency"]
    assert list(missing(structure("CachePointBlock").members["ttl"], Literal["5m"], "t")) == ["t = '1h'"]
    assert list(missing(structure("CachePointBlock").members["type"], str, "t")) == ["t = 'default'"]
    assert "b.audio" in list(missing(structure("ContentBlock"), TextBlock | ImageBlock, "b"))
    assert list(missing(structure("ConverseOutput"), str, "o")) == ["o (a structure)"]
    delta = structure("ContentBlockDelta")
    assert list(missing_in_struct(delta, ToolUseDelta, "d"))[:2] == ["d.citation", "d.image"]
    assert list(missing_in_home(input_shape("GetAsyncInvoke"), runtime.count_tokens, "g")) == ["g.invocationArn"]
    assert list(missing_in_home(output_shape("InvokeModel"), ResponseStream, "i"))[:2] == ["i.body", "i.contentType"]
    assert enumerations(structure("ToolResultBlock"), set()) >= {"ToolResultStatus", "VideoFormat"}
