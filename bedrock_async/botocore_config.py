"""What a ``botocore.config.Config`` says, in the keywords of a client. Imports nothing of botocore."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict, cast

import msgspec

from .errors import InvalidRequestError
from .resilience import AdaptiveRetry, Limits, StandardRetry, Timeouts
from .transport import ConnectionOptions

if TYPE_CHECKING:
    from .auth import ApiKey, ApiKeyProvider, AwsSession, Credentials, CredentialsProvider
    from .families import ModelFamily
    from .features.settings import CallSettings
    from .hooks import Hooks
    from .limiting import RateLimiter
    from .pricing import Prices, PriceTable
    from .providers import Provider
    from .resilience import Failover, RateLimit, RetryPolicy, Target
    from .transport import HttpClient, Transport

__all__ = ["BotocoreConfig", "BotocoreConfigWarning", "ClientKeywords", "client_keywords"]


class BotocoreConfigWarning(UserWarning):
    """An option of a botocore ``Config`` was not carried over to a client; the message names it."""


class BotocoreConfig(Protocol):
    """A ``botocore.config.Config``, or an ``AioConfig`` of aiobotocore."""

    @property
    def OPTION_DEFAULTS(self) -> Mapping[str, object]:  # noqa: N802 - botocore's name
        """The options there are, and their defaults."""
        ...


class ClientKeywords(TypedDict, total=False):
    """The keywords of `BedrockClient`, for those who pass them on."""

    region: str | None
    profile: str | None
    credentials: Credentials | CredentialsProvider | None
    session: AwsSession | None
    api_key: str | ApiKey | ApiKeyProvider | None
    endpoint_url: str | None
    control_endpoint_url: str | None
    provider: str
    settings: CallSettings | None
    providers: Mapping[str, Provider] | None
    families: Mapping[str, ModelFamily] | None
    transport: Transport | HttpClient | str | None
    connection: ConnectionOptions | None
    prices: Prices | PriceTable | None
    limits: Limits | None
    timeouts: Timeouts | None
    retry: RetryPolicy | None
    rate_limit: RateLimit | Mapping[str, RateLimit] | RateLimiter | None
    targets: Sequence[Target] | Failover | None
    hooks: Hooks | None


def client_keywords(config: BotocoreConfig, keywords: ClientKeywords, *, environ: Mapping[str, str]) -> ClientKeywords:
    """Return ``keywords`` completed by what ``config`` says; see `BedrockClient.from_botocore_config`.

    Warns of every option that is left out, for the caller's caller. Raises InvalidRequestError, naming the option.
    """
    options: object = getattr(config, "OPTION_DEFAULTS", None)
    if not isinstance(options, Mapping):
        raise InvalidRequestError(
            f"config is of type {type(config).__name__}.", path="config", hint="Pass a botocore.config.Config."
        )
    passed = {name: value for name, value in keywords.items() if value is not None}
    given = _given(config)
    transport = passed.get("transport")
    if transport is not None and not isinstance(transport, str):
        given = {name: value for name, value in given.items() if name not in _OF_THE_TRANSPORT}
    carried = _Carried(passed, environ)
    if "signature_version" in given:
        given.pop("auth_scheme_preference", None)
    for name, value in given.items():
        if name not in _WITHOUT_EFFECT:
            carry = _OPTIONS.get(name)
            if carry is not None:
                carry(carried, value)
            else:
                carried.left_out.append(f"{name} is ignored: this version of bedrock_async does not know it.")
    for left_out in carried.left_out:
        warnings.warn(f"botocore's Config: {left_out}", BotocoreConfigWarning, stacklevel=3)
    return carried.keywords(given)


def _given(config: BotocoreConfig) -> dict[str, object]:
    """Return the options that somebody has set, in the constructor or later."""
    provided: Mapping[str, object] = getattr(config, "_user_provided_options", {})
    # What defaults_mode changes is botocore's choice, not the caller's.
    modes: Mapping[str, object] = getattr(config, "NON_LEGACY_OPTION_DEFAULTS", {})
    given = {**provided}
    for name, default in config.OPTION_DEFAULTS.items():
        value: object = getattr(config, name, default)
        if value != default and (name not in modes or value != modes[name]):
            given[name] = value
    # Older versions of aiobotocore do not count it among the options, and add their own time for idle connections.
    if connector_args := getattr(config, "connector_args", None):
        given.setdefault("connector_args", {k: v for k, v in connector_args.items() if k != "keepalive_timeout"})
    return {name: value for name, value in given.items() if value not in (None, "") or name.endswith("_timeout")}


class _Carried(msgspec.Struct):
    """What has been carried over so far."""

    passed: Mapping[str, object]
    """The keywords of the caller, which go before."""
    environ: Mapping[str, str]
    region: str | None = None
    max_connections: int | None = None
    retry: StandardRetry | None = None
    connection: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    user_agent_extra: list[str] = msgspec.field(default_factory=list[str])
    left_out: list[str] = msgspec.field(default_factory=list[str])

    def keywords(self, given: Mapping[str, object]) -> ClientKeywords:
        """Return the keywords of the client."""
        carried: ClientKeywords = {}
        if self.region is not None:
            carried["region"] = self.region
        if self.retry is not None:
            carried["retry"] = self.retry
        if self.max_connections is not None:
            carried["limits"] = Limits(max_connections=self.max_connections)
        if "timeouts" not in self.passed and not given.keys().isdisjoint(("connect_timeout", "read_timeout")):
            retry = self.passed.get("retry", self.retry)
            carried["timeouts"] = _timeouts(given, retry if isinstance(retry, StandardRetry) else StandardRetry())
        if self.user_agent_extra:
            self.connection["user_agent_extra"] = " ".join(self.user_agent_extra)
        if self.connection:
            carried["connection"] = ConnectionOptions(**self.connection)
        passed = dict(self.passed)
        mine, theirs = carried.get("connection"), passed.get("connection")
        if mine is not None and isinstance(theirs, ConnectionOptions):
            passed["connection"] = _merged(mine, theirs)
        return cast("ClientKeywords", {**carried, **passed})


def _merged(below: ConnectionOptions, above: ConnectionOptions) -> ConnectionOptions:
    """Return ``above``, completed by ``below`` where it says nothing."""
    nothing = ConnectionOptions()
    said = {
        each.name: getattr(above, each.name)
        for each in fields(above)
        if getattr(above, each.name) != getattr(nothing, each.name)
    }
    return replace(below, **said)


def _timeouts(given: Mapping[str, object], retry: StandardRetry) -> Timeouts:
    ours = Timeouts()
    connect_s = cast("float", given.get("connect_timeout", ours.connect_s))
    if "read_timeout" not in given:
        return replace(ours, connect_s=connect_s)
    read_s = cast("float | None", given["read_timeout"])
    total_s = None if read_s is None else _longest_s(retry, connect_s + read_s)
    return Timeouts(connect_s=connect_s, first_event_s=read_s, idle_s=read_s, total_s=total_s)


def _longest_s(retry: StandardRetry, attempt_s: float) -> float:
    """Return how long all attempts of ``attempt_s`` and the longest waits between them last together."""
    loading = retry.model_not_ready_attempts  # what an attempt ends with is seen anew each time: the worst counts
    attempts = max(retry.max_attempts, loading, 1)
    waits_s = 0.0
    for attempt in range(1, attempts):
        delay_s = retry.max_delay_s if attempt < retry.max_attempts else 0.0
        waits_s += max(delay_s, retry.model_not_ready_delay_s[1]) if attempt < loading else delay_s
    return attempts * attempt_s + waits_s


# -- the options, one by one


def _cannot(option: str, why: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"botocore's Config: {option} cannot be carried over: {why}", path=f"config.{option}", hint=hint
    )


def _region(carried: _Carried, value: object) -> None:
    carried.region = str(value)


def _connect_timeout(carried: _Carried, value: object) -> None:
    if value is None and "timeouts" not in carried.passed:
        raise _cannot(
            "connect_timeout=None", "a client does not wait forever for a connection.", "Set a number of seconds."
        )


def _read_timeout(carried: _Carried, value: object) -> None:
    """Do nothing: see `_timeouts`, which needs all options."""


def _max_pool_connections(carried: _Carried, value: object) -> None:
    carried.max_connections = cast("int", value)


def _connection(name: str) -> Callable[[_Carried, object], None]:
    def carry(carried: _Carried, value: object) -> None:
        carried.connection[name] = value

    return carry


def _user_agent_extra(carried: _Carried, value: object) -> None:
    carried.user_agent_extra.append(str(value))


def _user_agent_appid(carried: _Carried, value: object) -> None:
    allowed = "!#$%&'*+-.^_`|~"
    name = "".join(each if each.isascii() and (each.isalnum() or each in allowed) else "-" for each in str(value))
    carried.user_agent_extra.insert(0, f"app/{name}")


def _client_cert(carried: _Carried, value: object) -> None:
    carried.connection["client_cert"] = value if isinstance(value, str) else tuple(cast("Sequence[str]", value))


def _proxies_config(carried: _Carried, value: object) -> None:
    settings = cast("Mapping[str, object]", value)
    for name, setting in settings.items():
        if name == "proxy_ca_bundle":
            carried.connection[name] = setting
        elif name == "proxy_client_cert":
            carried.connection[name] = setting if isinstance(setting, str) else tuple(cast("Sequence[str]", setting))
        elif setting:
            raise _cannot(
                f"proxies_config[{name!r}]",
                "requests to https endpoints go through a tunnel, never in the clear.",
                "Leave it out, or pass your own transport.",
            )


def _retries(carried: _Carried, value: object) -> None:
    settings = cast("Mapping[str, Any]", value)
    mode = settings.get("mode")
    attempts: int | None = settings.get("total_max_attempts")
    if attempts is None and settings.get("max_attempts") is not None:
        attempts = settings["max_attempts"] + 1  # botocore's max_attempts counts the repetitions
    policy = AdaptiveRetry if mode == "adaptive" else StandardRetry
    if attempts is not None:
        carried.retry = policy(max_attempts=attempts, model_not_ready_attempts=attempts)
    elif mode is not None:
        carried.retry = policy(max_attempts=_ATTEMPTS.get(mode, StandardRetry().max_attempts))


# Without a number, as in botocore.retryhandler (_retry.json) and botocore.retries.standard.
_ATTEMPTS: Final = {"legacy": 5, "standard": 3, "adaptive": 3}


def _signature_version(carried: _Carried, value: object) -> None:
    if value not in ("v4", "bearer"):
        raise _cannot(
            f"signature_version={value!r}",
            "requests are signed with version 4 or carry an API key.",
            "Leave it out; an endpoint that checks nothing accepts any credentials=Credentials(...).",
        )
    _check_scheme(carried, f"signature_version={value!r}", bearer=value == "bearer")


def _auth_scheme_preference(carried: _Carried, value: object) -> None:
    for scheme in str(value).split(","):
        name = scheme.strip().rpartition("#")[2]
        if name in ("sigv4", "httpBearerAuth"):  # what Bedrock Runtime has; botocore passes over others, too
            _check_scheme(carried, f"auth_scheme_preference={value!r}", bearer=name == "httpBearerAuth")
            return


def _check_scheme(carried: _Carried, option: str, *, bearer: bool) -> None:
    """Refuse when the client would authenticate in another way: whom it uses is what keywords and environment say."""
    passed = [name for name in ("credentials", "session", "profile") if name in carried.passed]
    key = "api_key" in carried.passed or (not passed and bool(carried.environ.get("AWS_BEARER_TOKEN_BEDROCK")))
    if bearer and not key:
        raise _cannot(option, "there is no API key.", "Pass api_key=..., or set AWS_BEARER_TOKEN_BEDROCK.")
    if key and not bearer:
        raise _cannot(
            option,
            "the API key of api_key=... or AWS_BEARER_TOKEN_BEDROCK takes precedence over signatures.",
            "Pass credentials=..., session=... or profile=... and no api_key.",
        )


def _tcp_keepalive(carried: _Carried, value: object) -> None:
    if not value:
        carried.left_out.append("tcp_keepalive=False is ignored: silent connections are always probed after 60 s.")


def _parameter_validation(carried: _Carried, value: object) -> None:
    if not value:
        carried.left_out.append("parameter_validation=False is ignored: requests are always checked.")


def _defaults_mode(carried: _Carried, value: object) -> None:
    if value != "legacy":
        carried.left_out.append(f"defaults_mode={value!r} is ignored: pass timeouts=Timeouts(...) and retry=...")


def _http_session_cls(carried: _Carried, value: object) -> None:
    if getattr(value, "__name__", "") != "AIOHTTPSession":
        carried.left_out.append('http_session_cls is ignored: pass transport="httpx", or an httpx client.')


def _connector_args(carried: _Carried, value: object) -> None:
    """Refuse what decides whom the client trusts or talks to; leave out what is a matter of time and speed."""
    names = list(cast("Mapping[str, object]", value))
    decisive = [name for name in names if name in ("resolver", "socket_factory", "ssl_context")]
    if decisive:
        raise _cannot(
            f"connector_args[{decisive[0]!r}]",
            "it is for an aiohttp connector.",
            "Pass a transport created with it: transport=AiohttpTransport(ssl_context=...).",
        )
    carried.left_out += [f"connector_args[{name!r}] is ignored: connections are pooled here." for name in names]


_OPTIONS: Final[Mapping[str, Callable[[_Carried, object], None]]] = {
    "auth_scheme_preference": _auth_scheme_preference,
    "client_cert": _client_cert,
    "connect_timeout": _connect_timeout,
    "connector_args": _connector_args,
    "defaults_mode": _defaults_mode,
    "http_session_cls": _http_session_cls,
    "ignore_configured_endpoint_urls": _connection("ignore_configured_endpoint_urls"),
    "max_pool_connections": _max_pool_connections,
    "parameter_validation": _parameter_validation,
    "proxies": _connection("proxies"),
    "proxies_config": _proxies_config,
    "read_timeout": _read_timeout,
    "region_name": _region,
    "retries": _retries,
    "signature_version": _signature_version,
    "tcp_keepalive": _tcp_keepalive,
    "use_dualstack_endpoint": _connection("use_dualstack"),
    "use_fips_endpoint": _connection("use_fips"),
    "user_agent": _connection("user_agent"),
    "user_agent_appid": _user_agent_appid,
    "user_agent_extra": _user_agent_extra,
}

# The operations of Bedrock Runtime have nothing that these apply to, with botocore either.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "account_id_endpoint_mode",
        "client_context_params",
        "disable_request_compression",
        "endpoint_discovery_enabled",
        "inject_host_prefix",
        "request_checksum_calculation",
        "request_min_compression_size_bytes",
        "response_checksum_validation",
        "s3",
        "s3_disable_express_session_auth",
        "sigv4a_signing_region_set",
        "warm_up_loader_caches",
    }
)

# What a ready transport has settled for itself.
_OF_THE_TRANSPORT: Final = frozenset(
    {"client_cert", "connector_args", "http_session_cls", "max_pool_connections", "proxies", "proxies_config"}
    | {"tcp_keepalive"}
)
