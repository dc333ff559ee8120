"""What the service is known to refuse in a request, put right before it is sent: a table of rules, one row each.

A rule has a name, says why it is there, and applies to all models, to those of some families or to those with some
facts. Each change is an `Adjustment` that says what was changed and where. Any rule can be switched off by its name;
in strict mode a request that would be changed is refused in the place of being changed.

Rules only look at requests that hold what they are about, so that a question in plain text costs next to nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, TypeVar, cast

from ..errors import InvalidRequestError
from ..families.profiles import UNKNOWN, ModelProfile
from ..types import (
    AudioBlock,
    CachePointBlock,
    ConverseRequest,
    DocumentBlock,
    GuardContentBlock,
    ImageBlock,
    JsonBlock,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolConfig,
    ToolInputSchema,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
    VideoBlock,
    WireModel,
)
from .adjustment import Adjustment
from .cache_plan import plan_cache
from .checks import document_name

M = TypeVar("M", bound=WireModel)

NO_OUTPUT: Final = "(no output)"
"""What the result of a tool says that gave nothing: the service refuses one without content."""

DOCUMENT_TEXT: Final = "The document is attached."
"""What is said beside a document that stands alone in its message: the service wants a text block there."""

SEPARATOR: Final = "OK."
"""What the assistant says between the results of tools and what may not share a message with them."""

INVALID_JSON: Final = "INVALID_JSON"
"""The member that holds the input of a tool use that is no JSON object. Anthropic's guide to fine-grained tool
streaming names it so."""

NO_TOOL: Final = "noop"
"""The tool that is declared where the history uses tools and the request has none, named as Strands names it."""


@dataclass(frozen=True, slots=True)
class Normalized:
    """A request that can be sent, and what was changed to make it so."""

    request: ConverseRequest
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(slots=True)
class _Turn:
    """A message on its way through the rules; ``path`` is where it stood in what the caller gave."""

    message: Message
    path: str


@dataclass(slots=True)
class _Draft:
    """A request on its way through the rules."""

    request: ConverseRequest
    turns: list[_Turn]
    profile: ModelProfile
    rule: str = ""
    changes: list[Adjustment] = field(default_factory=list[Adjustment])

    def report(self, path: str, change: str) -> None:
        self.changes.append(Adjustment(self.rule, path, change))

    def set(self, **members: object) -> None:
        self.request = _with(self.request, **members)


def _always(_profile: ModelProfile) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    - ``why``: what happens without it.
    - ``models``: patterns of base model ids (without geography) that it is for. A model whose id says nothing, such as
      an application profile, is in ``"*"`` only.
    - ``applies``: tells by the facts of a model whether it is for that one.
    - ``blocks``: kinds of blocks without which it has nothing to do; empty where it looks at the settings.
    """

    name: str
    why: str
    apply: Callable[[Any], None] = field(repr=False)
    models: tuple[str, ...] = ("*",)
    applies: Callable[[ModelProfile], bool] = field(default=_always, repr=False)
    blocks: frozenset[type[Any]] = frozenset()

    def fits(self, base_model: str) -> bool:
        """Tell whether the rule is one for the family of this model."""
        if self.models == ("*",):
            return True
        return any(fnmatchcase(base_model, pattern) for pattern in self.models)


def normalize(
    request: ConverseRequest,
    *,
    base_model: str | None = None,
    profile: ModelProfile = UNKNOWN,
    off: Collection[str] = (),
    strict: bool = False,
) -> Normalized:
    """Return ``request`` as the service takes it, with the changes that this took. The given request is not changed.

    ``base_model`` is the model's id without geography, None where nobody knows what stands behind an ARN; ``off``
    names the rules that shall not run. Raises InvalidRequestError for a rule that does not exist and, when ``strict``,
    for a request that would have to be changed.
    """
    _check_rules(off)
    kinds = _kinds(request)
    draft = _Draft(
        request,
        [_Turn(message, f"messages[{index}]") for index, message in enumerate(request.messages or ())],
        profile,
    )
    for rule in _rules_of(base_model or ""):
        wanted = rule.name not in off and (not rule.blocks or not kinds.isdisjoint(rule.blocks))
        if wanted and rule.applies(profile):
            draft.rule = rule.name
            rule.apply(draft)
    if not draft.changes:
        return Normalized(request)
    if strict:
        raise _refused(draft.changes)
    if request.messages is not None:
        draft.set(messages=[turn.message for turn in draft.turns])
    return Normalized(draft.request, tuple(draft.changes))


def rules_for(base_model: str | None, profile: ModelProfile = UNKNOWN) -> tuple[Rule, ...]:
    """Return the rules for a model, in the order in which they run."""
    return tuple(rule for rule in _rules_of(base_model or "") if rule.applies(profile))


@lru_cache(maxsize=512)
def _rules_of(base_model: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.fits(base_model))


def _check_rules(off: Collection[str]) -> None:
    names = [rule.name for rule in RULES]
    for name in off:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise InvalidRequestError(
                f"there is no rule {name!r} to switch off.",
                hint=f"Did you mean {near[0]!r}?" if near else f"The rules are: {', '.join(names)}.",
            )


def _refused(changes: Sequence[Adjustment]) -> InvalidRequestError:
    first = changes[0]
    more = f" ({len(changes) - 1} more changes behind it)" if len(changes) > 1 else ""
    return InvalidRequestError(
        f"{first.path} would have to be changed: {first.change}{more}.",
        path=first.path,
        hint=f"Change it, switch the rule {first.rule!r} off, or leave strict mode. {_WHY[first.rule]}",
    )


def _kinds(request: ConverseRequest) -> set[type[Any]]:
    kinds: set[type[Any]] = {type(block) for block in request.system or ()}
    if request.tool_config is not None:
        kinds.update(map(type, request.tool_config.tools))
    for message in request.messages or ():
        kinds.update(map(type, message.content))
        for block in message.content:
            if type(block) is ToolResultBlock:
                kinds.update(map(type, block.content))
    return kinds


def _with(model: M, **members: object) -> M:
    """Return a copy with other members; None takes a member away."""
    gone = {name for name, value in members.items() if value is None}
    copy = model.model_copy(update=members)
    if gone:
        copy.__pydantic_fields_set__.difference_update(gone)
    return copy


def _each(draft: _Draft, edit: Callable[[Any, str], Iterable[Any]], *, results: bool = False) -> None:
    """Replace each block of the messages by what ``edit(block, path)`` gives; ``results`` goes into tool results."""
    for turn in draft.turns:
        content = list(_edited(turn.message.content, f"{turn.path}.content", edit, results=results))
        if not _same(content, turn.message.content):
            turn.message = _with(turn.message, content=content)


def _edited(
    blocks: Sequence[Any], path: str, edit: Callable[[Any, str], Iterable[Any]], *, results: bool
) -> Iterator[Any]:
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        made = block
        if results and type(block) is ToolResultBlock:
            inner = list(_edited(block.content, f"{here}.toolResult.content", edit, results=False))
            made = block if _same(inner, block.content) else _with(block, content=inner)
        yield from edit(made, here)


def _same(made: Sequence[object], given: Sequence[object]) -> bool:
    return len(made) == len(given) and all(new is old for new, old in zip(made, given, strict=True))


# -- the rules


def _read_s3_locations(draft: _Draft) -> None:
    """``{"location": {"type": "s3", "uri": ..., "bucketOwner": ...}}`` is how Strands says ``s3Location``."""

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401 - any block
        source = getattr(block, "source", None)
        location = source.model_extra.get("location") if isinstance(source, WireModel) and source.model_extra else None
        if not isinstance(source, WireModel) or not isinstance(location, Mapping):
            yield block
            return
        members = dict(cast("Mapping[str, object]", location))
        kind = members.pop("type", "s3")
        if kind != "s3" or not isinstance(members.get("uri"), str):
            raise InvalidRequestError(
                f"{path}.{block.tag}.source.location is no place in S3.",
                path=f"{path}.{block.tag}.source.location",
                hint='Pass {"s3Location": {"uri": "s3://bucket/key"}}.',
            )
        draft.report(f"{path}.{block.tag}.source.location", "written as s3Location")
        yield _with(block, source=type(source).from_dict({"s3Location": members}))

    _each(draft, edit, results=True)


_FORMATS: Final[Mapping[type[Any], Mapping[str, str]]] = {
    VideoBlock: {"3gp": "three_gp"},
    ImageBlock: {"jpg": "jpeg"},
    DocumentBlock: {"htm": "html", "markdown": "md"},
}


def _kind(block: object) -> type[Any]:
    return type(block)


def _name_formats(draft: _Draft) -> None:
    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        plain = _FORMATS.get(_kind(block), {}).get(getattr(block, "format", None) or "")
        if plain is None:
            yield block
            return
        draft.report(f"{path}.{block.tag}.format", f"{block.format} written as {plain}")
        yield _with(block, format=plain)

    _each(draft, edit, results=True)


def _drop_blank_text(draft: _Draft) -> None:
    for turn in draft.turns:
        content = _without_blank(draft, turn.message.content, f"{turn.path}.content")
        if not _same(content, turn.message.content):
            turn.message = _with(turn.message, content=content)
    system = draft.request.system
    if system is not None:
        kept = _without_blank(draft, system, "system")
        if not _same(kept, system):
            draft.set(system=kept or None)


def _without_blank(draft: _Draft, blocks: Sequence[Any], path: str) -> list[Any]:
    kept: list[Any] = []
    for index, block in enumerate(blocks):
        here = f"{path}[{index}]"
        if type(block) is ToolResultBlock:
            inner = _without_blank(draft, block.content, f"{here}.toolResult.content")
            kept.append(block if _same(inner, block.content) else _with(block, content=inner))
        elif _is_blank(block) and not _holds_cache_point(kept, blocks[index + 1 :]):
            draft.report(here, "blank text dropped")
        else:
            kept.append(block)
    return kept


def _is_blank(block: Any) -> bool:  # noqa: ANN401 - any block
    text = block.text if type(block) is GuardContentBlock else block if type(block) is TextBlock else None
    return text is not None and (not text.text or text.text.isspace())


def _holds_cache_point(before: Sequence[object], after: Sequence[object]) -> bool:
    """Tell whether a text keeps a cache point away from a document or video.

    The service refuses the point right behind one, and takes a line break between them.  [corpus, 2026]
    """
    return bool(before and after) and type(before[-1]) in _NO_POINT_BEHIND and type(after[0]) is CachePointBlock


_NO_POINT_BEHIND: Final = frozenset({DocumentBlock, VideoBlock})
_TEXTS: Final = frozenset({TextBlock, GuardContentBlock})


def _drop_unreplayable_reasoning(draft: _Draft) -> None:
    form = draft.profile.reasoning

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is not ReasoningBlock:
            yield block
        elif form is None or not form.replayed:
            draft.report(path, "reasoning dropped, which the model refuses in a history")
        elif form.signed and block.reasoning_text is not None and not block.signature:
            draft.report(path, "reasoning without a signature dropped")
        else:
            yield block

    _each(draft, edit)


def _keep_tool_inputs_objects(draft: _Draft) -> None:
    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is not ToolUseBlock or not block.invalid_input:
            yield block
            return
        parsed = _object_of(block.input)
        where = f"{path}.toolUse.input"
        if parsed is not None:
            draft.report(where, "JSON text read as the object that it is")
        else:
            draft.report(where, f"no JSON object: kept as text below {INVALID_JSON!r}")
        whole = block.input if isinstance(block.input, str) else json.dumps(block.input)
        yield _with(block, input={INVALID_JSON: whole} if parsed is None else parsed)

    _each(draft, edit)


def _object_of(value: object) -> dict[str, Any] | None:
    if not isinstance(value, str):
        return None
    if not value:  # a tool without arguments: its stream has no piece of input
        return {}
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _write_json_results_as_text(draft: _Draft) -> None:
    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is JsonBlock:
            draft.report(path, "JSON written as text")
            yield TextBlock(text=json.dumps(block.json_, ensure_ascii=False))
        else:
            yield block

    _each(draft, edit, results=True)


def _fill_empty_results(draft: _Draft) -> None:
    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is ToolResultBlock and not block.content:
            draft.report(f"{path}.toolResult.content", f"is empty: {NO_OUTPUT!r} put there")
            yield _with(block, content=[TextBlock(text=NO_OUTPUT)])
        else:
            yield block

    _each(draft, edit)


_MEDIA: Final[Mapping[type[Any], str]] = {
    TextBlock: "text",
    ImageBlock: "image",
    DocumentBlock: "document",
    VideoBlock: "video",
    AudioBlock: "audio",
}


def _separate_tool_results(draft: _Draft) -> None:
    """Put what may not stand beside tool results into a turn of its own.

    Two turns of one role in a row are joined by the service, so that the assistant must say something between them.
    [pydantic-ai 2.68.0, observed]
    """
    turns: list[_Turn] = []
    for turn in draft.turns:
        here, after = _split(turn.message.content, draft.profile)
        if turn.message.role != "user" or not after:
            turns.append(turn)
            continue
        draft.report(turn.path, f"tool results separated from {_count(len(after), 'block')} by a turn of the assistant")
        turns += [
            _Turn(_with(turn.message, content=here), turn.path),
            _Turn(Message(role="assistant", content=[TextBlock(text=SEPARATOR)]), turn.path),
            _Turn(_with(turn.message, content=after), turn.path),
        ]
    draft.turns = turns


def _split(content: Sequence[Any], profile: ModelProfile) -> tuple[list[Any], list[Any]]:
    kinds = set(map(type, content))
    if ToolResultBlock not in kinds:
        return list(content), []
    beside = profile.beside_tool_results
    if "text" in beside and TextBlock in kinds:
        # Claude takes a document beside a tool result where text stands there too.  [corpus, 2025-11]
        beside |= {"document"}
    here: list[Any] = []
    after: list[Any] = []
    into = here
    for block in content:
        if type(block) is not CachePointBlock:  # which goes with what stands before it
            media = _MEDIA.get(_kind(block))
            into = after if media is not None and media not in beside else here
        into.append(block)
    return here, after


def _drop_empty_messages(draft: _Draft) -> None:
    kept: list[_Turn] = []
    for turn in draft.turns:
        if all(type(block) is CachePointBlock for block in turn.message.content):
            draft.report(turn.path, "a message without content dropped")
        else:
            kept.append(turn)
    draft.turns = kept


def _name_documents(draft: _Draft) -> None:
    taken: set[str] = set()

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401
        if type(block) is not DocumentBlock:
            yield block
            return
        name = _free(document_name(block.name), taken)
        taken.add(name)
        if name == block.name:
            yield block
        else:
            draft.report(f"{path}.document.name", f"changed to {name!r}")
            yield _with(block, name=name)

    _each(draft, edit, results=True)


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken. A longer history changes none of the names before, which a cache may hold."""
    number, free = 1, name
    while free in taken:
        number += 1
        ending = f" ({number})"
        free = name[: 200 - len(ending)] + ending
    return free


def _put_text_beside_documents(draft: _Draft) -> None:
    for turn in draft.turns:
        kinds = set(map(type, turn.message.content))
        if DocumentBlock in kinds and TextBlock not in kinds:
            last = max(i for i, block in enumerate(turn.message.content) if type(block) is DocumentBlock)
            content = list(turn.message.content)
            content.insert(last + 1, TextBlock(text=DOCUMENT_TEXT))
            turn.message = _with(turn.message, content=content)
            draft.report(f"{turn.path}.content", f"{DOCUMENT_TEXT!r} put beside a document without text")


def _order_assistant_blocks(draft: _Draft) -> None:
    for turn in draft.turns:
        if turn.message.role != "assistant":
            continue
        ordered = _ordered(turn.message.content)
        if not _same(ordered, turn.message.content):
            draft.report(f"{turn.path}.content", "reasoning moved to the front, text before the tool uses")
            turn.message = _with(turn.message, content=ordered)


def _ordered(content: Sequence[Any]) -> list[Any]:
    # What the service ran itself stands where it was run, and its results behind it.
    if any(getattr(block, "type", None) == "server_tool_use" or type(block) is ToolResultBlock for block in content):
        return list(content)
    groups: list[tuple[int, list[Any]]] = []
    for block in content:
        if type(block) is CachePointBlock and groups:
            groups[-1][1].append(block)
        else:
            groups.append((_rank(block), [block]))
    # Thinking between the blocks of one answer is as the service sent it, and is signed; only an answer that does not
    # begin with its thinking was put together by hand.
    if groups and groups[0][0] == 0:
        groups = [(1 if rank == 0 and index else rank, blocks) for index, (rank, blocks) in enumerate(groups)]
    return [block for _, blocks in sorted(groups, key=lambda group: group[0]) for block in blocks]


def _rank(block: object) -> int:
    return 0 if type(block) is ReasoningBlock else 2 if type(block) is ToolUseBlock else 1


def _trim_last_assistant_text(draft: _Draft) -> None:
    if not draft.turns or (turn := draft.turns[-1]).message.role != "assistant" or not turn.message.content:
        return
    *before, last = turn.message.content
    if type(last) is TextBlock and last.text != (text := last.text.rstrip()) and text:
        draft.report(f"{turn.path}.content[{len(before)}].text", "white space at the end dropped")
        turn.message = _with(turn.message, content=[*before, _with(last, text=text)])


def _declare_a_tool(draft: _Draft) -> None:
    config = draft.request.tool_config
    if config is not None and config.tools:
        return
    if not any(type(block) in _TOOL_BLOCKS for turn in draft.turns for block in turn.message.content):
        return
    schema = ToolInputSchema(json={"type": "object", "properties": {}})
    tool = ToolSpec(name=NO_TOOL, description="Never use this tool.", input_schema=schema)
    draft.report("toolConfig", f"tool {NO_TOOL!r} declared, because the history uses tools")
    draft.set(tool_config=ToolConfig(tools=[tool]))


_TOOL_BLOCKS: Final = frozenset({ToolUseBlock, ToolResultBlock})


def _thinking(draft: _Draft) -> Mapping[str, object] | None:
    fields = draft.request.additional_model_request_fields
    thinking = fields.get("thinking") if isinstance(fields, Mapping) else None
    return thinking if isinstance(thinking, Mapping) and thinking.get("type") != "disabled" else None


def _prefer_forced_tools_to_thinking(draft: _Draft) -> None:
    config = draft.request.tool_config
    choice = None if config is None else config.tool_choice
    if choice is None or choice.auto is not None or _thinking(draft) is None:
        return
    fields = cast("Mapping[str, object]", draft.request.additional_model_request_fields)
    left = {name: value for name, value in fields.items() if name != "thinking"}
    draft.report("additionalModelRequestFields.thinking", "dropped, because toolConfig.toolChoice forces a tool")
    draft.set(additional_model_request_fields=left or None)


def _drop_sampling(draft: _Draft) -> None:
    thinking = _thinking(draft) is not None
    for name, wire in (("temperature", "temperature"), ("top_p", "topP")):
        value = getattr(draft.request.inference_config, name, None)
        if value is None:
            continue
        if not draft.profile.sampling:
            reason = "which the model does not take"
        elif thinking and name == "temperature" and value != 1:
            reason = "because the model thinks, and takes only 1 then"
        elif name == "top_p" and not draft.profile.temperature_with_top_p and _has_temperature(draft):
            reason = "because the model takes temperature or topP, not both"
        else:
            continue
        draft.report(f"inferenceConfig.{wire}", f"dropped, {reason}")
        config = draft.request.inference_config
        left = None if config is None else _with(config, **{name: None})
        draft.set(inference_config=left)


def _has_temperature(draft: _Draft) -> bool:
    config = draft.request.inference_config
    return config is not None and config.temperature is not None


def _refuses_reasoning(profile: ModelProfile) -> bool:
    if profile is UNKNOWN or profile.source == UNKNOWN.source:
        return False
    return profile.reasoning is None or not profile.reasoning.replayed or profile.reasoning.signed


def _settle_cache_points(draft: _Draft) -> None:
    messages = [turn.message for turn in draft.turns] if draft.request.messages is not None else None
    plan = plan_cache(_with(draft.request, messages=messages), None, draft.profile)
    if plan.adjustments:
        draft.changes += [replace(each, path=_given_path(draft, each.path)) for each in plan.adjustments]
        draft.request = plan.request
        for turn, message in zip(draft.turns, plan.request.messages or (), strict=True):
            turn.message = message


def _given_path(draft: _Draft, path: str) -> str:
    """Return a path in the request as it is by now as one in the request that was given."""
    head, bracket, rest = path.partition("]")
    part, _, index = head.partition("[")
    return f"{draft.turns[int(index)].path}{rest}" if part == "messages" and bracket else path


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_CLAUDE: Final = ("anthropic.*",)
_MEDIA_BLOCKS: Final = frozenset[type[Any]]({ImageBlock, DocumentBlock, VideoBlock, AudioBlock})

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "s3_location",
        "Strands names places in S3 otherwise than the service.",
        _read_s3_locations,
        blocks=_MEDIA_BLOCKS,
    ),
    Rule("media_format", "The service has its own names of formats.", _name_formats, blocks=_MEDIA_BLOCKS),
    Rule(
        "blank_text",
        "The service refuses blank text, that of its own models included.",
        _drop_blank_text,
        blocks=_TEXTS,
    ),
    Rule(
        "reasoning_replay",
        "Some models refuse reasoning in the history, or reasoning that they have not signed.",
        _drop_unreplayable_reasoning,
        applies=_refuses_reasoning,
        blocks=frozenset({ReasoningBlock}),
    ),
    Rule(
        "tool_input",
        "The input of a tool use is an object; JSON that was cut off is kept, never replaced by an empty one.",
        _keep_tool_inputs_objects,
        blocks=frozenset({ToolUseBlock}),
    ),
    Rule(
        "tool_result_json",
        "Nova invents values when the result of a tool is JSON.",
        _write_json_results_as_text,
        models=("amazon.nova*",),
        blocks=frozenset({JsonBlock}),
    ),
    Rule(
        "empty_tool_result",
        "The service refuses a tool result without content.",
        _fill_empty_results,
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule(
        "empty_message",
        "The service refuses a message without content.",
        _drop_empty_messages,
    ),
    Rule(
        "document_text",
        "The service wants a text block in a message with a document.",
        _put_text_beside_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "tool_result_alone",
        "Llama, Mistral and Writer refuse tool results beside other content, Claude beside documents and videos.",
        _separate_tool_results,
        applies=lambda profile: not profile.beside_tool_results >= {"text", "image", "document", "video"},
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule(
        "document_name",
        "Names of documents are unique in a request, and of a few characters.",
        _name_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "block_order",
        "Claude wants its thinking first, and its text before the tool uses.",
        _order_assistant_blocks,
        models=_CLAUDE,
        blocks=frozenset({ReasoningBlock, ToolUseBlock}),
    ),
    Rule(
        "trailing_space",
        "Claude refuses a last turn of the assistant that ends in white space.",
        _trim_last_assistant_text,
        models=_CLAUDE,
    ),
    Rule(
        "tool_config",
        "The service refuses tool uses and results in the history of a request without tools.",
        _declare_a_tool,
        applies=lambda profile: profile.tools,
        blocks=_TOOL_BLOCKS,
    ),
    Rule(
        "forced_tool",
        "Thinking may not be enabled when the choice forces a tool.",
        _prefer_forced_tools_to_thinking,
        applies=lambda profile: not profile.forced_tool_with_reasoning,
    ),
    Rule(
        "sampling",
        "Some models take no temperature or topP, not both, or not while they think.",
        _drop_sampling,
        models=("anthropic.*", "openai.*", "xai.*"),
    ),
    Rule(
        "cache_points",
        "The service takes four cache points, none without content before it or right behind some media, and those "
        "that live longer first.",
        _settle_cache_points,
        blocks=frozenset({CachePointBlock}),
    ),
)
"""The table, in the order in which the rules run."""

_WHY: Final = {rule.name: rule.why for rule in RULES}
