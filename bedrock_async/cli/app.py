"""The commands and their options. What a command needs is imported when it runs: ``--help`` needs nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._version import __version__
from .failures import FAILED, reporting

if TYPE_CHECKING:
    from ..features.settings import CallSettings

__all__ = ["app"]

app = typer.Typer(
    help="Amazon Bedrock on the command line: ask models, chat with them, or serve an emulator of the service.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_ANSWER = "Answer"
_CONNECTION = "Connection"

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the library's log.")]
Region = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Else that of the environment or profile.", rich_help_panel=_CONNECTION),
]
Profile = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A profile of the AWS configuration.", rich_help_panel=_CONNECTION),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Another endpoint, for example an emulator's.", rich_help_panel=_CONNECTION),
]
Local = Annotated[
    bool,
    typer.Option(
        "--local",
        help="Ask the demonstration model on this machine: no account, no key (plugin bedrock-async-local).",
        rich_help_panel=_CONNECTION,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="ID", help="Id or ARN of the model; without --local also from BEDROCK_ASYNC_MODEL."
    ),
]
System = Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="The system prompt.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, metavar="N", help="Longest answer.", rich_help_panel=_ANSWER)]
Temperature = Annotated[
    float | None, typer.Option(metavar="X", help="0 is the most certain answer.", rich_help_panel=_ANSWER)
]
TopP = Annotated[
    float | None,
    typer.Option(metavar="X", help="Choose among the likeliest tokens of this sum.", rich_help_panel=_ANSWER),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        "--stop", metavar="TEXT", help="End the answer at this text; may be repeated.", rich_help_panel=_ANSWER
    ),
]
NoStream = Annotated[
    bool,
    typer.Option("--no-stream", help="Use Converse: the answer comes whole.", rich_help_panel=_ANSWER),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the events, a line of JSON each.", rich_help_panel=_ANSWER)]
Usage = Annotated[bool, typer.Option("--usage", help="Tell tokens and times on stderr.", rich_help_panel=_ANSWER)]


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"bedrock-async {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Amazon Bedrock on the command line: ask models, chat with them, or serve an emulator of the service."""


@app.command()
def ask(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Without it, or with -, it is read from stdin.")
    ] = None,
    *,
    model: Model = None,
    system: System = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    stop: Stop = None,
    no_stream: NoStream = False,
    as_json: AsJson = False,
    usage: Usage = False,
    local: Local = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    debug: Debug = False,
) -> None:
    """Ask one question and print the answer as it arrives."""
    _check_local(local=local, region=region, profile=profile, endpoint_url=endpoint_url)
    text = _question(question)
    with reporting(debug=debug):
        from .answer import OutputOptions
        from .ask import ask as run
        from .target import TargetOptions

        settings = _settings(max_tokens, temperature, top_p, stop, streaming=not no_stream)
        if system is not None:
            settings["system"] = system
        run(
            text,
            TargetOptions(local=local, model=model, region=region, profile=profile, endpoint_url=endpoint_url),
            settings,
            OutputOptions(as_json=as_json, usage=usage),
        )


@app.command()
def chat(
    *,
    model: Model = None,
    system: System = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    stop: Stop = None,
    no_stream: NoStream = False,
    as_json: AsJson = False,
    usage: Usage = False,
    local: Local = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    debug: Debug = False,
) -> None:
    """Converse with a model, line by line; /help lists the commands."""
    _check_local(local=local, region=region, profile=profile, endpoint_url=endpoint_url)
    with reporting(debug=debug):
        from .answer import OutputOptions
        from .chat import chat as run
        from .target import TargetOptions

        run(
            TargetOptions(local=local, model=model, region=region, profile=profile, endpoint_url=endpoint_url),
            _settings(max_tokens, temperature, top_p, stop, streaming=not no_stream),
            OutputOptions(as_json=as_json, usage=usage),
            system=system,
        )


@app.command()
def serve(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME", help="local, scripted or a plugin's; may be repeated."),
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="What the scripted model answers.")] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Answer with the exchanges recorded there."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    region: Annotated[str, typer.Option(help="The region that it plays.")] = "us-east-1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen on an address that others can reach.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve an emulator of Amazon Bedrock Runtime until Ctrl-C; its URL is printed on stdout."""
    if text is not None and "scripted" not in (model or (() if replay else ("scripted",))):
        raise typer.BadParameter("--text is what the scripted model answers, and another one is served.")
    with reporting(debug=debug):
        from .serve import ServeOptions
        from .serve import serve as run

        options = ServeOptions(
            models=tuple(model or ()),
            text=text,
            replay=replay,
            host=host,
            port=port,
            region=region,
            allow_remote=allow_remote,
        )
        received = run(options)
        raise typer.Exit(128 + received)


@app.command()
def plugins(
    *,
    check: Annotated[bool, typer.Option("--check", help="Import each of them, to see whether it works.")] = False,
    debug: Debug = False,
) -> None:
    """List the installed providers and emulator models. Exits with 1 when one cannot be used."""
    with reporting(debug=debug):
        from .plugins import plugins as run

        if not run(load=check):
            raise typer.Exit(FAILED)


@app.command()
def doctor(
    *, region: Region = None, profile: Profile = None, endpoint_url: EndpointUrl = None, debug: Debug = False
) -> None:
    """Examine credentials, region, endpoint, clock and versions. Exits with 1 when something failed."""
    with reporting(debug=debug):
        from .doctor import DoctorOptions
        from .doctor import doctor as run

        if not run(DoctorOptions(region=region, profile=profile, endpoint_url=endpoint_url)):
            raise typer.Exit(FAILED)


def _settings(
    max_tokens: int | None, temperature: float | None, top_p: float | None, stop: list[str] | None, *, streaming: bool
) -> CallSettings:
    settings: CallSettings = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop_sequences": stop or None,
        "streaming": streaming,
    }
    return settings


def _check_local(*, local: bool, **others: str | None) -> None:
    """Refuse --local together with what says where else to go."""
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value is not None]
    if local and given:
        raise typer.BadParameter(f"--local asks a model in this process; {', '.join(given)} cannot apply to it.")


def _question(argument: str | None) -> str:
    """Return the question, from the argument or from stdin. Wrong usage when there is none."""
    if argument is not None and argument != "-":
        text = argument
    elif argument is None and sys.stdin.isatty():
        raise typer.BadParameter('there is no question: bedrock-async ask "..."; with - it is read from stdin.')
    else:
        try:
            text = sys.stdin.read()
        except UnicodeDecodeError as exc:
            raise typer.BadParameter(f"what stdin brings is not {exc.encoding} text ({exc.reason}).") from exc
    if not text.strip():
        raise typer.BadParameter("the question is empty.")
    return text
