"""The benchmarks measure what they say: plans, bytes, the server, the clients' contract and the figures of a round."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

import pytest
from botocore_reading import parsed_events
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from bedrock_async.eventstream import EventStreamDecoder
from benchmarks import cold, environments, worker
from benchmarks.contract import Client, Conversation, Peer, See
from benchmarks.peers import ALL, FASTEST_OF, QUICK, environment_of, peer
from benchmarks.scenarios import OVERHEAD_EVENTS, SCENARIOS, Kind, Mode, Plan, plan_of, reason_against
from benchmarks.server import Connection, Service
from benchmarks.wire import answer, converse_frames, decode_body, native_frames, stream_script

ROOT: Final = Path(__file__).parent.parent
LISTS: Final = ROOT / "benchmarks" / "peers"


# -- plans


@given(
    st.builds(
        Plan,
        st.sampled_from(get_args(Mode)),
        st.integers(5, 10**6),
        st.integers(1, 64),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.integers(1, 2000),
        st.integers(0, 10**6),
        st.sampled_from(["text", "tool"]),
    )
)
def test_a_plan_travels_as_a_model_id(plan: Plan) -> None:
    """Clients pass model ids on as they are, so the server gets the plan that the scenario made."""
    assert plan_of(f"/model/{plan.model_id}/converse-stream") == plan


def test_another_model_id_is_refused() -> None:
    """A client that changes the id is found out."""
    with pytest.raises(ValueError, match=r"no plan in the model id 'amazon\.nova-lite-v1:0'"):
        plan_of("amazon.nova-lite-v1:0")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_part_of_a_scenario_asks_the_same(name: str) -> None:
    """A tenth of the work keeps the concurrency, the mode and at least a few events."""
    whole = SCENARIOS[name]
    tenth = whole.divided(10)
    assert (tenth.concurrency, tenth.kind, tenth.plan.mode) == (whole.concurrency, whole.kind, whole.plan.mode)
    assert tenth.plan.deltas >= min(10, whole.plan.deltas)
    assert tenth.plan.events <= whole.plan.events
    assert tenth.repeats <= whole.repeats


def test_every_question_is_asked_plain_and_over_tls() -> None:
    """Streams, calls and memory have a twin over TLS."""
    kinds = {"stream", "paced", "converse", "first-event", "memory"}
    plain = {name for name in SCENARIOS if f"{name}-tls" in SCENARIOS}
    assert {SCENARIOS[name].kind for name in plain} == kinds
    assert all(SCENARIOS[f"{name}-tls"].plan == SCENARIOS[name].plan for name in plain)


# -- the bytes


@pytest.mark.parametrize("content", ["text", "tool"])
def test_streams_are_what_the_service_sends(content: str) -> None:
    """botocore reads every event, and their texts are those that clients are held to."""
    plan = Plan(events=60, content=content)
    events = parsed_events(decode_body(plan, native=False))
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    pieces = [delta["toolUse"]["input"] if content == "tool" else delta["text"] for delta in deltas]
    assert len(pieces) == plan.deltas
    assert sum(map(len, pieces)) == plan.characters()
    assert [next(iter(event)) for event in events[-3:]] == ["contentBlockStop", "messageStop", "metadata"]


def test_native_streams_carry_the_same_texts() -> None:
    """The chunks of InvokeModelWithResponseStream hold Anthropic's events."""
    plan = Plan(events=60)
    events = parsed_events(decode_body(plan, native=True), "InvokeModelWithResponseStream")
    natives = [json.loads(event["chunk"]["bytes"]) for event in events]
    texts = [native["delta"]["text"] for native in natives if native["type"] == "content_block_delta"]
    assert sum(map(len, texts)) == plan.characters()
    assert natives[-1] == {"type": "message_stop"}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "plan", [Plan(events=50, frames_per_write=7), Plan("gate", 50), Plan(events=50, chunk_bytes=100)]
)
def test_scripts_hold_every_frame_once(plan: Plan, *, native: bool) -> None:
    """However a body is cut into writes, and whatever comes early, it is the same body."""
    script = stream_script(plan, native=native)
    chunked = b"".join([script.opening, *script.body, script.ending])
    first, deltas, last = native_frames(plan) if native else converse_frames(plan)
    assert unchunked(chunked) == b"".join([*first, *deltas, *last])
    decoder = EventStreamDecoder()
    decoder.receive_data(unchunked(chunked))
    decoder.receive_eof()
    assert len(decoder.next_frames()) == len(first) + len(deltas) + len(last)


def unchunked(data: bytes) -> bytes:
    """Return a chunked body without its chunks."""
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        if not int(size, 16):
            assert rest == b"\r\n"
            return body
        body += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]


def test_answers_have_the_length_that_was_asked_for() -> None:
    """A large answer is large."""
    body = json.loads(answer(Plan(response_chars=12_345), native=False))
    assert len(body["output"]["message"]["content"][0]["text"]) == 12_345


# -- the server and our own client


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The server, in this loop."""
    service = Service(ending_s=0.0)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


HERE: Final = ("ours", "raw-socket", *(["aiobotocore"] if find_spec("aiobotocore") else []))
"""Clients whose libraries are installed beside the tests; aiobotocore cannot be beside the newest boto3."""


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("mode", ["turns", "burst", "gate"])
async def test_clients_see_every_character_of_every_stream(name: str, mode: Mode, url: str) -> None:
    """Three streams at a time, text and tool input, in each way of sending."""
    async with peer(name).opened(url) as client:
        for content in ("text", "tool"):
            plan = Plan(mode, events=20, frames_per_write=3, streams=3, content=content)
            seen: list[str] = []
            read = client.tool_stream if content == "tool" else client.stream
            conversation = client.conversation(["Hello."])
            await asyncio.gather(*(read(plan.model_id, conversation, seen.append) for _ in range(3)))
            assert sum(map(len, seen)) == 3 * plan.characters()


@pytest.mark.parametrize("name", HERE)
async def test_clients_send_conversations_and_return_the_text(name: str, url: str) -> None:
    """User and assistant take turns; the text of the answer comes back."""
    async with peer(name).opened(url) as client:
        text = await client.converse(Plan(response_chars=500).model_id, client.conversation(["a", "b", "c"]))
        assert len(text) == 500


class Scripted(Client):
    """A client that hands on what the test says."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @override
    async def stream(self, model: str, conversation: Conversation, see: See) -> None:
        for text in self._texts:
            see(text)


def scripted(texts: Callable[[Plan], Sequence[str]], plan: Plan) -> Peer:
    """Return a peer whose every stream has these texts."""

    @asynccontextmanager
    async def opened(_url: str) -> AsyncGenerator[Client]:
        yield Scripted(texts(plan))

    make: Callable[[str], AbstractAsyncContextManager[Client]] = opened
    return Peer(title="scripted", load=lambda: None, opened=make)


async def test_a_client_that_loses_a_character_has_no_figure() -> None:
    """A figure of a client that did not do the work would be a lie."""
    plan = worker._WARM_UP
    lossy = scripted(lambda plan: ["x" * (plan.characters() - 1)], plan)
    with pytest.raises(worker.IncompleteError, match=f"{plan.characters() - 1} of {plan.characters()} characters"):
        await worker.main(lossy, SCENARIOS["coalesced"], "")


SMALL: Final = {
    "coalesced": 40,
    "saturated": 20,
    "converse64": 5,
    "first-event": 8,
    "tool": 40,
    "history": 5,
    "growth": 100,
    "streams": 5,
    "frame-sizes": 5,
    "chunk-sizes": 5,
}
"""Scenarios that a process does not have to end for, and events enough to see that they work."""


@pytest.mark.parametrize("name", SMALL)
async def test_a_measurement_gives_the_figures_that_the_table_shows(name: str, url: str) -> None:
    """Every figure of the scenario is there, and none is negative."""
    scenario = SCENARIOS[name]
    small = scenario._replace(
        plan=scenario.plan._replace(events=SMALL[name]),
        repeats=min(scenario.repeats, 3),
        concurrency=min(scenario.concurrency, 3),
        points=scenario.points[:2],
        metrics=scenario.metrics[:2],
        total=min(scenario.total, 4_000),
    )
    figures = await worker.main(peer("ours"), small, url)
    assert {metric.name for metric in small.metrics} <= set(figures)
    assert all(value >= 0 for value in figures.values())


async def test_pacing_is_compared_with_the_clock_that_the_processes_share(url: str) -> None:
    """The first text of a paced stream says when the next one is due; lateness is measured from there."""
    scenario = SCENARIOS["paced"]
    few = scenario._replace(plan=Plan("paced", events=20, streams=4), concurrency=4)
    async with peer("ours").opened(url) as client:
        figures = await worker._paced(client, few, client.conversation(["Hello."]))
    assert set(figures) == {metric.name for metric in scenario.metrics}
    # The server is never early; on the wrong clock this would be hours.
    assert -1 < figures["late_p50_ms"] < 60_000


async def test_decoders_get_the_body_of_the_plan(url: str) -> None:
    """Ours and botocore's both count every event of it."""
    for name in ("ours", "botocore"):
        subject = peer(name)
        small = SCENARIOS["decode"]._replace(plan=Plan(events=50), repeats=1)
        figures = await asyncio.to_thread(worker.decode, subject, small, url)
        assert figures["cpu_us"] >= 0


async def test_a_cold_process_reports_every_step(url: str) -> None:
    """Import, client, first stream and a further client, and the modules they load."""
    figures = await cold.main(peer("ours"), url, SCENARIOS["cold"].plan.model_id)
    assert set(figures) == {metric.name for metric in SCENARIOS["cold"].metrics}


# -- the clients


@pytest.mark.parametrize("name", ALL)
def test_an_adapter_imports_no_library_before_it_is_asked(name: str) -> None:
    """Looking at the table of clients needs none of them: `make bench` runs where one cannot be installed."""
    program = f"import sys; from benchmarks.peers import peer; peer({name!r}); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    foreign = {"aiohttp", "anthropic", "boto3", "botocore", "httpx", "litellm", "msgspec", "pydantic", "uvloop"}
    assert foreign.isdisjoint(loaded)


@pytest.mark.parametrize("name", ALL)
def test_reasons_name_scenarios_that_exist(name: str) -> None:
    """A misspelt reason would let a client run into what it cannot do."""
    keys = {*SCENARIOS, *get_args(Kind), "tls", "*"}
    assert set(peer(name).not_offered) <= keys


def test_a_client_without_a_scenario_says_why() -> None:
    """By name, by kind, over TLS, for everything, or because it has too few streams."""

    def why(scenario: str, **members: str) -> str | None:
        return reason_against(plain._replace(not_offered=MappingProxyType(members)), SCENARIOS[scenario])

    plain = scripted(lambda _: [], Plan())
    assert why("converse64") is None
    assert why("converse64", converse64="by name") == "by name"
    assert why("converse64-tls", converse="by kind") == "by kind"
    assert why("burst-tls", tls="no trust") == "no trust"
    assert why("burst", tls="no trust") is None
    assert why("burst", **{"*": "only decodes"}) == "only decodes"
    assert why("decode", **{"*": "only decodes"}) == "no decoder that is reachable without its client"
    few = plain._replace(max_streams=64, max_streams_reason="threads")
    assert reason_against(few, SCENARIOS["burst"]) is None
    assert reason_against(few, SCENARIOS["memory"]) == "64 streams at a time: threads"
    assert reason_against(few, SCENARIOS["streams"]) == "64 streams at a time: threads"


def test_the_comparable_peers_are_measured() -> None:
    """What targets look for is in the table of all clients, and what `make bench` runs is a part of it."""
    assert {*QUICK, *FASTEST_OF, "capo", "botocore"} <= set(ALL)
    assert len(set(ALL)) == len(ALL)


# -- their environments


@pytest.mark.parametrize("name", environments.names())
def test_an_environment_is_pinned_to_the_last_distribution(name: str) -> None:
    """Lists hold ``name==version`` and nothing else, so that they name no registry; what is asked for is among them."""
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.+!-]*( ; .+)?", line) for line in lines)
    wanted = {re.split(r"[\[=<>]", requirement)[0] for requirement in peer(name).requirements}
    assert wanted
    assert wanted <= pinned


def test_every_client_has_an_environment() -> None:
    """One list for each environment, and none that no client uses."""
    assert {environment_of(name) for name in ALL} == {path.stem for path in LISTS.glob("*.txt")}


def test_a_python_that_is_not_there_is_a_reason_and_no_crash() -> None:
    """The message is what the table shows."""
    with pytest.raises(environments.EnvironmentFailedError, match=r"no Python 2\.99 is installed"):
        environments.interpreter("2.99")


def test_overhead_is_what_surrounds_the_deltas() -> None:
    """CPU per event divides by all events, those without text included."""
    first, deltas, last = converse_frames(Plan(events=30))
    assert len(first) + len(last) == OVERHEAD_EVENTS
    assert len(deltas) == 30 - OVERHEAD_EVENTS
