"""Answers of a given type: asking for them, going down the ladder, repairing, and streams of outputs that grow."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import anyio
import msgspec

from ._bounded import remember
from .calls import Inference, OpenStream
from .errors import (
    BedrockError,
    InvalidRequestError,
    OutputError,
    OutputInvalidError,
    TotalTimeoutError,
    ValidationError,
)
from .events import ContentBlockStartEvent, Event
from .families.profiles import ModelProfile
from .features.structured import (
    Asked,
    OutputMode,
    OutputType,
    PartialOutput,
    Rung,
    asked,
    is_about_schema,
    ladder,
    next_rung,
)
from .in_flight import InFlight
from .stream import ResponseStream
from .types import ConverseRequest, ConverseResponse, ResponseMeta
from .usage import UsageTotals, usage_of

T = TypeVar("T")
R = TypeVar("R")

Send: TypeAlias = Callable[[Inference], Awaitable[R]]
"""Sends a question and returns the answer, or the open stream of it."""

_logger: Final = logging.getLogger(__name__)
_MOST_REFUSALS: Final = 1_024


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """A value that a model made, and the answer that it was read from.

    ``mode`` is how the model was asked, ``tool`` the name of the tool that it was given for that. ``rounds`` are all
    answers of the call, ``response`` being the last one; there are several if the model was shown what was wrong with
    one.
    """

    value: T
    response: ConverseResponse
    mode: OutputMode
    rounds: tuple[ConverseResponse, ...]
    tool: str | None = None

    @property
    def usage(self) -> UsageTotals:
        """The tokens of all rounds, and their cost where it is known."""
        return usage_of(self.rounds)


class Refusals:
    """Which ways of asking the service refused: what one call learnt, later calls of the client need not pay for.

    It belongs to one client; the oldest are forgotten when there are many.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, Rung, str], None] = {}

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._known)

    def left(self, model: str, rungs: tuple[Rung, ...], output: OutputType[Any]) -> tuple[Rung, ...]:
        """Return the ways that were not refused; all of them if none would be left."""
        known = self._known
        if not known:
            return rungs
        digest = _digest(output)
        left = [rung for rung in rungs if (model, rung, "") not in known and (model, rung, digest) not in known]
        return tuple(left) or rungs

    def add(self, model: str, rungs: Sequence[Rung], output: OutputType[Any] | None) -> None:
        """Note that these ways were refused: for this output, or for all where it is None."""
        digest = "" if output is None else _digest(output)
        for rung in rungs:
            remember(self._known, (model, rung, digest), None, _MOST_REFUSALS)


def _digest(output: OutputType[Any]) -> str:
    return hashlib.sha256(json.dumps(output.schema, sort_keys=True).encode()).hexdigest()


class Question(Generic[T]):
    """A call whose answer is to be an output, before it is known in which way the model can be asked for it."""

    def __init__(self, inference: Inference, output_type: object, mode: OutputMode | None, refusals: Refusals) -> None:
        """Find the ways to ask. Raises InvalidRequestError for an impossible output type or mode."""
        context = inference.context
        self.inference = inference
        self.output: OutputType[T] = OutputType.of(output_type)
        self._refusals = refusals
        self._model = f"{inference.provider.name} {context.model.base_model or context.model.raw}"
        rungs = ladder(context.profile, self.output, inference.request, wanted=mode)
        self.rungs = refusals.left(self._model, rungs, self.output)

    async def ask(self, send: Send[R]) -> tuple[Asked[T], R]:
        """Ask in the first way that is not refused; return it and what `send` gave.

        The ways before it are remembered as refused. Raises as `send` does, in the end the refusal of the last way.
        """
        rungs = self.rungs
        refused: list[tuple[Sequence[Rung], bool]] = []
        rung = rungs[0]
        while True:
            question = asked(self.inference.request, self.output, rung, self.inference.context.profile)
            try:
                answer = await send(self.sent(question))
            except (InvalidRequestError, ValidationError) as exc:
                following = next_rung(rung, rungs, exc)
                if following is None:
                    raise
                refused.append((rungs[rungs.index(rung) : rungs.index(following)], is_about_schema(exc)))
                _logger.info("%s does not support %s output; trying %s", self._model, rung.mode, following.mode)
                rung = following
            else:
                # Only now it is known that the refusals were about the way, and not about all of the request.
                for each, about_schema in refused:
                    self._refusals.add(self._model, each, self.output if about_schema else None)
                return question, answer

    def sent(self, question: Asked[T]) -> Inference:
        """Return the call that asks this."""
        return msgspec.structs.replace(self.inference, request=question.request)


def first_asked(
    request: ConverseRequest, profile: ModelProfile, output_type: object, mode: OutputMode | None
) -> ConverseRequest:
    """Return a request with what asks for the output in the first way of a model. Raises InvalidRequestError."""
    output: OutputType[Any] = OutputType.of(output_type)
    return asked(request, output, ladder(profile, output, request, wanted=mode)[0], profile).request


async def parse(
    question: Question[T], send: Send[ConverseResponse], *, max_repairs: int, total_s: float | None
) -> Output[T]:
    """Return the output, after at most so many rounds that show the model what was wrong with its answer.

    Together they take at most ``total_s`` seconds. Raises OutputError, TotalTimeoutError, and as `send`, with all
    rounds.
    """
    rounds: list[ConverseResponse] = []
    try:
        with anyio.move_on_after(total_s):
            return await _answered(question, send, max_repairs, rounds)
    except BedrockError as exc:
        exc.rounds = tuple(rounds)
        raise
    limit_s = total_s or 0.0  # without a limit nothing is cut off
    timeout = TotalTimeoutError(
        f"the output took longer than {limit_s:g} s ({len(rounds)} answers were not of its type).",
        limit_s=limit_s,
        hint="Raise timeouts.total_s, or allow fewer repair rounds.",
    )
    timeout.attempts = tuple(attempt for each in rounds for attempt in each.meta.attempts)
    timeout.rounds = tuple(rounds)
    raise timeout


async def _answered(
    question: Question[T], send: Send[ConverseResponse], max_repairs: int, rounds: list[ConverseResponse]
) -> Output[T]:
    current, response = await question.ask(send)
    while True:
        rounds.append(response)
        try:
            return Output(current.read(response), response, current.mode, tuple(rounds), current.tool)
        except OutputError as exc:
            if len(rounds) > max_repairs or not isinstance(exc, OutputInvalidError):
                raise
            current = current.repaired(exc, question.inference.context.profile)
        response = await send(question.sent(current))


def check_max_repairs(max_repairs: object) -> int:
    """Return the number. Raises InvalidRequestError for what is no count."""
    if isinstance(max_repairs, int) and not isinstance(max_repairs, bool) and max_repairs >= 0:
        return max_repairs
    raise InvalidRequestError(
        f"max_repairs is {max_repairs!r}.", path="max_repairs", hint="Pass how often to ask again: 0, 1, 2..."
    )


# -- streams


class OutputStream(ResponseStream, Generic[T]):
    """The events of an answer that is to be an output; see `ResponseStream` for its life and errors.

    `partial_outputs` shows the output as it grows, `get_final_output` gives the validated one. The ways of asking are
    tried before the first event; there are no repair rounds, because the answer has been handed out already.
    """

    def __init__(
        self,
        question: Question[T],
        send: Send[tuple[OpenStream[Event], ResponseMeta]],
        *,
        idle_s: float | None,
        in_flight: InFlight | None = None,
    ) -> None:
        found: list[Asked[T]] = []

        async def opener() -> tuple[OpenStream[Event], ResponseMeta]:
            current, opened = await question.ask(send)
            found.append(current)
            return opened

        super().__init__(opener, idle_s=idle_s, in_flight=in_flight)
        self._found = found
        self._growth: _Growth | None = None

    @property
    def mode(self) -> OutputMode | None:
        """How the model was asked; None before the stream is open."""
        return self._found[0].mode if self._found else None

    @property
    def tool(self) -> str | None:
        """The name of the tool whose input is the output, where the model was asked in that way."""
        return self._found[0].tool if self._found else None

    @property
    def partial_outputs(self) -> PartialOutputs:
        """The output as it grows with the rest of the stream, as an async iterator of plain objects."""
        return PartialOutputs(self, self._grown)

    async def get_final_output(self) -> T:
        """Read the rest of the stream and return the output, validated.

        Raises as `get_final_response` does, and OutputRefusedError, OutputTruncatedError, OutputToolUseError or
        OutputInvalidError, which have the response.
        """
        response = await self.get_final_response()
        return self._found[0].read(response)

    async def __anext__(self) -> Event:
        """Return the next event; see `ResponseStream`."""
        event = await super().__anext__()
        self._seen_by_growth(event)
        return event

    async def next_batch(self) -> list[Event]:
        """Return all that has arrived and was not handed out yet, waiting for one. Raises as iterating."""
        batch = await super().next_batch()
        for event in batch:
            self._seen_by_growth(event)
        return batch

    def _grown(self) -> Any | None:  # noqa: ANN401 - JSON of any shape
        """Return the output so far if the events that were handed out added to it, else None."""
        return None if self._growth is None else self._growth.grown()

    def _seen_by_growth(self, event: Event) -> None:
        if self._growth is None:
            self._growth = _Growth(self._found[0])
        self._growth.add(event)


class PartialOutputs:
    """The growing output of a stream; holds the stream, so that it lives as long as it is read.

    Objects are plain: a dict where the output is a model, a dataclass or a TypedDict. Nothing is validated, because
    half an object keeps none of its type's promises. Texts grow with their pieces, numbers and literals show when they
    are complete.
    """

    def __init__(self, stream: OutputStream[Any], grown: Callable[[], Any]) -> None:
        self._stream = stream
        self._grown = grown

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """Return the output so far, as soon as there is more of it. Raises as the stream does."""
        while (grown := self._grown()) is None:
            await self._stream.__anext__()
        return grown


class _Growth:
    """The pieces of JSON among the events of a stream. Those that nobody asks for cost no parsing."""

    def __init__(self, question: Asked[Any]) -> None:
        self._tool = question.tool
        self._wrapped = question.wrapped
        self._inside = question.tool is None
        self._begun = question.prefill if question.tool is None else ""
        self._pieces: list[str] = []
        self._partial = PartialOutput(wrapped=self._wrapped)

    def add(self, event: Event) -> None:
        if self._tool is not None and isinstance(event, ContentBlockStartEvent):
            use = event.start.tool_use if event.start is not None else None
            self._inside = use is not None and use.name == self._tool
            if self._inside:  # of several calls of the tool the last one counts
                self._pieces.clear()
                self._partial = PartialOutput(wrapped=self._wrapped)
        piece = event.text if self._tool is None else event.tool_input
        if self._inside and piece:
            self._pieces.append(self._begun + piece)
            self._begun = ""

    def grown(self) -> Any | None:  # noqa: ANN401
        if not self._pieces:
            return None
        piece = "".join(self._pieces)
        self._pieces.clear()
        return self._partial.feed(piece)


def check_accumulates(settings: Mapping[str, object]) -> None:
    """Refuse an output of a stream that keeps nothing. Raises InvalidRequestError."""
    if settings.get("accumulate") is False:
        raise InvalidRequestError(
            "output_type is given with accumulate=False: the output is read from what the stream keeps.",
            path="accumulate",
            hint="Leave accumulate out.",
        )


__all__ = [
    "Output",
    "OutputStream",
    "PartialOutputs",
    "Question",
    "Refusals",
    "check_accumulates",
    "check_max_repairs",
    "first_asked",
    "parse",
]
