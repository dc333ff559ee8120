"""A Bedrock Runtime endpoint on this machine: the service's HTTP protocol in front of a model of your choice.

::

    async with BedrockEmulator([ScriptedModel.text("hello world")]) as emulator:
        client = boto3.client("bedrock-runtime", endpoint_url=emulator.url, ...)

A request passes through authentication, recorded exchanges, routing by the reference model's HTTP bindings, validation
against its shapes, and the model. All responses have the service's form, including errors.
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
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, cast
from weakref import WeakSet

import anyio
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from ..errors import InvalidModelIdError, InvalidRequestError, MissingExtraError, ServiceError, service_error
from ..model_id import parse_model_id
from ..types import JSONValue
from .account import EmulatorAccount, partition_of
from .answers import Control, HttpAnswer, HttpModel
from .authentication import Authentication, CredentialsLike
from .chaos import Chaos
from .control_plane import ControlPlane
from .duplex import DuplexModel, DuplexSession, unsupported
from .frames import Padding
from .guardrails import GuardrailRules
from .jobs import Jobs
from .models import EmulatorModel, HasCompanions
from .object_store import MemoryObjectStore, ObjectStore
from .operations import ACCOUNT_OPERATIONS, OPERATIONS, AccountCall, ModelCall
from .received import ReceivedRequest
from .registry import ServedModel
from .responses import Call, as_service_error, error_answer, front_end_error, send
from .script import ANY_MODEL_ID, ScriptedModel
from .validation import Route, read_request, routes

if TYPE_CHECKING:
    from .http2 import Http2Stream, PortOfBoth

__all__ = ["BedrockEmulator"]

_CLOSING_S: Final = 5.0
_INVALID_MODEL_ID: Final = "The provided model identifier is invalid."
_DUPLEX: Final = "InvokeModelWithBidirectionalStream"

_Request: TypeAlias = tuple[web.BaseRequest, ReceivedRequest, JSONValue, int | None, float]
"""The first fields of every `Call`."""


class _Server(web.Server):
    """aiohttp's server, which also reports lost connections; aiohttp itself does not."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        # Without cancellation, a handler would notice a lost client only at its next write.
        super().__init__(handler, handler_cancellation=True, access_log=None, auto_decompress=False)
        self._open: dict[RequestHandler, WeakSet[ReceivedRequest]] = {}
        self._all_closed = asyncio.Event()

    def note(self, connection: RequestHandler, received: ReceivedRequest) -> None:
        """Notify the request when its connection is lost, which may already have happened."""
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

    ``models`` answer to their ``model_ids`` (``"*"``: to any id that no other model claims), also with a geography
    prefix and as a foundation-model or inference-profile ARN; of two models with the same id, the first one answers.
    None serves a `ScriptedModel`. A model's ``companions`` are served, too. The emulator closes its models when it is
    closed.

    With ``credentials`` (objects or tuples of key id, secret and session token) or ``api_keys``, only requests signed
    with these are accepted, within five minutes of ``clock``; with neither, all requests are. ``account`` is what the
    control plane (bedrock, served at the same URL) knows besides the models, and which calls it denies. ``host`` must
    be a loopback address unless ``allow_remote`` is true. ``port`` 0 picks a free one. With ``ssl_context``, the
    emulator serves TLS.

    With the extra ``bidirectional``, the same port also speaks HTTP/2: to clients that start with it, or negotiate it
    over TLS (ALPN, for which ``ssl_context`` is configured). Conversations need it; a model answers them with its
    method `bidirectional` (`DuplexModel`), and events are verified like requests.

    Guardrails find what ``guardrail`` says, by default nothing. Jobs write their output to ``object_store``, by default
    to memory, and take as long as the clock and their scripts say; see `JobScript`.

    ``padding_seed`` makes the padding of streams reproducible: every stream of an emulator is padded the same way;
    None sends no padding, as for some models of the service. ``chaos`` makes requests fail. ``requests`` contains the
    last ``keep_requests`` requests.
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
        chaos: Chaos | None = None,
        keep_requests: int = 1000,
    ) -> None:
        """Prepare the server without listening. Raises InvalidRequestError for a remote host or an invalid model."""
        if not allow_remote and not _is_loopback(host):
            raise InvalidRequestError(
                f"the emulator listens on loopback only, and {host!r} is not a loopback address.",
                path="host",
                hint="Use 127.0.0.1, or pass allow_remote=True if the network around this machine is trusted.",
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
        self._chaos = chaos
        self._routes: tuple[Route, ...] = ()
        self._server: _Server | None = None
        self._both: PortOfBoth | None = None
        self._listener: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[Any]] = set()
        self._arrived = asyncio.Condition()
        self._arrivals = 0

    def __repr__(self) -> str:
        where = "not running" if self._listener is None else repr(self.url)
        return f"BedrockEmulator({where}, model_ids={[*self._by_id]!r})"

    @property
    def url(self) -> str:
        """The endpoint URL, without a path. Raises InvalidRequestError before start() and after aclose()."""
        if self._listener is None:
            raise InvalidRequestError(
                "the emulator is not running.", hint="Use its url inside `async with`, or after start()."
            )
        host, port = self._listener.sockets[0].getsockname()[:2]
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Listen. Raises InvalidRequestError if it is already running or the port is taken, and MissingExtraError."""
        if self._listener is not None:
            raise InvalidRequestError(
                f"the emulator is already running at {self.url}.", hint="Start another one instead."
            )
        self._routes = await anyio.to_thread.run_sync(routes)
        await anyio.to_thread.run_sync(self._control_plane.load)
        self._server = _Server(self._handle)
        self._both = await anyio.to_thread.run_sync(_port_of_both, self._server, self._serve_http2)
        if self._both is not None and self._ssl_context is not None:
            self._ssl_context.set_alpn_protocols(["h2", "http/1.1"])
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._both or self._server, self._host, self._port, ssl=self._ssl_context, backlog=1024
            )
        except OSError as exc:
            raise InvalidRequestError(
                f"the emulator cannot listen on {self._host}, port {self._port}: {exc.strerror or exc}.",
                path="port",
                hint="Choose another port, or 0 for a free one.",
            ) from exc

    async def aclose(self) -> None:
        """Stop listening, break the connections, end running requests and close the models. Idempotent."""
        async with AsyncExitStack() as stack:  # which closes every model, even if one fails
            for model in self._models:
                stack.push_async_callback(_close, model)
            await self._stop()

    async def _stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None or self._server is None:
            return
        with anyio.CancelScope(shield=True):
            listener.close()
            if handlers := list(self._handlers):
                for task in handlers:
                    task.cancel()
                await asyncio.wait(handlers, timeout=_CLOSING_S)
            with anyio.move_on_after(_CLOSING_S):
                if self._both is not None:
                    await self._both.break_connections()
                await self._server.break_connections()
            await self._server.shutdown(_CLOSING_S)

    async def __aenter__(self) -> Self:
        """Start and return the emulator. If it cannot start, its models are closed."""
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
        """Return the requests so far once ``count`` have arrived since the start. Cancelling has no side effect."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._arrivals >= count)
        return list(self.requests)

    # The way of one request.

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._handlers.add(task)
        try:
            return await self._answer(http)
        except ConnectionResetError:
            # aiohttp would log it as an unhandled error. The connection is closed: nobody would receive an answer.
            return web.Response(status=500)
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
            if self._chaos is not None and (plan := self._chaos.plan(received)) is not None:
                if (instead := plan.instead) is not None:
                    return await send(http, received, _answer_of(received, instead))
                call.fault = plan
                await plan.wait()
        except ServiceError as exc:
            return await send(http, received, error_answer(received, exc))
        try:
            return await answering()
        except Exception as exc:
            if http.transport is None or http.transport.is_closing():
                raise ConnectionResetError("the client went away") from exc  # which aiohttp treats as such
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
        await self._log(received)
        return received

    async def _log(self, received: ReceivedRequest) -> None:
        self.requests.append(received)
        async with self._arrived:
            self._arrivals += 1
            self._arrived.notify_all()

    # The same over HTTP/2.

    async def _serve_http2(self, stream: Http2Stream) -> None:
        from .http2 import forward

        path, _, query = stream.target.partition("?")
        for route in self._routes:
            if route.operation.name == _DUPLEX and (labels := route.match(stream.method, path)) is not None:
                break
        else:
            if self._server is not None:
                await forward(stream, self._server)
            return
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._handlers.add(task)
        received = ReceivedRequest(
            method=stream.method,
            path=path,
            query=query,
            headers=stream.headers,
            request_id=str(uuid.uuid4()),
            operation=_DUPLEX,
            model_id=labels["modelId"],
        )
        try:
            await self._log(received)
            await self._converse(stream, received)
        finally:
            self._handlers.discard(task)
            received.mark_connection_closed()

    async def _converse(self, stream: Http2Stream, received: ReceivedRequest) -> None:
        """Let a model answer the conversation that a request begins."""
        from .input_events import InputEvents

        padding = None if self._padding_seed is None else Padding(self._padding_seed)
        refused = None
        chain = None
        try:
            self._authentication.check(received, self._clock(), streaming=True)
            chain = self._authentication.event_chain(received)
        except ServiceError as exc:
            refused = front_end_error(received, exc)
        session = DuplexSession(stream, received, InputEvents(chain, self._clock), padding=padding)
        if refused is not None:
            await session.answer(refused)
            return
        try:
            self._check(received)
            model = self._model(received.model_id or "")
            if not isinstance(model, DuplexModel):
                raise unsupported()
            await model.bidirectional(session)
            if session.failure is not None:
                raise session.failure
        except ConnectionResetError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a model raises is answered, and logged unless it is an answer
            error = session.failure or as_service_error(exc, received)
            if session.accepted:
                await session.fail(error)
            else:
                await session.answer(error_answer(received, error))
        else:
            session.finish()

    def _route(self, received: ReceivedRequest) -> tuple[str, JSONValue, Mapping[str, str]]:
        """Return the name of the operation, the body, and the parameters of the path."""
        for route in self._routes:
            labels = route.match(received.method, received.path)
            if labels is None:
                continue
            name = received.operation = route.operation.name
            received.model_id = labels.get("modelId")
            if name not in OPERATIONS and name not in ACCOUNT_OPERATIONS:
                raise _unknown_operation(f"The emulator serves {name} over HTTP/2 only (extra 'bidirectional').")
            document = read_request(route.operation, received, labels)
            if isinstance(document, dict) and isinstance(named := document.get("modelId"), str):
                received.model_id = named
            return name, document, labels
        raise _unknown_operation(
            f"{received.method} {received.path} is not an operation of the service; a '/' in a model id is sent as %2F."
        )

    def _prepared(
        self, name: str, labels: Mapping[str, str], request: _Request
    ) -> tuple[Call, Callable[[], Awaitable[web.StreamResponse]]]:
        """Return the call and the method that answers it."""
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


def _port_of_both(http1: _Server, serve: Callable[[Http2Stream], Awaitable[None]]) -> PortOfBoth | None:
    """Return the switch between HTTP/2 and HTTP/1.1, None if h2 is not installed."""
    try:
        from .http2 import PortOfBoth
    except MissingExtraError:
        return None
    return PortOfBoth(http1, serve)


def _served(models: Iterable[object]) -> Iterator[ServedModel]:
    """Yield the models and their companions. Raises InvalidRequestError for anything that is not a model."""
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


def _answer_of(received: ReceivedRequest, instead: HttpAnswer | Control | ServiceError) -> HttpAnswer | Control:
    return error_answer(received, instead) if isinstance(instead, ServiceError) else instead


def _unknown_operation(message: str) -> ServiceError:
    return service_error("UnknownOperationException", message, status=404)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
