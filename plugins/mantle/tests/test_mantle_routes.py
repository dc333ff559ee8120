"""Where calls go: endpoints, paths, APIs, and what ``provider_options`` change of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from bedrock_async_mantle import MantleProvider

from bedrock_async import ConverseRequest, InvalidRequestError, parse_model_id
from bedrock_async.families import ModelProfile
from bedrock_async.providers import CallContext, HttpRequest, Send, StreamPlan

Written = Callable[..., HttpRequest]

ASKED = {"messages": [{"role": "user", "content": [{"text": "Hi."}]}]}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("openai.gpt-oss-120b", "/v1/chat/completions"),
        ("openai.gpt-oss-safeguard-20b", "/v1/chat/completions"),
        ("openai.gpt-5.6-sol", "/openai/v1/responses"),
        ("openai.gpt-6", "/openai/v1/responses"),
        ("xai.grok-4.3", "/openai/v1/responses"),
        ("google.gemma-4-31b", "/openai/v1/chat/completions"),
        ("google.gemma-3-27b-it", "/v1/chat/completions"),
        ("qwen.qwen3-32b", "/v1/chat/completions"),
        ("nobody.knows-this", "/v1/chat/completions"),
    ],
)
def test_a_model_has_its_own_path_and_api(model: str, path: str, written: Written) -> None:
    """On bedrock-mantle, which is signed for as a service of its own."""
    request = written(ASKED, model)
    assert (request.method, request.path) == ("POST", path)
    assert request.endpoint == "https://bedrock-mantle.us-east-1.api.aws"
    assert request.signing_name == "bedrock-mantle"
    assert not request.idempotent
    assert json.loads(request.body)["model"] == model


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("us.openai.gpt-5.6-sol", "/openai/v1/responses"),
        ("openai.gpt-oss-120b-1:0", "/openai/v1/chat/completions"),
        ("qwen.qwen3-32b-v1:0", "/openai/v1/chat/completions"),
    ],
)
def test_the_runtime_serves_all_under_one_path(model: str, path: str, written: Written) -> None:
    """At the client's own endpoint, signed for as Bedrock; inference profiles are named as they are."""
    request = written(ASKED, model, endpoint="runtime")
    assert (request.path, request.endpoint, request.signing_name) == (path, None, "bedrock")
    assert json.loads(request.body)["model"] == model


def test_a_call_may_say_another_way(written: Written) -> None:
    """API, path and host can be set."""
    request = written(
        ASKED, "openai.gpt-oss-20b", api="responses", path="/openai/v1/", endpoint_url="http://localhost:8/"
    )
    assert (request.path, request.endpoint) == ("/openai/v1/responses", "http://localhost:8")
    assert written(ASKED, profile={"streaming": True}, family="x").path == "/v1/chat/completions"


def test_a_model_that_cannot_stream_is_asked_for_a_whole_answer() -> None:
    """The answer is replayed as a stream."""
    facts = ModelProfile(source="the test", streaming=False)
    ctx = CallContext(parse_model_id("qwen.qwen3-32b"), "us-east-1", profile=facts)
    flow = MantleProvider(environ={}).stream(ConverseRequest(), ctx)
    assert not isinstance(flow, StreamPlan)
    effect = next(flow)
    assert isinstance(effect, Send)
    assert json.loads(effect.request.body)["stream"] is False


@pytest.mark.parametrize(
    ("environ", "argument", "endpoint"),
    [
        ({}, None, "https://bedrock-mantle.us-east-1.api.aws"),
        ({}, "http://127.0.0.1:8080/prefix/", "http://127.0.0.1:8080/prefix"),
        ({"AWS_ENDPOINT_URL_BEDROCK_MANTLE": "https://m.example"}, None, "https://m.example"),
        ({"AWS_ENDPOINT_URL_BEDROCK_MANTLE": "https://m.example"}, "https://a.example", "https://a.example"),
        ({"AWS_ENDPOINT_URL": "https://all.example"}, None, "https://all.example"),
        (
            {"AWS_ENDPOINT_URL": "https://all.example", "AWS_ENDPOINT_URL_BEDROCK_MANTLE": "https://m.example"},
            None,
            "https://m.example",
        ),
        (
            {"AWS_ENDPOINT_URL": "https://all.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            None,
            "https://bedrock-mantle.us-east-1.api.aws",
        ),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, None, "https://bedrock-mantle-fips.us-east-1.api.aws"),
    ],
)
def test_the_host_may_be_another_one(
    environ: dict[str, str], argument: str | None, endpoint: str, written: Written
) -> None:
    """It comes from the argument, the environment or the region; FIPS is never silently ignored."""
    assert written(ASKED, environ=environ, endpoint_url=argument).endpoint == endpoint


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"api": "messages"}, "api is 'messages'", "chat, responses"),
        ({"endpoint": "bedrock"}, "endpoint is 'bedrock'", "mantle, runtime"),
        ({"apis": "chat"}, "no option 'apis'", "Did you mean 'api'"),
        ({"zzz": 1}, "no option 'zzz'", "It has: api, endpoint, path, endpoint_url"),
        ({"api": ["chat"]}, r"api is \['chat'\]", "chat, responses"),
        ({"path": 5}, "path is of type int", "Pass text"),
        ({"path": "v1"}, "path is 'v1'", '"/openai/v1"'),
        ({"path": "/v1?x=1"}, "path is", '"/openai/v1"'),
        ({"path": "/v1\r\nx: y"}, "path is", '"/openai/v1"'),
        ({"endpoint_url": "http://mantle.example"}, "is not on this machine", "https"),
        ({"endpoint_url": "ftp://mantle.example"}, "does not begin with https", "looks like"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: dict[str, object], message: str, hint: str, written: Written
) -> None:
    """The error has the nearest name, or the choices."""
    with pytest.raises(InvalidRequestError, match=message) as caught:
        written(ASKED, **options)
    assert hint in (caught.value.hint or "")
