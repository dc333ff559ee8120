"""Tool definitions, and the model's choice among them."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from ._wire import JSON, List, NestedBlock, Tagged, UnknownBlock, WireModel, WireUnion
from .content import CachePointBlock


class ToolInputSchema(WireUnion):
    """The JSON Schema of a tool's input."""

    json_: JSON = Field(default=None, alias="json")


class ToolSpec(NestedBlock):
    """A tool that the caller runs. With ``strict``, the service makes the model follow the schema."""

    tag: ClassVar[str] = "toolSpec"
    name: str
    input_schema: ToolInputSchema
    description: str | None = None
    strict: bool | None = None


class SystemTool(NestedBlock):
    """A tool that the service runs itself (``nova_grounding``, ``nova_code_interpreter``)."""

    tag: ClassVar[str] = "systemTool"
    name: str


ToolDefinition: TypeAlias = Annotated[ToolSpec | SystemTool | CachePointBlock | UnknownBlock, Tagged()]
"""Any block allowed in the list of tools."""


class AutoToolChoice(WireModel):
    """The model decides whether to use a tool."""


class AnyToolChoice(WireModel):
    """The model must use a tool, of its own choice."""


class SpecificToolChoice(WireModel):
    """The model must use this tool."""

    name: str


class ToolChoice(WireUnion):
    """How the model chooses among tools."""

    auto: AutoToolChoice | None = None
    any: AnyToolChoice | None = None
    tool: SpecificToolChoice | None = None


class ToolConfig(WireModel):
    """The tools of a request."""

    tools: List[ToolDefinition]
    tool_choice: ToolChoice | None = None
