"""Asking Bedrock's control plane which models and profiles exist, and remembering the answers."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import anyio

from ._bounded import remember
from .calls import Call, run
from .errors import BedrockError, InvalidModelIdError, ResourceNotFoundError, ValidationError
from .model_id import ModelId, parse_model_id
from .providers.control_plane import (
    base_models,
    get_foundation_model_availability,
    get_inference_profile,
    list_foundation_models,
    list_inference_profiles,
)
from .transport import ConnectionOptions, Endpoint, resolve_endpoint
from .transport.endpoints import EndpointSettings, ignores_configured_urls, is_loopback
from .types.control_plane import (
    FoundationModel,
    InferenceProfile,
    ListFoundationModelsRequest,
    ListInferenceProfilesRequest,
    ModelAccess,
)

__all__ = ["TTL_S", "ControlPlane", "ResolvedModel", "resolve_control_endpoint"]

TTL_S: Final = 300.0
"""How long an answer of the control plane is remembered, in seconds."""

_SERVICE: Final = "bedrock"
_MOST_RESULTS: Final = 1000  # the largest page of ListInferenceProfiles: most accounts need one request
_CONCURRENT_ACCESS: Final = 8  # GetFoundationModelAvailability is asked once for each model, and is throttled
_MOST_ANSWERS: Final = 512
_PROFILE_KINDS: Final = frozenset({"inference-profile", "application-inference-profile", "unknown"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What stands behind a model id.

    ``model`` is what was asked for, ``profile`` the inference profile that it is (None for a foundation model), and
    ``base_models`` are the foundation models that calls reach through it.
    """

    model: ModelId
    profile: InferenceProfile | None
    base_models: tuple[ModelId, ...]

    @property
    def base_model(self) -> ModelId:
        """The foundation model whose capabilities count: the first one, or ``model`` where the profile names none."""
        return self.base_models[0] if self.base_models else self.model


def resolve_control_endpoint(
    region: str,
    *,
    control_endpoint_url: str | None,
    runtime: Endpoint,
    environ: Mapping[str, str],
    config: EndpointSettings | None = None,
    options: ConnectionOptions | None = None,
) -> Endpoint:
    """Return the endpoint of the control plane that belongs to a runtime endpoint.

    In this order: ``control_endpoint_url``; AWS_ENDPOINT_URL_BEDROCK, or ``endpoint_url`` for bedrock in the services
    section of the profile; the runtime's own endpoint if that is on this machine, because an emulator serves both; then
    what `resolve_endpoint` finds for the service bedrock. Raises InvalidRequestError.
    """
    options = options or ConnectionOptions()
    ignored = ignores_configured_urls(options.ignore_configured_endpoint_urls, environ, config)
    named = not ignored and (
        environ.get("AWS_ENDPOINT_URL_BEDROCK")
        or (config is not None and config.setting("endpoint_url", service=_SERVICE) is not None)
    )
    if control_endpoint_url is None and not named and is_loopback(urlsplit(runtime.base_url).hostname or ""):
        return runtime
    return resolve_endpoint(
        region,
        service=_SERVICE,
        endpoint_url=control_endpoint_url,
        environ=environ,
        config=config,
        use_fips=options.use_fips,
        use_dualstack=options.use_dualstack,
        ignore_configured_urls=options.ignore_configured_endpoint_urls,
        allow_http=options.allow_http,
    )


class ControlPlane:
    """The control plane as one client sees it; answers are remembered for ``ttl_s`` seconds.

    ``call`` makes the `Call` of one operation. Concurrent calls with the same question send it once; when the one that
    sends it is cancelled, the next one takes over, and a failure reaches all of them. Failures are not remembered. What
    is known of profiles (`known`) does not expire, because a profile never changes its models.
    """

    def __init__(
        self,
        call: Callable[[], Call],
        endpoint: Endpoint,
        *,
        ttl_s: float = TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._call = call
        self._models = _Memory[list[FoundationModel]](ttl_s, clock)
        self._access = _Memory["ModelAccess | None"](ttl_s, clock)
        self._profiles = _Memory[list[InferenceProfile]](ttl_s, clock)
        self._resolved = _Memory[ResolvedModel](ttl_s, clock)
        self._known: dict[str, ResolvedModel] = {}

    async def models(
        self, request: ListFoundationModelsRequest, *, access: bool = False, refresh: bool = False
    ) -> list[FoundationModel]:
        """Return the models that pass the filters; with ``access`` each with what the account may do with it."""

        async def ask() -> list[FoundationModel]:
            return await run(list_foundation_models(request, endpoint=self.endpoint.base_url), self._call())

        found = await self._models.get(request.to_wire_bytes(), ask, refresh=refresh)
        return await self._with_access(found, refresh=refresh) if access else list(found)

    async def inference_profiles(
        self, type_equals: str | None = None, *, refresh: bool = False
    ) -> list[InferenceProfile]:
        """Return all inference profiles of that type, however many pages they fill."""
        request = ListInferenceProfilesRequest(type_equals=type_equals, max_results=_MOST_RESULTS)

        async def ask() -> list[InferenceProfile]:
            return await run(list_inference_profiles(request, endpoint=self.endpoint.base_url), self._call())

        return list(await self._profiles.get(request.to_wire_bytes(), ask, refresh=refresh))

    async def resolve(self, model: ModelId, *, refresh: bool = False) -> ResolvedModel:
        """Return what stands behind an id; of a foundation model that needs no request.

        Raises InvalidModelIdError for a kind of model that no profile describes, such as a provisioned one.
        """
        if model.kind == "foundation-model":
            return ResolvedModel(model, None, (parse_model_id(model.base_model or model.raw),))
        if model.kind not in _PROFILE_KINDS:
            raise InvalidModelIdError(
                f"{model.raw!r} is a {model.kind}, not an inference profile: the control plane cannot look up its "
                "model.",
                hint=f"Name its base model yourself: client.converse(base, ..., inference_profile={model.raw!r}).",
            )

        async def ask() -> ResolvedModel:
            profile = await run(get_inference_profile(model, endpoint=self.endpoint.base_url), self._call())
            return ResolvedModel(model, profile, base_models(profile))

        resolved = await self._resolved.get(model.raw.encode(), ask, refresh=refresh)
        self._remember(resolved)
        return resolved

    def forget(self) -> None:
        """Drop all answers: the next questions are asked of another account."""
        for memory in (self._models, self._access, self._profiles, self._resolved):
            memory.forget()

    def listed_profiles(self) -> dict[str, tuple[str, ...]]:
        """Return the inference profiles that were listed so far, each with the ids of its models; nothing is sent."""
        return {
            profile.inference_profile_id: tuple(model.base_model or model.raw for model in base_models(profile))
            for profiles in self._profiles.remembered()
            for profile in profiles
        }

    def known(self, model: ModelId) -> ResolvedModel | None:
        """Return what `resolve` has found out about this id or ARN, or None; nothing is sent."""
        return self._known.get(model.raw)

    async def _with_access(self, models: list[FoundationModel], *, refresh: bool) -> list[FoundationModel]:
        found: dict[str, ModelAccess | None] = {}
        limiter = anyio.CapacityLimiter(_CONCURRENT_ACCESS)
        failures: list[BedrockError] = []

        async with anyio.create_task_group() as group:

            async def look(model_id: str) -> None:
                async with limiter:
                    try:
                        found[model_id] = await self._access_of(model_id, refresh=refresh)
                    except BedrockError as exc:
                        failures.append(exc)
                        group.cancel_scope.cancel()

            for model_id in dict.fromkeys(model.model_id for model in models):
                group.start_soon(look, model_id)
        if failures:
            raise failures[0]
        return [model.with_access(found[model.model_id]) for model in models]

    async def _access_of(self, model_id: str, *, refresh: bool) -> ModelAccess | None:
        """Return the availability of one model; None where the service has no such thing for it."""

        async def ask() -> ModelAccess | None:
            flow = get_foundation_model_availability(parse_model_id(model_id), endpoint=self.endpoint.base_url)
            try:
                return await run(flow, self._call())
            except (ResourceNotFoundError, ValidationError):
                return None  # one model that cannot be asked about must not hide all the others

        return await self._access.get(model_id.encode(), ask, refresh=refresh)

    def _remember(self, resolved: ResolvedModel) -> None:
        profile = resolved.profile
        names = [resolved.model.raw]
        if profile is not None:
            names += [profile.inference_profile_id, profile.inference_profile_arn]
        for name in filter(None, names):
            remember(self._known, name, resolved, _MOST_ANSWERS)


class _Flight(Generic[T]):
    """One question under way. Neither answered nor failed when it is done: whoever sent it was cancelled."""

    __slots__ = ("answer", "done", "error")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: tuple[T] | None = None
        self.error: BedrockError | None = None


class _Memory(Generic[T]):
    """Answers by question, each for ``ttl_s`` seconds of ``clock``."""

    def __init__(self, ttl_s: float, clock: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._answers: dict[bytes, tuple[float, T]] = {}
        self._flights: dict[bytes, _Flight[T]] = {}

    async def get(self, question: bytes, ask: Callable[[], Awaitable[T]], *, refresh: bool) -> T:
        """Return the answer that is remembered, unless ``refresh``; else that of the question under way, or ask."""
        remembered = None if refresh else self._answers.get(question)
        if remembered is not None and self._clock() < remembered[0]:
            return remembered[1]
        while (flight := self._flights.get(question)) is not None:
            await flight.done.wait()
            if flight.answer is not None:
                return flight.answer[0]
            if flight.error is not None:
                raise copy.copy(flight.error) from flight.error  # a traceback of its own for everyone who waits
        return await self._ask(question, ask)

    def remembered(self) -> list[T]:
        """Return all answers that are there, also those that are asked for again."""
        return [answer for _, answer in self._answers.values()]

    def forget(self) -> None:
        """Drop all answers. What is under way still reaches those who wait for it, and nobody else."""
        self._answers = {}
        self._flights = {}

    async def _ask(self, question: bytes, ask: Callable[[], Awaitable[T]]) -> T:
        answers, flights = self._answers, self._flights
        flight = flights[question] = _Flight[T]()
        try:
            answer = await ask()
        except BedrockError as exc:
            flight.error = exc
            raise
        else:
            flight.answer = (answer,)
            remember(answers, question, (self._clock() + self._ttl_s, answer), _MOST_ANSWERS)
            return answer
        finally:
            del flights[question]
            flight.done.set()
