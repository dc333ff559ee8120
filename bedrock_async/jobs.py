"""Asynchronous invocations as handles: wait for a job, read what it wrote to S3, list the jobs there are."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from random import Random
from typing import Final, Protocol, TypeVar

import anyio
from anyio import to_thread

from .errors import (
    AccessDeniedError,
    AsyncInvokeTimeoutError,
    BedrockError,
    InvalidRequestError,
    ObjectNotFoundError,
    ResourceNotFoundError,
    ResponseDecodeError,
    ValidationError,
)
from .features.arguments import check_seconds
from .providers.invocations import S3Uri, has_ended, output_folder, parse_invocation_arn, parse_s3_uri
from .providers.polling import PollSchedule
from .transport.objects import ObjectReader, ObjectStream
from .types import AsyncInvokePage, AsyncInvokeSummary, JSONValue, ResponseMeta

__all__ = ["AsyncInvokeJob", "AsyncInvokeListing", "AsyncInvokeResult", "OutputObject"]

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[object]]

_LEAST_S: Final = 1.0
"""How long the last question of a wait may take when its time is up."""
_LARGEST_PAGE: Final = 1000  # MaxResults of the service model


class Poll(Protocol):
    """Asks the service for the state of one job, within ``limit_s`` seconds."""

    async def __call__(self, limit_s: float | None) -> AsyncInvokeSummary:
        """Return the state. Raises as every call does."""
        ...


class AsyncInvokeJob:
    """A job of StartAsyncInvoke: ask for its state, wait for its end, read its output.

    ::

        job = await client.start_async_invoke(model, model_input, output_s3_uri="s3://bucket/videos")
        result = await job.result(timeout_s=1800)
        await result.save("video.mp4")

    The job runs at the service and goes on whatever happens here: keep `arn`, and ``client.async_invoke_job(arn)``
    gives the same handle in another process. ``model`` and ``output_s3_uri`` are None where the job was taken up by its
    ARN and nobody has asked for its state yet. ``meta`` tells of the call that started it.
    """

    def __init__(
        self,
        arn: str,
        *,
        poll: Poll,
        objects: ObjectReader,
        max_bytes: int,
        model: str | None = None,
        output_s3_uri: str | None = None,
        meta: ResponseMeta | None = None,
        random: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        """Make a handle; BedrockClient does that. Raises InvalidRequestError for anything but an invocation's ARN."""
        self._arn = parse_invocation_arn(arn)
        self.model = model
        self.output_s3_uri = output_s3_uri
        self.meta = meta
        self._poll, self._objects, self._max_bytes = poll, objects, max_bytes
        self._random, self._clock, self._sleep = random or Random(), clock, sleep  # noqa: S311 - spreads waits

    @property
    def arn(self) -> str:
        """The ARN, which finds the job again from anywhere."""
        return self._arn.raw

    @property
    def invocation_id(self) -> str:
        """The last part of the ARN, and the name of the folder that the output is in."""
        return self._arn.invocation_id

    def __repr__(self) -> str:
        """Return the ARN."""
        return f"AsyncInvokeJob({self.arn!r})"

    async def status(self) -> str:
        """Ask for the status now: ``"InProgress"``, ``"Completed"``, ``"Failed"``, or one that is new."""
        return (await self.summary()).status or ""

    async def summary(self) -> AsyncInvokeSummary:
        """Ask for the whole state now: status, times, failure message, output. A failed job is no error here.

        Raises ServiceError when the service refuses or does not know the job, TransportError, CallTimeoutError.
        Source: GetAsyncInvoke of the Amazon Bedrock Runtime API, 2023-09-30.
        """
        return await self._ask(None)

    async def wait(self, *, timeout_s: float | None = None) -> AsyncInvokeSummary:
        """Return the state of the job once it is complete, asking every half second at first, later every 15 seconds.

        After throttling, lost connections and other passing failures it asks again, up to ten times in a row.
        Cancelling ends the waiting, not the job. Raises AsyncInvokeFailedError, with the service's message, when the
        job fails, AsyncInvokeTimeoutError after ``timeout_s`` seconds (None: never), ServiceError as `summary`, and
        InvalidRequestError for a ``timeout_s`` that is no number.
        """
        check_seconds("timeout_s", timeout_s, hint="Pass timeout_s=1800, or None to wait for as long as it takes.")
        started = self._clock()
        schedule = PollSchedule(self._random)
        while True:
            try:
                left_s = self._left_s(started, timeout_s)
                summary = await self._ask(None if left_s is None else max(left_s, _LEAST_S))
            except BedrockError as exc:
                schedule.failed(exc)
            else:
                schedule.answered()
                if has_ended(summary):
                    return summary
            left_s = self._left_s(started, timeout_s)
            if left_s is not None and left_s <= 0:
                raise self._out_of_time(timeout_s or 0.0)
            delay_s = schedule.next_s()
            await self._sleep(delay_s if left_s is None else min(delay_s, left_s))

    async def result(self, *, timeout_s: float | None = None) -> AsyncInvokeResult:
        """Wait for the end of the job and return its output, listed but not read yet.

        Raises as `wait`; ObjectNotFoundError when the job is complete and has no output, AccessDeniedError, which
        names bucket and permission, when S3 refuses, MissingExtraError without a library of AWS, CredentialsError for
        an API key, which S3 does not know.
        """
        summary = await self.wait(timeout_s=timeout_s)
        folder = self._folder(summary)
        owner = _owner(summary)
        stored = await self._objects.list(f"{folder}/", owner=owner)
        # Consoles make an object of no bytes for a folder.
        outputs = [
            OutputObject(each.key[len(folder.key) + 1 :], each.size, each.s3_uri, each.last_modified)
            for each in stored
            if not each.key.endswith("/")
        ]
        if not outputs:
            raise ObjectNotFoundError(
                f"the asynchronous invocation {self.arn} is complete, but there is no output in {folder}.",
                s3_uri=str(folder),
                hint="It was removed, perhaps by a lifecycle rule of the bucket: start the job again.",
            )
        return AsyncInvokeResult(summary, str(folder), outputs, self._objects, max_bytes=self._max_bytes, owner=owner)

    async def _ask(self, limit_s: float | None) -> AsyncInvokeSummary:
        try:
            summary = await self._poll(limit_s)
        except (AccessDeniedError, ResourceNotFoundError, ValidationError) as exc:
            exc.hint = self._advice(exc)
            raise
        self.model = summary.model_arn or self.model
        self.output_s3_uri = summary.output_s3_uri or self.output_s3_uri
        return summary

    def _advice(self, exc: BedrockError) -> str:
        where = f"The job {self.arn} belongs to the account {self._arn.account} in {self._arn.region}"
        if isinstance(exc, AccessDeniedError):
            return f"{where}: use credentials of that account, and allow bedrock:GetAsyncInvoke on that resource."
        return (
            f"{where}: check the ARN and the credentials. The service forgets jobs after a time; the output is still "
            f"in its bucket, in the folder {self.invocation_id}."
        )

    def _left_s(self, started: float, timeout_s: float | None) -> float | None:
        return None if timeout_s is None else timeout_s - (self._clock() - started)

    def _out_of_time(self, timeout_s: float) -> AsyncInvokeTimeoutError:
        return AsyncInvokeTimeoutError(
            f"the asynchronous invocation {self.arn} had not ended after {timeout_s:g} s.",
            limit_s=timeout_s,
            invocation_arn=self.arn,
            hint="It continues: wait again, here or later with client.async_invoke_job(arn).",
        )

    def _folder(self, summary: AsyncInvokeSummary) -> S3Uri:
        told = summary.output_s3_uri or self.output_s3_uri
        if told is None:
            raise ResponseDecodeError(
                f"the service does not say where the output of {self.arn} is.",
                hint="Read it from the output_s3_uri that the job was started with.",
            )
        return output_folder(told, self.invocation_id)


def _owner(summary: AsyncInvokeSummary) -> str | None:
    config = summary.output_data_config
    s3 = config.s3_output_data_config if config is not None else None
    return s3.bucket_owner if s3 is not None else None


@dataclass(frozen=True, slots=True)
class OutputObject:
    """An object that a job wrote; ``name`` is its key below the job's folder, ``size`` is in bytes."""

    name: str
    size: int
    s3_uri: str
    last_modified: datetime | None = None


class AsyncInvokeResult:
    """The output of a job that is complete.

    ``outputs`` are its objects (names and sizes), ``summary`` the job's last state, ``output_s3_uri`` the folder. Where
    a method takes a ``name``, None means the main object: the one called ``output``, whatever its type, or the only one
    besides manifests and reports.
    """

    def __init__(
        self,
        summary: AsyncInvokeSummary,
        output_s3_uri: str,
        outputs: Sequence[OutputObject],
        objects: ObjectReader,
        *,
        max_bytes: int,
        owner: str | None = None,
    ) -> None:
        """Make a result of what is listed; `AsyncInvokeJob.result` does that."""
        self.summary = summary
        self.output_s3_uri = output_s3_uri
        self.outputs = tuple(outputs)
        self._objects, self._max_bytes, self._owner = objects, max_bytes, owner

    def __repr__(self) -> str:
        """Return the folder and the names in it."""
        return f"AsyncInvokeResult({self.output_s3_uri!r}, {[output.name for output in self.outputs]})"

    @property
    def main(self) -> OutputObject:
        """The main object. Raises InvalidRequestError where it is not clear which one that is."""
        named = [output for output in self.outputs if PurePosixPath(output.name).stem == "output"]
        content = [output for output in self.outputs if not _is_report(output.name)]
        for candidates in (named, content, self.outputs):
            if len(candidates) == 1:
                return candidates[0]
        raise InvalidRequestError(
            f"the job wrote {len(self.outputs)} objects, but none is the main one.",
            path="name",
            hint=f"Name one of them: {self._names()}.",
        )

    def open(self, name: str | None = None) -> ObjectStream:
        """Return an object as a stream of pieces, for ``async for`` or ``async with``; see `ObjectStream`.

        Raises ObjectNotFoundError for a name that is not among the outputs.
        """
        return self._objects.open(self._output(name).s3_uri, owner=self._owner)

    async def read(self, name: str | None = None) -> bytes:
        """Return an object whole. Raises ProtocolError when it is larger than ``Limits.max_response_bytes``."""
        return await self._objects.read(self._output(name).s3_uri, max_bytes=self._max_bytes, owner=self._owner)

    async def json(self, name: str | None = None) -> JSONValue:
        """Return an object as JSON. Raises ResponseDecodeError, with its beginning, when it is not JSON."""
        return await self.decoded(_read_json, name)

    async def decoded(self, decode: Callable[[str, bytes], T], name: str | None = None) -> T:
        """Return what ``decode(name, data)`` makes of an object: the way to typed output."""
        output = self._output(name)
        return decode(output.name, await self.read(output.name))

    async def save(self, path: str | os.PathLike[str], name: str | None = None) -> Path:
        """Write an object to a file, piece by piece, and return its path; in a folder it keeps its name.

        The file appears when it is complete: until then, and when it fails or is cancelled, what was there stays.
        Raises as `open`, and OSError when the file cannot be written.
        """
        output = self._output(name)
        target = Path(path)
        if await to_thread.run_sync(target.is_dir):
            target /= PurePosixPath(output.name).name
        await _write(self.open(output.name), target)
        return target

    async def save_all(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write every object to a file below ``folder``, which is made, and return their paths.

        Raises InvalidRequestError, before anything is written, for a name that leads out of the folder.
        """
        root = Path(folder)
        targets = [root / _inside(output.name) for output in self.outputs]
        for output, target in zip(self.outputs, targets, strict=True):
            await anyio.Path(target.parent).mkdir(parents=True, exist_ok=True)
            await _write(self.open(output.name), target)
        return targets

    def _output(self, name: str | None) -> OutputObject:
        if name is None:
            return self.main
        for output in self.outputs:
            if output.name == name:
                return output
        raise ObjectNotFoundError(
            f"the job wrote no object {name!r}.",
            s3_uri=str(parse_s3_uri(self.output_s3_uri, path="output_s3_uri").below(name)),
            hint=f"It wrote: {self._names()}.",
        )

    def _names(self) -> str:
        return ", ".join(f"{output.name} ({output.size} bytes)" for output in self.outputs)


def _is_report(name: str) -> bool:
    """Tell whether an object says how it went and is not what was made.

    Video models write manifest.json, and generation-status.json or video-generation-status.json.
    [Amazon Nova user guide, "Video generation access and usage", which has both names]
    """
    return name == "manifest.json" or name.endswith("-status.json")


def _read_json(name: str, data: bytes) -> JSONValue:
    try:
        value: JSONValue = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ResponseDecodeError(
            f"the output {name} of {len(data)} bytes is not JSON: {exc}.",
            body=data,
            hint="Read it with result.read() or result.save().",
        ) from exc
    return value


def _inside(name: str) -> PurePosixPath:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise InvalidRequestError(
            f"the output {name!r} would be written outside the folder.",
            path="folder",
            hint="Save it under another name: result.save(path, name).",
        )
    return relative


async def _write(stream: ObjectStream, target: Path) -> None:
    """Write the stream to a file beside the target, which then takes its place."""
    unfinished = anyio.Path(target.with_name(f".{target.name}-{secrets.token_hex(4)}.part"))
    try:
        async with stream, await unfinished.open("xb") as file:
            async for piece in stream:
                await file.write(piece)
        await unfinished.replace(target)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await unfinished.unlink(missing_ok=True)
        raise


class AsyncInvokeListing:
    """The jobs of an account, page by page behind ``async for``; see `BedrockClient.list_async_invokes`.

    ``next_token`` is where the page after the one being read begins: None before the first page unless it was given,
    and after the last.
    """

    def __init__(
        self,
        fetch: Callable[[str | None, int | None], Awaitable[AsyncInvokePage]],
        *,
        max_results: int | None = None,
        page_size: int | None = None,
        next_token: str | None = None,
    ) -> None:
        """List what ``fetch(next_token, page_size)`` gives; BedrockClient does that."""
        self.next_token = next_token
        self._fetch = fetch
        self._left = max_results
        self._page_size = page_size
        self._page: list[AsyncInvokeSummary] = []
        self._asking = False
        self._pages = 0
        self._seen: set[str] = set()

    def __aiter__(self) -> AsyncIterator[AsyncInvokeSummary]:
        """Return itself: a listing is read once."""
        return self

    async def __anext__(self) -> AsyncInvokeSummary:
        """Return the next job, asking for the next page where one is due.

        Cancelling loses nothing: the page is asked for again. Raises ValidationError for a token that has expired, and
        as every call does; the next call asks once more. Raises InvalidRequestError while another task is waiting for
        a page.
        """
        if self._asking:
            raise InvalidRequestError(
                "another task is already waiting for the next page of this listing.",
                hint="Let one task read it and hand the jobs on, or make a listing for each.",
            )
        if self._left == 0:
            raise StopAsyncIteration
        while not self._page:
            if self._pages and self.next_token is None:
                raise StopAsyncIteration
            self._asking = True
            try:
                await self._next_page()
            finally:
                self._asking = False
        if self._left is not None:
            self._left -= 1
        return self._page.pop()

    async def _next_page(self) -> None:
        sizes = [size for size in (self._left, self._page_size) if size is not None]
        token = self.next_token
        try:
            page = await self._fetch(token, min(*sizes, _LARGEST_PAGE) if sizes else None)
        except ValidationError as exc:
            if token is not None:
                exc.hint = "Page tokens expire, and are valid only for the same filters: start the listing again."
            raise
        self._pages += 1
        self.next_token = page.next_token
        if self.next_token is not None and self.next_token in self._seen:
            raise ResponseDecodeError(
                f"the list of jobs is cyclic: page {self._pages} refers back to an earlier one.",
                hint="Check the endpoint, or start the listing again.",
            )
        self._seen |= {self.next_token} if self.next_token is not None else set()
        self._page = list(reversed(page.async_invoke_summaries or ()))
