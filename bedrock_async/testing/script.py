"""A model that plays a script: events, delays and faults, in the order in which they are listed.

::

    ScriptedModel.text("hello world")
    ScriptedModel.tool_use("get_weather", {"city": "Paris"})
    ScriptedModel([*text_events("hel")[:2], service_error("ThrottlingException", "Too many tokens")])
    ScriptedModel([*text_events("hello")[:2], corrupted(event_frame("contentBlockStop", {"contentBlockIndex": 0}))])
    ScriptedModel([HttpAnswer.html(502)])
    ScriptedModel.in_turn([service_error("ThrottlingException", "Slow down")], text_events("second attempt"))
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol, Self, TypeAlias, TypedDict, Unpack, cast, runtime_checkable

import anyio

from ..errors import BedrockError, InvalidRequestError
from ..types import JSONValue
from .answers import Control, HttpAnswer, Output
from .duplex import DuplexSession, echo
from .fold import fold_wire_events
from .frames import WireEvent
from .received import ReceivedRequest

__all__ = ["Script", "ScriptedModel", "Step", "Waitable", "text_events", "tool_use_events"]

ANY_MODEL_ID: Final = "*"
_WORD: Final = re.compile(r"\s*\S+|\s+$")
_JSON_PIECE_CHARACTERS: Final = 12


@runtime_checkable
class Waitable(Protocol):
    """An event to wait for: asyncio.Event and anyio.Event are."""

    async def wait(self) -> object:
        """Return when it has happened."""
        ...


Step: TypeAlias = Mapping[str, object] | bytes | float | Waitable | BedrockError | HttpAnswer | Control
"""One step of a script.

A mapping is an event; bytes are sent raw; a number is a pause in seconds; a `Waitable` is awaited; a ServiceError is
the service's answer (over HTTP before the first event, as an exception frame after it); for `HttpAnswer` and `Control`,
see there.
"""

Script: TypeAlias = Iterable[Step]

_STEP_TYPES: Final[tuple[type, ...]] = (Mapping, bytes, int, float, BedrockError, HttpAnswer, Control, Waitable)


def text_events(
    text: str, *, stop_reason: str = "end_turn", input_tokens: int = 8, latency_ms: int = 120
) -> list[WireEvent]:
    """Return the events of a one-text answer, a delta for every word; each word counts as an output token."""
    words = _words(text)
    deltas: list[WireEvent] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": word}}} for word in words
    ]
    return [
        {"messageStart": {"role": "assistant"}},
        *deltas,
        {"contentBlockStop": {"contentBlockIndex": 0}},
        *_end(stop_reason, input_tokens, len(words), latency_ms),
    ]


def tool_use_events(
    name: str,
    input: Mapping[str, JSONValue],  # noqa: A002 - the service's own word
    *,
    tool_use_id: str = "tooluse_0123456789abcdefABCDEF",
    text: str = "",
    input_tokens: int = 8,
    latency_ms: int = 120,
) -> list[WireEvent]:
    """Return the events of an answer that uses a tool, its input in pieces of JSON; ``text`` precedes it."""
    index = 1 if text else 0
    document = json.dumps(dict(input), ensure_ascii=False)
    pieces = [document[at : at + _JSON_PIECE_CHARACTERS] for at in range(0, len(document), _JSON_PIECE_CHARACTERS)]
    deltas: list[WireEvent] = [
        {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}} for piece in pieces
    ]
    start: JSONValue = {"toolUse": {"name": name, "toolUseId": tool_use_id}}
    return [
        *(text_events(text)[:-2] if text else [{"messageStart": {"role": "assistant"}}]),
        {"contentBlockStart": {"contentBlockIndex": index, "start": start}},
        *deltas,
        {"contentBlockStop": {"contentBlockIndex": index}},
        *_end("tool_use", input_tokens, len(pieces) + len(_words(text)), latency_ms),
    ]


def _words(text: str) -> list[str]:
    """Split before every word, as models do: ``"hello world"`` -> ``["hello", " world"]``."""
    return _WORD.findall(text)


def _end(stop_reason: str, input_tokens: int, output_tokens: int, latency_ms: int) -> list[WireEvent]:
    usage: JSONValue = {
        "inputTokens": input_tokens,
        "outputTokens": output_tokens,
        "serverToolUsage": {},
        "totalTokens": input_tokens + output_tokens,
    }
    return [
        {"messageStop": {"stopReason": stop_reason}},
        {"metadata": {"metrics": {"latencyMs": latency_ms}, "usage": usage}},
    ]


class ScriptedOptions(TypedDict, total=False):
    """The keywords of `ScriptedModel`, for the constructors that supply the script."""

    native: Script | Callable[[ReceivedRequest], Script] | None
    input_tokens: int
    model_ids: Sequence[str]
    sleep: Callable[[float], Awaitable[object]]
    bidirectional: Callable[[DuplexSession], Awaitable[None]]


class ScriptedModel:
    """Plays a script for every request: the same one, or the one that a callable returns for the request.

    The script's events are those of ConverseStream; Converse answers with them folded. Without ``native``, the invoke
    operations speak the Nova models' dialect, whose chunks are the same events; ``native`` is a script of native
    objects instead: each is a chunk, and the last one is the answer of InvokeModel. ``input_tokens`` answers
    CountTokens. ``model_ids`` defaults to every id. ``sleep`` waits for the numbers in a script. ``bidirectional``
    answers each conversation (InvokeModelWithBidirectionalStream); by default, every event is sent back unchanged, as
    with `echo`.
    """

    def __init__(
        self,
        script: Script | Callable[[ReceivedRequest], Script],
        *,
        native: Script | Callable[[ReceivedRequest], Script] | None = None,
        input_tokens: int = 8,
        model_ids: Sequence[str] = (ANY_MODEL_ID,),
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        bidirectional: Callable[[DuplexSession], Awaitable[None]] = echo,
    ) -> None:
        """Play ``script``; an iterable is read once, here."""
        self.model_ids = model_ids
        self._script = _per_request(script)
        self._native = None if native is None else _per_request(native)
        self._input_tokens = input_tokens
        self._sleep = sleep
        self._bidirectional = bidirectional

    @classmethod
    def text(cls, text: str = "Hello from the Bedrock emulator.", **options: Unpack[ScriptedOptions]) -> Self:
        """Return a model that answers everything with this text, a delta for every word; options as for the class."""
        return cls(text_events(text), **options)

    @classmethod
    def tool_use(cls, name: str, input: Mapping[str, JSONValue], **options: Unpack[ScriptedOptions]) -> Self:  # noqa: A002
        """Return a model that answers everything with a use of this tool; options as for the class."""
        return cls(tool_use_events(name, input), **options)

    @classmethod
    def in_turn(cls, *scripts: Script, **options: Unpack[ScriptedOptions]) -> Self:
        """Return a model that plays one script per request, in order, and the last one for all further requests."""
        if not scripts:
            raise InvalidRequestError("in_turn needs at least one script.", path="scripts")
        listed = [_checked(script) for script in scripts]
        following = itertools.chain(listed, itertools.repeat(listed[-1]))
        return cls(lambda _request: next(following), **options)

    async def steps(self, request: ReceivedRequest) -> AsyncGenerator[Output]:
        """Yield the script's outputs for the request's operation; waits and errors occur in their place."""
        if request.operation not in {"InvokeModel", "InvokeModelWithResponseStream"}:
            async with aclosing(self._play(self._script(request))) as outputs:
                async for output in outputs:
                    yield output
            return
        one_answer = request.operation == "InvokeModel"
        answers: list[WireEvent] = []
        script = (self._native or self._script)(request)
        async with aclosing(self._play(script)) as outputs:
            async for output in outputs:
                if one_answer and isinstance(output, Mapping):
                    answers.append(output)
                else:
                    yield output if self._native or not isinstance(output, Mapping) else _nova_chunk(output)
        if answers:
            yield answers[-1] if self._native else _nova_answer(answers)

    async def _play(self, script: Script) -> AsyncGenerator[Output]:
        for step in script:
            if isinstance(step, int | float):
                await self._sleep(step)
            elif isinstance(step, BedrockError):
                raise step.with_traceback(None)
            elif isinstance(step, Mapping):
                yield cast("WireEvent", step)
            elif isinstance(step, bytes | HttpAnswer | Control):
                yield step
            else:
                await step.wait()

    async def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncGenerator[WireEvent]:
        """Yield the script's events. Raises InvalidRequestError for a step that only the emulator can perform."""
        body = json.dumps(dict(request)).encode()
        received = ReceivedRequest(method="POST", path="", body=body, operation="ConverseStream")
        async with aclosing(self.steps(received)) as outputs:
            async for output in outputs:
                if not isinstance(output, Mapping):
                    raise _needs_emulator(output)
                yield output

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        """Return ``input_tokens``."""
        return self._input_tokens

    async def invoke(self, body: bytes) -> bytes:
        """Return the native answer. Raises InvalidRequestError for a step that only the emulator can perform."""
        chunks = [chunk async for chunk in self._native_chunks(body, "InvokeModel")]
        return chunks[-1] if chunks else b"{}"

    async def invoke_stream(self, body: bytes) -> AsyncGenerator[bytes]:
        """Yield the native chunks. Raises InvalidRequestError for a step that only the emulator can perform."""
        async with aclosing(self._native_chunks(body, "InvokeModelWithResponseStream")) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _native_chunks(self, body: bytes, operation: str) -> AsyncGenerator[bytes]:
        received = ReceivedRequest(method="POST", path="", body=body, operation=operation)
        async with aclosing(self.steps(received)) as outputs:
            async for output in outputs:
                if not isinstance(output, Mapping):
                    raise _needs_emulator(output)
                yield json.dumps(dict(output), ensure_ascii=False).encode()

    async def bidirectional(self, session: DuplexSession) -> None:
        """Answer a conversation as the script says."""
        await self._bidirectional(session)

    async def aclose(self) -> None:
        """Do nothing: a script holds no resources."""


def _per_request(script: Script | Callable[[ReceivedRequest], Script]) -> Callable[[ReceivedRequest], Script]:
    if callable(script):
        return script
    steps = _checked(script)
    return lambda _request: steps


def _checked(script: Script) -> list[Step]:
    steps = list(script)
    given: list[object] = [*steps]
    for index, step in enumerate(given):
        if not isinstance(step, _STEP_TYPES):
            raise InvalidRequestError(
                f"step {index} of the script is of type {type(step).__name__}.",
                path=f"script[{index}]",
                hint="A step is an event, bytes, seconds, something to wait for, an error, an HttpAnswer or a Control.",
            )
    return steps


def _needs_emulator(output: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"a step of type {type(output).__name__} needs a connection.", hint="Serve the model with BedrockEmulator."
    )


def _nova_answer(events: Sequence[WireEvent]) -> WireEvent:
    folded = fold_wire_events(events)
    folded.pop("metrics", None)
    return folded


def _nova_chunk(event: WireEvent) -> WireEvent:
    """Return the event as a Nova chunk: the same except for the service's own measurements in the last one."""
    metadata = cast("dict[str, Any] | None", event.get("metadata"))
    if metadata is None:
        return event
    usage, latency_ms = metadata.get("usage", {}), metadata.get("metrics", {}).get("latencyMs", 0)
    return {
        "metadata": {"metrics": {}, "trace": {}, "usage": usage},
        "amazon-bedrock-invocationMetrics": {
            "inputTokenCount": usage.get("inputTokens", 0),
            "outputTokenCount": usage.get("outputTokens", 0),
            "invocationLatency": latency_ms,
            "firstByteLatency": latency_ms,
        },
    }
