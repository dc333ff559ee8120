"""Refreshing: one fetch for all who wait, in time, and nobody's cancellation is anybody else's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from bedrock_async.auth import ADVISORY_WINDOW, MANDATORY_WINDOW, RETRY_INTERVAL, Credentials
from bedrock_async.auth.refresh import Fixed, Refresher, call_off_loop
from bedrock_async.errors import CredentialsError, ExpiredCredentialsError, InvalidRequestError

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
CANARY = "CANARY-secret"


class Vault:
    """A fetch function with a script: each call waits for the gate, then returns or raises the next outcome."""

    def __init__(self, *outcomes: Credentials | BaseException, gated: bool = False) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0
        self.cancelled = 0
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        if not gated:
            self.gate.set()

    async def fetch(self) -> Credentials:
        self.calls += 1
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def close(self) -> None:
        """Make the next calls wait."""
        self.gate.clear()
        self.entered.clear()


def key(number: int, expires_at: datetime | None = None) -> Credentials:
    """Return credentials that differ by number."""
    return Credentials(f"KEY{number}", CANARY, expires_at=expires_at)


def refresher(vault: Vault, *, lifetime: timedelta | None = None) -> Refresher[Credentials]:
    """Return a refresher that has fetched nothing yet."""
    return Refresher(vault.fetch, source="test vault", lifetime=lifetime)


async def settle() -> None:
    """Let every task run until it waits for something else than its turn."""
    for _ in range(10):
        await asyncio.sleep(0)


async def filled(vault: Vault, *, lifetime: timedelta | None = None) -> Refresher[Credentials]:
    """Return a refresher that has fetched the vault's first outcome at NOW."""
    held = refresher(vault, lifetime=lifetime)
    await held.refresh(NOW)
    return held


async def test_one_fetch_serves_all_waiters() -> None:
    """A hundred calls that start at once cause one fetch."""
    vault = Vault(key(1), gated=True)
    held = refresher(vault)
    assert not held.ready(NOW)
    waiters = [asyncio.ensure_future(held.refresh(NOW)) for _ in range(100)]
    await vault.entered.wait()
    await settle()
    vault.gate.set()
    await asyncio.gather(*waiters)
    assert vault.calls == 1
    assert held.value == key(1)
    assert held.ready(NOW)


async def test_cancelling_a_waiter_leaves_the_fetch_alone() -> None:
    """The one who only waits can go; the fetch and the other waiters do not notice."""
    vault = Vault(key(1), gated=True)
    held = refresher(vault)
    leader, leaver, stayer = (asyncio.ensure_future(held.refresh(NOW)) for _ in range(3))
    await settle()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    vault.gate.set()
    await asyncio.gather(leader, stayer)
    assert (vault.calls, vault.cancelled) == (1, 0)


async def test_when_the_one_who_fetches_is_cancelled_the_next_takes_over() -> None:
    """Cancelling the fetching call at once ends its fetch; one waiter fetches again, and all get the result."""
    vault = Vault(key(1), gated=True)
    held = refresher(vault)
    leader, *others = (asyncio.ensure_future(held.refresh(NOW)) for _ in range(10))
    await vault.entered.wait()
    await settle()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    await settle()
    assert (vault.calls, vault.cancelled) == (2, 1)
    vault.gate.set()
    await asyncio.gather(*others)
    assert (vault.calls, held.value) == (2, key(1))


async def test_cancelling_everyone_leaves_nothing_behind() -> None:
    """After all waiters were cancelled the next call starts from the beginning, and no task is left."""
    vault = Vault(key(1), gated=True)
    held = refresher(vault)
    before = asyncio.all_tasks()
    waiters = [asyncio.ensure_future(held.refresh(NOW)) for _ in range(5)]
    await settle()
    for waiter in waiters:
        waiter.cancel()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert asyncio.all_tasks() == before
    vault.gate.set()
    await held.refresh(NOW)
    assert held.value == key(1)


async def test_a_failed_fetch_is_shared_too() -> None:
    """Waiters do not fetch one after the other when the first fetch fails; each gets an error of its own."""
    vault = Vault(CredentialsError("the vault is shut", hint="Open it."), key(1), gated=True)
    held = refresher(vault)
    waiters = [asyncio.ensure_future(held.refresh(NOW)) for _ in range(20)]
    await settle()
    vault.gate.set()
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert vault.calls == 1
    assert {type(outcome) for outcome in outcomes} == {CredentialsError}
    assert {str(outcome) for outcome in outcomes} == {"the vault is shut. Open it."}
    assert len({id(outcome) for outcome in outcomes}) == len(outcomes)
    await held.refresh(NOW)
    assert held.value == key(1), "a failure is not remembered"


async def test_ready_ends_fifteen_minutes_before_the_expiry() -> None:
    """Until the advisory window nothing is fetched; in it, the next call fetches."""
    vault = Vault(key(1, NOW + HOUR), key(2, NOW + 3 * HOUR))
    held = await filled(vault)
    edge = NOW + HOUR - ADVISORY_WINDOW
    assert held.ready(edge - TICK)
    await held.refresh(edge - TICK)
    assert vault.calls == 1
    assert not held.ready(edge)
    await held.refresh(edge)
    assert (vault.calls, held.value) == (2, key(2, NOW + 3 * HOUR))


async def test_in_the_advisory_window_only_one_call_waits() -> None:
    """While one call fetches, the others go on with credentials that are still good for ten minutes."""
    vault = Vault(key(1, NOW + HOUR), key(2, NOW + 2 * HOUR))
    held = await filled(vault)
    vault.close()
    now = NOW + HOUR - MANDATORY_WINDOW - TICK
    leader = asyncio.ensure_future(held.refresh(now))
    await vault.entered.wait()
    await held.refresh(now)
    assert not leader.done()
    assert held.value == key(1, NOW + HOUR)
    vault.gate.set()
    await leader
    assert held.value == key(2, NOW + 2 * HOUR)


async def test_in_the_mandatory_window_every_call_waits() -> None:
    """From ten minutes before the expiry nobody is sent off with the old credentials while new ones are coming."""
    vault = Vault(key(1, NOW + HOUR), key(2, NOW + 2 * HOUR))
    held = await filled(vault)
    vault.close()
    now = NOW + HOUR - MANDATORY_WINDOW
    waiters = [asyncio.ensure_future(held.refresh(now)) for _ in range(3)]
    await vault.entered.wait()
    await settle()
    assert not any(waiter.done() for waiter in waiters)
    vault.gate.set()
    await asyncio.gather(*waiters)
    assert (vault.calls, held.value) == (2, key(2, NOW + 2 * HOUR))


@pytest.mark.parametrize("before_expiry", [ADVISORY_WINDOW, MANDATORY_WINDOW, TICK])
async def test_a_failed_refresh_does_no_harm_while_the_credentials_are_valid(
    before_expiry: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of the token service is logged and survived until the credentials really expire."""
    vault = Vault(key(1, NOW + HOUR), OSError(CANARY), key(2, NOW + 2 * HOUR))
    held = await filled(vault)
    with caplog.at_level(logging.WARNING, logger="bedrock_async.auth"):
        await held.refresh(NOW + HOUR - before_expiry)
    assert held.value == key(1, NOW + HOUR)
    assert "test vault" in caplog.text
    assert CANARY not in caplog.text


async def test_waiters_survive_a_failed_refresh_too() -> None:
    """Calls that waited for a mandatory refresh go on with valid credentials when it fails."""
    vault = Vault(key(1, NOW + HOUR), OSError("down"))
    held = await filled(vault)
    vault.close()
    waiters = [asyncio.ensure_future(held.refresh(NOW + HOUR - TICK)) for _ in range(3)]
    await settle()
    vault.gate.set()
    await asyncio.gather(*waiters)
    assert (vault.calls, held.value) == (2, key(1, NOW + HOUR))


async def test_a_failed_refresh_is_tried_again_a_minute_later() -> None:
    """A token service that is down is asked once a minute, not once per request."""
    vault = Vault(key(1, NOW + HOUR), OSError("down"), key(2, NOW + 2 * HOUR))
    held = await filled(vault)
    failed_at = NOW + HOUR - ADVISORY_WINDOW
    await held.refresh(failed_at)
    assert held.ready(failed_at + RETRY_INTERVAL - TICK)
    assert not held.ready(failed_at + RETRY_INTERVAL)
    await held.refresh(failed_at + RETRY_INTERVAL)
    assert held.value == key(2, NOW + 2 * HOUR)


async def test_a_failed_refresh_is_an_error_once_the_credentials_have_expired() -> None:
    """Expired credentials are never used, however often the refresh fails; the first that works ends it."""
    vault = Vault(key(1, NOW + HOUR), OSError("down"), OSError("down"), key(2, NOW + 2 * HOUR))
    held = await filled(vault)
    for _ in range(2):
        with pytest.raises(CredentialsError, match="test vault failed: OSError was raised"):
            await held.refresh(NOW + HOUR)
        assert not held.ready(NOW + HOUR)
    await held.refresh(NOW + HOUR)
    assert held.value == key(2, NOW + 2 * HOUR)


async def test_short_lived_credentials_are_not_fetched_for_every_call() -> None:
    """Credentials that live for five minutes are inside both windows at once: they are renewed once a minute."""
    expiry = NOW + timedelta(minutes=5)
    held = await filled(Vault(key(1, expiry)))
    assert held.ready(NOW + RETRY_INTERVAL - TICK)
    assert not held.ready(NOW + RETRY_INTERVAL)
    brief = await filled(Vault(key(1, NOW + timedelta(seconds=20))))
    assert brief.ready(NOW + timedelta(seconds=20) - TICK)
    assert not brief.ready(NOW + timedelta(seconds=20))


async def test_a_slow_fetch_is_not_repeated_for_those_who_came_late() -> None:
    """Who waited gets what was fetched, even when by its own clock that is due for renewal already."""
    vault = Vault(key(1, NOW + timedelta(minutes=5)), gated=True)
    held = refresher(vault)
    leader = asyncio.ensure_future(held.refresh(NOW))
    late = asyncio.ensure_future(held.refresh(NOW + timedelta(minutes=2)))
    await settle()
    vault.gate.set()
    await asyncio.gather(leader, late)
    assert vault.calls == 1


async def test_without_an_expiry_the_lifetime_counts() -> None:
    """A value of unknown expiry is renewed after the lifetime; twice that long after, everyone waits for it."""
    vault = Vault(key(1), key(2))
    held = await filled(vault, lifetime=timedelta(minutes=5))
    assert held.ready(NOW + timedelta(minutes=5) - TICK)
    assert not held.ready(NOW + timedelta(minutes=5))
    vault.close()
    leader = asyncio.ensure_future(held.refresh(NOW + timedelta(minutes=5)))
    await vault.entered.wait()
    await held.refresh(NOW + timedelta(minutes=10) - TICK)
    waiter = asyncio.ensure_future(held.refresh(NOW + timedelta(minutes=10)))
    await settle()
    assert not waiter.done()
    vault.gate.set()
    await asyncio.gather(leader, waiter)
    assert held.value == key(2)


async def test_without_expiry_and_lifetime_nothing_is_renewed_until_it_is_refused() -> None:
    """Lasting credentials are fetched once; `forget` makes the next call fetch others."""
    vault = Vault(key(1), key(2))
    held = await filled(vault)
    assert held.ready(NOW + timedelta(days=10_000))
    assert held.forget()
    assert not held.ready(NOW)
    await held.refresh(NOW)
    assert held.value == key(2)


async def test_fetching_what_has_expired_is_an_error_with_numbers() -> None:
    """A source that gives stale credentials is named, with when they expired and how long ago."""
    held = refresher(Vault(key(1, NOW - timedelta(seconds=90))))
    with pytest.raises(ExpiredCredentialsError, match=r"test vault expired at 2026-01-15T11:58:30\+00:00, 90 s ago"):
        await held.refresh(NOW)


async def test_foreign_exceptions_become_ours_without_their_text() -> None:
    """What a stranger's exception says may quote a secret: only its type is repeated; the cause is kept."""
    held = refresher(Vault(ValueError(CANARY)))
    with pytest.raises(CredentialsError, match="test vault failed: ValueError was raised") as caught:
        await held.refresh(NOW)
    assert CANARY not in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_our_other_errors_keep_their_message() -> None:
    """A callable that builds credentials of an empty variable is told which one."""
    held = refresher(Vault(InvalidRequestError("secret_access_key is empty.")))
    with pytest.raises(CredentialsError, match="test vault failed: secret_access_key is empty"):
        await held.refresh(NOW)


async def test_fixed_values_are_good_until_they_expire() -> None:
    """What nothing renews is ready until its expiry and an error after it."""
    fixed = Fixed(key(1, NOW), source="argument")
    assert fixed.ready(NOW - TICK)
    await fixed.refresh(NOW - TICK)
    assert not fixed.ready(NOW)
    with pytest.raises(ExpiredCredentialsError, match="argument expired at"):
        await fixed.refresh(NOW)
    assert not fixed.forget()
    assert Fixed(key(1), source="argument").ready(NOW)


async def test_plain_functions_run_in_a_worker_thread_and_coroutines_on_the_loop() -> None:
    """A function may block; an awaitable that it returns is awaited where it belongs."""
    here = threading.get_ident()

    async def coroutine() -> int:
        return threading.get_ident()

    def later() -> Awaitable[int]:
        return coroutine()

    assert await call_off_loop(threading.get_ident) != here
    assert await call_off_loop(coroutine) == here
    assert await call_off_loop(later) == here


async def test_cancelling_does_not_wait_for_the_thread() -> None:
    """A function that blocks for long does not hold up the cancellation of the call that waits for it."""
    started = asyncio.Event()
    release = threading.Event()
    finished = threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(5)
        finished.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call_off_loop, block)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert not finished.is_set()
    release.set()
