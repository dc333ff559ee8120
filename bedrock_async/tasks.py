"""What models do beside chatting: embeddings, ranking, images and videos, each in the words of the model's family."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import msgspec

from .errors import BedrockError, InvalidRequestError, PluginError, ResponseDecodeError
from .families import (
    Embeddings,
    EmbedRequest,
    Embeds,
    FamilyContext,
    GeneratedImage,
    GeneratedVideo,
    GeneratesImages,
    GeneratesVideo,
    ImageRequest,
    ModelFamily,
    NativeObject,
    NativeRequest,
    OutputModality,
    RankedDocument,
    RerankRequest,
    Reranks,
    VideoRequest,
    native_body,
)
from .families._encoding import check_output, checked_input, checked_name, checked_native, result_of, results_of
from .features.tasks import EmbedBatch, check_positive
from .jobs import AsyncInvokeJob, AsyncInvokeResult
from .providers import CallContext, Flow
from .providers.invoke import family_context, native_answer
from .providers.runtime import invoke
from .types import AsyncInvokeSummary, InvokeRequest, ResponseMeta

__all__ = [
    "GeneratedImages",
    "Ranking",
    "Task",
    "VideoJob",
    "embed",
    "generate_image",
    "in_batches",
    "rerank",
    "video_input",
]

T = TypeVar("T")

_INPUT: Final = re.compile(r"inputs\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents by how well they answer a query, the best first; ``index`` is a document's place in the request."""

    documents: Sequence[RankedDocument]
    meta: ResponseMeta


@dataclass(frozen=True, slots=True)
class GeneratedImages:
    """The images of one call, as bytes of their ``format``."""

    images: Sequence[GeneratedImage]
    meta: ResponseMeta


class Task(msgspec.Struct, frozen=True):
    """What a verb knows before it asks: the model and its family, the request but for its body, and the settings."""

    ctx: CallContext
    family: ModelFamily
    request: InvokeRequest
    settings: Mapping[str, Any]

    @property
    def told(self) -> FamilyContext:
        """What the family may know of the call."""
        return family_context(self.ctx)

    # Each raises InvalidRequestError for a model that is known to give something else, PluginError for a family that
    # does not do it.

    def embeds(self) -> Embeds:
        """Return the family as one that makes embeddings."""
        if not isinstance(family := self._with("embedding"), Embeds):
            raise self._unable("make embeddings")
        return family

    def reranks(self) -> Reranks:
        """Return the family as one that ranks documents."""
        if not isinstance(family := self._with("ranking"), Reranks):
            raise self._unable("rank documents")
        return family

    def generates_images(self) -> GeneratesImages:
        """Return the family as one that makes images."""
        if not isinstance(family := self._with("image"), GeneratesImages):
            raise self._unable("make images")
        return family

    def generates_video(self) -> GeneratesVideo:
        """Return the family as one that makes videos."""
        if not isinstance(family := self._with("video"), GeneratesVideo):
            raise self._unable("make videos")
        return family

    def _with(self, output: OutputModality) -> object:
        check_output(self.told, output)
        return self.family

    def _unable(self, does: str) -> PluginError:
        return PluginError(
            f"the family {self.family.name!r} does not {does}, which {self.ctx.model.raw} was asked to.",
            hint="Install a version of it that does, or use client.invoke() with the model's native body.",
        )


def embed(request: EmbedRequest, task: Task) -> Flow[Embeddings]:
    """InvokeModel for some inputs. Raises ResponseDecodeError for an answer with another number of vectors."""
    family, ctx = task.embeds(), task.told
    answer = yield from _invoked(task, "encode_embed", lambda: family.encode_embed(request, ctx))
    made = answer.read("decode_embed", family.decode_embed, Embeddings)
    if len(made.vectors) != len(request.inputs):
        raise ResponseDecodeError(
            f"the answer has {len(made.vectors)} vectors for {len(request.inputs)} inputs.",
            body=answer.raw,
            hint="They cannot be matched. Report the answer, the error's `body`, with the model id.",
        )
    return made if made.input_tokens is not None else replace(made, input_tokens=answer.input_tokens)


def rerank(request: RerankRequest, task: Task) -> Flow[list[RankedDocument]]:
    """InvokeModel for a query and documents. Raises ResponseDecodeError for a document that was not asked about."""
    family, ctx = task.reranks(), task.told
    answer = yield from _invoked(task, "encode_rerank", lambda: family.encode_rerank(request, ctx))
    ranked = answer.read_all("decode_rerank", family.decode_rerank, RankedDocument)
    for document in ranked:
        if not 0 <= document.index < len(request.documents):
            raise ResponseDecodeError(
                f"the answer ranks a document {document.index}, but {len(request.documents)} were sent.",
                body=answer.raw,
                hint="Report the answer, the error's `body`, with the model id.",
            )
    return ranked


def generate_image(request: ImageRequest, task: Task) -> Flow[list[GeneratedImage]]:
    """InvokeModel for images."""
    family, ctx = task.generates_images(), task.told
    answer = yield from _invoked(task, "encode_image", lambda: family.encode_image(request, ctx))
    return answer.read_all("decode_image", family.decode_image, GeneratedImage)


def video_input(request: VideoRequest, task: Task) -> NativeObject:
    """Return the input of the job that makes a video."""
    family, ctx = task.generates_video(), task.told
    return checked_input(task.family, "encode_video", lambda: family.encode_video(request, ctx))


Decode: TypeAlias = Callable[[NativeObject, Mapping[str, str], FamilyContext], T]


class _Answer(msgspec.Struct, frozen=True):
    """A native answer, and the input tokens that the service counted."""

    task: Task
    native: NativeObject
    headers: Mapping[str, str]
    input_tokens: int | None
    raw: bytes

    def read(self, method: str, decode: Decode[T], kind: type[T]) -> T:
        """Return what the family reads in it, which is a ``kind``."""
        return result_of(self.task.family, method, self._call(decode), self.raw, kind)

    def read_all(self, method: str, decode: Decode[Sequence[T]], kind: type[T]) -> list[T]:
        """Return what the family reads in it, which are some ``kind``."""
        return results_of(self.task.family, method, self._call(decode), self.raw, kind)

    def _call(self, decode: Decode[object]) -> Callable[[], object]:
        return lambda: decode(self.native, self.headers, self.task.told)


def _invoked(task: Task, method: str, encode: Callable[[], NativeRequest]) -> Flow[_Answer]:
    native = checked_native(task.family, method, encode)
    body = native_body(task.family, native)
    members = {"body": body, "content_type": native.content_type, "accept": native.accept}
    response = yield from invoke(task.request.model_copy(update=members), task.ctx.target)
    answer, counted = native_answer(response)
    return _Answer(task, answer, response.headers, counted, response.body)


# -- batches


async def in_batches(
    batches: Sequence[EmbedBatch],
    send: Callable[[EmbedRequest], Awaitable[tuple[Embeddings, ResponseMeta]]],
    *,
    max_concurrency: int,
) -> Embeddings:
    """Embed batch by batch, up to ``max_concurrency`` at a time, and return the vectors in the order of the inputs.

    The first failure cancels the others and is raised, with the indices of the inputs that it is about.
    """
    check_positive(max_concurrency=max_concurrency)
    made: dict[int, tuple[Embeddings, ResponseMeta]] = {}
    failures: list[Exception] = []
    waiting = iter(batches)
    total = sum(len(batch.request.inputs) for batch in batches)

    async def work() -> None:
        for batch in waiting:  # which all workers share: each takes the next one
            try:
                made[batch.first] = await send(batch.request)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised below, outside the task group
                failures.append(_about(exc, batch, total))
                workers.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as workers:
        for _ in range(min(max_concurrency, len(batches))):
            workers.start_soon(work)
    if failures:
        raise failures[0]
    return _joined([made[batch.first] for batch in batches])


def _about(failure: Exception, batch: EmbedBatch, total: int) -> Exception:
    """Return the failure with the indices of the inputs that it is about."""
    if not isinstance(failure, BedrockError) or total == 1:
        return failure
    if isinstance(failure, InvalidRequestError) and (inside := _INPUT.match(failure.path or "")) is not None:
        # A family counts the inputs of its request.
        place = f"inputs[{batch.first + int(inside[1])}]"
        failure.message = failure.message.replace(inside[0], place)
        failure.path = f"{place}{inside.string[inside.end() :]}"
        return failure
    last = batch.first + len(batch.request.inputs) - 1
    which = f"input {last}" if last == batch.first else f"inputs {batch.first} to {last}"
    failure.message = f"{which} of {total}: {failure.message}"
    return failure


def _joined(made: Sequence[tuple[Embeddings, ResponseMeta]]) -> Embeddings:
    counts = [each.input_tokens for each, _ in made]
    known = [count for count in counts if count is not None]
    return Embeddings(
        vectors=[vector for each, _ in made for vector in each.vectors],
        input_tokens=sum(known) if len(known) == len(counts) else None,
        metas=tuple(meta for _, meta in made),
    )


# -- jobs


class VideoJob:
    """A job that makes a video: ask for its state, wait for its end, get the video.

    ::

        job = await client.generate_video(model, "A cat at the sea.", output_s3_uri="s3://bucket/videos")
        video = await job.result(timeout_s=1800)
        Path(f"cat.{video.format}").write_bytes(video.data)

    ``job`` is the handle of the asynchronous invocation, with all that the service tells; see `AsyncInvokeJob`.
    """

    def __init__(self, job: AsyncInvokeJob, task: Task) -> None:
        """Make a handle; BedrockClient does that."""
        self.job = job
        self._task = task

    @property
    def arn(self) -> str:
        """The ARN, by which ``client.async_invoke_job(arn)`` finds the job again from anywhere."""
        return self.job.arn

    def __repr__(self) -> str:
        """Return the ARN."""
        return f"VideoJob({self.arn!r})"

    async def status(self) -> str:
        """Ask for the status now: ``"InProgress"``, ``"Completed"``, ``"Failed"``, or one of tomorrow."""
        return await self.job.status()

    async def wait(self, *, timeout_s: float | None = None) -> AsyncInvokeSummary:
        """Return the state of the job when it is complete; see `AsyncInvokeJob.wait`."""
        return await self.job.wait(timeout_s=timeout_s)

    async def output(self, *, timeout_s: float | None = None) -> AsyncInvokeResult:
        """Wait for the end of the job and return all that it wrote, which is listed and not read yet.

        So large videos can be saved to a file piece by piece. Raises as `AsyncInvokeJob.result`.
        """
        return await self.job.result(timeout_s=timeout_s)

    async def result(self, *, timeout_s: float | None = None) -> GeneratedVideo:
        """Wait for the end of the job and return the video, read whole from S3.

        Raises as `AsyncInvokeJob.result`; ObjectNotFoundError, which names what is there, when the video is not, and
        ProtocolError when it is larger than ``Limits.max_response_bytes``.
        """
        family, ctx = self._task.generates_video(), self._task.told

        def decode(name: str, data: bytes) -> GeneratedVideo:
            decoded = partial(family.decode_video, name, data, ctx)
            return result_of(self._task.family, "decode_video", decoded, data, GeneratedVideo)

        output = await self.output(timeout_s=timeout_s)
        return await output.decoded(decode, checked_name(self._task.family, partial(family.video_object, ctx)))
