"""The tool loop: the model asks for tools, they are run, it reads the results, until it has an answer."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeAlias, cast

import anyio
import msgspec
from anyio import to_thread

from .errors import (
    BedrockError,
    InvalidRequestError,
    StreamError,
    ToolError,
    ToolFailedError,
    ToolInputError,
    ToolRoundsError,
    ToolTimeoutError,
)
from .events import Event
from .features.normalize import with_object_input
from .features.pipeline import checked_result
from .features.settings import Messages
from .features.tasks import check_positive
from .features.tool_results import error_block, result_block
from .features.tool_schema import Tool, ToolContext, check_limit_s
from .features.tools import ToolSet, forces_a_tool, tool_names
from .stream import ResponseStream, TextStream
from .types import (
    AutoToolChoice,
    ConverseRequest,
    ConverseResponse,
    Message,
    TextBlock,
    ToolChoice,
    ToolConfig,
    ToolResultBlock,
    ToolUseBlock,
)
from .usage import UsageTotals, usage_of

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = [
    "LoopOptions",
    "OnToolError",
    "ToolFinished",
    "ToolLoop",
    "ToolLoopResult",
    "ToolStarted",
    "ToolStep",
]

Ask: TypeAlias = Callable[
    ["str | ConverseRequest | None", "Messages | ConverseRequest | None", Mapping[str, Any]], ResponseStream
]
"""Makes the stream of one round: as `BedrockClient.stream`, but with the name of this verb in errors."""

OnToolError: TypeAlias = Literal["return", "raise"] | Callable[[ToolError], object]
"""What becomes of a tool that failed.

``"return"`` tells the model: the class and text of the exception, never a traceback. ``"raise"`` ends the loop with the
`ToolError`. A function, async or not, gets that error, with the exception as its ``__cause__``, and returns what the
model is told: a value that a tool may return; what it raises ends the loop.
"""

_MAX_TOLD: Final = 2_000
"""Characters of an error that the model is told; texts of exceptions may hold whole pages."""

# Blocked answers, and conversations that can only grow too long: nothing that such an answer asks for is run.
_OVER: Final = frozenset({"content_filtered", "guardrail_intervened", "model_context_window_exceeded", "refusal"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """The model asked for a tool, with input that fits, and it is going to be run."""

    type: ClassVar[Literal["tool_started"]] = "tool_started"
    tool_use: ToolUseBlock
    round: int
    """The number of the answer that asked for it, from 1 on."""

    @property
    def text(self) -> None:
        """None: not text by the model. Every step has it, so that ``step.text`` needs no check of the type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """A tool has ended, or could not be run: ``result`` is what the model is told, ``error`` why it failed.

    ``duration_s`` is how long it ran, in seconds; 0.0 where it was not run.
    """

    type: ClassVar[Literal["tool_finished"]] = "tool_finished"
    tool_use: ToolUseBlock
    round: int
    result: ToolResultBlock
    error: ToolError | None = None
    duration_s: float = 0.0

    @property
    def text(self) -> None:
        """None: not text by the model. Every step has it, so that ``step.text`` needs no check of the type."""


ToolStep: TypeAlias = Event | ToolStarted | ToolFinished
"""What the loop brings: the events of the model's answers, and what becomes of the tools. All have a ``type``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLoopResult:
    """What came of the loop.

    - ``messages``: all new ones, ready to be appended to the history: answers, results of tools, the last answer.
    - ``rounds``: the answers of the model; ``response`` is the last.
    - ``pending``: tools that the last answer asks for and that were not run: those declared without a function, and
      those of an answer that was blocked. The caller must supply their results next.
    """

    messages: tuple[Message, ...]
    rounds: tuple[ConverseResponse, ...]
    pending: tuple[ToolUseBlock, ...] = ()

    @property
    def response(self) -> ConverseResponse:
        """The last answer of the model."""
        return self.rounds[-1]

    @property
    def text(self) -> str:
        """The text of the last answer."""
        return self.response.text

    @property
    def stop_reason(self) -> str:
        """Why the model stopped in the end."""
        return self.response.stop_reason

    @property
    def usage(self) -> UsageTotals:
        """The tokens of all rounds, and their cost where it is known."""
        return usage_of(self.rounds)


class LoopOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the loop runs tools. Raises InvalidRequestError for impossible values."""

    max_rounds: int = 10
    max_concurrency: int = 8
    tool_timeout_s: float | None = None
    on_tool_error: OnToolError = "return"
    deps: Any = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        check_positive(max_rounds=self.max_rounds, max_concurrency=self.max_concurrency)
        check_limit_s("tool_timeout_s", self.tool_timeout_s)
        if self.on_tool_error not in ("return", "raise") and not callable(self.on_tool_error):
            raise InvalidRequestError(
                f"on_tool_error is {self.on_tool_error!r}.",
                path="on_tool_error",
                hint='Pass "return", "raise", or a function that gets the error.',
            )


class _Rounds:
    """What is asked in each round: the conversation so far, with the tools that there are."""

    def __init__(
        self,
        ask: Ask,
        model: str | ConverseRequest | None,
        messages: Messages | ConverseRequest | None,
        *,
        settings: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> None:
        """Read the tools. Raises InvalidRequestError when there are none."""
        ready = next((each for each in (model, messages) if isinstance(each, ConverseRequest)), None)
        tools = settings.get("tools")
        if settings.get("output_type") is not None:
            raise InvalidRequestError(
                "run_tools() does not support output_type.",
                path="output_type",
                hint="Run the tools, then client.parse(model, [*messages, *result.messages, question], "
                "output_type=...); or parse(..., tools=[...]), which raises OutputToolUseError for tools to be run.",
            )
        self._ask = ask
        self._model = model
        self._messages = messages
        self._ready = ready
        self._settings = {**settings, "accumulate": True}
        if ready is None:
            tools = defaults.get("tools") if tools is None else tools
        else:
            self._settings.pop("tools", None)  # they are the functions of what the request declares
        if tools is None:
            raise InvalidRequestError(
                "run_tools() has no tools.", path="tools", hint="Pass tools=[...]: functions, made tools with @tool."
            )
        read = ToolSet.of(tools)
        self.functions = read.functions
        self.declared = read.declared
        if ready is None:
            self._settings["tools"] = read.definitions
            choice = settings.get("tool_choice")
            choice = defaults.get("tool_choice") if choice is None else choice
            if choice is None and isinstance(tools, ToolConfig):
                choice = tools.tool_choice
            self._forced = forces_a_tool(choice)
        else:
            self.declared |= tool_names(ready.tool_config.tools if ready.tool_config is not None else ())

    def stream(self, new: Sequence[Message]) -> ResponseStream:
        """Return the stream of the next round, after the messages that the loop has added."""
        if self._ready is not None:
            request = self._ready
            model = None if self._model is request else self._model
            if new:
                request = request.model_copy(update=_asked_again(request, new))
            return self._ask(model or request, request if model else None, self._settings)
        if not new:
            return self._ask(self._model, self._messages, self._settings)
        settings = self._settings
        if self._forced:  # else the model could never say what it has found
            settings = {**settings, "tool_choice": "auto"}
        given = self._messages
        if isinstance(given, str):
            given = [Message(role="user", content=[TextBlock(text=given)])]
        return self._ask(self._model, [*cast("Sequence[Message]", given or ()), *new], settings)


def _asked_again(request: ConverseRequest, new: Sequence[Message]) -> dict[str, object]:
    changes: dict[str, object] = {"messages": [*(request.messages or ()), *new]}
    config = request.tool_config
    if config is not None and forces_a_tool(config.tool_choice):
        changes["tool_config"] = ToolConfig(tools=config.tools, tool_choice=ToolChoice(auto=AutoToolChoice()))
    return changes


class _Call(msgspec.Struct):
    """One tool that an answer asks for."""

    use: ToolUseBlock
    tool: Tool[..., Any] | None = None
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    finished: ToolFinished | None = None


class _Turn:
    """The tools of one answer, while they run."""

    def __init__(self, response: ConverseResponse, number: int) -> None:
        self.response = response
        self.number = number
        self.calls: list[_Call] = []
        self.scope = anyio.CancelScope()
        self.steps: list[ToolFinished] = []
        """Those that have not been handed out."""
        self.changed = anyio.Event()
        self.ended = anyio.Event()
        self.failure: BaseException | None = None
        self.begun = False

    def fail(self, failure: BaseException) -> None:
        """End the turn, and the loop with it."""
        self.failure = self.failure or failure
        self.scope.cancel()

    def finish(self, call: _Call, result: ToolResultBlock, error: ToolError | None, duration_s: float) -> None:
        """Note how a tool ended."""
        call.finished = ToolFinished(
            tool_use=call.use, round=self.number, result=result, error=error, duration_s=duration_s
        )
        self.steps.append(call.finished)
        self.changed.set()


class ToolLoop:
    """An async iterator over what the model says and what becomes of the tools that it asks for.

    ::

        async for step in client.run_tools(model, "What is the weather in Paris?", tools=[weather]):
            print(step.text or "", end="")

        result = await client.run_tools(model, "...", tools=[weather]).result()

        async with client.run_tools(model, "...", tools=[weather]) as run:
            async for step in run: ...
            result = await run.result()

    A round is one answer of the model, streamed. The tools that it asks for run concurrently, those that are not async
    in threads; their results go back together, in the order of the uses. Inside ``async with`` a tool's `ToolFinished`
    comes as soon as the tool has ended; otherwise those of a turn come once all have ended: nothing runs while nobody
    waits, so that ``break`` leaves nothing behind.

    Unknown tools are never run, nor is input that does not fit, was cut off or is not JSON: the model is told, unless
    ``on_tool_error`` says otherwise. A choice that forces a tool does so in the first round only.

    Leaving ``async with``, `aclose`, cancellation and errors close the stream and cancel the tools that run; a thread
    cannot be stopped, and its result is dropped. Errors while iterating are those of `ResponseStream`, and `ToolError`;
    after one the loop cannot be resumed, but `messages` has all complete turns. It can be iterated once.
    """

    def __init__(self, question: _Rounds, options: LoopOptions) -> None:
        self._question = question
        self._options = options
        self._messages: list[Message] = []
        self._rounds: list[ConverseResponse] = []
        self._ready: deque[ToolStep] = deque()
        self._stream: ResponseStream | None = question.stream(())
        self._turn: _Turn | None = None
        self._stack: AsyncExitStack | None = None
        self._group: TaskGroup | None = None
        self._result: ToolLoopResult | None = None
        self._done = False
        self._done_callbacks: list[Callable[[ToolLoopResult | None], object]] = []
        self._waiting = False

    def __repr__(self) -> str:
        done = ", done" if self._done else ""
        return f"ToolLoop({len(self._rounds)} rounds, {len(self._messages)} messages{done})"

    # -- what there is so far

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages added so far, complete turns only: appended to the history, they can be sent again."""
        return tuple(self._messages)

    @property
    def rounds(self) -> tuple[ConverseResponse, ...]:
        """The complete answers of the model so far."""
        return tuple(self._rounds)

    @property
    def usage(self) -> UsageTotals:
        """What the complete answers have used in total."""
        return usage_of(self._rounds)

    def add_done_callback(self, callback: Callable[[ToolLoopResult | None], object]) -> None:
        """Call ``callback`` once no step will be handed out any more, with the result when all of them were read.

        After an error, and when the loop is closed before its end, it gets None. If a loop is merely dropped, nothing
        is called.
        """
        if self._done:
            callback(self._result)
        else:
            self._done_callbacks.append(callback)

    # -- iteration

    def __aiter__(self) -> Self:
        """Return the loop itself."""
        return self

    async def __anext__(self) -> ToolStep:
        """Return the next step. Cancelling it ends the loop."""
        while not self._ready:
            await self._advance()
        return self._ready.popleft()

    @property
    def text_stream(self) -> TextStream:
        """The text deltas of all rounds, as an async iterator of str."""
        return TextStream(self)

    async def result(self) -> ToolLoopResult:
        """Run the rest of the loop and return what came of it.

        Raises as iterating does, and StreamError when the loop was closed or failed before its end.
        """
        try:
            while True:
                self._ready.clear()
                await self._advance()
        except StopAsyncIteration:
            if self._result is None:
                raise StreamError(
                    "the tool loop was closed before its end: there is no result.",
                    hint="Ask for it inside `async with`; run.messages has the turns that were complete.",
                ) from None
            return self._result

    # -- life

    async def __aenter__(self) -> Self:
        """Own the tools that will run; nothing is sent yet."""
        self._stack = AsyncExitStack()
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream, cancel the tools that run and wait for their end."""
        self.abort()
        stack, self._stack, self._group = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def aclose(self) -> None:
        """Close the stream, cancel the tools that run and wait for their end. Idempotent."""
        turn = self._turn
        self.abort()
        if turn is not None and turn.begun:
            await turn.ended.wait()

    def abort(self) -> None:
        """Do what `aclose` does without waiting, from synchronous code in the loop's thread."""
        self._ready.clear()
        stream, self._stream = self._stream, None
        turn, self._turn = self._turn, None
        if stream is not None:
            stream.abort()
        if turn is not None:
            turn.scope.cancel()
        self._finish(None)

    # -- inside

    def _finish(self, result: ToolLoopResult | None) -> None:
        """Call the callbacks: no step will be handed out any more. Idempotent."""
        if not self._done:
            self._done, self._result = True, result
            callbacks, self._done_callbacks = self._done_callbacks, []
            for callback in callbacks:
                callback(result)

    async def _advance(self) -> None:
        """Make some steps ready, maybe none. Raises StopAsyncIteration at the end."""
        if self._waiting:
            raise StreamError(
                "another task is already waiting for the next step of this loop.",
                hint="Let one task iterate and hand the steps on.",
            )
        self._waiting = True
        try:
            if self._turn is not None:
                await self._take_results(self._turn)
            elif self._stream is not None:
                await self._take_events(self._stream)
            else:
                self._finish(self._result)
                raise StopAsyncIteration
        except StopAsyncIteration:
            raise
        except BaseException as exc:
            if isinstance(exc, BedrockError):
                exc.rounds = self.rounds
            self.abort()
            raise
        finally:
            self._waiting = False

    async def _take_events(self, stream: ResponseStream) -> None:
        try:
            self._ready.extend(await stream.next_batch())
        except StopAsyncIteration:
            if self._stream is stream:  # else it was closed meanwhile
                await self._take_answer(await stream.get_final_response())

    async def _take_answer(self, response: ConverseResponse) -> None:
        """Begin a turn of tools, or end the loop."""
        self._stream = None
        self._rounds.append(response)
        uses = response.tool_uses
        mine = [use for use in uses if use.name in self._question.declared and use.name not in self._question.functions]
        if not uses or mine or response.stop_reason in _OVER:
            if response.message.content:
                self._messages.append(_sendable(response.message))
            self._result = ToolLoopResult(messages=self.messages, rounds=self.rounds, pending=tuple(uses))
            return
        if len(self._rounds) >= self._options.max_rounds:
            raise self._explained(
                ToolRoundsError(
                    f"the model still asks for tools after {len(self._rounds)} rounds "
                    f"({', '.join(sorted({use.name for use in uses}))}).",
                    tool_use=uses[0],
                    hint="Raise max_rounds, or continue from here with error.messages.",
                )
            )
        await self._begin(_Turn(response, len(self._rounds)), uses)

    async def _begin(self, turn: _Turn, uses: Sequence[ToolUseBlock]) -> None:
        broken = {id(use) for use in turn.response.broken_tool_uses}
        for use in uses:
            call = _Call(use)
            turn.calls.append(call)
            try:
                call.tool, call.arguments = self._read(use, turn.response, cut_off=id(use) in broken)
            except ToolError as exc:
                turn.finish(call, await self._told(use, exc), exc, 0.0)
        self._turn = turn
        self._ready.extend(
            ToolStarted(tool_use=call.use, round=turn.number) for call in turn.calls if call.tool is not None
        )
        if self._group is not None:
            turn.begun = True
            self._group.start_soon(self._run_turn, turn)

    def _read(
        self, use: ToolUseBlock, response: ConverseResponse, *, cut_off: bool
    ) -> tuple[Tool[..., Any], Mapping[str, Any]]:
        """Return the tool to call, and its arguments. Raises ToolInputError."""
        tool = self._question.functions.get(use.name)
        if tool is None:
            known = ", ".join(sorted({*self._question.functions, *self._question.declared}))
            raise ToolInputError(f"There is no tool {use.name!r}. The tools are: {known}.", tool_use=use)
        if cut_off:
            raise ToolInputError(
                f"The input of the tool {use.name!r} was cut off or is not a JSON object (stop reason "
                f"{response.stop_reason!r}), and the tool was not run. Call it again, with a shorter input.",
                tool_use=use,
                hint="Raise max_tokens." if response.stop_reason == "max_tokens" else None,
            )
        try:
            read = tool.read(use)
        except Exception as exc:
            said = _said(f"The input of the tool {use.name!r} cannot be read", exc)
            raise ToolInputError(said, tool_use=use) from exc
        if read.error is not None:
            raise ToolInputError(read.error, tool_use=use)
        arguments = dict(read.arguments)
        if tool.context_parameter is not None:
            arguments[tool.context_parameter] = ToolContext(
                tool_use=use,
                messages=(*self._messages, response.message),
                round=len(self._rounds),
                deps=self._options.deps,
            )
        return tool, arguments

    async def _told(self, use: ToolUseBlock, error: ToolError) -> ToolResultBlock:
        """Return what the model is told of a failure. Raises the error if ``on_tool_error`` says so."""
        handler = self._options.on_tool_error
        if handler == "raise":
            raise self._explained(error)
        told = error.message[:_MAX_TOLD] if isinstance(handler, str) else handler(error)
        if inspect.isawaitable(told):
            told = await told
        try:
            return error_block(use, told)
        except (TypeError, ValueError) as exc:
            said = _said(f"What on_tool_error returned for the tool {use.name!r} is not a result", exc)
            raise self._explained(ToolFailedError(said, tool_use=use)) from exc

    def _explained(self, error: ToolError) -> ToolError:
        error.messages, error.rounds = self.messages, self.rounds
        return error

    # -- running

    async def _take_results(self, turn: _Turn) -> None:
        if self._group is None:
            if not turn.ended.is_set():
                turn.begun = True
                await self._run_turn(turn)
        elif not turn.steps and not turn.ended.is_set():
            turn.changed = anyio.Event()
            await turn.changed.wait()
        if self._turn is not turn:  # closed meanwhile
            raise StopAsyncIteration
        if turn.failure is not None:
            raise turn.failure
        self._ready.extend(turn.steps)
        turn.steps.clear()
        if turn.ended.is_set():
            self._end_turn(turn)

    def _end_turn(self, turn: _Turn) -> None:
        results = [call.finished.result for call in turn.calls if call.finished is not None]
        self._messages += [_sendable(turn.response.message), Message(role="user", content=results)]
        self._turn = None
        self._stream = self._question.stream(self._messages)

    async def _run_turn(self, turn: _Turn) -> None:
        limiter = anyio.CapacityLimiter(self._options.max_concurrency)
        try:
            with turn.scope:
                async with anyio.create_task_group() as group:
                    for call in turn.calls:
                        if call.tool is not None:
                            group.start_soon(self._run_call, call, call.tool, turn, limiter)
        finally:
            turn.ended.set()
            turn.changed.set()

    async def _run_call(self, call: _Call, tool: Tool[..., Any], turn: _Turn, limiter: anyio.CapacityLimiter) -> None:
        async with limiter:
            started = self._options.clock()
            error: ToolError | None = None
            try:
                try:
                    result = await self._result_of(call, tool)
                except ToolError as exc:
                    error = exc
                    result = await self._told(call.use, exc)
            # Raised where the steps are read: out of the task group it would come as a group, and what ends the program
            # would end the event loop here.
            except (Exception, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001
                turn.fail(exc)
            else:
                turn.finish(call, result, error, self._options.clock() - started)

    async def _result_of(self, call: _Call, tool: Tool[..., Any]) -> ToolResultBlock:
        """Return the result of a tool. Raises ToolFailedError or ToolTimeoutError."""
        limit_s = self._options.tool_timeout_s if tool.timeout_s is None else tool.timeout_s
        try:
            with anyio.move_on_after(limit_s):
                return checked_result(result_block(call.use, await _called(tool, call.arguments)))
        except Exception as exc:
            raise ToolFailedError(_said(f"The tool {tool.name!r} failed", exc), tool_use=call.use) from exc
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled it: what it waited for was cancelled.
            raise ToolFailedError(f"The tool {tool.name!r} failed: it was cancelled.", tool_use=call.use) from exc
        raise ToolTimeoutError(
            f"The tool {tool.name!r} took longer than {limit_s:g} s.", limit_s=limit_s or 0.0, tool_use=call.use
        )


async def _called(tool: Tool[..., Any], arguments: Mapping[str, Any]) -> object:
    call = partial(tool.function, **arguments)
    value: object = call() if tool.is_async else await to_thread.run_sync(call, abandon_on_cancel=True)
    return await value if inspect.isawaitable(value) else value


def _said(what: str, exc: Exception) -> str:
    """Return a sentence with the class and the text of an exception: no traceback, no arguments."""
    text = str(exc).strip()
    return f"{what}: {type(exc).__name__}{f': {text}' if text else ''}"


def _sendable(message: Message) -> Message:
    """Return an answer as a history takes it: the input of a tool use is an object there, also one that was cut off."""
    if not any(isinstance(block, ToolUseBlock) and block.invalid_input for block in message.content):
        return message
    content = [with_object_input(block) if isinstance(block, ToolUseBlock) else block for block in message.content]
    return message.model_copy(update={"content": content})


def begin(
    ask: Ask,
    model: str | ConverseRequest | None,
    messages: Messages | ConverseRequest | None,
    *,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    options: LoopOptions,
) -> ToolLoop:
    """Return the loop for the arguments of `BedrockClient.run_tools`; wrong ones are refused here and now."""
    return ToolLoop(_Rounds(ask, model, messages, settings=settings, defaults=defaults), options)
