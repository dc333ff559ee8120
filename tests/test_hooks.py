"""The caller's functions around calls: what they see, what they may change, and what their faults do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import pytest

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    BedrockError,
    CachePointBlock,
    ConverseRequest,
    Credentials,
    HookedCall,
    HookedRequest,
    HookedRetry,
    Hooks,
    InferenceConfig,
    InvalidRequestError,
    InvokeChunk,
    ModelStreamError,
    RateLimit,
    StandardRetry,
    Target,
    TextBlock,
    ThrottlingError,
    ValidationError,
)
from bedrock_async.errors import service_error
from bedrock_async.events import Event
from bedrock_async.testing import BedrockEmulator, ScriptedModel, text_events, tool_use_events
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.testing.frames import stream_bytes

NO_HOOK: Final[Any] = "no function"
MODEL: Final = "us.amazon.nova-lite-v1:0"
OTHER: Final = "us.amazon.nova-pro-v1:0"
AGAIN: Final = StandardRetry(base_delay_s=0.0)
SLOW_DOWN: Final = service_error("ThrottlingException", "Too many requests, please wait before trying again.")


@pytest.fixture
async def emulator() -> AsyncIterator[BedrockEmulator]:
    """A Bedrock that answers everything."""
    async with BedrockEmulator([ScriptedModel.text("hello world")]) as running:
        yield running


def client_of(emulator: BedrockEmulator, hooks: Hooks | None, **keywords: Any) -> BedrockClient:  # noqa: ANN401
    """Return a client with hooks."""
    keywords.setdefault("retry", NO_RETRY)
    credentials = Credentials("AKIDEXAMPLE", "secret")
    return BedrockClient(
        region="us-east-1", endpoint_url=emulator.url, credentials=credentials, hooks=hooks, **keywords
    )


def sent(emulator: BedrockEmulator) -> list[Mapping[str, Any]]:
    """Return the JSON bodies that arrived."""
    return [cast("dict[str, Any]", request.json()) for request in emulator.requests]


class Notes:
    """Writes down what each hook is called with."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any, HookedCall]] = []
        self.hooks = Hooks(
            on_request=lambda call: self.note("request", call.request, call),
            on_response=lambda response, call: self.note("response", response, call),
            on_event=lambda event, call: self.note("event", event, call),
            on_retry=lambda retry, call: self.note("retry", retry, call),
            on_error=lambda error, call: self.note("error", error, call),
        )

    def note(self, what: str, seen: object, call: HookedCall) -> None:
        """Write a line."""
        self.lines.append((what, seen, call))

    @property
    def order(self) -> list[str]:
        """What was called, in order, events joined."""
        names = [line[0] for line in self.lines]
        return [name for index, name in enumerate(names) if name != "event" or names[index - 1] != "event"]

    def seen(self, what: str) -> list[Any]:
        """Return what the hooks of a kind were called with."""
        return [line[1] for line in self.lines if line[0] == what]

    @property
    def calls(self) -> list[HookedCall]:
        """The calls, once each."""
        return list({id(line[2].state): line[2] for line in self.lines}.values())


# -- what they see


async def test_a_call_is_seen_from_its_request_to_its_response(emulator: BedrockEmulator) -> None:
    """Request with model, provider, region and settings; then what the caller gets, with its meta."""
    notes = Notes()
    async with client_of(emulator, notes.hooks, settings={"temperature": 0.5}) as client:
        reply = await client.converse(MODEL, "Hi.", max_tokens=9)
    assert notes.order == ["request", "response"]
    assert notes.seen("response") == [reply]
    assert notes.seen("response")[0].meta.request_id == reply.meta.request_id
    (call,) = notes.calls
    assert (call.verb, call.provider, call.region) == ("converse", "converse", "us-east-1")
    assert call.model is not None
    assert call.model.raw == MODEL
    assert call.settings["max_tokens"] == 9
    assert call.settings["temperature"] == 0.5
    assert isinstance(call.request, ConverseRequest)
    assert call.request.to_wire() == sent(emulator)[0]


@pytest.mark.parametrize("settings", [{}, {"streaming": False}])
async def test_a_stream_is_seen_with_each_event_and_as_a_whole(
    emulator: BedrockEmulator, settings: dict[str, Any]
) -> None:
    """Events as they arrive, before they are handed out; the folded response once it was read to its end."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client:
        stream = client.stream(MODEL, "Hi.", **settings)
        assert notes.order == []
        events: list[Event] = []
        async for event in stream:
            assert event in notes.seen("event")
            events.append(event)
    assert notes.order == ["request", "event", "response"]
    assert notes.seen("event") == events
    (response,) = notes.seen("response")
    assert response.text == "hello world"
    assert response.meta.request_id == stream.meta.request_id
    assert [call.verb for call in notes.calls] == ["stream"]


async def test_the_end_of_a_stream_is_seen_once(emulator: BedrockEmulator) -> None:
    """However often its end is asked for, and whichever way it is read."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client, client.stream(MODEL, "Hi.") as stream:
        assert (await stream.get_final_response()).text == "hello world"
        assert (await stream.get_final_response()).text == "hello world"
    assert notes.order == ["request", "event", "response"]


@pytest.mark.parametrize("settings", [{"accumulate": False}, {}])
async def test_a_stream_that_was_left_has_no_response(emulator: BedrockEmulator, settings: dict[str, Any]) -> None:
    """Nor has one that keeps nothing."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client:
        if settings:
            async for _ in client.stream(MODEL, "Hi.", **settings):
                pass
        else:
            async with client.stream(MODEL, "Hi.") as stream:
                await anext(stream)
    assert notes.order == ["request", "event"]


async def test_native_calls_are_seen(emulator: BedrockEmulator) -> None:
    """`invoke` with its request and response, `invoke_stream` with its chunks."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client:
        raw = await client.invoke(MODEL, {"inputText": "Hi."})
        chunks = [chunk async for chunk in client.invoke_stream(MODEL, {"inputText": "Hi."})]
    assert notes.order == ["request", "response", "request", "event"]
    assert notes.seen("response") == [raw]
    assert notes.seen("event") == chunks
    assert [call.verb for call in notes.calls] == ["invoke", "invoke_stream"]


async def test_other_verbs_are_seen_without_a_request(emulator: BedrockEmulator) -> None:
    """Their answers, under the verb's name."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client:
        count = await client.count_tokens(MODEL, "Hi.")
    assert notes.order == ["response"]
    assert notes.seen("response") == [count]
    (call,) = notes.calls
    assert (call.verb, call.request) == ("count_tokens", None)


async def test_what_makes_several_calls_has_each_of_them_seen(emulator: BedrockEmulator) -> None:
    """`parse` asks by `converse`, and the hooks see what it sends."""
    notes = Notes()
    async with client_of(emulator, notes.hooks) as client:
        with pytest.raises(BedrockError):
            await client.parse(MODEL, "Hi.", output_type={"type": "object"}, output_mode="prompt", max_repairs=1)
    assert notes.order == ["request", "response"] * 2
    assert len(sent(emulator)) == 2
    assert {call.verb for call in notes.calls} == {"converse"}


async def test_state_is_shared_by_the_hooks_of_one_call(emulator: BedrockEmulator) -> None:
    """What one writes the next one reads; another call has its own."""
    durations: list[int] = []

    def begin(call: HookedCall) -> None:
        assert call.state == {}
        call.state["began"] = len(durations)

    def end(_response: object, call: HookedCall) -> None:
        durations.append(call.state["began"])

    async with client_of(emulator, Hooks(on_request=begin, on_response=end)) as client:
        await asyncio.gather(*(client.converse(MODEL, "Hi.") for _ in range(3)))
    assert len(durations) == 3


async def test_repetitions_are_seen() -> None:
    """With the failure, the attempt that failed and the wait, for calls and for streams."""
    for verb in ("converse", "stream"):
        notes = Notes()
        model = ScriptedModel.in_turn([SLOW_DOWN], [SLOW_DOWN], text_events("hello"))
        async with BedrockEmulator([model]) as emulator, client_of(emulator, notes.hooks, retry=AGAIN) as client:
            if verb == "converse":
                await client.converse(MODEL, "Hi.")
            else:
                await client.stream(MODEL, "Hi.").get_final_response()
        retries: list[HookedRetry] = notes.seen("retry")
        assert [(type(each.failure), each.attempt, each.delay_s) for each in retries] == [
            (ThrottlingError, 1, 0.0),
            (ThrottlingError, 2, 0.0),
        ]
        assert notes.order[:3] == ["request", "retry", "retry"]
        assert notes.order[-1] == "response"
        assert "error" not in notes.order


@pytest.mark.parametrize("events", [0, 2])
async def test_an_error_is_seen_before_it_is_raised(events: int) -> None:
    """The very one, with what the stream had brought; nothing follows it."""
    notes = Notes()
    failure = service_error("ModelStreamErrorException", "It broke.")
    model = ScriptedModel([*text_events("hello world")[:events], failure])
    async with BedrockEmulator([model]) as emulator, client_of(emulator, notes.hooks) as client:
        with pytest.raises(ModelStreamError) as caught:
            async for _ in client.stream(MODEL, "Hi."):
                pass
        assert notes.seen("error") == [caught.value]
        assert notes.order[-1] == "error"
        assert caught.value.hint
        assert caught.value.attempts
        with pytest.raises(BedrockError) as other:
            await client.converse(MODEL, "Hi.")
        assert notes.seen("error")[-1] is other.value
        with pytest.raises(BedrockError) as native:
            await client.invoke(MODEL, {})
        assert notes.seen("error")[-1] is native.value
        with pytest.raises(BedrockError) as counted:
            async for _ in client.invoke_stream(MODEL, {}):
                pass
        assert notes.seen("error")[-1] is counted.value
    assert len(notes.seen("error")) == 4


# -- what they change


async def test_a_request_can_be_changed(emulator: BedrockEmulator) -> None:
    """Cache points and settings, as the hooks of the guides do it: what is returned is what is sent."""

    def cache_the_system_prompt(call: HookedCall) -> ConverseRequest | None:
        request = call.request
        if not isinstance(request, ConverseRequest) or not request.system:
            return None
        return request.model_copy(update={"system": [*request.system, CachePointBlock(type="default")]})

    async def cooler(call: HookedCall) -> ConverseRequest:
        await asyncio.sleep(0)
        assert isinstance(call.request, ConverseRequest)
        assert call.request.system is not None
        assert len(call.request.system) == 2  # sees what the one before it made
        return call.request.model_copy(update={"inference_config": InferenceConfig(temperature=0.1, max_tokens=7)})

    hooks = Hooks(on_request=[cache_the_system_prompt, cooler])
    async with client_of(emulator, hooks) as client:
        await client.converse(MODEL, "Hi.", system="Be brief.", max_tokens=9)
        await client.stream(MODEL, "Hi.", system="Be brief.").get_final_response()
        ready = client.prepare(MODEL, "Hi.", system="Be brief.")
        assert len(ready.system or ()) == 1
        await client.converse(ready)
    for body in sent(emulator):
        assert body["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
        assert body["inferenceConfig"] == {"temperature": 0.1, "maxTokens": 7}


async def test_a_request_can_be_changed_by_dicts(emulator: BedrockEmulator) -> None:
    """boto3's shapes do in an update what they do elsewhere, and what is none of them is an error of the tree."""

    def in_dicts(call: HookedCall) -> HookedRequest:
        assert call.request is not None
        messages = [{"role": "user", "content": [{"text": "Changed."}]}]
        update = {
            "messages": messages,
            "inference_config": {"maxTokens": 7},
            "additional_model_request_fields": {"a": 1},
        }
        return call.request.model_copy(update=update)

    def nonsense(call: HookedCall) -> HookedRequest:
        assert call.request is not None
        return call.request.model_copy(update={"messages": "Changed."})

    async with client_of(emulator, Hooks(on_request=in_dicts)) as client:
        await client.converse(MODEL, "Hi.", system="Be brief.")
    assert sent(emulator) == [
        {
            "messages": [{"role": "user", "content": [{"text": "Changed."}]}],
            "system": [{"text": "Be brief."}],
            "inferenceConfig": {"maxTokens": 7},
            "additionalModelRequestFields": {"a": 1},
        }
    ]
    async with client_of(emulator, Hooks(on_request=nonsense)) as client:
        with pytest.raises(InvalidRequestError, match="messages: Input should be a valid list"):
            await client.stream(MODEL, "Hi.").get_final_response()
    assert len(emulator.requests) == 1


async def test_the_model_can_be_changed(emulator: BedrockEmulator) -> None:
    """The call goes there, and its meta says so; a request without a model keeps the call's."""

    def elsewhere(call: HookedCall) -> HookedRequest:
        assert call.request is not None
        return call.request.model_copy(update={"model_id": OTHER})

    def no_model(call: HookedCall) -> ConverseRequest:
        assert isinstance(call.request, ConverseRequest)
        return ConverseRequest.from_wire(call.request.to_wire_bytes())

    async with client_of(emulator, Hooks(on_request=elsewhere)) as client:
        assert (await client.converse(MODEL, "Hi.")).meta.model == OTHER
        assert (await client.invoke(MODEL, {})).meta.model == OTHER
        stream = client.invoke_stream(MODEL, {})
        async for _ in stream:
            pass
        assert stream.meta.model == OTHER
    async with client_of(emulator, Hooks(on_request=no_model)) as client:
        assert (await client.converse(MODEL, "Hi.")).meta.model == MODEL
    assert [request.model_id for request in emulator.requests] == [OTHER, OTHER, OTHER, MODEL]


async def test_a_changed_request_is_checked(emulator: BedrockEmulator) -> None:
    """What the service surely refuses is refused here, and what is no request, too; nothing is sent."""

    def too_many(call: HookedCall) -> ConverseRequest:
        assert isinstance(call.request, ConverseRequest)
        return call.request.model_copy(update={"system": [TextBlock(text="a"), *[CachePointBlock(type="default")] * 5]})

    def no_request(_call: HookedCall) -> ConverseRequest:
        return {"messages": []}  # type: ignore[return-value]

    for hook, words in ((too_many, "5 cache points"), (no_request, "on_request returned a dict for converse()")):
        async with client_of(emulator, Hooks(on_request=hook)) as client:
            with pytest.raises(InvalidRequestError, match=words.replace("(", r"\(").replace(")", r"\)")):
                await client.converse(MODEL, "Hi.")
    assert sent(emulator) == []


async def test_a_request_is_asked_about_once_however_often_it_is_sent() -> None:
    """The hooks decide about the call; its attempts repeat what they decided."""
    asked: list[HookedCall] = []
    model = ScriptedModel.in_turn([SLOW_DOWN], text_events("hello"))
    hooks = Hooks(on_request=asked.append)
    async with BedrockEmulator([model]) as emulator, client_of(emulator, hooks, retry=AGAIN) as client:
        await client.converse(MODEL, "Hi.")
        assert len(emulator.requests) == 2
    assert len(asked) == 1


# -- their faults


class RefusedHereError(Exception):
    """The caller's own."""


async def test_what_on_request_raises_reaches_the_caller(emulator: BedrockEmulator) -> None:
    """As it is, from every verb that has a request; nothing is sent, and no other hook is called."""
    notes = Notes()

    def refuse(_call: HookedCall) -> None:
        raise RefusedHereError("not after six")

    hooks = replace(notes.hooks, on_request=refuse)
    async with client_of(emulator, hooks) as client:
        with pytest.raises(RefusedHereError):
            await client.converse(MODEL, "Hi.")
        with pytest.raises(RefusedHereError):
            await client.stream(MODEL, "Hi.").get_final_response()
        with pytest.raises(RefusedHereError):
            await client.invoke(MODEL, {})
        with pytest.raises(RefusedHereError):
            await anext(client.invoke_stream(MODEL, {}))
    assert sent(emulator) == []
    assert notes.lines == []


async def test_what_the_others_raise_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that was paid for is not lost; the hook is named, and the next one is still called."""
    notes = Notes()

    def broken(*_: object) -> None:
        raise RefusedHereError("broken hook")

    async def broken_later(*_: object) -> None:
        raise RefusedHereError("broken hook")

    hooks = Hooks(
        on_response=[broken_later, lambda response, call: notes.note("response", response, call)],
        on_event=[broken, lambda event, call: notes.note("event", event, call)],
        on_retry=broken,
        on_error=broken_later,
    )
    model = ScriptedModel.in_turn([SLOW_DOWN], text_events("hello"), [service_error("ValidationException", "No.")])
    async with BedrockEmulator([model]) as emulator, client_of(emulator, hooks, retry=AGAIN) as client:
        with caplog.at_level(logging.ERROR, "bedrock_async.hooks"):
            assert (await client.stream(MODEL, "Hi.").get_final_response()).text == "hello"
            with pytest.raises(ValidationError):
                await client.converse(MODEL, "Hi.")
    assert notes.order == ["event", "response"]
    texts = [record.getMessage() for record in caplog.records]
    for name in ("on_response", "on_event", "on_retry", "on_error"):
        assert any(text.startswith(f"the hook {name} (") and "broken" in text for text in texts)
    assert all(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("pieces", [1, 4])
async def test_an_event_hook_that_raises_sees_the_next_event(pieces: int) -> None:
    """However the network cut the stream."""
    seen: list[str] = []

    def broken(event: Event | InvokeChunk, _call: HookedCall) -> None:
        assert not isinstance(event, InvokeChunk)
        seen.append(event.type)
        raise RefusedHereError("broken hook")

    data = stream_bytes(text_events("hello"))
    size = -(-len(data) // pieces)
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    answer = CannedResponse(cut, headers={"content-type": "application/vnd.amazon.eventstream"})
    client = BedrockClient(
        region="us-east-1",
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        transport=CannedTransport([answer]),
        hooks=Hooks(on_event=broken),
    )
    events = [event.type async for event in client.stream(MODEL, "Hi.")]
    assert seen == events
    assert len(events) > 1


@pytest.mark.parametrize("name", ["on_request", "on_response"])
async def test_closing_waits_for_a_hook_as_for_its_call(emulator: BedrockEmulator, name: str) -> None:
    """A call that has begun goes on, also where it is in a function of the caller's."""
    waits, go_on = asyncio.Event(), asyncio.Event()

    async def wait(*_: object) -> None:
        waits.set()
        await go_on.wait()

    client = client_of(emulator, Hooks(**{name: wait}))
    call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await waits.wait()
    closing = asyncio.ensure_future(client.aclose(drain_s=60))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    go_on.set()
    await closing
    assert (await call).text == "hello world"


async def test_a_request_that_a_hook_changes_goes_out_while_the_client_is_being_closed(
    emulator: BedrockEmulator,
) -> None:
    """The other request is part of the call that has begun."""
    waits, go_on = asyncio.Event(), asyncio.Event()

    async def change(call: HookedCall) -> HookedRequest:
        waits.set()
        await go_on.wait()
        assert isinstance(call.request, ConverseRequest)
        return call.request.model_copy(update={"inference_config": InferenceConfig(max_tokens=7)})

    client = client_of(emulator, Hooks(on_request=change))
    call = asyncio.ensure_future(client.converse(MODEL, "Hi."))
    await waits.wait()
    closing = asyncio.ensure_future(client.aclose(drain_s=60))
    await asyncio.sleep(0)
    go_on.set()
    assert (await call).text == "hello world"
    await closing
    assert sent(emulator)[0]["inferenceConfig"] == {"maxTokens": 7}


async def test_cancelling_passes_through_a_hook(emulator: BedrockEmulator) -> None:
    """A hook that waits for ever does not keep a call that is cancelled, nor is the cancelling an error."""
    waits = asyncio.Event()
    notes = Notes()

    async def wait(*_: object) -> None:
        waits.set()
        await asyncio.Event().wait()

    async with client_of(emulator, replace(notes.hooks, on_response=wait)) as client:
        task = asyncio.ensure_future(client.converse(MODEL, "Hi."))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert notes.order == ["request"]


# -- how they are given


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hooks(on_request=NO_HOOK), r"hooks.on_request\[0\] is a str"),
        (lambda: Hooks(on_error=[print, NO_HOOK]), r"hooks.on_error\[1\] is a str"),
        (lambda: Hooks(on_event=_async_hook), r"hooks.on_event\[0\] is async"),
        (lambda: Hooks(on_event=_AsyncObject()), r"hooks.on_event\[0\] is async"),
        (lambda: BedrockClient(region="us-east-1", hooks=NO_HOOK), "hooks is a str, not Hooks"),
    ],
)
def test_what_is_no_hook_is_refused(make: Callable[[], object], words: str) -> None:
    """When it is given, and not in the middle of a call."""
    with pytest.raises(InvalidRequestError, match=words):
        make()


async def _async_hook(_event: object, _call: HookedCall) -> None:
    return None


class _AsyncObject:
    async def __call__(self, _event: object, _call: HookedCall) -> None:
        return None


async def test_empty_hooks_are_none(emulator: BedrockEmulator) -> None:
    """They cost what no hooks cost."""
    async with client_of(emulator, Hooks()) as client:
        assert client._hooks is None
        assert (await client.converse(MODEL, "Hi.")).text == "hello world"


async def test_hooks_and_a_rate_limit_look_at_the_same_stream(emulator: BedrockEmulator) -> None:
    """Neither hides the events from the other."""
    notes = Notes()
    async with client_of(emulator, notes.hooks, rate_limit=RateLimit(max_in_flight=1)) as client:
        for _ in range(2):
            assert (await client.stream(MODEL, "Hi.").get_final_response()).text == "hello world"
    assert notes.order == ["request", "event", "response"] * 2


async def test_conversations_and_loops_of_tools_are_seen() -> None:
    """Each of their calls, with what it sends: the history, and the results of tools."""

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"Rain in {city}."

    notes = Notes()
    model = ScriptedModel.in_turn(tool_use_events("weather", {"city": "Paris"}), text_events("It rains."))
    async with BedrockEmulator([model]) as emulator, client_of(emulator, notes.hooks) as client:
        async for _ in client.run_tools(MODEL, "How is the weather in Paris?", tools=[weather]):
            pass
        chat = client.conversation(MODEL)
        await chat.converse("Hi.")
        await chat.converse("And now?")
    assert notes.order == ["request", "event", "response"] * 2 + ["request", "response"] * 2
    assert [len(request.messages) for request in notes.seen("request")] == [1, 3, 1, 3]
    assert [request.to_wire()["messages"] for request in notes.seen("request")] == [
        body["messages"] for body in sent(emulator)
    ]


async def test_a_call_that_goes_to_the_next_target_is_one_call() -> None:
    """The hooks decide once; what each target answers is theirs to see as one answer or one error."""
    notes = Notes()
    failing = ScriptedModel([service_error("ServiceUnavailableException", "No.")], model_ids=[MODEL])
    working = ScriptedModel.text("hello", model_ids=[OTHER])
    targets = [Target(model=MODEL), Target(model=OTHER)]
    async with (
        BedrockEmulator([failing, working]) as emulator,
        client_of(emulator, notes.hooks, targets=targets) as client,
    ):
        assert (await client.converse(MODEL, "Hi.")).text == "hello"
        assert (await client.stream(MODEL, "Hi.").get_final_response()).text == "hello"
    assert notes.order == ["request", "response", "request", "event", "response"]
