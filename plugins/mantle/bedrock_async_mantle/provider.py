"""The provider: Bedrock's OpenAI-compatible endpoints behind the request, response and events of Converse."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from bedrock_async import (
    AudioBlock,
    BedrockError,
    ContentBlock,
    ConverseRequest,
    ConverseResponse,
    Event,
    ImageBlock,
    InvalidRequestError,
    ReasoningBlock,
    ResponseDecodeError,
    ToolResultBlock,
    UnexpectedContentTypeError,
    fold,
)
from bedrock_async.families import FEATURES, check_output_schema, features_used, merged_body
from bedrock_async.providers import CallContext, Flow, HttpRequest, HttpResponse, StreamPlan, send
from bedrock_async.transport import resolve_endpoint

from .chat import chat_body, chat_features
from .faults import read_error, told_error
from .responses_body import RESPONSES_FEATURES, responses_body
from .routes import Api, Route, find_route
from .seals import is_own_reasoning
from .streams import SseEventDecoder, reader_of

__all__ = ["MantleProvider"]

_JSON: Final = "application/json"
_HEADERS: Final = MappingProxyType({"content-type": _JSON, "accept": _JSON})
_STREAM_HEADERS: Final = MappingProxyType({"content-type": _JSON, "accept": "text/event-stream"})

_SERVICE: Final = "bedrock-mantle"
_ANSWERS: Final = ("response", "chat.completion")
_NAMES: Final[Mapping[Api, str]] = {"chat": "a chat completion", "responses": "the Responses API"}


class MantleProvider:
    """Calls models through chat completions or the Responses API, of bedrock-mantle or of bedrock-runtime.

    ``endpoint_url`` replaces ``https://bedrock-mantle.{region}.api.aws``. Without it, AWS_ENDPOINT_URL_BEDROCK_MANTLE
    or else AWS_ENDPOINT_URL is used, from ``environ`` (by default that of the process). bedrock-runtime is reached at
    the client's own endpoint.

    The ``provider_options`` of a call are ``api`` ("chat" or "responses"; by default the one that supports more of the
    model), ``endpoint`` ("mantle", the default, or "runtime"), ``path`` ("/v1" or "/openai/v1", for models that
    `routes` does not know) and ``endpoint_url``.
    """

    name = "mantle"
    interface_version = 1

    def __init__(self, endpoint_url: str | None = None, *, environ: Mapping[str, str] | None = None) -> None:
        self._endpoint_url = endpoint_url
        self._environ = os.environ if environ is None else environ

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """One request, one answer. Raises InvalidRequestError for what the API cannot express."""
        route = find_route(ctx)
        response = yield from send(self._http(request, route, ctx, stream=False))
        return _read(response, route)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event] | Flow[ConverseResponse]:
        """One request, server-sent events; for a model that cannot stream, a whole answer to be replayed."""
        if not ctx.profile.streaming:
            return self.converse(request, ctx)
        route = find_route(ctx)
        return StreamPlan(self._http(request, route, ctx, stream=True), SseEventDecoder(reader_of(route)))

    def _http(self, request: ConverseRequest, route: Route, ctx: CallContext, *, stream: bool) -> HttpRequest:
        _check(request, route)
        body = responses_body if route.api == "responses" else chat_body
        members = merged_body(body(request, route, stream=stream), _fields(request, route))
        return HttpRequest(
            "POST",
            route.path,
            headers={**(_STREAM_HEADERS if stream else _HEADERS), **_guardrail_headers(request)},
            body=_json(merged_body(members, request.model_extra)),
            endpoint=self._base_url(route, ctx.region),
            # IAM knows bedrock-mantle as a service of its own. [Service Authorization Reference; recorded 2026-08]
            signing_name=_SERVICE if route.endpoint == "mantle" else "bedrock",
            read_error=read_error,
        )

    def _base_url(self, route: Route, region: str) -> str | None:
        """Return where a request goes, None for the client's own endpoint."""
        url = route.endpoint_url
        if url is None:
            if route.endpoint == "runtime":
                return None
            url = self._endpoint_url or self._configured_url()
        if url is not None:
            return resolve_endpoint(region, service=_SERVICE, endpoint_url=url, environ={}).base_url
        # bedrock-mantle.{region}.api.aws: what other services use for dual stack is its only name.
        public = resolve_endpoint(
            region, service=_SERVICE, environ=self._environ, use_dualstack=True, ignore_configured_urls=True
        )
        return public.base_url

    def _configured_url(self) -> str | None:
        if self._environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").strip().lower() == "true":
            return None
        return self._environ.get("AWS_ENDPOINT_URL_BEDROCK_MANTLE") or self._environ.get("AWS_ENDPOINT_URL") or None


# -- what is sent


def _check(request: ConverseRequest, route: Route) -> None:
    """Refuse what the API cannot express, before anything is sent; never drop it silently."""
    supported = RESPONSES_FEATURES if route.api == "responses" else chat_features(route)
    for feature, path in features_used(request).items():
        if feature not in supported:
            other = _other_way(feature, route)
            raise _refused(FEATURES[feature], path, route, other)
    for index, message in enumerate(request.messages or ()):
        for place, block in enumerate(message.content):
            _check_block(block, message.role, f"messages[{index}].content[{place}]", route)
    if (performance := request.performance_config) is not None and performance.latency not in {None, "standard"}:
        raise _refused(f"the latency {performance.latency!r}", "performance_config.latency", route)
    fields: object = request.additional_model_request_fields
    if fields is not None and not isinstance(fields, Mapping):
        what = f"additional request fields of the type {type(fields).__name__}"
        raise _refused(what, "additional_model_request_fields", route)
    if request.request_metadata:
        raise _refused("metadata of the request", "request_metadata", route)
    # bedrock-mantle, and the runtime's Responses API, take the guardrail's headers, even of one that does not exist,
    # and ignore them; the runtime's chat completions obey them.  [aws-samples/sample-per-model-bedrock, 2026-08]
    if request.guardrail_config is not None and (route.endpoint, route.api) != ("runtime", "chat"):
        raise _refused("a guardrail", "guardrail_config", route, _try(endpoint="runtime", api="chat"))
    check_output_schema(request)


def _check_block(block: ContentBlock, role: str, path: str, route: Route) -> None:
    """Refuse content that the API takes, but not in this place."""
    match block:
        case ImageBlock() | AudioBlock() if role == "assistant":
            raise _refused("media in a message of the assistant", path, route)
        case ToolResultBlock() if route.api == "chat" and any(isinstance(each, ImageBlock) for each in block.content):
            raise _refused("images in the result of a tool", path, route, _try(api="responses"))
        case ReasoningBlock() if route.api == "chat" and block.redacted_content is not None:
            raise _refused("hidden reasoning", path, route, _try(api="responses"))
        case ReasoningBlock() if route.api == "responses" and not is_own_reasoning(block):
            raise _refused("reasoning that another model has signed or hidden", path, route)
        case _:
            pass


def _other_way(feature: str, route: Route) -> str | None:
    """Return the option with which this provider can express a feature, or None."""
    if route.api == "responses":
        return _try(api="chat") if feature in chat_features(route) else None
    return _try(api="responses") if feature in RESPONSES_FEATURES else None


def _try(**options: str) -> str:
    return f"provider_options={options}"


def _refused(what: str, path: str, route: Route, other: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(
        f"the provider 'mantle' cannot express {what} ({path}) in {_NAMES[route.api]} of bedrock-{route.endpoint}.",
        path=path,
        hint=f"Call it with {f'{other}, or with ' if other else ''}provider='converse', or leave that out.",
    )


def _fields(request: ConverseRequest, route: Route) -> dict[str, Any]:
    """Return the caller's own members of the body, and those that other providers send as headers."""
    given = request.additional_model_request_fields
    fields = dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {}
    if route.api == "responses" and "reasoning_effort" in fields:
        # The name in chat completions, the usual one for these models.
        effort = {"effort": fields.pop("reasoning_effort")}
        fields["reasoning"] = merged_body(effort, fields.get("reasoning"))
    if request.service_tier is not None:
        fields = {"service_tier": request.service_tier.type, **fields}
    guardrail = request.guardrail_config
    if guardrail is not None and (mode := guardrail.stream_processing_mode) is not None:
        # As in the body of InvokeModel.
        spelt = {"sync": "SYNCHRONOUS", "async": "ASYNCHRONOUS"}.get(mode, mode)
        own = fields.get("amazon-bedrock-guardrailConfig")
        fields["amazon-bedrock-guardrailConfig"] = merged_body({"streamProcessingMode": spelt}, own)
    return fields


def _guardrail_headers(request: ConverseRequest) -> dict[str, str]:
    guardrail = request.guardrail_config
    if guardrail is None:
        return {}
    headers = {
        "x-amzn-bedrock-guardrailidentifier": guardrail.guardrail_identifier,
        "x-amzn-bedrock-guardrailversion": guardrail.guardrail_version,
        "x-amzn-bedrock-trace": guardrail.trace.upper() if guardrail.trace else None,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _json(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a body. Raises InvalidRequestError for what JSON cannot hold."""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"the request holds what JSON cannot: {exc}.",
            hint="Tool input, schemas and additional_request_fields are made of dicts, lists, text and numbers.",
        ) from exc
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: JSON can carry it, UTF-8 cannot
        return json.dumps(body, separators=(",", ":")).encode()


# -- what is answered


def _read(response: HttpResponse, route: Route) -> ConverseResponse:
    kind = response.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != _JSON:
        raise UnexpectedContentTypeError(
            f"the answer (HTTP {response.status}) has the content type {kind or 'none'}, not {_JSON}.",
            hint="Check the endpoint: something that is not Bedrock answered.",
            sent=True,
        )
    try:
        body: object = json.loads(response.body)
        members = cast("Mapping[str, Any]", body)
        if members.get("object") not in _ANSWERS and (fault := told_error(members, status=response.status)) is not None:
            # bedrock-runtime answers unknown operations with HTTP 200.
            fault.request_id = response.headers.get("x-amzn-requestid")
            raise fault
        reader = reader_of(route)
        reader.read(members)
        return fold([*reader.events.take(), *reader.finish()])
    except BedrockError:
        raise
    except Exception as exc:
        raise ResponseDecodeError(
            f"the provider 'mantle' cannot read the answer of {len(response.body)} bytes as {_NAMES[route.api]}: "
            f"{type(exc).__name__}: {exc}.",
            body=response.body,
            hint="Check the endpoint; otherwise report the answer, the error's `body`, with the model id.",
        ) from exc
