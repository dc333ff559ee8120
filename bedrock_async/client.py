"""BedrockClient: the verbs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, cast, overload

from .auth import BearerAuthenticator, authenticator_of_api_key, authenticator_of_credentials
from .botocore_config import ClientKeywords
from .calls import open_duplex
from .engine import Engine, loaded
from .errors import InvalidRequestError, ValidationError
from .features.arguments import check_options, check_seconds
from .features.operations import (
    BidirectionalSettings,
    InvokeSettings,
    build_apply_guardrail,
    build_guardrail_checks,
    build_invoke,
    build_list_async_invokes,
    build_list_models,
    build_start_async_invoke,
    check_place,
)
from .features.other_names import OTHER_CLIENT_NAMES
from .features.pipeline import cache_plan_of
from .features.settings import changed_settings, check_names, copied
from .in_flight import Rounds
from .providers import runtime
from .stream import InvokeStream, ResponseStream
from .types.request import LARGE_BODY_BYTES

if TYPE_CHECKING:
    from .auth import ApiKey, ApiKeyProvider, Credentials, CredentialsProvider
    from .bidirectional import BidirectionalStream
    from .botocore_config import BotocoreConfig
    from .bound_model import BoundModel
    from .calls import OpenDuplex
    from .control_plane import ResolvedModel
    from .conversation import Conversation
    from .counting import Estimate
    from .families import Embeddings, EmbedRequest
    from .features.cache_plan import CachePlan
    from .features.operations import NativeBody, Tags
    from .features.settings import CallSettings, Messages, UntypedSettings
    from .features.structured import OutputMode, OutputType
    from .features.tasks import EmbedInputs, ImageInput, TaskSettings
    from .jobs import AsyncInvokeJob, AsyncInvokeListing
    from .known_models import KnownModelId
    from .native import InvokeResponse
    from .outputs import Output, OutputStream
    from .pricing import Cost
    from .resilience import RetryPolicy, Timeouts
    from .tasks import GeneratedImages, Ranking, VideoJob
    from .tool_loop import OnToolError, ToolLoop
    from .transport import Endpoint
    from .types import (
        AsyncInvokePage,
        ConverseRequest,
        ConverseResponse,
        CountTokensRequest,
        GuardrailChecks,
        GuardrailChecksReport,
        GuardrailContent,
        GuardrailVerdict,
        JobStatus,
        Message,
        ResponseMeta,
        TokenCount,
    )
    from .types.control_plane import (
        FoundationModel,
        InferenceProfile,
        InferenceProfileType,
        InferenceType,
        ModelCustomization,
        ModelModality,
    )
    from .usage import UsageReport

T = TypeVar("T")

_BAD_OUTPUT: Final = "Output Config"  # the service says "Invalid Output Config/Credentials"  [public threads]


class BedrockClient(Engine):
    """An asynchronous client of Amazon Bedrock inference.

    ::

        async with BedrockClient(region="us-east-1") as client:
            reply = await client.converse("us.anthropic.claude-sonnet-4-6", "Say hello.")
            print(reply.text)

    One client serves any number of concurrent calls of one event loop; its connections are pooled. Without
    ``async with``, call `aclose` in the end. Making a client sends nothing and reads no credentials.

    - ``region``: else the session's or profile's, AWS_DEFAULT_REGION, AWS_REGION, us-west-2; see `region_source`.
    - ``credentials``: `Credentials`, or a callable (also async) that returns them; ``session``: an aiobotocore,
      aioboto3, botocore or boto3 session; ``profile``: a name of the AWS configuration; ``api_key``: a Bedrock API
      key, or a callable that returns one. At most one of the four; with none, the environment and then the AWS
      default chain are asked.
    - ``endpoint_url``: another endpoint, for example the emulator's; ``control_endpoint_url``: another one for the
      control plane (`list_models`, `list_inference_profiles`, `resolve_model`), see `resolve_control_endpoint`.
    - ``provider``: the name of the default provider; ``providers``: providers by name, beside the installed ones.
    - ``families``: model families by name, before the installed ones, for ``provider="invoke"``.
    - ``settings``: default values of the keywords that calls take.
    - ``transport``: ``"native"`` (the default), ``"aiohttp"``, ``"httpx"``, a ready httpx client, or a `Transport`;
      one that is passed in is not closed with the client.
    - ``connection``: FIPS and dual-stack endpoints, CA bundle, proxies, user agent; see `ConnectionOptions`.
    - ``prices``: what models cost, before the list prices that the extra ``cost`` knows; see `Prices`.
    - ``limits``, ``timeouts``, ``retry``: see `Limits`, `Timeouts`, `StandardRetry`.
    - ``rate_limit``: what may go to a model in a minute and at once: a `RateLimit`, several by patterns of model ids,
      or a `RateLimiter`, which clients can share.
    - ``targets``: regions, models or providers that answer when the first of them cannot, see `Target`; a `Failover`
      has more to choose.
    - ``hooks``: functions that see, and may change, what goes out and what comes back; see `Hooks`.

    docs/configuration.md lists what else is read, from the environment and the AWS configuration, and in which order.
    """

    def __init__(self, **keywords: Unpack[ClientKeywords]) -> None:
        """Resolve region and endpoint. Raises InvalidRequestError, CredentialsError or PluginError."""
        check_names(keywords, verb="BedrockClient", known=ClientKeywords, others=OTHER_CLIENT_NAMES)
        super().__init__(**keywords)

    @classmethod
    def from_botocore_config(cls, config: BotocoreConfig, **keywords: Unpack[ClientKeywords]) -> Self:
        """Return a client that does what a ``botocore.config.Config`` (or an ``AioConfig``) asks for.

        Only what was given to the Config counts; everything else has the defaults of this class. ``keywords`` are those
        of the class and override it; a ready ``transport`` replaces everything that is about connections.

        ==================================== ==========================================================================
        region_name                          region
        connect_timeout                      timeouts.connect_s; None raises
        read_timeout                         timeouts.first_event_s and idle_s; total_s is long enough for all attempts
        retries                              StandardRetry: total_max_attempts, or max_attempts + 1; else 5 attempts
                                             for legacy, 3 for standard; AdaptiveRetry for adaptive
        max_pool_connections                 limits.max_connections
        proxies, proxies_config              connection.proxies, proxy_ca_bundle, proxy_client_cert;
                                             proxy_use_forwarding_for_https raises
        client_cert                          connection.client_cert
        use_fips_endpoint,                   connection.use_fips, use_dualstack, ignore_configured_endpoint_urls
        use_dualstack_endpoint,
        ignore_configured_endpoint_urls
        user_agent, user_agent_extra,        connection.user_agent, user_agent_extra
        user_agent_appid
        tcp_keepalive                        always on; False warns
        signature_version,                   v4 or bearer (sigv4 or httpBearerAuth), and raises where the credentials
        auth_scheme_preference               are of the other kind; other signatures raise
        parameter_validation, defaults_mode  False, and any mode but legacy, warn
        connector_args, http_session_cls     (aiobotocore) ssl_context, resolver, socket_factory raise; the rest warns
        s3, s3_disable_express_session_auth, without effect on Bedrock Runtime, also in botocore
        inject_host_prefix,
        endpoint_discovery_enabled,
        request_min_compression_size_bytes,
        disable_request_compression,
        client_context_params,
        sigv4a_signing_region_set,
        request_checksum_calculation,
        response_checksum_validation,
        account_id_endpoint_mode,
        warm_up_loader_caches
        ==================================== ==========================================================================

        An option of a later botocore warns. Warnings are of the class `BotocoreConfigWarning`. Raises
        InvalidRequestError, and whatever making a client raises.
        """
        from .botocore_config import client_keywords

        return cls(**client_keywords(config, keywords, environ=os.environ))

    def __repr__(self) -> str:
        closed = ", closed" if self._closed else ""
        return f"BedrockClient({self._region!r}, {self._endpoint.base_url!r}, {self.credentials_source!r}{closed})"

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
        return self._line.authenticator.source

    @property
    def credentials(self) -> str | None:
        """Where the credentials come from that requests are signed with, never a secret; None with an API key.

        Assign `Credentials`, or a callable that returns them: calls and streams made from then on are signed with
        those, and those under way keep what they began with. Raises InvalidRequestError for another type.
        """
        return None if isinstance(self._line.authenticator, BearerAuthenticator) else self.credentials_source

    @credentials.setter
    def credentials(self, credentials: Credentials | CredentialsProvider) -> None:
        self._authorize_with(authenticator_of_credentials(credentials))

    @property
    def api_key(self) -> str | None:
        """Where the API key comes from, never the key itself; None when requests are signed.

        Assign a key, an `ApiKey`, or a callable that returns one; it takes effect as `credentials` do.
        """
        return self.credentials_source if isinstance(self._line.authenticator, BearerAuthenticator) else None

    @api_key.setter
    def api_key(self, api_key: str | ApiKey | ApiKeyProvider) -> None:
        self._authorize_with(authenticator_of_api_key(api_key))

    # -- settings, models with settings of their own, conversations

    @property
    def config(self) -> dict[str, Any]:
        """The default settings of all calls, as a copy."""
        return {name: copied(value) for name, value in self._defaults.items()}

    def update_config(self, **settings: Unpack[CallSettings]) -> None:
        """Change defaults for the calls that are made from now on; None removes one.

        Either all changes take effect, at once, or none, when one is refused. Calls and streams that have begun keep
        the settings they began with. Raises InvalidRequestError.
        """
        changes = cast("Mapping[str, Any]", settings)
        check_names(changes, verb="update_config")
        check_options(changes.get("timeouts"), changes.get("retry"))
        self._defaults = changed_settings(self._defaults, changes)

    def model(self, model: KnownModelId | str, **settings: Unpack[CallSettings]) -> BoundModel:
        """Return a model with its own settings: the client's verbs, without the argument ``model``; nothing is sent.

        What a call passes overrides these settings, and these override the client's defaults. Raises
        InvalidRequestError or InvalidModelIdError.
        """
        from .bound_model import BoundModel

        return BoundModel(self, model, cast("Mapping[str, Any]", settings))

    def conversation(
        self, model: KnownModelId | str, messages: Messages = (), **settings: Unpack[CallSettings]
    ) -> Conversation:
        """Return a conversation that keeps its history, and begins with ``messages``; nothing is sent.

        Raises InvalidRequestError or InvalidModelIdError.
        """
        return self.model(model, **settings).conversation(messages)

    @property
    def usage(self) -> UsageReport:
        """What the calls of this client have used so far: tokens, cache, cost; in total, by model and by tag.

        Streams count when their last event has arrived. Costs are looked up when they are read.
        """
        return self._usage.report()

    async def load_prices(self) -> None:
        """Read the price list in a thread, for some tenths of a second, so that no later look at a cost waits for it.

        Once per process is enough. Cancelling returns at once; the thread runs on. Raises MissingExtraError without the
        extra ``cost``, unless the client has only prices of its own.
        """
        from anyio import to_thread

        await to_thread.run_sync(self._prices.load, abandon_on_cancel=True)

    # -- verbs

    @overload
    async def converse(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ConverseResponse: ...

    @overload
    async def converse(
        self, model: KnownModelId | str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ConverseResponse: ...

    # What type checkers see are the overloads: without a model the words of the error are ours, not Python's.
    async def converse(
        self,
        model: KnownModelId | str | ConverseRequest | None = None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ConverseResponse:
        """Send a conversation and return the whole answer, within ``timeouts.total_s`` over all attempts.

        ``model`` is an id, an inference-profile id or a Bedrock ARN; with ``inference_profile`` the call goes to the
        profile, and ``model`` names the model behind it, whose capabilities count. A ready `ConverseRequest`, in place
        of ``messages`` or of both, is sent as it is. All other keywords are those of `CallSettings`:
        docs/requests.md#keywords lists them. Cancelling closes the connection of the attempt under way.

        Raises InvalidRequestError or InvalidModelIdError before anything is sent, ServiceError when the service
        refuses, TransportError, CallTimeoutError, CredentialsError or ResponseDecodeError. Source: Converse of the
        Amazon Bedrock Runtime API, 2023-09-30.
        """
        inference = self._inference(model, messages, settings, verb="converse")
        if inference.settings.get("output_type") is None:
            return await self._converse(inference)
        with self._line.in_flight:
            _, response = await self._question(inference).ask(self._converse)
        return response

    @overload
    async def parse(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[T]: ...

    @overload
    async def parse(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        output_type: object,
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[Any]: ...

    async def parse(
        self,
        model: KnownModelId | str | ConverseRequest | None = None,
        messages: Messages | ConverseRequest | None = None,
        *,
        output_type: object,
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[Any]:
        """Send a conversation and return the answer as a value of a type; ``timeouts.total_s`` holds for all requests.

        ``output_type`` is a pydantic model, a dataclass, a TypedDict, any other type that pydantic knows, or a JSON
        schema. ``output_mode`` says how the model is asked: ``"native"`` (the service holds it to the schema),
        ``"tool"`` (it must call one), ``"prompt"``; by default in the first way that the model can do and the service
        does not refuse. An answer that is not of the type goes back with its faults, at most ``max_repairs`` times.

        Raises OutputInvalidError, OutputRefusedError, OutputTruncatedError, or OutputToolUseError where one of
        ``tools`` is to run first, each with the responses. Beyond these it raises as `converse` does, and is cancelled
        in the same way.
        """
        from . import outputs

        repairs = outputs.check_max_repairs(max_repairs)
        inference = self._inference(model, messages, settings, verb="parse")
        total_s = (inference.settings.get("timeouts") or self._timeouts).total_s
        question = self._question_of(inference, output_type, output_mode)
        with self._line.in_flight:
            return await outputs.parse(question, self._converse, max_repairs=repairs, total_s=total_s)

    @overload
    def stream(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[T]: ...

    @overload
    def stream(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        output_type: Mapping[str, Any],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[Any]: ...

    @overload
    def stream(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ResponseStream: ...

    @overload
    def stream(
        self, model: KnownModelId | str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ResponseStream: ...

    def stream(
        self,
        model: KnownModelId | str | ConverseRequest | None = None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ResponseStream:
        """Return the stream of an answer; the request goes out at the first ``__anext__`` or ``__aenter__``.

        Arguments are those of `converse` (docs/requests.md#keywords); wrong ones are refused at once, before anything
        is sent. A failed attempt is repeated only until the first event has arrived. See `ResponseStream` for its life
        and its errors, and `OutputStream` for what ``output_type`` gives. Source: ConverseStream of the Amazon Bedrock
        Runtime API, 2023-09-30.
        """
        inference = self._inference(model, messages, settings, verb="stream")
        return (
            self._stream(inference) if inference.settings.get("output_type") is None else self._output_stream(inference)
        )

    def run_tools(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        max_rounds: int = 10,
        max_concurrency: int = 8,
        tool_timeout_s: float | None = None,
        on_tool_error: OnToolError = "return",
        deps: object = None,
        **settings: Unpack[UntypedSettings],
    ) -> ToolLoop:
        """Return the loop that asks the model and runs the ``tools`` that it wants, until it has an answer.

        Arguments are those of `stream`; wrong ones are refused at once. ``tools`` are functions, or tools made from
        them with `tool`; those declared without a function end the loop for the caller to run them, and the service
        runs a `SystemTool` itself. At most ``max_rounds`` answers are asked for, then ToolRoundsError is raised; up to
        ``max_concurrency`` tools of one answer run at a time, each within its own ``timeout_s`` or else
        ``tool_timeout_s`` seconds. ``deps`` is passed to tools that take a `ToolContext`. A ready request declares its
        tools itself; ``tools`` are then their functions.

        See `ToolLoop` for its life, its steps and its errors, `OnToolError` for what becomes of tools that fail.
        ``timeouts`` and ``retry`` are for each round; ``streaming=False`` makes rounds of Converse.
        """
        from . import tool_loop

        options = tool_loop.LoopOptions(
            max_rounds=max_rounds,
            max_concurrency=max_concurrency,
            tool_timeout_s=tool_timeout_s,
            on_tool_error=on_tool_error,
            deps=deps,
        )
        self._check_open()
        rounds = Rounds(self._line.in_flight, self._tool_round)
        loop = tool_loop.begin(rounds, model, messages, settings=settings, defaults=self._defaults, options=options)
        loop.add_done_callback(rounds.over)
        return loop

    def prepare(
        self, model: KnownModelId | str, messages: Messages, **settings: Unpack[CallSettings]
    ) -> ConverseRequest:
        """Return the request that `converse` and `stream` would send for these arguments; nothing is sent.

        With ``inference_profile``, the request's ``model_id`` is the profile. Raises InvalidRequestError or
        InvalidModelIdError.
        """
        asked = self._request(model, messages, settings, verb="prepare")
        request = self._request_with_output(asked)
        through = asked.settings.get("inference_profile")
        return request if through is None else request.model_copy(update={"model_id": asked.target.raw})

    def plan_cache(self, model: KnownModelId | str, messages: Messages, **settings: Unpack[CallSettings]) -> CachePlan:
        """Return where the cache points of a call would stand, and why; nothing is sent.

        Arguments are those of `converse`: ``cache`` says what is wanted. ``plan.explain()`` puts the plan in words, and
        ``plan.request`` is what would be sent. Raises InvalidRequestError or InvalidModelIdError.
        """
        return cache_plan_of(self._request(model, messages, settings, verb="plan_cache"))

    # -- a model's native body

    async def invoke(
        self, model: KnownModelId | str, body: NativeBody, **settings: Unpack[InvokeSettings]
    ) -> InvokeResponse:
        """Send a model's native body and return its native answer, within ``timeouts.total_s`` over all attempts.

        A mapping goes out as JSON, bytes and text as they are. Raises as `converse` does. Cancelling closes the
        connection of the attempt under way. Source: InvokeModel of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        effective = self._settings_of(InvokeSettings, settings, verb="invoke")
        target, _ = self._route(model, effective)
        request = build_invoke(target.raw, body, effective)
        watch = self._watch("invoke", target, "invoke", effective, request)
        send = partial(self._invoke, request, effective, watch)
        return await (send() if watch is None else watch.around(send))

    def invoke_bidirectional(
        self, model: KnownModelId | str, **settings: Unpack[BidirectionalSettings]
    ) -> BidirectionalStream:
        """Return a conversation with a model that listens and speaks at once; it begins on entering ``async with``.

        Needs the extra ``bidirectional``; see `BidirectionalStream` for its life and errors. Raises InvalidModelIdError
        or MissingExtraError. Source: InvokeModelWithBidirectionalStream of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        from .bidirectional import BidirectionalStream

        effective = self._settings_of(BidirectionalSettings, settings, verb="invoke_bidirectional")
        target, _ = self._route(model, effective)
        transport = self._duplex_transport()
        call = self._call(effective, check_loop=False)
        request = runtime.invoke_bidirectional(target)

        async def opener() -> OpenDuplex:
            self._check_usable()
            return await open_duplex(request, transport, call)

        return BidirectionalStream(opener, request, call, lambda: self._meta(target, "invoke", call))

    def invoke_stream(
        self, model: KnownModelId | str, body: NativeBody, **settings: Unpack[InvokeSettings]
    ) -> InvokeStream:
        """Return the stream of a model's native events; the request goes out at the first ``__anext__``.

        Arguments are those of `invoke`; life and errors those of `stream`. Source: InvokeModelWithResponseStream of the
        Amazon Bedrock Runtime API, 2023-09-30.
        """
        effective = self._settings_of(InvokeSettings, settings, verb="invoke_stream")
        target, _ = self._route(model, effective)
        request = build_invoke(target.raw, body, effective)
        self._check_guardrail(request.guardrail_identifier, path="guardrail")
        call = self._call(effective, check_loop=False, large=len(request.body) >= LARGE_BODY_BYTES)
        call.watch = watch = self._watch("invoke_stream", target, "invoke", effective, request)
        send = partial(self._open_invoke, request, call)
        opener = send if watch is None else partial(watch.guarding, send)
        return InvokeStream(opener, idle_s=call.timeouts.idle_s, in_flight=self._line.in_flight)

    # -- embeddings, ranking, images, videos: in the dialect of the model's family, which must be installed or given

    async def embed(
        self,
        model: KnownModelId | str,
        inputs: EmbedInputs,
        *,
        purpose: Literal["document", "query", "classification", "clustering"] | str | None = None,
        dimensions: int | None = None,
        normalize: bool | None = None,
        truncate: Literal["none", "start", "end"] | str | None = None,
        max_concurrency: int = 8,
        additional_request_fields: Mapping[str, object] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> Embeddings:
        """Return a vector for each input, in their order; None leaves a choice to the model.

        Inputs are texts and images, as many as you like: they go out in as few requests as the model allows (its
        profile's ``embedding.max_inputs``), up to ``max_concurrency`` at a time. ``purpose`` is what the vectors are
        for; ``additional_request_fields`` are members of the native body. The first failure cancels the rest and names
        the inputs that it is about; cancelling closes all connections in use.

        Raises InvalidRequestError for no or unfit inputs and for a model that makes no embeddings, PluginError without
        a family for it, InputTooLongError from the service, and as `converse`. Source: InvokeModel of the Amazon
        Bedrock Runtime API, 2023-09-30.
        """
        await loaded("tasks")
        from . import tasks
        from .features.tasks import build_embed, media_bytes

        task = self._task(model, settings, verb="embed")
        task.embeds()
        batches = build_embed(
            inputs,
            task.ctx.profile.embedding,
            purpose=purpose,
            dimensions=dimensions,
            normalize=normalize,
            truncate=truncate,
            fields=additional_request_fields,
        )

        async def send(request: EmbedRequest) -> tuple[Embeddings, ResponseMeta]:
            return await self._run_task(task, tasks.embed(request, task), "embed", media_bytes=media_bytes(request))

        with self._line.in_flight:
            return await tasks.in_batches(batches, send, max_concurrency=max_concurrency)

    async def rerank(
        self,
        model: KnownModelId | str,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        additional_request_fields: Mapping[str, object] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> Ranking:
        """Rank documents by how well they answer the query: the best first, at most ``top_n`` of them.

        Each has its index in ``documents`` and a score. One request; raises and is cancelled as `embed`.
        """
        await loaded("tasks")
        from . import tasks
        from .features.tasks import build_rerank

        task = self._task(model, settings, verb="rerank")
        request = build_rerank(query, documents, top_n=top_n, fields=additional_request_fields)
        return tasks.Ranking(*await self._run_task(task, tasks.rerank(request, task), "rerank"))

    async def generate_image(
        self,
        model: KnownModelId | str,
        prompt: str | None = None,
        *,
        images: Sequence[ImageInput] = (),
        mask: ImageInput | None = None,
        negative_prompt: str | None = None,
        count: int | None = None,
        width: int | None = None,
        height: int | None = None,
        aspect_ratio: str | None = None,
        seed: int | None = None,
        format: Literal["png", "jpeg", "webp"] | str | None = None,  # noqa: A002 - the word of `GeneratedImage`
        task: str | None = None,
        additional_request_fields: Mapping[str, object] | None = None,
        **settings: Unpack[TaskSettings],
    ) -> GeneratedImages:
        """Return the images that a model makes from a prompt, or from other images, as bytes with their format.

        ``width`` and ``height`` are in pixels, ``aspect_ratio`` is text such as ``"16:9"``; ``task`` is the model's own
        name for what to do (``"INPAINTING"``), where the other arguments do not tell. An image that the model held back
        has no data and a ``finish_reason``. Raises and is cancelled as `embed`.
        """
        await loaded("tasks")
        from . import tasks
        from .features.tasks import build_image, media_bytes

        asked = self._task(model, settings, verb="generate_image")
        request = build_image(
            prompt,
            images=images,
            mask=mask,
            fields=additional_request_fields,
            negative_prompt=negative_prompt,
            count=count,
            width=width,
            height=height,
            aspect_ratio=aspect_ratio,
            seed=seed,
            format=format,
            task=task,
        )
        flow = tasks.generate_image(request, asked)
        made = await self._run_task(asked, flow, "generate_image", media_bytes=media_bytes(request))
        return tasks.GeneratedImages(*made)

    async def generate_video(
        self,
        model: KnownModelId | str,
        prompt: str | None = None,
        *,
        output_s3_uri: str,
        images: Sequence[ImageInput] = (),
        duration_s: int | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        frames_per_second: int | None = None,
        loop: bool | None = None,
        seed: int | None = None,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        client_request_token: str | None = None,
        tags: Tags | None = None,
        additional_request_fields: Mapping[str, object] | None = None,
        provider_options: Mapping[str, object] | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> VideoJob:
        """Start a job that makes a video from a prompt, and from images to begin with; return its handle.

        ``await job.result()`` is the video. It is billed, and takes minutes; the video goes to S3, below
        ``output_s3_uri``. All other arguments are those of `start_async_invoke`, which this calls with the input that
        the model's family writes. Raises as `start_async_invoke` and `embed` do.
        """
        await loaded("tasks")
        from . import tasks
        from .features.tasks import build_video

        task = self._task(model, {"provider_options": provider_options}, verb="generate_video")
        request = build_video(
            prompt,
            images=images,
            fields=additional_request_fields,
            duration_s=duration_s,
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            frames_per_second=frames_per_second,
            loop=loop,
            seed=seed,
        )
        started = await self.start_async_invoke(
            model,
            tasks.video_input(request, task),
            output_s3_uri=output_s3_uri,
            kms_key_id=kms_key_id,
            bucket_owner=bucket_owner,
            client_request_token=client_request_token,
            tags=tags,
            timeouts=timeouts,
            retry=retry,
        )
        return tasks.VideoJob(started, task)

    # -- tokens and guardrails

    async def count_tokens(
        self,
        model: KnownModelId | str | ConverseRequest | CountTokensRequest | None,
        messages: Messages | ConverseRequest | None = None,
        *,
        body: NativeBody | None = None,
        breakdown: bool = False,
        estimate: Estimate | None = None,
        **settings: Unpack[CallSettings],
    ) -> TokenCount:
        """Return how many input tokens a call would have, without making it; it is free of charge.

        Arguments are those of `converse`; messages, system, tools and additional_request_fields count. With ``body`` in
        place of messages a native body is counted; with ``provider="invoke"`` that is the one the family makes from the
        messages, if it makes one for counting and no ``breakdown`` is asked for. The service takes the profile id for
        some models and the base id for others: when it refuses one, the other is tried, and the outcome is remembered,
        also when a model cannot count at all.

        ``breakdown=True`` sends up to three more requests at once, to tell how much of it system prompt and tools are.
        ``estimate="offline"`` sends nothing and estimates the number from the length of the request; ``"fallback"``
        does so only where the model cannot count. `TokenCount.estimated` says whether it was an estimate.

        Raises as `converse` does, ValidationError for models that cannot count. Source: CountTokens of the Amazon
        Bedrock Runtime API, 2023-09-30.
        """
        self._check_open()
        request, effective = self._count_tokens_request(model, messages, body, settings, in_parts=breakdown)
        target, base = self._route(request.model_id, effective)
        with self._line.in_flight:
            return await self._token_counter().count(
                request, target, base, effective, breakdown=breakdown, estimate=estimate
            )

    async def estimate_cost(
        self,
        model: KnownModelId | str | ConverseRequest,
        messages: Messages | ConverseRequest | None = None,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        batch: bool = False,
        estimate: Estimate | None = None,
        **settings: Unpack[CallSettings],
    ) -> Cost | None:
        """Return what a call would cost in US dollars, None where a price is not known; nothing is generated.

        Without ``input_tokens``, the tokens of ``messages`` are counted (see `count_tokens`, also for ``estimate``).
        Input does not include what is read from the cache or written to it. Without ``output_tokens``, the answer is
        taken to have ``max_tokens``, the most it can have. ``service_tier`` and ``inference_profile`` count as in a
        call; ``batch`` asks for the price of a batch job. See `Prices` for where prices come from.

        Raises InvalidRequestError, MissingExtraError where only genai-prices could know the price and is not installed,
        and as `count_tokens` does where tokens are counted.
        """
        from .counting import ExpectedTokens, estimated_cost

        target, base, effective = self._priced_call(model, messages, settings, counted=input_tokens is None)
        tokens = ExpectedTokens(
            input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens
        )
        count = partial(self.count_tokens, model, messages, estimate=estimate, **settings)
        return await estimated_cost(self._prices, tokens, target, base, effective, batch=batch, count=count)

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
        await loaded("types.guardrail_operations")
        self._check_guardrail(guardrail_id, path="guardrail_id")
        request = build_apply_guardrail(
            guardrail_id, version, source=source, content=content, output_scope=output_scope
        )
        return await self._run(
            runtime.apply_guardrail(request), None, {"timeouts": timeouts, "retry": retry}, "apply_guardrail"
        )

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
        await loaded("types.guardrail_operations")
        request = build_guardrail_checks(messages, checks)
        settings = {"timeouts": timeouts, "retry": retry}
        return await self._run(runtime.invoke_guardrail_checks(request), None, settings, "invoke_guardrail_checks")

    # -- asynchronous invocations

    async def start_async_invoke(
        self,
        model: KnownModelId | str,
        model_input: Mapping[str, object],
        *,
        output_s3_uri: str,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        client_request_token: str | None = None,
        tags: Tags | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncInvokeJob:
        """Start a job that writes its output to S3, below ``output_s3_uri``, and return its handle.

        ``model_input`` is the model's native input. The service writes with the permissions of the caller
        (s3:PutObject), and encrypts with the key whose ARN is ``kms_key_id``; ``bucket_owner`` is the account that owns
        the bucket, if that is another one. Without a ``client_request_token`` each call makes its own, so that
        repeating the request after a lost connection starts no second job. With one, equal calls start one job between
        them, even from other processes.

        Raises InvalidRequestError or InvalidModelIdError before anything is sent, ConflictError for a token that was
        used for another job, ValidationError where the service cannot write, and as `converse`. Cancelling closes the
        connection; a job that was started by then goes on. Source: StartAsyncInvoke of the Amazon Bedrock Runtime API,
        2023-09-30.
        """
        from uuid import uuid4

        from .providers.invocations import parse_s3_uri

        target = self._model(model)
        parse_s3_uri(output_s3_uri, path="output_s3_uri")
        request = build_start_async_invoke(
            target.raw,
            model_input,
            output_s3_uri=output_s3_uri,
            client_request_token=str(uuid4()) if client_request_token is None else client_request_token,
            kms_key_id=kms_key_id,
            bucket_owner=bucket_owner,
            tags=tags,
        )
        settings = {"timeouts": timeouts, "retry": retry}
        try:
            started = await self._run(runtime.start_async_invoke(request), target, settings, "start_async_invoke")
        except ValidationError as exc:
            if _BAD_OUTPUT in exc.message:
                exc.hint = (
                    f"The service writes as the caller: allow s3:PutObject on {output_s3_uri}, in a bucket of "
                    f"{self._region}; with kms_key_id also kms:GenerateDataKey and kms:Decrypt on that key."
                )
            raise
        return self._job(started.invocation_arn, settings, target.raw, output_s3_uri, started.meta)

    def async_invoke_job(
        self, arn: str, *, timeouts: Timeouts | None = None, retry: RetryPolicy | None = None
    ) -> AsyncInvokeJob:
        """Return the handle of a job that was started before, here or elsewhere; nothing is sent.

        ``timeouts`` and ``retry`` hold for each request about it. Raises InvalidRequestError for anything but the ARN
        of an invocation in this region.
        """
        from .providers.invocations import parse_invocation_arn

        check_options(timeouts, retry)
        parsed = parse_invocation_arn(arn)
        if parsed.region != self._region:
            raise InvalidRequestError(
                f"the invocation {arn!r} belongs to the region {parsed.region}; the client's is {self._region} "
                f"({self._region_source}).",
                path="arn",
                hint=f"Use BedrockClient(region={parsed.region!r}).",
            )
        return self._job(arn, {"timeouts": timeouts, "retry": retry})

    def list_async_invokes(
        self,
        *,
        status: JobStatus | None = None,
        submitted_after: datetime | None = None,
        submitted_before: datetime | None = None,
        sort_by: Literal["SubmissionTime"] | str | None = None,
        sort_order: Literal["Ascending", "Descending"] | str | None = None,
        max_results: int | None = None,
        page_size: int | None = None,
        next_token: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncInvokeListing:
        """Return the jobs of the account in this region, for ``async for``; pages are asked for as they are needed.

        ``status`` is ``"InProgress"``, ``"Completed"`` or ``"Failed"``; the times are aware datetimes. At most
        ``max_results`` jobs come in all, ``page_size`` with each request. ``next_token`` continues another listing with
        the same filters (`AsyncInvokeListing.next_token`).

        Raises InvalidRequestError at once and, while it is read, ValidationError for a token that has expired, and as
        `converse` does. Source: ListAsyncInvokes of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        from .jobs import AsyncInvokeListing

        check_place(max_results=max_results, page_size=page_size, next_token=next_token)
        filters = build_list_async_invokes(
            status=status,
            submitted_after=submitted_after,
            submitted_before=submitted_before,
            sort_by=sort_by,
            sort_order=sort_order,
        )

        async def fetch(token: str | None, size: int | None) -> AsyncInvokePage:
            place = {"next_token": token, "max_results": size}
            request = filters.model_copy(update={name: value for name, value in place.items() if value is not None})
            return await self._run(
                runtime.list_async_invokes(request), None, {"timeouts": timeouts, "retry": retry}, "list_async_invokes"
            )

        return AsyncInvokeListing(fetch, max_results=max_results, page_size=page_size, next_token=next_token)

    # -- models and profiles

    async def list_models(
        self,
        *,
        provider: str | None = None,
        output_modality: ModelModality | None = None,
        inference_type: InferenceType | None = None,
        customization_type: ModelCustomization | None = None,
        access: bool = False,
        refresh: bool = False,
    ) -> list[FoundationModel]:
        """Return the foundation models that the region offers, of one provider (``"Anthropic"``) and these kinds.

        With ``access`` each says what the account may do with it (`FoundationModel.access`), which takes one request
        per model, a few at a time. Answers are remembered for five minutes, unless ``refresh``; concurrent calls with
        the same question send one request. Cancelling one of these calls does not cancel the others.

        Raises ServiceError when the service refuses (docs/iam.md lists the permissions), TransportError,
        CallTimeoutError, CredentialsError or ResponseDecodeError. Source: ListFoundationModels and
        GetFoundationModelAvailability of the Amazon Bedrock API, 2023-04-20.
        """
        await loaded("control_plane")
        request = build_list_models(
            provider=provider,
            output_modality=output_modality,
            inference_type=inference_type,
            customization_type=customization_type,
        )
        self._check_open()
        self._check_usable()
        with self._line.in_flight:
            return await self._control_plane().models(request, access=access, refresh=refresh)

    async def list_inference_profiles(
        self,
        *,
        type: InferenceProfileType | None = None,  # noqa: A002 - the service's word
        refresh: bool = False,
    ) -> list[InferenceProfile]:
        """Return the inference profiles that can be called from the region, ``SYSTEM_DEFINED`` or ``APPLICATION``.

        All pages are read. Remembers answers and raises as `list_models` does. Source: ListInferenceProfiles of the
        Amazon Bedrock API, 2023-04-20.
        """
        self._check_open()
        self._check_usable()
        await loaded("control_plane")
        with self._line.in_flight:
            return await self._control_plane().inference_profiles(type, refresh=refresh)

    async def resolve_model(self, model: KnownModelId | str, *, refresh: bool = False) -> ResolvedModel:
        """Return the inference profile behind an id or ARN, and the foundation models that it routes to.

        Later calls through that profile know what the model behind it can do. A foundation model needs no request.
        Remembers answers and raises as `list_models` does, and InvalidModelIdError for an id that is neither, or of
        another region. Source: GetInferenceProfile of the Amazon Bedrock API, 2023-04-20.
        """
        self._check_open()
        self._check_usable()
        await loaded("control_plane")
        with self._line.in_flight:
            return await self._control_plane().resolve(self._model(model), refresh=refresh)

    # -- life

    async def __aenter__(self) -> Self:
        """Return the client; nothing is opened before the first call."""
        self._check_open()
        self._check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.aclose()

    async def aclose(self, *, drain_s: float | None = None) -> None:
        """Close all connections: at once, or once what is in flight has ended, after ``drain_s`` seconds at the latest.

        Meanwhile calls, streams and tool loops that have begun go on, with all requests that they need; new ones are
        refused with ClientClosedError. Then what is left is ended: calls raise ClientClosedError, and streams
        ConnectionLostError when they are read on. It does not wait for bidirectional streams, which end when either
        side ends them, for objects being read from S3, or for jobs, which run at the service.

        Idempotent; a second call without ``drain_s`` ends the waiting of the first. Cancelling ends the waiting too,
        and closes all the same. Raises InvalidRequestError if ``drain_s`` is not a number of seconds.
        """
        check_seconds("drain_s", drain_s, hint="Pass drain_s=30, or leave it out to close at once.")
        self._closing = True
        here = self._loop is None or asyncio.get_running_loop() is self._loop
        try:
            if drain_s is not None and here and not self._closed:
                await self._line.in_flight.drained(drain_s)
        finally:
            self._closed = True
            if here:  # elsewhere the loop of the calls has ended, and they with it
                self._line.in_flight.stop()
            await self._disconnect()
            farewell, self._farewell = self._farewell, None
            if farewell is not None:
                farewell.cancel()
