"""Asynchronous invocations of the emulator: jobs that run, end, and write their output to an object store.

Nothing happens by itself: a job advances when a request asks for it, by its script and the emulator's clock, so no test
waits for time to pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Protocol, Self, TypeAlias, TypedDict, Unpack, runtime_checkable

from ..errors import AccessDeniedError, BedrockError, ServiceError, service_error
from ..model_id import parse_model_id
from ..providers.invocations import S3Uri, parse_invocation_arn, parse_s3_uri
from ..types import JSONValue
from .account import partition_of
from .models import EmulatorModel
from .object_store import ObjectStore
from .script import ANY_MODEL_ID, ScriptedModel, text_events

__all__ = ["JobModel", "JobObjects", "JobScript", "Jobs", "RunsJobs"]

Members: TypeAlias = dict[str, JSONValue]

JobObjects: TypeAlias = Mapping[str, bytes] | Callable[[str], Mapping[str, bytes]]
"""What a job writes: contents by name in its folder, or a function that returns them for the folder's URI."""

_MANIFEST: Final = "manifest.json"
_MOST_RESULTS: Final = 1000
_TOKEN_LIFETIME: Final = timedelta(hours=1)
_NO_PERMISSION: Final = "Invalid Output Config/Credentials"  # printed in public threads


class JobOptions(TypedDict, total=False):
    """The keywords of `JobScript`, for the constructors that supply the objects."""

    failure: str | None
    polls: int
    seconds: float
    until: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobScript:
    """What one job does: what it writes, or why it fails, and how long it takes.

    It is in progress for the first ``polls`` requests for it, for ``seconds`` of the emulator's clock, and as long as
    ``until`` is false. Then it writes ``objects`` to its folder, or fails with the message ``failure``. The folder also
    contains the manifest.json that the service writes when a job begins.
    """

    objects: JobObjects = field(default_factory=lambda: MappingProxyType({"output.json": b"{}"}))
    failure: str | None = None
    polls: int = 1
    seconds: float = 0.0
    until: Callable[[], bool] = lambda: True

    @classmethod
    def json(cls, document: JSONValue, **options: Unpack[JobOptions]) -> Self:
        """Return a job that writes a document to output.json, as embedding models do; options as for the class."""
        return cls(objects={"output.json": json.dumps(document).encode()}, **options)

    @classmethod
    def video(cls, data: bytes, **options: Unpack[JobOptions]) -> Self:
        """Return a job that writes what Amazon Nova Reel does: the video, its one shot, and a report.

        [Amazon Nova user guide, "Video generation access and usage"]
        """

        def objects(folder: str) -> Mapping[str, bytes]:
            shots: JSONValue = [{"status": "SUCCESS", "location": f"{folder}/shot_0001.mp4"}]
            full: JSONValue = {"status": "SUCCESS", "location": f"{folder}/output.mp4"}
            report: JSONValue = {"schemaVersion": "1.0.0", "shots": shots, "fullVideo": full}
            return {
                "output.mp4": data,
                "shot_0001.mp4": data,
                "video-generation-status.json": json.dumps(report).encode(),
            }

        return cls(objects=objects, **options)


@runtime_checkable
class RunsJobs(Protocol):
    """What a model may implement in addition to `EmulatorModel`: its own asynchronous invocations.

    A job of a model without it answers like InvokeModel and writes the answer to output.json.
    """

    def job(self, model_input: Mapping[str, JSONValue]) -> JobScript:
        """Return the script of a job with this input. Raises ServiceError if it cannot begin."""
        ...


class JobModel(ScriptedModel):
    """A model whose jobs all follow one script, or the one that a function returns for a job's input.

    It answers every other operation with a text.
    """

    def __init__(
        self,
        script: JobScript | Callable[[Mapping[str, JSONValue]], JobScript],
        *,
        model_ids: Sequence[str] = (ANY_MODEL_ID,),
    ) -> None:
        super().__init__(text_events("This model runs jobs."), model_ids=model_ids)
        self._job = script

    def job(self, model_input: Mapping[str, JSONValue]) -> JobScript:
        """Return the script, or what the function returns for this input."""
        return self._job(model_input) if callable(self._job) else self._job


@dataclass(slots=True, eq=False)
class _Job:
    """A job and its progress."""

    arn: str
    order: int
    model_arn: str
    token: str | None
    fingerprint: str
    folder: S3Uri
    config: Mapping[str, JSONValue]
    tags: Sequence[JSONValue]
    script: JobScript
    submitted: datetime
    changed: datetime
    polls: int = 0
    settled: bool = False
    status: str = "InProgress"
    failure: str | None = None
    ended: datetime | None = None

    def members(self) -> Members:
        """Return the job as the service describes it."""
        members: Members = {
            "invocationArn": self.arn,
            "modelArn": self.model_arn,
            "clientRequestToken": self.token,
            "status": self.status,
            "failureMessage": self.failure,
            "submitTime": _text(self.submitted),
            "lastModifiedTime": _text(self.changed),
            "endTime": None if self.ended is None else _text(self.ended),
            # The service returns the folder of the job, not the prefix that was requested.  [user guide, code examples]
            "outputDataConfig": {"s3OutputDataConfig": {**self.config, "s3Uri": str(self.folder)}},
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Page:
    """Where a page begins, for which filters, and when its token was issued."""

    filters: tuple[tuple[str, str], ...]
    after: str
    issued: datetime


class Jobs:
    """All jobs of one emulator."""

    def __init__(
        self, store: ObjectStore, *, account_id: str, region: str, clock: Callable[[], datetime], page_size: int = 100
    ) -> None:
        self._store, self._account_id, self._region, self._clock = store, account_id, region, clock
        self._page_size = page_size
        self._jobs: dict[str, _Job] = {}
        self._by_token: dict[str, _Job] = {}
        self._pages: dict[str, _Page] = {}
        self._started = 0

    async def start(self, request: Mapping[str, Any], model: EmulatorModel) -> Members:
        """StartAsyncInvoke: begin a job, or return the one that began with the same token and the same request."""
        token: str | None = request.get("clientRequestToken")
        fingerprint = json.dumps({**request, "clientRequestToken": None}, sort_keys=True)
        if token is not None and (known := self._by_token.get(token)) is not None:
            if known.fingerprint != fingerprint:
                raise service_error(
                    "ConflictException", "The clientRequestToken was used for a request with other parameters."
                )
            return {"invocationArn": known.arn}
        job = self._job(request, await _script(model, request["modelInput"]), fingerprint)
        # Registered before anything is awaited: two equal concurrent requests are one job.
        self._jobs[job.arn] = job
        if token is not None:
            self._by_token[token] = job
        try:
            manifest: JSONValue = {"invocationArn": job.arn, "modelArn": job.model_arn}
            await self._store.put(str(job.folder.below(_MANIFEST)), json.dumps(manifest).encode())
        except BedrockError as exc:
            del self._jobs[job.arn]
            self._by_token.pop(token or "", None)
            raise service_error("ValidationException", _NO_PERMISSION) from exc
        return {"invocationArn": job.arn}

    async def get(self, arn: str) -> Members:
        """GetAsyncInvoke: advance the job, and describe it."""
        if (account := parse_invocation_arn(arn).account) != self._account_id:
            raise service_error(
                "AccessDeniedException",
                f"User: arn:aws:sts::{self._account_id}:assumed-role/emulator/session is not authorized to perform: "
                f"bedrock:GetAsyncInvoke on resource: {arn} because no resource-based policy of the account {account} "
                "allows the bedrock:GetAsyncInvoke action",
            )
        job = self._jobs.get(arn)
        if job is None:
            raise service_error("ValidationException", "The provided invocation ARN is not that of an invocation.")
        await self._advance(job)
        job.polls += 1
        return job.members()

    async def page(self, query: Mapping[str, str]) -> Members:
        """ListAsyncInvokes: advance all jobs, and describe a page of them."""
        for job in list(self._jobs.values()):
            await self._advance(job)
        found = self._filtered(query)
        filters = tuple(sorted((name, value) for name, value in query.items() if name not in _PAGING))
        start = self._start(query.get("nextToken"), filters, found)
        size = _size(query.get("maxResults"), self._page_size)
        page = found[start : start + size]
        members: Members = {"asyncInvokeSummaries": [job.members() for job in page]}
        if start + size < len(found):
            token = _digest("page", str(len(self._pages)), page[-1].arn)
            self._pages[token] = _Page(filters, page[-1].arn, self._clock())
            members["nextToken"] = token
        return members

    def tags(self, arn: str) -> Mapping[str, str]:
        """Return the tags of a job. Raises KeyError for an unknown one."""
        return {str(tag["key"]): str(tag["value"]) for tag in self._jobs[arn].tags if isinstance(tag, dict)}

    def _job(self, request: Mapping[str, Any], script: JobScript, fingerprint: str) -> _Job:
        self._started += 1
        number = self._started
        invocation_id = _digest("job", str(number), fingerprint)[:12]
        prefix = f"arn:{partition_of(self._region)}:bedrock:{self._region}"
        config: Mapping[str, JSONValue] = request["outputDataConfig"]["s3OutputDataConfig"]
        now = self._clock()
        model = parse_model_id(request["modelId"])
        return _Job(
            arn=f"{prefix}:{self._account_id}:async-invoke/{invocation_id}",
            order=number,
            model_arn=model.raw if model.region else f"{prefix}::foundation-model/{model.base_model or model.raw}",
            token=request.get("clientRequestToken"),
            fingerprint=fingerprint,
            folder=parse_s3_uri(config["s3Uri"], path="s3Uri").below(invocation_id),
            config=config,
            tags=request.get("tags") or [],
            script=script,
            submitted=now,
            changed=now,
        )

    async def _advance(self, job: _Job) -> None:
        now, script = self._clock(), job.script
        if job.settled or job.polls < script.polls or not script.until():
            return
        if (now - job.submitted).total_seconds() < script.seconds:
            return
        job.settled = True  # by this request, and by no other that arrives while the output is being written
        job.failure = script.failure
        if script.failure is None:
            folder = str(job.folder)
            objects = script.objects(folder) if callable(script.objects) else script.objects
            try:
                for name, data in objects.items():
                    await self._store.put(str(job.folder.below(name)), data)
            except BedrockError as exc:
                denied = isinstance(exc, AccessDeniedError)
                reason = "Access Denied" if denied else type(exc).__name__
                job.failure = f"The output could not be written to {folder}: {reason}"
        job.ended = job.changed = now
        job.status = "Completed" if job.failure is None else "Failed"

    def _filtered(self, query: Mapping[str, str]) -> list[_Job]:
        status = query.get("statusEquals")
        after, before = _time(query, "submitTimeAfter"), _time(query, "submitTimeBefore")
        found = [
            job
            for job in self._jobs.values()
            if (status is None or job.status == status)
            and (after is None or job.submitted > after)
            and (before is None or job.submitted < before)
        ]
        descending = query.get("sortOrder", "Descending") == "Descending"
        return sorted(found, key=lambda job: (job.submitted, job.order), reverse=descending)

    def _start(self, token: str | None, filters: tuple[tuple[str, str], ...], found: list[_Job]) -> int:
        if token is None:
            return 0
        page = self._pages.get(token)
        if page is None or page.filters != filters:
            raise service_error("ValidationException", "The provided next token is invalid.")
        if self._clock() - page.issued > _TOKEN_LIFETIME:
            raise service_error("ValidationException", "The provided next token has expired.")
        arns = [job.arn for job in found]
        return arns.index(page.after) + 1 if page.after in arns else 0


_PAGING: Final = frozenset({"nextToken", "maxResults"})


async def _script(model: EmulatorModel, model_input: Mapping[str, JSONValue]) -> JobScript:
    if isinstance(model, RunsJobs):
        return model.job(model_input)
    try:
        answer = await model.invoke(json.dumps(model_input).encode())
    except ServiceError as exc:
        return JobScript(failure=exc.message)
    return JobScript(objects={"output.json": answer})


def _size(text: str | None, page_size: int) -> int:
    if text is None:
        return page_size
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_RESULTS:
        raise service_error(
            "ValidationException",
            f"1 validation error detected: Value '{text[:20]}' at 'maxResults' failed to satisfy constraint: Member "
            f"must have value between 1 and {_MOST_RESULTS}",
        )
    return min(int(text), page_size)


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    if (text := query.get(name)) is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as exc:
        raise service_error("ValidationException", f"The value at '{name}' is not a timestamp.") from exc
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
