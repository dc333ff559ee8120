"""The family of an invented vendor: the smallest one that works, and what tests break about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from bedrock_async import ConverseRequest, ConverseResponse
from bedrock_async.families import (
    INTERFACE_VERSION,
    EventBuilder,
    FamilyContext,
    NativeObject,
    NativeRequest,
    decode_with,
    stop_reason,
    stream_with,
)

__all__ = ["Acme", "giving", "raising", "read"]


class Acme:
    """Takes the last text, and max_tokens. ``methods`` replace those of the class."""

    name = "acme"
    interface_version = INTERFACE_VERSION
    models = ("acme.*",)
    verified = False

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return one feature."""
        return {"max_tokens"}

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the turns as text, and whether the answer is to be streamed."""
        turns = [message.text for message in request.messages or ()]
        body: dict[str, Any] = {"prompt": "\n".join(turns), "stream": ctx.streaming}
        if request.inference_config is not None and request.inference_config.max_tokens is not None:
            body["sampling"] = {"limit": request.inference_config.max_tokens}
        return NativeRequest(body)

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Read a body as chunks are read."""
        return decode_with(read, body)

    def stream_decoder(self, ctx: FamilyContext) -> Any:  # noqa: ANN401 - tests give wrong ones
        """Read chunks as bodies are read."""
        return stream_with(read)


def read(native: NativeObject, events: EventBuilder) -> None:
    """Read ``{"text": ..., "finish": ..., "tokens": [in, out]}``; only the text must be there."""
    events.text(native["text"])
    events.stop(stop_reason(native.get("finish")))
    if "tokens" in native:
        events.usage(input_tokens=native["tokens"][0], output_tokens=native["tokens"][1])


def giving(value: object) -> Callable[..., Any]:
    """Return a method that gives a value, whatever it is given."""

    def give(*arguments: object) -> Any:  # noqa: ANN401 - of any type
        return value

    return give


def raising(error: Exception) -> Callable[..., Any]:
    """Return a method that fails."""

    def fail(*arguments: object) -> Any:  # noqa: ANN401 - never returns
        raise error

    return fail
