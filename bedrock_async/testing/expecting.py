"""Shared by the contract tests: assertions, driving flows with canned results, decoding bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from ..errors import BedrockError
from ..events import Event
from ..eventstream import CONTENT_TYPE
from ..providers import Effect, EffectResult, EventDecoder, Flow
from ..types import ConverseRequest, ConverseResponse

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
REGION: Final = "us-east-1"
JSON_HEAD: Final[Mapping[str, str]] = MappingProxyType({"content-type": "application/json"})
STREAM_HEAD: Final[Mapping[str, str]] = MappingProxyType({"content-type": CONTENT_TYPE})
QUESTION: Final[Mapping[str, Any]] = {"messages": [{"role": "user", "content": [{"text": "A plain question?"}]}]}
STRANGE: Final[Mapping[str, Any]] = {"nobody": {"knows": ["this", 1]}}


def expect(*, holds: bool, otherwise: str) -> None:
    """Raise AssertionError with ``otherwise`` unless ``holds``."""
    if not holds:
        raise AssertionError(otherwise)


def equal(got: object, wanted: object, what: str) -> None:
    """Raise AssertionError unless the two values are equal."""
    expect(holds=got == wanted, otherwise=f"{what}: got {got!r}, wanted {wanted!r}")


def raises(kind: type[E], what: str, call: Callable[..., object], *arguments: object) -> E:
    """Return the error of type ``kind`` that a call raises. Raises AssertionError for any other, and for none."""
    try:
        result = call(*arguments)
    except kind as exc:
        return exc
    except Exception as exc:
        raise AssertionError(f"{what}: {kind.__name__} was expected, not {type(exc).__name__}: {exc}") from exc
    raise AssertionError(f"{what}: {kind.__name__} was expected; it returned {result!r}")


def driven(flow: Flow[T], answers: Sequence[EffectResult | BedrockError]) -> tuple[T, list[Effect]]:
    """Run a flow with canned results; return its own result and the effects that it yielded."""
    effects: list[Effect] = []
    remaining = list(answers)
    try:
        effect = next(flow)
        while True:
            effects.append(effect)
            expect(holds=bool(remaining), otherwise=f"the flow asks for more than {len(answers)} effects: {effect}")
            answer = remaining.pop(0)
            effect = flow.throw(answer) if isinstance(answer, BedrockError) else flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result, effects


def decoded(decoder: EventDecoder[Event], body: bytes, headers: Mapping[str, str], *, size: int = 0) -> list[Event]:
    """Return the events of a body that arrives in pieces of ``size`` bytes, or at once by default."""
    decoder.start(200, headers)
    events: list[Event] = []
    for start in range(0, len(body), size or len(body) or 1):
        events += decoder.receive(body[start : start + (size or len(body))])
        while decoder.pending_error is not None:
            events += decoder.receive(b"")
    return [*events, *decoder.eof()]


def wires(events: Sequence[Event]) -> list[object]:
    """Return the wire objects of events, for comparison."""
    return [event.to_wire() for event in events]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected content of an answer; members that are None are not compared."""

    text: str | None = None
    reasoning: str | None = None
    tool_uses: Sequence[tuple[str, object]] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    def hold(self, response: ConverseResponse, members: Sequence[str], where: str) -> None:
        """Compare these members of a response with the expected ones."""
        told: dict[str, Callable[[], object]] = {
            "text": lambda: response.text,
            "reasoning": lambda: response.reasoning,
            "tool_uses": lambda: [(use.name, use.input) for use in response.tool_uses],
            "stop_reason": lambda: response.stop_reason,
            "input_tokens": lambda: response.usage.input_tokens,
            "output_tokens": lambda: response.usage.output_tokens,
        }
        for name in members:
            wanted: object = getattr(self, name)
            if wanted is not None:
                equal(told[name](), list(self.tool_uses or ()) if name == "tool_uses" else wanted, f"{name} of {where}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSample(Expected):
    """A call with an expected answer: the model's id, a request (an object or boto3's shape), the options."""

    model: str
    request: Mapping[str, Any] | ConverseRequest = field(default_factory=lambda: QUESTION)
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def converse_request(self) -> ConverseRequest:
        """Return the request of the sample."""
        if isinstance(self.request, ConverseRequest):
            return self.request.model_copy(update={"model_id": self.model})
        return ConverseRequest.from_dict({**self.request, "modelId": self.model})
