"""A Bedrock Runtime endpoint on this machine: the service's HTTP protocol in front of a model of your choice.

::

    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator:
        client = boto3.client("bedrock-runtime", endpoint_url=emulator.url, ...)

One request passes: authentication, recorded exchanges, routing by the reference model's HTTP bindings, validation
against its shapes, the model. Everything that leaves has the service's form, refusals included.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast
from weakref import WeakSet

import anyio
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ..errors import InvalidModelIdError, InvalidRequestError, ServiceError, service_error
from ..model_id import parse_model_id
from ..types import JSONValue
from .account import EmulatorAccount, partition_of
from .answers import HttpModel
from .authentication import Authentication, CredentialsLike
from .control_plane import ControlPlane
from .guardrails import GuardrailRules
from .jobs import Jobs
from .models import EmulatorModel, HasCompanions
from .object_store import MemoryObjectStore, ObjectStore
from .operations import ACCOUNT_OPERATIONS, OPERATIONS, AccountCall, ModelCall
from .received import ReceivedRequest
from .registry import ServedModel
from .responses import Call, error_answer, front_end_error, send
from .script import ANY_MODEL_ID, ScriptedModel
from .validation import Route, read_request, routes

__all__ = ["BedrockEmulator"]

_CLOSING_S: Final = 5.0
_INVALID_MODEL_ID: Final = "The provided model identifier is invalid."

_Request: TypeAlias = tuple[web.BaseRequest, ReceivedRequest, JSONValue, int | None, float]
"""What every `Call` begins with."""


class _Server(web.Server):
    """aiohttp's server, with word of connections that go away; it tells nobody by itself."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        # Without cancellation a handler would learn of a lost client only at its next write.
        super().__init__(handler, handler_cancellation=True, access_log=None, auto_decompress=False)
        self._open: dict[RequestHandler, WeakSet[ReceivedRequest]] = {}
        self._all_closed = asyncio.Event()

    def note(self, connection: RequestHandler, received: ReceivedRequest) -> None:
        """Let the request know when its connection goes away, which may have happened by now."""
        if connection in self._open:
            self._open[connection].add(received)
        else:
            received.mark_connection_closed()

    async def break_connections(self) -> None:
        """Close every connection and return when the last one is closed."""
        for connection in list(self._open):
            if connection.transport is not None:
                connection.transport.abort()
        if self._open:
            self._all_closed.clear()
            await self._all_closed.wait()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = WeakSet()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        for received in list(self._open.pop(handler, ())):
            received.mark_connection_closed()
        if not self._open:
            self._all_closed.set()


class BedrockEmulator:
    """A server that speaks Bedrock Runtime's wire protocol; use it with ``async with``, or start() and aclose().

    ``models`` answer to their ``model_ids`` (``"*"`` to any that is no other's), with a geography prefix and as
    foundation-model or inference-profile ARN too; of two with the same id the first one answers. None serves a
    `ScriptedModel`. What a model brings as its ``companions`` is served too. The emulator closes its models when it is
    closed.

    With ``credentials`` (objects or tuples of key id, secret and session token) or ``api_keys`` only requests signed
    with these are accepted, within five minutes of ``clock``; with neither, everything is. ``account`` is what the
    control plane (bedrock, served at the same URL) tells beside the models, and what may not be called. ``host`` must
    be a loopback address unless ``allow_remote`` is true. ``port`` 0 takes a free one. With ``ssl_context`` it serves
    TLS.

    Guardrails find what ``guardrail`` says, by default nothing. Jobs write their output to ``object_store``, by default
    to memory, and last as long as the clock and their scripts say; see `JobScript`.

    ``padding_seed`` makes the padding of streams reproducible: every stream of an emulator is padded the same way;
    None sends none, as for some models of the service. ``requests`` holds the last ``keep_requests`` requests.
    """

    def __init__(
        self,
        models: Iterable[ServedModel] | None = None,
        *,
        credentials: Sequence[CredentialsLike] | None = None,
        api_keys: Sequence[str] | None = None,
        account: EmulatorAccount | None = None,
        guardrail: GuardrailRules | None = None,
        object_store: ObjectStore | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "us-east-1",
        ssl_context: ssl.SSLContext | None = None,
        allow_remote: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        padding_seed: int | None = 0,
        keep_requests: int = 1000,
    ) -> None:
        """Prepare the server; nothing listens yet. Raises InvalidRequestError for a remote host or what is no model."""
        if not allow_remote and not _is_loopback(host):
            raise InvalidRequestError(
                f"the emulator listens on loopback only, and {host!r} is not a loopback address.",
                path="host",
                hint="Use 127.0.0.1, or pass allow_remote=True where the network around this machine is trusted.",
            )
        self.requests: deque[ReceivedRequest] = deque(maxlen=keep_requests)
        self.region = region
        self._models: list[ServedModel] = [ScriptedModel.text()] if models is None else list(_served(models))
        self._http_models = [model for model in self._models if isinstance(model, HttpModel)]
        # Backwards, so that of two models with the same id the first one answers.
        served = [model for model in reversed(self._models) if isinstance(model, EmulatorModel)]
        self._by_id = {model_id: model for model in served for model_id in model.model_ids}
        self._authentication = Authentication(region=region, credentials=credentials, api_keys=api_keys)
        self._account = account or EmulatorAccount()
        self._control_plane = ControlPlane(self._account, region, self._by_id)
        self._rules = guardrail or GuardrailRules()
        self.object_store: ObjectStore = MemoryObjectStore() if object_store is None else object_store
        self.jobs = Jobs(
            self.object_store,
            account_id=self._account.account_id,
            region=region,
            clock=clock,
            page_size=self._account.page_size,
        )
        self._host, self._port, self._ssl_context = host, port, ssl_context
        self._clock, self._padding_seed = clock, padding_seed
        self._routes: tuple[Route, ...] = ()
        self._server: _Server | None = None
        self._runner: web.ServerRunner | None = None
        self._handlers: set[asyncio.Task[Any]] = set()
        self._arrived = asyncio.Condition()
        self._arrivals = 0

    @property
    def url(self) -> str:
        """The endpoint URL, without a path. Raises InvalidRequestError before start() and after aclose()."""
        if self._runner is None:
            raise InvalidRequestError(
                "the emulator is not running.", hint="Use its url inside `async with`, or after start()."
            )
        host, port = self._runner.addresses[0][:2]
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Listen. Raises InvalidRequestError when it already runs or the port is taken, MissingExtraError."""
        if self._runner is not None:
            raise InvalidRequestError(f"the emulator already runs at {self.url}.", hint="Start another one instead.")
        self._routes = await anyio.to_thread.run_sync(routes)
        await anyio.to_thread.run_sync(self._control_plane.load)
        self._server = _Server(self._handle)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_CLOSING_S)
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl_context, backlog=1024).start()
        except OSError as exc:
            await self._stop()
            raise InvalidRequestError(
                f"the emulator cannot listen on {self._host}, port {self._port}: {exc.strerror or exc}.",
                path="port",
                hint="Choose another port, or 0 for a free one.",
            ) from exc
        except BaseException:
            await self._stop()
            raise

    async def aclose(self) -> None:
        """Stop listening, break the connections, end what is under way and close the models. Idempotent."""
        async with AsyncExitStack() as stack:  # which closes every model, even when one fails
            for model in self._models:
                stack.push_async_callback(_close, model)
            await self._stop()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None or self._server is None:
            return
        with anyio.CancelScope(shield=True):
            for site in list(runner.sites):
                await site.stop()
            if handlers := list(self._handlers):
                for task in handlers:
                    task.cancel()
                await asyncio.wait(handlers, timeout=_CLOSING_S)
            with anyio.move_on_after(_CLOSING_S):
                await self._server.break_connections()
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start and return the emulator. When it cannot start, its models are closed."""
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the emulator."""
        await self.aclose()

    async def wait_for_requests(self, count: int = 1) -> list[ReceivedRequest]:
        """Return the requests so far as soon as ``count`` have arrived since the start. Cancelling has no effect."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._arrivals >= count)
        return list(self.requests)

    # The way of one request.

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._handlers.add(task)
        try:
            return await self._answer(http)
        finally:
            self._handlers.discard(task)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        started = asyncio.get_running_loop().time()
        received = await self._receive(http)
        try:
            self._authentication.check(received, self._clock())
        except ServiceError as exc:
            return await send(http, received, front_end_error(received, exc))
        for http_model in self._http_models:
            if (answer := http_model.respond(received)) is not None:
                return await send(http, received, answer)
        try:
            if (told := self._control_plane.answer(received, self._check)) is not None:
                return await send(http, received, told)
            name, document, labels = self._route(received)
            self._check(received)
            call, answering = self._prepared(name, labels, (http, received, document, self._padding_seed, started))
        except ServiceError as exc:
            return await send(http, received, error_answer(received, exc))
        try:
            return await answering()
        except Exception as exc:
            if http.transport is None or http.transport.is_closing():
                raise ConnectionResetError("the client went away") from exc  # which aiohttp takes for that
            return await call.failed(exc)

    async def _receive(self, http: web.BaseRequest) -> ReceivedRequest:
        path, _, query = http.raw_path.partition("?")
        headers: dict[str, str] = {}
        for name, value in http.headers.items():
            lower = name.lower()
            headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
        received = ReceivedRequest(
            method=http.method, path=path, query=query, headers=headers, request_id=str(uuid.uuid4())
        )
        if self._server is not None:
            self._server.note(http.protocol, received)
        received.body = await http.content.read()
        self.requests.append(received)
        async with self._arrived:
            self._arrivals += 1
            self._arrived.notify_all()
        return received

    def _route(self, received: ReceivedRequest) -> tuple[str, JSONValue, Mapping[str, str]]:
        """Return the name of the operation, the body, and what the path names."""
        for route in self._routes:
            labels = route.match(received.method, received.path)
            if labels is None:
                continue
            name = received.operation = route.operation.name
            received.model_id = labels.get("modelId")
            if name not in OPERATIONS and name not in ACCOUNT_OPERATIONS:
                raise _unknown_operation(f"The emulator does not serve {name}.")
            document = read_request(route.operation, received, labels)
            if isinstance(document, dict) and isinstance(named := document.get("modelId"), str):
                received.model_id = named
            return name, document, labels
        raise _unknown_operation(
            f"{received.method} {received.path} is no operation of the service; a '/' in a model id travels as %2F."
        )

    def _prepared(
        self, name: str, labels: Mapping[str, str], request: _Request
    ) -> tuple[Call, Callable[[], Awaitable[web.StreamResponse]]]:
        """Return the call and what answers it."""
        if (account_operation := ACCOUNT_OPERATIONS.get(name)) is not None:
            account_call = AccountCall(
                *request,
                labels=labels,
                jobs=self.jobs,
                rules=self._rules,
                find_model=self._model,
                guardrail_arn=self._guardrail_arn,
            )
            return account_call, partial(account_operation, account_call)
        model_call = ModelCall(*request, model=self._model(labels["modelId"]))
        return model_call, partial(OPERATIONS[name], model_call)

    def _guardrail_arn(self, identifier: str) -> str:
        if identifier.startswith("arn:"):
            return identifier
        prefix = f"arn:{partition_of(self.region)}:bedrock:{self.region}:{self._account.account_id}"
        return f"{prefix}:guardrail/{identifier}"

    def _check(self, received: ReceivedRequest) -> None:
        self._account.check(received, self.region)

    def _model(self, model_id: str) -> EmulatorModel:
        try:
            parsed = parse_model_id(model_id)
        except InvalidModelIdError as exc:
            raise service_error("ValidationException", _INVALID_MODEL_ID) from exc
        names = [model_id, *self._control_plane.behind(parsed)]
        if parsed.kind in {"foundation-model", "inference-profile"}:
            names += [parsed.resource, parsed.base_model or ""]
        if parsed.region in {None, self.region}:
            for name in (*names, ANY_MODEL_ID):
                if (model := self._by_id.get(name)) is not None:
                    return model
        raise service_error("ValidationException", _INVALID_MODEL_ID)


def _served(models: Iterable[object]) -> Iterator[ServedModel]:
    """Yield the models and what they bring. Raises InvalidRequestError for what is no model."""
    for model in models:
        if not isinstance(model, EmulatorModel | HttpModel):
            raise InvalidRequestError(
                f"an object of type {type(model).__name__} cannot be served: it lacks a method of EmulatorModel.",
                path="models",
                hint="See bedrock_async.testing.EmulatorModel for the methods a model needs.",
            )
        yield model
        if isinstance(model, HasCompanions):
            yield from _served(model.companions)


async def _close(model: ServedModel) -> None:
    with anyio.move_on_after(_CLOSING_S, shield=True):
        await model.aclose()


def _unknown_operation(message: str) -> ServiceError:
    return service_error("UnknownOperationException", message, status=404)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
