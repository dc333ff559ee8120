"""Which recorded exchange answers a request, and what is said when none does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bedrock_async.testing import (
    Cassette,
    CassetteExchange,
    CassetteRequest,
    CassetteResponse,
    NotRecordedError,
    RecordedPiece,
    Redactor,
)
from bedrock_async.testing.cassette_matching import Shelf
from bedrock_async.transport import WireRequest

PATH = "/model/m.x%3A0/converse"
BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"text": "What is the secret plan?"}]}],
    "inferenceConfig": {"maxTokens": 100, "temperature": 1.0},
    "toolConfig": {"tools": [{"toolSpec": {"name": "find", "inputSchema": {"json": {"type": "object"}}}}]},
}


def request(body: object = None, *, path: str = PATH, **members: Any) -> CassetteRequest:  # noqa: ANN401
    """Return a request with this body, as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
    return CassetteRequest("POST", path, data, **members)


def recorded(answer: str, asked: CassetteRequest | None = None) -> CassetteExchange:
    """Return an exchange with this answer."""
    return CassetteExchange(asked or request(), CassetteResponse(200, {}, (RecordedPiece(answer.encode()),)))


def shelf(*held: CassetteExchange, repeat: bool = False) -> Shelf:
    """Return the exchanges as a cassette keeps them."""
    return Shelf(held, Redactor(), repeat=repeat)


def answer(found: CassetteExchange | None) -> str | None:
    """Return what was answered, None when nothing was found."""
    return None if found is None or found.response is None else found.response.body.decode()


@pytest.mark.parametrize(
    "same",
    [
        request(path="/model/m.x:0/converse"),
        request(json.dumps(BODY, indent=2).encode()),
        request(json.dumps(dict(reversed(BODY.items()))).encode()),
        request({**BODY, "inferenceConfig": {"temperature": 1, "maxTokens": 100.0}}),
        request(headers={"user-agent": "another", "x-amzn-bedrock-accept": "*/*"}),
        request(host="elsewhere"),
    ],
)
def test_equal_requests_are_found(same: CassetteRequest) -> None:
    """Quoting, spacing, the order of members, 1 and 1.0, other headers and hosts make no difference."""
    assert answer(shelf(recorded("yes")).take(same)) == "yes"


@pytest.mark.parametrize(
    ("other", "where", "how"),
    [
        (request(path="/model/m.y/converse"), "path", "is /model/m.x%3A0/converse there"),
        (CassetteRequest("GET", PATH), "method", "is POST there and GET here"),
        (request(query="a=1"), "query.a", "is absent there and a text of 1 character here"),
        (
            request(headers={"x-amzn-bedrock-trace": "ENABLED"}),
            "headers.x-amzn-bedrock-trace",
            "is absent there and a text of 7 characters here",
        ),
        (
            request({**BODY, "inferenceConfig": {"maxTokens": 200, "temperature": 1}}),
            "body.inferenceConfig.maxTokens",
            "is 100 there and 200 here",
        ),
        (
            request({**BODY, "inferenceConfig": {"maxTokens": True, "temperature": 1}}),
            "body.inferenceConfig.maxTokens",
            "is 100 there and true here",
        ),
        (
            request({**BODY, "messages": [{"role": "assistant", "content": BODY["messages"][0]["content"]}]}),
            "body.messages[0].role",
            'is "user" there and "assistant" here',
        ),
        (
            request({**BODY, "messages": [{"role": "user", "content": [{"text": "What is the real plan?"}]}]}),
            "body.messages[0].content[0].text",
            "has 24 characters there and 22 here, and differs from character 13 on",
        ),
        (
            request({**BODY, "messages": [*BODY["messages"], {"role": "assistant", "content": [{"text": "hush"}]}]}),
            "body.messages[1].role",
            'is absent there and "assistant" here',
        ),
        (
            request({name: value for name, value in BODY.items() if name != "toolConfig"}),
            "body.toolConfig.tools[0].toolSpec.name",
            'is "find" there and absent here',
        ),
        (request({**BODY, "system": []}), "body.system", "is absent there and [] here"),
        (request(b"no json"), "body", f"has {len(json.dumps(BODY))} bytes there and 7 here"),
    ],
)
def test_the_first_difference_is_told_without_what_was_said(other: CassetteRequest, where: str, how: str) -> None:
    """Another request is refused; the message names the member, shows numbers and roles, and of texts the length."""
    held = shelf(recorded("yes"))
    assert held.take(other) is None
    error = held.missing(other, hint="Record it.")
    assert (error.nearest, error.difference, error.path) == (1, where, where)
    assert f"The nearest is exchange 1: {where} {how}." in error.message
    assert error.hint == "Record it."
    for word in ("secret", "plan", "hush", "ENABLED"):
        assert word not in str(error)


def test_the_nearest_is_the_one_with_most_in_common() -> None:
    """Among several it is one of the same path, and of these the one that shares most values."""
    far = recorded("far", request({"messages": []}))
    near = recorded("near", request({**BODY, "inferenceConfig": {"maxTokens": 7, "temperature": 1}}))
    elsewhere = recorded("elsewhere", request(path="/model/m.z/converse"))
    error = shelf(far, elsewhere, near).missing(request())
    assert (error.nearest, error.difference) == (3, "body.inferenceConfig.maxTokens")
    assert "(3 recorded)" in error.message


def test_equal_requests_are_played_in_order_and_once() -> None:
    """The second equal request gets the second recorded answer, and the third none."""
    held = shelf(recorded("one"), recorded("two"))
    assert [answer(held.take(request())) for _ in range(3)] == ["one", "two", None]
    error = held.missing(request(), hint="Record it.")
    assert "was recorded 2 times in the cassette and requested once more" in error.message
    assert error.hint == "Pass repeat=True to play the last one again. Record it."
    assert held.unplayed == ()


def test_the_last_one_is_repeated_on_request() -> None:
    """With repeat the last of equal exchanges is played again and again."""
    held = shelf(recorded("one"), recorded("two"), repeat=True)
    assert [answer(held.take(request())) for _ in range(4)] == ["one", "two", "two", "two"]


def test_unplayed_exchanges_are_known() -> None:
    """A test can see that everything recorded was asked for."""
    first, second = recorded("one"), recorded("two", request({"other": 1}))
    held = shelf(first, second)
    held.take(request())
    assert held.unplayed == (second,)


def test_an_empty_cassette_says_so() -> None:
    """There is no nearest exchange where there is none."""
    error = shelf().missing(request())
    assert (error.nearest, error.difference) == (None, None)
    assert "has no exchanges" in error.message


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"clientRequestToken": "11111111-1111-4111-8111-111111111111"}, {"clientRequestToken": "other"}),
        (
            {"modelId": "arn:aws:bedrock:us-east-1:123456789012:x"},
            {"modelId": "arn:aws:bedrock:us-east-1:998877665544:x"},
        ),
    ],
)
async def test_redacted_requests_match_fresh_ones(there: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Another idempotency token, or another account of the same resources, is the recorded request."""
    held = CassetteExchange(request(there), CassetteResponse(200, {}, (RecordedPiece(b"ok"),)))
    cassette = Cassette(exchanges=[held], mode="replay")
    sent = WireRequest("POST", f"https://bedrock-runtime.us-east-1.amazonaws.com{PATH}", {}, json.dumps(here).encode())
    assert await (await cassette.send(sent, connect_timeout_s=1.0)).read(10) == b"ok"


async def test_the_account_in_a_path_is_no_difference() -> None:
    """A recording of one account answers the ARN of another, in either quoting."""
    arn = "arn:aws:bedrock:us-east-1:{}:application-inference-profile/abc"
    held = recorded(
        "ok", request({}, path=f"/model/{arn.format('123456789012').replace(':', '%3A').replace('/', '%2F')}/converse")
    )
    cassette = Cassette(exchanges=[held], mode="replay")
    url = f"https://x/model/{arn.format('998877665544').replace('/', '%2F')}/converse"
    assert await (await cassette.send(WireRequest("POST", url, {}, b"{}"), connect_timeout_s=1.0)).read(10) == b"ok"


async def test_members_in_headers_are_part_of_the_request() -> None:
    """InvokeModel has its guardrail in a header: two calls with different ones are two requests."""
    plain = recorded("plain", request({}))
    guarded = recorded("guarded", request({}, headers={"x-amzn-bedrock-guardrailidentifier": "gr1"}))
    cassette = Cassette(exchanges=[plain, guarded], mode="replay")
    url = f"https://x{PATH}"
    headers = {"X-Amzn-Bedrock-GuardrailIdentifier": "gr1"}
    assert (
        await (await cassette.send(WireRequest("POST", url, headers, b"{}"), connect_timeout_s=1.0)).read(10)
        == b"guarded"
    )
    other = WireRequest("POST", url, {"x-amzn-bedrock-guardrailidentifier": "gr2"}, b"{}")
    with pytest.raises(NotRecordedError, match=r"headers\.x-amzn-bedrock-guardrailidentifier"):
        await cassette.send(other, connect_timeout_s=1.0)
