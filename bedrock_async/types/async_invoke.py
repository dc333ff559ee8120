"""StartAsyncInvoke, GetAsyncInvoke and ListAsyncInvokes: jobs whose output goes to S3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias, cast

from ._wire import JSON, Enum, List, Timestamp, WireModel, WireUnion
from .response import ServiceResponse

JobStatus: TypeAlias = Annotated[Literal["InProgress", "Completed", "Failed"] | str, Enum]
"""The status of an asynchronous invocation."""


class S3Output(WireModel):
    """Where in S3 the output is written; ``bucket_owner`` is the account id if the bucket is in another account."""

    s3_uri: str
    kms_key_id: str | None = None
    bucket_owner: str | None = None


class AsyncInvokeOutput(WireUnion):
    """Where the output is written."""

    s3_output_data_config: S3Output | None = None


class JobTag(WireModel):
    """A tag on a job."""

    key: str
    value: str


class StartAsyncInvokeRequest(WireModel):
    """The members of a StartAsyncInvoke request; ``model_input`` is the model's native body."""

    model_id: str
    model_input: JSON
    output_data_config: AsyncInvokeOutput
    client_request_token: str | None = None
    tags: List[JobTag] | None = None


def start_members(
    model_id: str,
    model_input: object,
    *,
    output_s3_uri: object,
    client_request_token: object,
    kms_key_id: object,
    bucket_owner: object,
    tags: object,
) -> dict[str, object]:
    """Return the members of a StartAsyncInvokeRequest, not validated yet; ``tags`` may be a mapping."""
    place = {"s3_uri": output_s3_uri, "kms_key_id": kms_key_id, "bucket_owner": bucket_owner}
    if isinstance(tags, Mapping):
        named = cast("Mapping[object, object]", tags)
        tags = [{"key": key, "value": value} for key, value in named.items()]
    members: dict[str, object] = {
        "model_id": model_id,
        "model_input": model_input,
        "output_data_config": {
            "s3_output_data_config": {name: value for name, value in place.items() if value is not None}
        },
        "client_request_token": client_request_token,
        "tags": tags,
    }
    return {name: value for name, value in members.items() if value is not None}


class StartedAsyncInvoke(ServiceResponse):
    """The response of StartAsyncInvoke."""

    invocation_arn: str


class AsyncInvokeSummary(ServiceResponse):
    """The state of a job: the response of GetAsyncInvoke, and an item of ListAsyncInvokes."""

    invocation_arn: str
    model_arn: str | None = None
    client_request_token: str | None = None
    status: JobStatus | None = None
    failure_message: str | None = None
    submit_time: Timestamp | None = None
    last_modified_time: Timestamp | None = None
    end_time: Timestamp | None = None
    output_data_config: AsyncInvokeOutput | None = None

    @property
    def output_s3_uri(self) -> str | None:
        """The S3 prefix of the output."""
        config = self.output_data_config
        s3 = config.s3_output_data_config if config is not None else None
        return s3.s3_uri if s3 is not None else None


class ListAsyncInvokesRequest(WireModel):
    """The filters of ListAsyncInvokes, all sent in the query."""

    not_in_body: ClassVar[set[str]] = {
        "submit_time_after",
        "submit_time_before",
        "status_equals",
        "max_results",
        "next_token",
        "sort_by",
        "sort_order",
    }

    submit_time_after: Timestamp | None = None
    submit_time_before: Timestamp | None = None
    status_equals: JobStatus | None = None
    max_results: int | None = None
    next_token: str | None = None
    sort_by: Annotated[Literal["SubmissionTime"] | str, Enum] | None = None
    sort_order: Annotated[Literal["Ascending", "Descending"] | str, Enum] | None = None


class AsyncInvokePage(ServiceResponse):
    """One page of ListAsyncInvokes."""

    next_token: str | None = None
    async_invoke_summaries: List[AsyncInvokeSummary] | None = None
