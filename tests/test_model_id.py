"""Model ids, inference profiles and ARNs, taken apart and quoted."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Final

import pytest
from botocore.utils import percent_encode
from botocore_reading import invalid_members, serialized, structure
from corpus import exchanges
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_async import InvalidModelIdError, ModelId
from bedrock_async.model_id import GEOGRAPHIES, VENDORS, parse_model_id

# What the service itself accepts as a model id in Converse; the end of the pattern is left open for botocore's $.
PATTERN: Final[re.Pattern[str]] = re.compile(structure("ConverseRequest").members["modelId"].metadata["pattern"])
# The pattern takes any character in the partition of an ARN, and "arn:" alone for a plain id.
BEYOND: Final = re.compile(r"[^!-~]|^arn:(?!.*/)")
RECORDED: Final = sorted(
    {
        exchange.model_id
        for kind in ("converse", "converse-stream", "invoke", "count-tokens")
        for exchange in exchanges(kind)
    }
    - {"unknown"}
)
ACCOUNT: Final = "123456789012"


@pytest.mark.parametrize(
    ("model", "vendor", "base_model", "version", "geography"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic", "anthropic.claude-3-haiku-20240307-v1:0", "v1:0", None),
        ("us.anthropic.claude-sonnet-4-6", "anthropic", "anthropic.claude-sonnet-4-6", None, "us"),
        ("global.anthropic.claude-opus-4-6-v1", "anthropic", "anthropic.claude-opus-4-6-v1", "v1", "global"),
        ("us-gov.amazon.nova-lite-v1:0", "amazon", "amazon.nova-lite-v1:0", "v1:0", "us-gov"),
        ("apac.amazon.nova-pro-v1:0:300k", "amazon", "amazon.nova-pro-v1:0:300k", "v1:0:300k", "apac"),
        ("amazon.titan-embed-image-v1:0:mm", "amazon", "amazon.titan-embed-image-v1:0:mm", "v1:0:mm", None),
        ("amazon.titan-text-express-v1", "amazon", "amazon.titan-text-express-v1", "v1", None),
        ("amazon.titan-tg1-large", "amazon", "amazon.titan-tg1-large", None, None),
        ("anthropic.claude-v2:1:200k", "anthropic", "anthropic.claude-v2:1:200k", "v2:1:200k", None),
        ("openai.gpt-oss-20b-1:0", "openai", "openai.gpt-oss-20b-1:0", "1:0", None),
        ("us.deepseek.r1-v1:0", "deepseek", "deepseek.r1-v1:0", "v1:0", "us"),
        ("deepseek.v3.2", "deepseek", "deepseek.v3.2", None, None),
        ("meta.llama3-1-8b-instruct-v1:0:128k", "meta", "meta.llama3-1-8b-instruct-v1:0:128k", "v1:0:128k", None),
        ("zai.glm-4.7", "zai", "zai.glm-4.7", None, None),
        ("jp.anthropic.claude-sonnet-4-6", "anthropic", "anthropic.claude-sonnet-4-6", None, "jp"),
        ("au.anthropic.claude-opus-5", "anthropic", "anthropic.claude-opus-5", None, "au"),
        ("ca.amazon.nova-lite-v1:0", "amazon", "amazon.nova-lite-v1:0", "v1:0", "ca"),
        ("sa.amazon.nova-lite-v1:0", "amazon", "amazon.nova-lite-v1:0", "v1:0", "sa"),
        ("in.openai.gpt-5.6-luna", "openai", "openai.gpt-5.6-luna", None, "in"),
        ("global.xai.grok-4.7", "xai", "xai.grok-4.7", None, "global"),
        ("mars.anthropic.claude-9", "anthropic", "anthropic.claude-9", None, "mars"),
        ("newvendor.model-v1:0", "newvendor", "newvendor.model-v1:0", "v1:0", None),
        ("us.newvendor.model-v1:0", "newvendor", "newvendor.model-v1:0", "v1:0", "us"),
    ],
)
def test_an_id_is_taken_apart(
    model: str, vendor: str, base_model: str, version: str | None, geography: str | None
) -> None:
    """Vendor, base model, version and geography; a geography nobody knows is read as one before a known vendor."""
    parsed = parse_model_id(model)
    assert parsed == ModelId(
        raw=model,
        kind="inference-profile" if geography else "foundation-model",
        resource=model,
        vendor=vendor,
        base_model=base_model,
        version=version,
        geography=geography,
    )
    assert str(parsed) == model


@pytest.mark.parametrize(
    ("resource", "kind", "vendor", "base_model"),
    [
        ("foundation-model/anthropic.claude-v2:1", "foundation-model", "anthropic", "anthropic.claude-v2:1"),
        ("inference-profile/us.amazon.nova-lite-v1:0", "inference-profile", "amazon", "amazon.nova-lite-v1:0"),
        ("application-inference-profile/a1b2c3d4e5f6", "application-inference-profile", None, None),
        ("provisioned-model/abcdefghijkl", "provisioned-model", None, None),
        ("custom-model/amazon.nova-lite-v1:0/abcdefghijkl", "custom-model", "amazon", "amazon.nova-lite-v1:0"),
        ("custom-model-deployment/abcdefghijkl", "custom-model-deployment", None, None),
        ("imported-model/abcdefghijkl", "imported-model", None, None),
        ("prompt-router/abcdefghijkl", "prompt-router", None, None),
        ("default-prompt-router/meta.llama:1", "prompt-router", None, None),
        ("prompt/ABCDEFGHIJ:3", "prompt", None, None),
    ],
)
@pytest.mark.parametrize("where", [("aws", "eu-west-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-north-1")])
def test_an_arn_is_taken_apart(
    where: tuple[str, str], resource: str, kind: str, vendor: str | None, base_model: str | None
) -> None:
    """Every kind of model ARN, in every partition: region, account, kind and what the resource tells of the model."""
    partition, region = where
    account = "" if kind == "foundation-model" else ACCOUNT
    arn = f"arn:{partition}:bedrock:{region}:{account}:{resource}"
    parsed = parse_model_id(arn)
    assert (parsed.kind, parsed.vendor, parsed.base_model) == (kind, vendor, base_model)
    assert (parsed.partition, parsed.region, parsed.account) == (partition, region, account or None)
    assert parsed.resource == resource.partition("/")[2]
    assert parsed.raw == str(parsed) == arn
    assert parsed.geography == ("us" if kind == "inference-profile" else None)


def test_an_endpoint_of_sagemaker_is_a_model() -> None:
    """Marketplace models are called by the ARN of their endpoint."""
    parsed = parse_model_id(f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/my-endpoint")
    assert (parsed.kind, parsed.resource, parsed.region) == ("endpoint", "my-endpoint", "us-west-2")


@pytest.mark.parametrize(("prompt", "version"), [("ABCDEFGHIJ:3", "3"), ("ABCDEFGHIJ", None)])
def test_the_version_of_a_prompt_is_its_number(prompt: str, version: str | None) -> None:
    """A prompt without one is the draft."""
    parsed = parse_model_id(f"arn:aws:bedrock:us-east-1:{ACCOUNT}:prompt/{prompt}")
    assert (parsed.kind, parsed.resource, parsed.version) == ("prompt", prompt, version)


@pytest.mark.parametrize("model", ["my-deployment", "claude", "12345", "abcdefghijkl:1"])
def test_an_id_that_tells_nothing_is_taken(model: str) -> None:
    """The service decides what it is."""
    assert parse_model_id(model) == ModelId(raw=model, kind="unknown", resource=model)


@pytest.mark.parametrize("model", RECORDED)
def test_every_recorded_id_is_read(model: str) -> None:
    """Ids and ARNs of real requests parse, and all that are no opaque resource name their vendor."""
    parsed = parse_model_id(model)
    assert parsed.raw == model
    if parsed.kind in {"foundation-model", "inference-profile"} and "does-not-exist" not in model:
        assert parsed.vendor in VENDORS
        assert parsed.geography is None or parsed.geography in GEOGRAPHIES


@settings(max_examples=50)  # the pattern is large, and so is the work of drawing from it
@given(st.from_regex(PATTERN, fullmatch=True).filter(lambda model: not BEYOND.search(model)))
@example("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2")
@example("us.")
@example(".")
@example("us..")
def test_whatever_the_service_accepts_is_taken(model: str) -> None:
    """Every id that the pattern of the service model allows parses, and is kept as it is."""
    assert parse_model_id(model).raw == model


@pytest.mark.parametrize("model", [None, 5, b"amazon.nova-lite-v1:0", ["amazon.nova-lite-v1:0"], object(), True])
def test_an_id_that_is_no_text_is_refused(model: object) -> None:
    """None above all: a variable that was never set."""
    with pytest.raises(
        InvalidModelIdError, match="None, not text" if model is None else "of type .*, not text"
    ) as caught:
        parse_model_id(model)
    assert "default_model(client.region)" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("model", "position"),
    [
        (" amazon.nova-lite-v1:0", 0),
        ("amazon.nova lite", 11),
        ("amazon.nova-lite-v1:0\n", 21),
        ("a\tb", 1),
        ("a\0b", 1),
        ("a\x7fb", 1),
        ("a\u00a0b", 1),
        ("amazon.n\u00f6va", 8),
        ("a\ud800", 1),
        ("\u200bamazon.nova", 0),
    ],
)
def test_blanks_and_characters_that_no_id_has_are_refused(model: str, position: int) -> None:
    """What a careless copy brings along is found, with its position, before it makes a path or a header."""
    with pytest.raises(InvalidModelIdError, match=f"at position {position}\\."):
        parse_model_id(model)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("", "is empty"),
        ("x" * 2049, "2049 characters; 2048 are allowed"),
        ("arn:", "2 of 6 parts"),
        ("arn:aws:bedrock:us-east-1:123456789012", "5 of 6 parts"),
        ("arn:aws:bedrock:us-east-1:123456789012:", "lacks a partition, region or resource id"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile", "lacks a partition, region or resource id"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/", "lacks a partition, region or resource id"),
        ("arn:aws:bedrock::123456789012:inference-profile/x", "lacks a partition, region or resource id"),
        ("arn:gcp:bedrock:us-east-1:123456789012:inference-profile/x", "lacks a partition, region or resource id"),
        ("arn:aws:s3:::bucket/key", "lacks a partition, region or resource id"),
        ("arn:aws:lambda:us-east-1:123456789012:function/x", "service 'lambda', not to bedrock"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc",
            "names a 'guardrail', which is not a model of bedrock",
        ),
        ("arn:aws:bedrock:us-east-1:123456789012:agent/abc", "names a 'agent', which is not a model of bedrock"),
        ("arn:aws:bedrock:us-east-1:123456789012:endpoint/abc", "names a 'endpoint', which is not a model of bedrock"),
        (
            "arn:aws:sagemaker:us-east-1:123456789012:imported-model/abc",
            "'imported-model', which is not a model of sage",
        ),
        ("arn:aws:bedrock:us-east-1:1234:inference-profile/us.x.y", "has the account '1234'; an account has 12 digits"),
        ("arn:aws:bedrock:us-east-1:12345678901a:imported-model/abc", "has the account '12345678901a'"),
    ],
)
def test_an_id_that_cannot_be_one_is_refused(model: str, fault: str) -> None:
    """The error says what is missing or wrong."""
    with pytest.raises(InvalidModelIdError, match=fault):
        parse_model_id(model)


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-sonnet-4-6",
        "meta.llama3-1-8b-instruct-v1:0:128k",
        *(f"{geography}.amazon.nova-lite-v1:0" for geography in sorted(GEOGRAPHIES)),
        "mars.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        *(
            f"arn:aws-us-gov:bedrock:us-gov-west-1:{ACCOUNT}:{resource}"
            for resource in (
                "inference-profile/us-gov.amazon.nova-lite-v1:0",
                "application-inference-profile/a1b2c3d4e5f6",
                "provisioned-model/abcdefghijkl",
                "custom-model/amazon.nova-lite-v1:0/abcdefghijkl",
                "custom-model-deployment/abcdefghijkl",
                "imported-model/abcdefghijkl",
                "default-prompt-router/meta.llama:1",
                "prompt-router/abcdefghijkl",
                "prompt/ABCDEFGHIJ:3",
            )
        ),
        f"arn:aws:sagemaker:us-west-2:{ACCOUNT}:endpoint/my-endpoint",
    ],
)
@pytest.mark.parametrize(("operation", "tail"), [("Converse", "converse"), ("ConverseStream", "converse-stream")])
def test_every_kind_of_model_is_quoted_as_botocore_quotes_it(model: str, operation: str, tail: str) -> None:
    """Ids of every geography and ARNs of every kind: the same path, and botocore's validator takes them."""
    assert invalid_members(operation, {"modelId": model, "messages": []}) == ""
    path, _ = serialized(operation, {"modelId": model, "messages": []})
    assert f"/model/{parse_model_id(model).quoted}/{tail}" == path


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60))
@example(f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/a1b2")
@example("anthropic.claude-3-haiku-20240307-v1:0")
@example("a/b%2Fc?d#e f".replace(" ", "+"))
def test_the_quoted_id_is_what_botocore_puts_into_the_path(model: str) -> None:
    """Quoted as one segment: colons, slashes and percent signs too, so that the signature matches the service's."""
    quoted = ModelId(raw=model, kind="unknown", resource=model).quoted
    path, _ = serialized("Converse", {"modelId": model, "messages": []})
    assert path == f"/model/{quoted}/converse"
    assert quoted == percent_encode(model, safe="-._~")
    assert "/" not in quoted


def test_parsing_is_remembered_and_bounded() -> None:
    """The same id gives the same object; ids without end do not fill the memory."""
    assert parse_model_id("amazon.nova-lite-v1:0") is parse_model_id("amazon.nova-lite-v1:0")
    for number in range(1000):
        assert parse_model_id(f"amazon.model-{number}").vendor == "amazon"


def test_a_parsed_id_is_a_value() -> None:
    """Hashable, comparable, copied and pickled like any other."""
    parsed = parse_model_id("us.amazon.nova-lite-v1:0")
    assert {parsed: 1}[copy.copy(parsed)] == 1
    assert pickle.loads(pickle.dumps(parsed)) == parsed  # noqa: S301 - our own
    with pytest.raises(AttributeError):
        parsed.raw = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
