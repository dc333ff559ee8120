"""botocore's own reading and writing of Bedrock's JSON, and the comparison of our values with it.

Everything here goes by the reference service model, so that the result does not depend on the installed botocore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from botocore.model import StructureShape
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from bedrock_async.testing import official_reading, service_model
from bedrock_async.testing.official_reading import output_shape, parsed, parsed_error, pruned

__all__ = [
    "Sent",
    "has_native_body",
    "input_shape",
    "invalid_members",
    "output_shape",
    "parsed",
    "parsed_error",
    "parsed_events",
    "pruned",
    "sent_by_botocore",
    "serialized",
    "structure",
]


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


def parsed_events(body: bytes, operation: str = "ConverseStream") -> list[dict[str, Any]]:
    """Return botocore's reading of the events in the body of a stream."""
    return official_reading.parsed_events(operation, body)


@dataclass(frozen=True)
class Sent:
    """A request, with what the comparison need not know taken out: header names in lower case, JSON parsed."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @classmethod
    def of(
        cls, method: str, path: str, query: Mapping[str, object], headers: Mapping[str, str], body: bytes, *, raw: bool
    ) -> Self:
        """Return the request; with ``raw`` the body is compared as bytes."""
        return cls(
            method,
            path,
            {name: str(value) for name, value in query.items()},
            {name.lower(): value for name, value in headers.items()},
            body if raw or not body else json.loads(body),
        )


def sent_by_botocore(operation: str, parameters: Mapping[str, Any]) -> Sent:
    """Return the request that botocore makes of the parameters. Raises ParamValidationError for invalid ones."""
    model = service_model().operation_model(operation)
    made: dict[str, Any] = create_serializer("rest-json").serialize_to_request(dict(parameters), model)
    raw = has_native_body(operation)
    return Sent.of(made["method"], made["url_path"], made["query_string"], made["headers"], made["body"], raw=raw)


def has_native_body(operation: str) -> bool:
    """Tell whether the body of an operation's request is the model's own, and no JSON of the service."""
    return "payload" in input_shape(operation).serialization


def serialized(operation: str, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return path and JSON body of the request that botocore makes of the parameters."""
    sent = sent_by_botocore(operation, parameters)
    return sent.path, sent.body


def invalid_members(operation: str, parameters: Mapping[str, Any]) -> str:
    """Return what botocore's validator has against the parameters; empty when they are valid."""
    report = ParamValidator().validate(dict(parameters), input_shape(operation))
    return report.generate_report() if report.has_errors() else ""
