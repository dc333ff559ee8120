"""Fuzzes the readers of errors: whatever a refusal looks like, one error of the tree comes out, which can be printed.

    python fuzz/fuzz_errors.py --seconds 60

The first line of an input is the HTTP status, the second one ``x-amzn-errortype``, the third one a Retry-After; the
rest is the body.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import PromiseBrokenError, Target, main, mutated_lines


def make_target() -> Callable[[bytes], int]:
    """Return the function under test: an answer over HTTP, and the same as an exception frame."""
    from bedrock_async.errors import service_error_from_response
    from bedrock_async.events import exception_of_frame

    def target(data: bytes) -> int:
        status, kind, after, body = [*data.split(b"\n", 3), b"", b"", b"", b""][:4]
        number = int(status) if status.isdigit() and len(status) == 3 else 400
        headers = {
            "content-type": "application/json",
            "x-amzn-errortype": kind.decode("latin-1"),
            "retry-after": after.decode("latin-1"),
            "x-amz-retry-after": after.decode("latin-1"),
        }
        error = service_error_from_response(number, headers, body)
        told = exception_of_frame({":exception-type": kind.decode("latin-1"), ":message-type": "exception"}, body)
        for each in (error, told):
            if not str(each) or not repr(each):
                raise PromiseBrokenError(f"{each!r} says nothing")
        if error.status != number or not error.code:
            raise PromiseBrokenError(f"{error!r} has not the status {number}, or no code")
        if error.retry_after_s is not None and not 0 <= error.retry_after_s < float("inf"):
            raise PromiseBrokenError(f"a wait of {error.retry_after_s} s")
        return 1

    return target


if __name__ == "__main__":
    main(Target("errors", make_target, ("bedrock_async.errors", "bedrock_async.events"), "errors", mutated_lines))
