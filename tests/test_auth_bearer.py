"""API keys: on the request as a bearer token, and asked for again when a callable gives them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from bedrock_async.auth import ADVISORY_WINDOW, API_KEY_LIFETIME, ApiKey, Authenticator, BearerAuthenticator
from bedrock_async.errors import CredentialsError, ExpiredCredentialsError, InvalidRequestError

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
CANARY = "CANARY-api-key"


def authorization(authenticator: Authenticator) -> str:
    """Return the header that the authenticator puts on a request, over one that was there before."""
    headers = {"content-type": "application/json", "authorization": "stale"}
    authenticator.authorize(
        "POST", "https://example.com/x", headers, b"{}", service="bedrock", region="us-east-1", now=NOW
    )
    assert set(headers) == {"content-type", "authorization"}
    return headers["authorization"]


@pytest.mark.parametrize("api_key", [CANARY, ApiKey(CANARY)])
def test_a_static_key_is_ready_at_once(api_key: str | ApiKey) -> None:
    """A key that was passed needs no preparation, and no request to anybody."""
    authenticator = BearerAuthenticator(api_key)
    assert authenticator.ready(NOW)
    assert authorization(authenticator) == f"Bearer {CANARY}"
    assert not authenticator.invalidate(), "there is no other key to be had"
    assert CANARY not in repr(authenticator)


async def test_an_expired_static_key_is_an_error() -> None:
    """A key whose expiry has passed is not sent."""
    authenticator = BearerAuthenticator(ApiKey(CANARY, NOW))
    assert authenticator.ready(NOW - TICK)
    assert not authenticator.ready(NOW)
    with pytest.raises(ExpiredCredentialsError, match="expired at 2026-01-15") as caught:
        await authenticator.prepare(NOW)
    assert CANARY not in str(caught.value)


async def test_a_callable_is_asked_again_after_its_lifetime() -> None:
    """A key without an expiry is used for five minutes, then the callable is asked again: rotation needs no restart."""
    keys = iter(["first", "second"])

    async def provide() -> str:
        return next(keys)

    authenticator = BearerAuthenticator(provide)
    assert not authenticator.ready(NOW)
    await authenticator.prepare(NOW)
    assert authorization(authenticator) == "Bearer first"
    assert authenticator.ready(NOW + API_KEY_LIFETIME - TICK)
    assert not authenticator.ready(NOW + API_KEY_LIFETIME)
    await authenticator.prepare(NOW + API_KEY_LIFETIME)
    assert authorization(authenticator) == "Bearer second"


async def test_a_key_with_an_expiry_is_renewed_before_it() -> None:
    """An `ApiKey` with an expiry lasts until fifteen minutes before that."""
    expiry = NOW + timedelta(hours=12)
    keys = iter([ApiKey("first", expiry), ApiKey("second", expiry + timedelta(hours=12))])

    async def provide() -> ApiKey:
        return next(keys)

    authenticator = BearerAuthenticator(provide)
    await authenticator.prepare(NOW)
    assert authenticator.ready(expiry - ADVISORY_WINDOW - TICK)
    await authenticator.prepare(expiry - ADVISORY_WINDOW)
    assert authorization(authenticator) == "Bearer second"


async def test_a_plain_function_runs_in_a_worker_thread() -> None:
    """A function that reads a file or calls a secret store does not block the loop."""
    threads: list[int] = []

    def provide() -> str:
        threads.append(threading.get_ident())
        return "key"

    authenticator = BearerAuthenticator(provide)
    await authenticator.prepare(NOW)
    assert threads != [threading.get_ident()]
    assert authorization(authenticator) == "Bearer key"


async def test_a_refused_key_is_asked_for_again() -> None:
    """After `invalidate` the callable gives another key; a late refusal of the old one does not cost a second call."""
    keys = iter(["first", "second"])

    async def provide() -> str:
        return next(keys)

    authenticator = BearerAuthenticator(provide)
    await authenticator.prepare(NOW)
    refused = {"authorization": authorization(authenticator)}
    assert authenticator.invalidate(refused)
    assert not authenticator.ready(NOW)
    await authenticator.prepare(NOW)
    assert authenticator.invalidate(refused)
    assert authenticator.ready(NOW)
    assert authorization(authenticator) == "Bearer second"


@pytest.mark.parametrize("given", [None, b"bytes", 7])
async def test_a_callable_that_gives_something_else_is_an_error(given: str | None) -> None:
    """What is no key is refused, naming its type and what was expected."""

    async def provide() -> str:
        return given  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    with pytest.raises(CredentialsError, match=f"api_key argument returned {type(given).__name__}"):
        await BearerAuthenticator(provide).prepare(NOW)


async def test_a_callable_that_gives_an_unfit_key_is_an_error() -> None:
    """A line end in a key from a file is found before it is sent, and the key is not quoted."""
    with pytest.raises(CredentialsError, match="api_key holds white space at position") as caught:
        await BearerAuthenticator(lambda: f"{CANARY}\n").prepare(NOW)
    assert CANARY not in str(caught.value)


def test_an_unfit_static_key_is_refused_at_once() -> None:
    """The constructor refuses what could not be sent."""
    with pytest.raises(InvalidRequestError, match="api_key is empty"):
        BearerAuthenticator("")


def test_authorising_before_preparing_is_an_error() -> None:
    """A request is never sent without its key."""
    with pytest.raises(CredentialsError, match="has not been fetched"):
        authorization(BearerAuthenticator(lambda: "key"))
