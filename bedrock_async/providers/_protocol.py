"""The interface between the client and a provider: effects, flows, stream plans.

A provider is pure: a call is a generator of effects that the client performs, written with typed helpers::

    def converse(self, request, ctx):
        response = yield from send(HttpRequest("POST", f"/model/{ctx.target.quoted}/converse", body=...))
        return read(response)

A failure of an effect is raised in the generator at its ``yield``. So a provider needs no socket, clock or secret, and
a list of canned responses is enough to test it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from ..errors import BedrockError, service_error_from_response
from ..events import Event
from ..families.profiles import UNKNOWN, ModelProfile
from ..model_id import ModelId
from ..types import ConverseRequest, ConverseResponse, JSONValue

if TYPE_CHECKING:
    from ..families import ModelFamily

INTERFACE_VERSION = 1
"""The version of this protocol; providers written for another version are refused.

A provider states the version that it was written for as a number, ``interface_version = 1``. If it referred to this
constant, it would claim compatibility with every future version.
"""

T = TypeVar("T")
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)

_NOTHING: Mapping[str, Any] = MappingProxyType({})

ErrorReader: TypeAlias = Callable[[int, Mapping[str, str], bytes], BedrockError]
"""Creates the error for an unsuccessful response, from its status, its headers (lower-case names) and its body."""


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """A request that a provider wants sent; the client adds endpoint, credentials, signature and retries.

    ``path`` is already quoted. ``endpoint`` replaces the client's (scheme and host), ``signing_name`` is the service
    that the signature is for. ``idempotent`` means that sending the request twice does no harm, so that it may be
    retried even when it is unknown whether the first one was carried out. ``read_error`` reads errors of an endpoint
    whose format differs from Bedrock's; the error it creates determines whether the request is retried.
    """

    method: str
    path: str
    query: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    body: bytes = b""
    endpoint: str | None = None
    signing_name: str = "bedrock"
    idempotent: bool = False
    read_error: ErrorReader = service_error_from_response


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """A successful response, read completely; ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Send(msgspec.Struct, frozen=True, gc=False):
    """The effect of sending a request; its result is an `HttpResponse`."""

    request: HttpRequest


class Sleep(msgspec.Struct, frozen=True, gc=False):
    """The effect of waiting; its result is None."""

    seconds: float


class ReadObject(msgspec.Struct, frozen=True, gc=False):
    """The effect of reading an S3 object (``s3://bucket/key``); its result is the object's bytes.

    ``owner`` is the account that must own the bucket, if that is to be checked.
    """

    s3_uri: str
    owner: str | None = None


Effect: TypeAlias = Send | Sleep | ReadObject
EffectResult: TypeAlias = HttpResponse | bytes | None
Flow: TypeAlias = Generator[Effect, EffectResult, T]
"""A call: yields effects, receives their results, returns a ``T``."""


def send(request: HttpRequest) -> Flow[HttpResponse]:
    """Send ``request`` and return its 2xx response. Raises ServiceError, TransportError or a timeout."""
    response = yield Send(request)
    if not isinstance(response, HttpResponse):
        raise TypeError(f"the driver answered Send with {type(response).__name__}")
    return response


def sleep(seconds: float) -> Flow[None]:
    """Wait for ``seconds``."""
    yield Sleep(seconds)


def read_object(s3_uri: str, owner: str | None = None) -> Flow[bytes]:
    """Return the bytes of an S3 object. With ``owner``, S3 refuses if the bucket belongs to another account."""
    data = yield ReadObject(s3_uri, owner)
    if not isinstance(data, bytes):
        raise TypeError(f"the driver answered ReadObject with {type(data).__name__}")
    return data


class EventDecoder(Protocol[E_co]):
    """Decodes the bytes of a response body into events; sans-IO.

    Each call returns all complete events. If a fault follows good events in the same piece, these are returned and the
    fault is kept in ``pending_error``; the next call of ``receive`` or ``eof`` raises it.
    """

    @property
    def pending_error(self) -> BedrockError | None:
        """The fault that followed the events returned last."""
        ...

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the head of a 2xx response. Raises UnexpectedContentTypeError."""
        ...

    def receive(self, data: bytes) -> Sequence[E_co]:
        """Return the events that a piece of the body completes; the piece may be empty."""
        ...

    def eof(self) -> Sequence[E_co]:
        """Return the last events at the end of the body. Raises StreamTruncatedError if the response is incomplete."""
        ...


class StreamPlan(msgspec.Struct, Generic[E], frozen=True):
    """How to read a stream: the request that opens it, and the decoder for its body (a new one for every plan)."""

    request: HttpRequest
    decoder: EventDecoder[E]


class CallContext(msgspec.Struct, frozen=True):
    """What a provider may know of the call besides the request.

    ``model`` is the model whose capabilities apply. For a call through an inference profile, ``inference_profile`` is
    that profile; `target` is the one of the two to put in the path. ``profile`` has the facts about the model.
    ``family`` is its native dialect, only set for providers with ``needs_family = True``.
    """

    model: ModelId
    region: str
    provider_options: Mapping[str, JSONValue] = _NOTHING
    inference_profile: ModelId | None = None
    family: ModelFamily | None = None
    profile: ModelProfile = UNKNOWN

    @property
    def target(self) -> ModelId:
        """The target of the call: the inference profile, or else the model itself."""
        return self.inference_profile or self.model


@runtime_checkable
class Provider(Protocol):
    """A way to reach models. Stateless between calls; one object serves all of them."""

    name: str
    interface_version: int
    """The version of this protocol that the provider was written for: a number, not `INTERFACE_VERSION`."""

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Return the flow of one call."""
        ...

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event] | Flow[ConverseResponse]:
        """Return the plan of a stream, or a flow whose response is to be replayed as events.

        Called for every attempt, so that each gets a new decoder.
        """
        ...
