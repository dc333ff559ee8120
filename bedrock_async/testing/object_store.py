"""The object stores to which the emulator's jobs write: memory, or S3."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from ..auth import Credentials
from ..errors import AccessDeniedError
from ..providers.invocations import S3Uri, parse_s3_uri
from ..transport.s3 import WRITING, S3Clients, storage_error

__all__ = ["MemoryObjectStore", "ObjectStore", "S3ObjectStore"]


@runtime_checkable
class ObjectStore(Protocol):
    """Stores objects."""

    async def put(self, uri: str, data: bytes) -> None:
        """Store ``data`` as the object ``s3://bucket/key``. Raises AccessDeniedError if that is not allowed."""
        ...


class MemoryObjectStore:
    """Stores objects in ``objects``, by their URI; nothing below a prefix in ``denied`` is accepted."""

    def __init__(self, *, denied: tuple[str, ...] = ()) -> None:
        self.objects: dict[str, bytes] = {}
        self.denied = denied

    async def put(self, uri: str, data: bytes) -> None:
        """Store the object. Raises AccessDeniedError below a denied prefix."""
        if uri.startswith(self.denied):
            raise AccessDeniedError("Access Denied", code="AccessDenied", status=403)
        self.objects[uri] = data


class S3ObjectStore:
    """Writes objects to S3, with aiobotocore if it is installed, otherwise with botocore in worker threads.

    ``endpoint_url`` is the URL of the S3 service, for example a moto server; close the store with `aclose` or ``async
    with``.
    """

    def __init__(self, endpoint_url: str, *, credentials: Credentials | None = None, region: str = "us-east-1") -> None:
        self._clients = S3Clients(region=region, endpoint_url=endpoint_url)
        self._credentials = credentials or Credentials("AKIDEXAMPLE", "emulator")

    async def put(self, uri: str, data: bytes) -> None:
        """Write the object. Raises AccessDeniedError, ObjectNotFoundError for a missing bucket, or TransportError."""
        place = parse_s3_uri(uri, path="uri")
        lease = await self._clients.lease(self._credentials)
        try:
            await lease.client.call("put_object", Bucket=place.bucket, Key=place.key, Body=data)
        except Exception as exc:
            raise storage_error(exc, S3Uri(place.bucket, place.key), WRITING) from exc
        finally:
            await lease.release()

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._clients.aclose()
