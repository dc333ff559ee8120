"""R1's completions: one prompt in the model's own template, and an answer that begins with its reasoning.

[Bedrock user guide, "DeepSeek models"; the chat template published with DeepSeek-R1]
"""

from __future__ import annotations

from typing import Any, Final

from bedrock_async import Event
from bedrock_async.families import EventBuilder, FamilyContext, NativeObject, stop_reason, unsupported
from bedrock_async.families.chat_form import TagSplitter
from bedrock_async.types import ConverseRequest, Message, ReasoningBlock, TextBlock

COMPLETION_FEATURES: Final = frozenset({"max_tokens", "reasoning", "stop_sequences", "system", "temperature", "top_p"})
"""What a completion can express."""

# The bars and underscores in these tokens are not ASCII.
_BEGIN: Final = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
_END: Final = "<\uff5cend\u2581of\u2581sentence\uff5c>"
_USER: Final = "<\uff5cUser\uff5c>"
_ASSISTANT: Final = "<\uff5cAssistant\uff5c>"
_THINK: Final = "<think>"
_THOUGHT: Final = "</think>"


def write_completion(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body: the system prompt, the turns, and the beginning of an answer with reasoning.

    Raises InvalidRequestError for a last message of the assistant, and for redacted reasoning.
    """
    messages = request.messages or ()
    if messages and messages[-1].role == "assistant":
        # The prompt would end within the answer, where reasoning cannot be told from text.
        what, path = "a last message of the assistant", f"messages[{len(messages) - 1}]"
        raise unsupported(what, family="deepseek", model=ctx.base_model, path=path)
    system = "\n".join(block.text for block in request.system or () if isinstance(block, TextBlock))
    turns = "".join(_turn(message, f"messages[{index}]", ctx) for index, message in enumerate(messages))
    body: dict[str, Any] = {"prompt": f"{_BEGIN}{system}{turns}{_ASSISTANT}{_THINK}\n"}
    if (inference := request.inference_config) is not None:
        members = {
            "max_tokens": inference.max_tokens,
            "temperature": inference.temperature,
            "top_p": inference.top_p,
            "stop": list(inference.stop_sequences) if inference.stop_sequences else None,
        }
        body |= {name: value for name, value in members.items() if value is not None}
    return body


def _turn(message: Message, path: str, ctx: FamilyContext) -> str:
    if message.role != "assistant":
        return f"{_USER}{message.text}"
    reasoning = ""
    for index, block in enumerate(message.content):
        if isinstance(block, ReasoningBlock):
            if block.redacted_content is not None:
                what, where = "redacted reasoning", f"{path}.content[{index}]"
                raise unsupported(what, family="deepseek", model=ctx.base_model, path=where)
            reasoning += block.text
    thought = f"{_THINK}\n{reasoning}{_THOUGHT}" if reasoning else ""
    return f"{_ASSISTANT}{thought}{message.text}{_END}"


class CompletionDecoder:
    """Makes events from chunks, or from a whole answer as the only chunk.

    The prompt opens the reasoning, so an answer begins inside it; an answer that repeats the opening tag is read alike.
    """

    def __init__(self) -> None:
        self.events = EventBuilder()
        self._splitter = TagSplitter((_THINK, _THOUGHT))
        self._head: str | None = ""

    def receive(self, chunk: NativeObject) -> list[Event]:
        """Return the events of one chunk."""
        self.read(chunk)
        return self.events.take()

    def eof(self) -> list[Event]:
        """Return the last events. Raises StreamTruncatedError if no stop reason has arrived."""
        self.flush()
        return self.events.finish()

    def read(self, native: NativeObject) -> None:
        """Read a chunk, or a whole answer, into the builder."""
        for choice in native["choices"]:
            if choice.get("index", 0) == 0:  # only the caller's additional fields can ask for more
                self.events.start()
                self._add(choice["text"])
                self.events.stop(stop_reason(choice.get("stop_reason")))

    def flush(self) -> None:
        """Pass on the text held back: nothing follows that could complete a tag."""
        self._begin()
        self._splitter.flush(self.events)

    def _add(self, text: str) -> None:
        if self._head is None:
            self._splitter.add(text, self.events)
            return
        self._head += text
        if len(self._head) >= len(_THINK) or not _THINK.startswith(self._head):
            self._begin()

    def _begin(self) -> None:
        head, self._head = self._head, None
        if head:
            self._splitter.add(head if head.startswith(_THINK) else _THINK + head, self.events)
