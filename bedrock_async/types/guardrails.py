"""The findings of a guardrail: its trace, and the assessments of ApplyGuardrail. Loaded on first use, see `_later`."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from ._wire import Enum, Float, List, WireModel, WireUnion

BlockAction: TypeAlias = Annotated[Literal["BLOCKED", "NONE"] | str, Enum]
MaskAction: TypeAlias = Annotated[Literal["ANONYMIZED", "BLOCKED", "NONE"] | str, Enum]
Confidence: TypeAlias = Annotated[Literal["NONE", "LOW", "MEDIUM", "HIGH"] | str, Enum]
PersonalData: TypeAlias = Annotated[
    Literal[
        "ADDRESS",
        "AGE",
        "AWS_ACCESS_KEY",
        "AWS_SECRET_KEY",
        "CA_HEALTH_NUMBER",
        "CA_SOCIAL_INSURANCE_NUMBER",
        "CREDIT_DEBIT_CARD_CVV",
        "CREDIT_DEBIT_CARD_EXPIRY",
        "CREDIT_DEBIT_CARD_NUMBER",
        "DRIVER_ID",
        "EMAIL",
        "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
        "IP_ADDRESS",
        "LICENSE_PLATE",
        "MAC_ADDRESS",
        "NAME",
        "PASSWORD",
        "PHONE",
        "PIN",
        "SWIFT_CODE",
        "UK_NATIONAL_HEALTH_SERVICE_NUMBER",
        "UK_NATIONAL_INSURANCE_NUMBER",
        "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER",
        "URL",
        "USERNAME",
        "US_BANK_ACCOUNT_NUMBER",
        "US_BANK_ROUTING_NUMBER",
        "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER",
        "US_PASSPORT_NUMBER",
        "US_SOCIAL_SECURITY_NUMBER",
        "VEHICLE_IDENTIFICATION_NUMBER",
    ]
    | str,
    Enum,
]


class GuardrailTopic(WireModel):
    """A denied topic that was found."""

    name: str | None = None
    type: Annotated[Literal["DENY"] | str, Enum] | None = None
    action: BlockAction | None = None
    detected: bool | None = None


class GuardrailTopicPolicyAssessment(WireModel):
    """What the topic policy found."""

    topics: List[GuardrailTopic] | None = None


class GuardrailContentFilter(WireModel):
    """A content filter that was triggered."""

    type: (
        Annotated[Literal["INSULTS", "HATE", "SEXUAL", "VIOLENCE", "MISCONDUCT", "PROMPT_ATTACK"] | str, Enum] | None
    ) = None
    confidence: Confidence | None = None
    filter_strength: Confidence | None = None
    action: BlockAction | None = None
    detected: bool | None = None


class GuardrailContentPolicyAssessment(WireModel):
    """What the content policy found."""

    filters: List[GuardrailContentFilter] | None = None


class GuardrailCustomWord(WireModel):
    """A word of the guardrail's own list that was found."""

    match: str | None = None
    action: BlockAction | None = None
    detected: bool | None = None


class GuardrailManagedWord(WireModel):
    """A word of a managed list that was found."""

    match: str | None = None
    type: Annotated[Literal["PROFANITY"] | str, Enum] | None = None
    action: BlockAction | None = None
    detected: bool | None = None


class GuardrailWordPolicyAssessment(WireModel):
    """What the word policy found."""

    custom_words: List[GuardrailCustomWord] | None = None
    managed_word_lists: List[GuardrailManagedWord] | None = None


class GuardrailPiiEntity(WireModel):
    """Personal data that was found, blocked or masked."""

    match: str | None = None
    type: PersonalData | None = None
    action: MaskAction | None = None
    detected: bool | None = None


class GuardrailRegex(WireModel):
    """A regular expression of the guardrail that matched."""

    name: str | None = None
    match: str | None = None
    regex: str | None = None
    action: MaskAction | None = None
    detected: bool | None = None


class GuardrailSensitiveInformationPolicyAssessment(WireModel):
    """What the sensitive-information policy found."""

    pii_entities: List[GuardrailPiiEntity] | None = None
    regexes: List[GuardrailRegex] | None = None


class GuardrailContextualGroundingFilter(WireModel):
    """A grounding or relevance score, 0 to 1, and the threshold it was compared with."""

    type: Annotated[Literal["GROUNDING", "RELEVANCE"] | str, Enum] | None = None
    threshold: Float | None = None
    score: Float | None = None
    action: BlockAction | None = None
    detected: bool | None = None


class GuardrailContextualGroundingPolicyAssessment(WireModel):
    """What the contextual-grounding policy found."""

    filters: List[GuardrailContextualGroundingFilter] | None = None


class AutomatedReasoningStatement(WireModel):
    """A statement, in logic and in natural language."""

    logic: str | None = None
    natural_language: str | None = None


class AutomatedReasoningInputText(WireModel):
    """A piece of the input that could not be translated into logic."""

    text: str | None = None


class AutomatedReasoningTranslation(WireModel):
    """The input translated into logic; ``confidence`` is 0 to 1."""

    premises: List[AutomatedReasoningStatement] | None = None
    claims: List[AutomatedReasoningStatement] | None = None
    untranslated_premises: List[AutomatedReasoningInputText] | None = None
    untranslated_claims: List[AutomatedReasoningInputText] | None = None
    confidence: Float | None = None


class AutomatedReasoningScenario(WireModel):
    """A case in which a claim holds or fails."""

    statements: List[AutomatedReasoningStatement] | None = None


class AutomatedReasoningRule(WireModel):
    """A rule of an automated-reasoning policy."""

    identifier: str | None = None
    policy_version_arn: str | None = None


class AutomatedReasoningLogicWarning(WireModel):
    """The translation is always true or always false."""

    type: Annotated[Literal["ALWAYS_FALSE", "ALWAYS_TRUE"] | str, Enum] | None = None
    premises: List[AutomatedReasoningStatement] | None = None
    claims: List[AutomatedReasoningStatement] | None = None


class AutomatedReasoningValid(WireModel):
    """The claims follow from the rules."""

    translation: AutomatedReasoningTranslation | None = None
    claims_true_scenario: AutomatedReasoningScenario | None = None
    supporting_rules: List[AutomatedReasoningRule] | None = None
    logic_warning: AutomatedReasoningLogicWarning | None = None


class AutomatedReasoningInvalid(WireModel):
    """The claims contradict the rules."""

    translation: AutomatedReasoningTranslation | None = None
    contradicting_rules: List[AutomatedReasoningRule] | None = None
    logic_warning: AutomatedReasoningLogicWarning | None = None


class AutomatedReasoningSatisfiable(WireModel):
    """The claims can be true or false, depending on facts that were not stated."""

    translation: AutomatedReasoningTranslation | None = None
    claims_true_scenario: AutomatedReasoningScenario | None = None
    claims_false_scenario: AutomatedReasoningScenario | None = None
    logic_warning: AutomatedReasoningLogicWarning | None = None


class AutomatedReasoningImpossible(WireModel):
    """The premises contradict the rules or one another."""

    translation: AutomatedReasoningTranslation | None = None
    contradicting_rules: List[AutomatedReasoningRule] | None = None
    logic_warning: AutomatedReasoningLogicWarning | None = None


class AutomatedReasoningTranslationOption(WireModel):
    """One possible interpretation of the input."""

    translations: List[AutomatedReasoningTranslation] | None = None


class AutomatedReasoningTranslationAmbiguous(WireModel):
    """The input can be interpreted in several ways."""

    options: List[AutomatedReasoningTranslationOption] | None = None
    difference_scenarios: List[AutomatedReasoningScenario] | None = None


class AutomatedReasoningTooComplex(WireModel):
    """The input is too large for the checks."""


class AutomatedReasoningNoTranslations(WireModel):
    """No part of the input could be translated into logic."""


class AutomatedReasoningFinding(WireUnion):
    """One result of the automated-reasoning checks."""

    valid: AutomatedReasoningValid | None = None
    invalid: AutomatedReasoningInvalid | None = None
    satisfiable: AutomatedReasoningSatisfiable | None = None
    impossible: AutomatedReasoningImpossible | None = None
    translation_ambiguous: AutomatedReasoningTranslationAmbiguous | None = None
    too_complex: AutomatedReasoningTooComplex | None = None
    no_translations: AutomatedReasoningNoTranslations | None = None


class GuardrailAutomatedReasoningPolicyAssessment(WireModel):
    """What the automated-reasoning policy found."""

    findings: List[AutomatedReasoningFinding] | None = None


class GuardrailUsage(WireModel):
    """Units that the guardrail charges for, by policy."""

    topic_policy_units: int | None = None
    content_policy_units: int | None = None
    word_policy_units: int | None = None
    sensitive_information_policy_units: int | None = None
    sensitive_information_policy_free_units: int | None = None
    contextual_grounding_policy_units: int | None = None
    content_policy_image_units: int | None = None
    automated_reasoning_policy_units: int | None = None
    automated_reasoning_policies: int | None = None


class GuardrailCovered(WireModel):
    """How many of ``total`` characters or images were assessed."""

    guarded: int | None = None
    total: int | None = None


class GuardrailCoverage(WireModel):
    """How much of the content was assessed."""

    text_characters: GuardrailCovered | None = None
    images: GuardrailCovered | None = None


class GuardrailInvocationMetrics(WireModel):
    """Time (milliseconds), units and coverage of one assessment."""

    guardrail_processing_latency: int | None = None
    usage: GuardrailUsage | None = None
    guardrail_coverage: GuardrailCoverage | None = None


class AppliedGuardrailDetails(WireModel):
    """The guardrail that was applied, and who required it."""

    guardrail_id: str | None = None
    guardrail_version: str | None = None
    guardrail_arn: str | None = None
    guardrail_origin: (
        List[Annotated[Literal["REQUEST", "ACCOUNT_ENFORCED", "ORGANIZATION_ENFORCED"] | str, Enum]] | None
    ) = None
    guardrail_ownership: Annotated[Literal["SELF", "CROSS_ACCOUNT"] | str, Enum] | None = None


class GuardrailAssessment(WireModel):
    """All findings of one guardrail in one text."""

    topic_policy: GuardrailTopicPolicyAssessment | None = None
    content_policy: GuardrailContentPolicyAssessment | None = None
    word_policy: GuardrailWordPolicyAssessment | None = None
    sensitive_information_policy: GuardrailSensitiveInformationPolicyAssessment | None = None
    contextual_grounding_policy: GuardrailContextualGroundingPolicyAssessment | None = None
    automated_reasoning_policy: GuardrailAutomatedReasoningPolicyAssessment | None = None
    invocation_metrics: GuardrailInvocationMetrics | None = None
    applied_guardrail_details: AppliedGuardrailDetails | None = None


class GuardrailTrace(WireModel):
    """The trace of a guardrail: assessments of the input and of the outputs, by guardrail id."""

    model_output: List[str] | None = None
    input_assessment: dict[str, GuardrailAssessment] | None = None
    output_assessments: dict[str, List[GuardrailAssessment]] | None = None
    action_reason: str | None = None
