"""Fuzzes the decoder of server-sent events, and what reads those of the OpenAI-compatible endpoints.

    python fuzz/fuzz_sse.py --seconds 60

However the bytes are cut, the same events come out; and whatever they say, events or errors of the tree.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import PromiseBrokenError, Target, main, mutated_lines


def make_target() -> Callable[[bytes], int]:
    """Return the function under test. Needs the plugin ``bedrock-async-mantle``."""
    from bedrock_async_mantle.chat import ChatReader
    from bedrock_async_mantle.responses_events import ResponsesReader
    from bedrock_async_mantle.routes import find_route
    from bedrock_async_mantle.sse import ServerSentEvent, SseDecoder
    from bedrock_async_mantle.streams import SseEventDecoder

    from bedrock_async import BedrockError, Event, parse_model_id
    from bedrock_async.providers import CallContext

    def lines(data: bytes, size: int) -> tuple[list[ServerSentEvent], str]:
        decoder = SseDecoder(max_event_bytes=2000)
        events: list[ServerSentEvent] = []
        for start in range(0, len(data), size):
            events += decoder.receive(data[start : start + size])
        return events, str(decoder.error or "")

    def read(decoder: SseEventDecoder, data: bytes) -> int:
        events: list[Event] = []
        try:
            decoder.start(200, {"content-type": "text/event-stream"})
            events += decoder.receive(data)
            events += decoder.receive(b"")
            events += decoder.eof()
        except BedrockError:
            pass
        return len(events)

    routes = [
        find_route(CallContext(parse_model_id(model), "us-east-1"))
        for model in ("openai.gpt-oss-20b-1:0", "openai.gpt-5.6")
    ]

    def target(data: bytes) -> int:
        whole = lines(data, max(len(data), 1))
        cut = lines(data, 1 + len(data) % 13)
        if cut[0] != whole[0][: len(cut[0])] or (not whole[1] and cut != whole):
            raise PromiseBrokenError("events depend on how the bytes are cut")
        readers = (ChatReader(routes[0]), ResponsesReader(routes[1]))
        return sum(read(SseEventDecoder(reader), data) for reader in readers)

    return target


if __name__ == "__main__":
    main(Target("sse", make_target, ("bedrock_async_mantle",), "events", mutated_lines))
