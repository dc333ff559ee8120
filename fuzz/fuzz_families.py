"""Fuzzes what reads native answers: whatever the JSON, events or errors of the tree come out, for each family.

    python fuzz/fuzz_families.py --seconds 60

The first line of an input is the id of a model, whose family must be installed; each other line is a chunk of a stream,
and the last one also a whole answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from harness import Target, main, mutated_lines


def make_target() -> Callable[[bytes], int]:
    """Return the function under test: chunks through the family's decoder, and a body through its reader."""
    from bedrock_async.errors import BedrockError
    from bedrock_async.events import Event
    from bedrock_async.families.registry import FamilyRegistry
    from bedrock_async.folding import fold
    from bedrock_async.model_id import parse_model_id
    from bedrock_async.plugins import allowed_plugins
    from bedrock_async.providers import CallContext, HttpResponse, StreamPlan
    from bedrock_async.providers.invoke import InvokeProvider
    from bedrock_async.testing.frames import chunk_frame
    from bedrock_async.types import ConverseRequest, Message, TextBlock

    registry = FamilyRegistry(None, allowed_plugins({}))
    provider = InvokeProvider()
    question = [Message(role="user", content=[TextBlock(text="Hello.")])]

    def context(model_id: str) -> CallContext:
        model = parse_model_id(model_id)
        return CallContext(
            model, "us-east-1", family=registry.resolve(model, None), profile=registry.profile(model.base_model)
        )

    def streamed(request: ConverseRequest, ctx: CallContext, chunks: list[bytes]) -> list[Event]:
        plan = provider.stream(request, ctx)
        events: list[Event] = []
        if isinstance(plan, StreamPlan):
            head = {"content-type": "application/vnd.amazon.eventstream"}
            with suppress(BedrockError):
                plan.decoder.start(200, head)
                for chunk in chunks:
                    events += plan.decoder.receive(chunk_frame(chunk))
                events += plan.decoder.receive(b"")
                events += plan.decoder.eof()
        return events

    def whole(request: ConverseRequest, ctx: CallContext, body: bytes) -> int:
        flow = provider.converse(request, ctx)
        next(flow)
        try:
            flow.send(HttpResponse(200, {"content-type": "application/json"}, body))
        except StopIteration as stop:
            _ = stop.value.text, stop.value.to_wire(), stop.value.to_dict()
            return 1
        except BedrockError:
            pass
        return 0

    def target(data: bytes) -> int:
        name, *chunks = data.splitlines() or [b""]
        try:
            ctx = context(json.loads(name) if name.startswith(b'"') else name.decode("latin-1"))
        except (BedrockError, ValueError):
            return 0
        request = ConverseRequest(model_id=ctx.model.raw, messages=question)
        try:
            events = streamed(request, ctx, chunks)
            read = whole(request, ctx, chunks[-1]) if chunks else 0
        except BedrockError:  # a model that takes no conversation
            return 0
        with suppress(BedrockError):
            fold(events).to_wire()
        return len(events) + read

    return target


if __name__ == "__main__":
    main(Target("families", make_target, ("bedrock_async", "bedrock_async_"), "events and answers", mutated_lines))
