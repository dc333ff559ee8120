"""A conversation that keeps its own history."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

from ._error import a_kind
from .errors import InvalidRequestError, OutputToolUseError
from .features.guardrails import redacted_answer, redacted_messages
from .features.history import (
    TurnContent,
    check_may_ask,
    check_tool_pairs,
    given_turn,
    messages_of,
    open_tool_uses,
    tool_results,
    with_answer,
    without_output_tool,
)
from .features.saved_conversation import SavedConversation
from .features.settings import CallSettings, Messages, UntypedSettings
from .features.structured import OutputMode, OutputType
from .outputs import Output, OutputStream
from .types import ConverseRequest, ConverseResponse, Message, ResponseMeta, TokenCount, TokenUsage, ToolUseBlock
from .usage import NO_USAGE, UsageTotals, usage_of_calls

if TYPE_CHECKING:
    from .bound_model import BoundModel
    from .stream import ResponseStream
    from .tool_loop import OnToolError, ToolLoop, ToolLoopResult

T = TypeVar("T")


class Conversation:
    """A conversation with a model: the client's verbs for what is said next, sent with everything said before.

    ::

        chat = client.conversation("us.anthropic.claude-sonnet-4-6", system="Be brief.")
        reply = await chat.converse("What is the capital of France?")
        async for text in chat.stream("And of Italy?").text_stream: ...

    A call that succeeds adds what was said and the answer to `messages`, unchanged, with reasoning and its signatures,
    tool uses, cache points and unknown members. A call that raises or is cancelled adds nothing, and neither does a
    stream that was not read to its end: the same can then be said again. An answer without content is not added, for it
    could not be sent again.

    After an answer that asks for tools, their results must come next, all of them: `tool_results` makes that message,
    and `run_tools` does everything. What a guardrail blocked is replaced in the history, as its `GuardrailSettings`
    say.

    One call at a time: a second one, also while a stream is open, raises InvalidRequestError. `fork` makes another
    conversation with the same history. Nothing needs to be closed.
    """

    def __init__(self, model: BoundModel, messages: Messages = ()) -> None:
        """Begin with these messages. Raises InvalidRequestError, also for tool uses without results."""
        if not hasattr(model, "client"):
            raise InvalidRequestError(
                f"model is {a_kind(model)}, not a client's model.",
                path="model",
                hint="Pass client.model(...).",
            )
        self._model = model
        self._messages = messages_of(given_turn(messages)) if messages else ()
        check_tool_pairs(self._messages)
        self._usage = NO_USAGE
        self._unpriced: list[tuple[TokenUsage, ResponseMeta]] = []
        self._more: Mapping[str, Any] = MappingProxyType({})
        self._busy: str | None = None
        self._open: weakref.ref[ResponseStream | ToolLoop] | None = None

    def __repr__(self) -> str:
        return f"Conversation({self._model.id!r}, {len(self._messages)} messages)"

    # -- what there is

    @property
    def model(self) -> BoundModel:
        """The model and the settings of the conversation; `BoundModel.update_config` changes them for the next call."""
        return self._model

    @property
    def messages(self) -> list[Message]:
        """The history, as a copy."""
        return list(self._messages)

    @property
    def open_tool_uses(self) -> list[ToolUseBlock]:
        """The tool uses of the last answer, whose results must come next."""
        return open_tool_uses(self._messages)

    @property
    def usage(self) -> UsageTotals:
        """What the calls of this conversation have used in total, including those before it was saved and loaded.

        Calls that failed or were given up do not count. The share that came from the cache is ``usage.cache_hit_rate``.
        """
        unpriced, self._unpriced = self._unpriced, []
        if unpriced:
            self._usage += usage_of_calls(unpriced)
        return self._usage

    # -- verbs

    async def converse(self, content: TurnContent | None = None, **settings: Unpack[CallSettings]) -> ConverseResponse:
        """Say something, and return the whole answer.

        ``content`` is text, one block or several, a message or several; dicts are boto3-shaped. Without it the model
        answers what the history ends with. Raises and is cancelled as `BedrockClient.converse` is, and then adds
        nothing.
        """
        if self._setting("output_type", settings) is not None:
            raise InvalidRequestError(
                "converse() does not parse the output, which a conversation needs in order to keep the answer.",
                path="output_type",
                hint="Use parse(), or stream().",
            )
        with self._alone("converse"):
            given, said = self._turn(content)
            reply = await self._model.converse([*self._messages, *given], **settings)
            self._add(said, [reply.message], [reply], settings)
        return reply

    @overload
    def stream(
        self,
        content: TurnContent | None = None,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[T]: ...

    @overload
    def stream(
        self,
        content: TurnContent | None = None,
        *,
        output_type: Mapping[str, Any],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[Any]: ...

    @overload
    def stream(self, content: TurnContent | None = None, **settings: Unpack[CallSettings]) -> ResponseStream: ...

    def stream(self, content: TurnContent | None = None, **settings: Any) -> ResponseStream:
        """Say something, and return the stream of the answer; arguments are those of `converse`.

        What was said and the answer are added when the stream has been read to its end; an output is added whether it
        is valid or not. A stream that fails, is closed or is given up before that adds nothing; its error has what had
        arrived, ``partial_response``.
        """
        if settings.get("accumulate") is False:
            raise InvalidRequestError(
                "a conversation keeps the answer, but with accumulate=False the stream does not.",
                path="accumulate",
                hint="Leave it out, or pass chat.messages to client.stream().",
            )
        with self._alone("stream"):
            given, said = self._turn(content)
            keeping: dict[str, Any] = {**settings, "accumulate": True}
            stream: ResponseStream = self._model.stream([*self._messages, *given], **keeping)
            self._open = weakref.ref(stream)

        def done(stream: ResponseStream) -> None:
            self._open = None
            if stream.read_to_end:
                reply = stream.response_so_far.with_meta(stream.meta)
                tool = stream.tool if isinstance(stream, OutputStream) else None
                answer = without_output_tool(reply.message, tool)
                self._add(said, [answer], [reply], settings)

        stream.add_done_callback(done)
        return stream

    @overload
    async def parse(
        self,
        content: TurnContent | None = None,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[T]: ...

    @overload
    async def parse(
        self,
        content: TurnContent | None = None,
        *,
        output_type: object,
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[Any]: ...

    async def parse(
        self,
        content: TurnContent | None = None,
        *,
        output_type: object,
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[Any]:
        """Say something, and return the answer as a value of a type, as `BedrockClient.parse` does.

        What was said and the last answer are added, not the rounds of repair. Where the model gave the output to a tool
        that it was made to call, its JSON is added as text, because the next call does not have that tool.

        OutputToolUseError is the only error that adds the turn: the results of the tools come next, as in ``await
        chat.parse(chat.tool_results(...), output_type=...)``.
        """
        with self._alone("parse"):
            given, said = self._turn(content)
            try:
                output = await self._model.parse(
                    [*self._messages, *given],
                    output_type=output_type,
                    output_mode=output_mode,
                    max_repairs=max_repairs,
                    **settings,
                )
            except OutputToolUseError as exc:
                self._add(said, [exc.response.message], exc.rounds, settings)
                raise
            answer = without_output_tool(output.response.message, output.tool)
            self._add(said, [answer], output.rounds, settings)
        return output

    def run_tools(
        self,
        content: TurnContent | None = None,
        *,
        max_rounds: int = 10,
        max_concurrency: int = 8,
        tool_timeout_s: float | None = None,
        on_tool_error: OnToolError = "return",
        deps: object = None,
        **settings: Unpack[UntypedSettings],
    ) -> ToolLoop:
        """Say something, and return the loop that runs the tools asked for; see `BedrockClient.run_tools`.

        All its turns are added when it has been read to its end: answers, results of tools, the last answer. A loop
        that fails or is closed before that adds nothing.
        """
        with self._alone("run_tools"):
            given, said = self._turn(content)
            loop = self._model.run_tools(
                [*self._messages, *given],
                max_rounds=max_rounds,
                max_concurrency=max_concurrency,
                tool_timeout_s=tool_timeout_s,
                on_tool_error=on_tool_error,
                deps=deps,
                **settings,
            )
            self._open = weakref.ref(loop)

        def done(result: ToolLoopResult | None) -> None:
            self._open = None
            if result is not None:
                self._add(said, result.messages, result.rounds, cast("Mapping[str, Any]", settings))

        loop.add_done_callback(done)
        return loop

    def prepare(self, content: TurnContent | None = None, **settings: Unpack[CallSettings]) -> ConverseRequest:
        """Return the request that `converse` and `stream` would send for these arguments; nothing is sent or added."""
        given, _ = self._turn(content)
        return self._model.prepare([*self._messages, *given], **settings)

    async def count_tokens(self, content: TurnContent | None = None, **settings: Unpack[CallSettings]) -> TokenCount:
        """Return how many input tokens it would take to say this, the history included; nothing is said or added."""
        given, _ = self._turn(content)
        return await self._model.count_tokens([*self._messages, *given], **settings)

    def tool_results(self, results: Mapping[str, object]) -> Message:
        """Return the message with the results of the tools that the last answer asks for, to be said next.

        ::

            await chat.converse(chat.tool_results({use.tool_use_id: "18 degrees" for use in reply.tool_uses}))

        Keys are ids of tool uses, or names of tools that were asked for only once. Values are anything that a tool may
        return (text, content blocks, JSON values, a `ToolResult`), or an exception, which tells the model that the tool
        failed. Raises InvalidRequestError for results that are missing or that nobody asked for.
        """
        return tool_results(self.open_tool_uses, results)

    # -- copies

    def fork(self, *, model: BoundModel | None = None) -> Conversation:
        """Return another conversation with the same history and usage; from then on the two are independent.

        Its model is the same object, with the same settings, unless another one is given.
        """
        other = Conversation(self._model if model is None else model)
        other._messages, other._usage, other._more = self._messages, self.usage, self._more
        return other

    def to_json(self) -> str:
        """Return history and usage as JSON: exact, blobs in base64, with a version.

        Settings are not part of it: they belong to the program. Raises InvalidRequestError for what JSON cannot hold.
        """
        return SavedConversation(self._messages, self.usage, self._model.id, self._more).to_json()

    @classmethod
    def from_json(cls, saved: str | bytes, model: BoundModel) -> Self:
        """Return the conversation that `to_json` gave, to be continued with ``model``.

        Raises InvalidRequestError for anything else, and for a version that is not known.
        """
        read = SavedConversation.from_json(saved)
        conversation = cls(model, read.messages)
        conversation._usage, conversation._more = read.usage, read.more
        return conversation

    # -- inside

    def _turn(self, content: TurnContent | None) -> tuple[Sequence[Any], tuple[Message, ...]]:
        """Return what is said next, both as it was given and as messages. Raises InvalidRequestError."""
        given: Sequence[Any] = () if content is None else given_turn(content)
        said = messages_of(given) if given else ()
        check_may_ask([*self._messages, *said], said)
        return given, said

    @contextmanager
    def _alone(self, verb: str) -> Generator[None]:
        """Keep other calls of this conversation from beginning. Raises InvalidRequestError when one is under way."""
        if self._busy is not None or (self._open is not None and self._open() is not None):
            raise InvalidRequestError(
                f"{verb}() was called while {self._busy or 'a stream'} of the same conversation is under way: "
                "each turn follows the one before it.",
                hint="Await the call, read the stream to its end or close it first; or chat.fork() for another branch.",
            )
        self._busy = f"{verb}()"
        try:
            yield
        finally:
            self._busy = None

    def _add(
        self,
        said: Sequence[Message],
        answers: Sequence[Message],
        replies: Sequence[ConverseResponse],
        settings: Mapping[str, Any],
    ) -> None:
        """Add a turn to the history, without what a guardrail blocked. The last reply is the one that counts."""
        history = [*self._messages, *said]
        for answer in answers:
            history = with_answer(history, answer) if answer.role == "assistant" else [*history, answer]
        reply = replies[-1]
        if reply.guardrail is not None and reply.guardrail.intervened:
            guardrail = self._setting("guardrail", settings)
            answered = bool(history) and history[-1].role == "assistant"
            last = [redacted_answer(history.pop(), reply, guardrail)] if answered else []
            history = [*redacted_messages(history, reply, guardrail), *last]
        self._messages = tuple(history)
        self._unpriced += [(each.usage, each.meta) for each in replies]

    def _setting(self, name: str, settings: Mapping[str, Any]) -> object:
        """Return the value of a setting: the call's, else the model's, else the client's."""
        for each in (settings, self._model.config, self._model.client.config):
            if (value := each.get(name)) is not None:
                return value
        return None
