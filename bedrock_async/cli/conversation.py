"""The state of `chat`: the messages so far, the model, the system prompt, and the file to save them in."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ..errors import InvalidRequestError
from ..features.settings import invalid_request
from ..types import Message, TextBlock

__all__ = ["Conversation"]


class _Saved(BaseModel):
    """The saved file of a conversation, with messages in their wire format."""

    model: str
    system: str | None = None
    messages: list[dict[str, object]]


class Conversation:
    """A conversation with ``model`` under the system prompt ``system``, if any; ``messages`` are ready to send."""

    def __init__(self, model: str, system: str | None = None) -> None:
        self.model = model
        self.system = system
        self.messages: list[Message] = []

    def ask(self, text: str) -> None:
        """Append a question."""
        self.messages.append(Message(role="user", content=[TextBlock(text=text)]))

    def answer(self, message: Message) -> bool:
        """Append the answer; return whether it has content.

        An answer without content is dropped together with its question, because the service rejects it in a history.
        """
        if message.content:
            self.messages.append(message)
        else:
            self.forget_question()
        return bool(message.content)

    def forget_question(self) -> None:
        """Drop the last question if it has no answer."""
        if self.messages and self.messages[-1].role == "user":
            self.messages.pop()

    def save(self, path: Path) -> None:
        """Write the conversation to a new file, as JSON.

        Raises InvalidRequestError when the file exists or cannot be written.
        """
        messages: list[dict[str, object]] = [{**message.to_wire()} for message in self.messages]
        saved = _Saved(model=self.model, system=self.system, messages=messages)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(f"{json.dumps(saved.model_dump(), indent=2)}\n")
        except FileExistsError as exc:
            raise InvalidRequestError(f"{path} already exists.", hint="Choose another name.") from exc
        except OSError as exc:
            raise InvalidRequestError(f"{path} cannot be written: {exc.strerror}.") from exc

    def load(self, path: Path) -> None:
        """Replace messages and system prompt by saved ones; the model is kept.

        Raises InvalidRequestError, and changes nothing, when the file cannot be read.
        """
        hint = "A conversation is a JSON file as /save writes it."
        try:
            saved = _Saved.model_validate(json.loads(path.read_text("utf-8")))
            messages = [Message.from_wire(message) for message in saved.messages]
        except OSError as exc:
            raise InvalidRequestError(f"{path} cannot be read: {exc.strerror}.") from exc
        except ValidationError as exc:  # a ValueError, like the other two
            raise InvalidRequestError(
                f"{path} is not a conversation: {invalid_request(exc).message}", hint=hint
            ) from exc
        except InvalidRequestError as exc:
            raise InvalidRequestError(f"{path} is not a conversation: {exc.message}", hint=hint) from exc
        except (ValueError, RecursionError) as exc:
            raise InvalidRequestError(f"{path} is not JSON ({exc}).", hint=hint) from exc
        self.messages, self.system = messages, saved.system
