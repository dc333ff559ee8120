"""S3 clients behind one interface: aiobotocore or aioboto3, or botocore or boto3 in worker threads.

The session that was given decides, or else what is installed. None of these is imported at import time or on the event
loop. Their own endpoint rules, region redirects and configuration (AWS_ENDPOINT_URL_S3, profiles) apply.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast

import anyio
import msgspec
from anyio import to_thread

from ..errors import (
    AccessDeniedError,
    BedrockError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    InvalidRequestError,
    MissingExtraError,
    ObjectNotFoundError,
    TransportError,
    service_error,
)
from ..providers.invocations import S3Uri

if TYPE_CHECKING:
    from ..auth import AwsSession, Credentials

__all__ = ["LISTING", "READING", "WRITING", "S3Client", "S3Clients", "S3Lease", "storage_error"]

_T = TypeVar("_T")

READING: Final = "s3:GetObject"
LISTING: Final = "s3:ListBucket"
WRITING: Final = "s3:PutObject"

_CLOSING_S: Final = 5.0


class S3Client(Protocol):
    """An open S3 client of any of the libraries."""

    async def call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        """Call the library's method of that name; return what it returns and raise what it raises."""
        ...

    async def receive(self, body: Any, max_bytes: int) -> bytes:  # noqa: ANN401 - a class of the library
        """Return the next piece of a streaming body."""
        ...

    async def close_body(self, body: Any) -> None:  # noqa: ANN401
        """Close a streaming body."""
        ...

    def abort_body(self, body: Any) -> None:  # noqa: ANN401
        """Close a streaming body as far as possible without waiting. Never raises."""
        ...

    async def aclose(self) -> None:
        """Close the client."""
        ...


class _AsyncClient:
    """A client of aiobotocore or aioboto3."""

    def __init__(self, client: Any, stack: AsyncExitStack) -> None:  # noqa: ANN401 - made at run time
        self._client, self._stack = client, stack

    async def call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await getattr(self._client, operation)(**parameters)
        return answer

    async def receive(self, body: Any, max_bytes: int) -> bytes:  # noqa: ANN401
        piece: bytes = await body.read(max_bytes)
        return piece

    async def close_body(self, body: Any) -> None:  # noqa: ANN401
        closing: object = body.close()
        if inspect.isawaitable(closing):  # aiobotocore over httpx
            await closing

    def abort_body(self, body: Any) -> None:  # noqa: ANN401
        if not inspect.iscoroutinefunction(body.close):
            body.close()

    async def aclose(self) -> None:
        await self._stack.aclose()


class _ThreadedClient:
    """A client of botocore or boto3; every step runs in a worker thread. Cancelling abandons the thread."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - made at run time
        self._client = client

    async def call(self, operation: str, **parameters: object) -> Mapping[str, Any]:
        method: Callable[..., Mapping[str, Any]] = getattr(self._client, operation)
        return await _in_thread(partial(method, **parameters))

    async def receive(self, body: Any, max_bytes: int) -> bytes:  # noqa: ANN401
        try:
            return await _in_thread(cast("Callable[[], bytes]", partial(body.read, max_bytes)))
        except asyncio.CancelledError:
            _hang_up(body)
            raise

    async def close_body(self, body: Any) -> None:  # noqa: ANN401
        # In a thread, because an abandoned thread that still reads holds the lock that close() waits for.
        await _in_thread(cast("Callable[[], object]", body.close))

    def abort_body(self, body: Any) -> None:  # noqa: ANN401
        body.close()

    async def aclose(self) -> None:
        self._client.close()


_Libraries: TypeAlias = Literal["asynchronous", "threaded"]


def _hang_up(body: Any) -> None:  # noqa: ANN401
    """Wake a thread that reads this body, as far as urllib3 (2.3 and later) supports it."""
    shutdown: Any = getattr(getattr(body, "_raw_stream", None), "shutdown", None)
    if shutdown is not None:
        with suppress(Exception):  # a body that has ended meanwhile need not be woken
            shutdown()


async def _in_thread(function: Callable[[], _T]) -> _T:
    return await to_thread.run_sync(function, abandon_on_cancel=True)


class S3Clients:
    """Opens S3 clients for credentials, from the given session or its own, and keeps the last one open.

    ``region`` is the assumed region of the buckets; the libraries follow S3's redirects to another one. ``profile`` is
    the profile of the configuration files, used without a session. ``endpoint_url`` replaces AWS's endpoint.
    """

    def __init__(
        self,
        *,
        region: str,
        session: AwsSession | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        self._region, self._session, self._profile, self._endpoint_url = region, session, profile, endpoint_url
        self._opened_session: tuple[Any, _Libraries] | None = None
        self._lock = asyncio.Lock()
        self._current: S3Lease | None = None
        self._closed = False

    async def lease(self, credentials: Credentials) -> S3Lease:
        """Return a client for these credentials; the caller must ``release`` it.

        Raises MissingExtraError when no AWS library is installed, TransportError when it cannot create a client, and
        ClientClosedError after `aclose`, even one that happened while the client was being created.
        """
        async with self._lock:
            self._check_open()
            current = self._current
            if current is None or current.credentials != credentials:
                fresh = S3Lease(await self._open(credentials), credentials)
                if self._closed:
                    await fresh.retire()
                self._check_open()
                self._current = fresh
                if current is not None:
                    await current.retire()
                current = fresh
            current.users += 1
            return current

    async def aclose(self) -> None:
        """Close the client once nobody uses it any more, and open no other. Idempotent."""
        self._closed = True
        current, self._current = self._current, None
        if current is not None:
            await current.retire()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the client is closed.", hint="Keep it open until everything is read.")

    async def _open(self, credentials: Credentials) -> S3Client:
        try:
            if self._opened_session is None:
                self._opened_session = await _in_thread(partial(_session, self._session, self._profile))
            session, libraries = self._opened_session
            make: Any = session.client if hasattr(session, "client") else session.create_client
            making = partial(
                make,
                "s3",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
                aws_session_token=credentials.session_token,
            )
            if libraries == "threaded":
                return _ThreadedClient(await _in_thread(making))
            stack = AsyncExitStack()
            return _AsyncClient(await stack.enter_async_context(making()), stack)
        except BedrockError:
            raise
        except Exception as exc:
            raise TransportError(
                f"the S3 client could not be created: {_said(exc)}",
                hint="Check the AWS configuration: profile, region, endpoint and proxies of S3.",
            ) from exc


class S3Lease(msgspec.Struct, eq=False):
    """An open client and its number of users. A retired client is closed by its last user."""

    client: S3Client
    credentials: Credentials
    users: int = 0
    retired: bool = False

    async def release(self) -> None:
        """Return the client."""
        self.users -= 1
        await self._settle()

    def abandon(self) -> None:
        """Return the client without waiting; a retired one is then left to the garbage collector."""
        self.users -= 1

    async def retire(self) -> None:
        """Close the client as soon as nobody uses it."""
        self.retired = True
        await self._settle()

    async def _settle(self) -> None:
        if self.retired and not self.users:
            with anyio.move_on_after(_CLOSING_S, shield=True):
                await self.client.aclose()


def _session(given: object, profile: str | None) -> tuple[Any, _Libraries]:
    """Return the session to use and the kind of its library. Blocks: imports the library and reads its data files."""
    packages = {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
    if packages & {"aioboto3", "aiobotocore"}:
        return _warmed(given), "asynchronous"
    if packages & {"boto3", "botocore"}:
        return given, "threaded"
    try:
        library: Any = importlib.import_module("aiobotocore.session")
        return _warmed(library.AioSession(profile=profile)), "asynchronous"
    except ImportError:
        pass
    try:
        library = importlib.import_module("botocore.session")
    except ImportError as exc:
        raise MissingExtraError(
            "Reading from S3 needs aiobotocore or boto3, and neither is installed.",
            hint='Install it with: pip install "bedrock-async[aws]"',
        ) from exc
    return library.Session(profile=profile), "threaded"


def _warmed(session: Any) -> Any:  # noqa: ANN401 - a session of aiobotocore or aioboto3
    """Return the session with S3's data preloaded.

    aiobotocore reads a megabyte of JSON when it creates its first client, on the event loop: 85 ms, or 4 ms with the
    data preloaded.  [two shared cores]
    """
    loader: Any = getattr(session, "_session", session).get_component("data_loader")
    for name in ("_retry", "endpoints", "partitions", "sdk-default-configuration"):
        loader.load_data_with_path(name)
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", kind)
    return session


# Failures, translated into our errors.

_NOT_FOUND: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404"})
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"})
# Names of botocore's exceptions, from which those of all four libraries derive.
_NOT_CONNECTED: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError"}
)
_BROKEN_OFF: Final = frozenset({"HTTPClientError", "IncompleteReadError", "ResponseStreamingError"})


def storage_error(exc: Exception, uri: S3Uri, action: str) -> BedrockError:
    """Return our error for an exception that an AWS library raised when ``action`` was tried on ``uri``."""
    if isinstance(exc, BedrockError):
        return exc
    response: object = getattr(exc, "response", None)
    if isinstance(response, Mapping):
        return _refused(cast("Mapping[str, Any]", response), uri, action)
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    if "ParamValidationError" in kinds:
        return InvalidRequestError(f"{uri} cannot be requested: {_said(exc)}", path="s3_uri")
    if kinds & _NOT_CONNECTED:
        return ConnectError(
            f"S3 could not be reached for {uri}: {_said(exc)}",
            hint="Check the region of the bucket, AWS_ENDPOINT_URL_S3 and the network in between.",
        )
    if kinds & _BROKEN_OFF or isinstance(exc, OSError | asyncio.TimeoutError) or _module(exc) == "aiohttp":
        return ConnectionLostError(
            f"the connection to S3 broke off ({uri}): {_said(exc)}", hint="Try again.", sent=True
        )
    return TransportError(f"the S3 request for {uri} failed: {_said(exc)}", sent=True)


def _refused(response: Mapping[str, Any], uri: S3Uri, action: str) -> BedrockError:
    error, head = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    status, request_id = int(head.get("HTTPStatusCode", 0)), head.get("RequestId") or None
    if code in _NOT_FOUND:
        what = f"the bucket {uri.bucket} does not exist" if code == "NoSuchBucket" else f"there is no object {uri}"
        return ObjectNotFoundError(
            f"{what} ({code}).",
            s3_uri=str(uri),
            hint="It was removed (perhaps by a lifecycle rule) or never existed; list_async_invokes() shows where jobs "
            "write.",
        )
    if code in _DENIED:
        return AccessDeniedError(
            f"S3 refuses {action} (bucket {uri.bucket}, key {uri.key or '-'}): {message}",
            code=code,
            status=status or 403,
            request_id=request_id,
            hint=_permission(uri, action),
        )
    return service_error(code, f"S3, {uri}: {message}", status=status or None, request_id=request_id)


def _permission(uri: S3Uri, action: str) -> str:
    resource = f"the bucket {uri.bucket}" if action == LISTING else f"the object {uri}"
    advice = f"Allow {action} on {resource} in the principal's policy, and check the bucket's policy."
    if action == READING:
        advice += (
            f" Without {LISTING} on the bucket, S3 says the same about an object that does not exist; an object "
            "encrypted with a KMS key also needs kms:Decrypt."
        )
    return advice


def _module(exc: Exception) -> str:
    return type(exc).__module__.partition(".")[0]


def _said(exc: Exception) -> str:
    text = str(exc) or type(exc).__name__
    return text if text.endswith(".") else f"{text}."
