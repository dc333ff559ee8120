"""Voice conversations with Nova Sonic: it keeps the order of events, so callers see only audio, text and tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from bedrock_async import BidirectionalStream
from bedrock_async.errors import ConnectionLostError, InvalidRequestError

from . import sonic_events as events
from .sonic_events import SonicEvent, SonicReader, SonicToolUse

__all__ = ["SonicSession"]

_SAMPLE_BYTES: Final = 2
_PIECE_BYTES: Final = 2**16
"""Two seconds of audio at 16 kHz; base64 adds a third, and an event may have at most 1,000,000 bytes."""


class SonicSession:
    """One conversation with Nova Sonic, over a stream that `BedrockClient.invoke_bidirectional` made.

    ::

        stream = client.invoke_bidirectional("amazon.nova-2-sonic-v1:0")
        async with SonicSession(stream, system="Be brief.", voice="tiffany") as sonic:
            await sonic.send_audio(pcm)           # as it comes from the microphone
            async for event in sonic:             # at the same time, in another task
                match event:
                    case SonicAudio(): speaker.play(event.audio)
                    case SonicText(): print(event.role, event.text)

    Entering opens the stream and sends the settings, the ``system`` prompt and the ``history`` (pairs of role,
    ``USER`` or ``ASSISTANT``, and text). ``tools`` have Converse's form. Leaving closes the connection at once; call
    `end` before that to let the model finish. Errors and cancellation are those of `BidirectionalStream`. Audio is mono
    PCM with 16-bit little-endian samples. ``new_name`` makes the names by which events refer to each other.
    """

    def __init__(
        self,
        stream: BidirectionalStream,
        *,
        system: str | None = None,
        voice: str = "matthew",
        history: Sequence[tuple[str, str]] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: Mapping[str, Any] | None = None,
        max_tokens: int = 1024,
        top_p: float = 0.9,
        temperature: float = 0.7,
        endpointing_sensitivity: events.Sensitivity | str | None = None,
        input_sample_rate_hz: int = 16_000,
        output_sample_rate_hz: int = 24_000,
        new_name: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """Prepare the session; nothing is sent yet. Raises InvalidRequestError for a tool without a schema."""
        self.stream = stream
        self._new_name = new_name
        self._prompt = new_name()
        self._opening = [
            events.session_start(
                max_tokens=max_tokens,
                top_p=top_p,
                temperature=temperature,
                endpointing_sensitivity=endpointing_sensitivity,
            ),
            events.prompt_start(
                self._prompt,
                voice=voice,
                sample_rate_hz=output_sample_rate_hz,
                tools=tools,
                tool_choice=tool_choice,
            ),
        ]
        for role, text in [*([("SYSTEM", system)] if system is not None else []), *history]:
            self._opening += self._text(role, text, interactive=False)
        self._input_sample_rate_hz = input_sample_rate_hz
        self._reader = SonicReader()
        self._audio: str | None = None
        self._closing = [events.prompt_end(self._prompt), events.session_end()]
        self._ending = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open the stream and begin the session. Raises as `BidirectionalStream`."""
        await self.stream.__aenter__()
        try:
            await self._begin()
        except BaseException:
            self.stream.abort()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection at once."""
        self.stream.abort()

    def __aiter__(self) -> Self:
        """Return the session itself."""
        return self

    async def __anext__(self) -> SonicEvent:
        """Return the model's next event. Raises EventDecodeError for a malformed one, and what the stream raises."""
        return self._reader.read((await self.stream.__anext__()).bytes)

    async def send_audio(self, pcm: bytes) -> None:
        """Send the user's audio; the first call begins it. Waits while the connection takes no more.

        Send what the microphone gives as it comes, about 32 ms at a time, silence included: the model detects turns by
        it. Raises InvalidRequestError for an incomplete sample.
        """
        if len(pcm) % _SAMPLE_BYTES:
            raise InvalidRequestError(
                f"{len(pcm)} bytes are not a whole number of {_SAMPLE_BYTES}-byte samples.",
                path="pcm",
                hint="Pass 16-bit samples of one channel, and keep an incomplete sample for the next call.",
            )
        if self._audio is None:
            self._audio = self._new_name()
            rate = self._input_sample_rate_hz
            try:
                await self.stream.send(events.audio_start(self._prompt, self._audio, sample_rate_hz=rate))
            except BaseException:
                self._audio = None  # cancelled while others were sending: it has not begun
                raise
        for at in range(0, len(pcm), _PIECE_BYTES):
            await self.stream.send(events.audio_input(self._prompt, self._audio, pcm[at : at + _PIECE_BYTES]))

    async def send_text(self, text: str) -> None:
        """Send text that the user typed, alongside the audio (Nova 2 Sonic)."""
        for event in self._text("USER", text, interactive=True):
            await self.stream.send(event)

    async def send_tool_result(self, use: SonicToolUse | str, result: Mapping[str, Any] | str) -> None:
        """Send the result of a tool use, given as the event or by its id; an object is written as JSON."""
        tool_use_id = use if isinstance(use, str) else use.tool_use_id
        content = self._new_name()
        await self.stream.send(events.tool_result_start(self._prompt, content, tool_use_id))
        await self.stream.send(events.tool_result(self._prompt, content, result))
        await self.stream.send(events.content_end(self._prompt, content))

    async def end_audio(self) -> None:
        """End the user's audio; `send_audio` begins it again. Does nothing if none is open."""
        audio, self._audio = self._audio, None
        if audio is not None:
            try:
                await self.stream.send(events.content_end(self._prompt, audio))
            except BaseException:
                self._audio = audio
                raise

    async def end(self) -> None:
        """End audio, prompt and session, in the order that the model requires; its answers still arrive.

        Idempotent. If it was cancelled and the stream is still open, the next call does the rest.
        """
        async with self._ending:
            await self.end_audio()
            while self._closing:
                await self.stream.send(self._closing[0])
                del self._closing[0]
            await self.stream.end_input()

    async def _begin(self) -> None:
        try:
            for event in self._opening:
                await self.stream.send(event)
        except ConnectionLostError:
            async for _ in self.stream:  # nobody else reads yet, and this raises why the service takes no more
                pass
            raise

    def _text(self, role: str, text: str, *, interactive: bool) -> list[dict[str, Any]]:
        content = self._new_name()
        return [
            events.text_start(self._prompt, content, role=role, interactive=interactive),
            events.text_input(self._prompt, content, text),
            events.content_end(self._prompt, content),
        ]
