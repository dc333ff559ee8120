"""An OpenAI-compatible endpoint on this machine, with canned answers, for tests of programs that use this provider.

::

    async with CannedEndpoint([CannedAnswer.stream({"choices": [...]}, done=True)]) as endpoint:
        provider = MantleProvider(endpoint.url)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

__all__ = ["CannedAnswer", "CannedEndpoint", "ReceivedRequest"]

_REQUEST_ID: Final = "a1b2c3d4-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class CannedAnswer:
    """The answer to one request; the pieces of the body are sent one by one."""

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def json(cls, value: object, *, status: int = 200, **headers: str) -> Self:
        """Return an answer of JSON; underscores in names of headers stand for hyphens."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls((json.dumps(value, ensure_ascii=False).encode(),), status, headers=named)

    @classmethod
    def error(cls, status: int, code: str | None, message: str, kind: str = "invalid_request_error") -> Self:
        """Return an error in OpenAI's form."""
        return cls.json({"error": {"code": code, "message": message, "param": None, "type": kind}}, status=status)

    @classmethod
    def stream(cls, *events: Mapping[str, Any], done: bool = False) -> Self:
        """Return a stream of events, one piece each; ``done`` ends it with ``[DONE]``, as chat completions do."""
        pieces = [b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events]
        return cls((*pieces, *([b"data: [DONE]\n\n"] if done else ())), content_type="text/event-stream")

    @classmethod
    def raw_stream(cls, body: bytes, *, size: int = 1024) -> Self:
        """Return a stream whose bytes are sent in pieces of ``size``."""
        pieces = tuple(body[start : start + size] for start in range(0, len(body), size))
        return cls(pieces, content_type="text/event-stream")


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that was received; ``headers`` have lower-case names."""

    path: str
    headers: Mapping[str, str]
    body: Any


class CannedEndpoint:
    """Answers every POST with the next of its answers, the last one again and again."""

    def __init__(self, answers: Iterable[CannedAnswer]) -> None:
        self.requests: list[ReceivedRequest] = []
        """The requests received, in order."""
        self.url = ""
        """The URL, without a path; empty until the endpoint runs."""
        self._answers = list(answers)
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening; streams that are under way are cut off."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(ReceivedRequest(request.path, headers, await request.json()))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        response = web.StreamResponse(status=answer.status, headers={"x-amzn-requestid": _REQUEST_ID, **answer.headers})
        response.content_type = answer.content_type
        await response.prepare(request)
        for piece in answer.pieces:
            await response.write(piece)
        await response.write_eof()
        return response
