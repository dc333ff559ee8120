"""Content blocks: what messages, system prompts and tool results are made of.

Fields are the snake_case of the service model's members (bedrock-runtime, 2023-09-30).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from ._wire import JSON, Blob, Enum, FlatBlock, List, NestedBlock, Tagged, UnknownBlock, WireModel, WireUnion

ImageFormat: TypeAlias = Annotated[Literal["png", "jpeg", "gif", "webp"] | str, Enum]
DocumentFormat: TypeAlias = Annotated[
    Literal["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"] | str, Enum
]
VideoFormat: TypeAlias = Annotated[
    Literal["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"] | str, Enum
]
AudioFormat: TypeAlias = Annotated[
    Literal[
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"
    ]
    | str,
    Enum,
]
Role: TypeAlias = Annotated[Literal["user", "assistant", "system"] | str, Enum]


class S3Location(WireModel):
    """An object in S3; ``bucket_owner`` is the account id if the bucket is in another account."""

    uri: str
    bucket_owner: str | None = None


class MediaError(WireModel):
    """Why the service could not produce or read an image or audio clip."""

    message: str | None = None


class MediaSource(WireUnion):
    """The source of an image, video or audio clip: its bytes, or an object in S3."""

    bytes: Blob | None = None
    s3_location: S3Location | None = None


class DocumentPart(WireUnion):
    """One part of a document given in parts (citations call them chunks)."""

    text: str | None = None


class DocumentSource(WireUnion):
    """The source of a document: its bytes, an object in S3, plain text, or parts."""

    bytes: Blob | None = None
    s3_location: S3Location | None = None
    text: str | None = None
    content: List[DocumentPart] | None = None


class CitationsConfig(WireModel):
    """Whether the model should cite this document or search result."""

    enabled: bool


class TextBlock(FlatBlock):
    """Plain text."""

    tag: ClassVar[str] = "text"
    text: str


class ImageBlock(NestedBlock):
    """An image."""

    tag: ClassVar[str] = "image"
    format: ImageFormat
    source: MediaSource
    error: MediaError | None = None


class DocumentBlock(NestedBlock):
    """A document; the service requires a text block beside it."""

    tag: ClassVar[str] = "document"
    name: str
    source: DocumentSource
    format: DocumentFormat | None = None
    context: str | None = None
    citations: CitationsConfig | None = None


class VideoBlock(NestedBlock):
    """A video."""

    tag: ClassVar[str] = "video"
    format: VideoFormat
    source: MediaSource


class AudioBlock(NestedBlock):
    """An audio clip."""

    tag: ClassVar[str] = "audio"
    format: AudioFormat
    source: MediaSource
    error: MediaError | None = None


class ToolUseBlock(NestedBlock):
    """A call of a tool by the model. ``type`` is ``server_tool_use`` when the service runs the tool itself.

    If the JSON of the input was truncated or malformed (a stream that reached max_tokens), ``input`` is that text and
    `invalid_input` is True: never run such a call.
    """

    tag: ClassVar[str] = "toolUse"
    tool_use_id: str
    name: str
    input: JSON
    # Real responses also have type "tool_use", which no service model lists.  [corpus, 2025-11 to 2026-08]
    type: Annotated[Literal["server_tool_use"] | str, Enum] | None = None

    @property
    def invalid_input(self) -> bool:
        """Whether ``input`` is text that is not a JSON object."""
        return not isinstance(self.input, dict)


class SearchResultText(WireModel):
    """One passage of a search result."""

    text: str


class SearchResultBlock(NestedBlock):
    """A search result that the model may use and cite."""

    tag: ClassVar[str] = "searchResult"
    source: str
    title: str
    content: List[SearchResultText]
    citations: CitationsConfig | None = None


class JsonBlock(FlatBlock):
    """A JSON document as the result of a tool."""

    tag: ClassVar[str] = "json"
    json_: JSON = Field(alias="json")


ToolResultContent: TypeAlias = Annotated[
    TextBlock | JsonBlock | ImageBlock | DocumentBlock | VideoBlock | SearchResultBlock | UnknownBlock, Tagged()
]
"""Any block allowed in the result of a tool."""


class ToolResultBlock(NestedBlock):
    """The result of a tool, for the tool use with the same id."""

    tag: ClassVar[str] = "toolResult"
    tool_use_id: str
    content: List[ToolResultContent]
    status: Annotated[Literal["success", "error"] | str, Enum] | None = None
    type: str | None = None


class GuardText(WireModel):
    """Text for a guardrail to assess, with its role in the request."""

    text: str
    qualifiers: List[Annotated[Literal["grounding_source", "query", "guard_content"] | str, Enum]] | None = None


class GuardImage(WireModel):
    """An image for a guardrail to assess (png or jpeg)."""

    format: Annotated[Literal["png", "jpeg"] | str, Enum]
    source: MediaSource


class GuardContentBlock(NestedBlock):
    """Content for a guardrail to assess; if a message has such blocks, its other blocks are not assessed."""

    tag: ClassVar[str] = "guardContent"
    text: GuardText | None = None
    image: GuardImage | None = None


class CachePointBlock(NestedBlock):
    """Caches everything before this point for ``ttl``, by default five minutes."""

    tag: ClassVar[str] = "cachePoint"
    type: Annotated[Literal["default"] | str, Enum]
    ttl: Annotated[Literal["5m", "1h"] | str, Enum] | None = None


class ReasoningText(WireModel):
    """The model's reasoning, with a signature that proves it unchanged when it is sent back."""

    text: str
    signature: str | None = None


class ReasoningBlock(NestedBlock):
    """The reasoning before an answer: readable text, or redacted content that only the service can decrypt."""

    tag: ClassVar[str] = "reasoningContent"
    reasoning_text: ReasoningText | None = None
    redacted_content: Blob | None = None

    @property
    def text(self) -> str:
        """The readable reasoning; empty for redacted content."""
        return self.reasoning_text.text if self.reasoning_text else ""

    @property
    def signature(self) -> str | None:
        """The signature of the reasoning text."""
        return self.reasoning_text.signature if self.reasoning_text else None


class WebLocation(WireModel):
    """A web page that was cited."""

    url: str | None = None
    domain: str | None = None


class DocumentCharLocation(WireModel):
    """Characters ``start`` to ``end`` of a document of the request, counted from 0."""

    document_index: int | None = None
    start: int | None = None
    end: int | None = None


class DocumentPageLocation(WireModel):
    """Pages ``start`` to ``end`` of a document of the request."""

    document_index: int | None = None
    start: int | None = None
    end: int | None = None


class DocumentChunkLocation(WireModel):
    """Parts ``start`` to ``end`` of a document that the request gave in parts."""

    document_index: int | None = None
    start: int | None = None
    end: int | None = None


class SearchResultLocation(WireModel):
    """Passages ``start`` to ``end`` of a search result of the request."""

    search_result_index: int | None = None
    start: int | None = None
    end: int | None = None


class CitationLocation(WireUnion):
    """The location that a citation refers to."""

    web: WebLocation | None = None
    document_char: DocumentCharLocation | None = None
    document_page: DocumentPageLocation | None = None
    document_chunk: DocumentChunkLocation | None = None
    search_result_location: SearchResultLocation | None = None


class CitedText(WireUnion):
    """A piece of text: generated, or from the cited source."""

    text: str | None = None


class Citation(WireModel):
    """A source of generated text."""

    title: str | None = None
    source: str | None = None
    source_content: List[CitedText] | None = None
    location: CitationLocation | None = None


class CitationsBlock(NestedBlock):
    """Generated text with the sources it cites."""

    tag: ClassVar[str] = "citationsContent"
    content: List[CitedText] | None = None
    citations: List[Citation] | None = None

    @property
    def text(self) -> str:
        """The generated text."""
        return "".join(part.text or "" for part in self.content or ())


class ToolReference(WireModel):
    """The name of a tool that is added to or removed from the conversation."""

    type: str | None = None
    name: str | None = None
    server_name: str | None = None


class ToolAdditionBlock(NestedBlock):
    """From this point on the model may use one more tool."""

    tag: ClassVar[str] = "toolAddition"
    tool: ToolReference


class ToolRemovalBlock(NestedBlock):
    """From this point on the model may no longer use the tool."""

    tag: ClassVar[str] = "toolRemoval"
    tool: ToolReference


ContentBlock: TypeAlias = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | VideoBlock
    | AudioBlock
    | ToolUseBlock
    | ToolResultBlock
    | GuardContentBlock
    | CachePointBlock
    | ReasoningBlock
    | CitationsBlock
    | SearchResultBlock
    | ToolAdditionBlock
    | ToolRemovalBlock
    | UnknownBlock,
    Tagged(),
]
"""Any block allowed in a message."""

SystemBlock: TypeAlias = Annotated[TextBlock | GuardContentBlock | CachePointBlock | UnknownBlock, Tagged()]
"""Any block allowed in a system prompt."""


class Message(WireModel):
    """One turn of a conversation."""

    role: Role
    content: List[ContentBlock]

    @property
    def text(self) -> str:
        """The text of all text and citation blocks, joined."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock | CitationsBlock))
