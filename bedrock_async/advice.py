"""What to do about an error: a table of the service's messages, each with its next step, read only when a call fails.

A rule applies to errors of certain classes (by name, subclasses included) whose message contains one of its ``texts``
and, if it has one, matches its ``pattern``. The first rule that matches counts; rules without texts match every message
of their classes, and so come last. `bedrock_async.features.hints` adds what is known about the call.

``seen`` says where the service's text was found: "corpus" is recorded traffic and errors quoted in public threads, a
repository and a number is one such thread, "model" is the documentation in the service model of the Bedrock Runtime,
2023-09-30, and "front end" are the texts that all AWS services share. A rule without a text needs no source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

__all__ = ["RULES", "Rule", "find_rule"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """The next step for certain errors. ``{name}`` in the hint stands for the group of that name in the pattern.

    ``topic`` is the anchor in docs/errors.md that says more. ``becomes`` names the class that the text implies, if that
    is a narrower one.
    """

    topic: str
    errors: tuple[str, ...]
    texts: tuple[str, ...] = ()
    pattern: str | None = None
    hint: str
    becomes: str | None = None
    seen: str = ""

    def fits(self, message: str) -> Mapping[str, str] | None:
        """Return the pattern's groups in a message, None if the rule does not match it."""
        # The service uses a typographic apostrophe; gateways and logs that quote it often use a plain one.
        plain = message.replace("\u2019", "'").lower()
        if self.texts and not any(text in plain for text in self.texts):
            return None
        if self.pattern is None:
            return {}
        found = re.search(self.pattern, message, re.IGNORECASE)
        return None if found is None else {name: value or "" for name, value in found.groupdict().items()}


def find_rule(classes: Collection[str], message: str) -> tuple[Rule, str] | None:
    """Return the rule for an error of these classes, and its hint, filled in; None if no rule matches."""
    of = frozenset(classes)
    for rule in RULES:
        if of.isdisjoint(rule.errors) or (found := rule.fits(message)) is None:
            continue
        hint = rule.hint
        for name, value in found.items():
            hint = hint.replace("{" + name + "}", value)
        return rule, hint
    return None


_ANY: Final = ("ServiceError",)
_ACCESS: Final = ("AccessDeniedError",)
_AUTHENTICATION: Final = ("AuthenticationError",)
_MODEL: Final = ("ModelError", "ModelStreamError")
_NOT_FOUND: Final = ("ResourceNotFoundError",)
_THROTTLING: Final = ("ThrottlingError",)
_UNAVAILABLE: Final = ("ServiceUnavailableError",)
_VALIDATION: Final = ("ValidationError",)

_SHORTEN: Final = (
    "Shorten the input (history, documents) or choose a model with a larger context window; "
    "client.count_tokens() measures a request before it is sent."
)
_ONLY_A_POLICY: Final = "In policies, the prefix of the service is bedrock:, never bedrock-runtime:."

RULES: Final[tuple[Rule, ...]] = (
    # -- which model
    Rule(
        topic="on-demand-throughput",
        errors=_VALIDATION,
        texts=("on-demand throughput isn't supported", "doesn't support on-demand throughput"),
        hint="Call the model through an inference profile: put the geography of your region before the id "
        "(us., eu., apac., jp., au. or global.), for example us.anthropic.claude-sonnet-4-6, "
        "or pass the profile's ARN.",
        becomes="OnDemandNotSupportedError",
        seen="corpus; aws-samples/bedrock-chat 508",
    ),
    Rule(
        topic="model-identifier",
        errors=_VALIDATION,
        texts=("model identifier is invalid", "at 'modelid' failed to satisfy constraint"),
        hint="Check the id for typos, and whether this region offers it: an inference profile id such as "
        "us.anthropic... works only from regions of its geography, a plain id only where the model is offered on "
        "demand.",
        becomes="ModelIdRejectedError",
        seen="corpus; aws-samples/amazon-bedrock-client-for-mac 11",
    ),
    Rule(
        topic="model-identifier",
        errors=_NOT_FOUND,
        texts=("could not resolve the foundation model",),
        hint="Check the id for typos, and whether this region offers it: client.list_models() lists its models.",
        seen="corpus",
    ),
    Rule(
        topic="end-of-life",
        errors=_NOT_FOUND,
        texts=("end of its life",),
        hint="Move to an active version of the model; the old one will not return.",
        seen="corpus",
    ),
    Rule(
        topic="end-of-life",
        errors=_NOT_FOUND,
        texts=("marked by provider as legacy",),
        hint="Move to an active version of the model; accounts that have not used a legacy model lately lose access to "
        "it.",
        seen="corpus; aws-samples/amazon-bedrock-workshop 386",
    ),
    # -- who may call it
    Rule(
        topic="use-case-form",
        errors=_ANY,
        texts=("use case details have not been submitted", "required use-case form"),
        hint="Submit the use case form for Anthropic's models in the Bedrock console, once per account; access follows "
        "within 15 minutes.",
        seen="obot-platform/obot 6747; truefoundry/models 934",
    ),
    Rule(
        topic="unsupported-country",
        errors=_ANY,
        texts=("from unsupported countries",),
        hint="The vendor does not serve the country or territory of the caller: choose a model of another vendor.",
        seen="aws-samples/generative-bi-using-rag 361",
    ),
    Rule(
        topic="account-not-allowed",
        errors=_VALIDATION,
        texts=("operation not allowed",),
        hint="Often the account itself is restricted, for example a new one, regardless of its policies: open a case "
        "with AWS Support.",
        seen="aws/aws-cli 8717; kirodotdev/Kiro 11191",
    ),
    Rule(
        topic="account-not-allowed",
        errors=(*_ACCESS, *_VALIDATION),
        texts=("your account is not authorized to invoke this api operation",),
        hint="Check that the account has access to the model in this region, and that the principal may call "
        "bedrock:InvokeModel on it; if both are so, open a case with AWS Support.",
        seen="corpus; aws-samples/amazon-bedrock-audio-summarizer 3",
    ),
    Rule(
        topic="caching-not-supported",
        errors=_ANY,
        texts=("did not allow prompt caching", "extraneous key [cachepoint] is not permitted"),
        hint="The model does not support prompt caching, or not at that position: remove the cache points; "
        "cache=CacheConfig(...) sets them only where the model is known to accept them.",
        seen="strands-agents/harness-sdk 1807; posit-dev/positron 12142; earendil-works/pi 2053",
    ),
    Rule(
        topic="caching-not-supported",
        errors=_VALIDATION,
        texts=("cache_control: extra inputs are not permitted",),
        hint="The model does not accept cache points in this mode: remove performance='optimized' or the cache points.",
        seen="boto/boto3 4626",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>[\w-]+:\w+).* with an explicit deny in an? (?P<policy>[\w -]+)",
        hint="An explicit deny in a {policy} forbids {action}, and no other policy can override it: ask whoever "
        "manages that policy.",
        seen="front end",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>[\w-]+:\w+) on resource: [\w:-]*:(?P<account>\d{12}):.* "
        r"no resource-based policy",
        hint="The resource belongs to account {account}: use a resource of the caller's own account, or ask its owner "
        "to allow the caller {action}.",
        seen="front end",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>bedrock:InvokeModel\w*) on resource: \S+:(application-)?"
        r"inference-profile/",
        hint="Allow the action {action} on that inference profile, and on its foundation model in every region that it "
        f"routes to, in the principal's IAM policy. {_ONLY_A_POLICY}",
        seen="corpus",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>[\w-]+:\w+)( on resource: \S+)? because no "
        r"(?P<policy>(?!identity)[\w -]+) allows",
        hint="Allow the action {action} also in the {policy} that applies here; the principal's own policy is not "
        "enough.",
        seen="front end",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>bedrock:\w+) on\b",
        hint="Allow the action {action} on that resource in the principal's IAM policy. " + _ONLY_A_POLICY,
        seen="corpus",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>[\w-]+:\w+) on\b",
        hint="Allow the action {action} on that resource in the principal's IAM policy.",
        seen="front end",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        texts=("not authorized to perform",),
        pattern=r"not authorized to perform: (?P<action>[\w-]+:\w+)",
        hint="Allow the action {action} in the principal's IAM policy.",
        seen="front end",
    ),
    Rule(
        topic="model-access",
        errors=_ACCESS,
        texts=("access to the model with the specified model id",),
        hint="Request access to the model in the Bedrock console of this region.",
        seen="corpus",
    ),
    Rule(
        topic="model-access",
        errors=_ACCESS,
        texts=("aws-marketplace",),
        hint="Have a principal with aws-marketplace:Subscribe enable the model once; try again after five minutes.",
        seen="corpus",
    ),
    Rule(
        topic="api-key",
        errors=_ACCESS,
        texts=("invalid api key format",),
        hint="Pass the Bedrock API key exactly as it was issued, and allow bedrock:CallWithBearerToken.",
        seen="corpus",
    ),
    Rule(
        topic="api-key",
        errors=_ACCESS,
        texts=("api key is valid", "bearer token has expired"),
        hint="Create a new API key: short-term keys are valid for at most 12 hours, in one region. A callable "
        "(api_key=...) supplies new keys automatically; client.api_key = ... replaces a fixed one.",
        seen="front end",
    ),
    Rule(
        topic="access-denied",
        errors=_ACCESS,
        hint="Check that the principal may call bedrock:InvokeModel (bedrock:InvokeModelWithResponseStream for "
        "streams) on this model in this region.",
    ),
    # -- signatures and tokens
    Rule(
        topic="expired-token",
        errors=("ExpiredTokenError",),
        hint="Sign in again or pass fresh temporary credentials; with a profile or a callable, the client refreshes "
        "them automatically.",
    ),
    Rule(
        topic="clock",
        errors=_AUTHENTICATION,
        texts=("signature expired", "signature not yet current"),
        hint="This machine's clock is wrong by minutes: synchronise it.",
        seen="corpus",
    ),
    Rule(
        topic="signature",
        errors=_AUTHENTICATION,
        texts=("signature we calculated does not match",),
        hint="The secret key belongs to another key id, or a proxy changes the headers or the path: check both.",
        seen="BerriAI/litellm 14763",
    ),
    Rule(
        topic="signature",
        errors=_AUTHENTICATION,
        texts=("missing equal-sign", "not a valid key=value pair"),
        hint="The key id contains a space, a line break or another invalid character: copy it again.",
        seen="awslabs/fhir-works-on-aws-deployment 379",
    ),
    Rule(
        topic="credentials",
        errors=_AUTHENTICATION,
        hint="Check the key id, secret and session token: a temporary key needs its session token. "
        "`bedrock-async doctor` shows where the credentials came from.",
    ),
    # -- how much
    Rule(
        topic="input-too-long",
        errors=_VALIDATION,
        texts=("input is too long",),
        hint=_SHORTEN + " With many images or documents, the message may refer to the size of the request.",
        becomes="InputTooLongError",
        seen="corpus; aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws 994",
    ),
    Rule(
        topic="input-too-long",
        errors=_VALIDATION,
        texts=("input tokens exceeded", "prompt is too long", "too many input tokens", "maximum context length"),
        hint=_SHORTEN,
        becomes="InputTooLongError",
        seen="corpus; entropy-research/Devon 88",
    ),
    Rule(
        topic="input-too-long",
        errors=_VALIDATION,
        texts=("context", "max_tokens"),
        pattern=r"exceeds? (the )?(maximum )?context|input length and .?max_tokens.? exceed",
        hint=_SHORTEN + " max_tokens counts too.",
        becomes="InputTooLongError",
        seen="continuedev/continue 6080",
    ),
    Rule(
        topic="max-tokens",
        errors=_VALIDATION,
        texts=("maximum tokens you requested exceed",),
        pattern=r"limit of (?P<limit>\d+)",
        hint="Pass max_tokens={limit} or less, or leave it out.",
        seen="corpus; RooCodeInc/Roo-Code 248",
    ),
    Rule(
        topic="max-tokens",
        errors=_VALIDATION,
        texts=("maximum tokens you requested exceed",),
        hint="Lower max_tokens to the limit in the message.",
        seen="corpus",
    ),
    Rule(
        topic="quota-per-day",
        errors=_THROTTLING,
        texts=("too many tokens per day",),
        hint="The daily quota is used up, and a short wait does not help: request a higher one in Service Quotas, or "
        "use another model or region.",
        seen="minorun365/agent-book 29; Ivy-Interactive/Ivy-Tendril 1756",
    ),
    Rule(
        topic="throttling",
        errors=_THROTTLING,
        texts=("too many tokens",),
        hint="The tokens-per-minute quota counts the input plus max_tokens: lower max_tokens, slow down, or spread the "
        "load over an inference profile.",
        seen="corpus",
    ),
    Rule(
        topic="throttling",
        errors=_THROTTLING,
        hint="Slow down, spread the load over a cross-region inference profile, or request a higher quota.",
    ),
    Rule(
        topic="quota-exceeded",
        errors=("QuotaExceededError",),
        hint="Request a higher quota in Service Quotas, or use another region; retrying does not help.",
    ),
    Rule(
        topic="image-size",
        errors=_VALIDATION,
        texts=("image exceeds",),
        pattern=r"image exceeds (?P<limit>[\d.]+ [KMG]B) maximum",
        hint="Make the image smaller: the {limit} limit counts base64, which is a third larger than the file.",
        seen="aws/aws-sdk-js-v3 6785",
    ),
    Rule(
        topic="image-size",
        errors=_VALIDATION,
        texts=("max allowed size for many-image requests",),
        pattern=r"many-image requests: (?P<pixels>\d+) pixels",
        hint="Make every image at most {pixels} pixels wide and high, or send at most 20 images, which may be larger.",
        seen="aws-solutions-library-samples/accelerated-intelligent-document-processing-on-aws 994",
    ),
    Rule(
        topic="too-many-media",
        errors=_VALIDATION,
        texts=("too many images",),
        pattern=r"too many images.*> ?(?P<limit>\d+)",
        hint="Send at most {limit}; those in earlier turns count too, so remove them from the history.",
        seen="cline/cline 1844; boto/boto3 4632",
    ),
    # -- what the model does not do
    Rule(
        topic="streaming-not-supported",
        errors=_VALIDATION,
        texts=("support tool use in streaming mode", "unsupported for streaming"),
        hint="Call this model with streaming=False; the events are the same.",
        seen="corpus; aws-samples/amazon-bedrock-client-for-mac 112",
    ),
    Rule(
        topic="tools-not-supported",
        errors=_VALIDATION,
        texts=("doesn't support tool use",),
        hint="Omit the tools, or choose a model that supports them.",
        seen="langchain-ai/langchain-aws 447",
    ),
    Rule(
        topic="not-supported",
        errors=_VALIDATION,
        texts=("this model doesn't support the",),
        pattern=r"doesn.t support the (?P<what>[\w ]+?) field",
        hint="Omit {what}, or choose a model that accepts it; some models that accept {what} elsewhere reject it "
        "inside a tool result.",
        seen="can1357/oh-my-pi 11685",
    ),
    Rule(
        topic="s3-source",
        errors=_VALIDATION,
        texts=("source.type: field required",),
        hint="If the media is in S3: only Amazon's models are known to read from there; pass the bytes instead.",
        seen="corpus; strands-agents/harness-sdk 3610",
    ),
    Rule(
        topic="s3-output",
        errors=_VALIDATION,
        texts=("invalid output config",),
        hint="The service writes with the caller's permissions: allow s3:PutObject on the output location, in a bucket "
        "of this region.",
        seen="public threads on StartAsyncInvoke",
    ),
    Rule(
        topic="sampling",
        errors=_VALIDATION,
        texts=("cannot both be specified",),
        pattern=r"temperature.*top_p|top_p.*temperature",
        hint="Pass temperature or top_p, not both; the client's defaults count too.",
        seen="corpus",
    ),
    Rule(
        topic="thinking",
        errors=_VALIDATION,
        texts=("may only be set to 1 when thinking is enabled",),
        hint="Omit temperature, or turn reasoning off.",
        seen="MartialBE/one-hub 529",
    ),
    Rule(
        topic="thinking",
        errors=_VALIDATION,
        texts=("thinking may not be enabled when tool_choice forces tool use",),
        hint="Leave tool_choice at 'auto', or turn reasoning off.",
        seen="pydantic-ai 2.68.0, profiles of Bedrock",
    ),
    Rule(
        topic="thinking",
        errors=_VALIDATION,
        texts=("thinking.budget_tokens", "thinking.enabled.budget_tokens"),
        pattern=r"max_tokens.? must be greater than",
        hint="Pass a max_tokens above the reasoning budget, which counts towards it.",
        seen="vercel/ai 4980",
    ),
    Rule(
        topic="thinking",
        errors=_VALIDATION,
        texts=("budget_tokens: input should be greater than or equal to",),
        pattern=r"greater than or equal to (?P<least>\d+)",
        hint="Set a reasoning budget of at least {least} tokens.",
        seen="corpus",
    ),
    Rule(
        topic="thinking",
        errors=_VALIDATION,
        texts=("must start with a thinking block",),
        hint="Send the reasoning of earlier turns back unchanged: append the whole reply.message to the history.",
        seen="corpus",
    ),
    Rule(
        topic="prefill",
        errors=_VALIDATION,
        texts=("pre-filling the `assistant` response is not supported",),
        hint="End the conversation with a user message.",
        seen="corpus",
    ),
    # -- the conversation
    Rule(
        topic="tool-results",
        errors=_VALIDATION,
        texts=(
            "`tool_result` block(s) at the beginning",
            "expected toolresult blocks",
            "ids were found without `tool_result` blocks",
        ),
        hint="Answer every toolUse in a message with a toolResult of the same id, at the start of the next message.",
        seen="corpus; agno-agi/agno 6698; lbjlaq/Antigravity-Manager 654",
    ),
    Rule(
        topic="tool-results",
        errors=_VALIDATION,
        texts=("toolconfig field must be defined",),
        hint="Pass the tools again: a history with tool blocks requires them, even if none is to be used.",
        seen="langgenius/dify 16421",
    ),
    Rule(
        topic="tool-results",
        errors=_VALIDATION,
        texts=("cannot be empty when status value is error",),
        hint="Give the failed toolResult a text that says what went wrong.",
        seen="aws-samples/sample-multi-agent-orchestration-chat-on-agentcore 15",
    ),
    Rule(
        topic="blank-text",
        errors=_VALIDATION,
        texts=("text field in the contentblock object at",),
        hint="Remove the blank text: the service rejects text that contains only whitespace.",
        seen="aws-samples/bedrock-engineer 8",
    ),
    Rule(
        topic="first-message",
        errors=_VALIDATION,
        texts=("conversation must start with a user message",),
        hint="Begin the history with a user message; a sliding window may have cut it off.",
        seen="langgenius/dify 12340; strands-agents/sdk-typescript 727",
    ),
    Rule(
        topic="alternating-roles",
        errors=_VALIDATION,
        texts=("must alternate between user and assistant",),
        hint="Merge consecutive messages of the same role: a message may contain any number of blocks.",
        seen="langchain-ai/langchain-aws 130; microsoft/semantic-kernel 10281",
    ),
    # -- settings of the account and the request
    Rule(
        topic="guardrail",
        errors=_ANY,
        texts=("guardrail identifier is invalid", "guardrail identifier or version"),
        hint="Check the guardrail's id or ARN, that it is in this region, and that this version of it exists (a "
        "number, or DRAFT).",
        seen="openclaw/openclaw 58588",
    ),
    Rule(
        topic="data-retention",
        errors=_VALIDATION,
        texts=("data retention mode",),
        hint="The account's data retention setting does not fit the model: change it (PutAccountDataRetention), or "
        "choose another model. No request can change it.",
        seen="anomalyco/opencode 31560; anthropics/claude-code 66594",
    ),
    Rule(
        topic="service-tier",
        errors=_VALIDATION,
        texts=("reservation not found",),
        hint="service_tier='reserved' needs a capacity reservation for this model: choose default, flex or priority.",
        seen="NousResearch/hermes-agent 34476; envoyproxy/ai-gateway 1749",
    ),
    Rule(
        topic="service-tier",
        errors=_VALIDATION,
        texts=("service tier",),
        hint="Choose a service_tier that the model supports in this region: every model supports default, some support "
        "flex, priority or reserved.",
        seen="NousResearch/hermes-agent 34476",
    ),
    Rule(
        topic="unknown-operation",
        errors=_VALIDATION,
        texts=("operation is not recognized by the service",),
        hint="Check region and endpoint_url: the endpoint does not know this operation.",
        seen="corpus",
    ),
    # -- the model and the service
    Rule(
        topic="model-not-ready",
        errors=("ModelNotReadyError",),
        hint="The model is being loaded: wait 5 to 30 seconds and try again.",
    ),
    Rule(
        topic="model-timeout",
        errors=("ModelTimeoutError",),
        hint="Lower max_tokens, shorten the input, or stream the answer.",
    ),
    Rule(
        topic="model-error",
        errors=_MODEL,
        texts=("invalid sequence as part of tooluse",),
        hint="Try again: the model wrote an invalid tool use. If this happens often, lower the temperature and "
        "simplify the tools' schemas.",
        seen="corpus",
    ),
    Rule(
        topic="interrupted-stream",
        errors=("ModelStreamError",),
        hint="Try again; the text so far is in partial_response (for a native stream, in the chunks received).",
    ),
    Rule(
        topic="model-error",
        errors=("ModelError",),
        hint="Try again; if the error persists, change the request or the model.",
    ),
    Rule(
        topic="service-unavailable",
        errors=_UNAVAILABLE,
        texts=("too many connections",),
        hint="The service lacks capacity for this model; this is not a quota of the account: try again after a short "
        "wait, or use another region or profile.",
        seen="anthropics/claude-code 562; onyx-dot-app/onyx 6368",
    ),
    Rule(
        topic="service-unavailable",
        errors=("InternalServerError",),
        hint="Try again after a short wait.",
    ),
    Rule(
        topic="service-unavailable",
        errors=_UNAVAILABLE,
        hint="Try again after a short wait, or use another region or profile.",
    ),
    Rule(
        topic="conflict",
        errors=("ConflictError",),
        hint="Wait for the other request, or use another idempotency token.",
    ),
    # -- whatever else
    Rule(
        topic="model-identifier",
        errors=_NOT_FOUND,
        hint="Check the id and whether this region offers the model or resource.",
    ),
    Rule(
        topic="validation",
        errors=_VALIDATION,
        hint="Change the request as the message says; client.prepare() shows the request that would be sent.",
    ),
    Rule(
        topic="other",
        errors=_ANY,
        hint="Look the code up in the API reference of the Bedrock Runtime.",
    ),
)
