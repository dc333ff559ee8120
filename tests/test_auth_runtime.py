"""Credentials and API keys of a running client: replaced, rotated, asked for again when the service refuses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from bedrock_async import (
    AccessDeniedError,
    ApiKey,
    AuthenticationError,
    BedrockClient,
    Credentials,
    CredentialsError,
    InvalidRequestError,
    JSONValue,
    StandardRetry,
)
from bedrock_async.auth import Authenticator, BearerAuthenticator, resolve_authenticator
from bedrock_async.errors import service_error
from bedrock_async.testing import BedrockEmulator, ScriptedModel
from bedrock_async.testing.canned import CannedResponse, CannedTransport

MODEL: Final = "us.amazon.nova-lite-v1:0"
NOW: Final = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
CANARY: Final = "CANARY-secret"
OLD, NEW = Credentials("AKIDOLD", CANARY), Credentials("AKIDNEW", CANARY)
USAGE: Final[dict[str, JSONValue]] = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
REPLY: Final = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
    }
).encode()
EVENTS: Final[list[dict[str, JSONValue]]] = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello."}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {**USAGE}, "metrics": {"latencyMs": 1}}},
]

INVALID_KEY: Final = "Authentication failed: Please make sure your API Key is valid."
EXPIRED_KEY: Final = "Bearer Token has expired"
UNKNOWN_FORMAT: Final = "Invalid API Key format: Must start with pre-defined prefix"
NOT_ALLOWED: Final = (
    "User: arn:aws:iam::111122223333:user/x is not authorized to perform: bedrock:CallWithBearerToken on resource: y"
)


def client_of(
    *answers: CannedResponse,
    **keywords: Any,  # noqa: ANN401
) -> tuple[BedrockClient, CannedTransport]:
    """Return a client whose transport gives these answers."""
    transport = CannedTransport(answers)
    at_once = StandardRetry(base_delay_s=0.0)
    return BedrockClient(region="us-east-1", transport=transport, retry=at_once, **keywords), transport


def reply(*before: asyncio.Event) -> CannedResponse:
    """Return an answer, once the events have come."""
    return CannedResponse([*before, REPLY])


def refused(code: str, message: str) -> CannedResponse:
    """Return a refusal as the front end words it."""
    body = json.dumps({"Message": message}).encode()
    return CannedResponse([body], status=403, headers={"x-amzn-errortype": f"{code}:http://internal.amazon.com/x/"})


def signers(transport: CannedTransport) -> list[str]:
    """Return the key, or key id, of each request."""
    values = [request.headers["authorization"] for request in transport.requests]
    return [value.removeprefix("Bearer ").partition("Credential=")[2].partition("/")[0] or value for value in values]


# -- replaced


async def test_new_credentials_sign_the_calls_that_start_afterwards() -> None:
    """Assigning credentials takes effect with the next call; what they are cannot be read, only where from."""
    client, transport = client_of(reply(), reply(), credentials=OLD)
    await client.converse(MODEL, "Hi.")
    client.credentials = NEW
    await client.converse(MODEL, "Hi.")
    assert signers(transport) == ["AKIDOLD", "AKIDNEW"]
    assert client.credentials == client.credentials_source == "credentials argument"
    assert client.api_key is None
    assert CANARY not in repr(client.credentials)


async def test_a_callable_may_be_assigned() -> None:
    """It is called for the first call that needs it."""
    client, transport = client_of(reply(), credentials=OLD)

    async def provide() -> Credentials:
        return NEW

    client.credentials = provide
    await client.converse(MODEL, "Hi.")
    assert signers(transport) == ["AKIDNEW"]
    assert client.credentials == "credentials callable"


async def test_an_api_key_takes_the_place_of_credentials_and_back() -> None:
    """Either may be assigned whatever the client was made with; neither shows a secret."""
    client, transport = client_of(*(reply() for _ in range(4)), credentials=OLD)
    for key in (CANARY, ApiKey(CANARY), lambda: CANARY):
        client.api_key = key
        await client.converse(MODEL, "Hi.")
        assert (client.api_key, client.credentials) == ("api_key argument", None)
    client.credentials = NEW
    await client.converse(MODEL, "Hi.")
    assert [request.headers["authorization"] for request in transport.requests[:3]] == [f"Bearer {CANARY}"] * 3
    assert "x-amz-date" not in transport.requests[0].headers
    assert signers(transport)[3:] == ["AKIDNEW"]


async def test_calls_under_way_keep_their_credentials() -> None:
    """A call that waits for its answer, and repeats its request then, signs with what it started with."""
    gate = asyncio.Event()
    throttled = CannedResponse([gate, b"{}"], status=429, headers={"x-amzn-errortype": "ThrottlingException"})
    client, transport = client_of(throttled, reply(), reply(), credentials=OLD)
    under_way = asyncio.create_task(client.converse(MODEL, "Hi."))
    await throttled.waiting.wait()
    client.credentials = NEW
    gate.set()
    await under_way
    await client.converse(MODEL, "Hi.")
    assert signers(transport) == ["AKIDOLD", "AKIDOLD", "AKIDNEW"]


async def test_streams_keep_the_credentials_of_the_moment_they_were_made() -> None:
    """The call of `stream` settles it, although its request goes out later."""
    client, transport = client_of(CannedResponse.stream(EVENTS), CannedResponse.stream(EVENTS), credentials=OLD)
    made_before = client.stream(MODEL, "Hi.")
    client.credentials = NEW
    made_after = client.stream(MODEL, "Hi.")
    for stream in (made_before, made_after):
        async with stream:
            assert (await stream.get_final_response()).text == "Hello."
    assert signers(transport) == ["AKIDOLD", "AKIDNEW"]


@pytest.mark.parametrize("wrong", [None, "AKIDOLD", ("AKIDOLD", CANARY), {"secret": CANARY}, ApiKey(CANARY)])
def test_what_are_no_credentials_is_refused(wrong: Any) -> None:  # noqa: ANN401
    """The client keeps what it had, and the error repeats no secret."""
    client, _ = client_of(credentials=OLD)
    with pytest.raises(InvalidRequestError, match=r"credentials is of type \w+\..*Pass Credentials\(") as caught:
        client.credentials = wrong
    assert CANARY not in str(caught.value)
    assert client.credentials == "credentials argument"


@pytest.mark.parametrize("wrong", [None, "", "two words", OLD, 7])
def test_what_is_no_api_key_is_refused(wrong: Any) -> None:  # noqa: ANN401
    """The client keeps what it had."""
    client, _ = client_of(api_key="before")
    with pytest.raises(InvalidRequestError, match="api_key"):
        client.api_key = wrong
    assert client.api_key == "api_key argument"


async def test_the_service_sees_the_change() -> None:
    """Judged by the emulator, which verifies signatures and keys as the service does."""
    keys = Credentials("AKIDNEW", "other-secret", "token")
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.")], credentials=[keys], api_keys=["ABSKgood"]) as emulator,
        BedrockClient(region=emulator.region, endpoint_url=emulator.url, credentials=OLD) as client,
    ):
        with pytest.raises(AuthenticationError, match="UnrecognizedClientException"):
            await client.converse(MODEL, "Hi.")
        client.credentials = keys
        assert (await client.converse(MODEL, "Hi.")).text == "Hello."
        client.api_key = "ABSKgood"
        assert (await client.converse(MODEL, "Hi.")).text == "Hello."


# -- refused


class Rotating:
    """Gives the next one each time that it is asked; the last one again and again."""

    def __init__(self, *values: Any) -> None:  # noqa: ANN401
        self.values = values
        self.asked = 0

    async def __call__(self) -> Any:  # noqa: ANN401
        """Return the next one."""
        self.asked += 1
        return self.values[min(self.asked, len(self.values)) - 1]


@pytest.mark.parametrize("message", [INVALID_KEY, EXPIRED_KEY, UNKNOWN_FORMAT])
async def test_a_refused_api_key_is_asked_for_again_once(message: str) -> None:
    """A key that was rotated is replaced within the call that meets its refusal, in the same client."""
    provide = Rotating("old", "new")
    client, transport = client_of(refused("AccessDeniedException", message), reply(), reply(), api_key=provide)
    assert (await client.converse(MODEL, "Hi.")).text == "Hello."
    assert signers(transport) == ["Bearer old", "Bearer new"]
    await client.converse(MODEL, "Hi.")
    assert provide.asked == 2


async def test_a_stream_with_a_refused_api_key_too() -> None:
    """Also where the answer is a stream."""
    answers = refused("AccessDeniedException", INVALID_KEY), CannedResponse.stream(EVENTS)
    client, transport = client_of(*answers, api_key=Rotating("old", "new"))
    assert [event.text async for event in client.stream(MODEL, "Hi.") if event.text] == ["Hello."]
    assert signers(transport) == ["Bearer old", "Bearer new"]


async def test_a_key_that_stays_refused_is_the_services_error() -> None:
    """The second refusal reaches the caller, with both attempts and the next step; the key is in no text."""
    provide = Rotating(CANARY)
    client, transport = client_of(*(refused("AccessDeniedException", EXPIRED_KEY) for _ in range(2)), api_key=provide)
    with pytest.raises(AccessDeniedError, match="Create a new API key") as caught:
        await client.converse(MODEL, "Hi.")
    assert len(transport.requests) == len(caught.value.attempts) == provide.asked == 2
    assert CANARY not in str(caught.value)


async def test_a_missing_permission_asks_nobody() -> None:
    """What another key would meet as well is told at once: one request, one question."""
    provide = Rotating("key")
    client, transport = client_of(refused("AccessDeniedException", NOT_ALLOWED), api_key=provide)
    with pytest.raises(AccessDeniedError, match="CallWithBearerToken"):
        await client.converse(MODEL, "Hi.")
    assert (len(transport.requests), provide.asked) == (1, 1)


async def test_a_fixed_key_is_not_sent_twice() -> None:
    """There is no other one: the refusal is the answer."""
    client, transport = client_of(refused("AccessDeniedException", INVALID_KEY), api_key="fixed")
    with pytest.raises(AccessDeniedError):
        await client.converse(MODEL, "Hi.")
    assert len(transport.requests) == 1


async def test_the_key_of_the_environment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that renews AWS_BEARER_TOKEN_BEDROCK for itself is followed."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "old")
    client, transport = client_of(reply(), refused("AccessDeniedException", EXPIRED_KEY), reply())
    await client.converse(MODEL, "Hi.")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "new")
    await client.converse(MODEL, "Hi.")
    assert signers(transport) == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_hundred_refusals_ask_once() -> None:
    """Calls that were refused together wait for one answer and go on with it."""
    provide = Rotating("old", "new")
    authenticator = BearerAuthenticator(provide)
    await authenticator.prepare(NOW)
    headers: dict[str, str] = {}
    authorize(authenticator, headers)
    failure = service_error("AccessDeniedException", INVALID_KEY, status=403)
    assert all(authenticator.invalidate(headers, failure) for _ in range(100))
    await asyncio.gather(*(authenticator.prepare(NOW) for _ in range(100)))
    assert authenticator.invalidate(headers, failure), "a late refusal of the old key costs nothing"
    assert authenticator.ready(NOW)
    assert provide.asked == 2


def authorize(authenticator: Authenticator, headers: dict[str, str]) -> None:
    """Authorise a request."""
    authenticator.authorize("POST", "https://a.example/", headers, b"", service="bedrock", region="us-east-1", now=NOW)


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("ExpiredTokenException", 2),
        ("UnrecognizedClientException", 2),
        ("InvalidSignatureException", 1),
        ("IncompleteSignatureException", 1),
        ("AccessDeniedException", 1),
    ],
)
async def test_which_refusals_ask_for_other_credentials(code: str, asked: int) -> None:
    """A key that has expired or is gone; not a wrong clock, a broken request or a missing permission."""
    provide = Rotating(OLD, NEW)
    client, transport = client_of(refused(code, "No."), refused(code, "No."), credentials=provide)
    with pytest.raises((AuthenticationError, AccessDeniedError)):
        await client.converse(MODEL, "Hi.")
    assert provide.asked == asked
    assert signers(transport) == ["AKIDOLD", "AKIDNEW"][:asked]


async def test_keys_without_a_session_token_are_told_apart() -> None:
    """A late refusal of a replaced key does not cost the new one, though neither has a token."""
    provide = Rotating(OLD, NEW)
    authenticator = resolve_authenticator(credentials=provide, environ={})
    await authenticator.prepare(NOW)
    headers: dict[str, str] = {}
    authorize(authenticator, headers)
    failure = service_error("UnrecognizedClientException", "No.", status=403)
    assert authenticator.invalidate(headers, failure)
    await authenticator.prepare(NOW)
    assert authenticator.invalidate(headers, failure)
    assert authenticator.ready(NOW)
    assert provide.asked == 2


@pytest.mark.parametrize("make", [lambda: CANARY, lambda: ApiKey(CANARY)])
async def test_a_plain_function_gives_keys_too(make: Callable[[], str | ApiKey]) -> None:
    """It runs in a worker thread; what it returns is a key or an `ApiKey`."""
    client, transport = client_of(reply(), api_key=make)
    await client.converse(MODEL, "Hi.")
    assert signers(transport) == [f"Bearer {CANARY}"]


async def test_a_callable_that_fails_sends_nothing() -> None:
    """Without a key there is no request; the error is of our tree and quotes nothing of the stranger's exception."""

    def fail() -> str:
        raise RuntimeError(CANARY)

    client, transport = client_of(api_key=fail)
    with pytest.raises(CredentialsError, match="api_key argument failed: RuntimeError") as caught:
        await client.converse(MODEL, "Hi.")
    assert transport.requests == []
    assert CANARY not in str(caught.value)
