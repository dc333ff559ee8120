"""Runs one call: drives its flow and its attempts. All effects of a call are performed here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
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
    ClientClosedError,
    FirstEventTimeoutError,
    InvalidRequestError,
    PluginError,
    RedirectError,
    ServiceError,
    StreamError,
    ThrottlingError,
    TotalTimeoutError,
    TransportError,
)
from .events import Event
from .features.pipeline import places_of
from .folding import unfold
from .in_flight import InFlight, cut_short
from .model_id import ModelId
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
from .resilience import Pace, RetryPolicy, RetryQuota, Timeouts
from .transport import DuplexResponse, DuplexTransport, Endpoint, Transport, WireRequest, WireResponse
from .types import Attempt, ConverseRequest, ConverseResponse, ResponseMeta
from .types.request import LARGE_BODY_BYTES

if TYPE_CHECKING:
    from .features.adjustment import Adjustment
    from .features.adviser import Adviser
    from .hooks import Watch
    from .limiting import Ticket
    from .transport.objects import ObjectReader

T = TypeVar("T")
E = TypeVar("E")

_logger: Final = logging.getLogger("bedrock_async")

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
_MAX_ERROR_BYTES: Final = 1024 * 1024  # error bodies are small; this only bounds a misbehaving peer

CANCELLED: Final = "Cancelled"
"""The code of an attempt that was abandoned because another one answered first."""
TIMED_OUT: Final = TotalTimeoutError.__name__
"""The code of an attempt that was still running when the total time limit of the call expired."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """What all calls of a client share: transport, authentication, endpoint, retry quota and limits."""

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
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    quota: RetryQuota = field(default_factory=RetryQuota)
    """The budget that all retries of the client draw on."""
    adviser: Adviser | None = None
    """Adds the suggested next step to errors."""
    in_flight: InFlight = field(default_factory=InFlight)
    """The calls and streams that closing the client waits for, or ends."""


class Inference(msgspec.Struct, frozen=True):
    """One inference call, ready to be sent: the request, its provider and its settings."""

    request: ConverseRequest
    settings: Mapping[str, Any]
    """The keyword arguments of the call, merged over the client's defaults."""
    provider: Provider
    context: CallContext
    watch: Watch | None = None
    """The caller's hooks, which have already seen the request."""
    adjustments: tuple[Adjustment, ...] = ()
    """What normalization changed in the request."""
    made: bool = False
    """Whether the request was built from keyword arguments, and so may be adapted to another model."""

    @property
    def large(self) -> bool:
        """Whether the body is so large that encoding it on the event loop would delay other calls."""
        return self.request.size_hint >= LARGE_BODY_BYTES


class Call(msgspec.Struct, eq=False):
    """One call in progress: its limits, and its attempts so far."""

    line: Line
    timeouts: Timeouts
    retry: RetryPolicy
    large: bool = False
    """Whether the body is so large that encoding and hashing it on the event loop would delay other calls."""
    attempts: list[Attempt] = []
    status: int = 0
    headers: Mapping[str, str] = _NO_HEADERS
    signed: Mapping[str, str] = _NO_HEADERS
    """The signed headers of the current attempt."""
    refreshed: bool = False
    ticket: Ticket | None = None
    """The place of this call in the client's rate limit, which admits its attempts."""
    target: str = ""
    """The name of the target of this call; empty unless the call has several targets."""
    started_at: datetime | None = None
    spent: int = 0
    """What the last retry took from the retry quota."""
    model: ModelId | None = None
    """The model that is called."""
    watch: Watch | None = None
    """The caller's hooks."""

    def __repr__(self) -> str:
        """Return a summary without the headers, which contain a signature."""
        return f"Call(model={self.model}, attempts={self.attempts})"

    def succeeded(self, started: float, status: int, headers: Mapping[str, str]) -> None:
        """Record an answered attempt, with the status and headers of the answer."""
        self.status, self.headers = status, headers
        self._record(started, status, None, self.request_id)
        quota = self.line.quota
        if quota.available < quota.capacity:
            quota.succeeded(self.spent)
        self.spent = 0
        if (pace := getattr(self.retry, "pace", None)) is not None:
            pace.answered(self.line.clock(), throttled=False)

    def failed(self, started: float, failure: BedrockError) -> None:
        """Note an attempt that failed."""
        if isinstance(failure, ServiceError):
            self._record(started, failure.status, failure.code, failure.request_id)
        else:
            self._record(started, None, code_of(failure), None)
        if self.ticket is not None:
            self.ticket.failed(failure)
        if (pace := getattr(self.retry, "pace", None)) is not None:
            pace.answered(self.line.clock(), throttled=isinstance(failure, ThrottlingError))

    def cut(self, code: str) -> None:
        """Record the current attempt, if there is one, as ended from outside; ``code`` names the cause."""
        began = self.started_at
        if began is None or (self.attempts and self.attempts[-1].started_at is began):
            return  # it was waiting for its next attempt, or for admission
        duration_s = (self.line.now() - began).total_seconds()
        number = len(self.attempts) + 1
        self.attempts.append(Attempt(number, duration_s, None, code, None, began, self.target))

    def explain(self, error: BedrockError) -> None:
        """Attach the attempts and the suggested next step to the error that ends the call."""
        error.attempts = tuple(self.attempts)
        if self.line.adviser is not None:
            self.line.adviser.advise(error, self.model, region=self.line.region)

    def delay_s(self, failure: BedrockError, attempt: int) -> float | None:
        """Return the seconds to wait before retrying after attempt number ``attempt``, or None not to retry."""
        if not isinstance(failure, ServiceError | TransportError | CallTimeoutError | StreamError):
            return None
        delay_s = self.retry.delay_s(failure, attempt, random=self.line.random)
        if delay_s is None or not getattr(self.retry, "quota", False):
            return delay_s
        self.spent = self.line.quota.spend(failure)
        if not self.spent:
            failure.add_note("Not retried: the client's retry quota is exhausted because most calls are failing.")
            return None
        return delay_s

    @property
    def request_id(self) -> str | None:
        """The service's request id of the last answered attempt."""
        return self.headers.get("x-amzn-requestid")

    def _record(self, started: float, status: int | None, code: str | None, request_id: str | None) -> None:
        duration_s = self.line.clock() - started
        number = len(self.attempts) + 1
        self.attempts.append(Attempt(number, duration_s, status, code, request_id, self.started_at, self.target))


class OpenStream(msgspec.Struct, Generic[E], frozen=True):
    """A stream whose first events have arrived. A replayed answer has all its events in ``first``."""

    first: Sequence[E]
    response: WireResponse | None = None
    decoder: EventDecoder[E] | None = None
    advise: Callable[[BedrockError], None] | None = None
    """Adds the suggested next step to an error."""
    watch: Watch | None = None
    """The caller's hooks."""
    meta: Callable[[], ResponseMeta] | None = None
    """Returns the current metadata, for calls whose metadata grows while the stream is read."""
    count: Callable[[E, ResponseMeta], None] | None = None
    """Receives the metadata event, which carries the usage, when it arrives."""

    def counted(self, count: Callable[[E, ResponseMeta], None]) -> OpenStream[E]:
        """Return a copy of this stream that reports its metadata event to ``count``."""
        return msgspec.structs.replace(self, count=count)


async def run(flow: Flow[T], call: Call) -> T:
    """Drive a flow to its result within ``timeouts.total_s``.

    Raises TotalTimeoutError when that time is over, ClientClosedError when the client is closed meanwhile, and
    otherwise what the flow raises. Cancelling closes the connection in use.
    """
    limit_s = call.timeouts.total_s
    in_flight = call.line.in_flight
    limit = in_flight.limit(limit_s)
    try:
        with limit:
            value = await _drive(flow, call)
    except BedrockError as exc:
        if not exc.attempts:  # the answer arrived but could not be read
            exc.attempts = tuple(call.attempts)
        raise
    except TimeoutError as exc:
        if not limit.expired:  # somebody else's, such as an OS timeout that a transport let through
            raise
        if in_flight.closed or limit_s is None:
            call.cut(ClientClosedError.__name__)
            raise cut_short(call.attempts) from exc
        call.cut(TIMED_OUT)
        raise too_late(limit_s, call.attempts) from exc
    else:
        if call.ticket is not None:
            call.ticket.settle(getattr(value, "usage", None), call.headers)
        return value
    finally:
        try:
            flow.close()
        except ValueError:
            # A flow that a worker thread is still encoding cannot be closed; it ends with that thread.
            if not call.large:
                raise
        if call.ticket is not None:
            call.ticket.close()


def code_of(failure: BedrockError) -> str:
    """Return the code of a failure in the list of attempts: the service's error code, or the name of the class."""
    return failure.code if isinstance(failure, ServiceError) else type(failure).__name__


def forget_frames(failure: BedrockError) -> None:
    """Drop the traceback of a failure after which the call goes on.

    A frame that still refers to the exception it raised forms a reference cycle, and keeps everything on its stack
    alive until the garbage collector runs: an abandoned stream would stay open until then.
    """
    failure.__traceback__ = None


def broken(attempts: Sequence[Attempt], failure: BedrockError) -> tuple[Attempt, ...]:
    """Return the attempts of a stream that failed after it had opened: the last one takes the failure's code."""
    *before, last = attempts or (Attempt(1, 0.0),)
    return (*before, msgspec.structs.replace(last, code=code_of(failure)))


def too_late(limit_s: float, attempts: Sequence[Attempt], *, under_way: int = 0) -> TotalTimeoutError:
    """Return the error of a call whose attempts, ``under_way`` unrecorded ones included, exceeded ``limit_s``."""
    made = len(attempts) + under_way
    timeout = TotalTimeoutError(
        f"the call took longer than {limit_s:g} s ({made} attempt{'s' if made != 1 else ''}).",
        limit_s=limit_s,
        hint="Raise timeouts.total_s, or stream the answer.",
    )
    timeout.attempts = tuple(attempts)
    return timeout


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
                        await call.line.sleep(seconds)
                        result = None
                    case ReadObject(s3_uri, owner):
                        result = await _read_object(s3_uri, owner, call)
                    case _:
                        raise _no_effect(effect)
            except BedrockError as exc:
                effect = flow.throw(exc)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _no_effect(effect: object) -> PluginError:
    return PluginError(
        f"a flow yielded a {type(effect).__name__}, which is not an effect.",
        hint="In a provider write: response = yield from send(request); also sleep and read_object.",
    )


def _first(flow: Flow[T]) -> Effect | StopIteration:
    try:
        return next(flow)
    except StopIteration as stop:  # StopIteration cannot be raised out of a worker thread
        return stop


def _effect(first: Effect | StopIteration) -> Effect:
    if isinstance(first, StopIteration):
        raise first
    return first


async def _read_object(s3_uri: str, owner: str | None, call: Call) -> bytes:
    objects = call.line.objects
    if objects is None:
        raise InvalidRequestError(
            f"no S3 reader is configured for {s3_uri}.",
            hint="BedrockClient provides one; a bare Line needs objects=.",
        )
    return await objects.read(s3_uri, max_bytes=call.line.max_response_bytes, owner=owner)


async def _send(request: HttpRequest, call: Call) -> HttpResponse:
    """Send a request that is not streamed, retrying as the policy allows."""
    line = call.line
    while True:
        if call.ticket is not None or getattr(call.retry, "pace", None) is not None:
            await _may_go(call)
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
    """Open a stream, retrying as the policy allows until its first events have arrived.

    Every attempt after the first uses a new plan from ``plan_again``, because a decoder cannot be reused. ``total_s``
    bounds all attempts and the waits between them, but not the rest of the stream. Cancelling closes the connection.
    """
    line = call.line
    in_flight = line.in_flight
    now = asyncio.get_running_loop().time
    limit_s, total_s = call.timeouts.first_event_s, call.timeouts.total_s
    deadline = None if total_s is None else now() + total_s
    while True:
        if call.ticket is not None or getattr(call.retry, "pace", None) is not None:
            await in_flight.within(_may_go_before(deadline, call), call.attempts)
        started = line.clock()
        response: WireResponse | None = None
        ends_at = None if limit_s is None else now() + limit_s
        if deadline is not None and (ends_at is None or deadline < ends_at):
            ends_at = deadline
        limit = in_flight.limit_at(ends_at)
        try:
            try:
                with limit:
                    wire_request = await _signed(plan.request, call)
                    response = await line.transport.send(wire_request, connect_timeout_s=call.timeouts.connect_s)
                    if response.status not in _OK:
                        raise _failed(plan.request, response, await response.read(_MAX_ERROR_BYTES))
                    first = await _first_events(response, plan.decoder)
            except TimeoutError as exc:
                if isinstance(exc, BedrockError) or not limit.expired:
                    raise
                raise _no_event(call, at_deadline=ends_at == deadline) from exc
        except BaseException as exc:
            if response is not None:
                response.abort()
            if not isinstance(exc, BedrockError):
                if call.ticket is not None:
                    call.ticket.close()
                raise
            if response is not None and isinstance(exc, ServiceError) and exc.request_id is None:
                exc.request_id = response.headers.get("x-amzn-requestid")
            await in_flight.within(_wait_or_raise(exc, started, call, deadline), call.attempts)
            if call.large:
                plan = await in_flight.within(to_thread.run_sync(plan_again), call.attempts)
            else:
                plan = plan_again()
        else:
            call.succeeded(started, response.status, response.headers)
            if call.ticket is None:
                return _opened(call, first, response, plan.decoder)
            return _opened(call, first, *call.ticket.watched(first, response, plan.decoder))


def _no_event(call: Call, *, at_deadline: bool) -> BedrockError:
    """Return the error of a stream that did not open in time, or whose client was closed meanwhile."""
    limit_s, total_s = call.timeouts.first_event_s, call.timeouts.total_s
    if call.line.in_flight.closed:
        return cut_short(call.attempts)
    if limit_s is None or (total_s is not None and at_deadline and (total_s < limit_s or call.attempts)):
        return too_late(total_s or 0.0, call.attempts, under_way=1)
    return FirstEventTimeoutError(
        f"no event arrived within {limit_s:g} s.",
        limit_s=limit_s,
        hint="Raise timeouts.first_event_s; long prompts and reasoning take time before the first event.",
    )


def _opened(
    call: Call, first: Sequence[E], response: WireResponse | None = None, decoder: EventDecoder[E] | None = None
) -> OpenStream[E]:
    """Return an open stream with the adviser and the caller's hooks attached."""
    adviser, watch = call.line.adviser, call.watch
    advise = None if adviser is None else partial(adviser.advise, model=call.model, region=call.line.region)
    if watch is not None:
        watch.came(first)
        decoder = None if decoder is None else watch.over(decoder)
    return OpenStream(first, response, decoder, advise, watch)


def log_adjustments(model: ModelId, adjustments: tuple[Adjustment, ...]) -> None:
    """Log which rules changed a request and where, but never the values, which may be personal data."""
    _logger.info("changed the request to %s: %s", model, places_of(adjustments))


async def open_events(inference: Inference, call: Call) -> OpenStream[Event]:
    """Open a stream; a model or provider that cannot stream is called as a whole and its answer replayed."""
    provider, request, context = inference.provider, inference.request, inference.context
    plan: StreamPlan[Event] | Flow[ConverseResponse]
    streaming = inference.settings.get("streaming")
    if streaming is False or (streaming is None and not context.profile.streaming):
        plan = provider.converse(request, context)
    elif call.large:
        plan = await to_thread.run_sync(provider.stream, request, context)
    else:
        plan = provider.stream(request, context)
    if not isinstance(plan, StreamPlan):
        return _opened(call, unfold(await run(plan, call)))
    return await open_stream(plan, lambda: _plan_again(inference), call)


def _plan_again(inference: Inference) -> StreamPlan[Event]:
    plan = inference.provider.stream(inference.request, inference.context)
    if isinstance(plan, StreamPlan):
        return plan
    raise PluginError(
        f"the provider {inference.provider.name!r} returned a stream plan for the first attempt and something else "
        "for a retry.",
        hint="Let its stream() return the same kind for the same request.",
    )


class OpenDuplex(msgspec.Struct, frozen=True):
    """A bidirectional stream whose request has begun; ``signer`` is None when events are not signed."""

    response: DuplexResponse
    signer: EventSigner | None
    started: float
    """When the attempt began, by ``Line.clock``."""


async def open_duplex(request: HttpRequest, transport: DuplexTransport, call: Call) -> OpenDuplex:
    """Connect and send the head of a request whose body follows event by event, retrying as the policy allows.

    Retrying is safe because no event has been sent when connecting fails. This does not wait for the head of the
    answer: a model may answer only after it has received input. Cancelling closes the connection.
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
            return OpenDuplex(response, signer, started)


async def refusal(request: HttpRequest, response: WireResponse, call: Call) -> BedrockError:
    """Read an unsuccessful answer to its end and return its error."""
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
    now = call.started_at = line.now()
    authenticator = line.authenticator
    if not authenticator.ready(now):
        await authenticator.prepare(now)
        now = line.now()
    base_url = request.endpoint or line.endpoint.base_url
    url = base_url + request.path
    if request.query:
        url += "?" + _query(request.query)
    headers = {"host": base_url.partition("://")[2].partition("/")[0], "user-agent": line.user_agent, **request.headers}
    body, service, region = request.body, request.signing_name, line.region
    if not call.large:
        authenticator.authorize(request.method, url, headers, body, service=service, region=region, now=now)
    else:
        authorize = partial(authenticator.authorize, service=service, region=region, now=now)
        await to_thread.run_sync(authorize, request.method, url, headers, body)
    call.signed = headers
    return WireRequest(request.method, url, headers, body)


def _query(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote, safe="-._~")


def _failed(request: HttpRequest, response: WireResponse, body: bytes) -> BedrockError:
    """Return the error of an unsuccessful answer."""
    if response.status in _REDIRECT:
        return RedirectError(
            f"the endpoint answered HTTP {response.status}, a redirect to another location.",
            hint="Redirects are not followed because requests carry credentials. Set endpoint_url to the right "
            "endpoint.",
            sent=True,
        )
    return request.read_error(response.status, response.headers, body)


async def _may_go(call: Call) -> None:
    """Wait until an attempt may be sent: for the retry policy's pace, then for the rate limit."""
    line = call.line
    pace: Pace | None = getattr(call.retry, "pace", None)
    while pace is not None and (wait_s := pace.wait_s(line.clock())) > 0:
        await line.sleep(wait_s)
    if call.ticket is not None:
        try:
            await call.ticket.enter()
        except BedrockError as exc:
            exc.attempts = tuple(call.attempts)
            raise


async def _may_go_before(deadline: float | None, call: Call) -> None:
    """Do the same, but raise TotalTimeoutError at ``deadline``, a time of the event loop's clock."""
    try:
        async with asyncio.timeout_at(deadline):
            await _may_go(call)
    except TimeoutError as exc:
        if isinstance(exc, BedrockError) or call.timeouts.total_s is None:
            raise
        raise too_late(call.timeouts.total_s, call.attempts) from exc


async def _wait_or_raise(failure: BedrockError, started: float, call: Call, deadline: float | None = None) -> None:
    """Wait as long as the retry policy asks for and return, or raise ``failure`` if it is not to be retried.

    Raises TotalTimeoutError at once when the wait would pass ``deadline``, a time of the event loop's clock.
    """
    call.failed(started, failure)
    if (
        isinstance(failure, AccessDeniedError | AuthenticationError)
        and not call.refreshed
        and call.line.authenticator.invalidate(call.signed, failure)
    ):
        call.refreshed = True
        if call.watch is not None:
            await call.watch.retrying(failure, len(call.attempts), 0.0)
        forget_frames(failure)
        return
    delay_s = call.delay_s(failure, len(call.attempts))
    if delay_s is None or isinstance(failure, TotalTimeoutError):
        call.explain(failure)
        raise failure
    if deadline is not None and asyncio.get_running_loop().time() + delay_s >= deadline:
        raise too_late(call.timeouts.total_s or 0.0, call.attempts) from failure
    if call.watch is not None:
        await call.watch.retrying(failure, len(call.attempts), delay_s)
    forget_frames(failure)
    await call.line.sleep(delay_s)
