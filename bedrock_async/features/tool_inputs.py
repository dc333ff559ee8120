"""The input of tools while it comes: the object so far, from the pieces of JSON that a stream brings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from ..events import ContentBlockDeltaEvent, ContentBlockStartEvent, ContentBlockStopEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialToolInput:
    """The input of one tool use so far.

    While it is ``"growing"``, texts grow with their pieces and other members show when they are complete; ``input`` is
    for display then. It is ``"complete"`` when its block has ended and holds a JSON object, ``"invalid"`` when it holds
    none: it was cut off. Whether a complete one may be run is for the whole answer to say
    (`ConverseResponse.broken_tool_uses`).
    """

    tool_use_id: str
    name: str
    index: int
    """The index of the block in the answer."""
    input: dict[str, Any]
    status: Literal["growing", "complete", "invalid"] = "growing"
    type: str | None = None
    """``"server_tool_use"`` for a tool that the service runs itself."""


class ToolInputs:
    """Follows the tool uses of a stream. Pure; what is not about one costs nothing but the call."""

    def __init__(self) -> None:
        self._use: PartialToolInput | None = None
        self._pieces: list[str] = []
        from .structured import PartialOutput

        self._begun = PartialOutput
        self._partial = PartialOutput()

    def add(self, step: object) -> PartialToolInput | None:
        """Take the next event; return the input so far where it says more of one, else None.

        Anything that is no event is passed over, so that steps of `run_tools` can be given as they come.
        """
        match step:
            case ContentBlockDeltaEvent(tool_input=str(piece)) if self._use is not None:
                return self._grown(self._use, piece)
            case ContentBlockStartEvent(start=start, content_block_index=index) if start and start.tool_use:
                use = start.tool_use
                self._pieces, self._partial = [], self._begun()
                self._use = PartialToolInput(
                    tool_use_id=use.tool_use_id or "", name=use.name or "", index=index or 0, input={}, type=use.type
                )
                return self._use
            case ContentBlockStopEvent() if self._use is not None:
                return self._ended(self._use)
            case _:
                return None

    def _grown(self, use: PartialToolInput, piece: str) -> PartialToolInput | None:
        self._pieces.append(piece)
        found = self._partial.feed(piece)
        if not isinstance(found, dict) or found == use.input:
            return None
        self._use = _with(use, cast("dict[str, Any]", found))
        return self._use

    def _ended(self, use: PartialToolInput) -> PartialToolInput:
        self._use = None
        text = "".join(self._pieces)
        if not text.strip():  # a tool without arguments: its stream has no piece of input
            return _with(use, {}, "complete")
        try:
            whole: object = json.loads(text)
        except (ValueError, RecursionError):
            whole = None
        if isinstance(whole, dict):
            return _with(use, cast("dict[str, Any]", whole), "complete")
        return _with(use, use.input, "invalid")


def _with(
    use: PartialToolInput, value: dict[str, Any], status: Literal["growing", "complete", "invalid"] = "growing"
) -> PartialToolInput:
    return PartialToolInput(
        tool_use_id=use.tool_use_id, name=use.name, index=use.index, input=value, status=status, type=use.type
    )
