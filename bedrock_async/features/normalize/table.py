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
        "Strands writes S3 locations in a form that the service does not accept.",
        content.read_s3_locations,
        blocks=_MEDIA,
    ),
    Rule(
        "media_format",
        "The service has its own names for some formats, such as three_gp for 3gp.",
        content.name_formats,
        blocks=_MEDIA,
    ),
    Rule(
        "blank_text",
        "The service rejects blank text, even if one of its own models wrote it.",
        content.drop_blank_text,
        blocks=frozenset({TextBlock, GuardContentBlock}),
    ),
    Rule(
        "reasoning_replay",
        "Some models reject reasoning in the history, or reasoning that they did not sign.",
        models.drop_unreplayable_reasoning,
        applies=models.refuses_reasoning,
        blocks=frozenset({ReasoningBlock}),
    ),
    Rule(
        "tool_input",
        "The input of a tool use must be an object; truncated JSON is kept as text in one, never replaced by {}.",
        tools.keep_tool_inputs_objects,
        blocks=frozenset({ToolUseBlock}),
    ),
    Rule(
        "tool_result_json",
        "Nova makes up values when a tool result is JSON.",
        tools.write_json_results_as_text,
        models=("amazon.nova*",),
        blocks=frozenset({JsonBlock}),
    ),
    Rule(
        "empty_tool_result",
        "The service rejects a tool result without content.",
        tools.fill_empty_results,
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule("empty_message", "The service rejects a message without content.", content.drop_empty_messages),
    Rule(
        "document_text",
        "The service requires a text block in a message with a document.",
        content.put_text_beside_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "tool_result_alone",
        "Next to tool results, Llama, Mistral and Writer reject other content; Claude rejects documents and videos.",
        tools.separate_tool_results,
        applies=lambda profile: not profile.beside_tool_results >= {"text", "image", "document", "video"},
        blocks=frozenset({ToolResultBlock}),
    ),
    Rule(
        "document_name",
        "Document names must be unique within a request; only some characters are allowed in them.",
        content.name_documents,
        blocks=frozenset({DocumentBlock}),
    ),
    Rule(
        "block_order",
        "Claude requires reasoning first, text before tool uses, and tool results before other content.",
        content.order_blocks,
        models=_CLAUDE,
        blocks=frozenset({ReasoningBlock, ToolUseBlock, ToolResultBlock}),
    ),
    Rule(
        "trailing_space",
        "Claude rejects a final assistant message that ends with whitespace.",
        content.trim_last_assistant_text,
        models=_CLAUDE,
    ),
    Rule(
        "tool_config",
        "The service rejects tool uses and tool results in the history if the request declares no tools.",
        tools.declare_a_tool,
        applies=lambda profile: profile.tools,
        blocks=tools.TOOL_BLOCKS,
    ),
    Rule(
        "strict_tool",
        "Not every model supports strict tool schemas.",
        tools.loosen_tools,
        models=("*.*",),
        applies=lambda profile: not profile.strict_tools and profile is not UNKNOWN,
    ),
    Rule(
        "forced_tool",
        "Some models cannot reason when a tool is forced, nor start reasoning in the middle of a turn.",
        models.prefer_forced_tools_to_thinking,
        applies=lambda profile: not profile.forced_tool_with_reasoning,
    ),
    Rule(
        "sampling",
        "Some models reject temperature and topP, accept only one of them, or restrict them while reasoning.",
        models.drop_sampling,
        models=("anthropic.*", "openai.*", "xai.*"),
    ),
    Rule(
        "nova_sampling",
        "Nova 2 rejects temperature and topP while reasoning, and maxTokens at high effort.",
        models.leave_sampling_to_nova,
        models=("amazon.nova-2-*",),
    ),
    Rule(
        "cache_points",
        "The service accepts at most four cache points, none without content before it or directly after some media, "
        "and requires points with a longer TTL first.",
        models.settle_cache_points,
        blocks=frozenset({CachePointBlock}),
    ),
)
"""The table, in the order in which the rules run."""
