"""The next step for this call: what `bedrock_async.advice` says, with the call's ids, numbers and times.

Ids come from what the control plane has listed for this client, which is certain, or from `KnownModelId`, which is what
was known when this version was released; the hint says which of the two. No network requests are made.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, get_args

import msgspec

from ..advice import find_rule
from ..errors import BedrockError, InvalidModelIdError, InvalidRequestError
from ..families.profiles import ModelProfile
from ..geography import geography_of
from ..known_models import KnownModelId
from ..model_id import ModelId, parse_model_id

if TYPE_CHECKING:
    from ..errors import ServiceError
    from .adviser import Adviser

__all__ = ["sharpen"]

_MOST_IDS: Final = 3  # more would bury the best one
_ALIKE: Final = 0.75  # difflib ratio: below it, names have little in common
_TELLING: Final = 4  # characters after the vendor: a shorter beginning of an id tells nothing


def sharpen(adviser: Adviser, error: ServiceError, model: ModelId | str | None, *, region: str) -> None:
    """Make the hint of an error from a call to ``model`` in a region more specific; see `Adviser.advise`."""
    found = find_rule([each.__name__ for each in type(error).__mro__], error.message)
    if found is None or error.hint not in {None, found[1]}:
        return
    rule, hint = found
    sharper = _SHARPER.get(rule.topic)
    if sharper is None:
        return
    try:
        called = parse_model_id(model) if isinstance(model, str) else model
    except InvalidModelIdError:  # a stream that never opened does not know its model
        called = None
    try:
        error.hint = sharper(_Case(adviser, called, region, error.message, hint)) or hint
    except BedrockError:  # a broken plugin or an odd ARN must not hide the error
        error.hint = hint


class _Case(msgspec.Struct, frozen=True):
    """An error that needs a hint: the call's model, the service's message, and the hint from the table."""

    adviser: Adviser
    model: ModelId | None
    region: str
    message: str
    hint: str

    @property
    def base_model(self) -> str | None:
        """The id without geography."""
        return None if self.model is None else self.model.base_model

    @property
    def facts(self) -> ModelProfile:
        return self.adviser.facts(self.base_model)

    def listed(self) -> Mapping[str, Collection[str]]:
        """Return the profiles that are known to exist; the client's region says nothing about other regions."""
        return self.adviser.listed() if self.region == self.adviser.region else {}

    def geographies(self) -> tuple[str, ...]:
        """Return the geographies whose profiles the region can use, its own first; empty if none is known."""
        return _geographies(self.region)

    def profiles_of(self, base_model: str) -> tuple[list[str], bool]:
        """Return a model's inference profiles for the region, and whether the account is known to have them."""
        listed = [name for name, models in self.listed().items() if base_model in models]
        if listed:
            return sorted(listed, key=self._rank)[:_MOST_IDS], True
        return [name for each in self.geographies() if (name := f"{each}.{base_model}") in _known_ids()], False

    def usable(self, base_model: str) -> str:
        """Return the id to call a model with in the region: its nearest profile, or its own id if none is known."""
        return next(iter(self.profiles_of(base_model)[0]), base_model)

    def _rank(self, name: str) -> tuple[int, str]:
        geography = name.partition(".")[0]
        order = self.geographies()
        return (order.index(geography) if geography in order else len(order), name)


# -- which model


def _on_demand(case: _Case) -> str | None:
    base_model, geographies = case.base_model, case.geographies()
    if base_model is None:
        return None
    names, sure = case.profiles_of(base_model)
    if sure:
        return f"Call it through an inference profile; the account has these in {case.region}: {', '.join(names)}."
    if names:
        return (
            f"Call it through an inference profile; known for {case.region}: {', '.join(names)}. "
            "client.list_inference_profiles() lists those of the account."
        )
    if geographies:
        return (
            f"Call it through an inference profile: with the geography of {case.region} the id would be "
            f"{geographies[0]}.{base_model}; client.list_inference_profiles() shows whether it exists."
        )
    return None


def _identifier(case: _Case) -> str | None:
    model = case.model
    if model is None or model.raw.startswith("arn:"):
        return None
    plain = _FOREIGN.sub("", model.raw)
    geographies = case.geographies()
    base_model = model.base_model if plain == model.raw else None  # in another library's spelling it is not a valid id
    if model.geography is not None and base_model is not None and model.geography not in geographies:
        return _elsewhere(case, model.geography, base_model)
    if base_model is not None and model.raw in _known_ids():
        names = [name for name in case.profiles_of(base_model)[0] if name != model.raw]
        other = f": call it as {' or '.join(names)}" if names else ""
        return (
            f"The id is known, but {case.region} probably does not offer the model under it{other}; "
            "client.list_models() and client.list_inference_profiles() list what the region offers."
        )
    near = [case.usable(each) for each in _near(model, case.listed())]
    if not near:
        return None
    return f"Similar ids known for {case.region}: {', '.join(near)}. client.list_models() lists the models there."


def _elsewhere(case: _Case, geography: str, base_model: str) -> str:
    """Return the hint for a profile of another geography than the region's."""
    geographies = case.geographies()
    if not geographies:
        return (
            f"No inference profiles are known for {case.region}: pass the id of a model that the region offers on "
            f"demand, such as {base_model} if client.list_models() lists it."
        )
    names, _ = case.profiles_of(base_model)
    instead = f"known for {case.region}: {', '.join(names)}" if names else "the model may have a profile there"
    return (
        f"{geography}. is not a geography of {case.region}, which belongs to {' and '.join(geographies)}: {instead}. "
        "client.list_inference_profiles() lists those of the account."
    )


def _end_of_life(case: _Case) -> str | None:
    if case.base_model is None:
        return None
    newer = [case.usable(each) for each in _newer(case.base_model)]
    if not newer:
        return None
    return f"{case.hint} Newer models of its line, known when this version was released: {', '.join(newer)}."


def _model_access(case: _Case) -> str | None:
    if case.model is None or "console" not in case.hint:
        return None
    elsewhere = "" if case.model.geography is None else ", and of the other regions that the profile routes to"
    return f"Request access to {case.base_model or case.model.raw} in the Bedrock console of {case.region}{elsewhere}."


# -- how much

_TOO_LONG: Final = re.compile(
    r"too long: (?P<had>\d+) tokens > (?P<most>\d+)"
    r"|exceed context limit: (?P<input>\d+) \+ (?P<output>\d+) > (?P<window>\d+)"
    r"|max input tokens: (?P<limit>\d+)(?:,? request input token count: (?P<count>\d+))?",
    re.IGNORECASE,
)


def _too_long(case: _Case) -> str | None:
    found = _TOO_LONG.search(case.message)
    if found is None:
        window = case.facts.context_window
        if window is None:
            return None
        return f"The context window of {case.base_model} is {window:,} tokens, as far as known. {case.hint}"
    if found["window"] is not None:
        left = int(found["window"]) - int(found["input"])
        if left > 0:
            return f"With {int(found['input']):,} input tokens, max_tokens can be at most {left:,}. {case.hint}"
        return f"The input alone is {-left:,} tokens too long. {case.hint}"
    had, most = found["had"] or found["count"], found["most"] or found["limit"]
    if had is None:
        return f"The limit is {int(most):,} tokens. {case.hint}"
    return f"The input is {int(had) - int(most):,} tokens too long. {case.hint}"


def _max_tokens(case: _Case) -> str | None:
    most = case.facts.max_output_tokens
    if most is None or any(character.isdigit() for character in case.hint):
        return None
    return f"{case.hint} That of {case.base_model} is {most:,}, as far as known."


def _spread(case: _Case) -> str | None:
    """Name the profile that can spread a model's load."""
    base_model = case.base_model
    if base_model is None or case.model is None or case.model.geography is not None:
        return None
    names, _ = case.profiles_of(base_model)
    return f"{case.hint} A suitable profile: {names[0]}." if names else None


# -- the clock

_TIMES: Final = re.compile(r"(\d{8}T\d{6}Z) is (?:now earlier|still later) than \d{8}T\d{6}Z \((\d{8}T\d{6}Z) [-+]")


def _clock(case: _Case) -> str | None:
    found = _TIMES.search(case.message)
    if found is None:
        return None
    signed, served = (datetime.strptime(each, "%Y%m%dT%H%M%S%z") for each in found.groups())
    late = served - signed
    waited = " Or the request waited that long before it was sent." if late > timedelta(0) else ""
    return (
        f"The request was signed at {signed:%Y-%m-%d %H:%M:%S} UTC by this machine's clock; the service's clock said "
        f"{served:%Y-%m-%d %H:%M:%S}, {_span(abs(late))} {'later' if waited else 'earlier'}: synchronise this "
        f"machine's clock.{waited}"
    )


def _span(difference: timedelta) -> str:
    minutes = round(difference.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"


_SHARPER: Final[Mapping[str, Callable[[_Case], str | None]]] = {
    "on-demand-throughput": _on_demand,
    "model-identifier": _identifier,
    "end-of-life": _end_of_life,
    "model-access": _model_access,
    "input-too-long": _too_long,
    "max-tokens": _max_tokens,
    "throttling": _spread,
    "service-unavailable": _spread,
    "clock": _clock,
}


# -- what is known of ids


@cache
def _known_ids() -> frozenset[str]:
    return frozenset(get_args(KnownModelId))


@cache
def _known_models() -> tuple[str, ...]:
    """Return the base models of all known ids."""
    return tuple(sorted({base for each in _known_ids() if (base := parse_model_id(each).base_model)}))


def _geographies(region: str) -> tuple[str, ...]:
    try:
        own = geography_of(region)
    except InvalidRequestError:
        return ()
    wider = ("apac",) if region.startswith("ap-") else ()
    world = () if own == "us-gov" else ("global",)
    return tuple(dict.fromkeys((own, *wider, *world)))


# How other libraries, and the vendors themselves, write ids.
_FOREIGN: Final = re.compile(r"^(?:amazon-)?bedrock(?:_converse)?[/:](?:converse/|invoke/)?")
_NAMES: Final = {"claude": "anthropic", "nova": "amazon", "titan": "amazon", "llama": "meta", "command": "cohere"}


def _near(model: ModelId, listed: Mapping[str, Collection[str]]) -> list[str]:
    """Return the base models with similar ids, the most similar first."""
    plain = _FOREIGN.sub("", model.raw.lower())
    name = parse_model_id(plain).base_model or plain if plain else plain
    for word, vendor in _NAMES.items():
        if name.startswith(word):
            name = f"{vendor}.{name}"
    models = sorted({*_known_models(), *(each for behind in listed.values() for each in behind)})
    told = len(name.partition(".")[2]) >= _TELLING
    beginning = [each for each in models if each.startswith(name)] if told else []
    return (beginning or difflib.get_close_matches(name, models, n=_MOST_IDS, cutoff=_ALIKE))[:_MOST_IDS]


_WORD: Final = re.compile(r"[a-z]+(?![a-z0-9])|[a-z]+(?=\d)|\d+(?:\.\d+)*[a-z]*", re.ASCII)
_NO_LINE: Final = frozenset({"claude", "instruct", "nova", "preview", "text", "titan", "v", "it"})
_RELEASE: Final = re.compile(r"[-.]v\d+(?::\d+)*$|-\d{8}(?=-|$)|:\d+$")


def _newer(base_model: str) -> list[str]:
    """Return later models of the same line, the latest first: those with all its names and a higher version."""
    vendor, line, version = _line(base_model)
    if not line or "embed" in line:  # vectors of two models are not comparable: none can replace another
        return []
    found: list[tuple[tuple[int, ...], str]] = []
    for each in _known_models():
        other_vendor, other_line, other_version = _line(each)
        if other_vendor == vendor and line <= other_line and other_version > version and "preview" not in each:
            found.append((other_version, each))
    return [each for _, each in sorted(found, reverse=True)[:_MOST_IDS]]


def _line(base_model: str) -> tuple[str, frozenset[str], tuple[int, ...]]:
    """``anthropic.claude-sonnet-4-5-20250929-v1:0`` -> ``("anthropic", {"sonnet"}, (4, 5))``."""
    vendor, _, name = base_model.partition(".")
    while (shorter := _RELEASE.sub("", name)) != name:
        name = shorter
    words = _WORD.findall(name)
    numbers = [int(part) for word in words if word[0].isdigit() and word[-1].isdigit() for part in word.split(".")]
    return vendor, frozenset(word for word in words if word.isalpha()) - _NO_LINE, tuple(numbers)
