"""Guardrails of the emulator: decisions by rules, in the form of the service's own responses.

The form of ApplyGuardrail's response, its explicit nulls and the members that are in no service model (``output``,
``blockedResponse``) are those of recorded responses. [tests/data/corpus, 2025] InvokeGuardrailChecks was never
recorded: its form is that of the service model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast

from ..types import JSONValue

__all__ = ["GuardrailRules"]

Members = dict[str, JSONValue]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TEXT_UNIT: Final = 1000  # characters  [pricing of Amazon Bedrock Guardrails]
_CONTENT_FILTERS: Final = ("SEXUAL", "VIOLENCE", "HATE", "INSULTS", "PROMPT_ATTACK", "MISCONDUCT")
_ATTACKS: Final = ("JAILBREAK", "PROMPT_INJECTION", "PROMPT_LEAKAGE", "PROMPT_ATTACK")
_FOUND_SCORE: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Found:
    """Personal data in a text."""

    kind: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailRules:
    """The rules of every guardrail of the emulator; without rules, guardrails find nothing and never intervene.

    - ``blocked_words``: words that block.
    - ``topics``: names of denied topics, each with words that indicate it.
    - ``filters``: categories of harmful content (``"VIOLENCE"``) and of prompt attacks (``"JAILBREAK"``), each with
      words that indicate it; attacks are detected in input only.
    - ``blocked_entities``, ``masked_entities``: kinds of personal data (``"EMAIL"``), each with a regular expression;
      masked text is replaced with ``{EMAIL}``.
    - ``message``: replaces blocked content.

    Words are matched as whole words, ignoring case.
    """

    blocked_words: Sequence[str] = ()
    topics: Mapping[str, Sequence[str]] = field(default_factory=lambda: _NOTHING)
    filters: Mapping[str, Sequence[str]] = field(default_factory=lambda: _NOTHING)
    blocked_entities: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    masked_entities: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    message: str = "Sorry, the model cannot answer this question."

    def apply(self, request: Mapping[str, Any], *, arn: str, version: str, latency_ms: int) -> Members:
        """Return ApplyGuardrail's response to a valid request."""
        texts = [block["text"]["text"] for block in request["content"] if "text" in block]
        images = sum("image" in block for block in request["content"])
        whole = "\n".join(texts)
        full = request.get("outputScope") == "FULL"
        policies = {
            "contentPolicy": self._content_policy(whole, request["source"], full=full),
            "sensitiveInformationPolicy": self._sensitive_policy(whole, full=full),
            "topicPolicy": self._topic_policy(whole, full=full),
            "wordPolicy": self._word_policy(whole, full=full),
        }
        actions = {str(finding["action"]) for finding in _findings(policies.values())}
        outputs: list[JSONValue] = []
        if "BLOCKED" in actions:
            outputs = [{"text": self.message}]
        elif "ANONYMIZED" in actions:
            outputs = [{"text": self._masked(text)} for text in texts]
        coverage: Members = {
            "images": {"guarded": images, "total": images} if images else None,
            "textCharacters": {"guarded": sum(map(len, texts)), "total": sum(map(len, texts))},
        }
        usage = self._usage(texts, images)
        metrics: Members = {
            "guardrailCoverage": coverage,
            "guardrailProcessingLatency": latency_ms,
            "usage": usage,
        }
        assessment: Members = {
            "appliedGuardrailDetails": {
                "guardrailArn": arn,
                "guardrailId": arn.rpartition("/")[2],
                "guardrailOrigin": ["REQUEST"],
                "guardrailOwnership": "SELF",
                "guardrailVersion": version,
            },
            "automatedReasoningPolicy": None,
            "contextualGroundingPolicy": None,
            "invocationMetrics": metrics,
            **policies,
        }
        reason = "Guardrail blocked." if "BLOCKED" in actions else "Guardrail masked." if outputs else "No action."
        return {
            "action": "GUARDRAIL_INTERVENED" if outputs else "NONE",
            "actionReason": reason,
            "assessments": [assessment],
            "blockedResponse": self.message if "BLOCKED" in actions else None,
            "guardrailCoverage": coverage,
            "output": outputs,
            "outputs": outputs,
            "usage": usage,
        }

    def check(self, request: Mapping[str, Any]) -> Members:
        """Return InvokeGuardrailChecks' response to a valid request."""
        texts = [
            (turn, place, block["text"])
            for turn, message in enumerate(request["messages"])
            for place, block in enumerate(message["content"])
        ]
        whole = "\n".join(text for _, _, text in texts)
        units = _units(whole)
        results: Members = {}
        usage: Members = {}
        for name in ("contentFilter", "promptAttack"):
            if (wanted := request["checks"].get(name)) is not None:
                results[name] = {
                    "results": [self._score(each["category"], whole) for each in wanted["categories"]],
                }
                usage[name] = {"textUnits": units}
        if (wanted := request["checks"].get("sensitiveInformation")) is not None:
            kinds = {entity["type"] for entity in wanted["entities"]}
            found: list[JSONValue] = [
                {
                    "type": each.kind,
                    "confidenceScore": _FOUND_SCORE,
                    "beginOffset": each.start,
                    "endOffset": each.end,
                    "messageIndex": turn,
                    "contentIndex": place,
                }
                for turn, place, text in texts
                for each in self._entities(text)
                if each.kind in kinds
            ]
            results["sensitiveInformation"] = {"results": found, "truncated": False}
            usage["sensitiveInformation"] = {"textUnits": units}
        return {"results": results, "usage": usage}

    # The policies of one assessment; None for a policy without findings.

    def _content_policy(self, text: str, source: str, *, full: bool) -> JSONValue:
        found: list[JSONValue] = []
        for kind in _CONTENT_FILTERS if self.filters else ():
            names = _ATTACKS if kind == "PROMPT_ATTACK" else (kind,)
            looked_for = kind != "PROMPT_ATTACK" or source == "INPUT"
            detected = looked_for and any(_has_word(text, self.filters.get(name, ())) for name in names)
            if full or detected:
                found.append(
                    {
                        "action": "BLOCKED" if detected else "NONE",
                        "confidence": "HIGH" if detected else "NONE",
                        "detected": detected,
                        "filterStrength": "HIGH",
                        "type": kind,
                    }
                )
        return {"filters": found} if found else None

    def _sensitive_policy(self, text: str, *, full: bool) -> JSONValue:
        entities: list[JSONValue] = []
        for each in self._entities(text):
            action = "BLOCKED" if each.kind in self.blocked_entities else "ANONYMIZED"
            entities.append({"action": action, "detected": True, "match": each.text, "type": each.kind})
        seen = {each.kind for each in self._entities(text)}
        missing = {**self.blocked_entities, **self.masked_entities}.keys() - seen if full else ()
        for kind in sorted(missing):
            unseen: Members = {"action": "NONE", "detected": False, "match": "", "type": kind}
            entities.append(unseen)
        return {"piiEntities": entities, "regexes": None} if entities else None

    def _topic_policy(self, text: str, *, full: bool) -> JSONValue:
        found: list[JSONValue] = []
        for name, words in self.topics.items():
            detected = _has_word(text, words)
            if full or detected:
                action = "BLOCKED" if detected else "NONE"
                found.append({"action": action, "detected": detected, "name": name, "type": "DENY"})
        return {"topics": found} if found else None

    def _word_policy(self, text: str, *, full: bool) -> JSONValue:
        found: list[JSONValue] = []
        for word in self.blocked_words:
            detected = _has_word(text, (word,))
            if full or detected:
                found.append({"action": "BLOCKED" if detected else "NONE", "detected": detected, "match": word})
        return {"customWords": found, "managedWordLists": []} if found else None

    def _score(self, category: str, text: str) -> Members:
        detected = _has_word(text, self.filters.get(category, ()))
        return {"category": category, "severityScore": _FOUND_SCORE if detected else 0.0}

    def _entities(self, text: str) -> list[_Found]:
        patterns = {**self.masked_entities, **self.blocked_entities}
        found = [
            _Found(kind, match.start(), match.end(), match[0])
            for kind, pattern in patterns.items()
            for match in re.finditer(pattern, text)
        ]
        return sorted(found, key=lambda each: each.start)

    def _masked(self, text: str) -> str:
        for kind, pattern in self.masked_entities.items():
            text = re.sub(pattern, f"{{{kind}}}", text)
        return text

    def _usage(self, texts: Sequence[str], images: int) -> Members:
        units = _units("".join(texts))
        entities = self.blocked_entities or self.masked_entities
        return {
            "automatedReasoningPolicies": 0,
            "automatedReasoningPolicyUnits": 0,
            "contentPolicyImageUnits": images if self.filters else 0,
            "contentPolicyUnits": units if self.filters else 0,
            "contextualGroundingPolicyUnits": 0,
            "sensitiveInformationPolicyFreeUnits": 0,
            "sensitiveInformationPolicyUnits": units if entities else 0,
            "topicPolicyUnits": units if self.topics else 0,
            "wordPolicyUnits": units if self.blocked_words else 0,
        }


def _has_word(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def _units(text: str) -> int:
    return math.ceil(len(text) / _TEXT_UNIT)


def _findings(policies: Iterable[JSONValue]) -> Iterator[Mapping[str, JSONValue]]:
    for policy in policies:
        for findings in policy.values() if isinstance(policy, dict) else ():
            if isinstance(findings, list):
                yield from cast("list[Mapping[str, JSONValue]]", findings)
