"""The checks of `verify`: small calls, each of which must return what the client promises.

To add a check, write a function and add a row to `CHECKS`. Prompts are harmless, fixed and short, and every call limits
its output, so that the maximum cost of a check is known in advance.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..auth import Credentials
from ..errors import AuthenticationError, ServiceError, ValidationError
from ..model_id import parse_model_id
from ..types import JSONValue
from .contract import Check, Skipped, Subject, same

__all__ = ["CHECKS", "native_body"]

_QUESTION: Final = "Reply with the one word pong, in small letters."
_WEATHER: Final = "What is the weather in Paris? Use the tool."
_ANSWER_TOKENS: Final = 100
_CUT_TOKENS: Final = 20
_THINKING_TOKENS: Final = 1300
_NOBODY: Final = "amazon.no-such-model-v1:0"
_TOOL: Final[Mapping[str, object]] = {
    "toolSpec": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "inputSchema": {
            "json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
}
# Models cache a minimum of a little over a thousand tokens; a single letter between spaces is one token.
_LONG_PROMPT: Final = "a b c d e f g h " * 160
_NOTE: Final = b"The word is pong."


async def _converse(subject: Subject) -> None:
    reply = await subject.client.converse(subject.model, _QUESTION, max_tokens=_ANSWER_TOKENS)
    subject.agree("Converse", reply)
    subject.expect(reply.message.content, "the answer has content")
    subject.expect(reply.stop_reason, "it has a stop reason")
    subject.expect(reply.usage.input_tokens and reply.usage.output_tokens, "it has the token counts")
    subject.expect(reply.meta.request_id, "it has a request id")


async def _converse_stream(subject: Subject) -> None:
    async with subject.client.stream(subject.model, _QUESTION, max_tokens=_ANSWER_TOKENS) as stream:
        events = [event async for event in stream]
        reply = await stream.get_final_response()
    subject.agree_events("ConverseStream", events)
    types = [event.type for event in events]
    subject.expect(types[:1] == ["message_start"], "it begins with messageStart")
    subject.expect(types[-2:] == ["message_stop", "metadata"], "it ends with messageStop and metadata")
    subject.expect("unknown" not in types, "no event is unknown")
    subject.expect(reply.text == "".join(event.text or "" for event in events), "the response is its events folded")
    subject.expect(reply.usage.output_tokens, "it has the token counts")


async def _max_tokens(subject: Subject) -> None:
    reply = await subject.client.converse(subject.model, "Count from 1 to 200.", max_tokens=_CUT_TOKENS)
    subject.agree("Converse", reply)
    subject.expect_of_model(reply.stop_reason == "max_tokens", "the stop reason is max_tokens")
    subject.expect_of_model(reply.usage.output_tokens <= _CUT_TOKENS, "the output is not longer than requested")


async def _system_and_stop(subject: Subject) -> None:
    reply = await subject.client.converse(
        subject.model,
        "Go.",
        system="Write the digits from 1 to 9, separated by blanks, and nothing else.",
        stop_sequences=["5"],
        max_tokens=_ANSWER_TOKENS,
    )
    subject.agree("Converse", reply)
    subject.expect_of_model("9" not in reply.text, "the answer ends at the stop sequence")


async def _tools(subject: Subject) -> None:
    messages: list[Any] = [{"role": "user", "content": [{"text": _WEATHER}]}]
    first = await subject.client.converse(
        subject.model, messages, tools=[_TOOL], tool_choice="any", max_tokens=_ANSWER_TOKENS
    )
    subject.agree("Converse", first)
    used = subject.expect_of_model([use.name for use in first.tool_uses] == ["get_weather"], "the model uses the tool")
    if not subject.expect_of_model(first.stop_reason == "tool_use", "the stop reason is tool_use") or not used:
        return
    results = [
        {"toolResult": {"toolUseId": use.tool_use_id, "content": [{"json": {"sky": "clear"}}]}}
        for use in first.tool_uses
    ]
    second = await subject.client.converse(
        subject.model,
        [*messages, first.message, {"role": "user", "content": results}],
        tools=[_TOOL],
        max_tokens=_ANSWER_TOKENS,
    )
    subject.agree("Converse", second)
    subject.expect(second.stop_reason, "the service accepts the tool use with its result")


async def _tools_stream(subject: Subject) -> None:
    async with subject.client.stream(
        subject.model, _WEATHER, tools=[_TOOL], tool_choice="any", max_tokens=_ANSWER_TOKENS
    ) as stream:
        events = [event async for event in stream]
        reply = await stream.get_final_response()
    subject.agree_events("ConverseStream", events)
    inputs = [use.input for use in reply.tool_uses]
    if subject.expect_of_model(reply.stop_reason == "tool_use" and inputs, "the model uses the tool"):
        subject.expect(isinstance(inputs[0], Mapping), "the pieces of the tool's input are an object together")


async def _reasoning(subject: Subject) -> None:
    fields = next((fields for name, fields in _REASONING if name in _base(subject)), None)
    if fields is None:
        raise Skipped("it is not known here how to ask this model to reason")
    stream = subject.client.stream(
        subject.model,
        "Which is larger, 9.11 or 9.9?",
        max_tokens=_THINKING_TOKENS,
        additional_request_fields=fields,
    )
    async with stream:
        events = [event async for event in stream]
        reply = await stream.get_final_response()
    subject.agree_events("ConverseStream", events)
    subject.expect_of_model(reply.reasoning or not reply.text, "the reasoning is separate from the answer")


_REASONING: Final[Sequence[tuple[str, Mapping[str, object]]]] = (
    ("anthropic.claude", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ("amazon.nova-2", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
    ("openai.gpt-oss", {"reasoning_effort": "low"}),
)


async def _cache(subject: Subject) -> None:
    system: list[Any] = [{"text": _LONG_PROMPT}, {"cachePoint": {"type": "default"}}]
    used: list[int] = []
    for _ in range(2):
        reply = await subject.client.converse(subject.model, _QUESTION, system=system, max_tokens=_CUT_TOKENS)
        subject.agree("Converse", reply)
        used += [reply.usage.cache_write_input_tokens or 0, reply.usage.cache_read_input_tokens or 0]
    if not any(used):
        raise Skipped("the model caches no prompt of this length")
    subject.expect_of_model(used[1] or used[3], "the second call reads what the first one wrote")


async def _document(subject: Subject) -> None:
    document = {"name": "note", "format": "txt", "source": {"bytes": _NOTE}}
    content = [{"document": document}, {"text": "Which word does the note tell?"}]
    reply = await subject.client.converse(
        subject.model, [{"role": "user", "content": content}], max_tokens=_ANSWER_TOKENS
    )
    subject.agree("Converse", reply)
    sent = json.loads(subject.last.request.body)["messages"][0]["content"][0]["document"]["source"]["bytes"]
    subject.expect(base64.b64decode(sent) == _NOTE, "bytes travel as base64")


async def _count_tokens(subject: Subject) -> None:
    count = await subject.client.count_tokens(subject.model, _QUESTION)
    subject.agree("CountTokens", count)
    subject.expect(count.input_tokens > 0, "it counts")


async def _invoke(subject: Subject) -> None:
    answer = await subject.client.invoke(subject.model, _native(subject))
    subject.agree_bytes(answer)
    subject.expect(isinstance(answer.json(), dict), "the native answer is an object")
    subject.expect(answer.meta.request_id, "it has a request id")


async def _invoke_stream(subject: Subject) -> None:
    chunks = [chunk async for chunk in subject.client.invoke_stream(subject.model, _native(subject))]
    subject.agree_events("InvokeModelWithResponseStream", chunks)
    subject.expect(all(isinstance(chunk.json(), dict) for chunk in chunks), "every native chunk is an object")


def _native(subject: Subject) -> Mapping[str, JSONValue]:
    body = subject.configuration.native_body or native_body(_base(subject))
    if body is None:
        raise Skipped("the native body of this model is not known here: pass --native-body FILE")
    return body


def native_body(model: str) -> Mapping[str, JSONValue] | None:
    """Return a short question in the native dialect of a model, given its base id; None if that is unknown."""
    return next((make(_QUESTION) for start, make in _NATIVE if model.startswith(start)), None)


def _chat(limit: str) -> Callable[[str], Mapping[str, JSONValue]]:
    return lambda text: {"messages": [{"role": "user", "content": text}], limit: _ANSWER_TOKENS}


def _claude(text: str) -> Mapping[str, JSONValue]:
    return {**_chat("max_tokens")(text), "anthropic_version": "bedrock-2023-05-31"}


def _nova(text: str) -> Mapping[str, JSONValue]:
    messages: JSONValue = [{"role": "user", "content": [{"text": text}]}]
    return {"messages": messages, "inferenceConfig": {"maxTokens": _ANSWER_TOKENS}}


# "Inference request parameters and response fields for foundation models", Amazon Bedrock user guide. First match wins.
_NATIVE: Final[Sequence[tuple[str, Callable[[str], Mapping[str, JSONValue]]]]] = (
    ("anthropic.", _claude),
    ("amazon.nova", _nova),
    (
        "amazon.titan-text",
        lambda text: {"inputText": text, "textGenerationConfig": {"maxTokenCount": _ANSWER_TOKENS}},
    ),
    ("meta.llama", lambda text: {"prompt": text, "max_gen_len": _ANSWER_TOKENS}),
    ("mistral.mi", lambda text: {"prompt": f"<s>[INST] {text} [/INST]", "max_tokens": _ANSWER_TOKENS}),
    ("cohere.command-r", lambda text: {"message": text, "max_tokens": _ANSWER_TOKENS}),
    ("openai.", _chat("max_completion_tokens")),
    *((f"{vendor}.", _chat("max_tokens")) for vendor in ("ai21", "deepseek", "google", "minimax", "moonshot")),
    *((f"{vendor}.", _chat("max_tokens")) for vendor in ("nvidia", "qwen", "writer", "zai")),
)


async def _apply_guardrail(subject: Subject) -> None:
    configuration = subject.configuration
    verdict = await subject.client.apply_guardrail(
        configuration.guardrail_id or "", configuration.guardrail_version, source="INPUT", content=_QUESTION
    )
    subject.agree("ApplyGuardrail", verdict)
    subject.expect(verdict.action, "the guardrail says what it did")


async def _guarded_converse(subject: Subject) -> None:
    configuration = subject.configuration
    reply = await subject.client.converse(
        subject.model,
        _QUESTION,
        max_tokens=_ANSWER_TOKENS,
        guardrail={
            "guardrailIdentifier": configuration.guardrail_id,
            "guardrailVersion": configuration.guardrail_version,
            "trace": "enabled",
        },
    )
    subject.agree("Converse", reply)
    subject.expect_of_model(
        reply.trace is not None and reply.trace.guardrail is not None, "the guardrail leaves its trace"
    )


async def _guardrail_checks(subject: Subject) -> None:
    checks = {"promptAttack": {"categories": [{"category": "JAILBREAK"}]}}
    report = await subject.client.invoke_guardrail_checks(_QUESTION, checks)
    subject.agree("InvokeGuardrailChecks", report)


async def _async_invoke(subject: Subject) -> None:
    configuration = subject.configuration
    if configuration.async_model is None or configuration.async_input is None:
        raise Skipped("it needs --async-model and --async-input")
    job = await subject.client.start_async_invoke(
        configuration.async_model, configuration.async_input, output_s3_uri=configuration.output_s3_uri or ""
    )
    started = subject.last.response
    subject.expect(started and json.loads(started.body)["invocationArn"] == job.arn, "the handle has the ARN")
    summary = await job.summary()
    subject.agree("GetAsyncInvoke", summary)
    subject.expect(summary.invocation_arn == job.arn, "its state is that of the job")


async def _list_async_invokes(subject: Subject) -> None:
    summaries = [each async for each in subject.client.list_async_invokes(max_results=3)]
    response = subject.last.response
    listed: list[JSONValue] = json.loads(response.body).get("asyncInvokeSummaries", []) if response else []
    came: list[JSONValue] = [each.to_wire() for each in summaries]
    subject.expect(same(came, listed[: len(came)]), "to_wire() is the JSON that came")


async def _no_such_model(subject: Subject) -> None:
    call = subject.client.converse(_NOBODY, _QUESTION, max_tokens=1)
    await subject.refusal("Converse", call, ValidationError)


async def _no_such_model_stream(subject: Subject) -> None:
    call = subject.client.stream(_NOBODY, _QUESTION, max_tokens=1).get_final_response()
    await subject.refusal("ConverseStream", call, ValidationError)


async def _bad_value(subject: Subject) -> None:
    await subject.refusal("Converse", subject.client.converse(subject.model, _QUESTION, max_tokens=0), ValidationError)


async def _bad_key(subject: Subject) -> None:
    async with subject.open_client(credentials=Credentials("AKIDNOSUCHKEYEXAMPLE", "no-such-secret")) as client:
        call = client.converse(subject.model, _QUESTION, max_tokens=1)
        await subject.refusal("Converse", call, AuthenticationError)


async def _bad_api_key(subject: Subject) -> None:
    async with subject.open_client(api_key="no-such-key") as client:
        call = client.converse(subject.model, _QUESTION, max_tokens=1)
        await subject.refusal("Converse", call, ServiceError)


CHECKS: Final[tuple[Check, ...]] = (
    Check(
        name="converse",
        operation="Converse",
        promise="a whole answer: text, stop reason, tokens, request id",
        run=_converse,
        essential=True,
    ),
    Check(
        name="stream",
        operation="ConverseStream",
        promise="every event, in order, and the response that they make",
        run=_converse_stream,
        essential=True,
    ),
    Check(
        name="no-such-model",
        operation="Converse",
        promise="an unknown model is a ValidationError",
        run=_no_such_model,
        essential=True,
    ),
    Check(
        name="no-such-model-stream",
        operation="ConverseStream",
        promise="an unknown model is a ValidationError in a stream, too",
        run=_no_such_model_stream,
        essential=True,
    ),
    Check(
        name="bad-value",
        operation="Converse",
        promise="a value out of range is a ValidationError",
        run=_bad_value,
        essential=True,
    ),
    Check(
        name="bad-key",
        operation="Converse",
        promise="a made-up key is an AuthenticationError",
        run=_bad_key,
        essential=True,
    ),
    Check(
        name="bad-api-key",
        operation="Converse",
        promise="a made-up API key is refused",
        run=_bad_api_key,
        essential=True,
    ),
    Check(
        name="list-async-invokes",
        operation="ListAsyncInvokes",
        promise="the jobs of the account",
        run=_list_async_invokes,
    ),
    Check(name="count-tokens", operation="CountTokens", promise="how many tokens a request has", run=_count_tokens),
    Check(name="max-tokens", operation="Converse", promise="an answer that is cut short says so", run=_max_tokens),
    Check(
        name="system-and-stop",
        operation="Converse",
        promise="a system prompt, and an end at a stop sequence",
        run=_system_and_stop,
    ),
    Check(name="document", operation="Converse", promise="a document goes out as bytes", run=_document),
    Check(name="invoke", operation="InvokeModel", promise="the native answer, byte for byte", run=_invoke),
    Check(
        name="invoke-stream",
        operation="InvokeModelWithResponseStream",
        promise="every native chunk",
        run=_invoke_stream,
    ),
    Check(name="tools", operation="Converse", promise="a tool is used, and its result taken back", run=_tools),
    Check(
        name="tools-stream",
        operation="ConverseStream",
        promise="the input of a tool, put together from pieces",
        run=_tools_stream,
    ),
    Check(
        name="apply-guardrail",
        operation="ApplyGuardrail",
        promise="what a guardrail finds",
        run=_apply_guardrail,
        needs="--guardrail",
    ),
    Check(
        name="guarded-converse",
        operation="Converse",
        promise="the trace of a guardrail",
        run=_guarded_converse,
        needs="--guardrail",
    ),
    Check(
        name="guardrail-checks",
        operation="InvokeGuardrailChecks",
        promise="checks without a guardrail",
        run=_guardrail_checks,
        needs="--guardrail-checks",
    ),
    Check(
        name="async-invoke",
        operation="StartAsyncInvoke",
        promise="a job starts and reports its state",
        run=_async_invoke,
        needs="--output-s3-uri",
    ),
    Check(name="cache", operation="Converse", promise="a prompt is written to the cache, and read from it", run=_cache),
    Check(name="reasoning", operation="ConverseStream", promise="reasoning, separate from the answer", run=_reasoning),
)
"""The checks, cheapest first, so that as many as possible run before the budget is used up."""


def _base(subject: Subject) -> str:
    """Return the id of the model without geography, or an empty string if it cannot be told from the id."""
    return parse_model_id(subject.model).base_model or ""
