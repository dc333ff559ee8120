"""Reads S3 objects: whole or piece by piece; and lists them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import anyio
import msgspec

from ..errors import InvalidRequestError, ProtocolError, StreamError
from ..providers.invocations import S3Uri, parse_s3_uri
from .s3 import LISTING, READING, S3Clients, S3Lease, storage_error

if TYPE_CHECKING:
    from ..auth import Credentials

__all__ = ["ObjectBody", "ObjectReader", "ObjectStream", "S3ObjectReader", "StoredObject"]

_PIECE_BYTES: Final = 256 * 1024
_CLOSING_S: Final = 5.0


class StoredObject(msgspec.Struct, frozen=True):
    """An object as listed by S3; ``size`` is in bytes."""

    s3_uri: str
    key: str
    size: int
    last_modified: datetime | None = None


class ObjectBody(Protocol):
    """The body of an object while it is read."""

    size: int | None
    """The size of the whole content in bytes, if the store reports it."""

    async def receive(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ConnectionLostError when the content is incomplete."""
        ...

    async def aclose(self) -> None:
        """Release the connection. Idempotent."""
        ...

    def abort(self) -> None:
        """Release the connection without waiting. Idempotent, never raises."""
        ...


class ObjectReader(Protocol):
    """Reads S3 objects for a client."""

    async def read(self, s3_uri: str, *, max_bytes: int, owner: str | None = None) -> bytes:
        """Return the whole object. Raises ObjectNotFoundError, AccessDeniedError, ProtocolError beyond ``max_bytes``.

        ``owner`` is the account that must own the bucket. Cancelling closes the connection.
        """
        ...

    def open(self, s3_uri: str, *, owner: str | None = None) -> ObjectStream:
        """Return the object as a stream of pieces; the request is sent when the first one is requested."""
        ...

    async def list(self, s3_uri: str, *, owner: str | None = None) -> Sequence[StoredObject]:
        """Return the objects whose URI starts with ``s3_uri``, sorted by key."""
        ...

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        ...


class ObjectStream:
    """The content of one object: ``async for piece in stream``.

    The request is sent for the first piece, or on entering ``async with``. The connection is closed on leaving ``async
    with``, on an error, on cancellation, and when the last reference is dropped (``break`` out of a bare ``async
    for``); closing the stream while it opens ends that at once. Only one task may read at a time; another gets
    StreamError.
    """

    def __init__(self, opener: Callable[[], Awaitable[ObjectBody]]) -> None:
        """Read the body that ``opener`` returns."""
        self._opener = opener
        self._body: ObjectBody | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: anyio.CancelScope | None = None
        self._busy = False
        self._closed = False

    def __del__(self) -> None:
        """Close the connection when the last reference is dropped."""
        body, loop = self.__dict__.get("_body"), self.__dict__.get("_loop")
        if body is None or loop is None or self._closed or loop.is_closed():
            return
        # The garbage collector may run in any thread; sockets belong to the event loop's.
        loop.call_soon_threadsafe(body.abort)

    @property
    def size(self) -> int | None:
        """The size of the whole object in bytes; None before it is opened, and if the store does not report it."""
        return self._body.size if self._body is not None else None

    async def __aenter__(self) -> Self:
        """Send the request. Raises ObjectNotFoundError, AccessDeniedError, another ServiceError, or TransportError."""
        self._begin()
        try:
            await self._opened()
        finally:
            self._busy = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece of the content. Cancelling closes the stream."""
        if self._closed:
            raise StopAsyncIteration
        self._begin()
        try:
            body = await self._opened()
            piece = b"" if body is None else await body.receive()
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._busy = False
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Close the connection, whether or not everything was read. Idempotent."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._body is not None:
            await self._body.aclose()

    def _begin(self) -> None:
        if self._busy:
            raise StreamError(
                "another task is already waiting for the next piece of this object.",
                hint="Let one task iterate and hand the pieces on.",
            )
        self._busy = True

    async def _opened(self) -> ObjectBody | None:
        """Return the body, or None if the stream was closed, before or while it was opened."""
        if self._body is None and not self._closed:
            await self._open()
        return self._body

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        body: ObjectBody | None = None
        try:
            with anyio.CancelScope() as self._opening:
                body = await self._opener()
        finally:
            self._opening = None
        if not self._closed:
            self._body = body
        elif body is not None:
            await body.aclose()


class S3ObjectReader:
    """Reads S3 objects with the credentials that ``credentials`` returns, called anew for every object."""

    def __init__(self, clients: S3Clients, credentials: Callable[[], Awaitable[Credentials]]) -> None:
        self._clients = clients
        self._credentials = credentials

    async def read(self, s3_uri: str, *, max_bytes: int, owner: str | None = None) -> bytes:
        """Return the whole object; see `ObjectReader.read`."""
        pieces: list[bytes] = []
        total = 0
        async with self.open(s3_uri, owner=owner) as stream:
            _refuse_large(stream.size or 0, max_bytes, s3_uri)
            async for piece in stream:
                total += len(piece)
                _refuse_large(total, max_bytes, s3_uri)
                pieces.append(piece)
        return b"".join(pieces)

    def open(self, s3_uri: str, *, owner: str | None = None) -> ObjectStream:
        """Return the object as a stream. Raises InvalidRequestError if ``s3_uri`` is not the URI of an object."""
        uri = parse_s3_uri(s3_uri, path="s3_uri")
        if not uri.key:
            raise InvalidRequestError(f"{s3_uri} names a bucket but no object.", path="s3_uri")
        return ObjectStream(lambda: self._get(uri, owner))

    async def list(self, s3_uri: str, *, owner: str | None = None) -> Sequence[StoredObject]:
        """Return the objects whose URI starts with ``s3_uri``, from as many pages as there are."""
        uri = parse_s3_uri(s3_uri, path="s3_uri")
        found: list[StoredObject] = []
        parameters: dict[str, object] = {"Bucket": uri.bucket, "Prefix": uri.key, **_expected(owner)}
        lease = await self._clients.lease(await self._credentials())
        try:
            while True:
                page = await lease.client.call("list_objects_v2", **parameters)
                found += [_stored(uri.bucket, item) for item in page.get("Contents", ())]
                if not page.get("IsTruncated"):
                    return found
                parameters["ContinuationToken"] = page["NextContinuationToken"]
        except Exception as exc:
            raise storage_error(exc, uri, LISTING) from exc
        finally:
            await lease.release()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._clients.aclose()

    async def _get(self, uri: S3Uri, owner: str | None) -> ObjectBody:
        lease = await self._clients.lease(await self._credentials())
        try:
            answer = await lease.client.call("get_object", Bucket=uri.bucket, Key=uri.key, **_expected(owner))
        except BaseException as exc:
            await lease.release()
            if isinstance(exc, Exception):
                raise storage_error(exc, uri, READING) from exc
            raise
        return _S3Body(lease, uri, answer)


class _S3Body:
    """The body of a GetObject response."""

    def __init__(self, lease: S3Lease, uri: S3Uri, answer: Mapping[str, Any]) -> None:
        self.size: int | None = answer.get("ContentLength")
        self._lease: S3Lease | None = lease
        self._client, self._uri, self._body = lease.client, uri, answer["Body"]

    async def receive(self) -> bytes:
        try:
            return await self._client.receive(self._body, _PIECE_BYTES)
        except Exception as exc:
            raise storage_error(exc, self._uri, READING) from exc

    async def aclose(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            with anyio.move_on_after(_CLOSING_S, shield=True):
                await self._client.close_body(self._body)
            await lease.release()

    def abort(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._client.abort_body(self._body)
            lease.abandon()


def _expected(owner: str | None) -> dict[str, object]:
    return {} if owner is None else {"ExpectedBucketOwner": owner}


def _stored(bucket: str, item: Mapping[str, Any]) -> StoredObject:
    key: str = item["Key"]
    return StoredObject(str(S3Uri(bucket, key)), key, item.get("Size", 0), item.get("LastModified"))


def _refuse_large(size: int, max_bytes: int, s3_uri: str) -> None:
    if size > max_bytes:
        raise ProtocolError(
            f"the object {s3_uri} has at least {size} bytes; at most {max_bytes} are read into memory.",
            hint="Stream it to a file, or raise Limits.max_response_bytes.",
            sent=True,
        )
