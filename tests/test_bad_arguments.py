"""What people pass by mistake to the verbs beside Converse: refused before anything is sent, in our own words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from typing import Any, Final

import pytest

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ConnectionLostError,
    Credentials,
    InvalidModelIdError,
    InvalidRequestError,
    StandardRetry,
    Timeouts,
    ValidationError,
    default_model,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.types import CountTokensRequest

MODEL: Final = "us.amazon.nova-lite-v1:0"
KEYS: Final = Credentials("AKIDEXAMPLE", "secret")
BODY: Final = {"prompt": "hi"}
GUARDRAIL_ELSEWHERE: Final = "arn:aws:bedrock:eu-west-1:123456789012:guardrail/abcdef"
GUARDED_ELSEWHERE: Final = {"guardrailIdentifier": GUARDRAIL_ELSEWHERE, "guardrailVersion": "1"}
NAN: Final = float("nan")
JOB: Final = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdefghijkl"
COUNTED: Final = CountTokensRequest.from_dict({"modelId": MODEL, "input": {"invokeModel": {"body": b"{}"}}})


def client_of(**options: Any) -> tuple[BedrockClient, CannedTransport]:  # noqa: ANN401 - the client's own keywords
    """Return a client whose transport notes what it is given, and goes no further."""
    transport = CannedTransport([ConnectionLostError("far enough", sent=True)])
    keywords: dict[str, Any] = {"region": "us-east-1", "retry": NO_RETRY, **options}
    return BedrockClient(**keywords, transport=transport, credentials=KEYS), transport


async def _listed(client: BedrockClient, **filters: Any) -> None:  # noqa: ANN401 - whatever is wrong
    async for _ in client.list_async_invokes(**filters):
        pass


Call = Callable[[Any], Awaitable[object]]

WRONG: Final[dict[str, tuple[Call, str, str]]] = {
    "a native body that is no JSON number": (lambda c: c.invoke(MODEL, {"a": float("nan")}), "body", "JSON"),
    "a native body with half a character": (lambda c: c.invoke(MODEL, '{"a":"\ud800"}'), "body", "position 6"),
    "a native body that is a list": (lambda c: c.invoke(MODEL, [1]), "body", "a list, not bytes"),
    "one piece of content alone": (
        lambda c: c.apply_guardrail("abc", "1", source="INPUT", content={"text": {"text": "a"}}),
        "content",
        "is a dict, not text or a list",
    ),
    "no content": (
        lambda c: c.apply_guardrail("abc", "1", source="INPUT", content=None),
        "content",
        "is a NoneType",
    ),
    "a guardrail of another region": (
        lambda c: c.apply_guardrail(GUARDRAIL_ELSEWHERE, "1", source="INPUT", content="a"),
        "guardrail_id",
        r"eu-west-1.*us-east-1",
    ),
    "a guardrail of another region in converse": (
        lambda c: c.converse(MODEL, "hi", guardrail=GUARDED_ELSEWHERE),
        "guardrail",
        r"eu-west-1.*us-east-1",
    ),
    "a guardrail of another region in a ready request": (
        lambda c: c.converse(c.prepare(MODEL, "hi", guardrail=GUARDED_ELSEWHERE)),
        "guardrail",
        r"eu-west-1.*us-east-1",
    ),
    "a guardrail of another region in a stream": (
        lambda c: c.stream(MODEL, "hi", guardrail=GUARDED_ELSEWHERE).get_final_response(),
        "guardrail",
        r"eu-west-1.*us-east-1",
    ),
    "a guardrail of another region in invoke": (
        lambda c: c.invoke(MODEL, BODY, guardrail=GUARDED_ELSEWHERE),
        "guardrail",
        r"eu-west-1.*us-east-1",
    ),
    "a guardrail of another region in invoke_stream": (
        lambda c: anext(c.invoke_stream(MODEL, BODY, guardrail=GUARDED_ELSEWHERE)),
        "guardrail",
        r"eu-west-1.*us-east-1",
    ),
    "seconds to wait as text": (lambda c: c.async_invoke_job(JOB).wait(timeout_s="1"), "timeout_s", "a str"),
    "seconds to wait that are none": (lambda c: c.async_invoke_job(JOB).result(timeout_s=NAN), "timeout_s", "nan"),
    "a yes as seconds to wait": (lambda c: c.async_invoke_job(JOB).wait(timeout_s=True), "timeout_s", "a bool"),
    "no messages to check": (lambda c: c.invoke_guardrail_checks(None, {}), "messages", "is a NoneType"),
    "one message alone to check": (
        lambda c: c.invoke_guardrail_checks({"role": "user", "content": []}, {}),
        "messages",
        "is a dict",
    ),
    "a body counted twice": (lambda c: c.count_tokens(MODEL, "hi", body=BODY), "body", "passed more than once"),
    "a request counted with messages": (lambda c: c.count_tokens(COUNTED, "hi"), "messages", "passed more than once"),
    "a request counted with a body": (lambda c: c.count_tokens(COUNTED, body=BODY), "body", "passed more than once"),
    "a misspelt keyword beside a body": (lambda c: c.count_tokens(MODEL, body=BODY, sytem="a"), "sytem", "'system'"),
    "a keyword that a body has no place for": (
        lambda c: c.count_tokens(MODEL, body=BODY, system="a"),
        "system",
        "sent as it is",
    ),
    "a time as text": (lambda c: _listed(c, submitted_after="2025-01-01"), "submitted_after", "is a str"),
    "a day as a time": (lambda c: _listed(c, submitted_before=date(2025, 1, 1)), "submitted_before", "is a date"),
    "a number as text": (lambda c: _listed(c, max_results="5"), "max_results", "'5'; it must be a whole number"),
    "no page": (lambda c: _listed(c, page_size=0), "page_size", "0; it must be a whole number"),
    "a number as a token": (lambda c: _listed(c, next_token=5), "next_token", "is an int, not text"),
    "a number as a vendor": (lambda c: c.list_models(provider=5), "byProvider|by_provider", "valid string"),
    "seconds as timeouts": (lambda c: c.invoke(MODEL, BODY, timeouts=5), "timeouts", r"Timeouts\(total_s=60\)"),
    "seconds as timeouts of a question": (
        lambda c: c.apply_guardrail("abc", "1", source="INPUT", content="a", timeouts=5),
        "timeouts",
        "is an int",
    ),
    "a number of attempts": (lambda c: c.converse(MODEL, "hi", retry=3), "retry", r"StandardRetry\(max_attempts=3\)"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_mistake_is_told_before_anything_is_sent(case: str) -> None:
    """The error names the argument, and is of the tree: no TypeError from inside, and nothing left out in silence."""
    call, path, says = WRONG[case]
    client, transport = client_of()
    with pytest.raises(InvalidRequestError, match=says) as caught:
        await call(client)
    assert caught.value.path in path.split("|")
    assert transport.requests == []
    await client.aclose()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timeouts": 5}, r"timeouts is an int, not Timeouts\. Pass Timeouts"),
        ({"retry": 3}, r"retry is an int, not a retry policy\. Pass StandardRetry"),
        ({"limits": 100}, r"limits is an int, not Limits\. Pass Limits"),
        ({"connection": {"use_fips": True}}, r"connection is a dict, not ConnectionOptions\. Pass"),
        ({"region": 5}, r"region is an int, not text\. Pass region="),
        ({"profile": 5}, r"profile is an int, not text\. Pass the name"),
        ({"endpoint_url": 5}, r"endpoint_url is an int, not text\. Pass endpoint_url="),
        ({"control_endpoint_url": b"x"}, r"control_endpoint_url is a bytes, not text\. Pass"),
        ({"settings": 5}, r"settings is an int, not a mapping\. Pass the keywords"),
        ({"settings": []}, r"settings is a list, not a mapping\. Pass the keywords"),
        (
            {"region_name": "us-east-1"},
            r"BedrockClient\(\) has no keyword 'region_name', which is boto3's\. Pass region=",
        ),
        ({"aws_access_key_id": "AKID"}, r"which is boto3's\. Pass credentials=Credentials\("),
        ({"boto_client_config": 1}, r"which is Strands'\. Pass it to BedrockClient\.from_botocore_config"),
        ({"transports": "native"}, r"BedrockClient\(\) has no keyword 'transports'\. Did you mean 'transport'\?"),
    ],
)
def test_options_of_another_type_are_told_when_the_client_is_made(options: dict[str, Any], says: str) -> None:
    """Not in the first call that is throttled."""
    with pytest.raises(InvalidRequestError, match=says) as caught:
        client_of(**options)
    assert caught.value.path == next(iter(options))


@pytest.mark.parametrize(
    ("keyword", "says"),
    [
        ("max_tokens", r"which calls have\. Pass it to a call, or for all calls settings=\{'max_tokens': \.\.\.\}\."),
        ("temperature", "settings="),
        ("system", "settings="),
        ("connect_timeout", r"Pass timeouts=Timeouts\(connect_s="),
        ("read_timeout", r"Pass timeouts=Timeouts\(first_event_s="),
        ("proxies", r"Pass connection=ConnectionOptions\(proxies="),
        ("max_pool_connections", r"Pass limits=Limits\(max_connections="),
        ("bearer_token", "Pass api_key="),
        ("max_retries", r"Pass retry=StandardRetry\(max_attempts="),
        ("zzz", "It has: region, profile, "),
    ],
)
def test_a_keyword_of_another_place_is_sent_there(keyword: str, says: str) -> None:
    """What belongs to calls, or has another name here; no word of fields of requests, which a client has not."""
    with pytest.raises(InvalidRequestError, match=rf"BedrockClient\(\) has no keyword '{keyword}'.*{says}") as caught:
        client_of(**{keyword: 1})
    assert caught.value.path == keyword
    assert "additional_request_fields" not in str(caught.value)


async def test_a_call_without_its_model_is_told_so() -> None:
    """By boto3's names of the arguments, or by none: the words are ours, and nothing goes out."""
    client, transport = client_of()
    verbs: list[Any] = [client.converse, client.stream, partial(client.parse, output_type=dict)]
    for verb in verbs:
        with pytest.raises(InvalidRequestError, match=r"no keyword 'modelId', which is boto3's\. Pass model=\"id\""):
            await verb(modelId=MODEL, messages="hi")
        with pytest.raises(InvalidModelIdError, match="model id is None"):
            await verb(messages="hi")
        with pytest.raises(InvalidRequestError, match="has no messages"):
            await verb()
    assert transport.requests == []
    await client.aclose()


class _Policy:
    """A retry policy whose decision has one of these signatures."""

    def __init__(self, decide: Callable[..., object]) -> None:
        self.delay_s = decide


def _of_all_places(failure: object, attempt: object, random: object) -> None: ...
def _of_any(*args: object, **keywords: object) -> None: ...
def _of_more(failure: object, attempt: object, *, random: object, more: int = 1) -> None: ...
def _of_no_random(failure: object, attempt: object) -> None: ...
def _of_no_attempt(failure: object, *, random: object) -> None: ...
def _of_too_many(failure: object, attempt: object, extra: object, *, random: object) -> None: ...
async def _of_later(failure: object, attempt: object, *, random: object) -> None: ...


@pytest.mark.parametrize(
    ("decide", "says"),
    [
        (_of_no_random, "unexpected keyword argument 'random'"),
        (_of_no_attempt, "too many positional arguments"),
        (_of_too_many, "missing a required argument: 'extra'"),
        (_of_later, "is a coroutine function"),
    ],
)
async def test_a_retry_policy_of_another_signature_is_told_when_it_is_given(
    decide: Callable[..., object], says: str
) -> None:
    """Not in the middle of the first call that fails, and with the signature that it must have."""
    policy: Any = _Policy(decide)
    words = rf"delay_s of the retry policy _Policy .*{says}.*def delay_s\(self, failure, attempt, \*, random\)"
    with pytest.raises(InvalidRequestError, match=words) as caught:
        client_of(retry=policy)
    assert caught.value.path == "retry"
    client, transport = client_of()
    with pytest.raises(InvalidRequestError, match=words):
        await client.converse(MODEL, "hi", retry=policy)
    assert transport.requests == []
    await client.aclose()


@pytest.mark.parametrize("decide", [_of_all_places, _of_any, _of_more, StandardRetry().delay_s])
def test_a_retry_policy_that_can_be_called_is_taken(decide: Callable[..., object]) -> None:
    """Whatever its parameters are called, and whatever it has beside."""
    client_of(retry=_Policy(decide))


@pytest.mark.parametrize("region", [None, 5, b"us-east-1"])
def test_a_region_that_is_no_text_has_no_default_model(region: Any) -> None:  # noqa: ANN401 - whatever is wrong
    """None, as a missing variable of the environment has it, is told as what it is."""
    with pytest.raises(InvalidRequestError, match=r"region is an? .*, not text"):
        default_model(region)


async def test_a_guardrail_that_names_no_other_region_goes_out() -> None:
    """An id, and an ARN of the client's own region."""
    for guardrail in ("abcdef", GUARDRAIL_ELSEWHERE.replace("eu-west-1", "us-east-1")):
        client, transport = client_of()
        with pytest.raises(ConnectionLostError):
            await client.converse(MODEL, "hi", guardrail={"guardrailIdentifier": guardrail, "guardrailVersion": "1"})
        assert len(transport.requests) == 1
        await client.aclose()


def test_the_options_of_a_job_are_looked_at_at_once() -> None:
    """Its handle asks with them much later."""
    client, _ = client_of()
    with pytest.raises(InvalidRequestError, match="timeouts is an int"):
        client.async_invoke_job(JOB, timeouts=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["converse", "stream", "count_tokens"])
async def test_a_ready_request_takes_no_keywords_that_would_change_it(verb: str) -> None:
    """It is sent as it is: dropping them in silence would be losing what the caller asked for."""
    client, transport = client_of()
    request = client.prepare(MODEL, "hi")
    for arguments in ((request,), (MODEL, request)):
        with pytest.raises(
            InvalidRequestError, match=r"has system, temperature together with a ready request"
        ) as caught:
            await getattr(client, verb)(*arguments, temperature=0.5, system="Be brief.", max_tokens=None)
        assert caught.value.path == "system"
    assert transport.requests == []
    # How it is sent is another matter.
    with pytest.raises(ConnectionLostError):
        await client.converse(request, timeouts=Timeouts(), retry=StandardRetry(max_attempts=1), provider="converse")
    assert len(transport.requests) == 1


async def test_native_bodies_are_whatever_holds_bytes() -> None:
    """A view of a large buffer is sent as its bytes."""
    client, transport = client_of()
    with pytest.raises(ConnectionLostError):
        await client.invoke(MODEL, memoryview(b'{"a":1}!')[:7])
    assert transport.requests[0].body == b'{"a":1}'


async def test_a_prefix_that_the_service_may_not_write_to_names_the_permission() -> None:
    """The service says no more than "Invalid Output Config/Credentials"."""
    refusal = CannedResponse(
        [b'{"message":"Invalid Output Config/Credentials"}'],
        status=400,
        headers={"x-amzn-errortype": "ValidationException"},
    )
    client = BedrockClient(region="us-east-1", transport=CannedTransport([refusal]), credentials=KEYS)
    with pytest.raises(ValidationError, match=r"s3:PutObject on s3://bucket/videos") as caught:
        await client.start_async_invoke("amazon.nova-reel-v1:1", BODY, output_s3_uri="s3://bucket/videos")
    assert "us-east-1" in str(caught.value)
