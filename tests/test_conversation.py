"""Conversations: what their history is after each kind of call, and that nothing of it is lost."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON_VALUES, bodies

from bedrock_async import (
    BedrockClient,
    BedrockError,
    CitationsBlock,
    Conversation,
    Credentials,
    InvalidRequestError,
    Message,
    OutputToolUseError,
    ReasoningBlock,
    StreamTruncatedError,
    TextBlock,
    ThrottlingError,
    ToolUseBlock,
)
from bedrock_async.errors import service_error
from bedrock_async.events import ConverseEventDecoder
from bedrock_async.folding import fold
from bedrock_async.testing import stream_bytes, text_events, tool_use_events
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import WireRequest, WireResponse
from bedrock_async.types import ConverseRequest, ConverseResponse

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}


def answer(*content: dict[str, Any], **members: Any) -> CannedResponse:  # noqa: ANN401 - JSON
    """Return an answer of Converse with these blocks."""
    usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    message = {"role": "assistant", "content": list(content)}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, **members}
    return CannedResponse([json.dumps(body).encode()])


def text(said: str) -> CannedResponse:
    """Return an answer of one text."""
    return answer({"text": said})


class Announcing(CannedTransport):
    """Says when the first request has come."""

    def __init__(self, answers: Any) -> None:  # noqa: ANN401 - as the transport
        super().__init__(answers)
        self.asked = asyncio.Event()

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Note the request, and answer it."""
        self.asked.set()
        return await super().send(request, connect_timeout_s=connect_timeout_s)


def talking(*answers: Any, **settings: Any) -> tuple[Conversation, Announcing]:  # noqa: ANN401 - as the client
    """Return a conversation whose answers are these, and the transport that sees its requests."""
    transport = Announcing(answers)
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)
    return client.conversation(MODEL, **settings), transport


def sent(transport: CannedTransport, index: int = -1) -> dict[str, Any]:
    """Return the body of a request."""
    body: dict[str, Any] = json.loads(transport.requests[index].body)
    return body


def wire(chat: Conversation) -> list[Any]:
    """Return the history as JSON."""
    return [message.to_wire() for message in chat.messages]


def user(*texts: str) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": [{"text": said} for said in texts]}


def assistant(*texts: str) -> dict[str, Any]:
    """Return a message of the model."""
    return {"role": "assistant", "content": [{"text": said} for said in texts]}


# -- growing


async def test_each_call_sends_everything_before_it() -> None:
    """The history grows by the turn and its answer, whole or streamed, and goes out in front of the next turn."""
    chat, transport = talking(
        text("Paris."), CannedResponse.stream(text_events("Rome.")), text("You asked."), system="S"
    )
    await chat.converse("Capital of France?")
    async for _ in chat.stream("Of Italy?"):
        pass
    assert wire(chat) == [
        user("Capital of France?"),
        assistant("Paris."),
        user("Of Italy?"),
        assistant("Rome."),
    ]
    before = wire(chat)
    await chat.converse("Why?")
    assert sent(transport)["messages"] == [*before, user("Why?")]
    assert sent(transport)["system"] == [{"text": "S"}]
    assert wire(chat)[-1] == assistant("You asked.")


@pytest.mark.parametrize(
    "content",
    [
        "Hi.",
        {"text": "Hi."},
        TextBlock(text="Hi."),
        ["Hi."],
        [{"text": "Hi."}],
        [TextBlock(text="Hi.")],
        {"role": "user", "content": [{"text": "Hi."}]},
        Message(role="user", content=[TextBlock(text="Hi.")]),
        [{"role": "user", "content": [{"text": "Hi."}]}],
        (Message(role="user", content=[TextBlock(text="Hi.")]),),
    ],
)
async def test_a_turn_is_text_blocks_or_messages(content: Any) -> None:  # noqa: ANN401 - all forms
    """All forms of the same turn make the same history, and the same request."""
    chat, transport = talking(text("Hello."))
    await chat.converse(content)
    assert sent(transport)["messages"] == [user("Hi.")]
    assert wire(chat) == [user("Hi."), assistant("Hello.")]


async def test_several_messages_are_one_turn() -> None:
    """Examples of a talk may come with the question; what the assistant is made to begin with, it goes on with."""
    chat, transport = talking(text("blue"), text(" and green"))
    await chat.converse([user("red?"), assistant("green"), user("orange?")])
    assert wire(chat) == [user("red?"), assistant("green"), user("orange?"), assistant("blue")]
    await chat.converse([user("yellow?"), assistant("violet")])
    assert sent(transport)["messages"][-1] == assistant("violet")
    assert wire(chat)[-2:] == [user("yellow?"), assistant("violet", " and green")]


async def test_a_history_that_ends_with_the_user_is_answered_without_a_turn() -> None:
    """As it is after loading; without anybody's turn there is nothing to ask."""
    chat, transport = talking(text("Hello."))
    begun = Conversation(chat.model, [user("Hi.")])
    await begun.converse()
    assert sent(transport)["messages"] == [user("Hi.")]
    assert wire(begun) == [user("Hi."), assistant("Hello.")]
    with pytest.raises(InvalidRequestError, match="the history ends with an answer, and the turn is empty"):
        await begun.converse()
    with pytest.raises(InvalidRequestError, match="the history is empty, and the turn is empty"):
        await chat.converse()


async def test_an_answer_without_content_is_not_added() -> None:
    """It could not be sent again; the turn stays, for it was answered."""
    chat, _ = talking(answer())
    await chat.converse("Hi.")
    assert wire(chat) == [user("Hi.")]
    assert chat.usage.calls == 1


async def test_what_came_is_kept_as_it_came() -> None:
    """Reasoning with its signature, redacted reasoning, cache points and members that nobody knows."""
    content: list[dict[str, Any]] = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "AAEC"}},
        {"newBlock": {"a": [1, None]}},
        {"text": "Hello.", "newMember": 1},
    ]
    chat, transport = talking(answer(*content), text("Bye."))
    turn = {"role": "user", "content": [{"text": "Hi."}, {"cachePoint": {"type": "default"}}]}
    await chat.converse(turn, normalize=False)
    assert wire(chat) == [turn, {"role": "assistant", "content": content}]
    await chat.converse("And?", normalize=False)
    assert sent(transport)["messages"][:2] == [turn, {"role": "assistant", "content": content}]


# -- failing


@pytest.mark.parametrize("verb", ["converse", "stream", "parse", "run_tools"])
async def test_a_call_that_fails_adds_nothing(verb: str) -> None:
    """Whatever the error, the history is as it was, and the same can be said again."""
    refused = service_error("ValidationException", "no")
    chat, _ = talking(text("Hello."), refused, text("Hello."))
    await chat.converse("Hi.")
    before, usage = wire(chat), chat.usage
    with pytest.raises(type(refused)):
        await call(chat, verb)
    assert (wire(chat), chat.usage) == (before, usage)
    await chat.converse("And?")
    assert wire(chat) == [*before, user("And?"), assistant("Hello.")]


def call(chat: Conversation, verb: str) -> Any:  # noqa: ANN401 - of each verb
    """Return the awaitable of a call."""
    if verb == "stream":
        return chat.stream("And?").get_final_response()
    if verb == "parse":
        return chat.parse("And?", output_type={"type": "object"})
    if verb == "run_tools":
        return chat.run_tools("And?", tools=[lucky_number]).result()
    return chat.converse("And?")


def lucky_number(of: str) -> str:
    """Tell the lucky number of a person."""
    return f"{of}: 7"


async def test_a_cancelled_call_adds_nothing() -> None:
    """Cancelled while it waits for the answer; the next call goes on from the same history."""
    never = asyncio.Event()
    chat, transport = talking(never, text("Hello."))
    waiting = asyncio.ensure_future(chat.converse("Hi."))
    await transport.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    never.set()
    assert chat.messages == []
    await chat.converse("Hi again.")
    assert wire(chat) == [user("Hi again."), assistant("Hello.")]


async def test_a_stream_that_breaks_adds_nothing() -> None:
    """Half an answer is no turn; the error has what had arrived."""
    whole = stream_bytes(text_events("one two three"))
    half = stream_bytes(text_events("one two three")[:3])
    chat, _ = talking(*(CannedResponse([data], headers=STREAM) for data in (half, whole)))
    with pytest.raises(StreamTruncatedError) as caught:
        await chat.stream("Count.").get_final_response()
    partial = caught.value.partial_response
    assert partial is not None
    assert partial.text == "one two"
    assert chat.messages == []
    await chat.stream("Count.").get_final_response()
    assert wire(chat) == [user("Count."), assistant("one two three")]


async def test_a_stream_with_an_error_inside_adds_nothing() -> None:
    """Throttled after the first events: as any other error."""
    from bedrock_async.testing import exception_frame

    data = stream_bytes(text_events("one two")[:2]) + exception_frame("throttlingException", "Slow down.")
    chat, _ = talking(CannedResponse([data], headers=STREAM))
    with pytest.raises(ThrottlingError):
        await chat.stream("Count.").get_final_response()
    assert chat.messages == []


@pytest.mark.parametrize("how", ["break", "close", "leave", "forget", "never begun"])
async def test_a_stream_that_is_given_up_adds_nothing(how: str) -> None:
    """Also when all of it had arrived: what was not read is not said. The conversation is free for the next call."""
    chat, _ = talking(CannedResponse.stream(text_events("one two")), text("Hello."))
    if how == "break":
        async for _event in chat.stream("Count."):
            break
    elif how == "close":
        stream = chat.stream("Count.")
        await anext(stream)
        await stream.aclose()
    elif how == "leave":
        async with chat.stream("Count."):
            pass
    elif how == "forget":
        stream = chat.stream("Count.")
        await anext(stream)
        del stream
    else:
        chat.stream("Count.")
    gc.collect()
    assert chat.messages == []
    if how != "never begun":
        await chat.converse("Hi.")
        assert wire(chat) == [user("Hi."), assistant("Hello.")]


async def test_a_stream_that_is_replayed_grows_the_history_at_its_end() -> None:
    """``streaming=False``: not before the last event was read, though all had arrived at once."""
    chat, _ = talking(text("Hello."), streaming=False)
    stream = chat.stream("Hi.")
    last = [await anext(stream) for _ in range(5)][-1]
    assert last.type == "metadata"
    assert chat.messages == []
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert wire(chat) == [user("Hi."), assistant("Hello.")]


HOW: Final = ("answered", "streamed", "replayed", "refused", "broken", "left", "forked")


@given(st.lists(st.sampled_from(HOW), max_size=8))
def test_the_history_is_the_turns_that_succeeded(how: list[str]) -> None:
    """Whatever happens in whatever order, each request holds exactly those before it, and the turn."""
    asyncio.run(talk(how))


def answered(how: str) -> Any:  # noqa: ANN401 - as the transport
    """Return what the service says to a call that goes this way."""
    data = stream_bytes(text_events("yes"))
    if how == "refused":
        return service_error("ValidationException", "no")
    if how in {"answered", "replayed"}:
        return text("yes")
    return CannedResponse([data[:-20] if how == "broken" else data], headers=STREAM)


async def talk(how: list[str]) -> None:
    """Say something for each way in which a call can go, and hold the history to what is expected."""
    chat, transport = talking(*(answered(each) for each in how))
    expected: list[Any] = []
    for number, each in enumerate(how):
        turn = f"turn {number}"
        if each in {"answered", "refused"}:
            with suppress(BedrockError):
                await chat.converse(turn)
        elif each == "left":
            async with chat.stream(turn) as stream:
                await anext(stream)
        else:
            chat = chat.fork() if each == "forked" else chat
            with suppress(BedrockError):
                await chat.stream(turn, streaming=False if each == "replayed" else None).get_final_response()
        assert sent(transport)["messages"] == [*expected, user(turn)]
        expected += [] if each in {"refused", "broken", "left"} else [user(turn), assistant("yes")]
        assert wire(chat) == expected
    assert chat.usage.calls == len(expected) // 2


# -- one at a time


async def test_a_second_call_at_the_same_time_is_refused() -> None:
    """Each turn follows the one before it; the first call is not disturbed."""
    answered = asyncio.Event()
    chat, transport = talking(answered, text("Hello."))
    first = asyncio.ensure_future(chat.converse("Hi."))
    await transport.asked.wait()
    for verb in ("converse", "stream", "parse", "run_tools"):
        with pytest.raises(InvalidRequestError, match=r"while converse\(\) of the same conversation is under way"):
            await call(chat, verb)
    answered.set()
    await first
    assert wire(chat) == [user("Hi."), assistant("Hello.")]
    assert len(transport.requests) == 1


async def test_a_call_while_a_stream_is_open_is_refused() -> None:
    """Until it is read to its end or closed; looking at what would be sent is not a call."""
    chat, transport = talking(CannedResponse.stream(text_events("one two")), text("Hello."))
    async with chat.stream("Count.") as stream:
        await anext(stream)
        with pytest.raises(InvalidRequestError, match="while a stream of the same conversation is under way"):
            await chat.converse("Hi.")
        assert chat.prepare("Hi.").messages == [Message(role="user", content=[TextBlock(text="Hi.")])]
        await stream.get_final_response()
        await chat.converse("Hi.")
    assert wire(chat) == [user("Count."), assistant("one two"), user("Hi."), assistant("Hello.")]
    assert len(transport.requests) == 2


async def test_a_stream_that_forgets_is_refused() -> None:
    """A conversation needs the answer."""
    chat, transport = talking(text("Hello."))
    with pytest.raises(InvalidRequestError, match="accumulate=False"):
        chat.stream("Hi.", accumulate=False)
    chat.model.update_config(accumulate=False)
    assert not chat.stream("Hi.").read_to_end
    assert not transport.requests


# -- tools

USE: Final = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}}
TWICE: Final = {"toolUse": {"toolUseId": "t2", "name": "weather", "input": {"city": "Rome"}}}
TOOLS: Final = [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]


async def test_the_results_of_tools_come_next() -> None:
    """After an answer that asks for tools nothing else can be said; the results are made from plain values."""
    chat, transport = talking(answer(USE, TWICE), text("Warm."), tools=TOOLS)
    reply = await chat.converse("Weather?")
    assert (
        [use.tool_use_id for use in chat.open_tool_uses] == [use.tool_use_id for use in reply.tool_uses] == ["t1", "t2"]
    )
    for wrong in ("Never mind.", None, [user("Never mind.")]):
        with pytest.raises(
            InvalidRequestError, match=r"2 tool uses without a result after it: weather \(t1\), weather"
        ):
            await chat.converse(wrong)
    results = chat.tool_results({"t2": ValueError("no such city"), "t1": {"degrees": 18}})
    await chat.converse(results)
    assert sent(transport)["messages"][-1]["content"] == [
        {"toolResult": {"toolUseId": "t1", "content": [{"json": {"degrees": 18}}]}},
        {
            "toolResult": {
                "toolUseId": "t2",
                "content": [{"text": "ValueError: no such city"}],
                "status": "error",
            }
        },
    ]
    assert [message["role"] for message in wire(chat)] == ["user", "assistant", "user", "assistant"]
    assert chat.open_tool_uses == []


async def test_results_are_named_by_id_or_by_a_tool_that_was_asked_once() -> None:
    """A missing result, one that nobody asked for and a name that stands for two are refused."""
    chat, _ = talking(answer(USE), answer(USE, TWICE), tools=TOOLS)
    await chat.converse("Weather?")
    assert chat.tool_results({"weather": "18"}) == chat.tool_results({"t1": "18"})
    await chat.converse(chat.tool_results({"weather": "18"}))
    with pytest.raises(InvalidRequestError, match="'weather' was asked for 2 times"):
        chat.tool_results({"weather": "18"})
    with pytest.raises(InvalidRequestError, match=r"the results of t2 \(weather\) are missing"):
        chat.tool_results({"t1": "18"})
    with pytest.raises(InvalidRequestError, match=r"the result of weather \(t1\) is invalid: JSON cannot represent"):
        chat.tool_results({"t1": object(), "t2": ""})
    fresh, _ = talking(text("Hi."))
    with pytest.raises(InvalidRequestError, match="asked for no tool"):
        fresh.tool_results({})


DANGLING: Final[list[Any]] = [
    ([user("a"), {"role": "assistant", "content": [USE]}, user("b")], r"messages\[1\] has 1 tool use without"),
    (
        [user("a"), {"role": "assistant", "content": [USE]}, assistant("b")],
        r"messages\[1\] has 1 tool use without",
    ),
    (
        [{"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": []}}]}],
        r"messages\[0\]\.content\[0\] is the result of 't1', which the answer before it did not ask for",
    ),
    ("Hi.", None),
]


@pytest.mark.parametrize(("messages", "message"), DANGLING)
def test_a_history_with_dangling_tools_is_refused(messages: Any, message: str | None) -> None:  # noqa: ANN401
    """When a conversation begins with it and when it is loaded, not by the service later."""
    chat, _ = talking(text("Hi."))
    if message is None:
        assert len(Conversation(chat.model, messages).messages) == 1
        return
    saved = json.dumps({"version": 1, "messages": messages})
    with pytest.raises(InvalidRequestError, match=message):
        Conversation(chat.model, messages)
    with pytest.raises(InvalidRequestError, match=message):
        Conversation.from_json(saved, chat.model)


async def test_what_the_service_runs_itself_needs_no_result() -> None:
    """Server-side tools have theirs in the same answer."""
    server = {"toolUse": {**USE["toolUse"], "type": "server_tool_use"}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": "18"}]}}
    chat, _ = talking(answer(server, result, {"text": "18 degrees."}), text("Yes."))
    await chat.converse("Weather?")
    await chat.converse("Sure?")
    assert len(chat.messages) == 4


async def test_the_loop_of_tools_adds_all_of_its_turns() -> None:
    """The question, each answer with its tool uses, their results, the last answer; and what all of it used."""
    asked = CannedResponse.stream(tool_use_events("lucky_number", {"of": "Ada"}, tool_use_id="t1"))
    chat, transport = talking(asked, CannedResponse.stream(text_events("It is 7.")), text("Bye."))
    result = await chat.run_tools("Ada's lucky number?", tools=[lucky_number]).result()
    assert result.text == "It is 7."
    assert [message["role"] for message in wire(chat)] == ["user", "assistant", "user", "assistant"]
    assert wire(chat)[2]["content"][0]["toolResult"]["content"] == [{"text": "Ada: 7"}]
    assert chat.usage.calls == 2
    await chat.converse("Thanks.", tools=[lucky_number])
    assert sent(transport)["messages"] == wire(chat)[:-1]


async def test_a_tool_may_change_the_settings_of_its_conversation() -> None:
    """From the next turn on: the loop that runs it is one call, and keeps what it began with."""
    asked = CannedResponse.stream(tool_use_events("calm_down", {}, tool_use_id="t1"))
    chat, transport = talking(asked, CannedResponse.stream(text_events("Calm.")), text("Yes."), temperature=0.7)

    def calm_down() -> str:
        """Answer more calmly."""
        chat.model.update_config(temperature=0.1, model="us.amazon.nova-lite-v1:0")
        return "done"

    await chat.run_tools("Be calm.", tools=[calm_down]).result()
    await chat.converse("Are you?", tools=[calm_down])
    assert [sent(transport, index)["inferenceConfig"]["temperature"] for index in range(3)] == [0.7, 0.7, 0.1]
    assert ["nova" in request.url for request in transport.requests] == [False, False, True]


async def test_a_loop_that_is_given_up_adds_nothing() -> None:
    """Half of the turns could not be sent again without the others; the conversation is free for the next call."""
    asked = CannedResponse.stream(tool_use_events("lucky_number", {"of": "Ada"}, tool_use_id="t1"))
    chat, _ = talking(asked, text("Hello."))
    async with chat.run_tools("Ada's lucky number?", tools=[lucky_number]) as run:
        async for step in run:
            if step.type == "tool_finished":
                break
        with pytest.raises(InvalidRequestError, match="the same conversation is under way"):
            await chat.converse("Hi.")
    assert chat.messages == []
    await chat.converse("Hi.")
    assert wire(chat) == [user("Hi."), assistant("Hello.")]


async def test_a_blank_turn_is_refused() -> None:
    """The service takes no blank text; without it the model would go on with its own last answer."""
    chat, transport = talking(text("Hello."))
    await chat.converse("Hi.")
    for blank in ("", " ", [" ", ""], {"role": "user", "content": [{"text": "\n"}]}):
        with pytest.raises(InvalidRequestError, match="blank") as caught:
            await chat.converse(blank)
        assert caught.value.path == "content"
    assert len(chat.messages) == 2
    assert len(transport.requests) == 1


async def test_text_that_utf_8_cannot_encode_is_saved_and_loaded() -> None:
    """A name of a file may have a lone surrogate: the history can be loaded, with U+FFFD in its place."""
    chat, _ = talking(text("Fine."))
    await chat.converse("report-\ud800.pdf \U0001f600")
    loaded = Conversation.from_json(chat.to_json(), chat.model)
    assert wire(loaded) == [user("report-\ufffd.pdf \U0001f600"), assistant("Fine.")]


def test_what_json_cannot_hold_is_refused_when_it_is_saved() -> None:
    """As when it is sent: with an error of the tree."""
    held = {"toolUse": {"toolUseId": "t", "name": "n", "input": {"data": b"\xff"}}}
    chat, _ = talking(
        messages=[{"role": "user", "content": [{"text": "Hi."}]}, {"role": "assistant", "content": [held]}]
    )
    with pytest.raises(InvalidRequestError, match="a value that JSON cannot represent"):
        chat.to_json()


def test_a_conversation_is_with_a_model_of_a_client() -> None:
    """An id is none, and the error says what is."""
    chat, _ = talking()
    wrong: Any
    for wrong in (MODEL, None, chat.model.client):
        with pytest.raises(InvalidRequestError, match=r"client\.model") as caught:
            Conversation.from_json(chat.to_json(), wrong)
        assert caught.value.path == "model"
    wrong = MODEL
    with pytest.raises(InvalidRequestError, match=r"client\.model"):
        chat.fork(model=wrong)


# -- outputs


async def test_an_output_by_a_tool_is_text_in_the_history() -> None:
    """The tool that the model was made to call is not there in the next call; rounds of repair are not said."""
    use = {"toolUse": {"toolUseId": "o1", "name": "city", "input": {"name": "Paris"}}}
    wrong = {"toolUse": {"toolUseId": "o0", "name": "city", "input": {"nam": "Paris"}}}
    chat, transport = talking(answer(wrong), answer(use), text("Bye."))
    schema = {"title": "city", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    output = await chat.parse("Capital of France?", output_type=schema, output_mode="tool")
    assert output.value == {"name": "Paris"}
    assert wire(chat) == [user("Capital of France?"), assistant('{"name": "Paris"}')]
    assert chat.usage.calls == 2
    await chat.converse("Thanks.")
    assert sent(transport)["messages"] == [*wire(chat)[:2], user("Thanks.")]


async def test_a_stream_of_an_output_is_added_as_an_output_is() -> None:
    """By a tool or in words: the history holds text that can be sent again."""
    events = tool_use_events("city", {"name": "Paris"}, tool_use_id="o1")
    chat, _ = talking(CannedResponse.stream(events))
    stream = chat.stream("Capital?", output_type={"title": "city", "type": "object"}, output_mode="tool")
    assert await stream.get_final_output() == {"name": "Paris"}
    assert wire(chat) == [user("Capital?"), assistant('{"name": "Paris"}')]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (["18"], "results is a list"),
        (None, "results is a NoneType"),
        (
            {"weather": "18"},
            "'weather' was asked for 2 times. Name its results by their ids. Open: t1 (weather), t2 (weather).",
        ),
        (
            {"t1": "18", "t2": {"status": "error", "content": [{"image": {"format": "png"}}]}},
            "the result of weather (t2)",
        ),
    ],
)
async def test_results_that_cannot_be_are_refused(results: Any, said: str) -> None:  # noqa: ANN401
    """What was given, and what to give instead."""
    uses: list[dict[str, Any]] = [
        {"toolUse": {"name": "weather", "toolUseId": use, "input": {}}} for use in ("t1", "t2")
    ]
    chat, _ = talking(answer(*uses), tools=TOOLS)
    await chat.converse("Weather?")
    with pytest.raises(InvalidRequestError) as caught:
        chat.tool_results(results)
    assert said in str(caught.value)
    assert (caught.value.path or "").startswith("results")


@pytest.mark.parametrize("order", [1, -1])
async def test_an_output_with_another_tool_beside_it_leaves_no_tool_open(order: int) -> None:
    """The answer is the output, whatever else it asks for: the same for a stream and for a whole answer."""
    city, weather = ("city", "o1", {"name": "Zürich"}), ("weather", "t1", {"city": "Bern"})
    uses = [{"toolUse": {"name": name, "toolUseId": use, "input": value}} for name, use, value in (city, weather)]
    schema = {"title": "city", "type": "object"}
    events: list[Any] = [{"messageStart": {"role": "assistant"}}]
    for index, (name, use, value) in enumerate((city, weather)[::order]):
        start = {"toolUse": {"name": name, "toolUseId": use}}
        delta = {"toolUse": {"input": json.dumps(value)}}
        events += [
            {"contentBlockStart": {"contentBlockIndex": index, "start": start}},
            {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}},
            {"contentBlockStop": {"contentBlockIndex": index}},
        ]
    events += [{"messageStop": {"stopReason": "tool_use"}}, {"metadata": {"usage": {}, "metrics": {}}}]
    chat, _ = talking(CannedResponse.stream(events), answer(*uses[::order]), text("Bye."), tools=TOOLS)
    streamed = await chat.stream("Capital?", output_type=schema, output_mode="tool").get_final_output()
    parsed = await chat.parse("Capital?", output_type=schema, output_mode="tool")
    assert streamed == parsed.value == {"name": "Zürich"}
    assert parsed.tool == "city"
    assert wire(chat)[1] == wire(chat)[3] == assistant('{"name": "Zürich"}')  # as the model wrote it
    assert (await chat.converse("Thanks.")).text == "Bye."


async def test_a_tool_that_is_asked_for_in_the_place_of_an_output_stays() -> None:
    """The caller's own tool is to be run first; its result comes next."""
    events = tool_use_events("weather", {"city": "Paris"}, tool_use_id="t1")
    chat, transport = talking(CannedResponse.stream(events), answer({"text": '{"degrees": 18}'}), tools=TOOLS)
    schema = {"title": "city", "type": "object"}
    with pytest.raises(OutputToolUseError):
        await chat.stream("Weather?", output_type=schema, output_mode="tool").get_final_output()
    assert [use.name for use in chat.open_tool_uses] == ["weather"]
    output = await chat.parse(chat.tool_results({"weather": "18"}), output_type=schema, output_mode="prompt")
    assert output.value == {"degrees": 18}
    assert [message["role"] for message in sent(transport)["messages"]] == ["user", "assistant", "user"]
    assert wire(chat)[-1] == assistant('{"degrees": 18}')


async def test_a_tool_that_is_wanted_before_the_output_is_answered_next() -> None:
    """`parse` keeps the answer that asks for it, as the stream does: nothing has to be put together by hand."""
    use = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}}
    chat, transport = talking(answer(use), answer({"text": '{"degrees": 18}'}), tools=TOOLS)
    schema = {"title": "city", "type": "object"}
    with pytest.raises(OutputToolUseError):
        await chat.parse("Weather?", output_type=schema)
    assert [each.name for each in chat.open_tool_uses] == ["weather"]
    output = await chat.parse(chat.tool_results({"weather": "18"}), output_type=schema)
    assert output.value == {"degrees": 18}
    assert [message["role"] for message in sent(transport)["messages"]] == ["user", "assistant", "user"]
    assert chat.usage.calls == 2


async def test_an_output_that_nobody_reads_is_refused() -> None:
    """`converse` would leave a tool use behind that has no result."""
    chat, _ = talking(text("Hi."))
    with pytest.raises(InvalidRequestError, match="converse") as caught:
        await chat.converse("Hi.", output_type=dict)
    assert caught.value.path == "output_type"


# -- guardrails


def intervened(**trace: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the members of an answer that a guardrail made."""
    blocked = {"topicPolicy": {"topics": [{"name": "Stocks", "type": "DENY", "action": "BLOCKED"}]}}
    assessed = {side: ({"g": blocked} if side == "inputAssessment" else {"g": [blocked]}) for side in trace}
    return {"stopReason": "guardrail_intervened", "trace": {"guardrail": assessed} if trace else {}}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("side", "settings", "said", "answered"),
    [
        ("inputAssessment", {}, "[User input redacted.]", "Blocked."),
        ("inputAssessment", {"redact_output": True}, "[User input redacted.]", "[Assistant output redacted.]"),
        ("inputAssessment", {"redact_input": False}, "Stocks?", "Blocked."),
        ("inputAssessment", {"redact_input_message": "Gone."}, "Gone.", "Blocked."),
        ("outputAssessments", {}, "Stocks?", "Blocked."),
        ("outputAssessments", {"redact_output": True, "redact_output_message": "Gone."}, "Stocks?", "Gone."),
        (None, {}, "[User input redacted.]", "Blocked."),
    ],
)
async def test_what_a_guardrail_blocked_is_not_in_the_history(
    side: str | None, settings: dict[str, Any], said: str, answered: str, *, streamed: bool
) -> None:
    """Input and output are told apart; without a trace the input counts as blocked. Turns before stay."""
    members = intervened(**({side: True} if side else {}))
    chat, transport = talking(text("Hello."), answer({"text": "Blocked."}, **members), text("Fine."))
    guardrail = {"id": "g", "version": "1", "redact_input": True, **settings}
    await chat.converse("Hi.")
    if streamed:
        await chat.stream("Stocks?", guardrail=guardrail, streaming=False).get_final_response()
    else:
        await chat.converse("Stocks?", guardrail=guardrail)
    assert wire(chat) == [user("Hi."), assistant("Hello."), user(said), assistant(answered)]
    await chat.converse("Weather?")
    assert sent(transport)["messages"][2:] == [user(said), assistant(answered), user("Weather?")]


# -- copies


async def test_a_fork_goes_its_own_way() -> None:
    """Same history and usage, another future, maybe with another model."""
    chat, transport = talking(*(text("Hello.") for _ in range(3)))
    await chat.converse("Hi.")
    other = chat.fork(model=chat.model.with_settings(model="us.amazon.nova-lite-v1:0"))
    await other.converse("And?")
    assert len(chat.messages) == 2
    assert len(other.messages) == 4
    assert (chat.usage.calls, other.usage.calls) == (1, 2)
    assert "nova-lite" in transport.requests[-1].url
    chat.messages.clear()
    assert len(chat.messages) == 2


async def test_settings_of_a_conversation_change_between_its_calls() -> None:
    """As a tool may do that is run in the middle of it."""
    chat, transport = talking(text("Hello."), text("Hello."), temperature=0.7)
    await chat.converse("Hi.")
    chat.model.update_config(temperature=0.1)
    await chat.converse("Hi.", max_tokens=5)
    assert [sent(transport, index)["inferenceConfig"] for index in (0, 1)] == [
        {"temperature": 0.7},
        {"temperature": 0.1, "maxTokens": 5},
    ]


# -- saving


async def test_a_saved_conversation_goes_on_where_it_was() -> None:
    """History and usage come back; members that this version does not know stay in the file."""
    chat, transport = talking(text("Hello."), text("Ada."))
    await chat.converse([{"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}}, "I am Ada."])
    saved = json.loads(chat.to_json())
    assert (saved["version"], saved["model"]) == (1, MODEL)
    loaded = Conversation.from_json(json.dumps({**saved, "title": "Ada"}), chat.model)
    assert loaded.messages == chat.messages
    assert loaded.usage == chat.usage
    await loaded.converse("Who am I?")
    assert sent(transport)["messages"] == wire(loaded)[:3]
    assert loaded.usage.calls == 2
    assert json.loads(loaded.to_json())["title"] == "Ada"
    assert json.loads(loaded.fork().to_json())["title"] == "Ada"


@given(st.lists(bodies("Message"), max_size=3), st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=2))
def test_saving_and_loading_is_exact(messages: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """Whatever the service may send, foreign members included, is the same JSON after a round trip, and another."""
    from bedrock_async.features.saved_conversation import SavedConversation

    ours = {"version", "model", "messages", "usage"}
    saved = json.dumps({"version": 1, "messages": messages, **{k: v for k, v in more.items() if k not in ours}})
    read = SavedConversation.from_json(saved)
    again = read.to_json()
    assert json.loads(again)["messages"] == [message.to_wire() for message in read.messages] == messages
    assert json.loads(again) | {"usage": None, "model": None} == json.loads(saved) | {"usage": None, "model": None}
    assert SavedConversation.from_json(again.encode()).to_json() == again


NO_BASE64: Final = json.dumps(
    {"version": 1, "messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "?"}}}]}]}
)


@pytest.mark.parametrize(
    ("saved", "path", "message"),
    [
        ("", "saved", "not JSON"),
        ("[]", "saved", "JSON, but not an object"),
        (None, "saved", "not JSON"),
        ("{}", "version", "the form None"),
        ('{"version": 2, "messages": []}', "version", "the form 2; this version reads 1"),
        ('{"version": 1}', "messages", "has no messages"),
        ('{"version": 1, "messages": [{"role": "user"}]}', "messages[0].content", "Field required"),
        ('{"version": 1, "messages": {}}', "messages", "valid array"),
        (NO_BASE64, "messages[0].content[0].image.source.bytes", "base64"),
        ('{"version": 1, "messages": [], "usage": {"calls": "x"}}', "usage", "usage: Expected"),
    ],
)
def test_what_is_no_saved_conversation_is_refused(saved: Any, path: str, message: str) -> None:  # noqa: ANN401
    """In our own words, with the path."""
    chat, _ = talking(text("Hi."))
    with pytest.raises(InvalidRequestError, match=message) as caught:
        Conversation.from_json(saved, chat.model)
    assert caught.value.path == path


# -- bad input


NO_TURNS: Final[list[Any]] = [
    (5, "not an int"),
    (b"Hi.", "not a bytes"),
    ([], "the turn is empty"),
    (["Hi.", 5], r"content\[1\] is an int, among items that are blocks"),
    ([{"text": "Hi."}, user("Hi.")], r"content\[1\] is a message, among items that are blocks"),
    ([user("Hi."), "Hi."], r"content\[1\] is a str, among items that are messages"),
    ({"role": "usr", "content": []}, "Did you mean 'user'"),
    ([{"imge": {}}], "imge"),
    ([{"text": 5}], "text"),
]


@pytest.mark.parametrize(("content", "message"), NO_TURNS)
async def test_a_turn_that_is_none_is_refused(content: Any, message: str) -> None:  # noqa: ANN401 - whatever is wrong
    """Before anything is sent or added, and the conversation can go on."""
    chat, transport = talking(text("Hello."))
    with pytest.raises(InvalidRequestError, match=message):
        await chat.converse(content)
    with pytest.raises(InvalidRequestError, match=message):
        chat.stream(content)
    assert not transport.requests
    assert chat.messages == []
    await chat.converse("Hi.")


# -- recorded conversations


def turns() -> Iterator[tuple[Exchange, Exchange]]:
    """Yield recorded exchanges of which the second goes on where the first ended."""
    talks = [
        each for each in exchanges(status=200) if each.kind in {"converse", "converse-stream"} and each.request_body
    ]
    by_history: dict[str, list[Exchange]] = {}
    for each in talks:
        by_history.setdefault(json.dumps([each.path.rpartition("/")[0], each.request_json["messages"]]), []).append(
            each
        )
    for later in talks:
        messages = later.request_json["messages"]
        for cut in range(1, len(messages) - 1):
            if messages[cut]["role"] != "assistant":
                continue
            key = json.dumps([later.path.rpartition("/")[0], messages[:cut]])
            for earlier in by_history.get(key, ()):
                if recorded_answer(earlier).message.to_wire() == messages[cut]:
                    yield earlier, later


def recorded_answer(of: Exchange) -> ConverseResponse:
    """Return the answer of an exchange."""
    if of.kind == "converse":
        return ConverseResponse.from_wire(of.response_body)
    return fold(ConverseEventDecoder().receive(of.response_body))


TURNS: Final = list(turns())


@pytest.mark.parametrize(("earlier", "later"), TURNS, ids=[f"{a}-{b}" for a, b in TURNS])
async def test_recorded_conversations_grow_as_they_were_recorded(earlier: Exchange, later: Exchange) -> None:
    """What a recorded client said next is, byte for byte as JSON, what a conversation sends next."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in earlier.response_headers.items()}
    kind = headers.get("content-type", "application/json")
    first = CannedResponse([earlier.response_body], headers={"content-type": kind})
    transport = CannedTransport([first, text("Done.")])
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)
    before, after = (each.request_json["messages"] for each in (earlier, later))
    request = ConverseRequest.from_wire(later.request_body)
    chat = client.conversation(later.model_id, before_turn(before), normalize=False)
    turn = ConverseRequest.from_wire({"messages": before[-1:]}).messages
    assert turn is not None
    if earlier.kind == "converse":
        await chat.converse(turn)
    else:
        await chat.stream(turn).get_final_response()
    assert request.messages is not None
    await chat.converse(request.messages[len(before) + 1 :])
    assert sent(transport)["messages"] == after
    reloaded = Conversation.from_json(chat.to_json(), chat.model)
    assert wire(reloaded) == [*after, assistant("Done.")]


def before_turn(messages: list[Any]) -> Any:  # noqa: ANN401 - typed messages
    """Return the history in front of the last message."""
    return ConverseRequest.from_wire({"messages": messages[:-1]}).messages or ()


def test_there_are_recorded_conversations() -> None:
    """With tools, reasoning and citations, whole and streamed: an empty list would pass in silence."""
    assert len(TURNS) >= 20
    blocks = {type(block) for earlier, _ in TURNS for block in recorded_answer(earlier).message.content}
    assert blocks >= {TextBlock, ToolUseBlock, ReasoningBlock, CitationsBlock}
    assert {earlier.kind for earlier, _ in TURNS} == {"converse", "converse-stream"}


def histories() -> list[Exchange]:
    """Return the recorded requests that the service answered."""
    return [
        each for each in exchanges(status=200) if each.kind in {"converse", "converse-stream"} and each.request_body
    ]


def test_every_history_that_the_service_took_can_be_loaded() -> None:
    """No recorded history is refused for its tools, and each is the same JSON after saving and loading."""
    chat, _ = talking(text("Hi."))
    recorded = histories()
    assert len(recorded) > 200
    for each in recorded:
        messages = each.request_json["messages"]
        loaded = Conversation.from_json(json.dumps({"version": 1, "messages": messages}), chat.model)
        assert wire(loaded) == messages
        assert json.loads(loaded.to_json())["messages"] == messages


def guarded() -> list[Exchange]:
    """Return the recorded answers of Converse that a guardrail intervened in."""
    return [each for each in histories() if "stop:guardrail_intervened" in each.features]


@pytest.mark.parametrize("recorded", guarded(), ids=str)
async def test_recorded_interventions_are_redacted_by_their_source(recorded: Exchange) -> None:
    """The user's message where the trace says that it was blocked; not where only the answer was, or was masked."""
    kind = {name.lower(): value for name, value in recorded.response_headers.items()}["content-type"]
    chat, _ = talking(CannedResponse([recorded.response_body], headers={"content-type": kind}))
    request = ConverseRequest.from_wire(recorded.request_body)
    assert request.messages is not None
    guardrail = {"id": "g", "version": "1", "redact_output": True}
    if recorded.kind == "converse":
        await chat.converse(request.messages, guardrail=guardrail)
    else:
        await chat.stream(request.messages, guardrail=guardrail).get_final_response()
    said = recorded_answer(recorded)
    decision = said.guardrail
    assert decision is not None
    *before, last, answered = chat.messages
    assert before == list(request.messages[:-1])
    blocked_input = decision.input in {"blocked", "unknown"}
    blocked = blocked_input or decision.output in {"blocked", "unknown"}
    assert (last.text == "[User input redacted.]") is blocked_input
    assert (last == request.messages[-1]) is not blocked_input
    assert answered.text == ("[Assistant output redacted.]" if blocked else said.text)


def test_there_are_recorded_interventions() -> None:
    """An empty list would pass in silence."""
    assert len(guarded()) >= 2
