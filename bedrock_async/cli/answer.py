"""Prints one answer to stdout: text as it arrives, or events as lines of JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

from ..stream import ResponseStream
from ..types import ConverseResponse
from .console import show_note, styled, terminal_safe

__all__ = ["OutputOptions", "print_answer"]

_USUAL_ENDS = frozenset({"end_turn", "stop_sequence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The command line options for the output."""

    as_json: bool = False
    usage: bool = False


async def print_answer(stream: ResponseStream, options: OutputOptions) -> ConverseResponse:
    """Write the answer to stdout as it arrives, flushed piece by piece, and return it as a whole.

    Text is terminated by a line break, even if it is cut short. Cancelling closes the stream at once. Raises as
    iterating the stream does.
    """
    started = time.perf_counter()
    first_s: float | None = None
    writer = _JsonWriter() if options.as_json else _TextWriter()
    try:
        async with stream:
            async for batch in stream.batches:
                for event in batch:
                    if event.text and first_s is None:
                        first_s = time.perf_counter() - started
                    if isinstance(writer, _JsonWriter):
                        writer.write(json.dumps(event.to_wire()))
                    elif event.text:
                        writer.write(event.text)
                sys.stdout.flush()
            response = await stream.get_final_response()
    finally:
        writer.finish()
    if response.stop_reason not in _USUAL_ENDS:
        show_note(f"(the answer ended with the stop reason {response.stop_reason!r})")
    if options.usage:
        styled(sys.stderr).print(_usage_line(response, first_s, time.perf_counter() - started))
    return response


class _TextWriter:
    """Writes text, escaped for a terminal, and terminates the last line."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._last = "\n"

    def write(self, text: str) -> None:
        sys.stdout.write(terminal_safe(text) if self._terminal else text)
        self._last = text[-1]

    def finish(self) -> None:
        if self._last != "\n":
            sys.stdout.write("\n")
        sys.stdout.flush()


class _JsonWriter:
    """Writes one line of JSON for each event."""

    def write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def finish(self) -> None:
        sys.stdout.flush()


def _usage_line(response: ConverseResponse, first_s: float | None, total_s: float) -> str:
    usage = response.usage
    parts = [f"tokens: {usage.input_tokens} in, {usage.output_tokens} out, {usage.total_tokens} in all"]
    if usage.cache_read_input_tokens or usage.cache_write_input_tokens:
        parts.append(f"cache: {usage.cache_read_input_tokens or 0} read, {usage.cache_write_input_tokens or 0} written")
    if first_s is not None:
        parts.append(f"first text after {first_s * 1000:.0f} ms")
    parts.append(f"all after {total_s * 1000:.0f} ms")
    if response.metrics.latency_ms is not None:
        parts.append(f"the service's own latency {response.metrics.latency_ms} ms")
    parts.append(f"stop reason {response.stop_reason}")
    return "; ".join(parts)
