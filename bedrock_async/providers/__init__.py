"""Providers: ways to reach models, written as pure generators of effects. The names here are for plugin authors."""

from __future__ import annotations

from ._protocol import (
    INTERFACE_VERSION,
    CallContext,
    Effect,
    EffectResult,
    ErrorReader,
    EventDecoder,
    Flow,
    HttpRequest,
    HttpResponse,
    Provider,
    ReadObject,
    Send,
    Sleep,
    StreamPlan,
    read_object,
    send,
    sleep,
)

__all__ = [
    "INTERFACE_VERSION",
    "CallContext",
    "Effect",
    "EffectResult",
    "ErrorReader",
    "EventDecoder",
    "Flow",
    "HttpRequest",
    "HttpResponse",
    "Provider",
    "ReadObject",
    "Send",
    "Sleep",
    "StreamPlan",
    "read_object",
    "send",
    "sleep",
]
