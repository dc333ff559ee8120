"""Recorded traffic through what users hold: cache hits of every verb in the totals, loops of tools in conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from native_traffic import native_chunks
from recorded_loops import CHAINS, WITHOUT_TEXT, as_sent, canned, results_of, source, tool_of

from bedrock_async import NO_RETRY, BedrockClient, Conversation, ConverseRequest, Credentials, UsageTotals
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.types import ConverseResponse, ToolSpec

CACHED: Final = [each for each in exchanges(status=200) if {"cache_read", "cache_write"} & each.features]
HEADER: Final = "x-amzn-bedrock-{}-token-count"


def client_of(*answers: CannedResponse) -> BedrockClient:
    """Return a client with these answers."""
    keys = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", credentials=keys, transport=CannedTransport(answers), retry=NO_RETRY)


def cache_counts(recorded: Exchange) -> tuple[int, int]:
    """Return what the service said was read from the cache and written to it, in whatever way it says so."""
    said: Mapping[str, Any]
    match recorded.kind:
        case "converse":
            said = recorded.response_json["usage"]
        case "converse-stream":
            assert recorded.eventstream is not None
            said = recorded.eventstream["events"][-1]["payload"]["usage"]
        case "invoke-with-response-stream":
            said = native_chunks(recorded)[-1]["amazon-bedrock-invocationMetrics"]
            return said["cacheReadInputTokenCount"], said["cacheWriteInputTokenCount"]
        case _:
            said = {name.lower(): value for name, value in recorded.response_headers.items()}
            return int(said[HEADER.format("cache-read-input")]), int(said[HEADER.format("cache-write-input")])
    return said.get("cacheReadInputTokens") or 0, said.get("cacheWriteInputTokens") or 0


@pytest.mark.parametrize("recorded", CACHED, ids=str)
async def test_recorded_cache_hits_are_in_the_totals(recorded: Exchange) -> None:
    """Of whole answers, of streams and of native ones, the client's totals have what the service counted."""
    client = client_of(canned(recorded))
    model = recorded.model_id
    match recorded.kind:
        case "converse":
            await client.converse(model, "Hello.")
        case "converse-stream":
            await client.stream(model, "Hello.").get_final_response()
        case "invoke":
            await client.invoke(model, {})
        case _:
            assert [chunk async for chunk in client.invoke_stream(model, {})]
    assert read_and_written(client.usage) == cache_counts(recorded)
    assert client.usage.calls == 1
    assert (client.usage.cache_hit_rate > 0) is (cache_counts(recorded)[0] > 0)


@pytest.mark.parametrize("recorded", [each for each in CACHED if each.kind in {"converse", "converse-stream"}], ids=str)
async def test_recorded_cache_hits_are_in_a_conversation(recorded: Exchange) -> None:
    """A conversation has its own totals, whole and streamed, which saving keeps."""
    chat = client_of(canned(recorded)).conversation(recorded.model_id)
    if recorded.kind == "converse":
        await chat.converse("Hello.")
    else:
        await chat.stream("Hello.").get_final_response()
    assert read_and_written(chat.usage) == cache_counts(recorded)
    assert Conversation.from_json(chat.to_json(), chat.model).usage == chat.usage


def read_and_written(usage: UsageTotals) -> tuple[int, int]:
    """Return the tokens of the cache."""
    return usage.cache_read_input_tokens, usage.cache_write_input_tokens


def test_there_are_recorded_cache_hits() -> None:
    """Of every verb: an empty list would pass in silence."""
    assert {each.kind for each in CACHED} == {
        "converse",
        "converse-stream",
        "invoke",
        "invoke-with-response-stream",
    }
    assert sum(cache_counts(each)[0] > 0 for each in CACHED) >= 20


FINISHED: Final = [
    chain
    for chain in CHAINS
    if chain[-1].status == 200
    and "tool_use_response" not in chain[-1].features
    and source(chain[0])[0] not in WITHOUT_TEXT
]


@pytest.mark.parametrize("chain", FINISHED, ids=lambda chain: chain[0].id)
async def test_a_recorded_loop_is_in_the_history(chain: list[Exchange]) -> None:
    """After the loop a conversation has what the recorded client sent last, and the answer to that."""
    first, last = chain[0], chain[-1]
    request = ConverseRequest.from_wire(first.request_body, model_id=first.model_id)
    assert request.tool_config is not None
    assert request.messages is not None
    results = results_of(last.request_json["messages"])
    tools = [tool_of(each, results) for each in request.tool_config.tools if isinstance(each, ToolSpec)]
    client = client_of(*(canned(each) for each in chain))
    chat = client.conversation(first.model_id, request.messages[:-1], normalize=False)
    run = chat.run_tools(
        request.messages[-1:], tools=tools, streaming=first.kind == "converse-stream", on_tool_error="raise"
    )
    result = await run.result()
    history = [as_sent(message.to_wire()) for message in chat.messages]
    assert history[:-1] == as_sent(last.request_json["messages"])
    assert history[-1] == as_sent(result.rounds[-1].message.to_wire())
    if last.kind == "converse":
        assert result.response.to_wire() == ConverseResponse.from_wire(last.response_body).to_wire()
    assert chat.usage.calls == len(chain)
    reloaded = Conversation.from_json(chat.to_json(), chat.model)
    assert reloaded.messages == chat.messages


def test_there_are_recorded_loops_that_finish() -> None:
    """Of whole answers and of streams."""
    assert len(FINISHED) > 10
    assert {chain[0].kind for chain in FINISHED} == {"converse", "converse-stream"}
