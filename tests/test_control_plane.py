"""The control plane: requests and answers as botocore has them, what is remembered, and who shares a question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest
from botocore.model import OperationModel, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.utils import percent_encode_sequence
from botocore_reading import pruned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from official_clients import OFFICIAL_CLIENTS
from strategies import Objects, _Shapes

from bedrock_async import (
    NO_RETRY,
    AccessDeniedError,
    BedrockClient,
    ClientClosedError,
    Credentials,
    InferenceProfile,
    InvalidModelIdError,
    InvalidRequestError,
    ModelAccess,
    ModelId,
    ResolvedModel,
    ResourceNotFoundError,
    ResponseDecodeError,
    ServiceUnavailableError,
    ThrottlingError,
    Timeouts,
    WireModel,
)
from bedrock_async.auth import BearerAuthenticator
from bedrock_async.calls import Call, Line, _query
from bedrock_async.control_plane import TTL_S, ControlPlane, resolve_control_endpoint
from bedrock_async.errors import BedrockError, service_error
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import Flow, HttpRequest, HttpResponse, Send
from bedrock_async.providers.control_plane import (
    base_models,
    get_foundation_model_availability,
    get_inference_profile,
    list_foundation_models,
    list_inference_profiles,
)
from bedrock_async.testing import (
    BedrockEmulator,
    EmulatorAccount,
    ScriptedModel,
    control_plane_model,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import ConnectionOptions, WireRequest, WireResponse, resolve_endpoint
from bedrock_async.types import (
    FoundationModelList,
    InferenceProfileModel,
    InferenceProfilePage,
    ListFoundationModelsRequest,
    ListInferenceProfilesRequest,
)

NOVA: Final = "amazon.nova-lite-v1:0"
CLAUDE: Final = "anthropic.claude-sonnet-4-6"
APPLICATION: Final = "a1b2c3d4e5f6"
APPLICATION_ARN: Final = f"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/{APPLICATION}"
KEYS: Final = Credentials("AKIDEXAMPLE", "secret")
URL: Final = "https://bedrock.us-east-1.amazonaws.com"
ENDPOINT: Final = resolve_endpoint("us-east-1", service="bedrock", environ={})

FLOWS: Final[Mapping[str, Callable[[dict[str, Any]], Flow[Any]]]] = {
    "ListFoundationModels": lambda given: list_foundation_models(
        ListFoundationModelsRequest.from_dict(given), endpoint=URL
    ),
    "ListInferenceProfiles": lambda given: list_inference_profiles(
        ListInferenceProfilesRequest.from_dict(given), endpoint=URL
    ),
    "GetInferenceProfile": lambda given: get_inference_profile(
        _anything(given["inferenceProfileIdentifier"]), endpoint=URL
    ),
    "GetFoundationModelAvailability": lambda given: get_foundation_model_availability(
        _anything(given["modelId"]), endpoint=URL
    ),
}
ANSWERS: Final[Mapping[str, type[WireModel]]] = {
    "ListFoundationModels": FoundationModelList,
    "ListInferenceProfiles": InferenceProfilePage,
    "GetInferenceProfile": InferenceProfile,
    "GetFoundationModelAvailability": ModelAccess,
}


def _anything(raw: str) -> ModelId:
    return ModelId(raw=raw, kind="unknown", resource=raw)


def operation(name: str) -> OperationModel:
    """Return an operation of the reference model."""
    return control_plane_model().operation_model(name)


def shape_of(shape: object) -> StructureShape:
    """Return an operation's input or output."""
    assert isinstance(shape, StructureShape)
    return shape


def requests_of(name: str) -> Objects:
    """Return valid parameters for boto3's method of this operation."""
    return _Shapes(wire=False, foreign=False, nulls=False).structure(shape_of(operation(name).input_shape))


def answers_of(name: str) -> Objects:
    """Return wire JSON of the operation's answer, with members that nobody knows."""
    return _Shapes(wire=True, foreign=True, nulls=False).structure(shape_of(operation(name).output_shape))


def first_request(flow: Flow[Any]) -> HttpRequest:
    """Return the request that a flow sends first."""
    effect = next(flow)
    assert isinstance(effect, Send)
    flow.close()
    return effect.request


# -- exact on the wire


@pytest.mark.parametrize("name", sorted(FLOWS))
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_request_is_what_botocore_sends(name: str, data: st.DataObject) -> None:
    """Method, path, query, headers and body, whatever the parameters."""
    parameters = data.draw(requests_of(name))
    expected = create_serializer("rest-json").serialize_to_request(parameters, operation(name))
    request = first_request(FLOWS[name](parameters))
    assert (request.method, request.path) == (expected["method"], expected["url_path"])
    assert dict(request.query) == {key: str(value) for key, value in expected["query_string"].items()}
    encoded = percent_encode_sequence({key: str(value) for key, value in expected["query_string"].items()})
    assert sorted(_query(request.query).split("&")) == sorted(encoded.split("&"))
    assert dict(request.headers) == expected["headers"] == {}
    assert request.body == expected["body"] == b""
    assert (request.endpoint, request.signing_name, request.idempotent) == (URL, "bedrock", True)


@pytest.mark.parametrize("name", sorted(ANSWERS))
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_answer_is_read_as_botocore_reads_it(name: str, data: st.DataObject) -> None:
    """`to_dict` has botocore's values, and `to_wire` keeps what neither knows."""
    wire = data.draw(answers_of(name))
    body = json.dumps(wire).encode()
    shape = shape_of(operation(name).output_shape)
    expected = create_parser("rest-json").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    expected.pop("ResponseMetadata")
    read = ANSWERS[name].from_wire(body)
    assert pruned(read.to_dict(), shape) == expected
    assert ANSWERS[name].from_wire(read.to_wire()) == read
    assert read.to_wire().keys() == wire.keys()


def test_every_member_of_the_operations_has_its_place() -> None:
    """A walk over the reference model: each member and each enumerated value of an answer is typed."""
    for name, kind in ANSWERS.items():
        shape = shape_of(operation(name).output_shape)
        aliases = {field.alias for field in kind.model_fields.values()}
        assert set(shape.members) <= aliases, name
    for request, name in (
        (ListFoundationModelsRequest, "ListFoundationModels"),
        (ListInferenceProfilesRequest, "ListInferenceProfiles"),
    ):
        fields = {field.alias for field in request.model_fields.values()}
        assert set(shape_of(operation(name).input_shape).members) == fields


def played(flow: Flow[Any], *answers: Mapping[str, object]) -> tuple[Any, list[HttpRequest]]:
    """Return what a flow makes of these answers, and the requests that it sent."""
    sent: list[HttpRequest] = []
    effect = next(flow)
    try:
        for answer in answers:
            assert isinstance(effect, Send)
            sent.append(effect.request)
            body = json.dumps(answer).encode()
            effect = flow.send(HttpResponse(200, {"content-type": "application/json"}, body))
    except StopIteration as stop:
        return stop.value, sent
    raise AssertionError("the flow asks for more")


def page(*names: str, token: str | None = None) -> dict[str, object]:
    """Return a page of profiles with these ids."""
    listed = [{"inferenceProfileId": name} for name in names]
    return {"inferenceProfileSummaries": listed, **({"nextToken": token} if token else {})}


def test_pages_are_read_to_the_last() -> None:
    """Each page is asked for with the token of the one before, and the filters stay."""
    request = ListInferenceProfilesRequest(type_equals="APPLICATION", max_results=2)
    found, sent = played(
        list_inference_profiles(request, endpoint=URL), page("a", "b", token="t/1"), page(token="t2"), page("c")
    )
    assert [profile.inference_profile_id for profile in found] == ["a", "b", "c"]
    assert [dict(each.query) for each in sent] == [
        {"type": "APPLICATION", "maxResults": "2"},
        {"type": "APPLICATION", "maxResults": "2", "nextToken": "t/1"},
        {"type": "APPLICATION", "maxResults": "2", "nextToken": "t2"},
    ]


def test_pages_in_a_circle_are_an_error() -> None:
    """A server that hands out a token again would be read for ever."""
    flow = list_inference_profiles(ListInferenceProfilesRequest(), endpoint=URL)
    with pytest.raises(ResponseDecodeError, match="page 3 refers back"):
        played(flow, page("a", token="t1"), page("b", token="t2"), page("c", token="t1"))


@pytest.mark.parametrize(
    ("arns", "bases"),
    [
        ((f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}",), (NOVA,)),
        (tuple(f"arn:aws:bedrock:{region}::foundation-model/{NOVA}" for region in ("us-east-1", "us-west-2")), (NOVA,)),
        (
            (
                f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}",
                f"arn:aws:bedrock:::foundation-model/{CLAUDE}",
            ),
            (CLAUDE,),
        ),
        (
            (
                f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}",
                f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}",
            ),
            (CLAUDE, NOVA),
        ),
        ((), ()),
    ],
)
def test_the_models_behind_a_profile_are_named_once(arns: tuple[str, ...], bases: tuple[str, ...]) -> None:
    """A profile names its model once for each region, a global one also without a region."""
    profile = InferenceProfile(models=[InferenceProfileModel(model_arn=arn) for arn in arns])
    assert tuple(model.raw for model in base_models(profile)) == bases


# -- where it is


@pytest.mark.parametrize(
    ("argument", "runtime", "environ", "url"),
    [
        (None, None, {}, "https://bedrock.eu-west-1.amazonaws.com"),
        (
            "https://control.example",
            "http://127.0.0.1:1",
            {"AWS_ENDPOINT_URL_BEDROCK": "https://b"},
            "https://control.example",
        ),
        (None, "http://127.0.0.1:8765", {}, "http://127.0.0.1:8765"),
        (None, "http://[::1]:8765", {}, "http://[::1]:8765"),
        (None, "http://localhost:8765/prefix", {"AWS_ENDPOINT_URL": "https://b"}, "http://localhost:8765/prefix"),
        (None, "http://127.0.0.1:1", {"AWS_ENDPOINT_URL_BEDROCK": "https://b.example"}, "https://b.example"),
        (
            None,
            "http://127.0.0.1:1",
            {"AWS_ENDPOINT_URL_BEDROCK": "https://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "http://127.0.0.1:1",
        ),
        (None, "https://vpce-1.example", {}, "https://bedrock.eu-west-1.amazonaws.com"),
        (None, "https://vpce-1.example", {"AWS_ENDPOINT_URL": "https://b.example"}, "https://b.example"),
        (None, None, {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://bedrock-fips.eu-west-1.amazonaws.com"),
    ],
)
def test_where_the_control_plane_is(
    argument: str | None, runtime: str | None, environ: Mapping[str, str], url: str
) -> None:
    """The argument, the service's variable, an emulator on this machine, the general variable, the region's own."""
    at = resolve_endpoint("eu-west-1", endpoint_url=runtime, environ={})
    found = resolve_control_endpoint("eu-west-1", control_endpoint_url=argument, runtime=at, environ=environ)
    assert found.base_url == url


class Profile:
    """Settings of a profile, as the configuration file would have them."""

    def __init__(self, own: Mapping[str, str], bedrock: str | None = None) -> None:
        self._own, self._bedrock = own, bedrock

    def setting(self, key: str, *, service: str | None = None) -> tuple[str, str] | None:
        """Return a value and where it stands."""
        value = self._own.get(key) if service is None else self._bedrock if service == "bedrock" else None
        return None if value is None else (value, "the profile")


@pytest.mark.parametrize(
    ("profile", "ignore", "url"),
    [
        (Profile({}, "https://b.example"), None, "https://b.example"),
        (Profile({"endpoint_url": "https://c.example"}), None, "http://127.0.0.1:1"),
        (Profile({"ignore_configured_endpoint_urls": "true"}, "https://b.example"), None, "http://127.0.0.1:1"),
        (Profile({"ignore_configured_endpoint_urls": "true"}, "https://b.example"), False, "https://b.example"),
        (Profile({}, "https://b.example"), True, "http://127.0.0.1:1"),
    ],
)
def test_the_profile_can_name_it_too(profile: Profile, *, ignore: bool | None, url: str) -> None:
    """Its services section is as good as the variable, unless configured URLs are to be ignored."""
    found = resolve_control_endpoint(
        "eu-west-1",
        control_endpoint_url=None,
        runtime=resolve_endpoint("eu-west-1", endpoint_url="http://127.0.0.1:1", environ={}),
        environ={},
        config=profile,
        options=ConnectionOptions(ignore_configured_endpoint_urls=ignore),
    )
    assert found.base_url == url


def test_the_clients_options_count_for_the_control_plane() -> None:
    """FIPS for the one is FIPS for the other."""
    client = BedrockClient(region="us-east-1", credentials=KEYS, connection=ConnectionOptions(use_fips=True))
    assert client._control_plane().endpoint.host == "bedrock-fips.us-east-1.amazonaws.com"


def test_a_control_endpoint_that_cannot_be_one_is_refused_at_once() -> None:
    """As `endpoint_url` is: before the first call."""
    with pytest.raises(InvalidRequestError, match="not on this machine"):
        BedrockClient(region="us-east-1", credentials=KEYS, control_endpoint_url="http://control.example")


async def test_the_control_plane_can_be_elsewhere() -> None:
    """With `control_endpoint_url` models come from there, answers from the runtime's endpoint."""
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.", model_ids=[NOVA])]) as runtime,
        BedrockEmulator([ScriptedModel.text("Hello.", model_ids=[CLAUDE])]) as control,
        BedrockClient(
            region="us-east-1", endpoint_url=runtime.url, control_endpoint_url=control.url, credentials=KEYS
        ) as client,
    ):
        assert [model.model_id for model in await client.list_models()] == [CLAUDE]
        assert (await client.converse(NOVA, "Hi.")).text == "Hello."
    assert [request.operation for request in control.requests] == ["ListFoundationModels"]
    assert [request.operation for request in runtime.requests] == ["Converse"]


# -- against the emulator, beside the official clients


ACCOUNT: Final = EmulatorAccount(
    inference_profiles={
        APPLICATION: NOVA,
        f"global.{CLAUDE}": CLAUDE,
        **{f"app{number:09}": NOVA for number in range(5)},
    },
    foundation_models={
        "amazon.nova-canvas-v1:0": {"outputModalities": ["IMAGE"], "inferenceTypesSupported": ["PROVISIONED"]},
        "stability.sd3-5-large-v1:0": {"outputModalities": ["IMAGE"], "customizationsSupported": ["FINE_TUNING"]},
    },
    without_access=[CLAUDE],
    page_size=3,
)


def emulator(account: EmulatorAccount = ACCOUNT, **options: Any) -> BedrockEmulator:  # noqa: ANN401 - the emulator's
    """Return an emulator with two models of its own and what the account has."""
    return BedrockEmulator([ScriptedModel.text("Hello.", model_ids=[f"us.{NOVA}", CLAUDE])], account=account, **options)


def client_for(running: BedrockEmulator, **options: Any) -> BedrockClient:  # noqa: ANN401 - the client's
    """Return a client of the emulator."""
    if "api_key" not in options:
        options["credentials"] = KEYS
    return BedrockClient(region="us-east-1", endpoint_url=running.url, retry=NO_RETRY, **options)


@pytest.mark.parametrize("library", sorted(OFFICIAL_CLIENTS))
async def test_official_clients_get_what_ours_gets(library: str) -> None:
    """boto3 and aiobotocore drive the emulator's control plane, and read the same from it, pages included."""
    async with (
        emulator() as running,
        client_for(running) as ours,
        OFFICIAL_CLIENTS[library](running.url, service="bedrock") as theirs,
    ):
        listed = await theirs.call("list_foundation_models", byOutputModality="IMAGE")
        models = await ours.list_models(output_modality="IMAGE")
        assert [model.to_dict() for model in models] == listed["modelSummaries"]
        profiles: list[Any] = []
        token: dict[str, str] = {}
        while True:
            read = await theirs.call("list_inference_profiles", typeEquals="APPLICATION", maxResults=2, **token)
            profiles += read["inferenceProfileSummaries"]
            if "nextToken" not in read:
                break
            token = {"nextToken": read["nextToken"]}
        assert [each.to_dict() for each in await ours.list_inference_profiles(type="APPLICATION")] == profiles
        assert len(profiles) == 6
        for identifier in (APPLICATION, APPLICATION_ARN, f"us.{NOVA}"):
            found = await theirs.call("get_inference_profile", inferenceProfileIdentifier=identifier)
            found.pop("ResponseMetadata")
            resolved = await ours.resolve_model(identifier)
            assert resolved.profile is not None
            assert resolved.profile.to_dict() == found
        told = await theirs.call("get_foundation_model_availability", modelId=CLAUDE)
        told.pop("ResponseMetadata")
        access = {model.model_id: model.access for model in await ours.list_models(access=True)}
        assert access[CLAUDE] == ModelAccess.from_dict(told)


@pytest.mark.parametrize("options", [{}, {"api_key": "ABSKexample"}])
async def test_both_kinds_of_credentials_are_accepted(options: dict[str, Any]) -> None:
    """Signed for the service "bedrock", or with an API key: the emulator checks either as the service does."""
    keys = [("AKIDEXAMPLE", "secret")]
    async with (
        emulator(credentials=keys, api_keys=["ABSKexample"]) as running,
        client_for(running, **options) as client,
    ):
        assert len(await client.list_models()) == 4
        assert len(await client.list_inference_profiles()) == 8


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [NOVA, CLAUDE, "amazon.nova-canvas-v1:0", "stability.sd3-5-large-v1:0"]),
        ({"provider": "Amazon"}, [NOVA, "amazon.nova-canvas-v1:0"]),
        ({"provider": "Stability AI"}, ["stability.sd3-5-large-v1:0"]),
        ({"output_modality": "IMAGE", "inference_type": "PROVISIONED"}, ["amazon.nova-canvas-v1:0"]),
        ({"customization_type": "FINE_TUNING"}, ["stability.sd3-5-large-v1:0"]),
        ({"provider": "Nobody"}, []),
    ],
)
async def test_filters_choose_among_the_models(filters: dict[str, Any], expected: list[str]) -> None:
    """Each filter is the service's own, and they work together."""
    async with emulator() as running, client_for(running) as client:
        assert sorted(model.model_id for model in await client.list_models(**filters)) == sorted(expected)


async def test_a_filter_the_service_does_not_know_is_its_to_refuse() -> None:
    """A value that is not known today passes through us; the answer is the service's."""
    async with emulator() as running, client_for(running) as client:
        with pytest.raises(BedrockError, match="SMELL"):
            await client.list_models(output_modality="SMELL")


async def test_access_says_what_is_missing() -> None:
    """Only with `access=True`, for every model, and remembered like the rest."""
    async with emulator() as running, client_for(running) as client:
        assert all(model.access is None for model in await client.list_models())
        await client.list_models(access=True)
        models = {model.model_id: model for model in await client.list_models(access=True)}
        nova, claude = models[NOVA].access, models[CLAUDE].access
        assert nova is not None
        assert claude is not None
        assert (nova.granted, nova.missing) == (True, ())
        assert (claude.granted, claude.missing) == (False, ("agreement", "entitlement"))
        with pytest.raises(AccessDeniedError, match="don't have access"):
            await client.converse(CLAUDE, "Hi.")
    asked = [request.operation for request in running.requests]
    assert asked.count("ListFoundationModels") == 1
    assert asked.count("GetFoundationModelAvailability") == 4


async def test_a_refused_permission_is_named() -> None:
    """The message and the hint have the IAM action; nothing is remembered of a refusal."""
    denied = EmulatorAccount(denied_actions=["bedrock:GetFoundationModelAvailability", "bedrock:GetInferenceProfile"])
    async with emulator(account=denied) as running, client_for(running) as client:
        assert len(await client.list_models()) == 2
        for _ in range(2):
            with pytest.raises(AccessDeniedError) as caught:
                await client.list_models(access=True)
            assert "bedrock:GetFoundationModelAvailability" in (caught.value.hint or "")
        with pytest.raises(AccessDeniedError, match="bedrock:GetInferenceProfile"):
            await client.resolve_model(APPLICATION)


# -- resolving, and calls through profiles


async def test_an_application_profile_is_resolved_to_its_model() -> None:
    """By id or ARN: the profile, its base models, and the id that was asked for."""
    async with emulator() as running, client_for(running) as client:
        for name in (APPLICATION, APPLICATION_ARN):
            resolved = await client.resolve_model(name)
            assert isinstance(resolved, ResolvedModel)
            assert resolved.model.raw == name
            assert resolved.profile is not None
            assert resolved.profile.type == "APPLICATION"
            assert resolved.base_model == parse_model_id(NOVA)
            assert resolved.base_models == (parse_model_id(NOVA),)
        assert (await client.resolve_model(f"global.{CLAUDE}")).base_model.raw == CLAUDE


@pytest.mark.parametrize("model", [NOVA, f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"])
async def test_a_foundation_model_needs_no_request(model: str) -> None:
    """It is its own base model."""
    async with emulator() as running, client_for(running) as client:
        resolved = await client.resolve_model(model)
        assert (resolved.model.raw, resolved.profile, resolved.base_model.raw) == (model, None, NOVA)
    assert not running.requests


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl",
            "provisioned-model, not an inference",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:prompt-router/abcdefghijkl",
            "prompt-router, not an inference profile",
        ),
        (APPLICATION_ARN.replace("us-east-1", "eu-west-1"), "to the region eu-west-1; the client's is us-east-1"),
        ("arn:aws:bedrock:us-east-1", "4 of 6 parts"),
        ("", "is empty"),
    ],
)
async def test_what_no_profile_can_tell_is_refused(model: str, complaint: str) -> None:
    """Before anything is sent, with the way to go on."""
    async with emulator() as running, client_for(running) as client:
        with pytest.raises(InvalidModelIdError, match=complaint):
            await client.resolve_model(model)
    assert not running.requests


async def test_a_profile_that_is_not_there_is_the_services_to_refuse() -> None:
    """And it is asked for again the next time."""
    async with emulator() as running, client_for(running) as client:
        for _ in range(2):
            with pytest.raises(ResourceNotFoundError):
                await client.resolve_model("nosuchprofil")
    assert len(running.requests) == 2


async def test_an_arn_of_another_account_is_refused_by_the_service() -> None:
    """A client does not know its account; IAM's refusal becomes an error that names action and account."""
    arn = APPLICATION_ARN.replace("123456789012", "999999999999")
    async with emulator() as running, client_for(running) as client:
        with pytest.raises(
            AccessDeniedError, match="no resource-based policy allows the bedrock:InvokeModel"
        ) as caught:
            await client.converse(arn, "Hi.")
        assert "account 999999999999" in (caught.value.hint or "")


# -- what is remembered


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class GatedTransport:
    """Holds every request back until the gate opens; counts how many are under way."""

    name = "gated"

    def __init__(self, answer: Callable[[WireRequest], CannedResponse | BedrockError], *, hold: int = 1) -> None:
        self.gate = asyncio.Event()
        self.held = asyncio.Event()
        """Set when ``hold`` requests wait at the gate."""
        self.urls: list[str] = []
        self.under_way = self.most = 0
        self._answer, self._hold = answer, hold

    async def send(self, request: WireRequest, *, connect_timeout_s: float) -> WireResponse:
        """Answer when the gate is open."""
        self.urls.append(request.url)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.under_way == self._hold:
            self.held.set()
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        answer = self._answer(request)
        if isinstance(answer, BedrockError):
            raise answer
        return answer

    async def aclose(self) -> None:
        """Close nothing."""


def control_plane(
    transport: CannedTransport | GatedTransport, clock: Callable[[], float] | None = None
) -> ControlPlane:
    """Return a control plane over a transport without a network."""
    line = Line(
        transport=transport,
        authenticator=BearerAuthenticator("ABSKexample"),
        endpoint=ENDPOINT,
        region="us-east-1",
        user_agent="test",
        max_response_bytes=100_000,
    )
    return ControlPlane(lambda: Call(line, Timeouts(), NO_RETRY), ENDPOINT, clock=clock or Clock())


def model_list(*names: str) -> CannedResponse:
    """Return an answer of ListFoundationModels."""
    return CannedResponse([json.dumps({"modelSummaries": [{"modelId": name} for name in names]}).encode()])


ANY: Final = ListFoundationModelsRequest()


async def test_answers_are_used_again_until_they_are_too_old() -> None:
    """For five minutes; `refresh` asks at once, and its answer counts from then on. Filters are questions apart."""
    clock, transport = Clock(), CannedTransport([model_list(name) for name in ("a.1", "a.2", "a.3", "a.4")])
    plane = control_plane(transport, clock)

    async def names(request: ListFoundationModelsRequest = ANY, **options: bool) -> list[str]:
        return [model.model_id for model in await plane.models(request, **options)]

    assert await names() == await names() == ["a.1"]
    clock.now += TTL_S - 0.001
    assert await names() == ["a.1"]
    assert await names(refresh=True) == await names() == ["a.2"]
    clock.now += TTL_S
    assert await names() == ["a.3"]
    assert await names(ListFoundationModelsRequest(by_provider="Amazon")) == ["a.4"]
    assert len(transport.requests) == 4


async def test_what_is_handed_out_is_the_callers() -> None:
    """Changing the list changes nobody else's."""
    plane = control_plane(CannedTransport([model_list("a.1", "a.2")]))
    (await plane.models(ANY)).clear()
    assert len(await plane.models(ANY)) == 2


async def test_one_question_for_many_who_ask() -> None:
    """Ten tasks, one request; with and without `refresh`."""
    transport = GatedTransport(lambda _: model_list("a.1"))
    plane = control_plane(transport)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(plane.models(ANY, refresh=number % 2 == 0)) for number in range(10)]
        await transport.held.wait()
        transport.gate.set()
    assert len(transport.urls) == 1
    assert {task.result()[0].model_id for task in tasks} == {"a.1"}


async def test_cancelling_the_one_who_asks_hands_the_question_on() -> None:
    """The others are not cancelled with it: the next one sends it anew."""
    transport = GatedTransport(lambda _: model_list("a.1"))
    plane = control_plane(transport)
    first = asyncio.create_task(plane.models(ANY))
    await transport.held.wait()
    transport.held.clear()
    others = [asyncio.create_task(plane.models(ANY)) for _ in range(3)]
    first.cancel()
    await transport.held.wait()
    transport.gate.set()
    answers = [await other for other in others]
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert len(transport.urls) == 2


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    """Each gets an error of its own, with the cause; the next question is asked."""
    failures = [service_error("ThrottlingException", "Too many requests.")]
    transport = GatedTransport(lambda _: failures.pop() if failures else model_list("a.1"))
    plane = control_plane(transport)
    tasks = [asyncio.create_task(plane.models(ANY)) for _ in range(3)]
    await transport.held.wait()
    transport.gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [ThrottlingError] * 3
    assert len({id(error) for error in errors}) == 3
    assert len(await plane.models(ANY)) == 1
    assert len(transport.urls) == 2


def availability(request: WireRequest, failures: Mapping[str, BedrockError]) -> CannedResponse | BedrockError:
    """Answer for models m.0 to m.19: the list, or the availability of one."""
    name = request.url.rpartition("/")[2]
    if name == "foundation-models":
        return model_list(*(f"m.{number}" for number in range(20)))
    return failures.get(name) or CannedResponse([json.dumps({"modelId": name}).encode()])


async def test_access_is_asked_for_a_few_models_at_a_time() -> None:
    """Twenty models, never more than eight requests at once: the operation is throttled."""
    transport = GatedTransport(partial(availability, failures={}), hold=8)
    plane = control_plane(transport)
    transport.gate.set()
    await plane.models(ANY)
    transport.gate.clear()
    task = asyncio.create_task(plane.models(ANY, access=True))
    await transport.held.wait()
    transport.gate.set()
    models = await task
    assert transport.most == 8
    assert len(transport.urls) == 21
    assert all(model.access is not None and model.access.model_id == model.model_id for model in models)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ValidationException"])
async def test_a_model_that_cannot_be_asked_about_hides_no_other(code: str) -> None:
    """Its access is unknown; the rest of the list is there."""
    failures = {"m.7": service_error(code, "No such model.")}
    transport = GatedTransport(partial(availability, failures=failures))
    transport.gate.set()
    models = await control_plane(transport).models(ANY, access=True)
    assert [model.model_id for model in models if model.access is None] == ["m.7"]


async def test_any_other_failure_is_the_calls() -> None:
    """One error of our tree, not a group of them."""
    failures = {f"m.{number}": service_error("ServiceUnavailableException", "Busy.") for number in (3, 9)}
    transport = GatedTransport(partial(availability, failures=failures))
    transport.gate.set()
    with pytest.raises(ServiceUnavailableError):
        await control_plane(transport).models(ANY, access=True)


async def test_what_is_remembered_has_a_limit() -> None:
    """Ids without end do not fill the memory."""
    profile = {"models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"}]}
    transport = GatedTransport(lambda _: CannedResponse([json.dumps(profile).encode()]))
    transport.gate.set()
    plane = control_plane(transport)
    for number in range(600):
        await plane.resolve(_anything(f"profile{number}"))
    assert len(plane._known) == len(plane._resolved._answers) == 512
    assert plane.known(_anything("profile599")) is not None
    assert plane.known(_anything("profile0")) is None


async def test_new_credentials_make_all_answers_old() -> None:
    """They may be another account's; what stands behind a profile's ARN stays known."""
    async with emulator() as running, client_for(running) as client:
        await client.list_models()
        await client.resolve_model(APPLICATION_ARN)
        client.credentials = Credentials("AKIDOTHER", "secret")
        await client.list_models()
        assert client._route(APPLICATION_ARN, {})[1].raw == NOVA
    assert [request.operation for request in running.requests].count("ListFoundationModels") == 2


async def test_an_answer_under_way_is_not_remembered_for_other_credentials() -> None:
    """It reaches who asked; who asks afterwards asks anew."""
    transport = GatedTransport(lambda _: model_list("a.1"))
    plane = control_plane(transport)
    first = asyncio.create_task(plane.models(ANY))
    await transport.held.wait()
    plane.forget()
    second = asyncio.create_task(plane.models(ANY))
    transport.gate.set()
    assert len(await first) == len(await second) == len(await plane.models(ANY)) == 1
    assert len(transport.urls) == 2


async def test_a_closed_client_asks_nothing() -> None:
    """Not even what it remembers."""
    async with emulator() as running:
        async with client_for(running) as client:
            await client.list_models()
        for ask in (client.list_models, client.list_inference_profiles, partial(client.resolve_model, NOVA)):
            with pytest.raises(ClientClosedError):
                await ask()
