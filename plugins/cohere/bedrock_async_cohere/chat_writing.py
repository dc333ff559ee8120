"""Command R's body, written from a Converse request: the last message, and the chat history before it."""

from __future__ import annotations

from typing import Any, Final

from bedrock_async.errors import InvalidRequestError
from bedrock_async.families import FamilyContext, document_text, tool_use_input, unsupported
from bedrock_async.types import (
    CitationsBlock,
    ContentBlock,
    ConverseRequest,
    DocumentBlock,
    JsonBlock,
    Message,
    SearchResultBlock,
    TextBlock,
    ToolResultBlock,
    ToolSpec,
    ToolUseBlock,
)

from .generate import sampling
from .schemas import write_tool

CHAT_FEATURES: Final = frozenset(
    {
        *("citations", "documents", "max_tokens", "search_results", "stop_sequences", "system", "temperature"),
        *("tools", "top_p"),
    }
)
"""What the body of Command R can express."""


def write_chat(request: ConverseRequest, ctx: FamilyContext) -> dict[str, Any]:
    """Return the body. Raises InvalidRequestError for what it cannot express."""
    writer = _Writer(ctx)
    body = writer.conversation(list(request.messages or ()))
    if system := [block.text for block in request.system or () if isinstance(block, TextBlock)]:
        body["preamble"] = "\n".join(system)
    if writer.documents:
        body["documents"] = writer.documents
    if request.tool_config is not None:
        body["tools"] = [
            write_tool(tool, model=ctx.base_model, path=f"tool_config.tools[{index}].input_schema")
            for index, tool in enumerate(request.tool_config.tools)
            if isinstance(tool, ToolSpec)
        ]
    return body | sampling(request.inference_config)


class _Writer:
    """Writes the turns of one request and collects its documents, which are a member of their own."""

    def __init__(self, ctx: FamilyContext) -> None:
        self.documents: list[dict[str, str]] = []
        self._model = ctx.base_model
        self._calls: dict[str, dict[str, Any]] = {}

    def conversation(self, messages: list[Message]) -> dict[str, Any]:
        """Return the members ``message``, ``chat_history`` and ``tool_results``.

        The body is that of Cohere's own chat API, version 1: its history has the roles CHATBOT, USER and TOOL, with
        calls and results in the turns they belong to.  [Cohere, "Chat API (v1)"; recorded api_version 1]
        """
        if messages and messages[-1].role == "assistant":
            path = f"messages[{len(messages) - 1}]"
            raise unsupported("a last message of the assistant", family="cohere", model=self._model, path=path)
        turns = [
            turn
            for index, message in enumerate(messages)
            for turn in self._turns(message, f"messages[{index}].content")
        ]
        last = turns.pop() if turns else {}
        if "message" in last and turns and turns[-1]["role"] == "TOOL":
            # "cannot specify message if the last entry in chat history contains tool results"  [litellm 1.109.1]
            path = f"messages[{len(messages) - 1}]"
            raise unsupported("text beside the results of tools", family="cohere", model=self._model, path=path)
        body: dict[str, Any] = {"chat_history": turns} if turns else {}
        body["message"] = last.get("message", "")
        if "tool_results" in last:
            body["tool_results"] = last["tool_results"]
        return body

    def _turns(self, message: Message, path: str) -> list[dict[str, Any]]:
        """Return the turns of one message: tool results are a turn of their own, before its text."""
        results: list[dict[str, Any]] = []
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(message.content):
            where = f"{path}[{index}]"
            match block:
                case TextBlock() | CitationsBlock():
                    texts.append(block.text)
                case DocumentBlock():
                    # A document may have any members: the model is shown all of them.
                    context = {} if block.context is None else {"context": block.context}
                    document = {"title": block.name, "snippet": self._document(block, where), **context}
                    self.documents.append(document)
                case SearchResultBlock():
                    snippet = "\n".join(part.text for part in block.content)
                    self.documents.append({"title": block.title, "snippet": snippet, "url": block.source})
                case ToolUseBlock():
                    parameters = tool_use_input(block, path=where)
                    self._calls[block.tool_use_id] = {"name": block.name, "parameters": parameters}
                    calls.append(self._calls[block.tool_use_id])
                case ToolResultBlock():
                    results.append(self._result(block, where))
                case _:
                    raise unsupported(block, family="cohere", model=self._model, path=where)
        turns: list[dict[str, Any]] = [{"role": "TOOL", "tool_results": results}] if results else []
        if texts or calls or not results:
            role = "CHATBOT" if message.role == "assistant" else "USER"
            # Several texts are paragraphs in a user message, and pieces of one text in an answer.
            said = "".join(texts) if message.role == "assistant" else "\n".join(texts)
            turns.append({"role": role, "message": said, **({"tool_calls": calls} if calls else {})})
        return turns

    def _document(self, block: DocumentBlock, path: str) -> str:
        text = document_text(block, path=path)
        if text is None:
            what = f"documents of the format {block.format}"
            raise unsupported(what, family="cohere", model=self._model, path=path)
        return text

    def _result(self, block: ToolResultBlock, path: str) -> dict[str, Any]:
        call = self._calls.get(block.tool_use_id)
        if call is None:
            raise InvalidRequestError(
                f"{path} is the result of a tool use that does not come before it.",
                path=path,
                hint="Keep the assistant message with that tool use in the history: Cohere's results repeat the call.",
            )
        outputs = [self._output(piece, f"{path}.content[{index}]") for index, piece in enumerate(block.content)]
        # A result has no member for its status, so its outputs tell the model.
        return {"call": call, "outputs": [{"error": True}, *outputs] if block.status == "error" else outputs}

    def _output(self, block: ContentBlock | JsonBlock, path: str) -> dict[str, Any]:
        match block:
            case TextBlock():
                return {"text": block.text}
            case JsonBlock(json_=dict() as members):
                return members
            case JsonBlock():
                return {"json": block.json_}
            case _:
                raise unsupported(block, family="cohere", model=self._model, path=path)
