from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from bedrock_async_local.engine import (
    ChatMessage,
    ChatRequest,
    Generation,
    LlamaEngine,
    Piece,
    TokenBudget,
)
from bedrock_async_local.server import default_threads

from bedrock_async.errors import InputTooLongError, ModelError, ServiceUnavailableError, ValidationError
from bedrock_async.types import JSONValue

Chunk = dict[str, Any]
Callback = Callable[[Chunk], bool]


def token(text: str, number: int, *, prompt: int = 7) -> Chunk:
    """A chunk of one token, in the engine's form."""
    timings = {"cache_n": prompt - 2, "prompt_n": 2, "predicted_n": number}
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], "timings": timings}


def finish(reason: str) -> Chunk:
    """The chunk that says why the text ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def usage(output: int, *, prompt: int = 7) -> Chunk:
    """The last chunk."""
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": output}}


PROGRESS: Chunk = {
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}],
    "timings": {"cache_n": 0, "prompt_n": 0, "predicted_n": 0},
    "prompt_progress": {"total": 7, "processed": 0},
}
HELLO = [PROGRESS, token("Hel", 1), token("lo", 2), finish("stop"), usage(3)]


class FakeServer:
    """Runs a program in place of the engine's native server: it gets the request and the callback."""

    listening_address = "http://127.0.0.1:1"

    def __init__(self, program: Callable[[Chunk, Callback], None]) -> None:
        self._program = program

    def handle_chat_completions(self, prompt: dict[str, JSONValue], callback: Callback) -> None:
        self._program(prompt, callback)


def says(*chunks: Chunk) -> Callable[[Chunk, Callback], None]:
    """A program that hands these chunks over until it is told to stop."""

    def program(_: Chunk, callback: Callback) -> None:
        for chunk in chunks:
            if callback(chunk):
                return

    return program


def engine_of(
    program: Callable[[Chunk, Callback], None], *, parallel: int = 1, context_tokens: int = 1000
) -> LlamaEngine:
    """An engine over a fake server that runs this program."""
    return LlamaEngine(FakeServer(program), parallel=parallel, context_tokens=context_tokens, api_key="key")


def request(text: str = "Hello?", *, max_tokens: int = 10) -> ChatRequest:
    """A request of one user message."""
    return ChatRequest(messages=[ChatMessage(role="user", content=text)], max_tokens=max_tokens)


async def until(condition: Callable[[], bool]) -> None:
    """Let the engine's threads go on until they have come this far: they have nothing to wait for."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def pieces(generation: Generation) -> list[Piece]:
    """All that is left of a generation."""
    return [piece async for piece in generation]


async def test_chunks_become_pieces_with_their_counts() -> None:
    """Every token is a piece with the counts so far; the last piece says why it ended; progress says nothing."""
    engine = engine_of(says(*HELLO))
    assert await pieces(engine.chat(request())) == [
        Piece(text="Hel", input_tokens=7, output_tokens=1),
        Piece(text="lo", input_tokens=7, output_tokens=2),
        Piece(text="", input_tokens=7, output_tokens=3, finish="end"),
    ]
    await engine.aclose()


@pytest.mark.parametrize(("reason", "output", "expected"), [("length", 10, "max_tokens"), ("length", 9, "context")])
async def test_a_full_window_is_told_from_the_limit(reason: str, output: int, expected: str) -> None:
    """The engine says "length" for both; fewer tokens than allowed means that the window is full."""
    engine = engine_of(says(token("x", output), finish(reason), usage(output)))
    assert [piece.finish for piece in await pieces(engine.chat(request(max_tokens=10)))] == [None, expected]
    await engine.aclose()


async def test_refusals_and_failures_become_errors_of_the_tree() -> None:
    """What the engine refuses is a ValidationError; what breaks in it is a ModelError, without the engine's words."""

    def refuses(_: Chunk, __: Callback) -> None:
        raise ValueError("Unable to generate. Automatic parser generation failed: unrecognized type nope")

    def breaks(_: Chunk, __: Callback) -> None:
        raise RuntimeError('parse error: last read: "my secret prompt"')

    too_long = {"code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}
    cases: list[tuple[Callable[[Chunk, Callback], None], type[Exception], str]] = [
        (refuses, ValidationError, ": unrecognized type nope"),
        (breaks, ModelError, "RuntimeError"),
        (says({"error": too_long}), InputTooLongError, "9000 tokens, and the context window 8192"),
        (says({"error": {"code": 400, "type": "x", "message": "no role"}}), ValidationError, "no role"),
        (says(token("x", 1), {"error": {"code": 500, "type": "server_error"}}), ModelError, "code 500"),
    ]
    for program, error, words in cases:
        engine = engine_of(program)
        with pytest.raises(error, match=words) as caught:
            await pieces(engine.chat(request()))
        assert "secret" not in str(caught.value)
        await engine.aclose()


async def test_closing_stops_the_engine_at_its_next_token() -> None:
    """After aclose the callback tells the engine to stop, nothing more comes out, and closing again does no harm."""
    calls: list[bool] = []
    closed = threading.Event()

    def program(_: Chunk, callback: Callback) -> None:
        calls.append(callback(token("a", 1)))
        closed.wait(30)
        calls.append(callback(token("b", 2)))

    engine = engine_of(program)
    generation = engine.chat(request())
    assert (await anext(generation)).text == "a"
    await generation.aclose()
    await generation.aclose()
    closed.set()
    await generation.wait_stopped()
    assert calls[1:] == [True]
    assert await pieces(generation) == []
    await engine.aclose()


async def test_a_generation_that_waits_for_a_slot_never_starts_once_closed() -> None:
    """With one slot at work the second generation waits; closed while it waits, the engine never hears of it."""
    heard: list[str] = []
    go_on = threading.Event()

    def program(prompt: Chunk, callback: Callback) -> None:
        heard.append(prompt["messages"][0]["content"])
        callback(token("a", 1))
        go_on.wait(30)

    engine = engine_of(program, parallel=1)
    first, second = engine.chat(request("first")), engine.chat(request("second"))
    await anext(first)
    waiting = asyncio.ensure_future(anext(second, None))
    await asyncio.sleep(0)
    await second.aclose()
    assert await waiting is None
    go_on.set()
    await first.wait_stopped()
    await second.wait_stopped()
    await engine.aclose()
    assert heard == ["first"]


async def test_a_cancelled_wait_for_a_piece_loses_nothing() -> None:
    """Cancelling __anext__ leaves the piece for the next call."""
    go_on = threading.Event()

    def program(_: Chunk, callback: Callback) -> None:
        go_on.wait(30)
        says(*HELLO)({}, callback)

    engine = engine_of(program)
    generation = engine.chat(request())
    waiting = asyncio.ensure_future(anext(generation))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    assert [piece.text for piece in await pieces(generation)] == ["Hel", "lo", ""]
    await engine.aclose()


def test_a_loop_that_is_gone_stops_the_engine() -> None:
    """The callback never raises, which would end the engine's work silently: a closed loop makes it say stop."""
    answers: list[bool] = []
    first, gone, done = threading.Event(), threading.Event(), threading.Event()

    def program(_: Chunk, callback: Callback) -> None:
        answers.append(callback(token("a", 1)))
        first.set()
        gone.wait(30)
        answers.append(callback(token("b", 2)))
        done.set()

    engine = engine_of(program)

    async def leave() -> None:
        await anext(engine.chat(request()))

    asyncio.run(leave())
    gone.set()
    assert done.wait(30)
    assert answers == [False, True]
    asyncio.run(engine.aclose())


async def test_closing_the_engine_stops_all_and_refuses_what_comes_after() -> None:
    """aclose stops what runs and waits for it; afterwards every use is a ServiceUnavailableError."""
    told = threading.Event()

    def program(_: Chunk, callback: Callback) -> None:
        number = 0
        while not callback(token("a", number := number + 1)):
            pass
        told.set()

    engine = engine_of(program)
    running = engine.chat(request())
    await anext(running)
    await engine.aclose()
    await engine.aclose()
    assert told.is_set()
    assert await pieces(running) == []
    with pytest.raises(ServiceUnavailableError):
        await pieces(engine.chat(request()))
    with pytest.raises(ServiceUnavailableError):
        await engine.count_tokens([])


async def test_answers_that_do_not_fit_together_wait_for_each_other() -> None:
    """The window is shared: what does not fit beside the others starts when they are done, and is not failed."""
    running: list[str] = []
    go_on = threading.Event()

    def program(prompt: Chunk, callback: Callback) -> None:
        running.append(prompt["messages"][0]["content"])
        callback(token("a", 1))
        go_on.wait(30)
        says(finish("stop"), usage(1))({}, callback)

    engine = engine_of(program, parallel=4, context_tokens=1000)
    small, large = engine.chat(request("small", max_tokens=100)), engine.chat(request("large", max_tokens=5000))
    await anext(small)
    waiting = asyncio.ensure_future(pieces(large))
    await until(lambda: engine.budget.waiting == 1)
    assert running == ["small"]
    go_on.set()
    assert [piece.finish for piece in await waiting][-1] == "end"
    assert running == ["small", "large"]
    await engine.aclose()


async def test_a_generation_closed_while_it_waits_for_its_share_lets_others_pass() -> None:
    """Closed while it waits, it never runs, and what stands behind it goes on."""
    running: list[str] = []
    go_on = threading.Event()

    def program(prompt: Chunk, callback: Callback) -> None:
        running.append(prompt["messages"][0]["content"])
        callback(token("a", 1))
        go_on.wait(30)

    engine = engine_of(program, parallel=4, context_tokens=1000)
    first, large, small = (engine.chat(request(text, max_tokens=size)) for text, size in SIZES)
    await anext(first)
    waiting = asyncio.ensure_future(anext(large, None))
    await until(lambda: engine.budget.waiting == 1)
    behind = asyncio.ensure_future(anext(small))
    await until(lambda: engine.budget.waiting == 2)
    assert running == ["first"]
    await large.aclose()
    assert await waiting is None
    assert (await behind).text == "a"
    assert running == ["first", "small"]
    go_on.set()
    await engine.aclose()


SIZES = [("first", 100), ("large", 5000), ("small", 100)]


def test_shares_are_granted_in_the_order_of_asking() -> None:
    """A large one is not overtaken forever by small ones that would fit."""
    budget = TokenBudget(10)
    order: list[str] = []
    assert budget.take(5, given_up=lambda: False)

    def take(name: str, tokens: int) -> None:
        assert budget.take(tokens, given_up=lambda: False)
        order.append(name)
        budget.give(tokens)

    threads = [threading.Thread(target=take, args=args) for args in (("large", 10), ("small", 1))]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while budget.waiting < number:
            pass
    budget.give(5)
    for thread in threads:
        thread.join()
    assert order == ["large", "small"]


def test_the_body_holds_the_defaults_that_were_measured() -> None:
    """Temperature 0 and penalty 1.1 for text, the structured penalties under a grammar; the caller's word wins."""
    body = request().body()
    assert (body["temperature"], body["repeat_penalty"], body["max_tokens"]) == (0.0, 1.1, 10)
    assert "top_p" not in body
    schema = ChatRequest(
        messages=[], json_schema={"type": "object"}, top_p=0.5, sampling={"repeat_penalty": 1.3}
    ).body()
    assert schema["response_format"] == {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    assert (schema["repeat_penalty"], schema["frequency_penalty"], schema["top_p"]) == (1.3, 0.2, 0.5)
    assert ChatRequest(messages=[], grammar="root ::= x").body()["grammar"] == "root ::= x"


def test_one_processor_is_left_free() -> None:
    """The default is one thread less than there are processors, and at least one."""
    assert default_threads() >= 1


class Port:
    """A loopback port in place of the engine's own."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, object, str | None]] = []
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                port.asked.append((self.path, body, self.headers["authorization"]))
                status, answer = port.answers[self.path]
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """A port that is open while the test runs."""
    port = Port()
    thread = threading.Thread(target=port.server.serve_forever)
    thread.start()
    yield port
    await asyncio.to_thread(port.server.shutdown)
    thread.join()
    port.server.server_close()


async def test_tokens_are_counted_after_the_template_and_with_the_key(port: Port) -> None:
    """The messages go through the chat template, its text through the tokenizer, each with the secret key."""
    port.answers = {
        "/apply-template": (200, b'{"prompt": "<user>Hello?"}'),
        "/tokenize": (200, b'{"tokens": [5, 6, 7]}'),
    }
    server = FakeServer(says())
    server.listening_address = f"http://127.0.0.1:{port.server.server_port}"
    engine = LlamaEngine(server, parallel=1, context_tokens=100, api_key="secret-key")
    assert await engine.count_tokens(request().messages) == 3
    assert port.asked == [
        ("/apply-template", {"messages": [{"role": "user", "content": "Hello?"}]}, "Bearer secret-key"),
        (
            "/tokenize",
            {"content": "<user>Hello?", "add_special": True, "parse_special": True},
            "Bearer secret-key",
        ),
    ]
    port.answers = {"/apply-template": (400, b'{"error": {"code": 400, "type": "x", "message": "no such role"}}')}
    with pytest.raises(ValidationError, match="no such role"):
        await engine.count_tokens(request().messages)
    port.answers = {"/apply-template": (200, b"not JSON")}
    with pytest.raises(Exception, match="did not answer /apply-template"):
        await engine.count_tokens(request().messages)
    await engine.aclose()
