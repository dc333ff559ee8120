"""What calls used: added up in all, by model and by tag, in bounded memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import BedrockClient, Credentials, ModelPrices, StreamTruncatedError, TokenUsage, UsageTotals
from bedrock_async.errors import service_error
from bedrock_async.testing import chunk_frame, stream_bytes, text_events
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.usage import NO_USAGE, OTHER, USAGE_FIELDS, UsageMeter

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
OTHER_MODEL: Final = "us.amazon.nova-lite-v1:0"
EMBEDDING_MODEL: Final = "amazon.titan-embed-text-v2:0"
LARGE: Final = 8_000_000
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}


def answer(**usage: Any) -> CannedResponse:  # noqa: ANN401 - JSON
    """Return an answer of Converse with this usage."""
    message = {"role": "assistant", "content": [{"text": "Hello."}]}
    counted = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, **usage}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": counted}
    return CannedResponse([json.dumps(body).encode()])


def client_of(*answers: Any, **options: Any) -> BedrockClient:  # noqa: ANN401 - as transport and client
    """Return a client with these answers."""
    transport = CannedTransport(answers)
    keys = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", credentials=keys, transport=transport, **options)


# -- totals


def test_totals_add_every_count() -> None:
    """Tokens, what the cache read and wrote, by time to live where the service told it."""
    details = [{"ttl": "1h", "inputTokens": 4}, {"ttl": "5m", "inputTokens": 2}, {"ttl": "1h", "inputTokens": 1}]
    usage = TokenUsage.from_dict(
        {
            "inputTokens": 10,
            "outputTokens": 5,
            "totalTokens": 52,
            "cacheReadInputTokens": 30,
            "cacheWriteInputTokens": 7,
            "cacheDetails": details,
        }
    )
    totals = NO_USAGE.plus(usage, Decimal("0.5")).plus(TokenUsage(input_tokens=3, output_tokens=1))
    assert totals == UsageTotals(
        calls=2,
        input_tokens=13,
        output_tokens=6,
        cache_read_input_tokens=30,
        cache_write_input_tokens=7,
        cache_write_by_ttl={"1h": 5, "5m": 2},
        cost=Decimal("0.5"),
        unpriced_calls=1,
    )
    assert totals.total_tokens == 13 + 6 + 30 + 7
    assert totals.cache_hit_rate == 30 / 50
    assert UsageTotals() == NO_USAGE


def test_nothing_has_no_cost_and_no_hit_rate() -> None:
    """The cost of nothing, or of calls without prices, is unknown and not zero."""
    assert (NO_USAGE.cost, NO_USAGE.cache_hit_rate) == (None, 0.0)
    assert NO_USAGE.plus(TokenUsage()).cost is None
    assert NO_USAGE.plus(TokenUsage(), Decimal(0)).cost == 0


counts: Final = st.integers(0, 10**9)
totals_of: Final = st.builds(
    UsageTotals,
    calls=counts,
    input_tokens=counts,
    output_tokens=counts,
    cache_read_input_tokens=counts,
    cache_write_input_tokens=counts,
    cache_write_by_ttl=st.dictionaries(st.sampled_from(["5m", "1h"]), counts),
    cost=st.decimals(0, 10**6, places=6),
    unpriced_calls=counts,
)


@given(totals_of, totals_of)
def test_what_was_added_can_be_taken_away(one: UsageTotals, other: UsageTotals) -> None:
    """The difference of two moments is what came between them."""
    difference = (one + other) - one
    written = {ttl: tokens for ttl, tokens in difference.cache_write_by_ttl.items() if tokens}
    expected = {ttl: tokens for ttl, tokens in other.cache_write_by_ttl.items() if tokens}
    assert written == expected
    for name in set(USAGE_FIELDS) - {"cache_write_by_ttl"}:
        assert getattr(difference, name) == getattr(other, name)


# -- the client


async def test_a_client_counts_calls_by_model_and_tag() -> None:
    """Whole answers and streams alike; a call has as many tags as its request_metadata has items."""
    client = client_of(answer(), answer(inputTokens=1), CannedResponse.stream(text_events("one two", input_tokens=7)))
    await client.converse(MODEL, "Hi.", request_metadata={"team": "search", "env": "test"})
    await client.converse(OTHER_MODEL, "Hi.", request_metadata={"team": "shop"})
    await client.model(MODEL, request_metadata={"team": "search"}).stream("Hi.").get_final_response()
    usage = client.usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (3, 18, 12)
    assert {model: each.calls for model, each in usage.by_model.items()} == {MODEL: 2, OTHER_MODEL: 1}
    assert {team: each.input_tokens for team, each in usage.by_tag("team").items()} == {"search": 17, "shop": 1}
    assert {env: each.calls for env, each in usage.by_tag("env").items()} == {"test": 1}
    assert usage.tags == {"team", "env"}
    assert usage.by_tag("nobody") == {}


async def test_a_report_is_of_one_moment() -> None:
    """Later calls do not change it; two of them tell what came between."""
    client = client_of(answer(), answer())
    before = client.usage
    await client.converse(MODEL, "Hi.", request_metadata={"team": "search"})
    after = client.usage
    await client.converse(MODEL, "Hi.", request_metadata={"team": "search"})
    assert (before.calls, before.by_model, before.by_tag("team")) == (0, {}, {})
    assert (after.calls, after.by_model[MODEL].calls, after.by_tag("team")["search"].calls) == (1, 1, 1)
    assert (client.usage - after).input_tokens == 10
    assert "1 models, 1 tags" in repr(after)


async def test_calls_that_fail_are_not_counted() -> None:
    """Nobody tells what they used; a stream that breaks before its metadata is one of them."""
    half = CannedResponse([stream_bytes(text_events("one two")[:3])], headers=STREAM)
    client = client_of(service_error("ValidationException", "no"), half)
    with pytest.raises(Exception, match="no"):
        await client.converse(MODEL, "Hi.")
    with pytest.raises(StreamTruncatedError):
        await client.stream(MODEL, "Hi.").get_final_response()
    assert client.usage.calls == 0


@pytest.mark.parametrize("settings", [{}, {"accumulate": False}])
async def test_a_stream_counts_when_its_last_event_has_arrived(settings: Mapping[str, Any]) -> None:
    """Whoever stops reading there, or keeps nothing, has been counted; nothing is counted twice."""
    client = client_of(CannedResponse.stream(text_events("one two")))
    async for event in client.stream(MODEL, "Hi.", **settings):
        if event.type == "message_start":
            break
    assert client.usage.calls == 1  # all arrived in one piece
    client = client_of(CannedResponse.stream(text_events("one two")))
    stream = client.stream(MODEL, "Hi.", **settings)
    assert [event async for event in stream][-1].type == "metadata"
    await stream.aclose()
    assert client.usage.calls == 1


async def test_a_replayed_answer_counts_once() -> None:
    """``streaming=False`` is one call."""
    client = client_of(answer())
    await client.stream(MODEL, "Hi.", streaming=False).get_final_response()
    assert (client.usage.calls, client.usage.input_tokens) == (1, 10)


async def test_native_answers_are_counted_where_the_service_tells() -> None:
    """By the headers of `invoke` and `embed`, by the last chunk of `invoke_stream`; one that tells nothing is none."""
    headers = {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "2"}
    metrics = {"inputTokenCount": 3, "outputTokenCount": 1, "cacheReadInputTokenCount": 5}
    chunks: list[dict[str, Any]] = [{"text": "a"}, {"text": "b", "amazon-bedrock-invocationMetrics": metrics}]
    client = client_of(
        CannedResponse([b"{}"], headers=headers),
        CannedResponse([b"".join(map(chunk_frame, chunks))], headers=STREAM),
        CannedResponse([b"{}"]),
        CannedResponse([b'{"embedding": [0.5], "inputTextTokenCount": 4}'], headers=headers),
    )
    model = client.model(MODEL, request_metadata={"team": "search"})
    await model.invoke({"prompt": "Hi."})
    async for _ in model.invoke_stream({"prompt": "Hi."}):
        pass
    await model.invoke({"prompt": "Hi."})
    usage = client.usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (2, 10, 3, 5)
    assert usage.by_tag("team")["search"] == usage.by_model[MODEL]
    await client.embed(EMBEDDING_MODEL, "Hi.")
    assert client.usage.by_model[EMBEDDING_MODEL].input_tokens == 7


# -- money


PRICES: Final = {
    MODEL: ModelPrices(input="3", output="15", cache_read="0.3", cache_write="3.75", cache_write_1h="6"),
    OTHER_MODEL: ModelPrices(input="1", output="2", service_tiers={"flex": "0.5"}),
}


async def test_the_cost_of_all_is_the_sum_of_the_costs_of_each() -> None:
    """Whole answers, streams and native ones; cache reads and writes by their time to live; tiers; unknown models."""
    details = [{"ttl": "1h", "inputTokens": 50}, {"ttl": "5m", "inputTokens": 20}]
    answers = [
        answer(inputTokens=100, outputTokens=10),
        answer(inputTokens=7, cacheReadInputTokens=1_000, cacheWriteInputTokens=70, cacheDetails=details),
        answer(inputTokens=150_000, cacheReadInputTokens=100_000),
    ]
    client = client_of(*answers, CannedResponse.stream(text_events("one two")), answer(), answer(), prices=PRICES)
    costs = [(await client.converse(MODEL, "Hi.", request_metadata={"a": "b"})).meta.cost for _ in answers]
    costs.append((await client.stream(MODEL, "Hi.").get_final_response()).meta.cost)
    costs.append((await client.converse(OTHER_MODEL, "Hi.", service_tier="flex")).meta.cost)
    known = [cost for cost in costs if cost is not None]
    assert len(known) == 5
    await client.converse("unknown.model-v1", "Hi.")
    usage = client.usage
    assert usage.cost == sum(known)
    assert usage.unpriced_calls == 1
    assert usage.by_tag("a")["b"].cost == sum(known[:3])
    assert usage.by_model[OTHER_MODEL].cost == known[4]
    assert usage.by_model["unknown.model-v1"].cost is None


async def test_prices_that_rise_with_the_prompt_are_those_of_each_call() -> None:
    """Many short prompts are not one long one: what is added up is priced as each call was."""
    rising = "us.anthropic.claude-haiku-5-5"
    lengths = [40_000] * 5 + [99_999, 100_000, 100_001, 250_000, 250_000, 250_400]
    client = client_of(*(answer(inputTokens=length) for length in lengths))
    costs = [(await client.converse(rising, "Hi.")).meta.cost or 0 for _ in lengths]
    assert costs[-1] / lengths[-1] > costs[0] / lengths[0] > 0  # the price does rise
    assert client.usage.cost == sum(costs)


# -- memory


def test_tags_and_models_take_bounded_memory() -> None:
    """Ids of requests make no good tags: those beyond the limit are counted together, and none is lost."""
    meter = UsageMeter(max_kinds=50, max_tags=100)
    once = TokenUsage(input_tokens=1)
    for number in range(130):
        meter.add(MODEL, once, tags={"request": str(number)})
    for number in range(300):
        meter.add(MODEL, once, tags={f"name-{number}": "x"})
    for number in range(60):
        meter.add(f"model-{number}", once)
    report = meter.report()
    requests = report.by_tag("request")
    assert len(requests) == 101
    assert requests[OTHER].calls == 30
    tagged = [totals for name in report.tags for totals in report.by_tag(name).values()]
    assert sum(each.calls for each in tagged) == 130 + 300
    assert len(tagged) <= 2 * 100 + 1
    assert len(report.by_model) == 51
    assert report.by_model[OTHER].calls == 11
    assert report.calls == 130 + 300 + 60 == sum(each.calls for each in report.by_model.values())


async def test_counting_keeps_nothing_of_an_answer() -> None:
    """Megabytes that came back are free again when the caller lets go of them, though their cost can still be asked."""
    headers = {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "2"}
    tracemalloc.start()
    try:
        client = client_of(CannedResponse([bytes(LARGE)], headers=headers), prices=PRICES)
        reply = await client.invoke(MODEL, {"prompt": "Hi."})
        assert len(reply.body) == LARGE
        del reply
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < LARGE / 2
    finally:
        tracemalloc.stop()
    assert client.usage.cost == Decimal("0.000051")


# -- recorded answers


def cached() -> list[Exchange]:
    """Return the recorded answers of Converse that read from the cache or wrote to it."""
    return [
        each
        for each in exchanges("converse", 200)
        if {"cache_read", "cache_write"} & each.features and "usage" in each.response_json
    ]


async def test_recorded_cache_hits_are_counted() -> None:
    """The totals of a client are the sums of what the service said, and so is the hit rate."""
    recorded = cached()
    assert len(recorded) >= 10
    client = client_of(*(CannedResponse([each.response_body]) for each in recorded))
    for each in recorded:
        await client.converse(each.model_id, "Hi.")
    said = [each.response_json["usage"] for each in recorded]
    usage = client.usage
    read, write = sums(said, "cacheReadInputTokens"), sums(said, "cacheWriteInputTokens")
    assert (usage.cache_read_input_tokens, usage.cache_write_input_tokens) == (read, write)
    assert usage.cache_hit_rate == read / (read + write + sums(said, "inputTokens"))
    details = [detail for each in said for detail in each.get("cacheDetails") or ()]
    assert sum(usage.cache_write_by_ttl.values()) == sums(details, "inputTokens")
    assert usage.total_tokens == sums(said, "totalTokens")


def sums(members: list[dict[str, Any]], name: str) -> int:
    """Return the sum of a member, which may be absent."""
    return sum(each.get(name) or 0 for each in members)
