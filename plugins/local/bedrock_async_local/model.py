"""LocalModel: the embedded model behind the emulator's protocol."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from bedrock_async.errors import InvalidRequestError, service_error
from bedrock_async.testing import EmulatorModel
from bedrock_async.types import JSONValue

from . import native
from .converse import Plan, chosen_tool, read_request, tool_choice_request, tool_input_request
from .embeddings import EmbeddingEngine, LocalEmbeddings
from .engine import ChatRequest, Engine, LlamaEngine
from .loading import Loader
from .stops import StopFilter
from .weights import GGUF_VARIABLE, fetch_weights, gguf_file

__all__ = ["MODEL_ID", "LocalModel"]

MODEL_ID: Final = "local.smollm2-135m-instruct-v1:0"

WireEvent: TypeAlias = Mapping[str, JSONValue]
StopReason: TypeAlias = Literal["end_turn", "stop_sequence", "max_tokens", "model_context_window_exceeded", "tool_use"]

_STOP_REASONS: Final[Mapping[str, StopReason]] = {
    "end": "end_turn",
    "max_tokens": "max_tokens",
    "context": "model_context_window_exceeded",
}
_FINISH_REASONS: Final[Mapping[StopReason, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """Some text of an answer and the counts so far; the last one says why the answer ended."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    stop_reason: StopReason | None = None


class LocalModel:
    """A small language model in this process, for `bedrock_async.testing.BedrockEmulator`.

    It is SmolLM2-135M-Instruct (4 bits, 98 MB, fetched once into the user's cache), or the GGUF file that ``path`` or
    the environment variable BEDROCK_ASYNC_LOCAL_GGUF names. Real tokens, real counts, real stop reasons, and answers
    that are often wrong: a demonstration. It answers to ``model_ids`` whatever file it runs. Its companion, loaded
    separately when it is first needed, answers to the ids of embedding models of Amazon and Cohere.

    ``threads`` defaults to the processors that this process may use, less one. ``context_tokens`` is shared by up to
    ``parallel`` answers at a time; further ones wait. Nothing is fetched or loaded before `start` or the first
    request, and then in a thread. ``engine`` is an engine to use instead of loading one; it is closed with the model.

    Raises InvalidRequestError for a number below 1.
    """

    model_ids: Sequence[str] = (MODEL_ID,)

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        context_tokens: int = 8192,
        parallel: int = 4,
        engine: Engine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        numbers = {"threads": threads, "context_tokens": context_tokens, "parallel": parallel}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise InvalidRequestError(f"{name} is {number}; it must be at least 1.", path=name)
        self._path = path
        self._threads = threads
        self._context_tokens = context_tokens
        self._parallel = parallel
        self._clock = clock
        self._engine: Loader[Engine] = Loader(self._load, engine)
        self.companions: Sequence[EmulatorModel] = (LocalEmbeddings(Loader(self._load_embeddings)),)

    async def start(self) -> None:
        """Fetch the weights, if need be, and load them; returns at once when that is done already.

        Raises WeightsError or EngineError; it can then be called again. Cancelling leaves the work going on in its
        thread, for the next caller; `aclose` stops it.
        """
        await self._engine.get()

    async def converse_stream(self, request: Mapping[str, JSONValue]) -> AsyncGenerator[WireEvent]:
        """Yield the events of ConverseStream. Closing the iterator stops the generation.

        Raises ServiceError: ValidationException for what the model cannot do, before the first event.
        """
        begun = self._clock()
        plan = read_request(request)
        engine = await self._engine.served()
        tool_use = await _tool_use(engine, plan) if plan.tools else None
        chat, started = tool_use or (plan.chat, None)
        last: _Answer | None = None
        blocks = 0
        async with aclosing(_answers(engine, chat, plan.stop_sequences)) as answers:
            async for answer in answers:
                if last is None:
                    yield {"messageStart": {"role": "assistant"}}
                    if started is not None:
                        blocks = 1
                        yield {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": started}}}
                last = answer
                if answer.text:
                    blocks = 1
                    # A text block has no start, as in the service's own streams.
                    delta: JSONValue = {"text": answer.text} if started is None else {"toolUse": {"input": answer.text}}
                    yield {"contentBlockDelta": {"contentBlockIndex": 0, "delta": delta}}
        if last is None or last.stop_reason is None:
            raise service_error("ModelStreamErrorException", "the local engine ended without a finish reason")
        if blocks:
            yield {"contentBlockStop": {"contentBlockIndex": 0}}
        called = started is not None and last.stop_reason == "end_turn"
        yield {"messageStop": {"stopReason": "tool_use" if called else last.stop_reason}}
        usage: dict[str, JSONValue] = {
            "inputTokens": last.input_tokens,
            "outputTokens": last.output_tokens,
            "totalTokens": last.input_tokens + last.output_tokens,
        }
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": self._milliseconds_since(begun)}}}

    async def count_tokens(self, request: Mapping[str, JSONValue]) -> int:
        """Return exactly the ``inputTokens`` that this Converse request would report. Raises ServiceError."""
        plan = read_request(request)
        engine = await self._engine.served()
        chat = (await _tool_use(engine, plan))[0] if plan.tools else plan.chat
        return await engine.count_tokens(chat.messages)

    async def invoke(self, body: bytes) -> bytes:
        """Answer a native body: OpenAI chat completions, the form of gpt-oss on Bedrock. Raises ServiceError."""
        request = native.read_body(body)
        engine = await self._engine.served()
        texts: list[str] = []
        last: _Answer | None = None
        async with aclosing(_answers(engine, request.chat, request.stop_sequences)) as answers:
            async for last in answers:
                texts.append(last.text)
        reason, usage = _ending(last)
        return native.completion(
            identity=_completion_id(),
            created=int(time.time()),
            model=self.model_ids[0],
            text="".join(texts),
            finish_reason=reason,
            usage=usage,
        )

    async def invoke_stream(self, body: bytes) -> AsyncGenerator[bytes]:
        """Yield ``chat.completion.chunk`` objects, the last with finish reason and usage. Raises ServiceError.

        Closing the iterator stops the generation.
        """
        begun = self._clock()
        request = native.read_body(body)
        engine = await self._engine.served()
        identity, created, model = _completion_id(), int(time.time()), self.model_ids[0]
        last: _Answer | None = None
        first_chunk_ms = 0
        async with aclosing(_answers(engine, request.chat, request.stop_sequences)) as answers:
            async for answer in answers:
                delta: dict[str, JSONValue] = {"content": answer.text}
                if last is None:
                    first_chunk_ms = self._milliseconds_since(begun)
                    delta["role"] = "assistant"
                if last is None or answer.text:
                    yield native.chunk(identity=identity, created=created, model=model, delta=delta)
                last = answer
        reason, usage = _ending(last)
        yield native.last_chunk(
            identity=identity,
            created=created,
            model=model,
            finish_reason=reason,
            usage=usage,
            latency_ms=self._milliseconds_since(begun),
            first_chunk_ms=first_chunk_ms,
        )

    async def aclose(self) -> None:
        """Stop fetching, loading and generating, and free the memory. Idempotent; the model cannot be used again."""
        for companion in self.companions:
            await companion.aclose()
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        """Return itself; nothing is loaded yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    def _milliseconds_since(self, begun: float) -> int:
        return round(1000 * (self._clock() - begun))

    def _file(self, stop: threading.Event) -> Path:
        named = self._path or os.environ.get(GGUF_VARIABLE)
        return gguf_file(named) if named else fetch_weights(stop=stop)

    def _load(self, stop: threading.Event) -> Engine:
        return LlamaEngine.load(
            self._file(stop), threads=self._threads, context_tokens=self._context_tokens, parallel=self._parallel
        )

    def _load_embeddings(self, stop: threading.Event) -> EmbeddingEngine:
        return EmbeddingEngine.load(self._file(stop), threads=self._threads)


async def _answers(engine: Engine, chat: ChatRequest, stop_sequences: Sequence[str]) -> AsyncGenerator[_Answer]:
    """Yield the answer piece by piece, without stop sequences; the last piece says how it ended."""
    stops = StopFilter(stop_sequences)
    async with aclosing(engine.chat(chat)) as pieces:
        async for piece in pieces:
            text = stops.feed(piece.text)
            reason: StopReason | None = None
            if piece.finish is not None:
                text += stops.flush()
                reason = _STOP_REASONS[piece.finish]
            if stops.matched is not None:
                reason = "stop_sequence"
                await pieces.aclose()
            if text or reason is not None:
                yield _Answer(
                    text=text,
                    input_tokens=piece.input_tokens,
                    output_tokens=piece.output_tokens,
                    stop_reason=reason,
                )
            if reason is not None:
                return


async def _tool_use(engine: Engine, plan: Plan) -> tuple[ChatRequest, dict[str, JSONValue]]:
    """Return the generation of a tool's input and the start of its block; one of several tools is chosen first."""
    tool = plan.tools[0]
    if len(plan.tools) > 1:
        async with aclosing(engine.chat(tool_choice_request(plan))) as pieces:
            tool = chosen_tool(plan, "".join([piece.text async for piece in pieces]))
    start: dict[str, JSONValue] = {"toolUseId": f"tooluse_{secrets.token_urlsafe(16)}", "name": tool.name}
    return tool_input_request(plan, tool), start


def _ending(last: _Answer | None) -> tuple[str, tuple[int, int]]:
    if last is None or last.stop_reason is None:
        raise service_error("ModelErrorException", "the local engine ended without a finish reason")
    return _FINISH_REASONS[last.stop_reason], (last.input_tokens, last.output_tokens)


def _completion_id() -> str:
    return f"chatcmpl-{secrets.token_hex(16)}"
