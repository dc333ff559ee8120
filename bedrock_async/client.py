"""BedrockClient: the verbs, and the only place that wires the layers together."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, overload
from uuid import uuid4

from . import tasks
from ._version import __version__
from .auth import (
    Authenticator,
    BearerAuthenticator,
    ProfileSettings,
    authenticator_of_api_key,
    authenticator_of_credentials,
    resolve_authenticator,
    resolve_region,
    session_profile,
    shared_credentials,
)
from .bidirectional import BidirectionalStream
from .botocore_config import BotocoreConfig, ClientKeywords, client_keywords
from .calls import Call, Inference, Line, OpenDuplex, OpenStream, open_duplex, open_events, open_stream, run
from .control_plane import ControlPlane, ResolvedModel, resolve_control_endpoint
from .errors import (
    ClientClosedError,
    InvalidModelIdError,
    InvalidRequestError,
    ValidationError,
    WrongEventLoopError,
)
from .events import Event
from .families import Embeddings, EmbedRequest, ModelFamily
from .families.profiles import overridden
from .families.registry import FamilyRegistry
from .features.arguments import check_options, check_texts, checked_settings, of_kind
from .features.checks import check_request, ready_request
from .features.operations import (
    InvokeSettings,
    NativeBody,
    Tags,
    build_apply_guardrail,
    build_count_tokens,
    build_count_tokens_of_body,
    build_guardrail_checks,
    build_invoke,
    build_list_async_invokes,
    build_list_models,
    build_start_async_invoke,
    check_place,
)
from .features.settings import CallSettings, Messages, build_request, check_names, check_ready, merged_settings
from .features.tasks import (
    EmbedInputs,
    Image,
    TaskSettings,
    build_embed,
    build_image,
    build_rerank,
    build_video,
    media_bytes,
)
from .jobs import AsyncInvokeJob, AsyncInvokeListing
from .known_models import KnownModelId
from .model_id import ModelId, parse_model_id
from .native import InvokeChunk, InvokeResponse
from .plugins import allowed_plugins
from .providers import CallContext, Flow, Provider, StreamPlan, runtime
from .providers.invocations import parse_invocation_arn, parse_s3_uri
from .providers.registry import ProviderRegistry
from .resilience import Limits, RetryPolicy, StandardRetry, Timeouts
from .stream import InvokeStream, ResponseStream
from .tasks import GeneratedImages, Ranking, Task, VideoJob
from .transport import ConnectionOptions, DuplexTransport, Endpoint, Transport, as_transport, resolve_endpoint
from .transport.objects import S3ObjectReader
from .transport.s3 import S3Clients
from .types import (
    AsyncInvokePage,
    AsyncInvokeSummary,
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
from .types.request import LARGE_BODY_BYTES
from .types.response import ServiceResponse

if TYPE_CHECKING:
    from .auth import ApiKey, ApiKeyProvider, AwsSession, Credentials, CredentialsProvider
    from .transport import HttpClient

R = TypeVar("R", bound=ServiceResponse)
T = TypeVar("T")

_QUICK_S: Final = 60.0
"""Calls that are no inference are answered within this, or something is wrong."""

_USER_AGENT: Final = f"bedrock-async/{__version__} python/{platform.python_version()}"
_ARN_REGION: Final = 3  # arn:partition:service:region:...
_BAD_OUTPUT: Final = "Output Config"  # the service says "Invalid Output Config/Credentials"  [public threads]
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
    - ``endpoint_url``: another endpoint, for example the emulator's; ``control_endpoint_url``: another one for the
      control plane (`list_models`, `list_inference_profiles`, `resolve_model`), see `resolve_control_endpoint`.
    - ``provider``: the name of the default provider; ``providers``: providers by name, beside the installed ones.
    - ``families``: model families by name, before the installed ones, for ``provider="invoke"``.
    - ``settings``: defaults for the keywords of all calls.
    - ``transport``: ``"native"`` (the default), ``"aiohttp"``, ``"httpx"``, a ready httpx client, or a `Transport`;
      one that is passed in is not closed with the client.
    - ``connection``: FIPS and dual-stack endpoints, CA bundle, proxies, user agent; see `ConnectionOptions`.
    - ``limits``, ``timeouts``, ``retry``: see `Limits`, `Timeouts`, `StandardRetry`.

    docs/configuration.md lists what else is read, from the environment and the AWS configuration, and in which order.
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
        control_endpoint_url: str | None = None,
        provider: str = _DEFAULT_PROVIDER,
        settings: CallSettings | None = None,
        providers: Mapping[str, Provider] | None = None,
        families: Mapping[str, ModelFamily] | None = None,
        transport: Transport | HttpClient | str | None = None,
        connection: ConnectionOptions | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Resolve region and endpoint. Raises InvalidRequestError, CredentialsError or PluginError."""
        environ = os.environ
        check_options(timeouts, retry)
        check_texts(
            region=region, profile=profile, endpoint_url=endpoint_url, control_endpoint_url=control_endpoint_url
        )
        limits = of_kind("limits", limits, Limits) or Limits()
        connection = of_kind("connection", connection, ConnectionOptions) or ConnectionOptions()
        config = ProfileSettings(environ, profile=profile if session is None else session_profile(session))
        choice = resolve_region(region, session=session, profile=profile, environ=environ, config=config)
        self._region = choice.region
        self._region_source = choice.source
        self._endpoint = resolve_endpoint(
            choice.region,
            endpoint_url=endpoint_url,
            environ=environ,
            config=config,
            use_fips=connection.use_fips,
            use_dualstack=connection.use_dualstack,
            ignore_configured_urls=connection.ignore_configured_endpoint_urls,
            allow_http=connection.allow_http,
        )
        authenticator = resolve_authenticator(
            credentials=credentials,
            api_key=api_key,
            session=session,
            profile=profile,
            region=choice.region,
            environ=environ,
        )
        self._defaults: Mapping[str, Any] = checked_settings(settings)
        self._timeouts = timeouts or Timeouts()
        total_s = self._timeouts.total_s
        self._quick = replace(self._timeouts, total_s=_QUICK_S if total_s is None else min(total_s, _QUICK_S))
        self._retry = retry or StandardRetry()
        self._provider = provider
        allowed = allowed_plugins(environ)
        self._registry = ProviderRegistry(providers, allowed)
        self._families = FamilyRegistry(families, allowed)
        self._registry.get(provider)
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
        )
        self._connection = connection
        self._duplex: DuplexTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._token_models: dict[str, tuple[ModelId, ...]] = {}
        self._control: ControlPlane | None = None
        self._control_endpoint = partial(
            resolve_control_endpoint,
            choice.region,
            control_endpoint_url=control_endpoint_url,
            runtime=self._endpoint,
            environ=environ,
            config=config,
            options=connection,
        )
        if control_endpoint_url is not None:
            self._control_plane()  # a URL that cannot be one is refused here, not at the first use
        # pydantic builds its validators now, not in the first call on the loop.
        ConverseRequest.model_rebuild()
        ConverseResponse.model_rebuild()

    @classmethod
    def from_botocore_config(cls, config: BotocoreConfig, **keywords: Unpack[ClientKeywords]) -> Self:
        """Return a client that does what a ``botocore.config.Config`` (or an ``AioConfig``) asks for.

        Only what was given to the Config counts; everything else has the defaults of this class. ``keywords`` are those
        of the class and go before; a ready ``transport`` takes the place of all that is about connections.

        ==================================== ==========================================================================
        region_name                          region
        connect_timeout                      timeouts.connect_s; None raises
        read_timeout                         timeouts.first_event_s and idle_s; total_s is long enough for all attempts
        retries                              StandardRetry: total_max_attempts, or max_attempts + 1; else 5 attempts
                                             for legacy, 3 for standard; adaptive becomes standard and warns
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

        An option of a later botocore warns. Warnings are of the class `BotocoreConfigWarning`; raised is
        InvalidRequestError, and what making a client raises.
        """
        return cls(**client_keywords(config, keywords, environ=os.environ))

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

        Assign `Credentials`, or a callable that returns them: every call and stream that is made from then on is
        signed with those, and whatever is under way keeps what it began with. Raises InvalidRequestError for another
        type.
        """
        return None if isinstance(self._line.authenticator, BearerAuthenticator) else self.credentials_source

    @credentials.setter
    def credentials(self, credentials: Credentials | CredentialsProvider) -> None:
        self._authorize_with(authenticator_of_credentials(credentials))

    @property
    def api_key(self) -> str | None:
        """Where the API key comes from, never the key itself; None when requests are signed.

        Assign a key, an `ApiKey`, or a callable that returns one; it counts as `credentials` do.
        """
        return self.credentials_source if isinstance(self._line.authenticator, BearerAuthenticator) else None

    @api_key.setter
    def api_key(self, api_key: str | ApiKey | ApiKeyProvider) -> None:
        self._authorize_with(authenticator_of_api_key(api_key))

    # -- verbs

    @overload
    async def converse(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ConverseResponse: ...

    @overload
    async def converse(
        self, model: KnownModelId | str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ConverseResponse: ...

    async def converse(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ConverseResponse:
        """Send a conversation and return the whole answer, within ``timeouts.total_s`` over all attempts.

        ``model`` is an id, an inference-profile id or a Bedrock ARN; with ``inference_profile`` the call goes to that,
        and ``model`` says what the model behind it can do. A ready `ConverseRequest`, in place of ``messages`` or of
        both, is sent as it is. Cancelling closes the connection of the attempt under way.

        Raises InvalidRequestError or InvalidModelIdError before anything is sent, ServiceError when the service
        refuses, TransportError, CallTimeoutError, CredentialsError or ResponseDecodeError. Source: Converse of the
        Amazon Bedrock Runtime API, 2023-09-30.
        """
        return await self._converse(self._inference(model, messages, settings, verb="converse"))

    @overload
    def stream(self, model: ConverseRequest, /, **settings: Unpack[CallSettings]) -> ResponseStream: ...

    @overload
    def stream(
        self, model: KnownModelId | str | None, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ResponseStream: ...

    def stream(
        self,
        model: KnownModelId | str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None = None,
        **settings: Unpack[CallSettings],
    ) -> ResponseStream:
        """Return the stream of an answer; the request goes out at the first ``__anext__`` or ``__aenter__``.

        Arguments are those of `converse`, and wrong ones are refused here and now. A failed attempt is repeated
        only until the first event has arrived. See `ResponseStream` for its life and its errors. Source:
        ConverseStream of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        return self._stream(self._inference(model, messages, settings, verb="stream"))

    def prepare(
        self, model: KnownModelId | str, messages: Messages, **settings: Unpack[CallSettings]
    ) -> ConverseRequest:
        """Return the request that `converse` and `stream` would send for these arguments; nothing is sent.

        With ``inference_profile`` that is its ``model_id``. Raises InvalidRequestError or InvalidModelIdError.
        """
        request, effective = self._request(model, messages, settings, verb="prepare")
        profile = effective.get("inference_profile")
        return request if profile is None else request.model_copy(update={"model_id": parse_model_id(profile).raw})

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
        self._check_guardrail(request.guardrail_identifier, path="guardrail")
        call = self._call(effective, large=len(request.body) >= LARGE_BODY_BYTES)
        answer = await run(runtime.invoke(request, target), call)
        return InvokeResponse(answer.body, answer.headers, self._meta(target, "invoke", call))

    def invoke_bidirectional(
        self,
        model: KnownModelId | str,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
    ) -> BidirectionalStream:
        """Return a conversation with a model that listens and speaks at once; it begins on entering ``async with``.

        Needs the extra ``bidirectional``; see `BidirectionalStream` for its life and errors. Raises InvalidModelIdError
        or MissingExtraError. Source: InvokeModelWithBidirectionalStream of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        transport = self._duplex_transport()
        call = self._call({"timeouts": timeouts, "retry": retry}, check_loop=False)
        request = runtime.invoke_bidirectional(self._model(model))

        async def opener() -> OpenDuplex:
            self._check_usable()
            return await open_duplex(request, transport, call)

        return BidirectionalStream(opener, request, call)

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

        def plan() -> StreamPlan[InvokeChunk]:
            return runtime.invoke_stream(request, target)

        async def opener() -> tuple[OpenStream[InvokeChunk], ResponseMeta]:
            self._check_usable()
            stream = await open_stream(plan(), plan, call)
            return stream, self._meta(target, "invoke", call)

        return InvokeStream(opener, idle_s=call.timeouts.idle_s)

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
            return await self._done(task, tasks.embed(request, task), media_bytes=media_bytes(request))

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
        """Return the documents by how well they answer the query, the best first, at most ``top_n`` of them.

        Each has its index in ``documents`` and a score. One request; raises and is cancelled as `embed`.
        """
        task = self._task(model, settings, verb="rerank")
        request = build_rerank(query, documents, top_n=top_n, fields=additional_request_fields)
        return Ranking(*await self._done(task, tasks.rerank(request, task)))

    async def generate_image(
        self,
        model: KnownModelId | str,
        prompt: str | None = None,
        *,
        images: Sequence[Image] = (),
        mask: Image | None = None,
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
        """Return the images that a model makes of a prompt, or of other images, as bytes with their format.

        ``width`` and ``height`` are in pixels, ``aspect_ratio`` is text such as ``"16:9"``; ``task`` is the model's own
        name of what to do (``"INPAINTING"``), where that is not to be told from the rest. An image that the model held
        back has no data and a ``finish_reason``. Raises and is cancelled as `embed`.
        """
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
        return GeneratedImages(*await self._done(asked, flow, media_bytes=media_bytes(request)))

    async def generate_video(
        self,
        model: KnownModelId | str,
        prompt: str | None = None,
        *,
        output_s3_uri: str,
        images: Sequence[Image] = (),
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
        """Start the job that makes a video of a prompt, and of images to begin with; return its handle.

        ``await job.result()`` is the video. It costs and takes minutes; the video goes to S3, below ``output_s3_uri``.
        Everything else is as of `start_async_invoke`, which this calls with the input that the model's family writes;
        raises as that and as `embed`.
        """
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
        return VideoJob(started, task)

    # -- tokens and guardrails

    async def count_tokens(
        self,
        model: KnownModelId | str | ConverseRequest | CountTokensRequest | None,
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
        target, base = self._route(request.model_id, effective)
        candidates = self._token_models.get(target.raw) or _token_models(target, base)
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
        self._check_guardrail(guardrail_id, path="guardrail_id")
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
        (s3:PutObject), and encrypts with the key whose ARN is ``kms_key_id``; ``bucket_owner`` is the account of a
        bucket that is another's.
        Without a ``client_request_token`` each call has one of its own, so that a request that is sent again, after a
        lost connection, starts no second job; with one, so do equal calls, also of other processes.

        Raises InvalidRequestError or InvalidModelIdError before anything is sent, ConflictError for a token that was
        used for another job, ValidationError where the service cannot write, and as `converse`. Cancelling closes the
        connection; a job that was started by then goes on. Source: StartAsyncInvoke of the Amazon Bedrock Runtime API,
        2023-09-30.
        """
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
            started = await self._run(runtime.start_async_invoke(request), target, settings)
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

        ``timeouts`` and ``retry`` are for each question about it. Raises InvalidRequestError for what is no ARN of an
        invocation, and for one of another region.
        """
        check_options(timeouts, retry)
        parsed = parse_invocation_arn(arn)
        if parsed.region != self._region:
            raise InvalidRequestError(
                f"the invocation {arn!r} is of the region {parsed.region}; the client's is {self._region} "
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
        ``max_results`` jobs come in all, ``page_size`` with each request. ``next_token`` goes on where another
        listing, with the same filters, stood (`AsyncInvokeListing.next_token`).

        Raises InvalidRequestError here and now; ValidationError for a token that has expired, and as `converse`, while
        it is read. Source: ListAsyncInvokes of the Amazon Bedrock Runtime API, 2023-09-30.
        """
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
            return await self._run(runtime.list_async_invokes(request), None, {"timeouts": timeouts, "retry": retry})

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
        """Return the foundation models that the region offers, of this provider (``"Anthropic"``) and these kinds.

        With ``access`` each has what the account may do with it (`FoundationModel.access`), which takes a request for
        every model, a few at a time. Answers are used again for five minutes, unless ``refresh``; the same question
        asked at once by several is sent once. Cancelling leaves the question to the others.

        Raises ServiceError when the service refuses (docs/iam.md lists the permissions), TransportError,
        CallTimeoutError, CredentialsError or ResponseDecodeError. Source: ListFoundationModels and
        GetFoundationModelAvailability of the Amazon Bedrock API, 2023-04-20.
        """
        request = build_list_models(
            provider=provider,
            output_modality=output_modality,
            inference_type=inference_type,
            customization_type=customization_type,
        )
        self._check_usable()
        return await self._control_plane().models(request, access=access, refresh=refresh)

    async def list_inference_profiles(
        self,
        *,
        type: InferenceProfileType | None = None,  # noqa: A002 - the service's word
        refresh: bool = False,
    ) -> list[InferenceProfile]:
        """Return the inference profiles that can be called from the region, ``SYSTEM_DEFINED`` or ``APPLICATION``.

        All pages are read. Remembered and raised as by `list_models`. Source: ListInferenceProfiles of the Amazon
        Bedrock API, 2023-04-20.
        """
        self._check_usable()
        return await self._control_plane().inference_profiles(type, refresh=refresh)

    async def resolve_model(self, model: KnownModelId | str, *, refresh: bool = False) -> ResolvedModel:
        """Return the inference profile behind an id or ARN, and the foundation models that it routes to.

        Later calls through that profile know what the model behind it can do. A foundation model is answered without a
        request. Remembered and raised as by `list_models`; InvalidModelIdError for what is neither, or of another
        region. Source: GetInferenceProfile of the Amazon Bedrock API, 2023-04-20.
        """
        self._check_usable()
        return await self._control_plane().resolve(self._model(model), refresh=refresh)

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
        async with AsyncExitStack() as stack:  # what is left is closed, too, when closing one fails
            if self._owns_transport:
                stack.push_async_callback(self._transport.aclose)
            if self._duplex is not None:
                stack.push_async_callback(self._duplex.aclose)
            stack.push_async_callback(self._objects.aclose)

    # -- inside

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
    ) -> tuple[ConverseRequest, Mapping[str, Any]]:
        """Return the request to send, and the settings of the call with the client's defaults below them."""
        if settings:
            check_names(settings, verb=verb)
        if isinstance(model, ConverseRequest):
            if messages is not None:
                raise InvalidRequestError("a ready request is given with messages beside it.", path="messages")
            check_ready(settings, verb=verb)
            return ready_request(model, None), settings
        if isinstance(messages, ConverseRequest):
            check_ready(settings, verb=verb)
            return ready_request(messages, model), settings
        effective = merged_settings(self._defaults, settings)
        if messages is None:
            raise InvalidRequestError(
                f"{verb}() has no messages.", path="messages", hint=f'Pass client.{verb}(model, "a question").'
            )
        request = build_request(parse_model_id(model).raw, messages, effective)
        check_request(request, messages, effective)
        return request, effective

    def _settings_of(self, known: type, settings: Mapping[str, Any], *, verb: str) -> Mapping[str, Any]:
        """Return the settings of a call that takes the keywords of ``known``, with the client's defaults below them."""
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
    ) -> tuple[CountTokensRequest, Mapping[str, Any]]:
        if body is None and not isinstance(model, CountTokensRequest):
            request, effective = self._request(model, messages, settings, verb="count_tokens")
            return build_count_tokens(request), effective
        check_names(settings, verb="count_tokens")
        check_ready(settings, verb="count_tokens")
        if messages is not None or (body is not None and isinstance(model, ConverseRequest | CountTokensRequest)):
            raise InvalidRequestError(
                "what is to be counted is given twice: as messages, as a native body or as a ready request.",
                path="messages" if body is None else "body",
                hint="Pass one of them.",
            )
        if isinstance(model, CountTokensRequest):
            return model, settings
        return build_count_tokens_of_body(parse_model_id(model).raw, body), settings

    def _job(
        self,
        arn: str,
        settings: Mapping[str, Any],
        model: str | None = None,
        output_s3_uri: str | None = None,
        meta: ResponseMeta | None = None,
    ) -> AsyncInvokeJob:
        timeouts: Timeouts = settings.get("timeouts") or self._quick

        async def poll(limit_s: float | None) -> AsyncInvokeSummary:
            limits = [limit for limit in (timeouts.total_s, limit_s) if limit is not None]
            limited = {**settings, "timeouts": replace(timeouts, total_s=min(limits, default=None))}
            return await self._run(runtime.get_async_invoke(arn), None, limited)

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
        if self._duplex is None:
            from .transport.http2 import Http2Transport

            options = self._connection
            self._duplex = Http2Transport(
                ca_bundle=options.ca_bundle, client_cert=options.client_cert, proxies=options.proxies
            )
        return self._duplex

    async def _s3_credentials(self) -> Credentials:
        self._check_usable()
        return await shared_credentials(self._line.authenticator, self._line.now(), purpose="reading objects of S3")

    async def _run(self, flow: Flow[R], model: ModelId | None, settings: Mapping[str, Any]) -> R:
        """Run the flow of an operation that is no inference."""
        call = self._call({**settings, "timeouts": settings.get("timeouts") or self._quick})
        answer = await run(flow, call)
        return answer.with_meta(self._meta(model, "runtime", call))

    def _inference(
        self,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        settings: Mapping[str, Any],
        *,
        verb: str,
    ) -> Inference:
        """Return the call that these arguments mean, refused here and now when they are wrong."""
        request, effective = self._request(model, messages, settings, verb=verb)
        self._check_guardrail_of(request)
        provider = self._registry.get(effective.get("provider") or self._provider)
        target, base = self._route(request.model_id, effective)
        family = self._family(base, effective) if getattr(provider, "needs_family", False) else None
        return Inference(request, effective, provider, self._context_of(target, base, effective, family))

    async def _converse(self, inference: Inference) -> ConverseResponse:
        call = self._call(inference.settings, large=inference.large)
        response = await run(inference.provider.converse(inference.request, inference.context), call)
        return response.with_meta(self._meta_of(inference, call))

    def _stream(self, inference: Inference) -> ResponseStream:
        settings = inference.settings
        call = self._call(settings, check_loop=False, large=inference.large)

        async def opener() -> tuple[OpenStream[Event], ResponseMeta]:
            self._check_usable()
            stream = await open_events(inference, call)
            return stream, self._meta_of(inference, call)

        return ResponseStream(opener, idle_s=call.timeouts.idle_s, accumulate=settings.get("accumulate") is not False)

    def _family(self, base: ModelId, settings: Mapping[str, Any]) -> ModelFamily:
        return self._families.resolve(base, (settings.get("provider_options") or _NO_SETTINGS).get("family"))

    def _context_of(
        self, target: ModelId, base: ModelId, settings: Mapping[str, Any], family: ModelFamily | None
    ) -> CallContext:
        options = settings.get("provider_options") or _NO_SETTINGS
        facts = self._families.profile(base.base_model)
        if "profile" in options:
            facts = overridden(facts, options["profile"])
        between = None if target is base else target
        return CallContext(base, self._region, options, inference_profile=between, family=family, profile=facts)

    def _task(self, model: str, settings: Mapping[str, Any], *, verb: str) -> Task:
        """Return the model, its family and the settings of a verb that is not about a conversation."""
        effective = self._settings_of(TaskSettings, settings, verb=verb)
        target, base = self._route(model, effective)
        check_options(effective.get("timeouts"), effective.get("retry"))
        request = build_invoke(target.raw, b"", effective)
        self._check_guardrail(request.guardrail_identifier, path="guardrail")
        family = self._family(base, effective)
        return Task(self._context_of(target, base, effective, family), family, request, effective)

    async def _done(self, task: Task, flow: Flow[T], *, media_bytes: int = 0) -> tuple[T, ResponseMeta]:
        """Run a flow of a task; return its result, and what is known of the call."""
        call = self._call(task.settings, large=media_bytes >= LARGE_BODY_BYTES)
        result = await run(flow, call)
        return result, self._meta(task.ctx.target, "invoke", call)

    def _route(self, model_id: str | None, settings: Mapping[str, Any]) -> tuple[ModelId, ModelId]:
        """Return where a call goes, and the model whose capabilities count: the same unless a profile is between."""
        profile: str | None = settings.get("inference_profile")
        if profile is not None:
            return self._model(profile), parse_model_id(model_id)
        target = self._model(model_id)
        resolved = self._control.known(target) if self._control is not None and target.base_model is None else None
        return target, target if resolved is None else resolved.base_model

    def _control_plane(self) -> ControlPlane:
        if self._control is None:
            self._control = ControlPlane(lambda: self._call({"timeouts": self._quick}), self._control_endpoint())
        return self._control

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

    def _check_guardrail_of(self, request: ConverseRequest) -> None:
        if request.guardrail_config is not None:
            self._check_guardrail(request.guardrail_config.guardrail_identifier, path="guardrail")

    def _check_guardrail(self, guardrail_id: object, *, path: str) -> None:
        """Refuse the ARN of a guardrail of another region."""
        steps = guardrail_id.split(":") if isinstance(guardrail_id, str) else []
        if steps[:1] == ["arn"] and len(steps) > _ARN_REGION and steps[_ARN_REGION] != self._region:
            raise InvalidRequestError(
                f"the guardrail {guardrail_id!r} is of the region {steps[_ARN_REGION]}; the client's is {self._region} "
                f"({self._region_source}).",
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

    def _meta_of(self, inference: Inference, call: Call) -> ResponseMeta:
        return self._meta(inference.context.target, inference.provider.name, call)

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


def _token_models(target: ModelId, base: ModelId) -> tuple[ModelId, ...]:
    """Return the ids to ask for a count, the one that calls go to first."""
    if target.geography is not None and target.base_model is not None:
        base = parse_model_id(target.base_model)
    return (target,) if base == target else (target, base)


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed.", hint="Make a new BedrockClient, or call aclose() later.")
