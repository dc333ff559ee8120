"""Waiting for a job, with a clock, a sleep and a service of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_async import (
    AsyncInvokeFailedError,
    AsyncInvokeJob,
    AsyncInvokeListing,
    AsyncInvokeSummary,
    AsyncInvokeTimeoutError,
    BedrockError,
    CallTimeoutError,
    ConnectionLostError,
    InvalidRequestError,
    ObjectStream,
    ResponseDecodeError,
    ThrottlingError,
    TotalTimeoutError,
    ValidationError,
)
from bedrock_async.errors import service_error
from bedrock_async.providers.invocations import output_folder, parse_invocation_arn, parse_s3_uri
from bedrock_async.providers.polling import PollSchedule
from bedrock_async.types import AsyncInvokePage

ARN: Final = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdef012345"
THROTTLED: Final = service_error("ThrottlingException", "Too many requests")


def state(status: str, **members: str) -> AsyncInvokeSummary:
    """Return the state of the job."""
    return AsyncInvokeSummary.from_wire({"invocationArn": ARN, "status": status, **members})


GOING: Final = state("InProgress")
DONE: Final = state("Completed")


class Service:
    """Answers questions about one job, each with the next of the answers; time passes only by sleeping."""

    def __init__(self, *answers: AsyncInvokeSummary | BedrockError, last: AsyncInvokeSummary = DONE) -> None:
        self.answers = list(answers)
        self.last = last
        self.limits: list[float | None] = []
        self.sleeps: list[float] = []
        self.now = 1000.0

    async def poll(self, limit_s: float | None) -> AsyncInvokeSummary:
        self.limits.append(limit_s)
        answer = self.answers.pop(0) if self.answers else self.last
        if isinstance(answer, BedrockError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def job(self) -> AsyncInvokeJob:
        """Return the handle of the job."""
        return AsyncInvokeJob(
            ARN,
            poll=self.poll,
            objects=NoObjects(),
            max_bytes=1024,
            random=Random(7),
            clock=lambda: self.now,
            sleep=self.sleep,
        )


class NoObjects:
    """A store that nobody may ask."""

    async def read(self, s3_uri: str, *, max_bytes: int, owner: str | None = None) -> bytes:
        raise AssertionError(s3_uri)

    def open(self, s3_uri: str, *, owner: str | None = None) -> ObjectStream:
        raise AssertionError(s3_uri)

    async def list(self, s3_uri: str, *, owner: str | None = None) -> Sequence[Any]:
        raise AssertionError(s3_uri)

    async def aclose(self) -> None:
        raise AssertionError


async def test_a_job_that_is_complete_is_not_waited_for() -> None:
    """The first question is asked at once: who resumes a finished job does not sleep."""
    service = Service()
    assert (await service.job().wait()) is DONE
    assert service.sleeps == []


async def test_asking_starts_fast_and_slows_down() -> None:
    """Half a second at first, a third more each time, fifteen seconds in the end, each a fifth more or less."""
    service = Service(*[GOING] * 40)
    await service.job().wait()
    nominal_s = 0.5
    for slept_s in service.sleeps:
        assert 0.8 * nominal_s <= slept_s <= 1.2 * nominal_s
        nominal_s = min(nominal_s * 1.3, 15.0)
    assert len(service.sleeps) == 40
    assert nominal_s == 15.0
    assert len({round(slept_s, 6) for slept_s in service.sleeps[-10:]}) == 10


async def test_failures_that_pass_are_asked_over() -> None:
    """Throttling, lost connections and questions that ran out of time do not end the waiting."""
    lost = ConnectionLostError("broke off", sent=True)
    late = TotalTimeoutError("took too long", limit_s=60)
    service = Service(GOING, THROTTLED, lost, late, GOING)
    assert (await service.job().wait()) is DONE
    assert len(service.sleeps) == 5


async def test_ten_failures_in_a_row_are_enough() -> None:
    """The eleventh failure is raised; an answer in between begins the count anew."""
    service = Service(*[THROTTLED] * 10, GOING, *[THROTTLED] * 11)
    with pytest.raises(ThrottlingError):
        await service.job().wait()
    assert len(service.limits) == 22


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "ResourceNotFoundException"])
async def test_a_refusal_ends_the_waiting(code: str) -> None:
    """What will not pass is raised at once, with the job's account and the next step."""
    service = Service(service_error(code, "no"))
    with pytest.raises(BedrockError) as caught:
        await service.job().wait()
    assert len(service.limits) == 1
    assert f"The job {ARN} belongs to the account 123456789012 in us-east-1" in str(caught.value)


@pytest.mark.parametrize("status", ["Failed", "Expired", "Stopped"])
async def test_a_job_that_fails_or_expires_is_an_error(status: str) -> None:
    """The error has the service's message, the status and the ARN."""
    service = Service(GOING, last=state(status, failureMessage="blocked by our content filters."))
    with pytest.raises(AsyncInvokeFailedError) as caught:
        await service.job().wait()
    error = caught.value
    assert (error.status, error.invocation_arn) == (status, ARN)
    assert error.failure_message == "blocked by our content filters."
    assert f"{ARN} ended with the status {status}: blocked by our content filters." in str(error)
    assert not error.retryable


async def test_a_status_of_tomorrow_is_an_end_when_it_has_one() -> None:
    """An unknown status is waited on, until the service tells the time of its end."""
    service = Service(state("Paused"), last=state("Abandoned", endTime="2026-03-01T12:00:00Z"))
    with pytest.raises(AsyncInvokeFailedError, match="Abandoned: the service gives no reason"):
        await service.job().wait()
    assert len(service.limits) == 2


async def test_time_runs_out() -> None:
    """After timeout_s the error names job and next step; nothing is slept beyond it, and the last question is short."""
    service = Service(last=GOING)
    with pytest.raises(AsyncInvokeTimeoutError) as caught:
        await service.job().wait(timeout_s=10)
    error = caught.value
    assert sum(service.sleeps) == pytest.approx(10)
    assert (error.limit_s, error.invocation_arn) == (10, ARN)
    assert f"{ARN} had not ended after 10 s" in str(error)
    assert "client.async_invoke_job(arn)" in str(error)
    assert isinstance(error, CallTimeoutError | TimeoutError)
    assert service.limits[0] == 10
    assert all(limit is not None and 1 <= limit <= 10 for limit in service.limits)


async def test_time_that_is_up_asks_once() -> None:
    """A timeout of nothing asks one question."""
    assert (await Service().job().wait(timeout_s=0)) is DONE
    service = Service(last=GOING)
    with pytest.raises(AsyncInvokeTimeoutError):
        await service.job().wait(timeout_s=0)
    assert len(service.limits) == 1


async def test_time_runs_out_while_the_service_fails() -> None:
    """Failures that pass do not keep a wait beyond its time."""
    service = Service(*[THROTTLED] * 8, last=GOING)
    with pytest.raises(AsyncInvokeTimeoutError):
        await service.job().wait(timeout_s=3)


async def test_cancelling_ends_the_waiting_only() -> None:
    """A cancelled wait leaves the handle as it was: the job goes on, and can be waited for again."""
    sleeping = asyncio.Event()
    service = Service(GOING)

    async def sleep_forever(_seconds: float) -> None:
        sleeping.set()
        await anyio.sleep_forever()

    job = AsyncInvokeJob(ARN, poll=service.poll, objects=NoObjects(), max_bytes=1, sleep=sleep_forever)
    async with anyio.create_task_group() as group:
        group.start_soon(job.wait)
        await sleeping.wait()
        group.cancel_scope.cancel()
    assert (await job.wait()) is DONE


async def test_the_handle_learns_model_and_output() -> None:
    """A job that was taken up by its ARN knows its model and output once it was asked for."""
    model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-reel-v1:1"
    output = {"s3OutputDataConfig": {"s3Uri": "s3://bucket/a"}}
    told = AsyncInvokeSummary.from_wire(
        {"invocationArn": ARN, "status": "Completed", "modelArn": model, "outputDataConfig": output}
    )
    job = Service(told).job()
    assert (job.model, job.output_s3_uri) == (None, None)
    assert await job.status() == "Completed"
    assert (job.model, job.output_s3_uri) == (model, "s3://bucket/a")
    assert repr(job) == f"AsyncInvokeJob('{ARN}')"
    assert job.invocation_id == "abcdef012345"


async def test_output_that_nobody_tells_of_is_an_error() -> None:
    """Without a place there is nothing to read."""
    with pytest.raises(ResponseDecodeError, match="does not say where the output"):
        await Service().job().result()


@given(seed=st.integers(), failures=st.lists(st.booleans(), max_size=30))
def test_a_schedule_never_waits_longer_than_its_most(seed: int, failures: list[bool]) -> None:
    """Whatever happens in between, waits grow from the first to the most, and no further."""
    schedule = PollSchedule(Random(seed))
    for failed in failures:
        assert 0.4 <= schedule.next_s() <= 18.0
        if failed:
            try:
                schedule.failed(THROTTLED)
            except ThrottlingError:
                break
        else:
            schedule.answered()


def test_a_schedule_raises_what_does_not_pass() -> None:
    """A failure that another question cannot mend is raised as it is."""
    with pytest.raises(InvalidRequestError):
        PollSchedule(Random(0)).failed(InvalidRequestError("wrong"))


# Lists.


def page(*numbers: int, token: str | None = None) -> AsyncInvokePage:
    """Return a page of jobs."""
    jobs = [{"invocationArn": f"{ARN[:-2]}{number:02}"} for number in numbers]
    return AsyncInvokePage.from_wire({"asyncInvokeSummaries": jobs, **({"nextToken": token} if token else {})})


class Pages:
    """Gives pages in turn, and keeps what was asked for."""

    def __init__(self, *pages: AsyncInvokePage | BedrockError) -> None:
        self.pages = list(pages)
        self.asked: list[tuple[str | None, int | None]] = []

    async def fetch(self, token: str | None, size: int | None) -> AsyncInvokePage:
        self.asked.append((token, size))
        answer = self.pages.pop(0)
        if isinstance(answer, BedrockError):
            raise answer
        return answer


async def numbers(listing: AsyncInvokeListing) -> list[int]:
    """Read the listing to its end."""
    return [int(summary.invocation_arn[-2:]) async for summary in listing]


async def test_pages_are_read_as_one_list() -> None:
    """Each page is asked for with the token of the one before, empty ones are passed over."""
    pages = Pages(page(1, 2, token="a"), page(token="b"), page(3))
    assert await numbers(AsyncInvokeListing(pages.fetch)) == [1, 2, 3]
    assert pages.asked == [(None, None), ("a", None), ("b", None)]


async def test_no_page_is_asked_for_before_it_is_needed() -> None:
    """Whoever leaves after the first page has sent one request."""
    pages = Pages(page(1, 2, token="a"))
    listing = AsyncInvokeListing(pages.fetch)
    async for summary in listing:
        if summary.invocation_arn.endswith("02"):
            break
    assert len(pages.asked) == 1
    assert listing.next_token == "a"


@pytest.mark.parametrize(
    ("most", "size", "expected"),
    [(3, None, [3, 1]), (3, 2, [2, 1]), (None, 2, [2, 2]), (1500, None, [1000, 1000]), (None, 5000, [1000, 1000])],
)
async def test_no_more_is_asked_for_than_is_wanted(most: int | None, size: int | None, expected: list[int]) -> None:
    """A page has no more than page_size, than what is left of max_results, and than the service allows."""
    pages = Pages(page(1, 2, token="a"), page(3))
    listing = AsyncInvokeListing(pages.fetch, max_results=most, page_size=size)
    assert await numbers(listing) == [1, 2, 3]
    assert [asked[1] for asked in pages.asked] == expected


async def test_max_results_ends_a_list() -> None:
    """What a page holds beyond it is not given out."""
    pages = Pages(page(1, 2, 3, token="a"))
    assert await numbers(AsyncInvokeListing(pages.fetch, max_results=2)) == [1, 2]


async def test_a_list_can_be_taken_up_again() -> None:
    """A token of another listing begins there."""
    pages = Pages(page(3))
    assert await numbers(AsyncInvokeListing(pages.fetch, next_token="a")) == [3]
    assert pages.asked == [("a", None)]


async def test_an_expired_token_is_told_with_the_next_step() -> None:
    """The service's refusal of a token says to begin anew; other refusals keep their own advice."""
    refused = service_error("ValidationException", "The provided next token has expired.")
    with pytest.raises(ValidationError, match=r"has expired.*start the listing again"):
        await numbers(AsyncInvokeListing(Pages(page(1, token="a"), refused).fetch))
    other = service_error("ValidationException", "maxResults is wrong")
    with pytest.raises(ValidationError) as caught:
        await numbers(AsyncInvokeListing(Pages(other).fetch))
    assert "anew" not in str(caught.value)


async def test_a_failed_page_is_asked_for_again() -> None:
    """After an error the listing goes on where it stood, and loses nothing."""
    pages = Pages(page(1, token="a"), THROTTLED, page(2))
    listing = AsyncInvokeListing(pages.fetch)
    first = await anext(listing)
    with pytest.raises(ThrottlingError):
        await anext(listing)
    assert [int(first.invocation_arn[-2:]), *await numbers(listing)] == [1, 2]
    assert [asked[0] for asked in pages.asked] == [None, "a", "a"]


async def test_a_list_without_an_end_is_an_error() -> None:
    """A page that points back at an earlier one does not make the client go in circles."""
    pages = Pages(page(1, token="a"), page(2, token="b"), page(3, token="a"))
    with pytest.raises(ResponseDecodeError, match="cyclic: page 3"):
        await numbers(AsyncInvokeListing(pages.fetch))


# ARNs.


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "abcdef012345",
        "arn:aws:bedrock:us-east-1:123456789012:async-invoke/",
        "arn:aws:bedrock:us-east-1:123456789012:async-invoke/ABCDEF012345",
        "arn:aws:bedrock:us-east-1:1234:async-invoke/abcdef012345",
        "arn:aws:s3:us-east-1:123456789012:async-invoke/abcdef012345",
        f"{ARN}/../other",
        f" {ARN}",
        f"{ARN}\n",
        None,
        12,
    ],
)
def test_what_is_no_arn_is_refused(arn: Any) -> None:  # noqa: ANN401
    """A malformed ARN is told before anything is sent, with what one looks like."""
    service = Service()
    with pytest.raises(InvalidRequestError, match=r"invocation ARN is .*It looks like arn:aws:bedrock:") as caught:
        AsyncInvokeJob(arn, poll=service.poll, objects=NoObjects(), max_bytes=1)
    assert caught.value.path == "arn"


@pytest.mark.parametrize(
    ("told", "folder"),
    [
        ("s3://videos", "s3://videos/abcdef012345"),
        ("s3://videos/", "s3://videos/abcdef012345"),
        ("s3://videos/made", "s3://videos/made/abcdef012345"),
        ("s3://videos/made/", "s3://videos/made/abcdef012345"),
        ("s3://videos/abcdef012345", "s3://videos/abcdef012345"),
        ("s3://videos/made/abcdef012345/", "s3://videos/made/abcdef012345"),
        ("s3://videos/abcdef012345-old", "s3://videos/abcdef012345-old/abcdef012345"),
    ],
)
def test_the_folder_of_a_job(told: str, folder: str) -> None:
    """It is called like the job, whether the service tells the folder itself or the prefix above it."""
    assert str(output_folder(told, "abcdef012345")) == folder


def test_places_and_arns_are_shown_as_they_are_written() -> None:
    """``str`` gives back what was taken apart."""
    assert str(parse_invocation_arn(ARN)) == ARN
    for uri in ("s3://bucket", "s3://bucket/key", "s3://bucket/a//b/"):
        assert str(parse_s3_uri(uri, path="uri")) == uri
    assert str(parse_s3_uri("s3://bucket/", path="uri")) == "s3://bucket"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_arns_of_every_partition_are_taken(partition: str) -> None:
    """China and GovCloud have their own."""
    service = Service()
    arn = ARN.replace("arn:aws:", f"arn:{partition}:")
    assert AsyncInvokeJob(arn, poll=service.poll, objects=NoObjects(), max_bytes=1).arn == arn


async def test_a_page_is_asked_for_once() -> None:
    """A task that reads while another waits for the page is refused; the other one gets its jobs, each once."""
    asked, answered = asyncio.Event(), asyncio.Event()
    pages = Pages(page(1, 2, token="a"), page(3))

    async def fetch(token: str | None, size: int | None) -> AsyncInvokePage:
        asked.set()
        await answered.wait()
        return await pages.fetch(token, size)

    listing = AsyncInvokeListing(fetch)
    found: list[int] = []

    async def read() -> None:
        found.extend(await numbers(listing))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await asked.wait()
        with pytest.raises(InvalidRequestError, match="another task is already waiting for the next page"):
            await anext(listing)
        answered.set()
    assert found == [1, 2, 3]
    assert [token for token, _ in pages.asked] == [None, "a"]


async def test_a_listing_goes_on_after_a_cancelled_page() -> None:
    """Whoever reads next asks for that page again."""
    pages = Pages(page(1))
    hangs = True

    async def fetch(token: str | None, size: int | None) -> AsyncInvokePage:
        if hangs:
            await anyio.sleep_forever()
        return await pages.fetch(token, size)

    listing = AsyncInvokeListing(fetch)
    with anyio.move_on_after(0):
        await anext(listing)
    hangs = False
    assert await numbers(listing) == [1]
