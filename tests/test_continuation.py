"""Going on after a stream has failed in the middle: one stream for the reader, no text lost and none twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import now, run_virtually

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    BedrockError,
    ConnectionLostError,
    Continuation,
    Credentials,
    Event,
    Failover,
    IdleTimeoutError,
    InvalidRequestError,
    JSONValue,
    ModelStreamError,
    RateLimit,
    RateLimiter,
    StandardRetry,
    StreamTruncatedError,
    Target,
    Timeouts,
    ValidationError,
)
from bedrock_async.errors import service_error
from bedrock_async.events import event_from_wire
from bedrock_async.folding import fold
from bedrock_async.resilience.continuation import GO_ON, Splice, continued_request
from bedrock_async.testing.canned import CannedResponse, CannedTransport, Piece
from bedrock_async.testing.frames import exception_frame, stream_bytes
from bedrock_async.types import ConverseRequest

PREFILLS: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
REFUSES_PREFILL: Final = "us.anthropic.claude-opus-4-6-v1:0"
STREAM_TYPE: Final = {"content-type": "application/vnd.amazon.eventstream"}
AT_ONCE: Final = StandardRetry(base_delay_s=0.0)
BROKEN: Final = exception_frame("modelStreamErrorException", "Broken.", originalStatusCode=500)
QUESTION: Final = {"role": "user", "content": [{"text": "Count."}]}

Wire = dict[str, JSONValue]


def text(*pieces: str, index: int = 0) -> list[Wire]:
    """Return deltas."""
    return [{"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": piece}}} for piece in pieces]


def started(*events: Wire) -> list[Wire]:
    """Return the beginning of a message."""
    return [{"messageStart": {"role": "assistant"}}, *events]


def ended(index: int = 0, **usage: int) -> list[Wire]:
    """Return the end of a message."""
    counts: JSONValue = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, **usage}
    return [
        {"contentBlockStop": {"contentBlockIndex": index}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": counts, "metrics": {"latencyMs": 4}}},
    ]


def answer(events: Sequence[Wire], *then: Piece) -> CannedResponse:
    """Return a stream of events and what comes after them."""
    return CannedResponse([stream_bytes(events), *then], headers=STREAM_TYPE)


def client_of(
    answers: Sequence[CannedResponse | BedrockError | asyncio.Event], **options: object
) -> tuple[BedrockClient, CannedTransport]:
    """Return a client whose streams go on."""
    transport = CannedTransport(answers)
    keywords: dict[str, Any] = {
        "credentials": Credentials("AKIDEXAMPLE", "secret"),
        "retry": AT_ONCE,
        "settings": {"continuation": Continuation()},
        **options,
    }
    return BedrockClient(region="us-east-1", transport=transport, **keywords), transport


def asked(transport: CannedTransport, number: int) -> Any:  # noqa: ANN401
    """Return the messages of a request."""
    return json.loads(transport.requests[number].body)["messages"]


async def test_it_is_off_by_default() -> None:
    """The error comes, with what had arrived; the attempt that broke is known by the code of what broke it."""
    client, transport = client_of([answer(started(*text("One, ")), BROKEN)], settings={})
    with pytest.raises(ModelStreamError) as caught:
        await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "One, "
    assert [(each.status, each.code) for each in caught.value.attempts] == [(200, "ModelStreamErrorException")]
    assert len(transport.requests) == 1


async def test_going_on_that_succeeds_gives_back_what_it_cost() -> None:
    """A client whose streams break now and then, and go on, never runs out of repetitions."""
    streams = 200  # what breaks costs 5, and what opens earns 1: they would use up the 500 that a client may spend
    answers: list[CannedResponse] = []
    for _ in range(streams):
        answers += [answer(started(*text("One, ")), BROKEN), answer([*started(*text("two.")), *ended()])]
    client, _ = client_of(answers)
    for _ in range(streams):
        assert (await client.stream(PREFILLS, [QUESTION]).get_final_response()).text == "One, two."


@pytest.mark.parametrize(
    "fault",
    [BROKEN, ConnectionLostError("gone", sent=True), b""],
    ids=["exception frame", "lost connection", "early end"],
)
async def test_a_stream_goes_on_where_it_broke(fault: Piece) -> None:
    """One message, one block, one end; the next attempt is asked with the text so far, and its events follow."""
    first = answer(started(*text("One, ", "two")), fault)
    client, transport = client_of([first, answer([*started(*text(", three", ".")), *ended()])])
    async with client.stream(PREFILLS, [QUESTION]) as stream:
        events = [event async for event in stream]
    assert [event.type for event in events] == [
        "message_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_stop",
        "metadata",
    ]
    assert "".join(event.text or "" for event in events) == "One, two, three."
    assert fold(events).text == "One, two, three."
    assert asked(transport, 0) == [QUESTION]
    assert asked(transport, 1) == [QUESTION, {"role": "assistant", "content": [{"text": "One, two"}]}]
    assert first.aborted or fault == b""


async def test_what_happened_is_on_the_response() -> None:
    """Every attempt, the broken one with its code; how often it went on; the head of the last one."""
    client, _ = client_of([answer(started(*text("One")), BROKEN), answer([*started(*text(" two")), *ended()])])
    stream = client.stream(PREFILLS, [QUESTION])
    reply = await stream.get_final_response()
    for meta in (reply.meta, stream.meta):
        assert meta.continuations == 1
        assert [(each.number, each.status, each.code) for each in meta.attempts] == [
            (1, 200, "ModelStreamErrorException"),
            (2, 200, None),
        ]
    assert reply.text == "One two"


async def test_a_model_that_takes_no_begun_answer_is_told_to_go_on() -> None:
    """It is shown its own text, blanks included, and asked in a message of the user."""
    client, transport = client_of([answer(started(*text("One, ")), BROKEN), answer([*started(*text("two")), *ended()])])
    reply = await client.stream(REFUSES_PREFILL, [QUESTION]).get_final_response()
    assert reply.text == "One, two"
    assert asked(transport, 1) == [
        QUESTION,
        {"role": "assistant", "content": [{"text": "One, "}]},
        {"role": "user", "content": [{"text": GO_ON}]},
    ]


async def test_a_model_that_thinks_takes_no_begun_answer_either() -> None:
    """Extended thinking and a prefill exclude each other."""
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    client, transport = client_of([answer(started(*text("One")), BROKEN), answer([*started(*text(" two")), *ended()])])
    stream = client.stream(PREFILLS, [QUESTION], additional_request_fields=thinking, max_tokens=2000)
    assert (await stream.get_final_response()).text == "One two"
    assert asked(transport, 1)[-1]["role"] == "user"


@pytest.mark.parametrize("beginning", ["two", " two", "\n two", "   ", ""])
async def test_blanks_at_the_joint_are_there_once(beginning: str) -> None:
    """The service refuses a begun answer that ends in blanks: they are not sent, and what repeats them is dropped."""
    second = answer([*started(*text(beginning, "two" if not beginning.strip() else "")), *ended()])
    client, transport = client_of([answer(started(*text("One, ", " ")), BROKEN), second])
    reply = await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert reply.text == "One,  two"
    assert asked(transport, 1)[-1] == {"role": "assistant", "content": [{"text": "One,"}]}


async def test_only_the_first_blanks_of_a_part_are_dropped() -> None:
    """Those of its later words are its own."""
    second = answer([*started(*text(" two", " three", " ", "four")), *ended()])
    client, _ = client_of([answer(started(*text("One, ")), BROKEN), second])
    reply = await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert reply.text == "One, two three four"


async def test_an_answer_that_the_caller_had_begun_is_one_message() -> None:
    """Two messages of one role in a row would be refused."""
    begun = {"role": "assistant", "content": [{"text": "I count:"}]}
    client, transport = client_of([answer(started(*text(" one")), BROKEN), answer([*started(*text(" two")), *ended()])])
    reply = await client.stream(PREFILLS, [QUESTION, begun]).get_final_response()
    assert reply.text == " one two"
    assert asked(transport, 1) == [QUESTION, {"role": "assistant", "content": [{"text": "I count: one"}]}]


async def test_before_the_first_word_the_question_is_asked_again() -> None:
    """There is nothing to go on from."""
    client, transport = client_of([answer(started(), BROKEN), answer([*started(*text("One")), *ended()])])
    events = [event async for event in client.stream(PREFILLS, [QUESTION])]
    assert [event.type for event in events].count("message_start") == 1
    assert fold(events).text == "One"
    assert asked(transport, 1) == [QUESTION]


TOOL_USE: Final[Wire] = {
    "contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "1", "name": "t"}}}
}
REASONING: Final[Wire] = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}}}
CITATION: Final[Wire] = {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"citation": {"title": "t"}}}}


@pytest.mark.parametrize("block", [TOOL_USE, REASONING, CITATION], ids=["tool use", "reasoning", "citation"])
async def test_only_text_is_continued(block: Wire) -> None:
    """Half a tool call, or reasoning without its signature, cannot be sent back: the error comes as it is."""
    client, transport = client_of([answer(started(*text("One"), block), BROKEN)])
    with pytest.raises(ModelStreamError) as caught:
        await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert caught.value.partial_response is not None
    assert len(transport.requests) == 1


async def test_an_answer_that_has_ended_is_not_continued() -> None:
    """All text is there: only the usage is missing."""
    client, transport = client_of([answer([*started(*text("One")), *ended()[:2]], b"")])
    with pytest.raises(StreamTruncatedError):
        await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("retry", "fault", "error"),
    [
        (AT_ONCE, exception_frame("validationException", "No."), ValidationError),
        (NO_RETRY, BROKEN, ModelStreamError),
    ],
)
async def test_the_retry_policy_says_whether(retry: StandardRetry, fault: bytes, error: type[BedrockError]) -> None:
    """What is not worth repeating is not continued, and NO_RETRY is no attempt more."""
    client, transport = client_of([answer(started(*text("One")), fault)], retry=retry)
    with pytest.raises(error):
        await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert len(transport.requests) == 1


async def test_it_goes_on_as_often_as_it_may() -> None:
    """Three parts with two continuations; the third failure is raised with all text and all attempts."""
    parts = [answer(started(*text(word)), BROKEN) for word in ("One", " two", " three")]
    client, transport = client_of([*parts, answer([*started(*text(" four")), *ended()])])
    with pytest.raises(ModelStreamError) as caught:
        await client.stream(PREFILLS, [QUESTION], continuation=Continuation(max_continuations=2)).get_final_response()
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "One two three"
    assert [each.code for each in caught.value.attempts] == ["ModelStreamErrorException"] * 3
    assert len(transport.requests) == 3
    assert asked(transport, 2)[-1]["content"] == [{"text": "One two"}]


async def test_when_going_on_fails_the_first_failure_is_raised() -> None:
    """It has what arrived; why going on failed is its cause."""
    refused = service_error("ValidationException", "no prefill here")
    client, _ = client_of([answer(started(*text("One")), BROKEN), refused])
    with pytest.raises(ModelStreamError) as caught:
        await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert caught.value.__cause__ is refused
    assert caught.value.partial_response is not None
    assert caught.value.partial_response.text == "One"


async def test_another_model_may_go_on() -> None:
    """With its own way of being asked; meta says which."""
    client, transport = client_of([answer(started(*text("One")), BROKEN), answer([*started(*text(" two")), *ended()])])
    other = Continuation(model=REFUSES_PREFILL)
    reply = await client.stream(PREFILLS, [QUESTION], continuation=other).get_final_response()
    assert (reply.text, reply.meta.model) == ("One two", REFUSES_PREFILL)
    assert asked(transport, 1)[-1]["role"] == "user"
    assert "claude-opus-4-6" in transport.requests[1].url


async def test_it_goes_on_at_another_target() -> None:
    """Where the first one is down by now."""
    client, transport = client_of(
        [
            answer(started(*text("One")), BROKEN),
            service_error("ServiceUnavailableException", "down"),
            answer([*started(*text(" two")), *ended()]),
        ],
        retry=StandardRetry(max_attempts=2, base_delay_s=0.0),
        targets=Failover([Target(), Target(region="us-west-2")], breaker=None),
    )
    first = await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert first.text == "One two"
    assert [each.target for each in first.meta.attempts] == ["primary"] * 3
    assert len(transport.requests) == 3


async def test_what_each_part_used_is_summed() -> None:
    """Of those that told it: one that breaks seldom does."""
    metadata: Wire = {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}}}
    client, _ = client_of(
        [answer(started(*text("One"), metadata), BROKEN), answer([*started(*text(" two")), *ended()])]
    )
    reply = await client.stream(PREFILLS, [QUESTION]).get_final_response()
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (17, 7, 24)


async def test_blocks_of_the_next_part_have_indices_of_their_own() -> None:
    """A tool call of the second part is a block after the text, and its index is used by nothing else."""
    tool: list[Wire] = [
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "1", "name": "t"}}}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"a": 1}'}}}},
    ]
    stop: Wire = {"contentBlockStop": {"contentBlockIndex": 0}}
    first = [*started(*text("A.")), stop, *text("One", index=1)]
    client, _ = client_of([answer(first, BROKEN), answer([*started(*text(" two")), *tool, *ended(1)])])
    events = [event async for event in client.stream(PREFILLS, [QUESTION])]
    reply = fold(events)
    assert [block.to_wire() for block in reply.message.content] == [
        {"text": "A."},
        {"text": "One two"},
        {"toolUse": {"toolUseId": "1", "name": "t", "input": {"a": 1}}},
    ]


async def test_a_part_that_begins_with_something_else_closes_the_text() -> None:
    """Reasoning first, then the rest of the text: blocks of their own, in order."""
    reasoning: list[Wire] = [REASONING, {"contentBlockStop": {"contentBlockIndex": 0}}]
    second = [*started(*reasoning, *text(" two", index=1)), *ended(1)]
    client, _ = client_of([answer(started(*text("One")), BROKEN), answer(second)])
    events = [event async for event in client.stream(REFUSES_PREFILL, [QUESTION])]
    stops = [event.to_wire()["contentBlockStop"] for event in events if event.type == "content_block_stop"]
    assert stops == [{"contentBlockIndex": 0}, {"contentBlockIndex": 1}, {"contentBlockIndex": 2}]
    assert [type(block).__name__ for block in fold(events).message.content] == [
        "TextBlock",
        "ReasoningBlock",
        "TextBlock",
    ]


# -- life


async def test_leaving_closes_whichever_part_is_open() -> None:
    """The first before it breaks, the second after."""
    first = answer(started(*text("One")), asyncio.Event())
    client, _ = client_of([first])
    async with client.stream(PREFILLS, [QUESTION]) as stream:
        await anext(stream)
    assert first.aborted
    second = answer(started(*text(" two")), asyncio.Event())
    client, _ = client_of([answer(started(*text("One")), BROKEN), second])
    async with client.stream(PREFILLS, [QUESTION]) as stream:
        for _ in range(3):
            await anext(stream)
    assert second.aborted


async def test_a_forgotten_stream_closes_too() -> None:
    """When the last reference dies, without a collection of cycles."""
    second = answer(started(*text(" two")), asyncio.Event())
    client, _ = client_of([answer(started(*text("One")), BROKEN), second])
    stream = client.stream(PREFILLS, [QUESTION])
    for _ in range(3):
        await anext(stream)
    del stream
    assert second.aborted


@pytest.mark.parametrize("step", ["wait", "open", "first event"])
def test_cancelling_while_it_goes_on_ends_it(step: str) -> None:
    """In the wait before the next attempt, while it opens, and while its first event is awaited; nothing stays open."""

    async def main() -> None:
        never = asyncio.Event()
        second = (
            CannedResponse([never], headers=STREAM_TYPE)
            if step == "first event"
            else answer([*started(*text(" two")), *ended()])
        )
        answers: list[Any] = [answer(started(*text("One")), BROKEN), *([never] if step == "open" else []), second]
        retry = StandardRetry(base_delay_s=10.0 if step == "wait" else 0.0)
        client, transport = client_of(answers, retry=retry)
        stream = client.stream(PREFILLS, [QUESTION])
        task = asyncio.ensure_future(stream.get_final_response())
        for _ in range(30):
            await asyncio.sleep(0)
        assert len(transport.requests) == (1 if step == "wait" else 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert second.aborted == (step == "first event")
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run_virtually(main())


def test_closing_while_it_goes_on_ends_it() -> None:
    """From another task, or because nothing came for too long: whoever waits is told at once."""

    async def main() -> None:
        client, transport = client_of(
            [answer(started(*text("One")), BROKEN), asyncio.Event(), answer([])], timeouts=Timeouts(idle_s=5.0)
        )
        stream = client.stream(PREFILLS, [QUESTION])
        with pytest.raises((IdleTimeoutError, ModelStreamError)):
            await stream.get_final_response()
        assert now() <= 1_011
        assert len(transport.requests) == 2

    run_virtually(main())


@pytest.mark.parametrize("turns", range(6))
async def test_leaving_as_it_goes_on_closes_the_part_that_opens(turns: int) -> None:
    """At whichever turn of the loop: what opens at that moment is closed too, and nothing more is handed out."""
    gate = asyncio.Event()
    second = CannedResponse([gate, stream_bytes([*started(*text(" two"))]), asyncio.Event()], headers=STREAM_TYPE)
    client, _ = client_of([answer(started(*text("One")), BROKEN), second])
    stream = client.stream(PREFILLS, [QUESTION])
    task = asyncio.ensure_future(stream.get_final_response())
    await second.waiting.wait()
    gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    stream.abort()
    with pytest.raises(BedrockError):
        await task
    assert second.aborted


async def test_rate_limits_count_each_part() -> None:
    """Each is a request, and its place is free when it has broken."""
    limiter = RateLimiter(RateLimit(max_in_flight=1, requests_per_minute=100))
    client, _ = client_of(
        [answer(started(*text("One")), BROKEN), answer([*started(*text(" two")), *ended()])], rate_limit=limiter
    )
    assert (await client.stream(PREFILLS, [QUESTION]).get_final_response()).text == "One two"
    store: Any = limiter._store
    (window,) = store._windows.values()
    assert (window.requests, window.in_flight) == (2, 0)


# -- for all texts and all places


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=12),
    st.lists(st.integers(0, 12), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_wherever_it_breaks_the_text_is_whole(
    pieces: list[str],
    cuts: list[int],
    prefill: bool,  # noqa: FBT001
    blocks: bool,  # noqa: FBT001
) -> None:
    """Parts that go on exactly where the one before ended make one text, under indices in order, with one end."""
    splice = Splice()
    out: list[Event] = []
    whole = "".join(pieces)
    borders = sorted({min(cut, len(pieces)) for cut in cuts})
    spans = list(zip([0, *borders], [*borders, len(pieces)], strict=True))
    for number, (begin, end) in enumerate(spans):
        if number:
            assert splice.text == "".join(event.text or "" for event in out)
            splice.go_on(prefill=prefill)
        words = pieces[begin:end]
        if number and prefill and words and (said := "".join(pieces[:begin])) != said.rstrip():
            words = [whitespace_of(said) + words[0], *words[1:]]  # a model writes the blanks that it was not shown
        wire = started(*text(*words))
        if blocks and number < len(spans) - 1:
            wire.append({"contentBlockStop": {"contentBlockIndex": 0}})
        if number == len(spans) - 1:
            wire += ended()
        out += splice.take([event_from_wire(each) for each in wire])
    told = fold(out)
    assert told.text.replace(" ", "").split() == whole.replace(" ", "").split()
    if not any(piece[0].isspace() for piece in pieces):
        assert told.text == whole
    types = [event.type for event in out]
    assert (types.count("message_start"), types.count("message_stop"), types.count("metadata")) == (1, 1, 1)
    indices = [index for event in out if (index := getattr(event, "content_block_index", None)) is not None]
    assert indices == sorted(indices)


def whitespace_of(said: str) -> str:
    """Return the blanks at the end of a text."""
    return said[len(said.rstrip()) :]


@pytest.mark.parametrize("prefill", [True, False])
def test_blanks_alone_are_nothing_to_go_on_from(prefill: bool) -> None:  # noqa: FBT001
    """The question is asked again as it was."""
    request = ConverseRequest.from_dict({"messages": [QUESTION]})
    assert continued_request(request, " \n", prefill=prefill) == request


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "1"])
def test_what_continues_nothing_is_refused(wrong: Any) -> None:  # noqa: ANN401
    """By name; and anything but a Continuation, at once."""
    with pytest.raises(InvalidRequestError, match="max_continuations"):
        Continuation(max_continuations=wrong)
    client, _ = client_of([])
    with pytest.raises(InvalidRequestError, match="not Continuation"):
        client.stream(PREFILLS, [QUESTION], continuation=wrong)
