"""`bedrock-async chat`: a conversation through a pipe and on a terminal."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commandline import COMMAND, CREDENTIALS, MODEL, run, serving
from typer.testing import Result

from bedrock_async.errors import service_error
from bedrock_async.testing import ReceivedRequest, Script, ScriptedModel, text_events
from bedrock_async.types import JSONValue


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials and a region in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def turns(request: ReceivedRequest) -> list[str]:
    """Return the texts of the conversation in a request."""
    body = request.json()
    assert isinstance(body, dict)
    messages = body["messages"]
    assert isinstance(messages, list)
    texts: list[str] = []
    for message in messages:
        match message:
            case {"role": str(role), "content": [{"text": str(text)}]}:
                texts.append(f"{role}: {text}")
            case _:
                raise AssertionError(message)
    return texts


def echo(request: ReceivedRequest) -> Script:
    """Answer with the question, in capitals."""
    return text_events(turns(request)[-1].removeprefix("user: ").upper())


def converse(lines: str, *options: str, model: ScriptedModel | None = None) -> tuple[Result, list[ReceivedRequest]]:
    """Run a conversation with these lines on stdin; return what came out, and what the model was sent."""
    with serving(model or ScriptedModel(echo)) as (emulator, _):
        result = run("chat", "--model", MODEL, "--endpoint-url", emulator.url, *options, input=lines)
        return result, list(emulator.requests)


def test_each_line_is_a_turn_of_one_conversation() -> None:
    """Answers go to stdout, a line each; every request carries what was said before."""
    result, requests = converse("one\n\ntwo\n", "--system", "Be brief.")
    assert (result.stdout, result.stderr, result.exit_code) == ("ONE\nTWO\n", "", 0)
    assert [turns(request) for request in requests] == [
        ["user: one"],
        ["user: one", "assistant: ONE", "user: two"],
    ]
    assert all(system(request) == [{"text": "Be brief."}] for request in requests)


def system(request: ReceivedRequest) -> JSONValue:
    """Return the system prompt in a request."""
    body = request.json()
    assert isinstance(body, dict)
    return body.get("system")


def test_reset_forgets_what_was_said() -> None:
    """After /reset the next question is the first one."""
    _, requests = converse("one\n/reset\ntwo\n")
    assert turns(requests[1]) == ["user: two"]


def test_system_and_model_are_shown_and_set() -> None:
    """/system and /model change what the next request says; without an argument they tell."""
    commands = "/system\n/system Rhyme.\n/system\nHi\n/system off\nHo\n/model\n/model eu.amazon.nova-pro-v1:0\nHa\n"
    result, requests = converse(commands)
    assert result.stdout == f"(no system prompt)\nRhyme.\nHI\nHO\n{MODEL}\nHA\n"
    assert [system(request) for request in requests] == [[{"text": "Rhyme."}], None, None]
    assert [request.model_id for request in requests] == [MODEL, MODEL, "eu.amazon.nova-pro-v1:0"]


def test_history_shows_both_sides() -> None:
    """/history lists what was said."""
    result, _ = converse("one\n/history\n")
    assert result.stdout == "ONE\nuser: one\nassistant: ONE\n"


def test_a_saved_conversation_can_be_continued(tmp_path: Path) -> None:
    """/save writes JSON with the messages as they travel; /load goes on from there, in another process even."""
    file = tmp_path / "talk.json"
    converse(f"one é\n/save {file}\n", "--system", "Be brief.")
    assert json.loads(file.read_text("utf-8")) == {
        "model": MODEL,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": [{"text": "one é"}]},
            {"role": "assistant", "content": [{"text": "ONE É"}]},
        ],
    }
    _, requests = converse(f"/load {file}\ntwo\n")
    assert turns(requests[0]) == ["user: one é", "assistant: ONE É", "user: two"]
    assert system(requests[0]) == [{"text": "Be brief."}]


def test_saving_replaces_no_file(tmp_path: Path) -> None:
    """A file that is there is kept."""
    file = tmp_path / "talk.json"
    file.write_text("precious")
    result, _ = converse(f"/save {file}\n")
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[]", "is not a conversation"),
        ('{"messages": []}', "is not a conversation: model"),
        ('{"model": "m", "messages": [{"role": "user", "content": 5}]}', "is not a conversation: Message: content"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_conversation_is_not_loaded(tmp_path: Path, content: str | None, said: str) -> None:
    """The error names the file and what is wrong with it."""
    file = tmp_path / "talk.json"
    if content is not None:
        file.write_text(content)
    result, _ = converse(f"/load {file}\n")
    assert result.exit_code == 1
    assert f"{file} {said}" in result.stderr


def test_quit_leaves_the_rest_unasked() -> None:
    """/quit ends the conversation with status 0."""
    result, requests = converse("one\n/quit\ntwo\n")
    assert (result.stdout, result.exit_code, len(requests)) == ("ONE\n", 0, 1)


def test_an_unknown_command_is_not_sent_to_the_model() -> None:
    """A misspelt command names the nearest one; two slashes begin a message with a slash."""
    result, requests = converse("/rest\n")
    assert (result.exit_code, requests) == (1, [])
    assert result.stderr.startswith("error: there is no command /rest.\nhint: Did you mean /reset?")
    result, requests = converse("//etc/passwd\n")
    assert turns(requests[0]) == ["user: /etc/passwd"]


def test_help_lists_every_command() -> None:
    """/help names the commands."""
    result, _ = converse("/help\n")
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["/help", "/reset", "/system", "/model", "/history", "/save", "/load", "/quit", "/exit"]


def test_json_and_usage_work_in_a_conversation() -> None:
    """The output options of `ask` hold for every answer."""
    result, _ = converse("one\ntwo\n", "--json", "--usage")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [*text_events("ONE"), *text_events("TWO")]
    assert result.stderr.count("tokens: 8 in") == 2


def test_an_error_ends_a_conversation_from_a_pipe() -> None:
    """A script does not go on after a failure: status 1, and nothing more is asked."""
    model = ScriptedModel([service_error("AccessDeniedException", "No.")])
    result, requests = converse("one\ntwo\n", model=model)
    assert (result.exit_code, len(requests)) == (1, 1)
    assert "AccessDeniedException" in result.stderr


def test_an_empty_answer_is_not_kept() -> None:
    """The service takes no empty message in a history: the question is dropped with the answer."""
    events = text_events("")
    model = ScriptedModel.in_turn([events[0], *events[-2:]], text_events("ok"))
    _, requests = converse("one\ntwo\n", model=model)
    assert turns(requests[1]) == ["user: two"]


# On a terminal.

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")


class Terminal:
    """The master's side of a pseudo-terminal that a command runs on."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a read may end inside a character
        self._seen = ""

    def type(self, text: str) -> None:
        """Press the keys."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Return what was shown up to and with ``text``, and forget it; waits for it to appear."""
        while text not in self._seen:
            self._seen += self._decode(os.read(self._master, 4096))
        shown, _, self._seen = self._seen.partition(text)
        return shown + text


# The terminal on stdin becomes the process's own, so that Ctrl-C there is a SIGINT here.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def on_a_terminal(*arguments: str) -> Generator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """Run a command on a terminal of its own."""
    master, slave = os.openpty()
    try:
        # Without a type the terminal gets no colours and no bracketed paste: what is shown is what was written.
        environ = {**os.environ, "TERM": "dumb"}
        command = [sys.executable, "-c", _TAKE_TERMINAL, *COMMAND, *arguments]
        process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)
        try:
            yield Terminal(master), process
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(master)


@on_posix
def test_ctrl_c_on_a_terminal_stops_the_answer_and_then_leaves() -> None:
    """The first Ctrl-C ends the answer and keeps what was said; one at the prompt ends the command with 130."""
    never = asyncio.Event()

    def script(request: ReceivedRequest) -> Script:
        asked = turns(request)
        return [*text_events("half an answer")[:2], never] if len(asked) == 1 else text_events(" | ".join(asked))

    with (
        serving(ScriptedModel(script)) as (emulator, portal),
        on_a_terminal("chat", "--model", MODEL, "--endpoint-url", emulator.url) as (terminal, process),
    ):
        assert "/help lists the commands" in terminal.wait_for("> ")
        terminal.type("Hi\n")
        terminal.wait_for("half")
        terminal.type("\x03")
        terminal.wait_for("(stopped")
        portal.call(emulator.requests[0].wait_connection_closed)
        terminal.wait_for("> ")
        terminal.type("Go on\n")
        assert "user: Hi | assistant: half | user: Go on" in terminal.wait_for("> ")
        # readline misses a signal in the moment between showing the prompt and waiting for keys: press it again, then.
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired, OSError):  # the terminal goes with the process
                terminal.type("\x03")
                process.wait(0.5)
        assert process.returncode == 130


@on_posix
def test_a_terminal_shows_errors_and_goes_on() -> None:
    """A failure does not end a conversation on a terminal; control characters of a model are shown, not obeyed."""
    model = ScriptedModel.in_turn([service_error("AccessDeniedException", "No.")], text_events("\x1b[2Jclean"))
    with (
        serving(model) as (emulator, _),
        on_a_terminal("chat", "--model", MODEL, "--endpoint-url", emulator.url) as (terminal, process),
    ):
        terminal.wait_for("> ")
        terminal.type("Hi\n")
        assert "error: AccessDeniedException" in terminal.wait_for("> ")
        terminal.type("Again\n")
        assert "\u241b[2Jclean" in terminal.wait_for("> ")
        assert [turns(request) for request in emulator.requests] == [["user: Hi"], ["user: Again"]]
        terminal.type("\x04")
        assert process.wait() == 0
