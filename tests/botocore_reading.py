"""botocore's own reading and writing of Bedrock's JSON, and the comparison of our values with it.

Everything here goes by the reference service model, so that the result does not depend on the installed botocore.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.eventstream import EventStream
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.parsers import EventStreamJSONParser, create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from bedrock_async.testing import service_model

__all__ = [
    "input_shape",
    "invalid_members",
    "output_shape",
    "parsed",
    "parsed_events",
    "pruned",
    "serialized",
    "structure",
]

_FOREIGN: Final = "SDK_UNKNOWN_MEMBER"


def structure(name: str) -> StructureShape:
    """Return a structure of the service model by its name."""
    shape = service_model().shape_for(name)
    assert isinstance(shape, StructureShape)
    return shape


def input_shape(operation: str) -> StructureShape:
    """Return the structure of an operation's parameters."""
    shape = service_model().operation_model(operation).input_shape
    assert isinstance(shape, StructureShape)
    return shape


def output_shape(operation: str) -> StructureShape:
    """Return the structure of an operation's result."""
    shape = service_model().operation_model(operation).output_shape
    assert isinstance(shape, StructureShape)
    return shape


def parsed(
    operation: str, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return botocore's reading of a response, without the metadata that it adds."""
    response = {"status_code": status, "headers": dict(headers or {}), "body": body}
    reading: dict[str, Any] = create_parser("rest-json").parse(response, output_shape(operation))
    reading.pop("ResponseMetadata")
    return reading


def parsed_events(body: bytes, operation: str = "ConverseStream") -> list[dict[str, Any]]:
    """Return botocore's reading of the events in the body of a stream."""
    (member,) = output_shape(operation).members.values()
    assert isinstance(member, StructureShape)
    stream: EventStream[dict[str, Any]] = EventStream(_Body(body), member, EventStreamJSONParser(), operation)
    return list(stream)


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        """Yield the whole body at once."""
        yield self._body


def serialized(operation: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return path and JSON body of the request that botocore makes of the parameters."""
    model = service_model().operation_model(operation)
    request: dict[str, Any] = create_serializer("rest-json").serialize_to_request(dict(parameters), model)
    body: dict[str, Any] = json.loads(request["body"] or b"{}")
    return request["url_path"], body


def invalid_members(operation: str, parameters: Mapping[str, Any]) -> str:
    """Return what botocore's validator has against the parameters; empty when they are valid."""
    report = ParamValidator().validate(dict(parameters), input_shape(operation))
    return report.generate_report() if report.has_errors() else ""


def pruned(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return a value of boto3's shape without what botocore drops: members that the shape has not, and nulls.

    A union whose only member is foreign becomes botocore's placeholder with the name of that member.
    """
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        return _pruned_members(value, shape)
    if isinstance(shape, ListShape):
        items: list[Any] = value
        return [item if item is None else pruned(item, shape.member) for item in items]
    if isinstance(shape, MapShape):
        entries: dict[str, Any] = value
        return {key: pruned(entry, shape.value) for key, entry in entries.items()}
    return value


def _pruned_members(value: dict[str, Any], shape: StructureShape) -> dict[str, Any]:
    present = {name: member for name, member in value.items() if member is not None}
    if shape.is_tagged_union and present and not present.keys() & shape.members.keys():
        return {_FOREIGN: {"name": next(iter(value))}}
    return {name: pruned(member, shape.members[name]) for name, member in present.items() if name in shape.members}
