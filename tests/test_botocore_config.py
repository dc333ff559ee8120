"""A client that is made from a botocore ``Config``: each option carried over, or named in a warning or an error."""

from __future__ import annotations

import inspect
import re
import ssl
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import Loader

from bedrock_async import (
    AdaptiveRetry,
    BedrockClient,
    BotocoreConfigWarning,
    ConnectionOptions,
    Credentials,
    InvalidRequestError,
    Limits,
    StandardRetry,
    Timeouts,
)
from bedrock_async.botocore_config import _OPTIONS, _WITHOUT_EFFECT, ClientKeywords, client_keywords
from bedrock_async.engine import Engine
from bedrock_async.testing import BedrockEmulator, ScriptedModel
from bedrock_async.testing.canned import CannedTransport

MODEL: Final = "us.amazon.nova-lite-v1:0"
KEY: Final = {"AWS_BEARER_TOKEN_BEDROCK": "key"}


def config_of(**options: Any) -> Config:  # noqa: ANN401 - botocore's stubs do not know all of them
    """Return a config with these options."""
    return Config(**options)


def carried(
    config: Any,  # noqa: ANN401 - also what is none
    keywords: ClientKeywords | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the keywords that a config becomes; a warning is an error here."""
    return dict(client_keywords(config, keywords or {}, environ=environ or {}))


def options_of(config: Any) -> set[str]:  # noqa: ANN401
    """Return the names of the options of a config class, whatever its version."""
    return set(config.OPTION_DEFAULTS)


# -- every option


@pytest.mark.parametrize("option", sorted(options_of(Config)))
def test_every_option_has_its_place(option: str) -> None:
    """An option that a new botocore brings must be decided upon: carried over, without effect, or refused by name."""
    assert option in _OPTIONS.keys() | _WITHOUT_EFFECT, f"{option} is new: decide what becomes of it"


def test_every_option_of_aiobotocore_has_its_place() -> None:
    """What an AioConfig has beyond a Config, too."""
    module: Any = pytest.importorskip("aiobotocore.config")
    parameters = set(inspect.signature(module.AioConfig.__init__).parameters) - {"self", "kwargs"}
    assert parameters <= _OPTIONS.keys() | _WITHOUT_EFFECT


def test_no_option_has_two_places() -> None:
    """What is carried over is not called without effect."""
    assert not _OPTIONS.keys() & _WITHOUT_EFFECT


@pytest.mark.parametrize("option", sorted(_OPTIONS.keys() | _WITHOUT_EFFECT))
def test_every_option_stands_in_the_docstring(option: str) -> None:
    """Whoever moves over reads what becomes of each option where the method is explained."""
    text = inspect.getdoc(BedrockClient.from_botocore_config) or ""
    assert re.search(rf"\b{option}\b", text)


def test_options_without_effect_have_none_in_botocore_either() -> None:
    """No operation of Bedrock Runtime compresses, checks sums, prefixes hosts, discovers endpoints or uses accounts."""
    loader = Loader()
    model = loader.load_service_model("bedrock-runtime", "service-2")
    rules = loader.load_service_model("bedrock-runtime", "endpoint-rule-set-1")
    for operation in model["operations"].values():
        assert not operation.keys() & {"endpointdiscovery", "httpChecksum", "requestcompression", "endpoint"}
    assert rules["parameters"].keys() == {"Region", "UseDualStack", "UseFIPS", "Endpoint"}
    assert "clientContextParams" not in model
    assert "aws.auth#sigv4a" not in model["metadata"].get("auth", ())


@pytest.mark.parametrize("option", sorted(_WITHOUT_EFFECT & options_of(Config)))
def test_options_without_effect_are_taken_in_silence(option: str) -> None:
    """A Config that serves other clients too may be passed as it is."""
    value: Any = {"s3": {"addressing_style": "path"}, "client_context_params": {"a": 1}}.get(option, True)
    assert carried(Config(**{option: value})) == {}


# -- carried over


def test_nothing_given_is_nothing_carried() -> None:
    """What a Config has by default are not its maker's wishes: a client's own defaults hold."""
    assert carried(Config()) == {}
    client = BedrockClient.from_botocore_config(Config())
    assert client._timeouts == Timeouts()
    assert client._retry == StandardRetry()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(region_name="eu-west-1"), {"region": "eu-west-1"}),
        (Config(max_pool_connections=7), {"limits": Limits(max_connections=7)}),
        (Config(connect_timeout=2.5), {"timeouts": Timeouts(connect_s=2.5)}),
        (
            Config(read_timeout=60),
            {"timeouts": Timeouts(first_event_s=60, idle_s=60, total_s=5 * 70 + 4 * 30)},
        ),
        (Config(read_timeout=None), {"timeouts": Timeouts(first_event_s=None, idle_s=None, total_s=None)}),
        (
            Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2}),
            {
                "timeouts": Timeouts(connect_s=5, first_event_s=20, idle_s=20, total_s=2 * 25 + 30),
                "retry": StandardRetry(max_attempts=2, model_not_ready_attempts=2),
            },
        ),
        (Config(proxies={"https": "p:1"}), {"connection": ConnectionOptions(proxies={"https": "p:1"})}),
        (Config(proxies={}), {"connection": ConnectionOptions(proxies={})}),
        (
            Config(
                proxies={"https": "https://p:1"},
                proxies_config={
                    "proxy_ca_bundle": "/ca",
                    "proxy_client_cert": ("/cert", "/key"),
                    "proxy_use_forwarding_for_https": False,
                },
            ),
            {
                "connection": ConnectionOptions(
                    proxies={"https": "https://p:1"}, proxy_ca_bundle="/ca", proxy_client_cert=("/cert", "/key")
                )
            },
        ),
        (
            Config(proxies_config={"proxy_client_cert": "/both"}),
            {"connection": ConnectionOptions(proxy_client_cert="/both")},
        ),
        (Config(client_cert="/both"), {"connection": ConnectionOptions(client_cert="/both")}),
        (Config(client_cert=("/cert", "/key")), {"connection": ConnectionOptions(client_cert=("/cert", "/key"))}),
        (Config(use_fips_endpoint=True), {"connection": ConnectionOptions(use_fips=True)}),
        (Config(use_fips_endpoint=False), {"connection": ConnectionOptions(use_fips=False)}),
        (Config(use_dualstack_endpoint=True), {"connection": ConnectionOptions(use_dualstack=True)}),
        (Config(user_agent_extra="me/1"), {"connection": ConnectionOptions(user_agent_extra="me/1")}),
        (
            config_of(user_agent="theirs", user_agent_extra="me/1", user_agent_appid="a b\u00e9c"),
            {"connection": ConnectionOptions(user_agent="theirs", user_agent_extra="app/a-b-c me/1")},
        ),
        (
            config_of(ignore_configured_endpoint_urls=True),
            {"connection": ConnectionOptions(ignore_configured_endpoint_urls=True)},
        ),
        (Config(user_agent_extra=""), {}),
        (Config(tcp_keepalive=True), {}),
        (Config(parameter_validation=True), {}),
        (config_of(defaults_mode="legacy"), {}),
    ],
)
def test_an_option_becomes_a_keyword(config: Config, expected: dict[str, object]) -> None:
    """One option, one keyword; what was not given is not mentioned."""
    assert carried(config) == expected


@pytest.mark.parametrize(
    ("retries", "attempts", "not_ready"),
    [
        ({"max_attempts": 0}, 1, 1),
        ({"max_attempts": 4}, 5, 5),
        ({"total_max_attempts": 1}, 1, 1),
        ({"total_max_attempts": 7, "mode": "standard"}, 7, 7),
        ({"total_max_attempts": 2, "max_attempts": 9}, 2, 2),
        ({"max_attempts": 1, "mode": "legacy"}, 2, 2),
        ({"mode": "standard"}, 3, 5),
        ({"mode": "legacy"}, 5, 5),
    ],
)
def test_retries(retries: Any, attempts: int, not_ready: int) -> None:  # noqa: ANN401
    """botocore's max_attempts counts repetitions, total_max_attempts attempts; a mode alone has its own number."""
    expected = StandardRetry(max_attempts=attempts, model_not_ready_attempts=not_ready)
    assert carried(Config(retries=retries)) == {"retry": expected}


def test_a_config_that_was_changed_or_merged_counts() -> None:
    """Options may be set later, and configs merged, as users of botocore do."""
    config = Config(region_name="eu-west-1", read_timeout=5)
    config.max_pool_connections = 3  # type: ignore[attr-defined]
    assert carried(config)["limits"] == Limits(max_connections=3)
    merged = config.merge(Config(read_timeout=7))
    assert (carried(merged)["region"], carried(merged)["timeouts"].idle_s) == ("eu-west-1", 7)


def test_keywords_go_before_the_config() -> None:
    """What is passed beside the config counts; options of connections complete each other, and None says nothing."""
    config = Config(region_name="eu-west-1", read_timeout=5, use_fips_endpoint=True, user_agent_extra="a/1")
    keywords: ClientKeywords = {
        "region": "us-east-2",
        "timeouts": Timeouts(idle_s=1),
        "retry": None,
        "connection": ConnectionOptions(user_agent_extra="b/2"),
    }
    assert carried(config, keywords) == {
        "region": "us-east-2",
        "timeouts": Timeouts(idle_s=1),
        "connection": ConnectionOptions(use_fips=True, user_agent_extra="b/2"),
    }


def test_adaptive_is_adaptive() -> None:
    """With the attempts of botocore's adaptive mode, and a pace for each client."""
    configs = [Config(retries={"mode": "adaptive"}), config_of(retries={"mode": "adaptive", "max_attempts": 4})]
    policies = [carried(config)["retry"] for config in configs]
    assert policies == [AdaptiveRetry(max_attempts=3), AdaptiveRetry(max_attempts=5, model_not_ready_attempts=5)]
    assert carried(configs[0])["retry"].pace is not carried(configs[0])["retry"].pace


def test_the_total_is_that_of_the_attempts_that_are_made() -> None:
    """A retry policy that is passed counts for the total time too, its longest waits included."""
    config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 0})
    for retry, total_s in [
        (StandardRetry(max_attempts=4, model_not_ready_attempts=1), 4 * 25 + 3 * 20),
        (StandardRetry(max_attempts=4, model_not_ready_attempts=3), 4 * 25 + 2 * 30 + 20),
        (StandardRetry(max_attempts=2, model_not_ready_attempts=4), 4 * 25 + 3 * 30),
        (StandardRetry(max_attempts=3, max_delay_s=60, model_not_ready_attempts=3), 3 * 25 + 2 * 60),
    ]:
        keywords: ClientKeywords = {"retry": retry}
        found = carried(config, keywords)
        assert (found["timeouts"].total_s, found["retry"]) == (total_s, retry)


def test_a_ready_transport_takes_the_place_of_what_is_about_connections() -> None:
    """Its maker has settled pool, proxies and certificates."""
    transport = CannedTransport([])
    config = Config(
        max_pool_connections=3, proxies={"https": "p:1"}, client_cert="/x", tcp_keepalive=False, region_name="eu-west-1"
    )
    assert carried(config, {"transport": transport}) == {"transport": transport, "region": "eu-west-1"}
    assert carried(Config(max_pool_connections=3), {"transport": "aiohttp"})["limits"] == Limits(max_connections=3)


async def test_a_client_does_what_the_config_asks_for() -> None:
    """The whole way: region, user agent, attempts and limits of a client whose requests an emulator sees."""
    config = Config(region_name="eu-west-1", user_agent_extra="me/1", retries={"max_attempts": 0}, read_timeout=30)
    async with (
        BedrockEmulator([ScriptedModel.text("Hello.")], region="eu-west-1") as emulator,
        BedrockClient.from_botocore_config(
            config, endpoint_url=emulator.url, credentials=Credentials("AKID", "secret")
        ) as client,
    ):
        assert (await client.converse(MODEL, "Hi.")).text == "Hello."
        agent = emulator.requests[-1].headers["user-agent"]
    assert agent.startswith("bedrock-async/")
    assert agent.endswith(" me/1")
    assert (client.region, client._retry, client._timeouts.total_s) == (
        "eu-west-1",
        StandardRetry(max_attempts=1, model_not_ready_attempts=1),
        40.0,
    )
    fips = BedrockClient.from_botocore_config(Config(use_fips_endpoint=True), region="us-gov-west-1")
    assert fips.endpoint.host == "bedrock-runtime-fips.us-gov-west-1.amazonaws.com"


# -- left out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tcp_keepalive": False}, "tcp_keepalive=False is ignored"),
        ({"parameter_validation": False}, "parameter_validation=False is ignored"),
        ({"defaults_mode": "in-region"}, "defaults_mode='in-region' is ignored"),
    ],
)
def test_what_is_left_out_is_named_in_a_warning(options: Any, named: str) -> None:  # noqa: ANN401
    """Nothing is dropped in silence, and the warning points at the line that made the client."""
    with pytest.warns(BotocoreConfigWarning, match=named) as caught:
        BedrockClient.from_botocore_config(config_of(**options))
    assert [warning.filename for warning in caught] == [__file__]


def test_an_option_of_a_later_botocore_is_named() -> None:
    """What this version cannot know is left out with its name."""

    class LaterConfig(Config):
        OPTION_DEFAULTS = Config.OPTION_DEFAULTS.copy()

    LaterConfig.OPTION_DEFAULTS["use_quantum_endpoint"] = None
    options: Any = {"use_quantum_endpoint": True}
    with pytest.warns(BotocoreConfigWarning, match="use_quantum_endpoint is ignored: this version"):
        carried(LaterConfig(**options))


def aio_config(**options: object) -> Any:  # noqa: ANN401
    """Return an AioConfig."""
    pytest.importorskip("aiobotocore")
    return import_module("aiobotocore.config").AioConfig(**options)


def test_an_aioconfig_is_taken() -> None:
    """Its own defaults, such as the time for idle connections, are not the user's wishes."""
    assert carried(aio_config()) == {}
    assert carried(aio_config(read_timeout=None, region_name="eu-west-1"))["region"] == "eu-west-1"


def test_connections_of_aiobotocore_are_left_out_by_name() -> None:
    """How aiohttp's connector is set up has no counterpart; whom it trusts or talks to is not passed over."""
    with pytest.warns(BotocoreConfigWarning, match=r"connector_args\['use_dns_cache'\] is ignored"):
        carried(aio_config(connector_args={"use_dns_cache": False}))
    with pytest.raises(InvalidRequestError, match=r"connector_args\['ssl_context'\] cannot be carried over"):
        carried(aio_config(connector_args={"ssl_context": ssl.create_default_context()}))


# -- refused


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"connect_timeout": None}, "connect_timeout=None"),
        ({"proxies_config": {"proxy_use_forwarding_for_https": True}}, r"proxies_config\['proxy_use_forwarding"),
        ({"signature_version": UNSIGNED}, "signature_version="),
        ({"signature_version": "v4a"}, "signature_version='v4a'"),
    ],
)
def test_what_would_change_the_meaning_is_refused(options: Any, named: str) -> None:  # noqa: ANN401
    """An option that decides where prompts go, or how requests are trusted, is not passed over with a warning."""
    with pytest.raises(InvalidRequestError, match=rf"botocore's Config: {named}.* cannot be carried over: ") as caught:
        carried(config_of(**options))
    assert caught.value.path is not None
    assert caught.value.hint


def test_no_limit_for_connecting_is_no_fault_beside_timeouts() -> None:
    """Where the caller says how long to wait, the config's word does not count."""
    keywords: ClientKeywords = {"timeouts": Timeouts(connect_s=3)}
    assert carried(Config(connect_timeout=None, read_timeout=5), keywords) == keywords


SIGNED: Final[list[dict[str, Any]]] = [
    {"signature_version": "v4"},
    {"auth_scheme_preference": "sigv4,httpBearerAuth"},
    {"auth_scheme_preference": "sigv4a, aws.auth#sigv4"},
]
BEARER: Final[list[dict[str, Any]]] = [
    {"signature_version": "bearer"},
    {"auth_scheme_preference": "httpBearerAuth"},
    {"auth_scheme_preference": "sigv4a,smithy.api#httpBearerAuth,sigv4"},
]


@pytest.mark.parametrize("options", SIGNED)
def test_signatures_are_what_credentials_bring(options: dict[str, Any]) -> None:
    """A Config that asks for signatures agrees with credentials, and not with an API key that would go before them."""
    config = config_of(**options)
    assert carried(config) == {}
    assert carried(config, {"profile": "dev"}, KEY) == {"profile": "dev"}
    refusal = f"{next(iter(options))}=.*takes precedence over signatures"
    with pytest.raises(InvalidRequestError, match=refusal):
        carried(config, {}, KEY)
    with pytest.raises(InvalidRequestError, match=refusal):
        carried(config, {"api_key": "key"})


@pytest.mark.parametrize("options", BEARER)
def test_a_bearer_token_is_what_an_api_key_brings(options: dict[str, Any]) -> None:
    """A Config that asks for a bearer token agrees with an API key, and with nothing else."""
    config = config_of(**options)
    assert carried(config, {}, KEY) == {}
    assert carried(config, {"api_key": "key"}) == {"api_key": "key"}
    refusal = f"{next(iter(options))}=.*there is no API key"
    with pytest.raises(InvalidRequestError, match=refusal):
        carried(config)
    with pytest.raises(InvalidRequestError, match=refusal):
        carried(config, {"profile": "dev"}, KEY)


def test_a_signature_version_settles_it() -> None:
    """As in botocore, the preference counts only where no version is given, and one of nothing known says nothing."""
    assert carried(config_of(signature_version="v4", auth_scheme_preference="httpBearerAuth")) == {}
    assert carried(config_of(auth_scheme_preference="noAuth"), {}, KEY) == {}


@pytest.mark.parametrize("wrong", [None, {}, {"region_name": "eu-west-1"}, Credentials("a", "b")])
def test_what_is_no_config_is_refused(wrong: Any) -> None:  # noqa: ANN401
    """A dict of options is the usual mistake."""
    with pytest.raises(InvalidRequestError, match=r"config is of type \w+\. Pass a botocore.config.Config"):
        BedrockClient.from_botocore_config(wrong)


# -- the keywords


def test_the_keywords_are_those_of_the_client() -> None:
    """`ClientKeywords` names every keyword of `BedrockClient`, with its type, and no other."""
    parameters = dict(inspect.signature(Engine.__init__).parameters)
    del parameters["self"]
    assert ClientKeywords.__annotations__.keys() == parameters.keys()
    written = {name: getattr(hint, "__forward_arg__", hint) for name, hint in ClientKeywords.__annotations__.items()}
    assert written == {name: parameter.annotation for name, parameter in parameters.items()}


def test_no_option_warns_by_default() -> None:
    """A plain Config makes a client without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BedrockClient.from_botocore_config(Config(region_name="us-east-1"))
