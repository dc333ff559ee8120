"""The normaliser: what each rule changes, what it leaves alone, and that it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from hypothesis import given, settings
from strategies import parameters

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families.profiles import UNKNOWN, ModelProfile, find_profile
from bedrock_async.features.cache_plan import CacheConfig, plan_cache
from bedrock_async.features.normalize import (
    DOCUMENT_TEXT,
    INVALID_JSON,
    NO_OUTPUT,
    NO_TOOL,
    RULES,
    SEPARATOR,
    Normalized,
    is_plain,
    normalize,
    rules_for,
)
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import ConverseRequest, ToolResultBlock, ToolUseBlock

CLAUDE: Final = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA: Final = "amazon.nova-lite-v1:0"
LLAMA: Final = "meta.llama3-3-70b-instruct-v1:0"
TOOLS: Final = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}
USE: Final[dict[str, dict[str, Any]]] = {"toolUse": {"toolUseId": "u", "name": "t", "input": {}}}
RESULT: Final = {"toolResult": {"toolUseId": "u", "content": [{"text": "done"}]}}
TEXT: Final = {"text": "hello"}
POINT: Final = {"cachePoint": {"type": "default"}}
SIGNED: Final = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
UNSIGNED: Final = {"reasoningContent": {"reasoningText": {"text": "hm"}}}


def document(name: str = "a", **source: object) -> dict[str, Any]:
    """Return a text document."""
    return {"document": {"name": name, "format": "txt", "source": source or {"bytes": b"x"}}}


def user(*content: object) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": list(content)}


def assistant(*content: object) -> dict[str, Any]:
    """Return a message of the assistant."""
    return {"role": "assistant", "content": list(content)}


def normalized(
    *messages: Mapping[str, object],
    model: str | None = CLAUDE,
    off: tuple[str, ...] = (),
    strict: bool = False,
    **members: object,
) -> Normalized:
    """Normalise a request made of boto3's shapes."""
    request = ConverseRequest.from_dict({"messages": list(messages), **members})
    return normalize(request, base_model=model, profile=find_profile(model), off=off, strict=strict)


def changed(found: Normalized) -> dict[str, Any]:
    """Return the request as boto3's shape."""
    return found.request.to_dict()


def turns(found: Normalized) -> list[dict[str, Any]]:
    """Return the messages as boto3's shape."""
    return [message.to_dict() for message in found.request.messages or ()]


CASES: Final[dict[str, tuple[str, tuple[Any, ...], tuple[Any, ...], str]]] = {
    # name: model, messages before, messages after, the line that is reported
    "s3_location": (
        CLAUDE,
        (user(TEXT, document(location={"type": "s3", "uri": "s3://b/k", "bucketOwner": "123456789012"})),),
        (user(TEXT, document(s3Location={"uri": "s3://b/k", "bucketOwner": "123456789012"})),),
        "messages[0].content[1].document.source.location: written as s3Location (s3_location)",
    ),
    "media_format": (
        NOVA,
        (user(TEXT, {"video": {"format": "3gp", "source": {"bytes": b"x"}}}),),
        (user(TEXT, {"video": {"format": "three_gp", "source": {"bytes": b"x"}}}),),
        "messages[0].content[1].video.format: 3gp written as three_gp (media_format)",
    ),
    "blank_text": (
        NOVA,
        (user({"text": " \n"}, TEXT),),
        (user(TEXT),),
        "messages[0].content[0]: blank text dropped (blank_text)",
    ),
    "empty_tool_result": (
        CLAUDE,
        (assistant(USE), user({"toolResult": {"toolUseId": "u", "content": []}})),
        (assistant(USE), user({"toolResult": {"toolUseId": "u", "content": [{"text": NO_OUTPUT}]}})),
        "messages[1].content[0].toolResult.content: was empty: '(no output)' added (empty_tool_result)",
    ),
    "empty_message": (
        CLAUDE,
        (user(TEXT), assistant(POINT), user(TEXT)),
        (user(TEXT, TEXT),),
        "messages[1]: message without content dropped (empty_message)",
    ),
    "tool_result_json": (
        NOVA,
        (assistant(USE), user({"toolResult": {"toolUseId": "u", "content": [{"json": {"a": "é"}}]}})),
        (assistant(USE), user({"toolResult": {"toolUseId": "u", "content": [{"text": '{"a": "é"}'}]}})),
        "messages[1].content[0].toolResult.content[0]: JSON written as text (tool_result_json)",
    ),
    "tool_result_alone": (
        LLAMA,
        (assistant(USE), user(TEXT, RESULT, POINT)),
        (assistant(USE), user(RESULT, POINT), assistant({"text": SEPARATOR}), user(TEXT)),
        "messages[1]: tool results separated from 1 block by an assistant message (tool_result_alone)",
    ),
    "document_name": (
        CLAUDE,
        (user(TEXT, document("report.pdf"), document("report"), document("report.txt")),),
        (user(TEXT, document("report"), document("report (2)"), document("report (3)")),),
        "messages[0].content[1].document.name: changed to 'report' (document_name)",
    ),
    "document_text": (
        CLAUDE,
        (user(document(), POINT),),
        (user(document(), {"text": DOCUMENT_TEXT}, POINT),),
        "messages[0].content: 'The document is attached.' added to a document without text (document_text)",
    ),
    "block_order": (
        CLAUDE,
        (user(TEXT), assistant(USE, TEXT, POINT, SIGNED), user(RESULT)),
        (user(TEXT), assistant(SIGNED, TEXT, POINT, USE), user(RESULT)),
        "messages[1].content: reasoning moved to the front, text before the tool uses (block_order)",
    ),
    "trailing_space": (
        CLAUDE,
        (user(TEXT), assistant({"text": "So: \n"})),
        (user(TEXT), assistant({"text": "So:"})),
        "messages[1].content[0].text: trailing whitespace dropped (trailing_space)",
    ),
    "reasoning_replay": (
        CLAUDE,
        (user(TEXT), assistant(UNSIGNED, TEXT), user(TEXT)),
        (user(TEXT), assistant(TEXT), user(TEXT)),
        "messages[1].content[0]: reasoning without a signature dropped (reasoning_replay)",
    ),
    "cache_points": (
        NOVA,
        (user({"text": "a"}, POINT, POINT), assistant(TEXT), user(POINT, TEXT)),
        (user({"text": "a"}, POINT), assistant(TEXT), user(TEXT)),
        "messages[0].content[2]: cache point dropped: another one is already there (cache_points)",
    ),
    "tool_input": (
        CLAUDE,
        (assistant({"toolUse": {"toolUseId": "u", "name": "t", "input": '{"a": '}}), user(RESULT)),
        (assistant({"toolUse": {"toolUseId": "u", "name": "t", "input": {INVALID_JSON: '{"a": '}}}), user(RESULT)),
        "messages[0].content[0].toolUse.input: not a JSON object: kept as text under 'INVALID_JSON' (tool_input)",
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_changes_what_it_is_for_and_says_so(rule: str) -> None:
    """Each rule makes the request that the service takes, leaves the given one alone, and reports place and change."""
    model, before, after, line = CASES[rule]
    request = ConverseRequest.from_dict({"messages": list(before), "toolConfig": TOOLS})
    given_form = request.to_dict()
    found = normalize(request, base_model=model, profile=find_profile(model))
    assert turns(found) == list(after)
    assert str(found.adjustments[0]) == line
    assert {each.rule for each in found.adjustments} == {rule}
    assert request.to_dict() == given_form


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_that_is_off_changes_nothing(rule: str) -> None:
    """Switched off, a rule leaves its case as it is."""
    model, before, _, _ = CASES[rule]
    found = normalized(*before, model=model, off=(rule, "cache_points"), toolConfig=TOOLS)
    assert found == Normalized(found.request)
    assert turns(found) == list(before)


@pytest.mark.parametrize("rule", CASES)
def test_strict_mode_refuses_what_it_would_change(rule: str) -> None:
    """In strict mode the error names the place, the change, the rule and why the rule is there."""
    model, before, _, line = CASES[rule]
    with pytest.raises(InvalidRequestError) as failure:
        normalized(*before, model=model, strict=True, toolConfig=TOOLS)
    assert failure.value.path
    assert line.startswith(f"{failure.value.path}: ")
    assert f"switch the rule {rule!r} off" in str(failure.value)
    assert next(row.why for row in RULES if row.name == rule) in str(failure.value)


def test_strict_mode_passes_what_needs_no_change() -> None:
    """A request without faults is the same object, strict or not."""
    request = ConverseRequest.from_dict({"messages": [user(TEXT)], "system": [TEXT]})
    assert normalize(request, base_model=CLAUDE, profile=find_profile(CLAUDE), strict=True).request is request


def test_every_rule_is_documented() -> None:
    """The table of docs/requests.md has each rule with its models and its reason, in the order in which they run."""
    page = (Path(__file__).parent.parent / "docs" / "requests.md").read_text("utf-8")
    section = page.partition("\n## Automatic corrections\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if re.match(r"\| `\w+` \| `", line)]
    assert rows == [
        f"| `{rule.name}` | {', '.join(f'`{pattern}`' for pattern in rule.models)} | {rule.why} |" for rule in RULES
    ]


def test_every_rule_is_tested() -> None:
    """No row of the table is without a case: those about settings have tests of their own."""
    of_settings = {"tool_config", "strict_tool", "forced_tool", "sampling", "nova_sampling"}
    assert {rule.name for rule in RULES} == set(CASES) | of_settings
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_rule_that_does_not_exist_cannot_be_switched_off() -> None:
    """A misspelt rule is an error with the nearest name, never silently nothing."""
    with pytest.raises(InvalidRequestError, match="Did you mean 'blank_text'"):
        normalized(user(TEXT), off=("blank_texts",))


@pytest.mark.parametrize(
    ("model", "name", "there"),
    [
        (CLAUDE, "trailing_space", True),
        (NOVA, "trailing_space", False),
        (NOVA, "tool_result_json", True),
        (CLAUDE, "tool_result_json", False),
        (LLAMA, "tool_result_alone", True),
        (NOVA, "tool_result_alone", False),
        (None, "blank_text", True),
        (None, "trailing_space", False),
        (None, "reasoning_replay", False),
        (LLAMA, "reasoning_replay", True),
    ],
)
def test_rules_are_chosen_by_family_and_facts(model: str | None, name: str, there: bool) -> None:  # noqa: FBT001
    """A family has its own rows; a model of which nothing is known has only those that hold for all."""
    assert (name in {rule.name for rule in rules_for(model, find_profile(model))}) is there


@pytest.mark.parametrize(("model", "stays"), [(CLAUDE, True), (NOVA, False), (LLAMA, False), (None, True)])
def test_strict_tools_are_for_models_that_know_them(model: str | None, stays: bool) -> None:  # noqa: FBT001
    """A tool that is strict for one model is sent to another without that; of an unknown one nobody can tell."""
    (loose,) = TOOLS["tools"]
    strict = {"toolSpec": {**loose["toolSpec"], "strict": True}}
    found = normalized(user(TEXT), model=model, toolConfig={"tools": [loose, strict]})
    assert found.request.to_dict()["toolConfig"] == {"tools": [loose, strict if stays else loose]}
    assert [str(each) for each in found.adjustments] == [
        "toolConfig.tools[1].toolSpec.strict: dropped, because the model does not support it (strict_tool)"
    ] * (not stays)
    plain = ConverseRequest.from_dict({"messages": [user(TEXT)], "toolConfig": {"tools": [strict]}})
    assert is_plain(plain, find_profile(model)) is (model == CLAUDE)


def test_history_with_tools_gets_a_tool() -> None:
    """Tool blocks in the history without tools in the request: one is declared, and never chosen for the caller."""
    found = normalized(user(TEXT), assistant(USE), user(RESULT))
    (tool,) = changed(found)["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == NO_TOOL
    assert [str(each) for each in found.adjustments] == [
        "toolConfig: tool 'noop' declared, because the history uses tools (tool_config)"
    ]


def test_a_forced_tool_goes_before_thinking() -> None:
    """Where the two exclude one another the forced tool stays, and what else the caller asked of the model too."""
    members: dict[str, Any] = {
        "toolConfig": {**TOOLS, "toolChoice": {"any": {}}},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5},
    }
    found = normalized(user(TEXT), **members)
    assert changed(found)["additionalModelRequestFields"] == {"top_k": 5}
    assert [each.rule for each in found.adjustments] == ["forced_tool"]
    assert not normalized(user(TEXT), model="anthropic.claude-sonnet-4-6", **members).adjustments


def test_thinking_does_not_begin_in_the_midst_of_a_turn_of_tools() -> None:
    """Claude refuses it: the turn that a forced tool began goes on without; one that began with thinking keeps it."""
    members: dict[str, Any] = {
        "toolConfig": TOOLS,
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    }
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}}
    use: dict[str, Any] = {"toolUse": {"toolUseId": "u", "name": "t", "input": {}}}
    result = {"toolResult": {"toolUseId": "u", "content": [{"text": "1"}]}}
    forced = [user(TEXT), assistant(use), user(result)]
    for turns in (forced, [*forced, assistant(thought, use), user(result)]):
        found = normalized(*turns, **members)
        assert "additionalModelRequestFields" not in changed(found)
        assert [each.rule for each in found.adjustments] == ["forced_tool"]
    begun = [user(TEXT), assistant(thought, use), user(result)]
    for turns in (begun, [*begun, assistant(use), user(result)], [*forced, assistant(TEXT), user(TEXT)]):
        assert not normalized(*turns, **members).adjustments
    members["additionalModelRequestFields"] = {"thinking": {"type": "adaptive"}}
    assert not normalized(*forced, **members).adjustments


@pytest.mark.parametrize(
    ("model", "inference", "thinking", "left"),
    [
        (CLAUDE, {"temperature": 0.5, "topP": 0.9}, False, {"temperature": 0.5}),
        (CLAUDE, {"temperature": 0.5, "maxTokens": 9}, True, {"maxTokens": 9}),
        (CLAUDE, {"temperature": 1.0}, True, {"temperature": 1.0}),
        ("anthropic.claude-opus-4-7", {"temperature": 0.5, "topP": 0.9, "maxTokens": 9}, False, {"maxTokens": 9}),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"temperature": 0.5, "topP": 0.9}, False, None),
        (NOVA, {"temperature": 0.5, "topP": 0.9}, False, None),
    ],
)
def test_sampling_that_a_model_refuses_is_left_out(
    model: str,
    inference: dict[str, float],
    thinking: bool,  # noqa: FBT001
    left: dict[str, float] | None,
) -> None:
    """Temperature and topP go only where the model takes them, and both only where it takes both."""
    fields: dict[str, Any] = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
    found = normalized(user(TEXT), model=model, inferenceConfig=inference, **(fields if thinking else {}))
    assert changed(found)["inferenceConfig"] == (inference if left is None else left)
    assert bool(found.adjustments) is (changed(found)["inferenceConfig"] != inference)


def test_blank_text_is_dropped_from_system_prompts_and_results_too() -> None:
    """A system prompt of which nothing is left is left out; a result that was blank says that it gave nothing."""
    found = normalized(
        user(TEXT),
        assistant(USE),
        user({"toolResult": {"toolUseId": "u", "content": [{"text": ""}]}}),
        system=[{"text": "\t"}],
        toolConfig=TOOLS,
    )
    assert "system" not in changed(found)
    assert turns(found)[2] == user({"toolResult": {"toolUseId": "u", "content": [{"text": NO_OUTPUT}]}})


def test_a_blank_line_that_carries_a_cache_point_stays() -> None:
    """Between a document and a cache point blank text does what a point right behind the document must not."""
    messages = (user(TEXT, document(), {"text": "\n"}, POINT),)  # as it was recorded
    assert turns(normalized(*messages)) == list(messages)


@pytest.mark.parametrize(
    ("model", "block", "kept"),
    [
        (CLAUDE, SIGNED, True),
        ("amazon.nova-2-lite-v1:0", SIGNED, False),
        ("amazon.nova-2-lite-v1:0", UNSIGNED, True),
        (NOVA, UNSIGNED, False),
        ("deepseek.v3-v1:0", UNSIGNED, False),
        ("openai.gpt-oss-120b-1:0", UNSIGNED, True),
        ("openai.gpt-6-terra", SIGNED, True),
        (None, SIGNED, True),
    ],
)
def test_reasoning_goes_back_to_who_can_read_it(model: str | None, block: dict[str, Any], kept: bool) -> None:  # noqa: FBT001
    """To the model that signed it, and unsigned to models that take it; of an unknown model nobody knows."""
    found = normalized(user(TEXT), assistant(block, TEXT), user(TEXT), model=model)
    assert (block in turns(found)[1]["content"]) is kept
    assert bool(found.adjustments) is not kept


def test_messages_around_a_dropped_one_are_joined() -> None:
    """Roles alternate still; messages of one role that the caller put in a row stay as they were answered."""
    more = {"text": "more"}
    found = normalized(user(TEXT), assistant(POINT), user(more), assistant(TEXT), user(TEXT), user(TEXT))
    assert turns(found) == [user(TEXT, more), assistant(TEXT), user(TEXT), user(TEXT)]
    assert "messages[2]: joined with messages[0], which has the same role (empty_message)" in map(
        str, found.adjustments
    )


def test_claude_gets_the_results_of_tools_first() -> None:
    """Of a user's message results go before other content, each with its cache point; elsewhere they stay."""
    other = {**RESULT, "toolResult": {**RESULT["toolResult"], "toolUseId": "v"}}
    found = normalized(user(TEXT), assistant(USE), user(TEXT, RESULT, POINT, TEXT, other), toolConfig=TOOLS)
    assert turns(found)[2] == user(RESULT, POINT, other, TEXT, TEXT)
    assert [str(each) for each in found.adjustments] == [
        "messages[2].content: tool results moved to the front (block_order)"
    ]
    elsewhere = normalized(user(TEXT), assistant(USE), user(TEXT, RESULT), model=NOVA, toolConfig=TOOLS)
    assert turns(elsewhere)[2] == user(TEXT, RESULT)


def test_thinking_between_blocks_is_left_where_the_service_put_it() -> None:
    """An answer that begins with its thinking is the service's own: its signed pieces keep their order."""
    answer = assistant(SIGNED, TEXT, SIGNED, USE)
    assert turns(normalized(user(TEXT), answer, user(RESULT), toolConfig=TOOLS))[1] == answer


def test_what_the_service_ran_stays_in_its_order() -> None:
    """Server tools and their results stand where they were run."""
    use: dict[str, Any] = {"toolUse": {**USE["toolUse"], "type": "server_tool_use"}}
    answer = assistant(use, RESULT, TEXT)
    assert turns(normalized(user(TEXT), answer, user(TEXT), toolConfig=TOOLS))[1] == answer


def test_names_of_documents_do_not_change_when_the_history_grows() -> None:
    """What was sent once is sent the same again, so that a cached prefix stays one."""
    history = [user(TEXT, document("a.txt")), assistant(TEXT), user(TEXT, document("a"))]
    short, long = normalized(*history), normalized(*history, assistant(TEXT), user(TEXT, document("a")))
    assert turns(long)[:3] == turns(short)


def test_a_location_that_is_not_in_s3_is_refused() -> None:
    """Strands' dialect knows one kind of place; another one is an error, not a request without a source."""
    with pytest.raises(InvalidRequestError) as failure:
        normalized(user(TEXT, document(location={"type": "web", "uri": "https://example.com"})))
    assert failure.value.path == "messages[0].content[1].document.source.location"


@pytest.mark.parametrize(
    ("given_input", "kept"),
    [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", {INVALID_JSON: "[1]"}), ([1], {INVALID_JSON: "[1]"})],
)
def test_inputs_of_tools_become_objects(given_input: object, kept: object) -> None:
    """Text that is a JSON object is read, anything else is kept whole: never an empty input in its place."""
    use = {"toolUse": {"toolUseId": "u", "name": "t", "input": given_input}}
    found = normalized(user(TEXT), assistant(use), user(RESULT), toolConfig=TOOLS)
    assert turns(found)[1]["content"][0]["toolUse"]["input"] == kept


CONVERSE: Final = [each for kind in ("converse", "converse-stream") for each in exchanges(kind) if each.request_body]


def facts(exchange: Exchange) -> tuple[str | None, ModelProfile]:
    """Return the base model and the profile of a recorded exchange."""
    if exchange.model_id == "unknown":
        return None, UNKNOWN
    base = parse_model_id(exchange.model_id).base_model
    return base, find_profile(base)


@pytest.mark.parametrize("exchange", [each for each in CONVERSE if each.status == 200], ids=str)
def test_recorded_requests_that_were_answered_stay_as_they_are(exchange: Exchange) -> None:
    """What the service took is not touched, but for the JSON that Nova reads better as text."""
    request = ConverseRequest.from_wire(exchange.request_body)
    base, profile = facts(exchange)
    found = normalize(request, base_model=base, profile=profile, off=("tool_result_json",))
    assert found.adjustments == ()
    assert found.request is request


@pytest.mark.parametrize("exchange", CONVERSE, ids=str)
def test_normalizing_recorded_requests_twice_changes_nothing_more(exchange: Exchange) -> None:
    """What was normalised for a model needs nothing more."""
    base, profile = facts(exchange)
    once = normalize(ConverseRequest.from_wire(exchange.request_body), base_model=base, profile=profile)
    again = normalize(once.request, base_model=base, profile=profile)
    assert again.adjustments == ()
    assert again.request is once.request


@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, None])
@given(members=parameters("ConverseRequest"))
@settings(max_examples=60, deadline=None)
def test_any_request_is_settled_by_one_round(model: str | None, members: dict[str, Any]) -> None:
    """Whatever the service documents, normalising once leaves nothing to change and keeps the tool uses in order."""
    request = ConverseRequest.from_dict(members)
    once = normalize(request, base_model=model, profile=find_profile(model))
    assert normalize(once.request, base_model=model, profile=find_profile(model)).adjustments == ()
    assert _tool_ids(once.request) == _tool_ids(request)
    json.dumps(once.request.to_wire())


def _tool_ids(request: ConverseRequest) -> list[str]:
    blocks = [block for message in request.messages or () for block in message.content]
    return [block.tool_use_id for block in blocks if isinstance(block, ToolUseBlock | ToolResultBlock)]


@pytest.mark.parametrize("model", [CLAUDE, NOVA, LLAMA, "deepseek.r1-v1:0", None])
def test_recorded_histories_move_to_another_model(model: str | None) -> None:
    """A conversation begun with one model goes on with another: settled in one round, its cache points planned anew."""
    wishes = CacheConfig(system=True, tools=True, messages=True, strategy="auto", ttl="1h", min_tokens=0)
    profile = find_profile(model)
    for each in CONVERSE:
        moved = normalize(ConverseRequest.from_wire(each.request_body), base_model=model, profile=profile)
        cached = plan_cache(moved.request, wishes, profile)
        assert normalize(cached.request, base_model=model, profile=profile).adjustments == (), each.id
