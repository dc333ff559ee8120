"""The service's texts and the next step for each, with and without what is known of the call."""
# ruff: noqa: E501 - what the service says stays in one piece

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from bedrock_async import (
    NO_RETRY,
    AccessDeniedError,
    BedrockClient,
    Credentials,
    InputTooLongError,
    ModelError,
    ModelIdRejectedError,
    ModelNotReadyError,
    ModelStreamError,
    ModelTimeoutError,
    OnDemandNotSupportedError,
    QuotaExceededError,
    ResourceNotFoundError,
    ServiceError,
    ThrottlingError,
    ValidationError,
    errors,
    parse_model_id,
)
from bedrock_async.advice import RULES, Rule, find_rule
from bedrock_async.errors import service_error
from bedrock_async.families import ModelProfile
from bedrock_async.features.adviser import Adviser
from bedrock_async.testing import BedrockEmulator, EmulatorAccount, ScriptedModel, text_events

SONNET_4: Final = "anthropic.claude-sonnet-4-20250514-v1:0"
SONNET_46: Final = "anthropic.claude-sonnet-4-6"
NOVA: Final = "amazon.nova-lite-v1:0"

USER: Final = "User: arn:aws:sts::123456789012:assumed-role/role/session is not authorized to perform: "
ON_DEMAND: Final = (
    "Invocation of model ID {} with on-demand throughput isn\u2019t supported. Retry your request with the ID or ARN of "
    "an inference profile that contains this model."
)
INVALID: Final = "The provided model identifier is invalid."
END_OF_LIFE: Final = (
    "This model version has reached the end of its life. Please refer to the AWS documentation for more details."
)
TOO_MANY_TOKENS: Final = "Too many tokens, please wait before trying again."

# As the service says it, by the sources that the rules name: code, text, topic, and a word of the next step.
SAID: Final[list[tuple[str, str, str, str]]] = [
    ("ValidationException", ON_DEMAND.format(SONNET_4), "on-demand-throughput", "inference profile"),
    ("ValidationException", INVALID, "model-identifier", "typos"),
    (
        "ValidationException",
        "1 validation error detected: Value 'anthropic.claude-v2:0:100k' at 'modelId' failed to satisfy constraint",
        "model-identifier",
        "typos",
    ),
    (
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
        "model-identifier",
        "list_models",
    ),
    ("ResourceNotFoundException", "No such thing.", "model-identifier", "whether this region offers"),
    ("ResourceNotFoundException", END_OF_LIFE, "end-of-life", "active version"),
    (
        "ResourceNotFoundException",
        (
            "Access denied. This Model is marked by provider as Legacy and you have not been actively using the model in "
            "the last 15 days. Please upgrade to an active model on Amazon Bedrock"
        ),
        "end-of-life",
        "active version",
    ),
    (
        "ResourceNotFoundException",
        (
            "Model use case details have not been submitted for this account. Fill out the Anthropic use case details form "
            "before using the model. If you have already filled out the form, try again in 15 minutes."
        ),
        "use-case-form",
        "15 minutes",
    ),
    (
        "ValidationException",
        "Access to Anthropic models is not allowed from unsupported countries, regions, or territories.",
        "unsupported-country",
        "another vendor",
    ),
    ("ValidationException", "Operation not allowed", "account-not-allowed", "AWS Support"),
    (
        "ValidationException",
        "Your account is not authorized to invoke this API operation.",
        "account-not-allowed",
        "bedrock:InvokeModel",
    ),
    (
        "AccessDeniedException",
        "You invoked an unsupported model or your request did not allow prompt caching. See the documentation.",
        "caching-not-supported",
        "cache points",
    ),
    (
        "ValidationException",
        (
            "Malformed input request: #/messages/6/content/0: extraneous key [cachePoint] is not permitted, please "
            "reformat your input and try again."
        ),
        "caching-not-supported",
        "cache points",
    ),
    (
        "ValidationException",
        "The model returned the following errors: system.0.cache_control: Extra inputs are not permitted",
        "caching-not-supported",
        "performance='optimized'",
    ),
    (
        "AccessDeniedException",
        f"{USER}bedrock:InvokeModel on resource: x with an explicit deny in a service control policy",
        "access-denied",
        "service control policy forbids bedrock:InvokeModel",
    ),
    (
        "AccessDeniedException",
        (
            f"{USER}bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1:999999999999:application-inference-profile/a "
            "because no resource-based policy allows the bedrock:InvokeModel action"
        ),
        "access-denied",
        "account 999999999999",
    ),
    (
        "AccessDeniedException",
        (
            f"{USER}bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.{NOVA} "
            "because no identity-based policy allows the bedrock:InvokeModel action"
        ),
        "access-denied",
        "every region",
    ),
    (
        "AccessDeniedException",
        f"{USER}s3:PutObject on resource: arn:aws:s3:::b/k because no permissions boundary allows the action",
        "access-denied",
        "permissions boundary",
    ),
    (
        "AccessDeniedException",
        (
            f"{USER}bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/{NOVA} because no "
            "identity-based policy allows the bedrock:InvokeModel action"
        ),
        "access-denied",
        "never bedrock-runtime:",
    ),
    (
        "AccessDeniedException",
        f"{USER}s3:GetObject on resource: arn:aws:s3:::b/k because no identity-based policy allows it",
        "access-denied",
        "s3:GetObject on that resource",
    ),
    ("AccessDeniedException", f"{USER}bedrock:ListFoundationModels", "access-denied", "bedrock:ListFoundationModels"),
    ("AccessDeniedException", "No.", "access-denied", "bedrock:InvokeModelWithResponseStream"),
    (
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
        "model-access",
        "Request access",
    ),
    (
        "AccessDeniedException",
        (
            "Model access is denied due to IAM user or service role is not authorized to perform the required AWS "
            "Marketplace actions (aws-marketplace:ViewSubscriptions, aws-marketplace:Subscribe) to enable access"
        ),
        "model-access",
        "five minutes",
    ),
    (
        "AccessDeniedException",
        "Invalid API Key format: Must start with pre-defined prefix",
        "api-key",
        "as it was issued",
    ),
    ("AccessDeniedException", "Bearer Token has expired", "api-key", "12 hours"),
    (
        "ExpiredTokenException",
        "The security token included in the request is expired",
        "expired-token",
        "Sign in again",
    ),
    (
        "InvalidSignatureException",
        "Signature expired: 20250130T064508Z is now earlier than 20250210T013411Z (20250210T013911Z - 5 min.)",
        "clock",
        "clock",
    ),
    (
        "InvalidSignatureException",
        (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
            "Key and signing method."
        ),
        "signature",
        "proxy",
    ),
    (
        "IncompleteSignatureException",
        "'/20210706/us-east-2/bedrock/aws4_request' not a valid key=value pair (missing equal-sign) in Authorization",
        "signature",
        "line break",
    ),
    (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        "credentials",
        "session token",
    ),
    (
        "ValidationException",
        "The model returned the following errors: Input is too long for requested model.",
        "input-too-long",
        "count_tokens",
    ),
    ("ValidationException", "prompt is too long: 209353 tokens > 199999 maximum", "input-too-long", "count_tokens"),
    (
        "ValidationException",
        (
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length or "
            "`max_tokens` and try again"
        ),
        "input-too-long",
        "max_tokens counts too",
    ),
    (
        "ValidationException",
        (
            "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value that "
            "is lower than 4096."
        ),
        "max-tokens",
        "max_tokens=4096",
    ),
    ("ValidationException", "The maximum tokens you requested exceeds the limit.", "max-tokens", "Lower max_tokens"),
    ("ThrottlingException", "Too many tokens per day, please wait before trying again.", "quota-per-day", "daily"),
    ("ThrottlingException", TOO_MANY_TOKENS, "throttling", "input plus max_tokens"),
    ("ThrottlingException", "Too many requests, please wait before trying again.", "throttling", "Slow down"),
    ("ServiceQuotaExceededException", "The quota is exceeded.", "quota-exceeded", "Service Quotas"),
    (
        "ValidationException",
        (
            "The model returned the following errors: messages.0.content.1.image.source: image exceeds 5 MB maximum: "
            "6737924 bytes > 5242880 bytes"
        ),
        "image-size",
        "the 5 MB limit counts base64",
    ),
    (
        "ValidationException",
        "image exceed max allowed size for many-image requests: 2000 pixels",
        "image-size",
        "at most 2000 pixels",
    ),
    ("ValidationException", "too many images and documents: 21 + 0 > 20", "too-many-media", "Send at most 20"),
    (
        "ValidationException",
        "This model doesn't support tool use in streaming mode.",
        "streaming-not-supported",
        "streaming=False",
    ),
    ("ValidationException", "The model is unsupported for streaming.", "streaming-not-supported", "streaming=False"),
    ("ValidationException", "This model doesn't support tool use.", "tools-not-supported", "Omit the tools"),
    (
        "ValidationException",
        "This model doesn't support the image field for user messages.",
        "not-supported",
        "Omit image",
    ),
    (
        "ValidationException",
        "The model returned the following errors: messages.2.content.2.document.source.type: Field required",
        "s3-source",
        "pass the bytes",
    ),
    ("ValidationException", "Invalid Output Config/Credentials", "s3-output", "s3:PutObject"),
    (
        "ValidationException",
        (
            "The model returned the following errors: `temperature` and `top_p` cannot both be specified for this model. "
            "Please use only one."
        ),
        "sampling",
        "not both",
    ),
    (
        "ValidationException",
        "`temperature` may only be set to 1 when thinking is enabled.",
        "thinking",
        "Omit temperature",
    ),
    (
        "ValidationException",
        "Thinking may not be enabled when tool_choice forces tool use.",
        "thinking",
        "tool_choice at 'auto'",
    ),
    (
        "ValidationException",
        "The model returned the following errors: max_tokens must be greater than thinking.budget_tokens",
        "thinking",
        "above the reasoning budget",
    ),
    (
        "ValidationException",
        (
            "The model returned the following errors: thinking.enabled.budget_tokens: Input should be greater than or equal "
            "to 1024"
        ),
        "thinking",
        "at least 1024 tokens",
    ),
    (
        "ValidationException",
        (
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`. When `thinking` is "
            "enabled, a final `assistant` message must start with a thinking block."
        ),
        "thinking",
        "reply.message",
    ),
    (
        "ValidationException",
        (
            "Your API request included an `assistant` message in the final position, which would pre-fill the `assistant` "
            "response. When using tools, pre-filling the `assistant` response is not supported."
        ),
        "prefill",
        "user message",
    ),
    (
        "ValidationException",
        "Expected toolResult blocks at messages.2.content for the following Ids: tooluse_a",
        "tool-results",
        "same id",
    ),
    (
        "ValidationException",
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        "tool-results",
        "Pass the tools again",
    ),
    (
        "ValidationException",
        "The content field at messages.1.content.0.toolResult cannot be empty when status value is error.",
        "tool-results",
        "what went wrong",
    ),
    (
        "ValidationException",
        (
            "The text field in the ContentBlock object at messages.15.content.0 is blank. Add text to the text field, and "
            "try again."
        ),
        "blank-text",
        "whitespace",
    ),
    (
        "ValidationException",
        "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        "first-message",
        "user message",
    ),
    (
        "ValidationException",
        (
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        ),
        "alternating-roles",
        "Merge consecutive messages",
    ),
    ("ValidationException", "The provided guardrail identifier is invalid.", "guardrail", "in this region"),
    (
        "ValidationException",
        "data retention mode 'default' is not available for this model",
        "data-retention",
        "PutAccountDataRetention",
    ),
    ("ValidationException", "Reservation not found.", "service-tier", "reserved"),
    ("ValidationException", "service tier provided is invalid", "service-tier", "default"),
    (
        "ValidationException",
        "The requested operation is not recognized by the service.",
        "unknown-operation",
        "endpoint_url",
    ),
    ("ModelNotReadyException", "The model is not ready.", "model-not-ready", "5 to 30 seconds"),
    ("ModelTimeoutException", "The model took too long.", "model-timeout", "stream the answer"),
    ("ModelErrorException", "Model produced invalid sequence as part of ToolUse. ", "model-error", "Try again"),
    ("ModelStreamErrorException", "The stream broke.", "interrupted-stream", "partial_response"),
    ("ModelErrorException", "The model failed.", "model-error", "change the request or the model"),
    (
        "ServiceUnavailableException",
        "Too many connections, please wait before trying again.",
        "service-unavailable",
        "not a quota of the account",
    ),
    (
        "ServiceUnavailableException",
        "Bedrock is unable to process your request.",
        "service-unavailable",
        "another region or profile",
    ),
    (
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
        "service-unavailable",
        "short wait",
    ),
    ("ConflictException", "Another request has that token.", "conflict", "idempotency token"),
    ("ValidationException", "The provided request is not valid", "validation", "client.prepare()"),
    ("BrandNewException", "Something new.", "other", "API reference"),
]


def rule_for(error: ServiceError) -> Rule:
    """Return the rule that an error was given its hint by."""
    found = find_rule([each.__name__ for each in type(error).__mro__], error.message)
    assert found is not None
    return found[0]


# -- the table


@pytest.mark.parametrize(("code", "message", "topic", "words"), SAID, ids=[f"{row[2]}: {row[1][:40]}" for row in SAID])
def test_what_the_service_says_has_its_next_step(code: str, message: str, topic: str, words: str) -> None:
    """Over HTTP and inside a stream, in the service's own words; nothing of a pattern is left open."""
    for spelt, in_stream in ((code, False), (code[0].lower() + code[1:], True)):
        error = service_error(spelt, message, in_stream=in_stream)
        assert rule_for(error).topic == topic
        assert error.hint is not None
        assert words in error.hint
        assert "{" not in error.hint
        assert str(error).endswith(error.hint)


def test_every_rule_is_needed() -> None:
    """Each is the one for something that the service says: none is hidden behind another."""
    used = {id(rule_for(service_error(code, message))) for code, message, _, _ in SAID}
    assert [rule.texts or rule.errors for rule in RULES if id(rule) not in used] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.topic} {' '.join(rule.texts)[:30]}")
def test_a_rule_is_well_made(rule: Rule) -> None:
    """Classes of the tree, texts as they are compared, a source for each text, a hint that is a sentence."""
    for name in (*rule.errors, *filter(None, (rule.becomes,))):
        assert issubclass(getattr(errors, name), ServiceError)
    assert all(text == text.lower() for text in rule.texts)
    assert bool(rule.seen) == bool(rule.texts)
    assert rule.hint.endswith(".")
    asked = set(re.findall(r"\{(\w+)\}", rule.hint))
    assert asked <= set(re.compile(rule.pattern or "").groupindex)
    assert rule.becomes is None or issubclass(getattr(errors, rule.becomes), getattr(errors, rule.errors[0]))


def test_the_rules_are_for_all_errors_of_the_service() -> None:
    """The last rule fits everything, so that there is always a next step."""
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, ServiceError):
            assert find_rule([each.__name__ for each in kind.__mro__], "words that nobody has seen") is not None


# -- what the seeds of this library say of trouble: the guides for Strands, and the one for boto3

GUIDES: Final[list[tuple[str, str, str, type[ServiceError], bool, str]]] = [
    (
        "On-demand throughput isn't supported: prefix the model id with us. or eu.",
        "ValidationException",
        ON_DEMAND.format(SONNET_46),
        OnDemandNotSupportedError,
        False,
        f"us.{SONNET_46}",
    ),
    (
        "Model identifier is invalid: the region does not support inference profiles, pass a valid model id",
        "ValidationException",
        INVALID,
        ModelIdRejectedError,
        False,
        "client.list_models()",
    ),
    (
        "Throttled: wait 2 ** attempt + 1 seconds and retry",
        "ThrottlingException",
        TOO_MANY_TOKENS,
        ThrottlingError,
        True,
        "tokens-per-minute",
    ),
    (
        "Model timeout: request took too long",
        "ModelTimeoutException",
        "Timed out.",
        ModelTimeoutError,
        True,
        "max_tokens",
    ),
    ("Model error: check input format", "ModelErrorException", "It failed.", ModelError, True, "change the request"),
    ("Invalid parameters", "ValidationException", "No.", ValidationError, False, "as the message says"),
    (
        "Access denied: check IAM permissions and model access",
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
        AccessDeniedError,
        False,
        "Request access",
    ),
    (
        "Model not found: check model ID",
        "ResourceNotFoundException",
        "Could not resolve the foundation model from the provided model identifier.",
        ResourceNotFoundError,
        False,
        "list_models()",
    ),
    (
        "Model not ready, wait 30 seconds and retry",
        "ModelNotReadyException",
        "Not ready.",
        ModelNotReadyError,
        True,
        "30 seconds",
    ),
    (
        "Exceeded quota: request increase or use different region",
        "ServiceQuotaExceededException",
        "Exceeded.",
        QuotaExceededError,
        False,
        "another region",
    ),
    (
        "Stream interrupted: restart stream",
        "ModelStreamErrorException",
        "Interrupted.",
        ModelStreamError,
        True,
        "partial_response",
    ),
    (
        "Required permissions (the guide spells them bedrock-runtime:, which no policy knows)",
        "AccessDeniedException",
        (
            f"{USER}bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/{NOVA} because no "
            "identity-based policy allows the bedrock:InvokeModel action"
        ),
        AccessDeniedError,
        False,
        "bedrock:InvokeModel",
    ),
]


@pytest.mark.parametrize(
    ("code", "message", "kind", "retryable", "words"), [row[1:] for row in GUIDES], ids=[row[0] for row in GUIDES]
)
def test_what_the_guides_call_trouble_is_explained_by_the_error(
    code: str, message: str, kind: type[ServiceError], retryable: object, words: str
) -> None:
    """Every entry of their lists: the class, whether it is repeated by itself, and what to do."""
    error = service_error(code, message)
    adviser().advise(error, parse_model_id(SONNET_46))
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.hint is not None
    assert words in error.hint


# -- with what is known of the call


def adviser(region: str = "us-east-1", listed: Mapping[str, tuple[str, ...]] | None = None, **facts: Any) -> Adviser:  # noqa: ANN401 - of a ModelProfile
    """Return the adviser of a client of that region."""
    return Adviser(region, lambda _model: ModelProfile(source="here", **facts), lambda: listed or {})


def advised(message: str, model: str | None, *, code: str = "ValidationException", **known: Any) -> str:  # noqa: ANN401 - of `adviser`
    """Return the hint for an error that a call to that model ended with."""
    error = service_error(code, message)
    adviser(**known).advise(error, model)
    assert error.hint is not None
    return error.hint


@pytest.mark.parametrize(
    ("region", "model", "words"),
    [
        ("us-east-1", SONNET_46, f"known for us-east-1: us.{SONNET_46}, global.{SONNET_46}."),
        ("eu-west-1", SONNET_46, f"known for eu-west-1: eu.{SONNET_46}, global.{SONNET_46}."),
        (
            "ap-northeast-1",
            SONNET_46,
            f"known for ap-northeast-1: jp.{SONNET_46}, apac.{SONNET_46}, global.{SONNET_46}.",
        ),
        ("sa-east-1", SONNET_46, f"known for sa-east-1: global.{SONNET_46}."),
        ("us-gov-west-1", "anthropic.claude-sonnet-5", "known for us-gov-west-1: us-gov.anthropic.claude-sonnet-5."),
        ("us-east-1", SONNET_4, f"the id would be us.{SONNET_4};"),  # the example of the guide
        ("us-east-1", "acme.chat-9", "the id would be us.acme.chat-9; client.list_inference_profiles() shows"),
        ("cn-north-1", SONNET_46, "put the geography of your region before the id"),
        (
            "us-east-1",
            f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET_46}",
            f"known for us-east-1: us.{SONNET_46}",
        ),
    ],
)
def test_on_demand_names_the_profiles_that_would_work(region: str, model: str, words: str) -> None:
    """Those of the region's own geography first; where none is known, the id that one would have, as a question."""
    assert words in advised(ON_DEMAND.format(model), model, region=region)


def test_what_the_control_plane_has_listed_goes_before_what_is_known() -> None:
    """Its list is the account's own: application profiles are in it too, and what is not there is not named."""
    listed = {"abc123": (SONNET_46,), f"global.{SONNET_46}": (SONNET_46,), f"us.{NOVA}": (NOVA,)}
    hint = advised(ON_DEMAND.format(SONNET_46), SONNET_46, listed=listed)
    assert f"the account has these in us-east-1: global.{SONNET_46}, abc123." in hint
    assert f"us.{SONNET_46}" not in hint


@pytest.mark.parametrize(
    ("region", "model", "words"),
    [
        # of another geography
        ("us-east-1", f"eu.{SONNET_46}", f"eu. is not a geography of us-east-1, which belongs to us and global: known for us-east-1: us.{SONNET_46}"),
        ("us-east-1", "eu.acme.chat-9", "the model may have a profile there"),
        # the guide's case: a region without inference profiles
        ("cn-north-1", f"us.{SONNET_4}", f"No inference profiles are known for cn-north-1: pass the id of a model that the region offers on demand, such as {SONNET_4}"),
        # known, and yet refused
        ("us-east-1", SONNET_46, f"probably does not offer the model under it: call it as us.{SONNET_46} or global.{SONNET_46}"),
        # near ones
        ("us-east-1", "anthropic.claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("eu-west-1", "anthropic.claude-sonnet-4.6", f"eu.{SONNET_46}"),
        ("us-east-1", "claude-sonnet-4-6", f"us.{SONNET_46}"),
        ("us-east-1", "bedrock/us.anthropic.claude-sonnet-4-6", f"us.{SONNET_46}"),
        ("us-east-1", "nova-lite", f"us.{NOVA}"),
        ("us-east-1", "us.amazon.nova-lite-v1.0", f"us.{NOVA}"),
    ],
)  # fmt: skip
def test_an_id_that_is_refused_is_explained(region: str, model: str, words: str) -> None:
    """Another geography, a region without profiles, a known id that is not offered there, or the nearest known ones."""
    assert words in advised(INVALID, model, region=region)
    assert words in advised(
        "Could not resolve the foundation model from the provided model identifier.",
        model,
        code="ResourceNotFoundException",
        region=region,
    )


@pytest.mark.parametrize(
    "model",
    [
        "something.entirely-different-7",
        "m",
        "amazon",
        "amazon.n",
        "gpt-4o",
        "arn:aws:bedrock:us-east-1:123456789012:prompt/AB",
    ],
)
def test_an_id_that_is_like_no_other_has_the_general_hint(model: str) -> None:
    """No guess is better than a wild one."""
    assert advised(INVALID, model) == service_error("ValidationException", INVALID).hint


@pytest.mark.parametrize(
    ("model", "newest", "not_named"),
    [
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "us.anthropic.claude-sonnet-5-5", "opus"),
        ("anthropic.claude-3-opus-20240229-v1:0", "us.anthropic.claude-opus-5-5", "sonnet"),
        ("amazon.nova-pro-v1:0", "", "nova-2-pro-preview"),
        ("amazon.nova-lite-v1:0", "us.amazon.nova-2-lite-v1:0", "nova-pro"),
        ("meta.llama3-1-70b-instruct-v1:0", "us.meta.llama4-", "llama3-1"),
    ],
)
def test_a_model_at_its_end_has_successors(model: str, newest: str, not_named: str) -> None:
    """Later ones of the same line, as ids that the region can call; no other line, nothing older."""
    hint = advised(END_OF_LIFE, model, code="ResourceNotFoundException")
    assert hint.startswith("Move to an active version of the model")
    assert newest in hint
    assert not_named not in hint
    assert ("known when this version was released" in hint) == bool(newest)


@pytest.mark.parametrize("model", ["anthropic.claude-v2:1", "amazon.titan-text-express-v1", "ai21.j2-ultra-v1"])
def test_a_model_without_a_known_successor_names_none(model: str) -> None:
    """A line that ended is not continued by guessing."""
    assert advised(END_OF_LIFE, model, code="ResourceNotFoundException").endswith("will not return.")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("prompt is too long: 209353 tokens > 199999 maximum", "The input is 9,354 tokens too long."),
        (
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length",
            "With 199,759 input tokens, max_tokens can be at most 241.",
        ),
        (
            "input length and `max_tokens` exceed context limit: 200100 + 8192 > 200000, decrease input length",
            "The input alone is 100 tokens too long.",
        ),
        (
            "Too many input tokens. Max input tokens: 8192, request input token count: 10234",
            "The input is 2,042 tokens too long.",
        ),
        ("Too many input tokens. Max input tokens: 8192", "The limit is 8,192 tokens."),
        (
            "Input is too long for requested model.",
            f"The context window of {NOVA} is 300,000 tokens, as far as known.",
        ),
    ],
)
def test_an_input_that_is_too_long_is_counted(message: str, words: str) -> None:
    """With the numbers of the message, else with the known size of the window; and how to measure it before."""
    hint = advised(message, NOVA, context_window=300_000)
    assert hint.startswith(words)
    assert "client.count_tokens()" in hint
    assert type(service_error("ValidationException", message)) is InputTooLongError


def test_a_window_that_nobody_knows_is_not_made_up() -> None:
    """No number without a source."""
    message = "Input is too long for requested model."
    assert advised(message, NOVA) == service_error("ValidationException", message).hint


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Signature expired: 20250130T064508Z is now earlier than 20250210T013411Z (20250210T013911Z - 5 min.)",
            (
                "signed at 2025-01-30 06:45:08 UTC by this machine's clock; the service's clock said 2025-02-10 "
                "01:39:11, 11 days later"
            ),
        ),
        (
            "Signature expired: 20250808T084915Z is now earlier than 20250808T105239Z (20250808T105739Z - 5 min.)",
            "2 hours later",
        ),
        (
            "Signature not yet current: 20250808T110000Z is still later than 20250808T105000Z (20250808T104500Z + 5 min.)",
            "15 minutes earlier: synchronise this machine's clock.",
        ),
    ],
)
def test_a_wrong_clock_is_told_by_how_much(message: str, words: str) -> None:
    """The times are the service's own; a request that was late may also have waited."""
    hint = advised(message, NOVA, code="InvalidSignatureException")
    assert words in hint
    assert ("waited that long" in hint) == ("later" in hint)


def test_max_tokens_has_its_limit() -> None:
    """That of the message, else that of the facts."""
    limit = "The maximum tokens you requested exceeds the model limit of 32768"
    assert advised(limit, NOVA, max_output_tokens=10_000) == "Pass max_tokens=32768 or less, or leave it out."
    hint = advised("The maximum tokens you requested exceeds the limit.", NOVA, max_output_tokens=10_000)
    assert hint.endswith(f"That of {NOVA} is 10,000, as far as known.")


@pytest.mark.parametrize(("model", "named"), [(NOVA, True), (f"us.{NOVA}", False), ("acme.chat-9", False)])
def test_load_can_be_spread_over_a_profile(model: str, named: object) -> None:
    """Where the call went to the model itself and a profile of it is known."""
    hint = advised(TOO_MANY_TOKENS, model, code="ThrottlingException")
    assert (f"A suitable profile: us.{NOVA}." in hint) is named


def test_model_access_names_model_and_region() -> None:
    """Where to ask for what; with a profile in its other regions, too."""
    message = "You don't have access to the model with the specified model ID."
    hint = advised(message, f"us.{NOVA}", code="AccessDeniedException")
    assert hint.startswith(f"Request access to {NOVA} in the Bedrock console of us-east-1, and of the other regions")


def test_a_call_to_another_region_has_that_regions_ids() -> None:
    """Failover goes there; what is listed for the client's own region says nothing of it."""
    error = service_error("ValidationException", ON_DEMAND.format(SONNET_46))
    listed = {f"us.{SONNET_46}": (SONNET_46,)}
    adviser(listed=listed).advise(error, SONNET_46, region="eu-west-1")
    assert error.hint is not None
    assert f"known for eu-west-1: eu.{SONNET_46}, global.{SONNET_46}." in error.hint


def test_another_hint_is_left_alone() -> None:
    """A provider that knows its service better has the last word; errors of other kinds are none of the table's."""
    error = service_error("ValidationException", INVALID)
    error.hint = "Use the other route."
    adviser().advise(error, SONNET_46)
    assert error.hint == "Use the other route."
    other = errors.ConnectError("no.", hint="Look.")
    adviser().advise(other, SONNET_46)
    assert other.hint == "Look."


@pytest.mark.parametrize("model", [None, ""])
def test_without_a_model_the_general_hint_stays(model: str | None) -> None:
    """Calls of the control plane go to no model, and a stream that never opened knows none."""
    for code, message, _, _ in SAID:
        error = service_error(code, message)
        general = error.hint
        adviser().advise(error, model)
        if "Signature" not in message and "tokens" not in message:
            assert error.hint == general


def test_facts_that_cannot_be_had_hide_nothing() -> None:
    """A plugin that fails while an error is explained leaves the error as it was."""

    def facts(_model: str | None) -> ModelProfile:
        raise errors.PluginError("broken.")

    error = service_error("ValidationException", "Input is too long for requested model.")
    general = error.hint
    Adviser("us-east-1", facts, dict).advise(error, NOVA)
    assert error.hint == general


# -- to the caller


async def _stream(client: BedrockClient, **settings: Any) -> None:  # noqa: ANN401 - of the call
    async for _ in client.stream(SONNET_46, "Hi.", **settings):
        pass


async def _invoke_stream(client: BedrockClient) -> None:
    async for _ in client.invoke_stream(SONNET_46, {"messages": []}):
        pass


CALLS: Final[Mapping[str, Callable[[BedrockClient], Awaitable[object]]]] = {
    "converse": lambda client: client.converse(SONNET_46, "Hi."),
    "converse, provider invoke": lambda client: client.converse(SONNET_46, "Hi.", provider="invoke", max_tokens=9),
    "stream": _stream,
    "stream, provider invoke": lambda client: _stream(client, provider="invoke", max_tokens=9),
    "stream, replayed": lambda client: _stream(client, streaming=False),
    "invoke": lambda client: client.invoke(SONNET_46, {"messages": []}),
    "invoke_stream": _invoke_stream,
    "parse": lambda client: client.parse(SONNET_46, "Hi.", output_type={"type": "object"}, output_mode="prompt"),
}


def client_of(emulator: BedrockEmulator) -> BedrockClient:
    """Return a client of the emulator that tries once."""
    return BedrockClient(
        region="us-east-1",
        endpoint_url=emulator.url,
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        retry=NO_RETRY,
    )


@pytest.mark.parametrize("verb", sorted(CALLS))
async def test_advice_reaches_the_caller_of_every_verb_and_provider(verb: str) -> None:
    """The hint knows the call's model and region, whichever way the call went."""
    failing = ScriptedModel([service_error("ValidationException", ON_DEMAND.format(SONNET_46))])
    async with BedrockEmulator([failing]) as emulator, client_of(emulator) as client:
        with pytest.raises(OnDemandNotSupportedError) as caught:
            await CALLS[verb](client)
    assert caught.value.hint is not None
    assert f"known for us-east-1: us.{SONNET_46}" in caught.value.hint
    assert caught.value.attempts


@pytest.mark.parametrize("events", [0, 2])
async def test_advice_reaches_the_reader_of_a_stream(events: int) -> None:
    """An exception under HTTP 200, before and after the first event, has the same advice."""
    failure = service_error("ThrottlingException", TOO_MANY_TOKENS)
    model = ScriptedModel([*text_events("hello world")[:events], failure])
    async with BedrockEmulator([model]) as emulator, client_of(emulator) as client:
        with pytest.raises(ThrottlingError) as caught:
            async for _ in client.stream(SONNET_46, "Hi."):
                pass
    assert caught.value.in_stream is (events > 0)
    assert caught.value.hint is not None
    assert f"A suitable profile: us.{SONNET_46}." in caught.value.hint


async def test_what_the_client_has_listed_is_in_its_advice() -> None:
    """After `list_inference_profiles` the hint names what the account has."""
    account = EmulatorAccount(inference_profiles={"team-profile": SONNET_46})
    failing = ScriptedModel([service_error("ValidationException", ON_DEMAND.format(SONNET_46))], model_ids=[SONNET_46])
    async with BedrockEmulator([failing], account=account) as emulator, client_of(emulator) as client:
        await client.list_inference_profiles()
        with pytest.raises(OnDemandNotSupportedError) as caught:
            await client.converse(SONNET_46, "Hi.")
    assert caught.value.hint is not None
    assert "the account has these in us-east-1: " in caught.value.hint
    assert "team-profile" in caught.value.hint


def test_every_topic_is_explained() -> None:
    """docs/errors.md has a heading for each, under which it says more than the hint."""
    page = (Path(__file__).parent.parent / "docs" / "errors.md").read_text("utf-8")
    headings = set(re.findall(r'<a id="([\w-]+)"></a>', page))
    assert {rule.topic for rule in RULES} - {"other", "validation"} == headings


async def test_advice_costs_nothing_while_nothing_fails() -> None:
    """No function of it is called by calls and streams that succeed."""
    called: set[str] = set()

    def note(frame: FrameType, what: str, _argument: object) -> None:
        if what == "call":
            called.add(Path(frame.f_code.co_filename).name)

    async with BedrockEmulator([ScriptedModel.text("hello")]) as emulator, client_of(emulator) as client:
        sys.setprofile(note)
        try:
            await client.converse(SONNET_46, "Hi.")
            await client.stream(SONNET_46, "Hi.").get_final_response()
        finally:
            sys.setprofile(None)
    assert "calls.py" in called
    assert called.isdisjoint({"advice.py", "hints.py", "hooks.py"})
