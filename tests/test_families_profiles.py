"""Facts about models: the most specific pattern wins, every fact has a source, and a call may know better."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

import pytest
from corpus import exchanges

from bedrock_async import InvalidRequestError
from bedrock_async.families import UNKNOWN, ModelProfile, find_profile
from bedrock_async.families._facts import PROFILES
from bedrock_async.families.profiles import best_match, overridden
from bedrock_async.model_id import VENDORS, parse_model_id

RECORDED: Final = sorted({e.model_id for e in exchanges() if parse_model_id(e.model_id or "x").vendor in VENDORS})


@pytest.mark.parametrize("model", RECORDED)
def test_every_recorded_model_has_facts(model: str) -> None:
    """Of models that were called, more is known than nothing; where they were called for text, that they give it."""
    profile = find_profile(parse_model_id(model).base_model)
    assert profile is not UNKNOWN
    conversed = any(e.model_id == model and e.status == 200 and e.kind.startswith("converse") for e in exchanges())
    assert profile.chats or not conversed


@pytest.mark.parametrize("kind", ["tools", "reasoning_response", "image_input", "video_input", "citations_response"])
def test_facts_do_not_contradict_the_recordings(kind: str) -> None:
    """What a model was recorded to take or give through Converse, its profile does not deny."""
    for exchange in exchanges():
        if exchange.status != 200 or not exchange.kind.startswith("converse") or kind not in exchange.features:
            continue
        base_model = parse_model_id(exchange.model_id).base_model
        profile = find_profile(base_model)
        holds = {
            "tools": profile.tools,
            "reasoning_response": profile.reasoning is not None or profile is UNKNOWN,
            "image_input": "image" in profile.input_modalities,
            "video_input": "video" in profile.input_modalities,
            "citations_response": profile.citations,
        }
        assert holds[kind], (base_model, exchange.id)


def test_forms_of_the_tool_choice_that_worked_are_known() -> None:
    """A form of tool_choice that a model was recorded to accept is among its forms."""
    for exchange in exchanges():
        if exchange.status == 200 and exchange.kind.startswith("converse") and "tool_choice" in exchange.features:
            (form,) = exchange.request_json["toolConfig"]["toolChoice"]
            assert form in find_profile(parse_model_id(exchange.model_id).base_model).tool_choice, exchange.id


def test_caching_was_recorded_only_where_the_facts_know_it() -> None:
    """A model that wrote or read its cache has caching facts, whose minimum the cached prompts reach."""
    for exchange in exchanges("converse", 200):
        if exchange.model_id == "unknown" or "cache_write" not in exchange.features:
            continue
        caching = find_profile(parse_model_id(exchange.model_id).base_model).caching
        assert caching is not None, exchange.model_id
        assert exchange.response_json["usage"]["cacheWriteInputTokens"] >= caching.min_tokens


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_every_known_vendor_has_defaults(vendor: str) -> None:
    """A model of tomorrow of a vendor of today is not unknown, but for those that serve one kind of model each."""
    assert any(
        fnmatchcase(f"{vendor}.{name}-of-tomorrow", pattern) for pattern in PROFILES for name in ("x", "marengo")
    )


def test_every_pattern_is_of_one_vendor_and_has_a_source() -> None:
    """Nobody's facts apply to somebody else's models, and each can be looked up."""
    for pattern, profile in PROFILES.items():
        assert pattern.partition(".")[0] in VENDORS, pattern
        assert "[" in profile.source, pattern


def test_facts_agree_with_each_other() -> None:
    """No reply is longer than the window, ways of caching are ordered, what does not chat has its facts."""
    for pattern, profile in PROFILES.items():
        if profile.context_window is not None and profile.max_output_tokens is not None:
            assert profile.max_output_tokens <= profile.context_window, pattern
        if profile.caching is not None:
            assert profile.caching.min_tokens > 0, pattern
            assert set(profile.caching.ttls) <= {"5m", "1h"}, pattern
            assert profile.caching.max_points == 4, pattern
        assert (profile.embedding is not None) == ("embedding" in profile.output_modalities), pattern
        assert not (profile.tools and not profile.chats and "audio" not in profile.output_modalities), pattern
        if profile.reasoning is not None and (profile.reasoning.budget or profile.reasoning.efforts):
            assert profile.reasoning.field, pattern


@pytest.mark.parametrize(
    ("model", "member", "value"),
    [
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "structured_output", True),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "structured_output", False),
        ("anthropic.claude-opus-4-20250514-v1:0", "max_output_tokens", 32_000),
        ("anthropic.claude-opus-4-6-v1", "prefill", False),
        ("anthropic.claude-opus-5-5", "tool_choice", frozenset({"auto"})),
        ("anthropic.claude-v2:1", "context_window", 200_000),
        ("anthropic.claude-model-of-tomorrow", "tools", True),
        ("meta.llama3-8b-instruct-v1:0", "context_window", 8_192),
        ("meta.llama3-1-8b-instruct-v1:0", "context_window", 128_000),
        ("amazon.nova-2-sonic-v1:0", "output_modalities", frozenset({"audio"})),
        ("amazon.nova-2-lite-v1:0", "max_output_tokens", 64_000),
        ("amazon.nova-micro-v1:0", "input_modalities", frozenset({"text"})),
        ("cohere.command-light-text-v14", "tools", False),
        ("moonshotai.kimi-k3", "context_window", 1_000_000),
    ],
)
def test_the_most_specific_facts_win(model: str, member: str, value: object) -> None:
    """From single versions up to the vendor."""
    assert getattr(find_profile(model), member) == value


def test_an_unknown_model_is_assumed_to_take_what_it_is_given() -> None:
    """No facts means no caching and no reasoning, and no refusals."""
    for model in ("acme.chat-1", "", None):
        assert find_profile(model) is UNKNOWN
    assert UNKNOWN.chats
    assert UNKNOWN.tools
    assert UNKNOWN.caching is None
    assert UNKNOWN.reasoning is None


def test_a_tables_own_facts_come_first() -> None:
    """Those of a family that was given, before the built-in ones."""
    mine = ModelProfile(source="mine", context_window=1)
    found = find_profile("amazon.nova-lite-v1:0", also=[{"acme.*": mine}, {"amazon.nova-*": mine}])
    assert found is mine
    assert find_profile("amazon.nova-lite-v1:0", also=[{"acme.*": mine}]).context_window == 300_000


def test_the_pattern_with_the_most_of_its_own_fits_best() -> None:
    """Stars count nothing."""
    assert best_match("a.bcd", ["a.*", "*", "a.b*", "a.*d", "x.*"]) in {"a.b*", "a.*d"}
    assert best_match("a.bcd", ["a.*", "a.bcd", "a.bc*"]) == "a.bcd"
    assert best_match("a.bcd", ["b.*"]) is None


def test_a_call_may_know_better() -> None:
    """Single facts over what the table says, or a whole profile in its place."""
    profile = find_profile("amazon.nova-lite-v1:0")
    better = overridden(profile, {"max_output_tokens": 5, "streaming": False})
    assert better == replace(profile, max_output_tokens=5, streaming=False, source="the call")
    mine = ModelProfile(source="mine")
    assert overridden(profile, mine) is mine


@pytest.mark.parametrize(
    ("facts", "path", "says"),
    [
        ({"max_output_token": 5}, "provider_options.profile.max_output_token", "Did you mean 'max_output_tokens'?"),
        ({"zzz": 5}, "provider_options.profile.zzz", "It has: source, context_window"),
        (5, "provider_options.profile", "is an int, not a mapping"),
    ],
)
def test_facts_that_nobody_knows_are_refused(facts: object, path: str, says: str) -> None:
    """With the nearest name."""
    with pytest.raises(InvalidRequestError) as caught:
        overridden(UNKNOWN, facts)
    assert caught.value.path == path
    assert says in str(caught.value)
