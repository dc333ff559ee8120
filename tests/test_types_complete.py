"""A walk over the service model: every member and every value that it names has its place in our types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore_reading import structure
from pydantic.alias_generators import to_snake

from bedrock_async import (
    ConverseRequest,
    ConverseResponse,
    Event,
    ImageBlock,
    ServiceError,
    TextBlock,
)
from bedrock_async.errors import service_error
from bedrock_async.events import ToolUseDelta
from bedrock_async.testing import service_model
from bedrock_async.types import MediaError, WireModel
from bedrock_async.types._wire import Block


def classes_in(annotation: object) -> list[type[Any]]:
    """Return the classes that an annotation names, at any depth."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation]
    return [found for part in get_args(annotation) for found in classes_in(part)]


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
            # Where we name values we name all; some long lists, such as the kinds of personal data, are just text.
            named = literals_in(annotation)
            yield from (f"{path} = {value!r}" for value in shape.enum if named and value not in named)
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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConverseRequest", ConverseRequest),
        ("ConverseStreamRequest", ConverseRequest),
        ("ConverseResponse", ConverseResponse),
    ],
)
def test_every_member_and_value_of_the_service_model_has_its_place(name: str, kind: type[WireModel]) -> None:
    """When the service gains a member, a kind of block or a value, this says which, as a path."""
    assert list(missing(structure(name), kind, name)) == []


def test_every_event_and_its_members_have_their_place() -> None:
    """The same for the events of a stream."""
    found: list[str] = []
    kinds = {kind.wire_name: kind for kind in get_args(Event)}
    for name, shape in structure("ConverseStreamOutput").members.items():
        if shape.metadata.get("exception"):
            continue
        assert isinstance(shape, StructureShape)
        found += missing_in_struct(shape, kinds[name], name) if name in kinds else [name]
    assert found == []


def test_every_exception_of_the_service_has_its_class() -> None:
    """Every modelled error is in the table of codes, with the status that the service model gives it."""
    model = service_model()
    errors = {shape.name: shape for name in model.operation_names for shape in model.operation_model(name).error_shapes}
    found = {name: service_error(name, "message") for name in errors}
    assert [name for name, error in found.items() if type(error) is ServiceError] == []
    assert {name: error.status for name, error in found.items()} == {
        name: shape.metadata["error"]["httpStatusCode"] for name, shape in errors.items()
    }


def test_the_walk_finds_what_is_missing() -> None:
    """A class without the members, blocks or values of a shape is reported, so that the walk cannot pass by itself."""
    assert list(missing(structure("ConverseMetrics"), MediaError, "m")) == ["m.latencyMs"]
    assert list(missing(structure("PerformanceConfiguration"), MediaError, "p")) == ["p.latency"]
    assert list(missing(structure("CachePointBlock").members["ttl"], Literal["5m"], "t")) == ["t = '1h'"]
    assert "b.audio" in list(missing(structure("ContentBlock"), TextBlock | ImageBlock, "b"))
    assert list(missing(structure("ConverseOutput"), str, "o")) == ["o (a structure)"]
    delta = structure("ContentBlockDelta")
    assert list(missing_in_struct(delta, ToolUseDelta, "d"))[:2] == ["d.citation", "d.image"]
