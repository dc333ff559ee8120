"""Model members whose class is imported when their first value arrives."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema, to_json

from ._wire import BOTO3, WireModel, read_wire


class Later:
    """Marks a member whose values a class of another module validates, as if the member had that type.

    Importing a class takes some tenths of a millisecond, and building its validator as long again: dozens of classes
    that most programs never use are not loaded until the first value arrives.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name
        self._kind: type[WireModel] | None = None

    @property
    def loaded(self) -> bool:
        """Whether the class has been loaded."""
        return self._kind is not None

    @property
    def kind(self) -> type[WireModel]:
        """The class; the first access imports it and builds its validator."""
        if self._kind is None:
            kind = cast("type[WireModel]", getattr(import_module(self._module, __package__), self._name))
            kind.model_rebuild()
            self._kind = kind
        return self._kind

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a validator that delegates to the class."""
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of the class."""
        return handler(self.kind.__pydantic_core_schema__)

    def _read(self, value: object, info: ValidationInfo) -> WireModel:
        if info.mode == "json":
            return read_wire(self.kind, to_json(value, inf_nan_mode="constants"))
        if info.context is BOTO3:
            return self.kind.model_validate(value, by_alias=True, by_name=False, context=BOTO3)
        return self.kind.model_validate(value)
