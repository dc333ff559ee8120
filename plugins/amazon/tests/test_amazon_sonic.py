"""Nova Sonic: the events that are sent, those that come back as types, and a voice loop against a scripted model."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from bedrock_async_amazon import (
    SonicAudio,
    SonicCompletionEnd,
    SonicCompletionStart,
    SonicContentEnd,
    SonicContentStart,
    SonicEvent,
    SonicReader,
    SonicSession,
    SonicText,
    SonicToolUse,
    SonicUnknown,
    SonicUsage,
    sonic_echo,
)

from bedrock_async import BedrockClient, Credentials
from bedrock_async.errors import EventDecodeError, InvalidRequestError, ValidationError, service_error
from bedrock_async.testing import BedrockEmulator, DuplexSession, ScriptedModel

MODEL = "amazon.nova-2-sonic-v1:0"
KEYS = Credentials("AKIDEXAMPLE", "secret")
NOTHING: dict[str, str] = {}
WEATHER = {"toolSpec": {"name": "weather", "description": "The weather.", "inputSchema": {"json": {"type": "object"}}}}


def sine(samples: int, rate_hz: int = 16_000) -> bytes:
    """Return a tone of 440 Hz: 16-bit little-endian samples."""
    values = (round(12_000 * math.sin(2 * math.pi * 440 * at / rate_hz)) for at in range(samples))
    return struct.pack(f"<{samples}h", *values)


def names() -> Callable[[], str]:
    """Return what makes names 1, 2, 3..."""
    counter = itertools.count(1)
    return lambda: str(next(counter))


@asynccontextmanager
async def session(
    **options: Any,  # noqa: ANN401 - those of SonicSession
) -> AsyncGenerator[tuple[SonicSession, BedrockEmulator]]:
    """Open a session with the scripted Nova Sonic, behind an emulator that verifies everything."""
    model = ScriptedModel.text(bidirectional=sonic_echo)
    async with (
        BedrockEmulator([model], credentials=[KEYS]) as emulator,
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=emulator.url) as client,
        SonicSession(client.invoke_bidirectional(MODEL), **options) as sonic,
    ):
        yield sonic, emulator


async def said(sonic: SonicSession) -> list[SonicEvent]:
    """End the session and return what the model says."""
    await sonic.end()
    return [event async for event in sonic]


async def test_a_voice_loop() -> None:
    """Audio goes out as it is made while answers come back: a tone, and the same tone again."""
    tone = sine(16_000)
    heard = bytearray()
    texts: list[tuple[str, str, str]] = []
    async with session(system="Be brief.") as (sonic, _), asyncio.TaskGroup() as tasks:

        async def speak() -> None:
            for at in range(0, len(tone), 1024):
                await sonic.send_audio(tone[at : at + 1024])
            await sonic.end()

        tasks.create_task(speak())
        async for event in sonic:
            match event:
                case SonicAudio(audio=audio):
                    heard += audio
                case SonicText(role=role, stage=stage, text=text):
                    texts.append((role, stage, text))
                case _:
                    pass
    assert bytes(heard) == tone
    said_text = "32000 bytes"
    assert texts == [
        ("USER", "FINAL", said_text),
        ("ASSISTANT", "SPECULATIVE", said_text),
        ("ASSISTANT", "FINAL", said_text),
    ]


async def test_the_events_are_those_of_the_guide() -> None:
    """Session, prompt, system prompt, history, audio, text and the ends go out in the order and form of the guide."""
    options: dict[str, Any] = {
        "system": "Be brief.",
        "voice": "tiffany",
        "history": [("USER", "Hi"), ("ASSISTANT", "Hello")],
        "tools": [WEATHER],
        "tool_choice": {"auto": {}},
        "max_tokens": 100,
        "top_p": 0.5,
        "temperature": 0.1,
        "endpointing_sensitivity": "HIGH",
        "input_sample_rate_hz": 8_000,
        "new_name": names(),
    }
    async with session(**options) as (sonic, emulator):
        await sonic.send_audio(b"\1\0")
        await sonic.end_audio()
        await sonic.end_audio()
        await said(sonic)
        await sonic.end()
        events = [json.loads(event)["event"] for event in emulator.requests[0].input_events]
    plain = {"mediaType": "text/plain"}
    pcm = {
        "mediaType": "audio/lpcm",
        "sampleSizeBits": 16,
        "channelCount": 1,
        "audioType": "SPEECH",
        "encoding": "base64",
    }

    def text(content: str, role: str, words: str) -> list[dict[str, Any]]:
        named = {"promptName": "1", "contentName": content}
        start = {**named, "type": "TEXT", "role": role, "interactive": False, "textInputConfiguration": plain}
        return [
            {"contentStart": start},
            {"textInput": {**named, "content": words}},
            {"contentEnd": named},
        ]

    tool = {"name": "weather", "description": "The weather.", "inputSchema": {"json": '{"type": "object"}'}}
    audio = {"promptName": "1", "contentName": "5"}
    assert events == [
        {
            "sessionStart": {
                "inferenceConfiguration": {"maxTokens": 100, "topP": 0.5, "temperature": 0.1},
                "turnDetectionConfiguration": {"endpointingSensitivity": "HIGH"},
            }
        },
        {
            "promptStart": {
                "promptName": "1",
                "textOutputConfiguration": plain,
                "audioOutputConfiguration": {**pcm, "sampleRateHertz": 24_000, "voiceId": "tiffany"},
                "toolUseOutputConfiguration": {"mediaType": "application/json"},
                "toolConfiguration": {"tools": [{"toolSpec": tool}], "toolChoice": {"auto": {}}},
            }
        },
        *text("2", "SYSTEM", "Be brief."),
        *text("3", "USER", "Hi"),
        *text("4", "ASSISTANT", "Hello"),
        {
            "contentStart": {
                **audio,
                "type": "AUDIO",
                "role": "USER",
                "interactive": True,
                "audioInputConfiguration": {**pcm, "sampleRateHertz": 8_000},
            }
        },
        {"audioInput": {**audio, "content": "AQA="}},
        {"contentEnd": audio},
        {"promptEnd": {"promptName": "1"}},
        {"sessionEnd": {}},
    ]


async def test_every_kind_of_answer() -> None:
    """A completion is told as types, with its ids, and each can be had as it came."""
    async with session(output_sample_rate_hz=16_000) as (sonic, _):
        await sonic.send_audio(sine(1_000))
        events = await said(sonic)
    kinds = [type(event) for event in events]
    around = [SonicContentStart, SonicText, SonicContentEnd]
    speech = [SonicContentStart, *[SonicAudio] * 3, SonicContentEnd]
    assert kinds == [SonicCompletionStart, *around * 2, *speech, *around, SonicUsage, SonicCompletionEnd]
    assert {(event.session_id, event.completion_id) for event in events} == {("session", "completion-1")}
    start = next(event for event in events if isinstance(event, SonicContentStart) and event.type == "AUDIO")
    assert (start.role, start.sample_rate_hz) == ("ASSISTANT", 16_000)
    usage = next(event for event in events if isinstance(event, SonicUsage))
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (4, 4, 8)
    assert usage.delta["input"] == {"speechTokens": 2, "textTokens": 2}
    assert usage.total == usage.delta
    assert list(events[0].raw) == ["completionStart"]
    assert isinstance(events[-1], SonicCompletionEnd)
    assert events[-1].stop_reason == "END_TURN"


async def test_tools() -> None:
    """The model asks for a tool, the caller answers with an object, and the model says what it got."""
    async with session(tools=[WEATHER], system="Use tools.") as (sonic, _):
        await sonic.send_text("Rain?")
        async for event in sonic:
            if isinstance(event, SonicToolUse):
                assert (event.name, event.input(), event.role) == ("weather", {"heard": "Rain?"}, "TOOL")
                await sonic.send_tool_result(event, {"rain": True})
                break
        texts = [event.text for event in await said(sonic) if isinstance(event, SonicText)]
    assert texts == ['{"rain": true}'] * 3


async def test_a_beginning_that_is_refused() -> None:
    """What the service has against the first events is raised on entering, when it ends the conversation under them."""

    async def refuse(session: DuplexSession) -> None:
        await anext(session)
        raise service_error("ValidationException", "There is no such voice.")

    long = [("USER", "x" * 200_000)]  # more than is sent ahead of a service that does not read
    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=refuse)], credentials=[KEYS]) as emulator,
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=emulator.url) as client,
    ):
        with pytest.raises(ValidationError, match="no such voice"):
            await SonicSession(client.invoke_bidirectional(MODEL), voice="nobody", history=long).__aenter__()


async def test_audio_that_was_cancelled_before_its_turn() -> None:
    """What waited behind another event and was given up has not happened: audio begins, and ends, when it is asked."""
    go_on = asyncio.Event()

    async def late(session: DuplexSession) -> None:
        await go_on.wait()
        await sonic_echo(session)

    async def given_up(sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(sending)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    tone = sine(1_000)
    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=late)], credentials=[KEYS]) as emulator,
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=emulator.url) as client,
        SonicSession(client.invoke_bidirectional(MODEL)) as sonic,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(sonic.send_text("x" * 200_000))  # more than goes out before somebody reads
        await asyncio.sleep(0)
        await given_up(sonic.send_audio(tone))
        await given_up(sonic.end())
        go_on.set()
        await sonic.send_audio(tone)
        assert b"".join([event.audio for event in await said(sonic) if isinstance(event, SonicAudio)]) == tone


async def test_long_audio_is_cut() -> None:
    """A minute sent at once goes out in events within the service's limit."""
    async with session() as (sonic, emulator):
        tone = sine(960_000)
        await sonic.send_audio(tone)
        await said(sonic)
        sizes = [len(event) for event in emulator.requests[0].input_events]
    assert max(sizes) < 100_000
    assert len(sizes) > 25


async def test_bad_input() -> None:
    """An incomplete sample and a tool without a schema are refused, and nothing is sent."""
    async with session() as (sonic, emulator):
        with pytest.raises(InvalidRequestError, match="3 bytes"):
            await sonic.send_audio(b"abc")
        await said(sonic)
        assert not any(b"audio" in event.lower() and b"AUDIO" in event for event in emulator.requests[0].input_events)
        with pytest.raises(InvalidRequestError, match="inputSchema"):
            SonicSession(sonic.stream, tools=[{"toolSpec": {"name": "x"}}])
        with pytest.raises(InvalidRequestError, match=r"after end_input"):
            await sonic.send_text("late")


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ({"somethingNew": {"sessionId": "s", "x": 1}}, SonicUnknown(session_id="s", name="somethingNew")),
        ({"textOutput": {"content": "Hi"}}, SonicText(text="Hi")),
        ({"audioOutput": {"contentId": "c", "content": "AAE="}}, SonicAudio(content_id="c", audio=b"\0\1")),
        ({"contentEnd": {"stopReason": "INTERRUPTED"}}, SonicContentEnd(stop_reason="INTERRUPTED")),
        ({"contentStart": {"additionalModelFields": None}}, SonicContentStart()),
        ({"usageEvent": {}}, SonicUsage()),
    ],
)
def test_events_out_of_the_ordinary(native: dict[str, Any], expected: SonicEvent) -> None:
    """Missing members are empty, and unknown events are kept."""
    event = SonicReader().read(json.dumps({"event": native}).encode())
    assert event.raw == native
    assert replace(event, raw={}) == expected


def test_an_interruption_is_told() -> None:
    """When the user interrupts, audio that was not played yet is to be dropped."""
    end = SonicReader().read(b'{"event":{"contentEnd":{"stopReason":"INTERRUPTED","type":"TEXT"}}}')
    assert isinstance(end, SonicContentEnd)
    assert end.interrupted


@pytest.mark.parametrize(
    "native",
    [
        b"",
        b"[]",
        b"{}",
        b'{"event":1}',
        b'{"event":{}}',
        b'{"event":{"a":{},"b":{}}}',
        b'{"event":{"audioOutput":{"content":"~"}}}',
        b'{"event":{"textOutput":null}}',
        b'{"event":{"contentStart":{"additionalModelFields":"{"}}}',
        b'{"event":{"usageEvent":{"totalTokens":"many"}}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event(native: bytes) -> None:
    """Anything else is one error of ours, with the payload."""
    with pytest.raises(EventDecodeError) as caught:
        SonicReader().read(native)
    assert caught.value.payload == native


def test_a_tools_input_that_is_no_json() -> None:
    """It is an error of ours, which carries the text."""
    use = SonicReader().read(b'{"event":{"toolUse":{"toolName":"t","content":"{"}}}')
    assert isinstance(use, SonicToolUse)
    with pytest.raises(EventDecodeError, match="no JSON"):
        use.input()


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([{"promptStart": {"promptName": "p"}}], "promptStart in the place of sessionStart"),
        ([{"sessionStart": {"promptName": "p"}}], "the end in the place of promptStart"),
        ([None, {"audioInput": {"promptName": "p", "contentName": "c"}}], "audioInput without contentStart"),
        ([None, {"promptEnd": {"promptName": "q"}}], "promptEnd of another prompt"),
        (
            [None, {"contentStart": {"promptName": "p", "contentName": "c"}}, {"promptEnd": {"promptName": "p"}}],
            "1 con",
        ),
        (
            [None, {"promptEnd": {"promptName": "p"}}, {"sessionEnd": NOTHING}, {"sessionEnd": NOTHING}],
            "sessionEnd after",
        ),
    ],
)
async def test_the_scripted_model_holds_clients_to_the_order(events: list[Any], complaint: str) -> None:
    """Events out of order are refused, so a test of a voice loop proves something."""
    begin: list[Any] = [
        {"sessionStart": {}},
        {"promptStart": {"promptName": "p", "audioOutputConfiguration": {"sampleRateHertz": 24_000}}},
    ]
    if events[0] is None:
        events = [*begin, *events[1:]]
    async with (
        BedrockEmulator([ScriptedModel.text(bidirectional=sonic_echo)]) as emulator,
        BedrockClient(region="us-east-1", credentials=KEYS, endpoint_url=emulator.url) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):
        for event in events:
            await duplex.send({"event": event})
        await duplex.end_input()
        with pytest.raises(ValidationError, match=complaint):
            async for _ in duplex:
                pass


def test_audio_is_base64() -> None:
    """The samples are not changed."""
    from bedrock_async_amazon import sonic_events

    event = sonic_events.audio_input("p", "c", sine(16))
    assert base64.b64decode(event["event"]["audioInput"]["content"]) == sine(16)
