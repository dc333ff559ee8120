"""The inference engine: llama.cpp inside this process (xllamacpp), as asynchronous streams of text pieces.

The engine calls back once per token, in the thread that asked for the generation. Here that thread belongs to the
engine's own pool, and every piece crosses to the event loop with ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, TypedDict, cast

import anyio
import anyio.to_thread

from bedrock_async.errors import ServiceError, service_error
from bedrock_async.types import JSONValue

from .server import ChatServer, Members, Port, closed, refusal, start_server

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "ChatMessage",
    "ChatRequest",
    "Engine",
    "Finish",
    "Generation",
    "LlamaEngine",
    "Piece",
    "Pieces",
    "TokenBudget",
]

DEFAULT_MAX_TOKENS: Final = 1024
"""The limit if the caller sets none. A weak model can repeat itself until its window is full, which takes minutes."""

# Prompts are read in batches; between two of them the engine checks whether to stop, and lets other streams have
# their next token. Reading is as fast with 64 as with 512 (243 and 240 tokens/s on one thread).  [2026-11]
_BATCH_TOKENS: Final = 64
# A small model repeats itself unless it is penalised; of 1.0, 1.1 and 1.2 this answered most questions.
_REPEAT_PENALTY: Final = 1.1
# For output under a grammar: the plain penalty makes it miss digits and names from the prompt (5 of 14 copied), no
# penalty lets lists run on (7 of 10 ended); this copied 11 of 14 and ended 10 of 10.  [2026-11]
_STRUCTURED: Final[Mapping[str, JSONValue]] = {
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.2,
    "repeat_last_n": 256,
}
_CLOSE_S: Final = 10.0

Finish: TypeAlias = Literal["end", "max_tokens", "context"]
"""Why a generation ended by itself: the model was done, the limit was reached, or the context window is full."""


class ChatMessage(TypedDict):
    """One turn, as chat templates know it: role ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One generation. At most one of ``json_schema`` and ``grammar`` (GBNF) forces the form of the text."""

    messages: Sequence[ChatMessage]
    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    """0 is the default: with 0.2 and more this model answers far fewer questions right."""
    top_p: float | None = None
    json_schema: JSONValue = None
    grammar: str | None = None
    sampling: Mapping[str, JSONValue] = field(default_factory=dict[str, JSONValue])
    """Further sampling parameters, under the engine's names; they win over the defaults."""

    def body(self) -> dict[str, JSONValue]:
        """Return the request in the engine's own form (chat completions with its extensions)."""
        body: dict[str, JSONValue] = {
            "messages": [{"role": message["role"], "content": message["content"]} for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Exact counts with every token (a stop sequence ends the stream before its last chunk), and a call back
            # for every batch of the prompt (an answer can be given up before its first token).
            "timings_per_token": True,
            "return_progress": True,
        }
        if self.top_p is not None:
            body["top_p"] = self.top_p
        if self.json_schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": self.json_schema}}
        if self.grammar is not None:
            body["grammar"] = self.grammar
        free = self.json_schema is None and self.grammar is None
        body.update({"repeat_penalty": _REPEAT_PENALTY} if free else _STRUCTURED)
        body.update(self.sampling)
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some text, mostly of one token, and the counts so far. The last one carries ``finish``, and no text."""

    text: str
    input_tokens: int
    output_tokens: int
    finish: Finish | None = None


class Pieces(Protocol):
    """The pieces of one generation. Closing stops it."""

    def __aiter__(self) -> AsyncIterator[Piece]:
        """Return itself."""
        ...

    def __anext__(self) -> Awaitable[Piece]:
        """Return the next piece. Raises ServiceError when the engine refuses or fails."""
        ...

    def aclose(self) -> Awaitable[None]:
        """Stop the generation. Idempotent."""
        ...


class Engine(Protocol):
    """What `LocalModel` needs of an engine."""

    def chat(self, request: ChatRequest) -> Pieces:
        """Return the pieces of the answer; nothing happens before they are asked for."""
        ...

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how many tokens these messages are for the model, its chat template included."""
        ...

    async def aclose(self) -> None:
        """Stop everything and free the memory. Idempotent."""
        ...


class TokenBudget:
    """The context window shared by all answers in progress: each reserves its share first, in order of arrival.

    Without it the engine starts them all, and fails every one of them when the window is full. The engine's threads
    wait here.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def share(self, request: ChatRequest) -> int:
        """Return the most tokens that a request can take, its text and its answer."""
        # A token is at least one byte; the template adds a few around every message, and some once.
        most = sum(len(message["content"].encode()) + 16 for message in request.messages) + 64
        return min(self._total, most + request.max_tokens)

    def take(self, tokens: int, *, given_up: Callable[[], bool]) -> bool:
        """Block until the tokens are free; return False if ``given_up``, called again on `recheck`, says to stop."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: given_up() or (self._waiting[0] is ticket and tokens <= self._free))
            self._waiting.remove(ticket)
            taken = not given_up()
            if taken:
                self._free -= tokens
            self._changed.notify_all()  # the next in the queue may fit too
        return taken

    @property
    def waiting(self) -> int:
        """How many wait for their share."""
        return len(self._waiting)

    def give(self, tokens: int) -> None:
        """Put tokens back."""
        with self._changed:
            self._free += tokens
            self._changed.notify_all()

    def recheck(self) -> None:
        """Have all that wait call ``given_up`` again."""
        with self._changed:
            self._changed.notify_all()


class LlamaEngine:
    """One loaded model with ``parallel`` slots; further generations wait for a free one.

    ``load`` blocks; everything else is asynchronous.
    """

    def __init__(self, server: ChatServer, *, parallel: int, context_tokens: int, api_key: str) -> None:
        self.budget = TokenBudget(context_tokens)
        self._server: ChatServer | None = server
        self._port = Port(server.listening_address, api_key)
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="bedrock-async-local")
        self._open: set[Generation] = set()
        self._closed = False

    @classmethod
    def load(
        cls, path: Path, *, threads: int | None = None, context_tokens: int = 8192, parallel: int = 4
    ) -> LlamaEngine:
        """Load the GGUF file at ``path``. Takes about a second; run it in a thread. Raises EngineError."""

        def adjust(params: Any, xllamacpp: Any) -> None:  # noqa: ANN401 - the package ships no types
            params.n_parallel = parallel
            params.n_batch = params.n_ubatch = max(_BATCH_TOKENS, parallel)
            # A model's reasoning stays in its text; by default the engine would take it out of the answer.
            params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE

        server, api_key = start_server(path, threads=threads, context_tokens=context_tokens, adjust=adjust)
        return cls(server, parallel=parallel, context_tokens=context_tokens, api_key=api_key)

    @property
    def address(self) -> str:
        """The URL of the engine's loopback port, which needs the key."""
        return self._port.address

    @property
    def generations(self) -> Sequence[Generation]:
        """The generations that the engine's threads have not left yet, waiting ones included."""
        return tuple(self._open)

    def chat(self, request: ChatRequest) -> Generation:
        """Return the pieces of the answer; nothing happens before they are asked for."""
        return Generation(self, request)

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return exactly the input tokens that a generation from these messages would report.

        Raises ServiceError. Cancelling abandons the count.
        """
        return await anyio.to_thread.run_sync(self._count, list(messages), abandon_on_cancel=True)

    async def busy_slots(self) -> list[int]:
        """Return, for each slot that is at work, how many tokens it has generated so far."""
        slots = await anyio.to_thread.run_sync(self._call, "GET", "/slots", None, abandon_on_cancel=True)
        busy = [slot for slot in cast("list[Members]", slots) if slot["is_processing"]]
        return [slot["next_token"][0]["n_decoded"] for slot in busy]

    async def aclose(self) -> None:
        """Stop all generations, wait for that (at most 10 s), and free the memory. Idempotent."""
        self._closed = True
        for generation in tuple(self._open):
            generation.stop()
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await anyio.to_thread.run_sync(self._free, abandon_on_cancel=True)

    def submit(self, generation: Generation, run: Callable[[ChatServer], None]) -> Future[None]:
        """Run this generation when a slot is free. Raises ServiceError after `aclose`."""
        if self._closed or self._server is None:
            raise closed()
        self._open.add(generation)
        return self._pool.submit(run, self._server)

    def forget(self, generation: Generation) -> None:
        """Drop a generation that the engine has finished with."""
        self._open.discard(generation)

    def _free(self) -> None:
        self._pool.shutdown(wait=True)
        self._server = None

    def _count(self, messages: list[ChatMessage]) -> int:
        templated = cast("Members", self._call("POST", "/apply-template", {"messages": messages}))
        # As the engine itself reads a chat.
        return len(self._port.tokens(templated["prompt"]))

    def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> object:
        """Ask the engine's loopback port. Raises ServiceError."""
        if self._closed:
            raise closed()
        return self._port.call(method, path, body)


class Generation:
    """The pieces of one answer, as an asynchronous iterator. The request goes to the engine at the first piece.

    Cancelling ``__anext__`` loses nothing: the engine goes on, and the pieces wait. ``aclose`` stops the engine.
    """

    def __init__(self, engine: LlamaEngine, request: ChatRequest) -> None:
        self._engine = engine
        self._request = request
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: Future[None] | None = None
        self._share = 0
        self._chunks: deque[Members] = deque()
        self._arrived = asyncio.Event()
        self._over = False
        self._failure: ServiceError | None = None
        self._finish: Finish | None = None
        # Written by the loop's thread, read by the engine's.
        self._stopped = False

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Piece:
        """Return the next piece. Raises ServiceError when the engine refuses the request or fails."""
        if self._work is None and not self._over:
            self._start()
        while True:
            while self._chunks:
                if (piece := self._read(self._chunks.popleft())) is not None:
                    return piece
            if self._over:
                if (failure := self._failure) is not None:
                    self._failure = None
                    raise failure
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()

    async def aclose(self) -> None:
        """Tell the engine to stop and return at once; it stops at its next token or batch of the prompt. Idempotent."""
        self.stop()

    def stop(self) -> None:
        """Do what `aclose` does; for code that cannot await."""
        self._stopped = self._over = True
        self._chunks.clear()
        self._failure = None
        self._engine.budget.recheck()
        self._arrived.set()

    async def wait_stopped(self) -> None:
        """Return when the engine's thread has left this generation. Cancelling changes nothing for the engine."""
        if self._work is not None:
            await asyncio.shield(asyncio.wrap_future(self._work))

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._share = self._engine.budget.share(self._request)
        self._work = self._engine.submit(self, self._run)

    # ---- in the engine's thread

    def _run(self, server: ChatServer) -> None:
        budget = self._engine.budget
        share = self._share
        if budget.take(share, given_up=lambda: self._stopped):
            try:
                failure = self._generate(server)
            finally:
                budget.give(share)
            self._tell(self._end, failure)
        self._engine.forget(self)

    def _generate(self, server: ChatServer) -> ServiceError | None:
        failure: ServiceError | None = None
        try:
            server.handle_chat_completions(self._request.body(), self._on_chunk)
        except ValueError as exc:  # how the engine refuses a request
            failure = service_error("ValidationException", _reason(exc))
            failure.__cause__ = exc
        except Exception as exc:  # noqa: BLE001 - whatever it is, the loop must hear of it, or it waits for ever
            # The engine's message can quote the prompt, so it stays in the cause.
            failure = service_error("ModelErrorException", f"the local engine failed ({type(exc).__name__})")
            failure.__cause__ = exc
        return failure

    def _on_chunk(self, chunk: Members) -> bool:
        """Hand a chunk over; return True to stop. Never raises: the engine would stop silently."""
        if not self._stopped:
            self._tell(self._receive, chunk)
        return self._stopped

    def _tell(self, receiver: Callable[[Any], None], what: object) -> None:
        try:
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(receiver, what)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._stopped = True

    # ---- in the loop's thread

    def _receive(self, chunk: Members) -> None:
        if not self._over:
            self._chunks.append(chunk)
            self._arrived.set()

    def _end(self, failure: ServiceError | None) -> None:
        if not self._over:
            self._over = True
            self._failure = failure
            self._arrived.set()

    def _read(self, chunk: Members) -> Piece | None:
        """Return what a chunk says, or None when it says nothing. Raises ServiceError."""
        if "error" in chunk:
            raise refusal(chunk)
        # What comes: progress of the prompt, the role, one chunk per token, the finish reason, and then the usage.
        if (usage := chunk.get("usage")) is not None:
            return Piece(
                text="",
                input_tokens=usage["prompt_tokens"],
                output_tokens=usage["completion_tokens"],
                finish=self._finished(usage["completion_tokens"]),
            )
        choice: Members = chunk["choices"][0]
        if (reason := choice.get("finish_reason")) is not None:
            self._finish = "end" if reason == "stop" else "max_tokens"
        timings: Members | None = chunk.get("timings")
        text: str | None = choice["delta"].get("content")
        if not text or timings is None:
            return None
        return Piece(
            text=text,
            input_tokens=timings["cache_n"] + timings["prompt_n"],
            output_tokens=timings["predicted_n"],
        )

    def _finished(self, output_tokens: int) -> Finish:
        if self._finish == "max_tokens" and output_tokens < self._request.max_tokens:
            return "context"
        return self._finish or "end"


def _reason(exc: ValueError) -> str:
    """Return the engine's reason without the details of its internals."""
    return str(exc).rpartition("Automatic parser generation failed: ")[2]
