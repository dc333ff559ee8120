"""Facts about models, as data: what a model accepts, what it produces, and how its features are switched on.

Facts determine how a request is written, never whether it is sent: the service knows better, and a table can be
outdated. Only `MediaLimits` refuse requests, because one that is megabytes too large would be uploaded before the
service refuses it. An unknown model of a known vendor gets that vendor's defaults, any other model `UNKNOWN`. To
override facts, pass ``model_profile={"max_output_tokens": 8192}`` in a call, or in the settings of a bound model or a
client; a family provides its own in ``profiles``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypedDict, cast

from .._error import a_kind
from ..errors import InvalidRequestError

Modality: TypeAlias = Literal["text", "image", "document", "video", "audio"]
"""A kind of content that a model accepts."""

OutputModality: TypeAlias = Literal["text", "image", "video", "audio", "embedding", "ranking"]
"""A kind of content that a model produces."""

CachedPart: TypeAlias = Literal["tools", "system", "messages"]
"""A part of a request that may contain a cache point."""

ToolChoiceForm: TypeAlias = Literal["auto", "any", "tool"]
"""A form of ``tool_choice``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCaching:
    """How a model caches prompts. ``min_tokens`` is the least number of tokens before a cache point."""

    min_tokens: int
    max_points: int = 4
    ttls: tuple[str, ...] = ("5m",)
    parts: frozenset[CachedPart] = frozenset({"tools", "system", "messages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningForm:
    """How a model's reasoning is requested, and what it returns.

    - ``budget``: accepts a number of thinking tokens; ``adaptive``: decides by itself how much to think.
    - ``efforts``: the accepted levels, empty if there are none.
    - ``field``: the place of the level or budget among the additional request fields, as a dotted path:
      ``"thinking.budget_tokens"``, ``"output_config.effort"``, ``"reasoning_effort"``.
    - ``always``: cannot be switched off.
    - ``signed``: reasoning is signed, and must be sent back unchanged.
    - ``replayed``: reasoning in the history is accepted.
    """

    budget: bool = False
    adaptive: bool = False
    efforts: tuple[str, ...] = ()
    field: str | None = None
    always: bool = False
    signed: bool = False
    replayed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFacts:
    """The limits of an embedding model: inputs per request, tokens per input, lengths of the vector."""

    max_inputs: int = 1
    max_tokens: int | None = None
    dimensions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """How much media a model accepts in one request; None if no limit is known.

    - ``image_bytes``: of each image; ``image_side_px``: its width and height; ``images``: their number. With more than
      ``many_images`` of them, ``many_images_side_px`` replaces ``image_side_px``.
    - ``documents``, ``document_bytes``: the number of documents, and the size of each, unless its format is one of
      ``large_documents``. ``s3_counts``: documents in S3 are included in the number.
    - ``videos``, ``video_bytes``: the same for videos. ``inline_bytes``: all media of the request that are not in S3.

    The defaults apply to every model. [Bedrock user guide, "API restrictions": 5 documents of 4.5 MB, no limit of
    images; API reference, Message: 8,000 pixels]. 1 MB is taken to be 1,048,576 bytes.
    """

    images: int | None = None
    image_bytes: int | None = None
    image_side_px: int | None = 8_000
    many_images: int | None = None
    many_images_side_px: int | None = None
    documents: int | None = 5
    document_bytes: int | None = 4_718_592
    large_documents: frozenset[str] = frozenset()
    s3_counts: bool = True
    videos: int | None = None
    video_bytes: int | None = None
    inline_bytes: int | None = None


_ALL_CHOICES: Final[frozenset[ToolChoiceForm]] = frozenset({"auto", "any", "tool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """What is known of a model; None means unknown. ``source`` says where the facts come from.

    - ``context_window``, ``max_output_tokens``: in tokens.
    - ``streaming``: the service can stream its answers.
    - ``input_modalities``, ``output_modalities``: the kinds of content it accepts and produces.
    - ``tools``, ``tool_choice``: accepts tools, and these forms of tool choice; ``native_tool_choice``: accepts a
      ``tool_choice`` among the additional fields, which supports ``none`` and ``disable_parallel_tool_use``;
      ``strict_tools``: follows the schema of a strict tool; ``forced_tool_with_reasoning``: a tool may be forced while
      it reasons.
    - ``tool_result_media``: media allowed in the result of a tool; ``beside_tool_results``: content allowed in the same
      message as one.
    - ``caching``, ``reasoning``, ``embedding``: see their classes; None if it has none. ``media``: `MediaLimits`.
    - ``structured_output``: accepts a JSON schema for its answer (``outputConfig.textFormat``).
    - ``sampling``: accepts temperature and top_p; ``temperature_with_top_p``: accepts both at once.
    - ``prefill``: continues a last message of the assistant; ``leading_assistant``: lets the assistant speak first.
    - ``system_messages``: accepts messages with the role system between the others.
    - ``citations``: cites the documents of the request. ``count_tokens``: CountTokens supports it.
    - ``burndown``: how many tokens an output token counts as in the quota of tokens per minute.
    """

    source: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    streaming: bool = True
    system_prompts: bool = True
    input_modalities: frozenset[Modality] = frozenset({"text"})
    output_modalities: frozenset[OutputModality] = frozenset({"text"})
    tools: bool = True
    tool_choice: frozenset[ToolChoiceForm] = _ALL_CHOICES
    native_tool_choice: bool = False
    strict_tools: bool = False
    forced_tool_with_reasoning: bool = True
    tool_result_media: frozenset[Modality] = frozenset({"image"})
    beside_tool_results: frozenset[Modality] = frozenset({"text", "image", "document", "video"})
    caching: PromptCaching | None = None
    reasoning: ReasoningForm | None = None
    structured_output: bool = False
    sampling: bool = True
    temperature_with_top_p: bool = True
    prefill: bool = True
    leading_assistant: bool = False
    system_messages: bool = False
    citations: bool = False
    count_tokens: bool | None = None
    burndown: float = 1.0
    embedding: EmbeddingFacts | None = None
    media: MediaLimits = MediaLimits()

    @property
    def chats(self) -> bool:
        """Whether it produces text."""
        return "text" in self.output_modalities


class ProfileFields(TypedDict, total=False):
    """Some fields of a `ModelProfile` that correct the tables: the keyword argument ``model_profile`` of a call."""

    source: str
    context_window: int | None
    max_output_tokens: int | None
    streaming: bool
    system_prompts: bool
    input_modalities: frozenset[Modality]
    output_modalities: frozenset[OutputModality]
    tools: bool
    tool_choice: frozenset[ToolChoiceForm]
    native_tool_choice: bool
    strict_tools: bool
    forced_tool_with_reasoning: bool
    tool_result_media: frozenset[Modality]
    beside_tool_results: frozenset[Modality]
    caching: PromptCaching | None
    reasoning: ReasoningForm | None
    structured_output: bool
    sampling: bool
    temperature_with_top_p: bool
    prefill: bool
    leading_assistant: bool
    system_messages: bool
    citations: bool
    count_tokens: bool | None
    burndown: float
    embedding: EmbeddingFacts | None
    media: MediaLimits


UNKNOWN: Final = ModelProfile(
    source="nothing is known of this model",
    input_modalities=frozenset({"text", "image", "document", "video", "audio"}),
)
"""What is assumed of an unknown model: it accepts any input, caches nothing and does not reason."""


def find_profile(base_model: str | None, *, also: Iterable[Mapping[str, ModelProfile]] = ()) -> ModelProfile:
    """Return the profile of a model, from the most precise pattern that matches its id (most characters besides ``*``).

    ``base_model`` is the id without geography. The tables ``also`` (pattern -> profile) take precedence over the
    built-in one.
    """
    if not base_model:
        return UNKNOWN
    for table in also:
        if (found := best_match(base_model, table)) is not None:
            return table[found]
    return _built_in(base_model)


@lru_cache(maxsize=512)
def _built_in(base_model: str) -> ModelProfile:
    from ._facts import PROFILES

    found = best_match(base_model, PROFILES)
    return UNKNOWN if found is None else PROFILES[found]


def best_match(base_model: str, patterns: Iterable[str]) -> str | None:
    """Return the most precise pattern that matches an id (most characters besides ``*``), or None."""
    fitting = [pattern for pattern in patterns if _fits(base_model, pattern)]
    return max(fitting, key=lambda pattern: len(pattern.replace("*", "")), default=None)


def _fits(name: str, pattern: str) -> bool:
    if "?" in pattern or "[" in pattern:
        return fnmatchcase(name, pattern)
    # Nearly all patterns use no other wildcard; compiling regular expressions for a hundred of them takes several ms.
    beginning, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(beginning):
        return False
    *between, end = rest
    at = len(beginning)
    for part in between:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return name.endswith(end) and len(name) - len(end) >= at


def overridden(profile: ModelProfile, facts: object, *, path: str = "provider_options.profile") -> ModelProfile:
    """Return a profile overridden by a ModelProfile or a mapping of its fields. Raises InvalidRequestError."""
    if isinstance(facts, ModelProfile):
        return facts
    if not isinstance(facts, Mapping):
        raise InvalidRequestError(
            f"{path} is {a_kind(facts)}, not a mapping or a ModelProfile.",
            path=path,
            hint='Pass model_profile={"max_output_tokens": 8192}.',
        )
    changes = dict(cast("Mapping[str, Any]", facts))
    names = [each.name for each in fields(ModelProfile)]
    if unknown := sorted(changes.keys() - set(names)):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        raise InvalidRequestError(
            f"a ModelProfile has no {unknown[0]!r}.",
            path=f"{path}.{unknown[0]}",
            hint=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(names)}.",
        )
    return replace(profile, **{"source": "the call", **changes})
