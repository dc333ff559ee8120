"""How the official parser reads the service's responses: botocore, with the reference service model.

The result therefore does not depend on the installed version of botocore. Requires botocore: call `service_model`
first, in a worker thread, which raises the error if it is missing.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidRequestError
from .service_model import service_model

if TYPE_CHECKING:
    from botocore.eventstream import EventStream
    from botocore.model import Shape, StructureShape

__all__ = ["output_shape", "parsed", "parsed_error", "parsed_events", "pruned", "stream_shape"]

_FOREIGN: Final = "SDK_UNKNOWN_MEMBER"
_REFUSED: Final = 300


def output_shape(operation: str) -> StructureShape:
    """Return the structure of an operation's result. Raises InvalidRequestError for an operation without one."""
    shape = service_model().operation_model(operation).output_shape
    if shape is None:
        raise InvalidRequestError(f"{operation} has no result.", path="operation")
    return shape


def stream_shape(operation: str) -> StructureShape:
    """Return the structure of an operation's event stream. Raises InvalidRequestError for an operation without one."""
    from botocore.model import StructureShape

    members = output_shape(operation).members
    shape = next((each for each in members.values() if each.serialization.get("eventstream")), None)
    if not isinstance(shape, StructureShape):
        raise InvalidRequestError(f"{operation} streams nothing.", path="operation")
    return shape


def parsed(
    operation: str, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a response as read by botocore, without the metadata that it adds; a native body as bytes."""
    from botocore.awsrequest import HeadersDict
    from botocore.parsers import create_parser

    native = service_model().operation_model(operation).has_streaming_output
    response = {
        "status_code": status,
        "headers": HeadersDict(dict(headers or {})),
        "body": io.BytesIO(body) if native and status < _REFUSED else body,  # as botocore's client passes it
    }
    reading: dict[str, Any] = create_parser("rest-json").parse(response, output_shape(operation))
    reading.pop("ResponseMetadata")
    return {name: value.read() if isinstance(value, io.BytesIO) else value for name, value in reading.items()}


def parsed_error(operation: str, body: bytes, *, status: int, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return code and message of an error response, as botocore raises them."""
    error: dict[str, str] = parsed(operation, body, status=status, headers=headers)["Error"]
    return error.get("Code", ""), error.get("Message", "")


def parsed_events(operation: str, body: bytes) -> list[dict[str, Any]]:
    """Return the events in the body of a stream, as read by botocore."""
    from botocore.eventstream import EventStream
    from botocore.parsers import EventStreamJSONParser

    events: EventStream[dict[str, Any]] = EventStream(
        _Body(body), stream_shape(operation), EventStreamJSONParser(), operation
    )
    return list(events)


class _Body:
    """A body with the interface of urllib3's."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        """Yield the whole body at once."""
        yield self._body


def pruned(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON of any shape
    """Return a value in boto3's shape without what botocore drops: members not in the shape, and nulls.

    A union whose only member is unknown becomes botocore's placeholder with the name of that member.
    """
    from botocore.model import ListShape, MapShape, StructureShape

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
