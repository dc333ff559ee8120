"""The interface between a provider and a model family: the native dialect of one vendor's models.

A family converts a `ConverseRequest` to the body for InvokeModel, and the response body or its chunks to a
`ConverseResponse` or events. It is pure: no socket, clock or environment, and no state between calls::

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

where ``read(body, events)`` adds the content of a body, or of a chunk, to an `EventBuilder`.
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
"""The version of this protocol; families written for another version are refused.

A family states the version that it was written for as a number, ``interface_version = 1``. If it referred to this
constant, it would claim compatibility with every future version.
"""

NativeObject: TypeAlias = Mapping[str, Any]
"""A parsed native body or chunk.

Read its members without checks: whatever a family raises for a missing or malformed one (KeyError, TypeError, ...)
becomes an error that names the family and carries the JSON.
"""


class NativeRequest(msgspec.Struct, frozen=True):
    """The native form of a request: the body, as JSON, and the media types for InvokeModel.

    The provider merges ``additional_request_fields`` and ``extra_body`` over the body, so that families need not.
    """

    body: NativeObject
    content_type: str = "application/json"
    accept: str = "application/json"


class FamilyContext(msgspec.Struct, frozen=True):
    """What a family may know of the call besides the request.

    ``options`` are the call's ``provider_options``. ``streaming`` tells whether the answer will be streamed.
    """

    model: ModelId
    profile: ModelProfile = UNKNOWN
    region: str = "us-east-1"
    options: Mapping[str, Any] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    streaming: bool = False

    @property
    def base_model(self) -> str:
        """The model id without geography, ``anthropic.claude-sonnet-4-5-20250929-v1:0``; empty if unknown."""
        return self.model.base_model or ""


class NativeDecoder(Protocol):
    """Decodes the chunks of one answer into events; sans-IO, for one stream only.

    Members that belong to the service rather than the model (``amazon-bedrock-...``) are removed from chunks
    beforehand. The returned events must be in the order of a Converse stream, which is checked; `EventBuilder` ensures
    it.
    """

    def receive(self, chunk: NativeObject) -> Sequence[Event]:
        """Return the events that a chunk completes, possibly none."""
        ...

    def eof(self) -> Sequence[Event]:
        """Return the last events at the end of the stream. Raises StreamTruncatedError if the answer is incomplete."""
        ...


@runtime_checkable
class ModelFamily(Protocol):
    """The native dialect of one vendor's models. One object serves all calls.

    The properties may be plain class attributes, as in the example above.
    """

    @property
    def name(self) -> str:
        """The vendor segment of the model ids, ``"acme"``, and the name of the entry point."""
        ...

    @property
    def interface_version(self) -> int:
        """The version of this protocol that the family was written for: a number, not `INTERFACE_VERSION`."""
        ...

    @property
    def models(self) -> Sequence[str]:
        """Patterns of model ids, without geography: ``("acme.chat-*",)``. ``*`` matches anything."""
        ...

    @property
    def verified(self) -> bool:
        """Whether the family is tested against recorded traffic of these models."""
        ...

    def supports(self, ctx: FamilyContext) -> Collection[str]:
        """Return the features of a request that this model's native body can express; see `FEATURES`.

        A request that uses another feature is refused before `encode`, with an error that names family and feature.
        """
        ...

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the native request. Raises InvalidRequestError for anything else that cannot be expressed."""
        ...

    def decode(self, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext) -> ConverseResponse:
        """Return the response in a native body; ``headers`` have lower-case names.

        Usage, latency and the guardrail's trace are filled in from the service's own members and headers if the
        response lacks them.
        """
        ...

    def stream_decoder(self, ctx: FamilyContext) -> NativeDecoder:
        """Return a new decoder for the chunks of one stream."""
        ...
