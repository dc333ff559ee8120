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
    """How urgently the service treats the request, and at which price."""

    type: Annotated[Literal["priority", "default", "flex", "reserved"] | str, Enum]


class JsonSchemaDefinition(WireModel):
    """A JSON Schema, as text, that the answer must follow."""

    schema_: str = Field(alias="schema")
    name: str | None = None
    description: str | None = None


class OutputStructure(WireUnion):
    """How the answer is structured."""

    json_schema: JsonSchemaDefinition | None = None


class OutputFormat(WireModel):
    """The format of the answer; ``type`` is ``json_schema``."""

    type: Annotated[Literal["json_schema"] | str, Enum]
    structure: OutputStructure


class OutputConfig(WireModel):
    """The format of the answer, and how much effort the model shall make."""

    text_format: OutputFormat | None = None
    effort: str | None = None


LARGE_BODY_BYTES: Final = 2 * 1024 * 1024
"""From here on a body is made and hashed beside the event loop: it would take some 4 ms of it."""

PromptVariables: TypeAlias = dict[str, PromptVariable]


class ConverseRequest(WireModel):
    """Everything one Converse or ConverseStream call sends.

    ``model_id`` travels in the path, so `to_wire` leaves it out; `to_dict` is boto3's keyword arguments and has it.
    A request built by hand, by `from_wire`, `from_dict` or ``client.prepare`` is sent as it is.
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
        """Bytes of text and media in the messages, roughly: what makes a body large."""
        size = 0
        for message in self.messages or ():
            for block in message.content:
                size += len(block.text) if type(block) is TextBlock else _size(block)
        return size

    @property
    def only_texts(self) -> bool:
        """Whether it holds texts and sampling parameters only: no document of the caller's, and nothing unknown."""
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

        A large body is made block by block, so that another thread need not wait for the whole of it.
        """
        if self.messages is None or self.size_hint < LARGE_BODY_BYTES:
            return super().to_wire_bytes()
        rest = self.wire_bytes_without("messages")
        messages = b",".join(map(_message_bytes, self.messages))
        return b'{"messages":[' + messages + b"]" + (b"," + rest[1:] if rest != b"{}" else b"}")

    @classmethod
    def from_wire(cls, wire: bytes | str | Mapping[str, object], *, model_id: str | None = None) -> Self:
        """Read the JSON body of a request; the model id stands in the path, so it is an argument of its own."""
        request = super().from_wire(wire)
        return request if model_id is None else request.model_copy(update={"model_id": model_id})


_OF_TEXTS: Final = frozenset({"model_id", "messages", "system", "inference_config"})


def _are_texts(blocks: Sequence[object]) -> bool:
    for block in blocks:  # noqa: SIM110 - a generator would double what a plain question costs here
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
