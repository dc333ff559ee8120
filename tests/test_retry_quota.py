"""The retry quota: what a client may spend on repetitions, as the standard mode of the AWS SDKs has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from botocore.retries.quota import RetryQuota as BotocoreQuota
from botocore.retries.standard import RetryQuotaChecker
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    BedrockClient,
    BedrockError,
    ConnectionLostError,
    ConnectTimeoutError,
    Credentials,
    RetryQuota,
    StandardRetry,
    ThrottlingError,
)
from bedrock_async.errors import service_error
from bedrock_async.testing.canned import CannedResponse, CannedTransport

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
AT_ONCE: Final = StandardRetry(base_delay_s=0.0)
REPLY: Final = json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}}}).encode()
THROTTLED: Final = service_error("ThrottlingException", "slow down")
TIMED_OUT: Final = ConnectTimeoutError("m", limit_s=10)


def client_of(answers: Sequence[CannedResponse | BedrockError], **options: object) -> BedrockClient:
    """Return a client that gets these answers, and repeats without waiting."""
    settings: dict[str, object] = {"credentials": Credentials("AKIDEXAMPLE", "secret"), "retry": AT_ONCE, **options}
    return BedrockClient(region="us-east-1", transport=CannedTransport(answers), **settings)  # type: ignore[arg-type]


def test_the_costs_are_those_of_the_sdks() -> None:
    """500 to spend; a repetition costs 5, one after a timeout 10, a success without one earns 1."""
    quota = RetryQuota()
    assert quota.available == 500
    assert (quota.spend(THROTTLED), quota.available) == (5, 495)
    assert (quota.spend(TIMED_OUT), quota.available) == (10, 485)
    quota.succeeded(10)
    quota.succeeded(0)
    assert quota.available == 496
    checker: Any = RetryQuotaChecker
    assert (checker._RETRY_COST, checker._TIMEOUT_RETRY_REQUEST, checker._NO_RETRY_INCREMENT) == (5, 10, 1)
    assert BotocoreQuota.INITIAL_CAPACITY == 500


@given(st.lists(st.sampled_from(["repeat", "timeout", "success", "repeated success"]), max_size=300))
def test_it_decides_as_botocores(happenings: list[str]) -> None:
    """Whatever happens in whatever order: as much is left, and a repetition is refused in the same places."""
    ours, theirs = RetryQuota(60), BotocoreQuota(60)
    for happening in happenings:
        match happening:
            case "repeat":
                assert bool(ours.spend(THROTTLED)) == theirs.acquire(5)
            case "timeout":
                assert bool(ours.spend(TIMED_OUT)) == theirs.acquire(10)
            case "success":
                ours.succeeded(0)
                theirs.release(1)
            case _:
                ours.succeeded(5)
                theirs.release(5)
        assert ours.available == theirs.available_capacity


async def test_all_calls_of_a_client_share_it() -> None:
    """Fifty calls of three attempts use up 500; from then on failures come at once, and say why."""
    client = client_of([ConnectionLostError("Gone.", sent=True)])
    for _ in range(50):
        with pytest.raises(ConnectionLostError) as caught:
            await client.converse(MODEL, "Hi.")
        assert len(caught.value.attempts) == 3
    with pytest.raises(ConnectionLostError) as caught:
        await client.converse(MODEL, "Hi.")
    assert len(caught.value.attempts) == 1
    assert "retry quota" in caught.value.__notes__[0]


async def test_a_call_with_a_policy_of_its_own_draws_on_the_same_quota() -> None:
    """retry= of a call changes when it is repeated, and not how much the client may repeat."""
    client = client_of([ConnectionLostError("Gone.", sent=True)])
    with pytest.raises(ConnectionLostError):
        await client.converse(MODEL, "Hi.", retry=StandardRetry(max_attempts=200, base_delay_s=0.0))
    with pytest.raises(ConnectionLostError) as caught:
        await client.converse(MODEL, "Hi.")
    assert len(caught.value.attempts) == 1


async def test_a_success_gives_back_what_its_last_repetition_cost() -> None:
    """A call that came through after two repetitions has cost 5, and one without any earns 1 back."""
    refused = CannedResponse([b"{}"], status=500)
    client = client_of([refused, CannedResponse([b"{}"], status=500), CannedResponse([REPLY]), CannedResponse([REPLY])])
    quota = client._line.quota
    await client.converse(MODEL, "Hi.")
    assert quota.available == 495
    await client.converse(MODEL, "Hi.")
    assert quota.available == 496


async def test_it_can_be_left_out() -> None:
    """With quota=False, and with policies of one's own, nothing is counted."""

    class Stubborn:
        def delay_s(self, failure: BedrockError, attempt: int, *, random: Random) -> float | None:
            return 0.0 if attempt < 200 else None

    client = client_of([CannedResponse([b"{}"], status=429)], retry=StandardRetry(200, 0.0, quota=False))
    for retry in (None, Stubborn()):
        with pytest.raises(ThrottlingError) as caught:
            await client.converse(MODEL, "Hi.", retry=retry)
        assert len(caught.value.attempts) == 200
    assert client._line.quota.available == 500


async def test_new_credentials_leave_the_quota_as_it_is() -> None:
    """The service is as it was."""
    client = client_of([CannedResponse([b"{}"], status=500)])
    with pytest.raises(BedrockError):
        await client.converse(MODEL, "Hi.")
    client.credentials = Credentials("AKIDOTHER", "secret")
    assert client._line.quota.available == 490


async def test_cancelling_the_wait_before_a_repetition_ends_the_call() -> None:
    """The call is over at once, the failure of its first attempt is forgotten, and the client goes on."""
    waiting = asyncio.Event()
    client = client_of([CannedResponse([b"{}"], status=500), CannedResponse([REPLY])])

    async def wait(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    client._line = replace(client._line, sleep=wait)
    task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.converse(MODEL, "Hi.")).text == "Hello."
