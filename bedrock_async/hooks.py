"""Functions of the caller that see, and may change, what goes out and what comes back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from ._error import a_kind
from .errors import BedrockError, InvalidRequestError
from .events import Event
from .model_id import ModelId
from .native import InvokeChunk
from .providers import EventDecoder
from .types import ConverseRequest, InvokeRequest

__all__ = [
    "ErrorHook",
    "EventHook",
    "HookedCall",
    "HookedRequest",
    "HookedRetry",
    "Hooks",
    "RequestHook",
    "ResponseHook",
    "RetryHook",
    "Watch",
    "WatchedDecoder",
]

R = TypeVar("R")
E = TypeVar("E")

logger: Final = logging.getLogger("bedrock_async.hooks")
_RAISED: Final = "the hook %s (%s) raised; the call continues"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookedCall:
    """A call as its hooks see it.

    ``verb`` is the operation: ``"converse"`` and ``"stream"`` also when `run_tools`, `parse` or a conversation calls.
    ``request`` is what is sent: a `ConverseRequest`, an `InvokeRequest` for `invoke` and `invoke_stream`, or None for
    all other verbs. ``model`` is what the call goes to, None where it goes to no model. ``settings`` are the keywords
    of the call over the defaults of the client. ``state`` is for the hooks themselves: all hooks of one call share it.
    """

    verb: str
    model: ModelId | None
    provider: str
    region: str
    settings: Mapping[str, Any]
    request: ConverseRequest | InvokeRequest | None = None
    state: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class HookedRetry:
    """An attempt that failed and is repeated: ``attempt`` counts from 1, ``delay_s`` is the wait before the next."""

    failure: BedrockError
    attempt: int
    delay_s: float


HookedRequest: TypeAlias = ConverseRequest | InvokeRequest
"""A request that `Hooks.on_request` sees, and may return."""

RequestHook: TypeAlias = Callable[[HookedCall], HookedRequest | Awaitable[HookedRequest | None] | None]
"""Sees a call before it is sent; a request that it returns is sent in place of the call's."""

ResponseHook: TypeAlias = Callable[[Any, HookedCall], object]
"""Sees what a verb returns; may be async."""

EventHook: TypeAlias = Callable[[Event | InvokeChunk, HookedCall], object]
"""Sees each event of a stream as it arrives; a plain function, which must be quick."""

RetryHook: TypeAlias = Callable[[HookedRetry, HookedCall], object]
"""Sees each attempt that failed and is repeated; may be async."""

ErrorHook: TypeAlias = Callable[[BedrockError, HookedCall], object]
"""Sees the error that ended a call; may be async."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions for ``BedrockClient(hooks=...)``: one of each kind, or several, which are called in order.

    - ``on_request(call)`` before a request of `converse`, `stream`, `invoke` or `invoke_stream` is sent, once for each
      call and not for each attempt. It may return another request, which is sent instead; None leaves it unchanged.
      What it raises reaches the caller as it is, and nothing is sent.
    - ``on_response(response, call)`` with what the verb returns, `meta` included; for `stream` with the whole response,
      once it has been read to its end (not with ``accumulate=False``).
    - ``on_event(event, call)`` with each event of a stream as it arrives, before it is handed out. It is a plain
      function, and the only hook that cannot be async, because it runs for every event.
    - ``on_retry(retry, call)`` before the wait that follows a failed attempt.
    - ``on_error(error, call)`` with the `BedrockError` that ends a call, before it is raised.

    Functions are plain or async; async ones are awaited, and the call goes on after that. What any hook but
    ``on_request`` raises is logged (logger ``bedrock_async.hooks``) and goes no further: an answer that was paid for is
    not lost to the fault of an observer. Cancellation passes through hooks. They see all verbs but those about models
    and profiles, jobs' outputs and bidirectional streams.

    Raises InvalidRequestError for something that is not a function, and for an async ``on_event``.
    """

    on_request: RequestHook | Sequence[RequestHook] = ()
    on_response: ResponseHook | Sequence[ResponseHook] = ()
    on_event: EventHook | Sequence[EventHook] = ()
    on_retry: RetryHook | Sequence[RetryHook] = ()
    on_error: ErrorHook | Sequence[ErrorHook] = ()

    def __post_init__(self) -> None:
        """Make each a tuple of functions, so that calling them needs no checks."""
        for each in fields(self):
            object.__setattr__(self, each.name, _functions(each.name, getattr(self, each.name)))

    def __bool__(self) -> bool:
        """Whether there is a function at all."""
        return any(getattr(self, each.name) for each in fields(self))


def _functions(name: str, given: object) -> tuple[Callable[..., object], ...]:
    listed = cast("Sequence[object]", given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for index, function in enumerate(listed):
        if not callable(function):
            raise InvalidRequestError(
                f"hooks.{name}[{index}] is {a_kind(function)}, not a function.",
                path=f"hooks.{name}",
                hint=f"Pass Hooks({name}=function), or several in a list.",
            )
        if name == "on_event" and _is_async(function):
            raise InvalidRequestError(
                f"hooks.on_event[{index}] is async; it would be awaited for every event.",
                path="hooks.on_event",
                hint="Pass a plain function, which may put the event into a queue.",
            )
    return tuple(cast("Sequence[Callable[..., object]]", listed))


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class Watch:
    """The hooks at one call."""

    __slots__ = ("_hooks", "_in_flight", "call")

    def __init__(self, hooks: Hooks, call: HookedCall, in_flight: AbstractContextManager[object]) -> None:
        """``in_flight`` is entered while a hook is awaited: closing the client waits for it as for the call."""
        self._hooks = hooks
        self._in_flight = in_flight
        self.call = call

    async def ask(self) -> HookedRequest | None:
        """Return the request that the hooks want to be sent, None where they leave it. Raises what they raise."""
        asked = self.call.request
        with self._in_flight:
            for hook in cast("tuple[RequestHook, ...]", self._hooks.on_request):
                answer = hook(self.call)
                changed = await answer if inspect.isawaitable(answer) else answer
                if changed is not None:
                    self.call = replace(self.call, request=_fitting(changed, self.call))
        return None if self.call.request is asked else self.call.request

    async def guarding(self, send: Callable[[], Awaitable[R]]) -> R:
        """Return what ``send`` returns; the hooks see the error that it raises."""
        try:
            return await send()
        except BedrockError as exc:
            await self.failed(exc)
            raise

    async def around(self, send: Callable[[], Awaitable[R]]) -> R:
        """Do what `guarding` does, and show the answer."""
        response = await self.guarding(send)
        await self.answered(response)
        return response

    async def answered(self, response: object) -> None:
        """Show an answer."""
        with self._in_flight:
            for hook in cast("tuple[ResponseHook, ...]", self._hooks.on_response):
                await _quietly("on_response", hook, response, self.call)

    async def failed(self, error: BedrockError) -> None:
        """Show the error that ended the call."""
        with self._in_flight:
            for hook in cast("tuple[ErrorHook, ...]", self._hooks.on_error):
                await _quietly("on_error", hook, error, self.call)

    async def retrying(self, failure: BedrockError, attempt: int, delay_s: float) -> None:
        """Show a failed attempt that is going to be repeated."""
        if self._hooks.on_retry:
            retry = HookedRetry(failure, attempt, delay_s)
            for hook in cast("tuple[RetryHook, ...]", self._hooks.on_retry):
                await _quietly("on_retry", hook, retry, self.call)

    def over(self, decoder: EventDecoder[E]) -> WatchedDecoder[E]:
        """Return a decoder that shows what this one decodes."""
        return WatchedDecoder(decoder, self)

    def came(self, events: Sequence[Any]) -> None:
        """Show events."""
        for hook in cast("tuple[EventHook, ...]", self._hooks.on_event):
            for event in events:
                try:
                    hook(event, self.call)
                except Exception:
                    logger.exception(_RAISED, "on_event", _name(hook))


def _fitting(changed: object, call: HookedCall) -> HookedRequest:
    """Return a request that a hook returned. Raises InvalidRequestError for another type than that of the call's."""
    request = call.request
    if request is None or not isinstance(changed, type(request)):
        raise InvalidRequestError(
            f"on_request returned {a_kind(changed)} for {call.verb}(), which sends a {type(request).__name__}.",
            path="hooks.on_request",
            hint="Return call.request.model_copy(update={...}), or None to leave it.",
        )
    if changed.model_id is None:
        return changed.model_copy(update={"model_id": request.model_id})
    return changed


async def _quietly(name: str, hook: Callable[..., object], *arguments: object) -> None:
    try:
        answer = hook(*arguments)
        if inspect.isawaitable(answer):
            await answer
    except Exception:
        logger.exception(_RAISED, name, _name(hook))


def _name(hook: object) -> str:
    return str(getattr(hook, "__qualname__", type(hook).__qualname__))


class WatchedDecoder(Generic[E]):
    """The decoder of a stream, which shows what it decodes; a stream that nobody watches has its decoder alone."""

    __slots__ = ("_decoder", "_watch", "pending_error")

    def __init__(self, decoder: EventDecoder[E], watch: Watch) -> None:
        self._decoder = decoder
        self._watch = watch
        self.pending_error: BedrockError | None = decoder.pending_error

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the response."""
        self._decoder.start(status, headers)

    def receive(self, data: bytes) -> Sequence[E]:
        """Take a piece of the body, and show its events."""
        return self._shown(lambda: self._decoder.receive(data))

    def eof(self) -> Sequence[E]:
        """Take the end of the body, and show the events that it brings."""
        return self._shown(self._decoder.eof)

    def _shown(self, decode: Callable[[], Sequence[E]]) -> Sequence[E]:
        try:
            events = decode()
        finally:
            self.pending_error = self._decoder.pending_error
        self._watch.came(events)
        return events
