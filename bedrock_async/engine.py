"""What stands behind the verbs of a client, and the only place that wires the layers together.

The engine makes calls from arguments, and performs them: it knows which model, provider, family and settings a call
has, and sends it through hooks, limits and targets if there are any.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
from anyio import to_thread

from ._version import __version__
from .auth import (
    Authenticator,
    ProfileSettings,
    resolve_authenticator,
    resolve_region,
    session_profile,
    shared_credentials,
)
from .calls import Call, Inference, Line, OpenStream, log_adjustments, open_events, open_stream, run
from .errors import BedrockError, ClientClosedError, InvalidModelIdError, InvalidRequestError, WrongEventLoopError
from .events import Event, MetadataEvent
from .families.profiles import ModelProfile, overridden
from .families.registry import FamilyRegistry
from .features.adviser import Adviser
from .features.arguments import check_options, check_texts, checked_settings, of_kind
from .features.operations import build_count_tokens, build_count_tokens_of_body, build_invoke, invoke_tags
from .features.pipeline import Prepared, resettle, settle
from .features.ready import ready_request
from .features.settings import (
    ASKING,
    HOW_SENT,
    CallSettings,
    Messages,
    build_request,
    changed_settings,
    check_names,
    check_ready,
    merged_settings,
)
from .in_flight import AtEndOfLoop
from .model_id import ModelId, parse_model_id
from .native import InvokeResponse
from .plugins import allowed_plugins
from .pricing import Bill, Prices, PriceTable, as_prices, bill_of, bill_of_stream, native_usage
from .providers import CallContext, Flow, Provider, runtime
from .providers.registry import ProviderRegistry
from .resilience import Limits, RetryPolicy, StandardRetry, Timeouts
from .stream import ResponseStream
from .transport import (
    ConnectionOptions,
    DuplexTransport,
    Endpoint,
    Transport,
    as_transport,
    duplex_transport,
    resolve_endpoint,
)
from .transport.objects import S3ObjectReader
from .transport.s3 import S3Clients
from .types import ConverseRequest, ConverseResponse, Message, ResponseMeta
from .types.request import LARGE_BODY_BYTES
from .types.response import GUARDRAIL_TRACE, ServiceResponse
from .usage import UsageMeter

if TYPE_CHECKING:
    from .auth import ApiKey, ApiKeyProvider, AwsSession, Credentials, CredentialsProvider
    from .control_plane import ControlPlane
    from .counting import TokenCounter
    from .families import ModelFamily
    from .features.operations import NativeBody
    from .features.structured import OutputMode
    from .hooks import HookedRequest, Hooks, Watch
    from .jobs import AsyncInvokeJob
    from .limiting import RateLimiter, Ticket
    from .native import InvokeChunk
    from .outputs import OutputStream, Question, Refusals
    from .resilience import Failover, RateLimit, Target
    from .routing import Routing
    from .targets import Place, TargetLoop
    from .tasks import Task
    from .transport import HttpClient
    from .types import AsyncInvokeSummary, CountTokensRequest, InvokeRequest, TokenCount

R = TypeVar("R", bound=ServiceResponse)
T = TypeVar("T")

_QUICK_S: Final = 60.0
"""Calls other than inference are answered within this time, or something is wrong."""

_USER_AGENT: Final = f"bedrock-async/{__version__} python/{sys.version.partition(' ')[0]}"
_ARN_REGION: Final = 3  # arn:partition:service:region:...
_NO_SETTINGS: Final[Mapping[str, Any]] = MappingProxyType({})
_DEFAULT_PROVIDER: Final = "converse"
_NATIVE_PROVIDER: Final = "invoke"


class Engine:
    """The parts of a client, wired together, and what its verbs have in common."""

    def __init__(
        self,
        *,
        region: str | None = None,
        profile: str | None = None,
        credentials: Credentials | CredentialsProvider | None = None,
        session: AwsSession | None = None,
        api_key: str | ApiKey | ApiKeyProvider | None = None,
        endpoint_url: str | None = None,
        control_endpoint_url: str | None = None,
        provider: str = _DEFAULT_PROVIDER,
        settings: CallSettings | None = None,
        providers: Mapping[str, Provider] | None = None,
        families: Mapping[str, ModelFamily] | None = None,
        transport: Transport | HttpClient | str | None = None,
        connection: ConnectionOptions | None = None,
        prices: Prices | PriceTable | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        hooks: Hooks | None = None,
        rate_limit: RateLimit | Mapping[str, RateLimit] | RateLimiter | None = None,
        targets: Sequence[Target] | Failover | None = None,
    ) -> None:
        """Resolve region and endpoint. Raises InvalidRequestError, CredentialsError or PluginError."""
        environ = os.environ
        check_options(timeouts, retry)
        check_texts(
            region=region, profile=profile, endpoint_url=endpoint_url, control_endpoint_url=control_endpoint_url
        )
        limits = of_kind("limits", limits, Limits) or Limits()
        connection = of_kind("connection", connection, ConnectionOptions) or ConnectionOptions()
        self._hooks = None if hooks is None else _checked_hooks(hooks)
        config = ProfileSettings(environ, profile=profile if session is None else session_profile(session))
        choice = resolve_region(region, session=session, profile=profile, environ=environ, config=config)
        self._region, self._region_source = choice.region, choice.source
        resolve = _endpoint_resolver(connection, environ, config)
        self._endpoint = resolve(choice.region, endpoint_url=endpoint_url)
        authenticator = resolve_authenticator(
            credentials=credentials,
            api_key=api_key,
            session=session,
            profile=profile,
            region=choice.region,
            environ=environ,
        )
        self._set_defaults(settings, timeouts, retry, prices)
        self._set_plugins(provider, providers, families, environ)
        if self._endpoint.scheme == "https" and (transport is None or isinstance(transport, str)):
            connection = connection.with_ca_bundle(environ, config)
        self._transport, self._owns_transport = as_transport(
            transport, max_connections=limits.max_connections, options=connection
        )
        clients = S3Clients(region=choice.region, session=session, profile=profile)
        self._objects = S3ObjectReader(clients, self._s3_credentials)
        self._line = Line(
            transport=self._transport,
            authenticator=authenticator,
            endpoint=self._endpoint,
            region=choice.region,
            user_agent=connection.agent(_USER_AGENT),
            max_response_bytes=limits.max_response_bytes,
            objects=self._objects,
            adviser=Adviser(choice.region, self._families.profile, self._listed_profiles),
        )
        self._routing = self._routing_of(rate_limit, targets, resolve)
        # Asked for only when there is a conversation: the profile is a file to read.
        self._duplex_options = partial(connection.with_ca_bundle, environ, config)
        self._control_endpoint = partial(
            _control_endpoint,
            choice.region,
            control_endpoint_url=control_endpoint_url,
            runtime=self._endpoint,
            environ=environ,
            config=config,
            options=connection,
        )
        self._set_state()
        if control_endpoint_url is not None:
            self._control_plane()  # a URL that cannot be one is refused here, not at the first use
        # pydantic builds its validators now, not in the first call on the loop; that of messages is a part of both.
        Message.model_rebuild()
        ConverseRequest.model_rebuild()
        ConverseResponse.model_rebuild()

    def _set_defaults(
        self,
        settings: CallSettings | None,
        timeouts: Timeouts | None,
        retry: RetryPolicy | None,
        prices: Prices | PriceTable | None,
    ) -> None:
        """Set what counts where a call says nothing else."""
        self._defaults: Mapping[str, Any] = changed_settings({}, checked_settings(settings))
        self._timeouts = timeouts or Timeouts()
        total_s = self._timeouts.total_s
        self._quick = replace(self._timeouts, total_s=_QUICK_S if total_s is None else min(total_s, _QUICK_S))
        self._retry = retry or StandardRetry()
        self._prices = as_prices(prices)

    def _set_plugins(
        self,
        provider: str,
        providers: Mapping[str, Provider] | None,
        families: Mapping[str, ModelFamily] | None,
        environ: Mapping[str, str],
    ) -> None:
        """Set who calls can go through. Raises PluginError, also for a default provider that is not there."""
        allowed = allowed_plugins(environ)
        self._registry = ProviderRegistry(providers, allowed)
        self._families = FamilyRegistry(families, allowed)
        self._registry.get(provider)
        self._provider = provider

    def _set_state(self) -> None:
        """Set what changes in the life of a client: what is made when it is first needed, and how far closing is."""
        self._usage = UsageMeter()
        self._refusals: Refusals | None = None
        self._counter: TokenCounter | None = None
        self._control: ControlPlane | None = None
        self._duplex: DuplexTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._farewell: AtEndOfLoop | None = None
        self._closing = False
        """Nothing new begins; what has begun goes on."""
        self._closed = False

    async def _disconnect(self) -> None:
        async with AsyncExitStack() as stack:  # what is left is closed, too, when closing one fails
            if self._owns_transport:
                stack.push_async_callback(self._transport.aclose)
            if self._duplex is not None:
                stack.push_async_callback(self._duplex.aclose)
            stack.push_async_callback(self._objects.aclose)

    def _authorize_with(self, authenticator: Authenticator) -> None:
        self._line = replace(self._line, authenticator=authenticator)
        if self._control is not None:
            self._control.forget()

    def _request(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
        *,
        verb: str,
    ) -> Prepared:
        """Return the request to send, the settings of the call over the client's defaults, and the model's facts."""
        if settings:
            check_names(settings, verb=verb)
        if isinstance(model, ConverseRequest):
            if messages is not None:
                raise InvalidRequestError(
                    "a ready request was passed together with messages.",
                    path="messages",
                    hint=f"Pass the request alone: client.{verb}(request).",
                )
            check_ready(settings, verb=verb, allowed=ASKING)
            return self._prepared(ready_request(model, None), settings)
        if isinstance(messages, ConverseRequest):
            check_ready(settings, verb=verb, allowed=ASKING)
            return self._prepared(ready_request(messages, model), settings)
        effective = merged_settings(self._defaults, settings)
        if messages is None:
            raise InvalidRequestError(
                f"{verb}() has no messages.", path="messages", hint=f'Pass client.{verb}(model, "a question").'
            )
        return self._prepared(build_request(parse_model_id(model).raw, messages, effective), effective, messages)

    def _prepared(
        self, request: ConverseRequest, settings: Mapping[str, Any], messages: Messages | None = None
    ) -> Prepared:
        """Return a request with the facts about its model, settled where it was made of ``messages``."""
        target, base = self._route(request.model_id, settings)
        provider = self._registry.get(settings.get("provider") or self._provider)
        family = self._family(base, settings) if getattr(provider, "needs_family", False) else None
        facts = self._facts_of(base, settings, family)
        if messages is None:
            return Prepared(request, settings, target, base, provider, family, facts)
        settled, adjustments, plan = settle(request, messages, settings, base_model=base.base_model, profile=facts)
        return Prepared(settled, settings, target, base, provider, family, facts, adjustments, plan)

    def _priced_call(
        self,
        model: str | ConverseRequest,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
        *,
        counted: bool,
    ) -> tuple[ModelId, ModelId, Mapping[str, Any]]:
        """Return where a call would go, the model behind it, and the settings that its price depends on.

        ``counted`` says that the tokens are not given, so that there must be something to count.
        """
        if settings:
            check_names(settings, verb="estimate_cost")
        ready = model if isinstance(model, ConverseRequest) else messages
        if ready is None and counted:
            raise InvalidRequestError(
                "estimate_cost() has neither messages nor a number of tokens.",
                path="input_tokens",
                hint="Pass input_tokens=, or messages, which are counted.",
            )
        if isinstance(ready, ConverseRequest):
            from .counting import priced_settings

            effective = {**settings, **priced_settings(ready)}
            named = ready.model_id if isinstance(model, ConverseRequest) else model
        else:
            effective, named = merged_settings(self._defaults, settings), cast("str", model)
        return (*self._route(named, effective), effective)

    def _token_counter(self) -> TokenCounter:
        from .counting import TokenCounter

        if self._counter is None:
            self._counter = TokenCounter(self._count)
        return self._counter

    async def _count(self, request: CountTokensRequest, model: ModelId, settings: Mapping[str, Any]) -> TokenCount:
        return await self._run(runtime.count_tokens(request, model), model, settings, "count_tokens")

    def _settings_of(self, known: type, settings: Mapping[str, Any], *, verb: str) -> Mapping[str, Any]:
        """Return the settings of a call that takes the keywords of ``known``, with the client's defaults below them."""
        self._check_open()
        if settings:
            check_names(settings, verb=verb, known=known)
        defaults = {name: value for name, value in self._defaults.items() if name in known.__annotations__}
        return merged_settings(defaults, settings)

    def _count_tokens_request(
        self,
        model: str | ConverseRequest | CountTokensRequest | None,
        messages: Messages | ConverseRequest | None,
        body: NativeBody | None,
        settings: Mapping[str, Any],
        *,
        in_parts: bool = False,
    ) -> tuple[CountTokensRequest, Mapping[str, Any]]:
        from .types import CountTokensRequest

        if body is None and not isinstance(model, CountTokensRequest):
            asked = self._request(model, messages, settings, verb="count_tokens")
            request = self._request_with_output(asked)
            counted = None if in_parts else self._native_count(asked, request)
            return counted or build_count_tokens(request), asked.settings
        check_names(settings, verb="count_tokens")
        check_ready(settings, verb="count_tokens")
        if messages is not None or (body is not None and isinstance(model, ConverseRequest | CountTokensRequest)):
            raise InvalidRequestError(
                "what to count was passed more than once: as messages, as a native body or as a ready request.",
                path="messages" if body is None else "body",
                hint="Pass one of them.",
            )
        if isinstance(model, CountTokensRequest):
            return model, settings
        return build_count_tokens_of_body(parse_model_id(model).raw, body), settings

    def _native_count(self, asked: Prepared, request: ConverseRequest) -> CountTokensRequest | None:
        """Return the count of the native body that a call would send; None where it sends none that can be counted."""
        if (asked.settings.get("provider") or self._provider) != _NATIVE_PROVIDER:
            return None
        from .families import native_body
        from .families._encoding import encode_count
        from .providers.invoke import family_context

        family = self._family(asked.base, asked.settings)
        context = self._context_of(asked.target, asked.base, asked.settings, family, asked.profile)
        native = encode_count(family, request, family_context(context))
        if native is None:
            return None
        return build_count_tokens_of_body(request.model_id or asked.target.raw, native_body(family, native))

    def _job(
        self,
        arn: str,
        settings: Mapping[str, Any],
        model: str | None = None,
        output_s3_uri: str | None = None,
        meta: ResponseMeta | None = None,
    ) -> AsyncInvokeJob:
        from .jobs import AsyncInvokeJob

        timeouts: Timeouts = settings.get("timeouts") or self._defaults.get("timeouts") or self._quick

        async def poll(limit_s: float | None) -> AsyncInvokeSummary:
            limits = [limit for limit in (timeouts.total_s, limit_s) if limit is not None]
            limited = {**settings, "timeouts": replace(timeouts, total_s=min(limits, default=None))}
            return await self._run(runtime.get_async_invoke(arn), None, limited, "async_invoke_job")

        return AsyncInvokeJob(
            arn,
            poll=poll,
            objects=self._objects,
            max_bytes=self._line.max_response_bytes,
            model=model,
            output_s3_uri=output_s3_uri,
            meta=meta,
            random=self._line.random,
        )

    def _duplex_transport(self) -> DuplexTransport:
        if isinstance(self._transport, DuplexTransport):
            return self._transport
        if self._duplex is None:
            self._duplex = duplex_transport(self._duplex_options())
        return self._duplex

    async def _s3_credentials(self) -> Credentials:
        self._check_usable()
        return await shared_credentials(self._line.authenticator, self._line.now(), purpose="reading objects of S3")

    async def _run(self, flow: Flow[R], model: ModelId | None, settings: Mapping[str, Any], verb: str) -> R:
        """Run the flow of an operation other than inference."""
        if verb != "count_tokens":  # which may have asked before
            self._check_open()
        call = self._quick_call(settings)
        call.model, call.watch = model, self._watch(verb, model, "runtime", settings)

        async def send() -> R:
            answer = await run(flow, call)
            return answer.with_meta(self._meta(model, "runtime", call))

        return await (send() if call.watch is None else call.watch.around(send))

    def _inference(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
        *,
        verb: str,
        begun: bool = False,
    ) -> Inference:
        """Return the call that these arguments mean, refused here and now when they are wrong.

        ``begun`` says that it is part of what has begun before, which goes on while the client is being closed.
        """
        if not begun:
            self._check_open()
        asked = self._request(model, messages, settings, verb=verb)
        request, effective = asked.request, asked.settings
        if (continuation := effective.get("continuation")) is not None:
            from .resilience import Continuation

            of_kind("continuation", continuation, Continuation)
        self._check_guardrail_of(request)
        context = self._context_of(asked.target, asked.base, effective, asked.family, asked.profile)
        if asked.adjustments:
            log_adjustments(asked.target, asked.adjustments)
        made = messages is not None and not isinstance(messages, ConverseRequest)
        return Inference(request, effective, asked.provider, context, adjustments=asked.adjustments, made=made)

    async def _converse(self, inference: Inference) -> ConverseResponse:
        if self._hooks is not None and inference.watch is None:
            return await self._hooked("converse", inference, self._converse)
        call = self._call(inference.settings, large=inference.large)
        call.model, call.watch = inference.context.target, inference.watch
        if inference.request.guardrail_config is not None:
            await _load_traces()
        if self._routing is not None:
            response = await self._routing.converse(inference, call)
        else:
            response = await run(inference.provider.converse(inference.request, inference.context), call)
            response = response.with_meta(self._meta_of(inference, call))
        meta = response.meta
        self._usage.add(meta.model, response.usage, meta.bill, inference.request.request_metadata)
        return response

    async def _hooked(self, verb: str, inference: Inference, send: Callable[[Inference], Awaitable[T]]) -> T:
        """Send a call as the hooks want it, and let them see what comes of it."""
        context = inference.context
        watch = self._watch(verb, context.target, inference.provider.name, inference.settings, inference.request)
        assert watch is not None, "asked for only where there are hooks"  # noqa: S101

        async def asked() -> T:
            changed = await watch.ask()
            if changed is None:
                return await send(msgspec.structs.replace(inference, watch=watch))
            how = {name: value for name, value in inference.settings.items() if name in HOW_SENT}
            other = self._inference(cast("ConverseRequest", changed), None, how, verb=verb, begun=True)
            asking = {"request": other.request, "context": other.context, "watch": watch}
            return await send(msgspec.structs.replace(inference, **asking))

        return await (watch.guarding(asked) if verb == "stream" else watch.around(asked))

    async def _invoke(self, request: InvokeRequest, settings: Mapping[str, Any], watch: Watch | None) -> InvokeResponse:
        if watch is not None:
            request = cast("InvokeRequest", await watch.ask() or request)
        target = self._model(request.model_id)
        self._check_guardrail(request.guardrail_identifier, path="guardrail")
        call = self._call(settings, large=len(request.body) >= LARGE_BODY_BYTES)
        call.model, call.watch = target, watch
        call.ticket = self._ticket_of_body(call, request.body)
        answer = await run(runtime.invoke(request, target), call)
        bill = Bill(self._prices, target).of_native(answer.headers, answer.body)
        self._add_native_usage(target, bill, answer.headers, answer.body, tags=invoke_tags(request))
        return InvokeResponse(answer.body, answer.headers, self._meta(target, "invoke", call, bill))

    async def _open_invoke(self, request: InvokeRequest, call: Call) -> tuple[OpenStream[InvokeChunk], ResponseMeta]:
        self._check_usable()
        if call.watch is not None:
            request = cast("InvokeRequest", await call.watch.ask() or request)
        call.model = target = self._model(request.model_id)
        call.ticket = self._ticket_of_body(call, request.body)
        plan = partial(runtime.invoke_stream, request, target)
        stream = await open_stream(plan(), plan, call)
        bill, tags = Bill(self._prices, target), invoke_tags(request)

        def count(_last: InvokeChunk, meta: ResponseMeta) -> None:
            if meta.bill is not None and (usage := meta.bill.usage) is not None:
                self._usage.add(target.raw, usage, meta.bill.without_answer(), tags)

        return stream.counted(count), self._meta(target, "invoke", call, bill)

    def _add_native_usage(
        self, target: ModelId, bill: Bill, headers: Mapping[str, str], body: bytes, *, tags: Mapping[str, str] | None
    ) -> None:
        """Count a native answer, if the service says what it used."""
        wrote = headers.get("x-amzn-bedrock-cache-write-input-token-count", "0") != "0"
        told = "x-amzn-bedrock-input-token-count" in headers  # then the body, which may be large, need not be read
        if (usage := native_usage(headers, *([] if told and not wrote else [body]))) is not None:
            self._usage.add(target.raw, usage, bill.without_answer(), tags)

    def _watch(
        self,
        verb: str,
        model: ModelId | None,
        provider: str,
        settings: Mapping[str, Any],
        request: HookedRequest | None = None,
    ) -> Watch | None:
        if self._hooks is None:
            return None
        from .hooks import HookedCall, Watch

        told = HookedCall(
            verb=verb,
            model=model,
            provider=provider,
            region=self._region,
            settings=MappingProxyType(settings),
            request=request,
        )
        return Watch(self._hooks, told, self._line.in_flight)

    def _listed_profiles(self) -> Mapping[str, Sequence[str]]:
        return {} if self._control is None else self._control.listed_profiles()

    def _tool_round(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
    ) -> ResponseStream:
        return self._stream(self._inference(model, messages, settings, verb="run_tools", begun=True))

    def _stream(self, inference: Inference) -> ResponseStream:
        settings = inference.settings
        call = self._call(settings, check_loop=False, large=inference.large)
        opener = partial(self._open, inference, call)
        return ResponseStream(
            opener,
            idle_s=call.timeouts.idle_s,
            accumulate=settings.get("accumulate") is not False,
            in_flight=self._line.in_flight,
        )

    async def _open(self, inference: Inference, call: Call) -> tuple[OpenStream[Event], ResponseMeta]:
        self._check_usable()
        if self._hooks is not None and inference.watch is None:
            return await self._hooked("stream", inference, lambda asked: self._open(asked, call))
        call.model, call.watch = inference.context.target, inference.watch
        if inference.request.guardrail_config is not None:
            await _load_traces()
        routing = self._routing
        if routing is None and inference.settings.get("continuation") is not None:
            routing = self._made_routing(None, None)
        if routing is not None:
            stream, meta = await routing.open(inference, call)
        else:
            stream, meta = await open_events(inference, call), self._meta_of(inference, call)
        return stream.counted(partial(self._add_usage, inference.request.request_metadata)), meta

    def _add_usage(self, tags: Mapping[str, str] | None, metadata: Event, meta: ResponseMeta) -> None:
        """Count a stream whose last event has arrived. A usage that cannot be read is no reason to fail the stream."""
        try:
            if isinstance(metadata, MetadataEvent) and (usage := metadata.usage) is not None:
                self._usage.add(meta.model, usage, bill_of_stream(meta.bill, metadata), tags)
        except BedrockError:
            return

    def _routing_of(
        self,
        rate_limit: RateLimit | Mapping[str, RateLimit] | RateLimiter | None,
        targets: Sequence[Target] | Failover | None,
        resolve: Callable[..., Endpoint],
    ) -> Routing | None:
        """Return the way of calls that have limits or targets; None without either, which is the common case."""
        if rate_limit is None and targets is None:
            return None
        from .limiting import RateLimiter
        from .resilience.failover import checked_targets
        from .targets import TargetLoop, place_of

        if rate_limit is not None and not isinstance(rate_limit, RateLimiter):
            rate_limit = RateLimiter(rate_limit)
        failover = checked_targets(targets)
        if rate_limit is None and failover is None:  # one target, which is this client's own
            return None
        loop = None
        if failover is not None:
            places = [place_of(target, region=self._region, resolve=resolve) for target in failover.targets]
            for place in places:
                self._registry.get(place.target.provider or self._provider)
                if place.target.model is not None:
                    self._model(place.target.model, place)
            loop = TargetLoop(failover, places, clock=self._line.clock)
        return self._made_routing(rate_limit, loop)

    def _made_routing(self, limiter: RateLimiter | None, targets: TargetLoop | None) -> Routing:
        from .routing import Routing

        profile = self._families.profile
        return Routing(limiter=limiter, targets=targets, aim=self._aim, meta_of=self._meta_of, profile=profile)

    def _ticket_of_body(self, call: Call, body: bytes) -> Ticket | None:
        return None if self._routing is None else self._routing.ticket_of_body(call, body)

    def _aim(self, inference: Inference, place: Place) -> Inference:
        """Return a question as it goes to a place. Raises as making it does."""
        target, settings = place.target, inference.settings
        if target.model is None and target.provider is None and place.region is None:
            return inference
        request, provider, context = inference.request, inference.provider, inference.context
        adjustments = inference.adjustments
        model = self._model(target.model or context.target.raw, place)
        if target.provider is not None:
            provider = self._registry.get(target.provider)
        base = context.model if target.model is None else model
        family = self._family(base, settings) if getattr(provider, "needs_family", False) else None
        if target.model is not None:
            request = request.model_copy(update={"model_id": model.raw})
            context = self._context_of(model, model, settings, family)
            if inference.made and model.base_model != inference.context.model.base_model:
                was, facts = inference.context.profile, context.profile
                request, more = resettle(request, settings, was=was, base_model=model.base_model, profile=facts)
                adjustments += more
        context = msgspec.structs.replace(context, region=place.region or self._region, family=family)
        return msgspec.structs.replace(
            inference, request=request, provider=provider, context=context, adjustments=adjustments
        )

    def _question(self, inference: Inference) -> Question[Any]:
        settings = inference.settings
        return self._question_of(inference, settings.get("output_type"), settings.get("output_mode"))

    def _question_of(self, inference: Inference, output_type: object, mode: OutputMode | None) -> Question[Any]:
        from .outputs import Question, Refusals

        if self._refusals is None:
            self._refusals = Refusals()
        return Question(inference, output_type, mode, self._refusals)

    def _output_stream(self, inference: Inference) -> OutputStream[Any]:
        from .outputs import OutputStream, check_accumulates

        settings = inference.settings
        check_accumulates(settings)
        idle_s = self._call(settings, check_loop=False).timeouts.idle_s

        def send(asked: Inference) -> Awaitable[tuple[OpenStream[Event], ResponseMeta]]:
            return self._open(asked, self._call(settings, check_loop=False, large=asked.large))

        return OutputStream(self._question(inference), send, idle_s=idle_s, in_flight=self._line.in_flight)

    def _request_with_output(self, asked: Prepared) -> ConverseRequest:
        """Return the request with what asks for the output, for verbs that do not send it."""
        if (output_type := asked.settings.get("output_type")) is None:
            return asked.request
        from .outputs import first_asked

        return first_asked(asked.request, asked.profile, output_type, asked.settings.get("output_mode"))

    def _family(self, base: ModelId, settings: Mapping[str, Any]) -> ModelFamily:
        return self._families.resolve(base, (settings.get("provider_options") or _NO_SETTINGS).get("family"))

    def _context_of(
        self,
        target: ModelId,
        base: ModelId,
        settings: Mapping[str, Any],
        family: ModelFamily | None,
        facts: ModelProfile | None = None,
    ) -> CallContext:
        options = settings.get("provider_options") or _NO_SETTINGS
        between = None if target is base else target
        facts = facts or self._facts_of(base, settings, family)
        return CallContext(base, self._region, options, inference_profile=between, family=family, profile=facts)

    def _facts_of(self, base: ModelId, settings: Mapping[str, Any], family: ModelFamily | None) -> ModelProfile:
        facts = self._families.profile(base.base_model, family)
        options = settings.get("provider_options") or _NO_SETTINGS
        if "profile" in options:
            facts = overridden(facts, options["profile"])
        better = settings.get("model_profile")
        return facts if better is None else overridden(facts, better, path="model_profile")

    def _task(self, model: str, settings: Mapping[str, Any], *, verb: str) -> Task:
        """Return the model, its family and the settings of a verb that is not about a conversation."""
        from .features.tasks import TaskSettings
        from .tasks import Task

        effective = self._settings_of(TaskSettings, settings, verb=verb)
        target, base = self._route(model, effective)
        check_options(effective.get("timeouts"), effective.get("retry"))
        request = build_invoke(target.raw, b"", effective)
        self._check_guardrail(request.guardrail_identifier, path="guardrail")
        family = self._family(base, effective)
        return Task(self._context_of(target, base, effective, family), family, request, effective)

    async def _run_task(self, task: Task, flow: Flow[T], verb: str, *, media_bytes: int = 0) -> tuple[T, ResponseMeta]:
        """Run a flow of a task; return its result, and what is known of the call."""
        call = self._call(task.settings, large=media_bytes >= LARGE_BODY_BYTES)
        call.model, call.watch = task.ctx.target, self._watch(verb, task.ctx.target, "invoke", task.settings)
        call.ticket = self._ticket_of_body(call, task.request.body)
        send = partial(run, flow, call)
        result = await (send() if call.watch is None else call.watch.around(send))
        bill = Bill(self._prices, task.ctx.target, task.ctx.model).of_native(call.headers)
        tags = task.settings.get("request_metadata")
        self._add_native_usage(task.ctx.target, bill, call.headers, b"", tags=tags)
        return result, self._meta(task.ctx.target, "invoke", call, bill)

    def _route(self, model_id: str | None, settings: Mapping[str, Any]) -> tuple[ModelId, ModelId]:
        """Return where a call goes, and the model whose capabilities count: the same, unless a profile lies between."""
        profile: str | None = settings.get("inference_profile")
        if profile is not None:
            return self._model(profile), parse_model_id(model_id)
        target = self._model(model_id)
        resolved = self._control.known(target) if self._control is not None and target.base_model is None else None
        return target, target if resolved is None else resolved.base_model

    def _control_plane(self) -> ControlPlane:
        if self._control is None:
            from .control_plane import ControlPlane

            self._control = ControlPlane(lambda: self._quick_call(_NO_SETTINGS), self._control_endpoint())
        return self._control

    def _model(self, model_id: str | None, place: Place | None = None) -> ModelId:
        """Return the parsed id. Raises InvalidModelIdError, also for an ARN of another region."""
        model = parse_model_id(model_id)
        if place is not None and place.region is not None:
            if model.region not in (None, place.region):
                raise InvalidModelIdError(
                    f"the ARN {model.raw!r} belongs to the region {model.region}; the target's is {place.region}.",
                    hint="Give the target its own model: Target(region=..., model=...).",
                )
        elif model.region is not None and model.region != self._region:
            raise InvalidModelIdError(
                f"the ARN {model.raw!r} belongs to the region {model.region}; the client's is {self._region} "
                f"({self._region_source}).",
                hint=f"Use BedrockClient(region={model.region!r}), or an ARN of {self._region}.",
            )
        return model

    def _check_guardrail_of(self, request: ConverseRequest) -> None:
        if request.guardrail_config is not None:
            self._check_guardrail(request.guardrail_config.guardrail_identifier, path="guardrail")

    def _check_guardrail(self, guardrail_id: object, *, path: str) -> None:
        """Refuse the ARN of a guardrail of another region."""
        steps = guardrail_id.split(":") if isinstance(guardrail_id, str) else []
        if steps[:1] == ["arn"] and len(steps) > _ARN_REGION and steps[_ARN_REGION] != self._region:
            raise InvalidRequestError(
                f"the guardrail {guardrail_id!r} belongs to the region {steps[_ARN_REGION]}; the client's is "
                f"{self._region} ({self._region_source}).",
                path=path,
                hint=f"Use BedrockClient(region={steps[_ARN_REGION]!r}), or a guardrail of {self._region}.",
            )

    def _call(self, settings: Mapping[str, Any], *, check_loop: bool = True, large: bool = False) -> Call:
        if check_loop:
            self._check_usable()
        elif self._closed:
            raise _closed()
        timeouts, retry = settings.get("timeouts"), settings.get("retry")
        if timeouts is not None or retry is not None:
            check_options(timeouts, retry)
        return Call(self._line, timeouts or self._timeouts, retry or self._retry, large)

    def _quick_call(self, settings: Mapping[str, Any]) -> Call:
        """Return a call other than inference, with the limits of its settings, of the client's, or else quick ones."""
        timeouts, retry = (settings.get(name) or self._defaults.get(name) for name in ("timeouts", "retry"))
        return self._call({"timeouts": timeouts or self._quick, "retry": retry})

    def _check_open(self) -> None:
        """Refuse to begin anything on a client that is closed, or about to be."""
        if self._closing:
            raise _closed()

    def _check_usable(self) -> None:
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._farewell = AtEndOfLoop(self._disconnect)
        elif self._loop is not loop:
            raise WrongEventLoopError(
                "this client belongs to another event loop: its connections live there.",
                hint="Create one client per event loop (each asyncio.run, each thread).",
            )

    def _meta_of(self, inference: Inference, call: Call) -> ResponseMeta:
        bill = bill_of(self._prices, inference.context.target, inference.context.model, inference.request)
        meta = self._meta(inference.context.target, inference.provider.name, call, bill)
        if not inference.adjustments:
            return meta
        return msgspec.structs.replace(meta, adjustments=tuple(map(str, inference.adjustments)))

    def _meta(self, model: ModelId | None, provider: str, call: Call, bill: Bill | None = None) -> ResponseMeta:
        return ResponseMeta(
            request_id=call.request_id,
            status=call.status,
            headers=call.headers,
            attempts=tuple(call.attempts),
            model=model.raw if model is not None else "",
            region=call.line.region,
            provider=provider,
            target=call.target,
            bill=bill,
        )


async def loaded(module: str) -> None:
    """Import a module of the package in a thread, if its first use would hold up the loop for more than a few ms."""
    if f"{__package__}.{module}" not in sys.modules:
        await to_thread.run_sync(import_module, f".{module}", __package__)


async def _load_traces() -> None:
    """Load the classes of a guardrail's trace before the first one arrives."""
    if not GUARDRAIL_TRACE.loaded:
        await to_thread.run_sync(lambda: GUARDRAIL_TRACE.kind)


def _checked_hooks(hooks: object) -> Hooks | None:
    from .hooks import Hooks

    return of_kind("hooks", cast("Hooks", hooks), Hooks) or None


def _endpoint_resolver(
    connection: ConnectionOptions, environ: Mapping[str, str], config: ProfileSettings
) -> Callable[..., Endpoint]:
    return partial(
        resolve_endpoint,
        environ=environ,
        config=config,
        use_fips=connection.use_fips,
        use_dualstack=connection.use_dualstack,
        ignore_configured_urls=connection.ignore_configured_endpoint_urls,
        allow_http=connection.allow_http,
    )


def _control_endpoint(region: str, **how: Any) -> Endpoint:  # noqa: ANN401 - the keywords of what is called
    from .control_plane import resolve_control_endpoint

    return resolve_control_endpoint(region, **how)


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed.", hint="Create a new BedrockClient, or call aclose() later.")
