"""Counting tokens: under which id, in parts, as an estimate only when asked; and what they would cost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import pytest
from acme import Acme
from media_files import png

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConverseRequest,
    Credentials,
    Image,
    InvalidRequestError,
    ModelIdRejectedError,
    ModelPrices,
    TokenBreakdown,
    TokenCount,
    ValidationError,
)
from bedrock_async.families import FamilyContext, NativeRequest
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import WireRequest, WireResponse

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
BASE: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
CANNOT: Final = "The provided model doesn't support counting tokens."
REJECTED: Final = "The provided model identifier is invalid."
TOOL: Final[dict[str, Any]] = {
    "toolSpec": {"name": "t", "description": "d", "inputSchema": {"json": {"type": "object"}}}
}
MILLION: Final = 1_000_000


class Counter:
    """A transport that counts: 3 for a request, 10 for a word of the system prompt, 100 for a tool, 1 for a letter."""

    name = "counter"

    def __init__(self, refuse: Callable[[str], str | None] = lambda _: None) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.models: list[str] = []
        self._refuse = refuse

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Answer CountTokens."""
        model = request.url.split("/model/")[1].split("/")[0].replace("%3A", ":")
        self.models.append(model)
        body = json.loads(request.body)["input"]
        self.bodies.append(body)
        if (said := self._refuse(model)) is not None:
            headers = {"x-amzn-errortype": "ValidationException"}
            return CannedResponse([json.dumps({"message": said}).encode()], status=400, headers=headers)
        return CannedResponse([json.dumps({"inputTokens": self._count(body)}).encode()])

    async def aclose(self) -> None:
        """Do nothing."""

    def _count(self, body: Mapping[str, Any]) -> int:
        if "invokeModel" in body:
            return len(base64.b64decode(body["invokeModel"]["body"]))
        counted = body["converse"]
        words = sum(len(block["text"].split()) for block in counted.get("system", ()))
        letters = sum(len(block.get("text", "")) for turn in counted["messages"] for block in turn["content"])
        return 3 + 10 * words + 100 * len(counted.get("toolConfig", {}).get("tools", ())) + letters


def client_of(transport: Any, **keywords: Any) -> BedrockClient:  # noqa: ANN401 - a transport, keywords of the client
    """Return a client of this transport."""
    keys = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(region="us-east-1", transport=transport, credentials=keys, retry=NO_RETRY, **keywords)


# -- counting


async def test_the_parts_of_a_request_are_counted_by_difference() -> None:
    """System prompt and tools beside a message of one letter; the rest is messages. Four requests, no more."""
    counter = Counter()
    async with client_of(counter) as client:
        count = await client.count_tokens(MODEL, "Hello!", system="one two three", tools=[TOOL, TOOL], breakdown=True)
    assert count.input_tokens == 3 + 30 + 200 + 6
    assert count.breakdown == TokenBreakdown(system=30, tools=200, messages=9)
    assert not count.estimated
    assert len(counter.bodies) == 4
    assert [len(body["converse"]["messages"]) for body in counter.bodies] == [1, 1, 1, 1]


async def test_no_more_is_sent_than_is_needed() -> None:
    """Without system prompt and tools all is messages, and one request says so; without ``breakdown`` there is none."""
    counter = Counter()
    async with client_of(counter) as client:
        assert (await client.count_tokens(MODEL, "Hello!", breakdown=True)).breakdown == TokenBreakdown(0, 0, 9)
        assert len(counter.bodies) == 1
        assert (await client.count_tokens(MODEL, "Hello!", system="a")).breakdown is None
        assert len(counter.bodies) == 2
        await client.count_tokens(MODEL, "Hello!", system="a", breakdown=True)
        assert len(counter.bodies) == 5
        native = await client.count_tokens(MODEL, body=b'{"a": 1}', breakdown=True)
        assert (native.input_tokens, native.breakdown) == (8, None)


class Counted(Acme):
    """A family whose native body CountTokens takes."""

    def encode_count(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a call, and a mark."""
        return NativeRequest({**self.encode(request, ctx).body, "counted": True})


async def test_what_a_native_call_would_send_is_counted_natively() -> None:
    """With the family's own body where it has one for this; Converse's form otherwise, and for the parts."""
    counter = Counter()
    async with client_of(counter, families={"acme": Counted()}) as client:
        await client.count_tokens("acme.chat-1", "Hello!", provider="invoke", extra_body={"more": 1})
        await client.count_tokens("acme.chat-1", "Hello!", provider="invoke", breakdown=True)
        await client.count_tokens("acme.chat-1", "Hello!")
        with pytest.raises(InvalidRequestError, match="'acme' cannot express a system prompt"):
            await client.count_tokens("acme.chat-1", "Hello!", provider="invoke", system="Be brief.")
    native, *others = counter.bodies
    body = json.loads(base64.b64decode(native["invokeModel"]["body"]))
    assert body == {"prompt": "Hello!", "stream": False, "counted": True, "more": 1}
    assert [list(each) for each in others] == [["converse"], ["converse"]]
    counter = Counter()
    async with client_of(counter, families={"acme": Acme()}, provider="invoke") as client:
        await client.count_tokens("acme.chat-1", "Hello!")
    assert [list(each) for each in counter.bodies] == [["converse"]]


async def test_tool_results_in_the_history_can_be_counted_in_parts() -> None:
    """The parts are counted without the history: the service wants the tools where results of theirs are."""
    counter = Counter()
    history: list[dict[str, Any]] = [
        {"role": "user", "content": [{"text": "Weather?"}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "t", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": [{"text": "sun"}]}}]},
    ]
    async with client_of(counter) as client:
        await client.count_tokens(MODEL, history, tools=[TOOL], breakdown=True)
    without_tools = [body["converse"] for body in counter.bodies if "toolConfig" not in body["converse"]]
    assert without_tools
    assert all("tool" not in json.dumps(counted["messages"]) for counted in without_tools)


async def test_a_failure_of_one_part_is_its_own_error() -> None:
    """Not a group of errors; the other requests are cancelled."""
    counter = Counter()

    def refuse(_: str) -> str | None:
        return "too many" if len(counter.bodies) > 1 else None

    counter._refuse = refuse
    async with client_of(counter) as client:
        with pytest.raises(ValidationError, match="too many"):
            await client.count_tokens(MODEL, "Hello!", system="a", breakdown=True)


@pytest.mark.parametrize(
    ("first", "second"), [(CANNOT, CANNOT), (REJECTED, CANNOT), (CANNOT, REJECTED)], ids=["both", "base", "profile"]
)
async def test_a_model_that_cannot_count_is_remembered(first: str, second: str) -> None:
    """Both ids are asked for once; after that the answer is known, with the way out, and a traceback of its own."""
    counter = Counter(lambda model: first if model == MODEL else second)
    async with client_of(counter) as client:
        errors: list[ValidationError] = []
        for _ in range(3):
            with pytest.raises(ValidationError, match="support counting") as caught:
                await client.count_tokens(MODEL, "Hello!")
            errors.append(caught.value)
        assert counter.models == [MODEL, BASE]
        assert len({id(error) for error in errors}) == 3
        assert all('estimate="fallback"' in str(error.hint) for error in errors)


@pytest.mark.parametrize("said", [None, CANNOT], ids=["counted", "refused"])
async def test_what_is_remembered_has_a_limit(said: str | None) -> None:
    """Ids without end do not fill the memory: the oldest are asked for again, the newest are not."""
    counter = Counter(lambda model: said if said or not model.startswith("us.") else REJECTED)
    client = client_of(counter)

    async def asked(number: int) -> int:
        before = len(counter.models)
        with suppress(ValidationError):
            await client.count_tokens(f"us.amazon.nova-test{number}-v1:0", "Hi.")
        return len(counter.models) - before

    for number in range(1_001):
        assert await asked(number) == 2
    assert await asked(1_000) == (0 if said else 1)
    assert await asked(0) == 2


async def test_other_refusals_are_not_remembered() -> None:
    """One of the request itself comes through, and so does one of the id alone; the next question is asked again."""
    counter = Counter(lambda model: CANNOT if model == MODEL else "messages: roles must alternate")
    async with client_of(counter) as client:
        for _ in range(2):
            with pytest.raises(ValidationError, match="roles must alternate"):
                await client.count_tokens(MODEL, "Hello!")
        assert counter.models == [MODEL, BASE] * 2
    async with client_of(Counter(lambda _: REJECTED)) as client:
        for _ in range(2):
            with pytest.raises(ModelIdRejectedError):
                await client.count_tokens(MODEL, "Hello!", estimate="fallback")


async def test_the_id_that_works_is_remembered() -> None:
    """A profile id that the service refuses is asked for once."""
    counter = Counter(lambda model: CANNOT if model == MODEL else None)
    async with client_of(counter) as client:
        for _ in range(3):
            await client.count_tokens(MODEL, "Hello!")
    assert counter.models == [MODEL, BASE, BASE, BASE]


# -- estimates


async def test_nothing_is_estimated_unless_asked() -> None:
    """A model that cannot count raises; with "fallback" it is estimated, and says so; "offline" asks nobody."""
    counter = Counter(lambda _: CANNOT)
    async with client_of(counter) as client:
        with pytest.raises(ValidationError):
            await client.count_tokens(MODEL, "Hello!")
        fallback = await client.count_tokens(MODEL, "Hello!", estimate="fallback")
        sent = len(counter.bodies)
        offline = await client.count_tokens(MODEL, "Hello!", estimate="offline")
        assert len(counter.bodies) == sent
    assert fallback.estimated
    assert offline.estimated
    assert fallback.input_tokens == offline.input_tokens > 0


async def test_fallback_counts_where_the_model_can() -> None:
    """It is an estimate only where there is no count."""
    async with client_of(Counter()) as client:
        count = await client.count_tokens(MODEL, "Hello!", estimate="fallback")
    assert (count.input_tokens, count.estimated) == (9, False)


async def test_an_estimate_has_parts_too() -> None:
    """They add up to it; a longer text, a tool and an image are more."""
    async with client_of(Counter()) as client:

        async def estimated(messages: Any, **settings: Any) -> TokenCount:  # noqa: ANN401 - of any kind
            return await client.count_tokens(MODEL, messages, estimate="offline", breakdown=True, **settings)

        count = await estimated("word " * 100, system="Be brief.", tools=[TOOL])
        parts = count.breakdown
        assert parts is not None
        assert parts.system + parts.tools + parts.messages == count.input_tokens
        assert min(parts.system, parts.tools) > 0
        assert 60 < parts.messages < 250
        image = [{"role": "user", "content": [Image.from_bytes(png(900, 900)), {"text": "?"}]}]
        assert (await estimated(image)).input_tokens > 500
        native = await client.count_tokens(MODEL, body={"prompt": "word " * 100}, estimate="offline")
        assert (native.estimated, native.breakdown) == (True, None)


async def test_an_estimate_of_another_kind_is_refused() -> None:
    """With the two that there are."""
    async with client_of(Counter()) as client:
        with pytest.raises(InvalidRequestError, match="estimate is 'online'") as caught:
            await client.count_tokens(MODEL, "Hello!", estimate="online")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert '"offline"' in str(caught.value.hint)


# -- costs


async def test_the_cost_of_given_tokens_needs_no_request() -> None:
    """Each kind of tokens has its price; nothing is sent."""
    transport = CannedTransport([])
    async with client_of(transport) as client:
        cost = await client.estimate_cost(
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            input_tokens=MILLION,
            output_tokens=MILLION,
            cache_read_tokens=MILLION,
            cache_write_tokens=MILLION,
            cache_write_1h_tokens=MILLION,
        )
    assert not transport.requests
    assert cost is not None
    # This many tokens at once cost as ordinary ones: the model's prices know no tiers.
    assert {line.kind: line.usd for line in cost.lines} == {
        "input": 3,
        "cache_read": Decimal("0.3"),
        "cache_write_5m": Decimal("3.75"),
        "cache_write_1h": 6,
        "output": 15,
    }
    assert cost.usd == Decimal("28.05")
    assert not cost.estimated


async def test_the_cost_of_messages_is_that_of_their_count() -> None:
    """They are counted; ``max_tokens`` is the most that an answer can have."""
    prices = {"*": ModelPrices(input="1000000", output="1")}
    async with client_of(Counter(), prices=prices) as client:
        cost = await client.estimate_cost(MODEL, "Hello!", max_tokens=MILLION)
        assert cost is not None
        assert (cost.usd, cost.estimated) == (Decimal(10), False)
        offline = await client.estimate_cost(MODEL, "Hello!", output_tokens=0, estimate="offline")
        assert offline is not None
        assert offline.estimated


async def test_tier_batch_latency_and_profile_count() -> None:
    """As in a call; defaults of the client too."""
    nova = "us.amazon.nova-lite-v1:0"
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
    async with client_of(CannedTransport([]), settings={"service_tier": "flex", "max_tokens": 0}) as client:
        costs = [
            await client.estimate_cost(nova, input_tokens=MILLION),
            await client.estimate_cost(nova, input_tokens=MILLION, service_tier="priority"),
            await client.estimate_cost(nova, input_tokens=MILLION, batch=True),
            await client.estimate_cost(nova, input_tokens=MILLION, inference_profile=arn, service_tier="default"),
            await client.estimate_cost(arn, input_tokens=MILLION),
            await client.estimate_cost("acme.model", input_tokens=1),
            await client.estimate_cost(nova, input_tokens=MILLION, performance="optimized"),
            await client.estimate_cost(
                ConverseRequest.from_dict({"modelId": nova, "performanceConfig": {"latency": "optimized"}}),
                input_tokens=MILLION,
                output_tokens=0,
            ),
        ]
    assert [None if cost is None else str(cost.usd) for cost in costs] == [
        "0.030",
        "0.1050",
        "0.030",
        "0.06",
        None,
        None,
        None,
        None,
    ]


async def test_a_ready_request_says_the_rest() -> None:
    """Its model, tier and ``maxTokens`` count."""
    request = ConverseRequest.from_dict(
        {
            "modelId": "us.amazon.nova-lite-v1:0",
            "messages": [{"role": "user", "content": [{"text": "Hi."}]}],
            "inferenceConfig": {"maxTokens": MILLION},
            "serviceTier": {"type": "flex"},
        }
    )
    async with client_of(Counter()) as client:
        cost = await client.estimate_cost(request, input_tokens=0)
    assert cost is not None
    assert cost.usd == Decimal("0.12")


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"input_tokens": 1}, "output_tokens"),
        ({"input_tokens": -1, "output_tokens": 1}, "input_tokens"),
        ({"input_tokens": 1.5, "output_tokens": 1}, "input_tokens"),
        ({"input_tokens": 1, "output_tokens": True}, "output_tokens"),
        ({"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": "1"}, "cache_read_tokens"),
        ({"input_tokens": 1, "output_tokens": 1, "servicetier": "flex"}, "servicetier"),
        ({"output_tokens": 1}, "input_tokens"),
    ],
)
async def test_what_is_no_number_of_tokens_is_refused(settings: Any, path: str) -> None:  # noqa: ANN401 - what is wrong
    """Nothing is sent; without messages and tokens there is nothing to be priced."""
    transport = CannedTransport([])
    async with client_of(transport) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.estimate_cost(MODEL, **settings)
    assert caught.value.path == path
    assert not transport.requests
