"""Which model is served where: endpoints, paths and parameters, as data.

Every row records how the endpoints answered trials, and when. Facts decide how a request is written, never whether one
is sent; the ``provider_options`` of a call override them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias

from bedrock_async import InvalidRequestError
from bedrock_async.providers import CallContext

__all__ = ["Api", "EndpointName", "Route", "find_route"]

Api: TypeAlias = Literal["chat", "responses"]
"""Chat completions, or the Responses API."""

EndpointName: TypeAlias = Literal["mantle", "runtime"]
"""``bedrock-mantle.{region}.api.aws``, or ``bedrock-runtime.{region}.amazonaws.com``."""

_PATHS: Final[Mapping[Api, str]] = {"chat": "/chat/completions", "responses": "/responses"}


@dataclass(frozen=True, slots=True)
class _Model:
    """How models are served.

    - ``path``: where bedrock-mantle serves them; the runtime serves all under ``/openai/v1``.
    - ``api``: the one that supports more of them.
    - ``max_tokens_field``: the name of the limit in chat completions.
    - ``reasoning_field``: the member with reasoning in bedrock-mantle's chat completions, in both directions.
    - ``tags``: what encloses reasoning in the content of the runtime's chat completions.
    - ``encrypted_reasoning``: whether the Responses API gives encrypted reasoning on request.
    """

    pattern: str
    path: str
    api: Api
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    reasoning_field: str | None = "reasoning"
    tags: tuple[str, str] | None = None
    encrypted_reasoning: bool = False


_TAGS: Final = ("<reasoning>", "</reasoning>")

# First match wins. Paths, APIs and names of limits: measured by aws-samples/sample-per-model-bedrock in us-east-1,
# 2026-08-20 to 22 (the wrong path is refused with "isn't supported on this route"). gpt-oss' message.reasoning and
# GPT-5's encrypted reasoning: recorded, 2026-07 and 2026-08. GPT-5.6 refuses tools with reasoning in chat
# completions, so its API is responses.
_MODELS: Final = (
    _Model("openai.gpt-oss*", "/v1", "chat", "max_tokens", tags=_TAGS),
    _Model(
        "openai.*", "/openai/v1", "responses", "max_completion_tokens", reasoning_field=None, encrypted_reasoning=True
    ),
    _Model("xai.*", "/openai/v1", "responses", "max_completion_tokens", reasoning_field=None, encrypted_reasoning=True),
    _Model("google.gemma-4*", "/openai/v1", "chat", "max_completion_tokens"),
    _Model("*", "/v1", "chat", "max_tokens"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The route of one call: where it goes, and how it is written."""

    model: str
    """The id in the body, of a model or an inference profile."""

    base_model: str
    endpoint: EndpointName
    api: Api
    path: str
    """The path of the request, from the host on."""

    endpoint_url: str | None
    """The URL that the call sets in place of the endpoint's own."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    reasoning_field: str | None
    reasoning_tags: tuple[str, str] | None
    encrypted_reasoning: bool


@dataclass(frozen=True, slots=True)
class _Options:
    """The ``provider_options`` of a call."""

    api: Api | None = None
    endpoint: EndpointName = "mantle"
    path: str | None = None
    endpoint_url: str | None = None


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"api": ("chat", "responses"), "endpoint": ("mantle", "runtime")}
# Options of the client itself, which it passes through.
_OF_THE_CLIENT: Final = frozenset({"profile", "family"})


def find_route(ctx: CallContext) -> Route:
    """Return the route of a call. Raises InvalidRequestError for unknown or wrong ``provider_options``."""
    options = _options(ctx.provider_options)
    base_model = ctx.model.base_model or ctx.model.raw
    model = next(each for each in _MODELS if fnmatchcase(base_model, each.pattern))
    api = options.api or model.api
    on_runtime = options.endpoint == "runtime"
    prefix = options.path or ("/openai/v1" if on_runtime else model.path)
    return Route(
        model=ctx.target.raw,
        base_model=base_model,
        endpoint=options.endpoint,
        api=api,
        path=prefix.rstrip("/") + _PATHS[api],
        endpoint_url=options.endpoint_url,
        max_tokens_field=model.max_tokens_field,
        reasoning_field=None if on_runtime else model.reasoning_field,
        reasoning_tags=model.tags if on_runtime else None,
        encrypted_reasoning=model.encrypted_reasoning,
    )


def _options(given: Mapping[str, Any]) -> _Options:
    known = [each.name for each in fields(_Options)]
    options = {name: value for name, value in given.items() if name not in _OF_THE_CLIENT and value is not None}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise _refused(
                name,
                f"the provider 'mantle' has no option {name!r}.",
                f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known)}.",
            )
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise _refused(name, f"{name} is {value!r}.", f"Pass one of: {', '.join(choices)}.")
        if not isinstance(value, str):
            raise _refused(name, f"{name} is of type {type(value).__name__}.", "Pass text.")
    if (path := options.get("path")) is not None and not (
        path.startswith("/") and path.isascii() and path.isprintable() and not set(path) & set(" ?#")
    ):
        raise _refused("path", f"path is {path!r}.", 'Pass a path such as "/openai/v1".')
    return _Options(**options)


def _refused(name: str, message: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(message, path=f"provider_options.{name}", hint=hint)
