"""The Converse and ConverseStream operations, with one request shape for all models that support them."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final, TypeVar

from ..errors import InvalidRequestError, ResponseDecodeError
from ..events import ConverseEventDecoder, Event, read_model, unexpected_content_type
from ..types import ConverseRequest, ConverseResponse, WireModel
from ._protocol import INTERFACE_VERSION, CallContext, Flow, HttpRequest, HttpResponse, StreamPlan, send

M = TypeVar("M", bound=WireModel)

JSON_TYPE: Final = "application/json"
_LONG_BYTES: Final = 16 * 1024
_JSON_TYPES: Final = frozenset({JSON_TYPE, "application/x-amz-json-1.1"})
JSON_HEADERS: Final = MappingProxyType({"content-type": JSON_TYPE})


class ConverseProvider:
    """The default provider."""

    name = "converse"
    interface_version = INTERFACE_VERSION

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Send one request; return its response."""
        response = yield from send(_request(_without_mode(request), ctx, "converse"))
        return read_json(ConverseResponse, response)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event]:
        """Return the plan of one event stream."""
        return StreamPlan(_request(request, ctx, "converse-stream"), ConverseEventDecoder())


def _without_mode(request: ConverseRequest) -> ConverseRequest:
    """Return the request without the guardrail's stream processing mode, which Converse does not accept."""
    guardrail = request.guardrail_config
    if guardrail is None or guardrail.stream_processing_mode is None:
        return request
    kept = {name: value for name, value in guardrail.to_wire().items() if name != "streamProcessingMode"}
    return request.model_copy(update={"guardrail_config": type(guardrail).from_wire(kept)})


def _request(request: ConverseRequest, ctx: CallContext, operation: str) -> HttpRequest:
    return HttpRequest("POST", f"/model/{ctx.target.quoted}/{operation}", headers=JSON_HEADERS, body=json_body(request))


def json_body(request: WireModel) -> bytes:
    """Return the JSON body of a request. Raises InvalidRequestError for values that JSON cannot represent."""
    try:
        body = request.to_wire_bytes()
        # Searching for NaN and Infinity takes a millisecond per megabyte, and texts cannot be such numbers.
        if len(body) > _LONG_BYTES and isinstance(request, ConverseRequest) and request.only_texts:
            return body
        if b"NaN" in body or b"Infinity" in body:  # most likely part of a text
            json.loads(body, parse_constant=_refuse)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"the request contains a value that JSON cannot represent: {exc}.",
            hint="Tool input, schemas and additional_request_fields are made of dicts, lists, text and numbers.",
        ) from exc
    return body


def _refuse(constant: str) -> object:
    raise ValueError(f"the number {constant}")


def read_json(kind: type[M], response: HttpResponse) -> M:
    """Read a JSON response. Raises UnexpectedContentTypeError or ResponseDecodeError."""
    content_type = response.headers.get("content-type", "")
    if content_type != JSON_TYPE and content_type.partition(";")[0].strip().lower() not in _JSON_TYPES:
        raise unexpected_content_type(response.status, content_type, JSON_TYPE)
    if not response.body:
        raise ResponseDecodeError(
            f"the answer (HTTP {response.status}) is empty.",
            hint="Check endpoint_url: the Bedrock Runtime never sends an empty answer.",
        )
    return read_model(kind, response.body)
