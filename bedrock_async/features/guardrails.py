"""The guardrail of a call: what is sent of it, which turn it looks at, and the history without what it blocked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import ValidationError

from .._error import a_kind
from ..errors import InvalidRequestError
from ..types import (
    ConverseRequest,
    ConverseResponse,
    GuardContentBlock,
    GuardImage,
    GuardrailConfig,
    GuardText,
    ImageBlock,
    Message,
    TextBlock,
    ToolResultBlock,
)
from ..types.guardrail_decisions import GuardrailAction, GuardrailDecision
from .adjustment import Adjustment
from .fields import check_members, of_fields

M = TypeVar("M", bound="Message | Mapping[str, Any]")

LATEST_TURN: Final = "latest_turn_only"
"""The rule that adjustments to the latest turn are named by."""


@dataclass(frozen=True, slots=True)
class GuardrailSettings:
    """A guardrail, and what happens to the history when it blocks something. The defaults are those of Strands.

    - ``id``, ``version``: the guardrail's id or ARN, and ``"1"`` or ``"DRAFT"``.
    - ``trace``: ``"enabled"``, ``"disabled"``, or ``"enabled_full"``, which also reports what was not found. With the
      trace disabled nobody can tell which side was blocked.
    - ``stream_processing_mode``: ``"sync"`` holds a stream back until it is assessed; ``"async"`` does not.
    - ``latest_turn_only``: the guardrail looks at the last message of the user that has text or images, and not at
      the turns before it, which it has seen.
    - ``redact_input``, ``redact_output``: what `redacted_messages` and `redacted_answer` replace, by which message.
    """

    id: str
    version: str
    _: KW_ONLY
    trace: Literal["enabled", "disabled", "enabled_full"] | None = "enabled"
    stream_processing_mode: Literal["sync", "async"] | None = None
    latest_turn_only: bool = False
    redact_input: bool = True
    redact_input_message: str = "[User input redacted.]"
    redact_output: bool = False
    redact_output_message: str = "[Assistant output redacted.]"

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            given: object = getattr(self, name)
            if not isinstance(given, kind):
                raise InvalidRequestError(
                    f"the guardrail's {name} is {a_kind(given)}, not {'text' if kind is str else 'a bool'}.",
                    path=f"guardrail.{name}",
                    hint='Pass GuardrailSettings("gr-id", "1").' if name in {"id", "version"} else None,
                )
        _check("trace", self.trace, ("enabled", "disabled", "enabled_full"))
        _check("stream_processing_mode", self.stream_processing_mode, ("sync", "async"))

    def to_config(self) -> GuardrailConfig:
        """Return the part that goes to the service. Raises InvalidRequestError without an id or a version."""
        for name in ("id", "version"):
            if not getattr(self, name).strip():
                raise InvalidRequestError(
                    f"the guardrail's {name} is empty: nothing would be assessed.",
                    path=f"guardrail.{name}",
                    hint='Pass GuardrailSettings("gr-id", "1").',
                )
        return GuardrailConfig(
            guardrail_identifier=self.id,
            guardrail_version=self.version,
            trace=self.trace,
            stream_processing_mode=self.stream_processing_mode,
        )

    def redacts_input(self, decision: GuardrailDecision | None) -> bool:
        """Tell whether the user's message is to be replaced: its text was blocked, or nobody knows what was."""
        return self.redact_input and decision is not None and decision.input in _REDACTED

    def redacts_output(self, decision: GuardrailDecision | None) -> bool:
        """Tell whether the answer is to be replaced: it was blocked, or it stands for an input that was."""
        return self.redact_output and decision is not None and bool({decision.input, decision.output} & _REDACTED)


_KINDS: Final[Mapping[str, type]] = {
    "id": str,
    "version": str,
    "latest_turn_only": bool,
    "redact_input": bool,
    "redact_input_message": str,
    "redact_output": bool,
    "redact_output_message": str,
}
_REDACTED: Final = frozenset[GuardrailAction]({"blocked", "unknown"})
_OURS: Final = frozenset(each.name for each in fields(GuardrailSettings)) - {"trace", "stream_processing_mode"}


def _check(name: str, value: object, allowed: Sequence[str]) -> None:
    if value is not None and value not in allowed:
        raise InvalidRequestError(
            f"the guardrail's {name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}.",
            path=f"guardrail.{name}",
        )


def guardrail_settings(given: object) -> GuardrailSettings | None:
    """Return the settings that the keyword ``guardrail`` means, None without one.

    It may be a `GuardrailSettings`, a mapping of its fields, boto3's ``guardrailConfig`` or a `GuardrailConfig`; the
    last two have the defaults for everything that is not sent. Raises InvalidRequestError for anything else.
    """
    if given is None or isinstance(given, GuardrailSettings):
        return given
    if isinstance(given, Mapping):
        members = cast("Mapping[str, Any]", given)
        if not _OURS.isdisjoint(members):
            return of_fields(GuardrailSettings, members, path="guardrail")
        given = _config(members)
    if isinstance(given, GuardrailConfig):
        return GuardrailSettings(given.guardrail_identifier or "", given.guardrail_version or "", trace=None)
    raise _no_guardrail(given)


def guardrail_config(given: object) -> object:
    """Return the member ``guardrailConfig`` that the keyword ``guardrail`` means: as it was given, where it is one.

    Raises InvalidRequestError for what is none, and for a name that is misspelt or missing: the service requires no
    member, so that a request with a misspelt one would go out without a guardrail.
    """
    if isinstance(given, GuardrailSettings):
        return given.to_config()
    if isinstance(given, Mapping):
        members = cast("Mapping[str, Any]", given)
        if not _OURS.isdisjoint(members):
            return of_fields(GuardrailSettings, members, path="guardrail").to_config()
        given = _config(members)
    if isinstance(given, GuardrailConfig):
        _check_named(given)
        return given
    raise _no_guardrail(given)


def _check_named(config: GuardrailConfig) -> None:
    """Refuse an id without a version, and the reverse. One that the account enforces has neither."""
    newer = 'through extra_body={"guardrailConfig": {...}}'
    check_members(GuardrailConfig, config.model_extra or {}, path="guardrail", newer=newer)
    named = {"guardrailIdentifier": config.guardrail_identifier, "guardrailVersion": config.guardrail_version}
    missing = [name for name, value in named.items() if not value]
    asked = config.trace is not None or config.stream_processing_mode is not None
    if missing and not (asked and len(missing) == len(named)):
        raise InvalidRequestError(
            f"guardrail has no {' and no '.join(missing)}: nothing would be assessed.",
            path=f"guardrail.{missing[0]}",
            hint=_EXAMPLE,
        )


def _config(members: Mapping[str, Any]) -> GuardrailConfig:
    try:
        return GuardrailConfig.model_validate(dict(members))
    except ValidationError as exc:
        raise _no_guardrail(members) from exc


def _no_guardrail(given: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"guardrail is {a_kind(given)} that names no guardrail.",
        path="guardrail",
        hint=_EXAMPLE,
    )


_EXAMPLE: Final = (
    'Pass GuardrailSettings("gr-id", "1"), or boto3\'s {"guardrailIdentifier": ..., "guardrailVersion": ...}.'
)


# -- the latest turn

_SCREENED: Final = frozenset({"png", "jpeg"})


def guard_latest_turn(request: ConverseRequest) -> tuple[ConverseRequest, tuple[Adjustment, ...]]:
    """Return the request with the latest turn marked for the guardrail, and which images of it could not be.

    A turn in which the caller has marked something is left as it is.
    """
    messages = list(request.messages or ())
    at = _latest_turn(messages)
    if at is None or any(isinstance(block, GuardContentBlock) for block in messages[at].content):
        return request, ()
    marked: list[Any] = []
    left: list[Adjustment] = []
    for index, block in enumerate(messages[at].content):
        made = _marked(block)
        if made is None:
            change = f"not assessed by the guardrail, which accepts png and jpeg, not {getattr(block, 'format', '')}"
            left.append(Adjustment(LATEST_TURN, f"messages[{at}].content[{index}]", change))
        marked.append(block if made is None else made)
    messages[at] = _replaced(messages[at], marked)
    return request.model_copy(update={"messages": messages}), tuple(left)


def _marked(block: Any) -> Any:  # noqa: ANN401 - any block
    match block:
        case TextBlock():
            return GuardContentBlock(text=GuardText(text=block.text)) if block.text.strip() else block
        case ImageBlock() if block.format in _SCREENED:
            return GuardContentBlock(image=GuardImage(format=block.format, source=block.source))
        case ImageBlock():
            return None
        case _:
            return block


def _latest_turn(messages: Sequence[Message]) -> int | None:
    """Return the last message of the user that has text or images: results of tools may follow it."""
    guarded = (TextBlock, ImageBlock, GuardContentBlock)
    turns = [
        index
        for index, message in enumerate(messages)
        if message.role == "user" and any(isinstance(block, guarded) for block in message.content)
    ]
    return turns[-1] if turns else None


# -- redaction


def redacted_messages(
    messages: str | Sequence[M], reply: ConverseResponse | GuardrailDecision | None, guardrail: object
) -> list[M | Message]:
    """Return the history that was sent, without what the guardrail blocked in it.

    ``messages`` are those of the call, or its question as text, without the answer; ``reply`` is the answer, also of a
    stream, or what was decided; ``guardrail`` is the keyword of the call. Where the input was blocked, or where the
    trace does not tell which side was, the last message of the user is replaced, with ``latest_turn_only`` the one that
    was looked at.
    Results of tools keep their ids, so that the tool uses before them still have their answers. Everything else stays
    the same object. Raises InvalidRequestError for what is no message, or no guardrail.
    """
    settings, decision = _settings(guardrail), _decision(reply)
    kept: list[M | Message] = (
        [Message(role="user", content=[TextBlock(text=messages)])] if isinstance(messages, str) else list(messages)
    )
    if not settings.redacts_input(decision):
        return kept
    typed = [_message(index, each) for index, each in enumerate(kept)]
    at = _latest_turn(typed) if settings.latest_turn_only else None
    if at is None:
        at = max((index for index, each in enumerate(typed) if each.role == "user"), default=None)
    if at is not None:
        kept[at] = _replaced(typed[at], _redacted_content(typed[at], settings.redact_input_message))
    return kept


def redacted_answer(answer: Message, reply: ConverseResponse | GuardrailDecision | None, guardrail: object) -> Message:
    """Return the model's answer, or the message in its place where the guardrail blocked it and ``redact_output``."""
    settings = _settings(guardrail)
    if not settings.redacts_output(_decision(reply)):
        return answer
    return _replaced(answer, [TextBlock(text=settings.redact_output_message)])


def _message(index: int, given: Message | Mapping[str, Any]) -> Message:
    try:
        return given if isinstance(given, Message) else Message.from_dict(given)
    except (TypeError, ValueError) as exc:  # pydantic's error is a ValueError
        raise InvalidRequestError(
            f"messages[{index}] is not a message.",
            path=f"messages[{index}]",
            hint="Pass the messages of the call, or its question as text.",
        ) from exc


def _settings(guardrail: object) -> GuardrailSettings:
    return guardrail_settings(guardrail) or GuardrailSettings("", "")


def _decision(reply: ConverseResponse | GuardrailDecision | None) -> GuardrailDecision | None:
    return reply.guardrail if isinstance(reply, ConverseResponse) else reply


def _redacted_content(message: Message, text: str) -> list[Any]:
    results = [
        block.model_copy(update={"content": [TextBlock(text=text)]})
        for block in message.content
        if isinstance(block, ToolResultBlock)
    ]
    return results or [TextBlock(text=text)]


def _replaced(message: Message, content: list[Any]) -> Message:
    return message.model_copy(update={"content": content})
