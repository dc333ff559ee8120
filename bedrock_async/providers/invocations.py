"""Asynchronous invocations: their ARNs, the S3 locations of their output, and how they end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from ..errors import AsyncInvokeFailedError, InvalidRequestError

if TYPE_CHECKING:
    from ..types import AsyncInvokeSummary

__all__ = ["InvocationArn", "S3Uri", "has_ended", "output_folder", "parse_invocation_arn", "parse_s3_uri"]

# Patterns of the service model: InvocationArn and S3Uri.
_ARN: Final = re.compile(r"arn:(aws(?:-[^:]+)?):bedrock:([a-z0-9-]{1,20}):([0-9]{12}):async-invoke/([a-z0-9]{12})")
_S3_URI: Final = re.compile(r"s3://([a-z0-9][.\-a-z0-9]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_MOST_CHARACTERS: Final = 1024

_COMPLETED: Final = "Completed"
_IN_PROGRESS: Final = "InProgress"
# Not in the current service model, but possible ends of Bedrock's batch jobs.
_OTHER_ENDS: Final = frozenset({"Cancelled", "Expired", "Failed", "Stopped"})


class InvocationArn(msgspec.Struct, frozen=True):
    """The parsed ARN of an asynchronous invocation; ``str()`` returns the ARN."""

    raw: str
    partition: str
    region: str
    account: str
    invocation_id: str

    def __str__(self) -> str:
        """Return the ARN."""
        return self.raw


class S3Uri(msgspec.Struct, frozen=True):
    """An S3 location: a bucket, and an object's key or a prefix of keys. ``str()`` returns ``s3://bucket/key``."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        """Return the URI."""
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    def below(self, name: str) -> S3Uri:
        """Return the location of ``name`` in this folder."""
        folder = self.key.rstrip("/")
        return S3Uri(self.bucket, f"{folder}/{name}" if folder else name)


def parse_invocation_arn(arn: object) -> InvocationArn:
    """Parse the ARN of an asynchronous invocation. Raises InvalidRequestError for anything else."""
    found = _ARN.fullmatch(arn) if isinstance(arn, str) else None
    if found is None:
        shown = repr(arn[:256]) if isinstance(arn, str) else f"of type {type(arn).__name__}"
        raise InvalidRequestError(
            f"the invocation ARN is {shown}, which is not valid.",
            path="arn",
            hint="It looks like arn:aws:bedrock:<region>:<account>:async-invoke/<12 lower-case letters or digits>; "
            "start_async_invoke() returns it, list_async_invokes() lists existing ones.",
        )
    return InvocationArn(found[0], *found.groups())


def parse_s3_uri(uri: object, *, path: str) -> S3Uri:
    """Parse ``s3://bucket/key``. Raises InvalidRequestError, which names the argument ``path``."""
    found = _S3_URI.fullmatch(uri) if isinstance(uri, str) and len(uri) <= _MOST_CHARACTERS else None
    if found is None:
        shown = repr(uri[:256]) if isinstance(uri, str) else f"of type {type(uri).__name__}"
        raise InvalidRequestError(
            f"{path} is {shown}, which is not an S3 location.",
            path=path,
            hint="It looks like s3://bucket/prefix: no https://, no ARN, lower-case bucket, at most "
            f"{_MOST_CHARACTERS} characters.",
        )
    return S3Uri(found[1], found[2] or "")


def output_folder(s3_uri: str, invocation_id: str) -> S3Uri:
    """Return the folder of a job's output, from the ``s3_uri`` it was given or the one that the service reports.

    The service writes to a folder named after the invocation under the prefix, and reports that folder in
    GetAsyncInvoke. [Amazon Nova user guide, "Video generation access and usage"]
    """
    uri = parse_s3_uri(s3_uri, path="output_s3_uri")
    if uri.key.rstrip("/").rpartition("/")[2] == invocation_id:
        return S3Uri(uri.bucket, uri.key.rstrip("/"))
    return uri.below(invocation_id)


def has_ended(summary: AsyncInvokeSummary) -> bool:
    """Return whether a job is complete. Raises AsyncInvokeFailedError when it ended in any other way.

    A job with an unknown status has ended if the service reports an end time.
    """
    status = summary.status or _IN_PROGRESS
    if status == _COMPLETED:
        return True
    if status == _IN_PROGRESS or (status not in _OTHER_ENDS and summary.end_time is None):
        return False
    said = summary.failure_message or "the service gives no reason"
    raise AsyncInvokeFailedError(
        f"the asynchronous invocation {summary.invocation_arn} ended with the status {status}: {said}",
        invocation_arn=summary.invocation_arn,
        status=status,
        failure_message=summary.failure_message or "",
        hint="The job cannot be resumed: fix what the message names and start another.",
    )
