"""What a guardrail decided, in one form for every answer.

A guardrail tells what it did in several ways: the stop reason and the trace of Converse, the trace in the last event of
a stream, headers and members such as ``amazon-bedrock-guardrailAction`` of native answers, the verdict of
ApplyGuardrail. Each says less when the trace is disabled. A `GuardrailDecision` is what can be known of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from ._wire import WireModel

if TYPE_CHECKING:
    from .guardrails import GuardrailTrace

GuardrailSource: TypeAlias = Literal["input", "output"]
"""What was assessed: what was sent to the model, or what it said."""

GuardrailAction: TypeAlias = Literal["none", "masked", "blocked", "unknown"]
"""What a guardrail did; ``unknown`` where it did something and the trace does not say what."""

INTERVENED: Final = "guardrail_intervened"
"""The stop reason of an answer that a guardrail blocked or masked."""

NATIVE_ACTION: Final = "amazon-bedrock-guardrailAction"
"""The member of a native answer that says whether a guardrail did something."""

NATIVE_TRACE: Final = "amazon-bedrock-trace"
"""The member of a native answer that holds the trace."""

_SAID: Final = frozenset({"INTERVENED", "GUARDRAIL_INTERVENED"})
_HEADERS: Final = (NATIVE_ACTION.lower(), "x-amzn-bedrock-guardrail-action")


@dataclass(frozen=True, slots=True)
class GuardrailFinding:
    """One thing that a policy of a guardrail looked for.

    - ``policy``: the service's name without its end: ``topic``, ``content``, ``word``, ``sensitiveInformation``,
      ``contextualGrounding``, ``automatedReasoning``, or one that is not known here.
    - ``name``: the topic, the filter, the kind of personal data, the expression.
    - ``action``: ``BLOCKED``, ``ANONYMIZED`` or ``NONE``; None where the policy only reports.
    - ``detected``: whether it was found; None where the trace does not say.
    - ``match``: the text that was found. It is not shown in `repr`, for it may be personal.
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
        """Whether this blocked the text. Traces without ``detected`` report only what was found."""
        return self.action == "BLOCKED" and self.detected is not False

    @property
    def masks(self) -> bool:
        """Whether this masked a part of the text."""
        return self.action == "ANONYMIZED" and self.detected is not False


@dataclass(frozen=True, slots=True)
class GuardrailDecision:
    """What a guardrail did with one call, for what was sent (``input``) and for what the model said (``output``)."""

    intervened: bool
    input: GuardrailAction
    output: GuardrailAction
    findings: tuple[GuardrailFinding, ...] = ()
    reason: str | None = None

    @property
    def action(self) -> GuardrailAction:
        """The hardest that was done to either."""
        return _hardest((self.input, self.output))

    @property
    def blocked(self) -> bool:
        """Whether something was surely blocked."""
        return self.action == "blocked"

    @property
    def masked(self) -> bool:
        """Whether parts were masked and nothing was blocked."""
        return self.action == "masked"

    def explain(self) -> str:
        """Return the decision in words, without the texts that were found."""
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
    """Return what a trace says, in any of its forms; ``intervened`` is what is known from elsewhere.

    None where there is no trace and no intervention.
    """
    members = trace.to_wire() if isinstance(trace, WireModel) else trace
    if not members:
        return _decided((), intervened=True, reason=None) if intervened else None
    findings = tuple(_findings(members))
    told = str(members.get("action")) in _SAID
    return _decided(findings, intervened=intervened or told, reason=_text(members.get("actionReason")))


def native_decision(headers: Mapping[str, str], body: object = None) -> GuardrailDecision | None:
    """Return what the headers and the JSON of a native answer, or of a native chunk, say; None where they say nothing.

    ``headers`` have lower-case names, as `InvokeResponse.headers` and `ResponseMeta.headers` have.
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
    """Return what ApplyGuardrail decided about content of that source; ``verdict`` is its answer as on the wire."""
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
    # "No action." and below it "Guardrail masked.": a line for the input, and one for each output.  [corpus, 2025-02]
    lines: list[GuardrailAction] = [_of_line(line) for line in (reason or "").splitlines()]
    if _hardest(lines) == "none":
        return {"input": "unknown", "output": "unknown"}
    return {"input": lines[0], "output": _hardest(lines[1:])}


def _of_line(line: str) -> GuardrailAction:
    words = line.lower()
    return "blocked" if "block" in words else "masked" if "mask" in words or "anonymi" in words else "none"


def _findings(trace: Mapping[str, object]) -> Iterator[GuardrailFinding]:
    """Walk Converse's form (``inputAssessment``, ``outputAssessments``) and the native one (``input``, ``outputs``)."""
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
    # A finding of automated reasoning is an object whose one member says what came out.
    name = members.get("name") or members.get("type") or members.get("match") or next(iter(members), "")
    named = bool(members.get("name") or members.get("type"))
    detected = members.get("detected")
    return GuardrailFinding(
        source=source,
        guardrail_id=guardrail,
        policy=policy,
        # A word of one's own list has no name but itself, which is not shown.
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
