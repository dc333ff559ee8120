"""The seam between a provider and a model family: the native dialect of one vendor's models.

A family turns a `ConverseRequest` into the body that InvokeModel wants, and the body or the chunks that come back into
a `ConverseResponse` or events. It is pure: no socket, clock or environment, and no state between calls::

    class AcmeFamily:
        name = "acme"
        interface_version = 1
        models = ("acme.*",)
        verified = False

        def supports(self, ctx):
            return {"max_tokens", "temperature"}

        def encode(self, request, ctx):
            return NativeRequest({"prompt": request.messages[-1].text, ...})

        def decode(self, body, headers, ctx):
            return decode_with(read, body)

        def stream_decoder(self, ctx):
            return stream_with(read)

where ``read(body, events)`` tells an `EventBuilder` what a body, or a chunk, says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import msgspec

from ..events import Event
from ..model_id import ModelId
from ..types import ConverseRequest, ConverseResponse
from .profiles import UNKNOWN, ModelProfile

INTERFACE_VERSION: Final = 1
"""The version of this protocol; a family that was written for another one is refused.

A family says the number that it was written for, ``interface_version = 1``. One that repeats this constant would call
itself up to date whatever changes here.
"""

NativeObject: TypeAlias = Mapping[str, Any]
"""A native body or chunk, parsed. Look its members up as they should be: what a family raises for a missing or
misshapen one (KeyError, TypeError, ...) becomes an error that names the family and carries the JSON."""


class NativeRequest(msgspec.Struct, frozen=True):
    """What a family makes of a request: the native body, as JSON, and the types that InvokeModel is told.

    The provider merges ``additional_request_fields`` and ``extra_body`` over the body, so that a family need not.
    """

    body: NativeObject
    content_type: str = "application/json"
    accept: str = "application/json"


class FamilyContext(msgspec.Struct, frozen=True):
    """What a family may know of the call beside the request.

    ``options`` are the call's ``provider_options``. ``streaming`` tells whether the answer is to be streamed.
    """

    model: ModelId
    profile: ModelProfile = UNKNOWN
    region: str = "us-east-1"
    options: Mapping[str, Any] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    streaming: bool = False

    @property
    def base_model(self) -> str:
        """The id of the model without geography, ``anthropic.claude-sonnet-4-5-20250929-v1:0``; empty if unknown."""
        return self.model.base_model or ""


class NativeDecoder(Protocol):
    """Makes the events of one answer from its chunks; sans-IO, and of one stream only.

    Whatever belongs to the service and not to the model (members ``amazon-bedrock-...``) never comes in; what comes
    out is checked for the order that a Converse stream has. `EventBuilder` keeps that order by itself.
    """

    def receive(self, chunk: NativeObject) -> Sequence[Event]:
        """Take one chunk; return the events it completes, which may be none."""
        ...

    def eof(self) -> Sequence[Event]:
        """Take the end of the stream. Raises StreamTruncatedError where the answer is not complete."""
        ...


@runtime_checkable
class ModelFamily(Protocol):
    """The native dialect of one vendor's models. One object serves all calls.

    What reads as properties here may be plain attributes of the class, as above.
    """

    @property
    def name(self) -> str:
        """The vendor segment of the model ids, ``"acme"``; also the name of the entry point."""
        ...

    @property
    def interface_version(self) -> int:
        """The version of this protocol that the family was written for: the number, not `INTERFACE_VERSION`."""
        ...

    @property
    def models(self) -> Sequence[str]:
        """Patterns of the model ids, without geography: ``("acme.chat-*",)``. ``*`` stands for anything."""
        ...

    @property
    def verified(self) -> bool:
        """Whether tests hold the family to recorded traffic of these models."""
        ...

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return the features of a request that this model's native body can express; see `FEATURES`.

        A request that uses another one is refused before `encode`, with an error that names family and feature.
        """
        ...

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for what cannot be expressed after all."""
        ...

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response that a native body makes; ``headers`` have lower-case names.

        Usage, latency and the guardrail's trace are filled in from the service's own members and headers where the
        response does not have them.
        """
        ...

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a fresh decoder for the chunks of one stream."""
        ...
