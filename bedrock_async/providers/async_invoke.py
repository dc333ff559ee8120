"""StartAsyncInvoke with Converse's request and response: starts a job, polls it, reads its output from S3.

The model's family writes the input of the job and reads its output. For models that generate video, the input consists
of the text and images of the last message; for any other model it is the native body, and ``output.json`` the native
response. The call's ``provider_options``: ``output_s3_uri``, where the service writes (required); ``kms_key_id``,
``bucket_owner``, ``client_request_token`` and ``tags`` as in `BedrockClient.start_async_invoke`. S3 also checks
``bucket_owner`` when the output is read. Other names are options of the family.

A job supports no guardrail, latency class, service tier or metadata: a call that requests one is refused.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
from pydantic import ValidationError

from ..errors import BedrockError, InvalidRequestError, PluginError, ResponseDecodeError
from ..families import FamilyContext, GeneratedVideo, GeneratesVideo, ModelFamily, VideoRequest, encode_request
from ..families._encoding import checked_input, checked_name, decode_response, result_of, with_callers_members
from ..families._features import check_supported
from ..types import (
    AsyncInvokeSummary,
    ConverseMetrics,
    ConverseOutput,
    ConverseRequest,
    ConverseResponse,
    ImageBlock,
    JSONValue,
    MediaSource,
    Message,
    StartAsyncInvokeRequest,
    TextBlock,
    VideoBlock,
)
from ..types.async_invoke import start_members
from ._protocol import INTERFACE_VERSION, CallContext, Flow, read_object, sleep
from .invocations import S3Uri, has_ended, output_folder, parse_invocation_arn, parse_s3_uri
from .polling import PollSchedule
from .runtime import get_async_invoke, start_async_invoke

_NATIVE_OUTPUT: Final = "output.json"
_OPTIONS: Final = ("output_s3_uri", "kms_key_id", "bucket_owner", "client_request_token", "tags")
_ALIKE: Final = 0.7  # "s3_uri" is 0.63 like "output_s3_uri", "tag" 0.86 like "tags"


class AsyncInvokeProvider:
    """Calls a model through a job; the model's family must be installed or given.

    ``token`` returns a request token for every job without one: with a token, a repeated request starts no second job.
    """

    name = "async-invoke"
    interface_version = INTERFACE_VERSION
    needs_family = True

    def __init__(self, token: Callable[[], str] = lambda: str(uuid4())) -> None:
        self._token = token

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Start a job, wait for its end, and return its output.

        Raises InvalidRequestError for what the family cannot express and for a missing ``output_s3_uri``,
        AsyncInvokeFailedError when the job fails, ObjectNotFoundError when its output does not exist.
        """
        job = _job(ctx)
        _refuse_what_jobs_lack(request)
        model_input = job.model_input(request)
        job_request = _start_request(ctx, model_input, self._token)
        started = yield from start_async_invoke(job_request)
        summary = yield from _completed(started.invocation_arn)
        folder = _folder(summary, ctx)
        place = folder.below(job.output_name())
        data = yield from read_object(str(place), _owner(job_request))
        response = job.response(data)
        fields: dict[str, JSONValue] = {"invocationArn": summary.invocation_arn, "outputS3Uri": str(folder)}
        changes: dict[str, Any] = {"additional_model_response_fields": _with(response, fields)}
        if response.metrics.latency_ms is None and summary.end_time and summary.submit_time:
            latency = summary.end_time - summary.submit_time
            changes["metrics"] = ConverseMetrics(latency_ms=round(latency.total_seconds() * 1000))
        return response.model_copy(update=changes)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """Return the flow of `converse`: a job does not stream, and its output is replayed as events."""
        return self.converse(request, ctx)


def _completed(arn: str) -> Flow[AsyncInvokeSummary]:
    # Seeded with the ARN, so that jobs which started together are not polled in step, and tests know the waits.
    schedule = PollSchedule(Random(arn))  # noqa: S311 - spreads waits, not a secret
    while True:
        yield from sleep(schedule.next_s())
        try:
            summary = yield from get_async_invoke(arn)
        except BedrockError as exc:
            schedule.failed(exc)
        else:
            schedule.answered()
            if has_ended(summary):
                return summary


def _start_request(
    ctx: CallContext, model_input: Mapping[str, Any], token: Callable[[], str]
) -> StartAsyncInvokeRequest:
    options = ctx.provider_options
    members = start_members(
        ctx.target.raw,
        model_input,
        output_s3_uri=options["output_s3_uri"],
        client_request_token=options.get("client_request_token") or token(),
        kms_key_id=options.get("kms_key_id"),
        bucket_owner=options.get("bucket_owner"),
        tags=options.get("tags"),
    )
    try:
        return StartAsyncInvokeRequest.model_validate(members)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        raise InvalidRequestError(
            f"provider_options cannot be sent: {'.'.join(map(str, fault['loc']))}: {fault['msg']}.",
            path="provider_options",
        ) from exc


def _owner(request: StartAsyncInvokeRequest) -> str | None:
    place = request.output_data_config.s3_output_data_config
    return None if place is None else place.bucket_owner


def _refuse_misspelt(options: Mapping[str, object]) -> None:
    """Refuse names that closely resemble one of our options; any other may be an option of the family."""
    for name in options.keys() - set(_OPTIONS):
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()
        if near := difflib.get_close_matches(plain, _OPTIONS, n=1, cutoff=_ALIKE):
            raise InvalidRequestError(
                f"the provider 'async-invoke' has no option {name!r}.",
                path=f"provider_options.{name}",
                hint=f"Did you mean {near[0]!r}?",
            )


def _refuse_what_jobs_lack(request: ConverseRequest) -> None:
    """Refuse request members that StartAsyncInvoke, unlike other operations, cannot carry."""
    performance, tier = request.performance_config, request.service_tier
    wanted = {
        "guardrail_config": request.guardrail_config is not None,
        "performance_config": performance is not None and performance.latency not in {None, "standard"},
        "request_metadata": bool(request.request_metadata),
        "service_tier": tier is not None and tier.type != "default",
    }
    if lacking := next((name for name, given in wanted.items() if given), None):
        hint = "Leave it out, or call the model with provider='converse' or 'invoke' if it can be called that way."
        if lacking == "request_metadata":
            hint = 'Pass provider_options={"tags": {"name": "value"}} to find the job again.'
        raise InvalidRequestError(
            f"the provider 'async-invoke' does not support {lacking}: StartAsyncInvoke has no member for it.",
            path=lacking,
            hint=hint,
        )


def _folder(summary: AsyncInvokeSummary, ctx: CallContext) -> S3Uri:
    told = summary.output_s3_uri or cast("str", ctx.provider_options["output_s3_uri"])
    return output_folder(told, parse_invocation_arn(summary.invocation_arn).invocation_id)


def _with(response: ConverseResponse, fields: Mapping[str, JSONValue]) -> JSONValue:
    given = response.additional_model_response_fields
    return {**given, **fields} if isinstance(given, dict) else dict(fields)


# What a family makes of the request.


class _NativeJob(msgspec.Struct, frozen=True):
    """A job whose input is the native body and whose output is the native response."""

    family: ModelFamily
    ctx: FamilyContext

    def model_input(self, request: ConverseRequest) -> Mapping[str, Any]:
        return encode_request(self.family, request, self.ctx).body

    def output_name(self) -> str:
        return _NATIVE_OUTPUT

    def response(self, data: bytes) -> ConverseResponse:
        try:
            native: object = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise ResponseDecodeError(f"the output of {len(data)} bytes is not JSON: {exc}.", body=data) from exc
        if not isinstance(native, dict):
            raise ResponseDecodeError(f"the output is JSON of type {type(native).__name__}, not an object.", body=data)
        return decode_response(self.family, cast("dict[str, Any]", native), {}, self.ctx, raw=data)


class _VideoJob(msgspec.Struct, frozen=True):
    """A job that generates a video."""

    family: ModelFamily
    makes: GeneratesVideo
    ctx: FamilyContext

    def model_input(self, request: ConverseRequest) -> Mapping[str, Any]:
        check_supported(request, {"images", "s3_sources"}, family=self.family.name, model=self.ctx.base_model)
        messages = request.messages or ()
        if len(messages) != 1:
            raise InvalidRequestError(
                f"a video is made from one message, but there are {len(messages)}.",
                path="messages",
                hint="Put the prompt and any starting images into one message.",
            )
        content = messages[0].content
        wanted = VideoRequest(
            prompt="".join(block.text for block in content if isinstance(block, TextBlock)) or None,
            images=[block for block in content if isinstance(block, ImageBlock)],
        )
        body = checked_input(self.family, "encode_video", lambda: self.makes.encode_video(wanted, self.ctx))
        return with_callers_members(body, request)

    def output_name(self) -> str:
        return checked_name(self.family, lambda: self.makes.video_object(self.ctx))

    def response(self, data: bytes) -> ConverseResponse:
        name = self.output_name()
        read = partial(self.makes.decode_video, name, data, self.ctx)
        video = result_of(self.family, "decode_video", read, data, GeneratedVideo)
        block = VideoBlock(format=video.format, source=MediaSource(bytes=video.data))
        message = Message(role="assistant", content=[block])
        return ConverseResponse(output=ConverseOutput(message=message), stop_reason="end_turn")


def _job(ctx: CallContext) -> _NativeJob | _VideoJob:
    _refuse_misspelt(ctx.provider_options)
    if "output_s3_uri" not in ctx.provider_options:
        raise InvalidRequestError(
            "the provider 'async-invoke' needs an output location.",
            path="provider_options",
            hint='Pass provider_options={"output_s3_uri": "s3://bucket/prefix"}.',
        )
    parse_s3_uri(ctx.provider_options["output_s3_uri"], path="provider_options.output_s3_uri")
    if ctx.family is None:
        raise PluginError(
            f"the provider 'async-invoke' was called for {ctx.model.raw} without the model's family.",
            hint="Call it through BedrockClient, or use client.start_async_invoke() with the native input.",
        )
    told = FamilyContext(ctx.model, ctx.profile, ctx.region, ctx.provider_options)
    family: object = ctx.family
    if "video" in ctx.profile.output_modalities:
        if isinstance(family, GeneratesVideo):
            return _VideoJob(ctx.family, family, told)
        raise PluginError(
            f"the family {ctx.family.name!r} does not make videos, which {told.base_model or ctx.model.raw} does.",
            hint="Use client.start_async_invoke() with the native input.",
        )
    return _NativeJob(ctx.family, told)


__all__ = ["AsyncInvokeProvider"]
