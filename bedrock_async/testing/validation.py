"""Reads requests as the service does: rest-json bindings, types and constraints from the reference model.

Unknown members are accepted and kept, as by the service (recorded: it accepted ``toolUse.type = "tool_use"`` before any
service model had the member), and an explicit null counts as absent. The messages of refusals are the service's own as
far as they were published; those about JSON types are its framework's.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn, cast
from urllib.parse import unquote

from ..errors import service_error
from ..types import JSONValue
from .received import ReceivedRequest

if TYPE_CHECKING:
    from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

__all__ = ["Route", "read_request", "routes"]

# Values that the service accepts although its enumeration lacks them: 37 recorded exchanges have toolUse.type =
# "tool_use", most of them in histories that were answered with 200.
_ALSO_ACCEPTED: Final[Mapping[str, frozenset[str]]] = {"ToolUseType": frozenset({"tool_use"})}

# The service's JSON reader names unexpected tokens in this way.
_TOKENS: Final[Mapping[type, str]] = {
    str: "STRING_VALUE",
    int: "NUMBER_VALUE",
    float: "DECIMAL_VALUE",
    dict: "START_OBJECT",
    list: "START_ARRAY",
}


class Route:
    """One operation's HTTP binding, to be matched against a request line."""

    def __init__(self, operation: OperationModel) -> None:
        """Compile the binding of ``operation``; a label matches one segment, and so no model id with a raw ``/``."""
        self.operation = operation
        self.method: str = operation.http["method"]
        template: str = operation.http["requestUri"]
        parts = re.split(r"\{(\w+)\}", template)
        labels = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        self._pattern = re.compile(labels)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the decoded labels of the path if the route matches the request, otherwise None."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


def routes() -> tuple[Route, ...]:
    """Return the routes of all operations of the reference model."""
    from .service_model import service_model

    model = service_model()
    return tuple(Route(model.operation_model(name)) for name in model.operation_names)


def read_request(operation: OperationModel, request: ReceivedRequest, labels: Mapping[str, str]) -> JSONValue:
    """Return the JSON body of the request, validated against the operation's input shape and without nulls.

    Returns None if the input has no JSON body (the body of InvokeModel is the model's own). Raises ServiceError:
    SerializationException for what cannot be parsed, ValidationException for what violates a constraint.
    """
    shape = operation.input_shape
    reader = _Reader()
    payload_name = shape.serialization.get("payload") if shape else None
    document: JSONValue = None
    if shape is not None:
        required = set(shape.required_members)
        in_body: dict[str, Shape] = {}
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            if location is not None:
                text = _located(location, str(member.serialization.get("name", name)), request, labels)
                if text is None and name in required:
                    reader.refuse(None, name, "Member must not be null")
                elif text is not None:
                    reader.constraints(text, member, name)
            elif name == payload_name:
                reader.length(len(request.body), member, name)
            else:
                in_body[name] = member
        if in_body:
            document = reader.members(_parsed(request.body), in_body, required & set(in_body), "")
    reader.raise_problems()
    return document


def _located(location: str, name: str, request: ReceivedRequest, labels: Mapping[str, str]) -> str | None:
    if location == "uri":
        return labels.get(name)
    if location == "header":
        return request.headers.get(name.lower())
    # The query string is the third and last location that the service model uses.
    pairs = (pair.partition("=") for pair in request.query.split("&"))
    return next((unquote(value) for key, _, value in pairs if unquote(key) == name), None)


def _parsed(body: bytes) -> dict[str, JSONValue]:
    try:
        value: object = json.loads(body or b"{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise service_error("SerializationException", f"The request body is not JSON: {_where(exc)}", status=400) from (
            None if isinstance(exc, RecursionError) else exc
        )
    if not isinstance(value, dict):
        _unreadable(f"{_token(value)} cannot be converted to a structure")
    return cast("dict[str, JSONValue]", value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _where(exc: ValueError | RecursionError) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"{exc.msg} at line {exc.lineno}, column {exc.colno}."
    if isinstance(exc, RecursionError):
        return "it is nested too deeply."
    return "it is not UTF-8 text or holds NaN or Infinity."


def _token(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    return _TOKENS.get(type(value), "NULL_VALUE")


def _unreadable(message: str) -> NoReturn:
    raise service_error("SerializationException", message, status=400)


class _Reader:
    """Walks one request; collects violations of constraints, but raises at once for a wrong type."""

    def __init__(self) -> None:
        self._problems: list[str] = []

    def raise_problems(self) -> None:
        if count := len(self._problems):
            noun = "error" if count == 1 else "errors"
            message = f"{count} validation {noun} detected: {'; '.join(self._problems)}"
            raise service_error("ValidationException", message)

    def refuse(self, value: object, path: str, constraint: str, *, shown: bool = True) -> None:
        text = "null" if value is None else f"'{value}'"
        subject = f"Value {text} at" if shown else "Value at"
        self._problems.append(f"{subject} '{path}' failed to satisfy constraint: {constraint}")

    def read(self, value: JSONValue, shape: Shape, path: str) -> JSONValue:
        kind = shape.type_name
        if kind == "structure":
            return self._structure(value, cast("StructureShape", shape), path)
        if kind == "list":
            return self._list(value, cast("ListShape", shape), path)
        if kind == "map":
            return self._map(value, cast("MapShape", shape), path)
        if kind in {"string", "blob", "timestamp"}:
            if not isinstance(value, str):
                _unreadable(f"{_token(value)} cannot be converted to String")
            if kind == "blob":
                self._blob(value, shape, path)
            else:
                self.constraints(value, shape, path)
        elif kind == "boolean":
            if not isinstance(value, bool):
                _unreadable(f"{_token(value)} cannot be converted to Boolean")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            _unreadable(f"{_token(value)} cannot be converted to {kind.title()}")
        elif kind in {"integer", "long"} and isinstance(value, float) and not value.is_integer():
            _unreadable(f"DECIMAL_VALUE cannot be converted to {kind.title()}")
        else:
            self._range(value, shape, path)
        return value

    def members(
        self, value: Mapping[str, JSONValue], known: Mapping[str, Shape], required: set[str], path: str
    ) -> dict[str, JSONValue]:
        kept = {name: member for name, member in value.items() if member is not None}
        for name in sorted(required - kept.keys()):
            self.refuse(None, _join(path, name), "Member must not be null")
        return {
            name: self.read(member, known[name], _join(path, name)) if name in known else member
            for name, member in kept.items()
        }

    def _structure(self, value: JSONValue, shape: StructureShape, path: str) -> JSONValue:
        if shape.is_document_type:
            return value
        if not isinstance(value, dict):
            _unreadable(f"{_token(value)} cannot be converted to a structure at '{path}'")
        known = shape.members
        read = self.members(value, known, set(shape.required_members), path)
        if shape.is_tagged_union and len(known.keys() & read.keys()) != 1:
            names = ", ".join(sorted(known))
            self.refuse(None, path, f"Member must have exactly one of the members [{names}]", shown=False)
        return cast("JSONValue", read)

    def _list(self, value: JSONValue, shape: ListShape, path: str) -> JSONValue:
        if not isinstance(value, list):
            _unreadable(f"{_token(value)} cannot be converted to a list at '{path}'")
        self.length(len(value), shape, path)
        # The service counts list members from 1 and appends "member" to each.
        return [self.read(item, shape.member, f"{path}.{index}.member") for index, item in enumerate(value, 1)]

    def _map(self, value: JSONValue, shape: MapShape, path: str) -> JSONValue:
        if not isinstance(value, dict):
            _unreadable(f"{_token(value)} cannot be converted to a map at '{path}'")
        self.length(len(value), shape, path)
        for key in value:
            self.constraints(key, shape.key, f"{path}.key")
        return {key: self.read(item, shape.value, f"{path}.{key}.member") for key, item in value.items()}

    def _blob(self, value: str, shape: Shape, path: str) -> None:
        try:
            blob = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            _unreadable(f"The value at '{path}' is not base64")
        self.length(len(blob), shape, path)

    def constraints(self, value: str, shape: Shape, path: str) -> None:
        # Free text may be a prompt and is never quoted; identifiers, enumerations and names are, as by the service.
        enum = cast("list[str]", shape.metadata.get("enum", []))
        if enum and value not in enum and value not in _ALSO_ACCEPTED.get(shape.name, ()):
            self.refuse(value, path, f"Member must satisfy enum value set: [{', '.join(enum)}]")
        pattern = cast("str | None", shape.metadata.get("pattern"))
        if pattern is not None and not re.fullmatch(pattern, value):
            self.refuse(value, path, f"Member must satisfy regular expression pattern: {pattern}")
        self.length(len(value), shape, path)

    def length(self, count: int, shape: Shape, path: str) -> None:
        low, high = _bounds(shape)
        if low is not None and count < low:
            self.refuse(None, path, f"Member must have length greater than or equal to {low}", shown=False)
        if high is not None and count > high:
            self.refuse(None, path, f"Member must have length less than or equal to {high}", shown=False)

    def _range(self, value: float, shape: Shape, path: str) -> None:
        low, high = _bounds(shape)
        if low is not None and value < low:
            self.refuse(value, path, f"Member must have value greater than or equal to {low}")
        if high is not None and value > high:
            self.refuse(value, path, f"Member must have value less than or equal to {high}")


def _bounds(shape: Shape) -> tuple[int | None, int | None]:
    return cast("int | None", shape.metadata.get("min")), cast("int | None", shape.metadata.get("max"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
