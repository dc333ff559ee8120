"""`bedrock-async`: the frame around the commands, `ask`, and what a broken environment looks like."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import COMMAND, CREDENTIALS, MODEL, install, put_on_path, run, serving, spawn

import bedrock_async
from bedrock_async import ThrottlingError
from bedrock_async.cli.console import terminal_safe
from bedrock_async.errors import service_error
from bedrock_async.testing import (
    BedrockEmulator,
    HttpAnswer,
    ReceivedRequest,
    ScriptedModel,
    Step,
    WireEvent,
    text_events,
)

LOCAL_GROUP = "bedrock_async.emulator_models"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials and a region in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


# The answer.


@pytest.mark.usefixtures("credentials")
def test_an_answer_on_a_pipe_is_its_text_and_nothing_else() -> None:
    """stdout has the model's text, markup and control characters untouched, and one line end; stderr has nothing."""
    text = "[bold]five[/bold] :smile: \x1b[31mred\x1b[0m a very long line " + "x" * 300
    with serving(ScriptedModel.text(text)) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, "How many?")
    assert result.stdout == f"{text}\n"
    assert result.stderr == ""
    assert result.exit_code == 0


@pytest.mark.usefixtures("credentials")
def test_a_line_end_of_the_model_is_not_doubled() -> None:
    """Text that ends its last line is printed as it is."""
    with serving(ScriptedModel.text("one\ntwo\n")) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, "Count.")
    assert result.stdout == "one\ntwo\n"


@pytest.mark.usefixtures("credentials")
def test_options_reach_the_service() -> None:
    """Model, question, system prompt and inference settings are those of the command line."""
    with serving(ScriptedModel.text("ok")) as (emulator, _):
        options = ["--max-tokens", "7", "--temperature", "0.5", "--top-p", "0.9", "--stop", "END", "--stop", "STOP"]
        run("ask", "-m", MODEL, "-s", "Be brief.", *options, "--endpoint-url", emulator.url, "Why?")
        request = emulator.requests[0]
    assert request.operation == "ConverseStream"
    assert request.model_id == MODEL
    assert request.json() == {
        "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END", "STOP"]},
    }


@pytest.mark.usefixtures("credentials")
def test_without_streaming_the_answer_comes_from_converse() -> None:
    """`--no-stream` asks Converse and prints the same text."""
    with serving(ScriptedModel.text("hello world")) as (emulator, _):
        result = run("ask", "--no-stream", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
        assert [request.operation for request in emulator.requests] == ["Converse"]
    assert result.stdout == "hello world\n"


@pytest.mark.usefixtures("credentials")
def test_json_prints_every_event_as_a_line() -> None:
    """`--json` prints what `to_wire` returns for each event, in order and without padding."""
    events: list[WireEvent] = [*text_events("héllo \ud800world")[:-1], {"newEvent": {"a": 1}}, text_events("x")[-1]]
    with serving(ScriptedModel(events)) as (emulator, _):
        result = run("ask", "--json", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
    assert [json.loads(line) for line in result.stdout.splitlines()] == events


@pytest.mark.usefixtures("credentials")
def test_usage_is_told_on_stderr() -> None:
    """`--usage` tells tokens, times and the stop reason, and leaves stdout alone."""
    with serving(ScriptedModel.text("hello world")) as (emulator, _):
        result = run("ask", "--usage", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
    assert result.stdout == "hello world\n"
    assert result.stderr.startswith("tokens: 8 in, 2 out, 10 in all; first text after ")
    assert result.stderr.endswith("the service's own latency 120 ms; stop reason end_turn\n")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_the_question_comes_from_stdin(arguments: tuple[str, ...]) -> None:
    """Without a question, or with a dash, the whole of stdin is asked."""
    with serving(ScriptedModel(lambda request: text_events(question_of(request)))) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, *arguments, input="two\nlines é\n")
    assert result.stdout == "two\nlines é\n"


def question_of(request: ReceivedRequest) -> str:
    """Return the text of the last message."""
    body = request.json()
    match body:
        case {"messages": [*_, {"content": [{"text": str(text)}]}]}:
            return text
        case _:
            raise AssertionError(body)


@pytest.mark.usefixtures("credentials")
def test_the_model_can_be_set_in_the_environment() -> None:
    """BEDROCK_ASYNC_MODEL is asked where no --model is given."""
    with serving(ScriptedModel.text("ok")) as (emulator, _):
        run("ask", "--endpoint-url", emulator.url, "Hi", env={"BEDROCK_ASYNC_MODEL": MODEL})
        assert emulator.requests[0].model_id == MODEL


# Failures.


@pytest.mark.usefixtures("credentials")
def test_an_error_of_the_service_is_two_lines_and_status_1() -> None:
    """What the service said goes to stderr, without a traceback; --debug adds that."""
    refusal = service_error("AccessDeniedException", "You may \x1b[31mnot.")
    with serving(ScriptedModel([refusal])) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
        debugged = run("ask", "--debug", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
    assert result.exit_code == debugged.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: AccessDeniedException, HTTP 403: You may \u241b[31mnot.")
    assert "Traceback" not in result.stderr
    assert "Traceback" in debugged.stderr


@pytest.mark.usefixtures("credentials")
def test_an_answer_that_breaks_off_is_shown_until_there() -> None:
    """The text that had arrived is on stdout, its line ended; the error is on stderr."""
    broken: list[Step] = [*text_events("hello world")[:2], service_error("ThrottlingException", "Too many tokens")]
    with serving(ScriptedModel(broken)) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
    assert result.stdout == "hello\n"
    assert result.stderr.startswith("error: ThrottlingException, in the stream: Too many tokens")
    assert result.exit_code == 1
    assert ThrottlingError.__name__ not in result.stderr


@pytest.mark.usefixtures("credentials")
def test_a_gateway_page_is_an_error_of_ours() -> None:
    """An HTML page in the place of an answer is status 1 and no traceback."""
    with serving(ScriptedModel([HttpAnswer.html(403, "Forbidden")])) as (emulator, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("model", [("--model", MODEL), ()])
@pytest.mark.parametrize("command", [("ask", "Hi"), ("chat",)])
def test_without_credentials_both_ways_forward_are_told(command: tuple[str, ...], model: tuple[str, ...]) -> None:
    """Without an account the error names AWS credentials, API keys and --local, whether or not a model is named."""
    result = run(*command, *model, input="Hi\n")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    for way in ("aws configure", "AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK", "--local", "pip install"):
        assert way in result.stderr


@pytest.mark.usefixtures("credentials")
def test_without_a_model_the_error_shows_one() -> None:
    """With credentials and no model, the next step is an id to copy or the variable to set."""
    result = run("ask", "Hi")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no model was given.")
    assert "--model us." in result.stderr
    assert "BEDROCK_ASYNC_MODEL" in result.stderr


def test_a_missing_profile_is_named() -> None:
    """A profile that is in no file ends in status 1 and its name."""
    result = run("ask", "--profile", "nobody", "--model", MODEL, "--region", "us-east-1", "Hi")
    assert result.exit_code == 1
    assert "'nobody'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask", ""), "empty"),
        (("ask", "--max-tokens", "0", "Hi"), "max-tokens"),
        (("ask", "--local", "--profile", "dev", "Hi"), "--profile"),
        (("chat", "--local", "--endpoint-url", "http://localhost"), "--endpoint-url"),
        (("ask", "--colour", "Hi"), "--colour"),
        (("serve", "--port", "70000"), "port"),
        (("serve", "--model", "local", "--text", "Hi"), "--text"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...], said: str) -> None:
    """Usage errors say what is wrong, on stderr."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr


def test_a_question_that_is_no_text_is_wrong_usage() -> None:
    """Bytes that are no UTF-8 are refused before anything is sent."""
    result = run("ask", "--model", MODEL, input=b"\xff\xfe\x00")
    assert result.exit_code == 2
    assert "utf-8" in result.stderr


# --local.


def local_plugin(folder: Path, module: str, body: str) -> None:
    """Install a plugin whose model `Local` is defined by ``body``."""
    source = f"from bedrock_async.testing import ScriptedModel\nfrom bedrock_async.errors import PluginError\n{body}"
    install(
        folder,
        "bedrock-async-local",
        modules={module: source},
        entry_points={LOCAL_GROUP: [f"local = {module}:Local"]},
    )


def test_local_asks_the_plugins_model_through_the_wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--local` starts the plugin's model behind the emulator and asks it, past any proxy and without credentials."""
    body = (
        "class Local(ScriptedModel):\n"
        "    def __init__(self):\n"
        "        super().__init__(lambda request: [], model_ids=['local.fake-v1:0'])\n"
        "    async def start(self):\n"
        "        self._script = ScriptedModel.text('hello from here')._script\n"
    )
    local_plugin(tmp_path, "local_that_works", body)
    put_on_path(monkeypatch, tmp_path)
    result = run("ask", "--local", "Hi", env={"HTTP_PROXY": "http://127.0.0.1:9", "BEDROCK_ASYNC_MODEL": MODEL})
    assert (result.stdout, result.stderr, result.exit_code) == ("hello from here\n", "", 0)


def test_a_local_model_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error and next step are shown, not what the emulator makes of them."""
    body = (
        "class Local(ScriptedModel):\n"
        "    def __init__(self):\n"
        "        super().__init__([], model_ids=['local.fake-v1:0'])\n"
        "    async def start(self):\n"
        "        raise PluginError('no weights.', hint='Fetch them.')\n"
    )
    local_plugin(tmp_path, "local_without_weights", body)
    put_on_path(monkeypatch, tmp_path)
    result = run("ask", "--local", "Hi")
    assert (result.stderr, result.exit_code) == ("error: no weights.\nhint: Fetch them.\n", 1)


def test_without_the_plugin_local_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command to run is the hint."""
    install(tmp_path, "bedrock-async-local")
    put_on_path(monkeypatch, tmp_path)
    result = run("ask", "--local", "Hi")
    assert result.exit_code == 1
    assert result.stderr.endswith("hint: pip install bedrock-async-local\n")


# The process.


def test_the_version() -> None:
    """`--version` prints it."""
    result = run("--version")
    assert result.stdout == f"bedrock-async {bedrock_async.__version__}\n"
    assert result.exit_code == 0


def test_help_imports_nothing_heavy() -> None:
    """`--help` loads neither the client nor an HTTP library, so that it is there at once."""
    program = (
        "import sys\n"
        "from bedrock_async.cli import main\n"
        "sys.argv = ['bedrock-async', 'ask', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "--temperature" in done.stdout
    # pydantic is not listed: recent versions of typer read their own options with it.
    heavy = {"aiohttp", "anyio", "asyncio", "botocore", "bedrock_async.client", "bedrock_async.testing"}
    assert heavy.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_told_with_its_command(missing: str) -> None:
    """Without typer or rich the command says which, and what installs them."""
    program = f"import sys; sys.modules[{missing!r}] = None; from bedrock_async.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f'error: the command line needs {missing}, which is not installed.\nhint: pip install "bedrock-async[cli]"\n'
    )


def test_the_installed_command_is_this_one() -> None:
    """The console script beside the interpreter runs."""
    script = Path(sys.executable).with_name("bedrock-async.exe" if os.name == "nt" else "bedrock-async")
    done = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"bedrock-async {bedrock_async.__version__}\n"


def test_the_package_runs_as_the_command() -> None:
    """`python -m bedrock_async` does what the console script does, where that is not on the path."""
    command = [sys.executable, "-m", "bedrock_async", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"bedrock-async {bedrock_async.__version__}\n"


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """A look-up or helper program that never answers is left behind when the command has ended."""
    program = (
        "import sys, threading\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "from bedrock_async.cli import main\n"
        "sys.argv = ['bedrock-async', '--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == f"bedrock-async {bedrock_async.__version__}\n"


@pytest.mark.usefixtures("credentials")
def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    """`bedrock-async ask ... | head -1` leaves no traceback."""
    more = asyncio.Event()
    events = text_events("hello world")
    with serving(ScriptedModel([*events[:2], more, *events[2:]])) as (emulator, portal):
        process = spawn("ask", "--model", MODEL, "--endpoint-url", emulator.url, "Hi")
        assert process.stdout is not None
        assert process.stdout.read(5) == b"hello"
        process.stdout.close()
        portal.call(more.set)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 1


@pytest.mark.usefixtures("credentials")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
@pytest.mark.parametrize("command", [("ask", "Hi"), ("chat",)])
async def test_ctrl_c_closes_the_stream_and_is_status_130(command: tuple[str, ...]) -> None:
    """Ctrl-C closes the connection while the model is still at it; further ones change nothing."""
    never = asyncio.Event()
    async with BedrockEmulator([ScriptedModel([*text_events("hello world")[:2], never])]) as emulator:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, *command, "--model", MODEL, "--endpoint-url", emulator.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Hi\n")
        assert await process.stdout.readexactly(5) == b"hello"
        process.send_signal(signal.SIGINT)
        await emulator.requests[0].wait_connection_closed()
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    assert stdout == b"\n"
    assert stderr == b""
    assert process.returncode == 130


# What reaches a terminal.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b]0;title\x07", "\u241b]0;title\u2407"),
        ("over\rwritten\b", "over\u240dwritten\u2408"),
        ("\x7f\x9b31m", "\u2421\ufffd31m"),
    ],
)
def test_a_terminal_is_not_for_models_to_command(text: str, shown: str) -> None:
    """Control characters become visible signs; tabs and line ends stay."""
    assert terminal_safe(text) == shown
