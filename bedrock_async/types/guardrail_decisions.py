"""A guardrail's decision, in one form for every kind of response.

A guardrail reports what it did in several ways: the stop reason and the trace of Converse, the trace in the last event
of a stream, headers and members such as ``amazon-bedrock-guardrailAction`` of native responses, and the verdict of
ApplyGuardrail. With the trace disabled, each reports less. A `GuardrailDecision` holds what can be learned from any of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from ._wire import WireModel

if TYPE_CHECKING:
    from .guardrails import GuardrailTrace

GuardrailSource: TypeAlias = Literal["input", "output"]
"""What was assessed: the input to the model, or its output."""

GuardrailAction: TypeAlias = Literal["none", "masked", "blocked", "unknown"]
"""What a guardrail did; ``unknown`` if it intervened and the trace does not tell how."""

INTERVENED: Final = "guardrail_intervened"
"""The stop reason of a response that a guardrail blocked or masked."""

NATIVE_ACTION: Final = "amazon-bedrock-guardrailAction"
"""The member of a native response that tells whether a guardrail intervened."""

NATIVE_TRACE: Final = "amazon-bedrock-trace"
"""The member of a native response that holds the trace."""

_SAID: Final = frozenset({"INTERVENED", "GUARDRAIL_INTERVENED"})
_HEADERS: Final = (NATIVE_ACTION.lower(), "x-amzn-bedrock-guardrail-action")


@dataclass(frozen=True, slots=True)
class GuardrailFinding:
    """One item that a guardrail policy looked for.

    - ``policy``: the service's name without its suffix: ``topic``, ``content``, ``word``, ``sensitiveInformation``,
      ``contextualGrounding``, ``automatedReasoning``, or one unknown to this version.
    - ``name``: the topic, the filter, the kind of personal data, the expression.
    - ``action``: ``BLOCKED``, ``ANONYMIZED`` or ``NONE``; None if the policy only reports.
    - ``detected``: whether it was found; None if the trace does not tell.
    - ``match``: the text that was found. It is left out of `repr`, as it may be personal data.
    """

    source: GuardrailSource
    guardrail_id: str
    policy: str
    name: str
    action: str | None = None
    detected: bool | None = None
    match: str | None = field(default=None, repr=False)

    @property
    def blocks(self) -> bool:
        """Whether this finding blocked the text. Traces without ``detected`` only report what was found."""
        return self.action == "BLOCKED" and self.detected is not False

    @property
    def masks(self) -> bool:
        """Whether this finding masked a part of the text."""
        return self.action == "ANONYMIZED" and self.detected is not False


@dataclass(frozen=True, slots=True)
class GuardrailDecision:
    """What a guardrail did in one call, to the input of the model (``input``) and to its output (``output``)."""

    intervened: bool
    input: GuardrailAction
    output: GuardrailAction
    findings: tuple[GuardrailFinding, ...] = ()
    reason: str | None = None

    @property
    def action(self) -> GuardrailAction:
        """The more severe of the actions on input and output."""
        return _hardest((self.input, self.output))

    @property
    def blocked(self) -> bool:
        """Whether something was definitely blocked."""
        return self.action == "blocked"

    @property
    def masked(self) -> bool:
        """Whether parts were masked and nothing was blocked."""
        return self.action == "masked"

    def explain(self) -> str:
        """Return the decision in words, without the matched texts."""
        if not self.intervened:
            return "the guardrail did not intervene"
        found = [each for each in self.findings if each.blocks or each.masks]
        causes = sorted({f"{each.source} {_DONE[each.action or '']}: {each.policy} {each.name}" for each in found})
        return "; ".join(causes) or f"the guardrail intervened (input {self.input}, output {self.output})"


_HARDEST_FIRST: Final[tuple[GuardrailAction, ...]] = ("blocked", "unknown", "masked")


def _hardest(actions: Iterable[GuardrailAction]) -> GuardrailAction:
    done = set(actions)
    for action in _HARDEST_FIRST:
        if action in done:
            return action
    return "none"


_DONE: Final = {"BLOCKED": "blocked", "ANONYMIZED": "masked"}


def trace_decision(
    trace: GuardrailTrace | Mapping[str, object] | None, *, intervened: bool = False
) -> GuardrailDecision | None:
    """Return the decision in a trace of any form; ``intervened`` tells what is known from elsewhere.

    Returns None without a trace and without an intervention.
    """
    members = trace.to_wire() if isinstance(trace, WireModel) else trace
    if not members:
        return _decided((), intervened=True, reason=None) if intervened else None
    findings = tuple(_findings(members))
    told = str(members.get("action")) in _SAID
    return _decided(findings, intervened=intervened or told, reason=_text(members.get("actionReason")))


def native_decision(headers: Mapping[str, str], body: object = None) -> GuardrailDecision | None:
    """Return the decision in the headers and JSON of a native response or chunk, or None if they contain none.

    ``headers`` have lower-case names, like `InvokeResponse.headers` and `ResponseMeta.headers`.
    """
    members = _mapping(body)
    said = [members.get(NATIVE_ACTION), *(headers.get(name) for name in _HEADERS)]
    actions = [each for each in said if isinstance(each, str)]
    trace = _mapping(_mapping(members.get(NATIVE_TRACE)).get("guardrail"))
    if not actions and not trace:
        return None
    found = trace_decision(trace, intervened=any(action in _SAID for action in actions))
    return found or _decided((), intervened=False, reason=None)


def assessed_decision(verdict: Mapping[str, object], source: GuardrailSource, *, intervened: bool) -> GuardrailDecision:
    """Return what ApplyGuardrail decided about content of that source; ``verdict`` is its response as on the wire."""
    findings = tuple(
        finding
        for assessment in _mappings(verdict.get("assessments"))
        for finding in _assessed(assessment, source, _text(_details(assessment).get("guardrailId")) or "")
    )
    reason = _text(verdict.get("actionReason"))
    found = _decided(findings, intervened=intervened, reason=reason)
    if not intervened or found.action != "unknown":
        return found
    return GuardrailDecision(
        intervened=True,
        input="unknown" if source == "input" else "none",
        output="unknown" if source == "output" else "none",
        findings=findings,
        reason=reason,
    )


def _decided(findings: tuple[GuardrailFinding, ...], *, intervened: bool, reason: str | None) -> GuardrailDecision:
    done: dict[GuardrailSource, GuardrailAction] = {"input": "none", "output": "none"}
    for finding in findings:
        if finding.blocks:
            done[finding.source] = "blocked"
        elif finding.masks and done[finding.source] == "none":
            done[finding.source] = "masked"
    acted = any(action != "none" for action in done.values())
    if intervened and not acted:
        done = _from_reason(reason)
    return GuardrailDecision(intervened or acted, done["input"], done["output"], findings, reason)


def _from_reason(reason: str | None) -> dict[GuardrailSource, GuardrailAction]:
    # "No action." followed by "Guardrail masked.": a line for the input, then one for each output.  [corpus, 2025-02]
    lines: list[GuardrailAction] = [_of_line(line) for line in (reason or "").splitlines()]
    if _hardest(lines) == "none":
        return {"input": "unknown", "output": "unknown"}
    return {"input": lines[0], "output": _hardest(lines[1:])}


def _of_line(line: str) -> GuardrailAction:
    words = line.lower()
    return "blocked" if "block" in words else "masked" if "mask" in words or "anonymi" in words else "none"


def _findings(trace: Mapping[str, object]) -> Iterator[GuardrailFinding]:
    """Yield the findings of Converse's form (``inputAssessment``, ``outputAssessments``) or the native one."""
    for name in ("inputAssessment", "input"):
        yield from _by_guardrail(trace.get(name), "input")
    outputs = trace.get("outputAssessments")
    yield from _by_guardrail(outputs, "output")
    for output in _mappings(trace.get("outputs")):
        yield from _by_guardrail(output, "output")


def _by_guardrail(assessments: object, source: GuardrailSource) -> Iterator[GuardrailFinding]:
    for guardrail_id, found in _mapping(assessments).items():
        for assessment in _mappings(found) or [_mapping(found)]:
            yield from _assessed(assessment, source, guardrail_id)


_POLICY: Final = "Policy"


def _assessed(assessment: Mapping[str, object], source: GuardrailSource, guardrail: str) -> Iterator[GuardrailFinding]:
    for name, policy in assessment.items():
        if not name.endswith(_POLICY):
            continue
        for found in _mapping(policy).values():
            for each in _mappings(found):
                yield _finding(each, source, guardrail, name.removesuffix(_POLICY))


def _finding(members: Mapping[str, object], source: GuardrailSource, guardrail: str, policy: str) -> GuardrailFinding:
    # A finding of automated reasoning is an object whose only member names the outcome.
    name = members.get("name") or members.get("type") or members.get("match") or next(iter(members), "")
    named = bool(members.get("name") or members.get("type"))
    detected = members.get("detected")
    return GuardrailFinding(
        source=source,
        guardrail_id=guardrail,
        policy=policy,
        # A word of a custom list has no name but the word itself, which is not shown.
        name=str(name) if named or "action" not in members else "custom",
        action=_text(members.get("action")),
        detected=detected if isinstance(detected, bool) else None,
        match=_text(members.get("match")),
    )


def _details(assessment: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(assessment.get("appliedGuardrailDetails"))


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _mappings(values: object) -> list[Mapping[str, object]]:
    if not isinstance(values, list | tuple):
        return []
    return [found for each in cast("Iterable[object]", values) if (found := _mapping(each))]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
