"""Facts about models, as data: what a model takes, what it gives, and how its features are switched on.

Facts decide how a request is written, never whether one is sent: the service knows better, and a table can be old.
Only `MediaLimits` refuse one, for a request with megabytes too many costs its upload before the service refuses it.
An unknown model of a known vendor has that vendor's defaults, any other one has `UNKNOWN`. Whoever knows better says
so: for one call ``model_profile={"max_output_tokens": 8192}``, for all calls of a bound model or a client the same
among its settings, for a family of one's own in its ``profiles``.
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
"""A kind of content that a model takes."""

OutputModality: TypeAlias = Literal["text", "image", "video", "audio", "embedding", "ranking"]
"""A kind of content that a model gives."""

CachedPart: TypeAlias = Literal["tools", "system", "messages"]
"""A part of a request in which a cache point may stand."""

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
    """How a model's reasoning is asked for, and what it gives back.

    - ``budget``: takes a number of thinking tokens; ``adaptive``: decides by itself how much to think.
    - ``efforts``: the levels it takes, empty where it takes none.
    - ``field``: where the level or budget stands among the additional request fields, as dots:
      ``"thinking.budget_tokens"``, ``"output_config.effort"``, ``"reasoning_effort"``.
    - ``always``: it cannot be switched off.
    - ``signed``: its reasoning comes signed, and is to be sent back as it came.
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
    """What an embedding model takes: inputs in one request, tokens of each, lengths of the vector."""

    max_inputs: int = 1
    max_tokens: int | None = None
    dimensions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """How much of which media a model takes in one request; None where no limit is known.

    - ``image_bytes``: of each image; ``image_side_px``: its width and height; ``images``: the number of them. With more
      than ``many_images`` of them, ``many_images_side_px`` takes the place of ``image_side_px``.
    - ``documents``, ``document_bytes``: the number of documents, and the size of each that is not of one of the
      formats in ``large_documents``. ``s3_counts``: documents in S3 are part of the number.
    - ``videos``, ``video_bytes``: the same of videos. ``inline_bytes``: all media of the request that are not in S3.

    The defaults hold for every model. [Bedrock user guide, "API restrictions": 5 documents of 4.5 MB, no limit of
    images; API reference, Message: 8,000 pixels]. 1 MB is taken for 1,048,576 bytes.
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
    - ``input_modalities``, ``output_modalities``: the kinds of content it takes and gives.
    - ``tools``, ``tool_choice``: takes tools, and these forms of the choice among them; ``native_tool_choice``: takes
      a ``tool_choice`` among the additional fields, which can say ``none`` and ``disable_parallel_tool_use``;
      ``strict_tools``: holds itself to the schema of a strict tool; ``forced_tool_with_reasoning``: a tool may be
      forced while it reasons.
    - ``tool_result_media``: media that may stand in the result of a tool; ``beside_tool_results``: content that may
      share a message with one.
    - ``caching``, ``reasoning``, ``embedding``: see their classes; None where it has none. ``media``: `MediaLimits`.
    - ``structured_output``: takes a JSON schema for its answer (``outputConfig.textFormat``).
    - ``sampling``: takes temperature and top_p; ``temperature_with_top_p``: takes both at once.
    - ``prefill``: continues a last message of the assistant; ``leading_assistant``: lets the assistant speak first.
    - ``system_messages``: takes messages of the role system between the others.
    - ``citations``: cites the documents of the request. ``count_tokens``: CountTokens counts for it.
    - ``burndown``: what a token of its output counts against the quota of tokens per minute.
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
        """Whether it answers with text."""
        return "text" in self.output_modalities


class ProfileFields(TypedDict, total=False):
    """Fields of a `ModelProfile`, as many as somebody knows better: the keyword ``model_profile`` of a call."""

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
"""What is assumed of a model that no table knows: that it takes what it is given, caches nothing, reasons not."""


def find_profile(base_model: str | None, *, also: Iterable[Mapping[str, ModelProfile]] = ()) -> ModelProfile:
    """Return the profile of a model: that of the pattern that fits it best (most characters that are no ``*``).

    ``base_model`` is the id without geography. ``also`` are tables (pattern -> profile) that come before the built-in
    one.
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
    """Return the pattern with the most characters of its own that fits an id, None where none does."""
    fitting = [pattern for pattern in patterns if _fits(base_model, pattern)]
    return max(fitting, key=lambda pattern: len(pattern.replace("*", "")), default=None)


def _fits(name: str, pattern: str) -> bool:
    if "?" in pattern or "[" in pattern:
        return fnmatchcase(name, pattern)
    # Nearly all patterns know no other wildcard; making regular expressions of a hundred of them takes several ms.
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
    """Return a profile with other facts: a ModelProfile, or a mapping of its fields. Raises InvalidRequestError."""
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
