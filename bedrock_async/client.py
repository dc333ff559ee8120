"""BedrockClient: the verbs, and the only place that wires the layers together."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, overload

from ._version import __version__
from .auth import resolve_authenticator, resolve_region
from .calls import Call, Line, OpenStream, open_stream, run
from .errors import (
    ClientClosedError,
    InvalidModelIdError,
    InvalidRequestError,
    PluginError,
    ValidationError,
    WrongEventLoopError,
)
from .events import Event
from .features.operations import (
    InvokeSettings,
    NativeBody,
    build_apply_guardrail,
    build_count_tokens,
    build_count_tokens_of_body,
    build_guardrail_checks,
    build_invoke,
)
from .features.settings import CallSettings, Messages, build_request, check_names, merged_settings
from .folding import unfold
from .model_id import ModelId, parse_model_id
from .native import InvokeChunk, InvokeResponse
from .providers import CallContext, Flow, Provider, StreamPlan, runtime
from .providers.registry import ProviderRegistry
from .resilience import Limits, RetryPolicy, StandardRetry, Timeouts
from .stream import InvokeStream, ResponseStream
from .transport import Endpoint, Transport, as_transport, resolve_endpoint
from .types import (
    ConverseRequest,
    ConverseResponse,
    CountTokensRequest,
    GuardrailChecks,
    GuardrailChecksReport,
    GuardrailContent,
    GuardrailVerdict,
    Message,
    ResponseMeta,
    TokenCount,
)
from .types.response import ServiceResponse

if TYPE_CHECKING:
    from .auth import ApiKey, ApiKeyProvider, AwsSession, Credentials, CredentialsProvider
    from .transport import HttpClient

R = TypeVar("R", bound=ServiceResponse)

_QUICK_S: Final = 60.0
"""Calls that are no inference are answered within this, or something is wrong."""

_USER_AGENT: Final = f"bedrock-async/{__version__} python/{platform.python_version()}"
_NO_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType({})
_DEFAULT_PROVIDER: Final = "converse"


class BedrockClient:
    """An asynchronous client of Amazon Bedrock inference.

    ::

        async with BedrockClient(region="us-east-1") as client:
            reply = await client.converse("us.anthropic.claude-sonnet-4-20250514-v1:0", "Say hello.")
            print(reply.text)

    One client serves any number of concurrent calls of one event loop; its connections are pooled. Without
    ``async with``, call `aclose` in the end. Making a client sends nothing and reads no credentials.

    - ``region``: else the session's or profile's, AWS_DEFAULT_REGION, AWS_REGION, us-west-2; see `region_source`.
    - ``credentials``: `Credentials`, or a callable (also async) that returns them; ``session``: an aiobotocore,
      aioboto3, botocore or boto3 session; ``profile``: a name of the AWS configuration; ``api_key``: a Bedrock API
      key, or a callable that returns one. At most one of the four; with none, the environment and then the AWS
      default chain are asked.
    - ``endpoint_url``: another endpoint, for example the emulator's.
    - ``provider``: the name of the default provider; ``providers``: providers by name, beside the installed ones.
    - ``settings``: defaults for the keywords of all calls.
    - ``transport``: a `Transport`, ``"aiohttp"`` (the default), ``"httpx"``, or a ready httpx client; one that is
      passed in is not closed with the client.
    - ``limits``, ``timeouts``, ``retry``: see `Limits`, `Timeouts`, `StandardRetry`.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
        session: AwsSession | None = None,
        api_key: str | ApiKey | ApiKeyProvider | None = None,
        endpoint_url: str | None = None,
        provider: str = _DEFAULT_PROVIDER,
        settings: CallSettings | None = None,
        providers: Mapping[str, Provider] | None = None,
        transport: Transport | HttpClient | str | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Resolve region and endpoint. Raises InvalidRequestError, CredentialsError or PluginError."""
        environ = os.environ
        limits = limits or Limits()
        choice = resolve_region(region, session=session, profile=profile, environ=environ)
        self._region = choice.region
        self._region_source = choice.source
        self._endpoint = resolve_endpoint(choice.region, endpoint_url=endpoint_url, environ=environ)
        self._authenticator = resolve_authenticator(
            credentials=credentials,
            api_key=api_key,
            session=session,
            profile=profile,
            region=choice.region,
            environ=environ,
        )
        self._defaults: Mapping[str, Any] = dict(settings or {})
        check_names(self._defaults, verb="BedrockClient(settings=...)")
        self._timeouts = timeouts or Timeouts()
        total_s = self._timeouts.total_s
        self._quick = replace(self._timeouts, total_s=_QUICK_S if total_s is None else min(total_s, _QUICK_S))
        self._retry = retry or StandardRetry()
        self._provider = provider
        self._registry = ProviderRegistry(providers)
        self._registry.get(provider)
        self._transport, self._owns_transport = as_transport(transport, max_connections=limits.max_connections)
        self._line = Line(
            transport=self._transport,
            authenticator=self._authenticator,
            endpoint=self._endpoint,
            region=choice.region,
            user_agent=_USER_AGENT,
            max_response_bytes=limits.max_response_bytes,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._token_models: dict[str, tuple[ModelId, ...]] = {}
        # pydantic builds its validators now, not in the first call on the loop.
        ConverseRequest.model_rebuild()
        ConverseResponse.model_rebuild()

    # -- what was chosen

    @property
    def region(self) -> str:
        """The region that requests are signed for and sent to."""
        return self._region

    @property
    def region_source(self) -> str:
        """Why it is that region: ``"argument"``, ``"AWS_DEFAULT_REGION"``, ``"default"``..."""
        return self._region_source

    @property
    def endpoint(self) -> Endpoint:
        """Where requests go, and why."""
        return self._endpoint

    @property
    def credentials_source(self) -> str:
        """Where credentials come from; more precise once the first call has loaded them. Never a secret."""
        return self._authenticator.source

    # -- verbs

    @overload
    async def converse(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ConverseResponse: ...

    @overload
    async def converse(
        self, model: str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ConverseResponse: ...

    async def converse(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ConverseResponse:
        """Send a conversation and return the whole answer, within ``timeouts.total_s`` over all attempts.

        ``model`` is an id, an inference-profile id or a Bedrock ARN. A ready `ConverseRequest`, in place of
        ``messages`` or of both, is sent as it is. Cancelling closes the connection of the attempt under way.

        Raises InvalidRequestError or InvalidModelIdError before anything is sent, ServiceError when the service
        refuses, TransportError, CallTimeoutError, CredentialsError or ResponseDecodeError. Source: Converse of the
        Amazon Bedrock Runtime API, 2023-09-30.
        """
        request, effective = self._request(model, messages, settings, verb="converse")
        context = self._context(request, effective)
        provider = self._registry.get(effective.get("provider") or self._provider)
        call = self._call(effective)
        response = await run(provider.converse(request, context), call)
        return response.with_meta(self._meta(context.model, provider.name, call))

    @overload
    def stream(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ResponseStream: ...

    @overload
    def stream(
        self, model: str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ResponseStream: ...

    def stream(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ResponseStream:
        """Return the stream of an answer; the request goes out at the first ``__anext__`` or ``__aenter__``.

        Arguments are those of `converse`, and wrong ones are refused here and now. A failed attempt is repeated
        only until the first event has arrived. See `ResponseStream` for its life and its errors. Source:
        ConverseStream of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        request, effective = self._request(model, messages, settings, verb="stream")
        context = self._context(request, effective)
        provider = self._registry.get(effective.get("provider") or self._provider)
        call = self._call(effective, check_loop=False)

        async def opener() -> tuple[OpenStream[Event], ResponseMeta]:
            self._check_usable()
            stream = await _open(provider, request, context, call, streaming=effective.get("streaming") is not False)
            return stream, self._meta(context.model, provider.name, call)

        return ResponseStream(opener, idle_s=call.timeouts.idle_s, accumulate=effective.get("accumulate") is not False)

    def prepare(self, model: str, messages: Messages, **settings: Unpack[CallSettings]) -> ConverseRequest:
        """Return the request that `converse` and `stream` would send for these arguments; nothing is sent.

        Raises InvalidRequestError or InvalidModelIdError.
        """
        request, _ = self._request(model, messages, settings, verb="prepare")
        return request

    # -- a model's native body

    async def invoke(self, model: str, body: NativeBody, **settings: Unpack[InvokeSettings]) -> InvokeResponse:
        """Send a model's native body and return its native answer, within ``timeouts.total_s`` over all attempts.

        A mapping goes out as JSON, bytes and text as they are. Raises as `converse` does. Cancelling closes the
        connection of the attempt under way. Source: InvokeModel of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        effective = self._invoke_settings(settings, verb="invoke")
        target = self._model(model)
        request = build_invoke(target.raw, body, effective)
        call = self._call(effective)
        answer = await run(runtime.invoke(request, target), call)
        return InvokeResponse(answer.body, answer.headers, self._meta(target, "invoke", call))

    def invoke_stream(self, model: str, body: NativeBody, **settings: Unpack[InvokeSettings]) -> InvokeStream:
        """Return the stream of a model's native events; the request goes out at the first ``__anext__``.

        Arguments are those of `invoke`; life and errors those of `stream`. Source: InvokeModelWithResponseStream of the
        Amazon Bedrock Runtime API, 2023-09-30.
        """
        effective = self._invoke_settings(settings, verb="invoke_stream")
        target = self._model(model)
        request = build_invoke(target.raw, body, effective)
        call = self._call(effective, check_loop=False)

        def plan() -> StreamPlan[InvokeChunk]:
            return runtime.invoke_stream(request, target)

        async def opener() -> tuple[OpenStream[InvokeChunk], ResponseMeta]:
            self._check_usable()
            stream = await open_stream(plan(), plan, call)
            return stream, self._meta(target, "invoke", call)

        return InvokeStream(opener, idle_s=call.timeouts.idle_s)

    # -- tokens and guardrails

    async def count_tokens(
        self,
        model: str | ConverseRequest | CountTokensRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        body: NativeBody | None = None,
        **settings: Unpack[CallSettings],
    ) -> TokenCount:
        """Return how many input tokens a call would have, without making it; it is free of charge.

        Arguments are those of `converse`; messages, system, tools and additional_request_fields count. With ``body``
        in place of messages a native body is counted. The service takes the profile id for some models and the base
        id for others: what it refuses under one is asked for under the other, and remembered.

        Raises as `converse` does, ValidationError for models that cannot count. Source: CountTokens of the Amazon
        Bedrock Runtime API, 2023-09-30.
        """
        request, effective = self._count_tokens_request(model, messages, body, settings)
        target = self._model(request.model_id)
        candidates = self._token_models.get(target.raw) or _token_models(target)
        refusal: ValidationError | None = None
        for candidate in candidates:
            try:
                count = await self._run(runtime.count_tokens(request, candidate), candidate, effective)
            except ValidationError as exc:
                refusal = refusal or exc
            else:
                self._token_models[target.raw] = (candidate,)
                return count
        assert refusal is not None, "there is always one candidate"  # noqa: S101
        raise refusal

    async def apply_guardrail(
        self,
        guardrail_id: str,
        version: str,
        *,
        source: Literal["INPUT", "OUTPUT"] | str,
        content: str | Sequence[str | Mapping[str, object] | GuardrailContent],
        output_scope: Literal["INTERVENTIONS", "FULL"] | str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> GuardrailVerdict:
        """Let a guardrail assess texts and images, without a model.

        ``source`` says whether they are a user's input or a model's output; ``output_scope="FULL"`` returns also what
        was looked for and not found. Raises as `converse` does. Source: ApplyGuardrail of the Amazon Bedrock Runtime
        API, 2023-09-30.
        """
        request = build_apply_guardrail(
            guardrail_id, version, source=source, content=content, output_scope=output_scope
        )
        return await self._run(runtime.apply_guardrail(request), None, {"timeouts": timeouts, "retry": retry})

    async def invoke_guardrail_checks(
        self,
        messages: str | Sequence[Mapping[str, object] | Message],
        checks: Mapping[str, object] | GuardrailChecks,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> GuardrailChecksReport:
        """Check a conversation for harmful content, attacks on the prompt and personal data, without a guardrail.

        Raises as `converse` does. Source: InvokeGuardrailChecks of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        request = build_guardrail_checks(messages, checks)
        return await self._run(runtime.invoke_guardrail_checks(request), None, {"timeouts": timeouts, "retry": retry})

    # -- life

    async def __aenter__(self) -> Self:
        """Return the client; nothing is opened before the first call."""
        self._check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; calls under way fail with ConnectionLostError. Idempotent."""
        self._closed = True
        if self._owns_transport:
            await self._transport.aclose()

    # -- inside

    def _request(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
        *,
        verb: str,
    ) -> tuple[ConverseRequest, Mapping[str, Any]]:
        """Return the request to send, and the settings of the call with the client's defaults below them."""
        if settings:
            check_names(settings, verb=verb)
        if isinstance(model, ConverseRequest):
            if messages is not None:
                raise InvalidRequestError("a ready request is given with messages beside it.", path="messages")
            return _ready(model, None), settings
        if isinstance(messages, ConverseRequest):
            return _ready(messages, model), settings
        effective = merged_settings(self._defaults, settings)
        if messages is None:
            raise InvalidRequestError(
                f"{verb}() has no messages.", path="messages", hint='Pass client.converse(model, "a question").'
            )
        return build_request(parse_model_id(model).raw, messages, effective), effective

    def _invoke_settings(self, settings: Mapping[str, Any], *, verb: str) -> Mapping[str, Any]:
        if settings:
            check_names(settings, verb=verb, known=InvokeSettings)
        defaults = {name: value for name, value in self._defaults.items() if name in InvokeSettings.__annotations__}
        return merged_settings(defaults, settings)

    def _count_tokens_request(
        self,
        model: str | ConverseRequest | CountTokensRequest | None,
        messages: Messages | ConverseRequest | None,
        body: NativeBody | None,
        settings: Mapping[str, Any],
    ) -> tuple[CountTokensRequest, Mapping[str, Any]]:
        if isinstance(model, CountTokensRequest):
            return model, settings
        if body is None:
            request, effective = self._request(model, messages, settings, verb="count_tokens")
            return build_count_tokens(request), effective
        if messages is not None or not isinstance(model, str):
            raise InvalidRequestError(
                "a native body is given with messages beside it.", path="body", hint="Pass messages, or body=..."
            )
        return build_count_tokens_of_body(model, body), settings

    async def _run(self, flow: Flow[R], model: ModelId | None, settings: Mapping[str, Any]) -> R:
        """Run the flow of an operation that is no inference."""
        call = self._call({**settings, "timeouts": settings.get("timeouts") or self._quick})
        answer = await run(flow, call)
        return answer.with_meta(self._meta(model, "runtime", call))

    def _context(self, request: ConverseRequest, settings: Mapping[str, Any]) -> CallContext:
        return CallContext(
            self._model(request.model_id), self._region, settings.get("provider_options") or _NO_SETTINGS
        )

    def _model(self, model_id: str | None) -> ModelId:
        """Return the parsed id. Raises InvalidModelIdError, also for an ARN of another region."""
        model = parse_model_id(model_id)
        if model.region is not None and model.region != self._region:
            raise InvalidModelIdError(
                f"the ARN {model.raw!r} is of the region {model.region}; the client's is {self._region} "
                f"({self._region_source}).",
                hint=f"Use BedrockClient(region={model.region!r}), or an ARN of {self._region}.",
            )
        return model

    def _call(self, settings: Mapping[str, Any], *, check_loop: bool = True) -> Call:
        if check_loop:
            self._check_usable()
        elif self._closed:
            raise _closed()
        return Call(self._line, settings.get("timeouts") or self._timeouts, settings.get("retry") or self._retry)

    def _check_usable(self) -> None:
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongEventLoopError(
                "this client belongs to another event loop: its connections live there.",
                hint="Make one client for each event loop (each asyncio.run, each thread).",
            )

    def _meta(self, model: ModelId | None, provider: str, call: Call) -> ResponseMeta:
        return ResponseMeta(
            request_id=call.request_id,
            status=call.status,
            headers=call.headers,
            attempts=tuple(call.attempts),
            model=model.raw if model is not None else "",
            region=self._region,
            provider=provider,
        )


def _token_models(model: ModelId) -> tuple[ModelId, ...]:
    """Return the ids to ask for a count, the given one first."""
    if model.geography is None or model.base_model is None:
        return (model,)
    return (model, parse_model_id(model.base_model))


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed.", hint="Make a new BedrockClient, or call aclose() later.")


def _ready(request: ConverseRequest, model: str | None) -> ConverseRequest:
    """Return a ready request under ``model``, when that is given."""
    if model is None or model == request.model_id:
        return request
    if request.model_id is not None:
        raise InvalidRequestError(
            f"the request is for the model {request.model_id!r}, the call for {model!r}.",
            path="model",
            hint="Pass one of them, or request.model_copy(update={'model_id': ...}).",
        )
    return request.model_copy(update={"model_id": model})


async def _open(
    provider: Provider, request: ConverseRequest, context: CallContext, call: Call, *, streaming: bool
) -> OpenStream[Event]:
    """Open a stream, or run the call whole and replay its answer, for models and providers that cannot stream."""
    plan = provider.stream(request, context) if streaming else provider.converse(request, context)
    if not isinstance(plan, StreamPlan):
        return OpenStream(unfold(await run(plan, call)))
    return await open_stream(plan, lambda: _plan_again(provider, request, context), call)


def _plan_again(provider: Provider, request: ConverseRequest, context: CallContext) -> StreamPlan[Event]:
    plan = provider.stream(request, context)
    if isinstance(plan, StreamPlan):
        return plan
    raise PluginError(
        f"the provider {provider.name!r} planned a stream, and for the next attempt something else.",
        hint="Let its stream() return the same kind for the same request.",
    )
