"""Who asked is told, once, when a stream or a loop of tools is over, and how it ended."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from bedrock_async import BedrockClient, Credentials, ResponseStream, StreamTruncatedError, ToolLoopResult
from bedrock_async.errors import service_error
from bedrock_async.testing import stream_bytes, text_events, tool_use_events
from bedrock_async.testing.canned import CannedResponse, CannedTransport

MODEL: Final = "us.amazon.nova-lite-v1:0"
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}


def client_of(*answers: Any) -> BedrockClient:  # noqa: ANN401 - as the transport
    """Return a client with these answers."""
    transport = CannedTransport(answers)
    return BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport)


def watched(stream: ResponseStream) -> list[bool]:
    """Return the list of what is told of a stream: whether it was read to its end."""
    told: list[bool] = []
    stream.add_done_callback(lambda each: told.append(each.read_to_end))
    return told


def text() -> CannedResponse:
    """Return the stream of a short answer."""
    return CannedResponse.stream(text_events("one two"))


@pytest.mark.parametrize("how", ["iterated", "batches", "final", "text"])
async def test_a_stream_that_was_read_says_so_at_its_end(how: str) -> None:
    """Not before the last event was handed out, however it is read, and once."""
    stream = client_of(text()).stream(MODEL, "Hi.")
    told = watched(stream)
    if how == "iterated":
        async for _ in stream:
            assert told == []
    elif how == "batches":
        async for _ in stream.batches:
            assert told == []
    elif how == "final":
        await stream.get_final_response()
    else:
        assert [piece async for piece in stream.text_stream] == ["one", " two"]
    assert told == [True]
    await stream.aclose()
    await stream.get_final_response()
    assert told == [True]
    assert watched(stream) == [True]  # who asks later is told at once


async def test_a_stream_that_was_closed_says_so() -> None:
    """Whether it was open or not."""
    never, left = (client_of(text()).stream(MODEL, "Hi.") for _ in range(2))
    told = watched(never), watched(left)
    assert not never.read_to_end
    await never.aclose()
    async with left:
        await anext(left)
        assert told[1] == []
    await left.aclose()
    assert told == ([False], [False])


async def test_a_stream_that_failed_says_so() -> None:
    """While it was opened, or later."""
    half = CannedResponse([stream_bytes(text_events("one two")[:2])], headers=STREAM)
    client = client_of(service_error("ValidationException", "no"), half)
    refused, broken = (client.stream(MODEL, "Hi.") for _ in range(2))
    told = watched(refused), watched(broken)
    with pytest.raises(Exception, match="no"):
        await anext(refused)
    with pytest.raises(StreamTruncatedError):
        await broken.get_final_response()
    assert told == ([False], [False])


async def test_a_stream_that_was_cancelled_says_so() -> None:
    """In the middle of its waiting."""
    response = CannedResponse([stream_bytes(text_events("one two")[:2]), asyncio.Event()], headers=STREAM)
    stream = client_of(response).stream(MODEL, "Hi.")
    told = watched(stream)
    reading = asyncio.ensure_future(stream.get_final_response())
    await response.waiting.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert told == [False]


def lucky_number(of: str) -> str:
    """Tell the lucky number of a person."""
    return f"{of}: 7"


def asking() -> CannedResponse:
    """Return the stream of an answer that asks for the tool."""
    return CannedResponse.stream(tool_use_events("lucky_number", {"of": "Ada"}, tool_use_id="t1"))


async def test_a_loop_of_tools_hands_out_its_result_at_its_end() -> None:
    """Once, after the last step; None for one that was closed or failed before."""
    told: list[ToolLoopResult | None] = []
    loop = client_of(asking(), text()).run_tools(MODEL, "Hi.", tools=[lucky_number])
    loop.add_done_callback(told.append)
    async for _ in loop:
        assert told == []
    result = await loop.result()
    assert told == [result]
    loop.abort()
    loop.add_done_callback(told.append)
    assert told == [result, result]


async def test_a_loop_of_tools_that_was_given_up_has_none() -> None:
    """Closed after its first step, or failed in its second round."""
    told: list[ToolLoopResult | None] = []
    async with client_of(asking(), text()).run_tools(MODEL, "Hi.", tools=[lucky_number]) as closed:
        closed.add_done_callback(told.append)
        await anext(closed)
    failing = client_of(asking(), service_error("ValidationException", "no"))
    failed = failing.run_tools(MODEL, "Hi.", tools=[lucky_number])
    failed.add_done_callback(told.append)
    with pytest.raises(Exception, match="no"):
        await failed.result()
    assert told == [None, None]
