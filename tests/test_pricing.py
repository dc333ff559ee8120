"""What calls cost: list prices, prices of one's own, tiers, caches; what is not known is None, never zero."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pytest
from corpus import Exchange, exchanges
from genai_prices import Usage, calc_price, extract_usage

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseResponse,
    Cost,
    Credentials,
    InvalidRequestError,
    MissingExtraError,
    ModelPrices,
    Prices,
    TokenUsage,
)
from bedrock_async.events import ConverseEventDecoder
from bedrock_async.folding import fold
from bedrock_async.model_id import parse_model_id
from bedrock_async.native import METRICS
from bedrock_async.pricing import Bill, native_usage
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.types import CacheDetail

CLAUDE: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
GLOBAL: Final = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA: Final = "us.amazon.nova-lite-v1:0"
PROFILE: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
MILLION: Final = 1_000_000
MINE: Final = ModelPrices(input="3", output="15", cache_read="0.3", cache_write="3.75", cache_write_1h="6")
USAGE: Final = TokenUsage(
    input_tokens=1_000,
    output_tokens=500,
    total_tokens=1_500,
    cache_read_input_tokens=10_000,
    cache_write_input_tokens=3_000,
    cache_details=[CacheDetail(ttl="5m", input_tokens=1_000), CacheDetail(ttl="1h", input_tokens=2_000)],
)


def million(model: str, kind: str = "input", **settings: Any) -> Decimal | None:  # noqa: ANN401 - keywords of `Prices.cost`
    """Return the list price of a million tokens of input or output."""
    usage = TokenUsage(output_tokens=MILLION) if kind == "output" else TokenUsage(input_tokens=MILLION)
    cost = Prices().cost(model, usage, **settings)
    return None if cost is None else cost.usd


def known(cost: Cost | None) -> Cost:
    """Return a cost that is known."""
    assert cost is not None
    return cost


# -- sums


def test_each_kind_of_tokens_has_its_price() -> None:
    """Input, cache reads, cache writes by their time to live, and output are lines of the bill, and add up."""
    cost = known(Prices({CLAUDE: MINE}).cost(CLAUDE, USAGE))
    lines = {line.kind: (line.tokens, line.usd_per_million, line.usd) for line in cost.lines}
    assert lines == {
        "input": (1_000, Decimal(3), Decimal("0.003")),
        "cache_read": (10_000, Decimal("0.3"), Decimal("0.003")),
        "cache_write_5m": (1_000, Decimal("3.75"), Decimal("0.00375")),
        "cache_write_1h": (2_000, Decimal(6), Decimal("0.012")),
        "output": (500, Decimal(15), Decimal("0.0075")),
    }
    assert cost.usd == Decimal("0.02925")
    assert (cost.model, cost.source) == (CLAUDE, f"prices given for {CLAUDE!r}")


def test_what_has_no_price_of_its_own_costs_as_input() -> None:
    """Cache reads and writes as input, an hour as five minutes: an upper bound where a vendor names no discount."""
    cost = known(Prices({"*": ModelPrices(input="2", output="4")}).cost("acme.model", USAGE))
    assert cost.usd == Decimal(2) * 14_000 / MILLION + Decimal(4) * 500 / MILLION
    write = known(Prices({"*": ModelPrices(input=2, output=4, cache_write="3")}).cost("acme.model", USAGE))
    assert [line.usd_per_million for line in write.lines] == [2, 2, 3, 3, 4]


def test_an_hour_costs_twice_the_input_of_claude() -> None:
    """By the package's price, and by the vendor's rule where the package has none (Claude Sonnet 4 of the US)."""
    hour = TokenUsage(cache_write_input_tokens=MILLION, cache_details=[CacheDetail(ttl="1h", input_tokens=MILLION)])
    for model in (
        CLAUDE,
        GLOBAL,
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
    ):
        assert (
            known(Prices().cost(model, hour)).usd
            == 2 * known(Prices().cost(model, _prompt(model))).lines[0].usd_per_million
        )


def _prompt(model: str) -> TokenUsage:
    return TokenUsage(input_tokens=MILLION)


def test_a_global_profile_is_cheaper_than_a_regional_one() -> None:
    """The geography in the id counts: the vendor adds a tenth for staying within one."""
    assert million(GLOBAL) == Decimal(3)
    assert million(CLAUDE) == million("anthropic.claude-sonnet-4-5-20250929-v1:0") == Decimal("3.3")


def test_an_arn_has_the_price_of_its_model() -> None:
    """Foundation models and system profiles are priced by their ids, whatever account and region."""
    base = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert million(base) == Decimal("3.3")
    assert million(f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{GLOBAL}") == Decimal(3)


def test_an_application_profile_has_the_price_of_the_model_behind_it() -> None:
    """What its id does not tell, ``base`` does; without it nothing is known."""
    assert million(PROFILE) is None
    assert million(PROFILE, base=GLOBAL) == Decimal(3)
    assert Prices({PROFILE: MINE}).cost(PROFILE, USAGE) is not None


@pytest.mark.parametrize(
    "model",
    [
        *("acme.model-v1", "claude", "anthropic.claude-99-sonnet"),
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0.abcdefgh/abcdefghijkl",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl",
        "arn:aws:sagemaker:us-east-1:123456789012:endpoint/mine",
        "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1",
        "arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1",
        *("amazon.nova-canvas-v1:0", "stability.sd3-5-large-v1:0"),
    ],
)
def test_what_nobody_knows_is_none(model: str) -> None:
    """Models that are in no list, capacity by the hour, ids that do not tell: None, which is not zero."""
    assert million(model) is None


def test_output_without_a_price_is_none() -> None:
    """An embedding model has no price of output: its input is priced, output that it should not have is not."""
    titan = "amazon.titan-embed-text-v2:0"
    assert million(titan) == Decimal("0.02")
    assert million(titan, "output") is None


# -- tiers


@pytest.mark.parametrize(
    ("model", "tier", "factor"),
    [
        (NOVA, None, "1"),
        (NOVA, "default", "1"),
        (NOVA, "flex", "0.5"),
        (NOVA, "priority", "1.75"),
        (NOVA, "batch", "0.5"),
        (NOVA, "reserved", None),
        (NOVA, "platinum", None),
        ("openai.gpt-oss-120b-1:0", "flex", "0.5"),
        (CLAUDE, "batch", "0.5"),
        (CLAUDE, "flex", None),
        (CLAUDE, "priority", None),
        ("us.meta.llama3-3-70b-instruct-v1:0", "batch", "0.5"),
        ("us.deepseek.r1-v1:0", "flex", None),
    ],
)
def test_the_service_tier_is_a_factor(model: str, tier: str | None, factor: str | None) -> None:
    """Of all prices, where it is known for the vendor; reserved capacity is not paid by the token."""
    standard = million(model)
    assert standard is not None
    assert million(model, service_tier=tier) == (None if factor is None else Decimal(factor) * standard)


def test_the_tiers_of_own_prices_are_given_with_them() -> None:
    """A tier that the table does not name has an unknown price."""
    prices = Prices({"*": {"input": "2", "output": "4", "service_tiers": {"flex": "0.25"}}})
    usage = TokenUsage(input_tokens=MILLION)
    assert known(prices.cost(NOVA, usage, service_tier="flex")).usd == Decimal("0.5")
    assert prices.cost(NOVA, usage, service_tier="priority") is None


def test_a_long_prompt_has_its_own_price() -> None:
    """Beyond a threshold all tokens cost more; what the cache holds is part of the prompt."""
    model = "global.anthropic.claude-haiku-5-5"
    short = known(Prices().cost(model, TokenUsage(input_tokens=100_000, output_tokens=1)))
    long = known(Prices().cost(model, TokenUsage(input_tokens=1, output_tokens=1, cache_read_input_tokens=100_000)))
    assert short.lines[0].usd_per_million * 5 == long.lines[0].usd_per_million
    assert short.lines[-1].usd_per_million * 5 == long.lines[-1].usd_per_million


# -- tables


def test_the_most_exact_pattern_counts() -> None:
    """Of the patterns that fit, the one with the most letters; ARN, id and id without geography are all tried."""
    prices = Prices({"*": MINE, "anthropic.*": ModelPrices(input=1, output=1), CLAUDE: ModelPrices(input=2, output=2)})
    usage = TokenUsage(input_tokens=MILLION)
    assert known(prices.cost(CLAUDE, usage)).usd == 2
    assert known(prices.cost(NOVA, usage)).usd == 3
    only = Prices({"anthropic.*": ModelPrices(input=1, output=1)}, published=False)
    assert known(only.cost(GLOBAL, usage)).usd == 1
    assert only.cost(NOVA, usage) is None


@pytest.mark.parametrize("price", ["three", "-1", -1, float("nan"), float("inf"), True, None, b"3"])
def test_what_is_no_price_is_refused(price: Any) -> None:  # noqa: ANN401 - what is wrong
    """With the name of the price; text, whole and decimal numbers are prices."""
    with pytest.raises(InvalidRequestError, match="the price input is"):
        ModelPrices(input=price, output=1)
    assert ModelPrices(input=0.1, output=Decimal(2)).input == Decimal("0.1")


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        (5, "prices is an int"),
        ({"*": 5}, r"prices\['\*'\] is an int"),
        ({"*": {"input": 1}}, "lacks 'output'"),
        ({"*": {"input": 1, "output": 1, "cached": 1}}, "has 'cached'"),
        ({"*": {"input": 1, "output": "x"}}, "the price output is 'x'"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(prices: Any, said: str) -> None:  # noqa: ANN401 - what is wrong
    """When the client is made, with the place."""
    with pytest.raises(InvalidRequestError, match=said):
        BedrockClient(region="us-east-1", prices=prices, credentials=Credentials("AKIDEXAMPLE", "secret"))


def test_a_cost_explains_itself() -> None:
    """Every number that went into it is there, and where the prices come from."""
    text = known(Prices().cost(NOVA, USAGE, service_tier="flex", estimated=True)).explain()
    assert "us.amazon.nova-lite-v1:0, service tier flex" in text
    assert "10,000 tokens x $0.0075 per million = $0.000075" in text
    assert "about $" in text
    assert "genai-prices" in text
    assert "list prices" in text


# -- without the extra


def without_genai(code: str) -> str:
    """Run code in a process where genai-prices cannot be imported; return what it printed."""
    blocked = "import sys; sys.modules['genai_prices'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_without_the_package_the_cost_is_none_and_asking_for_it_says_why() -> None:
    """A bill is None; `Prices` names the extra; prices of one's own need none."""
    code = """
from bedrock_async import MissingExtraError, ModelPrices, Prices, TokenUsage
from bedrock_async.model_id import parse_model_id
from bedrock_async.native import METRICS
from bedrock_async.pricing import Bill
usage = TokenUsage(input_tokens=1)
target = parse_model_id("us.amazon.nova-lite-v1:0")
print(Bill(Prices(), target, usage=usage).cost)
print(Prices({"*": ModelPrices(input=1, output=1)}).cost(target, usage).usd)
for call in (lambda: Prices().cost(target, usage), Prices().load):
    try:
        call()
    except MissingExtraError as exc:
        print("bedrock-async[cost]" in exc.hint)
"""
    assert without_genai(code).split() == ["None", "0.000001", "True", "True"]


def test_nothing_is_imported_before_somebody_asks() -> None:
    """A call, its response and its meta leave genai-prices alone; the cost imports it."""
    code = """
import asyncio, sys, json
from bedrock_async import BedrockClient, Credentials
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.usage import usage_of
answer = {"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, "stopReason": "end_turn",
          "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}}
async def main():
    transport = CannedTransport([CannedResponse([json.dumps(answer).encode()])])
    client = BedrockClient(region="us-east-1", transport=transport, credentials=Credentials("AKIDEXAMPLE", "secret"))
    chat = client.conversation("us.amazon.nova-lite-v1:0")
    reply = await chat.converse("Hi.")
    repr(reply.meta)
    usage = client.usage
    told = [usage, usage.by_model[reply.meta.model], chat.usage, usage_of([reply]), usage + chat.usage - usage]
    print([each.total_tokens for each in told] == [3] * 5, "genai_prices" in sys.modules)
    print(reply.meta.cost)
    print("genai_prices" in sys.modules)
    print({each.cost for each in told} == {reply.meta.cost}, {each.unpriced_calls for each in told} == {0})
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "5.4E-7", "True", "True", "True"]


def test_prices_are_loaded_beside_the_loop() -> None:
    """What takes long is done in a thread, and the next look at a cost finds it there."""
    code = """
import asyncio, sys, threading
from bedrock_async import BedrockClient, Credentials
threads = []
class Watch:
    def find_spec(self, name, *_):
        if name.startswith("genai_prices"):
            threads.append(threading.current_thread() is threading.main_thread())
sys.meta_path.insert(0, Watch())
async def main():
    async with BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret")) as client:
        await client.load_prices()
        print(any(threads), "genai_prices.data" in sys.modules, len(threads))
        await client.load_prices()
        print(len(threads))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    in_main, loaded, read, read_again = done.stdout.split()
    assert (in_main, loaded) == ("False", "True")
    assert read == read_again


# -- on responses


def client_of(*answers: CannedResponse, **keywords: Any) -> BedrockClient:  # noqa: ANN401 - keywords of the client
    """Return a client that gets these answers."""
    keys = Credentials("AKIDEXAMPLE", "secret")
    transport = CannedTransport(list(answers))
    return BedrockClient(region="us-east-1", transport=transport, credentials=keys, retry=NO_RETRY, **keywords)


def answered(**members: object) -> CannedResponse:
    """Return a Converse answer of a million input tokens."""
    body = {
        "output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": MILLION, "outputTokens": 0, "totalTokens": MILLION},
        **members,
    }
    return CannedResponse([json.dumps(body).encode()])


EVENTS: Final[list[Mapping[str, Any]]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {
        "metadata": {
            "usage": {"inputTokens": MILLION, "outputTokens": 0, "totalTokens": MILLION},
            "metrics": {"latencyMs": 1},
        }
    },
]


async def test_every_response_has_its_cost() -> None:
    """`meta.cost` is the sum of `meta.cost_details`, and survives pickling."""
    async with client_of(answered()) as client:
        meta = (await client.converse(NOVA, "Hi.")).meta
    assert meta.cost == Decimal("0.06")
    assert meta.cost_details is not None
    assert meta.cost_details.usd == meta.cost
    assert pickle.loads(pickle.dumps(meta)).cost == meta.cost  # noqa: S301 - made here


@pytest.mark.parametrize(
    ("asked", "told", "cost"),
    [
        ({}, {"serviceTier": {"type": "flex"}}, "0.03"),
        ({"service_tier": "flex"}, {}, "0.03"),
        ({"service_tier": "flex"}, {"serviceTier": {"type": "default"}}, "0.06"),
        ({"service_tier": "reserved"}, {}, None),
        ({"performance": "optimized"}, {}, None),
        ({"performance": "optimized"}, {"performanceConfig": {"latency": "standard"}}, "0.06"),
    ],
)
async def test_the_tier_that_served_counts(asked: Any, told: Mapping[str, Any], cost: str | None) -> None:  # noqa: ANN401
    """The one that the answer names, else the one that was asked for; prices of faster inference are not known."""
    async with client_of(answered(**told)) as client:
        reply = await client.converse(NOVA, "Hi.", **asked)
    assert reply.meta.cost == (None if cost is None else Decimal(cost))


async def test_prices_of_the_client_go_before() -> None:
    """Those given to the client are those of its calls."""
    async with client_of(answered(), prices={"amazon.*": {"input": "1", "output": "2"}}) as client:
        assert (await client.converse(NOVA, "Hi.")).meta.cost == 1


async def test_a_call_through_a_profile_has_the_price_of_the_model_behind_it() -> None:
    """With ``inference_profile`` the model says the price."""
    async with client_of(answered()) as client:
        assert (await client.converse(NOVA, "Hi.", inference_profile=PROFILE)).meta.cost == Decimal("0.06")


async def test_a_prompt_router_has_the_price_of_the_model_that_it_chose() -> None:
    """The trace names it; without one nothing is known."""
    router = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/amazon.nova:1"
    chosen = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{NOVA}"
    trace = {"promptRouter": {"invokedModelId": chosen}}
    async with client_of(
        answered(trace=trace), answered(), answered(trace={"promptRouter": {"invokedModelId": "a b"}})
    ) as client:
        assert [(await client.converse(router, "Hi.")).meta.cost for _ in range(3)] == [Decimal("0.06"), None, None]


@pytest.mark.parametrize("accumulate", [True, False])
async def test_a_finished_stream_has_its_cost(accumulate: bool) -> None:  # noqa: FBT001
    """Before its end it is None; afterwards it is on the stream's meta and on the response."""
    async with (
        client_of(CannedResponse.stream(EVENTS)) as client,
        client.stream(NOVA, "Hi.", accumulate=accumulate) as stream,
    ):
        first = await anext(stream)
        assert first.type == "message_start"
        async for _ in stream:
            pass
        assert stream.meta.cost == Decimal("0.06")
        if accumulate:
            assert (await stream.get_final_response()).meta.cost == Decimal("0.06")


async def test_a_stream_that_was_cut_has_no_cost() -> None:
    """Without the metadata at the end nobody knows what was used."""
    async with client_of(CannedResponse.stream(EVENTS[:2])) as client:
        stream = client.stream(NOVA, "Hi.")
        await anext(stream)
        assert stream.meta.cost is None
        await stream.aclose()
        assert stream.meta.cost is None


COUNTS: Final = {
    "x-amzn-bedrock-input-token-count": str(MILLION),
    "x-amzn-bedrock-output-token-count": "0",
    "x-amzn-bedrock-cache-read-input-token-count": "0",
    "x-amzn-bedrock-cache-write-input-token-count": "0",
}


async def test_native_answers_have_their_cost() -> None:
    """By the counts in the headers, and the tier there; without them it is None."""
    flex = {"x-amzn-bedrock-service-tier": "flex"}
    answers = [CannedResponse([b"{}"], headers=headers) for headers in (COUNTS, COUNTS | flex, {})]
    async with client_of(*answers) as client:
        costs = [(await client.invoke(NOVA, {})).meta.cost for _ in answers]
    assert costs == [Decimal("0.06"), Decimal("0.03"), None]


def test_native_usage_is_read_leniently() -> None:
    """Headers, the metrics of the last chunk and Claude's own usage; anything else tells nothing."""
    metrics = {
        "inputTokenCount": 3,
        "outputTokenCount": 4,
        "cacheReadInputTokenCount": 5,
        "cacheWriteInputTokenCount": 6,
    }
    start = {"message": {"usage": {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4}}}}
    last = json.dumps({"amazon-bedrock-invocationMetrics": metrics}).encode()
    usage = native_usage({}, json.dumps(start).encode(), last)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (3, 4, 5)
    assert [(each.ttl, each.input_tokens) for each in usage.cache_details or ()] == [("5m", 2), ("1h", 4)]
    for bodies in ((), (b"",), (b"[]",), (b"{",), (b'{"amazon-bedrock-invocationMetrics": 5}',), (b"\xff",)):
        assert native_usage({}, *bodies) is None
    assert native_usage({"x-amzn-bedrock-input-token-count": "-1"}) is None
    assert native_usage({"x-amzn-bedrock-input-token-count": "\u0663"}) is None


# -- recorded answers


def recorded() -> list[Exchange]:
    """Return the recorded answers of Converse, streamed or not."""
    return [*exchanges("converse", 200), *exchanges("converse-stream", 200)]


def response_of(exchange: Exchange) -> ConverseResponse:
    """Return the recorded answer as a response."""
    if exchange.kind == "converse":
        return ConverseResponse.from_wire(exchange.response_body)
    decoder = ConverseEventDecoder()
    return fold(decoder.receive(exchange.response_body))


def independent(model: str, usage: TokenUsage) -> Decimal | None:
    """Return what genai-prices itself makes of the tokens; None where it does not know the model."""
    read, write = usage.cache_read_input_tokens or 0, usage.cache_write_input_tokens or 0
    hour = sum(each.input_tokens for each in usage.cache_details or () if each.ttl == "1h")
    try:
        price = calc_price(
            Usage(
                input_tokens=usage.input_tokens + read + write,
                cache_read_tokens=read,
                cache_write_tokens=write,
                cache_write_1h_tokens=hour,
                output_tokens=usage.output_tokens,
            ),
            model_ref=model,
            provider_id="aws",
        )
    except LookupError:
        return None
    return price.total_price


@pytest.mark.parametrize("exchange", recorded(), ids=str)
def test_recorded_answers_cost_what_genai_prices_says(exchange: Exchange) -> None:
    """To the last digit, for each model that it prices; the others, and latency-optimised answers, are None."""
    try:
        target = parse_model_id(exchange.model_id)
    except ValueError:
        pytest.skip("the recording hides its model")
    response = response_of(exchange)
    cost = Bill(Prices(), target).of(response).cost
    expected = independent(target.resource, response.usage)
    if response.performance_config is not None and response.performance_config.latency == "optimized":
        expected = None
    assert (None if cost is None else cost.usd) == expected


NATIVE: Final = [
    *(each for each in exchanges("invoke", 200) if "anthropic" in each.model_id),
    *(each for each in exchanges("invoke-with-response-stream", 200) if "anthropic" in each.model_id),
]


@pytest.mark.parametrize("exchange", NATIVE, ids=str)
async def test_recorded_native_answers_cost_what_claude_says_was_used(exchange: Exchange) -> None:
    """The service's counts come to the same as the usage in Claude's own words, which genai-prices reads itself."""
    headers = {name.lower(): value for name, value in exchange.response_headers.items()}
    natives: list[Any]
    async with client_of(CannedResponse([exchange.response_body], headers=headers)) as client:
        if exchange.kind == "invoke":
            response = await client.invoke(exchange.model_id, {})
            meta, natives = response.meta, [response.json()]
        else:
            stream = client.invoke_stream(exchange.model_id, {})
            natives = [chunk.json() async for chunk in stream]
            meta = stream.meta
    told = METRICS in natives[-1] or "x-amzn-bedrock-input-token-count" in headers
    assert meta.cost == (priced_natively(exchange.model_id, natives) if told else None)


def priced_natively(model: str, natives: Sequence[Any]) -> Decimal | None:
    """Return the price of what the usage of Claude's messages says, taken from all of them; None for unknown models."""
    usage: dict[str, Any] = {}
    for native in natives:
        usage |= native.get("message", native).get("usage") or {}
    if "output_tokens" not in usage:  # of the days before there was a usage
        metrics = natives[-1].get(METRICS, {"inputTokenCount": 0, "outputTokenCount": 0})
        usage = {"input_tokens": metrics["inputTokenCount"], "output_tokens": metrics["outputTokenCount"]}
    extracted = extract_usage({"usage": usage}, provider_id="aws", api_flavor="anthropic")
    try:
        return calc_price(extracted.usage, model_ref=model, provider_id="aws").total_price
    except LookupError:
        return None


def test_most_recorded_answers_have_a_cost() -> None:
    """The comparison above is not one of None with None: the great majority of the recorded models is priced."""
    models = [parse_model_id(exchange.model_id) for exchange in recorded() if exchange.model_id != "unknown"]
    priced = [model for model in models if Prices().cost(model, TokenUsage(input_tokens=1)) is not None]
    assert len(priced) > 0.9 * len(models)


def test_a_missing_extra_is_an_import_error() -> None:
    """Code that guards an import with ``except ImportError`` works."""
    assert issubclass(MissingExtraError, ImportError)
