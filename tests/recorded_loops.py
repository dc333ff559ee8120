"""Recorded loops of tools: their exchanges in order, and tools that give the recorded results."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast

from corpus import Exchange, exchanges

from bedrock_async import Tool, ToolContext
from bedrock_async.testing.canned import CannedResponse
from bedrock_async.types import ToolResultBlock, ToolSpec

__all__ = ["CHAINS", "KINDS", "WITHOUT_TEXT", "as_sent", "canned", "results_of", "source", "tool_of"]

KINDS: Final = ("converse", "converse-stream")

# What these two send back of an answer that uses tools has no text, most of the time.
WITHOUT_TEXT: Final = frozenset({"crewAIInc/crewAI", "langchain-ai/langchain-aws"})


def source(recorded: Exchange) -> tuple[str, str]:
    """Return the file that an exchange was recorded in."""
    return recorded.raw["source"]["repo"], recorded.raw["source"]["path"]


def results_of(messages: Sequence[Mapping[str, Any]]) -> dict[str, ToolResultBlock]:
    """Return the tool results of messages, by the ids of their uses."""
    blocks = [block["toolResult"] for message in messages for block in message["content"] if "toolResult" in block]
    return {block["toolUseId"]: ToolResultBlock.from_wire({"toolResult": block}) for block in blocks}


def goes_on(first: Exchange, second: Exchange) -> bool:
    """Whether the second request is what a loop sends after the first answer: the same, the answer, only results.

    Where the same loop was recorded several times, the ids of the tool uses tell which answer it was.
    """
    before, after = first.request_json, second.request_json
    said = len(before["messages"])
    answer, results = _next_two(after["messages"][said:])
    return (
        (first.kind, first.model_id) == (second.kind, second.model_id)
        and after["messages"][:said] == before["messages"]
        and bool(results)
        and all("toolResult" in block for block in results)
        and all(block["toolUse"]["toolUseId"].encode() in first.response_body for block in answer if "toolUse" in block)
        and (
            first.kind == "converse-stream"
            or texts_in(answer) <= texts_in(first.response_json["output"]["message"]["content"])
        )
        and {**before, "messages": None, "toolConfig": None} == {**after, "messages": None, "toolConfig": None}
    )


def texts_in(content: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the texts among blocks."""
    return {block["text"] for block in content if "text" in block}


def _next_two(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the content of an answer and of what follows it, when these two are all; else nothing."""
    if len(messages) != 2:
        return [], []
    return messages[0]["content"], messages[1]["content"]


def chains() -> Iterator[list[Exchange]]:
    """Yield the recorded loops: each with its exchanges in order, two at least."""
    recorded = [each for kind in KINDS for each in exchanges(kind) if each.request_body]
    for _, group in groupby(sorted(recorded, key=source), key=source):
        file = list(group)
        following = {
            first.id: second
            for first in file
            if first.status == 200 and "tool_use_response" in first.features
            for second in file
            if first is not second and goes_on(first, second)
        }
        later = {each.id for each in following.values()}
        for first in file:
            if first.id in following and first.id not in later:
                chain = [first]
                while chain[-1].id in following:
                    chain.append(following[chain[-1].id])
                yield chain


CHAINS: Final = list(chains())


def tool_of(spec: ToolSpec, results: Mapping[str, ToolResultBlock]) -> Tool[..., Any]:
    """Return a tool of this definition that gives the recorded results."""
    schema: Any = spec.input_schema.json_
    names = list(schema.get("properties", {}))

    async def give(context: ToolContext, **_: object) -> ToolResultBlock:
        return results[context.tool_use.tool_use_id]

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, keyword, default=None, annotation=Any) for name in names]
    context = inspect.Parameter("context", keyword, annotation=ToolContext)
    give.__signature__ = inspect.Signature([*parameters, context])  # type: ignore[attr-defined]
    give.__annotations__ = {**dict.fromkeys(names, Any), "context": ToolContext}
    return Tool(give, name=spec.name, description=spec.description)


def as_sent(body: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a body without what recorders leave out of a history: the type of a tool use."""
    if isinstance(body, list):
        return [as_sent(each) for each in body]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(body, dict):
        return body
    members = {name: as_sent(value) for name, value in cast("dict[str, Any]", body).items()}
    if "toolUseId" in members and members.get("type") == "tool_use":
        del members["type"]
    return members


def canned(recorded: Exchange) -> CannedResponse:
    """Return the recorded answer."""
    headers = {name.lower(): value for name, value in recorded.response_headers.items()}
    kept = {name: value for name, value in headers.items() if name.startswith(("content-type", "x-amzn"))}
    return CannedResponse([recorded.response_body], status=recorded.status, headers=kept)
