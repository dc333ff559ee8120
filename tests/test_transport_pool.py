"""Our own transport's pool, resolver and Happy Eyeballs: who gets a connection, and to which address."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast

import pytest
from rawserver import RawConnection, RawServer
from transports import CONNECT_S, OK, Clock, post, seen_closed, turns, with_clock
from typing_extensions import override

from bedrock_async.transport import NativeTransport, WireRequest
from bedrock_async.transport._addresses import Address, Resolver, connect_first, in_order
from bedrock_async.transport._http1 import Connection
from bedrock_async.transport._origin import Origin
from bedrock_async.transport._pool import Pool

HERE: Final = Origin(secure=True, host="here.example", port=443, proxy=None)
THERE: Final = Origin(secure=True, host="there.example", port=443, proxy=None)


# -- the pool


class Nowhere(asyncio.Transport):
    """A transport without a socket."""

    @override
    def abort(self) -> None:
        pass


def pool_of(max_connections: int, *, idle_s: float = 60.0) -> Pool:
    """Return a pool of the running loop."""
    return Pool(asyncio.get_running_loop(), max_connections=max_connections, idle_s=idle_s)


def opened(pool: Pool, origin: Origin) -> Connection:
    """Open a connection in the place that one got from the pool."""
    connection = Connection(pool, asyncio.get_running_loop(), peer=origin.peer, buffer=memoryview(bytearray(10)))
    connection.connection_made(Nowhere())
    pool.opened(connection, origin)
    return connection


async def asking(pool: Pool, origin: Origin = HERE, *, fresh: bool = False) -> asyncio.Task[Connection | None]:
    """Ask for a turn, in a task that has begun to wait."""
    task = asyncio.create_task(pool.turn(origin, fresh=fresh))
    await turns(2)
    return task


async def test_a_place_for_each_up_to_the_limit() -> None:
    """Then one waits, until a connection is free, or closed, or was not made after all."""
    pool = pool_of(2)
    assert await pool.turn(HERE) is None
    assert await pool.turn(HERE) is None
    first = opened(pool, HERE)
    tasks = [await asking(pool) for _ in range(3)]
    assert not any(task.done() for task in tasks)
    pool.freed(first)
    assert await tasks[0] is first
    first.abort()
    assert await tasks[1] is None
    pool.give_up()
    assert await tasks[2] is None


async def test_who_stops_waiting_is_passed_over() -> None:
    """Cancelled while it waits: the next one gets the connection."""
    pool = pool_of(1)
    assert await pool.turn(HERE) is None
    connection = opened(pool, HERE)
    first, second = await asking(pool), await asking(pool)
    first.cancel()
    pool.freed(connection)  # before the first one has heard of it
    assert await second is connection
    with pytest.raises(asyncio.CancelledError):
        await first
    third, fourth = await asking(pool), await asking(pool)
    third.cancel()
    await turns(2)
    pool.freed(connection)
    assert await fourth is connection


@pytest.mark.parametrize("given", ["connection", "place"])
async def test_who_is_cancelled_with_its_turn_in_hand_passes_it_on(given: str) -> None:
    """Nothing is lost between being given something and waking."""
    pool = pool_of(1)
    assert await pool.turn(HERE) is None
    connection = opened(pool, HERE)
    first, second = await asking(pool), await asking(pool)
    if given == "connection":
        pool.freed(connection)
    else:
        connection.abort()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second is (connection if given == "connection" else None)


async def test_a_connection_that_closes_in_the_hand_of_the_one_it_was_given_to() -> None:
    """Its place goes to the next one, and the unlucky one is first again; the other way round when it is cancelled."""
    pool = pool_of(1)
    assert await pool.turn(HERE) is None
    connection = opened(pool, HERE)
    first, second, third = await asking(pool), await asking(pool), await asking(pool)
    pool.freed(connection)
    connection.abort()
    assert await second is None
    await turns(2)
    assert not first.done()
    another = opened(pool, HERE)
    pool.freed(another)
    another.abort()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await third is None


async def test_an_idle_connection_makes_way_for_another_origin() -> None:
    """The one that was idle for longest is closed; who waits gets the place of one that is given back."""
    pool = pool_of(2)
    assert await pool.turn(HERE) is None
    assert await pool.turn(HERE) is None
    older, newer = opened(pool, HERE), opened(pool, HERE)
    pool.freed(older)
    pool.freed(newer)
    assert await pool.turn(THERE) is None
    assert [older.closed, newer.closed] == [True, False]
    assert pool.idle(HERE) is newer
    waiting = await asking(pool, THERE)
    pool.freed(newer)
    assert [older.closed, newer.closed] == [True, True]
    assert await waiting is None


async def test_the_connection_that_was_used_last_is_used_next() -> None:
    """So that those that are not needed grow old; closed ones are not handed out."""
    pool = pool_of(3)
    connections: list[Connection] = []
    for _ in range(3):
        assert await pool.turn(HERE) is None
        connections.append(opened(pool, HERE))
    for connection in connections:
        pool.freed(connection)
    connections[2].abort()
    assert pool.idle(THERE) is None
    assert pool.idle(HERE) is connections[1]
    assert await pool.turn(HERE) is connections[0]
    assert pool.idle(HERE) is None


async def test_who_lost_its_connection_goes_first() -> None:
    """It is given a place, not a connection that may be lost as well."""
    pool = pool_of(1)
    assert await pool.turn(HERE) is None
    connection = opened(pool, HERE)
    patient, unlucky = await asking(pool), await asking(pool, fresh=True)
    pool.freed(connection)
    assert connection.closed
    assert await unlucky is None
    assert not patient.done()


async def test_a_connection_that_was_lost_while_it_was_made() -> None:
    """It takes no place."""
    pool = pool_of(1)
    assert await pool.turn(HERE) is None
    connection = Connection(pool, asyncio.get_running_loop(), peer="a:1", buffer=memoryview(bytearray(10)))
    connection.connection_made(Nowhere())
    connection.eof_received()
    assert connection.closed
    pool.opened(connection, HERE)
    assert await pool.turn(HERE) is None


def test_idle_connections_are_closed_after_their_time() -> None:
    """Also when nobody asks again: each after its own time, with one timer for all."""

    async def test(clock: Clock) -> None:
        pool = pool_of(3, idle_s=60.0)
        connections: list[Connection] = []
        for origin in (HERE, HERE, THERE):
            assert await pool.turn(origin) is None
            connections.append(opened(pool, origin))
        for connection in connections:
            pool.freed(connection)
            await clock.pass_(20)
        assert [each.closed for each in connections] == [True, False, False]
        await clock.pass_(19)
        assert [each.closed for each in connections] == [True, False, False]
        await clock.pass_(2)
        assert [each.closed for each in connections] == [True, True, False]
        assert len([timer for timer in clock._scheduled if not timer.cancelled()]) == 1  # type: ignore[attr-defined]
        await clock.pass_(60)
        assert connections[2].closed
        assert not clock._scheduled  # type: ignore[attr-defined]

    with_clock(test)


async def test_a_lost_connection_is_replaced_by_a_new_one_and_not_by_an_old_one() -> None:
    """The server gave up all that were idle: the second attempt must not be wasted on another of them."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await go_on.wait()
        await peer.send(OK)
        if len(server.connections) < 4:
            await peer.read_request()
            peer.reset()

    go_on = asyncio.Event()
    async with RawServer(script) as server:
        transport = NativeTransport(trust_env=False)

        async def ask() -> bytes:
            response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
            return await response.read(100)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(ask())
            await server.connection(2)
            go_on.set()
        assert await ask() == b"ok"
        assert len(server.connections) == 4
        assert sum(peer.received.count(b"POST") for peer in server.connections) == 3 + 2
        await transport.aclose()


async def test_a_full_pool_still_replaces_a_lost_connection() -> None:
    """With one connection allowed and others waiting, all are served."""

    async def script(peer: RawConnection) -> None:
        for _ in range(2):
            await peer.read_request()
            await peer.send(OK)
        await peer.read_request()
        peer.end()

    async with RawServer(script) as server:
        transport = NativeTransport(trust_env=False, max_connections=1)

        async def ask() -> None:
            for _ in range(3):
                response = await transport.send(post(server), connect_timeout_s=CONNECT_S)
                assert await response.read(100) == b"ok"

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
        await transport.aclose()
        assert len(server.connections) >= 6
        for peer in server.connections:
            await seen_closed(peer)


# -- addresses


def address(number: int, family: int = socket.AF_INET) -> Address:
    """Return an address that is told from others by its port."""
    return (family, socket.SOCK_STREAM, 6, ("192.0.2.1", number))


def numbers(addresses: list[Address]) -> list[int]:
    """Return the ports."""
    return [each[3][1] for each in addresses]


def test_families_take_turns() -> None:
    """The resolver's first choice comes first, and each turn begins with another address of each family."""
    found = [*(address(number, socket.AF_INET6) for number in (1, 2, 3)), address(4), address(5)]
    assert numbers(in_order(found, turn=0)) == [1, 4, 2, 5, 3]
    assert numbers(in_order(found, turn=1)) == [2, 5, 3, 4, 1]
    assert numbers(in_order(found, turn=5)) == [3, 5, 1, 4, 2]
    assert in_order([], turn=1) == []


def test_the_resolver_is_asked_once_for_many_connections() -> None:
    """And again after ten seconds. Connections spread over the addresses."""
    asked: list[tuple[str, int]] = []

    def look_up(host: str, port: int) -> list[Address]:
        asked.append((host, port))
        return [address(1), address(2)]

    async def test(clock: Clock) -> None:
        resolver = Resolver(look_up)
        answers = await asyncio.gather(*(resolver.addresses("a.example", 443) for _ in range(4)))
        assert sorted(map(numbers, answers)) == [[1, 2], [1, 2], [2, 1], [2, 1]]
        await clock.pass_(9)
        await resolver.addresses("a.example", 443)
        assert asked == [("a.example", 443)]
        await resolver.addresses("b.example", 443)
        await clock.pass_(2)
        await resolver.addresses("a.example", 443)
        assert asked == [("a.example", 443), ("b.example", 443), ("a.example", 443)]

    with_clock(test)


async def test_numbers_are_not_looked_up() -> None:
    """An address is one already."""

    def look_up(host: str, port: int) -> list[Address]:
        raise AssertionError(host)

    resolver = Resolver(look_up)
    assert numbers(await resolver.addresses("192.0.2.7", 443)) == [443]
    assert (await resolver.addresses("::1", 443))[0][0] == socket.AF_INET6


async def test_a_failure_is_not_remembered() -> None:
    """The next one to ask asks the resolver again."""
    failures: list[Exception] = [socket.gaierror(socket.EAI_AGAIN, "again")]

    def look_up(host: str, port: int) -> list[Address]:
        if failures:
            raise failures.pop()
        return [address(1)]

    resolver = Resolver(look_up)
    both = await asyncio.gather(*(resolver.addresses("a.example", 1) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in both] == [socket.gaierror] * 2
    assert numbers(await resolver.addresses("a.example", 1)) == [1]


async def test_cancelling_one_question_leaves_the_others() -> None:
    """They share the answer, not the impatience."""
    loop = asyncio.get_running_loop()
    go_on = asyncio.Event()

    def look_up(host: str, port: int) -> list[Address]:
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return [address(1)]

    resolver = Resolver(look_up)
    first, second = (asyncio.create_task(resolver.addresses("a.example", 1)) for _ in range(2))
    await turns(3)
    first.cancel()
    await turns(3)
    go_on.set()
    assert numbers(await second) == [1]
    assert first.cancelled()


# -- Happy Eyeballs


class Network:
    """Addresses that answer, refuse, or keep silent, as the test says and when."""

    def __init__(self) -> None:
        self.tried: list[int] = []
        self.answers: dict[int, asyncio.Future[None]] = {}
        self.sockets: dict[int, socket.socket] = {}

    async def connect(self, to: Address) -> socket.socket:
        """Return a socket when the address has answered."""
        number = to[3][1]
        self.tried.append(number)
        self.answers[number] = asyncio.get_running_loop().create_future()
        await self.answers[number]
        self.sockets[number] = socket.socket()
        return self.sockets[number]

    def answer(self, *reached: int) -> None:
        """Let connections to these be made."""
        for number in reached:
            self.answers[number].set_result(None)

    def refuse(self, number: int) -> None:
        """Let a connection fail."""
        self.answers[number].set_exception(ConnectionRefusedError(111, f"refused {number}"))

    def open(self) -> list[int]:
        """Return which sockets are open."""
        return [number for number, made in self.sockets.items() if made.fileno() >= 0]


def racing(count: int) -> Callable[[Callable[[Clock, Network, asyncio.Task[socket.socket]], Awaitable[None]]], None]:
    """Run a test while so many addresses are tried."""

    def run(test: Callable[[Clock, Network, asyncio.Task[socket.socket]], Awaitable[None]]) -> None:
        async def on(clock: Clock) -> None:
            network = Network()
            task = asyncio.create_task(connect_first([address(n) for n in range(count)], network.connect))
            await turns(5)
            await test(clock, network, task)
            for made in network.sockets.values():
                made.close()

        with_clock(on)

    return run


def test_the_first_address_has_a_head_start() -> None:
    """A quarter of a second; when it answers then, the others are not tried."""

    @racing(3)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        await clock.pass_(0.2)
        assert network.tried == [0]
        network.answer(0)
        assert await task is network.sockets[0]
        assert network.tried == [0]


def test_a_silent_address_is_not_waited_for() -> None:
    """The next one is tried beside it, and wins; the silent one is given up."""

    @racing(3)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        await clock.pass_(0.3)
        assert network.tried == [0, 1]
        network.answer(1)
        assert await task is network.sockets[1]
        assert network.answers[0].cancelled()
        assert network.open() == [1]


def test_after_a_failure_the_next_one_is_tried_at_once() -> None:
    """No head start for an address that has refused."""

    @racing(3)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        network.refuse(0)
        await turns(5)
        assert network.tried == [0, 1]
        network.answer(1)
        assert await task is network.sockets[1]


def test_a_slow_address_may_still_win() -> None:
    """The first one answers when the second is already being tried."""

    @racing(2)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        await clock.pass_(0.3)
        network.answer(0)
        assert await task is network.sockets[0]


def test_two_that_answer_at_once() -> None:
    """One of them is used, the other is closed."""

    @racing(2)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        await clock.pass_(0.3)
        network.answer(0, 1)
        assert await task is network.sockets[0]
        assert network.open() == [0]


def test_when_all_have_failed() -> None:
    """The error holds those of all."""

    @racing(2)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        network.refuse(0)
        await turns(5)
        network.refuse(1)
        with pytest.raises(OSError, match="none of 2 addresses") as caught:
            await task
        group = cast("ExceptionGroup[OSError]", caught.value.__cause__)
        assert [cast("OSError", each).strerror for each in group.exceptions] == ["refused 0", "refused 1"]


@pytest.mark.parametrize("answered", [False, True])
def test_cancelling_leaves_nothing_open(*, answered: bool) -> None:
    """Also when an address answers in the same moment."""

    @racing(2)
    async def _(clock: Clock, network: Network, task: asyncio.Task[socket.socket]) -> None:
        await clock.pass_(0.3)
        if answered:
            network.answer(0, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert network.open() == []


async def test_a_name_with_several_addresses() -> None:
    """``localhost`` may be ``::1`` first, where nobody listens: the connection is made all the same."""

    async def script(peer: RawConnection) -> None:
        await peer.read_request()
        await peer.send(OK)

    async with RawServer(script) as server:
        transport = NativeTransport(trust_env=False)
        request = WireRequest("POST", f"http://localhost:{server.port}/x", {}, b"{}")
        response = await transport.send(request, connect_timeout_s=CONNECT_S)
        assert await response.read(100) == b"ok"
        await transport.aclose()
    gc.collect()
