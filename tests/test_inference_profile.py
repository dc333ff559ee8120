"""Calls through inference profiles: where they go, and which model decides what can be done."""

from __future__ import annotations

import json
from typing import Any, Final, Self

import pytest

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    CallSettings,
    ConverseRequest,
    ConverseResponse,
    Credentials,
    Event,
    InvalidModelIdError,
)
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, Flow, StreamPlan
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing import BedrockEmulator, EmulatorAccount, ScriptedModel
from bedrock_async.testing.canned import CannedResponse, CannedTransport

BASE: Final = "amazon.nova-lite-v1:0"
PROFILE: Final = f"us.{BASE}"
APPLICATION: Final = "a1b2c3d4e5f6"
ARN: Final = f"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/{APPLICATION}"
QUOTED_ARN: Final = f"arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2F{APPLICATION}"


class RecordingProvider(ConverseProvider):
    """Keeps the context of every call."""

    def __init__(self) -> None:
        self.seen: list[CallContext] = []

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """One request, one response."""
        self.seen.append(ctx)
        return super().converse(request, ctx)

    def stream(self, request: ConverseRequest, ctx: CallContext) -> StreamPlan[Event]:
        """One request, an event stream."""
        self.seen.append(ctx)
        return super().stream(request, ctx)


class Setting:
    """An emulator with an application profile, and a client whose provider can be looked at."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the client's
        self.provider = RecordingProvider()
        account = EmulatorAccount(inference_profiles={APPLICATION: BASE})
        self.emulator = BedrockEmulator([ScriptedModel.text("Hello.", model_ids=[BASE])], account=account)
        self._options = options

    async def __aenter__(self) -> Self:
        await self.emulator.start()
        self.client = BedrockClient(
            region="us-east-1",
            endpoint_url=self.emulator.url,
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            providers={"recording": self.provider},
            provider="recording",
            retry=NO_RETRY,
            **self._options,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()
        await self.emulator.aclose()

    @property
    def paths(self) -> list[str]:
        """The paths of all requests, as they came."""
        return [request.path for request in self.emulator.requests]


@pytest.mark.parametrize(("profile", "quoted"), [(PROFILE, "us.amazon.nova-lite-v1%3A0"), (ARN, QUOTED_ARN)])
async def test_a_profile_takes_the_call_and_the_model_says_what_it_can_do(profile: str, quoted: str) -> None:
    """The path has the profile, quoted; the provider sees both; the reply names what was called."""
    async with Setting() as here:
        reply = await here.client.converse(BASE, "Hi.", inference_profile=profile)
        async with here.client.stream(BASE, "Hi.", inference_profile=profile) as stream:
            streamed = await stream.get_final_response()
    assert here.paths == [f"/model/{quoted}/converse", f"/model/{quoted}/converse-stream"]
    for answer in (reply, streamed):
        assert (answer.text, answer.meta.model) == ("Hello.", profile)
    for context in here.provider.seen:
        assert (context.model.raw, context.target.raw) == (BASE, profile)
        assert context.inference_profile == context.target


async def test_native_calls_go_through_a_profile_too() -> None:
    """`invoke` and `invoke_stream` take the keyword as `converse` does."""
    async with Setting() as here:
        answer = await here.client.invoke(BASE, {"inputText": "Hi."}, inference_profile=ARN)
        async with here.client.invoke_stream(BASE, {"inputText": "Hi."}, inference_profile=ARN) as stream:
            async for _ in stream:
                pass
        assert (answer.meta.model, stream.meta.model) == (ARN, ARN)
    assert here.paths == [f"/model/{QUOTED_ARN}/invoke", f"/model/{QUOTED_ARN}/invoke-with-response-stream"]


async def test_tokens_are_counted_under_whichever_id_is_taken() -> None:
    """The profile first, then the model behind it; the one that was taken is remembered."""
    kind = {"x-amzn-errortype": "ValidationException"}
    refused = CannedResponse(
        [b'{"message": "The provided model doesn\'t support counting tokens."}'], status=400, headers=kind
    )
    counts = [CannedResponse([json.dumps({"inputTokens": count}).encode()]) for count in (7, 8)]
    transport = CannedTransport([refused, *counts])
    client = BedrockClient(
        region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport, retry=NO_RETRY
    )
    for expected in (7, 8):
        count = await client.count_tokens(BASE, "Hi.", inference_profile=ARN)
        assert (count.input_tokens, count.meta.model) == (expected, BASE)
    asked = [request.url.split("/model/")[1] for request in transport.requests]
    base = "amazon.nova-lite-v1%3A0"
    assert asked == [f"{QUOTED_ARN}/count-tokens", f"{base}/count-tokens", f"{base}/count-tokens"]


async def test_without_a_profile_model_and_target_are_one() -> None:
    """A context that was made before there were profiles in it goes on working."""
    context = CallContext(parse_model_id(BASE), "us-east-1")
    assert context.inference_profile is None
    assert context.target is context.model
    async with Setting() as here:
        reply = await here.client.converse(PROFILE, "Hi.")
    assert reply.meta.model == PROFILE
    assert here.provider.seen[0].model is here.provider.seen[0].target


async def test_a_default_of_the_client_routes_every_call() -> None:
    """A call's own profile goes before it; None leaves the default standing."""
    defaults: CallSettings = {"inference_profile": ARN}
    async with Setting(settings=defaults) as here:
        await here.client.converse(BASE, "Hi.")
        await here.client.converse(BASE, "Hi.", inference_profile=None)
        await here.client.converse(BASE, "Hi.", inference_profile=PROFILE)
    assert [path.split("/")[2] for path in here.paths] == [QUOTED_ARN, QUOTED_ARN, "us.amazon.nova-lite-v1%3A0"]


async def test_a_prepared_request_names_what_will_be_called() -> None:
    """`prepare` gives boto3's keywords for the very request; a ready request can be routed as well."""
    async with Setting() as here:
        prepared = here.client.prepare(BASE, "Hi.", inference_profile=ARN)
        assert prepared.model_id == prepared.to_dict()["modelId"] == ARN
        plain = here.client.prepare(BASE, "Hi.")
        assert plain.model_id == BASE
        await here.client.converse(prepared)
        await here.client.converse(plain, inference_profile=ARN)
    assert here.paths == [f"/model/{QUOTED_ARN}/converse"] * 2
    assert [context.model.raw for context in here.provider.seen] == [ARN, BASE]


async def test_once_resolved_a_profile_is_known_for_what_it_is() -> None:
    """Before, an application profile given as model stands for itself; afterwards for the model behind it."""
    async with Setting() as here:
        await here.client.converse(ARN, "Hi.")
        resolved = await here.client.resolve_model(ARN)
        reply = await here.client.converse(ARN, "Hi.")
        await here.client.converse(APPLICATION, "Hi.")
    assert resolved.base_model.raw == BASE
    before, after, by_id = here.provider.seen
    assert (before.model.raw, before.inference_profile) == (ARN, None)
    assert (after.model.raw, after.target.raw, reply.meta.model) == (BASE, ARN, ARN)
    assert (by_id.model.raw, by_id.target.raw) == (BASE, APPLICATION)


@pytest.mark.parametrize(
    ("model", "profile", "complaint"),
    [
        (BASE, ARN.replace("us-east-1", "eu-west-1"), "to the region eu-west-1; the client's is us-east-1"),
        (BASE, "arn:aws:bedrock:us-east-1:1234:application-inference-profile/abc", "has the account '1234'"),
        (BASE, "arn:aws:bedrock", "3 of 6 parts"),
        (BASE, "", "is empty"),
        (BASE, 5, "of type int"),
        ("arn:aws:bedrock", PROFILE, "3 of 6 parts"),
        (None, PROFILE, "None, not text"),
    ],
)
async def test_wrong_profiles_are_refused_before_anything_is_sent(model: Any, profile: Any, complaint: str) -> None:  # noqa: ANN401
    """As wrong models are."""
    async with Setting() as here:
        with pytest.raises(InvalidModelIdError, match=complaint):
            await here.client.converse(model, "Hi.", inference_profile=profile)
        with pytest.raises(InvalidModelIdError, match=complaint):
            here.client.stream(model, "Hi.", inference_profile=profile)
    assert here.paths == []


async def test_the_model_behind_a_profile_may_be_named_by_any_arn() -> None:
    """It is not called: that its region is another one does not matter."""
    async with Setting() as here:
        await here.client.converse(f"arn:aws:bedrock:us-west-2::foundation-model/{BASE}", "Hi.", inference_profile=ARN)
    assert here.provider.seen[0].model.base_model == BASE
