"""The operations that the emulator serves; to add one, write a function and add a row to the table.

A model with steps (`StepModel`) also controls bytes and connections; any other yields events or chunks.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast, runtime_checkable
from urllib.parse import parse_qsl

import anyio
from aiohttp import web

from ..errors import service_error
from ..types import JSONValue
from .answers import Control, Output, StepModel
from .fold import fold_wire_events
from .frames import Padding, WireEvent, chunk_frame, event_frame, frame_of, wire_json
from .guardrails import GuardrailRules
from .jobs import Jobs
from .models import EmulatorModel
from .received import ReceivedRequest
from .responses import Call

__all__ = ["ACCOUNT_OPERATIONS", "OPERATIONS", "AccountCall", "CountsInvokeTokens", "ModelCall"]

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class ModelCall(Call):
    """A valid request for the model named in its path."""

    model: EmulatorModel


@dataclass(slots=True, kw_only=True)
class AccountCall(Call):
    """A valid request about jobs or guardrails of the account.

    ``labels`` are the parameters of its path. ``find_model`` returns the model for an id, or raises ServiceError;
    ``guardrail_arn`` returns the ARN for the id of a guardrail.
    """

    labels: Mapping[str, str]
    jobs: Jobs
    rules: GuardrailRules
    find_model: Callable[[str], EmulatorModel]
    guardrail_arn: Callable[[str], str]

    @property
    def query(self) -> dict[str, str]:
        """The decoded query."""
        return dict(parse_qsl(self.received.query, keep_blank_values=True))


_ModelOperation: TypeAlias = Callable[[ModelCall], Awaitable[web.StreamResponse]]
_AccountOperation: TypeAlias = Callable[[AccountCall], Awaitable[web.StreamResponse]]

_CLOSING_S: Final = 5.0
_TOKEN_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "x-amzn-bedrock-input-token-count": ("inputTokens", "input_tokens", "prompt_tokens"),
    "x-amzn-bedrock-output-token-count": ("outputTokens", "output_tokens", "completion_tokens"),
}


@runtime_checkable
class CountsInvokeTokens(Protocol):
    """An optional extension of `EmulatorModel`: counting the tokens of a native body."""

    async def count_invoke_tokens(self, body: bytes) -> int:
        """Return the number of input tokens of an InvokeModel body."""
        ...


class _Frame(Protocol):
    def __call__(self, payload: WireEvent, /, *, padding: str | None = None) -> bytes: ...


async def _converse(call: ModelCall) -> web.StreamResponse:
    events: list[WireEvent] = []
    async with _closing(_converse_outputs(call)) as outputs:
        async for output in outputs:
            if isinstance(output, Mapping):
                events.append(output)
            elif output is not Control.HEAD:
                return await call.instead(output)
    folded = fold_wire_events(events)
    folded.setdefault("metrics", {"latencyMs": call.elapsed_ms()})
    return await call.answer(wire_json(folded))


async def _converse_stream(call: ModelCall) -> web.StreamResponse:
    return await _stream(call, _converse_outputs(call), frame_of, {})


async def _invoke(call: ModelCall) -> web.StreamResponse:
    _check_native(call.received)
    answer = b"{}"
    if isinstance(call.model, StepModel):
        async with _closing(call.model.steps(call.received)) as outputs:
            async for output in outputs:
                if isinstance(output, Mapping):
                    answer = json.dumps(dict(output), ensure_ascii=False, separators=(",", ":")).encode()
                elif output is not Control.HEAD:
                    return await call.instead(output)
    else:
        answer = await call.model.invoke(call.received.body)
    headers = {"x-amzn-bedrock-invocation-latency": str(call.elapsed_ms()), **_token_headers(answer)}
    return await call.answer(answer, headers)


async def _invoke_stream(call: ModelCall) -> web.StreamResponse:
    _check_native(call.received)
    headers = {"x-amzn-bedrock-content-type": "application/json"}
    if isinstance(call.model, StepModel):
        return await _stream(call, call.model.steps(call.received), chunk_frame, headers)
    return await _stream(call, _encoded_chunks(call), functools.partial(event_frame, "chunk"), headers)


async def _count_tokens(call: ModelCall) -> web.StreamResponse:
    counted = cast("dict[str, Any]", call.document)["input"]
    if "converse" in counted:
        count = await call.model.count_tokens(counted["converse"])
    elif isinstance(call.model, CountsInvokeTokens):
        count = await call.model.count_invoke_tokens(base64.b64decode(counted["invokeModel"]["body"]))
    else:
        raise service_error("ValidationException", "This model counts the tokens of Converse requests only.")
    return await call.answer(wire_json({"inputTokens": count}))


async def _apply_guardrail(call: AccountCall) -> web.StreamResponse:
    request = cast("dict[str, Any]", call.document)
    arn = call.guardrail_arn(call.labels["guardrailIdentifier"])
    version = call.labels["guardrailVersion"]
    answer = call.rules.apply(request, arn=arn, version=version, latency_ms=call.elapsed_ms())
    return await call.answer(wire_json(answer))


async def _invoke_guardrail_checks(call: AccountCall) -> web.StreamResponse:
    return await call.answer(wire_json(call.rules.check(cast("dict[str, Any]", call.document))))


async def _start_async_invoke(call: AccountCall) -> web.StreamResponse:
    request = cast("dict[str, Any]", call.document)
    return await call.answer(wire_json(await call.jobs.start(request, call.find_model(request["modelId"]))))


async def _get_async_invoke(call: AccountCall) -> web.StreamResponse:
    return await call.answer(wire_json(await call.jobs.get(call.labels["invocationArn"])))


async def _list_async_invokes(call: AccountCall) -> web.StreamResponse:
    return await call.answer(wire_json(await call.jobs.page(call.query)))


OPERATIONS: Final[Mapping[str, _ModelOperation]] = {
    "Converse": _converse,
    "ConverseStream": _converse_stream,
    "CountTokens": _count_tokens,
    "InvokeModel": _invoke,
    "InvokeModelWithResponseStream": _invoke_stream,
}
"""The operations for a model, by their names in the service model."""

ACCOUNT_OPERATIONS: Final[Mapping[str, _AccountOperation]] = {
    "ApplyGuardrail": _apply_guardrail,
    "GetAsyncInvoke": _get_async_invoke,
    "InvokeGuardrailChecks": _invoke_guardrail_checks,
    "ListAsyncInvokes": _list_async_invokes,
    "StartAsyncInvoke": _start_async_invoke,
}
"""The operations on jobs and guardrails, by their names in the service model."""


async def _stream(
    call: Call, outputs: AsyncIterator[Output], frame: _Frame, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send a frame for every event, each with its own write; the head is sent before the first one."""
    padding = None if call.padding_seed is None else Padding(call.padding_seed)
    async with (
        _closing(outputs),
        _closing(outputs if call.fault is None else call.fault.stream(outputs, frame)) as sent,
    ):
        async for output in sent:
            if isinstance(output, Mapping):
                data = frame(output, padding=padding.next() if padding else None)
            elif isinstance(output, bytes):
                data = output
            elif output is Control.HEAD:
                data = b""
            else:
                return await call.instead(output)
            response = await call.open_stream(headers)
            if data:
                await response.write(data)
            # Otherwise a model that never waits would block the loop, and never learn that the client is gone.
            await asyncio.sleep(0)
    response = await call.open_stream(headers)
    await response.write_eof()
    return response


@asynccontextmanager
async def _closing(iterator: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close a model's iterator on exit, in any case, waiting for it only for a limited time."""
    try:
        yield iterator
    finally:
        aclose: Callable[[], Awaitable[object]] | None = getattr(iterator, "aclose", None)
        if aclose is not None:
            with anyio.move_on_after(_CLOSING_S, shield=True):
                await aclose()


def _converse_outputs(call: ModelCall) -> AsyncIterator[Output]:
    if isinstance(call.model, StepModel):
        return call.model.steps(call.received)
    return call.model.converse_stream(cast("dict[str, JSONValue]", call.document))


async def _encoded_chunks(call: ModelCall) -> AsyncGenerator[Output]:
    async with _closing(call.model.invoke_stream(call.received.body)) as chunks:
        async for chunk in chunks:
            yield {"bytes": base64.b64encode(chunk).decode()}


def _check_native(received: ReceivedRequest) -> None:
    try:
        body = received.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise service_error("ValidationException", "Malformed input request, please reformat your input and try again.")


def _token_headers(answer: bytes) -> dict[str, str]:
    """Return the headers in which the service reports the token counts of a native response."""
    try:
        body: JSONValue = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return {}
    counts = {
        header: next((usage[name] for name in names if name in usage), None) for header, names in _TOKEN_HEADERS.items()
    }
    return {header: str(count) for header, count in counts.items() if count is not None}
