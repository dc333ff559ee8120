"""The table of facts: a row for every group of models, from a vendor's defaults to single versions.

Sources, as cited in the rows:

- [guide]: Amazon Bedrock user guide, "Supported models and model features", "Prompt caching", "Structured outputs",
  and the model cards, as of November 2026.
- [prices]: the price and context-window table of litellm 1.109.1, which cites AWS' price list and model cards.
- [observed]: the Bedrock profiles of pydantic-ai 2.68.0, whose comments record what was tried against the service,
  and when.
- [corpus]: recorded traffic, 2023 to 2026.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .profiles import EmbeddingFacts, MediaLimits, Modality, ModelProfile, PromptCaching, ReasoningForm

_TEXT: Final[frozenset[Modality]] = frozenset({"text"})
_TEXT_IMAGE: Final[frozenset[Modality]] = frozenset({"text", "image"})
_TEXT_DOCUMENT: Final[frozenset[Modality]] = frozenset({"text", "document"})
_TEXT_IMAGE_DOCUMENT: Final[frozenset[Modality]] = frozenset({"text", "image", "document"})
_TEXT_IMAGE_DOCUMENT_VIDEO: Final[frozenset[Modality]] = frozenset({"text", "image", "document", "video"})
_NO_MEDIA: Final[frozenset[Modality]] = frozenset()

# -- anthropic

# The vendor's limit of 5 MB applies to base64, which is 3.75 MB of file. Up to 20 images may have 8,000 pixels a side;
# with more images, each may have 2,000. [Claude's documentation, "Vision"; the service refused 2,001 px beside 28
# others, and accepted 29 images of 2,000 px: AWS' sample idp-on-aws, issues 778 and 994, September 2026]
_CLAUDE_MEDIA: Final = MediaLimits(images=100, image_bytes=3_932_160, many_images=20, many_images_side_px=2_000)
# The limit of 4.5 MB does not apply to PDFs with Claude 4 and later.  [guide, "API restrictions"]
_CLAUDE_4_MEDIA: Final = replace(_CLAUDE_MEDIA, large_documents=frozenset({"pdf"}))
_CLAUDE_1M_MEDIA: Final = replace(_CLAUDE_4_MEDIA, images=600)

_BUDGET: Final = ReasoningForm(budget=True, field="thinking.budget_tokens", signed=True)
_LEVELS: Final = ("low", "medium", "high")
_EFFORTS: Final = (*_LEVELS, "max")
_ALL_EFFORTS: Final = (*_LEVELS, "xhigh", "max")
_ADAPTIVE: Final = ReasoningForm(adaptive=True, efforts=_ALL_EFFORTS, field="output_config.effort", signed=True)
_BOTH: Final = replace(_ADAPTIVE, budget=True, efforts=_EFFORTS)

_ANTHROPIC: Final = ModelProfile(
    source="defaults of the vendor [guide, observed]",
    context_window=200_000,
    input_modalities=_TEXT_IMAGE_DOCUMENT,
    tool_result_media=frozenset({"image", "document"}),
    beside_tool_results=_TEXT_IMAGE,
    leading_assistant=True,
    citations=True,
    media=_CLAUDE_MEDIA,
)
_CLAUDE_1_AND_2: Final = replace(
    _ANTHROPIC,
    source="[guide, prices, corpus]",
    context_window=100_000,
    max_output_tokens=8_191,
    input_modalities=_TEXT_DOCUMENT,
    tools=False,
    citations=False,
)
_CLAUDE_3: Final = replace(_ANTHROPIC, source="[guide, prices]", max_output_tokens=4_096)
_CLAUDE_4: Final = replace(
    _ANTHROPIC,
    source="[guide, prices, observed]",
    max_output_tokens=64_000,
    caching=PromptCaching(min_tokens=1_024),
    reasoning=_BUDGET,
    # "Thinking may not be enabled when tool_choice forces tool use"; adaptive thinking may.  [observed]
    forced_tool_with_reasoning=False,
    count_tokens=True,
    # "The burndown rate ... is 5x for output tokens": Claude 3.7 and later.  [guide, "How tokens are counted"]
    burndown=5.0,
    media=_CLAUDE_4_MEDIA,
)
_CLAUDE_4_5: Final = replace(
    _CLAUDE_4,
    caching=PromptCaching(min_tokens=4_096, ttls=("5m", "1h")),
    structured_output=True,
    native_tool_choice=True,
    strict_tools=True,
    temperature_with_top_p=False,
)
_CLAUDE_4_6: Final = replace(
    _CLAUDE_4_5,
    context_window=1_000_000,
    max_output_tokens=128_000,
    reasoning=_BOTH,
    forced_tool_with_reasoning=True,
    prefill=False,
    media=_CLAUDE_1M_MEDIA,
)
_CLAUDE_4_7: Final = replace(
    _CLAUDE_4_6, caching=PromptCaching(min_tokens=2_048, ttls=("5m", "1h")), reasoning=_ADAPTIVE, sampling=False
)
_CLAUDE_5: Final = replace(_CLAUDE_4_7, caching=PromptCaching(min_tokens=512, ttls=("5m", "1h")))
_CACHING_1024_1H: Final = PromptCaching(min_tokens=1_024, ttls=("5m", "1h"))
_NO_FORCED_TOOL: Final = replace(_CLAUDE_5, tool_choice=frozenset({"auto"}), forced_tool_with_reasoning=False)

_ANTHROPIC_MODELS: Final = {
    "anthropic.*": _ANTHROPIC,
    "anthropic.claude-v*": _CLAUDE_1_AND_2,
    "anthropic.claude-instant-*": _CLAUDE_1_AND_2,
    "anthropic.claude-v2:1*": replace(_CLAUDE_1_AND_2, context_window=200_000),
    "anthropic.claude-3-*": _CLAUDE_3,
    "anthropic.claude-3-5-sonnet-20241022-*": replace(
        _CLAUDE_3, max_output_tokens=8_192, caching=PromptCaching(min_tokens=1_024), count_tokens=True
    ),
    "anthropic.claude-3-5-haiku-*": replace(
        _CLAUDE_3,
        max_output_tokens=8_192,
        input_modalities=_TEXT_DOCUMENT,
        caching=PromptCaching(min_tokens=2_048),
        count_tokens=True,
    ),
    "anthropic.claude-3-7-sonnet-*": replace(_CLAUDE_4, prefill=True, media=_CLAUDE_MEDIA),
    "anthropic.claude-sonnet-4-*": _CLAUDE_4,
    "anthropic.claude-opus-4-*": replace(_CLAUDE_4, max_output_tokens=32_000),
    "anthropic.claude-opus-4-1-*": replace(_CLAUDE_4, max_output_tokens=32_000, temperature_with_top_p=False),
    "anthropic.claude-sonnet-4-5-*": replace(_CLAUDE_4_5, caching=_CACHING_1024_1H),
    "anthropic.claude-haiku-4-5-*": _CLAUDE_4_5,
    "anthropic.claude-opus-4-5-*": replace(
        _CLAUDE_4_5, reasoning=replace(_BUDGET, efforts=_LEVELS, field="output_config.effort")
    ),
    "anthropic.claude-sonnet-4-6*": replace(_CLAUDE_4_6, max_output_tokens=64_000, caching=_CACHING_1024_1H),
    "anthropic.claude-opus-4-6*": _CLAUDE_4_6,
    "anthropic.claude-opus-4-7*": _CLAUDE_4_7,
    "anthropic.claude-opus-4-8*": replace(_CLAUDE_4_7, caching=_CACHING_1024_1H, system_messages=True),
    "anthropic.claude-opus-5*": replace(_CLAUDE_5, system_messages=True),
    "anthropic.claude-opus-5-5*": replace(_NO_FORCED_TOOL, system_messages=True),
    # Sonnet 5 answers 200 to a message with the role system, and then ignores it.  [observed]
    "anthropic.claude-sonnet-5*": replace(_CLAUDE_5, caching=_CACHING_1024_1H),
    "anthropic.claude-sonnet-5-5*": replace(_NO_FORCED_TOOL, system_messages=True),
    "anthropic.claude-haiku-5*": replace(_CLAUDE_5, system_messages=True),
    "anthropic.claude-fable-5*": replace(_CLAUDE_5, structured_output=False, strict_tools=False, system_messages=True),
    "anthropic.claude-mythos-*": replace(_CLAUDE_5, system_messages=True),
}

# -- amazon

_MB: Final = 1024 * 1024
# 25 MB in total and one video per request; in S3, up to 1,000 documents.  [Nova user guide, "Multimodal support"]
_NOVA_MEDIA: Final = MediaLimits(
    large_documents=frozenset({"pdf", "docx"}),
    s3_counts=False,
    videos=1,
    video_bytes=25 * _MB,
    inline_bytes=25 * _MB,
)

_NOVA: Final = ModelProfile(
    source="[guide, prices, observed]",
    context_window=300_000,
    max_output_tokens=10_000,
    input_modalities=_TEXT_IMAGE_DOCUMENT_VIDEO,
    # Nova caches system prompts and messages, but not tools, for five minutes.  [guide]
    caching=PromptCaching(min_tokens=1_000, parts=frozenset({"system", "messages"})),
    media=_NOVA_MEDIA,
)
_TITAN_TEXT: Final = ModelProfile(
    source="[guide, prices]",
    context_window=8_000,
    max_output_tokens=8_000,
    system_prompts=False,
    input_modalities=_TEXT_DOCUMENT,
    tools=False,
)


def _embedding(max_tokens: int, *dimensions: int, max_inputs: int = 1, images: bool = False) -> ModelProfile:
    return ModelProfile(
        source="[guide, prices]",
        context_window=max_tokens,
        streaming=False,
        system_prompts=False,
        input_modalities=_TEXT_IMAGE if images else _TEXT,
        output_modalities=frozenset({"embedding"}),
        tools=False,
        embedding=EmbeddingFacts(max_inputs=max_inputs, max_tokens=max_tokens, dimensions=dimensions),
    )


_IMAGES: Final = ModelProfile(
    source="[guide, prices]",
    streaming=False,
    system_prompts=False,
    input_modalities=_TEXT_IMAGE,
    output_modalities=frozenset({"image"}),
    tools=False,
)
_VIDEOS: Final = replace(_IMAGES, output_modalities=frozenset({"video"}))
_RANKING: Final = replace(_IMAGES, input_modalities=_TEXT, output_modalities=frozenset({"ranking"}))

_AMAZON_MODELS: Final = {
    "amazon.*": ModelProfile(source="defaults of the vendor [guide]"),
    "amazon.nova-*": _NOVA,
    "amazon.nova-micro-*": replace(_NOVA, context_window=128_000, input_modalities=_TEXT),
    "amazon.nova-premier-*": replace(_NOVA, context_window=1_000_000),
    "amazon.nova-2-*": replace(
        _NOVA,
        context_window=1_000_000,
        max_output_tokens=64_000,
        reasoning=ReasoningForm(efforts=_LEVELS, field="reasoningConfig.maxReasoningEffort"),
    ),
    "amazon.nova-*sonic*": replace(
        _NOVA,
        input_modalities=frozenset({"text", "audio"}),
        output_modalities=frozenset({"audio"}),
        caching=None,
    ),
    "amazon.nova-canvas-*": _IMAGES,
    "amazon.nova-reel-*": _VIDEOS,
    "amazon.nova-2-multimodal-embeddings-*": _embedding(8_172, 256, 384, 1_024, 3_072, images=True),
    "amazon.titan-*": _TITAN_TEXT,
    "amazon.titan-text-lite-*": replace(_TITAN_TEXT, context_window=4_000, max_output_tokens=4_000),
    "amazon.titan-text-premier-*": replace(
        _TITAN_TEXT, context_window=32_000, max_output_tokens=3_000, input_modalities=_TEXT
    ),
    "amazon.titan-embed-text-v1*": _embedding(8_192, 1_536),
    "amazon.titan-embed-g1-text-*": _embedding(8_192, 1_536),
    "amazon.titan-embed-text-v2*": _embedding(8_192, 256, 512, 1_024),
    "amazon.titan-embed-image-*": _embedding(256, 256, 384, 1_024, images=True),
    "amazon.titan-image-*": _IMAGES,
    "amazon.rerank-*": _RANKING,
}

# -- the others

_META: Final = ModelProfile(
    source="[guide, prices, observed]",
    context_window=128_000,
    max_output_tokens=4_096,
    input_modalities=_TEXT_DOCUMENT,
    tool_choice=frozenset({"auto"}),
    tool_result_media=frozenset({"image", "document"}),
    # With Llama, Mistral and Writer, a tool result must be alone in its message.  [observed]
    beside_tool_results=_NO_MEDIA,
)
_LLAMA_2_AND_3: Final = replace(_META, context_window=8_192, max_output_tokens=2_048, tools=False)
_MISTRAL: Final = ModelProfile(
    source="[guide, prices, observed]",
    context_window=32_000,
    max_output_tokens=8_192,
    input_modalities=_TEXT_DOCUMENT,
    tool_choice=frozenset({"auto", "any"}),
    tool_result_media=frozenset({"document"}),
    beside_tool_results=_NO_MEDIA,
)
_MISTRAL_OLD: Final = replace(_MISTRAL, max_output_tokens=4_096, system_prompts=False, tools=False)
_MISTRAL_3: Final = replace(
    _MISTRAL,
    context_window=128_000,
    input_modalities=_TEXT_IMAGE_DOCUMENT,
    structured_output=True,
    strict_tools=True,
)
_COHERE: Final = ModelProfile(
    source="[guide, prices]",
    context_window=128_000,
    max_output_tokens=4_000,
    input_modalities=_TEXT_DOCUMENT,
    tool_choice=frozenset({"auto"}),
    tool_result_media=_NO_MEDIA,
)
_AI21: Final = ModelProfile(
    source="[guide, prices]",
    context_window=256_000,
    max_output_tokens=4_096,
    input_modalities=_TEXT_DOCUMENT,
    tool_choice=frozenset({"auto"}),
    tool_result_media=_NO_MEDIA,
)
_CHAT: Final = ModelProfile(
    source="[prices, observed]", context_window=128_000, max_output_tokens=8_000, tool_result_media=_NO_MEDIA
)
_CHAT_STRUCTURED: Final = replace(_CHAT, structured_output=True, strict_tools=True)
_EFFORT: Final = ReasoningForm(efforts=_LEVELS, field="reasoning_effort")
_GPT_OSS: Final = replace(
    _CHAT,
    max_output_tokens=16_384,
    # gpt-oss always reasons; "none" is refused.  [observed]
    reasoning=replace(_EFFORT, always=True),
    tool_choice=frozenset({"auto"}),
)
_QWEN: Final = replace(
    _CHAT_STRUCTURED,
    context_window=262_144,
    max_output_tokens=8_192,
    reasoning=ReasoningForm(efforts=("low", "high"), field="reasoning_config"),
    leading_assistant=True,
)
_KIMI: Final = replace(_CHAT_STRUCTURED, context_window=256_000, max_output_tokens=16_000, leading_assistant=True)
_GLM: Final = replace(
    _CHAT_STRUCTURED,
    context_window=200_000,
    max_output_tokens=128_000,
    leading_assistant=True,
    reasoning=replace(_EFFORT, efforts=("high",)),
)

PROFILES: Final[dict[str, ModelProfile]] = {
    **_ANTHROPIC_MODELS,
    **_AMAZON_MODELS,
    "meta.*": _META,
    "meta.llama2-*": replace(_LLAMA_2_AND_3, context_window=4_096),
    "meta.llama3-8b-*": _LLAMA_2_AND_3,
    "meta.llama3-70b-*": _LLAMA_2_AND_3,
    "meta.llama3-2-11b-*": replace(_META, input_modalities=_TEXT_IMAGE_DOCUMENT),
    "meta.llama3-2-90b-*": replace(_META, input_modalities=_TEXT_IMAGE_DOCUMENT),
    "meta.llama4-maverick-*": replace(
        _META, context_window=1_000_000, max_output_tokens=8_192, input_modalities=_TEXT_IMAGE_DOCUMENT
    ),
    "meta.llama4-scout-*": replace(
        _META, context_window=10_000_000, max_output_tokens=8_192, input_modalities=_TEXT_IMAGE_DOCUMENT
    ),
    "mistral.*": _MISTRAL,
    "mistral.mistral-7b-*": _MISTRAL_OLD,
    "mistral.mixtral-*": _MISTRAL_OLD,
    "mistral.mistral-large-2407-*": replace(_MISTRAL, context_window=128_000),
    "mistral.pixtral-*": replace(_MISTRAL, context_window=128_000, input_modalities=_TEXT_IMAGE_DOCUMENT),
    "mistral.mistral-large-3-*": replace(_MISTRAL_3, context_window=256_000, max_output_tokens=32_000),
    "mistral.ministral-3-*": _MISTRAL_3,
    "mistral.magistral-*": replace(_MISTRAL_3, max_output_tokens=40_000, reasoning=ReasoningForm(always=True)),
    "mistral.devstral-*": replace(_MISTRAL, context_window=256_000, max_output_tokens=32_000),
    "mistral.voxtral-*": replace(_MISTRAL_3, context_window=32_768, input_modalities=frozenset({"text", "audio"})),
    "cohere.*": _COHERE,
    "cohere.command-*text-*": replace(_COHERE, context_window=4_096, system_prompts=False, tools=False),
    "cohere.embed-english-*": _embedding(512, 1_024, max_inputs=96, images=True),
    "cohere.embed-multilingual-*": _embedding(512, 1_024, max_inputs=96, images=True),
    "cohere.embed-v4*": _embedding(128_000, 256, 512, 1_024, 1_536, max_inputs=96, images=True),
    "cohere.rerank-*": _RANKING,
    "ai21.*": _AI21,
    "ai21.jamba-instruct-*": replace(_AI21, context_window=70_000, input_modalities=_TEXT, tools=False),
    "ai21.j2-*": replace(
        _AI21,
        context_window=8_191,
        max_output_tokens=8_191,
        streaming=False,
        system_prompts=False,
        input_modalities=_TEXT,
        tools=False,
    ),
    "deepseek.*": _CHAT_STRUCTURED,
    "deepseek.r1-*": replace(
        _CHAT,
        max_output_tokens=8_192,
        input_modalities=_TEXT_DOCUMENT,
        tools=False,
        reasoning=ReasoningForm(always=True, replayed=False),
    ),
    "deepseek.v3*": replace(
        _CHAT_STRUCTURED,
        context_window=164_000,
        # DeepSeek refuses reasoning in the history, even its own.  [strands 1.62.0]
        reasoning=replace(_EFFORT, efforts=("high",), replayed=False),
    ),
    "openai.*": _CHAT,
    "openai.gpt-oss-*": _GPT_OSS,
    "openai.gpt-5*": replace(
        _CHAT,
        context_window=1_050_000,
        max_output_tokens=128_000,
        input_modalities=_TEXT_IMAGE,
        sampling=False,
        reasoning=ReasoningForm(efforts=(*_LEVELS, "xhigh"), field="reasoning.effort"),
    ),
    "openai.gpt-6*": replace(
        _CHAT,
        context_window=1_050_000,
        max_output_tokens=128_000,
        input_modalities=_TEXT_IMAGE,
        sampling=False,
        reasoning=ReasoningForm(efforts=_ALL_EFFORTS, field="reasoning.effort"),
    ),
    "qwen.*": _QWEN,
    "qwen.qwen3-32b-*": replace(_QWEN, context_window=32_768),
    "qwen.qwen3-coder-*": replace(_QWEN, max_output_tokens=16_384, reasoning=None),
    "qwen.qwen3-vl-*": replace(_QWEN, input_modalities=_TEXT_IMAGE),
    "google.*": replace(_CHAT, input_modalities=_TEXT_IMAGE),
    "google.gemma-3-12b-*": replace(_CHAT_STRUCTURED, input_modalities=_TEXT_IMAGE),
    "google.gemma-3-27b-*": replace(_CHAT_STRUCTURED, input_modalities=_TEXT_IMAGE),
    "minimax.*": replace(
        _CHAT_STRUCTURED,
        source="[prices, observed, corpus]",
        context_window=196_000,
        reasoning=ReasoningForm(always=True),
    ),
    "moonshot.*": _KIMI,
    "moonshot.kimi-k2-thinking*": replace(_KIMI, reasoning=ReasoningForm(always=True)),
    "moonshotai.*": replace(_KIMI, input_modalities=_TEXT_IMAGE),
    "moonshotai.kimi-k3*": replace(
        _KIMI, context_window=1_000_000, max_output_tokens=131_072, input_modalities=_TEXT_IMAGE
    ),
    "nvidia.*": _CHAT,
    "nvidia.nemotron-nano-*": _CHAT_STRUCTURED,
    "nvidia.nemotron-nano-12b-*": replace(_CHAT_STRUCTURED, input_modalities=_TEXT_IMAGE),
    "nvidia.nemotron-nano-3-*": replace(_CHAT_STRUCTURED, context_window=256_000),
    "nvidia.nemotron-super-*": replace(_CHAT, context_window=256_000, max_output_tokens=32_000),
    "writer.*": replace(_CHAT, max_output_tokens=8_192, beside_tool_results=_NO_MEDIA),
    "writer.palmyra-x5-*": replace(
        _CHAT, context_window=1_040_000, max_output_tokens=8_192, beside_tool_results=_NO_MEDIA
    ),
    "writer.palmyra-vision-*": replace(
        _CHAT, context_window=4_096, max_output_tokens=4_096, input_modalities=_TEXT_IMAGE, tools=False
    ),
    "xai.*": replace(
        _CHAT,
        context_window=500_000,
        input_modalities=_TEXT_IMAGE,
        sampling=False,
        reasoning=ReasoningForm(always=True, efforts=(*_LEVELS, "xhigh"), field="reasoning.effort"),
    ),
    "zai.*": _GLM,
    "stability.*": _IMAGES,
    "luma.*": _VIDEOS,
    "twelvelabs.marengo-*": _embedding(500, 512, images=True),
    "twelvelabs.marengo-embed-2-7-*": _embedding(77, 1_024, images=True),
    "twelvelabs.pegasus-*": ModelProfile(
        source="[guide, prices]",
        system_prompts=False,
        input_modalities=frozenset({"text", "video"}),
        tools=False,
    ),
}
"""Facts about models, by patterns of model ids without geography."""
