"""RedisRateStore: several processes, one limit; what happens when one of them, or Redis, is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest
from bedrock_async_redis import RateStoreError, RedisRateStore
from readme_examples import run_blocks
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError
from typing_extensions import override

from bedrock_async import InvalidRequestError, RateLimit, RateLimiter, parse_model_id
from bedrock_async.limiting import Ticket
from bedrock_async.resilience.token_estimate import Counted
from bedrock_async.testing import BedrockEmulator, ScriptedModel

Server: TypeAlias = Any
"""A client of redis-py, whose types are partly unknown."""

MODEL: Final = parse_model_id("us.amazon.nova-lite-v1:0")
KEY: Final = "/us-east-1/us.amazon.nova-lite-v1:0"


def ticket_of(store: RedisRateStore, limit: RateLimit, tokens: int = 0) -> Ticket:
    """Return a ticket of a limiter of its own, as another process would have it."""
    ticket = RateLimiter(limit, store=store).ticket(
        MODEL, region="us-east-1", tokens=lambda limit: Counted(tokens, 0, 1.0)
    )
    assert ticket is not None
    return ticket


def flight(client: Server) -> int:
    """Return how many places are taken."""
    return int(str(client.zcard(f"bedrock-async:{{{KEY}}}:flight")))


async def test_limiters_share_one_limit(redis_url: str, fresh: Server) -> None:
    """A call that ends in one admits a call that waits in the other."""
    limit = RateLimit(max_in_flight=1)
    async with RedisRateStore(redis_url, poll_s=0.001) as one, RedisRateStore(redis_url, poll_s=0.001) as other:
        holder, waiter = ticket_of(one, limit), ticket_of(other, limit)
        await holder.enter()
        task = asyncio.ensure_future(waiter.enter())
        assert not (await asyncio.wait([task], timeout=0.05))[0]
        assert flight(fresh) == 1
        holder.close()
        await task
        assert flight(fresh) == 1
        waiter.close()
    assert flight(fresh) == 0, "leaving tells Redis what has ended"


async def test_requests_and_tokens_of_all_count(redis_url: str, fresh: Server) -> None:
    """What one has sent, the other may not send any more; what one settles is there for the other."""
    limit = RateLimit(tokens_per_minute=100, max_queue=0)
    async with RedisRateStore(redis_url, clock=lambda: 5.0) as one, RedisRateStore(redis_url, clock=lambda: 6.0) as two:
        first = ticket_of(one, limit, 80)
        await first.enter()
        assert await two.admit(KEY, limit, "b", 30) == pytest.approx(59)
        one.finish(KEY, limit, "nobody", 5, throttled=False)
        first.failed(InvalidRequestError("m"))
        await one.flush()
        assert await two.admit(KEY, limit, "b", 100) == 0


async def test_a_process_that_dies_frees_its_places(redis_url: str, fresh: Server) -> None:
    """They are freed after lease_s; a live process keeps them by renewing."""
    now = [0.0]
    limit = RateLimit(max_in_flight=1)
    async with (
        RedisRateStore(redis_url, lease_s=60, clock=lambda: now[0]) as dead,
        RedisRateStore(redis_url, lease_s=60, clock=lambda: now[0]) as alive,
    ):
        assert await dead.admit(KEY, limit, "a", 0) == 0
        now[0] = 59.0
        assert await alive.admit(KEY, limit, "b", 0) > 0
        await dead.renew()
        now[0] = 118.0
        assert await alive.admit(KEY, limit, "b", 0) > 0
        now[0] = 120.0
        assert await alive.admit(KEY, limit, "b", 0) == 0
        assert flight(fresh) == 1


async def test_leases_are_renewed_while_they_are_under_way(redis_url: str, fresh: Server) -> None:
    """The store renews them by itself."""
    async with RedisRateStore(redis_url, lease_s=0.03) as store:
        await store.admit(KEY, RateLimit(max_in_flight=1), "a", 0)
        key = f"bedrock-async:{{{KEY}}}:flight"
        before: Any = fresh.zscore(key, "a")
        after = before
        while after == before:
            await asyncio.sleep(0)  # the store renews it in a turn of the loop
            after = fresh.zscore(key, "a")
        assert after > before


async def test_a_waiter_that_is_cancelled_has_taken_nothing(redis_url: str, fresh: Server) -> None:
    """That holds even if Redis had admitted it by then."""
    limit = RateLimit(requests_per_minute=5)
    async with RedisRateStore(redis_url) as store:
        task = asyncio.ensure_future(store.admit(KEY, limit, "a", 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.admit(KEY, limit, "b", 10) == 0
        await store.flush()
    assert int(str(fresh.zcard(f"bedrock-async:{{{KEY}}}:recent"))) == 1


class LateRedis(Redis):
    """A client whose answers come too late, while ``late``: Redis has done by then what it was asked for."""

    late = False

    @override
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        client: Any = super()
        answer: Any = await client.execute_command(*args, **options)
        if self.late:
            raise RedisTimeoutError("Timeout reading from socket")
        return answer


async def test_an_answer_that_comes_too_late_takes_no_place(redis_url: str, fresh: Server) -> None:
    """What Redis reserved for a call that could not go is given back as soon as it can be told."""
    limit = RateLimit(max_in_flight=1, requests_per_minute=5)
    client: Any = LateRedis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType]
    async with RedisRateStore(client) as store:
        assert await store.admit(KEY, limit, "a", 0) == 0
        store.finish(KEY, limit, "a", 0, throttled=False)
        await store.flush()
        client.late = True
        with pytest.raises(RateStoreError, match="TimeoutError"):
            await store.admit(KEY, limit, "b", 0)
        client.late = False
        await store.flush()
        assert await store.admit(KEY, limit, "c", 0) == 0
    await client.aclose()
    assert fresh.zrange(f"bedrock-async:{{{KEY}}}:recent", 0, -1) == ["a", "c"]


@pytest.mark.parametrize("when_down", ["raise", "admit"])
async def test_redis_that_is_gone(tmp_path: Path, when_down: Literal["raise", "admit"]) -> None:
    """Calls fail with an error that says what to do, or go without a limit; leaving neither waits nor raises."""
    async with RedisRateStore(f"unix://{tmp_path}/nothing", when_down=when_down) as store:
        ticket = ticket_of(store, RateLimit(max_in_flight=1))
        if when_down == "raise":
            with pytest.raises(RateStoreError, match="does not say") as caught:
                await ticket.enter()
            assert caught.value.retryable
            assert "when_down" in (caught.value.hint or "")
        else:
            await ticket.enter()
            ticket.close()


async def test_what_cannot_be_told_does_not_pile_up(tmp_path: Path) -> None:
    """However long Redis is gone; a dropped report frees its place when the lease runs out."""
    async with RedisRateStore(f"unix://{tmp_path}/nothing", when_down="admit") as store:
        for number in range(20_000):
            store.finish(KEY, RateLimit(max_in_flight=1), str(number), 0, throttled=False)
        assert len(store._ended) == 10_000  # pyright: ignore[reportPrivateUsage]


async def test_what_goes_wrong_inside_comes_out_as_it_is(redis_url: str, fresh: Server) -> None:
    """It is not wrapped in an exception group; nor is cancellation."""
    with pytest.raises(ZeroDivisionError):
        async with RedisRateStore(redis_url):
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def inside() -> None:
        async with RedisRateStore(redis_url):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(inside())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_store_is_entered_first_and_once(redis_url: str, fresh: Server) -> None:
    """Otherwise nothing would report to Redis what ends."""
    store = RedisRateStore(redis_url)
    with pytest.raises(RateStoreError, match="not open"):
        await store.admit(KEY, RateLimit(max_in_flight=1), "a", 0)
    async with store:
        with pytest.raises(RateStoreError, match="already"):
            await store.__aenter__()


async def test_a_client_of_the_callers_stays_open(redis_url: str, fresh: Server) -> None:
    """It belongs to the caller."""
    client: Any = Redis.from_url(redis_url)  # pyright: ignore[reportUnknownMemberType]
    async with RedisRateStore(client) as store:
        await store.admit(KEY, RateLimit(max_in_flight=1), "a", 0)
    assert await client.ping()
    await client.aclose()


@pytest.mark.parametrize("wrong", [{"lease_s": 0}, {"poll_s": -1}, {"when_down": "ignore"}], ids=str)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(InvalidRequestError) as caught:
        RedisRateStore("redis://localhost", **wrong)
    assert caught.value.path in wrong


async def test_the_example_of_the_readme_runs(redis_url: str, fresh: Server, readme: Path) -> None:
    """As it stands, against an emulator; Redis knows of its call afterwards."""
    async with BedrockEmulator([ScriptedModel.text("Hello.")]) as emulator:
        assert await run_blocks(readme, emulator.url, REDIS_URL=redis_url) == ["Hello.\n"]
    assert int(str(fresh.zcard(f"bedrock-async:{{{KEY}}}:recent"))) == 1
