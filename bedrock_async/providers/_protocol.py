"""The seam between the client and a provider: effects, flows, stream plans.

A provider is pure. A call is a generator of effects that the client performs; it is written with the typed helpers::

    def converse(self, request, ctx):
        response = yield from send(HttpRequest("POST", f"/model/{ctx.target.quoted}/converse", body=...))
        return read(response)

A failure of an effect is thrown into the generator at its ``yield``. So a provider holds no socket, clock or secret,
and a list of canned answers tests it.
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
"""The version of this protocol; a provider that was written for another one is refused.

A provider says the number that it was written for, ``interface_version = 1``. One that repeats this constant would call
itself up to date whatever changes here.
"""

T = TypeVar("T")
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)

_NOTHING: Mapping[str, Any] = MappingProxyType({})

ErrorReader: TypeAlias = Callable[[int, Mapping[str, str], bytes], BedrockError]
"""Makes the error of an answer that is no success: of its status, its headers (lower-case names) and its body."""


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """What a provider wants to be sent: the client adds endpoint, credentials, signature and retries.

    ``path`` is quoted already. ``endpoint`` replaces the client's (scheme and host), ``signing_name`` is the service
    that the signature is for. ``idempotent`` says that sending twice does no harm, so that the request may be
    repeated even when it is unknown whether the first one was carried out. ``read_error`` reads the errors of an
    endpoint that tells them in another form than Bedrock's own; what it makes decides whether the request is repeated.
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
    """A successful answer, read whole; ``headers`` have lower-case names."""

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
    """The effect of reading an object of S3 (``s3://bucket/key``); its result is its bytes.

    ``owner`` is the account that the bucket must belong to, where that is to be checked.
    """

    s3_uri: str
    owner: str | None = None


Effect: TypeAlias = Send | Sleep | ReadObject
EffectResult: TypeAlias = HttpResponse | bytes | None
Flow: TypeAlias = Generator[Effect, EffectResult, T]
"""A call: yields effects, is sent their results, returns a ``T``."""


def send(request: HttpRequest) -> Flow[HttpResponse]:
    """Send ``request``; the answer's status is 2xx. A ServiceError, TransportError or timeout is raised here."""
    response = yield Send(request)
    if not isinstance(response, HttpResponse):
        raise TypeError(f"the driver answered Send with {type(response).__name__}")
    return response


def sleep(seconds: float) -> Flow[None]:
    """Wait."""
    yield Sleep(seconds)


def read_object(s3_uri: str, owner: str | None = None) -> Flow[bytes]:
    """Return the bytes of an object of S3. With ``owner``, S3 refuses when the bucket is of another account."""
    data = yield ReadObject(s3_uri, owner)
    if not isinstance(data, bytes):
        raise TypeError(f"the driver answered ReadObject with {type(data).__name__}")
    return data


class EventDecoder(Protocol[E_co]):
    """Makes events from the bytes of a response body; sans-IO.

    All events that are complete come at once. Where a fault stands behind good events of the same piece, these are
    returned and the fault is kept in ``pending_error``; the next call of ``receive`` or ``eof`` raises it.
    """

    @property
    def pending_error(self) -> BedrockError | None:
        """The fault that stands behind the events that were returned last."""
        ...

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of a 2xx response. Raises UnexpectedContentTypeError."""
        ...

    def receive(self, data: bytes) -> Sequence[E_co]:
        """Take a piece of the body, which may be empty."""
        ...

    def eof(self) -> Sequence[E_co]:
        """Take the end of the body. Raises StreamTruncatedError where the response is not complete."""
        ...


class StreamPlan(msgspec.Struct, Generic[E], frozen=True):
    """How a stream is read: the request that opens it, and the decoder of its body (fresh for every plan)."""

    request: HttpRequest
    decoder: EventDecoder[E]


class CallContext(msgspec.Struct, frozen=True):
    """What a provider may know of the call beside the request.

    ``model`` is the model whose capabilities count. Where an inference profile stands before it, ``inference_profile``
    is that; `target` is what belongs into the path. ``profile`` has the facts about the model. ``family`` is its native
    dialect, which is looked up only for providers that say ``needs_family = True``.
    """

    model: ModelId
    region: str
    provider_options: Mapping[str, JSONValue] = _NOTHING
    inference_profile: ModelId | None = None
    family: ModelFamily | None = None
    profile: ModelProfile = UNKNOWN

    @property
    def target(self) -> ModelId:
        """What the call goes to: the inference profile, or else the model itself."""
        return self.inference_profile or self.model


@runtime_checkable
class Provider(Protocol):
    """A way to reach models. Stateless between calls; one object serves all of them."""

    name: str
    interface_version: int
    """The version of this protocol that the provider was written for: the number, not `INTERFACE_VERSION`."""

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Return the flow of one call."""
        ...

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event] | Flow[ConverseResponse]:
        """Return how to stream one call; a flow is run and its response replayed as events.

        Called once for every attempt, so that each has a fresh decoder.
        """
        ...
