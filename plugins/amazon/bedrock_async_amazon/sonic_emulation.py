"""A Nova Sonic for tests: it checks the order of a client's events, and repeats what it hears.

::

    async with BedrockEmulator([ScriptedModel.text("unused", bidirectional=sonic_echo)]) as emulator: ...
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from bedrock_async.errors import service_error

if TYPE_CHECKING:
    from bedrock_async.testing import DuplexSession

__all__ = ["sonic_echo"]

_PIECE_BYTES: Final = 960  # 20 ms at 24 kHz
_FINAL: Final = json.dumps({"generationStage": "FINAL"})
_SPECULATIVE: Final = json.dumps({"generationStage": "SPECULATIVE"})


async def sonic_echo(session: DuplexSession) -> None:
    """Repeat each text of the user, and the user's audio once it has ended.

    Every answer is one completion: the text heard, the text about to be spoken, the audio, the text spoken, the usage
    (a text token per word, a speech token per 20 ms). With tools, the first one is called before the first answer with
    the input ``{"heard": text}``, and its result is spoken. Events out of order are refused with ValidationException.
    """
    await _Echo(session).run()


class _Echo:
    def __init__(self, session: DuplexSession) -> None:
        self._session = session
        self._ids = count(1)
        self._prompt = ""
        self._tool = ""
        self._asked = False
        self._open: dict[str, Mapping[str, Any]] = {}
        self._heard = bytearray()
        self._texts: dict[str, str] = {}
        self._rate = 24_000
        self._tokens = [0, 0]

    async def run(self) -> None:
        events = self._events()
        await _expect(events, "sessionStart")
        start = await _expect(events, "promptStart")
        self._prompt = start["promptName"]
        self._rate = start["audioOutputConfiguration"]["sampleRateHertz"]
        tools = start.get("toolConfiguration", {}).get("tools", [])
        if tools:
            json.loads(tools[0]["toolSpec"]["inputSchema"]["json"])  # which must be text
            self._tool = tools[0]["toolSpec"]["name"]
        async for name, members in events:
            if name == "promptEnd":
                break
            await self._take(name, members)
        if self._open:
            raise _refused(f"promptEnd with {len(self._open)} contents open")
        await _expect(events, "sessionEnd")
        async for name, _ in events:
            raise _refused(f"{name} after sessionEnd")

    async def _events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        async for native in self._session:
            ((name, members),) = json.loads(native)["event"].items()
            if self._prompt and name != "sessionEnd" and members.get("promptName") != self._prompt:
                raise _refused(f"{name} of another prompt")
            yield name, members

    async def _take(self, name: str, members: dict[str, Any]) -> None:
        content = members.get("contentName", "")
        if name == "contentStart":
            if content in self._open:
                raise _refused("contentStart of an open content")
            self._open[content] = members
            return
        start = self._open.get(content)
        if start is None:
            raise _refused(f"{name} without contentStart")
        if name == "audioInput" and start["type"] == "AUDIO":
            self._heard += base64.b64decode(members["content"], validate=True)
        elif (name, start["type"]) in {("textInput", "TEXT"), ("toolResult", "TOOL")}:
            self._texts[content] = self._texts.get(content, "") + members["content"]
        elif name == "contentEnd":
            del self._open[content]
            await self._answer(start, self._texts.pop(content, ""))
        else:
            raise _refused(f"{name} in a content of type {start['type']}")

    async def _answer(self, start: Mapping[str, Any], text: str) -> None:
        if start["type"] == "AUDIO":
            audio, self._heard = bytes(self._heard), bytearray()
            await self._say(f"{len(audio)} bytes", audio)
        elif start["type"] == "TOOL" or start["interactive"]:
            await self._say(text, b"")

    async def _say(self, text: str, audio: bytes) -> None:
        completion = {
            "sessionId": "session",
            "promptName": self._prompt,
            "completionId": f"completion-{next(self._ids)}",
        }
        await self._send("completionStart", completion)
        if self._tool and not self._asked:
            self._asked = True
            await self._use_tool(completion, text)
            return
        await self._text(completion, "USER", _FINAL, text)
        await self._text(completion, "ASSISTANT", _SPECULATIVE, text)
        if audio:
            await self._speak(completion, audio)
        await self._text(completion, "ASSISTANT", _FINAL, text)
        await self._count(completion, len(audio) // _PIECE_BYTES, len(text.split()))
        await self._send("completionEnd", {**completion, "stopReason": "END_TURN"})

    async def _use_tool(self, completion: Mapping[str, Any], text: str) -> None:
        content = {**completion, "contentId": f"content-{next(self._ids)}"}
        kind = {"mediaType": "application/json"}
        await self._send(
            "contentStart", {**content, "type": "TOOL", "role": "TOOL", "toolUseOutputConfiguration": kind}
        )
        use = {"toolName": self._tool, "toolUseId": f"tool-{next(self._ids)}", "content": json.dumps({"heard": text})}
        await self._send("toolUse", {**content, **use})
        await self._send("contentEnd", {**content, "type": "TOOL", "stopReason": "TOOL_USE"})

    async def _text(self, completion: Mapping[str, Any], role: str, stage: str, text: str) -> None:
        content = {**completion, "contentId": f"content-{next(self._ids)}"}
        kind = {"textOutputConfiguration": {"mediaType": "text/plain"}, "additionalModelFields": stage}
        await self._send("contentStart", {**content, "type": "TEXT", "role": role, **kind})
        await self._send("textOutput", {**content, "content": text, "role": role})
        await self._send("contentEnd", {**content, "type": "TEXT", "stopReason": "PARTIAL_TURN"})

    async def _speak(self, completion: Mapping[str, Any], audio: bytes) -> None:
        content = {**completion, "contentId": f"content-{next(self._ids)}"}
        kind = {"mediaType": "audio/lpcm", "sampleRateHertz": self._rate, "sampleSizeBits": 16, "encoding": "base64"}
        await self._send(
            "contentStart", {**content, "type": "AUDIO", "role": "ASSISTANT", "audioOutputConfiguration": kind}
        )
        for at in range(0, len(audio), _PIECE_BYTES):
            piece = base64.b64encode(audio[at : at + _PIECE_BYTES]).decode("ascii")
            await self._send("audioOutput", {**content, "content": piece, "role": "ASSISTANT"})
        await self._send("contentEnd", {**content, "type": "AUDIO", "stopReason": "PARTIAL_TURN"})

    async def _count(self, completion: Mapping[str, Any], speech: int, words: int) -> None:
        delta = {"speechTokens": speech, "textTokens": words}
        self._tokens = [self._tokens[0] + speech, self._tokens[1] + words]
        total = {"speechTokens": self._tokens[0], "textTokens": self._tokens[1]}
        details = {"delta": {"input": delta, "output": delta}, "total": {"input": total, "output": total}}
        sums = {"totalInputTokens": sum(self._tokens), "totalOutputTokens": sum(self._tokens)}
        await self._send("usageEvent", {**completion, "details": details, **sums, "totalTokens": 2 * sum(self._tokens)})

    async def _send(self, name: str, members: Mapping[str, Any]) -> None:
        await self._session.send({"event": {name: dict(members)}})


async def _expect(events: AsyncIterator[tuple[str, dict[str, Any]]], wanted: str) -> dict[str, Any]:
    async for name, members in events:
        if name != wanted:
            raise _refused(f"{name} in the place of {wanted}")
        return members
    raise _refused(f"the end in the place of {wanted}")


def _refused(what: str) -> Exception:
    return service_error("ValidationException", f"Unexpected event: {what}.")
