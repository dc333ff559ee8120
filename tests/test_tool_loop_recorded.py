"""Recorded loops of tools, run again: tools that give the recorded results lead to the recorded requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from corpus import Exchange
from recorded_loops import CHAINS, KINDS, WITHOUT_TEXT, as_sent, canned, results_of, source, tool_of

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseRequest,
    Credentials,
    ServiceError,
    ToolFinished,
    ToolRoundsError,
)
from bedrock_async.testing.canned import CannedTransport
from bedrock_async.types import ConverseResponse, ToolSpec


def without_text(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without the texts beside tool uses."""
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        if any("toolUse" in block for block in message["content"]):
            content = [block for block in message["content"] if "text" not in block]
            messages.append({**message, "content": content})
        else:
            messages.append(message)
    return {**body, "messages": messages}


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain[0].id)
async def test_a_recorded_loop_runs_as_it_did(chain: list[Exchange]) -> None:
    """Round for round the same requests; the end is the recorded answer, or one that wants another tool."""
    first, last = chain[0], chain[-1]
    request = ConverseRequest.from_wire(first.request_body, model_id=first.model_id)
    results = results_of(last.request_json["messages"])
    assert request.tool_config is not None
    tools = [tool_of(each, results) for each in request.tool_config.tools if isinstance(each, ToolSpec)]
    transport = CannedTransport([canned(each) for each in chain])
    client = BedrockClient(
        region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport, retry=NO_RETRY
    )
    run = client.run_tools(
        request, tools=tools, max_rounds=len(chain), streaming=first.kind == "converse-stream", on_tool_error="raise"
    )
    steps: list[Any] = []

    async def read() -> None:
        async for step in run:
            steps.append(step)  # noqa: PERF401 - those before an error, too

    if last.status != 200:
        with pytest.raises(ServiceError) as refused:
            await read()
        assert refused.value.status == last.status
    elif "tool_use_response" in last.features:
        with pytest.raises(ToolRoundsError):
            await read()
    else:
        await read()
    sent = [as_sent(json.loads(each.body)) for each in transport.requests]
    assert len(sent) == len(chain)
    for body, recorded in zip(sent, chain, strict=True):
        forms = [body, without_text(body)] if source(first)[0] in WITHOUT_TEXT else [body]
        assert as_sent(recorded.request_json) in forms
    ran = [step for step in steps if isinstance(step, ToolFinished)]
    assert {step.tool_use.tool_use_id for step in ran} <= results.keys()
    assert ran
    assert all(step.error is None for step in ran)
    if last.status == 200:
        assert len(run.rounds) == len(chain)
        assert run.usage.calls == len(chain)
    if last.kind == "converse" and last.status == 200:
        assert run.rounds[-1].to_wire() == ConverseResponse.from_wire(last.response_body).to_wire()


def test_there_are_recorded_loops() -> None:
    """Of many models, whole and streamed, with one tool and several, text, JSON, documents, images, search results."""
    assert len(CHAINS) > 25
    assert {chain[0].kind for chain in CHAINS} == set(KINDS)
    assert max(len(chain) for chain in CHAINS) == 3
    kinds = {
        name
        for chain in CHAINS
        for message in chain[-1].request_json["messages"]
        for block in message["content"]
        for part in block.get("toolResult", {}).get("content", ())
        for name in part
    }
    assert kinds >= {"text", "json", "image", "document", "searchResult"}
