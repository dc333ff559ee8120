"""Failures between a client and the service, random or chosen, which the emulator injects.

::

    BedrockEmulator(models, chaos=Chaos(rate=0.2))                          # a fifth of all requests
    BedrockEmulator(models, chaos=Chaos(choose=lambda request: Fault.RESET_IN_FRAME))

`ReceivedRequest.fault` says which fault each request met.
"""

from __future__ import annotations

import enum
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

import anyio

from ..errors import InvalidRequestError, ServiceError, service_error
from .answers import Control, HttpAnswer, Output
from .frames import WireEvent, corrupted, oversized_frame, truncated
from .received import ReceivedRequest

__all__ = ["Chaos", "Fault", "FaultPlan"]

_STREAMS: Final = frozenset({"ConverseStream", "InvokeModelWithResponseStream"})
_LATEST_EVENT: Final = 6
"""A fault within a stream occurs before one of its first events, or before its last one."""


class Fault(enum.StrEnum):
    """One thing that can go wrong with a request."""

    LATENCY = "latency"
    """The answer is late, but correct."""
    TRICKLED = "trickled"
    """The answer arrives in pieces of a few bytes, but is correct."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server-error"
    UNAVAILABLE = "unavailable"
    MODEL_NOT_READY = "model-not-ready"
    MODEL_TIMEOUT = "model-timeout"
    EXPIRED_TOKEN = "expired-token"  # noqa: S105 - the name of an error
    GATEWAY_PAGE = "gateway-page"
    """HTTP 502 with an HTML page, as from a gateway in between."""
    WRONG_TYPE = "wrong-type"
    """HTTP 200 with an HTML page instead of the answer."""

    RESET_BEFORE_HEAD = "reset-before-head"
    RESET_IN_HEAD = "reset-in-head"
    CLOSE_BEFORE_HEAD = "close-before-head"
    SILENCE_BEFORE_HEAD = "silence-before-head"

    RESET_INSIDE = "reset-inside"
    """The connection is reset within the body of an answer, or between two frames of a stream."""
    ABORT_INSIDE = "abort-inside"
    """The connection closes there, before the end of the body; with TLS, without a close notification."""
    SILENCE_INSIDE = "silence-inside"
    CORRUPT = "corrupt"
    """A frame with a wrong checksum, or a body that is not JSON."""

    RESET_IN_FRAME = "reset-in-frame"
    END_IN_FRAME = "end-in-frame"
    EARLY_END = "early-end"
    """The body ends properly, but before the last events."""
    OVERSIZED = "oversized"
    """A frame that declares two gigabytes."""
    EXCEPTION = "exception"
    """An exception inside the stream, under HTTP 200."""
    DUPLICATED = "duplicated"
    """An event is sent twice."""
    REORDERED = "reordered"
    """Two events are swapped."""


_INSTEAD: Final[Mapping[Fault, HttpAnswer | Control | ServiceError]] = {
    Fault.THROTTLED: service_error("ThrottlingException", "Too many requests, please wait before trying again."),
    Fault.SERVER_ERROR: service_error("InternalServerException", "The system encountered an unexpected error."),
    Fault.UNAVAILABLE: service_error("ServiceUnavailableException", "Bedrock is unable to process your request."),
    Fault.MODEL_NOT_READY: service_error("ModelNotReadyException", "The model is not ready to serve requests."),
    Fault.MODEL_TIMEOUT: service_error("ModelTimeoutException", "Model has timed out in processing the request."),
    Fault.EXPIRED_TOKEN: service_error(
        "ExpiredTokenException", "The security token included in the request is expired", status=403
    ),
    Fault.GATEWAY_PAGE: HttpAnswer.html(502),
    Fault.WRONG_TYPE: HttpAnswer.html(200, "Welcome"),
    Fault.RESET_BEFORE_HEAD: Control.RESET,
    Fault.RESET_IN_HEAD: Control.RESET_IN_HEAD,
    Fault.CLOSE_BEFORE_HEAD: Control.CLOSE,
    Fault.SILENCE_BEFORE_HEAD: Control.SILENCE,
}
_ANYWHERE: Final = frozenset(
    {Fault.LATENCY, Fault.TRICKLED, Fault.RESET_INSIDE, Fault.ABORT_INSIDE, Fault.SILENCE_INSIDE, Fault.CORRUPT}
)


_BREAKS: Final[Mapping[Fault, Control]] = {
    Fault.RESET_INSIDE: Control.RESET,
    Fault.ABORT_INSIDE: Control.ABORT,
    Fault.SILENCE_INSIDE: Control.SILENCE,
}
_ENDS: Final = frozenset({Fault.EARLY_END, Fault.END_IN_FRAME})


class Frame(Protocol):
    """Encodes an event as a frame."""

    def __call__(self, payload: WireEvent, /) -> bytes:
        """Return the frame."""
        ...


class FaultPlan:
    """The fault of one request; the emulator consults it at each step of the answer."""

    def __init__(
        self, fault: Fault, *, at: int = 1, latency_s: float, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        """Plan a fault. ``at`` is the index of the stream event it affects; in a shorter stream, the last event."""
        self.fault = fault
        self._at, self._latency_s, self._sleep = at, latency_s, sleep

    @property
    def instead(self) -> HttpAnswer | Control | ServiceError | None:
        """What is sent instead of an answer, if the fault is of that kind."""
        return _INSTEAD.get(self.fault)

    async def wait(self) -> None:
        """Wait before the answer, if that is the fault."""
        if self.fault is Fault.LATENCY:
            await self._sleep(self._latency_s)

    def body(self, answer: HttpAnswer) -> HttpAnswer:
        """Return an answer that is not a stream, with the fault applied."""
        half = max(len(answer.body) // 2, 1)
        if (end := _BREAKS.get(self.fault)) is not None:
            return replace(answer, body=answer.body[:half], end=end)
        match self.fault:
            case Fault.CORRUPT:
                return replace(answer, body=answer.body[:half])
            case Fault.TRICKLED:
                return replace(answer, chunk_bytes=[7] * (len(answer.body) // 7))
            case _:
                return answer

    async def stream(self, outputs: AsyncIterator[Output], frame: Frame) -> AsyncGenerator[Output]:
        """Yield the outputs of a stream, with the fault applied."""
        position, struck, swapped = 0, False, False
        async for output, following in _with_next(outputs):
            if swapped:
                swapped = False  # it went out before the one that it follows
            elif not struck and (position == self._at or following is None or self.fault is Fault.TRICKLED):
                struck = self.fault is not Fault.TRICKLED
                for each in self._damaged(output, following, frame):
                    yield each
                if self.fault in _ENDS:
                    return
                swapped = self.fault is Fault.REORDERED and following is not None
            else:
                yield output
            position += 1

    def _damaged(self, output: Output, following: Output | None, frame: Frame) -> Iterable[Output]:
        """Return what is sent instead of one output; ``following`` is the next one."""
        data = _frame_of(output, frame)
        if not isinstance(data, bytes):
            return [output]
        if (end := _BREAKS.get(self.fault)) is not None:
            return [end]
        match self.fault:
            case Fault.RESET_IN_FRAME:
                return [truncated(data), Control.RESET]
            case Fault.END_IN_FRAME:
                return [truncated(data)]
            case Fault.EARLY_END:
                return []
            case Fault.CORRUPT:
                return [corrupted(data)]
            case Fault.OVERSIZED:
                return [oversized_frame(), Control.SILENCE]
            case Fault.EXCEPTION:
                raise service_error("ThrottlingException", "Too many tokens, please wait before trying again.")
            case Fault.DUPLICATED:
                return [output, output]
            case Fault.REORDERED if following is not None:
                return [following, output]
            case Fault.TRICKLED:
                return [data[start : start + 5] for start in range(0, len(data), 5)]
            case _:
                return [output]


async def _with_next(outputs: AsyncIterator[Output]) -> AsyncGenerator[tuple[Output, Output | None]]:
    """Yield each output with the next one, the last one with None."""
    held: Output | None = None
    async for output in outputs:
        if held is not None:
            yield held, output
        held = output
    if held is not None:
        yield held, None


def _frame_of(output: Output, frame: Frame) -> Output:
    return frame(output) if isinstance(output, Mapping) else output


class Chaos:
    """Decides which requests meet which fault: ``rate`` of them one of ``faults``, or what ``choose`` returns.

    The same ``seed`` makes the same decisions for the same order of requests. Faults that need a stream are injected
    only into streams. ``latency_s`` is the delay of a late answer; ``sleep`` waits for it.
    """

    def __init__(
        self,
        rate: float = 0.2,
        *,
        faults: Iterable[Fault | str] = tuple(Fault),
        seed: int = 0,
        choose: Callable[[ReceivedRequest], Fault | None] | None = None,
        latency_s: float = 0.05,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        """Prepare the decisions. Raises InvalidRequestError for a rate outside 0 to 1 and for unknown faults."""
        if not 0 <= rate <= 1:
            raise InvalidRequestError(
                f"the rate of faults is {rate}; it must be between 0 and 1.", path="rate", hint="Pass 0.2 for 20 %."
            )
        self._rate = rate
        self._faults = tuple(_known(fault) for fault in faults)
        self._random = random.Random(seed)  # noqa: S311 - which fault comes next is no secret
        self._choose = choose or self._by_chance
        self._latency_s, self._sleep = latency_s, sleep

    @property
    def rate(self) -> float:
        """The share of requests that meet a fault, unless ``choose`` decides."""
        return self._rate

    def plan(self, request: ReceivedRequest) -> FaultPlan | None:
        """Return the fault of this request, and record it in the request; None for no fault."""
        fault = self._choose(request)
        if fault is None:
            return None
        request.fault = fault.value
        at = self._random.randrange(_LATEST_EVENT)
        return FaultPlan(fault, at=at, latency_s=self._latency_s, sleep=self._sleep)

    def _by_chance(self, request: ReceivedRequest) -> Fault | None:
        if self._random.random() >= self._rate:
            return None
        streams = request.operation in _STREAMS
        possible = [fault for fault in self._faults if streams or fault in _ANYWHERE or fault in _INSTEAD]
        return self._random.choice(possible) if possible else None


def _known(fault: Fault | str) -> Fault:
    try:
        return Fault(fault)
    except ValueError as exc:
        raise InvalidRequestError(
            f"there is no fault {fault!r}.", path="faults", hint=f"There are {', '.join(Fault)}."
        ) from exc
