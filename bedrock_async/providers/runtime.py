"""The operations of the Bedrock Runtime besides Converse, as pure flows: one request, one response each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from .. import types
from ..errors import InvalidRequestError
from ..eventstream import CONTENT_TYPE
from ..model_id import ModelId
from ..native import ChunkDecoder, InvokeChunk
from ._protocol import Flow, HttpRequest, HttpResponse, StreamPlan, send
from .converse import JSON_HEADERS, json_body, read_json

if TYPE_CHECKING:
    from ..types import (
        ApplyGuardrailRequest,
        AsyncInvokePage,
        AsyncInvokeSummary,
        CountTokensRequest,
        GuardrailChecksReport,
        GuardrailChecksRequest,
        GuardrailVerdict,
        InvokeRequest,
        ListAsyncInvokesRequest,
        StartAsyncInvokeRequest,
        StartedAsyncInvoke,
        TokenCount,
        WireModel,
    )

M = TypeVar("M", bound="WireModel")

# Members of InvokeModel that are sent in headers, with the names in the service model.
_INVOKE_HEADERS: Final[Mapping[str, str]] = {
    "content_type": "content-type",
    "accept": "accept",
    "trace": "x-amzn-bedrock-trace",
    "guardrail_identifier": "x-amzn-bedrock-guardrailidentifier",
    "guardrail_version": "x-amzn-bedrock-guardrailversion",
    "performance_config_latency": "x-amzn-bedrock-performanceconfig-latency",
    "service_tier": "x-amzn-bedrock-service-tier",
    "request_metadata": "x-amzn-bedrock-request-metadata",
}
# For a stream, "accept" would be the type of the event stream; that of the chunks has its own header.
_STREAM_HEADERS: Final = {**_INVOKE_HEADERS, "accept": "x-amzn-bedrock-accept"}

_EVENTS: Final = MappingProxyType({"content-type": CONTENT_TYPE})

_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")


def count_tokens(request: CountTokensRequest, model: ModelId) -> Flow[TokenCount]:
    """Return the flow of CountTokens."""
    return _post(types.TokenCount, f"/model/{model.quoted}/count-tokens", request)


def apply_guardrail(request: ApplyGuardrailRequest) -> Flow[GuardrailVerdict]:
    """Return the flow of ApplyGuardrail."""
    guardrail, version = _quoted(request.guardrail_identifier), _quoted(request.guardrail_version)
    return _post(types.GuardrailVerdict, f"/guardrail/{guardrail}/version/{version}/apply", request)


def invoke_guardrail_checks(request: GuardrailChecksRequest) -> Flow[GuardrailChecksReport]:
    """Return the flow of InvokeGuardrailChecks."""
    return _post(types.GuardrailChecksReport, "/guardrail-checks/invoke", request)


def start_async_invoke(request: StartAsyncInvokeRequest) -> Flow[StartedAsyncInvoke]:
    """Return the flow of StartAsyncInvoke. A request token makes it idempotent: repeats start no second job."""
    idempotent = request.client_request_token is not None
    return _post(types.StartedAsyncInvoke, "/async-invoke", request, idempotent=idempotent)


def get_async_invoke(invocation_arn: str) -> Flow[AsyncInvokeSummary]:
    """Return the flow of GetAsyncInvoke."""
    response = yield from send(HttpRequest("GET", f"/async-invoke/{_quoted(invocation_arn)}", idempotent=True))
    return read_json(types.AsyncInvokeSummary, response)


def list_async_invokes(request: ListAsyncInvokesRequest) -> Flow[AsyncInvokePage]:
    """Return the flow of ListAsyncInvokes, for one page."""
    response = yield from send(HttpRequest("GET", "/async-invoke", query=query_of(request), idempotent=True))
    return read_json(types.AsyncInvokePage, response)


def invoke(request: InvokeRequest, model: ModelId) -> Flow[HttpResponse]:
    """Return the flow of InvokeModel; the response is the model's own."""
    headers = _headers(request, _INVOKE_HEADERS)
    return send(HttpRequest("POST", f"/model/{model.quoted}/invoke", headers=headers, body=request.body))


def invoke_stream(request: InvokeRequest, model: ModelId) -> StreamPlan[InvokeChunk]:
    """Return the plan of InvokeModelWithResponseStream; the chunks are the model's own."""
    path = f"/model/{model.quoted}/invoke-with-response-stream"
    headers = _headers(request, _STREAM_HEADERS)
    return StreamPlan(HttpRequest("POST", path, headers=headers, body=request.body), ChunkDecoder())


def invoke_bidirectional(model: ModelId) -> HttpRequest:
    """Return the head of InvokeModelWithBidirectionalStream; events follow in both directions."""
    return HttpRequest("POST", f"/model/{model.quoted}/invoke-with-bidirectional-stream", headers=_EVENTS)


def query_of(request: WireModel) -> dict[str, str]:
    """Return the members of a request as its query, without those that are unset or null."""
    members = request.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {name: str(value) for name, value in members.items()}


def _post(kind: type[M], path: str, request: WireModel, *, idempotent: bool = False) -> Flow[M]:
    response = yield from send(
        HttpRequest("POST", path, headers=JSON_HEADERS, body=json_body(request), idempotent=idempotent)
    )
    return read_json(kind, response)


def _headers(request: InvokeRequest, names: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for member, header in names.items():
        value: str | None = getattr(request, member)
        if value is None:
            continue
        if not _HEADER_VALUE.fullmatch(value):
            raise InvalidRequestError(
                f"{member} ({len(value)} characters) is sent in the header {header}, which cannot represent it.",
                path=member,
                hint="Use visible ASCII characters and blanks, without leading or trailing blanks.",
            )
        headers[header] = value
    return headers


def _quoted(value: str | None) -> str:
    return quote(value or "", safe="-._~")
