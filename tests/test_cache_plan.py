"""The cache planner: where points stand, which are left out, and that the plan says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families.profiles import UNKNOWN, ModelProfile, PromptCaching, find_profile
from bedrock_async.features.cache_plan import CacheConfig, CachePlan, plan_cache
from bedrock_async.features.checks import check_cache_points
from bedrock_async.model_id import parse_model_id
from bedrock_async.types import CachePointBlock, ConverseRequest, DocumentBlock, VideoBlock

SONNET: Final = find_profile("anthropic.claude-sonnet-4-5-20250929-v1:0")
"""Caches all parts, from 1,024 tokens, for five minutes or an hour."""
NOVA: Final = find_profile("amazon.nova-lite-v1:0")
"""Caches system prompts and messages, for five minutes."""
LONG: Final = {"text": "word " * 4000}
SHORT: Final = {"text": "hello"}
POINT: Final = {"cachePoint": {"type": "default"}}
HOUR: Final = {"cachePoint": {"type": "default", "ttl": "1h"}}
TOOL: Final = {"toolSpec": {"name": "t", "description": "d" * 9000, "inputSchema": {"json": {"type": "object"}}}}
TEXT_DOCUMENT: Final = {"document": {"name": "d", "format": "txt", "source": {"bytes": b"x"}}}
PDF: Final = {"document": {"name": "d", "format": "pdf", "source": {"bytes": b"x"}}}


def user(*content: object) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": list(content)}


def assistant(*content: object) -> dict[str, Any]:
    """Return a message of the assistant."""
    return {"role": "assistant", "content": list(content)}


def planned(
    *messages: Mapping[str, object],
    config: CacheConfig | None,
    profile: ModelProfile = SONNET,
    system: list[Any] | None = None,
    tools: list[Any] | None = None,
) -> CachePlan:
    """Plan a request made of boto3's shapes."""
    members: dict[str, Any] = {"messages": list(messages)}
    if system is not None:
        members["system"] = system
    if tools is not None:
        members["toolConfig"] = {"tools": tools}
    return plan_cache(ConverseRequest.from_dict(members), config, profile)


def places(plan: CachePlan) -> dict[str, str | None]:
    """Return the paths of the points with their times to live, read from the request and not from the plan."""
    found: dict[str, str | None] = {}
    config = plan.request.tool_config
    rows: list[tuple[str, Any]] = [
        ("toolConfig.tools", config.tools if config else ()),
        ("system", plan.request.system or ()),
    ]
    rows += [(f"messages[{i}].content", message.content) for i, message in enumerate(plan.request.messages or ())]
    for path, blocks in rows:
        found |= {f"{path}[{i}]": b.ttl for i, b in enumerate(blocks) if isinstance(b, CachePointBlock)}
    return found


def test_each_part_gets_its_point_at_its_end() -> None:
    """System prompt, tools and the last message of the user: one point each, with the common time to live."""
    plan = planned(
        user(LONG),
        assistant(SHORT),
        user(SHORT),
        config=CacheConfig(system=True, tools=True, messages=True, ttl="1h"),
        system=[LONG],
        tools=[TOOL],
    )
    assert places(plan) == {"toolConfig.tools[1]": "1h", "system[1]": "1h", "messages[2].content[1]": "1h"}
    assert [(point.path, point.origin) for point in plan.points] == [(path, "planned") for path in places(plan)]
    assert plan.adjustments == ()


def test_auto_places_a_point_behind_each_message_of_the_assistant() -> None:
    """A growing conversation is cached up to its last answer; of more than four points the newest stay."""
    turns = [user(LONG), assistant(SHORT)] * 6
    assert list(places(planned(*turns[:4], user(SHORT), config=CacheConfig(strategy="auto")))) == [
        "messages[1].content[1]",
        "messages[3].content[1]",
    ]
    plan = planned(*turns, user(SHORT), config=CacheConfig(strategy="auto"))
    assert list(places(plan)) == [f"messages[{index}].content[1]" for index in (5, 7, 9, 11)]
    assert [left.path for left in plan.left_out] == ["messages[1].content[1]", "messages[3].content[1]"]


def test_a_part_may_have_a_time_of_its_own() -> None:
    """``"1h"`` for one part, the service's default for the others; the default is not written."""
    plan = planned(user(LONG), config=CacheConfig(system="1h", messages=True), system=[LONG])
    assert places(plan) == {"system[1]": "1h", "messages[0].content[1]": None}


def test_points_of_the_caller_are_kept_and_counted() -> None:
    """Four points at most: planned ones go first, oldest first, those of the caller stay untouched."""
    plan = planned(
        user(LONG, POINT),
        assistant(SHORT),
        user(SHORT, POINT),
        assistant(SHORT),
        user(SHORT),
        config=CacheConfig(system=True, strategy="auto"),
        system=[LONG],
    )
    assert list(places(plan)) == [
        "system[1]",
        "messages[0].content[1]",
        "messages[2].content[1]",
        "messages[3].content[1]",
    ]
    assert [left.path for left in plan.left_out] == ["messages[1].content[1]"]
    assert plan.adjustments == ()


def test_above_four_the_oldest_of_the_caller_in_the_messages_go_and_are_reported() -> None:
    """Too many points of the caller: those of the messages go before tools and system prompt, the oldest first."""
    plan = planned(
        *(user(LONG, POINT), assistant(SHORT, POINT)) * 2,
        user(SHORT),
        config=CacheConfig(messages=True),
        system=[LONG, POINT],
        tools=[TOOL, POINT],
    )
    assert list(places(plan)) == [
        "toolConfig.tools[1]",
        "system[1]",
        "messages[2].content[1]",
        "messages[3].content[1]",
    ]
    assert [each.path for each in plan.adjustments] == ["messages[0].content[1]", "messages[1].content[1]"]
    assert {each.rule for each in plan.adjustments} == {"cache_points"}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([LONG, TEXT_DOCUMENT], 1),
        ([LONG, PDF], 2),
        ([LONG, {"video": {"format": "mp4", "source": {"bytes": b"x"}}}], 1),
        ([TEXT_DOCUMENT, LONG], 2),
        ([TEXT_DOCUMENT], None),
        ([LONG, POINT], 1),
    ],
)
def test_no_point_is_put_where_the_service_refuses_it(content: list[Any], place: int | None) -> None:
    """Behind documents that are no PDF, and behind videos, the point moves to the front, or is left out."""
    plan = planned(user(*content), config=CacheConfig(messages=True))
    assert list(places(plan)) == ([] if place is None else [f"messages[0].content[{place}]"])


def test_reasoning_gets_no_point_right_behind_it() -> None:
    """A message of the assistant that ends in reasoning is cached up to what stands before it."""
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
    plan = planned(user(LONG), assistant(SHORT, thought), user(SHORT), config=CacheConfig(strategy="auto"))
    assert list(places(plan)) == ["messages[1].content[1]"]


def test_what_is_surely_too_short_gets_no_point() -> None:
    """Below the model's least number of tokens a point does nothing and counts; what media hold is not known."""
    config = CacheConfig(system=True, messages=True)
    plan = planned(user(SHORT), config=config, system=[SHORT])
    assert places(plan) == {}
    assert "the model caches 1,024 or more" in plan.explain()
    assert list(places(planned(user(SHORT, PDF), config=config, system=[SHORT]))) == ["messages[0].content[2]"]
    assert len(places(planned(user(SHORT), config=replace(config, min_tokens=0), system=[SHORT]))) == 2


@pytest.mark.parametrize(
    ("model", "least"), [("anthropic.claude-haiku-4-5-20251001-v1:0", 4096), ("amazon.nova-x", 1000)]
)
def test_least_sizes_are_those_of_the_model(model: str, least: int) -> None:
    """Half the least number of tokens, by four bytes each, is where points begin."""
    for size, count in ((least * 2 - 4, 0), (least * 2, 1)):
        plan = planned(user({"text": "x" * size}), config=CacheConfig(messages=True), profile=find_profile(model))
        assert len(plan.points) == count


def test_what_a_model_does_not_cache_is_left_out() -> None:
    """Nova takes points in system prompts and messages, for five minutes: the rest is planned away, with the reason."""
    plan = planned(
        user(LONG),
        config=CacheConfig(system=True, tools=True, messages=True, ttl="1h"),
        profile=NOVA,
        system=[LONG],
        tools=[TOOL],
    )
    assert places(plan) == {"system[1]": None, "messages[0].content[1]": None}
    assert "the model does not cache tools" in plan.explain()
    assert "time to live 1h changed to 5m" in plan.explain()
    manual = planned(user(LONG, HOUR), config=None, profile=NOVA, tools=[TOOL, POINT])
    assert places(manual) == {"messages[0].content[1]": None}
    assert [each.path for each in manual.adjustments] == ["toolConfig.tools[1]", "messages[0].content[1]"]


@pytest.mark.parametrize("profile", [UNKNOWN, replace(SONNET, caching=None)])
def test_nothing_is_planned_for_a_model_that_is_not_known_to_cache(profile: ModelProfile) -> None:
    """Nothing is planned, the plan says how to change that, and the caller's own points are sent."""
    plan = planned(user(LONG, HOUR), config=CacheConfig(system=True), profile=profile, system=[LONG])
    assert places(plan) == {"messages[0].content[1]": "1h"}
    assert "not known to cache prompts" in plan.explain()


@pytest.mark.parametrize(
    ("tools", "system", "message", "config", "expected"),
    [
        (None, POINT, HOUR, CacheConfig(), ["1h", "1h"]),  # the caller's earlier one is raised
        (None, POINT, None, CacheConfig(messages="1h"), [None, None]),  # the planned later one is lowered
        (None, None, HOUR, CacheConfig(system=True), ["1h", "1h"]),  # the planned earlier one is raised
        (None, None, None, CacheConfig(tools=True, system="1h", messages="5m"), ["1h", "1h", "5m"]),
        (HOUR, None, None, CacheConfig(system=True, messages=True), ["1h", None, None]),
    ],
)
def test_no_point_lives_longer_than_one_before_it(
    tools: Any,  # noqa: ANN401
    system: Any,  # noqa: ANN401
    message: Any,  # noqa: ANN401
    config: CacheConfig,
    expected: list[str | None],
) -> None:
    """Times to live never increase from tools to system prompt to messages."""
    plan = planned(
        user(LONG, *([message] if message else [])),
        config=config,
        system=[LONG, *([system] if system else [])],
        tools=[TOOL, *([tools] if tools else [])],
    )
    assert list(places(plan).values()) == expected


def test_the_plan_explains_itself() -> None:
    """Each point has a line with its place, who set it, its time to live, the tokens before it and the reason."""
    plan = planned(user(SHORT, POINT, POINT), config=CacheConfig(system="1h"), system=[LONG])
    assert plan.explain().splitlines() == [
        "2 of 4 cache points",
        "+ system[1] (planned, 1h, about 5,000 tokens before it): the end of the system prompt",
        "+ messages[0].content[1] (manual, 5m, about 5,002 tokens before it): set by the caller",
        "- messages[0].content[2] (manual): another one is already there",
    ]


def test_a_wish_for_what_is_not_there_is_explained() -> None:
    """Whoever asks for a point behind the tools, and passes none, is told so."""
    plan = planned(user(LONG), config=CacheConfig(system=True, tools=True, messages=True))
    assert places(plan) == {"messages[0].content[1]": None}
    assert "* no point in tools: the request has none" in plan.explain()
    assert "* no point in system: the request has none" in plan.explain()


def test_without_points_and_wishes_the_request_is_the_same_object() -> None:
    """What needs no plan costs none."""
    request = ConverseRequest.from_dict({"messages": [user(LONG)], "system": [LONG]})
    assert plan_cache(request, None, SONNET).request is request
    assert plan_cache(request, CacheConfig(), SONNET).request is request


@pytest.mark.parametrize(
    "wrong",
    [
        {"system": "2h"},
        {"ttl": "never"},
        {"ttl": True},
        {"strategy": "automatic"},
        {"min_tokens": -1},
        {"min_tokens": "1"},
    ],
)
def test_wishes_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """A misspelt time or strategy is an error that names the member, not a point that is missing."""
    with pytest.raises(InvalidRequestError) as failure:
        CacheConfig(**wrong)
    assert failure.value.path == f"cache.{next(iter(wrong))}"


CACHED: Final = [
    each
    for kind in ("converse", "converse-stream")
    for each in exchanges(kind, 200)
    if "prompt_caching" in each.features and each.request_body
]


@pytest.mark.parametrize("exchange", CACHED, ids=str)
def test_points_of_recorded_requests_stay_as_they_were_answered(exchange: Exchange) -> None:
    """The service took these requests: nothing of them is moved, dropped or changed."""
    request = ConverseRequest.from_wire(exchange.request_body)
    profile = find_profile(parse_model_id(exchange.model_id).base_model) if exchange.model_id != "unknown" else UNKNOWN
    plan = plan_cache(request, None, profile)
    assert plan.request is request
    assert plan.adjustments == ()
    assert all(point.origin == "manual" for point in plan.points)


def test_recorded_requests_have_points() -> None:
    """The corpus still has what the test above is about."""
    assert len(CACHED) >= 20


BLOCKS: Final = st.sampled_from([LONG, SHORT, POINT, HOUR, TEXT_DOCUMENT, PDF])
TURNS: Final = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.lists(BLOCKS, max_size=5)}),
    max_size=8,
)
TTLS: Final = st.sampled_from([True, False, "5m", "1h"])
CONFIGS: Final = st.none() | st.builds(
    CacheConfig,
    system=TTLS,
    tools=TTLS,
    messages=TTLS,
    ttl=st.sampled_from([None, "5m", "1h"]),
    strategy=st.sampled_from([None, "auto"]),
    min_tokens=st.sampled_from([None, 0, 5000]),
)


@given(
    turns=TURNS,
    system=st.lists(st.sampled_from([LONG, SHORT, POINT, HOUR]), max_size=4),
    tools=st.lists(st.sampled_from([TOOL, POINT, HOUR]), max_size=4),
    config=CONFIGS,
    profile=st.sampled_from(
        [SONNET, NOVA, UNKNOWN, replace(SONNET, caching=PromptCaching(min_tokens=1, max_points=2))]
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_the_service_takes_the_plan(
    turns: list[Any], system: list[Any], tools: list[Any], config: CacheConfig | None, profile: ModelProfile
) -> None:
    """No plan has more than four points, one in a refused place, or one that lives longer than one before it."""
    plan = planned(*turns, config=config, profile=profile, system=system, tools=tools)
    check_cache_points(plan.request)
    found = places(plan)
    assert [(point.path, point.ttl) for point in plan.points] == list(found.items())
    seconds = [3600 if ttl == "1h" else 300 for ttl in found.values()]
    assert seconds == sorted(seconds, reverse=True)
    for message in plan.request.messages or ():
        before: object = None
        for block in message.content:
            if isinstance(block, CachePointBlock):
                assert before is not None
                assert not isinstance(before, VideoBlock | CachePointBlock)
                assert not isinstance(before, DocumentBlock) or before.format == "pdf"
            before = block
    without = [[block for block in turn["content"] if "cachePoint" not in block] for turn in turns]
    assert [
        [block.to_dict() for block in message.content if not isinstance(block, CachePointBlock)]
        for message in plan.request.messages or ()
    ] == without


@given(turns=TURNS, config=CONFIGS)
@settings(max_examples=100, deadline=None)
def test_planning_a_planned_request_changes_nothing(turns: list[Any], config: CacheConfig | None) -> None:
    """A request that was planned needs no adjustment any more."""
    once = planned(*turns, config=config)
    assert plan_cache(once.request, None, SONNET).adjustments == ()
