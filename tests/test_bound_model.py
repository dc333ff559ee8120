"""Bound models and settings at runtime: which value counts, and when a change does."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, get_type_hints

import pytest

from bedrock_async import (
    BedrockClient,
    BoundModel,
    CallSettings,
    ConverseRequest,
    ConverseResponse,
    Credentials,
    InvalidModelIdError,
    InvalidRequestError,
    Timeouts,
)
from bedrock_async.families import ModelProfile, PromptCaching
from bedrock_async.families.profiles import ProfileFields
from bedrock_async.providers import CallContext, Flow
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.testing import BedrockEmulator, ScriptedModel, text_events
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import WireRequest, WireResponse

MODEL: Final = "us.anthropic.claude-sonnet-4-20250514-v1:0"
OTHER: Final = "us.amazon.nova-lite-v1:0"
PROFILE: Final = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"


def answer() -> CannedResponse:
    """Return an answer of Converse."""
    message = {"role": "assistant", "content": [{"text": "Hello."}]}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 2}}
    return CannedResponse([json.dumps(body).encode()])


class Announcing(CannedTransport):
    """Says when the first request has come."""

    def __init__(self, answers: Any) -> None:  # noqa: ANN401 - as the transport
        super().__init__(answers)
        self.asked = asyncio.Event()

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Note the request, and answer it."""
        self.asked.set()
        return await super().send(request, connect_timeout_s=connect_timeout_s)


def setting(*answers: Any, **options: Any) -> tuple[BedrockClient, Announcing]:  # noqa: ANN401 - the client's own
    """Return a client and the transport that sees its requests."""
    transport = Announcing(answers or [answer() for _ in range(8)])
    client = BedrockClient(
        region="us-east-1", credentials=Credentials("AKIDEXAMPLE", "secret"), transport=transport, **options
    )
    return client, transport


def body_of(request: WireRequest) -> dict[str, Any]:
    """Return the body of a request."""
    body: dict[str, Any] = json.loads(request.body)
    return body


def inference(request: WireRequest) -> dict[str, Any]:
    """Return the sampling parameters of a request."""
    found: dict[str, Any] = body_of(request).get("inferenceConfig", {})
    return found


# -- precedence


async def test_a_call_goes_before_the_model_and_the_model_before_the_client() -> None:
    """Each setting is the call's, else the model's, else the client's; None leaves what is below it."""
    client, transport = setting(settings={"max_tokens": 1, "temperature": 0.1, "top_p": 0.1})
    model = client.model(MODEL, temperature=0.2, top_p=0.2)
    await model.converse("Hi.", top_p=0.3, temperature=None)
    assert inference(transport.requests[0]) == {"maxTokens": 1, "temperature": 0.2, "topP": 0.3}
    assert MODEL.replace(":", "%3A") in transport.requests[0].url


async def test_a_model_does_not_touch_the_client() -> None:
    """Two models of one client and the client itself do not see each other's settings."""
    client, transport = setting()
    client.model(MODEL, max_tokens=7)
    await client.model(MODEL, max_tokens=8).converse("Hi.")
    await client.converse(MODEL, "Hi.")
    assert [inference(request) for request in transport.requests] == [{"maxTokens": 8}, {}]


async def test_extra_members_pass_through_a_model() -> None:
    """``additional_request_fields`` and ``extra_body`` of a model reach the wire as they are."""
    client, transport = setting()
    model = client.model(MODEL, additional_request_fields={"top_k": 5}, extra_body={"newMember": {"a": 1}})
    await model.converse("Hi.")
    body = body_of(transport.requests[0])
    assert (body["additionalModelRequestFields"], body["newMember"]) == ({"top_k": 5}, {"a": 1})


async def test_verbs_beside_converse_use_the_settings_that_they_know() -> None:
    """A model with a system prompt can invoke and count; what `invoke` knows of its settings counts."""
    client, transport = setting()
    model = client.model(MODEL, system="Be brief.", service_tier="flex")
    await model.invoke({"prompt": "Hi."}, performance="optimized")
    headers = transport.requests[0].headers
    assert headers["x-amzn-bedrock-service-tier"] == "flex"
    assert headers["x-amzn-bedrock-performanceconfig-latency"] == "optimized"
    assert body_of(transport.requests[0]) == {"prompt": "Hi."}


async def test_count_tokens_counts_what_the_model_would_send() -> None:
    """System prompt and tools of the model are counted with the messages; a native body is counted alone."""
    client, transport = setting(*(CannedResponse([b'{"inputTokens": 9}']) for _ in range(2)))
    model = client.model(MODEL, system="Be brief.", max_tokens=5)
    assert (await model.count_tokens("Hi.")).input_tokens == 9
    assert (await model.count_tokens(body={"prompt": "Hi."})).input_tokens == 9
    counted, native = (body_of(request)["input"] for request in transport.requests)
    assert counted["converse"]["system"] == [{"text": "Be brief."}]
    assert set(native) == {"invokeModel"}


async def test_a_ready_request_takes_none_of_the_models_contents() -> None:
    """It is sent as it is; what says how it is sent counts."""
    client, transport = setting()
    model = client.model(MODEL, system="Be brief.", max_tokens=5, extra_body={"a": 1}, inference_profile=PROFILE)
    ready = ConverseRequest.from_dict({"messages": [{"role": "user", "content": [{"text": "Hi."}]}]})
    await model.converse(ready)
    assert body_of(transport.requests[0]) == ready.to_wire()
    assert "application-inference-profile" in transport.requests[0].url
    await model.converse(model.prepare("Hi."))
    assert body_of(transport.requests[1])["system"] == [{"text": "Be brief."}]
    assert transport.requests[1].url == transport.requests[0].url


async def test_a_ready_request_for_another_model_is_refused() -> None:
    """A bound model is one model."""
    client, transport = setting()
    request = client.prepare(OTHER, "Hi.")
    with pytest.raises(InvalidRequestError, match=r"is for the model 'us\.amazon\.nova-lite"):
        await client.model(MODEL).converse(request)
    assert not transport.requests


# -- changes


async def test_a_change_counts_from_the_next_call_on() -> None:
    """The model, settings that are new, changed and removed: all with one call."""
    client, transport = setting()
    model = client.model(MODEL, temperature=0.7, top_p=0.9)
    await model.converse("Hi.")
    model.update_config(model=OTHER, temperature=0.3, top_p=None, max_tokens=3)
    await model.converse("Hi.")
    first, second = transport.requests
    assert inference(first) == {"temperature": 0.7, "topP": 0.9}
    assert inference(second) == {"temperature": 0.3, "maxTokens": 3}
    assert "nova-lite" in second.url
    assert model.config == {"model": OTHER, "temperature": 0.3, "max_tokens": 3}
    assert model.id == OTHER


async def test_calls_under_way_do_not_see_a_change() -> None:
    """A call that waits for its answer, and is repeated, keeps its model and settings."""
    answered = asyncio.Event()
    client, transport = setting(answered, answer(), answer())
    model = client.model(MODEL, temperature=0.7)
    call = asyncio.ensure_future(model.converse("Hi."))
    await transport.asked.wait()
    model.update_config(model=OTHER, temperature=0.1)
    client.update_config(max_tokens=5)
    answered.set()
    reply = await call
    assert reply.meta.model == MODEL
    assert inference(transport.requests[0]) == {"temperature": 0.7}
    await model.converse("Hi.")
    assert inference(transport.requests[1]) == {"temperature": 0.1, "maxTokens": 5}


async def test_streams_that_were_made_do_not_see_a_change() -> None:
    """Neither one that is open nor one whose request has not gone out yet."""
    client, transport = setting(*(CannedResponse.stream(text_events("hi")) for _ in range(3)))
    model = client.model(MODEL, temperature=0.7)
    opened, later = model.stream("Hi."), model.stream("Hi.")
    async with opened:
        model.update_config(model=OTHER, temperature=0.1)
        assert (await opened.get_final_response()).text == "hi"
    await later.get_final_response()
    await model.stream("Hi.").get_final_response()
    assert [inference(request)["temperature"] for request in transport.requests] == [0.7, 0.7, 0.1]
    assert ["nova" in request.url for request in transport.requests] == [False, False, True]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"temprature": 1}, InvalidRequestError, "Did you mean 'temperature'"),
        ({"inferenceConfig": {}}, InvalidRequestError, "which is boto3's"),
        ({"timeouts": 5}, InvalidRequestError, "not Timeouts"),
        ({"retry": 5}, InvalidRequestError, "not a retry policy"),
        ({"model": "has blanks"}, InvalidModelIdError, "position 3"),
        ({"model": ""}, InvalidModelIdError, "is empty"),
        ({"model": 5}, InvalidModelIdError, "of type int"),
    ],
)
def test_a_refused_change_changes_nothing(change: dict[str, Any], error: type[Exception], message: str) -> None:
    """All or nothing, and the same is refused when a model is made."""
    client, _ = setting()
    model = client.model(MODEL, temperature=0.7)
    changes: dict[str, Any] = {"max_tokens": 9, **change}
    with pytest.raises(error, match=message):
        model.update_config(**changes)
    assert model.config == {"model": MODEL, "temperature": 0.7}
    begun: dict[str, Any] = {"model": MODEL, **change}
    with pytest.raises(error, match=message):
        client.model(**begun)


def test_settings_are_nobody_elses() -> None:
    """Lists and dicts that were passed, or read from `config`, can be changed without changing the model."""
    client, _ = setting()
    stops = ["END"]
    fields_given: dict[str, Any] = {"thinking": {"type": "enabled"}}
    model = client.model(MODEL, stop_sequences=stops, additional_request_fields=fields_given)
    before = model.config
    stops.append("more")
    fields_given["thinking"]["type"] = "disabled"
    model.config["stop_sequences"].append("even more")
    assert model.config == before
    assert before["stop_sequences"] == ["END"]
    assert before["additional_request_fields"] == {"thinking": {"type": "enabled"}}


def test_a_configuration_can_be_put_back() -> None:
    """What `config` gives is what `update_config` takes."""
    client, _ = setting()
    model = client.model(MODEL, temperature=0.7, timeouts=Timeouts(total_s=5))
    saved = model.config
    model.update_config(model=OTHER, temperature=0.1)
    model.update_config(**saved)
    assert model.config == saved


async def test_the_clients_defaults_change_at_runtime() -> None:
    """From the next call on, for its models too; None removes one; a refused change changes nothing."""
    client, transport = setting(settings={"max_tokens": 1, "top_p": 0.5})
    model = client.model(MODEL)
    client.update_config(max_tokens=2, temperature=0.5, top_p=None)
    await model.converse("Hi.")
    assert inference(transport.requests[0]) == {"maxTokens": 2, "temperature": 0.5}
    wrong: dict[str, Any] = {"max_token": 5}
    with pytest.raises(InvalidRequestError, match="has no keyword 'max_token'"):
        client.update_config(temperature=1, **wrong)
    assert client.config == {"max_tokens": 2, "temperature": 0.5}


def test_a_model_with_more_settings_is_another_one() -> None:
    """`with_settings` copies: later changes of either do not touch the other."""
    client, _ = setting()
    model = client.model(MODEL, temperature=0.7)
    other = model.with_settings(temperature=0.1, model=OTHER)
    model.update_config(max_tokens=5)
    assert other.config == {"model": OTHER, "temperature": 0.1}
    assert model.config == {"model": MODEL, "temperature": 0.7, "max_tokens": 5}
    assert other.client is client
    assert repr(other) == f"BoundModel({OTHER!r}, temperature)"


# -- facts


def test_the_fields_of_a_profile_are_typed() -> None:
    """`ProfileFields` has the fields of `ModelProfile`, with the same types."""
    facts = get_type_hints(ModelProfile)
    assert get_type_hints(ProfileFields) == {each.name: facts[each.name] for each in fields(ModelProfile)}
    assert "model_profile" in CallSettings.__annotations__


async def events_of(model: BoundModel, **settings: Any) -> list[str]:  # noqa: ANN401 - settings of a call
    """Return the types of the events of a stream."""
    return [event.type async for event in model.stream("Hi.", **settings)]


@pytest.mark.parametrize(
    "settings",
    [
        {"streaming": False},
        {"model_profile": {"streaming": False}},
        {"model_profile": ModelProfile(source="me", streaming=False)},
    ],
)
async def test_a_model_that_cannot_stream_gives_the_same_events(settings: CallSettings) -> None:
    """Converse is called, and its answer comes as the events that a stream of it would have had."""
    scripted = ScriptedModel.text("hello")
    async with BedrockEmulator([scripted]) as emulator, client_of(emulator) as client:
        whole = await events_of(client.model(OTHER, **settings))
        streamed = await events_of(client.model(OTHER))
        assert whole == streamed
        assert [request.operation for request in emulator.requests] == ["Converse", "ConverseStream"]
        model = client.model(OTHER, **settings)
        assert await events_of(model, streaming=True, model_profile={"streaming": True}) == streamed
        assert emulator.requests[-1].operation == "ConverseStream"


def client_of(emulator: BedrockEmulator) -> BedrockClient:
    """Return a client of an emulator."""
    return BedrockClient(
        region="us-east-1", endpoint_url=emulator.url, credentials=Credentials("AKIDEXAMPLE", "secret")
    )


class Seeing(ConverseProvider):
    """Keeps the facts that calls go by."""

    def __init__(self) -> None:
        self.seen: list[ModelProfile] = []

    def converse(self, request: ConverseRequest, ctx: CallContext) -> Flow[ConverseResponse]:
        """One request, one response."""
        self.seen.append(ctx.profile)
        return super().converse(request, ctx)


async def test_each_fact_is_overridden_for_itself() -> None:
    """Facts of the call go before those of the model, these before the client's; the others stay."""
    provider = Seeing()
    client, _ = setting(
        settings={"model_profile": {"context_window": 1, "max_output_tokens": 1, "citations": True}},
        providers={"seeing": provider},
        provider="seeing",
    )
    model = client.model(MODEL, model_profile={"max_output_tokens": 2, "prefill": False})
    whole = ModelProfile(source="me", caching=PromptCaching(min_tokens=5))
    await model.converse("Hi.", model_profile={"prefill": True})
    await model.converse("Hi.", model_profile=whole)
    model.update_config(model_profile=whole)
    await model.converse("Hi.", model_profile={"prefill": False})
    merged, replaced, changed = provider.seen
    assert (merged.context_window, merged.max_output_tokens, merged.prefill, merged.citations) == (1, 2, True, True)
    assert merged.caching is not None  # of the table
    assert replaced == whole
    assert (changed.caching, changed.prefill) == (PromptCaching(min_tokens=5), False)


@pytest.mark.parametrize(
    ("facts", "message"),
    [(5, "is an int, not a mapping or a ModelProfile"), ({"streamin": 1}, "Did you mean 'streaming'")],
)
async def test_facts_that_are_none_are_refused(facts: Any, message: str) -> None:  # noqa: ANN401 - whatever is wrong
    """With the path of the keyword, before anything is sent."""
    client, transport = setting()
    with pytest.raises(InvalidRequestError, match=message) as caught:
        await client.model(MODEL).converse("Hi.", model_profile=facts)
    assert (caught.value.path or "").startswith("model_profile")
    assert not transport.requests


# -- the verbs


NOT_ITS_OWN: Final = {"model", "resolve_model"}
"""What the client has for any model: they make one, or tell of one."""


def public(kind: type) -> set[str]:
    """Return the names of the public methods of a class."""
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_a_bound_model_has_every_verb_that_takes_a_model() -> None:
    """A verb that the client gets is one of the bound model's, or is about no model of one's own."""
    verbs = {name for name in public(BedrockClient) if takes_a_model(getattr(BedrockClient, name))} - NOT_ITS_OWN
    assert {"converse", "stream", "parse", "run_tools", "embed", "conversation"} <= verbs
    assert public(BoundModel) == {*verbs, "update_config", "with_settings"}
    for name in verbs:
        assert inspect.getdoc(getattr(BoundModel, name))


def takes_a_model(verb: Callable[..., object]) -> bool:
    """Tell whether the first argument of a verb is a model."""
    return "model" in list(inspect.signature(verb).parameters)[1:2]
