"""The commands and their options. Commands import what they need when they run, so ``--help`` is fast."""

from __future__ import annotations

import enum
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

plugin = typer.Typer(help="Write a plugin.", no_args_is_help=True)
app.add_typer(plugin, name="plugin")

_ANSWER = "Answer"
_CONNECTION = "Connection"
_MORE = "More checks"

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the library's log.")]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Default: the region of the environment or profile.", rich_help_panel=_CONNECTION
    ),
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
MaxTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Maximum number of output tokens.", rich_help_panel=_ANSWER)
]
Temperature = Annotated[
    float | None,
    typer.Option(metavar="X", help="Sampling temperature; 0 is the most deterministic.", rich_help_panel=_ANSWER),
]
TopP = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Sample from the most likely tokens up to this total probability.",
        rich_help_panel=_ANSWER,
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        "--stop", metavar="TEXT", help="End the answer at this text; may be repeated.", rich_help_panel=_ANSWER
    ),
]
NoStream = Annotated[
    bool,
    typer.Option("--no-stream", help="Use Converse, which returns the whole answer at once.", rich_help_panel=_ANSWER),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the events, one line of JSON each.", rich_help_panel=_ANSWER)
]
Usage = Annotated[bool, typer.Option("--usage", help="Print tokens and times on stderr.", rich_help_panel=_ANSWER)]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")]
PlayedRegion = Annotated[str, typer.Option(help="The region to emulate.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Listen on an address that others can reach.")]


class Listed(enum.StrEnum):
    """What `models` can be restricted to."""

    MODELS = "models"
    PROFILES = "profiles"


class Begun(enum.StrEnum):
    """The kinds of plugins that `plugin new` can create."""

    FAMILY = "family"
    PROVIDER = "provider"


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's signature
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
        typer.Option(
            "--model", "-m", metavar="NAME", help="local, scripted, embeddings or a plugin's; may be repeated."
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="What the scripted model answers.")] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Answer with the exchanges recorded there."),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    region: PlayedRegion = "us-east-1",
    allow_remote: AllowRemote = False,
    chaos: Annotated[
        float | None,
        typer.Option(metavar="RATE", min=0.0, max=1.0, help="Let this share of the requests fail, 0.2 for a fifth."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME", help="With --chaos: only this fault; may be repeated."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve an emulator of Amazon Bedrock Runtime until Ctrl-C; its URL is printed on stdout."""
    if text is not None and "scripted" not in (model or (() if replay else ("scripted",))):
        raise typer.BadParameter("--text is the scripted model's answer, but another model is served.")
    if fault and chaos is None:
        raise typer.BadParameter(
            "--fault chooses the faults, --chaos how many requests fail: add --chaos 1 for every request."
        )
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
            chaos=chaos,
            faults=tuple(fault or ()),
        )
        received = run(options)
        raise typer.Exit(128 + received)


@app.command()
def models(
    *,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only models of this provider, for example Anthropic.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only models that output TEXT, IMAGE or EMBEDDING.")
    ] = None,
    inference: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only models that can be called ON_DEMAND or are PROVISIONED.")
    ] = None,
    only: Annotated[Listed | None, typer.Option(help="List only the models, or only the inference profiles.")] = None,
    access: Annotated[
        bool, typer.Option("--access", help="Ask whether the account may use them: a request for each model.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print them as the service describes them, one line each.")
    ] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    debug: Debug = False,
) -> None:
    """List the models and inference profiles of the region, and whether the account may use them."""
    with reporting(debug=debug):
        from .listing import ListingOptions
        from .listing import models as run

        run(
            ListingOptions(
                provider=provider,
                modality=modality.upper() if modality else None,
                inference=inference.upper() if inference else None,
                models=only is not Listed.PROFILES,
                profiles=only is not Listed.MODELS,
                access=access,
                as_json=as_json,
                region=region,
                profile=profile,
                endpoint_url=endpoint_url,
            )
        )


@app.command()
def replay(
    cassette: Annotated[
        Path, typer.Argument(metavar="CASSETTE", exists=True, dir_okay=False, help="A file that was recorded.")
    ],
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Play each exchange once; otherwise the last of several equal ones repeats.")
    ] = False,
    pace: Annotated[
        float, typer.Option(min=0.0, metavar="X", help="1 keeps the recorded times, 2 takes twice as long, 0 none.")
    ] = 0.0,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    region: PlayedRegion = "us-east-1",
    allow_remote: AllowRemote = False,
    debug: Debug = False,
) -> None:
    """Serve a recorded cassette until Ctrl-C, to clients in any language; its URL is printed on stdout."""
    with reporting(debug=debug):
        from .replay import ReplayOptions
        from .replay import replay as run

        options = ReplayOptions(
            cassette=cassette,
            once=once,
            pace=pace,
            host=host,
            port=port,
            region=region,
            allow_remote=allow_remote,
        )
        received = run(options)
        raise typer.Exit(128 + received)


@app.command()
def verify(
    *,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Ask the account's models, which costs money; otherwise a scripted model in this process."
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="ID", help="Default: BEDROCK_ASYNC_MODEL, or the region's default model."
        ),
    ] = None,
    max_cost: Annotated[
        float, typer.Option(min=0.0, metavar="USD", help="Skip calls that could exceed this total cost.")
    ] = 0.05,
    no_max_cost: Annotated[
        bool, typer.Option("--no-max-cost", help="Make all calls, whatever they cost, even if the cost is unknown.")
    ] = False,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=USD",
            help="Prices missing from the price list: input and output per million tokens, guardrail and job per use.",
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this check; may be repeated.")] = None,
    guardrail: Annotated[
        str | None,
        typer.Option(metavar="ID[:VERSION]", help="Also run the checks of this guardrail.", rich_help_panel=_MORE),
    ] = None,
    guardrail_checks: Annotated[
        bool, typer.Option("--guardrail-checks", help="Also InvokeGuardrailChecks.", rich_help_panel=_MORE)
    ] = False,
    output_s3_uri: Annotated[
        str | None,
        typer.Option(metavar="S3-URI", help="Also start a job that writes there.", rich_help_panel=_MORE),
    ] = None,
    async_model: Annotated[
        str | None, typer.Option(metavar="ID", help="The model of that job.", rich_help_panel=_MORE)
    ] = None,
    async_input: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The input of that job, as JSON.", rich_help_panel=_MORE)
    ] = None,
    native_body: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The body for InvokeModel, if the model's format is not known.", rich_help_panel=_MORE
        ),
    ] = None,
    cassette: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Record all calls there, without secrets, for sharing."),
    ] = None,
    redact_prompts: Annotated[
        bool, typer.Option("--redact-prompts", help="Blank questions and answers in the cassette.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was seen as one JSON document.")] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    debug: Debug = False,
) -> None:
    """Make a small call of each kind and compare what comes back with what this client promises.

    Exits with 1 when something does not agree. docs/testing.md tells what is checked, and what it costs.
    """
    if not live:
        _check_unused(
            "without --live a scripted model is asked",
            model=model,
            guardrail=guardrail,
            output_s3_uri=output_s3_uri,
            async_model=async_model,
            async_input=async_input,
            native_body=native_body,
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
        )
    with reporting(debug=debug):
        from decimal import Decimal

        from .verify import VerifyOptions
        from .verify import verify as run

        options = VerifyOptions(
            live=live,
            model=model,
            max_cost=None if no_max_cost else Decimal(str(max_cost)),
            prices=tuple(price or ()),
            only=tuple(only or ()),
            guardrail=guardrail,
            guardrail_checks=guardrail_checks,
            output_s3_uri=output_s3_uri,
            async_model=async_model,
            async_input=async_input,
            native_body=native_body,
            cassette=cassette,
            redact_prompts=redact_prompts,
            as_json=as_json,
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
        )
        if not run(options):
            raise typer.Exit(FAILED)


@app.command()
def plugins(
    *,
    check: Annotated[bool, typer.Option("--check", help="Import each plugin to see whether it works.")] = False,
    debug: Debug = False,
) -> None:
    """List the installed providers, model families and emulator models, with their origin and state.

    Exits with 1 when one cannot be used. BEDROCK_ASYNC_PLUGINS limits which distributions may be loaded. To write one:
    bedrock-async plugin new NAME.
    """
    with reporting(debug=debug):
        from .plugins import plugins as run

        if not run(load=check):
            raise typer.Exit(FAILED)


@plugin.command()
def new(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="For a family, the vendor segment of the model ids: acme in acme.chat-1."),
    ],
    *,
    kind: Annotated[
        Begun, typer.Option(help="family: a vendor's dialect; provider: another way to reach models.")
    ] = Begun.FAMILY,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", metavar="DIR", help="Where to create the package's folder.")
    ] = Path(),
    debug: Debug = False,
) -> None:
    """Write a complete package, bedrock-async-NAME, whose tests pass at once. Nothing is overwritten."""
    with reporting(debug=debug):
        from .new_plugin import PluginOptions, new_plugin

        new_plugin(PluginOptions(name=name, kind=kind.value, directory=directory))


@app.command()
def doctor(
    *,
    models: Annotated[
        bool, typer.Option("--models", help="Also list models and inference profiles, to see what the account may do.")
    ] = False,
    region: Region = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    debug: Debug = False,
) -> None:
    """Examine credentials, region, endpoint, clock and versions. Exits with 1 when something failed."""
    with reporting(debug=debug):
        from .doctor import DoctorOptions
        from .doctor import doctor as run

        if not run(DoctorOptions(region=region, profile=profile, endpoint_url=endpoint_url, models=models)):
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
    """Refuse --local together with options for another target."""
    if local:
        _check_unused("--local asks a model in this process", **others)


def _check_unused(because: str, **others: object) -> None:
    """Refuse options that would have no effect."""
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value is not None]
    if given:
        raise typer.BadParameter(f"{because}; {', '.join(given)} cannot be combined with it.")


def _question(argument: str | None) -> str:
    """Return the question, from the argument or from stdin. It is wrong usage if there is none."""
    if argument is not None and argument != "-":
        text = argument
    elif argument is None and sys.stdin.isatty():
        raise typer.BadParameter('there is no question: bedrock-async ask "..."; with -, it is read from stdin.')
    else:
        try:
            text = sys.stdin.read()
        except UnicodeDecodeError as exc:
            raise typer.BadParameter(f"stdin is not {exc.encoding} text ({exc.reason}).") from exc
    if not text.strip():
        raise typer.BadParameter("the question is empty.")
    return text
