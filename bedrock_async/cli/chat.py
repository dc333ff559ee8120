"""``bedrock-async chat``: a conversation on the terminal, or with lines from a pipe."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from ..errors import BedrockError, InvalidRequestError, NoCredentialsError
from ..features.settings import CallSettings
from ..model_id import parse_model_id
from .answer import OutputOptions, print_answer
from .console import show_error, show_note, terminal_safe
from .conversation import Conversation
from .loop import CommandLoop
from .target import Target, TargetOptions, open_target

__all__ = ["chat"]

_PROMPT: Final = "> "


def chat(target: TargetOptions, settings: CallSettings, output: OutputOptions, *, system: str | None = None) -> None:
    """Converse until the end of the input or ``/quit``.

    On a terminal, errors do not end the conversation, and Ctrl-C stops the current answer; at the prompt, Ctrl-C ends
    the command. With lines from a pipe, either ends the command at once. Raises BedrockError, and KeyboardInterrupt
    after Ctrl-C.
    """
    interactive = sys.stdin.isatty()
    with CommandLoop() as loop, loop.entered(open_target(target, settings)) as opened:
        session = _Session(loop, opened, Conversation(opened.model, system), output)
        if interactive:
            with suppress(ImportError):
                import_module("readline")  # adds line editing and a history to input()
            show_note(f"Chatting with {opened.model}. /help lists the commands, Ctrl-D leaves.")
        while (line := _read_line(interactive=interactive)) is not None:
            try:
                if not session.take(line):
                    return
            except BedrockError as exc:
                if not interactive or isinstance(exc, NoCredentialsError):
                    raise
                show_error(exc)
            except KeyboardInterrupt:
                if not interactive:
                    raise
                loop.rearm()
                show_note("(stopped; Ctrl-C at the prompt leaves)")


def _read_line(*, interactive: bool) -> str | None:
    """Return the next line of the input, or None at its end. Raises InvalidRequestError if it is not text."""
    try:
        if interactive and sys.stdout.isatty():
            return input(_PROMPT)
        if interactive and sys.stderr.isatty():
            sys.stderr.write(_PROMPT)
            sys.stderr.flush()
        return sys.stdin.readline() or None
    except EOFError:
        sys.stdout.write("\n")
        return None
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"the input is not {exc.encoding} text ({exc.reason}).") from exc


class _Session:
    """The current conversation: reads lines, asks the model, executes commands."""

    def __init__(self, loop: CommandLoop, target: Target, conversation: Conversation, output: OutputOptions) -> None:
        self.conversation = conversation
        self._loop = loop
        self._client = target.client
        self._output = output

    def take(self, line: str) -> bool:
        """Process a line; return whether the conversation continues. Raises BedrockError or KeyboardInterrupt."""
        text = line.strip()
        if text.startswith("/") and not text.startswith("//"):
            name, _, argument = text.partition(" ")
            command = _COMMANDS.get(name)
            if command is None:
                raise _no_command(name)
            return command.action(self, argument.strip())
        if text:
            self._ask(text.removeprefix("/") if text.startswith("//") else text)
        return True

    def _ask(self, text: str) -> None:
        conversation = self.conversation
        conversation.ask(text)
        try:
            messages, system = list(conversation.messages), conversation.system
            stream = self._client.stream(conversation.model, messages, system=system)
            try:
                reply = self._loop.run(print_answer(stream, self._output))
            except KeyboardInterrupt:
                # The partial answer becomes part of the conversation.
                conversation.answer(stream.response_so_far.message)
                raise
        except BedrockError:
            conversation.forget_question()
            raise
        if not conversation.answer(reply.message):
            show_note("(the answer is empty; the question is forgotten)")

    # The commands. Each takes the rest of the line, and returns whether the conversation continues.

    def help(self, argument: str) -> bool:
        for name, command in _COMMANDS.items():
            _say(f"{f'{name} {command.argument}':16}{command.help}")
        return True

    def reset(self, argument: str) -> bool:
        self.conversation.messages.clear()
        return True

    def system(self, argument: str) -> bool:
        if argument:
            self.conversation.system = None if argument == "off" else argument
        else:
            _say(self.conversation.system or "(no system prompt)")
        return True

    def model(self, argument: str) -> bool:
        if argument:
            self.conversation.model = parse_model_id(argument).raw
        else:
            _say(self.conversation.model)
        return True

    def history(self, argument: str) -> bool:
        for message in self.conversation.messages:
            _say(f"{message.role}: {message.text or '(no text)'}")
        return True

    def save(self, argument: str) -> bool:
        self.conversation.save(_path("/save", argument))
        show_note(f"(saved to {argument})")
        return True

    def load(self, argument: str) -> bool:
        self.conversation.load(_path("/load", argument))
        show_note(f"({len(self.conversation.messages)} messages loaded)")
        return True

    def quit(self, argument: str) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Command:
    """A command of the conversation, as shown by /help."""

    action: Callable[[_Session, str], bool]
    argument: str
    help: str


_COMMANDS: Final[Mapping[str, _Command]] = {
    "/help": _Command(_Session.help, "", "list the commands; a message that begins with a slash is written with two"),
    "/reset": _Command(_Session.reset, "", "forget what was said; model and system prompt stay"),
    "/system": _Command(_Session.system, "[TEXT]", "show or set the system prompt; `/system off` removes it"),
    "/model": _Command(_Session.model, "[ID]", "show or set the model"),
    "/history": _Command(_Session.history, "", "show what was said"),
    "/save": _Command(_Session.save, "FILE", "write the conversation to a new file, as JSON"),
    "/load": _Command(_Session.load, "FILE", "continue a saved conversation"),
    "/quit": _Command(_Session.quit, "", "leave; so does Ctrl-D"),
    "/exit": _Command(_Session.quit, "", "leave"),
}


def _no_command(name: str) -> InvalidRequestError:
    near = difflib.get_close_matches(name, _COMMANDS, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return InvalidRequestError(
        f"there is no command {name}.", hint=f"{meant}/help lists them; a message may begin with two slashes."
    )


def _path(command: str, argument: str) -> Path:
    if not argument:
        raise InvalidRequestError(f"{command} needs a file name.", hint=f"{command} conversation.json")
    return Path(argument).expanduser()


def _say(text: str) -> None:
    sys.stdout.write(f"{terminal_safe(text) if sys.stdout.isatty() else text}\n")
    sys.stdout.flush()
