"""Rules about what individual models accept: reasoning, forced tools, sampling, cache points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ...families.profiles import UNKNOWN, ModelProfile
from ...types import ReasoningBlock, ToolResultBlock, ToolUseBlock
from ._draft import Draft, Turn, changed, edit_blocks, thinking_of

LEAST_THINKING_TOP_P: Final = 0.95
"""The lowest ``topP`` that Claude models accept while reasoning.  [Anthropic, "Building with extended thinking"]"""


def refuses_reasoning(profile: ModelProfile) -> bool:
    """Tell whether it is known which reasoning the model rejects in a history: every model rejects some."""
    return profile is not UNKNOWN and profile.source != UNKNOWN.source


def drop_unreplayable_reasoning(draft: Draft) -> None:
    """Drop reasoning that another model signed, that lacks a required signature, or all if the model accepts none."""
    form = draft.profile.reasoning
    # Through bedrock-mantle, the models of OpenAI and xAI have their own seals in place of a signature.
    sealed = draft.base_model.startswith(("openai.", "xai."))

    def edit(block: Any, path: str) -> Iterator[Any]:  # noqa: ANN401 - any block
        if type(block) is not ReasoningBlock:
            yield block
        elif form is None or not form.replayed:
            draft.report(path, "reasoning dropped, because the model rejects it in a history")
        elif form.signed and block.reasoning_text is not None and not block.signature:
            draft.report(path, "reasoning without a signature dropped")
        elif block.signature and not form.signed and not sealed:
            # "signature" is Claude's: every other model rejects text that has one.  [strands 1.62.0]
            draft.report(path, "reasoning signed by another model dropped")
        else:
            yield block

    edit_blocks(draft, edit)


def prefer_forced_tools_to_thinking(draft: Draft) -> None:
    """Turn reasoning off if the choice forces a tool, as Strands does, and for the rest of a turn that began so."""
    thinking = thinking_of(draft.request)
    if thinking is None:
        return
    name, asked = thinking
    config = draft.request.tool_config
    choice = None if config is None else config.tool_choice
    if choice is not None and choice.auto is None:
        reason = "because toolConfig.toolChoice forces a tool"
    elif asked.get("type") == "enabled" and _began_without_thinking(draft.turns):
        reason = "because this turn of tool results began without it"
    else:
        return
    fields = cast("Mapping[str, object]", draft.request.additional_model_request_fields)
    left = {other: value for other, value in fields.items() if other != name}
    draft.report(f"additionalModelRequestFields.{name}", f"dropped, {reason}")
    draft.set(additional_model_request_fields=left or None)


def _began_without_thinking(turns: Sequence[Turn]) -> bool:
    """Tell whether the request continues a turn of tool uses whose first answer has no reasoning.

    "When thinking is enabled, a final assistant message must start with a thinking block (preceding the lastmost set
    of tool_use and tool_result blocks)."  [error of the Messages API, public threads]
    """
    at = len(turns)
    while at >= 2 and _has(turns[at - 1], "user", ToolResultBlock) and _has(turns[at - 2], "assistant", ToolUseBlock):
        at -= 2
    return at < len(turns) and not _has(turns[at], "assistant", ReasoningBlock)


def _has(turn: Turn, role: str, kind: type[Any]) -> bool:
    return turn.message.role == role and any(type(block) is kind for block in turn.message.content)


def drop_sampling(draft: Draft) -> None:
    """Drop temperature and topP where the model rejects them: always, together, or while reasoning."""
    thinks = thinking_of(draft.request) is not None
    for name, wire in (("temperature", "temperature"), ("top_p", "topP")):
        config = draft.request.inference_config
        value = getattr(config, name, None)
        if config is None or value is None:
            continue
        if not draft.profile.sampling:
            reason = "because the model does not accept it"
        elif thinks and name == "temperature" and value != 1:
            reason = "because the model accepts only 1 while reasoning"
        elif thinks and name == "top_p" and value < LEAST_THINKING_TOP_P:
            reason = f"because the model accepts only {LEAST_THINKING_TOP_P} to 1 while reasoning"
        elif name == "top_p" and not draft.profile.temperature_with_top_p and config.temperature is not None:
            reason = "because the model accepts temperature or topP, not both"
        else:
            continue
        draft.report(f"inferenceConfig.{wire}", f"dropped, {reason}")
        draft.set(inference_config=changed(config, **{name: None}))


def leave_sampling_to_nova(draft: Draft) -> None:
    """Drop the settings that Nova 2 rejects while reasoning."""
    fields = draft.request.additional_model_request_fields
    reasoning = fields.get("reasoningConfig") if isinstance(fields, Mapping) else None
    if not isinstance(reasoning, Mapping) or reasoning.get("type") != "enabled":
        return
    refused = {"temperature": "temperature", "top_p": "topP"}
    if reasoning.get("maxReasoningEffort") == "high":
        refused["max_tokens"] = "maxTokens"
    for name, wire in refused.items():
        config = draft.request.inference_config
        if config is not None and getattr(config, name) is not None:
            draft.report(f"inferenceConfig.{wire}", "dropped, because the model rejects it while reasoning")
            draft.set(inference_config=changed(config, **{name: None}))


def settle_cache_points(draft: Draft) -> None:
    """Drop the caller's cache points that the service would reject, and put their TTLs in order."""
    messages = [turn.message for turn in draft.turns] if draft.request.messages is not None else None
    from ..cache_plan import plan_cache

    plan = plan_cache(changed(draft.request, messages=messages), None, draft.profile)
    if plan.adjustments:
        draft.changes += [
            msgspec.structs.replace(each, path=_given_path(draft, each.path)) for each in plan.adjustments
        ]
        draft.request = plan.request
        for turn, message in zip(draft.turns, plan.request.messages or (), strict=True):
            turn.message = message


def _given_path(draft: Draft, path: str) -> str:
    """Translate a path in the current request to one in the request that was given."""
    head, bracket, rest = path.partition("]")
    part, _, index = head.partition("[")
    return f"{draft.turns[int(index)].path}{rest}" if part == "messages" and bracket else path
