"""What we send is what botocore's serialiser sends, for whatever the service model allows: every operation."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore_reading import Sent, has_native_body, invalid_members, sent_by_botocore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import IMAGES, bodies, inputs, json_objects

from bedrock_async import NO_RETRY, BedrockClient, ConnectionLostError, ConverseRequest, Credentials
from bedrock_async.families import MediaLimits
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, Flow, HttpRequest, Send, StreamPlan, runtime
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing.canned import CannedTransport
from bedrock_async.types import (
    ApplyGuardrailRequest,
    CountTokensRequest,
    GuardrailChecksRequest,
    InvokeRequest,
    ListAsyncInvokesRequest,
    StartAsyncInvokeRequest,
    WireModel,
)

Members: TypeAlias = dict[str, Any]

EXAMPLES: Final = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


# -- boto3's parameters, through the classes


def first(flow: Flow[Any]) -> HttpRequest:
    """Return what a flow sends first."""
    effect = next(flow)
    assert isinstance(effect, Send)
    return effect.request


def context(members: Members) -> CallContext:
    """Return the context of a call of that model."""
    return CallContext(parse_model_id(members["modelId"]), "us-east-1")


def opening(members: Members) -> HttpRequest:
    """Return the request that opens a stream."""
    plan = ConverseProvider().stream(ConverseRequest.from_dict(members), context(members))
    assert isinstance(plan, StreamPlan)
    return plan.request


REQUESTS: Final[Mapping[str, Callable[[Members], HttpRequest]]] = {
    "ApplyGuardrail": lambda members: first(runtime.apply_guardrail(ApplyGuardrailRequest.from_dict(members))),
    "Converse": lambda members: first(
        ConverseProvider().converse(ConverseRequest.from_dict(members), context(members))
    ),
    "ConverseStream": opening,
    "CountTokens": lambda members: first(
        runtime.count_tokens(CountTokensRequest.from_dict(members), parse_model_id(members["modelId"]))
    ),
    "GetAsyncInvoke": lambda members: first(runtime.get_async_invoke(members["invocationArn"])),
    "InvokeGuardrailChecks": lambda members: first(
        runtime.invoke_guardrail_checks(GuardrailChecksRequest.from_dict(members))
    ),
    "InvokeModel": lambda members: first(
        runtime.invoke(InvokeRequest.from_dict(members), parse_model_id(members["modelId"]))
    ),
    "InvokeModelWithResponseStream": lambda members: (
        runtime.invoke_stream(InvokeRequest.from_dict(members), parse_model_id(members["modelId"])).request
    ),
    "ListAsyncInvokes": lambda members: first(runtime.list_async_invokes(ListAsyncInvokesRequest.from_dict(members))),
    "StartAsyncInvoke": lambda members: first(runtime.start_async_invoke(StartAsyncInvokeRequest.from_dict(members))),
}

INPUTS: Final = {operation: inputs(operation) for operation in REQUESTS}


@pytest.mark.parametrize("operation", REQUESTS)
@EXAMPLES
@given(data=st.data())
def test_any_valid_request_is_sent_as_botocore_sends_it(operation: str, data: st.DataObject) -> None:
    """Method, path with its quoting, query, headers and body are the same for boto3's own parameters."""
    members = data.draw(INPUTS[operation])
    assert invalid_members(operation, members) == ""

    made = REQUESTS[operation](members)

    raw = has_native_body(operation)
    ours = Sent.of(made.method, made.path, made.query, made.headers, made.body, raw=raw)
    assert ours == sent_by_botocore(operation, members)


# -- the keywords of the client's verbs, as far as the transport


MODELS: Final = (
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "a_-b",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a.B:c-1",
    "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1/abcdefghijkl",
    "arn:aws:sagemaker:us-east-1:123456789012:endpoint/My-Endpoint",
)
GUARDRAILS: Final = ("abc123", "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123")
# What the verbs refuse although a validator that knows the shapes only lets it pass.
WELL_FORMED: Final = {
    "ConversationRole": st.sampled_from(["user", "assistant", "system"]),
    "DocumentBlockNameString": st.from_regex(r"[A-Za-z0-9()\[\]_-]( ?[A-Za-z0-9()\[\]_-]){0,20}", fullmatch=True),
    "ImageBlock": IMAGES,
    "GuardrailConverseImageBlock": IMAGES,
    "GuardrailImageBlock": IMAGES,
}
# Set by the transport, the signature and the client.
OWN_HEADERS: Final = {"authorization", "host", "user-agent", "x-amz-content-sha256", "x-amz-date"}

Verb: TypeAlias = "Callable[[BedrockClient, Members], Awaitable[object]]"


async def captured(verb: Verb, members: Members, *, raw: bool) -> Sent:
    """Return what a verb has given to the transport."""
    transport = CannedTransport([ConnectionLostError("far enough", sent=True)])
    keys = Credentials("AKIDEXAMPLE", "secret")
    async with BedrockClient(region="us-east-1", transport=transport, credentials=keys, retry=NO_RETRY) as client:
        with pytest.raises(ConnectionLostError):
            await verb(client, members)
    (request,) = transport.requests
    url = urlsplit(request.url)
    assert OWN_HEADERS & request.headers.keys() >= {"authorization", "host", "user-agent"}
    headers = {name: value for name, value in request.headers.items() if name not in OWN_HEADERS}
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Sent.of(request.method, url.path, query, headers, request.body, raw=raw)


def with_values(members: Members, *names: str) -> Members:
    """Leave out the members of these names that are empty; as keywords they would say nothing."""
    return {name: value for name, value in members.items() if value or name not in names}


def keywords(members: Members) -> Members:
    """Return the keywords of `converse` that mean boto3's parameters."""
    inference = members.get("inferenceConfig", {})
    tools = members.get("toolConfig", {})
    variables = members.get("promptVariables")
    output = members.get("outputConfig", {})
    made = {
        "system": members.get("system"),
        "max_tokens": inference.get("maxTokens"),
        "temperature": inference.get("temperature"),
        "top_p": inference.get("topP"),
        "stop_sequences": inference.get("stopSequences"),
        "tools": tools.get("tools"),
        "tool_choice": tools.get("toolChoice"),
        "guardrail": members.get("guardrailConfig"),
        "prompt_variables": {name: value["text"] for name, value in variables.items()} if variables else variables,
        "additional_request_fields": members.get("additionalModelRequestFields"),
        "additional_response_field_paths": members.get("additionalModelResponseFieldPaths"),
        "request_metadata": members.get("requestMetadata"),
        "performance": members.get("performanceConfig", {}).get("latency"),
        "service_tier": members.get("serviceTier", {}).get("type"),
        "effort": output.get("effort"),
        "extra_body": {"outputConfig": {"textFormat": output["textFormat"]}} if "textFormat" in output else None,
        "normalize": False,  # for botocore puts nothing right
        "model_profile": {"media": MediaLimits(documents=None)},  # and counts nothing
    }
    return {name: value for name, value in made.items() if value is not None}


def few_cache_points(members: Members) -> bool:
    """Tell whether there are no more cache points than the service takes."""
    return repr(members).count("'cachePoint'") <= 4


NAMED: Final[st.SearchStrategy[Members]] = st.fixed_dictionaries(
    {"guardrailIdentifier": st.sampled_from(GUARDRAILS), "guardrailVersion": st.sampled_from(["1", "DRAFT"])}
)
"""The name of a guardrail; keywords do not take half of one, as boto3 does."""

CONVERSATIONS: Final = {
    operation: inputs(operation, WELL_FORMED).filter(few_cache_points) for operation in ("Converse", "ConverseStream")
}


@st.composite
def conversations(draw: st.DrawFn, operation: str) -> Members:
    """Return parameters of Converse or ConverseStream that keywords can say."""
    members = draw(CONVERSATIONS[operation])
    members["modelId"] = draw(st.sampled_from(MODELS))
    if not members.get("messages"):
        members["messages"] = [{"role": "user", "content": [{"text": "Hi"}]}]
    if "additionalModelRequestFields" in members:
        members["additionalModelRequestFields"] = draw(json_objects())
    if "guardrailConfig" in members:
        members["guardrailConfig"] |= draw(NAMED)
    if (tools := members.get("toolConfig", {})).get("toolChoice", {}).keys() == {"tool"}:
        named = [each for tool in tools["tools"] for each in tool.values() if "name" in each]
        tools["toolChoice"] = {"tool": {"name": named[0]["name"]}} if named else {"auto": {}}
    return with_values(members, "inferenceConfig", "performanceConfig", "outputConfig")


@pytest.mark.parametrize("streamed", [False, True])
@EXAMPLES
@given(data=st.data())
async def test_keywords_are_sent_as_botocore_sends_their_parameters(data: st.DataObject, *, streamed: bool) -> None:
    """converse and stream put every keyword where the service wants it, and nothing else into the request."""
    operation = "ConverseStream" if streamed else "Converse"
    members = data.draw(conversations(operation))

    async def verb(client: BedrockClient, members: Members) -> None:
        arguments = (members["modelId"], members["messages"])
        if streamed:
            await client.stream(*arguments, **keywords(members)).get_final_response()
        else:
            await client.converse(*arguments, **keywords(members))

    assert await captured(verb, members, raw=False) == sent_by_botocore(operation, members)


@EXAMPLES
@given(conversations("Converse"))
async def test_what_counts_as_input_is_counted(members: Members) -> None:
    """count_tokens takes the keywords of converse, and sends those that CountTokens knows."""

    async def verb(client: BedrockClient, members: Members) -> None:
        await client.count_tokens(members["modelId"], members["messages"], **keywords(members))

    known = {"messages", "system", "toolConfig", "additionalModelRequestFields"}
    counted = {
        "modelId": members["modelId"],
        "input": {"converse": {name: value for name, value in members.items() if name in known}},
    }
    assert await captured(verb, members, raw=False) == sent_by_botocore("CountTokens", counted)


@EXAMPLES
@given(st.sampled_from(MODELS), st.binary(min_size=1, max_size=20))
async def test_a_native_body_is_counted(model: str, body: bytes) -> None:
    """count_tokens(body=...) sends the bytes in base64."""

    async def verb(client: BedrockClient, members: Members) -> None:
        await client.count_tokens(members["modelId"], body=members["input"]["invokeModel"]["body"])

    members = {"modelId": model, "input": {"invokeModel": {"body": body}}}
    assert await captured(verb, members, raw=False) == sent_by_botocore("CountTokens", members)


@pytest.mark.parametrize("streamed", [False, True])
@EXAMPLES
@given(data=st.data())
async def test_a_native_body_is_sent_as_botocore_sends_it(data: st.DataObject, *, streamed: bool) -> None:
    """invoke and invoke_stream send the body byte for byte, and their keywords in the headers of the service model."""
    operation = "InvokeModelWithResponseStream" if streamed else "InvokeModel"
    members = data.draw(INPUTS[operation]) | {"modelId": data.draw(st.sampled_from(MODELS))}
    metadata = {"team": "é 1"} if "requestMetadata" in members else None
    members |= {"requestMetadata": json.dumps(metadata, separators=(",", ":"))} if metadata else {}
    members = {"contentType": "application/json", "body": b"", **members}
    if "trace" in members:
        members["trace"] = members["trace"].upper()
    if not members.keys().isdisjoint({"guardrailIdentifier", "guardrailVersion"}):
        members |= data.draw(NAMED)

    async def verb(client: BedrockClient, members: Members) -> None:
        names = ("guardrailIdentifier", "guardrailVersion", "trace")
        guardrail = {name: members[name] for name in names if name in members}
        if "trace" in guardrail:
            guardrail["trace"] = guardrail["trace"].lower()
        settings: Members = {
            "content_type": members["contentType"],
            "accept": members.get("accept"),
            "guardrail": guardrail or None,
            "performance": members.get("performanceConfigLatency"),
            "service_tier": members.get("serviceTier"),
            "request_metadata": metadata,
        }
        if streamed:
            await anext(client.invoke_stream(members["modelId"], members["body"], **settings))
        else:
            await client.invoke(members["modelId"], members["body"], **settings)

    assert await captured(verb, members, raw=True) == sent_by_botocore(operation, members)


@EXAMPLES
@given(inputs("ApplyGuardrail", WELL_FORMED), NAMED)
async def test_a_guardrail_is_applied_as_botocore_applies_it(members: Members, which: Members) -> None:
    """apply_guardrail takes texts and images as boto3 does."""

    async def verb(client: BedrockClient, members: Members) -> None:
        await client.apply_guardrail(
            members["guardrailIdentifier"],
            members["guardrailVersion"],
            source=members["source"],
            content=members["content"],
            output_scope=members.get("outputScope"),
        )

    members |= which
    assert await captured(verb, members, raw=False) == sent_by_botocore("ApplyGuardrail", members)


@EXAMPLES
@given(inputs("InvokeGuardrailChecks").filter(lambda members: bool(members["checks"])))
async def test_checks_are_made_as_botocore_makes_them(members: Members) -> None:
    """invoke_guardrail_checks takes messages and checks as boto3 does."""

    async def verb(client: BedrockClient, members: Members) -> None:
        await client.invoke_guardrail_checks(members["messages"], members["checks"])

    assert await captured(verb, members, raw=False) == sent_by_botocore("InvokeGuardrailChecks", members)


S3_URIS: Final = ("s3://bucket", "s3://my-bucket.1/a/b c/é", "s3://bucket/prefix/")
JOBS: Final = {
    "AsyncInvokeIdentifier": st.sampled_from(MODELS),
    "ModelInputPayload": json_objects(),
    "S3Uri": st.sampled_from(S3_URIS),
}


@EXAMPLES
@given(inputs("StartAsyncInvoke", JOBS), st.text(min_size=1, max_size=20))
async def test_a_job_is_started_as_botocore_starts_it(members: Members, token: str) -> None:
    """start_async_invoke takes the parts of outputDataConfig one by one."""

    async def verb(client: BedrockClient, members: Members) -> None:
        place = members["outputDataConfig"]["s3OutputDataConfig"]
        await client.start_async_invoke(
            members["modelId"],
            members["modelInput"],
            output_s3_uri=place["s3Uri"],
            kms_key_id=place.get("kmsKeyId"),
            bucket_owner=place.get("bucketOwner"),
            client_request_token=members["clientRequestToken"],
            tags=members.get("tags"),
        )

    members |= {"clientRequestToken": members.get("clientRequestToken", token)}
    assert await captured(verb, members, raw=False) == sent_by_botocore("StartAsyncInvoke", members)


async def test_a_job_is_asked_for_as_botocore_asks() -> None:
    """The ARN is one segment of the path."""

    async def verb(client: BedrockClient, members: Members) -> None:
        await client.async_invoke_job(members["invocationArn"]).status()

    members = {"invocationArn": "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abcdefghijkl"}
    assert await captured(verb, members, raw=False) == sent_by_botocore("GetAsyncInvoke", members)


@EXAMPLES
@given(inputs("ListAsyncInvokes"))
async def test_jobs_are_listed_as_botocore_lists_them(members: Members) -> None:
    """list_async_invokes puts its filters into the query, times in UTC and tokens escaped."""

    async def verb(client: BedrockClient, members: Members) -> None:
        listing = client.list_async_invokes(
            status=members.get("statusEquals"),
            submitted_after=members.get("submitTimeAfter"),
            submitted_before=members.get("submitTimeBefore"),
            sort_by=members.get("sortBy"),
            sort_order=members.get("sortOrder"),
            page_size=members.get("maxResults"),
            next_token=members.get("nextToken"),
        )
        await anext(aiter(listing))

    assert await captured(verb, members, raw=False) == sent_by_botocore("ListAsyncInvokes", members)


KINDS: Final[Mapping[str, type[WireModel]]] = {
    "ApplyGuardrailRequest": ApplyGuardrailRequest,
    "ConverseRequest": ConverseRequest,
    "CountTokensRequest": CountTokensRequest,
    "InvokeGuardrailChecksRequest": GuardrailChecksRequest,
    "StartAsyncInvokeRequest": StartAsyncInvokeRequest,
}
BODIES: Final = {name: bodies(name) for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
@EXAMPLES
@given(data=st.data())
def test_any_request_of_a_later_version_of_the_service_survives(name: str, data: st.DataObject) -> None:
    """Members, blocks and values that no model knows come through both forms, both ways."""
    kind = KINDS[name]
    body = data.draw(BODIES[name])
    located = {field.alias for field_name, field in kind.model_fields.items() if field_name in kind.not_in_body}
    in_body = {member: value for member, value in body.items() if member not in located}

    request = kind.from_wire(body)

    assert request.to_wire() == in_body
    assert json.loads(request.to_wire_bytes()) == in_body
    assert kind.from_dict(request.to_dict()) == request
    assert request.to_dict().keys() == body.keys()
