"""ApplyGuardrail and InvokeGuardrailChecks: guardrails and checks without a model call."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from ._wire import Enum, Float, List, WireModel, WireUnion
from .content import GuardImage, GuardText
from .guardrail_decisions import GuardrailDecision, GuardrailSource, assessed_decision
from .guardrails import GuardrailAssessment, GuardrailCoverage, GuardrailUsage, PersonalData
from .response import ServiceResponse

ContentCategory: TypeAlias = Annotated[Literal["VIOLENCE", "HATE", "SEXUAL", "MISCONDUCT", "INSULTS"] | str, Enum]
AttackCategory: TypeAlias = Annotated[Literal["JAILBREAK", "PROMPT_INJECTION", "PROMPT_LEAKAGE"] | str, Enum]


class GuardrailContent(WireUnion):
    """A text or image for a guardrail to assess."""

    text: GuardText | None = None
    image: GuardImage | None = None


class ApplyGuardrailRequest(WireModel):
    """The members of an ApplyGuardrail request; id and version are sent in the path."""

    not_in_body: ClassVar[set[str]] = {"guardrail_identifier", "guardrail_version"}

    source: Annotated[Literal["INPUT", "OUTPUT"] | str, Enum]
    content: List[GuardrailContent]
    output_scope: Annotated[Literal["INTERVENTIONS", "FULL"] | str, Enum] | None = None
    guardrail_identifier: str | None = None
    guardrail_version: str | None = None


class GuardrailOutput(WireModel):
    """A text as the guardrail returns it: masked, or its message for blocked content."""

    text: str | None = None


class GuardrailVerdict(ServiceResponse):
    """The response of ApplyGuardrail.

    Real responses have explicit nulls for assessments that were not made; `to_wire` keeps them.
    """

    action: Annotated[Literal["NONE", "GUARDRAIL_INTERVENED"] | str, Enum] = ""
    action_reason: str | None = None
    outputs: List[GuardrailOutput] | None = None
    assessments: List[GuardrailAssessment] | None = None
    usage: GuardrailUsage | None = None
    guardrail_coverage: GuardrailCoverage | None = None

    @property
    def intervened(self) -> bool:
        """Whether the guardrail blocked or masked something."""
        return self.action == "GUARDRAIL_INTERVENED"

    @property
    def text(self) -> str:
        """The text to show in place of the content, joined; empty if the guardrail did not intervene."""
        return "".join(output.text or "" for output in self.outputs or ())

    def decision(self, source: GuardrailSource | Literal["INPUT", "OUTPUT"]) -> GuardrailDecision:
        """Return the decision about content of ``source``, which the response itself does not name."""
        side: GuardrailSource = "input" if source.lower() == "input" else "output"
        return assessed_decision(self.to_wire(), side, intervened=self.intervened)

    def explain(self) -> str:
        """Return the verdict in words, without the matched texts."""
        if not self.intervened:
            return "the guardrail did not intervene"
        causes = [
            f"{'blocked' if each.blocks else 'masked'}: {each.policy} {each.name}"
            for each in self.decision("input").findings
            if each.blocks or each.masks
        ]
        return (
            "; ".join(dict.fromkeys(causes)) or f"the guardrail intervened: {self.action_reason or 'no reason given'}"
        )


class CheckText(WireUnion):
    """A piece of a message to check."""

    text: str | None = None


class CheckMessage(WireModel):
    """A turn of a conversation to check."""

    role: Annotated[Literal["user", "assistant", "system"] | str, Enum]
    content: List[CheckText]


class ContentFilterCategory(WireModel):
    """A category of harmful content to look for."""

    category: ContentCategory


class ContentFilterCheck(WireModel):
    """The check for harmful content."""

    categories: List[ContentFilterCategory]


class PromptAttackCategory(WireModel):
    """A kind of attack to look for."""

    category: AttackCategory


class PromptAttackCheck(WireModel):
    """The check for prompt attacks."""

    categories: List[PromptAttackCategory]


class SensitiveEntity(WireModel):
    """A kind of personal data to look for, such as ``EMAIL``."""

    type: PersonalData


class SensitiveInformationCheck(WireModel):
    """The check for personal data."""

    entities: List[SensitiveEntity]


class GuardrailChecks(WireModel):
    """The checks to make."""

    content_filter: ContentFilterCheck | None = None
    prompt_attack: PromptAttackCheck | None = None
    sensitive_information: SensitiveInformationCheck | None = None


class GuardrailChecksRequest(WireModel):
    """The members of an InvokeGuardrailChecks request."""

    messages: List[CheckMessage]
    checks: GuardrailChecks


class ContentFilterScore(WireModel):
    """The severity of one category, 0 to 1."""

    category: ContentCategory | None = None
    severity_score: Float | None = None


class ContentFilterResult(WireModel):
    """What the content filter found."""

    results: List[ContentFilterScore] | None = None


class PromptAttackScore(WireModel):
    """The severity of one kind of attack, 0 to 1."""

    category: AttackCategory | None = None
    severity_score: Float | None = None


class PromptAttackResult(WireModel):
    """What the prompt-attack check found."""

    results: List[PromptAttackScore] | None = None


class SensitiveFinding(WireModel):
    """Detected personal data: its place (message, content, characters) and the confidence, 0 to 1."""

    type: PersonalData | None = None
    confidence_score: Float | None = None
    begin_offset: int | None = None
    end_offset: int | None = None
    message_index: int | None = None
    content_index: int | None = None


class SensitiveInformationResult(WireModel):
    """The personal data that was found; ``truncated`` tells that there is more."""

    results: List[SensitiveFinding] | None = None
    truncated: bool | None = None


class GuardrailChecksResults(WireModel):
    """The results of all checks."""

    content_filter: ContentFilterResult | None = None
    prompt_attack: PromptAttackResult | None = None
    sensitive_information: SensitiveInformationResult | None = None


class CheckUsage(WireModel):
    """The text units charged for a check."""

    text_units: int | None = None


class GuardrailChecksUsage(WireModel):
    """The text units charged, by check."""

    content_filter: CheckUsage | None = None
    prompt_attack: CheckUsage | None = None
    sensitive_information: CheckUsage | None = None


class GuardrailChecksReport(ServiceResponse):
    """The response of InvokeGuardrailChecks."""

    results: GuardrailChecksResults | None = None
    usage: GuardrailChecksUsage | None = None

    def explain(self) -> str:
        """Return the findings in words, one per line, the most severe first, without the matched texts."""
        if self.results is None:
            return "nothing was found"
        found: list[tuple[float, str]] = []
        for name, scores in (("content", self.results.content_filter), ("attack", self.results.prompt_attack)):
            for score in (scores.results if scores is not None else None) or ():
                severity = score.severity_score or 0.0
                found.append((severity, f"{name} {score.category}: severity {severity:g}"))
        sensitive = self.results.sensitive_information
        for each in (sensitive.results if sensitive is not None else None) or ():
            confidence = each.confidence_score or 0.0
            place = f"messages[{each.message_index}].content[{each.content_index}]"
            where = f"{place}, characters {each.begin_offset} to {each.end_offset}"
            found.append((confidence, f"personal data {each.type} in {where}: confidence {confidence:g}"))
        lines = [line for _, line in sorted(found, key=lambda each: -each[0])]
        if sensitive is not None and sensitive.truncated:
            lines.append("there is more personal data than is listed")
        return "\n".join(lines) or "nothing was found"
