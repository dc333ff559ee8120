"""The way of one call: flow driver around send loop. The one place where effects are performed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import anyio
import msgspec
from anyio import to_thread

from .auth import STREAMING_EVENTS, Authenticator, BearerAuthenticator, EventSigner, event_signer
from .errors import (
    AccessDeniedError,
    AuthenticationError,
    BedrockError,
    CallTimeoutError,
    FirstEventTimeoutError,
    InvalidRequestError,
    PluginError,
    RedirectError,
    ServiceError,
    StreamError,
    TotalTimeoutError,
    TransportError,
)
from .events import Event
from .folding import unfold
from .providers import (
    CallContext,
    Effect,
    EffectResult,
    EventDecoder,
    Flow,
    HttpRequest,
    HttpResponse,
    Provider,
    ReadObject,
    Send,
    Sleep,
    StreamPlan,
)
from .resilience import RetryPolicy, Timeouts
from .transport import DuplexResponse, DuplexTransport, Endpoint, Transport, WireRequest, WireResponse
from .transport.objects import ObjectReader
from .types import Attempt, ConverseRequest, ConverseResponse
from .types.request import LARGE_BODY_BYTES

T = TypeVar("T")
E = TypeVar("E")

_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
_MAX_ERROR_BYTES: Final = 1024 * 1024  # an error answer is never larger


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """What every call of a client shares: where requests go, how they are signed, sent and repeated."""

    transport: Transport
    authenticator: Authenticator
    endpoint: Endpoint
    region: str
    user_agent: str
    max_response_bytes: int
    objects: ObjectReader | None = None
    random: Random = field(default_factory=Random)
    now: Callable[[], datetime] = _now
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True)
class Inference:
    """One question to a model, ready to be sent: what, in which way, and with which settings."""

    request: ConverseRequest
    settings: Mapping[str, Any]
    """The keywords of the call over the defaults of the client."""
    provider: Provider
    context: CallContext

    @property
    def large(self) -> bool:
        """Whether the body is so large that making it would hold up the loop."""
        return self.request.size_hint >= LARGE_BODY_BYTES


@dataclass(slots=True)
class Call:
    """One call under way: its limits, and the attempts so far."""

    line: Line
    timeouts: Timeouts
    retry: RetryPolicy
    large: bool = False
    """Whether the body is so large that making and hashing it would hold up the other calls of the loop."""
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    signed: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The headers of the attempt under way."""
    refreshed: bool = False

    def succeeded(self, started: float, status: int, headers: Mapping[str, str]) -> None:
        """Note an attempt that was answered, and the head of the answer."""
        self.status, self.headers = status, headers
        self._record(started, status, None, self.request_id)

    def failed(self, started: float, failure: BedrockError) -> None:
        """Note an attempt that failed."""
        if isinstance(failure, ServiceError):
            self._record(started, failure.status, failure.code, failure.request_id)
        else:
            self._record(started, None, type(failure).__name__, None)

    @property
    def request_id(self) -> str | None:
        """The service's id of the request that was answered last."""
        return self.headers.get("x-amzn-requestid")

    def _record(self, started: float, status: int | None, code: str | None, request_id: str | None) -> None:
        self.attempts.append(Attempt(len(self.attempts) + 1, self.line.clock() - started, status, code, request_id))


@dataclass(frozen=True, slots=True)
class OpenStream(Generic[E]):
    """A stream whose first events have arrived. One that replays a whole answer has no more to come."""

    first: Sequence[E]
    response: WireResponse | None = None
    decoder: EventDecoder[E] | None = None


async def run(flow: Flow[T], call: Call) -> T:
    """Drive a flow to its result within ``total_s``. Cancelling closes the connection that is in use."""
    limit_s = call.timeouts.total_s
    try:
        # asyncio.timeout costs a third of anyio.fail_after, which would be a tenth of our own share of a call.
        async with asyncio.timeout(limit_s):
            return await _drive(flow, call)
    except TimeoutError as exc:
        if isinstance(exc, BedrockError) or limit_s is None:
            raise
        timeout = TotalTimeoutError(
            f"the call took longer than {limit_s:g} s ({len(call.attempts) + 1} attempts).",
            limit_s=limit_s,
            hint="Raise timeouts.total_s, or stream the answer.",
        )
        timeout.attempts = tuple(call.attempts)
        raise timeout from exc
    finally:
        flow.close()


async def _drive(flow: Flow[T], call: Call) -> T:
    result: EffectResult
    try:
        effect = next(flow) if not call.large else _effect(await to_thread.run_sync(_first, flow))
        while True:
            try:
                match effect:
                    case Send(request):
                        result = await _send(request, call)
                    case Sleep(seconds):
                        await anyio.sleep(seconds)
                        result = None
                    case ReadObject(s3_uri, owner):
                        result = await _read_object(s3_uri, owner, call)
            except BedrockError as exc:
                effect = flow.throw(exc)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _first(flow: Flow[T]) -> Effect | StopIteration:
    try:
        return next(flow)
    except StopIteration as stop:  # which cannot come out of a worker thread
        return stop


def _effect(first: Effect | StopIteration) -> Effect:
    if isinstance(first, StopIteration):
        raise first
    return first


async def _read_object(s3_uri: str, owner: str | None, call: Call) -> bytes:
    objects = call.line.objects
    if objects is None:
        raise InvalidRequestError(
            f"nothing reads objects of S3 here ({s3_uri}).",
            hint="BedrockClient brings what does; a bare Line needs objects=.",
        )
    return await objects.read(s3_uri, max_bytes=call.line.max_response_bytes, owner=owner)


async def _send(request: HttpRequest, call: Call) -> HttpResponse:
    """Attempt a request that is no stream, and again while that is worth it."""
    line = call.line
    while True:
        started = line.clock()
        try:
            wire_request = await _signed(request, call)
            response = await line.transport.send(wire_request, connect_timeout_s=call.timeouts.connect_s)
            try:
                body = await response.read(line.max_response_bytes)
            except BaseException:
                response.abort()
                raise
            status, headers = response.status, response.headers
            if status not in _OK:
                raise _failed(request, response, body)
        except BedrockError as exc:
            await _wait_or_raise(exc, started, call)
        else:
            call.succeeded(started, status, headers)
            return HttpResponse(status, headers, body)


async def open_stream(plan: StreamPlan[E], plan_again: Callable[[], StreamPlan[E]], call: Call) -> OpenStream[E]:
    """Attempt to open a stream, and again while that is worth it: until its first events nobody has seen any.

    Every attempt after the first one asks for a plan of its own, because a decoder is never used twice.
    """
    line = call.line
    while True:
        started = line.clock()
        response: WireResponse | None = None
        limit_s = call.timeouts.first_event_s
        try:
            try:
                async with asyncio.timeout(limit_s):
                    wire_request = await _signed(plan.request, call)
                    response = await line.transport.send(wire_request, connect_timeout_s=call.timeouts.connect_s)
                    if response.status not in _OK:
                        raise _failed(plan.request, response, await response.read(_MAX_ERROR_BYTES))
                    first = await _first_events(response, plan.decoder)
            except TimeoutError as exc:
                if isinstance(exc, BedrockError) or limit_s is None:
                    raise
                raise FirstEventTimeoutError(
                    f"no event arrived within {limit_s:g} s.",
                    limit_s=limit_s,
                    hint="Raise timeouts.first_event_s; long prompts and reasoning take time before the first event.",
                ) from exc
        except BaseException as exc:
            if response is not None:
                response.abort()
            if not isinstance(exc, BedrockError):
                raise
            if response is not None and isinstance(exc, ServiceError) and exc.request_id is None:
                exc.request_id = response.headers.get("x-amzn-requestid")
            await _wait_or_raise(exc, started, call)
            plan = plan_again()
        else:
            call.succeeded(started, response.status, response.headers)
            return OpenStream(first, response, plan.decoder)


async def open_events(inference: Inference, call: Call) -> OpenStream[Event]:
    """Open a stream, or run the call whole and replay its answer, for models and providers that cannot stream."""
    provider, request, context = inference.provider, inference.request, inference.context
    plan: StreamPlan[Event] | Flow[ConverseResponse]
    if inference.settings.get("streaming") is False:
        plan = provider.converse(request, context)
    elif call.large:
        plan = await to_thread.run_sync(provider.stream, request, context)
    else:
        plan = provider.stream(request, context)
    if not isinstance(plan, StreamPlan):
        return OpenStream(unfold(await run(plan, call)))
    return await open_stream(plan, lambda: _plan_again(inference), call)


def _plan_again(inference: Inference) -> StreamPlan[Event]:
    plan = inference.provider.stream(inference.request, inference.context)
    if isinstance(plan, StreamPlan):
        return plan
    raise PluginError(
        f"the provider {inference.provider.name!r} planned a stream, and for the next attempt something else.",
        hint="Let its stream() return the same kind for the same request.",
    )


@dataclass(frozen=True, slots=True)
class OpenDuplex:
    """A stream in both directions whose request has begun; ``signer`` is None where events are not signed."""

    response: DuplexResponse
    signer: EventSigner | None


async def open_duplex(request: HttpRequest, transport: DuplexTransport, call: Call) -> OpenDuplex:
    """Connect and send the head of a request whose body follows event by event; again while that is worth it.

    Nothing has been said when connecting fails, so that it can be tried again. The head of the answer is not waited
    for: a model may answer only when it has heard something. Cancelling closes the connection.
    """
    line = call.line
    if not isinstance(line.authenticator, BearerAuthenticator):
        request = msgspec.structs.replace(
            request, headers={**request.headers, "x-amz-content-sha256": STREAMING_EVENTS}
        )
    while True:
        started = line.clock()
        try:
            wire_request = await _signed(request, call)
            signer = event_signer(
                line.authenticator, wire_request.headers, service=request.signing_name, region=line.region
            )
            response = await transport.open(wire_request, connect_timeout_s=call.timeouts.connect_s)
        except BedrockError as exc:
            await _wait_or_raise(exc, started, call)
        else:
            return OpenDuplex(response, signer)


async def refusal(request: HttpRequest, response: WireResponse, call: Call) -> BedrockError | None:
    """Return the error of an answer that is not a success, read to its end, and None for a success."""
    if response.status in _OK:
        return None
    failure = _failed(request, response, await response.read(_MAX_ERROR_BYTES))
    if isinstance(failure, AccessDeniedError | AuthenticationError):
        call.line.authenticator.invalidate(call.signed, failure)
    return failure


async def _first_events(response: WireResponse, decoder: EventDecoder[E]) -> Sequence[E]:
    decoder.start(response.status, response.headers)
    while True:
        data = await response.receive()
        if not data:
            return decoder.eof()
        if events := decoder.receive(data):
            return events


async def _signed(request: HttpRequest, call: Call) -> WireRequest:
    line = call.line
    now = line.now()
    authenticator = line.authenticator
    if not authenticator.ready(now):
        await authenticator.prepare(now)
        now = line.now()
    base_url = request.endpoint or line.endpoint.base_url
    url = base_url + request.path
    if request.query:
        url += "?" + _query(request.query)
    headers = {"host": base_url.partition("://")[2].partition("/")[0], "user-agent": line.user_agent, **request.headers}
    authorize = partial(
        authenticator.authorize,
        request.method,
        url,
        headers,
        request.body,
        service=request.signing_name,
        region=line.region,
        now=now,
    )
    if call.large:
        await to_thread.run_sync(authorize)
    else:
        authorize()
    call.signed = headers
    return WireRequest(request.method, url, headers, request.body)


def _query(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote, safe="-._~")


def _failed(request: HttpRequest, response: WireResponse, body: bytes) -> BedrockError:
    """Return the error of an answer that is not a success."""
    if response.status in _REDIRECT:
        return RedirectError(
            f"the endpoint answered HTTP {response.status}, a redirect to another place.",
            hint="Redirects are not followed, for requests carry credentials. Set endpoint_url to the right endpoint.",
            sent=True,
        )
    return request.read_error(response.status, response.headers, body)


async def _wait_or_raise(failure: BedrockError, started: float, call: Call) -> None:
    """Return when the attempt is to be repeated, after the wait that the policy wants; else raise ``failure``."""
    call.failed(started, failure)
    if (
        isinstance(failure, AccessDeniedError | AuthenticationError)
        and not call.refreshed
        and call.line.authenticator.invalidate(call.signed, failure)
    ):
        call.refreshed = True
        return
    delay_s = None
    if isinstance(failure, ServiceError | TransportError | CallTimeoutError | StreamError):
        delay_s = call.retry.delay_s(failure, len(call.attempts), random=call.line.random)
    if delay_s is None:
        failure.attempts = tuple(call.attempts)
        raise failure
    await anyio.sleep(delay_s)
