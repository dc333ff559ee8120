"""The root of the error tree, below every other module so that each of them can raise inside the one tree.

The tree itself is drawn in `bedrock_async.errors`, which is where users import it from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .types import Attempt, ConverseResponse


class BedrockError(Exception):
    """Anything this library raises on purpose. Catching it catches every failure of a call.

    ``message`` says what happened, with numbers; ``hint`` says what to do next. Neither holds a secret
    or a prompt. ``retryable`` says whether the same call may succeed when it is made again.
    """

    retryable: bool = False
    attempts: tuple[Attempt, ...] = ()
    """Every attempt of the call that failed, the last one included; empty where nothing was sent."""
    rounds: tuple[ConverseResponse, ...] = ()
    """The answers of the model that came before, and were billed: of `parse` and `run_tools`, which ask more than
    once."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy without `__init__`, whose keywords differ from class to class."""
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        """Return the message, and the next step where there is one."""
        return with_hint(self.message, self.hint)


def _restored(kind: type[BedrockError], args: tuple[object, ...], members: dict[str, object]) -> BedrockError:
    error = kind.__new__(kind, *args)
    # A builtin beside BedrockError among the bases keeps the message in itself.
    super(BedrockError, error).__init__(*args)
    error.__dict__.update(members)
    return error


def with_hint(text: str, hint: str | None) -> str:
    """Return both as sentences."""
    if not hint:
        return text
    return f"{text} {hint}" if text.endswith((".", "!", "?")) else f"{text}. {hint}"


def a_kind(value: object) -> str:
    """Return the type of a value with its article, for messages: ``an int``, ``a dict``."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' or name.startswith('Un') else 'a'} {name}"


class InvalidRequestError(BedrockError, ValueError):
    """The call was refused before anything was sent; ``path`` names the member, e.g. ``messages[2].role``.

    Making an object of `bedrock_async.types` of what cannot be one, or changing one, raises it, too.
    """

    def __init__(self, message: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class StreamError(BedrockError):
    """A response stream cannot be read on; ``partial_response`` is the response folded so far, where there is one."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.partial_response: ConverseResponse | None = None
