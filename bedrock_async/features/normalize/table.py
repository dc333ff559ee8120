"""The table of rules, one row each, in the order in which they run."""

from __future__ import annotations

from typing import Any, Final

from ...families.profiles import UNKNOWN
from ...types import (
    AudioBlock,
    CachePointBlock,
    DocumentBlock,
    GuardContentBlock,
    ImageBlock,
    JsonBlock,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    VideoBlock,
)
from . import content, models, tools
from ._draft import Rule

_CLAUDE: Final = ("anthropic.*",)
_MEDIA: Final = frozenset[type[Any]]({ImageBlock, DocumentBlock, VideoBlock, AudioBlock})

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "s3_location",
        "Strands names places in S3 otherwise than the service.",
        content.read_s3_locations,
        blocks=_MEDIA,
    ),
    Rule("media_format", "The service has its own names of formats.", content.name_formats, blocks=_MEDIA),
    Rule(
        "blank_text",
        "The service refuses blank text, that of its own models included.",
        content.drop_blank_text,
        blocks=frozenset({TextBlock, GuardContentBlock}),
    ),
    Rule(
        "reasoning_replay",
        "Some models refuse reasoning in the history, or reasoning that they have not signed.",
        models.drop_unreplayable_reasoning,
        applies=models.refuses_reasoning,
        blocks=frozenset({ReasoningBlock}),
    ),
    Rule(
        "tool_input",
        "The input of a tool use is an object; JSON that was cut off is kept, never replaced by an empty one.",
        tools.keep_tool_inputs_objects,
        blocks=frozenset({ToolUseBlock}),
    ),
    Rule(
        "tool_result_json",
        "Nova invents values when the result of a tool is JSON.",
        tools.write_json_results_as_text,
        models=("amazon.nova*",),
        blocks=frozenset({JsonBlock}),
    ),
    Rule(
        "empty_tool_result",
        "The service refuses a tool result without content.",
        tools.fill_empty_results,
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule("empty_message", "The service refuses a message without content.", content.drop_empty_messages),
    Rule(
        "document_text",
        "The service wants a text block in a message with a document.",
        content.put_text_beside_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "tool_result_alone",
        "Llama, Mistral and Writer refuse tool results beside other content, Claude beside documents and videos.",
        tools.separate_tool_results,
        applies=lambda profile: not profile.beside_tool_results >= {"text", "image", "document", "video"},
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule(
        "document_name",
        "Names of documents are unique in a request, and of a few characters.",
        content.name_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "block_order",
        "Claude wants its thinking first, its text before the tool uses, and tool results before other content.",
        content.order_blocks,
        models=_CLAUDE,
        blocks=frozenset({ReasoningBlock, ToolUseBlock, ToolResultBlock}),
    ),
    Rule(
        "trailing_space",
        "Claude refuses a last turn of the assistant that ends in white space.",
        content.trim_last_assistant_text,
        models=_CLAUDE,
    ),
    Rule(
        "tool_config",
        "The service refuses tool uses and results in the history of a request without tools.",
        tools.declare_a_tool,
        applies=lambda profile: profile.tools,
        blocks=tools.TOOL_BLOCKS,
    ),
    Rule(
        "strict_tool",
        "Not every model can be held to the schema of a tool.",
        tools.loosen_tools,
        models=("*.*",),
        applies=lambda profile: not profile.strict_tools and profile is not UNKNOWN,
    ),
    Rule(
        "forced_tool",
        "Thinking may not be enabled when the choice forces a tool, nor in the rest of a turn that began without.",
        models.prefer_forced_tools_to_thinking,
        applies=lambda profile: not profile.forced_tool_with_reasoning,
    ),
    Rule(
        "sampling",
        "Some models take no temperature or topP, not both, or not while they think.",
        models.drop_sampling,
        models=("anthropic.*", "openai.*", "xai.*"),
    ),
    Rule(
        "nova_sampling",
        "Nova 2 takes no temperature or topP while it reasons, and no maxTokens at high effort.",
        models.leave_sampling_to_nova,
        models=("amazon.nova-2-*",),
    ),
    Rule(
        "cache_points",
        "The service takes four cache points, none without content before it or right behind some media, and those "
        "that live longer first.",
        models.settle_cache_points,
        blocks=frozenset({CachePointBlock}),
    ),
)
"""The table, in the order in which the rules run."""
