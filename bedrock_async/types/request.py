"""The request of Converse and ConverseStream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import Field, FiniteFloat

from ._wire import JSON, Enum, List, WireModel, WireUnion
from .content import (
    AudioBlock,
    DocumentBlock,
    ImageBlock,
    Message,
    SystemBlock,
    TextBlock,
    ToolResultBlock,
    VideoBlock,
)
from .guardrail_config import GuardrailConfig
from .tools import ToolConfig


class InferenceConfig(WireModel):
    """The sampling parameters that all models share."""

    max_tokens: int | None = None
    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    stop_sequences: List[str] | None = None


class PromptVariable(WireUnion):
    """The value of a variable of a managed prompt."""

    text: str | None = None


class PerformanceConfig(WireModel):
    """``latency`` is ``standard`` or ``optimized``."""

    latency: Annotated[Literal["standard", "optimized"] | str, Enum] | None = None


class ServiceTier(WireModel):
    """The processing tier of the request, which determines priority and price."""

    type: Annotated[Literal["priority", "default", "flex", "reserved"] | str, Enum]


class JsonSchemaDefinition(WireModel):
    """A JSON Schema, as text, for the answer."""

    schema_: str = Field(alias="schema")
    name: str | None = None
    description: str | None = None


class OutputStructure(WireUnion):
    """The structure of the answer."""

    json_schema: JsonSchemaDefinition | None = None


class OutputFormat(WireModel):
    """The format of the answer; ``type`` is ``json_schema``."""

    type: Annotated[Literal["json_schema"] | str, Enum]
    structure: OutputStructure


class OutputConfig(WireModel):
    """The format of the answer, and the effort that the model should make."""

    text_format: OutputFormat | None = None
    effort: str | None = None


LARGE_BODY_BYTES: Final = 2 * 1024 * 1024
"""From this size on, bodies are encoded and hashed off the event loop, which they would block for some 4 ms."""

PromptVariables: TypeAlias = dict[str, PromptVariable]


class ConverseRequest(WireModel):
    """The members of a Converse or ConverseStream request.

    ``model_id`` is sent in the path, so `to_wire` omits it; `to_dict` returns boto3's keyword arguments, including it.
    A request from the constructor, `from_wire`, `from_dict` or ``client.prepare`` is sent unchanged.
    """

    not_in_body: ClassVar[set[str]] = {"model_id"}

    model_id: str | None = None
    messages: List[Message] | None = None
    system: List[SystemBlock] | None = None
    inference_config: InferenceConfig | None = None
    tool_config: ToolConfig | None = None
    guardrail_config: GuardrailConfig | None = None
    additional_model_request_fields: JSON | None = None
    prompt_variables: PromptVariables | None = None
    additional_model_response_field_paths: List[str] | None = None
    request_metadata: dict[str, str] | None = None
    performance_config: PerformanceConfig | None = None
    service_tier: ServiceTier | None = None
    output_config: OutputConfig | None = None

    @property
    def size_hint(self) -> int:
        """The approximate number of bytes of text and media in the messages, which dominate the size of a body."""
        size = 0
        for message in self.messages or ():
            for block in message.content:
                size += len(block.text) if type(block) is TextBlock else _size(block)
        return size

    @property
    def only_texts(self) -> bool:
        """Whether it has only texts and sampling parameters: no documents of the caller, no unknown members."""
        if not self.__pydantic_fields_set__ <= _OF_TEXTS or self.__pydantic_extra__:
            return False
        if self.inference_config is not None and self.inference_config.__pydantic_extra__:
            return False
        for message in self.messages or ():
            if message.__pydantic_extra__ or not _are_texts(message.content):
                return False
        return _are_texts(self.system or ())

    def to_wire_bytes(self) -> bytes:
        """Return `to_wire` as compact UTF-8 JSON; text with lone surrogates is escaped as ASCII JSON.

        A large body is encoded block by block, so that other threads need not wait for all of it.
        """
        if self.messages is None or self.size_hint < LARGE_BODY_BYTES:
            return super().to_wire_bytes()
        rest = self.wire_bytes_without("messages")
        messages = b",".join(map(_message_bytes, self.messages))
        return b'{"messages":[' + messages + b"]" + (b"," + rest[1:] if rest != b"{}" else b"}")

    @classmethod
    def from_wire(cls, wire: bytes | str | Mapping[str, object], *, model_id: str | None = None) -> Self:
        """Read the JSON body of a request; ``model_id`` is separate because it is sent in the path."""
        request = super().from_wire(wire)
        return request if model_id is None else request.model_copy(update={"model_id": model_id})


_OF_TEXTS: Final = frozenset({"model_id", "messages", "system", "inference_config"})


def _are_texts(blocks: Sequence[object]) -> bool:
    for block in blocks:  # noqa: SIM110 - a generator would double the cost for a simple request
        if type(block) is not TextBlock or block.__pydantic_extra__:
            return False
    return True


def _message_bytes(message: Message) -> bytes:
    rest = message.wire_bytes_without("content")
    content = b",".join(block.to_wire_bytes() for block in message.content)
    return b'{"content":[' + content + b"]" + (b"," + rest[1:] if rest != b"{}" else b"}")


def _size(block: object) -> int:
    match block:
        case TextBlock():
            return len(block.text)
        case ImageBlock() | VideoBlock() | AudioBlock() | DocumentBlock():
            return len(block.source.bytes or b"")
        case ToolResultBlock():
            return sum(map(_size, block.content or ()))
        case _:
            return 0
